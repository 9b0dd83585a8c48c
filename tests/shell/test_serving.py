"""`engine serve --journal` and `engine verify` as users and clients meet them."""

from __future__ import annotations

import json
import re
import resource
import signal
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgpack
import pytest
import zmq
from support.journals import Unflushed, batch_offsets, open_journal, segments
from support.servers import Server

from engine import Exchange, cli, wire
from engine.client import Client, NoAnswer
from engine.errors import RunError
from engine.journal import JournalReader, Kind, Storage
from engine.journal.layout import make_record, pack_command
from engine.serving.agreement import AgreementRules
from engine.serving.command import serve
from engine.serving.feed_settings import FeedAddress, FeedSettings
from engine.serving.outside import Outside
from engine.serving.sessions import WINDOW
from engine.serving.settings import Settings

ASSET = {"cmd": "asset", "asset": "USDT", "decimals": 6}
ACCOUNT = {"cmd": "account", "account": 1}


def deposit(amount: int) -> dict:
    return {"cmd": "deposit", "account": 1, "asset": "USDT", "amount": str(amount)}


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with server.client() as it:
        yield it


def wallet(client: Client) -> str:
    return client.query({"query": "account", "account": 1})["balances"]["USDT"]


# --- requests and outcomes --------------------------------------------------------------


def test_a_request_is_applied_once(server, client):
    server.start()
    outcomes = client.send_many([ASSET, ACCOUNT, deposit(5), deposit(-1)])
    assert [(o.code, o.seq, o.reason) for o in outcomes] == [
        ("accepted", 1, None), ("accepted", 2, None), ("accepted", 3, None),
        ("rejected", 4, "malformed")]
    for is_restarted in (False, True):
        if is_restarted:
            server.kill()
            server.start()
        client.next_request = 1
        assert client.send_many([ASSET, ACCOUNT, deposit(5), deposit(-1)]) == outcomes
        client.next_request = 3
        assert client.send(deposit(6)).code == "request_reused"
        client.next_request = 4  # one that was taken, and one that is new the first time
        later = client.send_many([deposit(-1), deposit(2)])
        assert later[0] == outcomes[3] and (later[1].code, later[1].seq) == ("accepted", 5)
        assert wallet(client) == "7"


