"""Chitra's identity for the top winner, by the events of the engine."""

from __future__ import annotations

import numpy as np
import pytest

from engine.lab.adl_identity import compare, deleverage


@pytest.mark.parametrize("bid_share", [0.0, 0.3, 0.75])
@pytest.mark.parametrize("sizes", [[60, 30, 10], [500, 1, 1, 1], [40, 40, 40]])
def test_the_identity_holds(sizes, bid_share):
    by_events, by_formula = compare(sizes, 40, bid_share)
    assert by_events == pytest.approx(by_formula, abs=1e-3)
    assert by_formula > 0


def test_what_one_deleveraging_does():
    # 40 units, 4 below their bankruptcy price: 160 are missing, and a bidder bears a quarter.
    queue = deleverage([60, 30, 10], 40, 0.25, True)
    assert queue.deficit == 160 and queue.theta == 0.75
    assert queue.haircuts.tolist() == [120, 0, 0] and queue.winnings.tolist() == [600, 300, 100]
    spread = deleverage([60, 30, 10], 40, 0.25, False)
    assert spread.haircuts.tolist() == [72, 36, 12]
    assert queue.drift == spread.drift == "0"


def test_it_holds_over_drawn_winners_and_not_beyond_its_condition():
    rng = np.random.default_rng(8)
    for _ in range(10):
        sizes = np.sort(rng.pareto(1.2, 12) * 100 + 5).astype(int)[::-1].tolist()
        by_events, by_formula = compare(sizes, sizes[0] // 2 + 1, float(rng.uniform(0, 0.9)))
        # A lot is a thousandth of a unit: shares are rounded to it.
        assert by_events == pytest.approx(by_formula, abs=2e-3)
    # The top winner holds too little to be the only one in the queue.
    by_events, by_formula = compare([20, 19, 18], 50, 0.0)
    assert by_events < by_formula - 0.1
