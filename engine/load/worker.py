"""A client process: sends its commands when they are due, and notes when each was answered."""

from __future__ import annotations

import signal
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing.connection import Connection
from select import select

import numpy as np
import zmq

from engine import wire
from engine.client import Client
from engine.closing import Closing
from engine.endpoints import connect_socket
from engine.errors import EngineError, RunError
from engine.keys import ClientKeys
from engine.load.arrivals import Arrivals, Ints
from engine.load.flow import Book, Flow, Words
from engine.load.world import DEPOSIT, trader_accounts
from engine.messages import RejectReason
from engine.serving.packed import APPLIED, REJECTION_DTYPE

#: How often the one in charge hears what was measured.
_PART_S = 0.5
#: Messages made ahead before the start; of a longer run the rest is made on the way.
_AHEAD_MAX = 200_000
_MADE_AT_ONCE = 64
#: Below this a wait is a busy one where there is a core for it.
_SPIN_NS = 120_000
#: Replies are read after so many messages sent in a row.
_SENT_IN_A_ROW = 16
_FIRST_WAIT_S = 30.0


@dataclass(frozen=True)
class Caller:
    """Who a client is to the server.

    Attributes
    ----------
    name : str
    keys : ClientKeys, optional
        Where the server asks for them; the name is then the one that belongs to them.
    """

    name: str
    keys: ClientKeys | None = None


@dataclass(frozen=True)
class Order:
    """What one client is to do.

    Attributes
    ----------
    endpoint : str
    caller : Caller
    number, count : int
        This client's number from 0, and how many there are.
    traders : int
    books : tuple of Book
    mix : tuple of float
    swing : float
    seed : int
    batch : int
        Commands in one message.
    is_packed : bool
        Whether they travel as one packed table.
    may_spin : bool
    """

    endpoint: str
    caller: Caller
    number: int
    count: int
    traders: int
    books: tuple[Book, ...]
    mix: tuple[float, ...]
    swing: float
    seed: int
    batch: int
    is_packed: bool
    may_spin: bool


@dataclass(frozen=True)
class Leg:
    """One stretch of load.

    Attributes
    ----------
    number : int
        Other legs have other commands.
    arrivals : Arrivals
    rate : float, commands per second
        Of all clients.
    duration_s, drain_s : float
        How long is sent, and how long is waited for answers afterwards.
    give_up_s : float
        Ends the leg when an answer is so late.
    """

    number: int
    arrivals: Arrivals
    rate: float
    duration_s: float
    drain_s: float
    give_up_s: float


@dataclass
class Part:
    """What came since the last part.

    Attributes
    ----------
    due, latencies : array of int64, ns
        Of commands answered: when each was meant to be sent, and how long from then.
    lateness : array of int64, ns
        How much later than meant messages were sent.
    """

    due: Ints
    latencies: Ints
    lateness: Ints


@dataclass
class LegEnd:
    """Counts of one client over a leg.

    Attributes
    ----------
    sent, unanswered : int
        Commands; those without an answer were waited for until the end.
    codes : Counter of str
        Outcomes: `accepted`, or the reason of what was refused.
    seq_count, seq_sum, seq_max : int
        Numbers that applied commands got.
    is_ordered : bool
        Whether they always rose.
    gave_up : bool
    """

    sent: int = 0
    unanswered: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    seq_count: int = 0
    seq_sum: int = 0
    seq_max: int = 0
    is_ordered: bool = True
    gave_up: bool = False

    def note_seqs(self, first: int, count: int) -> None:
        """Count commands that were applied together."""
        self.is_ordered = self.is_ordered and first > self.seq_max
        self.seq_max = first + count - 1
        self.seq_count += count
        self.seq_sum += (first + self.seq_max) * count // 2

    def note_part(self, count: int, code: str, first_seq: int | None, rejections: bytes) -> None:
        """Count packed commands with one answer."""
        if code != APPLIED or first_seq is None:
            self.codes[code] += count
            return
        reasons = np.frombuffer(rejections, REJECTION_DTYPE)["reason"]
        for reason, times in zip(*np.unique(reasons, return_counts=True), strict=True):
            self.codes[RejectReason(int(reason)).name.lower()] += int(times)
        self.codes["accepted"] += count - len(reasons)
        self.note_seqs(first_seq, count)


