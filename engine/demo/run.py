"""The demo's course: plan the market, load the accounts, follow the marks, take the figures."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from engine import Exchange
from engine.demo.collect import Collector
from engine.demo.makers import Makers
from engine.demo.market import (
    SETTLE,
    SETTLE_DECIMALS,
    Market,
    declare_markets,
    plan_companions,
    plan_markets,
)
from engine.demo.population import Population, PopulationFacts, PopulationPlan
from engine.demo.process import ReplayProcess
from engine.driver import MarkDriver
from engine.errors import RunError
from engine.feed_health import FeedHealth
from engine.feeds import (
    Derived,
    Feed,
    FeedSummary,
    Step,
    SyntheticSpec,
    open_feed,
    open_feeds,
    summarize,
)
from engine.feeds.files import file_label
from engine.progress import ProgressBar
from engine.subscriber import MarkSubscriber
from engine.tally import Tally
from engine.units import Grid

#: Makers quote this often over a feed, however long it is.
_QUOTES_PER_FEED = 1000
_QUOTE_STEPS_MIN = 5
#: Fund at the start, per million of the population's open value.
_FUND_PPM = 1_500
#: The fund is looked at once in so many columns of the charts.
_FUND_SAMPLE_BUCKETS = 3
_TIMEOUT_S = 60.0
MINOR = Grid(f"0.{'0' * (SETTLE_DECIMALS - 1)}1")


@dataclass(frozen=True)
class DemoOptions:
    """What the command line asks for.

    Attributes
    ----------
    feeds : tuple of str
        Feed arguments; empty: the synthetic crash.
    account_count, seed : int
    mark_limit : int or None
    core : str
        `compiled` or `reference`.
    """

    feeds: tuple[str, ...] = ()
    account_count: int = 100_000
    seed: int = 1
    mark_limit: int | None = None
    core: str = "compiled"

    def command_line(self) -> str:
        """Return the command that gives the same run, feeds by file name."""
        parts = ["tools/demo"]
        for feed in self.feeds:
            parts += ["--feed", file_label(feed)]
        parts += ["--accounts", str(self.account_count), "--seed", str(self.seed)]
        if self.mark_limit is not None:
            parts += ["--marks", str(self.mark_limit)]
        return " ".join(parts)


@dataclass
class DemoFeed:
    """The feed as planned: sources, derived symbols, first pass over all of it."""

    feeds: list[Feed]
    derived: list[Derived]
    summary: FeedSummary

    @property
    def is_synthetic(self) -> bool:
        """Whether no recorded data is in it."""
        return all(feed.kind == "synthetic" for feed in self.feeds)

    @property
    def title(self) -> str:
        """What every output calls the feed."""
        names = ", ".join(feed.label for feed in self.feeds)
        title = f"synthetic feed ({names})" if self.is_synthetic else names
        if self.derived:
            title += " + " + ", ".join(spec.symbol for spec in self.derived) + " (derived)"
        return title


@dataclass
class DemoResult:
    """Everything that the summary and the report show; money in minor units."""

    options: DemoOptions
    feed: DemoFeed
    plan: PopulationPlan
    facts: PopulationFacts
    markets: list[Market]
    collector: Collector
    health: FeedHealth
    fund_start: int
    fund_end: int
    fund_equity_end: int
    fund_equity_low: int
    drift: str
    state_hash: str
    command_count: int
    load_s: float
    run_s: float

    @property
    def marks_per_second(self) -> float:
        """Marks applied over the time from the first to the last, quoting included."""
        return self.collector.mark_count / self.run_s if self.run_s else 0.0


def run_demo(options: DemoOptions) -> DemoResult:
    """Run the whole demo.

    Parameters
    ----------
    options : DemoOptions

    Returns
    -------
    DemoResult

    Raises
    ------
    engine.errors.InputError
        A feed that cannot be read.
    engine.errors.RunError
        The feed broke, or the exchange's books do not add up.
    """
    feed = plan_feed(options)
    markets = plan_markets(feed.summary.first_prices, feed.derived)
    plan = PopulationPlan(account_count=options.account_count, seed=options.seed)
    population = Population(plan, markets)
    exchange = Exchange(core=options.core)
    started = time.monotonic()
    makers, fund_start = _set_up(exchange, markets, population, feed.summary)
    loaded = time.monotonic()
    collector = Collector(markets, feed.summary.first_ns, feed.summary.last_ns)
    runner = _Runner(exchange, markets, makers, collector, feed)
    with ReplayProcess(_replay_arguments(options, feed)) as process:
        health = runner.follow(process)
    totals = exchange.totals()
    drift = totals["assets"][SETTLE]["drift"]
    if MINOR.units(drift) != 0:
        raise RunError(f"the books do not add up: drift {drift}, totals {totals}")
    equities = [b.fund_equity for b in collector.buckets if b.fund_equity is not None]
    return DemoResult(
        options=options,
        feed=feed,
        plan=plan,
        facts=population.facts,
        markets=markets,
        collector=collector,
        health=health,
        fund_start=fund_start,
        fund_end=MINOR.units(totals["assets"][SETTLE]["insurance"]),
        fund_equity_end=equities[-1],
        fund_equity_low=min(equities),
        drift=drift,
        state_hash=exchange.state_hash(),
        command_count=exchange.seq,
        load_s=loaded - started,
        run_s=runner.run_s,
    )


def plan_feed(options: DemoOptions) -> DemoFeed:
    """Open the feeds and read them once: every bad row shows before anything starts."""
    arguments = list(options.feeds)
    if not arguments:
        spec = SyntheticSpec(options.seed)
        if options.mark_limit is not None:
            # A shorter synthetic run is the whole crash in fewer steps, not its calm start.
            spec = SyntheticSpec(options.seed, max(options.mark_limit // 3, 10))
        arguments = [str(spec)]
    feeds = [open_feed(argument) for argument in arguments]
    summary = summarize(open_feeds(feeds, mark_limit=options.mark_limit))
    derived = plan_companions(summary)
    if derived:
        steps = open_feeds(feeds, derived=derived, mark_limit=options.mark_limit)
        summary = summarize(steps)
    return DemoFeed(feeds, derived, summary)


def _replay_arguments(options: DemoOptions, feed: DemoFeed) -> list[str]:
    arguments = [feed.argument for feed in feed.feeds]
    for spec in feed.derived:
        arguments += ["--derive", str(spec)]
    if options.mark_limit is not None:
        arguments += ["--limit", str(options.mark_limit)]
    return [*arguments, "--strict", "--speed", "max"]


def _set_up(
    exchange: Exchange, markets: Sequence[Market], population: Population, summary: FeedSummary
) -> tuple[Makers, int]:
    """Declare the market, open everything; return the makers and the fund's start."""
    loading = Tally()
    _submit_all(exchange, declare_markets(markets))
    first_marks = [(market.symbol, f"{market.first_price:f}", None, None) for market in markets]
    exchange.apply_marks(first_marks, ts=summary.first_ns)
    account_count = population.plan.account_count
    with ProgressBar("opening accounts", account_count, "accounts") as bar:
        for command in population.commands():
            exchange.submit(command)
            if command["cmd"] == "account" and command["account"] % 1000 == 0:
                # Events of the loading are only looked through for what went wrong.
                loading.add(exchange.drain_records())
                bar.update(command["account"])
    open_value = population.facts.open_value_minor
    makers = Makers(markets, open_value)
    _submit_all(exchange, makers.opening_commands())
    fund_start = sum(open_value.values()) * _FUND_PPM // 1_000_000
    exchange.submit({"cmd": "insurance", "asset": SETTLE, "amount": MINOR.text(fund_start)})
    loading.add(exchange.drain_records())
    if loading.rejections or loading.breached:
        raise RunError(
            f"loading went wrong: rejected {dict(loading.rejections)}, "
            f"{len(loading.breached)} accounts breached"
        )
    return makers, fund_start


