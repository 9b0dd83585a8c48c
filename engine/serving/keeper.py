"""When a server writes a snapshot, and what it lets go of then."""

from __future__ import annotations

from collections.abc import Callable

from engine.exchange import Exchange
from engine.journal import Journal
from engine.replication.history import History
from engine.serving.background import Background, Done
from engine.serving.sessions import Sessions
from engine.serving.snapshots import KEPT, Snapshots


class Keeper:
    """Writes snapshots at intervals and at the end.

    Parameters
    ----------
    snapshots : Snapshots
    history : History
        Of the journal; goes into the snapshots.
    interval : int, commands
        0: only at the end.
    drops_segments : bool
        Whether segments that no kept snapshot needs are removed.
    needed_seq : callable
        Returns the `seq` after which somebody else needs the journal, None where nobody does.
    seq : int
        Of the newest snapshot there is, or of the start.
    report : callable
        Takes a line where the disk did not take one: the journal has everything, so the
        server goes on.
    dump_desk : callable, optional
        Returns the state of what makes commands of feeds.
    background : Background, optional
        Writes those at intervals while the server goes on. Without one it waits meanwhile.
    """

    def __init__(
        self, snapshots: Snapshots, history: History, interval: int, *, drops_segments: bool,
        seq: int, report: Callable[[str], None],
        needed_seq: Callable[[], int | None] = lambda: None,
        dump_desk: Callable[[], str] | None = None,
        background: Background | None = None,
    ) -> None:
        self._snapshots = snapshots
        self._history = history
        self._needed_seq = needed_seq
        self._interval = interval
        self._drops_segments = drops_segments
        self._seq = seq
        self._report = report
        self._dump_desk = dump_desk
        self._background = background
        self._writing: int | None = None  # in the background: of this `seq`

    def is_due(self, seq: int) -> bool:
        """Tell whether enough commands have come since the last one."""
        if self._background is not None and self._background.is_busy:
            return False
        return 0 < self._interval <= seq - self._seq

    def keep(self, exchange: Exchange, sessions: Sessions, journal: Journal) -> None:
        """Write a snapshot of everything up to now, unless there is one.

        Raises
        ------
        JournalWriteError
            What it includes could not be made durable in the journal.
        """
        if exchange.seq == self._seq and self._writing is None:
            return
        self._seq = exchange.seq
        journal.flush()  # a snapshot is never ahead of its journal
        if self._background is not None:
            self._background.stop()  # of what is older
        self._writing = None
        try:
            self._write(exchange, sessions)
        except OSError as error:
            self._report_failure(exchange.seq, (error.strerror or str(error)).lower())
            return
        self._let_go(journal)

    def begin(self, exchange: Exchange, sessions: Sessions, journal: Journal) -> None:
        """Do the same in the background, where there is one; `finish` ends it.

        Raises
        ------
        JournalWriteError
            As `keep`.
        """
        if self._background is None:
            self.keep(exchange, sessions, journal)
            return
        journal.flush()
        self._seq = exchange.seq
        try:
            self._background.start(lambda: self._write(exchange, sessions))
        except OSError as error:
            self._report_failure(exchange.seq, (error.strerror or str(error)).lower())
            return
        self._writing = exchange.seq

    def finish(self, done: Done, journal: Journal) -> bool:
        """Take note of the end of work in the background; tell whether it was a snapshot.

        Raises
        ------
        JournalWriteError
            Segments that nothing needs any more cannot be removed.
        """
        seq, self._writing = self._writing, None
        if seq is None:
            return False
        if done.problem is not None:
            self._report_failure(seq, done.problem)
        else:
            self._report(
                f"snapshot of seq {seq}: {done.elapsed_s:.3f} s, the server waited for "
                f"{1000 * done.pause_s:.1f} ms")
            self._let_go(journal)
        return True

    def _write(self, exchange: Exchange, sessions: Sessions) -> str:
        desk = None if self._dump_desk is None else self._dump_desk()
        return self._snapshots.write(exchange, sessions, self._history, desk)

    def _report_failure(self, seq: int, reason: str) -> None:
        self._report(f"{self._snapshots.path(seq)}: cannot write: {reason}")

    def _let_go(self, journal: Journal) -> None:
        if self._drops_segments:
            self._drop_segments(journal)

    def _drop_segments(self, journal: Journal) -> None:
        """Remove what neither a snapshot nor a standby needs.

        The segment with the last command that the newest snapshot, or a standby, has stays: a
        stream to a standby begins behind that command.
        """
        seqs, needed_seq = self._snapshots.seqs(), self._needed_seq()
        if len(seqs) < KEPT:
            return  # a single bad one would leave nothing to begin from
        seq = min(seqs[0], seqs[-1] - 1)
        journal.drop_segments(seq if needed_seq is None else min(seq, needed_seq - 1))
