"""The example of docs/pricing.md prints what the page shows."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

from engine.pricing import PRESETS
from engine.pricing.rules import COMPONENTS

PAGE = (Path(__file__).parents[2] / "docs" / "pricing.md").read_text(encoding="utf-8")


def test_example() -> None:
    [(program, shown)] = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", PAGE, flags=re.S)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(program, "docs/pricing.md", "exec"), {})
    assert printed.getvalue() == shown


def test_every_component_and_preset_has_its_row() -> None:
    rows = set(re.findall(r"^\| `(\w+)` \|", PAGE, flags=re.M))
    assert set(COMPONENTS) | set(PRESETS) <= rows
