"""Who pays under which policy of auto-deleveraging?

What is left is closed against winners in turn by rank, or spread by contracts, by wealth, or
as evenly as possible. Runs with the engine's own allocation, then the identity of
Chitra (2025), read off the events of single deleveragings: for the top winner a queue is worse
than pro rata by theta (1 - w1 / U), as long as what is taken does not exceed his winnings.
"""

from __future__ import annotations

import argparse

from engine.lab import metrics
from engine.lab.adl_identity import compare
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

    print("top winner, pro rata less queue: by the engine's events, and theta (1 - w1 / U)")
    for bid_share in (0.0, 0.25, 0.5):
        by_events, by_formula = compare([60, 30, 10], 40, bid_share)
        print(f"  theta {1 - bid_share:.2f}   {by_events:.4f}   {by_formula:.4f}")


if __name__ == "__main__":
    main()
