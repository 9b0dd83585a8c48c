"""Open a feed file as a stream of text lines, whatever it is wrapped in.

A zip, a gzip, a zst, an xz and a plain file are told apart by their first bytes, never
by their name. Damage that shows only while reading (a bad checksum, a truncated
stream) becomes an `InputError` that names the file and the last good line.
"""

from __future__ import annotations

import gzip
import io
import lzma
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from engine.errors import InputError

_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
_GZIP_MAGIC = b"\x1f\x8b"
_XZ_MAGIC = b"\xfd7zXZ\x00"
_ZST_MAGIC = b"\x28\xb5\x2f\xfd"
_ZST_BYTES_AT_ONCE = 1 << 13
#: Read at once; a line longer than that is put together of several reads.
_BLOCK_BYTES = 1 << 16
#: Bytes of a file's beginning by which its format is told.
HEAD_LENGTH = 8192
#: A line longer than this is no row of any feed: the file is something else.
LINE_LENGTH_MAX = 8192

#: What reading a damaged, encrypted or oddly compressed archive raises (the last two kinds as
#: RuntimeError and its subclasses).
_DAMAGE: tuple[type[Exception], ...] = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError)


def read_lines(
    path: str | os.PathLike[str], line_length_max: int = LINE_LENGTH_MAX
) -> Iterator[tuple[int, str]]:
    """Stream the numbered, stripped, non-empty lines of a feed file.

    Parameters
    ----------
    path : str or path-like
        A zip with one table inside, a gzip, a zst, an xz, or a plain text file.
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
    for number, block in read_blocks(path, line_length_max):
        for line in block.split("\n"):
            if line:
                yield number, line
            number += 1


def read_blocks(
    path: str | os.PathLike[str], line_length_max: int = LINE_LENGTH_MAX
) -> Iterator[tuple[int, str]]:
    """Stream a feed file in blocks of whole lines, which end in `\\n`, as `read_lines` does.

    Yields
    ------
    line_number : int
        Of the first line of the block, from 1.
    block : str
        The last one may lack its line end.
    """
    name = os.fspath(path)
    number, rest = 1, b""
    try:
        with _unpacked(name) as raw:
            while piece := raw.read(_BLOCK_BYTES):
                piece = rest + piece
                end = piece.rfind(b"\n") + 1
                rest = piece[end:]
                if len(rest) >= line_length_max:
                    break
                if end:
                    block = _text(piece[:end])
                    _check_lengths(name, number, block, line_length_max)
                    yield number, block
                    number += block.count("\n")
    except _DAMAGE as error:
        where = f"after line {number - 1}" if number > 1 else "at its start"
        raise InputError(f"{name}: damaged or unreadable {where}: {_reason(error)}") from None
    if number == 1 and not rest:
        raise InputError(f"{name}: the file is empty")
    if rest:
        block = _text(rest)
        _check_lengths(name, number, block, line_length_max)
        yield number, block


def _text(piece: bytes) -> str:
    text = piece.decode("ascii", "surrogateescape")
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def _check_lengths(name: str, number: int, block: str, most: int) -> None:
    # A block shorter than a line may be has none that is longer.
    if len(block) < most:
        return
    for at, line in enumerate(block.split("\n"), number):
        if len(line) >= most:
            raise InputError(
                f"{name}:{at}: not a text table: no line end in {most} bytes")


@contextmanager
def open_unpacked(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a file's content for reading bytes; damage met in the block becomes `InputError`.

    Parameters
    ----------
    path : str or path-like

    Yields
    ------
    file
    """
    name = os.fspath(path)
    try:
        with _unpacked(name) as raw:
            yield raw
    except _DAMAGE as error:
        raise InputError(f"{name}: damaged or unreadable: {_reason(error)}") from None


def read_beginning(path: str | os.PathLike[str]) -> bytes:
    """Return the first bytes of a file as unpacked.

    Raises
    ------
    InputError
        Missing, unreadable, empty or damaged file.
    """
    name = os.fspath(path)
    try:
        with _unpacked(name) as raw:
            content = raw.read(HEAD_LENGTH)
    except _DAMAGE as error:
        raise InputError(
            f"{name}: damaged or unreadable at its start: {_reason(error)}"
        ) from None
    if not content:
        raise InputError(f"{name}: the file is empty")
    return content


def _stored_beginning(name: str) -> bytes:
    try:
        with open(name, "rb") as file:
            return file.read(8)
    except OSError as error:
        raise InputError(f"{name}: cannot open: {_reason(error)}") from None


def _unpacked(name: str) -> IO[bytes]:
    head = _stored_beginning(name)
    if head.startswith(_ZIP_MAGIC):
        return _open_zip_member(name)
    if head.startswith(_GZIP_MAGIC):
        return io.BufferedReader(gzip.open(name, "rb"), 1 << 16)
    if head.startswith(_XZ_MAGIC):
        return io.BufferedReader(lzma.open(name, "rb"), 1 << 16)
    if head.startswith(_ZST_MAGIC):
        return _open_zst(name)
    for ending, kind in ((".zip", "zip"), (".gz", "gzip"), (".xz", "xz"), (".zst", "zst")):
        if name.lower().endswith(ending):
            raise InputError(f"{name}: not a {kind} file")
    return open(name, "rb", 1 << 16)


def _open_zst(name: str) -> IO[bytes]:
    try:
        import zstandard
    except ImportError:
        raise InputError(
            f"{name}: reading zst needs the zstandard package: pip install 'perp-engine[feeds]'"
        ) from None
    global _DAMAGE
    if zstandard.ZstdError not in _DAMAGE:
        _DAMAGE = (*_DAMAGE, zstandard.ZstdError)
    return io.BufferedReader(_ZstFrames(name, zstandard.ZstdDecompressor()), 1 << 16)


class _ZstFrames(io.RawIOBase):
    """The frames of a zst file, one behind the other.

    The library's own reader takes a file that was cut off for one that has ended.
    """

    def __init__(self, name: str, decompressor: Any) -> None:
        self._file = open(name, "rb")  # noqa: SIM115 -- closed below
        self._decompressor = decompressor
        self._frame: Any = None
        self._packed = self._plain = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._plain:
            self._packed = self._packed or self._file.read(_ZST_BYTES_AT_ONCE)
            if not self._packed:
                if self._frame is not None:
                    raise EOFError("the file ends within a frame")
                return 0
            self._frame = self._frame or self._decompressor.decompressobj()
            self._plain, self._packed = self._frame.decompress(self._packed), b""
            if self._frame.eof:
                self._packed, self._frame = self._frame.unused_data, None
        count = min(len(buffer), len(self._plain))
        buffer[:count], self._plain = self._plain[:count], self._plain[count:]
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


def _open_zip_member(name: str) -> IO[bytes]:
    archive = zipfile.ZipFile(name)
    members = [entry for entry in archive.namelist() if not entry.endswith("/")]
    tables = [entry for entry in members if entry.lower().endswith(".csv")] or members
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
