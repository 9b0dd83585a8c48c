"""Studies that come with the engine: a scenario, what is varied in it, and why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from engine.errors import InputError
from engine.lab import margin_studies, path_studies, tail_studies, uniform
from engine.lab.scenario import TIERS, Scenario, Shock
from engine.lab.study import WHO_PAYS, Study

#: Forced trades act through the makers' quotes alone, and nobody else answers: here both
#: definitions of the reproduction number mean the same.
PURE = replace(
    Scenario(name="pure").replaced("traders.momentum_size", 0.0)
    .replaced("population.stop_share", 0.0).replaced("population.reopen_share", 0.0)
    .replaced("population.reduce_share", 0.0).replaced("population.top_up_share", 0.0)
    .replaced("mark.components", ("basis_ema",)).replaced("mark.ema_s", 5.0))

_FLAT = tuple((None, rate, leverage) for _, rate, leverage in TIERS[2:3])

#: The studies that are there, by name.
STUDIES = {
    study.name: study for study in (
        Study(
            "crash", "A slide, a gap, and what the liquidations add",
            "Leveraged longs outnumber shorts two to one. The index slides by 3.5 % in two and a "
            "half minutes, and gaps by another 3 % seven minutes in. Each seed is run twice with "
            "the same random numbers: as it is, and with liquidation switched off."),
        Study(
            "pure", "Two definitions of the reproduction number",
            "Only makers and noise answer the forced trades, so what causes say and what the "
            "counterfactual twin says should agree. They do to within 2 %: causes are short by "
            "what their straight lines leave out.", PURE),
        Study(
            "close_policy", "Close a part, or all of it",
            "How much one liquidation step closes: all, a fifth with a pause, down one tier, or "
            "just enough to reach a target ratio.",
            parameters={"profile": {
                "full": {"close_policy": "full"},
                "a fifth": {"close_policy": "fraction", "fraction": "0.2",
                            "cooldown_ns": 10**10, "after_cooldown": "fraction"},
                "tier step": {"close_policy": "tier_step"},
                "to target": {"close_policy": "to_target", "target_ratio": "0.8"},
            }},
            figures=(*WHO_PAYS, ("over_liquidated", "closed beyond what was needed"))),
        Study(
            "mark", "What the mark is made of",
            "A mark that is the index alone knows nothing of the forced selling; the last trade "
            "knows nothing else.",
            parameters={"mark.components": {
                "index": ("index",), "median of three": ("index", "basis_ema", "last"),
                "index + basis": ("basis_ema",), "book": ("book_median",), "last": ("last",),
            }},
            figures=(*WHO_PAYS, ("low", "lowest mark"))),
        Study(
            "fund", "How large a fund is large enough",
            "The fund takes over what the books do not take, as long as it can carry it.",
            parameters={"insurance": [0.0, 100_000.0, 250_000.0, 500_000.0, 1_000_000.0]},
            figures=(*WHO_PAYS, ("fund_survived", "share of seeds in which it stays above 0"))),
        Study(
            "adl", "Who is deleveraged",
            "What books and fund do not take is closed against winners in turn by rank, or spread "
            "over all of them by contracts, by wealth, or as evenly as possible.",
            Scenario().replaced("insurance", 50_000.0),
            parameters={"profile": {
                name: {"adl_allocation": name.replace("-", "_")}
                for name in ("rank", "contracts", "wealth", "min-max")}},
            figures=(("adl_accounts", "accounts deleveraged"), ("adl_gini", "Gini of the cost"),
                     ("adl_effective_accounts", "effective number of payers"),
                     ("adl_haircut", "cost against the mark"))),
        Study(
            "tiers", "Margin that grows with size, or one rate for all",
            "Maintenance by tiers, or 1 % and at most 50× for everybody.",
            parameters={"symbols": {
                "tiers": Scenario().symbols,
                "one rate": tuple(replace(one, tiers=_FLAT) for one in Scenario().symbols)}},
            figures=WHO_PAYS),
        Study(
            "margin_raise", "Raising maintenance in a fall",
            "The venue multiplies maintenance margins between the slide and the gap.",
            parameters={"shocks": {
                f"× {size:g}": (*Scenario().shocks,
                                Shock("margin_multiplier", 330.0, size=size))
                for size in (1.0, 1.25, 1.5, 2.0)}},
            figures=WHO_PAYS),
        Study(
            "makers", "When the makers leave",
            "Makers show only a share of their depth for two minutes from the gap on.",
            parameters={"shocks": {
                f"{share:.0%}": (*Scenario().shocks,
                                 Shock("maker_withdrawal", 415.0, 120.0, share))
                for share in (1.0, 0.5, 0.2, 0.05)}},
            figures=WHO_PAYS),
        Study(
            "phase", "Leverage × depth",
            "Where a cascade feeds itself: the reproduction number over the population's median "
            "leverage and the depth of the books.",
            Scenario().replaced("population.accounts", 3_000).replaced("duration_s", 600),
            parameters={"population.leverage_median": [5.0, 10.0, 15.0, 20.0],
                        "makers.depth": [0.02, 0.04, 0.08, 0.16]},
            figures=(("reproduction_twin", "R, counterfactual"),
                     ("overshoot_twin", "how much lower the low"))),
        *margin_studies.STUDIES, *path_studies.STUDIES, *tail_studies.STUDIES,
        *uniform.STUDIES,
    )
}
DEFAULT = "crash"


def find_study(name: str | None) -> Study:
    """Return a study by name, or one of a scenario in a JSON file.

    Raises
    ------
    InputError
        Neither a study nor a file that can be read.
    """
    if name is None:
        return STUDIES[DEFAULT]
    if name in STUDIES:
        return STUDIES[name]
    path = Path(name)
    if path.suffix != ".json":
        raise InputError(
            f"{name}: expected a .json file with a scenario, or one of {', '.join(STUDIES)}")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise InputError(f"{name}: cannot read: {(reason or '').lower()}") from None
    try:
        scenario = Scenario.from_json(text)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    return Study(scenario.name, scenario.name, f"The scenario of {path.name}.", scenario)
