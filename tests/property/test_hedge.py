"""Hedge accounts: one leg alone is a one-way account; two are the same in whatever order."""

from __future__ import annotations

import itertools
import random
from fractions import Fraction
from typing import Any

import pytest
from support.market import STEEP_TIERS, Desk
from support.universe import SCHEDULES, tier_rows

from engine import Exchange
from engine.messages import MONEY_MAX, NONE, RATE_SCALE, TierRule
from engine.reference.margin import Schedule
from engine.reference.pair import Pair

Command = dict[str, Any]
Event = dict[str, Any]
ACCOUNT = 1  # the one that is of both kinds


def market(core_name: str, **fields: Any) -> Desk:
    """A market with fees, tiers and a fund, and one account that is opened with `fields`."""
    desk = Desk(Exchange(core=core_name))
    desk.symbol(tiers=list(STEEP_TIERS), taker_fee="0.0005", maker_fee="-0.0001",
                liquidation_fee="0.005", max_open_orders=9)
    desk.account(ACCOUNT, deposit="300", **fields)
    desk.account(2, deposit="100000")
    desk.must("insurance", asset="USDT", amount="20")
    return desk


def one_sided(seed: int, leg: str) -> list[Command]:
    """What an account might do that only opens one way, and the market around it."""
    draw = random.Random(seed)
    opens, closes = ("buy", "sell") if leg == "long" else ("sell", "buy")
    commands: list[Command] = []
    for number in range(1, 260):
        what, price = draw.random(), str(draw.randint(94, 106))
        if what < 0.4:
            line: Command = {
                "cmd": "order", "account": ACCOUNT, "symbol": "BTC", "order_id": number,
                "side": draw.choice((opens, closes)), "quantity": str(draw.randint(1, 9)),
                "type": draw.choice(("limit", "limit", "market", "stop_market")),
                "stp": draw.choice(("none", "cancel_maker", "decrement"))}
            line["reduce_only"] = line["side"] == closes
            if line["type"] == "limit":
                line["price"] = price
                line["display_quantity"] = "1" if draw.random() < 0.2 else None
            elif line["type"] == "stop_market":
                line["trigger_price"] = price
                line["oco"] = draw.choice((None, 1 if line["reduce_only"] else 2))
            if not line["reduce_only"] and draw.random() < 0.3:
                line["stop_loss"] = {"order_id": 1000 + number, "trigger_price": price}
        elif what < 0.65:
            line = {"cmd": "order", "account": 2, "symbol": "BTC", "order_id": number,
                    "side": draw.choice(("buy", "sell")), "quantity": str(draw.randint(1, 12)),
                    "type": "limit", "price": price}
        elif what < 0.85:
            line = {"cmd": "mark", "symbol": "BTC", "mark_price": str(draw.randint(85, 115))}
        elif what < 0.88:
            line = {"cmd": "fill", "account": ACCOUNT, "symbol": "BTC", "side": opens,
                    "quantity": str(draw.randint(1, 4)), "price": price, "fee": "0.02"}
        elif what < 0.91:
            line = {"cmd": "funding", "symbol": "BTC", "rate": draw.choice(("0.01", "-0.02"))}
        elif what < 0.94:
            line = {"cmd": "leverage", "account": ACCOUNT, "symbol": "BTC",
                    "leverage": draw.choice(("2", "5", "10"))}
        elif what < 0.97:
            line = {"cmd": "isolated_margin", "account": ACCOUNT, "symbol": "BTC",
                    "amount": draw.choice(("5", "-3"))}
        else:
            line = {"cmd": "deposit", "account": ACCOUNT, "asset": "USDT", "amount": "40"}
        commands.append(line)
    return commands


def without_legs(value: Any) -> Any:
    """The same output, silent about legs."""
    if isinstance(value, list):
        return [without_legs(each) for each in value]
    if isinstance(value, dict):
        return {name: without_legs(each) for name, each in value.items()
                if name not in ("position_side", "position_mode")}
    return value


@pytest.mark.parametrize("mode", ["cross", "isolated"])
@pytest.mark.parametrize("leg", ["long", "short"])
@pytest.mark.parametrize("seed", range(8))
def test_one_leg_alone_is_a_one_way_account(
    core_name: str, seed: int, leg: str, mode: str
) -> None:
    one = market(core_name, margin_mode=mode)
    two = market(core_name, margin_mode=mode, position_mode="hedge")
    for line in one_sided(seed, leg):
        named = line | {"position_side": leg} if line.get("account") == ACCOUNT and (
            line["cmd"] in ("order", "fill", "isolated_margin")) else line
        events = [without_legs(desk.exchange.apply(command))
                  for desk, command in ((one, line), (two, named))]
        assert events[0] == events[1], line
        for name in ("account", "orders"):
            assert without_legs(one.ask(name, account=ACCOUNT)) == without_legs(
                two.ask(name, account=ACCOUNT)), line
    one.exchange.check()
    two.exchange.check()


