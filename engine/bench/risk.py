"""The risk core against the eager alternatives, in one run on one population.

Loading, memory, bulk reads, fills; ticks in a calm market and at five times the volatility;
single ticks that breach 1 % of all accounts at once; a crash of 10 % with every breach
carried out. The population and the market are those of the mark benchmark: cross accounts,
empty books, and a fund that takes over whatever is liquidated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from time import thread_time_ns
from typing import Any

import numpy as np

from engine.batches import COMMAND_DTYPE, as_rows, empty_commands, fill_commands
from engine.bench import mark_tick
from engine.bench.mark_tick import Crash, MarkDesk, MarkPlan, Rows, engine_crash, scan_crash
from engine.bench.population import Ints
from engine.bench.prices import CALM, STRESSED
from engine.bench.rivals import NumbaFull, NumbaHolders, NumpyFull, has_numba
from engine.bench.scan import TightScan
from engine.bench.timing import Spread, time_all
from engine.messages import Command, HaltMode

Progress = Callable[[str], None]

#: Accounts in the series of sizes; the largest only when asked for.
SIZES = (10_000, 100_000, 1_000_000)
LARGEST = 10_000_000

HOLDERS, FULL, NUMPY = "numba, holders", "numba, all accounts", "numpy, all accounts"
_CHUNK = 50_000


@dataclass(frozen=True)
class RiskPlan:
    """How large a run is.

    Attributes
    ----------
    accounts, symbols, seed, warmup, rounds, ticks, crash_symbols, crash_ticks : int
        As `engine.bench.mark_tick.MarkPlan`.
    rival_ticks : int
        Ticks of a round that the loop over holders goes through; recomputations take three.
    fills : int
        Fills that change a position.
    reads : int
        Times that each table is read.
    breaches : int
        Ticks that breach 1 % of the accounts.
    checks : int
        Ticks of the crash at which all accounts are recomputed.
    """

    accounts: int
    symbols: int = 200
    seed: int = 1
    warmup: int = 1440
    rounds: int = 5
    ticks: int = 10_000
    rival_ticks: int = 100
    fills: int = 100_000
    reads: int = 6
    breaches: int = 3
    checks: int = 10
    crash_symbols: int = 20
    crash_ticks: int = 2000

    def market(self) -> MarkPlan:
        return MarkPlan(
            self.accounts, self.symbols, self.seed, self.warmup, self.rounds, self.ticks,
            crash_symbols=self.crash_symbols, crash_ticks=self.crash_ticks)


SMOKE = RiskPlan(
    2000, symbols=24, warmup=30, rounds=2, ticks=480, rival_ticks=10, fills=500, reads=2,
    breaches=2, checks=3, crash_symbols=5, crash_ticks=100)


@dataclass
class Stream:
    """One kind of tick; ns a tick, one entry a round.

    Attributes
    ----------
    engine, packed : list of float
        One call a tick, and ticks in packed rows; events drained, liquidations included.
    rivals : dict
        Name → times.
    each : list of array
        Single timings of the engine.
    """

    name: str
    engine: list[float] = field(default_factory=list)
    packed: list[float] = field(default_factory=list)
    rivals: dict[str, list[float]] = field(default_factory=dict)
    each: list[Ints] = field(default_factory=list)
    holders: float = 0.0
    tick_count: int = 0
    evaluation_count: int = 0
    breach_count: int = 0

    def ratio(self, rival: str) -> float | None:
        """How many engine ticks a rival's costs, paired by round, the median."""
        theirs = self.rivals.get(rival)
        if not theirs:
            return None
        return median(one / own for one, own in zip(theirs, self.engine, strict=True))


@dataclass
class Breach:
    """One tick that breaches many; ns.

    Attributes
    ----------
    predicted, victims : int
        By the liquidation prices beforehand, and by the events.
    evaluated : int
        Pools that the tick looked at: victims, those that got a margin call, and those of
        several positions that turned out to be safe.
    queued, liquidated : int
        Time of the tick with liquidations halted, and of `resume`, which carries them out.
    """

    predicted: int
    victims: int
    evaluated: int
    queued: int
    liquidated: int
    agrees: bool


