"""What holds whatever the prices are."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st
from support.pricing import Feed, config, of, sources

from engine.messages import RATE_SCALE
from engine.pricing import FundingRules, IndexRules, MarkRules, Source
from engine.pricing.book import impact_price
from engine.pricing.funding import FundingTerms
from engine.pricing.index import Index, weighted_mean, weighted_median
from engine.pricing.mark import round_mark
from engine.pricing.premium import premium_index
from engine.pricing.scale import PREMIUM_SCALE, SECOND_NS, SUBTICKS_PER_TICK

PRICES = st.integers(1, 10**12)
INDEX_RULES = st.builds(
    IndexRules, min_sources=st.integers(1, 3), combine=st.sampled_from(("mean", "median")),
    outlier_bound=st.sampled_from((None, "0", "0.01", "0.05", "1")),
    outlier_rule=st.sampled_from(("drop", "clamp")),
    many_outliers=st.sampled_from(("each", "median")))
#: (price, weight, age), the limit of the age being 5.
SOURCES = st.lists(
    st.tuples(st.integers(900, 1100) | PRICES, st.sampled_from((1, 2, "0.3")), st.integers(0, 9)),
    min_size=3, max_size=7)
few = settings(max_examples=40)


def index_of(rows: list[tuple[str, tuple[int, int | str, int]]], rules: IndexRules) -> Index:
    index = Index((Source(name, weight, 5) for name, (_, weight, _) in rows), rules)
    for name, (price, _, age) in rows:
        index.observe(name, price, 10 - age)
    return index


@few
@given(SOURCES, INDEX_RULES, st.randoms())
def test_index(rows: list[tuple[int, int | str, int]], rules: IndexRules,
               draw: object) -> None:
    named = [(f"S{at}", row) for at, row in enumerate(rows)]
    reading = index_of(named, rules).read(10)
    # Every source is accounted for, once.
    left_out = dict(reading.left_out)
    assert sorted([*reading.used, *left_out]) == [name for name, _ in named]
    fresh = {name: price for name, (price, _, age) in named if age <= 5}
    assert {name for name, why in left_out.items() if why == "stale"} == {
        name for name, _ in named} - set(fresh)
    # A median of an even number may be no price, and every price beyond the bound.
    assert reading.is_held == (len(reading.used) < rules.min_sources)
    if reading.price is not None:
        assert min(fresh.values()) <= reading.price <= max(fresh.values())
        if rules.outlier_rule == "drop":
            good = [fresh[name] for name in reading.used]
            assert min(good) <= reading.price <= max(good)
    # The order of sources, and of what they say, makes no difference.
    shuffled = list(named)
    draw.shuffle(shuffled)  # type: ignore[attr-defined]
    assert index_of(shuffled, rules).read(10) == reading


@few
@given(st.lists(st.tuples(PRICES, st.integers(1, 50)), min_size=1, max_size=9))
def test_means_and_medians_lie_between(rows: list[tuple[int, int]]) -> None:
    prices = [price for price, _ in rows]
    for combine in (weighted_mean, weighted_median):
        assert min(prices) <= combine(rows) <= max(prices)


@few
@given(st.fractions(-100, 10**9), PRICES, st.none() | st.integers(0, RATE_SCALE))
def test_mark_is_on_the_tick_and_in_its_band(
    ticks: Fraction, index: int, band: int | None
) -> None:
    mark = round_mark(ticks * SUBTICKS_PER_TICK, index, band)
    assert mark >= 1
    if band is None:
        assert mark == 1 or abs(mark - ticks) <= Fraction(1, 2)
    elif mark > 1:
        away = abs(Fraction(mark) - Fraction(index, SUBTICKS_PER_TICK))
        reach = Fraction(index * band, SUBTICKS_PER_TICK * RATE_SCALE)
        assert away <= max(reach, Fraction(1, 2))


SIDE = st.lists(st.tuples(st.integers(1, 10**6), st.integers(1, 50)), min_size=1, max_size=8)


@few
@given(SIDE, st.fractions(1, 10**8))
def test_an_impact_price_lies_on_the_levels(
    rows: list[tuple[int, int]], notional: Fraction
) -> None:
    side = [(price, Fraction(lots)) for price, lots in sorted(rows, reverse=True)]
    price = impact_price(side, notional, Fraction(1))
    total = sum(price * lots for price, lots in side)
    assert (price is None) == (notional > total)
    if price is not None:
        assert side[-1][0] <= price <= side[0][0]
        # More notional never gets a better price.
        deeper = impact_price(side, notional + 1, Fraction(1))
        assert deeper is None or deeper <= price


@few
@given(PRICES, st.none() | st.fractions(1, 10**12), st.none() | st.fractions(0, 10**12))
def test_the_sign_of_a_premium(
    index: int, bid: Fraction | None, gap: Fraction | None
) -> None:
    ask = None if gap is None else (bid or Fraction(1)) + gap
    premium = premium_index(index, bid, ask)
    if bid is not None and bid > index:
        assert premium >= 0
    if ask is not None and ask < index:
        assert premium <= 0
    if (bid is None or bid <= index) and (ask is None or ask >= index):
        assert premium == 0


@few
@given(st.fractions(-2 * PREMIUM_SCALE, 2 * PREMIUM_SCALE), st.integers(-300_000, 300_000),
       st.sampled_from((1, 4, 8)))
def test_rates(premium: Fraction, before: int, hours: int) -> None:
    rules = FundingRules(
        interval_ns=hours * 3600 * SECOND_NS, cap_factor="0.75", change_factor="0.5")
    terms = FundingTerms.of(config(funding=rules, maintenance_rate="0.004"))
    rate = terms.rate(premium, None)
    assert -300_000 <= rate <= 300_000
    # Longs pay where the premium exceeds damper and interest, shorts where it falls behind.
    if premium > 5 * 10**8:
        assert rate >= 0
    if premium < -5 * 10**8:
        assert rate <= 0
    assert terms.rate(premium + 1, None) >= rate
    bounded = terms.rate(premium, before)
    assert -300_000 <= bounded <= 300_000
    assert abs(bounded - before) <= 200_000


@few
@given(st.lists(st.tuples(
    st.integers(0, 3), st.sampled_from(("A", "B", "book", "trade")), st.integers(990, 1010)),
    max_size=25))
def test_marks_stay_in_their_band_of_the_index(steps: list[tuple[int, str, int]]) -> None:
    rules = MarkRules(basis_sample_ns=SECOND_NS, basis_window_ns=5 * SECOND_NS, band="0.002")
    feed = Feed(config(
        mark_tick="0.1", mark=rules, sources=sources("A", "B", max_age_ns=3 * SECOND_NS)))
    second = 0
    for pause, what, price in steps:
        second += pause
        if what == "book":
            feed.book(second, [(str(price), "5")], [(str(price + 1), "5")])
        elif what == "trade":
            feed.trade(second, price)
        else:
            feed.source(second, price, what)
    feed.until(second + 5)
    for command in of(feed.commands, "mark"):
        mark, index = Fraction(command["mark_price"]), Fraction(command["index_price"])
        # The index in the command is rounded to the tick, the band is around the exact one.
        assert abs(mark - index) <= index * Fraction(2, 1000) + Fraction(1, 10)
        assert (mark * 10).denominator == 1
