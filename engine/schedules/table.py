"""Tiers as a CSV table, columns found by name."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction

from engine.schedules.rows import (
    Loaded,
    Note,
    Place,
    Row,
    check_number,
    maintenance_rate,
    make_row,
    read_cap,
    read_number,
    read_symbol,
)

#: What a column holds, and the names it is known by: letters and digits only, lower case.
_NAMES = {
    "symbol": ("symbol", "pair", "instrument"),
    "tier": ("tier", "bracket"),
    "range": ("positionnotionalvalue", "notional", "position"),
    "min_notional": ("minnotional", "notionalfloor"),
    "max_notional": ("maxnotional", "notionalcap"),
    "maintenance_margin_rate": ("maintenancemarginrate", "maintmarginratio", "mmr"),
    "max_leverage": ("maxleverage", "leverage", "initialleverage"),
}
_RANGE = re.compile(r"(\S+)\s*~\s*(\S+)")


def _columns(header: Sequence[str]) -> dict[str, int]:
    plain = ["".join(c for c in name.lower() if c.isalnum()) for name in header]
    found = {}
    for column, names in _NAMES.items():
        for name in names:
            if name in plain:
                found[column] = plain.index(name)
                break
    return found


def is_table(line: str) -> bool:
    """Tell whether a line is the header of a table of tiers."""
    try:
        columns = set(_columns(next(csv.reader([line]), [])))
    except csv.Error:
        return False
    has_edges = "range" in columns or {"min_notional", "max_notional"} <= columns
    return {"symbol", "max_leverage"} <= columns and has_edges


def read_table(lines: Sequence[str], label: str, fraction: Fraction | None) -> Loaded:
    """Read a CSV table of tiers.

    A header names the columns: symbol (or pair), tier (optional), a range `low ~ high` or both
    edges, maximum leverage (`150` or `150X`), and the maintenance rate (`0.004` or `0.4%`).

    Parameters
    ----------
    lines : sequence of str
    label : str
    fraction : Fraction or None
        Maintenance rate of a table without that column, as a fraction of the initial rate at
        the tier's maximum leverage.

    Returns
    -------
    Loaded

    Raises
    ------
    InputError
        With file and line.
    """
    loaded = Loaded("csv")
    columns = _columns(next(csv.reader(lines[:1])))
    if "maintenance_margin_rate" not in columns:
        if fraction is None:
            raise Place(label).refuse(
                "the table has no maintenance rates; say which fraction of the initial rate "
                "they are")
        loaded.notes.append(Place(label).note(
            f"no maintenance rates in the table: {fraction} of 1 / max_leverage was asked for"))
    tables: dict[str, list[Row]] = {}
    for line_number, cells in _cells(lines, label):
        symbol = read_symbol(cells.get("symbol"), Place(f"{label}:{line_number}"))
        rows = tables.setdefault(symbol, [])
        place = Place(f"{label}:{line_number}", symbol, len(rows) + 1)
        rows.append(_read_row(cells, place, fraction, loaded.notes))
    for symbol, rows in tables.items():
        loaded.add(Place(label, symbol), rows)
    return loaded


def _cells(lines: Sequence[str], label: str) -> Iterator[tuple[int, dict[str, str]]]:
    reader = csv.reader(lines)
    header = next(reader)
    columns = _columns(header)
    try:
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(header):
                raise Place(f"{label}:{reader.line_num}").refuse(
                    f"expected {len(header)} columns, found {len(cells)}")
            yield reader.line_num, {name: cells[at].strip() for name, at in columns.items()}
    except csv.Error as error:
        raise Place(f"{label}:{reader.line_num}").refuse(str(error)) from None


def _read_row(
    cells: dict[str, str], place: Place, fraction: Fraction | None, notes: list[Note]
) -> Row:
    if "tier" in cells:
        cells["tier"] = re.sub(r"^tier\s*", "", cells["tier"], flags=re.I)
        assert place.tier is not None
        check_number(cells, "tier", place.tier, place)
    if "range" in cells:
        edges = _RANGE.fullmatch(cells["range"])
        if edges is None:
            raise place.refuse(f"expected a range LOW ~ HIGH, not {cells['range'][:40]!r}")
        cells["min_notional"], cells["max_notional"] = edges.groups()
    low = read_number(cells, "min_notional", place)
    high = None
    if cells["max_notional"]:
        high = read_cap(cells, "max_notional", place, notes)
    cells["max_leverage"] = re.sub(r"(?<=[0-9])x$", "", cells["max_leverage"], flags=re.I)
    leverage = read_number(cells, "max_leverage", place)
    if leverage <= 0:
        raise place.refuse("max_leverage is not above zero")
    if "maintenance_margin_rate" in cells:
        text = cells["maintenance_margin_rate"]
        cells["maintenance_margin_rate"] = text.removesuffix("%")
        rate = read_number(cells, "maintenance_margin_rate", place)
        rate = rate / 100 if text.endswith("%") else rate
    else:
        assert fraction is not None
        rate = maintenance_rate(leverage, fraction, place, notes)
    return make_row(low, high, rate, leverage)
