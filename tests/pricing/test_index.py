"""The index: weights, outliers, stale sources, too few of them."""

from __future__ import annotations

from typing import Any

import pytest
from support.pricing import Feed, config, of, sources

from engine.errors import InputError
from engine.pricing import IndexRules, Source
from engine.pricing.index import Index, IndexReading, weighted_median
from engine.pricing.scale import SECOND_NS


def read(prices: dict[str, int], rules: IndexRules, weights: dict[str, Any] | None = None,
         ) -> IndexReading:
    """The index of prices that all came at once; weight 1 unless given."""
    index = Index((Source(name, (weights or {}).get(name, 1)) for name in prices), rules)
    for name, price in prices.items():
        index.observe(name, price, 0)
    return index.read(0)


def test_weighted_mean_by_hand() -> None:
    # (100 x 0.5 + 104 x 0.3 + 102 x 0.2) / 1 = 101.6, and 101.5 is a tie that goes to even.
    weights = {"A": "0.5", "B": "0.3", "C": "0.2"}
    assert read({"A": 100, "B": 104, "C": 102}, IndexRules(), weights).price == 102
    assert read({"A": 101, "B": 102}, IndexRules()).price == 102
    assert read({"A": 102, "B": 103}, IndexRules()).price == 102


def test_weights_need_not_add_up_to_anything() -> None:
    prices = {"A": 10_000, "B": 10_300}
    thirds = read(prices, IndexRules(), {"A": 2, "B": 1})
    assert thirds.price == 10_100
    assert read(prices, IndexRules(), {"A": "0.5", "B": "0.25"}).price == thirds.price


def test_weighted_median_of_the_hyperliquid_oracle() -> None:
    # Weights of the oracle's sources (Hyperliquid docs, "Oracle"): Binance 3, OKX 2, Bybit 2,
    # Kraken, KuCoin, Gate, MEXC and Hyperliquid 1 each: 12 in all, half of it is 6.
    weights = {"binance": 3, "okx": 2, "bybit": 2, "kraken": 1, "kucoin": 1, "gate": 1,
               "mexc": 1, "own": 1}
    prices = {"binance": 105, "okx": 101, "bybit": 102, "kraken": 99, "kucoin": 103,
              "gate": 104, "mexc": 106, "own": 400}
    # 99 (1), 101 (3), 102 (5), 103 (6): exactly half, so half-way to 104, and 103.5 to even.
    rules = IndexRules(combine="median", outlier_bound=None)
    assert read(prices, rules, weights).price == 104
    assert weighted_median([(5, 1), (7, 3)]) == 7


class TestOutliers:
    """Binance: a price more than 5 % from the median gets no weight, several: the median.
    OKX: one more than 2 % from it is taken as 98 % or 102 % of it. (venue_rules 1.3, 3.3)"""

    def test_one_beyond_the_bound_is_dropped(self) -> None:
        reading = read({"A": 1000, "B": 1002, "C": 1060}, IndexRules(outlier_bound="0.05"))
        assert reading.price == 1001
        assert reading.used == ("A", "B")
        assert reading.left_out == (("C", "outlier"),)

    def test_exactly_at_the_bound_it_counts(self) -> None:
        reading = read({"A": 1000, "B": 1000, "C": 1050}, IndexRules(outlier_bound="0.05"))
        assert reading.left_out == ()
        assert read({"A": 1000, "B": 1000, "C": 1051}, IndexRules()).left_out != ()

    def test_several_give_the_median(self) -> None:
        rules = IndexRules(outlier_bound="0.05", many_outliers="median")
        reading = read({"A": 900, "B": 1000, "C": 1001, "D": 1200}, rules)
        assert reading.price == 1000  # 1000.5, to even
        assert reading.used == ("A", "B", "C", "D")

    def test_clamped_to_98_and_102_percent(self) -> None:
        rules = IndexRules(outlier_bound="0.02", outlier_rule="clamp")
        reading = read({"A": 500, "B": 1000, "C": 5000}, rules)
        assert reading.price == 1000  # (980 + 1000 + 1020) / 3
        assert reading.clamped == ("A", "C")
        assert reading.left_out == ()

    def test_a_clamped_price_is_rounded_towards_the_median(self) -> None:
        # The median is 1001; 2 % of it 20.02: 980.98 up to 981, 1021.02 down to 1021.
        rules = IndexRules(outlier_bound="0.02", outlier_rule="clamp", combine="median")
        assert read({"A": 1, "B": 1001, "C": 1001}, rules, {"A": 9}).price == 981
        assert read({"A": 9999, "B": 1001, "C": 1001}, rules, {"A": 9}).price == 1021

    def test_two_that_contradict_each_other_leave_nothing(self) -> None:
        reading = read({"A": 100, "B": 200}, IndexRules())
        assert (reading.price, reading.is_held) == (None, True)
        assert reading.left_out == (("A", "outlier"), ("B", "outlier"))

    def test_no_bound_no_rule(self) -> None:
        assert read({"A": 100, "B": 200}, IndexRules(outlier_bound=None)).price == 150


