"""Messages on the wire: frames and payloads. No sockets here.

A published message is three frames, `[topic][u64 big-endian topic sequence][MessagePack]`; one
between a client and the server is two, `[kind][MessagePack]`.
`docs/formats.md` documents every payload with test vectors, so that a peer can
be written in any language from that page; this module is its Python reading. Whatever takes a
payload or frames apart raises `WireError` where they do not follow that page.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgpack

from engine.batches import COMMAND_DTYPE, SPECIAL_DTYPE
from engine.feeds.records import KIND_NAMES, BookChange, Record
from engine.feeds.steps import Row, Step, is_price, is_symbol

#: Version of every payload; a reader refuses one that it does not know.
VERSION = 1

# A topic ends in a dot: subscriptions match by prefix, and no topic that ends
# this way can be a prefix of another one.
MARKS = b"marks."
HEARTBEAT = b"hb."
#: Begins the topic with the heartbeats of one account's topic, for those who may hear of no other.
BEAT = "beat"
END = b"end."
EVENTS = b"events."
RECORDS = b"records."

# Kinds of messages between a client and the server: two frames, kind and payload.
COMMANDS = b"commands."
OUTCOMES = b"outcomes."
PACKED = b"packed."
PACKED_OUTCOMES = b"packed_outcomes."
QUERY = b"query."
ANSWER = b"answer."
HELLO = b"hello."
REFUSED = b"refused."
# Between a subscriber and the publisher that sends steps again.
RESEND = b"resend."
RESENT = b"resent."
SNAPSHOT = b"snapshot."

#: Channels of market data; the topic of a symbol's is `CHANNEL.SYMBOL.`.
CHANNELS = ("l3", "l2", "l1", "trades", "auction", "status")
#: The events of one account are on `account.NUMBER.`.
ACCOUNT = "account"

#: Commands in one message at most.
COMMANDS_MAX = 1024
#: Packed commands in one message at most.
PACKED_MAX = 16_384

#: Steps that are sent again in one message at most.
RESEND_STEPS_MAX = 1024

#: Largest message a reader accepts, in bytes.
MESSAGE_SIZE_MAX = 16 << 20
#: Largest answer of the snapshot socket: a book may be large.
SNAPSHOT_SIZE_MAX = 256 << 20
_INT64_MAX = 2**63 - 1


class WireError(ValueError):
    """A message that does not follow `docs/formats.md`."""


class VersionError(WireError):
    """A payload of a schema version that this reader does not know."""


class MarksMessage(NamedTuple):
    """Payload of `marks.`: consecutive steps of one feed.

    Attributes
    ----------
    epoch : int
        Start of the publisher, ns; another number means that it was restarted.
    first_step : int
        Number of the first step here, from 1 in each epoch. Steps are numbered
        on their own because how many travel in one message is arbitrary.
    steps : list of Step
    """

    epoch: int
    first_step: int
    steps: list[Step]


class HeartbeatMessage(NamedTuple):
    """Payload of `hb.`: what a reader should have seen by now."""

    epoch: int
    last_sequences: dict[str, int]


class CommandsMessage(NamedTuple):
    """Payload of `commands.`: consecutive requests of one client.

    Attributes
    ----------
    client : str
    first_request : int
        Number of the first command here; the following ones count on.
    commands : list
        Not checked yet.
    """

    client: str
    first_request: int
    commands: list[Any]


class PackedMessage(NamedTuple):
    """Payload of `packed.`: a table of commands of one client, with consecutive requests.

    Attributes
    ----------
    client : str
    first_request : int
        Number of the first command; the following ones count on.
    rows, specials : bytes
        Tables of `engine.batches.COMMAND_DTYPE` and `SPECIAL_DTYPE`, whole rows of them.
    """

    client: str
    first_request: int
    rows: bytes
    specials: bytes


class SnapshotMessage(NamedTuple):
    """Payload of the server's `snapshot.`: a topic's state.

    Attributes
    ----------
    epoch : int
    token : int
        Of the request.
    topic : str
    sequence : int
        Of the topic's last message that the state includes.
    state : dict
    """

    epoch: int
    token: int
    topic: str
    sequence: int
    state: dict[str, Any]


class EndMessage(NamedTuple):
    """Payload of `end.`: the feed is over, and how much of it there was."""

    epoch: int
    last_sequences: dict[str, int]
    step_count: int
    mark_count: int


def make_frames(topic: bytes, sequence: int, payload: bytes) -> list[bytes]:
    """Build the three frames of a message."""
    return [topic, sequence.to_bytes(8, "big"), payload]


def split_frames(frames: Sequence[bytes]) -> tuple[bytes, int, bytes]:
    """Take a message apart into topic, topic sequence and payload.

    Raises
    ------
    WireError
    """
    if len(frames) != 3:
        raise WireError(f"expected 3 frames, found {len(frames)}")
    topic, sequence, payload = frames
    if len(sequence) != 8:
        raise WireError(f"expected a sequence of 8 bytes, found {len(sequence)}")
    number = int.from_bytes(sequence, "big")
    if number == 0:
        raise WireError("sequence 0: sequences start at 1")
    return topic, number, payload


def encode_marks(epoch: int, first_step: int, steps: Sequence[Step]) -> bytes:
    """Encode the payload of a `marks.` message."""
    return _pack([VERSION, epoch, first_step, steps])


def decode_marks(payload: bytes) -> MarksMessage:
    """Decode and check the payload of a `marks.` message, whole or not at all.

    Raises
    ------
    WireError
    """
    fields = _unpack(payload, 4)
    epoch, first_step, steps = fields[1:]
    _require(_is_count(epoch), "epoch is not a number")
    _require(_is_count(first_step) and first_step > 0, "first step is not a number from 1")
    _require(isinstance(steps, list) and bool(steps), "steps is not a list with content")
    return MarksMessage(epoch, first_step, [_check_step(step) for step in steps])


def _check_step(step: Any) -> Step:
    _require(isinstance(step, list) and len(step) == 2, "a step is not [ts_ns, rows]")
    ts_ns, rows = step
    _require(_is_count(ts_ns), "ts_ns is not a number")
    _require(isinstance(rows, list) and bool(rows), "rows is not a list with content")
    return ts_ns, [_check_row(row) for row in rows]


def _check_row(row: Any) -> Row:
    _require(isinstance(row, list) and len(row) == 3, "a row is not [symbol, mark, index]")
    symbol, mark, index = row
    # Said only where it is so: to write such a text takes longer than all the rest of a row.
    if not is_symbol(symbol):
        raise WireError(f"not a symbol: {symbol!r:.60}")
    if not is_price(mark):
        raise WireError(f"not a mark price: {mark!r:.60}")
    if not (index is None or is_price(index)):
        raise WireError(f"not an index price: {index!r:.60}")
    return symbol, mark, index


def encode_records(epoch: int, first_record: int, records: Sequence[Record]) -> bytes:
    """Encode the payload of a `records.` message."""
    rows = [(KIND_NAMES[type(record)], *record) for record in records]
    # Levels may be columns, which are written like lists.
    payload: bytes = msgpack.packb([VERSION, epoch, first_record, rows], default=list)
    return payload


def decode_records(payload: bytes) -> tuple[int, int, list[Record]]:
    """Decode the payload of a `records.` message: epoch, number of the first, records.

    Raises
    ------
    WireError
        Kinds that this reader does not know are left out.
    """
    _, epoch, first_record, rows = _unpack(payload, 4)
    _require(_is_count(epoch) and _is_count(first_record), "not a number")
    _require(isinstance(rows, list), "records is not a list")
    records: list[Record] = []
    for row in rows:
        _require(isinstance(row, list) and len(row) > 3, "a record is not a list of fields")
        _require(isinstance(row[0], str), "the kind of a record is not a string")
        kind = _KINDS.get(row[0])
        if kind is not None:
            records.append(_record(kind, row[1:]))
    return epoch, first_record, records


def _record(kind: type, fields: list[Any]) -> Record:
    width = len(kind._fields)  # type: ignore[attr-defined]
    _require(len(fields) >= width, f"a {kind.__name__} has {width} fields, not {len(fields)}")
    if kind is BookChange:
        _require(all(map(_is_side, fields[4:6])), "a side is not a list of [price, quantity]")
        fields[4:6] = ([(price, quantity) for price, quantity in side] for side in fields[4:6])
    record: Record = kind(*fields[:width])
    return record


def _is_side(side: Any) -> bool:
    return isinstance(side, list) and all(
        isinstance(level, list) and len(level) == 2 for level in side)


_KINDS = {name: kind for kind, name in KIND_NAMES.items()}


def encode_heartbeat(epoch: int, last_sequences: dict[bytes, int]) -> bytes:
    """Encode the payload of an `hb.` message."""
    return _pack([VERSION, epoch, _pairs(last_sequences)])


def decode_heartbeat(payload: bytes) -> HeartbeatMessage:
    """Decode and check the payload of an `hb.` message."""
    _, epoch, pairs = _unpack(payload, 3)
    _require(_is_count(epoch), "epoch is not a number")
    return HeartbeatMessage(epoch, _check_pairs(pairs))


def encode_end(
    epoch: int, last_sequences: dict[bytes, int], step_count: int, mark_count: int
) -> bytes:
    """Encode the payload of an `end.` message."""
    return _pack([VERSION, epoch, _pairs(last_sequences), step_count, mark_count])


def decode_end(payload: bytes) -> EndMessage:
    """Decode and check the payload of an `end.` message."""
    _, epoch, pairs, step_count, mark_count = _unpack(payload, 5)
    _require(_is_count(epoch), "epoch is not a number")
    _require(_is_count(step_count) and _is_count(mark_count), "a count is not a number")
    return EndMessage(epoch, _check_pairs(pairs), step_count, mark_count)


def encode_events(epoch: int, seq: int, ts_ns: int, events: Sequence[dict[str, Any]]) -> bytes:
    """Encode the payload of an `events.` message: all events of one command."""
    return _pack([VERSION, epoch, seq, ts_ns, events])


def decode_events(payload: bytes) -> tuple[int, int, int, list[dict[str, Any]]]:
    """Decode the payload of an `events.` message: epoch, seq, ts_ns, events."""
    _, epoch, seq, ts_ns, events = _unpack(payload, 5)
    _require(_is_count(epoch) and _is_count(seq) and _is_count(ts_ns), "not a number")
    _require(isinstance(events, list), "events is not a list")
    return epoch, seq, ts_ns, events


def topic_name(channel: str, of: str | int) -> bytes:
    """Return the topic of a symbol's channel, or of an account."""
    return f"{channel}.{of}.".encode()


