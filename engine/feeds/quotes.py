"""The best bid and offer, in whole ticks and lots."""

from __future__ import annotations

from typing import NamedTuple


class Quote(NamedTuple):
    """Best bid and offer of a book.

    Attributes
    ----------
    bid_ticks, ask_ticks : int or None, ticks
        None where that side is empty.
    bid_lots, ask_lots : int, lots
        0 where that side is empty.

    Examples
    --------
    >>> Quote(99, 5, 101, 3).prices
    (99, 101)
    """

    bid_ticks: int | None
    bid_lots: int
    ask_ticks: int | None
    ask_lots: int

    @property
    def prices(self) -> tuple[int | None, int | None]:
        """Bid and ask without their sizes."""
        return self.bid_ticks, self.ask_ticks

