"""The operating system under a journal: every call that can fail, in one small class.

Tests put another one in its place that fails, tears or loses the N-th write.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets

from engine.journal.errors import JournalError

_LOCK_NAME = "LOCK"
_ZEROS = bytes(1 << 20)


class Storage:
    """Files and folders of the real disk."""

    def make_folder(self, folder: str) -> None:
        """Make a folder, and its parents, where it is missing; its name is durable then."""
        at = os.path.abspath(folder)
        parents = [os.path.dirname(at)]
        while not os.path.isdir(parents[-1]):
            parents.append(os.path.dirname(parents[-1]))
        os.makedirs(folder, exist_ok=True)
        # Even of one that is there: who made it may have ended before this.
        for parent in reversed(parents):
            try:
                self.sync_folder(parent)
            except PermissionError:
                pass  # not to be opened; what is in it can be used all the same

    def new_identity(self) -> int:
        """Return a number for a new journal that no other one has."""
        return secrets.randbits(63)

    def lock(self, folder: str) -> int:
        """Take a folder for writing; no other process gets it until `close`, or until the end.

        Raises
        ------
        JournalError
            Somebody has it.
        """
        path = os.path.join(folder, _LOCK_NAME)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise
            raise JournalError(f"{folder}: another process writes this journal") from None
        return handle

    def names(self, folder: str) -> list[str]:
        """List a folder."""
        return os.listdir(folder)

    def read(self, path: str) -> bytes:
        """Read a whole file."""
        with open(path, "rb") as file:
            return file.read()

    def open(self, path: str, *, is_new: bool) -> int:
        """Open a file for writing; a new one must not be there, an old one must."""
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if is_new else 0)
        return os.open(path, flags, 0o600)

    def open_for_reading(self, path: str) -> int:
        """Open a file that another part of this process may be writing."""
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def read_at(self, handle: int, size: int, offset: int) -> bytes:
        """Read so many bytes, or as many as there are."""
        return os.pread(handle, size, offset)

    def size_of(self, handle: int) -> int:
        """Return the size of an open file in bytes."""
        return os.fstat(handle).st_size

    def allocate(self, handle: int, start: int, end: int) -> None:
        """Make the bytes from `start` to `end` zeros that are on the disk.

        Writing into them later moves no metadata, and the disk cannot be full by then.
        """
        os.posix_fallocate(handle, start, end - start)
        for at in range(start, end, len(_ZEROS)):
            self.write(handle, _ZEROS[:end - at], at)

    def write(self, handle: int, data: bytes | memoryview, offset: int) -> None:
        """Write all of it."""
        done = os.pwrite(handle, data, offset)
        while done < len(data):
            more = os.pwrite(handle, data[done:], offset + done)
            if more == 0:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            done += more

    def sync(self, handle: int) -> None:
        """Make a file's data durable, and the size that belongs to it."""
        os.fdatasync(handle)

    def truncate(self, handle: int, size: int) -> None:
        """Cut a file off."""
        os.ftruncate(handle, size)

    def close(self, handle: int) -> None:
        """Close a file, or give a lock back."""
        os.close(handle)

    def rename(self, old: str, new: str) -> None:
        """Give a file another name; it must be in the same folder."""
        os.rename(old, new)

    def replace(self, old: str, new: str) -> None:
        """Give a file the name of another one, which is gone then."""
        os.replace(old, new)

    def remove(self, path: str) -> None:
        """Remove a file."""
        os.unlink(path)

    def sync_folder(self, folder: str) -> None:
        """Make the names in a folder durable."""
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
