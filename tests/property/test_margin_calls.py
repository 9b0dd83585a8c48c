"""What a margin call says would end it, tried: it does, and one unit less does not."""

from __future__ import annotations

import random
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import pytest
from support import CORES
from support.universe import SCHEDULES, tier_rows

from engine import Exchange

Command = dict[str, Any]
SYMBOLS = ("A", "B", "C")
LEVELS = (["0.8"], ["0.3", "0.5", "0.9"], ["0.05", "0.2"], ["0.6", "0.99999999"])


def portfolio(chance: random.Random) -> list[Command]:
    """Commands after which account 1 holds a few positions, and one mark more."""
    pick = chance.choice
    commands: list[Command] = [{"cmd": "asset", "asset": "USD", "decimals": 2}]
    symbols = SYMBOLS[: chance.randint(1, 3)]
    for symbol in symbols:
        commands += [
            {"cmd": "instrument", "symbol": symbol, "kind": "linear", "base": symbol,
             "quote": "USD", "settle": "USD", "tick_size": "1", "mark_tick": "0.5",
             "lot_size": pick(("1", "0.1")), "tiers": tier_rows(pick(SCHEDULES)),
             "tier_rule": pick(("marginal", "whole"))},
            {"cmd": "mark", "symbol": symbol, "mark_price": "100"}]
    mode = pick(("one_way", "one_way", "hedge"))
    commands += [
        {"cmd": "account", "account": 1, "margin_mode": pick(("cross", "cross", "isolated")),
         "position_mode": mode, "margin_call_levels": pick(LEVELS),
         "margin_call_hysteresis": pick(("0", "0.00000001", "0.04"))},
        {"cmd": "deposit", "account": 1, "asset": "USD", "amount": str(chance.randint(50, 900))}]
    for symbol in symbols:
        for side in (pick(("buy", "sell")),) if mode == "one_way" else ("buy", "sell"):
            leg = {"position_side": "long" if side == "buy" else "short"}
            commands.append({
                "cmd": "fill", "account": 1, "symbol": symbol, "side": side,
                "quantity": str(chance.randint(1, 25)), "price": str(chance.randint(95, 105))}
                | (leg if mode == "hedge" else {}))
    for _ in range(12):
        commands.append({
            "cmd": "mark", "symbol": pick(symbols),
            "mark_price": str(Fraction(chance.randint(150, 250), 2).limit_denominator())})
    return [command | {"mark_price": decimal(command["mark_price"])}
            if command["cmd"] == "mark" else command for command in commands]


def decimal(text: str) -> str:
    return str(Fraction(text).numerator) if "/" not in text else f"{int(Fraction(text))}.5"


def replayed(core: str, log: list[Command], last: Command) -> list[Command]:
    exchange = Exchange(core=core)
    for command in log:
        exchange.apply(command)
    events = exchange.apply(last)
    assert [event for event in events if event["event"] == "rejected"] == [], (last, events)
    return events


def is_cleared(core: str, log: list[Command], last: Command, call: Command) -> bool:
    return any(
        event["event"] == "margin_call_cleared" and event["level"] == call["level"]
        and event["symbol"] == call["symbol"]
        and (call["symbol"] is None or event["position_side"] == call["position_side"])
        for event in replayed(core, log, last))


def try_collateral(core: str, log: list[Command], call: Command) -> None:
    least = Fraction(call["collateral_needed"])
    if call["symbol"] is not None:
        equity, maintenance = (Fraction(call[name]) for name in ("equity", "maintenance_margin"))
        assert equity + least > maintenance
        return
    for amount, helps in ((least, True), (least - Fraction(1, 100), False)):
        if amount:
            last = {"cmd": "deposit", "account": 1, "asset": "USD",
                    "amount": f"{int(amount * 100) // 100}.{int(amount * 100) % 100:02}"}
            assert is_cleared(core, log, last, call) is helps, (log, last, call)


def try_closing(core: str, log: list[Command], call: Command) -> None:
    symbol, least = call["symbol_to_close"], call["quantity_to_close"]
    exchange = Exchange(core=core)
    for command in log:
        exchange.apply(command)
    positions = exchange.query({"query": "account", "account": 1})["positions"]
    position = next(each for each in positions if (each["symbol"], each["position_side"]) == (
        symbol, call["position_side"]))
    leg = {} if call["position_side"] == "both" else {"position_side": call["position_side"]}
    lot = exchange.instrument(symbol).lot
    held = abs(lot.units(position["quantity"]))
    most = max(Fraction(each["maintenance_margin"]) for each in positions
               if call["symbol"] is None or each is position)
    assert Fraction(position["maintenance_margin"]) == most, (call, positions)
    lots = held + 1 if least is None else lot.units(least)
    for tried, helps in ((lots, True), (lots - 1, False)):
        is_part = 0 < tried < held
        if 0 < tried <= held and not (is_part and call["symbol"] is not None):
            last = {"cmd": "fill", "account": 1, "symbol": symbol, "quantity": lot.text(tried),
                    "side": "buy" if position["quantity"].startswith("-") else "sell",
                    "price": position["mark_price"]} | leg
            assert is_cleared(core, log, last, call) is helps, (log, last, call)


