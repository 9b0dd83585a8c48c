"""Averages of the basis: the own book's middle less the index, sampled on a clock.

A basis is in half subticks, because the middle of two whole prices may lie between two
subticks: bid + ask − 2 × index.
"""

from __future__ import annotations

from collections import deque
from decimal import Context, Decimal
from fractions import Fraction
from functools import lru_cache

from engine.pricing.scale import divide_nearest
from engine.pricing.state import Stateful

_DECAY_SCALE = 10**18
# exp is correctly rounded by definition of the decimal arithmetic, so it is the same everywhere.
_CONTEXT = Context(prec=40)


class BasisAverage(Stateful):
    """Plain average of the samples of a sliding window.

    Parameters
    ----------
    window_ns : int
        A sample counts while it is younger than this.

    Notes
    -----
    Binance: 30 samples of 5 s in 2.5 minutes; Bybit: 300 of 1 s. Complexity: O(1) a sample,
    amortised; memory for the samples of one window.
    """

    STATE = ("_samples", "_sum")

    def __init__(self, window_ns: int) -> None:
        self._window_ns = window_ns
        self._samples: deque[tuple[int, int]] = deque()
        self._sum = 0

    def add(self, ts_ns: int, basis: int) -> None:
        """Take a sample in half subticks."""
        self._samples.append((ts_ns, basis))
        self._sum += basis

    def value(self, ts_ns: int) -> Fraction | None:
        """Return the exact average in subticks, None without a sample in the window."""
        while self._samples and self._samples[0][0] <= ts_ns - self._window_ns:
            self._sum -= self._samples.popleft()[1]
        count = len(self._samples)
        return Fraction(self._sum, 2 * count) if count else None


@lru_cache(maxsize=1024)
def decay_units(elapsed_ns: int, decay_ns: int) -> int:
    """Return exp(−elapsed ÷ decay) in units of 1e-18.

    Rounding
        40 significant digits inside, then the nearest unit, ties to even.
    """
    exponent = _CONTEXT.divide(Decimal(-elapsed_ns), Decimal(decay_ns))
    return round(Fraction(_CONTEXT.exp(exponent)) * _DECAY_SCALE)


class BasisEma(Stateful):
    """Exponential average of samples weighted by the time since the one before.

    numerator ← numerator × exp(−t ÷ decay) + sample × t, denominator likewise with 1 for the
    sample; the value is their quotient.

    Parameters
    ----------
    decay_ns : int
    first_ns : int
        Time that the first sample stands for.

    Notes
    -----
    Formula: Hyperliquid, "Robust price indices" (decay of 2.5 minutes).

    Rounding
        Numerator and denominator to the nearest whole unit (half subtick × ns, and ns), ties
        to even.
    """

    STATE = ("_elapsed_ns", "_last_ns", "_numerator", "_denominator")

    def __init__(self, decay_ns: int, first_ns: int) -> None:
        self._decay_ns = decay_ns
        self._elapsed_ns = first_ns
        self._last_ns: int | None = None
        self._numerator = 0
        self._denominator = 0

    def add(self, ts_ns: int, basis: int) -> None:
        """Take a sample in half subticks; `ts_ns` is later than that of the one before."""
        if self._last_ns is not None:
            self._elapsed_ns = ts_ns - self._last_ns
        self._last_ns = ts_ns
        kept = decay_units(self._elapsed_ns, self._decay_ns)
        gained = self._elapsed_ns
        self._numerator = divide_nearest(self._numerator * kept, _DECAY_SCALE) + basis * gained
        self._denominator = divide_nearest(self._denominator * kept, _DECAY_SCALE) + gained

    def value(self) -> Fraction | None:
        """Return the average in subticks, None without a sample."""
        if self._denominator == 0:
            return None
        return Fraction(self._numerator, 2 * self._denominator)
