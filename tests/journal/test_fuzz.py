"""Whatever bytes a journal has, reading it gives commands or a `JournalError`; nothing else."""

from __future__ import annotations

from pathlib import Path

import msgpack
from hypothesis import given, settings
from hypothesis import strategies as st
from support.disk import Disk, _File
from support.journals import record

from engine.journal import JournalError, JournalReader, Kind
from engine.journal.layout import SegmentHeader, make_batch, make_segment_header

FOLDER = "/journal"
NAME = f"{FOLDER}/{1:020d}.journal"
ID = 42
HEAD = make_segment_header(SegmentHeader(ID, 1, 0))


def read(*files: tuple[str, bytes]) -> str:
    """Read a journal of these files as a server would; say how it ended."""
    disk = Disk()
    disk._names = {name: _File(data) for name, data in files}
    reader = JournalReader(FOLDER, disk)
    try:
        for batch in reader.batches():
            if batch.header.kind == Kind.COMMANDS:
                assert all(isinstance(entry.command, dict) for entry in batch.entries())
            else:
                batch.facts()
    except JournalError as error:
        assert str(error).startswith(FOLDER) and "\n" not in str(error)
        return "refused"
    assert 0 <= reader.torn_bytes <= sum(len(data) for _, data in files)
    return "read"


@given(st.binary(max_size=400))
def test_random_bytes(data):
    assert read((NAME, data)) == "refused"


@given(st.binary(max_size=400))
def test_random_bytes_behind_a_header(data):
    assert read((NAME, HEAD + data)) == "read"  # a tail that is torn, if it is not empty


payloads = st.binary(max_size=200) | st.recursive(
    st.none() | st.booleans() | st.integers(-2**63, 2**64 - 1) | st.floats() | st.text(max_size=9)
    | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=4), inner),
).map(msgpack.packb) | st.lists(st.integers(1, 9).map(record), max_size=4).map(b"".join)


@given(st.lists(st.tuples(
    st.sampled_from([*Kind, 0, 9]), st.sampled_from([ID, 7]),
    st.integers(0, 6) | st.just(2**64 - 1),
    st.integers(0, 4) | st.just(2**32 - 1), payloads), max_size=5))
def test_batches_with_right_checksums_and_anything_inside(batches):
    data = HEAD + b"".join(
        make_batch(kind, journal_id, seq, 0, count, payload)
        for kind, journal_id, seq, count, payload in batches)
    read((NAME, data))


@given(st.integers(0, 2**64 - 1), st.binary(max_size=60))
def test_segments_with_any_beginning(first_seq, data):
    name = f"{FOLDER}/{first_seq:020d}.journal"
    head = make_segment_header(SegmentHeader(ID, first_seq, 0))
    read((name, head + data))
    read((NAME, HEAD + make_batch(Kind.COMMANDS, ID, 1, 0, 1, record(1))), (name, head + data))


def whole() -> bytes:
    parts = [HEAD, make_batch(Kind.START, ID, 0, 0, 0, msgpack.packb({"epoch": 1}))]
    parts += [make_batch(Kind.COMMANDS, ID, 2 * at + 1, 0, 2, record(1) + record(2))
              for at in range(4)]
    return b"".join([*parts, bytes(50)])


@given(st.lists(st.tuples(st.integers(0, 700), st.integers(0, 255)), max_size=6),
       st.integers(0, 700))
@settings(max_examples=300)
def test_a_mangled_journal(changes, size):
    data = bytearray(whole()[:size])
    for at, value in changes:
        if at < len(data):
            data[at] = value
    read((NAME, bytes(data)))


def test_the_whole_one_is_whole(tmp_path: Path):
    assert read((NAME, whole())) == "read"
