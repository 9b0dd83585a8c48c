"""Databento's DBN files, decoded by Databento's own library (`databento-dbn`, an extra).

Orders, trades, best quotes, ten levels and bars are read; prices are 1e-9, times ns. The
library's zst reading is not used: files are unpacked as all others are.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

from engine.errors import InputError
from engine.feeds.fields import date_ns
from engine.feeds.files import open_unpacked
from engine.feeds.klines import play_bar
from engine.feeds.records import (
    Bar,
    BestQuote,
    BookChange,
    BookOrder,
    Record,
    Trade,
)
from engine.feeds.source import Format, Head, Source
from engine.feeds.steps import is_symbol, parse_instant
from engine.units import decimal_text

_MAGIC = b"DBN"
_BYTES_AT_ONCE = 1 << 16
_PRICE_DECIMALS = 9
_UNDEFINED_PRICE = 2**63 - 1
_SIDES = {"A": "sell", "B": "buy"}
_ACTIONS = {"A": "add", "C": "reduce", "M": "modify", "R": "clear"}
_BAR_NS = {"ohlcv-1s": 10**9, "ohlcv-1m": 60 * 10**9, "ohlcv-1h": 3600 * 10**9}
_DAY_NS = 24 * 3600 * 10**9


def _read(source: Source) -> Iterator[Record]:
    try:
        import databento_dbn
    except ImportError:
        raise InputError(
            f"{source.path}: reading DBN needs the databento-dbn package: "
            "pip install 'perp-engine[databento]'"
        ) from None
    decoder = databento_dbn.DBNDecoder()
    reader: _Messages | None = None
    number = record_count = 0
    with open_unpacked(source.path) as file:
        while data := file.read(_BYTES_AT_ONCE):
            try:
                decoder.write(data)
                messages = decoder.decode()
            except (databento_dbn.DBNError, ValueError) as error:
                raise InputError(f"{source.path}: after message {number}: {error}") from None
            for message in messages:
                if isinstance(message, databento_dbn.Metadata):
                    reader = _Messages(source, message)
                    continue
                if reader is None:
                    raise InputError(f"{source.path}: no metadata before the first message")
                number += 1
                try:
                    records = reader.records_of(message)
                except ValueError as error:
                    source.problems.bad_row(source.path, number, error)
                    continue
                record_count += len(records)
                yield from records
    if record_count == 0:
        raise InputError(f"{source.path}: no market data in the file")


class _Messages:
    """Turns messages into records; knows the symbols of the file."""

    def __init__(self, source: Source, metadata: Any) -> None:
        self._source = source
        self._bar_ns = _BAR_NS.get(str(metadata.schema), _DAY_NS)
        # Instrument id → [(first ns, ns behind the last, symbol)].
        self._names: dict[int, list[tuple[int, int, str]]] = {}
        for name, intervals in (metadata.mappings or {}).items():
            for interval in intervals:
                if interval["symbol"].isdigit():
                    self._names.setdefault(int(interval["symbol"]), []).append((
                        _day_ns(interval["start_date"]), _day_ns(interval["end_date"]), str(name)))
        self._before_ns = 0

    def _symbol(self, instrument_id: int, ts_ns: int) -> str:
        if self._source.symbol is not None:
            return self._source.symbol
        for first, end, name in self._names.get(instrument_id, ()):
            if first <= ts_ns < end and is_symbol(name):
                return name
        return str(instrument_id)

    def records_of(self, message: Any) -> list[Record]:
        kind = type(message).__name__
        if kind not in ("MBOMsg", "TradeMsg", "MBP1Msg", "MBP10Msg", "BBOMsg", "OHLCVMsg"):
            self._source.problems.skipped_count += 1  # definitions, statistics, system messages
            return []
        ts_ns = parse_instant(str(message.ts_event), ("ns",))
        symbol = self._symbol(message.instrument_id, ts_ns)
        if kind == "OHLCVMsg":
            return list(play_bar(Bar(
                ts_ns + self._bar_ns - 1, None, symbol, ts_ns, _price(message.open),
                _price(message.high), _price(message.low), _price(message.close),
                str(message.volume))))
        origin = (ts_ns, int(message.ts_recv), symbol)
        action = str(getattr(message, "action", "A"))
        side = _SIDES.get(str(message.side))
        if kind == "MBOMsg":
            return self._order(message, origin, action, side)
        records: list[Record] = []
        if action == "T" or kind == "TradeMsg":
            # The side of a trade is its aggressor's.
            records.append(Trade(*origin, _price(message.price), str(message.size), side, None))
        if kind in ("MBP1Msg", "BBOMsg"):
            records.append(_best_quote(origin, message.levels[0]))
        elif kind == "MBP10Msg":
            bids = [(_price(one.bid_px), str(one.bid_sz)) for one in message.levels if one.bid_sz]
            asks = [(_price(one.ask_px), str(one.ask_sz)) for one in message.levels if one.ask_sz]
            records.append(BookChange(*origin, True, bids, asks))
        return records

    def _order(
        self, message: Any, origin: tuple[int, int, str], action: str, side: str | None
    ) -> list[Record]:
        order_id, size = str(message.order_id), str(message.size)
        if action == "T":
            sequence = str(message.sequence)
            return [Trade(*origin, _price(message.price), size, side, sequence)]
        if action == "F":
            return [BookOrder(*origin, "execute", order_id, side, _price(message.price), size)]
        if action == "R":
            return [BookOrder(*origin, "clear", "0", None, None, None)]
        if action not in _ACTIONS:
            self._source.problems.skipped_count += 1
            return []
        price = None if message.price == _UNDEFINED_PRICE else _price(message.price)
        return [BookOrder(*origin, _ACTIONS[action], order_id, side, price, size)]


def _best_quote(origin: tuple[int, int, str], level: Any) -> BestQuote:
    bid = _price(level.bid_px) if level.bid_sz else None
    ask = _price(level.ask_px) if level.ask_sz else None
    return BestQuote(
        *origin, bid, str(level.bid_sz) if bid else None, ask, str(level.ask_sz) if ask else None)


def _price(units: int) -> str:
    if not 0 < units < _UNDEFINED_PRICE:
        raise ValueError(f"price is out of range: {units}")
    return decimal_text(units, _PRICE_DECIMALS)


def _day_ns(day: date) -> int:
    return date_ns(day.isoformat())


def _is_dbn(head: Head) -> bool:
    return head.content.startswith(_MAGIC)


FORMATS = (Format("databento dbn", _is_dbn, _read),)
