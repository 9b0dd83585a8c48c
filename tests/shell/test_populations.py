"""Populations: what is stated is what the exchange holds; files keep them; seeds repeat them."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

from engine import Exchange
from engine.demo.market import declare_markets, plan_markets
from engine.errors import InputError, RunError
from engine.populations import (
    Plan,
    draw_population,
    load_population,
    read_parquet,
    read_plan,
    write_parquet,
)
from engine.populations.distributions import Distribution
from tests.shell.conftest import CORE

PRICES = {"BTCUSDT": "100000.5", "ETHUSDT": "3000.25"}
BANDS = [
    {"side": "long", "low": "95000", "high": "98000", "quantity": "10.5"},
    {"side": "long", "low": "80000", "high": "95000", "quantity": "50"},
    {"side": "short", "low": "101000", "high": "110000", "notional": "3000000"},
]
STATED = {
    "accounts": 3000, "long_share": 0.6,
    "symbols": {"BTCUSDT": {"weight": 3, "open_interest": "500", "liquidations": BANDS},
                "ETHUSDT": {"open_interest": "2000.5"}},
}


def market(core: str = CORE) -> Exchange:
    exchange = Exchange(core=core)
    for command in declare_markets(plan_markets(PRICES, [])):
        exchange.submit(command)
    marks = [(symbol, price, None, None) for symbol, price in PRICES.items()]
    exchange.apply_marks(marks, ts=1_760_000_000 * 10**9)
    exchange.drain()
    return exchange


def test_open_interest_and_liquidation_map_are_as_stated():
    exchange = market()
    accounts = draw_population(exchange, Plan.of(STATED))
    load_population(exchange, accounts)
    exchange.check()
    lot = exchange.instrument("BTCUSDT").lot
    assert accounts.open_interest(0) == (lot.units("500"),) * 2
    assert accounts.open_interest(1) == (exchange.instrument("ETHUSDT").lot.units("2000.5"),) * 2
    edges = ["80000", "95000", "98000", "100000", "101000", "110000"]
    buckets = exchange.liquidation_map("BTCUSDT", edges=edges)
    assert [(row["price_low"], row["side"]) for row in buckets] == [
        (800_000, 1), (950_000, 1), (1_010_000, 2)]
    assert buckets["quantity"][:2].tolist() == [lot.units("50"), lot.units("10.5")]
    # A notional is whole lots at the mark.
    assert abs(int(buckets["notional"][2]) - 3_000_000 * 10**6) < 10**6
    totals = exchange.totals()
    assert totals["positions"]["BTCUSDT"] == {"accounts": "0", "fund": "0", "external": "0"}
    assert totals["assets"]["USDT"]["drift"] == "0"
    assert exchange.query({"query": "liquidation_queue"})["entries"] == []


def test_what_is_drawn_follows_the_distributions():
    exchange = market()
    plan = Plan.of({
        "accounts": 20_000, "long_share": 0.7, "isolated_share": 0.25, "entry": "uniform:-0.02,0",
        "notional": "lognormal:5000,1", "leverage": "choice:2=1,5=1", "symbols": {"BTCUSDT": {}}})
    accounts = draw_population(exchange, plan)
    is_long = accounts.quantity > 0
    assert 0.69 < is_long.mean() < 0.71 and 0.23 < accounts.is_isolated.mean() < 0.27
    notional = np.abs(accounts.quantity) * 100_000.5 / 1e5
    assert 4_800 < np.median(notional) < 5_200
    entry = accounts.entry_value / np.abs(accounts.quantity)
    assert (entry <= 1_000_005 * 1.0001).all() and (entry >= 1_000_005 * 0.98).all()
    leverage = accounts.entry_value / accounts.deposit
    assert ((leverage < 2.1) | (leverage > 4.8)).all() and leverage.max() < 5.1


def test_a_seed_is_a_population():
    one, two = (draw_population(market(), Plan.of(STATED)) for _ in range(2))
    other = draw_population(market(), Plan.of({**STATED, "seed": 2}))
    assert one.fingerprint() == two.fingerprint() != other.fingerprint()


def test_both_cores_hold_the_same():
    pytest.importorskip("engine.core")
    hashes = set()
    for core in {CORE, "reference"}:
        exchange = market(core)
        load_population(exchange, draw_population(exchange, Plan.of({**STATED, "accounts": 200})))
        hashes.add(exchange.state_hash())
    assert len(hashes) == 1


@pytest.mark.skipif(CORE == "reference", reason="the plain core takes its time")
def test_a_hundred_thousand_accounts_take_a_moment():
    exchange = market()
    started = time.process_time()
    load_population(exchange, draw_population(exchange, Plan(account_count=100_000)))
    assert time.process_time() - started < 3  # 0.3 s; a million takes ten times that


def test_parquet_round_trip(tmp_path):
    pytest.importorskip("pyarrow")
    exchange, path = market(), str(tmp_path / "accounts.parquet")
    accounts = draw_population(exchange, Plan.of(STATED))
    write_parquet(exchange, accounts, path)
    assert read_parquet(exchange, path).fingerprint() == accounts.fingerprint()


def test_parquet_of_others(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    exchange, path = market(), str(tmp_path / "accounts.parquet")
    columns = {"symbol": ["BTCUSDT", "ETHUSDT"], "quantity": [0.5, -2.0],
               "entry_price": [100000.5, 3001.0], "deposit": [10_000, 900]}

    def write(**changes: list) -> None:
        parquet.write_table(arrow.table(columns | changes), path)

    write()
    accounts = read_parquet(exchange, path)
    assert accounts.account.tolist() == [1, 2]
    assert accounts.entry_value.tolist() == [50_000_250_000, 6_002_000_000]
    load_population(exchange, accounts)
    assert exchange.query({"query": "position", "account": 2, "symbol": "ETHUSDT"})["positions"][0][
        "entry_price"] == "3001"
    for change, reason in (
        ({"quantity": [0.5, 0.0]}, "row 2: quantity: is zero"),
        ({"quantity": [1e-9, 1.0]}, "row 1: quantity: not a multiple of its step: 1e-09"),
        ({"deposit": [float("nan"), 1.0]}, "row 1: deposit: not a number: nan"),
        ({"symbol": ["BTCUSDT", "X"]}, "row 2: symbol: no instrument 'X'"),
        ({"account": [7, 7]}, "an account is there twice"),
        ({"margin_mode": ["cross", "both"]}, "row 2: margin_mode: must be cross or isolated"),
    ):
        write(**change)
        with pytest.raises(InputError, match=reason):
            read_parquet(exchange, path)


@pytest.mark.parametrize("change, reason", [
    ({"accounts": 0}, "accounts must be a whole number from 1"),
    ({"acounts": 5}, "unknown field 'acounts'"),
    ({"long_share": 1.5}, "long_share must be between 0 and 1"),
    ({"leverage": "gauss:5"}, "leverage: not a distribution: 'gauss:5'"),
    ({"notional": "lognormal:nan,1"}, "notional: not a distribution"),
    ({"symbols": {"DOGE": {}}}, "DOGE: no such instrument"),
    ({"symbols": {"BTCUSDT": {"open_interest": 5.5}}}, "must be a decimal string, not 5.5"),
    ({"symbols": {"BTCUSDT": {"liquidations": []}, "X": 5}}, "X: expected an object"),
    ({"symbols": {"BTCUSDT": {"liquidations": BANDS}}}, "need the open_interest"),
    ({"symbols": {"BTCUSDT": {"open_interest": "5", "liquidations": BANDS}}},
     "bands hold more than the open interest by"),
    ({"symbols": {"BTCUSDT": {"open_interest": "0.00001"}}}, "lots are too few for"),
    ({"symbols": {"BTCUSDT": {"open_interest": "500", "liquidations": [
        BANDS[0] | {"side": "short"}]}}}, "is not on the losing side of the mark, 100000.5"),
    ({"symbols": {"BTCUSDT": {"open_interest": "500", "liquidations": [
        BANDS[0], BANDS[0] | {"low": "97000", "high": "99000"}]}}}, "two long bands overlap"),
    ({"accounts": 1, "symbols": {"BTCUSDT": {"open_interest": "500", "liquidations": BANDS}}},
     "too few for"),
])
def test_bad_plans(change, reason):
    with pytest.raises(InputError, match=reason):
        draw_population(market(), Plan.of({"accounts": 500, **change}))


def test_a_refused_population_says_why():
    exchange = market()
    accounts = draw_population(exchange, Plan(account_count=10))
    load_population(exchange, accounts)
    with pytest.raises(RunError, match="10 commands were refused, the first: account, already"):
        load_population(exchange, accounts)


@pytest.mark.parametrize("text, low, high", [
    ("5", 5, 5), ("uniform:1,2", 1, 2), ("normal:0,1,-0.5,0.5", -0.5, 0.5),
    ("lognormal:10,1,1,100", 1, 100), ("pareto:3,2", 3, 1e9), ("choice:2=1,7=3", 2, 7)])
def test_distributions(text, low, high):
    values = Distribution(text, "x").draw(2000, np.random.default_rng(1))
    assert low <= values.min() <= values.max() <= high and len(values) == 2000


def test_a_feed_meets_a_population(shell, tmp_path):
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"accounts": 60, "symbols": {"BTCUSDT": {
        "open_interest": "60", "liquidations": [
            {"side": "long", "low": "56000", "high": "59900", "quantity": "30"}]}}}))
    assert read_plan(str(plan)).account_count == 60
    feed = ("replay", "synthetic:seed=5,steps=120", "--in-process", "--core", shell.core)
    done = shell.run(*feed, "--population", str(plan))
    assert done.code == 0, done.err
    assert int(done.figures["accounts_breached"]) > 0 and done.figures["drift"] == "0"
    done = shell.run(*feed, "--population", "nowhere.json")
    assert done.code == 2 and done.only_error == (
        "error: nowhere.json: cannot open: no such file or directory")
