"""Metrics of publishers and standbys, as real servers answer them."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

from support.standbys import Standby, client_of

from tests.shell.test_operations import ASSET, scrape
from tests.shell.test_publishers import START, S

Samples = dict[tuple[str, ...], float]


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def wait(address: str, holds: Callable[[Samples], object]) -> Samples:
    """Scrape until something holds: the figures are written once a second."""
    deadline = time.monotonic() + 20
    while not holds(found := scrape(address)):
        assert time.monotonic() < deadline, repr({
            key: value for key, value in found.items() if "bucket" not in key[0]})
        time.sleep(0.1)
    return found


def test_what_publishers_do_is_counted(server, publishers, shell):
    address = free_address()
    options = [part for name, publisher in publishers.items()
               for part in ("--marks", f"{name}={publisher.endpoint}")]
    server.start(
        *options, "--scenario", shell.scenario(X="100"), "--metrics", address,
        "--min-sources", "2", "--stale-after", "5", "--max-deviation", "0.02")
    a, b, c = (publisher.wait() for publisher in publishers.values())
    for name, price in (("a", "100"), ("b", "100.2"), ("a", "100"), ("c", "100.1")):
        # One by one: whoever alone has said what time it is, is early.
        publishers[name].say(START, X=price)
        wait(address, lambda seen, it=name: seen.get(
            ("engine_feed_events_total", it, "messages")) == publishers[it].number)
    found = wait(address, lambda seen: all(
        seen.get(("engine_feed_events_total", name, "steps")) == 1 for name in "abc"))
    found = wait(address, lambda seen: ("engine_feed_stale", "X") not in seen)
    stale_before = found[("engine_feed_turned_stale_total",)]
    assert ("engine_feed_set_aside", "X") not in found
    assert found["engine_feed_events_total", "a", "gaps"] == 0
    assert found["engine_feed_ended", "a"] == 0
    # c is astray; a loses a message; then nobody but a is heard.
    c.say(START, X="1")
    a.number += 1
    a.say(START, X="100")
    found = wait(address, lambda seen: seen.get(("engine_feed_set_aside", "X")) == 1)
    assert found["engine_feed_events_total", "c", "set_aside"] == 1
    found = wait(address, lambda seen: seen["engine_feed_events_total", "a", "gaps"] == 1)
    assert found["engine_feed_events_total", "a", "missing_messages"] == 1
    assert 0 <= found["engine_feed_silence_seconds", "b"] < 60
    for at in range(1, 8):
        a.say(START + at * S, X="90")
    found = wait(address, lambda seen: seen.get(("engine_feed_stale", "X")) == 1)
    assert found[("engine_feed_turned_stale_total",)] == stale_before + 1
    b.say(START + 8 * S, X="90")
    wait(address, lambda seen: ("engine_feed_stale", "X") not in seen)
    # No standby is spoken of where nobody can follow.
    assert found[("engine_term",)] == 1 and found[("engine_standby",)] == 0
    assert ("engine_replication_standbys",) not in found


def test_a_single_feed_is_counted_too(server, publishers, shell):
    address, publisher = free_address(), publishers["a"]
    server.start("--marks", publisher.endpoint, "--scenario", shell.scenario(X="100"),
                 "--metrics", address)
    publisher.wait().say(START, X="100")
    publisher.number += 2
    publisher.say(START + S, X="101")
    found = wait(address, lambda seen: seen.get(("engine_feed_events_total", "feed", "gaps")))
    assert found["engine_feed_events_total", "feed", "missing_messages"] == 2
    assert found["engine_feed_ended", "feed"] == 0
    assert not [key for key in found if key[0].startswith("engine_feed_stale")]


def test_a_primary_and_its_standby(shell, tmp_path):
    primary = Standby(tmp_path / "a", shell.core)
    standby = Standby(tmp_path / "b", shell.core)
    at, there = free_address(), free_address()
    try:
        primary.lead("--standby-required", "1", "--standby-lost", "degrade",
                     "--standby-timeout", "0.5", "--metrics", at)
        wait(at, lambda seen: seen.get(("engine_replication_standbys",)) == 0)
        standby.follow(primary.replication, "--metrics", there)
        found = wait(at, lambda seen: seen[("engine_replication_standbys",)] == 1)
        assert found[("engine_replication_required",)] == 1
        with client_of(primary) as client:
            client.send_many([ASSET, *({"cmd": "account", "account": k} for k in range(1, 50))])
        found = wait(at, lambda seen: seen[("engine_seq",)] == 50)
        found = wait(at, lambda seen: seen[("engine_replication_lag_commands",)] == 0)
        assert found[("engine_replication_degraded",)] == 0 and found[("engine_standby",)] == 0
        found = wait(there, lambda seen: seen.get(("engine_standby_seq",)) == 50)
        assert found[("engine_standby",)] == 1 and found[("engine_ready",)] == 0
        assert found[("engine_standby_connected",)] == 1 and found[("engine_term",)] == 1
        # The primary is lost: the standby says so, and what it is once it has taken over.
        primary.kill()
        wait(there, lambda seen: seen[("engine_standby_connected",)] == 0)
        standby.take_over()
        found = wait(there, lambda seen: seen[("engine_standby",)] == 0)
        assert found[("engine_term",)] == 2 and ("engine_standby_seq",) not in found
        assert found[("engine_ready",)] == 1
    finally:
        primary.close()
        standby.close()
