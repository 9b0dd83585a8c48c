"""One batch of commands: stamped, durable, applied, published; in this order.

The only road to the state of a journaled exchange.
"""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.clock import Clock
from engine.errors import InvariantViolation
from engine.exchange import Exchange
from engine.journal import Journal, Kind
from engine.journal.layout import make_record, pack_command
from engine.packing import EventPacker
from engine.server import EventPublisher
from engine.serving.background import Background
from engine.serving.figures import Figures
from engine.serving.keeper import Keeper
from engine.serving.packed import (
    PackedOutcome,
    PackedPending,
    Table,
    apply_packed,
    count_commands,
    outcome_of,
    settle_packed,
)
from engine.serving.sessions import ACCEPTED, REJECTED, Outcome, Sessions

#: After a hash in the background none is begun for so many times as long as it took.
_REST = 20
#: A hash that takes less is not worth a process.
_SHORT_S = 0.002


@dataclass
class Pending:
    """A command of the right shape that is on its way.

    Attributes
    ----------
    client : str or None
        None for what the server does by itself.
    request : int
    command : mapping
    packed : bytes
        The same, encoded.
    outcome : Outcome or None
        Once it was applied.
    """

    client: str | None
    request: int
    command: Mapping[str, Any]
    packed: bytes
    outcome: Outcome | None = None

    @classmethod
    def of(cls, client: str | None, request: int, command: Mapping[str, Any]) -> Pending:
        """Encode a command."""
        return cls(client, request, command, pack_command(command))

    @property
    def checksum(self) -> int:
        """Tells commands sent under the same number apart."""
        return zlib.crc32(self.packed)

    @property
    def command_count(self) -> int:
        """How many commands it is."""
        return 1

    @property
    def size(self) -> int:
        """Bytes that it takes."""
        return len(self.packed)

    def record(self, stamp: int | None) -> bytes:
        """What the journal keeps."""
        return make_record(stamp, self.client, self.request, self.packed)


def apply_command(
    exchange: Exchange, seq: int, command: Mapping[str, Any], *, with_events: bool
) -> tuple[Outcome, list[dict[str, Any]]]:
    """Apply a command that has to get a certain number; return its outcome and events.

    Parameters
    ----------
    exchange : engine.Exchange
        With all its events drained.
    seq : int
    command : mapping
    with_events : bool
        Otherwise only those of a rejection are made.

    Raises
    ------
    InvariantViolation
        The exchange counts in another way than the journal.
    """
    submit_next(exchange, seq, command)
    if exchange.core.rejected_seq == seq:
        return _refused(exchange)
    outcome = Outcome(ACCEPTED, seq, exchange.ts)
    if with_events:
        return outcome, exchange.drain()
    exchange.discard_events()
    return outcome, []


def submit_next(exchange: Exchange, seq: int, command: Mapping[str, Any]) -> None:
    """Apply a command that has to get a certain number."""
    exchange.submit(command)
    if exchange.seq != seq:
        raise InvariantViolation(f"command {seq} of the journal got seq {exchange.seq}")


def _refused(exchange: Exchange) -> tuple[Outcome, list[dict[str, Any]]]:
    """Outcome and events of the last command, which was refused."""
    events = exchange.drain()
    rejection = next(event for event in events if event["event"] == "rejected")
    return Outcome(
        REJECTED, exchange.seq, exchange.ts, rejection["reason"], rejection["detail"]), events


