"""The command line as a user meets it: real processes, exit codes, one line for each error."""

from __future__ import annotations

import json

import pytest
import zmq

from engine import __version__, cli, wire
from engine.endpoints import free_tcp_endpoint
from engine.publisher import MarkPublisher

FEED = "synthetic:seed=5,steps=120"


def test_version_and_help(shell):
    assert shell.run("--version").out == f"engine {__version__}\n"
    for command in ((), ("run",), ("serve",), ("replay",)):
        done = shell.run(*command, "--help")
        assert done.code == 0 and "Usage" in done.out and done.err == ""
    described = " ".join(shell.run("serve", "--help").out.split())
    assert "every command is durable before it is" in described


# --- run ------------------------------------------------------------------------------

ASSET = '{"cmd":"asset","asset":"USDT","decimals":6}\n'


def test_run_from_a_file_and_from_stdin(shell, scenario_file):
    with open(scenario_file, "a") as file:
        file.write('{"query":"state_hash"}\n')
    from_file = shell.run("run", scenario_file, "--core", shell.core)
    with open(scenario_file) as file:
        from_stdin = shell.run("run", "-", "--core", shell.core, stdin=file.read())
    assert from_file.code == from_stdin.code == 0
    assert from_file.out == from_stdin.out
    assert json.loads(from_file.out.splitlines()[-1])["reply"] == "state_hash"


@pytest.mark.parametrize("from_stdin", [True, False])
def test_run_stops_at_a_malformed_line(shell, tmp_path, from_stdin):
    text = ASSET + '{"cmd":"asset"}\n' + ASSET.replace("USDT", "BTC")
    path = tmp_path / "s.jsonl"
    path.write_text(text)
    if from_stdin:
        done = shell.run("run", "-", "--core", shell.core, stdin=text)
    else:
        done = shell.run("run", str(path), "--core", shell.core)
    assert done.code == 2
    assert [json.loads(line)["event"] for line in done.out.splitlines()] == ["asset_added"]
    assert done.only_error.startswith(f"{'<stdin>' if from_stdin else path}:2: ")


def test_run_survives_a_reader_that_leaves(shell, tmp_path):
    path = tmp_path / "s.jsonl"
    path.write_text('{"query":"totals"}\n' * 20_000)
    process = shell.start("run", str(path), "--core", shell.core)
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(30) == 1
    process.stdout = None


# --- replay and serve -----------------------------------------------------------------


def test_two_processes_twice_and_in_process_agree(shell, endpoint, scenario_file):
    hashes = []
    for _ in range(2):
        server = shell.start("serve", "--scenario", scenario_file, "--marks", endpoint,
                             "--core", shell.core, "--timeout", "20")
        publisher = shell.start("replay", FEED, "--speed", "max", "--bind", endpoint)
        sent = shell.finish(publisher)
        assert (sent.code, sent.err) == (0, "")
        counted = sent.figures
        assert (counted["steps"], counted["marks"], counted["messages"]) == ("120", "360", "5")
        served = shell.finish(server)
        assert (served.code, served.err) == (0, "")
        counted = served.figures
        assert (counted["steps"], counted["marks"], counted["gaps"]) == ("120", "360", "0")
        assert int(counted["accounts_breached"]) > 0 and int(counted["liquidation_steps"]) > 0
        assert counted["drift"] == "0" and counted["rejected"] == "0"
        hashes.append(counted["state_hash"])
    inside = shell.run("replay", FEED, "--in-process", "--scenario", scenario_file,
                       "--core", shell.core)
    assert inside.code == 0, inside.err
    assert inside.out.splitlines()[-1].startswith("state_hash")
    assert {*hashes, inside.figures["state_hash"]} == {hashes[0]}


def test_events_of_a_served_exchange(shell, endpoint, scenario_file):
    events_at = free_tcp_endpoint()
    context = zmq.Context()
    listener = context.socket(zmq.SUB)
    for wanted in (wire.END, wire.EVENTS):
        listener.setsockopt(zmq.SUBSCRIBE, wanted)
    listener.setsockopt(zmq.RECONNECT_IVL, 10)
    listener.connect(events_at)
    server = shell.start("serve", "--scenario", scenario_file, "--marks", endpoint,
                         "--core", shell.core, "--events", events_at)
    # Recorded pace leaves the listener time to connect; five steps take two seconds.
    publisher = shell.start("replay", "synthetic:steps=10", "--limit", "15", "--bind", endpoint)
    received = []
    while listener.poll(20_000):
        topic, sequence, payload = wire.split_frames(listener.recv_multipart())
        if topic == wire.END:
            assert wire.decode_end(payload).last_sequences == {"events.": 5}
            break
        received.append((sequence, wire.decode_events(payload)))
    listener.close(linger=0)
    context.term()
    assert shell.finish(publisher).code == shell.finish(server).code == 0
    sequences = [sequence for sequence, _ in received]
    assert sequences and sequences == list(range(sequences[0], 6))
    for _, (_, seq, _, events) in received:
        assert [event["event"] for event in events][:3] == ["mark"] * 3
        assert all(event["seq"] == seq for event in events)


