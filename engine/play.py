"""Play moments of a feed into an exchange: marks and funding, packed where nobody waits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.driver import MarkDriver
from engine.exchange import Exchange
from engine.feeds import Moment
from engine.messages import NONE, Command
from engine.server import RunFigures
from engine.tally import Tally
from engine.units import RATE

Events = npt.NDArray[np.int64]
_FUNDING = int(Command.FUNDING)
#: Moments that are taken at once at most, where a feed is played flat out.
TOGETHER = 256


@dataclass
class FundingCount:
    """Settlements of a feed.

    Attributes
    ----------
    applied, left_out : int
        Left out are those of symbols that are no instruments.
    """

    applied: int = 0
    left_out: int = 0

    def rows_of(self, exchange: Exchange, moment: Moment) -> list[tuple[int, ...]]:
        """Return packed `funding` commands of a moment, and count them.

        Rounding
            Rates to a multiple of 0.00000001, to the nearest, ties to even.
        """
        rows: list[tuple[int, ...]] = []
        for symbol, rate in moment.fundings:
            index = exchange.symbol_index(symbol)
            if index < 0:
                self.left_out += 1
                continue
            self.applied += 1
            rows.append((
                _FUNDING, moment.ts_ns, NONE, index, NONE, NONE, NONE, RATE.nearest(rate), NONE,
                NONE, 0, NONE))
        return rows

    def settle(self, exchange: Exchange, moment: Moment) -> None:
        """Settle the funding of a moment; the events are left to be drained."""
        if moment.fundings and (rows := self.rows_of(exchange, moment)):
            exchange.submit_many(np.array(rows, np.int64))

    def rows(self) -> list[tuple[str, str]]:
        """Return them as `(name, value)` for a summary; nothing where there were none."""
        rows = [("fundings", str(self.applied)), ("fundings_left_out", str(self.left_out))]
        return [row for row in rows if row[1] != "0"]


def run_moments(
    exchange: Exchange, moments: Iterable[Moment], on_progress: Callable[[Tally], None],
    together: int = 1, on_events: Callable[[Events], None] | None = None,
) -> tuple[RunFigures, FundingCount]:
    """Apply moments in order and count what happens: the marks of each, then its funding.

    Parameters
    ----------
    exchange : Exchange
    moments : iterable of Moment
    on_progress : callable
        Called with the running tally now and then.
    together : int
        So many may be taken before the first is applied: packed into one call, they come to
        the same state.
    on_events : callable, optional
        Takes the records of each call as an array.

    Raises
    ------
    InputError
        Marks of a symbol that is no instrument.
    """
    driver, figures, fundings = MarkDriver(exchange), RunFigures(Tally()), FundingCount()
    exchange.discard_events()
    waiting: list[tuple[int, ...]] = []

    def apply() -> None:
        if waiting:
            exchange.submit_many(np.array(waiting, np.int64))
            waiting.clear()
        records = exchange.drain_array()
        figures.tally.add_array(records)
        if on_events is not None:
            on_events(records)
        on_progress(figures.tally)

    started = 0.0
    for moment in moments:
        started = started or time.monotonic()
        figures.step_count += 1
        step = (moment.ts_ns, moment.rows)
        if moment.rows:
            driver.check_start(moment.ts_ns)
        row = driver.packed(figures.step_count, step)
        if row is not None:
            waiting.append(row)
        elif moment.rows:
            apply()
            driver.apply(figures.step_count, step)
        if moment.fundings:
            waiting.extend(fundings.rows_of(exchange, moment))
        if len(waiting) >= together:
            apply()
    apply()
    figures.elapsed_s = time.monotonic() - started if started else 0.0
    return figures, fundings
