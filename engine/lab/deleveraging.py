"""What auto-deleveraging took, from whom, and how far from fair (Chitra 2025).

x_i is what winner i gave against the mark, w_i what the winner had won. What was needed is
what the accounts in bankruptcy were short of; what was taken beyond it is overshoot.
"""

from __future__ import annotations

import numpy as np

from engine.lab import metrics
from engine.lab.market import MARKS_PER_TICK, MINOR, Floats, Ints
from engine.lab.recorder import Run
from engine.messages import EventKind, Side


def budget(cost: Floats, loser: Ints) -> tuple[float, float]:
    """Return what closes took of winners, and what losers needed.

    Parameters
    ----------
    cost : array of float
        Of each close against the mark; negative: the winner got more than the mark.
    loser : array of int
        The account in bankruptcy of each close.

    Notes
    -----
    Formula: H = sum of (costs)+, B = sum over losers of (sum of their costs)+. H - B is
    overshoot, never negative: a loser's closes above and below the mark cancel for the
    venue, and not for those on the other side.

    Examples
    --------
    >>> budget(np.array([5.0, -3.0]), np.array([9, 9]))
    (5.0, 2.0)
    """
    needed = np.maximum(_sums(loser, cost), 0)
    return float(np.maximum(cost, 0).sum()), float(needed.sum())


def severity(needed: float, deficit: float) -> float:
    """Return theta = B / D: the share of the deficit that deleveraging has to bear."""
    return needed / deficit if deficit > 0 else float("nan")


def haircut_rates(haircuts: Floats, winnings: Floats) -> Floats:
    """Return h_i = x_i / w_i of those who have won anything, x_i from 0 on.

    Examples
    --------
    >>> haircut_rates(np.array([1.0, -1.0, 5.0]), np.array([4.0, 2.0, 0.0])).tolist()
    [0.25, 0.0]
    """
    some = winnings > 0
    return np.asarray(np.maximum(haircuts[some], 0) / winnings[some])


def pmr(winnings: Floats, haircuts: Floats, loss: float) -> float:
    """Return what the best-off winner keeps, per unit of the largest loss.

    Formula: PMR = max (w - x)+ / largest loss of one account.
    """
    kept = float(np.maximum(winnings - haircuts, 0).max(initial=0.0))
    return kept / loss if loss > 0 else float("nan")


def fairness_regret(rates: Floats, winnings: Floats, needed: float) -> float:
    """Return how much worse the worst-off winner fares than need be, in money.

    Formula: (max h - B / U) B, U the sum of winnings: B / U is the least possible largest
    haircut, that of pro rata by winnings.

    Examples
    --------
    >>> fairness_regret(np.array([1.0, 0.0]), np.array([10.0, 10.0]), 10.0)
    5.0
    """
    total = float(winnings[winnings > 0].sum())
    if total <= 0 or not len(rates):
        return float("nan")
    return max(float(rates.max()) - min(needed / total, 1.0), 0.0) * needed


def top_share(values: Floats, share: float = 0.01) -> float:
    """Return the part of a total that the largest values make, at least one of them.

    Examples
    --------
    >>> top_share(np.array([6.0, 1.0, 1.0, 2.0]), 0.25)
    0.6
    """
    count = max(int(np.ceil(len(values) * share)), 1)
    total = float(values.sum())
    return float(np.sort(values)[::-1][:count].sum()) / total if total else float("nan")


def submajorizes(one: Floats, other: Floats) -> bool:
    """Whether the largest k haircuts of one policy add up to those of another, for every k.

    Formula: sum of the k largest of x >= sum of the k largest of y for k = 1, 2, ...: y spreads
    the cost more evenly, whatever convex measure one takes.

    Examples
    --------
    >>> submajorizes(np.array([5.0, 1.0, 0.0]), np.array([2.0, 2.0, 2.0]))
    True
    >>> submajorizes(np.array([2.0, 2.0, 2.0]), np.array([5.0, 1.0, 0.0]))
    False
    """
    count = max(len(one), len(other))
    sums = []
    for values in (one, other):
        ordered = np.zeros(count)
        ordered[:len(values)] = np.sort(values)[::-1]
        sums.append(np.cumsum(ordered))
    return bool((sums[0] >= sums[1] - 1e-9 * np.abs(sums[1]).max(initial=0.0)).all())


