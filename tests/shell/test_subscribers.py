"""Subscribers against real servers: losses, kills, slow readers, noise; the books stay equal."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgpack
import pytest
import zmq
from support.dropping import DroppingProxy
from support.followers import BusyBooks
from support.servers import Server

import engine.client.subscriber as subscriber_module
from engine import Exchange, topics, wire
from engine.client import (
    AsyncSubscriber,
    Client,
    Ended,
    Snapshot,
    SnapshotRefused,
    Subscriber,
    Update,
)
from engine.errors import InputError
from engine.keys import ClientKeys, make_key_files, read_client_keys
from engine.serving.market import MarketPublisher
from engine.serving.topic_states import TopicStates

SETTLE_S = 30.0
ASSET = {"cmd": "asset", "asset": "USDT", "decimals": 6}


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with server.client() as it:
        yield it


class Market:
    """Random commands on busy books, sent by a client; a twin tells the universe what they did."""

    def __init__(self, client: Client, seed: int) -> None:
        self._client = client
        self._universe = BusyBooks(seed)
        self._twin = Exchange()
        self._send([*self._universe.opening()])
        self.symbols = self._twin.symbols

    def _send(self, commands: list[dict[str, Any]]) -> None:
        self._client.send_many(commands)
        for command in commands:
            self._universe.observe(self._twin.apply(command))

    def trade(self, count: int, together: int = 5) -> None:
        for _ in range(0, count, together):
            self._send([self._universe.next() for _ in range(together)])

    @property
    def topics(self) -> list[str]:
        return [f"{channel}.{symbol}." for channel in ("l2", "l3") for symbol in self.symbols]

    def assert_same(self, subscriber: Subscriber | AsyncSubscriber) -> None:
        """Every book that is followed is the server's, level by level and order by order."""
        for symbol in self.symbols:
            plain = self._client.query({"query": "book", "symbol": symbol})
            full = self._client.query({"query": "book", "symbol": symbol, "l3": True})
            l2, l3 = (subscriber.book(f"{channel}.{symbol}.") for channel in ("l2", "l3"))
            for side in ("bids", "asks"):
                assert [row[:2] for row in getattr(l2, side)] == plain[side]
                assert [[price, [shown for _, shown in orders]]
                        for price, orders in getattr(l3, side)] == [
                    [price, [row[2] for row in orders]] for price, orders in full[side]]


def settle(subscriber: Subscriber, market: Market) -> None:
    """Read until the books are the server's, of which nothing is asked any more."""
    deadline = time.monotonic() + SETTLE_S
    while True:
        while subscriber.receive(0.7) is not None:  # at least one heartbeat is in there
            assert time.monotonic() < deadline
        try:
            assert all(map(subscriber.is_synced, subscriber.following.topics))
            market.assert_same(subscriber)
            return
        except AssertionError:
            if time.monotonic() > deadline:
                raise


def begun(subscriber: Subscriber) -> dict[str, Snapshot]:
    """The first snapshots, when every subscription is there: a heartbeat has been heard."""
    found: dict[str, Snapshot] = {}
    deadline = time.monotonic() + SETTLE_S
    while (item := subscriber.receive(0.7)) is not None or (
            len(found) < len(subscriber.following.topics) or subscriber.silent_s > 0.6):
        assert time.monotonic() < deadline
        if item is not None:
            assert isinstance(item, Snapshot)
            found[item.topic] = item
    return found


# --- books ------------------------------------------------------------------------------------


def test_books_of_two_subscribers_are_the_servers(server, client):
    """One from the beginning, one that comes when the books are full."""
    server.start(*server.published)
    market = Market(client, seed=1)
    with Subscriber(server.market, server.states, market.topics) as early:
        market.trade(200)
        with Subscriber(server.market, server.states, market.topics) as late:
            market.trade(200)
            for subscriber in (early, late):
                settle(subscriber, market)
                assert subscriber.epoch == server.epoch
                assert subscriber.following.malformed_count == 0
                assert subscriber.silent_s < 5


