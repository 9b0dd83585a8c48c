"""The wire format: refusals, what a sequence number means, and the journal's vectors."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import wire
from engine.feed_health import SequenceCheck
from engine.journal import Batch, Kind
from engine.journal.layout import (
    SegmentHeader,
    make_batch,
    make_packed_record,
    make_record,
    make_segment_header,
    pack_command,
    read_batch_header,
    read_segment_header,
)

FORMATS = Path(__file__).resolve().parents[2] / "docs" / "formats.md"
EPOCH = 1700000000000000000
TS = EPOCH + 250_000_000
STEPS = [(TS, [("BTCUSDT", "60000.5", None), ("ETHUSDT", "3000.25", "3000.1")])]
PACKED = struct.pack("<12q", 13, -2**63, 1, 0, 5, *[-2**63] * 5, 0, -2**63)
JOURNAL = 0x0123456789ABCDEF
RECORD = make_record(TS, "desk-1", 7, pack_command({"cmd": "time"}))


def vectors() -> dict[str, bytes]:
    block = re.search(r"```vectors\n(.*?)```", FORMATS.read_text(), re.S)
    assert block is not None
    lines = (line.rsplit(None, 1) for line in block[1].splitlines())
    return {name.strip(): bytes.fromhex(code) for name, code in lines}


def test_documented_vectors_are_what_we_write():
    assert vectors() == {
        "segment header": make_segment_header(SegmentHeader(JOURNAL, 1, EPOCH)),
        "record": RECORD,
        "packed record": make_packed_record(TS, "desk-1", 7, PACKED, b""),
        "batch": make_batch(Kind.COMMANDS, JOURNAL, 42, EPOCH, 1, RECORD),
    }


def test_documented_vectors_are_what_we_read():
    payloads = vectors()
    assert read_segment_header(payloads["segment header"], "x") == (JOURNAL, 1, EPOCH, 2)
    header = read_batch_header(payloads["batch"], 0)
    batch = Batch(header, payloads["batch"][48:], "x", 0)
    assert list(batch.entries()) == [(42, TS, "desk-1", 7, {"cmd": "time"})]


def test_appended_elements_are_ignored():
    payload = msgpack.packb([1, EPOCH, 1, STEPS, "something new"])
    assert wire.decode_marks(payload).steps == STEPS


@pytest.mark.parametrize("version", [0, 2, "1", None, True])
def test_another_version_is_refused_as_such(version):
    with pytest.raises(wire.VersionError, match="this reader knows 1"):
        wire.decode_marks(msgpack.packb([version, EPOCH, 1, STEPS]))


def row(*values: Any) -> list:
    return [1, EPOCH, 1, [[TS, [list(values)]]]]


@pytest.mark.parametrize("payload", [
    b"", b"\xc1", b"\x94\x01", msgpack.packb([1, EPOCH, 1, STEPS]) + b"\x00",
    *map(msgpack.packb, [
        {}, [], 5, "marks", [1], [1, EPOCH, 1], [1, -1, 1, STEPS], [1, EPOCH, 0, STEPS],
        [1, 1.5, 1, STEPS], [1, EPOCH, 1, []], [1, EPOCH, 1, [[TS, []]]],
        [1, EPOCH, 1, [[TS]]], [1, EPOCH, 1, [[True, STEPS[0][1]]]], [1, EPOCH, 1, [[-1, [1]]]],
        [1, EPOCH, True, STEPS], row("X", "1"), row("X", "1", None, 2), row(5, "1", None),
        row("", "1", None), row("X", "0", None), row("X", 1.5, None), row("X", 1, None),
        row("X", "1e5", None), row("X", "-1", None), row("X", "1", "x"), row("X", "1" * 30, None),
        row("X", None, None), row(b"X", "1", None), row("X\n", "1", None),
    ]),
])
def test_malformed_marks(payload):
    with pytest.raises(wire.WireError):
        wire.decode_marks(payload)


DECODERS = (
    wire.decode_marks, wire.decode_heartbeat, wire.decode_end, wire.decode_events,
    wire.decode_commands, wire.decode_outcomes, wire.decode_query, wire.decode_answer,
    wire.decode_hello, wire.decode_welcome, wire.decode_refused, wire.decode_packed,
    wire.decode_packed_outcomes,
)


@given(st.binary(max_size=200))
def test_noise_never_gets_through(noise):
    for decode in DECODERS:
        try:
            decode(noise)
        except wire.WireError:
            continue
        raise AssertionError(noise)


@given(st.lists(st.one_of(st.none(), st.integers(), st.text(max_size=5), st.lists(
    st.one_of(st.none(), st.integers(), st.text(max_size=5)), max_size=4)), max_size=5))
def test_any_array_is_read_or_refused_cleanly(fields):
    try:
        payload = msgpack.packb([1, *fields])
    except OverflowError:
        return
    for decode in DECODERS:
        try:
            decode(payload)
        except wire.WireError:
            pass


@pytest.mark.parametrize("frames", [
    [], [b"marks."], [b"marks.", b"\0" * 8], [b"marks.", b"\0" * 7, b""],
    [b"marks.", b"\0" * 8, b""], [b"marks.", b"\1" * 8, b"", b""],
])
def test_malformed_frames(frames):
    with pytest.raises(wire.WireError):
        wire.split_frames(frames)


def test_sequence_verdicts():
    check = SequenceCheck()
    seen = [(number, check.see(number)) for number in (1, 2, 5, 5, 4, 4, 1, 6, 3, 7)]
    assert seen == [
        (1, "next"), (2, "next"), (5, "gap"), (5, "duplicate"), (4, "late"), (4, "duplicate"),
        (1, "duplicate"), (6, "next"), (3, "late"), (7, "next"),
    ]
    assert (check.gap_count, check.missing_count) == (1, 2)
    assert (check.late_count, check.duplicate_count) == (2, 3)
    assert check.miss(7) is False and check.miss(9) is True and check.expected == 10


@given(st.lists(st.integers(1, 30), max_size=60))
def test_sequence_check_against_a_set(numbers):
    check, seen, top = SequenceCheck(), set(), 0
    for number in numbers:
        if number == top + 1:
            expected = "next"
        elif number > top:
            expected = "gap"
        else:
            expected = "duplicate" if number in seen else "late"
        assert check.see(number) == expected
        seen.add(number)
        top = max(top, number)
    assert check.missing_count == top - len(seen) + check.late_count
