"""The schema of commands and queries: what does not fit is an error, not a guess."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from engine import CommandError, Exchange
from engine.commands import COMMANDS, QUERIES, check_shape
from engine.messages import Command

ORDER = {"cmd": "order", "account": 1, "symbol": "BTC", "order_id": 1, "side": "buy",
         "type": "limit", "quantity": "1", "price": "100"}
TIER = {"min_notional": "0", "max_notional": None, "maintenance_margin_rate": "0.01",
        "max_leverage": "10"}

#: One well-formed example of every command.
EXAMPLES: dict[str, dict[str, Any]] = {
    "asset": {"asset": "USDT", "decimals": 2},
    "collateral": {"asset": "BTC", "value_asset": "USDT",
                   "tiers": [{"max_amount": None, "weight": "0.9"}]},
    "asset_price": {"asset": "BTC", "price": "1"},
    "instrument": {"symbol": "BTC", "kind": "linear", "base": "BTC", "quote": "USDT",
                   "settle": "USDT", "tick_size": "1", "lot_size": "1", "tiers": [TIER]},
    "tiers": {"symbol": "BTC", "tiers": [TIER]},
    "account": {"account": 1},
    "deposit": {"account": 1, "asset": "USDT", "amount": "1"},
    "withdraw": {"account": 1, "asset": "USDT", "amount": "1"},
    "leverage": {"account": 1, "symbol": "BTC", "leverage": "5"},
    "margin_mode": {"account": 1, "symbol": "BTC", "mode": "isolated"},
    "isolated_margin": {"account": 1, "symbol": "BTC", "amount": "-1"},
    "order": {key: value for key, value in ORDER.items() if key != "cmd"},
    "amend": {"account": 1, "symbol": "BTC", "order_id": 1, "price": "1"},
    "cancel": {"account": 1, "symbol": "BTC", "order_id": 1},
    "cancel_all": {},
    "fill": {"account": 1, "symbol": "BTC", "side": "buy", "quantity": "1", "price": "1"},
    "mark": {"symbol": "BTC", "mark_price": "1"},
    "marks": {"marks": [{"symbol": "BTC", "mark_price": "1"}]},
    "funding": {"symbol": "BTC", "rate": "0"},
    "insurance": {"asset": "USDT", "amount": "1"},
    "halt": {"symbol": "BTC", "mode": "all"},
    "resume": {"symbol": "BTC"},
    "time": {},
    "cancel_all_after": {"account": 1, "timeout": 0},
    "protection": {"account": 1, "symbol": "BTC"},
    "margin_call_levels": {"account": 1, "levels": ["0.8"]},
    "margin_multiplier": {"symbol": "BTC", "maintenance": "1", "initial": "1"},
    "transfer": {"account": 1, "to": 2, "asset": "USDT", "amount": "1"},
    "auto_top_up": {"account": 1, "symbol": "BTC", "enabled": True},
    "settle": {"symbol": "BTC"},
    "position_mode": {"account": 1, "mode": "hedge"},
    "profile": {"symbol": "BTC", "profile": {"fraction": "0.5"}},
    "backstop": {"account": 1, "symbol": "BTC", "commitment": "1000"},
    "account_multiplier": {"account": 1, "multiplier": "2"},
}


def refusal(line: dict[str, Any]) -> str:
    with pytest.raises(CommandError) as caught:
        check_shape(line)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_every_command_has_a_schema_and_an_example() -> None:
    names = [member.name.lower() for member in Command]
    assert list(COMMANDS) == names
    assert list(EXAMPLES) == names


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_fits(name: str) -> None:
    assert check_shape({"cmd": name, **EXAMPLES[name]}) == "cmd"
    assert check_shape({"cmd": name, "ts": 0, **EXAMPLES[name]}) == "cmd"


def required_fields() -> Iterator[tuple[str, str]]:
    for name, fields in COMMANDS.items():
        yield from ((name, field) for field, rule in fields.items() if rule.is_required)


@pytest.mark.parametrize(("name", "field"), list(required_fields()))
def test_a_missing_field_is_named(name: str, field: str) -> None:
    line = {"cmd": name, **EXAMPLES[name]}
    del line[field]
    assert refusal(line) == f"cmd '{name}': field '{field}' is missing"


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_unknown_field_is_named(name: str) -> None:
    message = refusal({"cmd": name, **EXAMPLES[name], "colour": "red"})
    assert message == f"cmd '{name}': unknown field 'colour'"


def typed_fields() -> Iterator[tuple[str, str, str]]:
    for name, fields in COMMANDS.items():
        for field, rule in fields.items():
            yield name, field, rule.wants


WRONG: dict[str, tuple[Any, ...]] = {
    "an integer": ("1", 1.0, True, False, [], {}, 2**63, -(2**63), Decimal(1)),
    "a decimal string": (1.0, float("nan"), float("inf"), True, "1e5", "NaN", "", " 1", "0x1",
                         [], {}, Decimal("NaN"), Decimal("Infinity")),
    "a string of 1 to 64": ("", "x" * 65, 5, True, []),
    "a string of 1 to 36": ("", "x" * 37, 5, True, []),
    "true or false": ("true", 1, 0, []),
    "one of": ("BUY", "Buy", " buy", "", "gtx", 0, 1, True, []),
    "a list of decimal strings": ("0.8", {}, 1, [0.5], ["a"], [None], [["1"]]),
    "a list of objects": ({}, "[]", 1, [1], [[]], [None]),
    "an object": ([], "{}", 1, True, [{}]),
    "a profile's name": (1, [], True),
}


@pytest.mark.parametrize(("name", "field", "wants"), list(typed_fields()))
def test_a_wrongly_typed_field_is_named(name: str, field: str, wants: str) -> None:
    kind = next(start for start in WRONG if wants.startswith(start))
    values = WRONG[kind] if wants.endswith("or null") else (*WRONG[kind], None)
    if kind == "a profile's name":  # null means: not given
        values = WRONG[kind]
    for value in values:
        message = refusal({"cmd": name, **EXAMPLES[name], field: value})
        assert message.startswith(f"cmd '{name}': field '{field}' must be {wants}"), value


@pytest.mark.parametrize("ts", ["1", 1.0, True, -1, 2**63, None])
def test_time_is_a_whole_number_of_nanoseconds(ts: object) -> None:
    assert "'ts' must be an integer" in refusal({"cmd": "time", "ts": ts})
    assert "'ts' must be an integer" in refusal({"query": "totals", "ts": ts})


def test_a_query_may_carry_a_time() -> None:
    assert check_shape({"query": "totals", "ts": 5}) == "query"


def test_neither_both_or_unknown() -> None:
    assert refusal({"account": 1}) == "neither 'cmd' nor 'query'"
    assert refusal({"cmd": "time", "query": "totals"}) == "both 'cmd' and 'query'"
    assert refusal({"cmd": "Order"}) == "unknown cmd: 'Order'"
    assert refusal({"query": "balance"}) == "unknown query: 'balance'"
    assert refusal({"cmd": None}) == "unknown cmd: None"
    assert refusal({"cmd": ["order"]}) == "unknown cmd: ['order']"
    assert refusal({"query": {}}) == "unknown query: {}"


def test_rows_are_checked_one_by_one() -> None:
    tier = {**TIER, "max_leverage": 10.0}
    assert "tiers row 2: field 'max_leverage'" in refusal(
        {"cmd": "tiers", "symbol": "BTC", "tiers": [TIER, tier]})
    assert "marks row 1: field 'mark_price' is missing" in refusal(
        {"cmd": "marks", "marks": [{"symbol": "BTC"}]})
    assert "marks row 1: unknown field 'ts'" in refusal(
        {"cmd": "marks", "marks": [{"symbol": "BTC", "mark_price": "1", "ts": 1}]})
    assert "max_notional' is missing" in refusal({"cmd": "tiers", "symbol": "BTC", "tiers": [
        {key: value for key, value in TIER.items() if key != "max_notional"}]})


def test_attached_orders_are_checked_like_commands() -> None:
    attached = {"order_id": 2, "trigger_price": "110"}
    for name in ("take_profit", "stop_loss"):
        assert check_shape({**ORDER, name: attached}) == "cmd"
        loose = {**attached, "trigger_by": None, "price": None}
        assert check_shape({**ORDER, name: loose}) == "cmd"
        where = f"cmd 'order': {name}: "
        for field in attached:
            short = {key: value for key, value in attached.items() if key != field}
            assert refusal({**ORDER, name: short}) == f"{where}field '{field}' is missing"
        assert refusal({**ORDER, name: {**attached, "side": "buy"}}) == (
            f"{where}unknown field 'side'")
        for field, value in (("order_id", "2"), ("trigger_price", 1.5), ("trigger_by", "Mark"),
                             ("price", 110.5), ("trigger_price", None)):
            message = refusal({**ORDER, name: {**attached, field: value}})
            assert message.startswith(f"{where}field '{field}' must be ")


def test_only_an_order_that_closes_the_position_may_come_without_a_quantity() -> None:
    line = {key: value for key, value in ORDER.items() if key != "quantity"}
    for fields in ({}, {"close_position": False}, {"close_position": None}):
        assert refusal({**line, **fields}) == "cmd 'order': field 'quantity' is missing"
    assert check_shape({**line, "close_position": True}) == "cmd"


def test_what_is_shown_of_a_wrong_value_is_short() -> None:
    message = refusal({**ORDER, "price": "9" * 10_000 + "x"})
    assert len(message) < 200
    assert len(refusal({**ORDER, "x" * 10_000: 1})) < 200
    assert len(refusal({"cmd": "x" * 10_000})) < 200


def test_an_integer_of_thousands_of_digits_is_refused_like_any_other() -> None:
    assert "field 'account' must be an integer" in refusal({"cmd": "account", "account": 10**5000})
    assert "unknown cmd" in refusal({"cmd": 10**5000})


@pytest.mark.parametrize("name", QUERIES)
def test_queries_name_what_is_wrong(name: str) -> None:
    fields = {"account": 1, "symbol": "BTC", "asset": "BTC"}
    line = {"query": name, **{field: fields[field] for field in QUERIES[name] if field in fields}}
    assert check_shape(line) == "query"
    assert refusal({**line, "colour": 1}) == f"query '{name}': unknown field 'colour'"
    for field in fields.keys() & QUERIES[name].keys():
        short = {key: value for key, value in line.items() if key != field}
        assert refusal(short) == f"query '{name}': field '{field}' is missing"


def test_nothing_is_applied_and_no_number_is_used_up(exchange: Exchange) -> None:
    before = exchange.state_hash()
    for line in ({"cmd": "asset"}, {"query": "totals"}, {"cmd": "time", "ts": 1.5}):
        with pytest.raises(CommandError):
            exchange.apply(line)
    with pytest.raises(CommandError, match="a command is not a query"):
        exchange.query({"cmd": "time"})
    assert exchange.seq == 0
    assert exchange.state_hash() == before
