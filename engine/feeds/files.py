"""Open a feed file as a stream of text lines, whatever it is wrapped in.

A zip, a gzip and a plain file are told apart by their first bytes, never by
their name. Damage that shows only while reading (a bad checksum, a truncated
stream) becomes an `InputError` that names the file and the last good line.
"""

from __future__ import annotations

import gzip
import io
import os
import zipfile
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO

from engine.errors import InputError

_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
_GZIP_MAGIC = b"\x1f\x8b"
#: A line longer than this is no row of any feed: the file is something else.
LINE_LENGTH_MAX = 8192

#: What reading a damaged, encrypted or oddly compressed archive raises (the last two kinds as
#: RuntimeError and its subclasses).
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError)


def read_lines(
    path: str | os.PathLike[str], line_length_max: int = LINE_LENGTH_MAX
) -> Iterator[tuple[int, str]]:
    """Stream the numbered, stripped, non-empty lines of a feed file.

    Parameters
    ----------
    path : str or path-like
        A zip with one .csv inside, a gzip, or a plain text file.
    line_length_max : int, bytes
        A longer line ends the reading, so memory stays bounded whatever the file is.

    Yields
    ------
    line_number : int
        From 1.
    line : str
        Without its line end. Bytes that are not ASCII come out as surrogates,
        which no field check lets through.

    Raises
    ------
    InputError
        Missing, unreadable, empty or damaged file, or an endless line.
    """
    name = os.fspath(path)
    number = 0
    try:
        with _open_bytes(name) as raw:
            with io.TextIOWrapper(raw, "ascii", errors="surrogateescape") as text:
                # Not `for line in text`, which would read a line of any length into memory.
                for line in iter(partial(text.readline, line_length_max), ""):
                    number += 1
                    if len(line) == line_length_max and line[-1] != "\n":
                        raise InputError(
                            f"{name}:{number}: not a text table: no line end in "
                            f"{line_length_max} bytes"
                        )
                    line = line.rstrip("\r\n")
                    if line:
                        yield number, line
    except _DAMAGE as error:
        where = f"after line {number}" if number else "at its start"
        raise InputError(f"{name}: damaged or unreadable {where}: {_reason(error)}") from None
    if number == 0:
        raise InputError(f"{name}: the file is empty")


def _open_bytes(name: str) -> IO[bytes]:
    try:
        with open(name, "rb") as file:
            head = file.read(4)
    except OSError as error:
        raise InputError(f"{name}: cannot open: {_reason(error)}") from None
    if head.startswith(_ZIP_MAGIC):
        return _open_zip_member(name)
    if head.startswith(_GZIP_MAGIC):
        return io.BufferedReader(gzip.open(name, "rb"), 1 << 16)
    if name.lower().endswith(".zip"):
        raise InputError(f"{name}: not a zip file")
    if name.lower().endswith(".gz"):
        raise InputError(f"{name}: not a gzip file")
    return open(name, "rb", 1 << 16)


def _open_zip_member(name: str) -> IO[bytes]:
    archive = zipfile.ZipFile(name)
    members = [entry for entry in archive.namelist() if not entry.endswith("/")]
    tables = [entry for entry in members if entry.lower().endswith(".csv")]
    if not members:
        raise InputError(f"{name}: the zip is empty")
    if len(tables) != 1:
        raise InputError(f"{name}: expected one .csv in the zip, found {len(tables)}")
    return io.BufferedReader(archive.open(tables[0]), 1 << 16)  # type: ignore[type-var]


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return " ".join(str(error).split()) or type(error).__name__


def file_label(path: str | os.PathLike[str]) -> str:
    """Return the name by which outputs call a feed file: its last path component."""
    return Path(path).name