def test_serve_without_a_publisher_times_out(shell, endpoint, scenario_file):
    done = shell.run("serve", "--scenario", scenario_file, "--marks", endpoint,
                     "--timeout", "0.3", "--core", shell.core)
    assert done.code == 1
    assert done.only_error == f"error: {endpoint}: no message at all for 0.3 s"


def test_replay_without_a_subscriber_times_out(shell, endpoint):
    done = shell.run("replay", FEED, "--speed", "max", "--bind", endpoint, "--timeout", "0.3")
    assert done.code == 1 and done.out == ""
    assert done.only_error == f"error: 0 of 1 subscribers at {endpoint} after 0.3 s"


def test_serve_reports_lost_messages(shell, endpoint, scenario_file):
    server = shell.start("serve", "--scenario", scenario_file, "--marks", endpoint,
                         "--core", shell.core, "--timeout", "10")
    context = zmq.Context()
    publisher = context.socket(zmq.XPUB)
    publisher.bind(endpoint)
    for _ in (wire.END, wire.HEARTBEAT, wire.MARKS):
        assert publisher.poll(20_000)
        publisher.recv()
    step = (2_000_000_000_000_000_000, [("BTCUSDT", "60000.004", None)])
    publisher.send_multipart(wire.make_frames(wire.MARKS, 5, wire.encode_marks(1, 5, [step])))
    end = wire.encode_end(1, {wire.MARKS: 5}, 5, 5)
    publisher.send_multipart(wire.make_frames(wire.END, 1, end))
    done = shell.finish(server)
    publisher.close(linger=0)
    context.term()
    assert done.code == 1
    first, second = done.err.splitlines()
    assert first == "feed: gap in marks.: messages 1 to 4 are missing"
    assert second.startswith("error: the feed did not arrive whole")
    assert done.figures["missing_messages"] == "4" and "state_hash" in done.figures


def test_serve_says_when_the_scenario_was_partly_refused(shell, tmp_path, endpoint):
    path = tmp_path / "s.jsonl"
    path.write_text(ASSET + ASSET)
    done = shell.run("serve", "--scenario", str(path), "--marks", endpoint, "--timeout", "0.2",
                     "--core", shell.core)
    assert done.err.splitlines()[0].startswith(
        f"{path}: 1 commands rejected, the first: asset, already_exists")


def test_replay_in_process_without_a_scenario(shell):
    done = shell.run("replay", FEED, "--in-process", "--core", shell.core,
                     "--derive", "D=BTCUSDT:2:10")
    assert done.code == 0, done.err
    counted = done.figures
    assert (counted["marks"], counted["rejected"], counted["drift"]) == ("480", "0", "0")


def test_symbols_can_be_mapped(shell, tmp_path):
    kline = tmp_path / "BTC-1m-2025-10-10.csv"
    kline.write_text("1760054400000,60000,60010,59990.123,60001,0,1760054459999,0,60,0,0,0\n")
    arguments = ("replay", str(kline), "--in-process", "--scenario",
                 shell.scenario(PERP="60000"), "--core", shell.core)
    done = shell.run(*arguments, "--map", "BTC=PERP")
    assert done.code == 0 and done.figures["marks"] == "4"
    refused = shell.run(*arguments)
    assert refused.code == 2
    assert refused.only_error.startswith(
        "error: the feed carries BTC, which is no instrument here (instruments: PERP)")


def test_feed_older_than_the_scenario(shell, tmp_path):
    path = tmp_path / "s.jsonl"
    with open(shell.scenario(BTCUSDT="60000", ETHUSDT="3000", SOLUSDT="150")) as lines:
        path.write_text(lines.read() + '{"cmd":"time","ts":1900000000000000000}\n')
    done = shell.run("replay", FEED, "--in-process", "--scenario", str(path),
                     "--core", shell.core)
    assert done.code == 2
    assert "before the exchange's time 1900000000000000000 ns" in done.only_error


