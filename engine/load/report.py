"""What a run of load came to, in lines and as a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.bench.machine import machine_rows
from engine.lab.figures import BLUE, GOLD, GREEN, INK, RED, VIOLET, style
from engine.load.fleet import LegResult
from engine.load.flow import KINDS
from engine.load.histogram import PERCENTILES
from engine.load.page import card, table, write_page
from engine.load.plan import LoadPlan
from engine.load.run import LoadResult
from engine.load.soak import find_growth
from engine.load.table import Cell

Rows = list[tuple[str, str]]
_JOURNAL_COLORS = {"on": (BLUE, RED, VIOLET, INK), "off": (GREEN, GOLD, "#2f9f8a", "#8a93a6")}


def ms(value: float) -> str:
    """Milliseconds with three digits."""
    if value < 10:
        return f"{value:.3f}"
    return f"{value:.1f}" if value < 1000 else f"{value:,.0f}"


def plan_rows(plan: LoadPlan) -> Rows:
    """Return what was sent."""
    mix = ", ".join(
        f"{name} {100 * share:.0f} %" for name, share in zip(KINDS, plan.mix, strict=True) if share)
    batch = f"{plan.batch}, packed" if plan.is_packed else str(plan.batch)
    return [
        ("arrivals", str(plan.arrivals)), ("mix", mix),
        ("clients", f"{plan.clients}, {plan.traders} accounts each"),
        ("batch", batch), ("seed", str(plan.seed)),
    ]


def load_rows(result: LoadResult) -> Rows:
    """Return the summary of a run; ends with drift and state hash."""
    leg, plan = result.leg, result.plan
    rows = [
        ("target", result.where), ("accounts", str(result.accounts)), *plan_rows(plan),
        ("rate", f"{leg.rate:.0f}"), ("duration_s", f"{leg.elapsed_s:.3f}"),
        ("sent", str(leg.sent)), ("answered", str(leg.answered)),
        ("answered_per_second", f"{leg.achieved:.0f}"),
    ]
    rows += [(f"outcome_{name}", str(count)) for name, count in sorted(leg.codes.items()) if count]
    for percent in PERCENTILES:
        name = f"p{percent:g}_ms" if percent < 100 else "max_ms"
        rows.append((name, ms(leg.latency.percentile(percent) / 1e6)))
    if leg.lateness.count:
        rows.append(("sent_late_p99_ms", ms(leg.lateness.percentile(99) / 1e6)))
    if leg.gave_up:
        rows.append(("given_up", "answers came too late; the rest was not sent"))
    if leg.is_interrupted:
        rows.append(("interrupted", "the figures are of what was sent until then"))
    if leg.memory:
        sizes = [size for _, size in leg.memory]
        rows.append(("memory_mib", f"{sizes[0] >> 20} to {sizes[-1] >> 20}, at most "
                     f"{max(sizes) >> 20}"))
    if result.watch is not None:
        rows += [("drift_looks", str(result.watch.looks)), ("memory_verdict", verdict(leg))]
    applied = result.last_seq - result.first_seq + 1
    return [
        *rows, ("acknowledged", str(leg.seq_count)), ("applied", str(applied)),
        ("drift", result.drift), ("state_hash", result.state_hash)]


def verdict(leg: LegResult) -> str:
    """Say in a line what memory did."""
    growth = find_growth(leg.memory)
    if growth is None:
        return "too short to tell"
    word = "GROWS" if growth.is_growing else "steady"
    return (
        f"{word}: {growth.first >> 20} MiB, then {growth.last >> 20} MiB, "
        f"{growth.per_hour / 2**20:+.1f} MiB an hour")


def write_load_page(result: LoadResult, path: Path, command: str) -> None:
    """Write a page about one run."""
    leg, plan = result.leg, result.plan
    p50, p99, p999, most = (leg.latency.percentile(one) / 1e6 for one in (50, 99, 99.9, 100))
    refused = leg.answered - leg.codes.get("accepted", 0)
    applied = result.last_seq - result.first_seq + 1
    cards = [
        card("Latency by percentile",
             "From the time at which a command was meant to be sent to its answer: what waits "
             "behind a pause is charged for it. The axis stretches the tail: each step to the "
             "right is ten times rarer.", percentile_figure([("latency", leg.latency.curve())])),
        card("Latency over the run",
             "Commands by when they were meant to be sent; the lines are percentiles of each "
             "stretch of time, the bars how many were answered.", timeline_figure(leg)),
    ]
    if len(leg.memory) > 2:
        cards.append(card(
            "Memory of the server",
            "Resident, as the system counts it. What fills up at first (books, windows of "
            f"sessions, the allocator) is no growth. Verdict: {verdict(leg)}.",
            memory_figure(leg)))
    cards.append(card(
        "Figures", "The same as the command prints.", table((), load_rows(result))))
    cards.append(card("Machine", "Everything ran on this one.", table((), machine_rows())))
    failures = "; ".join(result.failures)
    write_page(
        path, kind="load", headline=f"{leg.rate:,.0f} commands a second: {result.where}",
        lead=f"{leg.sent:,} commands of {plan.clients} clients in {leg.elapsed_s:,.1f} s, "
             f"{plan.arrivals} arrivals, {result.accounts:,} accounts with positions."
             + (f" FAILED: {failures}" if failures else ""),
        badges=[f"seed {plan.seed}", "no coordinated omission"],
        tiles=[
            ("p50", f"{ms(p50)} ms", "from the intended time"), ("p99", f"{ms(p99)} ms", ""),
            ("p99.9", f"{ms(p999)} ms", ""), ("longest", f"{ms(most)} ms", ""),
            ("answered a second", f"{leg.achieved:,.0f}", f"{leg.rate:,.0f} intended"),
            ("refused", f"{refused:,}", "by the rules of the market"),
            ("acknowledged", f"{leg.seq_count:,}", f"{applied:,} applied"),
            ("drift", result.drift, "every minor unit accounted for"),
        ],
        cards=cards,
        footer=f"State hash {result.state_hash}. {command}")


def percentile_figure(curves: Sequence[tuple[str, Any]]) -> Any:
    """Draw latency by percentile, an axis of nines."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for at, (name, (percents, latencies)) in enumerate(curves):
        points = [(1 / (1 - p / 100), y) for p, y in zip(percents, latencies, strict=True)
                  if p < 100]
        figure.add_scatter(
            x=[x for x, _ in points], y=[y for _, y in points], name=name, mode="lines",
            line={"color": (BLUE, RED, GREEN, GOLD, VIOLET, INK, "#2f9f8a", "#8a93a6")[at % 8],
                  "width": 2}, showlegend=len(curves) > 1)
    style(figure, 400, "percentile", "ms")
    ticks = [(1, "0"), (2, "50"), (10, "90"), (100, "99"), (1e3, "99.9"), (1e4, "99.99"),
             (1e5, "99.999"), (1e6, "99.9999")]
    figure.update_xaxes(
        type="log", tickvals=[value for value, _ in ticks], ticktext=[text for _, text in ticks])
    figure.update_yaxes(type="log")
    return figure


