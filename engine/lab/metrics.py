"""What a cascade was like: each metric a function of plain arrays, with its formula.

L_k is the notional of liquidation k, parent(k) the liquidation whose trade pushed it (-1:
none), as `engine.lab.causes` finds them. Money may be in any one unit; times are ns where a
name says so. An empty input gives NaN where a ratio has no value, never an error.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")


# --- reproduction -------------------------------------------------------------------------


def reproduction_tagged(notional: Floats, parent: Ints) -> float:
    """Return the dollar reproduction number by causes.

    Formula: R = sum of L_k over k with a parent / sum of L_k over all k: each dollar
    liquidated pushed so many others.

    Examples
    --------
    >>> reproduction_tagged(np.array([10.0, 5.0, 5.0]), np.array([-1, 0, 1]))
    0.5
    """
    return _ratio(notional[parent >= 0].sum(), notional.sum())


def reproduction_excess(notional: Floats, excess: Bools) -> float:
    """Return the share of notional that would never have been liquidated without the push.

    Formula: R = sum of L_k over k in excess / sum of L_k. Both by each account's first breach.
    """
    return _ratio(notional[excess].sum(), notional.sum())


def reproduction_counterfactual(notional: float, notional_without: float) -> float:
    """Return the reproduction number by the twin run, with liquidation switched off.

    Formula: R = 1 - L0 / L, L0 what became due in the twin; then L = L0 / (1 - R).

    Examples
    --------
    >>> reproduction_counterfactual(20.0, 15.0)
    0.25
    """
    return 1 - _ratio(notional_without, notional)


def generation_ratios(notional: Floats, generation: Ints) -> Floats:
    """Return R_g = L_(g+1) / L_g for each generation but the last.

    Examples
    --------
    >>> generation_ratios(np.array([8.0, 4.0, 1.0]), np.array([0, 1, 2])).tolist()
    [0.5, 0.25]
    """
    by_generation = np.bincount(generation, notional)
    return np.asarray(by_generation[1:] / np.where(by_generation[:-1] > 0, by_generation[:-1],
                                                   np.nan))


def reproduction_map(
    prices: Floats, notional: Floats, width: float, impact: float
) -> Floats:
    """Return the ex-ante reproduction number over the price.

    Parameters
    ----------
    prices : array of float
        Where buckets begin.
    notional : array of float
        To be liquidated in each bucket.
    width : float
        Of a bucket, in units of price.
    impact : float
        Relative move of the price per unit of notional sold, at the book as it is.

    Notes
    -----
    Formula: R0(p) = m(p) lambda(p), m = notional / width per unit of price, lambda =
    impact x p: the move that selling one unit makes. A cascade feeds itself where R0 > 1.
    """
    return np.asarray(notional / width * impact * prices)


def branching_of_counts(counts: Ints) -> float:
    """Return the Hawkes branching ratio as counts alone give it (Hardiman and Bouchaud 2014).

    Formula: n = 1 - sqrt(mean / variance) of counts in windows; 0 where the variance is not
    above the mean. It takes every clustering for self-excitation, a shock's as well.
    """
    mean, variance = float(np.mean(counts)), float(np.var(counts))
    return 1 - (mean / variance) ** 0.5 if variance > mean > 0 else 0.0


def amplification(total: float, exogenous: float) -> float:
    """Return A = L / L_exo; 1 / (1 - R) where R is the same in all generations."""
    return _ratio(total, exogenous)


# --- time ---------------------------------------------------------------------------------


def waves(ts_ns: Ints, gap_s: float = 5.0) -> Ints:
    """Return the wave of each of ascending times: a new one after each longer gap.

    Examples
    --------
    >>> waves(np.array([0, 1, 9, 10]) * 10**9).tolist()
    [0, 0, 1, 1]
    """
    return np.concatenate([[0], np.cumsum(np.diff(ts_ns) > gap_s * 1e9)])[:len(ts_ns)]


def peak_share(ts_ns: Ints, notional: Floats, window_s: float = 60.0) -> float:
    """Return the share of the notional that fell into the busiest window (of fixed ones)."""
    if not len(ts_ns):
        return float("nan")
    at = ((ts_ns - ts_ns.min()) // int(window_s * 1e9)).astype(np.int64)
    return _ratio(np.bincount(at, notional).max(), notional.sum())


def recovery_steps(price: Floats, share: float = 0.5) -> int:
    """Return steps from the low until a share of the way to the last price is made good.

    Formula: first t after the low with p_t >= p_low + share (p_end - p_low).
    """
    low = int(np.argmin(price))
    goal = price[low] + share * (price[-1] - price[low])
    return int(np.argmax(price[low:] >= goal))


# --- price --------------------------------------------------------------------------------


def overshoot(price: Floats, reference: float, permanent: float) -> float:
    """Return the share of the fall that came back.

    Formula: s = 1 - (p_ref - p_perm) / (p_ref - p_low).

    Examples
    --------
    >>> overshoot(np.array([100.0, 90.0, 95.0]), 100.0, 95.0)
    0.5
    """
    return 1 - _ratio(reference - permanent, reference - float(price.min()))


def overshoot_counterfactual(price: Floats, without: Floats) -> float:
    """Return O_c = (min p0 - min p) / p(0): how much lower forced trades made the low."""
    return float((without.min() - price.min()) / price[0])


# --- size ---------------------------------------------------------------------------------


def tail_exponent(sizes: Floats, tail: float = 0.1) -> float:
    """Return the Hill estimate of alpha in P(S > s) ~ s^-alpha, of the largest sizes.

    Formula: alpha = k / sum of ln(S_i / S_(k+1)) over the k largest, k = tail x n.
    """
    ordered = np.sort(sizes[sizes > 0])[::-1]
    k = int(len(ordered) * tail)
    if k < 2:
        return float("nan")
    total = float(np.log(ordered[:k] / ordered[k]).sum())
    return _ratio(k, total)


def gini(values: Floats) -> float:
    """Return the Gini coefficient: 0 all alike, towards 1 all with one.

    Examples
    --------
    >>> gini(np.array([1.0, 1.0])), gini(np.array([0.0, 1.0]))
    (0.0, 0.5)
    """
    ordered = np.sort(values)
    n = len(ordered)
    weights = 2 * np.arange(1, n + 1) - n - 1
    return _ratio(float((weights * ordered).sum()), n * float(ordered.sum()))


def herfindahl(values: Floats) -> float:
    """Return the sum of squared shares; its inverse is the effective number."""
    return _ratio(float((values**2).sum()), float(values.sum()) ** 2)


# --- who pays -----------------------------------------------------------------------------


def slippage_bps(value: Floats, lots: Floats, mark: Floats, is_sale: Bools) -> Floats:
    """Return by how much fills were worse than the mark, in 1e-4 of it.

    Formula: (mark - price) / mark for a sale, (price - mark) / mark for a purchase.
    """
    price = value / lots
    return np.asarray(np.where(is_sale, mark - price, price - mark) / mark * 1e4)


def shortfall(price: Floats, mark: Floats, lots: Ints, is_sale: Bools) -> Floats:
    """Return what a close at the bankruptcy price is short of the mark: bad debt, if positive.

    Formula: (price - mark) x lots where a long is closed, (mark - price) x lots for a short.
    """
    return np.asarray(np.where(is_sale, price - mark, mark - price) * lots)


def drawdown(balances: Floats) -> float:
    """Return the largest fall of the fund from its start: max (F_0 - F_t) / F_0."""
    return _ratio(float(balances[0] - balances.min()), float(balances[0]))


def needed_to_restore(notional: Floats, equity: Floats, maintenance: Floats) -> Floats:
    """Return the least notional that, closed at the mark, makes a pool whole again.

    Formula: (M - E) / rate with rate = M / notional; all of it where equity is spent.
    What was closed beyond that is over-liquidation.
    """
    rate = maintenance / notional
    needed = (maintenance - equity) / rate
    return np.asarray(np.where(equity <= 0, notional, np.minimum(needed, notional)))


def contagion_share(notional: Floats, parent: Ints, moved: Ints, symbol: Ints) -> float:
    """Return the pushed share of notional whose push came through another symbol.

    Formula: sum of L_k with a parent and moved(k) != largest symbol of k / all L_k with one.
    """
    pushed = parent >= 0
    return _ratio(notional[pushed & (moved != symbol)].sum(), notional[pushed].sum())


# --- policies of auto-deleveraging ---------------------------------------------------------


def haircuts_queue(winnings: Floats, order: Ints, budget: float) -> Floats:
    """Return what each winner gives when they give all in turn, until the budget is met.

    Examples
    --------
    >>> haircuts_queue(np.array([5.0, 3.0]), np.array([0, 1]), 6.0).tolist()
    [5.0, 1.0]
    """
    out = np.zeros(len(winnings))
    before = np.concatenate([[0.0], np.cumsum(winnings[order])[:-1]])
    out[order] = np.clip(budget - before, 0.0, winnings[order])
    return out


def haircuts_pro_rata(winnings: Floats, budget: float) -> Floats:
    """Return what each winner gives when all give the same share of their winnings."""
    return np.asarray(winnings * min(_ratio(budget, float(winnings.sum())), 1.0))


def ptsr(winnings: Floats, haircuts: Floats, deficit: float) -> float:
    """Return what the best-off winner keeps, per unit of deficit (Chitra 2025).

    Formula: PTSR = max (w - x)+ / D. With D_theta = theta D seized and w_1 the largest:
    PTSR(pro rata) - PTSR(queue) is the price that a queue makes the top winner pay.
    """
    return _ratio(float(np.maximum(winnings - haircuts, 0).max(initial=0.0)), deficit)


# --- statistics ---------------------------------------------------------------------------

def interval(values: Floats) -> tuple[float, float, float]:
    """Return mean and 95 % confidence interval (Student's t) of independent seeds.

    For a comparison give the differences of paired seeds. One value has no interval: NaN.
    """
    from scipy.stats import t

    kept = np.asarray(values, np.float64)
    kept = kept[np.isfinite(kept)]
    if len(kept) < 2:
        mean = float(kept.mean()) if len(kept) else float("nan")
        return mean, float("nan"), float("nan")
    quantile = float(t.ppf(0.975, len(kept) - 1))
    mean, half = float(kept.mean()), quantile * float(kept.std(ddof=1)) / len(kept) ** 0.5
    return mean, mean - half, mean + half
