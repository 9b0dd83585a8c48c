"""Binance `exchangeInfo`, USD-M (`fapi`) and COIN-M (`dapi`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from engine.listings.rows import Contract, Row, check_multiples, whole
from engine.schedules.rows import Note, Place, exact_text, read_rows

_PERPETUAL = ("PERPETUAL", "TRADIFI_PERPETUAL")
_DATED = ("CURRENT_MONTH", "NEXT_MONTH", "CURRENT_QUARTER", "NEXT_QUARTER")
_QUANTITIES = {
    "max_order_quantity": "LOT_SIZE.maxQty", "min_order_quantity": "LOT_SIZE.minQty"}


def is_reply(data: object) -> bool:
    """Tell whether parsed JSON is an `exchangeInfo` reply."""
    return isinstance(data, Mapping) and isinstance(data.get("symbols"), list)


def rows(data: Any, label: str, notes: list[Note]) -> Iterator[Row]:
    """Yield the rows of a reply."""
    for number, raw in enumerate(read_rows(data["symbols"], Place(label), "symbol"), start=1):
        yield Row(raw, label, number)


def is_spot(row: Row) -> bool:
    """Tell whether a row is a spot market: it has neither a contract type nor a margin asset."""
    return "contractType" not in row and "marginAsset" not in row


def idle_state(row: Row) -> str | None:
    """Return the state of a contract that is not being traded, None for one that is."""
    name = "contractStatus" if "contractStatus" in row else "status"
    state = row.text(name)
    return None if state == "TRADING" else state


def read(row: Row, notes: list[Note]) -> Contract:
    """Return what a row says.

    `requiredMarginPercent` and `maintMarginPercent` become the leverage and the maintenance
    rate of an instrument without a schedule. `MARKET_LOT_SIZE`, `minPrice` and `maxPrice`,
    `triggerProtect` and `marketTakeBound` have no counterpart and are not used.
    """
    kind = row.text("contractType")
    if kind not in _PERPETUAL and kind not in _DATED:
        raise row.refuse("contractType", "not supported")
    is_coin = row.get("contractSize") is not None
    base, settle = row.text("baseAsset"), row.text("marginAsset")
    if is_coin != (settle == base):
        raise row.refuse(
            "marginAsset", f"a contract with{'' if is_coin else 'out'} contractSize settles in "
            + ("its base" if is_coin else "another asset than its base"))
    leverage, maintenance = margins(row)
    return check_multiples(row, Contract(
        row.place, "inverse" if is_coin else "linear", base, row.text("quoteAsset"), settle,
        row.positive("PRICE_FILTER.tickSize"), row.positive("LOT_SIZE.stepSize"),
        row.positive("contractSize") if is_coin else Fraction(1),
        row.time_ns("deliveryDate") if kind in _DATED else None,
        whole(row, "baseAssetPrecision" if is_coin else "quotePrecision"),
        leverage, maintenance,
        {
            **{limit: row.limit(name) for limit, name in _QUANTITIES.items()},
            # In quote, which is not what an inverse contract's notional is in.
            "min_order_notional": None if is_coin else row.limit("MIN_NOTIONAL.notional"),
        },
        {
            "liquidation_fee": row.rate("liquidationFee"),
            "price_band": _price_band(row, notes),
            "max_open_orders": whole(row, "MAX_NUM_ORDERS.limit"),
        }), _QUANTITIES)


def margins(row: Row, prefix: str = "") -> tuple[Fraction | None, Fraction | None]:
    """Return the leverage and the maintenance rate that a row has for every account.

    Parameters
    ----------
    row : Row
    prefix : str
        Of the fields: ``info.`` where ccxt carries the row.
    """
    required = row.limit(f"{prefix}requiredMarginPercent")
    maintenance = row.limit(f"{prefix}maintMarginPercent")
    return (None if required is None else 100 / required,
            None if maintenance is None else maintenance / 100)


def _price_band(row: Row, notes: list[Note]) -> str | None:
    up, down = row.limit("PERCENT_PRICE.multiplierUp"), row.limit("PERCENT_PRICE.multiplierDown")
    if up is None and down is None:
        return None
    if up is None or down is None or not down < 1 < up:
        raise row.refuse("PERCENT_PRICE.multiplierUp", "not above 1, with multiplierDown below it")
    band = max(up - 1, 1 - down)
    if up - 1 != 1 - down:
        notes.append(row.place.note(
            f"PERCENT_PRICE goes from {exact_text(down)} to {exact_text(up)}: "
            + (f"the wider {exact_text(band)} is taken" if band < 1 else "read as no band")))
    return exact_text(band) if band < 1 else None
