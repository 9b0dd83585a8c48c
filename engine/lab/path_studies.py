"""Studies on a recorded or remembered path of prices, and how a path is read from a feed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from engine.errors import InputError
from engine.feeds import open_feed
from engine.lab.market import Floats
from engine.lab.scenario import PopulationSpec, Scenario, SymbolSpec
from engine.lab.study import Study

#: Index of the crash of 10 October 2025 at some minutes, seconds from 20:55 UTC: five figures
#: of a public one-minute series of marks, the low of 21:20 among them, and lines between.
OCTOBER_10 = ((0.0, 115_341.0), (300.0, 114_241.0), (900.0, 114_416.0), (1_500.0, 102_497.5),
              (2_700.0, 111_654.0))
_SECOND = 10**9

STUDIES = (
    Study(
        "oct10", "The path of 10 October 2025",
        "The index follows 45 minutes of that night at two seconds a step, with betas of 1, 1.3 "
        "and 2, and a synthetic population of which the median leverage is varied. "
        "What positions were open is not known, so amounts cannot be compared with that night's; "
        "shapes can: by one vendor's count the busiest minute had 0.32 of the liquidations. The "
        "path has the real liquidations in it, and what a run adds comes on top. "
        "Without --tape the path is five figures of 20:55 to 21:40 UTC with straight lines "
        "between.",
        Scenario(
            name="oct10", duration_s=2_700, step_s=2, tape=OCTOBER_10, shocks=(),
            symbols=(SymbolSpec("BTC", "115000", 1.0, 3.0), SymbolSpec("ETH", "4100", 1.3, 2.0),
                     SymbolSpec("ALT", "25", 2.0, 1.0)),
            population=replace(PopulationSpec(), accounts=6_000), insurance=1_000_000.0),
        {"population.leverage_median": [3.0, 6.0, 12.0]},
        (("liquidated_share", "share of open notional closed"),
         ("peak_minute_share", "share of the busiest minute"),
         ("overshoot_twin", "added to the fall"), ("reproduction_twin", "R, counterfactual"),
         ("adl_accounts", "accounts deleveraged"))),
)


def with_tape(study: Study, argument: str) -> Study:
    """Return a study whose index follows a recorded path.

    Parameters
    ----------
    study : Study
    argument : str
        A market feed, as `engine.feeds` reads it; its first symbol counts.

    Notes
    -----
    Of the feed the window of the scenario's length is taken in which the price falls most from
    its start.

    Raises
    ------
    InputError
        A feed that cannot be read, or is shorter than the scenario.
    """
    seconds, prices, symbol = _read(argument)
    length = study.scenario.duration_s
    if not len(seconds) or seconds[-1] - seconds[0] < length:
        raise InputError(f"{argument}: shorter than the {length} s of the study")
    first = _steepest(seconds, prices, length)
    chosen = slice(first, np.searchsorted(seconds, seconds[first] + length, "right"))
    tape = tuple(zip((seconds[chosen] - seconds[first]).tolist(), prices[chosen].tolist(),
                     strict=True))
    start = datetime.fromtimestamp(seconds[first], UTC)
    text = (f"{study.text} Here it is of {open_feed(argument).label}, {symbol}, from "
            f"{start:%Y-%m-%d %H:%M:%S} UTC.")
    return replace(study, text=text, scenario=study.scenario.replaced("tape", tape))


def _read(argument: str) -> tuple[Floats, Floats, str]:
    """Return the last price of each second that has one, and whose it is."""
    last: dict[int, float] = {}
    chosen = ""
    for ts_ns, rows in open_feed(argument).steps():
        for symbol, mark, _ in rows:
            chosen = chosen or symbol
            if symbol == chosen:
                last[ts_ns // _SECOND] = float(mark)
    return np.array(list(last), np.float64), np.array(list(last.values())), chosen


def _steepest(seconds: Floats, prices: Floats, length: float) -> int:
    """Return where the window begins whose low is lowest against its first price.

    Examples
    --------
    >>> _steepest(np.arange(5.0), np.array([9.0, 10.0, 8.0, 9.0, 9.0]), 2.0)
    1
    """
    ends = np.searchsorted(seconds, seconds + length, "right")
    falls = [prices[at:end].min() / prices[at] for at, end in enumerate(ends)
             if seconds[-1] - seconds[at] >= length]
    return int(np.argmin(falls))
