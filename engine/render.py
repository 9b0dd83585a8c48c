"""Records of the core to JSON-ready events: names for codes, decimal strings for units."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import Any, Protocol, TypeVar

import engine.messages as messages
from engine.instruments import Asset, Instrument
from engine.messages import (
    EVENT_LAYOUTS,
    NONE,
    OFF_GRID,
    TOO_LARGE,
    ContractKind,
    EventKind,
    RejectReason,
)
from engine.units import RATE, decimal_text, ratio_of

# Events of a pool that certainly has a position open.
ALWAYS_OPEN = (EventKind.MARGIN_CALL, EventKind.LIQUIDATION_STARTED)

# Units that speak of the record's `value_asset`, and what they are otherwise.
_OF_VALUE_ASSET = {"value": "amount", "value_asset": "asset"}

_ENUMS: dict[str, type[IntEnum]] = {
    name: getattr(messages, name)
    for layout in EVENT_LAYOUTS.values()
    for _, name in layout
    if name[0].isupper()
}


Named = TypeVar("Named", Asset, Instrument)


class Directory(Protocol):
    """What rendering needs to know about names."""

    assets_by_index: list[Asset]
    instruments_by_index: list[Instrument]
    funds_by_index: list[str]

    def client_order_id(self, account: int, order_id: int, seq: int) -> str | None:
        """Return the client's own id that an order had at a command."""
        ...

    def rejection_detail(self, seq: int, reason: RejectReason) -> str | None:
        """Return and forget what the edge found wrong with a command refused for a reason."""
        ...


def render_event(record: tuple[int, ...], directory: Directory) -> dict[str, Any]:
    """Return the JSON-ready dict of one record.

    Parameters
    ----------
    record : tuple of int
        ``(kind, seq, ts, cause, *payload)`` as `engine.messages` lays it out.
    directory : Directory
        Names and grids.
    """
    plan = plan_of(record[0])
    kind = plan.kind
    event: dict[str, Any] = {"seq": record[1], "ts": record[2], "event": plan.name}
    instrument = None
    if plan.symbol_at:
        instrument = _at(directory.instruments_by_index, record[plan.symbol_at])
    asset = _at(directory.assets_by_index, record[plan.asset_at]) if plan.asset_at else None
    if asset is None and instrument is not None:
        asset = instrument.settle
    if kind is EventKind.REJECTED:
        _render_rejection(event, plan.payload(record), instrument, asset, directory)
    else:
        for at, name, unit, relation in plan.fields:
            value = record[at]
            if unit == "int" or value == NONE:
                event[name] = None if value == NONE else value
            elif unit == "fund":
                event[name] = fund_name(value, directory)
            elif relation == OF_ITSELF:
                event[name] = render_value(value, unit, instrument, asset)
            elif relation == OF_SYMBOL_TO_CLOSE:
                to_close = _at(directory.instruments_by_index, record[plan.to_close_at])
                event[name] = render_value(value, unit, to_close, asset)
            else:
                worth_in = _at(directory.assets_by_index, record[plan.value_asset_at])
                event[name] = render_value(value, unit, instrument, worth_in)
        if plan.is_derived:
            _add_derived(kind, event, plan.payload(record), instrument, directory)
    event["cause"] = record[3]
    return event


OF_ITSELF, OF_SYMBOL_TO_CLOSE, OF_VALUE = range(3)


@dataclass(frozen=True)
class Plan:
    """How the records of a kind are laid out; 0 is the place of what it does not have."""

    kind: EventKind
    name: str
    fields: tuple[tuple[int, str, str, int], ...]  # place, name, unit, whose it is
    symbol_at: int
    asset_at: int
    to_close_at: int
    value_asset_at: int
    is_derived: bool  # whether something is made of several fields

    def payload(self, record: tuple[int, ...]) -> dict[str, int]:
        return {name: record[at] for at, name, _, _ in self.fields}


