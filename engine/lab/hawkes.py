"""Branching ratios of self-exciting processes by maximum likelihood.

A Hawkes process has the intensity

    lambda(t) = mu(t) + n x sum over events before t of phi(t - t_k),  integral of phi = 1,

so every event sets off `n` others on average. With one exponential kernel,
phi(u) = beta e^(-beta u), and beta = ln 2 / half-life. `fit_times` takes a tape of distinct
times; `fit_counts` takes counts in steps of one length, where no event excites its own step:

    lambda_k = mu_k + n x sum over j < k of N_j (1 - r) r^(k-j-1),  r = 2^(-step / half-life).

The baseline is c . drive(t): a constant unless columns are given that say how strongly the
world outside drives the process. Without such columns a shock from outside is taken for
self-excitation; with them the ratio is what is left.

Given the half-life the likelihood is concave in (c, n), and is maximised there; the
half-life is then found along its profile.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from engine.lab.market import Floats, Ints

#: Half-lives looked at: from this share of a step or mean gap on, up to the whole span.
_SHORTEST = 0.1
_GRID = 24
#: Relative step of the half-life in derivatives.
_NUDGE = 1e-4
_ROUNDS_MAX = 200
#: Intensities below this have no likelihood worth the name; its square is still a number.
_RATE_MIN = 1e-140


@dataclass(frozen=True)
class HawkesFit:
    """What maximum likelihood found.

    Attributes
    ----------
    branching : float
        n: events that one event sets off.
    standard_error : float
        Of n, by the Fisher information with the other parameters free; NaN on the edge n = 0.
    baseline : tuple of float
        c: events a second from outside, per unit of each column of the drive.
    half_life_s : float
        Of the excitation.
    log_likelihood, log_likelihood_poisson : float
        Of the fit, and of the best fit with n = 0.
    """

    branching: float
    standard_error: float
    baseline: tuple[float, ...]
    half_life_s: float
    log_likelihood: float
    log_likelihood_poisson: float

    @property
    def interval(self) -> tuple[float, float]:
        """95 % confidence interval of the branching ratio (normal)."""
        half = 1.96 * self.standard_error
        return self.branching - half, self.branching + half


_NOTHING = HawkesFit(float("nan"), float("nan"), (), float("nan"), float("nan"), float("nan"))


def fit_counts(counts: Ints, step_s: float = 1.0, drive: Floats | None = None) -> HawkesFit:
    """Fit a Hawkes process in discrete time to counts.

    Parameters
    ----------
    counts : array of int
        Events in each step.
    step_s : float
    drive : array of float, shape (steps,) or (steps, columns), optional
        What the baseline is made of, not negative; a constant where left out.

    Returns
    -------
    HawkesFit
        NaN where there are fewer than ten events, or some that nothing could have set off.

    Notes
    -----
    Formula: maximum of sum over k of N_k ln lambda_k - lambda_k.
    Complexity: O(steps) for each half-life tried, some hundred in all.

    Examples
    --------
    >>> rng = np.random.default_rng(5)
    >>> fit = fit_counts(rng.poisson(2.0, 2_000))
    >>> bool(fit.branching < 0.15)
    True
    """
    from scipy.signal import lfilter

    counted = np.asarray(counts, np.float64)
    columns = _columns(drive, len(counted))
    if counted.sum() < 10 or len(counted) < 10:
        return _NOTHING
    before = np.concatenate([[0.0], counted[:-1]])

    def excitation(half_life: float) -> Floats:
        keep = 2.0 ** (-1.0 / half_life)
        return np.asarray(lfilter([1 - keep], [1.0, -keep], before), np.float64)

    fit = _Fit(counted, columns, columns.sum(axis=0), excitation,
               lambda half_life: float(excitation(half_life).sum()), counts_are_bins=True)
    return fit.best(_SHORTEST, float(len(counted)), step_s)


def fit_times(times_s: Floats, end_s: float) -> HawkesFit:
    """Fit a Hawkes process with a constant baseline to the times of events.

    Parameters
    ----------
    times_s : array of float
        Ascending and distinct, from 0 on.
    end_s : float
        How long was observed.

    Returns
    -------
    HawkesFit
        NaN where there are fewer than ten events.

    Raises
    ------
    ValueError
        Times that do not ascend, repeat, or lie outside. Events that share their times are
        counts: `fit_counts`.

    Notes
    -----
    Formula: maximum of sum over i of ln lambda(t_i) - integral of lambda from 0 to `end_s`.
    Complexity: O(events) for each half-life tried, some hundred in all.
    """
    times = np.asarray(times_s, np.float64)
    if len(times) and ((np.diff(times) <= 0).any() or times[0] < 0 or times[-1] > end_s):
        raise ValueError("times must ascend, be distinct, and lie between 0 and end_s")
    if len(times) < 10:
        return _NOTHING
    gaps = np.diff(times).tolist()

    def excitation(half_life: float) -> Floats:
        decay, state = np.log(2.0) / half_life, 0.0
        out = [0.0]
        for kept in np.exp(-decay * np.array(gaps)).tolist():
            state = kept * (state + decay)
            out.append(state)
        return np.array(out)

    def compensator(half_life: float) -> float:
        return float(-np.expm1(-np.log(2.0) / half_life * (end_s - times)).sum())

    ones = np.ones((len(times), 1))
    fit = _Fit(np.ones(len(times)), ones, np.array([end_s]), excitation, compensator,
               counts_are_bins=False)
    return fit.best(_SHORTEST * float(np.median(gaps)), end_s, 1.0)


def _columns(drive: Floats | None, steps: int) -> Floats:
    if drive is None:
        return np.ones((steps, 1))
    columns = np.asarray(drive, np.float64).reshape(steps, -1)
    if not np.isfinite(columns).all() or (columns < 0).any():
        raise ValueError("a drive is finite and not negative")
    kept = columns[:, columns.sum(axis=0) > 0]
    return kept if kept.shape[1] else np.ones((steps, 1))


class _Fit:
    """Maximises sum of weight x ln(design . c) - integral . c along the half-life."""

    def __init__(
        self, weight: Floats, columns: Floats, integrals: Floats,
        excitation: Callable[[float], Floats], compensator: Callable[[float], float],
        *, counts_are_bins: bool,
    ) -> None:
        self._weight, self._columns, self._integrals = weight, columns, integrals
        self._excitation, self._compensator = excitation, compensator
        self._counts_are_bins = counts_are_bins

    def best(self, shortest: float, longest: float, unit_s: float) -> HawkesFit:
        from scipy.optimize import minimize_scalar

        poisson, _ = self._linear(self._columns, self._integrals)
        grid = np.geomspace(shortest, longest, _GRID)
        values = [self._at(half_life)[0] for half_life in grid]
        top = int(np.argmax(values))
        if values[top] == -float("inf"):
            return _NOTHING
        low, high = grid[max(top - 1, 0)], grid[min(top + 1, _GRID - 1)]
        found = minimize_scalar(
            lambda log_half_life: min(-self._at(float(np.exp(log_half_life)))[0], 1e15),
            bounds=(np.log(low), np.log(high)), method="bounded", options={"xatol": 1e-4})
        half_life = float(np.exp(found.x))
        value, coefficients = self._at(half_life)
        if value <= poisson:
            value, branching = poisson, 0.0
        else:
            branching = float(coefficients[-1])
        return HawkesFit(
            branching, self._standard_error(half_life, coefficients) if branching else float("nan"),
            tuple((coefficients[:-1] / unit_s).tolist()), half_life * unit_s, value, poisson)

    def _at(self, half_life: float) -> tuple[float, Floats]:
        design = np.column_stack([self._columns, self._excitation(half_life)])
        return self._linear(design, np.append(self._integrals, self._compensator(half_life)))

    # Projected Newton steps; where one does not help, a step of expectation-maximisation does.
    # By einsum throughout: threads of a BLAS cost more than so few columns are worth.
    def _linear(self, design: Floats, integrals: Floats) -> tuple[float, Floats]:
        weight = self._weight
        some = weight > 0
        rows, held = design[some], weight[some]
        # Columns are scaled so that each alone would explain all events with 1.
        scale = np.where(integrals > 0, weight.sum() / np.maximum(integrals, 1e-300), 0.0)
        rows, total = rows * scale, np.where(integrals > 0, weight.sum(), 1.0)

        def cost(c: Floats) -> tuple[float, Floats]:
            rate = np.einsum("ij,j->i", rows, c)
            if rate.min() < _RATE_MIN:  # events that nothing would have set off
                return float("inf"), rate
            return float((total * c).sum() - (held * np.log(rate)).sum()), rate

        c = np.full(design.shape[1], 1.0 / design.shape[1])
        value, rate = cost(c)
        if value == float("inf"):
            return -value, c * scale
        for _ in range(_ROUNDS_MAX):
            explained = np.einsum("i,ij->j", held / rate, rows)
            gradient = total - explained
            free = (c > 1e-9) | (gradient < 0)
            mine = rows[:, free] / rate[:, None]
            curve = np.einsum("i,ij,ik->jk", held, mine, mine)
            tries = [c * explained / total]
            if np.isfinite(curve).all():
                step = np.zeros_like(c)
                step[free] = np.linalg.lstsq(curve, gradient[free], rcond=None)[0]
                tries += [np.maximum(c - size * step, 0.0) for size in (1.0, 0.25)]
            best = min(((*cost(one), one) for one in tries), key=lambda each: each[0])
            gain = value - best[0]
            if gain > 0:
                value, rate, c = best
            if gain < 1e-9 * (1 + abs(value)):
                break
        return -value, c * scale

    # Fisher information in (c, n, ln half-life): sum of gradients of the intensity, over it.
    def _standard_error(self, half_life: float, coefficients: Floats) -> float:
        excited = self._excitation(half_life)
        slope = (self._excitation(half_life * (1 + _NUDGE)) - excited) / _NUDGE
        gradient = np.column_stack([self._columns, excited, coefficients[-1] * slope])
        rate = np.column_stack([self._columns, excited])
        rate = np.maximum(np.einsum("ij,j->i", rate, coefficients), 1e-300)
        power = 1 if self._counts_are_bins else 2
        keep = rate > 1e-12
        scaled = gradient[keep] / rate[keep, None] ** (power / 2)
        covariance = np.linalg.pinv(np.einsum("ki,kj->ij", scaled, scaled))
        return float(np.sqrt(max(covariance[-2, -2], 0.0)))
