"""What an exchange looks like now, read now and then by its own thread.

Reading costs time in which nothing is served, and some of it grows with the number of accounts.
So what was dear is read again only after a multiple of what it cost.
"""

from __future__ import annotations

import os
import time
from typing import Any

from engine.exchange import Exchange
from engine.serving.figures import Figures
from engine.serving.snapshots import Snapshots

#: Shortest time between two readings, s; and as a multiple of what the last one took.
_INTERVAL_S, _INTERVAL_TIMES = 1.0, 100.0
#: The same for the totals, which visit every account.
_TOTALS_INTERVAL_S, _TOTALS_INTERVAL_TIMES = 1.0, 1000.0


class Gauges:
    """Reads an exchange into `Figures.gauges`.

    Parameters
    ----------
    exchange : engine.Exchange
    figures : Figures
    snapshots : Snapshots, optional
        To tell the age of the newest.
    """

    def __init__(
        self, exchange: Exchange, figures: Figures, snapshots: Snapshots | None = None
    ) -> None:
        self._exchange = exchange
        self._figures = figures
        self._snapshots = snapshots
        self._due_at = self._totals_due_at = 0.0
        self._totals: dict[str, str] = {}

    def refresh(self, now_s: float) -> None:
        """Read what is due to be read again.

        Parameters
        ----------
        now_s : float
            Monotonic clock.
        """
        if now_s < self._due_at:
            return
        if now_s >= self._totals_due_at:
            assets = self._exchange.totals()["assets"]
            self._totals = {name: terms["drift"] for name, terms in assets.items()}
            ended = time.monotonic()
            self._totals_due_at = ended + max(
                _TOTALS_INTERVAL_S, _TOTALS_INTERVAL_TIMES * (ended - now_s))
        began = time.monotonic()
        self._figures.gauges = self._read()
        ended = time.monotonic()
        self._due_at = ended + max(_INTERVAL_S, _INTERVAL_TIMES * (ended - began))

    def _read(self) -> dict[str, Any]:
        exchange = self._exchange
        insurance = exchange.query({"query": "insurance"})
        found = {
            "seq": exchange.seq, "queue_depth": len(exchange.core.queue_view()),
            "funds": insurance["funds"], "drift": self._totals,
            "symbols": [each.symbol for each in exchange.instruments_by_index],
            "snapshot_seq": None, "snapshot_written_ns": None,
        }
        if self._snapshots is not None and (seqs := self._snapshots.seqs()):
            try:
                written = os.stat(self._snapshots.path(seqs[-1])).st_mtime_ns
                found |= {"snapshot_seq": seqs[-1], "snapshot_written_ns": written}
            except OSError:
                pass  # removed between two looks
        return found
