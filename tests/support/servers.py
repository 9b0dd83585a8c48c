"""`engine serve --journal` as a real process, and what its journal holds when it is gone."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from engine import Exchange
from engine.client import Client
from engine.journal import Entry, JournalReader, Storage
from support.journals import entries_of

ROOT = Path(__file__).resolve().parents[2]


class Server:
    """Starts, kills and stops servers of one journal; ends what still runs by its id."""

    def __init__(self, folder: Path, core: str) -> None:
        self.journal = folder / "journal"
        self.core = core
        self._sockets = tempfile.TemporaryDirectory(prefix="eng")
        self.endpoint = f"ipc://{self._sockets.name}/commands"
        self.events = f"ipc://{self._sockets.name}/events"
        self.market = f"ipc://{self._sockets.name}/market"
        self.states = f"ipc://{self._sockets.name}/states"
        self.lines: list[str] = []
        self.process: subprocess.Popen[str] | None = None
        self._ready = threading.Event()
        self._reading: threading.Thread | None = None

    def start(self, *options: str, wait: bool = True) -> Server:
        """Start on the journal, and wait until it takes commands."""
        command = [sys.executable, "-m", "engine", "serve", "--journal", str(self.journal),
                   "--commands", self.endpoint, "--core", self.core, "--segment-size", "1"]
        self.process = subprocess.Popen(
            [*command, *options], text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.lines = []
        self._ready.clear()
        self._reading = threading.Thread(target=self._read, args=[self.process], daemon=True)
        self._reading.start()
        if wait:
            assert self._ready.wait(30), self.lines
            assert self.process.poll() is None, self.lines
        return self

    @property
    def published(self) -> list[str]:
        """Options with which a server publishes everything and answers with states."""
        return ["--events", self.events, "--market-data", self.market,
                "--snapshots-at", self.states]

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            self.lines.append(line.rstrip("\n"))
            if line.startswith("ready: "):
                self._ready.set()
        self._ready.set()

    def line(self, beginning: str) -> str:
        """The first line on stderr that contains a text."""
        return next(line for line in self.lines if beginning in line)

    @property
    def epoch(self) -> int:
        return int(self.line("ready: ").rsplit(" ", 1)[1])

    @property
    def recovered(self) -> tuple[int, str]:
        """`seq` and state hash that the server came to on its start."""
        found = re.search(r"seq (\d+), state_hash (\w+)", self.line("commands replayed"))
        assert found is not None
        return int(found[1]), found[2]

    def kill(self) -> None:
        """End the process at once."""
        assert self.process is not None
        self.process.kill()
        self._end()

    def stop(self, number: int = signal.SIGTERM) -> dict[str, str]:
        """Ask the process to end; return the rows that it prints."""
        assert self.process is not None and self.process.stdout is not None
        self.process.send_signal(number)
        out = self.process.stdout.read()
        code = self._end()
        assert code == 0, self.lines
        pairs = (line.split(None, 1) for line in out.splitlines())
        return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}

    def wait(self) -> int:
        """Wait for a process that ends by itself; return its exit code."""
        return self._end()

    def _end(self) -> int:
        assert self.process is not None and self._reading is not None
        code = self.process.wait(30)
        self._reading.join(10)
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()
        self.process = None
        return code

    def close(self) -> None:
        if self.process is not None:
            self.kill()
        self._sockets.cleanup()

    def client(self, name: str = "desk") -> Client:
        return Client(self.endpoint, name, timeout_s=30, retry_s=0.2)

    def entries(self) -> list[Entry]:
        """What the journal holds."""
        return entries_of(JournalReader(str(self.journal), Storage()).batches())

    def replayed(self) -> Exchange:
        """A fresh exchange after the commands of the journal, by the plainest road."""
        exchange = Exchange(core=self.core)
        for entry in self.entries():
            exchange.apply(entry.command)
            assert exchange.seq == entry.seq
        return exchange
