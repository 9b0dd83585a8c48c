"""The N-th operation on the disk fails, is torn, or never happens, for N = 1, 2, 3 …

Whatever happens, what is found afterwards is a beginning of what was appended, and holds every
command whose `append` returned.
"""

from __future__ import annotations

import errno
import struct
import zlib
from random import Random

import pytest
from support.disk import Disk, PowerCut
from support.journals import entries_of, record

from engine.journal import Journal, JournalReader, JournalWriteError, Kind
from engine.journal.store import Durability

FOLDER = "/journal"
SIZES = (1, 2, 1, 5, 1, 1, 9, 1, 2, 3)


def append_all(disk: Disk, acknowledged: list[int], start: int = 0, **options) -> None:
    """Append batches, with a start before and checkpoints between; note what is durable."""
    with Journal(FOLDER, storage=disk, segment_size=500, **options) as journal:
        found = [entry.command["ts"] for entry in entries_of(journal.batches())]
        assert found == list(range(1, len(found) + 1)) and len(found) >= start
        journal.begin()
        acknowledged.extend(found[len(acknowledged):])
        journal.note(Kind.START, {"epoch": 1})
        number = len(found)
        for turn, size in enumerate(SIZES):
            batch = [record(number + each) for each in range(1, size + 1)]
            journal.append(batch)
            number += size
            acknowledged.extend(range(number - size + 1, number + 1))
            if turn % 4 == 3:
                journal.note(Kind.CHECKPOINT, {"state_hash": "aa"})


def found_in(disk: Disk) -> list[int]:
    reader = JournalReader(FOLDER, disk)
    return [entry.command["ts"] for entry in entries_of(reader.batches())]


def check_after(disk: Disk, acknowledged: list[int]) -> None:
    found = found_in(disk)
    assert found == list(range(1, len(found) + 1))
    assert len(found) >= len(acknowledged), "an acknowledged command is gone"
    assert len(found) <= len(acknowledged) + max(SIZES)
    again: list[int] = list(acknowledged)
    append_all(disk, again)
    assert found_in(disk) == again == list(range(1, len(found) + sum(SIZES) + 1))


@pytest.fixture(scope="module")
def operation_count() -> int:
    disk = Disk()
    append_all(disk, [])
    assert {"create", "allocate", "write", "sync", "rename", "sync_folder"} <= set(disk.log)
    return disk.operation_count


@pytest.mark.parametrize("mode", ["cut", "torn"])
@pytest.mark.parametrize("has_history", [False, True])
def test_the_power_goes_at_every_operation(mode, has_history, operation_count):
    survived = 0
    for fail_at in range(1, 2 * operation_count):
        for seed in range(3):
            disk, acknowledged = Disk(), []
            if has_history:
                append_all(disk, acknowledged)
                disk = disk.after_restart()
            disk._fail_at, disk._mode = fail_at, mode
            try:
                append_all(disk, acknowledged)
                survived += 1
            except PowerCut:
                pass
            check_after(disk.after_power_cut(Random(seed)), acknowledged)
        if survived:
            break
    assert survived == 3 and fail_at > operation_count // 2


@pytest.mark.parametrize("mode", ["cut", "torn"])
@pytest.mark.parametrize("has_commands", [False, True])
def test_the_power_goes_while_an_older_journal_gets_a_new_segment(mode, has_commands):
    before, acknowledged = Disk(), []
    if has_commands:
        append_all(before, acknowledged)
    else:
        with Journal(FOLDER, storage=before, segment_size=500) as journal:
            assert list(journal.batches()) == []
            journal.begin()
    with_schema_1(before)
    for fail_at in range(1, 12):
        disk = before.after_restart()
        disk._fail_at, disk._mode = fail_at, mode
        noted = list(acknowledged)
        try:
            append_all(disk, noted)
        except PowerCut:
            pass
        check_after(disk.after_power_cut(Random(fail_at)), noted)


