"""Liquidations under random profiles: every step is what the rules' text allows, no more.

The expectations come from `support.closing_oracle`, which knows events and queries only.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from support.closing_oracle import Books
from support.lockstep import as_scenario, minimise
from support.universe import PROFILE_CHOICES, SCHEDULES, sensible, tier_rows

from engine import Exchange

Command = dict[str, Any]

TRADERS = (1, 2, 3, 4, 5)
MAKERS = (8, 9)
SYMBOLS = ("A", "B", "C")
#: Left at their defaults: what the tests' books do not follow.
FIXED = (
    "fund_drawdown_limit", "fund_drawdown_window_ns", "fund_workoff", "fund_workoff_fraction",
    "fund_workoff_interval_ns", "adl", "fund_fallback", "backstop", "maker_check")


def profile(draw: random.Random) -> Command:
    """Some of what a profile may say."""
    return sensible({
        name: draw.choice(choices) for name, choices in PROFILE_CHOICES.items()
        if name not in FIXED and draw.random() < 0.6})


def opening(draw: random.Random) -> Iterator[Command]:
    yield {"cmd": "asset", "asset": "USD", "decimals": 2}
    for symbol in SYMBOLS:
        yield {"cmd": "instrument", "symbol": symbol, "kind": "linear", "base": symbol,
               "quote": "USD", "settle": "USD", "tick_size": "1",
               "mark_tick": draw.choice(("0.5", "1")), "lot_size": "1",
               "contract_size": draw.choice(("1", "1", "0.2")),
               "maker_fee": draw.choice(("0", "-0.0003", "0.0002")),
               "taker_fee": draw.choice(("0", "0.0005")),
               "liquidation_fee": draw.choice(("0", "0.005", "0.03")),
               "tier_rule": draw.choice(("marginal", "whole")),
               "tiers": tier_rows(draw.choice(SCHEDULES[:2] + SCHEDULES[6:])),
               "profile": profile(draw)}
    for account in TRADERS + MAKERS:
        yield {"cmd": "account", "account": account}
        amount = draw.randint(60, 300) if account in TRADERS else draw.choice((900, 5000, 50000))
        yield {"cmd": "deposit", "account": account, "asset": "USD", "amount": str(amount)}
        for symbol in SYMBOLS:
            yield {"cmd": "leverage", "account": account, "symbol": symbol,
                   "leverage": draw.choice(("5", "20", "20"))}
    if draw.random() < 0.7:
        yield {"cmd": "insurance", "asset": "USD", "amount": draw.choice(("3", "50", "1000"))}
    for symbol in SYMBOLS:
        yield {"cmd": "mark", "symbol": symbol, "mark_price": "100"}


def stream(draw: random.Random, count: int) -> Iterator[Command]:
    """Quotes around the mark, trades against them, jumps of the mark, time, halts, money."""
    marks, ts = dict.fromkeys(SYMBOLS, 100), 0
    depth = draw.choice((3, 8, 20))
    for number in range(count):
        symbol, what = draw.choice(SYMBOLS), draw.random()
        order = {"cmd": "order", "symbol": symbol, "order_id": 10 + number, "type": "limit",
                 "side": draw.choice(("buy", "sell")), "stp": "cancel_maker"}
        if what < 0.3:
            away = draw.randint(1, 6) * (-1 if order["side"] == "buy" else 1)
            yield order | {"account": draw.choice(MAKERS), "price": str(marks[symbol] + away),
                           "quantity": str(draw.randint(1, depth))}
        elif what < 0.45:
            yield order | {"account": draw.choice(TRADERS), "quantity": str(draw.randint(1, 15)),
                           "price": str(marks[symbol] + draw.randint(-3, 3))}
        elif what < 0.54:
            account = draw.choice(TRADERS)  # each has a side that it prefers
            is_long = (account % 2 == 1) == (draw.random() < 0.85)
            yield {"cmd": "fill", "account": account, "symbol": symbol,
                   "side": "buy" if is_long else "sell", "price": str(marks[symbol]),
                   "quantity": str(draw.randint(1, 20))}
        elif what < 0.76:
            step = draw.choice((-3, -2, -1, 1, 2, 3)) if draw.random() < 0.7 else draw.choice(
                (-15, -8, -5, 5, 8, 15))
            marks[symbol] = max(20, marks[symbol] + step + (100 - marks[symbol]) // 20)
            yield {"cmd": "mark", "symbol": symbol, "mark_price": str(marks[symbol])}
        elif what < 0.86:
            ts += draw.choice((1, 1, 2, 3, 10))
            yield {"cmd": "time", "ts": ts}
        elif what < 0.88:
            yield {"cmd": "cancel_all", "account": draw.choice(MAKERS), "symbol": symbol}
        elif what < 0.89:
            yield {"cmd": "halt", "symbol": symbol, "mode": "no_liquidation"}
        elif what < 0.92:
            yield {"cmd": "resume", "symbol": symbol}
        elif what < 0.93:
            yield {"cmd": "profile", "symbol": symbol, "profile": profile(draw)}
        else:
            yield {"cmd": draw.choice(("deposit", "deposit", "withdraw")), "asset": "USD",
                   "account": draw.choice(TRADERS), "amount": str(draw.randint(1, 90))}


def commands(seed: int, count: int) -> list[Command]:
    draw = random.Random(seed)
    return [*opening(draw), *stream(draw, count)]


def failure(core: str, log: list[Command]) -> str | None:
    books = Books(Exchange(core=core))
    try:
        for command in log:
            books.apply(command)
    except (AssertionError, KeyError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def watch(core: str, seed: int, count: int) -> Counter[str]:
    """Run a market; fail with the shortest list of commands that breaks a rule."""
    log = commands(seed, count)
    books = Books(Exchange(core=core))
    try:
        for command in log:
            books.apply(command)
    except (AssertionError, KeyError):
        shortest = minimise(log, lambda shorter: failure(core, list(shorter)) is not None)
        pytest.fail(f"{as_scenario(shortest)}\n\n{failure(core, shortest)}", pytrace=False)
    return books.seen


@cache
def seen_by(core: str, seed: int) -> Counter[str]:
    return watch(core, seed, 400)


@pytest.mark.parametrize("seed", range(10, 22))
def test_every_step_closes_what_its_profile_allows_and_no_more(core_name: str, seed: int) -> None:
    assert seen_by(core_name, seed)["breach"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 400))
def test_every_step_closes_what_its_profile_allows_for_long(core_name: str, seed: int) -> None:
    watch(core_name, seed, 1000)


def test_all_policies_bounds_and_slices_were_met() -> None:
    total: Counter[str] = Counter()
    for seed in range(10, 22):
        total += seen_by("compiled", seed)
    wanted = {
        *PROFILE_CHOICES["close_policy"], *PROFILE_CHOICES["order_bound"],
        *PROFILE_CHOICES["position_choice"], "share", "rate", "wait", "pause",
        "takeover", "adl", "fee", "losers closed", "breach"}
    assert {name for name in wanted if not total[name]} == set(), total


# --- one stuck account ------------------------------------------------------------------


def stuck_market(core: str, rules: Command) -> Exchange:
    """Account 1 has lost more than it had, and nobody pays that price; 2 to 6 are just due."""
    exchange = Exchange(core=core)
    tiers = [{"min_notional": "0", "max_notional": None, "maintenance_margin_rate": "0.005",
              "max_leverage": "20"}]
    log: list[Command] = [
        {"cmd": "asset", "asset": "USD", "decimals": 2},
        {"cmd": "instrument", "symbol": "A", "kind": "linear", "base": "A", "quote": "USD",
         "settle": "USD", "tick_size": "1", "lot_size": "1", "tiers": tiers, "profile": rules},
        {"cmd": "mark", "symbol": "A", "mark_price": "100"},
        {"cmd": "account", "account": 9},
        {"cmd": "deposit", "account": 9, "asset": "USD", "amount": "1000000"},
        {"cmd": "order", "account": 9, "symbol": "A", "order_id": 1, "side": "buy",
         "type": "limit", "quantity": "1000", "price": "90"}]
    for account in range(1, 7):
        log += [
            {"cmd": "account", "account": account},
            {"cmd": "deposit", "account": account, "asset": "USD",
             "amount": "900" if account == 1 else "1040"},
            {"cmd": "fill", "account": account, "symbol": "A", "side": "buy",
             "quantity": "100", "price": "100"}]
    for command in log:
        assert exchange.apply(command)[0]["event"] != "rejected", command
    return exchange


@pytest.mark.parametrize("rules", [
    {"steps_per_command": 1},
    {"steps_per_command": 1, "close_policy": "full", "order_bound": "fillable",
     "unfilled": "wait"},
    {"steps_per_command": 1, "close_policy": "fraction", "fraction": "0.5", "cooldown_ns": 0},
    {"steps_per_command": 1, "close_policy": "ramp", "ramp_ns": 3, "ramp_steps": 3},
    {"close_policy": "full", "slice_rate": "2000", "slice_interval_ns": 2},
    {"steps_per_command": 1, "close_policy": "full", "slice_max_share": "0.05",
     "slice_interval_ns": 1},
], ids=lambda rules: "-".join(rules))
def test_one_stuck_account_starves_nobody(core_name: str, rules: Command) -> None:
    exchange = stuck_market(core_name, rules)
    finished: set[int] = set()
    served: list[int] = []
    for ts in range(1, 60):
        for event in exchange.apply(
                {"cmd": "mark", "symbol": "A", "mark_price": "90", "ts": ts}):
            if event["event"] == "liquidation_step" and event["filled"] != "0":
                served.append(event["account"])
            if event["event"] == "liquidation_finished":
                finished.add(event["account"])
    assert set(served[:5]) == {2, 3, 4, 5, 6}, "not everybody had a turn before the second"
    assert finished == {2, 3, 4, 5, 6}
    queue = exchange.query({"query": "liquidation_queue"})["entries"]
    assert [entry["account"] for entry in queue] == [1]
