"""Following topics without a socket: gaps, heartbeats, restarts, late and missing snapshots."""

from __future__ import annotations

import random
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import wire
from engine.client.following import (
    ASKED_MAX,
    KEPT_MAX,
    Ended,
    Following,
    Snapshot,
    SnapshotRefused,
    Update,
)
from engine.errors import RunError

TOPIC = "account.7."
L2 = "l2.BTC."


class Publisher:
    """A server of one topic: each message is one number, the state is their sum."""

    def __init__(self, epoch: int, topic: str = TOPIC) -> None:
        self.epoch = epoch
        self.topic = topic.encode()
        self.sequence = 0
        self.sum = 0

    def publish(self, number: int) -> list[bytes]:
        self.sequence += 1
        self.sum += number
        payload = wire.encode_events(self.epoch, 1, 1, [{"event": "x", "n": number}])
        return wire.make_frames(self.topic, self.sequence, payload)

    def heartbeat(self) -> list[bytes]:
        payload = wire.encode_heartbeat(self.epoch, {self.topic: self.sequence})
        return wire.make_frames(wire.HEARTBEAT, 1, payload)

    def answer(self, request: list[bytes]) -> list[bytes]:
        token, topic = wire.decode_snapshot_request(request[1])
        assert request[0] == wire.SNAPSHOT and topic.encode() == self.topic
        return [wire.SNAPSHOT, wire.encode_snapshot(
            self.epoch, token, topic, self.sequence, {"sum": self.sum})]


class Listener:
    """What a user of the subscriber would keep."""

    def __init__(self) -> None:
        self.following = Following("ipc://x", [TOPIC], 1.0)
        self.now = 0.0
        self.sum: int | None = None
        self.reasons: list[str] = []

    def requests(self) -> list[list[bytes]]:
        return self.following.requests(self.now)

    def use(self, items: list) -> None:
        for item in items:
            if isinstance(item, Snapshot):
                self.sum = item.state["sum"]
                self.reasons.append(item.reason)
            elif isinstance(item, Update):
                assert self.sum is not None
                self.sum += sum(message["n"] for message in item.messages)

    def take(self, *messages: list[bytes]) -> None:
        for frames in messages:
            self.use(self.following.take(frames))

    def sync(self, publisher: Publisher) -> None:
        for request in self.requests():
            self.use(self.following.take_answer(publisher.answer(request)))


@pytest.fixture
def publisher() -> Publisher:
    return Publisher(5)


@pytest.fixture
def listener(publisher: Publisher) -> Listener:
    """One that has begun."""
    it = Listener()
    it.take(publisher.publish(1))
    it.sync(publisher)
    assert it.sum == 1 and it.reasons == ["start"]
    return it


def test_messages_before_the_snapshot_are_kept_and_not_counted_twice():
    publisher, listener = Publisher(5), Listener()
    listener.take(publisher.publish(1), publisher.publish(10))
    assert listener.sum is None
    (request,) = listener.requests()
    answer = publisher.answer(request)
    listener.take(publisher.publish(100))
    listener.use(listener.following.take_answer(answer))
    listener.take(publisher.publish(1000))
    assert listener.sum == 1111
    assert (listener.following.gap_count, listener.following.duplicate_count) == (0, 0)


def test_a_gap_is_healed_and_what_came_meanwhile_is_not_lost(publisher, listener):
    publisher.publish(2)  # lost
    listener.take(publisher.publish(20), publisher.publish(200))
    assert listener.sum == 1 and not listener.following.is_synced(TOPIC)
    listener.sync(publisher)
    listener.take(publisher.publish(2000))
    assert listener.sum == publisher.sum == 2223
    assert listener.reasons == ["start", "gap"] and listener.following.gap_count == 1


def test_the_loss_of_the_last_message_shows_at_the_heartbeat(publisher, listener):
    listener.take(publisher.heartbeat())
    assert listener.following.is_synced(TOPIC)
    publisher.publish(2)
    listener.take(publisher.heartbeat())
    assert not listener.following.is_synced(TOPIC)
    listener.sync(publisher)
    assert listener.sum == 3


def test_a_snapshot_from_before_the_gap_is_not_taken(publisher, listener):
    publisher.publish(2)
    listener.take(publisher.heartbeat())
    (request,) = listener.requests()
    late = publisher.answer(request)
    publisher.publish(20)
    listener.take(publisher.heartbeat())
    listener.use(listener.following.take_answer(late))
    assert listener.sum == 1 and listener.requests() == []
    listener.now = 1.0
    listener.sync(publisher)
    assert listener.sum == 23


def test_a_request_that_stays_out_is_sent_again_later_and_later(publisher, listener):
    publisher.publish(2)
    listener.take(publisher.heartbeat())
    asked = []
    for tick in range(300):
        listener.now = tick / 10
        asked += [listener.now] * len(listener.requests())
    assert asked == [0, 1, 3, 7, 15, 23]
    assert listener.following.ask_at == 31


