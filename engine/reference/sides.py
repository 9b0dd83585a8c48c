"""Sides and signs: pure functions over ints."""

from __future__ import annotations

from engine.messages import Side


def opposite(side: Side) -> Side:
    return Side.SELL if side is Side.BUY else Side.BUY


def signed(side: Side, quantity: int) -> int:
    return quantity if side is Side.BUY else -quantity


def reducible(quantity: int, side: Side) -> int:
    """Lots by which an order of `side` may still reduce a position of `quantity`."""
    return max(0, -quantity) if side is Side.BUY else max(0, quantity)
