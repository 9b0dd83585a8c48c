"""README.md keeps its word: its table of commands is true, its links lead somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize(
    ("command", "status"),
    re.findall(
        r"^\| `engine (\w+).*\| ([^|]+) \|$", README.read_text(encoding="utf-8"), flags=re.M))
def test_table_of_commands_says_what_is_available(command: str, status: str) -> None:
    is_there = status != "not available yet"
    run = subprocess.run(
        [sys.executable, "-m", "engine", command, *(["--help"] if is_there else [])], cwd=ROOT,
        env=environment(), capture_output=True, text=True)
    said = (run.stdout + run.stderr).lower()
    assert run.returncode == (0 if is_there else 2)
    assert ("not available yet" in said) != is_there, said


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    missing = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        path = page.parent / name if name else page
        if not path.exists() or (anchor and anchor not in anchors(path)):
            missing.append(target)
    assert missing == []


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as code hosts make them."""
    heads = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