@cache
def plan_of(number: int) -> Plan:
    kind = EventKind(number)
    fields, places = [], {}
    for at, (name, unit) in enumerate(EVENT_LAYOUTS[kind], start=4):
        relation = OF_VALUE if unit in _OF_VALUE_ASSET else OF_ITSELF
        if name.endswith("_to_close"):
            relation = OF_SYMBOL_TO_CLOSE
        fields.append((at, name, _OF_VALUE_ASSET.get(unit, unit), relation))
        places[name] = at
    is_derived = kind in (EventKind.POSITION, EventKind.MARGIN_CALL_LEVELS_SET) or not (
        places.keys().isdisjoint(("maintenance_margin", "order_id")))
    return Plan(
        kind, kind.name.lower(), tuple(fields), places.get("symbol", 0), places.get("asset", 0),
        places.get("symbol_to_close", 0), places.get("value_asset", 0), is_derived)


def _at(rows: list[Named], index: int) -> Named | None:
    """The row of an index that may be of none: a packed command can name anything."""
    return rows[index] if 0 <= index < len(rows) else None


def fund_name(number: int, directory: Directory) -> str | None:
    """Return the name of a fund, None of the pooled one of an asset."""
    return None if number == NONE else directory.funds_by_index[number]


def render_value(
    value: int, unit: str, instrument: Instrument | None, asset: Asset | None
) -> Any:
    """Return one payload integer as text, name, bool or int, null for `NONE`."""
    if value == NONE:
        return None
    if unit == "int":
        return value
    if unit == "bool":
        return bool(value)
    if unit == "rate":
        return RATE.text(value)
    if unit == "asset":
        return asset.name if asset else None
    if unit in _ENUMS:
        return code_name(unit, value)
    if unit == "amount" or (unit == "money" and asset is not None):
        return asset.minor.text(value) if asset else None
    if instrument is None:
        return None
    if unit == "symbol":
        return instrument.symbol
    grid = {"price": instrument.tick, "mark": instrument.mark, "lots": instrument.lot}[unit]
    return grid.text(value)


@cache
def code_name(unit: str, value: int) -> str:
    return _ENUMS[unit](value).name.lower()


def entry_price(instrument: Instrument, quantity: int, entry_value: int) -> str | None:
    """Return entry value over quantity, for display: four places beyond the mark tick."""
    if quantity == 0:
        return None
    if instrument.kind is ContractKind.INVERSE:
        if entry_value == 0:
            return None  # worth less than a minor unit
        above, below = -quantity * instrument.unit_value, entry_value
    else:
        above, below = entry_value, quantity * instrument.unit_value
    step = instrument.mark.step
    return ratio_of(
        above * step.numerator, below * step.denominator, instrument.mark.decimals + 4)


