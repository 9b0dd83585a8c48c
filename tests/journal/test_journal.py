"""The journal on the real disk: what comes back, what is cut off, what is refused."""

from __future__ import annotations

import resource
import shutil
import struct
import subprocess
import sys
import zlib
from decimal import Decimal
from pathlib import Path

import msgpack
import numpy as np
import pytest
from support.journals import (
    Unflushed,
    batch_offsets,
    entries_of,
    open_journal,
    read_all,
    record,
    segments,
)

from engine.batches import empty_commands
from engine.journal import (
    Journal,
    JournalError,
    JournalReader,
    JournalWriteError,
    Kind,
    PackedEntry,
    Storage,
)
from engine.journal.layout import (
    Batch,
    make_packed_record,
    make_record,
    pack_command,
    read_batch_header,
)
from engine.journal.store import Durability
from engine.messages import Command


def test_what_was_appended_comes_back(make_journal):
    folder = make_journal(1, 3, 100)
    numbers, reader = read_all(folder)
    assert numbers == list(range(1, 105))
    assert (reader.first_seq, reader.last_seq, reader.torn_bytes) == (1, 104, 0)
    journal, found, torn = open_journal(folder)
    with journal:
        assert (found, torn, journal.last_seq) == (numbers, None, 104)
        journal.append([record(105)])
    assert read_all(folder)[0] == list(range(1, 106))


def test_a_record_keeps_stamp_client_and_request():
    given = {"cmd": "deposit", "account": 1, "asset": "USDT", "amount": "1.5"}
    batch = raw_batch(make_record(77, "desk-1", 9, pack_command(given)), count=1)
    (entry,) = batch.entries()
    assert entry == (1, 77, "desk-1", 9, given)
    assert entry.command == {**given, "ts": 77} and "ts" not in entry.given


def test_numbers_beyond_64_bits_and_decimals_become_text():
    command = {"amount": 10**30, "price": Decimal("1E+3"), "rate": Decimal("-0.50"), "n": -2**63}
    batch = raw_batch(make_record(None, None, 0, pack_command(command)), count=1)
    assert next(batch.entries()).given == {
        "amount": "1" + "0" * 30, "price": "1000", "rate": "-0.50", "n": -2**63}
    with pytest.raises(TypeError):
        pack_command({"amount": object()})


def raw_batch(payload: bytes, count: int, kind: int = Kind.COMMANDS) -> Batch:
    from engine.journal.layout import BatchHeader

    head = BatchHeader(kind, 1, 1, 0, count, len(payload), zlib.crc32(payload))
    return Batch(head, payload, "x.journal", 64)


@pytest.mark.parametrize("payload, count, problem", [
    (b"", 1, "0 commands, the header says 1"),
    (b"\xc1", 1, "not MessagePack"),
    (b"\x94\xc0\xc0\x00", 1, "the last record is not whole"),
    (b"\x93\xc0\xc0\x00", 1, "the record of seq 1 is none"),
    (b"\x94\xc0\xc0\x00\x80" * 2, 1, "2 commands, the header says 1"),
])
def test_a_payload_that_is_none(payload, count, problem):
    with pytest.raises(JournalError, match=problem):
        list(raw_batch(payload, count).entries())


def test_segments_rotate_and_go_on(make_journal):
    folder = make_journal(*[3] * 40, segment_size=1000)
    files = segments(folder)
    assert len(files) == 5
    assert [path.stat().st_size <= 1000 for path in files] == [True] * len(files)
    assert read_all(folder)[0] == list(range(1, 121))
    make_journal(5, 5, segment_size=1000)  # goes on in the last one
    assert read_all(folder)[0] == list(range(1, 131))


def test_a_batch_larger_than_a_segment_gets_its_own(make_journal):
    folder = make_journal(1, 200, 1, 1, segment_size=1000)
    assert read_all(folder)[0] == list(range(1, 204))
    assert max(path.stat().st_size for path in segments(folder)) > 3000


def test_segments_without_commands_keep_their_name(tmp_path):
    for epoch in range(30):
        journal, _, _ = open_journal(tmp_path, segment_size=300, storage=Unflushed())
        with journal:
            journal.note(Kind.START, {"epoch": epoch})
    assert len(segments(tmp_path)) == 1
    reader = JournalReader(str(tmp_path), Storage())
    assert [batch.facts()["epoch"] for batch in reader.batches()] == list(range(30))


