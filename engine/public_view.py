"""What a venue's public liquidation feed would have shown of the liquidations there were.

The events of the engine are the truth: every liquidation order, takeover and deleveraging.
Venues publish less. A `Feed` says what one leaves out; the rules are from the venues' own
pages: Binance `forceOrder` (only the latest order of a symbol within 1000 ms), Bybit
`allLiquidation` (all, every 500 ms, `S` is the side of the position), OKX
`liquidation-orders` (at most one order of a contract in a second).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from engine.units import fraction_text

Event = Mapping[str, Any]

SECOND = 10**9
#: Decimals of a shown average price.
_AVERAGE_DECIMALS = 8


@dataclass(frozen=True)
class Feed:
    """How a venue publishes liquidations.

    Attributes
    ----------
    window_ns : int
        Length of the intervals, counted from the epoch, at whose end it publishes.
    is_latest_only : bool
        Of a symbol only the latest one of an interval; else all of them.
    is_position_side : bool
        `side` is that of the position (`buy`: a long), else that of the order.
    has_takeovers : bool
        Takeovers are published like orders; else what trades in the book alone.
    has_average_price : bool
        The average price of the trades is published, besides the order's own price.
    """

    window_ns: int
    is_latest_only: bool
    is_position_side: bool
    has_takeovers: bool
    has_average_price: bool


FEEDS: dict[str, Feed] = {
    "binance": Feed(SECOND, True, False, False, True),
    "bybit": Feed(SECOND // 2, False, True, True, False),
    "okx": Feed(SECOND, True, False, True, False),
}


@dataclass(frozen=True)
class Published:
    """One liquidation as the public sees it: decimals as text, times in ns.

    `price` is the order's own, here the bankruptcy price; `average_price` that of its trades,
    None where the venue does not say.
    """

    pushed_ts: int
    ts: int
    symbol: str
    side: str
    quantity: str
    price: str
    average_price: str | None


@dataclass
class Coverage:
    """How much of a symbol's liquidations was published: orders and takeovers, and quantity.

    `quantity` counts deleveraging too; nobody publishes it as a liquidation.
    """

    orders: int = 0
    orders_shown: int = 0
    quantity: Fraction = Fraction(0)
    quantity_shown: Fraction = Fraction(0)

    @property
    def share(self) -> Fraction | None:
        """Part of the quantity that was published, None where nothing was liquidated."""
        return self.quantity_shown / self.quantity if self.quantity else None


class PublicView:
    """Turns a stream of events into what is published, at the end of each interval.

    Parameters
    ----------
    feed : str or Feed
        A name of `FEEDS`, or rules of one's own.

    Examples
    --------
    >>> view = PublicView("binance")
    >>> step = {"event": "liquidation_step", "ts": 5, "symbol": "BTC", "side": "sell",
    ...         "limit_price": "95", "filled": "2"}
    >>> view.observe(step), view.observe({**step, "ts": 7, "filled": "1"})
    ([], [])
    >>> [row.quantity for row in view.observe({"event": "mark", "ts": 1_000_000_000})]
    ['1']
    >>> view.coverage["BTC"].share
    Fraction(1, 3)
    """

    def __init__(self, feed: str | Feed) -> None:
        self.feed = FEEDS[feed] if isinstance(feed, str) else feed
        #: By symbol; complete after `close`.
        self.coverage: dict[str, Coverage] = {}
        self._window = 0  # number of the interval under way
        self._waiting: list[Published] = []  # of that interval, oldest first
        self._trades: list[Event] = []  # of the liquidation order under way

    def observe(self, event: Event) -> list[Published]:
        """Follow one event; return what was published before it."""
        window = event["ts"] // self.feed.window_ns
        published = self.close() if window != self._window else []
        self._window = window
        handler = getattr(self, f"_on_{event['event']}", None)
        if handler is not None:
            handler(event)
        return published

    def close(self) -> list[Published]:
        """Return what is published at the end of the interval under way."""
        rows, self._waiting = self._waiting, []
        if self.feed.is_latest_only:
            latest = {row.symbol: row for row in rows}
            rows = [latest[symbol] for symbol in sorted(latest)]
        end = (self._window + 1) * self.feed.window_ns
        for row in rows:
            self._of(row.symbol).orders_shown += 1
            self._of(row.symbol).quantity_shown += Fraction(row.quantity)
        return [replace(row, pushed_ts=end) for row in rows]

    def _of(self, symbol: str) -> Coverage:
        return self.coverage.setdefault(symbol, Coverage())

    def _on_trade(self, event: Event) -> None:
        if event["liquidation"] and event["taker_account"]:
            self._trades.append(event)

    def _on_liquidation_step(self, event: Event) -> None:
        trades, self._trades = self._trades, []
        if Fraction(event["filled"]):
            self._add(
                event, event["side"], event["filled"], event["limit_price"], _average(trades),
                is_published=True)

    def _on_liquidation_takeover(self, event: Event) -> None:
        self._add(
            event, event["side"], event["quantity"], event["price"], None,
            is_published=self.feed.has_takeovers)

    def _on_backstop_takeover(self, event: Event) -> None:
        self._add(
            event, _other(event["side"]), event["quantity"], event["price"], None,
            is_published=self.feed.has_takeovers)

    def _on_adl(self, event: Event) -> None:
        self._of(event["symbol"]).quantity += Fraction(event["quantity"])

    def _add(
        self, event: Event, side: str, quantity: str, price: str, average: str | None, *,
        is_published: bool,
    ) -> None:
        """Count a liquidation order or takeover, and let it be published if it is."""
        coverage = self._of(event["symbol"])
        coverage.orders += 1
        coverage.quantity += Fraction(quantity)
        if is_published:
            self._waiting.append(Published(
                0, event["ts"], event["symbol"],
                _other(side) if self.feed.is_position_side else side, quantity, price,
                average if self.feed.has_average_price else None))


def _other(side: str) -> str:
    return "buy" if side == "sell" else "sell"


def _average(trades: Iterable[Event]) -> str | None:
    """Average price of trades by quantity, None without any; nearest, eight decimals."""
    rows = [(Fraction(trade["price"]), Fraction(trade["quantity"])) for trade in trades]
    lots = sum((quantity for _, quantity in rows), Fraction(0))
    if not lots:
        return None
    total = sum((price * quantity for price, quantity in rows), Fraction(0))
    return fraction_text(total / lots, _AVERAGE_DECIMALS)


def public_feed(events: Iterable[Event], feed: str | Feed) -> Iterator[Published]:
    """Return what the public would have seen of a stream of events, in order of publication.

    Parameters
    ----------
    events : iterable of mappings
        As `Exchange.apply` returns them.
    feed : str or Feed
        A name of `FEEDS`, or rules of one's own.

    Examples
    --------
    >>> step = {"event": "liquidation_step", "ts": 5, "symbol": "BTC", "side": "sell",
    ...         "limit_price": "95", "filled": "2"}
    >>> [(row.side, row.quantity, row.pushed_ts) for row in public_feed([step, step], "bybit")]
    [('buy', '2', 500000000), ('buy', '2', 500000000)]
    """
    view = PublicView(feed)
    for event in events:
        yield from view.observe(event)
    yield from view.close()


def coverage(events: Iterable[Event], feed: str | Feed) -> dict[str, Coverage]:
    """Return by symbol how much of the liquidations of a stream a feed would have shown."""
    view = PublicView(feed)
    for event in events:
        view.observe(event)
    view.close()
    return view.coverage
