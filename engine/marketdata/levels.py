"""Price levels of one book in ticks and lots, kept up to date by changes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sortedcontainers import SortedDict

from engine.messages import MarketKind, Side

#: Price in ticks, displayed lots, number of orders.
Level = tuple[int, int, int]


# Comparing with a plain int is several times as fast as with an enumeration's member.
_ADD = int(MarketKind.ADD)


def count_change(kind: int, quantity: int) -> int:
    """Return by how many orders a message about an order changes its level."""
    if kind == _ADD:
        return 1
    return 0 if quantity else -1


class Levels:
    """Displayed lots and number of orders at every price of two sides.

    Notes
    -----
    Complexity: O(log levels) a change that makes or ends a level, else O(1).
    """

    def __init__(self) -> None:
        self._sides = (SortedDict(), SortedDict())

    def load(self, side: int, levels: Iterable[tuple[int, list[tuple[int, int]]]]) -> None:
        """Replace a side by what `market_levels` of the core answered."""
        self._sides[side].clear()
        self._sides[side].update(
            (price, [sum(lots for _, lots in orders), len(orders)]) for price, orders in levels)

    def change(self, side: int, price: int, lots: int, orders: int) -> None:
        """Add to a level's lots and orders; one without orders is gone.

        Raises
        ------
        ValueError
            Fewer than no lots or orders would be left: messages are missing.
        """
        levels = self._sides[side]
        level = levels.get(price)
        if level is None:
            level = levels[price] = [0, 0]
        level[0] += lots
        level[1] += orders
        if level[1] <= 0 or level[0] <= 0:
            if level != [0, 0]:
                raise ValueError(f"{level[0]} lots in {level[1]} orders at {price}")
            del levels[price]

    def at(self, side: int, price: int) -> Level:
        """Return a level, with zeros where there is none."""
        lots, orders = self._sides[side].get(price, (0, 0))
        return price, lots, orders

    def best(self, side: int) -> Level | None:
        """Return the best level of a side, None where it is empty. O(log levels)."""
        levels = self._sides[side]
        if not levels:
            return None
        price, (lots, orders) = levels.peekitem(-1 if side == Side.BUY else 0)
        return price, lots, orders

    def side(self, side: int) -> Iterator[Level]:
        """Yield the levels of a side, best first."""
        levels = self._sides[side]
        for price in reversed(levels) if side == Side.BUY else levels:
            yield (price, *levels[price])
