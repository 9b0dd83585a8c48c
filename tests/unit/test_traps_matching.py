"""Where other matching engines fail, and this one may not. Each docstring names the trap."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from support.market import Desk, kinds, only

from engine import Exchange

#: Generous: a quadratic or level-walking engine needs minutes for these.
SECONDS = {"compiled": 2.0, "reference": 30.0}


def test_reduce_only_is_measured_at_each_fill(market: Desk) -> None:
    """Reduce-only looked at on entry only: an order walks two levels and flips the position."""
    market.trade(1, 2, 3, 100)
    market.sell(1, 3, 105, reduce_only=True)
    market.sell(1, 3, 106, reduce_only=True)
    market.buy(3, 2, 105)
    market.buy(3, 6, 106)
    assert market.quantity(1) == "0"
    assert market.orders(1) == []
    assert market.quantity(3) == "3"


def test_reduce_only_does_not_count_on_what_its_owner_has_sold_meanwhile(market: Desk) -> None:
    """The same for a maker whose position shrank while its order rested."""
    market.trade(1, 2, 5, 100)
    market.sell(1, 5, 105, reduce_only=True)
    market.trade(3, 1, 4, 100)
    assert market.quantity(1) == "1"
    market.buy(4, 5, 105)
    assert market.quantity(1) == "0"
    assert market.quantity(4) == "1"


def test_an_exactly_filled_order_is_no_zombie(market: Desk) -> None:
    """`>` for `>=`: an order that was filled to the last lot stays in the book."""
    for quantity in (1, 2, 5):
        market.sell(1, quantity, 100)
        events = market.buy(2, quantity, 100)
        assert [event["status"] for event in only(events, "order_update")] == ["filled"] * 2
        assert market.book() == ([], [])
        assert market.orders(1) == market.orders(2) == []


def test_a_limit_at_the_best_price_trades(market: Desk) -> None:
    """`>` for `>=`: prices that are equal cross."""
    market.sell(1, 1, 100)
    assert only(market.buy(2, 1, 100), "trade")
    market.buy(1, 1, 100)
    assert only(market.sell(2, 1, 100), "trade")


def test_a_partial_fill_keeps_its_place(market: Desk) -> None:
    """A partially filled order loses its place in the queue."""
    market.sell(1, 5, 100, order_id=11)
    market.sell(2, 5, 100, order_id=21)
    market.buy(3, 1, 100)
    assert market.book(l3=True)[1] == [["100", [[1, 11, "4", "4"], [2, 21, "5", "5"]]]]


def test_same_price_and_same_time_do_not_overwrite(market: Desk) -> None:
    """Two orders with the same price and timestamp overwrite each other."""
    for order_id in range(1, 6):
        market.buy(1, 1, 99, order_id=order_id, ts=7)
    assert market.book(l3=True)[0] == [
        ["99", [[1, order_id, "1", "1"] for order_id in range(1, 6)]]]


def test_a_refused_fill_or_kill_moves_nothing(market: Desk) -> None:
    """A rejected fill-or-kill that moved the last price."""
    market.sell(1, 1, 100)
    market.buy(2, 1, 100)
    market.sell(1, 1, 105)
    market.sell(1, 1, 106)
    before = market.exchange.state_hash(), market.book()
    assert market.refusal("order", account=2, symbol="BTC", order_id=99, side="buy", type="limit",
                          quantity="3", price="110", time_in_force="fok") == "fok_unfillable"
    assert (market.exchange.state_hash(), market.book()) == before
    assert market.ask("book", symbol="BTC")["last_price"] == "100"


@pytest.mark.parametrize(("stp", "fills"), [
    ("none", True), ("cancel_maker", False), ("cancel_taker", False), ("cancel_both", False),
    ("decrement", False),
])
def test_fill_or_kill_knows_its_own_orders(market: Desk, stp: str, fills: bool) -> None:
    """A dry run that forgets the taker's own orders."""
    market.sell(2, 2, 100)
    market.sell(1, 2, 101)
    events = market.buy(1, 4, 101, time_in_force="fok", stp=stp)
    assert bool(only(events, "trade")) is fills


def test_a_maker_cancelled_by_self_trade_prevention_is_told(market: Desk) -> None:
    """A maker cancelled by self-trade prevention without an event."""
    for stp in ("cancel_maker", "cancel_both", "decrement"):
        market.sell(1, 1, 100, order_id=5)
        events = market.buy(1, 1, 100, order_id=6, stp=stp)
        canceled = {event["order_id"]: event["reason"]
                    for event in only(events, "order_canceled")}
        assert canceled[5] == "self_trade"
        market.do("cancel_all")


def test_checks_come_before_effects(market: Desk) -> None:
    """"Can match, but cannot place": a taker that lacks margin for its rest has no effect."""
    market.sell(1, 1, 100)
    before = market.book()
    assert market.refusal("order", account=2, symbol="BTC", order_id=9, side="buy", type="limit",
                          quantity="300000", price="100") == "insufficient_margin"
    assert market.book() == before
    assert market.position(2) is None


def test_a_live_duplicate_id_leaves_the_first_alone(market: Desk) -> None:
    """A second order with a live id replaces the first or leaves it unreachable."""
    market.buy(1, 1, 90, order_id=7)
    assert market.refusal("order", account=1, symbol="BTC", order_id=7, side="sell",
                          type="limit", quantity="5", price="80") == "duplicate_order_id"
    assert market.book() == ([["90", "1"]], [])
    assert kinds(market.do("cancel", account=1, symbol="BTC", order_id=7)) == ["order_canceled"]
    assert kinds(market.buy(1, 1, 90, order_id=7)) == ["order_accepted", "order_update"]


