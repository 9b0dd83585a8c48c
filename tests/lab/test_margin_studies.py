"""Margins that follow volatility, schedules of files, recorded paths."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.cli import app, call
from engine.errors import InputError
from engine.lab import MarginSpec, PopulationSpec, Scenario, Shock
from engine.lab.margin_studies import NARROW, WIDE, with_schedules
from engine.lab.path_studies import with_tape
from engine.lab.studies import STUDIES

CALM = 0.002
SMALL = STUDIES["margin_spiral"].scenario.replaced("duration_s", 90).replaced(
    "population", PopulationSpec(accounts=500)).replaced(
        "shocks", (Shock("price", 20.0, 20.0, -0.05),))


@pytest.fixture(scope="module")
def runs():
    """One run for each source of volatility, and its twin."""
    out = {}
    for source in ("index", "mark"):
        scenario = SMALL.replaced("margins", MarginSpec(source, CALM, largest=4.0))
        out[source] = (scenario.run(maps=False), scenario.run(counterfactual=True, maps=False))
    return out


def _multiples(levels, betas):
    """Return the multiples by the formula in the docs of `engine.lab.venue`, looks at 10 s."""
    keep, variance, out = 0.5 ** (10 / 60), np.zeros(len(betas)), []
    for before, after in itertools.pairwise(levels):
        variance = keep * variance + (1 - keep) * np.log(after / before) ** 2 / 10
        wanted = np.clip(np.sqrt(variance) / (CALM * betas), 1, 4)
        out.append(np.round(wanted * 20) / 20)
    return np.array(out)


def test_margins_follow_the_volatility_of_the_index(runs):
    run, _ = runs["index"]
    betas = np.array([symbol.beta for symbol in SMALL.symbols])
    expected = _multiples(run.lines["index"][9::10], betas)
    np.testing.assert_allclose(run.lines["multiplier"][19::10], expected, atol=1e-12)
    assert expected.max() > 1.2
    # Between two looks nothing changes.
    assert (run.lines["multiplier"][19:29] == run.lines["multiplier"][19]).all()


def test_margins_follow_the_mark_before(runs):
    run, _ = runs["mark"]
    betas = np.array([symbol.beta for symbol in SMALL.symbols])
    expected = _multiples(run.lines["mark"][8::10], betas)
    np.testing.assert_allclose(run.lines["multiplier"][19::10], expected, atol=1e-12)


def test_only_margins_of_the_mark_hear_of_forced_sales(runs):
    run, twin = runs["index"]
    np.testing.assert_array_equal(run.lines["multiplier"], twin.lines["multiplier"])
    run, twin = runs["mark"]
    assert run.lines["multiplier"].mean() > twin.lines["multiplier"].mean()


def test_raised_margins_liquidate_before_the_marks(runs):
    run, _ = runs["mark"]
    step = np.searchsorted(run.clock["seq"], run.breaches["seq"])
    early = run.breaches["seq"] < run.clock["seq"][step]
    assert early.any() and not early.all()
    # They met the marks of the step before.
    assert (run.breaches["step"][early] == step[early] - 1).all()
    for one in (run, runs["index"][0]):
        assert one.drift == "0" and set(one.position_sums.values()) == {0}
        assert not [key for key in one.rejections if key[0] == "margin_multiplier"]


@pytest.mark.parametrize("margins", [
    {"source": "last"}, {"calm": 0.0}, {"largest": 0.5}, {"interval_s": 0}])
def test_wrong_margins_are_refused(margins):
    with pytest.raises(InputError, match="margins"):
        Scenario.from_json(json.dumps({"margins": margins}))


# --- schedules ----------------------------------------------------------------------------


def _maintenance(tiers, notional):
    total, low = 0.0, 0.0
    for cap, rate, _ in tiers:
        high = notional if cap is None else min(cap, notional)
        total += max(high - low, 0) * float(rate)
        low = high
    return total


def test_the_pair_is_what_its_comment_says():
    assert _maintenance(NARROW, 5e6) / 5e6 == pytest.approx(0.037, abs=5e-4)
    assert _maintenance(WIDE, 5e6) / 5e6 == pytest.approx(0.007, abs=5e-4)


def _brackets(symbol, cap):
    return {"symbol": symbol, "brackets": [
        {"bracket": 1, "initialLeverage": 50, "notionalCap": cap, "notionalFloor": 0,
         "maintMarginRatio": "0.01", "cum": 0},
        {"bracket": 2, "initialLeverage": 10, "notionalCap": 10 * cap, "notionalFloor": cap,
         "maintMarginRatio": "0.05", "cum": 0.04 * cap}]}


def test_schedules_of_files_are_compared(tmp_path):
    files = []
    for name, cap in (("old", 50_000), ("new", 500_000)):
        file = tmp_path / f"{name}.json"
        file.write_text(json.dumps([_brackets(f"{one}USDT", cap) for one in ("BTC", "ETH", "SOL")]))
        files.append(str(file))
    study = with_schedules(STUDIES["tier_schedules"], files)
    assert list(study.parameters["symbols"]) == ["old", "new"]
    new = study.parameters["symbols"]["new"]
    # The last band goes on without an end.
    assert [symbol.tiers for symbol in new] == [((500_000, "0.01", 50), (None, "0.05", 10))] * 3
    assert "old and new" in study.text
    with pytest.raises(InputError, match=r"old\.json: no schedule of ALT$"):
        with_schedules(STUDIES["crash"], files)


def test_schedules_of_the_same_name_in_two_folders_are_two(tmp_path):
    files = [str(tmp_path / folder / "tiers.json") for folder in ("2022", "2025")]
    for file in map(Path, files):
        file.parent.mkdir()
        file.write_text(json.dumps([
            _brackets(f"{one}USDT", 50_000) for one in ("BTC", "ETH", "SOL")]))
    study = with_schedules(STUDIES["tier_schedules"], files)
    assert list(study.parameters["symbols"]) == files


def test_the_lab_takes_schedules_of_whole_numbers(tmp_path):
    brackets = [_brackets(f"{one}USDT", 50_000) for one in ("BTC", "ETH", "SOL")]
    brackets[1]["brackets"][0]["initialLeverage"] = 12.5
    file = tmp_path / "half.json"
    file.write_text(json.dumps(brackets))
    with pytest.raises(InputError, match=r"half\.json: ETHUSDT: caps and leverages are whole"):
        with_schedules(STUDIES["tier_schedules"], [str(file)])


def test_a_file_without_schedules(tmp_path, capsys):
    assert call(app, ["cascade", "tier_schedules", "--tiers", str(tmp_path / "none.json")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


# --- paths --------------------------------------------------------------------------------


def _klines(path, prices):
    """Write one-minute bars that fall or rise in a line from price to price."""
    rows = []
    for at, (start, end) in enumerate(itertools.pairwise(prices)):
        opened = 1_700_000_000_000 + at * 60_000
        rows.append(f"{opened},{start},{max(start, end)},{min(start, end)},{end},0,"
                    f"{opened + 59_999},0,0,0,0,0")
    path.write_text("\n".join(rows) + "\n")
    return str(path)


def test_the_steepest_fall_of_a_feed_is_the_index(tmp_path):
    prices = [100.0, 101.0, 101.0, 99.0, 95.0, 97.0, 97.0, 97.0, 97.0]
    feed = _klines(tmp_path / "BTCUSDT-1m-2023-11-14.csv", prices)
    study = STUDIES["oct10"]
    scenario = study.scenario.replaced("duration_s", 180).replaced("population.accounts", 50)
    study = with_tape(replace(study, scenario=scenario), feed)
    tape = np.array(study.scenario.tape)
    assert tape[0].tolist() == [0.0, 101.0] and tape[:, 1].min() == 95.0
    assert tape[-1, 0] == 180.0
    assert "BTCUSDT, from 2023-11-14 22:1" in study.text
    run = study.scenario.replaced("own_volatility", 0.0).run(maps=False)
    fall = np.log(run.lines["index"] / run.lines["index"][0]).min(axis=0)
    betas = np.array([symbol.beta for symbol in study.scenario.symbols])
    np.testing.assert_allclose(fall, betas * np.log(95 / 101), rtol=0.02)


def test_a_feed_shorter_than_the_study(tmp_path, capsys):
    feed = _klines(tmp_path / "BTCUSDT-1m-2023-11-14.csv", [100.0, 99.0, 98.0])
    assert call(app, ["cascade", "oct10", "--tape", feed]) == 2
    error = capsys.readouterr().err
    assert "shorter than the 2700 s of the study" in error and error.count("\n") == 1