@dataclass
class RiskResult:
    """Everything one run measured; times in ns unless the name says otherwise."""

    plan: RiskPlan
    population: str
    position_count: int
    most_held: int
    load_s: float
    load_bytes: int
    accounts_read: list[float]
    positions_read: list[float]
    prices_read: list[float]
    fill: float
    fill_call: float
    calm: list[Stream]
    stressed: list[Stream]
    breaches: list[Breach]
    crash: Crash
    crash_rivals: dict[str, Ints]
    checked: int
    disagreements: list[str]
    state_hash: str

    @property
    def worst(self) -> Spread:
        """Of all single ticks of calm, stress and crash."""
        return Spread.of(np.concatenate(
            [self.crash.each, *(part for one in self.calm + self.stressed for part in one.each)]))


def run_risk(plan: RiskPlan, progress: Progress = lambda note: None) -> RiskResult:
    """Measure the risk core and its rivals on one population.

    Parameters
    ----------
    plan : RiskPlan
    progress : callable
        Told what comes next.

    Returns
    -------
    RiskResult
    """
    progress(f"loading {plan.accounts:,} accounts")
    desk = MarkDesk(plan.market())
    drawn, position_count = desk.population.fingerprint(), desk.population.position_count
    most_held = int(np.bincount(desk.population.symbol).max())
    progress("reading tables")
    core = desk.core
    accounts_read = measure_reads(core.accounts_array, plan.reads)
    positions_read = measure_reads(lambda: core.positions_array(with_prices=False), plan.reads)
    prices_read = measure_reads(core.positions_array, plan.reads)
    progress("fills")
    fill, fill_call = measure_fills(desk, plan)
    progress("a day of the market")
    symbols = desk.market.pick_in_turn(plan.warmup * plan.symbols)
    desk.apply(mark_tick.as_rows(symbols, desk.market.walk(symbols, CALM * 60**0.5)))
    desk.take_started()
    progress("making the rivals")
    rivals = make_rivals(desk)
    calm = measure_streams(desk, plan, rivals, CALM, progress, "calm")
    stressed = measure_streams(desk, plan, rivals, STRESSED, progress, "5x volatility")
    del rivals
    breaches = []
    for number in range(plan.breaches):
        progress(f"a breach of 1 %, {number + 1} of {plan.breaches}")
        breaches.append(measure_breach(desk, number % 2))
    progress("crash")
    crash, crash_rivals, checked, disagreements = measure_crash(desk, plan, progress)
    disagreements += [f"breach {one.victims} against {one.predicted}"
                      for one in breaches if not one.agrees]
    return RiskResult(
        plan, drawn, position_count, most_held, desk.load_s, desk.load_bytes,
        accounts_read, positions_read, prices_read, fill, fill_call, calm, stressed, breaches,
        crash, crash_rivals, checked, disagreements, core.digest().hex())


# --- tables and fills -------------------------------------------------------------------


def measure_reads(read: Callable[[], Any], count: int) -> list[float]:
    """ns of CPU of each reading; the first gets its memory from the system."""
    out = []
    for _ in range(count):
        start = thread_time_ns()
        read()
        out.append(float(thread_time_ns() - start))
    return out


