"""The standalone order book against a list that is sorted anew for every trade."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


@settings(max_examples=300, deadline=None)
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


def test_a_wrong_shape_is_refused_and_a_wrong_op_counted() -> None:
    book = OrderBook()
    with pytest.raises(ValueError, match="8 columns"):
        book.run(np.zeros((2, 7), dtype=np.int64))
    with pytest.raises(ValueError):
        book.run(np.zeros((2, 8), dtype=np.float64))
    assert book.run(packed([(9, 0, 0, 0, 0, 0, 0, 0), (0, 1, 1, 0, 5, 1, 0, 0)])) == 1
    assert book.best(BUY) == 5
