"""Bybit risk limits (V5 `market/risk-limit`)."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from engine.schedules.rows import (
    Loaded,
    Note,
    Place,
    check_deductions,
    make_row,
    read_cap,
    read_number,
    read_rows,
    read_symbol,
)


def is_risk_limit(entry: object) -> bool:
    """Tell whether an object is one tier of a risk-limit list."""
    return isinstance(entry, Mapping) and "riskLimitValue" in entry


def unwrap(
    data: Any, label: str, notes: list[Note], what: str = "tier"
) -> list[Mapping[str, Any]]:
    """Return the rows of a reply, or of its bare list; notes where there are more pages.

    Raises
    ------
    InputError
        Also for a reply that is an error.
    """
    if isinstance(data, Mapping):
        # As text: a NaN that signals may not even be compared.
        if str(data.get("retCode", 0)) != "0":
            raise Place(label).refuse(
                f"the reply is an error: {data['retCode']} {str(data.get('retMsg'))[:80]!r}")
        data = data.get("result", data)
        if isinstance(data, Mapping) and data.get("nextPageCursor"):
            notes.append(
                Place(label).note("nextPageCursor is set: more symbols are on the next page"))
        data = data.get("list") if isinstance(data, Mapping) else None
    return read_rows(data, Place(label), what)


def read_risk_limits(data: Any, label: str, symbol: str | None) -> Loaded:
    """Read a risk-limit reply or its list; tiers of several symbols may be mixed.

    A tier names only its upper edge (`riskLimitValue`, in the quote currency of a linear and in
    the coin of an inverse contract); it begins where the one before it ends.

    Parameters
    ----------
    data : object
        Parsed JSON.
    label : str
    symbol : str or None
        Of rows that name none.

    Returns
    -------
    Loaded

    Raises
    ------
    InputError
    """
    loaded = Loaded("bybit")
    tables: dict[str, list[Mapping[str, Any]]] = {}
    for row in unwrap(data, label, loaded.notes):
        name = row.get("symbol") or symbol
        if name is None:
            raise Place(label).refuse("the rows name no symbol; say which it is")
        tables.setdefault(read_symbol(name, Place(label)), []).append(row)
    for name, raw in tables.items():
        _read_table(loaded, Place(label, name), raw)
    return loaded


def _read_table(loaded: Loaded, place: Place, raw: list[Mapping[str, Any]]) -> None:
    rows = []
    low = Fraction(0)
    for number, row in enumerate(raw, start=1):
        here = Place(place.label, place.symbol, number)
        high = read_cap(row, "riskLimitValue", here, loaded.notes)
        rate = read_number(row, "maintenanceMargin", here)
        leverage = read_number(row, "maxLeverage", here)
        rows.append(make_row(low, high, rate, leverage))
        if row.get("initialMargin") not in (None, ""):
            if read_number(row, "initialMargin", here) * leverage != 1:
                loaded.notes.append(here.note(
                    f"initialMargin {row['initialMargin']} is not 1 / maxLeverage "
                    f"{row['maxLeverage']}: the engine asks for 1 / max_leverage"))
        if high is not None:
            low = high
    loaded.add(place, rows)
    check_deductions(place, rows, raw, "mmDeduction")