def _submit_all(exchange: Exchange, commands: Iterable[dict[str, Any]]) -> None:
    for command in commands:
        exchange.submit(command)


class _Runner:
    """Follows the marks of the publisher and keeps the makers quoting."""

    def __init__(
        self,
        exchange: Exchange,
        markets: Sequence[Market],
        makers: Makers,
        collector: Collector,
        feed: DemoFeed,
    ) -> None:
        self._exchange = exchange
        self._driver = MarkDriver(exchange)
        self._makers = makers
        self._collector = collector
        self._mark_total = feed.summary.mark_count
        self._quote_every = max(feed.summary.step_count // _QUOTES_PER_FEED, _QUOTE_STEPS_MIN)
        self._marks = {market.symbol: f"{market.first_price:f}" for market in markets}
        self.run_s = 0.0

    def follow(self, process: ReplayProcess) -> FeedHealth:
        """Apply the whole feed; return what the subscriber saw of it."""
        self._quote()
        with (
            MarkSubscriber(
                process.endpoint,
                timeout_s=_TIMEOUT_S,
                report=_warn,
                on_idle=process.require_alive,
            ) as subscriber,
            ProgressBar("crash", self._mark_total) as bar,
        ):
            started = 0.0
            bucket = 0
            for number, step in subscriber.steps():
                started = started or time.monotonic()
                bucket = self._enter_bucket(bucket, step[0])
                self._apply(number, step)
                if number % 64 == 0:
                    bar.update(self._collector.mark_count, self._note())
            self.run_s = time.monotonic() - started if started else 0.0
            self._close_bucket(bucket)
        if not subscriber.health.is_complete:
            raise RunError(f"the feed did not arrive whole: {subscriber.health}")
        return subscriber.health

    def fund_figures(self) -> tuple[int, int]:
        """Return the fund's balance, and its equity with its positions at mark."""
        reply = self._exchange.query({"query": "insurance"})
        balance = MINOR.units(reply["assets"][SETTLE]["balance"])
        profits = (MINOR.units(held["unrealized_pnl"]) for held in reply["positions"])
        return balance, balance + sum(profits)

    def _apply(self, number: int, step: Step) -> None:
        self._driver.apply(number, step)
        for symbol, mark, _ in step[1]:
            self._marks[symbol] = mark
        if number % self._quote_every == 0:
            self._quote()
        self._collector.add(self._exchange.drain_records())

    def _quote(self) -> None:
        _submit_all(self._exchange, self._makers.quote_commands(self._marks))

    def _enter_bucket(self, before: int, ts_ns: int) -> int:
        at = self._collector.bucket_at(ts_ns)
        if at // _FUND_SAMPLE_BUCKETS != before // _FUND_SAMPLE_BUCKETS:
            self._close_bucket(before)
        return at

    def _close_bucket(self, at: int) -> None:
        bucket = self._collector.buckets[at]
        bucket.fund_balance, bucket.fund_equity = self.fund_figures()

    def _note(self) -> str:
        collector = self._collector
        return f"{len(collector.breached):,} breached, {len(collector.deleveraged):,} deleveraged"


def _warn(line: str) -> None:
    print(f"feed: {line}", file=sys.stderr)
