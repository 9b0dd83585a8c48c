"""The ROUTER socket: commands and queries in, outcomes and answers out.

What does not fit its schema is answered here and never reaches the journal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import zmq

from engine import wire
from engine.commands import check_shape
from engine.endpoints import BoundSocket
from engine.errors import CommandError, EngineError
from engine.exchange import Exchange
from engine.serving.packed import UNAVAILABLE, PackedCommands, PackedPending, Part
from engine.serving.sequencer import Pending
from engine.serving.sessions import MALFORMED, Outcome, Sessions, is_client_name

#: Messages queued for a client that does not read, before it has to ask again.
_HIGH_WATER_MARK = 10_000


@dataclass
class _Asked:
    """A message of commands, and for each its outcome or the place where that will be."""

    peer: bytes
    message: wire.CommandsMessage
    outcomes: list[Outcome | Pending | tuple[int, int]]

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
    message: wire.PackedMessage
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

    Attributes
    ----------
    endpoint : str
        As bound.
    refused_count : int
        Messages that could not be read.
    own_queries : dict
        Queries about the server, not the exchange: by name, what returns the answer's fields.
    """

    def __init__(
        self, endpoint: str, exchange: Exchange, sessions: Sessions, epoch: int, *,
        has_clock: bool = False,
    ) -> None:
        self.refused_count = 0
        self._exchange = exchange
        self._sessions = sessions
        self._epoch = epoch
        self._has_clock = has_clock
        self._asked: list[_Asked | _AskedPacked] = []
        self._asking: list[tuple[bytes, int, dict[str, Any]]] = []
        self.own_queries: dict[str, Callable[[], dict[str, Any]]] = {}
        super().__init__(zmq.ROUTER, endpoint, {
            zmq.LINGER: 1000, zmq.SNDHWM: _HIGH_WATER_MARK,
            zmq.MAXMSGSIZE: wire.MESSAGE_SIZE_MAX})

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
        size = 0
        while size < size_limit and self._socket.poll(0):
            frames = self._socket.recv_multipart()
            before = len(batch)
            self._take_message(frames, batch)
            size += sum(pending.size for pending in batch[before:]) + len(frames[-1])

    def _take_message(
        self, frames: list[bytes], batch: list[Pending | PackedPending]
    ) -> None:
        peer = frames[0]
        try:
            if len(frames) != 3:
                raise wire.WireError(f"expected 2 frames, found {len(frames) - 1}")
            kind, payload = frames[1:]
            if kind == wire.COMMANDS:
                message = wire.decode_commands(payload)
                _check_client(message.client)
                self._take_commands(peer, message, batch)
            elif kind == wire.PACKED:
                packed = wire.decode_packed(payload)
                _check_client(packed.client)
                self._take_packed(peer, packed, batch)
            elif kind == wire.QUERY:
                # Answered behind the commands that came before it.
                self._asking.append((peer, *wire.decode_query(payload)))
            elif kind == wire.HELLO:
                client = _check_client(wire.decode_hello(payload))
                self._send(peer, wire.HELLO, wire.encode_welcome(
                    self._epoch, client, self._sessions.last_request(client),
                    self._exchange.seq, self._exchange.ts))
            else:
                raise wire.WireError(f"unknown kind of message {kind!r:.40}")
        except wire.WireError as error:
            self._refuse(peer, str(error))

    def _take_commands(
        self, peer: bytes, message: wire.CommandsMessage, batch: list[Pending | PackedPending]
    ) -> None:
        asked = _Asked(peer, message, [])
        for request, command in enumerate(message.commands, message.first_request):
            try:
                self._check_command(command)
                pending = Pending.of(message.client, request, command)
            except (CommandError, ValueError) as error:
                asked.outcomes.append(Outcome(MALFORMED, detail=str(error)))
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
        self._asked.append(asked)

    def _take_packed(
        self, peer: bytes, message: wire.PackedMessage, batch: list[Pending | PackedPending]
    ) -> None:
        client, first, rows, specials = message
        commands = PackedCommands(rows, specials)
        asked = _AskedPacked(peer, message, [])
        self._asked.append(asked)
        if self._has_clock and commands.has_times():
            detail = "field 'ts': the server gives the time"
            asked.parts.append(Part(0, commands.command_count, MALFORMED, detail=detail))
            return
        checksums = commands.checksums()
        for part in self._sessions.parts(client, first, checksums):
            if part.is_new:
                pending = PackedPending(
                    client, first + part.start, commands.part(part.start, part.stop),
                    self._sessions.admit_packed(client, first + part.start, checksums[part.start:]))
                batch.append(pending)
                part = part._replace(taken=pending.taken)
            asked.parts.append(part)

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
            if isinstance(asked, _Asked):
                self._send(asked.peer, wire.OUTCOMES, wire.encode_outcomes(
                    self._epoch, client, first_request, asked.settled(self._sessions)))
            else:
                self._send(asked.peer, wire.PACKED_OUTCOMES, wire.encode_packed_outcomes(
                    self._epoch, client, first_request, [part.row() for part in asked.parts]))
        self._asked.clear()
        for peer, token, query in self._asking:
            self._answer(peer, token, query)
        self._asking.clear()

    def _answer(self, peer: bytes, token: int, query: dict[str, Any]) -> None:
        try:
            answer = self._query(query)
        except EngineError as error:
            self._refuse(peer, str(error), wire.QUERY, token)
            return
        self._send(peer, wire.ANSWER, wire.encode_answer(self._epoch, token, answer))

    def _refuse(
        self, peer: bytes, detail: str, kind: bytes | None = None, number: int | None = None
    ) -> None:
        self.refused_count += 1
        self._send(peer, wire.REFUSED, wire.encode_refused(self._epoch, detail, kind, number))

    def _query(self, query: dict[str, Any]) -> dict[str, Any]:
        exchange, name = self._exchange, query.get("query")
        own = self.own_queries.get(name) if isinstance(name, str) else None
        if own is None or len(query) > 1:
            return exchange.query(query)
        return {"seq": exchange.seq, "ts": exchange.ts, "reply": name, **own()}

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
                if isinstance(asked, _Asked):
                    self._send(asked.peer, wire.OUTCOMES, wire.encode_outcomes(
                        self._epoch, client, first_request,
                        [outcome] * len(asked.message.commands)))
                else:
                    self._send(asked.peer, wire.PACKED_OUTCOMES, wire.encode_packed_outcomes(
                        self._epoch, client, first_request,
                        [part.declined(reason) for part in asked.parts]))
            self._asked.clear()
            self._asking.clear()
            if is_over() or not self._socket.poll(20):
                return
            self._take_message(self._socket.recv_multipart(), [])

    def _send(self, peer: bytes, kind: bytes, payload: bytes) -> None:
        # A client that has gone, or does not read, asks again when it is back.
        self._socket.send_multipart([peer, kind, payload])


def _check_client(name: str) -> str:
    if not is_client_name(name):
        raise wire.WireError(f"not a client's name: {name!r:.80}")
    return name
