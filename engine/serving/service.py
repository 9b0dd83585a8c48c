"""The loop of a journaled server: wait, take a batch, commit it, answer; until told to stop."""

from __future__ import annotations

import hashlib
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType, TracebackType
from typing import Any

import zmq

from engine import wire
from engine.commands import check_shape
from engine.errors import CommandError, InputError, InvariantViolation
from engine.feeds.steps import PackedSteps
from engine.journal import JournalWriteError
from engine.publisher import HEARTBEAT_S
from engine.replication.primary import ReplicationError, Replicator
from engine.scenario import parse_line
from engine.server import EventPublisher
from engine.serving.feed_batch import FeedBatch
from engine.serving.feeds import Feeds
from engine.serving.gateway import Gateway
from engine.serving.market import MarketPublisher
from engine.serving.outside import AnyPoller, Outside
from engine.serving.packed import PackedPending
from engine.serving.sequencer import Pending, Sequencer
from engine.serving.topic_states import TopicStates
from engine.subscriber import FeedError, MarkSubscriber

#: Group commit: a batch is what has been waiting, up to about this.
BATCH_BYTES_MAX = 1 << 20
#: Messages of the feed taken into one batch at most.
_FEED_MESSAGES_MAX = 64
#: Commands of a scenario in one batch.
_SCENARIO_COMMANDS = 1000
#: How often the clock is told to an exchange that has one, when nobody else does.
_TICK_S = 1.0
#: How long clients are told that the journal cannot be written, before the server ends.
_DECLINE_S = 1.0


class StopSignal:
    """Turns SIGTERM and SIGINT into something that a poller wakes up from.

    Parameters
    ----------
    is_standby : bool
        SIGUSR1, too: take over. It means nothing to any other server.

    Attributes
    ----------
    is_set : bool
        Told to end.
    is_told_to_promote : bool
        Told to take over.
    """

    def __init__(self, is_standby: bool = False) -> None:
        self._on_usr1 = self._promote if is_standby else signal.SIG_IGN
        self.is_set = False
        self.is_told_to_promote = False
        self._reader, self._writer = socket.socketpair()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignal:
        self._writer.setblocking(False)
        self._wakeup = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._set)
        self._before[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, self._on_usr1)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        self._reader.close()
        self._writer.close()

    def fileno(self) -> int:
        """To wait on."""
        return self._reader.fileno()

    def _promote(self, number: int, frame: FrameType | None) -> None:
        self.is_told_to_promote = True

    def end_of_standby(self) -> None:
        """Take no notice of SIGUSR1 any more."""
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        self._reader.setblocking(False)
        try:
            self._reader.recv(4096)  # so that a poller sleeps again
        except BlockingIOError:
            pass

    def _set(self, number: int, frame: FrameType | None) -> None:
        self.is_set = True


