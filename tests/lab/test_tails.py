"""Fat tails by leverage: the flow, the funds, their margin calls, and the Hill estimate."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import InputError
from engine.lab import Scenario
from engine.lab.causes import find_causes
from engine.lab.funds import FIRST_FLOW, FIRST_FUND
from engine.lab.market import FLOW, stream
from engine.lab.studies import STUDIES
from engine.lab.summary import summarize
from engine.lab.tails import hill, return_figures, returns
from engine.messages import EventKind
from engine.tally import field_at

WALLET = field_at(EventKind.BALANCE, "wallet")
STUDY = STUDIES["fat_tails"]
#: Funds meet margin calls in these steps of the first seed.
SMALL = STUDY.scenario.replaced("duration_s", 700).replaced("profile", {"close_policy": "full"})


#: Of the first seed, with two falls in which funds are at their limit.
GENTLE = STUDIES["fat_tails_gentle"].scenario.replaced("duration_s", 900)


@pytest.fixture(scope="module")
def run():
    return SMALL.run(maps=False)


@pytest.fixture(scope="module")
def twin():
    return SMALL.run(counterfactual=True, maps=False)


def test_without_funds_the_price_is_a_gaussian_autoregression():
    run = SMALL.replaced("funds.count", 0).run(maps=False)
    normal = stream(SMALL, FLOW).standard_normal((SMALL.steps, 1))[:, 0]
    makers, keep = SMALL.makers, 0.5 ** (1 / SMALL.makers.impact_half_life_s)
    flow, displacement = 0.0, []
    for shock in normal:
        displacement.append(makers.impact * flow)
        flow = keep * flow + SMALL.traders.gaussian_size * shock
    level = np.log(run.lines["mark"][:, 0] / run.lines["index"][:, 0])
    # An order is sent at a step, seen at the next one, and in the marks of the one after.
    np.testing.assert_allclose(level[2:], displacement[1:-1], atol=2e-4)


def test_margin_calls_are_the_venues_and_lose_nothing(run, twin):
    for one in (run, twin):
        assert one.drift == "0" and set(one.position_sums.values()) == {0}
        assert not one.rejections
    started = run.table(EventKind.LIQUIDATION_STARTED)
    assert len(started["seq"]) == return_figures(run)["margin_calls_of_funds"] > 3
    assert (started["account"] >= FIRST_FUND).all()
    # Forced trades are theirs, too, and the twin has none.
    assert run.table(EventKind.TRADE)["taker_account"].min() >= FIRST_FUND
    assert len(twin.table(EventKind.TRADE)["seq"]) == 0
    assert len(twin.table(EventKind.LIQUIDATION_STARTED)["seq"]) > 3
    assert SMALL.run(maps=False).state_hash == run.state_hash


def test_margin_calls_of_funds_are_in_the_tree_of_causes(run, twin):
    causes, started = find_causes(run), run.table(EventKind.LIQUIDATION_STARTED)
    np.testing.assert_array_equal(run.breaches["seq"], started["seq"])
    np.testing.assert_array_equal(run.breaches["account"], started["account"])
    # What funds held is known by then, and all that was sold by force is theirs.
    assert (run.breaches["notional"] > 0).all()
    assert causes.book.sum() == np.abs(run.table(EventKind.LIQUIDATION_STEP)["filled_value"]).sum()
    assert (causes.trade_of >= 0).all()
    child = np.flatnonzero(causes.parent >= 0)
    assert len(child) and len(child) < len(causes.parent)
    # A parent traded before, and its sale pushed the price of the child's holding.
    assert (run.breaches["seq"][causes.parent[child]] < run.breaches["seq"][child]).all()
    assert (run.breaches["push"][child] == -1).all()
    row = summarize(run, twin, causes)
    assert row["liquidations"] == row["margin_calls_of_funds"]
    assert not find_causes(twin).excess.any()


def test_margin_calls_make_the_tail(run, twin):
    row = summarize(run, twin)
    assert row["return_kurtosis"] > 0.4 > row["return_kurtosis_twin"] + 0.4
    assert row["worst_return"] < row["worst_return_twin"]
    assert row["return_kurtosis"] == return_figures(run)["return_kurtosis"]
    assert "return_tail" not in summarize(SMALL.replaced("funds.count", 0).run(maps=False))


def test_funds_buy_what_is_cheap_within_their_limit():
    class Watch:
        latency_ns = 0

        def __init__(self):
            self.lots, self.marks, self.index = {}, [], []

        def opening_commands(self):
            return iter(())

        def act(self, view):
            rows = view.events(EventKind.POSITION)
            of_funds = (rows[:, 4] >= FIRST_FUND) & (rows[:, 4] < FIRST_FUND + SMALL.funds.count)
            for row in rows[of_funds].tolist():
                self.lots[row[4]] = row[6]
            cheap = np.log(view.index[0] / view.marks[0])
            held = sum(self.lots.values())
            assert held >= 0
            self.marks.append((cheap, held))

    watch = Watch()
    modest = SMALL.replaced("funds.leverage", 1.0)
    run = modest.run(agents=[watch], maps=False)
    cheap, held = np.array(watch.marks).T
    assert held[cheap > 0.01].mean() > 3 * held[cheap < -0.005].mean()
    worth = held * run.lines["mark"][:, 0]
    capital = run.depth_lots[0] * run.lines["mark"][0, 0] * SMALL.funds.wealth
    assert 0.8 < worth.max() / capital < 1.2
    assert return_figures(run)["margin_calls_of_funds"] == 0


class Wallets:
    """Notes the largest wallet that a fund has had."""

    latency_ns = 0
    largest = 0

    def opening_commands(self):
        return iter(())

    def act(self, view):
        rows = view.events(EventKind.BALANCE)
        mine = rows[(rows[:, 4] >= FIRST_FUND) & (rows[:, 4] < FIRST_FUND + GENTLE.funds.count)]
        self.largest = max(self.largest, int(mine[:, WALLET].max(initial=0)))


def test_gentle_calls_close_what_is_beyond_the_limit():
    watch = Wallets()
    run = GENTLE.run(agents=[watch], maps=False)
    started, steps = (run.table(kind) for kind in (
        EventKind.LIQUIDATION_STARTED, EventKind.LIQUIDATION_STEP))
    worth = started["maintenance_margin"] / float(GENTLE.symbols[0].tiers[0][1])
    beyond = 1 - GENTLE.funds.leverage * started["equity"] / worth
    closed = np.array([
        steps["filled_value"][(steps["seq"] == seq) & (steps["account"] == account)].sum()
        for seq, account in zip(started["seq"], started["account"], strict=True)]) / worth
    assert len(worth) > 30 and beyond.min() > 0.1
    assert (np.abs(np.abs(closed) - beyond) < 0.01).mean() > 0.5
    assert not run.rejections and run.drift == "0"
    # Profits are paid out, so no fund grows.
    capital = run.depth_lots[0] * run.lines["mark"][0, 0] * GENTLE.funds.wealth / GENTLE.funds.count
    assert watch.largest < 1.05 * capital
    kept = Wallets()
    GENTLE.replaced("funds.pays_out", False).run(agents=[kept], maps=False)
    assert kept.largest > 1.5 * capital


def test_a_flag_is_read_from_json():
    assert Scenario.from_json(GENTLE.to_json()) == GENTLE and GENTLE.funds.pays_out
    with pytest.raises(InputError, match=r"funds\.pays_out: expected bool"):
        Scenario.from_json('{"funds": {"pays_out": 1}}')
    with pytest.raises(InputError, match="seed: expected int"):
        Scenario.from_json('{"seed": true}')


def test_the_flow_is_the_same_whatever_the_funds_do(run):
    assert FIRST_FLOW < FIRST_FUND
    other = SMALL.replaced("funds.wealth", 0.01).run(maps=False)
    np.testing.assert_array_equal(stream(SMALL, FLOW).standard_normal(5),
                                  stream(other.scenario, FLOW).standard_normal(5))
    assert other.state_hash != run.state_hash


def test_the_hill_estimate_knows_its_error():
    rng = np.random.default_rng(3)
    inside = []
    for _ in range(100):
        alpha, low, high = hill(rng.pareto(2.5, 4_000) + 1, 0.05)
        assert low < alpha < high
        inside.append(low < 2.5 < high)
    # 95 of 100, give or take.
    assert 88 <= sum(inside) <= 100
    gaussian = np.mean([hill(rng.standard_normal(4_000))[0] for _ in range(50)])
    assert 7.0 < gaussian < 9.5
    assert np.isnan(hill(np.ones(10))[0]) and np.isnan(hill(-np.arange(1.0, 900))[0])


def test_returns_are_of_the_mark(run):
    marks = run.lines["mark"][:, 0]
    assert np.exp(returns(run).sum()) == pytest.approx(marks[-1] / marks[0])


def test_several_parts_are_replaced_at_once():
    one = Scenario().replaced("funds.leverage,insurance", (3.0, 5.0))
    assert one.funds.leverage == 3.0 and one.insurance == 5.0
    with pytest.raises(InputError):
        Scenario().replaced("funds.leverage,nothing", (3.0, 5.0))
