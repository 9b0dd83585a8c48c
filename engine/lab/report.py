"""`engine cascade`: run a study, write its tables and a page about it."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.errors import RunError
from engine.lab import figures, figures_feedback, metrics, statistics
from engine.lab.causes import Causes, find_causes
from engine.lab.frames import write_parquet, write_run
from engine.lab.recorder import Run
from engine.lab.study import Study
from engine.lab.sweep import sweep
from engine.report import fill_page

if TYPE_CHECKING:
    import pandas as pd

_TEMPLATE = Path(__file__).with_name("page.html")
_CONFIG = {"displaylogo": False, "responsive": True, "displayModeBar": False}
#: Columns of a sweep's rows that are no figures.
_LISTS = ("path", "fund_path", "twin_path", "sizes", "haircuts")
_NOTES = ("engine", "numpy", "fingerprint", "state_hash", "twin_hash", "drift", "is_balanced")


def run_study(study: Study, out: Path, seeds: int, jobs: int, progress: Any = None) -> Path:
    """Run a study, write its Parquet files and `report.html` into a folder.

    Returns
    -------
    Path
        Of the report.

    Raises
    ------
    RunError
        A library of the extra `lab` is missing, or a run does not add up.
    """
    try:
        import joblib  # noqa: F401
        import pandas  # noqa: F401
        import plotly  # noqa: F401
        import pyarrow  # noqa: F401
        import scipy  # noqa: F401
    except ImportError as error:
        raise RunError(f"{error.name} is missing: install the extra `lab`") from None
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
                  out=out, progress=progress)
    write_run(run, causes, out / "run")
    note = {**run.provenance(), "parameters": list(study.parameters), "seeds": seeds}
    write_parquet(frame, out / "seeds.parquet", note)
    frame.drop(columns=[name for name in _LISTS if name in frame]).to_csv(
        out / "seeds.csv", index=False)
    path = out / "report.html"
    write_page(study, run, twin, causes, frame, path)
    return path


def write_page(
    study: Study, run: Run, twin: Run, causes: Causes, frame: pd.DataFrame, path: Path
) -> None:
    """Write the page about a study: one run in detail, then all seeds."""
    from plotly.offline import get_plotlyjs

    scenario = run.scenario
    seeds = frame["seed"].nunique()
    lead = (
        f"{scenario.population.accounts:,} accounts in {len(scenario.symbols)} perpetuals, "
        f"{scenario.duration_s // 60} minutes at {scenario.step_s} s, {seeds} paired seeds. "
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
        "plotly_js": get_plotlyjs(), "tiles": _tiles(_first_values(study, frame)),
        "charts": "".join(_charts(study, run, twin, causes, frame)),
        "figures": _figure_table(frame, list(study.parameters)),
        "provenance": _provenance(run, twin, frame),
        "scenario": html.escape(json.dumps(json.loads(scenario.to_json()), indent=1)),
    }, path)


def _card(title: str, how: str, *charts: Any) -> str:
    divs = [chart.to_html(full_html=False, include_plotlyjs=False, config=_CONFIG)
            for chart in charts]
    inside = divs[0] if len(divs) == 1 else f'<div class="columns">{"".join(divs)}</div>'
    return (f'<section class="card"><h2>{title}</h2><p class="how"><em>How to read this.</em> '
            f"{how}</p>{inside}</section>")


def _charts(
    study: Study, run: Run, twin: Run, causes: Causes, frame: pd.DataFrame
) -> list[str]:
    name = html.escape(run.scenario.symbols[0].name)
    parts = _parameter_cards(study, frame)
    base = _first_values(study, frame)
    parts.append(_card(
        f"One run, seed {run.scenario.seed}: {name} from second to second",
        "Red is the mark, black the index outside. The dotted line is the mark as it would be "
        "had no forced trade moved the makers' quotes; the dashed one is a run of the same seed "
        "with liquidation switched off. Below, what was liquidated, by how many liquidations "
        "stand between it and an outside cause; then the books, and the fund.",
        figures.timeline(run, causes, twin)))
    if run.maps:
        parts.append(_card(
            "Where the liquidations were waiting, before anything happened",
            "Notional by the price at which it is liquidated, and the ex-ante reproduction number "
            "R₀(p) = m(p) λ(p): what lies within one more unit of price, times the move that "
            "selling one more unit makes (averaged over 1.25 %). Above the dotted line, a fall "
            "through that price feeds itself.", figures.liquidation_map(run)))
        parts.append(_card(
            "Pending liquidations over time and price",
            "Darker: more notional would be liquidated if the mark went there. The line is the "
            "mark; circles are what was liquidated, by size. It eats its way through the map.",
            figures.heatmap(run, causes)))
    parts.append(_card(
        "The largest tree of liquidations",
        "Every dot is a liquidation, placed below the one whose trade carried the mark through its "
        "trigger; its size is the notional closed. Hover for account and command number.",
        figures.generation_tree(run, causes)))
    parts.append(_card(
        "All seeds: with liquidations, and without",
        "The band is the range of marks over seeds; the dashed line is the median of the twins. "
        "The distance between the two is what the liquidations did to the price.",
        figures.fan(base, study.scenario.duration_s)))
    parts.append(_card(
        "Reproduction number, two ways, and the sizes of liquidations",
        "Left, for each seed the share of liquidated notional that would not have been "
        "liquidated otherwise: by causes (direct push of forced trades) and by the twin (which "
        "also counts what others did in answer). Right, how many liquidations exceed a size.",
        figures.parity(base), figures.size_tail(base)))
    parts.append(_card(
        "What an observer of counts would estimate",
        "Each point is a seed: the branching ratio of a Hawkes process fitted to the counts of "
        "liquidations, against the share that causes say was pushed. A constant baseline takes the "
        "shock for self-excitation; what becomes due in the twin tells part of it apart.",
        figures_feedback.branching(base)))
    if len(run.scenario.symbols) > 1:
        parts.append(_card(
            "From one symbol to another",
            "Left, by causes: a dollar closed in the row's symbol pushed so many dollars that were "
            "closed in the column's, with the amount below. Right, before anything happened: how "
            "much holders of mainly one symbol have in common with those of another.",
            figures_feedback.contagion_matrix(run, causes), figures_feedback.overlap_matrix(run)))
    by = next(iter(study.parameters)) if len(study.parameters) == 1 else None
    parts.append(_card(
        "Who took the other side, and how long the fund lasts",
        "Left, notional by who took it. Right, the share of seeds in which the insurance fund is "
        "still above zero.",
        figures.routes(base), figures.fund_survival(frame, study.scenario.duration_s, by)))
    parts.append(_card(
        "Whom deleveraging cost",
        "How unevenly the cost of deleveraging against the mark was spread over the accounts it "
        "hit: the farther below the dotted line, the fewer bear it.",
        figures.haircut_curve(frame, by)))
    return parts


def _first_values(study: Study, frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of the first value of every parameter: what the single figures are about."""
    for parameter in study.parameters:
        frame = frame[frame[parameter] == frame[parameter].iloc[0]]
    return frame


