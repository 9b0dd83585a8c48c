"""Which command traded last: the cause of a mark that follows the last price."""

from __future__ import annotations

import pytest
from support.market import Desk, only

from engine import Exchange
from engine.messages import NONE


def seq_of(market: Desk | Exchange, symbol: str = "BTC") -> int:
    exchange = market if isinstance(market, Exchange) else market.exchange
    return int(exchange.core.last_trade_seq(exchange.instrument(symbol).index))


def test_it_is_that_of_the_trades_event(market: Desk) -> None:
    market.symbol("ETH")
    assert seq_of(market) == seq_of(market, "ETH") == NONE
    market.sell(1, 2, 100)
    assert seq_of(market) == NONE
    for _ in range(2):  # the second one moves no price
        [trade] = only(market.buy(2, 1, 100), "trade")
        assert seq_of(market) == trade["seq"] == market.exchange.seq
    assert seq_of(market, "ETH") == NONE


def test_what_is_no_trade_of_the_book_leaves_it(market: Desk) -> None:
    market.sell(1, 1, 100)
    market.buy(2, 1, 100)
    before = seq_of(market)
    market.must("fill", account=3, symbol="BTC", side="buy", quantity="1", price="107")
    market.mark(101)
    market.sell(1, 1, 105)
    assert market.refusal("order", account=2, symbol="BTC", order_id=99, side="buy", type="limit",
                          quantity="3", price="110", time_in_force="fok") == "fok_unfillable"
    assert seq_of(market) == before != market.exchange.seq


def test_an_auction_and_what_a_mark_sets_off_count(market: Desk) -> None:
    market.do("halt", symbol="BTC", mode="auction")
    market.sell(1, 5, 99)
    market.buy(2, 3, 102)
    assert seq_of(market) == NONE
    [trade] = only(market.do("resume", symbol="BTC"), "trade")
    assert seq_of(market) == trade["seq"]
    market.account(9, deposit="6")
    market.trade(9, 1, 1, 99)
    market.buy(3, 1, 95)
    events = market.mark(93)
    assert {"liquidation_started", "trade"} <= {event["event"] for event in events}
    assert seq_of(market) == market.exchange.seq == only(events, "trade")[0]["seq"]


def test_equal_states_need_not_have_traded_in_the_same_command(market: Desk) -> None:
    market.sell(1, 1, 100)
    market.buy(2, 1, 100)
    other = Desk(Exchange(core=market.exchange.core_name))
    for number, command in enumerate(market.log[1:]):
        if number == 5:
            other.refusal("cancel", account=1, symbol="BTC", order_id=77)
        other.must(**command)
    assert market.exchange.state_hash() == other.exchange.state_hash()
    assert seq_of(other) == seq_of(market) + 1


@pytest.mark.parametrize("copied", [
    Exchange.fork, lambda exchange: Exchange.restore(exchange.snapshot())])
def test_copies_know_it(copied) -> None:
    desk = Desk(Exchange())
    desk.symbol()
    desk.symbol("ETH")
    desk.account(1, 2)
    desk.trade(1, 2, 1, 100)
    desk.mark(101)
    copy = copied(desk.exchange)
    assert seq_of(copy) == seq_of(desk) == desk.exchange.seq - 1
    assert seq_of(copy, "ETH") == NONE
