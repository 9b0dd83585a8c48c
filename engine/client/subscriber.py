"""Subscribers of `engine serve --market-data` and `--events`; here the one that waits."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar

import zmq

from engine import wire
from engine.client.following import Book, Ended, Following, Item
from engine.closing import Closing
from engine.endpoints import connect_socket
from engine.keys import ClientKeys

#: Messages waiting here before those of the publisher wait with it, and are dropped there.
_HIGH_WATER_MARK = 10_000
#: Messages taken before the other socket gets its turn.
AT_ONCE = 100


class SubscriberBase:
    """What both subscribers share: topics, books, sockets and when something is due.

    Parameters and attributes as of `Subscriber`.
    """

    #: Its sockets block, or are awaited.
    _context_class: ClassVar[type[zmq.Context[Any]]]

    def __init__(
        self, endpoints: str | Sequence[str], snapshots: str, topics: Iterable[str] = (), *,
        retry_s: float = 1.0, silence_s: float = 10.0, keys: ClientKeys | None = None,
    ) -> None:
        self._keys = keys
        self._endpoints = [endpoints] if isinstance(endpoints, str) else list(endpoints)
        self._snapshots = snapshots
        self._silence_s = silence_s
        self.following = Following(snapshots, topics, retry_s)
        self._items: deque[Item] = deque()
        self._heard_at = time.monotonic()
        self._left_epoch: int | None = None  # of the end after which all events were left
        self._context = self._context_class()
        self._subscriber: Any = self._context.socket(zmq.SUB)
        self._dealer: Any = self._context.socket(zmq.DEALER)
        try:
            self._prepare_subscriber()
            self._prepare_dealer()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connections."""
        self._subscriber.close(linger=0)
        self._dealer.close(linger=0)
        self._context.term()

    @property
    def epoch(self) -> int | None:
        """Of the server, None before anything came."""
        return self.following.epoch

    @property
    def silent_s(self) -> float:
        """Seconds since anything was published; a server says something twice a second."""
        return time.monotonic() - self._heard_at

    def follow(self, *topics: str) -> None:
        """Follow topics from now on; each begins with a snapshot."""
        for name in topics:
            self.following.follow(name)
            self._subscribe(name)

    def unfollow(self, *topics: str) -> None:
        """Follow topics no longer."""
        for name in topics:
            self.following.unfollow(name)
            for topic in _with_beats(name):
                self._subscriber.setsockopt(zmq.UNSUBSCRIBE, topic)

    def _subscribe(self, name: str) -> None:
        for topic in _with_beats(name):
            self._subscriber.setsockopt(zmq.SUBSCRIBE, topic)

    def is_synced(self, topic: str) -> bool:
        """Tell whether nothing is known to be missing of a topic."""
        return self.following.is_synced(topic)

    def book(self, topic: str) -> Book:
        """Return the book that a topic of `l2.` or `l3.` keeps up to date.

        It includes the item that was received last, and those that came with it at once.
        """
        return self.following.book(topic)

    def _prepare_subscriber(self) -> None:
        socket = self._subscriber
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVHWM, _HIGH_WATER_MARK)
        socket.setsockopt(zmq.SNDHWM, 0)  # beyond it subscriptions would be lost unseen
        socket.setsockopt(zmq.MAXMSGSIZE, wire.MESSAGE_SIZE_MAX)
        socket.setsockopt(zmq.RECONNECT_IVL, 20)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 500)
        for topic in (wire.HEARTBEAT, wire.END):
            socket.setsockopt(zmq.SUBSCRIBE, topic)
        for name in self.following.topics:
            self._subscribe(name)
        for endpoint in self._endpoints:
            connect_socket(socket, endpoint, self._keys)
        self._heard_at = time.monotonic()

    def _reconnect(self) -> None:
        """Give a connection up that may be dead without having been closed."""
        self._subscriber.close(linger=0)
        self._subscriber = self._context.socket(zmq.SUB)
        self._prepare_subscriber()

    def _prepare_dealer(self) -> None:
        for option, value in (
                (zmq.LINGER, 0), (zmq.RECONNECT_IVL, 20), (zmq.RECONNECT_IVL_MAX, 500),
                (zmq.MAXMSGSIZE, wire.SNAPSHOT_SIZE_MAX)):
            self._dealer.setsockopt(option, value)
        connect_socket(self._dealer, self._snapshots, self._keys)

    def _take_published(self, frames: list[bytes]) -> None:
        socket = self._subscriber
        self._heard_at = time.monotonic()
        items = self.following.take(frames)
        self._items += items
        if wire.EVENTS.decode() not in self.following.topics:
            return
        # A server that has ended waits until nobody follows all of its events any more.
        if any(isinstance(item, Ended) for item in items):
            self._left_epoch = self.epoch
            socket.setsockopt(zmq.UNSUBSCRIBE, wire.EVENTS)
        elif self._left_epoch not in (None, self.epoch):
            self._left_epoch = None
            socket.setsockopt(zmq.SUBSCRIBE, wire.EVENTS)

    def _wait_s(self, deadline: float) -> float:
        """How long nothing is due."""
        due = min(deadline, self._heard_at + self._silence_s)
        if self.following.ask_at is not None:
            due = min(due, self.following.ask_at)
        return max(0.0, due - time.monotonic())

    @property
    def _is_silent(self) -> bool:
        return self.silent_s >= self._silence_s


