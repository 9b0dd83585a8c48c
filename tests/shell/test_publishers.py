"""`engine serve` with several publishers: real processes and sockets, faults by seed."""

from __future__ import annotations

import random
import tempfile
import time
from collections import Counter

import pytest
from support.publishers import Publisher, until
from support.servers import Server

from engine.client import Client

S = 1_000_000_000
#: After the scenario, which has no time.
START = 1_700_000_000 * S


def feeds_of(publishers: dict[str, Publisher]) -> list[str]:
    return [part for name, publisher in publishers.items()
            for part in ("--marks", f"{name}={publisher.endpoint}")]


def commands_of(server: Server, name: str) -> list[dict]:
    return [entry.command for entry in server.entries() if entry.command["cmd"] == name]


def feeds(client: Client) -> dict:
    return client.query({"query": "feeds"})


def source(client: Client, name: str) -> dict:
    return next(row for row in feeds(client)["sources"] if row["source"] == name)


def test_one_is_absurd_two_die_one_restarts(server, publishers, shell):
    """The whole life of three publishers, on the clock of the steps."""
    scenario = shell.scenario(X="100", Y="100")
    server.start(*feeds_of(publishers), "--scenario", scenario, "--min-sources", "2",
                 "--stale-after", "5", "--max-deviation", "0.02")
    a, b, c = (publisher.wait() for publisher in publishers.values())
    with server.client() as client:

        def mark(symbol: str = "X") -> str:
            return client.query({"query": "instrument", "symbol": symbol})["mark_price"]

        def halts() -> list[str | None]:
            return [client.query({"query": "instrument", "symbol": symbol})["halt"]
                    for symbol in ("X", "Y")]

        for publisher, price in ((a, "100"), (b, "100.2"), (a, "100"), (c, "100.1")):
            publisher.say(START, X=price, Y="100")
            until(lambda p=publisher, n=publisher.number: source(
                client, next(k for k, v in publishers.items() if v is p))["messages"] == n)
        until(lambda: mark() == "100.1")
        # c goes mad: what the two others say stands, and nobody is liquidated at 1.
        c.say(START, X="1", Y="100")
        until(lambda: source(client, "c")["set_aside"] == 1)
        assert mark() == "100.1" and feeds(client)["stale"] == []
        # c dies, b is heard no more: X is stale, then b is back for Y alone.
        for at in range(1, 8):
            a.say(START + at * S, X="90", Y="100")
            b.say(START + at * S, Y="100.2")
        until(lambda: halts() == ["no_liquidation", None])
        assert feeds(client)["stale"] == ["X"] and feeds(client)["stale_count"] == 1
        assert mark("Y") == "100.1"
        b.restart()
        b.say(START + 8 * S, X="90")
        until(lambda: halts() == [None, None])
        assert mark() == "90" and source(client, "b")["restarts"] == 1
        queue = client.query({"query": "liquidation_queue"})
    rows = server.stop()
    assert (rows["feed_c_set_aside"], rows["stale_symbols"], rows["stale_count"]) == (
        "1", "none", "1")
    assert rows["drift"] == "0" and queue
    assert [c["symbol"] for c in commands_of(server, "halt")] == ["X"]
    assert "feed: X: stale, 1 of 2 sources that it needs" in server.line("X: stale")
    assert server.line("X: marks are back")
    # A replay needs the journal alone.
    assert server.replayed().state_hash() == rows["state_hash"]
    done = shell.run("verify", str(server.journal), "--core", shell.core)
    assert done.code == 0 and done.figures["state_hash"] == rows["state_hash"], done.err


def test_killed_in_between_nothing_is_taken_twice(server, publishers, shell):
    options = [*feeds_of(publishers), "--stale-after", "1000", "--snapshot", "40"]
    server.start(*options, "--scenario", shell.scenario(X="100"))
    for publisher in publishers.values():
        publisher.wait()
    dice, at = random.Random(5), START
    for _ in range(4):
        for _ in range(60):
            at += dice.randrange(S)
            publishers[dice.choice("abc")].say(at, X=str(dice.randrange(990, 1010) / 10))
        with server.client() as client:
            until(lambda c=client: sum(
                row["steps"] for row in feeds(c)["sources"]) > 10)
        server.kill()
        server.start(*options)
        for publisher in publishers.values():
            publisher.wait()
        assert not [line for line in server.lines if "other commands" in line]
    with server.client() as client:
        for publisher in publishers.values():
            publisher.say(at + S, X="100")
        until(lambda: client.query({"query": "instrument", "symbol": "X"})["mark_price"] == "100"
              and feeds(client)["sources"][2]["steps"] > 0)
    rows = server.stop()
    made = [entry for entry in server.entries() if entry.client == "feed/desk"]
    assert [entry.request for entry in made] == list(range(1, len(made) + 1)) and len(made) > 40
    times = [entry.command["ts"] for entry in made]
    assert times == sorted(times)
    assert server.replayed().state_hash() == rows["state_hash"]


