"""LOBSTER message and order book files, row by row.

A message file lists what happened to limit orders of one share on one day; an order book
file has the state of the book after each message that changed it. Neither has a header.
Prices are whole numbers of 1/10000 dollar and are taken as ticks; sizes are shares, taken
as lots. Times are seconds after midnight, in nanoseconds; a few rows carry the noise of a
float beyond the ninth decimal, so what stands there is rounded to the nearest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from engine.errors import InputError
from engine.feeds.files import read_lines
from engine.feeds.problems import Problems
from engine.feeds.quotes import Quote
from engine.messages import MONEY_MAX, Side

_COLUMNS = ("time", "type", "order id", "size", "price", "direction")
_TIME = re.compile(r"([0-9]{1,5})(?:\.([0-9]{1,20}))?", re.ASCII)
_INTEGER = re.compile(r"-?[0-9]{1,19}", re.ASCII)
_SIDES = {"1": Side.BUY, "-1": Side.SELL}
_DAY_NS = 86_400_000_000_000
#: What an order book file has for a price where a side is empty.
_NO_ASK, _NO_BID = 9_999_999_999, -9_999_999_999


class Kind(IntEnum):
    """What a message says, as numbered in the file."""

    NEW = 1  # a limit order enters the book
    REDUCE = 2  # part of it is cancelled
    DELETE = 3  # the rest of it is cancelled
    EXECUTE = 4  # it trades
    HIDDEN = 5  # an order that was never displayed trades
    CROSS = 6  # an auction trade; the orders in it have messages of their own
    HALT = 7  # trading stops or resumes: the price is a `Phase`


class Phase(IntEnum):
    """State of trading, as the price field of a halt message numbers it."""

    HALTED = -1
    QUOTING = 0  # orders are taken again; nothing trades
    TRADING = 1


class Message(NamedTuple):
    """One row of a message file.

    Attributes
    ----------
    line : int
        From 1.
    time_ns : int, ns after midnight
    kind : Kind
    order_id : int
        Assigned in the order of arrival; 0 or negative where no displayed order is meant.
    lots : int, lots
    price_ticks : int, ticks
        A `Phase` in a halt message.
    side : Side
        Of the resting order, not of its aggressor.
    """

    line: int
    time_ns: int
    kind: Kind
    order_id: int
    lots: int
    price_ticks: int
    side: Side


def read_messages(path: str, problems: Problems | None = None) -> Iterator[Message]:
    """Stream a message file.

    Parameters
    ----------
    path : str
        Zip, gzip or plain csv.
    problems : Problems, optional
        Takes the bad rows; default: the first one ends the reading.

    Yields
    ------
    Message
        In the order of the file, whose times do not go back.

    Raises
    ------
    InputError
        With file, line and reason.

    Complexity
        O(1) memory.
    """
    last_ns = 0
    problems = problems or Problems()
    for line, row in read_lines(path):
        try:
            message = _parse_message(line, row.split(","))
            if message.time_ns < last_ns:
                raise ValueError("time goes backwards")
        except ValueError as error:
            problems.bad_row(path, line, error)
            continue
        last_ns = message.time_ns
        yield message


def _parse_message(line: int, fields: list[str]) -> Message:
    if len(fields) != len(_COLUMNS):
        raise ValueError(f"expected {len(_COLUMNS)} columns of a message, found {len(fields)}")
    kind_text, side_text = fields[1], fields[5]
    if not (len(kind_text) == 1 and kind_text in "1234567"):
        raise ValueError(f"type must be 1 to 7, not {kind_text[:40]!r}")
    if side_text not in _SIDES:
        raise ValueError(f"direction must be 1 or -1, not {side_text[:40]!r}")
    order_id, lots, price = (_integer(fields[column], _COLUMNS[column]) for column in (2, 3, 4))
    kind = Kind(int(kind_text))
    if kind is Kind.HALT:
        if not Phase.HALTED <= price <= Phase.TRADING:
            raise ValueError(f"price of a halt must be -1, 0 or 1, not {price}")
    else:
        if not 0 < lots < MONEY_MAX:
            raise ValueError(f"size is out of range: {lots}")
        if not 0 < price < MONEY_MAX:
            raise ValueError(f"price is out of range: {price}")
        if kind <= Kind.EXECUTE and not 0 < order_id < MONEY_MAX:
            raise ValueError(f"order id is out of range: {order_id}")
    return Message(line, _time_ns(fields[0]), kind, order_id, lots, price, _SIDES[side_text])


def _time_ns(text: str) -> int:
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError(f"time is not seconds after midnight: {text[:40]!r}")
    decimals = (found[2] or "").ljust(9, "0")
    time_ns = int(found[1] + decimals[:9]) + (decimals[9:10] >= "5")
    if time_ns >= _DAY_NS:
        raise ValueError(f"time is not within a day: {text}")
    return time_ns


def _integer(text: str, name: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise ValueError(f"{name} is not a whole number: {text[:40]!r}")
    return int(text)


def read_quotes(path: str) -> Iterator[Quote]:
    """Stream the best bid and offer out of an order book file of any number of levels.

    Parameters
    ----------
    path : str
        Zip, gzip or plain csv; columns ask price, ask size, bid price, bid size, for each
        level from the best. Only the best is read.

    Yields
    ------
    Quote

    Raises
    ------
    InputError
        With file, line and reason.

    Complexity
        O(1) memory.
    """
    width = 0
    for line, row in read_lines(path):
        fields = row.split(",")
        width = width or len(fields)
        try:
            if len(fields) != width or width % 4:
                raise ValueError(f"expected columns by fours, as before; found {len(fields)}")
            quote = _parse_quote(fields)
        except ValueError as error:
            raise InputError(f"{path}:{line}: {error}") from None
        yield quote


def _parse_quote(fields: list[str]) -> Quote:
    names = ("ask price", "ask size", "bid price", "bid size")
    ask, ask_lots, bid, bid_lots = map(_integer, fields, names)
    return Quote(*_level(bid, bid_lots, _NO_BID), *_level(ask, ask_lots, _NO_ASK))


def _level(price: int, lots: int, empty_price: int) -> tuple[int | None, int]:
    if price == empty_price and lots == 0:
        return None, 0
    if not (0 < price < MONEY_MAX and 0 < lots < MONEY_MAX):
        raise ValueError(f"not a level of a book: price {price}, size {lots}")
    return price, lots
