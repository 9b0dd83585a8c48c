"""Call auctions: orders gather without trading, then all trade at one price."""

from __future__ import annotations

from typing import NamedTuple

from engine.messages import NONE, CancelReason, EventKind, MarketKind, Side
from engine.reference.liquidation import Liquidation
from engine.reference.state import Instrument, Order


class Equilibrium(NamedTuple):
    """The price at which a crossed book would be uncrossed."""

    price: int  # ticks
    lots: int  # executable
    imbalance: int  # lots to buy at the price or higher, less lots to sell at it or lower


class Auction(Liquidation):
    """Finding the auction's price, and trading at it."""

    @staticmethod
    def auction_reference(instrument: Instrument) -> int:
        """The price that decides between equals: last price, else mark in ticks, else NONE."""
        if instrument.last_price != NONE:
            return instrument.last_price
        if instrument.mark == NONE:
            return NONE
        return max(1, instrument.mark // instrument.marks_per_tick)

    def equilibrium(self, instrument: Instrument) -> Equilibrium | None:
        """The price that trades most; then least imbalance, nearest to reference, lower.

        None where the book is not crossed. Any tick may win. Between two neighbouring
        prices of `starts` nothing changes, so only the tick nearest to the reference is
        looked at there.
        """
        book = instrument.book
        if not book.is_crossed():
            return None
        highest, lowest = book.best_price(Side.BUY), book.best_price(Side.SELL)
        bids, asks = (
            {price: sum(order.leaves for order in orders)
             for price, orders in book.level_orders(side) if lowest <= price <= highest}
            for side in (Side.BUY, Side.SELL)
        )
        # Bids fall away just above their price, asks come in at theirs.
        changes = {price + 1 for price in bids} | set(asks)
        starts = sorted(price for price in changes if price <= highest)
        ends = [*(start - 1 for start in starts[1:]), highest]
        reference = self.auction_reference(instrument)
        bought, sold = sum(bids.values()), 0
        best: tuple[tuple[int, int, int, int], Equilibrium] | None = None
        for start, end in zip(starts, ends, strict=True):
            bought -= bids.get(start - 1, 0)
            sold += asks.get(start, 0)
            price = max(start, min(end, reference))
            found = Equilibrium(price, min(bought, sold), bought - sold)
            rank = (-found.lots, abs(found.imbalance), abs(price - reference), price)
            if best is None or rank < best[0]:
                best = rank, found
        assert best is not None
        return best[1]

    def uncross(self, instrument: Instrument) -> None:
        """Trade a crossed book at one price; again where reduce-only orders fell out."""
        while (found := self.equilibrium(instrument)) is not None:
            lots = 0
            while (pair := self.auction_pair(instrument, found.price)) is not None:
                lots += self.trade_pair(instrument, *pair, found.price)
            self.emit(
                EventKind.AUCTION_UNCROSSED, instrument.index, found.price, lots,
                found.imbalance,
            )
            self.send(
                instrument, MarketKind.UNCROSSED, trade_price=found.price, traded=lots,
                change=found.imbalance)

    @staticmethod
    def auction_pair(instrument: Instrument, price: int) -> tuple[Order, Order] | None:
        """The best bid and the best ask, as long as both accept the price."""
        bid, ask = instrument.book.front(Side.BUY), instrument.book.front(Side.SELL)
        if bid is None or ask is None or bid.price < price or ask.price > price:
            return None
        return bid, ask

    def trade_pair(self, instrument: Instrument, bid: Order, ask: Order, price: int) -> int:
        """Let a bid and an ask trade, or cancel one that may not; return the lots traded."""
        lots = min(bid.leaves, ask.leaves)
        if self.would_reduce_nothing(bid, ask):
            lots = 0
        for order in (bid, ask):
            if order.reduce_only:
                lots = min(lots, self.reducible_by(order))
                if lots == 0:
                    self.cancel_order(order, CancelReason.REDUCE_ONLY)
                    return 0
        maker, taker = (bid, ask) if bid.arrival < ask.arrival else (ask, bid)
        self.trade(instrument, taker, maker, lots, price, uncross=True)
        return lots
