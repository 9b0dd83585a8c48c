"""A standby's copy: its own journal, and the exchange that the journal leads to. No sockets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from engine.errors import RunError
from engine.exchange import Exchange
from engine.journal import Batch, Journal, JournalError, Kind, Storage
from engine.journal.layout import split_batches
from engine.replication.history import History
from engine.serving.feeds import Recollection
from engine.serving.keeper import Keeper
from engine.serving.recovery import Replay, ReplayError, take_batch
from engine.serving.sessions import Sessions
from engine.serving.snapshots import Snapshots


class CopyError(RunError):
    """What arrives does not continue this copy; nothing of it was written."""


@dataclass
class Copy:
    """Everything that a standby keeps.

    Attributes
    ----------
    journal : Journal
        Read to its end; open for appending if there is any.
    exchange : engine.Exchange
    sessions : Sessions
    history : History
    tail : list of Batch
        Batches without commands behind the last command of the journal.
    snapshot_seq : int
        Of the newest snapshot, 0 where there is none.
    make_keeper : callable
        Makes what writes snapshots, None where the core has none; called with the `seq` of the
        newest.
    memory : Recollection or None
        Takes what feeds said.
    make_memory : callable
        Makes another one, of the exchange and the desk of a snapshot.
    storage : Storage
    keeper : Keeper or None
        Once the journal has an identity.
    """

    journal: Journal
    exchange: Exchange
    sessions: Sessions
    history: History
    tail: list[Batch]
    snapshot_seq: int
    make_keeper: Callable[[int], Keeper | None]
    memory: Recollection | None
    make_memory: Callable[[Exchange, str | None], Recollection | None]
    storage: Storage = field(default_factory=Storage)
    keeper: Keeper | None = None

    def __post_init__(self) -> None:
        self._replay = Replay(history=self.history, agreed_seq=self.exchange.seq)
        self._known_tail = list(self.tail)
        self._unapplied: list[Batch] = []
        if self.journal_id:
            self.keeper = self.make_keeper(self.snapshot_seq)
        self._receiving: tuple[int, int, int] | None = None  # handle, offset, size

    @property
    def journal_id(self) -> int:
        """Of the journal; 0 while there is none."""
        return self.journal.journal_id or 0

    def begin(self, journal_id: int) -> None:
        """Make ready for batches of a journal, from its start where there is none here yet.

        Raises
        ------
        CopyError
            It is another journal.
        """
        if not self.journal_id:
            self.journal.adopt(journal_id, 0)
            self.keeper = self.make_keeper(0)
        elif self.journal_id != journal_id:
            raise CopyError(
                f"{self.journal.folder}: journal {self.journal_id:016x}, the primary has "
                f"{journal_id:016x}")
        # Sent again at the beginning of each stream.
        self._known_tail = list(self.tail)

    def append(self, data: bytes) -> None:
        """Make batches durable that follow; `apply` does the rest.

        Raises
        ------
        CopyError
            One is not intact, or does not follow; those before it are in the journal.
        JournalWriteError
        """
        try:
            for raw in split_batches(data):
                if self._is_known(raw):
                    continue
                batch = self.journal.append_batch(raw)
                self._unapplied.append(batch)
                if batch.header.kind == Kind.COMMANDS:
                    self.tail.clear()
                else:
                    self.tail.append(batch)
        except JournalError as error:
            raise CopyError(f"from the primary: {error}") from None

    def _is_known(self, raw: bytes) -> bool:
        """Tell whether a batch is the next of those that came at the end before.

        From the first one that is another, what is here was written by a server that did not
        know that a standby had taken over: without commands, so the state is the same without it.
        """
        if not self._known_tail:
            return False
        if self._known_tail[0].raw == raw:
            del self._known_tail[0]
            return True
        cut = self._known_tail[0]
        self.journal.cut_off(cut)
        del self.tail[self.tail.index(cut):]
        self._known_tail.clear()
        return False

    def apply(self) -> None:
        """Apply what is durable, and compare with what the primary came to.

        Raises
        ------
        ReplayError
            The states differ; the message names the seq.
        """
        batches, self._unapplied = self._unapplied, []
        for batch in batches:
            try:
                take_batch(
                    batch, self.exchange, self.sessions, self._replay,
                    on_inputs=None if self.memory is None else self.memory.take)
            except ReplayError as error:
                raise ReplayError(f"this standby differs from its primary: {error}") from None
        if self.keeper is not None and self.keeper.is_due(self.exchange.seq):
            self.keep()

    def keep(self) -> None:
        """Write a snapshot of the end, so that the next start is quick."""
        # Inputs without the commands that follow from them have no place in a snapshot.
        is_bound = bool(self.tail) and self.tail[-1].header.kind == Kind.INPUTS
        if self.keeper is not None and not is_bound:
            self.keeper.keep(self.exchange, self.sessions, self.journal)

    # --- a snapshot of the primary -------------------------------------------------------

    def receive_snapshot(self, snapshots: Snapshots, seq: int, size: int) -> None:
        """Begin to take a snapshot's file, piece by piece."""
        self.abandon_snapshot()
        self._receiving = (snapshots.begin_file(seq), 0, size)

    def take_snapshot_piece(self, offset: int, data: bytes) -> bool:
        """Write the next piece; tell whether it was the last.

        Raises
        ------
        CopyError
        """
        if self._receiving is None or self._receiving[1] != offset:
            raise CopyError(f"a piece of a snapshot at {offset} does not follow")
        handle, _, size = self._receiving
        self.storage.write(handle, data, offset)
        self._receiving = (handle, offset + len(data), size)
        if offset + len(data) > size or not data:
            raise CopyError("the pieces of a snapshot are not as long as was said")
        return offset + len(data) == size

    def adopt_snapshot(self, snapshots: Snapshots, seq: int, journal_id: int) -> None:
        """Go on from the snapshot that has arrived, in place of everything here.

        Raises
        ------
        InputError
            It is not good here: damaged, or of another build.
        """
        assert self._receiving is not None
        handle, self._receiving = self._receiving[0], None
        snapshots.end_file(handle, seq)
        restored = snapshots.read(seq)
        self.journal.adopt(journal_id, seq)
        self.exchange, self.sessions = restored.exchange, restored.sessions
        self.memory = self.make_memory(restored.exchange, restored.desk)
        self.history.replace(restored.history)
        self._replay = Replay(history=self.history, agreed_seq=seq)
        self.tail.clear()
        self._known_tail.clear()
        self.keeper = self.make_keeper(seq)

    def abandon_snapshot(self) -> None:
        """Let go of a file that did not arrive whole; it is removed when the next one begins."""
        if self._receiving is not None:
            self.storage.close(self._receiving[0])
            self._receiving = None
