"""Binance Vision but for klines: trades, quotes, depth, metrics, funding, liquidations.

Older files have no header; a column's place then tells what it is. Times are milliseconds,
or microseconds (spot files since 2025). The symbol is in the file's name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from engine.feeds import fields as of
from engine.feeds.files import read_lines
from engine.feeds.records import (
    BestQuote,
    BookChange,
    DepthBand,
    Funding,
    Liquidation,
    OpenInterest,
    Record,
    Trade,
)
from engine.feeds.source import Format, Head, Source
from engine.feeds.steps import is_symbol
from engine.feeds.table import has_columns, read_table

#: `BTCUSDT-aggTrades-2024-01-01.zip`, `BTCUSDT_T_DEPTH_2022-01-01_depth_update.csv`.
_NAME = re.compile(r"([A-Z0-9]+(?:_(?!T_DEPTH)[A-Z0-9]+)*)[-_]")

_AGG_TRADES = (
    "agg_trade_id", "price", "quantity", "first_trade_id", "last_trade_id", "transact_time",
    "is_buyer_maker")
_TRADES = ("id", "price", "qty", "quote_qty", "time", "is_buyer_maker")
_COIN_TRADES = ("id", "price", "qty", "base_qty", "time", "is_buyer_maker")
_BOOK_TICKER = (
    "update_id", "best_bid_price", "best_bid_qty", "best_ask_price", "best_ask_qty",
    "transaction_time", "event_time")
_BOOK_DEPTH = ("timestamp", "percentage", "depth", "notional")
_METRICS = ("create_time", "symbol", "sum_open_interest", "sum_open_interest_value")
_RATIOS = (
    "count_toptrader_long_short_ratio", "sum_toptrader_long_short_ratio",
    "count_long_short_ratio", "sum_taker_long_short_vol_ratio")
_FUNDING = ("calc_time", "funding_interval_hours", "last_funding_rate")
_LIQUIDATIONS = (
    "time", "side", "original_quantity", "price", "average_price", "order_status",
    "accumulated_fill_quantity")
_DEPTH = (
    "symbol", "timestamp", "first_update_id", "last_update_id", "side", "update_type", "price",
    "qty")
_TRUTHS = ("true", "false")


def _at(text: str, name: str) -> int:
    return of.instant(text, name, "ms", "us")


def _first_fields(source: Source) -> list[str]:
    return next(read_lines(source.path))[1].split(",")


def _header_or(source: Source, columns: Sequence[str]) -> Sequence[str] | None:
    """Return the columns of a file without a header, by place; None where it has one."""
    first = _first_fields(source)
    if has_columns(first, columns):
        return None
    # Spot files have one more column, is_best_match, which nobody needs.
    return [*columns, *(f"column {k}" for k in range(len(columns), len(first)))]


def _read_agg_trades(source: Source) -> Iterator[Record]:
    symbol, check = source.named(_NAME), of.in_order("transact_time")

    def parse(
        trade_id: str, price: str, quantity: str, first: str, last: str, at: str, is_maker: str
    ) -> Trade:
        side = "sell" if of.truth(is_maker, "is_buyer_maker") else "buy"
        price, quantity = of.price(price), of.quantity(quantity, "quantity")
        ts_ns = check(_at(at, "transact_time"), at)
        return Trade(ts_ns, None, symbol, price, quantity, side, trade_id)

    header = _header_or(source, _AGG_TRADES)
    return (one for _, one in read_table(source, _AGG_TRADES, parse, header=header, what="trades"))


def _read_trades(source: Source) -> Iterator[Record]:
    symbol, check = source.named(_NAME), of.in_order("time")

    def parse(trade_id: str, price: str, quantity: str, at: str, is_maker: str) -> Trade:
        side = "sell" if of.truth(is_maker, "is_buyer_maker") else "buy"
        price, quantity = of.price(price), of.quantity(quantity, "qty")
        return Trade(check(_at(at, "time"), at), None, symbol, price, quantity, side, trade_id)

    wanted = ("id", "price", "qty", "time", "is_buyer_maker")
    first = _first_fields(source)
    header = None if has_columns(first, wanted) else _header_or(source, _TRADES)
    return (one for _, one in read_table(source, wanted, parse, header=header, what="trades"))


def _read_book_ticker(source: Source) -> Iterator[Record]:
    symbol, check = source.named(_NAME), of.in_order("transaction_time")

    def parse(
        update_id: str, bid: str, bid_quantity: str, ask: str, ask_quantity: str, at: str,
        sent: str,
    ) -> BestQuote:
        bid_price, ask_price = of.optional_price(bid, "bid"), of.optional_price(ask, "ask")
        return BestQuote(
            check(_at(at, "transaction_time"), at), None, symbol,
            bid_price, None if bid_price is None else of.quantity(bid_quantity, "bid_qty"),
            ask_price, None if ask_price is None else of.quantity(ask_quantity, "ask_qty"))

    header = _header_or(source, _BOOK_TICKER)
    return (one for _, one in read_table(source, _BOOK_TICKER, parse, header=header, what="quotes"))


def _read_book_depth(source: Source) -> Iterator[Record]:
    symbol, check = source.named(_NAME), of.in_order("timestamp")

    def parse(at: str, percentage: str, depth: str, notional: str) -> DepthBand:
        percentage = of.number(percentage, "percentage")
        depth, notional = of.quantity(depth, "depth"), of.quantity(notional, "notional")
        ts_ns = check(of.clock_instant(at, "timestamp"), at)
        return DepthBand(ts_ns, None, symbol, percentage, depth, notional)

    return (one for _, one in read_table(source, _BOOK_DEPTH, parse, what="depth bands"))


def _read_metrics(source: Source) -> Iterator[Record]:
    check = of.in_order("create_time")
    header = _first_fields(source)
    ratios = [name for name in _RATIOS if name in header]

    def parse(at: str, symbol: str, quantity: str, value: str, *shares: str) -> OpenInterest:
        if not is_symbol(symbol):
            raise ValueError(f"symbol is not a name: {symbol[:40]!r}")
        quantity = of.quantity(quantity, "sum_open_interest")
        value = of.quantity(value, "sum_open_interest_value")
        # A ratio is empty where the venue lacks it.
        named = {n: of.number(share, n) for n, share in zip(ratios, shares, strict=True) if share}
        ts_ns = check(of.clock_instant(at, "create_time"), at)
        return OpenInterest(ts_ns, None, symbol, quantity, value, named)

    return (one for _, one in read_table(source, (*_METRICS, *ratios), parse, what="metrics"))


def _read_funding(source: Source) -> Iterator[Record]:
    symbol, check = source.named(_NAME), of.in_order("calc_time")

    def parse(at: str, hours: str, rate: str) -> Funding:
        hours, rate = of.quantity(hours, "funding_interval_hours"), of.number(rate, "rate")
        return Funding(check(_at(at, "calc_time"), at), None, symbol, rate, hours)

    return (one for _, one in read_table(source, _FUNDING, parse, what="funding rates"))


def _read_liquidations(source: Source) -> Iterator[Record]:
    symbol, check = source.named(_NAME), of.in_order("time")

    def parse(
        at: str, side: str, quantity: str, price: str, average: str, status: str, filled: str
    ) -> tuple[Liquidation, tuple[str, ...]]:
        row = (side, quantity, price, average, status, filled)
        side, price = of.side(side), of.price(price)
        paid = of.optional_price(average, "average_price")
        quantity = of.quantity(quantity, "original_quantity")
        ts_ns = check(_at(at, "time"), at)
        return Liquidation(ts_ns, None, symbol, side, price, quantity, paid), row

    # The venue's files have rows twice.
    ts_ns, seen = 0, set[tuple[str, ...]]()
    for _, (record, row) in read_table(source, _LIQUIDATIONS, parse, what="liquidations"):
        if record.ts_ns != ts_ns:
            ts_ns, seen = record.ts_ns, set()
        if row in seen:
            source.problems.skipped_count += 1
            continue
        seen.add(row)
        yield record


def _read_depth(source: Source) -> Iterator[Record]:
    check = of.in_order("timestamp")

    def parse(
        symbol: str, at: str, first_id: str, last_id: str, side: str, update: str, price: str,
        quantity: str,
    ) -> tuple[tuple[int, str, str, bool], str, tuple[str, str]]:
        if not is_symbol(symbol):
            raise ValueError(f"symbol is not a name: {symbol[:40]!r}")
        if update not in ("snap", "set"):
            raise ValueError(f"update_type must be snap or set, not {update[:40]!r}")
        side, level = of.side(side), (of.price(price), of.quantity(quantity, "qty"))
        return (check(_at(at, "timestamp"), at), symbol, last_id, update == "snap"), side, level

    key: tuple[int, str, str, bool] | None = None
    change: BookChange | None = None
    for _, (row_key, side, level) in read_table(source, _DEPTH, parse, what="changes"):
        if row_key != key or change is None:
            if change is not None:
                yield change
            key = row_key
            change = BookChange(key[0], None, key[1], key[3], [], [])
        (change.bids if side == "buy" else change.asks).append(level)
    if change is not None:
        yield change


def _by_header(columns: Sequence[str]) -> Callable[[Head], bool]:
    return lambda head: has_columns(head.fields, columns)


def _are_instants(fields: Sequence[str], places: Sequence[int]) -> bool:
    # 13 digits are milliseconds since 2001, 16 are microseconds.
    return all(len(fields[k]) in (13, 16) and fields[k].isdigit() for k in places)


def _sniff_agg_trades(head: Head) -> bool:
    row = head.fields
    return has_columns(row, _AGG_TRADES) or (
        len(row) in (7, 8) and row[6].lower() in _TRUTHS and _are_instants(row, (5,)))


def _sniff_trades(head: Head) -> bool:
    row = head.fields
    return has_columns(row, _TRADES) or has_columns(row, _COIN_TRADES) or (
        len(row) in (6, 7) and row[5].lower() in _TRUTHS and _are_instants(row, (4,)))


def _sniff_book_ticker(head: Head) -> bool:
    row = head.fields
    return has_columns(row, _BOOK_TICKER) or (len(row) == 7 and _are_instants(row, (5, 6)))


FORMATS = (
    Format("binance aggTrades", _sniff_agg_trades, _read_agg_trades, _NAME),
    Format("binance trades", _sniff_trades, _read_trades, _NAME),
    Format("binance bookTicker", _sniff_book_ticker, _read_book_ticker, _NAME),
    Format("binance bookDepth", _by_header(_BOOK_DEPTH), _read_book_depth, _NAME),
    Format("binance metrics", _by_header(_METRICS), _read_metrics),
    Format("binance fundingRate", _by_header(_FUNDING), _read_funding, _NAME),
    Format("binance liquidationSnapshot", _by_header(_LIQUIDATIONS), _read_liquidations, _NAME),
    Format("binance depth", _by_header(_DEPTH), _read_depth),
)
