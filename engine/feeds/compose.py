"""Feeds put together: merged by time, renamed, and continued by derived symbols."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal

from engine.errors import InputError
from engine.feeds.steps import Row, Step, is_price, is_symbol

#: Working precision of derived prices; the result is cut to `_DERIVED_DIGITS`.
_CONTEXT = Context(prec=34, rounding=ROUND_HALF_EVEN)
_DERIVED_DIGITS = 8
#: A derived price loses at most this share of itself in one step, whatever its beta.
_FACTOR_MIN = Decimal("0.05")


def merge_feeds(feeds: Sequence[Iterable[Step]]) -> Iterator[Step]:
    """Merge feeds by time; what they say about the same instant becomes one step.

    Parameters
    ----------
    feeds : sequence of iterable of Step
        Each in time order.

    Yields
    ------
    Step
        At equal times the rows stand in the order of the feeds; where two feeds
        carry the same symbol, the later feed's row replaces the earlier one's.
    """
    if len(feeds) == 1:
        yield from feeds[0]
        return
    keyed = (_with_order(feed, order) for order, feed in enumerate(feeds))
    ts_ns = -1
    rows: dict[str, Row] = {}
    for step_ns, _, step_rows in heapq.merge(*keyed, key=lambda item: item[:2]):
        if step_ns != ts_ns:
            if rows:
                yield ts_ns, list(rows.values())
            ts_ns, rows = step_ns, {}
        for row in step_rows:
            rows[row[0]] = row
    if rows:
        yield ts_ns, list(rows.values())


def _with_order(feed: Iterable[Step], order: int) -> Iterator[tuple[int, int, list[Row]]]:
    for ts_ns, rows in feed:
        yield ts_ns, order, rows


def rename_symbols(steps: Iterable[Step], names: dict[str, str]) -> Iterator[Step]:
    """Give feed symbols the names that the engine knows them by.

    Where two symbols of a step get the same name, the later row stays.
    """
    for ts_ns, rows in steps:
        renamed = {}
        for symbol, mark, index in rows:
            name = names.get(symbol, symbol)
            renamed[name] = (name, mark, index)
        yield ts_ns, list(renamed.values())


def parse_renames(arguments: Iterable[str]) -> dict[str, str]:
    """Read `FEEDSYMBOL=SYMBOL` arguments of `--map`."""
    names: dict[str, str] = {}
    for argument in arguments:
        source, _, target = argument.partition("=")
        if not (is_symbol(source) and is_symbol(target)):
            raise InputError(f"--map {argument}: expected FEEDSYMBOL=SYMBOL")
        if source in names:
            raise InputError(f"--map {argument}: {source} is mapped twice")
        names[source] = target
    return names


@dataclass(frozen=True)
class Derived:
    """A symbol without data of its own, moved by another symbol's returns.

    Attributes
    ----------
    symbol, source : str
    beta : str
        Decimal; the source's return of each step is multiplied by it.
    first_price : str
        Decimal; the price at the source's first mark.
    """

    symbol: str
    source: str
    beta: str
    first_price: str

    def __str__(self) -> str:
        return f"{self.symbol}={self.source}:{self.beta}:{self.first_price}"

    @classmethod
    def parse(cls, argument: str) -> Derived:
        """Read a `SYMBOL=SOURCE:BETA:FIRSTPRICE` argument of `--derive`."""
        symbol, _, rest = argument.partition("=")
        source, _, numbers = rest.partition(":")
        beta, _, first_price = numbers.partition(":")
        names_good = is_symbol(symbol) and is_symbol(source) and symbol != source
        if not (names_good and is_price(beta) and is_price(first_price)):
            raise InputError(f"--derive {argument}: expected SYMBOL=SOURCE:BETA:FIRSTPRICE")
        return cls(symbol, source, beta, first_price)


def derive_symbols(steps: Iterable[Step], derived: Sequence[Derived]) -> Iterator[Step]:
    """Add derived symbols to every step that carries their source.

    Parameters
    ----------
    steps : iterable of Step
    derived : sequence of Derived

    Yields
    ------
    Step
        The derived rows follow the others. Decimal arithmetic of fixed
        precision: the same input gives the same strings everywhere.
    """
    by_source: dict[str, list[_Follower]] = {}
    for spec in derived:
        by_source.setdefault(spec.source, []).append(_Follower(spec))
    for ts_ns, rows in steps:
        added: list[Row] = []
        for symbol, mark, _ in rows:
            for follower in by_source.get(symbol, ()):
                added.append((follower.symbol, follower.follow(mark), None))
        yield ts_ns, rows + added


class _Follower:
    """The running price of one derived symbol."""

    __slots__ = ("_beta", "_level", "_source", "_text", "symbol")

    def __init__(self, spec: Derived) -> None:
        self.symbol = spec.symbol
        self._beta = Decimal(spec.beta)
        self._level = Decimal(spec.first_price)
        self._source: Decimal | None = None
        self._text = spec.first_price

    def follow(self, source_price: str) -> str:
        price = Decimal(source_price)
        before, self._source = self._source, price
        if before is None or before == price:
            return self._text
        change = _CONTEXT.divide(price - before, before)
        factor = max(_CONTEXT.add(1, _CONTEXT.multiply(self._beta, change)), _FACTOR_MIN)
        self._level = _CONTEXT.multiply(self._level, factor)
        smallest = Decimal(1).scaleb(-_DERIVED_DIGITS)
        self._text = f"{max(self._level.quantize(smallest, context=_CONTEXT), smallest):f}"
        return self._text
