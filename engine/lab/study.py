"""What a study is; `engine.lab.studies` has them all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from engine.lab.scenario import Scenario
from engine.lab.sweep import Values


@dataclass(frozen=True)
class Study:
    """An experiment to run.

    Attributes
    ----------
    name, title, text : str
    scenario : Scenario
    parameters : mapping of path to values
        As `engine.lab.sweep.sweep` takes them.
    figures : tuple of (figure, what it says)
        Shown by each value of the first parameter.
    """

    name: str
    title: str
    text: str
    scenario: Scenario = field(default_factory=Scenario)
    parameters: Mapping[str, Values] = field(default_factory=dict)
    figures: tuple[tuple[str, str], ...] = ()


WHO_PAYS = (
    ("liquidated_share", "share of open notional closed"),
    ("reproduction_twin", "R, counterfactual"),
    ("fund_end", "fund at the end"), ("adl_accounts", "accounts deleveraged"))
