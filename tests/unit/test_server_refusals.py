"""Lines that a server says no with, where no longer run gets there."""

from __future__ import annotations

import socket
import threading

import msgpack
import pytest
import zmq
from support.disk import Disk
from support.journals import Unflushed, batch_offsets, open_journal, record

import engine.server
from engine import Exchange, wire
from engine.errors import InputError, RunError
from engine.journal import Journal, JournalError, JournalReader, JournalWriteError, Kind
from engine.journal.layout import SCHEMA_VERSION
from engine.replication import messages
from engine.replication.copy import Copy, CopyError
from engine.replication.cursor import JournalCursor
from engine.replication.history import History, Start
from engine.replication.promotion import promote
from engine.replication.standby import Refused, Standby
from engine.server import EventPublisher
from engine.serving.roles import Role
from engine.serving.sessions import Sessions
from engine.serving.settings import Settings
from engine.serving.snapshots import Snapshots
from engine.serving.topic_states import TopicStates


@pytest.mark.parametrize("given, problem", [
    ({}, "nothing to serve: give --commands, --marks or both"),
    ({"commands": "ipc://x", "standby_required": -1}, "--standby-required: expected a number"),
    ({"commands": "ipc://x", "standby_lost": "cry"}, "--standby-lost cry: expected wait or degr"),
    ({"commands": "ipc://x", "fence_wait_s": float("nan")}, "--fence-wait nan: expected seconds"),
])
def test_settings(given, problem):
    with pytest.raises(InputError, match=problem):
        Settings("j", **given)


# --- replication ------------------------------------------------------------------------


@pytest.mark.parametrize("rows, problem", [
    ([[1, 100]], "not a history: "), ([[1, -100, 0]], "a start is three numbers from 0"),
    ([[1, 100, 0], [1, 99, 5]], "the starts are out of order"), ([7], "not a history: "),
])
def test_a_history_that_is_none(rows, problem):
    payload = msgpack.packb([wire.VERSION, 1, 77, 0, rows])
    with pytest.raises(wire.WireError, match=problem):
        messages.decode_follow(payload)


def make_copy(journal: Journal, disk: Disk) -> Copy:
    return Copy(
        journal, Exchange(core="reference"), Sessions(), History(), [], 0, lambda seq: None, None,
        lambda exchange, desk: None, disk)


class Signals:
    """Tells a standby nothing."""

    is_set = is_told_to_promote = False

    def __init__(self, one: socket.socket) -> None:
        self.fileno = one.fileno


@pytest.mark.parametrize("term, schema, problem", [
    (1, SCHEMA_VERSION, "a server of term 1; this journal is of term 2: follow the server of"),
    (3, 99, "it writes schema version 99; this engine reads 1 to 2: replace the standbys' engine"),
])
def test_a_standby_does_not_follow_everybody(term, schema, problem):
    disk = Disk()
    copy = make_copy(Journal("/journal", storage=disk), disk)
    copy.begin(77)
    copy.history.add(Start(2, 100, 0))
    with zmq.Context() as context, context.socket(zmq.ROUTER) as primary:
        port = primary.bind_to_random_port("tcp://127.0.0.1")

        def answer() -> None:
            assert primary.poll(20_000)
            peer, _, payload = primary.recv_multipart()
            asked = messages.decode_follow(payload)
            primary.send_multipart([peer, messages.STREAM, messages.encode_stream(
                messages.StreamMessage(
                    asked.session, 77, schema, History([Start(term, 200, 0)]), 0, 0))])

        thread = threading.Thread(target=answer)
        thread.start()
        standby = Standby(f"tcp://127.0.0.1:{port}", copy, kept=2, report=lambda line: None)
        here, there = socket.socketpair()
        with here, there, pytest.raises(Refused, match=problem):
            standby.run(Signals(here), None)
        thread.join()


def test_a_copy_takes_nothing_that_does_not_follow():
    disk = Disk()
    copy = make_copy(Journal("/journal", storage=disk), disk)
    copy.begin(77)
    with pytest.raises(CopyError, match=r"journal 0{14}4d, the primary has 0{14}4e"):
        copy.begin(78)
    with pytest.raises(CopyError, match="from the primary: offset 0 of 3 bytes: not an intact"):
        copy.append(b"abc")
    snapshots = Snapshots("/journal", 77, disk)
    copy.receive_snapshot(snapshots, 5, size=10)
    with pytest.raises(CopyError, match="a piece of a snapshot at 3 does not follow"):
        copy.take_snapshot_piece(3, b"xxx")
    assert copy.take_snapshot_piece(0, b"123456") is False
    with pytest.raises(CopyError, match="the pieces of a snapshot are not as long as was said"):
        copy.take_snapshot_piece(6, b"12345")
    copy.abandon_snapshot()
    with pytest.raises(CopyError, match="a piece of a snapshot at 0 does not follow"):
        copy.take_snapshot_piece(0, b"1")