def encode_market(epoch: int, messages: Sequence[dict[str, Any]]) -> bytes:
    """Encode the payload of a topic of market data: messages of one channel of a symbol."""
    return _pack([VERSION, epoch, messages])


def decode_market(payload: bytes) -> tuple[int, list[dict[str, Any]]]:
    """Decode the payload of a topic of market data: epoch, messages."""
    _, epoch, messages = _unpack(payload, 3)
    _require(_is_count(epoch), "epoch is not a number")
    _require(isinstance(messages, list) and all(
        isinstance(message, dict) for message in messages), "messages is not a list of maps")
    return epoch, messages


def encode_snapshot_request(token: int, topic: str) -> bytes:
    """Encode the payload of a client's `snapshot.`; the answer repeats the token."""
    return _pack([VERSION, token, topic])


def decode_snapshot_request(payload: bytes) -> tuple[int, str]:
    """Decode the payload of a client's `snapshot.`: token, topic."""
    _, token, topic = _unpack(payload, 3)
    _require(_is_count(token), "token is not a number")
    _require(isinstance(topic, str), "topic is not a string")
    return token, topic


def encode_snapshot(
    epoch: int, token: int, topic: str, sequence: int, state: dict[str, Any]
) -> bytes:
    """Encode the payload of the server's `snapshot.`."""
    return _pack([VERSION, epoch, token, topic, sequence, state])


