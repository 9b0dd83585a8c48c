"""A primary and its standby as real processes."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

from engine.client import Client
from engine.journal import JournalReader, Storage
from engine.replication.promotion import promote
from support.servers import Server


class Standby(Server):
    """A server that may be told to follow another one."""

    def __init__(self, folder: Path, core: str) -> None:
        folder.mkdir(exist_ok=True)
        super().__init__(folder, core)
        self.replication = self.endpoint.replace("commands", "replication")

    def follow(self, endpoint: str, *options: str) -> Standby:
        """Start as a standby, and wait until it asks for the stream."""
        self.start("--replication", self.replication, "--follow", endpoint, *options, wait=False)
        self.wait_for("standby: following")
        return self

    def lead(self, *options: str) -> Standby:
        """Start as a primary, and wait until it takes commands."""
        self.start("--replication", self.replication, "--fence-wait", "0.1", *options)
        return self

    def wait_for(self, text: str, seconds: float = 30) -> str:
        """Wait for a line on stderr that contains a text."""
        wait_until(lambda: any(text in line for line in self.lines), self.lines, seconds)
        return self.line(text)

    def wait_for_seq(self, seq: int) -> None:
        """Wait until the journal has a command."""
        wait_until(lambda: self.last_seq >= seq, self.lines)

    @property
    def last_seq(self) -> int:
        """Of the last command in the journal."""
        reader = JournalReader(str(self.journal), Storage())
        for _ in reader.batches() if self.journal.exists() else ():
            pass
        return reader.last_seq

    def batches(self) -> list[bytes]:
        """Every batch of the journal."""
        return [batch.raw for batch in JournalReader(str(self.journal), Storage()).batches()]

    def take_over(self, by_signal: bool = False) -> dict[str, str]:
        """Tell it to take over, and wait until it serves."""
        rows = {}
        if by_signal:
            assert self.process is not None
            self.process.send_signal(signal.SIGUSR1)
        else:
            rows = dict(promote(self.replication, 30))
        self.wait_for("ready: ")
        return rows

    @property
    def term(self) -> int:
        return int(self.line("ready: ").rsplit(" ", 3)[1].rstrip(","))


def wait_until(holds: Callable[[], bool], lines: list[str], seconds: float = 30) -> None:
    """Wait for something, and fail with what was said if it does not come."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, lines
        time.sleep(0.02)


def client_of(*servers: Standby, name: str = "desk") -> Client:
    """A client that knows where to look for whoever serves."""
    return Client([each.endpoint for each in servers], name, timeout_s=30, retry_s=0.2)
