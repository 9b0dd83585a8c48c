"""What the price engine is told, and how it is written down: one JSON object a line.

A journal of these lines, taken again by an engine of the same configuration, gives the
same commands.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from engine.errors import InputError
from engine.units import DecimalLike, is_decimal


@dataclass(frozen=True)
class SourcePrice:
    """A source of an index says its price.

    Attributes
    ----------
    ts_ns : int
        When it was received.
    symbol, source : str
    price : str, int or Decimal
    observed_ns : int or None
        When the source had it; its age counts from there. None, or in the future: `ts_ns`.
    """

    ts_ns: int
    symbol: str
    source: str
    price: DecimalLike
    observed_ns: int | None = None


@dataclass(frozen=True)
class BookSnapshot:
    """The own book, best levels first, as a `book` query answers.

    Attributes
    ----------
    ts_ns : int
    symbol : str
    bids, asks : sequence of (price, quantity)
        Deep enough for the impact notional, or complete.
    """

    ts_ns: int
    symbol: str
    bids: Sequence[Sequence[DecimalLike]]
    asks: Sequence[Sequence[DecimalLike]]


@dataclass(frozen=True)
class TradePrice:
    """A trade on the own book; the newest is the last price.

    Attributes
    ----------
    ts_ns : int
    symbol : str
    price : str, int or Decimal
    seq : int or None
        Of the command that traded: the `cause` of a mark that it moves. None: nobody knows.
    """

    ts_ns: int
    symbol: str
    price: DecimalLike
    seq: int | None = None


@dataclass(frozen=True)
class Clock:
    """Everything up to and including `ts_ns` has been told."""

    ts_ns: int


#: Anything that prices are made from.
PriceInput = SourcePrice | BookSnapshot | TradePrice | Clock

# Name of the input, and of its fields beside `ts`, as they are written.
_FORMS: dict[str, tuple[str, ...]] = {
    "source": ("symbol", "source", "price", "observed_ts"),
    "book": ("symbol", "bids", "asks"),
    "trade": ("symbol", "price", "seq"),
    "clock": (),
}
#: Of these the field that may be left out.
_OPTIONAL = {"source": "observed_ts", "trade": "seq"}


def encode(item: PriceInput) -> str:
    """Write an input as one line of JSON, without its end; numbers as decimal strings."""
    line: dict[str, Any] = {"ts": item.ts_ns}
    if isinstance(item, SourcePrice):
        line |= {"input": "source", "symbol": item.symbol, "source": item.source,
                 "price": _text(item.price), "observed_ts": item.observed_ns}
    elif isinstance(item, BookSnapshot):
        line |= {"input": "book", "symbol": item.symbol, "bids": _texts(item.bids),
                 "asks": _texts(item.asks)}
    elif isinstance(item, TradePrice):
        line |= {"input": "trade", "symbol": item.symbol, "price": _text(item.price)}
        if item.seq is not None:
            line["seq"] = item.seq
    else:
        line |= {"input": "clock"}
    return json.dumps(line, separators=(",", ":"))


def decode(line: str) -> PriceInput:
    """Read one line of a journal.

    Raises
    ------
    InputError
        Not JSON, an unknown input, or an unknown, missing or wrongly typed field. Whether
        symbols and prices make sense is for the engine to say.
    """
    try:
        fields = json.loads(line)
    except ValueError:
        raise InputError(f"not JSON: {line[:60]!r}") from None
    if not isinstance(fields, dict) or not isinstance(fields.get("input"), str):
        raise InputError(f"not an input: {line[:60]!r}")
    name = fields["input"]
    if name not in _FORMS:
        raise InputError(f"unknown input: {name[:40]!r}")
    optional = {_OPTIONAL[name]} if name in _OPTIONAL else set()
    if set(fields) - optional != {"input", "ts", *_FORMS[name]} - optional:
        raise InputError(f"the fields of {name!r} are ts, {', '.join(_FORMS[name])}")
    ts_ns = _whole(fields, "ts")
    if name == "source":
        observed = fields.get("observed_ts")
        return SourcePrice(
            ts_ns, _name(fields, "symbol"), _name(fields, "source"), _number(fields["price"]),
            None if observed is None else _whole(fields, "observed_ts"))
    if name == "book":
        return BookSnapshot(
            ts_ns, _name(fields, "symbol"), _levels(fields["bids"]), _levels(fields["asks"]))
    if name == "trade":
        seq = None if fields.get("seq") is None else _whole(fields, "seq")
        return TradePrice(ts_ns, _name(fields, "symbol"), _number(fields["price"]), seq)
    return Clock(ts_ns)


def read_journal(lines: Iterable[str], label: str = "journal") -> Iterator[PriceInput]:
    """Read the lines of a journal; a bad one is named with its number.

    Raises
    ------
    InputError
        ``LABEL:LINE: what is wrong``.
    """
    for number, line in enumerate(lines, 1):
        try:
            yield decode(line)
        except InputError as error:
            raise InputError(f"{label}:{number}: {error}") from None


def _text(value: DecimalLike) -> str:
    if not is_decimal(value):
        raise InputError(f"not a decimal number: {str(value)[:40]!r}")
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def _texts(levels: Sequence[Sequence[DecimalLike]]) -> list[list[str]]:
    return [[_text(value) for value in level] for level in levels]


def _whole(fields: Mapping[str, Any], name: str) -> int:
    value = fields[name]
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(f"{name} is not a whole number: {str(value)[:40]!r}")
    return value


def _name(fields: Mapping[str, Any], name: str) -> str:
    value = fields[name]
    if not isinstance(value, str):
        raise InputError(f"{name} is not a name: {str(value)[:40]!r}")
    return value


def _number(value: Any) -> DecimalLike:
    if not is_decimal(value):
        raise InputError(f"not a decimal number: {str(value)[:40]!r}")
    number: DecimalLike = value
    return number


def _levels(value: Any) -> tuple[tuple[DecimalLike, ...], ...]:
    if not isinstance(value, list) or not all(isinstance(level, list) for level in value):
        raise InputError("a side of a book is a list of [price, quantity]")
    return tuple(tuple(_number(part) for part in level) for level in value)
