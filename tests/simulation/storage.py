"""A disk in memory: it forgets what was not flushed, and does wrong what the faults say.

What is flushed survives a power cut. Of the rest any sectors may survive, and of the changes to a
folder's names a beginning. A flush that fails leaves the kernel believing that it was done, as
Linux does: what it was to write is gone with the power, even if a later flush succeeds.
"""

from __future__ import annotations

import errno
import os
from random import Random

from engine.journal import JournalError, Storage
from simulation.faults import Faults
from simulation.world import Host, Killed, World

SECTOR = 64


class File:
    """Bytes as processes see them, and for what is not flushed the bytes on the platter."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.durable_size = 0
        self.dirty: dict[int, bytes] = {}
        #: Flushed in vain: written again only if somebody writes there again.
        self.stale: dict[int, bytes] = {}
        #: A flush was answered and not done, and none was done since.
        self.was_lied_about = False

    def _keep_old(self, begin: int, end: int) -> None:
        for sector in range(begin // SECTOR, (end + SECTOR - 1) // SECTOR):
            if sector in self.stale:
                self.dirty[sector] = self.stale.pop(sector)
            elif sector not in self.dirty:
                at = sector * SECTOR
                self.dirty[sector] = bytes(self.data[at:at + SECTOR])

    def put(self, data: bytes, offset: int) -> None:
        end = offset + len(data)
        self._keep_old(offset, end)
        if end > len(self.data):
            self.data.extend(bytes(end - len(self.data)))
        self.data[offset:end] = data

    def cut(self, size: int) -> None:
        self._keep_old(size, len(self.data))
        del self.data[size:]

    def sync(self) -> None:
        self.dirty.clear()
        self.durable_size = len(self.data)
        self.was_lied_about = False

    def sync_in_vain(self) -> None:
        self.stale |= self.dirty
        self.dirty.clear()

    def lose(self, random: Random, share: float) -> None:
        """Forget some of what was not flushed; `share` of it survives."""
        keeps_size = random.random() < share
        size = len(self.data) if keeps_size else self.durable_size
        data = self.data.ljust(size, b"\0")
        for sector, old in {**self.dirty, **self.stale}.items():
            if sector in self.stale or random.random() >= share:
                at = sector * SECTOR
                data[at:at + SECTOR] = old.ljust(SECTOR, b"\0")
        self.data = data[:size]
        self.durable_size = size
        self.dirty, self.stale, self.was_lied_about = {}, {}, False


class Disk:
    """What is left when a process has ended, or the power has gone.

    Parameters
    ----------
    world : World
    faults : Faults

    Attributes
    ----------
    files : dict
        By path, as processes see them.
    capacity : int or None, bytes
        Of all files together.
    is_liar : bool
        The last power cut may have taken what was flushed, as the disk had it.
    was_liar : bool
        One of them may have.
    removed : dict
        Journal segments that were let go of, for the checks.
    """

    def __init__(self, world: World, faults: Faults) -> None:
        self.files: dict[str, File] = {}
        self.capacity: int | None = None
        self.is_liar = self.was_liar = False
        self.removed: dict[str, bytes] = {}
        self.locks: dict[str, Host] = {}
        self.world = world
        self.faults = faults
        self._durable_names: dict[str, File] = {}
        #: Not durable yet: folder, old name, new name, file.
        self._changes: list[tuple[str, str | None, str | None, File]] = []
        self._folders_lied_about: set[str] = set()

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(len(file.data) for file in self.files.values())

    def rename(self, old: str | None, new: str | None) -> None:
        """Give a file its first name, another one, or none."""
        file = File() if old is None else self.files.pop(old)
        if new is not None:
            self.files[new] = file
        self._changes.append((os.path.dirname(old or new or ""), old, new, file))

    def lie_about(self, folder: str) -> None:
        """Answer that the names of a folder are durable, and do nothing."""
        self._folders_lied_about.add(folder)

    def sync_folder(self, folder: str) -> None:
        """Make the names in a folder durable."""
        rest = []
        for change in self._changes:
            if change[0] == folder:
                self._make_durable(change)
            else:
                rest.append(change)
        self._changes = rest
        self._folders_lied_about.discard(folder)

    def _make_durable(self, change: tuple[str, str | None, str | None, File]) -> None:
        _, old, new, file = change
        if old is not None:
            del self._durable_names[old]
        if new is not None:
            self._durable_names[new] = file

    def cut_power(self) -> None:
        """Lose what was not flushed, or some of it; processes must have ended."""
        random = self.world.random
        share = random.choice((0.0, 0.5, 0.9, 1.0))
        kept = random.randint(0, len(self._changes))
        for change in self._changes[:kept]:
            self._make_durable(change)
        for _, old, new, _ in self._changes[kept:]:
            if new is None:  # it is there again or, if the disk lied, never was
                self.removed.pop(str(old), None)
        self._changes = []
        self.is_liar = bool(self._folders_lied_about) or any(
            file.was_lied_about for file in self.files.values())
        self.was_liar |= self.is_liar
        self._folders_lied_about.clear()
        self.files = dict(self._durable_names)
        for path in sorted(self.files):
            self.files[path].lose(random, share)
        self.world.note("power cut")

    def plain(self) -> Storage:
        """Files as they are now, with those let go of, for the checks; nothing goes wrong."""
        return _Plain(self)


class _Plain(Storage):
    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def names(self, folder: str) -> list[str]:
        paths = {*self._disk.files, *self._disk.removed}
        return sorted(os.path.basename(path) for path in paths
                      if os.path.dirname(path) == folder)

    def read(self, path: str) -> bytes:
        file = self._disk.files.get(path)
        return self._disk.removed[path] if file is None else bytes(file.data)


class Mount(Storage):
    """The disk as one process has it.

    Parameters
    ----------
    disk : Disk
    host : Host
        The process; when it is dead nothing is done any more.
    """

    def __init__(self, disk: Disk, host: Host) -> None:
        self._disk = disk
        self._host = host
        self._handles: dict[int, File] = {}
        # They hold the unused parts of the core's tables, which a seed does not decide.
        self._snapshots: set[int] = set()

    def _operation(self, kind: str, path: str = "", data: bytes = b"") -> str:
        """Count one operation, and return what goes wrong with it."""
        disk = self._disk
        if self._host.is_dead:
            raise Killed
        disk.world.note(f"{kind} {path}", data)
        disk.world.spend(disk.faults.duration(kind))
        fault = disk.faults.on_disk(kind)
        if fault == "crash":
            self._die()
        if fault in ("eio", "enospc"):
            self._fail(errno.EIO if fault == "eio" else errno.ENOSPC)
        return fault

    def _die(self) -> None:
        self._host.is_dead = True
        raise Killed

    def _fail(self, code: int) -> None:
        raise OSError(code, os.strerror(code))

    def new_identity(self) -> int:
        return self._disk.world.random.getrandbits(63)

    def make_folder(self, folder: str) -> None:
        self._operation("mkdir", folder)

    def lock(self, folder: str) -> int:
        self._operation("lock", folder)
        owner = self._disk.locks.get(folder)
        if owner is not None and not owner.is_dead:
            raise JournalError(f"{folder}: another process writes this journal")
        self._disk.locks[folder] = self._host
        return -1

    def names(self, folder: str) -> list[str]:
        self._operation("list", folder)
        found = [os.path.basename(path) for path in self._disk.files
                 if os.path.dirname(path) == folder]
        self._disk.world.random.shuffle(found)  # a folder promises no order
        return found

    def read(self, path: str) -> bytes:
        self._operation("read", path)
        file = self._disk.files.get(path)
        if file is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return bytes(file.data)

    def read_at(self, handle: int, size: int, offset: int) -> bytes:
        self._operation("read")
        return bytes(self._handles[handle].data[offset:offset + size])

    def open(self, path: str, *, is_new: bool) -> int:
        self._operation("open", path)
        if is_new:
            if path in self._disk.files:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
            self._disk.rename(None, path)
        elif path not in self._disk.files:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        handle = len(self._handles) + 1
        self._handles[handle] = self._disk.files[path]
        if ".snapshot" in path:
            self._snapshots.add(handle)
        return handle

    def allocate(self, handle: int, start: int, end: int) -> None:
        fault = self._operation("allocate")
        self._put(handle, bytes(end - start), start, fault)

    def write(self, handle: int, data: bytes, offset: int) -> None:
        is_recorded = handle not in self._snapshots
        fault = self._operation("write", str(len(data)), bytes(data) if is_recorded else b"")
        self._put(handle, data, offset, fault)

    def _put(self, handle: int, data: bytes, offset: int, fault: str) -> None:
        disk, file = self._disk, self._handles[handle]
        if fault == "torn":
            file.put(data[:disk.world.random.randrange(len(data) + 1)], offset)
            self._die()
        if fault == "torn_eio":
            file.put(data[:disk.world.random.randrange(len(data) + 1)], offset)
            self._fail(errno.EIO)
        if disk.capacity is not None:
            room = max(0, disk.capacity - disk.size) + max(0, len(file.data) - offset)
            if room < len(data):
                disk.faults.count("disk_full")
                file.put(data[:room], offset)
                self._fail(errno.ENOSPC)
        file.put(data, offset)

    def sync(self, handle: int) -> None:
        file = self._handles[handle]
        fault = self._operation("sync")
        if fault == "lie":
            file.was_lied_about = True
        elif fault == "sync_eio":
            file.sync_in_vain()
            self._fail(errno.EIO)
        else:
            file.sync()

    def truncate(self, handle: int, size: int) -> None:
        self._operation("truncate", str(size))
        self._handles[handle].cut(size)

    def close(self, handle: int) -> None:
        if handle < 0:
            self._disk.locks = {
                folder: host for folder, host in self._disk.locks.items() if host is not self._host}

    def rename(self, old: str, new: str) -> None:
        self._operation("rename", new)
        # A snapshot may take the place of a damaged one; a segment never takes another's.
        assert ".snapshot" in new or new not in self._disk.files, f"{new} would be replaced"
        self._disk.rename(old, new)

    def replace(self, old: str, new: str) -> None:
        self._operation("rename", new)
        self._disk.rename(old, new)

    def remove(self, path: str) -> None:
        self._operation("remove", path)
        file = self._disk.files.get(path)
        if file is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        if path.endswith(".journal"):
            self._disk.removed[path] = bytes(file.data)
        self._disk.rename(path, None)

    def sync_folder(self, folder: str) -> None:
        fault = self._operation("sync_folder", folder)
        if fault == "sync_eio":
            self._fail(errno.EIO)
        if fault == "lie":
            self._disk.lie_about(folder)
        else:
            self._disk.sync_folder(folder)
