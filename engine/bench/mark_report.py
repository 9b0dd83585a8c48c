"""The mark-tick benchmark's result as tables."""

from __future__ import annotations

from statistics import median

from engine.bench.mark_tick import MarkResult, Stream
from engine.bench.report import Report, Table, times, us
from engine.bench.timing import Spread

#: A calm tick is to cost less than this share of a holders scan.
TARGET = 500


def mark_report(result: MarkResult) -> Report:
    """Describe a result.

    Parameters
    ----------
    result : MarkResult

    Returns
    -------
    Report
    """
    plan, crash = result.plan, result.crash
    agreement = "yes" if crash.agrees else "NO"
    report = Report(f"mark tick, {plan.accounts:,} accounts", facts=[
        ("population", f"{result.position_count:,} positions in {plan.symbols} symbols, "
                       f"{result.most_held:,} in the most held (seed {plan.seed}, "
                       f"{result.population})"),
        ("loading", f"{result.load_s:.1f} s"),
        ("warm-up", f"{plan.warmup * plan.symbols:,} ticks of a minute each; "
                    f"{result.warmup_evaluations:,} evaluations, "
                    f"{result.warmup_breaches:,} liquidations"),
        ("a tick without holders", f"{us(result.call_floor)} us: call, checks, event"),
        ("marks, all symbols", f"{us(median(result.batch))} us a mark (calm)"),
        ("scan of all accounts", f"{us(median(result.recompute))} us from nothing"),
        ("same first breaches", f"{agreement}, {len(crash.scan_breaches):,} accounts, "
                                f"tick by tick, against exact integers"),
        ("state_hash", result.state_hash),
    ])
    report.tables = [_engine(result), _scans(result), _ratios(result)]
    report.notes = [
        "calm: 1.07 bp a tick, which is 60 % a year at a tick a second; 5x: five times that; "
        f"crash: {plan.crash_symbols} symbols lose 10 % in {plan.crash_ticks:,} ticks each",
        "means: CPU time of the thread, Python's call and loop and the draining of events "
        "included, medians of the rounds; a liquidation that a tick sets off is in the engine's "
        "time, the scans only name the accounts",
        f"p50 to max: wall clock of single calls, the clock itself ({result.clock:.0f} ns) in them",
        "scans: numpy, one thread, arrays made beforehand; tight: int64 or float64, "
        "whichever was faster in the round",
        "evals: pools evaluated per tick; liq.: liquidations begun in all ticks of the row",
        f"target, of 10^6 accounts: a calm tick under 1/{TARGET} of the holders scan",
        "excluded: drawing and loading the population, journal, network, names and decimals",
    ]
    if not crash.agrees:
        report.failures.append(f"{report.title}: the exact scan names other breaches")
    return report


def _engine(result: MarkResult) -> Table:
    columns = ("engine, us", "mean", "p50", "p99", "p99.9", "max", "evals", "liq.")
    table = Table("cost of one tick", columns)
    for label, streams in (("calm", result.calm), ("5x", result.stressed)):
        for stream in streams:
            table.add(
                f"{label}, {stream.name}", us(median(stream.engine)), *_cells(stream.spread()),
                f"{stream.evaluation_count / stream.tick_count:.4f}", f"{stream.breach_count:,}")
    crash = result.crash
    table.add(
        "crash", us(float(crash.each.mean())), *_cells(Spread.of(crash.each)),
        f"{crash.evaluation_count / crash.tick_count:.4f}", f"{crash.liquidation_count:,}")
    return table


def _cells(spread: Spread) -> list[str]:
    return [us(value) for value in (spread.p50, spread.p99, spread.p999, spread.max)]


def _scans(result: MarkResult) -> Table:
    columns = ("holders scan, us", "holders", "plain", "tight float64", "tight int64")
    table = Table("cost of one tick by scan", columns)
    for stream in result.calm:
        table.add(
            f"calm, {stream.name}", f"{stream.holders:,.0f}", us(median(stream.plain)),
            us(median(stream.tight_float)), us(median(stream.tight_int)))
    table.add(
        "crash", f"{result.crash.holders:,.0f}", "-", "-",
        us(float(result.crash.scan_each.mean())))
    return table


def _ratios(result: MarkResult) -> Table:
    columns = ("scan / engine", "plain", "tight", "tight, lowest", f"over {TARGET}")
    table = Table("what a scan costs, in engine ticks, paired by round", columns)
    for label, streams in (("calm", result.calm), ("5x", result.stressed)):
        for stream in streams:
            table.add(f"{label}, {stream.name}", *_ratio_cells(stream, label == "calm"))
    crash = result.crash
    ratio = float(crash.scan_each.sum() / crash.each.sum())
    table.add("crash", "-", times(ratio), "-", "-")
    return table


def _ratio_cells(stream: Stream, has_target: bool) -> list[str]:
    plain, tight = stream.ratios(stream.plain), stream.ratios(stream.tight)
    over = [name for name, ratios in (("plain", plain), ("tight", tight))
            if median(ratios) >= TARGET]
    cells = [times(median(plain)), times(median(tight)), times(min(tight))]
    return [*cells, (" and ".join(over) or "neither") if has_target else "-"]
