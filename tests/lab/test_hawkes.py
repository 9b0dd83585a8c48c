"""Branching ratios by maximum likelihood, against processes of known ratio.

The processes are drawn as families: ancestors from outside, children of each with delays.
The likelihood knows nothing of families, so the two are independent.
"""

from __future__ import annotations

import numpy as np
import pytest

from engine.lab import metrics

pytest.importorskip("scipy")

from engine.lab.hawkes import fit_counts, fit_times


def families(rng, ancestors, branching, delay):
    """Return the times of ancestors and all their descendants."""
    alive, all_times = ancestors, [ancestors]
    while len(alive):
        children = rng.poisson(branching, len(alive))
        alive = np.repeat(alive, children) + delay(int(children.sum()))
        all_times.append(alive)
    return np.sort(np.concatenate(all_times))


def tape(seed, branching, half_life_s, rate=1.0, end_s=4_000.0):
    rng = np.random.default_rng(seed)
    ancestors = rng.uniform(0, end_s, rng.poisson(rate * end_s))
    times = families(rng, ancestors, branching,
                     lambda n: rng.exponential(half_life_s / np.log(2), n))
    return times[times < end_s], end_s


def counted(rng, ancestors_by_step, branching, half_life):
    """Counts in steps; a child comes one step after its parent at the earliest."""
    stop = 1 - 2.0 ** (-1 / half_life)
    steps = len(ancestors_by_step)
    ancestors = np.repeat(np.arange(steps), ancestors_by_step)
    times = families(rng, ancestors, branching, lambda n: rng.geometric(stop, n))
    return np.bincount(times[times < steps], minlength=steps)


@pytest.mark.parametrize(
    ("branching", "half_life"), [(0.0, 1.0), (0.3, 2.0), (0.6, 5.0), (0.9, 1.0)])
def test_a_tape_of_known_ratio(branching, half_life):
    fit = fit_times(*tape(11, branching, half_life))
    if not branching:
        assert fit.branching < 0.05
    else:
        assert abs(fit.branching - branching) < 3 * fit.standard_error
        assert fit.half_life_s == pytest.approx(half_life, rel=0.35)
        assert fit.baseline[0] == pytest.approx(1.0, rel=0.2)
        assert fit.log_likelihood > fit.log_likelihood_poisson + 50
        low, high = fit.interval
        assert 0.005 < fit.standard_error < 0.06
        assert high - low == pytest.approx(2 * 1.96 * fit.standard_error)


@pytest.mark.parametrize(("branching", "half_life"), [(0.0, 3.0), (0.4, 3.0), (0.8, 10.0)])
def test_counts_of_known_ratio(branching, half_life):
    rng = np.random.default_rng(3)
    counts = counted(rng, rng.poisson(3.0, 3_000), branching, half_life)
    fit = fit_counts(counts, step_s=2.0)
    assert fit.branching == pytest.approx(branching, abs=0.06)
    if branching:
        assert fit.half_life_s == pytest.approx(2 * half_life, rel=0.25)
        assert fit.baseline[0] == pytest.approx(1.5, rel=0.2)


def test_the_interval_covers_as_often_as_it_says():
    hits, errors, found = 0, [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        fit = fit_counts(counted(rng, rng.poisson(4.0, 600), 0.5, 2.0))
        low, high = fit.interval
        hits += low < 0.5 < high
        found.append(fit.branching)
        errors.append(fit.standard_error)
    assert hits >= 51  # 95 % of 60 are 57; fewer than 51 would be a chance of 1 in 300
    assert np.mean(errors) == pytest.approx(np.std(found), rel=0.35)


def test_a_shock_is_no_self_excitation_where_the_drive_is_known():
    rng = np.random.default_rng(8)
    outside = np.where((np.arange(900) > 300) & (np.arange(900) < 400), 30.0, 0.5)
    counts = counted(rng, rng.poisson(outside), 0.3, 4.0)
    without, with_drive = fit_counts(counts), fit_counts(counts, drive=outside)
    assert with_drive.branching == pytest.approx(0.3, abs=0.08)
    assert with_drive.baseline[0] == pytest.approx(1.0, abs=0.15)
    # Neither of the estimators that know nothing of the shock comes near.
    assert without.branching > 0.8
    assert metrics.branching_of_counts(counts) > 0.6


def test_columns_of_a_drive_are_told_apart():
    rng = np.random.default_rng(2)
    shape = np.abs(np.sin(np.arange(2_000) / 40))
    counts = counted(rng, rng.poisson(1.0 + 4.0 * shape), 0.5, 3.0)
    fit = fit_counts(counts, drive=np.column_stack([np.ones(2_000), shape]))
    assert fit.baseline == pytest.approx((1.0, 4.0), rel=0.35)
    assert fit.branching == pytest.approx(0.5, abs=0.08)


def test_more_children_than_parents_while_it_lasts():
    rng = np.random.default_rng(4)
    counts = counted_supercritical(rng)
    assert fit_counts(counts, drive=np.eye(60)[0]).branching == pytest.approx(1.15, abs=0.08)


def counted_supercritical(rng):
    counts = [50]
    for _ in range(59):
        excited = sum(count * 0.5 ** (len(counts) - at) for at, count in enumerate(counts))
        counts.append(int(rng.poisson(1.15 * excited)))
    return np.array(counts)


def test_too_few_events_have_no_ratio():
    assert np.isnan(fit_counts(np.array([1, 0, 2, 0])).branching)
    assert np.isnan(fit_times(np.array([1.0, 2.0]), 5.0).branching)


def test_any_counts_have_a_likelihood():
    rng = np.random.default_rng(6)
    for _ in range(40):
        some = rng.random(300) < 10 ** rng.uniform(-2, 0)
        counts = rng.poisson(10 ** rng.uniform(-2, 5) * some)
        drive = np.column_stack([np.ones(300), counts * (rng.random(300) < 0.5)])
        if counts.sum() >= 10:
            fit = fit_counts(counts, drive=drive)
            assert np.isfinite(fit.branching) and fit.branching >= 0
            assert fit.log_likelihood >= fit.log_likelihood_poisson


def test_events_that_nothing_set_off():
    assert np.isnan(fit_counts(np.full(30, 2), drive=np.arange(30) > 3).branching)
    late = fit_counts(np.full(30, 2), drive=np.arange(30) < 3)
    assert late.log_likelihood_poisson == -np.inf and late.branching == pytest.approx(0.97, abs=0.1)


@pytest.mark.parametrize("times", [[1.0, 1.0], [2.0, 1.0], [-1.0, 1.0], [1.0, 9.0]])
def test_times_that_are_none(times):
    with pytest.raises(ValueError, match="times must"):
        fit_times(np.array(times), 5.0)


def test_a_drive_that_is_none():
    with pytest.raises(ValueError, match="drive"):
        fit_counts(np.full(20, 3), drive=np.full(20, -1.0))
