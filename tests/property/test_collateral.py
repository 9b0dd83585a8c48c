"""Collateral in random markets: cores in lockstep, breaches at exactly the price, any order."""

from __future__ import annotations

import random
from fractions import Fraction
from itertools import permutations
from typing import Any

import pytest
from support import CORES, oracle
from support.lockstep import Difference, Lockstep, explain_failure
from support.market import Desk
from support.universe import Pledged

from engine import Exchange

Command = dict[str, Any]
STEP = Fraction(1, 10**8)


@pytest.mark.parametrize("seed", range(16))
def test_cores_agree(seed: int) -> None:
    universe, lockstep = Pledged(seed), Lockstep()
    what: Difference | None = None
    try:
        for command in universe.opening():
            universe.observe(lockstep.apply(command))
        for number in range(250):
            universe.observe(lockstep.apply(universe.next()))
            if number % 5 == 0:
                lockstep.check()
                lockstep.compare_queries()
    except Difference as difference:
        what = difference
    if what is not None:
        pytest.fail(explain_failure(lockstep.log, what), pytrace=False)


def test_figures_and_prices_are_those_of_the_rules(core_name: str) -> None:
    looked_at = 0
    for seed in range(20, 30):
        universe, exchange = Pledged(seed), Exchange(core=core_name)
        for command in universe.opening():
            universe.observe(exchange.apply(command))
        for number in range(120):
            universe.observe(exchange.apply(universe.next()))
            if number % 5 == 0:
                looked_at += sum(
                    oracle.verify(exchange, account) for account in exchange.core.account_ids())
    assert looked_at > 200


def test_random_markets_breach_and_convert() -> None:
    """What is to be shown does happen: breaches by a price, conversions, and what is left."""
    seen = {"liquidation_started": 0, "margin_call": 0, "margin_call_cleared": 0,
            "collateral_converted": 0}
    for seed in range(80):
        universe, exchange = Pledged(seed), Exchange(core=CORES[-1])
        for command in universe.opening():
            universe.observe(exchange.apply(command))
        for _ in range(300):
            command = universe.next()
            events = exchange.apply(command)
            universe.observe(events)
            for event in events:
                by_price = command["cmd"] == "asset_price"
                if event["event"] in seen and (by_price or event["event"].startswith("coll")):
                    seen[event["event"]] += 1
    assert min(seen.values()) > 5, seen


def pledged_market(core_name: str, seed: int, order: tuple[int, ...] = (0, 1, 2)) -> Desk:
    """Account 1 is long BTC and short ETH, with hardly any money and three collateral assets."""
    draw = random.Random(seed)
    desk = Desk(Exchange(core=core_name))
    names = [("COIN", 3), ("GOLD", 0), ("SILVER", 8)]
    terms = {}
    for name, _ in names:
        terms[name] = (
            [{"max_amount": str(draw.randint(1, 30)), "weight": f"0.{draw.randint(50, 95)}"},
             {"max_amount": None, "weight": f"0.{draw.randint(10, 90)}"}],
            f"{draw.randint(1, 9)}.{draw.randint(0, 10**8 - 1):08d}", str(draw.randint(20, 60)))
    for at in order:
        name, decimals = names[at]
        tiers, price, _ = terms[name]
        desk.must("asset", asset=name, decimals=decimals)
        desk.must("collateral", asset=name, value_asset="USDT", tiers=tiers)
        desk.must("asset_price", asset=name, price=price)
    desk.symbol("BTC")
    desk.symbol("ETH")
    desk.account(1, deposit="10")
    desk.account(2)
    for at in order:
        name = names[at][0]
        desk.must("deposit", account=1, asset=name, amount=terms[name][2])
    desk.trade(1, 2, 15, 100)
    desk.trade(2, 1, 8, 100, "ETH")
    return desk


def equity(desk: Desk) -> Fraction:
    return Fraction(desk.ask("account", account=1)["equity"])


@pytest.mark.parametrize("seed", range(8))
def test_a_breach_is_found_at_exactly_its_price(core_name: str, seed: int) -> None:
    """The highest price at which the pool is due, by bisection; and not one step above it."""
    draw = random.Random(seed)
    name = draw.choice(("COIN", "GOLD", "SILVER"))

    def is_due(price: Fraction) -> bool:
        desk = pledged_market(core_name, seed)
        desk.mark("101")
        desk.mark("100")
        events = desk.must("asset_price", asset=name, price=text(price))
        return any(event["event"] == "liquidation_started" for event in events)

    desk = pledged_market(core_name, seed)
    high = Fraction(desk.ask("collateral", asset=name)["price"])
    needed = Fraction(desk.ask("account", account=1)["maintenance_margin"])
    low = STEP
    if not is_due(low):
        desk.must("asset_price", asset=name, price=text(low))
        assert equity(desk) > needed  # the others are enough
        return
    while high - low > STEP:
        middle = (high + low) / 2 // STEP * STEP
        if is_due(middle):
            low = middle
        else:
            high = middle
    # One market alone, step by step around it: what the index finds is what the figures say.
    desk = pledged_market(core_name, seed)
    for price in (high + 2 * STEP, high + STEP, high):
        assert not [event for event in desk.must("asset_price", asset=name, price=text(price))
                    if event["event"] == "liquidation_started"]
        assert equity(desk) > needed
    events = desk.must("asset_price", asset=name, price=text(low))
    started = next(event for event in events if event["event"] == "liquidation_started")
    assert Fraction(started["equity"]) <= needed


