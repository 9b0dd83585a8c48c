"""`PriceEngine`: source prices, own books, trades and time in; mark and funding commands out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from engine.errors import InputError
from engine.pricing.book import read_side
from engine.pricing.index import IndexReading
from engine.pricing.inputs import BookSnapshot, Clock, PriceInput, SourcePrice, TradePrice
from engine.pricing.rules import SymbolConfig
from engine.pricing.symbol import Instant, Status, SymbolPricer

Command = dict[str, Any]


class PriceEngine:
    """Makes marks and funding for any number of symbols, from inputs in order of time.

    Parameters
    ----------
    configs : iterable of SymbolConfig
        The order makes no difference.

    Raises
    ------
    InputError
        Two configurations of one symbol.

    Notes
    -----
    There is no clock in here. Time is the `ts_ns` of the inputs; it starts with the first of
    them. An input at T first works off all instants before T, `Clock` all up to and including
    T: so whatever is told at T counts for the instant T, in whatever order it is told.

    Commands carry the time of their instant. To keep it from lying before other commands of
    the exchange, give a `Clock` before applying those.

    Complexity: O(symbols) an input, O(sources × log sources) an instant of a symbol, O(levels)
    a snapshot.

    Examples
    --------
    >>> from engine.pricing import MarkRules, Source
    >>> config = SymbolConfig("BTC", "0.1", (Source("A"),), impact_notional="1000",
    ...                       mark=MarkRules(components=("index",)))
    >>> prices = PriceEngine([config])
    >>> prices.take(SourcePrice(1_000_000_000, "BTC", "A", "60000.04"))
    []
    >>> [command] = prices.advance(1_000_000_000)
    >>> command["cmd"], command["ts"], command["mark_price"], command["index_price"]
    ('mark', 1000000000, '60000', '60000')
    """

    def __init__(self, configs: Iterable[SymbolConfig]) -> None:
        ordered = sorted(configs, key=lambda config: config.symbol)
        self._configs = {config.symbol: config for config in ordered}
        if len(self._configs) != len(ordered):
            raise InputError("two configurations of one symbol")
        # The clocks start with the first input; until then the pricers serve to check it.
        self._pricers = self._new_pricers(0)
        self._done_ns: int | None = None
        # Each symbol's next instant. Time alone never makes one earlier; news may.
        self._due: dict[str, int] = {}

    def _new_pricers(self, start_ns: int) -> dict[str, SymbolPricer]:
        return {name: SymbolPricer(config, start_ns) for name, config in self._configs.items()}

    @property
    def symbols(self) -> list[str]:
        """Symbols in order of name."""
        return list(self._configs)

    def take(self, item: PriceInput) -> list[Command]:
        """Take one input and return the commands of the instants that it closes.

        Parameters
        ----------
        item : SourcePrice, BookSnapshot, TradePrice or Clock

        Returns
        -------
        list of dict
            In order of time; at one instant `halt`, then one `mark` or `marks`, then `resume`,
            then `funding`, each in order of symbol.

        Raises
        ------
        InputError
            An unknown symbol or source, a price that is none, or time going back; nothing has
            changed then.
        """
        ts_ns = item.ts_ns
        self._check_time(ts_ns)
        if isinstance(item, Clock):
            return self._run(ts_ns, ts_ns)
        pricer = self._pricers.get(item.symbol)
        if pricer is None:
            raise InputError(f"unknown symbol: {str(item.symbol)[:40]!r}")
        tell = self._reader(pricer, item)
        commands = self._run(ts_ns, ts_ns - 1)
        pricer = self._pricers[item.symbol]
        tell(pricer)
        self._due[item.symbol] = pricer.next_instant(self._done_ns or 0)
        return commands

    # Check and convert an input whole; what is returned puts it into place and cannot fail.
    @staticmethod
    def _reader(
        pricer: SymbolPricer, item: SourcePrice | BookSnapshot | TradePrice
    ) -> Callable[[SymbolPricer], object]:
        scale, ts_ns = pricer.scale, item.ts_ns
        if isinstance(item, TradePrice):
            last, seq = scale.read(item.price, f"trade of {item.symbol}"), item.seq
            if seq is not None and (
                    not isinstance(seq, int) or isinstance(seq, bool) or seq < 1):
                raise InputError(f"trade of {item.symbol}: seq is not a number of a command")
            return lambda pricer: pricer.set_last(last, ts_ns, seq)
        if isinstance(item, BookSnapshot):
            bids = read_side(item.bids, scale, is_bid=True)
            asks = read_side(item.asks, scale, is_bid=False)
            return lambda pricer: pricer.set_book(ts_ns, bids, asks)
        if item.source not in pricer.index.names:
            raise InputError(f"{item.symbol}: unknown source: {str(item.source)[:40]!r}")
        source, price = item.source, scale.read(item.price, f"{item.symbol} of {item.source}")
        observed_ns = ts_ns if item.observed_ns is None else min(item.observed_ns, ts_ns)
        return lambda pricer: pricer.index.observe(source, price, observed_ns)

    def advance(self, ts_ns: int) -> list[Command]:
        """Say that everything up to and including `ts_ns` has been told: `take(Clock(ts_ns))`."""
        return self.take(Clock(ts_ns))

    def status(self, symbol: str) -> Status:
        """Return what is known of a symbol as of the last instant worked off.

        Raises
        ------
        InputError
            An unknown symbol, or no input yet.
        """
        if symbol not in self._pricers:
            raise InputError(f"unknown symbol: {symbol[:40]!r}")
        if self._done_ns is None:
            raise InputError("no input yet")
        return self._pricers[symbol].status(self._done_ns)

    @property
    def next_instant(self) -> int | None:
        """Time of the next instant of any symbol; None before the first input."""
        return min(self._due.values(), default=None)

    def index_reading(self, symbol: str) -> IndexReading:
        """Return the index as of the last instant worked off, and what became of its sources."""
        return self._pricers[symbol].index.read(self._done_ns or 0)

    def dump(self) -> dict[str, Any]:
        """Return the state as maps, lists, texts and integers, for `load`."""
        return {
            "done": self._done_ns, "due": dict(self._due),
            "symbols": {name: pricer.dump() for name, pricer in self._pricers.items()}}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a state of the same configurations."""
        self._done_ns, self._due = state["done"], dict(state["due"])
        self._pricers = self._new_pricers(0)
        for name, pricer in self._pricers.items():
            pricer.load(state["symbols"][name])

    # --- time -----------------------------------------------------------------------------

    def _check_time(self, ts_ns: int) -> None:
        if not isinstance(ts_ns, int) or isinstance(ts_ns, bool) or ts_ns < 0:
            raise InputError(f"ts is not a time in ns: {ts_ns!r}")
        if self._done_ns is not None and ts_ns < self._done_ns:
            raise InputError(f"time goes back: {ts_ns} after {self._done_ns}")

    # Work off every instant up to and including `until_ns`, in order of time.
    def _run(self, ts_ns: int, until_ns: int) -> list[Command]:
        if self._done_ns is None:
            self._done_ns = ts_ns - 1
            self._pricers = self._new_pricers(ts_ns)
            self._due = {
                name: pricer.next_instant(self._done_ns)
                for name, pricer in self._pricers.items()}
        commands: list[Command] = []
        while self._due:
            at_ns = min(self._due.values())
            if at_ns > until_ns:
                break
            names = [name for name, due_ns in self._due.items() if due_ns == at_ns]
            commands += commands_of(
                at_ns, {name: self._pricers[name].step(at_ns) for name in names})
            for name in names:
                self._due[name] = self._pricers[name].next_instant(at_ns)
        self._done_ns = max(self._done_ns, until_ns)
        return commands


