"""Leverage x depth: where does a cascade feed itself?

Each cell is the mean reproduction number over seeds, by counterfactual twins: the share of
what was liquidated that would not have been otherwise. Deeper books lower it. More leverage
makes more pools due without any push as well, so it need not raise it; look at the
notional, too.
"""

from __future__ import annotations

import argparse

from engine import EngineError
from engine.lab.studies import STUDIES
from engine.lab.sweep import sweep


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--accounts", type=int, default=3_000)
    options.add_argument("--seconds", type=int, default=600)
    options.add_argument("--seeds", type=int, default=4)
    options.add_argument("--jobs", type=int, default=1)
    chosen = options.parse_args()
    study = STUDIES["phase"]
    scenario = study.scenario.replaced("population.accounts", chosen.accounts)
    scenario = scenario.replaced("duration_s", chosen.seconds)
    frame = sweep(scenario, study.parameters, range(1, chosen.seeds + 1), chosen.jobs)
    leverage, depth = study.parameters
    table = frame.pivot_table(index=depth, columns=leverage, values="reproduction_twin")
    print(table.round(3).to_string())


if __name__ == "__main__":
    try:
        main()
    except EngineError as error:
        raise SystemExit(f"error: {error}") from None
