"""The topic of an account: all of its events, and nobody else's number in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgpack
import pytest
from support.servers import Server

from engine import wire
from engine.client import Subscriber, Update
from engine.messages import EVENT_ACCOUNTS, EVENT_LAYOUTS
from engine.packing.private import SIDES, private_event, private_payload
from tests.shell.test_packed import SETUP, as_map, orders
from tests.shell.test_subscribers import begun

OPENING = [*SETUP, *(
    command for account in (1, 2) for command in (
        {"cmd": "account", "account": account},
        {"cmd": "deposit", "account": account, "asset": "USDT", "amount": "1000"}))]
SIDE_FIELDS = ("account", "order_id", "fee")


@pytest.fixture
def server(shell, tmp_path: Path) -> Iterator[Server]:
    it = Server(tmp_path, shell.core)
    yield it
    it.close()


@pytest.mark.parametrize("is_packed", [False, True])
def test_each_side_of_a_trade_sees_its_own(server, is_packed):
    server.start(*server.published)
    topics = ["account.1.", "account.2.", "events."]
    with server.client() as client, Subscriber(
            server.events, server.states, topics) as subscriber:
        begun(subscriber)
        client.send_many(OPENING)
        rows = orders(count=2)
        rows["price"] = 1000
        if is_packed:
            client.send_packed(rows)
        else:
            client.send_many([as_map(row) for row in rows])
        found: dict[str, list[dict]] = {topic: [] for topic in topics}
        last = client.send({"cmd": "insurance", "asset": "USDT", "amount": "1"}).seq
        while not found["events."] or found["events."][-1]["seq"] < last:
            item = subscriber.receive(30)
            assert isinstance(item, Update), item
            found[item.topic] += item.messages
    [true] = [event for event in found["events."] if event["event"] == "trade"]
    assert (true["maker_account"], true["taker_account"]) == (1, 2)
    for account, own, other in ((1, "maker", "taker"), (2, "taker", "maker")):
        seen = found[f"account.{account}."]
        [trade] = [event for event in seen if event["event"] == "trade"]
        assert [trade[f"{other}_{field}"] for field in SIDE_FIELDS] == [None] * 3
        assert [trade[f"{own}_{field}"] for field in SIDE_FIELDS] == [
            true[f"{own}_{field}"] for field in SIDE_FIELDS]
        assert list(trade) == list(true)  # the same fields, in the same order
        # Nothing else is missing or different, and the other's number is nowhere.
        assert seen == [
            private_event(event, account) for event in found["events."]
            if account in {event.get(field) for field in EVENT_ACCOUNTS}]
        assert all(event.get(field) in (None, account) for event in seen
                   for field in EVENT_ACCOUNTS)


def test_what_has_two_sides_is_known():
    """An event that names another account than its own has to be in the table, or be no secret."""
    two_sided = {
        kind.name.lower() for kind, layout in EVENT_LAYOUTS.items()
        if sum(name in EVENT_ACCOUNTS for name, _ in layout) > 1}
    # Of a transfer the one who sends has named the other.
    assert two_sided == {*SIDES, "transfer"}


def test_nothing_is_hidden_of_oneself_or_of_the_fund():
    trade = {"event": "trade", "maker_account": 7, "maker_order_id": 1, "maker_fee": "0",
             "taker_account": 7, "taker_order_id": 2, "taker_fee": "1"}
    assert private_event(trade, 7) == trade
    of_the_fund = {**trade, "taker_account": 0}
    assert private_event(of_the_fund, 7) == of_the_fund
    adl = {"event": "adl", "account": 7, "counterparty": 9, "rank": 1}
    assert private_event(adl, 7) == {**adl, "counterparty": None}
    assert private_event(adl, 9) == {**adl, "account": None}
    assert private_event({"event": "balance", "account": 7}, 7)["account"] == 7
    # A client's order may be called what it likes.
    odd = {"event": "order_accepted", "account": 7, "client_order_id": "counterparty"}
    payload = wire.encode_events(1, 2, 3, [odd])
    assert private_payload(payload, 7) == payload
    assert msgpack.unpackb(private_payload(wire.encode_events(1, 2, 3, [odd, adl]), 7)) == (
        [*msgpack.unpackb(payload)[:-1], [odd, {**adl, "counterparty": None}]])
