"""Shocks of the venue: a new schedule, and collateral that loses its peg."""

from __future__ import annotations

import json

import numpy as np
import pytest

from engine.cli import app, call
from engine.errors import InputError
from engine.lab import CollateralSpec, PopulationSpec, Scenario, Shock, TraderSpec
from engine.lab.causes import find_causes
from engine.lab.market import MINOR
from engine.lab.population import maintenance
from engine.lab.studies import PURE
from engine.lab.summary import summarize
from engine.lab.venue import collateral_path
from engine.messages import RATE_SCALE, EventKind

#: Nothing moves but what the shock moves.
STILL = Scenario(
    duration_s=20, volatility=0.0, own_volatility=0.0, shocks=(),
    population=PopulationSpec(
        accounts=500, leverage_median=25.0, several_share=0.0, top_up_share=0.0, reduce_share=0.0,
        stop_share=0.0, reopen_share=0.0),
    traders=TraderSpec(noise_rate=0.0, momentum_size=0.0))
STRICT = ((20_000, "0.02", 40), (None, "0.05", 15))
AT = 10.0


def _due(scenario, people, margin, marks):
    """Return who is due at the marks with so much margin, by the scenario's tiers."""
    worth = people.quantity * marks[people.symbol]
    needed = maintenance(scenario, people.symbol, np.abs(worth).astype(np.float64))
    equity = margin[people.holder] + worth - people.entry
    return set((people.holder[equity <= needed] + 1).tolist())


def _first_marks(run):
    return np.rint(run.lines["mark"][0]).astype(np.int64)


def test_a_new_schedule_liquidates_who_does_not_meet_it():
    scenario = STILL.replaced("shocks", (Shock("tiers", AT, tiers=STRICT),))
    strict = STILL
    for at in range(len(STILL.symbols)):
        strict = strict.replaced(f"symbols.{at}.tiers", STRICT)
    run = scenario.run(maps=False)
    due = _due(strict, run.population, run.population.wallets, _first_marks(run))
    seqs, counts = np.unique(run.breaches["seq"], return_counts=True)
    first = run.breaches["seq"] < run.clock["seq"][int(AT) - 1]
    # The three `tiers` commands are the first to liquidate anybody, before the marks.
    assert len(due) > 20 and len(seqs[:3]) == 3 and counts[:3].sum() == first.sum()
    assert set(run.breaches["account"][first].tolist()) == due
    assert (seqs[:3] == run.clock["seq"][int(AT) - 1] - [3, 2, 1]).all()
    assert run.drift == "0" and set(run.position_sums.values()) == {0}
    # Nobody pushed them.
    assert (find_causes(run).parent[first] == -1).all()


def test_a_schedule_for_one_symbol():
    scenario = STILL.replaced("shocks", (Shock("tiers", AT, symbol="ETH", tiers=STRICT),))
    run = scenario.run(maps=False)
    first = run.breaches["seq"] < run.clock["seq"][int(AT) - 1]
    assert first.any() and set(run.breaches["symbol"][first].tolist()) == {1}


def test_a_depeg_liquidates_who_has_that_collateral():
    scenario = STILL.replaced("collateral", CollateralSpec(0.5, "0.9", "0.02")).replaced(
        "shocks", (Shock("collateral_depeg", AT, 0.0, -0.8),))
    run = scenario.run(maps=False)
    people, price = run.population, round(0.2 * RATE_SCALE)
    counts_for = people.pledged * price * 9 // (RATE_SCALE * 10)
    margin = np.where(people.pledged > 0, counts_for, people.wallets)
    due = _due(scenario, people, margin, _first_marks(run))
    first = run.breaches["seq"] == run.clock["seq"][int(AT) - 1] - 1
    assert len(due) > 20
    assert set(run.breaches["account"][first].tolist()) == due
    assert (people.pledged[np.array(sorted(due)) - 1] > 0).all()
    # What they owe is paid in collateral, at the fallen price.
    converted = run.table(EventKind.COLLATERAL_CONVERTED)
    assert len(converted["seq"]) and set(converted["price"].tolist()) == {price}
    assert summarize(run)["collateral_converted"] == pytest.approx(converted["value"].sum() / MINOR)
    assert run.drift == "0" and set(run.position_sums.values()) == {0}
    again = scenario.run(maps=False)
    assert again.state_hash == run.state_hash