def test_the_order_in_which_legs_are_opened_makes_no_difference(core_name: str) -> None:
    """Three symbols, two legs each: same figures, same prices, same liquidation."""
    legs = [(symbol, leg) for symbol in ("BTC", "ETH", "SOL") for leg in ("long", "short")]
    told = set()
    for order in random.Random(5).sample(list(itertools.permutations(legs)), 40):
        desk = Desk(Exchange(core=core_name))
        for symbol in ("BTC", "ETH", "SOL"):
            desk.symbol(symbol, tiers=list(STEEP_TIERS))
        desk.account(ACCOUNT, deposit="500", position_mode="hedge")
        for symbol, leg in order:
            lots = {"BTC": 12, "ETH": 7, "SOL": 3}[symbol] + (leg == "long")
            desk.must("fill", account=ACCOUNT, symbol=symbol, quantity=str(lots), price="100",
                      side="buy" if leg == "long" else "sell", position_side=leg)
        events = desk.marks(BTC=20, ETH=30, SOL=250)
        reply = desk.ask("account", account=ACCOUNT)
        told.add(str([reply, [event | {"seq": 0, "cause": 0} for event in events]]))
    assert len(told) == 1


def brute(pair: Pair, origin: int, step: int, last: int, *, wanted: bool) -> int:
    mark = origin
    while 1 <= mark <= last:
        if pair.is_due(mark) is wanted:
            return mark
        mark += step
    return NONE


@pytest.mark.parametrize("is_inverse", [False, True])
@pytest.mark.parametrize("seed", range(60))
def test_marks_at_which_two_legs_are_due_are_found(seed: int, *, is_inverse: bool) -> None:
    """Against trying every mark, with tiers and rates at which hardly anything moves."""
    draw = random.Random(seed)
    for _ in range(40):
        rows = tier_rows(draw.choice(SCHEDULES))
        rates = [draw.choice((0, 1, 3, 10**5, 3_333_333, 5 * 10**7)) for _ in rows]
        schedule = Schedule.build(draw.choice(tuple(TierRule)), [
            (int(float(row["min_notional"])),
             MONEY_MAX if row["max_notional"] is None else int(float(row["max_notional"])),
             rate, RATE_SCALE) for row, rate in zip(rows, sorted(rates), strict=True)])
        largest, rest = (30_000, 500) if is_inverse else (60, 20_000)
        pair = Pair(schedule, draw.randint(1, largest), draw.randint(1, largest),
                    draw.randint(-rest, rest), is_inverse)
        origin, step = draw.randint(1, 600), draw.choice((-1, 1))
        for wanted in (True, False):
            found = pair.first_mark(origin, step, wanted=wanted)
            tried = brute(pair, origin, step, 4000, wanted=wanted)
            assert found == tried or (tried == NONE and found > 4000), (pair, origin, step)


def test_a_pair_that_hangs_on_roundings_is_answered_at_once() -> None:
    """Ten thousand marks are tried, and then the first that is due before rounding is told."""
    schedule = Schedule.build(TierRule.MARGINAL, [(0, MONEY_MAX, 1, RATE_SCALE)])
    # Two requirements of a hundred-millionth of the mark each, two units from the first mark on.
    assert Pair(schedule, 1, 1, 1).first_mark(1, 1, wanted=True) == 1
    # Four units from here on.
    exact = RATE_SCALE + 1
    assert Pair(schedule, 1, 1, 3).first_mark(exact - 5000, 1, wanted=True) == exact
    assert Pair(schedule, 1, 1, 3).first_mark(1, 1, wanted=True) == 3 * RATE_SCALE // 2
    free = Schedule.build(TierRule.MARGINAL, [(0, MONEY_MAX, 0, RATE_SCALE)])
    assert Pair(free, 5, 5, 1).first_mark(1, 1, wanted=True) == NONE
    # Inverse legs have some two hundred thousand different values, from here on.
    assert Pair(free, 10**10, 10**10, 1, is_inverse=True).first_mark(5, 1, wanted=True) == NONE


def test_netting_leaves_money_where_it_was(market: Desk) -> None:
    """What both legs were worth is what they are netted for: equity and totals do not move."""
    market.account(7, deposit="60", position_mode="hedge")
    for side, leg, price in (("buy", "long", "103"), ("sell", "short", "98")):
        market.must("fill", account=7, symbol="BTC", side=side, quantity="7", price=price,
                    position_side=leg)
    market.must("fill", account=7, symbol="BTC", side="buy", quantity="2", price="100.333",
                position_side="long", fee="15")
    before = Fraction(market.ask("account", account=7)["equity"])
    events = market.mark(97)
    netted = [event for event in events if event["event"] == "legs_netted"]
    assert [(event["quantity"], event["price"]) for event in netted] == [("7", "97")]
    finished = next(each for each in events if each["event"] == "liquidation_finished")
    assert Fraction(finished["equity"]) == before - 2 * 3
    assert finished["outcome"] == "released"
