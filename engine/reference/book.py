"""A price-time-priority book in sorted dictionaries; it knows nothing of accounts' money."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sortedcontainers import SortedDict

from engine.messages import NONE, Side

if TYPE_CHECKING:
    from engine.reference.state import Order


class Book:
    """Two sides of price levels, each a list of orders in queue order."""

    def __init__(self) -> None:
        self.levels: dict[Side, SortedDict] = {Side.BUY: SortedDict(), Side.SELL: SortedDict()}

    def add(self, order: Order) -> None:
        """Put an order at the back of its level."""
        self.levels[order.side].setdefault(order.price, []).append(order)

    def remove(self, order: Order) -> None:
        side = self.levels[order.side]
        side[order.price].remove(order)
        if not side[order.price]:
            del side[order.price]

    def send_back(self, order: Order) -> None:
        """Move an order to the back of its level."""
        level = self.levels[order.side][order.price]
        level.remove(order)
        level.append(order)

    def is_crossed(self) -> bool:
        """Whether bids and asks overlap, as they may during an auction."""
        bid, ask = self.best_price(Side.BUY), self.best_price(Side.SELL)
        return NONE not in (bid, ask) and bid >= ask

    def best_price(self, side: Side) -> int:
        """Best price of a side in ticks, NONE where it is empty."""
        levels = self.levels[side]
        if not levels:
            return NONE
        price: int = levels.peekitem(-1 if side is Side.BUY else 0)[0]
        return price

    def front(self, side: Side) -> Order | None:
        """The order that would trade next."""
        price = self.best_price(side)
        return None if price == NONE else self.levels[side][price][0]

    def prices(self, side: Side) -> list[int]:
        """Prices of a side, best first."""
        prices = list(self.levels[side])
        return prices[::-1] if side is Side.BUY else prices

    def level_orders(self, side: Side) -> Iterator[tuple[int, list[Order]]]:
        """Levels of a side, best first."""
        levels = self.levels[side]
        for price in reversed(levels) if side is Side.BUY else levels:
            yield price, levels[price]

    def orders(self, side: Side) -> Iterator[Order]:
        """Orders of a side, level by level, in the order in which they are queued."""
        for _, orders in self.level_orders(side):
            yield from orders

    def crosses(self, side: Side, price: int) -> bool:
        """Whether an order of `side` at `price` ticks would trade at once."""
        other = Side.SELL if side is Side.BUY else Side.BUY
        best = self.best_price(other)
        if best == NONE:
            return False
        return within_limit(side, best, price)


def within_limit(side: Side, price: int, limit: int) -> bool:
    """Whether a taker of `side` with this limit (NONE: none) accepts a trade at `price`."""
    if limit == NONE:
        return True
    return price <= limit if side is Side.BUY else price >= limit
