"""The primary's side: sends its journal to standbys as it grows, and waits for them if told to."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import zmq

from engine.endpoints import BoundSocket
from engine.errors import RunError
from engine.journal import Journal, JournalError
from engine.journal.layout import SCHEMA_VERSION
from engine.keys import ServerKeys
from engine.replication import messages
from engine.replication.cursor import JournalCursor
from engine.replication.history import History, Start
from engine.serving.outside import Outside

#: Sent to a standby and not acknowledged yet, at most, in bytes.
_WINDOW_BYTES = 4 << 20
#: A standby that was not heard of for so long is gone; it comes back by itself.
GONE_S = 5.0
HEARTBEAT_S = 0.5
#: How long an orderly end waits for a standby that takes nothing, and for all in any case.
_FINISH_S = 5.0
_FINISH_MAX_S = 60.0
#: What a message from a standby may have, in bytes.
_MESSAGE_SIZE_MAX = 1 << 20


class ReplicationError(RunError):
    """Nothing may be answered any more, though the journal is whole."""


class Superseded(ReplicationError):
    """Another server has taken over: this one may not serve any more.

    Attributes
    ----------
    start : Start
        The latest start of the other one.
    """

    def __init__(self, start: Start, own: History, last_seq: int) -> None:
        super().__init__(
            f"superseded: a standby took over after seq {start.seq} and began term {start.term}, "
            f"this server is of term {own.term} and at seq {last_seq}; start it with --follow")
        self.start = start


class SnapshotFiles(Protocol):
    """What a primary needs of its snapshots."""

    def seqs(self) -> list[int]:
        """Return the `seq` of every one, oldest first."""

    def path(self, seq: int) -> str:
        """Return where one is."""


class Stop(Protocol):
    """What tells a server to end."""

    is_set: bool

    def fileno(self) -> int:
        """To wait on."""


@dataclass
class _SnapshotFile:
    """A snapshot that is on its way; the open file stays readable when it is removed."""

    seq: int
    handle: int
    size: int
    offset: int = 0


@dataclass
class _Follower:
    """A standby, and how far it is."""

    session: int
    heard_at: float
    cursor: JournalCursor
    snapshot: _SnapshotFile | None = None
    number: int = 0
    #: (number of the message, its size)
    in_flight: deque[tuple[int, int]] = field(default_factory=deque)
    in_flight_bytes: int = 0
    acknowledged_seq: int = 0

    def has_all(self, end: tuple[int, int]) -> bool:
        """Tell whether it has acknowledged, or said that it has, all up to a place."""
        cursor = self.cursor
        return (self.snapshot is None and not self.in_flight and not cursor.is_searching
                and cursor.place == end)


class Replicator(BoundSocket):
    """Owns the socket that standbys connect to.

    Parameters
    ----------
    endpoint : str
        To bind.
    journal : Journal
    history : History
        Of the journal; grows with it.
    outside : Outside, optional
    required_count : int
        Standbys that must have a batch before it is applied and answered; 0 waits for none.
    timeout_s : float
        How long to wait for them.
    is_lenient : bool
        Go on without them then; otherwise nothing is answered until they are back.
    report : callable
        Takes one line at a time about what goes on.
    keys : ServerKeys, optional
        Whom it lets in; without them everybody who reaches it.

    Notes
    -----
    One thread, that of the server, which calls `turn` whenever something may have happened.
    """

    def __init__(
        self, endpoint: str, journal: Journal, history: History, *,
        outside: Outside | None = None, required_count: int = 0, timeout_s: float = 5.0,
        is_lenient: bool = False, report: Callable[[str], None], keys: ServerKeys | None = None,
    ) -> None:
        self.snapshots: SnapshotFiles | None = None
        self.is_serving = False
        self.is_degraded = False
        self._journal = journal
        self._history = history
        self._outside = outside = outside or Outside()
        self._storage = outside.storage
        self._required_count = required_count
        self._timeout_s = timeout_s
        self._is_lenient = is_lenient
        self._report = report
        self._monotonic = outside.clock.monotonic
        self._followers: dict[bytes, _Follower] = {}
        self._promoting: list[bytes] = []
        self._heartbeat_at = 0.0
        #: Of the last batch and of the one before, when they became durable.
        self._latest_seqs = (journal.last_seq, journal.last_seq)
        super().__init__(zmq.ROUTER, endpoint, {
            zmq.LINGER: 1000, zmq.SNDHWM: 10_000, zmq.MAXMSGSIZE: _MESSAGE_SIZE_MAX,
        }, keys=keys, domain="replication", context=outside.make_context())

    @property
    def socket(self) -> zmq.Socket[bytes]:
        """To wait on, together with others."""
        return self._socket

    @property
    def follower_count(self) -> int:
        """Standbys that follow now."""
        return len(self._followers)

    @property
    def lag(self) -> int:
        """Commands that the standby furthest behind has not acknowledged."""
        needed = self.needed_seq
        return 0 if needed is None else self._journal.last_seq - needed

    @property
    def needed_seq(self) -> int | None:
        """Command after which standbys still need everything; None where there is no standby."""
        return min((each.acknowledged_seq for each in self._followers.values()), default=None)

    def turn(self) -> bool:
        """Read what standbys say, and send them what there is; tell whether there is more to send.

        Raises
        ------
        Superseded
            One of them knows of a server that has taken over.
        """
        while self._socket.poll(0):
            self._take(self._socket.recv_multipart())
        now = self._monotonic()
        for peer in [peer for peer, each in self._followers.items()
                     if now - each.heard_at > GONE_S]:
            self._drop(peer)
            self._report("a standby has gone")
        if now >= self._heartbeat_at:
            self._send_heartbeats()
            self._heartbeat_at = now + HEARTBEAT_S
        if self.is_degraded:
            self._look_for_standbys()
        has_more = [self._send_more(*each) for each in list(self._followers.items())]
        return any(has_more)

    # --- what standbys say ---------------------------------------------------------------

    def _take(self, frames: list[bytes]) -> None:
        try:
            peer, kind, payload = frames
            if kind == messages.PROMOTE:
                self._take_promote(peer)
            elif not self.is_serving:
                return  # whoever wants to follow asks again until this is the primary
            elif kind == messages.FOLLOW:
                self._take_follow(peer, messages.decode_follow(payload))
            elif kind == messages.ACKNOWLEDGE:
                self._take_acknowledgement(peer, *messages.decode_numbers(payload, 3))
            elif kind == messages.TERM:
                self._check_term(*messages.decode_term(payload))
        except ValueError:
            return  # no standby of ours says such things

    def _check_term(self, journal_id: int, history: History) -> None:
        if journal_id == self._journal.journal_id and history.term > self._history.term:
            raise Superseded(
                next(start for start in history.starts if start.term > self._history.term),
                self._history, self._journal.last_seq)

    def _take_follow(self, peer: bytes, message: messages.FollowMessage) -> None:
        self._check_term(message.journal_id, message.history)
        known = self._followers.get(peer)
        if known is not None and known.session == message.session:
            return
        self._drop(peer)
        problem = self._problem_with(message)
        if problem is not None:
            self._report(f"a standby was refused: {problem}")
            self._send(peer, messages.REFUSED, messages.encode_refused(message.session, problem))
            return
        last_seq = message.last_seq
        is_short = not JournalCursor.can_begin(self._journal, last_seq)
        snapshot = self._open_snapshot() if is_short else None
        after = last_seq if snapshot is None else snapshot.seq
        if not JournalCursor.can_begin(self._journal, after):
            problem = f"the journal here begins after seq {last_seq}, and there is no snapshot"
            self._send(peer, messages.REFUSED, messages.encode_refused(message.session, problem))
            return
        follower = _Follower(
            message.session, self._monotonic(),
            JournalCursor(self._journal, self._storage, after), snapshot)
        follower.acknowledged_seq = after
        self._followers[peer] = follower
        self._report(
            f"a standby follows from seq {last_seq}" if snapshot is None else
            f"a standby has seq {last_seq}: it gets the snapshot of seq {snapshot.seq} first")
        self._send(peer, messages.STREAM, messages.encode_stream(messages.StreamMessage(
            message.session, self._journal.journal_id or 0, SCHEMA_VERSION, self._history,
            snapshot.seq if snapshot else 0, snapshot.size if snapshot else 0)))

    def _problem_with(self, message: messages.FollowMessage) -> str | None:
        """Tell why a standby's copy is not the beginning of this journal, None where it is."""
        own_id, own_seq = self._journal.journal_id, self._journal.last_seq
        if message.journal_id == 0:
            return None
        if message.journal_id != own_id:
            return f"it has journal {message.journal_id:016x}, here is {own_id:016x}"
        shared = self._history.shared_seq(own_seq, message.history, message.last_seq)
        if shared is None and message.last_seq:
            return "its journal and this one have no start of a server in common"
        if shared is not None and message.last_seq > shared:
            return (
                f"it has {message.last_seq - shared} commands, seq {shared + 1} to "
                f"{message.last_seq}, that are not in this journal")
        return None

    def _open_snapshot(self) -> _SnapshotFile | None:
        if self.snapshots is None:
            return None
        for seq in reversed(self.snapshots.seqs()):
            try:
                handle = self._storage.open_for_reading(self.snapshots.path(seq))
            except OSError:
                continue
            return _SnapshotFile(seq, handle, self._storage.size_of(handle))
        return None

    def _take_acknowledgement(self, peer: bytes, session: int, number: int, seq: int) -> None:
        follower = self._followers.get(peer)
        if follower is None or follower.session != session:
            return
        follower.heard_at = self._monotonic()
        while follower.in_flight and follower.in_flight[0][0] <= number:
            follower.in_flight_bytes -= follower.in_flight.popleft()[1]
        if follower.snapshot is None:
            follower.acknowledged_seq = max(
                follower.acknowledged_seq, min(seq, self._journal.last_seq))

    def _drop(self, peer: bytes) -> None:
        follower = self._followers.pop(peer, None)
        if follower is not None:
            follower.cursor.close()
            if follower.snapshot is not None:
                self._storage.close(follower.snapshot.handle)

    # --- what they get -------------------------------------------------------------------

    def _send_more(self, peer: bytes, follower: _Follower) -> bool:
        """Send a piece, if it may be sent; tell whether the next could go at once."""
        if follower.in_flight_bytes >= _WINDOW_BYTES:
            return False  # goes on with its acknowledgements
        try:
            if follower.snapshot is not None:
                self._send_snapshot_piece(peer, follower, follower.snapshot)
                return True
            data = follower.cursor.read(messages.BATCHES_BYTES)
        except (JournalError, OSError) as error:
            self._report(f"a standby cannot be served: {error}")
            self._drop(peer)
            return False
        if data:
            self._send_piece(peer, follower, messages.BATCHES, [], data)
        return follower.cursor.is_searching or follower.cursor.place < self._journal.end

    def _send_snapshot_piece(
        self, peer: bytes, follower: _Follower, snapshot: _SnapshotFile
    ) -> None:
        data = self._storage.read_at(snapshot.handle, messages.SNAPSHOT_BYTES, snapshot.offset)
        self._send_piece(peer, follower, messages.SNAPSHOT, [snapshot.offset], data)
        snapshot.offset += len(data)
        if snapshot.offset >= snapshot.size or not data:
            self._storage.close(snapshot.handle)
            follower.snapshot = None

    def _send_piece(
        self, peer: bytes, follower: _Follower, kind: bytes, facts: list[int], data: bytes
    ) -> None:
        follower.number += 1
        follower.in_flight.append((follower.number, len(data)))
        follower.in_flight_bytes += len(data)
        payload = messages.encode_numbers(follower.session, follower.number, *facts)
        self._socket.send_multipart([peer, kind, payload, data])

    def _send_heartbeats(self) -> None:
        for peer, follower in self._followers.items():
            self._send(peer, messages.HEARTBEAT, messages.encode_numbers(
                follower.session, follower.number, self._journal.last_seq))

    def _send(self, peer: bytes, kind: bytes, payload: bytes) -> None:
        self._socket.send_multipart([peer, kind, payload])

    # --- waiting for them ----------------------------------------------------------------

    def on_durable(self, stop: Stop) -> None:
        """Send what has just become durable; come back once as many have it as must.

        Raises
        ------
        Superseded
        ReplicationError
            Told to stop while standbys were missing: what waits is in the journal, and in nobody's
            answer.
        """
        self._latest_seqs = (self._latest_seqs[1], self._journal.last_seq)
        self.turn()
        if self._required_count == 0 or self.is_degraded:
            return
        deadline: float | None = self._monotonic() + self._timeout_s
        poller = self._outside.make_poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(stop.fileno(), zmq.POLLIN)
        while not self._have_enough():
            if stop.is_set:
                raise ReplicationError(
                    f"stopped while seq {self._journal.last_seq} was waiting for a standby")
            if deadline is not None and self._monotonic() >= deadline:
                if self._is_lenient:
                    self._degrade()
                    return
                self._report(self._complaint("nothing is answered until one is back"))
                deadline = None
            if not self.turn():
                poller.poll(int(HEARTBEAT_S * 100))
        if deadline is None:
            self._report(f"standbys have everything again, to seq {self._journal.last_seq}")

    def _have_enough(self) -> bool:
        end = self._journal.end
        return self._required_count <= sum(
            each.has_all(end) for each in self._followers.values())

    def _degrade(self) -> None:
        self.is_degraded = True
        self._report(self._complaint("going on without"))

    def _look_for_standbys(self) -> None:
        """Wait for standbys again as soon as enough of them are no more than a batch behind."""
        seq = self._latest_seqs[0]
        if self._required_count <= sum(
                each.acknowledged_seq >= seq for each in self._followers.values()):
            self.is_degraded = False
            self._report(f"standbys have everything again, to seq {seq}: waiting for them")

    def _complaint(self, consequence: str) -> str:
        return (
            f"seq {self._journal.last_seq} was not acknowledged by {self._required_count} "
            f"standbys within {self._timeout_s:g} s: {consequence}")

    def finish(self) -> None:
        """Give standbys a moment to get the last of it, at an orderly end."""
        ends_at = self._monotonic() + _FINISH_MAX_S
        deadline, before = 0.0, -1
        while self._followers:
            now = self._monotonic()
            on_way = sum(each.in_flight_bytes for each in self._followers.values())
            if on_way != before:
                deadline, before = now + _FINISH_S, on_way
            if now >= min(deadline, ends_at):
                return
            if all(each.has_all(self._journal.end) for each in self._followers.values()):
                return
            if not self.turn():
                self._socket.poll(20)

    def listen(self, seconds: float, stop: Stop) -> None:
        """Listen for servers and standbys that know of a later term, before this one serves.

        Raises
        ------
        Superseded
        """
        deadline = self._monotonic() + seconds
        while self._monotonic() < deadline and not stop.is_set:
            self._socket.poll(20)
            self.turn()

    # --- taking over ---------------------------------------------------------------------

    def _take_promote(self, peer: bytes) -> None:
        if self.is_serving:
            self._send(peer, messages.REFUSED, messages.encode_refused(
                0, f"not a standby: it is the primary of term {self._history.term}"))
        else:
            self._promoting.append(peer)

    @property
    def is_told_to_promote(self) -> bool:
        """Somebody has asked this standby to take over."""
        return bool(self._promoting)

    def refuse_to_promote(self, reason: str) -> None:
        """Tell those who asked that it does not take over."""
        for peer in self._promoting:
            self._send(peer, messages.REFUSED, messages.encode_refused(0, reason))
        self._promoting.clear()

    def begin_to_serve(self) -> None:
        """From now on this is the primary; tell those who asked for it."""
        self.is_serving = True
        for peer in self._promoting:
            self._send(peer, messages.PROMOTED, messages.encode_numbers(
                self._history.term, self._history.epoch, self._journal.last_seq))
        self._promoting.clear()