def decode_snapshot(payload: bytes) -> SnapshotMessage:
    """Decode the payload of the server's `snapshot.`."""
    _, epoch, token, topic, sequence, state = _unpack(payload, 6)
    _require(all(map(_is_count, (epoch, token, sequence))), "not a number")
    _require(isinstance(topic, str) and isinstance(state, dict), "not a topic and its state")
    return SnapshotMessage(epoch, token, topic, sequence, state)


def encode_commands(client: str, first_request: int, commands: Sequence[Any]) -> bytes:
    """Encode the payload of a `commands.` message."""
    return _pack([VERSION, client, first_request, commands])


def decode_commands(payload: bytes) -> CommandsMessage:
    """Decode and check the payload of a `commands.` message, but not the commands."""
    _, client, first_request, commands = _unpack(payload, 4)
    _require(isinstance(client, str), "client is not a string")
    _require(isinstance(commands, list) and bool(commands), "commands is not a list with content")
    _require(len(commands) <= COMMANDS_MAX, f"more than {COMMANDS_MAX} commands")
    _require(
        _is_count(first_request) and 0 < first_request <= _INT64_MAX - len(commands),
        "first request is not a number from 1")
    return CommandsMessage(client, first_request, commands)


def encode_outcomes(
    epoch: int, client: str, first_request: int, outcomes: Sequence[Sequence[Any]]
) -> bytes:
    """Encode the payload of an `outcomes.` message; one `[code, seq, ts, reason, detail]` each."""
    return _pack([VERSION, epoch, client, first_request, outcomes])


