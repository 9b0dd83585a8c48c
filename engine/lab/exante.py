"""R0(p): the reproduction number that positions and books promise before anything happens.

    R0(p) = m(p) lambda(p),   m(p) = N(p - h, p) / h,   lambda(p) = rho p,

N(a, b) the notional of longs with a liquidation price from a to below b, by the liquidation map of
the first step; h a hundredth and a quarter of the first mark; rho the relative move of the price
per unit of notional sold. Below p lies what the next fall by h closes, and lambda h is the notional
whose sale makes such a fall: where R0(p) > 1, selling what a fall closes makes a larger fall.

Two rho are there: that of the makers' quotes, which give way to flow (`MakerSpec.impact` per calm
depth, the one that acts on marks), and that of the book as it stands.

The map knows one symbol at a time, falling: other marks are as they are, the move does not fade,
nobody answers, and all that is due is sold in the book. So R0 is what R by causes would be, and
what the twin says, where these hold; elsewhere it is the map and they are the territory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.lab import metrics
from engine.lab.market import MINOR, Floats
from engine.lab.recorder import DEPTH_SHARE, MAP_BUCKET_PPM, Run
from engine.liquidation_map import LONG, PPM

if TYPE_CHECKING:
    import pandas as pd

#: h, in buckets of the map: what lies in one of them alone is a matter of chance.
_WIDTH_BUCKETS = 5
#: R0 is looked at so many buckets below the first mark, 15 %, or down to the lowest mark.
_BUCKETS = 60


def notional_below(table: Any, prices: Floats) -> Floats:
    """Return the notional of a liquidation map that lies below each price, settle asset.

    Each bucket's notional is spread evenly over it.
    """
    low = table["price_low"].astype(np.float64)
    width = np.maximum(table["price_high"] - low, 1.0)
    share = np.clip((np.asarray(prices)[:, None] - low) / width, 0.0, 1.0)
    return np.asarray(share @ (table["notional"] / MINOR), np.float64)


def impact_of_quotes(run: Run, symbol: int = 0) -> float:
    """Return rho of the makers' quotes: `MakerSpec.impact` / calm depth in money."""
    calm = run.depth_lots[symbol] * run.lines["mark"][0, symbol] / MINOR
    return float(run.scenario.makers.impact / calm)


def impact_of_book(prices: Floats, notional: Floats, reach: float = DEPTH_SHARE) -> float:
    """Return rho of a book: how far, per unit of notional, selling down to `reach` moves the bid.

    Parameters
    ----------
    prices, notional : array of float
        Bids, in any order; `reach` is counted from the best.

    Notes
    -----
    Formula: rho = reach / sum of notional at prices of at least best (1 - reach); infinite for an
    empty book.

    Examples
    --------
    >>> impact_of_book(np.array([100.0, 99.5, 98.0]), np.array([300.0, 200.0, 900.0]), 0.01)
    2e-05
    """
    if not len(prices):
        return float("inf")
    within = float(notional[prices >= prices.max() * (1 - reach)].sum())
    return reach / within if within > 0 else float("inf")


def reproduction_at(table: Any, prices: Floats, width: float, impact: float) -> Floats:
    """Return R0 of a falling price at each of some prices.

    Parameters
    ----------
    table : array
        Of longs, fields as `engine.liquidation_map.MAP_FIELDS`.
    prices : array of float
        In the unit of the table.
    width : float
        h, in the same unit.
    impact : float
        rho, per unit of the settle asset.

    Notes
    -----
    Formula: R0(p) = N(p - h, p) / h x rho p.
    """
    below = notional_below(table, prices) - notional_below(table, prices - width)
    return metrics.reproduction_map(prices, below, width, impact)


