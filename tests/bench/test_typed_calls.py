"""The benchmark of typed calls still runs, and its ways come to one state."""

from __future__ import annotations

import pytest

from engine import Exchange
from engine.bench import typed_calls


def test_every_way_is_measured() -> None:
    costs = typed_calls.measure(50, rounds=2)
    assert [cost.way for cost in costs] == list(typed_calls.WAYS)
    assert all(cost.us_per_command > 0 for cost in costs)


def test_a_way_that_does_something_else_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(exchange: Exchange, number: int) -> None:
        exchange.submit(1, "BTC", number, "buy", "limit", "1", "50")

    monkeypatch.setitem(typed_calls.WAYS, "typed, acknowledgement", forgetful)
    with pytest.raises(AssertionError, match="the ways came to 2 states"):
        typed_calls.measure(5, rounds=1)