def run_worker(pipe: Connection, order: Order) -> None:
    """Run a client process: open the traders, then the legs that are asked for, until None."""
    # A Ctrl-C is for the one in charge, who wants to hear what there is.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with _Worker(pipe, order) as worker:
            worker.open_traders()
            pipe.send(("ready", None))
            while (leg := pipe.recv()) is not None:
                # A word to stop that came too late for the leg before is no leg.
                if isinstance(leg, Leg):
                    pipe.send(("end", worker.run(leg)))
    except EngineError as error:
        pipe.send(("failed", str(error)))
    except (EOFError, OSError):
        return  # the one in charge has gone


class _Worker(Closing):
    """A client's connection, and what it keeps from leg to leg."""

    def __init__(self, pipe: Connection, order: Order) -> None:
        self.pipe, self.order = pipe, order
        self.name = order.caller.name
        self.words = Words(order.books)
        self.accounts = trader_accounts(order.number, order.traders)
        self.next_request = self.next_order = 1
        self._client = Client(
            order.endpoint, self.name, timeout_s=_FIRST_WAIT_S, keys=order.caller.keys)
        self._context = zmq.Context()
        self.socket = self._context.socket(zmq.DEALER)
        for option, value in ((zmq.LINGER, 0), (zmq.SNDHWM, 0), (zmq.RCVHWM, 0)):
            self.socket.setsockopt(option, value)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
        self.socket.close()
        self._context.term()

    def open_traders(self) -> None:
        """Open the traders' accounts, or take their orders of an earlier run out of the book."""
        assets = list(dict.fromkeys(book.settle for book in self.order.books))
        for account in self.accounts:
            opened = self._client.send({"cmd": "account", "account": account})
            if opened.code == "accepted":
                self._client.send_many([
                    {"cmd": "deposit", "account": account, "asset": asset, "amount": DEPOSIT}
                    for asset in assets])
            else:
                self._client.send({"cmd": "cancel_all", "account": account})
        self.next_request = self._client.hello() + 1
        connect_socket(self.socket, self.order.endpoint, self.order.caller.keys)

    def run(self, leg: Leg) -> LegEnd:
        """Send one leg, and return what came of it."""
        order = self.order
        seeds = np.random.SeedSequence([order.seed, leg.number, order.number])
        first, second = (np.random.default_rng(one) for one in seeds.spawn(2))
        times = leg.arrivals.blocks(leg.rate / order.batch, first, (order.number, order.count))
        flow = Flow(
            order.books, self.accounts, order.mix, order.swing, second, self.next_order)
        running = _Running(self, leg, self._messages(times, flow, int(leg.duration_s * 1e9)))
        self.pipe.send(("prepared", None))
        end = running.run(self.pipe.recv())
        self.next_order, self.next_request = flow.next_order, running.next_request
        return end

    def _messages(
        self, times: Iterator[Ints], flow: Flow, end_ns: int
    ) -> Iterator[tuple[int, int, bytes]]:
        """Yield when each message is due, the number of its first command, and its payload."""
        batch, request, name = self.order.batch, self.next_request, self.name
        for block in times:
            for at in range(0, len(block), _MADE_AT_ONCE):
                due = block[at : at + _MADE_AT_ONCE]
                due = due[due < end_ns]
                rows = flow.commands(np.repeat(due, batch))
                words = [] if self.order.is_packed else list(self.words.of(rows))
                for number, due_ns in enumerate(due.tolist()):
                    part = slice(number * batch, (number + 1) * batch)
                    if self.order.is_packed:
                        payload = wire.encode_packed(name, request, rows[part].tobytes(), b"")
                    else:
                        payload = wire.encode_commands(name, request, words[part])
                    yield due_ns, request, payload
                    request += batch
                if len(due) < min(_MADE_AT_ONCE, len(block) - at):
                    return


