"""The cards of a report: its figures in order, each with a title and how to read it."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine.lab import exante, figures, figures_design, figures_feedback
from engine.lab.causes import Causes
from engine.lab.recorder import Run
from engine.lab.study import Study
from engine.lab.tables import differences, number

if TYPE_CHECKING:
    import pandas as pd

_CONFIG = {"displaylogo": False, "responsive": True, "displayModeBar": False}


@dataclass(frozen=True)
class Card:
    """A part of a report.

    Attributes
    ----------
    name : str
        Of the files that its figures go to.
    title, how : str
        HTML.
    charts : tuple of plotly figures
    after : str
        HTML that follows the card.
    """

    name: str
    title: str
    how: str
    charts: tuple[Any, ...]
    after: str = ""

    def html(self) -> str:
        """Return the card for a page that has plotly."""
        divs = [chart.to_html(full_html=False, include_plotlyjs=False, config=_CONFIG)
                for chart in self.charts]
        inside = divs[0] if len(divs) == 1 else f'<div class="columns">{"".join(divs)}</div>'
        return (f'<section class="card"><h2>{self.title}</h2><p class="how">'
                f"<em>How to read this.</em> {self.how}</p>{inside}</section>{self.after}")


def make_cards(
    study: Study, run: Run, twin: Run, causes: Causes, frame: pd.DataFrame,
    design: pd.DataFrame | None = None,
) -> list[Card]:
    """Return the cards of a study: what its parameters change, one run, then all seeds.

    `design` is a table of `engine.lab.sensitivity.sensitivity`, for a card of its own.
    """
    return [*_of_parameters(study, frame), *_of_run(run, twin, causes),
            *_of_seeds(study, frame), *_of_feedback(study, run, causes, frame),
            *_of_payers(study, frame), *_of_design(design)]


def first_values(study: Study, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the first value of every parameter: single figures are about them."""
    for parameter in study.parameters:
        frame = frame[frame[parameter] == frame[parameter].iloc[0]]
    return frame


def _of_parameters(study: Study, frame: pd.DataFrame) -> Iterator[Card]:
    names = list(study.parameters)
    if len(names) == 2:
        yield Card(
            "phase", " and ".join(title for _, title in study.figures[:2]),
            "Mean over seeds in each cell.", tuple(
                figures.phase(frame, names[0], names[1], figure)
                for figure, _ in study.figures[:2]))
    elif names:
        yield Card(
            "effects", f"What {html.escape(names[0])} changes",
            "Points are seeds, diamonds their mean with a 95 % interval. Seeds are paired: the "
            "table has the differences from the first value.", tuple(
                figures.effect(frame, names[0], figure, title)
                for figure, title in study.figures),
            differences(frame, names[0], [figure for figure, _ in study.figures]))


def _of_run(run: Run, twin: Run, causes: Causes) -> Iterator[Card]:
    name = html.escape(run.scenario.symbols[0].name)
    yield Card(
        "timeline", f"One run, seed {run.scenario.seed}: {name} from second to second",
        "Red is the mark, black the index outside. The dotted line is the mark as it would be "
        "had no forced trade moved the makers' quotes; the dashed one is a run of the same seed "
        "with liquidation switched off. Below, what was liquidated, by how many liquidations "
        "stand between it and an outside cause, and what of it ADL closed; then depth as a share "
        "of the calm one, spread, open interest of the traders, and the fund.",
        (figures.timeline(run, causes, twin),))
    if run.maps:
        yield Card(
            "liquidation-map", "Where the liquidations were waiting, before anything happened",
            "Notional by the price at which it is liquidated, and the ex-ante reproduction number "
            "R₀(p) = m(p) λ(p): what lies within the next 1.25 %, per unit of price, times the "
            "move that selling one unit makes. Above the dotted line, a fall through that price "
            f"feeds itself if nothing fades. {_promise_text(run)}", (figures.liquidation_map(run),))
        yield Card(
            "heatmap", "Pending liquidations over time and price",
            "Darker: more notional would be liquidated if the mark went there. The line is the "
            "mark; circles are what was liquidated, by size. It eats its way through the map.",
            (figures.heatmap(run, causes),))
    yield Card(
        "generation-tree", "The largest tree of liquidations",
        "Every dot is a liquidation, placed below the one whose trade carried the mark through its "
        "trigger; its size is the notional closed. Hover for account and command number.",
        (figures.generation_tree(run, causes),))


