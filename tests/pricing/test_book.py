"""Impact prices of the own book, and the premium index: by hand, and as dYdX tests them."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from support.pricing import Feed, config, of

from engine.errors import InputError
from engine.pricing import MarkRules, PremiumRules
from engine.pricing.book import BookView, ImpactTerms, impact_price, read_side
from engine.pricing.premium import premium_index
from engine.pricing.scale import SECOND_NS, PriceScale, exact

Side = list[tuple[str, str]]


def view(bids: Side, asks: Side, notional: str, tick: str = "0.1", contract_size: str = "1",
         *, is_inverse: bool = False) -> BookView:
    scale = PriceScale(tick)
    terms = ImpactTerms.of(
        exact(notional, "notional"), exact(contract_size, "size"), is_inverse=is_inverse,
        scale=scale)
    return BookView.of(
        0, read_side(bids, scale, is_bid=True), read_side(asks, scale, is_bid=False), terms)


def test_walks_the_levels_until_the_notional_is_reached() -> None:
    # 2 x 100 = 200, then 300 of the 400 at 80: 500 / (2 + 3.75) = 86.9565...
    side = [(100, Fraction(2)), (80, Fraction(5))]
    assert impact_price(side, Fraction(500), Fraction(1)) == Fraction(2000, 23)
    assert impact_price(side, Fraction(200), Fraction(1)) == 100
    assert impact_price(side, Fraction(600), Fraction(1)) == Fraction(600, 7)


def test_one_more_than_there_is_is_too_much() -> None:
    side = [(100, Fraction(2))]
    assert impact_price(side, Fraction(200), Fraction(1)) == 100
    assert impact_price(side, Fraction(201), Fraction(1)) is None
    assert impact_price([], Fraction(1), Fraction(1)) is None


def test_contract_size_counts() -> None:
    shown = view([("100", "200"), ("80", "500")], [], "500", "1", contract_size="0.01")
    assert shown.impact_bid == Fraction(2000 * 10**8, 23)  # 500 / 5.75 = 86.956...


def test_inverse_contracts_are_worth_quote() -> None:
    # 100 contracts of 1 USD at 100 buy 1; 100 more at 50 buy 2: 200 / 3 = 66.67 USD.
    shown = view([("100", "100"), ("50", "500")], [], "200", "1", is_inverse=True)
    assert shown.impact_bid == Fraction(200 * 10**8, 3)


# Books, index and expected premium in ppm, from the tests of dYdX: dydxprotocol/v4-chain,
# protocol/x/clob/memclob/memclob_get_premium_price_test.go (TestGetPremiumPrice). There a
# premium is cut to ppm towards zero.
DYDX: dict[str, tuple[Side, Side, str, str, int]] = {
    "index inside the spread": (
        [("9999", "1")], [("10001", "1")], "10000", "5000", 0),
    "index below the impact bid": (
        [("9999", "0.1"), ("9998", "1")], [("10001", "1")], "9000", "5000", 110_911),
    "index above the impact ask": (
        [("9999", "1")], [("10001", "0.1"), ("10001.5", "0.1"), ("10002", "1")], "10003", "5000",
        -129),
    "best ask is the impact ask": (
        [("9999", "1")], [("10001", "1")], "10001.9", "5000", -89),
    "best bid is the impact bid": (
        [("9999.9", "1")], [("10001", "1")], "9997.5", "5000", 240),
    "impact bid below the index, best bid above": (
        [("9999.9", "0.1"), ("9999.5", "1"), ("9999", "1")], [("10001", "1")], "9999.82", "5000",
        0),
    "asks too thin": (
        [("9999.8", "1")], [("10000.1", "0.1")], "10001", "2000", 0),
    "bids too thin": (
        [("9999.8", "0.1")], [("10000.1", "1")], "9999.5", "2000", 0),
    "both too thin": (
        [("9999.8", "0.1")], [("10000.1", "0.1")], "10000", "2000", 0),
    "empty": ([], [], "10000", "2000", 0),
    "asks too thin, premium of the bids": (
        [("9999.8", "1")], [("10000.1", "0.1")], "9999", "5000", 80),
    "bids too thin, discount of the asks": (
        [("9999.8", "0.1")], [("10000.1", "1")], "10001", "5000", -89),
}


@pytest.mark.parametrize("case", DYDX)
def test_premium_of_dydx(case: str) -> None:
    bids, asks, index, notional, ppm = DYDX[case]
    shown = view(bids, asks, notional)
    at = PriceScale("0.1").read(index, "index")
    premium = premium_index(at, shown.impact_bid, shown.impact_ask)
    cut = abs(premium) // 10**6 * (1 if premium > 0 else -1)
    assert cut == ppm


def test_impact_bid_of_dydx() -> None:
    bids, asks, _, notional, _ = DYDX["index below the impact bid"]
    impact = view(bids, asks, notional).impact_bid
    assert impact is not None
    # "Impact Bid = $9998.2", in subticks of 1e-9.
    assert round(impact, -8) == 99_982 * 10**8


@pytest.mark.parametrize(("index", "expected"), [("6000", "0.1"), ("15000", "-0.1")])
def test_premium_of_dydx_within_its_bound(index: str, expected: str) -> None:
    # The same file, "maximum premium (clamped)" and "minimum premium (clamped)": 10 %.
    rules = PremiumRules(sample_ns=SECOND_NS, weighting="equal", bound="0.1")
    feed = Feed(config(mark_tick="0.1", impact_notional="5000", premium=rules))
    feed.source(1, index)
    feed.book(1, [("9999.9", "1")], [("10001", "1")])
    feed.until(1)
    assert feed.status().premium_average == expected


BIDS: Side = [("110", "1")]  # 110 of the 1,000
ASKS: Side = [("120", "100")]


class TestThinSides:
    def feed(self, **rules: Any) -> Feed:
        feed = Feed(config(premium=PremiumRules(
            sample_ns=SECOND_NS, weighting="equal", **rules)))
        feed.source(1, 130)
        feed.book(1, BIDS, ASKS)
        feed.until(1)
        return feed

    def test_counts_as_zero_and_is_flagged(self) -> None:
        status = self.feed().status()
        assert status.thin_sides == ("bid",)
        assert (status.premium_count, status.thin_count) == (1, 1)
        assert status.premium_average == "-0.076923076923"  # -10 / 130

    def test_or_there_is_no_sample(self) -> None:
        status = self.feed(thin_side="skip").status()
        assert status.thin_sides == ("bid",)
        assert (status.premium_count, status.premium_average) == (0, None)

    def test_a_book_that_turned_stale_gives_no_sample(self) -> None:
        feed = Feed(config(book_max_age_ns=2 * SECOND_NS))
        feed.source(0, 130)
        feed.book(0, BIDS, ASKS)
        feed.until(10)
        assert feed.status().premium_count == 2  # second 0 belongs to the interval before

    def test_a_crossed_book_gives_no_sample(self) -> None:
        rules = MarkRules(components=("basis_average", "index"), basis_sample_ns=SECOND_NS)
        feed = Feed(config(mark=rules))
        feed.source(1, 100)
        feed.book(1, [("120", "100")], [("110", "100")])
        feed.until(5)
        assert feed.status().premium_count == 0
        assert set(feed.status().components) == {"index"}


@pytest.mark.parametrize(
    ("bids", "asks"),
    [([("100", "0")], []), ([("100", "-1")], []), ([("0", "1")], []), ([("100", 1.5)], []),
     ([("100", "1"), ("100", "1")], []), ([("99", "1"), ("100", "1")], []),
     ([], [("100", "1"), ("99", "1")]), ([("100",)], []), (["10"], []), ([("x", "1")], [])])
def test_a_bad_book_is_refused_and_changes_nothing(bids: Any, asks: Any) -> None:
    feed = Feed()
    feed.source(1, 100)
    feed.book(1, [("99", "1")], [("101", "1")])
    with pytest.raises(InputError):
        feed.book(9, bids, asks)
    assert len(of(feed.until(3), "mark")) == 3
    assert feed.status().thin_sides == ("bid", "ask")


def test_takes_what_a_book_query_answers() -> None:
    from support.market import Desk

    from engine import Exchange

    desk = Desk(Exchange(core="reference"))
    desk.symbol()
    desk.account(1)
    for number, (side, price) in enumerate((("buy", "99"), ("buy", "98"), ("sell", "101")), 1):
        desk.must("order", account=1, symbol="BTC", order_id=number, side=side, type="limit",
                  quantity="100", price=price)
    book = desk.exchange.query({"query": "book", "symbol": "BTC"})
    feed = Feed(config(impact_notional="15000"))
    feed.source(1, 90)
    feed.book(1, book["bids"], book["asks"])
    feed.until(1)
    # 9,900 at 99 and 5,100 at 98: 15000 / (100 + 52.0408...) = 98.6577...; over 90.
    assert feed.status().premium_average == "0.096196868009"
    assert feed.status().thin_sides == ("ask",)
