"""Instruments as the edge knows them: names, grids, and the terms checked on declaration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from engine.messages import (
    MONEY_MAX,
    NONE,
    OFF_GRID,
    RATE_SCALE,
    TOO_LARGE,
    ContractKind,
    RejectReason,
    TierRule,
)
from engine.units import RATE, DecimalLike, Grid, sign_of, split_decimal

TierRow = tuple[int, int, int, int]

#: Most tiers a schedule may have.
TIERS_MAX = 64


class TermsError(ValueError):
    """Terms that cannot be: the rejection reason and what is wrong."""

    def __init__(self, reason: RejectReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class Asset:
    """A settle asset.

    Attributes
    ----------
    index : int
        Place in the order of declaration; the core's name for it.
    name : str
    decimals : int
        The minor unit is ``10**-decimals``.
    minor : Grid
        Conversion between amounts and minor units.
    """

    index: int
    name: str
    decimals: int
    minor: Grid


def make_asset(index: int, name: str, decimals: int) -> Asset:
    """Return an asset with the grid of its minor unit."""
    return Asset(
        index, name, decimals,
        Grid("1" if decimals == 0 else "0." + "0" * (decimals - 1) + "1"))


@dataclass(frozen=True)
class Instrument:
    """A contract.

    Attributes
    ----------
    index : int
        Place in the order of declaration; the core's name for it.
    symbol, base, quote : str
        Labels.
    settle : Asset
    tick, mark, lot : Grid
        Conversions of order prices, mark prices and quantities.
    contract_size : Fraction
        Units of one unit of quantity: of the base, or if inverse of the quote.
    unit_value : int
        Minor units of `settle` that one lot is worth at a price of one mark tick.
    marks_per_tick : int
        Mark ticks in one tick.
    terms : dict
        The declaration as given, for the `instrument` query.
    kind : ContractKind
        A linear contract is worth its price, an inverse one its unit value over the price.
    """

    index: int
    symbol: str
    base: str
    quote: str
    settle: Asset
    tick: Grid
    mark: Grid
    lot: Grid
    contract_size: Fraction
    unit_value: int
    marks_per_tick: int
    terms: Mapping[str, Any]
    kind: ContractKind = ContractKind.LINEAR

    def worth(self, lots: int, mark: int) -> int:
        """Return what lots are worth at a price in mark ticks, in minor units, toward zero."""
        if self.kind is ContractKind.INVERSE:
            return lots * self.unit_value // mark
        return lots * mark * self.unit_value

    def round_mark(self, price: DecimalLike) -> str:
        """Return a price rounded to the nearest mark tick, ties to even (at least one tick)."""
        return self.mark.text(max(1, self.mark.nearest(price)))

    def fill_value(self, quantity: int, price: DecimalLike) -> int:
        """Return the value of an external fill in minor units.

        The price need not be on the tick; rounded once, toward zero.

        Parameters
        ----------
        quantity : int, lots
        price : decimal, quote per base

        Returns
        -------
        int
            -1 for a price that is not positive, `OFF_GRID` for one with more than forty
            decimals, `TOO_LARGE` beyond the money range.
        """
        parts = split_decimal(price)
        if sign_of(price) <= 0:
            return -1
        if isinstance(parts, int):
            return parts
        if quantity <= 0:
            return 0  # refused for its quantity, whatever the price
        units = quantity * self.lot.step * self.contract_size / self.settle.minor.step
        at_price = Fraction(parts[0], 10 ** parts[1])
        value = units / at_price if self.kind is ContractKind.INVERSE else units * at_price
        whole = value.numerator // value.denominator
        return whole if whole <= MONEY_MAX else TOO_LARGE


def parse_tiers(rows: Sequence[Mapping[str, Any]], settle: Asset) -> list[TierRow]:
    """Check a tier schedule and return it in integers.

    Parameters
    ----------
    rows : sequence of mappings
        `min_notional`, `max_notional` (None in the last row: no cap),
        `maintenance_margin_rate`, `max_leverage`.
    settle : Asset
        Notionals are multiples of its minor unit.

    Returns
    -------
    list of (min, max, rate, leverage)
        Minor units (`MONEY_MAX`: no cap) and 1e-8 units.

    Raises
    ------
    TermsError
        `bad_tiers`, with the row: empty, not ascending, a gap or an overlap, a rate that
        falls or exceeds 1 / max_leverage, a leverage that rises or is below 1, a number
        off its grid.
    """
    if not rows:
        raise TermsError(RejectReason.BAD_TIERS, "no tiers")
    if len(rows) > TIERS_MAX:
        raise TermsError(RejectReason.BAD_TIERS, f"more than {TIERS_MAX} tiers")
    parsed: list[TierRow] = []
    for number, row in enumerate(rows, start=1):
        parsed.append(_parse_tier(number, row, settle, parsed, is_last=number == len(rows)))
    return parsed


def _parse_tier(
    number: int, row: Mapping[str, Any], settle: Asset, before: list[TierRow], *, is_last: bool
) -> TierRow:
    def refuse(what: str) -> TermsError:
        return TermsError(RejectReason.BAD_TIERS, f"tier {number}: {what}")

    low = settle.minor.units(row["min_notional"])
    high = MONEY_MAX
    if row["max_notional"] is not None:
        high = settle.minor.units(row["max_notional"])
    elif not is_last:
        raise refuse("only the last max_notional may be null")
    rate = RATE.units(row["maintenance_margin_rate"])
    leverage = RATE.units(row["max_leverage"])
    if OFF_GRID in (low, high):
        raise refuse(f"a notional is finer than the minor unit of {settle.name}")
    if OFF_GRID in (rate, leverage):
        raise refuse("a rate is finer than 0.00000001")
    if TOO_LARGE in (low, high, rate, leverage):
        raise refuse("a number is too large")
    expected = before[-1][1] if before else 0
    if low != expected:
        kind = "gap" if low > expected else "overlap"
        raise refuse(
            f"{kind}: min_notional {settle.minor.text(low)} after {settle.minor.text(expected)}")
    if high <= low:
        raise refuse("max_notional is not above min_notional")
    if leverage < RATE_SCALE:
        raise refuse("max_leverage is below 1")
    if not 0 <= rate or rate * leverage > RATE_SCALE**2:
        raise refuse("maintenance_margin_rate exceeds 1 / max_leverage")
    if before and rate < before[-1][2]:
        raise refuse("maintenance_margin_rate falls")
    if before and leverage > before[-1][3]:
        raise refuse("max_leverage rises")
    return low, high, rate, leverage


def _positive(value: DecimalLike, name: str) -> Grid:
    try:
        return Grid(value)
    except ValueError:
        raise TermsError(RejectReason.MALFORMED, f"{name} must be positive") from None


def check_form(terms: Mapping[str, Any], now: int = 0) -> None:
    """Refuse terms that are senseless on their own, or that are not built yet.

    Parameters
    ----------
    terms : mapping
        The declaration.
    now : int
        Engine time; a contract must expire after it.

    Raises
    ------
    TermsError
        `malformed` or `unsupported`.
    """
    for name in ("tick_size", "lot_size"):
        _positive(terms[name], name)
    for name in (
        "mark_tick", "contract_size", "max_order_quantity", "min_order_quantity",
        "min_order_notional", "max_order_notional",
    ):
        if terms.get(name) is not None:
            _positive(terms[name], name)
    for name in ("maker_fee", "taker_fee", "liquidation_fee"):
        rate = RATE.units(terms.get(name, 0))
        if not -RATE_SCALE < rate < RATE_SCALE:
            raise TermsError(
                RejectReason.MALFORMED, f"{name} must be a multiple of 0.00000001 under 1")
    if RATE.units(terms.get("liquidation_fee", 0)) < 0:
        raise TermsError(RejectReason.MALFORMED, "liquidation_fee must not be negative")
    if terms.get("price_band") is not None:
        band = RATE.units(terms["price_band"])
        if not 0 < band < RATE_SCALE:
            raise TermsError(RejectReason.MALFORMED, "price_band must lie between 0 and 1")
    if terms.get("mark_band") is not None:
        band = RATE.units(terms["mark_band"])
        if not 0 < band < RATE_SCALE:
            raise TermsError(RejectReason.MALFORMED, "mark_band must lie between 0 and 1")
    if terms.get("mark_max_age_ns") is not None and not (
            0 < terms["mark_max_age_ns"] <= MONEY_MAX):
        raise TermsError(
            RejectReason.MALFORMED, "mark_max_age_ns must be positive, and at most 2^62")
    if terms.get("max_open_orders") is not None and terms["max_open_orders"] <= 0:
        raise TermsError(RejectReason.MALFORMED, "max_open_orders must be positive")
    if terms.get("expiry_ts") is not None and not now < terms["expiry_ts"] <= MONEY_MAX:
        raise TermsError(
            RejectReason.MALFORMED, "expiry_ts must be later than now, and at most 2^62")


def build_instrument(index: int, terms: Mapping[str, Any], settle: Asset) -> Instrument:
    """Return the instrument for a declaration that passed `check_form`.

    Raises
    ------
    TermsError
        `bad_instrument`: tick_size is not a whole number of mark ticks, the unit value is
        not a whole number of minor units, or max_order_quantity is not a whole number of
        lots.
    """
    tick = Grid(terms["tick_size"])
    mark = Grid(terms["mark_tick"]) if terms.get("mark_tick") is not None else tick
    lot = Grid(terms["lot_size"])
    contract_size = Grid(terms.get("contract_size", 1)).step
    ratio = tick.step / mark.step
    if ratio.denominator != 1:
        raise TermsError(
            RejectReason.BAD_INSTRUMENT, "tick_size is not a whole number of mark ticks")
    kind = ContractKind[terms["kind"].upper()]
    unit = lot.step * contract_size / settle.minor.step
    unit = unit / mark.step if kind is ContractKind.INVERSE else unit * mark.step
    if unit.denominator != 1:
        formula = (
            "lot_size x contract_size / mark_tick" if kind is ContractKind.INVERSE
            else "mark_tick x lot_size x contract_size")
        raise TermsError(
            RejectReason.BAD_INSTRUMENT,
            f"{formula} is not a whole number of minor units of {settle.name}")
    for name in ("max_order_quantity", "min_order_quantity"):
        if terms.get(name) is not None and (Grid(terms[name]).step / lot.step).denominator != 1:
            raise TermsError(
                RejectReason.BAD_INSTRUMENT, f"{name} is not a multiple of lot_size")
    for name in ("min_order_notional", "max_order_notional"):
        if terms.get(name) is not None and settle.minor.units(terms[name]) == OFF_GRID:
            raise TermsError(
                RejectReason.BAD_INSTRUMENT,
                f"{name} is finer than the minor unit of {settle.name}")
    if unit.numerator > MONEY_MAX or ratio.numerator > MONEY_MAX:
        raise TermsError(RejectReason.BAD_INSTRUMENT, "tick or lot is too large")
    return Instrument(
        index, terms["symbol"], terms["base"], terms["quote"], settle, tick, mark, lot,
        contract_size, unit.numerator, ratio.numerator, dict(terms), kind,
    )


def core_terms(instrument: Instrument, tiers: list[TierRow]) -> tuple[Any, ...]:
    """Return the arguments of the core's `add_instrument`, in its order."""
    terms = instrument.terms
    band = terms.get("price_band")
    open_orders = terms.get("max_open_orders")
    return (
        instrument.settle.index, instrument.marks_per_tick, instrument.unit_value,
        RATE.units(terms.get("maker_fee", 0)), RATE.units(terms.get("taker_fee", 0)),
        RATE.units(terms.get("liquidation_fee", 0)),
        NONE if band is None else RATE.units(band),
        _lots_of(instrument, "max_order_quantity"),
        NONE if open_orders is None else open_orders,
        int(TierRule[terms.get("tier_rule", "marginal").upper()]), tiers,
    )


def core_limits(instrument: Instrument) -> tuple[int, int, int, int, int]:
    """Return the rest: least quantity (lots), least and largest notional, kind and expiry."""
    expiry = instrument.terms.get("expiry_ts")
    return (
        _lots_of(instrument, "min_order_quantity"),
        _money_of(instrument, "min_order_notional"), _money_of(instrument, "max_order_notional"),
        int(instrument.kind), NONE if expiry is None else expiry,
    )


def core_mark_rules(instrument: Instrument) -> tuple[int, int]:
    """Return the largest age of a mark (ns) and its band around the index, NONE: no such rule."""
    age, band = instrument.terms.get("mark_max_age_ns"), instrument.terms.get("mark_band")
    return NONE if age is None else age, NONE if band is None else RATE.units(band)


def _lots_of(instrument: Instrument, name: str) -> int:
    value = instrument.terms.get(name)
    if value is None:
        return NONE
    return min(MONEY_MAX, (Grid(value).step / instrument.lot.step).numerator)


def _money_of(instrument: Instrument, name: str) -> int:
    value = instrument.terms.get(name)
    if value is None:
        return NONE
    units = instrument.settle.minor.units(value)
    return MONEY_MAX if units == TOO_LARGE else units
