"""Binance brackets, as the API answers them and as ccxt's unified leverage tiers carry them."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from engine.schedules.rows import (
    UNCAPPED,
    Loaded,
    Place,
    check_deductions,
    check_number,
    make_row,
    read_cap,
    read_number,
    read_rows,
    read_symbol,
)

#: COIN-M brackets are in coin, which is what an inverse instrument's notional is in. The
#: venue's documentation writes `qtylFloor`.
_FLOORS = ("notionalFloor", "qtyFloor", "qtylFloor")
_CAPS = ("notionalCap", "qtyCap")

#: A unified field, and the field of `info` that has to say the same.
_SAME = (
    ("minNotional", "notionalFloor"), ("maxNotional", "notionalCap"),
    ("maintenanceMarginRate", "maintMarginRatio"), ("maxLeverage", "initialLeverage"),
)


def is_brackets(entry: object) -> bool:
    """Tell whether an object is one symbol of a `leverageBracket` reply."""
    return isinstance(entry, Mapping) and "brackets" in entry


def read_brackets(data: Any, label: str) -> Loaded:
    """Read a `leverageBracket` reply: one symbol, or a list of them.

    Parameters
    ----------
    data : object
        Parsed JSON; floors and caps in quote (USD-M) or in coin (COIN-M).
    label : str

    Returns
    -------
    Loaded

    Raises
    ------
    InputError
    """
    loaded = Loaded("binance")
    for entry in data if isinstance(data, list) else [data]:
        if not is_brackets(entry):
            raise Place(label).refuse("expected a symbol with its brackets")
        symbol = read_symbol(entry.get("symbol") or entry.get("pair"), Place(label))
        place = Place(label, symbol)
        if symbol in loaded.schedules:
            raise place.refuse("the symbol comes twice")
        if entry.get("notionalCoef") is not None:
            loaded.notes.append(place.note(
                f"notionalCoef {entry['notionalCoef']}: a table of one user; read as written"))
        raw = read_rows(entry["brackets"], place)
        rows = []
        for number, row in enumerate(raw, start=1):
            here = Place(label, symbol, number)
            check_number(row, "bracket", number, here)
            low = read_number(row, _present(row, _FLOORS), here)
            high = read_cap(row, _present(row, _CAPS), here, loaded.notes)
            rate = read_number(row, "maintMarginRatio", here)
            rows.append(make_row(low, high, rate, read_number(row, "initialLeverage", here)))
        loaded.add(place, rows)
        check_deductions(place, rows, raw, "cum")
    return loaded


def _present(row: Mapping[str, Any], names: tuple[str, ...]) -> str:
    return next((name for name in names if name in row), names[0])


def read_unified(data: Mapping[str, Any], label: str) -> Loaded:
    """Read ccxt's unified leverage tiers: an object of symbols, each a list of tiers.

    The unified fields are what is read. Where `info` holds a Binance bracket it has to say
    the same, and its `cum` has to be what the tiers give.

    Parameters
    ----------
    data : mapping of str to list
    label : str

    Returns
    -------
    Loaded

    Raises
    ------
    InputError
        Also for tables in contracts (OKX through ccxt), whose unified fields are no notionals.
    """
    loaded = Loaded("ccxt")
    for symbol, table in data.items():
        place = Place(label, read_symbol(symbol, Place(label)))
        raw = read_rows(table, place)
        rows = []
        infos = []
        for number, row in enumerate(raw, start=1):
            here = Place(label, symbol, number)
            check_number(row, "tier", number, here)
            info = row.get("info")
            infos.append(info if isinstance(info, Mapping) else {})
            _check_info(row, infos[-1], here)
            low = read_number(row, "minNotional", here)
            high = read_cap(row, "maxNotional", here, loaded.notes)
            rate = read_number(row, "maintenanceMarginRate", here)
            rows.append(make_row(low, high, rate, read_number(row, "maxLeverage", here)))
        loaded.add(place, rows)
        check_deductions(place, rows, infos, "cum")
    return loaded


def _check_info(row: Mapping[str, Any], info: Mapping[str, Any], place: Place) -> None:
    if "maxSz" in info:
        raise place.refuse("sizes are in contracts; load the venue's own position tiers")
    for unified, name in _SAME:
        if info.get(name) in (None, ""):
            continue
        ours, theirs = read_number(row, unified, place), read_number(info, name, place)
        if ours != theirs and not _are_uncapped(ours, theirs):
            raise place.refuse(f"{unified} is {row[unified]}, but info.{name} is {info[name]}")


def _are_uncapped(*caps: Fraction) -> bool:
    return UNCAPPED.issuperset(caps)
