"""The ROUTER socket: commands and queries in, outcomes and answers out.

What does not fit its schema is answered here and never reaches the journal.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import zmq

from engine import wire
from engine.commands import check_shape
from engine.endpoints import BoundSocket
from engine.errors import CommandError, EngineError
from engine.exchange import Exchange
from engine.keys import ServerKeys, user_key
from engine.serving.access import Access, Caller
from engine.serving.figures import Figures
from engine.serving.packed import UNAVAILABLE, PackedCommands, PackedPending, Part
from engine.serving.roles import Role, why_not, why_not_packed
from engine.serving.sequencer import Pending
from engine.serving.sessions import (
    FORBIDDEN,
    MALFORMED,
    RATE_LIMITED,
    TOO_MANY_OPEN,
    Outcome,
    Sessions,
    is_client_name,
)

#: Messages queued for a client that does not read, before it has to ask again.
_HIGH_WATER_MARK = 10_000
#: What a message counts for that brings nothing into a batch. So 8 of them make a turn, a
#: ms or two, and whoever floods with what is refused holds up the others no longer than that.
_IDLE_MESSAGE_SIZE = 1 << 17

# Why a message was refused as a whole.
MALFORMED_MESSAGE = "malformed_message"
MALFORMED_QUERY = "malformed_query"
MESSAGE_TOO_LARGE = "message_too_large"
UNKNOWN_CLIENT = "unknown_client"
WRONG_CLIENT = "wrong_client"


class _Refused(Exception):
    """A message that is answered with a code and a text, and goes no further."""

    def __init__(
        self, code: str, detail: str, kind: bytes | None = None, number: int | None = None
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.kind = kind
        self.number = number


@dataclass
class _Asked:
    """A message of commands, and for each its outcome or the place where that will be."""

    peer: bytes
    caller: Caller
    message: wire.CommandsMessage
    outcomes: list[Outcome | Pending | tuple[int, int]]

    @property
    def count(self) -> int:
        """How many commands."""
        return len(self.message.commands)

    def settled(self, sessions: Sessions) -> list[Outcome]:
        """Outcomes of all, once their batch is done."""
        found: list[Outcome | None] = []
        for each in self.outcomes:
            if isinstance(each, Pending):
                found.append(each.outcome)
            elif isinstance(each, Outcome):
                found.append(each)
            else:
                found.append(sessions.refusal(self.message.client, *each))
        return [outcome or Outcome(UNAVAILABLE) for outcome in found]


@dataclass
class _AskedPacked:
    """A message of packed commands, and where the answer to each part of it is or will be."""

    peer: bytes
    caller: Caller
    message: wire.PackedMessage
    count: int
    parts: list[Part]


class Gateway(BoundSocket):
    """Owns the socket that clients send their commands to.

    Parameters
    ----------
    endpoint : str
        To bind.
    exchange : engine.Exchange
        For queries.
    sessions : Sessions
    epoch : int
        In every reply; another one means that the server was restarted.
    has_clock : bool
        The server gives the time: commands with one are refused.
    keys : ServerKeys, optional
        Of the socket.
    access : Access, optional
        Who has which key, and may do what; goes with `keys`.
    local_role : Role
        Of everybody, where there are no keys.
    context : zmq.Context, optional
        As of `BoundSocket`.
    figures : Figures, optional
        Counts outcomes, refusals and messages.

    Attributes
    ----------
    endpoint : str
        As bound.
    own_queries : dict
        Queries about the server, not the exchange: by name, what returns the answer's fields.
    """

    def __init__(
        self, endpoint: str, exchange: Exchange, sessions: Sessions, epoch: int, *,
        has_clock: bool = False, keys: ServerKeys | None = None, access: Access | None = None,
        local_role: Role = Role.ADMIN, figures: Figures | None = None,
        context: zmq.Context[zmq.Socket[bytes]] | None = None,
    ) -> None:
        self._figures = figures or Figures()
        self._access = access
        self._local = Caller(None, local_role)
        self._exchange = exchange
        self._sessions = sessions
        self._epoch = epoch
        self._now_s = 0.0
        self._has_clock = has_clock
        self._asked: list[_Asked | _AskedPacked] = []
        self._asking: list[tuple[bytes, Caller, int, dict[str, Any]]] = []
        self.own_queries: dict[str, Callable[[], dict[str, Any]]] = {}
        super().__init__(zmq.ROUTER, endpoint, {
            zmq.LINGER: 1000, zmq.SNDHWM: _HIGH_WATER_MARK,
            zmq.MAXMSGSIZE: wire.MESSAGE_SIZE_MAX,
        }, keys=keys, domain="commands", context=context)

    @property
    def socket(self) -> zmq.Socket[bytes]:
        """To wait on, together with others."""
        return self._socket

    def take(self, batch: list[Pending | PackedPending], size_limit: int) -> None:
        """Read what is waiting, until a batch is large enough; new commands go into the batch.

        Parameters
        ----------
        batch : list of Pending or PackedPending
        size_limit : int, bytes
            Of the encoded commands; the message that reaches it is taken whole.
        """
        size, self._now_s = 0, time.monotonic()
        while size < size_limit and self._frames.has_news():
            self._figures.message_count += 1
            before = len(batch)
            received = self._take_message(batch)
            taken = sum(pending.size for pending in batch[before:])
            size += received + (taken or _IDLE_MESSAGE_SIZE)

    def _take_message(self, batch: list[Pending | PackedPending]) -> int:
        """Read one message; return the size of its payload."""
        frames, caller = self._receive()
        peer, payload = frames[0], frames[-1]
        try:
            if caller is None:
                raise _Refused(UNKNOWN_CLIENT, "the key is not known any more")
            if len(payload) > caller.limits.message_size:
                raise _Refused(
                    MESSAGE_TOO_LARGE,
                    f"{len(payload)} bytes, the limit is {caller.limits.message_size}")
            if len(frames) != 3:
                raise wire.WireError(f"expected 2 frames, found {len(frames) - 1}")
            self._dispatch(peer, caller, frames[1], payload, batch)
        except wire.WireError as error:
            self._refuse(peer, MALFORMED_MESSAGE, str(error))
        except _Refused as error:
            self._refuse(peer, error.code, str(error), error.kind, error.number)
        return len(payload)

    def _receive(self) -> tuple[list[bytes], Caller | None]:
        """Return the frames of a message and who sent it, None where that is nobody any more."""
        if self._access is None:
            return self._socket.recv_multipart(), self._local
        # By the key of this very message: the peer's name on the socket is its own choice.
        frames = self._socket.recv_multipart(copy=False)
        return [frame.bytes for frame in frames], self._access.caller(user_key(frames[-1]))

    def _dispatch(
        self, peer: bytes, caller: Caller, kind: bytes, payload: bytes,
        batch: list[Pending | PackedPending],
    ) -> None:
        if kind == wire.COMMANDS:
            message = wire.decode_commands(payload)
            _check_client(message.client, caller, kind, message.first_request)
            self._take_commands(peer, caller, message, batch)
        elif kind == wire.PACKED:
            packed = wire.decode_packed(payload)
            _check_client(packed.client, caller, kind, packed.first_request)
            self._take_packed(peer, caller, packed, batch)
        elif kind == wire.QUERY:
            token, query = wire.decode_query(payload)
            _pay(caller, kind, token)
            # Answered behind the commands that came before it.
            self._asking.append((peer, caller, token, query))
        elif kind == wire.HELLO:
            client = wire.decode_hello(payload)
            _check_client(client, caller, kind, 0)
            _pay(caller, kind, 0)
            self._send(peer, wire.HELLO, wire.encode_welcome(
                self._epoch, client, self._sessions.last_request(client),
                self._exchange.seq, self._exchange.ts))
        else:
            _pay(caller, None, None)
            raise wire.WireError(f"unknown kind of message {kind!r:.40}")

    def _take_commands(
        self, peer: bytes, caller: Caller, message: wire.CommandsMessage,
        batch: list[Pending | PackedPending],
    ) -> None:
        asked = _Asked(peer, caller, message, [])
        limited = _limit_reached(caller, len(message.commands))
        last = self._sessions.last_request(message.client)
        for request, command in enumerate(message.commands, message.first_request):
            if limited is not None and request > last:
                asked.outcomes.append(limited)
                continue
            try:
                self._check_command(command)
                pending = Pending.of(message.client, request, command)
            except (CommandError, ValueError) as error:
                asked.outcomes.append(Outcome(MALFORMED, detail=str(error)))
                continue
            forbidden = why_not(caller.role, caller.accounts, command)
            if forbidden is not None:
                asked.outcomes.append(Outcome(FORBIDDEN, detail=forbidden))
                continue
            checksum = pending.checksum
            refusal = self._sessions.refusal(message.client, request, checksum)
            if refusal is None:
                self._sessions.admit(message.client, request, checksum)
                batch.append(pending)
                asked.outcomes.append(pending)
            elif refusal.code == UNAVAILABLE:  # in this very batch, sent twice
                asked.outcomes.append((request, checksum))
            else:
                asked.outcomes.append(refusal)
        caller.open_requests += asked.count
        self._asked.append(asked)

    def _take_packed(
        self, peer: bytes, caller: Caller, message: wire.PackedMessage,
        batch: list[Pending | PackedPending],
    ) -> None:
        client, first, rows, specials = message
        commands = PackedCommands(rows, specials)
        count = commands.command_count
        limited = _limit_reached(caller, count)
        asked = _AskedPacked(peer, caller, message, count, [])
        self._asked.append(asked)
        caller.open_requests += count
        wrong = self._wrong_with(caller, commands)
        if wrong is not None:
            asked.parts.append(Part(0, count, wrong.code, detail=wrong.detail))
            return
        checksums = commands.checksums()
        for part in self._sessions.parts(client, first, checksums):
            if part.is_new and limited is not None:
                part = part._replace(code=limited.code, detail=limited.detail)
            elif part.is_new:
                pending = PackedPending(
                    client, first + part.start, commands.part(part.start, part.stop),
                    self._sessions.admit_packed(client, first + part.start, checksums[part.start:]))
                batch.append(pending)
                part = part._replace(taken=pending.taken)
            asked.parts.append(part)

    def _wrong_with(self, caller: Caller, commands: PackedCommands) -> Outcome | None:
        """What all of a packed message gets that has anything in it that may not be there."""
        if self._has_clock and commands.has_times():
            return Outcome(MALFORMED, detail="field 'ts': the server gives the time")
        forbidden = why_not_packed(caller.role, caller.accounts, commands.rows)
        return None if forbidden is None else Outcome(FORBIDDEN, detail=forbidden)

    def _check_command(self, command: Any) -> None:
        if not isinstance(command, dict):
            raise CommandError("not a map")
        if check_shape(command) != "cmd":
            raise CommandError("a query is not a command: send it as one")
        if self._has_clock and "ts" in command:
            raise CommandError("field 'ts': the server gives the time")

    def reply(self) -> None:
        """Answer everything that was taken: its commands are durable and applied."""
        for asked in self._asked:
            client, first_request = asked.message[:2]
            asked.caller.open_requests -= asked.count
            self._figures.note_client(client, self._now_s)
            if isinstance(asked, _Asked):
                outcomes = asked.settled(self._sessions)
                self._figures.outcomes.update([outcome.code for outcome in outcomes])
                self._send(asked.peer, wire.OUTCOMES, wire.encode_outcomes(
                    self._epoch, client, first_request, outcomes))
            else:
                for part in asked.parts:
                    self._figures.outcomes.update(part.counts())
                self._send(asked.peer, wire.PACKED_OUTCOMES, wire.encode_packed_outcomes(
                    self._epoch, client, first_request, [part.row() for part in asked.parts]))
        self._asked.clear()
        for peer, caller, token, query in self._asking:
            self._answer(peer, caller, token, query)
        self._asking.clear()

    def _answer(self, peer: bytes, caller: Caller, token: int, query: dict[str, Any]) -> None:
        try:
            own = self._own_query(query)
            if own is None and check_shape(query) != "query":
                raise CommandError("a command is not a query")
            forbidden = why_not(caller.role, caller.accounts, query)
            if forbidden is not None:
                self._refuse(peer, FORBIDDEN, forbidden, wire.QUERY, token)
                return
            exchange = self._exchange
            answer = exchange.query(query) if own is None else {
                "seq": exchange.seq, "ts": exchange.ts, "reply": query["query"], **own()}
        except EngineError as error:
            self._refuse(peer, MALFORMED_QUERY, str(error), wire.QUERY, token)
            return
        self._figures.query_count += 1
        self._send(peer, wire.ANSWER, wire.encode_answer(self._epoch, token, answer))

    def _own_query(self, query: dict[str, Any]) -> Callable[[], dict[str, Any]] | None:
        """What answers a query about the server, None where it is another query."""
        name = query.get("query")
        return self.own_queries.get(name) if isinstance(name, str) and len(query) == 1 else None

    def decline(self, reason: str, is_over: Callable[[], bool]) -> None:
        """Say that nothing is taken any more, to everybody who has asked or still asks.

        Parameters
        ----------
        reason : str
        is_over : callable
            Asked after each message.
        """
        outcome = Outcome(UNAVAILABLE, detail=reason)
        while True:
            for asked in self._asked:
                client, first_request = asked.message[:2]
                asked.caller.open_requests -= asked.count
                if isinstance(asked, _Asked):
                    self._send(asked.peer, wire.OUTCOMES, wire.encode_outcomes(
                        self._epoch, client, first_request, [outcome] * asked.count))
                else:
                    self._send(asked.peer, wire.PACKED_OUTCOMES, wire.encode_packed_outcomes(
                        self._epoch, client, first_request,
                        [part.declined(reason) for part in asked.parts]))
            self._asked.clear()
            self._asking.clear()
            if is_over() or not self._socket.poll(20):
                return
            self._take_message([])

    def _refuse(
        self, peer: bytes, code: str, detail: str, kind: bytes | None = None,
        number: int | None = None,
    ) -> None:
        self._figures.refusals[code] += 1
        self._send(peer, wire.REFUSED, wire.encode_refused(
            self._epoch, detail, kind, number, code))

    def _send(self, peer: bytes, kind: bytes, payload: bytes) -> None:
        # A client that has gone, or does not read, asks again when it is back.
        self._socket.send_multipart([peer, kind, payload])


def _check_client(name: str, caller: Caller, kind: bytes, number: int) -> None:
    if not is_client_name(name):
        raise wire.WireError(f"not a client's name: {name!r:.80}")
    if caller.name is not None and name != caller.name:
        raise _Refused(
            WRONG_CLIENT, f"the key is that of {caller.name!r}, not of {name!r}", kind, number)


def _pay(caller: Caller, kind: bytes | None, number: int | None) -> None:
    """Let a message that is no command cost as much as one."""
    limited = caller.take_tokens(1)
    if limited is not None:
        raise _Refused(RATE_LIMITED, limited, kind, number)


def _limit_reached(caller: Caller, count: int) -> Outcome | None:
    """What new commands of a message get that is beyond a limit: all of them or none."""
    most = caller.limits.open_requests
    if caller.open_requests + count > most:
        return Outcome(TOO_MANY_OPEN, detail=f"more than {most} requests without an answer")
    limited = caller.take_tokens(count)
    return None if limited is None else Outcome(RATE_LIMITED, detail=limited)
