"""The standby's side: follow a primary and keep its copy in step, until told to take over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import zmq

from engine import wire
from engine.closing import Closing
from engine.endpoints import connect_socket
from engine.errors import InputError
from engine.journal.layout import SCHEMA_VERSION, SCHEMAS_READ
from engine.keys import ClientKeys
from engine.replication import messages
from engine.replication.copy import Copy, CopyError
from engine.replication.history import History
from engine.replication.primary import HEARTBEAT_S, Replicator, Stop
from engine.serving.outside import Outside
from engine.serving.snapshots import BadSnapshot, Snapshots

#: A primary that was not heard of for so long is asked again, over a new connection.
SILENCE_S = 2.0
#: When nothing has come for so long, nothing is on its way from a primary that is gone.
_QUIET_MS = 100
#: Batches applied before the next look at what tells it to stop or to take over.
_MESSAGES_IN_A_ROW = 64


class StandbySignals(Stop, Protocol):
    """What tells a standby to end, or to take over."""

    is_told_to_promote: bool


class Refused(InputError):
    """The primary does not take this standby: its journal is another one, or goes elsewhere."""


class Standby:
    """Follows one primary.

    Parameters
    ----------
    endpoint : str
        The primary's replication socket; it need not be there yet.
    copy : Copy
    kept : int
        Snapshots kept.
    report : callable
        Takes one line at a time about what goes on.
    keys : ClientKeys, optional
        Where the primary asks for them.
    outside : Outside, optional
    on_turn : callable, optional
        Called with this whenever its loop comes round.

    Attributes
    ----------
    primary_seq : int
        Of the last command that the primary has, as far as is known.
    """

    def __init__(
        self, endpoint: str, copy: Copy, *, kept: int, report: Callable[[str], None],
        keys: ClientKeys | None = None, outside: Outside | None = None,
        on_turn: Callable[[Standby], None] = lambda standby: None,
    ) -> None:
        self.primary_seq = 0
        self._on_turn = on_turn
        self._endpoint = endpoint
        self._keys = keys
        self._copy = copy
        self._kept = kept
        self._report = report
        self._outside = outside = outside or Outside()
        self._monotonic = outside.clock.monotonic
        self._context = outside.make_context()
        self._socket: zmq.Socket[bytes] | None = None
        self._session = 0
        self._stream: messages.StreamMessage | None = None
        self._number = 0
        self._heard_at = 0.0

    @property
    def is_connected(self) -> bool:
        """The primary sends its journal, and was heard of lately."""
        return self._stream is not None and self._monotonic() - self._heard_at <= SILENCE_S

    def run(self, signals: StandbySignals, control: Replicator | None) -> None:
        """Follow, until told to take over or to stop.

        Parameters
        ----------
        signals : StandbySignals
        control : Replicator, optional
            The socket at which it may be told so.

        Raises
        ------
        Refused
        ReplayError
            The state here is another than the primary's.
        JournalWriteError, CopyError, InputError
        """
        try:
            while not signals.is_set:
                if signals.is_told_to_promote or (control and control.is_told_to_promote):
                    if self._can_take_over(control):
                        return
                    signals.is_told_to_promote = False
                self._ask_if_silent()
                self._wait(signals, control)
                self._take_waiting()
                self._on_turn(self)
        finally:
            self._disconnect()
            self._copy.abandon_snapshot()
            self._context.term()

    def _can_take_over(self, control: Replicator | None) -> bool:
        """Take what is still on its way, and tell whether there is anything to go on from."""
        deadline = self._monotonic() + SILENCE_S
        while (self._stream is not None and self._socket is not None
               and self._monotonic() < deadline and self._socket.poll(_QUIET_MS)):
            self._take_waiting()
        copy = self._copy
        if not copy.journal_id:
            problem = "told to take over, but nothing has come from a primary yet"
            self._report(problem)
            if control is not None:
                control.refuse_to_promote(problem)
            return False
        self._report(
            f"taking over after seq {copy.journal.last_seq}; the primary was known to be at "
            f"{max(self.primary_seq, copy.journal.last_seq)}")
        return True

    def _wait(self, signals: StandbySignals, control: Replicator | None) -> None:
        poller = self._outside.make_poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(signals.fileno(), zmq.POLLIN)
        if control is not None:
            poller.register(control.socket, zmq.POLLIN)
        poller.poll(int(HEARTBEAT_S * 1000))
        if control is not None:
            control.turn()

    def _ask_if_silent(self) -> None:
        """Ask for the stream where there is none, or where nothing came for a while."""
        now = self._monotonic()
        if self._socket is not None and now - self._heard_at <= SILENCE_S:
            return
        if self._stream is not None:
            self._report(f"nothing from the primary at {self._endpoint}; asking again")
        elif self._socket is None:
            self._report(f"following {self._endpoint} from seq {self._copy.journal.last_seq}")
        self._disconnect()
        self._socket = self._context.socket(zmq.DEALER)
        for option, value in (
            (zmq.LINGER, 0), (zmq.RECONNECT_IVL, 50), (zmq.RECONNECT_IVL_MAX, 500),
            (zmq.RCVHWM, 100),
        ):
            self._socket.setsockopt(option, value)
        connect_socket(self._socket, self._endpoint, self._keys)
        self._session = max(self._session + 1, self._outside.clock.time_ns())
        self._heard_at = now
        copy = self._copy
        self._socket.send_multipart([messages.FOLLOW, messages.encode_follow(
            messages.FollowMessage(
                self._session, copy.journal_id, copy.journal.last_seq, copy.history))])

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close(linger=0)
        self._socket, self._stream = None, None

    def _take_waiting(self) -> None:
        """Make everything that has come durable, acknowledge it, then apply it."""
        socket = self._socket
        for _ in range(_MESSAGES_IN_A_ROW):
            if socket is None or socket is not self._socket or not socket.poll(0):
                break
            try:
                self._take(socket.recv_multipart())
            except (wire.WireError, CopyError) as error:
                self._report(f"{error}; asking again")
                self._disconnect()
        self._copy.apply()

    def _take(self, frames: list[bytes]) -> None:
        """Take one message; batches in it are durable and acknowledged then."""
        if len(frames) not in (2, 3):
            raise wire.WireError(f"expected 2 or 3 frames, found {len(frames)}")
        kind, payload, *data = frames
        if kind == messages.REFUSED:
            session, detail = messages.decode_refused(payload)
            if session == self._session:
                raise Refused(f"{self._endpoint}: the primary refuses this standby: {detail}")
        elif kind == messages.STREAM:
            self._begin(messages.decode_stream(payload))
        elif kind == messages.HEARTBEAT:
            session, number, self.primary_seq = messages.decode_numbers(payload, 3)
            if self._is_own(session, number, next_number=self._number):
                self._acknowledge()
        elif kind == messages.BATCHES and data:
            if self._is_own(*messages.decode_numbers(payload, 2)):
                self._take_batches(data[0])
        elif kind == messages.SNAPSHOT and data:
            *head, offset = messages.decode_numbers(payload, 3)
            if self._is_own(*head):
                self._take_snapshot_piece(offset, data[0])
        else:
            raise wire.WireError(f"unknown kind of message {kind!r:.40}")

    def _is_own(self, session: int, number: int, next_number: int | None = None) -> bool:
        """Tell whether a message belongs to this stream; it must be the next one then."""
        if self._stream is None or session != self._session:
            return False
        expected = self._number + 1 if next_number is None else next_number
        if number != expected:
            raise wire.WireError(f"message {number} from the primary, expected {expected}")
        self._number = expected
        self._heard_at = self._monotonic()
        return True

    def _begin(self, stream: messages.StreamMessage) -> None:
        if stream.session != self._session or self._stream is not None:
            return
        copy = self._copy
        if stream.history.term < copy.history.term:
            raise Refused(
                f"{self._endpoint}: a server of term {stream.history.term}; this journal is of "
                f"term {copy.history.term}: follow the server of that term")
        if stream.schema not in SCHEMAS_READ:
            raise Refused(
                f"{self._endpoint}: it writes schema version {stream.schema}; this engine reads "
                f"{SCHEMAS_READ[0]} to {SCHEMA_VERSION}: replace the standbys' engine first")
        self._stream, self._number = stream, 0
        self._heard_at = self._monotonic()
        if stream.snapshot_seq:
            self._report(f"the primary sends its snapshot of seq {stream.snapshot_seq}")
            copy.receive_snapshot(
                self._snapshots(stream), stream.snapshot_seq, stream.snapshot_size)
        else:
            copy.begin(stream.journal_id)

    def _snapshots(self, stream: messages.StreamMessage) -> Snapshots:
        copy = self._copy
        return Snapshots(copy.journal.folder, stream.journal_id, copy.storage, self._kept)

    def _take_batches(self, data: bytes) -> None:
        self._copy.append(data)
        self.primary_seq = max(self.primary_seq, self._copy.journal.last_seq)
        self._acknowledge()

    def _take_snapshot_piece(self, offset: int, data: bytes) -> None:
        copy, stream = self._copy, self._stream
        assert stream is not None
        if copy.take_snapshot_piece(offset, data):
            try:
                copy.adopt_snapshot(
                    self._snapshots(stream), stream.snapshot_seq, stream.journal_id)
            except BadSnapshot as error:
                raise InputError(
                    f"{error}; the primary has no journal from before it any more") from None
            self._report(f"goes on from the snapshot of seq {stream.snapshot_seq}")
        self._acknowledge()

    def _acknowledge(self) -> None:
        assert self._socket is not None
        self._socket.send_multipart([messages.ACKNOWLEDGE, messages.encode_numbers(
            self._session, self._number, self._copy.journal.last_seq)])


class Reminder(Closing):
    """Tells the server that was followed before that another one has taken over.

    Parameters
    ----------
    endpoint : str
        Its replication socket; it is told whenever it is there.
    journal_id : int
    history : History
        With the start of this server.
    keys : ClientKeys, optional
        Where that one asks for them.
    context : zmq.Context, optional
        That nobody else uses.
    """

    def __init__(
        self, endpoint: str, journal_id: int, history: History, keys: ClientKeys | None = None,
        context: zmq.Context[zmq.Socket[bytes]] | None = None,
    ) -> None:
        self._payload = messages.encode_term(journal_id, history)
        self._context = zmq.Context() if context is None else context
        self._socket = self._context.socket(zmq.DEALER)
        for option, value in (
            (zmq.LINGER, 0), (zmq.SNDHWM, 4), (zmq.IMMEDIATE, 1),
            (zmq.RECONNECT_IVL, 50), (zmq.RECONNECT_IVL_MAX, 200),
        ):
            self._socket.setsockopt(option, value)
        connect_socket(self._socket, endpoint, keys)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close(linger=0)
        self._context.term()

    def send(self) -> None:
        """Tell it now, if it is there."""
        try:
            self._socket.send_multipart([messages.TERM, self._payload], zmq.DONTWAIT)
        except zmq.Again:
            pass  # nobody is there
