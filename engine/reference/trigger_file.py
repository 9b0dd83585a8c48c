"""Untriggered orders by trigger price, and when each is due; nothing about what follows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sortedcontainers import SortedDict

from engine.messages import NONE, RATE_SCALE, OrderType, Side

if TYPE_CHECKING:
    from engine.reference.state import Order

TAKE_PROFITS = (OrderType.TAKE_PROFIT_MARKET, OrderType.TAKE_PROFIT_LIMIT)


def is_rising(order: Order) -> bool:
    """Whether a rising price sets the order off: a stop to buy, a take profit to sell."""
    return (order.side is Side.BUY) is (order.type not in TAKE_PROFITS)


def is_satisfied(order: Order, reference: int) -> bool:
    """Whether a reference price (mark ticks) sets an order off, a trailing stop as it stands."""
    if order.type is OrderType.TRAILING_STOP_MARKET:
        return has_turned(order, reference)
    if is_rising(order):
        return reference >= order.trigger_price
    return reference <= order.trigger_price


def follow(order: Order, reference: int) -> None:
    """Let a trailing stop see a price: it becomes active, or its peak (trough) moves along.

    Without an activation price it is active from the first price on.
    """
    if order.type is not OrderType.TRAILING_STOP_MARKET:
        return
    is_sell = order.side is Side.SELL
    if order.peak != NONE:
        order.peak = max(order.peak, reference) if is_sell else min(order.peak, reference)
        return
    activation = order.trigger_price
    if activation == NONE or (
        reference >= activation if is_sell else reference <= activation
    ):
        order.peak = reference


def has_turned(order: Order, reference: int) -> bool:
    """Whether the price has come back from the peak (trough) by the callback rate."""
    if order.peak == NONE:
        return False
    if order.side is Side.SELL:
        return reference * RATE_SCALE <= order.peak * (RATE_SCALE - order.callback_rate)
    return reference * RATE_SCALE >= order.peak * (RATE_SCALE + order.callback_rate)


class TriggerFile:
    """The untriggered orders of one symbol that wait for one kind of reference price."""

    def __init__(self) -> None:
        self.rising: SortedDict = SortedDict()  # trigger price -> orders due at or above it
        self.falling: SortedDict = SortedDict()  # trigger price -> orders due at or below it
        self.trailing: dict[Order, None] = {}

    def add(self, order: Order) -> None:
        if order.type is OrderType.TRAILING_STOP_MARKET:
            self.trailing[order] = None
        else:
            self.levels_for(order).setdefault(order.trigger_price, {})[order] = None

    def remove(self, order: Order) -> None:
        if order.type is OrderType.TRAILING_STOP_MARKET:
            del self.trailing[order]
            return
        levels = self.levels_for(order)
        del levels[order.trigger_price][order]
        if not levels[order.trigger_price]:
            del levels[order.trigger_price]

    def levels_for(self, order: Order) -> SortedDict:
        return self.rising if is_rising(order) else self.falling

    def take_due(self, reference: int) -> list[Order]:
        """Take out and return what this price sets off; trailing stops follow it first."""
        due: list[Order] = []
        while self.rising and self.rising.peekitem(0)[0] <= reference:
            due.extend(self.rising.popitem(0)[1])
        while self.falling and self.falling.peekitem(-1)[0] >= reference:
            due.extend(self.falling.popitem(-1)[1])
        for order in list(self.trailing):
            follow(order, reference)
            if has_turned(order, reference):
                del self.trailing[order]
                due.append(order)
        return due
