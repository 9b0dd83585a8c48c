"""Many liquidations set off by one tick, worked off whole: steps a second, by where they end.

Half of the accounts are long in one symbol and half short; every second long has a position in
another symbol, too, and its wallet carries that. A tick takes so many of the longs below their
maintenance margin, each with some equity left, and the command of that tick closes them tier by
tier: through bids of makers, by the fund, against the shorts, or all of these. Each way starts
from the same accounts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import thread_time_ns
from typing import Any

import numpy as np

from engine.batches import (
    COMMAND_DTYPE,
    Packed,
    account_commands,
    as_rows,
    deposit_commands,
    fill_commands,
    leverage_commands,
)
from engine.bench.population import Ints, read_records
from engine.bench.timing import no_collection
from engine.errors import RunError
from engine.messages import (
    MONEY_MAX,
    NONE,
    RATE_SCALE,
    EventKind,
    OrderType,
    Side,
    StpMode,
    TierRule,
    TimeInForce,
)

Progress = Callable[[str], None]

#: Where the lots of the victims go.
BOOK, FUND, HOLDERS, MIXED = "book", "fund", "deleveraged", "mixed"
WAYS = (BOOK, FUND, HOLDERS, MIXED)

_MARK, _AFTER = 10_000, 9_500
_LOT_MEDIAN, _LOT_SIGMA, _LOT_MAX = 300.0, 1.5, 50_000
#: Notional where a tier ends, and maintenance margin rates in basis points.
_CAPS = (2_000_000, 10_000_000, 50_000_000, 200_000_000)
_RATES = (100, 150, 250, 400, 600)
_MAKERS, _BIDS = 50, 20
_RICH = 10**14
_CHUNK = 50_000


@dataclass(frozen=True)
class LiquidationPlan:
    """How large a run is.

    Attributes
    ----------
    accounts, symbols, seed : int
    breaches : tuple of int
        How many are liquidated; each is a run of its own.
    ranked : int
        Opposing holders in the ranking whose making has a time of its own.
    repeats : int
        Runs of each kind; the median counts.
    """

    accounts: int = 1_000_000
    breaches: tuple[int, ...] = (1000, 10_000, 100_000)
    symbols: int = 200
    seed: int = 1
    ranked: int = 100_000
    repeats: int = 3


SMOKE = LiquidationPlan(400, breaches=(20, 60), symbols=5, ranked=200, repeats=1)


@dataclass
class Cascade:
    """One tick and all that it set off.

    Attributes
    ----------
    cpu : int
        ns of CPU time of the command.
    victims, steps, trades, takeovers, deleveraged : int
        By the events.
    """

    way: str
    breach: int
    cpu: int
    victims: int
    steps: int
    trades: int
    takeovers: int
    deleveraged: int
    state_hash: str

    @property
    def rate(self) -> float:
        """Liquidation steps a second."""
        return self.steps * 1e9 / max(1, self.cpu)


@dataclass
class LiquidationResult:
    """Everything one run measured; the ranking's times in ns."""

    plan: LiquidationPlan
    cascades: list[Cascade]
    rankings: list[int]
    disagreements: list[str]


