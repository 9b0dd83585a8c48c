"""ccxt's unified markets: what `load_markets` or `fetch_markets` returned, written as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from engine.listings import binance
from engine.listings.rows import Contract, Row, check_multiples
from engine.schedules.rows import Note, Place, read_rows

_QUANTITIES = {
    "max_order_quantity": "limits.amount.max", "min_order_quantity": "limits.amount.min"}
#: A unified field, and where `info` holds the venue's own, which has to say the same.
_SAME = {
    "precision.price": (
        "info.PRICE_FILTER.tickSize", "info.priceFilter.tickSize", "info.tickSz"),
    "precision.amount": ("info.LOT_SIZE.stepSize", "info.lotSizeFilter.qtyStep", "info.lotSz"),
}


def is_market(entry: object) -> bool:
    """Tell whether an object is one unified market."""
    return isinstance(entry, Mapping) and {"precision", "limits", "symbol"} <= set(entry)


def rows(data: Any, label: str, notes: list[Note]) -> Iterator[Row]:
    """Yield the rows of a list of markets, or of an object of them by symbol."""
    raws = list(data.values()) if isinstance(data, Mapping) else data
    for number, raw in enumerate(read_rows(raws, Place(label), "market"), start=1):
        yield Row(raw, label, number)


def is_spot(row: Row) -> bool:
    """Tell whether a row is a spot market."""
    return row.get("type") in ("spot", "margin")


def idle_state(row: Row) -> str | None:
    """Return the state of a market that is not being traded; one that does not say is."""
    return "inactive" if row.get("active") is False else None


def read(row: Row, notes: list[Note]) -> Contract:
    """Return what a row says.

    `precision` is a step, not a number of digits; where `info` holds a step of the venue, it
    has to be the same.
    """
    kind = row.text("type")
    if kind not in ("swap", "future"):
        raise row.refuse("type", "not supported")
    if row.get("quanto") is True:
        raise row.refuse("quanto", "not supported: contractSize has no one meaning there")
    is_linear, is_inverse = row.get("linear") is True, row.get("inverse") is True
    if is_linear == is_inverse:
        raise row.refuse("linear", "a contract is either linear or inverse")
    if row.get("percentage") is False:
        raise row.refuse("percentage", "fees that are no fraction of the value are not supported")
    base, settle = row.text("base"), row.text("settle")
    if is_inverse != (settle == base):
        raise row.refuse("settle", "an inverse contract settles in its base, a linear one not")
    for unified, names in _SAME.items():
        for name in names:
            if name in row and row.positive(name) != row.positive(unified):
                raise row.refuse(unified, f"but {name} is {row.get(name)}")
    # Through ccxt Binance tells no leverage but in `info`.
    leverage, maintenance = row.limit("limits.leverage.max"), None
    if leverage is None:
        leverage, maintenance = binance.margins(row, "info.")
    return check_multiples(row, Contract(
        row.place, "inverse" if is_inverse else "linear", base, row.text("quote"), settle,
        row.positive("precision.price"), row.positive("precision.amount"),
        row.positive("contractSize"), row.time_ns("expiry") if kind == "future" else None,
        max_leverage=leverage, maintenance_rate=maintenance,
        limits={
            **{limit: row.limit(name) for limit, name in _QUANTITIES.items()},
            # In quote, which is not what an inverse contract's notional is in.
            "min_order_notional": row.limit("limits.cost.min") if is_linear else None,
        },
        terms={"maker_fee": row.rate("maker"), "taker_fee": row.rate("taker")}), _QUANTITIES)
