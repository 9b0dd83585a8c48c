"""Packed commands over the wire: the same as maps, once each, whatever happens in between."""

from __future__ import annotations

import json
from collections.abc import Iterator

import msgpack
import numpy as np
import pytest
import zmq
from support.servers import Server

from engine import Exchange, wire
from engine.batches import account_commands, deposit_commands, empty_commands, empty_specials
from engine.client import Client
from engine.errors import InputError
from engine.journal import JournalReader, PackedEntry, Storage
from engine.messages import NONE, Command, OrderType, RejectReason, Side, TimeInForce

ASSET = {"cmd": "asset", "asset": "USDT", "decimals": 6}
INSTRUMENT = {
    "cmd": "instrument", "symbol": "BTC", "kind": "linear", "base": "BTC", "quote": "USDT",
    "settle": "USDT", "tick_size": "0.1", "lot_size": "0.001", "tiers": [
        {"min_notional": "0", "max_notional": None, "maintenance_margin_rate": "0.005",
         "max_leverage": "100"}]}
MARK = {"cmd": "mark", "symbol": "BTC", "mark_price": "100"}
SETUP = [ASSET, INSTRUMENT, MARK]
ACCOUNTS = np.arange(1, 6)


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    server.start()
    with server.client() as it:
        it.send_many(SETUP)
        yield it


def money() -> np.ndarray:
    return np.concatenate([
        account_commands(ACCOUNTS), deposit_commands(ACCOUNTS, 0, np.full(5, 10**9))])


def orders(first_id: int = 1, count: int = 20) -> np.ndarray:
    """Bids and asks that meet now and then, by accounts 1 to 6, of which 6 is not there."""
    rows = empty_commands(count)
    at = np.arange(count)
    rows["cmd"], rows["account"], rows["symbol"] = Command.ORDER, at % 6 + 1, 0
    rows["order_id"], rows["side"], rows["type"] = first_id + at, at % 2, OrderType.LIMIT
    rows["quantity"], rows["price"] = at % 7 + 1, 1000 + at % 3
    rows["time_in_force"] = TimeInForce.GTC
    return rows


def as_map(row: np.void) -> dict:
    return {
        "cmd": "order", "account": int(row["account"]), "symbol": "BTC",
        "order_id": int(row["order_id"]), "side": Side(row["side"]).name.lower(),
        "type": "limit", "quantity": f"{row['quantity'] / 1000:.3f}",
        "price": f"{row['price'] / 10:.1f}"}


def entries(server: Server) -> list:
    found = []
    for batch in JournalReader(str(server.journal), Storage()).batches():
        if batch.header.command_count:
            found += batch.entries()
    return found


def test_the_directory_tells_the_indices(client):
    answer = client.query({"query": "directory"})
    assert answer["assets"] == [{"asset": "USDT", "index": 0, "decimals": 6}]
    assert answer["symbols"] == [{
        "symbol": "BTC", "index": 0, "settle": "USDT", "tick_size": "0.1", "mark_tick": "0.1",
        "lot_size": "0.001"}]


def test_packed_is_the_same_as_maps(server, client, shell):
    """Outcomes, state, events and journal, over a kill and a restart."""
    with Listening(server) as heard:
        assert client.send_packed(money()).accepted.all()
        outcomes = client.send_packed(orders())
        events = heard.events(seq=33)
    other = Exchange(core=server.core)
    for command in SETUP:
        other.apply(command)
    other.submit_many(money())
    other.drain()
    expected = [event for row in orders() for event in other.apply(as_map(row))]
    assert outcomes.seqs.tolist() == list(range(14, 34))
    refused = {event["seq"]: event for event in expected if event["event"] == "rejected"}
    assert [seq for seq, is_fine in zip(outcomes.seqs, outcomes.accepted, strict=True)
            if not is_fine] == sorted(refused) != []
    assert {RejectReason(reason).name.lower() for reason in outcomes.reasons
            if reason != NONE} == {event["reason"] for event in refused.values()}
    assert [event for event in events if event["seq"] > 13] == expected
    assert client.query({"query": "state_hash"})["state_hash"] == other.state_hash()
    kinds = [type(entry).__name__ for entry in entries(server)]
    assert kinds == ["Entry"] * 3 + ["PackedEntry"] * 2
    server.kill()
    assert server.start().recovered == (33, other.state_hash())
    server.kill()
    done = shell.run("verify", str(server.journal), "--core", shell.core, "--json")
    checked = json.loads(done.out)
    assert (done.code, checked["commands"], checked["state_hash"]) == (0, 33, other.state_hash())


class Listening:
    """Subscribed to the events of a server that is started again with them."""

    def __init__(self, server: Server) -> None:
        server.kill()
        server.start("--events", server.events)
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.SUBSCRIBE, b"")
        self._socket.connect(server.events)
        self._expected = 1

    def __enter__(self) -> Listening:
        while self._next()[0] != wire.HEARTBEAT:  # subscribed, and the server knows
            pass
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close(linger=0)
        self._context.term()

    def _next(self) -> tuple[bytes, bytes]:
        assert self._socket.poll(10_000)
        topic, number, payload = wire.split_frames(self._socket.recv_multipart())
        if topic == wire.EVENTS:
            assert number == self._expected
            self._expected += 1
        return topic, payload

    def events(self, seq: int) -> list[dict]:
        """All events up to those of a command."""
        found: list[dict] = []
        while not found or found[-1]["seq"] < seq:
            topic, payload = self._next()
            if topic == wire.EVENTS:
                _, at, _, of_command = wire.decode_events(payload)
                assert {event["seq"] for event in of_command} == {at}
                found += of_command
        return found


