"""Fields of rows: checked texts, and the words of different sources for the same thing.

Every function raises `ValueError` with the field's name and what is wrong with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache

from engine.feeds.steps import is_price, parse_instant, price_problem
from engine.units import is_decimal

_DATE = re.compile(r"([0-9]{4})-?([0-9]{2})-?([0-9]{2})")
_CLOCK = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})[ T]([0-9]{2}:[0-9]{2}:[0-9]{2})")
_SECONDS = re.compile(r"([0-9]{10})(?:\.([0-9]{1,9}))?[0-9]*")
# Some writers print what is below 1e-6 with an exponent; none does so with large numbers.
_SMALL = re.compile(r"-?[0-9](?:\.[0-9]{1,18})?[eE]-[0-9]{1,2}")
_SIDES = {"buy": "buy", "sell": "sell", "bid": "buy", "ask": "sell", "b": "buy", "a": "sell"}
_TRUTHS = {"true": True, "false": False, "1": True, "0": False}

NS_PER_DAY = 86_400_000_000_000


def plain(text: str) -> str:
    """Write a number with a negative exponent without it; return anything else as it is.

    Examples
    --------
    >>> plain("8.5e-7"), plain("60000.5")
    ('0.00000085', '60000.5')
    """
    if ("e" in text or "E" in text) and _SMALL.fullmatch(text):
        return f"{Decimal(text):f}"
    return text


def price(text: str, name: str = "price") -> str:
    """Return a price: a decimal above zero."""
    if is_price(text):
        return text
    text = plain(text)
    if not is_price(text):
        raise ValueError(f"{name} {price_problem(text)}")
    return text


def optional_price(text: str, name: str = "price") -> str | None:
    """Return a price, or None for what sources write where there is none: nothing, or zero."""
    return price(text, name) if text.strip("0.") else None


def quantity(text: str, name: str = "amount") -> str:
    """Return a quantity: a decimal, not negative."""
    text = number(text, name)
    if text[0] == "-":
        raise ValueError(f"{name} must not be negative: {text[:40]!r}")
    return text


def number(text: str, name: str) -> str:
    """Return a decimal of either sign."""
    text = plain(text)
    if not is_decimal(text):
        raise ValueError(f"{name} is not a decimal number: {text[:40]!r}")
    return text


def optional_number(text: str, name: str) -> str | None:
    """Return a decimal of either sign, or None for an empty field."""
    return number(text, name) if text else None


def side(text: str) -> str:
    """Return `buy` or `sell`, whatever case and word the source has."""
    try:
        return _SIDES[text.lower()]
    except KeyError:
        raise ValueError(f"side must be buy or sell, not {text[:40]!r}") from None


def truth(text: str, name: str) -> bool:
    """Return a flag, whatever case the source has."""
    try:
        return _TRUTHS[text.lower()]
    except KeyError:
        raise ValueError(f"{name} must be true or false, not {text[:40]!r}") from None


def instant(text: str, name: str, *units: str) -> int:
    """Return a time in ns, given in one of these units; told by its magnitude."""
    try:
        return parse_instant(text, units)
    except ValueError as error:
        raise ValueError(f"{name} {error}") from None


def clock_instant(text: str, name: str) -> int:
    """Return the ns of a `YYYY-MM-DD hh:mm:ss` in UTC."""
    found = _CLOCK.fullmatch(text)
    if found is None:
        raise ValueError(f"{name} is not YYYY-MM-DD hh:mm:ss: {text[:40]!r}")
    clock = found[2].split(":")
    seconds = int(clock[0]) * 3600 + int(clock[1]) * 60 + int(clock[2])
    if int(clock[0]) > 23 or int(clock[1]) > 59 or int(clock[2]) > 59:
        raise ValueError(f"{name} has no such time of day: {text}")
    return date_ns(found[1]) + seconds * 1_000_000_000


def seconds_instant(text: str, name: str) -> int:
    """Return the ns of seconds since the epoch with decimals, exactly."""
    found = _SECONDS.fullmatch(text)
    if found is None:
        raise ValueError(f"{name} is not a time in seconds: {text[:40]!r}")
    return int(found[1]) * 1_000_000_000 + int((found[2] or "").ljust(9, "0"))


@lru_cache(maxsize=1 << 10)
def date_ns(text: str) -> int:
    """Return the ns of the midnight (UTC) with which a `YYYY-MM-DD` or `YYYYMMDD` begins."""
    found = _DATE.fullmatch(text)
    try:
        if found is None:
            raise ValueError
        day = datetime(int(found[1]), int(found[2]), int(found[3]), tzinfo=UTC)
    except ValueError:
        raise ValueError(f"no such date: {text[:40]!r}") from None
    return int(day.timestamp()) * 1_000_000_000


def in_order(name: str) -> Callable[[int, str], int]:
    """Return a check that takes the times of a file in turn (ns, and the text) and passes
    them on; one that is before the one ahead of it is wrong.
    """
    before = 0

    def check(ts_ns: int, text: str) -> int:
        nonlocal before
        if ts_ns < before:
            raise ValueError(f"time goes backwards: {name} {text}")
        before = ts_ns
        return ts_ns

    return check
