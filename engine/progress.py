"""A progress bar for people: on a terminal only, and only once a run takes a while."""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from engine.closing import Closing

#: A run shorter than this shows nothing.
_QUIET_S = 2.0


class ProgressBar(Closing):
    """Counts towards a total on stderr; silent where stderr is no terminal.

    Parameters
    ----------
    label : str
    total : int, optional
        Without it the bar counts up and does not fill.
    unit : str
        Word behind the numbers.
    """

    def __init__(self, label: str, total: int | None = None, unit: str = "marks") -> None:
        self._label = label
        self._total = total
        self._unit = unit
        self._is_wanted = sys.stderr.isatty()
        self._starts_at = time.monotonic() + _QUIET_S
        self._progress: Progress | None = None
        self._task = TaskID(0)

    def close(self) -> None:
        """Take the bar away."""
        if self._progress is not None:
            self._progress.stop()

    def update(self, done: int, note: str = "") -> None:
        """Show how much is done; cheap enough to call a few hundred times a second.

        Parameters
        ----------
        done : int
        note : str
            Short text at the end of the line.
        """
        if not self._is_wanted:
            return
        if self._progress is None:
            if time.monotonic() < self._starts_at:
                return
            self._start()
        assert self._progress is not None
        self._progress.update(self._task, completed=done, note=note)

    def _start(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(self._unit),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task(self._label, total=self._total, note="")
        self._progress.start()
