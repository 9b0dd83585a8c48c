"""Subscribers get every event they asked for, once, in sequence order, whatever they do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from engine import CommandError, Exchange, Rejected, SubscriberError, Tier
from engine.batches import deposit_commands, empty_commands
from engine.messages import NONE, Command, Side

Event = dict[str, Any]


@pytest.fixture
def market(exchange: Exchange) -> Exchange:
    """BTC and ETH at 100, accounts 1 to 3 with 10,000 each; nothing to drain."""
    exchange.add_asset("USDT", 2)
    for symbol in ("BTC", "ETH"):
        exchange.add_instrument(
            symbol, settle="USDT", tick_size=1, lot_size=1, tiers=[Tier(0, None, "0.05", 10)])
        exchange.mark(symbol, 100)
    for account in (1, 2, 3):
        exchange.open_account(account)
        exchange.deposit(account, "USDT", 10_000)
    exchange.drain()
    return exchange


def trade(exchange: Exchange, order_id: int, symbol: str = "BTC") -> Any:
    """One trade of account 1, which buys, and account 2."""
    exchange.submit(2, symbol, order_id, "sell", "limit", 1, 100)
    return exchange.submit(1, symbol, order_id, "buy", "limit", 1, 100)


def test_a_subscriber_gets_what_a_drain_gives(market: Exchange) -> None:
    seen: list[Event] = []
    market.subscribe(seen.append)
    trade(market, 1)
    market.submit(1, "BTC", 2, "buy", "limit", 1, 90, client_order_id="named")
    with pytest.raises(Rejected):
        market.cancel(1, "BTC", 77)
    market.cancel(1, "BTC", 2)
    assert len(seen) > 6
    assert {event.get("client_order_id") for event in seen} == {None, "named"}
    assert market.drain() == seen


def test_every_way_to_give_commands_is_heard(market: Exchange) -> None:
    seen: list[Event] = []
    market.subscribe(seen.append)
    applied = market.apply({"cmd": "deposit", "account": 1, "asset": "USDT", "amount": 1})
    market.submit({"cmd": "deposit", "account": 1, "asset": "USDT", "amount": 2})
    market.apply_marks([("BTC", 101, None, None), ("ETH", 99, None, None)])
    market.submit_many(deposit_commands(np.arange(1, 4), 0, 300))
    left = market.drain()
    assert seen == applied + left
    assert [event["event"] for event in seen] == ["balance"] * 2 + ["mark"] * 2 + ["balance"] * 3
    assert [event["seq"] for event in seen] == sorted(event["seq"] for event in seen)


@pytest.mark.parametrize(("filters", "expected"), [
    ({"kinds": "trade"}, {"trade"}),
    ({"kinds": ["trade", "order_canceled"]}, {"trade", "order_canceled"}),
    ({"kinds": []}, set()),
])
def test_kinds_are_filtered(market: Exchange, filters: Event, expected: set[str]) -> None:
    seen: list[Event] = []
    market.subscribe(seen.append, **filters)
    trade(market, 1)
    market.submit(1, "BTC", 2, "buy", "limit", 1, 90)
    market.cancel(1, "BTC", 2)
    assert {event["event"] for event in seen} == expected


def test_accounts_are_met_on_either_side(market: Exchange) -> None:
    by_account: dict[int, list[Event]] = {1: [], 2: [], 3: []}
    for account, events in by_account.items():
        market.subscribe(events.append, account=account)
    trade(market, 1)
    market.mark("BTC", 101)
    kinds = {account: [event["event"] for event in events]
             for account, events in by_account.items()}
    assert kinds[1].count("trade") == kinds[2].count("trade") == 1
    assert kinds[3] == []
    assert {event["account"] for event in by_account[1] if "account" in event} == {1}


def test_symbols_are_filtered(market: Exchange) -> None:
    seen: list[Event] = []
    market.subscribe(seen.append, symbol="ETH")
    trade(market, 1)
    trade(market, 2, "ETH")
    assert {event["symbol"] for event in seen} == {"ETH"}
    assert "trade" in {event["event"] for event in seen}


def test_filters_that_name_nothing_are_refused(market: Exchange) -> None:
    with pytest.raises(ValueError, match="no such kind of event: 'trades'"):
        market.subscribe(print, kinds=["trade", "trades"])
    with pytest.raises(KeyError, match="XRP"):
        market.subscribe(print, symbol="XRP")


def test_only_later_commands_are_heard(market: Exchange) -> None:
    market.submit({"cmd": "deposit", "account": 1, "asset": "USDT", "amount": 1})
    seen: list[Event] = []
    market.subscribe(seen.append)
    market.deposit(1, "USDT", 2)
    assert [event["wallet"] for event in seen] == ["10003"]
    assert [event["wallet"] for event in market.drain()] == ["10001", "10003"]


def test_a_closed_subscription_is_silent(market: Exchange) -> None:
    seen: list[Event] = []
    with market.subscribe(seen.append, kinds="mark") as subscription:
        market.mark("BTC", 101)
        assert subscription.is_open
    assert not subscription.is_open
    market.mark("BTC", 102)
    assert [event["mark_price"] for event in seen] == ["101"]


def test_closing_within_a_delivery_ends_it_at_once(market: Exchange) -> None:
    seen: list[Event] = []

    def once(event: Event) -> None:
        seen.append(event)
        subscription.close()

    subscription = market.subscribe(once)
    assert len(trade(market, 1).events) > 1
    assert len(seen) == 1


def test_what_one_does_to_an_event_the_others_do_not_see(market: Exchange) -> None:
    seen: list[Event] = []
    market.subscribe(lambda event: event.clear())
    market.subscribe(seen.append)
    market.mark("BTC", 101)
    assert seen[0]["mark_price"] == "101"
    assert market.drain() == seen


# ---- commands within callbacks ----------------------------------------------------------------


def test_a_callback_may_give_commands_and_all_is_heard_in_order(market: Exchange) -> None:
    before: list[Event] = []
    after: list[Event] = []
    answers = []

    def react(event: Event) -> None:
        if event["event"] == "trade" and event["symbol"] == "BTC":
            # Done at once, answer and all; its events come behind those that wait.
            answers.append(trade(market, 7, "ETH"))
            assert market.position(1, "ETH")["positions"][0]["quantity"] == "1"
            assert all(heard["seq"] <= event["seq"] for heard in before)

    market.subscribe(before.append)
    market.subscribe(react)
    market.subscribe(after.append)
    outer = trade(market, 1)
    assert [answer.state for answer in answers] == ["filled"]
    assert {event["seq"] for event in outer.events} == {outer.seq}
    assert before == after == market.drain()
    seqs = [event["seq"] for event in before]
    assert seqs == sorted(seqs)
    assert seqs[-1] == answers[0].seq == outer.seq + 2


def test_a_chain_of_reactions_needs_no_recursion(market: Exchange) -> None:
    def count(event: Event) -> None:
        if int(event["mark_price"]) < 3000:
            market.mark("BTC", int(event["mark_price"]) + 1)

    market.subscribe(count, kinds="mark")
    market.mark("BTC", 101)
    assert market.instrument_state("BTC")["mark_price"] == "3000"


def test_a_callback_may_drain_and_the_others_hear_the_rest(market: Exchange) -> None:
    drained: list[Event] = []
    seen: list[Event] = []
    market.subscribe(lambda event: drained.extend(market.drain()))
    market.subscribe(seen.append)
    market.submit(1, "BTC", 5, "buy", "limit", 1, 90, client_order_id="mine")
    market.cancel(1, "BTC", 5)
    assert drained == seen
    assert [event["client_order_id"] for event in seen] == ["mine"] * 3


def test_a_subscription_made_in_a_callback_begins_with_the_next_command(
    market: Exchange
) -> None:
    seen: list[Event] = []

    def subscribe_once(event: Event) -> None:
        first.close()
        market.subscribe(seen.append)

    first = market.subscribe(subscribe_once)
    trade(market, 1)
    market.mark("BTC", 101)
    # The order of account 2 set it off; what account 1 did came after.
    assert seen[0]["account"] == 1
    assert seen[-1]["event"] == "mark"


# ---- callbacks that fail ----------------------------------------------------------------------


def broken(event: Event) -> None:
    raise ZeroDivisionError(event["event"])


def test_the_command_stands_where_a_callback_fails(market: Exchange) -> None:
    seen: list[Event] = []
    market.subscribe(broken, kinds="trade")
    market.subscribe(seen.append)
    with pytest.raises(SubscriberError, match="the command stands: ZeroDivisionError") as failed:
        trade(market, 1)
    assert isinstance(failed.value.__cause__, ZeroDivisionError)
    assert failed.value.errors == (failed.value.__cause__,)
    assert failed.value.outcome.state == "filled"
    assert market.position(1, "BTC")["positions"][0]["quantity"] == "1"
    assert market.drain() == seen
    assert "trade" in {event["event"] for event in seen}
    # And it is still subscribed.
    with pytest.raises(SubscriberError):
        trade(market, 2)


def test_a_refusal_is_not_lost_where_a_callback_fails(market: Exchange) -> None:
    market.subscribe(broken)
    with pytest.raises(SubscriberError) as failed:
        market.cancel(1, "BTC", 9)
    assert isinstance(failed.value.outcome, Rejected)
    assert failed.value.outcome.code == -2011


def test_every_way_tells_of_callbacks_that_fail(market: Exchange) -> None:
    market.subscribe(broken)
    line = {"cmd": "deposit", "account": 1, "asset": "USDT", "amount": 1}
    rows = empty_commands(2)
    rows["cmd"], rows["account"], rows["symbol"] = Command.CANCEL, 1, 0
    rows["order_id"], rows["side"] = (5, 6), (Side.BUY, NONE)
    outcomes: list[Any] = []
    ways: list[Callable[[], object]] = [
        lambda: market.apply(line), lambda: market.submit(line),
        lambda: market.apply_marks([("BTC", 101, None, None)]),
        lambda: market.submit_many(rows)]
    for way in ways:
        with pytest.raises(SubscriberError) as failed:
            way()
        outcomes.append(failed.value.outcome)
    assert [event["wallet"] for event in outcomes[0]] == ["10001"]
    assert outcomes[1:] == [None, None, 2]
    assert len(market.drain()) == 4


def test_an_interrupt_loses_no_event(market: Exchange) -> None:
    seen: list[Event] = []

    def interrupt(event: Event) -> None:
        if not seen:
            seen.append(event)
            raise KeyboardInterrupt

    market.subscribe(interrupt, kinds="mark")
    market.subscribe(seen.append, kinds=["mark", "balance"])
    with pytest.raises(KeyboardInterrupt):
        market.marks({"BTC": 101, "ETH": 102})
    market.deposit(1, "USDT", 1)
    assert [event.get("mark_price") for event in seen] == ["101", "102", None]


# ---- what is kept -----------------------------------------------------------------------------


def test_an_exchange_that_keeps_no_events_has_none_to_drain(core_name: str) -> None:
    exchange = Exchange(core_name, keep_events=False)
    seen: list[Event] = []
    exchange.add_asset("USDT", 2)
    exchange.submit({"cmd": "account", "account": 1})
    exchange.subscribe(seen.append)
    answer = exchange.deposit(1, "USDT", 5)
    exchange.submit({"cmd": "asset", "asset": "USDT", "decimals": 2})
    assert [event["event"] for event in seen] == ["balance", "rejected"]
    assert answer.events == seen[:1]
    assert exchange.apply({"cmd": "time", "ts": 5}) == []
    with pytest.raises(Rejected, match="declared before"):
        exchange.add_asset("USDT", 2)
    assert exchange.drain() == []
    assert exchange.discard_events() == 0


def test_a_fork_has_no_subscribers(market: Exchange) -> None:
    if market.core_name == "reference":
        pytest.skip("the reference core has no forks")
    market.keeps_events = False
    seen: list[Event] = []
    market.subscribe(seen.append)
    twin = market.fork()
    twin.mark("BTC", 90)
    assert seen == []
    assert not twin.keeps_events
    assert market.instrument_state("BTC")["mark_price"] == "100"


def test_nothing_is_heard_of_a_command_of_the_wrong_shape(market: Exchange) -> None:
    seen: list[Event] = []
    market.subscribe(seen.append)
    with pytest.raises(CommandError):
        market.mark("BTC", 1.5)  # type: ignore[arg-type]
    assert seen == []


def test_a_fork_keeps_its_own_client_order_ids(market: Exchange) -> None:
    if market.core_name == "reference":
        pytest.skip("the reference core has no forks")
    market.submit(1, "BTC", 5, "buy", "limit", 1, 90, client_order_id="mine")
    twin = market.fork()
    twin.cancel(1, "BTC", 5)
    twin.submit(1, "BTC", 5, "buy", "limit", 1, 90, client_order_id="other")
    market.submit(1, "BTC", 6, "buy", "limit", 1, 90, client_order_id="later")
    names = [[order["client_order_id"] for order in one.orders(1)["orders"]]
             for one in (market, twin, Exchange.restore(market.snapshot()))]
    assert names == [["mine", "later"], ["other"], ["mine", "later"]]
