"""Snapshots beside a journal: a beginning that saves replaying what came before.

A snapshot belongs to one journal and to one build of the engine. It is written beside, flushed,
and given its name; one that is not good for any reason is passed over for the one before, and
in the end for the start of the journal. So a snapshot can save time, and never costs a command.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgpack

from engine.errors import InputError
from engine.exchange import Exchange
from engine.journal import Storage
from engine.replication.history import History, Start
from engine.serving.sessions import Sessions
from engine.snapshot import save

if TYPE_CHECKING:
    from typing_extensions import Buffer

VERSION = 1
#: So many of the latest are kept, unless more are asked for.
KEPT = 2

_FOLDER = "snapshots"
_MAGIC = b"PERPJSNP"
_HEAD = struct.Struct("<8sIIQQ")  # magic, version, bytes of the facts, journal, seq
_CHECKSUM_SIZE = 4
_NAME = re.compile(r"([0-9]{20})\.snapshot")
_UNFINISHED = ".new"
#: Written, and flushed, at a time.
_PIECE = 32 << 20


def _write_state(storage: Storage, handle: int, offset: int, exchange: Exchange) -> None:
    """Write the state piece by piece: a copy of all of it would be a second one in memory."""
    unflushed = 0

    def write(piece: Buffer) -> None:
        nonlocal offset, unflushed
        view = memoryview(piece).cast("B")
        for at in range(0, len(view), _PIECE):
            part = view[at:at + _PIECE]
            storage.write(handle, part, offset)
            offset += len(part)
            unflushed += len(part)
            if unflushed >= _PIECE:
                # The journal's own flushes are not to stand behind all of it at once.
                storage.sync(handle)
                unflushed = 0

    save(exchange, write)


class BadSnapshot(InputError):
    """A snapshot that cannot be used; there is always another way."""


@dataclass
class Restored:
    """What a snapshot holds.

    Attributes
    ----------
    seq : int
        Of the last command that it includes.
    exchange : engine.Exchange
        As it was then; its hash agrees.
    sessions : Sessions
    history : History
        The latest starts of servers up to then.
    path : str
    desk : str or None
        State of what makes commands of feeds, JSON.
    """

    seq: int
    exchange: Exchange
    sessions: Sessions
    history: History
    path: str
    desk: str | None = None


class Snapshots:
    """The snapshots of one journal.

    Parameters
    ----------
    journal_folder : str
    journal_id : int
    storage : Storage, optional
        Default: the real disk.
    kept : int
        So many of the latest are kept.
    """

    def __init__(
        self, journal_folder: str, journal_id: int, storage: Storage | None = None,
        kept: int = KEPT,
    ) -> None:
        self._kept = kept
        self._folder = os.path.join(journal_folder, _FOLDER)
        self._journal_id = journal_id
        self._storage = storage or Storage()

    def seqs(self) -> list[int]:
        """Return the `seq` of every snapshot there is, oldest first."""
        try:
            names = self._storage.names(self._folder)
        except OSError:
            return []
        return sorted(int(found[1]) for name in names if (found := _NAME.fullmatch(name)))

    def path(self, seq: int) -> str:
        """Return where the snapshot after a command is, or would be."""
        return os.path.join(self._folder, f"{seq:020d}.snapshot")

    def write(
        self, exchange: Exchange, sessions: Sessions, history: History, desk: str | None = None
    ) -> str:
        """Write a snapshot, durably, and remove what is older than the latest ones.

        Parameters
        ----------
        exchange : engine.Exchange
        sessions : Sessions
        history : History
            Starts of servers up to now.
        desk : str, optional
            State of what makes commands of feeds.

        Returns
        -------
        str
            Its path.

        Raises
        ------
        OSError
            The disk did not take it; the ones before are as they were.
        SnapshotError
            The core has none.
        """
        facts = msgpack.packb({
            "state_hash": exchange.state_hash(), "epoch": history.epoch,
            "starts": history.dump(), "sessions": sessions.dump(),
            **({} if desk is None else {"desk": desk})})
        head = _HEAD.pack(_MAGIC, VERSION, len(facts), self._journal_id, exchange.seq) + facts
        checksum = zlib.crc32(head).to_bytes(_CHECKSUM_SIZE, "little")
        handle = self.begin_file(exchange.seq)
        try:
            self._storage.write(handle, head + checksum, 0)
            _write_state(self._storage, handle, len(head) + _CHECKSUM_SIZE, exchange)
        except BaseException:
            self._storage.close(handle)
            raise
        return self.end_file(handle, exchange.seq)

    def begin_file(self, seq: int) -> int:
        """Open a file for the bytes of a snapshot; it gets its name by `end_file`."""
        self._storage.make_folder(self._folder)
        self._remove_unfinished()
        return self._storage.open(self.path(seq) + _UNFINISHED, is_new=True)

    def end_file(self, handle: int, seq: int) -> str:
        """Make a file durable under its name, and remove what is older than the latest ones."""
        storage, path = self._storage, self.path(seq)
        try:
            storage.sync(handle)
        finally:
            storage.close(handle)
        storage.rename(path + _UNFINISHED, path)
        storage.sync_folder(self._folder)
        for older in self.seqs()[:-self._kept]:
            storage.remove(self.path(older))
        return path

    def _remove_unfinished(self) -> None:
        for name in self._storage.names(self._folder):
            if name.endswith(_UNFINISHED):
                self._storage.remove(os.path.join(self._folder, name))

    def newest(
        self, say: Callable[[str], None], at_most: int | None = None
    ) -> Restored | None:
        """Return the newest snapshot that is good, None where there is none.

        Parameters
        ----------
        say : callable
            Takes a line about each that is not.
        at_most : int, optional
            Its highest `seq`.
        """
        for seq in reversed(self.seqs()):
            if at_most is not None and seq > at_most:
                continue
            try:
                return self.read(seq)
            except InputError as error:
                say(f"{error}; passed over")
        return None

    def read(self, seq: int) -> Restored:
        """Read and check a snapshot.

        Raises
        ------
        InputError
            Damaged, of another journal, version or build, or its state has another hash.
        """
        path = self.path(seq)
        try:
            data = self._storage.read(path)
        except OSError as error:
            raise BadSnapshot(f"{path}: {(error.strerror or str(error)).lower()}") from None
        facts, end = self._facts(data, path, seq)
        try:
            exchange = Exchange.restore(memoryview(data)[end:])
            sessions = Sessions.from_dump(facts["sessions"])
            starts = facts.get("starts") or [Start(1, int(facts["epoch"]), 0)]
            history = History.from_dump(starts)
            desk = facts.get("desk")
        except InputError as error:
            raise BadSnapshot(f"{path}: {error}") from None
        except (KeyError, TypeError, ValueError) as error:
            raise BadSnapshot(f"{path}: {type(error).__name__}: {error}") from None
        if exchange.seq != seq or exchange.state_hash() != facts.get("state_hash"):
            raise BadSnapshot(f"{path}: the state in it has another seq or hash")
        return Restored(seq, exchange, sessions, history, path, desk)

    def _facts(self, data: bytes, path: str, seq: int) -> tuple[dict[str, Any], int]:
        if len(data) < _HEAD.size or data[:len(_MAGIC)] != _MAGIC:
            raise BadSnapshot(f"{path}: not a snapshot of a journal")
        _, version, size, journal_id, written_seq = _HEAD.unpack_from(data)
        end = _HEAD.size + size
        checksum = data[end:end + _CHECKSUM_SIZE]
        if zlib.crc32(data[:end]).to_bytes(_CHECKSUM_SIZE, "little") != checksum:
            raise BadSnapshot(f"{path}: the snapshot is damaged")
        if version != VERSION:
            raise BadSnapshot(f"{path}: version {version}, this engine reads {VERSION}")
        if (journal_id, written_seq) != (self._journal_id, seq):
            raise BadSnapshot(f"{path}: a snapshot of another journal or seq")
        facts: dict[str, Any] = msgpack.unpackb(data[_HEAD.size:end], strict_map_key=False)
        return facts, end + _CHECKSUM_SIZE
