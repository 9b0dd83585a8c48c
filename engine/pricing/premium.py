"""The premium index of the own book over the index, and its average over an interval."""

from __future__ import annotations

from fractions import Fraction

from engine.pricing.rules import PremiumRules
from engine.pricing.scale import PREMIUM_SCALE, rate_units
from engine.pricing.state import Stateful

#: Premium units (1e-12) in a rate unit (1e-8).
PREMIUMS_PER_RATE = 10**4


def premium_index(
    index: int, impact_bid: Fraction | None, impact_ask: Fraction | None
) -> int:
    """Return [max(0, impact bid − index) − max(0, index − impact ask)] ÷ index.

    Parameters
    ----------
    index : int, subticks
    impact_bid, impact_ask : Fraction or None, subticks
        None, a side too thin, counts as zero.

    Returns
    -------
    int, 1e-12

    Rounding
        Nearest, ties to even.

    Notes
    -----
    Formula: premium index of Binance, Bybit, Hyperliquid and dYdX.

    Examples
    --------
    >>> premium_index(10_000, Fraction(10_100), Fraction(10_101))
    10000000000
    """
    nothing = Fraction(0)
    above = nothing if impact_bid is None else max(nothing, impact_bid - index)
    below = nothing if impact_ask is None else max(nothing, index - impact_ask)
    return round((above - below) * Fraction(PREMIUM_SCALE, index))


class PremiumAverage(Stateful):
    """Average premium of the current interval, sampled at multiples of a clock.

    An interval holds the instants after its start, up to and including its end.

    Parameters
    ----------
    rules : PremiumRules
    interval_ns : int
    start_ns : int
        Where sampling starts; instants up to it do not count as missing.

    Notes
    -----
    Binance and Bybit weight the n-th instant of an interval by n, Hyperliquid and dYdX all
    alike. Complexity: O(1) an instant, whatever the length of a gap.
    """

    STATE = ("_first_ns", "_start_ns", "_sum", "_weights", "sample_count", "thin_count")

    def __init__(self, rules: PremiumRules, interval_ns: int, start_ns: int) -> None:
        self._rules = rules
        self._bound = (
            None if rules.bound is None
            else rate_units(rules.bound, "bound") * PREMIUMS_PER_RATE)
        self._interval_ns = interval_ns
        self._first_ns = start_ns
        self._start_ns = start_ns - start_ns % interval_ns
        self._clear()

    def _clear(self) -> None:
        self._sum = 0
        self._weights = 0
        self.sample_count = 0
        self.thin_count = 0

    def add(self, ts_ns: int, premium: int, *, is_thin: bool) -> None:
        """Take the sample of an instant, in 1e-12, and whether a side was too thin."""
        if self._bound is not None:
            premium = min(max(premium, -self._bound), self._bound)
        number = (ts_ns - self._start_ns) // self._rules.sample_ns
        weight = number if self._rules.weighting == "linear" else 1
        self._sum += weight * premium
        self._weights += weight
        self.sample_count += 1
        self.thin_count += is_thin

    def value(self, ts_ns: int) -> Fraction | None:
        """Return the exact average up to an instant of the interval, in 1e-12.

        Returns
        -------
        Fraction or None
            None without anything to average.
        """
        weights = self._weights
        if self._rules.missing == "zero":
            weights = self._weight_until(ts_ns)
        return Fraction(self._sum, weights) if weights else None

    def start(self, boundary_ns: int) -> None:
        """Forget the interval that ends at `boundary_ns`, begin the next."""
        self._start_ns = boundary_ns
        self._clear()

    # Weights of all instants of the interval up to `ts_ns`, had each a sample.
    def _weight_until(self, ts_ns: int) -> int:
        first = max(0, self._first_ns - self._start_ns) // self._rules.sample_ns
        last = (ts_ns - self._start_ns) // self._rules.sample_ns
        if self._rules.weighting == "equal":
            return last - first
        return (last * (last + 1) - first * (first + 1)) // 2
