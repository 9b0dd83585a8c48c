"""Scenarios that make no sense are refused by one line, not run into numbers that mean nothing."""

from __future__ import annotations

import pytest

from engine.errors import InputError
from engine.lab import Scenario
from engine.lab.scenario import Shock
from engine.lab.sweep import sweep


@pytest.mark.parametrize("shock, problem", [
    (Shock("boom", 1.0), "shocks.0.kind: expected price, maker_withdrawal"),
    (Shock("price", 30.0, -0.05, 20.0), "shocks.0.duration_s: expected a number from 0"),
    (Shock("price", -1.0, 0.0, -0.05), "shocks.0.at_s: expected a number from 0"),
    (Shock("price", 30.0, 0.0, 20.0), "shocks.0.size: 20; a price moves by 3 at most"),
    (Shock("outage", 30.0, 1.0, float("nan")), "shocks.0.size: expected a number, not nan"),
])
def test_shocks_that_make_no_sense(shock, problem):
    with pytest.raises(InputError, match=problem):
        Scenario(shocks=(shock,))


def test_a_population_of_nobody():
    with pytest.raises(InputError, match=r"population\.accounts: at least 1"):
        Scenario().replaced("population.accounts", 0)


@pytest.mark.parametrize("path, value, problem", [
    ("seed", 1.5, "^seed: expected a whole number from 0, not 1.5"),
    ("population.accounts", "x", "^population.accounts: expected a whole number from 0, not 'x'"),
    ("funds.count", -1, "^funds.count: expected a whole number from 0, not -1"),
    ("makers.depth", -1.0, "^makers.depth: expected a number from 0, not -1.0"),
    ("population.leverage_median", float("nan"), "^population.leverage_median: .*, not nan"),
    ("symbols.1.beta", float("inf"), "^symbols.1.beta: expected a number, not inf"),
    ("shocks", Shock("price", 1.0), "^shocks: expected a tuple, not Shock"),
])
def test_numbers_that_nothing_can_be_drawn_from(path, value, problem):
    with pytest.raises(InputError, match=problem):
        Scenario().replaced(path, value)


def test_what_may_be_below_zero_is_taken():
    assert Scenario().replaced("symbols.1.beta", -1.0).symbols[1].beta == -1.0


def test_a_sweep_keeps_its_rows_in_a_folder_that_is_named_by_a_text(tmp_path):
    pytest.importorskip("joblib")
    scenario = Scenario(duration_s=5, shocks=()).replaced("population.accounts", 20)
    frame = sweep(scenario, seeds=[1, 2], twin=False, out=str(tmp_path / "rows here"))
    kept = sorted(path.name for path in (tmp_path / "rows here" / "rows").iterdir())
    assert len(kept) == 2
    told = []
    again = sweep(
        scenario, seeds=[1, 2], twin=False, out=str(tmp_path / "rows here"),
        progress=lambda done, of: told.append(done))
    assert told == [] and list(again["state_hash"]) == list(frame["state_hash"])
