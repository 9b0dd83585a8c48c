"""One row of figures for a run, or a run and its twin."""

from __future__ import annotations

import numpy as np

from engine.lab import (
    answers,
    concentration,
    contagion,
    deleveraging,
    exante,
    funding,
    hawkes,
    metrics,
    quality,
)
from engine.lab.causes import Causes, find_causes
from engine.lab.market import MARKS_PER_TICK, MINOR, Floats, Ints
from engine.lab.needs import require
from engine.lab.recorder import Run
from engine.lab.tails import return_figures
from engine.messages import EventKind, InsuranceReason, Side


def first_breaches(run: Run) -> Ints:
    """Return the row of each account's first breach."""
    _, rows = np.unique(np.asarray(run.breaches["account"], np.int64), return_index=True)
    return np.asarray(np.sort(rows), np.int64)


def summarize(run: Run, twin: Run | None = None, causes: Causes | None = None) -> dict[str, float]:
    """Return the figures of a run; money in the settle asset.

    Parameters
    ----------
    run : Run
    twin : Run, optional
        The same scenario with liquidation switched off.
    causes : Causes, optional
        Of the run, if they are known already.

    Raises
    ------
    RunError
        SciPy, of the extra `lab`, is missing.

    Notes
    -----
    docs/lab.md has the list of figures, each with its formula in `engine.lab.metrics`.
    """
    require("scipy")
    causes = find_causes(run) if causes is None else causes
    payers = _payers(run, causes)
    row = {**_liquidations(run, causes), **_prices(run, twin), **payers,
           **deleveraging.figures_of(run, payers["bad_debt"]),
           **quality.figures_of(run, causes),
           **answers.figures_of(run, causes), **concentration.figures_of(run, causes),
           **funding.figures_of(run),
           **_reproduction(run, twin, causes), **exante.figures_of(run),
           **contagion.figures_of(run, causes), **_branching(run, twin)}
    if run.scenario.funds.count:
        row |= return_figures(run)
        row |= return_figures(twin, "_twin") if twin is not None else {}
    return row


def _liquidations(run: Run, causes: Causes) -> dict[str, float]:
    closed, ts = causes.closed / MINOR, np.asarray(run.breaches["ts"], np.int64)
    breaches = run.breaches
    n = len(closed)
    needed = quality.needed(run) / MINOR
    forced = np.abs(run.lines["forced"]).sum()
    return {
        "liquidations": float(n),
        "accounts_liquidated": float(len(first_breaches(run))),
        "liquidated": float(closed.sum()),
        "liquidated_share": float(closed.sum() * MINOR / np.abs(run.population.entry).sum()),
        "by_book": float(causes.book.sum() / MINOR),
        "by_fund": float(causes.fund.sum() / MINOR),
        "by_adl": float(causes.adl.sum() / MINOR),
        "waves": float(metrics.waves(ts).max() + 1) if n else 0.0,
        "generations": float(causes.generation.max() + 1) if n else 0.0,
        "peak_minute_share": metrics.peak_share(ts, closed),
        "participation": float(forced / max(np.nansum(run.lines["volume"]), 1.0)),
        "over_liquidated": float(np.maximum(closed - needed, 0).sum()),
        "size_tail": metrics.tail_exponent(closed),
        "contagion": metrics.contagion_share(
            closed, causes.parent, breaches["moved"], breaches["symbol"]),
        "margin_calls": float((run.records[:, 0] == EventKind.MARGIN_CALL).sum()),
    }


def _prices(run: Run, twin: Run | None) -> dict[str, float]:
    mark = run.lines["mark"][:, 0]
    out = {
        "low": float(mark.min() / mark[0] - 1),
        "index_low": float(run.lines["index"][:, 0].min() / mark[0] - 1),
        "overshoot_share": metrics.overshoot(mark, float(mark[0]), float(mark[-1])),
        "recovery_s": float(metrics.recovery_steps(mark) * run.scenario.step_s),
        "forced_to_depth": forced_to_depth(run),
        "margin_multiplier": float(run.lines["multiplier"].max()),
    }
    if twin is not None:
        out["overshoot_twin"] = metrics.overshoot_counterfactual(mark, twin.lines["mark"][:, 0])
    return out