class Sequencer:
    """Owns the order of commands.

    Parameters
    ----------
    exchange : engine.Exchange
        As the journal left it.
    journal : Journal
        Ready for appending.
    sessions : Sessions
    events : EventPublisher, optional
    has_clock : bool
        Whether the server gives the time of every command.
    checkpoint_commands : int
        The hash of the state is written into the journal after so many.
    keeper : Keeper, optional
        Writes snapshots.
    clock : Clock, optional
    background : Background, optional
        Computes the hashes of checkpoints while commands go on; the keeper's, if it has one.
    figures : Figures, optional
        Gets the durations of the stages.
    on_durable : callable, optional
        Called when a batch is in the journal, before it is applied; comes back when it may be.

    Attributes
    ----------
    command_count : int
        Applied since the start.
    """

    def __init__(
        self, exchange: Exchange, journal: Journal, sessions: Sessions, *,
        events: EventPublisher | None = None, has_clock: bool = False,
        checkpoint_commands: int = 100_000, keeper: Keeper | None = None,
        background: Background | None = None, clock: Clock | None = None,
        figures: Figures | None = None,
        on_durable: Callable[[], None] | None = None,
    ) -> None:
        self._on_durable = on_durable
        self.exchange = exchange
        self.sessions = sessions
        self.has_clock = has_clock
        self.command_count = 0
        self._journal = journal
        self._events = events
        self._checkpoint_commands = checkpoint_commands
        self._next_checkpoint = exchange.seq + checkpoint_commands
        self._keeper = keeper
        self._clock = clock or Clock()
        self._background = background
        self._hashing = 0
        # How long a hash takes; a state that was there before may be large.
        self._hash_s = math.inf if exchange.seq else 0.0
        self._rests_until = 0.0
        self._publish_ns = 0
        self._packer = EventPacker(exchange)
        self.figures = figures or Figures()

    def commit(self, batch: Sequence[Pending | PackedPending]) -> None:
        """Make commands durable, then apply them, publish their events and settle them.

        Raises
        ------
        JournalWriteError
            None of them was applied.
        RunError
            Of `on_durable`: they are in the journal, and not applied.
        """
        if not batch:
            return
        stamp = self._stamp()
        counts = [pending.command_count for pending in batch]
        began_ns = time.perf_counter_ns()
        self._journal.append([pending.record(stamp) for pending in batch], counts)
        if self._on_durable is not None:
            self._on_durable()
        durable_ns = time.perf_counter_ns()
        self._publish_ns = 0
        is_heard = self._events is not None and self._events.is_heard
        for pending in batch:
            if isinstance(pending, Pending):
                self._apply(pending, stamp, is_heard=is_heard)
            else:
                self._apply_packed(pending, stamp, is_heard=is_heard)
        self.figures.note_stages(
            journal=durable_ns - began_ns, publish=self._publish_ns if is_heard else None,
            apply=time.perf_counter_ns() - durable_ns - self._publish_ns)
        self.command_count += sum(counts)
        self.tend()

    def tend(self) -> None:
        """Do what is due besides commands: checkpoints and snapshots.

        Raises
        ------
        JournalWriteError
        """
        if self._background is not None:
            self._look_after(self._background)
        seq = self.exchange.seq
        if seq >= self._next_checkpoint:
            self._begin_checkpoint()
        if self._keeper is not None and self._keeper.is_due(seq):
            self._keeper.begin(self.exchange, self.sessions, self._journal)

    def _begin_checkpoint(self) -> None:
        background = self._background
        if background is None or self._hash_s < _SHORT_S:
            self.checkpoint("interval")
            return
        if background.is_busy or self._clock.monotonic() < self._rests_until:
            return
        seq = self.exchange.seq
        self._next_checkpoint = seq + self._checkpoint_commands
        try:
            background.start(self.exchange.state_hash)
        except OSError:  # no room for a process: there may be some the next time
            return
        self._hashing = seq
        self._journal.note(Kind.HASH_BEGUN, {"seq": seq})

    def _look_after(self, background: Background) -> None:
        done = background.poll()
        if done is None or (
                self._keeper is not None and self._keeper.finish(done, self._journal)):
            return
        self._rests_until = self._clock.monotonic() + _REST * done.elapsed_s
        if done.problem is None:
            self._journal.note(Kind.HASH_KNOWN, {
                "seq": self._hashing, "state_hash": done.answer, "reason": "interval"})

    def commit_owed(self, owed: Sequence[Pending]) -> None:
        """Commit what would have been committed, had the server not ended in between."""
        for pending in owed:
            if pending.client is not None:
                self.sessions.admit(pending.client, pending.request, pending.checksum)
        self.commit(owed)

    def note_inputs(self, facts: Mapping[str, Any]) -> None:
        """Write down what the next batch follows from; it is durable before that is applied.

        Raises
        ------
        JournalWriteError
        """
        self._journal.note(Kind.INPUTS, facts, is_flushed=False)

    def _stamp(self) -> int | None:
        # The wall clock may step back; the time of the engine may not.
        return max(self._clock.time_ns(), self.exchange.ts) if self.has_clock else None

    def _apply(self, pending: Pending, stamp: int | None, *, is_heard: bool) -> None:
        exchange, listeners = self.exchange, self._events
        command = pending.command if stamp is None else {**pending.command, "ts": stamp}
        seq = exchange.seq + 1
        submit_next(exchange, seq, command)
        events: list[dict[str, Any]] = []
        is_refused = exchange.core.rejected_seq == seq
        if is_refused:
            pending.outcome, events = _refused(exchange)
        else:
            pending.outcome = Outcome(ACCEPTED, seq, exchange.ts)
        if pending.client is not None:
            self.sessions.settle(pending.client, pending.request, pending.outcome)
        if listeners is not None and is_heard:
            began_ns = time.perf_counter_ns()
            if is_refused:
                listeners.publish(seq, exchange.ts, events)
            else:
                self._publish(listeners, exchange.drain_rows(), exchange.ts)
            self._publish_ns += time.perf_counter_ns() - began_ns
            return
        event_count = len(events) if is_refused else exchange.discard_events()
        if listeners is not None and event_count:
            listeners.skip(1, event_count)

    def _publish(self, listeners: EventPublisher, rows: Table, ts: int | None = None) -> None:
        listeners.publish_packed(
            self._packer.pack(rows, listeners.epoch, ts, listeners.accounts))

    def _apply_packed(
        self, pending: PackedPending, stamp: int | None, *, is_heard: bool
    ) -> None:
        exchange, listeners = self.exchange, self._events
        first_seq = exchange.seq + 1
        refused = apply_packed(exchange, first_seq, pending.commands, stamp)
        if listeners is None:
            pending.taken.outcome = settle_packed(exchange, first_seq, refused)
        elif is_heard:
            rows = exchange.drain_rows()
            pending.taken.outcome = (
                outcome_of(rows, first_seq, exchange.ts) if refused
                else PackedOutcome(first_seq, exchange.ts, b""))
            began_ns = time.perf_counter_ns()
            self._publish(listeners, rows)
            self._publish_ns += time.perf_counter_ns() - began_ns
        else:
            records = exchange.drain_array()
            pending.taken.outcome = outcome_of(records, first_seq, exchange.ts)
            listeners.skip(count_commands(records), len(records))

    def checkpoint(self, reason: str) -> str:
        """Write the hash of the state into the journal, and return it."""
        if self._background is not None and reason == "shutdown":
            self._background.stop()
        began = self._clock.monotonic()
        state_hash = self.exchange.state_hash()
        self._hash_s = self._clock.monotonic() - began
        self._journal.note(Kind.CHECKPOINT, {
            "seq": self.exchange.seq, "ts": self.exchange.ts, "state_hash": state_hash,
            "reason": reason,
        })
        self._next_checkpoint = self.exchange.seq + self._checkpoint_commands
        if reason == "shutdown" and self._keeper is not None:
            self._keeper.keep(self.exchange, self.sessions, self._journal)
        return state_hash
