"""From recorded files to figures: rebuild a book, and compare it with what was recorded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Protocol, TypeVar

from engine.feeds.depth import BookTicker, DepthSnapshot, DepthUpdate, read_capture
from engine.feeds.lobster import read_messages, read_quotes
from engine.feeds.quotes import Quote
from engine.tapes.agreement import Agreement, align
from engine.tapes.depth import DepthFigures, DepthTape
from engine.tapes.orders import OrderFigures, OrderTape, rebuild_orders
from engine.tapes.tickers import TickerCheck, TickerFigures
from engine.units import Grid

Report = Callable[[int, str], None]
Progress = Callable[[int], None]

_PROGRESS_EVERY = 1_000


class _Numbered(Protocol):
    @property
    def line(self) -> int: ...


_N = TypeVar("_N", bound=_Numbered)


@dataclass(frozen=True)
class OrderComparison:
    """An order tape against the order book file of the same day.

    Attributes
    ----------
    figures : OrderFigures
    states, prices : Agreement
        Of the distinct best bids and offers, with and without sizes.
    lines : list of int
        The message that led to each of our states.
    """

    figures: OrderFigures
    states: Agreement
    prices: Agreement
    lines: list[int]


def compare_orders(
    messages: str,
    quotes: str,
    *,
    whole_sweeps: bool = False,
    report: Report | None = None,
    progress: Progress | None = None,
) -> OrderComparison:
    """Rebuild a LOBSTER message file and align its best bids and offers with the official ones.

    Parameters
    ----------
    messages, quotes : str
        Paths of a message file and an order book file.
    whole_sweeps : bool
        See `rebuild_orders`.
    report : callable, optional
        See `OrderTape`.
    progress : callable, optional
        Gets a line number now and then.

    Returns
    -------
    OrderComparison

    Raises
    ------
    InputError
        A file that cannot be read.
    RunError
        Hardly anything agrees.
    """
    tape = OrderTape(report)
    lines: list[int] = []
    ours: list[Quote] = []
    for line, quote in rebuild_orders(
        _watched(read_messages(messages), progress), tape, whole_sweeps
    ):
        lines.append(line)
        ours.append(quote)
    return OrderComparison(
        figures=tape.figures,
        states=align(ours, _distinct(read_quotes(quotes))),
        prices=align(
            list(_distinct(quote.prices for quote in ours)),
            _distinct(quote.prices for quote in read_quotes(quotes)),
        ),
        lines=lines,
    )


@dataclass(frozen=True)
class DepthComparison:
    """A depth stream against the book tickers of the same capture.

    Attributes
    ----------
    records : Counter of str
        Records read, by kind.
    depth : DepthFigures
    tickers : TickerFigures
    """

    depth: DepthFigures
    tickers: TickerFigures
    records: Counter[str] = field(default_factory=Counter)


def compare_depth(
    path: str,
    tick: Grid,
    lot: Grid,
    *,
    report: Report | None = None,
    progress: Progress | None = None,
) -> DepthComparison:
    """Rebuild the book of a capture and compare its quotes with the recorded tickers.

    Parameters
    ----------
    path : str
    tick, lot : Grid
        See `read_capture`.
    report : callable, optional
        See `DepthTape`.
    progress : callable, optional
        Gets a line number now and then.

    Returns
    -------
    DepthComparison

    Raises
    ------
    InputError
        A file that cannot be read.
    """
    check = TickerCheck()
    tape = DepthTape(check.add_quote, report)
    result = DepthComparison(tape.figures, check.figures)
    for record in _watched(read_capture(path, tick, lot), progress):
        result.records[type(record).__name__] += 1
        if isinstance(record, DepthUpdate):
            tape.apply_update(record)
        elif isinstance(record, DepthSnapshot):
            tape.apply_snapshot(record)
        elif isinstance(record, BookTicker):
            check.add_ticker(record, tape.last_id, tape.quote())
    tape.finish()
    check.finish()
    return result


_T = TypeVar("_T")


def _distinct(states: Iterable[_T]) -> Iterator[_T]:
    return (state for state, _ in groupby(states))


def _watched(records: Iterable[_N], progress: Progress | None) -> Iterator[_N]:
    for count, record in enumerate(records):
        if progress is not None and count % _PROGRESS_EVERY == 0:
            progress(record.line)
        yield record
