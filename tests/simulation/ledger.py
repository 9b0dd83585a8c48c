"""What has to hold: what clients sent and were told, against what the journal holds.

The journal is read by the plain road: every command into a fresh exchange, one by one.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import msgpack

from engine import Exchange
from engine.journal import Entry, JournalReader, Kind, Storage
from engine.journal.layout import PackedEntry
from engine.serving.packed import PackedCommands
from engine.serving.sessions import ACCEPTED, REJECTED, REUSED, Outcome

Command = dict[str, Any]
#: Clients whose messages are noise: what they sent is not known.
NOISE = ("garbage", "flood")


class Broken(Exception):
    """A promise of the server that it did not keep."""


def require(condition: bool, problem: str) -> None:
    if not condition:
        raise Broken(problem)


def read_entries(folder: str, storage: Storage) -> list[Entry | PackedEntry]:
    """Return all commands of a journal."""
    return [entry for batch in JournalReader(folder, storage).batches()
            if batch.header.kind == Kind.COMMANDS for entry in batch.entries()]


class Mirror:
    """A fresh exchange after the commands of a journal, and what became of each.

    Attributes
    ----------
    entries : list of Entry
    outcomes : dict
        By client and request.
    events : list of bytes
        Of each command, encoded.
    """

    def __init__(self, core: str) -> None:
        self.exchange = Exchange(core=core)
        self.entries: list[Entry | PackedEntry] = []
        self.outcomes: dict[tuple[str, int], Outcome] = {}
        self.events: list[bytes] = []
        self._last_request: dict[str, int] = {}

    def follow(self, entry: Entry | PackedEntry) -> None:
        """Apply the next command, or the next ones that came packed."""
        require(entry.seq == self.exchange.seq + 1, f"seq {entry.seq} is out of order")
        if isinstance(entry, PackedEntry):
            self._follow_packed(entry)
            return
        events = self.exchange.apply(entry.command)
        require(self.exchange.seq == entry.seq, f"seq {entry.seq} got another number")
        self.entries.append(entry)
        self.events.append(msgpack.packb(events))
        if entry.client is None:
            return
        self._note_request(entry, entry.client, 1)
        refusal = next((each for each in events if each["event"] == "rejected"), None)
        self.outcomes[entry.client, entry.request] = (
            Outcome(ACCEPTED, entry.seq, self.exchange.ts) if refusal is None else
            Outcome(REJECTED, entry.seq, self.exchange.ts, refusal["reason"], refusal["detail"]))

    def _follow_packed(self, entry: PackedEntry) -> None:
        table = PackedCommands(entry.rows, entry.specials).table(entry.stamp)
        self.exchange.submit_many(*table)
        events = self.exchange.drain()
        last = entry.seq + entry.command_count - 1
        require(self.exchange.seq == last, f"seq {last} got another number")
        self.entries.append(entry)
        self.events += [msgpack.packb([each for each in events if each["seq"] == seq])
                        for seq in range(entry.seq, last + 1)]
        if entry.client is not None:
            self._note_request(entry, entry.client, entry.command_count)

    def _note_request(self, entry: Entry | PackedEntry, client: str, count: int) -> None:
        last = self._last_request.get(client, 0)
        require(entry.request > last, (
            f"seq {entry.seq}: request {entry.request} of {client} after {last}: "
            "taken twice, or out of order"))
        self._last_request[client] = entry.request + count - 1


@dataclass
class Heard:
    """Events of one command as a listener got them."""

    epoch: int
    seq: int
    events: bytes


class Ledger:
    """Everything that was sent, answered, heard and recorded in one run.

    Parameters
    ----------
    core : str

    Attributes
    ----------
    sent : dict
        Of each client and request the commands that went out under this number: more than one
        where a client came back without knowing whether its last was taken.
    answered : dict
        Of each client and request the outcome that it was told.
    heard : list of Heard
    steps : dict
        Of each feed and step the marks that were published.
    is_lenient : bool
        The disk has lost what it said it had flushed: answers from before prove nothing.
    """

    def __init__(self, core: str) -> None:
        self.sent: dict[str, dict[int, list[Command]]] = defaultdict(dict)
        self.answered: dict[tuple[str, int], Outcome] = {}
        self.heard: list[Heard] = []
        self.steps: dict[tuple[str, int], dict[str, str]] = {}
        self.mirror = Mirror(core)
        self.is_lenient = False
        self._core = core

    def note_sent(self, client: str, request: int, command: Command) -> None:
        """Note what goes out, before it does."""
        known = self.sent[client].setdefault(request, [])
        if command not in known:
            known.append(command)

    def note_answer(self, client: str, request: int, outcome: Outcome) -> None:
        """Note an answer; one given before has to be the same."""
        if outcome.code == REUSED and len(self.sent[client][request]) > 1:
            return  # what it had sent before it came back was taken after all
        if self.is_lenient:
            return
        require(outcome.code in (ACCEPTED, REJECTED), f"{client} {request}: {outcome}")
        before = self.answered.setdefault((client, request), outcome)
        require(before == outcome, f"{client} {request}: {before}, later {outcome}")

    def last_seq(self, client: str) -> int:
        """Return the latest `seq` that a client was told."""
        return max((outcome.seq or 0 for (name, _), outcome in self.answered.items()
                    if name == client), default=0)

    def forgive(self) -> None:
        """Ask no more for what was acknowledged: the disk had lied about it."""
        self.is_lenient = True
        self.answered.clear()

    def read(self, folder: str, storage: Storage) -> None:
        """Bring the mirror to the end of the journal.

        Raises
        ------
        Broken, engine.journal.JournalError
        """
        entries = read_entries(folder, storage)
        if entries[:len(self.mirror.entries)] != self.mirror.entries:
            self.mirror = Mirror(self._core)
        for entry in entries[len(self.mirror.entries):]:
            self.mirror.follow(entry)
            if isinstance(entry, Entry):
                self._check_given(entry)

    def _check_given(self, entry: Entry) -> None:
        client = entry.client
        if client is None or client in NOISE or client not in self.sent:
            if client is not None and client.startswith("feed/"):
                marks = {row["symbol"]: row["mark_price"] for row in entry.given["marks"]}
                require(marks == self.steps.get((client, entry.request)),
                        f"seq {entry.seq}: not what the feed published")
            return
        require(entry.given in self.sent[client].get(entry.request, []),
                f"seq {entry.seq}: not what {client} sent as request {entry.request}")

    def check(self) -> None:
        """Compare what clients were told and listeners heard with what is recorded.

        Raises
        ------
        Broken
        """
        mirror = self.mirror
        if self.is_lenient:
            return
        for (client, request), outcome in self.answered.items():
            recorded = mirror.outcomes.get((client, request))
            require(recorded is not None, f"{client} {request}: acknowledged, and gone: {outcome}")
            require(recorded == outcome,
                    f"{client} {request}: was told {outcome}, recorded is {recorded}")
        for heard in self.heard:
            require(heard.seq <= len(mirror.events), f"events of seq {heard.seq}, which is gone")
            require(heard.events == mirror.events[heard.seq - 1],
                    f"events of seq {heard.seq} are others than those recorded")

    def check_state(self, seq: int, state_hash: str, what: str) -> None:
        """Compare a state that the server reported with that of the mirror.

        Raises
        ------
        Broken
        """
        own = (self.mirror.exchange.seq, self.mirror.exchange.state_hash())
        require((seq, state_hash) == own, f"{what}: {seq} {state_hash}, a clean replay {own}")
