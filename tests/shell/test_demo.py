"""The demo, small: the same figures twice, a report that stands alone, honest labels."""

from __future__ import annotations

import os
import re
import time
from decimal import Decimal

import pytest

from engine.demo.makers import Makers
from engine.demo.market import Market, plan_companions, plan_markets, scaled_text
from engine.demo.population import Population, PopulationPlan
from engine.demo.process import ReplayProcess
from engine.demo.run import DemoOptions, plan_feed
from engine.errors import RunError
from engine.feeds import FeedSummary

FIRST_PRICES = {"BTCUSDT": "60003.3", "ETHUSDT": "3000.2", "SOLUSDT": "150.01"}


def markets() -> list[Market]:
    return plan_markets(FIRST_PRICES, [])


# --- the whole of it ------------------------------------------------------------------


def test_small_demo_twice_gives_the_same_state(shell, tmp_path):
    size = ("30", "450") if shell.core == "reference" else ("800", "2400")
    runs = [
        shell.start("--accounts", size[0], "--marks", size[1], "--seed", "3", "--core",
                    shell.core, "--out", f"out{n}", module="engine.demo")
        for n in range(2)
    ]
    done = [shell.finish(run) for run in runs]
    assert [run.code for run in done] == [0, 0], done[0].err
    assert done[0].err == ""
    last = done[0].out.splitlines()[-2:]
    assert last[0] == "drift  0" and re.fullmatch(r"state_hash  [0-9a-f]{32,}", last[1])
    assert done[1].out.splitlines()[-2:] == last
    figures = done[0].figures
    assert "synthetic" in figures["feed"]
    assert int(figures["marks"].replace(",", "")) == int(size[1])
    assert int(figures["accounts_breached"].replace(",", "")) > 0
    page = (tmp_path / "out0" / "report.html").read_text()
    assert "A synthetic crash" in page and last[1].split()[1] in page
    assert "{{" not in page.split("</script>")[-2].split("<script>")[0]
    # Self-contained: nothing is loaded from anywhere.
    assert not re.search(r"""<(?:script|link|img)[^>]+(?:src|href)\s*=""", page)


def test_recorded_feed_gets_companions_that_say_derived(shell, real_data, tmp_path):
    feed = real_data / "oct10" / "BTCUSD_PERP-1m-2025-10-10.zip"
    size = ("20", "300") if shell.core == "reference" else ("1000", "17280")
    done = shell.run("--feed", str(feed), "--accounts", size[0], "--marks", size[1], "--core",
                     shell.core, module="engine.demo")
    assert done.code == 0, done.err
    title = done.figures["feed"]
    assert title.startswith("BTCUSD_PERP-1m-2025-10-10.zip + DERIVED-1.35x, DERIVED-1.70x")
    assert "(derived)" in title and "synthetic" not in title
    page = (tmp_path / "out" / "demo" / "report.html").read_text()
    assert "A crash from BTCUSD_PERP-1m-2025-10-10.zip" in page and "no data of its own" in page


@pytest.mark.parametrize(("arguments", "message"), [
    (("--feed", "nowhere.zip"), "nowhere.zip: cannot open: no such file"),
    (("--accounts", "0"), "Invalid value for '--accounts'"),
    (("--core", "other"), "--core other: expected"),
    (("--out", "file/x"), "--out file/x: not a directory"),
])
def test_wrong_input(shell, tmp_path, arguments, message):
    (tmp_path / "file").write_text("")
    done = shell.run("--core", "reference", *arguments, module="engine.demo")
    assert done.code == 2
    assert done.only_error.startswith(f"error: {message}")


def test_a_publisher_that_fails_is_heard_and_one_that_waits_is_ended():
    with ReplayProcess(["nowhere.zip"]) as process:
        deadline = time.monotonic() + 20
        with pytest.raises(RunError, match=r"code 2: error: nowhere.zip: cannot open"):
            while time.monotonic() < deadline:
                process.require_alive()
                time.sleep(0.05)
    with ReplayProcess(["synthetic"]) as process:
        process.require_alive()
        pid = process.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


# --- its parts ------------------------------------------------------------------------


def test_instruments_fit_the_price_they_start_from():
    for price in ("0.00001234", "0.337", "1", "28.41", "121662", "98765432.1"):
        market = plan_markets({"X": price}, [])[0]
        tick = Decimal(1).scaleb(market.tick_exponent)
        lot = Decimal(1).scaleb(market.lot_exponent)
        assert Decimal("0.00001") <= tick / Decimal(price) * 10 <= Decimal("0.0001")
        assert 1 <= lot * Decimal(price) < 10
        assert market.lot_value_minor == tick * lot * 10**6
        assert abs(market.first_price - Decimal(price)) <= tick / 10


