"""What the benchmark of the server says."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from engine.bench.population import Ints
from engine.bench.report import Report, Table, us
from engine.bench.serving import Recovery, ServePlan, Turn
from engine.bench.serving_floor import FLOOR

_SHARES = (50, 99, 99.9, 100)
_COLUMNS = ("p50 us", "p99 us", "p99.9 us", "max us")
_FSYNC = {"batch": "on, flushed once a batch", "always": "on, flushed for each message",
          "off": "written, not flushed", FLOOR: "an echo, no engine"}


def serving_report(
    plan: ServePlan, turns: Sequence[Turn], recovery: Recovery | None, floor: Turn
) -> Report:
    """Tell the figures, beside those of an echo, and whether anything is missing."""
    report = Report("the journaled server, in processes of its own")
    report.facts += [
        ("accounts", f"{plan.accounts:,}"), ("symbols", str(plan.symbols)),
        ("load of the machine", " ".join(f"{each:.1f}" for each in os.getloadavg())),
    ]
    report.facts += [(f"state_hash, {turn.fsync}", turn.state_hash) for turn in turns]
    report.tables += [_throughput(plan, turns), _latency(plan, [*turns, floor])]
    report.failures += [failure for turn in [*turns, floor] for failure in turn.failures]
    if recovery is not None:
        report.tables.append(_recovery(recovery))
        report.failures += recovery.failures
    report.notes += [
        "making the commands is not included; publisher, clients and listener share the machine",
        "latencies run from the intended time of a mark, however late it was sent",
        "every journal is replayed from its start, and has to come to the state that was told",
    ]
    return report


def _spread(samples: Ints) -> list[str]:
    if not len(samples):
        return ["-"] * len(_SHARES)
    return [us(each) for each in np.percentile(samples, _SHARES).tolist()]


def _throughput(plan: ServePlan, turns: Sequence[Turn]) -> Table:
    table = Table(
        f"packed commands, {plan.clients} clients, {plan.batch:,} in a message",
        ["journal", "commands/s", "server CPU us each", "refused", *_COLUMNS])
    for turn in turns:
        table.add(
            _FSYNC[turn.fsync], f"{turn.commands_s:,.0f}", f"{turn.cpu_us:.2f}",
            f"{turn.refused:,}", *_spread(turn.round_trips))
    return table


def _latency(plan: ServePlan, turns: Sequence[Turn]) -> Table:
    table = Table(
        f"{plan.rate:,} marks a second for {plan.seconds:g} s, open loop, socket to socket",
        ["journal", "to", "count", *_COLUMNS])
    for turn in turns:
        name = _FSYNC[turn.fsync]
        if turn.fsync != FLOOR:
            table.add(name, "event of a liquidation", f"{turn.liquidations:,}",
                      *_spread(turn.latencies))
        table.add(name, "event of the mark", f"{len(turn.mark_latencies):,}",
                  *_spread(turn.mark_latencies))
        table.add(name, "the publisher's send", f"{len(turn.late):,}", *_spread(turn.late))
        table.add(name, f"(CPU {turn.mark_cpu_us:.1f} us a mark, all threads)", "", *[""] * 4)
    return table


def _recovery(found: Recovery) -> Table:
    table = Table(
        f"{found.accounts:,} accounts, {found.tail:,} commands behind the snapshot",
        ["what", "figure"])
    table.add("snapshot while commands go on", f"{found.snapshot_s:.3f} s")
    table.add("the server waited for it", f"{found.pause_ms:.1f} ms")
    slowest = _spread(found.round_trips)
    table.add("round trips meanwhile, p50", f"{slowest[0]} us")
    table.add("round trips meanwhile, p99", f"{slowest[1]} us")
    table.add("round trips meanwhile, max", f"{slowest[3]} us")
    table.add("ready again after a kill", f"{found.ready_s:.3f} s")
    table.add("CPU that it took", f"{found.ready_cpu_s:.2f} s")
    table.add("commands replayed", f"{found.replayed:,}")
    return table
