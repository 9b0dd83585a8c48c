"""Who pays under which policy of auto-deleveraging?

The same amounts are closed against winners in turn by rank, or spread by contracts, by
wealth, or as evenly as possible. Runs with the engine's own allocation, then the identity of
Chitra (2025) on the winners of a moment: for the top winner a queue is worse than pro rata by
theta (1 - w1 / U), as long as what is taken does not exceed his winnings.
"""

from __future__ import annotations

import argparse

import numpy as np

from engine.lab import metrics
from engine.lab.studies import STUDIES
from engine.lab.sweep import sweep


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--accounts", type=int, default=8_000)
    options.add_argument("--seconds", type=int, default=900)
    options.add_argument("--seeds", type=int, default=6)
    options.add_argument("--jobs", type=int, default=1)
    chosen = options.parse_args()
    study = STUDIES["adl"]
    scenario = study.scenario.replaced("population.accounts", chosen.accounts)
    scenario = scenario.replaced("duration_s", chosen.seconds)
    frame = sweep(scenario, study.parameters, range(1, chosen.seeds + 1), chosen.jobs, twin=False)
    for policy, rows in frame.groupby("profile", sort=False):
        accounts = metrics.interval(rows["adl_accounts"].to_numpy())[0]
        gini = metrics.interval(rows["adl_gini"].to_numpy())[0]
        print(f"{policy:<12}{accounts:>10,.0f} accounts   Gini of the cost {gini:.3f}")

    winnings, deficit, theta = np.array([50.0, 30.0, 20.0]), 40.0, 0.75
    queue = metrics.haircuts_queue(winnings, np.argsort(-winnings), theta * deficit)
    pro_rata = metrics.haircuts_pro_rata(winnings, theta * deficit)
    worse = (queue[0] - pro_rata[0]) / deficit
    print(f"top winner: the queue takes {worse:.3f} of the deficit more, "
          f"theta (1 - w1 / U) = {theta * (1 - winnings[0] / winnings.sum()):.3f}")


if __name__ == "__main__":
    main()
