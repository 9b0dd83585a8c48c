"""Funding: the rate by hand, and settlements in a run where nobody trades."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import InputError
from engine.lab import PopulationSpec, Scenario, funding
from engine.lab.scenario import FundingSpec, TraderSpec
from engine.lab.summary import summarize
from engine.messages import RATE_SCALE

SPEC = FundingSpec(interest=0.0002, damper=0.0005, cap=0.01)
#: Two settlements, with positions as they were opened.
STILL = Scenario(
    duration_s=50, shocks=(), volatility=0.0, own_volatility=0.0,
    population=PopulationSpec(accounts=200, stop_share=0.0),
    traders=TraderSpec(noise_rate=0.0, momentum_size=0.0),
    funding=FundingSpec(interval_s=20, average_s=10.0, interest=0.0003))


@pytest.mark.parametrize(("premium", "expected"), [
    (0.0, 0.0002), (0.0005, 0.0002), (0.002, 0.0015), (-0.002, -0.0015), (0.5, 0.01),
    (-0.5, -0.01)])
def test_the_rate_by_hand(premium, expected):
    # Within 0.0005 of the interest the rate is the interest, beyond it the premium less 0.0005.
    assert funding.rate(np.array([premium]), SPEC)[0] == pytest.approx(expected, abs=1e-12)


def test_the_premium_is_that_of_the_latest_steps():
    premium = np.array([[0.0, 1.0], [4.0, 1.0], [8.0, 4.0], [0.0, 7.0]])
    assert funding.averages(premium, 3).tolist() == [[0, 1], [2, 1], [4, 2], [4, 4]]
    assert funding.width(STILL) == 10
    assert funding.width(STILL.replaced("funding.average_s", 0.2)) == 1


def test_settlements_pay_what_the_rate_says():
    run = STILL.run(maps=False)
    assert run.drift == "0" and set(run.position_sums.values()) == {0}
    settled, count = run.funding, len(STILL.symbols)
    # At 20 s and 40 s, each symbol by a command of its own, before the marks of the step.
    assert settled["symbol"].tolist() == [*range(count)] * 2
    assert np.unique((settled["ts"] - run.clock["ts"][0]) / 1e9 + 1).tolist() == [20, 40]
    assert (settled["seq"] < run.clock["seq"][np.repeat([19, 39], count)]).all()
    assert (settled["seq"] > run.clock["seq"][np.repeat([18, 38], count)]).all()
    # Quotes stand around the index, so that only the interest is paid.
    assert (settled["rate"] == 30_000).all()
    lots = run.population.holdings(count)
    for at, symbol in enumerate(settled["symbol"].tolist()):
        mark = run.lines["mark"][18 if at < count else 38, symbol]
        owed = np.abs(lots[:, symbol]) * mark * 0.0003
        long = lots[:, symbol] > 0
        assert settled["mark"][at] == mark
        # Owed rounds up and a credit down, to one minor unit.
        assert 0 <= settled["paid"][at] - owed[long].sum() <= long.sum()
        assert 0 <= owed[~long].sum() - settled["received"][at] <= (~long).sum()
    row = summarize(run)
    assert row["funding_paid"] == settled["paid"].sum() / 1e6
    assert row["funding_extreme"] == pytest.approx(0.0003)


def test_the_rate_settled_is_that_of_the_premium_recorded():
    moving = STILL.replaced("volatility", 0.002).replaced("traders.noise_rate", 2.0).replaced(
        "mark.components", ("index",))
    run, twin = moving.run(maps=False), moving.run(counterfactual=True, maps=False)
    for one in (run, twin):
        asked = funding.rate(funding.averages(one.lines["premium"], 10), moving.funding)
        seconds = (one.funding["ts"] - one.clock["ts"][0]) // 10**9
        assert len(np.unique(one.funding["rate"])) > 3
        np.testing.assert_allclose(
            one.funding["rate"] / RATE_SCALE, asked[seconds, one.funding["symbol"]], atol=1e-12)
        first = asked[:, 0]
        assert summarize(one)["funding_extreme"] == first[np.abs(first).argmax()]


def test_without_an_interval_nothing_is_paid_and_the_rate_is_followed():
    run = STILL.replaced("funding.interval_s", 0).run(maps=False)
    assert len(run.funding["seq"]) == 0
    row = summarize(run)
    assert row["funding_paid"] == 0 and row["funding_extreme"] == pytest.approx(0.0003)


@pytest.mark.parametrize(("field", "value"), [
    ("interval_s", -1), ("average_s", 0.0), ("cap", 1.5), ("damper", -0.1)])
def test_terms_that_make_no_sense_are_refused(field, value):
    with pytest.raises(InputError, match="funding"):
        STILL.replaced(f"funding.{field}", value)
