"""The market during a cascade: sizes of trees, spreads, basis, recovery, slippage, queues."""

from __future__ import annotations

import numpy as np

from engine.lab import metrics
from engine.lab.causes import Causes
from engine.lab.market import MARKS_PER_TICK, MINOR, Floats, Ints, in_force
from engine.lab.recorder import Run
from engine.messages import EventKind, Side

#: A slippage at risk is this quantile.
RISK_LEVEL = 0.95
#: The price that stays: median over this last part of a run.
_LAST = 0.1


# --- sizes --------------------------------------------------------------------------------


def tree_roots(parent: Ints) -> Ints:
    """Return the root of each liquidation's tree; parents come before children.

    Examples
    --------
    >>> tree_roots(np.array([-1, 0, 1, -1, 3])).tolist()
    [0, 0, 0, 3, 3]
    """
    root = np.arange(len(parent))
    for at in np.flatnonzero(parent >= 0).tolist():
        root[at] = root[parent[at]]
    return root


def tree_sizes(parent: Ints, notional: Floats) -> Floats:
    """Return the notional of each cascade: a root with all that it pushed, step by step."""
    root = tree_roots(parent)
    return np.asarray(np.bincount(root, notional)[np.unique(root)] if len(root) else notional)


def tree_durations(parent: Ints, ts_ns: Ints) -> Floats:
    """Return seconds from each cascade's first liquidation to its last, in order of roots."""
    root = tree_roots(parent)
    roots, at = np.unique(root, return_inverse=True)
    last = np.zeros(len(roots), np.int64)
    np.maximum.at(last, at, ts_ns)
    return np.asarray((last - ts_ns[roots]) / 1e9, np.float64)


def wave_gap(ts_ns: Ints, gap_s: float = 5.0) -> float:
    """Return the median of the quiet times between bursts, s; NaN with a single burst.

    Examples
    --------
    >>> wave_gap(np.array([0, 1, 9, 10, 30]) * 10**9)
    14.0
    """
    gaps = np.diff(ts_ns) / 1e9
    return float(np.median(gaps[gaps > gap_s])) if (gaps > gap_s).any() else float("nan")


def size_exponent(sizes: Floats, durations: Floats) -> float:
    """Return gamma in S ~ T^gamma of avalanches: slope of ln S on ln T where T > 0.

    NaN with fewer than five of them, or where all last equally long.
    """
    some = (durations > 0) & (sizes > 0)
    x = np.log(durations[some])
    if some.sum() < 5 or np.ptp(x) == 0:
        return float("nan")
    return float(np.polyfit(x, np.log(sizes[some]), 1)[0])


def best_window_share(ts_ns: Ints, notional: Floats, window_s: float) -> float:
    """Return the largest share of the notional that falls within any window of a length.

    Examples
    --------
    >>> best_window_share(np.array([0, 5, 9, 30]) * 10**9, np.ones(4), 10.0)
    0.75
    """
    if not len(ts_ns):
        return float("nan")
    total = np.concatenate([[0.0], np.cumsum(notional)])
    end = np.searchsorted(ts_ns, ts_ns + int(window_s * 1e9), "left")
    return float((total[end] - total[:-1]).max() / total[-1]) if total[-1] else float("nan")


# --- price, books -------------------------------------------------------------------------


def overshoot_ratio(price: Floats, reference: float, permanent: float) -> float:
    """Return O = (p_ref - p_low) / (p_ref - p_perm): how many times the lasting fall it was.

    Examples
    --------
    >>> overshoot_ratio(np.array([100.0, 90.0, 95.0]), 100.0, 95.0)
    2.0
    """
    lasting = reference - permanent
    return (reference - float(price.min())) / lasting if lasting > 0 else float("nan")


def level_recovery_steps(level: Floats, share: float = 0.5) -> float:
    """Return steps from the low until a share of the way back to the first level is made.

    Formula: first t after the low with d_t >= d_low + share (d_0 - d_low); NaN: never.
    """
    if not np.isfinite(level).any():
        return float("nan")
    low = int(np.nanargmin(level))
    goal = level[low] + share * (level[0] - level[low])
    found = np.flatnonzero(level[low:] >= goal)
    return float(found[0]) if len(found) else float("nan")


