"""Every example of the lab runs, at a small size."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

pytest.importorskip("pandas")
pytest.importorskip("joblib")

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))
#: One needs a server: tests/shell/test_example_client.py.
EXAMPLES = [path for path in EXAMPLES if path.stem != "client"]
#: Options beyond the size.
SEEDS = {"cascade_run": ["--seed", "2"]}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example(path, capsys, monkeypatch):
    options = SEEDS.get(path.stem, ["--seeds", "1"])
    monkeypatch.setattr(sys, "argv", [path.name, "--accounts", "120", "--seconds", "150", *options])
    runpy.run_path(str(path), run_name="__main__")
    assert capsys.readouterr().out.strip()
