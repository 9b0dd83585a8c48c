"""`engine bench`: run, show progress, print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.bench import reports
from engine.bench.machine import machine_rows
from engine.bench.report import aligned, print_report
from engine.errors import InputError, RunError
from engine.load.page import require_place, require_plotly
from engine.progress import ProgressBar


class _Steps:
    """Counts what the benchmarks say they do next, on whichever bar is up."""

    def __init__(self) -> None:
        self.bar: ProgressBar | None = None
        self._count = 0

    def __call__(self, note: str) -> None:
        self._count += 1
        if self.bar is not None:
            self.bar.update(self._count, note)


def run_and_print(
    what: str, size: str, accounts: int | None, commands: int | None = None,
    streams: Sequence[str] = (), largest: bool = False, page: Path | None = None,
    breaches: Sequence[int] = (), serve: Mapping[str, Any] | None = None,
) -> None:
    """Run benchmarks and print the machine, then each report as it comes.

    Raises
    ------
    RunError
        Results disagree; everything has been printed.
    """
    if page is not None:
        require_plotly()
        require_place("--page", page)
    print("\n".join(aligned(machine_rows())), end="\n\n", flush=True)
    steps, failures = _Steps(), []
    results = reports(
        what, size, accounts, steps, commands, streams, largest, page, breaches, serve)
    while True:
        with ProgressBar("benchmark", unit="steps") as bar:
            steps.bar = bar
            report = next(results, None)
        if report is None:
            break
        print_report(report)
        failures += report.failures
    if failures:
        raise RunError("; ".join(failures))


def serve_options(
    what: str, rate: int | None, clients: int | None, journals: Sequence[str] | None
) -> dict[str, Any]:
    """Return the fields of `engine.bench.serving.ServePlan` that were given.

    Raises
    ------
    InputError
        Given for another benchmark, or not a mode.
    """
    for mode in journals or ():
        if mode not in ("batch", "always", "off"):
            raise InputError(f"--journal {mode}: expected batch, always or off")
    fields = {"rate": rate, "clients": clients, "journals": tuple(journals) if journals else None}
    given = {name: value for name, value in fields.items() if value is not None}
    if given and what not in ("serve", "all"):
        raise InputError("--rate, --clients and --journal go with serve or all")
    return given