@pytest.mark.parametrize("seed", range(3))
def test_dropped_messages_are_noticed_and_healed(server, client, tmp_path, seed):
    server.start(*server.published)
    market = Market(client, seed)
    proxy = DroppingProxy(server.market, server.market + "-lossy", seed, share=0.2)
    try:
        with Subscriber(
                server.market + "-lossy", server.states, market.topics,
                retry_s=0.2) as subscriber:
            settle(subscriber, market)
            proxy.is_dropping = True
            for _ in range(15):
                market.trade(20, together=1)
                while subscriber.receive(0) is not None:
                    pass
            proxy.is_dropping = False
            settle(subscriber, market)
            assert proxy.dropped > 30 and subscriber.following.gap_count > 5
    finally:
        proxy.close()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 110))
def test_losses_and_kills_for_a_long_time(server, client, seed):
    """Ten seeds of a thousand commands each, with drops all the while and three kills."""
    server.start(*server.published)
    market = Market(client, seed)
    proxy = DroppingProxy(server.market, server.market + "-lossy", seed, share=0.1)
    try:
        with Subscriber(
                server.market + "-lossy", server.states, market.topics,
                retry_s=0.2) as subscriber:
            for turn in range(4):
                proxy.is_dropping = True
                for _ in range(25):
                    market.trade(10, together=1)
                    while subscriber.receive(0) is not None:
                        pass
                proxy.is_dropping = False
                settle(subscriber, market)
                assert subscriber.following.restart_count == turn
                if turn < 3:
                    server.kill()
                    server.start(*server.published)
            assert proxy.dropped > 20 and subscriber.following.gap_count > 10
    finally:
        proxy.close()


def test_the_loss_of_the_very_last_messages_shows_at_the_heartbeat(server, client):
    server.start(*server.published)
    market = Market(client, seed=4)
    proxy = DroppingProxy(server.market, server.market + "-lossy", 1, share=1.0)
    try:
        with Subscriber(server.market + "-lossy", server.states, market.topics) as subscriber:
            settle(subscriber, market)
            before = subscriber.following.gap_count
            proxy.is_dropping = True
            market.trade(50, together=1)
            time.sleep(0.2)  # until all of it is at the proxy
            assert proxy.dropped > 2
            proxy.is_dropping = False
            settle(subscriber, market)
            assert subscriber.following.gap_count > before
    finally:
        proxy.close()


def test_a_server_that_is_killed_and_started_again(server, client):
    server.start(*server.published)
    market = Market(client, seed=2)
    with Subscriber(server.market, server.states, market.topics, retry_s=0.2) as subscriber:
        market.trade(100)
        settle(subscriber, market)
        for turn in (1, 2):
            before = subscriber.epoch
            server.kill()
            server.start(*server.published)
            market.trade(100)
            settle(subscriber, market)
            assert subscriber.epoch == server.epoch > before
            assert subscriber.following.restart_count == turn


def test_a_symbol_that_is_declared_while_somebody_waits_for_it(server, client):
    server.start(*server.published)
    client.send(ASSET)
    with Subscriber(server.market, server.states, ["l2.BTC."], retry_s=0.1) as subscriber:
        with pytest.raises(SnapshotRefused, match="no such symbol: 'BTC'"):
            subscriber.receive(10)
        client.send({
            "cmd": "instrument", "symbol": "BTC", "kind": "linear", "base": "BTC",
            "quote": "USDT", "settle": "USDT", "tick_size": "1", "lot_size": "1",
            "tiers": [{"min_notional": "0", "max_notional": None,
                       "maintenance_margin_rate": "0.01", "max_leverage": "10"}]})
        item = subscriber.receive(10)
        assert isinstance(item, Snapshot) and item.topic == "l2.BTC."
        subscriber.follow("l9.BTC.")
        with pytest.raises(SnapshotRefused, match=r"'l9\.BTC\.' is not published here"):
            subscriber.receive(10)
        subscriber.unfollow("l9.BTC.")
        client.send(ASSET)  # rejected, and nothing of a book
        assert all(item.topic == "l2.BTC." for item in iter(lambda: subscriber.receive(0.5), None))


