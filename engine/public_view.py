"""What a venue's public liquidation feed would have shown of the liquidations there were.

The events of the engine are the truth: every liquidation order, takeover and deleveraging.
Venues publish less. A `Feed` says what one leaves out; the rules are from the venues' own
pages: Binance `forceOrder` (only the latest order of a symbol within 1000 ms), Bybit
`allLiquidation` (all, every 500 ms, `S` is the side of the position), OKX
`liquidation-orders` (at most one order of a contract in a second), BitMEX `liquidation`
(orders as they enter the book), Deribit `trades` (those of a liquidation are marked). A profile
names the feed of its venue as `public_view`; `feeds_of` reads it off the commands.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from engine import profiles
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
        Length of the intervals, counted from the epoch, at whose end it publishes; 0: at once.
    is_latest_only : bool
        Of a symbol only the latest one of an interval; else all of them.
    is_position_side : bool
        `side` is that of the position (`buy`: a long), else that of the order.
    has_takeovers : bool
        Takeovers are published like orders; else what trades in the book alone.
    has_average_price : bool
        The average price of the trades is published, besides the order's own price.
    has_deleveraging : bool
        Each deleveraging is published like an order of the position that set it off.
    """

    window_ns: int
    is_latest_only: bool
    is_position_side: bool
    has_takeovers: bool
    has_average_price: bool
    has_deleveraging: bool = False


FEEDS: dict[str, Feed] = {
    "all": Feed(0, False, False, True, True, True),
    "binance": Feed(SECOND, True, False, False, True),
    "bitmex": Feed(0, False, False, True, False),
    "bybit": Feed(SECOND // 2, False, True, True, False),
    "deribit": Feed(0, False, False, False, True),
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

    `quantity` counts deleveraging too; as a liquidation hardly anybody publishes it. Where
    the feed does it is among the orders as well.
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
    feed : str, Feed or mapping
        A name of `FEEDS`, or rules of one's own; or either by symbol, as `feeds_of` returns
        them. A symbol that is not there has all published.

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

    def __init__(self, feed: str | Feed | Mapping[str, str | Feed]) -> None:
        self._feeds: dict[str, Feed] = {}
        self._feed = FEEDS["all"]  # of the symbols that are not there
        if isinstance(feed, Mapping):
            self._feeds = {symbol: _feed(each) for symbol, each in feed.items()}
        else:
            self._feed = _feed(feed)
        #: By symbol; complete after `close`.
        self.coverage: dict[str, Coverage] = {}
        self._waiting: list[Published] = []  # of the intervals under way, oldest first
        self._trades: list[Event] = []  # of the liquidation order under way

    def feed_of(self, symbol: str) -> Feed:
        """Return how a symbol's liquidations are published."""
        return self._feeds.get(symbol, self._feed)

    def observe(self, event: Event) -> list[Published]:
        """Follow one event; return what was published before it."""
        published = self._publish(event["ts"]) if self._waiting else []
        handler = getattr(self, f"_on_{event['event']}", None)
        if handler is not None:
            handler(event)
        return published

    def close(self) -> list[Published]:
        """Return what is published at the end of the intervals under way."""
        return self._publish(None)

    def _publish(self, now: int | None) -> list[Published]:
        """Return what has been published by now, None: all there is, in order of publication."""
        due = [row for row in self._waiting if now is None or row.pushed_ts <= now]
        if not due:
            return []
        self._waiting = [row for row in self._waiting if now is not None and row.pushed_ts > now]
        latest = {(row.symbol, row.pushed_ts): row for row in due}
        rows = [row for row in due if not self.feed_of(row.symbol).is_latest_only
                or latest[row.symbol, row.pushed_ts] is row]
        for row in rows:
            self._of(row.symbol).orders_shown += 1
            self._of(row.symbol).quantity_shown += Fraction(row.quantity)
        return sorted(rows, key=lambda row: (
            row.pushed_ts, row.symbol if self.feed_of(row.symbol).is_latest_only else ""))

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
            is_published=self.feed_of(event["symbol"]).has_takeovers)

    def _on_backstop_takeover(self, event: Event) -> None:
        self._add(
            event, _other(event["side"]), event["quantity"], event["price"], None,
            is_published=self.feed_of(event["symbol"]).has_takeovers)

    def _on_adl(self, event: Event) -> None:
        if self.feed_of(event["symbol"]).has_deleveraging:
            self._add(
                event, _other(event["side"]), event["quantity"], event["price"], None,
                is_published=True)
        else:
            self._of(event["symbol"]).quantity += Fraction(event["quantity"])

    def _add(
        self, event: Event, side: str, quantity: str, price: str, average: str | None, *,
        is_published: bool,
    ) -> None:
        """Count a liquidation order or takeover, and let it be published if it is."""
        feed, ts = self.feed_of(event["symbol"]), event["ts"]
        coverage = self._of(event["symbol"])
        coverage.orders += 1
        coverage.quantity += Fraction(quantity)
        if is_published:
            end = (ts // feed.window_ns + 1) * feed.window_ns if feed.window_ns else ts
            self._waiting.append(Published(
                end, ts, event["symbol"], _other(side) if feed.is_position_side else side,
                quantity, price, average if feed.has_average_price else None))


def feeds_of(commands: Iterable[Mapping[str, Any]]) -> dict[str, Feed]:
    """Return by symbol the feed that its profile names, the latest one if it was changed.

    Parameters
    ----------
    commands : iterable of mappings
        As `Exchange.apply` takes them; all but `instrument` and `profile` are passed over.

    Raises
    ------
    engine.profiles.ProfileError
        A profile that does not exist.

    Examples
    --------
    >>> feeds_of([{"cmd": "instrument", "symbol": "BTC", "profile": "bybit_linear"},
    ...           {"cmd": "profile", "symbol": "BTC", "profile": "okx_swap"}]) == {
    ...     "BTC": FEEDS["okx"]}
    True
    """
    return {
        line["symbol"]: FEEDS[profiles.public_view(line.get("profile"))]
        for line in commands if line.get("cmd") in ("instrument", "profile")}


def _feed(given: str | Feed) -> Feed:
    return FEEDS[given] if isinstance(given, str) else given


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


def public_feed(
    events: Iterable[Event], feed: str | Feed | Mapping[str, str | Feed]
) -> Iterator[Published]:
    """Return what the public would have seen of a stream of events, in order of publication.

    Parameters
    ----------
    events : iterable of mappings
        As `Exchange.apply` returns them.
    feed : str, Feed or mapping
        As `PublicView` takes it.

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


def coverage(
    events: Iterable[Event], feed: str | Feed | Mapping[str, str | Feed]
) -> dict[str, Coverage]:
    """Return by symbol how much of the liquidations of a stream a feed would have shown."""
    view = PublicView(feed)
    for event in events:
        view.observe(event)
    view.close()
    return view.coverage