class _Running:
    """One leg while it goes on."""

    def __init__(
        self, worker: _Worker, leg: Leg, messages: Iterator[tuple[int, int, bytes]]
    ) -> None:
        self._worker, self._leg, self._socket = worker, leg, worker.socket
        self._batch = worker.order.batch
        self._kind = wire.PACKED if worker.order.is_packed else wire.COMMANDS
        self._spin_ns = _SPIN_NS if worker.order.may_spin else 0
        self._rest = messages
        self._ahead = deque(islice(messages, _AHEAD_MAX))
        self._waiting: dict[int, int] = {}  # request → due
        self._due: list[int] = []
        self._latencies: list[int] = []
        self._lateness: list[int] = []
        self._end = LegEnd()
        self._drained_by = int((leg.duration_s + leg.drain_s) * 1e9)
        self.next_request = worker.next_request

    def run(self, start: int) -> LegEnd:
        """Send and receive from a time of the monotonic clock on."""
        clock, end = time.monotonic_ns, self._end
        descriptor = int(self._socket.getsockopt(zmq.FD))
        part_at = int(_PART_S * 1e9)
        while True:
            self._send_due(start)
            self._receive(start)
            now = clock() - start
            if now >= part_at:
                part_at = now + int(_PART_S * 1e9)
                self._tell(now)
            if not self._ahead and (not self._waiting or now > self._drained_by):
                break
            self._wait(descriptor, start, part_at)
        now = clock() - start
        end.unanswered = len(self._waiting) * self._batch
        for due in self._waiting.values():  # they took longer than this
            self._due.append(due)
            self._latencies.append(now - due)
        self._tell(now)
        return end

    def _send_due(self, start: int) -> None:
        clock, ahead = time.monotonic_ns, self._ahead
        now = clock() - start
        for _ in range(_SENT_IN_A_ROW):
            if not ahead or ahead[0][0] > now:
                return
            due, request, payload = ahead.popleft()
            self._socket.send_multipart((self._kind, payload))
            self._waiting[request] = due
            self._lateness.append(now - due)
            self._end.sent += self._batch
            self.next_request = request + self._batch
            if not ahead:
                ahead.extend(islice(self._rest, _MADE_AT_ONCE))
            now = clock() - start

    def _receive(self, start: int) -> None:
        end, clock = self._end, time.monotonic_ns
        while True:
            try:
                kind, payload = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            now = clock() - start
            if kind == wire.REFUSED:
                raise RunError(f"the server refused a message: {wire.decode_refused(payload)[1]}")
            decode = (
                wire.decode_packed_outcomes if kind == wire.PACKED_OUTCOMES
                else wire.decode_outcomes)
            _, _, request, rows = decode(payload)
            due = self._waiting.pop(request, None)
            if due is None:
                continue  # of a leg that was given up
            self._due.append(due)
            self._latencies.append(now - due)
            if kind == wire.PACKED_OUTCOMES:
                for count, code, first_seq, _, rejections, _ in rows:
                    end.note_part(count, code, first_seq, rejections)
                continue
            for code, seq, _, reason, _ in rows:
                end.codes[reason or code] += 1
                if seq is not None:
                    end.note_seqs(seq, 1)

    def _wait(self, descriptor: int, start: int, part_at: int) -> None:
        now = time.monotonic_ns() - start
        until = min(self._ahead[0][0] if self._ahead else part_at, part_at)
        left = until - now - self._spin_ns
        if left > 0:
            # The descriptor tells of news once; whatever that misses is seen after this.
            select((descriptor,), (), (), min(left, 1_000_000) / 1e9)

    def _tell(self, now: int) -> None:
        pipe, batch = self._worker.pipe, self._batch
        due, latencies = (
            np.repeat(np.array(each, np.int64), batch) for each in (self._due, self._latencies))
        pipe.send(("part", Part(due, latencies, np.array(self._lateness, np.int64))))
        for each in (self._due, self._latencies, self._lateness):
            each.clear()
        oldest = next(iter(self._waiting.values()), now)
        if now - oldest > self._leg.give_up_s * 1e9:
            self._end.gave_up = True
            self._send_no_more(now)
        if pipe.poll(0):
            pipe.recv()  # the word to stop
            self._send_no_more(now)

    def _send_no_more(self, now: int) -> None:
        if self._ahead:
            self._ahead.clear()
            self._rest = iter(())
            self._drained_by = min(self._drained_by, now + int(self._leg.drain_s * 1e9))
