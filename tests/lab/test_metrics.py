"""Metrics and causes against event streams worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from engine.lab import Run, Scenario, metrics
from engine.lab.causes import find_causes, generations
from engine.lab.marks import MarkMaker
from engine.lab.scenario import MarkSpec
from engine.messages import RECORD_WIDTH, EventKind, Side

HALF_LIFE = int(Scenario().makers.impact_half_life_s * 1e9)


def record(kind, seq, ts, *payload):
    return [kind, seq, ts, seq, *payload, *[0] * (RECORD_WIDTH - 4 - len(payload))]


def started(seq, ts, account):
    return record(EventKind.LIQUIDATION_STARTED, seq, ts, account, 0, -1, 90, 100, 0)


def forced_sale(seq, ts, taker, lots):
    return record(EventKind.TRADE, seq, ts, 1, 0, 1_000, lots, 7, 900, 8, taker, Side.SELL, 0, 0, 1)


def step(seq, ts, account, lots):
    return record(EventKind.LIQUIDATION_STEP, seq, ts, account, 1, 0, Side.SELL, lots, 990, 1, 0,
                  lots, -lots * 10_000, 0, 0)


def by_hand(shares):
    """Accounts 1 and 2 are due from outside; 3 and 4 in the next command, one half-life on.

    Account 1 sold 100 lots one half-life ago, which count 50 now; account 2 has just sold 50.
    Then the fund sells what it took over of account 2, and account 5 is due.
    """
    rows = [
        started(10, 0, 1), forced_sale(10, 0, 1, 100), step(10, 0, 1, 100),
        started(11, HALF_LIFE - 1, 2), forced_sale(11, HALF_LIFE, 2, 50),
        step(11, HALF_LIFE, 2, 50),
        record(EventKind.LIQUIDATION_TAKEOVER, 11, HALF_LIFE, 2, 0, Side.SELL, 30, 1_000, 0),
        started(20, HALF_LIFE, 3), step(20, HALF_LIFE, 3, 5),
        started(20, HALF_LIFE, 4),
        record(EventKind.ADL, 20, HALF_LIFE, 6, 4, 0, Side.BUY, 8, 1_000, 1, 0),
        forced_sale(21, HALF_LIFE, 0, 300),
        started(30, HALF_LIFE, 5),
    ]
    records = np.array(rows, np.int64)
    at = np.flatnonzero(records[:, 0] == EventKind.LIQUIDATION_STARTED)
    run = Run(Scenario(), False, np.ones(1), None, records)
    count = len(at)
    run.breaches = {
        "row": at, "seq": records[at, 1], "ts": records[at, 2], "account": records[at, 4],
        "moved": np.zeros(count, int), "push": -np.ones(count), "share": np.array(shares),
        "excess": np.array(shares) > 0,
    }
    return run


def test_the_trade_that_passes_the_trigger_is_the_parent():
    # 50 of the 100 that count are account 1's: 0.4 of the way is within it, 0.6 is not.
    causes = find_causes(by_hand([-1.0, -0.5, 0.4, 0.6, 0.9]))
    assert causes.parent.tolist() == [-1, -1, 0, 1, 1]
    assert causes.generation.tolist() == [0, 0, 1, 1, 1]


def test_the_funds_sale_belongs_to_whom_it_took_over():
    causes = find_causes(by_hand([-1.0, -1.0, -1.0, -1.0, 0.9]))
    assert causes.trade_of.tolist() == [0, 1, 1]
    assert causes.parent.tolist() == [-1, -1, -1, -1, 1]


def test_notional_by_who_closed_it():
    causes = find_causes(by_hand([-1.0] * 5))
    assert causes.book.tolist() == [1_000_000, 500_000, 50_000, 0, 0]
    assert causes.fund.tolist() == [0, 300_000, 0, 0, 0]
    assert causes.adl.tolist() == [0, 0, 0, 80_000, 0]


def test_reproduction():
    notional = np.array([100.0, 50.0, 30.0, 20.0])
    parent = np.array([-1, 0, 0, 1])
    assert metrics.reproduction_tagged(notional, parent) == 0.5
    assert metrics.generation_ratios(notional, generations(parent)).tolist() == [0.8, 0.25]
    assert metrics.reproduction_excess(notional, np.array([0, 0, 1, 1], bool)) == 0.25
    # With R the same in all generations, amplification is 1 / (1 - R).
    chain = 100 * 0.6 ** np.arange(60)
    ratio = metrics.reproduction_tagged(chain, np.arange(60) - 1)
    assert ratio == pytest.approx(0.6)
    assert metrics.amplification(chain.sum(), chain[0]) == pytest.approx(1 / (1 - ratio))


def test_map_of_reproduction():
    # 1,000 within 10 of price 100; selling 1 moves the price by 1e-4 of itself.
    out = metrics.reproduction_map(np.array([100.0]), np.array([1_000.0]), 10.0, 1e-4)
    assert out.tolist() == [1.0]


def test_time_and_price():
    ts = np.array([0, 2, 8, 9, 20]) * 10**9
    assert metrics.waves(ts).tolist() == [0, 0, 1, 1, 2]
    assert len(metrics.waves(ts[:0])) == 0
    assert metrics.peak_share(ts, np.ones(5), 10.0) == 0.8
    price = np.array([100.0, 90.0, 80.0, 84.0, 88.0, 90.0])
    assert metrics.recovery_steps(price) == 2
    assert metrics.overshoot(price, 100.0, 90.0) == 0.5
    assert metrics.overshoot_counterfactual(price, np.array([100.0, 95.0])) == 0.15


def test_who_pays():
    sale = np.array([True, False])
    bps = metrics.slippage_bps(np.array([990.0, 1_020.0]), np.array([10.0, 10.0]),
                               np.array([100.0, 100.0]), sale)
    assert bps == pytest.approx([100, 200])
    debt = metrics.shortfall(np.array([95.0, 95.0]), np.array([90.0, 90.0]), np.array([2, 2]), sale)
    assert debt.tolist() == [10, -10]
    assert metrics.drawdown(np.array([10.0, 4.0, 6.0])) == 0.6
    needed = metrics.needed_to_restore(
        np.array([100.0, 100.0]), np.array([1.0, -1.0]), np.array([2.0, 2.0]))
    assert needed.tolist() == [50, 100]
    share = metrics.contagion_share(np.array([1.0, 2.0, 6.0]), np.array([-1, 0, 0]),
                                    np.array([0, 0, 1]), np.array([0, 1, 1]))
    assert share == 0.25


def test_a_queue_is_the_worst_for_the_top_winner():
    # Chitra 2025: PTSR(pro rata) - PTSR(queue) = theta (1 - w1 / U) while theta D <= w1.
    winnings, deficit, theta = np.array([50.0, 30.0, 20.0]), 40.0, 0.75
    budget = theta * deficit
    queue = metrics.haircuts_queue(winnings, np.argsort(-winnings), budget)
    spread = metrics.haircuts_pro_rata(winnings, budget)
    assert queue.sum() == pytest.approx(budget) and spread.sum() == pytest.approx(budget)
    # The identity is about the top winner; the second one keeps more than he does here.
    top = np.array([True, False, False])
    difference = (metrics.ptsr(winnings[top], spread[top], deficit)
                  - metrics.ptsr(winnings[top], queue[top], deficit))
    assert difference == pytest.approx(theta * (1 - winnings[0] / winnings.sum()))


def test_tails_and_counts():
    rng = np.random.default_rng(1)
    sizes = rng.pareto(1.5, 200_000) + 1
    assert metrics.tail_exponent(sizes) == pytest.approx(1.5, rel=0.03)
    assert metrics.branching_of_counts(rng.poisson(3, 10_000)) < 0.1
    # A Hawkes process with n = 0.5 has variance / mean = 1 / (1 - n)^2 over long windows.
    families = rng.poisson(20, 4_000)
    counts = np.array([_family_total(rng, n, 0.5) for n in families])
    assert metrics.branching_of_counts(counts) == pytest.approx(0.5, abs=0.05)
    assert metrics.herfindahl(np.ones(4)) == 0.25


def _family_total(rng, ancestors, ratio):
    total = alive = int(ancestors)
    while alive:
        alive = int(rng.poisson(ratio * alive))
        total += alive
    return total


def test_intervals():
    mean, low, high = metrics.interval(np.array([1.0, 2.0, 3.0]))
    # t = 4.303 with two degrees of freedom, s = 1.
    half = 4.303 / 3**0.5
    assert (mean, low, high) == pytest.approx((2.0, 2 - half, 2 + half), abs=1e-3)
    assert np.isnan(metrics.interval(np.array([1.0]))[1])


def test_marks_by_hand():
    spec = MarkSpec(("index", "basis_ema", "last"), ema_s=1 / np.log(2), band=0.02)
    maker = MarkMaker(spec, np.array([100.0]), 1.0)
    one = np.array([1.0])
    # The basis moves half of the way: mid 90, basis -5; median of 100, 95, 91.
    assert maker.step(100 * one, 89 * one, 91 * one, 91 * one) == pytest.approx([98.0])
    # No mid: the basis stays; median of 100, 95, 99.
    assert maker.step(100 * one, np.nan * one, 91 * one, 99 * one) == pytest.approx([99.0])
    book = MarkMaker(MarkSpec(("book_median",)), np.array([100.0]), 1.0)
    assert book.step(100 * one, 89 * one, 93 * one, 91 * one).tolist() == [91.0]
    assert book.step(100 * one, 89 * one, np.nan * one, 80 * one).tolist() == [80.0]
