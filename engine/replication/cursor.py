"""Read the batches of a journal as bytes, from after a command, while a server goes on writing.

The file is read up to where the journal says that everything is durable, so whoever follows
closely reads from the page cache what was just written, and nothing has to be kept for him.
"""

from __future__ import annotations

import os

from engine.journal import Journal, JournalError, Storage
from engine.journal.layout import BATCH_HEADER_SIZE, SEGMENT_HEADER_SIZE, read_batch_header
from engine.journal.reader import segment_name


class JournalCursor:
    """A place in a journal that moves on.

    Parameters
    ----------
    journal : Journal
        Open for writing in this process.
    storage : Storage
    after : int
        The `seq` after which to begin: with the batches without commands that follow it.

    Attributes
    ----------
    place : tuple of int
        First `seq` of the segment, and the offset in it, of what comes next.
    is_searching : bool
        It has not come to its beginning yet.
    """

    def __init__(self, journal: Journal, storage: Storage, after: int) -> None:
        first_seq = max(
            first for first in journal.segment_seqs if first <= max(after, 1))
        self.place = (first_seq, SEGMENT_HEADER_SIZE)
        self.is_searching = after > 0
        self._journal = journal
        self._storage = storage
        self._after = after
        self._handle: int | None = None

    @staticmethod
    def can_begin(journal: Journal, after: int) -> bool:
        """Tell whether the journal still has what comes after a command, and the command."""
        return journal.segment_seqs[0] <= max(after, 1)

    def close(self) -> None:
        """Close the file."""
        if self._handle is not None:
            self._storage.close(self._handle)
            self._handle = None

    def read(self, size_max: int) -> bytes:
        """Return the next batches, whole; nothing where there is none, or it is searching.

        Parameters
        ----------
        size_max : int, bytes
            Of what is read; a batch that is larger is returned by itself.

        Raises
        ------
        JournalError
            The file is not what was written.
        """
        data = self._read_here(size_max)
        end = self._end_of_batches(data)
        if end == 0:
            data = self._read_large_batch(data)
            end = len(data)
        if end == 0:
            self._go_on()
            return b""
        begin = self._begin_in(data, end) if self.is_searching else 0
        first_seq, offset = self.place
        self.place = (first_seq, offset + end)
        return data[begin:end]

    def _read_here(self, size: int) -> bytes:
        first_seq, offset = self.place
        if self._handle is None:
            self._handle = self._storage.open_for_reading(self._path)
        newest_seq, end = self._journal.end
        if first_seq == newest_seq:
            size = min(size, end - offset)
        return self._storage.read_at(self._handle, size, offset)

    @property
    def _path(self) -> str:
        return os.path.join(self._journal.folder, segment_name(self.place[0]))

    def _end_of_batches(self, data: bytes) -> int:
        end = 0
        while header := read_batch_header(data, end):
            size = BATCH_HEADER_SIZE + header.size
            if end + size > len(data):
                break
            end += size
        return end

    def _read_large_batch(self, data: bytes) -> bytes:
        """Return the batch that begins in the data and does not end there, whole."""
        if not data:
            return b""
        header = read_batch_header(data, 0)
        if header is None:
            if self.place[0] != self._journal.end[0] and not data.rstrip(b"\0"):
                return b""  # zeros behind the last batch of a segment that is done
            raise JournalError(f"{self._path}: offset {self.place[1]}: a batch is not intact")
        size = BATCH_HEADER_SIZE + header.size
        data = self._read_here(size)
        if len(data) < size:
            raise JournalError(f"{self._path}: offset {self.place[1]}: a batch is not whole")
        return data

    def _begin_in(self, data: bytes, end: int) -> int:
        """Return where the batches behind the command begin; `end` while that is further on."""
        at = 0
        while at < end and (header := read_batch_header(data, at)):
            last_seq = header.seq + max(0, header.command_count - 1)
            if header.seq > self._after:
                self.is_searching = False
                return at
            at += BATCH_HEADER_SIZE + header.size
            if header.command_count and last_seq >= self._after:
                if last_seq > self._after:
                    raise JournalError(
                        f"{self._path}: seq {self._after} is not the end of a batch here")
                self.is_searching = False
                return at
        return end

    def _go_on(self) -> None:
        """Turn to the next segment, if there is one."""
        later = [first for first in self._journal.segment_seqs if first > self.place[0]]
        if later:
            self.close()
            self.place = (later[0], SEGMENT_HEADER_SIZE)