def decode_outcomes(payload: bytes) -> tuple[int, str, int, list[list[Any]]]:
    """Decode the payload of an `outcomes.` message: epoch, client, first request, outcomes."""
    _, epoch, client, first_request, outcomes = _unpack(payload, 5)
    _require(_is_count(epoch) and _is_count(first_request), "not a number")
    _require(isinstance(client, str), "client is not a string")
    _require(isinstance(outcomes, list) and all(
        isinstance(outcome, list) and len(outcome) >= 5 for outcome in outcomes),
        "outcomes is not a list of outcomes")
    return epoch, client, first_request, [outcome[:5] for outcome in outcomes]


def encode_packed(client: str, first_request: int, rows: bytes, specials: bytes) -> bytes:
    """Encode the payload of a `packed.` message."""
    return _pack([VERSION, client, first_request, rows, specials])


def decode_packed(payload: bytes) -> PackedMessage:
    """Decode and check the payload of a `packed.` message, but not the commands."""
    _, client, first_request, rows, specials = _unpack(payload, 5)
    _require(isinstance(client, str), "client is not a string")
    for name, table, dtype in (
            ("commands", rows, COMMAND_DTYPE), ("specials", specials, SPECIAL_DTYPE)):
        size = dtype.itemsize
        _require(isinstance(table, bytes), f"{name} is not bytes")
        _require(len(table) % size == 0, f"{name} is not whole rows of {size} bytes")
        _require(len(table) <= PACKED_MAX * size, f"more than {PACKED_MAX} {name}")
    count = len(rows) // COMMAND_DTYPE.itemsize
    _require(count > 0, "commands is without content")
    _require(
        _is_count(first_request) and 0 < first_request <= _INT64_MAX - count,
        "first request is not a number from 1")
    return PackedMessage(client, first_request, rows, specials)


