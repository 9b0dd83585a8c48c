"""The protocol of a client without a socket: what is matched, what is ignored, what is refused."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import wire
from engine.client import NoAnswer
from engine.client.requests import Requests
from engine.errors import InputError, RunError

TIME = {"cmd": "time"}
ROW = ["accepted", 1, 0, None, None]


def make(next_request: int | None = 1) -> Requests:
    requests = Requests("ipc://x", "desk", 100)
    requests.next_request = next_request
    return requests


def outcomes(first: int, *rows: list, client: str = "desk", epoch: int = 5) -> list[bytes]:
    return [wire.OUTCOMES, wire.encode_outcomes(epoch, client, first, rows)]


def test_a_name_is_checked_at_once():
    with pytest.raises(InputError, match="not a client's name: 'a/b'"):
        Requests("ipc://x", "a/b", 0)


def test_numbers_come_from_the_server():
    requests = make(None)
    with pytest.raises(ValueError, match="hello first"):
        requests.commands([TIME])
    asked = requests.hello()
    assert requests.hello() is asked  # one is enough
    for other in ("somebody", "desk"):
        requests.take([wire.HELLO, wire.encode_welcome(5, other, 41, 0, 0)])
    assert (asked.result(), requests.next_request, requests.epoch) == (41, 42, 5)
    first, second = requests.commands([TIME, TIME]), requests.commands([TIME])
    assert (first.number, second.number, requests.next_request) == (42, 44, 45)
    assert wire.decode_commands(second.message[1]) == ("desk", 44, [TIME])


def test_answers_in_any_order_find_their_requests():
    requests = make()
    first, second, query = (
        requests.commands([TIME]), requests.commands([TIME, TIME]),
        requests.query({"query": "totals"}))
    assert requests.waiting == [first, second, query]
    answer = [wire.ANSWER, wire.encode_answer(5, query.number, {"reply": "totals"})]
    assert requests.take(answer) == [query] and query.result() == {"reply": "totals"}
    assert requests.take(outcomes(2, ROW, ROW)) == [second]
    assert [outcome.code for outcome in second.result()] == ["accepted"] * 2
    assert requests.waiting == [first] and not first.is_settled


def test_what_answers_nothing_is_ignored():
    requests = make()
    asked = requests.commands([TIME])
    for frames in (
            [], [b"x"], [wire.OUTCOMES, b"\xc1"], [b"unheard of", msgpack.packb([1])],
            [wire.OUTCOMES, b"", b""], outcomes(2, ROW), outcomes(1, ROW, ROW),
            outcomes(1, ROW, client="other"), [wire.ANSWER, wire.encode_answer(5, 7, {})]):
        assert requests.take(frames) == []
    assert requests.ignored_count == 9 and not asked.is_settled
    assert requests.take(outcomes(1, ROW)) == [asked]
    assert requests.take(outcomes(1, ROW)) == []  # the answer to having sent it twice


@given(st.lists(st.binary(max_size=40), max_size=4))
def test_noise_settles_nothing(frames):
    requests = make()
    asked = requests.commands([TIME])
    requests.take(frames)
    if frames[:1] != [wire.REFUSED]:
        assert not asked.is_settled


def test_a_refusal_fails_what_it_names_and_otherwise_everything():
    requests = make()
    command, one, other = (
        requests.commands([TIME]), requests.query({"query": "x"}), requests.query({"query": "y"}))
    refused = wire.encode_refused(5, "unknown query", wire.QUERY, one.number)
    assert requests.take([wire.REFUSED, refused]) == [one]
    with pytest.raises(RunError, match="ipc://x: malformed_message: unknown query"):
        one.result()
    assert requests.take([wire.REFUSED, wire.encode_refused(5, "what?")]) == [command, other]
    assert requests.waiting == []
    older = msgpack.packb([1, 5, "no"])  # without kind and number
    again = requests.query({"query": "x"})
    assert requests.take([wire.REFUSED, older]) == [again]


def test_another_version_fails_everything():
    requests = make()
    asked = requests.commands([TIME])
    assert requests.take([wire.OUTCOMES, msgpack.packb([2, "new"])]) == [asked]
    with pytest.raises(RunError, match="payload version 2"):
        asked.result()


def test_a_server_that_goes_down_leaves_a_number_to_ask_again_with():
    requests = make(7)
    asked = requests.commands([TIME, TIME])
    requests.take(outcomes(7, ["unavailable", None, None, None, "disk full"], ROW))
    with pytest.raises(NoAnswer, match="disk full") as caught:
        asked.result()
    assert caught.value.first_request == 7
    again = requests.commands([TIME, TIME], caught.value.first_request)
    assert again.message == asked.message and requests.next_request == 9
    with pytest.raises(ValueError, match="request 7 is on its way already"):
        requests.commands([TIME], 7)


def test_messages_of_no_or_too_many_commands_are_not_sent():
    requests = make()
    for count in (0, wire.COMMANDS_MAX + 1):
        with pytest.raises(InputError, match=f"expected 1 to 1024 commands, got {count}"):
            requests.commands([TIME] * count)
    assert requests.next_request == 1
