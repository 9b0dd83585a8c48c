"""Figures in files for papers, and in notebooks."""

from __future__ import annotations

import shutil
import struct
import sys

import pytest

pytest.importorskip("plotly")
pytest.importorskip("joblib")

from engine.cli import app, call
from engine.errors import InputError, RunError
from engine.lab import PopulationSpec, Scenario, Shock, figures, images
from engine.lab.cards import Card, make_cards
from engine.lab.causes import find_causes
from engine.lab.images import on_paper, write_images
from engine.lab.study import Study

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
needs_browser = pytest.mark.skipif(
    not any(map(shutil.which, BROWSERS)), reason="no Chrome or Chromium on the PATH")
SMALL = Scenario(
    duration_s=40, population=PopulationSpec(accounts=300),
    shocks=(Shock("price", 10.0, 10.0, -0.06),))


@pytest.fixture(scope="module")
def run():
    return SMALL.run()


@pytest.fixture(scope="module")
def cards(run):
    from engine.lab.sweep import sweep

    twin = SMALL.run(counterfactual=True)
    return make_cards(Study("small", "Small", "", SMALL), run, twin, find_causes(run),
                      sweep(SMALL, seeds=(1, 2)))


def test_every_card_has_a_name_of_its_own(cards):
    names = [card.name for card in cards]
    assert names == ["timeline", "liquidation-map", "heatmap", "generation-tree", "fan",
                     "reproduction", "branching", "contagion", "fund", "adl", "targets"]
    for card in cards:
        assert card.title in card.html() and card.how in card.html()
        assert card.html().count("plotly-graph-div") == len(card.charts) > 0


def test_figures_show_themselves_in_a_notebook(cards):
    for card in cards:
        for chart in card.charts:
            assert "plotly-graph-div" in chart._repr_html_()
            assert len(chart.data) > 0


def test_paper_is_white_and_the_figure_stays_as_it_was(run):
    chart = figures.timeline(run, find_causes(run))
    paper = on_paper(chart)
    assert paper.layout.paper_bgcolor == "white"
    assert chart.layout.paper_bgcolor == "rgba(0,0,0,0)"
    assert len(paper.data) == len(chart.data)


# A browser starts for each, which takes long where many things run at once.
@needs_browser
@pytest.mark.parametrize("form", [
    "png", *(pytest.param(form, marks=pytest.mark.slow) for form in images.FORMATS[1:])])
def test_files_of_every_format(form, run, tmp_path):
    pytest.importorskip("kaleido")
    charts = figures.liquidation_map(run), figures.heatmap(run, find_causes(run))
    card = Card("map", "", "", charts)
    files = write_images([card], tmp_path / "new", form)
    assert [file.name for file in files] == [f"map-1.{form}", f"map-2.{form}"]
    for file, chart in zip(files, card.charts, strict=True):
        data = file.read_bytes()
        if form == "png":
            assert struct.unpack(">II", data[16:24]) == (2_700, 3 * chart.layout.height)
            assert len(data) > 20_000  # a blank one of this size has less than 15 k
        else:
            assert data.startswith({"svg": b"<svg", "pdf": b"%PDF"}[form]) and len(data) > 5_000


def test_a_format_that_is_none(tmp_path, capsys):
    with pytest.raises(InputError, match="expected png, svg, pdf"):
        write_images([], tmp_path, "gif")
    assert call(app, ["cascade", "--images", "gif", "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.startswith("error: --images gif: expected")
    assert not (tmp_path / "out").exists()


def test_without_kaleido(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "kaleido", None)
    with pytest.raises(RunError, match="extra `images`"):
        write_images([], tmp_path)


def test_without_a_browser(monkeypatch, tmp_path, run):
    pytest.importorskip("kaleido")
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "chrome"))
    with pytest.raises(RunError, match="Chrome or Chromium"):
        write_images([Card("map", "", "", (figures.liquidation_map(run),))], tmp_path)
