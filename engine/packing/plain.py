"""What `engine.packing` does, in plain Python: slow, and what the compiled modules must equal."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import zmq

from engine import wire
from engine.messages import COMMAND_COLUMNS, EVENT_ACCOUNTS, EVENT_LAYOUTS, NONE, EventKind
from engine.render import render_event

if TYPE_CHECKING:
    from engine.exchange import Exchange
    from engine.instruments import Instrument

_WIDTH = len(COMMAND_COLUMNS)

#: Number of events, payload, and by account the payload of those that name it.
Message = tuple[int, bytes, dict[int, bytes]]


class EventPacker:
    """Makes the payloads of `events.` from the records of an exchange's core.

    Parameters
    ----------
    exchange : engine.Exchange
        Whose records they are: it has the names and grids.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def pack(
        self, rows: npt.NDArray[np.int64], epoch: int, ts: int | None = None,
        accounts: Container[int] = (),
    ) -> list[Message]:
        """Return the events of each command as a payload.

        Parameters
        ----------
        rows : array of int64, shape (n, `engine.messages.RECORD_WIDTH`)
            Of `Exchange.drain_rows`, in order.
        epoch : int
        ts : int, optional
            Engine time after the commands. Default: that of each command's last event.
        accounts : container of int, optional
            Whose events are wanted by themselves as well.

        Returns
        -------
        list of (int, bytes, dict)
            For each command how many events it had, its payload, and by account that of those
            that name it.
        """
        messages = []
        for seq, group in groupby(rows.tolist(), lambda row: row[1]):
            events = [self._event(row) for row in group]
            after = events[-1]["ts"] if ts is None else ts
            own = {
                account: wire.encode_events(epoch, seq, after, part)
                for account, part in events_by_account(events, accounts).items()}
            messages.append((len(events), wire.encode_events(epoch, seq, after, events), own))
        return messages

    def _event(self, row: list[int]) -> dict[str, Any]:
        record = tuple(row[:4 + len(EVENT_LAYOUTS[EventKind(row[0])])])
        event = render_event(record, self._exchange)
        if self._exchange.client_ids:
            self._exchange.forget_dead(record)
        return event


def events_by_account(
    events: Sequence[dict[str, Any]], accounts: Container[int]
) -> dict[int, list[dict[str, Any]]]:
    """Return of each of these accounts the events that name it."""
    found: dict[int, list[dict[str, Any]]] = {}
    for event in events:
        for account in {event[field] for field in EVENT_ACCOUNTS if field in event}:
            if account in accounts:
                found.setdefault(account, []).append(event)
    return found


class MarkReader:
    """Would make packed `mark` commands of `marks.` messages, but leaves all to `engine.wire`.

    Parameters
    ----------
    instruments : iterable of Instrument
    has_time : bool
    """

    def __init__(self, instruments: Iterable[Instrument], has_time: bool) -> None:
        pass

    def read(self, payload: bytes) -> tuple[int, int, list[str], bytes] | None:
        """Return None: the message is to be read by `engine.wire.decode_marks`."""
        return None


def sum_rows(rows: bytes, factors: Sequence[int]) -> bytes:
    """Return a number for each packed command that tells it from another one, as bytes of uint32.

    Parameters
    ----------
    rows : bytes
        Without special terms.
    factors : sequence of int
        One a column, odd; `engine.serving.packed` says what is done with them.
    """
    words = np.frombuffer(rows, "<u8").astype(np.uint64).reshape(-1, _WIDTH)
    weights = np.array(factors, np.uint64)
    sums = weigh(words[:, :-1], weights[:-1])
    # Terms that are not there.
    sums[words[:, -1] != np.uint64(NONE & 2**64 - 1)] += weights[-1]
    return fold(sums).tobytes()


def weigh(
    words: npt.NDArray[np.uint64], factors: npt.NDArray[np.uint64]
) -> npt.NDArray[np.uint64]:
    """Return the weighted sum of each row."""
    # Absent values are a single bit at the top, which a product would leave there.
    sums: npt.NDArray[np.uint64] = (words ^ (words >> np.uint64(31))) @ factors
    return sums


def fold(sums: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint32]:
    """Return both halves of each number as one."""
    return (sums >> np.uint64(32)).astype(np.uint32) ^ sums.astype(np.uint32)


class Frames:
    """Reads and writes a socket; who owns it closes it, and nobody uses this afterwards.

    Parameters
    ----------
    socket : zmq.Socket
    """

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._socket = socket

    def has_news(self) -> bool:
        """Tell whether a message waits to be received."""
        return bool(int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN)

    def receive(self, limit: int) -> list[list[bytes]]:
        """Return the frames of the messages that are there, so many at most, without waiting."""
        messages: list[list[bytes]] = []
        while len(messages) < limit:
            try:
                messages.append(self._socket.recv_multipart(zmq.NOBLOCK))
            except zmq.Again:
                break
        return messages

    def send(self, topic: bytes, sequence: int, payload: bytes) -> None:
        """Send the three frames of a published message."""
        self._socket.send_multipart(wire.make_frames(topic, sequence, payload))
