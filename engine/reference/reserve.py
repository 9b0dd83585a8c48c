"""What resting orders of one side add up to, by price; pure numbers."""

from __future__ import annotations

from collections.abc import Iterator

from sortedcontainers import SortedDict

from engine.messages import Side


class Reserve:
    """Open lots of one side, kept by price so that thousands of orders are summed quickly."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self.lots = 0
        self.cost = 0  # lots times ticks
        self.by_price: SortedDict = SortedDict()  # ticks -> lots

    def add(self, price: int, lots: int) -> None:
        """Add lots at a price; negative: take them off."""
        self.lots += lots
        self.cost += lots * price
        self.by_price[price] = self.by_price.get(price, 0) + lots
        if self.by_price[price] == 0:
            del self.by_price[price]

    def worse_than(self, price: int) -> Iterator[tuple[int, int]]:
        """Prices and lots of orders to buy above a price (ticks), or to sell below it."""
        if self.side is Side.BUY:
            prices = self.by_price.irange(minimum=price, inclusive=(False, False))
        else:
            prices = self.by_price.irange(maximum=price, inclusive=(False, False))
        for each in prices:
            yield each, self.by_price[each]
