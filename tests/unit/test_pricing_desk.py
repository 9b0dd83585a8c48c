"""A server that makes marks, funding and multipliers itself, from what publishers say."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest

from engine import Exchange
from engine.errors import InputError
from engine.pricing import PriceEngine, Source, SourcePrice, preset
from engine.serving.agreement import AgreementRules
from engine.serving.desk import STEP, TIME, Desk, DeskRules
from engine.serving.pricing_settings import read_pricing

S = 1_000_000_000
HOUR = 3600 * S
MIDNIGHT = 1_735_689_600 * S
TIERS = [{"min_notional": "0", "max_notional": None, "maintenance_margin_rate": "0.005",
          "max_leverage": "50"}]
INDEX_ONLY = {"components": ["index"]}
BTC = {"impact_notional": "1000", "mark": INDEX_ONLY,
       "premium": {"sample_ns": S}, "funding": {"interval_ns": HOUR}}
NAMES = ("a", "b", "c")


class Market:
    """An exchange of two symbols, of which those named are priced."""

    def __init__(
        self, table: dict | None = None, least: int = 1, has_clock: bool = False,
        symbols: tuple[str, ...] = ("BTC",),
    ) -> None:
        self.exchange = Exchange(core="reference")
        self.lines: list[str] = []
        rules = AgreementRules(least, "0.02", 10 * S)
        self.rules = DeskRules(NAMES, rules, has_clock, read_pricing(
            dict.fromkeys(symbols, table or BTC), NAMES, 10 * S, least))
        self.desk = Desk(self.rules, self.exchange, self.lines.append)
        self.numbers: dict[str, int] = {}
        for command in (
                {"cmd": "asset", "asset": "USDT", "decimals": 6},
                *({"cmd": "instrument", "symbol": symbol, "kind": "linear", "base": symbol,
                   "quote": "USDT", "settle": "USDT", "tick_size": "0.5", "mark_tick": "0.1",
                   "lot_size": "0.01", "tiers": TIERS} for symbol in ("BTC", "ETH"))):
            self.apply(command)

    def apply(self, command: dict) -> None:
        events = self.exchange.apply(command)
        assert not [event for event in events if event["event"] == "rejected"], (command, events)

    def turn(self, *inputs: list) -> list[dict]:
        commands = self.desk.begin()
        for item in inputs:
            commands += self.desk.take(item)
        for command in commands:
            self.apply({**command, "ts": inputs[-1][1]} if self.rules.has_clock else command)
        return commands

    def say(self, source: str, ts: int, wall: int | None = None, **prices: str) -> list[dict]:
        number = self.numbers[source] = self.numbers.get(source, 0) + 1
        rows = [[symbol, price, None] for symbol, price in prices.items()]
        return self.turn([STEP, wall, source, 1, number, ts, rows])

    def orders(self, bid: str, ask: str) -> None:
        self.apply({"cmd": "account", "account": 1})
        self.apply({"cmd": "deposit", "account": 1, "asset": "USDT", "amount": "1000000"})
        self.quote(bid, ask)

    def quote(self, bid: str, ask: str) -> None:
        for side, price in (("buy", bid), ("sell", ask)):
            self.apply({
                "cmd": "order", "account": 1, "symbol": "BTC", "order_id": self.exchange.seq + 1,
                "side": side, "type": "limit", "quantity": "1", "price": price})


def test_marks_come_at_their_instants_with_the_newest_index():
    market = Market()
    assert market.say("a", MIDNIGHT + S // 2, BTC="60000") == []
    assert market.say("b", MIDNIGHT + S // 2, BTC="60001") == []
    # ETH is nobody's to price: sources agree on it, step by step.
    commands = market.say("a", MIDNIGHT + 3 * S + 1, BTC="60002", ETH="3000")
    assert [(c["cmd"], c["ts"] - MIDNIGHT) for c in commands] == [
        ("mark", S), ("mark", 2 * S), ("mark", 3 * S), ("marks", 3 * S + 1)]
    assert commands[0] == {"cmd": "mark", "symbol": "BTC", "mark_price": "60000.5",
                           "index_price": "60000.5", "ts": MIDNIGHT + S}
    assert commands[3]["marks"] == [{"symbol": "ETH", "mark_price": "3000"}]
    assert market.desk.now_ns == MIDNIGHT + 3 * S + 1


def test_it_makes_what_the_price_engine_makes():
    """A day of hours, against the engine alone with the same prices and no book."""
    market = Market({"preset": "binance_usdm", "initial_rate": "0.01",
                     "maintenance_rate": "0.005", "impact_notional": "1000",
                     "funding": {"interval_ns": HOUR}})
    alone = PriceEngine([preset("binance_usdm").symbol(
        "BTC", "0.1", tuple(Source(name) for name in NAMES), initial_rate="0.01",
        maintenance_rate="0.005", impact_notional="1000",
        funding=market.rules.pricing[0].config.funding)])
    dice, at = random.Random(1), MIDNIGHT - 20 * S
    made, expected = [], []
    for _ in range(120):
        at += dice.choice((S // 3, S, 5 * S, 2_000 * S // 3))
        source, price = dice.choice(NAMES), str(60_000 + dice.randrange(100))
        made += market.say(source, at, BTC=price)
        expected += alone.take(SourcePrice(at, "BTC", source, price))
    assert [c for c in made if c["cmd"] not in ("halt", "resume")] == expected
    rates = [c for c in made if c["cmd"] == "funding"]
    assert len(rates) > 3 and {c["ts"] % HOUR for c in rates} == {0}
    # With gaps in between: it is stale then, and comes back.
    kinds = [c["cmd"] for c in made if c["cmd"] in ("halt", "resume")]
    assert len(kinds) > 4 and kinds[::2] == ["halt"] * len(kinds[::2])


def test_the_own_book_counts():
    market = Market({**BTC, "mark": {"components": ["book_median"]}})
    for second in range(3):
        market.say("a", MIDNIGHT + second * S + 1, BTC="60000")
    assert market.exchange.query({"query": "instrument", "symbol": "BTC"})["mark_price"] is None
    market = Market({**BTC, "mark": {"components": ["index", "book_median"]}})
    market.say("a", MIDNIGHT + 1, BTC="60000")
    assert market.say("a", MIDNIGHT + S + 1, BTC="60000")[0]["mark_price"] == "60000"
    market.orders("60100", "60101")
    [command] = market.say("a", MIDNIGHT + 2 * S + 1, BTC="60000")
    assert command["mark_price"] == "60050.2"  # half-way between the index and 60100.5
    figures = market.desk.price_figures()[0]
    assert figures["components"] == {"index": "60000", "book_median": "60100.5"}
    # A premium of the impact bid over the index, in the funding of the hour.
    commands = market.say("a", MIDNIGHT + HOUR + 1, BTC="60000")
    [funding] = [c for c in commands if c["cmd"] == "funding"]
    assert funding["ts"] == MIDNIGHT + HOUR and float(funding["rate"]) > 0.0001


LAST = {**BTC, "mark": {"components": ["last"]}}


def trade(market: Market, price: str, symbol: str = "BTC") -> int:
    """Let two accounts trade at a price; return the `seq` of the trade's event."""
    exchange = market.exchange
    if not exchange.core.account_ids():
        for account in (1, 2):
            market.apply({"cmd": "account", "account": account})
            market.apply({"cmd": "deposit", "account": account, "asset": "USDT",
                          "amount": "1000000"})
    for account, side in ((1, "sell"), (2, "buy")):
        command = {"cmd": "order", "account": account, "symbol": symbol, "quantity": "0.1",
                   "order_id": exchange.seq + 1, "side": side, "type": "limit", "price": price}
        events = exchange.apply(command)
    [seq] = [event["seq"] for event in events if event["event"] == "trade"]
    return int(seq)


