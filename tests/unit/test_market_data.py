"""Market data in single situations: what is said, in which words, and what is not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.market import Desk

from engine.marketdata import L2Book, L3Book, MarketData, NotSynced
from engine.marketdata.statistics import MINUTE_NS, TradingDay

Message = dict[str, Any]


@pytest.fixture
def data(market: Desk) -> MarketData:
    """The market data of BTC, its first messages drained."""
    data = MarketData(market.exchange)
    data.drain()
    return data


def said(messages: list[Message], channel: str, *names: str) -> list[tuple[Any, ...]]:
    """Some fields of the messages of one channel."""
    return [tuple(message.get(name) for name in names) for message in messages
            if message["channel"] == channel]


def l3(data: MarketData) -> list[tuple[Any, ...]]:
    return said(data.drain(), "l3", "type", "ref", "price", "quantity")


# --- L3 -------------------------------------------------------------------------------


def test_an_order_rests_shrinks_and_goes(market: Desk, data: MarketData) -> None:
    market.buy(1, 5, 99, order_id=7)
    market.do("amend", account=1, symbol="BTC", order_id=7, quantity="3")
    market.do("cancel", account=1, symbol="BTC", order_id=7)
    assert l3(data) == [
        ("add", 1, "99", "5"), ("change", 1, "99", "3"), ("delete", 1, "99", "0")]


def test_an_amend_that_loses_its_turn_is_a_delete_and_an_add(
    market: Desk, data: MarketData
) -> None:
    market.buy(1, 5, 99, order_id=7)
    market.do("amend", account=1, symbol="BTC", order_id=7, price="98")
    assert l3(data)[1:] == [("delete", 1, "99", "0"), ("add", 1, "98", "5")]


def test_an_execution_tells_what_is_left_and_the_trade(market: Desk, data: MarketData) -> None:
    market.sell(1, 5, 101)
    market.sell(2, 5, 101)
    market.buy(3, 7, 102)
    messages = data.drain()
    names = ("type", "ref", "quantity", "trade_id", "traded", "trade_price")
    assert said(messages, "l3", *names)[2:] == [
        ("execute", 1, "0", 1, "5", "101"), ("execute", 2, "3", 2, "2", "101")]
    names = ("trade_id", "price", "quantity", "aggressor_side", "liquidation", "auction")
    assert said(messages, "trades", *names) == [
        (1, "101", "5", "buy", False, False), (2, "101", "2", "buy", False, False)]


def test_an_iceberg_shows_its_next_part_at_the_back_and_no_more(
    market: Desk, data: MarketData
) -> None:
    market.sell(1, 9, 101, display_quantity="4")
    market.sell(2, 1, 101)
    market.buy(3, 4, 101)
    assert l3(data) == [
        ("add", 1, "101", "4"), ("add", 2, "101", "1"), ("execute", 1, "101", "0"),
        ("add", 1, "101", "4")]
    assert data.l3_snapshot("BTC")["asks"] == [["101", [[2, "1"], [1, "4"]]]]


def test_what_only_the_hidden_part_loses_is_not_told(market: Desk, data: MarketData) -> None:
    market.sell(1, 9, 101, display_quantity="4", order_id=7)
    data.drain()
    market.do("amend", account=1, symbol="BTC", order_id=7, quantity="6")
    assert data.drain() == []
    market.do("amend", account=1, symbol="BTC", order_id=7, quantity="3")
    assert l3(data) == [("change", 1, "101", "3")]


@pytest.mark.parametrize(("quantity", "expected"), [
    (2, [("change", 1, "101", "3")]), (5, [("delete", 1, "101", "0")]),
])
def test_self_trade_prevention_is_no_execution(
    market: Desk, data: MarketData, quantity: int, expected: list[tuple[Any, ...]]
) -> None:
    market.sell(1, 5, 101)
    data.drain()
    market.buy(1, quantity, 101, stp="decrement")
    assert l3(data) == expected


def test_a_waiting_stop_is_nobodys_business(market: Desk, data: MarketData) -> None:
    market.order("buy", 1, 1, type="stop_market", trigger_price="120")
    market.mark(101)
    assert data.drain() == []


def test_an_auction_trades_both_sides_and_counts_once(market: Desk, data: MarketData) -> None:
    market.do("halt", symbol="BTC", mode="auction")
    market.sell(1, 5, 99)
    market.buy(2, 3, 102)
    before = data.drain()
    assert said(before, "status", "mode") == [("auction",)]
    names = ("type", "indicative_price", "indicative_quantity", "imbalance")
    assert said(before, "auction", *names) == [("indicative", "100", "3", "-2")]
    assert said(before, "l1", "bid", "ask") == [(["102", "3", 1], ["99", "5", 1])]
    assert data.drain() == []  # nothing new, nothing said
    market.do("resume", symbol="BTC")
    after = data.drain()
    names = ("type", "ref", "quantity", "traded", "trade_price", "trade_id")
    assert said(after, "l3", *names) == [
        ("status", None, None, None, None, None),
        ("execute", 1, "2", "3", "100", 1), ("execute", 2, "0", "3", "100", 1),
        ("uncrossed", None, "3", None, None, None)]
    assert said(after, "trades", "quantity", "aggressor_side", "auction") == [
        ("3", "buy", True)]
    assert said(after, "auction", "type", "price", "quantity", "imbalance") == [
        ("uncrossed", "100", "3", "-2")]
    assert data.statistics("BTC")["volume"] == "3"


def test_a_liquidation_shows_on_the_tape(market: Desk, data: MarketData) -> None:
    market.account(5, deposit="10")
    market.trade(5, 1, 1, 100)
    market.buy(2, 5, 93)
    data.drain()
    market.mark(90)
    assert said(data.drain(), "trades", "aggressor_side", "liquidation") == [("sell", True)]


def test_no_message_names_anybody(market: Desk, data: MarketData) -> None:
    market.sell(1, 9, 101, display_quantity="4", order_id=77777, client_order_id="secret")
    market.buy(2, 2, 101, order_id=88888)
    text = json.dumps(data.drain() + [data.l3_snapshot("BTC"), data.statistics("BTC")])
    for word in ("account", "order_id", "secret", "77777", "88888", '"9"', '"7"'):
        assert word not in text


# --- L2 and L1 ------------------------------------------------------------------------


def test_a_delta_tells_touched_levels_once_a_drain(market: Desk, data: MarketData) -> None:
    market.buy(1, 5, 98)
    market.buy(2, 5, 99)
    market.buy(3, 2, 99)
    market.sell(1, 1, 103)
    market.sell(2, 5, 98)  # takes 5 at 99
    names = ("first_seq", "last_seq", "bids", "asks")
    assert said(data.drain(), "l2", *names) == [
        (2, 6, [["99", "2", 1], ["98", "5", 1]], [["103", "1", 1]])]
    market.do("cancel_all", account=3)
    assert said(data.drain(), "l2", *names) == [(7, 7, [["99", "0", 0]], [])]


def test_a_delta_follows_on_the_one_before_it(market: Desk, data: MarketData) -> None:
    market.buy(1, 5, 98)
    market.do("halt", symbol="BTC", mode="all")  # a message of the symbol, but no level
    first = said(data.drain(), "l2", "first_seq", "last_seq")
    market.do("resume", symbol="BTC")
    assert said(data.drain(), "l2", "first_seq", "last_seq") == []
    market.buy(1, 5, 97)
    assert first + said(data.drain(), "l2", "first_seq", "last_seq") == [(2, 3), (4, 5)]


def test_l1_speaks_when_the_best_changes(market: Desk, data: MarketData) -> None:
    names = ("bid", "ask")
    market.buy(1, 5, 98)
    assert said(data.drain(), "l1", *names) == [(["98", "5", 1], None)]
    market.buy(1, 5, 97)
    assert said(data.drain(), "l1", *names) == []
    market.buy(1, 1, 98)
    assert said(data.drain(), "l1", *names) == [(["98", "6", 2], None)]
    market.do("cancel_all")
    assert said(data.drain(), "l1", *names) == [(None, None)]


# --- snapshots and sequences ----------------------------------------------------------


def test_sequences_of_symbols_are_their_own(market: Desk) -> None:
    market.symbol("ETH")
    market.buy(1, 1, 90, "ETH")  # before it is published
    data = MarketData(market.exchange)
    for symbol in ("BTC", "ETH", "BTC", "ETH"):
        market.buy(1, 1, 95, symbol)
    assert said(data.drain(), "l3", "symbol", "market_seq", "type") == [
        ("BTC", 1, "reset"), ("BTC", 2, "add"), ("BTC", 3, "add"),
        ("ETH", 1, "reset"), ("ETH", 2, "add"), ("ETH", 3, "add")]
    assert data.l2_snapshot("ETH")["bids"] == [["95", "2", 2], ["90", "1", 1]]


def test_a_snapshot_cut_at_a_depth_is_for_looking_only(market: Desk, data: MarketData) -> None:
    for price in (97, 98, 99):
        market.buy(1, 1, price)
    snapshot = data.l2_snapshot("BTC", depth=2)
    assert [row[0] for row in snapshot["bids"]] == ["99", "98"]
    with pytest.raises(ValueError, match="depth"):
        L2Book(snapshot)
    with pytest.raises(ValueError, match="not an l3 snapshot"):
        L3Book(data.l2_snapshot("BTC"))
    with pytest.raises(ValueError, match="version 2"):
        L2Book(data.l2_snapshot("BTC") | {"version": 2})


def test_switched_off_and_on_again_clients_need_a_snapshot(
    market: Desk, data: MarketData
) -> None:
    market.buy(1, 1, 99)
    l2, l3 = L2Book(data.l2_snapshot("BTC")), L3Book(data.l3_snapshot("BTC"))
    market.buy(1, 1, 98)
    data.stop("BTC")
    market.buy(1, 1, 97)
    data.start("BTC")
    market.buy(1, 1, 96)
    for message in data.drain():
        for book in (l2, l3):
            if message["channel"] == book.channel and (
                    book.is_synced or message["type"] in ("reset", "snapshot")):
                book.apply(message)
    assert not l2.is_synced and not l3.is_synced
    with pytest.raises(NotSynced):
        l2.apply({"channel": "l2", "symbol": "BTC", "type": "delta", "first_seq": 5,
                  "last_seq": 5, "bids": [], "asks": []})
    l2.load(data.l2_snapshot("BTC"))
    l3.load(data.l3_snapshot("BTC"))
    market.buy(1, 1, 95)
    for message in data.drain():
        for book in (l2, l3):
            if message["channel"] == book.channel:
                assert book.apply(message)
    assert [row[0] for row in l2.bids] == [row[0] for row in l3.bids] == [
        "99", "98", "97", "96", "95"]


def test_a_message_of_another_symbol_is_refused(market: Desk, data: MarketData) -> None:
    book = L2Book(data.l2_snapshot("BTC"))
    with pytest.raises(ValueError, match="l2 of ETH"):
        book.apply({"channel": "l2", "symbol": "ETH", "type": "delta", "first_seq": 2,
                    "last_seq": 2, "bids": [], "asks": []})


def test_an_l3_book_notices_what_cannot_be(market: Desk, data: MarketData) -> None:
    book = L3Book(data.l3_snapshot("BTC"))
    with pytest.raises(NotSynced, match="delete of order 9"):
        book.apply({"channel": "l3", "symbol": "BTC", "type": "delete", "market_seq": 2,
                    "ref": 9, "side": "buy", "price": "1", "quantity": "0"})
    assert not book.is_synced


def test_one_symbol_has_one_market_data(market: Desk, data: MarketData) -> None:
    with pytest.raises(ValueError, match="BTC is published already"):
        MarketData(market.exchange)
    with pytest.raises(KeyError):
        data.start("ETH")
    with pytest.raises(ValueError, match="unknown channels: l4"):
        MarketData(market.exchange, (), channels=("l2", "l4"))
    core = market.exchange.core
    for ask in (core.market_seq, core.is_published, lambda at: core.publish(at, True),
                lambda at: core.market_levels(at, 0, 1)):
        with pytest.raises(LookupError):
            ask(5)


def test_channels_that_are_not_wanted_are_not_made(market: Desk) -> None:
    data = MarketData(market.exchange, channels=("l1", "trades"))
    market.trade(1, 2, 3, 100)
    assert {message["channel"] for message in data.drain()} == {"l1", "trades"}


def test_a_refused_command_says_nothing(market: Desk, data: MarketData) -> None:
    market.buy(1, 5, 99, order_id=7)
    data.drain()
    market.refusal("amend", account=1, symbol="BTC", order_id=7, quantity="0.5")
    market.sell(2, 9, 99, time_in_force="fok")
    assert data.drain() == []


# --- statistics -----------------------------------------------------------------------


def test_statistics_of_a_day(market: Desk, data: MarketData) -> None:
    for price, quantity in ((100, 2), (103, 1), (98, 4), (101, 3)):
        market.trade(1, 2, quantity, price)
    market.buy(3, 5, 95)
    figures = data.statistics("BTC")
    assert {name: figures[name] for name in (
        "open_price", "high_price", "low_price", "close_price", "last_price", "volume",
        "turnover", "trades", "open_interest", "mark_price", "index_price", "bid", "ask",
    )} == {
        "open_price": "100", "high_price": "103", "low_price": "98", "close_price": "101",
        "last_price": "101", "volume": "10", "turnover": "998", "trades": 4,
        "open_interest": "10", "mark_price": "100", "index_price": None,
        "bid": ["95", "5", 1], "ask": None}


def test_the_window_moves_by_the_minute() -> None:
    day = TradingDay()
    day.add(30, 100, 1, 100)
    day.add(MINUTE_NS, 90, 2, 180)
    last = 24 * 60 * MINUTE_NS
    assert day.figures(last - 1) == (100, 100, 90, 90, 3, 280, 2)
    assert day.figures(last) == (90, 90, 90, 90, 2, 180, 1)
    assert day.figures(last + MINUTE_NS) == (None, None, None, None, 0, 0, 0)


def test_the_window_keeps_no_more_than_its_buckets() -> None:
    day = TradingDay()
    for minute in range(5000):
        day.add(minute * MINUTE_NS, minute + 1, 1, 1)
    assert day.figures(4999 * MINUTE_NS) == (3561, 5000, 3561, 5000, 1440, 1440, 1440)
    assert len(day._buckets) == 1440