@pytest.mark.parametrize("core", CORES)
def test_what_would_end_a_call_does(core: str) -> None:
    tried = 0
    for seed in range(150):
        log = portfolio(random.Random(seed))
        exchange = Exchange(core=core)
        for number, command in enumerate(log, start=1):
            events = exchange.apply(command)
            kinds = {event["event"] for event in events}
            if "liquidation_started" in kinds:
                break
            for call in events:
                if call["event"] == "margin_call":
                    try_collateral(core, log[:number], call)
                    try_closing(core, log[:number], call)
                    tried += 1
    assert tried > 100


def crossings(chance: random.Random) -> Iterator[Command]:
    """Cross positions over symbols of several profiles, of like size, and ticks of their marks."""
    pick = chance.choice
    yield {"cmd": "asset", "asset": "USD", "decimals": 2}
    marks = dict.fromkeys(SYMBOLS, 100)
    for symbol in SYMBOLS:
        yield {"cmd": "instrument", "symbol": symbol, "kind": "linear", "base": symbol,
               "quote": "USD", "settle": "USD", "tick_size": "1", "lot_size": "1",
               "tiers": tier_rows(((None, "0.02", "20"),)), "profile": levels_drawn(chance)}
        yield {"cmd": "mark", "symbol": symbol, "mark_price": "100"}
    for account in (1, 2, 3):
        yield {"cmd": "account", "account": account}
        yield {"cmd": "deposit", "account": account, "asset": "USD",
               "amount": str(chance.randint(80, 400))}
        for symbol in SYMBOLS:
            yield {"cmd": "fill", "account": account, "symbol": symbol,
                   "side": pick(("buy", "sell")), "quantity": str(chance.randint(10, 12)),
                   "price": "100"}
    for _ in range(80):
        symbol = pick(SYMBOLS)
        if chance.random() < 0.05:
            yield {"cmd": "profile", "symbol": symbol, "profile": levels_drawn(chance)}
        elif chance.random() < 0.1:
            yield {"cmd": "fill", "account": pick((1, 2, 3)), "symbol": symbol, "quantity": "1",
                   "side": pick(("buy", "sell")), "price": str(marks[symbol])}
        elif chance.random() < 0.02:
            yield {"cmd": "margin_call_levels", "account": 3, "levels": pick(LEVELS),
                   "hysteresis": "0.01"}
        else:
            marks[symbol] += pick((-2, -1, 1, 2))
            yield {"cmd": "mark", "symbol": symbol, "mark_price": str(marks[symbol])}


def levels_drawn(chance: random.Random) -> Command | None:
    return chance.choice((None, *(
        {"margin_call_levels": levels, "margin_call_hysteresis": "0.01"} for levels in LEVELS)))


def ruling_levels(exchange: Exchange, account: int) -> tuple[list[str], Fraction]:
    """By the text of the rules: those of the position with the largest requirement."""
    positions = exchange.query({"query": "account", "account": account})["positions"]
    first = max(positions, key=lambda each: Fraction(each["maintenance_margin"]))
    profile = exchange.query({"query": "instrument", "symbol": first["symbol"]})["profile"]
    return profile["margin_call_levels"], Fraction(profile["margin_call_hysteresis"])


@pytest.mark.parametrize("core", CORES)
def test_a_pool_goes_by_the_profile_that_rules_at_every_tick(core: str) -> None:
    changes = 0
    for seed in range(25):
        exchange = Exchange(core=core)
        called: dict[int, list[str]] = {1: [], 2: [], 3: []}
        own: dict[int, tuple[list[str], Fraction]] = {}
        ruled: dict[int, list[str]] = {}
        for command in crossings(random.Random(seed)):
            for event in exchange.apply(command):
                if event["event"] == "margin_call":
                    called[event["account"]].append(event["level"])
                elif event["event"] == "margin_call_cleared":
                    assert called[event["account"]].pop() == event["level"]
                elif event["event"] == "margin_call_levels_set":
                    own[event["account"]] = event["levels"], Fraction(event["hysteresis"])
            exchange.check()
            for account, levels in called.items():
                state = exchange.query({"query": "account", "account": account})
                if (state.get("status") not in ("active", "margin_call")
                        or not state["positions"]):
                    continue
                asked, width = own.get(account) or ruling_levels(exchange, account)
                equity, needed = (
                    Fraction(state[name]) for name in ("equity", "maintenance_margin"))
                assert levels == asked[: len(levels)], (command, asked)
                assert all(needed >= (Fraction(each) - width) * equity for each in levels)
                assert all(needed < Fraction(each) * equity for each in asked[len(levels) :])
                is_by_tick = command["cmd"] == "mark" and account not in own
                changes += is_by_tick and ruled.get(account, asked) != asked and bool(levels)
                ruled[account] = asked
    assert changes > 40
