"""Several cores in lockstep: one command to all, and nothing may differ."""

from __future__ import annotations

import difflib
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

from engine import Exchange
from support import CORES, oracle
from support.market import audit
from support.mirror import Mirror

Command = dict[str, Any]


class Difference(AssertionError):
    """The cores differ, one of them failed, or the books do not balance."""


class Lockstep:
    """The same exchange once on every core.

    Parameters
    ----------
    cores : sequence of str
        Names of the cores; the first one's answers are handed back.
    """

    def __init__(self, cores: Sequence[str] = CORES) -> None:
        self.exchanges = {name: Exchange(core=name) for name in cores}
        self.log: list[Command] = []
        #: Account -> when its orders are cancelled; such a timer may go off without an event.
        self.timers: dict[int, int] = {}
        #: Whether a cooldown was under way before the latest command.
        self.is_cooling = False

    @property
    def first(self) -> Exchange:
        return next(iter(self.exchanges.values()))

    def apply(self, command: Command) -> list[dict[str, Any]]:
        """Apply a command everywhere; events and state hash must agree."""
        self.log.append(command)
        before = self.first.ts, self.first.state_hash()
        queue = self.first.query({"query": "liquidation_queue"})["entries"]
        self.is_cooling = any(entry["cooldown_until"] is not None for entry in queue)
        events = self._same("events", lambda exchange: exchange.apply(command))
        after = self._same("state_hash", lambda exchange: exchange.state_hash())
        if any(event["event"] == "rejected" for event in events):
            self._check_refusal(command, events, *before, after)
        for event in events:
            if event["event"] == "cancel_all_after":
                self.timers[event["account"]] = event["due_ts"] or 0
        return list(events)

    # What fell due by a refused command's time stays, and the time is that of the last of it.
    def _check_refusal(
        self, command: Command, events: list[dict[str, Any]], ts: int, before: str, after: str
    ) -> None:
        moments = {event["ts"] for event in events[:-1]} | {
            due for due in self.timers.values() if ts < due <= command.get("ts", 0)}
        if self.is_cooling and ts < self.first.ts <= command.get("ts", 0):
            return  # a cooldown ended, and that in vain: nothing is said about it
        if events[-1]["event"] != "rejected" or self.first.ts != max(moments, default=ts):
            raise Difference(f"a refused command did something: {command}")
        if not moments and before != after:
            raise Difference(f"a refused command left a trace: {command}")

    def compare_queries(self) -> None:
        """Ask everything that can be asked; the answers must agree."""
        accounts = self.first.core.account_ids()
        asked: list[Command] = [
            {"query": name} for name in ("liquidation_queue", "insurance", "totals", "state_hash")]
        for account in accounts:
            asked += [{"query": name, "account": account} for name in ("account", "orders")]
        for symbol in self.first.symbols:
            asked += [{"query": name, "symbol": symbol}
                      for name in ("tiers", "instrument", "adl_ranking", "auction",
                                   "liquidation_map")]
            asked += [{"query": "book", "symbol": symbol, "depth": 3},
                      {"query": "book", "symbol": symbol, "l3": True}]
        self._same("last_trade_seq", lambda exchange: [
            exchange.core.last_trade_seq(symbol) for symbol in range(len(exchange.symbols))])
        self._same("accounts_array", lambda exchange: exchange.accounts_array().tolist())
        self._same("positions_array", lambda exchange: exchange.positions_array().tolist())
        for query in asked:
            self._same(json.dumps(query), lambda exchange, query=query: exchange.query(query))

    def check(self) -> None:
        """Audit every core: invariants recomputed, drift 0, positions that cancel out."""
        for name, exchange in self.exchanges.items():
            try:
                audit(exchange)
            except Exception as error:
                raise Difference(f"{name}: {type(error).__name__}: {error}") from error

    def _same(self, what: str, ask: Callable[[Exchange], Any]) -> Any:
        answers: dict[str, Any] = {}
        for name, exchange in self.exchanges.items():
            try:
                answers[name] = ask(exchange)
            except Exception as error:
                raise Difference(
                    f"{what}: {name} failed: {type(error).__name__}: {error}") from error
        names = list(answers)
        for name in names[1:]:
            if answers[name] != answers[names[0]]:
                raise Difference(f"{what} differ\n" + _side_by_side(
                    names[0], answers[names[0]], name, answers[name]))
        return answers[names[0]]


def _side_by_side(first: str, one: Any, second: str, other: Any) -> str:
    left, right = ([json.dumps(each) for each in (answer if isinstance(answer, list) else [answer])]
                   for answer in (one, other))
    lines = []
    matcher = difflib.SequenceMatcher(None, left, right, autojunk=False)
    for what, begin, end, from_, to in matcher.get_opcodes():
        if what == "equal":
            lines += [f"       both: {text}" for text in left[begin:end]]
        else:
            lines += [f"  {first:>9}: {text}" for text in left[begin:end]]
            lines += [f"  {second:>9}: {text}" for text in right[from_:to]]
    return "\n".join(lines)


def as_scenario(log: Sequence[Command]) -> str:
    """Return commands in scenario syntax, ready to paste."""
    return "\n".join(json.dumps(command) for command in log)


def failure(log: Sequence[Command], cores: Sequence[str] = CORES) -> str | None:
    """Replay commands with all comparisons; return what went wrong, None if nothing did."""
    lockstep, mirror = Lockstep(cores), Mirror()
    try:
        for command in log:
            mirror.observe(lockstep.apply(command))
            lockstep.check()
        lockstep.compare_queries()
        for exchange in lockstep.exchanges.values():
            mirror.compare(exchange)
            for account in exchange.core.account_ids():
                oracle.verify(exchange, account)
    except (AssertionError, KeyError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def minimise(
    log: Sequence[Command], fails: Callable[[Sequence[Command]], bool], seconds: float = 30
) -> list[Command]:
    """Leave out commands, in ever smaller chunks, as long as the rest still fails."""
    deadline = time.monotonic() + seconds
    kept = list(log)
    size = max(1, len(kept) // 2)
    while time.monotonic() < deadline:
        at, is_shorter = 0, False
        while at < len(kept) and time.monotonic() < deadline:
            shorter = kept[:at] + kept[at + size:]
            if fails(shorter):
                kept, is_shorter = shorter, True
            else:
                at += size
        if size == 1 and not is_shorter:
            break
        size = max(1, size // 2)
    return kept


def explain_failure(log: Sequence[Command], what: object) -> str:
    """Return a report of a failure with the shortest commands found that still fail."""
    shortest = minimise(log, lambda shorter: failure(shorter) is not None)
    return (f"command {len(log)}: {what}\n\n"
            f"The shortest list of commands found that fails:\n{as_scenario(shortest)}\n\n"
            f"{failure(shortest) or 'It does not fail when it is replayed.'}")
