"""README.md keeps its word: its examples run and print what it shows, its links lead somewhere."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
RUN = re.compile(r"(?:engine|python -m engine) run\b")


class Block(NamedTuple):
    """One fenced block: its language, its text, and the prose right before it."""

    language: str
    text: str
    before: str


def blocks() -> list[Block]:
    """Return the fenced blocks of the README in order."""
    text = README.read_text(encoding="utf-8")
    parts = re.split(r"^```(\w*)\n(.*?)^```\n", text, flags=re.M | re.S)
    return [
        Block(parts[at + 1], parts[at + 2], parts[at].strip())
        for at in range(0, len(parts) - 2, 3)]


BLOCKS = blocks()


def programs() -> list[tuple[str, str | None]]:
    """Python blocks, each with the output shown right below it, None where there is none."""
    found = []
    for block, after in zip(BLOCKS, [*BLOCKS[1:], Block("", "", "-")], strict=True):
        if block.language == "python":
            is_shown = after.language == "text" and not after.before
            found.append((block.text, after.text if is_shown else None))
    return found


def sessions() -> list[tuple[str, str]]:
    """Commands of the console blocks that begin with `engine run`, each with what it prints."""
    found = []
    for block in BLOCKS:
        if block.language == "console" and RUN.match(block.text.removeprefix("$ ")):
            for part in re.split(r"^\$ ", block.text, flags=re.M)[1:]:
                command, _, output = part.partition("\n")
                found.append((command, output))
    return found


def write_files(folder: Path) -> None:
    """Write the JSON blocks to the files that the README says to save them as."""
    for block in BLOCKS:
        if block.language == "json":
            name = re.findall(r"`([\w-]+\.jsonl)`", block.before)[-1]
            (folder / name).write_text(block.text, encoding="utf-8")


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT)}


def test_there_is_something_to_run() -> None:
    assert len(programs()) >= 1
    assert len(sessions()) >= 1


@pytest.mark.parametrize(("program", "expected"), programs())
def test_python_block(program: str, expected: str | None, tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment(), capture_output=True,
        text=True)
    assert run.returncode == 0, run.stderr
    if expected is not None:
        assert run.stdout == expected


@pytest.mark.parametrize(("command", "expected"), sessions())
def test_scenario_session(command: str, expected: str, tmp_path: Path) -> None:
    write_files(tmp_path)
    names = f'engine() {{ {shlex.quote(sys.executable)} -m engine "$@"; }}\n'
    names += f'python() {{ {shlex.quote(sys.executable)} "$@"; }}\n'
    run = subprocess.run(
        ["bash", "-o", "pipefail", "-c", names + command], cwd=tmp_path, env=environment(),
        capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout == expected


def test_embedding_example_stays_short() -> None:
    assert max(len(program.splitlines()) for program, _ in programs()) <= 20


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
