"""What the trigger index competes with: looking at every holder of the ticked symbol.

Three of them, in numpy, one thread, all arrays allocated beforehand:

`PlainScan`
    As one would write it: profit and maintenance margin of every holder, the tier by
    `searchsorted`, compare. float64.
`TightScan`
    As good as we can make a scan. Within a tier, equity less maintenance margin is a line
    in the mark, so a tick is one multiply-add per holder, on holders in account order; the
    few positions whose tier changed are found by bisection and put right. float64, or
    int64 and then exact.
`TightScan.recompute`
    The same for all accounts at all marks, from nothing.

A breach is reported once; the account is out of the scan from then on.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.bench.population import Floats, Ints, Population, maintenance

_SCALE = 10**4  # basis points in 1
_GONE = 2**62


class TightScan:
    """Equity less maintenance margin of every account, kept up to date tick by tick.

    Parameters
    ----------
    population : Population
    marks : array of int64
        At which to begin.
    dtype : {np.int64, np.float64}
        With int64 `tick` names exactly the accounts that the contract's rule names.

    Notes
    -----
    Health is scaled by 10,000, so that basis points stay whole. The engine rounds each
    position's requirement up, the line does not, so with int64 accounts within one minor
    unit a position of the threshold are measured again, in full.
    """

    def __init__(self, population: Population, marks: Ints, dtype: Any = np.int64) -> None:
        self._population = population
        self._dtype = dtype
        self.marks = marks.copy()
        symbols = population.symbols
        size = np.abs(population.quantity)
        tier = np.zeros(len(size), np.int64)
        for k in range(1, symbols.floors.shape[1]):
            tier += size * marks[population.symbol] > symbols.floors[population.symbol, k]
        slope = population.quantity * _SCALE - size * symbols.rates[tier]
        level = symbols.deductions[population.symbol, tier] - population.entry * _SCALE
        order = np.argsort(population.symbol, kind="stable")  # by symbol, then account
        cuts = np.searchsorted(population.symbol[order], np.arange(symbols.count + 1))
        parts = [order[a:b] for a, b in pairwise(cuts)]
        self._index = [population.holder[part].astype(np.intp) for part in parts]
        self._slope = [slope[part].astype(dtype) for part in parts]
        self._level = [level[part].astype(dtype) for part in parts]
        self._by_size = [np.argsort(size[part], kind="stable") for part in parts]
        self._size = [np.sort(size[part]) for part in parts]
        self._floors = list(symbols.floors[:, 1:])
        self._steps = np.diff(symbols.rates)
        self._cuts = [self._cut(number, int(mark)) for number, mark in enumerate(marks)]
        most = max((len(part) for part in parts), default=0)
        self._work = np.empty(most, dtype)
        self._held = np.empty(most, dtype)
        self._mask = np.empty(most, np.bool_)
        self._health = np.empty(population.account_count, dtype)
        most_open = int(np.diff(population.first).max(initial=0))
        self._threshold = _SCALE * most_open if dtype is np.int64 else 0
        self.recompute()

    @property
    def holder_counts(self) -> Ints:
        return np.array([len(index) for index in self._index], np.int64)

    def recompute(self) -> None:
        """Health of every account at the current marks, from nothing. O(positions)."""
        np.multiply(self._population.wallets, _SCALE, out=self._health, casting="unsafe")
        for number, index in enumerate(self._index):
            n = len(index)
            work, held = self._work[:n], self._held[:n]
            np.multiply(self._slope[number], self.marks[number], out=work, casting="unsafe")
            np.add(work, self._level[number], out=work)
            np.take(self._health, index, out=held, mode="clip")
            np.add(held, work, out=held)
            self._health[index] = held

    def tick(self, number: int, mark: int) -> npt.NDArray[np.intp]:
        """Move one symbol's mark; return the accounts (indices) that breach. O(holders)."""
        index = self._index[number]
        n = len(index)
        work, held, mask = self._work[:n], self._held[:n], self._mask[:n]
        np.multiply(self._slope[number], mark - int(self.marks[number]), out=work)
        np.take(self._health, index, out=held, mode="clip")
        np.add(held, work, out=held)
        self._health[index] = held
        self.marks[number] = mark
        cut = self._cut(number, mark)
        if (cut != self._cuts[number]).any():
            self._change_tiers(number, mark, cut)
            np.take(self._health, index, out=held, mode="clip")
        np.less_equal(held, self._threshold, out=mask)
        if not mask.any():
            return index[:0]
        breached = index[mask]
        if self._threshold:
            breached = breached[self._is_due(breached)]
        self._health[breached] = _GONE
        return breached

    # How many holders, by size, are not above each tier's floor at a mark.
    def _cut(self, number: int, mark: int) -> npt.NDArray[np.intp]:
        found: npt.NDArray[np.intp] = np.searchsorted(
            self._size[number], self._floors[number] // mark, "right")
        return found

    # Lines of the positions that a floor passed; the health at the new mark with them.
    def _change_tiers(self, number: int, mark: int, cut: npt.NDArray[np.intp]) -> None:
        before, self._cuts[number] = self._cuts[number], cut
        for k in np.flatnonzero(cut != before).tolist():
            low, high = sorted((int(before[k]), int(cut[k])))
            sign = 1 if cut[k] < before[k] else -1  # up a tier, or down
            at = self._by_size[number][low:high]
            size, step = self._size[number][low:high], int(self._steps[k]) * sign
            slope, level = size * step, int(self._floors[number][k]) * step
            self._slope[number][at] -= slope.astype(self._dtype)
            self._level[number][at] += level
            change = level - slope * mark
            self._health[self._index[number][at]] += change.astype(self._dtype)

    # The contract's rule, for a few accounts: equity <= maintenance margin, rounded up.
    def _is_due(self, accounts: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
        population = self._population
        begin = population.first[accounts]
        counts = population.first[accounts + 1] - begin
        heads = np.cumsum(counts) - counts
        rows = np.repeat(begin - heads, counts) + np.arange(counts.sum())
        symbol = population.symbol[rows]
        worth = population.quantity[rows] * self.marks[symbol]
        required = np.add.reduceat(maintenance(population.symbols, symbol, np.abs(worth)), heads)
        profit = np.add.reduceat(worth - population.entry[rows], heads)
        return population.wallets[accounts] + profit <= required


class PlainScan:
    """Equity and maintenance margin of every account, brought up to date by full formulas.

    Parameters
    ----------
    population : Population
    marks : array of int64
        At which to begin.
    """

    def __init__(self, population: Population, marks: Ints) -> None:
        symbols = population.symbols
        self.marks = marks.astype(float)
        self._rates = symbols.rates / _SCALE
        self._deductions = symbols.deductions / _SCALE
        self._floors = symbols.floors[:, 1:].astype(float)
        order = np.argsort(population.symbol, kind="stable")
        cuts = np.searchsorted(population.symbol[order], np.arange(symbols.count + 1))
        parts = [order[a:b] for a, b in pairwise(cuts)]
        self._index = [population.holder[part].astype(np.intp) for part in parts]
        self._quantity = [population.quantity[part].astype(float) for part in parts]
        worth = population.quantity * marks[population.symbol]
        count = population.account_count
        self._equity = population.wallets + np.bincount(
            population.holder, worth - population.entry, count)
        self._margin: list[Floats] = []
        self._required = np.zeros(count)
        for number, index in enumerate(self._index):
            self._margin.append(self._requirement(number, self.marks[number]))
            self._required[index] += self._margin[number]

    def tick(self, number: int, mark: int) -> npt.NDArray[np.intp]:
        """Move one symbol's mark; return the accounts (indices) that breach. O(holders)."""
        index = self._index[number]
        equity = self._equity[index] + self._quantity[number] * (mark - self.marks[number])
        margin = self._requirement(number, mark)
        required = self._required[index] + (margin - self._margin[number])
        self._equity[index] = equity
        self._required[index] = required
        self._margin[number] = margin
        self.marks[number] = mark
        breached: npt.NDArray[np.intp] = index[equity <= required]
        self._equity[breached] = np.inf
        return breached

    def _requirement(self, number: int, mark: float) -> Floats:
        notional = np.abs(self._quantity[number]) * mark
        tier = np.searchsorted(self._floors[number], notional)
        required: Floats = notional * self._rates[tier] - self._deductions[number][tier]
        return required
