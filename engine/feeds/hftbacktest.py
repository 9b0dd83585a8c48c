"""hftbacktest's npz files: one array `data` of events, read in pieces.

The reader itself: zip, npy header, fixed rows. Numbers are floats there and come out as the
shortest decimals that mean the same float. Events are taken as the exchange had them
(`EXCH_EVENT`); those that only say when a copy arrived are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from functools import lru_cache
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from engine.errors import InputError
from engine.feeds.files import open_unpacked
from engine.feeds.records import BestQuote, BookChange, BookOrder, Levels, Record, Trade
from engine.feeds.source import Format, Head, Source
from engine.feeds.steps import parse_instant

#: `btcusdt_20240808.npz`; the name ends at the date.
_NAME = re.compile(r"([A-Za-z0-9]+(?:[-_][A-Za-z]+)*)")
_FIELDS = ("ev", "exch_ts", "local_ts", "px", "qty", "order_id")
_EXCHANGE, _BUY, _SELL = 1 << 31, 1 << 29, 1 << 28
_DEPTH, _TRADE, _CLEAR, _SNAPSHOT, _BEST = 1, 2, 3, 4, 5
_ORDER_ACTIONS = {10: "add", 11: "delete", 12: "modify", 13: "execute"}
_ROWS_AT_ONCE = 4096


def _read(source: Source) -> Iterator[Record]:
    symbol = source.named(_NAME)
    with open_unpacked(source.path) as file:
        dtype, count = _read_header(source.path, file)
        done = 0
        reader = _Events(source, symbol)
        while done < count:
            data = file.read(min(_ROWS_AT_ONCE, count - done) * dtype.itemsize)
            if not data or len(data) % dtype.itemsize:
                raise InputError(f"{source.path}: the array ends after {done} of {count} rows")
            rows = np.frombuffer(data, dtype)
            columns = [rows[name].tolist() for name in _FIELDS]
            for number, row in enumerate(zip(*columns, strict=True), done + 1):
                try:
                    yield from reader.take(*row)
                except ValueError as error:
                    source.problems.bad_row(source.path, number, error)
            done += len(rows)
        yield from reader.finish()
    if reader.record_count == 0:
        raise InputError(f"{source.path}: no events in the file")


def _read_header(path: str, file: IO[bytes]) -> tuple[np.dtype[Any], int]:
    try:
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read(file)
    except ValueError as error:
        raise InputError(f"{path}: not an npy array: {error}") from None
    if dtype.names is None or not set(_FIELDS) <= set(dtype.names) or len(shape) != 1:
        raise InputError(f"{path}: not an array of hftbacktest's events: {dtype} {shape}")
    if dtype.hasobject:
        raise InputError(f"{path}: the array holds Python objects")
    return dtype, shape[0]


class _Events:
    """Turns events into records; levels of one instant become one change."""

    def __init__(self, source: Source, symbol: str) -> None:
        self._source, self._symbol = source, symbol
        self._change: BookChange | None = None
        self._has_snapshot = False
        self._before_ns = 0
        self.record_count = 0

    def take(
        self, flags: int, exchange_ns: int, local_ns: int, price: float, quantity: float,
        order_id: int,
    ) -> Iterator[Record]:
        if not flags & _EXCHANGE:
            self._source.problems.skipped_count += 1
            return
        kind = flags & 0xFF
        ts_ns = parse_instant(str(exchange_ns), ("ns",))
        if ts_ns < self._before_ns:
            raise ValueError(f"time goes backwards: exch_ts {exchange_ns}")
        side = "buy" if flags & _BUY else "sell" if flags & _SELL else None
        origin = (ts_ns, local_ns, self._symbol)
        if kind in (_DEPTH, _SNAPSHOT):
            level = (_price(price), _quantity(quantity))
            if side is None:
                raise ValueError("a level of neither side")
            yield from self._level(origin, kind == _SNAPSHOT, side, level)
            self._before_ns = ts_ns
            return
        if kind == _CLEAR:
            # One side at a time; what follows is a snapshot, which replaces both.
            self._before_ns = ts_ns
            return
        record = self._single(kind, origin, side, price, quantity, order_id)
        yield from self.finish()
        self._before_ns = ts_ns
        self.record_count += 1
        yield record

    def _level(
        self, origin: tuple[int, int, str], is_snapshot: bool, side: str, level: tuple[str, str]
    ) -> Iterator[Record]:
        change = self._change
        if change is None or change[:2] != origin[:2] or is_snapshot != self._is_snapshot_group:
            yield from self.finish()
            if not is_snapshot and not self._has_snapshot:
                # Some files begin with changes alone: the book grows from nothing.
                self._has_snapshot = True
                change = BookChange(*origin, True, [], [])
            else:
                self._has_snapshot = True
                change = BookChange(*origin, is_snapshot, [], [])
            self._change, self._is_snapshot_group = change, is_snapshot
        levels: Levels = change.bids if side == "buy" else change.asks
        levels.append(level)

    def _single(
        self, kind: int, origin: tuple[int, int, str], side: str | None, price: float,
        quantity: float, order_id: int,
    ) -> Record:
        if kind == _TRADE:
            return Trade(*origin, _price(price), _quantity(quantity), side, None)
        if kind == _BEST:
            level = (_price(price), _quantity(quantity))
            if side == "buy":
                return BestQuote(*origin, *level, None, None)
            return BestQuote(*origin, None, None, *level)
        if kind in _ORDER_ACTIONS:
            return BookOrder(
                *origin, _ORDER_ACTIONS[kind], str(order_id), side,
                _price(price) if price else None, _quantity(quantity))
        raise ValueError(f"no such kind of event: {kind}")

    _is_snapshot_group = False

    def finish(self) -> Iterator[Record]:
        if self._change is not None:
            self.record_count += 1
            yield self._change
            self._change = None


@lru_cache(maxsize=1 << 15)
def _price(value: float) -> str:
    if not 0 < value < 1e19:
        raise ValueError(f"price is out of range: {value!r}")
    return f"{Decimal(repr(value)):f}"


@lru_cache(maxsize=1 << 15)
def _quantity(value: float) -> str:
    if not 0 <= value < 1e19:
        raise ValueError(f"quantity is out of range: {value!r}")
    return f"{Decimal(repr(value)):f}"


def _is_npy(head: Head) -> bool:
    return head.content.startswith(b"\x93NUMPY")


FORMATS = (Format("hftbacktest events", _is_npy, _read, _NAME),)