def test_a_mark_that_a_trade_has_moved_names_it():
    market = Market(LAST)
    market.apply({"cmd": "mark", "symbol": "BTC", "mark_price": "60000"})
    before = trade(market, "60000")
    market.say("a", MIDNIGHT + 1, BTC="60000")
    # Nothing is known of what was before the first mark.
    assert "cause" not in market.say("a", MIDNIGHT + S + 1, BTC="60000")[0]
    seq = trade(market, "60010.5")
    assert seq > before
    [command] = market.say("a", MIDNIGHT + 2 * S + 1, BTC="60000")
    assert command == {"cmd": "mark", "ts": MIDNIGHT + 2 * S, "symbol": "BTC",
                       "mark_price": "60010.5", "index_price": "60000", "cause": seq}
    # It is no news any more, and a trade at the same price moves nothing.
    trade(market, "60010.5")
    assert "cause" not in market.say("a", MIDNIGHT + 3 * S + 1, BTC="60001")[0]


def test_an_order_long_after_the_trade_is_not_blamed_on_it():
    market = Market({**BTC, "mark": {"components": ["book_median"]}})
    market.apply({"cmd": "mark", "symbol": "BTC", "mark_price": "60000"})
    trade(market, "60000")
    market.quote("59999", "60001")
    market.say("a", MIDNIGHT + 1, BTC="60000")
    marks = [market.say("a", MIDNIGHT + second * S + 1, BTC="60000")[0] for second in (1, 2)]
    market.apply({"cmd": "order", "account": 2, "symbol": "BTC", "order_id": 500, "side": "buy",
                  "type": "limit", "quantity": "0.1", "price": "60000.5"})
    marks += market.say("a", MIDNIGHT + 3 * S + 1, BTC="60000")
    assert marks[1]["mark_price"] != marks[2]["mark_price"]
    assert [mark for mark in marks if "cause" in mark] == []