def scenario_commands(path: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the commands of a scenario file with the number of their line.

    Raises
    ------
    InputError
        Missing file, or `FILE:LINE: reason`; queries have nobody to answer to.
    """
    try:
        with open(path, encoding="utf-8") as lines:
            number = 0
            try:
                for number, text in enumerate(lines, start=1):
                    if text.strip():
                        line = parse_line(text)
                        if check_shape(line) == "cmd":
                            yield number, line
            except CommandError as error:
                raise InputError(f"{path}:{number}: {error}") from None
            except UnicodeDecodeError as error:
                raise InputError(f"{path}:{number + 1}: not UTF-8: {error.reason}") from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"{path}: cannot open: {reason}") from None


def read_scenario(path: str | None) -> list[Pending]:
    """Read a scenario, if there is one: each command as the request of its line.

    Raises
    ------
    InputError
    """
    pendings = list[Pending]()
    for number, command in () if path is None else scenario_commands(path):
        try:
            pendings.append(Pending.of("", number, command))
        except ValueError as error:
            raise InputError(f"{path}:{number}: cannot be journaled: {error}") from None
        if len(pendings[-1].packed) > wire.MESSAGE_SIZE_MAX:
            raise InputError(f"{path}:{number}: a command of more than 16 MiB")
    return pendings


def load_scenario(
    sequencer: Sequencer, path: str, pendings: Sequence[Pending], report: Callable[[str], None]
) -> None:
    """Apply a scenario to a journaled exchange, or what is missing of it.

    A server that ended while it was loading goes on where it was: the scenario is a client
    whose request numbers are its lines.

    Parameters
    ----------
    sequencer : Sequencer
    path : str
        For messages.
    pendings : sequence of Pending
        As `read_scenario` returns them.
    report : callable

    Raises
    ------
    InputError
        The journal began otherwise, or a command has a time and the server gives it.
    """
    digest = hashlib.blake2b(digest_size=8)
    for pending in pendings:
        digest.update(pending.packed)
    client = f"scenario/{digest.hexdigest()}"
    done = sequencer.sessions.last_request(client)
    if not done and sequencer.exchange.seq:
        raise InputError(
            f"{path}: the journal has commands already, and did not begin with this scenario")
    missing = [pending for pending in pendings if pending.request > done]
    for pending in missing:
        pending.client = client
        if sequencer.has_clock and "ts" in pending.command:
            raise InputError(f"{path}:{pending.request}: field 'ts': the server gives the time")
    for at in range(0, len(missing), _SCENARIO_COMMANDS):
        batch = missing[at:at + _SCENARIO_COMMANDS]
        for pending in batch:
            sequencer.sessions.admit(client, pending.request, pending.checksum)
        sequencer.commit(batch)
    _report_rejections(path, missing, report)


def _report_rejections(path: str, done: list[Pending], report: Callable[[str], None]) -> None:
    refused = [each for each in done if each.outcome is not None and each.outcome.reason]
    if refused and refused[0].outcome is not None:
        first, outcome = refused[0], refused[0].outcome
        report(
            f"{path}: {len(refused)} commands rejected, the first: {first.command['cmd']}, "
            f"{outcome.reason} ({outcome.detail})")


class Service:
    """Runs a server until it is told to stop, or until its feed ends if it has nothing else.

    Parameters
    ----------
    sequencer : Sequencer
    gateway : Gateway, optional
    feed : MarkSubscriber, optional
    feeds : Feeds, optional
        Several publishers, or one by rules.
    events : EventPublisher, optional
    market : MarketPublisher, optional
    states : TopicStates, optional
    feed_timeout_s : float
        Longest silence of the feed; without a gateway it ends the run.
    report : callable
        Takes one line at a time about what goes on.
    outside : Outside, optional
    looks : sequence of callable
        Called whenever the loop comes round, with the machine's monotonic clock.
    replicator : Replicator, optional
    on_heartbeat : callable, optional
        Called twice a second, or when a batch is done after that.
    """

    def __init__(
        self, sequencer: Sequencer, *, gateway: Gateway | None = None,
        feed: MarkSubscriber | None = None, feeds: Feeds | None = None,
        events: EventPublisher | None = None, market: MarketPublisher | None = None,
        states: TopicStates | None = None, feed_timeout_s: float = 30.0,
        report: Callable[[str], None], outside: Outside | None = None,
        looks: Sequence[Callable[[float], None]] = (), replicator: Replicator | None = None,
        on_heartbeat: Callable[[], None] | None = None,
    ) -> None:
        self._outside = outside = outside or Outside()
        self._monotonic = outside.clock.monotonic
        self._looks = looks
        self._replicator = replicator
        self._on_heartbeat = on_heartbeat
        self._sequencer = sequencer
        self._gateway = gateway
        self._feed = feed
        self._feeds = feeds
        self._events = events
        self._market = market
        self._states = states
        self._feed_timeout_s = feed_timeout_s
        self._report = report
        self._feed_batch = FeedBatch(sequencer, report, is_strict=gateway is None)
        self._feed_heard_at = self._monotonic()
        self._is_feed_silent = False

    def run(self, stop: StopSignal) -> None:
        """Serve.

        Raises
        ------
        JournalWriteError, InvariantViolation, ReplicationError
            The disk takes no more, a command broke the engine, or another server has taken over;
            clients have been told.
        FeedError
            The feed went silent, and there is nothing else to wait for.
        """
        poller = self._outside.make_poller()
        poller.register(stop.fileno(), zmq.POLLIN)
        for one in (
            self._gateway, self._feed, self._events, self._states, self._replicator,
        ):
            if one is not None:
                poller.register(one.socket, zmq.POLLIN)
        if self._feeds is not None:
            self._feeds.join(poller)
        heartbeat_at = tick_at = self._monotonic()
        is_sending = False
        try:
            while not stop.is_set and not self._is_over():
                poller.poll(0 if is_sending else self._wait_ms())
                is_idle = not self._turn()
                is_sending = self._replicator is not None and self._replicator.turn()
                now = self._monotonic()
                self._sequencer.tend()
                self._look_at_itself()
                if is_idle and self._sequencer.has_clock and now >= tick_at:
                    self._tick()
                    tick_at = now + _TICK_S
                if now >= heartbeat_at:
                    self._send_heartbeats()
                    heartbeat_at = now + HEARTBEAT_S
                self._hear_listeners()
                if self._feed is not None and self._feed.health.has_ended:
                    self._end_feed(poller)
        except (JournalWriteError, InvariantViolation, ReplicationError) as error:
            self._report(f"nothing is acknowledged any more: {error}")
            self._decline(str(error))
            raise

    def _look_at_itself(self) -> None:
        """Tell whoever asks about this server that its loop goes round, and do what is due."""
        now = self._sequencer.figures.turned_at = time.monotonic()
        for look in self._looks:
            look(now)

    def _send_heartbeats(self) -> None:
        for publisher in (self._events, self._market):
            if publisher is not None:
                publisher.send_heartbeat()
        if self._on_heartbeat is not None:
            self._on_heartbeat()

    def _hear_listeners(self) -> None:
        if self._events is not None:
            self._events.read_notes()
        if self._states is not None:
            self._states.answer_some()

    def _commit(self, batch: Sequence[Pending | PackedPending]) -> None:
        self._sequencer.commit(batch)
        if self._market is not None:
            self._market.publish()

    def _is_over(self) -> bool:
        if self._gateway is not None or self._feed is not None:
            return False
        return self._feeds is None or self._feeds.has_ended

    def _wait_ms(self) -> int:
        wait_ms = int(HEARTBEAT_S * 1000)
        return wait_ms if self._feeds is None else self._feeds.wait_ms(wait_ms)

    def _turn(self) -> bool:
        """Take one batch through; tell whether there was any."""
        began_ns = time.perf_counter_ns()
        batch: list[Pending | PackedPending] = []
        if self._feed is not None:
            self._take_feed(self._feed, batch)
        if self._feeds is not None:
            self._feeds.take(batch)
            if self._gateway is None:
                self._feeds.check_silence()
        if self._gateway is not None:
            self._gateway.take(batch, BATCH_BYTES_MAX)
        taken_ns = time.perf_counter_ns()
        if batch:
            self._commit(batch)
        if self._gateway is not None:
            self._gateway.reply()
        if batch:
            figures = self._sequencer.figures
            figures.batch_count += 1
            figures.note_stages(
                receive=taken_ns - began_ns, turn=time.perf_counter_ns() - began_ns)
        return bool(batch)

    def _take_feed(
        self, feed: MarkSubscriber, batch: list[Pending | PackedPending]
    ) -> None:
        before, now = feed.heard_count, self._monotonic()
        seen = self._sequencer.figures.mark_seen
        for number, step in feed.ready_marks(_FEED_MESSAGES_MAX, self._feed_batch.reader):
            if isinstance(step, PackedSteps):
                seen.update(dict.fromkeys(step.symbols, now))
            else:
                seen.update({row[0]: now for row in step[1]})
            self._feed_batch.add(feed.epoch, number, step, batch)
        self._feed_batch.flush(batch)
        if feed.heard_count != before:
            self._feed_heard_at, self._is_feed_silent = now, False
        elif now - self._feed_heard_at > self._feed_timeout_s and not self._is_feed_silent:
            message = f"nothing from the feed for {self._feed_timeout_s:g} s"
            if self._gateway is None:
                raise FeedError(message)
            self._report(message)
            self._is_feed_silent = True

    def _end_feed(self, poller: AnyPoller) -> None:
        assert self._feed is not None
        poller.unregister(self._feed.socket)
        self._feed.leave()
        self._report("the feed has ended")
        self._feed = None

    def _tick(self) -> None:
        self._commit([Pending.of(None, 0, {"cmd": "time"})])

    def _decline(self, reason: str) -> None:
        if self._gateway is not None:
            deadline = self._monotonic() + _DECLINE_S
            self._gateway.decline(reason, lambda: self._monotonic() >= deadline)
