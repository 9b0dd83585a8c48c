"""Who talks to the server: desks that trade, a feed, a listener, and visitors nobody asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import msgpack
import zmq
from support.universe import Universe

from engine import wire
from engine.client import Client, NoAnswer
from simulation.faults import Faults
from simulation.ledger import Heard, Ledger, require
from simulation.network import Network
from simulation.world import MILLISECOND, Host, Process, World

COMMANDS = "ipc://commands"
MARKS = "ipc://marks"
EVENTS = "ipc://events"
Command = dict[str, Any]


class Stage:
    """What all actors share.

    Attributes
    ----------
    is_open : bool
        The market is declared: the other desks may begin.
    """

    def __init__(
        self, seed: int, world: World, network: Network, faults: Faults, ledger: Ledger
    ) -> None:
        self.world = world
        self.network = network
        self.faults = faults
        self.ledger = ledger
        self.random = Random(f"actors {seed}")
        self.universe = Universe(seed)
        self.is_open = False

    def commands(self, count: int) -> Iterator[Command]:
        """Yield commands without times: those of several clients would not fit together."""
        for _ in range(count):
            yield {key: value for key, value in self.universe.next().items() if key != "ts"}

    def every(self, name: str, action: Callable[[], None], longest_ns: int) -> None:
        """Let something happen again and again, as long as faults are on."""
        def act() -> None:
            if self.faults.is_on:
                action()
                again()

        def again() -> None:
            self.world.after(self.random.randrange(MILLISECOND, longest_ns), name, act)

        again()


class Desk:
    """A client that sends its commands, each until it has the answer."""

    def __init__(self, stage: Stage, name: str, count: int, *, is_first: bool) -> None:
        self.name = name
        self._stage = stage
        self._count = count
        self._is_first = is_first
        self.process = Process(stage.world, name, self._main)

    def _main(self) -> None:
        stage = self._stage
        if self._is_first:
            self._client = self._connect()
            opening = [{key: value for key, value in command.items() if key != "ts"}
                       for command in stage.universe.opening()]
            for at in range(0, len(opening), 25):
                self._send(opening[at:at + 25])
            stage.is_open = True
        while not stage.is_open:
            self.process.wait(lambda: stage.is_open, 20 * MILLISECOND)
        if not self._is_first:
            self._client = self._connect()
        while self._count > 0:
            batch = list(stage.commands(stage.random.choice((1, 1, 2, 5, 10))))
            self._count -= len(batch)
            self._send(batch)
            if stage.random.random() < 0.1:
                self._ask()
            if "client_restart" in stage.faults.events and stage.random.random() < 0.1:
                self._start_again(batch)
            self.process.wait(lambda: False, stage.random.randrange(20 * MILLISECOND))
        self._client.close()

    def _connect(self) -> Client:
        stage = self._stage
        return Client(
            COMMANDS, self.name, timeout_s=stage.random.choice((0.5, 3, 10)),
            retry_s=stage.random.choice((0.05, 0.3, 1)),
            context=stage.network.context(self.process), clock=stage.world.clock)

    def _send(self, batch: list[Command]) -> None:
        while True:
            client, ledger = self._client, self._stage.ledger
            try:
                if client.next_request is None:
                    client.next_request = client.hello() + 1
                first = client.next_request
                for request, command in enumerate(batch, first):
                    ledger.note_sent(self.name, request, command)
                outcomes = client.send_many(batch)
            except NoAnswer:
                # The same again, under the same numbers, a moment later.
                pause = self._stage.random.randrange(20 * MILLISECOND, 300 * MILLISECOND)
                self.process.wait(lambda: False, pause)
                continue
            for request, outcome in enumerate(outcomes, first):
                ledger.note_answer(self.name, request, outcome)
            return

    def _ask(self) -> None:
        try:
            answer = self._client.query({"query": "state_hash"})
        except NoAnswer:
            return
        last = self._stage.ledger.last_seq(self.name)
        problem = f"{self.name}: an answer of seq {answer['seq']} after {last}"
        require(answer["seq"] >= last, problem)

    def _start_again(self, batch: list[Command]) -> None:
        """Send something, and come back without having waited for the answer."""
        self._stage.faults.count("client_restart")
        client, ledger = self._client, self._stage.ledger
        first = client.next_request
        if first is not None:
            for request, command in enumerate(batch, first):
                ledger.note_sent(self.name, request, command)
            client._connected().send_multipart(
                [wire.COMMANDS, wire.encode_commands(self.name, first, batch)])
        client.close()
        self._client = self._connect()


class Feed:
    """A publisher of marks, whose messages the network loses, doubles and reorders."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._epoch = 1
        self._sequence = 0
        self._step = 0
        self._beats = 0
        self._ts = 0
        host = Host("feed")
        self._socket = stage.network.context(host).socket(zmq.PUB)
        self._socket.bind(MARKS)
        stage.every("feed", self._publish, 30 * MILLISECOND)

    def _publish(self) -> None:
        stage = self._stage
        if not stage.is_open:
            return
        if stage.random.random() < 0.01:
            stage.faults.count("feed_restart")
            self._epoch += 1
            self._sequence = self._step = self._beats = 0
        if stage.random.random() < 0.1:
            self._beats += 1
            self._send(wire.HEARTBEAT, self._beats, wire.encode_heartbeat(
                self._epoch, {wire.MARKS: self._sequence}))
            return
        steps = [self._draw_step(offset) for offset in range(1, stage.random.choice((2, 2, 4)))]
        payload = wire.encode_marks(self._epoch, self._step + 1, steps)
        self._step += len(steps)
        self._sequence += 1
        self._send(wire.MARKS, self._sequence, payload)

    def _draw_step(self, offset: int) -> tuple[int, list[tuple[str, str, None]]]:
        universe, ledger = self._stage.universe, self._stage.ledger
        symbols = universe.random.sample(universe.symbols, universe.random.randint(1, 2))
        for symbol in symbols:
            step = universe.mark_steps[symbol]
            universe.marks[symbol] = max(
                2 * step, universe.marks[symbol] + step * universe.random.randint(-3, 3))
        prices = {symbol: universe.mark_text(symbol) for symbol in symbols}
        self._ts += 1
        ledger.steps[f"feed/{self._epoch}", self._step + offset] = prices
        return self._ts, [(symbol, price, None) for symbol, price in prices.items()]

    def _send(self, topic: bytes, sequence: int, payload: bytes) -> None:
        self._socket.send_multipart(wire.make_frames(topic, sequence, payload))


