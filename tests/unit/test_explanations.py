"""A refusal says which field was wrong, in which way, and never what is not so."""

from __future__ import annotations

import random
from typing import Any

import pytest
from support.market import Desk

from engine import Exchange, Mark, Rejected, Tier
from engine.explanations import Names, explain
from engine.messages import RejectReason

Line = dict[str, Any]
ORDER = {"account": 1, "symbol": "BTC", "order_id": 7, "side": "buy", "type": "limit",
         "quantity": "1", "price": "100"}
STOP = ORDER | {"type": "stop_market", "price": None, "trigger_price": "120"}
TIERS = [Tier("0", None, "0.05", "10")]
GENERAL = "the fields make no sense together"

#: command -> fields and what is said of them.
SAID: list[tuple[str, Line, str]] = [
    ("deposit", {"account": 1, "asset": "USDT", "amount": "-5"},
     "amount must be positive, not -5"),
    ("deposit", {"account": 1, "asset": "USDT", "amount": "0.001"},
     "amount 0.001 is not a multiple of 0.01, the smallest unit of USDT"),
    ("deposit", {"account": 1, "asset": "USDT", "amount": "-" + "9" * 41},
     "amount must be positive, not of more than forty digits"),
    ("insurance", {"asset": "USDT", "amount": 0}, "amount must not be 0"),
    ("transfer", {"account": 1, "to": 1, "asset": "USDT", "amount": 1},
     "an account cannot transfer to itself"),
    ("time", {"ts": 4}, "ts 4 lies before the engine's time, 5"),
    ("mark", {"symbol": "BTC", "mark_price": "99.5"},
     "mark_price 99.5 is not a multiple of the mark tick, 1"),
    ("mark", {"symbol": "BTC", "mark_price": "99", "cause": 10**6},
     "cause 1000000 is no earlier command"),
    ("marks", {"marks": [{"symbol": "BTC", "mark_price": 1}] * 2}, "row 2: BTC comes twice"),
    ("marks", {"marks": [{"symbol": "BTC", "mark_price": 0}]},
     "row 1: mark_price must be positive, not 0"),
    ("order", ORDER | {"price": "100.5"}, "price 100.5 is not a multiple of the tick, 1"),
    ("order", ORDER | {"quantity": "1.5"}, "quantity 1.5 is not a multiple of the lot, 1"),
    ("order", ORDER | {"price": None}, "an order of type limit needs a price"),
    ("order", ORDER | {"type": "market"}, "an order of type market has no price"),
    ("order", ORDER | {"type": "market", "price": None, "time_in_force": "gtc"},
     "a market order is ioc or fok, not gtc"),
    ("order", ORDER | {"post_only": True, "time_in_force": "ioc"},
     "post_only does not go with time_in_force ioc"),
    ("order", ORDER | {"time_in_force": "gtd"}, "time_in_force gtd needs expire_ts"),
    ("order", ORDER | {"time_in_force": "gtd", "expire_ts": 5},
     "expire_ts 5 does not lie after the engine's time, 5"),
    ("order", ORDER | {"time_in_force": "gtd", "expire_ts": 8, "ts": 9},
     "expire_ts 8 does not lie after the engine's time, 9"),
    ("order", ORDER | {"expire_ts": 9}, "expire_ts needs time_in_force gtd"),
    ("order", ORDER | {"trigger_price": "90"}, "an order of type limit has no trigger_price"),
    ("order", STOP | {"trigger_price": None}, "an order of type stop_market needs a trigger_price"),
    ("order", STOP | {"callback_rate": "0.1"}, "an order of type stop_market has no callback_rate"),
    ("order", STOP | {"type": "trailing_stop_market"},
     "an order of type trailing_stop_market needs a callback_rate"),
    ("order", STOP | {"type": "trailing_stop_market", "callback_rate": "1"},
     "callback_rate must lie between 0 and 1, not 1"),
    ("order", ORDER | {"display_quantity": "2"}, "display_quantity 2 is more than the quantity"),
    ("order", STOP | {"display_quantity": "1"}, "display_quantity is of orders that may rest"),
    ("order", ORDER | {"close_position": True}, "close_position needs a market type, not limit"),
    ("order", ORDER | {"oco": 1, "time_in_force": "ioc"}, "oco is of orders that may rest or wait"),
    ("order", ORDER | {"take_profit": {"order_id": 7, "trigger_price": "120"}},
     "take_profit: order_id 7 is taken by this order"),
    ("order", ORDER | {"stop_loss": {"order_id": 8, "trigger_price": "0"}},
     "stop_loss: trigger_price must be positive, not 0"),
    ("order", ORDER | {"stop_loss": {"order_id": 8, "trigger_price": "80.5"}},
     "stop_loss: trigger_price 80.5 is not a multiple of the mark tick, 1"),
    ("order", ORDER | {"position_side": "long"}, "position_side is for accounts in hedge mode"),
    ("order", ORDER | {"account": 3}, "an account in hedge mode has to name a position_side"),
    ("order", ORDER | {"account": 3, "position_side": "long", "reduce_only": True},
     "an order that opens a leg cannot be reduce_only or close_position"),
    ("amend", {"account": 1, "symbol": "BTC", "order_id": 1},
     "an amend gives a price, trigger_price, quantity or leaves"),
    ("amend", {"account": 1, "symbol": "BTC", "order_id": 1, "quantity": 1, "leaves": 1},
     "quantity and leaves exclude each other"),
    ("amend", {"account": 1, "symbol": "BTC", "order_id": 1, "trigger_price": 1},
     "the order has no trigger_price that can be changed"),
    ("funding", {"symbol": "BTC", "rate": "1.5"},
     "rate must be a multiple of 0.00000001 from -1 to 1, not 1.5"),
    ("leverage", {"account": 1, "symbol": "BTC", "leverage": "1.000000001"},
     "leverage 1.000000001 is not a multiple of 0.00000001"),
    ("account", {"account": 9, "parent": 9}, "an account cannot be its own parent"),
    ("account", {"account": 9, "parent": 11}, "parent 11 is a sub-account itself"),
    ("account", {"account": 9, "margin_call_levels": ["0.5", "0.4"]},
     "margin-call levels must ascend between 0 and 1, at most four, each above the hysteresis, 0.05"
     ),
    ("fill", {"account": 1, "symbol": "BTC", "side": "buy", "quantity": 1,
              "price": "0." + "1" * 50}, "price has more than forty decimals"),
    ("protection", {"account": 1, "symbol": "BTC", "count": 1},
     "quantity and count need a window"),
    ("backstop", {"account": 1, "commitment": 1},
     "a backstop is of an asset or of a symbol, one of the two"),
    ("backstop", {"account": 1, "symbol": "BTC", "commitment": 1, "discount": 1},
     "discount must be a multiple of 0.00000001 from 0 under 1, not 1"),
]


