"""What deleveraging took, by hand and in a run whose fund is soon empty."""

from __future__ import annotations

import numpy as np
import pytest

from engine.lab import PopulationSpec, Scenario, Shock, deleveraging, metrics
from engine.lab.summary import adl_haircuts, summarize
from engine.messages import EventKind

#: A gap that leaves many bankrupt, and no fund.
GAP = Scenario(
    duration_s=60, insurance=0.0, population=PopulationSpec(accounts=800, leverage_median=25.0),
    shocks=(Shock("price", 20.0, 0.0, -0.08),))


def test_budget_by_hand():
    # Loser 7 needs 10 in two closes; loser 8 is 4 short in one and 6 over in the other.
    cost, loser = np.array([6.0, 4.0, 4.0, -6.0]), np.array([7, 7, 8, 8])
    assert deleveraging.budget(cost, loser) == (14.0, 10.0)
    assert deleveraging.severity(10.0, 40.0) == 0.25
    assert np.isnan(deleveraging.severity(0.0, 0.0))


def test_fairness_by_hand():
    winnings, needed = np.array([50.0, 30.0, 20.0, 0.0]), 20.0
    queue = metrics.haircuts_queue(winnings, np.array([0, 1, 2, 3]), needed)
    even = metrics.haircuts_pro_rata(winnings, needed)
    rates = deleveraging.haircut_rates(queue, winnings)
    assert rates.tolist() == [0.4, 0, 0]
    # The best is 20 % of all; the queue takes 40 % of the first.
    assert deleveraging.fairness_regret(rates, winnings, needed) == pytest.approx(0.2 * 20)
    assert deleveraging.fairness_regret(
        deleveraging.haircut_rates(even, winnings), winnings, needed) == pytest.approx(0)
    assert deleveraging.pmr(winnings, queue, 15.0) == 2.0
    assert deleveraging.top_share(queue, 0.01) == 1.0
    assert deleveraging.top_share(np.ones(200), 0.01) == pytest.approx(0.01)


def test_rank_correlation():
    assert deleveraging.rank_correlation(np.array([1.0, 2, 9]), np.array([3.0, 5, 6])) == 1
    assert np.isnan(deleveraging.rank_correlation(np.ones(4), np.arange(4.0)))


@pytest.fixture(scope="module")
def run():
    return GAP.run(maps=False)


def test_figures_agree_with_the_events(run):
    row = summarize(run)
    adl = run.table(EventKind.ADL)
    assert row["adl_fills"] == len(adl["seq"]) > 50
    _, _, cost = deleveraging.closes(run)
    accounts, haircuts = adl_haircuts(run)
    assert cost.sum() == pytest.approx(haircuts.sum())
    assert len(accounts) == row["adl_accounts"]
    assert 0 < row["adl_needed"] <= row["adl_taken"]
    assert row["adl_overshoot"] == pytest.approx(row["adl_taken"] - row["adl_needed"])
    assert 0 < row["adl_severity"] <= 1
    assert row["adl_bursts"] >= 1
    assert row["fund_exhausted_s"] == 1  # it was empty from the start
    assert row["fund_coverage"] == 0


def test_winners_won_what_their_positions_say(run):
    given, won, leverage = deleveraging.winners(run)
    assert len(given) == len(won) == len(leverage) > 10
    assert (won >= 0).all() and (leverage > 1).all()
    # By hand for one of them.
    adl, mark, cost = deleveraging.closes(run)
    people = run.population
    at = int(np.flatnonzero(adl["account"] <= people.count)[0])
    holder, symbol = int(adl["account"][at]) - 1, int(adl["symbol"][at])
    place = int(np.flatnonzero((people.holder == holder) & (people.symbol == symbol))[0])
    profit = people.quantity[place] * mark[at] - people.entry[place]
    assert np.isclose(won, max(profit, 0) / 1e6).any()
    mine = (adl["account"] == holder + 1) & (adl["symbol"] == symbol)
    assert np.isclose(given, cost[mine].sum()).any()


def test_nobody_deleveraged():
    calm = GAP.replaced("shocks", ()).replaced("duration_s", 5).run(maps=False)
    figures = deleveraging.figures_of(calm, 0.0)
    assert figures["adl_fills"] == figures["adl_taken"] == figures["adl_overshoot"] == 0
    assert np.isnan(figures["adl_max_haircut"]) and np.isnan(figures["adl_severity"])
