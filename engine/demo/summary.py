"""The figures of a demo run, as words and numbers for the terminal and the report."""

from __future__ import annotations

from engine.demo.market import SETTLE, SETTLE_DECIMALS
from engine.demo.run import DemoResult


def money_text(minor: int) -> str:
    """Write an amount in whole units with separators, cut toward zero.

    Examples
    --------
    >>> money_text(-1_234_567_890_000)
    '-1,234,567 USDT'
    """
    sign = "-" if minor < 0 else ""
    return f"{sign}{abs(minor) // 10**SETTLE_DECIMALS:,} {SETTLE}"


def summary_rows(result: DemoResult) -> list[tuple[str, str]]:
    """Return the figures of a run as `(key, value)`, in reading order.

    Parameters
    ----------
    result : DemoResult

    Returns
    -------
    list of tuple
        Without `drift` and `state_hash`, which end every summary.
    """
    collector, facts = result.collector, result.facts
    closed = collector.closed_value
    paid = sum(collector.fund_paid.values())
    return [
        ("feed", result.feed.title),
        ("accounts", f"{result.plan.account_count:,} ({facts.cross_count:,} cross, "
                     f"{facts.isolated_count:,} isolated)"),
        ("positions", f"{facts.position_count:,} ({facts.long_count:,} long)"),
        ("open_notional", money_text(sum(facts.open_value_minor.values()))),
        ("loading_seconds", f"{result.load_s:.1f}"),
        ("run_seconds", f"{result.run_s:.1f}"),
        ("commands", f"{result.command_count:,}"),
        ("marks", f"{collector.mark_count:,}"),
        ("marks_per_second", f"{result.marks_per_second:,.0f}"),
        ("margin_calls", f"{collector.margin_call_count:,}"),
        ("accounts_breached", f"{len(collector.breached):,}"),
        ("liquidation_steps", f"{collector.step_count:,} "
                              f"({collector.tier_step_count:,} above the lowest tier)"),
        ("notional_closed", money_text(sum(closed.values()))),
        ("  through_the_books", money_text(closed["book"])),
        ("  taken_by_the_fund", money_text(closed["fund"])),
        ("  by_adl", money_text(closed["adl"])),
        ("fund_before", money_text(result.fund_start)),
        ("fund_after", money_text(result.fund_end)),
        ("  with_its_positions_at_mark", money_text(result.fund_equity_end)),
        ("  lowest", money_text(result.fund_equity_low)),
        ("fund_paid_deficits", money_text(paid)),
        ("adl_accounts", f"{len(collector.deleveraged):,}"),
    ]
