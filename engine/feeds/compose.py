"""Symbols of feeds: renamed, and continued by derived ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal

from engine.errors import InputError
from engine.feeds.problems import Problems
from engine.feeds.records import Record
from engine.feeds.steps import Row, is_price, is_symbol
from engine.feeds.timeline import Moment

#: Working precision of derived prices; the result is cut to `_DERIVED_DIGITS`.
_CONTEXT = Context(prec=34, rounding=ROUND_HALF_EVEN)
_DERIVED_DIGITS = 8
#: A derived price loses at most this share of itself in one step, whatever its beta.
_FACTOR_MIN = Decimal("0.05")


def rename_symbols(
    records: Iterable[tuple[int, Record]], names: dict[str, str],
    problems: Problems | None = None,
) -> Iterator[tuple[int, Record]]:
    """Give feed symbols the names that the engine knows them by; note who was not there."""
    missing = set(names)
    for ts_ns, record in records:
        name = names.get(record.symbol)
        if name is not None:
            missing.discard(record.symbol)
            record = record._replace(symbol=name)
        yield ts_ns, record
    if problems is not None:
        for symbol in sorted(missing):
            problems.note(f"--map {symbol}={names[symbol]}: the feed has no {symbol}")


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


def derive_symbols(
    moments: Iterable[Moment], derived: Sequence[Derived], problems: Problems | None = None
) -> Iterator[Moment]:
    """Add derived symbols to every moment that has a mark of their source.

    Parameters
    ----------
    moments : iterable of Moment
    derived : sequence of Derived
    problems : Problems, optional
        Gets a note of each whose source was not there.

    Yields
    ------
    Moment
        The derived rows follow the others. Decimal arithmetic of fixed
        precision: the same input gives the same strings everywhere.
    """
    by_source: dict[str, list[_Follower]] = {}
    for spec in derived:
        by_source.setdefault(spec.source, []).append(_Follower(spec))
    for moment in moments:
        added: list[Row] = []
        for symbol, mark, _ in moment.rows:
            for follower in by_source.get(symbol, ()):
                added.append((follower.symbol, follower.follow(mark), None))
        yield moment._replace(rows=moment.rows + added) if added else moment
    if problems is not None:
        for spec in derived:
            if not by_source[spec.source][0].has_begun:
                problems.note(f"--derive {spec}: the feed has no marks of {spec.source}")


class _Follower:
    """The running price of one derived symbol."""

    __slots__ = ("_beta", "_level", "_source", "_text", "symbol")

    def __init__(self, spec: Derived) -> None:
        self.symbol = spec.symbol
        self._beta = Decimal(spec.beta)
        self._level = Decimal(spec.first_price)
        self._source: Decimal | None = None
        self._text = spec.first_price

    @property
    def has_begun(self) -> bool:
        return self._source is not None

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
