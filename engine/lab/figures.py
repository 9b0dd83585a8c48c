"""Pictures of runs and sweeps, as plotly figures: in a notebook, or in the report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from engine.lab import exante, metrics, quality
from engine.lab.causes import Causes
from engine.lab.market import MINOR, Floats, plan
from engine.lab.recorder import Run
from engine.liquidation_map import LONG, SHORT

if TYPE_CHECKING:
    import pandas as pd

INK, SOFT, GRID = "#1d2330", "#5c6475", "#e9e6de"
BLUE, RED, GREEN, GOLD, VIOLET = "#1f5fbf", "#c4432f", "#1f8a6d", "#b27a10", "#7a4fc0"
_GENERATION_CLASSES = (
    (0, 0, "set off from outside", "#8a93a6"), (1, 2, "generation 1–2", "#e8b25c"),
    (3, 9, "generation 3–9", "#d9772f"), (10, 10**9, "generation 10 and on", "#a8281b"))


def _figure(height: int, **axes: Any) -> Any:
    import plotly.graph_objects as go

    figure = go.Figure()
    return style(figure, height, **axes)


def style(figure: Any, height: int, x: str = "", y: str = "") -> Any:
    """Give a figure the lab's looks."""
    figure.update_layout(
        template="none", height=height, paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)", font={"color": SOFT, "size": 13},
        margin={"l": 72, "r": 28, "t": 30, "b": 46}, hovermode="closest", bargap=0.08,
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0,
                "traceorder": "normal"})
    figure.update_xaxes(title_text=x, gridcolor=GRID, zeroline=False)
    figure.update_yaxes(title_text=y, gridcolor=GRID, zeroline=False)
    return figure


def _price_scale(run: Run, symbol: int) -> float:
    """Price of one mark tick."""
    market = plan(run.scenario).markets[symbol]
    return float(10.0 ** (market.tick_exponent - 1))


def _seconds(run: Run) -> Floats:
    return np.asarray((np.arange(run.scenario.steps) + 1) * run.scenario.step_s, np.float64)