def largest_burst(ts_ns: Ints, worth: Floats) -> float:
    """Return the part of what was deleveraged that the largest burst closed.

    Examples
    --------
    >>> largest_burst(np.array([0, 1, 20]) * 10**9, np.array([1.0, 2.0, 1.0]))
    0.75
    """
    total = float(worth.sum())
    if not total:
        return float("nan")
    return float(np.bincount(metrics.waves(ts_ns), worth).max()) / total


def rank_correlation(one: Floats, other: Floats) -> float:
    """Return Spearman's rank correlation; NaN with fewer than three pairs, or all alike."""
    from scipy.stats import spearmanr

    if len(one) < 3 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return float("nan")
    return float(spearmanr(one, other).statistic)


def _sums(of: Ints, values: Floats) -> Floats:
    _, at = np.unique(of, return_inverse=True)
    return np.asarray(np.bincount(at, values), np.float64)


def closes(run: Run) -> tuple[dict[str, Ints], Floats, Floats]:
    """Return the ADL events of a run, their marks, and their costs in the settle asset."""
    adl = run.table(EventKind.ADL)
    mark = run.marks_at(adl["seq"], adl["symbol"])
    price = adl["price"].astype(np.float64) * MARKS_PER_TICK
    # The event's side is the winner's: a short that buys back pays what is above the mark.
    cost = metrics.shortfall(price, mark, adl["quantity"], adl["side"] == Side.BUY) / MINOR
    return adl, mark, np.asarray(cost, np.float64)


def winners(run: Run) -> tuple[Floats, Floats, Floats]:
    """Return x, w and leverage of each trader's position that was deleveraged.

    Winnings are those of the opening position at the mark of its first deleveraging, in the
    settle asset. Makers and the external account are left out: they opened at no price.
    """
    adl, mark, cost = closes(run)
    people, count = run.population, len(run.scenario.symbols)
    mine = np.flatnonzero((adl["account"] > 0) & (adl["account"] <= people.count))
    key = (adl["account"][mine] - 1) * count + adl["symbol"][mine]
    keys, first, at = np.unique(key, return_index=True, return_inverse=True)
    given = np.bincount(at, cost[mine], len(keys))
    held = people.holder * count + people.symbol
    order = np.argsort(held)
    place = order[np.clip(np.searchsorted(held[order], keys), 0, len(held) - 1)]
    known = held[place] == keys if len(keys) else np.zeros(0, np.bool_)
    won = people.quantity[place] * mark[mine][first] - people.entry[place]
    return (np.asarray(given[known], np.float64),
            np.asarray(np.maximum(won, 0)[known] / MINOR, np.float64),
            np.asarray(people.leverage[people.holder[place]][known], np.float64))


def figures_of(run: Run, deficit: float) -> dict[str, float]:
    """Return the figures of deleveraging for the row of a run.

    Parameters
    ----------
    deficit : float
        What takeovers and closes at bankruptcy prices were short of the mark, in all.
    """
    adl, mark, cost = closes(run)
    taken, needed = budget(cost, adl["counterparty"])
    given, won, leverage = winners(run)
    positive, rates = np.maximum(given, 0), haircut_rates(given, won)
    losses = _sums(adl["counterparty"], cost)
    return {
        "adl_fills": float(len(cost)),
        "adl_bursts": float(metrics.waves(adl["ts"]).max() + 1) if len(cost) else 0.0,
        "adl_largest_burst": largest_burst(adl["ts"], adl["quantity"] * mark),
        "adl_taken": taken, "adl_needed": needed, "adl_overshoot": taken - needed,
        "adl_severity": severity(needed, deficit),
        "adl_max_haircut": float(rates.max()) if len(rates) else float("nan"),
        "adl_top_share": top_share(positive) if len(positive) else float("nan"),
        "adl_ptsr": metrics.ptsr(won, given, deficit),
        "adl_pmr": pmr(won, given, float(losses.max(initial=0.0))),
        "adl_regret": fairness_regret(rates, won, needed),
        "adl_rank_profit": rank_correlation(positive, won),
        "adl_rank_leverage": rank_correlation(positive, leverage),
    }
