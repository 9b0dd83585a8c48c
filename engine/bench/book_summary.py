"""All streams of the book benchmark together: of everything the worst, which is what to quote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from engine.bench.book import BookResult
from engine.bench.book_report import NOTES, RIVALS, latency_notes, memory_table
from engine.bench.report import Report, Table, rate, times, us
from engine.bench.ways import Rival

#: Bytes a resting order should take at most.
MEMORY_AIM = 96


def lowest(figures: Mapping[str, float]) -> tuple[float, str]:
    """Return the least figure and its stream, the first of equals."""
    name = min(figures, key=lambda stream: figures[stream])
    return figures[name], name


def highest(figures: Mapping[str, float]) -> tuple[float, str]:
    """Return the greatest figure and its stream, the first of equals."""
    name = max(figures, key=lambda stream: figures[stream])
    return figures[name], name


def speeds(results: Sequence[BookResult], way: int) -> dict[str, float]:
    """Commands per second of one way, by stream."""
    return {result.stream.name: 1e9 / result.runs[way].cost for result in results}


def ratios(results: Sequence[BookResult], way: int, rival: Rival) -> dict[str, float]:
    """How many times as fast as its rival one way is, by stream."""
    return {
        result.stream.name: median(result.ratios(result.runs[way], rival)) for result in results
    }


def summary_report(results: Sequence[BookResult]) -> Report:
    """Describe all streams together.

    Parameters
    ----------
    results : sequence of BookResult
        At least one.

    Returns
    -------
    Report
    """
    report = Report("order book, the figures to quote", facts=[
        *((f"trades_hash, {result.stream.name}", result.stream.trades) for result in results),
        *((f"state_hash, {result.stream.name}", result.state_hash) for result in results),
        *_memory_facts(results),
    ])
    report.tables = [
        _by_stream(results), _worst(results), _worst_latency(results), memory_table(results)]
    report.notes = [*NOTES, *latency_notes(results[0])]
    return report


def _memory_facts(results: Sequence[BookResult]) -> list[tuple[str, str]]:
    memories = [result.memory for result in results if result.memory is not None]
    if not memories:
        return []
    largest = max(memories, key=lambda memory: memory.resting)
    verdict = "met" if largest.per_order <= MEMORY_AIM else "missed"
    is_steady = all(memory.is_steady for memory in memories)
    return [
        ("bytes an order", f"{largest.per_order:.1f} at {largest.resting:,} resting "
                           f"(aim: {MEMORY_AIM}; {verdict})"),
        ("second pass", "allocates nothing" if is_steady else "STILL ALLOCATES"),
    ]


def _by_stream(results: Sequence[BookResult]) -> Table:
    table = Table("commands/s", ("", *(result.stream.name for result in results)))
    for way, run in enumerate(results[0].runs):
        table.add(run.way.name, *(f"{speed:,.0f}" for speed in speeds(results, way).values()))
    for rival, name in RIVALS.items():
        table.add(name, *(rate(1, result.rival_cost(rival)) for result in results))
    return table


def _worst(results: Sequence[BookResult]) -> Table:
    table = Table("the worst stream of each way", (
        "", "commands/s", "in", "to the plain book", "in", "to the reference core", "in"))
    for way, run in enumerate(results[0].runs):
        speed, slowest = lowest(speeds(results, way))
        to_plain, least = lowest(ratios(results, way, "book"))
        cells = ["-", "-"]
        if run.way.rival == "accounts":
            to_core, where = lowest(ratios(results, way, "accounts"))
            cells = [times(to_core), where]
        table.add(run.way.name, f"{speed:,.0f}", slowest, times(to_plain), least, *cells)
    return table


def _worst_latency(results: Sequence[BookResult]) -> Table:
    table = Table(
        "the worst latency of one call, us",
        ("", "p50", "in", "p99", "in", "p99.9", "in", "max", "in"))
    for number, row in enumerate(results[0].paced):
        spreads = {result.stream.name: result.paced[number].spread for result in results}
        cells: list[str] = []
        for name in ("p50", "p99", "p999", "max"):
            value, stream = highest({s: getattr(spread, name) for s, spread in spreads.items()})
            cells += [us(value), stream]
        table.add(f"{row.way}, {row.load:.0%}", *cells)
    return table