@dataclass(frozen=True)
class Promise:
    """R0 of one symbol of a run, at edges of buckets below the first mark.

    Attributes
    ----------
    prices : array of float, mark ticks
        Falling, the first mark first.
    notional : array of float
        To be liquidated between this price and the next, settle asset.
    r0, r0_book : array of float
        With rho of the makers' quotes, and of the bids within 1 % before the first marks.
    """

    prices: Floats
    notional: Floats
    r0: Floats
    r0_book: Floats


def promise(run: Run, symbol: int = 0) -> Promise:
    """Return R0 of a symbol, as things stood after the first step."""
    table, mark = run.first_map[symbol], float(run.lines["mark"][0, symbol])
    table = table[(table["side"] == LONG) & (table["price_low"] < mark)]
    bucket = mark * MAP_BUCKET_PPM / PPM
    fallen = (mark - run.lines["mark"][:, symbol].min()) / bucket
    count = max(_BUCKETS, int(np.ceil(fallen))) + 1
    prices: Floats = mark - bucket * np.arange(count, dtype=np.float64)
    depth = max(run.lines["bid_depth"][0, symbol], 0.0) * mark / MINOR
    book = DEPTH_SHARE / depth if depth > 0 else float("inf")
    width = bucket * _WIDTH_BUCKETS
    unit = reproduction_at(table, prices, width, 1.0)
    passed = notional_below(table, prices) - notional_below(table, prices - bucket)
    # Where nothing waits nothing follows, even in an empty book.
    with_book = np.where(unit > 0, unit * book, 0.0) if np.isfinite(book) else np.where(
        unit > 0, np.inf, 0.0)
    return Promise(prices, passed, unit * impact_of_quotes(run, symbol), with_book)


def mean_over_path(prices: Floats, notional: Floats, r0: Floats, low: float) -> float:
    """Return the mean of R0 over the way down to a low, by the notional that waits there.

    Formula: sum of R0(p) N(p) / sum of N(p) over p above the low: each dollar that the fall went
    through, with what one more dollar there was to set off. NaN where it went through none.

    Examples
    --------
    >>> mean_over_path(np.array([100.0, 99.0, 98.0]), np.array([10.0, 30.0, 50.0]),
    ...                np.array([0.2, 0.4, 0.9]), 98.5)
    0.35
    """
    passed = prices > low
    total = float(notional[passed].sum())
    return float((r0 * notional)[passed].sum()) / total if total else float("nan")


def figures_of(run: Run) -> dict[str, float]:
    """Return R0 of the first symbol for the row of a run.

    Returns
    -------
    dict
        ``r0_start``: at the first mark; ``r0_max``, ``r0_max_at``: the greatest below it, within
        15 % or down to the lowest mark, and where, as a share of the first mark; ``r0_low``: at the
        lowest mark, between two edges by a line; ``r0_path``: the mean over the way there
        (`mean_over_path`); ``r0_book``: the greatest with rho of the book.
    """
    mine, low = promise(run), float(run.lines["mark"][:, 0].min())
    first, most = float(mine.prices[0]), int(np.argmax(mine.r0))
    return {
        "r0_start": float(mine.r0[0]), "r0_max": float(mine.r0[most]),
        "r0_max_at": float(mine.prices[most] / first - 1),
        "r0_low": float(np.interp(low, mine.prices[::-1], mine.r0[::-1])),
        "r0_path": mean_over_path(mine.prices, mine.notional, mine.r0, low),
        "r0_book": float(mine.r0_book.max()),
    }


def frame(run: Run) -> pd.DataFrame:
    """Return R0 of all symbols as a table: ``symbol``, and the columns of `Promise`."""
    import pandas as pd

    parts = []
    for symbol, spec in enumerate(run.scenario.symbols):
        mine = promise(run, symbol)
        parts.append(pd.DataFrame({
            "seq": int(run.clock["seq"][0]), "symbol": spec.name, "price": mine.prices,
            "notional": mine.notional, "r0": mine.r0, "r0_book": mine.r0_book}))
    return pd.concat(parts, ignore_index=True)
