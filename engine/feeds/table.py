"""Tables of comma-separated values: columns found by name or by place, row after row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import TypeVar

from engine.errors import InputError
from engine.feeds.files import LINE_LENGTH_MAX, read_lines
from engine.feeds.source import Source

_T = TypeVar("_T")


def has_columns(fields: Sequence[str], needed: Sequence[str]) -> bool:
    """Tell whether a first line is a header with these columns, whatever else it has."""
    return set(needed) <= set(fields)


def read_table(
    source: Source,
    columns: Sequence[str],
    parse: Callable[..., _T],
    *,
    header: Sequence[str] | None = None,
    what: str = "rows",
) -> Iterator[tuple[int, _T]]:
    """Stream a table, each row parsed.

    Parameters
    ----------
    source : Source
    columns : sequence of str
        What `parse` wants, in its order.
    parse : callable
        Gets one text a column; raises `ValueError` for a row that is wrong.
    header : sequence of str, optional
        Names of the columns where the file has none. Default: the first line.
    what : str
        What the file should hold, for the message where it holds none.

    Yields
    ------
    line_number : int
    parsed

    Raises
    ------
    InputError
        A header without rows, or, if the source is strict, a bad row.
    """
    lines = read_lines(source.path, LINE_LENGTH_MAX)
    if header is None:
        number, first = next(lines)
        header = first.split(",")
        if not has_columns(header, columns):
            raise InputError(f"{source.path}:{number}: the header lacks {', '.join(columns)}")
    width, pick = len(header), itemgetter(*(header.index(name) for name in columns))
    problems, path = source.problems, source.path
    good_count = 0
    for number, line in lines:
        fields = line.split(",")
        try:
            if len(fields) != width:
                raise ValueError(f"expected {width} columns, found {len(fields)}")
            parsed = parse(*pick(fields))
        except ValueError as error:
            problems.bad_row(path, number, error)
            continue
        good_count += 1
        yield number, parsed
    if good_count == 0:
        bad = f"; the first row: {problems.lines[0]}" if problems.lines else ""
        raise InputError(f"{path}: no {what} in the file{bad}")
