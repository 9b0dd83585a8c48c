"""Margin multipliers of volatility and open interest: how far, how fast, how steady."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.market import Desk

from engine import Exchange
from engine.errors import InputError
from engine.messages import RATE_SCALE
from engine.pricing.multipliers import (
    Ladder,
    MarginMultipliers,
    OpenInterestRules,
    Patience,
    VolatilityRules,
    open_interest_rung,
    volatility_rung,
)
from engine.pricing.scale import SECOND_NS
from engine.pricing.volatility import VarianceEma, half_life_units, volatility_ratio

MINUTE = 60 * SECOND_NS
PATIENT = Patience("0.1", 5 * MINUTE)
RULES = VolatilityRules("0.04", half_life_ns=10 * MINUTE, cap="3", warm_up=5, patience=PATIENT)
BANDS = (("1000000", "1"), ("5000000", "1.25"), (None, "2"))
CROWDED = OpenInterestRules(BANDS, patience=PATIENT)
RATIOS = st.fractions(0, 10)
quick = settings(max_examples=60)


def commands_of(multipliers: MarginMultipliers, marks: list[str]) -> list[dict[str, Any]]:
    """Give a mark a minute and tell the clock each time."""
    commands = []
    for minute, mark in enumerate(marks, start=1):
        commands += multipliers.mark(minute * MINUTE, mark)
        commands += multipliers.advance(minute * MINUTE)
    return commands


def moving(share: str, count: int) -> list[str]:
    """Marks that go up and down by a share of 60,000."""
    return [str(60000 + (minute % 2) * int(60000 * Fraction(share))) for minute in range(count)]


def test_half_lives() -> None:
    assert [half_life_units(each, 10) for each in (10, 20, 30)] == [
        10**18 // 2, 10**18 // 4, 10**18 // 8]


def test_the_variance_of_a_steady_walk_is_its_square() -> None:
    variance = VarianceEma(MINUTE, 10 * MINUTE)
    price = 10**12
    for minute in range(50):
        variance.add(minute * MINUTE, price)
        price = price * 101 // 100
    found = variance.variance()
    assert found is not None
    assert abs(found - Fraction(1, 10**4)) < Fraction(1, 10**12)


def test_a_return_over_a_gap_counts_for_all_of_it() -> None:
    variance = VarianceEma(MINUTE, 10**6 * MINUTE)
    variance.add(0, 10**12)
    variance.add(4 * MINUTE, 10**12 * 102 // 100)
    found = variance.variance()
    assert found is not None
    assert volatility_ratio(found, Fraction(1, 10**4)) == RATE_SCALE  # 2 % in 4 is 1 % in 1


@quick
@given(RATIOS, RATIOS)
def test_rungs_are_monotone_and_within_bounds(one: Fraction, other: Fraction) -> None:
    for rung, low, high in (
            (volatility_rung(RULES), RATE_SCALE, 3 * RATE_SCALE),
            (open_interest_rung(CROWDED), RATE_SCALE, 2 * RATE_SCALE)):
        small, large = sorted((one * 10**6, other * 10**6))
        assert low <= rung(small) <= rung(large) <= high
    rung = volatility_rung(RULES)
    assert rung(one) == 3 * RATE_SCALE or rung(one) >= one * RATE_SCALE
    assert (rung(one) - RATE_SCALE) % (RATE_SCALE // 4) == 0


@quick
@given(st.lists(RATIOS, min_size=1, max_size=40))
def test_a_ladder_is_never_under_what_is_asked(readings: list[Fraction]) -> None:
    rung = volatility_rung(RULES)
    ladder = Ladder(rung, PATIENT, RATE_SCALE)
    low_since, before = 0, RATE_SCALE
    for minute, reading in enumerate(readings):
        now = ladder.climb(minute * MINUTE, reading)
        assert now >= rung(reading)
        if now > before:
            assert now == rung(reading)
        if now < before:  # for five minutes it could have been where it is now
            assert minute - low_since >= 5
            assert all(rung(each * Fraction(11, 10)) <= now
                       for each in readings[minute - 5: minute + 1])
        if rung(reading * Fraction(11, 10)) >= now:
            low_since = minute + 1
        before = now


@quick
@given(st.fractions(1, 2), st.lists(st.fractions(Fraction(19, 20), 1), min_size=1, max_size=60))
def test_nothing_flaps_within_the_margin(top: Fraction, parts: list[Fraction]) -> None:
    ladder = Ladder(volatility_rung(RULES), Patience("0.1", 0), RATE_SCALE)
    first = ladder.climb(0, top)
    assert {ladder.climb(at * MINUTE, top * part) for at, part in enumerate(parts, 1)} == {first}


def test_volatility_raises_with_notice_and_comes_down_with_patience() -> None:
    multipliers = MarginMultipliers("BTC", "0.1", RULES)
    calm, wild = moving("0.0001", 20), moving("0.002", 20)
    commands = commands_of(multipliers, [*calm, *wild, *calm, *calm, *calm, *calm, *calm])
    up = [each for each in commands if "effective_ts" in each]
    down = commands[len(up):]
    assert commands == up + down
    assert all(each["effective_ts"] == each["ts"] + 600 * SECOND_NS for each in up)
    assert up[-1]["maintenance"] == "1.75"
    heights = [Fraction(each["maintenance"]) for each in commands]
    assert heights == sorted(heights[:len(up)]) + sorted(heights[len(up):], reverse=True)
    assert {each["initial"] for each in commands} == {"1"}
    assert commands[-1]["maintenance"] == "1"


def test_never_beyond_the_cap() -> None:
    multipliers = MarginMultipliers("BTC", "0.1", RULES, notice_ns=0)
    commands = commands_of(multipliers, moving("0.2", 30))
    assert commands[-1]["maintenance"] == "3"
    assert all(Fraction(each["maintenance"]) <= 3 for each in commands)


def test_open_interest_raises_initial_only() -> None:
    multipliers = MarginMultipliers("BTC", "0.1", open_interest=CROWDED, notice_ns=0)
    seen = []
    for minute, lots in enumerate(("10", "16", "17", "83.4", "20", *["15"] * 7), start=1):
        multipliers.mark(minute * MINUTE, "60000")
        multipliers.open_interest(minute * MINUTE, lots)
        seen += [(minute, each["maintenance"], each["initial"])
                 for each in multipliers.advance(minute * MINUTE)]
    # 20 is 1.2 million: down from 2 to 1.25 after five minutes; 15 of 1 is left with a margin.
    assert seen == [(3, "1", "1.25"), (4, "1", "2"), (10, "1", "1.25")]


def test_while_a_step_is_announced_nothing_else_is_commanded() -> None:
    multipliers = MarginMultipliers("BTC", "0.1", open_interest=CROWDED, notice_ns=3 * MINUTE)
    seen = []
    for minute, lots in enumerate(("20", "90", "90", "90", "90", "90", "90", "90"), start=1):
        multipliers.mark(minute * MINUTE, "60000")
        multipliers.open_interest(minute * MINUTE, lots)
        seen += [(minute, each["initial"], each["effective_ts"] // MINUTE)
                 for each in multipliers.advance(minute * MINUTE)]
    assert seen == [(1, "1.25", 4), (4, "2", 7)]


def test_a_silent_feed_changes_nothing() -> None:
    multipliers = MarginMultipliers("BTC", "0.1", RULES, notice_ns=0)
    commands_of(multipliers, moving("0.01", 30))
    assert multipliers.advance(10**6 * MINUTE) == []


def test_how_often_the_clock_is_told_makes_no_difference() -> None:
    chance = random.Random(5)
    marks = [str(60000 + chance.randint(-300, 300)) for _ in range(200)]
    once = MarginMultipliers("BTC", "0.1", RULES)
    often = MarginMultipliers("BTC", "0.1", RULES)
    plain, asked = [], []
    for minute, mark in enumerate(marks, start=1):
        ts_ns = minute * MINUTE + 7
        plain += once.mark(ts_ns, mark)
        asked += often.advance(ts_ns - 3) + often.mark(ts_ns, mark) + often.advance(ts_ns)
    end = 300 * MINUTE
    assert plain + once.advance(end) == asked + often.advance(end)
    assert plain


def test_the_engine_takes_the_commands() -> None:
    desk = Desk(Exchange(core="reference"))
    desk.symbol("BTC")
    multipliers = MarginMultipliers("BTC", "1", RULES, CROWDED)
    for command in commands_of(multipliers, moving("0.01", 30)):
        events = desk.exchange.apply(command)
        assert events[-1]["event"].startswith("multiplier_"), events


@pytest.mark.parametrize("make", [
    lambda: VolatilityRules("0"),
    lambda: VolatilityRules("0.04", floor="2", cap="1"),
    lambda: VolatilityRules("0.04", cap="101"),
    lambda: VolatilityRules("0.04", step="0"),
    lambda: VolatilityRules("0.04", warm_up=0),
    lambda: OpenInterestRules(()),
    lambda: OpenInterestRules((("1", "1"),)),
    lambda: OpenInterestRules((("2", "1"), ("1", "1.5"), (None, "2"))),
    lambda: OpenInterestRules((("1", "2"), (None, "1.5"))),
    lambda: OpenInterestRules(((None, "0.9"),)),
    lambda: Patience("-1"),
    lambda: Patience(hold_ns=-1),
    lambda: MarginMultipliers("BTC", "0.1", interval_ns=0),
    lambda: MarginMultipliers("BTC", "0.1").mark(0, "-1"),
    lambda: MarginMultipliers("BTC", "0.1").open_interest(0, "-1"),
])
def test_rules_that_make_no_sense(make: Any) -> None:
    with pytest.raises(InputError):
        make()


def test_time_does_not_go_back() -> None:
    multipliers = MarginMultipliers("BTC", "0.1")
    multipliers.mark(5, "1")
    with pytest.raises(InputError, match="time goes back"):
        multipliers.mark(4, "1")
