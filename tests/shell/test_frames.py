"""Messages through libzmq itself: the same as pyzmq sends and receives, on real sockets."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import zmq

from engine.packing import Frames, Poller, frames_of, plain


@pytest.fixture
def context() -> Iterator[zmq.Context[Any]]:
    context: zmq.Context[Any] = zmq.Context()
    yield context
    context.destroy(linger=0)


def pair(context: zmq.Context[Any], one: int, other: int) -> tuple[Any, Any]:
    """Two sockets that are connected."""
    first, second = context.socket(one), context.socket(other)
    first.bind("inproc://here")
    if other == zmq.SUB:
        second.subscribe(b"")
    second.connect("inproc://here")
    if one == zmq.XPUB:
        assert first.recv() == b"\x01"
    return first, second


MESSAGES: list[list[bytes]] = [
    [b"one"], [b""], [b"marks.", (7).to_bytes(8, "big"), b"x" * 33], [b"", b"", b""],
    [bytes([number]) for number in range(12)], [b"large", os.urandom(300_000)]]


def test_it_is_compiled() -> None:
    assert Frames.__module__ == "engine.packing.frames"
    assert Poller.__module__ == "engine.packing.frames"


@pytest.mark.parametrize("kind", [Frames, plain.Frames])
def test_messages_arrive_as_they_were_sent(context: zmq.Context[Any], kind: Any) -> None:
    near, far = pair(context, zmq.PAIR, zmq.PAIR)
    frames = kind(far)
    assert not frames.has_news() and frames.receive(5) == []
    for message in MESSAGES:
        near.send_multipart(message)
    assert frames.has_news()
    assert frames.receive(2) == MESSAGES[:2]
    assert frames.receive(0) == []
    assert frames.receive(100) == MESSAGES[2:]
    assert not frames.has_news()


@pytest.mark.parametrize("kind", [Frames, plain.Frames])
def test_published_messages_are_three_frames(context: zmq.Context[Any], kind: Any) -> None:
    publisher, listener = pair(context, zmq.XPUB, zmq.SUB)
    frames = kind(publisher)
    for sequence, payload in ((1, b""), (2**64 - 1, b"y" * 100_000), (258, b"z")):
        frames.send(b"events.", sequence, payload)
        assert listener.recv_multipart() == [
            b"events.", sequence.to_bytes(8, "big"), payload]


@pytest.mark.parametrize("kind", [Frames, plain.Frames])
def test_a_closed_socket_is_an_error(context: zmq.Context[Any], kind: Any) -> None:
    _, far = pair(context, zmq.PAIR, zmq.PAIR)
    frames = kind(far)
    far.close()
    for use in (frames.has_news, lambda: frames.receive(1), lambda: frames.send(b"a", 1, b"b")):
        with pytest.raises(zmq.ZMQError):
            use()


def test_a_message_that_cannot_be_sent_is_an_error(context: zmq.Context[Any]) -> None:
    _, listener = pair(context, zmq.XPUB, zmq.SUB)
    with pytest.raises(zmq.ZMQError):
        frames_of(listener).send(b"events.", 1, b"")


def test_what_only_behaves_like_a_socket_is_taken() -> None:
    class Like:
        def getsockopt(self, option: int) -> int:
            return zmq.POLLIN

    like: Any = Like()
    assert isinstance(frames_of(like), plain.Frames) and frames_of(like).has_news()


def test_the_poller_tells_of_sockets_and_files(context: zmq.Context[Any]) -> None:
    near, far = pair(context, zmq.PAIR, zmq.PAIR)
    reader, writer = os.pipe()
    poller = Poller()
    poller.register(reader, zmq.POLLIN)
    poller.register(far, zmq.POLLIN)
    assert poller.poll(0) == []
    began = time.monotonic()
    assert poller.poll(30) == [] and time.monotonic() - began >= 0.025
    os.write(writer, b"x")
    assert poller.poll(1000) == [(reader, zmq.POLLIN)]
    near.send(b"one")
    assert poller.poll(1000) == [(far, zmq.POLLIN)]  # as long as it is not received
    assert poller.poll(1000) == [(far, zmq.POLLIN)]
    far.recv()
    os.read(reader, 1)
    assert poller.poll(0) == []
    poller.unregister(far)
    near.send(b"two")
    assert poller.poll(0) == []
    with pytest.raises(KeyError):
        poller.unregister(far)
    with pytest.raises(ValueError, match="only to be read"):
        poller.register(near, zmq.POLLOUT)
    for number in (reader, writer):
        os.close(number)


def test_the_poller_waits_on_any_number_of_sockets(context: zmq.Context[Any]) -> None:
    pairs, poller = [], Poller()
    for number in range(100):
        near, far = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
        near.bind(f"inproc://{number}")
        far.connect(f"inproc://{number}")
        poller.register(far, zmq.POLLIN)
        pairs.append((near, far))
    assert poller.poll(0) == []
    for near, far in (pairs[0], pairs[99], pairs[63], pairs[64]):
        near.send(b"one")
        assert poller.poll(20_000) == [(far, zmq.POLLIN)]
        far.recv()


def test_the_poller_wakes_for_a_message_from_elsewhere(context: zmq.Context[Any]) -> None:
    near, far = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
    port = far.bind_to_random_port("tcp://127.0.0.1")
    near.connect(f"tcp://127.0.0.1:{port}")
    poller = Poller()
    poller.register(far, zmq.POLLIN)
    for number in range(20):
        threading.Timer(0.01, near.send, [b"%d" % number]).start()
        assert poller.poll(20_000) == [(far, zmq.POLLIN)]
        assert far.recv() == b"%d" % number


def test_a_signal_ends_the_waiting(context: zmq.Context[Any]) -> None:
    _, far = pair(context, zmq.PAIR, zmq.PAIR)
    poller, heard = Poller(), []
    poller.register(far, zmq.POLLIN)
    before = signal.signal(signal.SIGALRM, lambda *_: heard.append(1))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        assert poller.poll(20_000) == []
    finally:
        signal.signal(signal.SIGALRM, before)
    assert heard == [1]
