"""The embedding guide names every command, and rules.md every check that it speaks of.

That the guide's programs print what is shown below them is `test_blocks`' affair.
"""

from __future__ import annotations

import re
from pathlib import Path

from engine import Exchange
from engine.commands import COMMANDS
from engine.messages import RejectReason

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "embedding.md").read_text(encoding="utf-8")
RULES = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
REASONS = {reason.name.lower() for reason in RejectReason}


def test_the_table_of_methods_lists_every_command() -> None:
    table = GUIDE[GUIDE.index("| command | method |"):].partition("\n\n")[0]
    pairs = re.findall(r"\| `(\w+)` \| `(\w+)` (?=\|)", table)
    assert {command for command, _ in pairs} == set(COMMANDS)
    assert all(callable(getattr(Exchange, method)) for _, method in pairs)


def test_readme_says_how_to_install_before_its_first_program() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "`pip install .`" in readme[: readme.index("```python")]


def test_rules_speak_of_checks_by_name_because_numbers_move() -> None:
    text = " ".join(RULES.split())
    assert re.findall(r"checks? \(?[0-9]+(?: to\b| and\b|, [0-9]|\))", text) == []
    named = re.findall(
        r"the checks (?:from|up to) (`\w+`)|the tier checks \((`\w+`), (`\w+`)\)", text)
    assert len(named) == 4
    assert {name.strip("`") for names in named for name in names if name} <= REASONS
