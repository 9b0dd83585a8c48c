"""Tardis `trades` CSV as mark steps: every trade's price is a mark.

Columns are found by the header's names; times are microseconds, as the format
says, and a stamp of another magnitude is refused. Trades of one symbol with the
same timestamp are one sweep of one order: they collapse to the last price. All
symbols of a timestamp form one step.
"""

from __future__ import annotations

from collections.abc import Iterator

from engine.errors import InputError
from engine.feeds.files import read_lines
from engine.feeds.steps import Step, is_price, is_symbol, parse_instant, price_problem

_NEEDED = ("exchange", "symbol", "timestamp", "local_timestamp", "id", "side", "price", "amount")


def is_trades_header(line: str) -> bool:
    """Tell whether a line is the header of a Tardis trades file."""
    return set(_NEEDED) <= set(line.split(","))


def read_trades(path: str) -> Iterator[Step]:
    """Stream a Tardis trades file as mark steps.

    Parameters
    ----------
    path : str

    Yields
    ------
    Step

    Raises
    ------
    InputError
        With file, line and reason.
    """
    lines = read_lines(path)
    number, header = next(lines)
    if not is_trades_header(header):
        raise InputError(f"{path}:{number}: not the header of a Tardis trades file")
    columns = header.split(",")
    width = len(columns)
    at_symbol, at_time, at_price = (columns.index(c) for c in ("symbol", "timestamp", "price"))
    stamp = ""
    ts_ns = -1
    last_prices: dict[str, str] = {}
    known: set[str] = set()
    for number, line in lines:
        fields = line.split(",")
        if len(fields) != width:
            raise InputError(f"{path}:{number}: expected {width} columns, found {len(fields)}")
        symbol, price = fields[at_symbol], fields[at_price]
        if fields[at_time] != stamp:
            if last_prices:
                yield ts_ns, [(name, last, None) for name, last in last_prices.items()]
                last_prices = {}
            stamp = fields[at_time]
            ts_ns = _later_instant(path, number, stamp, ts_ns)
        if symbol not in known:
            if not is_symbol(symbol):
                raise InputError(f"{path}:{number}: symbol is not a name: {symbol[:40]!r}")
            known.add(symbol)
        if not is_price(price):
            raise InputError(f"{path}:{number}: price {price_problem(price)}")
        last_prices[symbol] = price
    if not last_prices:
        raise InputError(f"{path}: no trades in the file")
    yield ts_ns, [(name, last, None) for name, last in last_prices.items()]


def _later_instant(path: str, number: int, stamp: str, before_ns: int) -> int:
    try:
        ts_ns = parse_instant(stamp, ("us",))
    except ValueError as error:
        raise InputError(f"{path}:{number}: timestamp {error}") from None
    if ts_ns < before_ns:
        raise InputError(
            f"{path}:{number}: time goes backwards: {stamp} after {before_ns // 1000}"
        )
    return ts_ns
