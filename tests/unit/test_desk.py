"""From steps of several publishers to commands: what is taken, refused, stale, and back."""

from __future__ import annotations

import json
import random

import pytest

from engine import Exchange
from engine.serving.agreement import AgreementRules
from engine.serving.desk import QUIET, STEP, TIME, Desk, DeskRules

S = 1_000_000_000
TIERS = [{"min_notional": "0", "max_notional": None, "maintenance_margin_rate": "0.01",
          "max_leverage": "50"}]


class Market:
    """An exchange and a desk in front of it; what is refused ends the test."""

    def __init__(self, least: int = 2, has_clock: bool = False) -> None:
        self.exchange = Exchange(core="reference")
        self.lines: list[str] = []
        self.rules = DeskRules(
            ("a", "b", "c"), AgreementRules(least, "0.02", 10 * S), has_clock)
        self.has_clock = has_clock
        self.desk = Desk(self.rules, self.exchange, self.lines.append)
        self.numbers: dict[str, int] = {}
        self.events: list[dict] = []
        self.apply({"cmd": "asset", "asset": "USDT", "decimals": 2})
        for symbol in ("X", "Y"):
            self.apply({
                "cmd": "instrument", "symbol": symbol, "kind": "linear", "base": symbol,
                "quote": "USDT", "settle": "USDT", "tick_size": "0.1", "lot_size": "1",
                "tiers": TIERS})

    def apply(self, command: dict, ts: int | None = None) -> list[dict]:
        events = self.exchange.apply({**command, **({} if ts is None else {"ts": ts})})
        assert not [event for event in events if event["event"] == "rejected"], (command, events)
        self.events += events
        return events

    def turn(self, *inputs: list) -> list[dict]:
        commands = self.desk.begin()
        for item in inputs:
            commands += self.desk.take(item)
        for command in commands:
            stamp = inputs[-1][1] if self.has_clock else None
            self.apply(command, stamp)
        return commands

    def step(self, source: str, ts: int, epoch: int = 1, wall: int | None = None,
             number: int | None = None, **prices: str) -> list:
        if number is None:
            number = self.numbers[source] = self.numbers.get(source, 0) + 1
        rows = [[symbol, price, None] for symbol, price in prices.items()]
        return [STEP, wall, source, epoch, number, ts, rows]

    def say(self, source: str, ts: int, **prices: str) -> list[dict]:
        return self.turn(self.step(source, ts, **prices))

    def counted(self, what: str) -> dict[str, int]:
        return {name: count for (kind, name), count in self.desk.counters.items()
                if kind == what and count}

    def halts(self) -> dict[str, str | None]:
        return {symbol: self.exchange.query({"query": "instrument", "symbol": symbol})["halt"]
                for symbol in ("X", "Y")}


@pytest.fixture
def market() -> Market:
    return Market()


def test_a_mark_needs_enough_sources_and_is_their_median(market):
    assert market.say("a", S, X="100") == []
    assert market.counted("early") == {"a": 1}
    assert market.say("b", S, X="100.4") == []
    assert market.say("a", S, X="100") == [
        {"cmd": "marks", "marks": [{"symbol": "X", "mark_price": "100.2"}], "ts": S}]
    # Of two 100.2; with the third the middle one.
    assert market.say("c", S + 1, X="101")[0]["marks"][0]["mark_price"] == "100.4"


def test_one_that_is_astray_is_set_aside_and_counts_again(market):
    for source, price in (("a", "100"), ("b", "100"), ("c", "101"), ("a", "100")):
        market.say(source, S, X=price)
    [command] = market.say("c", S, X="150")
    assert command["marks"][0]["mark_price"] == "100"
    assert market.lines[-1] == "c: X: too far from the others (100), set aside"
    market.say("c", S, X="151")
    assert market.counted("set_aside") == {"c": 1}  # once each time, not for every step
    market.say("c", S, X="100.5")
    assert market.lines[-1] == "c: X: counts again"


