"""Read a journal from its beginning: every batch in order, or a message that says where it ends.

Only one batch is on its way to the disk at a time, so a crash can harm nothing but the last
one. What is not intact is a torn tail if nothing written later follows it, and damage otherwise.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterator

from engine.journal.errors import JournalError
from engine.journal.layout import (
    BATCH_HEADER_SIZE,
    BATCH_MAGIC,
    SCHEMA_VERSION,
    SEGMENT_HEADER_SIZE,
    Batch,
    BatchHeader,
    Kind,
    read_batch_header,
    read_segment_header,
)
from engine.journal.storage import Storage

_SEGMENT_NAME = re.compile(r"([0-9]{20})\.journal")
#: A segment that was being made when its process ended.
UNFINISHED_SUFFIX = ".new"
_FIRST_SEQ_MAX = 2**63 - 1


def segment_name(first_seq: int) -> str:
    """Return the file name of a segment."""
    return f"{first_seq:020d}.journal"


def first_seq_of(name: str) -> int:
    """Return the `seq` in the file name of a segment."""
    return int(name[:20])


def journal_identity(storage: Storage, folder: str) -> int | None:
    """Return the id of a journal by the header of its newest segment, None where there is none.

    Raises
    ------
    JournalError
    """
    try:
        names = segment_names(storage, folder)
        if not names:
            return None
        path = os.path.join(folder, names[-1])
        return read_segment_header(storage.read(path)[:SEGMENT_HEADER_SIZE], path).journal_id
    except OSError as error:
        raise JournalError(f"{folder}: cannot read: {(error.strerror or '').lower()}") from None


def segment_names(storage: Storage, folder: str) -> list[str]:
    """Return the names of a journal's segments in order."""
    return sorted(name for name in storage.names(folder) if _SEGMENT_NAME.fullmatch(name))


def check_follows(header: BatchHeader, journal_id: int, last_seq: int, place: str) -> None:
    """Check that a batch is the next one of a journal that ends at a command.

    Raises
    ------
    JournalError
    """
    if header.journal_id != journal_id:
        raise JournalError(f"{place}: a batch of another journal")
    if header.kind not in list(Kind):
        raise JournalError(
            f"{place}: a batch of kind {header.kind}, which this engine does not know")
    is_commands = header.kind == Kind.COMMANDS
    expected = last_seq + (1 if is_commands else 0)
    if header.seq != expected or is_commands != (header.command_count > 0):
        raise JournalError(
            f"{place}: damaged: a batch of seq {header.seq}, expected {expected}")
    if header.seq + header.command_count > _FIRST_SEQ_MAX:
        raise JournalError(f"{place}: damaged: seq {header.seq} is out of range")


class JournalReader:
    """Goes through a journal once.

    Parameters
    ----------
    folder : str
    storage : Storage
    after : int
        A `seq` up to which nothing is needed: segments that hold nothing later are not read.

    Attributes
    ----------
    first_seq : int
        Of the first command there is, or could be, in what is read.
    last_seq : int
        Of the last command read.
    journal_id : int or None
        None as long as there is no segment.
    segments : list of (str, int)
        Names, and the first `seq` that each may hold.
    schema : int
        Version of the last segment's payloads.
    end : int
        Offset in the last segment at which the next batch belongs.
    size : int, bytes
        Of the last segment's file.
    torn_bytes : int
        What lies behind it and is no batch: a write that was cut short.

    Notes
    -----
    Changes nothing. While another process appends, it sees what was whole at that moment.
    """

    def __init__(self, folder: str, storage: Storage, after: int = 0) -> None:
        self._folder = folder
        self._storage = storage
        self._after = after
        self.first_seq = 1
        self.last_seq = 0
        self.journal_id: int | None = None
        self.segments: list[tuple[str, int]] = []
        self.schema = SCHEMA_VERSION
        self.end = 0
        self.size = 0
        self.torn_bytes = 0

    def batches(self) -> Iterator[Batch]:
        """Yield every batch in order.

        Raises
        ------
        JournalError
            Damage, a missing segment, another version; file and offset are named.
        """
        try:
            names = segment_names(self._storage, self._folder)
            while len(names) > 1 and first_seq_of(names[1]) <= self._after + 1:
                self.segments.append((names[0], first_seq_of(names[0])))
                del names[0]
            for name in names:
                path = os.path.join(self._folder, name)
                yield from self._segment(name, path, is_last=name == names[-1])
        except OSError as error:
            where = error.filename or self._folder
            reason = (error.strerror or str(error)).lower()
            raise JournalError(f"{where}: cannot read: {reason}") from None

    def _segment(self, name: str, path: str, *, is_last: bool) -> Iterator[Batch]:
        data = self._storage.read(path)
        header = read_segment_header(data, path)
        if name != segment_name(header.first_seq):
            raise JournalError(f"{path}: the header says that it begins at seq {header.first_seq}")
        if self.journal_id is None:
            self.journal_id = header.journal_id
            self.first_seq = header.first_seq
            self.last_seq = header.first_seq - 1
        if header.journal_id != self.journal_id:
            raise JournalError(f"{path}: offset 0: a segment of another journal")
        if header.first_seq != self.last_seq + 1:
            raise JournalError(
                f"{path}: begins at seq {header.first_seq}, the segment before it ends at "
                f"{self.last_seq}: something is missing")
        self.segments.append((name, header.first_seq))
        self.schema = header.schema
        offset = SEGMENT_HEADER_SIZE
        while batch := self._batch(data, path, offset):
            self._follow(batch)
            offset += BATCH_HEADER_SIZE + batch.header.size
            yield batch
        self.end, self.size = offset, len(data)
        self.torn_bytes = len(data[offset:].rstrip(b"\0"))
        if self.torn_bytes:
            if not is_last:
                raise JournalError(f"{path}: offset {offset}: damaged: later segments follow")
            self._check_tail(data, path, offset)

    def _batch(self, data: bytes, path: str, offset: int) -> Batch | None:
        """Return the batch at an offset, None where there is no intact one."""
        header = read_batch_header(data, offset)
        if header is None:
            return None
        begin = offset + BATCH_HEADER_SIZE
        payload = data[begin:begin + header.size]
        if len(payload) != header.size or zlib.crc32(payload) != header.checksum:
            return None
        return Batch(header, payload, path, offset)

    def _follow(self, batch: Batch) -> None:
        assert self.journal_id is not None
        check_follows(batch.header, self.journal_id, self.last_seq, batch.place)
        self.last_seq += batch.header.command_count

    def _check_tail(self, data: bytes, path: str, offset: int) -> None:
        """Refuse a tail behind which something was written: then it had been whole."""
        at = data.find(BATCH_MAGIC, offset + 1)
        while at >= 0:
            later = read_batch_header(data, at)
            if later is not None and self._is_own(later):
                raise JournalError(
                    f"{path}: offset {offset}: damaged: the batch after seq {self.last_seq} is "
                    f"not intact, and one of seq {later.seq} follows at offset {at}")
            at = data.find(BATCH_MAGIC, at + 1)
        header = read_batch_header(data, offset)
        if header and self._is_own(header) and self.torn_bytes > BATCH_HEADER_SIZE + header.size:
            raise JournalError(f"{path}: offset {offset}: damaged: more follows the batch")

    def _is_own(self, header: BatchHeader) -> bool:
        return header.journal_id == self.journal_id
