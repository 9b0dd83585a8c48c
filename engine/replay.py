"""`engine replay`: recorded feeds, planned and played over ZeroMQ or into an exchange."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from engine.errors import InputError
from engine.feeds import (
    Derived,
    Feed,
    FeedSummary,
    Moment,
    Problems,
    Step,
    open_feed,
    open_moments,
    summarize,
    timeline,
)
from engine.feeds.marks import Marker
from engine.feeds.steps import limit_marks
from engine.units import is_decimal

if TYPE_CHECKING:
    from engine import Exchange
    from engine.keys import ServerKeys
    from engine.play import Events
    from engine.publisher import Pace
    from engine.server import RunFigures
    from engine.tally import Tally

Rows = list[tuple[str, str]]
WithBar = Callable[[Callable[[Callable[["Tally"], None]], "RunFigures"]], "RunFigures"]


@dataclass(frozen=True)
class Replay:
    """What is to be played.

    Attributes
    ----------
    feeds : sequence of Feed
    renames : dict of str to str
    derived : sequence of Derived
    price, clock : str
        See `engine.feeds.open_moments`.
    start_ns, end_ns : int or None
    loop_count : int
        0: without end.
    rebase_ns : int or None
        When the feed is to begin.
    mark_limit : int or None
    is_strict, keep_records, has_funding : bool
    """

    feeds: Sequence[Feed]
    renames: dict[str, str] = field(default_factory=dict)
    derived: Sequence[Derived] = ()
    price: str = "auto"
    clock: str = "exchange"
    start_ns: int | None = None
    end_ns: int | None = None
    loop_count: int = 1
    rebase_ns: int | None = None
    mark_limit: int | None = None
    is_strict: bool = False
    keep_records: bool = False
    has_funding: bool = False

    @classmethod
    def plan(
        cls, files: Sequence[str], *, symbol: str | None, date: str | None,
        renames: dict[str, str], derived: Sequence[str], price: str, clock: str,
        start: str | None, end: str | None, loop: int, rebase: str | None, limit: int | None,
        is_strict: bool, keep_records: bool, has_funding: bool = False,
    ) -> Replay:
        """Read the options of the command line; opens every file to tell its format.

        Raises
        ------
        InputError
        """
        if clock not in ("exchange", "local"):
            raise InputError(f"--clock {clock}: expected exchange or local")
        Marker(price)  # says what it may be
        start_ns, end_ns = (
            None if text is None else timeline.parse_time(option, text)
            for option, text in (("--start", start), ("--end", end)))
        if start_ns is not None and end_ns is not None and end_ns <= start_ns:
            raise InputError(f"--end {end}: not after --start {start}")
        rebase_ns = None
        if rebase is not None:
            rebase_ns = time.time_ns() if rebase == "now" else timeline.parse_time(
                "--rebase", rebase)
        date_ns = None if date is None else timeline.parse_time("--date", date)
        return cls(
            [open_feed(file, symbol, date_ns) for file in files], renames,
            [Derived.parse(argument) for argument in derived], price, clock, start_ns, end_ns,
            loop, rebase_ns, limit, is_strict, keep_records, has_funding)

    def moments(
        self, problems: Problems | None = None, counts: Counter[str] | None = None,
        only_first_marks: bool = False,
    ) -> Iterator[Moment]:
        """Stream what is to be played; may be called again.

        With `only_first_marks`, marks of later moments may be missing.
        """

        def one_pass() -> Iterator[Moment]:
            return timeline.cut(
                open_moments(
                    self.feeds, renames=self.renames, derived=self.derived, price=self.price,
                    clock=self.clock, problems=problems or Problems(self.is_strict),
                    counts=counts, keep_records=self.keep_records,
                    has_funding=self.has_funding,
                    # A limit counts them all.
                    only_first_marks=only_first_marks and self.mark_limit is None),
                self.start_ns, self.end_ns)

        moments = one_pass() if self.loop_count == 1 else timeline.loop(one_pass, self.loop_count)
        if self.rebase_ns is not None:
            moments = timeline.rebase(moments, self.rebase_ns)
        return limit_marks(moments, self.mark_limit)

    def feed_rows(self) -> Rows:
        """Return the feeds for a summary."""
        rows = [("feed", f"{feed.label} ({feed.kind})") for feed in self.feeds]
        return rows + [("derived", str(spec)) for spec in self.derived]


def parse_speed(text: str) -> float | None:
    """Read `--speed`: a factor, or None for as fast as possible."""
    if text == "max":
        return None
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not 0 < factor < 1e9:
        raise InputError(f"--speed {text}: expected a number above zero, or max")
    return factor


def replay_over_zmq(
    plan: Replay, endpoint: str, speed: float | None, subscriber_count: int, timeout_s: float,
    report: Callable[[str], None], keys: ServerKeys | None = None, resend: str | None = None,
) -> Rows:
    """Publish a feed; return the summary.

    Parameters
    ----------
    plan : Replay
    endpoint : str
    speed : float or None
    subscriber_count : int
        Wait for so many before the first mark.
    timeout_s : float
    report : callable
        Takes one line for each bad row, at the end.
    keys : ServerKeys, optional
        Of the socket.
    resend : str, optional
        Endpoint where steps are sent again.
    """
    from engine.progress import ProgressBar
    from engine.publisher import MarkPublisher, Pace

    problems, kinds, pace = Problems(plan.is_strict), Counter[str](), Pace(speed)
    with MarkPublisher(endpoint, keys=keys, resend=resend) as publisher:
        publisher.wait_for_subscribers(subscriber_count, timeout_s)
        with ProgressBar("publishing") as bar:
            publisher.publish(plan.moments(problems, kinds), pace, bar.update)
        bound = publisher.endpoint
    counts = publisher.counts
    rate = counts.mark_count / counts.elapsed_s if counts.elapsed_s else 0.0
    _report(problems, report)
    return [
        *plan.feed_rows(),
        ("endpoint", bound),
        *_record_rows(kinds, problems),
        ("messages", str(counts.message_count)),
        ("steps", str(counts.step_count)),
        ("marks", str(counts.mark_count)),
        ("elapsed_s", f"{counts.elapsed_s:.3f}"),
        ("marks_per_second", f"{rate:.0f}"),
        *pace.rows(),
    ]


@dataclass(frozen=True)
class Setup:
    """What an exchange holds before a feed is played into it.

    Attributes
    ----------
    scenario : str or None
        Applied first. None: instruments that fit the feed.
    population : str or None
        Plan or parquet file of accounts, opened at the first marks.
    contracts : str
        Of the instruments that fit the feed: `linear` or `inverse`.
    fund : str or None
        What the insurance fund of each asset has, as a share of the value of all longs in it.
    """

    scenario: str | None = None
    population: str | None = None
    contracts: str = "linear"
    fund: str | None = None

    def __post_init__(self) -> None:
        if self.contracts not in ("linear", "inverse"):
            raise InputError(f"--contracts {self.contracts}: expected linear or inverse")
        if self.contracts == "inverse" and self.scenario is not None:
            raise InputError("--contracts are of instruments that fit the feed, not of --scenario")
        if self.fund is not None:
            if self.population is None:
                raise InputError("--fund is a share of what a --population holds")
            if not is_decimal(self.fund) or self.fund.startswith("-"):
                raise InputError(f"--fund {self.fund}: expected a share from 0 on")

    def build(self, exchange: Exchange, plan: Replay, report: Callable[[str], None]) -> None:
        """Apply it to a fresh exchange."""
        from engine.coin_markets import coin_commands
        from engine.demo.market import declare_markets, plan_markets
        from engine.server import load_scenario

        if self.scenario is not None:
            load_scenario(exchange, self.scenario, report)
        if self.scenario is not None and self.population is None:
            return
        summary = summarize(_steps(_first_pass(plan)))
        if self.scenario is None:
            # Prices alone: instruments of the right magnitude for whatever the feed carries.
            prices = summary.first_prices
            commands = (
                coin_commands(prices) if self.contracts == "inverse"
                else declare_markets(plan_markets(prices, plan.derived)))
            for command in commands:
                exchange.submit(command)
        if self.population is not None:
            _populate(exchange, self.population, summary)
        if self.fund is not None:
            _fill_funds(exchange, self.fund)


def replay_in_process(
    plan: Replay, exchange: Exchange, setup: Setup, speed: float | None, with_bar: WithBar,
    report: Callable[[str], None], *, crowd: tuple[str, str] | None = None,
    listen: Callable[[Exchange], Callable[[Events], None]] | None = None,
) -> Rows:
    """Feed an exchange; return the summary.

    Parameters
    ----------
    plan : Replay
        With its records, for a crowd.
    exchange : engine.Exchange
        Fresh.
    setup : Setup
    speed : float or None
    with_bar : callable
        Runs the work with a progress bar.
    report : callable
        Takes one line for each bad row, at the end.
    crowd : (str, str), optional
        Rule and mark of `engine.crowd.Crowd`. Default: marks alone.
    listen : callable, optional
        Gets the exchange before the first mark, and returns what takes the events.
    """
    from engine.crowd import run_crowd
    from engine.play import TOGETHER, run_moments
    from engine.publisher import Pace
    from engine.server import exchange_rows

    if crowd is not None and plan.start_ns is not None:
        raise InputError("--start: a crowd's book is built from the beginning of its feed")
    setup.build(exchange, plan, report)
    problems, kinds, pace = Problems(plan.is_strict), Counter[str](), Pace(speed)
    span = _Span()
    only_first = crowd is not None and crowd[1] == "book"  # others are not looked at
    moments = plan.moments(problems, kinds, only_first)
    if speed is not None:
        moments = _paced(moments, pace)
    moments = span.watch(moments)
    more_rows: Rows = []

    def play(progress: Callable[[Tally], None]) -> RunFigures:
        if crowd is None:
            figures, fundings = run_moments(
                exchange, moments, progress, TOGETHER if speed is None else 1,
                None if listen is None else listen(exchange))
            more_rows.extend(fundings.rows())
            return figures
        figures, rows = run_crowd(exchange, moments, *crowd, progress)
        more_rows.extend(rows)
        return figures

    cpu_s = -time.process_time()
    figures = with_bar(play)
    cpu_s += time.process_time()
    _report(problems, report)
    return [
        *plan.feed_rows(), *_record_rows(kinds, problems), *pace.rows(), *more_rows,
        ("elapsed_s", f"{figures.elapsed_s:.3f}"),
        ("cpu_s", f"{cpu_s:.3f}"),
        ("times_real_time", f"{span.seconds / max(figures.elapsed_s, 1e-9):.0f}"),
        *exchange_rows(exchange, figures),
    ]


class _Span:
    """How much time of a feed was played."""

    def __init__(self) -> None:
        self._first_ns: int | None = None
        self._last_ns = 0

    def watch(self, moments: Iterable[Moment]) -> Iterator[Moment]:
        for moment in moments:
            if self._first_ns is None:
                self._first_ns = moment.ts_ns
            self._last_ns = moment.ts_ns
            yield moment

    @property
    def seconds(self) -> float:
        return (self._last_ns - (self._first_ns or self._last_ns)) / 1e9


def _fill_funds(exchange: Exchange, share: str) -> None:
    positions = exchange.positions_array()
    for name in exchange.assets:
        held = [
            exchange.instrument(symbol).index for symbol in exchange.symbols
            if exchange.instrument(symbol).settle.name == name]
        rows = positions[(positions["quantity"] > 0) & np.isin(positions["symbol"], held)]
        minor = int(rows["notional"].sum()) * Fraction(share)
        if minor >= 1:
            grid = exchange.instrument(exchange.symbols[held[0]]).settle.minor
            exchange.submit(
                {"cmd": "insurance", "asset": name, "amount": grid.text(int(minor))})
    exchange.discard_events()


def _populate(exchange: Exchange, path: str, summary: FeedSummary) -> None:
    from engine.populations import (
        draw_population,
        is_parquet,
        load_population,
        read_parquet,
        read_plan,
    )

    marks = []
    for symbol in exchange.symbols:
        is_marked = exchange.query({"query": "instrument", "symbol": symbol})["mark_price"]
        first = summary.first_prices.get(symbol)
        if is_marked is None and first is not None:
            marks.append((symbol, exchange.instrument(symbol).round_mark(first), None, None))
    if marks:
        exchange.apply_marks(marks, ts=max(exchange.ts, summary.first_ns))
        exchange.discard_events()
    if is_parquet(path):
        accounts = read_parquet(exchange, path)
    else:
        accounts = draw_population(exchange, read_plan(path))
    load_population(exchange, accounts)


def _first_pass(plan: Replay) -> Iterator[Moment]:
    if plan.loop_count == 0 and plan.mark_limit is None:
        raise InputError("--loop 0: a first pass over the feed needs an end; give --limit")
    return plan.moments()


def _steps(moments: Iterable[Moment]) -> Iterator[Step]:
    return ((moment.ts_ns, moment.rows) for moment in moments)


def _paced(moments: Iterable[Moment], pace: Pace) -> Iterator[Moment]:
    for moment in moments:
        pace.wait(moment.ts_ns)
        yield moment
        pace.note_played(moment.ts_ns)


def _record_rows(kinds: Counter[str], problems: Problems) -> Rows:
    rows = [(f"records_{name}", str(count)) for name, count in sorted(kinds.items())]
    return rows + problems.rows()


def _report(problems: Problems, report: Callable[[str], None]) -> None:
    for line in problems.lines:
        report(line)
    told, all_of_them = len(problems.lines), problems.bad_count + problems.gap_count
    if told < all_of_them:
        report(f"{all_of_them - told} more bad rows and gaps")
