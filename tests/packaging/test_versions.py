"""One version, semantic, the newest of the changelog, which says whether old journals replay."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import engine
from engine.journal import layout

ROOT = Path(__file__).resolve().parents[2]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text("utf-8")
SECTIONS = re.split(r"^## ", CHANGELOG, flags=re.M)[1:]
HEADING = re.compile(r"\[(\d+\.\d+\.\d+(?:-[\w.]+)?)\] - (?:\d{4}-\d\d-\d\d|not released yet)")


def test_there_is_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    newest = HEADING.match(SECTIONS[0])
    assert newest is not None
    assert project["version"] == engine.__version__ == newest[1]


def test_every_version_says_whether_old_journals_replay() -> None:
    for section in SECTIONS:
        heading, _, text = section.partition("\n")
        assert HEADING.fullmatch(heading), heading
        assert re.match(r"\nJournals: format \d+, schema \d+[;.]", text), f"{heading}: journals"
        assert "replay" in text.split("\n\n")[0]


def test_the_newest_version_has_the_numbers_of_the_journal() -> None:
    assert f"Journals: format {layout.FORMAT_VERSION}, schema {layout.SCHEMA_VERSION};" in (
        SECTIONS[0])


def test_supported_pythons_are_those_that_are_tried() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    named = {
        each.rpartition(" ")[2] for each in project["classifiers"]
        if re.search(r":: 3\.\d+$", each)}
    tried = re.findall(r'"(3\.\d+)"', (ROOT / "tests/packaging/test_wheel.py").read_text("utf-8"))
    assert named == set(tried)
    assert project["requires-python"] == f">={min(named, key=lambda each: int(each[2:]))}"
