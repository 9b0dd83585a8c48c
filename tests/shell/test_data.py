"""`engine data get` against a server in this process with the layout of the real archives."""

from __future__ import annotations

import hashlib
import http.server
import io
import threading
import zipfile
from collections.abc import Iterator
from datetime import date

import pytest

from engine import cli
from engine.data import fetch
from engine.errors import InputError
from engine.feeds import open_feed

DAY = "2025-10-10"
KLINE = "1760054400000,100,110,95,105,0,1760054459999,0,60,0,0,0\n"
PLACE = f"data/futures/um/daily/markPriceKlines/BTCUSDT/1m/BTCUSDT-1m-{DAY}.zip"


def packed(text: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("any.csv", text)
    return file.getvalue()


class Archive:
    """Files by path, the requests that came, and faults to have."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, str | None]] = []
        self.break_after: int | None = None
        self.url = ""

    def put(self, path: str, content: bytes, checksum: str | None = None) -> None:
        self.files["/" + path] = content
        line = f"{checksum or hashlib.sha256(content).hexdigest()}  {path.rpartition('/')[2]}\n"
        self.files[f"/{path}.CHECKSUM"] = line.encode()

    def asked(self) -> list[str]:
        return [path for path, _ in self.requests if not path.endswith(".CHECKSUM")]


@pytest.fixture
def archive() -> Iterator[Archive]:
    it = Archive()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            it.requests.append((self.path, wanted))
            content = it.files.get(self.path)
            if content is None:
                self.send_error(404)
                return
            tag = f'"{hashlib.sha256(content).hexdigest()[:8]}"'
            start = 0
            if wanted and self.headers.get("If-Range") == tag:
                start = int(wanted.removeprefix("bytes=").removesuffix("-"))
                if start >= len(content):
                    self.send_error(416)
                    return
                self.send_response(206)
                span = f"bytes {start}-{len(content) - 1}/{len(content)}"
                self.send_header("Content-Range", span)
            else:
                self.send_response(200)
            self.send_header("ETag", tag)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            end = None if it.break_after is None else start + it.break_after
            if not self.path.endswith(".CHECKSUM"):
                self.wfile.write(content[start:end])
                it.break_after = None
            else:
                self.wfile.write(content)

        def log_message(self, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    it.url = f"http://127.0.0.1:{server.server_port}"
    yield it
    server.shutdown()
    thread.join()
    server.server_close()


def get(archive: Archive, cache, *arguments: str) -> int:
    return cli.call(cli.app, ["data", "get", *arguments, "--base-url", archive.url,
                              "--cache", str(cache)])


MARKS = ("binance", "markPriceKlines", "BTCUSDT", DAY)


def test_a_file_is_downloaded_verified_and_kept(archive, tmp_path, capsys):
    archive.put(PLACE, packed(KLINE))
    assert get(archive, tmp_path, *MARKS) == 0
    place = capsys.readouterr().out.strip()
    assert place == str(tmp_path / "binance" / PLACE)
    assert next(open_feed(place).steps())[1] == [("BTCUSDT", "100", None)]
    assert get(archive, tmp_path, *MARKS) == 0
    assert capsys.readouterr().out.strip() == place
    assert len(archive.requests) == 2  # the checksum and the file, once
    assert [path.name for path in (tmp_path / "binance" / PLACE).parent.iterdir()] == [
        f"BTCUSDT-1m-{DAY}.zip"]


def test_a_broken_download_goes_on_where_it_stopped(archive, tmp_path, capsys):
    content = packed(KLINE * 5000)
    archive.put(PLACE, content)
    archive.break_after = 100_000
    assert get(archive, tmp_path, *MARKS) == 1
    error = capsys.readouterr().err
    assert "broke off after 100000 of" in error and error.count("\n") == 1
    assert not (tmp_path / "binance" / PLACE).exists()
    assert get(archive, tmp_path, *MARKS) == 0
    assert [wanted for path, wanted in archive.requests if not path.endswith("SUM")] == [
        None, "bytes=100000-"]
    assert (tmp_path / "binance" / PLACE).read_bytes() == content


def test_another_file_since_is_downloaded_from_its_start(archive, tmp_path):
    archive.put(PLACE, packed(KLINE * 5000))
    archive.break_after = 100_000
    assert get(archive, tmp_path, *MARKS) == 1
    newer = packed(KLINE * 6000)
    archive.put(PLACE, newer)
    assert get(archive, tmp_path, *MARKS) == 0
    assert (tmp_path / "binance" / PLACE).read_bytes() == newer


def test_a_wrong_checksum_leaves_nothing_behind(archive, tmp_path, capsys):
    archive.put(PLACE, packed(KLINE), checksum="0" * 64)
    assert get(archive, tmp_path, *MARKS) == 1
    assert "SHA-256 is" in capsys.readouterr().err
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    archive.files[f"/{PLACE}.CHECKSUM"] = b"<html>"
    assert get(archive, tmp_path, *MARKS) == 1
    assert "not a checksum of" in capsys.readouterr().err


def test_what_the_server_lacks_says_so(archive, tmp_path, capsys):
    archive.put(PLACE, packed(KLINE))
    assert get(archive, tmp_path, *MARKS, "--until", "2025-10-12") == 1
    done = capsys.readouterr()
    assert done.out.count("\n") == 1  # the first day is here
    assert done.err.strip().endswith("-2025-10-11.zip.CHECKSUM: the server has no such file")
    archive.url = "http://127.0.0.1:1"
    assert get(archive, tmp_path / "other", *MARKS) == 1
    assert "cannot reach the server: " in capsys.readouterr().err


def test_tardis_gives_first_days_of_months(archive, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("TARDIS_API_KEY", raising=False)
    archive.files["/v1/deribit/trades/2025/10/01/BTC-PERPETUAL.csv.gz"] = b"\x1f\x8bwhatever"
    tardis = ("tardis", "trades", "BTC-PERPETUAL")
    assert get(archive, tmp_path, *tardis, "2025-10-01", "--exchange", "deribit") == 0
    place = tmp_path / "tardis/deribit/deribit_trades_2025-10-01_BTC-PERPETUAL.csv.gz"
    assert capsys.readouterr().out.strip() == str(place) and place.exists()
    assert get(archive, tmp_path, *tardis, "2025-10-02") == 2
    assert "2025-10-02: without a key Tardis gives the first day" in capsys.readouterr().err


def test_places_of_the_real_archives():
    days = fetch.parse_days("2025-01-31", "2025-02-01")
    items = fetch.plan_binance("https://x/", "cm", "fundingRate", "BTCUSD_PERP", days, "1m")
    assert [item.url for item in items] == [
        f"https://x/data/futures/cm/monthly/fundingRate/BTCUSD_PERP/BTCUSD_PERP-fundingRate-{m}.zip"
        for m in ("2025-01", "2025-02")]
    item = fetch.plan_binance("https://x", "spot", "aggTrades", "BTCUSDT", days[:1], "1m")[0]
    path = "data/spot/daily/aggTrades/BTCUSDT/BTCUSDT-aggTrades-2025-01-31.zip"
    assert item.url == f"https://x/{path}"
    items = fetch.plan_tardis(
        "https://y", "binance-futures", "quotes", "A/B", [date(2025, 2, 1)], has_key=True)
    assert items[0].url == "https://y/v1/binance-futures/quotes/2025/02/01/A%2FB.csv.gz"


@pytest.mark.parametrize("arguments, reason", [
    (("kraken", "trades", "X", DAY), "expected binance or tardis"),
    (("binance", "candles", "X", DAY), "binance candles: expected aggTrades"),
    (("binance", "trades", "../X", DAY), "not a symbol"),
    (("binance", "trades", "X", "yesterday"), "not a day like 2025-10-10"),
    (("binance", "trades", "X", DAY, "--until", "2025-10-09"), "expected 1 to"),
    (("binance", "trades", "X", DAY, "--market", "eu"), "--market eu: expected um, cm, spot"),
    (("binance", "klines", "X", DAY, "--interval", "../1m"), "--interval ../1m"),
    (("tardis", "trades", "X", DAY, "--exchange", ".."), "--exchange ..: expected a name"),
    (("binance", "trades", "X", DAY, "--base-url", "file:///x"), "expected http or https"),
])
def test_wrong_input(tmp_path, capsys, arguments, reason):
    assert cli.call(cli.app, ["data", "get", *arguments, "--cache", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert reason in error and error.count("\n") == 1


def test_a_date_must_be_in_range():
    with pytest.raises(InputError, match="expected 1 to 3700 days"):
        fetch.parse_days("2000-01-01", "2025-01-01")
