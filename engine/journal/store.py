"""Append to a journal: one durable write a batch, segments, the tail of a crash cut off."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Any

import msgpack

from engine.clock import Clock
from engine.closing import Closing
from engine.journal.errors import JournalError, JournalWriteError
from engine.journal.layout import (
    BATCH_HEADER_SIZE,
    PAYLOAD_SIZE_MAX,
    SCHEMA_VERSION,
    SEGMENT_HEADER_SIZE,
    Batch,
    Kind,
    SegmentHeader,
    make_batch,
    make_segment_header,
    read_batch_header,
    read_segment_header,
)
from engine.journal.reader import (
    UNFINISHED_SUFFIX,
    JournalReader,
    check_follows,
    journal_identity,
    segment_name,
    segment_names,
)
from engine.journal.storage import Storage

#: Size of a segment file. Its zeros are written when it is begun, which took 20 to 50 ms.
SEGMENT_SIZE = 64 << 20
#: Bytes that a start writes over themselves at a time.
_COPIED_AT_ONCE = 1 << 20


class Durability(Enum):
    """When a batch is durable."""

    #: Each command, or message of packed ones, is a batch of its own.
    ALWAYS = "always"
    #: One write and one flush for whatever has been waiting.
    BATCH = "batch"
    #: Written, not flushed: survives the end of the process, not that of the machine.
    OFF = "off"


class Journal(Closing):
    """A journal that this process writes.

    Read it first, with `batches`, to its end; then `begin`, then append.

    Parameters
    ----------
    folder : str
        Made where it is missing.
    durability : Durability
    segment_size : int, bytes
        A larger batch gets a segment of its own.
    storage : Storage, optional
        Default: the real disk.
    clock : Clock, optional

    Raises
    ------
    JournalError
        Another process writes it, or it cannot be opened.

    Attributes
    ----------
    last_seq : int
        Of the last command that is durable.

    Notes
    -----
    After a write has failed nothing more is taken: what the disk holds of that batch is
    known only once the journal is read again.
    """

    def __init__(
        self, folder: str, *, durability: Durability = Durability.BATCH,
        segment_size: int = SEGMENT_SIZE, storage: Storage | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.folder = folder
        self.last_seq = 0
        self._durability = durability
        self._segment_size = segment_size
        self._storage = storage or Storage()
        self._clock = clock or Clock()
        self._reader = JournalReader(folder, self._storage)
        self._journal_id = 0
        self._segments: list[tuple[str, int]] = []
        self._handle: int | None = None
        self._offset = 0
        self._capacity = 0
        self._failure: str | None = None
        # Inputs stay in one segment with the commands that follow from them.
        self._is_bound = True
        self._lock: int | None = None
        try:
            self._storage.make_folder(folder)
            self._lock = self._storage.lock(folder)
        except FileExistsError:
            raise JournalError(f"{folder}: a file, not a folder") from None
        except OSError as error:
            raise JournalError(f"{folder}: cannot open: {_reason(error)}") from None

    @property
    def journal_id(self) -> int | None:
        """Random number of this journal; None while it has no segment."""
        return self._journal_id or journal_identity(self._storage, self.folder)

    def batches(self, after: int = 0) -> Iterator[Batch]:
        """Yield what is in the journal, to its end.

        Parameters
        ----------
        after : int
            Of a snapshot: segments that hold nothing after this `seq` are not read.

        Raises
        ------
        JournalError
            As `JournalReader.batches`.
        """
        self._reader = JournalReader(self.folder, self._storage, after)
        yield from self._reader.batches()
        self.last_seq = self._reader.last_seq

    def begin(self) -> str | None:
        """Make ready for appending, once `batches` has been read to the end.

        Returns
        -------
        str or None
            A line about the torn tail that was cut off.

        Raises
        ------
        JournalWriteError
        """
        reader, storage = self._reader, self._storage
        self._segments = reader.segments
        try:
            self._remove_unfinished()
            if reader.journal_id is None:
                self._journal_id = storage.new_identity()
                self._start_segment(self._segment_size)
                return None
            self._journal_id = reader.journal_id
            return self._continue_segment()
        except OSError as error:
            raise self._fail("cannot begin to write", error) from None

    def _remove_unfinished(self) -> None:
        for name in self._storage.names(self.folder):
            if name.endswith(UNFINISHED_SUFFIX):
                self._storage.remove(os.path.join(self.folder, name))

    def _continue_segment(self) -> str | None:
        reader, storage = self._reader, self._storage
        path = self._path
        self._handle = handle = storage.open(path, is_new=False)
        self._offset, self._capacity = reader.end, reader.size
        if reader.torn_bytes:
            storage.truncate(handle, reader.end)
            self._capacity = reader.end
        self._allocate(self._segment_size)
        # What a process wrote that ended before it could flush is in here, and counts from now.
        self._write_again(handle, reader.end)
        storage.sync(handle)
        # So is the name of a segment whose process ended before it could flush the folder.
        storage.sync_folder(self.folder)
        if reader.schema != SCHEMA_VERSION:
            self._raise_schema()
        if not reader.torn_bytes:
            return None
        return (
            f"{path}: offset {reader.end}: {reader.torn_bytes} bytes of a batch that was not "
            f"written whole are cut off; the journal ends at seq {self.last_seq}")

    def _write_again(self, handle: int, end: int) -> None:
        """Write what a segment holds over itself.

        After a failed flush the kernel takes pages for written that never got to the disk: they
        read well until the power goes, and another flush passes them over.
        """
        for at in range(0, end, _COPIED_AT_ONCE):
            part = self._storage.read_at(handle, min(_COPIED_AT_ONCE, end - at), at)
            self._storage.write(handle, part, at)

    def _raise_schema(self) -> None:
        """Go on in a segment that says what the payloads are from now on."""
        if self._segments[-1][1] <= self.last_seq:
            self._start_segment(self._segment_size)
            return
        # The next segment would have the name of this one, which has no command: it is
        # written again, beside, and takes its place.
        assert self._handle is not None
        storage, path = self._storage, self._path
        notes = storage.read(path)[SEGMENT_HEADER_SIZE:self._offset]
        handle = self._make_segment(path, self._capacity, notes, storage.replace)
        storage.close(self._handle)
        self._handle = handle

    @property
    def segment_seqs(self) -> list[int]:
        """The first `seq` of every segment, oldest first."""
        return [first_seq for _, first_seq in self._segments]

    @property
    def end(self) -> tuple[int, int]:
        """First `seq` of the newest segment, and the offset in it up to which all is durable."""
        return self._segments[-1][1], self._offset

    def adopt(self, journal_id: int, seq: int) -> None:
        """Become the beginning of a copy of another journal; everything here is removed.

        Parameters
        ----------
        journal_id : int
        seq : int
            Of the last command before: of a snapshot, or 0.

        Raises
        ------
        JournalWriteError
        """
        storage = self._storage
        try:
            self._close_segment()
            self._remove_unfinished()
            for name in segment_names(storage, self.folder):
                storage.remove(os.path.join(self.folder, name))
            self._segments = []
            self._journal_id, self.last_seq = journal_id, seq
            self._start_segment(self._segment_size)
        except OSError as error:
            raise self._fail("cannot begin to write", error) from None

    def append_batch(self, raw: bytes) -> Batch:
        """Append a batch of another copy of this journal as it is, and return once it is durable.

        Parameters
        ----------
        raw : bytes
            Header and payload, intact.

        Raises
        ------
        JournalError
            It does not follow; nothing is written.
        JournalWriteError
        """
        header = read_batch_header(raw, 0)
        assert header is not None
        check_follows(header, self._journal_id, self.last_seq, f"the batch after {self._path}")
        self._put(raw, header.kind, header.seq, header.command_count)
        self.last_seq += header.command_count
        return Batch(header, raw[BATCH_HEADER_SIZE:], self._path, self._offset - len(raw))

    def cut_off(self, batch: Batch) -> None:
        """Take back a batch without commands, and those behind it, from the end of the journal.

        Raises
        ------
        JournalWriteError
        """
        storage = self._storage
        try:
            while self._path != batch.path:
                self._close_segment()
                storage.remove(self._path)
                self._segments.pop()
            if self._handle is None:
                self._handle = storage.open(self._path, is_new=False)
            storage.truncate(self._handle, batch.offset)
            self._offset = self._capacity = batch.offset
            self._allocate(self._segment_size)
            storage.sync(self._handle)
            storage.sync_folder(self.folder)
            head = storage.read(self._path)[:SEGMENT_HEADER_SIZE]
            if read_segment_header(head, self._path).schema != SCHEMA_VERSION:
                self._raise_schema()
        except OSError as error:
            raise self._fail("cannot cut off", error) from None

    def _close_segment(self) -> None:
        if self._handle is not None:
            self._storage.close(self._handle)
            self._handle = None

    def append(
        self, records: Sequence[bytes], counts: Sequence[int] | None = None
    ) -> None:
        """Append commands and return once they are durable.

        Parameters
        ----------
        records : sequence of bytes
            Of `engine.journal.layout.make_record` or `make_packed_record`; their commands get
            the next numbers in order.
        counts : sequence of int, optional
            How many commands each record has. Default: one each.

        Raises
        ------
        JournalWriteError
            They may be in the journal or not; nothing after them is taken.
        """
        if self._durability is Durability.ALWAYS:
            groups: Iterable[tuple[int, int]] = ((at, at + 1) for at in range(len(records)))
        else:
            groups = _groups(records)
        for begin, end in groups:
            payload = b"".join(records[begin:end])
            count = end - begin if counts is None else sum(counts[begin:end])
            self._write(Kind.COMMANDS, self.last_seq + 1, count, payload)
            self.last_seq += count

    def note(self, kind: Kind, facts: Mapping[str, Any], *, is_flushed: bool = True) -> None:
        """Append a batch without commands: a checkpoint, the start of a server, inputs.

        Parameters
        ----------
        kind : Kind
        facts : mapping
        is_flushed : bool
            Otherwise it is durable with the next batch that is.

        Raises
        ------
        JournalWriteError
        """
        self._write(kind, self.last_seq, 0, msgpack.packb(facts), is_flushed=is_flushed)

    def _write(
        self, kind: Kind, seq: int, count: int, payload: bytes, *, is_flushed: bool = True
    ) -> None:
        batch = make_batch(kind, self._journal_id, seq, self._clock.time_ns(), count, payload)
        self._put(batch, kind, seq, count, is_flushed=is_flushed)

    def _put(
        self, batch: bytes, kind: int, seq: int, count: int, *, is_flushed: bool = True
    ) -> None:
        """Write a batch, and return once it is durable, if it is to be."""
        if self._handle is None or self._failure is not None:
            raise JournalWriteError(self._failure or f"{self.folder}: not open for writing")
        try:
            # A segment without a command would leave its name to the next one: it grows instead.
            is_full = self._offset + len(batch) > self._segment_size
            if is_full and self._segments[-1][1] < seq and not self._is_bound:
                self._start_segment(max(self._segment_size, SEGMENT_HEADER_SIZE + len(batch)))
            end = self._offset + len(batch)
            self._allocate(end)
            self._storage.write(self._handle, batch, self._offset)
            if is_flushed and self._durability is not Durability.OFF:
                self._storage.sync(self._handle)
        except OSError as error:
            what = f"seq {seq}" if count <= 1 else f"seq {seq} to {seq + count - 1}"
            failure = self._fail(f"offset {self._offset}: cannot write {what}", error)
            self._cut_off()
            raise failure from None
        self._offset = end
        if kind != Kind.START:
            self._is_bound = kind == Kind.INPUTS

    def _start_segment(self, size: int) -> None:
        """Begin the next segment."""
        storage = self._storage
        name = segment_name(self.last_seq + 1)
        path = os.path.join(self.folder, name)
        handle = self._make_segment(path, size, b"", storage.rename)
        if self._handle is not None:
            storage.truncate(self._handle, self._offset)
            storage.close(self._handle)
        self._handle = handle
        self._offset, self._capacity = SEGMENT_HEADER_SIZE, size
        self._segments.append((name, self.last_seq + 1))

    def _make_segment(
        self, path: str, size: int, notes: bytes, put: Callable[[str, str], None]
    ) -> int:
        """Write the header and what follows it; the file is put at its path once it is whole."""
        storage, unfinished = self._storage, path + UNFINISHED_SUFFIX
        handle = storage.open(unfinished, is_new=True)
        try:
            header = SegmentHeader(self._journal_id, self.last_seq + 1, self._clock.time_ns())
            storage.allocate(handle, 0, size)
            storage.write(handle, make_segment_header(header) + notes, 0)
            storage.sync(handle)
            put(unfinished, path)
            storage.sync_folder(self.folder)
        except OSError:
            storage.close(handle)
            self._discard(unfinished)
            raise
        return handle

    def _discard(self, path: str) -> None:
        try:
            self._storage.remove(path)
        except OSError:
            pass  # removed when the journal is opened again

    def _allocate(self, size: int) -> None:
        assert self._handle is not None
        if size > self._capacity:
            self._storage.allocate(self._handle, self._capacity, size)
            self._capacity = size

    def flush(self) -> None:
        """Make durable what was only written, whatever the durability is.

        Raises
        ------
        JournalWriteError
        """
        if self._handle is None or self._failure is not None:
            raise JournalWriteError(self._failure or f"{self.folder}: not open for writing")
        try:
            self._storage.sync(self._handle)
        except OSError as error:
            raise self._fail("cannot flush", error) from None

    def drop_segments(self, seq: int) -> list[str]:
        """Remove the segments that hold nothing after a command, oldest first.

        Parameters
        ----------
        seq : int
            Of a snapshot: what it includes need not be replayed.

        Returns
        -------
        list of str
            Names of the files removed. The newest segment always stays.

        Raises
        ------
        JournalWriteError
        """
        removed = []
        try:
            while len(self._segments) > 1 and self._segments[1][1] <= seq + 1:
                name = self._segments[0][0]
                self._storage.remove(os.path.join(self.folder, name))
                removed.append(self._segments.pop(0)[0])
            if removed:
                self._storage.sync_folder(self.folder)
        except OSError as error:
            raise self._fail("cannot remove old segments", error) from None
        return removed

    def close(self) -> None:
        """Give the journal back; nothing is written by this."""
        for handle in (self._handle, self._lock):
            if handle is not None:
                self._storage.close(handle)
        self._handle = self._lock = None

    @property
    def _path(self) -> str:
        name = self._segments[-1][0] if self._segments else segment_name(self.last_seq + 1)
        return os.path.join(self.folder, name)

    def _fail(self, what: str, error: OSError) -> JournalWriteError:
        self._failure = f"{self._path}: {what}: {_reason(error)}"
        return JournalWriteError(self._failure)

    def _cut_off(self) -> None:
        """Take a batch back that failed, where the disk lets us; reading copes if it does not."""
        assert self._handle is not None
        try:
            self._storage.truncate(self._handle, self._offset)
        except OSError:
            pass


def _groups(records: Sequence[bytes]) -> Iterator[tuple[int, int]]:
    """Yield (begin, end) of what goes into one batch; too much for one is split."""
    begin = size = 0
    for at, record in enumerate(records):
        if at > begin and size + len(record) > PAYLOAD_SIZE_MAX:
            yield begin, at
            begin, size = at, 0
        size += len(record)
    if begin < len(records):
        yield begin, len(records)


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