@pytest.fixture
def open_market(market: Desk) -> Desk:
    market.must("account", account=11, parent=1)
    market.must("account", account=33, position_mode="hedge")
    market.must("position_mode", account=3, mode="hedge")
    market.buy(1, 5, 90, order_id=1)
    market.must("time", ts=5)
    return market


@pytest.mark.parametrize(("cmd", "fields", "said"), SAID, ids=[text for *_, text in SAID])
def test_a_refusal_names_the_field(open_market: Desk, cmd: str, fields: Line, said: str) -> None:
    assert open_market.refused(cmd, **fields)["detail"] == said


def test_a_typed_call_says_the_same_everywhere(exchange: Exchange) -> None:
    exchange.add_asset("USDT", 2)
    heard: list[Line] = []
    exchange.subscribe(heard.append, kinds="rejected")
    with pytest.raises(Rejected) as refused:
        exchange.deposit(1, "USDT", "0.001")
    said = "amount 0.001 is not a multiple of 0.01, the smallest unit of USDT"
    assert refused.value.detail == said
    assert [event["detail"] for event in heard] == [said]
    assert exchange.drain()[-1]["detail"] == said
    exchange.submit({"cmd": "deposit", "account": 1, "asset": "USDT", "amount": 0})
    assert exchange.drain()[0]["detail"] == "amount must be positive, not 0"


def test_what_was_refused_is_forgotten_with_its_event(exchange: Exchange) -> None:
    line = {"cmd": "deposit", "account": 1, "asset": "USDT", "amount": 0}
    for forget in (exchange.drain, exchange.drain_records, exchange.drain_array,
                   exchange.discard_events):
        exchange.submit(line)
        forget()
        assert not exchange._details


def test_a_late_command_is_told_its_time_before_all_else(exchange: Exchange) -> None:
    exchange.add_asset("USDT", 2, ts=9)
    with pytest.raises(Rejected, match="malformed: ts 8 lies before the engine's time, 9"):
        exchange.add_asset("USDT", 2, ts=8)


