"""What a person meets before anything is built: messages that say which command to run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = sorted(path.name for path in (ROOT / "tools").iterdir() if not path.suffix)


def failure_of_import(checkout: Path) -> str:
    """Import engine.core from a checkout where that must fail; return the last line of stderr."""
    run = subprocess.run(
        [sys.executable, "-c", "import engine.core"],
        cwd=checkout,
        env=os.environ | {"PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1, run.stderr
    return run.stderr.rstrip("\n").split("\n")[-1]


def test_unbuilt_core_names_the_command_that_builds_it(tmp_path: Path) -> None:
    compiled = shutil.ignore_patterns("*.so", "*.pyd", "__pycache__")
    shutil.copytree(ROOT / "engine", tmp_path / "engine", ignore=compiled)
    last_line = failure_of_import(tmp_path)
    assert last_line.startswith("ImportError: the compiled core is not built for this Python")
    assert "`pip install -e .`" in last_line
    assert "`tools/test`" in last_line


def test_another_failure_of_the_import_is_left_alone(tmp_path: Path) -> None:
    core = tmp_path / "engine" / "core"
    core.mkdir(parents=True)
    (tmp_path / "engine" / "__init__.py").touch()
    shutil.copy(ROOT / "engine" / "core" / "__init__.py", core)
    for source in (ROOT / "ext" / "engine" / "core").glob("*.pyx"):
        (core / f"{source.stem}.py").write_text("import no_such_dependency\n")
    last_line = failure_of_import(tmp_path)
    assert last_line == "ModuleNotFoundError: No module named 'no_such_dependency'"


@pytest.mark.parametrize("tool", TOOLS)
def test_tool_explains_itself(tool: str) -> None:
    run = subprocess.run([ROOT / "tools" / tool, "--help"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith(f"usage: tools/{tool}")
    for switch in ("ENGINE_VENV", "ENGINE_DEBUG", "ENGINE_TRACE", "ENGINE_SANITIZE"):
        assert switch in run.stdout