def _promise_text(run: Run) -> str:
    found = exante.figures_of(run)
    said = {name: number(found[name]) for name in ("r0_start", "r0_max", "r0_low", "r0_path")}
    return (f"Here R₀ is {said['r0_start']} at the first mark, {said['r0_max']} at most "
            f"({-100 * found['r0_max_at']:.1f} % below it), {said['r0_low']} at the low that was "
            f"reached, and {said['r0_path']} on average over the way there.")


def _of_seeds(study: Study, frame: pd.DataFrame) -> Iterator[Card]:
    base = first_values(study, frame)
    yield Card(
        "fan", "All seeds: with liquidations, and without",
        "The band is the range of marks over seeds; the dashed line is the median of the twins. "
        "The distance between the two is what the liquidations did to the price.",
        (figures.fan(base, study.scenario.duration_s),))
    yield Card(
        "reproduction", "Reproduction number, two ways, and the sizes of liquidations",
        "Left, for each seed the share of liquidated notional that would not have been "
        "liquidated otherwise: by causes (direct push of forced trades) and by the twin (which "
        "also counts what others did in answer). Right, how many liquidations exceed a size.",
        (figures.parity(base), figures.size_tail(base)))


def _of_feedback(
    study: Study, run: Run, causes: Causes, frame: pd.DataFrame
) -> Iterator[Card]:
    yield Card(
        "branching", "What an observer of counts would estimate",
        "Each point is a seed: the branching ratio of a Hawkes process fitted to the counts of "
        "liquidations, against the share that causes say was pushed. A constant baseline takes the "
        "shock for self-excitation; what becomes due in the twin tells part of it apart.",
        (figures_feedback.branching(first_values(study, frame)),))
    if len(run.scenario.symbols) > 1:
        yield Card(
            "contagion", "From one symbol to another",
            "Left, by causes: a dollar closed in the row's symbol pushed so many dollars that were "
            "closed in the column's, with the amount below. Right, before anything happened: how "
            "much holders of mainly one symbol have in common with those of another.",
            (figures_feedback.contagion_matrix(run, causes),
             figures_feedback.overlap_matrix(run)))


def _of_payers(study: Study, frame: pd.DataFrame) -> Iterator[Card]:
    by = next(iter(study.parameters)) if len(study.parameters) == 1 else None
    base = first_values(study, frame)
    yield Card(
        "fund", "Who took the other side, and how long the fund lasts",
        "Left, notional by who took it. Right, the share of seeds in which the insurance fund is "
        "still above zero.",
        (figures.routes(base),
         figures.fund_survival(frame, study.scenario.duration_s, by)))
    yield Card(
        "adl", "Whom deleveraging cost",
        "How unevenly the cost of deleveraging against the mark was spread over the accounts it "
        "hit: the farther below the dotted line, the fewer bear it.",
        (figures.haircut_curve(frame, by),))
    yield Card(
        "targets", "Beside what was published about real cascades",
        "Diamonds are means over seeds with a 95 % interval, divided by the middle of the "
        "published range, which is the band. Nothing was fitted to it: where a diamond lies "
        "outside, this market is another one.", (figures_design.targets(base),))


def _of_design(design: pd.DataFrame | None) -> Iterator[Card]:
    if design is not None:
        yield Card(
            "sensitivity", "What matters, over everything that was varied",
            "By Morris screening: bars are the mean size of the change that a factor's whole range "
            "makes, with a 95 % interval over the design; the green line is its interval over "
            "seeds; the diamond has the sign. A diamond far from the end of its bar: the "
            "direction depends on the other factors.", tuple(
                figures_design.tornado(design, figure) for figure in design["figure"].unique()))
