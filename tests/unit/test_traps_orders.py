"""Traps of waiting, hidden, tied and expiring orders: size, order, range, what is left behind."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from support.market import Desk, kinds, only
from support.universe import Universe

from engine import Exchange
from engine.messages import MONEY_MAX, EventKind

#: Generous: a quadratic engine needs minutes for these.
SECONDS = {"compiled": 2.0, "reference": 30.0}
#: Ten times the work may take so many times as long: quadratic work takes a hundred times.
LINEAR = 45
#: A debug build looks at everything after every command, which is quadratic by itself.
IS_DEBUG = os.environ.get("ENGINE_DEBUG", "0") not in ("", "0")
release_only = pytest.mark.skipif(IS_DEBUG, reason="times of a debug build mean nothing")
LEVERAGE_100 = [{"min_notional": "0", "max_notional": None, "maintenance_margin_rate": "0",
                 "max_leverage": "100"}]


def place(exchange: Exchange, **fields: Any) -> None:
    """Send an order without looking at its events, so that thousands go in quickly."""
    exchange.submit({"cmd": "order", "symbol": "BTC", "type": "limit", "quantity": "1", **fields})
    assert exchange.core.rejected_seq != exchange.seq, fields


# --- size -------------------------------------------------------------------------------


def rich(core: str) -> Desk:
    desk = Desk(Exchange(core=core))
    desk.symbol()
    desk.account(1, 2, 3, 9, deposit="100000000000")
    return desk


def sweep(desk: Desk, count: int) -> tuple[float, list[tuple[int, ...]]]:
    """Let one order take so many resting orders of one lot; the seconds, and the records."""
    exchange = desk.exchange
    first = exchange.seq + 1
    for number in range(count):
        place(exchange, account=1 + number % 3, order_id=first + number, side="sell",
              price="100", stp="none")
    exchange.drain_records()
    start = time.process_time()
    place(exchange, account=9, order_id=first, side="buy", price="100", quantity=str(count))
    return time.process_time() - start, exchange.drain_records()


def test_one_order_takes_five_thousand_one_by_one(core_name: str) -> None:
    """A sweep that is cut short, merges makers, or takes them out of their order."""
    count = 200 if IS_DEBUG else 5000
    desk = rich(core_name)
    first = desk.exchange.seq + 1
    seconds, records = sweep(desk, count)
    trades = [record for record in records if record[0] == EventKind.TRADE]
    assert [record[8] for record in trades] == list(range(first, first + count))
    assert {record[7] for record in trades} == {1}
    assert desk.book() == ([], [])
    assert seconds < SECONDS[core_name]


@release_only
def test_ten_times_the_orders_take_ten_times_as_long() -> None:
    """A sweep that looks at the rest of the level for each order it takes."""
    desk = rich("compiled")
    sweep(desk, 50_000)  # arrays grow to their size
    small = min(sweep(desk, 5000)[0] for _ in range(5))
    large = min(sweep(desk, 50_000)[0] for _ in range(2))
    assert large < LINEAR * small


def cascade(desk: Desk, depth: int, **stop: Any) -> tuple[float, list[tuple[int, ...]]]:
    """Stops below one another, each set off by the trade of the one above it.

    The lowest came in first, so that age must not decide between collections.
    """
    exchange, top = desk.exchange, 2 * depth + 10
    desk.mark(top)
    desk.trade(1, 9, depth, top)
    for away in range(1, depth + 2):
        place(exchange, account=9, order_id=10**6 + away, side="buy", price=str(top - away))
    for away in range(depth, 0, -1):
        place(exchange, account=1, order_id=10**6 + away, side="sell", type="stop_market",
              trigger_price=str(top - away), trigger_by="last", **stop)
    exchange.drain_records()
    start = time.process_time()
    place(exchange, account=2, order_id=10**6, side="sell", type="market")
    return time.process_time() - start, exchange.drain_records()


@pytest.mark.parametrize("stop", [{}, {"reduce_only": True}], ids=["plain", "reduce_only"])
def test_a_cascade_of_stops_runs_to_its_end_in_order(core_name: str, stop: dict[str, Any]) -> None:
    """Stops set off by stops: recursion that ends in an error, or an order that is a matter of
    luck."""
    depth = 10_000 if core_name == "compiled" else 1000
    depth = 200 if IS_DEBUG else depth
    desk = rich(core_name)
    seconds, records = cascade(desk, depth, **stop)
    order = [10**6 + away for away in range(1, depth + 1)]
    triggered = [record for record in records if record[0] == EventKind.ORDER_TRIGGERED]
    assert [record[6] for record in triggered] == order
    trades = [record for record in records if record[0] == EventKind.TRADE]
    assert [record[10] for record in trades] == [10**6, *order]
    assert {record[1] for record in records} == {desk.exchange.seq}
    assert desk.quantity(1) == "0"
    assert seconds < SECONDS[core_name]
    desk.exchange.check()


@release_only
def test_a_cascade_does_not_look_at_the_stops_that_still_wait() -> None:
    """Reduce-only orders that are all looked at again after every trade of their owner."""
    plain, reducing = (
        min(cascade(rich("compiled"), 20_000, **stop)[0] for _ in range(2))
        for stop in ({}, {"reduce_only": True}))
    assert reducing < 8 * plain  # it was twenty times as long


@release_only
def test_an_iceberg_in_a_long_queue_costs_those_who_trade_ahead_of_it_nothing() -> None:
    """A dry run that looks at a whole level because one order of it hides something."""
    seconds = []
    for shown in (None, "1"):
        desk = rich("compiled")
        for number in range(20_000):
            place(desk.exchange, account=1, order_id=1 + number, side="sell", price="100")
        desk.sell(3, 2, 100, order_id=1, display_quantity=shown)
        start = time.process_time()
        for number in range(500):
            place(desk.exchange, account=9, order_id=1 + number, side="buy", type="market")
        seconds.append(time.process_time() - start)
    assert seconds[1] < 5 * seconds[0]


# --- order ------------------------------------------------------------------------------


def test_orders_of_one_moment_act_in_the_order_in_which_they_came(market: Desk) -> None:
    """Two stops, or two expiries, of the same timestamp that swap."""
    ids = [7, 3, 9, 1, 8, 2, 5, 4, 6]
    market.buy(2, 50, 95)
    for number, order_id in enumerate(ids):
        market.sell(1 + 2 * (number % 2), 1, order_id=order_id, type="stop_market",
                    trigger_price="96", ts=7)
        market.sell(4 - number % 2, 1, 120 + number % 3, order_id=100 + order_id,
                    time_in_force="gtd", expire_ts=20, ts=7)
    events = market.do("mark", symbol="BTC", mark_price="96", ts=7)
    assert [event["order_id"] for event in only(events, "order_triggered")] == ids
    assert [event["taker_order_id"] for event in only(events, "trade")] == ids
    events = market.do("time", ts=30)
    assert [(event["order_id"], event["ts"]) for event in events] == [
        (100 + order_id, 20) for order_id in ids]


def test_orders_of_one_moment_and_price_trade_in_the_order_in_which_they_came(
    market: Desk,
) -> None:
    """Icebergs, members of groups and orders with an end that pass plain ones."""
    kinds_of_order = ({}, {"display_quantity": "2"}, {"time_in_force": "gtd", "expire_ts": 90},
                      {"oco": 1}, {"take_profit": {"order_id": 999, "trigger_price": "50"}})
    ids = [7, 3, 9, 1, 8]
    for order_id, fields in zip(ids, kinds_of_order, strict=True):
        market.sell(1 + order_id % 3, 2, 100, order_id=order_id, ts=7, **fields)
    events = market.buy(4, 10, 100, ts=7)
    assert [event["maker_order_id"] for event in only(events, "trade")] == ids


# --- what is left behind ----------------------------------------------------------------


def every_kind_of_order(desk: Desk, account: int) -> None:
    """Orders of every kind, none of which trades at a mark of 100."""
    stop = {"type": "stop_market", "trigger_price": "150"}
    bracket = {"take_profit": {"order_id": 1000 + desk.exchange.seq, "trigger_price": "160"},
               "stop_loss": {"order_id": 2000 + desk.exchange.seq, "trigger_price": "40"}}
    for fields in (
        {"price": "90"}, {"price": "91", "display_quantity": "1"}, {"price": "92", "oco": 1},
        {"price": "93", "time_in_force": "gtd", "expire_ts": 10**9},
        {"price": "94", **bracket}, {"price": "80", "post_only": True}, stop, {**stop, "oco": 1},
        {"type": "stop_limit", "trigger_price": "150", "price": "155"},
        {"type": "take_profit_market", "trigger_price": "50", "trigger_by": "last"},
        {"type": "take_profit_limit", "trigger_price": "50", "price": "50"},
        {"type": "trailing_stop_market", "callback_rate": "0.5"},
        {"type": "trailing_stop_market", "callback_rate": "0.1", "trigger_price": "60",
         "trigger_by": "index"},
    ):
        assert not only(desk.buy(account, 3, **fields), "rejected"), fields
    for fields in ({"type": "stop_market", "trigger_price": "50", "reduce_only": True},
                   {"price": "110"}):
        assert not only(desk.sell(account, 3, **fields), "rejected"), fields


def assert_nothing_is_reserved(exchange: Exchange) -> None:
    for account in exchange.core.account_ids():
        reply = exchange.query({"query": "account", "account": account})
        for figures in reply["assets"].values():
            assert figures["order_margin"] == "0", reply
            equity = Fraction(figures["equity"]) - Fraction(figures["initial_margin"])
            assert Fraction(figures["available_margin"]) == max(0, equity), reply
        assert not exchange.query({"query": "orders", "account": account})["orders"]


@pytest.mark.parametrize("ending", ["cancel_all", "sides", "one by one", "dead man",
                                    "refused command"])
def test_what_is_cancelled_reserves_nothing(market: Desk, ending: str) -> None:
    """Margin that an order reserved and that never comes back."""
    market.trade(3, 4, 1, 100)  # accounts 1 and 2 stay flat
    for account in (1, 2):
        every_kind_of_order(market, account)
        assert market.ask("account", account=account)["order_margin"] != "0"
    if ending == "cancel_all":
        market.must("cancel_all")
    elif ending == "sides":
        for account in (1, 2):
            market.must("cancel_all", account=account, side="sell")
            market.must("cancel_all", account=account, symbol="BTC", side="buy")
    elif ending == "one by one":
        for account in (1, 2):
            while market.orders(account):
                market.must("cancel", account=account, symbol="BTC",
                            order_id=market.orders(account)[-1])
    else:
        for account in (1, 2):
            market.must("cancel_all_after", account=account, timeout=50)
        if ending == "refused command":
            market.do("order", account=77, symbol="BTC", order_id=1, side="buy", type="limit",
                      quantity="1", price="1", ts=60)
        else:
            market.must("time", ts=50)
    assert_nothing_is_reserved(market.exchange)
    for account in (1, 2):
        reply = market.ask("account", account=account)
        assert reply["available_margin"] == reply["equity"] == reply["wallet"]
    # The ids are free again, those of children that never were included.
    for order_id in {1000, 2000} | set(range(1, 40)):
        market.must("order", account=1, symbol="BTC", order_id=order_id, side="buy",
                    type="limit", quantity="1", price="50")


def finish_liquidations(universe: Universe, exchange: Exchange) -> None:
    """Let those go on that wait for their turn."""
    while any(entry["waits_for"] == "turn"
              for entry in exchange.query({"query": "liquidation_queue"})["entries"]):
        universe.observe(exchange.apply({"cmd": "time"}))


@pytest.mark.parametrize("seed", range(300, 312))
def test_nothing_is_reserved_when_all_is_cancelled(core_name: str, seed: int) -> None:
    """The same for whatever has happened before."""
    universe, exchange = Universe(seed), Exchange(core=core_name)
    for command in universe.opening():
        universe.observe(exchange.apply(command))
    for number in range(1, 201):
        universe.observe(exchange.apply(universe.next()))
        if number % 50 == 0:
            finish_liquidations(universe, exchange)
            for event in exchange.apply({"cmd": "cancel_all"}):
                assert event["event"] in ("order_canceled", "order_update"), event
                universe.observe([event])
            assert_nothing_is_reserved(exchange)
            exchange.check()


# --- range ------------------------------------------------------------------------------


def edge_of_the_range(core: str, *symbols: str, mark: int = 1) -> Desk:
    """Symbols of which one lot at one tick is one minor unit; accounts 1 to 4 share 2^62."""
    desk = Desk(Exchange(core=core))
    for symbol in symbols:
        desk.must("asset", asset=f"{symbol}-USD", decimals=0)
        desk.symbol(symbol, settle=f"{symbol}-USD", mark=mark, tiers=LEVERAGE_100)
    desk.account(1, 2, 3, 4, deposit=None)
    return desk


def fund(desk: Desk, symbol: str, **shares: int) -> None:
    """Give accounts so many hundredths of 2^62 for a symbol."""
    for account, share in shares.items():
        number = int(account.removeprefix("account"))
        desk.must("deposit", account=number, asset=f"{symbol}-USD",
                  amount=str(MONEY_MAX // 100 * share))
        desk.must("leverage", account=number, symbol=symbol, leverage="100")


def test_what_protection_counts_stays_in_range(core_name: str) -> None:
    """A counter of lots that runs over while no limit stops it."""
    desk = edge_of_the_range(core_name, "BTC")
    fund(desk, "BTC", account1=50, account2=50)
    desk.must("protection", account=2, symbol="BTC", window=1000, count=11)
    lots = MONEY_MAX // 4
    for number in range(11):
        maker, taker = (desk.sell, desk.buy) if number % 2 else (desk.buy, desk.sell)
        maker(2, lots, 1)
        events = taker(1, lots, 1)
        assert only(events, "trade")
        assert bool(only(events, "protection_triggered")) == (number == 10)
        desk.exchange.state_hash()  # all that is counted fits its place


def test_reduce_only_orders_of_more_lots_than_fit_64_bits(core_name: str) -> None:
    """Together they may be more than there is to reduce; levels and auctions add them up."""
    desk = edge_of_the_range(core_name, "BTC")
    fund(desk, "BTC", account1=50, account2=50)
    lots = MONEY_MAX // 4
    desk.trade(1, 2, lots, 1)
    desk.must("halt", symbol="BTC", mode="auction")
    reasons = [event.get("reason") for _ in range(9)
               for event in desk.sell(1, lots, 2, reduce_only=True)[:1]]
    assert reasons == [None] * 4 + ["overflow"] * 5
    desk.buy(2, 5, 3)
    told = desk.ask("auction", symbol="BTC")
    assert (told["indicative_price"], told["indicative_quantity"]) == ("2", "5")
    assert told["imbalance"] == str(5 - 4 * lots)
    uncrossed = only(desk.must("resume", symbol="BTC"), "auction_uncrossed")
    assert [(event["quantity"], event["imbalance"]) for event in uncrossed] == [
        ("5", str(5 - 4 * lots))]
    assert desk.quantity(1) == str(lots - 5)
    # What does not rest does not count.
    assert not only(desk.sell(1, lots, 1, reduce_only=True, time_in_force="ioc"), "rejected")


def test_an_auction_of_more_money_than_fits_64_bits(core_name: str) -> None:
    """The values of an auction's trades, each in range, that are added up for nobody."""
    desk = edge_of_the_range(core_name, "BTC", "ETH", mark=100)
    fund(desk, "BTC", account1=4, account2=95)
    fund(desk, "ETH", account3=40, account4=40)
    half = MONEY_MAX // 100 * 49 // 100
    for part in (half, half // 2, half // 4, half // 8):
        desk.trade(1, 2, part, 100)
    held = int(desk.quantity(1))
    desk.must("halt", symbol="BTC", mode="auction")
    for _ in range(2):
        for event in (desk.sell(1, held // 2, 190, reduce_only=True)
                      + desk.buy(2, held // 2, 190, reduce_only=True)):
            assert event["event"] != "rejected", event
    desk.trade(3, 4, MONEY_MAX // 100 * 45 // 100, 100, "ETH")
    events = desk.must("resume", symbol="BTC")
    assert kinds(events).count("trade") == 2
    assert sum(int(event["quantity"]) * 190 for event in only(events, "trade")) > MONEY_MAX


# --- more than one thing at once --------------------------------------------------------


def test_a_timer_that_is_set_again_and_again_goes_off_once(
    new_exchange: Callable[[], Exchange],
) -> None:
    """Each `cancel_all_after` of a heartbeat leaves a timer behind, and the last one is lost."""
    desk = Desk(new_exchange())
    desk.symbol()
    desk.account(1)
    desk.buy(1, 1, 90)
    for beat in range(2000):
        desk.exchange.submit({"cmd": "cancel_all_after", "account": 1, "timeout": 10,
                              "ts": beat // 2})
    desk.exchange.drain_records()
    assert desk.must("time", ts=1008) == []
    assert kinds(desk.must("time", ts=1009)) == ["order_canceled"]
    desk.buy(1, 1, 90)
    assert desk.must("time", ts=10**9) == []
