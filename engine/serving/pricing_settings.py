"""How a server prices its symbols: a TOML table for each, read and checked.

Keys are those of the rules in `engine.pricing`; `docs/feeds.md` shows a file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from engine.errors import InputError
from engine.pricing import (
    FundingRules,
    IndexRules,
    MarginMultipliers,
    MarkRules,
    OpenInterestRules,
    Patience,
    PremiumRules,
    Source,
    SymbolConfig,
    VolatilityRules,
    preset,
)
from engine.serving.toml_file import read_toml

Table = Mapping[str, Any]
_RULES: dict[str, type[Any]] = {
    "index": IndexRules, "mark": MarkRules, "premium": PremiumRules, "funding": FundingRules}
_TERMS = ("impact_notional", "initial_rate", "maintenance_rate", "book_max_age_ns")
_MULTIPLIERS = ("volatility", "open_interest", "multipliers")
_KEYS = ("preset", "price", "sources", *_TERMS, *_RULES, *_MULTIPLIERS)
PRICES = ("mark", "index")


@dataclass(frozen=True)
class SymbolPricing:
    """How one symbol is priced.

    Attributes
    ----------
    config : SymbolConfig
        Its mark tick, kind and contract size are placeholders: the instrument says them.
    price : {"mark", "index"}
        Which field of a publisher's rows is its price.
    volatility : VolatilityRules or None
    open_interest : OpenInterestRules or None
        Its contract size is a placeholder, too.
    clock : tuple of (str, int)
        `interval_ns` and `notice_ns` of the multipliers, where given.
    """

    config: SymbolConfig
    price: str = "mark"
    volatility: VolatilityRules | None = None
    open_interest: OpenInterestRules | None = None
    clock: tuple[tuple[str, int], ...] = ()

    @property
    def symbol(self) -> str:
        """Its name."""
        return self.config.symbol

    def multipliers(self, mark_tick: str, contract_size: str) -> MarginMultipliers | None:
        """Return what makes the symbol's multipliers, None where there are no rules."""
        if self.volatility is None and self.open_interest is None:
            return None
        crowding = self.open_interest
        if crowding is not None:
            crowding = replace(crowding, contract_size=contract_size)
        return MarginMultipliers(
            self.symbol, mark_tick, self.volatility, crowding, **dict(self.clock))


def read_pricing(
    given: str | Table, names: Sequence[str], max_age_ns: int, min_sources: int
) -> tuple[SymbolPricing, ...]:
    """Read the pricing of all symbols, in order of name.

    Parameters
    ----------
    given : str or mapping
        Path of a TOML file, or its content: a table for each symbol.
    names : sequence of str
        Of the publishers.
    max_age_ns, min_sources : int
        Of sources and index, where a table does not say it.

    Raises
    ------
    InputError
        One line that says where and what.
    """
    where, tables = "pricing", given
    if isinstance(given, str):
        where, tables = given, read_toml(given)
    assert not isinstance(tables, str)
    return tuple(
        _Reader(f"{where}: {symbol}", symbol, tables[symbol], names).read(max_age_ns, min_sources)
        for symbol in sorted(tables))


class _Reader:
    """Reads the table of one symbol; errors say where."""

    def __init__(self, where: str, symbol: str, table: Any, names: Sequence[str]) -> None:
        self._where, self._symbol, self._names = where, symbol, names
        self._table = self._map("", table, _KEYS)

    def read(self, max_age_ns: int, min_sources: int) -> SymbolPricing:
        table = self._table
        price = table.get("price", "mark")
        if price not in PRICES:
            raise self._error(f"price is one of {', '.join(PRICES)}, not {price!r:.40}")
        try:
            return SymbolPricing(
                self._config(max_age_ns, min_sources), price, self._volatility(),
                self._open_interest(), self._clock())
        except (InputError, TypeError) as error:
            raise self._error(str(error)) from None

    def _config(self, max_age_ns: int, min_sources: int) -> SymbolConfig:
        table = self._table
        sources = self._sources(max_age_ns)
        rules: dict[str, Any] = {name: kind() for name, kind in _RULES.items()}
        if "preset" in table:
            venue = preset(str(table["preset"]))
            rules = {name: getattr(venue, name) for name in _RULES}
        for name, kind in _RULES.items():
            changes = self._fields(name, kind)
            if name == "mark":
                if "on_held" in changes:
                    raise InputError("mark.on_held: liquidations of a stale symbol always stop")
                changes["on_held"] = "halt"
            if name == "index":
                changes.setdefault("min_sources", min(min_sources, len(sources)))
            rules[name] = replace(rules[name], **changes)
        terms = {name: _none(table[name]) for name in _TERMS if name in table}
        return SymbolConfig(self._symbol, "1", sources, **terms, **rules)

    def _sources(self, max_age_ns: int) -> tuple[Source, ...]:
        rows = self._table.get("sources", list(self._names))
        if not isinstance(rows, list) or not rows:
            raise InputError("sources is a list of publishers")
        found = []
        for row in rows:
            keys = {"name": row} if isinstance(row, str) else self._map(
                "sources", row, [field.name for field in fields(Source)])
            if keys.get("name") not in self._names:
                raise InputError(
                    f"sources: no publisher {keys.get('name')!r:.40}; there are "
                    f"{', '.join(self._names)}")
            found.append(Source(**{"max_age_ns": max_age_ns, **keys}))
        return tuple(sorted(found, key=lambda source: source.name))

    def _volatility(self) -> VolatilityRules | None:
        found: VolatilityRules | None = self._patient("volatility", VolatilityRules)
        return found

    def _open_interest(self) -> OpenInterestRules | None:
        found: OpenInterestRules | None = self._patient("open_interest", OpenInterestRules)
        return found

    def _patient(self, name: str, kind: type[Any]) -> Any:
        if name not in self._table:
            return None
        keys = self._fields(name, kind)
        if "patience" in keys:
            keys["patience"] = Patience(**self._map(
                f"{name}.patience", keys["patience"], [field.name for field in fields(Patience)]))
        return kind(**keys)

    def _clock(self) -> tuple[tuple[str, int], ...]:
        keys = self._map(
            "multipliers", self._table.get("multipliers", {}), ("interval_ns", "notice_ns"))
        clock = tuple(sorted(keys.items()))
        MarginMultipliers(self._symbol, "1", **dict(clock))  # checks them
        return clock

    def _fields(self, name: str, kind: type[Any]) -> dict[str, Any]:
        keys = self._map(name, self._table.get(name, {}), [field.name for field in fields(kind)])
        return {key: _none(value) for key, value in keys.items()}

    def _map(self, name: str, table: Any, keys: Sequence[str]) -> dict[str, Any]:
        at = f"{name}." if name else ""
        if not isinstance(table, Mapping):
            raise self._error(f"{name or 'it'} is a table, not {table!r:.40}")
        for key in table:
            if key not in keys:
                raise self._error(f"unknown key {at}{key}; there are {', '.join(keys)}")
        return dict(table)

    def _error(self, problem: str) -> InputError:
        prefix = f"{self._where}: "
        return InputError(problem if problem.startswith(prefix) else prefix + problem)


def _none(value: Any) -> Any:
    """TOML has neither null nor tuples: `"none"` is None, lists are tuples."""
    if isinstance(value, list):
        return tuple(_none(each) for each in value)
    return None if value == "none" else value
