"""Power of paired comparisons: what so many seeds can find, and how many seeds it takes.

A comparison is the differences d_1 ... d_n of paired seeds, tested against zero by Student's
t on both sides. With a true difference of delta the statistic is noncentral t with n - 1
degrees of freedom and noncentrality delta sqrt(n) / s, and the power is the chance that it
lies beyond the critical value. No normal approximation: with four seeds that would promise
differences a third smaller than can be found.
"""

from __future__ import annotations

import math

import numpy as np

from engine.lab.market import Floats

#: Seeds that a plan may ask for; more than that: NaN.
SEEDS_MAX = 100_000


def power(effect: float, deviation: float, seeds: int, level: float = 0.05) -> float:
    """Return the chance to find a difference with so many paired seeds.

    Parameters
    ----------
    effect : float
        The true mean difference.
    deviation : float
        Standard deviation of the differences.
    seeds : int
    level : float
        Of the two-sided test.

    Notes
    -----
    Formula: P(abs(T) > t_(1 - level / 2, n - 1)), T noncentral with effect x sqrt(n) / deviation.

    Examples
    --------
    >>> round(power(1.0, 1.0, 10), 3)
    0.803
    """
    from scipy.stats import nct, t

    if seeds < 2 or not deviation > 0:
        return float("nan")
    shift = abs(effect) * math.sqrt(seeds) / deviation
    critical = float(t.ppf(1 - level / 2, seeds - 1))
    # Below the lower critical value lies next to nothing where the shift is far from zero,
    # and there the library's lower tail may be NaN.
    lower = float(nct.cdf(-critical, seeds - 1, shift)) if shift < 5 else 0.0
    return float(nct.sf(critical, seeds - 1, shift)) + lower


def detectable(differences: Floats, chance: float = 0.8, level: float = 0.05) -> float:
    """Return the least mean difference that as many paired seeds find with a given power.

    Formula: delta with power(delta, s, n) = chance, s the standard deviation of the
    differences. NaN with fewer than two of them.

    Examples
    --------
    >>> one = np.array([1.0, 2.0, 3.0, 4.0])
    >>> round(power(detectable(one), one.std(ddof=1), 4), 6)
    0.8
    """
    from scipy.optimize import brentq

    kept = _finite(differences)
    if len(kept) < 2:
        return float("nan")
    deviation = float(kept.std(ddof=1))
    if deviation == 0:
        return 0.0
    # The critical value plus some, for so few degrees of freedom as there may be.
    found = brentq(lambda effect: power(effect, 1.0, len(kept), level) - chance, 1e-6, 1e3)
    return float(found) * deviation


def seeds_needed(differences: Floats, chance: float = 0.8, level: float = 0.05) -> float:
    """Return how many paired seeds find the mean difference that was seen.

    Formula: least n with power(mean, s, n) >= chance; NaN where the mean is 0, there are
    fewer than two differences, or it would take more than `SEEDS_MAX`.

    Examples
    --------
    >>> seeds_needed(np.array([1.0, 2.0, 3.0, 4.0]))
    5.0
    """
    kept = _finite(differences)
    if len(kept) < 2:
        return float("nan")
    mean, deviation = abs(float(kept.mean())), float(kept.std(ddof=1))
    if deviation == 0:
        return 2.0 if mean else float("nan")
    if mean == 0 or power(mean, deviation, SEEDS_MAX, level) < chance:
        return float("nan")
    low, high = 1, SEEDS_MAX
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(mean, deviation, middle, level) >= chance else (
            middle, high)
    return float(high)


def p_value(differences: Floats) -> float:
    """Return the chance of so large a mean difference where there is none (paired t, two-sided).

    NaN with fewer than two differences; 0 or 1 where all are alike.
    """
    from scipy.stats import t

    kept = _finite(differences)
    if len(kept) < 2:
        return float("nan")
    error = float(kept.std(ddof=1)) / math.sqrt(len(kept))
    if error == 0:
        return 1.0 if kept[0] == 0 else 0.0
    return float(2 * t.sf(abs(float(kept.mean())) / error, len(kept) - 1))


def adjusted(p_values: Floats) -> Floats:
    """Return p-values of many comparisons made at once, by Benjamini and Hochberg; NaN stay.

    Of what is then called found at a level, that share is expected to be false.
    """
    from scipy.stats import false_discovery_control

    values = np.asarray(p_values, np.float64)
    out, some = values.copy(), np.isfinite(values)
    if some.any():
        out[some] = false_discovery_control(values[some])
    return out


def elasticity(sizes: Floats, outcomes: Floats) -> tuple[Floats, float]:
    """Return how strongly an outcome answers a shock, and where it answers most.

    Parameters
    ----------
    sizes : array of float
        Ascending sizes of a shock.
    outcomes : array of float
        Mean outcome at each.

    Returns
    -------
    slopes : array of float
        Between neighbours: difference of outcomes ÷ difference of sizes.
    tipping : float
        Middle of the interval with the largest absolute slope: the tipping shock.

    Examples
    --------
    >>> slopes, tipping = elasticity(np.array([1.0, 2.0, 4.0]), np.array([0.0, 1.0, 9.0]))
    >>> slopes.tolist(), tipping
    ([1.0, 4.0], 3.0)
    """
    slopes = np.asarray(np.diff(outcomes) / np.diff(sizes), np.float64)
    if not np.isfinite(slopes).any():
        return slopes, float("nan")
    at = int(np.nanargmax(np.abs(slopes)))
    return slopes, float(sizes[at] + sizes[at + 1]) / 2


def _finite(values: Floats) -> Floats:
    kept = np.asarray(values, np.float64)
    return kept[np.isfinite(kept)]