def test_states_of_every_channel(server, client):
    server.start(*server.published, "--channels", "trades, l1,status,auction")
    market = Market(client, seed=3)
    market.trade(300)
    symbol = market.symbols[0]
    names = ["trades", "l1", "status", "auction"]
    with Subscriber(server.market, server.states, [f"{n}.{symbol}." for n in names]) as one:
        found = {}
        while len(found) < len(names):
            item = one.receive(10)
            assert isinstance(item, Snapshot)
            assert item.state["channel"] + f".{symbol}." == item.topic
            assert item.state["type"] == "snapshot"
            found[item.state["channel"]] = item.state
        plain = client.query({"query": "book", "symbol": symbol})
        assert (found["l1"]["bid"] or [None])[0] == (plain["bids"] or [[None]])[0][0]
        assert found["trades"]["last_price"] == plain["last_price"]
        auction = client.query({"query": "auction", "symbol": symbol})
        for field in ("indicative_price", "indicative_quantity", "imbalance", "reference_price"):
            assert found["auction"][field] == auction[field]
        halt = client.query({"query": "instrument", "symbol": symbol})["halt"]
        assert found["status"]["mode"] == halt
        one.follow(f"l2.{symbol}.")
        with pytest.raises(SnapshotRefused, match="is not published here"):
            one.receive(10)


# --- events of an account -------------------------------------------------------------------


def test_the_events_of_an_account(server, client):
    server.start(*server.published)
    with Subscriber(
            server.events, server.states, ["account.1.", "events."], retry_s=0.2) as subscriber:
        first = begun(subscriber)
        state = first["account.1."].state
        assert (state["account"], state["orders"]) == (None, [])
        assert first["events."].state == {"seq": 0, "ts": 0, "symbols": [], "assets": []}
        client.send_many([ASSET, *({"cmd": "account", "account": n} for n in (1, 2))])
        amounts = [{"cmd": "deposit", "account": n % 2 + 1, "asset": "USDT", "amount": "1"}
                   for n in range(10)]
        client.send_many(amounts)
        every: list = []
        own: list = []
        while len(every) < 13:
            item = subscriber.receive(10)
            assert isinstance(item, Update)
            (own if item.topic == "account.1." else every).extend(item.messages)
        while (item := subscriber.receive(1)) is not None:
            own.extend(item.messages)
        assert own == [event for event in every if event.get("account") == 1]
        assert [event["event"] for event in own] == ["account_opened"] + ["balance"] * 5
        server.kill()
        server.start(*server.published)
        assert set(begun(subscriber)) == {"account.1.", "events."}
        with Subscriber(server.events, server.states, ["account.1."]) as another:
            state = another.receive(10).state
            assert state["account"]["balances"] == {"USDT": "5"} and state["seq"] == 13


def test_the_end_is_told_and_the_server_does_not_wait_for_those_who_leave(server, client):
    server.start(*server.published)
    with Subscriber(server.events, server.states, ["events."]) as subscriber:
        assert len(begun(subscriber)) == 1
        items: list = []
        reading = threading.Thread(target=lambda: items.extend(
            item for item in iter(lambda: subscriber.receive(3), None)))
        reading.start()
        client.send(ASSET)
        started = time.monotonic()
        server.stop()
        assert time.monotonic() - started < 4
        reading.join(30)
        assert [type(item) for item in items] == [Update, Ended]
        server.start(*server.published)
        assert begun(subscriber)["events."].epoch == server.epoch
        assert subscriber.following.restart_count == 1
        client.send({**ASSET, "asset": "X"})
        assert isinstance(item := subscriber.receive(10), Update) and item.sequence == 1


# --- those who do not read, and those who send noise -----------------------------------------


