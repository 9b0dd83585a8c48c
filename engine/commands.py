"""The shape of commands and queries: which fields there are, and of which type.

A dict that does not fit raises `CommandError`; whether a well-shaped command makes
sense is for the core to say. Fields and commands of the contract that are not built
yet are known here, so that they are refused as `unsupported` and never ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any, NamedTuple

from engine.errors import CommandError
from engine.messages import (
    AdlAllocation,
    AdlPrice,
    AdlScore,
    AfterCooldown,
    BackstopUse,
    ClosePolicy,
    FundWorkoff,
    HaltMode,
    LiquidateAt,
    MarginMode,
    OrderBound,
    OrderType,
    PositionChoice,
    PositionMode,
    RampOf,
    Side,
    StpMode,
    Surplus,
    TierRule,
    TimeInForce,
    TriggerBy,
    Unfilled,
)
from engine.units import is_decimal

INT64_MAX = 2**63 - 1


class Field(NamedTuple):
    """One field: its type's check, what the type is called, and whether it must be there."""

    check: Callable[[Any], bool]
    wants: str
    is_required: bool


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= INT64_MAX


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 64


def _int(*, required: bool = True) -> Field:
    return Field(_is_int, "an integer", required)


def _count(*, required: bool = True) -> Field:
    return Field(
        lambda value: _is_int(value) and value >= 0, "an integer from 0", required)


def _decimal(*, required: bool = True) -> Field:
    return Field(is_decimal, "a decimal string or an integer (never a float)", required)


def _name(*, required: bool = True) -> Field:
    return Field(_is_name, "a string of 1 to 64 characters", required)


def _flag(*, required: bool = False) -> Field:
    field = Field(lambda value: isinstance(value, bool), "true or false", required)
    return field if required else _or_null(field)


def _choice(*names: str, required: bool = True) -> Field:
    wants = "one of " + ", ".join(names)
    return Field(lambda value: isinstance(value, str) and value in names, wants, required)


def _members(enum: type[IntEnum], *, required: bool = True) -> Field:
    return _choice(*(member.name.lower() for member in enum), required=required)


def _client_id() -> Field:
    return Field(
        lambda value: isinstance(value, str) and 0 < len(value) <= 36,
        "a string of 1 to 36 characters", False)


def _rows(required: bool = True) -> Field:
    return Field(
        lambda value: isinstance(value, (list, tuple))
        and all(isinstance(row, Mapping) for row in value), "a list of objects", required)


def _decimals(*, required: bool = True) -> Field:
    return Field(
        lambda value: isinstance(value, (list, tuple)) and all(map(is_decimal, value)),
        "a list of decimal strings or integers (never floats)", required)


def _object() -> Field:
    return Field(
        lambda value: value is None or isinstance(value, Mapping), "an object or null", False)


def _or_null(field: Field) -> Field:
    return Field(
        lambda value: value is None or field.check(value), field.wants + " or null",
        field.is_required)


HALT_MODES = tuple(mode.name.lower() for mode in HaltMode if mode is not HaltMode.NONE)

TIER_ROW: dict[str, Field] = {
    "min_notional": _decimal(),
    "max_notional": _or_null(_decimal()),
    "maintenance_margin_rate": _decimal(),
    "max_leverage": _decimal(),
}
COLLATERAL_ROW: dict[str, Field] = {
    "max_amount": _or_null(_decimal()),
    "weight": _decimal(),
}
#: A take-profit or stop-loss attached to an entry.
ATTACHED: dict[str, Field] = {
    "order_id": _int(),
    "trigger_price": _decimal(),
    "trigger_by": _or_null(_members(TriggerBy, required=False)),
    "price": _or_null(_decimal(required=False)),
}
MARK_ROW: dict[str, Field] = {
    "symbol": _name(),
    "mark_price": _decimal(),
    "index_price": _or_null(_decimal(required=False)),
    "feed_seq": _or_null(_int(required=False)),
}

#: Feeds of `engine.public_view` that a profile may name.
PUBLIC_VIEWS = ("all", "binance", "bitmex", "bybit", "deribit", "okx")

