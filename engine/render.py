"""Records of the core to JSON-ready events: names for codes, decimal strings for units."""

from __future__ import annotations

from enum import IntEnum
from fractions import Fraction
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
from engine.units import RATE, decimal_text, fraction_text

# Events of a pool that certainly has a position open.
_ALWAYS_OPEN = (EventKind.MARGIN_CALL, EventKind.LIQUIDATION_STARTED)

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

    def rejection_detail(self, seq: int) -> str | None:
        """Return and forget what the edge noted about a rejection."""
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
    kind = EventKind(record[0])
    event: dict[str, Any] = {"seq": record[1], "ts": record[2], "event": kind.name.lower()}
    payload = dict(zip((name for name, _ in EVENT_LAYOUTS[kind]), record[4:], strict=False))
    symbol = payload.get("symbol", NONE)
    instrument = _at(directory.instruments_by_index, symbol)
    asset_index = payload.get("asset", NONE)
    asset = _at(directory.assets_by_index, asset_index)
    if asset is None and instrument is not None:
        asset = instrument.settle
    if kind is EventKind.REJECTED:
        _render_rejection(event, payload, instrument, asset, directory)
    else:
        to_close = _at(directory.instruments_by_index, payload.get("symbol_to_close", NONE))
        worth_in = _at(directory.assets_by_index, payload.get("value_asset", NONE))
        for name, unit in EVENT_LAYOUTS[kind]:
            named = to_close if name.endswith("_to_close") else instrument
            owner = worth_in if unit in _OF_VALUE_ASSET else asset
            if unit == "fund":
                event[name] = fund_name(payload[name], directory)
            else:
                event[name] = render_value(
                    payload[name], _OF_VALUE_ASSET.get(unit, unit), named, owner)
        _add_derived(kind, event, payload, instrument, directory)
    event["cause"] = record[3]
    return event


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
        return _ENUMS[unit](value).name.lower()
    if unit == "amount" or (unit == "money" and asset is not None):
        return asset.minor.text(value) if asset else None
    if instrument is None:
        return None
    if unit == "symbol":
        return instrument.symbol
    grid = {"price": instrument.tick, "mark": instrument.mark, "lots": instrument.lot}[unit]
    return grid.text(value)


def entry_price(instrument: Instrument, quantity: int, entry_value: int) -> str | None:
    """Return entry value over quantity, for display: four places beyond the mark tick."""
    if quantity == 0:
        return None
    if instrument.kind is ContractKind.INVERSE:
        if entry_value == 0:
            return None  # worth less than a minor unit
        marks = Fraction(-quantity * instrument.unit_value, entry_value)
    else:
        marks = Fraction(entry_value, quantity * instrument.unit_value)
    return fraction_text(marks * instrument.mark.step, instrument.mark.decimals + 4)


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
            is_open=payload["maintenance_margin"] > 0 or kind in _ALWAYS_OPEN)
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
    event["detail"] = directory.rejection_detail(event["seq"]) or _detail(
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