def test_retention_removes_what_a_snapshot_includes(tmp_path):
    journal, _, _ = open_journal(tmp_path, segment_size=500, storage=Unflushed())
    with journal:
        for number in range(1, 61):
            journal.append([record(number)])
        firsts = [int(path.name[:20]) for path in segments(tmp_path)]
        assert len(firsts) > 4
        assert journal.drop_segments(firsts[1] - 2) == []
        assert journal.drop_segments(firsts[2] - 1) == [f"{first:020d}.journal"
                                                        for first in firsts[:2]]
        journal.drop_segments(60)
        journal.append([record(61)])
    numbers, reader = read_all(tmp_path)
    assert reader.first_seq == numbers[0] == firsts[-1] and numbers[-1] == 61
    assert len(segments(tmp_path)) <= 2


@pytest.mark.parametrize("durability", Durability)
def test_every_durability_writes_the_same_commands(tmp_path, durability):
    journal, _, _ = open_journal(tmp_path, durability=durability)
    with journal:
        journal.append([record(number) for number in range(1, 8)])
    assert read_all(tmp_path)[0] == list(range(1, 8))
    assert len(batch_offsets(tmp_path)) == (7 if durability is Durability.ALWAYS else 1)


def test_what_was_being_made_is_removed(make_journal):
    folder = make_journal(2)
    (folder / "00000000000000000003.journal.new").write_bytes(b"half")
    (folder / "notes.txt").write_text("mine")
    open_journal(folder)[0].close()
    assert sorted(path.name for path in folder.iterdir()) == [
        "00000000000000000001.journal", "LOCK", "notes.txt"]


# --- torn tails -----------------------------------------------------------------------


def test_a_tail_cut_at_every_offset(make_journal, tmp_path):
    folder = make_journal(2, 3, 4)
    path, begin, end = batch_offsets(folder)[-1]
    data = path.read_bytes()
    for size in range(begin, end):
        for rest in (b"", bytes(64)):  # as it is without, and with, what was allocated
            path.write_bytes(data[:size] + rest)
            check_torn(folder, path, begin, 5)


def test_a_tail_flipped_at_every_byte(make_journal):
    folder = make_journal(2, 3, 4)
    path, begin, end = batch_offsets(folder)[-1]
    data = bytearray(path.read_bytes())
    for at in range(begin, end):
        for flip in (0x01, 0xFF):
            data[at] ^= flip
            path.write_bytes(data)
            data[at] ^= flip
            check_torn(folder, path, begin, 5)


def check_torn(folder: Path, path: Path, begin: int, count: int) -> None:
    """The tail is reported and cut off; the next batch takes its place."""
    before = read_all(folder)
    assert before[0] == list(range(1, count + 1)) and before[1].end == begin
    journal, found, torn = open_journal(folder, segment_size=1 << 10, storage=Unflushed())
    with journal:
        assert found == before[0]
        if before[1].torn_bytes:
            assert torn is not None and f"{path}: offset {begin}: " in torn
            assert f"ends at seq {count}" in torn
        else:
            assert torn is None
        journal.append([record(count + 1)])
    assert read_all(folder)[0] == list(range(1, count + 2))


def test_a_reader_changes_nothing(make_journal):
    folder = make_journal(2, 3)
    path, begin, end = batch_offsets(folder)[-1]
    path.write_bytes(path.read_bytes()[:end - 1])
    before = path.read_bytes()
    assert read_all(folder)[1].torn_bytes == end - 1 - begin
    assert path.read_bytes() == before


# --- damage ---------------------------------------------------------------------------


def test_a_flip_anywhere_before_the_last_batch_is_damage(make_journal):
    folder = make_journal(2, 1, 2, 1, 1)
    path, begin, _ = batch_offsets(folder)[-1]
    data = bytearray(path.read_bytes())
    for at in range(begin):
        data[at] ^= 0x10
        path.write_bytes(data)
        data[at] ^= 0x10
        with pytest.raises(JournalError) as caught:
            read_all(folder)
        assert str(caught.value).startswith(f"{path}: offset "), at
    path.write_bytes(data)
    assert len(read_all(folder)[0]) == 7


def test_damage_leaves_the_files_alone(make_journal):
    folder = make_journal(2, 2, 2)
    path, begin, _ = batch_offsets(folder)[1]
    data = bytearray(path.read_bytes())
    data[begin + 60] ^= 1
    path.write_bytes(data)
    with pytest.raises(JournalError, match=f"offset {begin}: damaged: the batch after seq 2"):
        open_journal(folder)
    assert path.read_bytes() == data


