"""Messages between a primary and its standbys: `[kind][MessagePack]`, and bytes behind some.

docs/formats.md has them as tables.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgpack

from engine import wire
from engine.replication.history import History

# From a standby.
FOLLOW = b"follow."
ACKNOWLEDGE = b"ack."
# From a server that has taken over.
TERM = b"term."
# From whoever tells a standby to take over.
PROMOTE = b"promote."

# From the primary.
STREAM = b"stream."
BATCHES = b"batches."
SNAPSHOT = b"snapshot."
HEARTBEAT = b"hb."
REFUSED = b"refused."
# From the standby that was told to take over.
PROMOTED = b"promoted."

#: Batches in one message, in bytes; a larger batch goes by itself. Each is flushed by itself at
#: the other side, which answers only then.
BATCHES_BYTES = 1 << 16
#: A piece of a snapshot, in bytes.
SNAPSHOT_BYTES = 1 << 20


class FollowMessage(NamedTuple):
    """Payload of `follow.`: what a standby has.

    Attributes
    ----------
    session : int
        Chosen by the standby for this request; all that answers it carries the same.
    journal_id : int
        0 where it has nothing yet.
    last_seq : int
    history : History
    """

    session: int
    journal_id: int
    last_seq: int
    history: History


class StreamMessage(NamedTuple):
    """Payload of `stream.`: what will follow.

    Attributes
    ----------
    session : int
    journal_id : int
    schema : int
        Version of the payloads that the primary writes.
    history : History
        Of the primary.
    snapshot_seq : int
        Of the snapshot that comes first; 0 where the batches after what the standby has do.
    snapshot_size : int, bytes
    """

    session: int
    journal_id: int
    schema: int
    history: History
    snapshot_seq: int
    snapshot_size: int


def encode_follow(message: FollowMessage) -> bytes:
    """Encode the payload of a `follow.` message."""
    session, journal_id, last_seq, history = message
    return _pack(session, journal_id, last_seq, history.dump())


def decode_follow(payload: bytes) -> FollowMessage:
    """Decode and check the payload of a `follow.` message.

    Raises
    ------
    engine.wire.WireError
    """
    session, journal_id, last_seq, rows = wire.read_fields(payload, int, int, int, list)
    return FollowMessage(session, journal_id, last_seq, _history(rows))


def encode_stream(message: StreamMessage) -> bytes:
    """Encode the payload of a `stream.` message."""
    session, journal_id, schema, history, seq, size = message
    return _pack(session, journal_id, schema, history.dump(), seq, size)


def decode_stream(payload: bytes) -> StreamMessage:
    """Decode and check the payload of a `stream.` message."""
    session, journal_id, schema, rows, seq, size = wire.read_fields(
        payload, int, int, int, list, int, int)
    return StreamMessage(session, journal_id, schema, _history(rows), seq, size)


def encode_numbers(*numbers: int) -> bytes:
    """Encode a payload of numbers: `ack.`, `batches.`, `snapshot.`, `hb.`, `promoted.`."""
    return _pack(*numbers)


def decode_numbers(payload: bytes, count: int) -> list[int]:
    """Decode a payload of numbers."""
    return wire.read_fields(payload, *[int] * count)


def encode_term(journal_id: int, history: History) -> bytes:
    """Encode the payload of a `term.` message."""
    return _pack(journal_id, history.dump())


def decode_term(payload: bytes) -> tuple[int, History]:
    """Decode and check the payload of a `term.` message: journal, history."""
    journal_id, rows = wire.read_fields(payload, int, list)
    return journal_id, _history(rows)


def encode_refused(session: int, detail: str) -> bytes:
    """Encode the payload of a `refused.` message; session 0 answers a `promote.`."""
    return _pack(session, detail)


def decode_refused(payload: bytes) -> tuple[int, str]:
    """Decode the payload of a `refused.` message: session, detail."""
    session, detail = wire.read_fields(payload, int, str)
    return session, detail


def _pack(*fields: Any) -> bytes:
    packed: bytes = msgpack.packb([wire.VERSION, *fields])
    return packed


def _history(rows: list[Any]) -> History:
    try:
        return History.from_dump(rows)
    except (TypeError, ValueError) as error:
        raise wire.WireError(f"not a history: {error}") from None
