"""docs/wire_vectors.json: every message, encoded and decoded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgpack
import pytest

from engine import wire
from engine.feeds.records import KIND_NAMES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "formats.md"
VECTORS = json.loads((PAGE.parent / "wire_vectors.json").read_text(encoding="utf-8"))
KINDS = {name: kind for kind, name in KIND_NAMES.items()}


class Coder(NamedTuple):
    """How this package writes a payload from its fields, and what it reads from it."""

    encode: Callable[..., bytes]
    decode: Callable[[bytes], Any]
    expected: Callable[..., Any] = lambda *fields: fields


def records(epoch: int, first: int, rows: list) -> tuple:
    return epoch, first, [KINDS[kind](*fields) for kind, *fields in rows]


def rows_of(steps: list) -> list:
    return [(ts, [tuple(row) for row in rows]) for ts, rows in steps]


def by_topic(pairs: list) -> dict[bytes, int]:
    return {topic.encode(): last for topic, last in pairs}


EVENTS = Coder(wire.encode_events, wire.decode_events)
MARKET = Coder(wire.encode_market, wire.decode_market)
REFUSED = Coder(
    lambda epoch, detail, kind, number, code: wire.encode_refused(
        epoch, detail, kind and kind.encode(), number, code),
    lambda payload: (*wire.decode_refused(payload), *wire.refused_request(payload)),
    lambda epoch, detail, kind, number, code: (
        epoch, detail, code, kind and kind.encode(), number))
CODERS = {
    "marks.": Coder(
        wire.encode_marks, wire.decode_marks,
        lambda epoch, first, steps: (epoch, first, rows_of(steps))),
    "records.": Coder(
        lambda *fields: wire.encode_records(*records(*fields)), wire.decode_records, records),
    "hb.": Coder(
        lambda epoch, pairs: wire.encode_heartbeat(epoch, by_topic(pairs)),
        wire.decode_heartbeat, lambda epoch, pairs: (epoch, dict(pairs))),
    "end.": Coder(
        lambda epoch, pairs, *counts: wire.encode_end(epoch, by_topic(pairs), *counts),
        wire.decode_end, lambda epoch, pairs, *counts: (epoch, dict(pairs), *counts)),
    "events.": EVENTS, "account.": EVENTS, "l2.": MARKET, "trades.": MARKET,
    "commands.": Coder(wire.encode_commands, wire.decode_commands),
    "outcomes.": Coder(wire.encode_outcomes, wire.decode_outcomes),
    "packed.": Coder(wire.encode_packed, wire.decode_packed),
    "packed_outcomes.": Coder(wire.encode_packed_outcomes, wire.decode_packed_outcomes),
    "query.": Coder(wire.encode_query, wire.decode_query),
    "answer.": Coder(wire.encode_answer, wire.decode_answer),
    "hello. of a client": Coder(
        wire.encode_hello, wire.decode_hello, lambda client: client),
    "hello. of the server": Coder(wire.encode_welcome, wire.decode_welcome),
    "snapshot. of a client": Coder(
        wire.encode_snapshot_request, wire.decode_snapshot_request),
    "snapshot. of the server": Coder(wire.encode_snapshot, wire.decode_snapshot),
    "resend.": Coder(wire.encode_resend, wire.decode_resend),
    "resent.": Coder(
        wire.encode_resent, wire.decode_resent,
        lambda epoch, first, steps, *bounds: (epoch, first, rows_of(steps), *bounds)),
    "refused.": REFUSED, "refused. of something unreadable": REFUSED,
}


def given(value: Any) -> Any:
    """A payload of the file with its bytes as bytes."""
    if isinstance(value, list):
        return [given(each) for each in value]
    if isinstance(value, dict) and list(value) == ["bytes"]:
        return bytes.fromhex(value["bytes"])
    return value


def test_there_is_a_vector_of_every_message():
    assert sorted(vector["name"] for vector in VECTORS) == sorted(CODERS)
    kinds = {value for name, value in vars(wire).items() if isinstance(value, bytes)}
    assert kinds <= {bytes.fromhex(vector["frames"][0]) for vector in VECTORS}
    text = PAGE.read_text(encoding="utf-8")
    assert all(f"`{kind.decode()}`" in text for kind in kinds)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_a_vector(vector):
    frames = [bytes.fromhex(frame) for frame in vector["frames"]]
    payload, coder = given(vector["payload"]), CODERS[vector["name"]]
    version, *fields = payload
    assert version == wire.VERSION and vector["what"]
    # The bytes are plain MessagePack of what is shown, and exactly what is written.
    assert msgpack.unpackb(frames[-1]) == payload and msgpack.packb(payload) == frames[-1]
    assert coder.encode(*fields) == frames[-1]
    assert coder.decode(frames[-1]) == coder.expected(*fields)
    if len(frames) == 3:
        topic, sequence, _ = wire.split_frames(frames)
        assert wire.make_frames(topic, sequence, frames[-1]) == frames
    # What a newer writer appends is passed over.
    assert coder.decode(msgpack.packb([*payload, "something new"])) == coder.expected(*fields)
