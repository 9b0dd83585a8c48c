"""Studies of the lab on recorded data."""

from __future__ import annotations

import numpy as np
import pytest

from engine.lab.margin_studies import with_schedules
from engine.lab.path_studies import with_tape
from engine.lab.studies import STUDIES


def test_venue_schedules_of_2022_and_2025(real_data):
    folder = real_data / "tiers"
    study = with_schedules(STUDIES["tier_schedules"], [
        str(folder / "binance_2022-10.json"), str(folder / "binance_2025-09.json")])
    old, new = (symbols[0].tiers for symbols in study.parameters["symbols"].values())
    # Of the band that holds 5 m in bitcoin.
    rates = [next(rate for cap, rate, _ in tiers if cap is None or cap >= 5_000_000)
             for tiers in (old, new)]
    assert rates == ["0.025", "0.01"]
    for symbols in study.parameters["symbols"].values():
        run = study.scenario.replaced("symbols", symbols).replaced("duration_s", 20).replaced(
            "population.accounts", 200).run(maps=False)
        assert run.drift == "0" and set(run.position_sums.values()) == {0}


def test_the_recorded_path_of_the_crash(real_data):
    feed = str(real_data / "oct10" / "BTCUSD_PERP-1m-2025-10-10.zip")
    study = with_tape(STUDIES["oct10"], feed)
    tape = np.array(study.scenario.tape)
    assert tape[:, 1].min() == pytest.approx(102_497.5, abs=0.5)
    assert "from 2025-10-10 20:" in study.text
    run = study.scenario.replaced("population.accounts", 200).run(maps=False)
    assert run.drift == "0" and set(run.position_sums.values()) == {0}