# --- wrong input ----------------------------------------------------------------------


def test_port_in_use(shell):
    address = free_tcp_endpoint()
    with MarkPublisher(address):
        done = shell.run("replay", FEED, "--bind", address)
    assert done.code == 2
    assert done.only_error == f"error: cannot bind {address}: address already in use"


WRONG = {
    ("replay", "nowhere.zip"): "nowhere.zip: cannot open: no such file or directory",
    ("replay", "."): ".: cannot open: is a directory",
    ("replay",): "Missing argument 'FILE'",
    ("replay", FEED, "--colour"): "No such option: --colour",
    ("replay", FEED, "--speed", "0"): "--speed 0: expected a number above zero, or max",
    ("replay", FEED, "--speed", "nan"): "--speed nan: expected a number above zero, or max",
    ("replay", FEED, "--timeout", "nan"): "--timeout nan: expected seconds",
    ("replay", FEED, "--timeout", "inf"): "--timeout inf: expected seconds",
    ("replay", FEED, "--limit", "0"): "Invalid value for '--limit'",
    ("replay", FEED, "--bind", "tcp://0.0.0.0:5555"): "not on loopback",
    ("replay", FEED, "--bind", "here"): "endpoint 'here': expected tcp://127.0.0.1:PORT",
    ("replay", FEED, "--map", "X"): "--map X: expected FEEDSYMBOL=SYMBOL",
    ("replay", FEED, "--derive", "X"): "--derive X: expected SYMBOL=SOURCE:BETA:FIRSTPRICE",
    ("replay", FEED, "--in-process", "--core", "other"): "--core other: expected compiled or",
    ("replay", FEED, "--in-process", "--records"): "--records: an engine in this process",
    ("replay", FEED, "--crowd", "restore"): "--population and --crowd go with --in-process",
    ("replay", FEED, "--in-process", "--crowd", "restore", "--start", "2025-01-01"):
        "--start: a crowd's book is built from the beginning",
    ("replay", FEED, "--clock", "wall"): "--clock wall: expected exchange or local",
    ("replay", FEED, "--price", "mid"): "--price mid: expected one of auto, liquidation, last",
    ("replay", FEED, "--start", "noon"): "--start noon: no such date: 'noon'",
    ("replay", FEED, "--start", "2025-01-02", "--end", "2025-01-02"): "not after --start",
    ("replay", FEED, "--rebase", "2025-13-01"): "--rebase 2025-13-01: no such date",
    ("replay", FEED, "--in-process", "--loop", "0"): "needs an end; give --limit",
    ("replay", FEED, "--scenario", "x"): "--scenario goes with --in-process",
    ("run", "nowhere.jsonl"): "nowhere.jsonl: cannot open: no such file or directory",
    ("serve",): "Missing option '--scenario'",
    ("serve", "--scenario", "nowhere", "--core", "reference"): "nowhere: cannot open: no such",
    ("fly",): "No such command 'fly'",
}


@pytest.mark.parametrize("arguments", WRONG, ids=" ".join)
def test_wrong_input_is_one_line_and_exit_code_2(capsys, arguments):
    assert cli.call(cli.app, arguments) == 2
    out, err = capsys.readouterr()
    assert err.count("\n") == 1 and out == ""
    assert err.startswith("error: ") and WRONG[arguments] in err


def test_bad_scenario_names_file_and_line(shell, tmp_path, endpoint):
    path = tmp_path / "bad.jsonl"
    path.write_text(ASSET + "\nnot json\n")
    done = shell.run("serve", "--scenario", str(path), "--marks", endpoint, "--core", shell.core)
    assert done.code == 2
    assert done.only_error.startswith(f"error: {path}:3: ")


