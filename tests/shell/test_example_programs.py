"""The examples of whole programs do what they say, at a small size."""

from __future__ import annotations

import ast
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
PROGRAMS = ["matching_backend", "paper_venue", "replayed_crash", "risk_monitor", "what_if"]


def command(name: str, *arguments: str) -> list[str]:
    return [sys.executable, str(EXAMPLES / f"{name}.py"), *arguments]


ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def run(folder: Path, name: str, *arguments: str) -> list[str]:
    """Run an example from elsewhere, and return the lines it printed."""
    done = subprocess.run(
        command(name, *arguments), cwd=folder, env=ENVIRONMENT, capture_output=True, text=True,
        timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@pytest.fixture
def server(port: int, request: pytest.FixtureRequest) -> Iterator[int]:
    """An example that serves on a port."""
    process = subprocess.Popen(
        [*command(*request.param), "--port", str(port)], env=ENVIRONMENT,
        stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while True:
            assert process.poll() is None and time.monotonic() < deadline
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield port
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("name", PROGRAMS)
def test_an_example_is_short_and_says_what_it_shows(name):
    text = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    assert 40 <= sum(bool(line.strip()) for line in text.splitlines()) <= 120
    said = ast.get_docstring(ast.parse(text)) or ""
    assert len(said.split()) > 50 and f"python examples/{name}.py" in said


@pytest.mark.parametrize("name", PROGRAMS)
def test_its_help_is_laid_out_as_it_was_written(tmp_path: Path, name: str) -> None:
    text = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    said = (ast.get_docstring(ast.parse(text)) or "").splitlines()
    shown = run(tmp_path, name, "--help")
    assert shown[shown.index(said[0]):][:len(said)] == said


@pytest.mark.parametrize(("words", "said"), [
    (["replayed_crash", "nothere.zip"], "nothere.zip: cannot open: no such file or directory"),
    (["replayed_crash", "--accounts", "-4"], "plan: accounts must be a whole number from 1 to"),
    (["paper_venue", "nothere.zip"], "nothere.zip: cannot open: no such file or directory"),
    (["risk_monitor", "nonsense"], "cannot connect to nonsense: invalid argument"),
])
def test_a_mistake_is_told_in_one_line(tmp_path: Path, words: list[str], said: str) -> None:
    done = subprocess.run(
        command(*words), cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=60)
    [line] = done.stderr.splitlines()
    assert done.returncode == 1 and line.startswith(f"error: {said}")


@pytest.mark.parametrize("name", ["what_if", "matching_backend"])
@pytest.mark.parametrize("number", ["-5", "65536"])
def test_a_port_that_is_none(tmp_path: Path, name: str, number: str) -> None:
    done = subprocess.run(
        command(name, "--port", number), cwd=tmp_path, env=ENVIRONMENT, capture_output=True,
        text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == f"{name}.py: error: --port: from 0 to 65535"


@pytest.mark.parametrize("name", PROGRAMS)
def test_money_is_never_a_float(name):
    tree = ast.parse((EXAMPLES / f"{name}.py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        assert not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div))
        assert not (isinstance(node, ast.Name) and node.id == "float")


# --- a matching-only backend ----------------------------------------------------------


def test_the_matching_backend_shows_a_trade(tmp_path):
    lines = run(tmp_path, "matching_backend")
    assert lines[:2] == ['{"placed": 1, "filled": "0"}', '{"placed": 1, "filled": "0.75"}']
    assert lines[2] == (
        'the seller hears: {"fill": 1, "symbol": "BTC-USDT", "price": "60000.5", '
        '"quantity": "0.75"}')
    assert json.loads(lines[3]) == {
        "error": "price and quantity: positive multiples of tick and lot"}
    assert json.loads(lines[4]) == {"buy": [], "sell": [["60000.5", "1.25"]]}
    assert json.loads(lines[5]) == {"canceled": True}


ORDER = {"do": "place", "symbol": "ETH-USDT", "order_id": 1, "side": "buy", "price": "10",
         "quantity": "1"}


@pytest.mark.parametrize("server", [["matching_backend"]], indirect=True)
def test_the_matching_backend_answers_whatever_it_is_sent(server):
    with socket.create_connection(("127.0.0.1", server), 10) as client, client.makefile("rw") as io:

        def ask(line: object) -> dict:
            io.write(line if isinstance(line, str) else json.dumps(line))
            io.write("\n")
            io.flush()
            return json.loads(io.readline())

        for wrong in ("", "}", "1", "null", "[]", {}, {**ORDER, "symbol": "X"},
                      {**ORDER, "symbol": []}, {**ORDER, "do": "fly"}, {**ORDER, "side": 1},
                      {**ORDER, "order_id": "one"}, {**ORDER, "order_id": 1 << 70}):
            assert ask(wrong)["error"].startswith("malformed: ")
        for wrong in ({"price": "1e3"}, {"price": None}, {"quantity": "0"}, {"quantity": "-1"},
                      {"price": "0.001"}, {"price": "9" * 60}):
            assert ask({**ORDER, **wrong})["error"].startswith("price and quantity: ")
        assert ask(ORDER) == {"placed": 1, "filled": "0"}
        assert ask(ORDER)["error"].startswith("refused: ")
        # A JSON number is taken by its digits, not through a float.
        number = json.dumps({**ORDER, "order_id": 2}).replace('"10"', "10.10")
        assert ask(number) == {"placed": 2, "filled": "0"}
        assert ask({**ORDER, "do": "book"})["buy"] == [["10.1", "1"], ["10", "1"]]
        assert ask({**ORDER, "order_id": 3, "time_in_force": "fok", "price": "11"})[
            "error"].startswith("refused: ")
        assert ask({**ORDER, "do": "cancel"}) == {"canceled": True}
        assert ask({**ORDER, "do": "cancel"}) == {"canceled": False}


# --- a paper-trading venue ------------------------------------------------------------


def test_the_paper_venue_liquidates_the_bold(tmp_path):
    lines = run(tmp_path, "paper_venue")
    assert lines[0].startswith("(422, {'code': -2019, 'error': 'insufficient_margin'")
    assert lines[1].startswith("(200, {'order': ") and "'filled': '3'" in lines[1]
    events = [line.split()[1] for line in lines[2:-3]]
    assert events == ["margin_call", "liquidation_started", "liquidation_step",
                      "liquidation_finished", "margin_call_cleared"]
    assert re.fullmatch(r"bold 200 \{'USDT': '[0-9.]+'\} equity [0-9.]+ \[\]", lines[-3])
    assert lines[-2].endswith("[('BTCUSDT', '0.2')]")
    assert lines[-1] == "drift 0"


def test_the_paper_venue_answers_as_a_gateway_would(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    import paper_venue

    venue = paper_venue.PaperVenue()
    venue.mark(0, "60000")
    assert venue.call("GET", "/book/BTCUSDT")[1]["bids"] == []  # no orders before a mark
    venue.mark(1, "60000.04")
    call = venue.call
    assert call("POST", "/accounts", deposit="1000") == (201, {"account": 2})
    order = {"symbol": "BTC-PERP", "side": "buy", "type": "limit", "price": "59990",
             "quantity": "0.1"}
    status, said = call("POST", "/accounts/2/orders", **order)
    assert (status, said["status"], said["filled"]) == (200, "open", "0")
    status, book = call("GET", "/book/XBTUSDT")
    assert (status, book["bids"][0], book["asks"][0]) == (
        200, ["59998", "2"], ["60002", "2"])
    venue.mark(2, "59980")  # the house's offer meets the order on its way down
    assert call("GET", "/accounts/2")[1]["positions"][0]["quantity"] == "0.1"
    assert [call(*request)[0] for request in (
        ("GET", "/accounts/9"), ("GET", "/nothing"), ("PUT", "/accounts"), ("POST", "/accounts"),
        ("GET", "/accounts/x"), ("GET", "/book/SOL"), ("POST", "/accounts/2/orders"))] == [
        422, 404, 404, 400, 400, 400, 400]
    assert call("POST", "/accounts/2/orders", **{**order, "price": 59990.5})[0] == 400
    assert call("POST", "/accounts/2/orders", **{**order, "price": "1.05"}) == (
        422, {"code": -4014, "error": "off_tick",
              "detail": "price 1.05 is not a multiple of the tick, 0.1"})
    assert call("POST", "/accounts", deposit="-1")[0] == 422
    assert call("POST", "/accounts/2/orders", **order, speed="fast")[0] == 400


# --- a risk monitor -------------------------------------------------------------------


def test_the_risk_monitor_calls_and_takes_back(tmp_path):
    *calls, is_whole, drift = run(tmp_path, "risk_monitor", "--steps", "3000")
    assert (is_whole, drift) == ("the feed arrived whole: True", "drift 0")
    reached = [line for line in calls if "reached" in line]
    assert {line.split("reached ")[1].split(":")[0] for line in reached} == {"0.5", "0.8", "0.95"}
    assert any(line.endswith("is back under 0.8") for line in calls)
    assert all(re.search(r"needs [0-9.]+ USDT more, or [0-9.]+ \w+ closed", line)
               for line in reached)


def test_the_risk_monitor_follows_a_feed_that_is_there(tmp_path, endpoint):
    feed = subprocess.Popen(
        [sys.executable, "-m", "engine", "replay", "synthetic:steps=300", "--speed", "max",
         "--bind", endpoint], cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    try:
        assert run(tmp_path, "risk_monitor", endpoint)[-2:] == [
            "the feed arrived whole: True", "drift 0"]
        assert feed.wait(30) == 0
    finally:
        feed.kill()
        feed.wait()


# --- a what-if server -----------------------------------------------------------------


def test_the_what_if_server_leaves_the_original_alone(tmp_path):
    lines = run(tmp_path, "what_if", "--accounts", "500")
    assert lines[-1] == "the original has not changed: True"
    answers = [json.loads("{" + part.split("{", 1)[1])
               for part in "\n".join(lines[:-1]).split("BTCUSDT=")[1:]]
    counts = [one["liquidated"] for one in answers]
    assert counts == sorted(counts) and counts[0] < counts[1] < counts[2]
    assert {one["drift"] for one in answers} == {"0"}


@pytest.mark.parametrize("server", [["what_if", "--accounts", "100"]], indirect=True)
def test_the_what_if_server_refuses_what_is_no_question(server):
    def ask(path: str) -> tuple[int, dict]:
        try:
            with urlopen(f"http://127.0.0.1:{server}{path}", timeout=30) as answer:
                return answer.status, json.load(answer)
        except HTTPError as error:
            with error:
                return error.code, json.load(error)

    status, answer = ask("/what-if?BTCUSDT=-0.10")
    assert (status, answer["marks"]) == (200, {"BTCUSDT": "54000"})
    assert ask("/what-if?BTCUSDT=-0.10") == (status, answer)
    for path in ("/", "/what-if", "/what-if?SOLUSDT=-0.1", "/else?BTCUSDT=-0.1"):
        assert ask(path)[0] == 404
    for move in ("-1", "2", "x", "NaN", "1e-1", "-0.1&ETHUSDT=y"):
        assert ask(f"/what-if?BTCUSDT={move}")[0] == 400


# --- a replayed crash -----------------------------------------------------------------


def test_the_replayed_crash_is_the_same_twice(tmp_path):
    head, *minutes, drift, again = run(
        tmp_path, "replayed_crash", "synthetic:steps=600", "--accounts", "300", "--fund", "3000")
    assert head.split()[:6] == ["minute", "called", "liquidated", "to", "fund", "deleveraged"]
    sums = [sum(int(line.split()[at].replace(",", "")) for line in minutes) for at in (3, 4, 5)]
    assert min(sums) > 0  # liquidated, taken over, deleveraged
    assert minutes[0].startswith("2025-01-01 00:0") and minutes[0].endswith(" USDT")
    assert (drift, again) == ("drift 0", "the same state a second time: True")


def test_the_replayed_crash_takes_recorded_files(real_data, tmp_path):
    file = real_data / "oct10" / "BTCUSD_PERP-1m-2025-10-10.zip"
    if not file.is_file():
        pytest.skip(f"no {file.name}")
    lines = run(tmp_path, "replayed_crash", str(file), "--inverse", "--accounts", "200")
    assert lines[-2:] == ["drift 0", "the same state a second time: True"]
    assert any(line.startswith("2025-10-10 21:") for line in lines)
