"""Which role may send what: one table of commands, one of queries, one of sockets.

What is not in a table is for `admin` alone. The tables are those of docs/operations.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from enum import StrEnum
from typing import Any

import numpy as np

from engine.batches import COMMAND_DTYPE
from engine.commands import COMMANDS as SCHEMAS
from engine.messages import Command


class Role(StrEnum):
    """What a client is there for."""

    #: Orders and settings of accounts.
    TRADE = "trade"
    #: Looks, and changes nothing.
    READ = "read"
    #: Prices and time.
    FEED = "feed"
    #: Everything.
    ADMIN = "admin"


_TRADE = frozenset({Role.TRADE, Role.ADMIN})
_FEED = frozenset({Role.FEED, Role.ADMIN})
_LOOK = frozenset({Role.READ, Role.ADMIN})
_ADMIN = frozenset({Role.ADMIN})
_OWN = frozenset({Role.TRADE, Role.READ, Role.ADMIN})
_ALL = frozenset(Role)

#: Commands, each with the roles that may send it.
COMMANDS: dict[str, Set[Role]] = {
    **dict.fromkeys((
        "order", "amend", "cancel", "cancel_all", "cancel_all_after", "leverage", "margin_mode",
        "isolated_margin", "position_mode", "auto_top_up", "protection", "margin_call_levels",
        "transfer",
    ), _TRADE),
    **dict.fromkeys(("mark", "marks", "asset_price", "funding", "time"), _FEED),
    **dict.fromkeys((
        "asset", "collateral", "instrument", "tiers", "profile", "margin_multiplier", "halt",
        "resume", "settle", "account", "account_multiplier", "deposit", "withdraw", "fill",
        "insurance", "backstop",
    ), _ADMIN),
}

#: Queries, those about the server included, each with the roles that may ask it.
QUERIES: dict[str, Set[Role]] = {
    **dict.fromkeys((
        "book", "tiers", "instrument", "auction", "insurance", "collateral", "directory",
    ), _ALL),
    **dict.fromkeys(("account", "position", "orders"), _OWN),
    **dict.fromkeys((
        "liquidation_queue", "liquidation_map", "adl_ranking", "backstops", "totals",
        "state_hash", "feeds", "server",
    ), _LOOK),
}

#: Sockets, by their domain, each with the roles that may connect. `marks` is a publisher's. What
#: may be followed at that of events is up to `may_follow`.
SOCKETS: dict[str, Set[Role]] = {
    "commands": _ALL,
    "marks": _LOOK,
    "events": _OWN,
    "market_data": _ALL,
    "snapshots": _ALL,
    "replication": _ADMIN,
}

#: Topics about one account: of its events, and of their heartbeats.
_OF_ACCOUNT = re.compile(rb"(?:account|beat)\.([1-9][0-9]{0,17})\.")
_NAMES = {int(code): code.name.lower() for code in Command}
#: Packed commands that name an account, or mean all where they name none.
_OF_ACCOUNTS = [
    code for code, name in _NAMES.items() if "account" in SCHEMAS.get(name, ())]
#: Fields that name an account, in commands and queries.
_ACCOUNT_FIELDS = ("account", "to", "parent")
#: Queries about everybody, so not for a client that was granted some accounts.
_ABOUT_EVERYBODY = frozenset({"liquidation_queue", "adl_ranking", "backstops"})


def may_connect(role: Role, domain: str) -> bool:
    """Tell whether a role may connect to a socket."""
    return role in SOCKETS.get(domain, _ADMIN)


def may_follow(role: Role, accounts: Set[int] | None, topic: bytes) -> bool:
    """Tell whether a client may subscribe to a topic, or a prefix, of the socket of events.

    Parameters
    ----------
    role : Role
    accounts : set of int or None
        As of `why_not`; of role `trade` alone: who may look may look at all events.
    topic : bytes
    """
    if role in _LOOK:
        return True
    if role is not Role.TRADE:
        return False
    # Heartbeats and the end name the topics of everybody.
    found = _OF_ACCOUNT.fullmatch(topic)
    return found is not None and (accounts is None or int(found[1]) in accounts)


def why_not(role: Role, accounts: Set[int] | None, line: Mapping[str, Any]) -> str | None:
    """Return why a command or query is not this role's to send, None if it is.

    Parameters
    ----------
    role : Role
    accounts : set of int or None
        Those that the client may act for or look at; None: all.
    line : mapping
        Of the right shape.
    """
    is_command = "cmd" in line
    name = line["cmd" if is_command else "query"]
    if role not in (COMMANDS if is_command else QUERIES).get(name, _ADMIN):
        return f"role {role} may not send {name!r}"
    if role is Role.ADMIN and accounts is None:
        return None
    return _of_others(role, accounts, line, name)


def why_not_packed(role: Role, accounts: Set[int] | None, rows: bytes) -> str | None:
    """Return why a table of packed commands is not this role's to send, None if all of it is.

    Parameters
    ----------
    role : Role
    accounts : set of int or None
        As of `why_not`.
    rows : bytes
        Of `engine.batches.COMMAND_DTYPE`.
    """
    if role is Role.ADMIN and accounts is None:
        return None
    table = np.frombuffer(rows, COMMAND_DTYPE)
    for code in np.unique(table["cmd"]).tolist():
        name = _NAMES.get(code, f"command {code}")
        if role not in COMMANDS.get(name, _ADMIN):
            return f"role {role} may not send {name!r}"
    if accounts is None:
        return None
    # Elsewhere the column means something else.
    about = table["account"][np.isin(table["cmd"], _OF_ACCOUNTS)]
    others = about[~np.isin(about, list(accounts))]
    return f"account {others[0]} was not granted" if len(others) else None


def _of_others(
    role: Role, accounts: Set[int] | None, line: Mapping[str, Any], name: str
) -> str | None:
    if name == "book" and line.get("l3") and (accounts is not None or role not in _LOOK):
        return "a book with accounts in it is for those who may see all of them"
    if accounts is None:
        return None
    if name in _ABOUT_EVERYBODY:
        return f"{name!r} is about all accounts"
    for field in _ACCOUNT_FIELDS:
        account = line.get(field)
        if account is not None and account not in accounts:
            return f"account {account} was not granted"
    if name == "cancel_all" and line.get("account") is None:
        return "'cancel_all' without an account is about all of them"
    return None
