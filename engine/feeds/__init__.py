"""Market feeds: recorded files and a generated crash, as records and as marks.

`open_feed` turns one command-line argument into a `Feed`; `open_moments` and `open_feeds`
put several together. Everything streams: memory does not grow with a file.

A format is told by a file's content (`engine.feeds.formats`); each has a module of its own,
which turns rows into the records of `engine.feeds.records`. `engine.feeds.marks` decides
which of them set a mark, `engine.feeds.timeline` makes moments of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from engine.feeds.compose import Derived, derive_symbols, rename_symbols
from engine.feeds.files import file_label
from engine.feeds.formats import find_format
from engine.feeds.funding import FundingClock
from engine.feeds.marks import Marker
from engine.feeds.problems import Problems
from engine.feeds.records import KIND_NAMES, Record, Ticker
from engine.feeds.source import Format, Source
from engine.feeds.steps import Row, Step, limit_marks
from engine.feeds.synthetic import SyntheticSpec, generate_crash, is_synthetic
from engine.feeds.timeline import Moment, in_time_order, make_moments, merge_records

__all__ = [
    "Derived",
    "Feed",
    "FeedSummary",
    "Moment",
    "Problems",
    "Record",
    "Row",
    "Step",
    "SyntheticSpec",
    "open_feed",
    "open_feeds",
    "open_moments",
    "summarize",
]


@dataclass(frozen=True)
class Feed:
    """One source of market data.

    Attributes
    ----------
    argument : str
        As given: a path, or `synthetic:…`.
    kind : str
        `synthetic`, or the format's name.
    symbol : str or None
        For files that do not name theirs.
    date_ns : int or None
        Midnight of the day for files whose times begin there.
    format : Format or None
        None for the generated feed.
    """

    argument: str
    kind: str
    symbol: str | None = None
    date_ns: int | None = None
    format: Format | None = None

    @property
    def label(self) -> str:
        """What outputs call this feed: the file's name, or `synthetic:…`."""
        if self.kind == "synthetic":
            return str(SyntheticSpec.parse(self.argument))
        return file_label(self.argument)

    def records(self, problems: Problems | None = None) -> Iterator[Record]:
        """Stream the feed from its start; may be called again.

        Parameters
        ----------
        problems : Problems, optional
            Takes the bad rows; default: the first one ends the reading.
        """
        if self.format is None:
            return _generated(SyntheticSpec.parse(self.argument))
        source = Source(self.argument, problems or Problems(), self.symbol, self.date_ns)
        return self.format.read(source)

    def steps(self) -> Iterator[Step]:
        """Stream the feed's marks."""
        return open_feeds([self])


def _generated(spec: SyntheticSpec) -> Iterator[Record]:
    for ts_ns, rows in generate_crash(spec):
        for symbol, mark, index in rows:
            yield Ticker(ts_ns, None, symbol, mark, index)


def open_feed(argument: str, symbol: str | None = None, date_ns: int | None = None) -> Feed:
    """Recognise one feed argument.

    Parameters
    ----------
    argument : str
        Path of a feed file, or `synthetic[:seed=N,steps=N]`.
    symbol : str, optional
        Symbol of a file that holds none; default: from its name.
    date_ns : int, optional
        Midnight of the day of a file whose times begin there; default: from its name.

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
    found = find_format(argument)
    if found.symbol_pattern is not None:
        Source(argument, symbol=symbol).named(found.symbol_pattern)
    return Feed(argument, found.name, symbol, date_ns, found)


def open_moments(
    feeds: Sequence[Feed],
    *,
    renames: dict[str, str] | None = None,
    derived: Sequence[Derived] = (),
    price: str = "auto",
    clock: str = "exchange",
    problems: Problems | None = None,
    counts: Counter[str] | None = None,
    keep_records: bool = False,
    has_funding: bool = False,
    only_first_marks: bool = False,
) -> Iterator[Moment]:
    """Put feeds together: merge by time, rename, mark, derive; in this order.

    Parameters
    ----------
    feeds : sequence of Feed
    renames : dict, optional
        Feed symbol → engine symbol.
    derived : sequence of Derived
        Their sources are engine symbols.
    price : str
        What sets marks: one of `engine.feeds.marks.CHOICES`.
    clock : str
        `exchange`, or `local`: the recorder's time, where it is known.
    problems : Problems, optional
        Takes the bad rows; default: the first one ends the reading.
    counts : Counter, optional
        Counts the records of each kind.
    keep_records : bool
        Whether the moments carry the records, and those without marks come too.
    has_funding : bool
        Whether they carry the settlements of funding.
    only_first_marks : bool
        Whether a symbol's marks end with those of the first moment that has one.

    Returns
    -------
    iterator of Moment
    """
    problems = problems or Problems()
    records: Iterator[tuple[int, Record]] = merge_records(
        [in_time_order(feed.records(problems), problems, clock) for feed in feeds])
    if counts is not None:
        records = _counted(records, counts)
    if renames:
        records = rename_symbols(records, renames, problems)
    moments = make_moments(
        records, Marker(price, only_first_marks), keep_records=keep_records,
        funding=FundingClock() if has_funding else None)
    return derive_symbols(moments, derived, problems) if derived else moments


def _counted(
    records: Iterable[tuple[int, Record]], counts: Counter[str]
) -> Iterator[tuple[int, Record]]:
    for item in records:
        counts[KIND_NAMES[type(item[1])]] += 1
        yield item


def open_feeds(
    feeds: Sequence[Feed],
    *,
    renames: dict[str, str] | None = None,
    derived: Sequence[Derived] = (),
    mark_limit: int | None = None,
) -> Iterator[Step]:
    """Put feeds together as steps of marks; the first bad row ends it.

    Parameters
    ----------
    feeds : sequence of Feed
    renames : dict, optional
    derived : sequence of Derived
    mark_limit : int, optional
        Stop after the step that reaches this many marks.

    Returns
    -------
    iterator of Step
    """
    moments = open_moments(feeds, renames=renames, derived=derived)
    return ((moment.ts_ns, moment.rows) for moment in limit_marks(moments, mark_limit))


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


def summarize(steps: Iterable[Step]) -> FeedSummary:
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
