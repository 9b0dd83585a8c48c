"""Limits of the insurance fund, and losses that are shared when it cannot pay."""

from __future__ import annotations

from engine.messages import NONE, RATE_SCALE, EventKind, Side
from engine.reference.margin import floor_div
from engine.reference.margin_calls import MarginCalls
from engine.reference.sides import signed
from engine.reference.state import Instrument, Pool, Position


class Fund(MarginCalls):
    """What a profile lets the fund take over, and who pays beyond it."""

    def is_within_limits(self, instrument: Instrument, lots: int) -> bool:
        """Whether the fund may take over so many signed lots, as far as its limits go."""
        profile = instrument.profile
        held = abs(instrument.fund.quantity + lots)
        if profile.fund_max_notional != NONE and (
                instrument.notional(held, instrument.mark) > profile.fund_max_notional):
            return False
        return profile.fund_drawdown_limit == NONE or not self.is_drawn_down(instrument)

    def is_drawn_down(self, instrument: Instrument) -> bool:
        """Whether the fund lost more than the limit since its highest balance in the window."""
        profile = instrument.profile
        balance = self.assets[instrument.settle].insurance
        peaks = self.fund_peaks(instrument.settle, profile.fund_drawdown_window_ns)
        highest = peaks[0][1] if peaks else balance
        return (highest - balance) * RATE_SCALE > profile.fund_drawdown_limit * highest

    def socialize(self, pool: Pool, instrument: Instrument, side: Side) -> None:
        """Let the winners on the other side pay a deficit, in proportion to their profit.

        Nobody pays more than the profit, or the equity of its pool. Each share is rounded
        down; what is left goes unit by unit to the largest remainders, ties by account.
        """
        gains = self.gains(instrument, side)
        total = sum(gain for _, gain in gains)
        loss = min(-pool.balance, total)
        if loss == 0:
            return
        shares = [floor_div(loss * gain, total) for _, gain in gains]
        by_remainder = sorted(
            range(len(gains)), key=lambda at: (shares[at] * total - loss * gains[at][1], at))
        for at in by_remainder[:loss - sum(shares)]:
            shares[at] += 1
        for (position, _), share in zip(gains, shares, strict=True):
            if share:
                self.pay(position, share)
                self.emit(
                    EventKind.SOCIALIZED_LOSS, position.account, pool.account,
                    instrument.index, share)
        pool.balance += loss
        self.touch(pool)

    def gains(self, instrument: Instrument, side: Side) -> list[tuple[Position, int]]:
        """Holders of a side (BUY: longs) with a profit, by account, and what they could pay."""
        gains = []
        for position in self.positions_in(instrument):
            if signed(side, 1) * position.quantity <= 0:
                continue
            pool = self.pool_of(position)
            gain = min(self.unrealized_pnl(position), self.measure(pool)[0])
            if gain > 0 and not pool.in_queue:
                gains.append((position, gain))
        return gains

    def pay(self, position: Position, amount: int) -> None:
        pool = self.pool_of(position)
        pool.balance -= amount
        self.touch(pool)
        if pool is position.isolated:
            self.changed_positions.add(position)
