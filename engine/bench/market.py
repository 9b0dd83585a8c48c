"""What market data costs: the same orders with it off, as packed rows, and as messages.

All ways run in turns within a round, on the exchange with accounts, margin and events; the
books that follow have to end up as the exchange's own.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from time import thread_time_ns
from typing import Any

import zmq

from engine import wire
from engine.bench.report import Report, Table, rate, us
from engine.bench.stream import FAIR_PRICE, OWNERS, make_stream
from engine.bench.ways import Prepared, exchange_rows
from engine.client.following import Following
from engine.endpoints import free_tcp_endpoint
from engine.exchange import Exchange
from engine.marketdata import L2Book, L3Book, MarketData, packed
from engine.messages import Side
from engine.serving.market import MarketPublisher

Progress = Callable[[str], None]

_DRAIN_EVERY = 1000
_SYMBOL = "X"


@dataclass(frozen=True)
class MarketPlan:
    """How large a run is.

    Attributes
    ----------
    commands, seed, rounds : int
        Of the canonical stream of `engine.bench.stream`.
    """

    commands: int = 100_000
    seed: int = 1
    rounds: int = 9


SMOKE = MarketPlan(commands=3000, rounds=1)


@dataclass
class Way:
    """One way of listening; ns of CPU a command, one entry a round.

    Attributes
    ----------
    name : str
    per_command : list of float
    messages : int
        Handed out in one round: rows, or dictionaries.
    agrees : bool
        Whether whoever listened ended up with the exchange's book.
    """

    name: str
    per_command: list[float] = field(default_factory=list)
    messages: int = 0
    agrees: bool = True


@dataclass
class MarketResult:
    """Everything one run measured."""

    plan: MarketPlan
    ways: list[Way]
    state_hashes: set[str]

    @property
    def agrees(self) -> bool:
        """Whether listening changed nothing, and every listener has the book."""
        return len(self.state_hashes) == 1 and all(way.agrees for way in self.ways)


class Listener:
    """Nobody listens; subclasses do. `drain` is called every 1,000 commands."""

    name = "off"

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.messages = 0

    def drain(self) -> None:
        self.exchange.core.drain_bytes()

    def rest(self) -> None:
        """What is done in between, and not counted."""

    def has_the_book(self) -> bool:
        return True

    def close(self) -> None:
        """Close what was opened."""


class Recorder(Listener):
    """Takes packed rows and looks at nothing."""

    name = "on, packed rows"

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange)
        exchange.core.publish(0, True)

    def drain(self) -> None:
        super().drain()
        self.take(drained_rows(self.exchange))

    def take(self, rows: packed.Messages) -> None:
        self.messages += len(rows)


class PackedFollower(Recorder):
    """Keeps price levels from packed rows."""

    name = "on, packed rows, price levels from them"

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange)
        self.book = packed.PackedBook(exchange.core, 0)

    def take(self, rows: packed.Messages) -> None:
        super().take(rows)
        self.book.apply(rows)

    def has_the_book(self) -> bool:
        core = self.exchange.core
        return all(self.book.side(side) == [
            (price, sum(lots for _, lots in orders), len(orders))
            for price, orders in core.market_levels(0, side, 10**9)] for side in Side)


class Reader(Listener):
    """Drains `MarketData`."""

    channels: tuple[str, ...] = ("l2", "l1", "trades")
    name = "on, L2, L1 and trades as dictionaries"

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange)
        self.data = MarketData(exchange, channels=self.channels)
        self.data.drain()

    def drain(self) -> None:
        super().drain()
        self.take(self.data.drain())

    def take(self, messages: list[dict[str, Any]]) -> None:
        self.messages += len(messages)


class L3Reader(Reader):
    """The same order by order."""

    channels = ("l3",)
    name = "on, L3 as dictionaries"


class L2Client(Reader):
    """Drains, and keeps an `L2Book`."""

    channels = ("l2",)
    name = "on, L2 as dictionaries, client's book"
    kind: type[L2Book] | type[L3Book] = L2Book

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange)
        self.book = self.kind(self.snapshot())

    def snapshot(self) -> dict[str, Any]:
        return self.data.l2_snapshot(_SYMBOL)

    def take(self, messages: list[dict[str, Any]]) -> None:
        super().take(messages)
        for message in messages:
            self.book.apply(message)

    def has_the_book(self) -> bool:
        now = self.snapshot()
        return (self.book.bids, self.book.asks) == (now["bids"], now["asks"])


class L3Client(L2Client):
    """Drains, and keeps an `L3Book`."""

    channels = ("l3",)
    name = "on, L3 as dictionaries, client's book"
    kind = L3Book

    def snapshot(self) -> dict[str, Any]:
        return self.data.l3_snapshot(_SYMBOL)


class Published(Listener):
    """Publishes over ZeroMQ, on topics that nobody subscribed to."""

    channels: tuple[str, ...] = ("l2", "l1", "trades")
    name = "on, L2, L1 and trades published, nobody subscribed"

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange)
        endpoint = free_tcp_endpoint()
        self.publisher = MarketPublisher(endpoint, 1, exchange, self.channels)
        self.open(endpoint)

    def open(self, endpoint: str) -> None:
        """Whoever subscribes does so here."""

    def drain(self) -> None:
        super().drain()
        self.publisher.publish()
        topics = self.publisher.topics
        self.messages = sum(topics.last(wire.topic_name(one, _SYMBOL)) for one in self.channels)

    def close(self) -> None:
        self.publisher.close()


class Subscribed(Published):
    """A subscriber keeps the book of what was published; its time is not counted."""

    name = "on, L2, L1 and trades published, a subscriber"

    def open(self, endpoint: str) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.SUBSCRIBE, b"")
        self._socket.connect(endpoint)
        while not self._socket.poll(10):  # until the subscription is there
            self.publisher.send_heartbeat()
        self._following = Following(endpoint, [self._topic], 1.0)
        ((_, request),) = self._following.requests(0.0)
        token, _ = wire.decode_snapshot_request(request)
        self._following.take_answer([wire.SNAPSHOT, wire.encode_snapshot(
            1, token, self._topic, self.publisher.topics.last(self._topic.encode()),
            self.publisher.state("l2", _SYMBOL))])

    @property
    def _topic(self) -> str:
        return f"l2.{_SYMBOL}."

    def rest(self) -> None:
        while self._socket.poll(0):
            self._following.take(self._socket.recv_multipart())

    def has_the_book(self) -> bool:
        while self._socket.poll(200):
            self._following.take(self._socket.recv_multipart())
        book, now = self._following.book(self._topic), self.publisher.state("l2", _SYMBOL)
        return (book.bids, book.asks) == (now["bids"], now["asks"])

    def close(self) -> None:
        self._socket.close(linger=0)
        self._context.term()
        super().close()


LISTENERS: tuple[type[Listener], ...] = (
    Listener, Recorder, PackedFollower, Reader, L2Client, L3Reader, L3Client, Published,
    Subscribed)


def drained_rows(exchange: Exchange) -> packed.Messages:
    """Packed rows of an exchange since the last drain."""
    return packed.read(exchange.core.drain_market_data_bytes())


def run_market(plan: MarketPlan, progress: Progress = lambda note: None) -> MarketResult:
    """Measure all ways of listening to one stream.

    Parameters
    ----------
    plan : MarketPlan
    progress : callable
        Told what comes next.

    Returns
    -------
    MarketResult
    """
    progress(f"market data: making {plan.commands:,} commands")
    prepared = Prepared(make_stream("canonical", plan.commands, plan.seed))
    ways = [Way(kind.name) for kind in LISTENERS]
    hashes = set()
    for number in range(plan.rounds):
        progress(f"market data, round {number + 1} of {plan.rounds}")
        pairs = list(zip(LISTENERS, ways, strict=True))
        first = number % len(pairs)  # nobody has the same place in every round
        for kind, way in pairs[first:] + pairs[:first]:
            hashes.add(_run(kind, way, prepared))
    return MarketResult(plan, ways, hashes)


def _run(kind: type[Listener], way: Way, prepared: Prepared) -> str:
    """Send the stream once, drained every 1,000 commands; return the state's hash."""
    exchange = open_exchange()
    listener = kind(exchange)
    core = exchange.core
    core.run(exchange_rows(prepared.prefill))
    listener.drain()
    methods = (core.place_order, core.cancel, core.amend_order)
    calls = [(methods[op], arguments) for op, arguments, _ in prepared.exchange_calls]
    gc.collect()
    gc.freeze()  # the prepared calls are no part of what is measured
    way.per_command.append(_drive(calls, listener))
    gc.unfreeze()
    way.messages = listener.messages
    way.agrees = way.agrees and listener.has_the_book()
    listener.close()
    return exchange.state_hash()


