"""Mark prices of all symbols at once: the median of components, in a band around the index.

The formulas are those of `engine.pricing` (docs/pricing.md), for arrays of symbols and one
step at a time. The exact rounding there is what a venue needs; here a step costs a few
microseconds, and a run makes the marks twice: as they are, and as they would be had no
forced trade moved the book.
"""

from __future__ import annotations

import numpy as np

from engine.lab.market import Floats
from engine.lab.scenario import MarkSpec


class MarkMaker:
    """Makes marks of index, best quotes and last trades.

    Parameters
    ----------
    spec : MarkSpec
    first : array of float
        Where every price begins.
    step_s : float
    """

    def __init__(self, spec: MarkSpec, first: Floats, step_s: float) -> None:
        self._spec = spec
        self._basis = np.zeros_like(first)
        # Quotes and last trades of the step before, and the basis by then.
        self._own: tuple[Floats, Floats, Floats, Floats] | None = None
        #: What the latest marks would be with these: what only the index has moved.
        self.held = first
        self._keep = float(np.exp(-step_s / spec.ema_s)) if spec.ema_s > 0 else 0.0

    def step(self, index: Floats, bid: Floats, ask: Floats, last: Floats) -> Floats:
        """Return the marks of one step, not rounded.

        Parameters
        ----------
        index, bid, ask, last : array of float
            In one unit; NaN where a side of the book is empty.

        Notes
        -----
        Formula: basis <- k basis + (1 - k)(mid - index) with k = exp(-step / ema_s), unchanged
        where the book has no mid; mark = median of the components, clipped to
        index (1 +- band).
        """
        mid = (bid + ask) / 2
        has_mid = ~np.isnan(mid)
        fresh = self._keep * self._basis + (1 - self._keep) * (mid - index)
        self._basis = np.where(has_mid, fresh, self._basis)
        own = (bid, ask, last.copy(), self._basis)
        self.held = self._combine(index, *(self._own or own))
        self._own = own
        return self._combine(index, *own)

    def _combine(
        self, index: Floats, bid: Floats, ask: Floats, last: Floats, basis: Floats
    ) -> Floats:
        has_mid = ~np.isnan(bid + ask)
        rows = []
        for name in self._spec.components:
            if name == "index":
                rows.append(index)
            elif name == "basis_ema":
                rows.append(index + basis)
            elif name == "last":
                rows.append(last)
            else:
                middle = np.median(np.stack([bid, ask, last]), axis=0)
                rows.append(np.where(has_mid, middle, last))
        marks = rows[0] if len(rows) == 1 else np.median(np.stack(rows), axis=0)
        if self._spec.band is not None:
            marks = np.clip(marks, index * (1 - self._spec.band), index * (1 + self._spec.band))
        return marks