def test_a_restart_shows_by_any_message_and_starts_anew(publisher, listener):
    again = Publisher(6)
    for first in (again.heartbeat(), again.publish(7)):
        fresh = Listener()
        fresh.take(publisher.publish(2))
        fresh.sync(publisher)
        fresh.take(first)
        fresh.sync(again)
        assert fresh.reasons == ["start", "restart"] and fresh.sum == again.sum
        assert fresh.following.restart_count == 1
        fresh.take(publisher.publish(50), publisher.heartbeat())  # the dead one's last words
        assert fresh.sum == again.sum and fresh.following.is_synced(TOPIC)


def test_a_snapshot_of_another_epoch_is_a_restart_too(publisher, listener):
    again = Publisher(6)
    publisher.publish(2)
    listener.take(publisher.heartbeat())
    listener.sync(again)
    assert (listener.following.epoch, listener.sum) == (6, 0)
    assert listener.reasons == ["start", "restart"]
    listener.take(again.publish(4))
    assert listener.sum == 4


def test_duplicates_and_cousins_by_prefix_are_passed_over(publisher, listener):
    frames = publisher.publish(2)
    listener.take(frames, frames)
    listener.take([b"account.7.1.", *frames[1:]])
    assert listener.sum == 3 and listener.following.duplicate_count == 1


def test_malformed_messages_are_gaps(publisher, listener):
    frames = publisher.publish(2)
    listener.take([frames[0], frames[1], b"\xc1"], [b"x"], [frames[0], b"", b""])
    assert listener.following.malformed_count == 3 and not listener.following.is_synced(TOPIC)
    listener.sync(publisher)
    assert listener.sum == 3


def test_another_version_is_an_error(publisher, listener):
    frames = publisher.publish(2)
    with pytest.raises(RunError, match="payload version 2"):
        listener.take([*frames[:2], msgpack.packb([2, 5, 1, 1, []])])
    with pytest.raises(RunError, match="payload version 2"):
        listener.following.take_answer([wire.SNAPSHOT, msgpack.packb([2])])


def test_an_answer_to_an_earlier_request_will_do(publisher):
    listener = Listener()
    (first,) = listener.requests()
    listener.now = 1.0
    (second,) = listener.requests()
    listener.use(listener.following.take_answer(publisher.answer(first)))
    assert listener.sum == 0 and listener.following._asked == {}
    listener.use(listener.following.take_answer(publisher.answer(second)))
    assert listener.reasons == ["start"]


def test_a_refusal_is_told_and_asked_again():
    listener = Listener()
    (request,) = listener.requests()
    token, _ = wire.decode_snapshot_request(request[1])
    other = wire.encode_refused(5, "of another time", wire.SNAPSHOT, token + 9)
    assert listener.following.take_answer([wire.REFUSED, other]) == []
    refused = wire.encode_refused(5, "not yours", wire.SNAPSHOT, token, "forbidden")
    with pytest.raises(SnapshotRefused, match="ipc://x: forbidden: not yours"):
        listener.following.take_answer([wire.REFUSED, refused])
    listener.now = 1.0
    listener.sync(Publisher(5))
    assert listener.sum == 0


def test_the_end_is_told(publisher, listener):
    publisher.publish(2)
    payload = wire.encode_end(5, {TOPIC.encode(): 2}, 2, 2)
    assert listener.following.take(wire.make_frames(wire.END, 1, payload)) == [Ended(5)]
    assert not listener.following.is_synced(TOPIC)  # its heartbeat counts


def test_what_is_kept_is_bounded(publisher):
    listener = Listener()
    listener.requests()
    for _ in range(KEPT_MAX + 5):
        listener.take(publisher.publish(1))
    listener.now = 100.0
    listener.sync(publisher)
    listener.take(publisher.publish(1))
    assert listener.sum == publisher.sum


@given(st.integers(0, 2**32))
def test_whatever_is_lost_the_sum_is_right_in_the_end(seed):
    """Messages, heartbeats and answers are lost, doubled and late; the server restarts."""
    chance = random.Random(seed)
    publisher, listener = Publisher(1), Listener()
    under_way: list[list[bytes]] = []

    def step(loses: float) -> None:
        listener.now += 0.3
        frames = publisher.publish(chance.randrange(1000)) if chance.random() < 0.8 else (
            publisher.heartbeat())
        for _ in range(chance.choice((1, 1, 1, 2))):
            if chance.random() >= loses:
                listener.take(frames)
        for request in listener.requests():
            if chance.random() >= loses:
                under_way.append(publisher.answer(request))
        while under_way and chance.random() < 0.6:
            listener.use(listener.following.take_answer(
                under_way.pop(chance.randrange(len(under_way)))))

    for _ in range(chance.randrange(120)):
        if chance.random() < 0.02:
            publisher = Publisher(publisher.epoch + 1)
        step(loses=0.3)
    under_way.clear()
    listener.take(publisher.heartbeat())
    listener.now += 100
    listener.sync(publisher)
    assert listener.sum == publisher.sum


