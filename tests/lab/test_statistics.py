"""Power and sensitivity: against simulation, tables, and functions of known indices."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")

from engine.lab import statistics


@pytest.mark.parametrize(("effect", "seeds"), [(1.5, 4), (0.8, 12), (0.0, 6), (0.2, 200)])
def test_power_is_how_often_a_simulated_test_finds_it(effect, seeds):
    from scipy.stats import ttest_1samp

    rng = np.random.default_rng(seeds)
    draws = rng.normal(effect, 1.0, (40_000, seeds))
    found = np.mean(ttest_1samp(draws, 0.0, axis=1).pvalue < 0.05)
    assert statistics.power(effect, 1.0, seeds) == pytest.approx(found, abs=0.01)
    assert statistics.p_value(draws[0]) == pytest.approx(ttest_1samp(draws[0], 0.0).pvalue)


def test_what_so_many_seeds_find():
    rng = np.random.default_rng(2)
    for n in (3, 8, 40):
        values = rng.normal(3.0, 2.0, n)
        least = statistics.detectable(values)
        deviation = values.std(ddof=1)
        assert statistics.power(least, deviation, n) == pytest.approx(0.8, abs=1e-6)
        # Never less than the normal approximation promises.
        assert least > 2.8 * deviation / n**0.5
    assert statistics.detectable(values) == pytest.approx(2.8 * deviation / 40**0.5, rel=0.05)


def test_how_many_seeds_it_takes():
    # A tabled case: an effect of half a standard deviation takes 34 pairs.
    values = np.array([0.0, 1.0]) * 2**0.5  # deviation 1, mean 0.7071
    assert statistics.seeds_needed(values - values.mean() + 0.5) == 34
    assert np.isnan(statistics.seeds_needed(np.array([-1.0, 1.0])))
    assert np.isnan(statistics.seeds_needed(np.array([1.0])))
    assert statistics.seeds_needed(np.array([1.0, 1.0])) == 2


def test_edges():
    assert np.isnan(statistics.detectable(np.array([1.0, np.nan])))
    assert statistics.detectable(np.array([1.0, 1.0])) == 0
    assert np.isnan(statistics.power(1.0, 0.0, 5)) and np.isnan(statistics.p_value(np.ones(1)))
    assert statistics.p_value(np.zeros(3)) == 1 and statistics.p_value(np.ones(3)) == 0
    assert statistics.power(50.0, 1.0, 9) == pytest.approx(1.0)


def test_many_comparisons():
    # Benjamini and Hochberg by hand: p_(i) m / i, made monotone from above.
    out = statistics.adjusted(np.array([0.01, 0.04, np.nan, 0.03]))
    assert out[[0, 1, 3]] == pytest.approx([0.03, 0.04, 0.04]) and np.isnan(out[2])


def test_tipping_is_where_the_slope_is_largest():
    sizes = np.array([0.02, 0.04, 0.06, 0.08])
    slopes, tipping = statistics.elasticity(sizes, np.array([0.0, 0.1, 0.7, 0.8]))
    assert slopes == pytest.approx([5, 30, 5]) and tipping == pytest.approx(0.05)
    assert np.isnan(statistics.elasticity(sizes[:2], np.full(2, np.nan))[1])
