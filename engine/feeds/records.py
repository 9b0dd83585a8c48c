"""What recorded markets consist of, whatever format they were recorded in.

Every record begins with when it happened (`ts_ns`, ns since the epoch), when the recorder got
it (`local_ns`, or None) and the feed's symbol. Prices and quantities are plain decimal strings
as the source wrote them. `side` is `buy` or `sell`.
"""

from __future__ import annotations

from typing import NamedTuple

#: (price, quantity) of price levels. Readers may give `engine.feeds.columns.LevelColumns` in
#: their place, which are read like such a list.
Levels = list[tuple[str, str]]


class Trade(NamedTuple):
    """A trade; `side` is the aggressor's, None where the source has none."""

    ts_ns: int
    local_ns: int | None
    symbol: str
    price: str
    quantity: str
    side: str | None
    trade_id: str | None


class BookChange(NamedTuple):
    """New quantities of price levels; "0" where one is gone. A snapshot replaces the book."""

    ts_ns: int
    local_ns: int | None
    symbol: str
    is_snapshot: bool
    bids: Levels
    asks: Levels


class BookOrder(NamedTuple):
    """What happened to one resting order.

    `action` is `add`, `reduce` (by the quantity), `modify` (to price and quantity), `delete`,
    `execute` (the quantity) or `clear` (the whole book; nothing else is set).
    """

    ts_ns: int
    local_ns: int | None
    symbol: str
    action: str
    order_id: str
    side: str | None
    price: str | None
    quantity: str | None


class BestQuote(NamedTuple):
    """Best bid and ask; None where a side is empty."""

    ts_ns: int
    local_ns: int | None
    symbol: str
    bid: str | None
    bid_quantity: str | None
    ask: str | None
    ask_quantity: str | None


class Ticker(NamedTuple):
    """Figures of a derivative; None where the source has none."""

    ts_ns: int
    local_ns: int | None
    symbol: str
    mark_price: str | None = None
    index_price: str | None = None
    last_price: str | None = None
    funding_rate: str | None = None
    funding_ns: int | None = None
    open_interest: str | None = None


class Liquidation(NamedTuple):
    """A liquidation order as published; `sell` closes a long.

    `price` is the order's limit, `average_price` what it got, where the source tells both.
    """

    ts_ns: int
    local_ns: int | None
    symbol: str
    side: str
    price: str
    quantity: str
    average_price: str | None


class Bar(NamedTuple):
    """Prices of an interval; `ts_ns` is its end."""

    ts_ns: int
    local_ns: int | None
    symbol: str
    open_ns: int
    open: str
    high: str
    low: str
    close: str
    volume: str


class Funding(NamedTuple):
    """A funding rate that was settled."""

    ts_ns: int
    local_ns: int | None
    symbol: str
    rate: str
    interval_hours: str | None


class DepthBand(NamedTuple):
    """What rests within so many percent of the price, in sum: bids below 0, asks above."""

    ts_ns: int
    local_ns: int | None
    symbol: str
    percentage: str
    quantity: str
    notional: str


class OpenInterest(NamedTuple):
    """Open interest, and shares of longs to shorts as the venue counts them."""

    ts_ns: int
    local_ns: int | None
    symbol: str
    quantity: str
    value: str | None
    long_short_ratios: dict[str, str]


#: Anything that is read from a recorded market.
Record = (
    Trade | BookChange | BookOrder | BestQuote | Ticker | Liquidation | Bar | Funding | DepthBand
    | OpenInterest
)

#: Names of the kinds of record, on the wire and in summaries.
KIND_NAMES: dict[type, str] = {
    Trade: "trade",
    BookChange: "book_change",
    BookOrder: "book_order",
    BestQuote: "best_quote",
    Ticker: "ticker",
    Liquidation: "liquidation",
    Bar: "bar",
    Funding: "funding",
    DepthBand: "depth_band",
    OpenInterest: "open_interest",
}
