"""Tier rows as commands take them, the fields they are read from, and what refuses them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

from engine.errors import InputError
from engine.instruments import Asset, TermsError, parse_tiers
from engine.messages import RATE_SCALE
from engine.units import DecimalLike, Grid, decimal_text, is_decimal, split_decimal

#: `min_notional`, `max_notional` (None: no cap), `maintenance_margin_rate`, `max_leverage`.
Row = dict[str, str | None]

#: How venues write that the last tier has no cap: the largest int64, and what a float makes of it.
UNCAPPED = frozenset({Fraction(2**63 - 1), Fraction(9223372036854776000)})

_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,4})?", re.ASCII)
_SYMBOL_LENGTH_MAX = 64


class Note(NamedTuple):
    """What was read by a rule and not by the letter.

    Attributes
    ----------
    symbol : str or None
        None: the whole source.
    text : str
        One line, with the symbol and the tier.
    """

    symbol: str | None
    text: str


@dataclass(frozen=True)
class Place:
    """Where in the input something is, as far as that is known.

    Attributes
    ----------
    label : str
        The file as it was named.
    symbol : str or None
    tier : int or None
        From 1, within the symbol.
    """

    label: str
    symbol: str | None = None
    tier: int | None = None

    def refuse(self, what: str) -> InputError:
        """Return the error that says, in one line, what is wrong here."""
        return InputError(f"{self.label}: {self._say(what)}")

    def note(self, what: str) -> Note:
        """Return the note that says what was done here."""
        return Note(self.symbol, self._say(what))

    def _say(self, what: str) -> str:
        parts = [self.symbol] if self.symbol is not None else []
        parts += [f"tier {self.tier}"] if self.tier is not None else []
        # One line, whatever was quoted.
        return ": ".join([*parts, " ".join(what.split())])


@dataclass
class Loaded:
    """What a source of schedules held.

    Attributes
    ----------
    shape : str
        `ccxt`, `binance`, `bybit`, `okx`, `hyperliquid`, `csv` or `rows`.
    tier_rule : str
        The instrument's `tier_rule` by which the venue reads its table: `marginal` or `whole`.
    schedules : dict of str to list of rows
        In the order of the source.
    notes : list of Note
    """

    shape: str
    tier_rule: str = "marginal"
    schedules: dict[str, list[Row]] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)

    def add(self, place: Place, rows: list[Row]) -> None:
        """Check the rows of one symbol and keep them."""
        assert place.symbol is not None
        check_rows(place, rows)
        self.schedules[place.symbol] = rows


def read_number(row: Mapping[str, Any], name: str, place: Place) -> Fraction:
    """Return a field as an exact number.

    Parameters
    ----------
    row : mapping
        Numbers as strings (an exponent is allowed), `int` or `Decimal`.
    name : str
    place : Place

    Returns
    -------
    Fraction
        Always one that a decimal string can write.

    Raises
    ------
    InputError
        Missing, empty, a float, not a number, or absurdly long.
    """
    value = row.get(name)
    if value is None or value == "":
        raise place.refuse(f"{name} is missing")
    if isinstance(value, float):
        raise place.refuse(f"{name} is a float; parse JSON with parse_float=Decimal")
    is_number = _NUMBER.fullmatch(value) if isinstance(value, str) else is_decimal(value)
    if not is_number:
        raise place.refuse(f"{name} is not a number: {str(value)[:40]!r}")
    number = _exact(value)
    if number is None:
        raise place.refuse(f"{name} has too many digits")
    return number


# A table repeats few numbers many times. (Typed: an int and a Decimal may be equal.)
@lru_cache(maxsize=4096, typed=True)
def _exact(value: DecimalLike) -> Fraction | None:
    parts = split_decimal(Decimal(value) if isinstance(value, str) else value)
    return None if isinstance(parts, int) else Fraction(parts[0], 10 ** parts[1])


def read_decimal(value: DecimalLike, name: str) -> Fraction:
    """Return an argument of a function as an exact number.

    Raises
    ------
    InputError
        Naming the argument.
    """
    if not is_decimal(value):
        raise InputError(f"{name}: not a decimal number: {str(value)[:40]!r}")
    number = _exact(value)
    if number is None:
        raise InputError(f"{name}: too many digits")
    return number


def read_symbol(value: object, place: Place) -> str:
    """Return a symbol's name.

    Raises
    ------
    InputError
        Not a printable string of 1 to 64 characters.
    """
    if isinstance(value, str) and value.strip() and value.isprintable():
        if len(value) <= _SYMBOL_LENGTH_MAX:
            return value
    raise place.refuse(f"symbol is not a name: {str(value)[:40]!r}")


def read_rows(value: object, place: Place, what: str = "tier") -> list[Mapping[str, Any]]:
    """Return a list of objects, which is what every table of tiers (`what`) is."""
    if not isinstance(value, list):
        raise place.refuse(f"expected a list of {what}s")
    for number, row in enumerate(value, start=1):
        if not isinstance(row, Mapping):
            raise place.refuse(f"{what} {number}: expected an object")
    return value


def check_number(row: Mapping[str, Any], name: str, expected: int, place: Place) -> None:
    """Refuse a row whose own number is not its place in the table."""
    if row.get(name) not in (None, "") and read_number(row, name, place) != expected:
        raise place.refuse(f"{name} is {row[name]}: the rows are not in order, or one is missing")


def exact_text(value: Fraction) -> str:
    """Return a fraction that a decimal string can write as the shortest such string.

    Examples
    --------
    >>> exact_text(Fraction(1, 80))
    '0.0125'
    """
    decimals = 0
    denominator = value.denominator
    for factor in (2, 5):
        count = 0
        while denominator % factor == 0:
            denominator //= factor
            count += 1
        decimals = max(decimals, count)
    if denominator != 1:
        raise ValueError(f"no decimal string is {value}")
    return decimal_text(value.numerator * 10**decimals // value.denominator, decimals)


def make_row(low: Fraction, high: Fraction | None, rate: Fraction, leverage: Fraction) -> Row:
    """Return a tier row of the contract, in decimal strings."""
    return {
        "min_notional": exact_text(low),
        "max_notional": None if high is None else exact_text(high),
        "maintenance_margin_rate": exact_text(rate),
        "max_leverage": exact_text(leverage),
    }


def maintenance_rate(
    leverage: Fraction, fraction: Fraction, place: Place, notes: list[Note]
) -> Fraction:
    """Return a maintenance rate that is a fraction of 1 / leverage, with a note if rounded.

    Rounding
        Up to the next 1e-8, but not beyond 1 / leverage.
    """
    exact = fraction / leverage
    rate = Fraction(-(-exact * RATE_SCALE // 1), RATE_SCALE)
    rate = min(rate, Fraction(RATE_SCALE / leverage // 1, RATE_SCALE))
    if rate != exact:
        notes.append(place.note(
            f"maintenance rate {exact} read as {exact_text(rate)}"))
    return rate


def check_rows(place: Place, rows: Sequence[Row]) -> None:
    """Refuse rows that the engine would refuse for any settle asset.

    The engine's own check (`parse_tiers`) decides, at as many decimals as the rows use.

    Parameters
    ----------
    place : Place
        Of the schedule.
    rows : sequence of rows

    Raises
    ------
    InputError
        With file, symbol, tier and reason.
    """
    decimals = 0
    for number, row in enumerate(rows, start=1):
        for name in ("min_notional", "max_notional"):
            _, _, fraction = (row[name] or "").partition(".")
            decimals = max(decimals, len(fraction))
        if str(row["maintenance_margin_rate"]).startswith("-"):
            raise Place(place.label, place.symbol, number).refuse(
                "maintenance_margin_rate is negative")
    asset = Asset(0, "the table", decimals, Grid(decimal_text(1, decimals)))
    try:
        parse_tiers(rows, asset)
    except TermsError as error:
        raise place.refuse(error.detail) from None


def deductions(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what each tier of a `marginal` schedule takes off notional x rate.

    ``A_1 = 0``, ``A_k = A_{k-1} + min_notional_k x (rate_k - rate_{k-1})``: the margin is
    continuous at each edge. The same number is called `cum` (Binance), `mmDeduction` (Bybit),
    maintenance amount, or deduction. Under the `whole` rule nothing is taken off.

    Parameters
    ----------
    rows : sequence of tier rows

    Returns
    -------
    list of str
        Exact, one for each row.

    Examples
    --------
    >>> deductions([
    ...     {"min_notional": "0", "maintenance_margin_rate": "0.004"},
    ...     {"min_notional": "50000", "maintenance_margin_rate": "0.005"}])
    ['0', '50']
    """
    total = rate_before = Fraction(0)
    found = []
    for number, row in enumerate(rows, start=1):
        place = Place("deductions", tier=number)
        rate = read_number(row, "maintenance_margin_rate", place)
        if number > 1:
            total += read_number(row, "min_notional", place) * (rate - rate_before)
        rate_before = rate
        found.append(exact_text(total))
    return found


