"""The standalone order book against a list that is sorted anew for every trade."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.bench.plain_book import PlainBook as SortedBook
from engine.bench.stream import MIXES, make_stream
from engine.core import OrderBook
from engine.messages import StpMode, TimeInForce

BUY, SELL = 0, 1
GTC, IOC, FOK = int(TimeInForce.GTC), int(TimeInForce.IOC), int(TimeInForce.FOK)


@dataclass
class Resting:
    owner: int
    order_id: int
    side: int
    price: int
    leaves: int
    turn: int


class PlainBook:
    """Price-time priority by sorting a list; nothing else."""

    def __init__(self) -> None:
        self.orders: list[Resting] = []
        self.trades: list[tuple[int, ...]] = []
        self.turn = 0

    def find(self, owner: int, order_id: int) -> Resting | None:
        for order in self.orders:
            if (order.owner, order.order_id) == (owner, order_id):
                return order
        return None

    def queue(self, side: int, limit: int) -> list[Resting]:
        """Orders that a taker of `side` would meet within its limit, in turn."""
        sign = 1 if side == BUY else -1
        met = [o for o in self.orders if o.side != side
               and (limit == 0 or sign * o.price <= sign * limit)]
        return sorted(met, key=lambda o: (sign * o.price, o.turn))

    def can_fill(self, owner: int, side: int, limit: int, lots: int, stp: int) -> bool:
        for order in self.queue(side, limit):
            if lots <= 0:
                break
            if order.owner == owner and stp != StpMode.NONE:
                if stp == StpMode.CANCEL_MAKER:
                    continue
                return False
            lots -= order.leaves
        return lots <= 0

    def sweep(self, taker: Resting, limit: int, stp: int) -> tuple[int, bool]:
        """Lots traded, and whether self-trade prevention cancelled the taker."""
        traded = 0
        while taker.leaves and (queue := self.queue(taker.side, limit)):
            maker = queue[0]
            lots = min(taker.leaves, maker.leaves)
            if maker.owner == taker.owner and stp != StpMode.NONE:
                if stp == StpMode.DECREMENT:
                    maker.leaves -= lots
                    taker.leaves -= lots
                elif stp != StpMode.CANCEL_TAKER:
                    maker.leaves = 0
                self.orders = [o for o in self.orders if o.leaves]
                if stp in (StpMode.CANCEL_TAKER, StpMode.CANCEL_BOTH) or not taker.leaves:
                    return traded, True
                continue
            maker.leaves -= lots
            taker.leaves -= lots
            traded += lots
            self.trades.append((maker.owner, maker.order_id, taker.owner, taker.order_id,
                                maker.price, lots))
            self.orders = [o for o in self.orders if o.leaves]
        return traded, False

    def place(self, owner: int, order_id: int, side: int, price: int, lots: int,
              tif: int, post_only: bool, stp: int) -> int:
        if (price == 0 and tif == GTC) or (post_only and (price == 0 or tif != GTC)):
            return -1
        if self.find(owner, order_id) or (post_only and self.queue(side, price)):
            return -1
        if tif == FOK and not self.can_fill(owner, side, price, lots, stp):
            return -1
        return self.enter(Resting(owner, order_id, side, price, lots, 0), price, tif, stp)

    def enter(self, order: Resting, limit: int, tif: int, stp: int) -> int:
        traded, is_cancelled = self.sweep(order, limit, stp)
        if order.leaves and tif == GTC and not is_cancelled:
            self.turn += 1
            order.turn = self.turn
            self.orders.append(order)
        return traded

    def amend(self, owner: int, order_id: int, price: int, lots: int, stp: int) -> int:
        order = self.find(owner, order_id)
        if order is None:
            return -1
        if price == order.price and lots <= order.leaves:
            order.leaves = lots
            return 0
        self.orders.remove(order)
        order.price, order.leaves = price, lots
        return self.enter(order, price, GTC, stp)

    def cancel(self, owner: int, order_id: int) -> bool:
        order = self.find(owner, order_id)
        if order is not None:
            self.orders.remove(order)
        return order is not None


def tape(book: OrderBook) -> list[tuple[int, ...]]:
    rows = np.frombuffer(book.trades(), dtype=np.int64).reshape(-1, 6)
    return [tuple(int(value) for value in row) for row in rows]


OWNERS, IDS = st.integers(1, 3), st.integers(1, 6)
PRICES, LOTS = st.one_of(st.integers(95, 105), st.sampled_from([1, 63, 64, 4096, 10**9])), \
    st.integers(1, 9)
PLACE = st.tuples(
    st.just("place"), OWNERS, IDS, st.integers(0, 1), st.one_of(PRICES, st.just(0)), LOTS,
    st.sampled_from([GTC, GTC, GTC, IOC, FOK]), st.booleans(), st.integers(0, 4))
CANCEL = st.tuples(st.just("cancel"), OWNERS, IDS)
AMEND = st.tuples(st.just("amend"), OWNERS, IDS, PRICES, LOTS)


@settings(max_examples=300)
@given(st.lists(st.one_of(PLACE, PLACE, PLACE, CANCEL, AMEND), max_size=40))
def test_against_the_plain_book(commands: list[tuple[Any, ...]]) -> None:
    book, plain = OrderBook(), PlainBook()
    modes: dict[tuple[int, int], int] = {}
    for name, *arguments in commands:
        if name == "amend":
            mode = modes.get((arguments[0], arguments[1]), 0)
            assert book.amend(*arguments) == plain.amend(*arguments, mode)
        else:
            answer = getattr(book, name)(*arguments)
            assert answer == getattr(plain, name)(*arguments)
            if name == "place" and answer >= 0:
                modes[arguments[0], arguments[1]] = arguments[7]
        trades, plain.trades = plain.trades, []
        assert tape(book) == trades
        for side in (BUY, SELL):
            resting = plain.queue(1 - side, 0)
            flat = [row for price in dict.fromkeys(o.price for o in resting)
                    for row in book.queue(side, price)]
            assert flat == [(o.owner, o.order_id, o.leaves) for o in resting]


def packed(commands: list[tuple[int, ...]]) -> np.ndarray:
    return np.array(commands, dtype=np.int64).reshape(-1, 8)


# Near the touch; around the ends of the price trie's nodes; as far as prices go.
FAR_PRICES = [1, 2, 63, 64, 65, 127, 128, 4095, 4096, 4097, 262_143, 262_144, 10**9, 2**31,
              2**36 - 1, 2**36, 2**60, 2**61, 2**62 - 1]


class Packed:
    """The list book, driven by packed commands; remembers each order's mode."""

    def __init__(self) -> None:
        self.book = PlainBook()
        self.modes: dict[tuple[int, int], int] = {}

    def apply(self, op: int, owner: int, order_id: int, side: int, price: int, lots: int,
              tif: int, flags: int) -> bool:
        if op == 1:
            return self.book.cancel(owner, order_id)
        mode = flags & 7 if op == 0 else self.modes.get((owner, order_id), 0)
        if op == 2:
            return self.book.amend(owner, order_id, price, lots, mode) >= 0
        done = self.book.place(owner, order_id, side, price, lots, tif, flags >= 8, mode) >= 0
        if done:
            self.modes[owner, order_id] = mode
        return done


