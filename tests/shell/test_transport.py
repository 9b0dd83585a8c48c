"""Publisher and subscriber over real sockets: what is lost, doubled or mangled is noticed."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator

import msgpack
import pytest
import zmq

from engine import wire
from engine.endpoints import bind_socket, check_endpoint, free_tcp_endpoint
from engine.errors import InputError
from engine.feed_health import FeedHealth
from engine.feeds import open_feed
from engine.publisher import (
    BATCH_STEPS_MAX,
    HIGH_WATER_MARK,
    MarkPublisher,
    Pace,
    PublishError,
)
from engine.subscriber import FeedError, MarkSubscriber

EPOCH = 1_700_000_000_000_000_000


def steps(count: int, spacing_ns: int = 1000) -> list:
    return [(EPOCH + n * spacing_ns, [("X", str(n + 1), None)]) for n in range(count)]


def marks(sequence: int, *, epoch: int = EPOCH, count: int = 1) -> list[bytes]:
    """The message that a publisher with one step a message would send."""
    body = steps(sequence - 1 + count)[sequence - 1:]
    return wire.make_frames(wire.MARKS, sequence, wire.encode_marks(epoch, sequence, body))


def end(last: int, sequence: int = 1, epoch: int = EPOCH) -> list[bytes]:
    payload = wire.encode_end(epoch, {wire.MARKS: last}, last, last)
    return wire.make_frames(wire.END, sequence, payload)


class RawFeed:
    """An XPUB socket that sends exactly the frames it is told to."""

    def __init__(self, endpoint: str) -> None:
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.XPUB)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.bind(endpoint)

    def send(self, messages: list[list[bytes]]) -> None:
        for _ in range(3):  # three subscriptions, one to each topic
            assert self.socket.poll(5000)
            self.socket.recv()
        for message in messages:
            self.socket.send_multipart(message)


@pytest.fixture
def hear(endpoint: str) -> Iterator[Callable[..., tuple[list[int], FeedHealth, list[str]]]]:
    """Send messages from a raw socket; return step numbers, health and report lines."""
    feed = RawFeed(endpoint)

    def run(*messages: list[bytes], timeout_s: float = 5) -> tuple:
        lines: list[str] = []
        with MarkSubscriber(endpoint, timeout_s=timeout_s, report=lines.append) as subscriber:
            sender = threading.Thread(target=feed.send, args=[list(messages)])
            sender.start()
            try:
                numbers = [number for number, _ in subscriber.steps()]
            finally:
                sender.join()
        return numbers, subscriber.health, lines

    yield run
    feed.socket.close()
    feed.context.term()


def test_whole_feed(hear):
    numbers, health, lines = hear(marks(1), marks(2), marks(3), end(3))
    assert (numbers, lines) == ([1, 2, 3], [])
    assert health.is_complete and (health.message_count, health.mark_count) == (3, 3)


def test_gap_is_reported_with_its_bounds(hear):
    numbers, health, lines = hear(marks(1), marks(2), marks(6), end(6))
    assert numbers == [1, 2, 6]
    assert (health.gap_count, health.missing_count, health.is_complete) == (1, 3, False)
    assert lines == ["gap in marks.: messages 3 to 5 are missing"]


def test_missed_start_is_a_gap(hear):
    _, health, lines = hear(marks(4), end(4))
    assert health.missing_count == 3 and "1 to 3" in lines[0]


def test_lost_tail_is_noticed_at_the_end_and_by_a_heartbeat(hear):
    beat = wire.encode_heartbeat(EPOCH, {wire.MARKS: 2})
    _, health, lines = hear(marks(1), wire.make_frames(wire.HEARTBEAT, 1, beat), marks(3), end(5))
    assert lines == [
        "gap in marks.: messages 2 to 2 are missing", "gap in marks.: messages 4 to 5 are missing"]
    assert (health.gap_count, health.missing_count) == (2, 3)


def test_duplicate_is_ignored_and_counted(hear):
    numbers, health, lines = hear(marks(1), marks(2), marks(2), marks(1), marks(3), end(3))
    assert numbers == [1, 2, 3] and health.duplicate_count == 2
    assert health.is_complete and "message 2 came again" in lines[0]


def test_reordered_message_is_not_applied_late(hear):
    numbers, health, lines = hear(marks(1), marks(3), marks(2), marks(4), end(4))
    assert numbers == [1, 3, 4]
    assert (health.gap_count, health.reordered_count, health.duplicate_count) == (1, 1, 0)
    assert "message 2 came late" in lines[1] and not health.is_complete


def test_restart_starts_the_sequence_again(hear):
    numbers, health, lines = hear(
        marks(1), marks(2), marks(1, epoch=EPOCH + 1), marks(2, epoch=EPOCH + 1),
        end(2, epoch=EPOCH + 1))
    assert numbers == [1, 2, 1, 2]
    assert (health.epoch_change_count, health.gap_count) == (1, 0)
    assert "restarted" in lines[0] and not health.is_complete


def test_malformed_messages_are_skipped_with_their_sequence(hear):
    bad_price = wire.encode_marks(EPOCH, 2, [(EPOCH, [("X", "abc", None)])])
    numbers, health, lines = hear(
        marks(1), wire.make_frames(wire.MARKS, 2, bad_price),
        wire.make_frames(wire.MARKS, 3, b"\xc1"), [b"marks.", b"short", b""], marks(4), end(4))
    assert numbers == [1, 4]
    assert (health.malformed_count, health.gap_count, health.is_complete) == (3, 0, False)
    assert lines[0] == "malformed: marks. message 2: not a mark price: 'abc'; skipped"
    assert "marks. message 3: not MessagePack" in lines[1]


def test_reports_are_limited(hear):
    bad = [wire.make_frames(wire.MARKS, n, b"\xc1") for n in range(1, 101)]
    _, health, lines = hear(*bad, end(100))
    assert health.malformed_count == 100 and len(lines) == 21


def test_another_version_ends_the_run(hear):
    other = msgpack.packb([2, EPOCH, 1, steps(1)])
    with pytest.raises(FeedError, match="payload version 2, this reader knows 1"):
        hear(wire.make_frames(wire.MARKS, 1, other))


def test_silence_ends_the_run(hear):
    started = time.monotonic()
    with pytest.raises(FeedError, match=r"nothing after 1 messages for 0.4 s"):
        hear(marks(1), timeout_s=0.4)
    assert time.monotonic() - started < 3


def test_no_publisher_at_all(endpoint):
    with (
        MarkSubscriber(endpoint, timeout_s=0.3, report=print) as subscriber,
        pytest.raises(FeedError, match="no message at all"),
    ):
        list(subscriber.steps())


# --- the publisher --------------------------------------------------------------------


def publish(
    endpoint: str, feed: list, speed: float | None = None, on_step: Callable[[int], None] = int
) -> tuple[list, FeedHealth, MarkPublisher]:
    """Publish a feed to one subscriber in this process."""
    got: list = []
    health: list[FeedHealth] = []

    def follow() -> None:
        with MarkSubscriber(endpoint, timeout_s=10, report=print) as subscriber:
            for number, step in subscriber.steps():
                on_step(number)
                got.append((number, step))
            health.append(subscriber.health)

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        with MarkPublisher(endpoint, stall_s=10) as publisher:
            publisher.wait_for_subscribers(1, 5)
            publisher.publish(feed, Pace(speed), lambda count: None)
    finally:
        thread.join()
    return got, health[0], publisher


def test_flat_out_replay_batches_and_loses_nothing(endpoint):
    feed = steps(20_000)
    got, health, publisher = publish(endpoint, feed)
    assert got == list(enumerate(feed, 1))
    assert health.is_complete
    assert publisher.counts.message_count == 20_000 / BATCH_STEPS_MAX + 1


def test_slow_reader_makes_the_publisher_wait(endpoint):
    # Far more than the two high-water marks and the kernel's buffers can hold.
    rows = [(f"SYMBOL{n}", "12345.678901", "12345.678901") for n in range(20)]
    feed = [(EPOCH + n, rows) for n in range(HIGH_WATER_MARK * BATCH_STEPS_MAX * 3)]
    sent_when_first_read: list[int] = []
    counts: list[int] = []

    def dawdle(number: int) -> None:
        if number == 1:
            time.sleep(0.5)
            sent_when_first_read.append(max(counts, default=0))

    got: list = []

    def follow() -> None:
        with MarkSubscriber(endpoint, timeout_s=10, report=print) as subscriber:
            for number, _ in subscriber.steps():
                dawdle(number)
                got.append(number)

    thread = threading.Thread(target=follow)
    thread.start()
    with MarkPublisher(endpoint, stall_s=10) as publisher:
        publisher.wait_for_subscribers(1, 5)
        publisher.publish(feed, Pace(None), counts.append)
    thread.join()
    assert got == list(range(1, len(feed) + 1))
    assert sent_when_first_read[0] < len(feed) * len(rows)


def test_pace_keeps_the_recorded_time(endpoint):
    feed = steps(5, spacing_ns=100_000_000)
    started = time.monotonic()
    got, health, publisher = publish(endpoint, feed, speed=2)
    assert len(got) == 5 and health.is_complete
    assert 0.2 <= time.monotonic() - started < 2
    assert publisher.counts.message_count == 6  # each step on its own, and the end


def test_heartbeats_bridge_a_pause(endpoint):
    got, health, publisher = publish(endpoint, steps(2, spacing_ns=1_200_000_000), speed=1)
    assert len(got) == 2 and health.is_complete
    assert publisher.counts.message_count >= 2 + 1 + 2


def test_the_publisher_goes_last(endpoint):
    """What lies unread on the subscriber's side would be lost if the publisher closed first."""
    context = zmq.Context()
    listener = context.socket(zmq.SUB)
    for topic in (wire.END, wire.MARKS):
        listener.setsockopt(zmq.SUBSCRIBE, topic)
    listener.connect(endpoint)
    count = 40  # fits the queues: the publisher is done long before anything is read

    def send() -> None:
        with MarkPublisher(endpoint) as publisher:
            publisher.wait_for_subscribers(1, 5)
            publisher.publish(steps(count), Pace(1e6), lambda done: None)

    thread = threading.Thread(target=send)
    thread.start()
    time.sleep(0.5)
    assert thread.is_alive()
    topics = []
    while wire.END not in topics and listener.poll(1000):
        topics.append(listener.recv_multipart()[0])
    assert thread.is_alive()
    listener.close(linger=0)
    thread.join(5)
    assert not thread.is_alive() and len(topics) > 2
    context.term()