#: A profile given as an object: what it leaves out comes from `base`. The fields of
#: `engine.messages.Profile` and its margin-call levels, each of which may be null where the
#: profile may have none; `description` and `public_view` are for readers, not for the core.
PROFILE: dict[str, Field] = {
    "base": _or_null(_name(required=False)),
    "description": Field(lambda value: isinstance(value, str), "a string", False),
    "public_view": Field(
        lambda value: value in PUBLIC_VIEWS, f"one of {', '.join(PUBLIC_VIEWS)}", False),
    "liquidate_at": _members(LiquidateAt, required=False),
    "close_policy": _members(ClosePolicy, required=False),
    "tiers_per_step": _int(required=False),
    "target_ratio": _decimal(required=False),
    "fraction": _decimal(required=False),
    "fraction_above_notional": _decimal(required=False),
    "cooldown_ns": _int(required=False),
    "after_cooldown": _members(AfterCooldown, required=False),
    "exit_buffer": _decimal(required=False),
    "min_remainder_notional": _decimal(required=False),
    "steps_per_command": _or_null(_int(required=False)),
    "surplus": _members(Surplus, required=False),
    "adl_score": _members(AdlScore, required=False),
    "adl_price": _members(AdlPrice, required=False),
    "adl_allocation": _members(AdlAllocation, required=False),
    "adl_cancels_orders": Field(lambda value: isinstance(value, bool), "true or false", False),
    "fund_drawdown_limit": _or_null(_decimal(required=False)),
    "fund_drawdown_window_ns": _int(required=False),
    "fund_max_notional": _or_null(_decimal(required=False)),
    "socialize_losses": Field(lambda value: isinstance(value, bool), "true or false", False),
    "position_choice": _members(PositionChoice, required=False),
    "order_bound": _members(OrderBound, required=False),
    "spread_to_maintenance": _decimal(required=False),
    "bankruptcy_adjustment": _decimal(required=False),
    "bound_band": _decimal(required=False),
    "unfilled": _members(Unfilled, required=False),
    "ramp_ns": _int(required=False),
    "ramp_steps": _int(required=False),
    "ramp_of": _members(RampOf, required=False),
    "slice_max_share": _or_null(_decimal(required=False)),
    "slice_rate": _or_null(_decimal(required=False)),
    "slice_interval_ns": _int(required=False),
    "fund_workoff": _members(FundWorkoff, required=False),
    "fund_workoff_fraction": _decimal(required=False),
    "fund_workoff_interval_ns": _int(required=False),
    "fund_workoff_offset": _decimal(required=False),
    "fund_workoff_reprice": _decimal(required=False),
    "adl": Field(lambda value: isinstance(value, bool), "true or false", False),
    "fund_fallback": Field(lambda value: isinstance(value, bool), "true or false", False),
    "backstop": _members(BackstopUse, required=False),
    "closing_fee_reserve": Field(lambda value: isinstance(value, bool), "true or false", False),
    "maker_check": Field(lambda value: isinstance(value, bool), "true or false", False),
    "margin_call_levels": _or_null(_decimals(required=False)),
    "margin_call_hysteresis": _or_null(_decimal(required=False)),
}


def _profile() -> Field:
    return Field(
        lambda value: value is None or isinstance(value, (str, Mapping)),
        "a profile's name or an object", False)


