"""Packed commands on their way: what tells them apart, and what became of them.

A client sends a table of commands in one message; they get consecutive request numbers and,
journaled as one record and applied in one crossing, consecutive `seq`.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from engine.batches import COMMAND_DTYPE, SPECIAL_DTYPE, from_bytes
from engine.errors import InvariantViolation
from engine.exchange import Exchange
from engine.journal.layout import make_packed_record
from engine.messages import COMMAND_COLUMNS, NONE, SPECIAL_COLUMNS, EventKind
from engine.packing import sum_rows
from engine.packing.plain import fold, weigh

Table = npt.NDArray[np.int64]
Checksums = npt.NDArray[np.uint32]

#: Of commands that have a `seq`, accepted and rejected alike.
APPLIED = "applied"
UNAVAILABLE = "unavailable"

#: One refused command of a batch: its place from 0, and its `RejectReason`.
REJECTION_DTYPE = np.dtype([("offset", "<u4"), ("reason", "<u4")])

_TS = COMMAND_COLUMNS.index("ts")
_SPECIAL = COMMAND_COLUMNS.index("special")
_NO_TERMS: Table = from_bytes(b"", SPECIAL_DTYPE)
# Where a record of `EventKind.REJECTED` has its seq and its reason.
_SEQ, _REASON = 1, 5


# Fixed odd numbers, one a column: what rows differ in must not cancel out between columns. They
# are part of the snapshots of a journal.
_FACTORS, _SPECIAL_FACTORS = (
    np.frombuffer(hashlib.shake_128(name).digest(8 * len(columns)), "<u8").astype(np.uint64)
    | np.uint64(1)
    for name, columns in ((b"commands", COMMAND_COLUMNS), (b"specials", SPECIAL_COLUMNS)))


_FACTORS_LIST: list[int] = _FACTORS.tolist()
_ROW = struct.Struct(f"<{len(COMMAND_COLUMNS)}q")


class PackedCommands(NamedTuple):
    """A table of commands as it was sent.

    Attributes
    ----------
    rows, specials : bytes
    """

    rows: bytes
    specials: bytes

    @classmethod
    def of(cls, rows: Iterable[tuple[int, ...]]) -> PackedCommands:
        """Return commands without special terms, each given as its columns."""
        return cls(b"".join(_ROW.pack(*row) for row in rows), b"")

    @property
    def command_count(self) -> int:
        """How many commands."""
        return len(self.rows) // COMMAND_DTYPE.itemsize

    def part(self, start: int, stop: int) -> PackedCommands:
        """Some of the commands, with all the special terms."""
        if start == 0 and stop == self.command_count:
            return self
        size = COMMAND_DTYPE.itemsize
        return PackedCommands(self.rows[start * size:stop * size], self.specials)

    def table(self, stamp: int | None = None) -> tuple[Table, Table]:
        """Return commands and special terms as tables, the time of all of them put in."""
        rows = from_bytes(self.rows, COMMAND_DTYPE)
        if stamp is not None:
            rows = rows.copy()
            rows[:, _TS] = stamp
        return rows, from_bytes(self.specials, SPECIAL_DTYPE) if self.specials else _NO_TERMS

    def has_times(self) -> bool:
        """Whether any of the commands says when it is."""
        return bool((from_bytes(self.rows, COMMAND_DTYPE)[:, _TS] != NONE).any())

    def checksums(self) -> Checksums:
        """Return a number for each command that tells it from another one, terms included."""
        if not self.specials:
            return np.frombuffer(sum_rows(self.rows, _FACTORS_LIST), np.uint32)
        rows, specials = self.table()
        # Which row its terms have says nothing: they are in other rows of another message.
        sums = weigh(rows[:, :_SPECIAL].view(np.uint64), _FACTORS[:_SPECIAL])
        named = np.flatnonzero(rows[:, _SPECIAL] != NONE)
        if len(named):
            terms = weigh(specials.view(np.uint64), _SPECIAL_FACTORS) | np.uint64(1)
            terms = np.append(terms, np.uint64(1))
            at = rows[named, _SPECIAL]
            at[(at < 0) | (at >= len(specials))] = len(specials)  # terms that are not there
            sums[named] += terms[at] * _FACTORS[_SPECIAL]
        return fold(sums)


class PackedOutcome(NamedTuple):
    """What became of commands that were applied together.

    Attributes
    ----------
    first_seq : int
        Of the first; the following ones count on.
    ts : int
        Engine time after the last, ns.
    rejections : bytes
        Rows of `REJECTION_DTYPE`, by offset; the others were accepted.
    """

    first_seq: int
    ts: int
    rejections: bytes

    def part(self, start: int, stop: int) -> PackedOutcome:
        """What became of some of them."""
        rows = np.frombuffer(self.rejections, REJECTION_DTYPE)
        rows = rows[(rows["offset"] >= start) & (rows["offset"] < stop)].copy()
        rows["offset"] -= start
        return PackedOutcome(self.first_seq + start, self.ts, rows.tobytes())


@dataclass
class Taken:
    """Packed commands that were taken, as the sessions know them.

    Attributes
    ----------
    checksums : array of uint32
        One a command.
    outcome : PackedOutcome or None
        None while they are under way.
    """

    checksums: Checksums
    outcome: PackedOutcome | None = None


class Part(NamedTuple):
    """Some requests of a message that have the same answer.

    Attributes
    ----------
    start, stop : int
        Which commands of the message.
    code : str or None
        Why they are not applied now; None where `taken` says what became of them, or they
        are new.
    taken : Taken or None
        Where they were taken before; None with no code: they are new.
    offset : int
        Where the first stands in `taken`.
    detail : str or None
    """

    start: int
    stop: int
    code: str | None = None
    taken: Taken | None = None
    offset: int = 0
    detail: str | None = None

    @property
    def is_new(self) -> bool:
        """Whether nobody has seen them before."""
        return self.code is None and self.taken is None

    def declined(self, reason: str) -> tuple[Any, ...]:
        """What the client is told where nothing is taken any more."""
        return self.stop - self.start, UNAVAILABLE, None, None, b"", reason

    def counts(self) -> dict[str, int]:
        """How many commands came to what, by the codes of `Outcome`."""
        count, code, _, _, rejections, _ = self.row()
        if code != APPLIED:
            return {code: count}
        refused = len(rejections) // REJECTION_DTYPE.itemsize
        return {"accepted": count - refused, "rejected": refused}

    def row(self) -> tuple[Any, ...]:
        """What the client is told: count, code, first seq, ts, rejections, detail."""
        count = self.stop - self.start
        if self.code is not None or self.taken is None or self.taken.outcome is None:
            return count, self.code or UNAVAILABLE, None, None, b"", self.detail
        outcome = self.taken.outcome
        if count != len(self.taken.checksums):
            outcome = outcome.part(self.offset, self.offset + count)
        return count, APPLIED, outcome.first_seq, outcome.ts, outcome.rejections, None


@dataclass(frozen=True)
class PackedOutcomes:
    """What became of a message of packed commands; an entry for each.

    Attributes
    ----------
    codes : array of str
        `applied` where the command has a `seq`; else why it has none, as in `Outcome.code`.
    seqs : array of int64
        `engine.messages.NONE` where there is none.
    reasons : array of int64
        `engine.messages.RejectReason` of those that were refused, `NONE` elsewhere.
    ts : array of int64
        Engine time after the batch that the command was part of, ns; `NONE` where there is none.

    Examples
    --------
    >>> outcomes = PackedOutcomes.of([[2, "applied", 7, 100, b"", None]])
    >>> outcomes.accepted.tolist(), outcomes.seqs.tolist()
    ([True, True], [7, 8])
    """

    codes: npt.NDArray[np.str_]
    seqs: Table
    reasons: Table
    ts: Table

    @classmethod
    def of(cls, parts: Sequence[Sequence[Any]]) -> PackedOutcomes:
        """Return the outcomes of the parts of a `packed_outcomes.` message."""
        codes, seqs, reasons, ts = [], [], [], []
        for count, code, first_seq, after, rejections, _ in parts:
            refused = np.frombuffer(rejections, REJECTION_DTYPE)
            why = np.full(count, NONE, np.int64)
            why[refused["offset"]] = refused["reason"]
            codes.append(np.full(count, code))
            seqs.append(
                np.full(count, NONE, np.int64) if first_seq is None
                else np.arange(first_seq, first_seq + count))
            reasons.append(why)
            ts.append(np.full(count, NONE if after is None else after, np.int64))
        return cls(*map(np.concatenate, (codes, seqs, reasons, ts)))

    @property
    def accepted(self) -> npt.NDArray[np.bool_]:
        """Which were applied and not refused."""
        accepted: npt.NDArray[np.bool_] = (self.codes == APPLIED) & (self.reasons == NONE)
        return accepted

    def __len__(self) -> int:
        return len(self.codes)


@dataclass
class PackedPending:
    """Packed commands that are on their way.

    Attributes
    ----------
    client : str or None
        None for what the server does by itself.
    request : int
        Number of the first.
    commands : PackedCommands
    taken : Taken
        Gets the outcome.
    """

    client: str | None
    request: int
    commands: PackedCommands
    taken: Taken = field(default_factory=lambda: Taken(np.empty(0, np.uint32)))

    @property
    def command_count(self) -> int:
        """How many commands."""
        return self.commands.command_count

    @property
    def size(self) -> int:
        """Bytes that they take."""
        return len(self.commands.rows) + len(self.commands.specials)

    def record(self, stamp: int | None) -> bytes:
        """What the journal keeps."""
        return make_packed_record(stamp, self.client, self.request, *self.commands)


def apply_packed(
    exchange: Exchange, seq: int, commands: PackedCommands, stamp: int | None
) -> int:
    """Apply packed commands that have to get certain numbers; return how many were refused.

    Raises
    ------
    InvariantViolation
        The exchange counts in another way than the journal.
    """
    # Tables of the right shape, as they came; `Exchange.submit_many` would check that again.
    refused = int(exchange.core.run(*commands.table(stamp)))
    last = seq + commands.command_count - 1
    if exchange.seq != last:
        raise InvariantViolation(f"command {last} of the journal got seq {exchange.seq}")
    return refused


def settle_packed(exchange: Exchange, first_seq: int, refused: int) -> PackedOutcome:
    """Return what became of commands that were just applied; their events are forgotten."""
    if not refused:
        exchange.discard_events()
        return PackedOutcome(first_seq, exchange.ts, b"")
    return outcome_of(exchange.drain_array(), first_seq, exchange.ts)


def outcome_of(records: Table, first_seq: int, ts: int) -> PackedOutcome:
    """Return what event records say of commands that were applied together."""
    refused = records[records[:, 0] == EventKind.REJECTED]
    rows = np.empty(len(refused), REJECTION_DTYPE)
    rows["offset"] = refused[:, _SEQ] - first_seq
    rows["reason"] = refused[:, _REASON]
    return PackedOutcome(first_seq, ts, rows.tobytes())


def count_commands(records: Table) -> int:
    """How many commands event records are of."""
    if len(records) < 2:
        return len(records)
    return int(np.count_nonzero(np.diff(records[:, _SEQ]))) + 1
