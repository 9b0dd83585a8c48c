"""The index: one price from several sources, some of which may be stale or astray."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Literal

from engine.messages import RATE_SCALE
from engine.pricing.rules import IndexRules, Source
from engine.pricing.scale import (
    ceil_fraction,
    clamp,
    divide_nearest,
    exact,
    floor_fraction,
    rate_units,
)
from engine.pricing.state import Stateful

Reason = Literal["missing", "stale", "outlier"]


@dataclass(frozen=True)
class IndexReading:
    """The index at one instant, and what became of each source.

    Attributes
    ----------
    ts_ns : int
    price : int or None, subticks
        None before the first good reading.
    is_held : bool
        Too few good sources: the price is that of the last good reading.
    good_ns : int or None
        Time of the last good reading; that of this one unless held.
    used : tuple of str
        Sources that count, by name.
    left_out : tuple of (str, {"missing", "stale", "outlier"})
        The others, by name, and why.
    clamped : tuple of str
        Those of `used` that were moved to the bound.
    """

    ts_ns: int
    price: int | None
    is_held: bool
    good_ns: int | None
    used: tuple[str, ...]
    left_out: tuple[tuple[str, Reason], ...]
    clamped: tuple[str, ...] = ()


def plain_median(prices: Iterable[int]) -> Fraction:
    """Return the middle price, or exactly half-way between the two middle ones."""
    ordered = sorted(prices)
    count = len(ordered)
    return Fraction(ordered[(count - 1) // 2] + ordered[count // 2], 2)


def weighted_mean(prices: Sequence[tuple[int, int]]) -> int:
    """Return Σ weight × price ÷ Σ weight.

    Parameters
    ----------
    prices : sequence of (price, weight), subticks and any unit
        Not empty; weights positive.

    Rounding
        Nearest subtick, ties to even.
    """
    total = sum(weight for _, weight in prices)
    return divide_nearest(sum(price * weight for price, weight in prices), total)


def weighted_median(prices: Sequence[tuple[int, int]]) -> int:
    """Return the price at which half of the weight is reached.

    Where exactly half of the weight lies at or below one price, it is half-way between that
    price and the next.

    Rounding
        Nearest subtick, ties to even.
    """
    total = sum(weight for _, weight in prices)
    ordered = sorted(prices)
    reached = 0
    for at, (price, weight) in enumerate(ordered):
        reached += weight
        if 2 * reached == total:
            return divide_nearest(price + ordered[at + 1][0], 2)
        if 2 * reached > total:
            return price
    raise ValueError("no prices")


class Index(Stateful):
    """Keeps the newest price of each source and combines them on request.

    Parameters
    ----------
    sources : iterable of Source
    rules : IndexRules

    Notes
    -----
    The rules are those of Binance's price index (a deviation of more than 5 % from the median
    gets no weight; several of them: the median) and OKX's (2 %, clamped), see
    `docs/pricing.md`. Complexity: O(sources × log sources) a reading; kept until a price comes
    or a source turns stale.
    """

    STATE = ("_latest", "_good")

    def __init__(self, sources: Iterable[Source], rules: IndexRules) -> None:
        ordered = sorted(sources, key=lambda source: source.name)
        scale = 1
        for source in ordered:
            scale *= exact(source.weight, "weight").denominator
        self._weights = {
            source.name: int(exact(source.weight, "weight") * scale) for source in ordered}
        self._max_ages = {source.name: source.max_age_ns for source in ordered}
        self._rules = rules
        bound = rules.outlier_bound
        self._bound = None if bound is None else rate_units(bound, "outlier_bound")
        self._latest: dict[str, tuple[int, int]] = {}
        self._good: tuple[int, int] | None = None
        self._cached: tuple[IndexReading, int] | None = None

    @property
    def names(self) -> list[str]:
        """Names of the sources, in order."""
        return list(self._weights)

    def observe(self, name: str, price: int, observed_ns: int) -> bool:
        """Take a price of a source; return whether it is news.

        Parameters
        ----------
        name : str
            A known source.
        price : int, subticks
        observed_ns : int
            When the source had it. One before the newest known is dropped.
        """
        latest = self._latest.get(name)
        if latest is not None and observed_ns < latest[0]:
            return False
        self._latest[name] = (observed_ns, price)
        self._cached = None
        return True

    def fresh_count(self, ts_ns: int) -> int:
        """Return how many sources are fresh; without news this never grows."""
        return len(self._fresh(ts_ns))

    def next_expiry(self, ts_ns: int) -> int | None:
        """Return the first time after `ts_ns` at which a fresh source is stale, if there is one."""
        fresh = self._fresh(ts_ns)
        if not fresh:
            return None
        return 1 + min(self._latest[name][0] + self._max_ages[name] for name in fresh)

    def load(self, state: Any) -> None:
        """Go on from a state of the same sources."""
        super().load(state)
        self._cached = None

    def keep(self, reading: IndexReading) -> None:
        """Remember a reading, if it is good, as the one to hold."""
        if not reading.is_held and reading.price is not None:
            self._good = (reading.ts_ns, reading.price)

    def read(self, ts_ns: int) -> IndexReading:
        """Return the index at `ts_ns`, which does not go back; nothing changes by it."""
        if self._cached is not None and ts_ns <= self._cached[1]:
            reading = self._cached[0]
            return replace(reading, ts_ns=ts_ns, good_ns=self._good_at(reading, ts_ns))
        fresh = self._fresh(ts_ns)
        reading = self._combine(ts_ns, fresh)
        # Until the next source turns stale, or there is news, the reading is the same.
        if fresh:
            expires = min(self._latest[name][0] + self._max_ages[name] for name in fresh)
            self._cached = (reading, expires)
        return reading

    def _good_at(self, reading: IndexReading, ts_ns: int) -> int | None:
        if not reading.is_held:
            return ts_ns
        return None if self._good is None else self._good[0]

    def _fresh(self, ts_ns: int) -> dict[str, int]:
        return {
            name: self._latest[name][1] for name, max_age in self._max_ages.items()
            if name in self._latest and ts_ns - self._latest[name][0] <= max_age}

    def _combine(self, ts_ns: int, fresh: dict[str, int]) -> IndexReading:
        left_out: dict[str, Reason] = {
            name: "stale" if name in self._latest else "missing"
            for name in self._weights if name not in fresh}
        used, clamped = dict(fresh), []
        price: int | None = None
        if fresh and self._bound is not None:
            middle = plain_median(fresh.values())
            reach = middle * Fraction(self._bound, RATE_SCALE)
            astray = [name for name in fresh if abs(fresh[name] - middle) > reach]
            if len(astray) > 1 and self._rules.many_outliers == "median":
                # Nearest subtick, ties to even. All fresh sources count: each is in the median.
                price = round(middle)
            elif self._rules.outlier_rule == "clamp":
                clamped = astray
                # Rounded towards the median, so that a clamped price is within the bound.
                lowest = Fraction(ceil_fraction(middle - reach))
                highest = Fraction(floor_fraction(middle + reach))
                for name in astray:
                    used[name] = int(clamp(Fraction(fresh[name]), lowest, highest))
            else:
                for name in astray:
                    del used[name]
                    left_out[name] = "outlier"
        names, reasons = tuple(used), tuple(sorted(left_out.items()))
        if len(used) < self._rules.min_sources:
            good_ns, held = self._good or (None, None)
            return IndexReading(ts_ns, held, True, good_ns, names, reasons, tuple(clamped))
        if price is None:
            rows = [(used[name], self._weights[name]) for name in used]
            price = (weighted_mean if self._rules.combine == "mean" else weighted_median)(rows)
        return IndexReading(ts_ns, price, False, ts_ns, names, reasons, tuple(clamped))
