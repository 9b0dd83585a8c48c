"""Primaries that are killed under load: the standby has everything that was acknowledged, once."""

from __future__ import annotations

import random
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgpack
import numpy as np
import pytest
import zmq
from support import CORES
from support.journals import segments
from support.proxy import Proxy
from support.senders import Sender
from support.standbys import Standby, client_of, wait_until

from engine import Exchange
from engine.batches import deposit_commands
from engine.client import Client
from engine.endpoints import free_tcp_endpoint
from engine.journal import JournalReader, Kind, Storage
from engine.journal.layout import SCHEMA_VERSION, make_batch, read_batch_header, split_batches
from engine.replication import messages
from engine.replication.history import History
from engine.serving.recovery import replay

CORE = CORES[-1]
ASSET = {"cmd": "asset", "asset": "USDT", "decimals": 6}
DEPOSIT = {"cmd": "deposit", "account": 1, "asset": "USDT", "amount": "1"}


class Pair:
    """Two servers of which one leads and the other one follows."""

    def __init__(self, folder: Path) -> None:
        self.leader, self.follower = (Standby(folder / name, CORE) for name in ("one", "other"))
        self.options = ("--standby-required", "1", "--checkpoint", "200", "--snapshot", "700")
        self.diverged_count = 0

    def start(self) -> None:
        self.leader.lead(*self.options)
        self.follower.follow(self.leader.replication, *self.options)

    def client(self, name: str) -> Client:
        return client_of(self.leader, self.follower, name=name)

    def fail_over(self) -> None:
        """Kill the leader, let the follower take over, and bring the other one back behind it."""
        self.leader.kill()
        self.follower.take_over()
        self.leader, self.follower = self.follower, self.leader
        self.follower.follow(self.leader.replication, *self.options)
        wait_until(lambda: self.follower.process.poll() is not None or any(
            "a standby follows from" in line for line in self.leader.lines), self.leader.lines)
        if self.follower.process.poll() is None:
            return
        # It had made something durable that nobody else has, and nobody was answered.
        assert self.follower.wait() == 2
        assert "that are not in this journal" in self.follower.lines[-1]
        self.diverged_count += 1
        shutil.rmtree(self.follower.journal)
        self.follower.follow(self.leader.replication, *self.options)

    def close(self) -> None:
        for each in (self.leader, self.follower):
            each.close()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    it = Pair(tmp_path)
    yield it
    it.close()


def replayed(server: Standby) -> Exchange:
    """The state that a journal leads to; every checkpoint in it is compared."""
    exchange = Exchange(core=CORE)
    replay(JournalReader(str(server.journal), Storage()).batches(), exchange)
    exchange.check()
    return exchange


def take_over_again_and_again(pair: Pair, kills: int, seed: int) -> None:
    dice = random.Random(seed)
    pair.start()
    senders = [Sender(pair, f"desk-{n}", seed + n, opening=n == 0) for n in range(2)]
    senders[0].start()
    assert senders[0].has_opened.wait(60)
    senders[1].start()
    terms, acknowledged = [pair.leader.term], [0]
    for _ in range(kills):
        time.sleep(dice.uniform(0.01, 0.5))
        pair.fail_over()
        terms.append(pair.leader.term)
        done = [dict(sender.acknowledged) for sender in senders]
        entries = pair.leader.entries()
        for sender, known in zip(senders, done, strict=True):
            sender.check(entries, known)
        acknowledged.append(sum(map(len, done)))
        replayed(pair.leader)
    for sender in senders:
        sender.is_over.set()
    for sender in senders:
        sender.join(60)
        assert sender.error is None and len(sender.sent) == len(sender.acknowledged)
    ended = pair.leader.stop()
    wait_until(lambda: pair.follower.last_seq >= int(ended["seq"]), pair.follower.lines)
    rows = pair.follower.stop()
    for server in (pair.leader, pair.follower):
        entries = server.entries()
        for sender in senders:
            sender.check(entries)
            assert len(sender.acknowledged) == sum(e.client == sender.client_name for e in entries)
        assert replayed(server).state_hash() == ended["state_hash"] == rows["state_hash"]
    assert (ended["drift"], rows["drift"]) == ("0", "0")
    assert terms == list(range(1, kills + 2))
    assert acknowledged[-1] > acknowledged[1] > 0


