"""A plain Python book: sorted prices, first in first out by dictionary. It is compared with.

It knows what the order streams use: limit and market orders, good till cancelled or
immediate, post-only, cancels, amends.
"""

from __future__ import annotations

import array
from dataclasses import dataclass

from sortedcontainers import SortedList

from engine.messages import Side, TimeInForce


@dataclass(slots=True)
class PlainOrder:
    """A resting order."""

    key: tuple[int, int]
    side: int
    price: int
    leaves: int


class PlainBook:
    """A price-time-priority book driven by packed commands.

    Attributes
    ----------
    orders : dict
        (owner, order id) → resting order.
    trade_count : int
    """

    def __init__(self) -> None:
        self.orders: dict[tuple[int, int], PlainOrder] = {}
        self.trade_count = 0
        self._levels: tuple[dict[int, dict[tuple[int, int], PlainOrder]], ...] = ({}, {})
        # Best first: bids are filed by their negated price.
        self._prices = (SortedList(), SortedList())
        self._tape = array.array("q")

    @property
    def level_count(self) -> int:
        """Price levels of both sides together. O(1)."""
        return len(self._levels[0]) + len(self._levels[1])

    def trade_bytes(self) -> bytes:
        """All trades: maker owner, maker id, taker owner, taker id, price, lots; int64 each."""
        return self._tape.tobytes()

    def best(self, side: int) -> int | None:
        """Best price of a side. O(1)."""
        prices = self._prices[side]
        if not prices:
            return None
        best: int = -prices[0] if side == Side.BUY else prices[0]
        return best

    def levels(self, side: int) -> list[tuple[int, int]]:
        """(price, lots) of a side, best first."""
        prices = [-price if side == Side.BUY else price for price in self._prices[side]]
        levels = self._levels[side]
        return [(price, sum(o.leaves for o in levels[price].values())) for price in prices]

    def apply(self, row: tuple[int, ...]) -> int:
        """Apply one packed command; return the lots traded, -1 where it is refused."""
        op, owner, order_id, side, price, quantity, time_in_force, flags = row
        key = (owner, order_id)
        if op == 0:
            return self._place(key, side, price, quantity, time_in_force, flags >= 8)
        order = self.orders.get(key)
        if order is None:
            return -1
        if op == 1:
            self._remove(order)
            return 0
        if price == order.price and quantity <= order.leaves:
            order.leaves = quantity
            return 0
        self._remove(order)
        order.price, order.leaves = price, quantity
        traded = self._sweep(order, order.price)
        if order.leaves:
            self._rest(order)
        return traded

    def _place(
        self, key: tuple[int, int], side: int, price: int, quantity: int, time_in_force: int,
        post_only: bool,
    ) -> int:
        if key in self.orders:
            return -1
        if post_only and self._crosses(side, price):
            return -1
        order = PlainOrder(key, side, price, quantity)
        traded = self._sweep(order, price)
        if order.leaves and time_in_force == TimeInForce.GTC:
            self._rest(order)
        return traded

    def _crosses(self, side: int, price: int) -> bool:
        best = self.best(1 - side)
        return best is not None and (best <= price if side == Side.BUY else best >= price)

    def _rest(self, order: PlainOrder) -> None:
        level = self._levels[order.side].get(order.price)
        if level is None:
            level = self._levels[order.side][order.price] = {}
            self._prices[order.side].add(-order.price if order.side == Side.BUY else order.price)
        level[order.key] = self.orders[order.key] = order

    def _remove(self, order: PlainOrder) -> None:
        level = self._levels[order.side][order.price]
        del level[order.key], self.orders[order.key]
        if not level:
            self._drop_level(order.side, order.price)

    def _drop_level(self, side: int, price: int) -> None:
        del self._levels[side][price]
        self._prices[side].remove(-price if side == Side.BUY else price)

    def _sweep(self, taker: PlainOrder, limit: int) -> int:
        """Trade against the other side up to the limit (0: none); return the lots traded."""
        side = 1 - taker.side
        wanted = taker.leaves
        while taker.leaves:
            best = self.best(side)
            if best is None or (limit and not self._crosses(taker.side, limit)):
                break
            level = self._levels[side][best]
            while taker.leaves and level:
                maker = next(iter(level.values()))
                lots = min(taker.leaves, maker.leaves)
                taker.leaves -= lots
                maker.leaves -= lots
                self.trade_count += 1
                self._tape.extend((*maker.key, *taker.key, best, lots))
                if not maker.leaves:
                    del level[maker.key], self.orders[maker.key]
            if not level:
                self._drop_level(side, best)
        return wanted - taker.leaves
