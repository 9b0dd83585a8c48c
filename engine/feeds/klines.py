"""Binance Vision klines (also mark and index price klines) as mark steps.

Columns: open_time, open, high, low, close, volume, close_time, …, with or
without a header row, times in milliseconds or (spot files since 2025)
microseconds. A kline says that a price was reached, not when; each one becomes
four marks:

- the open at open_time,
- for a bar that rises (close ≥ open) the low, then the high; for a bar that
  falls the high, then the low, at one and two thirds of the bar,
- the close at close_time.

Equal neighbours are kept, so every bar has four marks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

from engine.errors import InputError
from engine.feeds.files import read_lines
from engine.feeds.steps import Step, is_price, is_symbol, parse_instant, price_problem

_FILE_NAME = re.compile(r"([A-Z0-9_]+)-[0-9]+(?:s|m|h|d|w|mo)-[0-9]{4}-[0-9]{2}")
_COLUMNS = ("open_time", "open", "high", "low", "close", "volume", "close_time")
_PRICES = ((1, "open"), (2, "high"), (3, "low"), (4, "close"))


def is_kline_line(line: str) -> bool:
    """Tell whether a file's first line is a kline header or a kline."""
    fields = line.split(",")
    if tuple(fields[:7]) == _COLUMNS:
        return True
    return len(fields) >= 7 and all(f[:1].isdigit() for f in (fields[0], fields[6], fields[1]))


def symbol_from_file_name(path: str) -> str | None:
    """Take the symbol out of a Binance Vision file name, `SYMBOL-1m-2025-10-10.zip`."""
    found = _FILE_NAME.match(Path(path).name)
    return found.group(1) if found else None


def read_klines(path: str, symbol: str | None = None) -> Iterator[Step]:
    """Stream a kline file as mark steps, four to a bar.

    Parameters
    ----------
    path : str
    symbol : str, optional
        The file holds none; default: from the file name.

    Yields
    ------
    Step

    Raises
    ------
    InputError
        With file, line and reason.
    """
    name = symbol or symbol_from_file_name(path)
    if name is None or not is_symbol(name):
        raise InputError(f"{path}: cannot tell the symbol from the file name; give --symbol NAME")
    last_ns = -1
    bar_count = 0
    for number, line in read_lines(path):
        fields = line.split(",")
        if number == 1 and fields[0] == _COLUMNS[0]:
            continue
        try:
            open_ns, close_ns, prices = _parse_kline(fields)
            if open_ns <= last_ns:
                raise ValueError(f"time goes backwards: {fields[0]} is not after the bar before")
        except ValueError as error:
            raise InputError(f"{path}:{number}: {error}") from None
        last_ns = close_ns
        bar_count += 1
        span = close_ns - open_ns
        instants = (open_ns, open_ns + span // 3, open_ns + 2 * span // 3, close_ns)
        for ts_ns, price in zip(instants, prices, strict=True):
            yield ts_ns, [(name, price, None)]
    if bar_count == 0:
        raise InputError(f"{path}: no klines in the file")


def _parse_kline(fields: list[str]) -> tuple[int, int, tuple[str, str, str, str]]:
    if len(fields) < 7:
        raise ValueError(f"expected at least 7 columns of a kline, found {len(fields)}")
    times = []
    for column in (0, 6):
        try:
            times.append(parse_instant(fields[column], ("ms", "us")))
        except ValueError as error:
            raise ValueError(f"{_COLUMNS[column]} {error}") from None
    for column, label in _PRICES:
        if not is_price(fields[column]):
            raise ValueError(f"{label} {price_problem(fields[column])}")
    if times[1] <= times[0]:
        raise ValueError("close_time is not after open_time")
    first, high, low, last = fields[1:5]
    opened, top, bottom, closed = (Decimal(text) for text in (first, high, low, last))
    if not (bottom <= min(opened, closed) and max(opened, closed) <= top):
        raise ValueError(f"open and close are not between low {low} and high {high}")
    path = (first, low, high, last) if closed >= opened else (first, high, low, last)
    return times[0], times[1], path