def test_killed_and_taken_over_again_and_again(pair):
    take_over_again_and_again(pair, kills=10, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(200, 210))
def test_taken_over_many_times(pair, seed):
    take_over_again_and_again(pair, kills=20, seed=seed)


def test_a_standby_that_is_killed_under_load_catches_up(pair):
    pair.options = ("--checkpoint", "200")  # the primary does not wait for it
    pair.start()
    sender = Sender(pair, "desk", 7, opening=True)
    sender.start()
    assert sender.has_opened.wait(60)
    for wait_s in (0.3, 0.05, 0.2):
        time.sleep(wait_s)
        pair.follower.kill()
        time.sleep(0.1)
        pair.follower.follow(pair.leader.replication, *pair.options)
    sender.is_over.set()
    sender.join(60)
    assert sender.error is None
    pair.follower.wait_for_seq(pair.leader.last_seq)
    ended = pair.leader.stop()
    wait_until(lambda: pair.follower.batches() == pair.leader.batches(), pair.follower.lines)
    assert pair.follower.stop()["state_hash"] == ended["state_hash"]


def test_a_line_that_was_dead_heals(pair):
    pair.leader.replication = free_tcp_endpoint()
    proxy = Proxy(pair.leader.replication)
    try:
        pair.leader.lead("--standby-required", "1", "--standby-timeout", "0.5")
        pair.follower.follow(proxy.endpoint)
        with pair.leader.client() as client:
            client.send_many([ASSET, {"cmd": "account", "account": 1}])
            proxy.is_cut = True
            threading.Timer(2.5, lambda: setattr(proxy, "is_cut", False)).start()
            assert client.send(DEPOSIT).seq == 3  # once the line is there again
        pair.leader.wait_for("seq 3 was not acknowledged by 1 standbys within 0.5 s")
        pair.leader.wait_for("standbys have everything again, to seq 3")
        pair.follower.wait_for("asking again")
        assert pair.follower.last_seq == 3
        pair.leader.stop()
        wait_until(lambda: pair.follower.batches() == pair.leader.batches(), pair.follower.lines)
    finally:
        proxy.close()


def wait_for_follow(socket: zmq.Socket[bytes]) -> tuple[bytes, messages.FollowMessage]:
    """The next request for a stream, and who asks."""
    while True:
        assert socket.poll(30_000)
        peer, kind, payload = socket.recv_multipart()
        if kind == messages.FOLLOW:
            return peer, messages.decode_follow(payload)


@pytest.mark.parametrize("what", ["hash", "bytes", "order"])
def test_a_primary_that_sends_something_else_is_noticed(pair, what):
    """The primary is the test's own: no server of ours would say such things."""
    journal_id, standby = 77, pair.follower
    commands = [make_batch(
        Kind.COMMANDS, journal_id, seq, 0, 1, msgpack.packb(
            [None, "me", seq, {**ASSET, "asset": f"A{seq}"}])) for seq in (1, 2, 3)]
    checkpoint = make_batch(Kind.CHECKPOINT, journal_id, 2, 0, 0, msgpack.packb(
        {"seq": 2, "ts": 0, "state_hash": "0" * 32, "reason": "interval"}))
    sent = {"hash": [*commands[:2], checkpoint], "bytes": [commands[0], b"nonsense" * 20],
            "order": [commands[0], commands[2]]}[what]
    with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
        endpoint = f"tcp://127.0.0.1:{socket.bind_to_random_port('tcp://127.0.0.1')}"
        standby.follow(endpoint)
        peer, asked = wait_for_follow(socket)
        assert (asked.journal_id, asked.last_seq) == (0, 0)
        stream = messages.StreamMessage(
            asked.session, journal_id, SCHEMA_VERSION, History(), 0, 0)
        socket.send_multipart([peer, messages.STREAM, messages.encode_stream(stream)])
        socket.send_multipart([
            peer, messages.BATCHES, messages.encode_numbers(asked.session, 1), b"".join(sent)])
        if what == "hash":
            assert standby.wait() == 1
            assert "this standby differs from its primary: " in standby.lines[-1]
            assert ": seq 2: the journal says state hash 000" in standby.lines[-1]
            assert "they last agreed at seq 0" in standby.lines[-1]
            return
        standby.wait_for("asking again")
        _, again = wait_for_follow(socket)  # from what was good
        assert (again.journal_id, again.last_seq) == (journal_id, 1)
        assert standby.process.poll() is None and standby.last_seq == 1
    assert standby.stop()["seq"] == "1"