def random_commands(seed: int, count: int) -> list[tuple[int, ...]]:
    """Every kind of command, few owners and ids so that they meet, prices near and far."""
    rng = random.Random(seed)

    def price() -> int:
        if rng.random() < 0.1:
            return rng.choice(FAR_PRICES)
        return rng.randint(95, 105) if rng.random() < 0.5 else rng.randint(1, 9_000)

    out: list[tuple[int, ...]] = []
    for _ in range(count):
        op = rng.choices((0, 1, 2), (60, 25, 15))[0]
        tif = rng.choices((GTC, IOC, FOK), (8, 1, 1))[0]
        limit = 0 if op == 0 and tif != GTC and rng.random() < 0.3 else price()
        out.append((
            op, rng.randint(1, 4), rng.randint(1, 60), rng.randint(0, 1), limit,
            rng.randint(1, 9) ** rng.randint(1, 3), tif,
            rng.randint(0, 4) + 8 * (tif == GTC and rng.random() < 0.15)))
    return out


@pytest.mark.parametrize("seed", range(6))
def test_long_runs_against_the_plain_book(seed: int) -> None:
    rng = random.Random(seed)
    book, plain = OrderBook(), Packed()
    commands = random_commands(seed, 4_000)
    while commands:
        count = rng.choice((1, 2, 31, 32, 33, 100))
        batch, commands = commands[:count], commands[count:]
        refused = sum(not plain.apply(*command) for command in batch)
        assert book.run(packed(batch)) == refused
        trades, plain.book.trades = plain.book.trades, []
        assert tape(book) == trades
        book.check()
        assert book.order_count == len(plain.book.orders)
        for side in (BUY, SELL):
            resting = plain.book.queue(1 - side, 0)
            prices = list(dict.fromkeys(order.price for order in resting))
            lots = [sum(o.leaves for o in resting if o.price == price) for price in prices]
            assert book.levels(side) == list(zip(prices, lots, strict=True))
            assert [book.lots_at(side, price) for price in prices] == lots
            assert [row for price in prices for row in book.queue(side, price)] == [
                (o.owner, o.order_id, o.leaves) for o in resting]


