"""What a caller waits for one call when calls arrive by themselves: an open loop.

Every call has a time at which it is meant to be sent, drawn beforehand (Poisson). It is
sent then, or as soon after as the calls before it are done, and its latency runs from the
intended time: a pause is charged to every call that it made late (no coordinated omission).

A pass is the stream once, in short bursts: one as fast as the loop can, which gives the
rate, then one at each load, and so on to the end. A burst in which something else had the
core (wall clock and CPU time of the thread differ) says nothing about the engine; it is
counted and left out of the percentiles, but not of the last column. The engine's own
pauses take CPU time, and stay.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from time import perf_counter_ns, thread_time_ns

import numpy as np

from engine.bench.population import Ints
from engine.bench.timing import Spread
from engine.bench.ways import (
    BOOK_CALLS_EACH,
    EXCHANGE_CALLS_EACH,
    BookHost,
    BoundCall,
    ExchangeHost,
    Host,
    Prepared,
    Sent,
    Way,
    bind,
)

LOADS = (0.1, 0.5, 0.9)
#: Calls that share one look at the clock while they are late; all are charged its time.
_GROUP = 16
_FULL_SPEED = 1000  # calls in the first burst that finds the rate
_RATES = 15  # the rate is the median of so many
_BURST_NS = 2_000_000
_TURNS_LEAST = 8  # of all loads, in a short stream
_AWAY_NS = 10_000  # a burst with a longer absence is left out
_SLACK_NS = 5_000
_FAR = 2**62


@dataclass
class Paced:
    """Latencies of one way at one load, of all rounds.

    Attributes
    ----------
    way : str
    load : float
        Of the rate that the loop reaches when it never waits.
    rates : list of float, calls per second
        That were intended, a burst each.
    undisturbed, disturbed : list of array of int64, ns
        Latencies, a burst each.
    """

    way: str
    load: float
    rates: list[float] = field(default_factory=list)
    undisturbed: list[Ints] = field(default_factory=list)
    disturbed: list[Ints] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Calls per second that were intended, the median."""
        return median(self.rates)

    @property
    def spread(self) -> Spread:
        """Percentiles of the undisturbed bursts; of all, where there is no such burst."""
        return Spread.of(np.concatenate(self.undisturbed or self.disturbed))

    @property
    def max_of_all(self) -> int:
        """The longest latency, disturbed bursts included; ns."""
        return max(int(part.max()) for part in self.undisturbed + self.disturbed)

    @property
    def share_used(self) -> float:
        """Share of the bursts that were undisturbed."""
        return len(self.undisturbed) / (len(self.undisturbed) + len(self.disturbed))

    @property
    def queue(self) -> Spread:
        """The same load if every call took the mean time: what queueing alone costs."""
        constant = np.full(100_000, round(1e9 * self.load / self.rate))
        return Spread.of(response_times(constant, self.load))


def new_paced() -> dict[Way, list[Paced]]:
    """Rows to be filled by `run_paced`."""
    return {
        way: [Paced(way.name, load) for load in LOADS]
        for way in (BOOK_CALLS_EACH, EXCHANGE_CALLS_EACH)
    }


def run_paced(paced: dict[Way, list[Paced]], prepared: Prepared, seed: int) -> dict[str, Sent]:
    """Measure one round; return what the passes made, by name."""
    return {
        f"{BOOK_CALLS_EACH.name}, paced": _run_pass(
            paced[BOOK_CALLS_EACH], prepared, BookHost(prepared), seed, is_kept=True),
        # Events are not kept, lest their memory be what is timed: the state is compared.
        f"{EXCHANGE_CALLS_EACH.name}, paced": _run_pass(
            paced[EXCHANGE_CALLS_EACH], prepared, ExchangeHost(prepared), seed, is_kept=False),
    }


