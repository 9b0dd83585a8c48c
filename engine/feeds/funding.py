"""Which records settle funding, and at what rate.

A record of a settlement says so itself. A ticker tells the rate to come and when it will be
settled: once it names a later time than before, the one before has passed, at the rate told last.
"""

from __future__ import annotations

from engine.feeds.records import Funding, Record, Ticker


class FundingClock:
    """Turns records into settlements."""

    def __init__(self) -> None:
        self._coming: dict[str, tuple[int, str]] = {}
        self._settled_by_records: set[str] = set()

    def rate_of(self, record: Record) -> str | None:
        """Return the rate that is settled for the record's symbol now, or None."""
        if type(record) is Funding:
            self._settled_by_records.add(record.symbol)
            return record.rate
        if type(record) is not Ticker or record.funding_ns is None or record.funding_rate is None:
            return None
        symbol = record.symbol
        before = self._coming.get(symbol)
        self._coming[symbol] = (record.funding_ns, record.funding_rate)
        # Where settlements are recorded too, they are what counts.
        if before is None or symbol in self._settled_by_records:
            return None
        has_passed = record.funding_ns > before[0] and record.ts_ns >= before[0]
        return before[1] if has_passed else None
