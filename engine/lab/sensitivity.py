"""Global sensitivity: which parts of a scenario matter, by Morris screening or Sobol indices.

SALib (the extra `sensitivity`) draws the design and analyses it. Every point of the design is
run with the same seeds. So the elementary effects of a seed are differences of paired runs,
and the spread of an index over seeds is what chance leaves open.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from engine.errors import InputError, RunError
from engine.lab import metrics
from engine.lab.market import Floats
from engine.lab.scenario import Scenario
from engine.lab.sweep import run_plan

if TYPE_CHECKING:
    import pandas as pd

Method = Literal["morris", "sobol"]
_POINT = "point"
#: Levels of a Morris design.
_LEVELS = 4


@dataclass(frozen=True)
class Factor:
    """A part of a scenario that is varied.

    Attributes
    ----------
    path : str
        As in `Scenario.replaced`. A part that is a whole number stays one.
    low, high : float
    scale : str
        ``linear``, or ``log``: every doubling counts alike.
    """

    path: str
    low: float
    high: float
    scale: Literal["linear", "log"] = "linear"

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.scale == "log" and self.low <= 0):
            raise InputError(f"factor {self.path}: expected low < high, above 0 on a log scale")

    def value(self, share: float) -> float:
        """Return what lies at a share of the way from low to high."""
        if self.scale == "log":
            return float(self.low * (self.high / self.low) ** share)
        return self.low + share * (self.high - self.low)


#: What a venue, its traders and its makers differ in most.
FACTORS = (
    Factor("population.leverage_median", 5.0, 25.0, "log"),
    Factor("population.long_share", 0.5, 0.8),
    Factor("population.notional_sigma", 1.0, 2.0),
    Factor("makers.depth", 0.02, 0.2, "log"),
    Factor("makers.impact", 0.0075, 0.03, "log"),
    Factor("makers.refill_half_life_s", 5.0, 60.0, "log"),
    Factor("mark.ema_s", 5.0, 60.0, "log"),
    Factor("insurance", 50_000.0, 1_000_000.0, "log"),
)
#: Figures that are analysed where none are named.
FIGURES = ("liquidated_share", "reproduction_twin", "overshoot_twin", "fund_drawdown", "by_adl")


def sensitivity(
    scenario: Scenario, method: Method = "morris", factors: Sequence[Factor] = FACTORS, *,
    size: int = 8, figures: Sequence[str] = FIGURES, seeds: Iterable[int] = range(1, 5),
    jobs: int = 1, out: Path | None = None, backend: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Run a design over the factors, and say how much each matters for each figure.

    Parameters
    ----------
    scenario : Scenario
    method : {"morris", "sobol"}
        Morris: size x (factors + 1) points, ranks what matters and tells straight effects from
        others. Sobol: size x (factors + 2) points, shares of the variance.
    factors : sequence of Factor
    size : int
        Trajectories of Morris; base sample of Sobol, a power of two.
    figures : sequence of str
        Of `engine.lab.summary.summarize`.
    seeds : iterable of int
        The same at every point.
    jobs, out, backend, progress
        As in `engine.lab.sweep.sweep`.

    Returns
    -------
    pandas.DataFrame
        A row for each figure and factor. Morris: ``mu`` (mean effect of the whole range),
        ``index`` = mu* (mean of its absolute value), ``sigma`` (how it varies over the other
        factors). Sobol: ``first`` (share of the variance by this factor alone), ``index`` = ST
        (with all in which it takes part). ``conf``: half of SALib's 95 % interval of the index
        over the design; ``seed_low``, ``seed_high``: its 95 % interval over seeds, each
        analysed alone.

    Raises
    ------
    RunError
        SALib is missing, or a run does not add up.
    InputError
        A size or a figure that is none.
    """
    check_design(method, size)
    import pandas as pd

    chosen = list(seeds)
    points = _design(method, len(factors), size)
    plan = [({_POINT: at, "seed": seed}, _placed(scenario, factors, point).replaced("seed", seed))
            for at, point in enumerate(points.tolist()) for seed in chosen]
    frame = run_plan(plan, jobs, out=out, backend=backend, progress=progress)
    unknown = [name for name in figures if name not in frame]
    if unknown:
        raise InputError(f"no such figure: {unknown[0]}")
    rows: list[dict[str, Any]] = []
    for name in figures:
        # Points by seeds; a figure that a run has no value of counts as 0.
        table = frame.pivot(index=_POINT, columns="seed", values=name).fillna(0.0).to_numpy()
        whole = _analysed(method, points, table.mean(axis=1))
        alone = np.array([_analysed(method, points, column)["index"] for column in table.T])
        for at, factor in enumerate(factors):
            _, low, high = metrics.interval(alone[:, at])
            rows.append({"figure": name, "factor": factor.path,
                         **{key: float(values[at]) for key, values in whole.items()},
                         "seed_low": low, "seed_high": high})
    return pd.DataFrame(rows)


