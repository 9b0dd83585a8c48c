"""One run and its twin: what did the liquidations add to the fall?

The twin meets the same random numbers with liquidation switched off. What became due in
the run and not in the twin would not have been liquidated without the liquidations. The
tree says which of them pushed which: `generation` 0 was set off from outside, and each
further generation by the trades of the one before.
"""

from __future__ import annotations

import argparse

import numpy as np

from engine import EngineError
from engine.lab import Scenario
from engine.lab.causes import find_causes
from engine.lab.market import MINOR
from engine.lab.summary import summarize


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--accounts", type=int, default=8_000)
    options.add_argument("--seconds", type=int, default=900)
    options.add_argument("--seed", type=int, default=1)
    chosen = options.parse_args()
    scenario = Scenario(seed=chosen.seed).replaced("population.accounts", chosen.accounts)
    scenario = scenario.replaced("duration_s", chosen.seconds)
    run, twin = scenario.run(), scenario.run(counterfactual=True)
    causes = find_causes(run)
    row = summarize(run, twin, causes)
    for name in ("low", "overshoot_twin", "liquidated", "by_book", "by_fund", "by_adl",
                 "reproduction_excess", "reproduction_twin", "amplification"):
        print(f"{name:<22}{row[name]:>16,.3f}")
    by_generation = np.bincount(causes.generation, causes.closed / MINOR)
    for generation, closed in enumerate(by_generation[:8]):
        print(f"generation {generation:<11}{closed:>16,.0f}")
    print(f"{'drift':<22}{run.drift:>16}\n{'state_hash':<22}{run.state_hash}")


if __name__ == "__main__":
    try:
        main()
    except EngineError as error:
        raise SystemExit(f"error: {error}") from None