def encode_packed_outcomes(
    epoch: int, client: str, first_request: int, parts: Sequence[Sequence[Any]]
) -> bytes:
    """Encode the payload of a `packed_outcomes.` message.

    Each part is `[count, code, first_seq, ts, rejections, detail]`.
    """
    return _pack([VERSION, epoch, client, first_request, parts])


def decode_packed_outcomes(payload: bytes) -> tuple[int, str, int, list[list[Any]]]:
    """Decode the payload of a `packed_outcomes.` message: epoch, client, first request, parts."""
    _, epoch, client, first_request, parts = _unpack(payload, 5)
    _require(_is_count(epoch) and _is_count(first_request), "not a number")
    _require(isinstance(client, str), "client is not a string")
    _require(isinstance(parts, list) and all(
        isinstance(part, list) and len(part) >= 6 and _is_count(part[0])
        and isinstance(part[4], bytes) for part in parts), "parts is not a list of parts")
    return epoch, client, first_request, [part[:6] for part in parts]


def encode_query(token: int, query: dict[str, Any]) -> bytes:
    """Encode the payload of a `query.` message; the answer repeats the token."""
    return _pack([VERSION, token, query])


def decode_query(payload: bytes) -> tuple[int, Any]:
    """Decode the payload of a `query.` message: token, query (not checked yet)."""
    _, token, query = _unpack(payload, 3)
    _require(_is_count(token), "token is not a number")
    _require(isinstance(query, dict), "query is not a map")
    return token, query


def encode_answer(epoch: int, token: int, answer: dict[str, Any]) -> bytes:
    """Encode the payload of an `answer.` message."""
    return _pack([VERSION, epoch, token, answer])


def decode_answer(payload: bytes) -> tuple[int, int, dict[str, Any]]:
    """Decode the payload of an `answer.` message: epoch, token, answer."""
    _, epoch, token, answer = _unpack(payload, 4)
    _require(_is_count(epoch) and _is_count(token), "not a number")
    _require(isinstance(answer, dict), "answer is not a map")
    return epoch, token, answer


def encode_hello(client: str) -> bytes:
    """Encode the payload of a `hello.` message of a client."""
    return _pack([VERSION, client])


def decode_hello(payload: bytes) -> str:
    """Decode the payload of a `hello.` message of a client: its name."""
    _, client = _unpack(payload, 2)
    _require(isinstance(client, str), "client is not a string")
    return str(client)


def encode_welcome(epoch: int, client: str, last_request: int, seq: int, ts_ns: int) -> bytes:
    """Encode the payload of the server's `hello.`."""
    return _pack([VERSION, epoch, client, last_request, seq, ts_ns])


def decode_welcome(payload: bytes) -> tuple[int, str, int, int, int]:
    """Decode the payload of the server's `hello.`: epoch, client, last request, seq, ts."""
    _, epoch, client, last_request, seq, ts_ns = _unpack(payload, 6)
    _require(all(map(_is_count, (epoch, last_request, seq, ts_ns))), "not a number")
    _require(isinstance(client, str), "client is not a string")
    return epoch, client, last_request, seq, ts_ns


def encode_refused(
    epoch: int, detail: str, kind: bytes | None = None, number: int | None = None,
    code: str = "malformed_message",
) -> bytes:
    """Encode the payload of a `refused.` message: a message that could or may not be done.

    Parameters
    ----------
    epoch : int
    detail : str
    kind : bytes, optional
        Of the message that is refused.
    number : int, optional
        Its token or first request, as far as it could be read.
    code : str
        What was wrong, for programs.
    """
    return _pack(
        [VERSION, epoch, detail, None if kind is None else kind.decode(), number, code])


def decode_refused(payload: bytes) -> tuple[int, str, str]:
    """Decode the payload of a `refused.` message: epoch, detail, code."""
    fields = _unpack(payload, 3, 6)
    epoch, detail = fields[1:3]
    code = fields[5] if len(fields) > 5 else "refused"
    _require(_is_count(epoch), "not a number")
    _require(isinstance(detail, str) and isinstance(code, str), "not a text")
    return epoch, detail, code


