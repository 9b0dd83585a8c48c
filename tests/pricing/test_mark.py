"""The mark: components by hand, the median, the band, the tick."""

from __future__ import annotations

from decimal import Context, Decimal
from fractions import Fraction
from typing import Any

import pytest
from support.pricing import HOUR, MIDNIGHT, Feed, config, of, second_of, sources

from engine.errors import InputError
from engine.messages import RATE_SCALE
from engine.pricing import FundingRules, IndexRules, MarkRules, PremiumRules, TradePrice
from engine.pricing.basis import BasisAverage, BasisEma, decay_units
from engine.pricing.mark import exact_median, funding_basis_price, round_mark
from engine.pricing.scale import HOUR_NS, SECOND_NS, SUBTICKS_PER_TICK

TICK = SUBTICKS_PER_TICK


def test_fair_price_of_bitmex() -> None:
    # bitmex.com/app/fairPriceMarking: Funding Basis = Funding Rate x (Time Until Funding /
    # Funding Interval), Fair Price = Index Price x (1 + Funding Basis).
    # 0.03 % with 2 of 8 hours to go: 60,000 x 1.000075 = 60,004.5.
    price = funding_basis_price(60_000, 30_000, 2, 8)
    assert price == Fraction(120_009, 2)
    assert funding_basis_price(60_000, 30_000, 0, 8) == 60_000
    assert funding_basis_price(60_000, -30_000, 8, 8) == 59_982


def test_median() -> None:
    values = [Fraction(9), Fraction(1), Fraction(4)]
    assert exact_median(values) == 4
    assert exact_median(values[:2]) == 5
    assert exact_median([Fraction(1), Fraction(2)]) == Fraction(3, 2)
    assert exact_median(values[:1]) == 9
    with pytest.raises(ValueError, match="nothing"):
        exact_median([])


@pytest.mark.parametrize(
    ("value", "ticks"),
    [(Fraction(5, 2), 2), (Fraction(7, 2), 4), (Fraction(251, 100), 3), (Fraction(1, 10), 1)])
def test_rounded_to_the_tick_ties_to_even_never_below_one(value: Fraction, ticks: int) -> None:
    assert round_mark(value * TICK, 3 * TICK, None) == ticks


@pytest.mark.parametrize(
    ("value", "expected"), [(1000, 1000), (1060, 1050), (900, 950), (1050, 1050)])
