"""The closed loop: conservation, determinism, twins, agents, shocks."""

from __future__ import annotations

import numpy as np
import pytest

from engine.batches import account_commands, deposit_commands
from engine.causes import generations, reproduction_number
from engine.errors import InputError
from engine.lab import Scenario, Shock
from engine.lab.agents import market_orders
from engine.lab.causes import event_tree, find_causes
from engine.lab.recorder import Rows
from engine.lab.scenario import PopulationSpec
from engine.lab.summary import summarize
from engine.messages import EventKind

SMALL = Scenario(
    duration_s=90, population=PopulationSpec(accounts=600),
    shocks=(Shock("price", 20.0, 20.0, -0.05), Shock("price", 60.0, 0.0, -0.03)))


@pytest.fixture(scope="module")
def run():
    return SMALL.run()


@pytest.fixture(scope="module")
def twin():
    return SMALL.run(counterfactual=True)


def test_nothing_is_lost(run, twin):
    for one in (run, twin):
        assert one.drift == "0"
        assert set(one.position_sums.values()) == {0}
    assert len(run.breaches["seq"]) > 50


@pytest.mark.parametrize("lengths", [[], [0], [3], [4], [1, 3, 9, 0, 4], [17]])
def test_rows_in_blocks_come_back_in_order(lengths):
    rows = Rows(2, block=4 * 16)
    given = np.arange(2 * sum(lengths)).reshape(-1, 2)
    for part in np.split(given, np.cumsum(lengths)):
        rows.add(part)
    assert rows.count == len(given)
    np.testing.assert_array_equal(rows.take(), given)
    assert rows.count == 0 and len(rows.take()) == 0


def test_the_same_scenario_gives_the_same_state(run):
    again = SMALL.run(maps=False)
    assert again.state_hash == run.state_hash
    np.testing.assert_array_equal(again.records, run.records)
    assert SMALL.replaced("seed", 2).run(maps=False).state_hash != run.state_hash


def test_the_twin_meets_the_same_index_and_liquidates_nobody(run, twin):
    np.testing.assert_array_equal(run.lines["index"], twin.lines["index"])
    assert len(twin.table(EventKind.LIQUIDATION_STEP)["seq"]) == 0
    assert len(twin.breaches["seq"]) > 0
    assert run.lines["mark"][:, 0].min() < twin.lines["mark"][:, 0].min()
    # Without forced trades there is nothing to leave out of the mark.
    np.testing.assert_allclose(twin.lines["shadow"], twin.lines["mark"], atol=0.5)


def test_causes_come_before_effects(run):
    causes = find_causes(run)
    child = np.flatnonzero(causes.parent >= 0)
    parent = causes.parent[child]
    assert len(child)
    assert (run.breaches["seq"][parent] < run.breaches["seq"][child]).all()
    assert (causes.generation[child] == causes.generation[parent] + 1).all()
    # Pushed is a share of the way from shadow to mark; who is excess is pushed.
    assert (run.breaches["share"][child] > 0).all()
    assert (run.breaches["share"][causes.excess] > 0).all()


def test_what_is_closed_is_what_events_say(run):
    causes = find_causes(run)
    steps = run.table(EventKind.LIQUIDATION_STEP)
    assert causes.book.sum() == np.abs(steps["filled_value"]).sum()
    taken = run.table(EventKind.LIQUIDATION_TAKEOVER)
    assert causes.fund.sum() == (taken["quantity"] * taken["price"] * 10).sum()
    assert (causes.trade_of >= 0).all()
    # A breach's row in the records is its own event.
    rows = run.records[run.breaches["row"]]
    assert (rows[:, 0] == EventKind.LIQUIDATION_STARTED).all()
    assert (rows[:, 1] == run.breaches["seq"]).all()
    assert (rows[:, 4] == run.breaches["account"]).all()


def test_figures_are_all_there(run, twin):
    row = summarize(run, twin)
    assert 0 <= row["reproduction_excess"] < 1
    assert row["breached"] > row["breached_twin"] > 0
    assert row["amplification"] == pytest.approx(1 / (1 - row["reproduction_twin"]))


class Buyer:
    """Buys one lot a second, with a delay of a second and a half."""

    latency_ns = 1_500_000_000
    account = np.array([700_000_001])

    def __init__(self):
        self.bought = []

    def opening_commands(self):
        yield account_commands(self.account)
        yield deposit_commands(self.account, 0, 10**12)

    def act(self, view):
        trades = view.events(EventKind.TRADE)
        mine = trades[trades[:, 11] == self.account[0]]
        self.bought += [(int(row[2]), view.ts_ns) for row in mine]
        return market_orders(self.account, np.array([0]), np.array([view.step + 1]), np.array([1]))


