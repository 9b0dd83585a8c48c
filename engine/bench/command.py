"""`engine bench`: run, show progress, print."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from engine.bench import reports
from engine.bench.machine import machine_rows
from engine.bench.report import aligned, print_report
from engine.errors import RunError
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
    breaches: Sequence[int] = (),
) -> None:
    """Run benchmarks and print the machine, then each report as it comes.

    Raises
    ------
    RunError
        Results disagree; everything has been printed.
    """
    print("\n".join(aligned(machine_rows())), end="\n\n", flush=True)
    steps, failures = _Steps(), []
    results = reports(
        what, size, accounts, steps, commands, streams, largest, page, breaches)
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
