"""Contagion between symbols: what forced trades in one did to those who hold another.

Ex post, by causes: a pool that was pushed was pushed through the symbol in which forced
trades hurt it by most, and its liquidation closes positions in all its symbols. Ex ante, by
holdings: who holds two symbols carries the losses of one into the other.
"""

from __future__ import annotations

import numpy as np

from engine.lab.causes import Causes, Owner
from engine.lab.market import MARKS_PER_TICK, Floats, Ints
from engine.lab.recorder import Run
from engine.messages import EventKind


def closed_by_symbol(run: Run) -> Floats:
    """Return what each liquidation closed in each symbol, by book, fund and ADL, minor units.

    Returns
    -------
    array of float, shape (liquidations, symbols)
    """
    accounts = np.asarray(run.breaches["account"], np.int64)
    owner = Owner(accounts, np.asarray(run.breaches["row"], np.int64))
    out = np.zeros((len(accounts), len(run.scenario.symbols)))
    for kind, whose in ((EventKind.LIQUIDATION_STEP, "account"),
                        (EventKind.LIQUIDATION_TAKEOVER, "account"),
                        (EventKind.ADL, "counterparty")):
        table = run.table(kind)
        value = (np.abs(table["filled_value"]) if kind is EventKind.LIQUIDATION_STEP
                 else table["quantity"] * table["price"] * MARKS_PER_TICK)
        at = owner.of(table[whose], table["row"])
        known = at >= 0
        np.add.at(out, (at[known], table["symbol"][known]), value[known])
    return out


def pushes(closed: Floats, parent: Ints, moved: Ints) -> Floats:
    """Return the notional pushed through each symbol, by the symbol it was closed in.

    Formula: P_ij = sum of closed(k, j) over liquidations k with a parent and moved(k) = i.

    Examples
    --------
    >>> closed = np.array([[8.0, 0.0], [0.0, 3.0], [1.0, 1.0]])
    >>> pushes(closed, np.array([-1, 0, 1]), np.array([0, 0, 1])).tolist()
    [[0.0, 3.0], [1.0, 1.0]]
    """
    count = closed.shape[1]
    out = np.zeros((count, count))
    pushed = np.flatnonzero(parent >= 0)
    np.add.at(out, np.asarray(moved, np.int64)[pushed], closed[pushed])
    return out


def spillover(pushed: Floats) -> float:
    """Return the share of pushed notional that was closed in another symbol.

    Formula: 1 - sum of P_ii / sum of P_ij.

    Examples
    --------
    >>> spillover(np.array([[3.0, 1.0], [0.0, 0.0]]))
    0.25
    """
    total = float(pushed.sum())
    return 1 - float(np.trace(pushed)) / total if total else float("nan")


def reproduction_matrix(pushed: Floats, closed: Floats) -> Floats:
    """Return how many dollars in symbol j one dollar closed in symbol i pushes.

    Formula: R_ij = P_ij / sum over k of closed(k, i); NaN where nothing was closed. Its
    largest eigenvalue (`spectral_radius`) is the reproduction number of the whole: above 1,
    rounds over all symbols grow though each symbol alone may be calm.
    """
    total = closed.sum(axis=0)
    return np.asarray(pushed / np.where(total > 0, total, np.nan)[:, None])


def spectral_radius(matrix: Floats) -> float:
    """Return the largest modulus of the eigenvalues, NaN entries counting as 0.

    Examples
    --------
    >>> round(spectral_radius(np.array([[0.0, 0.5], [0.5, 0.0]])), 6)
    0.5
    """
    return float(np.abs(np.linalg.eigvals(np.nan_to_num(matrix))).max())


def overlap(holdings: Floats, depth: Floats) -> Floats:
    """Return the liquidity-weighted overlaps of portfolios (Cont and Schaanning 2019).

    Parameters
    ----------
    holdings : array of float, shape (portfolios, symbols)
        Signed; portfolios on the same side of a symbol hurt one another by selling.
    depth : array of float, shape (symbols,)
        In the unit of the holdings.

    Notes
    -----
    Formula: Omega_ij = sum over symbols s of q_is q_js / D_s: by linear impact, what j loses
    when i sells out. Portfolios by the million make a large table: sum them up first
    (`holdings_by_group`).

    Examples
    --------
    >>> overlap(np.array([[2.0, 0.0], [1.0, 4.0]]), np.array([2.0, 8.0])).tolist()
    [[2.0, 1.0], [1.0, 2.5]]
    """
    return np.asarray((holdings / depth) @ holdings.T)


def holdings_by_group(run: Run) -> Floats:
    """Return the opening lots of accounts, summed up by the symbol of their largest position.

    Returns
    -------
    array of float, shape (symbols, symbols)
        Rows are groups: holders of mainly this symbol.
    """
    people, count = run.population, len(run.scenario.symbols)
    worth = np.zeros((people.count, count))
    worth[people.holder, people.symbol] = np.abs(people.entry)
    group = worth.argmax(axis=1)
    out = np.zeros((count, count))
    np.add.at(out, (group[people.holder], people.symbol), people.quantity)
    return out


def first_hits(run: Run) -> Floats:
    """Return when each symbol had its first liquidation, s from the start; NaN: never.

    Over seeds, correlations of these times say which symbols go together.
    """
    at = np.asarray(run.breaches["symbol"], np.int64)
    seconds = (np.asarray(run.breaches["step"], np.float64) + 1) * run.scenario.step_s
    out = np.full(len(run.scenario.symbols), np.nan)
    # Of equal indices the last assignment stands, so the latest goes first.
    out[at[::-1]] = seconds[::-1]
    return out


def first_hit_correlation(hits: Floats) -> Floats:
    """Return Pearson's correlation of first hits between symbols, over seeds.

    Parameters
    ----------
    hits : array of float, shape (seeds, symbols)
        The rows' ``first_hits`` of a sweep; a seed in which a symbol was never hit does not count
        for it.

    Returns
    -------
    array of float, shape (symbols, symbols)
        NaN with fewer than three seeds in common, or where all are alike.

    Examples
    --------
    >>> table = first_hit_correlation(np.array([[1.0, 2.0], [2.0, 4.0], [4.0, 8.0]]))
    >>> round(float(table[0, 1]), 12)
    1.0
    """
    count = hits.shape[1]
    out = np.full((count, count), np.nan)
    for one in range(count):
        for other in range(count):
            both = hits[np.isfinite(hits[:, [one, other]]).all(axis=1)][:, [one, other]]
            if len(both) > 2 and (np.ptp(both, axis=0) > 0).all():
                out[one, other] = np.asarray(np.corrcoef(both.T))[0, 1]
    return out


def figures_of(run: Run, causes: Causes) -> dict[str, float]:
    """Return the figures of contagion for the row of a run."""
    closed = closed_by_symbol(run)
    pushed = pushes(closed, causes.parent, run.breaches["moved"])
    hits = first_hits(run)
    return {
        "spillover": spillover(pushed),
        "reproduction_radius": spectral_radius(reproduction_matrix(pushed, closed)),
        "last_symbol_after_s": float(np.nanmax(hits) - np.nanmin(hits))
        if np.isfinite(hits).all() else float("nan"),
    }
