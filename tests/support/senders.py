"""Clients that send what a universe says, and know afterwards what was acknowledged."""

from __future__ import annotations

import random
import threading
from typing import Protocol

from engine.client import Client
from engine.serving.sessions import Outcome
from support.universe import Universe


class Reachable(Protocol):
    """A server, or several of which one serves."""

    def client(self, name: str) -> Client:
        """Return a client of it."""


class Sender(threading.Thread):
    """A client that sends what a universe says, in messages of random size, until told to stop."""

    def __init__(self, server: Reachable, name: str, seed: int, opening: bool) -> None:
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

    def check(self, entries: list, acknowledged: dict[int, Outcome] | None = None) -> None:
        """What the journal has of this client is what it sent, each once, in order.

        Parameters
        ----------
        entries : list of Entry
        acknowledged : dict, optional
            What was acknowledged before the journal was read, if the server still goes on.
        """
        mine = [entry for entry in entries if entry.client == self.client_name]
        assert [entry.request for entry in mine] == list(range(1, len(mine) + 1))
        assert [entry.given for entry in mine] == [self.sent[entry.request] for entry in mine]
        seqs = {entry.request: entry.seq for entry in mine}
        done = dict(self.acknowledged) if acknowledged is None else acknowledged
        assert len(mine) >= len(done)
        for request, outcome in done.items():
            assert outcome.code in ("accepted", "rejected")
            assert outcome.seq == seqs[request]
