"""OKX `public/instruments`, SWAP and FUTURES. Quantities are in contracts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from engine.listings.rows import Contract, Row, check_multiples
from engine.schedules import okx
from engine.schedules.rows import Note

_QUANTITIES = {"max_order_quantity": "maxLmtSz", "min_order_quantity": "minSz"}


def is_row(entry: object) -> bool:
    """Tell whether an object is one row of an instruments reply."""
    return isinstance(entry, Mapping) and "instId" in entry and "tickSz" in entry


def rows(data: Any, label: str, notes: list[Note]) -> Iterator[Row]:
    """Yield the rows of a reply or of its list."""
    for number, raw in enumerate(okx.unwrap(data, label, "instrument"), start=1):
        yield Row(raw, label, number, "instId")


def is_spot(row: Row) -> bool:
    """Tell whether a row is a spot market, with margin or without."""
    return row.get("instType") in ("SPOT", "MARGIN")


def idle_state(row: Row) -> str | None:
    """Return the state of a contract that is not being traded, None for one that is."""
    state = row.text("state")
    return None if state == "live" else state


def read(row: Row, notes: list[Note]) -> Contract:
    """Return what a row says.

    A contract is `ctVal` x `ctMult`. The limits of other kinds of orders have no counterpart
    and are not used.
    """
    if row.text("instType") not in ("SWAP", "FUTURES"):
        raise row.refuse("instType", "not supported")
    kind = row.text("ctType")
    if kind not in ("linear", "inverse"):
        raise row.refuse("ctType", "not supported")
    base, _, quote = row.text("uly").partition("-")
    if not base or not quote:
        raise row.refuse("uly", "expected BASE-QUOTE")
    unit = base if kind == "linear" else quote
    if row.text("ctValCcy") != unit:
        raise row.refuse("ctValCcy", f"a contract of type {kind} on {base}-{quote} is of {unit}")
    settle = row.text("settleCcy")
    if (kind == "inverse") != (settle == base):
        raise row.refuse("settleCcy", f"not what a contract of type {kind} on {base} settles in")
    return check_multiples(row, Contract(
        row.place, kind, base, quote, settle, row.positive("tickSz"), row.positive("lotSz"),
        row.positive("ctVal") * row.positive("ctMult"),
        row.time_ns("expTime") if row.text("instType") == "FUTURES" else None,
        max_leverage=row.limit("lever"),
        limits={limit: row.limit(name) for limit, name in _QUANTITIES.items()}), _QUANTITIES)
