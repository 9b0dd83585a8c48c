"""Market data in the number formats of the contract: names, and decimal strings for units."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from engine.instruments import Instrument
from engine.marketdata.levels import Level
from engine.marketdata.statistics import Figures
from engine.messages import NONE, HaltMode, MarketKind, Side, TradeFlag
from engine.units import Grid

#: A message of the core: `engine.messages.MARKET_FIELDS` in order.
Message = tuple[int, ...]

# Names by code: looking an enumeration's member up takes longer than all else in a message.
_KINDS = {int(kind): kind.name.lower() for kind in MarketKind}
_SIDES = tuple(side.name.lower() for side in Side)


def optional(grid: Grid, units: int | None) -> str | None:
    """Return a number's text, None for None and for `NONE`."""
    return None if units is None or units == NONE else grid.text(units)


def mode_name(halt: int) -> str | None:
    """Return a halt's name, None where trading is on."""
    return None if halt == HaltMode.NONE else HaltMode(halt).name.lower()


def head(channel: str, instrument: Instrument, message: Message) -> dict[str, Any]:
    """Return what every message of one change begins with."""
    return {
        "channel": channel, "symbol": instrument.symbol, "market_seq": message[0],
        "seq": message[1], "ts": message[2],
    }


def l3_message(instrument: Instrument, message: Message) -> dict[str, Any]:
    """Return a message of the core as L3, whatever it is about."""
    (_, _, _, ref, price, quantity, change, trade_id, traded, trade_price, _, kind, side,
     detail) = message
    out = head("l3", instrument, message)
    out["type"] = _KINDS[kind]
    if ref:
        out["ref"], out["side"] = ref, _SIDES[side]
        out["price"] = instrument.tick.text(price)
        out["quantity"] = instrument.lot.text(quantity)
    if kind == MarketKind.EXECUTE:
        out |= {
            "trade_id": trade_id, "traded": instrument.lot.text(traded),
            "trade_price": instrument.tick.text(trade_price),
        }
    elif kind == MarketKind.STATUS:
        out["mode"] = mode_name(detail)
    elif kind == MarketKind.UNCROSSED:
        out |= uncrossed_figures(instrument, trade_price, traded, change)
    return out


def uncrossed_figures(
    instrument: Instrument, price: int, lots: int, imbalance: int
) -> dict[str, Any]:
    """Return an uncrossing's price, quantity and imbalance (bought less sold)."""
    return {
        "price": instrument.tick.text(price), "quantity": instrument.lot.text(lots),
        "imbalance": instrument.lot.text(imbalance),
    }


def trade_message(instrument: Instrument, message: Message) -> dict[str, Any]:
    """Return an execution as a public trade; the aggressor is the side that did not rest."""
    _, _, _, _, _, _, _, trade_id, traded, trade_price, _, _, side, detail = message
    return head("trades", instrument, message) | {
        "trade_id": trade_id, "price": instrument.tick.text(trade_price),
        "quantity": instrument.lot.text(traded),
        "aggressor_side": _SIDES[1 - side],
        "liquidation": bool(detail & TradeFlag.LIQUIDATION),
        "auction": bool(detail & TradeFlag.AUCTION),
    }


def level_row(instrument: Instrument, level: Level | None) -> list[Any] | None:
    """Return a level as ``[price, quantity, orders]``."""
    if level is None:
        return None
    price, lots, orders = level
    return [instrument.tick.text(price), instrument.lot.text(lots), orders]


def level_rows(instrument: Instrument, levels: Iterable[Level]) -> list[list[Any] | None]:
    """Return levels as rows of ``[price, quantity, orders]``."""
    return [level_row(instrument, level) for level in levels]


def order_rows(
    instrument: Instrument, levels: Iterable[tuple[int, list[tuple[int, int]]]]
) -> list[list[Any]]:
    """Return levels as rows of ``[price, [[ref, quantity], ...]]``, orders in their turn."""
    return [
        [instrument.tick.text(price),
         [[ref, instrument.lot.text(lots)] for ref, lots in orders]]
        for price, orders in levels
    ]


def indication(instrument: Instrument, view: dict[str, int]) -> dict[str, Any]:
    """Return at what price, and how much, an auction would trade now; None: it would not."""
    return {
        "indicative_price": optional(instrument.tick, view["price"]),
        "indicative_quantity": optional(instrument.lot, view["quantity"]),
        "imbalance": optional(instrument.lot, view["imbalance"]),
        "reference_price": optional(instrument.tick, view["reference_price"]),
    }


def statistics_figures(
    instrument: Instrument, day: Figures, view: dict[str, int]
) -> dict[str, Any]:
    """Return the figures of 24 hours and those of this moment."""
    tick, lot, mark = instrument.tick, instrument.lot, instrument.mark
    return {
        "open_price": optional(tick, day.open), "high_price": optional(tick, day.high),
        "low_price": optional(tick, day.low), "close_price": optional(tick, day.last),
        "volume": lot.text(day.lots), "turnover": instrument.settle.minor.text(day.turnover),
        "trades": day.trades, "last_price": optional(tick, view["last_price"]),
        "mark_price": optional(mark, view["mark_price"]),
        "index_price": optional(mark, view["index_price"]),
        "open_interest": lot.text(view["open_interest"]), "mode": mode_name(view["halt"]),
    }
