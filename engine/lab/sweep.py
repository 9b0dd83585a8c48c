"""Many runs: every combination of parameter values, each with the same seeds.

Runs go to joblib, so the backend is a name: `loky` for processes on this machine, `dask` or
`ray` where a cluster is registered with joblib. A run is a function of its scenario alone,
so it makes no difference where it is run, or with how many others.
"""

from __future__ import annotations

import functools
import gc
import hashlib
import itertools
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine import __version__
from engine.errors import RunError
from engine.freed import return_freed
from engine.lab.causes import find_causes
from engine.lab.contagion import first_hits
from engine.lab.frames import write_pair
from engine.lab.market import MINOR
from engine.lab.needs import require
from engine.lab.recorder import Run
from engine.lab.scenario import Scenario
from engine.lab.summary import adl_haircuts, summarize

if TYPE_CHECKING:
    import pandas as pd

#: A parameter's values, plain or by a label.
Values = Sequence[Any] | Mapping[str, Any]
#: Points of a path that a row keeps.
PATH_POINTS = 180


def sweep(
    scenario: Scenario, parameters: Mapping[str, Values] | None = None,
    seeds: Iterable[int] = range(1, 9), jobs: int = 1, *, twin: bool = True,
    out: Path | str | None = None, backend: str | None = None,
    progress: Callable[[int, int], None] | None = None, events: bool = False,
) -> pd.DataFrame:
    """Run every combination of parameter values with every seed.

    Parameters
    ----------
    scenario : Scenario
    parameters : dict of str to values
        Paths as in `Scenario.replaced`; values in a list, or a dict by label.
    seeds : iterable of int
        The same for every combination: differences are paired.
    jobs : int
        As joblib's `n_jobs`.
    twin : bool, default True
        Run the counterfactual twin as well.
    out : Path or str, optional
        A folder that keeps each finished run; a sweep that is started again with the same
        folder goes on where it stopped.
    backend : str, optional
        A backend of joblib.
    progress : callable, optional
        Told how many are done, and of how many.
    events : bool, default False
        Write the event tables of the first combination's runs and twins into ``events`` in `out`,
        a folder for each by its fingerprint (`engine.lab.frames.write_pair`).

    Returns
    -------
    pandas.DataFrame
        A row for each run, in order of combination and seed: parameters (labels), ``seed``,
        the figures of `summarize`, ``state_hash``, ``drift``, ``fingerprint``, versions.

    Raises
    ------
    RunError
        A run with drift, or with positions that do not sum to zero; a backend that joblib does
        not have, or that nobody has started; a library of the extra `lab` is missing.
    """
    seeds = list(seeds)
    return run_plan(make_plan(scenario, parameters or {}, seeds), jobs, twin=twin, out=out,
                    backend=backend, progress=progress, events=len(seeds) if events else 0)


def run_plan(
    plan: Sequence[tuple[Mapping[str, Any], Scenario]], jobs: int = 1, *, twin: bool = True,
    out: Path | str | None = None, backend: str | None = None,
    progress: Callable[[int, int], None] | None = None, events: int = 0,
) -> pd.DataFrame:
    """Run scenarios, each with labels for its row; the rest is as in `sweep`.

    `events` is of how many, from the first on, event tables are written.
    """
    require("joblib", "pandas", "scipy")
    import pandas as pd

    rows: dict[int, dict[str, Any]] = {}
    folder = None if out is None else Path(out) / "rows"
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    waiting = []
    for at, (_, one) in enumerate(plan):
        file = None if folder is None else folder / f"{one.fingerprint()}-{int(twin)}.json"
        tables = None
        if out is not None and at < events:
            tables = Path(out) / "events" / one.fingerprint()
        if file is not None and file.exists() and (tables is None or tables.exists()):
            kept = json.loads(file.read_text(encoding="utf-8"))
            if kept["engine"] == __version__ and kept.get("code") == code_fingerprint():
                rows[at] = kept
                continue
        waiting.append((at, one, file, tables))
    for at, file, row in _run_all(waiting, twin, jobs, backend):
        rows[at] = row
        if file is not None:
            _write_whole(file, json.dumps(row))
        if progress is not None:
            progress(len(rows), len(plan))
    frame = pd.DataFrame([{**plan[at][0], **rows[at]} for at in range(len(plan))])
    bad = frame[(frame["drift"] != "0") | ~frame["is_balanced"]]
    if len(bad):
        raise RunError(f"money or positions do not add up: seed {bad['seed'].iloc[0]}")
    return frame


