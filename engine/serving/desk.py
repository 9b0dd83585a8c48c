"""From what publishers say to commands: which steps are taken, and what they come to.

Deterministic: the same inputs, on an exchange in the same state, give the same commands. So a
server writes its inputs into the journal and takes them again after a restart. No clock here:
what the clocks said is part of an input. `engine.serving.feeds` has sockets and clocks.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.errors import InputError
from engine.exchange import Exchange
from engine.messages import HaltMode
from engine.serving.agreement import Agreement, AgreementRules
from engine.serving.watch import Command, Watch

#: An input is a list, as it is written: its kind, the wall clock (None without one), the rest.
Input = list[Any]
STEP = "step"  # source, epoch, number, ts, rows
TIME = "time"  # nothing arrives
QUIET = "quiet"  # symbols of which nothing has been heard
#: Client under which the journal has the commands that are made here.
CLIENT = "feed/desk"

_REPORTS_MAX = 100


@dataclass(frozen=True)
class DeskRules:
    """What the commands depend on, besides inputs and exchange.

    Attributes
    ----------
    sources : tuple of str
        Names of the publishers.
    agreement : AgreementRules
    has_clock : bool
        Whether the server's clock gives the time, and not the steps.
    """

    sources: tuple[str, ...]
    agreement: AgreementRules = field(default_factory=AgreementRules)
    has_clock: bool = False

    @property
    def digest(self) -> str:
        """Tells rules apart; the order of the sources makes no difference."""
        ordered = DeskRules(tuple(sorted(self.sources)), self.agreement, self.has_clock)
        return hashlib.blake2b(repr(ordered).encode(), digest_size=8).hexdigest()


@dataclass
class _Source:
    """How far the steps of a publisher have been taken."""

    epoch: int = 0
    number: int = 0
    newest_ns: int = -1


class Desk:
    """Takes the inputs of a server and returns commands.

    Parameters
    ----------
    rules : DeskRules
    exchange : engine.Exchange
        Is only read. What was returned is applied to it before the next turn.
    report : callable
        Takes one line about each thing that is refused or has changed.

    Attributes
    ----------
    counters : collections.Counter
        `(figure, source or symbol) → count`, since the start of the server.
    watch : Watch
    taken : int
        Inputs taken since the beginning of the journal.
    made : int
        Commands made since then: the number of the last one.

    Notes
    -----
    Without a clock the time is that which `min_sources` of the sources have reached: one that
    runs ahead cannot pull it along, unless one is enough.
    """

    def __init__(
        self, rules: DeskRules, exchange: Exchange, report: Callable[[str], None]
    ) -> None:
        self.rules = rules
        self.counters: Counter[tuple[str, str]] = Counter()
        self.taken = 0
        self.made = 0
        self.is_silent = False  # while inputs are taken again
        self._exchange = exchange
        self._report_line = report
        self._report_count = 0
        self.watch = Watch(self._halt_of, self._tell)
        self._sources = {name: _Source() for name in rules.sources}
        self._agreements: dict[str, Agreement] = {}
        self._set_aside: dict[str, frozenset[str]] = {}
        self._now_ns = 0
        self._check_ns: int | None = None  # when the next source may turn stale
        self._commands: list[Command] = []

    # --- inputs -----------------------------------------------------------------------------

    def begin(self) -> list[Command]:
        """Begin a turn: all that was returned before has been applied."""
        return self._numbered(self.watch.begin())

    def take(self, item: Input) -> list[Command]:
        """Take one input; return the commands that it leads to, in order."""
        self.taken += 1
        self._commands = []
        kind, wall_ns, *rest = item
        if kind == STEP:
            self._take_step(wall_ns, *rest)
        elif kind == QUIET:
            for symbol in rest[0]:
                self._lose(symbol, "nothing is heard of it")
        else:
            self._follow_time(wall_ns)
        return self._numbered(self._commands)

    def is_due(self, wall_ns: int) -> bool:
        """Tell whether the time alone, without a step, leads to something."""
        return self._check_ns is not None and wall_ns >= self._check_ns

    def next_number(self, source: str, epoch: int) -> int:
        """Return the number of the step that is expected next of a publisher."""
        known = self._sources[source]
        return known.number + 1 if known.epoch == epoch else 1

    def _numbered(self, commands: list[Command]) -> list[Command]:
        self.made += len(commands)
        if self.rules.has_clock:
            return commands
        return [{**command, "ts": max(self._now_ns, self._exchange.ts)} for command in commands]

    # --- steps ------------------------------------------------------------------------------

    def _take_step(
        self, wall_ns: int | None, source: str, epoch: int, number: int, ts_ns: int,
        rows: Sequence[Sequence[Any]],
    ) -> None:
        known = self._sources.get(source)
        if known is None or not self._is_new(source, known, epoch, number):
            return
        known.newest_ns = max(known.newest_ns, ts_ns)
        if not self._follow_time(wall_ns):
            self._refuse("early", source, "too few sources have been heard of")
            return
        age_ns, max_age_ns = self._now_ns - ts_ns, self.rules.agreement.max_age_ns
        if age_ns > max_age_ns:
            self._refuse("late", source, f"step {number} is {age_ns / 1e9:.3f} s old")
        elif wall_ns is not None and -age_ns > max_age_ns:
            self._refuse("ahead", source, f"step {number} is {-age_ns / 1e9:.3f} s ahead")
        else:
            self.counters["steps", source] += 1
            # Without a clock a step may be ahead of the time that enough sources have reached.
            observed_ns = ts_ns if wall_ns is None else min(ts_ns, self._now_ns)
            self._agree(self._observe(source, observed_ns, rows))

    def _is_new(self, source: str, known: _Source, epoch: int, number: int) -> bool:
        if epoch > known.epoch:
            # What a restarted publisher says is compared with its own clock only.
            known.epoch, known.number, known.newest_ns = epoch, 0, -1
        if epoch < known.epoch or number <= known.number:
            self._refuse("repeated", source, f"step {number} of epoch {epoch} was taken before")
            return False
        known.number = number
        return True

    def _follow_time(self, wall_ns: int | None) -> bool:
        """Bring the time up to now; tell whether there is one."""
        if wall_ns is not None:
            self._now_ns = max(self._now_ns, wall_ns, self._exchange.ts)
        else:
            reached = sorted(
                (known.newest_ns for known in self._sources.values() if known.newest_ns >= 0),
                reverse=True)
            least = self.rules.agreement.min_sources
            if len(reached) < least:
                return False
            self._now_ns = max(self._now_ns, reached[least - 1], self._exchange.ts)
        if self.is_due(self._now_ns):
            self._check_all()
        return True

    def _observe(
        self, source: str, observed_ns: int, rows: Sequence[Sequence[Any]]
    ) -> list[str]:
        """Take the prices of a step; return the symbols that it is about."""
        symbols = []
        for symbol, mark, index in rows:
            agreement = self._agreement(symbol)
            if agreement is None:
                self._refuse("unknown", source, f"{symbol} is no instrument that trades here")
                continue
            try:
                agreement.observe(source, mark, index, observed_ns)
            except InputError as error:
                self._refuse("absurd", source, f"{symbol}: {error}")
                continue
            self._check_by(agreement)
            symbols.append(symbol)
        return symbols

    def _agreement(self, symbol: str) -> Agreement | None:
        view = self._view(symbol)
        if view is None or view["is_over"]:
            return None
        found = self._agreements.get(symbol)
        if found is None:
            found = self._agreements[symbol] = Agreement(
                self._mark_tick(symbol), self.rules.sources, self.rules.agreement)
        return found

    def _view(self, symbol: str) -> dict[str, Any] | None:
        try:
            at = self._exchange.instrument(symbol).index
        except KeyError:
            return None
        view: dict[str, Any] = self._exchange.core.instrument_view(at)
        return view

    def _mark_tick(self, symbol: str) -> str:
        return self._exchange.instrument(symbol).mark.text(1)

    def _check_by(self, agreement: Agreement) -> None:
        at = agreement.next_expiry(self._now_ns)
        if at is not None and (self._check_ns is None or at < self._check_ns):
            self._check_ns = at

    # --- what they come to ------------------------------------------------------------------

    def _agree(self, symbols: Iterable[str]) -> None:
        """Mark the symbols of a step, where enough sources agree."""
        marks, after = [], []
        for symbol in symbols:
            agreed = self._agreements[symbol].read(self._now_ns)
            self._note_set_aside(symbol, agreed.set_aside, agreed.mark)
            if agreed.mark is None:
                self._lose(symbol, self._why(agreed.used, agreed.left_out))
                continue
            row = {"symbol": symbol, "mark_price": agreed.mark}
            marks.append(row if agreed.index_price is None
                         else {**row, "index_price": agreed.index_price})
            after += self.watch.found(symbol)
        if marks:
            self._commands.append({"cmd": "marks", "marks": marks})
        self._commands += after

    def _check_all(self) -> None:
        """Look for symbols that time alone has left with too few sources."""
        self._check_ns = None
        for symbol, agreement in self._agreements.items():
            self._check_by(agreement)
            agreed = agreement.read(self._now_ns)
            if agreed.mark is None:
                self._lose(symbol, self._why(agreed.used, agreed.left_out))

    def _lose(self, symbol: str, why: str) -> None:
        before = self.watch.stale_count
        self._commands += self.watch.lost(symbol, why)
        self.counters["stale", symbol] += self.watch.stale_count - before

    def _why(self, used: Sequence[str], left_out: Sequence[tuple[str, str]]) -> str:
        others = "".join(f", {name} {reason}" for name, reason in left_out)
        return (
            f"{len(used)} of {self.rules.agreement.min_sources} sources that it needs{others}")

    def _note_set_aside(self, symbol: str, now: frozenset[str], mark: str | None) -> None:
        before = self._set_aside.get(symbol, frozenset())
        for source in sorted(now - before):
            self._refuse(
                "set_aside", source, f"{symbol}: too far from the others ({mark}), set aside")
        for source in sorted(before - now):
            self._say(f"{source}: {symbol}: counts again")
        self._set_aside[symbol] = now

    # --- telling ----------------------------------------------------------------------------

    def _halt_of(self, symbol: str) -> HaltMode | None:
        view = self._view(symbol)
        return None if view is None else HaltMode(view["halt"])

    def _refuse(self, what: str, source: str, line: str) -> None:
        self.counters[what, source] += 1
        self._say(f"{source}: {line}")

    def _tell(self, line: str) -> None:
        if not self.is_silent:
            self._report_line(line)

    def _say(self, line: str) -> None:
        self._report_count += not self.is_silent
        if self._report_count <= _REPORTS_MAX:
            self._tell(line)
        elif self._report_count == _REPORTS_MAX + 1:
            self._tell("more of the same is counted, not reported")

    # --- state ------------------------------------------------------------------------------

    def dump(self) -> dict[str, Any]:
        """Return the state as maps and lists of texts and integers, for `load`."""
        return {
            "taken": self.taken, "made": self.made, "now": self._now_ns,
            "check": self._check_ns, "watch": self.watch.dump(),
            "sources": [[name, known.epoch, known.number, known.newest_ns]
                        for name, known in self._sources.items()],
            "agreements": [[symbol, agreement.dump()]
                           for symbol, agreement in self._agreements.items()],
            "set_aside": [[symbol, sorted(names)] for symbol, names in self._set_aside.items()],
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a state of the same rules, on the exchange as it was then."""
        self.taken, self.made = state["taken"], state["made"]
        self._now_ns, self._check_ns = state["now"], state["check"]
        self.watch.load(state["watch"])
        for name, *known in state["sources"]:
            self._sources[name] = _Source(*known)
        for symbol, rows in state["agreements"]:
            agreement = Agreement(
                self._mark_tick(symbol), self.rules.sources, self.rules.agreement)
            agreement.load(rows)
            self._agreements[symbol] = agreement
        self._set_aside = {symbol: frozenset(names) for symbol, names in state["set_aside"]}
