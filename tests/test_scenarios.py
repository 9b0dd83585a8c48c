"""Every scenario file, on every core, with the books audited after each of its lines."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.market import audit
from support.script import Script, Step, difference, matches, read_script, run_script

from engine import Exchange
from engine.messages import RejectReason

FOLDER = Path(__file__).parent / "scenarios"
FILES = sorted(FOLDER.glob("*.jsonl"))
RULES = Path(__file__).parents[1] / "docs" / "rules.md"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_scenario(path: Path, exchange: Exchange) -> None:
    for step, what in run_script(read_script(path), exchange):
        if what is not None:
            pytest.fail(what, pytrace=False)
        try:
            audit(exchange)
        except AssertionError as error:
            pytest.fail(f"{step.place}: after this line: {error}", pytrace=False)


def test_names_are_a_group_a_number_and_words() -> None:
    names = [path.stem for path in FILES]
    assert [name for name in names if not re.fullmatch(r"[A-Z]{3}-\d{3}(-[a-z0-9]+)+", name)] == []
    numbers = [name[:7] for name in names]
    assert [name for name in numbers if numbers.count(name) > 1] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_scenario_says_what_it_shows_and_expects_something(path: Path) -> None:
    script = read_script(path)
    assert script.title, "the first comment is the title"
    assert any(step.is_checked for step in script.steps)


def test_every_rejection_reason_has_its_scenario() -> None:
    expected = {
        wanted.get("reason")
        for path in FILES for step in read_script(path).steps for _, wanted in step.expected
    }
    # What is unsupported comes packed: no line of a scenario can name it.
    missing = [reason.name.lower() for reason in RejectReason
               if reason is not RejectReason.UNSUPPORTED]
    assert [reason for reason in missing if reason not in expected] == []


def test_rules_cite_scenarios_that_exist_and_all_of_them() -> None:
    cited = set(re.findall(r"\b[A-Z]{3}-\d{3}\b", RULES.read_text(encoding="utf-8")))
    there = {path.stem[:7] for path in FILES}
    assert sorted(cited - there) == [], "cited in docs/rules.md, but no such file"
    assert sorted(there - cited) == [], "no rule in docs/rules.md cites these"


# --- the runner itself ----------------------------------------------------------------


def compare(expected: list[dict], outputs: list[dict], *, loose: bool = False,
            silent: bool = False) -> str | None:
    step = Step("here:1", {"cmd": "time"}, [("here:2", one) for one in expected], silent)
    return difference(step, outputs, Script(is_loose=loose, ignored={"balance"}))


def test_expectation_names_the_field_that_differs() -> None:
    what = compare([{"event": "trade", "price": "100"}], [{"event": "trade", "price": "101"}])
    assert what is not None
    assert 'price: expected "100", got "101"' in what


def test_outputs_that_nobody_expected_are_reported() -> None:
    assert "more output" in (compare([{"event": "a"}], [{"event": "a"}, {"event": "b"}]) or "")
    assert "more output" in (compare([], [{"event": "b"}], silent=True) or "")
    assert "no output for" in (compare([{"event": "a"}], []) or "")


def test_a_refusal_must_be_expected() -> None:
    assert "was refused" in (compare([], [{"event": "rejected", "reason": "halted"}]) or "")


def test_ignored_kinds_and_loose_files_skip_outputs() -> None:
    assert compare([{"event": "a"}], [{"event": "balance"}, {"event": "a"}]) is None
    assert compare([{"event": "b"}], [{"event": "a"}, {"event": "b"}], loose=True) is None
    assert compare([{"event": "b"}], [{"event": "b"}, {"event": "a"}], loose=True) is None
    assert compare([{"event": "c"}], [{"event": "a"}, {"event": "b"}], loose=True) is not None


def test_lists_are_compared_whole_and_objects_by_what_is_named() -> None:
    assert matches({"rows": [{"a": 1}, {}]}, {"rows": [{"a": 1, "b": 2}, {"c": 3}], "d": 4})
    assert not matches({"rows": [{"a": 1}]}, {"rows": [{"a": 1}, {"a": 2}]})
    assert not matches({"a": 1}, {"a": True})
