"""Decimal strings to integers and back, exactly, without floats.

The only module that knows how a price or an amount is written. A number is accepted
as a string matching ``-?[0-9]+(\\.[0-9]+)?``, an `int`, or a finite `Decimal`.
"""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction

from engine.messages import MONEY_MAX, OFF_GRID, RATE_SCALE, TOO_LARGE

DecimalLike = str | int | Decimal

_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?\Z", re.ASCII)
# Longer numbers cannot be on any grid that the engine has; they are never expanded.
_DIGITS_MAX = 40


def is_decimal(value: object) -> bool:
    """Return whether `value` is a number that the engine accepts (floats are not)."""
    if isinstance(value, str):
        return _NUMBER.match(value) is not None
    if isinstance(value, Decimal):
        return value.is_finite()
    return isinstance(value, int) and not isinstance(value, bool)


def split_decimal(value: DecimalLike) -> tuple[int, int] | int:
    """Return (digits, decimals) of a number, or a sentinel where it is absurdly long.

    Returns
    -------
    tuple of int or int
        ``value == digits / 10**decimals``; `TOO_LARGE` or `OFF_GRID` for a number with
        more than forty digits before or behind the point.

    Examples
    --------
    >>> split_decimal("-12.50")
    (-125, 1)
    """
    if isinstance(value, int):
        return (value, 0) if abs(value) < 10**_DIGITS_MAX else TOO_LARGE
    if isinstance(value, Decimal):
        if value and value.adjusted() > _DIGITS_MAX:
            return TOO_LARGE
        _, _, exponent = value.as_tuple()
        if not isinstance(exponent, int) or exponent < -20 * _DIGITS_MAX:
            return OFF_GRID
        value = format(value, "f")
    whole, _, fraction = value.partition(".")
    fraction = fraction.rstrip("0")
    if len(fraction) > _DIGITS_MAX:
        return OFF_GRID
    if len(whole) > _DIGITS_MAX:
        whole = ("-" if whole[0] == "-" else "") + (whole.lstrip("-").lstrip("0") or "0")
        if len(whole) > _DIGITS_MAX:
            return TOO_LARGE
    return int(whole + fraction), len(fraction)


def sign_of(value: DecimalLike) -> int:
    """Return -1, 0 or 1; never expands the number."""
    if isinstance(value, str):
        if not value.strip("-0."):
            return 0
        return -1 if value[0] == "-" else 1
    return (value > 0) - (value < 0)


class Grid:
    """A step (tick, lot, minor unit, rate unit) and the conversions to and from its multiples.

    Parameters
    ----------
    step : str, int or Decimal
        Size of one unit, positive.

    Examples
    --------
    >>> tick = Grid("0.5")
    >>> tick.units("60000.5"), tick.text(120001)
    (120001, '60000.5')
    """

    __slots__ = ("_denominator", "_numerator", "decimals")

    def __init__(self, step: DecimalLike) -> None:
        parts = split_decimal(step)
        if isinstance(parts, int) or parts[0] <= 0:
            raise ValueError(f"not a positive step: {step}")
        self._numerator, self.decimals = parts
        self._denominator = 10**self.decimals

    @property
    def step(self) -> Fraction:
        """Size of one unit, exact."""
        return Fraction(self._numerator, self._denominator)

    def units(self, value: DecimalLike) -> int:
        """Return `value` as a whole number of units.

        Returns
        -------
        int
            `OFF_GRID` where the value is not a multiple of the step, `TOO_LARGE` beyond
            the engine's range of +-2**62.
        """
        parts = split_decimal(value)
        if isinstance(parts, int):
            return parts
        digits, decimals = parts
        units, rest = divmod(digits * self._denominator, self._numerator * 10**decimals)
        if rest:
            return OFF_GRID
        return units if -MONEY_MAX <= units <= MONEY_MAX else TOO_LARGE

    def positive_units(self, value: DecimalLike) -> int:
        """Return `units` of a number that has to be positive: -1 for any negative one.

        The sign is looked at first, so that a negative number is refused as senseless and
        not for being off the grid or too large.
        """
        return -1 if sign_of(value) < 0 else self.units(value)

    def nearest(self, value: DecimalLike) -> int:
        """Return the nearest whole number of units, ties to even."""
        parts = split_decimal(value)
        if isinstance(parts, int):
            return parts
        digits, decimals = parts
        return round(Fraction(digits * self._denominator, self._numerator * 10**decimals))

    def text(self, units: int) -> str:
        """Return `units` steps as the shortest decimal string, without exponent."""
        return decimal_text(units * self._numerator, self.decimals)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Grid) and self.step == other.step

    def __hash__(self) -> int:
        return hash(self.step)

    def __repr__(self) -> str:
        return f"Grid({self.text(1)!r})"


def decimal_text(digits: int, decimals: int) -> str:
    """Return ``digits / 10**decimals`` as the shortest decimal string.

    Examples
    --------
    >>> decimal_text(-1250, 3)
    '-1.25'
    """
    if decimals == 0:
        return str(digits)
    sign = "-" if digits < 0 else ""
    text = str(abs(digits)).rjust(decimals + 1, "0")
    fraction = text[-decimals:].rstrip("0")
    return f"{sign}{text[:-decimals]}.{fraction}" if fraction else f"{sign}{text[:-decimals]}"


def fraction_text(value: Fraction, decimals: int) -> str:
    """Return a fraction rounded to `decimals` places, ties to even, as a decimal string."""
    return decimal_text(round(value * 10**decimals), decimals)


def ratio_of(above: int, below: int, decimals: int) -> str:
    """Return `fraction_text` of above / below, without making a fraction of it first."""
    if below < 0:
        above, below = -above, -below
    units, rest = divmod(above * 10**decimals, below)
    # Ties to even, as `round` has it.
    if 2 * rest > below or (2 * rest == below and units % 2):
        units += 1
    return decimal_text(units, decimals)


#: Rates, leverages and levels: 1e-8 units.
RATE = Grid("0.00000001")
assert RATE.step == Fraction(1, RATE_SCALE)
