"""The book benchmark's result as tables, a report a stream."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from engine.bench.book import BookResult
from engine.bench.report import Report, Table, rate, times, us
from engine.bench.stream import MIXES
from engine.bench.ways import Rival

#: What the ways are compared with, by name.
RIVALS: dict[Rival, str] = {"book": "plain book", "accounts": "reference core"}
#: What the figures contain.
NOTES = [
    "throughput: CPU time of the thread, median of the rounds; fetching trades or events is "
    "included, after every 1,000 commands or (returned) after every call; making and packing "
    "the stream is not",
    "accounts: margin check, settlement of each fill, fees and events; no journal, no network, "
    "no JSON, no names",
    "ratios: plain book and reference core get a beginning of the same stream in the same run; "
    "the reference core, which looks at every account after each command, only the accounts and "
    "few of the resting orders",
]


def book_report(result: BookResult) -> Report:
    """Describe the result of one stream.

    Parameters
    ----------
    result : BookResult

    Returns
    -------
    Report
    """
    stream = result.stream
    wrong = result.disagreements()
    percents = zip(
        MIXES[stream.name].percents, ("adds", "cancels", "crossing", "market", "amends"),
        strict=True)
    report = Report(f"order book, {stream.name} stream", facts=[
        ("commands", f"{result.plan.commands:,} (seed {result.plan.seed})"),
        ("mix", ", ".join(f"{percent} % {what}" for percent, what in percents)),
        ("resting", f"{stream.resting_min:,} to {stream.resting_max:,} orders, "
                    f"at most {stream.levels_max:,} levels"),
        ("trades", f"{stream.trade_count:,}"),
        ("refused", f"{stream.refused_count:,} (late cancels, post-only that would trade)"),
        ("trades_hash", stream.trades),
        ("same trades everywhere", f"NO: {', '.join(wrong)}" if wrong else
         "yes: all at once, batches of 1,000, 7 and 1, single calls, accounts, and of a "
         "beginning plain book and reference core"),
        ("state_hash", f"{result.state_hash} (exchange)"),
        ("events", f"{result.events:,} (exchange)"),
    ])
    report.tables = [_throughput(result), _latency(result), memory_table([result])]
    report.notes = [*NOTES, *latency_notes(result)]
    if wrong:
        report.failures.append(f"{report.title}: other trades by {', '.join(wrong)}")
    return report


def _throughput(result: BookResult) -> Table:
    table = Table("throughput", (
        "", "us a command", "commands/s", "to the plain book", "by round",
        "to the reference core"))
    for run in result.runs:
        ratios = result.ratios(run, "book")
        to_core = times(median(result.ratios(run, "accounts")))
        table.add(
            run.way.name, us(run.cost), rate(1, run.cost), times(median(ratios)),
            f"{times(min(ratios))} to {times(max(ratios))}",
            to_core if run.way.rival == "accounts" else "-")
    sizes: dict[Rival, int] = {
        "book": min(result.plan.book_prefix, result.plan.commands),
        "accounts": min(result.plan.accounts_prefix, result.plan.commands)}
    for rival, name in RIVALS.items():
        cost = result.rival_cost(rival)
        table.add(f"{name}, first {sizes[rival]:,}", us(cost), rate(1, cost), "-", "-", "-")
    return table


def _latency(result: BookResult) -> Table:
    table = Table(
        "latency of one call from the time it was meant to be sent (open loop), us",
        ("", "calls/s", "of the rate above", "p50", "p99", "p99.9", "max", "queue alone, p99",
         "bursts used", "max of all"))
    costs = {run.way.name: run.cost for run in result.runs}
    for row in result.paced:
        spread = row.spread
        table.add(
            f"{row.way}, {row.load:.0%}", f"{row.rate:,.0f}",
            f"{row.rate * costs[row.way] / 1e9:.0%}", us(spread.p50), us(spread.p99),
            us(spread.p999), us(spread.max), us(row.queue.p99), f"{row.share_used:.0%}",
            us(row.max_of_all))
    return table


def latency_notes(result: BookResult) -> list[str]:
    """What latencies and bytes are."""
    return [
        "latency: Poisson arrivals at a share of what the paced loop reaches when it never waits; "
        f"wall clock, a look at it included ({result.clock:.0f} ns); bursts in which something "
        "else had the core count in the last column alone",
        "queue alone: the same load if every call took the mean time",
        "memory: resident growth by filling the book, in a process of its own, and by doing "
        "everything a second time on the same book, emptied between; heap: what malloc has "
        "handed out, spare room included",
    ]


def memory_table(results: Sequence[BookResult]) -> Table:
    """Bytes, a row a stream."""
    table = Table("memory", (
        "", "resting", "bytes an order", "resident", "heap", "resident, worst on the way",
        "first pass", "second pass", "heap, second pass"))
    for result in results:
        memory = result.memory
        if memory is None:
            table.add(result.stream.name, *["not told"] * 8)
            continue
        table.add(
            result.stream.name, f"{memory.resting:,}", f"{memory.per_order:.1f}",
            f"{memory.resident:,}", "not told" if memory.heap is None else f"{memory.heap:,}",
            f"{memory.resident_worst:.1f}", f"{memory.first_pass:+,}",
            f"{memory.second_fill + memory.second_pass:+,}",
            "not told" if memory.second_heap is None else f"{memory.second_heap:+,}")
    return table
