"""Resting orders of the fund: what they cost it, what they may not do, and copies of them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from support.market import STEEP_TIERS, Desk, audit, only
from support.script import read_script

from engine import Exchange

SCENARIOS = Path(__file__).parents[1] / "scenarios"
PASSIVE = {"fund_workoff": "passive", "fund_workoff_fraction": "0.4", "fund_workoff_offset": "0.01",
           "fund_workoff_reprice": "0.02", "fund_workoff_interval_ns": 5, "adl": False,
           "maker_check": True}


def crash(desk: Desk, draw: random.Random) -> Iterator[list[dict[str, Any]]]:
    """A market in which the fund takes over longs and shorts in turn, and others trade on."""
    desk.symbol(tiers=list(STEEP_TIERS), profile=PASSIVE, taker_fee="0.001", maker_fee="0.0005",
                liquidation_fee="0.002")
    desk.account(9, 10, deposit="10000000")
    desk.must("insurance", asset="USDT", amount="100000")
    price = 100
    for second in range(80):
        account = 20 + second
        desk.account(account, deposit="60")
        yield desk.must("fill", account=account, symbol="BTC", quantity=str(draw.randint(3, 9)),
                        side=draw.choice(("buy", "sell")), price=str(price))
        for _ in range(3):
            yield desk.order(
                draw.choice(("buy", "sell")), draw.choice((9, 10)), draw.randint(1, 4),
                price + draw.randint(-3, 3), stp=draw.choice(("none", "cancel_both")))
        if draw.random() < 0.1:
            yield desk.must("cancel_all")
        price = max(60, min(140, price + draw.choice((-12, -7, -2, -1, 0, 1, 2, 7, 12))))
        yield desk.must("mark", symbol="BTC", mark_price=str(price), ts=second)


def worth(desk: Desk) -> Fraction:
    """The fund's balance, and what its inventory brings in at the mark."""
    reply = desk.ask("insurance")
    total = Fraction(reply["assets"]["USDT"]["balance"])
    for each in reply["positions"]:
        total += Fraction(each["unrealized_pnl"])
    return total


@pytest.mark.parametrize("seed", range(2))
def test_a_trade_of_a_resting_order_never_costs_the_fund(desk: Desk, seed: int) -> None:
    trades = offers = 0
    before = Fraction(0)
    for events in crash(desk, random.Random(seed)):
        after = worth(desk)
        kinds = {event["event"] for event in events}
        fills = [each for each in only(events, "trade") if 0 in (
            each["maker_account"], each["taker_account"])]
        assert all(each["maker_account"] == 0 and each["maker_fee"] == "0" for each in fills)
        if fills and not kinds & {"mark", "liquidation_takeover"}:
            assert after >= before, events  # at the mark or better, and without a fee
        trades += len(fills)
        own = [each for each in events if each.get("account") == 0]
        accepted = only(own, "order_accepted")
        assert len(accepted) <= 1 and len(only(own, "order_canceled")) <= 2, own
        assert all(each["post_only"] and each["reduce_only"] for each in accepted)
        offers += len(accepted)
        sides = [order for side in desk.book(l3=True) for level in side for order in level[1]]
        assert sum(order[0] == 0 for order in sides) <= 1
        before = after
    audit(desk.exchange)
    assert trades > 3 and offers > 12


def test_an_interval_trades_no_more_than_its_share(desk: Desk) -> None:
    traded: Counter[int] = Counter()
    most = 0
    for events in crash(desk, random.Random(7)):
        fills = [each for each in only(events, "trade") if each["maker_account"] == 0]
        for each in fills:
            traded[each["ts"] // 5] += int(each["quantity"])
        held = sum(abs(int(each["quantity"])) for each in desk.ask("insurance")["positions"])
        most = max(most, held + sum(int(each["quantity"]) for each in fills))
    assert max(traded.values()) > 1
    assert max(traded.values()) <= max(1, most * 4 // 10)


def test_a_copy_has_the_order_too() -> None:
    original = Desk(Exchange())
    steps = crash(original, random.Random(1))
    resting = 0
    copy = Exchange()
    for number, _ in enumerate(steps):
        line = original.log[-1]
        if number == 0:
            for earlier in original.log[:-1]:
                copy.apply(earlier)
        if number % 7 == 3:
            copy = Exchange.restore(copy.snapshot())
        while copy.seq < original.exchange.seq:
            copy.apply(original.log[copy.seq])
        assert copy.state_hash() == original.exchange.state_hash(), line
        resting += any(order[0] == 0 for side in original.book(l3=True)
                       for level in side for order in level[1])
    assert resting > 10


@pytest.mark.parametrize("number", range(20, 25))
def test_both_cores_remember_the_same(number: int) -> None:
    path = next(SCENARIOS.glob(f"FND-0{number}-*.jsonl"))
    cores = [Exchange(core=core) for core in ("reference", "compiled")]
    for step in read_script(path).steps:
        if "cmd" in step.line:
            one, other = (core.apply(step.line) for core in cores)
            assert one == other, step.place
            assert cores[0].state_hash() == cores[1].state_hash(), step.place


def test_a_rest_of_the_order_fills_whole_where_makers_are_checked(desk: Desk) -> None:
    desk.symbol(profile=PASSIVE | {"fund_workoff_fraction": "1"})
    desk.account(1, deposit="500")
    desk.account(2, 9)
    desk.must("insurance", asset="USDT", amount="1000")
    desk.trade(1, 9, 100, 100)
    desk.mark(95)
    assert desk.book()[1] == [["96", "100"]]
    # A fill-or-kill counts it, a rehearsal included.
    assert only(desk.buy(2, 101, 96, time_in_force="fok"), "rejected")
    assert only(desk.buy(2, 100, 96, time_in_force="fok"), "trade")[0]["maker_account"] == 0
    assert desk.ask("insurance")["positions"] == []
    assert desk.ask("totals")["assets"]["USDT"]["drift"] == "0"
