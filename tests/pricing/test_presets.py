"""Presets are whole: each gives a symbol that runs; figures are those of venue pages."""

from __future__ import annotations

from decimal import Decimal

import pytest
from support.pricing import Feed, of, sources

from engine.errors import InputError
from engine.pricing import PRESETS, preset
from engine.pricing.scale import HOUR_NS, SECOND_NS


@pytest.mark.parametrize("name", PRESETS)
def test_each_makes_marks_and_settles(name: str) -> None:
    made = preset(name).symbol(
        "BTC", "0.1", sources("A", "B", "C"), impact_notional="10000", initial_rate="0.01",
        maintenance_rate="0.005")
    feed = Feed(made)
    for second in (-60, -57):
        for source, price in zip("ABC", (60_000, 60_010, 60_020), strict=True):
            feed.source(second, price, source)
        feed.book(second, [("60020", "9")], [("60021", "9")])
        feed.trade(second, "60020.5")
    feed.until(60)
    marks = of(feed.commands, "mark")
    assert len(marks) >= 4
    assert all(60_000 <= Decimal(command["mark_price"]) <= 60_021 for command in marks)
    assert len(of(feed.commands, "funding")) == 1
    assert preset(name).source
    assert preset(name).differs


@pytest.mark.parametrize(
    ("name", "count", "window_s"), [("binance_usdm", 30, 150), ("bybit_linear", 300, 300)])
def test_samples_of_the_basis(name: str, count: int, window_s: int) -> None:
    # venue_rules 1.3: 2.5 minutes sampled every 5 s; 2.3: 5 minutes of 1 s samples.
    rules = preset(name).mark
    assert rules.basis_window_ns == window_s * SECOND_NS
    assert rules.basis_window_ns // rules.basis_sample_ns == count
    assert rules.components == ("funding_basis", "basis_average", "last")


def test_samples_of_the_premium() -> None:
    # venue_rules 1.3: 5,760 points per 8 h; 2.3: weights 1 to 480; 7.3: every minute, hourly.
    def count(name: str) -> int:
        rules = preset(name)
        return rules.funding.interval_ns // rules.premium.sample_ns

    assert (count("binance_usdm"), count("bybit_linear"), count("dydx_v4")) == (5760, 480, 60)
    assert preset("hyperliquid").funding.interval_ns == HOUR_NS


def test_a_rule_given_replaces_that_of_the_preset() -> None:
    okx = preset("okx_swap")
    made = preset("binance_usdm").symbol(
        "BTC", "0.1", sources("A"), index=okx.index, initial_rate="0.01", maintenance_rate="0.005")
    assert made.index == okx.index
    assert made.mark == preset("binance_usdm").mark


def test_what_a_preset_needs_is_asked_for() -> None:
    with pytest.raises(InputError, match="initial_rate"):
        preset("binance_usdm").symbol("BTC", "0.1", sources("A"), maintenance_rate="0.005")
    with pytest.raises(InputError, match="maintenance_rate"):
        preset("binance_usdm").symbol("BTC", "0.1", sources("A"), initial_rate="0.01")
    with pytest.raises(InputError, match="there are binance_usdm"):
        preset("mtgox")