def test_bytes_behind_the_batch_that_failed_are_damage(make_journal):
    """The header is intact, so where its batch ends is known, and one more was under way."""
    folder = make_journal(2, 2)
    path, begin, end = batch_offsets(folder)[-1]
    data = bytearray(path.read_bytes())
    data[end - 1] ^= 1
    data[end + 10] = 1
    path.write_bytes(data)
    with pytest.raises(JournalError, match=f"offset {begin}: damaged: more follows"):
        read_all(folder)


def test_a_segment_that_ends_early_or_is_missing(make_journal):
    folder = make_journal(*[3] * 20, segment_size=700)
    files = segments(folder)
    data = files[1].read_bytes()
    _, begin, end = [one for one in batch_offsets(folder) if one[0] == files[1]][-1]
    files[1].write_bytes(data[:end - 3])
    with pytest.raises(JournalError, match=f"offset {begin}: damaged: later segments follow"):
        read_all(folder)
    files[1].write_bytes(data[:begin])
    with pytest.raises(JournalError, match="something is missing"):
        read_all(folder)
    files[1].unlink()
    with pytest.raises(JournalError, match=f"{files[2].name}: begins at seq .* is missing"):
        read_all(folder)


def test_segments_under_a_wrong_name_or_of_another_journal(make_journal):
    folder, other = make_journal(1, 1), make_journal(1, 1, name="other")
    shutil.copy(segments(other)[0], folder / f"{3:020d}.journal")
    with pytest.raises(JournalError, match="the header says that it begins at seq 1"):
        read_all(folder)
    (folder / f"{3:020d}.journal").unlink()
    path, begin, end = batch_offsets(other)[0]
    mine = bytearray(segments(folder)[0].read_bytes())
    mine[begin:end] = path.read_bytes()[begin:end]
    segments(folder)[0].write_bytes(mine)
    with pytest.raises(JournalError, match=f"offset {begin}: a batch of another journal"):
        read_all(folder)


@pytest.mark.parametrize("field, value, problem", [
    (8, 2, "format version 2, schema version 2; this engine reads 1 and 1 to 2"),
    (10, 9, "format version 1, schema version 9; this engine reads 1 and 1 to 2"),
])
def test_another_version_is_named(make_journal, field, value, problem):
    folder = make_journal(1)
    path = segments(folder)[0]
    data = bytearray(path.read_bytes())
    struct.pack_into("<H", data, field, value)
    struct.pack_into("<I", data, 60, zlib.crc32(data[:60]))
    path.write_bytes(data)
    with pytest.raises(JournalError, match=problem):
        read_all(folder)


def as_schema_1(folder: Path) -> None:
    """Give the newest segment the header that it had before there were packed records."""
    path = segments(folder)[-1]
    data = bytearray(path.read_bytes())
    struct.pack_into("<H", data, 10, 1)
    struct.pack_into("<I", data, 60, zlib.crc32(data[:60]))
    path.write_bytes(data)


def packed_record(number: int, count: int) -> bytes:
    rows = empty_commands(count)
    rows["cmd"], rows["ts"] = Command.TIME, np.arange(number, number + count)
    return make_packed_record(None, "me", number, rows.tobytes(), b"")


@pytest.mark.parametrize("has_commands", [True, False])
def test_a_journal_of_schema_1_goes_on_in_a_new_segment(make_journal, has_commands):
    folder = make_journal(2) if has_commands else make_journal()
    as_schema_1(folder)
    before, _ = read_all(folder)
    with open_journal(folder)[0] as journal:
        journal.note(Kind.START, {"epoch": 5})
        journal.append([packed_record(90, 3), record(93)], [3, 1])
        last = journal.last_seq
    reader = JournalReader(str(folder), Storage())
    batches = list(reader.batches())
    entries = list(batches[-1].entries())
    assert [entry.seq for entry in entries] == [last - 3, last] and reader.schema == 2
    assert isinstance(entries[0], PackedEntry) and entries[0].command_count == 3
    assert len(entries_of(batches)) == len(before) + 2
    starts = [batch.facts()["epoch"] for batch in batches if batch.header.kind == Kind.START]
    assert starts[-1] == 5 and len(segments(folder)) == (2 if has_commands else 1)


def test_packed_commands_count_each(tmp_path):
    with open_journal(tmp_path)[0] as journal:
        journal.append([record(1), packed_record(2, 4), record(6)], [1, 4, 1])
        assert journal.last_seq == 6
    found = entries_of(JournalReader(str(tmp_path), Storage()).batches())
    assert [(entry.seq, entry.request, entry.command_count) for entry in found] == [
        (1, 1, 1), (2, 2, 4), (6, 6, 1)]


