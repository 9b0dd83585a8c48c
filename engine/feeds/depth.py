"""Captures of Binance market streams, line by line, in whole ticks and lots.

A line is the local receive time in nanoseconds, a blank, and what was received: a message of
a combined stream (`{"stream": …, "data": …}`) or the answer to a depth request
(`{"lastUpdateId": …}`), as the collector of hftbacktest records them. USD-M, COIN-M and
spot differ only in which fields are there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from engine.errors import InputError
from engine.feeds.files import read_lines
from engine.feeds.json_fields import exchange_ns, id_of, level_texts, load_object, text_of
from engine.feeds.steps import is_symbol, parse_instant
from engine.messages import MONEY_MAX, OFF_GRID
from engine.units import Grid, is_decimal

#: A snapshot of 1,000 levels a side has some 65 kB, one of 5,000 five times that.
LINE_LENGTH_MAX = 1 << 20
#: Decimal strings whose conversion is remembered, of prices and of quantities each.
_REMEMBERED = 1 << 15

Levels = list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class _Record:
    """What every line has.

    Attributes
    ----------
    line : int
        From 1.
    local_ns : int, ns since the epoch
        When it was received.
    exchange_ns : int or None, ns since the epoch
        When it happened (`T`), else when it was sent (`E`), else None.
    """

    line: int
    local_ns: int
    exchange_ns: int | None


@dataclass(frozen=True, slots=True)
class DepthUpdate(_Record):
    """New quantities of price levels.

    Attributes
    ----------
    first_id, last_id : int
        Update ids that it covers (`U`, `u`).
    previous_id : int
        Last id of the update before it: `pu`, or where there is none (spot) `U` - 1.
    bids, asks : list of (ticks, lots)
        0 lots: the level is gone.
    """

    first_id: int
    last_id: int
    previous_id: int
    bids: Levels
    asks: Levels


@dataclass(frozen=True, slots=True)
class DepthSnapshot(_Record):
    """The best levels of the book, as of one update id."""

    last_id: int
    bids: Levels
    asks: Levels


@dataclass(frozen=True, slots=True)
class BookTicker(_Record):
    """Best bid and offer after the update with this id; 0 ticks where a side is empty."""

    update_id: int
    bid_ticks: int
    bid_lots: int
    ask_ticks: int
    ask_lots: int


@dataclass(frozen=True, slots=True)
class TradePrint(_Record):
    """A trade on the book."""

    trade_id: int
    price_ticks: int
    lots: int
    is_buyer_maker: bool


@dataclass(frozen=True, slots=True)
class OtherMessage(_Record):
    """A message of a stream that is not read here."""

    stream: str


Record = DepthUpdate | DepthSnapshot | BookTicker | TradePrint | OtherMessage


def read_capture(path: str, tick: Grid, lot: Grid) -> Iterator[Record]:
    """Stream a capture of one symbol.

    Parameters
    ----------
    path : str
        Zip, gzip or plain text.
    tick, lot : Grid
        Steps of price and quantity; fine enough for every number in the file.

    Yields
    ------
    DepthUpdate, DepthSnapshot, BookTicker, TradePrint or OtherMessage
        In the order of the file.

    Raises
    ------
    InputError
        With file, line and reason.

    Complexity
        O(1) memory.
    """
    parser = _Parser(tick, lot)
    for line, text in read_lines(path, LINE_LENGTH_MAX):
        try:
            record = parser.parse(line, text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}:{line}: {error}") from None
        yield record


class _Parser:
    """Turns lines into records; knows the grids, and the symbol once one was seen."""

    def __init__(self, tick: Grid, lot: Grid) -> None:
        # The same prices and quantities come again and again.
        self._ticks = lru_cache(_REMEMBERED)(partial(_units, tick, "price"))
        self._lots = lru_cache(_REMEMBERED)(partial(_units, lot, "quantity"))
        self._symbol: str | None = None

    def parse(self, line: int, text: str) -> Record:
        stamp, _, payload = text.partition(" ")
        try:
            local_ns = parse_instant(stamp, ("ns",))
        except ValueError as error:
            raise ValueError(f"local time {error}") from None
        message = load_object(payload, " behind the local time")
        if "lastUpdateId" in message:
            return self._snapshot(message, (line, local_ns, exchange_ns(message)))
        stream, data = message.get("stream"), message.get("data")
        if not (isinstance(stream, str) and isinstance(data, dict)):
            raise ValueError("neither a message of a stream nor a depth snapshot")
        self._check_symbol(data.get("s"))
        origin = (line, local_ns, exchange_ns(data))
        # The spot ticker does not name its event; its stream does.
        event = data.get("e", stream.rpartition("@")[2])
        if event == "depthUpdate":
            return self._update(data, origin)
        if event == "bookTicker":
            return self._ticker(data, origin)
        # `X` tells trades of the book from those of the insurance fund and the like.
        if event == "trade" and data.get("X", "MARKET") == "MARKET":
            return self._trade(data, origin)
        return OtherMessage(*origin, stream)

    def _check_symbol(self, symbol: object) -> None:
        if symbol == self._symbol:
            return
        if not is_symbol(symbol):
            raise ValueError(f"symbol is not a name: {str(symbol)[:40]!r}")
        if self._symbol is not None:
            # A snapshot does not say whose it is.
            raise ValueError(f"a capture of {self._symbol} cannot hold {symbol} too")
        self._symbol = str(symbol)

    def _update(self, data: dict[str, Any], origin: tuple[int, int, int | None]) -> DepthUpdate:
        first_id, last_id = id_of(data, "U"), id_of(data, "u")
        previous_id = id_of(data, "pu") if "pu" in data else first_id - 1
        if not previous_id < first_id <= last_id:
            raise ValueError(f"update ids are not in order: {previous_id}, {first_id}, {last_id}")
        return DepthUpdate(
            *origin, first_id, last_id, previous_id, self._levels(data, "b"),
            self._levels(data, "a"),
        )

    def _snapshot(
        self, data: dict[str, Any], origin: tuple[int, int, int | None]
    ) -> DepthSnapshot:
        bids, asks = self._levels(data, "bids"), self._levels(data, "asks")
        return DepthSnapshot(*origin, id_of(data, "lastUpdateId"), bids, asks)

    def _ticker(self, data: dict[str, Any], origin: tuple[int, int, int | None]) -> BookTicker:
        return BookTicker(
            *origin, id_of(data, "u"),
            self._ticks(text_of(data, "b")), self._lots(text_of(data, "B")),
            self._ticks(text_of(data, "a")), self._lots(text_of(data, "A")),
        )

    def _trade(self, data: dict[str, Any], origin: tuple[int, int, int | None]) -> TradePrint:
        price, lots = self._ticks(text_of(data, "p")), self._lots(text_of(data, "q"))
        is_buyer_maker = data.get("m")
        if not (price and lots and isinstance(is_buyer_maker, bool)):
            raise ValueError("a trade needs a price, a quantity and its maker's side")
        return TradePrint(*origin, id_of(data, "t"), price, lots, is_buyer_maker)

    def _levels(self, data: dict[str, Any], name: str) -> Levels:
        levels = []
        for row in level_texts(data, name):
            levels.append((self._ticks(row[0]), self._lots(row[1])))
            if levels[-1][0] == 0:
                raise ValueError(f"{name} has a level at price zero")
        return levels


def _units(grid: Grid, name: str, text: str) -> int:
    if not is_decimal(text):
        raise ValueError(f"{name} is not a decimal number: {text[:40]!r}")
    units = grid.units(text)
    if units == OFF_GRID:
        raise ValueError(f"{name} is not a multiple of {grid.text(1)}: {text[:40]!r}")
    if not 0 <= units < MONEY_MAX:
        raise ValueError(f"{name} is out of range: {text[:40]!r}")
    return units