def _drive(
    calls: list[tuple[Callable[..., Any], tuple[Any, ...]]], listener: Listener
) -> float:
    total = 0
    for begin in range(0, len(calls), _DRAIN_EVERY):
        part = calls[begin : begin + _DRAIN_EVERY]
        start = thread_time_ns()
        for method, arguments in part:
            method(*arguments)
        listener.drain()
        total += thread_time_ns() - start
        listener.rest()
    return total / len(calls)


def open_exchange() -> Exchange:
    """One instrument with fees, a mark, and 1,000 rich cross accounts."""
    exchange = Exchange()
    exchange.apply({"cmd": "asset", "asset": "USD", "decimals": 0})
    exchange.apply({
        "cmd": "instrument", "symbol": _SYMBOL, "kind": "linear", "base": _SYMBOL, "quote": "USD",
        "settle": "USD", "tick_size": "1", "lot_size": "1", "maker_fee": "0.0002",
        "taker_fee": "0.0005", "tiers": [
            {"min_notional": "0", "max_notional": None, "maintenance_margin_rate": "0.005",
             "max_leverage": "100"}]})
    exchange.core.mark(0, FAIR_PRICE)
    for account in range(1, OWNERS + 1):
        exchange.core.open_account(account, 0)
        exchange.core.deposit(account, 0, 10**15)
    exchange.drain_records()
    return exchange


