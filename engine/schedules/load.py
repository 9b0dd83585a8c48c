"""Load margin schedules from any of the shapes in which venues publish them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from engine.errors import InputError
from engine.schedules import binance, bybit, hyperliquid, okx, table
from engine.schedules.rows import (
    Loaded,
    Place,
    Row,
    read_decimal,
    read_rows,
    read_symbol,
    read_tiers,
)
from engine.units import DecimalLike

#: A larger file is something else.
FILE_BYTES_MAX = 1 << 26
_SHAPES = (
    "ccxt leverage tiers, Binance leverageBracket, Bybit risk limits, OKX position tiers, "
    "Hyperliquid meta, tier rows, or a CSV table"
)

Source = str | os.PathLike[str] | Mapping[str, Any] | list[Any]


def load_schedules(
    source: Source,
    *,
    symbol: str | None = None,
    contracts: Mapping[str, okx.Contract] | None = None,
    maintenance_fraction: DecimalLike | None = None,
) -> dict[str, list[Row]]:
    """Return the margin schedules of a file or of parsed JSON, by symbol.

    See `read_schedules`, which also says by which rules the source was read.

    Examples
    --------
    >>> load_schedules({"symbol": "BTCUSDT", "brackets": [
    ...     {"bracket": 1, "initialLeverage": 125, "notionalCap": 50000, "notionalFloor": 0,
    ...      "maintMarginRatio": "0.004", "cum": 0}]})["BTCUSDT"][0]["maintenance_margin_rate"]
    '0.004'
    """
    return read_schedules(
        source, symbol=symbol, contracts=contracts, maintenance_fraction=maintenance_fraction
    ).schedules


def read_schedules(
    source: Source,
    *,
    symbol: str | None = None,
    contracts: Mapping[str, okx.Contract] | None = None,
    maintenance_fraction: DecimalLike | None = None,
) -> Loaded:
    """Read margin schedules; the shape is told by the content, never by a name.

    Parameters
    ----------
    source : path, mapping or list
        A file, or JSON already parsed; floats are refused, so parse with
        ``parse_float=decimal.Decimal``.
    symbol : str, optional
        Of a list whose rows name none (Bybit, ccxt).
    contracts : mapping of str to Contract, optional
        For OKX tables, which are in contracts.
    maintenance_fraction : decimal, optional
        For CSV tables without maintenance rates: their fraction of 1 / max_leverage, in (0, 1].

    Returns
    -------
    Loaded
        Rows that any instrument takes whose settle asset has enough decimals for the edges.

    Raises
    ------
    InputError
        One line with the file, the symbol and the tier: no known shape, a field that is
        missing or no number, gaps, overlaps, falling rates, rising leverages, a rate above
        1 / max_leverage, a deduction that the tiers do not give.
    """
    fraction = None
    if maintenance_fraction is not None:
        fraction = read_decimal(maintenance_fraction, "maintenance_fraction")
        if not 0 < fraction <= 1:
            raise InputError("maintenance_fraction: must be above 0 and at most 1")
    label = "<data>"
    if isinstance(source, str | os.PathLike):
        label = os.fspath(source)
        text = read_text(label)
        if text.lstrip()[:1] not in ("{", "["):
            lines = text.splitlines()
            if not table.is_table(lines[0]):
                raise InputError(f"{label}: none of {_SHAPES}")
            return _kept(table.read_table(lines, label, fraction), label)
        source = parse_json(text, label)
    return _kept(_read_parsed(source, label, symbol, contracts), label)


def _kept(loaded: Loaded, label: str) -> Loaded:
    if not loaded.schedules:
        raise InputError(f"{label}: no tiers in the file")
    return loaded


def read_text(name: str) -> str:
    """Return the text of a file of at most `FILE_BYTES_MAX` bytes that is not empty.

    Raises
    ------
    InputError
    """
    try:
        with open(name, "rb") as file:
            raw = file.read(FILE_BYTES_MAX + 1)
        text = raw.decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{name}: cannot open: {(error.strerror or '').lower()}") from None
    except UnicodeDecodeError:
        raise InputError(f"{name}: not a text file") from None
    if len(raw) > FILE_BYTES_MAX:
        raise InputError(f"{name}: more than {FILE_BYTES_MAX} bytes")
    if not text.strip():
        raise InputError(f"{name}: the file is empty")
    return text


def parse_json(text: str, label: str) -> Any:
    """Return parsed JSON whose numbers are exact (`Decimal`) and whose keys come once.

    Raises
    ------
    InputError
    """
    def no_constant(name: str) -> None:
        raise ValueError(f"{name} is not a number")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"{twice[:64]!r} comes twice in one object")
        return found

    try:
        return json.loads(
            text, parse_float=Decimal, parse_int=Decimal, parse_constant=no_constant,
            object_pairs_hook=unique)
    except (ValueError, ArithmeticError, RecursionError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{label}: not JSON: {reason}") from None


def _read_parsed(
    data: Any, label: str, symbol: str | None, contracts: Mapping[str, okx.Contract] | None
) -> Loaded:
    first = data[0] if isinstance(data, list) and data else data
    if hyperliquid.is_meta(data):
        return hyperliquid.read_meta(data, label)
    if binance.is_brackets(first):
        return binance.read_brackets(data, label)
    if bybit.is_risk_limit(first) or _has(data, "retCode"):
        return bybit.read_risk_limits(data, label, symbol)
    if okx.is_position_tier(first) or (_has(data, "code") and _has(data, "data")):
        return okx.read_position_tiers(data, label, contracts)
    if isinstance(data, list) and _is_row(first):
        data = _by_symbol(data, label, symbol)
    if isinstance(data, Mapping) and data:
        tables = (value for value in data.values() if isinstance(value, list) and value)
        head = next(tables, [None])[0]
        if _has(head, "minNotional"):
            return binance.read_unified(data, label)
        if _has(head, "min_notional"):
            return _read_contract_rows(data, label)
    raise InputError(f"{label}: none of {_SHAPES}")


def _has(entry: object, name: str) -> bool:
    return isinstance(entry, Mapping) and name in entry


def _is_row(entry: object) -> bool:
    return _has(entry, "minNotional") or _has(entry, "min_notional")


def _by_symbol(rows: list[Any], label: str, symbol: str | None) -> dict[str, list[Any]]:
    tables: dict[str, list[Any]] = {}
    for row in read_rows(rows, Place(label)):
        name = row.get("symbol") or symbol
        if name is None:
            raise Place(label).refuse("the rows name no symbol; say which it is")
        tables.setdefault(read_symbol(name, Place(label)), []).append(row)
    return tables


def _read_contract_rows(data: Mapping[str, Any], label: str) -> Loaded:
    loaded = Loaded("rows")
    for symbol, value in data.items():
        place = Place(label, read_symbol(symbol, Place(label)))
        loaded.add(place, read_tiers(value, place, loaded.notes))
    return loaded