class Subscriber(SubscriberBase, Closing):
    """Follows topics of a server, whatever is lost on the way; one thread at a time.

    Parameters
    ----------
    endpoints : str or sequence of str
        Where the server publishes: its market data, its events or both.
    snapshots : str
        Where it answers with snapshots.
    topics : iterable of str
        By their whole names, `l2.BTCUSDT.` or `account.7.`.
    retry_s : float
        How long a snapshot is waited for before it is asked for again.
    silence_s : float
        After so long without a message, heartbeats included, it connects anew.
    keys : engine.keys.ClientKeys, optional
        Where the server asks for them.

    Attributes
    ----------
    following : Following
        Counts of gaps, restarts, duplicates and malformed messages are in there.

    Examples
    --------
    >>> from engine.client import Subscriber
    >>> with Subscriber(
    ...         "tcp://127.0.0.1:5559", "tcp://127.0.0.1:5560",
    ...         ["l2.BTCUSDT."]) as subscriber:  # doctest: +SKIP
    ...     for item in subscriber:
    ...         print(item.sequence, subscriber.book("l2.BTCUSDT.").bids[:1])
    """

    _context_class = zmq.Context

    def __iter__(self) -> Iterator[Item]:
        while True:
            item = self.receive()
            if item is not None:
                yield item

    def receive(self, timeout_s: float = float("inf")) -> Item | None:
        """Return the next snapshot or update, None if there is none in time.

        Raises
        ------
        SnapshotRefused
            The server has no such topic. Called again, it goes on asking.
        RunError
            The server speaks another version.
        """
        deadline = time.monotonic() + timeout_s
        while not self._items:
            self._ask()
            if self._is_silent:
                self._reconnect()
            self._take_ready(self._wait_s(deadline))
            if not self._items and time.monotonic() >= deadline:
                return None
        return self._items.popleft()

    def _ask(self) -> None:
        for message in self.following.requests(time.monotonic()):
            try:
                self._dealer.send_multipart(message, zmq.DONTWAIT)
            except zmq.Again:
                return  # nobody there to take it; asked again in time

    def _take_ready(self, wait_s: float) -> None:
        poller = zmq.Poller()
        poller.register(self._subscriber, zmq.POLLIN)
        poller.register(self._dealer, zmq.POLLIN)
        ready = dict(poller.poll(int(wait_s * 1000) + 1))
        for _ in range(AT_ONCE if self._subscriber in ready else 0):
            if self._items or not self._subscriber.poll(0):
                break
            self._take_published(self._subscriber.recv_multipart())
        if self._dealer in ready:
            self._items += self.following.take_answer(self._dealer.recv_multipart())


def _with_beats(name: str) -> list[bytes]:
    """Return a topic as it is subscribed to, and the one with its own heartbeats if it has one."""
    channel, _, rest = name.partition(".")
    return [name.encode(), *([f"{wire.BEAT}.{rest}".encode()] if channel == wire.ACCOUNT else [])]
