"""Mark prices for the benchmarks: random walks of every symbol, cut into runs of ticks.

A market of 60 % volatility a year moves 1.07 basis points (one standard deviation) a
second, which is the calm tick here: one tick a second and symbol.
"""

from __future__ import annotations

import math

import numpy as np

from engine.bench.population import Ints, Symbols

SECONDS_A_YEAR = 365 * 86_400
#: Standard deviation of the logarithm over one second, at 60 % a year.
CALM = 0.60 / math.sqrt(SECONDS_A_YEAR)
STRESSED = 5 * CALM


class Market:
    """Current prices, and their continuation.

    Parameters
    ----------
    symbols : Symbols
    seed : int
    """

    def __init__(self, symbols: Symbols, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._levels = np.log(symbols.marks.astype(float))
        self._weights = symbols.weights

    def pick_popular(self, count: int) -> Ints:
        """Symbols drawn by popularity."""
        return self._rng.choice(len(self._weights), count, p=self._weights)

    def pick_in_turn(self, count: int) -> Ints:
        """Every symbol in turn."""
        return np.arange(count, dtype=np.int64) % len(self._weights)

    def walk(self, symbols: Ints, sigma: float, drift: float = 0.0) -> Ints:
        """Return the next mark of each named symbol, each moving on from the one before.

        Parameters
        ----------
        symbols : array of int64
            In the order of the ticks; a symbol may occur many times.
        sigma, drift : float
            Of the logarithm, per tick.
        """
        steps = drift + sigma * self._rng.standard_normal(len(symbols))
        order = np.argsort(symbols, kind="stable")
        grouped = symbols[order]
        sums = np.cumsum(steps[order])
        heads = np.flatnonzero(np.diff(grouped, prepend=-1))
        lengths = np.diff(heads, append=len(grouped))
        before = np.repeat(sums[heads] - steps[order][heads], lengths)
        levels = self._levels[grouped] + sums - before
        tails = heads + lengths - 1
        self._levels[grouped[tails]] = levels[tails]
        marks = np.empty(len(symbols), np.int64)
        marks[order] = np.maximum(1, np.rint(np.exp(levels)))
        return marks

    def marks(self) -> Ints:
        """The last mark of every symbol."""
        marks: Ints = np.maximum(1, np.rint(np.exp(self._levels)).astype(np.int64))
        return marks
