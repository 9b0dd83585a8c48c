"""Lines given as typed calls: the method of each command and query, its fields as arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine import Exchange, Rejected

#: The method of each command, where it has another name.
METHODS = {
    "asset": "add_asset", "collateral": "set_collateral", "asset_price": "set_asset_price",
    "instrument": "add_instrument", "tiers": "set_tiers", "profile": "set_profile",
    "account": "open_account", "leverage": "set_leverage", "margin_mode": "set_margin_mode",
    "position_mode": "set_position_mode", "isolated_margin": "add_margin", "order": "submit",
    "insurance": "fund_insurance", "time": "advance", "protection": "set_protection",
    "margin_call_levels": "set_margin_call_levels", "auto_top_up": "set_auto_top_up",
    "margin_multiplier": "set_margin_multiplier", "backstop": "set_backstop",
    "account_multiplier": "set_account_multiplier",
}

#: Queries whose methods return something else than the reply.
PLAIN_QUERIES = {"totals", "state_hash", "liquidation_map"}


def method_of(name: str) -> str:
    """The name of a command's method."""
    return METHODS.get(name, name)


def give(exchange: Exchange, line: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Give a command by its method and return its events, those of a refusal too."""
    arguments = {field: value for field, value in line.items() if field != "cmd"}
    try:
        return getattr(exchange, method_of(line["cmd"]))(**arguments).events
    except Rejected as refused:
        return refused.acknowledgement.events


def ask(exchange: Exchange, line: Mapping[str, Any]) -> Any:
    """Ask a query by its method; of a refusal the reason and the detail."""
    arguments = {field: value for field, value in line.items() if field not in ("query", "ts")}
    name = "instrument_state" if line["query"] == "instrument" else line["query"]
    try:
        return getattr(exchange, name)(**arguments)
    except Rejected as refused:
        return refused.reason, refused.detail