def test_a_slow_reader_loses_messages_and_nobody_waits(core_name, tmp_path, monkeypatch):
    """In one process, with small queues; then the reader wakes up and heals."""
    monkeypatch.setattr(topics, "HIGH_WATER_MARK", 20)
    monkeypatch.setattr(subscriber_module, "_HIGH_WATER_MARK", 20)
    exchange, universe = Exchange(core=core_name), BusyBooks(7)
    for command in universe.opening():
        exchange.apply(command)
    names = [f"l2.{symbol}." for symbol in exchange.symbols]
    at, states_at = f"ipc://{tmp_path}/m", f"ipc://{tmp_path}/s"
    with (MarketPublisher(at, 5, exchange) as market,
          TopicStates(states_at, 5, exchange, market) as states,
          Subscriber(at, states_at, names, retry_s=0.1) as subscriber):

        def read_until(is_enough: Callable[[], bool]) -> None:
            ends = time.monotonic() + SETTLE_S
            while not is_enough():
                assert time.monotonic() < ends
                market.send_heartbeat()
                states.answer_some()
                while subscriber.receive(0.01) is not None:
                    pass

        def are_same() -> bool:
            return all(
                subscriber.is_synced(f"l2.{symbol}.") and [
                    [row[:2] for row in getattr(subscriber.book(f"l2.{symbol}."), side)]
                    for side in ("bids", "asks")
                ] == [*map(exchange.query({"query": "book", "symbol": symbol}).get,
                           ("bids", "asks"))]
                for symbol in exchange.symbols)

        read_until(are_same)
        for _ in range(20):
            for _ in range(10):
                universe.observe(exchange.apply(universe.next()))
                market.publish()
            for _ in range(1000):  # until every queue on the way is full
                market.send(names[0].encode(), wire.encode_market(5, []))
        read_until(lambda: subscriber.following.gap_count > 0 and are_same())


def test_noise_at_the_snapshot_socket(server, client):
    server.start(*server.published)
    client.send(ASSET)
    context = zmq.Context()
    request = wire.encode_snapshot_request(1, "events.")
    wrong = [
        [b""], [wire.SNAPSHOT], [b"query.", request], [wire.SNAPSHOT, request, b""],
        [wire.SNAPSHOT, b"\xc1"], [wire.SNAPSHOT, msgpack.packb([1, -1, "events."])],
        [wire.SNAPSHOT, msgpack.packb([1, 1, 5])], [wire.SNAPSHOT, msgpack.packb([9, 1, "x"])],
        *([wire.SNAPSHOT, wire.encode_snapshot_request(1, topic)] for topic in (
            "", ".", "l2", "l2.", "l2..", "account.0.", "account.x.", "hb.", "l2.\0.", "x" * 999)),
    ]
    with context.socket(zmq.DEALER) as dealer:
        dealer.connect(server.states)
        for frames in wrong:
            dealer.send_multipart(frames)
            assert dealer.poll(10_000), frames
            kind, payload = dealer.recv_multipart()
            assert kind == wire.REFUSED and wire.decode_refused(payload)[0] == server.epoch
        for _ in range(50):
            dealer.send_multipart([os.urandom(20), os.urandom(100)])
        dealer.send_multipart([wire.SNAPSHOT, bytes(100_000)])  # cut off for this
        for _ in range(1000):
            dealer.send_multipart([wire.SNAPSHOT, request])  # and nothing of it is read
    with context.socket(zmq.DEALER) as dealer:
        dealer.connect(server.states)
        dealer.send_multipart([wire.SNAPSHOT, request])
        assert dealer.poll(10_000)
        found = wire.decode_snapshot(dealer.recv_multipart()[1])
        assert (found.epoch, found.token, found.topic) == (server.epoch, 1, "events.")
        assert found.state["assets"] == ["USDT"]
    context.destroy(linger=0)
    assert client.send({**ASSET, "asset": "X"}).code == "accepted"


def test_noise_from_listeners(server, client):
    """Listeners may subscribe to anything, and send what nobody asked for."""
    server.start(*server.published)
    context = zmq.Context()
    for endpoint in (server.events, server.market):
        with context.socket(zmq.XSUB) as listener:
            listener.connect(endpoint)
            for note in (b"\x01", b"\x01account.99999999999999999999.", b"\x01account.-1.",
                         b"\x00events.", b"\x01events.", b"nonsense", b"\x01" + os.urandom(3000),
                         b"\x01account.5."):
                listener.send(note)
            listener.send(b"\x01" + bytes(10_000))
            listener.poll(300)
    context.destroy(linger=0)
    assert client.send(ASSET).code == "accepted"
    server.stop()


