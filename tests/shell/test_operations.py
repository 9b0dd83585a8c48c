"""Metrics, health, logs and `engine top` of real servers."""

from __future__ import annotations

import io
import json
import re
import signal
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from engine import logs
from engine.batches import empty_commands
from engine.client import Client
from engine.errors import RunError
from engine.messages import Command
from engine.serving import top

ASSET = {"cmd": "asset", "asset": "USDT", "decimals": 6}
ACCOUNT = {"cmd": "account", "account": 1}
DEPOSIT = {"cmd": "deposit", "account": 1, "asset": "USDT", "amount": "1"}
STAGES = {"receive", "journal", "apply", "publish", "turn"}


@pytest.fixture
def address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def page(address: str, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as found:
            return found.status, found.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def scrape(address: str) -> dict[tuple[str, ...], float]:
    """Samples by name and the values of their labels."""
    status, text = page(address, "/metrics")
    assert status == 200
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text) for sample in family.samples}


# --- metrics and health -------------------------------------------------------------------------


def test_metrics_are_what_was_sent(server, address, tmp_path):
    server.start("--metrics", address, "--events", server.events)
    with server.client() as client:
        client.send_many([ASSET, ACCOUNT, DEPOSIT, {**DEPOSIT, "amount": "-1"}, {"cmd": "x"}])
        client.send({"cmd": "insurance", "asset": "USDT", "amount": "12.5"})
        packed = empty_commands(3)
        packed["cmd"], packed["account"], packed["symbol"] = Command.DEPOSIT, 1, 0
        packed["quantity"] = [5, 7, -1]
        client.send_packed(packed)
        client.query({"query": "totals"})
        with pytest.raises(RunError):
            client.query({"query": "nonsense"})
        deadline = time.monotonic() + 10
        while (found := scrape(address))[("engine_seq",)] < 8 and time.monotonic() < deadline:
            time.sleep(0.1)
    commands = {key[1]: value for key, value in found.items() if key[0] == "engine_commands_total"}
    assert commands == {"accepted": 6, "rejected": 2, "malformed": 1}
    assert found["engine_refusals_total", "malformed_query"] == 1
    assert found[("engine_queries_total",)] == 1
    assert found[("engine_messages_total",)] == 6  # with the greeting
    assert found[("engine_clients_active",)] == 1
    assert found["engine_drift", "USDT"] == 0
    assert found["engine_insurance_fund", "USDT", ""] == 12.5
    assert found[("engine_liquidation_queue",)] == 0 and found[("engine_ready",)] == 1
    assert abs(found[("engine_start_time_seconds",)] - time.time()) < 60
    batches = found[("engine_batches_total",)]
    assert 1 <= batches <= 3
    for stage in STAGES - {"publish"}:
        assert found["engine_stage_seconds_count", stage] == batches
        assert found["engine_stage_seconds_bucket", "+Inf", stage] == batches
        assert 0 < found["engine_stage_seconds_sum", stage] < 60
    assert found["engine_stage_seconds_sum", "turn"] > found["engine_stage_seconds_sum", "journal"]


def test_health_is_told_over_both_roads(server, shell, address, tmp_path):
    server.start("--metrics", address)
    for path in ("/health", "/ready"):
        status, text = page(address, path)
        assert status == 200 and json.loads(text)["epoch"] == server.epoch
    assert page(address, "/elsewhere")[0] == 404
    for endpoint in (server.endpoint, f"http://{address}"):
        done = shell.run("health", endpoint)
        assert (done.code, done.out) == (0, f"serving: epoch {server.epoch}, seq 0\n")
    server.stop()
    for endpoint in (server.endpoint, f"http://{address}"):
        done = shell.run("health", endpoint, "--timeout", "0.3")
        assert done.code == 1 and done.only_error.startswith(f"error: {endpoint}: ")


