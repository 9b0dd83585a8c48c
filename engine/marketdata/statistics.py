"""A day's trading in figures, over a window that moves with engine time."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

MINUTE_NS = 60 * 10**9
#: The window in buckets of a minute: the minute under way and those before it.
WINDOW_MINUTES = 24 * 60


class Figures(NamedTuple):
    """What traded in the window; prices in ticks, None where nothing did."""

    open: int | None
    high: int | None
    low: int | None
    last: int | None
    lots: int
    turnover: int  # minor units
    trades: int


@dataclass(slots=True)
class _Bucket:
    minute: int
    open: int
    high: int
    low: int
    last: int
    lots: int = 0
    turnover: int = 0
    trades: int = 0


class TradingDay:
    """Open, high, low, last, volume, turnover and count of the last 24 hours.

    Time is that of the trades and of whoever asks, which must not go back. Resolution is
    a minute: the window is the minute under way and the 1,439 before it, so it covers
    between 23 h 59 min and 24 h.

    Notes
    -----
    Memory: at most 1,440 buckets. Complexity: O(1) a trade, amortised; O(minutes with
    trades) to read. All sums are exact integers.
    """

    def __init__(self) -> None:
        self._buckets: deque[_Bucket] = deque()
        self._lots = self._turnover = self._trades = 0

    def add(self, ts: int, price: int, lots: int, turnover: int) -> None:
        """Count one trade.

        Parameters
        ----------
        ts : int, ns
        price : int, ticks
        lots : int
        turnover : int, minor units
        """
        minute = ts // MINUTE_NS
        self._forget(minute)
        if not self._buckets or self._buckets[-1].minute != minute:
            self._buckets.append(_Bucket(minute, price, price, price, price))
        bucket = self._buckets[-1]
        bucket.high = max(bucket.high, price)
        bucket.low = min(bucket.low, price)
        bucket.last = price
        bucket.lots += lots
        bucket.turnover += turnover
        bucket.trades += 1
        self._lots += lots
        self._turnover += turnover
        self._trades += 1

    def figures(self, ts: int) -> Figures:
        """Return the figures of the window that ends at `ts` (ns)."""
        self._forget(ts // MINUTE_NS)
        if not self._buckets:
            return Figures(None, None, None, None, 0, 0, 0)
        return Figures(
            self._buckets[0].open, max(bucket.high for bucket in self._buckets),
            min(bucket.low for bucket in self._buckets), self._buckets[-1].last,
            self._lots, self._turnover, self._trades)

    def _forget(self, minute: int) -> None:
        while self._buckets and self._buckets[0].minute <= minute - WINDOW_MINUTES:
            gone = self._buckets.popleft()
            self._lots -= gone.lots
            self._turnover -= gone.turnover
            self._trades -= gone.trades
