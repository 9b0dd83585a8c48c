"""Marks name the trade that moved them, and no other."""

from __future__ import annotations

from typing import Any

import pytest
from support.market import Desk
from support.pricing import MIDNIGHT, Feed, config, sources

from engine import Exchange
from engine.causes import cascade, generations, reproduction_number
from engine.errors import InputError
from engine.pricing import Clock, MarkRules, PriceEngine, SourcePrice, TradePrice
from engine.pricing.inputs import decode, encode
from engine.pricing.scale import HOUR_NS, SECOND_NS

LAST = MarkRules(components=("last",))
MEDIAN = MarkRules(components=("index", "last", "book_median"))


def traded(feed: Feed, second: int, price: int, seq: int | None, symbol: str = "BTC") -> None:
    feed.take(TradePrice(MIDNIGHT + second * SECOND_NS, symbol, str(price), seq))


def causes(commands: list[dict[str, Any]]) -> list[int | None]:
    return [command.get("cause") for command in commands if command["cmd"].startswith("mark")]


def test_a_mark_names_the_newest_trade_that_moved_it() -> None:
    feed = Feed(config(mark=LAST))
    feed.source(0, 100)
    traded(feed, 0, 100, 5)
    assert causes(feed.until(0)) == [None]  # nothing was there before
    assert causes(feed.until(1)) == [None]  # not moved
    traded(feed, 2, 101, 7)
    traded(feed, 2, 102, 8)
    assert causes(feed.until(2)) == [8]
    assert causes(feed.until(4)) == [None, None]
    traded(feed, 5, 102, 9)
    assert causes(feed.until(5)) == [None]  # at the price of the one before
    traded(feed, 6, 103, None)
    assert causes(feed.until(6)) == [None]  # nobody knows of which command


def test_what_the_index_moves_has_no_cause() -> None:
    feed = Feed(config(mark=MEDIAN))
    feed.source(0, 100)
    traded(feed, 0, 100, 5)
    feed.book(0, [("99", "1")], [("101", "1")])
    feed.until(0)
    feed.source(1, 104)
    traded(feed, 1, 100, 6)
    assert causes(feed.until(1)) == [None]
    feed.source(2, 98)
    traded(feed, 2, 97, 7)  # the median of 98, 97 and 99 is the index; with 100 it was 100
    assert causes(feed.until(2)) == [7]


def test_a_book_that_moves_long_after_a_trade_does_not_blame_it() -> None:
    feed = Feed(config(mark=MarkRules(components=("book_median",))))
    feed.source(0, 100)
    traded(feed, 0, 100, 5)
    feed.book(0, [("99", "1")], [("101", "1")])
    feed.until(5)
    feed.book(6, [("104", "1")], [("106", "1")])
    assert [command["mark_price"] for command in feed.until(6)] == ["104"]
    assert causes(feed.commands[-1:]) == [None]
    # A basis remembers for as long as its decay: the trade is still in it.
    slow = Feed(config(mark=MarkRules(components=("basis_ema",), ema_decay_ns=60 * SECOND_NS)))
    slow.source(0, 1000)
    slow.book(0, [("999", "1")], [("1001", "1")])
    slow.until(0)
    traded(slow, 1, 1001, 5)
    slow.book(1, [("1001", "1")], [("1999", "1")])
    assert 5 in causes(slow.until(10))
    assert set(causes(slow.until(100))[70:]) == {None}


def test_several_symbols_share_the_newest() -> None:
    feed = Feed(config("BTC", mark=LAST), config("ETH", mark=LAST))
    for symbol in ("BTC", "ETH"):
        feed.source(0, 100, symbol=symbol)
        traded(feed, 0, 100, 3, symbol)
    feed.until(0)
    traded(feed, 1, 101, 8, "BTC")
    traded(feed, 1, 99, 7, "ETH")
    [command] = feed.until(1)
    assert (command["cmd"], command["cause"]) == ("marks", 8)


def test_a_trade_keeps_its_command_in_a_journal() -> None:
    for trade in (TradePrice(1, "BTC", "5"), TradePrice(1, "BTC", "5", 9)):
        assert decode(encode(trade)) == trade
    with pytest.raises(InputError, match="seq is not a whole number"):
        decode('{"input":"trade","ts":1,"symbol":"BTC","price":"5","seq":"9"}')
    with pytest.raises(InputError, match="the fields of 'book'"):
        decode('{"input":"book","ts":1,"symbol":"BTC","bids":[],"asks":[],"seq":9}')
    for wrong in (0, True, "7"):
        with pytest.raises(InputError, match="seq is not a number of a command"):
            Feed().take(TradePrice(MIDNIGHT, "BTC", "5", wrong))  # type: ignore[arg-type]


def test_a_cascade_is_counted_from_the_trades_of_an_exchange() -> None:
    """Longs of falling strength, a mark that is the last price: each one pushes the next."""
    desk, log = Desk(Exchange()), []
    desk.symbol(tiers=[{"min_notional": "0", "max_notional": None, "max_leverage": "10",
                        "maintenance_margin_rate": "0.05"}])
    desk.account(9)
    for number in range(1, 6):  # due at 93.7, 92.6, 91.6, 90.5, 89.5
        desk.account(number, deposit=str(100 + 10 * number))
        desk.must("leverage", account=number, symbol="BTC", leverage="10")
        desk.trade(number, 9, 10, 100)
    for price in range(93, 70, -1):
        desk.buy(9, 5, price)
    again = Exchange()
    for line in desk.log:
        log += again.apply(line)
    prices = PriceEngine([config(mark=LAST, sources=sources("A", max_age_ns=24 * HOUR_NS))])
    prices.take(SourcePrice(MIDNIGHT, "BTC", "A", "100"))
    prices.take(TradePrice(MIDNIGHT, "BTC", "100"))
    prices.take(TradePrice(MIDNIGHT + SECOND_NS, "BTC", "93"))  # a push from outside
    for second in range(1, 60):
        for command in prices.take(Clock(MIDNIGHT + second * SECOND_NS)):
            if command["cmd"] == "funding":
                continue
            events = desk.exchange.apply(command)
            assert events[0]["event"] != "rejected", events
            log += events
            for event in events:
                if event["event"] == "trade":
                    prices.take(TradePrice(
                        command["ts"], "BTC", event["price"], event["seq"]))
    tree = cascade(log)
    assert tree[0].parent is None and len(tree) == 5
    assert max(each.generation for each in tree) >= 2
    assert all(each.cause == tree[each.parent].seq for each in tree
               if each.parent is not None and tree[each.parent].seq != each.seq)
    assert sum(row.liquidations for row in generations(tree)) == 5
    number = reproduction_number(tree, "USDT")
    assert number is not None and 0 < number < 1
