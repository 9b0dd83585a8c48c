"""What a server's publishers and standbys are at, as figures and as metrics.

The loop writes them down, once a second; the threads that answer scrapes read what it wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from engine.replication.history import History
from engine.replication.primary import Replicator
from engine.replication.standby import Standby
from engine.serving.feed_settings import ONLY_NAME
from engine.serving.feeds import Feeds
from engine.serving.figures import Figures
from engine.subscriber import MarkSubscriber

if TYPE_CHECKING:
    from prometheus_client.core import Metric

_INTERVAL_S = 1.0
#: Of a publisher, in the answer to the query `feeds`: no counters.
_NO_COUNTERS = frozenset({"source", "epoch", "has_ended", "silent_ms"})


class Surroundings:
    """Writes down what is known of publishers and standbys.

    Parameters
    ----------
    figures : Figures
    feed : MarkSubscriber or None
    feeds : Feeds or None
    standbys : Replicator or None
    required_count : int
        Standbys that must have a batch before it is answered.
    history : History
        Of the journal.
    """

    def __init__(
        self, figures: Figures, feed: MarkSubscriber | None, feeds: Feeds | None,
        standbys: Replicator | None, required_count: int, history: History,
    ) -> None:
        self._figures = figures
        self._feed, self._feeds = feed, feeds
        self._standbys, self._required_count = standbys, required_count
        self._history = history
        self._due_at = 0.0

    def refresh(self, now_s: float) -> None:
        """Write it down again, if that is due.

        Parameters
        ----------
        now_s : float
            Monotonic clock.
        """
        if now_s < self._due_at:
            return
        self._due_at = now_s + _INTERVAL_S
        if self._feeds is not None:
            self._figures.feeds = self._feeds.figures()
        elif self._feed is not None:
            counts = {what: int(count) for what, count in self._feed.health.rows()}
            self._figures.feeds = {"sources": [{
                "source": ONLY_NAME, "has_ended": self._feed.health.has_ended, **counts}]}
        replication: dict[str, Any] = {"is_standby": False, "term": self._history.term}
        if self._standbys is not None:
            replication |= {
                "standbys": self._standbys.follower_count, "required": self._required_count,
                "is_degraded": self._standbys.is_degraded, "lag": self._standbys.lag}
        self._figures.replication = replication


def follow_figures(
    figures: Figures, history: Callable[[], History], last_seq: Callable[[], int]
) -> Callable[[Standby], None]:
    """Return what writes down how far a standby is, for each turn of its loop."""

    def write(standby: Standby) -> None:
        seq = last_seq()
        figures.replication = {
            "is_standby": True, "term": history().term, "seq": seq,
            "is_connected": standby.is_connected, "lag": max(0, standby.primary_seq - seq)}

    return write


def surrounding_metrics(figures: Figures) -> Iterator[Metric]:
    """Yield the metrics of publishers and of replication."""
    if figures.feeds is not None:
        yield from _feed_metrics(figures.feeds)
    if figures.replication is not None:
        yield from _replication_metrics(figures.replication)


def _feed_metrics(feeds: Mapping[str, Any]) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    counts = CounterMetricFamily(
        "engine_feed_events", "What came of a publisher's messages and steps.",
        labels=["source", "what"])
    ended = GaugeMetricFamily(
        "engine_feed_ended", "1 once a publisher has said that there is no more.",
        labels=["source"])
    silence = GaugeMetricFamily(
        "engine_feed_silence_seconds", "Since anything was heard of a publisher.",
        labels=["source"])
    for row in feeds["sources"]:
        source = row["source"]
        for what in row.keys() - _NO_COUNTERS:
            counts.add_metric([source, what], row[what])
        ended.add_metric([source], int(row["has_ended"]))
        if "silent_ms" in row:
            silence.add_metric([source], row["silent_ms"] / 1000)
    yield from (counts, ended, silence)
    if "stale" not in feeds:
        return
    stale = GaugeMetricFamily(
        "engine_feed_stale", "1 for each symbol whose marks are stale.", labels=["symbol"])
    for symbol in feeds["stale"]:
        stale.add_metric([symbol], 1)
    yield stale
    yield CounterMetricFamily(
        "engine_feed_turned_stale", "How often a symbol turned stale.",
        value=feeds["stale_count"])
    astray = GaugeMetricFamily(
        "engine_feed_set_aside", "Publishers too far from the others now, by symbol.",
        labels=["symbol"])
    for symbol, names in feeds["set_aside"].items():
        astray.add_metric([symbol], len(names))
    yield astray


def _replication_metrics(replication: Mapping[str, Any]) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    for name, text, what in (
        ("engine_standby", "1 while this server follows another one.", "is_standby"),
        ("engine_term", "Term of the server, or of the one that it follows.", "term"),
        ("engine_standby_seq", "Last command in the journal of a standby.", "seq"),
        ("engine_standby_connected", "1 while a standby hears its primary.", "is_connected"),
        ("engine_replication_lag_commands",
         "Commands that the standby furthest behind, or this one, does not have.", "lag"),
        ("engine_replication_standbys", "Standbys that follow.", "standbys"),
        ("engine_replication_required", "Standbys that an answer waits for.", "required"),
        ("engine_replication_degraded", "1 while it goes on without them.", "is_degraded"),
    ):
        if what in replication:
            yield GaugeMetricFamily(name, text, value=int(replication[what]))
