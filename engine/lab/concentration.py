"""How few a cascade was about, and who lost more than their margin."""

from __future__ import annotations

import numpy as np

from engine.lab import metrics
from engine.lab.agents import FIRST_MAKER
from engine.lab.causes import Causes
from engine.lab.contagion import closed_by_symbol
from engine.lab.makers import TRADE_LOTS, TRADE_MAKER, TRADE_PRICE
from engine.lab.market import MARKS_PER_TICK, MINOR, Floats, Ints
from engine.lab.quality import by_size
from engine.lab.recorder import Run
from engine.messages import EventKind


def effective_number(values: Floats) -> float:
    """Return N = 1 / HHI: how many equal ones would be as concentrated; NaN of nothing.

    Formula: HHI = sum of (v_i / sum of v)^2.

    Examples
    --------
    >>> effective_number(np.array([3.0, 1.0])), effective_number(np.ones(4))
    (1.6, 4.0)
    """
    return 1 / metrics.herfindahl(values) if values.sum() > 0 else float("nan")


def deficit_once(accounts: Ints, equity: Floats) -> float:
    """Return what accounts lack, each once, at its worst.

    Formula: D = sum over accounts of (- min of its equities)+. An account that is liquidated in
    several waves is short of its deepest deficit, not of the sum of them.

    Examples
    --------
    >>> deficit_once(np.array([1, 1, 2, 3]), np.array([-5.0, -3.0, 4.0, -1.0]))
    6.0
    """
    _, at = np.unique(accounts, return_inverse=True)
    worst = np.zeros(int(at.max(initial=-1)) + 1)
    np.minimum.at(worst, at, equity)
    return float(-worst.sum())


def _sums(of: Ints, values: Floats) -> Floats:
    _, at = np.unique(of, return_inverse=True)
    return np.asarray(np.bincount(at, values), np.float64)


def figures_of(run: Run, causes: Causes) -> dict[str, float]:
    """Return the figures of concentration and of deficits for the row of a run.

    Returns
    -------
    dict
        ``effective_accounts``, ``effective_symbols``: effective numbers by notional closed;
        ``effective_makers``: of those who bought what was sold by force, by value;
        ``deficit``: `deficit_once` over equities at the start and the end of liquidations, settle
        asset; ``beyond_margin_small``, ``beyond_margin_large``: sum of (-equity)+ when they became
        due / notional, of the smallest and the largest quarter of pools.
    """
    rows, account = run.breaches, np.asarray(run.breaches["account"], np.int64)
    trades = run.records[run.records[:, 0] == EventKind.TRADE]
    maker = trades[:, TRADE_MAKER] - FIRST_MAKER
    value = (trades[:, TRADE_LOTS] * trades[:, TRADE_PRICE] * MARKS_PER_TICK).astype(np.float64)
    quoted = maker >= 0
    # An account of each maker for each symbol.
    makers = maker[quoted] // len(run.scenario.symbols)
    ended = run.table(EventKind.LIQUIDATION_FINISHED)
    mine = np.isin(ended["account"], account)
    equities = np.concatenate([np.asarray(rows["equity"], np.float64), ended["equity"][mine]])
    shares = [float("nan")] * 2
    if len(account):
        by = by_size(np.maximum(-np.asarray(rows["equity"], np.float64), 0),
                     np.asarray(rows["notional"], np.float64), rows["notional"])
        shares = [float(by[0]), float(by[-1])]
    return {
        "effective_accounts": effective_number(_sums(account, causes.closed)),
        "effective_symbols": effective_number(closed_by_symbol(run).sum(axis=0)),
        "effective_makers": effective_number(_sums(makers, value[quoted])),
        "deficit": deficit_once(
            np.concatenate([account, ended["account"][mine]]), equities) / MINOR,
        "beyond_margin_small": shares[0], "beyond_margin_large": shares[1],
    }
