"""The knee: the highest rate at which a latency target still holds."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

#: Where the search ends if nothing fails, or nothing holds.
RATE_LEAST, RATE_MOST = 10.0, 10_000_000.0


@dataclass(frozen=True)
class Sample:
    """One leg at one rate.

    Attributes
    ----------
    p50, p99, p999 : float, ms
        From the intended time; of all commands, those without an answer included.
    achieved : float, commands per second
    lateness : float, ms
        99th percentile of how late messages were sent.
    is_whole : bool
        False where it was given up.
    curve : (tuple of float, tuple of float)
        Percentiles, and their latencies in ms.
    """

    p50: float
    p99: float
    p999: float
    achieved: float
    lateness: float
    is_whole: bool
    curve: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())


@dataclass(frozen=True)
class Probe:
    """A rate that was tried, several times.

    Attributes
    ----------
    rate : float, commands per second
    samples : tuple of Sample
    holds : bool
    """

    rate: float
    samples: tuple[Sample, ...]
    holds: bool

    def middle(self, name: str) -> float:
        """Return the median over the samples of one of their fields."""
        return median(float(getattr(sample, name)) for sample in self.samples)


@dataclass
class Knee:
    """What a search found.

    Attributes
    ----------
    target_ms : float
        For the 99th percentile.
    probes : list of Probe
        In the order in which they were tried.
    """

    target_ms: float
    probes: list[Probe] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """The highest rate that held, below all that did not; 0 where none did."""
        failed = min((probe.rate for probe in self.probes if not probe.holds), default=math.inf)
        held = (probe.rate for probe in self.probes if probe.holds and probe.rate < failed)
        return max(held, default=0.0)

    @property
    def probe(self) -> Probe | None:
        """The probe at that rate, None where no rate held."""
        return next((probe for probe in self.probes if probe.rate == self.rate), None)

    @property
    def is_bounded(self) -> bool:
        """Whether a higher rate was seen to fail."""
        return any(not probe.holds for probe in self.probes)


def find_knee(
    measure: Callable[[float], Sample], target_ms: float, first_rate: float, *,
    repeats: int = 3, precision: float = 0.1,
    on_probe: Callable[[Probe], None] = lambda probe: None,
) -> Knee:
    """Find the knee by bracketing, then halving the bracket (in ratio).

    Parameters
    ----------
    measure : callable
        Runs one leg at a rate.
    target_ms : float
        A rate holds where the median of its repeats' 99th percentiles is at most this.
    first_rate : float
        Doubled while it holds, else halved until it does.
    repeats : int
        Of each rate. It ends early where the rest cannot change the verdict.
    precision : float
        Share by which the lowest rate that fails may exceed the knee.
    on_probe : callable
        Takes each rate that was tried.

    Examples
    --------
    >>> queue = lambda rate: Sample(1, 1000 / max(1e-3, 1000 - rate), 9, rate, 0, True)
    >>> 900 / 1.1 < find_knee(queue, 10.0, 100, repeats=1).rate <= 900
    True
    """
    knee = Knee(target_ms)

    def holds(rate: float) -> bool:
        samples: list[Sample] = []
        good = bad = 0
        while max(good, bad) <= repeats // 2:
            samples.append(measure(rate))
            if samples[-1].is_whole and samples[-1].p99 <= target_ms:
                good += 1
            else:
                bad += 1
        knee.probes.append(Probe(rate, tuple(samples), good > bad))
        on_probe(knee.probes[-1])
        return good > bad

    low, high, rate = 0.0, 0.0, first_rate
    while not (low and high):
        if holds(rate):
            low, rate = rate, rate * 2
            if low >= RATE_MOST:
                return knee
        else:
            high, rate = rate, rate / 2
            if high <= RATE_LEAST:
                return knee
        rate = min(max(rate, RATE_LEAST), RATE_MOST)
    while high > low * (1 + precision):
        middle = (low * high) ** 0.5
        if holds(middle):
            low = middle
        else:
            high = middle
    return knee