def measure_fills(desk: MarkDesk, plan: RiskPlan) -> tuple[float, float]:
    """ns a fill of a random open position: packed, and one call each.

    A mark of another symbol after every ten fills has whatever was put off until a mark done
    as well; events are drained.
    """
    rng = np.random.default_rng(plan.seed)
    population, core = desk.population, desk.core
    at = rng.integers(0, population.position_count, plan.fills)
    marks = desk.market.marks()
    symbol, holder = population.symbol[at], population.holder[at] + 1
    # By one lot in a hundred, at least one, in the direction that it has: it stays open.
    lots = np.abs(population.quantity[at]) // 100 + 1
    lots = np.where(population.quantity[at] > 0, lots, -lots)
    fills = fill_commands(holder, symbol, lots, lots * marks[symbol])
    mixed = empty_commands(len(fills) + len(fills) // 10)
    is_mark = np.arange(len(mixed)) % 11 == 10
    mixed["cmd"], mixed["symbol"], mixed["price"] = (
        Command.MARK, plan.symbols - 1, marks[plan.symbols - 1])
    half = len(fills) // 2
    mixed[~is_mark] = fills[: (~is_mark).sum()]
    total = 0
    rows = as_rows(mixed[: half + half // 10], COMMAND_DTYPE, "commands")
    for start in range(0, len(rows), _CHUNK):
        begin = thread_time_ns()
        core.run(rows[start : start + _CHUNK])
        total += thread_time_ns() - begin + desk.drain()
    packed = total / max(1, int((~is_mark[: len(rows)]).sum()))
    calls = fills[half:]
    arguments = list(zip(*(calls[name].tolist() for name in (
        "account", "symbol", "side", "quantity", "price", "order_id")), strict=True))
    begin = thread_time_ns()
    for row in arguments:
        core.fill(*row)
    total = thread_time_ns() - begin + desk.drain()
    desk.take_started()
    return packed, total / max(1, len(arguments))


# --- ticks ------------------------------------------------------------------------------


def make_rivals(desk: MarkDesk) -> dict[str, Any]:
    """The alternatives, on the population as it is; without numba only numpy's."""
    population, marks = desk.present(), desk.market.marks()
    rivals: dict[str, Any] = {}
    if has_numba():
        rivals = {HOLDERS: NumbaHolders(population, marks), FULL: NumbaFull(population, marks)}
    return rivals | {NUMPY: NumpyFull(population, marks)}


def measure_streams(
    desk: MarkDesk, plan: RiskPlan, rivals: dict[str, Any], sigma: float, progress: Progress,
    label: str,
) -> list[Stream]:
    """What the rounds of one volatility cost, stream by stream."""
    streams: dict[str, Stream] = {}
    for name, pick in mark_tick.stream_rounds(desk, plan.rounds, progress, label):
        measure_round(desk, plan, rivals, streams.setdefault(name, Stream(name)), pick, sigma)
    return list(streams.values())


def measure_round(
    desk: MarkDesk, plan: RiskPlan, rivals: dict[str, Any], stream: Stream,
    pick: Callable[[int], Ints], sigma: float,
) -> None:
    """One round of one stream: the engine three times, then the rivals on its first ticks."""
    core, before = desk.core, desk.market.marks()
    evaluated = core.evaluation_count

    def ticks() -> Rows:
        symbols = pick(plan.ticks)
        return mark_tick.as_rows(symbols, desk.market.walk(symbols, sigma))

    rows = ticks()
    stream.engine.append(desk.measure(rows))
    stream.packed.append(measure_packed(desk, ticks()))
    stream.each.append(desk.measure_each(ticks()))
    stream.tick_count += 3 * plan.ticks
    stream.evaluation_count += core.evaluation_count - evaluated
    stream.breach_count += len(desk.take_started())
    for name, rival in rivals.items():
        part = rows[: plan.rival_ticks if name == HOLDERS else 3]
        for symbol in {symbol for symbol, _ in part}:
            rival.tick(symbol, int(before[symbol]))
        stream.rivals.setdefault(name, []).append(time_all(rival.tick, part) / len(part))
    counts = np.bincount(desk.population.symbol, minlength=plan.symbols)
    stream.holders += float(counts[[symbol for symbol, _ in rows]].mean()) / plan.rounds


def measure_packed(desk: MarkDesk, rows: Rows) -> float:
    """Mean ns a tick of marks in packed rows, draining included."""
    commands = empty_commands(len(rows))
    commands["cmd"] = Command.MARK
    commands["symbol"], commands["price"] = np.array(rows, np.int64).T
    table = as_rows(commands, COMMAND_DTYPE, "commands")
    total = 0
    for start in range(0, len(table), 2000):
        begin = thread_time_ns()
        desk.core.run(table[start : start + 2000])
        total += thread_time_ns() - begin + desk.drain()
    return total / len(rows)


# --- many at once -----------------------------------------------------------------------


def measure_breach(desk: MarkDesk, symbol: int) -> Breach:
    """One tick of a most-held symbol that breaches 1 % of all accounts; then liquidate them.

    The price comes from the liquidation prices of its longs, which are exact: with it the
    breaches are known beforehand. Liquidations are halted for the tick, so that finding and
    queueing the victims has a time of its own.
    """
    core = desk.core
    table = core.positions_array(symbol)
    # 0 where no price would do it.
    table = table[(table["quantity"] > 0) & (table["liquidation_price"] > 0)]
    prices = np.sort(table["liquidation_price"])
    mark = int(prices[-min(max(1, desk.plan.accounts // 100), len(prices))])
    due = table[table["liquidation_price"] >= mark]
    for number in range(desk.plan.symbols):
        core.halt(number, int(HaltMode.NO_LIQUIDATION))
    desk.drain()
    before, evaluated = desk.market.marks()[symbol], core.evaluation_count
    queued = time_all(core.mark, [(symbol, mark)])
    evaluated = core.evaluation_count - evaluated
    desk.drain()
    started = desk.take_started()
    begin = thread_time_ns()
    core.resume(symbol)
    liquidated = thread_time_ns() - begin
    for number in range(desk.plan.symbols):  # the few that have to close something else as well
        if number != symbol:
            core.resume(number)
    desk.drain()
    core.mark(symbol, int(before))
    desk.drain()
    desk.take_started()
    agrees = np.array_equal(np.sort(started[:, 4]), np.sort(due["account"]))
    return Breach(len(due), len(started), evaluated, queued, liquidated, agrees)


def measure_crash(
    desk: MarkDesk, plan: RiskPlan, progress: Progress
) -> tuple[Crash, dict[str, Ints], int, list[str]]:
    """The crash of the mark benchmark; every rival has to name the same accounts.

    The exact scan and the loop over holders go through every tick, and have to name each
    account at the same tick as the engine. All accounts are recomputed at some ticks and at
    the end: who is due then has to have been named by then, and both have to agree.
    """
    population, marks = desk.present(), desk.market.marks()
    rows = mark_tick.crash_rows(desk)
    crash = engine_crash(desk, rows)
    progress("crash, by exact scan")
    scan = TightScan(population, marks)
    crash.holders = float(scan.holder_counts[: plan.crash_symbols].mean())
    crash.scan_each, crash.scan_breaches = scan_crash(scan, rows)
    disagreements = [] if crash.agrees else ["crash: the exact scan names other accounts"]
    times: dict[str, Ints] = {}
    full: list[Any] = [NumpyFull(population, marks)]
    names = [NUMPY]
    if has_numba():
        progress("crash, by numba")
        times[HOLDERS], named = scan_crash(NumbaHolders(population, marks), rows)
        if named != crash.first_breaches:
            disagreements.append(f"crash: {HOLDERS} names other accounts")
        full.append(NumbaFull(population, marks))
        names.append(FULL)
    progress("crash, by recomputation")
    stops = set(np.linspace(0, len(rows) - 1, plan.checks).astype(int).tolist())
    taken: dict[str, list[int]] = {name: [] for name in names}
    for number, (symbol, mark) in enumerate(rows):
        for rival in full:
            rival.marks[symbol] = mark
        if number in stops:
            due = recompute(full, names, taken)
            fits = [np.array_equal(one, due[0]) for one in due]
            known = {a for a, at in crash.first_breaches.items() if at <= number}
            if not all(fits) or not known.issuperset(due[0].tolist()):
                disagreements.append(f"crash: recomputed accounts differ at tick {number}")
    times |= {name: np.array(each, np.int64) for name, each in taken.items()}
    return crash, times, len(stops), disagreements


def recompute(
    rivals: Sequence[Any], names: Sequence[str], taken: dict[str, list[int]]
) -> list[Ints]:
    """Who is due now by each of the recomputations, and what that took."""
    out = []
    for rival, name in zip(rivals, names, strict=True):
        begin = thread_time_ns()
        out.append(rival.due().copy())
        taken[name].append(thread_time_ns() - begin)
    return out
