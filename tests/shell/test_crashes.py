"""Servers that are killed while clients send: nothing acknowledged is lost, nothing done twice."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import CORES
from support.servers import Server
from support.universe import Universe

from engine.client import Client
from engine.serving.sessions import Outcome


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    it = Server(tmp_path, CORES[-1])
    yield it
    it.close()


class Sender(threading.Thread):
    """A client that sends what a universe says, in messages of random size, until told to stop."""

    def __init__(self, server: Server, name: str, seed: int, opening: bool) -> None:
        super().__init__(daemon=True)
        self.client_name = name
        self.sent: dict[int, dict] = {}
        self.acknowledged: dict[int, Outcome] = {}
        self.error: BaseException | None = None
        self.has_opened = threading.Event()
        self.is_over = threading.Event()
        self._server = server
        self._random = random.Random(seed)
        self._universe = Universe(seed)
        # What the universe goes on from, whoever declares the market.
        declared = [*self._universe.opening()]
        self._opening = declared if opening else []

    def run(self) -> None:
        try:
            with self._server.client(self.client_name) as client:
                self._send(client, self._opening)
                self.has_opened.set()
                while not self.is_over.is_set():
                    count = self._random.choice((1, 1, 2, 5, 20, 100))
                    self._send(client, [self._universe.next() for _ in range(count)])
        except BaseException as error:
            self.error = error
        self.has_opened.set()

    def _send(self, client: Client, commands: list[dict]) -> None:
        if not commands:
            return
        # Times of two clients would not fit together.
        commands = [{k: v for k, v in command.items() if k != "ts"} for command in commands]
        first = client.next_request or client.hello() + 1
        self.sent |= dict(enumerate(commands, first))
        self.acknowledged |= dict(enumerate(client.send_many(commands), first))

    def check(self, entries: list) -> None:
        """What the journal has of this client is what it sent, each once, in order."""
        mine = [entry for entry in entries if entry.client == self.client_name]
        assert [entry.request for entry in mine] == list(range(1, len(mine) + 1))
        assert [entry.given for entry in mine] == [self.sent[entry.request] for entry in mine]
        seqs = {entry.request: entry.seq for entry in mine}
        done = dict(self.acknowledged)
        assert len(mine) >= len(done)
        for request, outcome in done.items():
            assert outcome.code in ("accepted", "rejected")
            assert outcome.seq == seqs[request]


def crash(server: Server, kills: int, seed: int) -> None:
    dice = random.Random(seed)
    server.start("--checkpoint", "500", "--snapshot", "700")
    senders = [Sender(server, f"desk-{n}", seed + n, opening=n == 0) for n in range(2)]
    senders[0].start()
    assert senders[0].has_opened.wait(30)
    senders[1].start()
    counts, epochs = [], [server.epoch]
    for _ in range(kills):
        time.sleep(dice.uniform(0.01, 0.3))
        server.kill()
        entries = server.entries()
        counts.append(len(entries))
        for sender in senders:
            sender.check(entries)
        exchange = server.replayed()
        exchange.check()
        server.start("--checkpoint", "500", "--snapshot", "700")
        assert server.recovered == (len(entries), exchange.state_hash())
        epochs.append(server.epoch)
    for sender in senders:
        sender.is_over.set()
    for sender in senders:
        sender.join(30)
        assert sender.error is None and len(sender.sent) == len(sender.acknowledged)
    rows = server.stop()
    entries = server.entries()
    for sender in senders:
        sender.check(entries)
        assert len(sender.acknowledged) == sum(e.client == sender.client_name for e in entries)
    assert (rows["drift"], rows["state_hash"]) == ("0", server.replayed().state_hash())
    assert counts == sorted(counts) and counts[-1] > counts[0] and epochs == sorted(set(epochs))


def test_killed_again_and_again(server):
    crash(server, kills=15, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 110))
def test_killed_many_times(server, seed):
    crash(server, kills=100, seed=seed)