def make_plan(
    scenario: Scenario, parameters: Mapping[str, Values], seeds: Iterable[int]
) -> list[tuple[dict[str, Any], Scenario]]:
    """Return every combination of values with every seed: labels, and the scenario."""
    choices = [
        [(path, label, value) for label, value in (
            values.items() if isinstance(values, Mapping) else zip(values, values, strict=True))]
        for path, values in parameters.items()]
    seeds = list(seeds)
    plan = []
    for combination in itertools.product(*choices):
        chosen = scenario
        for path, _, value in combination:
            chosen = chosen.replaced(path, value)
        labels = {path: label for path, label, _ in combination}
        plan += [({**labels, "seed": seed}, chosen.replaced("seed", seed)) for seed in seeds]
    return plan


def _run_all(
    waiting: list[tuple[int, Scenario, Path | None, Path | None]], twin: bool, jobs: int,
    backend: str | None,
) -> Iterable[tuple[int, Path | None, dict[str, Any]]]:
    from joblib import Parallel, delayed, parallel_config

    try:
        chosen = parallel_config(backend=backend) if backend else nullcontext()
    except (ValueError, ImportError) as error:
        reason = " ".join(str(error).split())
        raise RunError(f"backend {backend} cannot be used: {reason}") from None
    with chosen:
        results = Parallel(n_jobs=jobs, return_as="generator_unordered")(
            delayed(_numbered)(at, one.to_json(), twin, tables)
            for at, one, _, tables in waiting)
        files = {at: file for at, _, file, _ in waiting}
        for at, row in results:
            yield at, files[at], row


def _numbered(
    at: int, text: str, twin: bool, tables: Path | None
) -> tuple[int, dict[str, Any]]:
    return at, run_row(Scenario.from_json(text), twin, tables)


def run_row(
    scenario: Scenario, twin: bool = True, tables: Path | None = None
) -> dict[str, Any]:
    """Run a scenario, and its twin if wanted, and return its row for a sweep.

    `tables` is a folder for the event tables of both.
    """
    # Runs before this one lie in circles of references. Left there, a worker would grow by some
    # megabytes a run, and joblib would end it as one that leaks.
    gc.collect()
    return_freed()
    run = scenario.run(maps=False)
    other = scenario.run(counterfactual=True, maps=False) if twin else None
    causes = find_causes(run)
    row: dict[str, Any] = {
        **summarize(run, other, causes),
        "engine": __version__, "code": code_fingerprint(), "numpy": np.__version__,
        "fingerprint": scenario.fingerprint(),
        "state_hash": run.state_hash, "drift": run.drift, "is_balanced": is_balanced(run),
        "path": _thin(run.lines["mark"][:, 0] / run.lines["mark"][0, 0]),
        "fund_path": _thin(run.clock["fund"] / MINOR),
        "sizes": np.round(np.sort(causes.closed / MINOR)[::-1][:400], 2).tolist(),
        "first_hits": first_hits(run).tolist(),
        "haircuts": np.round(np.sort(adl_haircuts(run)[1]), 2).tolist(),
    }
    if other is not None:
        row["twin_hash"] = other.state_hash
        row["twin_path"] = _thin(other.lines["mark"][:, 0] / other.lines["mark"][0, 0])
        row["is_balanced"] &= is_balanced(other) and other.drift == "0"
    if tables is not None:
        tables.parent.mkdir(parents=True, exist_ok=True)
        write_pair(run, causes, other, tables)
    return row


@functools.cache
def code_fingerprint() -> str:
    """Return 16 hex digits of the lab's source: rows that other code made are not taken."""
    found = hashlib.blake2b(digest_size=8)
    for path in sorted(Path(__file__).parent.glob("*.py")):
        found.update(path.read_bytes())
    return found.hexdigest()


def is_balanced(run: Run) -> bool:
    """Whether positions sum to zero in every symbol."""
    return not any(run.position_sums.values())


def _thin(values: Any) -> list[float]:
    at = np.linspace(0, len(values) - 1, min(PATH_POINTS, len(values))).astype(np.int64)
    return [round(float(value), 7) for value in values[at]]


def _write_whole(path: Path, text: str) -> None:
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
