"""What sources agree on, against a median written down in the plainest way."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import InputError
from engine.serving.agreement import Agreement, AgreementRules

NAMES = ["a", "b", "c", "d", "e"]
AGE = 1_000

prices = st.integers(9_000, 11_000).map(lambda tenths: f"{tenths // 10}.{tenths % 10}")
observations = st.dictionaries(
    st.sampled_from(NAMES), st.tuples(prices, st.integers(0, 3 * AGE)), max_size=5)


def middle(values: list[Fraction]) -> Fraction:
    ordered = sorted(values)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def expected(said: dict, now: int, least: int, limit: str | None) -> tuple[str | None, set]:
    """The mark in ticks of 0.5, and who is set aside."""
    fresh = {name: Fraction(price) for name, (price, at) in said.items() if now - at <= AGE}
    astray = set()
    if fresh and limit is not None:
        centre = middle([*fresh.values()])
        astray = {name for name, price in fresh.items()
                  if abs(price - centre) > centre * Fraction(limit)}
    used = [price for name, price in fresh.items() if name not in astray]
    if len(used) < least:
        return None, astray
    ticks = max(1, round(middle(used) / Fraction(1, 2)))
    return (f"{ticks // 2}.5" if ticks % 2 else str(ticks // 2)), astray


def agreement(said: dict, rules: AgreementRules, names: list[str] = NAMES) -> Agreement:
    found = Agreement("0.5", names, rules)
    for name, (price, at) in said.items():
        found.observe(name, price, None, at)
    return found


@settings(max_examples=300)
@given(observations, st.integers(2 * AGE, 4 * AGE), st.integers(1, 4),
       st.sampled_from([None, "0.01", "0.05", "0.5"]), st.randoms(use_true_random=False))
def test_the_median_of_those_that_count(said, now, least, limit, dice):
    rules = AgreementRules(least, limit, AGE)
    agreed = agreement(said, rules).read(now)
    mark, astray = expected(said, now, least, limit)
    assert (agreed.mark, agreed.set_aside) == (mark, astray)
    assert {*agreed.used} | {name for name, _ in agreed.left_out} == {*NAMES}
    # Neither the order of the sources nor that of their prices makes a difference.
    shuffled = dict(dice.sample([*said.items()], len(said)))
    assert agreement(shuffled, rules, dice.sample(NAMES, 5)).read(now) == agreed
    # Nor does a stop in between.
    again = Agreement("0.5", NAMES, rules)
    again.load(agreement(said, rules).dump())
    assert again.read(now) == agreed


@settings(max_examples=100)
@given(st.lists(st.integers(1_000_000, 1_009_000), min_size=3, max_size=3),
       st.integers(1, 10**12))
def test_one_of_four_cannot_move_the_mark_beyond_the_others(honest, wild):
    rules = AgreementRules(3, "0.02", AGE)
    said = {name: (str(price), 0) for name, price in zip("abc", honest, strict=True)}
    agreed = agreement({**said, "d": (str(wild), 0)}, rules).read(0)
    assert agreed.mark is not None
    assert min(honest) - 1 <= float(agreed.mark) <= max(honest) + 1
    if wild > 1_040_000 or wild < 960_000:
        assert agreed.set_aside == {"d"} and agreed.used == ("a", "b", "c")


def test_of_an_even_number_half_way_and_ties_to_even():
    def mark(*said: str) -> str | None:
        found = Agreement("1", NAMES, AgreementRules(1, None, AGE))
        for name, price in zip(NAMES, said, strict=False):
            found.observe(name, price, None, 0)
        return found.read(0).mark

    assert [mark("100", "101"), mark("101", "102"), mark("100", "103")] == ["100", "102", "102"]
    assert [mark("100.5"), mark("101.5"), mark("0.2"), mark("100", "500", "101.4")] == [
        "100", "102", "1", "101"]


def test_two_who_disagree_are_both_set_aside():
    said = {"a": ("100", 0), "b": ("105", 0)}
    assert agreement(said, AgreementRules(1, "0.02", AGE)).read(0).mark is None
    at_the_limit = {"a": ("98", 0), "b": ("102", 0)}
    assert agreement(at_the_limit, AgreementRules(2, "0.02", AGE)).read(0).mark == "100"


def test_age_and_order_of_time():
    found = agreement({"a": ("100", 500)}, AgreementRules(1, "0.02", AGE))
    found.observe("a", "200", None, 499)  # it had that before
    assert found.read(500 + AGE).mark == "100"
    assert found.next_expiry(600) == 501 + AGE
    assert found.read(501 + AGE).mark is None and found.next_expiry(501 + AGE) is None


def test_index_prices_agree_by_themselves():
    found = Agreement("0.5", NAMES, AgreementRules(2, "0.02", AGE))
    for name, index in (("a", "99"), ("b", "100"), ("c", None)):
        found.observe(name, "101", index, 0)
    assert (found.read(0).mark, found.read(0).index_price) == ("101", "99.5")
    found.observe("b", "101", "150", 1)
    assert (found.read(1).mark, found.read(1).index_price) == ("101", None)


@pytest.mark.parametrize("rules", [
    {"min_sources": 0}, {"max_deviation": "0"}, {"max_deviation": "-1"}, {"max_deviation": "2"},
    {"max_deviation": "x"}, {"max_age_ns": 0}])
def test_rules_are_checked(rules):
    with pytest.raises(InputError):
        AgreementRules(**rules)


def test_a_price_beyond_everything_is_refused_whole():
    found = Agreement("0.5", NAMES, AgreementRules())
    with pytest.raises(InputError, match="not a price above zero"):
        found.observe("a", "100", "9" * 40, 0)
    assert found.read(0).mark is None
