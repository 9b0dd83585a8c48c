"""Download public archives into a cache: `engine data get`.

Binance Vision has a `.CHECKSUM` (SHA-256) beside each file, which is verified. Tardis gives
the first day of each month without a key. A file is downloaded beside its place and moved
there when it is whole: what is in the cache is complete. A download that broke off goes on
where it stopped, if the server still has the same file.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from engine.errors import InputError, RunError
from engine.feeds.steps import is_symbol

BASE_URLS = {
    "binance": "https://data.binance.vision",
    "tardis": "https://datasets.tardis.dev",
}
#: Kinds by source. Of Binance's those with an interval, and those that exist by month only.
BINANCE_KINDS = (
    "aggTrades", "trades", "klines", "markPriceKlines", "indexPriceKlines", "premiumIndexKlines",
    "bookTicker", "bookDepth", "metrics", "fundingRate", "liquidationSnapshot")
_WITH_INTERVAL = frozenset(kind for kind in BINANCE_KINDS if kind.lower().endswith("klines"))
_MONTHLY = frozenset(["fundingRate"])
TARDIS_KINDS = (
    "trades", "incremental_book_L2", "book_snapshot_5", "book_snapshot_25", "quotes",
    "derivative_ticker", "liquidations")
MARKETS = {"um": "futures/um", "cm": "futures/cm", "spot": "spot"}
_CHECKSUM = re.compile(rb"([0-9a-f]{64})(?: [ *](\S+))?\s*")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,39}")
_CHUNK = 1 << 16
_DAYS_MAX = 3_700


class FetchError(RunError):
    """A file could not be downloaded whole."""


@dataclass(frozen=True)
class Item:
    """One file to have.

    Attributes
    ----------
    url : str
    place : str
        Path under the cache directory.
    has_checksum : bool
        Whether a `.CHECKSUM` lies beside it.
    """

    url: str
    place: str
    has_checksum: bool


def plan_binance(
    base_url: str, market: str, kind: str, symbol: str, days: Sequence[date], interval: str
) -> list[Item]:
    """Return the files of Binance Vision for these days; monthly ones where only they exist.

    Raises
    ------
    InputError
        An unknown market or kind, or what cannot be part of an address.
    """
    if market not in MARKETS:
        raise InputError(f"--market {market}: expected {', '.join(MARKETS)}")
    if kind not in BINANCE_KINDS:
        raise InputError(f"binance {kind}: expected {', '.join(BINANCE_KINDS)}")
    _check_symbol(symbol)
    if not _WORD.fullmatch(interval):
        raise InputError(f"--interval {interval}: expected something like 1m or 1h")
    is_monthly = kind in _MONTHLY
    stamps = [f"{day:%Y-%m}" if is_monthly else f"{day:%Y-%m-%d}" for day in days]
    folder = f"data/{MARKETS[market]}/{'monthly' if is_monthly else 'daily'}/{kind}/{symbol}"
    name = f"{symbol}-{kind}"
    if kind in _WITH_INTERVAL:
        folder, name = f"{folder}/{interval}", f"{symbol}-{interval}"
    paths = [f"{folder}/{name}-{stamp}.zip" for stamp in dict.fromkeys(stamps)]
    return [Item(f"{base_url.rstrip('/')}/{path}", f"binance/{path}", True) for path in paths]


def plan_tardis(
    base_url: str, exchange: str, kind: str, symbol: str, days: Sequence[date], *,
    has_key: bool = False,
) -> list[Item]:
    """Return the files of Tardis for these days; without a key, first days of months only."""
    if kind not in TARDIS_KINDS:
        raise InputError(f"tardis {kind}: expected {', '.join(TARDIS_KINDS)}")
    if not _WORD.fullmatch(exchange):
        raise InputError(f"--exchange {exchange}: expected a name like binance-futures")
    _check_symbol(symbol)
    late = next((day for day in days if day.day != 1), None)
    if late is not None and not has_key:
        raise InputError(
            f"{late}: without a key Tardis gives the first day of each month only")
    items = []
    for day in days:
        path = f"v1/{exchange}/{kind}/{day:%Y/%m/%d}/{urllib.parse.quote(symbol, safe='')}.csv.gz"
        # Stored under the vendor's own name, which says what is inside.
        name = f"{exchange}_{kind}_{day:%Y-%m-%d}_{symbol.replace('/', '-')}.csv.gz"
        items.append(Item(f"{base_url.rstrip('/')}/{path}", f"tardis/{exchange}/{name}", False))
    return items


def _check_symbol(symbol: str) -> None:
    if not is_symbol(symbol) or ".." in symbol:
        raise InputError(f"not a symbol: {symbol!r:.60}")


def parse_days(first: str, last: str | None) -> list[date]:
    """Return the days from one `YYYY-MM-DD` to another, both included."""
    try:
        begin = date.fromisoformat(first)
        end = begin if last is None else date.fromisoformat(last)
    except ValueError as error:
        raise InputError(f"not a day like 2025-10-10: {error}") from None
    count = (end - begin).days + 1
    if not 1 <= count <= _DAYS_MAX:
        raise InputError(f"{first} to {last}: expected 1 to {_DAYS_MAX} days, not {count}")
    return [begin + timedelta(days=k) for k in range(count)]


class Fetcher:
    """Brings files into a cache directory.

    Parameters
    ----------
    cache : path
    headers : dict, optional
        Sent with every request.
    timeout_s : float
        Longest silence of the server.
    on_bytes : callable, optional
        Gets (file name, bytes so far) now and then.
    """

    def __init__(
        self, cache: Path, headers: dict[str, str] | None = None, *, timeout_s: float = 30.0,
        on_bytes: Callable[[str, int], None] | None = None,
    ) -> None:
        self._cache = cache
        self._headers = headers or {}
        self._timeout_s = timeout_s
        self._on_bytes = on_bytes

    def get(self, item: Item) -> tuple[Path, bool]:
        """Return where a file is, and whether it had to be downloaded.

        Raises
        ------
        FetchError
            The server does not have it or breaks off, or the checksum is another one.
        """
        place = self._cache / item.place
        if place.exists():
            return place, False
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            # The checksum first: where it is missing, nothing is downloaded in vain.
            checksum = self._checksum(item) if item.has_checksum else None
            self._download(item, place, checksum)
        except OSError as error:
            raise FetchError(f"{place}: {(error.strerror or str(error)).lower()}") from None
        return place, True

    def _checksum(self, item: Item) -> str:
        with self._open(item.url + ".CHECKSUM") as response:
            content = response.read(4096)
        found = _CHECKSUM.fullmatch(content)
        name = item.url.rpartition("/")[2]
        if found is None or found[2] not in (None, name.encode()):
            raise FetchError(f"{item.url}.CHECKSUM: not a checksum of {name}")
        return found[1].decode()

    def _download(self, item: Item, place: Path, checksum: str | None) -> None:
        part = place.with_name(place.name + ".part")
        tag_file = place.with_name(place.name + ".part.tag")
        self._stream(item, part, tag_file)
        if checksum is not None and (actual := _sha256(part)) != checksum:
            part.unlink()
            tag_file.unlink(missing_ok=True)
            raise FetchError(f"{item.url}: SHA-256 is {actual}, not {checksum} as published")
        os.replace(part, place)
        tag_file.unlink(missing_ok=True)

    def _stream(self, item: Item, part: Path, tag_file: Path) -> None:
        done = part.stat().st_size if part.exists() else 0
        headers = {}
        if done and tag_file.exists():
            # Only what is still the same file is continued.
            headers = {"Range": f"bytes={done}-", "If-Range": tag_file.read_text()}
        try:
            response = self._open(item.url, headers)
        except _RangeRefused:
            headers, response = {}, self._open(item.url)
        with response:
            is_continued = response.status == 206
            if is_continued:
                _check_range(item.url, response.headers.get("Content-Range"), done)
            else:
                done = 0
                tag = response.headers.get("ETag") or response.headers.get("Last-Modified")
                if tag and not tag.startswith("W/"):
                    tag_file.write_text(tag)
                else:
                    tag_file.unlink(missing_ok=True)
            length = response.headers.get("Content-Length")
            expected = None if length is None else done + int(length)
            with open(part, "ab" if is_continued else "wb") as file:
                for chunk in self._chunks(item.url, response):
                    file.write(chunk)
                    done += len(chunk)
                    if self._on_bytes is not None:
                        self._on_bytes(item.url.rpartition("/")[2], done)
                file.flush()
                os.fsync(file.fileno())
        if expected is not None and done != expected:
            raise FetchError(
                f"{item.url}: broke off after {done} of {expected} bytes; run it again to go on")

    def _chunks(self, url: str, response: http.client.HTTPResponse) -> Iterator[bytes]:
        try:
            while chunk := response.read1(_CHUNK):
                yield chunk
        except (http.client.HTTPException, TimeoutError, ConnectionError) as error:
            raise FetchError(
                f"{url}: broke off: {str(error) or type(error).__name__}; run it again to go on"
            ) from None

    def _open(self, url: str, headers: dict[str, str] | None = None) -> http.client.HTTPResponse:
        if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
            raise InputError(f"{url}: expected http or https")
        request = urllib.request.Request(url, headers=headers or {})
        for name, value in self._headers.items():
            # A key is for this server, not for whom it redirects to.
            request.add_unredirected_header(name, value)
        try:
            response: http.client.HTTPResponse = urllib.request.urlopen(
                request, timeout=self._timeout_s)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 416:
                raise _RangeRefused from None
            if error.code == 404:
                raise FetchError(f"{url}: the server has no such file") from None
            raise FetchError(f"{url}: the server answers {error.code} {error.reason}") from None
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError) as error:
            reason = getattr(error, "reason", None) or error
            raise FetchError(f"{url}: cannot reach the server: {reason}") from None
        return response


class _RangeRefused(Exception):
    """The server has no bytes beyond those that are here already."""


def _check_range(url: str, text: str | None, start: int) -> None:
    if text is None or not text.startswith(f"bytes {start}-"):
        raise FetchError(f"{url}: asked for bytes from {start} on, got {text!r}")


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_directory(given: Path | None) -> Path:
    """Return the cache directory: the one given, `ENGINE_DATA`, or the user's cache."""
    if given is not None:
        return given
    if place := os.environ.get("ENGINE_DATA"):
        return Path(place)
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "perp-engine"


def free_space_check(cache: Path) -> None:
    """Refuse to begin where the disk is all but full."""
    place = next(folder for folder in (cache, *cache.absolute().parents) if folder.exists())
    if shutil.disk_usage(place).free < 1 << 26:
        raise FetchError(f"{cache}: less than 64 MB of space are left")