def test_a_server_that_recovers_is_alive_and_not_ready(tmp_path):
    from engine.serving.figures import Figures
    from engine.serving.metrics import STALL_S, health

    figures = Figures()
    assert health(figures)[:2] == (True, False)
    figures.turned_at -= 2 * STALL_S
    assert health(figures)[:2] == (True, False)  # replaying may take its time
    figures.state = "serving"
    is_alive, is_ready, words = health(figures)
    assert not is_alive and not is_ready and "has not come round for 20 s" in words["status"]
    figures.turned_at = time.monotonic()
    assert health(figures)[:2] == (True, True)
    figures.state = "stopping"
    assert health(figures)[:2] == (True, False)


def test_ages_of_marks_and_of_the_snapshot(server, shell, endpoint, scenario_file, address):
    server.start("--scenario", scenario_file)
    server.stop()
    server.start("--metrics", address, "--marks", endpoint)
    sent = shell.finish(shell.start(
        "replay", "synthetic:seed=5,steps=20", "--speed", "max", "--bind", endpoint))
    assert sent.code == 0, sent.err
    time.sleep(0.2)
    found = scrape(address)
    ages = {key[1]: value for key, value in found.items() if key[0] == "engine_mark_age_seconds"}
    assert set(ages) == {"BTCUSDT", "ETHUSDT", "SOLUSDT"}
    assert all(0 < age < 30 for age in ages.values())
    if server.core == "compiled":
        assert 0 <= found[("engine_snapshot_age_seconds",)] < 60
        assert found[("engine_snapshot_seq",)] > 50


@pytest.mark.parametrize("given, problem", [
    ("0.0.0.0:9100", "--metrics 0.0.0.0:9100: expected 127.0.0.1:PORT"),
    ("127.0.0.1:99999", "expected 127.0.0.1:PORT"),
    ("9100", "expected 127.0.0.1:PORT"),
])
def test_metrics_are_for_this_machine(shell, tmp_path, given, problem):
    done = shell.run("serve", "--journal", "j", "--commands", f"ipc://{tmp_path}/c",
                     "--metrics", given)
    assert done.code == 2 and problem in done.only_error
    assert not (tmp_path / "j").exists()


