"""The client processes of a run, and what one leg of load comes to."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import TracebackType
from typing import Any

from engine.errors import RunError
from engine.load.histogram import Histogram, Timeline
from engine.load.worker import Leg, LegEnd, Order, Part, run_worker
from engine.serving.service import StopSignal

#: How long processes may take to start and connect, and to make their messages.
_READY_S, _PREPARED_S = 120.0, 300.0
#: Between the word to start and the start.
_NOTICE_NS = 50_000_000
#: How often the memory of a server is looked at.
_SAMPLE_S = 0.5


@dataclass
class LegResult:
    """What a leg of load came to.

    Attributes
    ----------
    rate : float, commands per second
        Intended.
    duration_s : float
    latency, lateness : Histogram
        From the intended time of each command to its answer, and of each message to its sending.
    timeline : Timeline
    sent, unanswered : int
        Commands.
    codes : Counter of str
        Outcomes, or the reasons of what was refused.
    seq_count, seq_sum : int
        Numbers that applied commands got.
    is_ordered : bool
        Whether the numbers of each client always rose.
    gave_up : bool
        Answers came too late, so that the rest was not sent.
    is_interrupted : bool
    memory : list of (float, int)
        Seconds from the start, resident bytes of the server.
    elapsed_s : float
        How long it took, waiting for the last answers included.
    """

    rate: float
    duration_s: float
    latency: Histogram
    lateness: Histogram
    timeline: Timeline
    sent: int = 0
    unanswered: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    seq_count: int = 0
    seq_sum: int = 0
    is_ordered: bool = True
    gave_up: bool = False
    is_interrupted: bool = False
    memory: list[tuple[float, int]] = field(default_factory=list)
    elapsed_s: float = 0.0

    @property
    def answered(self) -> int:
        """Commands with an answer."""
        return self.sent - self.unanswered

    @property
    def achieved(self) -> float:
        """Commands answered per second."""
        return self.answered / self.elapsed_s if self.elapsed_s else 0.0

    def take(self, part: Part) -> None:
        """Count what a client has measured."""
        self.latency.add(part.latencies)
        self.lateness.add(part.lateness)
        self.timeline.add(part.due, part.latencies)

    def take_end(self, end: LegEnd) -> None:
        """Add up what a client has counted."""
        self.sent += end.sent
        self.unanswered += end.unanswered
        self.codes += end.codes
        self.seq_count += end.seq_count
        self.seq_sum += end.seq_sum
        self.is_ordered = self.is_ordered and end.is_ordered
        self.gave_up = self.gave_up or end.gave_up


def new_result(rate: float, duration_s: float) -> LegResult:
    """Return a result to be filled; a long one has wider intervals."""
    width = next(
        width for width in (0.25, 1, 5, 10, 30, 60, 300, 3600)
        if duration_s / width <= 240 or width == 3600)
    return LegResult(rate, duration_s, Histogram(), Histogram(), Timeline(width))


def resident_bytes(pid: int) -> int | None:
    """Return the resident memory of a process, None where the system does not tell."""
    try:
        text = Path(f"/proc/{pid}/statm").read_text(encoding="ascii")
        return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None


class Fleet:
    """Client processes that are connected, until the end of a `with`.

    Parameters
    ----------
    orders : sequence of Order
        One a client.
    """

    def __init__(self, orders: Sequence[Order]) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        self._processes = []
        for order in orders:
            mine, theirs = context.Pipe()
            process = context.Process(target=run_worker, args=(theirs, order), daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(mine)
            self._processes.append(process)

    def __enter__(self) -> Fleet:
        try:
            self._hear_all("ready", _READY_S)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def _end(self) -> None:
        for pipe in self._pipes:
            try:
                pipe.send(None)
            except OSError:
                pass  # it has ended already
        for process in self._processes:
            process.join(5.0)
            if process.is_alive():
                process.terminate()
                process.join(5.0)

    def run(
        self, leg: Leg, on_progress: Callable[[LegResult, float], None], server_pid: int = 0
    ) -> LegResult:
        """Run a leg; a Ctrl-C ends it early, with what there is by then.

        Parameters
        ----------
        leg : Leg
        on_progress : callable
            Takes the result so far and the seconds since the start.
        server_pid : int
            Whose memory is watched; 0: nobody's.

        Raises
        ------
        RunError
            A client failed.
        """
        for pipe in self._pipes:
            pipe.send(leg)
        self._hear_all("prepared", _PREPARED_S)
        start = time.monotonic_ns() + _NOTICE_NS
        for pipe in self._pipes:
            pipe.send(start)
        result, open_pipes = new_result(leg.rate, leg.duration_s), list(self._pipes)
        with StopSignal() as stop:
            while open_pipes:
                self._take(result, open_pipes, stop)
                now = (time.monotonic_ns() - start) / 1e9
                sample(result, server_pid, now)
                result.timeline.close(now - leg.drain_s - 5.0)
                on_progress(result, now)
        result.elapsed_s = (time.monotonic_ns() - start) / 1e9
        result.timeline.close(float("1e9"))
        return result

    def _take(
        self, result: LegResult, open_pipes: list[Connection], stop: StopSignal
    ) -> None:
        signals = [] if result.is_interrupted else [stop.fileno()]
        for pipe in wait([*open_pipes, *signals], _SAMPLE_S):
            if not isinstance(pipe, Connection):
                result.is_interrupted = True
                for one in open_pipes:
                    one.send("stop")
                continue
            word, what = self._hear(pipe)
            if word == "part":
                result.take(what)
            elif word == "end":
                result.take_end(what)
                open_pipes.remove(pipe)
            else:
                raise RunError(f"a client: {what}")

    def _hear(self, pipe: Connection) -> tuple[str, Any]:
        try:
            word, what = pipe.recv()
        except (EOFError, OSError):
            raise RunError("a client process ended by itself") from None
        return word, what

    def _hear_all(self, wanted: str, timeout_s: float) -> None:
        for pipe in self._pipes:
            if not pipe.poll(timeout_s):
                raise RunError(f"a client process is not {wanted} after {timeout_s:g} s")
            word, what = self._hear(pipe)
            if word != wanted:
                raise RunError(f"a client: {what}")


def sample(result: LegResult, pid: int, now: float) -> None:
    """Note the resident memory of a process, not too often; 0: of nobody."""
    if pid and (not result.memory or now - result.memory[-1][0] >= _SAMPLE_S):
        memory = resident_bytes(pid)
        if memory is not None:
            result.memory.append((now, memory))
