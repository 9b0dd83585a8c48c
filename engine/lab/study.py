"""What a study is; `engine.lab.studies` has them all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from engine.lab.scenario import Scenario, Shock
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

    def resized(self, accounts: int = 0, duration_s: int = 0) -> Study:
        """Return the study with fewer accounts, or in less time; 0: as it is.

        What happens from outside (shocks, also where they are what is varied, and the tape)
        comes as much sooner and takes as much less time. Half-lives and latencies stay, so a
        short study shows that it runs, and not what the whole one shows.
        """
        scenario = self.scenario
        if accounts:
            scenario = scenario.replaced("population.accounts", accounts)
        if not duration_s:
            return replace(self, scenario=scenario)
        factor = duration_s / scenario.duration_s
        scenario = replace(
            scenario, duration_s=duration_s, shocks=_sooner(scenario.shocks, factor),
            tape=tuple((at_s * factor, price) for at_s, price in scenario.tape))
        parameters = {
            path: {label: _sooner(shocks, factor) for label, shocks in values.items()}
            if path == "shocks" and isinstance(values, Mapping) else values
            for path, values in self.parameters.items()}
        return replace(self, scenario=scenario, parameters=parameters)


def _sooner(shocks: tuple[Shock, ...], factor: float) -> tuple[Shock, ...]:
    return tuple(replace(shock, at_s=shock.at_s * factor, duration_s=shock.duration_s * factor)
                 for shock in shocks)


WHO_PAYS = (
    ("liquidated_share", "share of open notional closed"),
    ("reproduction_twin", "R, counterfactual"),
    ("fund_end", "fund at the end"), ("adl_accounts", "accounts deleveraged"))
