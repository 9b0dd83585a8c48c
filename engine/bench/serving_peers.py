"""Who stands around the server of a benchmark: clients, a publisher of marks, a listener.

Each runs in a process of its own. All of them read the same monotonic clock.
"""

from __future__ import annotations

import ctypes
import gc
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import zmq

from engine import wire
from engine.batches import Packed, empty_commands
from engine.bench.population import Ints
from engine.client import Client
from engine.feeds.steps import Row
from engine.messages import Command, OrderType, Side, TimeInForce
from engine.packing import Poller, frames_of

_FIRST_TRADER = 10**9
_TRADERS = 100
#: Steps of a walk, as a part of the mark: a few per cent in ten thousand steps.
_WALK = 0.0004
_SUBSCRIBED_S = 60.0
_SILENCE_S = 20.0
_POLL_MS = 1000
#: Messages that the listener reads in one go.
_AT_ONCE = 64
_END_S = 300.0
_PR_SET_TIMERSLACK = 29


@dataclass(frozen=True)
class OrderJob:
    """What one client sends.

    Attributes
    ----------
    endpoint : str
    number : int
        Of the client, from 0.
    messages, batch : int
        How many, and the commands in each.
    marks : list of int
        Of each symbol, in ticks.
    """

    endpoint: str
    number: int
    messages: int
    batch: int
    marks: list[int]


@dataclass
class OrderResult:
    """What became of it.

    Attributes
    ----------
    count, refused : int
        Commands.
    began_ns, ended_ns : int
        By the monotonic clock.
    round_trips : array of int64, ns
        Of each message.
    problem : str or None
    """

    count: int
    refused: int
    began_ns: int
    ended_ns: int
    round_trips: Ints
    problem: str | None


@dataclass(frozen=True)
class MarkJob:
    """What is published, and where its events are heard.

    Attributes
    ----------
    feed, events : str
        Endpoints of the marks, and of the server's events.
    count, rate : int
        Marks, and how many of them a second.
    marks : list of int
        Of each symbol, in ticks.
    is_echo : bool
        What is heard is the marks themselves.
    """

    feed: str
    count: int
    rate: int
    marks: list[int]
    events: str
    is_echo: bool = False