COMMANDS: dict[str, dict[str, Field]] = {
    "asset": {"asset": _name(), "decimals": _int()},
    "collateral": {
        "asset": _name(), "value_asset": _name(), "tiers": _rows(),
        "conversion_threshold": _or_null(_decimal(required=False)),
        "conversion_fee": _decimal(required=False),
    },
    "asset_price": {"asset": _name(), "price": _decimal()},
    "instrument": {
        "symbol": _name(), "kind": _choice("linear", "inverse"), "base": _name(),
        "quote": _name(), "settle": _name(), "tick_size": _decimal(),
        "mark_tick": _or_null(_decimal(required=False)), "lot_size": _decimal(),
        "contract_size": _decimal(required=False), "maker_fee": _decimal(required=False),
        "taker_fee": _decimal(required=False), "liquidation_fee": _decimal(required=False),
        "tiers": _rows(), "tier_rule": _members(TierRule, required=False),
        "price_band": _or_null(_decimal(required=False)),
        "max_order_quantity": _or_null(_decimal(required=False)),
        "min_order_quantity": _or_null(_decimal(required=False)),
        "min_order_notional": _or_null(_decimal(required=False)),
        "max_order_notional": _or_null(_decimal(required=False)),
        "max_open_orders": _or_null(_int(required=False)),
        "expiry_ts": _or_null(_int(required=False)),
        "profile": _profile(),
        "fund": _or_null(_name(required=False)),
        "mark_max_age_ns": _or_null(_int(required=False)),
        "mark_band": _or_null(_decimal(required=False)),
    },
    "tiers": {"symbol": _name(), "tiers": _rows()},
    "account": {
        "account": _int(), "position_mode": _members(PositionMode, required=False),
        "margin_mode": _members(MarginMode, required=False),
        "stp_group": _or_null(_int(required=False)),
        "margin_call_levels": _or_null(_decimals(required=False)),
        "margin_call_hysteresis": _or_null(_decimal(required=False)),
        "parent": _or_null(_int(required=False)),
    },
    "deposit": {"account": _int(), "asset": _name(), "amount": _decimal()},
    "withdraw": {"account": _int(), "asset": _name(), "amount": _decimal()},
    "leverage": {"account": _int(), "symbol": _name(), "leverage": _decimal()},
    "margin_mode": {"account": _int(), "symbol": _name(), "mode": _members(MarginMode)},
    "isolated_margin": {
        "account": _int(), "symbol": _name(), "amount": _decimal(),
        "position_side": _or_null(_choice("long", "short", required=False)),
    },
    "order": {
        "account": _int(), "symbol": _name(), "order_id": _int(),
        "client_order_id": _or_null(_client_id()), "side": _members(Side),
        "type": _members(OrderType), "quantity": _decimal(required=False),
        "price": _or_null(_decimal(required=False)),
        "time_in_force": _or_null(
            _members(TimeInForce, required=False)),
        "post_only": _flag(), "reduce_only": _flag(), "close_position": _flag(),
        "trigger_price": _or_null(_decimal(required=False)),
        "trigger_by": _or_null(_members(TriggerBy, required=False)),
        "callback_rate": _or_null(_decimal(required=False)),
        "display_quantity": _or_null(_decimal(required=False)),
        "expire_ts": _or_null(_int(required=False)),
        "stp": _or_null(_members(StpMode, required=False)),
        "oco": _or_null(_int(required=False)),
        "take_profit": _object(), "stop_loss": _object(),
        "position_side": _or_null(_choice("long", "short", required=False)),
    },
    "amend": {
        "account": _int(), "symbol": _name(), "order_id": _int(),
        "price": _or_null(_decimal(required=False)),
        "trigger_price": _or_null(_decimal(required=False)),
        "quantity": _or_null(_decimal(required=False)),
        "leaves": _or_null(_decimal(required=False)),
    },
    "cancel": {"account": _int(), "symbol": _name(), "order_id": _int()},
    "cancel_all": {
        "account": _or_null(_int(required=False)), "symbol": _or_null(_name(required=False)),
        "side": _or_null(_members(Side, required=False)),
    },
    "fill": {
        "account": _int(), "symbol": _name(), "side": _members(Side), "quantity": _decimal(),
        "price": _decimal(), "fee": _decimal(required=False),
        "position_side": _or_null(_choice("long", "short", required=False)),
    },
    "mark": {**MARK_ROW, "cause": _or_null(_int(required=False))},
    "marks": {"marks": _rows(), "cause": _or_null(_int(required=False))},
    "funding": {"symbol": _name(), "rate": _decimal()},
    "insurance": {
        "asset": _name(), "amount": _decimal(), "fund": _or_null(_name(required=False)),
    },
    "halt": {"symbol": _name(), "mode": _choice(*HALT_MODES)},
    "resume": {"symbol": _name()},
    "time": {},
    "cancel_all_after": {"account": _int(), "timeout": _int()},
    "protection": {
        "account": _int(), "symbol": _name(), "window": _or_null(_int(required=False)),
        "quantity": _or_null(_decimal(required=False)),
        "count": _or_null(_int(required=False)), "freeze": _or_null(_int(required=False)),
    },
    "margin_call_levels": {
        "account": _int(), "levels": _decimals(),
        "hysteresis": _or_null(_decimal(required=False)),
    },
    "margin_multiplier": {
        "symbol": _name(), "maintenance": _decimal(), "initial": _decimal(),
        "effective_ts": _or_null(_int(required=False)),
    },
    "transfer": {
        "account": _int(), "to": _int(), "asset": _name(), "amount": _decimal(),
    },
    "auto_top_up": {"account": _int(), "symbol": _name(), "enabled": _flag(required=True)},
    "settle": {"symbol": _name(), "price": _or_null(_decimal(required=False))},
    "position_mode": {"account": _int(), "mode": _members(PositionMode)},
    "profile": {"symbol": _name(), "profile": _profile()},
    "backstop": {
        "account": _int(), "asset": _or_null(_name(required=False)),
        "symbol": _or_null(_name(required=False)), "commitment": _decimal(),
        "discount": _or_null(_decimal(required=False)),
    },
    "account_multiplier": {"account": _int(), "multiplier": _decimal()},
}

