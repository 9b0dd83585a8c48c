"""Durable, then applied, then published, then settled; and what sessions remember."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from support.disk import Disk

from engine import Exchange, wire
from engine.batches import COMMAND_DTYPE, account_commands, to_bytes
from engine.errors import InvariantViolation
from engine.journal import Journal, JournalWriteError
from engine.serving.packed import PackedCommands, PackedPending
from engine.serving.recovery import replay
from engine.serving.sequencer import Pending, Sequencer, apply_command
from engine.serving.sessions import (
    REUSED,
    TOO_MANY_CLIENTS,
    TOO_OLD,
    UNAVAILABLE,
    Outcome,
    Sessions,
)

ASSET = {"cmd": "asset", "asset": "USDT", "decimals": 6}


class Listener:
    """Stands in for the socket: notes what the disk had flushed when events came."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.published: list[tuple[int, str, str]] = []
        self.is_heard = True
        self.skipped = (0, 0)
        self.epoch = 1
        self.accounts: dict[int, bytes] = {}

    def skip(self, message_count: int, event_count: int) -> None:
        self.skipped = (self.skipped[0] + message_count, self.skipped[1] + event_count)

    def publish(self, seq: int, ts_ns: int, events: list[dict]) -> None:
        last = self._disk.log[-1]
        self.published += [(seq, event["event"], last) for event in events]

    def publish_packed(self, messages: list[tuple[int, bytes, dict[int, bytes]]]) -> None:
        for _, payload, _ in messages:
            _, seq, ts_ns, events = wire.decode_events(payload)
            self.publish(seq, ts_ns, events)


def make_sequencer(disk: Disk, events=None, **options) -> Sequencer:
    journal = Journal("/journal", storage=disk, segment_size=4096)
    exchange, sessions = Exchange(core="reference"), Sessions()
    replay(journal.batches(), exchange, sessions)
    journal.begin()
    return Sequencer(exchange, journal, sessions, events=events, **options)


def pendings(sequencer: Sequencer, *commands: dict) -> list[Pending]:
    first = sequencer.sessions.last_request("me") + 1
    found = [Pending.of("me", number, command) for number, command in enumerate(commands, first)]
    for pending in found:
        sequencer.sessions.admit("me", pending.request, pending.checksum)
    return found


def test_events_come_after_the_flush_and_outcomes_after_them():
    disk = Disk()
    listener = Listener(disk)
    sequencer = make_sequencer(disk, listener)
    before = len(disk.log)
    batch = pendings(sequencer, ASSET, {"cmd": "account", "account": 1}, ASSET)
    sequencer.commit(batch)
    assert disk.log[before:] == ["write", "sync"]  # one for all three
    assert listener.published == [
        (1, "asset_added", "sync"), (2, "account_opened", "sync"), (3, "rejected", "sync")]
    assert [pending.outcome.code for pending in batch] == ["accepted", "accepted", "rejected"]


def packed(sequencer: Sequencer, rows) -> PackedPending:
    """Accounts and their money, as a client's message."""
    commands = PackedCommands(to_bytes(rows, COMMAND_DTYPE, "rows"), b"")
    first = sequencer.sessions.last_request("me") + 1
    taken = sequencer.sessions.admit_packed("me", first, commands.checksums())
    return PackedPending("me", first, commands, taken)


@pytest.mark.parametrize("is_heard", [True, False])
def test_packed_commands_among_others(is_heard):
    disk = Disk()
    listener = Listener(disk)
    listener.is_heard = is_heard
    sequencer = make_sequencer(disk, listener)
    before = len(disk.log)
    first = pendings(sequencer, ASSET)
    accounts = packed(sequencer, account_commands(np.array([7, 8, 7])))
    batch = [*first, accounts, *pendings(sequencer, {"cmd": "account", "account": 9})]
    sequencer.commit(batch)
    assert disk.log[before:] == ["write", "sync"]
    assert accounts.taken.outcome == (2, 0, np.array([2, 2], "<u4").tobytes())
    assert batch[-1].outcome == Outcome("accepted", 5, 0)
    assert sequencer.command_count == 5
    if is_heard:
        assert [seq for seq, _, _ in listener.published] == [1, 2, 3, 4, 5]
    else:
        assert (listener.published, listener.skipped) == ([], (5, 5))
    again = make_sequencer(disk.after_restart())
    assert again.exchange.state_hash() == sequencer.exchange.state_hash()
    assert again.sessions.dump() == sequencer.sessions.dump()


