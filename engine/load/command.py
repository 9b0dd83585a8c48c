"""`engine load`: options to plans, progress, lines and pages."""

from __future__ import annotations

import shlex
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from engine.bench.report import Report, Table, aligned, print_report
from engine.endpoints import check_endpoint
from engine.errors import InputError, RunError
from engine.journal.store import Durability
from engine.keys import read_client_keys, read_key_name
from engine.load import report as reports
from engine.load.arrivals import Arrivals, Ints
from engine.load.fleet import LegResult
from engine.load.flow import parse_mix
from engine.load.histogram import Histogram
from engine.load.knee import Probe
from engine.load.page import require_place, require_plotly
from engine.load.plan import LoadPlan, parse_duration
from engine.load.run import LoadResult, load_in_process, load_own, load_server
from engine.load.server import ServerPlan
from engine.load.soak import Watch
from engine.load.table import Cell, measure_table
from engine.load.worker import Caller
from engine.load.world import World
from engine.progress import ProgressBar

Rows = list[tuple[str, str]]
_KNEE_ACCOUNTS = (1_000, 10_000, 100_000, 1_000_000)
_ACCOUNTS = 10_000
#: Arrival times kept of a tape.
_TAPE_MAX = 5_000_000


@dataclass(frozen=True)
class Options:
    """The options of the command line, as given."""

    connect: str | None
    in_process: bool
    accounts: Sequence[int]
    journal: str | None
    fsync: str
    scenario: str | None
    population: str | None
    symbols: tuple[str, ...]
    rate: float | None
    duration: str | None
    arrivals: str
    tape: str | None
    mix: str
    swing: float
    clients: int
    traders: int
    batch: int | None
    packed: bool
    seed: int
    knee: bool
    target: str
    repeats: int
    precision: float
    soak: bool
    page: Path | None
    hgrm: Path | None
    keys: tuple[str, ...]
    server_key: str | None
    allow_remote: bool


def run_and_print(options: Options) -> None:
    """Run a load, a knee search or a soak; print what it came to.

    Raises
    ------
    InputError, RunError
    """
    _check(options)
    Histogram()  # says what to install where it is missing
    if options.page is not None:
        require_plotly()
    require_place("--page", options.page)
    require_place("--hgrm", options.hgrm)
    plan = _plan(options)
    if options.knee:
        _run_knee(options, plan)
        return
    with ExitStack() as stack:
        result = _run(options, plan, stack)
    if options.hgrm is not None:
        result.leg.latency.write(options.hgrm)
    if options.page is not None:
        reports.write_load_page(result, options.page, _command_line())
    print_rows(reports.load_rows(result))
    if result.failures:
        raise RunError("; ".join(result.failures))


def _check(options: Options) -> None:
    own = [name for name, value in (
        ("--accounts", options.accounts), ("--journal", options.journal),
        ("--scenario", options.scenario), ("--population", options.population)) if value]
    if options.connect is not None:
        check_endpoint(
            options.connect, allow_remote=options.allow_remote, has_keys=bool(options.keys))
        if own:
            raise InputError(f"{own[0]} is of a server of its own; --connect is of another one")
        if options.in_process or options.knee:
            raise InputError("--connect goes without --in-process and --knee")
    elif options.keys or options.server_key is not None:
        raise InputError("--key and --server-key are of --connect")
    if options.in_process and (options.journal not in (None, "off") or options.knee):
        raise InputError("--in-process goes without --journal and --knee: they are of servers")
    if options.in_process and options.clients != 1:
        raise InputError("--clients are of servers; an exchange in this process has one caller")
    if options.in_process and options.packed:
        raise InputError("--packed is of messages; in this process commands always are")
    modes = [mode.value for mode in Durability]
    if options.fsync not in modes:
        raise InputError(f"--fsync {options.fsync}: expected {', '.join(modes)}")
    if options.soak and options.knee:
        raise InputError("--soak and --knee are two different runs")
    if len(options.accounts) > 1 and not options.knee:
        raise InputError("--accounts: several of them go with --knee")
    if not 1 <= options.repeats <= 99 or not 0.005 <= options.precision <= 1:
        raise InputError("--repeats: expected 1 to 99; --precision: a share from 0.005 to 1")
    if options.tape is not None and options.arrivals != "tape":
        raise InputError("--tape goes with --arrivals tape")
    if options.arrivals == "tape" and options.tape is None:
        raise InputError("--arrivals tape: --tape FILE says whose times")


def _plan(options: Options) -> LoadPlan:
    arrivals = Arrivals.parse(options.arrivals)
    if options.tape is not None:
        arrivals = replace(arrivals, tape=_tape_times(options.tape))
    default_rate, default_duration = (2_000.0, "2s") if options.knee else (1_000.0, "10s")
    if options.soak:
        default_duration = "1h"
    duration = parse_duration("--duration", options.duration or default_duration)
    batch = (64 if options.in_process else 1) if options.batch is None else options.batch
    rate = default_rate if options.rate is None else options.rate
    return LoadPlan(
        rate, duration, arrivals, parse_mix(options.mix), options.swing, options.clients,
        options.traders, batch, options.packed, options.seed)