def check_design(method: Method, size: int) -> None:
    """Check that a design can be made, before anything is run; raises as `sensitivity` does."""
    try:
        import SALib  # noqa: F401
    except ImportError:
        raise RunError("SALib is missing: install the extra `sensitivity`") from None
    if method == "sobol" and (size < 2 or size & (size - 1)):
        raise InputError(f"the size of a Sobol design is a power of two, not {size}")
    if size < 2:
        raise InputError(f"a design has at least two trajectories, not {size}")


def _placed(scenario: Scenario, factors: Sequence[Factor], point: Sequence[float]) -> Scenario:
    for factor, share in zip(factors, point, strict=True):
        value: float = factor.value(share)
        if isinstance(_part(scenario, factor.path), int):
            value = round(value)
        scenario = scenario.replaced(factor.path, value)
    return scenario


def _part(scenario: Scenario, path: str) -> Any:
    part: Any = scenario
    try:
        for name in path.split("."):
            part = part[int(name)] if name.isdigit() else getattr(part, name)
    except (AttributeError, LookupError, TypeError):
        raise InputError(f"no such part of a scenario: {path}") from None
    return part


def _problem(count: int) -> dict[str, Any]:
    return {"num_vars": count, "names": [str(at) for at in range(count)],
            "bounds": [[0.0, 1.0]] * count}


# Designs and bootstraps are drawn with a fixed seed: the same call gives the same table.
def _design(method: Method, count: int, size: int) -> Floats:
    if method == "morris":
        from SALib.sample import morris

        drawn = morris.sample(_problem(count), size, num_levels=_LEVELS, seed=1)
    else:
        from SALib.sample import sobol

        drawn = sobol.sample(_problem(count), size, calc_second_order=False, seed=1)
    return np.asarray(drawn, np.float64)


def _analysed(method: Method, points: Floats, values: Floats) -> dict[str, Floats]:
    count = points.shape[1]
    if math.isclose(float(np.ptp(values)), 0.0, abs_tol=1e-12):
        nothing = np.zeros(count)
        first = "mu" if method == "morris" else "first"
        return {first: nothing, "index": nothing, "conf": nothing} | (
            {"sigma": nothing} if method == "morris" else {})
    if method == "morris":
        from SALib.analyze import morris

        found = morris.analyze(_problem(count), points, values, num_levels=_LEVELS, seed=1)
        return {"mu": np.asarray(found["mu"]), "index": np.asarray(found["mu_star"]),
                "conf": np.asarray(found["mu_star_conf"]), "sigma": np.asarray(found["sigma"])}
    from SALib.analyze import sobol

    found = sobol.analyze(_problem(count), values, calc_second_order=False, seed=1)
    return {"first": np.asarray(found["S1"]), "index": np.asarray(found["ST"]),
            "conf": np.asarray(found["ST_conf"])}
