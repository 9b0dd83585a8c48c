"""The client for asyncio: many requests on their way at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import zmq
import zmq.asyncio

from engine import wire
from engine.batches import Packed
from engine.client.requests import Asked, NoAnswer, Requests
from engine.endpoints import connect_socket
from engine.errors import EngineError, RunError
from engine.keys import ClientKeys
from engine.serving.packed import PackedOutcomes
from engine.serving.sessions import PACKED_LOAD, WINDOW, Outcome

#: An attempt that stays without an answer lasts twice as long as the one before, up to this.
_RETRY_FACTOR_MAX = 4
#: How often the reader looks whether the connection was found to be gone.
_LOOK_S = 0.05


class AsyncClient:
    """Sends commands and queries to one server from one event loop, any number at a time.

    Commands are numbered, and applied, in the order of the calls.

    Parameters
    ----------
    endpoint, name, timeout_s, retry_s, keys
        As of `engine.client.Client`; the timeout is of each call by itself.

    Attributes
    ----------
    next_request : int or None
        Number of the next command.
    epoch : int or None
        Of the server that answered last.

    Notes
    -----
    At most 1,024 commands are on their way, or 64 messages of packed ones: of so many the server
    remembers the outcomes, so all of them may be sent again. Whoever sends more waits for room.

    Examples
    --------
    >>> from engine.client import AsyncClient
    >>> async def main():
    ...     async with AsyncClient("tcp://127.0.0.1:5557", "desk-1") as client:
    ...         commands = [{"cmd": "account", "account": number} for number in range(1, 101)]
    ...         return await asyncio.gather(*map(client.send, commands))
    """

    def __init__(
        self, endpoint: str | Sequence[str], name: str, *, timeout_s: float = 10.0,
        retry_s: float = 1.0, keys: ClientKeys | None = None,
    ) -> None:
        self._requests = Requests(endpoint, name, time.monotonic_ns())
        self._timeout_s = timeout_s
        self._retry_s = retry_s
        self._keys = keys
        self._context = zmq.asyncio.Context()
        self._socket: zmq.asyncio.Socket | None = None
        self._answers: dict[Asked, asyncio.Future[None]] = {}  # under way
        self._in_flight = 0
        self._turn = asyncio.Lock()  # first come, first numbered
        self._room = asyncio.Event()
        self._work = asyncio.Event()
        self._is_lost = False
        self._attempt_s = retry_s
        self._oldest: Asked | None = None  # of those under way, and since when it is
        self._oldest_since = 0.0
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; calls under way end with `NoAnswer`."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
            self._reader = None
        for asked in [*self._answers]:
            asked.error = NoAnswer(
                f"{self._requests.endpoint}: the client was closed", asked.number)
            self._settle(asked)
        self._disconnect()
        self._context.term()

    @property
    def name(self) -> str:
        """Under which its requests are numbered."""
        return self._requests.name

    @property
    def next_request(self) -> int | None:
        """Number of the next command, None before it is known."""
        return self._requests.next_request

    @property
    def epoch(self) -> int | None:
        """Of the server that answered last."""
        return self._requests.epoch

    async def hello(self) -> int:
        """Ask for the number of the last request that the server has of this client."""
        async with self._turn:
            return int(await self._ask(self._requests.hello()))

    async def send(
        self, command: Mapping[str, Any], *, first_request: int | None = None
    ) -> Outcome:
        """Send one command and return what became of it, once that is durable."""
        return (await self.send_many([command], first_request=first_request))[0]

    async def send_many(
        self, commands: Sequence[Mapping[str, Any]], *, first_request: int | None = None
    ) -> list[Outcome]:
        """Send commands in one message and return their outcomes.

        Parameters
        ----------
        commands : sequence of mappings
        first_request : int, optional
            To ask again for commands that got `NoAnswer`, under the number that it names.

        Raises
        ------
        NoAnswer
            None in time, or the server cannot write its journal any more.
        InputError
            None, or more than 1,024.
        """
        outcomes: list[Outcome] = await self._numbered(
            lambda: self._requests.commands(commands, first_request), len(commands))
        return outcomes

    async def send_packed(
        self, commands: Packed, specials: Packed | None = None, *,
        first_request: int | None = None,
    ) -> PackedOutcomes:
        """Send packed commands in one message and return their outcomes.

        Parameters
        ----------
        commands, specials
            As of `engine.client.Client.send_packed`.
        first_request : int, optional
            As of `send_many`; it has to be the same table.

        Raises
        ------
        NoAnswer
            As `send_many`.
        InputError
            No commands, or too many.
        TypeError, ValueError
            An array of another dtype or shape; nothing was sent.
        """
        outcomes: PackedOutcomes = await self._numbered(
            lambda: self._requests.packed(commands, specials, first_request), PACKED_LOAD)
        return outcomes

    async def _numbered(self, make: Callable[[], Asked], load: int) -> Any:
        """Ask for commands once there is room for so much, and return their outcomes."""
        asked: Asked | None = None
        try:
            async with asyncio.timeout(self._timeout_s):
                async with self._turn:
                    if self._requests.next_request is None:
                        hello = self._requests.hello()
                        await self._answered(hello, self._start(hello))
                    while self._in_flight and self._in_flight + load > WINDOW:
                        self._room.clear()
                        await self._room.wait()
                    asked = make()
                    answer = self._start(asked)
                return await self._answered(asked, answer)
        except TimeoutError:
            raise self._no_answer(asked) from None

    async def query(self, query: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer to a query; it knows of every command answered before it.

        Raises
        ------
        NoAnswer
        RunError
            The query does not fit its schema.
        """
        answer: dict[str, Any] = await self._ask(self._requests.query(query))
        return answer

    async def _ask(self, asked: Asked) -> Any:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._answered(asked, self._start(asked))
        except TimeoutError:
            raise self._no_answer(asked) from None

    def _no_answer(self, asked: Asked | None) -> NoAnswer:
        number = asked.number if asked is not None and asked.count else None
        return NoAnswer(f"{self._requests.endpoint}: no answer for {self._timeout_s:g} s", number)

    def _start(self, asked: Asked) -> asyncio.Future[None]:
        """Send, and have the reader look out for the answer."""
        answer = self._answers[asked] = asyncio.get_running_loop().create_future()
        self._in_flight += _load_of(asked)
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._read())
        if self._socket is not None:
            self._send(self._socket, asked)
        self._work.set()
        return answer

    async def _answered(self, asked: Asked, answer: asyncio.Future[None]) -> Any:
        try:
            await answer
        finally:
            self._requests.forget(asked)
            self._settle(asked)
        return asked.result()

    def _settle(self, asked: Asked) -> None:
        answer = self._answers.pop(asked, None)
        if answer is None:
            return
        self._in_flight -= _load_of(asked)
        self._room.set()
        if not answer.done():
            answer.set_result(None)

    async def _read(self) -> None:
        """Hand on answers; connect, and connect anew where one stays out."""
        try:
            while True:
                await self._read_once()
        except (EngineError, zmq.ZMQError) as error:
            self._disconnect()
            for asked in self._requests.fail_all(RunError(str(error))):
                self._settle(asked)

    async def _read_once(self) -> None:
        oldest = self._requests.oldest
        if oldest is not self._oldest:
            self._oldest, self._oldest_since = oldest, time.monotonic()
        if oldest is None:
            self._attempt_s = self._retry_s
            self._work.clear()
            await self._work.wait()
            return
        if self._socket is None:
            self._reconnect()
            return
        # A server that answers one after the other is not asked again for those behind them:
        # their answers would be lost with the connection.
        since = max(oldest.sent_at, self._oldest_since)
        wait_s = since + self._attempt_s - time.monotonic()
        if wait_s <= 0 or self._is_lost:
            self._disconnect()
            self._requests.turn_to_next()
            self._attempt_s = min(2 * self._attempt_s, _RETRY_FACTOR_MAX * self._retry_s)
        elif await self._socket.poll(int(min(wait_s, _LOOK_S) * 1000) + 1):
            for asked in self._requests.take(await self._socket.recv_multipart()):
                self._settle(asked)
                self._attempt_s = self._retry_s
            self._is_lost |= self._requests.is_declined

    def _reconnect(self) -> None:
        """Connect, and send all that is not answered, in its order."""
        socket = self._context.socket(zmq.DEALER)
        # A lost connection has to show: were it made again unseen, a later request could
        # overtake an earlier one that was lost, and that one would then be too old.
        for option, value in (
                (zmq.LINGER, 0), (zmq.RECONNECT_IVL, -1), (zmq.SNDHWM, 0), (zmq.RCVHWM, 0)):
            socket.setsockopt(option, value)
        self._socket, self._is_lost = socket, False
        connect_socket(socket, self._requests.endpoint, self._keys)
        for asked in self._requests.waiting:
            self._send(socket, asked)

    def _send(self, socket: zmq.asyncio.Socket, asked: Asked) -> None:
        asked.sent_at = time.monotonic()
        sent: Any = socket.send_multipart(asked.message, zmq.DONTWAIT)  # a future
        if sent.done() and sent.exception() is not None:
            self._is_lost = True  # the connection is gone; the reader makes another

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close(linger=0)
            self._socket = None


def _load_of(asked: Asked) -> int:
    """Return how much of what the server remembers of a client a message takes up."""
    return PACKED_LOAD if asked.kind == wire.PACKED else asked.count
