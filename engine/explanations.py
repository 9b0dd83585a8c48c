"""What was wrong with a command that was refused as senseless or off its grid, for a person.

The core gives the reason as a code and no more. Its command is looked at again here, by the rules
of docs/rules.md; where nothing is found, the general sentence for the reason stays. No decision
is taken here, and what is found is shown only where the core has given the same reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from typing import Any, NamedTuple

from engine.instruments import Asset, Instrument
from engine.messages import OFF_GRID, RATE_SCALE, CallLevels, RejectReason
from engine.units import RATE, DecimalLike, Grid, decimal_text, sign_of, split_decimal

Line = Mapping[str, Any]

_LIMIT_TYPES = ("limit", "stop_limit", "take_profit_limit")
_TAKING = ("ioc", "fok")


class Names(NamedTuple):
    """What an exchange knows by name, and its time (ns)."""

    assets: Mapping[str, Asset]
    instruments: Mapping[str, Instrument]
    now: int


def explain(line: Line, names: Names) -> dict[RejectReason, str]:
    """Return what is found wrong with a refused command, by the reason that it explains.

    Parameters
    ----------
    line : mapping
        The command, of a shape that `engine.commands.check_shape` has passed.
    names : Names
        Of the exchange that refused it.

    Returns
    -------
    dict of RejectReason to str
        Of `MALFORMED`, `OFF_TICK` and `OFF_LOT` those that could be found.

    Examples
    --------
    >>> from engine.units import Grid
    >>> usdt = Asset(0, "USDT", 2, Grid("0.01"))
    >>> line = {"cmd": "deposit", "account": 1, "asset": "USDT", "amount": "0.001"}
    >>> explain(line, Names({"USDT": usdt}, {}, 0))[RejectReason.MALFORMED]
    'amount 0.001 is not a multiple of 0.01, the smallest unit of USDT'
    """
    found: dict[RejectReason, str] = {}
    ts = line.get("ts")
    if ts is not None and ts < names.now:
        found[RejectReason.MALFORMED] = f"ts {ts} lies before the engine's time, {names.now}"
        return found
    form = _FORMS.get(line["cmd"])
    if form is not None:
        text = next(form(line, names), None)
        if text is not None:
            found[RejectReason.MALFORMED] = text
    for reason, text in _off_grid(line, names):
        found.setdefault(reason, text)
    return found


# --- fields ---------------------------------------------------------------------------


def _number(value: DecimalLike) -> str:
    """A number as it was meant; one of absurd length is not written out."""
    parts = split_decimal(value)
    return "of more than forty digits" if isinstance(parts, int) else decimal_text(*parts)


def _positive(line: Line, *fields: str) -> Iterator[str]:
    """Decimals that must be above zero where they are given."""
    for field in fields:
        value = line.get(field)
        if value is not None and sign_of(value) <= 0:
            yield f"{field} must be positive, not {_number(value)}"


def _positive_ints(line: Line, *fields: str) -> Iterator[str]:
    for field in fields:
        value = line.get(field)
        if value is not None and value <= 0:
            yield f"{field} must be positive, not {value}"


def _minor(line: Line, field: str, asset: Asset | None) -> Iterator[str]:
    """An amount that is finer than its asset."""
    if asset is not None and line.get(field) is not None and _is_off(asset.minor, line[field]):
        yield (
            f"{field} {_number(line[field])} is not a multiple of {asset.minor.text(1)}, "
            f"the smallest unit of {asset.name}")


def _between(line: Line, field: str, low: int, high: int, to: str = "to") -> Iterator[str]:
    """A rate that has to lie between two whole numbers (`to` "under": below the second)."""
    if line.get(field) is None:
        return
    units = RATE.units(line[field])
    if not low * RATE_SCALE <= units <= high * RATE_SCALE - (to == "under"):
        yield (
            f"{field} must be a multiple of {RATE.text(1)} from {low} {to} {high}, "
            f"not {_number(line[field])}")


def _call_levels(levels: Any, hysteresis: DecimalLike | None) -> Iterator[str]:
    chosen = CallLevels()
    if levels is not None:
        chosen = chosen._replace(levels=tuple(map(RATE.units, levels)))
    if hysteresis is not None:
        chosen = chosen._replace(hysteresis=RATE.units(hysteresis))
    if not chosen.are_sensible():
        width = RATE.text(chosen.hysteresis) if hysteresis is None else _number(hysteresis)
        yield (
            "margin-call levels must ascend between 0 and 1, at most four, "
            f"each above the hysteresis, {width}")


def _is_off(grid: Grid, value: DecimalLike) -> bool:
    return grid.units(value) == OFF_GRID


# --- commands -------------------------------------------------------------------------


def _account(line: Line, names: Names) -> Iterator[str]:
    yield from _positive_ints(line, "account", "stp_group", "parent")
    if line.get("parent") == line["account"]:
        yield "an account cannot be its own parent"
    yield from _call_levels(line.get("margin_call_levels"), line.get("margin_call_hysteresis"))
    if line.get("parent") is not None:
        yield f"parent {line['parent']} is a sub-account itself"


def _payment(line: Line, names: Names) -> Iterator[str]:
    yield from _positive(line, "amount")
    yield from _minor(line, "amount", names.assets.get(line["asset"]))
    if line.get("to") == line["account"]:
        yield "an account cannot transfer to itself"


def _two_ways(line: Line, names: Names) -> Iterator[str]:
    """An amount that goes in or, below zero, out."""
    if sign_of(line["amount"]) == 0:
        yield "amount must not be 0"
    if "symbol" in line:
        instrument = names.instruments.get(line["symbol"])
        asset = None if instrument is None else instrument.settle
    else:
        asset = names.assets.get(line["asset"])
    yield from _minor(line, "amount", asset)
    if line["cmd"] == "isolated_margin":
        yield _leg_text(line)


def _leg_text(line: Line) -> str:
    if line.get("position_side") is None:
        return "an account in hedge mode has to name a position_side"
    return "position_side is for accounts in hedge mode"


def _order(line: Line, names: Names) -> Iterator[str]:
    yield from _positive_ints(line, "order_id", "oco")
    if not line.get("close_position"):
        yield from _positive(line, "quantity")
    yield from _order_price(line)
    yield from _order_time(line, names.now)
    yield from _order_trigger(line)
    yield from _order_size(line)
    yield from _order_links(line)
    opens = (line.get("position_side"), line["side"]) in (("long", "buy"), ("short", "sell"))
    if opens and (line.get("reduce_only") or line.get("close_position")):
        yield "an order that opens a leg cannot be reduce_only or close_position"
    yield _leg_text(line)


def _order_price(line: Line) -> Iterator[str]:
    kind = line["type"]
    if kind not in _LIMIT_TYPES:
        if line.get("price") is not None:
            yield f"an order of type {kind} has no price"
        if line.get("post_only"):
            yield f"an order of type {kind} cannot be post_only"
        return
    if line.get("price") is None:
        yield f"an order of type {kind} needs a price"
    yield from _positive(line, "price")
    if line.get("post_only") and line.get("time_in_force") in _TAKING:
        yield f"post_only does not go with time_in_force {line['time_in_force']}"


def _order_time(line: Line, now: int) -> Iterator[str]:
    time_in_force, expiry = line.get("time_in_force"), line.get("expire_ts")
    if line["type"] == "market" and time_in_force not in (None, *_TAKING):
        yield f"a market order is ioc or fok, not {time_in_force}"
    if time_in_force != "gtd":
        if expiry is not None:
            yield "expire_ts needs time_in_force gtd"
    elif expiry is None:
        yield "time_in_force gtd needs expire_ts"
    else:
        now = max(now, line.get("ts") or now)
        if expiry <= now:
            yield f"expire_ts {expiry} does not lie after the engine's time, {now}"


def _order_trigger(line: Line) -> Iterator[str]:
    kind = line["type"]
    if kind in ("limit", "market"):
        for field in ("trigger_price", "trigger_by", "callback_rate"):
            if line.get(field) is not None:
                yield f"an order of type {kind} has no {field}"
        return
    rate = line.get("callback_rate")
    if kind == "trailing_stop_market":
        if rate is None:
            yield f"an order of type {kind} needs a callback_rate"
        elif not 0 < RATE.units(rate) < RATE_SCALE:
            yield f"callback_rate must lie between 0 and 1, not {_number(rate)}"
    else:
        if line.get("trigger_price") is None:
            yield f"an order of type {kind} needs a trigger_price"
        if rate is not None:
            yield f"an order of type {kind} has no callback_rate"
    yield from _positive(line, "trigger_price")


def _is_more(value: DecimalLike, other: DecimalLike) -> bool:
    mine, others = split_decimal(value), split_decimal(other)
    if isinstance(mine, int) or isinstance(others, int):
        return False
    return Fraction(mine[0], 10 ** mine[1]) > Fraction(others[0], 10 ** others[1])


def _may_rest(line: Line) -> bool:
    return line["type"] in _LIMIT_TYPES and line.get("time_in_force") not in _TAKING


def _order_size(line: Line) -> Iterator[str]:
    shown = line.get("display_quantity")
    if line.get("close_position"):
        if line["type"] in _LIMIT_TYPES:
            yield f"close_position needs a market type, not {line['type']}"
        if line.get("time_in_force") == "fok":
            yield "close_position does not go with time_in_force fok"
        if shown is not None:
            yield "close_position does not go with display_quantity"
    elif shown is not None:
        if not _may_rest(line):
            yield "display_quantity is of orders that may rest"
        yield from _positive(line, "display_quantity")
        if _is_more(shown, line.get("quantity", 1)):
            yield f"display_quantity {_number(shown)} is more than the quantity"


def _order_links(line: Line) -> Iterator[str]:
    if line.get("oco") is not None and not _may_rest(line) and line["type"] in (
            "limit", "market"):
        yield "oco is of orders that may rest or wait"
    taken = {line["order_id"]}
    for field in ("take_profit", "stop_loss"):
        attached = line.get(field)
        if not attached:
            continue
        if line.get("reduce_only") or line.get("close_position"):
            yield f"an order that only reduces has no {field}"
        for text in (*_positive_ints(attached, "order_id"),
                     *_positive(attached, "trigger_price", "price")):
            yield f"{field}: {text}"
        if attached["order_id"] in taken:
            yield f"{field}: order_id {attached['order_id']} is taken by this order"
        taken.add(attached["order_id"])


def _amend(line: Line, names: Names) -> Iterator[str]:
    given = [field for field in ("price", "trigger_price", "quantity", "leaves")
             if line.get(field) is not None]
    if not given:
        yield "an amend gives a price, trigger_price, quantity or leaves"
    if "quantity" in given and "leaves" in given:
        yield "quantity and leaves exclude each other"
    yield from _positive(line, "price", "trigger_price", "quantity")
    yield f"the order has no {' or no '.join(given)} that can be changed"


def _fill(line: Line, names: Names) -> Iterator[str]:
    yield from _positive(line, "quantity", "price")
    instrument = names.instruments.get(line["symbol"])
    yield from _minor(line, "fee", None if instrument is None else instrument.settle)
    if split_decimal(line["price"]) == OFF_GRID:
        yield "price has more than forty decimals"
    yield _leg_text(line)


def _mark(line: Line, names: Names) -> Iterator[str]:
    yield from _positive(line, "mark_price", "index_price")
    if line.get("cause") is not None:
        yield f"cause {line['cause']} is no earlier command"


def _marks(line: Line, names: Names) -> Iterator[str]:
    if not line["marks"]:
        yield "marks has no rows"
    seen = set()
    for number, row in enumerate(line["marks"], start=1):
        for text in _positive(row, "mark_price", "index_price"):
            yield f"row {number}: {text}"
        if row["symbol"] in seen:
            yield f"row {number}: {row['symbol']} comes twice"
        seen.add(row["symbol"])
    if line.get("cause") is not None:
        yield f"cause {line['cause']} is no earlier command"


def _timeout(line: Line, names: Names) -> Iterator[str]:
    if line["timeout"] < 0:
        yield f"timeout must be 0 or more, not {line['timeout']}"


def _protection(line: Line, names: Names) -> Iterator[str]:
    if (line.get("freeze") or 0) < 0:
        yield f"freeze must be 0 or more, not {line['freeze']}"
    if line.get("quantity") is not None or line.get("count") is not None:
        if line.get("window") is None:
            yield "quantity and count need a window"
        yield from _positive_ints(line, "window")
    yield from _positive_ints(line, "count")
    yield from _positive(line, "quantity")


def _multipliers(line: Line, names: Names) -> Iterator[str]:
    yield from _positive(line, "maintenance")
    yield from _between(line, "maintenance", 0, 100)
    yield from _between(line, "initial", 1, 100)
    if (line.get("effective_ts") or 0) < 0:
        yield f"effective_ts must be 0 or more, not {line['effective_ts']}"


def _backstop(line: Line, names: Names) -> Iterator[str]:
    if (line.get("asset") is None) == (line.get("symbol") is None):
        yield "a backstop is of an asset or of a symbol, one of the two"
    if sign_of(line["commitment"]) < 0:
        yield f"commitment must be 0 or more, not {_number(line['commitment'])}"
    instrument = names.instruments.get(line.get("symbol") or "")
    asset = names.assets.get(line.get("asset") or "") if instrument is None else instrument.settle
    yield from _minor(line, "commitment", asset)
    yield from _between(line, "discount", 0, 1, to="under")


def _collateral(line: Line, names: Names) -> Iterator[str]:
    yield from _between(line, "conversion_fee", 0, 1, to="under")
    threshold = line.get("conversion_threshold")
    if threshold is not None and sign_of(threshold) < 0:
        yield f"conversion_threshold must be 0 or more, not {_number(threshold)}"
    yield from _minor(line, "conversion_threshold", names.assets.get(line["value_asset"]))
    if threshold is not None:
        yield "conversion_threshold is beyond the engine's range"


#: What of a command is looked at first to last; the first text counts.
_FORMS: dict[str, Callable[[Line, Names], Iterator[str]]] = {
    "account": _account, "deposit": _payment, "withdraw": _payment, "transfer": _payment,
    "insurance": _two_ways, "isolated_margin": _two_ways, "order": _order, "amend": _amend,
    "fill": _fill, "mark": _mark, "marks": _marks, "cancel_all_after": _timeout,
    "protection": _protection, "margin_multiplier": _multipliers, "backstop": _backstop,
    "collateral": _collateral,
    "leverage": lambda line, _: _rate_of(line, "leverage"),
    "asset_price": lambda line, _: _positive(line, "price"),
    "settle": lambda line, _: _positive(line, "price"),
    "funding": lambda line, _: _between(line, "rate", -1, 1),
    "account_multiplier": lambda line, _: _between(line, "multiplier", 1, 100),
    "margin_call_levels": lambda line, _: _call_levels(line["levels"], line.get("hysteresis")),
}


def _rate_of(line: Line, field: str) -> Iterator[str]:
    yield from _positive(line, field)
    if _is_off(RATE, line[field]):
        yield f"{field} {_number(line[field])} is not a multiple of {RATE.text(1)}"


# --- grids ----------------------------------------------------------------------------

_TICKS = ("price",)
_MARK_TICKS = ("mark_price", "index_price", "trigger_price")
_LOTS = ("quantity", "leaves", "display_quantity")


def _off_grid(line: Line, names: Names) -> Iterator[tuple[RejectReason, str]]:
    """Prices off their tick and quantities off the lot, with the step that they miss."""
    if line["cmd"] == "asset_price":
        if _is_off(RATE, line["price"]):
            yield RejectReason.OFF_TICK, (
                f"price {_number(line['price'])} is not a multiple of {RATE.text(1)}")
        return
    for row in line.get("marks") or (line,):
        instrument = names.instruments.get(row.get("symbol") or "")
        if instrument is not None:
            yield from _row_off_grid(line["cmd"], row, instrument)


def _row_off_grid(
    command: str, row: Line, instrument: Instrument
) -> Iterator[tuple[RejectReason, str]]:
    tick = (instrument.mark, "mark tick") if command == "settle" else (instrument.tick, "tick")
    grids = (
        (RejectReason.OFF_TICK, _TICKS, *tick),
        (RejectReason.OFF_TICK, _MARK_TICKS, instrument.mark, "mark tick"),
        (RejectReason.OFF_LOT, _LOTS, instrument.lot, "lot"),
    )
    for reason, fields, grid, name in grids:
        for field in fields:
            value = row.get(field)
            if value is not None and _is_off(grid, value):
                yield reason, (
                    f"{field} {_number(value)} is not a multiple of the {name}, {grid.text(1)}")
    for field in ("take_profit", "stop_loss"):
        if row.get(field):
            for reason, text in _row_off_grid(command, row[field], instrument):
                yield reason, f"{field}: {text}"
