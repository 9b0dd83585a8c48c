"""A disk in memory that forgets what was not flushed, and fails when it is told to."""

from __future__ import annotations

import errno
import os
from random import Random

from engine.journal import JournalError, Storage

SECTOR = 64


class PowerCut(Exception):
    """The machine is gone; only `Disk.after_power_cut` knows what is left."""


class _File:
    def __init__(self, data: bytes = b"") -> None:
        self.data = bytearray(data)
        self.durable = bytes(data)
        self.dirty: set[int] = set()  # sectors written since the last flush, also a failed one

    def flush(self) -> None:
        """Bring what is dirty to the disk; a sector that a failed flush took for done is not."""
        durable = bytearray(self.durable[:len(self.data)].ljust(len(self.data), b"\0"))
        for sector in self.dirty:
            span = slice(sector * SECTOR, min((sector + 1) * SECTOR, len(self.data)))
            durable[span] = self.data[span]
        self.durable = bytes(durable)
        self.dirty.clear()


class Disk(Storage):
    """Files in memory under the interface of `Storage`.

    Parameters
    ----------
    fail_at : int
        Number of the operation, from 1, that goes wrong; 0 is none.
    mode : {"error", "torn", "cut"}
        It fails and does nothing (a flush that fails leaves nothing to flush, as in Linux); it is
        done by half and the power goes; the power goes before it.
    code : int
        `errno` of mode "error". Of ENOSPC every later write and allocation fails, too.
    """

    def __init__(self, fail_at: int = 0, mode: str = "cut", code: int = errno.EIO) -> None:
        self._fail_at = fail_at
        self._mode = mode
        self._code = code
        self.operation_count = 0
        self.log: list[str] = []
        self._names: dict[str, _File] = {}
        self._durable_names: dict[str, _File] = {}
        self._handles: dict[int, _File] = {}
        self._locked: set[str] = set()
        self._is_full = False

    def _operation(self, name: str) -> bool:
        """Count one; tell whether it is to be done by half."""
        self.operation_count += 1
        self.log.append(name)
        if self._is_full and name in ("write", "allocate", "create"):
            raise OSError(self._code, os.strerror(self._code))
        if self.operation_count != self._fail_at:
            return False
        if self._mode == "error":
            self._is_full = self._code == errno.ENOSPC
            raise OSError(self._code, os.strerror(self._code))
        if self._mode == "cut":
            raise PowerCut
        return True

    def make_folder(self, folder: str) -> None:
        pass

    def lock(self, folder: str) -> int:
        if folder in self._locked:
            raise JournalError(f"{folder}: another process writes this journal")
        self._locked.add(folder)
        return -1

    def names(self, folder: str) -> list[str]:
        return [os.path.basename(path) for path in self._names]

    def read(self, path: str) -> bytes:
        return bytes(self._names[path].data)

    def open(self, path: str, *, is_new: bool) -> int:
        if is_new:
            assert path not in self._names
            if self._operation("create"):
                raise PowerCut
            self._names[path] = _File()
        handle = len(self._handles) + 1
        self._handles[handle] = self._names[path]
        return handle

    def allocate(self, handle: int, start: int, end: int) -> None:
        assert start < end
        is_torn = self._operation("allocate")
        self._put(handle, bytes((end - start) // (2 if is_torn else 1)), start)
        if is_torn:
            raise PowerCut

    def write(self, handle: int, data: bytes, offset: int) -> None:
        is_torn = self._operation("write")
        self._put(handle, data[:len(data) // 2] if is_torn else data, offset)
        if is_torn:
            raise PowerCut

    def _put(self, handle: int, data: bytes, offset: int) -> None:
        file = self._handles[handle]
        file.data.extend(bytes(max(0, offset + len(data) - len(file.data))))
        file.data[offset:offset + len(data)] = data
        file.dirty.update(range(offset // SECTOR, (offset + len(data) - 1) // SECTOR + 1))

    def read_at(self, handle: int, size: int, offset: int) -> bytes:
        return bytes(self._handles[handle].data[offset:offset + size])

    def sync(self, handle: int) -> None:
        file = self._handles[handle]
        try:
            if self._operation("sync"):
                raise PowerCut
        except OSError:
            file.dirty.clear()
            raise
        file.flush()

    def truncate(self, handle: int, size: int) -> None:
        if self._operation("truncate"):
            raise PowerCut
        file = self._handles[handle].data
        assert size <= len(file)
        del file[size:]

    def close(self, handle: int) -> None:
        if handle < 0:
            self._locked.clear()

    def rename(self, old: str, new: str) -> None:
        if self._operation("rename"):
            raise PowerCut
        assert new not in self._names, f"{new} would be replaced"
        self._names[new] = self._names.pop(old)

    def replace(self, old: str, new: str) -> None:
        if self._operation("replace"):
            raise PowerCut
        assert new in self._names
        self._names[new] = self._names.pop(old)

    def remove(self, path: str) -> None:
        if self._operation("remove"):
            raise PowerCut
        if path not in self._names:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        del self._names[path]

    def sync_folder(self, folder: str) -> None:
        if self._operation("sync_folder"):
            raise PowerCut
        self._durable_names = dict(self._names)

    def with_another_process(self) -> Disk:
        """The same files, in the kernel and on the disk, under a process of their own."""
        after = Disk()
        after._names, after._durable_names = dict(self._names), dict(self._durable_names)
        return after

    def after_restart(self) -> Disk:
        """What a new process finds when the old one ended: everything written."""
        after = Disk()
        after._names = {name: _File(bytes(file.data)) for name, file in self._names.items()}
        # A name that was not flushed is in the kernel alone.
        after._durable_names = {
            name: after._names[name] for name in self._durable_names if name in after._names}
        return after

    def after_power_cut(self, random: Random) -> Disk:
        """What the machine finds when it is back: some sectors and names of what was not flushed.

        Names are either as they were flushed or as they were last, all of them: a folder's
        changes reach the disk in order.
        """
        names = self._names if random.random() < 0.5 else self._durable_names
        after = Disk()
        for name, file in names.items():
            after._names[name] = _File(_mixed(file, random))
        after._durable_names = dict(after._names)
        return after


def _mixed(file: _File, random: Random) -> bytes:
    """Each sector as it was flushed, or as it was written last."""
    old, new = file.durable, bytes(file.data)
    size = len(old) if random.random() < 0.5 else len(new)
    parts = []
    for at in range(0, size, SECTOR):
        end = min(at + SECTOR, size)
        source = old if random.random() < 0.5 else new
        parts.append(source[at:end].ljust(end - at, b"\0"))
    return b"".join(parts)
