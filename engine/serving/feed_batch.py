"""From the steps of one feed to commands that are journaled: packed where a step is one mark."""

from __future__ import annotations

from collections.abc import Callable

from engine.driver import MarkDriver
from engine.errors import InputError
from engine.feeds.steps import PackedSteps, Step
from engine.packing import MarkReader
from engine.serving.packed import PackedCommands, PackedPending, Part
from engine.serving.sequencer import Pending, Sequencer


class FeedBatch:
    """Takes steps, and adds what is new of them to a batch.

    Parameters
    ----------
    sequencer : Sequencer
    report : callable
        Takes one line about each symbol that is not known; its steps are left out.
    is_strict : bool
        Whether an unknown symbol is an error instead.

    Attributes
    ----------
    ignored_count : int
        Steps that were taken before, or are on unknown symbols.

    Notes
    -----
    A step of several marks is a command `marks`, since all of them hold before anybody is
    evaluated. With one mark `marks` and `mark` are the same; steps in a row go as one
    table of those.
    """

    def __init__(
        self, sequencer: Sequencer, report: Callable[[str], None], *, is_strict: bool
    ) -> None:
        self.ignored_count = 0
        self._sequencer = sequencer
        self._report = report
        self._is_strict = is_strict
        self._driver = MarkDriver(sequencer.exchange)
        self._symbol_count = len(sequencer.exchange.instruments_by_index)
        self._unknown: set[str] = set()
        self._client = ""
        self._rows: list[bytes] = []
        self._first = self._count = 0
        self._reader = self._new_reader()

    @property
    def reader(self) -> MarkReader:
        """What reads messages of the feed, for the instruments that there are now."""
        self._current_driver()
        return self._reader

    def _new_reader(self) -> MarkReader:
        sequencer = self._sequencer
        return MarkReader(sequencer.exchange.instruments_by_index, not sequencer.has_clock)

    def add(
        self, epoch: int | None, number: int, step: Step | PackedSteps,
        batch: list[Pending | PackedPending],
    ) -> None:
        """Take one step, or packed ones from a number on; `flush` adds the last to the batch.

        Raises
        ------
        InputError
            An unknown symbol, where that is an error.
        """
        client = f"feed/{epoch}"
        if number != self._first + self._count or client != self._client:
            self.flush(batch)
            self._client, self._first, self._count = client, number, 0
        if isinstance(step, PackedSteps):
            self._rows.append(step.rows)
            self._count += len(step.symbols)
            return
        has_time = not self._sequencer.has_clock
        try:
            row = self._current_driver().packed(number, step, has_time=has_time)
            if row is not None:
                self._rows.append(PackedCommands.of([row]).rows)
                self._count += 1
                return
            command = self._driver.command(number, step, has_time=has_time)
        except InputError as error:
            if self._is_strict:
                raise
            self.ignored_count += 1
            if str(error) not in self._unknown:
                self._unknown.add(str(error))
                self._report(f"feed: {error}; ignored")
            return
        self.flush(batch)
        pending = Pending.of(client, number, command)
        sessions = self._sequencer.sessions
        if sessions.refusal(client, number, pending.checksum) is not None:
            self.ignored_count += 1
            return
        sessions.admit(client, number, pending.checksum)
        batch.append(pending)

    def flush(self, batch: list[Pending | PackedPending]) -> None:
        """Add the steps that were taken since the last one to a batch."""
        if not self._rows:
            return
        commands = PackedCommands(b"".join(self._rows), b"")
        checksums, sessions = commands.checksums(), self._sequencer.sessions
        parts = [Part(0, self._count)]
        if not sessions.is_new(self._client, self._first):
            parts = sessions.parts(self._client, self._first, checksums)
        for part in parts:
            if part.is_new:
                first = self._first + part.start
                batch.append(PackedPending(
                    self._client, first, commands.part(part.start, part.stop),
                    sessions.admit_packed(self._client, first, checksums[part.start:])))
            else:
                self.ignored_count += part.stop - part.start
        self._rows, self._count = [], 0

    def _current_driver(self) -> MarkDriver:
        exchange = self._sequencer.exchange
        if len(exchange.instruments_by_index) != self._symbol_count:
            self._driver = MarkDriver(exchange)
            self._reader = self._new_reader()
            self._symbol_count = len(exchange.instruments_by_index)
        return self._driver
