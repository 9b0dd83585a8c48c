"""What the report shows over time, collected while the events stream by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from engine.demo.market import Market
from engine.messages import EventKind, Side
from engine.tally import Record, Tally, field_at

#: Columns of every chart.
BUCKET_COUNT = 600

_MARK_SYMBOL = field_at(EventKind.MARK, "symbol")
_MARK_PRICE = field_at(EventKind.MARK, "mark_price")
_STEP_SYMBOL = field_at(EventKind.LIQUIDATION_STEP, "symbol")
_STEP_SIDE = field_at(EventKind.LIQUIDATION_STEP, "side")
_STEP_VALUE = field_at(EventKind.LIQUIDATION_STEP, "filled_value")
_STEP_TIER_FROM = field_at(EventKind.LIQUIDATION_STEP, "tier_from")
_TAKEN_SYMBOL = field_at(EventKind.LIQUIDATION_TAKEOVER, "symbol")
_TAKEN_SIDE = field_at(EventKind.LIQUIDATION_TAKEOVER, "side")
_TAKEN_LOTS = field_at(EventKind.LIQUIDATION_TAKEOVER, "quantity")
_TAKEN_PRICE = field_at(EventKind.LIQUIDATION_TAKEOVER, "price")
_ADL_SYMBOL = field_at(EventKind.ADL, "symbol")
_ADL_SIDE = field_at(EventKind.ADL, "side")
_ADL_LOTS = field_at(EventKind.ADL, "quantity")
_ADL_PRICE = field_at(EventKind.ADL, "price")
_FUND_BALANCE = field_at(EventKind.INSURANCE, "balance")


@dataclass
class Bucket:
    """One column of the charts; money in minor units.

    Attributes
    ----------
    low_marks, last_marks : dict
        Symbol index → lowest and last mark, in mark ticks.
    margin_calls, started : int
    long_steps, short_steps : int
        Liquidation steps that closed longs and shorts.
    long_value, short_value : dict
        Route (`book`, `fund`, `adl`) → value closed of longs and shorts.
    fund_balance, fund_equity : int or None
        At the end of the bucket; equity is with the fund's positions at mark.
    """

    low_marks: dict[int, int] = field(default_factory=dict)
    last_marks: dict[int, int] = field(default_factory=dict)
    margin_calls: int = 0
    started: int = 0
    long_steps: int = 0
    short_steps: int = 0
    long_value: dict[str, int] = field(default_factory=dict)
    short_value: dict[str, int] = field(default_factory=dict)
    adl_count: int = 0
    fund_balance: int | None = None
    fund_equity: int | None = None


class Collector(Tally):
    """A tally that also keeps a time line.

    Parameters
    ----------
    markets : sequence of Market
        In the order of the exchange's symbols.
    first_ns, last_ns : int
        Span of the feed.

    Attributes
    ----------
    buckets : list of Bucket
    closed_value : dict
        Route → value closed, in minor units.
    tier_step_count : int
        Steps that began above the lowest tier.
    fund_balance : int
    """

    def __init__(self, markets: Sequence[Market], first_ns: int, last_ns: int) -> None:
        super().__init__()
        self._lot_values = [market.lot_value_minor for market in markets]
        self._first_ns = first_ns
        self._span_ns = last_ns - first_ns + 1
        self.buckets = [Bucket() for _ in range(BUCKET_COUNT)]
        self.closed_value = {"book": 0, "fund": 0, "adl": 0}
        self.tier_step_count = 0
        self.fund_balance = 0
        self._bucket = self.buckets[0]

    def bucket_at(self, ts_ns: int) -> int:
        """Return the bucket of an instant, and collect into it from now on."""
        at = (ts_ns - self._first_ns) * BUCKET_COUNT // self._span_ns
        at = min(max(at, 0), BUCKET_COUNT - 1)
        self._bucket = self.buckets[at]
        return at

    def bucket_start_ns(self, at: int) -> int:
        """Return the first instant of a bucket."""
        return self._first_ns + at * self._span_ns // BUCKET_COUNT

    def on_mark(self, record: Record) -> None:
        self.mark_count += 1
        symbol, mark = record[_MARK_SYMBOL], record[_MARK_PRICE]
        bucket = self._bucket
        bucket.last_marks[symbol] = mark
        low = bucket.low_marks.get(symbol)
        if low is None or mark < low:
            bucket.low_marks[symbol] = mark

    def on_margin_call(self, record: Record) -> None:
        super().on_margin_call(record)
        self._bucket.margin_calls += 1

    def on_started(self, record: Record) -> None:
        super().on_started(record)
        self._bucket.started += 1

    def on_step(self, record: Record) -> None:
        super().on_step(record)
        # A sale closes a long.
        if record[_STEP_SIDE] == Side.SELL:
            self._bucket.long_steps += 1
        else:
            self._bucket.short_steps += 1
        self.tier_step_count += record[_STEP_TIER_FROM] > 1
        value = abs(record[_STEP_VALUE])
        if value:
            self._close("book", record[_STEP_SIDE], value)

    def on_takeover(self, record: Record) -> None:
        super().on_takeover(record)
        value = record[_TAKEN_LOTS] * record[_TAKEN_PRICE] * self._lot_values[record[_TAKEN_SYMBOL]]
        self._close("fund", record[_TAKEN_SIDE], value)

    def on_adl(self, record: Record) -> None:
        super().on_adl(record)
        self._bucket.adl_count += 1
        value = record[_ADL_LOTS] * record[_ADL_PRICE] * self._lot_values[record[_ADL_SYMBOL]]
        # The event's side is the winner's: who buys back a short stands against a long's close.
        side = Side.SELL if record[_ADL_SIDE] == Side.BUY else Side.BUY
        self._close("adl", side, value)

    def on_insurance(self, record: Record) -> None:
        super().on_insurance(record)
        self.fund_balance = record[_FUND_BALANCE]

    def _close(self, route: str, side: int, value: int) -> None:
        bucket = self._bucket
        closed = bucket.long_value if side == Side.SELL else bucket.short_value
        closed[route] = closed.get(route, 0) + value
        self.closed_value[route] += value