@pytest.mark.parametrize("name", MIXES)
def test_streams_against_the_sorted_book(name: str) -> None:
    stream = make_stream(name, 5_000, seed=3)
    book, plain = OrderBook(), SortedBook()
    for begin in range(0, len(stream.commands), 500):
        batch = stream.commands[begin:begin + 500]
        refused = sum(plain.apply(tuple(row)) < 0 for row in batch.tolist())
        assert book.run(batch) == refused
        book.check()
        for side in (BUY, SELL):
            assert book.levels(side) == plain.levels(side)
    assert book.trades() == plain.trade_bytes()


def test_matching_returns_the_trades_of_the_order() -> None:
    one, other = OrderBook(), OrderBook()
    for row in random_commands(11, 3_000):
        op, owner, order_id, side, price, lots, tif, flags = row
        one.trades()
        other.trades()
        assert one.run(packed([row])) in (0, 1)
        if op:
            other.run(packed([row]))
            continue
        trades = other.match(owner, order_id, side, price, lots, tif, flags >= 8, flags & 7)
        expected = [(r[0], r[1], r[4], r[5]) for r in tape(one)]
        assert (list(trades) if trades else []) == expected
        assert other.trades() == b""
    assert one.levels(BUY) == other.levels(BUY)
    assert OrderBook().match(1, 0, BUY, 100, 1) is None
    assert OrderBook().match(1, 1, BUY, 100, 1) == ()


def placed(ids: np.ndarray, prices: np.ndarray) -> np.ndarray:
    rows = np.zeros((len(ids), 8), np.int64)
    rows[:, 1], rows[:, 2], rows[:, 3], rows[:, 4], rows[:, 5] = 1, ids, SELL, prices, 1
    return rows


@pytest.mark.parametrize("stride", [1, 2, 1000, 2**12, 2**20, 2**32, 2**45])
def test_ids_of_any_pattern_are_found(stride: int) -> None:
    count = 6_000
    ids = (np.arange(count, dtype=np.int64) + 1) * stride
    book = OrderBook()
    assert book.run(placed(ids, 100 + ids % 7)) == 0
    book.check()
    assert book.run(placed(ids, 100 + ids % 7)) == count  # all there already
    for order_id in ids[::2].tolist():
        assert book.cancel(1, order_id)
    book.check()
    assert book.order_count == count // 2


