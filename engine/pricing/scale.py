"""Units of prices, rates and times in this package, and how they are read and rounded.

A price is a whole number of *subticks*, 1e-8 of the symbol's mark tick. A premium
is in 1e-12, a rate in 1e-8 as everywhere in the engine, a time in ns since the epoch. What
is kept is an integer; what is derived in one go is an exact `Fraction`, rounded once.
"""

from __future__ import annotations

from fractions import Fraction

from engine.errors import InputError
from engine.messages import MONEY_MAX, RATE_SCALE
from engine.units import RATE, DecimalLike, Grid, decimal_text, is_decimal, split_decimal

SECOND_NS = 1_000_000_000
HOUR_NS = 3600 * SECOND_NS
DAY_NS = 24 * HOUR_NS

#: Decimals by which a subtick is finer than the mark tick.
SUBTICK_DECIMALS = 8
SUBTICKS_PER_TICK = 10**SUBTICK_DECIMALS
#: Premiums are in units of 1e-12: rounding one of them cannot be seen in a rate of 1e-8.
PREMIUM_SCALE = 10**12


def divide_nearest(numerator: int, denominator: int) -> int:
    """Return the nearest integer to a quotient, ties to even.

    Parameters
    ----------
    numerator : int
    denominator : int
        Positive.

    Examples
    --------
    >>> divide_nearest(5, 2), divide_nearest(7, 2), divide_nearest(-5, 2)
    (2, 4, -2)
    """
    quotient, rest = divmod(numerator, denominator)
    if 2 * rest > denominator or (2 * rest == denominator and quotient & 1):
        return quotient + 1
    return quotient


def ceil_fraction(value: Fraction) -> int:
    """Return the least integer that is not below `value`."""
    return -(-value.numerator // value.denominator)


def floor_fraction(value: Fraction) -> int:
    """Return the greatest integer that is not above `value`."""
    return value.numerator // value.denominator


def clamp(value: Fraction, lowest: Fraction, highest: Fraction) -> Fraction:
    """Return `value`, moved into [lowest, highest]."""
    return min(max(value, lowest), highest)


def exact(value: DecimalLike, what: str) -> Fraction:
    """Return a decimal as an exact fraction.

    Raises
    ------
    InputError
        A float or another type, or a number of absurd length.
    """
    parts = split_decimal(value) if is_decimal(value) else 0
    if isinstance(parts, int):
        raise InputError(f"{what} is not a decimal number: {str(value)[:40]!r}")
    return Fraction(parts[0], 10 ** parts[1])


def rate_units(value: DecimalLike, what: str) -> int:
    """Return a rate in units of 1e-8.

    Raises
    ------
    InputError
        Not a decimal, finer than 1e-8, or beyond +-1.
    """
    units = RATE.units(value) if is_decimal(value) else None
    if units is None or abs(units) > RATE_SCALE:
        raise InputError(f"{what} is not a rate within ±1, in steps of 1e-8: {str(value)[:40]!r}")
    return units


class PriceScale:
    """Mark tick and subtick of a symbol, and the conversions between them.

    Parameters
    ----------
    mark_tick : str, int or Decimal
        As in the symbol's instrument.

    Raises
    ------
    InputError
        Not a positive decimal.

    Examples
    --------
    >>> scale = PriceScale("0.5")
    >>> scale.read("60000.25", "price"), scale.text(120001)
    (12000050000000, '60000.5')
    """

    __slots__ = ("_subtick", "_tick")

    def __init__(self, mark_tick: DecimalLike) -> None:
        parts = split_decimal(mark_tick) if is_decimal(mark_tick) else 0
        if isinstance(parts, int) or parts[0] <= 0:
            raise InputError(f"mark_tick is not a positive decimal: {str(mark_tick)[:40]!r}")
        self._tick = Grid(mark_tick)
        self._subtick = Grid(decimal_text(parts[0], parts[1] + SUBTICK_DECIMALS))

    @property
    def subtick(self) -> Fraction:
        """Size of one subtick, in quote."""
        return self._subtick.step

    def read(self, price: DecimalLike, what: str) -> int:
        """Return a price in subticks.

        Raises
        ------
        InputError
            Not a decimal, not positive, or beyond 2**62 ticks.

        Rounding
            Nearest, ties to even: sources may have more decimals than a subtick.
        """
        units = self._subtick.nearest(price) if is_decimal(price) else 0
        if not 0 < units <= MONEY_MAX * SUBTICKS_PER_TICK:
            raise InputError(f"{what} is not a price above zero: {str(price)[:40]!r}")
        return units

    def text(self, ticks: int) -> str:
        """Return a number of mark ticks as a decimal string."""
        return self._tick.text(ticks)

    def tick_text(self, subticks: int) -> str:
        """Return a price in subticks on the mark tick: nearest, ties to even, at least one."""
        return self._tick.text(max(1, divide_nearest(subticks, SUBTICKS_PER_TICK)))

    def subtick_text(self, subticks: int) -> str:
        """Return a number of subticks as a decimal string."""
        return self._subtick.text(subticks)
