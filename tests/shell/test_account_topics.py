"""The topic of an account: all of its events, and nobody else's number in them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator

import msgpack
import pytest
import zmq

from engine import wire
from engine.client import Client, Snapshot, SnapshotRefused, Subscriber, Update
from engine.endpoints import connect_socket
from engine.keys import ClientKeys, make_key_files, read_client_keys
from engine.messages import EVENT_ACCOUNTS, EVENT_LAYOUTS
from engine.packing.private import SIDES, private_event, private_payload
from tests.shell.test_packed import SETUP, as_map, orders
from tests.shell.test_subscribers import begun

OPENING = [*SETUP, *(
    command for account in (1, 2) for command in (
        {"cmd": "account", "account": account},
        {"cmd": "deposit", "account": account, "asset": "USDT", "amount": "1000"}))]
SIDE_FIELDS = ("account", "order_id", "fee")


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


@pytest.fixture
def realm(server, tmp_path) -> Iterator[Callable[[str], ClientKeys]]:
    """A server with keys that publishes everything; and the keys of its clients by name."""
    folder, rows = tmp_path / "keys", ""
    for name, more in (
        ("boss", 'role = "admin"'), ("eyes", 'role = "read"'), ("prices", 'role = "feed"'),
        ("one", 'role = "trade"\naccounts = [1]'), ("two", 'role = "trade"\naccounts = [2]'),
        ("desk", 'role = "trade"'),
    ):
        public = make_key_files(str(folder), name)[2].decode()
        rows += f'[[client]]\nname = "{name}"\nkey = "{public}"\n{more}\n'
    make_key_files(str(folder), "server")
    (tmp_path / "clients.toml").write_text(rows)

    def keys(name: str) -> ClientKeys:
        found = read_client_keys(str(folder / f"{name}.key_secret"), str(folder / "server.key"))
        assert found is not None
        return found

    server.start(*server.published, "--key", str(folder / "server.key_secret"),
                 "--clients", str(tmp_path / "clients.toml"))
    yield keys


class Raw:
    """A SUB socket that asks for topics whether it may have them or not."""

    def __init__(self, endpoint: str, keys: ClientKeys, *topics: bytes) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        for topic in topics:
            self._socket.setsockopt(zmq.SUBSCRIBE, topic)
        connect_socket(self._socket, endpoint, keys)

    def heard(self, quiet_s: float = 1.2) -> Counter[bytes]:
        """Topics of what comes until nothing but heartbeats does."""
        found: Counter[bytes] = Counter()
        ends = time.monotonic() + quiet_s
        while (left := ends - time.monotonic()) > 0:
            if self._socket.poll(int(left * 1000) + 1):
                topic = self._socket.recv_multipart()[0]
                found[topic] += 1
                if not topic.startswith((b"hb.", b"beat.")):
                    ends = time.monotonic() + quiet_s
        return found

    def close(self) -> None:
        self._socket.close()
        self._context.term()


EVERYTHING = (b"", b"events.", b"hb.", b"end.", b"account.", b"account.1.", b"account.2.",
              b"beat.", b"beat.1.", b"beat.2.", b"account.1")


def test_with_keys_traders_hear_of_their_own_accounts_alone(server, realm):
    with Client(server.endpoint, "boss", keys=realm("boss"), timeout_s=20) as boss:
        boss.send_many(OPENING)
        listeners = {name: Raw(server.events, realm(name), *EVERYTHING)
                     for name in ("one", "two", "desk", "eyes", "prices")}
        try:
            for name in ("one", "two", "desk", "eyes"):
                assert listeners[name].heard(), name  # heartbeats: the subscriptions are there
            boss.send_packed(orders(count=40))
            heard = {name: each.heard() for name, each in listeners.items()}
        finally:
            for each in listeners.values():
                each.close()
        assert set(heard["one"]) == {b"account.1.", b"beat.1."}
        assert set(heard["two"]) == {b"account.2.", b"beat.2."}
        assert set(heard["desk"]) == {b"account.1.", b"account.2.", b"beat.1.", b"beat.2."}
        assert {b"events.", b"hb.", b"account.1.", b"account.2."} <= set(heard["eyes"])
        assert not heard["prices"]
        assert heard["one"][b"account.1."] == heard["eyes"][b"account.1."] > 5
        # They are gone, those that were not granted too: nothing is rendered, nobody is missed.
        boss.send_packed(orders(first_id=100, count=10))
        with Subscriber(server.events, server.states, ["events."], keys=realm("eyes")) as late:
            begun(late)
            boss.send({"cmd": "insurance", "asset": "USDT", "amount": "1"})
            assert late.receive(10).messages[0]["event"] == "insurance"
    began = time.monotonic()
    server.stop()
    assert time.monotonic() - began < 4.5  # no wait for listeners that have left


def test_a_trader_heals_what_it_lost_by_itself(server, realm, monkeypatch):
    """Its own heartbeats show the loss of a last message; the state is asked for again."""
    with Client(server.endpoint, "boss", keys=realm("boss"), timeout_s=20) as boss:
        boss.send_many(OPENING)
        with Subscriber(server.events, server.states, ["account.1."], keys=realm("one"),
                        retry_s=0.3) as subscriber:
            first = begun(subscriber)["account.1."]
            assert first.state["account"]["balances"] == {"USDT": "1000"}
            boss.send({"cmd": "deposit", "account": 1, "asset": "USDT", "amount": "5"})
            item = subscriber.receive(10)
            assert isinstance(item, Update)
            assert [event["event"] for event in item.messages] == ["balance"]
            take = subscriber.following.take
            monkeypatch.setattr(subscriber.following, "take", lambda frames: (
                [] if frames[0] == b"account.1." else take(frames)))
            boss.send({"cmd": "deposit", "account": 1, "asset": "USDT", "amount": "7"})
            again = subscriber.receive(10)
            assert isinstance(again, Snapshot) and again.reason == "gap"
            assert again.state["account"]["balances"] == {"USDT": "1012"}
            assert subscriber.silent_s < 5
        with Subscriber(server.events, server.states, ["account.1."], keys=realm("two")) as other:
            with pytest.raises(SnapshotRefused, match="forbidden"):
                other.receive(10)
