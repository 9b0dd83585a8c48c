"""`engine cascade`: run a study, write its tables and a page about it."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import RunError
from engine.lab import metrics
from engine.lab.cards import Card, first_values, make_cards
from engine.lab.causes import find_causes
from engine.lab.frames import write_parquet, write_run
from engine.lab.images import check_format, write_images
from engine.lab.needs import require
from engine.lab.recorder import Run
from engine.lab.sensitivity import check_design, sensitivity
from engine.lab.study import Study
from engine.lab.sweep import sweep
from engine.lab.tables import LISTS, figure_table, number, table
from engine.report import fill_page

if TYPE_CHECKING:
    import pandas as pd

_TEMPLATE = Path(__file__).with_name("page.html")


def run_study(
    study: Study, out: Path, seeds: int, jobs: int, progress: Any = None,
    images: str | None = None, morris: int = 0,
) -> Path:
    """Run a study, write its Parquet files and `report.html` into a folder.

    With `images`, a format, the figures go into files of their own as well; with `morris`, a
    number of trajectories, the scenario's factors are screened, too.

    Returns
    -------
    Path
        Of the report.

    Raises
    ------
    RunError
        A library of the extra `lab` is missing, or a run does not add up.
    """
    require("joblib", "pandas", "plotly", "pyarrow", "scipy")
    if images is not None:
        check_format(images)
    if morris:
        check_design("morris", morris)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"--out {out}: {(error.strerror or '').lower()}") from None
    shown = study.scenario
    for parameter, values in study.parameters.items():
        shown = shown.replaced(parameter, next(iter(
            values.values() if isinstance(values, Mapping) else values)))
    run, twin = shown.run(), shown.run(counterfactual=True)
    causes = find_causes(run)
    first = study.scenario.seed
    frame = sweep(study.scenario, study.parameters, range(first, first + seeds), jobs,
                  out=out, progress=progress, events=True)
    write_run(run, causes, out / "run")
    note = {**run.provenance(), "parameters": list(study.parameters), "seeds": seeds}
    write_parquet(frame, out / "seeds.parquet", note)
    frame.drop(columns=[name for name in LISTS if name in frame]).to_csv(
        out / "seeds.csv", index=False)
    design = None
    if morris:
        design = sensitivity(study.scenario, size=morris, jobs=jobs, out=out,
                             seeds=range(first, first + seeds), progress=progress)
        write_parquet(design, out / "sensitivity.parquet", note)
    cards = make_cards(study, run, twin, causes, frame, design)
    if images is not None:
        write_images(cards, out / "figures", images)
    path = out / "report.html"
    write_page(study, run, twin, cards, frame, path)
    return path


def write_page(
    study: Study, run: Run, twin: Run, cards: Sequence[Card], frame: pd.DataFrame, path: Path
) -> None:
    """Write the page about a study: its cards, then the figures over all seeds."""
    from plotly.offline import get_plotlyjs

    scenario = run.scenario
    seeds = frame["seed"].nunique()
    lead = (
        f"{scenario.population.accounts:,} accounts, perpetuals: {len(scenario.symbols)}, "
        f"{scenario.duration_s / 60:.3g} min at {scenario.step_s} s, {seeds} paired seeds. "
        f"{study.text} The first part shows one run; conclusions are drawn over all seeds.")
    if study.parameters:
        first = ", ".join(f"{name}: {frame[name].iloc[0]}" for name in study.parameters)
        lead += f" Figures that are not compared are of {first}."
    badges = [f"Synthetic market, seeds {frame['seed'].min()} to {frame['seed'].max()}",
              f"Drift {run.drift} in every run, positions sum to zero"]
    fill_page(_TEMPLATE, {
        "page_title": html.escape(f"Cascade: {study.title}"),
        "headline": html.escape(study.title), "lead": html.escape(lead),
        "badges": "".join(f'<span class="badge plain">{html.escape(one)}</span>'
                          for one in badges),
        "findings": _findings(first_values(study, frame)),
        "plotly_js": get_plotlyjs(), "tiles": _tiles(first_values(study, frame)),
        "charts": "".join(card.html() for card in cards),
        "figures": figure_table(frame, list(study.parameters)),
        "provenance": _provenance(run, twin, frame),
        "scenario": html.escape(json.dumps(json.loads(scenario.to_json()), indent=1)),
    }, path)


def _findings(frame: pd.DataFrame) -> str:
    """Say in words what the seeds came out with, on average."""
    mean = frame.mean(numeric_only=True)
    if not mean["liquidated"] > 0:
        return "Nobody was liquidated."
    with_them, without = -100 * mean["low"], -100 * (mean["low"] + mean["overshoot_twin"])
    said = (
        f"{100 * mean['liquidated_share']:.0f} % of all open notional was liquidated. The mark "
        f"fell by {with_them:.1f} %, where it would have fallen by {without:.1f} % had nobody been "
        "sold out. ")
    if mean["reproduction_twin"] == mean["reproduction_twin"]:
        said += (f"Of every 100 liquidated, {100 * mean['reproduction_twin']:.0f} would not have "
                 "been but for the forced selling before them. ")
    by = {name: f"{100 * mean[f'by_{name}'] / mean['liquidated']:.0f} %"
          for name in ("book", "fund", "adl")}
    said += (f"Resting orders took {by['book']} of it, the insurance fund {by['fund']}, and "
             f"{by['adl']} was closed against those who had won.")
    if mean["fund_survived"] < 1:
        said += (f" The fund was used up in {(frame['fund_survived'] < 1).sum()} of "
                 f"{len(frame)} seeds.")
    return said


def _tiles(frame: pd.DataFrame) -> str:
    def tile(label: str, column: str, note: str, scale: float = 1.0, unit: str = "") -> str:
        mean, low, high = metrics.interval(frame[column].to_numpy() * scale)
        return (f'<div class="tile"><span>{label}</span><b>{number(mean)}{unit}</b>'
                f"<small>{note}, 95 %: {number(low)} to {number(high)}</small></div>")

    return "".join((
        tile("notional liquidated", "liquidated_share", "of all positions", 100, " %"),
        tile("low of the mark", "low", "first symbol", 100, " %"),
        tile("added to the fall", "overshoot_twin", "against the twin", 100, " %"),
        tile("amplification", "amplification", "liquidated ÷ without", 1, " ×"),
        tile("R, counterfactual", "reproduction_twin", "of the notional"),
        tile("R, by causes", "reproduction_excess", "direct push alone"),
        tile("R₀, ex ante", "r0_max", "greatest on the map"),
        tile("closed by ADL", "by_adl", "notional"),
        tile("fund at the end", "fund_end", f"from {number(float(frame['fund_start'].iloc[0]))}"),
    ))


def _provenance(run: Run, twin: Run, frame: pd.DataFrame) -> str:
    first = run.provenance()
    rows = [
        ("State hash of the run shown", f"<code>{run.state_hash}</code>"),
        ("State hash of its twin", f"<code>{twin.state_hash}</code>"),
        ("Fingerprint of the scenario", f"<code>{first['fingerprint']}</code>"),
        ("Commands of the run shown", f"{run.seq:,}"),
        ("Versions", f"engine {first['engine']}, Python {first['python']}, "
                     f"numpy {first['numpy']}"),
        ("Runs", f"{2 * len(frame)}, drift 0 and positions at zero in each"),
    ]
    return table(("", ""), rows)
