"""Count what a run did, from raw event records, while they stream by.

A crash of 100,000 accounts makes millions of events; nothing here keeps any.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.messages import EVENT_LAYOUTS, EventKind, InsuranceReason

Record = tuple[int, ...]

#: Integers before the payload: kind, seq, ts, cause.
HEADER_WIDTH = 4


def field_at(kind: EventKind, name: str) -> int:
    """Return the place of a payload field in a record.

    Raises
    ------
    ValueError
        The event has no such field.
    """
    return HEADER_WIDTH + [field for field, _ in EVENT_LAYOUTS[kind]].index(name)


_STARTED_ACCOUNT = field_at(EventKind.LIQUIDATION_STARTED, "account")
_STEP_SYMBOL = field_at(EventKind.LIQUIDATION_STEP, "symbol")
_STEP_VALUE = field_at(EventKind.LIQUIDATION_STEP, "filled_value")
_ADL_ACCOUNT = field_at(EventKind.ADL, "account")
_FUND_ASSET = field_at(EventKind.INSURANCE, "asset")
_FUND_DELTA = field_at(EventKind.INSURANCE, "delta")
_FUND_REASON = field_at(EventKind.INSURANCE, "reason")
_CMD = field_at(EventKind.REJECTED, "cmd")
_REASON = field_at(EventKind.REJECTED, "reason")

_KIND_COUNT = 1 + max(EventKind)


def _add_up(
    totals: defaultdict[int, int], keys: npt.NDArray[np.int64], values: npt.NDArray[np.int64]
) -> None:
    for key, value in zip(keys.tolist(), values.tolist(), strict=True):
        totals[key] += value


class Tally:
    """Running totals of a run.

    Attributes
    ----------
    mark_count, trade_count, step_count, takeover_count, adl_count, margin_call_count : int
    breached : set of int
        Accounts with at least one pool that went into liquidation.
    liquidation_count : int
        Pools that went into liquidation; an account may do so more than once.
    deleveraged : set of int
        Accounts that ADL closed something of.
    book_value : dict
        Symbol index → money that liquidation steps traded on the book, in minor units.
    fund_paid, fund_fees : dict
        Asset index → deficits paid by the fund, liquidation fees taken in.
    rejections : dict
        (command, reason) codes → how many.
    """

    def __init__(self) -> None:
        self.mark_count = 0
        self.trade_count = 0
        self.step_count = 0
        self.takeover_count = 0
        self.adl_count = 0
        self.margin_call_count = 0
        self.liquidation_count = 0
        self.breached: set[int] = set()
        self.deleveraged: set[int] = set()
        self.book_value: defaultdict[int, int] = defaultdict(int)
        self.fund_paid: defaultdict[int, int] = defaultdict(int)
        self.fund_fees: defaultdict[int, int] = defaultdict(int)
        self.rejections: defaultdict[tuple[int, int], int] = defaultdict(int)
        self._handlers: dict[int, Callable[[Record], Any]] = {
            EventKind.MARK: self.on_mark,
            EventKind.TRADE: self.on_trade,
            EventKind.MARGIN_CALL: self.on_margin_call,
            EventKind.LIQUIDATION_STARTED: self.on_started,
            EventKind.LIQUIDATION_STEP: self.on_step,
            EventKind.LIQUIDATION_TAKEOVER: self.on_takeover,
            EventKind.INSURANCE: self.on_insurance,
            EventKind.ADL: self.on_adl,
            EventKind.REJECTED: self.on_rejected,
        }

    def add(self, records: Iterable[Record]) -> None:
        """Count the records of one or more commands."""
        handlers = self._handlers
        for record in records:
            handler = handlers.get(record[0])
            if handler is not None:
                handler(record)

    def add_array(self, rows: npt.NDArray[np.int64]) -> None:
        """Count the records of many commands, as `Exchange.drain_array` gives them.

        The same totals as by `add`; the handlers of single records are not asked.
        """
        kinds = rows[:, 0]
        counts = np.bincount(kinds, minlength=_KIND_COUNT).tolist()
        self.mark_count += counts[EventKind.MARK]
        self.trade_count += counts[EventKind.TRADE]
        self.margin_call_count += counts[EventKind.MARGIN_CALL]
        self.takeover_count += counts[EventKind.LIQUIDATION_TAKEOVER]
        if counts[EventKind.LIQUIDATION_STARTED]:
            started = rows[kinds == EventKind.LIQUIDATION_STARTED]
            self.liquidation_count += len(started)
            self.breached.update(started[:, _STARTED_ACCOUNT].tolist())
        if counts[EventKind.ADL]:
            closed = rows[kinds == EventKind.ADL]
            self.adl_count += len(closed)
            self.deleveraged.update(closed[:, _ADL_ACCOUNT].tolist())
        if counts[EventKind.LIQUIDATION_STEP]:
            steps = rows[kinds == EventKind.LIQUIDATION_STEP]
            self.step_count += len(steps)
            _add_up(self.book_value, steps[:, _STEP_SYMBOL], np.abs(steps[:, _STEP_VALUE]))
        if counts[EventKind.INSURANCE]:
            moves = rows[kinds == EventKind.INSURANCE]
            for total, reason, sign in (
                (self.fund_paid, InsuranceReason.DEFICIT, -1),
                (self.fund_fees, InsuranceReason.LIQUIDATION_FEE, 1),
            ):
                chosen = moves[moves[:, _FUND_REASON] == reason]
                _add_up(total, chosen[:, _FUND_ASSET], sign * chosen[:, _FUND_DELTA])
        if counts[EventKind.REJECTED]:
            for record in rows[kinds == EventKind.REJECTED].tolist():
                self.rejections[record[_CMD], record[_REASON]] += 1

    def on_mark(self, record: Record) -> None:
        self.mark_count += 1

    def on_trade(self, record: Record) -> None:
        self.trade_count += 1

    def on_margin_call(self, record: Record) -> None:
        self.margin_call_count += 1

    def on_started(self, record: Record) -> None:
        self.liquidation_count += 1
        self.breached.add(record[_STARTED_ACCOUNT])

    def on_step(self, record: Record) -> None:
        self.step_count += 1
        self.book_value[record[_STEP_SYMBOL]] += abs(record[_STEP_VALUE])

    def on_takeover(self, record: Record) -> None:
        self.takeover_count += 1

    def on_insurance(self, record: Record) -> None:
        reason = record[_FUND_REASON]
        if reason == InsuranceReason.DEFICIT:
            self.fund_paid[record[_FUND_ASSET]] -= record[_FUND_DELTA]
        elif reason == InsuranceReason.LIQUIDATION_FEE:
            self.fund_fees[record[_FUND_ASSET]] += record[_FUND_DELTA]

    def on_adl(self, record: Record) -> None:
        self.adl_count += 1
        self.deleveraged.add(record[_ADL_ACCOUNT])

    def on_rejected(self, record: Record) -> None:
        self.rejections[record[_CMD], record[_REASON]] += 1
