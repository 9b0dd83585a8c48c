"""The stubs of the compiled modules say what they have, and what the plain-Python core has."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from engine.core import ExchangeCore
from engine.reference import ReferenceCore

ROOT = Path(__file__).resolve().parents[2]
STUBS = ROOT / "engine" / "core"
ALLOWLIST = Path(__file__).parent / "stubtest_allowlist.txt"
#: What only the compiled core has: its state as one block of memory, its records as bytes.
ONLY_COMPILED = {"drain_bytes", "drain_market_data_bytes", "snapshot", "restore", "fork"}


def test_stubs_agree_with_the_compiled_modules() -> None:
    command = [sys.executable, "-m", "mypy.stubtest", "--concise", "--allowlist", ALLOWLIST,
               "--mypy-config-file", "pyproject.toml"]
    run = subprocess.run(
        [*command, "engine.core", "engine.packing"], cwd=ROOT, capture_output=True, text=True)
    if run.returncode != 0:
        pytest.fail(f"stubtest:\n{run.stdout}{run.stderr}", pytrace=False)


def test_python_imports_only_compiled_modules_with_a_stub() -> None:
    imported = set()
    for path in sorted((ROOT / "engine").rglob("*.py")):
        found = re.findall(
            r"^ *(?:from|import) +engine\.core\.(\w+)", path.read_text("utf-8"), re.M)
        imported.update(found)
    assert imported == {path.stem for path in STUBS.glob("*.pyi")} - {"__init__"}


def signatures(stub: Path, name: str) -> dict[str, tuple[list[str], int]]:
    """Return (parameters, how many have a default) of each method of a class in a stub."""
    tree = ast.parse(stub.read_text("utf-8"))
    found = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    return {
        each.name: ([argument.arg for argument in each.args.args], len(each.args.defaults))
        for each in found.body if isinstance(each, ast.FunctionDef) and each.name != "__init__"}


@pytest.mark.parametrize("core", [ExchangeCore, ReferenceCore])
def test_both_cores_take_what_the_stub_says(core: type) -> None:
    findings = []
    for name, declared in signatures(STUBS / "exchange.pyi", "ExchangeCore").items():
        if core is ReferenceCore and name in ONLY_COMPILED:
            continue
        parameters = inspect.signature(getattr(core, name)).parameters
        have = (list(parameters), sum(
            each.default is not each.empty for each in parameters.values()))
        if have != declared:
            findings.append(f"{core.__name__}.{name}: {have}, in the stub {declared}")
    assert findings == [], "bring engine/core/exchange.pyi and the cores together"
