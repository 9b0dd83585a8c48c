"""Schedules made from formulas: never too little, never more than the error too much."""

from __future__ import annotations

import doctest
from collections.abc import Callable
from fractions import Fraction
from math import isqrt
from types import ModuleType
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from engine.errors import InputError
from engine.instruments import Asset, parse_tiers
from engine.schedules import (
    deductions,
    generate,
    linear_schedule,
    load,
    rows,
    scale_schedule,
    square_root_schedule,
)
from engine.units import Grid, decimal_text

Tiers = list[dict[str, str | None]]
USDT = Asset(0, "USDT", 6, Grid("0.000001"))
RULES = st.sampled_from(["marginal", "whole"])


@pytest.mark.parametrize("module", [generate, load, rows], ids=lambda module: module.__name__)
def test_docstrings_keep_their_word(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0


def number(row: dict[str, str | None], name: str) -> Fraction:
    return Fraction(row[name] or 0)


def probes(tiers: Tiers, parts: list[int]) -> list[tuple[int, Fraction]]:
    """Notionals by tier: its ends, its middle, where its chord is worst, and anywhere else."""
    found = []
    for index, row in enumerate(tiers):
        low, high = number(row, "min_notional"), number(row, "max_notional")
        inside = [low + (high - low) * Fraction(part, 1000) for part in (1, 500, *parts)]
        inside += [low + Fraction(1, 10**6), high, Fraction(isqrt(int(low * high)))]
        # Where the chord of a square root is worst, roughly: the cube root of 2 k, squared.
        ends = Fraction(isqrt(int(low))), Fraction(isqrt(int(high)))
        if low:
            inside.append(Fraction(4 * (ends[0] * ends[1] / sum(ends)) ** 2))
        found += [(index, notional) for notional in inside if low < notional <= high]
    return found


def check(
    tiers: Tiers, rule: str, parts: list[int], error: Fraction,
    is_enough: Callable[[Fraction, Fraction], bool],
    is_enough_initially: Callable[[Fraction, Fraction], bool],
) -> None:
    """The schedule is one, and follows the formula from above within the error."""
    assert len(parse_tiers(tiers, USDT)) == len(tiers)
    amounts = [Fraction(amount) for amount in deductions(tiers)]
    for index, notional in probes(tiers, parts):
        rate = number(tiers[index], "maintenance_margin_rate")
        rate -= amounts[index] / notional if rule == "marginal" else 0
        assert is_enough(rate, notional)
        assert not is_enough(rate - error - Fraction(1, 10**15), notional)
        initial = 1 / number(tiers[index], "max_leverage")
        assert is_enough_initially(initial, notional) and initial >= rate


@settings(max_examples=60)
@given(
    RULES, st.integers(0, 30), st.integers(0, 100), st.integers(1, 40), st.integers(1, 10**9),
    st.integers(1, 200), st.lists(st.integers(1, 1000), min_size=3, max_size=3))
def test_linear_is_followed_from_above(rule, base, slope, more, cap, error, parts):
    rates = {"base": Fraction(base, 1000), "initial": Fraction(base + more, 1000)}
    steep = Fraction(slope, 10**6) / 100_000
    limit = Fraction(error, 10_000)
    assume(steep * cap < Fraction(4, 10))
    # One tier of slack: what is left over for rounding.
    count = isqrt(int(steep * cap / limit)) + 2 if rule == "marginal" else steep * cap / limit + 2
    assume(count <= 64)
    tiers = linear_schedule(
        base=decimal_text(base, 3), slope=decimal_text(slope, 6), unit_notional=100_000,
        initial_base=decimal_text(base + more, 3), cap=cap, max_error=decimal_text(error, 4),
        tier_rule=rule)
    assert len(tiers) <= count
    assert number(tiers[-1], "max_notional") == cap
    check(
        tiers, rule, parts, limit,
        lambda rate, notional: rate >= rates["base"] + steep * notional,
        lambda rate, notional: rate >= rates["initial"] + steep * notional)


@settings(max_examples=60)
@given(
    RULES, st.integers(5, 100), st.integers(1, 10**7), st.integers(10, 100), st.integers(1, 2000),
    st.integers(20, 400), st.lists(st.integers(1, 1000), min_size=3, max_size=3))
def test_square_root_is_followed_from_above(
    rule, initial, base_notional, fraction, stretch, error, parts
):
    start, share = Fraction(initial, 1000), Fraction(fraction, 100)
    cap = max(1, base_notional * stretch // 10)
    root = Fraction(isqrt(cap * 10**12 // base_notional) + 1, 10**6)
    assume(start * max(1, root) * max(1, Fraction(3, 2) * share) < Fraction(9, 10))
    limit = Fraction(error, 10_000)
    assume(start * share * root / limit < 60)
    tiers = square_root_schedule(
        initial=decimal_text(initial, 3), base_notional=base_notional,
        maintenance_fraction=decimal_text(fraction, 2), cap=cap,
        max_error=decimal_text(error, 4), tier_rule=rule, notional_step="0.001")

    def is_at_least(first: Fraction) -> Callable[[Fraction, Fraction], bool]:
        # rate >= first x max(1, sqrt(N / base)), without a root.
        return lambda rate, notional: rate >= first and (
            rate * rate * base_notional >= first * first * notional)

    check(tiers, rule, parts, limit, is_at_least(start * share), is_at_least(start))


def deribit(cap: int, error: str, rule: str, **more: Any) -> Tiers:
    """BTC_USDC at a price of 100,000."""
    return linear_schedule(
        base="0.01", slope="0.00005", initial_base="0.02", unit_notional=100_000, cap=cap,
        max_error=error, tier_rule=rule, notional_step=100_000, **more)


def test_deribit_at_the_published_sizes() -> None:
    # 25 BTC: 1.125 % and initially 2.125 %. 350 BTC: 2.75 % and 3.75 %. Rates of whole positions.
    for size, error, count, rate, leverage in (
        (25, "0.00025", 5, "0.01125", "47.05"), (350, "0.0005", 35, "0.0275", "26.66")):
        tiers = deribit(size * 100_000, error, "whole")
        assert len(tiers) == count
        assert tiers[-1]["maintenance_margin_rate"] == rate
        assert tiers[-1]["max_leverage"] == leverage
    chain = deribit(35_000_000, "0.0005", "marginal")
    assert len(chain) == 7
    charged = number(chain[-1], "maintenance_margin_rate") * 35_000_000
    charged -= Fraction(deductions(chain)[-1])
    assert 0 <= charged / 35_000_000 - Fraction("0.0275") < Fraction(1, 10**8)
    # A steeper initial rate is asked for where that is given.
    steep = deribit(35_000_000, "0.0005", "whole", initial_slope="0.0001")
    assert steep[-1]["max_leverage"] == "18.18"  # 1 / 5.5 %


def test_dydx_shape() -> None:
    # Ten times the base: the rate is multiplied by the root of ten.
    tiers = square_root_schedule(
        initial="0.05", base_notional=1_000_000, maintenance_fraction="0.6", cap=10_000_000,
        max_error="0.002", tier_rule="whole")
    assert tiers[-1]["maintenance_margin_rate"] == "0.09486833"
    assert tiers[-1]["max_leverage"] == "6.32"
    # Flat up to the base, as far as the error reaches beyond it.
    assert number(tiers[0], "max_notional") > 1_000_000
    flat = square_root_schedule(
        initial="0.05", base_notional=1_000_000, maintenance_fraction="0.6", cap=900_000,
        max_error="0.002")
    assert flat == [{"min_notional": "0", "max_notional": "900000",
                     "maintenance_margin_rate": "0.03", "max_leverage": "20"}]


GOOD = {"base": "0.01", "slope": "0.001", "initial_base": "0.02", "unit_notional": 1000,
        "cap": 10_000, "max_error": "0.001"}


@pytest.mark.parametrize(("changed", "reason"), [
    ({"base": "-0.1"}, "base: must not be negative"),
    ({"slope": "-1"}, "slope: must not be negative"),
    ({"initial_base": "0"}, "initial_base: must be above zero"),
    ({"initial_slope": "x"}, "initial_slope: not a decimal number: 'x'"),
    ({"unit_notional": 0}, "unit_notional: must be above zero"),
    ({"cap": 0}, "cap: must be above zero"),
    ({"cap": "10000.5"}, "cap: not a multiple of notional_step"),
    ({"max_error": "0.0000009"}, "max_error: must be 0.000001 or more"),
    ({"max_error": "0.000002"}, "max_error: more than 64 tiers; allow a larger error"),
    ({"max_error": "0.0001", "notional_step": 1000, "slope": "0.01"},
     "max_error: one notional_step is more than it allows"),
    ({"base": 0.01}, "base: not a decimal number: '0.01'"),
    ({"tier_rule": "flat"}, "tier_rule: expected marginal or whole, not 'flat'"),
    ({"slope": "0.2", "max_error": "0.1"}, "would need a rate above 1"),
])
def test_bad_arguments_are_named(changed: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError) as caught:
        linear_schedule(**{**GOOD, **changed})
    assert reason in str(caught.value) and "\n" not in str(caught.value)


def test_a_fraction_above_one_is_refused() -> None:
    with pytest.raises(InputError, match="maintenance_fraction"):
        square_root_schedule(
            initial="0.05", base_notional=1, maintenance_fraction="1.1", cap=1, max_error="0.01")


# --- a user's multiplier --------------------------------------------------------------

ROWS: Tiers = [
    {"min_notional": "0", "max_notional": "1000", "maintenance_margin_rate": "0.004",
     "max_leverage": "125"},
    {"min_notional": "1000", "max_notional": None, "maintenance_margin_rate": "0.3",
     "max_leverage": "3"},
]


def scaled(multiplier: Any, **more: Any) -> list[tuple[str | None, str | None]]:
    return [(row["maintenance_margin_rate"], row["max_leverage"])
            for row in scale_schedule(ROWS, multiplier, **more)]


def test_rates_rise_and_leverages_fall() -> None:
    assert scaled(1) == [("0.004", "125"), ("0.3", "3")]
    assert scaled("1.5") == [("0.006", "83.33333333"), ("0.45", "2")]
    assert scaled(100) == [("0.4", "1.25"), ("1", "1")]  # capped
    assert scaled(10, max_rate="0.35") == [("0.04", "12.5"), ("0.35", "1")]
    assert scaled("0.5") == [("0.002", "125"), ("0.15", "3")]  # nobody gets more leverage
    assert [row["max_notional"] for row in scale_schedule(ROWS, 2)] == ["1000", None]


@given(st.integers(1, 10**6), st.integers(1, 10**8))
def test_any_multiplier_leaves_a_schedule(multiplier: int, most: int) -> None:
    factor = Fraction(multiplier, 1000)
    tiers = scale_schedule(
        ROWS, decimal_text(multiplier, 3), max_rate=decimal_text(most, 8))
    parse_tiers(tiers, USDT)
    for row, before in zip(tiers, ROWS, strict=True):
        exact = min(number(before, "maintenance_margin_rate") * factor, Fraction(most, 10**8))
        assert 0 <= number(row, "maintenance_margin_rate") - exact < Fraction(1, 10**8)
        assert 1 <= number(row, "max_leverage") <= number(before, "max_leverage")


@pytest.mark.parametrize(("multiplier", "more", "reason"), [
    (0, {}, "multiplier: must be above zero"),
    ("-1", {}, "multiplier: must be above zero"),
    (1, {"max_rate": "1.1"}, "max_rate: must be above 0 and at most 1"),
    (1, {"max_rate": 0}, "max_rate: must be above zero"),
])
def test_bad_multipliers(multiplier: Any, more: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        scale_schedule(ROWS, multiplier, **more)


def test_rows_that_are_no_schedule_are_not_scaled() -> None:
    with pytest.raises(InputError, match="tier 1: gap: min_notional 1000 after 0"):
        scale_schedule(ROWS[1:], 2)
    with pytest.raises(InputError, match="scale_schedule: tier 1: max_leverage is missing"):
        scale_schedule([{**ROWS[0], "max_leverage": None}], 2)


def test_deductions_need_their_fields() -> None:
    with pytest.raises(InputError, match="deductions: tier 1: maintenance_margin_rate is missing"):
        deductions([{"min_notional": "0"}])