def test_doubled_reordered_and_older_steps_are_not_taken_twice(market):
    market.say("a", S, X="100")
    market.say("b", S, X="100")
    market.say("a", S, X="101")
    made = market.desk.made
    assert market.turn(market.step("a", S, number=2, X="50")) == []
    assert market.turn(market.step("a", S, number=1, X="50")) == []
    assert market.counted("repeated") == {"a": 2} and market.desk.made == made
    # A restarted publisher counts from 1; what the old one sent comes too late then.
    assert market.turn(market.step("a", S, epoch=2, number=1, X="102"))
    assert market.turn(market.step("a", S, epoch=1, number=9, X="50")) == []
    assert market.counted("repeated") == {"a": 3}


def test_late_steps_are_refused_and_a_clock_that_runs_ahead_moves_nothing(market):
    for source in "abab":
        market.say(source, 100 * S, X="100")
    assert market.say("b", 89 * S, X="100") == [] and market.counted("late") == {"b": 1}
    assert market.lines[-1] == "b: step 3 is 11.000 s old"
    # c is an hour ahead: its price counts, but the engine's time is that of two.
    [command] = market.say("c", 3_700 * S, X="100")
    assert command["ts"] == 100 * S == market.exchange.ts
    [command] = market.say("a", 101 * S, X="100")
    assert command["ts"] == 101 * S


def test_with_a_clock_the_server_gives_the_time():
    market = Market(least=1, has_clock=True)
    assert market.turn(market.step("a", 50 * S, wall=50 * S, X="100")) == [
        {"cmd": "marks", "marks": [{"symbol": "X", "mark_price": "100"}]}]
    assert market.turn(market.step("a", 39 * S, wall=50 * S, X="100")) == []
    assert market.turn(market.step("a", 61 * S, wall=50 * S, X="100")) == []
    assert (market.counted("late"), market.counted("ahead")) == ({"a": 1}, {"a": 1})
    assert not market.desk.is_due(60 * S) and market.desk.is_due(60 * S + 1)
    [command] = market.turn([TIME, 60 * S + 1])
    assert command == {"cmd": "halt", "symbol": "X", "mode": "no_liquidation"}


def positions(market: Market) -> None:
    """Two accounts that are due at 90, one in each symbol."""
    market.apply({"cmd": "insurance", "asset": "USDT", "amount": "10000"})
    market.apply({"cmd": "account", "account": 9})
    market.apply({"cmd": "deposit", "account": 9, "asset": "USDT", "amount": "100000"})
    for account, symbol in ((1, "X"), (2, "Y")):
        market.apply({"cmd": "account", "account": account})
        market.apply({"cmd": "deposit", "account": account, "asset": "USDT", "amount": "100"})
        for who, side in ((account, "buy"), (9, "sell")):
            market.apply({"cmd": "fill", "account": who, "symbol": symbol, "side": side,
                          "quantity": "10", "price": "100"})


def liquidated(market: Market) -> list[int]:
    return [event["account"] for event in market.events
            if event["event"] == "liquidation_finished"]


def test_a_stale_symbol_stops_liquidating_alone_and_goes_on_in_order(market):
    for source in "abab":
        market.say(source, S, X="100", Y="100")
    positions(market)
    # Y is kept alive by two sources, X by one only.
    for at in range(2, 13):
        for source in "abc":
            market.say(source, at * S, Y="100", **({"X": "100"} if source == "a" else {}))
    assert market.halts() == {"X": "no_liquidation", "Y": None}
    assert market.lines[-1].startswith("X: stale, 1 of 2 sources that it needs, b stale, c missing")
    assert market.desk.watch.stale_count == 1
    # Even a mark by hand liquidates nobody there; in Y the feed does.
    market.apply({"cmd": "mark", "symbol": "X", "mark_price": "80"}, market.exchange.ts)
    market.say("a", 13 * S, Y="80")
    market.say("b", 13 * S, Y="80")
    assert liquidated(market) == [2]
    commands = market.say("b", 14 * S, X="80") + market.say("a", 14 * S, X="80")
    assert [command["cmd"] for command in commands] == ["marks", "resume"]
    assert market.lines[-1] == "X: marks are back, liquidations go on"
    assert market.halts() == {"X": None, "Y": None} and liquidated(market) == [2, 1]
    market.exchange.check()


