"""Lean's minute, hour and daily bars of trades and of quotes.

No header; the symbol is in the name of the file or of its folder, the day of minute bars in
the name of the file. A bar's time is its beginning; it is played to its last nanosecond.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from engine.errors import InputError
from engine.feeds import fields as of
from engine.feeds.files import read_lines
from engine.feeds.klines import play_bar
from engine.feeds.records import Bar, BestQuote, Funding, Record
from engine.feeds.source import Format, Head, Source
from engine.feeds.steps import is_symbol

_DAY = re.compile(r"([0-9]{8})_(?:trade|quote)")
_SYMBOL = re.compile(r"([A-Za-z0-9]+)_(?:trade|quote)")
_CLOCK = re.compile(r"([0-9]{8}) ([0-9]{2}:[0-9]{2}(?::[0-9]{2})?)")
_MILLISECONDS = re.compile(r"[0-9]{1,8}")
_MINUTE_NS, _HOUR_NS = 60 * 10**9, 3600 * 10**9
_PRICES = ("open", "high", "low", "close")
_TRADE_WIDTH, _QUOTE_WIDTH, _FUNDING_WIDTH = 6, 11, 2


def _read(source: Source) -> Iterator[Record]:
    path = Path(source.path)
    symbol = _symbol(source, path)
    day = _DAY.match(path.name)
    midnight = of.date_ns(day[1]) if day else source.date_ns
    if midnight is None and not _CLOCK.match(next(read_lines(source.path))[1]):
        raise InputError(f"{source.path}: cannot tell the day from the file name; give --date")
    # Minute bars count from midnight; of the others the folder says how long they are.
    if day:
        length = _MINUTE_NS
    else:
        length = _HOUR_NS if path.parent.name == "hour" else of.NS_PER_DAY
    good_count = before_ns = 0
    for number, line in read_lines(source.path):
        try:
            records = _parse(symbol, line.split(","), midnight or 0, length)
            if records[0].ts_ns < before_ns:
                raise ValueError("time goes backwards")
        except ValueError as error:
            source.problems.bad_row(source.path, number, error)
            continue
        before_ns = records[-1].ts_ns
        good_count += 1
        yield from records
    if good_count == 0:
        raise InputError(f"{source.path}: no bars in the file")


def _symbol(source: Source, path: Path) -> str:
    found = _SYMBOL.match(path.name) if not _DAY.match(path.name) else None
    if path.suffix == ".csv" and found is None and not _DAY.match(path.name):
        name = path.stem  # a file of funding rates
    else:
        name = found[1] if found else path.parent.name
    name = source.symbol or name.upper()
    if not is_symbol(name):
        raise InputError(f"{source.path}: cannot tell the symbol; give --symbol NAME")
    return name


def _parse(symbol: str, row: list[str], midnight: int, length: int) -> list[Record]:
    at = _instant(row[0], midnight)
    if len(row) == _TRADE_WIDTH:
        opened, high, low, closed = map(of.price, row[1:5], _PRICES)
        volume = of.quantity(row[5], "volume")
        bar = Bar(at + length - 1, None, symbol, at, opened, high, low, closed, volume)
        return list(play_bar(bar))
    if len(row) == _QUOTE_WIDTH:
        bid, ask = of.optional_price(row[4], "bid"), of.optional_price(row[9], "ask")
        return [BestQuote(
            at + length - 1, None, symbol, bid, of.quantity(row[5], "bid size") if bid else None,
            ask, of.quantity(row[10], "ask size") if ask else None)]
    if len(row) == _FUNDING_WIDTH:
        return [Funding(at, None, symbol, of.number(row[1], "rate"), None)]
    raise ValueError(f"expected {_TRADE_WIDTH}, {_QUOTE_WIDTH} or 2 columns, found {len(row)}")


def _instant(text: str, midnight: int) -> int:
    found = _CLOCK.fullmatch(text)
    if found:
        clock = found[2] if found[2].count(":") == 2 else found[2] + ":00"
        day = f"{found[1][:4]}-{found[1][4:6]}-{found[1][6:]}"
        return of.clock_instant(f"{day} {clock}", "time")
    if not _MILLISECONDS.fullmatch(text) or int(text) * 10**6 >= of.NS_PER_DAY:
        raise ValueError(f"time is not milliseconds after midnight: {text[:40]!r}")
    return midnight + int(text) * 10**6


def _is_lean(head: Head) -> bool:
    row = head.fields
    if len(row) not in (_TRADE_WIDTH, _QUOTE_WIDTH, _FUNDING_WIDTH):
        return False
    if _CLOCK.fullmatch(row[0]):
        return True
    return len(row) > 2 and bool(_MILLISECONDS.fullmatch(row[0])) and "." not in row[0] and (
        bool(_DAY.match(Path(head.path).name)))


FORMATS = (Format("lean bars", _is_lean, _read),)
