"""What traders do in answer to margin calls and deleveraging, and whose liquidation led to it.

An answer is a deposit or an order that a member of the population sends because of an event. Each
is tied to that event, to the trades of its order, and to a liquidation:

- of a deleveraging, the liquidation that it was deleveraged for, as the `adl` event says;
- of a margin call, the one whose trade carried the pool through the call's level, found as the
  parents of liquidations are (`engine.lab.causes`), with level x equity in place of equity; none,
  where the call would have come without forced trades.

Answers are no liquidations and stand beside the tree: what they push is in the twin's difference
(R, counterfactual) and not in R by causes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from engine.lab.agents import ANSWER_FIELDS, FIRST_ANSWER_ID
from engine.lab.causes import Causes, Owner, pushed_by
from engine.lab.makers import TRADE_LOTS, TRADE_PRICE, TRADE_SIDE, TRADE_SYMBOL, TRADE_TAKER
from engine.lab.market import MARKS_PER_TICK, MINOR, Floats, Ints
from engine.lab.recorder import Run, Table, columns_of
from engine.messages import NONE, EventKind, Side
from engine.tally import field_at

if TYPE_CHECKING:
    import pandas as pd

#: Who opens again within this time has undone a deleveraging.
UNDO_S = 60.0
_TAKER_ORDER = field_at(EventKind.TRADE, "taker_order_id")


def find_answers(run: Run, causes: Causes) -> Table:
    """Return the answers of a run.

    Returns
    -------
    dict of str to array
        The columns of `engine.lab.agents.ANSWER_FIELDS`; ``filled`` (lots, unsigned), ``value``
        (of its trades, minor units), ``trade_seq`` (of the first; `NONE`: none), ``liquidation``
        (row of `Run.breaches`; -1: nothing that was forced led to it).
    """
    out = {name: run.answers[:, at] for at, name in enumerate(ANSWER_FIELDS)}
    trades = run.own_trades
    sent = _key(out["account"], out["order_id"])
    traded = _key(trades[:, TRADE_TAKER], trades[:, _TAKER_ORDER])
    order = np.argsort(sent, kind="stable")
    place = np.searchsorted(sent[order], traded)
    known = place < len(sent)
    known[known] = sent[order][place[known]] == traded[known]
    at, trades = order[place[known]], trades[known]
    filled, value = (np.zeros(len(sent), np.int64) for _ in range(2))
    np.add.at(filled, at, trades[:, TRADE_LOTS])
    np.add.at(value, at, trades[:, TRADE_LOTS] * trades[:, TRADE_PRICE] * MARKS_PER_TICK)
    first = np.full(len(sent), NONE, np.int64)
    first[at[::-1]] = trades[::-1, 1]  # of equal places the last assignment stands
    return {**out, "filled": filled, "value": value, "trade_seq": first,
            "liquidation": _led_by(run, causes, out)}


def _key(accounts: Ints, numbers: Ints) -> Ints:
    return np.asarray(accounts * 2**32 + numbers, np.int64)


def _led_by(run: Run, causes: Causes, sent: Table) -> Ints:
    out = np.full(len(sent["account"]), -1, np.int64)
    calls, seqs = run.calls, np.asarray(run.calls["seq"], np.int64)
    keys = _key(np.asarray(calls["account"], np.int64), seqs)
    order = np.argsort(keys, kind="stable")
    mine = np.flatnonzero(sent["answers"] == EventKind.MARGIN_CALL)
    wanted = _key(sent["account"][mine], sent["event_seq"][mine])
    place = np.searchsorted(keys[order], wanted)
    known = place < len(keys)
    known[known] = keys[order][place[known]] == wanted[known]
    out[mine[known]] = pushed_by(run, calls, causes.trade_of)[order[place[known]]]
    mine = np.flatnonzero(sent["answers"] == EventKind.ADL)
    # The last record of the command: the loser's liquidation had begun by then.
    row = np.searchsorted(run.records[:, 1], sent["event_seq"][mine], "right") - 1
    owner = Owner(np.asarray(run.breaches["account"], np.int64),
                  np.asarray(run.breaches["row"], np.int64))
    out[mine] = owner.of(sent["counterparty"][mine], row)
    return out


# --- undoing ------------------------------------------------------------------------------


def undone(
    closed_key: Ints, closed_ns: Ints, closed: Floats, traded_key: Ints, traded_ns: Ints,
    traded: Floats, window_s: float = UNDO_S,
) -> tuple[Ints, Floats, Floats]:
    """Return what was closed against each position's will, and what of it was opened again.

    Parameters
    ----------
    closed_key, traded_key : array of int
        Name a position: an account and a symbol.
    closed_ns, traded_ns : array of int
        Times; those of closes ascend.
    closed, traded : array of float
        Signed: positive bought.
    window_s : float
        A trade counts within so long after a close of its position.

    Returns
    -------
    keys, closed, undone : arrays
        For each position |d| and min(|d|, opposite volume); their ratio is the undo fraction.

    Examples
    --------
    >>> undone(np.array([7]), np.array([0]), np.array([-10.0]), np.array([7, 7, 7]),
    ...        np.array([20, 40, 90]) * 10**9, np.array([4.0, -3.0, 9.0]))
    (array([7]), array([10.]), array([4.]))
    """
    keys, at = np.unique(closed_key, return_inverse=True)
    lots = np.bincount(at, closed, len(keys))
    known = np.flatnonzero(np.isin(traded_key, keys))
    if not len(known):
        return keys, np.abs(lots), np.zeros(len(keys))
    named, bought = np.searchsorted(keys, traded_key[known]), traded[known]
    # Position and time in one number, so that one search finds the last close before each trade.
    start = int(min(closed_ns.min(), traded_ns[known].min()))
    span = int(max(closed_ns.max(), traded_ns[known].max())) - start + 1
    closes = np.sort(at * span + closed_ns - start)
    when = traded_ns[known] - start
    place = np.searchsorted(closes, named * span + when, "right") - 1
    last = closes[np.maximum(place, 0)]
    is_soon = (place >= 0) & (last // span == named) & (when - last % span <= window_s * 1e9)
    counts = is_soon & (bought * lots[named] < 0)
    back = np.bincount(named[counts], np.abs(bought[counts]), len(keys))
    return keys, np.abs(lots), np.minimum(np.abs(lots), back)


def undo_shares(run: Run) -> tuple[Ints, Floats, Floats]:
    """Return what deleveraging closed of the population's positions, and what was opened again.

    Returns
    -------
    symbol, closed, undone : arrays
        One entry for each account and symbol; lots.
    """
    adl, count = run.table(EventKind.ADL), len(run.scenario.symbols)
    mine = (adl["account"] > 0) & (adl["account"] <= run.population.count)
    trades = run.own_trades
    keys, closed, back = undone(
        (adl["account"] * count + adl["symbol"])[mine], adl["ts"][mine],
        _signed(adl["quantity"], adl["side"])[mine],
        trades[:, TRADE_TAKER] * count + trades[:, TRADE_SYMBOL], trades[:, 2],
        _signed(trades[:, TRADE_LOTS], trades[:, TRADE_SIDE]))
    return np.asarray(keys % count, np.int64), closed, back


def _signed(lots: Ints, side: Ints) -> Floats:
    return np.asarray(np.where(side == Side.BUY, lots, -lots), np.float64)


# --- the row of a run ---------------------------------------------------------------------


def figures_of(run: Run, causes: Causes) -> dict[str, float]:
    """Return the figures of answers for the row of a run; money in the settle asset.

    Returns
    -------
    dict
        ``calls_deposited``: put in after margin calls; ``calls_closed``: notional closed by own
        orders after margin calls; ``calls_pushed``: the share of both, by money, whose call forced
        trades led to; ``adl_undone``: sum of min(|d|, opposite volume within 60 s) / sum of |d|
        over the population's deleveraged positions, each at its first mark;
        ``adl_undone_positions``: share of them that were opened again, in part at least;
        ``stopped``: notional closed by stop orders.
    """
    found = find_answers(run, causes)
    by_call = found["answers"] == EventKind.MARGIN_CALL
    is_deposit = by_call & (found["order_id"] == 0)
    money = np.where(is_deposit, found["amount"], found["value"]).astype(np.float64)
    called = float(money[by_call].sum())
    pushed = float(money[by_call & (found["liquidation"] >= 0)].sum())
    symbol, closed, back = undo_shares(run)
    worth = run.lines["mark"][0, symbol]
    lost = float((closed * worth).sum())
    trades = run.own_trades
    stops = trades[trades[:, _TAKER_ORDER] < FIRST_ANSWER_ID]
    stopped = (stops[:, TRADE_LOTS] * stops[:, TRADE_PRICE] * MARKS_PER_TICK).sum()
    return {
        "calls_deposited": float(money[is_deposit].sum() / MINOR),
        "calls_closed": float(money[by_call & ~is_deposit].sum() / MINOR),
        "calls_pushed": pushed / called if called else float("nan"),
        "adl_undone": float((back * worth).sum()) / lost if lost else float("nan"),
        "adl_undone_positions": float((back > 0).mean()) if len(back) else float("nan"),
        "stopped": float(stopped / MINOR),
    }


def frames(run: Run, causes: Causes) -> dict[str, pd.DataFrame]:
    """Return ``answers``, as of `find_answers`, and ``own_trades``, as the events are."""
    import pandas as pd

    answers = pd.DataFrame(find_answers(run, causes))
    answers["answers"] = [EventKind(kind).name.lower() for kind in answers["answers"]]
    return {"answers": answers, "own_trades": pd.DataFrame(
        columns_of(run.own_trades, EventKind.TRADE))}
