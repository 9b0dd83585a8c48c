"""The demo's report: one HTML file, everything inside, readable without a network.

Floats appear here only because charts need them; every figure in text comes from
the integers of the run.
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.demo.makers import describe_makers
from engine.demo.market import SETTLE, SETTLE_DECIMALS, scaled_text
from engine.demo.summary import money_text, summary_rows
from engine.errors import RunError

if TYPE_CHECKING:
    from engine.demo.collect import Bucket
    from engine.demo.run import DemoResult

_TEMPLATE = Path(__file__).with_name("report_template.html")
_STYLE = Path(__file__).with_name("report_style.css")
_LINES = ("#2f6fd0", "#d0672f", "#7a4fc0", "#2f9f8a", "#b03f7f", "#7f8a2f")
_COUNT_AXIS = {
    "showgrid": False, "rangemode": "tozero", "tickmode": "auto", "nticks": 6, "tickformat": ",d",
}
_CONFIG = {"displaylogo": False, "responsive": True, "displayModeBar": False}


def write_report(result: DemoResult, path: Path) -> None:
    """Write the report of a run.

    Parameters
    ----------
    result : DemoResult
    path : Path
        File to write.

    Raises
    ------
    RunError
        plotly is not installed, or the file cannot be written.
    """
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        raise RunError("the report needs plotly: install the extra `report`") from None
    charts = [
        _Chart("price", "Prices and margin calls", _PRICE_HELP, _price_figure),
        _Chart("liquidations", "Liquidations", _LIQUIDATION_HELP, _liquidation_figure),
        _Chart("routes", "Who took the other side", _ROUTE_HELP, _route_figure),
        _Chart("fund", "Insurance fund and auto-deleveraging", _FUND_HELP, _fund_figure),
    ]
    values = {
        **_texts(result),
        "plotly_js": get_plotlyjs(),
        "charts": "\n".join(chart.to_html(result) for chart in charts),
        "chart_ids": json.dumps([chart.name for chart in charts]),
        "full_range": json.dumps([times[0] for times in (_times(result), _times(result)[::-1])]),
    }
    fill_page(_TEMPLATE, values, path)


def fill_page(template: Path, values: Mapping[str, str], path: Path) -> None:
    """Write a page made of a template, whose marks `{{name}}` are replaced by values.

    `{{style}}` is what all pages look like.

    Raises
    ------
    RunError
        The file cannot be written.
    """
    page = template.read_text(encoding="utf-8")
    values = {"style": _STYLE.read_text(encoding="utf-8"), **values}
    # The template is cut at its marks first: what is filled in is never looked through.
    parts = page.split("{{")
    pieces = [parts[0]]
    for part in parts[1:]:
        name, rest = part.split("}}", 1)
        pieces += [values[name], rest]
    try:
        path.write_text("".join(pieces), encoding="utf-8")
    except OSError as error:
        raise RunError(f"{path}: cannot write: {(error.strerror or '').lower()}") from None


_PRICE_HELP = (
    "<em>How to read this.</em> Every mark price, indexed to 100 at the first one; each column of "
    "time shows its low and its last. The bars count margin calls: accounts whose maintenance "
    "margin reached 80 % of their equity. They come first; liquidations follow where the price "
    "goes on."
)
_LIQUIDATION_HELP = (
    "<em>How to read this.</em> Above, liquidation steps: one step closes what brings a position "
    "down one tier, or all of it in the lowest. Below, the notional closed: longs that were sold "
    "point up, shorts that were bought back point down."
)
_ROUTE_HELP = (
    "<em>How to read this.</em> Cumulative notional by who took it. First the resting orders, at "
    "the bankruptcy price or better; what they leave, the insurance fund takes over as far as its "
    "money goes; beyond that, auto-deleveraging closes it against winners on the other side."
)
_FUND_HELP = (
    "<em>How to read this.</em> Balance is the fund's cash: liquidation fees come in, deficits go "
    "out. Equity also counts, at mark, the positions it took over; they lose while the price "
    "falls on. A takeover needs equity above the maintenance margin of all it holds: where that "
    "is used up, the bars begin, positions of winning accounts closed by auto-deleveraging."
)


class _Chart:
    """A heading, a text on how to read it, and a figure."""

    def __init__(
        self, name: str, title: str, help_text: str, build: Callable[[DemoResult], Any]
    ) -> None:
        self.name = name
        self._title = title
        self._help = help_text
        self._build = build

    def to_html(self, result: DemoResult) -> str:
        figure = self._build(result)
        times = _times(result)
        figure.update_layout(
            template="none",
            paper_bgcolor="rgba(0,0,0,0)",
            plot_bgcolor="rgba(0,0,0,0)",
            margin={"l": 70, "r": 70, "t": 34, "b": 36},
            legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
            hovermode="x unified",
            hoverlabel={"bgcolor": "rgba(30,34,44,0.92)", "font": {"color": "#f2f4f8"}},
            bargap=0,
        )
        # The same left and right edge in every chart, so that times stand below each other.
        figure.update_xaxes(range=[times[0], times[-1]], domain=[0, 1], showline=True)
        div = figure.to_html(
            full_html=False, include_plotlyjs=False, div_id=self.name, config=_CONFIG
        )
        return (
            f'<section class="card"><h2>{self._title}</h2>'
            f'<p class="how">{self._help}</p>{div}</section>'
        )


def _times(result: DemoResult) -> list[str]:
    collector = result.collector
    return [_time_text(collector.bucket_start_ns(at)) for at in range(len(collector.buckets))]


def _time_text(ts_ns: int) -> str:
    moment = datetime.fromtimestamp(ts_ns // 1_000_000_000, UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{ts_ns // 1_000_000 % 1000:03d}"


def _whole(minor: int) -> float:
    whole: float = minor / 10**SETTLE_DECIMALS
    return whole


def _price_figure(result: DemoResult) -> Any:
    from plotly.subplots import make_subplots

    figure = make_subplots(specs=[[{"secondary_y": True}]])
    times, buckets = _times(result), result.collector.buckets
    figure.add_bar(
        x=times, y=[bucket.margin_calls for bucket in buckets], name="margin calls",
        meta="fund", opacity=0.55, secondary_y=True,
    )
    for at, market in enumerate(result.markets):
        points = _price_points(buckets, times, at)
        # The first price is on the mark tick: this is a whole number of mark ticks.
        first = int(market.first_price.scaleb(1 - market.tick_exponent))
        name = f"{market.symbol} (derived)" if market.is_derived else market.symbol
        figure.add_scatter(
            x=[time for time, _ in points],
            y=[100 * mark / first for _, mark in points],
            name=name, mode="lines", line={"color": _LINES[at % len(_LINES)], "width": 1.8},
        )
    figure.update_yaxes(title_text="first mark = 100", secondary_y=False)
    figure.update_yaxes(title_text="margin calls", secondary_y=True, **_COUNT_AXIS)
    figure.update_layout(height=400)
    return figure


def _price_points(
    buckets: Sequence[Bucket], times: Sequence[str], symbol: int
) -> list[tuple[str, int]]:
    points = []
    for time, bucket in zip(times, buckets, strict=True):
        if symbol in bucket.last_marks:
            low, last = bucket.low_marks[symbol], bucket.last_marks[symbol]
            points.append((time, low))
            if last != low:
                points.append((time, last))
    return points


def _liquidation_figure(result: DemoResult) -> Any:
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.06)
    times, buckets = _times(result), result.collector.buckets
    sides = (
        ("longs sold", "long", 1, [b.long_steps for b in buckets],
         [sum(b.long_value.values()) for b in buckets]),
        ("shorts bought back", "short", -1, [b.short_steps for b in buckets],
         [sum(b.short_value.values()) for b in buckets]),
    )
    for name, meta, sign, counts, values in sides:
        figure.add_bar(
            x=times, y=[sign * count for count in counts], name=name, meta=meta,
            legendgroup=meta, row=1, col=1,
        )
        figure.add_bar(
            x=times, y=[sign * _whole(value) for value in values], name=f"{name}, notional",
            meta=meta, legendgroup=meta, showlegend=False, row=2, col=1,
        )
    figure.update_yaxes(title_text="steps", row=1, col=1, tickformat=",d")
    figure.update_yaxes(title_text=f"notional, {SETTLE}", row=2, col=1)
    figure.update_layout(height=520, barmode="relative")
    return figure


def _route_figure(result: DemoResult) -> Any:
    import plotly.graph_objects as go

    figure = go.Figure()
    times, buckets = _times(result), result.collector.buckets
    routes = (("resting orders", "book", "short"), ("insurance fund", "fund", "fund"),
              ("auto-deleveraging", "adl", "long"))
    for name, route, meta in routes:
        total = 0
        values = []
        for bucket in buckets:
            total += bucket.long_value.get(route, 0) + bucket.short_value.get(route, 0)
            values.append(_whole(total))
        figure.add_scatter(
            x=times, y=values, name=name, mode="lines", stackgroup="routes", meta=meta,
            line={"width": 1.2},
        )
    figure.update_yaxes(title_text=f"notional closed, {SETTLE}", rangemode="tozero")
    figure.update_layout(height=340)
    return figure


def _fund_figure(result: DemoResult) -> Any:
    from plotly.subplots import make_subplots

    figure = make_subplots(specs=[[{"secondary_y": True}]])
    times, buckets = _times(result), result.collector.buckets
    figure.add_bar(
        x=times, y=[bucket.adl_count for bucket in buckets], name="positions deleveraged",
        meta="long", opacity=0.6, secondary_y=True,
    )
    seen = [(time, b) for time, b in zip(times, buckets, strict=True) if b.fund_balance is not None]
    for name, dash, field in (("balance", "solid", "fund_balance"),
                              ("equity, positions at mark", "dot", "fund_equity")):
        figure.add_scatter(
            x=[time for time, _ in seen], y=[_whole(getattr(b, field)) for _, b in seen],
            name=name, mode="lines", meta="accent", line={"width": 2, "dash": dash},
        )
    figure.update_yaxes(title_text=SETTLE, secondary_y=False)
    figure.update_yaxes(title_text="positions deleveraged", secondary_y=True, **_COUNT_AXIS)
    figure.update_layout(height=380)
    return figure


def _texts(result: DemoResult) -> dict[str, str]:
    feed, collector = result.feed, result.collector
    is_synthetic = feed.is_synthetic
    names = html.escape(", ".join(source.label for source in feed.feeds))
    headline = "A synthetic crash" if is_synthetic else f"A crash from {names}"
    first, last = _time_text(feed.summary.first_ns), _time_text(feed.summary.last_ns)
    badges = []
    if is_synthetic:
        badges.append(_badge(f"Synthetic data: {names}"))
    else:
        badges.append(_badge(f"Recorded feed: {names}", is_plain=True))
    for spec in feed.derived:
        badges.append(_badge(
            f"{spec.symbol} is derived: {spec.source} returns × {spec.beta}, no data of its own"))
    lead = (
        f"{result.plan.account_count:,} cross and isolated accounts in {len(result.markets)} "
        f"linear perpetuals meet {collector.mark_count:,} marks, {first[:19]} to {last[:19]} UTC. "
        "The marks came over ZeroMQ from a second process; accounts, depth and contract terms "
        "are generated."
    )
    return {
        "page_title": html.escape(f"Liquidation demo: {feed.title}"),
        "headline": headline,
        "lead": html.escape(lead),
        "badges": "".join(badges),
        "tiles": _tiles(result),
        "figures": _table(_figure_rows(result)),
        "population": _table(_population_rows(result)),
        "makers": _table(describe_makers(len(result.markets)) + [
            ("Fund at the start", money_text(result.fund_start))]),
        "instruments": _instrument_table(result),
        "state_hash": html.escape(result.state_hash),
        "command": html.escape(result.options.command_line()),
    }


def _badge(text: str, *, is_plain: bool = False) -> str:
    kind = "badge plain" if is_plain else "badge"
    return f'<span class="{kind}">{html.escape(text)}</span>'


def _tiles(result: DemoResult) -> str:
    collector = result.collector
    share = 100 * len(collector.breached) / result.plan.account_count
    closed = collector.closed_value
    tiles = [
        ("accounts breached", f"{len(collector.breached):,}",
         f"{share:.1f} % of the population"),
        ("liquidation steps", f"{collector.step_count:,}",
         f"{collector.tier_step_count:,} above the lowest tier"),
        ("notional closed", _short_money(sum(closed.values())),
         f"{_short_money(closed['book'])} through the books"),
        ("accounts deleveraged", f"{len(collector.deleveraged):,}",
         f"{_short_money(closed['adl'])} by ADL"),
        ("fund before", _short_money(result.fund_start), f"{SETTLE}, no positions"),
        ("fund after", _short_money(result.fund_equity_end),
         f"{_short_money(result.fund_end)} cash, positions at mark"),
        ("marks per second", f"{result.marks_per_second:,.0f}",
         f"{collector.mark_count:,} marks in {result.run_s:.1f} s"),
        ("drift", html.escape(result.drift), "every minor unit accounted for"),
    ]
    return "".join(
        f'<div class="tile"><span>{label}</span><b>{value}</b><small>{note}</small></div>'
        for label, value, note in tiles
    )


def _short_money(minor: int) -> str:
    sign = "−" if minor < 0 else ""
    units = abs(minor) // 10**SETTLE_DECIMALS
    for scale, letter in ((10**9, "bn"), (10**6, "m"), (10**3, "k")):
        if units >= scale:
            hundredths = (units * 100 + scale // 2) // scale
            return f"{sign}{hundredths // 100}.{hundredths % 100:02d} {letter}"
    return f"{sign}{units}"


def _figure_rows(result: DemoResult) -> list[tuple[str, str]]:
    rows = [(key.replace("_", " "), value) for key, value in summary_rows(result)]
    rows = [(key if key[:1] == " " else key.capitalize(), value) for key, value in rows]
    return [*rows, ("Drift", result.drift)]


def _population_rows(result: DemoResult) -> list[tuple[str, str]]:
    plan = result.plan
    return [
        ("Seed", str(plan.seed)),
        ("Cross / isolated", f"{plan.cross_percent} % / {100 - plan.cross_percent} %"),
        ("Long / short", f"{plan.long_percent} % / {100 - plan.long_percent} %"),
        ("Leverage", f"log-normal, median {plan.leverage_median}×, σ {plan.leverage_sigma}, "
                     f"at most {plan.leverage_max}×"),
        ("Position size", f"log-normal, median {plan.notional_median:,} {SETTLE}, "
                          f"σ {plan.notional_sigma}"),
        ("Large accounts", f"{plan.large_per_thousand} in 1,000, {plan.large_factor} times larger"),
        ("Positions an account", "1 / 2 / 3 in " + " / ".join(
            f"{percent} %" for percent in plan.position_percents)),
        ("Entries", "within 3 % of the first mark, less at high leverage"),
        ("Deposits", money_text(result.facts.deposits_minor)),
    ]


def _instrument_table(result: DemoResult) -> str:
    lows: dict[int, int] = {}
    for bucket in result.collector.buckets:
        for symbol, mark in bucket.low_marks.items():
            lows[symbol] = min(mark, lows.get(symbol, mark))
    rows = []
    for at, market in enumerate(result.markets):
        first, last = market.tiers[0], market.tiers[-1]
        mark_tick = market.tick_exponent - 1
        low = scaled_text(lows[at], mark_tick) if at in lows else "-"
        open_value = result.facts.open_value_minor.get(market.symbol, 0)
        rows.append((
            html.escape(market.symbol), "derived" if market.is_derived else "feed",
            f"{market.first_price.normalize():f}", low, scaled_text(1, market.tick_exponent),
            scaled_text(1, market.lot_exponent), _short_money(open_value),
            f"{len(market.tiers)}: {first.maintenance_rate} at {first.max_leverage}× "
            f"to {last.maintenance_rate} at {last.max_leverage}×",
        ))
    head = ("Symbol", "Price from", "First mark", "Lowest mark", "Tick", "Lot",
            "Open notional, both sides", "Maintenance tiers")
    return (
        "<table><tr>" + "".join(f"<th>{cell}</th>" for cell in head) + "</tr>"
        + "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
        + "</table>"
    )


def _table(rows: Iterable[tuple[str, str]]) -> str:
    lines = []
    for key, value in rows:
        kind = ' class="sub"' if key.startswith(" ") else ""
        lines.append(
            f"<tr><td{kind}>{html.escape(key.strip())}</td><td>{html.escape(value)}</td></tr>"
        )
    return "<table>" + "".join(lines) + "</table>"