def test_nobody_has_collateral_without_a_share():
    run = STILL.run(maps=False)
    assert not run.population.pledged.any()
    half = STILL.replaced("collateral.share", 0.5).run(maps=False).population
    assert 0.4 < (half.pledged > 0).mean() < 0.6
    # Whoever has it, the population is the same.
    np.testing.assert_array_equal(half.quantity, run.population.quantity)
    np.testing.assert_array_equal(half.wallets, run.population.wallets)


def test_a_depeg_that_comes_back_leaves_the_price_at_par():
    scenario = STILL.replaced("collateral.share", 0.3).replaced("shocks", (
        Shock("collateral_depeg", 5.0, 4.0, -0.1), Shock("collateral_depeg", 12.0, 2.0, 0.1)))
    path = collateral_path(scenario)
    assert path[[3, 6, 8, 12, 13]] == pytest.approx([1.0, 0.95, 0.9, 0.95, 1.0])


def test_causes_agree_with_the_twin_when_collateral_falls_too():
    scenario = PURE.replaced("duration_s", 240).replaced("population.accounts", 1_500).replaced(
        "collateral.share", 0.6).replaced("shocks", (
            Shock("price", 30.0, 100.0, -0.05), Shock("collateral_depeg", 60.0, 100.0, -0.5)))
    run, twin = scenario.run(maps=False), scenario.run(counterfactual=True, maps=False)
    row = summarize(run, twin)
    assert row["reproduction_twin"] > 0.05
    assert row["reproduction_excess"] == pytest.approx(row["reproduction_twin"], abs=0.05)


@pytest.mark.parametrize("shock", [
    {"kind": "tiers", "at_s": 1}, {"kind": "price", "at_s": 1, "tiers": [[None, "0.1", 5]]},
    {"kind": "tiers", "at_s": 1, "symbol": "DOGE", "tiers": [[None, "0.1", 5]]},
    {"kind": "margin_multiplier", "at_s": 1, "size": 0.5}])
def test_a_wrong_shock_is_refused(shock):
    with pytest.raises(InputError, match=r"^shocks\.0: "):
        Scenario.from_json(json.dumps({"shocks": [shock]}))


@pytest.mark.parametrize(("part", "says"), [
    ({"collateral": {"weight": "0"}}, "^collateral: a weight"),
    ({"collateral": {"weight": "much"}}, "^collateral: a weight"),
    ({"funds": {"count": -1}}, "funds.count: ")])
def test_what_nobody_can_be_drawn_from_is_refused(part, says):
    with pytest.raises(InputError, match=says):
        Scenario.from_json(json.dumps(part))


@pytest.mark.parametrize(("part", "said"), [
    ({"shocks": [{"kind": "tiers", "at_s": 1, "tiers": [[None, "0.5", 5]]}]}, "shocks.0: "),
    ({"collateral": {"share": 0.5, "weight": "1.2"}}, "collateral: "),
    ({"shocks": [{"kind": "margin_multiplier", "at_s": 2, "size": 3.0}]}, "3 times the margins"),
], ids=["rate above 1 / leverage", "weight above 1", "rate above 1"])
def test_what_the_exchange_refuses_is_said_in_one_line(part, said, tmp_path, capsys):
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"duration_s": 5, "population": {"accounts": 20}, **part}))
    assert call(app, ["cascade", str(file), "--out", str(tmp_path / "out"), "--seeds", "1"]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
