"""Order streams for the book benchmark: seeded, made beforehand, as packed commands.

The canonical mix: 45 % limit orders near the touch with a heavy tail, 40 % cancels, 8 %
limit orders that cross, 4 % market orders, 3 % amends. A stream begins with a full book
(`prefill`), and is made against a plain book that follows along, so that prices are near
the touch of that moment. While the book is at its size a cancel names any resting order;
below it, one that is gone already, as of a client that does not know yet. So the book
keeps its size.

Commands are rows of eight int64, as `engine.core.OrderBook.run` takes them: op (0 place,
1 cancel, 2 amend), owner, order id, side, price, quantity, time in force, flags.

What is drawn comes from the raw bits of one generator, by integer arithmetic and through
tables of quantiles: a vectorised power or logarithm may differ in its last bit from one
processor to the next, and then so would the hash of the trades.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import numpy.typing as npt

from engine.bench.plain_book import PlainBook
from engine.bench.population import Ints
from engine.messages import Side, TimeInForce

Row = tuple[int, ...]
Words = npt.NDArray[np.uint64]

WIDTH = 8
PLACE, CANCEL, AMEND = 0, 1, 2
OWNERS = 1000
FAIR_PRICE = 1_000_000

_POST_ONLY = 8
_NO_ORDER = 2**40  # an id that no order has
_CHUNK = 2**15
_TABLE_BITS = 17
_GONE = 128
_SIZE_EVERY = 64
_ADD, _CANCEL, _CROSS, _MARKET, _AMEND = range(5)


@dataclass(frozen=True)
class Mix:
    """What a stream is made of, and how it lies in the book.

    Attributes
    ----------
    adds, cancels, crossing, market, amends : int, percent
    size : int
        Resting orders at the beginning, and that the stream makes for.
    reach : float
        Scale of an add's distance from the touch, ticks.
    tail : float
        Exponent of that distance (Pareto); smaller is heavier.
    reach_max : int, ticks
    appetite : int
        Market and crossing orders want an ordinary quantity times 1, 4, 9 … up to its square.
    drift : int
        Moves of the fair price by a tick, per thousand commands.
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
    drift: int = 50

    @property
    def percents(self) -> tuple[int, ...]:
        """Adds, cancels, crossing, market, amends."""
        return self.adds, self.cancels, self.crossing, self.market, self.amends


#: Streams by name.
MIXES = {
    "canonical": Mix(),
    # Few levels, long queues: a fair price that hardly moves, everything within five ticks of it.
    "flat": Mix(reach=2.0, tail=1.0, reach_max=4, drift=1),
    # A million resting orders; a cancel names any of them.
    "deep": Mix(size=1_000_000, reach=100.0, tail=1.0, reach_max=20_000),
    # Tens of thousands of orders over a fifth of the price, most levels alone.
    "wide": Mix(size=40_000, reach=2_000.0, tail=0.7, reach_max=200_000),
    # Hardly anything trades: orders come and go.
    "cancel": Mix(adds=48, cancels=48, crossing=1, market=1, amends=2),
    # Few market orders, most of them through many orders and levels.
    "sweep": Mix(adds=72, cancels=20, crossing=1, market=3, amends=4, appetite=6),
}


@dataclass
class Packed:
    """Orders that rest beforehand, and commands that follow.

    Attributes
    ----------
    prefill, commands : array of int64, shape (n, 8)
    """

    prefill: Ints
    commands: Ints

    def head(self, count: int, resting: int | None = None) -> Packed:
        """The first commands, and as much of the prefill as wanted: above all what they name."""
        commands = self.commands[:count]
        if resting is None or resting >= len(self.prefill):
            return Packed(self.prefill, commands)
        named = np.isin(self.prefill[:, 2], commands[commands[:, 0] != PLACE, 2])
        chosen = np.flatnonzero(named)[:resting]
        others = np.flatnonzero(~named)[: resting - len(chosen)]
        return Packed(self.prefill[np.sort(np.concatenate((chosen, others)))], commands)


@dataclass
class Stream(Packed):
    """Packed commands and what a plain book made of them.

    Attributes
    ----------
    name : str
    trades : str
        Hash of all trades.
    trade_count, refused_count, resting_min, resting_max, levels_max : int
        Resting orders, and levels of both sides together, looked at every 64 commands.
    """

    name: str
    trades: str
    trade_count: int
    refused_count: int
    resting_min: int
    resting_max: int
    levels_max: int

    def light(self) -> Stream:
        """The same without its commands, to be kept beside a result."""
        return replace(self, prefill=self.prefill[:0], commands=self.commands[:0])