@pytest.mark.parametrize("operation", [1, 2])
def test_what_is_not_durable_is_not_applied(operation):
    disk = Disk()
    listener = Listener(disk)
    sequencer = make_sequencer(disk, listener)
    sequencer.commit(pendings(sequencer, ASSET))
    listener.published.clear()
    state, batch = sequencer.exchange.state_hash(), pendings(sequencer, {"cmd": "time"})
    disk._fail_at, disk._mode = disk.operation_count + operation, "error"
    with pytest.raises(JournalWriteError):
        sequencer.commit(batch)
    assert batch[0].outcome is None and listener.published == []
    assert (sequencer.exchange.seq, sequencer.exchange.state_hash()) == (1, state)
    with pytest.raises(JournalWriteError):
        sequencer.commit(batch)


def test_a_replay_knows_the_same_sessions():
    disk = Disk()
    sequencer = make_sequencer(disk)
    batch = pendings(sequencer, ASSET, ASSET, {"cmd": "time", "ts": 7})
    sequencer.commit(batch)
    again = make_sequencer(disk.after_restart())
    assert again.exchange.state_hash() == sequencer.exchange.state_hash()
    for pending in batch:
        known = again.sessions.refusal("me", pending.request, pending.checksum)
        assert known == pending.outcome is not None
    assert again.sessions.last_request("me") == 3


def test_checkpoints_come_in_time_and_agree():
    disk = Disk()
    sequencer = make_sequencer(disk, checkpoint_commands=3)
    for _ in range(5):
        sequencer.commit(pendings(sequencer, {"cmd": "time"}, {"cmd": "time"}))
    sequencer.checkpoint("shutdown")
    journal = Journal("/journal", storage=disk.after_restart())
    done = replay(journal.batches(), Exchange(core="reference"))
    assert (done.command_count, done.checkpoint_count, done.ends_clean) == (10, 3, True)


def test_the_clock_never_goes_back():
    times = iter([500, 400, 600])
    clock = SimpleNamespace(time_ns=lambda: next(times))
    sequencer = make_sequencer(Disk(), has_clock=True, clock=clock)
    stamps = []
    for _ in range(3):
        batch = pendings(sequencer, {"cmd": "time"})
        sequencer.commit(batch)
        stamps.append(batch[0].outcome.ts)
    assert stamps == [500, 500, 600]


def test_a_journal_that_counts_otherwise_is_noticed():
    with pytest.raises(InvariantViolation, match="command 5 of the journal got seq 1"):
        apply_command(Exchange(core="reference"), 5, ASSET, with_events=False)


def test_sessions_remember_a_window_and_never_forget_a_number():
    sessions = Sessions(window=2, clients_max=2)
    for request in (1, 2, 3):
        assert sessions.refusal("a", request, 10 * request) is None
        sessions.admit("a", request, 10 * request)
        assert sessions.refusal("a", request, 10 * request).code == UNAVAILABLE
        sessions.settle("a", request, Outcome("accepted", request))
    assert sessions.refusal("a", 1, 10).code == TOO_OLD
    assert sessions.refusal("a", 2, 20) == Outcome("accepted", 2)
    assert sessions.refusal("a", 3, 31).code == REUSED
    assert sessions.refusal("a", 9, 0) is None  # numbers may be left out
    sessions.admit("b", 1, 0)
    assert sessions.refusal("c", 1, 0).code == TOO_MANY_CLIENTS
    assert (sessions.last_request("a"), sessions.last_request("c")) == (3, 0)