@pytest.mark.parametrize("seed", [1, 2])
def test_messages_lost_doubled_and_out_of_order(server, shell, seed):
    dice = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="eng") as folder:
        publishers = {name: Publisher(f"ipc://{folder}/{name}", dice=dice) for name in "ab"}
        server.start(*feeds_of(publishers), "--scenario", shell.scenario(X="100"),
                     "--stale-after", "1000")
        for publisher in publishers.values():
            publisher.wait()
        for at in range(200):
            for publisher in publishers.values():
                publisher.say(START + at * S, X=str(100 + at % 3))
        for publisher in publishers.values():
            publisher.beat()
        with server.client() as client:
            until(lambda: all(
                row["steps"] + row["missing_messages"] >= 200
                for row in feeds(client)["sources"]))
            seen = {row["source"]: row for row in feeds(client)["sources"]}
        rows = server.stop()
        for publisher in publishers.values():
            publisher.close()
    total = Counter()
    for row in seen.values():
        # Each step is taken once or missing; what came late, or again, is ignored and counted.
        assert row["steps"] + row["missing_messages"] == 200
        total.update({what: row[what] for what in (
            "missing_messages", "duplicates", "reordered", "gaps")})
    assert min(total.values()) > 0, total
    times = [command["ts"] for command in commands_of(server, "marks") if "ts" in command]
    assert times == sorted(times) and len(times) == sum(row["steps"] for row in seen.values())
    assert rows["feed_commands_rejected"] == "0"
    assert server.replayed().state_hash() == rows["state_hash"]


def test_the_wall_clock_notices_what_is_late_and_what_has_gone(server, publishers, shell):
    only_a = {"a": publishers["a"]}
    server.start(*feeds_of(only_a), "--clock", "wall", "--stale-after", "0.5", "--scenario",
                 shell.scenario(X="100"))
    a = publishers["a"].wait()
    with server.client() as client:
        a.say(time.time_ns(), X="101")
        until(lambda: source(client, "a")["steps"] == 1)
        a.say(time.time_ns() - 2 * S, X="1")
        a.say(time.time_ns() + 3600 * S, X="1")
        until(lambda: (source(client, "a")["late"], source(client, "a")["ahead"]) == (1, 1))
        until(lambda: feeds(client)["stale"] == ["X"])
        assert client.query({"query": "instrument", "symbol": "X"})["halt"] == "no_liquidation"
        a.say(time.time_ns(), X="102")
        until(lambda: feeds(client)["stale"] == [])
    assert server.stop()["stale_count"] == "1"


def test_no_time_passes_and_a_symbol_goes_quiet(server, publishers, shell):
    server.start("--marks", publishers["a"].endpoint, "--stale-after", "0.3", "--scenario",
                 shell.scenario(X="100", Y="100"))
    a = publishers["a"].wait()
    with server.client() as client:
        a.say(START, X="101", Y="101")
        until(lambda: feeds(client)["stale"] == ["X", "Y"])
        a.say(START, X="101")
        until(lambda: feeds(client)["stale"] == ["Y"])
        a.end()
        until(lambda: feeds(client)["sources"][0]["has_ended"])
    assert server.stop()["feed_feed_late"] == "0"


BAD = [
    (["--marks", "a=ipc://x", "--marks", "ipc://y"], "several publishers need names"),
    (["--marks", "a=ipc://x", "--marks", "a=ipc://y"], "two publishers of one name"),
    (["--marks", "a=ipc://x", "--marks", "b=ipc://x"], "two publishers of one endpoint"),
    (["--marks", "a b=ipc://x"], "a publisher's name is 1 to 32 letters"),
    (["--marks", "a=tcp://10.0.0.1:5000"], "not on loopback"),
    (["--marks", "a=ipc://x", "--min-sources", "2"], "expected 1 to 1, the publishers"),
    (["--marks", "ipc://x", "--stale-after", "0"], "--stale-after 0: expected seconds"),
    (["--marks", "ipc://x", "--max-deviation", "-1"], "--max-deviation -1: expected a share"),
    (["--marks", "ipc://x", "--max-deviation", "0"], "--max-deviation 0: expected a share above 0"),
    (["--commands", "ipc://y", "--stale-after", "1"], "--stale-after goes with --marks"),
]


@pytest.mark.parametrize(("options", "problem"), BAD)
def test_options_are_checked(shell, tmp_path, options, problem, capsys):
    from engine import cli

    with pytest.raises(SystemExit) as ended:
        cli.main(["serve", "--journal", str(tmp_path / "journal"), *options])
    assert ended.value.code == 2 and problem in capsys.readouterr().err
    assert not (tmp_path / "journal").exists()


def test_without_commands_it_ends_with_its_feeds(shell, publishers, tmp_path):
    two = {name: publishers[name] for name in "ab"}
    options = ["--journal", str(tmp_path / "journal"), "--core", shell.core, *feeds_of(two)]
    scenario = shell.scenario(X="100")
    server = shell.start("serve", *options, "--scenario", scenario)
    for publisher in two.values():
        publisher.wait()
    for publisher in two.values():
        for at in range(5):
            publisher.say(START + at * S, X="100")
        publisher.end()
    done = shell.finish(server)
    assert done.code == 0, done.err
    assert done.figures["feed_a_steps"] == done.figures["feed_b_steps"] == "5"
    # A feed of which something is missing is not whole, and the exit code says so.
    server = shell.start("serve", *options)
    for publisher in two.values():
        publisher.wait()
        publisher.restart()
        publisher.number += 1
        publisher.say(START + 60 * S, X="100")
        publisher.end()
    done = shell.finish(server)
    assert done.code == 1 and "did not arrive whole" in done.err
    assert done.figures["feed_a_missing_messages"] == "1"
    # And where nobody is there at all it does not wait for ever.
    done = shell.run("serve", *options, "--timeout", "0.3")
    assert done.code == 1 and "nothing from any feed for 0.3 s" in done.err
