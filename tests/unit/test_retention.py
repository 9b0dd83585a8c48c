"""What a server lets go of, and what it says where too much is gone."""

from __future__ import annotations

import pytest
from support.disk import Disk
from support.journals import record

from engine import Exchange
from engine.journal import Journal, JournalError, JournalReader, Kind
from engine.replication.history import History
from engine.serving.keeper import Keeper
from engine.serving.recovery import replay
from engine.serving.sessions import Sessions
from engine.serving.snapshots import Snapshots

FOLDER = "/journal"
HISTORY = History()


class Snapshotting(Disk):
    """A disk with folders below the journal's, whose list cannot be read once it is told so."""

    is_unreadable = False

    def names(self, folder: str) -> list[str]:
        if self.is_unreadable and folder.endswith("snapshots"):
            raise OSError(5, "Input/output error", folder)
        return [name.removeprefix(f"{folder}/") for name in self._names
                if name.rpartition("/")[0] == folder]


def serve(disk: Disk, exchange: Exchange, counts: list[int]) -> Journal:
    """Append commands in segments of their own, and a snapshot behind each of these counts."""
    journal = Journal(FOLDER, storage=disk, segment_size=200)
    list(journal.batches())
    journal.begin()
    keeper = Keeper(Snapshots(FOLDER, journal.journal_id, disk), HISTORY, 1, drops_segments=True,
                    seq=0, report=lambda line: None)
    for count in counts:
        for _ in range(count):
            journal.append([record(exchange.seq + 1)])
            exchange.apply({"cmd": "time"})
        keeper.keep(exchange, Sessions(), journal)
    return journal


def firsts(disk: Disk) -> list[int]:
    reader = JournalReader(FOLDER, disk)
    list(reader.batches())
    return [first for _, first in reader.segments]


def test_segments_go_when_there_are_two_snapshots_to_begin_from():
    """With a single one nothing could be done any more once it is damaged."""
    disk, exchange = Snapshotting(), Exchange()
    serve(disk, exchange, [10]).close()
    assert firsts(disk)[0] == 1
    disk, exchange = Snapshotting(), Exchange()
    serve(disk, exchange, [10, 10]).close()
    assert 1 < firsts(disk)[0] <= 11


def test_a_list_of_snapshots_that_cannot_be_read_lets_go_of_nothing():
    disk, exchange = Snapshotting(), Exchange()
    journal = serve(disk, exchange, [10])
    with journal:
        snapshots = Snapshots(FOLDER, journal.journal_id, disk)
        keeper = Keeper(snapshots, HISTORY, 1, drops_segments=True, seq=0, report=lambda line: None)
        exchange.apply({"cmd": "time"})
        snapshots.write = lambda *arguments: setattr(disk, "is_unreadable", True)
        keeper.keep(exchange, Sessions(), journal)
    assert disk.is_unreadable and firsts(disk)[0] == 1


@pytest.mark.parametrize("kind, facts", [
    (Kind.START, {"epoch": 1, "engine": "0"}), (Kind.CHECKPOINT, {"seq": 20, "state_hash": "x"}),
    (None, None)])
def test_a_journal_without_its_beginning_asks_for_a_snapshot(kind, facts):
    """Whatever comes first in what is left of it."""
    disk, exchange = Snapshotting(), Exchange()
    journal = serve(disk, exchange, [10, 10])
    with journal:
        if kind is not None:
            journal.note(kind, facts)
        journal.append([record(21)])
        if kind is not None:
            for name, first in list(journal._segments)[:-1]:
                disk._names.pop(f"{FOLDER}/{name}", None)
                assert first <= 21
    with pytest.raises(JournalError, match=r"begins at seq \d+, the replay is at 0: what is betw"):
        replay(JournalReader(FOLDER, disk).batches(), Exchange())
