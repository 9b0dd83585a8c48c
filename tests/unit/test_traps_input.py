"""Input that other engines swallow, and this one refuses. Each docstring names the trap."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from support.market import Desk, only

from engine import CommandError, Exchange


@pytest.mark.parametrize("side", ["BUY", "Buy", "b", "1", "", None, 0, True])
def test_side_is_not_guessed(market: Desk, side: Any) -> None:
    """`side="BUY"` taken for a sell."""
    with pytest.raises(CommandError, match="field 'side' must be one of buy, sell"):
        market.order(side, 1, 1, 100)


@pytest.mark.parametrize(("cmd", "fields"), [
    ("order", {"stp": "cancel_newest"}), ("order", {"time_in_force": "day"}),
    ("order", {"type": "LIMIT"}), ("margin_mode", {"mode": "portfolio"}),
    ("halt", {"mode": "none"}), ("account", {"position_mode": "both"}),
])
def test_unknown_modes_are_not_ignored(market: Desk, cmd: str, fields: dict[str, Any]) -> None:
    """Unknown modes ignored."""
    base = {"order": {"account": 1, "symbol": "BTC", "order_id": 1, "side": "buy",
                      "type": "limit", "quantity": "1", "price": "1"},
            "margin_mode": {"account": 1, "symbol": "BTC"}, "halt": {"symbol": "BTC"},
            "account": {"account": 99}}
    with pytest.raises(CommandError, match="must be one of"):
        market.do(cmd, **base[cmd] | fields)


NO_NUMBERS = [float("nan"), float("inf"), 1.0, "NaN", "inf", "1e2", Decimal("NaN"), True, "", "１"]


@pytest.mark.parametrize("value", NO_NUMBERS)
@pytest.mark.parametrize(("cmd", "field"), [
    ("mark", "mark_price"), ("deposit", "amount"), ("funding", "rate"), ("fill", "price"),
    ("fill", "quantity"), ("leverage", "leverage"), ("insurance", "amount"),
])
def test_no_number_is_no_number(market: Desk, cmd: str, field: str, value: Any) -> None:
    """NaN and infinite accepted; a NaN mark erases a good one."""
    fields = {
        "mark": {"symbol": "BTC"}, "deposit": {"account": 1, "asset": "USDT"},
        "funding": {"symbol": "BTC"}, "leverage": {"account": 1, "symbol": "BTC"},
        "fill": {"account": 1, "symbol": "BTC", "side": "buy", "quantity": "1", "price": "1"},
        "insurance": {"asset": "USDT"}}
    before = market.exchange.state_hash()
    with pytest.raises(CommandError, match=f"field '{field}' must be a decimal string"):
        market.do(cmd, **fields[cmd] | {field: value})
    assert market.exchange.state_hash() == before
    assert market.ask("instrument", symbol="BTC")["mark_price"] == "100"


@pytest.mark.parametrize("value", ["0", "-1", "-0", 0, -1, Decimal("-0.5"), "-1" + "0" * 50])
@pytest.mark.parametrize(("cmd", "field"), [
    ("mark", "mark_price"), ("order", "price"), ("order", "quantity"), ("deposit", "amount"),
    ("withdraw", "amount"), ("fill", "price"), ("fill", "quantity"), ("leverage", "leverage"),
])
def test_zero_and_negative_are_malformed(
    market: Desk, cmd: str, field: str, value: Any
) -> None:
    """Negative and zero accepted."""
    fields: dict[str, dict[str, Any]] = {
        "mark": {"symbol": "BTC"}, "deposit": {"account": 1, "asset": "USDT"},
        "withdraw": {"account": 1, "asset": "USDT"}, "leverage": {"account": 1, "symbol": "BTC"},
        "fill": {"account": 1, "symbol": "BTC", "side": "buy", "quantity": "1", "price": "1"},
        "order": {"account": 1, "symbol": "BTC", "order_id": 1, "side": "buy", "type": "limit",
                  "quantity": "1", "price": "1"}}
    assert market.refusal(cmd, **fields[cmd] | {field: value}) == "malformed"


@pytest.mark.parametrize("amount", [
    "92233720368.54775808", "92233720369", "1000000000000", "46116860184273879.03",
])
def test_large_values_are_exact(market: Desk, amount: str) -> None:
    """Values above 9.2e10 clipped in silence."""
    reason = None
    for event in market.do("deposit", account=4, asset="USDT", amount=amount):
        reason = event.get("reason")
    if reason is None:
        assert Decimal(market.wallet(4)) == Decimal(amount) + 1_000_000
    else:
        assert reason in ("overflow", "malformed")
        assert market.wallet(4) == "1000000"


@pytest.mark.parametrize(("cmd", "fields", "reason"), [
    ("insurance", {"asset": "USDT", "amount": "-0.005"}, "malformed"),
    ("insurance", {"asset": "USDT", "amount": "0.005"}, "malformed"),
    ("fill", {"account": 1, "symbol": "BTC", "side": "buy", "quantity": "1", "price": "100",
              "fee": "-0.005"}, "malformed"),
    ("funding", {"symbol": "BTC", "rate": "-0.000000001"}, "malformed"),
    ("isolated_margin", {"account": 1, "symbol": "BTC", "amount": "-0.005"}, "malformed"),
    ("deposit", {"account": 1, "asset": "USDT", "amount": "0.005"}, "malformed"),
    ("mark", {"symbol": "BTC", "mark_price": "100.5"}, "off_tick"),
])
def test_what_is_not_on_the_grid_is_refused_not_rounded(
    market: Desk, cmd: str, fields: dict[str, Any], reason: str
) -> None:
    """A negative amount finer than the minor unit is executed as one unit."""
    assert market.refusal(cmd, **fields) == reason


@pytest.mark.parametrize("price", ["100." + "0" * 45 + "1", Decimal("100." + "0" * 45 + "1")])
def test_a_fill_at_an_absurdly_long_price_is_not_free(market: Desk, price: Any) -> None:
    """A price of more digits than the reader takes is booked at a value of nothing."""
    events = market.do("fill", account=1, symbol="BTC", side="buy", quantity="10", price=price)
    position = market.position(1)
    assert only(events, "rejected") or (position and position["entry_value"] == "1000")


def test_ids_start_anew_in_every_exchange(core_name: str) -> None:
    """Ids from a process-wide counter: the second run in one process differs."""
    firsts = []
    for _ in range(2):
        desk = Desk(Exchange(core=core_name))
        desk.symbol()
        desk.account(1, 2)
        firsts.append(desk.trade(1, 2, 1, 100))
    assert firsts[0] == firsts[1]
    assert only(firsts[0], "trade")[0]["trade_id"] == 1


def test_time_is_that_of_the_commands(market: Desk) -> None:
    """Wall-clock timestamps in state."""
    assert market.exchange.ts == 0
    market.must("time", ts=1_700_000_000_000_000_000)
    assert market.mark(101)[0]["ts"] == 1_700_000_000_000_000_000
    assert market.refusal("time", ts=1) == "malformed"
    assert market.exchange.ts == 1_700_000_000_000_000_000


def test_fields_that_do_not_belong_are_refused_not_dropped(market: Desk) -> None:
    """A field without meaning for an order is dropped, and the order goes in without it."""
    for fields in ({"trigger_price": "110"}, {"display_quantity": "3"}, {"close_position": True},
                   {"expire_ts": 5}, {"time_in_force": "gtd"}, {"callback_rate": "0.1"},
                   {"trigger_by": "last"}):
        assert market.refusal("order", account=1, symbol="BTC", order_id=1, side="buy",
                              type="limit", quantity="2", price="90", **fields) == "malformed"
