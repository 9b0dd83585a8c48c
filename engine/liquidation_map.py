"""Where liquidations would be: open positions by their liquidation price.

Every position counts at its own exact liquidation price, which is that of its pool with all
other marks as they are. So the map says what would be due if the mark went there at once and
nothing else moved; it says nothing of what the liquidations themselves would do to the price.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Table = npt.NDArray[np.void]
Ints = npt.NDArray[np.int64]

#: Parts in a whole, of the width of a bucket.
PPM = 10**6
#: Fields of a row of the map. Prices are mark ticks, a bucket holds those from `price_low` to
#: below `price_high`; `side` is 1 long, 2 short; `notional` is at the current mark, in minor
#: units, `quantity` in lots.
MAP_FIELDS: tuple[tuple[str, str], ...] = (
    ("price_low", "i8"), ("price_high", "i8"), ("side", "i8"), ("notional", "i8"),
    ("quantity", "i8"), ("accounts", "i8"),
)
LONG, SHORT = 1, 2
#: A bucket's edges stay within int64.
_WIDTH_MAX = 2**61


def bucket_sums(
    positions: Table, mark: int, bucket_ppm: int, edges: Sequence[int] | None = None
) -> Table:
    """Sum up positions of one symbol by liquidation price.

    Parameters
    ----------
    positions : array
        Of `positions_array`, with prices.
    mark : int, mark ticks
        Where a bucket begins; the others are whole widths away.
    bucket_ppm : int
        Width of a bucket in millionths of the mark, at least one mark tick.
    edges : sequence of int, mark ticks, optional
        Ascending; then buckets lie between them, and what lies outside is left out.

    Returns
    -------
    array, fields as `MAP_FIELDS`
        Buckets with a position, by price, longs before shorts.

    Raises
    ------
    ValueError
        A width that is not positive, or edges that do not ascend.

    Notes
    -----
    Complexity: O(positions x log positions).
    """
    if bucket_ppm <= 0:
        raise ValueError(f"bucket_ppm must be positive, not {bucket_ppm}")
    at_risk = positions[positions["liquidation_price"] > 0]
    prices: Ints = at_risk["liquidation_price"].astype(np.int64)
    if edges is None:
        width = min(max(1, mark * bucket_ppm // PPM), _WIDTH_MAX)
        number = (prices - mark) // width
        low, high = mark + number * width, mark + (number + 1) * width
    else:
        bounds = np.array(edges, np.int64)
        if len(bounds) < 2 or (np.diff(bounds) <= 0).any():
            raise ValueError("edges must be two or more, ascending")
        number = np.searchsorted(bounds, prices, "right") - 1
        inside = (number >= 0) & (number < len(bounds) - 1)
        at_risk, number = at_risk[inside], number[inside]
        low, high = bounds[number], bounds[number + 1]
    side = np.where(at_risk["quantity"] > 0, LONG, SHORT)
    order = np.lexsort((at_risk["account"], side, low))
    return _sums(at_risk[order], low[order], high[order], side[order])


def _sums(positions: Table, low: Ints, high: Ints, side: Ints) -> Table:
    """Rows of runs of the same bucket and side; the positions are sorted by them."""
    starts = np.empty(len(positions), np.bool_)
    starts[:1] = True
    starts[1:] = (np.diff(low) != 0) | (np.diff(side) != 0)
    heads = np.flatnonzero(starts)
    out = np.zeros(len(heads), list(MAP_FIELDS))
    if not len(heads):
        return out
    out["price_low"], out["price_high"], out["side"] = np.maximum(low, 0)[heads], high[heads], (
        side[heads])
    out["notional"] = np.add.reduceat(positions["notional"], heads)
    out["quantity"] = np.add.reduceat(np.abs(positions["quantity"]), heads)
    fresh = starts.copy()
    fresh[1:] |= np.diff(positions["account"]) != 0
    out["accounts"] = np.add.reduceat(fresh.astype(np.int64), heads)
    return out