def test_older_requests_than_the_window_are_not_applied_again(server, client):
    server.start()
    client.send_many([ASSET, ACCOUNT])
    for _ in range(WINDOW // 100 + 1):
        client.send_many([deposit(1)] * 100)
    before = wallet(client)
    server.kill()
    server.start()
    client.next_request = 3
    outcome = client.send(deposit(1))
    assert (outcome.code, outcome.seq) == ("request_too_old", None)
    assert wallet(client) == before


def test_a_client_that_comes_back_goes_on_after_its_last_request(server):
    server.start()
    with server.client("desk-a") as one, server.client("desk-b") as other:
        assert one.send_many([ASSET, ACCOUNT])[1].seq == 2
        assert other.send(deposit(1)).seq == 3
        assert (one.next_request, other.next_request) == (3, 2)
    server.kill()
    server.start()
    with server.client("desk-a") as one:
        assert one.hello() == 2
        assert one.send(deposit(1)).seq == 4 and one.next_request == 4
        assert one.epoch == server.epoch


def test_the_same_request_twice_in_one_batch(server):
    """Both messages are waiting when the server looks; the second gets the first one's outcome."""
    server.start()
    context = zmq.Context()
    with context.socket(zmq.DEALER) as dealer:
        dealer.connect(server.endpoint)
        for _ in range(5):
            dealer.send_multipart([wire.COMMANDS, wire.encode_commands("x", 1, [ASSET, ACCOUNT])])
        answers = {dealer.recv_multipart()[1] for _ in range(5)}
    context.term()
    (answer,) = answers
    rows = wire.decode_outcomes(answer)[3]
    assert [row[:2] for row in rows] == [["accepted", 1], ["accepted", 2]]
    assert len(server.entries()) == 2


def test_what_does_not_fit_never_reaches_the_journal(server, client):
    server.start()
    bad = [{"cmd": "nonsense"}, {"cmd": "deposit"}, {"query": "totals"}, 7, None, [],
           {"cmd": "deposit", "account": 1, "asset": "USDT", "amount": 1.5},
           {"cmd": "deposit", "account": 1, "asset": "USDT", "amount": "1", "extra": 1}]
    outcomes = client.send_many([ASSET, *bad, ACCOUNT])
    assert [o.code for o in outcomes] == ["accepted", *["malformed"] * len(bad), "accepted"]
    assert "unknown cmd: 'nonsense'" in outcomes[1].detail
    assert [o.seq for o in outcomes if o.seq] == [1, 2]
    assert [entry.request for entry in server.entries()] == [1, len(bad) + 2]
    client.next_request = 1
    assert client.send_many([ASSET, *bad, ACCOUNT]) == outcomes


REFUSED = [
    ([b"nonsense.", b""], "unknown kind of message b'nonsense.'"),
    ([b"commands."], "expected 2 frames, found 1"),
    ([b"commands.", b"\xc1"], "not MessagePack"),
    ([b"commands.", msgpack.packb([2, "x", 1, [{}]])], "payload version 2"),
    ([b"commands.", msgpack.packb([1, "x", 0, [{}]])], "first request is not a number from 1"),
    ([b"commands.", msgpack.packb([1, "x", 2**63 - 1, [{}]])], "first request is not a number"),
    ([b"commands.", msgpack.packb([1, "x", 1, []])], "not a list with content"),
    ([b"commands.", msgpack.packb([1, "x", 1, [0] * 1025])], "more than 1024 commands"),
    ([b"commands.", msgpack.packb([1, "a/b", 1, [{}]])], "not a client's name: 'a/b'"),
    ([b"hello.", msgpack.packb([1, ""])], "not a client's name: ''"),
    ([b"query.", msgpack.packb([1, -1, {}])], "token is not a number"),
    ([b"query.", msgpack.packb([1, 1, {"query": "x"}])], "unknown query: 'x'"),
    ([b"query.", msgpack.packb([1, 1, {"cmd": "time"}])], "a command is not a query"),
]


def test_messages_that_cannot_be_read_are_refused(server, client):
    server.start()
    context = zmq.Context()
    with context.socket(zmq.DEALER) as dealer:
        dealer.connect(server.endpoint)
        for frames, problem in REFUSED:
            dealer.send_multipart(frames)
            kind, payload = dealer.recv_multipart()
            epoch, detail, code = wire.decode_refused(payload)
            assert kind == wire.REFUSED and epoch == server.epoch and problem in detail
            is_query = frames[0] == b"query." and "token" not in problem
            assert code == ("malformed_query" if is_query else "malformed_message")
    context.term()
    assert client.send(ASSET).seq == 1
    with pytest.raises(RunError, match="unknown query"):
        client.query({"query": "x"})


def test_nobody_there(tmp_path):
    with Client(f"ipc://{tmp_path}/x", "me", timeout_s=0.3, retry_s=0.1) as client:
        with pytest.raises(NoAnswer, match=r"no answer for 0\.3 s"):
            client.send(ASSET)


# --- start, stop, clock -------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(server, client, shell, number):
    server.start("--checkpoint", "2")
    client.send_many([ASSET, ACCOUNT, deposit(1)])
    rows = server.stop(number)
    assert (rows["commands"], rows["seq"], rows["drift"]) == ("3", "3", "0")
    done = shell.run("verify", str(server.journal), "--core", shell.core)
    assert done.code == 0, done.err
    assert done.figures["ends_clean"] == "yes"
    assert done.figures["checkpoints"] == "2" and done.figures["commands"] == "3"
    assert done.figures["state_hash"] == rows["state_hash"]
    server.start()
    assert server.recovered == (3, rows["state_hash"])
    assert server.epoch > int(rows["epoch"])


def test_every_fsync_and_both_clocks(server):
    seqs = 0
    for fsync in ("always", "batch", "off"):
        server.start("--fsync", fsync, "--clock", "wall")
        with server.client(fsync) as client:
            before = time.time_ns()
            assert client.send({**ASSET, "ts": 1}).detail == "field 'ts': the server gives the time"
            outcome = client.send({**ASSET, "asset": fsync.upper()})
            assert outcome.code == "accepted" and before <= outcome.ts <= time.time_ns()
        server.kill()
        entries = server.entries()
        assert len(entries) > seqs
        assert all(entry.stamp for entry in entries)
        seqs = len(entries)
    server.start()  # the other clock: commands without a time keep the last
    with server.client("late") as client:
        assert client.send({**ASSET, "asset": "X"}).ts == entries[-1].stamp


def test_the_wall_clock_ticks(server):
    server.start("--clock", "wall")
    deadline = time.monotonic() + 10
    while len(entries := server.entries()) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert [entry.given for entry in entries[:2]] == [{"cmd": "time"}] * 2
    assert entries[0].stamp < entries[1].stamp and entries[0].client is None


def test_two_servers_on_one_journal(server, shell, tmp_path):
    server.start()
    other = shell.run("serve", "--journal", str(server.journal), "--commands",
                      f"ipc://{tmp_path}/o", "--core", shell.core)
    assert other.code == 2
    assert other.only_error == (
        f"error: {server.journal}: another process writes this journal")
    done = shell.run("verify", str(server.journal), "--core", shell.core)
    assert done.code == 0  # looking at it is free


@pytest.mark.parametrize("options, problem", [
    (["--commands", "tcp://127.0.0.1:5557"], "--commands needs --journal"),
    ([], "Missing option '--scenario' (or --journal)"),
    (["--journal", "j", "--fsync", "sometimes"], "--fsync sometimes: expected always, batch, off"),
    (["--journal", "j", "--clock", "sun"], "--clock sun: expected commands or wall"),
    (["--journal", "j", "--segment-size", "0"], "--segment-size: expected 1 to 1024 MiB"),
    (["--journal", "j", "--commands", "tcp://0.0.0.0:1"], "not on loopback"),
    (["--journal", "j", "--commands", "ipc://x", "--events", "ipc://x"], "two sockets at one"),
])
def test_settings_are_checked_before_anything_is_touched(shell, tmp_path, options, problem):
    done = shell.run("serve", *options)
    assert done.code == 2 and problem in done.only_error
    assert not (tmp_path / "j").exists()


def test_two_sockets_may_each_take_a_port_of_the_systems_choice(server):
    server.endpoint = server.events = "tcp://127.0.0.1:*"
    server.start("--events", server.events)
    commands, events = re.findall(r"tcp://127\.0\.0\.1:\d+", server.line("ready: "))
    assert commands != events
    with Client(commands, "desk", timeout_s=20) as client:
        assert client.send(ASSET).code == "accepted"
    assert server.stop()["seq"] == "1"


def test_publishers_are_followed_on_the_machine_that_the_server_is_on(monkeypatch, tmp_path):
    """Clock, contexts and disk of a server are given: those of its feeds are the same."""

    class Enough(Exception):
        pass

    def stop(*arguments, outside, **options):
        raise Enough(outside)

    monkeypatch.setattr("engine.serving.command.open_feeds", stop)
    settings = Settings(
        journal=str(tmp_path / "journal"), commands=f"ipc://{tmp_path}/commands",
        feeds=FeedSettings((FeedAddress("a", f"ipc://{tmp_path}/a"),), AgreementRules()))
    machine = Outside()
    with pytest.raises(Enough) as asked:
        serve(settings, lambda: Exchange(core="reference"), lambda line: None, machine)
    assert asked.value.args == (machine,)


def test_options_come_from_a_file_and_the_command_line_wins(server, tmp_path):
    config = tmp_path / "server.toml"
    config.write_text('checkpoint = 1\nclock = "wall"\ntimeout = 5\ncore = "nonsense"\n')
    server.start("--config", str(config), "--clock", "commands")
    with server.client() as client:
        assert client.send(ASSET).ts == 0
    server.kill()
    kinds = [batch.header.kind for batch in JournalReader(str(server.journal), Storage()).batches()]
    assert kinds == [Kind.START, Kind.COMMANDS, Kind.CHECKPOINT]


@pytest.mark.parametrize("text, problem", [
    ("journal = ", "not TOML: Invalid value (at end of document)"),
    ("journall = 'x'", "unknown option 'journall'"),
    ("snapshot = true", "snapshot must be an integer, not True"),
    ("checkpoint = 1.5", "checkpoint must be an integer, not 1.5"),
    ("timeout = '5'", "timeout must be a number, not '5'"),
    ("allow_remote = 1", "allow_remote must be true or false, not 1"),
    ("journal = 'j'\nsnapshot = -1", "--snapshot: expected at least 1 command, or 0"),
    ("journal = 'j'\nretain = 'some'", "--retain some: expected all or snapshots"),
    ("journal = 'j'\ncheckpoint = 0", "--checkpoint: expected at least 1 command"),
    ("timeout = nan", "--timeout nan: expected seconds between 0.1 and 86400"),
])
def test_a_file_of_options_is_checked(tmp_path, capsys, monkeypatch, text, problem):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "server.toml"
    path.write_text(text)
    assert cli.call(cli.app, ["serve", "--config", str(path)]) == 2
    said = capsys.readouterr()
    assert problem in said.err and said.err.count("\n") == 1 and said.out == ""
    assert list(tmp_path.iterdir()) == [path]


# --- scenario and feed ----------------------------------------------------------------------


def test_a_scenario_begins_a_journal_once(server, shell, scenario_file, tmp_path):
    server.start("--scenario", scenario_file)
    rows = server.stop()
    lines = Path(scenario_file).read_text().splitlines()
    assert rows["commands"] == str(len(lines)) == rows["seq"]
    server.start("--scenario", scenario_file)
    again = server.stop()
    assert (again["commands"], again["state_hash"]) == ("0", rows["state_hash"])
    Path(scenario_file).write_text("\n".join([*lines, '{"cmd":"time"}']))
    server.start("--scenario", scenario_file, wait=False)
    assert server.wait() == 2
    assert "the journal has commands already, and did not begin with this scenario" in (
        server.lines[-1])


def test_a_scenario_that_was_being_loaded_is_loaded_to_its_end(server, scenario_file):
    server.start("--scenario", scenario_file)
    whole = server.stop()
    path = segments(server.journal)[0]
    # Take all away but the first ten commands, as if the server had been killed there.
    head = server.entries()[:10]
    path.unlink()
    journal, _, _ = open_journal(server.journal, segment_size=1 << 20, storage=Unflushed())
    with journal:
        journal.append([
            make_record(entry.stamp, entry.client, entry.request, pack_command(entry.given))
            for entry in head])
    server.start("--scenario", scenario_file)
    rows = server.stop()
    assert rows["state_hash"] == whole["state_hash"] and rows["seq"] == whole["seq"]
    assert int(rows["commands"]) == int(whole["seq"]) - 10


def test_a_journaled_feed_comes_to_the_same(server, shell, endpoint, scenario_file):
    feed = "synthetic:seed=5,steps=120"
    inside = shell.run("replay", feed, "--in-process", "--scenario", scenario_file,
                       "--core", shell.core)
    process = shell.start("serve", "--journal", str(server.journal), "--scenario", scenario_file,
                          "--marks", endpoint, "--core", shell.core, "--timeout", "20")
    sent = shell.finish(shell.start("replay", feed, "--speed", "max", "--bind", endpoint))
    assert sent.code == 0, sent.err
    done = shell.finish(process)
    assert done.code == 0, done.err
    assert done.figures["gaps"] == "0"
    assert done.figures["state_hash"] == inside.figures["state_hash"]
    checked = shell.run("verify", str(server.journal), "--core", shell.core, "--json")
    found = json.loads(checked.out)
    assert found["state_hash"] == inside.figures["state_hash"] and found["agrees"] is True
    marks = [entry for entry in server.entries() if entry.client.startswith("feed/")]
    assert len(marks) == 120 and {entry.client for entry in marks} == {marks[0].client}


def test_commands_and_a_feed_together(server, shell, endpoint, scenario_file):
    server.start("--scenario", scenario_file, "--marks", endpoint)
    with server.client() as client:
        sent = shell.start("replay", "synthetic:seed=5,steps=60", "--speed", "max",
                           "--bind", endpoint)
        count = 0
        while sent.poll() is None or count < 50:
            assert client.send(deposit(1)).code == "accepted"
            count += 1
    assert shell.finish(sent).code == 0
    rows = server.stop()
    assert "the feed has ended" in server.lines
    assert (rows["drift"], rows["gaps"]) == ("0", "0")
    assert sum(entry.client.startswith("feed/") for entry in server.entries()) == 60
    assert rows["state_hash"] == server.replayed().state_hash()


# --- events and heartbeats ----------------------------------------------------------------------


def test_events_and_heartbeats_carry_sequence_and_epoch(server):
    context = zmq.Context()
    listener = context.socket(zmq.SUB)
    for topic in (wire.EVENTS, wire.HEARTBEAT, wire.END):
        listener.setsockopt(zmq.SUBSCRIBE, topic)
    listener.setsockopt(zmq.RECONNECT_IVL, 20)
    listener.connect(server.events)
    epochs = []
    for turn in range(2):
        server.start("--events", server.events)
        epochs.append(server.epoch)
        beat = wire.decode_heartbeat(receive(listener, wire.HEARTBEAT, server.epoch))
        assert beat == (server.epoch, {"events.": 0})
        with server.client() as client:
            client.send({**ASSET, "asset": f"A{turn}"})
            epoch, seq, _, events = wire.decode_events(
                receive(listener, wire.EVENTS, server.epoch))
            assert (epoch, seq, events[0]["event"]) == (server.epoch, turn + 1, "asset_added")
            beat = wire.decode_heartbeat(receive(listener, wire.HEARTBEAT, server.epoch))
            assert beat.last_sequences == {"events.": 1}
        server.kill()
    assert epochs == sorted(set(epochs))
    listener.close(linger=0)
    context.term()


def receive(listener: zmq.Socket, topic: bytes, epoch: int) -> bytes:
    """The next message of a topic and epoch."""
    while listener.poll(10_000):
        got, _, payload = wire.split_frames(listener.recv_multipart())
        if got == topic and msgpack.unpackb(payload)[1] == epoch:
            return payload
    raise AssertionError(f"no {topic!r}")


# --- snapshots ---------------------------------------------------------------------------------


@pytest.fixture
def filled(server: Server) -> dict[str, str]:
    """Two ends in order, so two snapshots; the requests of a client in both."""
    if server.core != "compiled":
        pytest.skip("the reference has no snapshots")
    for turn in range(2):
        server.start()
        with server.client() as client:
            client.send_many([ASSET, ACCOUNT] if turn == 0 else [deposit(1)] * 10)
        rows = server.stop()
    return rows


def snapshots(server: Server) -> list[Path]:
    return sorted((server.journal / "snapshots").iterdir())


def test_a_start_from_a_snapshot_is_a_start_from_the_journal(server, client, shell, filled):
    assert [int(path.name[:20]) for path in snapshots(server)] == [2, 12]
    server.start()
    assert "0 commands replayed from seq 12" in server.line("replayed")
    assert server.recovered == (12, filled["state_hash"])
    client.next_request = 12  # the sessions are in it
    assert client.send(deposit(1)).seq == 12
    assert client.send(deposit(5)).seq == 13
    server.kill()
    server.start()
    assert "1 commands replayed from seq 12" in server.line("replayed")
    assert wallet(client) == "15"
    done = shell.run("verify", str(server.journal))
    assert done.code == 0 and done.figures["snapshot_seq"] == "12"
    server.stop()
    assert [int(path.name[:20]) for path in snapshots(server)] == [12, 13]


def test_a_bad_snapshot_falls_back_to_the_one_before(server, shell, filled):
    before, newest = snapshots(server)
    data = bytearray(newest.read_bytes())
    for at in (0, 9, 20, 40, len(data) // 2, len(data) - 1):
        data[at] ^= 1
        newest.write_bytes(data)
        data[at] ^= 1
        done = shell.run("verify", str(server.journal))
        assert done.code == 0 and done.figures["snapshot_seq"] == "2"
        assert done.err.startswith(f"{newest}: ") and done.err.endswith("; passed over\n")
    newest.write_bytes(data[:-5])
    before.write_bytes(b"")
    server.start()
    assert [line.split(": ")[0] for line in server.lines[:2]] == [str(newest), str(before)]
    assert "12 commands replayed from seq 0" in server.line("replayed")
    assert server.recovered == (12, filled["state_hash"])


def test_a_snapshot_that_leads_elsewhere_is_a_difference(server, shell, filled, tmp_path):
    from engine.journal import Journal
    from engine.replication.history import History, Start
    from engine.serving.sessions import Sessions
    from engine.serving.snapshots import Snapshots

    exchange = server.replayed()
    exchange.apply({**deposit(1000), "asset": "USDT"})
    with Journal(str(server.journal)) as journal:
        store = Snapshots(str(server.journal), journal.journal_id)
        path = Path(store.write(exchange, Sessions(), History([Start(1, 1, 0)])))
    path.rename(store.path(13))
    server.start(wait=False)
    assert server.wait() == 2
    assert "the snapshot is of seq 13, the journal ends at 12" in server.lines[-1]


def test_what_no_snapshot_needs_is_let_go(server, shell):
    if server.core != "compiled":
        pytest.skip("the reference has no snapshots")
    server.start("--snapshot", "5000", "--retain", "snapshots")
    with server.client() as client:
        client.send_many([ASSET, ACCOUNT])
        for _ in range(25):
            client.send_many([deposit(1)] * 1000)
        deadline = time.monotonic() + 60
        while int(segments(server.journal)[0].name[:20]) == 1 and time.monotonic() < deadline:
            time.sleep(0.05)  # they are written, and segments let go, while it serves
        assert int(segments(server.journal)[0].name[:20]) > 1
        server.kill()
        server.start()
        assert wallet(client) == "25000"
        rows = server.stop()
    done = shell.run("verify", str(server.journal))
    assert done.code == 0, done.err
    assert int(done.figures["first_seq"]) > 1
    assert done.figures["state_hash"] == rows["state_hash"]


def test_a_snapshot_that_cannot_be_written_costs_nothing(server, client):
    server.start()
    (server.journal / "snapshots").write_text("in the way")
    client.send_many([ASSET, ACCOUNT])
    rows = server.stop()
    assert rows["seq"] == "2"
    if server.core == "compiled":
        assert "cannot write: file exists" in server.lines[-1]
    server.start()
    assert server.recovered[0] == 2


# --- what goes wrong with the disk --------------------------------------------------------------


def test_a_disk_that_takes_no_more(server, client):
    server.start()
    client.send_many([ASSET, ACCOUNT])
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (20_000, 20_000))
    acknowledged = 0
    with pytest.raises(NoAnswer, match=r"cannot write seq \d+.*: file too large"):
        while True:
            client.send_many([deposit(1)] * 20)
            acknowledged += 20
    assert server.wait() == 1
    assert "nothing is acknowledged any more" in server.lines[-2]
    assert server.lines[-1].startswith(f"error: {server.journal}") and acknowledged > 100
    server.start()
    assert int(wallet(client)) in (acknowledged, acknowledged + 20)
    client.send_many([deposit(1)] * 20)  # the same request, now taken
    assert wallet(client) == str(acknowledged + 20)


def test_a_torn_tail_is_cut_off_and_said(server, client, shell):
    server.start()
    client.send_many([ASSET, ACCOUNT])
    client.send(deposit(1))
    server.kill()
    path, begin, end = batch_offsets(server.journal)[-1]
    data = bytearray(path.read_bytes())
    data[end - 1] ^= 1
    path.write_bytes(data)
    done = shell.run("verify", str(server.journal), "--core", shell.core)
    assert done.code == 0 and done.figures["torn_bytes"] == str(end - begin)
    server.start()
    assert server.line("cut off").startswith(f"{path}: offset {begin}: {end - begin} bytes")
    assert server.recovered[0] == 2
    client.next_request = 3
    assert client.send(deposit(1)).seq == 3


def test_damage_and_other_versions_are_refused(server, client, shell):
    server.start()
    for command in (ASSET, ACCOUNT, deposit(1)):
        client.send(command)
    server.kill()
    path, begin, _ = batch_offsets(server.journal)[1]
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[begin + 50] ^= 1
    newer = bytearray(whole)
    struct.pack_into("<H", newer, 10, 3)
    struct.pack_into("<I", newer, 60, zlib.crc32(newer[:60]))
    for data, problem in ((damaged, f"{path}: offset {begin}: damaged: "),
                          (newer, f"{path}: format version 1, schema version 3; this engine")):
        path.write_bytes(data)
        done = shell.run("verify", str(server.journal), "--core", shell.core)
        assert done.code == 2 and done.only_error.startswith(f"error: {problem}")
        server.start(wait=False)
        assert server.wait() == 2
        assert server.lines == [done.only_error]
        assert path.read_bytes() == data


def test_verify_names_the_first_difference(tmp_path, shell):
    journal, _, _ = open_journal(tmp_path / "j", segment_size=1 << 12, storage=Unflushed())
    with journal:
        journal.append([make_record(None, None, 0, pack_command(ASSET))])
        journal.note(Kind.CHECKPOINT, {"seq": 1, "ts": 0, "state_hash": "ab" * 16})
        journal.append([make_record(None, None, 0, pack_command(ACCOUNT))])
    path, begin, _ = batch_offsets(tmp_path / "j")[1]
    done = shell.run("verify", str(tmp_path / "j"), "--core", shell.core, "--json")
    assert done.code == 1
    assert f"{path}: offset {begin}: seq 1: the journal says state hash abab" in done.only_error
    found = json.loads(done.out)
    assert found["agrees"] is False and found["difference"] in done.only_error
    served = shell.run("serve", "--journal", str(tmp_path / "j"), "--core", shell.core,
                       "--commands", f"ipc://{tmp_path}/c")
    assert (served.code, served.only_error) == (1, done.only_error)


def test_verify_names_a_command_that_cannot_be_applied(tmp_path, shell):
    journal, _, _ = open_journal(tmp_path / "j", segment_size=1 << 12, storage=Unflushed())
    with journal:
        journal.append([make_record(None, None, 0, pack_command({"cmd": "unheard of"}))])
    done = shell.run("verify", str(tmp_path / "j"), "--core", shell.core)
    assert done.code == 1 and "seq 1 cannot be applied: CommandError" in done.only_error


def test_verify_without_a_journal_or_its_beginning(tmp_path, shell, server, client):
    for folder in (tmp_path / "none", tmp_path):
        done = shell.run("verify", str(folder), "--core", shell.core)
        assert done.code == 2 and str(folder) in done.only_error
    journal, _, _ = open_journal(tmp_path / "j", segment_size=400, storage=Unflushed())
    with journal:
        for _ in range(20):
            journal.append([make_record(None, None, 0, pack_command({"cmd": "time"}))])
        journal.drop_segments(20)
    assert len(segments(tmp_path / "j")) == 1
    done = shell.run("verify", str(tmp_path / "j"), "--core", shell.core)
    assert done.code == 2 and "needs a good snapshot" in done.only_error
