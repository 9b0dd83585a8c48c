"""LOBSTER message files as records: every order's life, and the trades.

Prices are 1/10000 dollar. Times are seconds after midnight in New York; the day is in the
file's name or given, and midnight is taken as UTC's: what is kept is the time between events.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from engine.errors import InputError
from engine.feeds.fields import date_ns
from engine.feeds.lobster import Kind, Message, read_messages
from engine.feeds.records import BookOrder, Record, Trade
from engine.feeds.source import Format, Head, Source
from engine.messages import Side
from engine.units import decimal_text

#: `AAPL_2012-06-21_34200000_57600000_message_50.csv`.
_NAME = re.compile(r"([A-Za-z0-9.]+)_")
_DATE = re.compile(r"_([0-9]{4}-[0-9]{2}-[0-9]{2})_")
_ROW = re.compile(r"[0-9]{1,5}(?:\.[0-9]+)?,[1-7],-?[0-9]+,[0-9]+,-?[0-9]+,(?:1|-1)")
_PRICE_DECIMALS = 4
_ACTIONS = {
    Kind.NEW: "add", Kind.REDUCE: "reduce", Kind.DELETE: "delete", Kind.EXECUTE: "execute"}
_SIDES = {Side.BUY: "buy", Side.SELL: "sell"}


def _read(source: Source) -> Iterator[Record]:
    symbol = source.named(_NAME)
    found = _DATE.search(Path(source.path).name)
    midnight = source.date_ns if found is None else date_ns(found[1])
    if midnight is None:
        raise InputError(f"{source.path}: cannot tell the day from the file name; give --date")
    message_count = 0
    for message in read_messages(source.path, source.problems):
        message_count += 1
        yield from _records_of(message, symbol, midnight + message.time_ns)
    if message_count == 0:
        raise InputError(f"{source.path}: no messages in the file")


def _records_of(message: Message, symbol: str, ts_ns: int) -> Iterator[Record]:
    kind = message.kind
    if kind is Kind.HALT:
        return
    origin = (ts_ns, None, symbol)
    price, quantity = decimal_text(message.price_ticks, _PRICE_DECIMALS), str(message.lots)
    side = _SIDES[message.side]
    if kind in _ACTIONS:
        order_id = str(message.order_id)
        yield BookOrder(*origin, _ACTIONS[kind], order_id, side, price, quantity)
    if kind in (Kind.EXECUTE, Kind.HIDDEN, Kind.CROSS):
        # The file has the resting order's side.
        taker = None if kind is Kind.CROSS else ("sell" if side == "buy" else "buy")
        yield Trade(*origin, price, quantity, taker, None)


def _is_messages(head: Head) -> bool:
    return bool(_ROW.fullmatch(head.line))


FORMATS = (Format("lobster messages", _is_messages, _read, _NAME),)