def answer(pipe: Connection, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """Do work and send what it returns, or the exception."""
    try:
        pipe.send(work(*arguments))
    except Exception as error:
        pipe.send(RuntimeError(f"{type(error).__name__}: {error}"))


def trader_ids(clients: int) -> Ints:
    """Accounts that orders are sent for."""
    return np.arange(_FIRST_TRADER, _FIRST_TRADER + clients * _TRADERS)


def make_orders(job: OrderJob) -> list[Packed]:
    """Return tables of limit orders, and of cancels of those of the table before."""
    rng = np.random.default_rng(job.number)
    marks = np.array(job.marks)
    tables: list[Packed] = []
    new = (job.batch + 1) // 2
    for turn in range(job.messages):
        rows = empty_commands(job.batch)
        ids = np.arange(turn * new, turn * new + new) + 1
        rows["account"][:new] = _FIRST_TRADER + job.number * _TRADERS + ids % _TRADERS
        rows["cmd"][:new], rows["order_id"][:new] = Command.ORDER, ids
        symbols = rng.integers(0, len(marks), new)
        rows["symbol"][:new], rows["side"][:new] = symbols, rng.integers(0, 2, new)
        rows["type"][:new], rows["time_in_force"][:new] = OrderType.LIMIT, TimeInForce.GTC
        rows["quantity"][:new] = rng.integers(1, 1000, new)
        # Either side of the mark, and one in six beyond it, so that it meets somebody.
        away = rng.normal(0.0005, 0.0005, new) * np.where(rows["side"][:new] == Side.BUY, -1, 1)
        rows["price"][:new] = (marks[symbols] * (1 + away)).astype(np.int64)
        rest = job.batch - new
        before = tables[-1][:rest] if tables else rows[:rest]
        rows["cmd"][new:] = Command.CANCEL
        for name in ("account", "symbol", "order_id"):
            rows[name][new:] = before[name]
        tables.append(rows)
    return tables


def send_orders(job: OrderJob, barrier: Any) -> OrderResult:
    """Send the tables one after the other, each when the one before is answered."""
    tables = make_orders(job)
    refused, round_trips = 0, []
    with Client(job.endpoint, f"bench-{job.number}", timeout_s=120, retry_s=60) as client:
        client.hello()
        if barrier is not None:
            barrier.wait()
        gc.disable()
        began = time.monotonic_ns()
        problem = None
        for table in tables:
            sent = time.monotonic_ns()
            outcomes = client.send_packed(table)
            round_trips.append(time.monotonic_ns() - sent)
            if (outcomes.codes != "applied").any():
                problem = f"client {job.number}: not applied: {outcomes.codes[0]}"
            refused += len(outcomes) - int(outcomes.accepted.sum())
        ended = time.monotonic_ns()
        gc.enable()
    return OrderResult(
        sum(map(len, tables)), refused, began, ended, np.array(round_trips, np.int64), problem)


def walk_marks(job: MarkJob) -> list[bytes]:
    """Return the payloads of all messages: a step of one mark each, symbols in turn."""
    rng = random.Random(1)
    now = [float(mark) for mark in job.marks]
    began = time.time_ns()
    payloads = []
    for number in range(job.count):
        at = number % len(now)
        now[at] *= 1 + rng.gauss(0, _WALK)
        row: Row = (f"S{at}", str(max(1, round(now[at]))), None)
        payloads.append(wire.encode_marks(began, number + 1, [(began + number * 1000, [row])]))
    return payloads


def run_peer(role: str, job: MarkJob, ready: Any) -> Any:
    """Publish or listen."""
    return publish(job, ready) if role == "publish" else listen(job, ready)


def _without_timer_slack() -> None:
    # The kernel may wake a sleeper 50 us late to save energy, which is a whole interval here.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)


def publish(job: MarkJob, ready: Any) -> tuple[Ints, int]:
    """Send each mark at its time, whatever became of those before.

    Returns
    -------
    late : array of int64, ns
        How late each was sent.
    first : int, ns
        When the first was to be sent.
    """
    payloads = walk_marks(job)
    late = [0] * job.count
    _without_timer_slack()
    context = zmq.Context()
    socket = context.socket(zmq.XPUB)
    socket.setsockopt(zmq.XPUB_NODROP, 1)
    socket.bind(job.feed)
    frames = frames_of(socket)
    try:
        _wait_for_subscriber(socket)
        ready.wait(_SUBSCRIBED_S)
        gc.disable()
        first = time.monotonic_ns() + 200_000_000
        for number, payload in enumerate(payloads):
            intended = first + number * 1_000_000_000 // job.rate
            while (left := intended - time.monotonic_ns()) > 0:
                if left > 30_000:
                    time.sleep((left - 20_000) / 1e9)
            frames.send(wire.MARKS, number + 1, payload)
            late[number] = time.monotonic_ns() - intended
        gc.enable()
        ready.wait(_END_S)  # the listener has them all
    finally:
        socket.close(linger=0)
        context.term()
    return np.array(late, np.int64), first


def _wait_for_subscriber(socket: zmq.Socket[bytes]) -> None:
    deadline = time.monotonic() + _SUBSCRIBED_S
    while time.monotonic() < deadline:
        if socket.poll(100) and socket.recv() == b"\x01" + wire.MARKS:
            return
    raise TimeoutError("the server does not subscribe to the marks")


def listen(job: MarkJob, ready: Any) -> tuple[Ints, Ints, Ints]:
    """Hear the events; return of each mark its number, when it came, what was liquidated."""
    context = zmq.Context()
    socket = context.socket(zmq.SUB)
    socket.setsockopt(zmq.RCVHWM, 0)
    for topic in (wire.EVENTS, wire.HEARTBEAT):
        socket.setsockopt(zmq.SUBSCRIBE, topic)
    socket.connect(job.events)
    frames, poller = frames_of(socket), Poller()
    poller.register(socket, zmq.POLLIN)
    heard: list[tuple[int, bytes]] = []
    try:
        while not socket.poll(_POLL_MS) or socket.recv_multipart()[0] != wire.HEARTBEAT:
            pass  # then the server knows that somebody listens
        ready.wait(_SUBSCRIBED_S)
        gc.disable()
        # Heartbeats go on where events were lost, because nobody read them in time.
        quiet_at = time.monotonic() + _SILENCE_S
        while len(heard) < job.count and time.monotonic() < quiet_at:
            poller.poll(_POLL_MS)
            for topic, _, payload in frames.receive(_AT_ONCE):
                if topic == wire.EVENTS:
                    heard.append((time.monotonic_ns(), payload))
                    quiet_at = time.monotonic() + _SILENCE_S
        gc.enable()
        ready.wait(_END_S)
    finally:
        socket.close(linger=0)
        context.term()
    read = _echo_of if job.is_echo else _marks_of
    rows = [(number, at, count) for at, payload in heard for number, count in read(payload)]
    numbers, times, counts = np.array(rows, np.int64).reshape(-1, 3).T
    return numbers, times, counts


def _marks_of(payload: bytes) -> list[tuple[int, int]]:
    """Number of the mark that a message of events is of, and how many liquidations it began."""
    events = wire.decode_events(payload)[3]
    started = sum(event["event"] == "liquidation_started" for event in events)
    return [(event["feed_seq"], started) for event in events if event["event"] == "mark"]


def _echo_of(payload: bytes) -> list[tuple[int, int]]:
    """Return the same of a message of marks that was sent back."""
    return [(wire.decode_marks(payload).first_step, 0)]
