"""Decimal strings to integers and back: exact, or refused."""

from __future__ import annotations

import time
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.messages import MONEY_MAX, NONE, OFF_GRID, TOO_LARGE
from engine.units import (
    RATE,
    Grid,
    decimal_text,
    fraction_text,
    is_decimal,
    ratio_of,
    sign_of,
    split_decimal,
)

steps = st.sampled_from(["1", "0.5", "0.1", "0.01", "0.25", "0.00000001", "5", "1000", "0.3"])
units = st.integers(-MONEY_MAX, MONEY_MAX)


@given(steps, units)
def test_text_and_back_is_the_same_number_of_units(step: str, number: int) -> None:
    grid = Grid(step)
    assert grid.units(grid.text(number)) == number
    assert Fraction(grid.text(number)) == number * grid.step


@given(steps, units)
def test_string_int_and_decimal_mean_the_same(step: str, number: int) -> None:
    grid = Grid(step)
    text = grid.text(number)
    assert grid.units(Decimal(text)) == number
    if "." not in text:
        assert grid.units(int(text)) == number


@given(units, st.integers(0, 20))
def test_decimal_text_is_the_shortest_exact_text(digits: int, decimals: int) -> None:
    text = decimal_text(digits, decimals)
    assert is_decimal(text)
    assert Fraction(text) == Fraction(digits, 10**decimals)
    assert "." not in text or not text.endswith("0")


@given(st.integers(-(10**30), 10**30), st.integers(1, 30), steps)
def test_what_is_not_a_multiple_is_off_the_grid(digits: int, decimals: int, step: str) -> None:
    grid = Grid(step)
    value = Fraction(digits, 10**decimals) / grid.step
    expected = OFF_GRID
    if value.denominator == 1:
        expected = int(value) if abs(value) <= MONEY_MAX else TOO_LARGE
    assert grid.units(decimal_text(digits, decimals)) == expected


@given(st.fractions(min_value=-1000, max_value=1000), st.integers(0, 9))
def test_fraction_text_is_the_nearest(value: Fraction, decimals: int) -> None:
    shown = Fraction(fraction_text(value, decimals))
    assert abs(shown - value) * 2 * 10**decimals <= 1


@pytest.mark.parametrize("text", ["0", "-0", "007", "1.50", "-12.000", "0.0000000001"])
def test_numbers(text: str) -> None:
    assert is_decimal(text)


@pytest.mark.parametrize("value", [
    "", "-", ".5", "5.", "+1", "1e3", "1E3", "0x10", "1_000", "1,5", " 1", "1 ", "1\n", "--1",
    "NaN", "nan", "inf", "Infinity", "١٢", "１", None, True, False, 1.0, float("nan"), [], {},
    Decimal("NaN"), Decimal("Infinity"), Decimal("-Infinity"), Decimal("sNaN"), b"1",
])
def test_no_numbers(value: object) -> None:
    assert not is_decimal(value)


@pytest.mark.parametrize(("value", "expected"), [
    ("1" + "0" * 100_000, TOO_LARGE),
    ("-1" + "0" * 100_000, TOO_LARGE),
    ("0." + "0" * 100_000 + "1", OFF_GRID),
    (Decimal("1E+400000000"), TOO_LARGE),
    (Decimal("1E-400000000"), OFF_GRID),
    (Decimal("-1E+400000000"), TOO_LARGE),
    (10**5000, TOO_LARGE),
    ("0" * 100_000 + "7", (7, 0)),
    ("7." + "0" * 100_000, (7, 0)),
], ids=range(9))
def test_nothing_huge_is_expanded(value: str | int | Decimal, expected: object) -> None:
    start = time.process_time()
    assert split_decimal(value) == expected
    assert time.process_time() - start < 0.05


@pytest.mark.parametrize("value", [Decimal("0E+400000000"), Decimal("0E-400000000")])
def test_zero_with_a_huge_exponent_is_zero_or_refused(value: Decimal) -> None:
    start = time.process_time()
    assert Grid("0.01").units(value) in (0, OFF_GRID)
    assert time.process_time() - start < 0.05


def test_edges_of_the_money_range() -> None:
    grid = Grid(1)
    assert grid.units(str(MONEY_MAX)) == MONEY_MAX
    assert grid.units(str(MONEY_MAX + 1)) == TOO_LARGE
    assert grid.units(str(-MONEY_MAX)) == -MONEY_MAX
    assert grid.units(str(-MONEY_MAX - 1)) == TOO_LARGE


def test_sentinels_are_no_amounts() -> None:
    sentinels = {NONE, OFF_GRID, TOO_LARGE}
    assert len(sentinels) == 3
    assert all(abs(sentinel) > MONEY_MAX for sentinel in sentinels)


@given(st.integers(-(10**50), 10**50), st.integers(0, 60))
def test_sign_is_that_of_the_number(digits: int, decimals: int) -> None:
    assert sign_of(decimal_text(digits, decimals)) == (digits > 0) - (digits < 0)


def test_negative_numbers_are_senseless_before_anything_else() -> None:
    grid = Grid("0.01")
    for text in ("-1", "-0.001", "-1" + "0" * 60, "-0." + "0" * 60 + "1"):
        assert grid.positive_units(text) == -1
    assert grid.positive_units("0.001") == OFF_GRID
    assert grid.positive_units("-0") == 0


@pytest.mark.parametrize(("price", "ticks"), [
    ("100.24", 200), ("100.25", 200), ("100.26", 201), ("100.75", 202), ("0.2", 0),
])
def test_nearest_goes_to_even_on_a_tie(price: str, ticks: int) -> None:
    assert Grid("0.5").nearest(price) == ticks


@pytest.mark.parametrize("step", ["0", "-1", "0." + "0" * 50 + "1", "1" + "0" * 50])
def test_a_step_is_positive_and_of_sane_size(step: str) -> None:
    with pytest.raises(ValueError, match="not a positive step"):
        Grid(step)


def test_rates_are_counted_in_hundred_millionths() -> None:
    assert RATE.units("0.00000001") == 1
    assert RATE.units("-0.0005") == -50_000
    assert RATE.units("0.000000001") == OFF_GRID
    assert RATE.units("-0.000000001") == OFF_GRID
    assert RATE.text(12_345_678) == "0.12345678"


def test_grids_of_equal_step_are_equal() -> None:
    assert Grid("0.50") == Grid("0.5")
    assert hash(Grid("0.50")) == hash(Grid("0.5"))
    assert Grid("0.5") != Grid("0.25")
    assert repr(Grid("0.5")) == "Grid('0.5')"


@given(st.integers(-10**25, 10**25), st.integers(-10**20, 10**20).filter(bool), st.integers(0, 12))
def test_a_ratio_is_rounded_as_a_fraction_is(above, below, decimals):
    assert ratio_of(above, below, decimals) == fraction_text(Fraction(above, below), decimals)
