"""`python -m simulation FIRST LAST`: run seeds, say what went wrong in them and what was found."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from collections import Counter
from functools import partial

from engine.progress import ProgressBar
from simulation.canaries import CANARIES, run_seed
from simulation.run import Result


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line says; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="tools/simulate", description="Run the server against injected faults, seed by seed.")
    parser.add_argument("first", type=int, nargs="?", default=0, help="first seed")
    parser.add_argument("last", type=int, nargs="?", help="last seed; default: the first")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--core", choices=("compiled", "reference"), default="compiled")
    parser.add_argument("--canary", choices=sorted(CANARIES), help="put this bug into the code")
    parser.add_argument("--log", action="store_true", help="print all that happens; for one seed")
    options = parser.parse_args(arguments)
    last = options.first if options.last is None else options.last
    if last < options.first or options.jobs < 1:
        parser.error("expected a first seed, a last one not below it, and at least one process")
    if options.log:
        result = run_seed(options.first, options.core, options.canary, is_logged=True)
        print("\n".join(result.log))
        return report([result], options)
    return report(run_all(range(options.first, last + 1), options), options)


def run_all(seeds: range, options: argparse.Namespace) -> list[Result]:
    """Run seeds in several processes; results in the order in which they come."""
    results = []
    work = partial(run_seed, core=options.core, canary=options.canary)
    with multiprocessing.get_context("forkserver").Pool(min(options.jobs, len(seeds))) as pool:
        with ProgressBar("simulating", len(seeds), unit="seeds") as bar:
            for result in pool.imap_unordered(work, seeds, chunksize=4):
                results.append(result)
                bar.update(len(results))
    return results


def report(results: list[Result], options: argparse.Namespace) -> int:
    """Print what happened, and every seed that found something; return the exit code."""
    counts: Counter[str] = Counter()
    for result in results:
        counts += result.counts
    failed = sorted((each for each in results if each.problem), key=lambda each: each.seed)
    rows = [("seeds", len(results)), ("failed", len(failed)),
            ("server_starts", sum(each.starts for each in results)),
            ("commands", sum(each.commands for each in results)),
            ("disk_operations", sum(each.operations for each in results))]
    rows += [(f"fault_{kind}", count) for kind, count in sorted(counts.items())]
    for name, value in rows:
        print(f"{name:28} {value}")
    for result in failed:
        flags = f" --core {options.core}" if options.core != "compiled" else ""
        flags += f" --canary {options.canary}" if options.canary else ""
        print(f"seed {result.seed} (trace {result.trace}): {(result.problem or '').rstrip()}\n"
              f"  again: tools/simulate {result.seed} --log{flags}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