def test_a_message_that_comes_again_is_answered_not_applied(server, client):
    client.send_packed(money())
    first = client.next_request
    outcomes = client.send_packed(orders())
    state = client.query({"query": "state_hash"})
    for is_restarted in (False, True):
        if is_restarted:
            server.kill()
            server.start()
        client.next_request = first
        assert same(client.send_packed(orders()), outcomes)
        client.next_request = first + 5  # with other bounds
        assert same(client.send_packed(orders()[5:12]), outcomes, 5, 12)
        client.next_request = first + 3
        reused = client.send_packed(orders(first_id=90, count=17))
        assert set(reused.codes) == {"request_reused"} and set(reused.seqs) == {NONE}
        assert client.query({"query": "state_hash"})["state_hash"] == state["state_hash"]
        client.next_request = first - 1
        assert client.send_packed(orders(count=1)).codes.tolist() == ["request_reused"]


def same(found, outcomes, start: int = 0, stop: int | None = None) -> bool:
    return all(
        getattr(found, name).tolist() == getattr(outcomes, name)[start:stop].tolist()
        for name in ("codes", "seqs", "reasons", "ts"))


def test_a_message_that_goes_on_behind_what_was_taken(server, client):
    client.send_packed(money())
    first = client.next_request
    outcomes = client.send_packed(orders(count=20))
    client.next_request = first + 10
    longer = client.send_packed(orders(count=30)[10:])
    assert longer.seqs.tolist() == list(range(outcomes.seqs[10], outcomes.seqs[0] + 30))
    assert longer.reasons[:10].tolist() == outcomes.reasons[10:].tolist()
    assert client.next_request == first + 30 == client.hello() + 1
    packed = [entry for entry in entries(server) if isinstance(entry, PackedEntry)]
    assert [(entry.request, entry.command_count) for entry in packed] == [
        (4, 10), (first, 20), (first + 20, 10)]
    client.next_request = first
    assert client.send({**MARK}).code == "request_reused"


def test_the_same_message_twice_in_one_batch(server, client):
    client.send_packed(money())
    rows = orders(count=3).tobytes()
    context = zmq.Context()
    with context.socket(zmq.DEALER) as dealer:
        dealer.connect(server.endpoint)
        for _ in range(4):
            dealer.send_multipart([wire.PACKED, wire.encode_packed("x", 1, rows, b"")])
        answers = {dealer.recv_multipart()[1] for _ in range(4)}
    context.term()
    (answer,) = answers
    ((count, code, seq, *_),) = wire.decode_packed_outcomes(answer)[3]
    assert (count, code, seq) == (3, "applied", 14)
    assert entries(server)[-1].seq == 14


def test_special_terms_and_senseless_rows(server, client):
    client.send_packed(money())
    rows, terms = orders(count=4), empty_specials(1)
    rows["account"], rows["special"] = 1, [0, 7, NONE, NONE]
    rows["cmd"][2:] = [Command.ASSET, 99]
    terms["display_quantity"] = 1
    outcomes = client.send_packed(rows, terms)
    assert outcomes.reasons.tolist() == [
        NONE, RejectReason.MALFORMED, RejectReason.UNSUPPORTED, RejectReason.UNSUPPORTED]
    (order,) = client.query({"query": "orders", "account": 1})["orders"]
    assert (order["order_id"], order["display_quantity"]) == (1, "0.001")
    server.kill()
    server.start()
    assert client.query({"query": "orders", "account": 1})["orders"] == [order]


REFUSED = [
    ([1, "x", 1, b"", b""], "commands is without content"),
    ([1, "x", 1, bytes(95), b""], "commands is not whole rows of 96 bytes"),
    ([1, "x", 1, bytes(96), bytes(111)], "specials is not whole rows of 112 bytes"),
    ([1, "x", 1, "text", b""], "commands is not bytes"),
    ([1, "x", 0, bytes(96), b""], "first request is not a number from 1"),
    ([1, "x", 2**63 - 1, bytes(96), b""], "first request is not a number from 1"),
    ([1, "x", 1, bytes(96 * 16_385), b""], "more than 16384 commands"),
    ([1, "no name", 1, bytes(96), b""], "not a client's name"),
    ([1, "x", 1, bytes(96)], "expected 5 fields"),
]


def test_messages_that_cannot_be_read_are_refused(server, client):
    context = zmq.Context()
    with context.socket(zmq.DEALER) as dealer:
        dealer.connect(server.endpoint)
        for fields, problem in REFUSED:
            dealer.send_multipart([wire.PACKED, msgpack.packb(fields)])
            kind, payload = dealer.recv_multipart()
            assert kind == wire.REFUSED and problem in wire.decode_refused(payload)[1]
    context.term()
    assert len(entries(server)) == 3
    for bad in (orders(count=0), orders(count=16_385)):
        with pytest.raises(InputError, match="expected 1 to 16384 commands"):
            client.send_packed(bad)
    with pytest.raises(ValueError, match="commands must have shape"):
        client.send_packed(np.zeros((2, 11), np.int64))


def test_the_wall_clock_gives_packed_commands_their_time(server):
    server.start("--clock", "wall")
    with server.client() as client:
        client.send_many(SETUP)
        outcomes = client.send_packed(money())
        assert len(set(outcomes.ts)) == 1 and outcomes.ts[0] > 10**18
        timed = orders()
        timed["ts"][3] = 5
        assert set(client.send_packed(timed).codes) == {"malformed"}
        state = client.query({"query": "state_hash"})
    (entry,) = (entry for entry in entries(server) if isinstance(entry, PackedEntry))
    assert entry.stamp == outcomes.ts[0]
    server.kill()
    assert server.start("--clock", "wall").recovered == (state["seq"], state["state_hash"])
