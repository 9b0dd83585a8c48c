"""A market whose reproduction number is known: ex ante, by causes, by twin and by amplification."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import InputError
from engine.lab import exante, metrics
from engine.lab.causes import find_causes
from engine.lab.market import MINOR
from engine.lab.summary import first_breaches
from engine.lab.uniform import REACH, scenario_of

#: A start: what makes the first generation is a jump of the log index by so much.
JUMP = 0.015


def measured(reproduction, seeds, accounts):
    """Return for each seed R0, R by causes in two ways, R by the twin, A, and R of generations."""
    rows = []
    for seed in seeds:
        scenario = scenario_of(reproduction, accounts).replaced("seed", seed)
        run = scenario.run(maps=False)
        twin = scenario.run(counterfactual=True, maps=False)
        assert run.drift == twin.drift == "0" and not run.rejections
        causes = find_causes(run)
        # All is sold in the book.
        assert causes.closed.sum() == causes.book.sum() > 0
        total, without = (
            one.breaches["notional"][first_breaches(one)].sum() for one in (run, twin))
        # Of all generations but the last few, which are of a handful of accounts.
        by_generation = np.bincount(causes.generation, causes.closed)
        large = by_generation[by_generation > 0.02 * by_generation[0]]
        rows.append((
            exante.figures_of(run)["r0_path"],
            metrics.reproduction_tagged(causes.closed, causes.parent),
            metrics.reproduction_excess(run.breaches["notional"], causes.excess),
            metrics.reproduction_counterfactual(total, without),
            metrics.amplification(total, without),
            large[1:].sum() / large[:-1].sum()))
    return np.array(rows).T


def check(reproduction, seeds, accounts):
    ante, tagged, excess, twin, amplification, rounds = measured(reproduction, seeds, accounts)
    # What is known: R is in the interval of each, 1 / (1 - R) in that of the amplification.
    for values in (ante, tagged, excess, twin, rounds):
        mean, low, high = metrics.interval(values)
        assert low <= reproduction <= high and abs(mean - reproduction) < 0.02
    _, low, high = metrics.interval(amplification)
    assert low <= 1 / (1 - reproduction) <= high
    # Within a seed causes and twin differ by less than a hundredth, and not to one side.
    _, low, high = metrics.interval(tagged - twin)
    assert -0.01 < low <= 0 <= high < 0.01
    _, low, high = metrics.interval(amplification * (1 - tagged))
    assert 0.98 < low <= 1 <= high < 1.02


def test_four_ways_to_one_reproduction_number():
    check(0.4, range(1, 7), 2_000)


@pytest.mark.slow
@pytest.mark.parametrize("reproduction", [0.2, 0.4, 0.6])
def test_four_ways_with_forty_seeds(reproduction):
    check(reproduction, range(1, 41), 3_000)


def test_more_impact_is_more_reproduction():
    low, high = (measured(r, range(1, 4), 1_000)[3].mean() for r in (0.2, 0.6))
    assert high - low == pytest.approx(0.4, abs=0.1)


def test_triggers_are_spread_evenly():
    scenario = scenario_of(0.4, 4_000)
    run = scenario.run(maps=False)
    table, first = run.first_map[0], run.lines["mark"][0, 0]
    below = exante.notional_below(table, first * np.exp(-REACH * np.array([0.75, 0.5, 0.25])))
    whole = np.abs(run.population.entry).sum() / MINOR
    assert below / whole == pytest.approx([0.25, 0.5, 0.75], abs=0.03)
    # The jump is followed by as much again as impact says: J / (1 - R) in all.
    fall = -np.log(run.lines["mark"][-1, 0] / first)
    assert fall == pytest.approx(JUMP / (1 - 0.4), rel=0.1)


@pytest.mark.parametrize("reach", [-0.1, 3.0])
def test_a_reach_that_makes_no_sense_is_refused(reach):
    with pytest.raises(InputError, match="trigger_reach"):
        scenario_of(0.4).replaced("population.trigger_reach", reach)
