"""What is wrong with the rows of a feed: a stop at the first, or a count and a report."""

from __future__ import annotations

from engine.errors import InputError

#: Lines that are kept for the report; all are counted.
_KEPT_MAX = 20


class Problems:
    """Collects what readers find wrong.

    Parameters
    ----------
    is_strict : bool
        Whether the first bad row ends the reading.

    Attributes
    ----------
    bad_count : int
        Rows left out because they are wrong.
    skipped_count : int
        Rows left out because the format says so: repeated rows, changes to a book that no
        snapshot has begun.
    gap_count : int
        Places where a book's changes are missing.
    late_count : int
        Records stamped before the one ahead of them; played at that one's time.
    lines : list of str
        The first bad rows and gaps, `FILE:LINE: reason`.
    """

    def __init__(self, is_strict: bool = True) -> None:
        self.is_strict = is_strict
        self.bad_count = 0
        self.skipped_count = 0
        self.gap_count = 0
        self.late_count = 0
        self.lines: list[str] = []

    def bad_row(self, path: str, line: int, reason: object) -> None:
        """Note a row that is wrong.

        Raises
        ------
        InputError
            If strict.
        """
        text = f"{path}:{line}: {reason}"
        if self.is_strict:
            raise InputError(text)
        self.bad_count += 1
        self._keep(text)

    def gap(self, path: str, line: int, reason: object) -> None:
        """Note that something is missing before a row; never ends the reading."""
        self.gap_count += 1
        self._keep(f"{path}:{line}: {reason}")

    def note(self, text: str) -> None:
        """Tell something else in the report, once; nothing is counted."""
        if text not in self.lines:
            self.lines.append(text)

    def rows(self) -> list[tuple[str, str]]:
        """Return what there is to tell as `(name, value)` for a summary."""
        counts = (
            ("bad_rows", self.bad_count),
            ("skipped_rows", self.skipped_count),
            ("book_gaps", self.gap_count),
            ("late_records", self.late_count),
        )
        return [("bad_rows", str(self.bad_count))] + [
            (name, str(count)) for name, count in counts[1:] if count
        ]

    def _keep(self, text: str) -> None:
        if len(self.lines) < _KEPT_MAX:
            self.lines.append(text)