def _parameter_cards(study: Study, frame: pd.DataFrame) -> list[str]:
    names = list(study.parameters)
    if len(names) == 2:
        charts = [figures.phase(frame, names[0], names[1], figure)
                  for figure, _ in study.figures[:2]]
        return [_card(" and ".join(title for _, title in study.figures[:2]),
                      "Mean over seeds in each cell.", *charts)]
    if not names:
        return []
    charts = [figures.effect(frame, names[0], figure, title) for figure, title in study.figures]
    return [_card(
        f"What {html.escape(names[0])} changes",
        "Points are seeds, diamonds their mean with a 95 % interval. Seeds are paired: the table "
        "has the differences from the first value.", *charts)
        + _differences(frame, names[0], [figure for figure, _ in study.figures])]


def _differences(frame: pd.DataFrame, path: str, names: list[str]) -> str:
    labels = list(dict.fromkeys(frame[path]))
    first = frame[frame[path] == labels[0]].set_index("seed")
    others = [frame[frame[path] == label].set_index("seed") for label in labels[1:]]
    changes = [[(other[name] - first[name]).to_numpy() for other in others] for name in names]
    chances = statistics.adjusted(np.array([
        [statistics.p_value(change) for change in row] for row in changes]).ravel())
    cells = iter(chances.tolist())
    rows = [(name.replace("_", " "), *(
        f"{_interval_text(change)}<br><small>{_power_text(change, next(cells))}</small>"
        for change in row)) for name, row in zip(names, changes, strict=True)]
    head = ("", *(html.escape(f"{label} less {labels[0]}") for label in labels[1:]))
    note = ("Paired differences, mean and 95 % interval. Below: p by a paired t-test, adjusted for "
            "all comparisons in the table (Benjamini and Hochberg); the least difference that "
            "this many seeds find with a power of 80 %; and how many seeds would find the "
            "one that was seen.")
    return (f'<section class="card"><p class="how">{note}</p><div class="wide">'
            f"{_table(head, rows)}</div></section>")


