"""One run of load at one rate: against a server, or in this process; what it came to."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from engine.batches import Packed
from engine.bench.machine import core_count
from engine.client import Client
from engine.closing import Closing
from engine.errors import InputError, RunError
from engine.exchange import Exchange
from engine.keys import ClientKeys
from engine.load.arrivals import Ints
from engine.load.fleet import Fleet, LegResult, new_result, sample
from engine.load.flow import Book, Flow
from engine.load.plan import LoadPlan
from engine.load.server import OwnServer, ServerPlan
from engine.load.soak import Watch
from engine.load.worker import Caller, Leg, Order
from engine.load.world import DEPOSIT, World, books_of, trader_accounts
from engine.server import drift_text
from engine.serving.service import StopSignal

Progress = Callable[[LegResult, float], None]
#: How late an answer may be before a leg is given up.
GIVE_UP_S = 60.0
_CONTROL_S = 60.0
_GREETING_S = 10.0
#: Made before an exchange in this process is loaded; of a longer run the rest on the way.
_BLOCKS_AHEAD = 1_000


@dataclass
class LoadResult:
    """What a run came to.

    Attributes
    ----------
    plan : LoadPlan
    where : str
        What was loaded.
    accounts : int
        With positions; 0 where nobody says.
    leg : LegResult
    first_seq, last_seq : int
        Numbers of the commands that the server applied meanwhile.
    drift, state_hash : str
    watch : Watch or None
        Of a soak.
    failures : list of str
        What must not be.
    """

    plan: LoadPlan
    where: str
    accounts: int
    leg: LegResult
    first_seq: int
    last_seq: int
    drift: str
    state_hash: str
    watch: Watch | None = None
    failures: list[str] = field(default_factory=list)

    def check(self, is_alone: bool) -> None:
        """Compare what was acknowledged with what was applied, and look at the drift."""
        leg, applied = self.leg, self.last_seq - self.first_seq + 1
        numbers = applied * (self.first_seq + self.last_seq) // 2
        if not leg.is_ordered:
            self.failures.append("a client's commands got numbers that do not rise")
        if leg.unanswered:
            self.failures.append(f"{leg.unanswered} commands were not answered")
        elif is_alone and (leg.seq_count, leg.seq_sum) != (applied, numbers):
            self.failures.append(
                f"{leg.seq_count} commands were acknowledged, {applied} were applied")
        elif leg.seq_count > applied:
            self.failures.append(
                f"{leg.seq_count} commands were acknowledged, only {applied} were applied")
        if self.drift != "0":
            self.failures.append(f"drift {self.drift}")
        if self.watch is not None:
            self.failures += self.watch.failures(leg.memory)


class Control(Closing):
    """Asks a server about itself.

    Parameters
    ----------
    endpoint : str
    keys : ClientKeys, optional
    """

    def __init__(self, endpoint: str, keys: ClientKeys | None = None) -> None:
        self._client = Client(
            endpoint, "load.control", timeout_s=_CONTROL_S, retry_s=_CONTROL_S, keys=keys)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def books(self, wanted: tuple[str, ...] = ()) -> list[Book]:
        """Return the books of the symbols that are wanted, by default of all.

        Raises
        ------
        InputError
            An unknown symbol, or one without a mark.
        """
        rows = self._client.query({"query": "directory"})["symbols"]
        known = [row["symbol"] for row in sorted(rows, key=lambda row: row["index"])]
        return choose_books(known, wanted, self._client.query)

    def state(self) -> tuple[int, str, str]:
        """Return seq, drift and state hash."""
        drift = self.drift()
        answer = self._client.query({"query": "state_hash"})
        return answer["seq"], drift, answer["state_hash"]

    def drift(self) -> str:
        """Return `0`, or the drifts of all assets where one of them is something else."""
        assets = self._client.query({"query": "totals"})["assets"]
        drifts = {terms["drift"] for terms in assets.values()}
        return "0" if drifts <= {"0"} else str(sorted(drifts))


def choose_books(
    known: list[str], wanted: tuple[str, ...], query: Callable[[dict[str, Any]], Mapping[str, Any]]
) -> list[Book]:
    """Return the books of instruments by name."""
    for name in wanted:
        if name not in known:
            raise InputError(f"--symbol {name}: no such instrument (there are: {', '.join(known)})")
    answers = [query({"query": "instrument", "symbol": name}) for name in known]
    return books_of(known, answers, wanted or known)


@contextmanager
def loaded_server(
    plan: LoadPlan, endpoint: str, symbols: tuple[str, ...] = (), callers: Sequence[Caller] = ()
) -> Iterator[tuple[Fleet, Control]]:
    """Connect the clients of a plan, their accounts open, and one that asks."""
    callers = callers or [Caller(f"load.{number}") for number in range(plan.clients)]
    _greet(endpoint, callers)
    with Control(endpoint, callers[0].keys) as control:
        books = tuple(control.books(symbols))
        # A busy wait is for those who have a core for it, beside the server.
        may_spin = plan.clients < core_count()
        orders = [
            Order(endpoint, caller, number, plan.clients, plan.traders, books, plan.mix, plan.swing,
                  plan.seed, plan.batch, plan.is_packed, may_spin)
            for number, caller in enumerate(callers)]
        with Fleet(orders) as fleet:
            yield fleet, control


def _greet(endpoint: str, callers: Sequence[Caller]) -> None:
    """Find out soon whether a server lets clients with keys in."""
    for caller in callers:
        if caller.keys is None:
            continue
        with Client(endpoint, caller.name, timeout_s=_GREETING_S, keys=caller.keys) as client:
            try:
                client.hello()
            except RunError as error:
                raise RunError(f"client {caller.name}: {error}") from None


def run_leg(
    fleet: Fleet, control: Control, plan: LoadPlan, where: str, accounts: int, *,
    number: int = 0, rate: float | None = None, give_up_s: float = GIVE_UP_S,
    server_pid: int = 0, is_alone: bool = True, watch: Watch | None = None,
    on_progress: Progress = lambda result, now: None,
) -> LoadResult:
    """Run one leg against a server that the clients are connected to.

    Parameters
    ----------
    number : int
        Other legs have other commands.
    rate : float, optional
        Default: the plan's.
    give_up_s : float
    server_pid : int
        0: not known.
    is_alone : bool
        Whether nobody else sends commands: then every number has to be one of ours.
    watch : Watch, optional
    on_progress : callable
    """
    before, _, _ = control.state()

    def on_part(result: LegResult, now: float) -> None:
        if watch is not None:
            watch.look(now, control.drift)
        on_progress(result, now)

    leg = fleet.run(
        Leg(number, plan.arrivals, rate or plan.rate, plan.duration_s, plan.drain_s, give_up_s),
        on_part, server_pid)
    after, drift, state_hash = control.state()
    result = LoadResult(
        plan, where, accounts, leg, before + 1, after, drift, state_hash, watch)
    result.check(is_alone)
    return result


def load_server(
    plan: LoadPlan, endpoint: str, symbols: tuple[str, ...] = (),
    callers: Sequence[Caller] = (), **options: Any,
) -> LoadResult:
    """Load a server that runs already; others may send to it, too.

    `callers` are the plan's clients, by default some without keys.
    """
    with loaded_server(plan, endpoint, symbols, callers) as (fleet, control):
        return run_leg(fleet, control, plan, endpoint, 0, is_alone=False, **options)


def load_own(
    plan: LoadPlan, server_plan: ServerPlan, symbols: tuple[str, ...] = (), **options: Any
) -> LoadResult:
    """Start a server, load it, stop it; its journal is read again if it has one.

    Raises
    ------
    RunError
    """
    with OwnServer(server_plan) as server:
        with loaded_server(plan, server.endpoint, symbols) as (fleet, control):
            result = run_leg(
                fleet, control, plan, describe(server_plan), server_plan.world.accounts,
                server_pid=server.pid, **options)
        end = server.stop()
    if end.state_hash != result.state_hash:
        result.failures.append(
            f"the server ended with state hash {end.state_hash}, not {result.state_hash}")
    return result


def describe(server: ServerPlan) -> str:
    """Return what a server of its own is, in a few words."""
    journal = "no journal" if server.journal is None else f"journal, fsync {server.fsync}"
    return f"a server of its own over ZeroMQ, {journal}"


def load_in_process(
    plan: LoadPlan, world: World, symbols: tuple[str, ...] = (), on_progress: Progress = (
        lambda result, now: None), watch: Watch | None = None,
) -> LoadResult:
    """Load an exchange in this process by packed commands, without sockets and journal."""
    exchange = Exchange()
    world.build(exchange)
    books = choose_books(exchange.symbols, symbols, exchange.query)
    _open_traders(exchange, plan, books)
    first_seq = exchange.seq + 1
    seeds = np.random.SeedSequence([plan.seed, 0, 0])
    first, second = (np.random.default_rng(one) for one in seeds.spawn(2))
    flow = Flow(books, trader_accounts(0, plan.traders), plan.mix, plan.swing, second)
    leg = new_result(plan.rate, plan.duration_s)
    blocks = _blocks(plan.arrivals.blocks(plan.rate, first), flow, int(plan.duration_s * 1e9))
    start = time.monotonic_ns()
    with StopSignal() as stop:
        _send_in_process(exchange, blocks, plan.batch, leg, start, on_progress, watch, stop)
    leg.elapsed_s = (time.monotonic_ns() - start) / 1e9
    leg.timeline.close(float("1e9"))
    leg.seq_count = leg.sent
    leg.seq_sum = (first_seq + exchange.seq) * leg.sent // 2
    result = LoadResult(
        plan, "an exchange in this process, packed calls", world.accounts, leg, first_seq,
        exchange.seq, drift_text(exchange), exchange.state_hash(), watch)
    result.check(is_alone=True)
    return result


def _open_traders(exchange: Exchange, plan: LoadPlan, books: list[Book]) -> None:
    for account in trader_accounts(0, plan.traders):
        exchange.submit({"cmd": "account", "account": account})
        for asset in dict.fromkeys(book.settle for book in books):
            exchange.submit(
                {"cmd": "deposit", "account": account, "asset": asset, "amount": DEPOSIT})
    refused = [event for event in exchange.drain() if event["event"] == "rejected"]
    if refused:
        raise RunError(f"the traders cannot be opened: {refused[0]['detail']}")


def _send_in_process(
    exchange: Exchange, blocks: Iterator[tuple[Ints, Packed]], batch: int, leg: LegResult,
    start: int, on_progress: Progress, watch: Watch | None, stop: StopSignal,
) -> None:
    clock, told = time.monotonic_ns, 0
    kept: list[tuple[Ints, Ints]] = []
    for due, rows in blocks:
        done = 0
        latencies = np.empty(len(due), np.int64)
        while done < len(due) and not stop.is_set:
            now = clock() - start
            ahead = int(due[done]) - now
            if ahead > 0:
                if ahead > 200_000:
                    time.sleep((ahead - 150_000) / 1e9)
                continue
            ready = min(int(np.searchsorted(due, now, "right")), done + batch)
            refused = exchange.submit_many(rows[done:ready])
            exchange.discard_events()
            latencies[done:ready] = clock() - start - due[done:ready]
            leg.codes["rejected"] += refused
            leg.codes["accepted"] += ready - done - refused
            leg.sent += ready - done
            done = ready
        # Counting is put off, lest it be what is timed.
        kept.append((due[:done], latencies[:done]))
        now = clock() - start
        if len(kept) >= _BLOCKS_AHEAD:
            _count(leg, kept)
        if now - told > 500_000_000:
            told = now
            sample(leg, os.getpid(), now / 1e9)
            if watch is not None:
                watch.look(now / 1e9, lambda: drift_text(exchange))
            on_progress(leg, now / 1e9)
        if stop.is_set:
            leg.is_interrupted = True
            break
    _count(leg, kept)


def _count(leg: LegResult, kept: list[tuple[Ints, Ints]]) -> None:
    for due, latencies in kept:
        leg.latency.add(latencies)
        leg.timeline.add(due, latencies)
    kept.clear()


def _blocks(
    times: Iterator[Ints], flow: Flow, end_ns: int
) -> Iterator[tuple[Ints, Packed]]:
    """Yield due times and commands to the end; the first are made before this returns."""
    def made() -> Iterator[tuple[Ints, Packed]]:
        for block in times:
            due = block[block < end_ns]
            yield due, flow.commands(due)
            if len(due) < len(block):
                return

    rest = made()
    return itertools.chain(list(itertools.islice(rest, _BLOCKS_AHEAD)), rest)
