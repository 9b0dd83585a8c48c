"""Sides and signs: pure functions over ints."""

from __future__ import annotations

from engine.messages import PositionSide, Side


def opposite(side: Side) -> Side:
    return Side.SELL if side is Side.BUY else Side.BUY


def signed(side: Side, quantity: int) -> int:
    return quantity if side is Side.BUY else -quantity


def reducible(quantity: int, side: Side) -> int:
    """Lots by which an order of `side` may still reduce a position of `quantity`."""
    return max(0, -quantity) if side is Side.BUY else max(0, quantity)


def closes(leg: int, side: int) -> bool:
    """Whether orders of `side` close a hedge account's leg; the others open it."""
    return (leg, side) in ((PositionSide.LONG, Side.SELL), (PositionSide.SHORT, Side.BUY))
