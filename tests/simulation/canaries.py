"""Bugs to be found: each is put into the code under test, and some seed has to notice.

They are the mistakes that servers of this kind make. A harness that does not see one of them
within its number of seeds sees too little.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from engine.journal import Journal, JournalReader
from engine.journal.layout import Batch
from engine.journal.reader import read_batch_header
from engine.journal.store import Durability
from engine.serving.gateway import Gateway
from engine.serving.keeper import Keeper
from engine.serving.sessions import Outcome, Sessions
from engine.serving.snapshots import Snapshots
from simulation.run import Result, Simulation


def _answer_before_flush() -> Any:
    """Commands are answered when they are written, not when they are durable."""
    began = Journal.begin

    def begin(self: Journal) -> str | None:
        self._durability = Durability.OFF
        return began(self)

    return mock.patch.object(Journal, "begin", begin)


def _forget_requests_in_snapshot() -> Any:
    """A snapshot does not say which requests it includes."""
    return mock.patch.object(Sessions, "dump", lambda self: [])


def _take_requests_again() -> Any:
    """A request that comes again is applied again, if it is the client's last."""
    refusal = Sessions.refusal

    def forgetful(self: Sessions, client: str, request: int, checksum: int) -> Outcome | None:
        if request == self.last_request(client):
            return None
        return refusal(self, client, request, checksum)

    return mock.patch.object(Sessions, "refusal", forgetful)


def _trust_torn_tail() -> Any:
    """The checksum of a batch is not looked at."""

    def batch(self: JournalReader, data: bytes, path: str, offset: int) -> Batch | None:
        header = read_batch_header(data, offset)
        if header is None:
            return None
        begin = offset + 48
        return Batch(header, data[begin:begin + header.size], path, offset)

    return mock.patch.object(JournalReader, "_batch", batch)


def _forget_folder() -> Any:
    """The name of a new segment is not flushed."""
    started, begun = Journal._start_segment, Journal.begin

    def quietly(work: Callable[..., Any]) -> Callable[..., Any]:
        def do(self: Journal, *arguments: Any) -> Any:
            with mock.patch.object(self._storage, "sync_folder", lambda folder: None):
                return work(self, *arguments)
        return do

    return _both(mock.patch.object(Journal, "_start_segment", quietly(started)),
                 mock.patch.object(Journal, "begin", quietly(begun)))


def _drop_too_many_segments() -> Any:
    """Segments are let go of that the next snapshot will not need, before it is written."""
    keep = Keeper.keep

    def hasty(self: Keeper, exchange: Any, sessions: Any, journal: Journal) -> None:
        if self._drops_segments:
            journal.drop_segments(exchange.seq)
        keep(self, exchange, sessions, journal)

    return mock.patch.object(Keeper, "keep", hasty)


def _apply_unrecorded() -> Any:
    """Something is applied that is not in the journal."""
    write = Snapshots.write

    def late(self: Snapshots, exchange: Any, *rest: Any) -> str:
        path = write(self, exchange, *rest)
        exchange.submit({"cmd": "time"})
        exchange.discard_events()
        return path

    return mock.patch.object(Snapshots, "write", late)


def _answer_another() -> Any:
    """Outcomes of a message go out in the wrong order."""
    reply = Gateway.reply

    def mixed(self: Gateway) -> None:
        for asked in self._asked:
            if hasattr(asked, "outcomes"):
                asked.outcomes.reverse()
        reply(self)

    return mock.patch.object(Gateway, "reply", mixed)


@contextmanager
def _both(first: Any, second: Any) -> Iterator[None]:
    with first, second:
        yield


#: Name of each bug, and the seeds within which it has to be found.
CANARIES: dict[str, tuple[Callable[[], Any], int]] = {
    "answer_before_flush": (_answer_before_flush, 30),
    "forget_requests_in_snapshot": (_forget_requests_in_snapshot, 30),
    "take_requests_again": (_take_requests_again, 30),
    "trust_torn_tail": (_trust_torn_tail, 30),
    "forget_folder": (_forget_folder, 30),
    "drop_too_many_segments": (_drop_too_many_segments, 30),
    "apply_unrecorded": (_apply_unrecorded, 30),
    "answer_another": (_answer_another, 30),
}


def run_seed(seed: int, core: str, canary: str | None, is_logged: bool = False) -> Result:
    """Run one seed, with or without a bug put into the code."""
    if canary is None:
        return Simulation(seed, core, is_logged=is_logged).run()
    with CANARIES[canary][0]():
        return Simulation(seed, core, is_logged=is_logged).run()
