"""Liquidations left to the host: who waits, what ends it, and what the fund does then."""

from __future__ import annotations

import pytest

from engine import Exchange, Tier


@pytest.fixture
def waiting(exchange: Exchange) -> Exchange:
    """Account 1 long 10 at 100 on 100, nobody in the book, and steps left to the host."""
    exchange.add_asset("USDT", 2)
    exchange.add_instrument(
        "BTC", settle="USDT", tick_size=1, lot_size=1, tiers=[Tier(0, None, "0.05", 10)],
        profile={"unfilled": "wait", "adl": False})
    exchange.mark("BTC", 100)
    exchange.open_account(1)
    exchange.deposit(1, "USDT", 100)
    exchange.fill(1, "BTC", "buy", 10, 100)
    return exchange


def due(exchange: Exchange) -> list[tuple[int, str]]:
    entries = exchange.liquidation_queue()["entries"]
    return [(entry["account"], entry["equity"]) for entry in entries]


def kinds(answer) -> list[str]:
    return [event["event"] for event in answer.events]


def test_a_due_pool_waits_with_the_step_it_asks_for(waiting: Exchange) -> None:
    answer = waiting.mark("BTC", 94)
    steps = [event for event in answer.events if event["event"] == "liquidation_step"]
    assert [(one["side"], one["quantity"], one["limit_price"], one["filled"])
            for one in steps] == [("sell", "10", "90", "0")]
    assert due(waiting) == [(1, "40")]


def test_executions_of_the_host_end_it(waiting: Exchange) -> None:
    waiting.mark("BTC", 94)
    first = waiting.fill(1, "BTC", "sell", 1, 93)
    assert "liquidation_finished" not in kinds(first)
    assert due(waiting) == [(1, "39")]
    # 8 lots of 94: 37.6 of maintenance against 38
    last = waiting.fill(1, "BTC", "sell", 1, 93)
    assert [event["outcome"] for event in last.events
            if event["event"] == "liquidation_finished"] == ["released"]
    assert due(waiting) == []


def test_a_pool_without_equity_waits_for_the_host_or_the_fund(waiting: Exchange) -> None:
    waiting.mark("BTC", 80)
    assert due(waiting) == [(1, "-100")]
    assert "liquidation_takeover" in kinds(waiting.fund_insurance("USDT", 500))
    assert due(waiting) == []
    assert waiting.insurance()["positions"][0]["quantity"] == "10"


def test_a_host_may_sell_at_a_loss_and_the_deficit_stays_on_record(waiting: Exchange) -> None:
    waiting.mark("BTC", 80)
    answer = waiting.fill(1, "BTC", "sell", 10, 80)
    assert [event["outcome"] for event in answer.events
            if event["event"] == "liquidation_finished"] == ["bankrupt"]
    assert waiting.account(1)["wallet"] == "-100"
    assert waiting.totals()["assets"]["USDT"]["drift"] == "0"
