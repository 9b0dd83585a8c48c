"""Bybit V5 `instruments-info`, linear and inverse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from engine.listings.rows import Contract, Row, check_multiples
from engine.schedules import bybit
from engine.schedules.rows import Note

_KINDS = {
    "LinearPerpetual": ("linear", False), "LinearFutures": ("linear", True),
    "InversePerpetual": ("inverse", False), "InverseFutures": ("inverse", True),
}
_QUANTITIES = {
    "max_order_quantity": "lotSizeFilter.maxOrderQty",
    "min_order_quantity": "lotSizeFilter.minOrderQty",
}


def is_row(entry: object) -> bool:
    """Tell whether an object is one row of an instruments reply."""
    return isinstance(entry, Mapping) and "lotSizeFilter" in entry


def rows(data: Any, label: str, notes: list[Note]) -> Iterator[Row]:
    """Yield the rows of a reply or of its list."""
    for number, raw in enumerate(bybit.unwrap(data, label, notes, "instrument"), start=1):
        yield Row(raw, label, number)


def is_spot(row: Row) -> bool:
    """Tell whether a row is a spot market: those have a precision in place of a step."""
    return "contractType" not in row and "lotSizeFilter.basePrecision" in row


def idle_state(row: Row) -> str | None:
    """Return the state of a contract that is not being traded, None for one that is."""
    state = row.text("status")
    return None if state == "Trading" else state


def read(row: Row, notes: list[Note]) -> Contract:
    """Return what a row says.

    Quantities are in base (linear) or in the quote (inverse). Limits of market orders and the
    price limits, which follow a formula, have no counterpart and are not used.
    """
    if "optionsType" in row:
        raise row.refuse("optionsType", "options are not supported")
    name = row.text("contractType")
    if name not in _KINDS:
        raise row.refuse("contractType", "not supported")
    kind, is_dated = _KINDS[name]
    base, settle = row.text("baseCoin"), row.text("settleCoin")
    if (kind == "inverse") != (settle == base):
        raise row.refuse("settleCoin", f"not what a contract of type {name} settles in")
    return check_multiples(row, Contract(
        row.place, kind, base, row.text("quoteCoin"), settle,
        row.positive("priceFilter.tickSize"), row.positive("lotSizeFilter.qtyStep"),
        expiry_ts=row.time_ns("deliveryTime") if is_dated else None,
        max_leverage=row.limit("leverageFilter.maxLeverage"),
        limits={
            **{limit: row.limit(field) for limit, field in _QUANTITIES.items()},
            # In quote, which is not what an inverse contract's notional is in.
            "min_order_notional": row.limit("lotSizeFilter.minNotionalValue")
            if kind == "linear" else None,
        }), _QUANTITIES)
