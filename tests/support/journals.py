"""Small journals: commands that are numbered by their `ts`."""

from __future__ import annotations

from pathlib import Path

from engine.journal import Entry, Journal, JournalReader, Kind, Storage
from engine.journal.layout import make_record, pack_command


class Unflushed(Storage):
    """Real files, without the flush that takes most of the time; for tests that make thousands."""

    def sync(self, handle: int) -> None:
        pass

    def sync_folder(self, folder: str) -> None:
        pass


def record(number: int) -> bytes:
    """A record whose command says which one it is."""
    return make_record(None, "me", number, pack_command({"cmd": "time", "ts": number}))


def entries_of(batches) -> list[Entry]:
    return [entry for batch in batches if batch.header.kind == Kind.COMMANDS
            for entry in batch.entries()]


def read_all(folder: Path | str, storage: Storage | None = None) -> tuple[list[int], JournalReader]:
    """Return the `ts` of every command, which is its number, and the reader."""
    reader = JournalReader(str(folder), storage or Storage())
    entries = entries_of(reader.batches())
    first = reader.first_seq
    assert [entry.seq for entry in entries] == list(range(first, first + len(entries)))
    return [entry.command["ts"] for entry in entries], reader


def open_journal(folder: Path | str, **options) -> tuple[Journal, list[int], str | None]:
    """Open for appending; return what was in it and the line about its tail."""
    journal = Journal(str(folder), **options)
    try:
        found = [entry.command["ts"] for entry in entries_of(journal.batches())]
        return journal, found, journal.begin()
    except BaseException:
        journal.close()
        raise


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.journal"))


def batch_offsets(folder: Path) -> list[tuple[Path, int, int]]:
    """File, first and last offset (exclusive) of every batch."""
    reader = JournalReader(str(folder), Storage())
    return [(Path(batch.path), batch.offset, batch.offset + 48 + batch.header.size)
            for batch in reader.batches()]
