"""Knees of several servers: by how many accounts they hold, with and without a journal."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from engine.load.fleet import LegResult
from engine.load.knee import Knee, Probe, Sample, find_knee
from engine.load.plan import LoadPlan
from engine.load.run import loaded_server, run_leg
from engine.load.server import OwnServer, ServerPlan
from engine.load.world import World

#: A leg is given up when an answer is later than this many times the target, and this, in s.
_GIVE_UP_TIMES, _GIVE_UP_LEAST_S = 20, 0.5


@dataclass
class Cell:
    """The knee of one server.

    Attributes
    ----------
    accounts : int
    journal : str
        `on` or `off`.
    knee : Knee
    drift, state_hash : str
        After the last leg.
    failures : list of str
    is_interrupted : bool
    """

    accounts: int
    journal: str
    knee: Knee
    drift: str
    state_hash: str
    failures: list[str]
    is_interrupted: bool = False


class Interrupted(Exception):
    """A leg was ended by the user: the search is over."""


def as_sample(leg: LegResult) -> Sample:
    """Return the figures of a leg that a search looks at."""
    p50, p99, p999 = (leg.latency.percentile(one) / 1e6 for one in (50, 99, 99.9))
    percents, latencies = leg.latency.curve()
    return Sample(
        p50, p99, p999, leg.achieved, leg.lateness.percentile(99) / 1e6,
        not (leg.gave_up or leg.unanswered), (tuple(percents), tuple(latencies)))


def measure_cell(
    plan: LoadPlan, world: World, journal: str | None, fsync: str, target_ms: float, *,
    repeats: int, precision: float, symbols: tuple[str, ...] = (),
    on_probe: Callable[[Probe], None] = lambda probe: None,
) -> Cell:
    """Find the knee of one server, which is started for it."""
    # Answers that late say enough, and what they left waiting is gone before the next leg.
    give_up_s = max(target_ms * _GIVE_UP_TIMES / 1000, _GIVE_UP_LEAST_S)
    failures: list[str] = []
    knee, is_interrupted, state = Knee(target_ms), False, ("", "")
    with OwnServer(ServerPlan(world, journal, fsync)) as server:
        with loaded_server(plan, server.endpoint, symbols) as (fleet, control):
            count = 0

            def measure(rate: float) -> Sample:
                nonlocal count, state
                count += 1
                result = run_leg(
                    fleet, control, replace(plan, rate=rate), "", world.accounts, number=count,
                    give_up_s=give_up_s, server_pid=server.pid)
                state = (result.drift, result.state_hash)
                failures.extend(result.failures)
                if result.leg.is_interrupted:
                    raise Interrupted
                return as_sample(result.leg)

            def keep(probe: Probe) -> None:
                knee.probes.append(probe)
                on_probe(probe)

            try:
                find_knee(measure, target_ms, plan.rate, repeats=repeats, precision=precision,
                          on_probe=keep)
            except Interrupted:
                is_interrupted = True
    return Cell(
        world.accounts, "off" if journal is None else "on", knee, *state, failures,
        is_interrupted)


def measure_table(
    plan: LoadPlan, worlds: Sequence[World], journals: Sequence[str | None], fsync: str,
    target_ms: float, *, repeats: int, precision: float, symbols: tuple[str, ...] = (),
    on_probe: Callable[[World, str | None, Probe], None] = lambda world, journal, probe: None,
) -> list[Cell]:
    """Find the knees of several servers, one after the other.

    Parameters
    ----------
    journals : sequence of str or None
        Folders, each gets one folder a server; "": a temporary one; None: no journal.
    """
    cells = []
    for world in worlds:
        for journal in journals:
            with tempfile.TemporaryDirectory(prefix="load", dir=journal or None) as folder:
                place = None if journal is None else str(Path(folder) / "journal")

                def told(
                    probe: Probe, world: World = world, journal: str | None = journal
                ) -> None:
                    on_probe(world, journal, probe)

                cell = measure_cell(
                    plan, world, place, fsync, target_ms, repeats=repeats, precision=precision,
                    symbols=symbols, on_probe=told)
            cells.append(cell)
            if cell.is_interrupted:
                return cells
    return cells