def timeline_figure(leg: LegResult) -> Any:
    """Draw percentiles over a run, and how many commands were answered."""
    from plotly.subplots import make_subplots

    figure = make_subplots(
        rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.06, row_heights=[0.72, 0.28])
    parts = leg.timeline.intervals
    x = [part.start_s + part.width_s / 2 for part in parts]
    for name, field, color in (
        ("p50", "p50", GREEN), ("p99", "p99", BLUE), ("p99.9", "p999", GOLD),
        ("longest", "longest", RED),
    ):
        figure.add_scatter(
            x=x, y=[getattr(part, field) for part in parts], name=name, mode="lines",
            line={"color": color, "width": 1.6}, row=1, col=1)
    figure.add_bar(
        x=x, y=[part.count / part.width_s for part in parts], name="answered a second",
        marker_color="#8a93a6", showlegend=False, row=2, col=1)
    style(figure, 460)
    figure.update_yaxes(type="log", title_text="ms", row=1, col=1)
    figure.update_yaxes(title_text="a second", row=2, col=1)
    figure.update_xaxes(title_text="seconds", row=2, col=1)
    return figure


def memory_figure(leg: LegResult) -> Any:
    """Draw the server's memory."""
    import plotly.graph_objects as go

    figure = go.Figure()
    figure.add_scatter(
        x=[at for at, _ in leg.memory], y=[size / 2**20 for _, size in leg.memory], mode="lines",
        line={"color": VIOLET, "width": 2})
    style(figure, 300, "seconds", "MiB")
    figure.update_yaxes(rangemode="tozero")
    return figure


# --- knees ------------------------------------------------------------------------------


def cell_rows(cell: Cell) -> list[str]:
    """Return a row of the table of knees: accounts, journal, knee, latencies there."""
    probe = cell.knee.probe
    if probe is None:
        return [f"{cell.accounts:,}", cell.journal, "none held", "-", "-", "-"]
    more = "" if cell.knee.is_bounded else " or more"
    return [
        f"{cell.accounts:,}", cell.journal, f"{cell.knee.rate:,.0f}{more}",
        *(ms(probe.middle(name)) for name in ("p50", "p99", "p999"))]


CELL_COLUMNS = ("accounts", "journal", "knee, commands a second", "p50 ms", "p99 ms", "p99.9 ms")


