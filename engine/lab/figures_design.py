"""Pictures of designs: what matters by Morris or Sobol, and figures against published ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.lab import metrics
from engine.lab.figures import BLUE, GREEN, INK, RED, SOFT, style

if TYPE_CHECKING:
    import pandas as pd


def tornado(table: pd.DataFrame, figure: str, title: str = "") -> Any:
    """How much each factor moves a figure, the strongest on top.

    Parameters
    ----------
    table : pandas.DataFrame
        Of `engine.lab.sensitivity.sensitivity`.
    figure : str
        One that was analysed.
    """
    import plotly.graph_objects as go

    rows = table[table["figure"] == figure].sort_values("index")
    is_morris = "mu" in rows
    name = "μ*, effect of the whole range" if is_morris else "total share of the variance"
    words = figure.replace("_", " ")
    chart = style(go.Figure(), 110 + 34 * len(rows), x=title or f"{words}: {name}")
    straight = rows["mu"] if is_morris else rows["first"]
    chart.add_bar(
        y=rows["factor"], x=rows["index"], orientation="h", name=name, marker_color=BLUE,
        opacity=0.75, error_x={"array": rows["conf"], "color": INK, "thickness": 1.2})
    chart.add_scatter(
        y=rows["factor"], x=straight, mode="markers",
        name="μ, with its sign" if is_morris else "by this factor alone",
        marker={"color": RED, "size": 10, "symbol": "diamond"})
    for factor, low, high in rows[["factor", "seed_low", "seed_high"]].itertuples(index=False):
        chart.add_scatter(x=[low, high], y=[factor, factor], mode="lines", showlegend=False,
                          line={"color": GREEN, "width": 3}, opacity=0.7, hoverinfo="x")
    chart.update_layout(margin={"l": 215, "t": 46}, legend={"entrywidth": 190})
    return chart


@dataclass(frozen=True)
class Target:
    """A published figure of a real market.

    Attributes
    ----------
    figure : str
        Of a sweep's rows.
    low, high : float
        What is taken as agreement.
    label : str
    """

    figure: str
    low: float
    high: float
    label: str


#: By shape, not by fitting: nothing in the default scenario was chosen to meet them.
TARGETS = (
    Target("peak_minute_share", 0.22, 0.42, "busiest minute, 0.32 (10 Oct 2025)"),
    Target("overshoot_share", 0.5, 0.8, "share of the fall that came back, 0.5–0.8"),
    Target("queue_to_depth", 5.0, 15.0, "in liquidation ÷ quotes, 5–15 (BitMEX, 2020)"),
    Target("branching_mle", 0.8, 1.05, "branching ratio, about 1 (index futures)"),
    Target("adl_excess", 2.0, 6.0, "taken by ADL ÷ needed, 4.0 (10 Oct 2025)"),
)


def targets(frame: pd.DataFrame) -> Any:
    """Simulated figures against published ones: ratio, tolerance, 95 % interval over seeds."""
    import plotly.graph_objects as go

    chart = style(go.Figure(), 90 + 46 * len(TARGETS), x="simulated ÷ middle of what is published")
    shown = {name: frame[name].to_numpy(np.float64) for name in frame if name in {
        target.figure for target in TARGETS}}
    shown["adl_excess"] = _ratio(frame["adl_taken"], frame["adl_needed"])
    for target in reversed(TARGETS):
        middle = (target.low * target.high) ** 0.5
        mean, low, high = metrics.interval(shown[target.figure])
        chart.add_scatter(
            x=[target.low / middle, target.high / middle], y=[target.label] * 2, mode="lines",
            line={"color": GREEN, "width": 16}, opacity=0.3, showlegend=False, hoverinfo="x")
        if mean != mean:
            continue
        inside = target.low <= mean <= target.high
        chart.add_scatter(
            x=[mean / middle], y=[target.label], mode="markers+text", text=[f"{mean:.2f}"],
            textposition="top center", showlegend=False, error_x={
                "array": [(high - mean) / middle], "arrayminus": [(mean - low) / middle]},
            marker={"color": BLUE if inside else RED, "size": 10, "symbol": "diamond"})
    chart.add_vline(x=1, line={"color": SOFT, "width": 1, "dash": "dot"})
    chart.update_layout(margin={"l": 300, "t": 44})
    chart.update_yaxes(range=[-0.6, len(TARGETS) - 0.3])
    return chart


def _ratio(part: Any, whole: Any) -> Any:
    whole = whole.to_numpy(np.float64)
    return part.to_numpy(np.float64) / np.where(whole > 0, whole, np.nan)
