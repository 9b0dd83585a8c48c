"""What the risk benchmark compares with: eager ways to know who breached, compiled by numba.

`NumbaHolders`
    One fused loop over the holders of the ticked symbol: a multiply-add on each one's health,
    and a comparison. Lines within tiers, tier changes by bisection and the exact check of who
    is within rounding of the threshold are `TightScan`'s. The strongest that we could make.
`NumbaFull`
    All accounts from nothing at every tick, exact integers.
`NumpyFull`
    The same in numpy.

All name an account once, and name exactly those that the contract's rule names.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.bench.population import Ints, Population, maintenance
from engine.bench.scan import TightScan

_SCALE = 10**4  # basis points in 1


def has_numba() -> bool:
    """Whether numba is installed."""
    return find_spec("numba") is not None


def _compiled(loop: Callable[..., int]) -> Callable[..., int]:
    compiled: Callable[..., int] = import_module("numba").njit(loop)
    return compiled


def _holders_loop(
    index: Any, slope: Any, health: Any, change: float, threshold: float, found: Any
) -> int:
    count = 0
    for i in range(len(index)):
        account = index[i]
        now = health[account] + slope[i] * change
        health[account] = now
        if now <= threshold:
            found[count] = account
            count += 1
    return count


def _full_loop(
    first: Any, symbol: Any, quantity: Any, entry: Any, wallets: Any, marks: Any, floors: Any,
    rates: Any, deductions: Any, found: Any,
) -> int:
    count = 0
    tiers = len(rates)
    for account in range(len(wallets)):
        health = wallets[account]
        for i in range(first[account], first[account + 1]):
            number = symbol[i]
            worth = quantity[i] * marks[number]
            notional = abs(worth)
            k = 0
            while k < tiers - 1 and notional > floors[number, k + 1]:
                k += 1
            required = notional * rates[k] - deductions[number, k]
            health += worth - entry[i] - (required + 9999) // 10000
        if health <= 0 and first[account] < first[account + 1]:
            found[count] = account
            count += 1
    return count


class NumbaHolders(TightScan):
    """Health of the ticked symbol's holders in one fused loop, in floating point."""

    def __init__(self, population: Population, marks: Ints) -> None:
        super().__init__(population, marks, np.float64)
        most_open = int(np.diff(population.first).max(initial=0))
        # Wide enough for the rounding of requirements and of floats; then asked exactly.
        self._threshold = _SCALE * (most_open + 1)
        self._narrow = [index.astype(np.int32) for index in self._index]
        self._found = np.empty(len(self._work), np.int32)
        self._loop = _compiled(_holders_loop)
        # Compiled before anything is timed.
        self._loop(self._narrow[0][:0], self._work[:0], self._health, 0.0, 0.0, self._found)

    def tick(self, number: int, mark: int) -> npt.NDArray[np.intp]:
        """Move one symbol's mark; return the accounts (indices) that breach. O(holders)."""
        before = int(self.marks[number])
        cut = self._cut(number, mark)
        if (cut != self._cuts[number]).any():
            self._change_tiers(number, before, cut)
        self.marks[number] = mark
        count = self._loop(
            self._narrow[number], self._slope[number], self._health, float(mark - before),
            float(self._threshold), self._found)
        near = self._found[:count].astype(np.intp)
        if count:
            near = near[self._is_due(near)]
            self._health[near] = np.inf
        return near


class NumbaFull:
    """Everybody from nothing at every tick, exact integers."""

    def __init__(self, population: Population, marks: Ints) -> None:
        symbols = population.symbols
        self.marks = marks.copy()
        self._arrays = (
            population.first, population.symbol.astype(np.int32), population.quantity,
            population.entry, population.wallets)
        self._terms = (symbols.floors, symbols.rates, symbols.deductions)
        self._found = np.empty(population.account_count, np.int64)
        self._named = np.zeros(population.account_count, np.bool_)
        self._loop = _compiled(_full_loop)
        self.due()

    def due(self) -> Ints:
        """Accounts (indices) that are due now, ascending. O(positions)."""
        count = self._loop(*self._arrays, self.marks, *self._terms, self._found)
        return self._found[:count]

    def tick(self, number: int, mark: int) -> Ints:
        """Move one symbol's mark; return the accounts that are due for the first time."""
        self.marks[number] = mark
        due = self.due()
        fresh = due[~self._named[due]]
        self._named[fresh] = True
        return fresh


class NumpyFull(NumbaFull):
    """The same in numpy."""

    def __init__(self, population: Population, marks: Ints) -> None:
        self._population = population
        self.marks = marks.copy()
        self._named = np.zeros(population.account_count, np.bool_)

    def due(self) -> Ints:
        """Accounts (indices) that are due now, ascending. O(positions)."""
        population = self._population
        worth = population.quantity * self.marks[population.symbol]
        health = worth - population.entry
        health -= maintenance(population.symbols, population.symbol, np.abs(worth))
        # A sum over no positions is not 0 for reduceat: accounts that are flat are left out.
        held = np.flatnonzero(np.diff(population.first))
        if not len(held):
            return held
        sums = np.add.reduceat(health, population.first[held])
        return held[population.wallets[held] + sums <= 0]
