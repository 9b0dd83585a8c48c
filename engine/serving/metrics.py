"""Figures of a server for Prometheus, and its health, over HTTP on loopback.

A scrape reads plain numbers in a thread of its own; the exchange itself is never touched from
there. Needs `prometheus_client` (extra `server`).
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from engine import __version__
from engine.closing import Closing
from engine.errors import InputError, RunError
from engine.serving.figures import BOUNDS_NS, STAGES, Figures
from engine.serving.surroundings import surrounding_metrics

if TYPE_CHECKING:
    from prometheus_client.core import Metric

#: A loop that has not come round for so long is not healthy.
STALL_S = 10.0
#: How long a server may say nothing to somebody who asked for a page.
_REQUEST_S = 10.0

_ADDRESS = re.compile(r"(?P<host>127(?:\.[0-9]{1,3}){3}|localhost|\[::1\]):(?P<port>[0-9]{1,5})")


def check_address(address: str) -> tuple[str, int]:
    """Return host and port of `127.0.0.1:9100`; only loopback is taken: pages are for everybody.

    Raises
    ------
    InputError
    """
    found = _ADDRESS.fullmatch(address)
    if found is None or int(found["port"]) > 65535:
        raise InputError(f"--metrics {address}: expected 127.0.0.1:PORT")
    return found["host"].strip("[]").replace("localhost", "127.0.0.1"), int(found["port"])


def health(figures: Figures) -> tuple[bool, bool, dict[str, Any]]:
    """Return whether a server is alive, whether it takes commands, and both in words."""
    stalled_s = time.monotonic() - figures.turned_at
    is_alive = figures.state == "starting" or stalled_s < STALL_S
    is_ready = is_alive and figures.state == "serving"
    return is_alive, is_ready, {
        "status": "ok" if is_alive else f"the loop has not come round for {stalled_s:.0f} s",
        "state": figures.state, "ready": is_ready, "epoch": figures.epoch,
        "seq": figures.gauges.get("seq"), "engine": __version__,
    }


class Collector:
    """Makes Prometheus metrics of a server's figures when they are asked for."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        yield from self._counters()
        yield from self._histograms()
        yield from self._gauges()
        yield from surrounding_metrics(self._figures)

    def _counters(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily

        figures = self._figures
        for name, text, label, counts in (
            ("engine_commands", "Commands of clients by outcome.", "outcome", figures.outcomes),
            ("engine_refusals", "Messages refused as a whole, by code.", "code",
             figures.refusals),
        ):
            family = CounterMetricFamily(name, text, labels=[label])
            for value, count in sorted(dict(counts).items()):
                family.add_metric([value], count)
            yield family
        for name, text, count in (
            ("engine_messages", "Messages on the commands socket.", figures.message_count),
            ("engine_queries", "Queries answered.", figures.query_count),
            ("engine_batches", "Batches made durable.", figures.batch_count),
            ("engine_refused_connections", "Connections refused for their key.",
             figures.refused_connections()),
        ):
            yield CounterMetricFamily(name, text, value=count)

    def _histograms(self) -> Iterator[Metric]:
        from prometheus_client.core import HistogramMetricFamily

        family = HistogramMetricFamily(
            "engine_stage_seconds", "Duration of a batch's stages.", labels=["stage"])
        for stage in STAGES:
            histogram = self._figures.stages[stage]
            counts, total_ns = list(histogram.counts), histogram.sum_ns
            buckets, below = [], 0
            for bound, count in zip((*BOUNDS_NS, None), counts, strict=True):
                below += count
                buckets.append(("+Inf" if bound is None else repr(bound / 1e9), below))
            family.add_metric([stage], buckets, total_ns / 1e9)
        yield family

    def _gauges(self) -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily

        figures, gauges = self._figures, self._figures.gauges
        yield GaugeMetricFamily(
            "engine_ready", "1 while commands are taken.", value=health(figures)[1])
        yield GaugeMetricFamily(
            "engine_start_time_seconds", "When the server was started.",
            value=figures.started_ns / 1e9)
        yield GaugeMetricFamily(
            "engine_clients_active", "Clients heard of in the last minute.",
            value=figures.active_clients())
        ages = GaugeMetricFamily(
            "engine_mark_age_seconds", "Since the last mark of a symbol came from a feed.",
            labels=["symbol"])
        for symbol, age_ns in figures.mark_ages_ns().items():
            ages.add_metric([symbol], age_ns / 1e9)
        yield ages
        if gauges:
            yield from _exchange_gauges(gauges)


def _exchange_gauges(gauges: dict[str, Any]) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    yield GaugeMetricFamily("engine_seq", "Number of the last command.", value=gauges["seq"])
    yield GaugeMetricFamily(
        "engine_liquidation_queue", "Pools in the liquidation queue.",
        value=gauges["queue_depth"])
    funds = GaugeMetricFamily(
        "engine_insurance_fund", "Balance of a fund, in units of its asset.",
        labels=["asset", "fund"])
    for row in gauges["funds"]:
        funds.add_metric([row["asset"], row["fund"] or ""], float(row["balance"]))
    yield funds
    drift = GaugeMetricFamily(
        "engine_drift", "What the books of an asset are off by, in its units; always 0.",
        labels=["asset"])
    for asset, value in sorted(gauges["drift"].items()):
        drift.add_metric([asset], float(value))
    yield drift
    if gauges["snapshot_seq"] is not None:
        yield GaugeMetricFamily(
            "engine_snapshot_age_seconds", "Since the newest snapshot was written.",
            value=max(0.0, (time.time_ns() - gauges["snapshot_written_ns"]) / 1e9))
        yield GaugeMetricFamily(
            "engine_snapshot_seq", "Last command in the newest snapshot.",
            value=gauges["snapshot_seq"])


class _Handler(WSGIRequestHandler):
    """One that does not write a line for each request, and waits for nobody for long."""

    timeout = _REQUEST_S

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class _Pages(ThreadingMixIn, WSGIServer):
    """A thread for each request: somebody who does not finish asking keeps nobody waiting."""

    daemon_threads = True


class MetricsServer(Closing):
    """Answers `/metrics`, `/health` and `/ready` in a thread of its own.

    Parameters
    ----------
    address : str
        `127.0.0.1:PORT`.
    figures : Figures

    Attributes
    ----------
    url : str

    Raises
    ------
    RunError
        `prometheus_client` is not installed.
    InputError
        The port is taken.
    """

    def __init__(self, address: str, figures: Figures) -> None:
        try:
            from prometheus_client import CollectorRegistry, make_wsgi_app
        except ImportError:
            raise RunError(
                "--metrics needs prometheus_client: pip install 'perp-engine[server]'") from None
        host, port = check_address(address)
        registry = CollectorRegistry()
        registry.register(Collector(figures))
        self._figures = figures
        self._pages: Callable[..., Iterable[bytes]] = make_wsgi_app(registry)
        try:
            self._server = make_server(
                host, port, self._answer, server_class=_Pages, handler_class=_Handler)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise InputError(f"--metrics {address}: cannot bind: {reason}") from None
        self.url = f"http://{host}:{self._server.server_port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=[0.2], name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread that answers, and close its socket."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(
        self, request: dict[str, Any], respond: Callable[..., Any]
    ) -> Iterable[bytes]:
        path = request.get("PATH_INFO", "/")
        if path == "/metrics":
            return self._pages(request, respond)
        if path not in ("/health", "/ready"):
            respond("404 Not Found", [("Content-Type", "text/plain")])
            return [b"expected /metrics, /health or /ready\n"]
        is_alive, is_ready, words = health(self._figures)
        is_good = is_alive if path == "/health" else is_ready
        respond(
            "200 OK" if is_good else "503 Service Unavailable",
            [("Content-Type", "application/json")])
        return [json.dumps(words).encode() + b"\n"]
