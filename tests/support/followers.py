"""Clients of market data, and markets in which books have a lot to tell."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from engine import Exchange
from engine.marketdata import L2Book, L3Book, MarketData
from support.universe import Universe

Message = dict[str, Any]


class BusyBooks(Universe):
    """A universe of makers, icebergs, amends, groups and auctions rather than of liquidations."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.weights |= {
            "order": 20.0, "quote": 30.0, "special": 30.0, "amend": 15.0, "cancel": 4.0,
            "mark": 4.0, "auction": 2.0, "resume_all": 5.0, "stop": 8.0, "time": 1.0,
        }

    def make_time(self) -> Message:
        """Seconds to hours, so that the trading day moves on."""
        self.ts += self.random.choice((10**9, 40 * 10**9, 3600 * 10**9, 9 * 3600 * 10**9))
        return {"cmd": "time", "ts": self.ts}


class Followers:
    """An L2 and an L3 client of every symbol that has been asked for."""

    def __init__(self) -> None:
        self.l2: dict[str, L2Book] = {}
        self.l3: dict[str, L3Book] = {}

    def start(self, data: MarketData, symbol: str) -> None:
        """Start both books of a symbol from snapshots taken now."""
        self.l2[symbol] = L2Book(data.l2_snapshot(symbol))
        self.l3[symbol] = L3Book(data.l3_snapshot(symbol))

    def follow(self, messages: list[Message]) -> None:
        """Apply what is for these books."""
        for message in messages:
            books = {"l2": self.l2, "l3": self.l3}.get(message["channel"])
            if books is not None and message["symbol"] in books:
                books[message["symbol"]].apply(message)

    def compare(self, exchange: Exchange, refs: dict[tuple[int, int], int]) -> None:
        """Assert that every book is the exchange's own.

        Parameters
        ----------
        exchange : Exchange
        refs : dict
            (account, order id) to reference, from the events: the n-th order accepted is n.
        """
        for symbol, l2 in self.l2.items():
            l3, core = self.l3[symbol], exchange.core
            plain = exchange.query({"query": "book", "symbol": symbol})
            full = exchange.query({"query": "book", "symbol": symbol, "l3": True})
            for side in ("bids", "asks"):
                rows = getattr(l2, side)
                assert [row[:2] for row in rows] == plain[side]
                assert [row[2] for row in rows] == [len(orders) for _, orders in full[side]]
                assert getattr(l3, side) == [
                    [price, [[refs[account, order_id], shown]
                             for account, order_id, shown, _ in orders]]
                    for price, orders in full[side]]
            last = core.market_seq(exchange.symbol_index(symbol))
            assert l3.market_seq == last and l2.market_seq <= last


def sum_of(quantities: list[str]) -> Fraction:
    """Exact sum of decimal strings."""
    return sum(map(Fraction, quantities), Fraction(0))