def text(price: Fraction) -> str:
    units = int(price / STEP)
    return f"{units // 10**8}.{units % 10**8:08d}"


@pytest.mark.parametrize("seed", range(4))
def test_the_order_of_assets_makes_no_difference(core_name: str, seed: int) -> None:
    """But for what is converted first: here nothing is."""
    figures = []
    for order in permutations(range(3)):
        desk = pledged_market(core_name, seed, order)
        draw = random.Random(seed)
        told = []
        for _ in range(60):
            if draw.random() < 0.4:
                events = desk.mark(str(draw.randint(97, 103)), draw.choice(("BTC", "ETH")))
            else:
                events = desk.must(
                    "asset_price", asset=draw.choice(("COIN", "GOLD", "SILVER")),
                    price=str(draw.randint(2, 9)))
            told.append([(event["event"], event.get("equity")) for event in events or ()])
            told.append([desk.ask("account", account=1)["assets"]["USDT"]])
        figures.append(told)
    assert all(told == figures[0] for told in figures)


@pytest.mark.parametrize("seed", range(10))
def test_what_may_be_withdrawn_is_exact(core_name: str, seed: int) -> None:
    """As much as leaves nothing less than nothing free; and not one minor unit more."""
    desk = pledged_market(core_name, seed)
    figures = desk.ask("account", account=1)["assets"]["USDT"]
    spare = Fraction(figures["available_margin"])
    for name, unit in (("COIN", "0.001"), ("GOLD", "1"), ("SILVER", "0.00000001")):
        twin = pledged_market(core_name, seed)
        held = Fraction(twin.ask("account", account=1)["balances"][name])
        low, high = 0, int(held / Fraction(unit)) + 1
        while high - low > 1:
            middle = (low + high) // 2
            twin = pledged_market(core_name, seed)
            events = twin.do("withdraw", account=1, asset=name,
                             amount=amount_text(middle, Fraction(unit)))
            if events and events[0]["event"] == "rejected":
                high = middle
            else:
                low = middle
        before = equity(desk)
        twin = pledged_market(core_name, seed)
        if low:
            twin.must("withdraw", account=1, asset=name, amount=amount_text(low, Fraction(unit)))
        assert before - equity(twin) <= spare
        if low * Fraction(unit) < held:
            refused = twin.do("withdraw", account=1, asset=name, amount=unit)
            assert refused[0]["reason"] == "insufficient_balance"


def amount_text(units: int, unit: Fraction) -> str:
    digits = len(str(unit.denominator)) - 1
    whole = str(units).rjust(digits + 1, "0")
    return f"{whole[:-digits]}.{whole[-digits:]}" if digits else whole


def decimal(draw: random.Random, decimals: int, bits: int) -> str:
    """A number of so many decimals and of any size up to so many bits."""
    return amount_text(
        draw.getrandbits(draw.randint(1, bits)) + 1, Fraction(1, 10**decimals))


@pytest.mark.parametrize("seed", range(150))
def test_cores_agree_on_every_grid(seed: int) -> None:
    """Any decimals, any price and amount in range: products of more than 128 bits as well."""
    draw = random.Random(seed)
    own, value = draw.randint(0, 18), draw.randint(0, 18)
    lockstep = Lockstep()
    size = min(own, draw.choice((0, 9, 18)))
    tiers = [{"max_amount": decimal(draw, own, 60), "weight": decimal(draw, 8, 26)},
             {"max_amount": None, "weight": "0.9"}]
    plain = [{"min_notional": "0", "max_notional": None, "maintenance_margin_rate": "0.1",
              "max_leverage": "5"}]
    commands: list[Command] = [
        {"cmd": "asset", "asset": "COIN", "decimals": own},
        {"cmd": "asset", "asset": "USD", "decimals": value},
        {"cmd": "instrument", "symbol": "X", "kind": "linear", "base": "X", "quote": "USD",
         "settle": "USD", "tick_size": "1", "lot_size": "1", "tiers": plain},
        {"cmd": "collateral", "asset": "COIN", "value_asset": "USD", "tiers": tiers,
         "conversion_threshold": draw.choice((None, "0", "3")),
         "conversion_fee": draw.choice(("0", "0.01", "0.1"))},
        {"cmd": "account", "account": 1},
        {"cmd": "mark", "symbol": "X", "mark_price": "1"},
        {"cmd": "deposit", "account": 1, "asset": "COIN", "amount": decimal(draw, own, 61)}]
    for _ in range(12):
        quantity = str(draw.randint(1, 10 ** min(9, 18 - value)))
        commands += draw.sample([
            {"cmd": "asset_price", "asset": "COIN", "price": decimal(draw, 8, 62)},
            {"cmd": "asset_price", "asset": "COIN", "price": decimal(draw, 8, 40)},
            {"cmd": "deposit", "account": 1, "asset": "COIN", "amount": decimal(draw, size, 40)},
            {"cmd": "withdraw", "account": 1, "asset": "COIN", "amount": decimal(draw, own, 60)},
            {"cmd": "fill", "account": 1, "symbol": "X", "quantity": quantity, "price": "1",
             "side": draw.choice(("buy", "sell")), "fee": decimal(draw, value, 50)},
            {"cmd": "mark", "symbol": "X", "mark_price": str(draw.randint(1, 3))}], 4)
    try:
        for command in commands:
            lockstep.apply(command)
            lockstep.check()
        lockstep.compare_queries()
        oracle.verify(lockstep.first, 1)
    except Difference as difference:
        pytest.fail(explain_failure(lockstep.log, difference), pytrace=False)
