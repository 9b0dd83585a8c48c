"""A sequence for each topic, one for all commands: no filter makes a gap where nothing is lost."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import zmq

from engine import wire
from engine.client import Subscriber, Update
from engine.messages import EVENT_ACCOUNTS
from engine.packing.private import private_event
from tests.shell.test_subscribers import Market, begun

_QUIET_S = 1.2  # more than two heartbeats


class Listener:
    """A plain SUB socket with a filter; notes every frame that passes it, and judges nothing."""

    def __init__(self, context: zmq.Context, endpoint: str, prefixes: Sequence[str]) -> None:
        self.prefixes = prefixes
        self.messages: dict[bytes, list[tuple[int, bytes]]] = {}
        self.told: dict[str, int] = {}  # by the newest heartbeats
        self._socket = context.socket(zmq.SUB)
        for option, value in ((zmq.LINGER, 0), (zmq.RCVHWM, 0)):
            self._socket.setsockopt(option, value)
        for prefix in (*prefixes, "hb."):
            self._socket.setsockopt(zmq.SUBSCRIBE, prefix.encode())
        self._socket.connect(endpoint)

    def read(self, until_heartbeat: bool = False) -> Listener:
        """Read until nothing but heartbeats has come for a while, or one has."""
        ends = time.monotonic() + (20 if until_heartbeat else _QUIET_S)
        while (left := ends - time.monotonic()) > 0:
            if not self._socket.poll(int(left * 1000) + 1):
                continue
            topic, sequence, payload = wire.split_frames(self._socket.recv_multipart())
            if topic == wire.HEARTBEAT:
                self.told |= wire.decode_heartbeat(payload).last_sequences
                if until_heartbeat:
                    return self
                continue
            self.messages.setdefault(topic, []).append((sequence, payload))
            if not until_heartbeat:
                ends = time.monotonic() + _QUIET_S
        assert not until_heartbeat, "no heartbeat"
        return self

    def sequences(self, topic: bytes) -> list[int]:
        return [sequence for sequence, _ in self.messages[topic]]

    def events(self, topic: bytes) -> dict[int, list[dict]]:
        """Events of a topic by the number of their command."""
        found = {}
        for _, payload in self.messages[topic]:
            _, seq, _, events = wire.decode_events(payload)
            assert seq not in found
            found[seq] = events
        return found

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def context() -> Iterator[zmq.Context]:
    it = zmq.Context()
    yield it
    it.term()


def test_no_filter_makes_a_gap(server, context):
    server.start(*server.published)
    with server.client() as client:
        market = Market(client, seed=3)
        accounts = np.unique(market._twin.accounts_array()["account"])[:3].tolist()
        own, *others = (f"account.{account}." for account in accounts)
        books = [f"{channel}.{market.symbols[0]}." for channel in ("l2", "l3")]
        listeners = [
            *(Listener(context, server.events, prefixes) for prefixes in (
                ["events."], [own], others, [*others, own, "events."], ["account."])),
            *(Listener(context, server.market, prefixes) for prefixes in (
                books[:1], books[1:], ["l2."], [""])),
        ]
        for listener in listeners:
            listener.read(until_heartbeat=True)
        first = client.next_request
        market.trade(400)
        count = client.next_request - first
        for listener in listeners:
            listener.read()
    try:
        every, alone, _, mixed, prefix, *_, everything = listeners
        for listener in listeners:
            assert listener.messages, listener.prefixes
            for topic, messages in listener.messages.items():
                numbers = listener.sequences(topic)
                # Consecutive, and up to what the heartbeats say: nothing to ask for again.
                assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
                assert listener.told[topic.decode()] == numbers[-1]
                # The same messages as whoever filters otherwise has, under the same numbers.
                widest = everything if topic in everything.messages else mixed
                if topic in widest.messages:
                    assert messages == widest.messages[topic]
        assert set(prefix.messages) == {topic.encode() for topic in (own, *others)}
        # The number of the command is one sequence over all topics: all of it in `events.` ...
        all_events = every.events(wire.EVENTS)
        seqs = list(all_events)
        assert seqs == sorted(seqs) and len(seqs) > 0.9 * count
        silent = set(range(seqs[0], seqs[-1] + 1)) - set(seqs)
        assert len(silent) < 0.1 * count  # commands without any event, a move of the clock
        # ... and with holes in the topic of an account, where it would tell of losses.
        mine = alone.events(own.encode())
        assert set(mine) <= set(seqs) and list(mine) == sorted(mine)
        assert max(np.diff(list(mine))) > 1 and len(mine) > 20
        for seq, events in mine.items():
            named = [event for event in all_events[seq]
                     if accounts[0] in {event.get(field) for field in EVENT_ACCOUNTS}]
            assert [private_event(event, accounts[0]) for event in named] == events
    finally:
        for listener in listeners:
            listener.close()


def test_a_subscriber_with_a_filter_asks_for_nothing_again(server):
    server.start(*server.published)
    with server.client() as client:
        market = Market(client, seed=4)
        account = int(market._twin.accounts_array()["account"][0])
        topics = [f"account.{account}.", f"l2.{market.symbols[0]}."]
        with Subscriber([server.events, server.market], server.states, topics) as subscriber:
            assert set(begun(subscriber)) == set(topics)
            market.trade(300)
            items = []
            while (item := subscriber.receive(_QUIET_S)) is not None:
                items.append(item)
            assert len(items) > 50 and {type(item) for item in items} == {Update}
            for topic in topics:
                numbers = [item.sequence for item in items if item.topic == topic]
                assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
                assert subscriber.is_synced(topic)
