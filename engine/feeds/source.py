"""What a reader is given, and what a format is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from engine.errors import InputError
from engine.feeds.problems import Problems
from engine.feeds.records import Record
from engine.feeds.steps import is_symbol


@dataclass(frozen=True)
class Head:
    """The beginning of a file, by which its format is told.

    Attributes
    ----------
    path : str
    content : bytes
        The first bytes once unpacked (zip, gzip, zst, xz).
    line : str
        The first line of the content that is not empty; "" where it is no text.
    """

    path: str
    content: bytes
    line: str

    @property
    def fields(self) -> list[str]:
        """The first line's fields."""
        return self.line.split(",")


@dataclass(frozen=True)
class Source:
    """A file to read, and what its reader may need beyond it.

    Attributes
    ----------
    path : str
    problems : Problems
    symbol : str or None
        For files that name none; a reader that needs it asks `named`.
    date_ns : int or None
        Midnight (UTC) of the day for files whose times begin there.
    """

    path: str
    problems: Problems = field(default_factory=Problems)
    symbol: str | None = None
    date_ns: int | None = None

    def named(self, pattern: re.Pattern[str]) -> str:
        """Return the symbol given, or else the first group of a pattern on the file's name."""
        found = pattern.match(Path(self.path).name)
        name = self.symbol or (found[1] if found else None)
        if name is None or not is_symbol(name):
            raise InputError(
                f"{self.path}: cannot tell the symbol from the file name; give --symbol NAME"
            )
        return name


@dataclass(frozen=True)
class Format:
    """A format of feed files.

    Attributes
    ----------
    name : str
        As summaries call it.
    sniff : callable
        Tells whether the beginning of a file is of this format.
    read : callable
        Streams the records; may be called again.
    symbol_pattern : re.Pattern, optional
        Where the file holds no symbol: finds it in the name.
    """

    name: str
    sniff: Callable[[Head], bool]
    read: Callable[[Source], Iterator[Record]]
    symbol_pattern: re.Pattern[str] | None = None
