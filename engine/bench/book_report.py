"""The book benchmark's result as tables."""

from __future__ import annotations

from statistics import median

from engine.bench.book import BookResult, Run, response_times
from engine.bench.report import Report, Table, rate, times, us
from engine.bench.stream import MIXES
from engine.bench.timing import Spread

_LOADS = (0.5, 0.8)


def book_report(result: BookResult) -> Report:
    """Describe a result.

    Parameters
    ----------
    result : BookResult

    Returns
    -------
    Report
    """
    stream, mix = result.stream, MIXES[result.plan.stream]
    report = Report(f"order book, {stream.name} stream", facts=[
        ("commands", f"{result.plan.commands:,} (seed {result.plan.seed})"),
        ("mix", f"{mix.adds} % adds, {mix.cancels} % cancels, {mix.crossing} % crossing, "
                f"{mix.market} % market, {mix.amends} % amends"),
        ("resting", f"{stream.resting_min:,} to {stream.resting_max:,} orders once filled"),
        ("trades", f"{stream.trade_count:,}"),
        ("refused", f"{stream.refused_count:,} (late cancels, post-only that would trade)"),
        ("trades_hash", stream.trades),
        ("same trades everywhere", "yes" if result.agrees else "NO"),
        ("state_hash", f"{result.state_hash} (exchange)"),
        ("events", f"{result.events:,} (exchange)"),
    ])
    report.tables = [_throughput(result), _latency(result), _responses(result)]
    report.notes = [
        "throughput: CPU time of the thread, median of the rounds; fetching trades or events "
        "every 1,000 commands is included; making and packing the stream is not",
        "exchange: accounts, margin, fees and events; no journal, no network, no JSON, no names",
        f"single timings are wall clock and contain the clock itself, {result.clock:.0f} ns; "
        "their maxima are what else ran on this machine",
        "response times: measured service times behind one queue, arrivals Poisson",
    ]
    if not result.agrees:
        report.failures.append(f"{report.title}: not everyone makes the same trades")
    return report


def _throughput(result: BookResult) -> Table:
    table = Table("throughput", ("", "us a command", "commands/s", "to the plain book"))
    plain = median(result.plain.per_command)
    for run in [*result.batches.values(), result.single, result.plain, result.exchange]:
        each = median(run.per_command)
        table.add(run.name, us(each), rate(1, each), times(plain / each))
    return table


def _timed(result: BookResult) -> list[Run]:
    return [result.batches[1000], result.single, result.exchange]


def _latency(result: BookResult) -> Table:
    table = Table("time of one call, us", ("", "p50", "p99", "p99.9", "max"))
    for run in _timed(result):
        if run.each is not None:
            spread = Spread.of(run.each)
            cells = (us(value) for value in (spread.p50, spread.p99, spread.p999, spread.max))
            table.add(run.name, *cells)
    return table


def _responses(result: BookResult) -> Table:
    columns = ("", "arrivals/s", "p50", "p99", "p99.9", "max")
    table = Table("response time of commands that arrive by themselves, us", columns)
    for run in (result.single, result.exchange):
        assert run.each is not None
        for load in _LOADS:
            spread = Spread.of(response_times(run.each, load))
            table.add(
                f"{run.name}, {load:.0%} load", rate(load, float(run.each.mean())),
                us(spread.p50), us(spread.p99), us(spread.p999), us(spread.max))
    return table
