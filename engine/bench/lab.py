"""What experiments of the cascade lab cost: an hour of many symbols, a sweep, a large population.

`python -m engine.bench.lab` measures all of it. Each part runs in a process of its own
(`... PART PLAN`), so that peak memory and processor time are its own.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine.bench.report import Report, Table
from engine.errors import RunError

Progress = Callable[[str], None]

PARTS = ("hour", "sweep", "large")
_TICK_HZ = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class LabPlan:
    """How large a run is.

    Attributes
    ----------
    hour_accounts, hour_symbols, hour_s : int
        One run with makers, noise and trend followers, at steps of a second.
    sweep_runs, sweep_accounts, sweep_s, jobs : int
        Seeds of the default scenario with their twins, in so many processes.
    large_accounts, large_s : int
        One run of the default scenario, with its maps, causes and figures.
    """

    hour_accounts: int = 100_000
    hour_symbols: int = 20
    hour_s: int = 3_600
    sweep_runs: int = 64
    sweep_accounts: int = 8_000
    sweep_s: int = 900
    jobs: int = 2
    large_accounts: int = 1_000_000
    large_s: int = 900


SMOKE = LabPlan(300, 4, 15, 4, 150, 15, 2, 1_000, 15)


def run_lab(plan: LabPlan, progress: Progress = lambda note: None) -> dict[str, dict[str, Any]]:
    """Measure all parts.

    Returns
    -------
    dict
        By part what it printed.

    Raises
    ------
    RunError
        A part failed.
    """
    out = {}
    for part in PARTS:
        progress(f"lab: {part}")
        out[part] = measure(part, plan)
    return out


def measure(part: str, plan: LabPlan) -> dict[str, Any]:
    """Measure one part in a process of its own.

    Raises
    ------
    RunError
        It failed.
    """
    child = subprocess.run(
        [sys.executable, "-m", "engine.bench.lab", part, json.dumps(asdict(plan))],
        capture_output=True, text=True)
    if child.returncode:
        last = child.stderr.strip().rpartition("\n")[2]
        raise RunError(f"the {part} of the lab benchmark failed: {last}")
    return dict(json.loads(child.stdout))


def lab_report(plan: LabPlan, parts: dict[str, dict[str, Any]]) -> Report:
    """Return the report of what `run_lab` measured."""
    hour, swept, large = (parts[part] for part in PARTS)
    table = Table("Cost", ("what", "figure"))
    table.add(f"{plan.hour_accounts:,} accounts, {plan.hour_symbols} symbols, {plan.hour_s} s",
              f"{hour['cpu_s']:.1f} s of one core, {hour['commands']:,} commands")
    table.add(f"sweep of {plan.sweep_runs} seeds and their twins, {plan.jobs} processes",
              f"{swept['wall_s']:.1f} s, {swept['cpu_s']:.1f} s of the processor")
    table.add("  user time ÷ (processes × wall)", f"{swept['busy']:.1%}")
    ready = f"{swept['ready']:.1%}" if swept["ready"] else "not told"
    table.add("  running or ready to run", ready)
    table.add(f"{plan.large_accounts:,} accounts, {plan.large_s} s: peak resident memory",
              f"{large['peak_bytes'] / 1e9:.2f} GB, {large['cpu_s']:.0f} s of one core, "
              f"{large['liquidations']:,} liquidations")
    bad = [f"{part}: drift {parts[part]['drift']}" for part in PARTS if parts[part]["drift"] != "0"]
    return Report(
        "Cascade lab", [("state hash of the hour", hour["state_hash"]),
                        ("state hash of the large run", large["state_hash"])], [table],
        ["Start of the interpreters and of the worker processes is left out of the sweep's wall "
         "time; loading the population is in all.",
         "Ready to run: what the workers ran or waited for a processor, as the kernel counts it. "
         "On a machine that does other things as well it says what user time cannot."], bad)


# --- in the child ---------------------------------------------------------------------------


def _hour(plan: LabPlan) -> dict[str, Any]:
    from engine.lab import Scenario, SymbolSpec

    symbols = tuple(SymbolSpec(f"S{at:02}", "100") for at in range(plan.hour_symbols))
    scenario = Scenario(duration_s=plan.hour_s, symbols=symbols)
    run = scenario.replaced("population.accounts", plan.hour_accounts).run(maps=False)
    return {"cpu_s": _cpu_s(), "commands": run.seq, "drift": run.drift,
            "state_hash": run.state_hash}


def _large(plan: LabPlan) -> dict[str, Any]:
    from engine.lab import Scenario
    from engine.lab.causes import find_causes
    from engine.lab.summary import summarize

    scenario = Scenario(duration_s=plan.large_s)
    run = scenario.replaced("population.accounts", plan.large_accounts).run()
    row = summarize(run, causes=find_causes(run))
    return {"peak_bytes": peak_bytes(), "cpu_s": _cpu_s(), "drift": run.drift,
            "liquidations": int(row["liquidations"]), "state_hash": run.state_hash}


def _sweep(plan: LabPlan) -> dict[str, Any]:
    from joblib import Parallel, delayed

    from engine.lab import Scenario
    from engine.lab.sweep import run_row, sweep

    scenario = Scenario(duration_s=plan.sweep_s).replaced(
        "population.accounts", plan.sweep_accounts)
    # Workers are up, and have imported what they need, before the clock starts.
    tiny = scenario.replaced("population.accounts", 50).replaced("duration_s", 2)
    Parallel(n_jobs=plan.jobs)(delayed(run_row)(tiny) for _ in range(4 * plan.jobs))
    sweep(tiny, seeds=[1])  # and so has this process
    workers = [pid for pid in children(os.getpid()) if _user_s(pid) > 0]
    before = [(_user_s(pid), _ready_s(pid)) for pid in workers]
    start, own = time.perf_counter(), time.process_time()
    frame = sweep(scenario, seeds=range(1, plan.sweep_runs + 1), jobs=plan.jobs)
    wall = time.perf_counter() - start
    used = time.process_time() - own
    used += sum(_user_s(pid) - user for pid, (user, _) in zip(workers, before, strict=True))
    ready = sum(_ready_s(pid) - was for pid, (_, was) in zip(workers, before, strict=True))
    drift = next((one for one in frame["drift"] if one != "0"), "0")
    return {"wall_s": wall, "cpu_s": used, "busy": used / (plan.jobs * wall),
            "ready": ready / (plan.jobs * wall), "drift": drift, "workers": len(workers)}


def _cpu_s() -> float:
    spent = resource.getrusage(resource.RUSAGE_SELF)
    return spent.ru_utime + spent.ru_stime


def peak_bytes() -> int:
    """Return the peak resident memory of this process; `ru_maxrss` may be its parent's."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def children(parent: int) -> list[int]:
    """Return the processes that a process has started."""
    out = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            fields = _stat(int(folder.name))
            if fields and int(fields[1]) == parent:
                out.append(int(folder.name))
    return sorted(out)


def _stat(pid: int) -> list[str]:
    try:
        # The name, in brackets, may hold anything.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return []


def _user_s(pid: int) -> float:
    fields = _stat(pid)
    return int(fields[11]) / _TICK_HZ if fields else 0.0


def _ready_s(pid: int) -> float:
    """Time that the main thread ran or waited for a processor; 0 where it is not told."""
    try:
        ran, waited, _ = Path(f"/proc/{pid}/schedstat").read_text().split()
    except (OSError, ValueError):
        return 0.0
    return (int(ran) + int(waited)) / 1e9


def main() -> None:
    if len(sys.argv) == 1:
        print("\n".join(lab_report(LabPlan(), run_lab(LabPlan())).plain()))
        return
    measures: dict[str, Callable[[LabPlan], dict[str, Any]]] = {
        "hour": _hour, "sweep": _sweep, "large": _large}
    if sys.argv[1] not in measures:
        sys.exit(f"error: {sys.argv[1]}: expected {', '.join(measures)}")
    plan = LabPlan(**json.loads(sys.argv[2])) if len(sys.argv) > 2 else LabPlan()
    print(json.dumps(measures[sys.argv[1]](plan)))


if __name__ == "__main__":
    main()
