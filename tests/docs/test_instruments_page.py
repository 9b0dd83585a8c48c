"""docs/instruments.md says what is read; test_blocks.py runs its example."""

from __future__ import annotations

import re
from pathlib import Path

from engine.commands import COMMANDS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "instruments.md").read_text(encoding="utf-8")


def test_the_table_of_fields_names_fields() -> None:
    table = PAGE.split("| field of the command |")[1].split("\n\n")[0]
    rows = [row.split("|")[1] for row in table.splitlines()[2:]]
    names = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert len(names) > 12 and names <= set(COMMANDS["instrument"])


def test_the_fields_of_venues_are_those_that_are_read() -> None:
    sources = "".join(
        (ROOT / "engine" / "listings" / f"{name}.py").read_text(encoding="utf-8")
        for name in ("binance", "bybit", "okx", "unified"))
    table = PAGE.split("| field of the command |")[1].split("\n\n")[0]
    cells = [cell for row in table.splitlines()[2:] for cell in row.split("|")[2:]]
    missing = [name for cell in cells for name in re.findall(r"`([\w.]+)`", cell)
               if name not in sources]
    assert missing == []
