"""Scenarios that make no sense are refused by one line, not run into numbers that mean nothing."""

from __future__ import annotations

import pytest

from engine.errors import InputError
from engine.lab import Scenario
from engine.lab.scenario import Shock
from engine.lab.sweep import sweep


@pytest.mark.parametrize("shock, problem", [
    (Shock("boom", 1.0), "shocks.0.kind: expected price, maker_withdrawal"),
    (Shock("price", 30.0, -0.05, 20.0), "shocks.0: at_s and duration_s are seconds from 0"),
    (Shock("price", -1.0, 0.0, -0.05), "shocks.0: at_s and duration_s are seconds from 0"),
    (Shock("price", 30.0, 0.0, 20.0), "shocks.0.size: 20; a price moves by 3 at most"),
    (Shock("outage", 30.0, 1.0, float("nan")), "shocks.0.size: nan"),
])
def test_shocks_that_make_no_sense(shock, problem):
    with pytest.raises(InputError, match=problem):
        Scenario(shocks=(shock,))


@pytest.mark.parametrize("accounts", [0, -1, "x"])
def test_a_population_of_nobody(accounts):
    with pytest.raises(InputError, match=r"population\.accounts: at least 1"):
        Scenario().replaced("population.accounts", accounts)


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
