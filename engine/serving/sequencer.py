"""One batch of commands: stamped, durable, applied, published; in this order.

The only road to the state of a journaled exchange.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.errors import InvariantViolation
from engine.exchange import Exchange
from engine.journal import Journal, Kind
from engine.journal.layout import make_record, pack_command
from engine.server import EventPublisher
from engine.serving.keeper import Keeper
from engine.serving.sessions import ACCEPTED, REJECTED, Outcome, Sessions


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
    exchange.submit(command)
    if exchange.seq != seq:
        raise InvariantViolation(f"command {seq} of the journal got seq {exchange.seq}")
    is_rejected = exchange.core.rejected_seq == seq
    if not (with_events or is_rejected):
        exchange.discard_events()
        return Outcome(ACCEPTED, seq, exchange.ts), []
    events = exchange.drain()
    if not is_rejected:
        return Outcome(ACCEPTED, seq, exchange.ts), events
    rejection = next(event for event in events if event["event"] == "rejected")
    return Outcome(REJECTED, seq, exchange.ts, rejection["reason"], rejection["detail"]), events


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

    Attributes
    ----------
    command_count : int
        Applied since the start.
    """

    def __init__(
        self, exchange: Exchange, journal: Journal, sessions: Sessions, *,
        events: EventPublisher | None = None, has_clock: bool = False,
        checkpoint_commands: int = 100_000, keeper: Keeper | None = None,
    ) -> None:
        self.exchange = exchange
        self.sessions = sessions
        self.has_clock = has_clock
        self.command_count = 0
        self._journal = journal
        self._events = events
        self._checkpoint_commands = checkpoint_commands
        self._next_checkpoint = exchange.seq + checkpoint_commands
        self._keeper = keeper

    def commit(self, batch: Sequence[Pending]) -> None:
        """Make commands durable, then apply them, publish their events and settle them.

        Raises
        ------
        JournalWriteError
            None of them was applied.
        """
        if not batch:
            return
        stamp = self._stamp()
        self._journal.append([
            make_record(stamp, pending.client, pending.request, pending.packed)
            for pending in batch
        ])
        for pending in batch:
            self._apply(pending, stamp)
        self.command_count += len(batch)
        if self.exchange.seq >= self._next_checkpoint:
            self.checkpoint("interval")
        if self._keeper is not None and self._keeper.is_due(self.exchange.seq):
            self._keeper.keep(self.exchange, self.sessions, self._journal)

    def _stamp(self) -> int | None:
        # The wall clock may step back; the time of the engine may not.
        return max(time.time_ns(), self.exchange.ts) if self.has_clock else None

    def _apply(self, pending: Pending, stamp: int | None) -> None:
        exchange = self.exchange
        command = pending.command if stamp is None else {**pending.command, "ts": stamp}
        outcome, events = apply_command(
            exchange, exchange.seq + 1, command, with_events=self._events is not None)
        pending.outcome = outcome
        if pending.client is not None:
            self.sessions.settle(pending.client, pending.request, outcome)
        if self._events is not None:
            self._events.publish(exchange.seq, exchange.ts, events)

    def checkpoint(self, reason: str) -> str:
        """Write the hash of the state into the journal, and return it."""
        state_hash = self.exchange.state_hash()
        self._journal.note(Kind.CHECKPOINT, {
            "seq": self.exchange.seq, "ts": self.exchange.ts, "state_hash": state_hash,
            "reason": reason,
        })
        self._next_checkpoint = self.exchange.seq + self._checkpoint_commands
        if reason == "shutdown" and self._keeper is not None:
            self._keeper.keep(self.exchange, self.sessions, self._journal)
        return state_hash