def test_tiers_are_a_schedule():
    for market in markets():
        caps = [tier.max_notional for tier in market.tiers]
        assert len(caps) == 10 and caps[-1] is None
        assert caps[:-1] == sorted(caps[:-1])
        rates = [Decimal(tier.maintenance_rate) for tier in market.tiers]
        assert rates == sorted(rates)
        for tier, rate in zip(market.tiers, rates, strict=True):
            assert rate * tier.max_leverage <= 1


def test_population_is_what_the_plan_says_and_never_changes():
    population = Population(PopulationPlan(account_count=5000, seed=1), markets())
    commands = list(population.commands())
    facts = population.facts
    assert commands == list(Population(PopulationPlan(5000, 1), markets()).commands())
    assert commands != list(Population(PopulationPlan(5000, 2), markets()).commands())
    assert 0.57 < facts.cross_count / 5000 < 0.63
    assert 0.57 < facts.long_count / facts.position_count < 0.66
    assert 1.4 < facts.position_count / 5000 < 1.6
    leverage = sum(facts.open_value_minor.values()) / facts.deposits_minor
    assert 3 < leverage < 20
    assert commands[:4] == [
        {"cmd": "account", "account": 1, "margin_mode": "cross"},
        {"cmd": "deposit", "account": 1, "asset": "USDT", "amount": "36.087443"},
        {"cmd": "leverage", "account": 1, "symbol": "ETHUSDT", "leverage": "53"},
        {"cmd": "fill", "account": 1, "symbol": "ETHUSDT", "side": "sell", "quantity": "0.64",
         "price": "2994.13"},
    ]


def test_every_account_starts_with_margin_to_spare():
    """Deposits cover maintenance at the first mark, with the worst entry there is."""
    by_symbol = {market.symbol: market for market in markets()}
    equity: dict[int, Decimal] = {}
    needed: dict[int, Decimal] = {}
    for command in Population(PopulationPlan(3000, 9), markets()).commands():
        account = command["account"]
        if command["cmd"] == "deposit":
            equity[account] = Decimal(command["amount"])
        elif command["cmd"] == "fill":
            market = by_symbol[command["symbol"]]
            quantity, price = Decimal(command["quantity"]), Decimal(command["price"])
            sign = 1 if command["side"] == "buy" else -1
            equity[account] += sign * quantity * (market.first_price - price)
            notional = quantity * market.first_price
            tier = next(t for t in market.tiers
                        if t.max_notional is None or notional <= t.max_notional)
            needed[account] = needed.get(account, Decimal(0)) + notional * Decimal(
                tier.maintenance_rate)
    assert all(equity[account] > need for account, need in needed.items())


def test_makers_thin_out_when_the_mark_runs_and_come_back():
    market = markets()[:1]
    makers = Makers(market, {"BTCUSDT": 10**15})

    def depth(mark: str) -> Decimal:
        return sum((Decimal(command["quantity"]) for command in makers.quote_commands(
            {"BTCUSDT": mark}) if command["cmd"] == "order"), Decimal(0))

    calm = depth("60000")
    after_a_fall = depth("59000")
    assert after_a_fall < calm / 10
    recovered = after_a_fall
    for _ in range(40):
        recovered = depth("59000")
    assert recovered > calm * Decimal("0.9")


def test_makers_never_cross_themselves():
    makers = Makers(markets(), dict.fromkeys(FIRST_PRICES, 10**15))
    bids, asks = [], []
    for command in makers.quote_commands(FIRST_PRICES):
        if command["cmd"] == "order" and command["symbol"] == "BTCUSDT":
            (bids if command["side"] == "buy" else asks).append(Decimal(command["price"]))
    assert max(bids) < Decimal(FIRST_PRICES["BTCUSDT"]) < min(asks)


def test_companions_fill_up_to_three():
    for symbols, expected in ((["A"], 2), (["A", "B"], 1), (["A", "B", "C", "D"], 0)):
        summary = FeedSummary(first_prices=dict.fromkeys(symbols, "100"))
        derived = plan_companions(summary)
        assert len(derived) == expected
        assert all(spec.symbol.startswith("DERIVED-") and spec.source == "A" for spec in derived)


def test_a_shorter_synthetic_run_is_the_whole_crash():
    feed = plan_feed(DemoOptions(mark_limit=600))
    assert (feed.summary.step_count, feed.summary.mark_count) == (200, 600)
    assert feed.title == "synthetic feed (synthetic:seed=1,steps=200)"


def test_scaled_text():
    assert [scaled_text(25, exponent) for exponent in (-3, -1, 0, 2)] == [
        "0.025", "2.5", "25", "2500"]
