"""`MarketData`: the market data of an exchange, drained after its commands."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

from engine.marketdata import render
from engine.marketdata.levels import Level, Levels, count_change
from engine.marketdata.render import Message
from engine.marketdata.statistics import TradingDay
from engine.messages import HaltMode, MarketKind, Side, TradeFlag

if TYPE_CHECKING:
    from engine.exchange import Exchange
    from engine.instruments import Instrument

#: Version of the fields; snapshots carry it.
VERSION = 1
#: Every channel of a symbol.
CHANNELS = ("l3", "l2", "l1", "trades", "auction", "status")
_ALL = 2**31 - 1  # more levels than a side can have
_REPEATED = int(TradeFlag.REPEATED)

Published = dict[str, Any]


class MarketData:
    """The public face of an exchange's books.

    Parameters
    ----------
    exchange : Exchange
        Its events are left alone; market data has a buffer of its own.
    symbols : iterable of str, optional
        Switched on at once. Default: all that are declared; later ones need `start`.
    channels : collection of str, optional
        What `drain` returns, of `CHANNELS`. Default: everything.

    Raises
    ------
    ValueError
        An unknown channel, or a symbol that is published already: messages go to the one
        that drains them, so a symbol has one `MarketData`.
    KeyError
        No such symbol.

    Notes
    -----
    Messages wait in the core until `drain`, so whoever starts this has to drain it. No
    message says whose an order is, or how much of an iceberg is hidden.

    Examples
    --------
    >>> from engine import Exchange
    >>> exchange = Exchange(core="reference")
    >>> MarketData(exchange).drain()
    []
    """

    def __init__(
        self, exchange: Exchange, symbols: Iterable[str] | None = None,
        channels: Collection[str] = CHANNELS,
    ) -> None:
        unknown = set(channels) - set(CHANNELS)
        if unknown:
            raise ValueError(f"unknown channels: {', '.join(sorted(unknown))}")
        self._exchange = exchange
        self._channels = frozenset(channels)
        self._feeds: dict[int, _SymbolFeed] = {}
        self._stirred: set[int] = set()  # what may have something to say at the next drain
        for symbol in exchange.symbols if symbols is None else symbols:
            self.start(symbol)

    def start(self, symbol: str) -> None:
        """Switch a symbol on. Its clients begin with a snapshot that is taken after this."""
        exchange = self._exchange
        instrument = exchange.instrument(symbol)
        if exchange.core.is_published(instrument.index):
            raise ValueError(f"{symbol} is published already")
        if instrument.index not in self._feeds:
            self._feeds[instrument.index] = _SymbolFeed(exchange, instrument, self._channels)
        exchange.core.publish(instrument.index, True)
        self._feeds[instrument.index].begin()
        self._stirred.add(instrument.index)

    def stop(self, symbol: str) -> None:
        """Switch a symbol off. What it said until now is still drained."""
        self._pump()
        index = self._exchange.instrument(symbol).index
        self._feeds[index].flush()
        self._stirred.add(index)
        self._exchange.core.publish(index, False)

    def drain(self) -> list[Published]:
        """Return what happened since the last drain, and forget it.

        Returns
        -------
        list of dict
            JSON-ready, by symbol in the order of their declaration. Messages of single
            changes first (`l3`, `trades`, `status`, uncrossings), in order of `market_seq`;
            then one `l2` of all levels touched, `l1` if the best levels are others now, and
            the indication of a symbol that is in an auction, if it is another one.

        Notes
        -----
        Complexity: O(messages × log levels); a symbol in an auction also costs O(levels
        that cross). One of which nothing was said costs nothing.
        """
        self._pump()
        out: list[Published] = []
        for index in sorted(self._stirred):
            feed = self._feeds[index]
            feed.flush()
            out += feed.outbox
            feed.outbox = []
            if not feed.is_in_auction:
                self._stirred.discard(index)
        return out

    def l2_snapshot(self, symbol: str, depth: int | None = None) -> Published:
        """Return the price levels of a symbol and the sequence that they include.

        Parameters
        ----------
        symbol : str
        depth : int, optional
            Best levels of each side. Default: all, which is what a client needs to follow.
        """
        rows = {
            side: [(price, sum(lots for _, lots in orders), len(orders))
                   for price, orders in levels]
            for side, levels in self._levels(symbol, depth).items()
        }
        instrument = self._exchange.instrument(symbol)
        return self._snapshot("l2", symbol, depth) | {
            "bids": render.level_rows(instrument, rows[Side.BUY]),
            "asks": render.level_rows(instrument, rows[Side.SELL]),
        }

    def l3_snapshot(self, symbol: str, depth: int | None = None) -> Published:
        """Return the orders of a symbol in their turn and the sequence that they include."""
        rows = self._levels(symbol, depth)
        instrument = self._exchange.instrument(symbol)
        return self._snapshot("l3", symbol, depth) | {
            "bids": render.order_rows(instrument, rows[Side.BUY]),
            "asks": render.order_rows(instrument, rows[Side.SELL]),
        }

    def statistics(self, symbol: str) -> Published:
        """Return a symbol's last 24 hours of trading and its figures of this moment.

        Notes
        -----
        Trades count from `start` on, and stay counted over a `stop`. Resolution and cost:
        `engine.marketdata.statistics.TradingDay`.
        """
        self._pump()
        feed, exchange = self._feed(symbol), self._exchange
        view = exchange.core.instrument_view(feed.instrument.index)
        best = {name: render.level_row(feed.instrument, feed.levels.best(side))
                for name, side in (("bid", Side.BUY), ("ask", Side.SELL))}
        return {
            "symbol": symbol, "market_seq": feed.last_seq, "seq": exchange.seq,
            "ts": exchange.ts, "since_ts": feed.since_ts,
            **render.statistics_figures(feed.instrument, feed.day.figures(exchange.ts), view),
            **best,
        }

    def state(self, channel: str, symbol: str) -> Published:
        """Return what a client of a channel begins with, all that was drained included.

        Parameters
        ----------
        channel : str
            Of `CHANNELS`. Of `trades` these are the statistics of the day.
        symbol : str

        Raises
        ------
        KeyError
            No such symbol.
        """
        if channel == "l2":
            return self.l2_snapshot(symbol)
        if channel == "l3":
            return self.l3_snapshot(symbol)
        instrument, core = self._exchange.instrument(symbol), self._exchange.core
        state = self._snapshot(channel, symbol, None)
        if channel == "trades":
            return state | self.statistics(symbol)
        if channel == "l1":
            figures = self.statistics(symbol)
            return state | {"bid": figures["bid"], "ask": figures["ask"]}
        if channel == "auction":
            return state | render.indication(instrument, core.auction_view(instrument.index))
        mode = render.mode_name(core.instrument_view(instrument.index)["halt"])
        return state | {"mode": mode}

    def _feed(self, symbol: str) -> _SymbolFeed:
        return self._feeds[self._exchange.instrument(symbol).index]

    def _levels(
        self, symbol: str, depth: int | None
    ) -> dict[Side, list[tuple[int, list[tuple[int, int]]]]]:
        index, most = self._feed(symbol).instrument.index, _ALL if depth is None else depth
        return {side: self._exchange.core.market_levels(index, int(side), most) for side in Side}

    def _snapshot(self, channel: str, symbol: str, depth: int | None) -> Published:
        exchange = self._exchange
        return {
            "channel": channel, "symbol": symbol, "type": "snapshot", "version": VERSION,
            "market_seq": exchange.core.market_seq(exchange.instrument(symbol).index),
            "seq": exchange.seq, "ts": exchange.ts, "depth": depth,
        }

    def _pump(self) -> None:
        """Hand every message that waits in the core to its symbol."""
        for message in self._exchange.core.drain_market_data():
            self._stirred.add(message[10])
            self._feeds[message[10]].take(message)


class _SymbolFeed:
    """One symbol: its levels as drained so far, and what is to be sent about it."""

    def __init__(
        self, exchange: Exchange, instrument: Instrument, channels: frozenset[str]
    ) -> None:
        self.instrument = instrument
        self.levels = Levels()
        self.day = TradingDay()
        self.outbox: list[Published] = []
        self.last_seq = 0
        self.since_ts = exchange.ts
        self._core = exchange.core
        self._channels = channels
        self._first_seq = 1  # of the next delta
        self._last: Message = ()
        self._touched: tuple[set[int], set[int]] = (set(), set())
        self._best: tuple[Level | None, Level | None] | None = None
        self._halt = int(HaltMode.NONE)
        self._indication: dict[str, Any] | None = None

    @property
    def is_in_auction(self) -> bool:
        """Whether its indication may change with a mark, without a message."""
        return self._halt == HaltMode.AUCTION

    def begin(self) -> None:
        """Start from the book as it is; the `RESET` that says so is the last message."""
        index = self.instrument.index
        for side in Side:
            self.levels.load(side, self._core.market_levels(index, int(side), _ALL))
        self._halt = self._core.instrument_view(index)["halt"]
        self._best = self._indication = None

    def take(self, message: Message) -> None:
        """Follow one message of the core."""
        kind, detail = message[11], message[13]
        self.last_seq, self._last = message[0], message
        if "l3" in self._channels:
            self.outbox.append(render.l3_message(self.instrument, message))
        if message[3]:
            self._change(message)
        elif kind == MarketKind.RESET:
            self._reset(message)
        elif kind == MarketKind.STATUS:
            self._halt, self._indication = detail, None
            if "status" in self._channels:
                self.outbox.append(render.head("status", self.instrument, message) | {
                    "mode": render.mode_name(detail)})
        elif "auction" in self._channels:
            self.outbox.append(
                render.head("auction", self.instrument, message) | {"type": "uncrossed"}
                | render.uncrossed_figures(
                    self.instrument, message[9], message[8], message[6]))

    def _change(self, message: Message) -> None:
        """Follow a message about an order; only those have a reference."""
        _, _, ts, _, price, quantity, change, _, traded, trade_price = message[:10]
        _, kind, side, detail = message[10:]
        self.levels.change(side, price, change, count_change(kind, quantity))
        self._touched[side].add(price)
        if traded and not detail & _REPEATED:
            instrument = self.instrument
            worth = instrument.worth(traded, trade_price * instrument.marks_per_tick)
            self.day.add(ts, trade_price, traded, worth)
            if "trades" in self._channels:
                self.outbox.append(render.trade_message(instrument, message))

    def _reset(self, message: Message) -> None:
        if "l2" in self._channels:
            self.outbox.append(
                {"channel": "l2", "symbol": self.instrument.symbol, "type": "reset",
                 "first_seq": message[0], "last_seq": message[0], "seq": message[1],
                 "ts": message[2]})
        self._first_seq = message[0] + 1
        for prices in self._touched:
            prices.clear()

    def flush(self) -> None:
        """Put what is told once a drain behind what is told of every change."""
        if any(self._touched):
            self._flush_levels()
        best = self.levels.best(Side.BUY), self.levels.best(Side.SELL)
        if best != self._best and self._last:
            self._best = best
            if "l1" in self._channels:
                bid, ask = (render.level_row(self.instrument, level) for level in best)
                self.outbox.append(
                    render.head("l1", self.instrument, self._last) | {"bid": bid, "ask": ask})
        if self.is_in_auction and "auction" in self._channels:
            self._flush_indication()

    def _flush_levels(self) -> None:
        # A level that came back to what it was is told, too: a snapshot may have been
        # taken in between.
        bids, asks = (
            render.level_rows(self.instrument, (
                self.levels.at(side, price)
                for price in sorted(self._touched[side], reverse=side == Side.BUY)))
            for side in Side)
        if "l2" in self._channels:
            self.outbox.append(
                {"channel": "l2", "symbol": self.instrument.symbol, "type": "delta",
                 "first_seq": self._first_seq, "last_seq": self.last_seq,
                 "seq": self._last[1], "ts": self._last[2], "bids": bids, "asks": asks})
        self._first_seq = self.last_seq + 1
        for prices in self._touched:
            prices.clear()

    def _flush_indication(self) -> None:
        now = render.indication(self.instrument, self._core.auction_view(self.instrument.index))
        if now != self._indication:
            self._indication = now
            # The reference price may move with a mark, so the time is now, not a message's.
            self.outbox.append(
                {"channel": "auction", "symbol": self.instrument.symbol,
                 "market_seq": self.last_seq, "seq": self._core.seq, "ts": self._core.ts,
                 "type": "indicative", **now})
