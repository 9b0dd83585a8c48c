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
from support.standbys import Standby

from engine import Exchange
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


def trade(server: Server, price: str) -> int:
    """Let two accounts trade at a price; return the number of the command that traded."""
    with server.client() as client:
        for account, side in ((99, "sell"), (7, "buy")):
            outcome = client.send({
                "cmd": "order", "account": account, "symbol": "BTC", "quantity": "0.001",
                "order_id": int(price) + account, "side": side, "type": "limit", "price": price})
            assert outcome.code == "accepted"
    return outcome.seq


def test_marks_name_the_trade_that_moved_them_over_a_kill_and_a_takeover(
        shell, tmp_path, publisher):
    path = tmp_path / "pricing.toml"
    path.write_text('[BTC]\nimpact_notional = "1000"\nmark = {components = ["last"]}\n')
    options = ["--pricing", str(path), "--stale-after", "600", "--snapshot", "5",
               "--marks", f"spot={publisher.endpoint}"]
    first = [*options, "--scenario", shell.scenario(BTC="60000")]
    primary, standby = (Standby(tmp_path / name, shell.core) for name in ("one", "other"))
    expected = {}
    try:
        primary.lead(*first)
        standby.follow(primary.replication, *first)
        server = primary
        publisher.wait()
        trade(server, "60000")
        publisher.say(MIDNIGHT + 1, BTC="60000")
        for second, price in enumerate(("60000", "60010", "60020", "60030"), 1):
            # The trade is before the kill, and the mark that it moves is after. The first mark
            # has none before it, and so no cause.
            if second > 1:
                expected[price] = trade(server, price)
            if price == "60020":
                primary.kill()
                primary.lead(*first)
                publisher.wait()
                assert " replayed from seq 0 " not in primary.line("commands replayed")
            if price == "60030":
                standby.wait_for_seq(primary.last_seq)
                primary.kill()
                standby.take_over()
                publisher.wait()
                server = standby
            with server.client() as client:
                publisher.say(at := MIDNIGHT + second * S + 1, BTC="60000")
                until(lambda c=client, t=at: [
                    row["ts"] for row in c.query({"query": "feeds"})["prices"]] == [t - 1])
        rows = server.stop()
    finally:
        primary.close()
        standby.close()
    marks = [entry.command for entry in standby.entries() if entry.client == "feed/desk"]
    assert {mark["mark_price"]: mark["cause"] for mark in marks if "cause" in mark} == expected
    told = Exchange(core=shell.core)
    events = [event for entry in standby.entries() for event in told.apply(entry.command)]
    assert {event["mark_price"]: event["cause"] for event in events
            if event["event"] == "mark" and event["cause"] != event["seq"]} == expected
    assert {event["price"]: event["seq"] for event in events
            if event["event"] == "trade"}.items() >= expected.items()
    assert told.state_hash() == rows["state_hash"]


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