def check_deductions(
    place: Place, rows: Sequence[Row], raw: Sequence[Mapping[str, Any]], name: str
) -> None:
    """Refuse a table whose own deductions are not those that its tiers give.

    Parameters
    ----------
    place : Place
        Of the schedule.
    rows : sequence of rows
        As made from `raw`.
    raw : sequence of mappings
        The venue's rows; the field may be missing or empty.
    name : str
        The venue's name of the deduction.
    """
    for number, (row, derived) in enumerate(zip(raw, deductions(rows), strict=True), start=1):
        if row.get(name) in (None, ""):
            continue
        here = Place(place.label, place.symbol, number)
        if read_number(row, name, here) != Fraction(derived):
            raise here.refuse(f"{name} is {row[name]}, but the tiers give {derived}")


def read_cap(row: Mapping[str, Any], name: str, place: Place, notes: list[Note]) -> Fraction | None:
    """Return an upper edge; None, with a note, where the largest int64 stands for no cap."""
    cap = read_number(row, name, place)
    if cap in UNCAPPED:
        notes.append(place.note(f"{name} {row[name]} is the largest int64: read as no cap"))
        return None
    return cap


def read_tiers(value: object, place: Place, notes: list[Note]) -> list[Row]:
    """Return rows of the contract with their numbers as decimal strings; not checked yet."""
    rows = []
    for number, row in enumerate(read_rows(value, place), start=1):
        here = Place(place.label, place.symbol, number)
        low = read_number(row, "min_notional", here)
        high = None
        if row.get("max_notional", "") is not None:
            high = read_cap(row, "max_notional", here, notes)
        rate = read_number(row, "maintenance_margin_rate", here)
        rows.append(make_row(low, high, rate, read_number(row, "max_leverage", here)))
    return rows


def tiers_commands(schedules: Mapping[str, Iterable[Row]]) -> Iterator[dict[str, Any]]:
    """Yield a `tiers` command for each symbol, in the order given."""
    for symbol, rows in schedules.items():
        yield {"cmd": "tiers", "symbol": symbol, "tiers": list(rows)}


__all__ = [
    "Loaded",
    "Note",
    "Place",
    "Row",
    "check_deductions",
    "check_number",
    "check_rows",
    "deductions",
    "exact_text",
    "maintenance_rate",
    "make_row",
    "read_cap",
    "read_decimal",
    "read_number",
    "read_rows",
    "read_symbol",
    "read_tiers",
    "tiers_commands",
]
