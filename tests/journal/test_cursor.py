"""A journal that is read as bytes while it is written."""

from __future__ import annotations

import random

import pytest
from support.journals import Unflushed, batch_offsets, open_journal, record

from engine.journal import JournalError, JournalReader, Kind, Storage
from engine.journal.layout import split_batches
from engine.replication.cursor import JournalCursor


def raws(folder, after: int) -> list[bytes]:
    """The batches behind a command, by the plain reader."""
    found = []
    for batch in JournalReader(str(folder), Storage()).batches():
        if batch.header.seq > after or (
                batch.header.seq == after and not batch.header.command_count):
            found.append(batch.raw)
    return found


def read_to_end(cursor: JournalCursor, journal, size: int) -> list[bytes]:
    found = []
    while cursor.place < journal.end or cursor.is_searching:
        found += split_batches(cursor.read(size))
    return found


def test_raw_is_what_the_file_has(make_journal):
    folder = make_journal(1, 3, 2)
    batches = list(JournalReader(str(folder), Storage()).batches())
    for (path, begin, end), batch in zip(batch_offsets(folder), batches, strict=True):
        assert path.read_bytes()[begin:end] == batch.raw


@pytest.mark.parametrize("size", [64, 500, 1 << 20])
@pytest.mark.parametrize("segment_size", [300, 1000, 1 << 16])
def test_from_every_batch_on(tmp_path, size, segment_size):
    dice = random.Random(size + segment_size)
    journal, _, _ = open_journal(tmp_path, segment_size=segment_size, storage=Unflushed())
    ends = [0]
    with journal:
        journal.note(Kind.START, {"epoch": 1, "engine": "x"})
        for _ in range(30):
            count = dice.choice((1, 1, 2, 9))
            journal.append([record(journal.last_seq + each) for each in range(1, count + 1)])
            ends.append(journal.last_seq)
            for _ in range(dice.choice((0, 0, 1, 3))):
                journal.note(Kind.CHECKPOINT, {"seq": journal.last_seq})
        for after in ends:
            cursor = JournalCursor(journal, Storage(), after)
            assert read_to_end(cursor, journal, size) == raws(tmp_path, after)
            assert cursor.read(size) == b"" and cursor.place == journal.end
            cursor.close()


def test_it_goes_on_with_what_is_appended(tmp_path):
    journal, _, _ = open_journal(tmp_path, segment_size=300, storage=Unflushed())
    with journal:
        cursor = JournalCursor(journal, Storage(), 0)
        found = []
        for number in range(1, 40):
            journal.append([record(number)])
            found += read_to_end(cursor, journal, 1 << 20)
            assert len(found) == number
        assert found == raws(tmp_path, 0)
        cursor.close()


def test_what_it_needs_may_be_gone(tmp_path):
    journal, _, _ = open_journal(tmp_path, segment_size=300, storage=Unflushed())
    with journal:
        for number in range(1, 20):
            journal.append([record(number)])
        slow = JournalCursor(journal, Storage(), 0)
        assert slow.read(1 << 20)  # the first segment is open
        journal.drop_segments(10)
        first = journal.segment_seqs[0]
        assert 1 < first <= 11
        assert not JournalCursor.can_begin(journal, first - 1)
        assert JournalCursor.can_begin(journal, first)
        slow.close()


def test_a_command_in_the_middle_of_a_batch_is_no_beginning(tmp_path):
    journal, _, _ = open_journal(tmp_path, storage=Unflushed())
    with journal:
        journal.append([record(1), record(2), record(3)])
        with pytest.raises(JournalError, match="seq 2 is not the end of a batch here"):
            JournalCursor(journal, Storage(), 2).read(1 << 20)


def test_bytes_that_are_not_batches():
    with pytest.raises(JournalError, match="offset 0 of 3 bytes: not an intact batch"):
        list(split_batches(b"abc"))
