"""What a server counts and measures of itself: plain numbers, cheap enough for every batch.

The loop writes them; the threads that answer scrapes only read, one number at a time. Whoever
wants rates or percentiles of a span takes two readings and their difference.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from engine import __version__
from engine.serving.sessions import CLIENTS_MAX

#: Stages of a batch, in order.
STAGES = ("receive", "journal", "apply", "publish", "turn")
#: Upper bounds of a histogram's buckets, ns: 5 µs to 10 s; what is above has a bucket of its own.
BOUNDS_NS = tuple(
    step * 10**power for power in range(3, 10) for step in (1, 2, 3, 5)
    if step * 10**power >= 5_000) + (10**10,)


class Histogram:
    """Durations by size.

    Attributes
    ----------
    counts : list of int
        Of each bucket, not cumulative; the last is above all bounds.
    sum_ns : int
    """

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_NS) + 1)
        self.sum_ns = 0

    def observe(self, duration_ns: int) -> None:
        """Count one duration."""
        self.counts[bisect_left(BOUNDS_NS, duration_ns)] += 1
        self.sum_ns += duration_ns


def quantile_ns(counts: Sequence[int], share: float) -> float | None:
    """Return an estimate of a quantile from a histogram's counts; None where there are none.

    Parameters
    ----------
    counts : sequence of int
        As of `Histogram`, or the difference of two readings.
    share : float
        0.5 for the median.

    Rounding
        Linear inside a bucket; of what is above all bounds the largest bound.
    """
    total = sum(counts)
    if total <= 0:
        return None
    wanted = share * total
    below = 0
    for bucket, count in enumerate(counts):
        if count and below + count >= wanted:
            if bucket == len(BOUNDS_NS):
                break
            low = BOUNDS_NS[bucket - 1] if bucket else 0
            found: float = low + (BOUNDS_NS[bucket] - low) * max(wanted - below, 0.0) / count
            return found
        below += count
    return float(BOUNDS_NS[-1])


class Figures:
    """All figures of one server.

    Attributes
    ----------
    state : {"starting", "serving", "stopping"}
    started_ns : int
        Wall clock.
    epoch : int or None
        Of this start, once it is known.
    outcomes : Counter
        Of clients' commands, by code.
    refusals : Counter
        Messages refused as a whole, by code.
    query_count, message_count, batch_count : int
    stages : dict of str to Histogram
        Durations by stage, one for each batch.
    client_seen : dict of str to float
        Name → when its last message came, monotonic seconds.
    mark_seen : dict of str to float
        Symbol → when its last mark came from a feed, monotonic seconds.
    turned_at : float
        When the loop last came round, monotonic seconds.
    """

    def __init__(self) -> None:
        self.state = "starting"
        self.started_ns = time.time_ns()
        self.epoch: int | None = None
        self.outcomes: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        self.query_count = 0
        self.message_count = 0
        self.batch_count = 0
        self.stages = {stage: Histogram() for stage in STAGES}
        self.client_seen: dict[str, float] = {}
        self.mark_seen: dict[str, float] = {}
        self.turned_at = time.monotonic()
        #: Where refused connections are counted, if anybody is refused.
        self.refused_connections: Callable[[], int] = int
        #: Of the exchange, the last time that it was looked at; see `engine.serving.gauges`.
        self.gauges: dict[str, Any] = {}
        #: Of publishers and standbys, likewise; see `engine.serving.surroundings`.
        self.feeds: dict[str, Any] | None = None
        self.replication: dict[str, Any] | None = None

    def note_stages(self, **durations_ns: int | None) -> None:
        """Count how long the stages of one batch took; None: there was no such stage."""
        for stage, duration_ns in durations_ns.items():
            if duration_ns is not None:
                self.stages[stage].observe(duration_ns)

    def note_client(self, name: str, now_s: float) -> None:
        """Note that a client has sent something; names beyond a bound are not remembered."""
        if name in self.client_seen or len(self.client_seen) < CLIENTS_MAX:
            self.client_seen[name] = now_s

    def active_clients(self, span_s: float = 60.0) -> int:
        """Return how many clients have sent anything in the last while."""
        since = time.monotonic() - span_s
        return sum(seen >= since for seen in dict(self.client_seen).values())

    def mark_ages_ns(self) -> dict[str, int]:
        """Return by symbol how long ago its last mark came from a feed."""
        now = time.monotonic()
        return {
            symbol: int((now - seen) * 1e9)
            for symbol, seen in sorted(dict(self.mark_seen).items())}

    def describe(self) -> dict[str, Any]:
        """Return the answer to the query `server`: everything here, integers and texts alone."""
        gauges = self.gauges
        return {
            "engine": __version__, "state": self.state, "epoch": self.epoch,
            "started_ns": self.started_ns,
            "now_ns": time.time_ns(), "messages": self.message_count,
            "queries": self.query_count, "batches": self.batch_count,
            "outcomes": dict(self.outcomes), "refusals": dict(self.refusals),
            "refused_connections": self.refused_connections(),
            "clients_active": self.active_clients(),
            "bounds_ns": list(BOUNDS_NS),
            "stages": {
                name: {"counts": list(stage.counts), "sum_ns": stage.sum_ns}
                for name, stage in self.stages.items()},
            "mark_ages_ns": self.mark_ages_ns(),
            **{name: gauges.get(name) for name in (
                "queue_depth", "funds", "drift", "symbols", "snapshot_seq",
                "snapshot_written_ns")},
        }


def state_line(described: Mapping[str, Any]) -> str:
    """Return a line about a server; one that does not serve yet has no epoch and no `seq`."""
    told = (f"{name} {described[name]}" for name in ("epoch", "seq")
            if described[name] is not None)
    return ": ".join(filter(None, (str(described["state"]), ", ".join(told))))
