"""Scenario files with expectations: parsing, and the comparison of expected with actual.

A file holds scenario lines as `engine run` takes them, and besides:

- ``# ...``: a comment. Three of them mean something: ``# setup: NAME`` puts the lines of
  ``setup/NAME.jsonl`` here, ``# ignore: KIND ...`` leaves events of these kinds out of all
  comparisons, ``# loose`` allows any outputs between those expected.
- ``> {...}``: the next output of the command above has these fields with these values
  (it may have more). Inside lists every element counts, inside objects only what is named.
- ``> none``: the command above has no (further) output.

A command without expectations may print what it likes, except a rejection.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine import Exchange
from engine.scenario import parse_line

Output = dict[str, Any]


@dataclass
class Step:
    """One line to apply, and what it is expected to print."""

    place: str
    line: dict[str, Any]
    expected: list[tuple[str, Output]] = field(default_factory=list)
    is_silent_after: bool = False  # `> none` follows

    @property
    def is_checked(self) -> bool:
        return bool(self.expected) or self.is_silent_after


@dataclass
class Script:
    """A scenario file, parsed."""

    steps: list[Step] = field(default_factory=list)
    title: str = ""
    ignored: set[str] = field(default_factory=set)
    is_loose: bool = False


def read_script(path: Path) -> Script:
    """Parse a scenario file.

    Raises
    ------
    ValueError
        ``FILE:LINE: what was wrong``.
    """
    script = Script()
    _read_into(script, path)
    return script


def _read_into(script: Script, path: Path) -> None:
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        place, text = f"{path.name}:{number}", text.strip()
        if text.startswith("#"):
            _read_comment(script, text[1:].strip(), path)
        elif text.startswith(">"):
            _read_expectation(script, place, text[1:].strip())
        elif text:
            script.steps.append(Step(place, parse_line(text)))


def _read_comment(script: Script, text: str, path: Path) -> None:
    name, _, rest = text.partition(":")
    if name == "setup":
        _read_into(script, path.parent / "setup" / f"{rest.strip()}.jsonl")
    elif name == "ignore":
        script.ignored.update(rest.split())
    elif text == "loose":
        script.is_loose = True
    elif not script.title:
        script.title = text


def _read_expectation(script: Script, place: str, text: str) -> None:
    if not script.steps:
        raise ValueError(f"{place}: an expectation before any command")
    step = script.steps[-1]
    if step.is_silent_after:
        raise ValueError(f"{place}: nothing can follow `> none`")
    if text == "none":
        step.is_silent_after = True
    else:
        step.expected.append((place, parse_line(text)))


def run_script(script: Script, exchange: Exchange) -> Iterator[tuple[Step, str | None]]:
    """Apply the steps; after each, yield it and what differed (None: nothing)."""
    for step in script.steps:
        if "cmd" in step.line:
            outputs = exchange.apply(step.line)
        else:
            outputs = [exchange.query(step.line)]
        yield step, difference(step, outputs, script)


def difference(step: Step, outputs: list[Output], script: Script) -> str | None:
    """Compare a step's outputs with its expectations; return a report, None where they agree."""
    shown = [one for one in outputs if one.get("event") not in script.ignored]
    if not step.is_checked:
        if any(kind_of(one) == "rejected" for one in outputs):
            return report(step, shown, "was refused, which the file does not expect", 0)
        return None
    at = 0
    for place, wanted in step.expected:
        while script.is_loose and at < len(shown) and not matches(wanted, shown[at]):
            at += 1
        if at == len(shown):
            return report(step, shown, f"{place}: no output for {dump(wanted)}", at)
        if not matches(wanted, shown[at]):
            fields = "\n".join(explain(wanted, shown[at]))
            return report(step, shown, f"{place}: expected {dump(wanted)}\n{fields}", at)
        at += 1
    if at < len(shown) and (step.is_silent_after or not script.is_loose):
        return report(step, shown, "more output than expected", at)
    return None


def kind_of(output: Output) -> str:
    return str(output.get("event") or output.get("reply"))


def matches(wanted: Any, actual: Any) -> bool:
    """Whether every field that is named has its value; lists must agree in length."""
    if isinstance(wanted, dict):
        return isinstance(actual, dict) and all(
            name in actual and matches(value, actual[name]) for name, value in wanted.items())
    if isinstance(wanted, list):
        return (isinstance(actual, list) and len(wanted) == len(actual)
                and all(map(matches, wanted, actual)))
    return type(wanted) is type(actual) and bool(wanted == actual)


def explain(wanted: Output, actual: Output) -> Iterator[str]:
    """Yield a line for each field that differs."""
    for name, value in wanted.items():
        if name not in actual:
            yield f"    {name}: expected {dump(value)}, but there is no such field"
        elif not matches(value, actual[name]):
            yield f"    {name}: expected {dump(value)}, got {dump(actual[name])}"


def report(step: Step, shown: list[Output], what: str, at: int) -> str:
    """Return a readable account of a difference: the command, its output, the place."""
    lines = [f"{step.place}: {dump(step.line)}", f"  {what}", "  all of its output:"]
    for number, output in enumerate(shown):
        lines.append(f"  {'->' if number == at else '  '} {dump(output)}")
    if not shown:
        lines.append("     (none)")
    return "\n".join(lines)


def dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