@pytest.mark.parametrize("fields", [
    (None, "me", 1, bytes(95), b""), (None, "me", 1, b"", b""), (None, "me", 1, bytes(96), "x"),
    (None, "me", 1, bytes(96), bytes(3)), (None, 7, 1, bytes(96), b""),
])
def test_a_packed_record_that_is_none(fields):
    with pytest.raises(JournalError, match="the record of seq 1 is none"):
        list(raw_batch(msgpack.packb(fields), 1).entries())


def test_an_unknown_kind_of_batch_is_not_skipped(make_journal):
    folder = make_journal(1, 1)
    path, begin, _ = batch_offsets(folder)[0]
    data = bytearray(path.read_bytes())
    struct.pack_into("<H", data, begin + 4, 7)
    struct.pack_into("<I", data, begin + 44, zlib.crc32(data[begin:begin + 44]))
    path.write_bytes(data)
    assert read_batch_header(bytes(data), begin) is not None
    with pytest.raises(JournalError, match="a batch of kind 7, which this engine does not know"):
        read_all(folder)


def test_a_file_that_is_no_journal(tmp_path):
    (tmp_path / f"{1:020d}.journal").write_text("something else entirely" * 10)
    with pytest.raises(JournalError, match="offset 0: not the header of a journal segment"):
        read_all(tmp_path)


# --- two writers, and a disk that is full -----------------------------------------------


def test_one_writer(make_journal):
    folder = make_journal(1)
    with open_journal(folder)[0]:
        with pytest.raises(JournalError, match="another process writes this journal"):
            Journal(str(folder))
        assert read_all(folder)[0] == [1]  # reading is free
    open_journal(folder)[0].close()


def test_a_folder_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match="cannot open: not a directory"):
        Journal(str(tmp_path / "file" / "journal"))


LIMITED = """
import resource, sys
from support.journals import open_journal, record
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
from engine.journal import JournalWriteError
journal = None
try:
    journal, found, _ = open_journal(sys.argv[1], segment_size=2000)
    number = len(found)
    while True:
        number += 1
        journal.append([record(number)] * (1 if number < 50 else 200))
        print(number, flush=True)
except JournalWriteError as error:
    print(error, file=sys.stderr)
    if journal is not None:
        try:
            journal.append([record(0)])
        except JournalWriteError as again:
            assert str(again) == str(error)
            sys.exit(1)
    sys.exit(3)
"""


@pytest.mark.parametrize("limit, code", [(3000, 1), (1000, 3)])
def test_a_process_at_its_file_size_limit(tmp_path, limit, code):
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path), str(limit)], capture_output=True, text=True,
        env={"PYTHONPATH": f"{root}:{root / 'tests'}"}, check=False)
    assert done.returncode == code, done.stderr
    assert done.stderr.count("\n") == 1 and "file too large" in done.stderr
    acknowledged = len(done.stdout.split())
    assert (acknowledged == 49) == (code == 1)
    numbers, reader = read_all(tmp_path)
    assert (numbers, reader.torn_bytes) == (list(range(1, acknowledged + 1)), 0)
    journal, _, _ = open_journal(tmp_path, segment_size=2000)
    with journal:
        journal.append([record(acknowledged + 1)])


def test_not_read_to_the_end_means_not_open(make_journal):
    journal = Journal(str(make_journal(1)))
    with journal, pytest.raises(JournalWriteError, match="not open for writing"):
        journal.append([record(2)])


def test_the_names_of_folders_are_flushed(tmp_path, monkeypatch):
    flushed: list[str] = []
    monkeypatch.setattr(Storage, "sync_folder", lambda self, folder: flushed.append(folder))
    folder = tmp_path / "a" / "b"
    Storage().make_folder(str(folder))
    assert folder.is_dir() and flushed == [str(tmp_path), str(tmp_path / "a")]
    flushed.clear()
    Storage().make_folder(str(folder))  # made by a process that may have ended before it could
    assert flushed == [str(tmp_path / "a")]


def test_a_folder_below_one_that_cannot_be_opened(tmp_path, monkeypatch):
    def refuse(self, folder):
        raise PermissionError(13, "Permission denied", folder)

    monkeypatch.setattr(Storage, "sync_folder", refuse)
    Storage().make_folder(str(tmp_path / "journal"))
    assert (tmp_path / "journal").is_dir()
