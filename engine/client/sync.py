"""A client of `engine serve --commands` that waits for every answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import zmq

from engine.batches import Packed
from engine.client.requests import Asked, NoAnswer, Requests
from engine.clock import Clock
from engine.closing import Closing
from engine.endpoints import connect_socket
from engine.keys import ClientKeys
from engine.serving.packed import PackedOutcomes
from engine.serving.sessions import Outcome


class Client(Closing):
    """Sends commands and queries to one server; one thread at a time.

    Parameters
    ----------
    endpoint : str or sequence of str
        To connect to; the server need not be there yet. Of several, a primary and its standbys,
        the next one is tried whenever one does not answer.
    name : str
        Of 1 to 64 letters, digits and `._:-`. Its requests are numbered for good: a client
        that comes back under its name goes on after the last.
    timeout_s : float
        Longest wait for an answer, all attempts together.
    retry_s : float
        How long an attempt waits before the message is sent again.
    keys : engine.keys.ClientKeys, optional
        Where the server asks for them; the name is then the one that belongs to the key.
    context : zmq.Context, optional
        That nobody else uses; it is ended with the client.
    clock : Clock, optional

    Attributes
    ----------
    next_request : int or None
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
        self, endpoint: str | Sequence[str], name: str, *, timeout_s: float = 10.0,
        retry_s: float = 1.0, keys: ClientKeys | None = None,
        context: zmq.Context[zmq.Socket[bytes]] | None = None, clock: Clock | None = None,
    ) -> None:
        self._clock = clock or Clock()
        self._requests = Requests(endpoint, name, int(self._clock.monotonic() * 1e9))
        self._timeout_s = timeout_s
        self._retry_s = retry_s
        self._keys = keys
        self._context = zmq.Context() if context is None else context
        self._socket: zmq.Socket[bytes] | None = None

    def close(self) -> None:
        """Close the connection."""
        self._disconnect()
        self._context.term()

    @property
    def name(self) -> str:
        """Under which its requests are numbered."""
        return self._requests.name

    @property
    def next_request(self) -> int | None:
        """Number of the next command, None before it is known; may be set to ask again."""
        return self._requests.next_request

    @next_request.setter
    def next_request(self, number: int | None) -> None:
        self._requests.next_request = number

    @property
    def epoch(self) -> int | None:
        """Of the server that answered last."""
        return self._requests.epoch

    def hello(self) -> int:
        """Ask for the number of the last request that the server has of this client.

        Raises
        ------
        NoAnswer
        """
        return int(self._wait(self._requests.hello()))

    def send(self, command: Mapping[str, Any]) -> Outcome:
        """Send one command and return what became of it, once that is durable."""
        return self.send_many([command])[0]

    def send_many(self, commands: Sequence[Mapping[str, Any]]) -> list[Outcome]:
        """Send commands in one message and return their outcomes.

        Raises
        ------
        NoAnswer
            None in time, or the server cannot write its journal any more. After this and any
            other error `next_request` is what it was, so that the same commands can be sent
            again.
        InputError
            None, or more than 1,024.
        """
        if self.next_request is None:
            self.next_request = self.hello() + 1
        outcomes: list[Outcome] = self._wait_applied(self._requests.commands(commands))
        return outcomes

    def send_packed(
        self, commands: Packed, specials: Packed | None = None
    ) -> PackedOutcomes:
        """Send packed commands in one message and return their outcomes.

        Parameters
        ----------
        commands : array of `engine.batches.COMMAND_DTYPE`, or of int64, shape (n, 12)
            At most `engine.wire.PACKED_MAX`; symbols and assets by the indices that the query
            `directory` tells.
        specials : array of `engine.batches.SPECIAL_DTYPE`, or of int64, shape (m, 14)
            Terms beyond the plain ones, which commands name by their row.

        Raises
        ------
        NoAnswer
            As `send_many`.
        InputError
            No commands, or too many.
        TypeError, ValueError
            An array of another dtype or shape; nothing was sent.
        """
        if self.next_request is None:
            self.next_request = self.hello() + 1
        outcomes: PackedOutcomes = self._wait_applied(self._requests.packed(commands, specials))
        return outcomes

    def query(self, query: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer to a query; it knows of every command answered before it.

        Raises
        ------
        NoAnswer
        RunError
            The query does not fit its schema.
        """
        answer: dict[str, Any] = self._wait(self._requests.query(query))
        return answer

    def _wait_applied(self, asked: Asked) -> Any:
        """Wait for outcomes; where none come, the next commands get the same numbers."""
        try:
            return self._wait(asked)
        except BaseException:
            self.next_request = asked.number
            raise

    def _wait(self, asked: Asked) -> Any:
        """Send until the answer comes; one on the way to an earlier attempt may be it."""
        try:
            return self._attempt(asked).result()
        finally:
            self._requests.forget(asked)

    def _attempt(self, asked: Asked) -> Asked:
        deadline = self._clock.monotonic() + self._timeout_s
        while (left := deadline - self._clock.monotonic()) > 0:
            socket = self._connected()
            socket.send_multipart(asked.message)
            attempt_ends = self._clock.monotonic() + min(left, self._retry_s)
            while (wait := attempt_ends - self._clock.monotonic()) > 0:
                if not socket.poll(int(wait * 1000) + 1):
                    break
                self._requests.take(socket.recv_multipart())
                if asked.is_settled:
                    return asked
                if self._requests.is_declined:
                    break
            self._disconnect()
            self._requests.turn_to_next()
        raise NoAnswer(
            f"{self._requests.endpoint}: no answer for {self._timeout_s:g} s", asked.number)

    def _connected(self) -> zmq.Socket[bytes]:
        if self._socket is None:
            self._socket = self._context.socket(zmq.DEALER)
            self._socket.setsockopt(zmq.LINGER, 0)
            self._socket.setsockopt(zmq.RECONNECT_IVL, 20)
            self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, 200)
            connect_socket(self._socket, self._requests.endpoint, self._keys)
        return self._socket

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close(linger=0)
            self._socket = None
