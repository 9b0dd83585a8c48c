"""Binance Vision klines (also mark, index and premium price klines), and what bars are played as.

Columns: open_time, open, high, low, close, volume, close_time, …, with or
without a header row, times in milliseconds or (spot files since 2025)
microseconds. A bar says that a price was reached, not when; each one becomes
four prices:

- the open at its beginning,
- for a bar that rises (close ≥ open) the low, then the high; for a bar that
  falls the high, then the low, at one and two thirds of the bar,
- the close at its end.

Equal neighbours are kept, so every bar has four.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal

from engine.errors import InputError
from engine.feeds.fields import instant, price
from engine.feeds.files import read_lines
from engine.feeds.records import Bar, Record, Ticker
from engine.feeds.source import Format, Head, Source

#: `BTCUSDT-1m-2025-10-10.zip`; the monthly files end in `2025-10`.
FILE_NAME = re.compile(r"([A-Z0-9_]+)-[0-9]+(?:s|m|h|d|w|mo)-[0-9]{4}-[0-9]{2}")
_COLUMNS = ("open_time", "open", "high", "low", "close", "volume", "close_time")


def is_kline_head(head: Head) -> bool:
    """Tell whether a file's first line is a kline header or a kline."""
    row = head.fields
    if tuple(row[:7]) == _COLUMNS:
        return True
    # 13 digits are milliseconds since 2001, 16 are microseconds.
    return len(row) >= 7 and all(len(row[k]) in (13, 16) and row[k].isdigit() for k in (0, 6))


def play_bar(bar: Bar) -> Iterator[Record]:
    """Yield what a bar is played as: its four prices as marks, the last one with the bar.

    Raises
    ------
    ValueError
        Open or close are not between low and high, or the bar ends before it begins.
    """
    if bar.ts_ns <= bar.open_ns:
        raise ValueError("close_time is not after open_time")
    opened, top, bottom, closed = map(Decimal, (bar.open, bar.high, bar.low, bar.close))
    if not (bottom <= min(opened, closed) and max(opened, closed) <= top):
        raise ValueError(f"open and close are not between low {bar.low} and high {bar.high}")
    turns = (bar.low, bar.high) if closed >= opened else (bar.high, bar.low)
    span = bar.ts_ns - bar.open_ns
    yield Ticker(bar.open_ns, None, bar.symbol, bar.open)
    yield Ticker(bar.open_ns + span // 3, None, bar.symbol, turns[0])
    yield Ticker(bar.open_ns + 2 * span // 3, None, bar.symbol, turns[1])
    yield bar


def read_klines(source: Source) -> Iterator[Record]:
    """Stream a kline file, four prices to a bar.

    Raises
    ------
    InputError
        With file, line and reason.
    """
    name = source.named(FILE_NAME)
    last_ns = -1
    bar_count = 0
    for number, line in read_lines(source.path):
        row = line.split(",")
        if number == 1 and row[0] == _COLUMNS[0]:
            continue
        try:
            bar = _parse_kline(name, row)
            if bar.open_ns <= last_ns:
                raise ValueError(f"time goes backwards: {row[0]} is not after the bar before")
            played = list(play_bar(bar))
        except ValueError as error:
            source.problems.bad_row(source.path, number, error)
            continue
        last_ns = bar.ts_ns
        bar_count += 1
        yield from played
    if bar_count == 0:
        raise InputError(f"{source.path}: no klines in the file")


def _parse_kline(symbol: str, row: list[str]) -> Bar:
    if len(row) < 7:
        raise ValueError(f"expected at least 7 columns of a kline, found {len(row)}")
    times = [instant(row[column], _COLUMNS[column], "ms", "us") for column in (0, 6)]
    opened, high, low, closed = map(price, row[1:5], _COLUMNS[1:5])
    return Bar(times[1], None, symbol, times[0], opened, high, low, closed, row[5])


FORMATS = (Format("binance klines", is_kline_head, read_klines, FILE_NAME),)
