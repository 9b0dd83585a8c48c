"""`engine serve --pricing`: marks, funding and multipliers that the server makes, over a kill."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.publishers import Publisher, until
from support.servers import Server

from engine.client import Client

S = 1_000_000_000
HOUR = 3600 * S
MIDNIGHT = 1_735_689_600 * S
PRICING = """
[BTC]
preset = "binance_usdm"
initial_rate = "0.01"
maintenance_rate = "0.005"
impact_notional = "1000"
funding = {interval_ns = 3_600_000_000_000}
volatility = {reference = "0.0005", warm_up = 3, half_life_ns = 30_000_000_000}
multipliers = {interval_ns = 5_000_000_000, notice_ns = 0}
"""


@pytest.fixture
def pricing(tmp_path: Path) -> str:
    path = tmp_path / "pricing.toml"
    path.write_text(PRICING)
    return str(path)


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with tempfile.TemporaryDirectory(prefix="eng") as folder:
        it = Publisher(f"ipc://{folder}/spot")
        yield it
        it.close()


@pytest.fixture
def start(shell, tmp_path: Path) -> Iterator:
    """Start servers, each in a folder of its own."""
    servers = []

    def run(name: str) -> Server:
        folder = tmp_path / name
        folder.mkdir()
        servers.append(Server(folder, shell.core))
        return servers[-1]

    yield run
    for server in servers:
        server.close()


def taken(client: Client) -> int:
    return client.query({"query": "feeds"})["sources"][0]["steps"]


def course(server: Server, options: list[str], kills: set[int]) -> dict[str, str]:
    """Two minutes around an hour: prices of one source, orders of one client; killed at times."""
    with tempfile.TemporaryDirectory(prefix="eng") as folder:
        publisher = Publisher(f"ipc://{folder}/spot")
        options = ["--marks", f"spot={publisher.endpoint}", *options]
        server.start(*options)
        publisher.wait()
        dice, at, since = random.Random(2), MIDNIGHT + HOUR - 60 * S, 0
        for turn in range(60):
            if turn in kills:
                server.kill()
                server.start(*options)
                publisher.wait()
                since = publisher.number
            at += dice.choice((S // 2, 3 * S // 2, 5 * S // 2, 5 * S // 2))
            publisher.say(at + S // 4, BTC=str(60_000 + dice.randrange(300)))
            with server.client() as client:
                until(lambda c=client, n=publisher.number - since: taken(c) == n)
                if turn % 7 == 3:
                    client.send({"cmd": "order", "account": 1, "symbol": "BTC",
                                 "order_id": turn + 1, "side": "buy" if turn % 2 else "sell",
                                 "type": "limit", "quantity": "0.1",
                                 "price": str(60_000 + dice.randrange(-300, 600) // 10 * 10)})
        publisher.close()
    return server.stop()


def test_a_kill_makes_no_difference(start, shell, pricing):
    scenario = shell.scenario(BTC="60000")
    with open(scenario, "a", encoding="utf-8") as lines:
        lines.write('{"cmd": "account", "account": 1000}\n')
    options = ["--pricing", pricing, "--scenario", scenario, "--stale-after", "60"]
    whole, killed = start("whole"), start("killed")
    rows = course(whole, options, set())
    again = course(killed, [*options, "--snapshot", "25"], {7, 20, 21, 40})
    made = [[entry.command for entry in one.entries()] for one in (whole, killed)]
    assert made[0] == made[1]
    assert (rows["seq"], rows["state_hash"]) == (again["seq"], again["state_hash"])
    assert rows["feed_commands_rejected"] == again["feed_commands_rejected"] == "0"
    kinds = [entry.command["cmd"] for entry in whole.entries() if entry.client == "feed/desk"]
    assert {"mark", "funding", "margin_multiplier"} <= {*kinds} and kinds.count("funding") == 1
    # What the server made is in the journal: a replay knows nothing of pricing.
    assert whole.replayed().state_hash() == rows["state_hash"]
    done = shell.run("verify", str(killed.journal), "--core", shell.core)
    assert done.code == 0 and done.figures["state_hash"] == rows["state_hash"], done.err


def test_marks_by_the_clock_and_other_rules_afterwards(start, shell, pricing, publisher, tmp_path):
    server = start("one")
    options = ["--marks", publisher.endpoint, "--clock", "wall", "--stale-after", "1.5"]
    server.start(*options, "--pricing", pricing, "--scenario", shell.scenario(BTC="60000"))
    publisher.wait()
    with server.client() as client:
        publisher.say(time.time_ns(), BTC="61000")
        until(lambda: client.query(
            {"query": "instrument", "symbol": "BTC"})["mark_price"] == "61000")
        [row] = client.query({"query": "feeds"})["prices"]
        assert (row["symbol"], row["index_price"]) == ("BTC", "61000")
        until(lambda: client.query({"query": "feeds"})["stale"] == ["BTC"])
    server.kill()
    server.start(*options)  # without pricing
    publisher.wait()
    assert "turns under other rules are in the journal" in server.line("other rules")
    with server.client() as client:
        publisher.say(time.time_ns(), BTC="61500.3")
        until(lambda: client.query(
            {"query": "instrument", "symbol": "BTC"})["mark_price"] == "61500.3")
    rows = server.stop()
    made = [entry for entry in server.entries() if entry.client == "feed/desk"]
    assert [entry.request for entry in made] == list(range(1, len(made) + 1))
    assert server.replayed().state_hash() == rows["state_hash"]


def test_a_table_in_the_file_of_options(start, shell, publisher, tmp_path):
    server = start("one")
    config = tmp_path / "server.toml"
    config.write_text(f"""
        marks = ["spot={publisher.endpoint}"]
        scenario = "{shell.scenario(BTC="60000")}"
        [pricing.BTC]
        impact_notional = 1000
        mark = {{components = ["index"]}}
        """)
    server.start("--config", str(config))
    publisher.wait()
    with server.client() as client:
        for second in (1, 2):
            publisher.say(MIDNIGHT + second * S + 1, BTC=f"6000{second}")
        until(lambda: client.query(
            {"query": "instrument", "symbol": "BTC"})["mark_price"] == "60001")
    assert server.stop()["drift"] == "0"