def test_two_prices_far_apart_do_not_stall_the_book(market: Desk, core_name: str) -> None:
    """A best price found by walking empty levels: a book with two prices far apart stalls."""
    market.must("deposit", account=1, asset="USDT", amount="10000000000000000")
    market.must("deposit", account=2, asset="USDT", amount="10000000000000000")
    far = 10**12
    start = time.process_time()
    for number in range(50):
        market.sell(1, 1, far + number)
        market.buy(2, 1, 1 + number % 3)
        market.sell(1, 1, 2)
        market.do("cancel_all", account=1)
    assert time.process_time() - start < SECONDS[core_name]
    assert market.book()[1] == []


def test_a_quote_costs_nothing_per_resting_order(market: Desk, core_name: str) -> None:
    """A quote that costs time proportional to resting orders."""
    for number in range(3000 if core_name == "compiled" else 300):
        market.exchange.submit({
            "cmd": "order", "account": 1, "symbol": "BTC", "order_id": number + 1, "side": "buy",
            "type": "limit", "quantity": "1", "price": str(99 - number % 60)})
    market.exchange.drain()
    start = time.process_time()
    for _ in range(2000 if core_name == "compiled" else 20):
        market.ask("book", symbol="BTC", depth=1)
    assert time.process_time() - start < SECONDS[core_name]


def test_a_sweep_of_thousands_of_orders_is_no_recursion(market: Desk, core_name: str) -> None:
    """A sweep of thousands of orders by recursion."""
    count = 5000 if core_name == "compiled" else 1000
    for number in range(count):
        market.exchange.submit({
            "cmd": "order", "account": 1 + number % 2, "symbol": "BTC", "order_id": number + 1,
            "side": "sell", "type": "limit", "quantity": "1", "price": str(100 + number % 7)})
    market.exchange.drain()
    start = time.process_time()
    events = market.buy(3, count, 106)
    assert time.process_time() - start < SECONDS[core_name]
    assert len(only(events, "trade")) == count
    assert market.quantity(3) == str(count)
    assert market.book() == ([], [])


def test_a_market_order_into_nothing_is_cancelled(market: Desk) -> None:
    """A market order that rests at no price, or at price 0."""
    events = market.buy(1, 5)
    assert kinds(events) == ["order_accepted", "order_canceled"]
    assert market.book() == ([], [])


def test_a_long_queue_is_cancelled_from_the_middle(
    new_exchange: Callable[[], Exchange], core_name: str
) -> None:
    """Cancelling costs time proportional to the queue in front of the order."""
    desk = Desk(new_exchange())
    desk.symbol()
    desk.account(1)
    count = 4000 if core_name == "compiled" else 500
    for number in range(count):
        desk.exchange.submit({
            "cmd": "order", "account": 1, "symbol": "BTC", "order_id": number + 1, "side": "buy",
            "type": "limit", "quantity": "1", "price": "99"})
    start = time.process_time()
    for number in range(count // 4, count, 2):
        desk.exchange.submit({"cmd": "cancel", "account": 1, "symbol": "BTC",
                              "order_id": number + 1})
    assert time.process_time() - start < SECONDS[core_name]
    desk.exchange.drain()
    assert desk.orders(1)[: count // 4] == list(range(1, count // 4 + 1))


def test_a_chain_of_thousands_of_stops_is_no_recursion(market: Desk, core_name: str) -> None:
    """Stops that set each other off, thousands of times, by recursion."""
    links = 2_000 if core_name == "compiled" else 400
    market.must("deposit", account=2, asset="USDT", amount="100000000")
    for step in range(links):
        market.sell(1, 1, 101 + step, order_id=1 + step)
        market.order("buy", 2, 1, type="stop_market", trigger_price=str(101 + step),
                     trigger_by="last", order_id=1 + step)
    market.sell(1, 1, 101 + links, order_id=1 + links)
    began = time.process_time()
    events = market.buy(3, 1, 101)
    assert time.process_time() - began < SECONDS[core_name]
    assert len(only(events, "order_triggered")) == links
    prices = [event["price"] for event in only(events, "trade")]
    assert prices == [str(101 + step) for step in range(links + 1)]
    assert market.book() == ([], [])


def test_thousands_of_groups_and_expiries_end_in_one_command(
    market: Desk, core_name: str
) -> None:
    """Many orders that die at once are removed one by one from the middle of a vector."""
    pairs = 2_000 if core_name == "compiled" else 300
    for pair in range(1, pairs + 1):
        market.buy(1, 1, 90, order_id=pair, oco=pair, time_in_force="gtd", expire_ts=1_000)
        market.order("buy", 1, 1, type="stop_market", trigger_price="120", oco=pair,
                     order_id=pairs + pair)
    began = time.process_time()
    events = market.do("time", ts=1_000)
    assert time.process_time() - began < SECONDS[core_name]
    assert kinds(events) == ["order_expired", "order_canceled"] * pairs
    assert market.orders(1) == []


def test_an_amended_stop_that_waits_is_not_measured_by_the_old_trigger(market: Desk) -> None:
    """An index that keeps the entry of an amended, cancelled or expired order."""
    market.order("buy", 1, 1, type="stop_market", trigger_price="105", order_id=1)
    market.order("buy", 1, 1, type="stop_market", trigger_price="105", order_id=2)
    market.order("buy", 1, 1, type="stop_market", trigger_price="105", order_id=3,
                 time_in_force="gtd", expire_ts=5)
    market.must("amend", account=1, symbol="BTC", order_id=1, trigger_price="110")
    market.must("cancel", account=1, symbol="BTC", order_id=2)
    market.must("time", ts=5)
    assert kinds(market.mark(106)) == ["mark"]
    assert kinds(market.mark(110)) == ["mark", "order_triggered", "order_canceled"]