def test_so_many_snapshots_are_kept_and_what_they_need(pair, shell):
    pair.leader.lead("--retain", "3", "--snapshot", "2000")
    with pair.leader.client() as client:
        client.send_many([ASSET, {"cmd": "account", "account": 1}])
        for _ in range(25):
            client.send_many([DEPOSIT] * 1000)
    pair.leader.stop()
    kept = sorted(pair.leader.journal.glob("snapshots/*.snapshot"))
    assert len(kept) == 3
    first = int(segments(pair.leader.journal)[0].name[:20])
    assert 1 < first <= int(kept[0].name[:20]) + 1  # a segment may begin right behind it
    done = shell.run("verify", str(pair.leader.journal))
    assert done.code == 0, done.err
    assert done.figures["seq"] == "25002"


class SlowStandby:
    """A standby of the test's own: it is there, and takes what is sent only when told to.

    Parameters
    ----------
    endpoint : str
        Of the primary.
    """

    def __init__(self, endpoint: str) -> None:
        self.last_seq = self._session = self._number = 0
        self.kinds: set[bytes] = set()
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.connect(endpoint)

    def follow(self) -> None:
        """Ask for the stream, from behind what it has; as if anew, where it has asked before."""
        self._session += 1
        self._number = 0
        self._socket.send_multipart([messages.FOLLOW, messages.encode_follow(
            messages.FollowMessage(self._session, 0, self.last_seq, History()))])

    def acknowledge(self) -> None:
        """Say how far it is; if it says nothing for five seconds, it has gone."""
        self._socket.send_multipart([messages.ACKNOWLEDGE, messages.encode_numbers(
            self._session, self._number, self.last_seq)])

    def take_until(self, last_seq: int) -> None:
        """Take what was sent; each command must follow the one before."""
        while self.last_seq < last_seq:
            assert self._socket.poll(30_000)
            kind, payload, *data = self._socket.recv_multipart()
            self.kinds.add(kind)
            if kind != messages.BATCHES:
                continue
            session, number = messages.decode_numbers(payload, 2)
            if session != self._session:
                continue  # sent before it asked anew
            self._number = number
            for raw in split_batches(data[0]):
                header = read_batch_header(raw, 0)
                if header is not None and header.kind == Kind.COMMANDS:
                    assert header.seq == self.last_seq + 1
                    self.last_seq += header.command_count
            self.acknowledge()

    def close(self) -> None:
        """Go away."""
        self._socket.close(linger=0)
        self._context.term()


def test_what_a_connected_standby_needs_is_kept(pair):
    """The primary lets go only of what the standby that is furthest behind has acknowledged."""
    leader, first = pair.leader, f"{1:020d}.journal"
    deposits = deposit_commands(np.full(2000, 1), 0, np.ones(2000, np.int64))
    leader.lead("--retain", "2", "--snapshot", "3000")
    standby = SlowStandby(leader.replication)

    def send() -> None:
        standby.acknowledge()
        client.send_packed(deposits)

    def snapshots_are_later() -> bool:
        """Both that are kept are behind the first segment: they need it no more."""
        send()
        done = [int(line.split()[3].rstrip(":")) for line in leader.lines
                if line.startswith("snapshot of seq")]
        begins = [int(path.name[:20]) for path in segments(leader.journal)]
        return begins[0] > 1 or (len(done) > 1 and len(begins) > 1 and done[-2] > begins[1] + 1)

    def has_let_go() -> bool:
        send()
        return segments(leader.journal)[0].name != first

    try:
        with leader.client() as client:
            client.send_many([ASSET, {"cmd": "account", "account": 1}])
            standby.follow()
            standby.take_until(2)
            wait_until(snapshots_are_later, leader.lines)
            last_seq = client.send(DEPOSIT).seq  # answered after it has let go, if it does
            assert segments(leader.journal)[0].name == first
            assert not any("a standby has gone" in line for line in leader.lines)
            standby.follow()
            standby.take_until(last_seq)
            assert messages.SNAPSHOT not in standby.kinds
            wait_until(has_let_go, leader.lines)
    finally:
        standby.close()