class Listener:
    """Hears events, and notes what it was told."""

    def __init__(self, stage: Stage) -> None:
        self._ledger = stage.ledger
        host = Host("listener", self._read)
        self._socket = stage.network.context(host).socket(zmq.SUB)
        for topic in (wire.EVENTS, wire.HEARTBEAT, wire.END):
            self._socket.setsockopt(zmq.SUBSCRIBE, topic)
        self._socket.connect(EVENTS)

    def _read(self) -> None:
        while self._socket.inbox:
            topic, _, payload = wire.split_frames(self._socket.recv_multipart())
            if topic == wire.EVENTS:
                epoch, seq, _, events = wire.decode_events(payload)
                self._ledger.heard.append(Heard(epoch, seq, msgpack.packb(events)))
            elif topic == wire.END:
                for each in list(self._socket.topics):
                    self._socket.setsockopt(zmq.UNSUBSCRIBE, each)


class Visitor:
    """A socket that sends what it should not, or more than it should."""

    def __init__(self, stage: Stage, name: str, *, reads: bool) -> None:
        self._stage = stage
        host = Host(name, self._read if reads else lambda: None)
        self._socket = stage.network.context(host).socket(zmq.DEALER)
        self._socket.connect(COMMANDS)
        self._request = 0
        act = self._send_garbage if name == "garbage" else self._send_much
        stage.every(name, act, 100 * MILLISECOND)

    def _read(self) -> None:
        while self._socket.inbox:
            self._socket.recv_multipart()

    def _send_much(self) -> None:
        self._stage.faults.count("flood")
        for _ in range(self._stage.random.choice((2, 2, 40))):
            self._request += 1
            self._socket.send_multipart([wire.COMMANDS, wire.encode_commands(
                "flood", self._request, [{"cmd": "time"}])])
            self._socket.send_multipart(
                [wire.QUERY, wire.encode_query(self._request, {"query": "totals"})])

    def _send_garbage(self) -> None:
        self._stage.faults.count("garbage")
        random = self._stage.random
        self._request += 1
        whole = [wire.COMMANDS, wire.encode_commands(
            "garbage", self._request, list(self._stage.commands(1)))]
        frames = random.choice((
            [random.randbytes(random.randrange(20)) for _ in range(random.randrange(1, 4))],
            [random.choice((wire.COMMANDS, wire.QUERY, wire.HELLO, wire.OUTCOMES)),
             random.randbytes(random.randrange(40))],
            [wire.COMMANDS, b"\x91" * random.choice((10, 5000))],
            [wire.QUERY, wire.encode_query(1, _noise(random, 3))],
            [wire.COMMANDS, wire.encode_commands("garbage", self._request, [_noise(random, 3)])],
            [whole[0], _mangled(whole[1], random)],
            [whole[0], _mangled(whole[1], random)],
        ))
        self._socket.send_multipart(frames)


def _mangled(data: bytes, random: Random) -> bytes:
    mangled = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 5))):
        mangled[random.randrange(len(mangled))] = random.randrange(256)
    return bytes(mangled)


def _noise(random: Random, depth: int) -> Any:
    """A value of any shape, often with the names of real fields."""
    names = ("cmd", "query", "account", "symbol", "amount", "asset", "order", "deposit", "ts",
             "quantity", "price", "side", "marks", "book", "depth")
    kind = random.randrange(8 if depth else 6)
    plain: tuple[Any, ...] = (
        None, random.random() < 0.5, random.choice((-2**63, -1, 0, 1, 77, 2**63 - 1, 2**64 - 1)),
        random.random() * 1e300, random.choice(names), random.randbytes(3))
    if kind < 6:
        return plain[kind]
    if kind == 6:
        return [_noise(random, depth - 1) for _ in range(random.randrange(4))]
    return {random.choice(names): _noise(random, depth - 1) for _ in range(random.randrange(5))}
