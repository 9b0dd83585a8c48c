"""Readers of bytes and lines from outside: whatever comes is read, or refused in the one way said.

`corpus/` has a whole message of each kind and a line of each command and query. Tests change them:
bytes, parts, whole structures.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine import Exchange, InputError, wire
from engine.scenario import run

CORPUS = Path(__file__).parent / "corpus"
MESSAGES = {kind: bytes.fromhex(data) for kind, data in (
    line.split() for line in (CORPUS / "wire.txt").read_text().splitlines())}
LINES = (CORPUS / "scenario.jsonl").read_text().splitlines()

plain = (
    st.none() | st.booleans() | st.integers(-2**63, 2**64 - 1) | st.floats(allow_nan=False)
    | st.text(max_size=9) | st.sampled_from(["1", "-1", "0", "1e5", "A", "USD", "9" * 30, "NaN"]))
values = st.recursive(
    plain | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner,
                                                                max_size=3), max_leaves=8)
json_values = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.text(max_size=5), inner, max_size=3), max_leaves=8)
#: Where to change something: a number for each level, taken modulo what is there.
places = st.lists(st.integers(0, 40), min_size=1, max_size=4)


def changed(whole: Any, path: list[int], value: Any) -> Any:
    """Return a structure with another value somewhere in it; `...` takes it away."""
    if not path or not isinstance(whole, list | dict) or not whole:
        return None if value is ... else value
    pairs = list(whole.items()) if isinstance(whole, dict) else list(enumerate(whole))
    at = path[0] % len(pairs)
    key, inner = pairs[at]
    if value is ... and len(path) == 1:
        del pairs[at]
    else:
        pairs[at] = (key, changed(inner, path[1:], value))
    return dict(pairs) if isinstance(whole, dict) else [each for _, each in pairs]


def mangled(data: bytes, edits: list[tuple[int, int]], size: int) -> bytes:
    found = bytearray(data[:size])
    for at, byte in edits:
        if found:
            found[at % len(found)] = byte
    return bytes(found)


edits = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4)


def decoder(kind: str) -> Any:
    return getattr(wire, f"decode_{kind}")


def test_the_corpus_is_whole():
    assert set(MESSAGES) == {  # give a new kind of message a line in wire.txt
        name.removeprefix("decode_") for name in dir(wire) if name.startswith("decode_")}
    for kind, data in MESSAGES.items():
        assert decoder(kind)(data)
    done = io.StringIO()
    run(LINES, "corpus", done, Exchange())
    assert len(done.getvalue().splitlines()) >= len(LINES) - 5  # some do nothing here


@pytest.mark.parametrize("kind", sorted(MESSAGES))
@given(edits=edits, size=st.integers(0, 400) | st.just(400))
@settings(max_examples=40)
def test_messages_with_other_bytes(kind, edits, size):
    try:
        decoder(kind)(mangled(MESSAGES[kind], edits, size))
    except wire.WireError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("kind", sorted(MESSAGES))
@given(path=places, value=values | st.just(...))
@example(path=[3, 0, 0], value=[])
@example(path=[3, 1, 5], value=[["1"]])
@example(path=[3, 1, 5], value=7)
@settings(max_examples=40)
def test_messages_with_other_parts(kind, path, value):
    payload = msgpack.packb(changed(msgpack.unpackb(MESSAGES[kind]), path, value))
    try:
        decoder(kind)(payload)
    except wire.WireError as error:
        assert "\n" not in str(error)


def outcome(line: str, core: str) -> str | None:
    """Read a line behind a market that is declared; return what was wrong with it."""
    try:
        run([*LINES[:12], line], "corpus", io.StringIO(), Exchange(core=core))
    except InputError as error:
        assert str(error).startswith("corpus:13: ") and "\n" not in str(error)
        return str(error)
    return None


@given(line=st.sampled_from(LINES), path=places, value=json_values | st.just(...))
@settings(max_examples=200)
def test_lines_with_other_parts(line, path, value):
    text = json.dumps(changed(json.loads(line), path, value))
    assert outcome(text, "compiled") == outcome(text, "reference")


@given(line=st.sampled_from(LINES), edits=edits, size=st.integers(0, 400) | st.just(400))
@settings(max_examples=150)
def test_lines_with_other_bytes(line, edits, size):
    outcome(mangled(line.encode(), edits, size).decode(errors="replace"), "compiled")


@given(st.text(max_size=60) | json_values.map(json.dumps))
def test_lines_of_any_kind(line):
    outcome(line, "compiled")
