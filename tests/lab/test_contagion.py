"""Contagion between symbols, by hand and in a run whose shock hits one symbol alone."""

from __future__ import annotations

import numpy as np
import pytest

from engine.lab import PopulationSpec, Scenario, Shock, contagion
from engine.lab.causes import find_causes

#: Most hold two symbols; only the third falls.
ONE_FALLS = Scenario(
    duration_s=90, population=PopulationSpec(accounts=900, several_share=0.7),
    shocks=(Shock("price", 15.0, 10.0, -0.12, "ALT"),))


def test_pushes_by_hand():
    # The first pushes the second through symbol 0, the second the third through symbol 1.
    closed = np.array([[8.0, 0.0], [0.0, 3.0], [1.0, 1.0]])
    pushed = contagion.pushes(closed, np.array([-1, 0, 1]), np.array([9, 0, 1]))
    assert pushed.tolist() == [[0, 3], [1, 1]]
    assert contagion.spillover(pushed) == pytest.approx(4 / 5)
    ratios = contagion.reproduction_matrix(pushed, closed)
    assert ratios.tolist() == [[0, 3 / 9], [1 / 4, 1 / 4]]
    # Roots of x^2 - x / 4 - 1 / 12.
    assert contagion.spectral_radius(ratios) == pytest.approx((0.25 + (1 / 16 + 1 / 3) ** 0.5) / 2)


def test_a_symbol_in_which_nothing_was_closed():
    pushed = np.zeros((2, 2))
    assert np.isnan(contagion.spillover(pushed))
    ratios = contagion.reproduction_matrix(pushed, np.array([[1.0, 0.0]]))
    assert np.isnan(ratios[1]).all() and contagion.spectral_radius(ratios) == 0


def test_rounds_over_symbols_grow_as_the_eigenvalue_says():
    # Two symbols, calm alone, that push one another: 0.2 on its own, 0.9 on the other.
    ratios = np.array([[0.2, 0.9], [0.9, 0.2]])
    dollars = np.array([100.0, 0.0])
    for _ in range(30):
        before, dollars = dollars, dollars @ ratios
    assert dollars.sum() / before.sum() == pytest.approx(contagion.spectral_radius(ratios))
    assert contagion.spectral_radius(ratios) == pytest.approx(1.1)


def test_overlap_is_what_the_other_loses():
    # Selling 2 lots into a depth of 4 moves the price by half a unit per lot held.
    holdings = np.array([[2.0, 0.0], [3.0, -1.0]])
    assert contagion.overlap(holdings, np.array([4.0, 1.0])).tolist() == [[1, 1.5], [1.5, 3.25]]


@pytest.fixture(scope="module")
def run():
    return ONE_FALLS.run(maps=False)


def test_what_is_closed_by_symbol_is_all_that_is_closed(run):
    causes = find_causes(run)
    closed = contagion.closed_by_symbol(run)
    np.testing.assert_allclose(closed.sum(axis=1), causes.closed)
    assert (closed.sum(axis=0) > 0).all()


def test_pushes_come_through_the_symbol_that_fell(run):
    causes = find_causes(run)
    closed = contagion.closed_by_symbol(run)
    pushed = contagion.pushes(closed, causes.parent, run.breaches["moved"])
    assert pushed.sum() == pytest.approx(closed[causes.parent >= 0].sum())
    share = pushed / pushed.sum()
    assert share[2].sum() > 0.9  # ALT
    # Those who hold BTC or ETH, too, lose them for it.
    assert share[2, 0] + share[2, 1] > 0.1
    figures = contagion.figures_of(run, causes)
    assert figures["spillover"] == pytest.approx(1 - np.trace(share))
    assert 0 < figures["reproduction_radius"] < 1


def test_without_common_holders_nothing_spills_over(run):
    alone = ONE_FALLS.replaced("population.several_share", 0.0).run(maps=False)
    figures = contagion.figures_of(alone, find_causes(alone))
    together = contagion.figures_of(run, find_causes(run))
    assert figures["spillover"] < 0.05 < together["spillover"]
    groups = contagion.holdings_by_group(alone)
    assert (groups[~np.eye(3, dtype=bool)] == 0).all()
    assert np.abs(np.diag(groups)).min() > 0
    total = contagion.holdings_by_group(run).sum(axis=0)
    assert total.tolist() == run.population.holdings(3).sum(axis=0).tolist()


def test_first_hits_are_the_first_rows_of_each_symbol(run):
    hits = contagion.first_hits(run)
    for symbol in range(3):
        steps = run.breaches["step"][run.breaches["symbol"] == symbol]
        assert hits[symbol] == steps.min() + 1
