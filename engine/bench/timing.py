"""Clocks and percentiles.

Means are CPU time of the thread: on a shared machine the wall clock also counts the time
for which others had the core. Single timings, and the percentiles made of them, are wall
clock, since that is what a caller waits.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter_ns, thread_time_ns
from typing import Any

import numpy as np

from engine.bench.population import Ints


@dataclass(frozen=True)
class Spread:
    """Percentiles of single timings, in ns."""

    p50: float
    p99: float
    p999: float
    max: float

    @classmethod
    def of(cls, samples: Ints) -> Spread:
        p50, p99, p999 = np.percentile(samples, [50, 99, 99.9]).tolist()
        return cls(p50, p99, p999, float(samples.max()))


@contextmanager
def no_collection() -> Iterator[None]:
    """Keep Python's cycle collector out of what is measured, as timeit does."""
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def time_all(call: Callable[..., Any], rows: Sequence[tuple[Any, ...]]) -> int:
    """Call with two arguments a row, one clock around all of it; return ns of CPU."""
    start = thread_time_ns()
    for first, second in rows:
        call(first, second)
    return thread_time_ns() - start


def time_each(call: Callable[..., Any], rows: Sequence[tuple[Any, ...]]) -> Ints:
    """Call with two arguments a row, a clock around every call; return wall ns of each."""
    out = [0] * len(rows)
    clock = perf_counter_ns
    for i, (first, second) in enumerate(rows):
        start = clock()
        call(first, second)
        out[i] = clock() - start
    return np.array(out, np.int64)


def timer_ns(count: int = 2000) -> float:
    """Cost of a clock around nothing, median: what `time_each` adds to every sample."""
    clock = perf_counter_ns
    samples = [0] * count
    for i in range(count):
        start = clock()
        samples[i] = clock() - start
    return float(np.median(samples))
