"""The engine as a whole: order of time and of commands, inputs refused, journals replayed."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import pytest
from support.pricing import EVERY_SECOND, HOUR, MIDNIGHT, Feed, config, second_of, sources

from engine.commands import check_shape
from engine.errors import InputError
from engine.pricing import (
    BookSnapshot,
    Clock,
    FundingRules,
    IndexRules,
    MarkRules,
    PriceEngine,
    PriceInput,
    SourcePrice,
    TradePrice,
    decode,
    encode,
    read_journal,
    replay,
)
from engine.pricing.scale import HOUR_NS, SECOND_NS

CONFIGS = tuple(
    config(
        symbol, mark_tick=tick, premium=EVERY_SECOND, impact_notional="5000",
        sources=sources("A", "B", "C", max_age_ns=4 * SECOND_NS),
        index=IndexRules(min_sources=2, outlier_bound="0.01"),
        mark=MarkRules(basis_sample_ns=SECOND_NS, basis_window_ns=10 * SECOND_NS, band="0.02",
                       on_held="halt", hold_ns=2 * SECOND_NS),
        funding=FundingRules(interval_ns=HOUR_NS, cap="0.01", floor="-0.01"))
    for symbol, tick in (("BTC", "0.1"), ("ETH", "0.01")))


def market(seed: int, count: int = 400) -> list[PriceInput]:
    """Sources, books and trades of two symbols around a boundary, with pauses."""
    draw = random.Random(seed)
    ts_ns = MIDNIGHT - 60 * SECOND_NS
    level = {"BTC": 60_000, "ETH": 3_000}
    items: list[PriceInput] = []
    for _ in range(count):
        pause = draw.choice((0, 0, 1, 200, 500, 500, 15_000 if draw.random() < 0.1 else 300))
        ts_ns += pause * SECOND_NS // 1000
        symbol = draw.choice(tuple(level))
        level[symbol] += draw.randint(-3, 3)
        middle = level[symbol]
        what = draw.random()
        if what < 0.6:
            price = middle * draw.choice((100, 100, 100, 100, 103))
            items.append(SourcePrice(
                ts_ns, symbol, draw.choice("ABC"), f"{price // 100}.{price % 100:02}",
                draw.choice((None, ts_ns - 10**8))))
        elif what < 0.8:
            bids = [(str(middle - step), str(draw.randint(1, 3))) for step in range(1, 4)]
            asks = [(str(middle + step), str(draw.randint(1, 3))) for step in range(1, 4)]
            items.append(BookSnapshot(ts_ns, symbol, bids, asks))
        elif what < 0.95:
            items.append(TradePrice(ts_ns, symbol, middle))
        else:
            items.append(Clock(ts_ns))
    items.append(Clock(ts_ns + 3 * HOUR_NS))
    return items


class TestOrder:
    def test_what_is_told_at_an_instant_counts_for_it(self) -> None:
        feed = Feed()
        assert feed.source(1, 100) == []
        [command] = feed.source(2, 200)
        assert (second_of(command), command["mark_price"]) == (1, "100")
        [command] = feed.until(2)
        assert (second_of(command), command["mark_price"]) == (2, "200")

    def test_after_a_clock_the_same_time_counts_for_what_comes(self) -> None:
        feed = Feed()
        feed.source(1, 100)
        feed.until(1)
        assert feed.source(1, 300) == []
        assert [command["mark_price"] for command in feed.until(2)] == ["300"]

    def test_marks_of_one_instant_are_one_command_in_order_of_symbol(self) -> None:
        feed = Feed(config("Z"), config("A"), config("M"))
        for symbol in ("Z", "M", "A"):
            feed.source(1, 100, symbol=symbol)
        [command] = feed.until(1)
        assert command["cmd"] == "marks"
        assert [row["symbol"] for row in command["marks"]] == ["A", "M", "Z"]

    def test_settlements_of_one_instant_are_in_order_of_symbol(self) -> None:
        feed = Feed(config("Z"), config("A"), config("M"))
        feed.until(1)
        assert [command["symbol"] for command in feed.until(8 * HOUR)] == ["A", "M", "Z"]

    def test_time_never_goes_back(self) -> None:
        commands = list(replay(CONFIGS, market(1)))
        times = [command["ts"] for command in commands]
        assert times == sorted(times)
        assert {command["cmd"] for command in commands} == {
            "mark", "marks", "funding", "halt", "resume"}

    def test_every_command_has_the_shape_of_the_contract(self) -> None:
        for command in replay(CONFIGS, market(2)):
            assert check_shape(command) == "cmd"

    def test_each_clock_of_a_symbol_is_its_own(self) -> None:
        feed = Feed(
            config("A", mark=MarkRules(components=("index",), interval_ns=2 * SECOND_NS)),
            config("B", mark=MarkRules(components=("index",), interval_ns=3 * SECOND_NS)))
        for symbol in "AB":
            feed.source(1, 100, symbol=symbol)
        commands = feed.until(6)
        assert [(command["cmd"], second_of(command)) for command in commands] == [
            ("mark", 2), ("mark", 3), ("mark", 4), ("marks", 6)]


class TestRefusals:
    @pytest.mark.parametrize(
        "item",
        [SourcePrice(MIDNIGHT, "DOGE", "A", "1"), SourcePrice(MIDNIGHT, "BTC", "Z", "1"),
         SourcePrice(MIDNIGHT, "BTC", "A", "0"), SourcePrice(MIDNIGHT, "BTC", "A", "NaN"),
         SourcePrice(MIDNIGHT, "BTC", "A", 1.5),  # type: ignore[arg-type]
         SourcePrice(-1, "BTC", "A", "1"), TradePrice(MIDNIGHT, "BTC", "-1"),
         TradePrice(MIDNIGHT, "DOGE", "1"), Clock(True), Clock(1.5)])  # type: ignore[arg-type]
    def test_as_the_first_input_and_later(self, item: Any) -> None:
        feed = Feed()
        with pytest.raises(InputError):
            feed.engine.take(item)
        with pytest.raises(InputError, match="no input yet"):
            feed.status()
        feed.source(-2, 100)
        feed.until(-1)
        before = feed.status()
        with pytest.raises(InputError):
            feed.engine.take(item)
        assert feed.status() == before

    def test_a_bad_price_does_not_erase_a_good_one(self) -> None:
        feed = Feed()
        feed.source(1, 100)
        with pytest.raises(InputError):
            feed.source(2, "NaN")
        assert [command["mark_price"] for command in feed.until(2)] == ["100", "100"]

    def test_time_going_back(self) -> None:
        feed = Feed()
        feed.source(5, 100)
        feed.source(5, 101)
        with pytest.raises(InputError, match="time goes back"):
            feed.source(3, 102)
        feed.until(7)
        with pytest.raises(InputError, match="time goes back"):
            feed.until(6)

    def test_one_symbol_twice(self) -> None:
        with pytest.raises(InputError):
            PriceEngine([config(), config()])

    def test_status_of_a_stranger(self) -> None:
        with pytest.raises(InputError):
            Feed().status("DOGE")


class TestReplay:
    def test_the_same_inputs_the_same_commands(self) -> None:
        for seed in range(3):
            items = market(seed)
            first = list(replay(CONFIGS, items))
            assert list(replay(reversed(CONFIGS), items)) == first
            assert len(first) > 100

    def test_through_a_journal(self) -> None:
        items = market(7)
        lines = [encode(item) for item in items]
        assert [encode(item) for item in read_journal(lines)] == lines
        assert list(replay(CONFIGS, read_journal(lines))) == list(replay(CONFIGS, items))

    def test_looking_and_asking_for_the_time_change_nothing(self) -> None:
        items = market(5)
        expected = list(replay(CONFIGS, items))
        engine = PriceEngine(CONFIGS)
        commands, reached = [], items[0].ts_ns
        for item in items:
            # A clock between two inputs, at no instant in particular.
            if item.ts_ns > reached + 2:
                commands += engine.advance((reached + item.ts_ns) // 2)
                engine.status("BTC")
                engine.status("ETH")
            commands += engine.take(item)
            reached = item.ts_ns
        assert commands == expected

    def test_the_order_within_one_moment_makes_no_difference(self) -> None:
        items: list[PriceInput] = []
        for second in range(30):
            at = MIDNIGHT + second * SECOND_NS
            block: list[PriceInput] = [
                SourcePrice(at, symbol, name, price + offset)
                for symbol, price in (("BTC", 60_000), ("ETH", 3_000))
                for name, offset in (("A", second), ("B", 2), ("C", 7))]
            block.append(BookSnapshot(at, "BTC", [("60001", "1")], [("60003", "1")]))
            block.append(TradePrice(at, "ETH", "3001"))
            random.Random(second).shuffle(block)
            items += block
        shuffled = sorted(items, key=lambda item: item.ts_ns)
        in_order = sorted(items, key=lambda item: (item.ts_ns, repr(item)))
        assert shuffled != in_order
        assert list(replay(CONFIGS, shuffled)) == list(replay(CONFIGS, in_order))


class TestJournal:
    def test_numbers_are_decimal_strings(self) -> None:
        item = SourcePrice(1, "BTC", "A", Decimal("1E+2"), 0)
        line = '{"ts":1,"input":"source","symbol":"BTC","source":"A","price":"100","observed_ts":0}'
        assert encode(item) == line
        assert decode(line) == SourcePrice(1, "BTC", "A", "100", 0)
        assert decode('{"input":"clock","ts":5}') == Clock(5)

    @pytest.mark.parametrize(
        "line",
        ["", "[]", "{}", '{"input":"x","ts":1}', '{"input":"clock"}', '{"input":"clock","ts":1.5}',
         '{"input":"clock","ts":true}', '{"input":"clock","ts":1,"more":1}',
         '{"input":"trade","ts":1,"symbol":"B","price":1.5}',
         '{"input":"trade","ts":1,"symbol":"B","price":"1e5"}',
         '{"input":"trade","ts":1,"symbol":5,"price":"1"}',
         '{"input":"trade","ts":1,"symbol":"B","price":"1","observed_ts":1}',
         '{"input":"source","ts":1,"symbol":"B","source":"A"}',
         '{"input":"book","ts":1,"symbol":"B","bids":[],"asks":["10"]}',
         '{"input":"book","ts":1,"symbol":"B","bids":{},"asks":[]}'])
    def test_bad_lines_are_named(self, line: str) -> None:
        with pytest.raises(InputError, match=r"^tape:2: "):
            list(read_journal(['{"input":"clock","ts":1}', line], "tape"))

    def test_a_float_is_not_written(self) -> None:
        with pytest.raises(InputError):
            encode(TradePrice(1, "BTC", 1.5))  # type: ignore[arg-type]