def ratio_text(numerator: int, denominator: int) -> str:
    """Return a ratio in 1e-8 units, rounded up (a risk is never shown smaller than it is)."""
    return decimal_text(-((-numerator * 10**8) // denominator), 8)


def margin_ratio(equity: int, maintenance: int, *, is_open: bool) -> str | None:
    """Return maintenance margin over equity, None where equity is spent with a position open."""
    if equity <= 0:
        return None if is_open else "0"
    return ratio_text(maintenance, equity)


def _add_derived(
    kind: EventKind, event: dict[str, Any], payload: dict[str, int],
    instrument: Instrument | None, directory: Directory,
) -> None:
    if "maintenance_margin" in payload:
        event["margin_ratio"] = margin_ratio(
            payload["equity"], payload["maintenance_margin"],
            is_open=payload["maintenance_margin"] > 0 or kind in ALWAYS_OPEN)
    if kind is EventKind.POSITION and instrument is not None:
        event["entry_price"] = entry_price(
            instrument, payload["quantity"], payload["entry_value"])
    if kind is EventKind.MARGIN_CALL_LEVELS_SET:
        levels = [event.pop(f"level_{number}") for number in range(1, 5)]
        event["levels"] = [level for level in levels if level is not None]
    if "order_id" in payload:
        client_id = directory.client_order_id(
            payload["account"], payload["order_id"], event["seq"])
        if client_id is not None:
            event["client_order_id"] = client_id


def _render_rejection(
    event: dict[str, Any], payload: dict[str, int], instrument: Instrument | None,
    asset: Asset | None, directory: Directory,
) -> None:
    event["cmd"] = render_value(payload["cmd"], "Command", None, None)
    reason = RejectReason(payload["reason"])
    event["reason"] = reason.name.lower()
    event["detail"] = directory.rejection_detail(event["seq"], reason) or _detail(
        reason, payload, instrument, asset)
    for name in ("account", "order_id"):
        if payload[name] != NONE:
            event[name] = payload[name]
    if instrument is not None:
        event["symbol"] = instrument.symbol


_DETAILS: dict[RejectReason, tuple[str, str]] = {
    RejectReason.INSUFFICIENT_BALANCE: ("money", "needs {needed}, has {limit}"),
    RejectReason.INSUFFICIENT_MARGIN: ("money", "needs {needed}, available {limit}"),
    RejectReason.LEVERAGE: ("rate", "leverage {needed}, at most {limit} here"),
    RejectReason.TIER_LIMIT: ("money", "notional {needed}, at most {limit}"),
    RejectReason.PRICE_BAND: ("price", "price {needed}, limit {limit}"),
    RejectReason.QUANTITY_LIMIT: ("lots", "quantity {needed}, limit {limit}"),
    RejectReason.NOTIONAL_LIMIT: ("money", "notional {needed}, limit {limit}"),
    RejectReason.ORDER_LIMIT: ("int", "{needed} open orders, at most {limit}"),
}

_PLAIN_DETAILS: dict[RejectReason, str] = {
    RejectReason.MALFORMED: "the fields make no sense together",
    RejectReason.UNSUPPORTED: "not built yet",
    RejectReason.ALREADY_EXISTS: "declared before",
    RejectReason.UNKNOWN_ASSET: "no such asset",
    RejectReason.UNKNOWN_FUND: "the asset has no fund of this name",
    RejectReason.UNKNOWN_SYMBOL: "no such symbol",
    RejectReason.UNKNOWN_ACCOUNT: "no such account",
    RejectReason.NOT_RELATED: "the accounts are not of one family",
    RejectReason.UNKNOWN_ORDER: "no such live order",
    RejectReason.DUPLICATE_ORDER_ID: "the account has a live order with this id",
    RejectReason.POSITION_OPEN: "a position or an order is open",
    RejectReason.BAD_PROFILE: "the profile makes no sense",
    RejectReason.NO_POSITION: "no isolated position is open",
    RejectReason.NO_MARK_PRICE: "the symbol has no mark price yet",
    RejectReason.OCO_GROUP: "the group's orders have another side or another reduce_only",
    RejectReason.AUCTION: "not taken during a call auction",
    RejectReason.PROTECTION: "frozen by market-maker protection",
    RejectReason.NOTIONAL_LIMIT: "the notional is beyond the symbol's limit",
    RejectReason.EXPIRED: "the symbol has been settled",
    RejectReason.HALTED: "the symbol takes no new orders or amends",
    RejectReason.ACCOUNT_LIQUIDATING: "the account is in liquidation",
    RejectReason.OFF_TICK: "a price is not a multiple of its tick",
    RejectReason.OFF_LOT: "a quantity is not a multiple of the lot",
    RejectReason.REDUCE_ONLY: "there is nothing to reduce",
    RejectReason.POST_ONLY_WOULD_CROSS: "the order would trade at once",
    RejectReason.FOK_UNFILLABLE: "the book cannot fill the whole quantity",
    RejectReason.OVERFLOW: "a number exceeds the engine's range of 2^62 units",
}


def _detail(
    reason: RejectReason, payload: dict[str, int], instrument: Instrument | None,
    asset: Asset | None,
) -> str:
    if reason not in _DETAILS or payload["needed"] == NONE:
        return _PLAIN_DETAILS.get(reason, reason.name.lower())
    unit, template = _DETAILS[reason]
    shown = {}
    for name in ("needed", "limit"):
        value = payload[name]
        if value in (OFF_GRID, TOO_LARGE):
            shown[name] = "beyond the engine's range"
        else:
            shown[name] = render_value(value, unit, instrument, asset)
    return template.format(**shown)