QUERIES: dict[str, dict[str, Field]] = {
    "account": {"account": _int()},
    "position": {"account": _int(), "symbol": _name()},
    "orders": {"account": _int()},
    "book": {
        "symbol": _name(), "depth": _or_null(_count(required=False)), "l3": _flag(),
    },
    "tiers": {"symbol": _name()},
    "instrument": {"symbol": _name()},
    "liquidation_queue": {},
    "adl_ranking": {"symbol": _name()},
    "auction": {"symbol": _name()},
    "liquidation_map": {
        "symbol": _name(), "bucket": _or_null(_decimal(required=False)),
    },
    "insurance": {},
    "backstops": {},
    "collateral": {"asset": _name()},
    "totals": {},
    "directory": {},
    "state_hash": {},
}

_OBJECTS = {
    ("order", "take_profit"): ATTACHED, ("order", "stop_loss"): ATTACHED,
    ("instrument", "profile"): PROFILE, ("profile", "profile"): PROFILE,
}
_ROWS = {
    ("instrument", "tiers"): TIER_ROW,
    ("tiers", "tiers"): TIER_ROW,
    ("collateral", "tiers"): COLLATERAL_ROW,
    ("marks", "marks"): MARK_ROW,
}

_HAS_PARTS = {name for name, _ in (*_OBJECTS, *_ROWS)}


def check_shape(line: Mapping[str, Any]) -> str:
    """Check a command or query against its schema.

    Parameters
    ----------
    line : mapping
        ``{"cmd": name, ...}`` or ``{"query": name, ...}``.

    Returns
    -------
    str
        ``"cmd"`` or ``"query"``.

    Raises
    ------
    CommandError
        Neither or both of the two, an unknown name, an unknown, missing or wrongly
        typed field; one line that names it.
    """
    if not isinstance(line, (dict, Mapping)):
        raise CommandError(f"a command or query is an object, not {_shown(line)}")
    kinds = [kind for kind in ("cmd", "query") if kind in line]
    if len(kinds) != 1:
        raise CommandError("neither 'cmd' nor 'query'" if not kinds else "both 'cmd' and 'query'")
    kind = kinds[0]
    schemas = COMMANDS if kind == "cmd" else QUERIES
    name = line[kind]
    if not isinstance(name, str) or name not in schemas:
        raise CommandError(f"unknown {kind}: {_shown(name)}")
    fields = schemas[name]
    _check_fields(f"{kind} '{name}'", line, fields, also=(kind, "ts"))
    if "ts" in line and not (_is_int(line["ts"]) and line["ts"] >= 0):
        raise CommandError(f"{kind} '{name}': field 'ts' must be an integer of nanoseconds")
    if name in _HAS_PARTS:
        _check_parts(name, line, fields)
    return kind


def _check_parts(name: str, line: Mapping[str, Any], fields: Mapping[str, Field]) -> None:
    """Check rows and objects inside a command, and the one field needed only at times."""
    if name == "order" and "quantity" not in line and not line.get("close_position"):
        raise CommandError("cmd 'order': field 'quantity' is missing")
    for field in line:
        inner = _OBJECTS.get((name, field))
        if inner is not None and isinstance(line.get(field), Mapping):
            check_object(f"cmd '{name}': {field}", line[field], inner)
        row_fields = _ROWS.get((name, field))
        if row_fields is not None:
            for number, row in enumerate(line[field], start=1):
                _check_fields(f"cmd '{name}': {field} row {number}", row, row_fields, also=())


def check_object(where: str, given: Mapping[str, Any], fields: Mapping[str, Field]) -> None:
    """Check an object's fields; `where` says in the error what it is.

    Raises
    ------
    CommandError
        An unknown, missing or wrongly typed field.
    """
    _check_fields(where, given, fields, also=())


def _check_fields(
    where: str, line: Mapping[str, Any], fields: Mapping[str, Field], also: tuple[str, ...]
) -> None:
    for name in line:
        if name not in fields and name not in also:
            raise CommandError(f"{where}: unknown field {name!r:.80}")
    for name, field in fields.items():
        if name not in line:
            if field.is_required:
                raise CommandError(f"{where}: field '{name}' is missing")
        elif not field.check(line[name]):
            raise CommandError(
                f"{where}: field '{name}' must be {field.wants}, not {_shown(line[name])}")


def _shown(value: Any) -> str:
    """A refused value, shortened; an integer of thousands of digits is never written out."""
    try:
        shown = repr(value)
    except ValueError:
        return "an integer of thousands of digits"
    if isinstance(value, int) and abs(value) > INT64_MAX:
        return f"{shown:.57}, which is beyond 64 bits"
    return shown if len(shown) <= 60 else shown[:57] + "..."
