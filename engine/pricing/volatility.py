"""Realised volatility of a mark: an exponential average of squared returns, in integers."""

from __future__ import annotations

from decimal import Context, Decimal
from fractions import Fraction
from functools import lru_cache
from math import isqrt

from engine.messages import RATE_SCALE
from engine.pricing.scale import ceil_fraction, divide_nearest
from engine.pricing.state import Stateful

#: Returns are in units of 1e-12, their squares in units of 1e-24.
RETURN_SCALE = 10**12
_DECAY_SCALE = 10**18
# exp and ln are correctly rounded by definition of the decimal arithmetic.
_CONTEXT = Context(prec=40)


@lru_cache(maxsize=1024)
def half_life_units(elapsed_ns: int, half_life_ns: int) -> int:
    """Return 2 ** (−elapsed ÷ half life) in units of 1e-18.

    Rounding
        40 significant digits inside, then the nearest unit, ties to even.

    Examples
    --------
    >>> half_life_units(10, 5)
    250000000000000000
    """
    exponent = _CONTEXT.divide(Decimal(-elapsed_ns), Decimal(half_life_ns))
    power = _CONTEXT.exp(_CONTEXT.multiply(exponent, _CONTEXT.ln(Decimal(2))))
    return round(Fraction(power) * _DECAY_SCALE)


class VarianceEma(Stateful):
    """Exponential average of squared returns, weighted by the time each stands for.

    A return over n intervals counts as n of them. Both sums fade with the half-life, so the
    average is that of what was seen, from the first sample on.

    Parameters
    ----------
    interval_ns, half_life_ns : int

    Rounding
        A return to the nearest 1e-12, both sums to the nearest unit, ties to even.
    """

    STATE = ("_last", "_squares", "_intervals", "count")

    def __init__(self, interval_ns: int, half_life_ns: int) -> None:
        self._interval_ns = interval_ns
        self._half_life_ns = half_life_ns
        self._last: tuple[int, int] | None = None  # time, price
        self._squares = 0  # 1e-24
        self._intervals = 0  # 1e-18
        self.count = 0  # intervals seen

    def add(self, ts_ns: int, price: int) -> None:
        """Take the price of an instant, a multiple of the interval later than the one before."""
        if self._last is not None:
            before_ns, before = self._last
            elapsed_ns = ts_ns - before_ns
            change = divide_nearest((price - before) * RETURN_SCALE, before)
            kept = half_life_units(elapsed_ns, self._half_life_ns)
            intervals = elapsed_ns // self._interval_ns
            self._squares = divide_nearest(self._squares * kept, _DECAY_SCALE) + change * change
            self._intervals = (
                divide_nearest(self._intervals * kept, _DECAY_SCALE) + intervals * _DECAY_SCALE)
            self.count += intervals
        self._last = ts_ns, price

    def variance(self) -> Fraction | None:
        """Return the average squared return of an interval, None before the second sample."""
        if self._intervals == 0:
            return None
        return Fraction(self._squares * _DECAY_SCALE, self._intervals * RETURN_SCALE**2)


def volatility_ratio(variance: Fraction, reference: Fraction) -> int:
    """Return the square root of variance ÷ reference variance, in 1e-8.

    Rounding
        Up: a risk is never taken for smaller than it is.

    Examples
    --------
    >>> volatility_ratio(Fraction(9), Fraction(4)), volatility_ratio(Fraction(2), Fraction(1))
    (150000000, 141421357)
    """
    squared = ceil_fraction(Fraction(variance, reference) * RATE_SCALE**2) if variance else 0
    root = isqrt(squared)
    return root + (root * root < squared)
