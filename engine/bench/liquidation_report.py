"""The liquidation benchmark's result as tables."""

from __future__ import annotations

from statistics import median

from engine.bench.liquidation import LiquidationResult
from engine.bench.report import Report, Table

#: What the core is to reach.
AIMS = "200,000 steps a second for 10,000 of 10^6 accounts; 20 ms to rank 100,000 holders"


def liquidation_report(result: LiquidationResult) -> Report:
    """Describe a result.

    Parameters
    ----------
    result : LiquidationResult

    Returns
    -------
    Report
    """
    plan = result.plan
    report = Report(f"liquidations by one tick, {plan.accounts:,} accounts", facts=[
        ("population", f"half long, half short in one of {plan.symbols} symbols "
                       f"(seed {plan.seed})"),
        ("same states", "NO: " + "; ".join(result.disagreements) if result.disagreements else
         f"yes, {plan.repeats} runs of each"),
        *((f"state_hash, {one.breach:,} {one.way}", one.state_hash) for one in result.cascades),
    ])
    table = Table("one tick, worked off whole", (
        "victims", "steps", "trades", "takeovers", "deleveraged", "ms", "steps/s", "us a victim"))
    for one in result.cascades:
        table.add(
            f"{one.breach:,}, {one.way}", f"{one.steps:,}", f"{one.trades:,}",
            f"{one.takeovers:,}", f"{one.deleveraged:,}", f"{one.cpu / 1e6:.1f}",
            f"{one.rate:,.0f}", f"{one.cpu / 1e3 / max(1, one.victims):.2f}")
    ranking = Table("ranking for deleveraging", ("", "ms"))
    ranking.add(
        f"a tick with one victim and {plan.ranked:,} opposing holders",
        f"{median(result.rankings) / 1e6:.2f}")
    report.tables = [table, ranking]
    report.notes += [
        f"aims: {AIMS}",
        "CPU time of the command that sets the mark, the median run; included: finding, "
        "cancelling, closing tier by tier, filing of triggers; events are drained afterwards",
        "book: bids for all; fund: a rich one; deleveraged: neither; mixed: bids and fund for a "
        "third each",
        "excluded: loading, journal, network, names and decimals",
    ]
    report.failures += [f"{report.title}: {what}" for what in result.disagreements]
    return report
