"""What an order costs: the book alone, in batches and call by call, and the whole exchange.

The same packed stream goes through the compiled book (batches of 1, 7, 1,000 and all at
once; single calls), through a plain Python book, and through the exchange with accounts,
margin and events. All must make the same trades.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter_ns, thread_time_ns
from typing import Any

import numpy as np

from engine.bench.plain_book import PlainBook
from engine.bench.population import Ints, read_records
from engine.bench.stream import AMEND, CANCEL, FAIR_PRICE, Stream, hash_trades, make_stream
from engine.bench.timing import timer_ns
from engine.messages import MONEY_MAX, NONE, RATE_SCALE, EventKind, OrderType, TierRule

Progress = Callable[[str], None]
Calls = list[tuple[Callable[..., Any], tuple[Any, ...]]]

BATCHES = (1, 7, 1000, 0)  # 0: all at once
_DRAIN_EVERY = 1000
_TIMED_BATCH = 1000
_OWNERS = 1000
_DEPOSIT = 10**15


@dataclass(frozen=True)
class BookPlan:
    """How large a run is.

    Attributes
    ----------
    stream : str
        Of `engine.bench.stream.MIXES`.
    commands, seed, rounds : int
    """

    stream: str = "canonical"
    commands: int = 1_000_000
    seed: int = 1
    rounds: int = 5


SMOKE = BookPlan(commands=3000, rounds=1)


@dataclass
class Run:
    """One way of sending the stream; ns of CPU a command, one entry a round.

    Attributes
    ----------
    name : str
    per_command : list of float
    trades : str
        Hash of its trades.
    each : array of int64, optional
        Wall ns of each call (a batch, or a command), the clock included.
    """

    name: str
    per_command: list[float] = field(default_factory=list)
    trades: str = ""
    each: Ints | None = None


@dataclass
class BookResult:
    """Everything one run measured."""

    plan: BookPlan
    stream: Stream
    batches: dict[int, Run]
    single: Run
    plain: Run
    exchange: Run
    events: int
    state_hash: str
    clock: float

    @property
    def agrees(self) -> bool:
        """Whether everything that got the whole stream made the same trades."""
        runs = [*self.batches.values(), self.single, self.plain, self.exchange]
        return {run.trades for run in runs} == {self.stream.trades}


def run_book(plan: BookPlan, progress: Progress = lambda note: None) -> BookResult:
    """Measure one stream.

    Parameters
    ----------
    plan : BookPlan
    progress : callable
        Told what comes next.

    Returns
    -------
    BookResult
    """
    from engine.core import ExchangeCore

    progress(f"{plan.stream}: making {plan.commands:,} commands")
    stream = make_stream(plan.stream, plan.commands, plan.seed)
    batches = {size: Run(_batch_name(size)) for size in BATCHES}
    single, plain = Run("single calls"), Run("plain Python book")
    exchange = Run("exchange, single calls")
    for number in range(plan.rounds):
        progress(f"{plan.stream}, round {number + 1} of {plan.rounds}")
        for size, run in batches.items():
            run_batches(run, stream, size)
        run_single(single, stream)
        if number < 2:
            run_plain(plain, stream)
        core = ExchangeCore()
        events = run_exchange(exchange, core, stream)
    return BookResult(
        plan, stream, batches, single, plain, exchange, events, core.digest().hex(), timer_ns(),
    )


def _batch_name(size: int) -> str:
    return f"batches of {size:,}" if size else "one batch"


def run_batches(run: Run, stream: Stream, size: int) -> None:
    """Send the stream to a fresh book in packed batches; trades are fetched every 1,000."""
    from engine.core import OrderBook

    book: Any = OrderBook()
    commands = stream.commands
    step = size or len(commands)
    batches = [commands[i : i + step] for i in range(0, len(commands), step)]
    fetch_every = max(1, _DRAIN_EVERY // step)
    tape = []
    start = thread_time_ns()
    for number, batch in enumerate(batches, 1):
        book.run(batch)
        if number % fetch_every == 0:
            tape.append(book.trades())
    run.per_command.append((thread_time_ns() - start) / len(commands))
    tape.append(book.trades())
    run.trades = hash_trades(b"".join(tape))
    if size == _TIMED_BATCH:
        fresh: Any = OrderBook()
        run.each = _drive_each([(fresh.run, (batch,)) for batch in batches], fresh.trades)


def run_single(run: Run, stream: Stream) -> None:
    """The same by one Python call a command."""
    from engine.core import OrderBook

    book: Any = OrderBook()
    calls: Calls = []
    for op, owner, order_id, side, price, quantity, tif, flags in stream.commands.tolist():
        if op == CANCEL:
            calls.append((book.cancel, (owner, order_id)))
        elif op == AMEND:
            calls.append((book.amend, (owner, order_id, price, quantity)))
        else:
            arguments = (owner, order_id, side, price, quantity, tif, flags >= 8, flags & 7)
            calls.append((book.place, arguments))
    tape: list[bytes] = []
    run.per_command.append(_drive(calls, lambda: tape.append(book.trades())))
    run.trades = hash_trades(b"".join(tape))
    fresh: Any = OrderBook()
    methods = {book.cancel: fresh.cancel, book.amend: fresh.amend, book.place: fresh.place}
    run.each = _drive_each([(methods[method], row) for method, row in calls], fresh.trades)


def run_plain(run: Run, stream: Stream) -> None:
    """The same on a plain Python book."""
    book = PlainBook()
    rows = stream.commands.tolist()
    start = thread_time_ns()
    for row in rows:
        book.apply(row)
    run.per_command.append((thread_time_ns() - start) / len(rows))
    run.trades = hash_trades(book.trade_bytes())


def run_exchange(run: Run, core: Any, stream: Stream) -> int:
    """The same through an exchange with accounts; return the number of events."""
    open_exchange(core)
    calls = exchange_calls(core, stream.commands)
    records: list[Ints] = []
    run.per_command.append(_drive(calls, lambda: records.append(read_records(core.drain_bytes()))))
    trades = [rows[rows[:, 0] == EventKind.TRADE] for rows in records]
    rows = np.concatenate(trades)
    # maker account, maker order, taker account, taker order, price, lots
    run.trades = hash_trades(np.ascontiguousarray(rows[:, [9, 8, 11, 10, 6, 7]]).tobytes())
    if run.each is None:
        fresh = type(core)()
        open_exchange(fresh)
        run.each = _drive_each(exchange_calls(fresh, stream.commands), fresh.drain_bytes)
    return sum(len(rows) for rows in records)


def open_exchange(core: Any) -> None:
    """One asset, one instrument with fees, a mark, and 1,000 rich cross accounts."""
    core.add_asset()
    tiers = [(0, MONEY_MAX, RATE_SCALE // 200, 100 * RATE_SCALE)]
    maker_fee, taker_fee = 2 * RATE_SCALE // 10**4, 5 * RATE_SCALE // 10**4
    core.add_instrument(
        0, 1, 1, maker_fee, taker_fee, 0, NONE, NONE, NONE, TierRule.MARGINAL, tiers)
    core.mark(0, FAIR_PRICE)
    for account in range(1, _OWNERS + 1):
        core.open_account(account, 0)
        core.deposit(account, 0, _DEPOSIT)
    core.drain()


def exchange_calls(core: Any, commands: Ints) -> Calls:
    """Packed commands as calls of a core's methods."""
    calls: Calls = []
    for op, owner, order_id, side, price, quantity, tif, flags in commands.tolist():
        if op == CANCEL:
            calls.append((core.cancel, (owner, 0, order_id)))
        elif op == AMEND:
            calls.append((core.amend_order, (owner, 0, order_id, price, NONE, quantity)))
        else:
            kind = OrderType.LIMIT if price else OrderType.MARKET
            arguments = (
                owner, 0, order_id, side, int(kind), quantity, price or NONE, tif, flags >= 8,
                False, flags & 7,
            )
            calls.append((core.place_order, arguments))
    return calls


