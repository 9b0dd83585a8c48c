"""The subscriber for asyncio."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

import zmq
import zmq.asyncio

from engine.client.following import Item
from engine.client.subscriber import AT_ONCE, SubscriberBase


class AsyncSubscriber(SubscriberBase):
    """Follows topics of a server, whatever is lost on the way; an asynchronous iterator.

    Parameters and attributes as of `engine.client.Subscriber`.

    Examples
    --------
    >>> from engine.client import AsyncSubscriber
    >>> async def main():
    ...     async with AsyncSubscriber(
    ...             "tcp://127.0.0.1:5559", "tcp://127.0.0.1:5560",
    ...             ["l2.BTCUSDT."]) as subscriber:
    ...         async for item in subscriber:
    ...             print(item.sequence, subscriber.book("l2.BTCUSDT.").bids[:1])
    """

    _context_class = zmq.asyncio.Context

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __aiter__(self) -> AsyncIterator[Item]:
        while True:
            yield await self.receive()

    async def receive(self) -> Item:
        """Return the next snapshot or update; `asyncio.timeout` bounds the wait.

        Raises
        ------
        SnapshotRefused
            The server has no such topic. Called again, it goes on asking.
        RunError
            The server speaks another version.
        """
        while not self._items:
            await self._ask()
            if self._is_silent:
                self._reconnect()
            await self._take_ready(self._wait_s(float("inf")))
        return self._items.popleft()

    async def _ask(self) -> None:
        for message in self.following.requests(time.monotonic()):
            try:
                await self._dealer.send_multipart(message, zmq.DONTWAIT)
            except zmq.Again:
                return  # nobody there to take it; asked again in time

    async def _take_ready(self, wait_s: float) -> None:
        poller = zmq.asyncio.Poller()
        poller.register(self._subscriber, zmq.POLLIN)
        poller.register(self._dealer, zmq.POLLIN)
        ready = dict(await poller.poll(int(wait_s * 1000) + 1))
        if self._subscriber in ready:
            await self._take_waiting()
        if self._dealer in ready:
            self._items += self.following.take_answer(await self._dealer.recv_multipart())

    async def _take_waiting(self) -> None:
        for _ in range(AT_ONCE):
            if self._items:
                return
            try:
                self._take_published(await self._subscriber.recv_multipart(zmq.DONTWAIT))
            except zmq.Again:
                return
