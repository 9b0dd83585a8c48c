"""What a population is made of, as a JSON file says it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.errors import InputError
from engine.populations.distributions import Distribution
from engine.units import is_decimal

_BAND_FIELDS = {"side", "low", "high", "quantity", "notional"}
_SYMBOL_FIELDS = {"weight", "open_interest", "liquidations"}


@dataclass(frozen=True)
class Band:
    """A stated total of the liquidation map.

    Attributes
    ----------
    side : str
        `long` or `short`: of the positions.
    low, high : str
        Decimal; liquidation prices from `low` to below `high`.
    quantity, notional : str or None
        Decimal; one of them. The notional is at the current mark.
    """

    side: str
    low: str
    high: str
    quantity: str | None = None
    notional: str | None = None


@dataclass(frozen=True)
class SymbolPlan:
    """What is stated about one symbol.

    Attributes
    ----------
    weight : float
        How often an account holds it.
    open_interest : str or None
        Decimal quantity: that of all longs, and of all shorts. None: what was drawn.
    bands : tuple of Band
    """

    weight: float = 1.0
    open_interest: str | None = None
    bands: tuple[Band, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What a population is made of.

    Attributes
    ----------
    account_count, seed, first_account : int
    leverage, notional, entry : Distribution
        Of the leverage; of a position's value in units of the settle asset; of the entry price
        as a share of the mark away from it.
    long_share, isolated_share : float
    symbols : dict of str to SymbolPlan
        Empty: all instruments, evenly.
    """

    account_count: int = 10_000
    seed: int = 1
    first_account: int = 1
    leverage: Distribution = field(
        default_factory=lambda: Distribution("lognormal:10,0.75,1,100", "leverage"))
    notional: Distribution = field(
        default_factory=lambda: Distribution("lognormal:3000,1.3", "notional"))
    entry: Distribution = field(default_factory=lambda: Distribution("normal:0,0.01", "entry"))
    long_share: float = 0.5
    isolated_share: float = 0.4
    symbols: Mapping[str, SymbolPlan] = field(default_factory=dict)

    @classmethod
    def of(cls, fields: Mapping[str, Any], where: str = "plan") -> Plan:
        """Read a plan from its JSON form.

        Raises
        ------
        InputError
            With the field and what is wrong.
        """
        known = {
            "accounts", "seed", "first_account", "leverage", "notional", "entry", "long_share",
            "isolated_share", "symbols"}
        _only(fields, known, where)
        default = cls()
        distributions = {
            name: Distribution(fields[name], f"{where}: {name}")
            for name in ("leverage", "notional", "entry") if name in fields}
        return cls(
            account_count=_whole(fields, "accounts", 1, 50_000_000, default.account_count, where),
            seed=_whole(fields, "seed", 0, 2**63, default.seed, where),
            first_account=_whole(fields, "first_account", 1, 2**40, default.first_account, where),
            long_share=_share(fields, "long_share", default.long_share, where),
            isolated_share=_share(fields, "isolated_share", default.isolated_share, where),
            symbols={
                name: _symbol(symbol, f"{where}: {name}")
                for name, symbol in _object(fields.get("symbols", {}), f"{where}: symbols").items()
            },
            **distributions,
        )


def read_plan(path: str) -> Plan:
    """Read a plan from a JSON file.

    Raises
    ------
    InputError
    """
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
    except OSError as error:
        raise InputError(f"{path}: cannot open: {(error.strerror or '').lower()}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON: {error}") from None
    return Plan.of(_object(content, path), path)


def _symbol(fields: Any, where: str) -> SymbolPlan:
    fields = _object(fields, where)
    _only(fields, _SYMBOL_FIELDS, where)
    weight = fields.get("weight", 1.0)
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < 1e9:
        raise InputError(f"{where}: weight must be a number from 0 on, not {weight!r:.40}")
    interest = fields.get("open_interest")
    if interest is not None:
        interest = _decimal(interest, f"{where}: open_interest")
    bands = fields.get("liquidations", [])
    if not isinstance(bands, list):
        raise InputError(f"{where}: liquidations must be a list")
    if bands and interest is None:
        raise InputError(f"{where}: liquidations need the open_interest that they are part of")
    return SymbolPlan(
        float(weight), interest,
        tuple(_band(band, f"{where}: liquidations {k}") for k, band in enumerate(bands, 1)))


def _band(fields: Any, where: str) -> Band:
    fields = _object(fields, where)
    _only(fields, _BAND_FIELDS, where)
    if fields.get("side") not in ("long", "short"):
        raise InputError(f"{where}: side must be long or short")
    if ("quantity" in fields) == ("notional" in fields):
        raise InputError(f"{where}: give a quantity or a notional")
    texts = {
        name: _decimal(fields.get(name), f"{where}: {name}") for name in ("low", "high")}
    size = "quantity" if "quantity" in fields else "notional"
    return Band(fields["side"], **texts, **{size: _decimal(fields[size], f"{where}: {size}")})


def _object(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InputError(f"{where}: expected an object")
    return value


def _only(fields: Mapping[str, Any], known: set[str], where: str) -> None:
    unknown = sorted(set(fields) - known)
    if unknown:
        raise InputError(
            f"{where}: unknown field {unknown[0]!r}; known: {', '.join(sorted(known))}")


def _decimal(value: Any, where: str) -> str:
    text = str(value)
    if isinstance(value, float | bool) or not is_decimal(text) or text.startswith("-"):
        raise InputError(f"{where} must be a decimal string, not {value!r:.40}")
    return text


def _whole(
    fields: Mapping[str, Any], name: str, least: int, most: int, default: int, where: str
) -> int:
    value = fields.get(name, default)
    if type(value) is not int or not least <= value <= most:
        raise InputError(f"{where}: {name} must be a whole number from {least} to {most}")
    return value


def _share(fields: Mapping[str, Any], name: str, default: float, where: str) -> float:
    value = fields.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise InputError(f"{where}: {name} must be between 0 and 1, not {value!r:.40}")
    return float(value)
