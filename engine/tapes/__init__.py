"""Recorded markets rebuilt in the engine's own order book, and compared with the record.

`OrderTape` takes a tape of single orders (LOBSTER), `DepthTape` one of price levels
(Binance); `compare_orders` and `compare_depth` go from files to figures, and
`python -m engine.tapes` prints them. docs/tapes.md has the method and what came out.
"""

from __future__ import annotations

from engine.tapes.agreement import Agreement, Difference, align
from engine.tapes.compare import (
    DepthComparison,
    OrderComparison,
    compare_depth,
    compare_orders,
)
from engine.tapes.depth import DepthFigures, DepthTape, LevelBook
from engine.tapes.orders import OrderFigures, OrderTape, rebuild_orders
from engine.tapes.tickers import TickerCheck, TickerFigures

__all__ = [
    "Agreement",
    "DepthComparison",
    "DepthFigures",
    "DepthTape",
    "Difference",
    "LevelBook",
    "OrderComparison",
    "OrderFigures",
    "OrderTape",
    "TickerCheck",
    "TickerFigures",
    "align",
    "compare_depth",
    "compare_orders",
    "rebuild_orders",
]
