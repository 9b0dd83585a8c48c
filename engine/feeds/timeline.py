"""Records as moments, and when they are played: part of a feed, in a loop, at another time."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from engine.errors import InputError
from engine.feeds.fields import clock_instant, date_ns
from engine.feeds.funding import FundingClock
from engine.feeds.marks import Marker
from engine.feeds.problems import Problems
from engine.feeds.records import Funding, Record, Ticker, Trade
from engine.feeds.steps import Row, parse_instant

#: What lies between one pass of a loop and the next.
_LOOP_GAP_NS = 1_000_000_000
_FUNDING_KINDS = (Funding, Ticker)


class Moment(NamedTuple):
    """Everything that feeds say about one instant.

    Attributes
    ----------
    ts_ns : int
    rows : list of Row
        The marks; may be none.
    records : sequence of Record
        What was recorded, where it is wanted.
    fundings : sequence of (str, str)
        Symbols whose funding is settled, and at what rates, where it is wanted.
    """

    ts_ns: int
    rows: list[Row]
    records: Sequence[Record] = ()
    fundings: Sequence[tuple[str, str]] = ()


def in_time_order(
    records: Iterable[Record], problems: Problems, clock: str = "exchange"
) -> Iterator[tuple[int, Record]]:
    """Yield (time to play at, record) of one feed: its own time, never before the last one's.

    Parameters
    ----------
    records : iterable of Record
    problems : Problems
        Counts those that are before.
    clock : str
        `exchange`: when it happened; `local`: when the recorder got it, where it is known.
    """
    is_local = clock == "local"
    now_ns = 0
    for record in records:
        ts_ns = record.ts_ns
        if is_local and record.local_ns is not None:
            ts_ns = record.local_ns
        if ts_ns >= now_ns:
            now_ns = ts_ns
        else:
            problems.late_count += 1
        yield now_ns, record


def merge_records(
    feeds: Sequence[Iterable[tuple[int, Record]]],
) -> Iterator[tuple[int, Record]]:
    """Merge feeds by time; at the same instant trades come first, then the order of the feeds.

    A depth feed shows what a trade has left: read before the trade, it would take the same
    quantity twice.
    """
    return iter(feeds[0]) if len(feeds) == 1 else _merged(feeds)


def _merged(feeds: Sequence[Iterable[tuple[int, Record]]]) -> Iterator[tuple[int, Record]]:
    keyed = (_keyed(feed, order) for order, feed in enumerate(feeds))
    for ts_ns, _, _, record in heapq.merge(*keyed, key=lambda item: item[:3]):
        yield ts_ns, record


def _keyed(
    feed: Iterable[tuple[int, Record]], order: int
) -> Iterator[tuple[int, bool, int, Record]]:
    # Whether a feed is one of trades: records within a feed keep their order.
    is_other: bool | None = None
    for ts_ns, record in feed:
        if is_other is None:
            is_other = type(record) is not Trade
        yield ts_ns, is_other, order, record


def make_moments(
    records: Iterable[tuple[int, Record]], marker: Marker, *, keep_records: bool = False,
    funding: FundingClock | None = None,
) -> Iterator[Moment]:
    """Join the records of an instant to a moment; of several marks of a symbol the last stays.

    Parameters
    ----------
    records : iterable of (int, Record)
        In time order.
    marker : Marker
    keep_records : bool
        Default: only moments with marks, and only those.
    funding : FundingClock, optional
        Moments in which funding is settled come too.
    """
    ts_ns = -1
    rows: dict[str, Row] = {}
    kept: list[Record] = []
    rates: list[tuple[str, str]] = []
    row_of = marker.row_of
    for record_ns, record in records:
        if record_ns != ts_ns:
            if rows or kept or rates:
                if rows:
                    marker.end_moment(rows)
                yield Moment(ts_ns, list(rows.values()), kept, rates)
                rows, kept, rates = {}, [], []
            ts_ns = record_ns
        row = row_of(record)
        if row is not None:
            rows[row[0]] = row
        if keep_records:
            kept.append(record)
        if funding is not None and type(record) in _FUNDING_KINDS:
            rate = funding.rate_of(record)
            if rate is not None:
                rates.append((record.symbol, rate))
    if rows or kept or rates:
        yield Moment(ts_ns, list(rows.values()), kept, rates)


def parse_time(option: str, text: str) -> int:
    """Return the ns of a `YYYY-MM-DD`, a `YYYY-MM-DD hh:mm:ss` (UTC), or a number of ns."""
    try:
        if text.isdigit() and len(text) > 8:
            return parse_instant(text, ("ns",))
        if len(text) <= 10:
            return date_ns(text)
        return clock_instant(text.removesuffix("Z"), "time")
    except ValueError as error:
        raise InputError(f"{option} {text}: {error}") from None


def cut(moments: Iterable[Moment], start_ns: int | None, end_ns: int | None) -> Iterator[Moment]:
    """Yield the moments from `start_ns` on and before `end_ns`.

    Raises
    ------
    InputError
        There is none between them.
    """
    is_empty = True
    for moment in moments:
        if end_ns is not None and moment.ts_ns >= end_ns:
            break
        if start_ns is None or moment.ts_ns >= start_ns:
            is_empty = False
            yield moment
    if is_empty and (start_ns is not None or end_ns is not None):
        raise InputError("--start and --end: nothing of the feed is between them")


def loop(make: Callable[[], Iterable[Moment]], count: int) -> Iterator[Moment]:
    """Play a feed so many times, each pass a second behind the end of the one before.

    Parameters
    ----------
    make : callable
        Starts the feed anew.
    count : int
        0: without end.
    """
    end_ns: int | None = None
    done = 0
    while count == 0 or done < count:
        shift = 0
        last_ns: int | None = None
        for moment in make():
            if last_ns is None and end_ns is not None:
                shift = end_ns + _LOOP_GAP_NS - moment.ts_ns
            last_ns = moment.ts_ns
            yield _shifted(moment, shift)
        if last_ns is None:
            return
        end_ns = last_ns + shift
        done += 1


def rebase(moments: Iterable[Moment], first_ns: int) -> Iterator[Moment]:
    """Move a feed in time so that it begins at `first_ns`."""
    shift: int | None = None
    for moment in moments:
        if shift is None:
            shift = first_ns - moment.ts_ns
        yield _shifted(moment, shift)


def _shifted(moment: Moment, shift: int) -> Moment:
    if shift == 0:
        return moment
    records = [
        record._replace(
            ts_ns=record.ts_ns + shift,
            local_ns=None if record.local_ns is None else record.local_ns + shift)
        for record in moment.records
    ]
    return Moment(moment.ts_ns + shift, moment.rows, records, moment.fundings)
