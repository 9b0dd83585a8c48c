"""Every way in which every command can be refused leaves no trace."""

from __future__ import annotations

from typing import Any

import pytest
from support.market import Desk

from engine.messages import Command, RejectReason

BTC = {"account": 1, "symbol": "BTC"}
MOVE = {"account": 1, "to": 11, "asset": "USDT", "amount": "1"}
SCALED = {"symbol": "BTC", "maintenance": "1", "initial": "1"}
ORDER = BTC | {"order_id": 50, "side": "buy", "type": "limit", "quantity": "1", "price": "90"}
TERMS = {"symbol": "X", "kind": "linear", "base": "X", "quote": "USDT", "settle": "USDT",
         "tick_size": "1", "lot_size": "1"}
TIER = {"min_notional": "0", "max_notional": None, "maintenance_margin_rate": "0.01",
        "max_leverage": "10"}
CALL = {"account": 1, "symbol": "CALL", "order_id": 6}
PLEDGED = {"asset": "COIN", "value_asset": "USDT",
           "tiers": [{"max_amount": None, "weight": "0.9"}]}
BACK = {"ts": 4}  # the market below is at 5
#: What is said of a field that nobody looked for.
UNEXPLAINED = ("the fields make no sense together", "a price is not a multiple of its tick",
               "a quantity is not a multiple of the lot")