def _run_pass(
    rows: list[Paced], prepared: Prepared, host: Host, seed: int, is_kept: bool
) -> Sent:
    random = np.random.default_rng(seed)
    calls = host.calls(prepared)
    capacities: deque[float] = deque(maxlen=_RATES)
    most = len(calls) // (_TURNS_LEAST * (1 + len(rows)))
    at = 0

    def send(count: int, gap_ns: float) -> Pass:
        nonlocal at
        part = bind(host, calls[at : at + count])
        at += len(part)
        done = pace(part, intended(random, len(part), gap_ns), host.fetch, is_kept)
        host.take(done.kept)
        return done

    while at < len(calls):
        before = at
        # As long as the others: the first calls of a burst find cold caches.
        count = round(capacities[-1] * _BURST_NS / 1e9) if capacities else _FULL_SPEED
        ns = send(min(most, count), 0.0).ns
        capacities.append((at - before) * 1e9 / ns)
        for row in rows:
            if at == len(calls):
                break
            rate = row.load * median(capacities)
            done = send(min(most, max(1, round(rate * _BURST_NS / 1e9))), 1e9 / rate)
            row.rates.append(rate)
            (row.disturbed if done.away > _AWAY_NS else row.undisturbed).append(done.latencies)
    sent = host.sent(0)
    return sent if is_kept else replace(sent, trades="", events=0)


def intended(random: np.random.Generator, count: int, gap_ns: float) -> Ints:
    """Draw strictly increasing times of Poisson arrivals, ns from the start of a burst.

    Without a gap all of them are past before the burst begins.
    """
    if not gap_ns:
        return np.arange(count) - 10**9
    return np.cumsum(np.maximum(1, random.exponential(gap_ns, count).astype(np.int64)))


@dataclass
class Pass:
    """What came of calls that were sent at their times.

    Attributes
    ----------
    latencies : array of int64, ns
        From each call's time to a look at the clock after it. While calls are late, up to
        17 share a look, which charges all of them the time of the last.
    ns : int
        CPU time, waiting included.
    away : int, ns
        Time in which the thread did not have the core.
    kept : list of bytes
        What was fetched.
    """

    latencies: Ints
    ns: int
    away: int
    kept: list[bytes]


def pace(
    calls: Sequence[BoundCall], offsets: Ints, fetch: Callable[[], bytes], is_kept: bool
) -> Pass:
    """Send calls at their times.

    Parameters
    ----------
    calls : sequence
    offsets : array of int64, ns
        When each is meant to be sent, from a start that is near; strictly increasing.
    fetch : callable
        Called after each call that yields something.
    is_kept : bool
        Whether to keep what was fetched.
    """
    dues: list[int] = offsets.tolist()
    caps = [*dues[_GROUP:], *[_FAR] * min(_GROUP, len(dues))]
    firsts: list[int] = []  # the time of the first call of each group
    stamps: list[int] = []  # before that call, when all calls before it were done
    kept: list[bytes] = []
    horizon = -_FAR  # calls due by then are known to be due without a look at the clock
    clock = perf_counter_ns
    start, start_cpu = clock() + _SLACK_NS, thread_time_ns()
    for (method, arguments, may_yield), due, cap in zip(calls, dues, caps, strict=True):
        if due > horizon:
            now = clock() - start
            firsts.append(due)
            stamps.append(now)
            while now < due:
                now = clock() - start
            horizon = now if now < cap else cap
        traded = method(*arguments)
        if may_yield and traded != 0:
            fetched = fetch()
            if is_kept:
                kept.append(fetched)
    stamps.append(clock() - start)
    ns = thread_time_ns() - start_cpu
    away = clock() - start + _SLACK_NS - ns
    group = np.searchsorted(np.array(firsts, np.int64), offsets, side="right")
    return Pass(np.array(stamps, np.int64)[group] - offsets, ns, away, kept)


def response_times(service: Ints, load: float, seed: int = 1) -> Ints:
    """What callers would wait behind one queue who come by themselves.

    Parameters
    ----------
    service : array of int64, ns
        In order.
    load : float
        Arrivals (Poisson) as a share of what the mean service time allows.
    seed : int

    Returns
    -------
    array of int64, ns
        Queueing and service of each, by Lindley's recursion.
    """
    gaps = np.random.default_rng(seed).exponential(service.mean() / load, len(service))
    steps = service[:-1] - gaps[1:]
    sums = np.concatenate(([0.0], np.cumsum(steps)))
    waits = sums - np.minimum.accumulate(sums)
    return (waits + service).astype(np.int64)
