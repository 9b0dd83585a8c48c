"""From the steps of one feed to commands that are journaled: packed where a step is one mark."""

from __future__ import annotations

from collections.abc import Callable

from engine.driver import MarkDriver
from engine.errors import InputError
from engine.feeds.steps import Step
from engine.serving.packed import PackedCommands, PackedPending
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
        self._rows: list[tuple[int, ...]] = []
        self._first = 0

    def add(
        self, epoch: int | None, number: int, step: Step, batch: list[Pending | PackedPending]
    ) -> None:
        """Take one step; `flush` adds the last ones to the batch.

        Raises
        ------
        InputError
            An unknown symbol, where that is an error.
        """
        client = f"feed/{epoch}"
        if number != self._first + len(self._rows) or client != self._client:
            self.flush(batch)
            self._client, self._first = client, number
        has_time = not self._sequencer.has_clock
        try:
            row = self._current_driver().packed(number, step, has_time=has_time)
            if row is not None:
                self._rows.append(row)
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
        commands = PackedCommands.of(self._rows)
        checksums = commands.checksums()
        for part in self._sequencer.sessions.parts(self._client, self._first, checksums):
            if part.is_new:
                first = self._first + part.start
                batch.append(PackedPending(
                    self._client, first, commands.part(part.start, part.stop),
                    self._sequencer.sessions.admit_packed(
                        self._client, first, checksums[part.start:])))
            else:
                self.ignored_count += part.stop - part.start
        self._rows = []

    def _current_driver(self) -> MarkDriver:
        exchange = self._sequencer.exchange
        if len(exchange.instruments_by_index) != self._symbol_count:
            self._driver = MarkDriver(exchange)
            self._symbol_count = len(exchange.instruments_by_index)
        return self._driver