#: command -> refusals as (reason, fields).
REFUSALS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "asset": [("malformed", {"asset": "E", "decimals": -1}),
              ("already_exists", {"asset": "USDT", "decimals": 2}),
              ("malformed", {"asset": "E", "decimals": 2} | BACK)],
    "collateral": [("malformed", PLEDGED | {"value_asset": "COIN"}),
                   ("malformed", PLEDGED | {"conversion_fee": "1"}),
                   ("malformed", PLEDGED | {"conversion_threshold": "0.0000000001"}),
                   ("already_exists", PLEDGED | {"value_asset": "GBP", "tiers": []}),
                   ("unknown_asset", PLEDGED | {"asset": "XAU"}),
                   ("unknown_asset", PLEDGED | {"value_asset": "XAU"}),
                   ("bad_tiers", PLEDGED | {"tiers": []}),
                   ("bad_tiers", PLEDGED | {"conversion_fee": "0.2"}),
                   ("bad_instrument", PLEDGED | {"asset": "USDT", "value_asset": "GBP"}),
                   ("malformed", PLEDGED | BACK)],
    "asset_price": [("malformed", {"asset": "COIN", "price": "0"}),
                    ("unknown_asset", {"asset": "XAU", "price": "1"}),
                    ("unknown_asset", {"asset": "USDT", "price": "1"}),
                    ("off_tick", {"asset": "COIN", "price": "0.000000001"}),
                    ("overflow", {"asset": "COIN", "price": "9" * 30}),
                    ("overflow", {"asset": "COIN", "price": "46116860000"}),
                    ("malformed", {"asset": "COIN", "price": "1"} | BACK)],
    "instrument": [("malformed", TERMS | {"tiers": [TIER], "tick_size": "0"}),
                   ("already_exists", TERMS | {"tiers": [TIER], "symbol": "BTC"}),
                   ("unknown_asset", TERMS | {"tiers": [TIER], "settle": "EUR"}),
                   ("bad_tiers", TERMS | {"tiers": []}),
                   ("bad_profile", TERMS | {"tiers": [TIER], "profile": "nobody"}),
                   ("bad_instrument", TERMS | {"tiers": [TIER], "settle": "COIN"}),
                   ("bad_instrument", TERMS | {"tiers": [TIER], "tick_size": "0.001"}),
                   ("malformed", TERMS | {"tiers": [TIER]} | BACK)],
    "tiers": [("unknown_symbol", {"symbol": "Z", "tiers": [TIER]}),
              ("bad_tiers", {"symbol": "BTC", "tiers": []}),
              ("malformed", {"symbol": "BTC", "tiers": [TIER]} | BACK)],
    "account": [("malformed", {"account": 0}), ("already_exists", {"account": 1}),
                ("malformed", {"account": 8} | BACK)],
    "deposit": [("malformed", {"account": 1, "asset": "USDT", "amount": "0"}),
                ("unknown_asset", {"account": 1, "asset": "E", "amount": "1"}),
                ("unknown_account", {"account": 8, "asset": "USDT", "amount": "1"}),
                ("overflow", {"account": 1, "asset": "USDT", "amount": "9" * 30}),
                ("malformed", {"account": 1, "asset": "USDT", "amount": "1"} | BACK)],
    "withdraw": [("malformed", {"account": 1, "asset": "USDT", "amount": "-1"}),
                 ("unknown_asset", {"account": 1, "asset": "E", "amount": "1"}),
                 ("unknown_account", {"account": 8, "asset": "USDT", "amount": "1"}),
                 ("account_liquidating", {"account": 3, "asset": "USDT", "amount": "1"}),
                 ("account_liquidating", {"account": 3, "asset": "COIN", "amount": "1"}),
                 ("insufficient_balance", {"account": 1, "asset": "USDT", "amount": "9" * 9})],
    "leverage": [("malformed", BTC | {"leverage": "0"}),
                 ("unknown_symbol", BTC | {"symbol": "Z", "leverage": "5"}),
                 ("unknown_account", BTC | {"account": 8, "leverage": "5"}),
                 ("account_liquidating", {"account": 3, "symbol": "BTC", "leverage": "5"}),
                 ("leverage", BTC | {"leverage": "21"}),
                 ("insufficient_margin", {"account": 4, "symbol": "BTC", "leverage": "1"})],
    "margin_mode": [("unknown_symbol", BTC | {"symbol": "Z", "mode": "cross"}),
                    ("unknown_account", BTC | {"account": 8, "mode": "cross"}),
                    ("position_open", BTC | {"mode": "isolated"})],
    "isolated_margin": [("malformed", BTC | {"amount": "0"}),
                        ("unknown_symbol", BTC | {"symbol": "Z", "amount": "1"}),
                        ("unknown_account", BTC | {"account": 8, "amount": "1"}),
                        ("no_position", BTC | {"amount": "1"}),
                        ("insufficient_balance", BTC | {"account": 4, "amount": "9999"}),
                        ("insufficient_margin", BTC | {"account": 4, "amount": "-1"})],
    "order": [("malformed", ORDER | {"quantity": "0"}),
              ("malformed", ORDER | {"trigger_price": "1"}),
              ("malformed", ORDER | {"type": "stop_limit"}),
              ("unknown_symbol", ORDER | {"symbol": "Z"}),
              ("unknown_account", ORDER | {"account": 8}),
              ("duplicate_order_id", ORDER | {"order_id": 5}),
              ("duplicate_order_id", ORDER | {"take_profit": {"order_id": 5,
                                                              "trigger_price": "120"}}),
              ("oco_group", ORDER | {"symbol": "OPEN", "side": "sell", "oco": 1}),
              ("oco_group", ORDER | {"symbol": "OPEN", "oco": 1, "reduce_only": True}),
              ("no_mark_price", ORDER | {"symbol": "NEW"}),
              ("halted", ORDER | {"symbol": "OFF"}),
              ("auction", ORDER | {"symbol": "CALL", "time_in_force": "ioc"}),
              ("auction", ORDER | {"symbol": "CALL", "post_only": True}),
              ("protection", ORDER | {"account": 2, "symbol": "OPEN"}),
              ("account_liquidating", ORDER | {"account": 3}),
              ("off_tick", ORDER | {"price": "90.5"}), ("off_lot", ORDER | {"quantity": "1.5"}),
              ("quantity_limit", ORDER | {"quantity": "100001"}),
              ("quantity_limit", ORDER | {"symbol": "CALL", "quantity": "1"}),
              ("quantity_limit", ORDER | {"symbol": "OPEN", "quantity": "101",
                                          "display_quantity": "1"}),
              ("notional_limit", ORDER | {"symbol": "CALL", "quantity": "5"}),
              ("notional_limit", ORDER | {"symbol": "CALL", "quantity": "1000"}),
              ("price_band", ORDER | {"price": "151"}),
              ("order_limit", ORDER | {"account": 2}),
              ("leverage", ORDER | {"quantity": "3000"}),
              ("tier_limit", ORDER | {"quantity": "100000", "account": 9, "side": "sell",
                                      "price": "100"}),
              ("reduce_only", ORDER | {"reduce_only": True}),
              ("post_only_would_cross", ORDER | {"price": "120", "post_only": True}),
              ("fok_unfillable", ORDER | {"quantity": "9", "time_in_force": "fok"}),
              ("insufficient_margin", ORDER | {"account": 4}),
              ("overflow", ORDER | {"symbol": "OPEN", "quantity": "4000000000000000000"}),
              ("malformed", ORDER | BACK)],
    "amend": [("malformed", BTC | {"order_id": 5}),
              ("malformed", BTC | {"order_id": 5, "trigger_price": "1"}),
              ("unknown_symbol", BTC | {"order_id": 5, "symbol": "Z", "price": "1"}),
              ("unknown_account", BTC | {"order_id": 5, "account": 8, "price": "1"}),
              ("unknown_order", BTC | {"order_id": 6, "price": "1"}),
              ("off_tick", BTC | {"order_id": 5, "price": "1.5"}),
              ("off_lot", BTC | {"order_id": 5, "quantity": "1.5"}),
              ("quantity_limit", BTC | {"order_id": 5, "quantity": "100001"}),
              ("malformed", CALL | {"trigger_price": "1"}),
              ("auction", CALL | {"order_id": 7, "price": "91"}),
              ("notional_limit", CALL | {"quantity": "1000"}),
              ("price_band", BTC | {"order_id": 5, "price": "151"}),
              ("leverage", BTC | {"order_id": 5, "quantity": "3000"})],
    "cancel": [("unknown_symbol", BTC | {"order_id": 5, "symbol": "Z"}),
               ("unknown_account", BTC | {"order_id": 5, "account": 8}),
               ("unknown_order", BTC | {"order_id": 6}),
               ("malformed", BTC | {"order_id": 5} | BACK)],
    "cancel_all": [("unknown_symbol", {"symbol": "Z"}), ("unknown_account", {"account": 8}),
                   ("malformed", BACK)],
    "fill": [("malformed", BTC | {"side": "buy", "quantity": "1", "price": "0"}),
             ("unknown_symbol", BTC | {"symbol": "Z", "side": "buy", "quantity": "1",
                                       "price": "1"}),
             ("unknown_account", BTC | {"account": 8, "side": "buy", "quantity": "1",
                                        "price": "1"}),
             ("no_mark_price", BTC | {"symbol": "NEW", "side": "buy", "quantity": "1",
                                      "price": "1"}),
             ("off_lot", BTC | {"side": "buy", "quantity": "0.5", "price": "1"}),
             ("overflow", BTC | {"side": "buy", "quantity": "9" * 18, "price": "1"})],
    "mark": [("malformed", {"symbol": "BTC", "mark_price": "0"}),
             ("unknown_symbol", {"symbol": "Z", "mark_price": "1"}),
             ("off_tick", {"symbol": "BTC", "mark_price": "1.5"}),
             ("overflow", {"symbol": "BTC", "mark_price": "9" * 30}),
             ("malformed", {"symbol": "BTC", "mark_price": "90"} | BACK)],
    "marks": [("malformed", {"marks": []}),
              ("unknown_symbol", {"marks": [{"symbol": "BTC", "mark_price": "90"},
                                            {"symbol": "Z", "mark_price": "90"}]}),
              ("off_tick", {"marks": [{"symbol": "BTC", "mark_price": "90"},
                                      {"symbol": "OPEN", "mark_price": "0.5"}]}),
              ("overflow", {"marks": [{"symbol": "BTC", "mark_price": "90"},
                                      {"symbol": "OPEN", "mark_price": "9" * 30}]})],
    "funding": [("malformed", {"symbol": "BTC", "rate": "1.1"}),
                ("unknown_symbol", {"symbol": "Z", "rate": "0"}),
                ("no_mark_price", {"symbol": "NEW", "rate": "0"}),
                ("malformed", {"symbol": "BTC", "rate": "0.01"} | BACK)],
    "insurance": [("malformed", {"asset": "USDT", "amount": "0"}),
                  ("unknown_fund", {"asset": "USDT", "amount": "1", "fund": "xyz"}),
                  ("unknown_asset", {"asset": "E", "amount": "1"}),
                  ("insufficient_balance", {"asset": "USDT", "amount": "-1"}),
                  ("overflow", {"asset": "USDT", "amount": "9" * 30})],
    "halt": [("unknown_symbol", {"symbol": "Z", "mode": "all"}),
             ("malformed", {"symbol": "BTC", "mode": "all"} | BACK)],
    "resume": [("unknown_symbol", {"symbol": "Z"}), ("malformed", {"symbol": "OFF"} | BACK)],
    "time": [("malformed", BACK)],
    "cancel_all_after": [("malformed", {"account": 1, "timeout": -1}),
                         ("unknown_account", {"account": 8, "timeout": 1})],
    "protection": [("malformed", BTC | {"window": 0, "count": 1}),
                   ("malformed", BTC | {"count": 1}),
                   ("malformed", BTC | {"window": 1, "count": 0}),
                   ("malformed", BTC | {"window": 1, "quantity": "0"}),
                   ("malformed", BTC | {"window": 1, "count": 1, "freeze": -1}),
                   ("unknown_symbol", BTC | {"symbol": "Z", "window": 1, "count": 1}),
                   ("unknown_account", BTC | {"account": 8, "window": 1, "count": 1}),
                   ("off_lot", BTC | {"window": 1, "quantity": "0.5"}),
                   ("overflow", BTC | {"window": 1, "quantity": "9" * 30})],
    "margin_call_levels": [("malformed", {"account": 1, "levels": ["0.5", "0.5"]}),
                           ("malformed", {"account": 1, "levels": ["0.5", "1"]}),
                           ("malformed", {"account": 1, "levels": ["0.5"], "hysteresis": "0.5"}),
                           ("unknown_account", {"account": 8, "levels": []})],
    "margin_multiplier": [("malformed", SCALED | {"maintenance": "0"}),
                          ("malformed", SCALED | {"initial": "0.5"}),
                          ("malformed", SCALED | {"effective_ts": -1}),
                          ("unknown_symbol", SCALED | {"symbol": "Z"}),
                          ("bad_tiers", SCALED | {"maintenance": "51"})],
    "transfer": [("malformed", MOVE | {"to": 1}), ("malformed", MOVE | {"amount": "0"}),
                 ("unknown_asset", MOVE | {"asset": "XAU"}),
                 ("unknown_account", MOVE | {"account": 8}), ("unknown_account", MOVE | {"to": 8}),
                 ("not_related", MOVE | {"to": 9}),
                 ("account_liquidating", MOVE | {"account": 3, "to": 31}),
                 ("insufficient_balance", MOVE | {"amount": "1" + "0" * 12})],
    "auto_top_up": [("unknown_symbol", BTC | {"symbol": "Z", "enabled": True}),
                    ("unknown_account", BTC | {"account": 8, "enabled": True})],
    "settle": [("malformed", {"symbol": "BTC", "price": "0"}),
               ("unknown_symbol", {"symbol": "Z"}), ("expired", {"symbol": "OVER"}),
               ("off_tick", {"symbol": "BTC", "price": "1.5"}),
               ("overflow", {"symbol": "BTC", "price": "9" * 30})],
    "position_mode": [("unknown_account", {"account": 8, "mode": "hedge"}),
                      ("position_open", {"account": 4, "mode": "hedge"}),
                      ("malformed", {"account": 9, "mode": "hedge"} | BACK)],
    "profile": [("unknown_symbol", {"symbol": "Z", "profile": "okx_swap"}),
                ("bad_profile", {"symbol": "BTC", "profile": "nobody"}),
                ("malformed", {"symbol": "BTC", "profile": "okx_swap"} | BACK)],
    "backstop": [("malformed", {"account": 1, "commitment": "1"}),
                 ("unknown_asset", {"account": 1, "asset": "E", "commitment": "1"}),
                 ("unknown_symbol", {"account": 1, "symbol": "Z", "commitment": "1"}),
                 ("unknown_account", {"account": 77, "symbol": "BTC", "commitment": "1"}),
                 ("overflow", {"account": 1, "symbol": "BTC", "commitment": "9" * 30}),
                 ("malformed", {"account": 1, "symbol": "BTC", "commitment": "1"} | BACK)],
    "account_multiplier": [("malformed", {"account": 1, "multiplier": "0.5"}),
                           ("malformed", {"account": 1, "multiplier": "1.000000001"}),
                           ("unknown_account", {"account": 8, "multiplier": "2"})],
}


