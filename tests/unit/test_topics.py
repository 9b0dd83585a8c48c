"""Sequences by topic, and heartbeats that stay small and leave nothing out for long."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine import wire
from engine.topics import HEARTBEAT_TOPICS_MAX, AccountBeats, Topics


def names(count: int) -> list[bytes]:
    return [wire.topic_name("l2", f"S{number}") for number in range(count)]


def test_each_topic_counts_by_itself():
    topics = Topics()
    assert [topics.advance(b"a.") for _ in range(3)] == [1, 2, 3]
    topics.add(b"b.")
    assert (topics.last(b"a."), topics.last(b"b."), topics.last(b"c.")) == (3, 0, 0)
    assert topics.beat() == {b"a.": 3, b"b.": 0}


def test_a_heartbeat_is_bounded_and_what_changed_comes_first():
    topics, listed = Topics(), names(7000)
    for name in listed:
        topics.advance(name)
    while not topics.is_told:
        assert len(topics.beat()) == HEARTBEAT_TOPICS_MAX
    topics.advance(listed[4321])
    topics.advance(listed[5])
    told = topics.beat()
    assert list(told)[:2] == [listed[4321], listed[5]]
    assert (told[listed[5]], len(told)) == (2, HEARTBEAT_TOPICS_MAX)
    assert len(wire.encode_heartbeat(1, told)) < 16_000


def test_every_topic_comes_round_though_nothing_happens():
    topics, listed = Topics(), names(7000)
    for name in listed:
        topics.advance(name)
    while not topics.is_told:
        topics.beat()
    seen: set[bytes] = set()
    for _ in range(-(-7000 // HEARTBEAT_TOPICS_MAX)):
        seen |= topics.beat().keys()
    assert seen == set(listed)


@given(st.lists(st.integers(-1, 40), max_size=200))
def test_a_heartbeat_never_says_anything_but_the_last_sequence(steps):
    topics, last = Topics(), dict.fromkeys(names(0), 0)
    listed = names(41)
    for step in steps:
        if step < 0:
            told = topics.beat()
            assert told == {name: last[name] for name in told} == last  # few: all of them
        else:
            last[listed[step]] = last.get(listed[step], 0) + 1
            assert topics.advance(listed[step]) == last[listed[step]]


def test_heartbeats_of_accounts_take_turns():
    beats = AccountBeats()
    assert beats.due() == []
    for topic in (b"beat.7.", b"beat.7.", b"account.8.", b"beat.x.", b"beat.", b"beat.0."):
        beats.follow(topic)
    assert beats.due() == beats.due() == [(7, b"beat.7.")]
    count = 2 * HEARTBEAT_TOPICS_MAX + 3
    for account in range(1, count + 1):
        beats.follow(f"beat.{account}.".encode())
    told = [account for _ in range(3) for account, _ in beats.due()]
    assert len(told) == 3 * HEARTBEAT_TOPICS_MAX and set(told) == set(range(1, count + 1))
