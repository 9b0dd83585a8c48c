"""Every example of the lab runs, at a small size."""

from __future__ import annotations

import math
import re
import runpy
import sys
from pathlib import Path

import pytest

pytest.importorskip("pandas")
pytest.importorskip("joblib")

from engine.cli import app, call
from engine.lab.scenario import Shock
from engine.lab.studies import STUDIES

ROOT = Path(__file__).parents[2]
#: Those of the lab; the others are in tests/shell.
EXAMPLES = [path for path in sorted((ROOT / "examples").glob("*.py"))
            if "engine.lab" in path.read_text(encoding="utf-8")]
#: Options beyond the size.
SEEDS = {"cascade_run": ["--seed", "2"]}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example(path, capsys, monkeypatch):
    options = SEEDS.get(path.stem, ["--seeds", "1"])
    monkeypatch.setattr(sys, "argv", [path.name, "--accounts", "120", "--seconds", "150", *options])
    runpy.run_path(str(path), run_name="__main__")
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("name", list(STUDIES))
def test_a_study(name, capsys, monkeypatch):
    study = STUDIES[name]
    monkeypatch.setattr(sys, "argv", [
        "study.py", name, "--accounts", "100", "--seconds", "30", "--seeds", "1"])
    runpy.run_path(str(ROOT / "examples/study.py"), run_name="__main__")
    text, *blocks = capsys.readouterr().out.strip().split("\n\n")
    assert text.startswith(study.title)
    assert len(blocks) == (len(study.figures) or 4)
    combinations = math.prod(len(values) for values in study.parameters.values())
    for block in blocks:
        title, *lines = block.splitlines()
        assert title.endswith(")") and len(lines) == combinations
        assert all("less the first" in line for line in lines[1:])


def test_every_study_is_listed_where_one_looks_for_it(capsys):
    for page in ("docs/studies.md", "docs/lab.md"):
        first_cells = re.findall(r"^\| ([^|]*) \|", (ROOT / page).read_text(encoding="utf-8"), re.M)
        assert set(STUDIES) <= set(re.findall(r"`(\w+)`", " ".join(first_cells))), page
    commands = re.findall(r"`engine cascade (\w+)", (ROOT / "docs/studies.md").read_text("utf-8"))
    assert set(STUDIES) <= set(commands)
    assert call(app, ["cascade", "--help"]) == 0
    shown = set(re.findall(r"\w+", capsys.readouterr().out))
    assert set(STUDIES) <= shown


def test_a_study_in_less_time_has_its_shocks_in_it():
    small = STUDIES["tier_change"].resized(duration_s=90)
    assert small.scenario.shocks == (
        Shock("price", 12.0, 15.0, -0.035), Shock("price", 42.0, 0.0, -0.03))
    assert [shocks[-1].at_s for shocks in small.parameters["shocks"].values()] == [42, 6, 33, 48]
    path = STUDIES["oct10"].resized(accounts=7, duration_s=270).scenario
    assert path.population.accounts == 7
    assert path.tape[-1] == (270.0, STUDIES["oct10"].scenario.tape[-1][1])
    assert STUDIES["oct10"].resized() == STUDIES["oct10"]
