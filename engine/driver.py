"""Apply feed steps to an exchange: the one road for every kind of replay.

`engine serve`, `engine replay --in-process` and the demo share this code, so the
same feed gives the same state whether it came over ZeroMQ, in which batches, or
from a file in the same process.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from engine.errors import InputError
from engine.feeds.steps import Row, Step
from engine.messages import NONE, Command

if TYPE_CHECKING:
    from engine import Exchange

_MARK = int(Command.MARK)


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

        def likely(symbol: str) -> str:
            from engine.listings import Spellings

            try:
                return Spellings.of(exchange).find(symbol)
            except InputError:
                return "NAME"

        # Trade prices repeat; a decimal division for each of them is worth saving.
        @lru_cache(maxsize=1 << 16)
        def round_mark(symbol: str, price: str) -> str:
            instrument = instruments.get(symbol)
            if instrument is None:
                known = ", ".join(instruments) or "none"
                raise InputError(
                    f"the feed carries {symbol}, which is no instrument here "
                    f"(instruments: {known}); rename it with --map {symbol}={likely(symbol)}"
                )
            return instrument.round_mark(price)

        @lru_cache(maxsize=1 << 16)
        def mark_row(symbol: str, price: str) -> tuple[int, int]:
            text = round_mark(symbol, price)
            return instruments[symbol].index, instruments[symbol].mark.units(text)

        self._round_mark = round_mark
        self._mark_row = mark_row

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
        self.check_start(ts_ns)
        self._exchange.apply_marks(self._marks(step_number, rows), ts=ts_ns)

    def check_start(self, ts_ns: int) -> None:
        """Check the time of the first step; `apply` does it too.

        Parameters
        ----------
        ts_ns : int
            Of any step: those after the first are not looked at.

        Raises
        ------
        InputError
            The feed starts before the exchange's time.
        """
        if self._is_first:
            self._is_first = False
            if ts_ns < self._exchange.ts:
                raise InputError(
                    f"the feed starts at {ts_ns} ns, before the exchange's time "
                    f"{self._exchange.ts} ns"
                )

    def command(self, step_number: int, step: Step, *, has_time: bool = True) -> dict[str, Any]:
        """Return the command that `apply` would be, for a journal.

        Parameters
        ----------
        step_number : int
        step : Step
        has_time : bool
            Whether the feed's time goes into it.

        Raises
        ------
        InputError
            A symbol that the exchange does not know.
        """
        ts_ns, rows = step
        marks = [
            {"symbol": symbol, "mark_price": mark, "feed_seq": number}
            | ({} if index is None else {"index_price": index})
            for symbol, mark, index, number in self._marks(step_number, rows)
        ]
        command: dict[str, Any] = {"cmd": "marks", "marks": marks}
        return {**command, "ts": ts_ns} if has_time else command

    def packed(
        self, step_number: int, step: Step, *, has_time: bool = True
    ) -> tuple[int, ...] | None:
        """Return a step of one mark as a packed `mark`, None of any other step.

        Parameters
        ----------
        step_number : int
        step : Step
        has_time : bool
            Whether the feed's time goes into it.

        Returns
        -------
        tuple of int or None
            In the order of `engine.messages.COMMAND_COLUMNS`: the index price is `quantity`,
            the number of the step `order_id`.

        Raises
        ------
        InputError
            A symbol that the exchange does not know.
        """
        ts_ns, rows = step
        if len(rows) != 1:
            return None
        symbol, mark, index = rows[0]
        at, units = self._mark_row(symbol, mark)
        index_units = NONE if index is None else self._mark_row(symbol, index)[1]
        return (
            _MARK, ts_ns if has_time else NONE, NONE, at, step_number, NONE, NONE,
            index_units, units, NONE, 0, NONE)

    def _marks(
        self, step_number: int, rows: Sequence[Row]
    ) -> list[tuple[str, str, str | None, int]]:
        round_mark = self._round_mark
        return [
            (
                symbol,
                round_mark(symbol, mark),
                None if index is None else round_mark(symbol, index),
                step_number,
            )
            for symbol, mark, index in rows
        ]
