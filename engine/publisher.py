"""Publish mark steps over ZeroMQ: the sending half of `engine replay`.

An XPUB socket with `XPUB_NODROP` and a small high-water mark: when a subscriber
falls behind, the publisher waits instead of dropping, so a flat-out replay
loses nothing. When nothing is due, heartbeats carry the last sequence of each
topic; at the end a message says how much there was.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType

import numpy as np
import zmq

from engine import wire
from engine.clock import Clock
from engine.endpoints import BoundSocket
from engine.errors import RunError
from engine.feeds.steps import Step
from engine.feeds.timeline import Moment
from engine.keys import ServerKeys
from engine.resend import ResendSocket

#: Messages queued per subscriber before the publisher waits.
HIGH_WATER_MARK = 64
#: Steps that travel in one message at most. A step of three marks, parsed and checked on
#: both sides, took 20 to 30 µs one by one, 8 to 9 µs in batches of 32, no less in larger ones.
BATCH_STEPS_MAX = 32
HEARTBEAT_S = 0.5
#: How long is waited at a time for those who want steps again.
_ANSWER_MS = 10
#: Counting down to the next step is not worth a sleep below this.
_SLEEP_NS_MIN = 20_000


class PublishError(RunError):
    """Publishing failed: nobody came, or nobody reads any more."""


@dataclass
class PublishCounts:
    """What was published.

    Attributes
    ----------
    step_count, mark_count, record_count, message_count : int
    elapsed_s : float
    """

    step_count: int = 0
    record_count: int = 0
    mark_count: int = 0
    message_count: int = 0
    elapsed_s: float = 0.0


class MarkPublisher(BoundSocket):
    """Owns the XPUB socket, the epoch and the topic sequences.

    Parameters
    ----------
    endpoint : str
        To bind.
    stall_s : float
        Give up after this long without a subscriber taking anything.
    epoch : int, optional
        Default: the wall clock in ns, so that every start has another one.
    keys : ServerKeys, optional
    resend : str, optional
        To bind: where steps are sent again to those who ask.

    Attributes
    ----------
    endpoint : str
        As bound.
    counts : PublishCounts
    """

    def __init__(
        self, endpoint: str, *, stall_s: float = 60.0, epoch: int | None = None,
        keys: ServerKeys | None = None, resend: str | None = None,
    ) -> None:
        self._stall_s = stall_s
        self._epoch = time.time_ns() if epoch is None else epoch
        self._sequences = dict.fromkeys((wire.MARKS, wire.HEARTBEAT, wire.END, wire.RECORDS), 0)
        self._subscriber_count = 0
        self._resend: ResendSocket | None = None
        self.counts = PublishCounts()
        wait_ms = int(stall_s * 1000)
        super().__init__(zmq.XPUB, endpoint, {
            zmq.XPUB_NODROP: 1,
            # Every subscription and its end is reported, not only the first and last.
            zmq.XPUB_VERBOSER: 1,
            zmq.SNDHWM: HIGH_WATER_MARK, zmq.SNDTIMEO: wait_ms, zmq.LINGER: wait_ms,
        }, keys=keys, domain="marks")
        try:
            if resend is not None:
                self._resend = ResendSocket(resend, self._epoch, keys)
        except BaseException:
            self._close(linger=0)
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # A clean end waits until everything is handed over; a failed one does not.
        self._close(linger=None if kind is None else 0)

    def _close(self, linger: int | None = None) -> None:
        super()._close(linger)
        if self._resend is not None:
            self._resend.close()

    @property
    def subscriber_count(self) -> int:
        """Peers that are subscribed to the marks now."""
        while self._socket.poll(0, zmq.POLLIN):
            note = self._socket.recv()
            if note == b"\x01" + wire.MARKS:
                self._subscriber_count += 1
            elif note == b"\x00" + wire.MARKS:
                self._subscriber_count -= 1
        return self._subscriber_count

    def wait_for_subscribers(self, count: int, timeout_s: float) -> None:
        """Wait until so many peers have subscribed to the marks.

        Raises
        ------
        PublishError
            They did not come in time.
        """
        deadline = time.monotonic() + timeout_s
        while (present := self.subscriber_count) < count:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise PublishError(
                    f"{present} of {count} subscribers at {self.endpoint} after {timeout_s:g} s"
                )
            self._socket.poll(int(left_s * 1000) + 1, zmq.POLLIN)

    def publish(
        self, steps: Iterable[Step | Moment], pace: Pace, on_batch: Callable[[int], None]
    ) -> None:
        """Publish a feed to its end, at a pace, then wait until everybody has read it.

        Parameters
        ----------
        steps : iterable of Step or Moment
            The records of moments are published before the marks that they set.
        pace : Pace
        on_batch : callable
            Called with the marks published so far after each message.

        Raises
        ------
        PublishError
            The last subscriber left early, none reads any more, or some stay
            after the end.
        """
        had_subscribers = self.subscriber_count > 0
        started = time.monotonic()
        batch: list[Step | Moment] = []
        for step in steps:
            wait_ns = pace.nanoseconds_until(step[0])
            if batch and (wait_ns > 0 or len(batch) == BATCH_STEPS_MAX):
                self._send_batch(batch, pace)
                on_batch(self.counts.mark_count)
                batch = []
                if had_subscribers and self.subscriber_count == 0:
                    done = self.counts.step_count
                    raise PublishError(f"the last subscriber left after {done} steps")
            if wait_ns > 0:
                self._idle(pace, step[0])
            batch.append(step)
        if batch:
            self._send_batch(batch, pace)
            on_batch(self.counts.mark_count)
        self._send_end()
        self.counts.elapsed_s = time.monotonic() - started
        wait_until_left(self._count_left, self._stall_s)

    def _count_left(self, wait_ms: int) -> int:
        if self._resend is None:
            self._socket.poll(wait_ms, zmq.POLLIN)
        else:
            self._resend.answer(min(wait_ms, _ANSWER_MS))
        return self.subscriber_count

    def _send_batch(self, batch: list[Step | Moment], pace: Pace) -> None:
        records = [record for step in batch for record in Moment(*step).records]
        if records:
            first = self.counts.record_count + 1
            self._send(wire.RECORDS, wire.encode_records(self._epoch, first, records))
            self.counts.record_count += len(records)
        marks: list[Step] = [(step[0], step[1]) for step in batch if step[1]]
        if marks:
            self._send_marks(marks)
        for step in batch:
            pace.note_played(step[0])

    def _idle(self, pace: Pace, ts_ns: int) -> None:
        next_beat = time.monotonic() + HEARTBEAT_S
        while (wait_ns := pace.nanoseconds_until(ts_ns)) > _SLEEP_NS_MIN:
            wait_s = min(wait_ns / 1e9, max(next_beat - time.monotonic(), 0.0))
            self._sleep(wait_s)
            if time.monotonic() >= next_beat:
                self._send_heartbeat()
                next_beat += HEARTBEAT_S

    def _sleep(self, wait_s: float) -> None:
        """Sleep, and answer meanwhile who wants something again."""
        if self._resend is None or wait_s * 1000 < _ANSWER_MS:
            time.sleep(wait_s)
        else:
            self._resend.answer(_ANSWER_MS)

    def _send_marks(self, steps: list[Step]) -> None:
        counts = self.counts
        self._send(wire.MARKS, wire.encode_marks(self._epoch, counts.step_count + 1, steps))
        counts.step_count += len(steps)
        counts.mark_count += sum(len(rows) for _, rows in steps)
        if self._resend is not None:
            self._resend.keep(steps)
            self._resend.answer()

    def _send_heartbeat(self) -> None:
        self._send(wire.HEARTBEAT, wire.encode_heartbeat(self._epoch, self._last_sequences()))

    def _send_end(self) -> None:
        counts = self.counts
        payload = wire.encode_end(
            self._epoch, self._last_sequences(), counts.step_count, counts.mark_count)
        self._send(wire.END, payload)

    def _last_sequences(self) -> dict[bytes, int]:
        last = {wire.MARKS: self._sequences[wire.MARKS]}
        if self._sequences[wire.RECORDS]:
            last[wire.RECORDS] = self._sequences[wire.RECORDS]
        return last

    def _send(self, topic: bytes, payload: bytes) -> None:
        sequence = self._sequences[topic] + 1
        try:
            self._socket.send_multipart(wire.make_frames(topic, sequence, payload))
        except zmq.Again:
            raise PublishError(f"no subscriber took anything for {self._stall_s:g} s") from None
        self._sequences[topic] = sequence
        self.counts.message_count += 1


def wait_until_left(
    count_left: Callable[[int], int], limit_s: float, clock: Clock | None = None
) -> None:
    """Keep a connection until everybody has read it to the end.

    What a subscriber has received and not yet read is lost when the publisher
    disconnects: libzmq replaces the pipe. So the publisher goes last.

    Parameters
    ----------
    count_left : callable
        Waits up to so many ms for news, returns how many subscribers are left.
    limit_s : float
    clock : Clock, optional

    Raises
    ------
    PublishError
        Somebody is still there after `limit_s`.
    """
    clock = clock or Clock()
    deadline = clock.monotonic() + limit_s
    while left := count_left(100):
        if clock.monotonic() >= deadline:
            raise PublishError(
                f"{left} subscribers had not left {limit_s:g} s after the end; "
                "they may not have read all of it"
            )


class Pace:
    """Maps a feed's time to the moment it is due, and measures how late it was played.

    Parameters
    ----------
    speed : float or None
        1 is recorded pace, 10 is ten times faster, None is as fast as possible.

    Notes
    -----
    What is due depends on the first step alone: a step that was held up, by a reader that
    falls behind or by this process, makes those after it late and not later due.
    """

    def __init__(self, speed: float | None) -> None:
        self._speed = speed
        self._first_ns: int | None = None
        self._started_ns = 0
        self._late_ns = array("q")

    def nanoseconds_until(self, ts_ns: int) -> int:
        """Return how long until a step of this time is due; 0 or less: now.

        The first step asked for is due at once and starts the clock.
        """
        if self._speed is None:
            return 0
        if self._first_ns is None:
            self._first_ns, self._started_ns = ts_ns, time.monotonic_ns()
        due = self._started_ns + int((ts_ns - self._first_ns) / self._speed)
        return due - time.monotonic_ns()

    def wait(self, ts_ns: int) -> None:
        """Sleep until a step of this time is due."""
        while (wait_ns := self.nanoseconds_until(ts_ns)) > _SLEEP_NS_MIN:
            time.sleep(wait_ns / 1e9)

    def note_played(self, ts_ns: int) -> None:
        """Note that a step of this time has been played just now."""
        if self._speed is not None:
            self._late_ns.append(-self.nanoseconds_until(ts_ns))

    def rows(self) -> list[tuple[str, str]]:
        """Return how late steps were, in microseconds, as `(name, value)`; flat out: nothing."""
        if not self._late_ns:
            return []
        late = np.frombuffer(self._late_ns, np.int64)
        p50, p99, most = np.percentile(late, [50, 99, 100]) / 1000
        return [
            ("late_p50_us", f"{p50:.0f}"), ("late_p99_us", f"{p99:.0f}"),
            ("late_max_us", f"{most:.0f}"),
        ]
