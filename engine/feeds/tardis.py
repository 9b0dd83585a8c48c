"""Tardis CSV files: trades, liquidations, order books, quotes and derivative tickers.

Columns are found by the header's names. Times are microseconds, as the format says, and a
stamp of another magnitude is refused. Files are in the order of `local_timestamp`; exchange
times may step back within that, a local time may not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from engine.feeds import fields as of
from engine.feeds.records import (
    BestQuote,
    BookChange,
    Levels,
    Liquidation,
    Record,
    Ticker,
    Trade,
)
from engine.feeds.source import Format, Head, Source
from engine.feeds.steps import is_symbol
from engine.feeds.table import has_columns, read_table

_COMMON = ("exchange", "symbol", "timestamp", "local_timestamp")
_TRADES = (*_COMMON, "id", "side", "price", "amount")
_BOOK = (*_COMMON, "is_snapshot", "side", "price", "amount")
_QUOTES = (*_COMMON, "ask_amount", "ask_price", "bid_price", "bid_amount")
_TICKER = (
    *_COMMON, "funding_timestamp", "funding_rate", "predicted_funding_rate", "open_interest",
    "last_price", "index_price", "mark_price")
_SNAPSHOT = (*_COMMON, "asks[0].price", "asks[0].amount", "bids[0].price", "bids[0].amount")

# The header of liquidations is that of trades, so that only the name tells them apart.
_LIQUIDATIONS_NAME = re.compile(r"(?:^|_)liquidations(?:_|\.)")
# Rows of trades that need no closer look; whatever else is good is found row by row. The times
# are of the years 2011 to 2096.
_TIME = "(1[3-9][0-9]{14}|[23][0-9]{15})"
_GOOD_TRADES = re.compile(
    r"^[^,\n]*,([A-Za-z0-9][A-Za-z0-9._:/@-]{0,63})," + _TIME + "," + _TIME
    + r",([^,\n]*),(buy|sell|unknown|),((?=[0-9.]*[1-9])[0-9]{1,20}(?:\.[0-9]{1,20})?),"
    r"([0-9]{1,20}(?:\.[0-9]{1,20})?)$", re.MULTILINE)
_TAKER_SIDES = {"buy": "buy", "sell": "sell", "unknown": None, "": None}


class _Origin:
    """Reads the columns that every type has; knows the row before."""

    def __init__(self) -> None:
        self._stamps = ("", "")
        self._times: tuple[int, int | None] = (0, None)
        self._order_ns = 0
        self._symbols: set[str] = set()

    def take(self, local_us: list[int]) -> bool:
        """Take over the local times of many rows, if they are in order."""
        if not local_us or local_us[0] * 1000 < self._order_ns or local_us != sorted(local_us):
            return False
        self._order_ns = local_us[-1] * 1000
        self._stamps = ("", "")
        return True

    def read(self, symbol: str, exchange_us: str, local_us: str) -> tuple[int, int | None, str]:
        if (exchange_us, local_us) != self._stamps:
            ts_ns = of.instant(exchange_us, "timestamp", "us")
            # Where the recorder's time has been left out, the exchange's is all there is.
            has_local = bool(local_us.strip("0"))
            local_ns = of.instant(local_us, "local_timestamp", "us") if has_local else None
            order_ns = ts_ns if local_ns is None else local_ns
            if order_ns < self._order_ns:
                raise ValueError(
                    f"time goes backwards: {order_ns // 1000} after {self._order_ns // 1000}")
            self._stamps, self._times = (exchange_us, local_us), (ts_ns, local_ns)
            self._order_ns = order_ns
        if symbol not in self._symbols:
            if not is_symbol(symbol):
                raise ValueError(f"symbol is not a name: {symbol[:40]!r}")
            self._symbols.add(symbol)
        return *self._times, symbol


def _read_trades(source: Source) -> Iterator[Record]:
    origin = _Origin()

    def parse(
        exchange: str, symbol: str, at: str, local: str, trade_id: str, side: str, price: str,
        amount: str,
    ) -> Trade:
        price = of.price(price)
        if side not in _TAKER_SIDES:
            raise ValueError(f"side must be buy, sell or unknown, not {side[:40]!r}")
        amount = of.quantity(amount)
        return Trade(*origin.read(symbol, at, local), price, amount, _TAKER_SIDES[side], trade_id)

    def parse_block(block: str) -> list[Trade] | None:
        found = _GOOD_TRADES.findall(block)
        if len(found) != block.count("\n") or not origin.take([int(row[2]) for row in found]):
            return None
        return [
            Trade(int(at) * 1000, int(local) * 1000, symbol, price, amount, _TAKER_SIDES[side],
                  number)
            for symbol, at, local, number, side, price, amount in found]

    return (trade for _, trade in read_table(
        source, _TRADES, parse, what="trades", parse_block=parse_block))


def _read_liquidations(source: Source) -> Iterator[Record]:
    origin = _Origin()

    def parse(
        exchange: str, symbol: str, at: str, local: str, order_id: str, side: str, price: str,
        amount: str,
    ) -> Liquidation:
        price, side, amount = of.price(price), of.side(side), of.quantity(amount)
        return Liquidation(*origin.read(symbol, at, local), side, price, amount, None)

    return (one for _, one in read_table(source, _TRADES, parse, what="liquidations"))


def _read_quotes(source: Source) -> Iterator[Record]:
    origin = _Origin()

    def parse(
        exchange: str, symbol: str, at: str, local: str, ask_amount: str, ask: str, bid: str,
        bid_amount: str,
    ) -> BestQuote:
        bid_price, ask_price = of.optional_price(bid, "bid"), of.optional_price(ask, "ask")
        return BestQuote(
            *origin.read(symbol, at, local),
            bid_price, None if bid_price is None else of.quantity(bid_amount, "bid_amount"),
            ask_price, None if ask_price is None else of.quantity(ask_amount, "ask_amount"))

    return (quote for _, quote in read_table(source, _QUOTES, parse, what="quotes"))


def _read_tickers(source: Source) -> Iterator[Record]:
    origin = _Origin()

    def parse(
        exchange: str, symbol: str, at: str, local: str, funding_at: str, rate: str,
        predicted_rate: str, open_interest: str, last: str, index: str, mark: str,
    ) -> Ticker:
        return Ticker(
            *origin.read(symbol, at, local),
            of.optional_price(mark, "mark_price"), of.optional_price(index, "index_price"),
            of.optional_price(last, "last_price"), of.optional_number(rate, "funding_rate"),
            of.instant(funding_at, "funding_timestamp", "us") if funding_at else None,
            of.optional_number(open_interest, "open_interest"))

    return (ticker for _, ticker in read_table(source, _TICKER, parse, what="tickers"))


def _read_snapshots(source: Source) -> Iterator[Record]:
    origin = _Origin()

    def parse(exchange: str, symbol: str, at: str, local: str, *levels: str) -> BookChange:
        bids: Levels = []
        asks: Levels = []
        for k in range(0, len(levels), 4):
            ask, ask_amount, bid, bid_amount = levels[k : k + 4]
            if ask:
                asks.append((of.price(ask, f"asks[{k // 4}].price"), of.quantity(ask_amount)))
            if bid:
                bids.append((of.price(bid, f"bids[{k // 4}].price"), of.quantity(bid_amount)))
        return BookChange(*origin.read(symbol, at, local), True, bids, asks)

    columns = [*_COMMON]
    for k in range(_depth_of(source.path)):
        columns += [f"asks[{k}].price", f"asks[{k}].amount"]
        columns += [f"bids[{k}].price", f"bids[{k}].amount"]
    return (change for _, change in read_table(source, columns, parse, what="snapshots"))


def _depth_of(path: str) -> int:
    from engine.feeds.files import read_lines

    _, header = next(read_lines(path))
    return header.count("].price") // 2


class _Group:
    """Rows that one message of the exchange consists of."""

    def __init__(self, key: tuple[int, int | None, str], is_snapshot: bool, is_first: bool) -> None:
        self.key = key
        self.is_snapshot = is_snapshot
        self.change = BookChange(*key, is_first, [], [])


def _read_book(source: Source) -> Iterator[Record]:
    origin = _Origin()

    def parse(
        exchange: str, symbol: str, at: str, local: str, is_snapshot: str, side: str, price: str,
        amount: str,
    ) -> tuple[tuple[int, int | None, str], bool, str, tuple[str, str]]:
        flag, side = of.truth(is_snapshot, "is_snapshot"), of.side(side)
        level = of.price(price), of.quantity(amount)
        return origin.read(symbol, at, local), flag, side, level

    # Whether the last message of each symbol was (part of) a snapshot; the first one that is
    # replaces the whole book.
    was_snapshot: dict[str, bool] = {}
    group: _Group | None = None
    for _, (key, is_snapshot, side, level) in read_table(source, _BOOK, parse, what="changes"):
        if group is None or key[1:] != group.key[1:] or is_snapshot != group.is_snapshot:
            if group is not None:
                yield group.change
                group = None
            before = was_snapshot.get(key[2])
            if before is None and not is_snapshot:
                source.problems.skipped_count += 1  # no snapshot yet to change
                continue
            was_snapshot[key[2]] = is_snapshot
            group = _Group(key, is_snapshot, is_snapshot and not before)
        (group.change.bids if side == "buy" else group.change.asks).append(level)
    if group is not None:
        yield group.change


def _reader(
    columns: tuple[str, ...], *, is_liquidations: bool | None = None
) -> Callable[[Head], bool]:
    def sniff(head: Head) -> bool:
        if not has_columns(head.fields, columns):
            return False
        named = bool(_LIQUIDATIONS_NAME.search(Path(head.path).name))
        return is_liquidations is None or named == is_liquidations

    return sniff


FORMATS = (
    Format("tardis trades", _reader(_TRADES, is_liquidations=False), _read_trades),
    Format("tardis liquidations", _reader(_TRADES, is_liquidations=True), _read_liquidations),
    Format("tardis incremental_book_L2", _reader(_BOOK), _read_book),
    Format("tardis book_snapshot", _reader(_SNAPSHOT), _read_snapshots),
    Format("tardis quotes", _reader(_QUOTES), _read_quotes),
    Format("tardis derivative_ticker", _reader(_TICKER), _read_tickers),
)