def spread_bps(bid: Floats, ask: Floats) -> Floats:
    """Return the quoted spread, (ask - bid) / mid in 1e-4; NaN where a side is empty."""
    return np.asarray((ask - bid) / (ask + bid) * 2e4)


def slippage_at_risk(slippage: Floats, weight: Floats, level: float = RISK_LEVEL) -> float:
    """Return SaR: the slippage that only 1 - level of the weight exceeds.

    Examples
    --------
    >>> slippage_at_risk(np.array([3.0, 1.0, 2.0]), np.array([1.0, 1.0, 2.0]), 0.7)
    2.0
    """
    if not len(slippage):
        return float("nan")
    order = np.argsort(slippage)
    reached = np.cumsum(weight[order]) / weight.sum()
    return float(slippage[order][np.searchsorted(reached, level - 1e-12)])


def expected_slippage(slippage: Floats, weight: Floats, level: float = RISK_LEVEL) -> float:
    """Return ESaR: the mean slippage, by weight, from the slippage at risk on."""
    at_risk = slippage_at_risk(slippage, weight, level)
    beyond = slippage >= at_risk
    return _mean(slippage[beyond], weight[beyond])


def pending(start: Ints, end: Ints, notional: Floats, steps: int) -> Floats:
    """Return the notional whose liquidation is under way, by step; `end` is its last step.

    Examples
    --------
    >>> pending(np.array([0, 1]), np.array([1, 1]), np.array([2.0, 3.0]), 3).tolist()
    [2.0, 5.0, 0.0]
    """
    change = np.bincount(start, notional, steps + 1) - np.bincount(
        np.minimum(end + 1, steps), notional, steps + 1)
    return np.asarray(np.cumsum(change)[:steps])


def by_size(part: Floats, whole: Floats, size: Floats, groups: int = 4) -> Floats:
    """Return sum of part ÷ sum of whole by equal groups of accounts, smallest first.

    What liquidation costs beyond need, or beyond the margin, may weigh on the small ones.

    Examples
    --------
    >>> by_size(np.array([1.0, 0.0]), np.array([2.0, 4.0]), np.array([5.0, 9.0]), 2).tolist()
    [0.5, 0.0]
    """
    out = []
    for rows in np.array_split(np.argsort(size, kind="stable"), groups):
        total = float(whole[rows].sum())
        out.append(float(part[rows].sum()) / total if total else float("nan"))
    return np.array(out)


# --- the row of a run ---------------------------------------------------------------------


def figures_of(run: Run, causes: Causes) -> dict[str, float]:
    """Return the figures of sizes and of the market for the row of a run."""
    return {**_sizes(run, causes), **_market(run), **_slippage(run), **_fairness(run, causes)}


def _sizes(run: Run, causes: Causes) -> dict[str, float]:
    ts, closed = np.asarray(run.breaches["ts"], np.int64), causes.closed / MINOR
    sizes = tree_sizes(causes.parent, closed)
    durations = tree_durations(causes.parent, ts)
    steps = np.asarray(run.breaches["step"], np.int64)
    by_step = np.bincount(steps, closed, run.scenario.steps).astype(np.float64)
    return {
        "trees": float(len(sizes)),
        "largest_tree_share": float(sizes.max() / sizes.sum()) if sizes.sum() else float("nan"),
        "longest_tree_s": float(durations.max(initial=0.0)),
        "tree_tail": metrics.tail_exponent(sizes),
        "size_exponent": size_exponent(sizes, durations),
        "best_40_min_share": best_window_share(ts, closed, 2_400.0),
        "time_gini": metrics.gini(by_step) if len(ts) else float("nan"),
        "peak_rate": float(by_step.max() / run.scenario.step_s),
        "wave_gap_s": wave_gap(ts),
    }


