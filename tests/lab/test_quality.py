"""Sizes of cascades and the market meanwhile, by hand and in a run."""

from __future__ import annotations

import numpy as np
import pytest

from engine.lab import PopulationSpec, Scenario, Shock, quality
from engine.lab.causes import find_causes
from engine.messages import EventKind

FALL = Scenario(
    duration_s=90, population=PopulationSpec(accounts=700),
    shocks=(Shock("price", 20.0, 15.0, -0.06),))
PARENT = np.array([-1, 0, 1, -1, 3, -1])
SECOND = 10**9


def test_trees_by_hand():
    assert quality.tree_roots(PARENT).tolist() == [0, 0, 0, 3, 3, 5]
    notional = np.array([8.0, 4.0, 2.0, 5.0, 1.0, 3.0])
    assert quality.tree_sizes(PARENT, notional).tolist() == [14, 6, 3]
    ts = np.array([0, 2, 5, 5, 9, 9]) * SECOND
    assert quality.tree_durations(PARENT, ts).tolist() == [5, 4, 0]
    assert len(quality.tree_sizes(PARENT[:0], notional[:0])) == 0


def test_avalanches_grow_with_their_length_by_a_power():
    durations = np.array([0.0, 1.0, 2.0, 4.0, 8.0, 16.0])
    assert quality.size_exponent(3 * durations**2, durations) == pytest.approx(2.0)
    assert np.isnan(quality.size_exponent(np.ones(6), np.ones(6)))


def test_the_best_window_lies_anywhere():
    ts = np.array([0, 55, 61, 62, 200]) * SECOND
    notional = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    assert quality.best_window_share(ts, notional, 60.0) == pytest.approx(9 / 15)
    assert quality.best_window_share(ts, notional, 1_000.0) == 1
    assert np.isnan(quality.best_window_share(ts[:0], notional[:0], 60.0))


def test_price_and_depth_come_back():
    price = np.array([100.0, 80.0, 90.0, 92.0])
    assert quality.overshoot_ratio(price, 100.0, 90.0) == 2.0
    assert np.isnan(quality.overshoot_ratio(price, 100.0, 101.0))
    depth = np.array([10.0, 2.0, 5.0, 6.0, 9.0])
    assert quality.level_recovery_steps(depth) == 2
    assert quality.level_recovery_steps(depth, 0.8) == 3
    assert np.isnan(quality.level_recovery_steps(depth, 1.0))
    assert quality.spread_bps(np.array([99.0]), np.array([101.0])).tolist() == [200.0]


def test_slippage_at_risk_by_hand():
    slips, weight = np.array([10.0, 50.0, 20.0, 30.0]), np.array([5.0, 1.0, 3.0, 1.0])
    assert quality.slippage_at_risk(slips, weight, 0.8) == 20
    assert quality.slippage_at_risk(slips, weight, 0.95) == 50
    assert quality.expected_slippage(slips, weight, 0.8) == pytest.approx((60 + 30 + 50) / 5)
    assert np.isnan(quality.expected_slippage(slips[:0], weight[:0]))


def test_what_is_under_way():
    out = quality.pending(np.array([0, 1, 1]), np.array([0, 2, 9]), np.array([5.0, 3.0, 2.0]), 4)
    assert out.tolist() == [5, 5, 5, 2]


def test_shares_by_size():
    part, whole = np.array([4.0, 1.0, 1.0, 0.0]), np.array([4.0, 2.0, 2.0, 8.0])
    size = np.array([1.0, 3.0, 2.0, 9.0])
    assert quality.by_size(part, whole, size, 2).tolist() == [5 / 6, 1 / 10]


@pytest.fixture(scope="module")
def run():
    return FALL.run(maps=False)


def test_figures_agree_with_the_run(run):
    causes = find_causes(run)
    row = quality.figures_of(run, causes)
    assert row["trees"] == (causes.parent < 0).sum()
    assert 0 < row["largest_tree_share"] <= 1
    mark, last = run.lines["mark"][:, 0], run.lines["last"][:, 0]
    assert row["last_to_mark_max"] == pytest.approx(np.abs(last / mark - 1).max())
    assert row["spread_bps_max"] >= row["spread_bps"] > 0
    assert 0 <= row["depth_low"] < 1
    # No forced fill is beyond its limit, the bankruptcy price in this profile.
    assert row["inside_limit_bps"] > 0
    assert row["slippage_expected_bps"] >= row["slippage_at_risk_bps"]


def test_the_queue_holds_who_is_started_and_not_finished(run):
    row = quality.figures_of(run, find_causes(run))
    assert row["queue_to_depth"] > 0
    # Where every liquidation ends in its own step, no more waits than began in one.
    finished = run.table(EventKind.LIQUIDATION_FINISHED)
    assert len(finished["seq"]) == len(run.breaches["seq"])
    started = np.bincount(np.asarray(run.breaches["step"], int), run.breaches["notional"],
                          FALL.steps)
    same = np.isin(finished["seq"], run.breaches["seq"]).all()
    lines = run.lines
    depth = np.maximum(lines["bid_depth"] + lines["ask_depth"], 0.01 * run.depth_lots)
    least = (started / (depth * lines["mark"]).sum(axis=1)).max()
    assert row["queue_to_depth"] == pytest.approx(least) if same else (
        row["queue_to_depth"] >= least)


def test_a_calm_market():
    calm = FALL.replaced("shocks", ()).replaced("duration_s", 5).run(maps=False)
    row = quality.figures_of(calm, find_causes(calm))
    assert row["trees"] == row["queue_to_depth"] == row["longest_tree_s"] == 0
    assert np.isnan(row["largest_tree_share"]) and np.isnan(row["over_liquidated_small"])
