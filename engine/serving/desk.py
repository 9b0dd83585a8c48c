"""From what publishers say to commands: which steps are taken, and what they come to.

Deterministic: the same inputs, on an exchange in the same state, give the same commands. So a
server writes its inputs into the journal and takes them again after a restart. No clock here:
what the clocks said is part of an input. `engine.serving.feeds` has sockets and clocks.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from engine.errors import InputError
from engine.exchange import Exchange
from engine.messages import NONE, HaltMode
from engine.pricing.engine import mark_commands
from engine.serving.agreement import Agreement, AgreementRules
from engine.serving.pricer import Pricer
from engine.serving.pricing_settings import SymbolPricing
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
    pricing : tuple of SymbolPricing
        Symbols whose marks are made here; the others' are what the publishers agree on.
    """

    sources: tuple[str, ...]
    agreement: AgreementRules = field(default_factory=AgreementRules)
    has_clock: bool = False
    pricing: tuple[SymbolPricing, ...] = ()

    @property
    def digest(self) -> str:
        """Tells rules apart; the order of the sources makes no difference."""
        ordered = replace(self, sources=tuple(sorted(self.sources)))
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
        `(figure, source) → count`, since the start of the server.
    watch : Watch
    taken : int
        Inputs taken since the beginning of the journal.
    made : int
        Commands made since then: the number of the last one.
    has_priced : bool
        The last input led to an instant of pricing, which looks at the own books: what it
        led to is to be applied before the next.

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
        self.has_priced = False
        self.is_silent = False  # while inputs are taken again
        self._exchange = exchange
        self._report_line = report
        self._report_count = 0
        self.watch = Watch(self._halt_of, self._tell)
        self._sources = {name: _Source() for name in rules.sources}
        self._agreements: dict[str, Agreement] = {}
        self._set_aside: dict[str, frozenset[str]] = {}
        self._pricing = {pricing.symbol: pricing for pricing in rules.pricing}
        self._pricers: dict[str, Pricer] = {}
        self._now_ns = 0
        self._last_ts = 0  # of the commands of this turn
        self._check_ns: int | None = None  # when the next source may turn stale
        self._commands: list[Command] = []

    # --- inputs -----------------------------------------------------------------------------

    def begin(self) -> list[Command]:
        """Begin a turn: all that was returned before has been applied."""
        self._last_ts = self._exchange.ts
        return self._numbered(self.watch.begin())

    def take(self, item: Input) -> list[Command]:
        """Take one input; return the commands that it leads to, in order."""
        self.taken += 1
        self._commands, self.has_priced = [], False
        kind, wall_ns, *rest = item
        if kind == STEP:
            self._take_step(wall_ns, *rest)
        elif kind == QUIET:
            for symbol in rest[0]:
                self._lose(symbol, "nothing is heard of it")
        elif self._follow_time(wall_ns):
            self._price(self._now_ns)
        return self._numbered(self._commands)

    @property
    def now_ns(self) -> int:
        """The time by what has been taken."""
        return self._now_ns

    def is_due(self, now_ns: int) -> bool:
        """Tell whether the time alone, without a step, leads to something."""
        due_ns = self._next_instant()
        return (self._check_ns is not None and now_ns >= self._check_ns) or (
            due_ns is not None and now_ns >= due_ns)

    def next_number(self, source: str, epoch: int) -> int:
        """Return the number of the step that is expected next of a publisher."""
        known = self._sources[source]
        return known.number + 1 if known.epoch == epoch else 1

    def _numbered(self, commands: list[Command]) -> list[Command]:
        self.made += len(commands)
        if self.rules.has_clock:
            return [{key: value for key, value in command.items() if key != "ts"}
                    for command in commands]
        stamped = []
        for command in commands:
            # Of pricing: the instant's own time, unless the engine is past it already.
            at = command.get("ts", self._now_ns)
            self._last_ts = max(self._last_ts, at, self._exchange.ts)
            stamped.append({**command, "ts": self._last_ts})
        return stamped

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
            # What is told now counts for an instant that is now.
            self._price(self._now_ns - 1)
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
            has_quorum = len(reached) >= least
            if not has_quorum and not self._now_ns:
                return False
            self._now_ns = max(
                self._now_ns, self._exchange.ts, reached[least - 1] if has_quorum else 0)
        if self._check_ns is not None and self._now_ns >= self._check_ns:
            self._check_all()
        return True

    def _observe(
        self, source: str, observed_ns: int, rows: Sequence[Sequence[Any]]
    ) -> list[str]:
        """Take the prices of a step; return the symbols that its sources are to agree on."""
        symbols = []
        for symbol, mark, index in rows:
            view = self._view(symbol)
            if view is None or view["is_over"]:
                self._refuse("unknown", source, f"{symbol} is no instrument that trades here")
                continue
            try:
                if symbol in self._pricing:
                    self._observe_price(source, symbol, mark, index, observed_ns)
                    continue
                agreement = self._agreement(symbol)
                agreement.observe(source, mark, index, observed_ns)
            except InputError as error:
                self._refuse("absurd", source, f"{symbol}: {error}")
                continue
            self._check_by(agreement)
            symbols.append(symbol)
        return symbols

    def _observe_price(
        self, source: str, symbol: str, mark: str, index: str | None, observed_ns: int
    ) -> None:
        pricer = self._pricers.get(symbol)
        if pricer is None:
            pricer = self._pricers[symbol] = Pricer(self._pricing[symbol], self._exchange)
        if source in pricer.names:
            pricer.observe(self._now_ns, source, mark, index, observed_ns)
        else:
            self._refuse("unknown", source, f"it is no source of {symbol}")

    def _agreement(self, symbol: str) -> Agreement:
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

    # --- pricing ----------------------------------------------------------------------------

    def _next_instant(self) -> int | None:
        due = [pricer.next_instant for pricer in self._pricers.values()]
        return min((at for at in due if at is not None), default=None)

    def _price(self, until_ns: int) -> None:
        """Work off all instants up to a time, in order, whatever the symbol."""
        while (at_ns := self._next_instant()) is not None and at_ns <= until_ns:
            self.has_priced = True
            made: list[Command] = []
            for symbol in sorted(self._pricers):
                if self._pricers[symbol].next_instant == at_ns:
                    made += self._step(symbol, at_ns)
            self._command_prices(made, at_ns)

    def _step(self, symbol: str, at_ns: int) -> list[Command]:
        view = self._view(symbol)
        if view is None or view["is_over"]:
            del self._pricers[symbol]
            return []
        return self._pricers[symbol].step(at_ns)

    def _command_prices(self, made: Sequence[Command], at_ns: int) -> None:
        """Put what all symbols made of one instant in order: marks as one command, first."""
        marks = [command for command in made if command["cmd"] == "mark"]
        after: list[Command] = []
        for mark in marks:
            after += self.watch.found(mark["symbol"])
            self._note_prices_left_out(mark["symbol"], mark["mark_price"])
        before = len(self._commands)
        for command in made:
            if command["cmd"] == "halt":
                self._lose(command["symbol"], self._why_held(command["symbol"]))
        rows = [{key: value for key, value in mark.items() if key not in ("cmd", "ts", "cause")}
                for mark in marks]
        self._commands += mark_commands(at_ns, rows, [mark.get("cause") for mark in marks])
        self._commands += after
        marked = {mark["symbol"] for mark in marks}
        self._commands += [
            command for command in made if command["cmd"] == "margin_multiplier" or (
                command["cmd"] == "funding" and self._can_settle(command["symbol"], marked))]
        for command in self._commands[before:]:
            command["ts"] = at_ns
            effective_ns = command.get("effective_ts")
            if effective_ns is not None and effective_ns <= max(self._exchange.ts, self._now_ns):
                del command["effective_ts"]  # the notice is over before it could be given

    def _can_settle(self, symbol: str, marked: Collection[str]) -> bool:
        """Funding needs a mark."""
        view = self._view(symbol)
        return symbol in marked or (view is not None and view["mark_price"] != NONE)

    def _note_prices_left_out(self, symbol: str, mark: str) -> None:
        astray = [name for name, reason in self._pricers[symbol].left_out().items()
                  if reason == "outlier"]
        self._note_set_aside(symbol, frozenset(astray), mark)

    def _why_held(self, symbol: str) -> str:
        left_out = self._pricers[symbol].left_out()
        least = self._pricing[symbol].config.index.min_sources
        others = "".join(f", {name} {reason}" for name, reason in left_out.items())
        return f"its index has fewer than {least} sources{others}"

    def price_figures(self) -> list[dict[str, Any]]:
        """Return what is known of the symbols that are priced here, in order of name."""
        return [self._pricers[symbol].figures() for symbol in sorted(self._pricers)]

    @property
    def set_aside(self) -> dict[str, list[str]]:
        """Sources that are too far from the others now, by symbol."""
        return {
            symbol: sorted(names) for symbol, names in sorted(self._set_aside.items()) if names}

    def _lose(self, symbol: str, why: str) -> None:
        self._commands += self.watch.lost(symbol, why)

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
            "pricers": [[symbol, pricer.dump()] for symbol, pricer in self._pricers.items()],
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
        for symbol, prices in state["pricers"]:
            pricer = self._pricers[symbol] = Pricer(self._pricing[symbol], self._exchange)
            pricer.load(prices)
        self._set_aside = {symbol: frozenset(names) for symbol, names in state["set_aside"]}
