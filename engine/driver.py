"""Apply feed steps to an exchange: the one road for every kind of replay.

`engine serve`, `engine replay --in-process` and the demo share this code, so the
same feed gives the same state whether it came over ZeroMQ, in which batches, or
from a file in the same process.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from engine.errors import InputError
from engine.feeds.steps import Step

if TYPE_CHECKING:
    from engine import Exchange


class MarkDriver:
    """Turns steps into `marks` commands of an exchange.

    Parameters
    ----------
    exchange : engine.Exchange
        With its instruments declared.

    Notes
    -----
    A step becomes one command, whole: all its prices first, then one evaluation.
    `feed_seq` is the number of the step, not of the message that carried it.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._is_first = True
        instruments = {name: exchange.instrument(name) for name in exchange.symbols}

        # Trade prices repeat; a decimal division for each of them is worth saving.
        @lru_cache(maxsize=1 << 16)
        def round_mark(symbol: str, price: str) -> str:
            instrument = instruments.get(symbol)
            if instrument is None:
                known = ", ".join(instruments) or "none"
                raise InputError(
                    f"the feed carries {symbol}, which is no instrument here "
                    f"(instruments: {known}); rename it with --map {symbol}=NAME"
                )
            return instrument.round_mark(price)

        self._round_mark = round_mark

    def apply(self, step_number: int, step: Step) -> None:
        """Apply one step; its events wait in the exchange to be drained.

        Parameters
        ----------
        step_number : int
            From 1; the `feed_seq` of its marks.
        step : Step

        Raises
        ------
        InputError
            A symbol that the exchange does not know, or a feed that starts
            before the exchange's time.
        """
        ts_ns, rows = step
        if self._is_first:
            self._is_first = False
            if ts_ns < self._exchange.ts:
                raise InputError(
                    f"the feed starts at {ts_ns} ns, before the exchange's time "
                    f"{self._exchange.ts} ns"
                )
        round_mark = self._round_mark
        marks = [
            (
                symbol,
                round_mark(symbol, mark),
                None if index is None else round_mark(symbol, index),
                step_number,
            )
            for symbol, mark, index in rows
        ]
        self._exchange.apply_marks(marks, ts=ts_ns)
