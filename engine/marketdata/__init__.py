"""Market data: what the public may know of the books, and clients that follow it.

`MarketData` switches it on for an exchange and turns the core's messages into L3, L2 and L1
updates, trades, auction indications, snapshots and statistics. `L2Book` and `L3Book` are
the other end: books that start from a snapshot and apply what comes after it.
docs/formats.md has every field; `engine.marketdata.packed` is the road for arrays.
"""

from engine.marketdata.client import L2Book, L3Book, NotSynced, SequenceGap
from engine.marketdata.feed import CHANNELS, MarketData

__all__ = ["CHANNELS", "L2Book", "L3Book", "MarketData", "NotSynced", "SequenceGap"]
