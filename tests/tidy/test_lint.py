"""The linters and the type checker, as tests. `tools/lint` runs just these."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# What each tool is to look at, and what it does, is said in pyproject.toml.
TOOLS = {
    "ruff": ["ruff", "check", "--quiet", "."],
    "cython-lint": ["cython_lint.cython_lint", "ext"],
    "mypy": ["mypy", "--no-error-summary"],
}


@pytest.mark.parametrize("tool", TOOLS)
def test_is_clean(tool: str) -> None:
    # A sanitizer's runtime, preloaded for the engine, has no business in a linter; and
    # cython-lint looks for pycodestyle on the PATH.
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    environment["PATH"] = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
    run = subprocess.run(
        [sys.executable, "-m", *TOOLS[tool]],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    if run.returncode != 0:
        pytest.fail(f"{tool}:\n{run.stdout}{run.stderr}", pytrace=False)
