"""Which records set the mark of a symbol, and to what.

A feed may tell a price in several ways; the engine wants one mark. The best source seen so
far decides, symbol by symbol: a mark price (or a bar) before the middle of the best quotes,
this before the middle of a rebuilt book, then the last trade's price, then what liquidations
were filled at. A better source takes over where it first appears; a worse one never does.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from sortedcontainers import SortedDict

from engine.errors import InputError
from engine.feeds.records import (
    Bar,
    BestQuote,
    BookChange,
    Liquidation,
    Record,
    Ticker,
    Trade,
)
from engine.feeds.steps import Row
from engine.units import decimal_text, split_decimal

#: What `--price` offers: the sources that may set a mark, best last.
RANKS = {"liquidation": 1, "last": 2, "book": 3, "quote": 4, "mark": 5}
CHOICES = ("auto", *RANKS)
#: Prices have at most 20 decimals; half of one more.
_DECIMALS = 21
_ONE = 10**_DECIMALS


@lru_cache(maxsize=1 << 16)
def _units(text: str) -> int:
    parts = split_decimal(text)
    if isinstance(parts, int):
        raise InputError(f"the price is too long: {text[:60]}")
    digits, decimals = parts
    units: int = digits * _ONE // 10**decimals
    return units


class _Levels:
    """The best bid and ask of a symbol's book."""

    __slots__ = ("_asks", "_bids")

    def __init__(self) -> None:
        self._bids: SortedDict = SortedDict()
        self._asks: SortedDict = SortedDict()

    def apply(self, change: BookChange) -> None:
        for side, levels in ((self._bids, change.bids), (self._asks, change.asks)):
            if change.is_snapshot:
                side.clear()
            for price, quantity in levels:
                if quantity.strip("0."):
                    side[_units(price)] = price
                else:
                    side.pop(_units(price), None)

    def middle(self) -> str | None:
        if not (self._bids and self._asks):
            return None
        return _middle(self._bids.peekitem(-1)[0], self._asks.peekitem(0)[0])


def _middle(bid: int, ask: int) -> str | None:
    # A crossed or locked book is one in change, not a price.
    return decimal_text((bid + ask) // 2, _DECIMALS) if bid < ask else None


class Marker:
    """Turns records into rows of marks.

    Parameters
    ----------
    choice : str
        `auto`, or the only source that counts: one of `RANKS`.
    only_first : bool
        Whether a symbol's marks end with those of the first moment that has one.
    """

    def __init__(self, choice: str = "auto", only_first: bool = False) -> None:
        if choice not in CHOICES:
            raise InputError(f"--price {choice}: expected one of {', '.join(CHOICES)}")
        self._only = RANKS.get(choice)
        self._ranks: dict[str, int] = {}
        self._books: dict[str, _Levels] = {}
        self._only_first = only_first
        self._done: set[str] = set()

    def end_moment(self, symbols: Iterable[str]) -> None:
        """Take note of which symbols a moment had marks of."""
        if self._only_first:
            self._done.update(symbols)

    def row_of(self, record: Record) -> Row | None:
        """Return the mark that a record sets, or None."""
        symbol = record.symbol
        if symbol in self._done:
            return None
        kind = type(record)
        if kind is Trade:
            return self._take(symbol, 2, record.price)  # type: ignore[union-attr]
        if kind is BestQuote:
            return self._take(symbol, 4, _quoted(record))  # type: ignore[arg-type]
        if kind is BookChange:
            if self._ranks.get(symbol, 0) > 3 or self._only not in (None, 3):
                return None
            book = self._books.setdefault(symbol, _Levels())
            book.apply(record)  # type: ignore[arg-type]
            return self._take(symbol, 3, book.middle())
        if kind is Ticker:
            return self._ticker(record)  # type: ignore[arg-type]
        if kind is Bar:
            return self._take(symbol, 5, record.close)  # type: ignore[union-attr]
        if kind is Liquidation:
            paid = record.average_price or record.price  # type: ignore[union-attr]
            return self._take(symbol, 1, paid)
        return None

    def _ticker(self, ticker: Ticker) -> Row | None:
        if ticker.mark_price is not None:
            return self._take(ticker.symbol, 5, ticker.mark_price, ticker.index_price)
        return self._take(ticker.symbol, 2, ticker.last_price, ticker.index_price)

    def _take(
        self, symbol: str, rank: int, price: str | None, index: str | None = None
    ) -> Row | None:
        if price is None:
            return None
        if self._only is not None:
            return (symbol, price, index) if rank == self._only else None
        best = self._ranks.get(symbol, 0)
        if rank < best:
            return None
        if rank > best:
            self._ranks[symbol] = rank
            if rank > 3:
                self._books.pop(symbol, None)
        return symbol, price, index


def _quoted(quote: BestQuote) -> str | None:
    if quote.bid is None or quote.ask is None:
        return None
    return _middle(_units(quote.bid), _units(quote.ask))
