"""Tails of returns: the Hill estimate with its interval, and the figures of a run's mark."""

from __future__ import annotations

import numpy as np

from engine.lab.funds import FIRST_FUND
from engine.lab.market import Floats
from engine.lab.recorder import Run
from engine.messages import EventKind

#: Share of all returns that counts as the tail.
TAIL = 0.01
_NORMAL_95 = 1.96
_ACCOUNT = 4


def hill(losses: Floats, tail: float = TAIL) -> tuple[float, float, float]:
    """Return the tail index alpha in P(loss > x) ~ x^-alpha, and its 95 % interval.

    Parameters
    ----------
    losses : array of float
        Gains are negative, and count towards the share only.
    tail : float
        Share of them that is the tail.

    Notes
    -----
    Formula: alpha = k / sum of ln(x_i / x_(k+1)) over the k largest; interval alpha (1 +- 1.96 /
    sqrt(k)), for independent losses. Dependent ones, as in a cascade, have a wider one: compare
    seeds. A Gaussian has no such index; of its largest hundredth the estimate is about 8.

    Examples
    --------
    >>> losses = np.random.default_rng(1).pareto(3.0, 100_000) + 1
    >>> alpha, low, high = hill(losses)
    >>> low < 3.0 < high
    True
    """
    ordered = np.sort(losses)[::-1]
    k = int(len(ordered) * tail)
    if k < 2 or ordered[k] <= 0:
        return float("nan"), float("nan"), float("nan")
    alpha = k / float(np.log(ordered[:k] / ordered[k]).sum())
    half = _NORMAL_95 * alpha / k**0.5
    return alpha, alpha - half, alpha + half


def returns(run: Run) -> Floats:
    """Return the log returns of the first symbol's mark, step by step."""
    return np.asarray(np.diff(np.log(run.lines["mark"][:, 0])))


def return_figures(run: Run, suffix: str = "") -> dict[str, float]:
    """Return what the returns of a run's mark are like.

    Returns
    -------
    dict
        ``return_tail``: Hill estimate of the losses; ``return_kurtosis``: in excess of a
        Gaussian's; ``worst_return``: in standard deviations; ``return_deviation``: that;
        ``margin_calls_of_funds``: liquidations started of them.
    """
    moves = returns(run)
    deviation = float(moves.std())
    score = (moves - moves.mean()) / deviation if deviation > 0 else np.full(1, np.nan)
    started = run.records[run.records[:, 0] == EventKind.LIQUIDATION_STARTED]
    figures = {
        "return_tail": hill(-moves)[0],
        "return_kurtosis": float((score**4).mean() - 3),
        "worst_return": float(score.min()),
        "return_deviation": deviation,
        "margin_calls_of_funds": float((started[:, _ACCOUNT] >= FIRST_FUND).sum()),
    }
    return {name + suffix: value for name, value in figures.items()}
