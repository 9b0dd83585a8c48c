"""The same commands give the same state: whoever asks, however they were batched."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.market import STEEP_TIERS, Desk
from support.universe import Universe

from engine import Exchange

ROOT = Path(__file__).resolve().parents[2]
NewExchange = Callable[[], Exchange]


def commands(seed: int, count: int = 250) -> list[dict[str, Any]]:
    """Return a random stream, drawn against a scratch exchange."""
    universe, exchange = Universe(seed), Exchange(core="reference")
    log = list(universe.opening())
    for command in log:
        universe.observe(exchange.apply(command))
    for _ in range(count):
        log.append(universe.next())
        universe.observe(exchange.apply(log[-1]))
    return log


@pytest.mark.parametrize("seed", range(3))
def test_two_exchanges_in_one_process_give_identical_output(
    new_exchange: NewExchange, seed: int
) -> None:
    """Elsewhere ids came from a process-wide counter, so that the second run differed."""
    log = commands(seed)
    one, other = new_exchange(), new_exchange()
    assert [one.apply(line) for line in log] == [other.apply(line) for line in log]
    assert one.state_hash() == other.state_hash()


@pytest.mark.parametrize("seed", range(3))
def test_when_events_are_drained_makes_no_difference(
    new_exchange: NewExchange, seed: int
) -> None:
    log = commands(seed)
    one, late, raw = new_exchange(), new_exchange(), new_exchange()
    events, hashes = [], []
    for line in log:
        events += one.apply(line)
        late.submit(line)
        raw.submit(line)
        hashes.append(one.state_hash())
        assert late.state_hash() == hashes[-1]
        if len(hashes) % 10 == 0:
            raw.drain_records()
    assert late.drain() == events
    assert late.state_hash() == raw.state_hash() == hashes[-1]


@pytest.mark.parametrize("seed", range(3))
def test_queries_change_nothing(new_exchange: NewExchange, seed: int) -> None:
    log = commands(seed, 100)
    quiet, asked = new_exchange(), new_exchange()
    for line in log:
        quiet.apply(line)
        events = asked.apply(line)
        del events
        for account in (1, 2, 77):
            for name in ("account", "orders"):
                asked.query({"query": name, "account": account})
            for symbol in (*asked.symbols, "Z"):
                asked.query({"query": "position", "account": account, "symbol": symbol})
        for symbol in (*asked.symbols, "Z"):
            for name in ("book", "tiers", "instrument", "adl_ranking"):
                asked.query({"query": name, "symbol": symbol})
        for name in ("liquidation_queue", "insurance", "totals", "state_hash"):
            asked.query({"query": name})
        asked.check()
    assert asked.state_hash() == quiet.state_hash()
    assert asked.seq == quiet.seq


def test_hash_does_not_depend_on_pythons_hash_seed(core_name: str) -> None:
    script = (
        "import sys; sys.path[:0] = sys.argv[2:]\n"
        "from engine import Exchange; from support.universe import Universe\n"
        "exchange, universe = Exchange(core=sys.argv[1]), Universe(5)\n"
        "for line in universe.opening(): universe.observe(exchange.apply(line))\n"
        "for _ in range(300): universe.observe(exchange.apply(universe.next()))\n"
        "print(exchange.state_hash())")
    hashes = {
        subprocess.run(
            [sys.executable, "-c", script, core_name, str(ROOT), str(ROOT / "tests")],
            env=os.environ | {"PYTHONHASHSEED": seed}, check=True, capture_output=True,
        ).stdout
        for seed in ("0", "1")}
    assert len(hashes) == 1


def leveraged(exchange: Exchange) -> Desk:
    """Three symbols; two accounts whose health hangs on all three."""
    desk = Desk(exchange)
    for symbol in ("BTC", "ETH", "SOL"):
        desk.symbol(symbol, tiers=list(STEEP_TIERS))
    desk.account(1, 2, deposit="400")
    desk.account(9)
    for symbol in ("BTC", "ETH", "SOL"):
        desk.do("leverage", account=9, symbol=symbol, leverage="5")
        for account, side in ((1, "buy"), (2, "sell")):
            other = "sell" if side == "buy" else "buy"
            desk.order(other, 9, 10, 100, symbol)
            desk.order(side, account, 10, 100, symbol)
    return desk


def test_the_order_inside_marks_makes_no_difference(new_exchange: NewExchange) -> None:
    """Elsewhere results depended on the order of symbols inside one tick."""
    prices = {"BTC": "93", "ETH": "78", "SOL": "89"}
    results = set()
    for order in itertools.permutations(prices):
        desk = leveraged(new_exchange())
        events = desk.marks(**{symbol: prices[symbol] for symbol in order})
        assert any(event["event"] == "liquidation_started" for event in events)
        results.add((str(events), desk.exchange.state_hash()))
    assert len(results) == 1


def test_marks_are_one_evaluation_not_three(new_exchange: NewExchange) -> None:
    """All prices first: an account that is due only between two of them is left alone."""
    desk = leveraged(new_exchange())
    assert not [event for event in desk.marks(BTC="60", ETH="100", SOL="140")
                if event["event"].startswith("liquidation")]
    one_by_one = leveraged(new_exchange())
    assert [event for event in one_by_one.mark("60", "BTC")
            if event["event"] == "liquidation_started"]


def test_the_hash_tells_states_apart(market: Desk) -> None:
    """Whatever a later event depends on is in the hash."""
    seen = {market.exchange.state_hash()}

    def changed(what: str) -> None:
        digest = market.exchange.state_hash()
        assert digest not in seen, what
        seen.add(digest)

    market.must("leverage", account=1, symbol="BTC", leverage="5")
    changed("a leverage")
    market.must("margin_mode", account=2, symbol="BTC", mode="isolated")
    changed("a margin mode")
    market.buy(1, 5, 90)
    changed("an order")
    market.buy(2, 5, 90)
    changed("another order")
    market.must("amend", account=1, symbol="BTC", order_id=1, leaves="4")
    changed("an amend in place")
    market.must("amend", account=1, symbol="BTC", order_id=1, leaves="5")
    changed("an amend that loses priority: the queue")
    market.sell(3, 1, 90)
    changed("a trade")
    market.mark(101)
    changed("a mark")
    market.must("mark", symbol="BTC", mark_price="101", index_price="100")
    changed("an index price")
    market.must("mark", symbol="BTC", mark_price="101", feed_seq=5)
    changed("a feed sequence")
    market.must("halt", symbol="BTC", mode="all")
    changed("a halt")
    market.must("resume", symbol="BTC")
    market.must("insurance", asset="USDT", amount="5")
    changed("the fund")
    market.must("deposit", account=4, asset="USDT", amount="5")
    changed("a deposit")
    market.must("withdraw", account=4, asset="USDT", amount="5")
    changed("a deposit that was withdrawn again: the totals")
    market.must("time", ts=5)
    changed("the time")
    market.must("account", account=5)
    changed("an account")
    market.buy(4, 5, 80, client_order_id="mine")
    changed("an order with a client id")
    market.must("asset", asset="EUR", decimals=2)
    changed("an asset")


def test_the_number_of_the_next_step_is_state(desk: Desk) -> None:
    """Two states that number the next liquidation step differently have different hashes."""
    desk.symbol()
    desk.account(1, deposit="540")
    desk.account(9)
    desk.must("fill", account=1, symbol="BTC", side="buy", quantity="100", price="100")
    hashes = set()
    steps = [event["step"] for event in desk.mark(95) if event["event"] == "liquidation_step"]
    for _ in range(3):
        hashes.add(desk.exchange.state_hash())
        events = desk.buy(9, 1, 95)
        steps += [event["step"] for event in events if event["event"] == "liquidation_step"]
    assert steps == [1, 2, 3, 4]
    assert len(hashes) == 3
