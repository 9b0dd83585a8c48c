"""Every scenario given by typed calls: the same events, replies, refusals and states."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.script import read_script
from support.typed import PLAIN_QUERIES, ask, give

from engine import Exchange

FILES = sorted((Path(__file__).parents[1] / "scenarios").glob("*.jsonl"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_typed_calls_do_what_a_scenario_does(path: Path) -> None:
    plain, typed = Exchange(), Exchange()
    heard: list[dict[str, Any]] = []
    expected: list[dict[str, Any]] = []
    typed.subscribe(heard.append)
    for step in read_script(path).steps:
        line = step.line
        if "cmd" in line:
            events = plain.apply(line)
            assert give(typed, line) == events, step.place
            expected += events
        elif line["query"] not in PLAIN_QUERIES:
            reply = plain.query(line)
            wanted = reply if "reply" in reply else (reply["reason"], reply["detail"])
            assert ask(typed, line) == wanted, step.place
    assert heard == typed.drain() == expected
    assert typed.state_hash() == plain.state_hash()
