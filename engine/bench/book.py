"""What an order costs: one stream, sent in every way, compared, paced and weighed.

The same packed stream goes through the compiled book (batches of 1, 7, 1,000 and all at
once; single calls) and through the exchange with accounts, margin and events; a beginning
of it through a plain Python book and through the reference core. All must make the same
trades. `ways` has what is sent, `latency` the open loop, `memory` the bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

from engine.bench.latency import Paced, new_paced, run_paced
from engine.bench.memory import Memory, measure_memory
from engine.bench.stream import Stream, make_stream
from engine.bench.timing import no_collection, timer_ns
from engine.bench.ways import (
    WAYS,
    Compared,
    Prepared,
    Rival,
    Sent,
    Way,
    compare_accounts,
    compare_book,
)

Progress = Callable[[str], None]


@dataclass(frozen=True)
class BookPlan:
    """How large a run is.

    Attributes
    ----------
    stream : str
        Of `engine.bench.stream.MIXES`.
    commands, seed, rounds : int
    resting : int, optional
        Bound on the size of the book; default: what the stream says.
    paced_rounds : int
        Of the latencies.
    book_prefix : int
        Commands that the plain book gets, a round.
    accounts_prefix : int
        Commands that the reference core gets, once; it looks at every account after each.
    """

    stream: str = "canonical"
    commands: int = 1_000_000
    seed: int = 1
    rounds: int = 3
    resting: int | None = None
    paced_rounds: int = 3
    book_prefix: int = 100_000
    accounts_prefix: int = 250


SMOKE = BookPlan(
    commands=3000, rounds=1, resting=3000, paced_rounds=1, book_prefix=1000, accounts_prefix=30)


@dataclass
class Run:
    """One way of sending the stream.

    Attributes
    ----------
    way : Way
    per_command : list of float
        ns of CPU, one entry a round.
    sent : list of Sent
        The same, whole.
    """

    way: Way
    per_command: list[float] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)

    @property
    def cost(self) -> float:
        """ns a command, the median of the rounds."""
        return median(self.per_command)


@dataclass
class BookResult:
    """Everything one run measured.

    Attributes
    ----------
    plan : BookPlan
    stream : Stream
        Without its commands.
    runs : list of Run
    rivals : dict
        What the ways are compared with, an entry a round.
    paced : list of Paced
    paced_sent : dict
        What the paced passes made, by name.
    memory : Memory or None
    clock : float, ns
        What a look at the clock costs.
    """

    plan: BookPlan
    stream: Stream
    runs: list[Run]
    rivals: dict[Rival, list[Compared]]
    paced: list[Paced] = field(default_factory=list)
    paced_sent: dict[str, list[Sent]] = field(default_factory=dict)
    memory: Memory | None = None
    clock: float = 0.0

    @property
    def state_hash(self) -> str:
        """Digest of the exchange after the stream."""
        return next((sent.state for run in self.runs for sent in run.sent if sent.state), "")

    @property
    def events(self) -> int:
        """Events of the exchange."""
        return max((sent.events for run in self.runs for sent in run.sent), default=0)

    def disagreements(self) -> list[str]:
        """What made other trades, or ended in another state."""
        passes = {run.way.name: run.sent for run in self.runs} | self.paced_sent
        found = [name for name, sent in passes.items() if not all(map(self._is_right, sent))]
        names = {"book": "the plain book", "accounts": "the reference core"}
        return found + [
            names[rival] for rival, compared in self.rivals.items()
            if not all(one.agrees for one in compared)
        ]

    def _is_right(self, sent: Sent) -> bool:
        # A book has no state hash, and a paced exchange drops its events.
        return sent.trades in ("", self.stream.trades) and sent.state in ("", self.state_hash)

    @property
    def agrees(self) -> bool:
        """Whether everything that got the same commands made the same trades."""
        return not self.disagreements()

    def rival_cost(self, rival: Rival) -> float:
        """ns a command of what a way is compared with, the median of the rounds."""
        return median(one.per_command for one in self.rivals[rival])

    def ratios(self, run: Run, rival: Rival) -> list[float]:
        """How many times as fast a way is, by round; what was measured once serves for all."""
        costs = [one.per_command for one in self.rivals[rival]]
        if len(costs) != len(run.per_command):
            costs = [self.rival_cost(rival)] * len(run.per_command)
        return [cost / own for cost, own in zip(costs, run.per_command, strict=True)]


def run_book(plan: BookPlan, progress: Progress = lambda note: None) -> BookResult:
    """Measure one stream.

    Parameters
    ----------
    plan : BookPlan
    progress : callable
        Told what comes next.

    Returns
    -------
    BookResult
    """
    with no_collection():
        stream = make_stream(plan.stream, plan.commands, plan.seed, plan.resting, progress)
        result = BookResult(
            plan, stream.light(), [Run(way) for way in WAYS], {"book": [], "accounts": []},
            clock=timer_ns())
        progress(f"{plan.stream}: memory, in a process of its own")
        result.memory = measure_memory(stream)
        prepared = Prepared(stream)
        for number in range(plan.rounds):
            _run_round(result, stream, prepared, f"round {number + 1} of {plan.rounds}", progress)
        progress(f"{plan.stream}: reference core")
        prefix = stream.head(plan.accounts_prefix, resting=plan.accounts_prefix)
        result.rivals["accounts"].append(compare_accounts(prefix))
        paced = new_paced()
        for number in range(plan.paced_rounds):
            progress(f"{plan.stream}: latencies, round {number + 1} of {plan.paced_rounds}")
            for name, sent in run_paced(paced, prepared, plan.seed + 100 * number).items():
                result.paced_sent.setdefault(name, []).append(sent)
        result.paced = [row for rows in paced.values() for row in rows]
    return result


def _run_round(
    result: BookResult, stream: Stream, prepared: Prepared, title: str, progress: Progress
) -> None:
    for run in result.runs:
        progress(f"{stream.name}, {title}: {run.way.name}")
        sent = run.way.send(prepared)
        run.sent.append(sent)
        run.per_command.append(sent.ns / len(stream.commands))
    progress(f"{stream.name}, {title}: plain book")
    result.rivals["book"].append(compare_book(stream.head(result.plan.book_prefix)))
