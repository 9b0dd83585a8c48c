"""One turn of a server with several publishers, on clocks and messages of the test."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from engine import Exchange
from engine.clock import Clock
from engine.errors import RunError
from engine.feed_health import FeedHealth
from engine.serving.agreement import AgreementRules
from engine.serving.desk import CLIENT, Desk, DeskRules
from engine.serving.feeds import Feeds, Recollection
from engine.serving.sequencer import Pending
from engine.serving.sessions import ACCEPTED, Outcome, Sessions

S = 1_000_000_000


class Hands(Clock):
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def time_ns(self) -> int:
        return int(self.now * S)

    def monotonic(self) -> float:
        return self.now


class Said:
    """A subscriber that has what it is given."""

    def __init__(self) -> None:
        self.waiting: list[tuple[int, tuple]] = []
        self.heard_count = self.number = 0
        self.epoch, self.has_ended, self.health = 1, False, FeedHealth()

    def say(self, *times: int) -> None:
        for ts in times:
            self.number += 1
            self.waiting.append((self.number, (ts, [("X", "100", None)])))

    def ready_steps(self, limit: int):
        for _ in range(min(limit, len(self.waiting))):
            self.heard_count += 1
            yield self.waiting.pop(0)

    def rows(self) -> list[tuple[str, str]]:
        return self.health.rows()


def make(has_clock: bool = False) -> SimpleNamespace:
    exchange = Exchange(core="reference")
    exchange.apply({"cmd": "asset", "asset": "U", "decimals": 2})
    exchange.apply({
        "cmd": "instrument", "symbol": "X", "kind": "linear", "base": "X", "quote": "U",
        "settle": "U", "tick_size": "1", "lot_size": "1", "tiers": [
            {"min_notional": "0", "max_notional": None, "maintenance_margin_rate": "0.01",
             "max_leverage": "50"}]})
    lines: list[str] = []
    notes: list[dict] = []
    sequencer = SimpleNamespace(
        exchange=exchange, sessions=Sessions(), note_inputs=notes.append)
    desk = Desk(DeskRules(("a", "b"), AgreementRules(1, "0.02", 10 * S), has_clock), exchange,
                lines.append)
    said, clock = {"a": Said(), "b": Said()}, Hands()
    feeds = Feeds(said, desk, sequencer, stale_after_s=10, timeout_s=30, report=lines.append,
                  clock=clock)

    def turn() -> list[dict]:
        batch: list = []
        feeds.take(batch)
        for pending in batch:
            exchange.apply(pending.command)
        return [pending.command for pending in batch]

    return SimpleNamespace(feeds=feeds, turn=turn, said=said, clock=clock, lines=lines,
                           notes=notes, desk=desk)


def test_who_is_read_first_does_not_make_the_others_late():
    one = make()
    one.said["a"].say(100 * S, 109 * S, 118 * S, 117 * S)
    one.said["b"].say(100 * S, 105 * S, 112 * S)
    assert [command["ts"] // S for command in one.turn()] == [100, 100, 105, 109, 112, 118, 118]
    assert [item[2] for item in one.notes[0]["inputs"]] == ["a", "b", "b", "a", "b", "a", "a"]
    assert not one.desk.counters["late", "b"]
    assert (one.notes[0]["first"], one.notes[0]["made"]) == (1, 0)
    assert one.turn() == [] and len(one.notes) == 1  # nothing arrives, nothing is written


def test_a_symbol_goes_quiet_once_and_comes_back():
    one = make()
    one.said["a"].say(100 * S)
    one.turn()
    one.clock.now += 9.9
    assert one.turn() == []
    one.clock.now += 0.2
    assert [command["cmd"] for command in one.turn()] == ["halt"]
    one.clock.now += 100
    assert one.turn() == [] and one.lines[-2:] == [
        "feed: a: nothing for 30 s", "feed: b: nothing for 30 s"]
    one.said["a"].say(101 * S)
    assert [command["cmd"] for command in one.turn()] == ["marks", "resume"]
    figures = one.feeds.figures()
    assert (figures["stale"], figures["stale_count"]) == ([], 1)
    assert [row["silent_ms"] for row in figures["sources"]] == [0, 110100]


def test_with_a_clock_time_alone_is_enough():
    one = make(has_clock=True)
    one.said["a"].say(one.clock.time_ns())
    assert [command["cmd"] for command in one.turn()] == ["marks"]
    one.clock.now += 10.5
    assert [command["cmd"] for command in one.turn()] == ["halt"]
    assert one.notes[-1]["inputs"] == [["time", one.clock.time_ns()]]


def admit(sessions: Sessions, pendings: list) -> None:
    for pending in pendings:
        sessions.admit(pending.client, pending.request, pending.checksum)
        sessions.settle(pending.client, pending.request, Outcome(ACCEPTED, pending.request))


def test_what_was_made_and_not_written_is_made_again():
    one = make()
    one.said["a"].say(100 * S, 101 * S)
    one.turn()
    [note] = one.notes

    def recall(journaled: int) -> tuple[list[int], list[str], int]:
        """Start again with the note, and so many of its commands, in the journal."""
        again, sessions = make(), Sessions()
        memory = Recollection(again.desk)
        memory.take(note)
        admit(sessions, [
            Pending.of(CLIENT, number, {"cmd": "marks", "marks": [
                {"symbol": "X", "mark_price": "100"}], "ts": (99 + number) * S})
            for number in range(1, journaled + 1)])
        owed = memory.finish(sessions, again.lines.append)
        assert [each.command["ts"] for each in owed] == [
            (99 + each.request) * S for each in owed]
        memory.take(note)  # that was taken
        return [each.request for each in owed], again.lines, again.desk.made

    assert recall(0) == ([1, 2], [], 2)
    assert recall(1) == ([2], [], 2)
    assert recall(2) == ([], [], 2)
    # The journal has more than is made now, or something else: what was done stands.
    assert recall(3)[0] == [] and recall(3)[2] == 3
    assert "makes other commands" in recall(3)[1][0]
    note["inputs"][0][6][0][1] = "101"
    owed, lines, made = recall(1)
    assert (owed, made) == ([], 2) and "makes other commands" in lines[0]


def test_inputs_under_other_rules_are_passed_by():
    one = make()
    one.said["a"].say(100 * S)
    one.turn()
    again, sessions = make(has_clock=True), Sessions()
    memory = Recollection(again.desk)
    memory.take(one.notes[0])
    admit(sessions, [Pending.of(CLIENT, 1, {"cmd": "time"})])
    assert memory.finish(sessions, again.lines.append) == []
    assert "1 turns under other rules are in the journal" in again.lines[0]
    assert (again.desk.made, again.desk.taken) == (1, 0)
    with pytest.raises(RunError, match="inputs of a feed that are none"):
        memory.take({"rules": 1})
