"""Which liquidation set off which: a tree, read off a run's event records.

A liquidation is a `liquidation_started` of a pool and what follows of it until it is
finished. Its trades move the book; the makers' quotes give way in proportion to taker flow,
and the move fades with the makers' half-life (`engine.lab.makers`). So at any mark the
forced part of the displacement is a sum over forced trades, each with the weight
lots x 2^(-age / half-life), and the run knows the `shadow` mark, which it would be without
that sum.

- A pool is *pushed* if it is due at the marks and not at the shadow marks. Its health falls
  from the shadow marks to the marks by a line; at `share` of the way it reaches zero. The
  forced trades of the symbol that hurt it by most, oldest first, are walked until their
  weights make up that share: the trade that passes it is the one whose move went through
  the pool's trigger, and its liquidation is the parent.
- A pool is *excess* if it would not have become due on the shadow path at any later time
  either. A pool that is pushed and not excess was only due earlier.

The sale of inventory that the fund took over counts as a trade of the liquidation whose
takeover in that symbol came last.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.causes import Cascade, Liquidation
from engine.lab.makers import TRADE_LOTS, TRADE_PRICE, TRADE_SIDE, TRADE_SYMBOL, TRADE_TAKER
from engine.lab.market import MARKS_PER_TICK, Floats, Ints
from engine.lab.recorder import Run
from engine.messages import EVENT_LAYOUTS, NONE, EventKind, Side
from engine.tally import HEADER_WIDTH

Bools = npt.NDArray[np.bool_]

#: The only asset of a run.
_SETTLE = 0
#: Trades of so many half-lives ago no longer count.
_HALF_LIVES_MAX = 40.0
_FUND = 0


@dataclass
class Causes:
    """One row for each liquidation, in order; rows of `Run.breaches`.

    Attributes
    ----------
    parent : array of int64
        Row of the liquidation that pushed it; -1: none.
    generation : array of int64
        0 without a parent, else one more than the parent's.
    excess : array of bool
        It would not have happened at all on the shadow path.
    closed : array of float, minor units
        Notional closed: by the book, the fund, and ADL.
    book, fund, adl : array of float, minor units
        The parts of it.
    trade_of : array of int64
        For each forced trade in the records, the liquidation that it belongs to; -1: none.
    """

    parent: Ints
    generation: Ints
    excess: Bools
    book: Floats
    fund: Floats
    adl: Floats
    trade_of: Ints

    @property
    def closed(self) -> Floats:
        return self.book + self.fund + self.adl


def find_causes(run: Run) -> Causes:
    """Return the causes of a run's liquidations.

    Notes
    -----
    Complexity: O(records x log records).
    """
    breaches = run.breaches
    count = len(breaches["seq"])
    owner = Owner(np.asarray(breaches["account"], np.int64), np.asarray(breaches["row"], np.int64))
    trades = np.flatnonzero(run.records[:, 0] == EventKind.TRADE)
    trade_of = _trade_owners(run, trades, owner)
    parent = pushed_by(run, breaches, trade_of)
    step = run.table(EventKind.LIQUIDATION_STEP)
    book = _sum(owner.of(step["account"], step["row"]), np.abs(step["filled_value"]), count)
    taken = run.table(EventKind.LIQUIDATION_TAKEOVER)
    fund = _sum(owner.of(taken["account"], taken["row"]),
                taken["quantity"] * taken["price"] * MARKS_PER_TICK, count)
    closed = run.table(EventKind.ADL)
    adl = _sum(owner.of(closed["counterparty"], closed["row"]),
               closed["quantity"] * closed["price"] * MARKS_PER_TICK, count)
    return Causes(parent, generations(parent), np.asarray(breaches["excess"], np.bool_),
                  book, fund, adl, trade_of)


def generations(parent: Ints) -> Ints:
    """Return how many steps each row is below its root; parents come before children.

    Examples
    --------
    >>> generations(np.array([-1, 0, 0, 1, -1, 3])).tolist()
    [0, 1, 1, 2, 0, 3]
    """
    out = np.zeros(len(parent), np.int64)
    for at in np.flatnonzero(parent >= 0).tolist():
        out[at] = out[parent[at]] + 1
    return out


def event_tree(run: Run) -> list[Liquidation]:
    """Return a run's liquidations as `engine.causes` reads them off the events alone.

    There a liquidation has a parent where another set it off within one command, or where the
    marks it was due at name as their cause a command in which the other traded. This needs no
    model of the makers, and knows of no shares: whatever is due at such marks is a child.
    """
    forest = Cascade()
    for symbol in range(len(run.scenario.symbols)):
        forest.observe({"event": "instrument_added", "seq": 0, "ts": 0, "symbol": symbol,
                        "settle": _SETTLE})
    marks = dict(zip(run.clock["seq"].tolist(), run.clock["ts"].tolist(), strict=True))
    seen = -1
    for row in run.records.tolist():
        kind, seq, ts, cause = row[:HEADER_WIDTH]
        if seq != seen and seq in marks:
            for symbol in range(len(run.scenario.symbols)):
                forest.observe({"event": "mark", "seq": seq, "ts": marks[seq], "symbol": symbol})
        seen = seq
        event = dict(zip((name for name, _ in EVENT_LAYOUTS[EventKind(kind)]),
                         row[HEADER_WIDTH:], strict=False))
        event = {name: None if value == NONE else value for name, value in event.items()}
        forest.observe(event | {
            "event": EventKind(kind).name.lower(), "seq": seq, "ts": ts, "cause": cause})
    return forest.liquidations


class Owner:
    """Finds the liquidation that an account was in at a place in the records."""

    def __init__(self, accounts: Ints, rows: Ints) -> None:
        self._order = np.lexsort((rows, accounts))
        self._accounts, self._rows = accounts, rows
        self._keys = self._key(accounts, rows)[self._order]

    @staticmethod
    def _key(accounts: Ints, rows: Ints) -> Ints:
        return accounts * 2**32 + rows

    def of(self, accounts: Ints, rows: Ints) -> Ints:
        """Return for each (account, record) the last liquidation before it; -1: none."""
        if not len(self._keys):
            return np.full(len(accounts), -1, np.int64)
        place = np.searchsorted(self._keys, self._key(accounts, rows), "right") - 1
        found = self._order[np.maximum(place, 0)]
        is_same = (place >= 0) & (self._accounts[found] == accounts)
        return np.where(is_same, found, -1)


def _sum(owner: Ints, values: Ints, count: int) -> Floats:
    known = owner >= 0
    total = np.bincount(owner[known], values[known].astype(np.float64), count)
    return np.asarray(total, np.float64)


def _trade_owners(run: Run, trades: Ints, owner: Owner) -> Ints:
    rows = run.records[trades]
    out = owner.of(rows[:, TRADE_TAKER], trades)
    of_fund = rows[:, TRADE_TAKER] == _FUND
    if of_fund.any():
        taken = run.table(EventKind.LIQUIDATION_TAKEOVER)
        last = Owner(taken["symbol"], taken["row"]).of(rows[of_fund, TRADE_SYMBOL],
                                                        trades[of_fund])
        takers = owner.of(taken["account"], taken["row"])
        out[of_fund] = np.where(last >= 0, np.append(takers, -1)[last], -1)
    return out


def pushed_by(run: Run, noted: dict[str, Any], trade_of: Ints) -> Ints:
    """Return for each of a run's breaches, or of its calls, the liquidation that pushed it.

    Parameters
    ----------
    noted : dict of str to array
        `Run.breaches` or `Run.calls`.
    trade_of : array of int64
        As of `Causes`.

    Returns
    -------
    array of int64
        Rows of `Run.breaches`; -1: none.
    """
    trades = run.records[run.records[:, 0] == EventKind.TRADE]
    parent = np.full(len(noted["seq"]), -1, np.int64)
    pushed = np.flatnonzero(np.asarray(noted["share"]) > 0)
    half_life = run.scenario.makers.impact_half_life_s * 1e9
    lots = trades[:, TRADE_LOTS].astype(np.float64)
    sign = np.where(trades[:, TRADE_SIDE] == Side.BUY, 1, -1)
    for symbol in np.unique(noted["moved"][pushed]).tolist():
        for push in (-1, 1):
            mine = np.flatnonzero((trades[:, TRADE_SYMBOL] == symbol) & (sign == push)
                                  & (trade_of >= 0))
            due = pushed[(noted["moved"][pushed] == symbol)
                         & (noted["push"][pushed] == push)]
            for seq in np.unique(noted["seq"][due]).tolist():
                rows = due[noted["seq"][due] == seq]
                found = _walk(trades[mine], lots[mine], seq, noted["ts"][rows[0]],
                              noted["share"][rows], half_life)
                if found is not None:
                    parent[rows] = trade_of[mine[found]]
    return parent


def _walk(
    trades: Ints, lots: Floats, seq: int, ts_ns: int, share: Floats, half_life_ns: float
) -> Ints | None:
    """Return which trade before a command makes up each share of their fading sum."""
    end = int(np.searchsorted(trades[:, 1], seq, "left"))
    start = int(np.searchsorted(trades[:, 2], ts_ns - _HALF_LIVES_MAX * half_life_ns, "left"))
    if end <= start:
        return None
    age = (ts_ns - trades[start:end, 2]) / half_life_ns
    total = np.cumsum(lots[start:end] * np.exp2(-age))
    # `share` is how far the pool could stand: the trade on which the sum passes it.
    passed = np.searchsorted(total, share * total[-1], "left")
    found: Ints = start + np.minimum(passed, end - start - 1)
    return found


def trade_values(run: Run) -> Floats:
    """Return the value of each forced trade in the records, minor units."""
    rows = run.records[run.records[:, 0] == EventKind.TRADE]
    value = rows[:, TRADE_LOTS] * rows[:, TRADE_PRICE] * MARKS_PER_TICK
    values: Floats = value.astype(np.float64)
    return values
