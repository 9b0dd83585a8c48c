"""What a durable batch of commands costs: own segments against stores that others have hardened.

All stores write the same records, batch by batch in turns, so that a busy disk is busy for all.
Afterwards each is read back; they have to hold the same bytes.
"""

from __future__ import annotations

import hashlib
import sqlite3
import struct
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from engine.bench.report import Report, Table, rate, us
from engine.journal import Journal, JournalReader, Storage
from engine.journal.layout import make_record, pack_command

Records = Sequence[bytes]


@dataclass(frozen=True)
class JournalPlan:
    """One run.

    Attributes
    ----------
    rounds : tuple of (int, int)
        Commands in a batch, and how many batches.
    folder : str or None
        On the disk to be measured; None is the current one.
    """

    rounds: tuple[tuple[int, int], ...] = ((1, 2000), (100, 1000), (1000, 300))
    folder: str | None = None


SMOKE = JournalPlan(((1, 5), (20, 3)))


class Store(ABC):
    """Something that keeps records in order and has them on the disk when `append` returns."""

    name = ""

    @abstractmethod
    def append(self, records: Records) -> None:
        """Append one batch, durably."""

    @abstractmethod
    def records(self) -> Iterator[bytes]:
        """Yield what was appended, as it was packed: batches may be joined."""

    @abstractmethod
    def close(self) -> None:
        """Close it for writing."""


class _Growing(Storage):
    """Without allocation: every batch moves the end of the file."""

    def allocate(self, handle: int, start: int, end: int) -> None:
        pass


class Segments(Store):
    """The engine's own journal."""

    name = "segments"
    storage: type[Storage] = Storage

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._journal = Journal(folder, storage=self.storage())
        list(self._journal.batches())
        self._journal.begin()

    def append(self, records: Records) -> None:
        self._journal.append(records)

    def records(self) -> Iterator[bytes]:
        for batch in JournalReader(self._folder, Storage()).batches():
            yield batch.payload

    def close(self) -> None:
        self._journal.close()


class GrowingSegments(Segments):
    """The same in files that grow."""

    name = "segments, not allocated ahead"
    storage = _Growing


class Sqlite(Store):
    """SQLite with a write-ahead log, flushed at every commit; a row for each command."""

    name = "sqlite, a row a command"

    def __init__(self, folder: str) -> None:
        self._count = 0
        self._base = sqlite3.connect(Path(folder) / "journal.db", isolation_level=None)
        self._base.execute("pragma journal_mode = wal")
        self._base.execute("pragma synchronous = full")
        self._base.execute("create table journal (seq integer primary key, record blob)")

    def append(self, records: Records) -> None:
        rows = list(enumerate(records, self._count))
        self._base.execute("begin")
        self._base.executemany("insert into journal values (?, ?)", rows)
        self._base.execute("commit")
        self._count += len(rows)

    def records(self) -> Iterator[bytes]:
        for (record,) in self._base.execute("select record from journal order by seq"):
            yield record

    def close(self) -> None:
        pass  # read through the same connection


class SqliteBatches(Sqlite):
    """A row for each batch."""

    name = "sqlite, a row a batch"

    def append(self, records: Records) -> None:
        super().append([b"".join(records)])


class Lmdb(Store):
    """LMDB, flushed at every commit; a key for each command."""

    name = "lmdb, a key a command"

    def __init__(self, folder: str) -> None:
        import lmdb

        self._count = 0
        self._base: Any = lmdb.open(str(Path(folder) / "lmdb"), map_size=4 << 30)

    def append(self, records: Records) -> None:
        with self._base.begin(write=True) as transaction:
            for number, record in enumerate(records, self._count):
                transaction.put(struct.pack(">Q", number), record, append=True)
        self._count += len(records)

    def records(self) -> Iterator[bytes]:
        with self._base.begin() as transaction:
            for _, record in transaction.cursor():
                yield record

    def close(self) -> None:
        pass


class LmdbBatches(Lmdb):
    """A key for each batch."""

    name = "lmdb, a key a batch"

    def append(self, records: Records) -> None:
        super().append([b"".join(records)])


def store_kinds() -> list[type[Store]]:
    """Return the stores there are on this machine."""
    kinds: list[type[Store]] = [Segments, GrowingSegments, Sqlite, SqliteBatches]
    if find_spec("lmdb") is not None:
        kinds += [Lmdb, LmdbBatches]
    return kinds


@dataclass
class StoreFigures:
    """How long each batch of one size took in one store."""

    name: str
    batch: int
    times_ns: list[int] = field(default_factory=list)
    digest: str = ""

    def at(self, share: float) -> int:
        """Percentile."""
        return sorted(self.times_ns)[min(len(self.times_ns) - 1, int(share * len(self.times_ns)))]


def make_records(count: int) -> list[bytes]:
    """Return records of ordinary limit orders."""
    return [
        make_record(1_700_000_000_000_000_000 + number, "desk-7", number, pack_command({
            "cmd": "order", "account": number % 1000 + 1, "symbol": "BTCUSDT", "order_id": number,
            "side": "sell" if number % 3 else "buy", "type": "limit", "quantity": "0.125",
            "price": f"{60_000 + number % 97}.4", "time_in_force": "gtc", "post_only": True}))
        for number in range(1, count + 1)
    ]


def run_journal(plan: JournalPlan, progress: Callable[[str], None]) -> list[StoreFigures]:
    """Measure every store with batches of every size."""
    found = []
    for batch, rounds in plan.rounds:
        progress(f"batches of {batch}")
        records = make_records(batch * rounds)
        with tempfile.TemporaryDirectory(dir=plan.folder or ".", prefix=".bench-") as folder:
            found += _run_batch(folder, records, batch)
    return found


def _run_batch(folder: str, records: list[bytes], batch: int) -> list[StoreFigures]:
    stores, figures = [], []
    for kind in store_kinds():
        place = Path(folder) / kind.__name__
        place.mkdir()
        stores.append(kind(str(place)))  # type: ignore[call-arg]  # each takes a folder
        figures.append(StoreFigures(kind.name, batch))
    for at in range(0, len(records), batch):
        part = records[at:at + batch]
        for store, one in zip(stores, figures, strict=True):
            started = time.perf_counter_ns()
            store.append(part)
            one.times_ns.append(time.perf_counter_ns() - started)
    for store, one in zip(stores, figures, strict=True):
        store.close()
        digest = hashlib.blake2b(digest_size=16)
        for record in store.records():
            digest.update(record)
        one.digest = digest.hexdigest()
    return figures


def journal_report(results: Sequence[StoreFigures]) -> Report:
    """Tell the figures, and whether the stores hold the same."""
    report = Report("a durable batch of commands")
    report.facts.append(("record", f"a limit order, {len(make_records(1)[0])} bytes"))
    for batch in dict.fromkeys(one.batch for one in results):
        table = Table(f"batches of {batch}", [
            "store", "p50 us", "p99 us", "p99.9 us", "max us", "commands/s"])
        same = [one for one in results if one.batch == batch]
        for one in same:
            table.add(
                one.name, *(us(one.at(share)) for share in (0.5, 0.99, 0.999)),
                us(max(one.times_ns)), rate(batch * len(one.times_ns), sum(one.times_ns)))
        report.tables.append(table)
        report.facts.append((f"content_hash of {batch}", same[0].digest))
        report.failures += [
            f"{one.name} holds something else" for one in same if one.digest != same[0].digest]
    report.notes.append("encoding of the records is not included; one process, one batch at a time")
    return report