def bucket_of(owner: int, order_id: int) -> int:
    """Where the table of ids files an order, as the core computes it, in the smallest table."""
    mixed = (owner * 0xC2B2AE3D27D4EB4F % 2**64 ^ order_id) * 0x9E3779B97F4A7C15 % 2**64
    mixed = (mixed ^ mixed >> 32) * 0x9E3779B97F4A7C15 % 2**64
    return (mixed >> 32) % 64


@pytest.mark.parametrize("width", [1, 2, 20])
def test_ids_made_to_collide_are_found(width: int) -> None:
    """Full buckets, orders far behind them, round the table's end; the place moves on."""
    rng = random.Random(width)
    pools: dict[int, list[int]] = {bucket: [] for bucket in range(64)}
    for order_id in range(1, 20_000):
        pools[bucket_of(1, order_id)].append(order_id)
    book, live = OrderBook(), set[int]()
    for step in range(12_000):
        order_id = rng.choice(pools[(62 + step // 100 + rng.randrange(width)) % 64])
        if rng.random() < 0.4 and live:
            order_id = rng.choice(sorted(live))
        if order_id in live or len(live) == 300:
            assert book.cancel(1, order_id) == (order_id in live)
            live.discard(order_id)
        else:
            assert book.place(1, order_id, BUY, 100 + order_id % 50, 1) == 0
            live.add(order_id)
        if step % 100 == 0:
            book.check()
            assert book.order_count == len(live)


@pytest.mark.parametrize("count", [60_000, 66_000, 100_000, 164_000])
def test_an_order_takes_less_than_100_bytes(count: int) -> None:
    ids = np.arange(count, dtype=np.int64) + 1
    book = OrderBook()
    assert book.run(placed(ids, 1_000_000 + ids % 5_000)) == 0
    assert book.order_count == count
    assert book.memory_bytes <= 96 * count


def test_a_warm_book_allocates_nothing() -> None:
    stream = make_stream("canonical", 12_000, seed=4).commands
    book = OrderBook()
    book.run(stream)
    held = book.memory_bytes
    for turn in range(1, 6):
        again = stream.copy()
        again[:, 2] += turn * 1_000_000  # the same orders under new ids
        for side in (BUY, SELL):
            for price, lots in book.levels(side):
                book.place(1, turn * 1_000_000 - 1, 1 - side, price, lots, IOC)
        assert book.order_count == 0
        book.run(again)
        book.trades()
    assert book.memory_bytes == held
    assert OrderBook(100_000).memory_bytes > 100_000 * 40


def test_a_book_that_empties_fills_again() -> None:
    book = OrderBook()
    for turn in range(3):
        for order_id, price in enumerate(FAR_PRICES, 1):
            assert book.place(1, order_id, turn % 2, price, order_id) == 0
        book.check()
        assert [row[0] for row in book.levels(turn % 2)] == sorted(
            FAR_PRICES, reverse=turn % 2 == 0)
        for order_id in range(1, len(FAR_PRICES) + 1):
            assert book.cancel(1, order_id)
            book.check()


def test_batches_of_any_size_give_the_same_trades() -> None:
    rng = np.random.default_rng(7)
    rows = packed([
        (int(rng.integers(0, 3)), int(rng.integers(1, 4)), int(rng.integers(1, 200)),
         int(rng.integers(0, 2)), int(rng.integers(95, 106)), int(rng.integers(1, 9)), 0,
         int(rng.integers(0, 5)))
        for _ in range(2_000)
    ])
    tapes = []
    for size in (1, 7, 1_000, len(rows)):
        book = OrderBook()
        for start in range(0, len(rows), size):
            book.run(rows[start:start + size])
        tapes.append(book.trades())
    assert tapes[0]
    assert len(set(tapes)) == 1


def test_a_sweep_of_thousands_of_orders_is_a_loop() -> None:
    book = OrderBook()
    for order_id in range(1, 5_001):
        book.place(1, order_id, SELL, 100, 1)
    assert book.place(2, 1, BUY, 100, 5_000) == 5_000
    assert [row[1] for row in tape(book)] == list(range(1, 5_001))
    assert book.best(SELL) is None


def test_prices_far_apart_cost_nothing() -> None:
    book = OrderBook()
    book.place(1, 1, SELL, 1, 1)
    book.place(1, 2, SELL, 2**61, 1)
    assert book.place(2, 1, BUY, 2**61, 2) == 2
    assert [row[4] for row in tape(book)] == [1, 2**61]


@pytest.mark.parametrize("arguments", [
    (1, 0, BUY, 100, 1), (1, 1, 2, 100, 1), (1, 1, -1, 100, 1), (1, 1, BUY, -1, 1),
    (1, 1, BUY, 100, 0), (1, 1, BUY, 2**62, 1), (1, 1, BUY, 100, 2**62), (-1, 1, BUY, 100, 1),
    (2**31, 1, BUY, 100, 1), (1, 1, BUY, 0, 1), (1, 1, BUY, 100, 1, 3),
    (1, 1, BUY, 100, 1, 0, 0, 5),
])
def test_senseless_orders_are_refused(arguments: tuple[int, ...]) -> None:
    book = OrderBook()
    assert book.place(*arguments) == -1
    assert book.levels(BUY) == book.levels(SELL) == []


BELOW, ABOVE = [-2**63, -2**63 + 1, -1], [2**62, 2**63 - 1]
SENSELESS = {  # by column
    0: [*BELOW, 3, 2**32, *ABOVE],
    1: [*BELOW, 2**31, 2**32, *ABOVE],
    2: [*BELOW, 0],
    3: [*BELOW, 2, 2**32, *ABOVE],
    4: [*BELOW, 0, *ABOVE],
    5: [*BELOW, 0, *ABOVE],
    6: [*BELOW, 3, 2**32, *ABOVE],
    7: [-1, 5, 7, 13],
}


@pytest.mark.parametrize(("column", "value"), [
    (column, value) for column, values in SENSELESS.items() for value in values])
def test_a_senseless_row_is_counted_and_the_rest_goes_on(column: int, value: int) -> None:
    row = [0, 2, 2, BUY, 100, 1, GTC, 0]
    row[column] = value
    book = OrderBook()
    rows = [(0, 1, 1, SELL, 100, 1, GTC, 0), tuple(row), (0, 3, 3, BUY, 50, 1, GTC, 0)]
    assert book.run(packed(rows)) == 1
    assert book.levels(SELL) == [(100, 1)]
    assert book.levels(BUY) == [(50, 1)]
    book.check()


def test_a_wrong_shape_is_refused_and_a_wrong_op_counted() -> None:
    book = OrderBook()
    with pytest.raises(ValueError, match="8 columns"):
        book.run(np.zeros((2, 7), dtype=np.int64))
    with pytest.raises(ValueError, match="8 columns, not 7"):
        book.run(np.zeros((0, 7), dtype=np.int64))
    with pytest.raises(ValueError, match="2 dimensions, not 1"):
        book.run(np.zeros(8, dtype=np.int64))
    for kind in (np.float64, np.int32, np.uint64, ">i8"):
        with pytest.raises(ValueError, match="int64, not of format"):
            book.run(np.zeros((2, 8), dtype=kind))
    with pytest.raises(ValueError, match="contiguous"):
        book.run(np.zeros((8, 8), dtype=np.int64)[::2])
    with pytest.raises(TypeError):
        book.run([[0] * 8])  # type: ignore[arg-type]
    assert book.run(np.zeros((0, 8), dtype=np.int64)) == 0
    assert book.run(packed([(9, 0, 0, 0, 0, 0, 0, 0), (0, 1, 1, 0, 5, 1, 0, 0)])) == 1
    assert book.best(BUY) == 5
