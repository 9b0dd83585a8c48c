"""Market feeds: recorded files and a generated crash, as streams of mark steps.

`open_feed` turns one command-line argument into a `Feed`; `open_feeds` puts
several together. Everything streams: memory does not grow with a file.

A format is told by a file's content, never by its name: the first line of the
table inside (zip, gzip or plain) is the header of a Tardis `trades` file, or a
Binance Vision kline with or without its header.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from engine.errors import InputError
from engine.feeds.compose import Derived, derive_symbols, merge_feeds, rename_symbols
from engine.feeds.files import file_label, read_lines
from engine.feeds.klines import is_kline_line, read_klines, symbol_from_file_name
from engine.feeds.steps import Row, Step, limit_marks
from engine.feeds.synthetic import SyntheticSpec, generate_crash, is_synthetic
from engine.feeds.trades import is_trades_header, read_trades

__all__ = [
    "Derived",
    "Feed",
    "FeedSummary",
    "Row",
    "Step",
    "SyntheticSpec",
    "open_feed",
    "open_feeds",
    "summarize",
]


@dataclass(frozen=True)
class Feed:
    """One source of mark steps.

    Attributes
    ----------
    argument : str
        As given: a path, or `synthetic:…`.
    kind : str
        `binance klines`, `tardis trades` or `synthetic`.
    symbol : str or None
        The symbol of a kline file, which does not name it inside.
    """

    argument: str
    kind: str
    symbol: str | None = None

    @property
    def label(self) -> str:
        """What outputs call this feed: the file's name, or `synthetic:…`."""
        if self.kind == "synthetic":
            return str(SyntheticSpec.parse(self.argument))
        return file_label(self.argument)

    def steps(self) -> Iterator[Step]:
        """Stream the feed from its start; may be called again."""
        if self.kind == "synthetic":
            return generate_crash(SyntheticSpec.parse(self.argument))
        if self.kind == "binance klines":
            return read_klines(self.argument, self.symbol)
        return read_trades(self.argument)


def open_feed(argument: str, symbol: str | None = None) -> Feed:
    """Recognise one feed argument.

    Parameters
    ----------
    argument : str
        Path of a feed file, or `synthetic[:seed=N,steps=N]`.
    symbol : str, optional
        Symbol of a kline file; default: from its name.

    Returns
    -------
    Feed

    Raises
    ------
    InputError
        Missing or unreadable file, or content of no known format.
    """
    if is_synthetic(argument):
        SyntheticSpec.parse(argument)
        return Feed(argument, "synthetic")
    number, line = next(read_lines(argument))
    if is_trades_header(line):
        return Feed(argument, "tardis trades")
    if is_kline_line(line):
        name = symbol or symbol_from_file_name(argument)
        if name is None:
            raise InputError(
                f"{argument}: cannot tell the symbol from the file name; give --symbol NAME"
            )
        return Feed(argument, "binance klines", name)
    raise InputError(
        f"{argument}:{number}: neither a Binance Vision kline nor the header of a Tardis "
        f"trades file: {line[:60]!r}"
    )


def open_feeds(
    feeds: Sequence[Feed],
    *,
    renames: dict[str, str] | None = None,
    derived: Sequence[Derived] = (),
    mark_limit: int | None = None,
) -> Iterator[Step]:
    """Put feeds together: merge by time, rename, derive, limit; in this order.

    Parameters
    ----------
    feeds : sequence of Feed
    renames : dict, optional
        Feed symbol → engine symbol.
    derived : sequence of Derived
        Their sources are engine symbols.
    mark_limit : int, optional
        Stop after the step that reaches this many marks.

    Returns
    -------
    iterator of Step
    """
    steps: Iterator[Step] = merge_feeds([feed.steps() for feed in feeds])
    if renames:
        steps = rename_symbols(steps, renames)
    if derived:
        steps = derive_symbols(steps, derived)
    return limit_marks(steps, mark_limit)


@dataclass
class FeedSummary:
    """What one pass over a stream of steps shows.

    Attributes
    ----------
    step_count, mark_count : int
    first_ns, last_ns : int
    first_prices : dict of str to str
        First mark of each symbol, in order of appearance.
    """

    step_count: int = 0
    mark_count: int = 0
    first_ns: int = 0
    last_ns: int = 0
    first_prices: dict[str, str] = field(default_factory=dict)


def summarize(steps: Iterator[Step]) -> FeedSummary:
    """Read a stream to its end and count; finds every bad row before a run starts."""
    summary = FeedSummary()
    for ts_ns, rows in steps:
        if summary.step_count == 0:
            summary.first_ns = ts_ns
        summary.step_count += 1
        summary.mark_count += len(rows)
        summary.last_ns = ts_ns
        for symbol, mark, _ in rows:
            if symbol not in summary.first_prices:
                summary.first_prices[symbol] = mark
    return summary
