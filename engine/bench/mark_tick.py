"""What a mark costs: the trigger index against scans of the same population, in one run.

One run: draw and load a population; let a day of the market pass, so that there are
accounts near every threshold; then rounds in which the engine and the scans take turns
on the same ticks; then a crash, through which the engine and an exact scan must name the
same accounts at the same ticks. Books are empty and the fund takes over whatever is
liquidated, so no liquidation changes another account's equity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter, perf_counter_ns, thread_time_ns
from typing import Any

import numpy as np

from engine.bench.memory import resident_bytes
from engine.bench.population import (
    Ints,
    Population,
    declare_market,
    draw_population,
    load_core,
    read_records,
)
from engine.bench.prices import CALM, STRESSED, Market
from engine.bench.scan import PlainScan, TightScan
from engine.bench.timing import Spread, time_all, time_each, timer_ns
from engine.freed import return_freed
from engine.messages import NONE, RECORD_WIDTH, EventKind

Progress = Callable[[str], None]
Rows = Sequence[tuple[int, int]]

#: Events are drained so often, inside the clock of the means.
_DRAIN_EVERY = 2000
_KEPT = (EventKind.BALANCE, EventKind.POSITION)


@dataclass(frozen=True)
class MarkPlan:
    """How large a run is.

    Attributes
    ----------
    accounts, symbols, seed : int
    warmup : int
        Ticks of each symbol before anything is measured, one minute of the market each.
    rounds, ticks : int
        Rounds of each stream, and ticks of a round, once with one clock around them all
        and once with a clock around each.
    scans : int
        Ticks of a round that the scans go through.
    crash_symbols, crash_ticks : int
        How many of the most-held symbols crash, in how many ticks.
    """

    accounts: int
    symbols: int = 200
    seed: int = 1
    warmup: int = 1440
    rounds: int = 7
    ticks: int = 10_000
    scans: int = 200
    crash_symbols: int = 20
    crash_ticks: int = 2000


SMOKE = MarkPlan(
    2000, symbols=24, warmup=30, rounds=2, ticks=480, scans=24, crash_symbols=5, crash_ticks=100)
FULL_ACCOUNTS = (10_000, 100_000, 1_000_000)


@dataclass
class Stream:
    """Figures of one kind of tick; times in ns a tick, one entry a round.

    Attributes
    ----------
    name : str
    tick_count, evaluation_count, breach_count : int
        Ticks seen, pools evaluated and liquidations begun meanwhile.
    holders : float
        Mean number of holders of the ticked symbols.
    engine, plain, tight_float, tight_int : list of float
    each : list of array
        Single timings.
    """

    name: str
    tick_count: int = 0
    evaluation_count: int = 0
    breach_count: int = 0
    holders: float = 0.0
    engine: list[float] = field(default_factory=list)
    plain: list[float] = field(default_factory=list)
    tight_float: list[float] = field(default_factory=list)
    tight_int: list[float] = field(default_factory=list)
    each: list[Ints] = field(default_factory=list)

    @property
    def tight(self) -> list[float]:
        """The faster of the two tight scans in each round."""
        return [min(pair) for pair in zip(self.tight_float, self.tight_int, strict=True)]

    def spread(self) -> Spread:
        return Spread.of(np.concatenate(self.each))

    def ratios(self, scan: Sequence[float]) -> list[float]:
        """Scan against engine, round by round."""
        return [theirs / ours for theirs, ours in zip(scan, self.engine, strict=True)]


@dataclass
class Crash:
    """Figures of the crash; times in ns.

    Attributes
    ----------
    first_breaches : dict
        Account index → tick of its first breach, by the engine's events.
    scan_breaches : dict
        The same by the exact scan.
    cpu : float
        Mean of a tick, CPU time of the thread, with draining and two clocks.
    """

    tick_count: int
    evaluation_count: int
    liquidation_count: int
    event_count: int
    holders: float
    each: Ints
    scan_each: Ints
    first_breaches: dict[int, int]
    scan_breaches: dict[int, int]
    cpu: float = 0.0

    @property
    def agrees(self) -> bool:
        return self.first_breaches == self.scan_breaches


@dataclass
class MarkResult:
    """Everything one run measured."""

    plan: MarkPlan
    population: str
    position_count: int
    most_held: int
    load_s: float
    warmup_evaluations: int
    warmup_breaches: int
    calm: list[Stream]
    stressed: list[Stream]
    batch: list[float]
    recompute: list[float]
    call_floor: float
    clock: float
    crash: Crash
    state_hash: str


class MarkDesk:
    """A loaded core with its market, and what its events say about the population."""

    def __init__(self, plan: MarkPlan) -> None:
        from engine.core import ExchangeCore

        self.plan = plan
        self.population: Population = draw_population(plan.accounts, plan.symbols, plan.seed)
        self.core: Any = ExchangeCore()
        self.market = Market(self.population.symbols, plan.seed)
        self.event_count = 0
        self._kept: list[Ints] = []
        self._started: list[Ints] = []
        return_freed()
        before, start = resident_bytes(), perf_counter()
        load_core(self.core, self.population)
        #: What loading took, and by how much resident memory grew.
        self.load_s = perf_counter() - start
        self.load_bytes = resident_bytes() - before

    def drain(self) -> int:
        """Take the events off the core, keep what changes the population; return ns it took."""
        start = thread_time_ns()
        data = self.core.drain_bytes()
        took = thread_time_ns() - start
        records = read_records(data)
        self.event_count += len(records)
        kinds = records[:, 0]
        self._kept.append(records[np.isin(kinds, _KEPT)].copy())
        self._started.append(records[kinds == EventKind.LIQUIDATION_STARTED].copy())
        return took

    def take_started(self) -> Ints:
        """Records of the liquidations begun since the last call."""
        started = np.concatenate([np.empty((0, RECORD_WIDTH), np.int64), *self._started])
        self._started.clear()
        return started

    def present(self) -> Population:
        """The population as it is now, from the events; it replaces the one before."""
        if self._kept:
            self.population = self.population.after(np.concatenate(self._kept))
            self._kept.clear()
        return self.population

    def apply(self, rows: Rows) -> None:
        """Send ticks, unmeasured."""
        mark = self.core.mark
        for number, (symbol, price) in enumerate(rows, 1):
            mark(symbol, price)
            if number % _DRAIN_EVERY == 0:
                self.drain()
        self.drain()

    def measure(self, rows: Rows) -> float:
        """Mean ns a tick, one clock around all of them, draining included."""
        total = 0
        for start in range(0, len(rows), _DRAIN_EVERY):
            total += time_all(self.core.mark, rows[start : start + _DRAIN_EVERY])
            total += self.drain()
        return total / len(rows)

    def measure_each(self, rows: Rows) -> Ints:
        """ns of every tick, the clock included; draining is not."""
        parts = []
        for start in range(0, len(rows), _DRAIN_EVERY):
            parts.append(time_each(self.core.mark, rows[start : start + _DRAIN_EVERY]))
            self.drain()
        return np.concatenate(parts)


def as_rows(symbols: Ints, marks: Ints) -> list[tuple[int, int]]:
    return list(zip(symbols.tolist(), marks.tolist(), strict=True))


def run_mark(plan: MarkPlan, progress: Progress = lambda note: None) -> MarkResult:
    """Measure mark ticks on one population.

    Parameters
    ----------
    plan : MarkPlan
    progress : callable
        Told what comes next.

    Returns
    -------
    MarkResult
    """
    progress(f"loading {plan.accounts:,} accounts")
    start = perf_counter()
    desk = MarkDesk(plan)
    load_s = perf_counter() - start
    drawn, position_count = desk.population.fingerprint(), desk.population.position_count
    most_held = int(np.bincount(desk.population.symbol).max())
    progress("a day of the market")
    evaluated = desk.core.evaluation_count
    symbols = desk.market.pick_in_turn(plan.warmup * plan.symbols)
    desk.apply(as_rows(symbols, desk.market.walk(symbols, CALM * 60**0.5)))
    evaluated = desk.core.evaluation_count - evaluated
    breached = len(desk.take_started())
    scans = Scans(desk)
    calm = measure_streams(desk, scans, CALM, progress, "calm")
    batch, recompute = measure_batches(desk), measure_recompute(plan, scans)
    stressed = measure_streams(desk, scans, STRESSED, progress, "5x volatility")
    del scans
    progress("crash")
    crash = measure_crash(desk, progress)
    return MarkResult(
        plan, drawn, position_count, most_held, load_s, evaluated, breached, calm, stressed,
        batch, recompute, measure_call_floor(plan), timer_ns(), crash, desk.core.digest().hex(),
    )


class Scans:
    """The competitors, on the population as it is when they are made."""

    def __init__(self, desk: MarkDesk) -> None:
        population, marks = desk.present(), desk.market.marks()
        self.plain = PlainScan(population, marks)
        self.tight_float = TightScan(population, marks, np.float64)
        self.tight_int = TightScan(population, marks, np.int64)
        self.holder_counts = self.tight_int.holder_counts

    def measure(self, stream: Stream, before: Ints, rows: Rows) -> None:
        """Time each of them on the same ticks, from the same marks."""
        for scan, out in (
            (self.plain, stream.plain), (self.tight_float, stream.tight_float),
            (self.tight_int, stream.tight_int),
        ):
            for symbol in {symbol for symbol, _ in rows}:
                scan.tick(symbol, int(before[symbol]))
            out.append(time_all(scan.tick, rows) / len(rows))


def measure_streams(
    desk: MarkDesk, scans: Scans, sigma: float, progress: Progress, label: str
) -> list[Stream]:
    """What the rounds of one volatility cost, stream by stream."""
    streams: dict[str, Stream] = {}
    for name, pick in stream_rounds(desk, desk.plan.rounds, progress, label):
        measure_round(desk, scans, streams.setdefault(name, Stream(name)), pick, sigma)
    return list(streams.values())


def stream_rounds(
    desk: MarkDesk, rounds: int, progress: Progress, label: str
) -> Iterator[tuple[str, Callable[[int], Ints]]]:
    """Rounds on the most-held symbol, on symbols by popularity, and on all in turn."""
    picks: dict[str, Callable[[int], Ints]] = {
        "most held": lambda count: np.zeros(count, np.int64),
        "by popularity": desk.market.pick_popular,
        "all in turn": desk.market.pick_in_turn,
    }
    for number in range(rounds):
        progress(f"{label}, round {number + 1} of {rounds}")
        yield from picks.items()


def measure_round(
    desk: MarkDesk, scans: Scans, stream: Stream, pick: Callable[[int], Ints], sigma: float
) -> None:
    """One round of one stream: the engine twice, then the scans on the first ticks."""
    plan = desk.plan
    evaluated = desk.core.evaluation_count
    before = desk.market.marks()
    symbols = pick(plan.ticks)
    rows = as_rows(symbols, desk.market.walk(symbols, sigma))
    stream.engine.append(desk.measure(rows))
    others = pick(plan.ticks)
    stream.each.append(desk.measure_each(as_rows(others, desk.market.walk(others, sigma))))
    stream.tick_count += 2 * plan.ticks
    stream.evaluation_count += desk.core.evaluation_count - evaluated
    stream.breach_count += len(desk.take_started())
    part = rows[: plan.scans]
    scans.measure(stream, before, part)
    held = float(scans.holder_counts[[symbol for symbol, _ in part]].mean())
    stream.holders += held / plan.rounds


def measure_batches(desk: MarkDesk) -> list[float]:
    """ns a mark where all symbols come as one `marks` command, calm; one entry a round."""
    plan = desk.plan
    out = []
    for _ in range(plan.rounds):
        count = plan.ticks // plan.symbols
        symbols = desk.market.pick_in_turn(count * plan.symbols)
        marks = desk.market.walk(symbols, CALM).tolist()
        width = plan.symbols
        batches = [
            [(s, marks[start + s], NONE, NONE) for s in range(width)]
            for start in range(0, count * width, width)
        ]
        took = 0
        for start in range(0, count, 10):
            start_ns = thread_time_ns()
            for batch in batches[start : start + 10]:
                desk.core.marks(batch)
            took += thread_time_ns() - start_ns + desk.drain()
        out.append(took / (count * width))
    return out


def measure_recompute(plan: MarkPlan, scans: Scans) -> list[float]:
    """ns of a scan of all accounts from nothing, the faster dtype; one entry a round."""
    out = []
    for _ in range(plan.rounds):
        took = []
        for scan in (scans.tight_float, scans.tight_int):
            start = thread_time_ns()
            scan.recompute()
            took.append(thread_time_ns() - start)
        out.append(float(min(took)))
    return out


def measure_call_floor(plan: MarkPlan) -> float:
    """ns of a mark that nobody holds anything of: the call, its checks and its event."""
    from engine.core import ExchangeCore

    core = ExchangeCore()
    symbols = draw_population(1, plan.symbols, plan.seed).symbols
    declare_market(core, symbols)
    market = Market(symbols, plan.seed)
    best = float("inf")
    for _ in range(5):
        picked = market.pick_popular(plan.ticks)
        rows = as_rows(picked, market.walk(picked, CALM))
        took = 0
        for start in range(0, len(rows), _DRAIN_EVERY):
            took += time_all(core.mark, rows[start : start + _DRAIN_EVERY])
            start_ns = thread_time_ns()
            core.drain_bytes()
            took += thread_time_ns() - start_ns
        best = min(best, took / len(rows))
    return best


def measure_crash(desk: MarkDesk, progress: Progress) -> Crash:
    """The most-held symbols lose 10 %, at five times the calm volatility, ten ticks a second."""
    population, marks = desk.present(), desk.market.marks()
    rows = crash_rows(desk)
    crash = engine_crash(desk, rows)
    progress("crash, by exact scan")
    scan = TightScan(population, marks)
    crash.scan_each, crash.scan_breaches = scan_crash(scan, rows)
    crash.holders = float(scan.holder_counts[: desk.plan.crash_symbols].mean())
    return crash


def crash_rows(desk: MarkDesk) -> Rows:
    """The ticks of the crash, drawn."""
    plan = desk.plan
    count = plan.crash_symbols * plan.crash_ticks
    symbols = np.arange(count, dtype=np.int64) % plan.crash_symbols
    drift = np.log(0.9) / plan.crash_ticks
    return as_rows(symbols, desk.market.walk(symbols, STRESSED * 0.1**0.5, drift))


def engine_crash(desk: MarkDesk, rows: Rows) -> Crash:
    """The engine's half of the crash; what a scan found is to be filled in."""
    evaluated, events, first_seq = desk.core.evaluation_count, desk.event_count, desk.core.seq
    start = thread_time_ns()
    each = desk.measure_each(rows)
    cpu = (thread_time_ns() - start) / max(1, len(rows))
    started = desk.take_started()
    first: dict[int, int] = {}
    for account, seq in zip(started[:, 4].tolist(), started[:, 1].tolist(), strict=True):
        first.setdefault(account - 1, seq - first_seq - 1)
    return Crash(
        len(rows), desk.core.evaluation_count - evaluated, len(started),
        desk.event_count - events, 0.0, each, np.empty(0, np.int64), first, {}, cpu)


def scan_crash(scan: Any, rows: Rows) -> tuple[Ints, dict[int, int]]:
    """Time a scan on every tick; return ns of each, and the tick of each first breach."""
    scanned: dict[int, int] = {}
    each = np.empty(len(rows), np.int64)
    for number, (symbol, mark) in enumerate(rows):
        start = perf_counter_ns()
        breached = scan.tick(symbol, mark)
        each[number] = perf_counter_ns() - start
        scanned.update(dict.fromkeys(breached.tolist(), number))
    return each, scanned