def _market(run: Run) -> dict[str, float]:
    lines, step_s = run.lines, run.scenario.step_s
    mark, index, last = (lines[name][:, 0] for name in ("mark", "index", "last"))
    spread = spread_bps(lines["bid"][:, 0], lines["ask"][:, 0])
    stays = float(np.median(mark[-max(int(len(mark) * _LAST), 1):]))
    depth = lines["bid_depth"][:, 0]
    return {
        "overshoot_ratio": overshoot_ratio(mark, float(mark[0]), stays),
        "recovery_90_s": float(metrics.recovery_steps(mark, 0.9) * step_s),
        "depth_low": float(np.nanmin(depth) / run.depth_lots[0]),
        "depth_recovery_s": level_recovery_steps(depth) * step_s,
        "spread_recovery_s": level_recovery_steps(-spread) * step_s,
        "halted_share": float((~np.isnan(in_force(run.scenario, "outage"))).mean()),
        "spread_bps": float(np.nanmean(spread)), "spread_bps_max": float(np.nanmax(spread)),
        "one_sided_share": float(np.isnan(spread).mean()),
        "basis_max": float(np.abs(mark / index - 1).max()),
        "last_to_mark_max": float(np.abs(last / mark - 1).max()),
        "queue_to_depth": _queue_to_depth(run),
    }


def _queue_to_depth(run: Run) -> float:
    """Greatest of notional in liquidation ÷ bids and asks within 1 %, calm depth / 100 at least."""
    start = np.asarray(run.breaches["step"], np.int64)
    finished = run.table(EventKind.LIQUIDATION_FINISHED)
    end = np.full(len(start), run.scenario.steps - 1)
    if len(finished["seq"]):
        # A pool's next finish after its breach; both are in order of the records.
        accounts, row = np.asarray(run.breaches["account"], np.int64), run.breaches["row"]
        order = np.lexsort((finished["row"], finished["account"]))
        keys = (finished["account"] * 2**32 + finished["row"])[order]
        place = np.searchsorted(keys, accounts * 2**32 + np.asarray(row, np.int64))
        found = order[np.minimum(place, len(order) - 1)]
        known = (place < len(order)) & (finished["account"][found] == accounts)
        at = np.searchsorted(run.clock["seq"], finished["seq"][found], "right") - 1
        end = np.where(known, np.clip(at, start, run.scenario.steps - 1), end)
    waiting = pending(start, end, np.asarray(run.breaches["notional"], np.float64),
                      run.scenario.steps)
    depth = np.maximum(run.lines["bid_depth"] + run.lines["ask_depth"], 0.01 * run.depth_lots)
    return float(np.nanmax(waiting / (depth * run.lines["mark"]).sum(axis=1)))


def _slippage(run: Run) -> dict[str, float]:
    steps = run.table(EventKind.LIQUIDATION_STEP)
    some = steps["filled"] > 0
    lots, value = (np.abs(steps[name][some]).astype(np.float64)
                   for name in ("filled", "filled_value"))
    is_sale = steps["side"][some] == Side.SELL
    slips = metrics.slippage_bps(
        value, lots, run.marks_at(steps["seq"][some], steps["symbol"][some]), is_sale)
    limit = steps["limit_price"][some].astype(np.float64) * MARKS_PER_TICK
    inside = -metrics.slippage_bps(value, lots, np.maximum(limit, 1.0), is_sale)
    return {
        "slippage_bps": _mean(slips, value),
        "slippage_at_risk_bps": slippage_at_risk(slips, value),
        "slippage_expected_bps": expected_slippage(slips, value),
        "slippage_quote": float((slips * value).sum() / 1e4 / MINOR),
        "inside_limit_bps": _mean(inside, value),
    }


def _mean(values: Floats, weight: Floats) -> float:
    return float(np.average(values, weights=weight)) if len(values) else float("nan")


def needed(run: Run) -> Floats:
    """Return the least that each liquidation had to close at the mark, minor units."""
    rows = run.breaches
    return metrics.needed_to_restore(
        np.maximum(np.asarray(rows["notional"], np.float64), 1.0),
        np.asarray(rows["equity"], np.float64),
        np.maximum(np.asarray(rows["maintenance"], np.float64), 1.0))


def _fairness(run: Run, causes: Causes) -> dict[str, float]:
    rows = run.breaches
    if not len(rows["seq"]):
        return {"over_liquidated_small": float("nan"), "over_liquidated_large": float("nan")}
    over = np.maximum(causes.closed - needed(run), 0)
    shares = by_size(over, np.maximum(causes.closed, 1.0), np.asarray(rows["notional"], np.float64))
    return {"over_liquidated_small": float(shares[0]), "over_liquidated_large": float(shares[-1])}
