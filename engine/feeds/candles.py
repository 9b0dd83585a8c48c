"""Candles in feather files, as freqtrade keeps them (`pyarrow`, an extra).

`date` (UTC), `open`, `high`, `low`, `close`, `volume`. Files of funding rates have the same
columns with the rate in `open`. Numbers are floats and come out as the shortest decimals
that mean the same float.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from engine.errors import InputError
from engine.feeds.fields import price
from engine.feeds.klines import play_bar
from engine.feeds.records import Bar, Funding, Record
from engine.feeds.source import Format, Source
from engine.feeds.steps import is_symbol

_COLUMNS = ("date", "open", "high", "low", "close", "volume")
#: `BTC_USDT_USDT-1m-futures.feather`.
_NAME = re.compile(r"([A-Za-z0-9_]+)-([0-9]+)([mhdw])(?:-([a-z_]+))?\.feather")
_UNIT_NS = {"m": 60 * 10**9, "h": 3600 * 10**9, "d": 86_400 * 10**9, "w": 7 * 86_400 * 10**9}
_SCALE_NS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


def _read(source: Source) -> Iterator[Record]:
    try:
        import pyarrow as arrow
        from pyarrow import ipc
    except ImportError:
        raise InputError(
            f"{source.path}: reading feather needs the pyarrow package: "
            "pip install 'perp-engine[parquet]'"
        ) from None
    found = _NAME.fullmatch(Path(source.path).name)
    if found is None:
        raise InputError(f"{source.path}: expected a name like BTC_USDT_USDT-1m-futures.feather")
    # The pair's settle asset repeats the quote: BTC_USDT_USDT is BTCUSDT.
    symbol = source.symbol or "".join(found[1].split("_")[:2])
    if not is_symbol(symbol):
        raise InputError(f"{source.path}: cannot tell the symbol; give --symbol NAME")
    length = int(found[2]) * _UNIT_NS[found[3]]
    number = good_count = 0
    try:
        with arrow.memory_map(source.path) as mapped, ipc.open_file(mapped) as file:
            scale = _SCALE_NS[file.schema.field("date").type.unit]
            for k in range(file.num_record_batches):
                for row in _rows(file.get_batch(k)):
                    number += 1
                    try:
                        records = _parse(row, symbol, length, scale, found[4] == "funding_rate")
                    except ValueError as error:
                        source.problems.bad_row(source.path, number, error)
                        continue
                    good_count += 1
                    yield from records
    except (arrow.ArrowException, KeyError, AttributeError) as error:
        raise InputError(f"{source.path}: not a file of candles: {error}") from None
    if good_count == 0:
        raise InputError(f"{source.path}: no candles in the file")


def _rows(batch: Any) -> Iterator[tuple[Any, ...]]:
    import pyarrow as arrow

    columns = []
    for name in _COLUMNS:
        column = batch.column(name)
        columns.append((column.cast(arrow.int64()) if name == "date" else column).to_pylist())
    return zip(*columns, strict=True)


def _parse(
    row: tuple[Any, ...], symbol: str, length: int, scale: int, is_funding: bool
) -> list[Record]:
    at = row[0] * scale
    texts = [_text(value) for value in row[1:]]
    if is_funding:
        return [Funding(at, None, symbol, texts[0], None)]
    # The last nanosecond of a candle, so that it ends before the next one begins.
    opened, high, low, closed = map(price, texts[:4], _COLUMNS[1:5])
    bar = Bar(at + length - 1, None, symbol, at, opened, high, low, closed, texts[4])
    return list(play_bar(bar))


def _text(value: Any) -> str:
    number = Decimal(repr(value)) if isinstance(value, float) else Decimal(str(value))
    if not number.is_finite():
        raise ValueError(f"not a number: {value!r}")
    return f"{number:f}"


FORMATS = (
    Format("feather candles", lambda head: head.content.startswith(b"ARROW1"), _read, _NAME),
)
