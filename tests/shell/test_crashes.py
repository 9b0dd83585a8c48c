"""Servers that are killed while clients send: nothing acknowledged is lost, nothing done twice."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import CORES
from support.senders import Sender
from support.servers import Server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    it = Server(tmp_path, CORES[-1])
    yield it
    it.close()


def crash(server: Server, kills: int, seed: int) -> None:
    dice = random.Random(seed)
    server.start("--checkpoint", "500", "--snapshot", "700")
    senders = [Sender(server, f"desk-{n}", seed + n, opening=n == 0) for n in range(2)]
    senders[0].start()
    assert senders[0].has_opened.wait(30)
    senders[1].start()
    counts, epochs = [], [server.epoch]
    for _ in range(kills):
        time.sleep(dice.uniform(0.01, 0.3))
        server.kill()
        entries = server.entries()
        counts.append(len(entries))
        for sender in senders:
            sender.check(entries)
        exchange = server.replayed()
        exchange.check()
        server.start("--checkpoint", "500", "--snapshot", "700")
        assert server.recovered == (len(entries), exchange.state_hash())
        epochs.append(server.epoch)
    for sender in senders:
        sender.is_over.set()
    for sender in senders:
        sender.join(30)
        assert sender.error is None and len(sender.sent) == len(sender.acknowledged)
    rows = server.stop()
    entries = server.entries()
    for sender in senders:
        sender.check(entries)
        assert len(sender.acknowledged) == sum(e.client == sender.client_name for e in entries)
    assert (rows["drift"], rows["state_hash"]) == ("0", server.replayed().state_hash())
    assert counts == sorted(counts) and counts[-1] > counts[0] and epochs == sorted(set(epochs))


def test_killed_again_and_again(server):
    crash(server, kills=15, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 150))
def test_killed_many_times(server, seed):
    """A thousand kills in all. Each replays the whole journal, so runs are short."""
    crash(server, kills=20, seed=seed)


def test_a_server_that_is_held_answers_when_it_goes_on(server):
    """SIGSTOP for longer than clients wait: they ask again and again, and nothing is done twice."""
    server.start("--clock", "wall")
    senders = [Sender(server, f"desk-{n}", n, opening=n == 0) for n in range(2)]
    senders[0].start()
    assert senders[0].has_opened.wait(30)
    senders[1].start()
    for _ in range(3):
        os.kill(server.process.pid, signal.SIGSTOP)
        time.sleep(0.7)  # three times as long as an attempt
        os.kill(server.process.pid, signal.SIGCONT)
        answered = [len(sender.acknowledged) for sender in senders]
        deadline = time.monotonic() + 20
        while [len(sender.acknowledged) for sender in senders] == answered:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    for sender in senders:
        sender.is_over.set()
    for sender in senders:
        sender.join(30)
        assert sender.error is None and len(sender.sent) == len(sender.acknowledged)
    rows = server.stop()
    entries = server.entries()
    for sender in senders:
        sender.check(entries)
    stamps = [entry.stamp for entry in entries]
    assert stamps == sorted(stamps) and None not in stamps
    assert rows["state_hash"] == server.replayed().state_hash()
