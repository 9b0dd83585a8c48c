"""One row of a listing: its fields by dotted names, and what it says about a contract."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from engine.errors import InputError
from engine.schedules.rows import Place, exact_text, read_number, read_symbol

_MS_NS = 1_000_000
#: Objects further inside are none that a listing needs.
_DEPTH_MAX = 3


def _flatten(raw: Mapping[str, Any], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    for name, value in raw.items():
        if isinstance(value, Mapping) and depth < _DEPTH_MAX:
            yield from _flatten(value, f"{prefix}{name}.", depth + 1)
        elif name == "filters" and isinstance(value, list):
            # Binance: a list of objects, each with its name inside.
            for one in value:
                if isinstance(one, Mapping) and isinstance(one.get("filterType"), str):
                    yield from _flatten(one, f"{prefix}{one['filterType']}.", _DEPTH_MAX)
        else:
            yield f"{prefix}{name}", value


class Row:
    """One row: every way to read a field refuses it by its name.

    Parameters
    ----------
    raw : mapping
        As parsed; objects inside are read by dotted names (`lotSizeFilter.qtyStep`), the
        filters of Binance by theirs (`LOT_SIZE.stepSize`).
    label : str
        The file as it was named.
    number : int
        From 1; names a row without a symbol.
    symbol_field : str
    """

    def __init__(
        self, raw: Mapping[str, Any], label: str, number: int, symbol_field: str = "symbol"
    ) -> None:
        self._fields = dict(_flatten(raw))
        self.symbol = read_symbol(
            self._fields.get(symbol_field), Place(label, f"row {number}"))
        self.place = Place(label, self.symbol)

    def __contains__(self, name: str) -> bool:
        return self._fields.get(name) not in (None, "")

    def get(self, name: str) -> object:
        """Return a field as it was parsed, None where it is absent."""
        return self._fields.get(name)

    def text(self, name: str) -> str:
        """Return a field that has to be a name."""
        value = self._fields.get(name)
        if value is None or value == "":
            raise self.place.refuse(f"{name} is missing")
        if not (isinstance(value, str) and value.isprintable() and len(value) <= 64):
            raise self.place.refuse(f"{name} is not a name: {str(value)[:40]!r}")
        return value

    def positive(self, name: str) -> Fraction:
        """Return a field that has to be a number above zero."""
        value = read_number(self._fields, name, self.place)
        if value <= 0:
            raise self.place.refuse(f"{name} is {self._fields[name]}, not above zero")
        return value

    def limit(self, name: str) -> Fraction | None:
        """Return a field that may be absent or zero: None, no such limit."""
        if name not in self:
            return None
        value = read_number(self._fields, name, self.place)
        if value < 0:
            raise self.place.refuse(f"{name} is {self._fields[name]}, below zero")
        return value or None

    def rate(self, name: str) -> str | None:
        """Return a field that may be absent, or is a number of either sign."""
        if name not in self:
            return None
        return exact_text(read_number(self._fields, name, self.place))

    def time_ns(self, name: str) -> int:
        """Return a field in milliseconds as nanoseconds."""
        value = self.positive(name)
        if value.denominator != 1 or value * _MS_NS > 1 << 62:
            raise self.place.refuse(f"{name} is no time in milliseconds: {self._fields[name]}")
        return int(value) * _MS_NS

    def refuse(self, name: str, what: str) -> InputError:
        """Return the error that names this row, a field, its value, and what is wrong."""
        value = self._fields.get(name)
        shown = "missing" if value is None or value == "" else repr(str(value)[:40])
        return self.place.refuse(f"{name} is {shown}: {what}")


@dataclass
class Contract:
    """What a row says about a contract.

    Attributes
    ----------
    place : Place
    kind : str
        `linear` or `inverse`.
    base, quote, settle : str
    tick_size, lot_size : Fraction
    contract_size : Fraction
        Units of base (linear) or quote (inverse) of a quantity of 1.
    expiry_ts : int or None, ns
        None: a perpetual.
    decimals : int or None
        Of the settle asset, where the row says so.
    max_leverage, maintenance_rate : Fraction or None
        For an instrument without a schedule of its own.
    limits : dict of str to Fraction, None for no such limit
        `max_order_quantity`, `min_order_quantity`, `min_order_notional`.
    terms : dict
        Further fields of the command; None for what is absent.
    """

    place: Place
    kind: str
    base: str
    quote: str
    settle: str
    tick_size: Fraction
    lot_size: Fraction
    contract_size: Fraction = Fraction(1)
    expiry_ts: int | None = None
    decimals: int | None = None
    max_leverage: Fraction | None = None
    maintenance_rate: Fraction | None = None
    limits: dict[str, Fraction | None] = field(default_factory=dict)
    terms: dict[str, Any] = field(default_factory=dict)

    def step_value(self) -> Fraction:
        """Return what one lot is worth for one tick, or if inverse at a price of one tick."""
        value = self.lot_size * self.contract_size
        return value / self.tick_size if self.kind == "inverse" else value * self.tick_size

    def command(self, symbol: str, tiers: list[Any]) -> dict[str, Any]:
        """Return the `instrument` command."""
        found = {
            "cmd": "instrument", "symbol": symbol, "kind": self.kind, "base": self.base,
            "quote": self.quote, "settle": self.settle,
            "tick_size": exact_text(self.tick_size), "lot_size": exact_text(self.lot_size),
            "contract_size": exact_text(self.contract_size),
        }
        further: dict[str, Any] = {name: None if limit is None else exact_text(limit)
                   for name, limit in self.limits.items()}
        further |= {**self.terms, "expiry_ts": self.expiry_ts}
        found.update({name: value for name, value in further.items() if value is not None})
        return {**found, "tiers": tiers}


def check_multiples(row: Row, contract: Contract, names: Mapping[str, str]) -> Contract:
    """Refuse quantities that are no whole number of lots, by the field they come from.

    Parameters
    ----------
    row : Row
    contract : Contract
    names : mapping of str to str
        Limit to field.

    Returns
    -------
    Contract
        The same.
    """
    for limit, name in names.items():
        value = contract.limits.get(limit)
        if value is not None and (value / contract.lot_size).denominator != 1:
            raise row.refuse(
                name, f"no whole number of lots of {exact_text(contract.lot_size)}")
    return contract


def whole(row: Row, name: str) -> int | None:
    """Return a field that may be absent, or is a whole number above zero."""
    value = row.limit(name)
    if value is None:
        return None
    if value.denominator != 1:
        raise row.refuse(name, "not a whole number")
    return int(value)


__all__ = ["Contract", "Row", "check_multiples", "whole"]
