"""Inverse contracts: prices found by trying every mark, triggers that fire there, a linear twin."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

import pytest
from support import oracle
from support.lockstep import Lockstep
from support.universe import SCHEDULES, Coarse, tier_rows

from engine import Exchange

Command = dict[str, Any]


def whole_tiers(draw: random.Random) -> list[Command]:
    return [
        row | {name: row[name] and row[name].split(".")[0]
               for name in ("min_notional", "max_notional")}
        for row in tier_rows(draw.choice(SCHEDULES))]


def portfolio(draw: random.Random, *, has_legs: bool = False) -> list[Command]:
    """An account with positions in some symbols that settle in one asset, in whole units of it.

    `has_legs`: a hedge account with long and short in each.
    """
    log: list[Command] = [{"cmd": "asset", "asset": "BTC", "decimals": draw.choice((0, 0, 1, 3))}]
    symbols = ["A", "B", "C"][: draw.randint(1, 3)]
    for symbol in symbols:
        is_linear = symbol == "C" and draw.random() < 0.5
        size = "1" if is_linear else str(draw.choice((2000, 7777, 10000, 27720, 30000, 720720)))
        log += [
            {"cmd": "instrument", "symbol": symbol, "kind": "linear" if is_linear else "inverse",
             "base": "BTC", "quote": "USD", "settle": "BTC", "tick_size": "1", "lot_size": "1",
             "contract_size": size, "tier_rule": draw.choice(("marginal", "whole")),
             "tiers": whole_tiers(draw)},
            {"cmd": "mark", "symbol": symbol, "mark_price": str(draw.randint(20, 600))}]
    mode = draw.choice(("cross", "cross", "isolated"))
    log += [{"cmd": "account", "account": 1, "margin_mode": mode,
             "position_mode": "hedge" if has_legs else "one_way"},
            {"cmd": "deposit", "account": 1, "asset": "BTC",
             "amount": str(draw.randint(1, draw.choice((100, 1000, 5000))))}]
    for symbol in symbols:
        for leg in ("long", "short") if has_legs else (None,):
            side = "sell" if leg == "short" or (leg is None and draw.random() < 0.5) else "buy"
            log.append({"cmd": "fill", "account": 1, "symbol": symbol, "side": side,
                        "quantity": str(draw.randint(1, 12)), "price": str(draw.randint(80, 120)),
                        "position_side": leg})
    return log


def built(core_name: str, log: list[Command], halt: bool) -> Exchange:
    """The exchange after these commands; halted: what is due is not closed."""
    exchange = Exchange(core=core_name)
    for command in log:
        exchange.apply(command)
        if halt and command["cmd"] == "instrument":
            exchange.apply({"cmd": "halt", "symbol": command["symbol"], "mode": "no_liquidation"})
    return exchange


@pytest.mark.parametrize("has_legs", [False, True])
def test_prices_are_those_found_by_trying_every_mark(core_name: str, *, has_legs: bool) -> None:
    looked_at = 0
    for seed in range(20 if has_legs else 50):
        log = portfolio(random.Random(seed), has_legs=has_legs)
        looked_at += oracle.verify(built(core_name, log, halt=True), 1)
    assert looked_at > 60


def started(events: list[dict[str, Any]]) -> bool:
    return any(event["event"] == "liquidation_started" for event in events)


def marked(exchange: Exchange, symbol: str, mark: Fraction) -> list[dict[str, Any]]:
    return exchange.apply({"cmd": "mark", "symbol": symbol, "mark_price": str(mark)})


@pytest.mark.parametrize("has_legs", [False, True])
def test_liquidation_begins_at_the_price_told(core_name: str, *, has_legs: bool) -> None:
    """Whatever the way there: in one leap, or past marks at which nothing is due."""
    begun = 0
    for seed in range(100):
        draw = random.Random(1000 + seed)
        log = portfolio(draw, has_legs=has_legs)
        exchange = built(core_name, log, halt=False)
        reply = exchange.query({"query": "account", "account": 1})
        for position in reply["positions"]:
            told, mark = position["liquidation_price"], Fraction(position["mark_price"])
            if told is None or reply["status"] == "liquidating":
                continue
            price, fresh = Fraction(told), built(core_name, log, halt=False)
            step = 1 if price > mark else -1
            between = sorted({mark + step * draw.randint(1, max(1, int(abs(price - mark)) - 1))
                              for _ in range(5)} | {price - step}, reverse=step < 0)
            for each in between:
                if (price - each) * step > 0 and each > 0:
                    assert not started(marked(fresh, position["symbol"], each)), (seed, each)
                    fresh.core.check()
            assert started(marked(fresh, position["symbol"], price)), (seed, position)
            begun += 1
    assert begun > 60


@pytest.mark.parametrize("size", ["1", "997", "1000000000"])
@pytest.mark.parametrize("mark", [1, 2, 10**9])
@pytest.mark.parametrize("side", ["buy", "sell"])
def test_extremes(size: str, mark: int, side: str) -> None:
    """One lot, at the lowest mark, at a very high one: both cores agree, at every next mark."""
    lockstep = Lockstep()
    log: list[Command] = [
        {"cmd": "asset", "asset": "BTC", "decimals": 8},
        {"cmd": "instrument", "symbol": "A", "kind": "inverse", "base": "BTC", "quote": "USD",
         "settle": "BTC", "tick_size": "1", "lot_size": "1", "contract_size": size,
         "tiers": tier_rows(SCHEDULES[0])},
        {"cmd": "mark", "symbol": "A", "mark_price": str(mark)},
        {"cmd": "account", "account": 1}, {"cmd": "account", "account": 9},
        {"cmd": "deposit", "account": 1, "asset": "BTC", "amount": "0.00000002"},
        {"cmd": "deposit", "account": 9, "asset": "BTC", "amount": "1000"},
        {"cmd": "order", "account": 9, "symbol": "A", "order_id": 1, "type": "limit",
         "side": "buy" if side == "sell" else "sell", "quantity": "1", "price": str(mark)},
        {"cmd": "order", "account": 1, "symbol": "A", "order_id": 1, "type": "market",
         "side": side, "quantity": "1"},
        {"cmd": "fill", "account": 1, "symbol": "A", "side": side, "quantity": "1",
         "price": str(mark)}]
    log += [{"cmd": "mark", "symbol": "A", "mark_price": str(price)}
            for price in (mark + 1, mark, max(1, mark - 1), 3, 10**9, 4 * 10**18, 1, 10**6)]
    for command in log:
        lockstep.apply(command)
        lockstep.check()
        lockstep.compare_queries()


@pytest.mark.parametrize("seed", range(8))
def test_cores_agree_where_every_rounding_is_felt(seed: int) -> None:
    universe, lockstep = Coarse(seed), Lockstep()
    for command in universe.opening():
        universe.observe(lockstep.apply(command))
    for number in range(250):
        universe.observe(lockstep.apply(universe.next()))
        if number % 10 == 0:
            lockstep.check()
            lockstep.compare_queries()


# --- the linear twin ------------------------------------------------------------------

#: Prices at which a contract of 27,720 is worth a whole number; the twin's price is that.
PRICES = (20, 21, 22, 24, 28, 30, 33, 35, 36)
CONTRACT = 27_720


def twin(command: Command) -> Command:
    """The same for a linear contract: what is bought in the quote is sold in the base."""
    mirrored = dict(command)
    if command["cmd"] == "instrument":
        mirrored |= {"kind": "linear", "contract_size": "1"}
    if "side" in command:
        mirrored["side"] = "sell" if command["side"] == "buy" else "buy"
    for name in ("price", "mark_price"):
        if name in command:
            mirrored[name] = str(CONTRACT // int(command[name]))
    if "rate" in command:
        mirrored["rate"] = command["rate"].lstrip("-") if command["rate"].startswith("-") else (
            "-" + command["rate"])
    return mirrored


def trading(draw: random.Random) -> list[Command]:
    tiers = [{"min_notional": "0", "max_notional": "9000", "maintenance_margin_rate": "0.005",
              "max_leverage": "5"},
             {"min_notional": "9000", "max_notional": "20000", "maintenance_margin_rate": "0.01",
              "max_leverage": "2"}]
    log: list[Command] = [
        {"cmd": "asset", "asset": "BTC", "decimals": 0},
        {"cmd": "instrument", "symbol": "A", "kind": "inverse", "base": "BTC", "quote": "USD",
         "settle": "BTC", "tick_size": "1", "lot_size": "1", "contract_size": str(CONTRACT),
         "taker_fee": "0.0007", "maker_fee": draw.choice(("-0.0003", "0.0003")), "tiers": tiers},
        {"cmd": "mark", "symbol": "A", "mark_price": "28"}]
    for account in (1, 2, 3):
        log += [{"cmd": "account", "account": account,
                 "margin_mode": draw.choice(("cross", "isolated"))},
                {"cmd": "leverage", "account": account, "symbol": "A",
                 "leverage": draw.choice(("1", "2"))},
                {"cmd": "deposit", "account": account, "asset": "BTC",
                 "amount": str(draw.randint(5000, 40000))}]
    for number in range(1, 150):
        order = {"account": draw.randint(1, 3), "symbol": "A"}
        side, quantity = draw.choice(("buy", "sell")), str(draw.randint(1, 6))
        price = str(draw.choice(PRICES))
        log.append(draw.choice([
            *[order | {"cmd": "order", "order_id": number, "side": side, "type": "limit",
                       "quantity": quantity, "price": price}] * 6,
            order | {"cmd": "order", "order_id": number, "side": side, "type": "market",
                     "quantity": quantity},
            order | {"cmd": "order", "order_id": number, "side": side, "type": "limit",
                     "quantity": quantity, "price": price, "reduce_only": True},
            order | {"cmd": "order", "order_id": number, "side": side, "type": "limit",
                     "quantity": quantity, "price": price, "time_in_force": "fok"},
            order | {"cmd": "amend", "order_id": draw.randint(1, number), "price": price},
            {"cmd": "funding", "symbol": "A", "rate": draw.choice(("0.001", "-0.0007"))},
            {"cmd": "mark", "symbol": "A", "mark_price": price},
            {"cmd": "cancel_all", "account": order["account"]}]))
    return log


def figures(exchange: Exchange) -> list[Any]:
    """What must be the same: money, margins, and positions but for their sign and prices."""
    told: list[Any] = []
    for account in (1, 2, 3):
        reply = exchange.query({"query": "account", "account": account})
        told += [reply.get("status"), reply.get("assets")]
        for position in reply.get("positions", ()):
            told.append([abs(Fraction(position["quantity"])), *(position[name] for name in (
                "entry_value", "notional", "unrealized_pnl", "isolated_margin", "initial_margin",
                "maintenance_margin", "margin_ratio", "tier", "adl_rank"))])
    return told


def test_where_nothing_rounds_it_is_a_linear_contract_the_other_way_round(core_name: str) -> None:
    trades = refusals = 0
    for seed in range(10):
        inverse, linear = Exchange(core=core_name), Exchange(core=core_name)
        for command in trading(random.Random(seed)):
            one, other = inverse.apply(command), linear.apply(twin(command))
            kinds = [(event["event"], event.get("reason")) for event in one]
            if any(kind == "liquidation_started" for kind, _ in kinds):
                break  # bounds are on another grid
            assert kinds == [(event["event"], event.get("reason")) for event in other], command
            assert figures(inverse) == figures(linear), command
            trades += kinds.count(("trade", None))
            refusals += ("rejected", "insufficient_margin") in kinds
    assert trades > 200, trades
    assert refusals > 40, refusals