# --- books ----------------------------------------------------------------------------------


def delta(first: int, last: int, bids: list[list[Any]]) -> dict[str, Any]:
    return {"channel": "l2", "symbol": "BTC", "type": "delta", "first_seq": first,
            "last_seq": last, "seq": 1, "ts": 0, "bids": bids, "asks": []}


def book_message(sequence: int, *messages: dict) -> list[bytes]:
    return wire.make_frames(L2.encode(), sequence, wire.encode_market(5, messages))


def book_answer(request: list[bytes], sequence: int, market_seq: int, bids: list) -> list[bytes]:
    token, _ = wire.decode_snapshot_request(request[1])
    return [wire.SNAPSHOT, wire.encode_snapshot(5, token, L2, sequence, {
        "channel": "l2", "symbol": "BTC", "type": "snapshot", "version": 1, "depth": None,
        "market_seq": market_seq, "seq": 1, "ts": 0, "bids": bids, "asks": []})]


@pytest.mark.parametrize("bad", [
    {"channel": "l2", "symbol": "BTC", "type": "reset", "first_seq": 3, "last_seq": 3},
    delta(9, 9, []), {"channel": "l2"}, delta(3, 3, [["x", "1", 1]]), delta(3, 3, [5]),
])
def test_a_book_that_a_message_does_not_fit_gets_a_snapshot(bad):
    following = Following("ipc://x", [L2], 1.0)
    (request,) = following.requests(0.0)
    following.take_answer(book_answer(request, 1, 1, [["99", "1", 1]]))
    (update,) = following.take(book_message(2, delta(2, 2, [["98", "4", 2]])))
    assert update.sequence == 2
    assert following.book(L2).bids == [["99", "1", 1], ["98", "4", 2]]
    assert following.take(book_message(3, bad)) == []
    assert not following.is_synced(L2) and following.gap_count == 1
    (request,) = following.requests(0.0)
    following.take_answer(book_answer(request, 3, 9, [["97", "1", 1]]))
    assert following.book(L2).bids == [["97", "1", 1]] and following.is_synced(L2)


def test_a_snapshot_that_is_none_is_not_taken():
    following = Following("ipc://x", [L2], 1.0)
    (request,) = following.requests(0.0)
    token, _ = wire.decode_snapshot_request(request[1])
    bad = wire.encode_snapshot(5, token, L2, 1, {"channel": "l2"})
    assert following.take_answer([wire.SNAPSHOT, bad]) == []
    assert not following.is_synced(L2) and following.malformed_count == 1
    with pytest.raises(ValueError, match=r"account\.7\. is not the topic of a book"):
        Following("ipc://x", [TOPIC], 1.0).book(TOPIC)


@given(st.lists(st.binary(max_size=60), max_size=4))
def test_noise_does_no_harm(frames):
    following = Following("ipc://x", [TOPIC, L2], 1.0)
    try:
        assert following.take(frames) == []
        following.take_answer(frames)
    except RunError as error:
        assert "version" in str(error)


def test_many_topics_that_miss_nothing_cost_nothing():
    """Only what waits for a snapshot is looked at."""
    names = [f"account.{number}." for number in range(1, 5001)]
    following = Following("ipc://x", names, 1.0)
    while following.ask_at is not None:
        for request in following.requests(0.0):
            token, name = wire.decode_snapshot_request(request[1])
            following.take_answer([wire.SNAPSHOT, wire.encode_snapshot(5, token, name, 0, {})])
    assert following.requests(100.0) == [] and following.ask_at is None
    assert following._waiting == {} and following._asked == {}
    following.unfollow(names[0])
    following.take(wire.make_frames(names[1].encode(), 2, wire.encode_events(5, 1, 1, [])))
    assert list(following._waiting) == [names[1]]


def test_no_more_is_asked_for_at_once_than_a_server_keeps():
    names = [f"account.{number}." for number in range(1, 251)]
    following = Following("ipc://x", names, 1.0)
    first = following.requests(0.0)
    assert len(first) == ASKED_MAX and following.requests(0.5) == []
    assert following.ask_at == 1.0
    for request in first[:30]:
        token, name = wire.decode_snapshot_request(request[1])
        following.take_answer([wire.SNAPSHOT, wire.encode_snapshot(5, token, name, 0, {})])
    assert following.ask_at == 0.0 and len(following.requests(0.5)) == 30
    while following.ask_at is not None:  # the others were lost, and are asked for again
        for request in following.requests(following.ask_at):
            token, name = wire.decode_snapshot_request(request[1])
            following.take_answer([wire.SNAPSHOT, wire.encode_snapshot(5, token, name, 0, {})])
    assert all(map(following.is_synced, names))