def with_schema_1(disk: Disk) -> None:
    """Let the newest segment begin as it did before there were packed records."""
    head = disk._names[max(disk._names)].data
    struct.pack_into("<H", head, 10, 1)
    struct.pack_into("<I", head, 60, zlib.crc32(head[:60]))


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("has_history", [False, True])
def test_an_error_at_every_operation(code, has_history, operation_count):
    failures = 0
    for fail_at in range(1, 2 * operation_count):
        disk, acknowledged = Disk(), []
        if has_history:
            append_all(disk, acknowledged)
            disk = disk.after_restart()
        disk._fail_at, disk._mode, disk._code = fail_at, "error", code
        try:
            append_all(disk, acknowledged)
        except JournalWriteError as error:
            failures += 1
            assert str(error).startswith(FOLDER + "/") and "\n" not in str(error)
            expected = "input/output error" if code == errno.EIO else "no space left on device"
            assert str(error).endswith(expected)
        check_after(disk.after_restart(), acknowledged)
        check_after(disk.after_power_cut(Random(fail_at)), acknowledged)
    assert failures > operation_count // 2


def test_nothing_is_taken_after_a_failure():
    disk = Disk()
    journal = Journal(FOLDER, storage=disk)
    assert list(journal.batches()) == []
    journal.begin()
    journal.append([record(1)])
    disk._fail_at, disk._mode = disk.operation_count + 2, "error"  # the flush, not the write
    with pytest.raises(JournalWriteError, match=r"cannot write seq 2 to 3: input/output error"):
        journal.append([record(2), record(3)])
    for _ in range(3):
        with pytest.raises(JournalWriteError, match="cannot write seq 2 to 3"):
            journal.append([record(2)])
    assert journal.last_seq == 1 and found_in(disk) == [1]


def test_the_name_of_a_segment_is_flushed_before_what_is_in_it_counts():
    """A process may end between the two, and the power go while the next one writes there."""
    disk, acknowledged = Disk(), []
    append_all(disk, acknowledged)
    last = max(at for at, name in enumerate(disk.log) if name == "rename")
    disk, acknowledged = Disk(fail_at=last + 2), []
    with pytest.raises(PowerCut):
        append_all(disk, acknowledged)
    assert disk.log[-2:] == ["rename", "sync_folder"]
    disk = disk.after_restart()
    with Journal(FOLDER, storage=disk, segment_size=10_000) as journal:
        found = entries_of(journal.batches())
        assert len(found) >= len(acknowledged)
        journal.begin()
        journal.append([record(len(found) + 1)])
    for seed in range(10):
        assert found_in(disk.after_power_cut(Random(seed))) == list(range(1, len(found) + 2))


def test_what_an_ended_process_did_not_flush_is_flushed_before_it_counts():
    disk = Disk()
    options = {"durability": Durability.OFF, "segment_size": 500}
    with Journal(FOLDER, storage=disk, **options) as journal:
        assert list(journal.batches()) == []
        journal.begin()
        journal.append([record(1)])
    disk = disk.after_restart()
    for file in disk._names.values():
        file.durable = b""  # the kernel has it, the disk does not
    acknowledged: list[int] = []
    with Journal(FOLDER, storage=disk, segment_size=500) as journal:
        acknowledged += [entry.command["ts"] for entry in entries_of(journal.batches())]
        journal.begin()
    assert acknowledged == [1]
    for seed in range(5):
        assert found_in(disk.after_power_cut(Random(seed))) == [1]


def test_what_the_kernel_failed_to_write_back_is_written_again():
    """It takes such pages for written: they read well until the power goes."""
    disk = Disk()
    with Journal(FOLDER, storage=disk, durability=Durability.OFF) as journal:
        assert list(journal.batches()) == []
        journal.begin()
        journal.append([record(1), record(2)])
    for file in disk._names.values():
        file.dirty.clear()
    disk = disk.with_another_process()
    with Journal(FOLDER, storage=disk) as journal:
        assert len(entries_of(journal.batches())) == 2
        journal.begin()
        journal.append([record(3)])
    for seed in range(5):
        assert found_in(disk.after_power_cut(Random(seed))) == [1, 2, 3]
