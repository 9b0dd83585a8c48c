"""Pictures of feedback: contagion between symbols, and self-excitation as estimated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from engine.lab import contagion, metrics
from engine.lab.causes import Causes
from engine.lab.figures import BLUE, GOLD, INK, RED, SOFT, style
from engine.lab.market import MINOR
from engine.lab.recorder import Run

if TYPE_CHECKING:
    import pandas as pd

_SHADES = [[0, "#f8f5ec"], [0.5, "#e8a55c"], [1, "#8c2313"]]


def _matrix(values: Any, names: list[str], text: Any, title: str) -> Any:
    import plotly.graph_objects as go

    figure = go.Figure()
    figure.add_heatmap(
        x=names, y=names, z=values, text=text, texttemplate="%{text}", colorscale=_SHADES,
        zmin=0, showscale=False, xgap=3, ygap=3,
        hovertemplate="%{y} to %{x}: %{text}<extra></extra>")
    style(figure, 360)
    figure.update_layout(title={"text": title, "font": {"size": 14, "color": INK}, "x": 0.02},
                         margin={"t": 52})
    figure.update_xaxes(type="category", title_text="closed in", showgrid=False)
    figure.update_yaxes(type="category", title_text="pushed through", autorange="reversed",
                        showgrid=False)
    return figure


def contagion_matrix(run: Run, causes: Causes) -> Any:
    """Dollars in one symbol that one dollar closed in another pushed, ex post, by causes."""
    closed = contagion.closed_by_symbol(run)
    pushed = contagion.pushes(closed, causes.parent, run.breaches["moved"])
    ratios = np.nan_to_num(contagion.reproduction_matrix(pushed, closed))
    text = [[f"{ratio:.2f}<br>{_short(value / MINOR)}" for ratio, value in zip(*rows, strict=True)]
            for rows in zip(ratios.tolist(), pushed.tolist(), strict=True)]
    radius = contagion.spectral_radius(ratios)
    return _matrix(ratios, [one.name for one in run.scenario.symbols], text,
                   f"pushed per dollar closed; largest eigenvalue {radius:.2f}")


def overlap_matrix(run: Run) -> Any:
    """Liquidity-weighted overlap of those who mainly hold one symbol with the others, ex ante."""
    weights = contagion.overlap(contagion.holdings_by_group(run), run.depth_lots)
    own = np.sqrt(np.maximum(np.diag(weights), 1e-300))
    scaled = weights / own / own[:, None]
    names = [one.name for one in run.scenario.symbols]
    figure = _matrix(np.abs(scaled), names, [[f"{value:.2f}" for value in row]
                                             for row in scaled.tolist()],
                     "overlap of holdings by depth, own = 1")
    figure.update_xaxes(title_text="holders of mainly")
    figure.update_yaxes(title_text="holders of mainly")
    return figure


def _short(value: float) -> str:
    for size, unit in ((1e6, " m"), (1e3, " k")):
        if abs(value) >= size:
            return f"{value / size:.1f}{unit}"
    return f"{value:.0f}"


def branching(frame: pd.DataFrame) -> Any:
    """Branching ratios as estimated from counts, against the share that causes say was pushed."""
    import plotly.graph_objects as go

    figure = style(go.Figure(), 400, x="pushed share of liquidations, by causes",
                   y="branching ratio, estimated")
    columns = (("branching_mle", "maximum likelihood", RED, "circle"),
               ("branching_mle_driven", "with the twin's dues as drive", BLUE, "diamond"),
               ("branching_of_counts", "from mean and variance", GOLD, "square"))
    x = frame["reproduction_count"].to_numpy()
    ys = np.concatenate([frame[column].to_numpy() for column, *_ in columns if column in frame])
    seen = np.concatenate([x, ys])
    seen = seen[np.isfinite(seen)]
    if not np.isfinite(x).any():
        return figure
    low, high = max(float(seen.min()) - 0.04, 0.0), float(seen.max()) + 0.04
    figure.add_scatter(x=[low, high], y=[low, high], mode="lines", name="equal",
                       line={"color": SOFT, "width": 1, "dash": "dot"})
    figure.update_xaxes(range=[float(np.nanmin(x)) - 0.03, float(np.nanmax(x)) + 0.03])
    figure.update_yaxes(range=[low, high])
    for column, name, color, symbol in columns:
        if column not in frame:
            continue
        mean, mean_low, mean_high = metrics.interval(frame[column].to_numpy())
        figure.add_scatter(
            x=x, y=frame[column], mode="markers", text=[f"seed {one}" for one in frame["seed"]],
            name=f"{name},<br>{mean:.2f} [{mean_low:.2f}, {mean_high:.2f}]",
            marker={"color": color, "size": 8, "symbol": symbol, "opacity": 0.75})
    figure.update_layout(legend={"orientation": "v", "x": 1.02, "y": 1.0, "yanchor": "top"})
    return figure