def _power_text(change: Any, chance: float) -> str:
    needed = statistics.seeds_needed(change)
    said = "–" if chance != chance else "p < 0.001" if chance < 0.001 else f"p = {chance:.2g}"
    return (f"{said} · finds {_number(statistics.detectable(change))} · "
            f"{_number(needed)} seeds needed")


def _number(value: float) -> str:
    if value != value:
        return "–"
    size = abs(value)
    if size >= 1e6:
        return f"{value / 1e6:.2f} m"
    if size >= 1e4:
        return f"{value / 1e3:.1f} k"
    return f"{value:,.0f}" if size >= 100 else f"{value:.3g}"


def _interval_text(values: Any) -> str:
    mean, low, high = metrics.interval(values)
    if low != low:
        return _number(mean)
    return f"{_number(mean)} [{_number(low)}, {_number(high)}]"


def _tiles(frame: pd.DataFrame) -> str:
    def tile(label: str, column: str, note: str, scale: float = 1.0, unit: str = "") -> str:
        mean, low, high = metrics.interval(frame[column].to_numpy() * scale)
        return (f'<div class="tile"><span>{label}</span><b>{_number(mean)}{unit}</b>'
                f"<small>{note}, 95 %: {_number(low)} to {_number(high)}</small></div>")

    return "".join((
        tile("notional liquidated", "liquidated_share", "of all positions", 100, " %"),
        tile("low of the mark", "low", "first symbol", 100, " %"),
        tile("added to the fall", "overshoot_twin", "against the twin", 100, " %"),
        tile("amplification", "amplification", "liquidated ÷ without", 1, " ×"),
        tile("R, counterfactual", "reproduction_twin", "of the notional"),
        tile("R, by causes", "reproduction_excess", "direct push alone"),
        tile("closed by ADL", "by_adl", "notional"),
        tile("fund at the end", "fund_end", f"from {_number(float(frame['fund_start'].iloc[0]))}"),
    ))


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = ["<tr>" + "".join(f"<th>{cell}</th>" for cell in head) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows]
    return f"<table>{''.join(lines)}</table>"


def _figure_table(frame: pd.DataFrame, parameters: list[str]) -> str:
    skip = {*_LISTS, *_NOTES, *parameters, "seed"}
    names = [name for name in frame.columns if name not in skip]
    if len(parameters) != 1:
        return _table(("figure", "mean [95 % interval]", "finds, power 80 %"), [
            (name.replace("_", " "), _interval_text(frame[name].to_numpy()),
             _number(statistics.detectable(frame[name].to_numpy()))) for name in names])
    path = parameters[0]
    labels = list(dict.fromkeys(frame[path]))
    rows = [(name.replace("_", " "), *(
        _interval_text(frame.loc[frame[path] == label, name].to_numpy()) for label in labels))
        for name in names]
    return _table(("figure", *(html.escape(str(label)) for label in labels)), rows)


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
    return _table(("", ""), rows)
