"""Every example of the lab runs, at a small size."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

pytest.importorskip("pandas")
pytest.importorskip("joblib")

#: Those of the lab; the others are in tests/shell.
EXAMPLES = [path for path in sorted((Path(__file__).parents[2] / "examples").glob("*.py"))
            if "engine.lab" in path.read_text(encoding="utf-8")]
#: Options beyond the size.
SEEDS = {"cascade_run": ["--seed", "2"]}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example(path, capsys, monkeypatch):
    options = SEEDS.get(path.stem, ["--seeds", "1"])
    monkeypatch.setattr(sys, "argv", [path.name, "--accounts", "120", "--seconds", "150", *options])
    runpy.run_path(str(path), run_name="__main__")
    assert capsys.readouterr().out.strip()
