"""`engine run`: outputs as JSON lines, and errors that name file, line and cause."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from engine import Exchange, InputError
from engine.scenario import run

GOOD = '{"cmd": "asset", "asset": "USDT", "decimals": 2}'


def outputs(text: str, exchange: Exchange) -> list[dict[str, Any]]:
    out = io.StringIO()
    run(io.StringIO(text), "market.jsonl", out, exchange)
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_commands_and_queries_in_order(exchange: Exchange) -> None:
    lines = outputs(GOOD + '\n\n  \n{"query": "totals"}\n{"cmd": "time", "ts": 7}\n'
                    '{"query": "state_hash"}\n', exchange)
    assert [line.get("event") or line.get("reply") for line in lines] == [
        "asset_added", "totals", "state_hash"]
    assert [(line["seq"], line["ts"]) for line in lines] == [(1, 0), (1, 0), (2, 7)]


def test_a_rejection_is_data_and_the_run_goes_on(exchange: Exchange) -> None:
    lines = outputs(GOOD + "\n" + GOOD + '\n{"query": "totals"}', exchange)
    assert [line.get("event") or line.get("reply") for line in lines] == [
        "asset_added", "rejected", "totals"]


@pytest.mark.parametrize(("line", "what"), [
    ("{", "not JSON"),
    ("cmd", "not JSON"),
    ('{"cmd": "time"} {"cmd": "time"}', "not JSON"),
    ('{"cmd": "time", "ts": NaN}', "not JSON"),
    ('{"cmd": "mark", "symbol": "BTC", "mark_price": Infinity}', "not JSON"),
    ('{"cmd": "time", "cmd": "time"}', "not JSON: field 'cmd' twice"),
    ('{"cmd": "time", "ts": ' + "1" * 5000 + "}", "not JSON"),
    ("[" * 100_000, "not JSON"),
    ("[]", "not a JSON object"),
    ("5", "not a JSON object"),
    ('"cmd"', "not a JSON object"),
    ("null", "not a JSON object"),
    ("{}", "neither 'cmd' nor 'query'"),
    ('{"cmd": "fly"}', "unknown cmd: 'fly'"),
    ('{"query": "sky"}', "unknown query: 'sky'"),
    ('{"cmd": "time", "colour": 1}', "cmd 'time': unknown field 'colour'"),
    ('{"cmd": "account"}', "cmd 'account': field 'account' is missing"),
    ('{"cmd": "mark", "symbol": "BTC", "mark_price": 1.5}', "must be a decimal string"),
    ('{"cmd": "mark", "symbol": "BTC", "mark_price": 1e400}', "must be a decimal string"),
    ('{"cmd": "account", "account": 1.0}', "must be an integer"),
    ('{"cmd": "account", "account": true}', "must be an integer"),
])
def test_malformed_line(exchange: Exchange, line: str, what: str) -> None:
    out = io.StringIO()
    with pytest.raises(InputError) as caught:
        run(io.StringIO(f"{GOOD}\n\n{line}\n{GOOD}\n"), "market.jsonl", out, exchange)
    message = str(caught.value)
    assert message.startswith("market.jsonl:3: ")
    assert what in message
    assert "\n" not in message
    assert len(message) < 300
    # What came before is applied and printed, nothing after it is.
    assert len(out.getvalue().splitlines()) == 1
    assert exchange.seq == 1


def test_a_line_that_is_not_utf8_is_named(exchange: Exchange) -> None:
    raw = io.BytesIO(GOOD.encode() + b'\n{"cmd": "\xff"}\n')
    lines = io.TextIOWrapper(raw, encoding="utf-8")
    with pytest.raises(InputError, match=r"^<stdin>:\d+: not UTF-8"):
        run(lines, "<stdin>", io.StringIO(), exchange)


def test_output_is_one_compact_object_a_line(exchange: Exchange) -> None:
    out = io.StringIO()
    run(io.StringIO('{"cmd": "asset", "asset": "Ü", "decimals": 2}'), "x", out, exchange)
    assert out.getvalue() == '{"seq":1,"ts":0,"event":"asset_added","asset":"Ü","cause":1}\n'


def test_numbers_may_be_json_integers(exchange: Exchange) -> None:
    lines = outputs(
        GOOD + '\n{"cmd":"account","account":1}\n'
        '{"cmd":"deposit","account":1,"asset":"USDT","amount":5}', exchange)
    assert lines[-1]["wallet"] == "5"
