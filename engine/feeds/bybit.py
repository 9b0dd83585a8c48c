"""Bybit's public archives: trades, and order books of 500 levels.

Trades have seconds with decimals; a file of order books has one JSON message a line, in
milliseconds, each of them a snapshot or the levels that changed. `side` is the taker's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from engine.errors import InputError
from engine.feeds import fields as of
from engine.feeds.files import read_lines
from engine.feeds.json_fields import instant_of, level_texts, load_object
from engine.feeds.records import BookChange, Levels, Record, Trade
from engine.feeds.source import Format, Head, Source
from engine.feeds.steps import is_symbol
from engine.feeds.table import has_columns, read_table

_TRADES = ("timestamp", "symbol", "side", "size", "price", "trdMatchID")
_SPOT_TRADES = ("id", "timestamp", "price", "volume", "side")
#: `BTCUSDT_2024-01-01.csv.gz`, `BTCUSDT-2024-01.csv.gz`.
_SPOT_NAME = re.compile(r"([A-Z0-9]+)[-_]")
#: A message has up to 1,000 levels, some 30 kB.
_MESSAGE_LENGTH_MAX = 1 << 20


def _read_trades(source: Source) -> Iterator[Record]:
    known: set[str] = set()
    check = of.in_order("timestamp")

    def parse(at: str, symbol: str, side: str, size: str, price: str, trade_id: str) -> Trade:
        if symbol not in known:
            if not is_symbol(symbol):
                raise ValueError(f"symbol is not a name: {symbol[:40]!r}")
            known.add(symbol)
        ts_ns = check(of.seconds_instant(at, "timestamp"), at)
        price, size = of.price(price), of.quantity(size, "size")
        return Trade(ts_ns, None, symbol, price, size, of.side(side), trade_id)

    return (one for _, one in read_table(source, _TRADES, parse, what="trades"))


def _read_spot_trades(source: Source) -> Iterator[Record]:
    symbol, check = source.named(_SPOT_NAME), of.in_order("timestamp")

    def parse(trade_id: str, at: str, price: str, volume: str, side: str) -> Trade:
        ts_ns = check(of.instant(at, "timestamp", "ms"), at)
        return Trade(
            ts_ns, None, symbol, of.price(price), of.quantity(volume, "volume"), of.side(side),
            trade_id)

    return (one for _, one in read_table(source, _SPOT_TRADES, parse, what="trades"))


def _read_book(source: Source) -> Iterator[Record]:
    problems, path = source.problems, source.path
    last_ids: dict[str, int] = {}
    change_count = 0
    for number, line in read_lines(path, _MESSAGE_LENGTH_MAX):
        try:
            change, update_id = _parse_message(line)
        except (ValueError, RecursionError) as error:
            problems.bad_row(path, number, error)
            continue
        before = last_ids.get(change.symbol)
        if not change.is_snapshot:
            if before is None:
                problems.skipped_count += 1  # no snapshot yet to change
                continue
            if update_id <= before:
                problems.skipped_count += 1
                continue
            if update_id > before + 1:
                problems.gap(path, number, f"update {update_id} follows {before}")
        last_ids[change.symbol] = update_id
        change_count += 1
        yield change
    if change_count == 0:
        raise InputError(f"{path}: no order books in the file")


def _parse_message(line: str) -> tuple[BookChange, int]:
    message = load_object(line)
    data = message.get("data")
    if not isinstance(data, dict):
        raise ValueError("not a message of an order book")
    symbol, update_id = data.get("s"), data.get("u")
    if not isinstance(symbol, str) or not is_symbol(symbol):
        raise ValueError(f"s is not a symbol: {symbol!r:.40}")
    if type(update_id) is not int:
        raise ValueError(f"u is not an id: {update_id!r:.40}")
    # An update with id 1 is a snapshot whatever it says: the venue's service was restarted.
    kind = message.get("type")
    if kind not in ("snapshot", "delta"):
        raise ValueError(f"type must be snapshot or delta, not {kind!r:.40}")
    ts_ns = instant_of(message, "ts", "ms")
    is_snapshot = kind == "snapshot" or update_id == 1
    bids, asks = _levels(data, "b"), _levels(data, "a")
    return BookChange(ts_ns, None, symbol, is_snapshot, bids, asks), update_id


def _levels(data: dict[str, Any], name: str) -> Levels:
    return [(of.price(row[0]), of.quantity(row[1])) for row in level_texts(data, name)]


def _is_book(head: Head) -> bool:
    return head.line.startswith("{") and '"topic":"orderbook.' in head.line.replace(" ", "")[:200]


FORMATS = (
    Format("bybit trades", lambda head: has_columns(head.fields, _TRADES), _read_trades),
    Format(
        "bybit spot trades", lambda head: head.fields[:5] == list(_SPOT_TRADES), _read_spot_trades,
        _SPOT_NAME),
    Format("bybit order book", _is_book, _read_book),
)
