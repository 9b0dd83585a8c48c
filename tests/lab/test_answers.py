"""What traders do after margin calls and deleveraging: by hand, and in runs."""

from __future__ import annotations

import numpy as np
import pytest

from engine.lab import PopulationSpec, Scenario, Shock, answers
from engine.lab.agents import FIRST_ANSWER_ID
from engine.lab.causes import find_causes
from engine.lab.market import MINOR
from engine.lab.recorder import Run
from engine.lab.summary import summarize
from engine.messages import NONE, RECORD_WIDTH, EventKind, Side
from engine.tally import field_at

SECOND = 10**9
#: Half of those who are called answer in one way, half in the other, and some are deleveraged.
ANSWERED = Scenario(
    duration_s=150, insurance=0.0,
    population=PopulationSpec(accounts=900, top_up_share=0.5, reduce_share=0.5, reopen_share=1.0,
                              stop_share=0.3, reaction_s=5.0),
    shocks=(Shock("price", 20.0, 60.0, -0.06), Shock("price", 90.0, 0.0, -0.03)))


def row_of(kind, seq, ts, **fields):
    row = np.zeros(RECORD_WIDTH, np.int64)
    row[:4] = kind, seq, ts, seq
    for name, value in fields.items():
        row[field_at(kind, name)] = value
    return row


def trade(seq, ts, taker, order_id, side, lots, price=100, forced=0):
    return row_of(EventKind.TRADE, seq, ts, symbol=0, price=price, quantity=lots, taker_side=side,
                  maker_account=900_000_001, taker_account=taker, taker_order_id=order_id,
                  liquidation=forced)


def test_what_counts_as_undone():
    keys, closed, back = answers.undone(
        np.array([1, 1, 2, 3]), np.array([0, 50, 0, 0]) * SECOND,
        np.array([-10.0, -10.0, 5.0, -8.0]),
        # 1: bought again in the time of the second close, then too late; 2: bought, which is the
        # close's own direction, then sold more than was closed; 3: before the close; 4: never
        # deleveraged.
        np.array([1, 1, 2, 2, 3, 4]), np.array([110, 111, 10, 20, -1, 5]) * SECOND,
        np.array([6.0, 9.0, 2.0, -7.0, 8.0, 1.0]))
    assert (keys.tolist(), closed.tolist()) == ([1, 2, 3], [20, 5, 8])
    assert back.tolist() == [6, 5, 0]


def test_nobody_was_deleveraged():
    nothing = np.zeros(0, np.int64)
    keys, closed, back = answers.undone(
        nothing, nothing, nothing.astype(float), np.array([1]), np.array([5]), np.array([1.0]))
    assert len(keys) == len(closed) == len(back) == 0


def by_hand():
    """Account 3 is liquidated, sells 100, and account 5 is deleveraged for it.

    At the next marks 6 and 7 are called: 6 would not have been without the sale, 7 would. 5 opens
    again, 6 closes a part in two trades, 7 puts in money.
    """
    records = np.array([
        row_of(EventKind.LIQUIDATION_STARTED, 10, 0, account=3),
        trade(10, 0, 3, 8, Side.SELL, 100, forced=1),
        row_of(EventKind.ADL, 10, 0, account=5, counterparty=3, symbol=0, side=Side.BUY,
               quantity=40, price=100),
        row_of(EventKind.MARGIN_CALL, 11, SECOND, account=6),
        row_of(EventKind.MARGIN_CALL, 11, SECOND, account=7),
    ])
    run = Run(Scenario(symbols=Scenario().symbols[:1]), False, np.ones(1), None, records)
    run.breaches = {"row": np.array([0]), "seq": np.array([10]), "ts": np.array([0]),
                    "account": np.array([3]), "moved": np.array([0]), "push": np.array([-1.0]),
                    "share": np.array([-1.0]), "excess": np.array([False])}
    run.calls = {"row": np.array([3, 4]), "seq": np.array([11, 11]), "ts": np.full(2, SECOND),
                 "account": np.array([6, 7]), "moved": np.array([0, 0]),
                 "push": np.array([-1.0, -1.0]), "share": np.array([0.3, -0.5])}
    run.answers = np.array([
        (EventKind.ADL, 10, 5, 0, FIRST_ANSWER_ID, -40, 3),
        (EventKind.MARGIN_CALL, 11, 7, -1, 0, 500, -1),
        (EventKind.MARGIN_CALL, 11, 6, 0, FIRST_ANSWER_ID + 1, -30, -1)])
    run.own_trades = np.array([
        trade(12, 5 * SECOND, 6, FIRST_ANSWER_ID + 1, Side.SELL, 10, 99),
        trade(12, 5 * SECOND, 6, FIRST_ANSWER_ID + 1, Side.SELL, 20, 98),
        trade(13, 6 * SECOND, 8, 1, Side.SELL, 70, 98),  # a stop order
        trade(14, 9 * SECOND, 5, FIRST_ANSWER_ID, Side.SELL, 25, 97)])
    return run


