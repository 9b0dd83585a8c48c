"""Morris and Sobol designs over scenarios, and over functions whose indices are known."""

from __future__ import annotations

import sys

import numpy as np
import pytest

pytest.importorskip("SALib")
pd = pytest.importorskip("pandas")
pytest.importorskip("joblib")

from engine.errors import InputError, RunError  # noqa: E402
from engine.lab import PopulationSpec, Scenario, Shock, sensitivity  # noqa: E402
from engine.lab.sensitivity import Factor  # noqa: E402

SMALL = Scenario(
    duration_s=30, population=PopulationSpec(accounts=200),
    shocks=(Shock("price", 8.0, 8.0, -0.05),))
FACTORS = (Factor("makers.depth", 0.02, 0.3, "log"), Factor("insurance", 0.0, 1_000.0),
           Factor("makers.count", 1, 4))


def test_a_design_is_paired_and_gives_the_same_again(tmp_path):
    told = []
    table = sensitivity.sensitivity(
        SMALL, "morris", FACTORS, size=2, figures=("low", "liquidated_share"), seeds=(1, 2),
        out=tmp_path, progress=lambda done, total: told.append((done, total)))
    # Two trajectories over three factors, two seeds.
    assert told[-1] == (16, 16)
    assert table["factor"].tolist() == [one.path for one in FACTORS] * 2
    low = table[table["figure"] == "low"].set_index("factor")
    # Depth decides how far the mark falls; the fund does not.
    assert low.loc["makers.depth", "mu"] > 0
    assert low.loc["makers.depth", "index"] > 3 * low.loc["insurance", "index"]
    assert (table["seed_low"] <= table["seed_high"]).all()
    again = sensitivity.sensitivity(
        SMALL, "morris", FACTORS, size=2, figures=("low", "liquidated_share"), seeds=(1, 2),
        out=tmp_path)
    pd.testing.assert_frame_equal(table, again)


def test_factors_go_where_they_belong():
    placed = sensitivity._placed(SMALL, FACTORS, [0.5, 0.25, 0.4])
    assert placed.makers.depth == pytest.approx((0.02 * 0.3) ** 0.5)
    assert placed.insurance == 250.0
    assert placed.makers.count == 2 and isinstance(placed.makers.count, int)


def test_morris_effects_of_a_plane_are_its_slopes():
    points = sensitivity._design("morris", 3, 10)
    found = sensitivity._analysed("morris", points, points @ np.array([3.0, -1.0, 0.0]))
    assert found["mu"] == pytest.approx([3, -1, 0], abs=1e-9)
    assert found["index"] == pytest.approx([3, 1, 0], abs=1e-9)
    assert found["sigma"] == pytest.approx([0, 0, 0], abs=1e-9)


def test_sobol_indices_of_a_known_function():
    # y = 2 a + b + 4 (a - 1/2)(c - 1/2): variances 4/12, 1/12, 16/144.
    points = sensitivity._design("sobol", 3, 1_024)
    a, b, c = points.T
    found = sensitivity._analysed("sobol", points, 2 * a + b + 4 * (a - 0.5) * (c - 0.5))
    total = 4 / 12 + 1 / 12 + 1 / 9
    assert found["first"] == pytest.approx(np.array([4 / 12, 1 / 12, 0]) / total, abs=0.03)
    assert found["index"] == pytest.approx(
        np.array([4 / 12 + 1 / 9, 1 / 12, 1 / 9]) / total, abs=0.03)


def test_a_figure_that_never_changes_depends_on_nothing():
    for method in ("morris", "sobol"):
        points = sensitivity._design(method, 2, 4)
        found = sensitivity._analysed(method, points, np.full(len(points), 3.0))
        assert found["index"].tolist() == [0, 0]


@pytest.mark.parametrize(("call", "says"), [
    ({"method": "sobol", "size": 6}, "power of two"), ({"size": 1}, "two trajectories"),
    ({"figures": ("nosuch",), "size": 2, "factors": FACTORS[1:2]}, "no such figure: nosuch"),
    ({"factors": (Factor("makers.nosuch", 0.0, 1.0),)}, "no such part")])
def test_what_is_refused(call, says):
    with pytest.raises(InputError, match=says):
        sensitivity.sensitivity(SMALL.replaced("duration_s", 2), **{"seeds": (1,), **call})


@pytest.mark.parametrize(("path", "value"), [("duration_s", 6), ("margins.largest", 5.5)])
def test_factors_may_be_parts_that_a_scenario_checks(path, value):
    placed = sensitivity._placed(SMALL, [Factor(path, 1.0, 10.0)], [0.5])
    found = sensitivity._part(placed, path)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("bounds", [(2.0, 1.0, "linear"), (0.0, 1.0, "log")])
def test_bounds_that_are_none(bounds):
    with pytest.raises(InputError, match=r"factor makers\.depth"):
        Factor("makers.depth", *bounds)


def test_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "SALib", None)
    with pytest.raises(RunError, match="extra `sensitivity`"):
        sensitivity.sensitivity(SMALL)