def market_report(result: MarketResult) -> Report:
    """Describe a result."""
    plan, off = result.plan, result.ways[0]
    rows = result.ways[1].messages
    report = Report("market data, canonical stream", facts=[
        ("commands", f"{plan.commands:,} (seed {plan.seed})"),
        ("messages", f"{rows:,} (order by order)"),
        ("same books everywhere", "yes" if result.agrees else "NO"),
        ("state_hash", ", ".join(sorted(result.state_hashes))),
    ])
    table = Table(
        "an exchange that is listened to",
        ("", "us a command", "to off", "handed out", "messages/s beyond off"))
    for way in result.ways:
        paired = [one / other for one, other in zip(
            way.per_command, off.per_command, strict=True)]
        beyond = median(one - other for one, other in zip(
            way.per_command, off.per_command, strict=True))
        table.add(
            way.name, us(median(way.per_command)), f"{median(paired):.2f}x",
            f"{way.messages:,}", rate(rows, beyond * plan.commands) if beyond > 0 else "-")
    report.tables = [table]
    report.notes = [
        "CPU time of the thread, medians of the rounds; ratios are paired, the ways taking "
        "turns within a round; one Python call a command",
        "events and market data are drained every 1,000 commands, included; L2 tells a level "
        "once a drain",
        "messages/s: messages of the core by the time that listening adds; percentiles (p50, "
        "p99, p99.9) of single calls are the book benchmark's",
    ]
    if not result.agrees:
        report.failures.append(f"{report.title}: books or state hashes differ")
    return report
