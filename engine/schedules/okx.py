"""OKX position tiers, which are in contracts, and the contracts that make notionals of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from engine.schedules.rows import (
    Loaded,
    Place,
    Row,
    check_number,
    exact_text,
    make_row,
    read_decimal,
    read_number,
    read_rows,
    read_symbol,
)
from engine.units import DecimalLike


@dataclass(frozen=True)
class Contract:
    """What makes a notional of a number of contracts.

    Attributes
    ----------
    size : decimal
        Of one contract: in base for a linear contract (`ctVal` x `ctMult`; 1 where a table is
        in coins), in quote for an inverse one.
    price : decimal
        Reference price, quote per base. The tiers are right at this price: a position's tier
        goes by its contracts at the venue, by its notional here. Load again and send `tiers`
        when the price has moved.
    decimals : int
        Edges are cut to so many: the higher tier never begins later than it should.
    lot : decimal
        Smallest step of contracts (`lotSz`). A tier may begin that much above the end of the
        one before it (or above 0), because no position lies between.
    is_inverse : bool
        The notional is in base: contracts x size / price.
    """

    size: DecimalLike
    price: DecimalLike
    decimals: int = 2
    lot: DecimalLike = "1"
    is_inverse: bool = False


def is_position_tier(entry: object) -> bool:
    """Tell whether an object is one row of a position-tiers reply."""
    return isinstance(entry, Mapping) and "maxSz" in entry


def unwrap(data: Any, label: str, what: str = "tier") -> list[Mapping[str, Any]]:
    """Return the rows of a reply, or of its bare list.

    Raises
    ------
    InputError
        Also for a reply that is an error.
    """
    if isinstance(data, Mapping):
        if str(data.get("code", "0")) != "0":
            raise Place(label).refuse(
                f"the reply is an error: {data['code']} {str(data.get('msg'))[:80]!r}")
        data = data.get("data")
    return read_rows(data, Place(label), what)


def read_position_tiers(
    data: Any, label: str, contracts: Mapping[str, Contract] | None
) -> Loaded:
    """Read a position-tiers reply or its list; rows of several instruments may be mixed.

    Parameters
    ----------
    data : object
        Parsed JSON.
    label : str
    contracts : mapping of str to Contract
        By `instId`, or `instFamily` (or `uly`) where that is empty.

    Returns
    -------
    Loaded
        `tier_rule` is `whole`: the venue applies a tier's rate to the whole position.

    Raises
    ------
    InputError
        Also for an instrument without its contract.
    """
    loaded = Loaded("okx", "whole")
    tables: dict[str, list[Mapping[str, Any]]] = {}
    for row in unwrap(data, label):
        name = row.get("instId") or row.get("instFamily") or row.get("uly")
        tables.setdefault(read_symbol(name, Place(label)), []).append(row)
    for name, raw in tables.items():
        place = Place(label, name)
        contract = (contracts or {}).get(name)
        if contract is None:
            raise place.refuse(
                "the tiers are in contracts; give the contract's size and a reference price")
        loaded.add(place, _read_table(loaded, place, raw, contract))
    return loaded


def _read_table(
    loaded: Loaded, place: Place, raw: list[Mapping[str, Any]], contract: Contract
) -> list[Row]:
    lot = read_decimal(contract.lot, "lot")
    rows = []
    size_before = Fraction(0)
    low = Fraction(0)
    is_cut = False
    for number, row in enumerate(raw, start=1):
        here = Place(place.label, place.symbol, number)
        check_number(row, "tier", number, here)
        first, last = read_number(row, "minSz", here), read_number(row, "maxSz", here)
        step = first - size_before
        if step < 0 or step > lot:
            kind = "overlap" if step < 0 else "gap"
            raise here.refuse(f"{kind}: minSz {row['minSz']} after {size_before}")
        if last <= size_before:
            raise here.refuse("maxSz is not above the tier before")
        rate, leverage = read_number(row, "mmr", here), read_number(row, "maxLever", here)
        exact = _notional(last, contract)
        high = Fraction(exact * 10**contract.decimals // 1, 10**contract.decimals)
        is_cut = is_cut or high != exact
        rows.append(make_row(low, high, rate, leverage))
        if row.get("imr") not in (None, "") and read_number(row, "imr", here) * leverage != 1:
            loaded.notes.append(here.note(
                f"imr {row['imr']} is not 1 / maxLever {row['maxLever']}: the engine asks for "
                "1 / max_leverage"))
        size_before, low = last, high
    loaded.notes.append(place.note(
        f"contracts of {contract.size} made notionals at a price of {contract.price}"
        + (f", edges cut to {contract.decimals} decimals" if is_cut else "")))
    return rows


def _notional(contracts: Fraction, contract: Contract) -> Fraction:
    size, price = read_decimal(contract.size, "size"), read_decimal(contract.price, "price")
    if size <= 0 or price <= 0:
        raise Place("contract").refuse("size and price must be above zero")
    return contracts * size / price if contract.is_inverse else contracts * size * price


def read_contracts(
    data: Any, prices: Mapping[str, DecimalLike], label: str = "<data>"
) -> dict[str, Contract]:
    """Make contracts of an OKX `public/instruments` reply.

    Parameters
    ----------
    data : object
        Parsed JSON.
    prices : mapping of str to decimal
        Reference price by `instId`; instruments without one are left out.
    label : str

    Returns
    -------
    dict of str to Contract
        By `instId` and, as position tiers of a swap name it, by `instFamily`.

    Raises
    ------
    InputError
    """
    found: dict[str, Contract] = {}
    for row in unwrap(data, label, "instrument"):
        place = Place(label, read_symbol(row.get("instId"), Place(label)))
        if row["instId"] not in prices:
            continue
        if row.get("ctType") not in ("linear", "inverse"):
            raise place.refuse(f"ctType is neither linear nor inverse: {row.get('ctType')!r}")
        is_inverse = row["ctType"] == "inverse"
        size = read_number(row, "ctVal", place) * read_number(row, "ctMult", place)
        if size <= 0:
            raise place.refuse("ctVal x ctMult is not above zero")
        contract = Contract(
            exact_text(size), prices[row["instId"]], 8 if is_inverse else 2,
            exact_text(read_number(row, "lotSz", place)), is_inverse)
        found[row["instId"]] = contract
        if row.get("instFamily"):
            found.setdefault(row["instFamily"], contract)
    return found

