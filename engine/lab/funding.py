"""Funding between longs and shorts: the rate that the premium asks for, and its settlements.

The premium of a step is mid / index - 1, before its marks; where the book has no mid it stays what
it was. With P its mean over the last `FundingSpec.average_s`,

    F = clip(P + clip(I - P, -damper, damper), -cap, cap),

the formula of `engine.pricing.funding` in floats, rounded to 1e-8. Positive: longs pay shorts. A
venue settles a fixed interval's rate; here each settlement takes F whole, at the marks of the step
before, as a command of its own before the marks of its step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from engine.lab.market import MINOR, Floats
from engine.lab.scenario import FundingSpec, Scenario
from engine.messages import RATE_SCALE

if TYPE_CHECKING:
    from engine import Exchange
    from engine.lab.recorder import Run


def rate(premium: Floats, spec: FundingSpec) -> Floats:
    """Return the funding rate of each average premium, in whole 1e-8.

    Examples
    --------
    >>> spec = FundingSpec(interest=0.0001, damper=0.0005, cap=0.02)
    >>> rate(np.array([0.0, 0.0003, -0.003, 0.5]), spec).tolist()
    [0.0001, 0.0001, -0.0025, 0.02]
    """
    pull = np.clip(spec.interest - premium, -spec.damper, spec.damper)
    whole = np.rint(np.clip(premium + pull, -spec.cap, spec.cap) * RATE_SCALE)
    return np.asarray(whole / RATE_SCALE, np.float64)


def averages(premium: Floats, width: int) -> Floats:
    """Return the mean of the last `width` steps at each step, of fewer where there were fewer.

    Examples
    --------
    >>> averages(np.array([[1.0], [3.0], [5.0]]), 2).ravel().tolist()
    [1.0, 2.0, 4.0]
    """
    total = np.concatenate([np.zeros((1, premium.shape[1])), np.cumsum(premium, axis=0)])
    end = np.arange(1, len(total))
    start = np.maximum(end - width, 0)
    return np.asarray((total[end] - total[start]) / (end - start)[:, None], np.float64)


def width(scenario: Scenario) -> int:
    """Return over how many steps the premium is averaged."""
    return max(round(scenario.funding.average_s / scenario.step_s), 1)


class Funding:
    """Follows the premium, and settles where the scenario says so.

    Attributes
    ----------
    premium : array of float, shape (steps, symbols)
        As far as steps went.
    """

    def __init__(self, scenario: Scenario, exchange: Exchange, count: int) -> None:
        self._scenario, self._core = scenario, exchange.core
        self.premium: Floats = np.zeros((scenario.steps, count))

    def step(self, step: int, ts_ns: int, index: Floats, bid: Floats, ask: Floats) -> None:
        """Take in the quotes of a step, and settle if it is time."""
        fresh = (bid + ask) / 2 / index - 1
        self.premium[step] = np.where(np.isnan(fresh), self.premium[max(step - 1, 0)], fresh)
        spec, step_s = self._scenario.funding, self._scenario.step_s
        if not spec.interval_s or (step + 1) * step_s % spec.interval_s >= step_s:
            return
        seen = self.premium[max(step + 1 - width(self._scenario), 0):step + 1]
        rates = rate(averages(seen, len(seen))[-1], spec)
        for symbol, units in enumerate(np.rint(rates * RATE_SCALE).astype(np.int64).tolist()):
            self._core.funding(symbol, units, ts_ns)


def figures_of(run: Run) -> dict[str, float]:
    """Return the figures of funding for the row of a run.

    Returns
    -------
    dict
        ``funding_extreme``: the rate F of the first symbol that was farthest from 0, at any step,
        settled or not; ``funding_paid``: what accounts paid at settlements, settle asset.
    """
    asked = rate(averages(run.lines["premium"], width(run.scenario)), run.scenario.funding)[:, 0]
    return {"funding_extreme": float(asked[np.argmax(np.abs(asked))]),
            "funding_paid": float(np.sum(run.funding["paid"]) / MINOR)}
