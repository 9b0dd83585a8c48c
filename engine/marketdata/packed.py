"""Market data as arrays: for load tests and recorders that take millions of messages a second.

`core.drain_market_data_bytes()` hands the messages out as packed rows, without a Python
object for each; `read` views them as a structured array.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from engine.marketdata.levels import Level, Levels
from engine.messages import MarketKind

#: One message, native byte order, 88 bytes. Fields and units: docs/formats.md, section 3.
MESSAGE = np.dtype([
    ("market_seq", "i8"), ("seq", "i8"), ("ts", "i8"), ("ref", "i8"), ("price", "i8"),
    ("quantity", "i8"), ("change", "i8"), ("trade_id", "i8"), ("traded", "i8"),
    ("trade_price", "i8"), ("symbol", "i4"), ("kind", "u1"), ("side", "u1"), ("detail", "u2"),
])

Messages = npt.NDArray[Any]


def read(data: bytes) -> Messages:
    """Return packed messages as a structured array of `MESSAGE`; no copy is made."""
    return np.frombuffer(data, MESSAGE)


class PackedBook:
    """A book by price levels, in ticks and lots, fed with arrays.

    Parameters
    ----------
    core : ExchangeCore
        Its book is where this one starts.
    symbol : int
        Index of the symbol.

    Notes
    -----
    Complexity: a batch of n messages that touch k levels costs O(n log n) in numpy and
    O(k log levels) in Python, so large batches are cheap by the message.
    """

    def __init__(self, core: Any, symbol: int) -> None:
        self.symbol = symbol
        self.market_seq = int(core.market_seq(symbol))
        self.levels = Levels()
        for side in range(2):
            self.levels.load(side, core.market_levels(symbol, side, 2**31 - 1))

    def apply(self, messages: Messages) -> int:
        """Apply the messages of this symbol that are new; those of others are passed over.

        Returns
        -------
        int
            Messages applied.

        Raises
        ------
        ValueError
            A sequence is missing, or the book was switched off and on in between.
        """
        own = messages[messages["symbol"] == self.symbol]
        own = own[own["market_seq"] > self.market_seq]
        if not len(own):
            return 0
        expected = np.arange(self.market_seq + 1, self.market_seq + 1 + len(own))
        wrong = np.flatnonzero(own["market_seq"] != expected)
        if len(wrong):
            raise ValueError(
                f"expected market_seq {expected[wrong[0]]}, "
                f"got {own['market_seq'][wrong[0]]}")
        if (own["kind"] == MarketKind.RESET).any():
            raise ValueError("a reset: start from a new snapshot")
        self._change(own[own["kind"] <= MarketKind.EXECUTE])
        self.market_seq += len(own)
        return len(own)

    def _change(self, rows: Messages) -> None:
        if not len(rows):
            return
        orders = (rows["kind"] == MarketKind.ADD).astype("i8")
        orders -= (rows["quantity"] == 0) & (rows["kind"] != MarketKind.ADD)
        by_level = np.lexsort((rows["price"], rows["side"]))
        prices, sides = rows["price"][by_level], rows["side"][by_level]
        is_first = np.empty(len(rows), bool)
        is_first[0] = True
        is_first[1:] = (prices[1:] != prices[:-1]) | (sides[1:] != sides[:-1])
        first = np.flatnonzero(is_first)
        for side, price, lots, count in zip(
                sides[first].tolist(), prices[first].tolist(),
                np.add.reduceat(rows["change"][by_level], first).tolist(),
                np.add.reduceat(orders[by_level], first).tolist(), strict=True):
            self.levels.change(side, price, lots, count)

    def side(self, side: int) -> list[Level]:
        """Return a side as (price in ticks, lots, orders), best first."""
        return list(self.levels.side(side))
