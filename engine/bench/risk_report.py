"""The risk benchmark's result as tables, and as a page with the cost by number of accounts."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from engine.bench.machine import machine_rows
from engine.bench.report import Report, Table, times, us
from engine.bench.risk import FULL, HOLDERS, NUMPY, RiskResult
from engine.bench.timing import Spread
from engine.errors import RunError

_RIVALS = (HOLDERS, FULL, NUMPY)
_ONE_CALL, _PACKED = "engine, one call", "engine, packed"
_COLORS = {
    _ONE_CALL: "#1f5fbf", _PACKED: "#7fb0ff", HOLDERS: "#c4432f", FULL: "#b27a10",
    NUMPY: "#1f8a6d"}
#: Names with ns a tick for each number of accounts.
Lines = list[tuple[str, list[float]]]
#: What the core is to reach at 10^6 accounts.
AIMS = (
    "calm 0.5 us a tick over all symbols; 5x 4 us; crash 40 us; 1,000 times the loop over "
    "holders on the most-held symbol; a 1 % breach 1 us a victim; a fill 1 us; 400 bytes an "
    "account; loading 5 s; reading all accounts 150 ms"
)


def risk_report(result: RiskResult) -> Report:
    """Describe a result.

    Parameters
    ----------
    result : RiskResult

    Returns
    -------
    Report
    """
    plan = result.plan
    report = Report(f"risk core, {plan.accounts:,} accounts", facts=[
        ("population", f"{result.position_count:,} positions in {plan.symbols} symbols, "
                       f"{result.most_held:,} in the most held (seed {plan.seed}, "
                       f"{result.population})"),
        ("same breaches", "NO: " + "; ".join(result.disagreements) if result.disagreements else
         f"yes, {len(result.crash.first_breaches):,} accounts of the crash, tick by tick, and "
         f"all accounts recomputed at {result.checked} of its ticks"),
        ("state_hash", result.state_hash),
    ])
    report.tables = [_bulk(result), _engine(result), _rivals(result), _breaches(result)]
    if HOLDERS not in result.crash_rivals:
        report.notes.append("numba is not installed (extra `bench`): its rows are left out")
    report.notes += [
        f"aims at 10^6 accounts: {AIMS}",
        "calm: 1.07 bp a tick; 5x: five times that; crash: "
        f"{plan.crash_symbols} symbols lose 10 % in {plan.crash_ticks:,} ticks each, ten a second",
        "means: CPU time of the thread, medians of the rounds, one Python call a tick (packed: "
        "rows of one array), events drained; liquidations that a tick sets off are included, the "
        "fund takes over everything; the rivals only name accounts",
        "p50 to max, and the rivals' crash: wall clock of single calls; a read's first gets its "
        "memory from the system",
        "a fill: of a random open position, so of an account with many; a mark after every ten "
        "has whatever was put off until then done as well",
        "a 1 % breach: one tick of a most-held symbol with liquidations halted: found, queued "
        "and set aside; then carried out by `resume`",
        "excluded: drawing the population, journal, network, names and decimals",
    ]
    report.failures += [f"{report.title}: {what}" for what in result.disagreements]
    return report


def _bulk(result: RiskResult) -> Table:
    accounts = result.plan.accounts
    table = Table("loading, memory, tables, fills", ("", "value", "first"))
    table.add("loading, s", f"{result.load_s:.2f}", "-")
    table.add("resident memory, bytes an account", f"{result.load_bytes / accounts:,.0f}", "-")
    for name, reads in (
        ("all accounts, ms", result.accounts_read),
        ("all positions without prices, ms", result.positions_read),
        ("all positions with prices, ms", result.prices_read),
    ):
        table.add(name, f"{median(reads[1:] or reads) / 1e6:,.1f}", f"{reads[0] / 1e6:,.1f}")
    table.add("a fill, packed, us", us(result.fill), "-")
    table.add("a fill, one call each, us", us(result.fill_call), "-")
    return table


def _engine(result: RiskResult) -> Table:
    table = Table("cost of one tick", (
        "engine, us", "mean", "packed", "p50", "p99", "p99.9", "max", "evals", "liq."))
    for label, streams in (("calm", result.calm), ("5x", result.stressed)):
        for stream in streams:
            table.add(
                f"{label}, {stream.name}", us(median(stream.engine)), us(median(stream.packed)),
                *_cells(Spread.of(np.concatenate(stream.each))),
                f"{stream.evaluation_count / stream.tick_count:.4f}", f"{stream.breach_count:,}")
    crash = result.crash
    table.add(
        "crash", us(crash.cpu), "-", *_cells(Spread.of(crash.each)),
        f"{crash.evaluation_count / crash.tick_count:.4f}", f"{crash.liquidation_count:,}")
    table.add("all single ticks", "-", "-", *_cells(result.worst), "-", "-")
    return table


def _cells(spread: Spread) -> list[str]:
    return [us(value) for value in (spread.p50, spread.p99, spread.p999, spread.max)]


def _rivals(result: RiskResult) -> Table:
    names = [name for name in _RIVALS if name in result.calm[0].rivals]
    table = Table(
        "cost of one tick by the alternatives, and in engine ticks (paired by round)",
        ("us", "holders", *(cell for name in names for cell in (name, "to engine"))))
    for label, streams in (("calm", result.calm), ("5x", result.stressed)):
        for stream in streams:
            cells = []
            for name in names:
                ratio = stream.ratio(name)
                cells += [us(median(stream.rivals[name])), "-" if ratio is None else times(ratio)]
            table.add(f"{label}, {stream.name}", f"{stream.holders:,.0f}", *cells)
    crash, cells = result.crash, []
    for name in names:
        mean = float(result.crash_rivals[name].mean())
        wall = float(crash.each.mean())  # as the rivals' is, and they ran one after the other
        cells += [us(mean), times(mean / wall)]
    table.add("crash", f"{crash.holders:,.0f}", *cells)
    return table


def _breaches(result: RiskResult) -> Table:
    table = Table(
        "one tick that breaches 1 % of all accounts",
        ("", "victims", "evaluated", "queued, us each", "us by evaluated", "liquidated, us each"))
    for number, one in enumerate(result.breaches, 1):
        table.add(
            f"tick {number}", f"{one.victims:,}", f"{one.evaluated:,}",
            us(one.queued / max(1, one.victims)), us(one.queued / max(1, one.evaluated)),
            us(one.liquidated / max(1, one.victims)))
    return table


# --- the page ---------------------------------------------------------------------------


def write_page(results: Sequence[RiskResult], path: Path) -> None:
    """Write an HTML page: the cost of a tick by number of accounts, and all tables.

    Raises
    ------
    RunError
        plotly is not installed, or the file cannot be written.
    """
    try:
        import plotly.graph_objects as plotly
    except ImportError:
        raise RunError("the page needs plotly: install the extra `report`") from None
    charts = "".join(
        _chart(plotly, title, accounts, lines, number == 0)
        for number, (title, accounts, lines) in enumerate(_curves(results)))
    body = "".join(
        f"<h2>{html.escape(report.title)}</h2><pre>"
        + html.escape("\n".join(report.plain())) + "</pre>"
        for report in map(risk_report, results))
    machine = html.escape("; ".join(f"{what}: {value}" for what, value in machine_rows()))
    page = (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<title>Risk core: cost by number of accounts</title><style>"
        "body{max-width:1180px;margin:0 auto;padding:32px 24px;font:16px/1.5 system-ui,sans-serif}"
        "pre{overflow-x:auto;font-size:13px;background:#f6f5f1;padding:14px}</style></head><body>"
        "<h1>What a tick costs, by number of accounts</h1>"
        f"<p>{machine}</p>{charts}{body}</body></html>")
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise RunError(f"{path}: cannot write: {(error.strerror or '').lower()}") from None


def _curves(results: Sequence[RiskResult]) -> Iterator[tuple[str, list[int], Lines]]:
    """Yield title, numbers of accounts, and ns a tick of engine and alternatives, by kind."""
    accounts = [result.plan.accounts for result in results]
    for label, kind in (("calm", "calm"), ("5x volatility", "stressed")):
        for streams in zip(*(getattr(result, kind) for result in results), strict=True):
            lines: Lines = [
                (_ONE_CALL, [median(one.engine) for one in streams]),
                (_PACKED, [median(one.packed) for one in streams])]
            lines += [(name, [median(one.rivals[name]) for one in streams])
                      for name in _RIVALS if all(name in one.rivals for one in streams)]
            yield f"{label}, {streams[0].name}", accounts, lines
    crashes = [result.crash_rivals for result in results]
    yield "crash, liquidations included", accounts, [
        (_ONE_CALL, [float(result.crash.each.mean()) for result in results]),
        *((name, [float(rivals[name].mean()) for rivals in crashes])
          for name in _RIVALS if all(name in rivals for rivals in crashes))]


def _chart(
    plotly: Any, title: str, accounts: list[int], lines: Lines, with_script: bool
) -> str:
    figure = plotly.Figure()
    for name, costs in lines:
        figure.add_scatter(
            x=accounts, y=[cost / 1000 for cost in costs], name=name, mode="lines+markers",
            line={"color": _COLORS[name]})
    figure.update_xaxes(type="log", title_text="accounts", dtick=1)
    figure.update_yaxes(type="log", title_text="µs a tick", dtick=1)
    figure.update_layout(template="none", height=430, title_text=title)
    return str(figure.to_html(full_html=False, include_plotlyjs=with_script))
