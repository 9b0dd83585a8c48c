"""docs/pricing.md lists every component and preset."""

from __future__ import annotations

import re
from pathlib import Path

from engine.pricing import PRESETS
from engine.pricing.rules import COMPONENTS

PAGE = (Path(__file__).parents[2] / "docs" / "pricing.md").read_text(encoding="utf-8")


def test_every_component_and_preset_has_its_row() -> None:
    rows = set(re.findall(r"^\| `(\w+)` \|", PAGE, flags=re.M))
    assert set(COMPONENTS) | set(PRESETS) <= rows
