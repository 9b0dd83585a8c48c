"""A client of `engine serve --commands`: numbers its requests, asks again until they are answered.

The numbers make asking again safe: what was taken before is answered, not applied a second time.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

import zmq

from engine import wire
from engine.endpoints import connect_socket
from engine.errors import RunError
from engine.serving.sessions import UNAVAILABLE, Outcome


class NoAnswer(RunError):
    """The server did not answer in time. Commands may have been taken; ask again to know."""


class Client:
    """Sends commands and queries to one server; one thread at a time.

    Parameters
    ----------
    endpoint : str
        To connect to; the server need not be there yet.
    name : str
        Of 1 to 64 letters, digits and `._:-`. Its requests are numbered for good: a client
        that comes back under its name goes on after the last.
    timeout_s : float
        Longest wait for an answer, all attempts together.
    retry_s : float
        How long an attempt waits before the message is sent again.

    Attributes
    ----------
    next_request : int
        Number of the next command.
    epoch : int or None
        Of the server that answered last.

    Examples
    --------
    >>> from engine.client import Client
    >>> with Client("tcp://127.0.0.1:5557", "desk-1") as client:  # doctest: +SKIP
    ...     client.send({"cmd": "asset", "asset": "USDT", "decimals": 6}).code
    'accepted'
    """

    def __init__(
        self, endpoint: str, name: str, *, timeout_s: float = 10.0, retry_s: float = 1.0
    ) -> None:
        self.name = name
        self.next_request: int | None = None
        self.epoch: int | None = None
        self._endpoint = endpoint
        self._timeout_s = timeout_s
        self._retry_s = retry_s
        self._token = time.monotonic_ns()
        self._context = zmq.Context()
        self._socket: zmq.Socket[bytes] | None = None

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._disconnect()
        self._context.term()

    def hello(self) -> int:
        """Ask for the number of the last request that the server has of this client.

        Raises
        ------
        NoAnswer
        """
        message = [wire.HELLO, wire.encode_hello(self.name)]
        while True:
            payload = self._ask(message, wire.HELLO)
            self.epoch, client, last, _, _ = wire.decode_welcome(payload)
            if client == self.name:
                return last

    def send(self, command: Mapping[str, Any]) -> Outcome:
        """Send one command and return what became of it, once that is durable."""
        return self.send_many([command])[0]

    def send_many(self, commands: Sequence[Mapping[str, Any]]) -> list[Outcome]:
        """Send commands in one message and return their outcomes.

        Raises
        ------
        NoAnswer
            None in time, or the server cannot write its journal any more. `next_request`
            stays, so that the same commands can be sent again.
        """
        if self.next_request is None:
            self.next_request = self.hello() + 1
        first = self.next_request
        message = [wire.COMMANDS, wire.encode_commands(self.name, first, commands)]
        while True:
            payload = self._ask(message, wire.OUTCOMES)
            self.epoch, client, answered, rows = wire.decode_outcomes(payload)
            if (client, answered, len(rows)) == (self.name, first, len(commands)):
                break  # anything else answers an earlier attempt
        outcomes = [Outcome(*row) for row in rows]
        lost = next((each for each in outcomes if each.code == UNAVAILABLE), None)
        if lost is not None:
            raise NoAnswer(f"{self._endpoint}: {lost.detail or 'the server is going down'}")
        self.next_request = first + len(commands)
        return outcomes

    def query(self, query: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer to a query; it knows of every command answered before it.

        Raises
        ------
        NoAnswer
        RunError
            The query does not fit its schema.
        """
        self._token += 1
        message = [wire.QUERY, wire.encode_query(self._token, dict(query))]
        while True:
            self.epoch, token, answer = wire.decode_answer(self._ask(message, wire.ANSWER))
            if token == self._token:
                return answer

    def _ask(self, message: list[bytes], kind: bytes) -> bytes:
        """Send until an answer of a kind comes; one on the way to an earlier message may be it."""
        deadline = time.monotonic() + self._timeout_s
        while (left := deadline - time.monotonic()) > 0:
            socket = self._connected()
            socket.send_multipart(message)
            attempt_ends = time.monotonic() + min(left, self._retry_s)
            while (wait := attempt_ends - time.monotonic()) > 0:
                if not socket.poll(int(wait * 1000) + 1):
                    break
                answered, payload = socket.recv_multipart()
                if answered == kind:
                    return payload
                if answered == wire.REFUSED:
                    raise RunError(f"{self._endpoint}: {wire.decode_refused(payload)[1]}")
            self._disconnect()
        raise NoAnswer(f"{self._endpoint}: no answer for {self._timeout_s:g} s")

    def _connected(self) -> zmq.Socket[bytes]:
        if self._socket is None:
            self._socket = self._context.socket(zmq.DEALER)
            self._socket.setsockopt(zmq.LINGER, 0)
            self._socket.setsockopt(zmq.RECONNECT_IVL, 20)
            self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, 200)
            connect_socket(self._socket, self._endpoint)
        return self._socket

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close(linger=0)
            self._socket = None