def test_ports_in_use_are_one_clear_line(shell, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for option, at in (("--metrics", f"127.0.0.1:{port}"), ("--events", None)):
            tcp = f"tcp://127.0.0.1:{port}"
            done = shell.run("serve", "--journal", "j", "--commands", f"ipc://{tmp_path}/c",
                             option, at or tcp, "--core", shell.core)
            assert done.code == 2
            assert f"{at or tcp}: " in done.err and "address already in use" in done.err
            assert "Traceback" not in done.err


# --- logs -------------------------------------------------------------------------------------


def test_logs_are_objects_with_level_and_event(server, shell, tmp_path):
    process = shell.start("serve", "--journal", str(tmp_path / "j"), "--commands",
                          server.endpoint, "--log", "json", "--core", shell.core)
    with server.client() as client:
        client.send(ASSET)
    process.send_signal(signal.SIGTERM)
    done = shell.finish(process)
    assert done.code == 0 and done.figures["commands"] == "1"
    lines = [json.loads(line) for line in done.err.splitlines()]
    assert [line["event"] for line in lines][-1] == "ready"
    ready = lines[-1]
    assert ready["level"] == "info" and ready["message"].startswith("ready: commands at ipc://")
    assert ready["epoch"] == int(done.figures["epoch"]) and ready["seq"] == 0
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00", line["ts"]) for line in lines)
    failed = shell.run("serve", "--journal", str(tmp_path / "j"), "--commands",
                       "tcp://nowhere", "--log", "json")
    (line,) = map(json.loads, failed.err.splitlines())
    assert failed.code == 2 and (line["level"], line["event"]) == ("error", "error")
    assert "tcp://nowhere" in line["message"]


def test_a_log_style_that_is_none(shell, tmp_path):
    done = shell.run("serve", "--journal", "j", "--commands", f"ipc://{tmp_path}/c",
                     "--log", "xml")
    assert done.code == 2 and "--log xml: expected text or json" in done.only_error


def test_fields_never_hide_what_every_line_has(capsys):
    logs.configure("json")
    try:
        logs.say("a line", "something", level=30, message="m", count=3, path=Path("x"))
    finally:
        logs.configure("text")
    logs.say("plain")
    first, second = capsys.readouterr().err.splitlines()
    found = json.loads(first)
    assert (found["message"], found["message_"], found["count"], found["path"]) == (
        "a line", "m", 3, "x")
    assert (found["level"], found["event"], second) == ("warning", "something", "plain")


# --- engine top ---------------------------------------------------------------------------------


def test_one_frame_of_top(server, shell, scenario_file):
    server.start("--scenario", scenario_file)
    done = shell.run("top", server.endpoint, "--once", "--symbol", "ETHUSDT", "--depth", "2")
    assert done.code == 0, done.err
    for text in ("serving", "seq ", "Commands", "Latency", "journal", "ETHUSDT", "mark", "3000",
                 "Liquidation queue: 0", "fund USDT", "drift USDT"):
        assert text in done.out, text
    assert "BTCUSDT" not in done.out and "\x1b" not in done.out
    wrong = shell.run("top", server.endpoint, "--once", "--symbol", "NOPE")
    assert wrong.code == 2 and "--symbol NOPE: the server has no such symbol" in wrong.only_error


def test_frames_fit_any_width(server, scenario_file):
    server.start("--scenario", scenario_file)
    with server.client("top") as client:
        before = top.read(client, (), 5)
        client.send(DEPOSIT)
        reading = top.read(client, (), 5)
    for width in (40, 80, 120, 200):
        screen = Console(width=width, file=io.StringIO(), highlight=False)
        screen.print(top.frame(reading, before, "ipc://x", width))
        lines = screen.file.getvalue().splitlines()
        assert max(map(len, lines)) <= width
        text = "\n".join(lines)
        for shown in ("BTCUSDT", "ETHUSDT", "SOLUSDT", "60000"):
            assert shown in text
        assert ("▏" in text or "█" in text) == (width >= 100)


def test_frames_go_on_below_each_other_where_the_cursor_cannot_move(server, shell, scenario_file):
    server.start("--scenario", scenario_file)
    process = shell.start("top", server.endpoint, "--interval", "0.1")
    lines = []
    while sum("Liquidation queue" in line for line in lines) < 3:
        lines.append(process.stdout.readline())
    process.send_signal(signal.SIGINT)
    done = shell.finish(process)
    assert (done.code, done.err) == (0, "") and "\x1b" not in "".join(lines)


def test_top_without_a_server(shell, tmp_path):
    done = shell.run("top", f"ipc://{tmp_path}/none", "--once", "--timeout", "0.3")
    assert done.code == 1 and "no answer for 0.3 s" in done.only_error


# --- shutdown -----------------------------------------------------------------------------------


def test_what_was_taken_is_answered_before_the_end(server, shell):
    """SIGTERM while commands are on their way: whatever was acknowledged is in the journal."""
    server.start()
    acknowledged = 0
    with Client(server.endpoint, "desk", timeout_s=2, retry_s=1) as client:
        client.send_many([ASSET, ACCOUNT])
        for turn in range(20):
            if turn == 10:
                assert server.process is not None
                server.process.send_signal(signal.SIGTERM)
            try:
                acknowledged += len(client.send_many([DEPOSIT] * 20))
            except RunError:
                break
            if server.process is not None and server.process.poll() is not None:
                break
    rows = server.stop()
    assert acknowledged >= 200 and int(rows["seq"]) >= acknowledged + 2
    done = shell.run("verify", str(server.journal), "--core", shell.core)
    assert done.figures["ends_clean"] == "yes" and done.figures["seq"] == rows["seq"]
