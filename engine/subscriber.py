"""Receive mark steps over ZeroMQ and account for every message.

Sequence, epoch and content of each message are checked. Whatever is wrong with
the feed is counted and reported in one line each; what arrived intact and in
order is handed on. Only silence, another wire version or a dead publisher end
the iteration with an error.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import zmq

from engine import wire
from engine.closing import Closing
from engine.endpoints import connect_socket
from engine.errors import RunError
from engine.feed_health import FeedHealth, SequenceCheck
from engine.feeds.steps import PackedSteps, Step
from engine.keys import ClientKeys
from engine.packing import MarkReader, frames_of

HIGH_WATER_MARK = 64
_POLL_MS = 200
_REPORTS_MAX = 20


class FeedError(RunError):
    """The feed cannot be followed any further."""


class MarkSubscriber(Closing):
    """Owns the SUB socket and the health of one feed.

    Parameters
    ----------
    endpoint : str
        To connect to; the publisher need not be there yet.
    timeout_s : float
        Longest silence, heartbeats included, before `FeedError`.
    report : callable
        Takes one line about each thing wrong with the feed.
    on_idle : callable, optional
        Called a few times a second while nothing arrives; may raise.
    keys : ClientKeys, optional
        Where the publisher asks for them.
    context : zmq.Context, optional
        That nobody else uses; it is ended with the socket.

    Attributes
    ----------
    health : engine.feed_health.FeedHealth
    heard_count : int
        Messages of `ready_steps` of any kind, heartbeats included.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        timeout_s: float = 30.0,
        report: Callable[[str], None],
        on_idle: Callable[[], None] | None = None,
        keys: ClientKeys | None = None,
        context: zmq.Context[zmq.Socket[bytes]] | None = None,
    ) -> None:
        self._timeout_s = timeout_s
        self._report_line = report
        self._on_idle = on_idle
        self._endpoint = endpoint
        self._report_count = 0
        self.heard_count = 0
        self._epoch: int | None = None
        self._marks = SequenceCheck()
        self.health = FeedHealth()
        self._context = zmq.Context() if context is None else context
        self._socket = self._context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.RCVHWM, HIGH_WATER_MARK)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.MAXMSGSIZE, wire.MESSAGE_SIZE_MAX)
        self._socket.setsockopt(zmq.RECONNECT_IVL, 20)
        self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, 500)
        # The publisher counts subscriptions to the marks: they come last, so that
        # whoever is counted does not miss an end that follows at once.
        for topic in (wire.END, wire.HEARTBEAT, wire.MARKS):
            self._socket.setsockopt(zmq.SUBSCRIBE, topic)
        self._frames = frames_of(self._socket)
        try:
            connect_socket(self._socket, endpoint, keys)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the socket; what has not been read is dropped."""
        self._socket.close(linger=0)
        self._context.term()

    def steps(self) -> Iterator[tuple[int, Step]]:
        """Yield the steps of the feed until its end.

        Yields
        ------
        step_number : int
            From 1 in each epoch, whatever the batching was.
        step : Step

        Raises
        ------
        FeedError
            Nothing arrives, or the publisher speaks another version.
        """
        while not self.health.has_ended:
            frames = self._receive()
            try:
                yield from self._take(frames)
            except wire.VersionError as error:
                raise FeedError(f"{self._endpoint}: {error}") from None

    def ready_steps(self, message_limit: int) -> Iterator[tuple[int, Step]]:
        """Yield the steps of messages that are there already, without waiting.

        Parameters
        ----------
        message_limit : int
            Messages read at most.

        Raises
        ------
        FeedError
            The publisher speaks another version.
        """
        for frames in self._waiting(message_limit):
            yield from self._checked(frames)

    def ready_marks(
        self, message_limit: int, reader: MarkReader
    ) -> Iterator[tuple[int, Step | PackedSteps]]:
        """Yield the same, packed where a reader can do that: the first number and all of a message.

        Raises
        ------
        FeedError
            The publisher speaks another version.
        """
        for frames in self._waiting(message_limit):
            packed = None
            if len(frames) == 3 and frames[0] == wire.MARKS and len(frames[1]) == 8:
                packed = reader.read(frames[2])
            sequence = int.from_bytes(frames[1], "big") if packed is not None else 0
            if packed is None or sequence == 0:
                yield from self._checked(frames)
                continue
            epoch, first, symbols, rows = packed
            if self._is_next(epoch, sequence, len(symbols)):
                self.health.mark_count += len(symbols)
                yield first, PackedSteps(symbols, rows)

    def _waiting(self, message_limit: int) -> Iterator[list[bytes]]:
        if self.health.has_ended:
            return
        for frames in self._frames.receive(message_limit):
            self.heard_count += 1
            yield frames
            if self.health.has_ended:
                return

    def _checked(self, frames: list[bytes]) -> Iterator[tuple[int, Step]]:
        try:
            yield from self._take(frames)
        except wire.VersionError as error:
            raise FeedError(f"{self._endpoint}: {error}") from None

    def leave(self) -> None:
        """Unsubscribe; a publisher that has ended waits for this."""
        for topic in (wire.MARKS, wire.HEARTBEAT, wire.END):
            self._socket.setsockopt(zmq.UNSUBSCRIBE, topic)

    @property
    def socket(self) -> zmq.Socket[bytes]:
        """To wait on, together with others."""
        return self._socket

    @property
    def sockets(self) -> list[zmq.Socket[bytes]]:
        """To wait on, together with others."""
        return [self._socket]

    @property
    def has_ended(self) -> bool:
        """The publisher has said that there is no more."""
        return self.health.has_ended

    @property
    def is_complete(self) -> bool:
        """Everything arrived, to the end."""
        return self.health.is_complete

    def rows(self) -> list[tuple[str, str]]:
        """Return the figures for a summary."""
        return self.health.rows()

    @property
    def epoch(self) -> int | None:
        """Start of the publisher, None before its first message."""
        return self._epoch

    def _receive(self) -> list[bytes]:
        deadline = time.monotonic() + self._timeout_s
        while not self._socket.poll(_POLL_MS):
            if self._on_idle is not None:
                self._on_idle()
            if time.monotonic() >= deadline:
                heard = self.health.message_count
                what = "no message at all" if heard == 0 else f"nothing after {heard} messages"
                raise FeedError(f"{self._endpoint}: {what} for {self._timeout_s:g} s")
        return self._socket.recv_multipart()

    def _take(self, frames: list[bytes]) -> Iterator[tuple[int, Step]]:
        try:
            topic, sequence, payload = wire.split_frames(frames)
        except wire.WireError as error:
            self._malformed(f"a message: {error}")
            return
        try:
            if topic == wire.MARKS:
                yield from self._take_marks(sequence, payload)
            elif topic == wire.HEARTBEAT:
                beat = wire.decode_heartbeat(payload)
                self._check_tail(beat.epoch, beat.last_sequences)
            elif topic == wire.END:
                end = wire.decode_end(payload)
                self._check_tail(end.epoch, end.last_sequences)
                self.health.has_ended = True
            else:
                self._malformed(f"unknown topic {topic!r:.40}")
        except wire.VersionError:
            raise
        except wire.WireError as error:
            if topic == wire.MARKS:
                self._see(sequence)
            self._malformed(f"{topic.decode()} message {sequence}: {error}")

    def _take_marks(self, sequence: int, payload: bytes) -> Iterator[tuple[int, Step]]:
        message = wire.decode_marks(payload)
        if not self._is_next(message.epoch, sequence, len(message.steps)):
            return
        for number, step in enumerate(message.steps, message.first_step):
            self.health.mark_count += len(step[1])
            yield number, step

    def _is_next(self, epoch: int, sequence: int, step_count: int) -> bool:
        """Check epoch and sequence of marks; count them if they are to be applied."""
        if epoch != self._epoch:
            self._follow_epoch(epoch)
        if not self._see(sequence):
            return False
        self.health.message_count += 1
        self.health.step_count += step_count
        return True

    def _see(self, sequence: int) -> bool:
        """Check a marks sequence; tell whether its message is to be applied."""
        check = self._marks
        expected = check.expected
        verdict = check.see(sequence)
        if verdict == "gap":
            self._gap(expected, sequence - 1)
        elif verdict == "duplicate":
            self.health.duplicate_count += 1
            self._report(f"marks. message {sequence} came again; ignored")
        elif verdict == "late":
            self.health.reordered_count += 1
            self._report(f"marks. message {sequence} came late, out of order; ignored")
        return verdict in ("next", "gap")

    def _check_tail(self, epoch: int, last_sequences: dict[str, int]) -> None:
        self._follow_epoch(epoch)
        first = self._marks.expected
        last = last_sequences.get(wire.MARKS.decode(), 0)
        if self._marks.miss(last):
            self._gap(first, last)

    def _follow_epoch(self, epoch: int) -> None:
        if self._epoch is not None and epoch != self._epoch:
            self.health.epoch_change_count += 1
            self._report(f"the publisher was restarted (epoch {self._epoch} → {epoch})")
            self._marks = SequenceCheck()
        self._epoch = epoch

    def _gap(self, first: int, last: int) -> None:
        self.health.gap_count += 1
        self.health.missing_count += last - first + 1
        self._report(f"gap in marks.: messages {first} to {last} are missing")

    def _malformed(self, what: str) -> None:
        self.health.malformed_count += 1
        self._report(f"malformed: {what}; skipped")

    def _report(self, line: str) -> None:
        self._report_count += 1
        if self._report_count <= _REPORTS_MAX:
            self._report_line(line)
        elif self._report_count == _REPORTS_MAX + 1:
            self._report_line("more of the same is counted, not reported")