def test_agents_of_ones_own_act_late():
    buyer = Buyer()
    run = SMALL.replaced("duration_s", 10).run(agents=[buyer])
    assert run.drift == "0"
    # Seen at the first step, sent with the delay, so it trades between the second and third.
    first_step = int(run.clock["ts"][0])
    assert buyer.bought[0] == (first_step + buyer.latency_ns, first_step + 2 * 10**9)
    assert len(buyer.bought) == 8


@pytest.mark.parametrize("shock", [
    Shock("outage", 30.0, 20.0), Shock("oracle_lag", 20.0, 30.0, 10.0),
    Shock("maker_withdrawal", 20.0, 40.0, 0.1), Shock("margin_multiplier", 15.0, size=2.0),
    Shock("price", 15.0, 10.0, 0.04, "ETH")], ids=lambda shock: shock.kind)
def test_every_shock_changes_the_course_and_loses_nothing(run, shock):
    shocked = SMALL.replaced("shocks", (*SMALL.shocks, shock)).run(maps=False)
    assert shocked.drift == "0" and set(shocked.position_sums.values()) == {0}
    assert shocked.state_hash != run.state_hash


def test_an_outage_stops_liquidations_until_it_ends():
    shocked = SMALL.replaced("shocks", (*SMALL.shocks, Shock("outage", 25.0, 20.0))).run(maps=False)
    seconds = (shocked.table(EventKind.LIQUIDATION_STEP)["ts"] - shocked.clock["ts"][0]) // 10**9
    assert not ((seconds >= 25) & (seconds < 44)).any()
    assert (seconds >= 44).any()


def test_oracle_lag_is_in_the_marks():
    lagged = SMALL.replaced("mark.components", ("index",)).replaced(
        "shocks", (*SMALL.shocks, Shock("oracle_lag", 30.0, 10.0, 8.0))).run(maps=False)
    np.testing.assert_allclose(lagged.lines["mark"][32], lagged.lines["index"][24], atol=0.51)


@pytest.mark.parametrize("text", [
    "nonsense", "[]", '{"seeds": 1}', '{"seed": "1"}', '{"seed": -1}', '{"symbols": []}',
    '{"shocks": [{"kind": "flood", "at_s": 1}]}', '{"shocks": [{}]}',
    '{"population": {"accounts": true}}'])
def test_a_wrong_scenario_is_refused_in_one_line(text):
    with pytest.raises(InputError) as error:
        Scenario.from_json(text)
    assert "\n" not in str(error.value)


def test_a_scenario_goes_to_json_and_back():
    one = SMALL.replaced("profile", {"close_policy": "full"}).replaced("symbols.1.beta", 0.5)
    assert Scenario.from_json(one.to_json()) == one
    assert one.fingerprint() != SMALL.fingerprint()
    with pytest.raises(InputError):
        SMALL.replaced("makers.nothing", 1)
    with pytest.raises(InputError):
        SMALL.replaced("symbols.9.beta", 1)


def test_marks_name_the_trades_that_moved_them(run, twin):
    events = run.records[run.records[:, 0] == EventKind.LIQUIDATION_STARTED]
    named = events[events[:, 3] != events[:, 1]]
    assert len(named) and (named[:, 3] < named[:, 1]).all()
    # Many of them were forced, in the steps before.
    forced = set(run.records[run.records[:, 0] == EventKind.TRADE][:, 1].tolist())
    assert np.isin(named[:, 3], list(forced)).mean() > 0.2


def test_events_alone_make_a_forest(run, twin):
    tree = event_tree(run)
    assert len(tree) == len(run.breaches["seq"])
    assert [each.account for each in tree] == run.breaches["account"].tolist()
    children = [each for each in tree if each.parent is not None]
    between = [each for each in children if tree[each.parent].seq != each.seq]
    assert between and all(tree[each.parent].seq < each.seq for each in between)
    # What a child names is where its parent traded.
    traded = run.table(EventKind.TRADE)
    seq_of = dict(zip(traded["trade_id"].tolist(), traded["seq"].tolist(), strict=True))
    for each in between:
        assert each.cause in {seq_of[trade] for trade in tree[each.parent].trades}
    assert all(each.generation == tree[each.parent].generation + 1 for each in children)
    rows = generations(tree)
    assert [row.number for row in rows] == list(range(len(rows))) and len(rows) > 2
    assert sum(row.liquidations for row in rows) == len(tree)
    assert 0 < reproduction_number(tree, 0) < 1
    assert event_tree(twin) == [] or all(each.parent is None for each in event_tree(twin))
