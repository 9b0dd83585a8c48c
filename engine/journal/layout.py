"""The bytes of a journal: segment header, batch header, records. No files here.

docs/formats.md describes them byte for byte. Little-endian throughout.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from decimal import Decimal
from enum import IntEnum
from typing import Any, NamedTuple

import msgpack

from engine.batches import COMMAND_DTYPE, SPECIAL_DTYPE
from engine.journal.errors import JournalError

#: Version of the segment's own layout.
FORMAT_VERSION = 1
#: Version of the payloads: records and the commands in them. 2 brought packed records and inputs.
SCHEMA_VERSION = 2
#: Versions of payloads that are read.
SCHEMAS_READ = (1, 2)

SEGMENT_MAGIC = b"PERPJRNL"
BATCH_MAGIC = b"BTCH"
_SEGMENT = struct.Struct("<8sHH4xQQQ20xI")
_BATCH = struct.Struct("<4sHHQQQIIII")
SEGMENT_HEADER_SIZE = _SEGMENT.size
BATCH_HEADER_SIZE = _BATCH.size
_CHECKSUM_SIZE = 4

#: Largest payload of a batch that a reader takes for one, in bytes.
PAYLOAD_SIZE_MAX = 1 << 26
_UINT32_MAX = 2**32 - 1
_UINT64_MAX = 2**64 - 1


class Kind(IntEnum):
    """What a batch holds."""

    COMMANDS = 1
    CHECKPOINT = 2
    START = 3
    INPUTS = 4
    #: The hash of the state here follows later, in a batch of the kind after.
    HASH_BEGUN = 5
    HASH_KNOWN = 6


class SegmentHeader(NamedTuple):
    """Beginning of a segment file.

    Attributes
    ----------
    journal_id : int
        Chosen at random when the journal was made; the same in every segment and batch.
    first_seq : int
        Of the first command that may be in here.
    written_ns : int
        Wall clock, for people.
    schema : int
        Version of the payloads in it.
    """

    journal_id: int
    first_seq: int
    written_ns: int
    schema: int = SCHEMA_VERSION


class BatchHeader(NamedTuple):
    """Beginning of a batch.

    Attributes
    ----------
    kind : int
        A `Kind`, or one of a later version.
    journal_id : int
    seq : int
        Of the first command; of a batch without commands that of the last one before it.
    written_ns : int
        Wall clock, for people.
    command_count : int
        How many commands.
    size : int, bytes
        Of the payload.
    checksum : int
        CRC-32 of the payload.
    """

    kind: int
    journal_id: int
    seq: int
    written_ns: int
    command_count: int
    size: int
    checksum: int


class Batch(NamedTuple):
    """One batch as it was read, and where.

    Attributes
    ----------
    header : BatchHeader
    payload : bytes
    path : str
    offset : int
        Of the header in the file.
    """

    header: BatchHeader
    payload: bytes
    path: str
    offset: int

    @property
    def place(self) -> str:
        """File and offset, for messages."""
        return f"{self.path}: offset {self.offset}"

    @property
    def raw(self) -> bytes:
        """The batch as it is in the file, header and payload."""
        return write_batch(self.header, self.payload)

    @property
    def last_seq(self) -> int:
        """Of the last command in it or, without any, before it."""
        header = self.header
        return header.seq + max(0, header.command_count - 1)

    def entries(self) -> Iterator[Entry | PackedEntry]:
        """Yield the commands of the batch; packed ones that came together stay so.

        Raises
        ------
        JournalError
            The payload is not what its version says, though its checksum is right.
        """
        seq = self.header.seq
        for record in self._unpacked():
            entry: Entry | PackedEntry
            if _is_record(record):
                entry = Entry(seq, *record)
            elif _is_packed_record(record):
                entry = PackedEntry(seq, *record)
            else:
                raise JournalError(f"{self.place}: the record of seq {seq} is none")
            yield entry
            seq += entry.command_count
        if seq != self.header.seq + self.header.command_count:
            raise JournalError(
                f"{self.place}: {seq - self.header.seq} commands, the header says "
                f"{self.header.command_count}")

    def facts(self) -> dict[str, Any]:
        """Return the map that a batch without commands holds.

        Raises
        ------
        JournalError
        """
        found = list(self._unpacked())
        if len(found) != 1 or not isinstance(found[0], dict):
            raise JournalError(f"{self.place}: the payload is not one map")
        return found[0]

    def _unpacked(self) -> Iterator[Any]:
        unpacker = msgpack.Unpacker(max_buffer_size=max(1, len(self.payload)))
        end = 0
        try:
            unpacker.feed(self.payload)
            for each in unpacker:
                end = unpacker.tell()
                yield each
        except Exception as error:  # the unpacker has no common base class for bad input
            raise JournalError(f"{self.place}: not MessagePack: {type(error).__name__}") from None
        if end != len(self.payload):
            raise JournalError(f"{self.place}: the last record is not whole")


class Entry(NamedTuple):
    """One command of a journal.

    Attributes
    ----------
    seq : int
    stamp : int or None
        Engine time in ns that the server gave the command; None where it kept its own.
    client : str or None
        Who sent it; None for what the server itself did.
    request : int
        The client's number for it, 0 without a client.
    given : dict
        The command as it was sent.
    """

    seq: int
    stamp: int | None
    client: str | None
    request: int
    given: dict[str, Any]

    @property
    def command(self) -> dict[str, Any]:
        """The command as it was applied, its time included."""
        return self.given if self.stamp is None else {**self.given, "ts": self.stamp}

    @property
    def command_count(self) -> int:
        """How many commands it is."""
        return 1


class PackedEntry(NamedTuple):
    """Packed commands of a journal that came together.

    Attributes
    ----------
    seq : int
        Of the first; the following ones count on.
    stamp : int or None
        Engine time in ns that the server gave all of them; None where they kept their own.
    client : str or None
        Who sent them; None for what the server itself did.
    request : int
        The client's number for the first; the following ones count on.
    rows, specials : bytes
        As they were sent: tables of `engine.batches.COMMAND_DTYPE` and `SPECIAL_DTYPE`.
    """

    seq: int
    stamp: int | None
    client: str | None
    request: int
    rows: bytes
    specials: bytes

    @property
    def command_count(self) -> int:
        """How many commands they are."""
        return len(self.rows) // COMMAND_DTYPE.itemsize


def _has_head(record: list[Any]) -> bool:
    stamp, client, request = record[:3]
    return (
        (stamp is None or type(stamp) is int)
        and (client is None or isinstance(client, str)) and type(request) is int
    )


def _is_record(record: Any) -> bool:
    return (
        isinstance(record, list) and len(record) == 4 and _has_head(record)
        and isinstance(record[3], dict)
    )


def _is_packed_record(record: Any) -> bool:
    if not (isinstance(record, list) and len(record) == 5 and _has_head(record)):
        return False
    rows, specials = record[3:]
    return (
        isinstance(rows, bytes) and len(rows) > 0 and len(rows) % COMMAND_DTYPE.itemsize == 0
        and isinstance(specials, bytes) and len(specials) % SPECIAL_DTYPE.itemsize == 0
    )


def pack_command(command: Mapping[str, Any]) -> bytes:
    """Encode a command that fits its schema; the same command gives the same bytes.

    Notes
    -----
    A `Decimal`, or an integer beyond 64 bits, becomes the decimal string that means the same.
    """
    encoded: bytes = msgpack.packb(command, default=_as_text)
    return encoded


def _as_text(value: Any) -> str:
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, int):
        return str(value)
    raise TypeError(f"no part of a command: {type(value).__name__}")


# An array of four; its parts follow.
_ARRAY_OF_4 = b"\x94"


def make_record(stamp: int | None, client: str | None, request: int, command: bytes) -> bytes:
    """Encode one record; `command` is encoded already."""
    return b"".join((
        _ARRAY_OF_4, msgpack.packb(stamp), msgpack.packb(client), msgpack.packb(request), command,
    ))


def make_packed_record(
    stamp: int | None, client: str | None, request: int, rows: bytes, specials: bytes
) -> bytes:
    """Encode one record of packed commands."""
    encoded: bytes = msgpack.packb((stamp, client, request, rows, specials))
    return encoded


def make_batch(
    kind: Kind, journal_id: int, seq: int, written_ns: int, count: int, payload: bytes
) -> bytes:
    """Encode a batch, header and payload."""
    if len(payload) > PAYLOAD_SIZE_MAX or count > _UINT32_MAX:
        raise ValueError(f"a batch of {count} commands and {len(payload)} bytes is too large")
    return write_batch(BatchHeader(
        kind, journal_id, seq, written_ns, count, len(payload), zlib.crc32(payload)), payload)


def write_batch(header: BatchHeader, payload: bytes) -> bytes:
    """Encode a batch whose header is known."""
    kind, *fields = header
    head = _BATCH.pack(BATCH_MAGIC, kind, 0, *fields, 0)[:-_CHECKSUM_SIZE]
    return b"".join((head, zlib.crc32(head).to_bytes(_CHECKSUM_SIZE, "little"), payload))


def split_batches(data: bytes) -> Iterator[bytes]:
    """Yield batches that lie one behind the other, each whole and intact.

    Raises
    ------
    JournalError
        One of them is not.
    """
    at = 0
    while at < len(data):
        header = read_batch_header(data, at)
        begin = at + BATCH_HEADER_SIZE
        end = begin if header is None else begin + header.size
        if header is None or end > len(data) or zlib.crc32(data[begin:end]) != header.checksum:
            raise JournalError(f"offset {at} of {len(data)} bytes: not an intact batch")
        yield data[at:end]
        at = end


def read_batch_header(data: bytes | memoryview, offset: int) -> BatchHeader | None:
    """Decode the batch header at an offset; None where there is no intact one."""
    end = offset + BATCH_HEADER_SIZE
    if end > len(data) or data[offset:offset + len(BATCH_MAGIC)] != BATCH_MAGIC:
        return None
    fields = _BATCH.unpack_from(data, offset)
    if zlib.crc32(data[offset:end - _CHECKSUM_SIZE]) != fields[-1]:
        return None
    _, kind, _, journal_id, seq, written_ns, count, size, checksum, _ = fields
    return BatchHeader(kind, journal_id, seq, written_ns, count, size, checksum)


def make_segment_header(header: SegmentHeader) -> bytes:
    """Encode the header of a segment."""
    journal_id, first_seq, written_ns, schema = header
    head = _SEGMENT.pack(
        SEGMENT_MAGIC, FORMAT_VERSION, schema, journal_id, first_seq, written_ns, 0)
    head = head[:-_CHECKSUM_SIZE]
    return head + zlib.crc32(head).to_bytes(_CHECKSUM_SIZE, "little")


def read_segment_header(data: bytes | memoryview, path: str) -> SegmentHeader:
    """Decode and check the header of a segment.

    Raises
    ------
    JournalError
        Not intact, or of a version that is not known here.
    """
    if len(data) < SEGMENT_HEADER_SIZE or data[:len(SEGMENT_MAGIC)] != SEGMENT_MAGIC:
        raise JournalError(f"{path}: offset 0: not the header of a journal segment")
    _, version, schema, journal_id, first_seq, written_ns, checksum = _SEGMENT.unpack_from(data)
    if zlib.crc32(data[:SEGMENT_HEADER_SIZE - _CHECKSUM_SIZE]) != checksum:
        raise JournalError(f"{path}: offset 0: the segment header is damaged")
    if version != FORMAT_VERSION or schema not in SCHEMAS_READ:
        raise JournalError(
            f"{path}: format version {version}, schema version {schema}; this engine reads "
            f"{FORMAT_VERSION} and {SCHEMAS_READ[0]} to {SCHEMA_VERSION}")
    return SegmentHeader(journal_id, first_seq, written_ns, schema)
