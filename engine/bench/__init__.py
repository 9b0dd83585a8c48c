"""The canonical benchmarks: one workload each, a tiny and a full size, a hash of the result.

`engine bench` runs them from the command line, `bench/` under pytest-benchmark, and
`tests/bench/` in their smoke size with the tests. docs/benchmarks.md has method and figures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.bench.report import Report

NAMES = ("mark", "risk", "book", "market", "liquidation", "journal", "serve")
SIZES = ("smoke", "full")


def stream_names() -> tuple[str, ...]:
    """Return the streams of the book benchmark."""
    from engine.bench.stream import MIXES

    return tuple(MIXES)


def reports(
    name: str, size: str, accounts: int | None = None,
    progress: Callable[[str], None] = lambda note: None,
    commands: int | None = None, streams: Sequence[str] = (), largest: bool = False,
    page: Path | None = None, breaches: Sequence[int] = (),
    serve: Mapping[str, Any] | None = None,
) -> Iterator[Report]:
    """Run benchmarks and yield a report of each as it ends.

    Parameters
    ----------
    name : {"mark", "risk", "book", "market", "liquidation", "journal", "serve", "all"}
    size : {"smoke", "full"}
    accounts : int, optional
        Of the mark, the risk and the liquidation benchmark. Default: 2,000 for smoke; 10^4,
        10^5 and 10^6 for full; of the last 400 and 10^6.
    progress : callable
        Told what comes next.
    commands : int, optional
        Of each stream of the book benchmark. Default: 3,000 for smoke, 10^6 for full.
    streams : sequence of str, optional
        Of `stream_names()`. Default: all.
    largest : bool
        The risk benchmark with 10^7 accounts as well.
    page : Path, optional
        HTML file for the risk benchmark.
    breaches : sequence of int
        How many accounts one tick of the liquidation benchmark liquidates. Default: 20 and 60
        for smoke; 10^3, 10^4 and 10^5 for full.
    serve : mapping, optional
        Fields of `engine.bench.serving.ServePlan` that are not the usual ones.
    """
    from engine.bench import mark_tick, market
    from engine.bench.mark_report import mark_report

    is_smoke = size == "smoke"
    if name in ("mark", "all"):
        plan = mark_tick.SMOKE if is_smoke else mark_tick.MarkPlan(0)
        usual = (plan.accounts,) if is_smoke else mark_tick.FULL_ACCOUNTS
        for count in usual if accounts is None else (accounts,):
            yield mark_report(mark_tick.run_mark(replace(plan, accounts=count), progress))
    if name in ("risk", "all"):
        yield from _risk_reports(is_smoke, progress, accounts, largest, page)
    if name in ("book", "all"):
        yield from _book_reports(is_smoke, progress, commands, streams or stream_names())
    if name in ("market", "all"):
        market_plan = market.SMOKE if is_smoke else market.MarketPlan()
        yield market.market_report(market.run_market(market_plan, progress))
    if name in ("liquidation", "all"):
        yield _liquidation_report(is_smoke, progress, accounts, breaches)
    if name in ("journal", "all"):
        from engine.bench import journal

        journal_plan = journal.SMOKE if is_smoke else journal.JournalPlan()
        yield journal.journal_report(journal.run_journal(journal_plan, progress))
    if name in ("serve", "all"):
        yield _serving_report(is_smoke, progress, accounts, serve or {})


def _serving_report(
    is_smoke: bool, progress: Callable[[str], None], accounts: int | None,
    chosen: Mapping[str, Any],
) -> Report:
    from engine.bench import serving
    from engine.bench.serving_floor import run_floor
    from engine.bench.serving_report import serving_report

    plan = replace(serving.SMOKE if is_smoke else serving.ServePlan(), **chosen)
    if accounts is not None:
        plan = replace(plan, accounts=accounts)
    floor = run_floor(plan, progress)
    return serving_report(plan, *serving.run_serving(plan, progress), floor)


def _liquidation_report(
    is_smoke: bool, progress: Callable[[str], None], accounts: int | None,
    breaches: Sequence[int],
) -> Report:
    from engine.bench import liquidation
    from engine.bench.liquidation_report import liquidation_report

    plan = liquidation.SMOKE if is_smoke else liquidation.LiquidationPlan()
    if accounts is not None:
        plan = replace(plan, accounts=accounts)
    if breaches:
        plan = replace(plan, breaches=tuple(breaches))
    # Victims are longs, which half of the accounts are.
    plan = replace(plan, breaches=tuple(
        breach for breach in plan.breaches if 2 * breach <= plan.accounts))
    return liquidation_report(liquidation.run_liquidation(plan, progress))


def _risk_reports(
    is_smoke: bool, progress: Callable[[str], None], accounts: int | None, largest: bool,
    page: Path | None,
) -> Iterator[Report]:
    from engine.bench import risk
    from engine.bench.risk_report import risk_report, write_page

    plan = risk.SMOKE if is_smoke else risk.RiskPlan(0)
    sizes: tuple[int, ...] = (plan.accounts,) if is_smoke else risk.SIZES
    if accounts is not None:
        sizes = (accounts,)
    if largest:
        sizes += (risk.LARGEST,)
    results = []
    for count in sizes:
        results.append(risk.run_risk(replace(plan, accounts=count), progress))
        yield risk_report(results[-1])
    if page is not None:
        write_page(results, page)


def _book_reports(
    is_smoke: bool, progress: Callable[[str], None], commands: int | None, streams: Sequence[str]
) -> Iterator[Report]:
    from engine.bench import book
    from engine.bench.book_report import book_report
    from engine.bench.book_summary import summary_report

    plan = book.SMOKE if is_smoke else book.BookPlan()
    if commands is not None:
        plan = replace(plan, commands=commands)
    results = []
    for stream in dict.fromkeys(streams):
        results.append(book.run_book(replace(plan, stream=stream), progress))
        yield book_report(results[-1])
    yield summary_report(results)
