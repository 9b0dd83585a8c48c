"""A primary and its standbys as processes: catching up, taking over, being told apart."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import CORES
from support.journals import segments
from support.standbys import Standby, client_of, wait_until

from engine.client import Client, NoAnswer
from engine.keys import make_key_files, read_client_keys

ASSET = {"cmd": "asset", "asset": "USDT", "decimals": 6}
ACCOUNT = {"cmd": "account", "account": 1}
CORE = CORES[-1]


def deposit(amount: int) -> dict:
    return {"cmd": "deposit", "account": 1, "asset": "USDT", "amount": str(amount)}


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[[str], Standby]]:
    """Makes servers with a folder of their own; ends them afterwards."""
    made = []

    def make(name: str, core: str = CORE) -> Standby:
        made.append(Standby(tmp_path / name, core))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def primary(make) -> Standby:
    return make("primary")


@pytest.fixture
def standby(make) -> Standby:
    return make("standby")


def fill(server: Standby, count: int, name: str = "desk") -> None:
    """Send commands, each a batch."""
    with server.client(name) as client:
        if server.last_seq == 0:
            client.send_many([ASSET, ACCOUNT])
        for _ in range(count):
            assert client.send(deposit(1)).code == "accepted"


# --- catching up and keeping step -----------------------------------------------------------


@pytest.mark.parametrize("core", CORES)
def test_a_standby_has_what_the_primary_has(make, core):
    primary, standby = make("primary", core), make("standby", core)
    primary.lead("--checkpoint", "3")
    fill(primary, 10)
    standby.follow(primary.replication)
    standby.wait_for_seq(12)
    fill(primary, 10)
    standby.wait_for_seq(22)
    ended = primary.stop()
    wait_until(lambda: standby.batches() == primary.batches(), standby.lines)
    rows = standby.stop()
    assert (rows["seq"], rows["drift"]) == ("22", "0")
    assert rows["state_hash"] == ended["state_hash"] == standby.replayed().state_hash()
    assert standby.batches() == primary.batches()


def test_a_standby_that_was_killed_catches_up(primary, standby):
    primary.lead("--checkpoint", "3")
    standby.follow(primary.replication)
    for turn in range(3):
        fill(primary, 15)
        if turn == 1:
            standby.wait_for_seq(17)
        standby.kill()
        fill(primary, 5)
        standby.follow(primary.replication)
    standby.wait_for_seq(62)
    primary.stop()
    wait_until(lambda: standby.batches() == primary.batches(), standby.lines)


def test_it_waits_for_a_primary_that_comes_and_goes(primary, standby):
    standby.follow(primary.replication)
    primary.lead()
    fill(primary, 3)
    standby.wait_for_seq(5)
    primary.kill()
    primary.lead()
    fill(primary, 3)
    standby.wait_for_seq(8)
    primary.stop()
    wait_until(lambda: standby.batches() == primary.batches(), standby.lines)
    assert standby.stop()["seq"] == "8"


def test_segments_that_are_gone_come_as_a_snapshot(primary, standby, shell):
    primary.lead("--retain", "snapshots", "--snapshot", "4000")
    standby.follow(primary.replication)
    with primary.client() as client:
        client.send_many([ASSET, ACCOUNT])
        standby.wait_for_seq(2)
        standby.kill()
        time.sleep(0.1)
        # Until the primary has let go of its first segment; nobody needs it any more.
        deadline = time.monotonic() + 60
        while segments(primary.journal)[0].name.startswith(f"{1:020d}"):
            client.send_many([deposit(1)] * 1000)
            assert time.monotonic() < deadline
        standby.follow(primary.replication, "--snapshot", "4000")
        last = client.send(deposit(1)).seq
        standby.wait_for("goes on from the snapshot of seq")
        standby.wait_for_seq(last)
    ended = primary.stop()
    rows = standby.stop()
    assert rows["state_hash"] == ended["state_hash"] and int(rows["seq"]) == last
    done = shell.run("verify", str(standby.journal))
    assert done.code == 0, done.err
    assert done.figures["state_hash"] == ended["state_hash"]
    assert int(done.figures["first_seq"]) > 1
    standby.follow(primary.replication)  # it comes back from its own files
    assert standby.recovered == (last, ended["state_hash"])


# --- taking over ------------------------------------------------------------------------------


@pytest.mark.parametrize("by_signal", [False, True])
def test_taking_over_goes_on_to_the_bit(primary, standby, by_signal):
    primary.lead("--standby-required", "1")
    standby.follow(primary.replication)
    with primary.client() as client:
        before = client.send_many([ASSET, ACCOUNT, deposit(5)])
        epoch = client.epoch
    primary.kill()
    rows = standby.take_over(by_signal)
    assert standby.term == 2
    if rows:
        assert rows == {"term": "2", "epoch": str(standby.epoch), "seq": "3"}
    with standby.client() as client:
        assert client.hello() == 3 and client.epoch == standby.epoch > epoch
        client.next_request = 1
        assert client.send_many([ASSET, ACCOUNT, deposit(5)]) == before
        assert client.send(deposit(1)).seq == 4
    ended = standby.stop()
    assert (ended["seq"], ended["drift"]) == ("4", "0")
    assert ended["state_hash"] == standby.replayed().state_hash()


def test_the_old_primary_does_not_come_back_as_if_nothing_had_happened(primary, standby):
    primary.lead()
    standby.follow(primary.replication)
    fill(primary, 3)
    standby.wait_for_seq(5)
    primary.kill()
    standby.take_over()
    fill(standby, 2, "other")
    primary.start("--replication", primary.replication, "--fence-wait", "10", wait=False)
    assert primary.wait() == 2
    assert primary.lines[-1] == (
        f"error: {primary.journal}: superseded: a standby took over after seq 5 and began term 2, "
        "this server is of term 1 and at seq 5; start it with --follow")
    # It remembers, whether the new one is there or not, and with any options but these.
    primary.start(wait=False)
    assert primary.wait() == 2
    assert "a standby took over after seq 5 and began term 2; start this one with --follow" in (
        primary.lines[-1])
    primary.follow(standby.replication)
    fill(standby, 2, "other")
    primary.wait_for_seq(9)
    standby.kill()
    assert primary.take_over()["term"] == "3"
    with client_of(standby, primary) as client:
        assert client.send(deposit(1)).seq == 10


def test_a_primary_that_is_replaced_while_it_serves_ends(primary, standby):
    primary.lead()
    standby.follow(primary.replication)
    fill(primary, 3)
    standby.wait_for_seq(5)
    assert standby.take_over()["term"] == "2"
    assert primary.wait() == 1
    assert "superseded: a standby took over after seq 5 and began term 2" in primary.lines[-1]
    fill(standby, 1, "other")


def test_what_only_the_old_primary_had_is_not_mixed_in(primary, standby):
    primary.lead()
    standby.follow(primary.replication)
    fill(primary, 3)
    standby.wait_for_seq(5)
    standby.kill()
    fill(primary, 4)
    primary.kill()
    standby.follow(primary.replication)
    standby.take_over()
    before = primary.batches()
    primary.start("--follow", standby.replication, wait=False)
    assert primary.wait() == 2
    assert primary.lines[-1].endswith(
        "refuses this standby: it has 4 commands, seq 6 to 9, that are not in this journal")
    assert primary.batches() == before


def test_a_foreign_journal_is_refused(primary, standby):
    standby.lead()
    fill(standby, 1)
    standby.stop()
    before = standby.batches()
    primary.lead()
    fill(primary, 3)
    standby.start("--follow", primary.replication, wait=False)
    assert standby.wait() == 2
    assert "the primary refuses this standby: it has journal " in standby.lines[-1]
    assert standby.batches() == before
    fill(primary, 1)


def test_one_that_has_nothing_does_not_take_over(primary, standby, shell):
    standby.follow(primary.replication)
    done = shell.run("promote", standby.replication)
    assert done.code == 1
    assert done.only_error.endswith("told to take over, but nothing has come from a primary yet")
    assert standby.process.poll() is None and not list(standby.journal.glob("*.journal"))
    primary.lead()
    done = shell.run("promote", primary.replication)
    assert done.code == 1
    assert done.only_error.endswith("not a standby: it is the primary of term 1")
    done = shell.run("promote", standby.endpoint, "--timeout", "0.2")
    assert done.code == 1 and done.only_error.endswith("no answer for 0.2 s")


def test_a_port_in_use_is_no_takeover(primary, standby):
    primary.lead()
    standby.follow(primary.replication, "--events", primary.endpoint)
    fill(primary, 3)
    standby.wait_for_seq(5)
    standby.process.send_signal(signal.SIGUSR1)
    assert standby.wait() == 2
    assert "address already in use" in standby.lines[-1]
    fill(primary, 1)  # the primary has heard nothing
    assert standby.batches() == primary.batches()[:-1]


# --- waiting for standbys ---------------------------------------------------------------------


def test_nothing_is_answered_that_no_standby_has(primary, standby):
    primary.lead("--standby-required", "1", "--standby-timeout", "0.3", "--events", primary.events)
    with Client(primary.endpoint, "desk", timeout_s=1.0, retry_s=0.2) as client:
        with pytest.raises(NoAnswer):
            client.send(ASSET)
        primary.wait_for(
            "seq 1 was not acknowledged by 1 standbys within 0.3 s: nothing is answered until")
        standby.follow(primary.replication)
        primary.wait_for("standbys have everything again, to seq 1")
        assert client.send(ASSET).seq == 1
        assert standby.last_seq == 1
        standby.kill()
        with pytest.raises(NoAnswer):
            client.send(ACCOUNT)
    primary.process.send_signal(signal.SIGTERM)
    assert primary.wait() == 1
    assert primary.lines[-1] == "error: stopped while seq 2 was waiting for a standby"
    primary.lead()
    assert primary.recovered[0] == 2  # it was in the journal, and in nobody's answer


def test_going_on_without_is_said(primary, standby):
    primary.lead("--standby-required", "1", "--standby-timeout", "0.3",
                 "--standby-lost", "degrade")
    with primary.client() as client:
        assert client.send(ASSET).seq == 1
        primary.wait_for("within 0.3 s: going on without")
        assert client.send(ACCOUNT).seq == 2
        assert sum("going on without" in line for line in primary.lines) == 1
        standby.follow(primary.replication)
        standby.wait_for_seq(2)
        wait_until(lambda: client.send(deposit(1)).code == "accepted" and any(
            "standbys have everything again" in line for line in primary.lines), primary.lines)
        last = client.send(deposit(1)).seq
        assert standby.last_seq == last


def test_two_standbys_both_have_it(make, primary):
    standbys = [make(f"standby-{number}") for number in range(2)]
    primary.lead("--standby-required", "2")
    for each in standbys:
        each.follow(primary.replication)
    fill(primary, 5)
    assert [each.last_seq for each in standbys] == [7, 7]
    standbys[0].kill()
    with Client(primary.endpoint, "late", timeout_s=0.5, retry_s=0.2) as client:
        with pytest.raises(NoAnswer):
            client.send(deposit(1))
    primary.kill()
    assert standbys[1].take_over()["seq"] == "8"


# --- options -------------------------------------------------------------------------------------


def test_options_that_need_others(shell, tmp_path):
    done = shell.run("serve", "--journal", str(tmp_path / "j"), "--commands", f"ipc://{tmp_path}/c",
                     "--standby-required", "1")
    assert done.code == 2
    assert done.only_error == (
        "error: --standby-required needs --replication, where standbys connect")
    done = shell.run("serve", "--scenario", "x", "--follow", f"ipc://{tmp_path}/c")
    assert done.code == 2 and "need --journal" in done.only_error


def test_with_keys_only_those_who_are_listed_follow_and_promote(primary, standby, shell, tmp_path):
    keys = {name: make_key_files(str(tmp_path / "keys"), name) for name in ("a", "b", "desk")}
    clients = tmp_path / "clients.toml"
    clients.write_text("".join(
        f'[[client]]\nname = "{name}"\nkey = "{keys[name][2].decode()}"\nrole = "{role}"\n'
        for name, role in (("a", "admin"), ("b", "admin"), ("desk", "trade"))))

    def options(name: str) -> list[str]:
        return ["--key", keys[name][1], "--clients", str(clients)]

    def promote(name: str):
        return shell.run("promote", standby.replication, "--timeout", "5" if name == "a" else "0.5",
                         "--key", keys[name][1], "--server-key", keys["b"][0])

    primary.lead("--standby-required", "1", *options("a"))
    standby.follow(primary.replication, *options("b"), "--follow-key", keys["a"][0])
    with Client(primary.endpoint, "a", timeout_s=30, keys=read_client_keys(
            keys["a"][1], keys["a"][0])) as client:
        assert client.send_many([ASSET, ACCOUNT])[1].seq == 2
    assert promote("desk").only_error.endswith("no answer for 0.5 s")
    assert promote("a").figures["term"] == "2"
    assert primary.wait() == 1 and "superseded" in primary.lines[-1]
