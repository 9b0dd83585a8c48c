"""What a benchmark says: facts, tables, notes; for a terminal and for a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal


@dataclass
class Table:
    """Rows of text under a title; the first column names the row.

    Attributes
    ----------
    title : str
    columns : sequence of str
    rows : list of sequence of str
    """

    title: str
    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)

    def add(self, *cells: str) -> None:
        assert len(cells) == len(self.columns), (cells, self.columns)
        self.rows.append(cells)


@dataclass
class Report:
    """One benchmark's result.

    Attributes
    ----------
    title : str
    facts : list of (str, str)
        Population, mix, hashes.
    tables : list of Table
    notes : list of str
        What is excluded, and what a number is to be read as.
    failures : list of str
        Results that disagree; a fast wrong answer is no figure.
    """

    title: str
    facts: list[tuple[str, str]] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def plain(self) -> list[str]:
        """Lines without markup."""
        lines = [f"== {self.title}", *aligned(self.facts)]
        for table in self.tables:
            lines += ["", f"-- {table.title}"]
            cells = [list(table.columns), *(list(row) for row in table.rows)]
            widths = [max(len(row[i]) for row in cells) for i in range(len(table.columns))]
            for row in cells:
                padded = [row[0].ljust(widths[0])]
                padded += [cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True)]
                lines.append("  ".join(padded).rstrip())
        return [*lines, *([""] if self.notes else []), *(f"note: {note}" for note in self.notes)]


def aligned(rows: Sequence[tuple[str, str]]) -> list[str]:
    """Lines of `key  value` with the values under one another."""
    width = max((len(key) for key, _ in rows), default=0)
    return [f"{key:<{width}}  {value}" for key, value in rows]


def print_report(report: Report) -> None:
    """Print: tables drawn with rich on a terminal, plain lines elsewhere."""
    import sys

    if not sys.stdout.isatty():
        print("\n".join(report.plain()), end="\n\n", flush=True)
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table as Drawn

    console = Console(highlight=False)
    console.rule(escape(report.title))
    for line in aligned(report.facts):
        console.print(escape(line))
    for table in report.tables:
        drawn = Drawn(title=escape(table.title), title_justify="left")
        for number, column in enumerate(table.columns):
            side: Literal["left", "right"] = "right" if number else "left"
            drawn.add_column(escape(column), justify=side, no_wrap=not number)
        for row in table.rows:
            drawn.add_row(*(escape(cell) for cell in row))
        console.print(drawn)
    for note in report.notes:
        console.print(f"note: {escape(note)}")


def us(nanoseconds: float) -> str:
    """Nanoseconds as microseconds, three significant digits or more."""
    value = nanoseconds / 1000
    digits = 3 if value < 1 else 2 if value < 10 else 1 if value < 1000 else 0
    return f"{value:,.{digits}f}"


def rate(count: float, nanoseconds: float) -> str:
    """Count per second."""
    return f"{count * 1e9 / nanoseconds:,.0f}" if nanoseconds else "-"


def times(ratio: float) -> str:
    """How many times as much."""
    return f"{ratio:,.0f}x" if ratio >= 10 else f"{ratio:.1f}x"
