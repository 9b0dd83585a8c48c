"""The ends of every range: correct or a clear refusal, never a wrap, a hang or a crash."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.lockstep import Lockstep

from engine import Exchange
from engine.batches import account_commands, deposit_commands, fill_commands
from engine.messages import RECORD_WIDTH, EventKind

Command = dict[str, Any]
MONEY_MAX = 2**62

TIERS = [
    {"min_notional": "0", "max_notional": "5000000000000000", "maintenance_margin_rate": "0.005",
     "max_leverage": "100"},
    {"min_notional": "5000000000000000", "max_notional": None, "maintenance_margin_rate": "0.02",
     "max_leverage": "20"},
]


def opened(**terms: Any) -> Lockstep:
    """Both cores with one linear symbol: one unit of money a lot and tick."""
    lockstep = Lockstep()
    for command in (
        {"cmd": "asset", "asset": "USD", "decimals": 0},
        {"cmd": "instrument", "symbol": "A", "kind": "linear", "base": "A", "quote": "USD",
         "settle": "USD", "tick_size": "1", "lot_size": "1", "tiers": TIERS, **terms},
        {"cmd": "account", "account": 1}, {"cmd": "account", "account": 9},
        {"cmd": "deposit", "account": 9, "asset": "USD", "amount": str(10**18)},
    ):
        lockstep.apply(command)
    return lockstep


def kinds(events: list[dict[str, Any]]) -> set[str]:
    return {event["event"] for event in events}


def mark(lockstep: Lockstep, price: int) -> list[dict[str, Any]]:
    return lockstep.apply({"cmd": "mark", "symbol": "A", "mark_price": str(price)})


def trade(lockstep: Lockstep, side: str, lots: int, price: int) -> None:
    other = "sell" if side == "buy" else "buy"
    for account, taken in ((9, other), (1, side)):
        events = lockstep.apply({
            "cmd": "order", "account": account, "symbol": "A", "order_id": 1, "type": "limit",
            "side": taken, "quantity": str(lots), "price": str(price)})
        assert "rejected" not in kinds(events), events
    assert "trade" in kinds(events)


def figures(lockstep: Lockstep) -> dict[str, Any]:
    answer = lockstep.first.query({"query": "account", "account": 1})
    return {**answer, **(answer["positions"][0] if answer["positions"] else {})}


@pytest.mark.parametrize("lots", [1, 10**9])
@pytest.mark.parametrize("price", [1, 2, 1000, 10**9])
@pytest.mark.parametrize("side", ["buy", "sell"])
def test_one_lot_and_a_billion_at_any_price(side: str, lots: int, price: int) -> None:
    lockstep = opened()
    margin = max(3, lots * price // 10)
    lockstep.apply({
        "cmd": "deposit", "account": 1, "asset": "USD", "amount": str(margin)})
    lockstep.apply({"cmd": "leverage", "account": 1, "symbol": "A", "leverage": "20"})
    mark(lockstep, price)
    trade(lockstep, side, lots, price)
    before = figures(lockstep)
    assert int(before["notional"]) == lots * price
    due = before["liquidation_price"]
    if due is not None:
        due = int(due)
        step = 1 if side == "buy" else -1
        if due + step > 0 and due != price:  # the last mark that is safe, then the first that isn't
            assert "liquidation_started" not in kinds(mark(lockstep, due + step))
            lockstep.check()
        assert "liquidation_started" in kinds(mark(lockstep, due))
    # A fall by 90 %, the lowest mark, the highest that the open interest allows, back again.
    for to in (max(1, price // 10), 1, 10**9, 4 * 10**18 // max(1, lots), price):
        mark(lockstep, to)
        lockstep.check()
        lockstep.compare_queries()


@pytest.mark.parametrize(("equity", "is_due"), [(1, False), (0, True), (-1, True)])
def test_equity_of_one_unit_of_none_and_below(equity: int, is_due: bool) -> None:
    """Nothing asked for maintenance: the position lives on its last unit, and not on none."""
    free = [{"min_notional": "0", "max_notional": None, "maintenance_margin_rate": "0",
             "max_leverage": "100"}]
    lockstep = opened(tiers=free)
    lockstep.apply(
        {"cmd": "deposit", "account": 1, "asset": "USD", "amount": str(1000 + equity)})
    mark(lockstep, 1000)
    trade(lockstep, "buy", 10, 1000)
    assert ("liquidation_started" in kinds(mark(lockstep, 900))) is is_due
    lockstep.check()


@pytest.mark.parametrize("command", [
    {"cmd": "deposit", "account": 1, "asset": "USD", "amount": str(MONEY_MAX + 1)},
    {"cmd": "deposit", "account": 1, "asset": "USD", "amount": str(2**63)},
    {"cmd": "deposit", "account": 1, "asset": "USD", "amount": "9" * 40},
    {"cmd": "deposit", "account": 1, "asset": "USD", "amount": str(MONEY_MAX)},  # 9 has 10^18
    {"cmd": "mark", "symbol": "A", "mark_price": str(2**63)},
    {"cmd": "mark", "symbol": "A", "mark_price": str(2**127)},
    {"cmd": "order", "account": 1, "symbol": "A", "order_id": 7, "type": "limit", "side": "buy",
     "quantity": str(MONEY_MAX), "price": str(MONEY_MAX)},
    {"cmd": "order", "account": 1, "symbol": "A", "order_id": 7, "type": "limit", "side": "buy",
     "quantity": str(2**64), "price": "1"},
    {"cmd": "fill", "account": 1, "symbol": "A", "side": "buy", "quantity": str(2**40),
     "price": str(2**40)},
    {"cmd": "fill", "account": 1, "symbol": "A", "side": "sell", "quantity": "1",
     "price": "1", "fee": str(2**64)},
    {"cmd": "funding", "symbol": "A", "rate": "9" * 30},
    {"cmd": "insurance", "asset": "USD", "amount": str(2**64)},
    {"cmd": "backstop", "account": 1, "asset": "USD", "commitment": str(2**64)},
])
def test_what_does_not_fit_is_refused_without_a_trace(command: Command) -> None:
    lockstep = opened()
    lockstep.apply({"cmd": "deposit", "account": 1, "asset": "USD", "amount": "1000"})
    mark(lockstep, 1000)
    before = lockstep.first.state_hash()
    events = lockstep.apply(command)
    assert [event["event"] for event in events] == ["rejected"], events
    assert lockstep.first.state_hash() == before
    lockstep.check()


def test_products_of_128_bits() -> None:
    """As large as open interest may be, at rates of 1e-8: intermediates beyond 64 bits."""
    lockstep = opened()
    lockstep.apply({"cmd": "deposit", "account": 1, "asset": "USD", "amount": str(2 * 10**17)})
    mark(lockstep, 10**9)
    trade(lockstep, "buy", 10**9, 10**9)  # notional 10^18, x 10^8 for the rate
    answer = figures(lockstep)
    lower = 5 * 10**15
    assert int(answer["maintenance_margin"]) == (
        10**18 * 2 // 100 - lower * (20 - 5) // 1000)
    for price in (10**9 - 1, 9 * 10**8, 85 * 10**7, 82 * 10**7, 10**8, 1):
        mark(lockstep, price)
        lockstep.check()
        lockstep.compare_queries()


def crowd(count: int) -> Exchange:
    """Longs of one lot at 100,000 with a twentieth of it, on a book that nobody quotes."""
    exchange = Exchange()
    for command in (
        {"cmd": "asset", "asset": "USD", "decimals": 0},
        {"cmd": "instrument", "symbol": "A", "kind": "linear", "base": "A", "quote": "USD",
         "settle": "USD", "tick_size": "1", "lot_size": "1", "tiers": TIERS},
        {"cmd": "mark", "symbol": "A", "mark_price": "100000"},
        {"cmd": "insurance", "asset": "USD", "amount": str(10**15)},
    ):
        exchange.apply(command)
    exchange.reserve(count, count)
    accounts = np.arange(1, count + 1)
    for commands in (
        account_commands(accounts), deposit_commands(accounts, 0, np.full(count, 5_000)),
        fill_commands(accounts, 0, np.ones(count, np.int64), np.full(count, 100_000)),
    ):
        assert exchange.submit_many(commands) == 0
    exchange.discard_events()
    return exchange


def breach_all(count: int) -> None:
    exchange = crowd(count)
    exchange.submit({"cmd": "mark", "symbol": "A", "mark_price": "95001"})
    records = np.frombuffer(exchange.core.drain_bytes(), np.int64).reshape(-1, RECORD_WIDTH)
    started = records[records[:, 0] == int(EventKind.LIQUIDATION_STARTED)]
    assert len(started) == count
    assert (np.diff(started[:, 4]) > 0).all()  # equal ratios: by account
    assert not exchange.query({"query": "liquidation_queue"})["entries"]
    assert exchange.totals()["assets"]["USD"]["drift"] == "0"
    exchange.check()


def test_everybody_is_breached_by_one_tick() -> None:
    breach_all(20_000)


@pytest.mark.slow
def test_a_million_accounts_are_breached_by_one_tick() -> None:
    breach_all(1_000_000)
