"""The mark: median of its components, in a band around the index, on the mark tick."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from engine.messages import RATE_SCALE
from engine.pricing.scale import SUBTICKS_PER_TICK, ceil_fraction, floor_fraction


def exact_median(values: Iterable[Fraction]) -> Fraction:
    """Return the middle value, or exactly half-way between the two middle ones.

    Examples
    --------
    >>> exact_median([Fraction(3), Fraction(1), Fraction(2)])
    Fraction(2, 1)
    """
    ordered = sorted(values)
    count = len(ordered)
    if count == 0:
        raise ValueError("a median of nothing")
    return (ordered[(count - 1) // 2] + ordered[count // 2]) * Fraction(1, 2)


def funding_basis_price(index: int, rate: int, left_ns: int, interval_ns: int) -> Fraction:
    """Return index × (1 + rate × time left ÷ interval), exactly.

    Parameters
    ----------
    index : int, subticks
    rate : int, 1e-8
        Of one interval.
    left_ns : int
        Time until the next settlement, 0 to `interval_ns`.
    interval_ns : int

    Returns
    -------
    Fraction, subticks

    Notes
    -----
    Formula: price 1 of Binance and Bybit, fair price of BitMEX.
    """
    return index * (1 + Fraction(rate * left_ns, RATE_SCALE * interval_ns))


def round_mark(value: Fraction, index: int, band: int | None) -> int:
    """Return the mark in ticks.

    Parameters
    ----------
    value : Fraction, subticks
    index : int, subticks
    band : int or None, 1e-8
        Greatest distance from the index. Where no tick lies inside, the one nearest to the
        index is taken.

    Returns
    -------
    int, ticks
        At least 1.

    Rounding
        Nearest tick, ties to even; then into the band, whose ends are rounded inwards.
    """
    ticks = round(Fraction(value, SUBTICKS_PER_TICK))
    if band is not None:
        middle = Fraction(index, SUBTICKS_PER_TICK)
        lowest = ceil_fraction(middle * Fraction(RATE_SCALE - band, RATE_SCALE))
        highest = floor_fraction(middle * Fraction(RATE_SCALE + band, RATE_SCALE))
        ticks = round(middle) if lowest > highest else min(max(ticks, lowest), highest)
    return max(ticks, 1)