def random_order(chance: random.Random, order_id: int) -> Line:
    """An order of which some fields make no sense."""
    types = ("limit", "market", "stop_market", "stop_limit", "trailing_stop_market")
    fields: Line = {"cmd": "order", "account": chance.choice((1, 3)), "symbol": "BTC",
                    "order_id": order_id, "side": chance.choice(("buy", "sell")),
                    "type": chance.choice(types), "quantity": "1"}
    odd: dict[str, tuple[Any, ...]] = {
        "quantity": ("2", "0"), "price": ("100", "99", "0"), "post_only": (True,),
        "time_in_force": ("gtc", "ioc", "fok", "gtd"), "expire_ts": (2, 9), "reduce_only": (True,),
        "close_position": (True,), "trigger_price": ("120", "80", "0"), "trigger_by": ("last",),
        "callback_rate": ("0.1", "0", "2"), "display_quantity": ("1", "2", "0"), "oco": (1, 0),
        "take_profit": ({"order_id": order_id + 1, "trigger_price": "150"},
                        {"order_id": order_id, "trigger_price": "150"}),
        "position_side": ("long", "short")}
    is_likely = {"price": "limit" in fields["type"], "trigger_price": "stop" in fields["type"],
                 "callback_rate": "trailing" in fields["type"],
                 "position_side": fields["account"] == 3}
    for name, values in odd.items():
        if chance.random() < (0.8 if is_likely.get(name) else 0.08):
            fields[name] = chance.choice(values)
    return fields


def test_orders_are_explained_where_they_are_malformed_and_only_there(open_market: Desk) -> None:
    exchange, chance, malformed = open_market.exchange, random.Random(3), 0
    for number in range(1500):
        line = random_order(chance, 100 + 2 * number)
        names = Names(exchange._assets, exchange._instruments, exchange.ts)
        found = explain(line, names).get(RejectReason.MALFORMED)
        event = exchange.apply(line)[-1]
        if event.get("reason") == "malformed" and event["event"] == "rejected":
            malformed += 1
            assert event["detail"] == found != GENERAL, line
        else:
            # The leg is told where nothing else was found; only the core knows an account's mode.
            assert found is None or "hedge mode" in found, (line, found)
        exchange.apply({"cmd": "cancel_all"})
    assert 300 < malformed < 1400


@pytest.mark.parametrize(("call", "error", "said"), [
    (lambda market: market.instrument("ETH"), KeyError, "no such symbol: 'ETH'"),
    (lambda market: market.positions_array("ETH"), KeyError, "no such symbol: 'ETH'"),
    (lambda market: market.liquidation_map("ETH"), KeyError, "no such symbol: 'ETH'"),
    (lambda market: market.subscribe(print, symbol="ETH"), KeyError, "no such symbol: 'ETH'"),
    (lambda market: market.subscribe(print, kinds=[5]), ValueError, "no such kind of event: 5"),
    (lambda market: market.subscribe(print, account="1"), TypeError, "account must be an int"),
    (lambda market: market.subscribe("print"), TypeError, "the callback must be callable"),
    (lambda market: market.apply("mark"), Exception, "a command or query is an object, not 'mark'"),
    (lambda market: market.query(None), Exception, "a command or query is an object, not None"),
    (lambda market: market.set_tiers("BTC", TIERS[0]), Exception, "a list of Tier, or of mappings"),
    (lambda market: market.set_tiers("BTC", [tuple(TIERS[0])]), Exception, "; row 1 is ('0', None"),
    (lambda market: market.marks([("BTC", 1)]), Exception, "'marks' must be a list of Mark, or"),
    (lambda market: market.marks([Mark("BTC", 1.5)]), Exception, "or an integer (never a float)"),
    (lambda market: market.book("BTC", -1), Exception,
     "'depth' must be an integer from 0 or null, not -1"),
    (lambda market: market.open_account(2**70), Exception, "which is beyond 64 bits"),
    (lambda market: Exchange("fast"), ValueError, "core must be 'compiled' or 'reference', not"),
])
def test_mistakes_of_a_program_are_told_in_one_line(
    open_market: Desk, call: Any, error: type[Exception], said: str
) -> None:
    with pytest.raises(error) as raised:
        call(open_market.exchange)
    assert said in str(raised.value) and "\n" not in str(raised.value)


def test_integers_of_numpy_are_integers(open_market: Desk) -> None:
    exchange = open_market.exchange
    row = exchange.accounts_array()[0]
    ack = exchange.deposit(row["account"], "USDT", row["account"])
    assert type(ack.account) is int
    assert exchange.account(row["account"])["wallet"] == "1000001"
