"""Pictures of sensitivity and of published figures, and a report with a Morris screening."""

from __future__ import annotations

import numpy as np
import pytest

pd = pytest.importorskip("pandas")
pytest.importorskip("plotly")

from engine.errors import InputError  # noqa: E402
from engine.lab import PopulationSpec, Scenario, Shock  # noqa: E402
from engine.lab.figures_design import TARGETS, targets, tornado  # noqa: E402
from engine.lab.study import Study  # noqa: E402

TABLE = pd.DataFrame({
    "figure": ["low", "low", "by_adl"], "factor": ["makers.depth", "insurance", "insurance"],
    "mu": [0.5, -0.1, 1.0], "index": [0.5, 0.2, 1.0], "conf": [0.1, 0.05, 0.2],
    "sigma": [0.1, 0.2, 0.0], "seed_low": [0.4, 0.1, 0.8], "seed_high": [0.6, 0.3, 1.2]})


def test_the_strongest_is_on_top():
    chart = tornado(TABLE, "low")
    bars = chart.data[0]
    assert list(bars.y) == ["insurance", "makers.depth"]  # from below
    assert list(bars.x) == [0.2, 0.5] and list(bars.error_x.array) == [0.05, 0.1]
    assert list(chart.data[1].x) == [-0.1, 0.5]
    shares = tornado(TABLE.drop(columns=["mu", "sigma"]).assign(first=0.1), "low")
    assert list(shares.data[1].x) == [0.1, 0.1] and "variance" in shares.data[0].name


def test_what_lies_outside_the_published_range_is_red():
    frame = pd.DataFrame({
        "peak_minute_share": [0.31, 0.33], "overshoot_share": [0.1, 0.1],
        "queue_to_depth": [np.nan, np.nan], "branching_mle": [0.9, 0.9],
        "adl_taken": [8.0, 0.0], "adl_needed": [2.0, 0.0]})
    means = {trace.y[0]: trace for trace in targets(frame).data if trace.mode == "markers+text"}
    colors = {target.figure: means[target.label].marker.color for target in TARGETS
              if target.label in means}
    assert set(colors) == {"peak_minute_share", "overshoot_share", "branching_mle", "adl_excess"}
    assert len({colors["peak_minute_share"], colors["branching_mle"], colors["adl_excess"]}) == 1
    assert colors["overshoot_share"] != colors["branching_mle"]
    busiest = means[TARGETS[0].label]
    assert busiest.x[0] == pytest.approx(0.32 / (0.22 * 0.42) ** 0.5)


def test_a_report_says_what_matters(tmp_path):
    pytest.importorskip("SALib")
    pytest.importorskip("joblib")
    from engine.lab.report import run_study

    small = Scenario(duration_s=12, population=PopulationSpec(accounts=60),
                     shocks=(Shock("price", 4.0, 0.0, -0.06),))
    page = run_study(Study("small", "Small", "", small), tmp_path, 1, 1, morris=2)
    assert "What matters, over everything that was varied" in page.read_text(encoding="utf-8")
    table = pd.read_parquet(tmp_path / "sensitivity.parquet")
    assert {"index", "sigma", "factor"} <= set(table) and len(table) % 8 == 0
    with pytest.raises(InputError, match="two trajectories"):
        run_study(Study("small", "Small", "", small), tmp_path / "new", 1, 1, morris=1)
    assert not (tmp_path / "new").exists()