def test_marks_of_several_symbols_name_the_newest_of_their_causes():
    market = Market(LAST, symbols=("BTC", "ETH"))
    for symbol, price in (("BTC", "60000"), ("ETH", "3000")):
        market.apply({"cmd": "mark", "symbol": symbol, "mark_price": price})
        trade(market, price, symbol)
    for second in (0, 1):
        market.say("a", MIDNIGHT + second * S + 1, BTC="60000", ETH="3000")
    seqs = [trade(market, "60001", "BTC"), trade(market, "3001", "ETH")]
    [command] = market.say("a", MIDNIGHT + 2 * S + 1, BTC="60000", ETH="3000")
    assert (command["cmd"], command["cause"]) == ("marks", max(seqs))
    assert [row["mark_price"] for row in command["marks"]] == ["60001", "3001"]
    assert all("cause" not in row for row in command["marks"])


def test_a_state_that_is_taken_over_names_the_same_causes():
    """Also of a trade that was told before it was taken over, and is no news after."""
    table = {**BTC, "mark": {"components": ["book_median"]}}
    runs = []
    for is_cut in (False, True):
        market = Market(table)
        market.apply({"cmd": "mark", "symbol": "BTC", "mark_price": "60000"})
        trade(market, "60000")
        marks = []
        for second in range(12):
            market.quote(str(60_001 + second), "61000")
            if second % 4 == 1:
                market.apply({"cmd": "order", "account": 2, "symbol": "BTC", "quantity": "0.1",
                              "order_id": market.exchange.seq + 1, "side": "sell",
                              "type": "market"})
            if is_cut:
                state = json.loads(json.dumps(market.desk.dump()))
                market.desk = Desk(market.rules, market.exchange, market.lines.append)
                market.desk.load(state)
            marks += market.say("a", MIDNIGHT + second * S + 1, BTC="60000")
        runs.append(marks)
    assert runs[0] == runs[1]
    assert len({mark.get("cause") for mark in runs[0]}) == 4  # of three trades, and of none


def test_a_lost_index_stops_liquidations_of_it_alone():
    market = Market(least=2)
    for second in range(3):
        for source in "ab":
            market.say(source, MIDNIGHT + second * S + 1, BTC="60000", ETH="3000")
    commands = []
    for second in range(3, 16):
        for source in "ab":
            prices = {"ETH": "3000"} | ({"BTC": "60000"} if source == "a" else {})
            commands += market.say(source, MIDNIGHT + second * S + 1, **prices)
    assert [c for c in commands if c["cmd"] == "halt"] == [
        {"cmd": "halt", "symbol": "BTC", "mode": "no_liquidation", "ts": MIDNIGHT + 13 * S}]
    assert "BTC: stale, its index has fewer than 2 sources, b stale, c missing" in market.lines[-1]
    commands = []
    for second in (16, 17):
        for source in "ab":
            commands += market.say(source, MIDNIGHT + second * S + 1, BTC="60000")
    assert [(c["cmd"], c["ts"] - MIDNIGHT) for c in commands] == [
        ("mark", 17 * S), ("resume", 17 * S)]
    assert market.desk.watch.stale == []


