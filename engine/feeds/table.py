"""Tables of comma-separated values: columns found by name or by place, row after row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from operator import itemgetter
from typing import TypeVar

from engine.errors import InputError
from engine.feeds.files import LINE_LENGTH_MAX, read_blocks
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
    parse_block: Callable[[str], list[_T] | None] | None = None,
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
    parse_block : callable, optional
        Gets many whole lines, and returns a parsed row for each of them if all are as `columns`
        say and good, else None: then `parse` looks at each, and says what is wrong.

    Yields
    ------
    line_number : int
    parsed

    Raises
    ------
    InputError
        A header without rows, or, if the source is strict, a bad row.
    """
    blocks = read_blocks(source.path, LINE_LENGTH_MAX)
    first_number, rest = next(blocks)
    if header is None:
        first_number += len(rest) - len(rest.lstrip("\n"))
        first, _, rest = rest.lstrip("\n").partition("\n")
        header = first.split(",")
        if not has_columns(header, columns):
            raise InputError(
                f"{source.path}:{first_number}: the header lacks {', '.join(columns)}")
        first_number += 1
    width, pick = len(header), itemgetter(*(header.index(name) for name in columns))
    if tuple(header) != tuple(columns):
        parse_block = None
    problems, path = source.problems, source.path
    good_count = 0
    for start, block in chain([(first_number, rest)], blocks):
        rows = parse_block(block) if parse_block is not None else None
        if rows is not None:
            good_count += len(rows)
            yield from enumerate(rows, start)
            continue
        for number, line in enumerate(block.split("\n"), start):
            if not line:
                continue
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
