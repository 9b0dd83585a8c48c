"""Bring an exchange to where its journal ends, and check on the way that it gets there.

A replay begins with a fresh exchange or with that of a snapshot; what it includes is passed by.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.errors import RunError
from engine.exchange import Exchange
from engine.journal import Batch, Entry, JournalError, Kind, PackedEntry
from engine.journal.layout import pack_command
from engine.replication.history import History, Start
from engine.serving.packed import PackedCommands, apply_packed, settle_packed
from engine.serving.sequencer import apply_command
from engine.serving.sessions import Sessions

#: How often the caller hears of progress, in commands.
_REPORT_COMMANDS = 1024
#: A replay in haste computes hashes for so long, and then for such a share of its time.
_HASHING_S = 1.0
_HASHING_SHARE = 0.25


class ReplayError(RunError):
    """A journal that is whole leads to another state than the one it was written from."""


@dataclass
class Replay:
    """What a replay came to.

    Attributes
    ----------
    command_count : int
        Applied; what a snapshot includes is not.
    rejected_count : int
    checkpoint_count : int
        State hashes that were compared, and agreed.
    start_count : int
        How often a server began to write this journal.
    history : History
        The latest starts, those that a snapshot knew included.
    superseded_by : Start or None
        The last server learned that a standby had taken over, and nobody has begun since.
    agreed_seq : int
        Of the last checkpoint that agreed, or where the replay began.
    is_hasty : bool
        As of `replay`.
    hashes : dict
        Of the states, by `seq`, of which the journal tells later what they were.
    hashing_s, started_at : float
        Time spent on them, and since when.
    written_by : list of str
        Versions of the engine, in the order of their first start.
    ends_clean : bool
        The last batch is the checkpoint of a shutdown.
    elapsed_s : float
    """

    command_count: int = 0
    rejected_count: int = 0
    checkpoint_count: int = 0
    start_count: int = 0
    history: History = field(default_factory=History)
    superseded_by: Start | None = None
    agreed_seq: int = 0
    is_hasty: bool = False
    hashes: dict[int, str] = field(default_factory=dict)
    hashing_s: float = 0.0
    started_at: float = field(default_factory=time.monotonic)
    written_by: list[str] = field(default_factory=list)
    ends_clean: bool = False
    elapsed_s: float = 0.0


def replay(
    batches: Iterable[Batch], exchange: Exchange, sessions: Sessions | None = None,
    on_progress: Callable[[int], None] = lambda count: None,
    on_inputs: Callable[[Mapping[str, Any]], None] | None = None,
    history: History | None = None, *, is_hasty: bool = False,
) -> Replay:
    """Apply the commands of a journal to an exchange.

    Parameters
    ----------
    batches : iterable of Batch
    exchange : engine.Exchange
        Fresh, or with everything applied up to the command before the first.
    sessions : Sessions, optional
        Gets the requests of the clients.
    on_progress : callable
        Called with the number of commands now and then.
    on_inputs : callable, optional
        Takes what feeds said, where the exchange is as it was then.
    history : History, optional
        Of the snapshot that the exchange came from; gets the starts that follow.
    is_hasty : bool
        Leave hashes out that would take more than a second and a quarter of the time.

    Returns
    -------
    Replay

    Raises
    ------
    ReplayError
        The first checkpoint that does not agree, or the command that cannot be applied.
    JournalError
    """
    done = Replay(history=history or History(), agreed_seq=exchange.seq, is_hasty=is_hasty)
    for batch in batches:
        take_batch(batch, exchange, sessions, done, on_progress, on_inputs)
    done.elapsed_s = time.monotonic() - done.started_at
    return done


def take_batch(
    batch: Batch, exchange: Exchange, sessions: Sessions | None, done: Replay,
    on_progress: Callable[[int], None] = lambda count: None,
    on_inputs: Callable[[Mapping[str, Any]], None] | None = None,
) -> None:
    """Apply the next batch of a journal, as `replay` does, and count it.

    Raises
    ------
    ReplayError
    JournalError
    """
    kind = batch.header.kind
    done.ends_clean = False
    if _is_included(batch, exchange.seq):
        return
    _check_follows(batch, exchange.seq)
    if kind == Kind.COMMANDS:
        _apply_batch(batch, exchange, sessions, done, on_progress)
    elif kind == Kind.CHECKPOINT:
        facts = _compare(batch, exchange, done.agreed_seq)
        done.checkpoint_count += 1
        done.ends_clean = facts.get("reason") == "shutdown"
        done.agreed_seq = exchange.seq
    elif kind == Kind.INPUTS:
        if on_inputs is not None:
            on_inputs(batch.facts())
    elif kind == Kind.HASH_BEGUN:
        _hash_now(exchange, done)
    elif kind == Kind.HASH_KNOWN:
        _compare_earlier(batch, done)
    else:
        _note_start(batch, done)


def _is_included(batch: Batch, seq: int) -> bool:
    """Tell whether a batch is part of the snapshot that the exchange came from."""
    if batch.header.kind == Kind.COMMANDS:
        return batch.last_seq <= seq
    return batch.header.kind != Kind.START and batch.last_seq < seq


def _check_follows(batch: Batch, seq: int) -> None:
    kind = batch.header.kind
    is_commands = kind == Kind.COMMANDS
    if kind in (Kind.COMMANDS, Kind.CHECKPOINT, Kind.START) and (
            batch.header.seq > seq + is_commands):
        raise JournalError(
            f"{batch.place}: begins at seq {batch.header.seq}, the replay is at {seq}: "
            "what is between needs a good snapshot")


def _apply_batch(
    batch: Batch, exchange: Exchange, sessions: Sessions | None, done: Replay,
    on_progress: Callable[[int], None],
) -> None:
    for entry in batch.entries():
        try:
            if isinstance(entry, Entry):
                done.rejected_count += _apply_entry(entry, exchange, sessions)
            else:
                done.rejected_count += _apply_packed_entry(entry, exchange, sessions)
        except Exception as error:  # whatever it is, it was so when it was written, too
            raise ReplayError(
                f"{batch.place}: seq {entry.seq} cannot be applied: "
                f"{type(error).__name__}: {error}") from error
        before = done.command_count
        done.command_count += entry.command_count
        if before // _REPORT_COMMANDS != done.command_count // _REPORT_COMMANDS:
            on_progress(done.command_count)


def _apply_entry(entry: Entry, exchange: Exchange, sessions: Sessions | None) -> int:
    """Apply one command; return how many were refused."""
    outcome, _ = apply_command(exchange, entry.seq, entry.command, with_events=False)
    if sessions is not None and entry.client is not None:
        sessions.admit(entry.client, entry.request, zlib.crc32(pack_command(entry.given)))
        sessions.settle(entry.client, entry.request, outcome)
    return int(outcome.reason is not None)


def _apply_packed_entry(
    entry: PackedEntry, exchange: Exchange, sessions: Sessions | None
) -> int:
    commands = PackedCommands(entry.rows, entry.specials)
    refused = apply_packed(exchange, entry.seq, commands, entry.stamp)
    outcome = settle_packed(exchange, entry.seq, refused)
    if sessions is not None and entry.client is not None:
        taken = sessions.admit_packed(entry.client, entry.request, commands.checksums())
        taken.outcome = outcome
    return refused


def _compare(batch: Batch, exchange: Exchange, agreed: int) -> dict[str, Any]:
    facts = batch.facts()
    found = exchange.state_hash()
    if facts.get("state_hash") != found or facts.get("seq") != exchange.seq:
        raise ReplayError(
            f"{batch.place}: seq {exchange.seq}: the journal says state hash "
            f"{facts.get('state_hash')}, the replay comes to {found}; they last agreed at seq "
            f"{agreed}")
    return facts


def _hash_now(exchange: Exchange, done: Replay) -> None:
    """Keep the hash of the state: what the server found it to be comes later."""
    began = time.monotonic()
    limit_s = _HASHING_S + _HASHING_SHARE * (began - done.started_at)
    if not done.is_hasty or done.hashing_s < limit_s:
        done.hashes[exchange.seq] = exchange.state_hash()
        done.hashing_s += time.monotonic() - began


def _compare_earlier(batch: Batch, done: Replay) -> None:
    """Compare a hash that became known later."""
    facts = batch.facts()
    seq = facts.get("seq")
    if type(seq) is not int or seq not in done.hashes:
        return  # of before the snapshot that the replay began with, or left out
    found = done.hashes.pop(seq)
    if facts.get("state_hash") != found:
        raise ReplayError(
            f"{batch.place}: the journal says that seq {seq} had state hash "
            f"{facts.get('state_hash')}, the replay came to {found}; they last agreed at seq "
            f"{done.agreed_seq}")
    done.checkpoint_count += 1
    done.agreed_seq = seq


def _note_start(batch: Batch, done: Replay) -> None:
    facts = batch.facts()
    epoch, version, term = facts.get("epoch"), facts.get("engine"), facts.get("term", 1)
    if type(epoch) is not int or type(term) is not int or not isinstance(version, str):
        raise JournalError(f"{batch.place}: a start without epoch, engine and term")
    other = facts.get("superseded_by")
    if other is not None:
        done.superseded_by = Start(*other)
        return
    done.start_count += 1
    done.superseded_by = None
    done.history.add(Start(term, epoch, batch.header.seq))
    if version not in done.written_by:
        done.written_by.append(version)
