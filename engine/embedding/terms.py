"""Small parts of typed commands: rows of schedules, marks, attached orders; names of choices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

from engine.errors import CommandError
from engine.units import DecimalLike

SideName = Literal["buy", "sell"]
LegName = Literal["long", "short"]
MarginModeName = Literal["cross", "isolated"]
PositionModeName = Literal["one_way", "hedge"]
OrderTypeName = Literal[
    "limit", "market", "stop_market", "stop_limit", "take_profit_market", "take_profit_limit",
    "trailing_stop_market"]
TimeInForceName = Literal["gtc", "ioc", "fok", "gtd"]
TriggerByName = Literal["mark", "last", "index"]
StpName = Literal["none", "cancel_taker", "cancel_maker", "cancel_both", "decrement"]
HaltModeName = Literal["cancel_only", "no_liquidation", "all", "auction"]


class Tier(NamedTuple):
    """One row of a margin schedule, in the instrument's settle asset.

    Examples
    --------
    >>> Tier("0", "50000", "0.005", "100").max_leverage
    '100'
    """

    min_notional: DecimalLike
    max_notional: DecimalLike | None  # None: no cap
    maintenance_margin_rate: DecimalLike
    max_leverage: DecimalLike


class CollateralTier(NamedTuple):
    """How much an amount of a collateral asset counts, up to `max_amount` (None: no cap)."""

    max_amount: DecimalLike | None
    weight: DecimalLike


class Attached(NamedTuple):
    """A take-profit or stop-loss attached to an entry; without `price` it is a market order."""

    order_id: int
    trigger_price: DecimalLike
    trigger_by: TriggerByName | None = None
    price: DecimalLike | None = None


class Mark(NamedTuple):
    """One mark of several that arrive together."""

    symbol: str
    mark_price: DecimalLike
    index_price: DecimalLike | None = None
    feed_seq: int | None = None


Row = Mapping[str, Any]
Part = Tier | CollateralTier | Attached | Mark


def as_object(part: Part | Row | None) -> Row | None:
    """Return a part as the object of the contract; anything else is left for the schema."""
    return part._asdict() if isinstance(part, Part) else part


def as_objects(name: str, kind: type[Part], parts: Iterable[Part | Row]) -> list[Row | None]:
    """Return parts as a list of objects of the contract.

    Raises
    ------
    CommandError
        A part by itself, or something else in the list; named as the argument `name`.

    Examples
    --------
    >>> as_objects("tiers", CollateralTier, [CollateralTier(None, "0.9")])
    [{'max_amount': None, 'weight': '0.9'}]
    """
    wants = f"'{name}' must be a list of {kind.__name__}, or of mappings of the same fields"
    if isinstance(parts, (Part, Mapping, str)) or not isinstance(parts, Iterable):
        raise CommandError(f"{wants}, not {parts!r:.60}")
    rows = list(parts)
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, (kind, Mapping)):
            raise CommandError(f"{wants}; row {number} is {row!r:.60}")
    return [as_object(row) for row in rows]