def make_stream(
    name: str, count: int, seed: int = 1, resting: int | None = None,
    progress: Callable[[str], None] = lambda note: None,
) -> Stream:
    """Make a stream; a shorter one of the same seed is its beginning.

    Parameters
    ----------
    name : str
        Of `MIXES`.
    count, seed : int
    resting : int, optional
        Bound on the size of the book.
    progress : callable
        Told how far it is.

    Returns
    -------
    Stream
    """
    mix = MIXES[name]
    if resting is not None:
        mix = replace(mix, size=min(mix.size, resting))
    draws = _Draws(mix, seed)
    prefill = draws.prefill()
    progress(f"{name}: filling a plain book with {mix.size:,} orders")
    maker = _Maker(mix, seed, prefill)
    book, rows, sizes, levels, refused = maker.book, [], [], 0, 0
    for number, draw in zip(range(count), draws.commands(), strict=False):
        row = maker.next(number, draw)
        rows.append(row)
        refused += book.apply(row) < 0
        if number % _SIZE_EVERY == 0:
            sizes.append(len(book.orders))
            levels = max(levels, book.level_count)
        if number % _CHUNK == 0:
            progress(f"{name}: {number:,} of {count:,} commands made")
    return Stream(
        prefill, np.array(rows, np.int64).reshape(-1, WIDTH), name,
        hash_trades(book.trade_bytes()), book.trade_count, refused,
        min(sizes, default=0), max(sizes, default=0), levels,
    )


