"""What sessions remember of packed requests, against a model that remembers each by itself."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.batches import COMMAND_DTYPE, SPECIAL_DTYPE, empty_commands, empty_specials, to_bytes
from engine.messages import NONE
from engine.serving.packed import PackedCommands, PackedOutcome, PackedOutcomes
from engine.serving.sessions import (
    PACKED_LOAD,
    REUSED,
    TOO_MANY_CLIENTS,
    TOO_OLD,
    UNAVAILABLE,
    Outcome,
    Sessions,
)


def sums(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.uint32)


def refused(*offsets: int, reason: int = 3) -> bytes:
    return np.array([(offset, reason) for offset in offsets], "<u4,<u4").tobytes()


def take(sessions: Sessions, first: int, checksums: np.ndarray, outcome: PackedOutcome) -> None:
    sessions.admit_packed("me", first, checksums).outcome = outcome


def rows(sessions: Sessions, first: int, checksums: np.ndarray) -> list[tuple]:
    return [(part.start, *(("new",) if part.is_new else part.row()[:-1]))
            for part in sessions.parts("me", first, checksums)]


def test_a_message_that_comes_again_gets_its_outcome_whatever_its_bounds_are():
    sessions = Sessions()
    assert rows(sessions, 1, sums(1, 2)) == [(0, "new")]
    take(sessions, 11, sums(1, 2, 3, 4), PackedOutcome(100, 7, refused(1, 3)))
    again = (0, 4, "applied", 100, 7, refused(1, 3))
    assert rows(sessions, 11, sums(1, 2, 3, 4)) == [again]
    assert rows(sessions, 12, sums(2, 3)) == [(0, 2, "applied", 101, 7, refused(0))]
    assert rows(sessions, 13, sums(3, 4, 5, 6)) == [
        (0, 2, "applied", 102, 7, refused(1)), (2, "new")]
    assert rows(sessions, 9, sums(8, 9, 1)) == [
        (0, 2, TOO_OLD, None, None, b""), (2, 1, "applied", 100, 7, b"")]
    assert rows(sessions, 11, sums(1, 2, 9, 4)) == [(0, 4, REUSED, None, None, b"")]


def test_single_and_packed_requests_do_not_pass_for_each_other():
    sessions = Sessions()
    take(sessions, 1, sums(5, 6), PackedOutcome(1, 0, b""))
    sessions.admit("me", 3, 7)
    sessions.settle("me", 3, Outcome("accepted", 3))
    assert [sessions.refusal("me", request, 6).code for request in (1, 2, 3)] == [REUSED] * 3
    assert sessions.refusal("me", 3, 7) == Outcome("accepted", 3)
    assert rows(sessions, 2, sums(6, 7, 8)) == [
        (0, 1, "applied", 2, 0, b""), (1, 1, REUSED, None, None, b""), (2, "new")]


def test_what_is_under_way_has_no_outcome_yet():
    sessions = Sessions()
    taken = sessions.admit_packed("me", 1, sums(1, 2))
    (part,) = sessions.parts("me", 1, sums(1, 2))
    assert part.row() == (2, UNAVAILABLE, None, None, b"", None)
    taken.outcome = PackedOutcome(1, 0, b"")
    assert part.row()[1] == "applied"


def test_the_window_is_bounded():
    sessions = Sessions(window=2 * PACKED_LOAD, clients_max=1)
    for first in (1, 11, 21):
        take(sessions, first, sums(*range(10)), PackedOutcome(first, 0, b""))
    assert [row[2] for row in rows(sessions, 1, sums(*range(10), *range(10)))] == [
        TOO_OLD, "applied"]
    for request in range(31, 31 + PACKED_LOAD):
        sessions.admit("me", request, 0)
    assert [row[2] for row in rows(sessions, 11, sums(*range(10), *range(10)))] == [
        TOO_OLD, "applied"]
    assert sessions.parts("you", 1, sums(1))[0].code == TOO_MANY_CLIENTS


def test_a_dump_is_the_same_sessions():
    sessions = Sessions()
    take(sessions, 1, sums(5, 6), PackedOutcome(1, 9, refused(1)))
    sessions.admit("me", 3, 7)
    sessions.settle("me", 3, Outcome("rejected", 3, 9, "malformed", "why"))
    again = Sessions.from_dump(sessions.dump())
    assert again.dump() == sessions.dump()
    assert rows(again, 1, sums(5, 6, 7)) == rows(sessions, 1, sums(5, 6, 7))
    assert again.refusal("me", 3, 7) == sessions.refusal("me", 3, 7)


@given(st.lists(st.tuples(
    st.booleans(), st.integers(1, 30), st.lists(st.integers(1, 2), min_size=1, max_size=8)),
    max_size=12))
def test_against_a_request_by_request_model(messages):
    """Whatever overlaps with whatever: nothing is taken twice, and answers are true."""
    sessions, model, last, seq = Sessions(), {}, 0, 1
    for is_packed, first, numbers in messages:
        checksums = sums(*numbers)
        if not is_packed:
            if first > last:
                sessions.admit("me", first, numbers[0])
                sessions.settle("me", first, Outcome("accepted", seq))
                model[first], last, seq = (None, seq), first, seq + 1
            continue
        expected = []
        for request, number in enumerate(numbers, first):
            if request > last:
                expected.append("new")
            elif request not in model:
                expected.append(TOO_OLD)
            else:
                expected.append(model[request][1] if model[request][0] == number else REUSED)
        found: list = []
        for part in sessions.parts("me", first, checksums):
            size = part.stop - part.start
            assert part.start == len(found)
            if part.is_new:
                found += ["new"] * size
                start = part.start
                taken = sessions.admit_packed("me", first + start, checksums[start:])
                taken.outcome = PackedOutcome(seq, 0, b"")
                for request in range(first + start, first + part.stop):
                    model[request], last, seq = (numbers[request - first], seq), request, seq + 1
            elif part.code is None:
                assert part.taken is not None
                begin = part.row()[2]
                found += range(begin, begin + size)
            else:
                found += [part.code] * size
        # One command that differs spoils the rest of what was taken together with it.
        for got, wanted in zip(found, expected, strict=True):
            assert got in (wanted, REUSED)
        assert not (REUSED in found and REUSED not in expected)


def test_checksums_tell_every_column_and_term_apart():
    one = empty_commands(2)
    one["special"][1] = 0
    terms = empty_specials(3)  # two that say the same, and another one
    terms["oco"][2] = 1
    base = checksums_of(one, terms)
    assert base[0] != base[1]
    for name in COMMAND_DTYPE.names:
        other = one.copy()
        other[name][1] += 1
        assert checksums_of(other, terms)[0] == base[0]
        absent = one.copy()
        absent["cmd"][1], absent["ts"][1] = 0, 0  # two that were absent
        assert checksums_of(absent, terms)[1] != base[1]
        is_same_term = name == "special"  # of two rows that say the same
        assert (checksums_of(other, terms)[1] == base[1]) == is_same_term, name
    for name in SPECIAL_DTYPE.names:
        changed = terms.copy()
        changed[name][0] += 1
        assert checksums_of(one, changed)[1] != base[1], name


def checksums_of(commands: np.ndarray, specials: np.ndarray) -> np.ndarray:
    return PackedCommands(
        to_bytes(commands, COMMAND_DTYPE, "commands"),
        to_bytes(specials, SPECIAL_DTYPE, "specials")).checksums()


def test_outcomes_as_a_client_has_them():
    outcomes = PackedOutcomes.of([
        [1, TOO_OLD, None, None, b"", "why"], [3, "applied", 5, 9, refused(1), None]])
    assert outcomes.codes.tolist() == [TOO_OLD, "applied", "applied", "applied"]
    assert outcomes.seqs.tolist()[1:] == [5, 6, 7]
    assert outcomes.reasons.tolist()[2] == 3
    assert outcomes.accepted.tolist() == [False, True, False, True]


@given(st.lists(
    st.lists(st.integers(-2**63, 2**63 - 1), min_size=12, max_size=12), min_size=1, max_size=4),
    st.integers(0, 3))
def test_checksums_of_few_are_those_of_many(rows, absent):
    table = np.array(rows, np.int64)
    table[:absent, -1] = NONE
    few = PackedCommands(table.tobytes(), b"").checksums()
    many = PackedCommands(np.tile(table, (5, 1)).tobytes(), b"").checksums()
    assert few.tolist() == many[:len(few)].tolist() == many[-len(few):].tolist()
