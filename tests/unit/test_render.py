"""Events and replies as people see them: names, decimal strings, no floats."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from support.market import Desk
from support.universe import Universe

from engine import Exchange
from engine.messages import EVENT_LAYOUTS, RECORD_WIDTH, EventKind, RejectReason
from engine.render import _DETAILS, _PLAIN_DETAILS, margin_ratio, ratio_text

INTEGERS = {"seq", "ts", "cause", "account", "order_id", "trade_id", "maker_order_id",
            "maker_account", "taker_order_id", "taker_account", "step", "steps", "tier_from",
            "tier_to", "rank", "counterparty", "feed_seq", "tier", "adl_rank", "max_open_orders",
            "stp_group", "expire_ts", "oco", "parent_order_id", "take_profit", "stop_loss",
            "due_ts", "expiry_ts", "window", "count", "freeze", "frozen_until", "parent",
            "sub_accounts", "to", "effective_ts", "tiers_per_step", "cooldown_ns", "ramp_ns",
            "ramp_steps", "slice_interval_ns", "steps_per_command", "fund_drawdown_window_ns",
            "adl_quintile", "cooldown_until", "fund_workoff_interval_ns", "mark_max_age_ns"}


def leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield (field name, scalar) for everything in a reply."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from leaves(key, each)
    elif isinstance(value, list):
        for each in value:
            yield from leaves(name, each)
    else:
        yield name, value


def stream(exchange: Exchange, seed: int) -> Iterator[dict[str, Any]]:
    """Yield all outputs of a random run, queries included."""
    universe = Universe(seed)
    for command in universe.opening():
        yield from exchange.apply(command)
    for number in range(300):
        events = exchange.apply(universe.next())
        universe.observe(events)
        yield from events
        if number % 20 == 0:
            for account in (1, 8):
                yield exchange.query({"query": "account", "account": account})
                yield exchange.query({"query": "orders", "account": account})
            for symbol in exchange.symbols:
                yield exchange.query({"query": "instrument", "symbol": symbol})
                yield exchange.query({"query": "tiers", "symbol": symbol})
                yield exchange.query({"query": "adl_ranking", "symbol": symbol})
                yield exchange.query({"query": "auction", "symbol": symbol})
                yield exchange.query({"query": "book", "symbol": symbol, "depth": 3})
            for name in ("totals", "insurance", "liquidation_queue"):
                yield exchange.query({"query": name})


@pytest.mark.parametrize("seed", range(4))
def test_numbers_are_strings_and_counts_are_integers(exchange: Exchange, seed: int) -> None:
    for output in stream(exchange, seed):
        assert json.loads(json.dumps(output)) == output
        for name, value in leaves("", output):
            assert not isinstance(value, float), output
            if isinstance(value, int) and not isinstance(value, bool):
                assert name in INTEGERS, (name, output)
            if isinstance(value, str):
                assert "E" not in value or not value[:1].isdigit(), (name, output)
                assert value != "-0", (name, output)


@pytest.mark.parametrize("seed", range(4))
def test_every_event_says_when_and_why(exchange: Exchange, seed: int) -> None:
    for output in stream(exchange, seed):
        names = list(output)
        assert names[:2] == ["seq", "ts"]
        assert names[2] in ("event", "reply")
        if "event" in output:
            assert output["cause"] <= output["seq"]
        if str(output.get("event", "")).startswith("order_"):
            assert {"account", "symbol", "order_id"} <= set(names)


def test_layouts_fit_the_record() -> None:
    assert set(EVENT_LAYOUTS) == set(EventKind)
    assert max(map(len, EVENT_LAYOUTS.values())) + 4 == RECORD_WIDTH
    for layout in EVENT_LAYOUTS.values():
        fields = [name for name, _ in layout]
        assert len(fields) == len(set(fields))


def test_every_reason_has_a_text() -> None:
    said_at_the_edge = {RejectReason.BAD_TIERS, RejectReason.BAD_INSTRUMENT}
    assert set(_DETAILS) | set(_PLAIN_DETAILS) | said_at_the_edge == set(RejectReason)


def test_ratios_are_rounded_up() -> None:
    assert ratio_text(1, 3) == "0.33333334"
    assert ratio_text(2, 2) == "1"
    assert ratio_text(99_999_999_999, 100_000_000_000) == "1"  # never shown smaller than it is


def test_margin_ratio_is_null_where_equity_is_spent() -> None:
    assert margin_ratio(0, 5, is_open=True) is None
    assert margin_ratio(-1, 5, is_open=True) is None
    assert margin_ratio(0, 0, is_open=False) == "0"
    assert margin_ratio(10, 5, is_open=True) == "0.5"


def test_rejection_names_what_was_needed(market: Desk) -> None:
    events = market.buy(1, 10**6, 100)
    assert events == [{
        "seq": events[0]["seq"], "ts": 0, "event": "rejected", "cmd": "order",
        "reason": "insufficient_margin", "detail": "needs 5000000, available 1000000",
        "account": 1, "order_id": 1, "symbol": "BTC", "cause": events[0]["seq"]}]


def test_rejection_of_a_number_beyond_the_range_prints_no_sentinel(market: Desk) -> None:
    market.must("margin_mode", account=1, symbol="BTC", mode="isolated")
    market.trade(1, 2, 1, 100)
    for sign in ("", "-"):
        event = market.do(
            "isolated_margin", account=1, symbol="BTC", amount=sign + "9" * 40)[0]
        assert event["reason"] == "insufficient_balance"
        assert "beyond the engine's range" in event["detail"]


def test_entry_price_is_exact_where_it_can_be(market: Desk) -> None:
    market.trade(1, 2, 1, 100)
    market.trade(1, 2, 2, 101)
    position = market.position(1)
    assert position is not None
    assert position["entry_value"] == "302"
    assert position["entry_price"] == "100.6667"
