"""Declarations: what an instrument and its tiers must be."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from support.market import STEEP_TIERS, Desk

from engine.instruments import Asset, TermsError, build_instrument, check_form, parse_tiers
from engine.messages import MONEY_MAX, RejectReason
from engine.units import Grid

USDT = Asset(0, "USDT", 2, Grid("0.01"))


def tier(low: Any, high: Any, rate: Any = "0.01", leverage: Any = "10") -> dict[str, Any]:
    return {"min_notional": low, "max_notional": high, "maintenance_margin_rate": rate,
            "max_leverage": leverage}


def terms(**changed: Any) -> dict[str, Any]:
    return {"symbol": "X", "kind": "linear", "base": "X", "quote": "USDT", "settle": "USDT",
            "tick_size": "1", "lot_size": "1", "tiers": [tier("0", None)], **changed}


def test_tiers_in_minor_units_and_rates() -> None:
    rows = parse_tiers(STEEP_TIERS, USDT)
    assert rows[0] == (0, 100_000, 500_000, 20 * 10**8)
    assert rows[2] == (500_000, MONEY_MAX, 10_000_000, 5 * 10**8)


@pytest.mark.parametrize(("rows", "what"), [
    ([], "no tiers"),
    ([tier("0", "10")] * 65, "more than 64 tiers"),
    ([tier("1", None)], "tier 1: gap: min_notional 1 after 0"),
    ([tier("0", "10"), tier("11", None)], "tier 2: gap: min_notional 11 after 10"),
    ([tier("0", "10"), tier("9", None)], "tier 2: overlap: min_notional 9 after 10"),
    ([tier("0", None), tier("10", None)], "tier 1: only the last max_notional may be null"),
    ([tier("0", "0")], "tier 1: max_notional is not above min_notional"),
    ([tier("0", "-5")], "tier 1: max_notional is not above min_notional"),
    ([tier("0", "0.001")], "tier 1: a notional is finer than the minor unit of USDT"),
    ([tier("0", None, "0.000000001")], "tier 1: a rate is finer than 0.00000001"),
    ([tier("0", "9" * 30)], "tier 1: a number is too large"),
    ([tier("0", None, "0.01", "0.5")], "tier 1: max_leverage is below 1"),
    ([tier("0", None, "-0.01")], "tier 1: maintenance_margin_rate exceeds 1 / max_leverage"),
    ([tier("0", None, "0.100001", "10")], "tier 1: maintenance_margin_rate exceeds"),
    ([tier("0", "10", "0.02"), tier("10", None, "0.01")], "tier 2: maintenance_margin_rate falls"),
])
def test_bad_tiers_say_which_and_why(rows: list[dict[str, Any]], what: str) -> None:
    with pytest.raises(TermsError) as caught:
        parse_tiers(rows, USDT)
    assert caught.value.reason is RejectReason.BAD_TIERS
    assert caught.value.detail.startswith(what)


def test_a_rate_of_exactly_one_over_leverage_is_allowed() -> None:
    assert parse_tiers([tier("0", None, "0.1", "10")], USDT)[0][2] == 10**7


@pytest.mark.parametrize("changed", [
    {"tick_size": "0"}, {"tick_size": "-1"}, {"lot_size": "0"}, {"mark_tick": "0"},
    {"contract_size": "0"}, {"contract_size": "-1"}, {"max_order_quantity": "0"},
    {"maker_fee": "1"}, {"maker_fee": "-1"}, {"taker_fee": "0.000000001"},
    {"maker_fee": "-0.000000001"}, {"liquidation_fee": "-0.01"}, {"price_band": "0"},
    {"price_band": "-0.1"}, {"max_open_orders": 0}, {"max_open_orders": -1},
    {"tick_size": "9" * 50}, {"tick_size": "0." + "0" * 50 + "1"},
])
def test_malformed_terms(changed: dict[str, Any]) -> None:
    with pytest.raises(TermsError) as caught:
        check_form(terms(**changed))
    assert caught.value.reason is RejectReason.MALFORMED


@pytest.mark.parametrize("changed", [
    {"tick_size": "0.1", "lot_size": "0.01"},
    {"tick_size": "1", "mark_tick": "0.3"},
    {"tick_size": "0.5", "mark_tick": "1"},
    {"tick_size": "0.1", "contract_size": "0.01"},
])
def test_bad_instrument(changed: dict[str, Any]) -> None:
    with pytest.raises(TermsError) as caught:
        build_instrument(0, terms(**changed), USDT)
    assert caught.value.reason is RejectReason.BAD_INSTRUMENT


def test_one_lot_at_one_mark_tick_in_minor_units() -> None:
    built = build_instrument(
        0, terms(tick_size="0.5", mark_tick="0.1", lot_size="0.1", contract_size="10"), USDT)
    assert built.unit_value == 10
    assert built.marks_per_tick == 5


def test_one_lot_of_an_inverse_contract_is_worth_one_over_the_price() -> None:
    built = build_instrument(0, terms(
        kind="inverse", tick_size="0.5", mark_tick="0.1", lot_size="10", contract_size="3"), USDT)
    assert built.unit_value == 30_000
    assert built.worth(7, 9) == 7 * 30_000 // 9
    assert built.fill_value(7, "0.91") == int(210 / Fraction("0.91") * 100)


@pytest.mark.parametrize("changed", [
    {"tick_size": "0.3"}, {"contract_size": "0.001"}, {"contract_size": "9" * 20}])
def test_bad_inverse_instrument(changed: dict[str, Any]) -> None:
    with pytest.raises(TermsError) as caught:
        build_instrument(0, terms(kind="inverse", **changed), USDT)
    assert caught.value.reason is RejectReason.BAD_INSTRUMENT


def test_a_fills_value_is_rounded_once_toward_zero() -> None:
    built = build_instrument(0, terms(), USDT)
    assert built.fill_value(3, "100.009") == 30_002
    assert built.fill_value(3, Decimal("100.009")) == 30_002
    assert built.fill_value(1, "0.001") == 0
    assert built.fill_value(1, "0") == -1
    assert built.fill_value(1, "-0.001") == -1


def test_mark_rounding_is_nearest_with_ties_to_even_and_never_zero() -> None:
    built = build_instrument(0, terms(tick_size="0.5"), USDT)
    assert [built.round_mark(price) for price in ("1.25", "1.75", "1.26", "0.01")] == [
        "1", "2", "1.5", "0.5"]


def test_limits_that_are_no_whole_number_of_lots_are_refused(desk: Desk) -> None:
    assert desk.refusal("instrument", **terms(max_order_quantity="1.5")) in (
        "malformed", "bad_instrument")


def test_the_instrument_query_prints_no_exponents(desk: Desk) -> None:
    desk.must("instrument", **terms(
        maker_fee=Decimal("1E-7"), contract_size=Decimal("1E+2"), price_band=Decimal("1E-1")))
    reply = desk.ask("instrument", symbol="X")
    assert reply["maker_fee"] == "0.0000001"
    assert reply["contract_size"] == "100"
    assert reply["price_band"] == "0.1"


def test_no_tiers_is_refused_not_taken_for_no_maintenance(desk: Desk) -> None:
    """Elsewhere an instrument without tiers had a maintenance margin of 0, in silence."""
    assert desk.refusal("instrument", **terms(tiers=[])) == "bad_tiers"