def commands_of(ts_ns: int, instants: dict[str, Instant]) -> list[Command]:
    """Put what one instant makes of each symbol into commands, in the order of `take`."""
    names = sorted(instants)
    commands: list[Command] = [
        {"cmd": "halt", "ts": ts_ns, "symbol": name, "mode": "no_liquidation"}
        for name in names if instants[name].is_halt]
    marks = [
        {"symbol": name, "mark_price": instants[name].mark, "index_price": instants[name].index}
        for name in names if instants[name].mark is not None]
    commands += mark_commands(ts_ns, marks, [each.cause for each in instants.values()])
    commands += [
        {"cmd": "resume", "ts": ts_ns, "symbol": name}
        for name in names if instants[name].is_resume]
    commands += [
        {"cmd": "funding", "ts": ts_ns, "symbol": name, "rate": instants[name].rate}
        for name in names if instants[name].rate is not None]
    return commands


def mark_commands(
    ts_ns: int, marks: Sequence[Command], causes: Iterable[int | None]
) -> list[Command]:
    """Put the marks of one instant into one command; of several causes it names the newest."""
    newest = max((seq for seq in causes if seq is not None), default=None)
    cause = {} if newest is None else {"cause": newest}
    if len(marks) > 1:
        return [{"cmd": "marks", "ts": ts_ns, "marks": list(marks), **cause}]
    return [{"cmd": "mark", "ts": ts_ns, **mark, **cause} for mark in marks]


def replay(configs: Iterable[SymbolConfig], items: Iterable[PriceInput]) -> Iterator[Command]:
    """Yield the commands that a fresh engine makes of recorded inputs.

    Raises
    ------
    InputError
        As `PriceEngine.take`.
    """
    engine = PriceEngine(configs)
    for item in items:
        yield from engine.take(item)
