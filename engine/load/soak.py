"""Long runs: money that drifts is seen at once, memory that grows in the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

#: How often the books are asked whether they add up.
_DRIFT_EVERY_S = 10.0
#: The first part of a run, in which caches, books and the windows of sessions fill up.
_WARM_SHARE = 0.25
#: Samples that say something.
_SAMPLES_LEAST = 12
#: Growth that nobody minds: bytes, and a share of what there was.
_TOLERATED_BYTES, _TOLERATED_SHARE = 8 << 20, 0.02


@dataclass(frozen=True)
class Growth:
    """What became of a process's memory once it was warm.

    Attributes
    ----------
    first, last : int, bytes
        Median of the first and of the last third.
    per_hour : float, bytes
        Median of the slopes between both thirds.
    is_growing : bool
        More than is tolerated, and from third to third.
    """

    first: int
    last: int
    per_hour: float
    is_growing: bool


def find_growth(memory: Sequence[tuple[float, int]]) -> Growth | None:
    """Tell whether memory grows, from (seconds, bytes); None where there are too few samples.

    The warm part of a run is cut into thirds. Memory grows if the median rises from each third
    to the next, and from the first to the last by more than 8 MiB and 2 %: a sawtooth is none.
    """
    if not memory:
        return None
    warm_s = memory[0][0] + (memory[-1][0] - memory[0][0]) * _WARM_SHARE
    warm = [sample for sample in memory if sample[0] >= warm_s]
    if len(warm) < _SAMPLES_LEAST:
        return None
    third = len(warm) // 3
    parts = [warm[:third], warm[third:-third], warm[-third:]]
    first, middle, last = (int(median(size for _, size in part)) for part in parts)
    slopes = [
        (late[1] - early[1]) / (late[0] - early[0]) * 3600
        for early, late in zip(parts[0], parts[2], strict=True) if late[0] > early[0]]
    limit = max(_TOLERATED_BYTES, first * _TOLERATED_SHARE)
    is_growing = first < middle < last and last - first > limit
    return Growth(first, last, median(slopes) if slopes else 0.0, is_growing)


@dataclass
class Watch:
    """Looks at a run's books now and then.

    Attributes
    ----------
    looks : int
    drifts : list of (float, str)
        Seconds and drift, where it was not 0.
    """

    looks: int = 0
    drifts: list[tuple[float, str]] = field(default_factory=list)
    _next_s: float = 0.0

    def look(self, now_s: float, drift: Callable[[], str]) -> None:
        """Ask for the drift if it is time."""
        if now_s < self._next_s:
            return
        self._next_s = now_s + _DRIFT_EVERY_S
        self.looks += 1
        found = drift()
        if found != "0":
            self.drifts.append((now_s, found))

    def failures(self, memory: Sequence[tuple[float, int]]) -> list[str]:
        """Return what must not be: drift, or memory that grows."""
        found = []
        if self.drifts:
            when, drift = self.drifts[0]
            found.append(f"drift {drift} after {when:.0f} s")
        growth = find_growth(memory)
        if growth is not None and growth.is_growing:
            found.append(
                f"memory grew from {growth.first >> 20} to {growth.last >> 20} MiB, by "
                f"{growth.per_hour / 2**20:.1f} MiB an hour")
        return found
