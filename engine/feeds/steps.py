"""What every feed is made of: steps of mark prices, and the checks each row passes.

A step is `(ts_ns, rows)`: everything the feed says about one instant, applied to
an engine as one `marks` command. A row is `(symbol, mark_price, index_price)`,
prices as decimal strings exactly as the source wrote them: rounding to an
instrument's mark tick happens on the engine's side, which alone knows the tick.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

from engine.errors import InputError

#: Symbol, mark price, index price.
Row = tuple[str, str, str | None]
#: Engine time in ns, and the marks of that moment.
Step = tuple[int, list[Row]]


class PackedSteps(NamedTuple):
    """Steps in a row of one mark each, as packed commands of an exchange.

    Attributes
    ----------
    symbols : list of str
        Of each step.
    rows : bytes
    """

    symbols: list[str]
    rows: bytes


_T = TypeVar("_T", bound=tuple[Any, ...])  # a step, or what has more behind its rows

_PRICE = re.compile(r"[0-9]{1,20}(?:\.[0-9]{1,20})?")
_SYMBOL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,63}")

#: Instants a market feed can sensibly carry: years 2009 to 2099, in seconds.
_FIRST_SECOND = 1_230_768_000
_LAST_SECOND = 4_102_444_800


def is_price(text: object) -> bool:
    """Tell whether a value is a positive decimal string without exponent.

    Parameters
    ----------
    text : object
        Candidate; anything that is not a `str` is not a price.

    Returns
    -------
    bool
    """
    # The strip test finds zero in any spelling ("0", "0.000") without parsing it.
    return isinstance(text, str) and bool(_PRICE.fullmatch(text)) and bool(text.strip("0."))


def is_symbol(text: object) -> bool:
    """Tell whether a value can be a symbol: printable ASCII, at most 64 characters."""
    return isinstance(text, str) and bool(_SYMBOL.fullmatch(text))


def price_problem(text: str) -> str:
    """Say in a few words why `is_price` refused a text from a file."""
    if not text.strip():
        return "is missing"
    if _PRICE.fullmatch(text):
        return f"must be above zero, not {text!r}"
    if text.startswith("-") and _PRICE.fullmatch(text[1:]):
        return f"must be above zero, not {text!r}"
    return f"is not a decimal number: {text[:40]!r}"


def parse_instant(text: str, units: tuple[str, ...]) -> int:
    """Read a timestamp whose unit is told by its magnitude.

    Parameters
    ----------
    text : str
        Digits only.
    units : tuple of str
        Units that the format allows, of `ms`, `us` and `ns`.

    Returns
    -------
    int
        Nanoseconds since the epoch.

    Raises
    ------
    ValueError
        Not a number, or no allowed unit puts it between 2009 and 2099.
    """
    if not (text.isascii() and text.isdigit()) or len(text) > 20:
        raise ValueError(f"is not a whole number: {text[:40]!r}")
    value = int(text)
    for unit in units:
        scale = _UNIT_NS[unit]
        if _FIRST_SECOND * _SECOND_NS <= value * scale < _LAST_SECOND * _SECOND_NS:
            return value * scale
    names = " or ".join(_UNIT_NAMES[unit] for unit in units)
    raise ValueError(f"is not a time in {names} between 2009 and 2099: {text}")


_SECOND_NS = 1_000_000_000
_UNIT_NS = {"ms": 1_000_000, "us": 1_000, "ns": 1}
_UNIT_NAMES = {"ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}


def limit_marks(steps: Iterable[_T], mark_count: int | None) -> Iterator[_T]:
    """Pass steps on until at least `mark_count` marks have gone by; whole steps only.

    Parameters
    ----------
    steps : iterable of Step
    mark_count : int or None
        None: no limit.

    Yields
    ------
    Step
    """
    if mark_count is None:
        yield from steps
        return
    if mark_count < 1:
        raise InputError(f"the limit of marks must be at least 1, not {mark_count}")
    seen = 0
    for step in steps:
        yield step
        seen += len(step[1])
        if seen >= mark_count:
            return
