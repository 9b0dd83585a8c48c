"""What the rebuilt tapes ask of an `OrderBook` beyond its own methods."""

from __future__ import annotations

from collections.abc import Iterator

from engine.core import OrderBook
from engine.feeds.quotes import Quote
from engine.messages import Side

#: Columns of a row of `OrderBook.trades`, as far as they are read here.
_TRADE_WIDTH, _MAKER_ID, _PRICE, _LOTS = 6, 1, 4, 5


def quote_of(book: OrderBook) -> Quote:
    """Return the best bid and offer of a book. O(1)."""
    bids, asks = book.levels(Side.BUY, 1), book.levels(Side.SELL, 1)
    return Quote(*(bids[0] if bids else (None, 0)), *(asks[0] if asks else (None, 0)))


def fills_of(book: OrderBook) -> list[tuple[int, int, int]]:
    """Return (maker order id, price, lots) of the trades since the last call, and forget them."""
    rows = memoryview(book.trades()).cast("q")
    return [
        (rows[at + _MAKER_ID], rows[at + _PRICE], rows[at + _LOTS])
        for at in range(0, len(rows), _TRADE_WIDTH)
    ]


def turns(book: OrderBook, side: int, level_count: int) -> Iterator[tuple[int, int, int]]:
    """Yield (order id, price, open lots) of the best levels of a side, first in turn first."""
    for price, _ in book.levels(side, level_count):
        for _, order_id, lots in book.queue(side, price):
            yield order_id, price, lots
