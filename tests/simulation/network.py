"""ZeroMQ in memory: the sockets that the server and its clients use, and a network between them.

A connection keeps the order of its messages unless a fault says otherwise; it ends with either of
its two sockets, and what was on the way to a closed one is gone. A DEALER and a SUB connect again
when somebody binds. The network is worse than ZeroMQ's own, which loses, doubles and reorders
nothing within a connection: a protocol that holds here holds there.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import zmq

from simulation.faults import Faults
from simulation.world import MICROSECOND, MILLISECOND, SECOND, Host, Process, World

#: Kinds of sockets that bind, in what is simulated.
_BINDING = (zmq.ROUTER, zmq.XPUB, zmq.PUB)
#: High-water marks are lowered to this, so that a run of a second reaches them.
QUEUE_MAX = 64


class Network:
    """All endpoints of one world.

    Parameters
    ----------
    world : World
    faults : Faults
    """

    def __init__(self, world: World, faults: Faults) -> None:
        self.world = world
        self.faults = faults
        self.bound: dict[str, Socket] = {}
        self.sockets: list[Socket] = []
        self._identity = 0

    def context(self, host: Host) -> Context:
        """Return what a host takes for a ZeroMQ context."""
        return Context(self, host)

    def poller(self, host: Process) -> Poller:
        """Return what a process takes for a ZeroMQ poller."""
        return Poller(self.world, host)

    def new_identity(self) -> bytes:
        """Return the identity of the next connection."""
        self._identity += 1
        return b"\0" + self._identity.to_bytes(4, "big")

    def meet(self, endpoint: str) -> None:
        """Connect, a moment later each, whoever wants this endpoint."""
        for each in self.sockets:
            if each.wanted == endpoint and each.connection is None:
                delay = self.world.random.randrange(MILLISECOND, 50 * MILLISECOND)
                self.world.after(delay, f"connect {each.host.name}", each.try_to_connect)

    def close_all(self, host: Host) -> None:
        """Close the sockets of a host that has ended."""
        for each in [each for each in self.sockets if each.host is host]:
            each.close()

    def disconnect(self) -> None:
        """Break one connection; its ends find each other again."""
        alive = [each.connection for each in self.sockets if each.connection is not None]
        if alive:
            connection = self.world.random.choice(alive)
            connection.end()
            self.faults.count("disconnected")
            self.meet(connection.endpoint)


class Connection:
    """A way from a socket that connected to one that bound, and back."""

    def __init__(self, network: Network, near: Socket, far: Socket, endpoint: str) -> None:
        self.near = near
        self.far = far
        self.endpoint = endpoint
        self.identity = network.new_identity()
        self.is_alive = True
        self._network = network
        #: Messages on the way to each end or waiting there, and when the last one arrives.
        self.queued = {near: 0, far: 0}
        self._last_arrival = {near: 0, far: 0}

    def end(self) -> None:
        """Break it."""
        self.is_alive = False
        self.near.connection = None
        self.far.peers.pop(self.identity, None)

    def carry(self, to: Socket, frames: list[bytes]) -> None:
        """Send a message, or lose it, or send it twice."""
        faults, world = self._network.faults, self._network.world
        if faults.happens("lost"):
            return
        for _ in range(2 if faults.happens("doubled") else 1):
            delay = world.random.randrange(30 * MICROSECOND, 300 * MICROSECOND)
            if faults.happens("delayed"):
                delay = world.random.randrange(10 * MILLISECOND, 3 * SECOND)
            arrival = world.now + delay
            if not faults.happens("reordered"):
                arrival = max(arrival, self._last_arrival[to])
                self._last_arrival[to] = arrival
            self.queued[to] += 1
            world.after(arrival - world.now, f"arrive at {to.host.name}",
                        lambda: self._arrive(to, frames))

    def _arrive(self, to: Socket, frames: list[bytes]) -> None:
        # What a client had sent before it closed its socket may still be on the wire.
        is_late = not self.is_alive and to is self.far and not to.is_closed
        if is_late and self._network.world.random.random() < 0.5:
            is_late = False
        if to.is_closed or is_late or (not self.is_alive and to is self.near):
            self.queued[to] -= 1
            return
        self._network.world.note("message", *frames)
        to.inbox.append((self, frames))
        to.host.poke()


class Socket:
    """What `zmq.Socket` is to the code under test, as far as it is used."""

    def __init__(self, network: Network, host: Host, kind: int) -> None:
        self.host = host
        self.kind = kind
        self.options: dict[int, Any] = {}
        self.topics: list[bytes] = []
        self.inbox: deque[tuple[Connection | None, list[bytes]]] = deque()
        self.is_closed = False
        self.wanted: str | None = None
        self.connection: Connection | None = None
        self.peers: dict[bytes, Connection] = {}
        self._endpoint = ""
        self._outbox: list[list[bytes]] = []
        self._network = network
        network.sockets.append(self)

    # --- what every socket can --------------------------------------------------------

    def setsockopt(self, option: int, value: Any) -> None:
        if option == zmq.SUBSCRIBE:
            self.topics.append(value)
            self._tell(b"\x01" + value)
        elif option == zmq.UNSUBSCRIBE:
            self.topics.remove(value)
            self._tell(b"\x00" + value)
        else:
            self.options[option] = value

    def getsockopt_string(self, option: int) -> str:
        assert option == zmq.LAST_ENDPOINT
        return self._endpoint

    def getsockopt(self, option: int) -> int:
        assert option == zmq.EVENTS
        return self.poll()

    def bind(self, endpoint: str) -> None:
        assert self.kind in _BINDING and endpoint not in self._network.bound
        self._endpoint = endpoint
        self._network.bound[endpoint] = self
        self._network.meet(endpoint)

    def connect(self, endpoint: str) -> None:
        self.wanted = endpoint
        self.try_to_connect()

    def try_to_connect(self) -> None:
        """Connect if somebody is there; else whoever binds will say so."""
        far = self._network.bound.get(self.wanted or "")
        if far is None or self.is_closed or self.connection is not None:
            return
        self.connection = Connection(self._network, self, far, far._endpoint)
        far.peers[self.connection.identity] = self.connection
        for topic in self.topics:
            self._tell(b"\x01" + topic)
        waiting, self._outbox = self._outbox, []
        for frames in waiting:
            self.send_multipart(frames)

    def _tell(self, note: bytes) -> None:
        """Subscriptions are messages without faults, as they are inside ZeroMQ."""
        if self.connection is not None and self.connection.far.kind == zmq.XPUB:
            connection = self.connection
            connection.queued[connection.far] += 1
            connection.far.inbox.append((connection, [note]))
            connection.far.host.poke()

    def close(self, linger: int | None = None) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        self._network.sockets.remove(self)
        if self._network.bound.get(self._endpoint) is self:
            del self._network.bound[self._endpoint]
        if self.connection is not None:
            self.connection.end()
        for connection in list(self.peers.values()):
            connection.end()
        self.inbox.clear()

    # --- messages ---------------------------------------------------------------------

    def send_multipart(self, frames: list[bytes]) -> None:
        assert not self.is_closed
        if self.kind == zmq.ROUTER:
            connection = self.peers.get(frames[0])
            if connection is not None:
                self._send(connection, connection.near, frames[1:])
        elif self.kind in (zmq.PUB, zmq.XPUB):
            for connection in list(self.peers.values()):
                if any(frames[0].startswith(topic) for topic in connection.near.topics):
                    self._send(connection, connection.near, list(frames))
        elif self.connection is not None:
            self._send(self.connection, self.connection.far, list(frames))
        elif len(self._outbox) < QUEUE_MAX:
            self._outbox.append(list(frames))

    def _send(self, connection: Connection, to: Socket, frames: list[bytes]) -> None:
        mark = min(QUEUE_MAX, self.options.get(zmq.SNDHWM, 1000))
        if connection.queued[to] < mark:
            connection.carry(to, frames)
        else:
            self._network.faults.count("queue_full")

    def recv_multipart(self, flags: int = 0) -> list[bytes]:
        if not self.inbox:
            assert flags == zmq.NOBLOCK
            raise zmq.Again
        connection, frames = self.inbox.popleft()
        assert connection is not None
        connection.queued[self] -= 1
        return [connection.identity, *frames] if self.kind == zmq.ROUTER else frames

    def recv(self) -> bytes:
        (frame,) = self.recv_multipart()
        return frame

    def poll(self, timeout: int = 0, flags: int = zmq.POLLIN) -> int:
        """Wait for a message; only a process can."""
        if timeout and not self.inbox:
            assert isinstance(self.host, Process)
            self.host.wait(lambda: bool(self.inbox), timeout * MILLISECOND)
        return zmq.POLLIN if self.inbox else 0


class Context:
    """What `zmq.Context` is to the code under test."""

    def __init__(self, network: Network, host: Host) -> None:
        self._network = network
        self._host = host

    def socket(self, kind: int) -> Socket:
        return Socket(self._network, self._host, kind)

    def term(self) -> None:
        pass


class Poller:
    """What `zmq.Poller` is to the code under test; numbers of files never have news."""

    def __init__(self, world: World, host: Process) -> None:
        self._world = world
        self._host = host
        self._sockets: list[Socket] = []
        self.is_interrupted = False

    def register(self, socket: Socket | int, flags: int) -> None:
        if isinstance(socket, Socket):
            self._sockets.append(socket)

    def unregister(self, socket: Socket) -> None:
        self._sockets.remove(socket)

    def poll(self, timeout: int) -> list[tuple[Socket, int]]:
        # Other things happen meanwhile, even where something is waiting already.
        self._host.wait(lambda: False, self._world.random.randrange(5, 40) * MICROSECOND)
        self._host.wait(lambda: self.is_interrupted or any(
            each.inbox for each in self._sockets), timeout * MILLISECOND)
        return [(each, zmq.POLLIN) for each in self._sockets if each.inbox]
