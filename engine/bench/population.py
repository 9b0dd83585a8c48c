"""The accounts of the mark and risk benchmarks: seeded, drawn with numpy, loaded packed.

Cross accounts only. 60 % hold one position, 20 % two, 10 % three, 10 % five to twenty,
in symbols drawn by Zipf popularity (weight 1 / rank); 55 % of positions are long. A
position's notional is log-normal (median 3,000, sigma 1.3, at most 3,000,000), an
account's leverage log-normal (median 8, sigma 0.6, at most 75), and margin_ratio starts
at 0.7 or less. Every symbol has ten marginal tiers. Floats decide only what the
population is; from then on everything is int64.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.batches import (
    COMMAND_DTYPE,
    Packed,
    account_commands,
    as_rows,
    deposit_commands,
    fill_commands,
)
from engine.errors import RunError
from engine.messages import MONEY_MAX, NONE, RATE_SCALE, RECORD_WIDTH, EventKind, TierRule

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

#: Minor units in one unit of the settle asset.
MINOR = 10**6
#: Maintenance margin rates here are whole basis points, so that int64 is enough for the scans.
BASIS_POINT = RATE_SCALE // 10**4
TIER_COUNT = 10

RATES = (40, 50, 100, 200, 250, 500, 1000, 1250, 1500, 2500)  # basis points
LEVERAGES = (125, 100, 50, 25, 20, 10, 5, 4, 3, 2)
_CAPS = (5_000, 25_000, 100_000, 250_000, 500_000, 1_000_000, 2_000_000, 5_000_000, 10_000_000)

_ONE, _TWO, _THREE, _FEWEST, _MOST = 0.6, 0.8, 0.9, 5, 20
_LONG_SHARE = 0.55
_NOTIONAL_MEDIAN, _NOTIONAL_SIGMA, _NOTIONAL_MAX = 3_000.0, 1.3, 3_000_000.0
_LEVERAGE_MEDIAN, _LEVERAGE_SIGMA, _LEVERAGE_MAX = 8.0, 0.6, 75.0
_RATIO_MAX = 0.7
_MARK_MIN, _MARK_MAX = 200_000, 2_000_000
_CHUNK = 50_000
#: Commands loaded at a time: a server takes batches like these; their events lie in memory.
_BATCH = 10_000
#: The fund must never be what decides; it takes every position over.
_FUND = 10**18


@dataclass(frozen=True)
class Symbols:
    """What the symbols are; one lot is worth one minor unit at a mark of one mark tick.

    Attributes
    ----------
    weights : array of float
        Popularity; sums to 1. Symbol 0 is the most held.
    marks : array of int64, mark ticks
        Before the first tick.
    floors : array of int64, shape (symbols, tiers), minor units
        Where each tier begins.
    rates : array of int64, basis points
    deductions : array of int64, shape (symbols, tiers), minor units x basis points
    """

    weights: Floats
    marks: Ints
    floors: Ints
    rates: Ints
    deductions: Ints

    @property
    def count(self) -> int:
        return len(self.marks)


@dataclass
class Population:
    """Wallets, and positions sorted by account, then symbol; account `i` has id `i + 1`.

    Attributes
    ----------
    symbols : Symbols
    wallets : array of int64, minor units
    first : array of int64
        Where each account's positions begin; one more entry than accounts.
    holder, symbol : array of int64
        Account index and symbol of each position.
    quantity : array of int64, lots, long > 0
    entry : array of int64, minor units, signed like the quantity
    """

    symbols: Symbols
    wallets: Ints
    first: Ints
    holder: Ints
    symbol: Ints
    quantity: Ints
    entry: Ints

    @property
    def account_count(self) -> int:
        return len(self.wallets)

    @property
    def position_count(self) -> int:
        return len(self.symbol)

    def fingerprint(self) -> str:
        """Hash of what was drawn, 16 hex digits."""
        digest = hashlib.blake2b(digest_size=8)
        for column in (self.symbols.marks, self.wallets, self.first, self.symbol, self.quantity):
            digest.update(np.ascontiguousarray(column).astype("<i8").tobytes())
        return digest.hexdigest()

    def after(self, records: Ints) -> Population:
        """Return the population as a run left it, given the event records of that run.

        Parameters
        ----------
        records : array of int64, shape (n, RECORD_WIDTH)
            At least all POSITION and BALANCE records since this population was true, in
            order. They carry end-of-command values, so the last of each decides.
        """
        wallets, quantity, entry = self.wallets.copy(), self.quantity.copy(), self.entry.copy()
        rows = records[records[:, 0] == EventKind.BALANCE]
        wallets[rows[:, 4] - 1] = rows[:, 6]
        rows = records[records[:, 0] == EventKind.POSITION]
        keys = self.holder * self.symbols.count + self.symbol
        at = np.searchsorted(keys, (rows[:, 4] - 1) * self.symbols.count + rows[:, 5])
        quantity[at] = rows[:, 6]
        entry[at] = rows[:, 7]
        is_open = quantity != 0
        counts = np.bincount(self.holder[is_open], minlength=self.account_count)
        return Population(
            self.symbols, wallets, _starts(counts), self.holder[is_open],
            self.symbol[is_open], quantity[is_open], entry[is_open],
        )


def draw_symbols(count: int, rng: np.random.Generator) -> Symbols:
    """Draw marks and schedules for so many symbols."""
    ranks = np.arange(1, count + 1)
    weights = 1.0 / ranks
    marks = np.exp(rng.uniform(np.log(_MARK_MIN), np.log(_MARK_MAX), count)).astype(np.int64)
    # The most traded symbols have the widest tiers.
    scale = np.where(ranks <= 2, 10, np.where(ranks <= 10, 3, 1)).astype(np.int64)
    floors = np.zeros((count, TIER_COUNT), np.int64)
    floors[:, 1:] = scale[:, None] * np.array(_CAPS, np.int64) * MINOR
    rates = np.array(RATES, np.int64)
    deductions = np.zeros_like(floors)
    deductions[:, 1:] = np.cumsum(floors[:, 1:] * np.diff(rates), axis=1)
    return Symbols(weights / weights.sum(), marks, floors, rates, deductions)


def draw_population(account_count: int, symbol_count: int = 200, seed: int = 1) -> Population:
    """Draw a population.

    Parameters
    ----------
    account_count, symbol_count, seed : int

    Returns
    -------
    Population

    Complexity
        O(accounts + accounts with several positions x symbols).
    """
    rng = np.random.default_rng(seed)
    symbols = draw_symbols(symbol_count, rng)
    most = min(_MOST, symbol_count)
    shape = rng.random(account_count)
    counts = np.select(
        [shape < _ONE, shape < _TWO, shape < _THREE], [1, 2, 3],
        rng.integers(min(_FEWEST, most), most, account_count, endpoint=True),
    ).astype(np.int64)
    first = _starts(counts)
    holder = np.repeat(np.arange(account_count), counts)
    symbol = _draw_held(counts, first, symbols.weights, rng)
    n = len(symbol)
    notional = np.minimum(
        _NOTIONAL_MEDIAN * np.exp(_NOTIONAL_SIGMA * rng.standard_normal(n)), _NOTIONAL_MAX)
    lots = np.maximum(1, (notional * MINOR / symbols.marks[symbol]).astype(np.int64))
    quantity = np.where(rng.random(n) < _LONG_SHARE, lots, -lots)
    entry = quantity * symbols.marks[symbol]
    leverage = np.minimum(
        _LEVERAGE_MEDIAN * np.exp(_LEVERAGE_SIGMA * rng.standard_normal(account_count)),
        _LEVERAGE_MAX)
    worth = np.add.reduceat(np.abs(entry), first[:-1])
    required = np.add.reduceat(maintenance(symbols, symbol, np.abs(entry)), first[:-1])
    wallets = np.maximum(worth / leverage, required / _RATIO_MAX).astype(np.int64) + 1
    return Population(symbols, wallets, first, holder, symbol, quantity, entry)


def _starts(counts: npt.NDArray[Any]) -> Ints:
    return np.concatenate(([0], np.cumsum(counts))).astype(np.int64)


def _draw_held(counts: Ints, first: Ints, weights: Floats, rng: np.random.Generator) -> Ints:
    """Draw each account's symbols without repetition, weighted (the Gumbel top-k way)."""
    held = np.empty(first[-1], np.int64)
    single = np.flatnonzero(counts == 1)
    held[first[single]] = rng.choice(len(weights), len(single), p=weights)
    several = np.flatnonzero(counts > 1)
    most = int(counts.max(initial=1))
    for start in range(0, len(several), _CHUNK // 5):
        chunk = several[start : start + _CHUNK // 5]
        keys = rng.gumbel(size=(len(chunk), len(weights))) + np.log(weights)
        ranked = np.argsort(-keys, axis=1)[:, :most]
        mask = np.arange(ranked.shape[1]) < counts[chunk, None]
        # Unused places sort behind every symbol, so each row begins with its own, ascending.
        ranked = np.sort(np.where(mask, ranked, len(weights)), axis=1)
        place = first[chunk, None] + np.arange(ranked.shape[1])
        held[place[mask]] = ranked[mask]
    return held


def maintenance(symbols: Symbols, symbol: Ints, notional: Ints) -> Ints:
    """Maintenance margin of positions, in exact integers, rounded up like the engine's."""
    tier = np.zeros(len(symbol), np.int64)
    for k in range(1, TIER_COUNT):
        tier += notional > symbols.floors[symbol, k]
    scaled = notional * symbols.rates[tier] - symbols.deductions[symbol, tier]
    return -(-scaled // 10**4)


def load_core(core: Any, population: Population) -> None:
    """Declare the market in a fresh core and open every account and position in it."""
    declare_market(core, population.symbols)
    core.fund_insurance(0, _FUND)
    core.reserve(population.account_count, population.position_count)
    for start in range(0, population.account_count, _BATCH):
        amounts = population.wallets[start : start + _BATCH]
        accounts = np.arange(start + 1, start + 1 + len(amounts))
        _load(core, account_commands(accounts))
        _load(core, deposit_commands(accounts, 0, amounts))
    for start in range(0, population.position_count, _BATCH):
        part = slice(start, start + _BATCH)
        _load(core, fill_commands(
            population.holder[part] + 1, population.symbol[part], population.quantity[part],
            population.entry[part]))
    if core.rejected_seq:
        raise RunError(f"the population does not load: command {core.rejected_seq} was refused")


def _load(core: Any, commands: Packed) -> None:
    core.run(as_rows(commands, COMMAND_DTYPE, "commands"))
    core.discard_records()


def declare_market(core: Any, symbols: Symbols) -> None:
    """Declare the asset and the instruments, and set the first marks."""
    core.add_asset()
    for number in range(symbols.count):
        floors = symbols.floors[number].tolist()
        caps = [*floors[1:], MONEY_MAX]
        tiers = [
            (floor, cap, rate * BASIS_POINT, leverage * RATE_SCALE)
            for floor, cap, rate, leverage in zip(floors, caps, RATES, LEVERAGES, strict=True)
        ]
        core.add_instrument(0, 1, 1, 0, 0, 0, NONE, NONE, NONE, TierRule.MARGINAL, tiers)
        core.mark(number, int(symbols.marks[number]))
    core.drain_bytes()


def read_records(data: bytes) -> Ints:
    """View drained bytes as rows."""
    return np.frombuffer(data, np.int64).reshape(-1, RECORD_WIDTH)