def test_a_subscriber_that_stays_is_reported(endpoint):
    context = zmq.Context()
    with context.socket(zmq.SUB) as listener:
        listener.setsockopt(zmq.SUBSCRIBE, wire.MARKS)
        listener.connect(endpoint)
        with (
            MarkPublisher(endpoint, stall_s=0.3) as publisher,
            pytest.raises(PublishError, match=r"1 subscribers had not left 0\.3 s after"),
        ):
            publisher.wait_for_subscribers(1, 5)
            publisher.publish(steps(3), Pace(None), lambda done: None)
    context.term()


def test_nobody_comes(endpoint):
    with (
        MarkPublisher(endpoint) as publisher,
        pytest.raises(PublishError, match=r"0 of 2 subscribers at .* after 0.2 s"),
    ):
        publisher.wait_for_subscribers(2, 0.2)


def test_the_only_subscriber_leaves(endpoint):
    context = zmq.Context()
    listener = context.socket(zmq.SUB)
    listener.setsockopt(zmq.SUBSCRIBE, wire.MARKS)
    listener.connect(endpoint)

    def endless() -> Iterator:
        for number in itertools.count():
            if number == 100:
                listener.close(linger=0)
            if number > 100:
                time.sleep(0.01)
            yield EPOCH + number, [("X", "1", None)]

    with (
        MarkPublisher(endpoint) as publisher,
        pytest.raises(PublishError, match="the last subscriber left"),
    ):
        publisher.wait_for_subscribers(1, 5)
        publisher.publish(endless(), Pace(None), lambda count: None)
    context.term()


