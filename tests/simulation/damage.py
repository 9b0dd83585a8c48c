"""Damage done to files while no server runs, and its repair: as from a backup."""

from __future__ import annotations

from random import Random

from engine.journal import JournalReader
from simulation.faults import Faults
from simulation.storage import Disk, File


class Damage:
    """Damages snapshots, and segments where nobody can take it for a torn tail.

    Parameters
    ----------
    disk : Disk
    random : random.Random
    faults : Faults
    folder : str
        Of the journal.

    Attributes
    ----------
    is_of_journal : bool
        The server has to refuse to start.
    """

    def __init__(self, disk: Disk, random: Random, faults: Faults, folder: str) -> None:
        self.is_of_journal = False
        self._disk = disk
        self._random = random
        self._faults = faults
        self._folder = folder
        self._before: dict[str, tuple[File, bytes]] = {}

    def do(self, *, is_liar: bool) -> None:
        """Damage something, perhaps."""
        if "snapshot_damage" in self._faults.events and self._random.random() < 0.5:
            self._damage_snapshots()
        if is_liar or "journal_damage" not in self._faults.events:
            return
        if self._random.random() < 0.5:
            self._damage_journal()

    def _damage_snapshots(self) -> None:
        paths = sorted(path for path, file in self._disk.files.items()
                       if path.endswith(".snapshot") and file.data)
        for path in paths[-self._random.randint(1, 2):]:
            self._faults.count("snapshot_damage")
            self._change(path, 0, len(self._disk.files[path].data))

    def _damage_journal(self) -> None:
        """Change a byte of a batch behind which there is another one."""
        batches = list(JournalReader(self._folder, self._disk.plain()).batches())
        # Older segments are not read where a snapshot includes them.
        segments = [path for path in self._disk.files if path.endswith(".journal")]
        newest = max(segments, default="")
        last = [batch for batch in batches if batch.path == newest]
        if len(last) > 1:
            self._faults.count("journal_damage")
            at = self._random.randrange(len(last) - 1)
            self._change(last[at].path, last[at].offset, last[at + 1].offset)
            self.is_of_journal = True

    def _change(self, path: str, begin: int, end: int) -> None:
        file = self._disk.files[path]
        if file is not self._before.get(path, (None, b""))[0]:
            self._before[path] = (file, bytes(file.data))
        file.data[self._random.randrange(begin, end)] ^= 1 << self._random.randrange(8)

    def repair(self) -> bool:
        """Put back what was there, where it still is; tell whether there was anything."""
        is_repaired = False
        for path, (file, data) in self._before.items():
            if self._disk.files.get(path) is file and file.data != data:
                file.data[:] = data
                is_repaired = True
        self._before.clear()
        self.is_of_journal = False
        return is_repaired
