"""Effective numbers, deficits counted once, bursts, first hits: by hand, and in a run."""

from __future__ import annotations

import numpy as np
import pytest

from engine.lab import (
    PopulationSpec,
    Scenario,
    Shock,
    concentration,
    contagion,
    deleveraging,
    quality,
)
from engine.lab.causes import find_causes
from engine.messages import EventKind

SMALL = Scenario(
    duration_s=90, population=PopulationSpec(accounts=600), insurance=0.0,
    shocks=(Shock("price", 20.0, 20.0, -0.05), Shock("price", 60.0, 0.0, -0.06),
            Shock("outage", 30.0, 9.0)))


def test_effective_numbers_by_hand():
    # Shares 1/2, 1/4, 1/4: HHI 3/8.
    assert concentration.effective_number(np.array([2.0, 1.0, 1.0])) == pytest.approx(8 / 3)
    assert np.isnan(concentration.effective_number(np.zeros(3)))


def test_an_account_is_short_of_its_worst_deficit_once():
    accounts, equity = np.array([4, 9, 4, 9, 2]), np.array([-10.0, 3.0, -25.0, -1.0, 8.0])
    assert concentration.deficit_once(accounts, equity) == 26
    assert concentration.deficit_once(accounts[:0], equity[:0]) == 0


def test_bursts_by_hand():
    ts = np.array([0, 2, 12, 13, 30]) * 10**9
    assert quality.wave_gap(ts) == 13.5
    assert np.isnan(quality.wave_gap(ts[:2]))
    assert deleveraging.largest_burst(ts, np.array([1.0, 1.0, 2.0, 3.0, 1.0])) == 5 / 8
    assert np.isnan(deleveraging.largest_burst(ts[:0], np.zeros(0)))


def test_a_queue_is_less_even_than_any_other_policy():
    from engine.lab import metrics

    won, budget = np.array([50.0, 30.0, 20.0]), 40.0
    queue = metrics.haircuts_queue(won, np.argsort(-won), budget)
    spread = metrics.haircuts_pro_rata(won, budget)
    assert deleveraging.submajorizes(queue, spread) and not deleveraging.submajorizes(spread, queue)
    assert deleveraging.submajorizes(spread, spread)


def test_first_hits_go_together():
    hits = np.array([[1.0, 2.0, 9.0], [2.0, 4.0, np.nan], [3.0, 6.0, np.nan], [5.0, 1.0, 4.0]])
    table = contagion.first_hit_correlation(hits)
    # Deviations of the first two: (-1.75, -0.75, 0.25, 2.25) and (-1.25, 0.75, 2.75, -2.25).
    expected = (1.75 * 1.25 - 0.75**2 + 0.25 * 2.75 - 2.25**2) / (8.75 * 14.75) ** 0.5
    assert table[0, 1] == table[1, 0] == pytest.approx(expected)
    assert np.isnan(table[0, 2]) and np.isnan(table[2, 2])


def test_figures_of_a_run_against_its_events():
    run = SMALL.run(maps=False)
    causes = find_causes(run)
    row = concentration.figures_of(run, causes)
    worst: dict[int, int] = {}
    for kind in (EventKind.LIQUIDATION_STARTED, EventKind.LIQUIDATION_FINISHED):
        events = run.table(kind)
        for account, equity in zip(
                events["account"].tolist(), events["equity"].tolist(), strict=True):
            worst[account] = min(worst.get(account, 0), equity)
    assert row["deficit"] == pytest.approx(-sum(worst.values()) / 1e6) and row["deficit"] > 0
    closed: dict[int, float] = {}
    for account, value in zip(
            run.breaches["account"].tolist(), causes.closed.tolist(), strict=True):
        closed[account] = closed.get(account, 0.0) + value
    shares = np.array(list(closed.values())) / sum(closed.values())
    assert row["effective_accounts"] == pytest.approx(1 / (shares**2).sum())
    assert 1 <= row["effective_symbols"] <= 3 and 1 <= row["effective_makers"] <= 2
    assert row["beyond_margin_small"] > 0 and row["beyond_margin_large"] > 0
    figures = quality.figures_of(run, causes)
    assert figures["halted_share"] == 9 / 90
    by_step = np.bincount(run.breaches["step"], causes.closed / 1e6)
    assert figures["peak_rate"] == pytest.approx(by_step.max())
    assert figures["spread_recovery_s"] >= 0