def refused_request(payload: bytes) -> tuple[bytes | None, int | None]:
    """Return kind and number of the message that a `refused.` is about, None where not said."""
    fields = _unpack(payload, 3, 5)[3:]
    kind, number = [*fields, None, None][:2]
    _require(kind is None or isinstance(kind, str), "kind is not a string")
    _require(number is None or _is_count(number), "number is not a number")
    return None if kind is None else kind.encode(), number


def encode_resend(epoch: int, first_step: int, last_step: int) -> bytes:
    """Encode the payload of a `resend.` message."""
    return _pack([VERSION, epoch, first_step, last_step])


def decode_resend(payload: bytes) -> tuple[int, int, int]:
    """Decode the payload of a `resend.` message: epoch, first step, last step."""
    _, epoch, first, last = _unpack(payload, 4)
    _require(_is_count(epoch) and _is_count(first) and _is_count(last), "not a number")
    _require(0 < first <= last, "steps are not from 1, or end before they begin")
    return epoch, first, last


def encode_resent(
    epoch: int, first_step: int, steps: Sequence[Step], oldest_step: int, newest_step: int
) -> bytes:
    """Encode the payload of a `resent.` message; the publisher has steps oldest to newest."""
    return _pack([VERSION, epoch, first_step, steps, oldest_step, newest_step])


def decode_resent(payload: bytes) -> tuple[int, int, list[Step], int, int]:
    """Decode the payload of a `resent.` message: epoch, first step, steps, oldest, newest."""
    _, epoch, first, steps, oldest, newest = _unpack(payload, 6)
    _require(all(map(_is_count, (epoch, first, oldest, newest))), "not a number")
    _require(isinstance(steps, list), "steps is not a list")
    return epoch, first, [_check_step(step) for step in steps], oldest, newest


def _pairs(last_sequences: dict[bytes, int]) -> list[list[str | int]]:
    return [[topic.decode(), last_sequences[topic]] for topic in sorted(last_sequences)]


def _check_pairs(pairs: Any) -> dict[str, int]:
    _require(isinstance(pairs, list), "last sequences is not a list")
    for pair in pairs:
        _require(isinstance(pair, list) and len(pair) == 2, "not a [topic, sequence] pair")
        _require(isinstance(pair[0], str) and _is_count(pair[1]), "not a [topic, sequence] pair")
    return dict(pairs)


def _pack(fields: list[Any]) -> bytes:
    payload: bytes = msgpack.packb(fields)
    return payload


def _unpack(payload: bytes, width: int, width_max: int = 0) -> list[Any]:
    try:
        fields: list[Any] = msgpack.unpackb(payload)
    except Exception as error:  # the unpacker has no common base class for bad input
        raise WireError(f"not MessagePack: {type(error).__name__}") from None
    _require(isinstance(fields, list) and bool(fields), "the payload is not an array")
    if fields[0] != VERSION or isinstance(fields[0], bool):
        raise VersionError(f"payload version {fields[0]!r:.20}, this reader knows {VERSION}")
    if len(fields) < width:
        raise WireError(f"expected {width} fields, found {len(fields)}")
    # A newer writer may append fields under the same version; they are not for us.
    return fields[:max(width, width_max)]


def read_fields(payload: bytes, *shape: type) -> list[Any]:
    """Decode a payload of the present version whose fields have these types.

    Raises
    ------
    WireError
        Numbers are from 0 to 2^63 - 1.
    """
    fields = _unpack(payload, 1 + len(shape))[1:]
    for at, (field, wanted) in enumerate(zip(fields, shape, strict=True), start=1):
        fits = _is_count(field) if wanted is int else isinstance(field, wanted)
        _require(fits, f"field {at} is not a proper {wanted.__name__}: {field!r:.60}")
    return fields


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _INT64_MAX


def _require(condition: bool, problem: str) -> None:
    if not condition:
        raise WireError(problem)
