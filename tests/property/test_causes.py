"""Cascades of random markets, read off the events: a forest, and every forced trade in it once."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from support.universe import Universe

from engine import Exchange
from engine.causes import cascade, generations

SEEDS = range(45)


def stream(seed: int) -> list[dict[str, Any]]:
    exchange, universe = Exchange(), Universe(seed)
    told: list[dict[str, Any]] = []
    for command in universe.opening():
        told += exchange.apply(command)
    for _ in range(400):
        events = exchange.apply(universe.next())
        universe.observe(events)
        told += events
    return told


@pytest.mark.parametrize("seed", SEEDS)
def test_liquidations_form_a_forest(seed: int) -> None:
    events = stream(seed)
    found = cascade(events)
    starts = [event for event in events if event["event"] == "liquidation_started"]
    assert len(found) == len(starts)
    for number, each in enumerate(found):
        assert each.cause <= each.seq
        if each.parent is None:
            assert each.generation == 0
            continue
        parent = found[each.parent]
        assert each.parent < number, "a parent starts earlier, so there are no cycles"
        assert parent.seq <= each.seq
        assert each.generation == parent.generation + 1
    forced = [event["trade_id"] for event in events
              if event["event"] == "trade" and event["liquidation"] and event["taker_account"]]
    assert sorted(trade for each in found for trade in each.trades) == forced
    steps = [Fraction(event["filled_value"]) for event in events
             if event["event"] == "liquidation_step"]
    assert sum(each.volume for each in found) == sum(steps)
    rows = generations(found)
    assert [row.number for row in rows] == list(range(len(rows)))
    assert sum(row.liquidations for row in rows) == len(found)
    assert sum(row.trades for row in rows) == len(forced)


def test_some_liquidations_set_off_others() -> None:
    parents = [each.parent for seed in SEEDS for each in cascade(stream(seed))]
    assert len(parents) - parents.count(None) >= 5