def _tape_times(path: str) -> Ints:
    """Return the times of a feed file's records, from zero."""
    from engine.feeds import Problems, open_feed

    times: list[int] = []
    now = 0
    for record in open_feed(path, "TAPE").records(Problems(False)):
        now = max(now, record.ts_ns)  # as a replay plays what comes late
        times.append(now)
        if len(times) == _TAPE_MAX:
            break
    found = np.array(times, np.int64)
    after_first: Ints = found - found[0]
    return after_first


def _run(options: Options, plan: LoadPlan, stack: ExitStack) -> LoadResult:
    bar = stack.enter_context(ProgressBar("load", int(plan.duration_s), unit="s"))

    def on_progress(leg: LegResult, now: float) -> None:
        note = f"p99 {reports.ms(leg.latency.percentile(99) / 1e6)} ms" if leg.latency.count else ""
        bar.update(min(int(now), int(plan.duration_s)), note)

    watch = Watch() if options.soak else None
    if options.connect is not None:
        return load_server(
            plan, options.connect, options.symbols, _callers(options), watch=watch,
            on_progress=on_progress)
    world = _world(options, options.accounts[0] if options.accounts else _ACCOUNTS)
    if options.in_process:
        return load_in_process(plan, world, options.symbols, on_progress, watch)
    folder = options.journal
    if folder is None:
        folder = str(Path(stack.enter_context(
            tempfile.TemporaryDirectory(prefix="load"))) / "journal")
    server = ServerPlan(world, None if folder == "off" else folder, options.fsync)
    return load_own(plan, server, options.symbols, watch=watch, on_progress=on_progress)


def _callers(options: Options) -> list[Caller]:
    """Return the clients and their keys; each is the one that its key was made for."""
    if not options.keys and options.server_key is None:
        return []
    if len(options.keys) != options.clients:
        raise InputError(
            f"--key: each client has its own; {options.clients} of them, {len(options.keys)} keys")
    callers = [
        Caller(read_key_name(path), read_client_keys(path, options.server_key))
        for path in options.keys]
    if len({caller.name for caller in callers}) < len(callers):
        raise InputError("--key: two keys of the same name; each client has its own")
    return callers


def _world(options: Options, accounts: int) -> World:
    return World(accounts, options.seed, options.scenario, options.population)


def _run_knee(options: Options, plan: LoadPlan) -> None:
    target_ms = parse_duration("--target", options.target) * 1000
    if not 0.001 <= target_ms <= 60_000:
        raise InputError(f"--target {options.target}: expected 1 us to 60 s")
    worlds = [_world(options, count) for count in options.accounts or _KNEE_ACCOUNTS]
    journals: list[str | None] = ["", None]
    if options.journal is not None:
        journals = [None] if options.journal == "off" else [_folder(options.journal)]
    done = 0
    with ProgressBar("knee", unit="rates") as bar:

        def on_probe(world: World, journal: str | None, probe: Probe) -> None:
            nonlocal done
            done += 1
            bar.update(done, f"{world.accounts:,} accounts, journal "
                       f"{'off' if journal is None else 'on'}: {probe.rate:,.0f} / s, p99 "
                       f"{reports.ms(probe.middle('p99'))} ms")

        cells = measure_table(
            plan, worlds, journals, options.fsync, target_ms, repeats=options.repeats,
            precision=options.precision, symbols=options.symbols, on_probe=on_probe)
    if any(cell.knee.probes for cell in cells):
        if options.page is not None:
            reports.write_knee_page(
                plan, [cell for cell in cells if cell.knee.probes], options.page, _command_line())
        _print_cells(plan, cells)
    failures = [what for cell in cells for what in cell.failures]
    if failures:
        raise RunError("; ".join(failures))


def _print_cells(plan: LoadPlan, cells: Sequence[Cell]) -> None:
    target = reports.ms(cells[0].knee.target_ms)
    found = Report(f"knee: the highest rate with p99 within {target} ms")
    found.facts = [
        *reports.plan_rows(plan), ("leg", f"{plan.duration_s:g} s"),
        *(("interrupted", "the last search did not end") for cell in cells if cell.is_interrupted)]
    knees = Table("knees, latencies at the knee", reports.CELL_COLUMNS)
    for cell in cells:
        knees.add(*reports.cell_rows(cell))
    found.tables.append(knees)
    for cell in cells:
        tried = Table(
            f"{cell.accounts:,} accounts, journal {cell.journal}: drift {cell.drift}, "
            f"state_hash {cell.state_hash}",
            ("rate", "p50 ms", "p99 ms", "p99.9 ms", "answered a second", "sent late p99 ms",
             "holds"))
        for probe in sorted(cell.knee.probes, key=lambda probe: probe.rate):
            tried.add(
                f"{probe.rate:,.0f}",
                *(reports.ms(probe.middle(name)) for name in ("p50", "p99", "p999")),
                f"{probe.middle('achieved'):,.0f}", reports.ms(probe.middle("lateness")),
                "yes" if probe.holds else "no")
        found.tables.append(tried)
    print_report(found)


def _folder(path: str) -> str:
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--journal {path}: {(error.strerror or '').lower()}") from None
    return path


def _command_line() -> str:
    return shlex.join(["engine", *sys.argv[1:]])


def print_rows(rows: Rows) -> None:
    """Print a summary, one `name  value` a line."""
    print("\n".join(aligned(rows)), flush=True)