def test_kept_in_the_band(value: int, expected: int) -> None:
    assert round_mark(Fraction(value * TICK), 1000 * TICK, RATE_SCALE // 20) == expected


def test_the_ends_of_the_band_are_rounded_inwards() -> None:
    # 5 % around 1001: 950.95 to 1051.05.
    assert round_mark(Fraction(TICK), 1001 * TICK, RATE_SCALE // 20) == 951
    assert round_mark(Fraction(9999 * TICK), 1001 * TICK, RATE_SCALE // 20) == 1051
    # 0.1 % around 10.6 holds no tick: the one nearest to the index.
    assert round_mark(Fraction(15 * TICK), 106 * TICK // 10, RATE_SCALE // 1000) == 11


class TestBasis:
    def test_average_of_the_window(self) -> None:
        average = BasisAverage(150)
        assert average.value(0) is None
        for second in range(0, 200, 5):
            average.add(second, 2 * second)
        # 30 samples of 5 s in 150 s: those of seconds 50 to 195.
        assert average.value(195) == Fraction(sum(range(50, 200, 5)), 30)
        assert average.value(1000) is None

    def test_decay_is_that_of_the_decimal_arithmetic(self) -> None:
        expected = Context(prec=60).exp(Decimal("-0.02"))
        assert decay_units(3 * SECOND_NS, 150 * SECOND_NS) == round(
            Fraction(expected) * 10**18)

    def test_ema_of_hyperliquid_by_hand(self) -> None:
        # numerator <- numerator x exp(-t / 2.5 minutes) + sample x t, denominator likewise
        # (Hyperliquid docs, "Robust price indices"). 3 s apart: exp(-0.02) = 0.980198673...
        ema = BasisEma(150 * SECOND_NS, 3 * SECOND_NS)
        assert ema.value() is None
        ema.add(3 * SECOND_NS, 200)
        assert ema.value() == 100
        ema.add(6 * SECOND_NS, 400)
        value = ema.value()
        assert value is not None
        kept = Fraction(980_198_673, 10**9)
        assert abs(value - (kept * 100 + 200) / (kept + 1)) < Fraction(1, 10**6)

    def test_a_constant_basis_is_its_average(self) -> None:
        ema = BasisEma(150 * SECOND_NS, 3 * SECOND_NS)
        for number in range(1, 400):
            ema.add(number * 3 * SECOND_NS, -14)
        value = ema.value()
        assert value is not None
        assert round(value * 10**8) == -7 * 10**8


class TestComponents:
    """Binance and Bybit: median of index x (1 + rate), index + average basis, last price."""

    MEDIAN = MarkRules(basis_sample_ns=SECOND_NS, basis_window_ns=3 * SECOND_NS)

    def feed(self, rules: MarkRules, **terms: Any) -> Feed:
        return Feed(config(mark_tick="0.01", mark=rules, **terms))

    def test_three_by_hand(self) -> None:
        # The rate settled at 00:00 is 0.0001 x 8 h; at 02:00, 6 of 8 hours are left.
        feed = self.feed(self.MEDIAN)
        feed.source(-1, "60000")
        feed.until(0)
        feed.source(2 * HOUR - 3, "60000")
        for second, bid, ask in ((-2, "60010", "60012"), (-1, "60013", "60015"),
                                 (0, "60016", "60020")):
            feed.book(2 * HOUR + second, [(bid, "1")], [(ask, "1")])
            feed.until(2 * HOUR + second)
        assert feed.status().components == {
            "funding_basis": "60004.5", "basis_average": "60014.33333333"}
        # The two are as good as one another: half-way, 60009.41666...
        assert feed.status().mark_price == "60009.42"
        feed.trade(2 * HOUR + 1, "60012.5")
        feed.book(2 * HOUR + 1, [("60016", "1")], [("60018", "1")])
        [command] = feed.until(2 * HOUR + 1)
        # Basis 14, 18, 17 -> 16.33; of 60004.4997..., 60016.33 and 60012.5 the last.
        assert command["mark_price"] == "60012.5"
        assert command["index_price"] == "60000"

    def test_before_anything_settled_the_rate_is_zero(self) -> None:
        feed = self.feed(MarkRules(components=("funding_basis",)))
        feed.source(1, "100")
        assert feed.until(1)[0]["mark_price"] == "100"

    def test_at_the_boundary_no_time_is_left(self) -> None:
        feed = self.feed(
            MarkRules(components=("funding_basis",), interval_ns=HOUR_NS),
            funding=FundingRules(interest_rate="0.0005"),
            premium=PremiumRules(sample_ns=HOUR_NS))
        feed.source(-1, "60000")
        feed.until(8 * HOUR)
        marks = {second_of(command): command["mark_price"] for command in of(feed.commands, "mark")}
        assert marks[0] == marks[8 * HOUR] == "60000"
        assert (marks[HOUR], marks[4 * HOUR]) == ("60026.25", "60015")

    def test_the_predicted_rate_instead(self) -> None:
        feed = self.feed(
            MarkRules(components=("funding_basis",), basis_rate="predicted"),
            premium=PremiumRules(sample_ns=SECOND_NS, weighting="equal"))
        feed.source(4 * HOUR, "60000")
        feed.book(4 * HOUR, [("60600", "10")], [("60700", "10")])
        [command] = feed.until(4 * HOUR)
        # 1 % - 0.05 % = 0.95 %, half of the interval left: 60,000 x 1.00475.
        assert command["mark_price"] == "60285"

    def test_index_only_last_only_and_the_median_of_the_book(self) -> None:
        marks = {}
        for name in ("index", "last", "book_median"):
            feed = self.feed(MarkRules(components=(name,)))  # type: ignore[arg-type]
            feed.source(1, "100")
            feed.trade(1, "103")
            feed.book(1, [("101", "1")], [("102", "1")])
            marks[name] = feed.until(1)[0]["mark_price"]
        assert marks == {"index": "100", "last": "103", "book_median": "102"}

    def test_no_mark_before_there_is_a_component(self) -> None:
        feed = self.feed(MarkRules(components=("last",)))
        feed.source(1, "100")
        assert feed.until(5) == []
        feed.trade(6, "99")
        assert [command["mark_price"] for command in feed.until(6)] == ["99"]

    def test_impact_middle(self) -> None:
        feed = self.feed(MarkRules(
            components=("basis_average",), basis_price="impact_mid", basis_sample_ns=SECOND_NS))
        feed.source(1, "100")
        feed.book(1, [("100", "5"), ("80", "50")], [("110", "50")])
        # 500 at 100, 500 at 80: 1000 / 11.25 = 88.89; asks 110: middle 99.44.
        assert feed.until(1)[0]["mark_price"] == "99.44"

    def test_ema_follows_slowly(self) -> None:
        feed = self.feed(MarkRules(
            components=("basis_ema",), basis_sample_ns=SECOND_NS, ema_decay_ns=10 * SECOND_NS))
        feed.source(1, "100")
        feed.book(1, [("101", "1")], [("103", "1")])
        feed.until(100)
        feed.book(101, [("111", "1")], [("113", "1")])
        feed.until(200)
        marks = [Fraction(command["mark_price"]) for command in of(feed.commands, "mark")]
        assert marks[:100] == [102] * 100
        after = marks[100:]
        assert after == sorted(after)
        assert 102 < after[0] < 103
        assert after[-1] == 112


class TestHeld:
    def feed(self, **rules: Any) -> Feed:
        mark = MarkRules(components=("last",), **rules)
        feed = Feed(config(
            mark=mark, sources=sources("A", "B", max_age_ns=5 * SECOND_NS),
            index=IndexRules(min_sources=2)))
        feed.trade(0, 100)
        feed.source(0, 100, "A")
        feed.source(0, 100, "B")
        return feed

    def test_marks_stop_with_the_index(self) -> None:
        feed = self.feed()
        feed.until(100)
        assert [second_of(command) for command in of(feed.commands, "mark")] == list(range(6))
        status = feed.status()
        assert status.index.is_held
        assert status.index_price == "100"
        assert status.index.left_out == (("A", "stale"), ("B", "stale"))

    def test_or_go_on_for_a_while(self) -> None:
        feed = self.feed(hold_ns=3 * SECOND_NS)
        feed.until(100)
        assert [second_of(command) for command in of(feed.commands, "mark")] == list(range(9))

    def test_and_can_halt_liquidations_until_it_is_back(self) -> None:
        feed = self.feed(on_held="halt")
        feed.until(100)
        [halt] = of(feed.commands, "halt")
        assert halt == {"cmd": "halt", "ts": MIDNIGHT + 6 * SECOND_NS, "symbol": "BTC",
                        "mode": "no_liquidation"}
        feed.source(101, 100, "A")
        assert feed.until(105) == []
        feed.source(106, 100, "B")
        commands = feed.until(106)
        assert [command["cmd"] for command in commands] == ["mark", "resume"]
        feed.until(10_000)
        assert [command["cmd"] for command in feed.commands if command["cmd"] != "mark"] == [
            "halt", "resume", "halt"]

    def test_the_halt_is_not_lost_between_two_instants(self) -> None:
        # The sources turn stale after second 5, a trade comes, then second 6: the halt.
        feed = Feed(config(
            mark=MarkRules(components=("last",), on_held="halt"),
            sources=sources("A", max_age_ns=5 * SECOND_NS + 1)))
        feed.trade(0, 100)
        feed.source(0, 100)
        feed.take(TradePrice(MIDNIGHT + 5 * SECOND_NS + 9, "BTC", "101"))
        assert [command["cmd"] for command in feed.until(7)] == ["halt"]

    def test_no_halt_before_the_first_mark(self) -> None:
        feed = Feed(config(mark=MarkRules(components=("last",), on_held="halt")))
        feed.trade(1, 100)
        assert feed.until(HOUR) == []

    def test_held_prices_are_not_sampled(self) -> None:
        feed = self.feed(hold_ns=50 * SECOND_NS)
        feed.book(0, [("110", "100")], [("120", "100")])
        feed.until(40)
        assert feed.status().premium_count == 5  # seconds 1 to 5


@pytest.mark.parametrize(
    "fields",
    [{"components": ()}, {"components": ("index", "index")}, {"components": ("spot",)},
     {"interval_ns": 0}, {"basis_rate": "x"}, {"basis_price": "x"}, {"on_held": "x"},
     {"basis_window_ns": 1.5}, {"ema_decay_ns": -1}, {"band": "-0.1"}, {"band": 0.1},
     {"hold_ns": -1}])
def test_rules_that_make_no_sense(fields: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        MarkRules(**fields)


def test_hours_are_hours() -> None:
    assert HOUR_NS == HOUR * SECOND_NS
    assert MIDNIGHT % (24 * HOUR_NS) == 0
