"""A server of its own to load: `engine serve` in a process with a population in it.

The population goes in before the journal begins: a snapshot is what the journal goes on from.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any

from engine import __version__
from engine.errors import EngineError, InputError, RunError
from engine.exchange import Exchange
from engine.journal import Journal, Kind
from engine.journal.store import Durability
from engine.load.world import World
from engine.replication.history import History
from engine.server import drift_text
from engine.serving.gateway import Gateway
from engine.serving.sequencer import Sequencer
from engine.serving.service import Service, StopSignal
from engine.serving.sessions import Sessions
from engine.serving.snapshots import Snapshots

#: Longest time for building a population of a million, and for stopping.
_START_S, _STOP_S = 600.0, 120.0
_SEGMENT_SIZE = 64 << 20


@dataclass(frozen=True)
class ServerPlan:
    """What to start.

    Attributes
    ----------
    world : World
    journal : str or None
        Folder, which is empty or missing; None: without a journal.
    fsync : str
        See `engine serve`.
    """

    world: World
    journal: str | None
    fsync: str = "batch"


@dataclass(frozen=True)
class ServerEnd:
    """What a server says when it stops.

    Attributes
    ----------
    first_seq, last_seq : int
        Of the commands that it took over the wire.
    state_hash, drift : str
    """

    first_seq: int
    last_seq: int
    state_hash: str
    drift: str


class NoJournal(Journal):
    """Stands in for a journal that nobody wants: commands are durable as soon as they come."""

    def __init__(self) -> None:
        self.folder = "off"
        self.last_seq = 0

    @property
    def journal_id(self) -> int | None:
        return None

    def append(self, records: Sequence[bytes], counts: Sequence[int] | None = None) -> None:
        """Take commands, and forget them."""

    def note(
        self, kind: Kind, facts: Mapping[str, Any], *, is_flushed: bool = True
    ) -> None:
        """Take an entry, and forget it."""


@dataclass
class OwnServer:
    """A server in a process of its own, stopped at the end of a `with`.

    Parameters
    ----------
    plan : ServerPlan

    Attributes
    ----------
    endpoint : str
        Of its commands.
    pid : int
    end : ServerEnd or None
        Once it was stopped.
    """

    plan: ServerPlan
    endpoint: str = ""
    pid: int = 0
    end: ServerEnd | None = None
    _process: BaseProcess | None = field(default=None, repr=False)
    _pipe: Connection | None = field(default=None, repr=False)

    def __enter__(self) -> OwnServer:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self.plan), daemon=True)
        self._process.start()
        theirs.close()
        self.pid = self._process.pid or 0
        try:
            self.endpoint = self._hear("ready", _START_S)
        except BaseException:
            self._process.terminate()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self.end is None:
                self.stop()
        except EngineError:
            if error is None:
                raise

    def stop(self) -> ServerEnd:
        """Stop it, and return what it came to.

        Raises
        ------
        RunError
            It ended by itself before, or does not end.
        """
        assert self._pipe is not None and self._process is not None
        try:
            with contextlib.suppress(BrokenPipeError):
                self._pipe.send("stop")
            self.end = self._hear("end", _STOP_S)
        finally:
            self._process.join(_STOP_S if self.end else 1.0)
            if self._process.is_alive():
                self._process.kill()
            self._pipe.close()
        return self.end

    def _hear(self, wanted: str, timeout_s: float) -> Any:
        assert self._pipe is not None
        try:
            if self._pipe.poll(timeout_s):
                word, what = self._pipe.recv()
                if word == wanted:
                    return what
                raise (InputError if word == "input" else RunError)(what)
        except (EOFError, OSError):
            pass
        raise RunError(f"the server of its own did not say {wanted}")


def _serve(pipe: Connection, plan: ServerPlan) -> None:
    # A Ctrl-C is for the one who started us, and who stops us when the figures are there.
    os.setpgid(0, 0)
    try:
        end = _run(pipe, plan)
    except InputError as error:
        pipe.send(("input", str(error)))
    except (EngineError, ImportError) as error:
        pipe.send(("failed", str(error)))
    else:
        with contextlib.suppress(BrokenPipeError):
            pipe.send(("end", end))


def _run(pipe: Connection, plan: ServerPlan) -> ServerEnd:
    exchange, sessions = Exchange(), Sessions()
    plan.world.build(exchange)
    first_seq, epoch = exchange.seq + 1, time.time_ns()
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(StopSignal())
        journal: Journal = NoJournal()
        if plan.journal is not None:
            journal = _begin_journal(stack, plan, exchange, sessions, epoch)
        sequencer = Sequencer(exchange, journal, sessions, checkpoint_commands=1_000_000)
        gateway = stack.enter_context(
            Gateway("tcp://127.0.0.1:*", exchange, sessions, epoch))
        service = Service(sequencer, gateway=gateway, report=lambda line: None)
        pipe.send(("ready", gateway.endpoint))
        threading.Thread(target=_wait_for_stop, args=[pipe], daemon=True).start()
        service.run(stop)
        state_hash = sequencer.checkpoint("shutdown")
    return ServerEnd(first_seq, exchange.seq, state_hash, drift_text(exchange))


def _begin_journal(
    stack: contextlib.ExitStack, plan: ServerPlan, exchange: Exchange, sessions: Sessions,
    epoch: int,
) -> Journal:
    assert plan.journal is not None
    journal = stack.enter_context(Journal(
        plan.journal, durability=Durability(plan.fsync), segment_size=_SEGMENT_SIZE))
    if journal.journal_id is not None:
        raise InputError(f"{plan.journal}: there is a journal already; give an empty folder")
    # What was built is the beginning: the journal goes on behind it.
    journal.last_seq = exchange.seq
    journal.begin()
    assert journal.journal_id is not None
    start = History().next_start(1, epoch, exchange.seq)
    Snapshots(plan.journal, journal.journal_id).write(exchange, sessions, History([start]))
    journal.note(
        Kind.START, {"epoch": start.epoch, "engine": __version__, "term": start.term})
    return journal


def _wait_for_stop(pipe: Connection) -> None:
    # The word, or the end of the one who would say it.
    with contextlib.suppress(EOFError, OSError):
        pipe.recv()
    os.kill(os.getpid(), signal.SIGTERM)
