"""Run a study by its name, and say what its parameter changes.

Seeds are paired: every value meets the same random numbers, so what is compared is the
difference within a seed, with a 95 % interval over seeds. An interval that holds zero says
that these seeds show no difference, not that there is none.
"""

from __future__ import annotations

import argparse

from engine.lab import metrics
from engine.lab.studies import find_study
from engine.lab.sweep import sweep


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("study", nargs="?", default="tier_schedules")
    options.add_argument("--accounts", type=int, default=0, help="0: the study's")
    options.add_argument("--seconds", type=int, default=0, help="0: the study's")
    options.add_argument("--seeds", type=int, default=8)
    options.add_argument("--jobs", type=int, default=1)
    chosen = options.parse_args()
    study = find_study(chosen.study)
    scenario = study.scenario
    if chosen.accounts:
        scenario = scenario.replaced("population.accounts", chosen.accounts)
    if chosen.seconds:
        scenario = scenario.replaced("duration_s", chosen.seconds)
    frame = sweep(scenario, study.parameters, range(1, chosen.seeds + 1), chosen.jobs)
    print(f"{study.title}. {study.text}")
    for path in list(study.parameters)[:1]:
        labels = list(dict.fromkeys(frame[path]))
        by_label = {label: frame[frame[path] == label].set_index("seed") for label in labels}
        for figure, title in study.figures:
            print(f"\n{title} ({figure})")
            for label, rows in by_label.items():
                mean, low, high = metrics.interval(rows[figure].to_numpy())
                change = (rows[figure] - by_label[labels[0]][figure]).to_numpy()
                less, least, most = metrics.interval(change)
                print(f"{label!s:<20}{mean:>14,.4g}  ({low:,.4g} to {high:,.4g})"
                      f"   less {labels[0]}: {less:,.4g} ({least:,.4g} to {most:,.4g})")


if __name__ == "__main__":
    main()