def test_a_contract_that_has_ended_is_priced_no_more():
    market = Market()
    market.say("a", MIDNIGHT + 1, BTC="60000")
    assert market.say("a", MIDNIGHT + S + 1, BTC="60000")
    market.apply({"cmd": "settle", "symbol": "BTC"})
    assert market.say("a", MIDNIGHT + 2 * HOUR, BTC="60000") == []
    assert market.desk.counters["unknown", "a"] == 1 and market.desk.price_figures() == []


def test_an_outlier_is_told_once():
    market = Market({**BTC, "index": {"outlier_bound": "0.01"}})
    for second in range(4):
        for source, price in (("a", "60000"), ("b", "60010"), ("c", "70000")):
            market.say(source, MIDNIGHT + second * S + 1, BTC=price)
    assert market.desk.counters["set_aside", "c"] == 1
    assert market.lines == ["c: BTC: too far from the others (60005), set aside"]


def test_with_a_clock_instants_come_without_steps():
    market = Market(has_clock=True)
    at = MIDNIGHT + S // 2
    market.say("a", at, wall=at, BTC="60000")
    assert not market.desk.is_due(MIDNIGHT + S - 1) and market.desk.is_due(MIDNIGHT + S)
    [command] = market.turn([TIME, MIDNIGHT + S + 5])
    assert command == {"cmd": "mark", "symbol": "BTC", "mark_price": "60000",
                       "index_price": "60000"}
    for second in range(2, 12):
        market.turn([TIME, MIDNIGHT + second * S])
    assert market.desk.watch.stale == ["BTC"]


def test_multipliers_follow_the_open_interest():
    market = Market({**BTC, "open_interest": {"bands": [["100000", "1"], ["none", "1.5"]]},
                     "multipliers": {"interval_ns": S, "notice_ns": 3 * S}})
    market.say("a", MIDNIGHT + 1, BTC="60000")
    market.say("a", MIDNIGHT + S + 1, BTC="60000")
    for account, side in ((1, "buy"), (2, "sell")):
        market.apply({"cmd": "account", "account": account})
        market.apply({"cmd": "deposit", "account": account, "asset": "USDT", "amount": "100000"})
        market.apply({"cmd": "fill", "account": account, "symbol": "BTC", "side": side,
                      "quantity": "2", "price": "60000"})
    commands = market.say("a", MIDNIGHT + 2 * S + 1, BTC="60000")
    assert commands[1] == {
        "cmd": "margin_multiplier", "symbol": "BTC", "maintenance": "1", "initial": "1.5",
        "effective_ts": MIDNIGHT + 5 * S, "ts": MIDNIGHT + 2 * S}


