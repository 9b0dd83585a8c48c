"""Gaps of a feed that are healed: steps sent again, in order, and what cannot be had is said."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st
from support.publishers import Publisher, until
from support.servers import Server

from engine import wire
from engine.errors import InputError
from engine.feeds.steps import Step
from engine.publisher import MarkPublisher
from engine.resend import HealingSubscriber, ResendSocket, StepOrder
from engine.subscriber import MarkSubscriber

S = 1_000_000_000
START = 1_700_000_000 * S


@pytest.fixture
def place() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="eng") as folder:
        yield f"ipc://{folder}/"


# --- order ------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 12), max_size=40), st.integers(1, 4))
def test_steps_come_out_once_and_in_order(numbers, first):
    order, out, seen = StepOrder(first), [], set()
    for number in numbers:
        is_new = order.offer(number, (number, []))
        assert is_new == (number >= first and number not in seen)
        seen |= {number} if is_new else set()
        missing = order.missing
        if missing is not None:
            assert missing[0] == order.expected and missing[1] + 1 == min(
                each for each in seen if each >= order.expected)
        out += [number for number, _ in order.ready()]
    until_here = first
    while until_here in seen:
        until_here += 1
    assert out == [*range(first, until_here)] and order.expected == until_here
    assert len(order) == len([each for each in seen if each > until_here])


def test_what_is_skipped_is_counted():
    order = StepOrder()
    for number in (3, 4, 7):
        order.offer(number, (number, []))
    assert order.missing == (1, 2) and order.skip_to(6) == 3
    assert order.expected == 6 and order.missing == (6, 6) and len(order) == 1


# --- sockets ----------------------------------------------------------------------------------


@pytest.fixture
def follow(place) -> Iterator[Callable[..., tuple]]:
    """A publisher and who follows it, in this process."""
    opened: list = []

    def run(next_number: int = 1, dice: random.Random | None = None) -> tuple:
        lines: list[str] = []
        publisher = Publisher(f"{place}marks", dice=dice, resend=f"{place}resend")
        subscriber = MarkSubscriber(f"{place}marks", report=lines.append)
        healing = HealingSubscriber(
            subscriber, f"{place}resend", lambda epoch: next_number, report=lines.append)
        opened.extend((healing, subscriber, publisher))
        publisher.wait()
        return publisher, healing, lines

    yield run
    for one in opened:
        one.close()


def collect(healing: HealingSubscriber, is_over: Callable[[list], bool]) -> list[int]:
    """Step numbers until something is so; the prices have to be those of the numbers."""
    found: list[tuple[int, Step]] = []

    def go() -> bool:
        found.extend(healing.ready_steps(16))
        return is_over(found)

    until(go)
    assert [step[0] - START for _, step in found] == [number * S for number, _ in found]
    return [number for number, _ in found]


def say(publisher: Publisher, count: int) -> None:
    for _ in range(count):
        publisher.say(START + (publisher.number + 1) * S, X="100")


@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_lost_on_the_way_comes_in_order(follow, seed):
    publisher, healing, _ = follow(dice=random.Random(seed))
    say(publisher, 300)
    publisher.end()
    numbers = collect(healing, lambda found: healing.has_ended)
    assert numbers == [*range(1, 301)] and healing.is_complete
    rows = dict(healing.rows())
    assert int(rows["healed_steps"]) > 10 and rows["lost_steps"] == "0"
    assert int(rows["missing_messages"]) > 10


def test_who_comes_late_or_comes_back_gets_what_was_before(follow):
    publisher, healing, _ = follow(next_number=1501)
    for _ in range(3000):  # nobody hears these
        publisher.number += 1
        publisher._resend.keep([(START + publisher.number * S, [("X", "100", None)])])
    publisher.beat()
    assert collect(healing, lambda found: len(found) == 1500) == [*range(1501, 3001)]
    assert healing.has_ended is False and healing.lost_count == 0


def test_what_nobody_has_any_more_is_skipped_and_said(follow):
    publisher, healing, lines = follow()
    say(publisher, 2)
    publisher.number = 5  # 3 to 5 were never kept: the publisher counts them as others
    publisher._resend._newest = 5
    publisher._resend._steps.clear()
    say(publisher, 2)
    assert collect(healing, lambda found: len(found) == 4) == [1, 2, 6, 7]
    assert healing.lost_count == 3 and "steps 3 to 5 are missing, and are not sent again" in lines
    publisher.end()
    collect(healing, lambda found: healing.has_ended)
    assert not healing.is_complete


def test_nobody_answers(place):
    lines: list[str] = []
    publisher = Publisher(f"{place}marks")
    with MarkSubscriber(f"{place}marks", report=lines.append) as subscriber:
        healing = HealingSubscriber(
            subscriber, f"{place}nowhere", lambda epoch: 1, report=lines.append)
        publisher.wait()
        say(publisher, 2)
        publisher.number = 4
        say(publisher, 1)
        began = time.monotonic()
        assert collect(healing, lambda found: len(found) == 3) == [1, 2, 5]
        assert 0.4 < time.monotonic() - began < 5 and healing.lost_count == 2
        healing.close()
    publisher.close()


def test_a_restarted_publisher_begins_anew(follow):
    publisher, healing, _ = follow()
    say(publisher, 3)
    collect(healing, lambda found: len(found) == 3)
    publisher.restart()
    publisher._resend._epoch, publisher._resend._newest = publisher.epoch, 0
    publisher._resend._steps.clear()
    say(publisher, 2)
    assert collect(healing, lambda found: len(found) == 2) == [1, 2]


def test_requests_that_make_no_sense_are_refused(place):
    context = zmq.Context()
    with ResendSocket(f"{place}resend", 7) as resend, context.socket(zmq.DEALER) as dealer:
        resend.keep([(START + n, [("X", "1", None)]) for n in range(5)])
        dealer.connect(f"{place}resend")

        def ask(*frames: bytes) -> list[bytes]:
            dealer.send_multipart(frames)
            resend.answer(5000)
            assert dealer.poll(5000)
            return dealer.recv_multipart()

        for frames in ([b"x"], [wire.RESEND, b"\xc1"], [wire.COMMANDS, b""],
                       [wire.RESEND, wire.encode_resend(7, 3, 2)],
                       [wire.RESEND, wire.encode_resend(7, 0, 2)]):
            kind, payload = ask(*frames)
            assert kind == wire.REFUSED and wire.decode_refused(payload)[0] == 7
        kind, payload = ask(wire.RESEND, wire.encode_resend(7, 4, 900))
        epoch, first, steps, oldest, newest = wire.decode_resent(payload)
        assert (kind, epoch, first, len(steps), oldest, newest) == (wire.RESENT, 7, 4, 2, 1, 5)
        assert wire.decode_resent(ask(wire.RESEND, wire.encode_resend(6, 1, 5))[1])[2] == []
    context.term()


# --- processes --------------------------------------------------------------------------------


def test_a_server_that_was_killed_misses_nothing(shell, place, tmp_path: Path):
    """Two publishers whose messages get lost, and a server that is killed while they go on."""
    server = Server(tmp_path, shell.core)
    dice = random.Random(11)
    publishers = {name: Publisher(f"{place}{name}", dice=dice, resend=f"{place}{name}-again")
                  for name in "ab"}
    options = ["--stale-after", "10000"]
    for name, one in publishers.items():
        options += ["--marks", f"{name}={one.endpoint},{one.endpoint}-again"]
    server.start(*options, "--scenario", shell.scenario(X="100"))
    for one in publishers.values():
        one.wait()
    for part in range(3):
        for _ in range(60):
            for one in publishers.values():
                say(one, 1)
        if part < 2:
            server.kill()
            for one in publishers.values():
                say(one, 20)  # nobody is there
            server.start(*options)
            for one in publishers.values():
                one.wait()
    for one in publishers.values():
        one.end()
    with server.client() as client:
        until(lambda: all(row["has_ended"] for row in client.query(
            {"query": "feeds"})["sources"]))
        found = client.query({"query": "feeds"})["sources"]
    rows = server.stop()
    for one in publishers.values():
        one.close()
    assert [row["lost_steps"] for row in found] == [0, 0]
    assert all(row["healed_steps"] > 20 for row in found)
    marks = [entry for entry in server.entries() if entry.client == "feed/desk"]
    assert len(marks) == 2 * 220 and {entry.command["cmd"] for entry in marks} == {"marks"}
    assert server.replayed().state_hash() == rows["state_hash"]
    server.close()


def test_replay_sends_again(shell, place, tmp_path: Path):
    feed = tmp_path / "feed.csv"
    feed.write_text("".join(
        f"{n},100.{n % 10},1,{n},{n},{1_700_000_000_000 + n},True,True\n" for n in range(1, 2001)))
    replay = shell.start(
        "replay", str(feed), "--speed", "max", "--bind", f"{place}marks", "--resend",
        f"{place}again", "--map", "feed=X", "--symbol", "X")
    server = Server(tmp_path, shell.core)
    lines = [shell.scenario(X="100")]
    server.start("--marks", f"a={place}marks,{place}again", "--stale-after", "1000",
                 "--scenario", lines[0])
    with server.client() as client:
        until(lambda: client.query({"query": "feeds"})["sources"][0]["has_ended"], 30)
        [row] = client.query({"query": "feeds"})["sources"]
    done = shell.finish(replay)
    assert done.code == 0, done.err
    assert row["steps"] == int(done.figures["steps"]) and row["lost_steps"] == 0
    server.stop()
    server.close()


def test_a_publisher_that_cannot_send_again_leaves_nothing_open(place):
    with ResendSocket(f"{place}taken", 1):
        with pytest.raises(InputError, match="already in use") as refused:
            MarkPublisher(f"{place}marks", resend=f"{place}taken")
        with MarkPublisher(f"{place}marks"):
            assert "taken" in str(refused.value)
