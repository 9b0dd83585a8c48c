"""A book of price levels rebuilt from a depth stream, by the exchange's own procedure.

The `OrderBook` holds one order a level, whose quantity is the level's. A snapshot sets the
levels, and the updates that follow it change them. Update ids say which updates belong to a
snapshot and whether one is missing; when one is, the book is worth nothing until the next
snapshot.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from engine.core import OrderBook
from engine.feeds.depth import DepthSnapshot, DepthUpdate, Levels
from engine.feeds.quotes import Quote
from engine.messages import Side, TimeInForce
from engine.tapes.books import quote_of

_OWNER = 1
_GTC = int(TimeInForce.GTC)
#: Updates that are kept while there is no snapshot; a snapshot that needs older ones is too old.
BUFFER_LENGTH_MAX = 10_000


class LevelBook:
    """An `OrderBook` used as a table of price levels.

    Attributes
    ----------
    book : OrderBook
        One order a level, of owner 1, with id 2 × price in ticks + side.

    Invariants
        Never crossed: what would cross is left out and counted by `apply`.
    """

    def __init__(self) -> None:
        self.book = OrderBook()

    def quote(self) -> Quote:
        """Return the best bid and offer. O(1)."""
        return quote_of(self.book)

    def apply(self, bids: Levels, asks: Levels) -> int:
        """Set levels to new quantities.

        Parameters
        ----------
        bids, asks : list of (ticks, lots)
            0 lots: the level is gone. One that is not there cannot go, which is normal.

        Returns
        -------
        int
            Levels left out because they would trade with the other side.
        """
        rows = [(int(Side.BUY), *level) for level in bids]
        rows += [(int(Side.SELL), *level) for level in asks]
        # What goes, goes first: an update moves both sides at once, and a new bid may stand
        # where an ask was.
        for side, price, lots in rows:
            if lots == 0:
                self.book.cancel(_OWNER, 2 * price + side)
        return sum(not self._set(side, price, lots) for side, price, lots in rows if lots)

    def _set(self, side: int, price: int, lots: int) -> bool:
        level_id = 2 * price + side
        if self.book.amend(_OWNER, level_id, price, lots) >= 0:
            return True
        return self.book.place(_OWNER, level_id, side, price, lots, _GTC, True) >= 0


@dataclass
class DepthFigures:
    """What happened while a capture was rebuilt.

    Attributes
    ----------
    snapshot_count : int
        Snapshots that the book was set to.
    spare_snapshot_count : int
        Snapshots that came while the book needed none.
    applied_count : int
        Updates.
    covered_count : int
        Updates that the snapshot, or an update before, had in it already.
    lost_count : int
        Updates that belong to no snapshot.
    gap_count : int
        Times that an update was missing.
    crossing_count : int
        Levels left out because they would have traded.
    """

    snapshot_count: int = 0
    spare_snapshot_count: int = 0
    applied_count: int = 0
    covered_count: int = 0
    lost_count: int = 0
    gap_count: int = 0
    crossing_count: int = 0


class DepthTape:
    """A book rebuilt from snapshots and updates.

    Parameters
    ----------
    on_change : callable, optional
        Gets (update id, best bid and offer) after the snapshot and each update applied.
    report : callable, optional
        Gets (line, text) for each gap and each crossing.

    Attributes
    ----------
    levels : LevelBook
    last_id : int or None
        Update id as of which the book is right; None while it waits for a snapshot.
    figures : DepthFigures

    Notes
    -----
    An update is covered if its last id is not beyond the book's. The first one behind a
    snapshot with id L has to have previous id ≤ L < last id, each further one has to have
    the last id of the one before as its previous id. That is the documented procedure of the
    spot market, where the previous id is U - 1. The futures' page asks the first update for
    U ≤ L ≤ u instead; that differs twice, without a difference to the book.
    An update that ends at L is skipped here and applied there: its quantities are in the
    snapshot. And a snapshot taken between two updates (pu ≤ L < U, since futures ids are
    shared by all symbols) is refused there and taken here: pu says that nothing is missing.
    """

    def __init__(
        self,
        on_change: Callable[[int, Quote], None] | None = None,
        report: Callable[[int, str], None] | None = None,
    ) -> None:
        self.levels = LevelBook()
        self.last_id: int | None = None
        self.figures = DepthFigures()
        self._is_joined = False  # an update has followed the snapshot
        self._waiting: deque[DepthUpdate] = deque()
        self._on_change = on_change
        self._report = report

    def quote(self) -> Quote:
        """Return the best bid and offer. O(1)."""
        return self.levels.quote()

    def apply_snapshot(self, snapshot: DepthSnapshot) -> None:
        """Take a snapshot, and the updates that waited for one."""
        if self.last_id is not None:
            self.figures.spare_snapshot_count += 1
            return
        self.figures.snapshot_count += 1
        self.levels = LevelBook()
        self.last_id = snapshot.last_id
        self._is_joined = False
        self._set_levels(snapshot)
        waiting, self._waiting = self._waiting, deque()
        for update in waiting:
            self.apply_update(update)

    def apply_update(self, update: DepthUpdate) -> None:
        """Take the next update of the stream: apply it, skip it, or find that one is missing."""
        if self.last_id is None:
            self._wait(update)
        elif update.last_id <= self.last_id:
            self.figures.covered_count += 1
        elif update.previous_id == self.last_id or (
            not self._is_joined and update.previous_id < self.last_id
        ):
            self.last_id = update.last_id
            self._is_joined = True
            self.figures.applied_count += 1
            self._set_levels(update)
        else:
            self.figures.gap_count += 1
            self._say(update.line, f"follows update {update.previous_id}, not {self.last_id}")
            self.last_id = None
            self.levels = LevelBook()
            self._wait(update)

    def finish(self) -> None:
        """Count the updates that still wait as lost; the capture has ended."""
        self.figures.lost_count += len(self._waiting)
        self._waiting.clear()

    def _wait(self, update: DepthUpdate) -> None:
        self._waiting.append(update)
        if len(self._waiting) > BUFFER_LENGTH_MAX:
            self._waiting.popleft()
            self.figures.lost_count += 1

    def _set_levels(self, record: DepthSnapshot | DepthUpdate) -> None:
        crossing = self.levels.apply(record.bids, record.asks)
        if crossing:
            self.figures.crossing_count += crossing
            self._say(record.line, f"{crossing} levels would trade with the other side")
        if self._on_change is not None:
            self._on_change(record.last_id, self.quote())

    def _say(self, line: int, text: str) -> None:
        if self._report is not None:
            self._report(line, text)