def timeline(run: Run, causes: Causes, twin: Run | None = None, symbol: int = 0) -> Any:
    """Price, liquidations by generation, books and fund on one time axis."""
    from plotly.subplots import make_subplots

    figure = make_subplots(
        rows=7, cols=1, shared_xaxes=True, vertical_spacing=0.025,
        row_heights=[0.34, 0.17, 0.09, 0.12, 0.08, 0.08, 0.12])
    x, scale = _seconds(run), _price_scale(run, symbol)
    prices = [("mark", run.lines["mark"], RED, "solid", 2.0),
              ("index", run.lines["index"], INK, "solid", 1.2),
              ("mark without forced trades", run.lines["shadow"], GOLD, "dot", 1.6)]
    if twin is not None:
        prices.append(("mark of the twin, liquidation off", twin.lines["mark"], BLUE, "dash", 1.4))
    for name, line, color, dash, width in prices:
        figure.add_scatter(
            x=x, y=line[:, symbol] * scale, name=name, mode="lines",
            line={"color": color, "dash": dash, "width": width}, row=1, col=1)
    width = max(run.scenario.duration_s // 180, 1)
    edges = np.arange(0, run.scenario.duration_s + width, width)
    at = (np.asarray(run.breaches["step"]) + 1.0) * run.scenario.step_s
    for low, high, name, color in _GENERATION_CLASSES:
        mine = (causes.generation >= low) & (causes.generation <= high)
        total, _ = np.histogram(at[mine], edges, weights=causes.closed[mine] / MINOR)
        figure.add_bar(x=edges[:-1] + width / 2, y=total, name=name, marker_color=color,
                       row=2, col=1)
    by_adl, _ = np.histogram(at, edges, weights=causes.adl / MINOR)
    figure.add_bar(x=edges[:-1] + width / 2, y=by_adl, name="closed by ADL", marker_color=VIOLET,
                   row=3, col=1)
    bid, ask = run.lines["bid"][:, symbol], run.lines["ask"][:, symbol]
    calm, first = run.depth_lots[symbol], max(run.lines["open"][0, symbol], 1.0)
    below = (
        (4, "bids within 1 %", GREEN, 100 * run.lines["bid_depth"][:, symbol] / calm),
        (4, "asks within 1 %", SOFT, 100 * run.lines["ask_depth"][:, symbol] / calm),
        (5, "spread", BLUE, quality.spread_bps(bid, ask)),
        (6, "open interest", INK, 100 * run.lines["open"][:, symbol] / first),
        (7, "insurance fund", GOLD, run.clock["fund"] / MINOR))
    for row, name, color, values in below:
        figure.add_scatter(x=x, y=values, name=name, mode="lines",
                           line={"color": color, "width": 1.5}, row=row, col=1)
    style(figure, 1_080)
    figure.update_layout(barmode="stack", hovermode="x", margin={"t": 60})
    titles = (run.scenario.symbols[symbol].name, f"closed / {width} s", "ADL", "depth, %",
              "bps", "OI, %", "fund")
    for row, title in enumerate(titles, 1):
        figure.update_yaxes(title_text=title, row=row, col=1, nticks=8 if row == 1 else 4)
    figure.update_yaxes(rangemode="nonnegative", row=3, col=1)
    figure.update_xaxes(title_text="seconds", row=len(titles), col=1)
    for shock in run.scenario.shocks:
        figure.add_vline(x=shock.at_s, line={"color": SOFT, "width": 1, "dash": "dot"})
    return figure


def liquidation_map(run: Run, symbol: int = 0) -> Any:
    """What would be liquidated where, before the first shock, with R0(p) above it."""
    from plotly.subplots import make_subplots

    figure = make_subplots(specs=[[{"secondary_y": True}]])
    scale = _price_scale(run, symbol)
    table, mark = run.first_map[symbol], run.lines["mark"][0, symbol]
    near = (table["price_low"] > mark * 0.85) & (table["price_low"] < mark * 1.15)
    table = table[near]
    for side, name, color in ((LONG, "longs", RED), (SHORT, "shorts", GREEN)):
        mine = table[table["side"] == side]
        figure.add_bar(x=mine["price_low"] * scale, y=mine["notional"] / MINOR, name=name,
                       marker_color=color, opacity=0.75)
    mine = exante.promise(run, symbol)
    if mine.r0.any():
        figure.add_scatter(x=mine.prices * scale, y=mine.r0, name="R₀(p), falling price",
                           mode="lines", line={"color": INK, "width": 2}, secondary_y=True)
        figure.add_hline(y=1, line={"color": INK, "width": 1, "dash": "dot"}, secondary_y=True)
        low = float(run.lines["mark"][:, symbol].min())
        figure.add_vline(x=low * scale, line={"color": RED, "width": 1, "dash": "dot"},
                         annotation_text="low", annotation_position="top left")
    style(figure, 380, x=f"{run.scenario.symbols[symbol].name}, price", y="notional to liquidate")
    figure.update_layout(barmode="stack", bargap=0.02)
    figure.update_yaxes(title_text="R₀", secondary_y=True, rangemode="tozero", showgrid=False,
                        tickmode="auto", nticks=6)
    return figure


def heatmap(run: Run, causes: Causes, symbol: int = 0) -> Any:
    """Pending liquidations over time and price, with the mark and what was executed."""
    figure = _figure(460, x="seconds", y=f"{run.scenario.symbols[symbol].name}, price")
    scale, x = _price_scale(run, symbol), _seconds(run)
    marks = run.lines["mark"][:, symbol]
    edges = np.linspace(marks.min() * 0.955, marks.max() * 1.045, 121)
    grid = np.zeros((120, len(run.maps)))
    for column, (_, tables) in enumerate(run.maps):
        grid[:, column] = np.diff(exante.notional_below(tables[symbol], edges))
    start = int(run.clock["ts"][0])
    times = [(ts - start) / 1e9 + run.scenario.step_s for ts, _ in run.maps]
    figure.add_heatmap(
        x=times, y=(edges[:-1] + edges[1:]) / 2 * scale, z=np.log10(1 + grid),
        colorscale=[[0, "rgba(255,255,255,0)"], [0.35, "#fbe3b4"], [0.7, "#e08a3c"],
                    [1, "#7d1d12"]],
        colorbar={"title": "pending<br>notional", "tickvals": [3, 4, 5, 6],
                  "ticktext": ["1 k", "10 k", "100 k", "1 m"]}, zmin=2.5)
    figure.add_scatter(x=x, y=marks * scale, name="mark", mode="lines",
                       line={"color": INK, "width": 1.6})
    mine = np.asarray(run.breaches["symbol"]) == symbol
    step = np.asarray(run.breaches["step"], np.int64)[mine]
    closed = causes.closed[mine] / MINOR
    total = np.bincount(step, closed, run.scenario.steps)
    at = np.flatnonzero(total)
    figure.add_scatter(
        x=x[at], y=marks[at] * scale, name="liquidated", mode="markers", text=[
            f"{value:,.0f}" for value in total[at]],
        marker={"size": np.clip(2.2 * np.log1p(total[at] / 2_000), 2, 20), "color": BLUE,
                "opacity": 0.55, "line": {"width": 0}})
    return figure


def generation_tree(run: Run, causes: Causes, most: int = 700) -> Any:
    """The largest tree of liquidations: time to the right, generations downwards."""
    figure = _figure(430, x="seconds", y="generation")
    root = np.arange(len(causes.parent))
    for at in np.flatnonzero(causes.parent >= 0).tolist():
        root[at] = root[causes.parent[at]]
    if not len(root):
        return figure
    weights = np.bincount(root, causes.closed)
    mine = np.flatnonzero(root == int(weights.argmax()))
    if len(mine) > most:
        largest = set(np.argsort(-causes.closed[mine])[:most].tolist())
        keep = np.zeros(len(root), np.bool_)
        for place in largest:
            node = int(mine[place])
            while node >= 0 and not keep[node]:
                keep[node] = True
                node = int(causes.parent[node])
        mine = np.flatnonzero(keep)
    seconds = (np.asarray(run.breaches["step"], np.float64) + 1) * run.scenario.step_s
    xs: list[float | None] = []
    ys: list[float | None] = []
    for at in mine.tolist():
        parent = int(causes.parent[at])
        if parent >= 0:
            xs += [float(seconds[parent]), float(seconds[at]), None]
            ys += [float(causes.generation[parent]), float(causes.generation[at]), None]
    figure.add_scatter(x=xs, y=ys, mode="lines", showlegend=False, hoverinfo="skip",
                       line={"color": "rgba(120,110,95,0.35)", "width": 0.8})
    closed = causes.closed[mine] / MINOR
    figure.add_scatter(
        x=seconds[mine], y=causes.generation[mine], mode="markers", showlegend=False,
        text=[f"seq {seq}, account {account}: {value:,.0f}" for seq, account, value in zip(
            run.breaches["seq"][mine], run.breaches["account"][mine], closed, strict=True)],
        marker={"size": np.clip(2.4 * np.log1p(closed / 1_500), 3, 26), "color": seconds[mine],
                "colorscale": [[0, GOLD], [1, RED]], "opacity": 0.8, "line": {"width": 0}})
    few = int(causes.generation[mine].max()) <= 8
    figure.update_yaxes(autorange="reversed", dtick=1 if few else None)
    return figure


def fan(frame: pd.DataFrame, scenario_s: float) -> Any:
    """Price paths over seeds: median, quartiles, 5 to 95 %, with the twins' median."""
    figure = _figure(360, x="seconds", y="mark, % of the first")
    paths = np.array(frame["path"].tolist())
    x = np.linspace(0, scenario_s, paths.shape[1])
    for low, high, color in ((5, 95, "rgba(196,67,47,0.16)"), (25, 75, "rgba(196,67,47,0.32)")):
        bottom, top = np.percentile(paths, [low, high], axis=0) * 100
        figure.add_scatter(x=x, y=top, mode="lines", line={"width": 0}, showlegend=False,
                           hoverinfo="skip")
        figure.add_scatter(x=x, y=bottom, mode="lines", line={"width": 0}, fill="tonexty",
                           fillcolor=color, name=f"{low}–{high} % of seeds")
    figure.add_scatter(x=x, y=np.median(paths, axis=0) * 100, mode="lines", name="median",
                       line={"color": RED, "width": 2})
    if "twin_path" in frame:
        twins = np.array(frame["twin_path"].tolist())
        figure.add_scatter(x=x, y=np.median(twins, axis=0) * 100, mode="lines",
                           name="median of the twins, liquidation off",
                           line={"color": BLUE, "width": 2, "dash": "dash"})
    return figure


def fund_survival(frame: pd.DataFrame, scenario_s: float, by: str | None = None) -> Any:
    """Share of seeds whose fund still has money, over time."""
    figure = _figure(400, x="seconds", y="share of seeds with a fund above 0")
    groups = [("all seeds", frame)] if by is None else frame.groupby(by, sort=False)
    for color, (label, rows) in zip((GOLD, RED, BLUE, GREEN, VIOLET), groups, strict=False):
        paths = np.array(rows["fund_path"].tolist())
        figure.add_scatter(
            x=np.linspace(0, scenario_s, paths.shape[1]), y=(paths > 0).mean(axis=0),
            mode="lines", name=str(label), line={"color": color, "width": 2, "shape": "hv"})
    figure.update_yaxes(range=[-0.03, 1.03])
    return figure


def parity(frame: pd.DataFrame) -> Any:
    """Reproduction number by causes against the counterfactual, a point for each seed."""
    figure = _figure(400, x="by counterfactual twin", y="by causes")
    x, y = frame["reproduction_twin"], frame["reproduction_excess"]
    low, high = min(x.min(), y.min()) - 0.03, max(x.max(), y.max()) + 0.03
    figure.add_scatter(x=[low, high], y=[low, high], mode="lines", name="equal",
                       line={"color": SOFT, "width": 1, "dash": "dot"})
    figure.add_scatter(x=x, y=y, mode="markers", name="a seed", text=[
        f"seed {seed}" for seed in frame["seed"]], marker={"color": BLUE, "size": 9})
    mean_x, low_x, high_x = metrics.interval(x.to_numpy())
    mean_y, low_y, high_y = metrics.interval(y.to_numpy())
    figure.add_scatter(
        x=[mean_x], y=[mean_y], mode="markers", name="mean, 95 %",
        error_x={"array": [high_x - mean_x], "arrayminus": [mean_x - low_x]},
        error_y={"array": [high_y - mean_y], "arrayminus": [mean_y - low_y]},
        marker={"color": RED, "size": 12, "symbol": "diamond"})
    return figure


def size_tail(frame: pd.DataFrame) -> Any:
    """How many liquidations were larger than s, on logarithmic axes, all seeds together."""
    figure = _figure(400, x="notional closed, s", y="liquidations larger than s, a run")
    sizes = np.sort(np.concatenate([np.array(row) for row in frame["sizes"]]))[::-1]
    sizes = sizes[sizes > 0]
    if not len(sizes):
        return figure
    alpha = metrics.tail_exponent(sizes)
    rank = np.arange(1, len(sizes) + 1) / len(frame)
    keep = np.unique(np.geomspace(1, len(sizes), 300).astype(np.int64)) - 1
    figure.add_scatter(x=sizes[keep], y=rank[keep], mode="markers", name="observed",
                       marker={"color": RED, "size": 5})
    k = max(int(len(sizes) * 0.1), 1)
    edge = np.array([sizes[k - 1], sizes[0]])
    figure.add_scatter(x=edge, y=rank[k - 1] * (edge / edge[0]) ** -alpha, mode="lines",
                       name=f"Hill, α = {alpha:.2f}", line={"color": INK, "dash": "dash"})
    figure.update_xaxes(type="log")
    figure.update_yaxes(type="log")
    return figure


def routes(frame: pd.DataFrame) -> Any:
    """Who took the other side, with the spread over seeds."""
    figure = _figure(400, y="notional closed")
    names = (("by_book", "resting orders", GREEN), ("by_fund", "insurance fund", GOLD),
             ("by_adl", "auto-deleveraging", RED))
    for column, label, color in names:
        mean, low, high = metrics.interval(frame[column].to_numpy())
        figure.add_bar(x=[label], y=[mean], marker_color=color, showlegend=False, error_y={
            "array": [high - mean], "arrayminus": [mean - low]})
    return figure


def haircut_curve(frame: pd.DataFrame, by: str | None = None) -> Any:
    """Lorenz curves of what deleveraging cost, against the mark, over the accounts it cost."""
    figure = _figure(400, x="share of deleveraged accounts", y="share of the cost")
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", name="all alike",
                       line={"color": SOFT, "width": 1, "dash": "dot"})
    groups = [("all seeds", frame)] if by is None else frame.groupby(by, sort=False)
    for color, (label, rows) in zip((RED, BLUE, GREEN, GOLD, VIOLET), groups, strict=False):
        costs = np.concatenate([np.maximum(np.array(row), 0) for row in rows["haircuts"]])
        costs = np.sort(costs)
        if costs.sum() > 0:
            y = np.concatenate([[0], np.cumsum(costs) / costs.sum()])
            x = np.linspace(0, 1, len(y))
            keep = np.linspace(0, len(y) - 1, min(200, len(y))).astype(np.int64)
            figure.add_scatter(x=x[keep], y=y[keep], mode="lines", name=str(label),
                               line={"color": color, "width": 2})
    return figure