# --- asyncio ----------------------------------------------------------------------------------


def test_an_asyncio_subscriber(server, client):
    server.start(*server.published)
    market = Market(client, seed=5)

    async def main() -> None:
        async with AsyncSubscriber(
                [server.market, server.events], server.states,
                [*market.topics, "account.1."], retry_s=0.2) as subscriber:
            kinds: list = []

            async def read() -> None:
                async for item in subscriber:
                    kinds.append(type(item))

            reading = asyncio.create_task(read())
            await asyncio.to_thread(market.trade, 200)
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start, *server.published)
            await asyncio.to_thread(market.trade, 100)
            deadline = time.monotonic() + SETTLE_S
            while True:
                await asyncio.sleep(0.7)
                try:
                    assert subscriber.epoch == server.epoch
                    assert all(map(subscriber.is_synced, subscriber.following.topics))
                    await asyncio.to_thread(market.assert_same, subscriber)
                    break
                except AssertionError:
                    if time.monotonic() > deadline:
                        raise
            assert subscriber.following.restart_count == 1
            assert {Snapshot, Update} <= set(kinds)
            reading.cancel()

    asyncio.run(main())


# --- settings ---------------------------------------------------------------------------------


@pytest.mark.parametrize("options, problem", [
    (["--scenario", "s", "--market-data", "ipc://m"], "--market-data needs --journal"),
    (["--scenario", "s", "--snapshots-at", "ipc://s"], "--snapshots-at needs --journal"),
    (["--journal", "j", "--commands", "ipc://c", "--snapshots-at", "ipc://s"],
     "--snapshots-at: give --market-data, --events or both"),
    (["--journal", "j", "--commands", "ipc://c", "--market-data", "ipc://c"],
     "two sockets at one endpoint"),
    (["--journal", "j", "--commands", "ipc://c", "--market-data", "tcp://0.0.0.0:1"],
     "not on loopback"),
    (["--journal", "j", "--commands", "ipc://c", "--channels", "l2,l4"],
     "--channels: 'l4' is none of l3, l2, l1, trades, auction, status"),
])
def test_settings_are_checked_first(shell, tmp_path, options, problem):
    done = shell.run("serve", *options)
    assert done.code == 2 and problem in done.only_error
    assert not (tmp_path / "j").exists()


def test_settings_from_a_file(server, tmp_path):
    config = tmp_path / "server.toml"
    config.write_text(
        f'market_data = "{server.market}"\nsnapshots_at = "{server.states}"\nchannels = "l1"\n')
    server.start("--config", str(config))
    assert f"market data at {server.market}, snapshots at {server.states}, " in (
        server.line("ready: "))


def test_a_port_in_use(server, client, shell, tmp_path):
    server.start(*server.published)
    done = shell.run("serve", "--journal", str(tmp_path / "other"), "--commands",
                     f"ipc://{tmp_path}/c", "--market-data", server.market, "--core", shell.core)
    assert done.code == 2
    assert done.err.splitlines()[-1] == (
        f"error: cannot bind {server.market}: address already in use")


def test_an_endpoint_that_is_none():
    for endpoints in (("nonsense", "ipc://x"), ("ipc://x", "nonsense")):
        with pytest.raises(InputError, match="cannot connect to nonsense"):
            Subscriber(*endpoints)


# --- keys and roles -----------------------------------------------------------------------------


