"""docs/formats.md lists the commands, events and queries there are, field by field."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.market import Desk

from engine import Exchange
from engine.commands import ATTACHED, COLLATERAL_ROW, COMMANDS, QUERIES, TIER_ROW
from engine.messages import EVENT_LAYOUTS, CancelReason, EventKind

PAGE = Path(__file__).parents[2] / "docs" / "formats.md"
#: What rendering adds to, or makes of, the payload of an event.
DERIVED = {
    EventKind.REJECTED: ["cmd", "reason", "detail", "account", "order_id", "symbol"],
    EventKind.POSITION: [
        "account", "symbol", "quantity", "entry_value", "isolated_margin", "position_side",
        "entry_price"],
    EventKind.MARGIN_CALL_LEVELS_SET: ["account", "hysteresis", "levels"],
}


def section(title: str) -> str:
    text = PAGE.read_text(encoding="utf-8")
    return text.split(f"### {title}\n")[1].split("\n### ")[0]


def tables(title: str) -> list[list[list[str]]]:
    """Return the tables of a section: rows of cells, without the head."""
    found: list[list[list[str]]] = []
    is_inside = False
    for line in section(title).splitlines():
        if not line.startswith("|"):
            is_inside = False
            continue
        if not is_inside:
            found.append([])
        is_inside = True
        found[-1].append([cell.strip() for cell in line.strip("|").split("|")])
    return [rows[2:] for rows in found]


def names(cell: str) -> list[str]:
    return re.findall(r"`(\w+)`", cell)


def test_commands_are_listed_with_their_fields() -> None:
    listed = {names(name)[0]: (set(names(fields)), set(names(optional)))
              for name, fields, optional in tables("Commands")[0]}
    assert listed == {
        name: ({field for field, rule in fields.items() if rule.is_required},
               {field for field, rule in fields.items() if not rule.is_required})
        for name, fields in COMMANDS.items()}
    assert list(listed) == list(COMMANDS)


def test_every_field_of_a_command_is_explained_once() -> None:
    explained = [name for cell, *_ in tables("Commands")[1] for name in names(cell)]
    assert sorted(explained) == sorted(
        {field for fields in COMMANDS.values() for field in fields})


def test_choices_are_those_of_the_schema() -> None:
    for cell, kind, meaning in tables("Commands")[1]:
        for field in names(cell):
            rules = [fields[field] for fields in COMMANDS.values() if field in fields]
            for rule in rules:
                choices = re.findall(r"\w+", rule.wants.removesuffix(" or null"))
                if rule.wants.startswith("one of"):
                    shown = names(meaning if field == "mode" else kind)
                    assert set(choices[2:]) <= set(shown), field


def test_rows_and_attached_orders_are_explained() -> None:
    meanings = {name: meaning for cell, _, meaning in tables("Commands")[1]
                for name in names(cell)}
    assert set(names(meanings["take_profit"])) == set(ATTACHED)
    assert {*TIER_ROW, *COLLATERAL_ROW} <= set(names(meanings["tiers"]))


def test_what_may_be_left_out_but_not_be_null_is_said() -> None:
    text = PAGE.read_text(encoding="utf-8").split("which are there or not:")[1].split(".")[0]
    assert set(names(text)) == {
        field for fields in COMMANDS.values() for field, rule in fields.items()
        if not rule.is_required and not rule.check(None)}


def test_events_are_listed_with_their_fields_in_order() -> None:
    listed = {names(name)[0]: names(fields) for name, fields in tables("Events")[0]}
    assert list(listed) == [kind.name.lower() for kind in EVENT_LAYOUTS]
    for kind, layout in EVENT_LAYOUTS.items():
        fields = [name for name, _ in layout]
        if "maintenance_margin" in fields:
            fields.append("margin_ratio")
        if "order_id" in fields and kind is not EventKind.REJECTED:
            fields.append("client_order_id")
        assert listed[kind.name.lower()] == DERIVED.get(kind, fields), kind.name


def test_reasons_of_cancels_are_listed() -> None:
    text = section("Events").split("`reason` of `order_canceled` is")[1].split("That of")[0]
    assert names(text) == [reason.name.lower() for reason in CancelReason]


def test_queries_are_listed_with_their_fields() -> None:
    listed = {names(name)[0]: (set(names(fields)), set(names(optional)))
              for name, fields, optional, _ in tables("Queries")[0]}
    assert listed == {
        name: ({field for field, rule in fields.items() if rule.is_required},
               {field for field, rule in fields.items() if not rule.is_required})
        for name, fields in QUERIES.items()}


@pytest.mark.parametrize("query", sorted(QUERIES))
def test_answers_have_the_fields_that_are_listed(query: str) -> None:
    desk = Desk(Exchange(core="reference"))
    desk.symbol()
    desk.account(1)
    desk.must("asset", asset="COIN", decimals=3)
    desk.must("collateral", asset="COIN", value_asset="USDT", tiers=[
        {"max_amount": None, "weight": "0.9"}])
    fields = {"account": 1, "symbol": "BTC", "asset": "COIN"}
    reply = desk.ask(query, **{name: fields[name] for name in QUERIES[query] if name in fields})
    listed = next(cell for name, *_, cell in tables("Queries")[0] if names(name)[0] == query)
    assert set(names(listed)) - {"drift"} <= set(reply), query


def test_a_row_of_orders_has_the_fields_that_are_listed() -> None:
    text = section("Queries").split("A row of `orders` has")[1].split("armed yet.")[0]
    desk = Desk(Exchange(core="reference"))
    desk.symbol()
    desk.account(1, 2)
    desk.trade(1, 2, 5, 100)
    attached = {"trigger_price": "120", "order_id": 90}
    desk.buy(1, 2, 90, take_profit=attached, stop_loss={**attached, "order_id": 91}, oco=1,
             display_quantity="1", time_in_force="gtd", expire_ts=9, client_order_id="mine")
    desk.sell(1, 1, type="trailing_stop_market", callback_rate="0.5", close_position=True)
    desk.buy(1, 1, 100, take_profit={**attached, "order_id": 92})
    desk.sell(2, 1, 100)  # arms the take profit
    rows = desk.ask("orders", account=1)["orders"]
    assert {name for row in rows for name in row} == set(names(text)) - {"orders"}
