"""The blocks of the embedding guide run as shown, and print what is shown below them."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

from engine import Exchange
from engine.commands import COMMANDS

GUIDE = (Path(__file__).parents[2] / "docs" / "embedding.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", GUIDE, re.M | re.S)


@pytest.mark.parametrize(("program", "expected"), BLOCKS)
def test_block(program: str, expected: str) -> None:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(program, "docs/embedding.md", "exec"), {"__name__": "guide"})
    assert out.getvalue() == expected


def test_every_python_block_was_found() -> None:
    assert len(BLOCKS) == GUIDE.count("```python\n") >= 2


def test_the_table_of_methods_lists_every_command() -> None:
    table = GUIDE[GUIDE.index("| command | method |"):].partition("\n\n")[0]
    pairs = re.findall(r"\| `(\w+)` \| `(\w+)` (?=\|)", table)
    assert {command for command, _ in pairs} == set(COMMANDS)
    assert all(callable(getattr(Exchange, method)) for _, method in pairs)
