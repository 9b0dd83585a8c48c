"""Cascades read off the events: parents, generations, volumes."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from support.script import read_script

from engine import Exchange
from engine.causes import Liquidation, cascade, generations, reproduction_number

SCENARIOS = Path(__file__).parents[1] / "scenarios"


def told(exchange: Exchange, scenario: str) -> list[dict[str, Any]]:
    """All events of a scenario."""
    path = next(SCENARIOS.glob(f"{scenario}-*.jsonl"))
    lines = [step.line for step in read_script(path).steps]
    return [event for line in lines if "cmd" in line for event in exchange.apply(line)]


def chain(liquidations: list[Liquidation]) -> list[tuple[int, int | None, int]]:
    return [(each.account, each.parent, each.generation) for each in liquidations]


def test_three_generations(exchange: Exchange) -> None:
    found = cascade(told(exchange, "FND-018"))
    assert chain(found) == [(1, None, 0), (2, 0, 1), (3, 1, 2)]
    rows = generations(found)
    assert [(row.number, row.liquidations, row.trades, row.volume) for row in rows] == [
        (0, 1, 1, {"USDT": 840}), (1, 1, 1, {"USDT": 800}), (2, 1, 1, {"USDT": 750})]
    assert reproduction_number(found, "USDT") == Fraction(1550, 2390)
    assert reproduction_number(found, "XYZ") is None
    assert [each.outcome for each in found] == ["closed"] * 3


def test_backstops_and_the_fund_take_over(exchange: Exchange) -> None:
    found = cascade(told(exchange, "FND-014"))
    assert [each.taken_over for each in found] == [
        [("BTC", 5), ("BTC", 5)], [("BTC", 10)], []]
    assert [each.deleveraged for each in found] == [[], [], [("BTC", 10)]]


def events(*rows: dict[str, Any]) -> list[dict[str, Any]]:
    """Events with what the rows leave out: one command at one time."""
    return [{"seq": 5, "ts": 0, "cause": row.get("seq", 5)} | row for row in rows]


ADDED = {"event": "instrument_added", "symbol": "BTC", "settle": "USDT"}


def started(account: int, symbol: str | None = None, **more: Any) -> dict[str, Any]:
    return {"event": "liquidation_started", "account": account, "asset": "USDT",
            "symbol": symbol, "position_side": None if symbol is None else "both"} | more


def step(account: int, value: str = "0") -> dict[str, Any]:
    return {"event": "liquidation_step", "account": account, "symbol": "BTC",
            "position_side": "both", "filled_value": value}


def trade(taker: int, maker: int, number: int = 1) -> dict[str, Any]:
    return {"event": "trade", "trade_id": number, "symbol": "BTC", "liquidation": True,
            "taker_account": taker, "maker_account": maker}


def adl(account: int, counterparty: int) -> dict[str, Any]:
    return {"event": "adl", "account": account, "counterparty": counterparty, "symbol": "BTC",
            "quantity": "1"}


def test_two_due_at_the_same_mark_have_no_parent() -> None:
    found = cascade(events(ADDED, started(1), started(2), step(1), step(2)))
    assert chain(found) == [(1, None, 0), (2, None, 0)]


def test_who_took_part_is_set_off_within_the_command() -> None:
    found = cascade(events(
        ADDED, started(1), started(2), trade(1, 8), step(1, "10"), adl(7, 1), step(2),
        started(8), started(7), started(6)))
    assert chain(found) == [
        (1, None, 0), (2, None, 0), (8, 0, 1), (7, 0, 1), (6, 1, 1)]  # 6: by the latest at work


def test_the_funds_sales_are_nobodys() -> None:
    found = cascade(events(ADDED, started(1), trade(1, 8), step(1), trade(0, 9), started(9)))
    assert chain(found) == [(1, None, 0), (9, None, 0)]
    assert found[0].trades == [1]


def test_an_isolated_position_is_a_pool_of_its_own() -> None:
    found = cascade(events(ADDED, started(1), started(1, "BTC"), trade(1, 8), step(1, "10")))
    assert [each.trades for each in found] == [[], [1]]


def test_the_cause_names_a_command_and_the_mark_a_symbol() -> None:
    other = {"event": "instrument_added", "symbol": "ETH", "settle": "USDT"}
    found = cascade(events(
        ADDED, other, started(1), started(2), trade(1, 8), step(1),
        trade(2, 8, 2) | {"symbol": "ETH"}, step(2) | {"symbol": "ETH"},
        {"seq": 6, "cause": 5, "event": "mark", "symbol": "BTC"},
        started(3, seq=6, cause=5),
        {"seq": 7, "cause": 6, "event": "mark", "symbol": "BTC"},
        started(4, seq=7, cause=6)))
    assert chain(found)[2:] == [(3, 0, 1), (4, None, 0)]  # nobody traded in command 6


@pytest.mark.parametrize("event", [
    step(1), adl(7, 1),
    {"event": "liquidation_finished", "account": 1, "asset": "USDT", "symbol": None,
     "position_side": None, "outcome": "closed"},
])
def test_a_stream_that_begins_in_the_middle_is_refused(event: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="seq 5"):
        cascade(events(ADDED, event))