def effect(frame: pd.DataFrame, path: str, figure_name: str, title: str) -> Any:
    """A figure by a parameter's values: mean and 95 % interval, seeds as points."""
    figure = _figure(320, x=path, y=title)
    labels = list(dict.fromkeys(frame[path].astype(str)))
    for at, label in enumerate(labels):
        values = frame.loc[frame[path].astype(str) == label, figure_name].to_numpy()
        mean, low, high = metrics.interval(values)
        figure.add_scatter(
            x=np.full(len(values), at) + np.linspace(-0.12, 0.12, len(values)), y=values,
            mode="markers", showlegend=False, marker={"color": BLUE, "size": 5, "opacity": 0.4})
        figure.add_scatter(
            x=[at], y=[mean], mode="markers", showlegend=False,
            error_y={"array": [high - mean], "arrayminus": [mean - low]},
            marker={"color": RED, "size": 10, "symbol": "diamond"})
    figure.update_xaxes(tickvals=list(range(len(labels))), ticktext=labels)
    return figure


def phase(frame: pd.DataFrame, x: str, y: str, value: str = "reproduction_twin") -> Any:
    """Mean of a figure over two parameters."""
    figure = _figure(440, x=x, y=y)
    table = frame.pivot_table(index=y, columns=x, values=value, aggfunc="mean")
    columns, rows = [str(one) for one in table.columns], [str(one) for one in table.index]
    figure.add_heatmap(
        x=columns, y=rows, z=table.to_numpy(), colorscale=[[0, "#f3efe4"], [0.5, "#e08a3c"],
                                                           [1, "#7d1d12"]],
        text=[[f"{cell:.2g}" for cell in row] for row in table.to_numpy().tolist()],
        texttemplate="%{text}", colorbar={"title": value.replace("_", "<br>")})
    figure.update_xaxes(type="category")
    figure.update_yaxes(type="category")
    return figure
