"""The journaled server in processes of its own, over sockets: throughput, latency, recovery.

A server is `engine serve`, started as users start it. Its population is sent to it packed, as
everything else; whatever it acknowledged is compared with what its journal replays to.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from engine.batches import account_commands, deposit_commands, fill_commands
from engine.bench import serving_peers as peers
from engine.bench.population import LEVERAGES, RATES, Ints, Population, draw_population
from engine.client import Client
from engine.endpoints import free_tcp_endpoint
from engine.errors import RunError
from engine.units import decimal_text

#: Minor units have six decimals; a lot is worth one at a mark of one tick.
_DECIMALS = 6
_CHUNK = 10_000
_START_S = 300.0
_STOP_S = 300.0


@dataclass(frozen=True)
class ServePlan:
    """One run.

    Attributes
    ----------
    accounts : int
        While throughput and latency are measured.
    commands : int
        Sent by all clients together.
    batch : int
        Commands in a message.
    clients : int
        Processes that send them.
    rate : int
        Marks a second.
    seconds : float
        For which they are sent.
    symbols : int
    journals : tuple of str
        `--fsync` of each turn.
    recovery_accounts : int
        0: leave snapshot and recovery out.
    tail : int
        Commands behind the snapshot.
    folder : str or None
        On the disk to be measured; None is the current one.
    """

    accounts: int = 100_000
    commands: int = 2_000_000
    batch: int = 2_000
    clients: int = 4
    rate: int = 20_000
    seconds: float = 10.0
    symbols: int = 20
    journals: tuple[str, ...] = ("batch", "off")
    recovery_accounts: int = 1_000_000
    tail: int = 1_000_000
    folder: str | None = None


SMOKE = ServePlan(
    accounts=200, commands=1_000, batch=100, clients=2, rate=500, seconds=1.0, symbols=3,
    journals=("batch",), recovery_accounts=200, tail=500)


@dataclass
class Turn:
    """What one server did.

    Attributes
    ----------
    fsync : str
    commands_s : float
        Commands a second of all clients, from the first message to the last answer.
    cpu_us : float
        Of the server, a command.
    refused : int
    round_trips : array of int64, ns
        From sending a message to its answer.
    latencies : array of int64, ns
        From the intended time of a mark to the event of a liquidation that it set off.
    mark_latencies : array of int64, ns
        To the event of the mark itself.
    late : array of int64, ns
        How late the marks were sent.
    mark_cpu_us : float
        Of the server, a mark.
    liquidations : int
    seq : int
    state_hash : str
    failures : list of str
    """

    fsync: str
    commands_s: float = 0.0
    cpu_us: float = 0.0
    refused: int = 0
    round_trips: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    latencies: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    mark_latencies: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    late: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    mark_cpu_us: float = 0.0
    liquidations: int = 0
    seq: int = 0
    state_hash: str = ""
    failures: list[str] = field(default_factory=list)


@dataclass
class Recovery:
    """A snapshot while commands go on, a kill, and the start after it.

    Attributes
    ----------
    accounts, tail : int
        Accounts held, and commands sent behind the snapshot.
    snapshot_s, pause_ms : float
        From its beginning to its end, and how long the server did nothing else.
    round_trips : array of int64, ns
        Of messages that were sent meanwhile.
    ready_s, ready_cpu_s : float
        From the start after the kill until it took commands, and the CPU time that it used.
    replayed : int
        Commands that it read from the journal.
    state_hash : str
        That it came to.
    failures : list of str
    """

    accounts: int = 0
    tail: int = 0
    snapshot_s: float = 0.0
    pause_ms: float = 0.0
    round_trips: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    ready_s: float = 0.0
    ready_cpu_s: float = 0.0
    replayed: int = 0
    state_hash: str = ""
    failures: list[str] = field(default_factory=list)


class Server:
    """`engine serve` in a process, ended at the end of a `with`."""

    def __init__(self, journal: str, *options: str) -> None:
        self.lines: list[str] = []
        self._ready = threading.Event()
        command = [
            sys.executable, "-m", "engine", "serve", "--journal", journal,
            "--commands", "tcp://127.0.0.1:*", "--events", free_tcp_endpoint(),
            "--checkpoint", "1000000", *options]
        root = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(
            command, text=True, env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Server:
        if not self._ready.wait(_START_S) or self.found("^ready: ") is None:
            self.kill()
            raise RunError(f"the server does not start: {' / '.join(self.lines[-3:])}")
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.lines.append(line.rstrip("\n"))
            if line.startswith("ready: "):
                self._ready.set()
        self._ready.set()

    def found(self, pattern: str, timeout_s: float = 0.0) -> re.Match[str] | None:
        """The first line that matches, waited for."""
        deadline = time.monotonic() + timeout_s
        while True:
            for line in list(self.lines):
                if found := re.search(pattern, line):
                    return found
            if time.monotonic() >= deadline:
                return None
            time.sleep(0.01)

    def endpoint(self, what: str) -> str:
        """Where its commands or events are."""
        found = self.found(rf"^ready: .*{what} at ([^,;]+)")
        assert found is not None
        return found[1]

    def cpu_s(self) -> float:
        """CPU time that it has used."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> dict[str, str]:
        """End it in order; return the rows that it prints."""
        self._process.send_signal(signal.SIGTERM)
        out, _ = self._process.communicate(timeout=_STOP_S)
        if self._process.returncode:
            raise RunError(f"the server ended with {self._process.returncode}")
        pairs = (line.split(None, 1) for line in out.splitlines())
        return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}

    def kill(self) -> None:
        """End it at once, if it runs."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(30)
        self._reader.join(10)
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()


def run_serving(
    plan: ServePlan, progress: Callable[[str], None]
) -> tuple[list[Turn], Recovery | None]:
    """Measure throughput and latency with each journal, then snapshot and recovery."""
    turns = []
    for fsync in plan.journals:
        with tempfile.TemporaryDirectory(dir=plan.folder or ".", prefix=".bench-") as folder:
            turns.append(_run_turn(plan, fsync, f"{folder}/journal", progress))
    recovery = None
    if plan.recovery_accounts:
        with tempfile.TemporaryDirectory(dir=plan.folder or ".", prefix=".bench-") as folder:
            recovery = _run_recovery(plan, f"{folder}/journal", progress)
    return turns, recovery


def _run_turn(
    plan: ServePlan, fsync: str, journal: str, progress: Callable[[str], None]
) -> Turn:
    turn = Turn(fsync)
    population = draw_population(plan.accounts, plan.symbols)
    feed = free_tcp_endpoint()
    with Server(journal, "--fsync", fsync, "--marks", feed, "--timeout", "3600") as server:
        with Client(server.endpoint("commands"), "bench", timeout_s=120, retry_s=60) as client:
            progress(f"{fsync}: loading {plan.accounts:,} accounts")
            sent = _load(client, population, plan.clients)
            progress(f"{fsync}: {plan.commands:,} commands from {plan.clients} clients")
            sent += _measure_throughput(plan, server, population, turn)
            progress(f"{fsync}: {plan.rate:,} marks a second for {plan.seconds:g} s")
            sent += _measure_latency(plan, server, population, feed, turn)
            answer = client.query({"query": "state_hash"})
        turn.seq, turn.state_hash = answer["seq"], answer["state_hash"]
        if turn.seq != sent:
            turn.failures.append(f"{fsync}: {sent} commands were acknowledged, {turn.seq} applied")
        rows = server.stop()
        if rows["drift"] != "0":
            turn.failures.append(f"{fsync}: drift {rows['drift']}")
    progress(f"{fsync}: replaying the journal")
    turn.failures += _verified(journal, turn.seq, turn.state_hash)
    return turn


def _verified(journal: str, seq: int, state_hash: str) -> list[str]:
    """Re-execute a journal; return what is not as it was acknowledged."""
    done = subprocess.run(
        [sys.executable, "-m", "engine", "verify", journal, "--json"], capture_output=True,
        text=True, check=False, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    if done.returncode:
        return [f"engine verify ended with {done.returncode}: {done.stderr.strip()[-300:]}"]
    found = json.loads(done.stdout)
    if (found["seq"], found["state_hash"]) != (seq, state_hash):
        return [f"the journal replays to {found['seq']}, {found['state_hash']}, not to {seq}, "
                f"{state_hash}"]
    return []


# --- what is sent -------------------------------------------------------------------------------


def _declarations(population: Population) -> list[dict[str, Any]]:
    symbols = population.symbols
    commands: list[dict[str, Any]] = [{"cmd": "asset", "asset": "USDT", "decimals": _DECIMALS}]
    for number in range(symbols.count):
        floors = [decimal_text(floor, _DECIMALS) for floor in symbols.floors[number].tolist()]
        tiers = [
            {"min_notional": floor, "max_notional": cap,
             "maintenance_margin_rate": decimal_text(rate, 4), "max_leverage": str(leverage)}
            for floor, cap, rate, leverage in zip(
                floors, [*floors[1:], None], RATES, LEVERAGES, strict=True)]
        commands.append({
            "cmd": "instrument", "symbol": f"S{number}", "kind": "linear", "base": f"S{number}",
            "quote": "USDT", "settle": "USDT", "tick_size": "1", "lot_size": "0.000001",
            "tiers": tiers})
    commands += [
        {"cmd": "mark", "symbol": f"S{number}", "mark_price": str(mark)}
        for number, mark in enumerate(symbols.marks.tolist())]
    return [*commands, {"cmd": "insurance", "asset": "USDT", "amount": str(10**12)}]


def _load(client: Client, population: Population, clients: int) -> int:
    """Declare the market and open every account and position; return how many commands."""
    declared = client.send_many(_declarations(population))
    if any(outcome.code != "accepted" for outcome in declared):
        raise RunError(f"the market was not taken: {declared[-1]}")
    sent = len(declared)
    holders = np.arange(1, population.account_count + 1)
    traders = peers.trader_ids(clients)
    tables = [
        account_commands(holders), deposit_commands(holders, 0, population.wallets),
        account_commands(traders), deposit_commands(traders, 0, np.full(len(traders), 10**14)),
        fill_commands(
            population.holder + 1, population.symbol, population.quantity, population.entry)]
    for table in tables:
        for start in range(0, len(table), _CHUNK):
            outcomes = client.send_packed(table[start:start + _CHUNK])
            if not outcomes.accepted.all():
                raise RunError("the population was not taken")
            sent += len(outcomes)
    return sent


def _measure_throughput(
    plan: ServePlan, server: Server, population: Population, turn: Turn
) -> int:
    messages = max(1, plan.commands // (plan.clients * plan.batch))
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(plan.clients)
    jobs = [
        peers.OrderJob(
            server.endpoint("commands"), number, messages, plan.batch,
            population.symbols.marks.tolist())
        for number in range(plan.clients)]
    before = server.cpu_s()
    results = in_processes(context, peers.send_orders, [(job, barrier) for job in jobs])
    cpu_s = server.cpu_s() - before
    count: int = sum(result.count for result in results)
    span_ns = max(r.ended_ns for r in results) - min(r.began_ns for r in results)
    turn.commands_s = count * 1e9 / span_ns
    turn.cpu_us = 1e6 * cpu_s / count
    turn.refused = sum(result.refused for result in results)
    turn.round_trips = np.concatenate([result.round_trips for result in results])
    turn.failures += [f"{turn.fsync}: {r.problem}" for r in results if r.problem]
    return count


def _measure_latency(
    plan: ServePlan, server: Server, population: Population, feed: str, turn: Turn
) -> int:
    count = int(plan.rate * plan.seconds)
    context = multiprocessing.get_context("spawn")
    job = peers.MarkJob(
        feed, count, plan.rate, population.symbols.marks.tolist(),
        server.endpoint("events"))
    ready = context.Barrier(2)
    before = server.cpu_s()
    (turn.late, first_ns), (numbers, times, started) = in_processes(
        context, peers.run_peer, [("publish", job, ready), ("listen", job, ready)])
    turn.mark_cpu_us = 1e6 * (server.cpu_s() - before) / count
    turn.mark_latencies = times - (first_ns + (numbers - 1) * 1_000_000_000 // plan.rate)
    turn.latencies = turn.mark_latencies[started > 0]
    turn.liquidations = int(started.sum())
    if not np.array_equal(np.sort(numbers), np.arange(1, count + 1)):
        turn.failures.append(
            f"{turn.fsync}: {count} marks were sent, events of {len(numbers)} came")
    return count


def in_processes(context: Any, work: Callable[..., Any], arguments: Sequence[Any]) -> list[Any]:
    """Run something in processes of their own, all at once; return what each returns."""
    pipes, processes = [], []
    for each in arguments:
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=peers.answer, args=(theirs, work, each), daemon=True)
        process.start()
        theirs.close()
        pipes.append(ours)
        processes.append(process)
    try:
        results = [pipe.recv() for pipe in pipes]
    except EOFError:
        raise RunError("a process of the benchmark ended without an answer") from None
    finally:
        for process in processes:
            process.join(10)
            if process.is_alive():
                process.kill()
    for result in results:
        if isinstance(result, Exception):
            raise RunError(f"a process of the benchmark: {result}")
    return results


# --- snapshot and recovery ----------------------------------------------------------------------


def _run_recovery(
    plan: ServePlan, journal: str, progress: Callable[[str], None]
) -> Recovery:
    found = Recovery(plan.recovery_accounts, plan.tail)
    population = draw_population(plan.recovery_accounts, plan.symbols)
    loaded = len(_declarations(population)) + 2 * plan.recovery_accounts + (
        2 * len(peers.trader_ids(1)) + population.position_count)
    with Server(journal, "--snapshot", str(loaded), "--fsync", "batch") as server:
        with Client(server.endpoint("commands"), "bench", timeout_s=300, retry_s=120) as client:
            progress(f"loading {plan.recovery_accounts:,} accounts")
            _load(client, population, 1)
            progress("a snapshot while commands go on")
            job = peers.OrderJob(
                server.endpoint("commands"), 0, max(1, plan.tail // plan.batch), plan.batch,
                population.symbols.marks.tolist())
            result = peers.send_orders(job, None)
            found.round_trips, found.tail = result.round_trips, result.count
            answer = client.query({"query": "state_hash"})
        line = server.found(
            r"snapshot of seq (\d+): ([\d.]+) s, the server waited for ([\d.]+) ms", 120.0)
        if line is None:
            found.failures.append(f"no snapshot was written: {server.lines[-1]}")
        else:
            found.snapshot_s, found.pause_ms = float(line[2]), float(line[3])
        server.kill()
    progress("recovering")
    with Server(journal) as server:
        ready = server.found(r"^ready: .*after ([\d.]+) s")
        again = server.found(r"(\d+) commands replayed .* state_hash (\w+)$")
        assert ready is not None and again is not None
        found.ready_cpu_s = server.cpu_s()
        found.ready_s, found.replayed = float(ready[1]), int(again[1])
        found.state_hash = again[2]
        if found.state_hash != answer["state_hash"]:
            found.failures.append(
                f"recovered to {found.state_hash}, acknowledged was {answer['state_hash']}")
        server.kill()
    return found