def write_knee_page(plan: LoadPlan, cells: Sequence[Cell], path: Path, command: str) -> None:
    """Write a page about the knees of several servers."""
    target = cells[0].knee.target_ms
    at_knee = [
        (f"{cell.accounts:,} accounts, journal {cell.journal}", probe.samples[0].curve)
        for cell in cells if (probe := cell.knee.probe) is not None]
    best = max(cells, key=lambda cell: cell.knee.rate)
    least = min(cells, key=lambda cell: cell.knee.rate)
    failures = [what for cell in cells for what in cell.failures]
    cards = [
        card(f"The knee: highest rate at which p99 stays within {ms(target)} ms",
             "Found by doubling and halving the rate, then by halving the bracket; a rate holds "
             "where the median of its repeats does. Latencies are those at the knee, medians of "
             "the repeats.", table(CELL_COLUMNS, map(cell_rows, cells)), _knee_figure(cells)),
        card("Latency against rate",
             "Every rate that was tried, 99th percentile of each repeat: full dots held, open "
             "ones did not. The dotted line is the target. Left of the knee a command waits for "
             "its own work and its share of a write; right of it, for all that came before it.",
             _rate_figure(cells, target)),
        card("Latency by percentile, at the knee",
             "From the intended time, one repeat of each. Each step to the right is ten times "
             "rarer.", percentile_figure(at_knee)),
        card("What was sent", "The same for every server.", table((), plan_rows(plan))),
        card("Machine", "Server and clients share it.", table((), machine_rows())),
    ]
    write_page(
        path, kind="load", headline=f"Where the 99th percentile leaves {ms(target)} ms",
        lead="Each server holds so many accounts with positions in three perpetuals; clients send "
             f"{plan.arrivals} arrivals of orders, cancels, amends and marks over ZeroMQ, for "
             f"{plan.duration_s:g} s at a rate, latencies counted from the intended times."
             + (f" FAILED: {'; '.join(failures)}" if failures else ""),
        badges=[f"seed {plan.seed}", "no coordinated omission",
                f"drift {', '.join(sorted({cell.drift for cell in cells}))} in every server"],
        tiles=[
            ("highest knee", f"{best.knee.rate:,.0f} / s",
             f"{best.accounts:,} accounts, journal {best.journal}"),
            ("lowest knee", f"{least.knee.rate:,.0f} / s",
             f"{least.accounts:,} accounts, journal {least.journal}"),
            ("target", f"{ms(target)} ms", "99th percentile"),
            ("rates tried", str(sum(len(cell.knee.probes) for cell in cells)),
             f"{sum(len(p.samples) for cell in cells for p in cell.knee.probes)} legs"),
        ],
        cards=cards, footer=command)


def _colors(cells: Sequence[Cell]) -> list[str]:
    seen = {"on": 0, "off": 0}
    colors = []
    for cell in cells:
        palette = _JOURNAL_COLORS[cell.journal]
        colors.append(palette[seen[cell.journal] % len(palette)])
        seen[cell.journal] += 1
    return colors


def _knee_figure(cells: Sequence[Cell]) -> Any:
    import plotly.graph_objects as go

    figure = go.Figure()
    for journal, color in (("on", BLUE), ("off", GREEN)):
        mine = [cell for cell in cells if cell.journal == journal]
        if mine:
            figure.add_bar(
                x=[f"{cell.accounts:,}" for cell in mine], y=[cell.knee.rate for cell in mine],
                name=f"journal {journal}", marker_color=color,
                text=[f"{cell.knee.rate:,.0f}" for cell in mine], textposition="outside",
                cliponaxis=False)
    style(figure, 340, "accounts", "commands a second")
    figure.update_xaxes(type="category")
    figure.update_layout(barmode="group", bargap=0.35)
    return figure


def _rate_figure(cells: Sequence[Cell], target: float) -> Any:
    import plotly.graph_objects as go

    figure = go.Figure()
    rates = [probe.rate for cell in cells for probe in cell.knee.probes]
    for cell, color in zip(cells, _colors(cells), strict=True):
        probes = sorted(cell.knee.probes, key=lambda probe: probe.rate)
        name = f"{cell.accounts:,}, journal {cell.journal}"
        figure.add_scatter(
            x=[probe.rate for probe in probes], y=[probe.middle("p99") for probe in probes],
            mode="lines", line={"color": color, "width": 1.6}, name=name, legendgroup=name)
        points = [(probe, sample) for probe in probes for sample in probe.samples]
        figure.add_scatter(
            x=[probe.rate for probe, _ in points], y=[sample.p99 for _, sample in points],
            mode="markers", name=name, legendgroup=name, showlegend=False,
            marker={"color": color, "size": 7, "symbol": [
                "circle" if probe.holds else "circle-open" for probe, _ in points]})
    figure.add_scatter(
        x=[min(rates), max(rates)], y=[target, target], mode="lines", name="target",
        line={"color": INK, "width": 1.2, "dash": "dot"})
    style(figure, 460, "commands a second", "p99, ms")
    figure.update_xaxes(type="log")
    figure.update_yaxes(type="log")
    return figure