class TestStaleness:
    def index(self, **rules: Any) -> Index:
        made = Index(
            (Source("A", max_age_ns=10), Source("B", max_age_ns=30)), IndexRules(**rules))
        made.observe("A", 100, 0)
        made.observe("B", 102, 0)
        return made

    def test_old_enough_is_out_exactly_at_the_limit_is_in(self) -> None:
        index = self.index()
        assert index.read(10).left_out == ()
        assert index.read(11).left_out == (("A", "stale"),)
        assert index.read(11).price == 102

    def test_never_seen_is_missing(self) -> None:
        index = Index(sources("A", "B"), IndexRules())
        index.observe("B", 7, 0)
        assert index.read(0).left_out == (("A", "missing"),)

    def test_too_few_hold_the_last_good_price(self) -> None:
        index = self.index(min_sources=2)
        index.keep(index.read(5))
        reading = index.read(11)
        assert (reading.price, reading.is_held, reading.good_ns) == (101, True, 5)
        assert reading.used == ("B",)
        index.observe("A", 110, 12)
        reading = index.read(12)
        assert (reading.price, reading.is_held, reading.good_ns) == (106, False, 12)

    def test_nothing_to_hold_before_the_first_good_one(self) -> None:
        index = Index(sources("A"), IndexRules())
        reading = index.read(0)
        assert (reading.price, reading.is_held, reading.good_ns) == (None, True, None)

    def test_an_observation_from_before_the_newest_is_dropped(self) -> None:
        index = self.index()
        assert index.observe("A", 104, 8)
        assert not index.observe("A", 90, 7)
        assert index.read(8).price == 103

    def test_a_source_that_turns_stale_can_make_the_others_good(self) -> None:
        # 100, 110, 120: the outer two are 9 % off. Without 120 the median is 105: both within.
        index = Index(
            (Source("A", max_age_ns=99), Source("B", max_age_ns=99), Source("C", max_age_ns=9)),
            IndexRules(min_sources=2))
        for name, price in (("A", 100), ("B", 110), ("C", 120)):
            index.observe(name, price, 0)
        assert index.read(9).is_held
        assert index.read(10).price == 105


def test_age_counts_from_the_observation_not_from_the_arrival() -> None:
    feed = Feed(config(sources=sources("A", max_age_ns=10 * SECOND_NS)))
    feed.source(20, 100, observed=15)
    assert [command["ts"] for command in of(feed.until(40), "mark")][-1:] == [
        of(feed.commands, "mark")[-1]["ts"]]
    assert len(of(feed.commands, "mark")) == 6  # seconds 20 to 25


def test_an_observation_in_the_future_is_taken_as_of_now() -> None:
    feed = Feed(config(sources=sources("A", max_age_ns=10 * SECOND_NS)))
    feed.source(20, 100, observed=1000)
    feed.until(40)
    assert len(of(feed.commands, "mark")) == 11


@pytest.mark.parametrize(
    "terms",
    [{"sources": ()}, {"sources": sources("A", "A")},
     {"sources": sources("A"), "index": IndexRules(min_sources=2)}])
def test_configurations_that_make_no_sense(terms: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        config(**terms)