def hash_trades(data: bytes) -> str:
    """Hash of packed trades, 32 hex digits."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


@cache
def _quantiles(exponent: float, scale: float, shift: float, largest: int) -> Ints:
    """Table of a Pareto distribution: the value at each of equally likely places."""
    places = 2**_TABLE_BITS
    values = (scale * (((i + 0.5) / places) ** (-1 / exponent) - shift) for i in range(places))
    return np.array([min(largest, int(value)) for value in values], np.int64)


def _below(words: Words, bound: int) -> Ints:
    """Upper halves of words as numbers below a bound."""
    return ((words >> np.uint64(32)) * np.uint64(bound) >> np.uint64(32)).astype(np.int64)


def _bits(words: Words, first: int, count: int) -> Ints:
    return (words >> np.uint64(first) & np.uint64(2**count - 1)).astype(np.int64)


class _Draws:
    """What does not depend on the book, drawn by the thousand."""

    def __init__(self, mix: Mix, seed: int) -> None:
        self._mix = mix
        self._source = np.random.PCG64(seed)
        self._steps = _quantiles(mix.tail, mix.reach, 1.0, mix.reach_max)
        self._quantities = _quantiles(1.5, 10.0, 0.0, 1000)
        self._kinds = np.repeat(np.arange(5), mix.percents)
        self._fair = FAIR_PRICE

    def _words(self, columns: int, count: int) -> list[Words]:
        return list(self._source.random_raw(columns * count).reshape(columns, count))

    def _sizes(self, words: Words) -> Ints:
        return self._quantities[_bits(words, 64 - _TABLE_BITS, _TABLE_BITS)]

    def _distances(self, words: Words) -> Ints:
        return self._steps[_bits(words, 64 - _TABLE_BITS, _TABLE_BITS)]

    def prefill(self) -> Ints:
        """Resting orders around the fair price; nothing of them trades."""
        count = self._mix.size
        who, how_many, where = self._words(3, count)
        rows = np.zeros((count, WIDTH), np.int64)
        rows[:, 1] = 1 + _below(who, OWNERS)
        rows[:, 2] = np.arange(1, count + 1)
        rows[:, 3] = side = _bits(who, 0, 1)
        step = 1 + self._distances(where)
        rows[:, 4] = np.maximum(1, FAIR_PRICE + np.where(side == Side.BUY, -step, step))
        rows[:, 5] = self._sizes(how_many)
        rows[:, 6] = TimeInForce.GTC
        return rows

    def commands(self) -> Iterator[Row]:
        """Per command: kind, fair price, owner, side, quantity, step, want, pick, bits."""
        mix = self._mix
        while True:
            what, drift, who, how_many, where, pick = self._words(6, _CHUNK)
            moves = (_below(drift, 1000) < mix.drift) * (2 * _bits(drift, 0, 1) - 1)
            fair = self._fair + np.cumsum(moves)
            self._fair = int(fair[-1])
            quantity = self._sizes(how_many)
            hunger = 1 + _bits(how_many, 0, 16) * mix.appetite // 2**16
            columns = (
                self._kinds[_below(what, 100)], fair, 1 + _below(who, OWNERS), _bits(who, 0, 1),
                quantity, self._distances(where), quantity * hunger**2,
                (pick >> np.uint64(11)) * 2.0**-53, _bits(where, 0, 24),
            )
            yield from zip(*(column.tolist() for column in columns), strict=True)


class _Maker:
    """Turns draws into commands, by a look at the book as it is."""

    def __init__(self, mix: Mix, seed: int, prefill: Ints) -> None:
        self.book = PlainBook()
        self._mix = mix
        self._random = random.Random(seed).random
        self._first_id = len(prefill) + 1
        self._placed: list[tuple[int, int]] = []  # resting, or gone and not yet noticed
        self._gone = [(1, _NO_ORDER)]
        self._gone_count = 1
        self._kinds = (self._add, self._cancel, self._cross, self._market, self._amend)
        for row in prefill.tolist():
            self.book.apply(row)
            self._placed.append((row[1], row[2]))

    def next(self, number: int, draw: Row) -> Row:
        return self._kinds[draw[0]](self._first_id + number, draw)

    def _pick_resting(self, pick: float) -> tuple[int, int] | None:
        """Any resting order, each as likely as the next."""
        placed, orders = self._placed, self.book.orders
        while placed:
            at = int(pick * len(placed))
            found = placed[at]
            if found in orders:
                return found
            placed[at] = placed[-1]
            placed.pop()
            if len(self._gone) < _GONE:
                self._gone.append(found)
            else:
                self._gone[self._gone_count % _GONE] = found
            self._gone_count += 1
            pick = self._random()
        return None

    def _resting_price(self, side: int, fair: int, step: int) -> int:
        """Behind the touch or the fair price, whichever is safer."""
        other = self.book.best(1 - side)
        if side == Side.BUY:
            return max(1, (fair if other is None else min(fair, other)) - 1 - step)
        return (fair if other is None else max(fair, other)) + 1 + step

    def _add(self, order_id: int, draw: Row) -> Row:
        _, fair, owner, side, quantity, step, _, _, bits = draw
        self._placed.append((owner, order_id))
        price = self._resting_price(side, fair, step)
        flags = _POST_ONLY if bits & 1023 < 102 else 0
        return PLACE, owner, order_id, side, price, quantity, TimeInForce.GTC, flags

    def _cross(self, order_id: int, draw: Row) -> Row:
        _, _, owner, side, _, _, want, _, bits = draw
        other = self.book.best(1 - side)
        if other is None:
            return self._add(order_id, draw)
        price = other + (1 if side == Side.BUY else -1) * (bits >> 10 & 3)
        kind = TimeInForce.IOC if bits & 1023 < 307 else TimeInForce.GTC
        if kind is TimeInForce.GTC:
            self._placed.append((owner, order_id))
        return PLACE, owner, order_id, side, max(1, price), want, kind, 0

    def _market(self, order_id: int, draw: Row) -> Row:
        _, _, owner, side, _, _, want, _, _ = draw
        return PLACE, owner, order_id, side, 0, want, TimeInForce.IOC, 0

    def _cancel(self, order_id: int, draw: Row) -> Row:
        found = self._pick_resting(draw[7])
        if found is None or len(self.book.orders) < self._mix.size:
            found = self._gone[int(draw[7] * len(self._gone))]
        return CANCEL, *found, 0, 0, 0, 0, 0

    def _amend(self, order_id: int, draw: Row) -> Row:
        """Half of them a little less at the same price, half to another price."""
        _, fair, _, _, quantity, step, _, pick, bits = draw
        found = self._pick_resting(pick)
        if found is None:
            return self._add(order_id, draw)
        order = self.book.orders[found]
        if bits & 1:
            return AMEND, *found, 0, order.price, max(1, order.leaves * 3 // 4), 0, 0
        price = self._resting_price(order.side, fair, step)
        return AMEND, *found, 0, price, quantity, 0, 0
