"""Units of pricing: nothing that is no decimal gets in, every rounding goes the way it says."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from fractions import Fraction

import pytest

import engine.pricing
from engine.errors import InputError
from engine.pricing.scale import (
    PriceScale,
    ceil_fraction,
    divide_nearest,
    exact,
    floor_fraction,
    rate_units,
)


@pytest.mark.parametrize(
    "name", [module.name for module in pkgutil.iter_modules(engine.pricing.__path__)])
def test_examples_in_the_docstrings(name: str) -> None:
    module = importlib.import_module(f"engine.pricing.{name}")
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize(
    ("numerator", "denominator", "expected"),
    [(7, 3, 2), (8, 3, 3), (5, 2, 2), (7, 2, 4), (-5, 2, -2), (-7, 2, -4), (-8, 3, -3), (0, 9, 0)])
def test_nearest_with_ties_to_even(numerator: int, denominator: int, expected: int) -> None:
    assert divide_nearest(numerator, denominator) == expected
    assert round(Fraction(numerator, denominator)) == expected


def test_floor_and_ceiling_of_negative_numbers() -> None:
    assert (floor_fraction(Fraction(-1, 2)), ceil_fraction(Fraction(-1, 2))) == (-1, 0)


def test_a_price_is_read_to_the_nearest_subtick() -> None:
    scale = PriceScale("0.1")
    assert scale.read("60000.04", "price") == 60_000_040_000_000
    assert scale.read("1.0000000005", "price") == 1_000_000_000  # a tie, to even
    assert scale.read("1.0000000015", "price") == 1_000_000_002
    assert scale.subtick_text(60_000_040_000_000) == "60000.04"


@pytest.mark.parametrize(
    "price", ["0", "-1", "", "1e5", "NaN", "inf", 1.5, None, True, "0.0000000001", "9" * 50])
def test_what_is_no_price_is_refused(price: object) -> None:
    with pytest.raises(InputError):
        PriceScale("0.1").read(price, "price")  # type: ignore[arg-type]


@pytest.mark.parametrize("tick", ["0", "-1", "x", 0.5, "1" * 50])
def test_what_is_no_tick_is_refused(tick: object) -> None:
    with pytest.raises(InputError):
        PriceScale(tick)  # type: ignore[arg-type]


@pytest.mark.parametrize("rate", ["1.1", "-1.00000001", "0.000000001", 0.5, "x", None])
def test_what_is_no_rate_is_refused(rate: object) -> None:
    with pytest.raises(InputError):
        rate_units(rate, "rate")  # type: ignore[arg-type]


def test_an_amount_is_exact() -> None:
    assert exact("0.00000000000000000001", "amount") == Fraction(1, 10**20)
    with pytest.raises(InputError):
        exact(0.1, "amount")  # type: ignore[arg-type]
