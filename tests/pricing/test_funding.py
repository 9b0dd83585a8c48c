"""The rate, its bounds, its clocks: published examples, and by hand."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from support.pricing import HOUR, MIDNIGHT, Feed, config, of, second_of

from engine.errors import InputError
from engine.pricing import FundingRules, MarkRules, PremiumRules, SymbolConfig, preset
from engine.pricing.funding import FundingTerms, impact_notional, next_multiple
from engine.pricing.premium import PremiumAverage, premium_index
from engine.pricing.scale import HOUR_NS, SECOND_NS

PERCENT = 10**10  # of a premium
MINUTE_NS = 60 * SECOND_NS


def slow(symbol: str = "BTC", **fields: Any) -> SymbolConfig:
    """A symbol whose clocks tick once a minute, for tests that last for hours."""
    mark = MarkRules(
        components=fields.pop("components", ("index",)), interval_ns=MINUTE_NS,
        basis_sample_ns=MINUTE_NS)
    return config(symbol, **{"mark": mark, "premium": PremiumRules(sample_ns=MINUTE_NS)} | fields)


def terms(**rules: Any) -> FundingTerms:
    fields = {name: rules.pop(name) for name in ("initial_rate", "maintenance_rate")
              if name in rules}
    return FundingTerms.of(config(funding=FundingRules(**rules), **fields))


class TestRate:
    def test_numerical_example_of_hyperliquid(self) -> None:
        # Hyperliquid docs, "Funding", numerical example: impact bid 10,100, spot 10,000,
        # premium 1 %, clamped difference -0.05 %, funding rate 0.95 % (for eight hours).
        premium = premium_index(10_000, Fraction(10_100), Fraction(10_101))
        assert premium == PERCENT
        assert terms().rate(Fraction(premium), None) == 950_000
        # "funding is paid every hour at one eighth of the computed rate": 0.11875 %.
        hourly = terms(interval_ns=HOUR_NS)
        assert hourly.rate(Fraction(premium), None) == 118_750

    @pytest.mark.parametrize("premium", ["-0.04", "0", "0.01", "0.03", "0.06"])
    def test_near_the_interest_the_rate_is_the_interest(self, premium: str) -> None:
        # Bybit Help Center, "What is funding rate and predicted rate": if (I - P) is within
        # +/-0.05 %, then F = P + (I - P) = I; I = (0.06 % - 0.03 %) / 3 = 0.01 %.
        assert terms().rate(Fraction(premium) * PERCENT, None) == 10_000

    @pytest.mark.parametrize(
        ("premium", "rate"), [("0.07", 20_000), ("-0.05", 0), ("-0.06", -10_000), ("1", 950_000)])
    def test_beyond_it_is_the_premium_less_the_damper(self, premium: str, rate: int) -> None:
        assert terms().rate(Fraction(premium) * PERCENT, None) == rate

    def test_sum_of_dydx(self) -> None:
        # venue_rules 7.3: average premium plus default funding; no damper.
        rules = terms(formula="sum", interest_rate="0.0001", interval_ns=HOUR_NS)
        assert rules.rate(Fraction(PERCENT), None) == 126_250  # (1 % + 0.01 %) / 8

    def test_rounded_to_the_nearest_ties_to_even(self) -> None:
        rules = terms(formula="sum", interest_rate="0")
        assert [rules.rate(Fraction(premium), None) for premium in (
            5_000, 15_000, 25_000, -5_000, -15_000, 14_999)] == [0, 2, 2, 0, -2, 1]

    def test_nothing_sampled_counts_as_zero(self) -> None:
        assert terms().rate(None, None) == 10_000


class TestBounds:
    def test_cap_of_binance(self) -> None:
        # Binance FAQ, "Introduction to Funding Rates" (read in copies): ADAUSDT at 75x has a
        # maintenance margin ratio of 0.65 %. The factor of 0.75 is that of venue_rules 1.3; the
        # product, 0.4875 %, by hand.
        rules = terms(cap_factor="0.75", maintenance_rate="0.0065")
        assert (rules.floor, rules.cap) == (-487_500, 487_500)
        assert rules.rate(Fraction(5 * PERCENT), None) == 487_500
        assert rules.rate(Fraction(-5 * PERCENT), None) == -487_500

    def test_impact_notional_of_binance(self) -> None:
        # The same page, its own result: BNBUSDT at 20x has an initial margin rate of 5 %;
        # 200 USDT / 5 % = 4,000 USDT.
        rules = PremiumRules(impact_margin=200)
        made = config(premium=rules, impact_notional=None, initial_rate="0.05")
        assert impact_notional(made) == 4000

    def test_cap_of_dydx(self) -> None:
        # venue_rules 7.3: +/-600 % x (IMF - MMF) for eight hours; 5 % and 3 %: 12 %, 1.5 % an hour.
        made = preset("dydx_v4").symbol(
            "BTC", "1", config().sources, initial_rate="0.05", maintenance_rate="0.03")
        assert FundingTerms.of(made).cap == 1_500_000

    def test_cap_and_change_of_bitmex(self) -> None:
        # venue_rules 4.3: |F| <= 75 % of (IM - MM), change <= 75 % of MM. 1 % and 0.5 %:
        # 0.375 %, which is the 0.375 % per interval named there.
        made = preset("bitmex").symbol(
            "XBTUSD", "0.1", config().sources, impact_notional="100000", initial_rate="0.01",
            maintenance_rate="0.005")
        rules = FundingTerms.of(made)
        assert (rules.cap, rules.change) == (375_000, 375_000)
        assert rules.rate(Fraction(9 * PERCENT), None) == 375_000
        assert rules.rate(Fraction(9 * PERCENT), -200_000) == 175_000
        assert rules.rate(Fraction(-9 * PERCENT), 300_000) == -75_000

    def test_given_bounds(self) -> None:
        rules = terms(cap="0.003", floor="-0.001")
        assert rules.rate(Fraction(PERCENT), None) == 300_000
        assert rules.rate(Fraction(-PERCENT), None) == -100_000

    def test_bounds_are_rounded_towards_zero(self) -> None:
        rules = terms(cap_factor="0.333333333", maintenance_rate="0.00000005")
        assert (rules.floor, rules.cap) == (-1, 1)

    def test_never_beyond_what_the_engine_takes(self) -> None:
        rules = terms()
        assert rules.rate(Fraction(900 * PERCENT), None) == 10**8
        assert rules.settled(10**8, 3, 1) == 10**8
        assert rules.rate(Fraction(-900 * PERCENT), None) == -(10**8)

    def test_meant_for_the_index_paid_on_the_mark(self) -> None:
        rules = terms(settle_on="index")
        assert rules.settled(100_000, 10_000, 12_500) == 80_000
        assert rules.settled(100_000, None, 12_500) == 100_000
        assert terms().settled(100_000, 10_000, 12_500) == 100_000


class TestAverage:
    def average(self, **rules: Any) -> PremiumAverage:
        return PremiumAverage(PremiumRules(**{"sample_ns": 60, **rules}), 480 * 60, 0)

    def test_weights_of_bybit(self) -> None:
        # "(Premium Index_1 x 1 + ... + Premium Index_480 x 480) / (1 + 2 + ... + 480)".
        average = self.average()
        for minute in range(1, 481):
            average.add(minute * 60, minute * minute, is_thin=False)
        # The sum of cubes over the sum: (480 x 481 / 2).
        assert average.value(480 * 60) == Fraction(480 * 481, 2)

    def test_equal_weights(self) -> None:
        average = self.average(weighting="equal")
        for minute, premium in ((1, 10), (2, 20), (3, 60)):
            average.add(minute * 60, premium, is_thin=False)
        assert average.value(200) == 30

    def test_the_late_ones_count_more(self) -> None:
        average = self.average()
        average.add(60, 30, is_thin=False)
        average.add(120, 0, is_thin=False)
        assert average.value(120) == 10

    def test_missing_ones_are_left_out_or_count_as_zero(self) -> None:
        for weighting, expected in (("equal", Fraction(10, 4)), ("linear", Fraction(40, 10))):
            skipping = self.average(weighting=weighting)
            skipping.add(240, 10, is_thin=False)
            assert skipping.value(299) == 10
            counting = self.average(weighting=weighting, missing="zero")
            counting.add(240, 10, is_thin=False)
            assert counting.value(299) == expected

    def test_the_instant_at_which_time_begins_counts(self) -> None:
        feed = Feed(config(premium=PremiumRules(
            sample_ns=SECOND_NS, weighting="equal", missing="zero")))
        feed.source(5, 100)
        feed.book(5, [("101", "100")], [("102", "100")])
        feed.until(5)
        assert feed.status().premium_average == "0.01"
        feed.book(6, [], [])
        feed.until(8)
        assert feed.status().premium_average == "0.0025"

    def test_what_was_before_the_start_is_not_missing(self) -> None:
        average = PremiumAverage(
            PremiumRules(sample_ns=60, weighting="equal", missing="zero"), 480 * 60, 119)
        average.add(180, 10, is_thin=False)
        assert average.value(180) == 5  # minutes 2 and 3
        average.start(480 * 60)
        assert average.value(480 * 60) is None
        assert average.value(482 * 60) == 0


class TestClock:
    @pytest.mark.parametrize("hours", [8, 4, 1])
    def test_boundaries_are_those_of_the_utc_day(self, hours: int) -> None:
        feed = Feed(slow(funding=FundingRules(interval_ns=hours * HOUR_NS)))
        feed.until(-1)
        feed.until(24 * HOUR)
        settled = [second_of(command) for command in of(feed.commands, "funding")]
        assert settled == list(range(0, 24 * HOUR + 1, hours * HOUR))

    def test_once_each_even_if_time_jumps_over_several(self) -> None:
        feed = Feed(slow())
        feed.source(1, 100)
        jumped = feed.until(33 * HOUR)
        settled = of(jumped, "funding")
        assert [second_of(command) for command in settled] == [
            hour * HOUR for hour in (8, 16, 24, 32)]
        assert feed.until(33 * HOUR) == []
        assert feed.until(40 * HOUR - 1) == []
        assert [command["cmd"] for command in feed.until(40 * HOUR)] == ["funding"]
        assert feed.until(40 * HOUR) == []

    def test_a_jump_of_years_takes_steps_for_settlements_only(self) -> None:
        feed = Feed(slow())
        feed.source(1, 100)
        settled = of(feed.until(10 * 365 * 24 * HOUR), "funding")
        assert len(settled) == 10 * 365 * 3

    def test_a_boundary_where_time_begins_is_not_settled(self) -> None:
        feed = Feed(slow())
        feed.source(0, 100)
        assert [command["cmd"] for command in feed.until(0)] == ["mark"]
        assert len(of(feed.until(8 * HOUR), "funding")) == 1

    def test_an_input_on_the_boundary_settles_nothing_yet(self) -> None:
        feed = Feed(slow())
        feed.source(1, 100)
        assert of(feed.source(8 * HOUR, 101), "funding") == []
        assert len(of(feed.source(8 * HOUR + 1, 102), "funding")) == 1

    def test_the_mark_of_the_boundary_comes_first(self) -> None:
        feed = Feed(slow())
        feed.source(8 * HOUR, 100)
        feed.until(8 * HOUR)
        feed.source(16 * HOUR, 101)
        commands = feed.until(16 * HOUR)
        assert [(command["cmd"], second_of(command)) for command in commands[-2:]] == [
            ("mark", 16 * HOUR), ("funding", 16 * HOUR)]

    def test_next_multiple(self) -> None:
        assert next_multiple(MIDNIGHT - 1, 8 * HOUR_NS) == MIDNIGHT
        assert next_multiple(MIDNIGHT, 8 * HOUR_NS) == MIDNIGHT + 8 * HOUR_NS


class TestPrediction:
    def test_what_is_predicted_at_the_end_is_settled(self) -> None:
        feed = Feed(slow())
        feed.source(-1, "10000")
        feed.until(0)
        assert feed.status().predicted_rate == "0.0001"
        feed.book(60, [("10100", "10")], [("10110", "10")])
        feed.until(60)
        assert feed.status().premium_average == "0.01"
        assert feed.status().predicted_rate == "0.0095"
        feed.book(4 * HOUR, [("9000", "10")], [("10900", "10")])
        feed.until(8 * HOUR - 60)
        before = feed.status()
        # Minutes 1 to 239 of 480 at 1 %: (239 x 240 / 2) / (479 x 480 / 2) so far.
        assert before.premium_average == "0.002494780793"
        assert before.next_funding_ns == MIDNIGHT + 8 * HOUR_NS
        [settled] = of(feed.until(8 * HOUR), "funding")
        assert settled["rate"] == "0.00198441"  # 28680 / 115440 % - 0.05 %
        assert feed.status().settled_rate == "0.00198441"
        assert feed.status().premium_count == 0

    def test_rates_of_symbols_do_not_mix(self) -> None:
        feed = Feed(slow("A"), slow("B"))
        for symbol, bid in (("A", "110"), ("B", "90")):
            feed.source(1, 100, symbol=symbol)
            feed.book(1, [(bid, "100")], [("111", "100")], symbol=symbol)
        rates = [command["rate"] for command in of(feed.until(8 * HOUR), "funding")]
        assert rates == ["0.0995", "0.0001"]

    def test_scaled_to_the_mark_where_it_is_meant_for_the_index(self) -> None:
        feed = Feed(slow(
            components=("last",), funding=FundingRules(settle_on="index", interest_rate="0.001")))
        feed.source(1, "100")
        feed.trade(1, "125")
        [settled] = of(feed.until(8 * HOUR), "funding")
        # 0.05 % of 100, paid on 125.
        assert settled["rate"] == "0.0004"
        assert feed.status().settled_rate == "0.0005"


@pytest.mark.parametrize(
    "fields",
    [{"interval_ns": 7 * HOUR_NS}, {"interval_ns": 0}, {"formula": "x"}, {"damper": "-0.1"},
     {"interest_rate": 0.1}, {"cap": "2"}, {"cap": "0.1", "floor": "0.2"}, {"cap_base": "x"},
     {"cap": "0.1", "cap_factor": "0.75"}, {"cap_factor": "0"}, {"settle_on": "last"},
     {"period_ns": -1}])
def test_rules_that_make_no_sense(fields: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        FundingRules(**fields)


@pytest.mark.parametrize(
    "fields",
    [{"impact_notional": None}, {"impact_notional": None, "premium": PremiumRules(impact_margin=1)},
     {"funding": FundingRules(cap_factor="1")}, {"funding": FundingRules(change_factor="1")},
     {"premium": PremiumRules(sample_ns=7 * SECOND_NS)}, {"impact_notional": "0"},
     {"contract_size": "-1"}, {"kind": "quanto"}, {"book_max_age_ns": 0}])
def test_symbols_that_lack_something(fields: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        config(**fields)