def test_every_answer_is_tied_to_its_event_its_trades_and_a_liquidation():
    run = by_hand()
    found = answers.find_answers(run, find_causes(run))
    assert found["filled"].tolist() == [25, 0, 30]
    assert found["value"].tolist() == [25 * 97 * 10, 0, (10 * 99 + 20 * 98) * 10]
    assert found["trade_seq"].tolist() == [14, NONE, 12]
    # 5 by the event, 7 by no trade, 6 by the sale of 3.
    assert found["liquidation"].tolist() == [0, -1, 0]


def test_figures_by_hand():
    run = by_hand()
    run.population = type("People", (), {"count": 9})()
    run.lines = {"mark": np.array([[1_000.0]])}
    row = answers.figures_of(run, find_causes(run))
    closed = (10 * 99 + 20 * 98) * 10
    assert row["calls_deposited"] == 500 / MINOR
    assert row["calls_closed"] == closed / MINOR
    assert row["calls_pushed"] == pytest.approx(closed / (closed + 500))
    assert row["adl_undone"] == 25 / 40 and row["adl_undone_positions"] == 1
    assert row["stopped"] == 70 * 98 * 10 / MINOR


@pytest.fixture(scope="module")
def run():
    return ANSWERED.run(maps=False)


def test_all_trades_of_holders_have_a_reason(run):
    causes = find_causes(run)
    found = answers.find_answers(run, causes)
    ids = run.own_trades[:, field_at(EventKind.TRADE, "taker_order_id")]
    lots = run.own_trades[:, field_at(EventKind.TRADE, "quantity")]
    is_answer = ids >= FIRST_ANSWER_ID
    assert found["filled"].sum() == lots[is_answer].sum() > 0
    assert is_answer.any() and not is_answer.all()
    # Those that are none are stop orders that marks set off.
    stopped = set(run.table(EventKind.ORDER_TRIGGERED)["account"].tolist())
    takers = run.own_trades[~is_answer][:, field_at(EventKind.TRADE, "taker_account")]
    assert set(takers.tolist()) <= stopped
    # An event comes before its answer, by the reaction time.
    traded = found["trade_seq"] != NONE
    assert (found["trade_seq"][traded] > found["event_seq"][traded]).all()


def test_whose_liquidation_led_to_an_answer(run):
    causes = find_causes(run)
    found = answers.find_answers(run, causes)
    closed = found["answers"] == EventKind.ADL
    assert closed.any() and (found["liquidation"][closed] >= 0).all()
    assert (run.breaches["account"][found["liquidation"][closed]]
            == found["counterparty"][closed]).all()
    called = ~closed & (found["liquidation"] >= 0)
    assert called.any() and (~closed & (found["liquidation"] < 0)).any()
    assert (run.breaches["seq"][found["liquidation"][called]] < found["event_seq"][called]).all()
    row = summarize(run, None, causes)
    assert row["calls_deposited"] > 0 and row["calls_closed"] > 0 and 0 < row["calls_pushed"] < 1


def test_a_twin_has_nothing_forced_to_answer():
    twin = ANSWERED.run(counterfactual=True, maps=False)
    found = answers.find_answers(twin, find_causes(twin))
    assert len(found["answers"]) and (found["liquidation"] == -1).all()
    row = summarize(twin)
    assert row["calls_pushed"] == 0 and np.isnan(row["adl_undone"])


def test_where_nobody_opens_again_nothing_is_undone():
    row = summarize(ANSWERED.replaced("population.reopen_share", 0.0).run(maps=False))
    assert row["adl_accounts"] > 0 and row["adl_undone"] == 0 == row["adl_undone_positions"]


def test_what_is_opened_again_is_what_the_books_take(run):
    found, row = answers.find_answers(run, find_causes(run)), summarize(run)
    mine = found["answers"] == EventKind.ADL
    _, closed, back = answers.undo_shares(run)
    # All want to, but selling into a falling market finds few bids.
    assert closed.sum() == np.abs(found["amount"][mine]).sum()
    assert 0.5 * found["filled"][mine].sum() < back.sum() <= found["filled"][mine].sum()
    assert 0.1 < row["adl_undone"] < 0.5