def test_bad_row_stops_a_replay(shell, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(
        "exchange,symbol,timestamp,local_timestamp,id,side,price,amount\n"
        "e,X,1760054400000000,0,1,buy,10,1\ne,X,1760054400000001,0,1,buy,ten,1\n")
    done = shell.run("replay", str(path), "--in-process", "--core", shell.core, "--strict")
    assert done.code == 2
    assert done.only_error == f"error: {path}:3: price is not a decimal number: 'ten'"


def test_recorded_feed_between_processes(shell, endpoint, real_data):
    scenario = shell.scenario(BTCUSD_PERP="121000")
    feed = str(real_data / "oct10" / "BTCUSD_PERP-1m-2025-10-10.zip")
    # The day's crash is in its last three hours; the plain reference does not need the rest.
    limit = () if shell.core == "compiled" else ("--limit", "400")
    server = shell.start("serve", "--scenario", scenario, "--marks", endpoint,
                         "--core", shell.core)
    publisher = shell.start("replay", feed, "--speed", "max", "--bind", endpoint, *limit)
    assert shell.finish(publisher).code == 0
    served = shell.finish(server)
    assert (served.code, served.err) == (0, "")
    assert served.figures["marks"] == ("5760" if not limit else "400")
    inside = shell.run("replay", feed, "--in-process", "--scenario", scenario,
                       "--core", shell.core, *limit)
    assert inside.figures["state_hash"] == served.figures["state_hash"]
    if not limit:
        assert int(served.figures["accounts_breached"]) > 0


# --- how a feed is played -------------------------------------------------------------

TRADES = "exchange,symbol,timestamp,local_timestamp,id,side,price,amount"


def trades_file(tmp_path, prices: list[str], spacing_us: int = 1_000_000) -> str:
    path = tmp_path / "trades.csv"
    first = 1_760_054_400_000_000
    times = [first + k * spacing_us for k in range(len(prices))]
    rows = [f"e,X,{t},{t},1,buy,{price},1" for t, price in zip(times, prices, strict=True)]
    path.write_text("\n".join([TRADES, *rows]) + "\n")
    return str(path)


def test_bad_rows_are_reported_or_stop_the_run(shell, tmp_path):
    path = trades_file(tmp_path, ["10", "oops", "11", "0"])
    done = shell.run("replay", path, "--in-process", "--core", shell.core)
    assert done.code == 0
    assert done.err.splitlines() == [
        f"{path}:3: price is not a decimal number: 'oops'",
        f"{path}:5: price must be above zero, not '0'"]
    assert (done.figures["bad_rows"], done.figures["marks"]) == ("2", "2")
    done = shell.run("replay", path, "--in-process", "--core", shell.core, "--strict")
    assert (done.code, done.out) == (2, "")
    assert done.only_error == f"error: {path}:3: price is not a decimal number: 'oops'"


def test_part_of_a_feed_in_a_loop_at_another_time(shell, tmp_path):
    path = trades_file(tmp_path, ["10", "11", "12", "13"])
    day = ("--start", "2025-10-10 00:00:01", "--end", "2025-10-10T00:00:03Z")
    plain = ("replay", path, "--in-process", "--core", shell.core, *day)
    assert shell.run(*plain).figures["marks"] == "2"
    looped = shell.run(*plain, "--loop", "3", "--rebase", "2030-01-01")
    assert (looped.code, looped.figures["marks"]) == (0, "6"), looped.err
    again = shell.run(*plain, "--loop", "0", "--limit", "6", "--rebase", "2030-01-01")
    assert again.figures["state_hash"] == looped.figures["state_hash"]


def test_pace_is_kept_and_its_error_reported(shell, tmp_path):
    path = trades_file(tmp_path, [str(k + 1) for k in range(11)], spacing_us=100_000)
    done = shell.run("replay", path, "--in-process", "--speed", "2", "--core", shell.core)
    figures = done.figures
    assert int(figures["marks_per_second"]) < 30  # 11 marks in half a second
    assert 0 <= int(figures["late_p50_us"]) <= int(figures["late_p99_us"])
    assert "late_p99_us" not in shell.run(
        "replay", path, "--in-process", "--core", shell.core).figures


def test_records_are_published_beside_the_marks(shell, tmp_path, endpoint):
    path = trades_file(tmp_path, ["10", "11", "12"])
    context = zmq.Context()
    listener = context.socket(zmq.SUB)
    for topic in (wire.END, wire.RECORDS, wire.MARKS):
        listener.setsockopt(zmq.SUBSCRIBE, topic)
    listener.connect(endpoint)
    publisher = shell.start("replay", path, "--speed", "max", "--records", "--bind", endpoint)
    received = []
    while listener.poll(20_000):
        topic, _, payload = wire.split_frames(listener.recv_multipart())
        if topic == wire.END:
            assert wire.decode_end(payload).last_sequences == {"marks.": 1, "records.": 1}
            break
        received.append((topic, payload))
    listener.close(linger=0)
    context.term()
    done = shell.finish(publisher)
    assert done.code == 0 and done.figures["records_trade"] == "3"
    assert [topic for topic, _ in received] == [wire.RECORDS, wire.MARKS]
    _, first, found = wire.decode_records(received[0][1])
    assert first == 1 and [record.price for record in found] == ["10", "11", "12"]
