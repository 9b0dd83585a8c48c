"""`engine load` as a user runs it: real processes, sockets and journals, small and short."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from support.servers import Server

from engine import cli
from engine.endpoints import free_tcp_endpoint
from engine.keys import make_key_files

ROOT = Path(__file__).resolve().parents[2]
SMALL = ("--accounts", "200", "--rate", "400", "--duration", "1s", "--traders", "2")


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "engine", *arguments], text=True, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def figures(self) -> dict[str, str]:
        pairs = (line.split(None, 1) for line in self.out.splitlines())
        return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


@pytest.fixture
def engine(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """The command line in this process; what it starts are processes."""

    def run(*arguments: str) -> Ended:
        code = cli.call(cli.app, arguments)
        said = capsys.readouterr()
        return Ended(code, said.out, said.err)

    return run


def test_its_own_server_with_a_journal(tmp_path, engine):
    journal, page, hgrm = (tmp_path / name for name in ("journal", "page.html", "x.hgrm"))
    done = engine(
        "load", *SMALL, "--clients", "2", "--journal", str(journal), "--page", str(page),
        "--hgrm", str(hgrm))
    assert done.code == 0, done.err
    figures = done.figures
    assert figures["drift"] == "0"
    assert figures["acknowledged"] == figures["applied"] == figures["answered"]
    assert int(figures["sent"]) > 200
    assert 0 < float(figures["p50_ms"]) <= float(figures["p99_ms"]) <= float(figures["max_ms"])
    # What was acknowledged is in the journal, and comes to the same state from it.
    verified = engine("verify", str(journal))
    assert verified.code == 0, verified.err
    assert verified.figures["state_hash"] == figures["state_hash"]
    assert hgrm.read_text().startswith("       Value")
    text = page.read_text()
    assert figures["state_hash"] in text and "Plotly.newPlot" in text
    assert 'src="http' not in text  # everything is inside
    again = engine("load", *SMALL, "--journal", str(journal))
    assert again.code == 2 and "there is a journal already" in again.err


def test_the_same_seed_sends_the_same(engine):
    def state(*options: str) -> str:
        done = engine("load", *SMALL, "--journal", "off", *options)
        assert done.code == 0, done.err
        return done.figures["state_hash"]

    # In batches the commands are due at other times, and so are others.
    first, again = state("--seed", "5"), state("--seed", "5")
    batched, packed = state("--batch", "20"), state("--batch", "20", "--packed")
    assert first == again != batched == packed


@pytest.mark.parametrize("arrivals", ["constant", "hawkes:0.5,20"])
def test_in_process(arrivals, engine):
    options = ("--rate", "5000", "--duration", "1s", "--accounts", "500", "--arrivals", arrivals)
    first, again = (engine("load", "--in-process", *options) for _ in range(2))
    for done in first, again:
        assert done.code == 0, done.err
        assert done.figures["acknowledged"] == done.figures["applied"] == done.figures["sent"]
        assert done.figures["drift"] == "0" and 4_000 < int(done.figures["sent"]) < 6_500
    assert first.figures["state_hash"] == again.figures["state_hash"]


def test_the_times_of_a_tape(tmp_path, engine):
    tape = tmp_path / "tape.csv"
    tape.write_text("id,price,qty,quote_qty,time,is_buyer_maker\n" + "".join(
        f"{at},100.0,1,100,{1_700_000_000_000 + at * at},false\n" for at in range(1, 60)))
    done = engine(
        "load", "--in-process", "--accounts", "0", "--rate", "1000", "--duration", "1s",
        "--arrivals", "tape", "--tape", str(tape))
    assert done.code == 0, done.err
    assert done.figures["arrivals"] == "tape" and 900 <= int(done.figures["sent"]) <= 1_100


def scenario(folder: Path) -> Path:
    path = folder / "scenario.jsonl"
    tier = {"min_notional": "0", "max_notional": None, "maintenance_margin_rate": "0.01",
            "max_leverage": "20"}
    path.write_text("".join(json.dumps(line) + "\n" for line in (
        {"cmd": "asset", "asset": "USDT", "decimals": 6},
        {"cmd": "instrument", "symbol": "BTCUSDT", "kind": "linear", "base": "BTC",
         "quote": "USDT", "settle": "USDT", "tick_size": "0.1", "lot_size": "0.001",
         "tiers": [tier]},
        {"cmd": "mark", "symbol": "BTCUSDT", "mark_price": "60000"})))
    return path


def test_a_server_that_runs_already_twice(tmp_path, engine):
    server = Server(tmp_path, "compiled")
    try:
        server.start("--scenario", str(scenario(tmp_path)))
        for _ in range(2):  # the second finds its traders and their orders
            done = engine(
                "load", "--connect", server.endpoint, "--rate", "300", "--duration", "1s",
                "--traders", "2")
            assert done.code == 0, done.err
            figures = done.figures
            assert figures["acknowledged"] == figures["applied"] == figures["answered"]
            assert "outcome_duplicate_order_id" not in figures
        rows = server.stop()
        assert rows["state_hash"] == figures["state_hash"]
        assert server.replayed().state_hash() == figures["state_hash"]
    finally:
        server.close()


def test_a_server_with_keys(tmp_path, engine):
    names = ("load-a", "load-b", "server", "stranger")
    public = {name: make_key_files(str(tmp_path), name)[2].decode() for name in names}
    rows = [f'[[client]]\nname = "{name}"\nkey = "{public[name]}"\nrole = "admin"\n'
            for name in names[:2]]
    (tmp_path / "clients.toml").write_text("".join(rows))
    keys = {name: str(tmp_path / f"{name}.key_secret") for name in names}
    server = Server(tmp_path, "compiled")
    server.endpoint = free_tcp_endpoint()
    try:
        server.start("--scenario", str(scenario(tmp_path)), "--key", keys["server"],
                     "--clients", str(tmp_path / "clients.toml"))
        to = ("load", "--connect", server.endpoint, "--duration", "1s", "--rate", "300",
              "--traders", "2", "--server-key", str(tmp_path / "server.key"))
        done = engine(*to, "--clients", "2", "--key", keys["load-a"], "--key", keys["load-b"])
        assert done.code == 0, done.err
        assert done.figures["acknowledged"] == done.figures["applied"] == done.figures["answered"]
        assert int(done.figures["applied"]) > 100
        twice = engine(*to, "--clients", "2", "--key", keys["load-a"], "--key", keys["load-a"])
        assert twice.code == 2 and "two keys of the same name" in twice.err
        # The right name in front of the wrong key, and a key that the server does not know.
        forged = tmp_path / "forged.key_secret"
        forged.write_text(Path(keys["load-b"]).read_text().replace("load-b", "load-a"))
        forged.chmod(0o600)
        refused = engine(*to, "--key", str(forged))
        assert refused.code == 1 and "the key is that of 'load-b'" in refused.err
        unknown = engine(*to, "--key", keys["stranger"])
        assert unknown.code == 1 and "client stranger: " in unknown.err, unknown.err
        assert unknown.err.count("\n") == 1
        assert server.stop()["state_hash"] == done.figures["state_hash"]
    finally:
        server.close()


def test_a_ctrl_c_gives_what_was_measured_so_far(tmp_path):
    server = Server(tmp_path, "compiled")
    try:
        server.start("--scenario", str(scenario(tmp_path)))
        process = start("load", "--connect", server.endpoint, "--rate", "200", "--duration", "60s",
                        "--soak", "--traders", "2")
        with server.client() as client:
            deadline = time.monotonic() + 60
            while client.query({"query": "state_hash"})["seq"] < 100:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=90)
        assert process.returncode == 0, err
        figures = Ended(0, out, err).figures
        assert figures["interrupted"].startswith("the figures are of what was sent")
        assert figures["acknowledged"] == figures["applied"] and int(figures["sent"]) < 12_000
        assert "memory_verdict" in figures and int(figures["drift_looks"]) >= 1
    finally:
        server.close()


def test_the_knees_of_two_servers(tmp_path, engine):
    page = tmp_path / "knee.html"
    done = engine(
        "load", "--knee", "--accounts", "0", "--accounts", "100", "--journal", "off", "--rate",
        "200", "--duration", "300ms", "--target", "1ms", "--repeats", "1", "--precision", "1",
        "--page", str(page), "--batch", "32")
    assert done.code == 0, done.err
    assert "knees, latencies at the knee" in done.out
    assert done.out.count("drift 0, state_hash") == 2
    text = page.read_text()
    assert "Where the 99th percentile leaves" in text and "Latency against rate" in text


@pytest.mark.parametrize("options, reason", [
    (("--rate", "0"), "--rate 0"),
    (("--arrivals", "never"), "--arrivals never"),
    (("--mix", "stop=1"), "--mix stop=1"),
    (("--duration", "soon"), "--duration soon"),
    (("--accounts", "1", "--accounts", "2"), "several of them go with --knee"),
    (("--connect", "tcp://10.0.0.1:5"), "not on loopback"),
    (("--connect", "tcp://127.0.0.1:5", "--journal", "off"), "--journal is of a server"),
    (("--key", "x.key_secret"), "--key and --server-key are of --connect"),
    (("--connect", "tcp://127.0.0.1:5", "--clients", "2", "--key", "x.key_secret"),
     "each client has its own; 2 of them, 1 keys"),
    (("--connect", "tcp://127.0.0.1:5", "--server-key", "x.key"), "1 of them, 0 keys"),
    (("--connect", "tcp://127.0.0.1:5", "--key", "no.key_secret"), "no.key_secret: cannot"),
    (("--in-process", "--clients", "2"), "--clients"),
    (("--in-process", "--knee"), "--in-process"),
    (("--soak", "--knee"), "--soak and --knee"),
    (("--fsync", "now"), "--fsync now: expected always, batch, off"),
    (("--arrivals", "tape"), "--tape FILE"),
    (("--population", "missing.json", "--journal", "off"), "missing.json: cannot open"),
    (("--journal", "off", "--symbol", "DOGE", "--accounts", "1"), "DOGE: no such instrument"),
])
def test_what_makes_no_sense(options, reason, engine):
    done = engine("load", *options)
    assert done.code == 2 and reason in done.err and done.err.count("\n") == 1, done.err