def _drive(calls: Calls, drain: Callable[[], Any]) -> float:
    """CPU ns a call, draining every 1,000 included."""
    total = 0
    for begin in range(0, len(calls), _DRAIN_EVERY):
        part = calls[begin : begin + _DRAIN_EVERY]
        start = thread_time_ns()
        for method, arguments in part:
            method(*arguments)
        drain()
        total += thread_time_ns() - start
    return total / len(calls)


def _drive_each(calls: Calls, drain: Callable[[], Any]) -> Ints:
    """Wall ns of every call, the clock included; draining is not."""
    out = [0] * len(calls)
    clock = perf_counter_ns
    for number, (method, arguments) in enumerate(calls):
        start = clock()
        method(*arguments)
        out[number] = clock() - start
        if number % _DRAIN_EVERY == _DRAIN_EVERY - 1:
            drain()
    return np.array(out, np.int64)


def response_times(service: Ints, load: float, seed: int = 1) -> Ints:
    """What callers would wait who come by themselves, not one after the other.

    Parameters
    ----------
    service : array of int64, ns
        Measured, in order.
    load : float
        Arrivals (Poisson) as a share of what the mean service time allows.
    seed : int

    Returns
    -------
    array of int64, ns
        Queueing and service of each, by Lindley's recursion.
    """
    gaps = np.random.default_rng(seed).exponential(service.mean() / load, len(service))
    steps = service[:-1] - gaps[1:]
    sums = np.concatenate(([0.0], np.cumsum(steps)))
    waits = sums - np.minimum.accumulate(sums)
    return (waits + service).astype(np.int64)