def test_with_keys_the_books_are_for_clients_and_accounts_for_their_own(server, tmp_path):
    folder = tmp_path / "keys"
    rows = ""
    for name, more in (("boss", 'role = "admin"'), ("eyes", 'role = "read"'),
                       ("desk", 'role = "trade"\naccounts = [1]'),
                       ("slow", 'role = "read"\ncommands_per_second = 1\nburst = 1')):
        public = make_key_files(str(folder), name)[2].decode()
        rows += f'[[client]]\nname = "{name}"\nkey = "{public}"\n{more}\n'
    for name in ("server", "stranger"):
        make_key_files(str(folder), name)
    (tmp_path / "clients.toml").write_text(rows)

    def keys(name: str) -> ClientKeys:
        return read_client_keys(str(folder / f"{name}.key_secret"), str(folder / "server.key"))

    server.start(*server.published, "--key", str(folder / "server.key_secret"),
                 "--clients", str(tmp_path / "clients.toml"))
    with Client(server.endpoint, "boss", keys=keys("boss"), timeout_s=20) as boss:
        market = Market(boss, seed=1)
        market.trade(50)
        for name in ("desk", "eyes"):
            with Subscriber(
                    server.market, server.states, market.topics, keys=keys(name)) as one:
                settle(one, market)
        with Subscriber(server.market, server.states, ["account.1."], keys=keys("desk")) as one:
            assert one.receive(10).state["account"]["account"] == 1
            for topic in ("account.2.", "events."):
                one.follow(topic)
                with pytest.raises(SnapshotRefused, match="forbidden: "):
                    one.receive(10)
                one.unfollow(topic)
        topics = ["account.2.", "events."]
        with Subscriber(server.events, server.states, topics, keys=keys("eyes")) as one:
            assert set(begun(one)) == set(topics)
            boss.send({**ASSET, "asset": "NEW"})
            assert one.receive(10).topic == "events."
        with Subscriber(server.market, server.states, topics, keys=keys("slow")) as one:
            with pytest.raises(SnapshotRefused, match="rate_limited: more than 1 commands"):
                while True:
                    one.receive(10)
        for other in (keys("stranger"), None):
            with Subscriber([server.events, server.market], server.states, topics,
                            keys=other) as one:
                assert one.receive(1.5) is None and one.epoch is None


# --- many topics ----------------------------------------------------------------------------------


def test_thousands_of_topics(shell, tmp_path):
    """No subscription and no request for a state is lost, however many there are."""
    exchange = Exchange(core=shell.core)
    exchange.apply(ASSET)
    exchange.apply({"cmd": "account", "account": 1})
    exchange.apply({"cmd": "deposit", "account": 1, "asset": "USDT", "amount": "1000000"})
    for number in range(250):
        exchange.apply({
            "cmd": "instrument", "symbol": f"S{number}", "kind": "linear", "base": "B",
            "quote": "USDT", "settle": "USDT", "tick_size": "1", "lot_size": "1",
            "tiers": [{"min_notional": "0", "max_notional": None,
                       "maintenance_margin_rate": "0.01", "max_leverage": "10"}]})
        exchange.apply({"cmd": "mark", "symbol": f"S{number}", "mark_price": "100"})
    names = [f"{channel}.{symbol}." for symbol in exchange.symbols for channel in wire.CHANNELS]
    at, states_at = f"ipc://{tmp_path}/m", f"ipc://{tmp_path}/s"
    with (MarketPublisher(at, 5, exchange) as market,
          TopicStates(states_at, 5, exchange, market) as states,
          Subscriber(at, states_at, names) as subscriber):
        deadline = time.monotonic() + SETTLE_S
        missing = len(names)
        while missing:
            assert time.monotonic() < deadline
            states.answer_some()
            while subscriber.receive(0.001) is not None:
                missing -= 1
        time.sleep(0.5)
        market.send_heartbeat()  # it hears the last of the subscriptions with this
        time.sleep(0.1)
        for number, symbol in enumerate(exchange.symbols, start=1):
            exchange.apply({
                "cmd": "order", "account": 1, "symbol": symbol, "order_id": number,
                "side": "buy", "type": "limit", "price": "90", "quantity": "1"})
            market.publish()
        seen = set()
        while (item := subscriber.receive(2)) is not None:
            seen.add(item.topic)
        assert len(seen) == 3 * 250 and subscriber.following.gap_count == 0
        assert all(subscriber.book(f"l2.{symbol}.").bids == [["90", "1", 1]]
                   for symbol in exchange.symbols)
