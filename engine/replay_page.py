"""A page about a replay: what was liquidated when, and how fast the engine went through it."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from engine.bench.machine import machine_rows
from engine.exchange import Exchange
from engine.lab.figures import BLUE, GOLD, GREEN, INK, RED, VIOLET, style
from engine.load.page import card, table, write_page
from engine.messages import ContractKind, EventKind, Side
from engine.play import Events
from engine.tally import HEADER_WIDTH, field_at

Rows = list[tuple[str, str]]
_MINUTE_NS = 60_000_000_000
_COLORS = (BLUE, RED, GREEN, GOLD, VIOLET, INK, "#2f9f8a", "#d0672f")
_KINDS = {
    EventKind.LIQUIDATION_STEP: "resting orders", EventKind.LIQUIDATION_TAKEOVER: "insurance fund",
    EventKind.ADL: "auto-deleveraging"}
_SYMBOL = {kind: field_at(kind, "symbol") for kind in (*_KINDS, EventKind.MARK)}
_LOTS = {
    EventKind.LIQUIDATION_STEP: field_at(EventKind.LIQUIDATION_STEP, "filled"),
    EventKind.LIQUIDATION_TAKEOVER: field_at(EventKind.LIQUIDATION_TAKEOVER, "quantity"),
    EventKind.ADL: field_at(EventKind.ADL, "quantity")}
_SIDE = {kind: field_at(kind, "side") for kind in _KINDS}
_COUNTED = {
    EventKind.MARGIN_CALL: "margin calls", EventKind.LIQUIDATION_STARTED: "liquidations",
    EventKind.LIQUIDATION_STEP: "steps", EventKind.MARK: "marks"}
_PRICE = HEADER_WIDTH + 1
_TS = 2


@dataclass
class Minute:
    """What happened in a minute of the feed.

    Attributes
    ----------
    marks : dict of int to int
        Lowest mark of each symbol, by index.
    counts : Counter of str
    closed : dict of (int, str, bool) to int
        Lots by symbol, who took them, and whether longs were closed.
    work_s : float
        CPU time that reading and applying took.
    """

    marks: dict[int, int] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    closed: defaultdict[tuple[int, str, bool], int] = field(
        default_factory=lambda: defaultdict(int))
    work_s: float = 0.0


class Recorder:
    """Sorts the events of a replay into minutes, while it goes on.

    Attributes
    ----------
    minutes : dict of int to Minute
        By number since the epoch.
    """

    def __init__(self) -> None:
        self.minutes: defaultdict[int, Minute] = defaultdict(Minute)
        self._before = time.process_time()

    def listen(self, exchange: Exchange) -> Callable[[Events], None]:
        """Begin anew with an exchange; return what takes its events."""
        self.minutes.clear()
        self._before = time.process_time()
        return self.take

    def take(self, events: Events) -> None:
        """Take the events of some commands."""
        now = time.process_time()
        if len(events):
            numbers = events[:, _TS] // _MINUTE_NS
            for number in np.unique(numbers).tolist():
                rows = events[numbers == number]
                minute = self.minutes[number]
                _count(minute, rows)
                # One call may span minutes: each gets its share by events.
                minute.work_s += (now - self._before) * len(rows) / len(events)
        self._before = now


def _count(minute: Minute, rows: Events) -> None:
    kinds = rows[:, 0]
    counts = np.bincount(kinds, minlength=1 + max(EventKind))
    for kind, name in _COUNTED.items():
        minute.counts[name] += int(counts[kind])
    marks = rows[kinds == EventKind.MARK]
    for symbol in np.unique(marks[:, _SYMBOL[EventKind.MARK]]).tolist():
        low = int(marks[marks[:, _SYMBOL[EventKind.MARK]] == symbol, _PRICE].min())
        minute.marks[symbol] = min(low, minute.marks.get(symbol, low))
    for kind, taker in _KINDS.items():
        if not counts[kind]:
            continue
        for row in rows[kinds == kind].tolist():
            # Longs are closed by selling; the side of a deleveraging is the winner's order.
            is_sell = row[_SIDE[kind]] == Side.SELL
            is_long = is_sell if kind != EventKind.ADL else not is_sell
            minute.closed[row[_SYMBOL[kind]], taker, is_long] += row[_LOTS[kind]]


def write_replay_page(
    exchange: Exchange, recorder: Recorder, rows: Rows, path: Path, command: str
) -> None:
    """Write a page about a replay that has ended.

    Parameters
    ----------
    exchange : Exchange
        As the replay left it.
    recorder : Recorder
    rows : list of (str, str)
        The summary.
    path : Path
    command : str
        What was run, for the footer.
    """
    numbers = sorted(recorder.minutes)
    minutes = [recorder.minutes[number] for number in numbers]
    times = [f"{datetime.fromtimestamp(number * 60, UTC):%Y-%m-%d %H:%M}" for number in numbers]
    values = dict(rows)
    work = sum(minute.work_s for minute in minutes)
    busiest = max(minutes, key=lambda minute: minute.counts["liquidations"], default=Minute())
    slowest = max((minute.work_s for minute in minutes), default=0.0)
    cards = [
        card("Marks", "The lowest mark of each minute, the first one being 100.",
             _mark_figure(exchange, times, minutes)),
        card("Liquidation timeline",
             "Above, how many pools went into liquidation in each minute, and how many were "
             "called for margin. Below, what was closed, in millions of the quote at the mark: "
             "longs upwards, shorts downwards, by who took the other side.",
             _timeline_figure(exchange, times, minutes)),
        card("By instrument", "Closed in millions of the quote, at the lowest mark of the minute.",
             _symbol_figure(exchange, times, minutes)),
        card("Load",
             "How long the engine worked on each minute of the market, reading the files "
             "included. A minute that takes less than 60 s is one that it could have followed "
             "as it happened.", _load_figure(times, minutes)),
        card("Figures", "The same as the command prints.", table((), rows)),
        card("Machine", "Where this ran.", table((), machine_rows())),
    ]
    write_page(
        path, kind="replay", headline=f"{len(exchange.symbols)} instruments, "
        f"{times[0] if times else ''} to {times[-1] if times else ''} UTC",
        lead=f"{values.get('marks', '0')} marks of a recorded market met a population of accounts. "
             f"State hash {values['state_hash']}.",
        badges=[value for name, value in rows if name == "again"],
        tiles=[
            ("accounts breached", f"{int(values['accounts_breached']):,}", ""),
            ("busiest minute", f"{busiest.counts['liquidations']:,}", "liquidations"),
            ("times real time", f"{int(values.get('times_real_time', '0')):,}",
             f"{work:,.1f} s of work"),
            ("slowest minute", f"{slowest * 1000:,.0f} ms", "of work for 60 s of market"),
            ("accounts deleveraged", f"{int(values['adl_accounts']):,}", ""),
            ("fund takeovers", f"{int(values['fund_takeovers']):,}", ""),
            ("marks a second", f"{int(values['marks_per_second']):,}", ""),
            ("drift", values["drift"], "every minor unit accounted for"),
        ],
        cards=cards, footer=command)


def _mark_figure(exchange: Exchange, times: Sequence[str], minutes: Sequence[Minute]) -> Any:
    import plotly.graph_objects as go

    figure = go.Figure()
    for at, name in enumerate(exchange.symbols):
        index = exchange.instrument(name).index
        points = [(time, minute.marks[index]) for time, minute in zip(times, minutes, strict=True)
                  if index in minute.marks]
        if points:
            first = points[0][1]
            figure.add_scatter(
                x=[time for time, _ in points], y=[100 * mark / first for _, mark in points],
                name=name, mode="lines", line={"color": _COLORS[at % 8], "width": 1.6})
    style(figure, 380, "", "first mark = 100")
    return figure


def _millions(exchange: Exchange, minute: Minute, lots: Mapping[int, int]) -> float:
    """Lots of several symbols in millions of their quotes."""
    total = 0.0
    for index, count in lots.items():
        instrument = exchange.instrument(exchange.symbols[index])
        size = float(instrument.contract_size * instrument.lot.step) * count
        if instrument.kind is ContractKind.LINEAR:
            size *= float(instrument.mark.step) * minute.marks.get(index, 0)
        total += size
    return total / 1e6


def _timeline_figure(exchange: Exchange, times: Sequence[str], minutes: Sequence[Minute]) -> Any:
    from plotly.subplots import make_subplots

    figure = make_subplots(
        rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.06, row_heights=[0.42, 0.58])
    for name, color in (("margin calls", GOLD), ("liquidations", RED)):
        figure.add_scatter(
            x=times, y=[minute.counts[name] for minute in minutes], name=name, mode="lines",
            line={"color": color, "width": 1.5}, row=1, col=1)
    for taker, color in zip(_KINDS.values(), (GREEN, VIOLET, BLUE), strict=True):
        for is_long in (True, False):
            values = []
            for minute in minutes:
                lots = {
                    index: count for (index, who, long_side), count in minute.closed.items()
                    if who == taker and long_side == is_long}
                values.append((1 if is_long else -1) * _millions(exchange, minute, lots))
            figure.add_bar(
                x=times, y=values, name=taker, marker_color=color, marker_line_width=0,
                legendgroup=taker, showlegend=is_long, row=2, col=1)
    style(figure, 560)
    figure.update_layout(barmode="relative", bargap=0)
    figure.update_yaxes(title_text="a minute", row=1, col=1)
    figure.update_yaxes(title_text="millions closed", row=2, col=1)
    return figure


def _symbol_figure(exchange: Exchange, times: Sequence[str], minutes: Sequence[Minute]) -> Any:
    import plotly.graph_objects as go

    figure = go.Figure()
    for at, name in enumerate(exchange.symbols):
        index, total, values = exchange.instrument(name).index, 0.0, []
        for minute in minutes:
            lots = sum(count for key, count in minute.closed.items() if key[0] == index)
            total += _millions(exchange, minute, {index: lots})
            values.append(total)
        figure.add_scatter(
            x=times, y=values, name=name, mode="lines", stackgroup="symbols",
            line={"color": _COLORS[at % 8], "width": 1})
    style(figure, 340, "", "millions, from the start")
    return figure


def _load_figure(times: Sequence[str], minutes: Sequence[Minute]) -> Any:
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.07)
    figure.add_bar(
        x=times, y=[1000 * minute.work_s for minute in minutes], name="work", marker_color=VIOLET,
        marker_line_width=0, showlegend=False, row=1, col=1)
    figure.add_bar(
        x=times, y=[minute.counts["marks"] for minute in minutes], name="marks",
        marker_color="#8a93a6", marker_line_width=0, showlegend=False, row=2, col=1)
    style(figure, 400)
    figure.update_layout(bargap=0)
    figure.update_yaxes(title_text="ms of work", type="log", row=1, col=1)
    figure.update_yaxes(title_text="marks", row=2, col=1)
    return figure