def forced_to_depth(run: Run) -> float:
    """Return the greatest of lots sold by force in a minute ÷ bids within 1 % before it.

    Depth counts as 1 % of the calm depth at least.
    """
    forced, depth = run.lines["forced"], run.lines["bid_depth"]
    width = max(60 // run.scenario.step_s, 1)
    total = np.concatenate([np.zeros((1, forced.shape[1])), np.cumsum(forced, axis=0)])
    if len(total) <= width:
        return float("nan")
    rolling = total[width:] - total[:-width]
    before = np.maximum(depth[:len(rolling)], 0.01 * run.depth_lots)
    return float(np.nanmax(rolling / before))


def adl_haircuts(run: Run) -> tuple[Ints, Floats]:
    """Return accounts and what ADL cost each against the mark, in the settle asset."""
    adl, _, cost = deleveraging.closes(run)
    accounts, at = np.unique(adl["account"], return_inverse=True)
    total = np.bincount(at, cost, len(accounts))
    return np.asarray(accounts, np.int64), np.asarray(total, np.float64)


def _payers(run: Run, causes: Causes) -> dict[str, float]:
    taken = run.table(EventKind.LIQUIDATION_TAKEOVER)
    mark = run.marks_at(taken["seq"], taken["symbol"])
    price = taken["price"].astype(np.float64) * MARKS_PER_TICK
    debt = metrics.shortfall(price, mark, taken["quantity"], taken["side"] == Side.SELL)
    fund = run.clock["fund"].astype(np.float64)
    start = float(run.scenario.insurance) * MINOR
    balances = np.concatenate([[start], fund])
    insured = run.table(EventKind.INSURANCE)
    paid = insured["delta"][insured["reason"] == InsuranceReason.DEFICIT]
    _, haircuts = adl_haircuts(run)
    social = run.table(EventKind.SOCIALIZED_LOSS)
    bad_debt = float(np.maximum(debt, 0).sum() / MINOR + np.maximum(haircuts, 0).sum())
    return {
        "bad_debt": bad_debt,
        "fund_start": start / MINOR, "fund_end": float(balances[-1] / MINOR),
        "fund_low": float(balances.min() / MINOR),
        "fund_drawdown": metrics.drawdown(balances),
        "fund_survived": float(balances.min() > 0),
        "fund_paid": float(-paid.sum() / MINOR),
        "fund_income": float(insured["delta"][insured["delta"] > 0].sum() / MINOR),
        "fund_coverage": start / MINOR / bad_debt if bad_debt > 0 else float("nan"),
        "fund_exhausted_s": float((fund <= 0).argmax() + 1) * run.scenario.step_s
        if (fund <= 0).any() else float("nan"),
        "adl_accounts": float(len(haircuts)),
        "adl_haircut": float(haircuts.sum()),
        "adl_gini": metrics.gini(np.maximum(haircuts, 0)),
        "adl_effective_accounts": 1 / metrics.herfindahl(np.maximum(haircuts, 0))
        if np.maximum(haircuts, 0).sum() > 0 else float("nan"),
        "collateral_converted": float(
            run.table(EventKind.COLLATERAL_CONVERTED)["value"].sum() / MINOR),
        "socialized": float(social["amount"].sum() / MINOR),
    }


def _reproduction(run: Run, twin: Run | None, causes: Causes) -> dict[str, float]:
    first = first_breaches(run)
    notional = np.asarray(run.breaches["notional"], np.float64)[first]
    out = {
        "reproduction": metrics.reproduction_tagged(causes.closed, causes.parent),
        "reproduction_excess": metrics.reproduction_excess(notional, causes.excess[first]),
        "reproduction_count": float((causes.parent >= 0).mean()) if len(first) else float("nan"),
        "breached": float(notional.sum() / MINOR),
    }
    if twin is not None:
        without = np.asarray(twin.breaches["notional"], np.float64)[first_breaches(twin)].sum()
        total = float(notional.sum())
        out["breached_twin"] = float(without / MINOR)
        out["reproduction_twin"] = metrics.reproduction_counterfactual(total, float(without))
        out["amplification"] = metrics.amplification(total, float(without))
        excess = out["reproduction_excess"]
        out["amplification_by_causes"] = 1 / (1 - excess) if excess < 1 else float("nan")
    return out


def counts(run: Run, rows: Ints | None = None) -> Ints:
    """Return how many pools became due in each step, all or those of some rows."""
    steps = np.asarray(run.breaches["step"], np.int64)
    return np.bincount(steps if rows is None else steps[rows], minlength=run.scenario.steps)


def _branching(run: Run, twin: Run | None) -> dict[str, float]:
    seen, step_s = counts(run), run.scenario.step_s
    out = {"branching_of_counts": metrics.branching_of_counts(seen),
           "branching_mle": hawkes.fit_counts(seen, step_s).branching}
    if twin is not None:
        outside = counts(twin, first_breaches(twin)).astype(np.float64)
        drive = np.column_stack([np.ones(len(outside)), outside])
        out["branching_mle_driven"] = hawkes.fit_counts(seen, step_s, drive).branching
    return out
