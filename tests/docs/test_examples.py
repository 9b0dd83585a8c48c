"""The examples print what their first lines say."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def printing() -> list[tuple[Path, str]]:
    """Examples whose docstring ends with the block that they print, and that block."""
    found = []
    for path in sorted((ROOT / "examples").glob("*.py")):
        said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")), clean=True) or ""
        _, was_found, block = said.partition("t prints\n\n")
        if was_found:
            found.append((path, textwrap.dedent(block) + "\n"))
    return found


def test_there_are_examples_of_the_parts() -> None:
    names = {path.stem for path, _ in printing()}
    assert {"book_alone", "own_executor", "risk_core"} <= names


@pytest.mark.parametrize(("path", "expected"), printing(), ids=lambda one: getattr(one, "stem", ""))
def test_it_prints_what_it_says(path: Path, expected: str) -> None:
    run = subprocess.run(
        [sys.executable, path], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert run.stdout == expected
