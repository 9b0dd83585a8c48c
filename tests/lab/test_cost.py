"""What the lab may cost: memory of a large population, and cores that a sweep keeps busy."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("joblib")
pytest.importorskip("pandas")

from engine.bench.lab import SMOKE, LabPlan, measure

PLAN = LabPlan()


def test_a_sweep_is_counted_with_all_its_workers():
    swept = measure("sweep", SMOKE)
    assert swept["workers"] >= SMOKE.jobs
    assert 0 < swept["busy"] <= 1.2
    # User time comes in ticks of 10 ms, of which so short a sweep takes a few.
    slack = 0.02 / swept["wall_s"]
    assert swept["ready"] == 0 or swept["ready"] >= 0.8 * swept["busy"] - slack


def test_memory_of_a_run_grows_with_its_population():
    small, large = (measure("large", replace(SMOKE, large_accounts=n))["peak_bytes"]
                    for n in (1_000, 60_000))
    # More than the population itself, less than 2 kB an account.
    assert 59_000 * 200 < large - small < 59_000 * 2_000


@pytest.mark.slow
def test_a_million_accounts_fit_in_2_gb():
    large = measure("large", PLAN)
    assert large["drift"] == "0" and large["liquidations"] > 100_000
    assert large["peak_bytes"] <= 2e9


@pytest.mark.slow
def test_a_sweep_of_64_keeps_the_cores_busy():
    """By what its workers ran or were ready to run: others may use the machine, too."""
    swept = measure("sweep", PLAN)
    assert swept["drift"] == "0"
    assert swept["ready"] == 0 or swept["ready"] >= 0.9
