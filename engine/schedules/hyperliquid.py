"""Hyperliquid margin tables (the `meta` reply of its info endpoint)."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from engine.schedules.rows import (
    Loaded,
    Place,
    maintenance_rate,
    make_row,
    read_number,
    read_rows,
    read_symbol,
)


def is_meta(data: object) -> bool:
    """Tell whether an object is a `meta` reply."""
    return isinstance(data, Mapping) and "universe" in data and "marginTables" in data


def read_meta(data: Mapping[str, Any], label: str) -> Loaded:
    """Read the margin tables of all symbols of a `meta` reply.

    A tier begins at `lowerBound` and ends where the next begins; the last has no cap. The
    maintenance rate is half of the initial rate at the tier's `maxLeverage`. A symbol whose
    `marginTableId` is not among the tables has one tier; the id is its leverage then.

    Parameters
    ----------
    data : mapping
        Parsed JSON.
    label : str

    Returns
    -------
    Loaded

    Raises
    ------
    InputError
    """
    loaded = Loaded("hyperliquid")
    tables = _tables(data["marginTables"], Place(label))
    for entry in read_rows(data["universe"], Place(label)):
        symbol = read_symbol(entry.get("name"), Place(label))
        place = Place(label, symbol)
        if symbol in loaded.schedules:
            raise place.refuse("the symbol comes twice")
        leverage = read_number(entry, "maxLeverage", place)
        table_id = read_number(entry, "marginTableId", place)
        tiers = tables.get(table_id)
        if tiers is None:
            if table_id != leverage:
                raise place.refuse(f"marginTableId {table_id} is not among the marginTables")
            tiers = [{"lowerBound": "0", "maxLeverage": entry["maxLeverage"]}]
        elif read_number(tiers[0], "maxLeverage", Place(label, symbol, 1)) != leverage:
            raise place.refuse(
                f"maxLeverage is {leverage}, but table {table_id} begins with "
                f"{tiers[0]['maxLeverage']}")
        if entry.get("isDelisted"):
            loaded.notes.append(place.note("isDelisted"))
        _add(loaded, place, tiers)
    return loaded


def _tables(data: object, place: Place) -> dict[Fraction, list[Mapping[str, Any]]]:
    if not isinstance(data, list):
        raise place.refuse("marginTables: expected a list")
    found = {}
    for entry in data:
        if not (isinstance(entry, list) and len(entry) == 2 and isinstance(entry[1], Mapping)):
            raise place.refuse("marginTables: expected pairs of an id and a table")
        table_id = read_number({"id": entry[0]}, "id", place)
        here = Place(place.label, f"table {table_id}")
        found[table_id] = read_rows(entry[1].get("marginTiers"), here)
        if not found[table_id]:
            raise here.refuse("no tiers")
    return found


def _add(loaded: Loaded, place: Place, tiers: list[Mapping[str, Any]]) -> None:
    places = [Place(place.label, place.symbol, number) for number in range(1, len(tiers) + 1)]
    edges = [
        read_number(tier, "lowerBound", here) for tier, here in zip(tiers, places, strict=True)]
    rows = []
    for index, (tier, here) in enumerate(zip(tiers, places, strict=True)):
        high = edges[index + 1] if index + 1 < len(edges) else None
        leverage = read_number(tier, "maxLeverage", here)
        if leverage <= 0:
            raise here.refuse("maxLeverage is not above zero")
        rate = maintenance_rate(leverage, Fraction(1, 2), here, loaded.notes)
        rows.append(make_row(edges[index], high, rate, leverage))
    loaded.add(place, rows)
