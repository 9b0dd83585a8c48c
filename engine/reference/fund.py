"""Limits of the insurance fund, and losses that are shared when it cannot pay."""

from __future__ import annotations

from engine.messages import (
    NONE,
    RATE_SCALE,
    EventKind,
    FundWorkoff,
    InsuranceReason,
    OrderType,
    Side,
    StpMode,
    TimeInForce,
)
from engine.reference.margin import ceil_div, floor_div
from engine.reference.margin_calls import MarginCalls
from engine.reference.sides import signed
from engine.reference.state import Instrument, InsuranceFund, Order, Pool, Position


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
        balance = instrument.insurer.balance
        peaks = self.fund_peaks(instrument.insurer, profile.fund_drawdown_window_ns)
        highest = peaks[0][1] if peaks else balance
        return (highest - balance) * RATE_SCALE > profile.fund_drawdown_limit * highest

    def fund_free(
        self, fund: InsuranceFund, added_to: Instrument | None = None, lots: int = 0,
        value: int = 0,
    ) -> int:
        """Balance of a fund, plus profit, less maintenance margin of its inventory at mark."""
        free = fund.balance
        for instrument in self.instruments:
            if instrument.insurer is not fund or instrument.mark == NONE:
                continue
            quantity, entry_value = instrument.fund.quantity, instrument.fund.entry_value
            if instrument is added_to:
                quantity, entry_value = quantity + lots, entry_value + value
            free += instrument.value(quantity, instrument.mark) - entry_value
            if quantity:
                free -= instrument.schedule.maintenance_margin(
                    instrument.notional(abs(quantity), instrument.mark))
        return free

    def find_help(self, instrument: Instrument, missing: int, account: int) -> bool:
        """Whether a symbol's fund has what it is short of, with help of the pooled one.

        If the profile lets it the pooled fund gives what is missing, all or nothing, as far as
        its own inventory lets it.
        """
        fund, pooled = instrument.insurer, self.assets[instrument.settle].pooled
        if missing <= 0:
            return True
        if not instrument.profile.fund_fallback or fund is pooled or (
                missing > min(pooled.balance, self.fund_free(pooled))):
            return False
        self.change_insurance(pooled, -missing, InsuranceReason.FALLBACK, account)
        self.change_insurance(fund, missing, InsuranceReason.FALLBACK, account)
        return True

    def cover(self, pool: Pool, instrument: Instrument | None) -> None:
        """Pay a deficit that just arose: the symbol's fund, then the pooled one if it may.

        Without a symbol the pooled one alone.
        """
        pooled = self.assets[pool.asset].pooled
        funds = [pooled]
        if instrument is not None and instrument.insurer is not pooled:
            funds = [instrument.insurer, pooled][:1 + instrument.profile.fund_fallback]
        for fund in funds:
            paid = min(-pool.balance, max(0, fund.balance))
            if paid:
                pool.balance += paid
                self.touch(pool)
                self.change_insurance(fund, -paid, InsuranceReason.DEFICIT, pool.account)

    # --- giving back what was taken over ------------------------------------------------

    def note_taken_over(self, instrument: Instrument) -> None:
        """Let a pace be measured anew by what the fund holds now."""
        if instrument.profile.fund_workoff == FundWorkoff.TWAP:
            instrument.workoff.lots = abs(instrument.fund.quantity)

    def reduce_inventory(self, instrument: Instrument) -> None:
        """Offer the fund's inventory to the book at the mark or better, as an immediate order.

        As much of it as the profile lets it. The limit is rounded in the fund's favour: up
        for a sale, down for a purchase.
        """
        held = instrument.fund.quantity
        side = Side.SELL if held > 0 else Side.BUY
        if side is Side.SELL:
            limit = ceil_div(instrument.mark, instrument.marks_per_tick)
        else:
            limit = floor_div(instrument.mark, instrument.marks_per_tick)
        lots = self.lots_to_offer(instrument)
        if limit and lots:
            order = Order(
                0, instrument.index, 0, side, OrderType.LIMIT, limit, lots, lots,
                TimeInForce.IOC, False, False, StpMode.NONE,
            )
            filled, _ = self.sweep(order, limit, liquidation=True)
            if instrument.profile.fund_workoff == FundWorkoff.TWAP:
                instrument.workoff.done += filled

    def lots_to_offer(self, instrument: Instrument) -> int:
        """How much of its inventory the fund may trade now.

        At a pace: a fraction (rounded down, at least one lot) of what it held when it last took
        something over, an interval; intervals are counted from the epoch.
        """
        profile, workoff = instrument.profile, instrument.workoff
        held = abs(instrument.fund.quantity)
        if profile.fund_workoff == FundWorkoff.HOLD:
            return 0
        if profile.fund_workoff == FundWorkoff.IMMEDIATE:
            return held
        workoff.lots = workoff.lots or held
        interval = floor_div(self.ts, profile.fund_workoff_interval_ns)
        if interval != workoff.interval:
            workoff.interval, workoff.done = interval, 0
        most = max(1, floor_div(workoff.lots * profile.fund_workoff_fraction, RATE_SCALE))
        return min(held, max(0, most - workoff.done))

    # --- losses that are shared -----------------------------------------------------------

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