def test_halts_of_others_are_left_alone(market):
    def lose(at: int) -> None:
        for source in "ab":
            market.say(source, at * S, Y="100")

    for source in "abab":
        market.say(source, S, X="100", Y="100")
    market.apply({"cmd": "halt", "symbol": "X", "mode": "cancel_only"}, market.exchange.ts)
    lose(20)
    assert market.desk.watch.stale == ["X"] and market.halts()["X"] == "cancel_only"
    # When that is taken back, the symbol is stale still.
    market.apply({"cmd": "resume", "symbol": "X"}, market.exchange.ts)
    lose(21)
    assert market.halts()["X"] == "no_liquidation"
    # Who takes back what was set because it is stale has the last word, until it is fresh.
    market.apply({"cmd": "resume", "symbol": "X"}, market.exchange.ts)
    lose(22)
    lose(23)
    assert market.halts()["X"] is None and market.desk.watch.stale == ["X"]
    for source in "ab":
        market.say(source, 24 * S, X="100")
    assert market.desk.watch.stale == []
    lose(40)
    market.apply({"cmd": "halt", "symbol": "X", "mode": "all"}, market.exchange.ts)
    for source in "ab":
        market.say(source, 41 * S, X="100")
    assert market.halts()["X"] == "all"


def test_what_is_quiet_is_stale_though_no_time_passes(market):
    for source in "abab":
        market.say(source, S, X="100", Y="100")
    assert [c["symbol"] for c in market.turn([QUIET, None, ["X", "nobody's"]])] == ["X"]
    assert market.turn([QUIET, None, ["X"]]) == []
    assert [c["cmd"] for c in market.say("a", S, X="100")] == ["marks", "resume"]


def test_absurd_unknown_and_settled(market):
    for source in "abab":
        market.say(source, S, X="100", Y="100")
    [command] = market.turn(market.step("a", S, X="9" * 20 + "." + "9" * 20, Z="1", Y="100"))
    assert [row["symbol"] for row in command["marks"]] == ["Y"]
    assert (market.counted("absurd"), market.counted("unknown")) == ({"a": 1}, {"a": 1})
    market.apply({"cmd": "settle", "symbol": "X"}, market.exchange.ts)
    assert market.say("b", S, X="100") == []


def random_inputs(dice: random.Random, market: Market, count: int) -> list[list]:
    at, found = 10 * S, []
    for _ in range(count):
        at += dice.choice((0, 1, S, 3 * S, 15 * S))
        source = dice.choice("abc")
        prices = {symbol: str(dice.choice((99, 100, 101, 140)))
                  for symbol in dice.choice(("X", "Y", "XY", "XZ"))}
        item = market.step(source, at - dice.choice((0, 0, S, 12 * S)), dice.choice((1, 1, 2)),
                           **prices)
        found += [item] * dice.choice((1, 1, 1, 2))
        if dice.random() < 0.1:
            found.append([QUIET, None, ["X"]])
    return found


@pytest.mark.parametrize("seed", range(4))
def test_a_desk_goes_on_from_its_state_as_if_nothing_had_happened(seed):
    dice = random.Random(seed)
    whole, cut = Market(), Market()
    kinds = set()
    for item in random_inputs(dice, Market(), 150):
        commands = whole.turn(item)
        assert cut.turn(item) == commands
        kinds |= {command["cmd"] for command in commands}
        state = json.loads(json.dumps(cut.desk.dump()))
        cut.desk = Desk(cut.rules, cut.exchange, cut.lines.append)
        cut.desk.load(state)
    assert kinds == {"marks", "halt", "resume"}
    assert whole.desk.dump() == cut.desk.dump()
    assert whole.exchange.state_hash() == cut.exchange.state_hash()
