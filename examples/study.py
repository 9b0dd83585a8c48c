"""Run a study by its name, and say what its parameters change.

Seeds are paired: every value meets the same random numbers, so what is compared is the
difference within a seed, with a 95 % interval over seeds. An interval that holds zero says
that these seeds show no difference, not that there is none: `finds` is the least difference
that as many seeds find with a power of 80 %.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from engine.lab import statistics
from engine.lab.studies import find_study
from engine.lab.sweep import sweep
from engine.lab.tables import interval_text, number

if TYPE_CHECKING:
    import pandas as pd

#: Of studies that vary nothing.
FIGURES = (("liquidated_share", "share of open notional closed"),
           ("reproduction_twin", "R, counterfactual"), ("reproduction_excess", "R, by causes"),
           ("overshoot_twin", "how much lower the low"))


def print_figure(frames: dict[str, pd.DataFrame], figure: str) -> None:
    """Print a line for each value, with the difference from the first one."""
    first, *_ = (rows[figure].to_numpy() for rows in frames.values())
    for at, (label, rows) in enumerate(frames.items()):
        values = rows[figure].to_numpy()
        line = f"{label:<26}{interval_text(values):<32}"
        if at:
            change = values - first
            line += (f"less the first: {interval_text(change):<32}"
                     f"finds {number(statistics.detectable(change))}")
        print(line.rstrip())


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("study", nargs="?", default="tier_schedules")
    options.add_argument("--accounts", type=int, default=0, help="0: the study's")
    options.add_argument("--seconds", type=int, default=0,
                         help="0: the study's; its shocks and its tape go by as much faster")
    options.add_argument("--seeds", type=int, default=8)
    options.add_argument("--jobs", type=int, default=1)
    chosen = options.parse_args()
    study = find_study(chosen.study).resized(chosen.accounts, chosen.seconds)
    frame = sweep(study.scenario, study.parameters, range(1, chosen.seeds + 1), chosen.jobs)
    print(f"{study.title}. {study.text}")
    frames = {"as it is": frame}
    if study.parameters:
        labels = frame[list(study.parameters)].astype(str).agg(" × ".join, axis=1)
        frames = {label: frame[labels == label] for label in dict.fromkeys(labels)}
    for figure, title in study.figures or FIGURES:
        print(f"\n{title} ({figure})")
        print_figure(frames, figure)


if __name__ == "__main__":
    main()
