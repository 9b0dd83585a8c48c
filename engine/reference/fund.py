"""Limits of the insurance fund, and losses that are shared when it cannot pay."""

from __future__ import annotations

from engine.messages import (
    MONEY_MAX,
    NONE,
    RATE_SCALE,
    CancelReason,
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
from engine.reference.matching import PACED
from engine.reference.sides import signed
from engine.reference.state import (
    NO_LIQUIDATION,
    Instrument,
    InsuranceFund,
    Order,
    Pool,
    Position,
)


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
        if instrument.profile.fund_workoff in PACED:
            instrument.workoff.lots = abs(instrument.fund.quantity)

    def reduce_inventory(self, instrument: Instrument) -> None:
        """Offer the fund's inventory to the book at the mark or better, as an immediate order.

        As much of it as the profile lets it. The limit is rounded in the fund's favour: up
        for a sale, down for a purchase.
        """
        if instrument.profile.fund_workoff == FundWorkoff.PASSIVE:
            self.rest_inventory(instrument)
            return
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
            self.sweep(order, limit, liquidation=True)

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
        interval = self.workoff_interval(instrument)
        if interval != workoff.interval:
            workoff.interval, workoff.done = interval, 0
        most = max(1, floor_div(workoff.lots * profile.fund_workoff_fraction, RATE_SCALE))
        return min(held, max(0, most - workoff.done))

    def workoff_interval(self, instrument: Instrument) -> int:
        """Number of the interval under way, since the epoch."""
        return floor_div(self.ts, instrument.profile.fund_workoff_interval_ns)

    # --- resting orders of the fund -------------------------------------------------------

    def rest_inventory(self, instrument: Instrument) -> None:
        """Let the fund's inventory rest in the book: one order, post-only and reduce-only.

        One that rests is replaced when the mark has moved far enough since it was priced, or
        in another interval; where the new one would be the same it stays.
        """
        workoff, offer = instrument.workoff, instrument.offer
        if offer is not None and self.workoff_interval(instrument) == workoff.interval and (
                abs(instrument.mark - workoff.mark) * RATE_SCALE
                <= instrument.profile.fund_workoff_reprice * workoff.mark):
            return
        side = Side.SELL if instrument.fund.quantity > 0 else Side.BUY
        lots = self.lots_to_offer(instrument)
        price = self.offer_price(instrument, side)
        marks = price * instrument.marks_per_tick
        if not (0 < marks <= MONEY_MAX and self.fits(instrument, 0, marks)):
            lots = 0
        workoff.mark = instrument.mark
        if offer is not None:
            if (offer.price, offer.leaves) == (price, lots):
                return
            self.cancel_order(offer, CancelReason.WITHDRAWN)
        if lots:
            order = Order(
                0, instrument.index, self.arrivals + 1, side, OrderType.LIMIT, price, lots, lots,
                TimeInForce.GTC, True, True, StpMode.NONE,
            )
            self.accept_order(order)
            self.rest(order)
            self.order_changed(order)
            instrument.offer = order

    @staticmethod
    def offer_price(instrument: Instrument, side: Side) -> int:
        """Price in ticks of a resting order: so far from the mark, short of the other side.

        Rounded in the fund's favour: up for a sale, down for a purchase, 0: there is none.
        """
        scale = RATE_SCALE * instrument.marks_per_tick
        offset = instrument.profile.fund_workoff_offset
        if side is Side.SELL:
            price = ceil_div(instrument.mark * (RATE_SCALE + offset), scale)
            return max(price, instrument.book.best_price(Side.BUY) + 1)
        price = floor_div(instrument.mark * (RATE_SCALE - offset), scale)
        best = instrument.book.best_price(Side.SELL)
        return price if best == NONE else min(price, best - 1)

    @staticmethod
    def liquidates(instrument: Instrument) -> bool:
        """Whether positions in a symbol are liquidated now, and the fund's inventory sold."""
        return instrument.halt not in NO_LIQUIDATION and not instrument.pause

    def withdraw_offer(self, instrument: Instrument, reason: CancelReason) -> None:
        if instrument.offer is not None:
            self.cancel_order(instrument.offer, reason)

    def review_offers(self) -> None:
        """Withdraw resting orders that the mark has passed, or of symbols that pause."""
        for instrument in self.instruments:
            offer = instrument.offer
            if offer is not None and (
                    not self.liquidates(instrument)
                    or instrument.is_losing(offer.side, offer.price)):
                self.cancel_order(offer, CancelReason.WITHDRAWN)

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
