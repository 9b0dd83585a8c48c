"""How holders answer margin calls and deleveraging, and how makers give way."""

from __future__ import annotations

import numpy as np
import pytest

from engine.lab import PopulationSpec, Scenario
from engine.lab.agents import Holders, View
from engine.lab.makers import Makers
from engine.lab.market import plan
from engine.lab.population import draw
from engine.messages import (
    FLAG_REDUCE_ONLY,
    RECORD_WIDTH,
    Command,
    EventKind,
    OrderType,
    Side,
)
from engine.tally import field_at

CALM = Scenario(population=PopulationSpec(
    accounts=50, top_up_share=0.0, reduce_share=0.0, reopen_share=0.0))


def _view(rows=(), index=None, step=0):
    first = plan(CALM).first_marks.astype(np.float64)
    rows = np.array(rows, np.int64).reshape(-1, RECORD_WIDTH)
    at = first if index is None else index
    return View(step, 0, at, first, first, first - 10, first + 10, rows)


def _row(kind, account, **fields):
    row = np.zeros(RECORD_WIDTH, np.int64)
    row[0], row[4] = kind, account
    for name, value in fields.items():
        row[field_at(kind, name)] = value
    return row


def _holders(**shares):
    scenario = CALM
    for name, share in shares.items():
        scenario = scenario.replaced(f"population.{name}", share)
    people = draw(scenario, plan(scenario).first_marks)
    return Holders(scenario, people, people.holdings(len(scenario.symbols))), people


CALL = _row(EventKind.MARGIN_CALL, 7, collateral_needed=1_000, symbol_to_close=0,
            quantity_to_close=40)


def test_some_add_collateral_after_a_margin_call():
    holders, _ = _holders(top_up_share=1.0)
    (sent,) = holders.act(_view([CALL]))
    assert (sent["cmd"], sent["account"], sent["quantity"]) == (Command.DEPOSIT, 7, 1_500)
    assert holders.latency_ns == CALM.population.reaction_s * 1e9
    # A call that no deposit ends is not answered, nor is one of somebody else's account.
    assert holders.act(_view([_row(EventKind.MARGIN_CALL, 7), _row(
        EventKind.MARGIN_CALL, 900_000_001, collateral_needed=1_000)])) is None


def test_some_close_a_part_after_a_margin_call():
    holders, people = _holders(reduce_share=1.0)
    held = people.holdings(3)[6]
    symbol = int(np.flatnonzero(held)[0])
    call = _row(EventKind.MARGIN_CALL, 7, symbol_to_close=symbol, quantity_to_close=40)
    (sent,) = holders.act(_view([call]))
    assert (sent["cmd"], sent["type"], sent["quantity"]) == (Command.ORDER, OrderType.MARKET, 40)
    assert sent["side"] == (Side.SELL if held[symbol] > 0 else Side.BUY)
    assert sent["flags"] == FLAG_REDUCE_ONLY


@pytest.mark.parametrize(("closing", "again"), [(Side.BUY, Side.SELL), (Side.SELL, Side.BUY)])
def test_some_open_again_what_deleveraging_closed(closing, again):
    holders, _ = _holders(reopen_share=1.0)
    closed = _row(EventKind.ADL, 9, symbol=2, side=closing, quantity=12)
    (sent,) = holders.act(_view([closed]))
    assert (sent["account"], sent["symbol"], sent["quantity"]) == (9, 2, 12)
    assert sent["side"] == again and sent["flags"] == 0


def test_the_others_do_nothing():
    holders, _ = _holders()
    assert holders.act(_view([CALL, _row(EventKind.ADL, 9, symbol=2, quantity=12)])) is None


# --- makers -------------------------------------------------------------------------------

DEPTH = np.full(3, 1e6)


def _shown(makers, view):
    """Return the lots of the first symbol's bids and asks in the ladders of one step."""
    sent = makers.act(view)
    mine = sent[(sent["cmd"] == Command.ORDER) & (sent["symbol"] == 0)]
    return [int(mine["quantity"][mine["side"] == side].sum()) for side in (Side.BUY, Side.SELL)]


def _trade(side, lots, maker, taker):
    return _row(EventKind.TRADE, 0, symbol=0, price=100_000, quantity=lots, maker_account=maker,
                taker_account=taker, taker_side=side)


def _makers(**fields):
    scenario = CALM.replaced("makers.count", 1).replaced("makers.interval_s", 1)
    # Each test is about one reason to show less.
    for name, value in ({"impact": 0.0, "volatility_half": 10.0} | fields).items():
        scenario = scenario.replaced(f"makers.{name}", value)
    return Makers(scenario, DEPTH)


def test_eaten_depth_comes_back_by_halves():
    makers = _makers(refill_half_life_s=1.0, inventory_limit=1e9)
    assert _shown(makers, _view()) == pytest.approx([1e6, 1e6], rel=1e-4)
    bids = [_shown(makers, _view([_trade(Side.SELL, 800_000, 900_000_001, 5)]))[0]]
    bids += [_shown(makers, _view())[0] for _ in range(2)]
    assert bids == pytest.approx([200_000, 600_000, 800_000], rel=0.02)


def test_makers_stop_quoting_the_side_that_adds_to_their_inventory():
    makers = _makers(refill_half_life_s=1e-3, inventory_limit=1.0, impact_half_life_s=1e9)
    _shown(makers, _view())
    bids, asks = _shown(makers, _view([_trade(Side.SELL, 500_000, 900_000_001, 5)]))
    assert (bids, asks) == pytest.approx((0.5e6, 1e6), rel=0.02)
    bids, asks = _shown(makers, _view())
    assert bids == pytest.approx(0.5 * asks, rel=0.02)
    _shown(makers, _view([_trade(Side.SELL, 500_000, 900_000_001, 5)]))
    assert _shown(makers, _view())[0] == 0


def test_makers_show_less_when_it_is_volatile():
    makers = _makers(volatility_half=0.001)
    first = plan(CALM).first_marks.astype(np.float64)
    calm = _shown(makers, _view())[0]
    # One move of x a second: variance (1 - 2^(-1/30)) x^2, at its half with this x.
    move = 0.001 / (1 - 0.5 ** (1 / 30)) ** 0.5
    assert _shown(makers, _view(index=first * np.exp(-move)))[0] == pytest.approx(
        calm / 2, rel=0.02)