@pytest.fixture
def busy(desk: Desk) -> Desk:
    """A market in which every refusal can happen.

    3 is in liquidation, 4 has nothing free; CALL is in an auction, OVER has been settled, and 2
    is frozen on OPEN.
    """
    tiers = [
        {"min_notional": "0", "max_notional": "200000", "maintenance_margin_rate": "0.005",
         "max_leverage": "20"},
        {"min_notional": "200000", "max_notional": "9000000", "maintenance_margin_rate": "0.02",
         "max_leverage": "10"}]
    desk.symbol("BTC", tiers=tiers, price_band="0.5", max_order_quantity="100000",
                max_open_orders=2)
    desk.symbol("NEW", mark=None)
    desk.symbol("OFF")
    desk.symbol("OPEN")
    desk.account(1, 2, 9)
    desk.account(3, deposit="500")
    desk.account(4, deposit="500", margin_mode="isolated")
    desk.account(11, deposit="1", parent=1)
    desk.account(31, deposit="1", parent=3)
    desk.must("leverage", account=9, symbol="BTC", leverage="10")
    desk.trade(3, 9, 100, 100)
    desk.must("asset", asset="GBP", decimals=2)
    desk.must("asset", asset="COIN", decimals=3)
    desk.must("collateral", **PLEDGED)
    desk.must("deposit", account=3, asset="COIN", amount="1000000")
    desk.must("halt", symbol="BTC", mode="no_liquidation")
    desk.mark("95")
    desk.mark("100")
    desk.must("fill", account=3, symbol="BTC", side="buy", quantity="1", price="700")
    desk.trade(4, 9, 100, 100)
    desk.sell(9, 3, 110)
    desk.buy(2, 1, 60)
    desk.buy(2, 1, 61)
    desk.buy(1, 1, 80, order_id=5)
    desk.buy(1, 1, 80, "OPEN", oco=1)
    desk.must("protection", account=2, symbol="OPEN", window=1, count=1)
    desk.trade(9, 2, 1, 100, "OPEN")
    desk.symbol("CALL", min_order_quantity="2", min_order_notional="1000",
                max_order_notional="50000")
    desk.buy(1, 20, 90, "CALL", order_id=6)
    desk.buy(1, 20, 89, "CALL", order_id=7, post_only=True)
    desk.must("halt", symbol="CALL", mode="auction")
    desk.must("halt", symbol="OFF", mode="cancel_only")
    desk.symbol("OVER")
    desk.must("settle", symbol="OVER")
    desk.must("time", ts=5)
    return desk


def test_every_command_is_here() -> None:
    assert list(REFUSALS) == [member.name.lower() for member in Command]


def test_every_reason_is_here() -> None:
    shown = {reason for refusals in REFUSALS.values() for reason, _ in refusals}
    # Only of commands that do not come packed, or of codes of none, which no line can name.
    shown.add("unsupported")
    assert shown == {reason.name.lower() for reason in RejectReason}


@pytest.mark.parametrize("cmd", REFUSALS)
def test_a_refused_command_leaves_no_trace(busy: Desk, cmd: str) -> None:
    books = [busy.book(symbol, l3=True) for symbol in ("BTC", "OFF", "OPEN", "CALL")]
    for reason, fields in REFUSALS[cmd]:
        seq = busy.exchange.seq
        event = busy.refused(cmd, **fields)
        assert event["reason"] == reason, fields
        assert event["detail"] not in UNEXPLAINED, fields
        assert busy.exchange.seq == seq + 1
        assert busy.exchange.ts == 5
    assert [busy.book(symbol, l3=True) for symbol in ("BTC", "OFF", "OPEN", "CALL")] == books