def test_batching_does_not_change_the_steps(endpoint):
    feed = list(open_feed("synthetic:seed=3,steps=200").steps())
    flat_out, _, _ = publish(endpoint, feed)
    one_by_one, _, publisher = publish(endpoint, feed, speed=1e5)
    assert flat_out == one_by_one
    assert publisher.counts.message_count > 8


# --- endpoints ------------------------------------------------------------------------


@pytest.mark.parametrize("good", [
    "tcp://127.0.0.1:5555", "tcp://localhost:1", "tcp://[::1]:65535", "tcp://127.0.0.1:*",
    "ipc:///tmp/x"])
def test_endpoints_on_this_machine(good):
    assert check_endpoint(good) == good


@pytest.mark.parametrize("bad", [
    "", "tcp://", "127.0.0.1:5555", "tcp://127.0.0.1", "tcp://127.0.0.1:0",
    "tcp://127.0.0.1:70000", "ipc://", "inproc://x", "udp://127.0.0.1:1", "tcp://127.0.0.1:x",
    "ipc:///" + "x" * 200])
def test_malformed_endpoints(bad):
    with pytest.raises(InputError, match="endpoint"):
        check_endpoint(bad)


@pytest.mark.parametrize("far", ["tcp://0.0.0.0:5555", "tcp://*:5555", "tcp://10.0.0.1:5555",
                                 "tcp://example.org:5555", "tcp://127.0.0.1.example.org:5555"])
def test_endpoints_beyond_this_machine_need_a_word(far):
    with pytest.raises(InputError):
        check_endpoint(far)
    if "*" not in far:
        assert check_endpoint(far, allow_remote=True, has_keys=True) == far


@pytest.mark.parametrize("kind", ["ipc", "tcp"])
def test_address_in_use(endpoint, kind):
    address = endpoint if kind == "ipc" else free_tcp_endpoint()
    with MarkPublisher(address):
        with pytest.raises(InputError) as caught:
            MarkPublisher(address)
        assert str(caught.value) == f"cannot bind {address}: address already in use"


def test_a_file_is_never_replaced_by_a_socket(tmp_path):
    path = tmp_path / "data"
    path.write_text("precious")
    context = zmq.Context()
    with context.socket(zmq.PUB) as socket, pytest.raises(InputError, match="a file of this name"):
        bind_socket(socket, f"ipc://{path}")
    context.term()
    assert path.read_text() == "precious"
