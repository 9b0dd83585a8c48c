"""Fields of JSON messages, checked. Every function raises `ValueError` with what is wrong."""

from __future__ import annotations

import json
from itertools import chain
from typing import Any

from engine.feeds.steps import parse_instant


def load_object(text: str, where: str = "") -> dict[str, Any]:
    """Return a JSON object; `where` says where it was looked for."""
    try:
        message = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON{where}: {error.msg}") from None
    if not isinstance(message, dict):
        raise ValueError(f"not a JSON object{where}")
    return message


def exchange_ns(data: dict[str, Any]) -> int | None:
    """Return when a Binance message's event happened (`T`), or was sent (`E`), or None."""
    for name in ("T", "E"):
        if name in data:
            return instant_of(data, name, "ms", "us")
    return None


def instant_of(data: dict[str, Any], name: str, *units: str) -> int:
    """Return a time in ns, given in one of these units."""
    try:
        return parse_instant(str(data.get(name)), units)
    except ValueError as error:
        raise ValueError(f"{name} {error}") from None


def id_of(data: dict[str, Any], name: str) -> int:
    """Return an id: a positive int64."""
    value = data.get(name)
    if not (isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**63):
        raise ValueError(f"{name} is not an id: {str(value)[:40]!r}")
    return value


def text_of(data: dict[str, Any], name: str) -> str:
    """Return a decimal's text."""
    value = data.get(name)
    if not isinstance(value, str):
        raise ValueError(f"{name} is not a decimal string: {str(value)[:40]!r}")
    return value


def level_texts(data: dict[str, Any], name: str) -> list[list[str]]:
    """Return price levels as pairs of texts, which are still to be checked."""
    rows = data.get(name)
    if not isinstance(rows, list):
        raise ValueError(f"{name} is not a list of levels")
    # The usual case in a few calls, however many levels there are.
    is_good = set(map(type, rows)) <= {list} and set(map(len, rows)) <= {2}
    if not is_good or set(map(type, chain.from_iterable(rows))) - {str}:
        raise ValueError(f"{name} has a level that is not a price and a quantity")
    return rows