def run_liquidation(
    plan: LiquidationPlan, progress: Progress = lambda note: None
) -> LiquidationResult:
    """Measure liquidations by the thousand.

    Parameters
    ----------
    plan : LiquidationPlan
    progress : callable
        Told what comes next.

    Returns
    -------
    LiquidationResult
    """
    cascades, disagreements = [], []
    for breach in plan.breaches:
        for way in WAYS:
            progress(f"{breach:,} of {plan.accounts:,} accounts, {way}")
            runs = [measure_cascade(plan, breach, way) for _ in range(plan.repeats)]
            runs.sort(key=lambda run: run.cpu)
            cascades.append(runs[len(runs) // 2])
            if len({run.state_hash for run in runs}) > 1:
                disagreements.append(f"{breach:,} {way}: runs end in different states")
            if runs[0].victims != breach:
                disagreements.append(f"{breach:,} {way}: {runs[0].victims:,} were liquidated")
    progress(f"ranking {plan.ranked:,} holders")
    rankings = [measure_ranking(plan) for _ in range(plan.repeats)]
    return LiquidationResult(plan, cascades, rankings, disagreements)


def measure_cascade(plan: LiquidationPlan, breach: int, way: str) -> Cascade:
    """Load a fresh exchange and time the tick."""
    core, lots = load_accounts(plan, plan.accounts, breach)
    falling = int(lots[:breach].sum())
    if way in (BOOK, MIXED):
        place_bids(core, falling if way == BOOK else falling // 3)
    if way in (FUND, MIXED):
        core.fund_insurance(0, 10**15 if way == FUND else falling // 3 * _AFTER // 30)
    cpu, records = timed_tick(core)
    count = np.bincount(records[:, 0], minlength=max(EventKind) + 1)
    return Cascade(
        way, breach, cpu, int(count[EventKind.LIQUIDATION_STARTED]),
        int(count[EventKind.LIQUIDATION_STEP]), int(count[EventKind.TRADE]),
        int(count[EventKind.LIQUIDATION_TAKEOVER]), int(count[EventKind.ADL]),
        core.digest().hex())


def timed_tick(core: Any) -> tuple[int, Ints]:
    """Time the tick that breaches: ns of CPU, and the records of what it led to."""
    core.discard_records()
    with no_collection():
        start = thread_time_ns()
        core.mark(0, _AFTER)
        cpu = thread_time_ns() - start
    return cpu, read_records(core.drain_bytes())


def measure_ranking(plan: LiquidationPlan) -> int:
    """ns of a tick that has one victim, and ranks so many shorts to close it against one."""
    core, _ = load_accounts(plan, 2 * plan.ranked, 1)
    cpu, records = timed_tick(core)
    if not (records[:, 0] == EventKind.ADL).any():
        raise RunError("nobody was closed against the victim")
    return cpu


def load_accounts(
    plan: LiquidationPlan, accounts: int, breach: int
) -> tuple[Any, Ints]:
    """Return a core with the accounts in it, and the lots of the longs, victims first."""
    from engine.core import ExchangeCore

    rng = np.random.default_rng(plan.seed)
    core: Any = ExchangeCore()
    core.add_asset()
    tiers = [
        (floor, cap, rate * RATE_SCALE // 10**4, RATE_SCALE * 10**4 // rate // 2)
        for floor, cap, rate in zip((0, *_CAPS), (*_CAPS, MONEY_MAX), _RATES, strict=True)
    ]
    for symbol in range(plan.symbols):
        core.add_instrument(
            0, 1, 1, 0, 0, RATE_SCALE // 1000, NONE, NONE, NONE, TierRule.MARGINAL, tiers)
        core.mark(symbol, _MARK)
    half = accounts // 2
    sizes = np.minimum(
        _LOT_MEDIAN * np.exp(_LOT_SIGMA * rng.standard_normal(half)), _LOT_MAX)
    lots = np.maximum(1, sizes).astype(np.int64)
    # Longs with the odd numbers, shorts with the even ones, of the same sizes.
    ids = np.arange(1, 2 * half + 1)
    held = np.repeat(lots, 2) * np.where(ids % 2, 1, -1)
    others = ids[::4]
    wallets = np.repeat(lots, 2) * _MARK
    # A victim has lost more than it had above its maintenance margin, and not all.
    loss = lots[:breach] * (_MARK - _AFTER)
    left = required(lots[:breach] * _AFTER) * rng.uniform(0.3, 0.9, breach)
    extra = np.zeros(2 * half, np.int64)
    extra[others - 1] = required(lots[(others - 1) // 2] // 10 * _MARK + _MARK)
    wallets[: 2 * breach : 2] = loss + left.astype(np.int64) + extra[: 2 * breach : 2]
    core.reserve(2 * half + _MAKERS, 2 * half + len(others) + _MAKERS)
    for start in range(0, len(ids), _CHUNK):
        part = slice(start, start + _CHUNK)
        _run(core, account_commands(ids[part]))
        _run(core, deposit_commands(ids[part], 0, wallets[part]))
        _run(core, fill_commands(ids[part], 0, held[part], held[part] * _MARK))
        mine = others[(others > start) & (others <= start + _CHUNK)]
        some = lots[(mine - 1) // 2] // 10 + 1
        _run(core, fill_commands(mine, 1 + mine // 4 % (plan.symbols - 1), some, some * _MARK))
    return core, lots


def required(notional: Ints) -> Ints:
    """Maintenance margin, rounded down."""
    out = np.zeros(len(notional), np.int64)
    for floor, cap, rate in zip((0, *_CAPS), (*_CAPS, MONEY_MAX), _RATES, strict=True):
        out += (np.clip(notional, floor, cap) - floor) * rate
    return out // 10**4


def place_bids(core: Any, lots: int) -> None:
    """Makers bid for so many lots, a tick or a few below the mark that is to come."""
    share = lots // (_MAKERS * _BIDS) + 1
    makers = np.arange(10**9, 10**9 + _MAKERS)
    _run(core, account_commands(makers))
    _run(core, deposit_commands(makers, 0, _RICH))
    _run(core, leverage_commands(makers, 0, RATE_SCALE))
    for number in range(_BIDS):
        for maker in makers.tolist():
            core.place_order(
                maker, 0, number + 1, Side.BUY, OrderType.LIMIT, share, _AFTER - 1 - number // 4,
                TimeInForce.GTC, False, False, StpMode.CANCEL_TAKER)
    _check(core)


def _run(core: Any, commands: Packed) -> None:
    core.run(as_rows(commands, COMMAND_DTYPE, "commands"))
    core.discard_records()
    _check(core)


def _check(core: Any) -> None:
    if core.rejected_seq:
        raise RunError(f"the market does not load: command {core.rejected_seq} was refused")
