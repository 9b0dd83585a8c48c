"""Order streams for the book benchmark: seeded, made beforehand, as packed commands.

The canonical mix: 45 % limit orders near the touch with a heavy tail, 40 % cancels, 8 %
limit orders that cross, 4 % market orders, 3 % amends. The stream is made against a plain
book that follows along, so that prices are near the touch of that moment. While the book
is at its size a cancel names any resting order; below it, one that is gone already, as of
a client that does not know yet. So the book keeps its size.

Commands are rows of eight int64, as `engine.core.OrderBook.run` takes them: op (0 place,
1 cancel, 2 amend), owner, order id, side, price, quantity, time in force, flags.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass

import numpy as np

from engine.bench.plain_book import PlainBook
from engine.bench.population import Ints
from engine.messages import Side, TimeInForce

WIDTH = 8
PLACE, CANCEL, AMEND = 0, 1, 2
_POST_ONLY = 8
_OWNERS = 1000
FAIR_PRICE = 1_000_000


@dataclass(frozen=True)
class Mix:
    """What a stream is made of, in percent, and how it lies in the book.

    Attributes
    ----------
    adds, cancels, crossing, market, amends : int
    size : int
        Resting orders that the stream makes for.
    reach : float
        Scale of an add's distance from the touch, ticks.
    tail : float
        Exponent of that distance (Pareto); smaller is heavier.
    reach_max : int, ticks
    appetite : int
        Market and crossing orders want an ordinary quantity times 1, 4, 9 … up to its square.
    """

    adds: int = 45
    cancels: int = 40
    crossing: int = 8
    market: int = 4
    amends: int = 3
    size: int = 3000
    reach: float = 4.0
    tail: float = 1.2
    reach_max: int = 5_000
    appetite: int = 1


#: Streams by name.
MIXES = {
    "canonical": Mix(),
    # Tens of thousands of orders over a fifth of the price, most levels alone.
    "wide": Mix(size=40_000, reach=2_000.0, tail=0.7, reach_max=200_000),
    # Few market orders, most of them through many orders and levels.
    "sweep": Mix(adds=72, cancels=20, crossing=1, market=3, amends=4, appetite=6),
}


@dataclass
class Stream:
    """Packed commands and what a plain book made of them.

    Attributes
    ----------
    name : str
    commands : array of int64, shape (n, 8)
    trades : str
        Hash of all trades.
    trade_count, refused_count, resting_min, resting_max : int
        The last two once the book has filled: after the first tenth.
    """

    name: str
    commands: Ints
    trades: str
    trade_count: int
    refused_count: int
    resting_min: int
    resting_max: int


def make_stream(name: str, count: int, seed: int = 1) -> Stream:
    """Make a stream.

    Parameters
    ----------
    name : str
        Of `MIXES`.
    count, seed : int

    Returns
    -------
    Stream
    """
    maker = _Maker(MIXES[name], count, seed)
    book, rows = PlainBook(), []
    refused, sizes = 0, []
    for number in range(count):
        row = maker.next(book)
        rows.append(row)
        refused += book.apply(row) < 0
        if number * 10 >= count and number % 64 == 0:
            sizes.append(len(book.orders))
    return Stream(
        name, np.array(rows, np.int64).reshape(-1, WIDTH), hash_trades(book.trade_bytes()),
        book.trade_count, refused, min(sizes, default=0), max(sizes, default=0),
    )


def hash_trades(data: bytes) -> str:
    """Hash of packed trades, 32 hex digits."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


class _Maker:
    def __init__(self, mix: Mix, count: int, seed: int) -> None:
        self._mix = mix
        self._random = random.Random(seed)
        kinds = [mix.adds, mix.cancels, mix.crossing, mix.market, mix.amends]
        self._kinds = self._random.choices(
            [self._add, self._cancel, self._cross, self._market, self._amend], kinds, k=count)
        self._number = 0
        self._fair = FAIR_PRICE
        self._placed: list[tuple[int, int]] = []  # resting, or gone and not yet noticed
        self._gone: list[tuple[int, int]] = [(1, count + 1)]

    def next(self, book: PlainBook) -> tuple[int, ...]:
        kind = self._kinds[self._number]
        self._number += 1
        if self._random.random() < 0.05:
            self._fair += self._random.choice((-1, 1))
        return kind(book)

    def _new_order(self) -> tuple[int, int]:
        return self._random.randrange(1, _OWNERS + 1), self._number

    def _pick_resting(self, book: PlainBook) -> tuple[int, int] | None:
        """Any resting order, each as likely as the next."""
        while self._placed:
            at = self._random.randrange(len(self._placed))
            found = self._placed[at]
            if found in book.orders:
                return found
            self._placed[at] = self._placed[-1]
            self._placed.pop()
            self._gone[:-100] = []
            self._gone.append(found)
        return None

    def _quantity(self) -> int:
        return min(1000, int(10 * self._random.paretovariate(1.5)))

    def _resting_price(self, book: PlainBook, side: int) -> int:
        """Behind the touch or the fair price, whichever is safer, by a heavy-tailed step."""
        mix = self._mix
        step = min(mix.reach_max, int(mix.reach * (self._random.paretovariate(mix.tail) - 1)))
        other = book.best(1 - side)
        if side == Side.BUY:
            top = self._fair - 1 if other is None else min(self._fair, other) - 1
            return max(1, top - step)
        return (self._fair + 1 if other is None else max(self._fair, other) + 1) + step

    def _add(self, book: PlainBook) -> tuple[int, ...]:
        owner, order_id = self._new_order()
        side = self._random.randrange(2)
        flags = _POST_ONLY if self._random.random() < 0.1 else 0
        self._placed.append((owner, order_id))
        price = self._resting_price(book, side)
        return PLACE, owner, order_id, side, price, self._quantity(), TimeInForce.GTC, flags

    def _take(self) -> int:
        return self._quantity() * self._random.randrange(1, self._mix.appetite + 1) ** 2

    def _cross(self, book: PlainBook) -> tuple[int, ...]:
        owner, order_id = self._new_order()
        side = self._random.randrange(2)
        other = book.best(1 - side)
        if other is None:
            return self._add(book)
        price = other + (1 if side == Side.BUY else -1) * self._random.randrange(4)
        kind = TimeInForce.IOC if self._random.random() < 0.3 else TimeInForce.GTC
        if kind is TimeInForce.GTC:
            self._placed.append((owner, order_id))
        return PLACE, owner, order_id, side, max(1, price), self._take(), kind, 0

    def _market(self, book: PlainBook) -> tuple[int, ...]:
        owner, order_id = self._new_order()
        side = self._random.randrange(2)
        return PLACE, owner, order_id, side, 0, self._take(), TimeInForce.IOC, 0

    def _cancel(self, book: PlainBook) -> tuple[int, ...]:
        found = self._pick_resting(book)
        if found is None or len(book.orders) < self._mix.size:
            found = self._random.choice(self._gone)
        return CANCEL, *found, 0, 0, 0, 0, 0

    def _amend(self, book: PlainBook) -> tuple[int, ...]:
        """Half of them a little less at the same price, half to another price."""
        found = self._pick_resting(book)
        if found is None:
            return self._add(book)
        order = book.orders[found]
        if self._random.random() < 0.5:
            return AMEND, *found, 0, order.price, max(1, order.leaves * 3 // 4), 0, 0
        return AMEND, *found, 0, self._resting_price(book, order.side), self._quantity(), 0, 0