def test_a_file_that_was_damaged_is_not_sent_on(tmp_path):
    journal, _, _ = open_journal(tmp_path, storage=Unflushed())
    with journal:
        journal.append([record(1)])
        journal.append([record(2)])
        path, begin, end = batch_offsets(tmp_path)[1]
        whole = path.read_bytes()
        path.write_bytes(whole[:begin + 4] + b"\xff" + whole[begin + 5:])
        cursor = JournalCursor(journal, Unflushed(), 0)
        assert cursor.read(1 << 20) == whole[64:begin]
        with pytest.raises(JournalError, match=f"offset {begin}: a batch is not intact"):
            cursor.read(1 << 20)
        path.write_bytes(whole[:end - 1])
        with pytest.raises(JournalError, match=f"offset {begin}: a batch is not whole"):
            cursor.read(1 << 20)
        cursor.close()


def test_a_promotion_that_something_else_answers():
    with zmq.Context() as context, context.socket(zmq.ROUTER) as other:
        port = other.bind_to_random_port("tcp://127.0.0.1")

        def answer() -> None:
            assert other.poll(20_000)
            peer, *_ = other.recv_multipart()
            other.send_multipart([peer, messages.PROMOTED, b"\x01"])

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(RunError, match=f":{port}: no standby's answer: the payload is not"):
            promote(f"tcp://127.0.0.1:{port}", 20.0)
        thread.join()


# --- a disk that takes no more ----------------------------------------------------------


@pytest.mark.parametrize("what, problem", [
    ("drop", "cannot remove old segments"), ("cut", "cannot cut off"),
    ("adopt", "cannot begin to write"), ("flush", "cannot flush"),
])
def test_failures_besides_those_of_a_batch(what, problem):
    disk = Disk(mode="error")
    journal = Journal("/journal", storage=disk, segment_size=200)
    list(journal.batches())
    journal.begin()
    for number in range(1, 10):
        journal.append([record(number)])
    journal.note(Kind.CHECKPOINT, {"seq": 9})
    note = list(JournalReader("/journal", disk).batches())[-1]
    work = {
        "drop": lambda: journal.drop_segments(9), "cut": lambda: journal.cut_off(note),
        "adopt": lambda: journal.adopt(5, 0), "flush": journal.flush}[what]
    disk._fail_at = disk.operation_count + 1
    with pytest.raises(JournalWriteError, match=f"{problem}: input/output error"):
        work()
    with pytest.raises(JournalWriteError):
        journal.append([record(10)])  # nothing more is taken


# --- states of topics -------------------------------------------------------------------


def ask(states: TopicStates, dealer: zmq.Socket[bytes], topic: str) -> tuple[bytes, list]:
    dealer.send_multipart([wire.SNAPSHOT, msgpack.packb([wire.VERSION, 1, topic])])
    assert states.socket.poll(20_000)
    states.answer_some()
    assert dealer.poll(20_000)
    kind, payload = dealer.recv_multipart()
    return kind, msgpack.unpackb(payload)


def test_states_that_are_not_given(tmp_path, monkeypatch):
    exchange = Exchange(core="reference")
    with (EventPublisher(f"ipc://{tmp_path}/e", 5) as events,
          TopicStates(f"ipc://{tmp_path}/s", 5, exchange, None, events) as states,
          TopicStates(f"ipc://{tmp_path}/t", 5, exchange, None, events,
                      local_role=Role.TRADE) as narrow,
          zmq.Context() as context, context.socket(zmq.DEALER) as dealer,
          context.socket(zmq.DEALER) as trader):
        dealer.connect(f"ipc://{tmp_path}/s")
        trader.connect(f"ipc://{tmp_path}/t")
        kind, fields = ask(narrow, trader, "events.")
        assert kind == wire.REFUSED and "role trade may not follow all events" in fields
        assert ask(states, dealer, "events.")[0] == wire.SNAPSHOT
        monkeypatch.setattr(engine.server, "ACCOUNTS_MAX", 1)
        assert ask(states, dealer, "account.1.")[0] == wire.SNAPSHOT
        kind, fields = ask(states, dealer, "account.2.")
        assert kind == wire.REFUSED and "too many accounts are followed" in fields
