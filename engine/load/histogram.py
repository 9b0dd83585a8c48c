"""Latencies as HdrHistogram keeps them: percentiles, `.hgrm` files, and a line of intervals."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import RunError
from engine.load.arrivals import Ints

#: The longest latency that is told apart, ns; what is longer counts as this.
LONGEST_NS = 3_600_000_000_000
_DIGITS = 3
#: Percentiles of summaries and charts.
PERCENTILES = (50.0, 90.0, 99.0, 99.9, 99.99, 100.0)
_NS_PER_MS = 1_000_000.0


class Histogram:
    """Latencies in ns, to three significant digits, up to an hour.

    Raises
    ------
    RunError
        The package `hdrhistogram` is missing.
    """

    def __init__(self) -> None:
        try:
            from hdrh.histogram import HdrHistogram
        except ImportError:
            raise RunError("latencies need hdrhistogram: install the extra `load`") from None
        self._kept: Any = HdrHistogram(1, LONGEST_NS, _DIGITS)

    def add(self, latencies: Ints) -> None:
        """Count latencies, in ns."""
        values = np.clip(latencies, 1, LONGEST_NS)
        # As coarse as the histogram is, so that one call counts many.
        shift = np.maximum(np.frexp(values)[1] - 12, 0)
        for value, count in zip(
            *(part.tolist() for part in np.unique(values >> shift << shift, return_counts=True)),
            strict=True,
        ):
            self._kept.record_value(value, count)

    def merge(self, other: Histogram) -> None:
        """Add what another one has counted."""
        self._kept.add(other._kept)

    @property
    def count(self) -> int:
        """How many were counted."""
        return int(self._kept.get_total_count())

    def percentile(self, percent: float) -> int:
        """Return a percentile in ns, 0 of nothing."""
        return int(self._kept.get_value_at_percentile(percent)) if self.count else 0

    def curve(self) -> tuple[list[float], list[float]]:
        """Return percentiles that come ever closer to 100, and their latencies in ms."""
        percents = [0.0]
        while percents[-1] < 100 and (100 - percents[-1]) / 100 * self.count > 0.5:
            percents.append(percents[-1] + (100 - percents[-1]) / 4)
        return percents, [self.percentile(one) / _NS_PER_MS for one in percents]

    def write(self, path: Path) -> None:
        """Write the distribution as an `.hgrm` file, in ms.

        Raises
        ------
        RunError
            The file cannot be written.
        """
        try:
            with open(path, "wb") as file:
                self._kept.output_percentile_distribution(file, _NS_PER_MS)
        except OSError as error:
            raise RunError(f"{path}: cannot write: {(error.strerror or '').lower()}") from None


@dataclass(frozen=True)
class Interval:
    """What was answered of the commands meant for one stretch of time.

    Attributes
    ----------
    start_s, width_s : float
        From the start of the run.
    count : int
    p50, p99, p999, longest : float, ms
    """

    start_s: float
    width_s: float
    count: int
    p50: float
    p99: float
    p999: float
    longest: float


class Timeline:
    """Latencies by when commands were meant to be sent.

    Parameters
    ----------
    width_s : float
        Of an interval.

    Attributes
    ----------
    intervals : list of Interval
        Those that were closed.
    """

    def __init__(self, width_s: float) -> None:
        self._width_s = width_s
        self._open: defaultdict[int, list[Ints]] = defaultdict(list)
        self._closed_to = 0
        self.intervals: list[Interval] = []

    def add(self, due: Ints, latencies: Ints) -> None:
        """Take over latencies and the times at which their commands were due, both in ns."""
        places = due // int(self._width_s * 1e9)
        for place in np.unique(places).tolist():
            if place >= self._closed_to:
                self._open[place].append(latencies[places == place])

    def close(self, before_s: float) -> None:
        """Work out the intervals that end before a time; what comes later for them is left out."""
        end = int(before_s / self._width_s)
        for place in sorted(place for place in self._open if place < end):
            values = np.concatenate(self._open.pop(place)) / _NS_PER_MS
            p50, p99, p999 = np.percentile(values, (50, 99, 99.9)).tolist()
            self.intervals.append(Interval(
                place * self._width_s, self._width_s, len(values), p50, p99, p999,
                float(values.max())))
        self._closed_to = max(self._closed_to, end)


def merged(histograms: Iterable[Histogram]) -> Histogram:
    """Return one histogram of all."""
    total = Histogram()
    for one in histograms:
        total.merge(one)
    return total