@pytest.mark.parametrize("seed", range(3))
def test_a_desk_that_prices_goes_on_from_its_state(seed):
    table = {"preset": "hyperliquid", "initial_rate": "0.02", "maintenance_rate": "0.005",
             "impact_notional": "1000", "volatility": {"reference": "0.001", "warm_up": 2},
             "multipliers": {"interval_ns": 3 * S, "notice_ns": 0}}
    dice = random.Random(seed)
    whole, cut = Market(table, least=2), Market(table, least=2)
    for market in (whole, cut):
        # Its components need a book, and orders a mark.
        market.apply({"cmd": "mark", "symbol": "BTC", "mark_price": "60000"})
        market.orders("59000", "61000")
    at, kinds = MIDNIGHT - 100 * S, set()
    for _ in range(150):
        at += dice.choice((S // 2, S, 4 * S, 12 * S if dice.random() < 0.2 else S))
        source, price = dice.choice("abc"), str(60_000 + dice.randrange(200))
        commands = whole.say(source, at, BTC=price, ETH="3000")
        assert cut.say(source, at, BTC=price, ETH="3000") == commands
        kinds |= {command["cmd"] for command in commands}
        state = json.loads(json.dumps(cut.desk.dump()))
        cut.desk = Desk(cut.rules, cut.exchange, cut.lines.append)
        cut.desk.load(state)
    assert {"mark", "marks", "funding", "margin_multiplier", "halt", "resume"} <= kinds
    assert whole.exchange.state_hash() == cut.exchange.state_hash()


BAD = [
    ("[BTC]\nsources = ['x']", "BTC: sources: no publisher 'x'; there are a, b, c"),
    ("[BTC]\nprice = 'last'", "BTC: price is one of mark, index, not 'last'"),
    ("[BTC]\nnonsense = 1", "BTC: unknown key nonsense; there are preset"),
    ("[BTC.mark]\nnonsense = 1", "BTC: unknown key mark.nonsense"),
    ("[BTC]\nmark = 1", "BTC: mark is a table, not 1"),
    ("[BTC]\npreset = 'nobody'", "BTC: no preset 'nobody'"),
    ("[BTC]\npreset = 'binance_usdm'", "BTC: BTC: initial_rate is missing"),
    ("[BTC]\nimpact_notional = 1.5", "BTC: impact_notional is not a decimal number"),
    ("[BTC]\nimpact_notional = 1\nmark = {on_held = 'silent'}", "BTC: mark.on_held: liquidations"),
    ("[BTC]\nimpact_notional = 1\nmark = {interval_ns = 0}", "BTC: interval_ns is a positive"),
    ("[BTC]\nimpact_notional = 1\nindex = {min_sources = 4}", "BTC: BTC: 4 sources needed"),
    ("[BTC]\nimpact_notional = 1\nopen_interest = {bands = [['1', '2']]}",
     "BTC: the last band's notional is None"),
    ("[BTC]\nimpact_notional = 1\nvolatility = {floor = '1'}", "BTC: VolatilityRules"),
    ("[BTC]\nimpact_notional = 1\nmultipliers = {interval_ns = 0}", "BTC: interval_ns is a whole"),
    ("BTC = 1", "BTC: it is a table, not 1"),
    ("[BTC", "not TOML"),
]


@pytest.mark.parametrize(("text", "problem"), BAD)
def test_a_file_of_pricing_is_checked(tmp_path: Path, text: str, problem: str):
    path = tmp_path / "pricing.toml"
    path.write_text(text)
    with pytest.raises(InputError) as refused:
        read_pricing(str(path), NAMES, 10 * S, 1)
    assert str(refused.value).startswith(f"{path}: ") and problem in str(refused.value)


def test_the_example_of_the_documentation_is_read(tmp_path: Path):
    page = Path(__file__).resolve().parents[2] / "docs" / "feeds.md"
    [example] = re.findall(r"```toml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    path = tmp_path / "pricing.toml"
    path.write_text(example)
    [found] = read_pricing(str(path), ("binance", "bybit", "okx"), 10 * S, 1)
    assert found.symbol == "BTCUSDT" and found.multipliers("0.1", "1") is not None
    assert [source.name for source in found.config.sources] == ["binance", "bybit"]


def test_a_file_of_pricing_is_read(tmp_path: Path):
    path = tmp_path / "pricing.toml"
    path.write_text("""
        [BTC]
        preset = "okx_swap"
        price = "index"
        impact_notional = "10000"
        sources = ["b", {name = "a", weight = "0.5", max_age_ns = 5_000_000_000}]
        mark = {band = "none", components = ["index", "last"]}
        volatility = {reference = "0.04", patience = {margin = "0.2"}}
        """)
    [found] = read_pricing(str(path), NAMES, 10 * S, 2)
    config = found.config
    assert [(s.name, s.weight, s.max_age_ns) for s in config.sources] == [
        ("a", "0.5", 5 * S), ("b", 1, 10 * S)]
    assert config.mark.components == ("index", "last") and config.mark.band is None
    assert (config.index.min_sources, config.index.outlier_rule) == (2, "clamp")
    assert config.mark.on_held == "halt" and found.price == "index"
    assert found.volatility is not None and found.volatility.patience.margin == "0.2"
