"""After every command: margin calls, the liquidation queue, fund, auto-deleveraging.

The reference finds breaches by looking at every pool, every time.
"""

from __future__ import annotations

from itertools import pairwise

from engine.messages import (
    MONEY_MAX,
    NONE,
    RATE_SCALE,
    AdlAllocation,
    AdlPrice,
    BackstopUse,
    CancelReason,
    ClosePolicy,
    EventKind,
    InsuranceReason,
    LiquidationOutcome,
    OrderType,
    Side,
    StpMode,
    Surplus,
    TimeInForce,
    Unfilled,
)
from engine.reference.closing import Closing, Plan
from engine.reference.margin import Urgency, ceil_div, floor_div, urgency
from engine.reference.policy import adl_score, allocate, is_due, is_healthy
from engine.reference.sides import signed
from engine.reference.state import (
    RETRIES_PER_COMMAND,
    Instrument,
    Order,
    Pool,
    Position,
)


class Liquidation(Closing):
    """Matching with the risk rules on top: what happens to pools that have lost their margin."""

    def work_off_queue(self) -> None:
        self.evaluate_all()
        while True:
            ready = [
                pool for pool in self.all_pools()
                if pool.in_queue and not pool.is_waiting and not pool.is_postponed
            ]
            if not ready:
                break
            self.work(min(ready, key=self.place_in_queue))
            self.evaluate_all()

    def begin_turns(self) -> None:
        """Let bounded steps begin anew, and those go on that were put off."""
        for instrument in self.instruments:
            instrument.steps_taken = 0
        for pool in self.all_pools():
            pool.is_postponed = False

    def urgency_of(self, pool: Pool) -> Urgency:
        return urgency(*self.measure(pool), pool.account, pool.asset, pool.symbol, pool.leg)

    def place_in_queue(self, pool: Pool) -> tuple[int, *Urgency]:
        """Those whose latest bounded step is longest ago come first; then the worst."""
        return (pool.turn, *self.urgency_of(pool))

    def is_pool_due(self, pool: Pool) -> bool:
        return is_due(*self.measure(pool), self.ruling_profile(pool))

    def is_pool_healthy(self, pool: Pool) -> bool:
        """Whether a pool with positions may leave the queue."""
        return is_healthy(*self.measure(pool), self.ruling_profile(pool))

    def retry_waiting(self, most: int = RETRIES_PER_COMMAND) -> None:
        """Let waiting pools be looked at again, those that have waited longest first."""
        for pool in self.waiting[:most]:
            self.stop_waiting(pool)

    def retry_all(self) -> None:
        self.retry_waiting(len(self.waiting))

    # --- evaluation -------------------------------------------------------------------

    def evaluate_all(self) -> None:
        """Margin calls, breaches and deficits of all pools outside the queue, worst first.

        In rounds: everything is measured before anything is done about it, and pools
        that a round touched are looked at in the next.
        """
        while True:
            for pool in list(self.waiting):
                if self.is_pool_healthy(pool) or (
                        pool.is_patient and self.measure(pool)[0] <= 0):
                    self.stop_waiting(pool)
            touched, self.pending = self.pending, set()
            pools = [pool for pool in self.all_pools() if not pool.in_queue]
            pools.sort(key=self.urgency_of)
            measured = [(pool, *self.measure(pool)) for pool in pools]
            for pool, equity, maintenance in measured:
                if self.convert(pool):
                    continue  # it is looked at anew
                if self.positions_of(pool):
                    self.evaluate(pool, equity, maintenance)
                else:
                    self.set_call_level(pool, 0, equity, maintenance)
                    if pool in touched:
                        self.clear_flat(pool)
            if not self.pending:
                break

    def evaluate(self, pool: Pool, equity: int, maintenance: int) -> None:
        self.follow_levels(pool, equity, maintenance)
        level = self.level_of(pool, equity, maintenance)
        self.set_call_level(pool, level, equity, maintenance)
        is_pool_due = is_due(equity, maintenance, self.ruling_profile(pool))
        if is_pool_due and not self.top_up(pool, equity, maintenance):
            pool.in_queue = True
            pool.steps = 0
            pool.turn = self.turns
            self.emit(
                EventKind.LIQUIDATION_STARTED, pool.account, pool.asset, pool.symbol, equity,
                maintenance, self.leg_shown(pool),
            )
            self.cancel_pool_orders(pool)

    def top_up(self, pool: Pool, equity: int, maintenance: int) -> bool:
        """Save an isolated position that is due with money of its wallet, if that does it.

        Up to its initial margin, as far as what may be withdrawn goes.
        """
        if pool.symbol == NONE:
            return False
        position = self.accounts[pool.account].positions[pool.symbol, pool.leg]
        wallet = self.wallet_of(position)
        if not position.auto_top_up or wallet.in_queue:
            return False
        amount = min(self.withdrawable(wallet), self.initial_margin(position) - equity)
        if is_due(equity + amount, maintenance, self.ruling_profile(pool)):
            return False
        self.move_to_isolated(position, amount)
        self.emit(EventKind.AUTO_TOP_UP, pool.account, pool.symbol, amount, pool.leg)
        return True

    def cancel_pool_orders(self, pool: Pool) -> None:
        """Cancel the orders of a pool, and for a wallet those that would draw on it."""
        positions = self.accounts[pool.account].positions
        for key in sorted(positions):
            position = positions[key]
            is_own = self.pool_of(position) is pool
            if is_own or self.wallet_of(position) is pool:
                doomed = [
                    order for order in position.orders.values()
                    if is_own or not order.reduce_only
                ]
                self.cancel_each(doomed, CancelReason.LIQUIDATION)

    def clear_flat(self, pool: Pool, last: tuple[Instrument, Side] | None = None) -> None:
        """Settle what a pool without positions is left with.

        Isolated margin that is left goes back to the wallet. A deficit is covered by the
        fund as far as its balance goes, once, when it arises; then, after a liquidation
        step (`last`: its symbol and side), by the winners, if the profile says so. The rest
        stays on record as the pool's negative balance, and the account is bankrupt.
        """
        if pool.balance >= 0:
            pool.is_bankrupt = False
            if pool.symbol != NONE:
                position = self.accounts[pool.account].positions[pool.symbol, pool.leg]
                self.move_to_isolated(position, -pool.balance)
            return
        if pool.is_bankrupt:
            return
        symbol = pool.symbol if last is None else last[0].index
        self.cover(pool, None if symbol == NONE else self.instruments[symbol])
        if pool.balance < 0 and last is not None and last[0].profile.socialize_losses:
            self.socialize(pool, *last)
        pool.is_bankrupt = pool.balance < 0

    # --- the work on one pool ---------------------------------------------------------

    def work(self, pool: Pool) -> None:
        """Liquidate one pool until it is healthy, flat, waits, or has had its turn."""
        tried: set[Position] = set()  # of which no more can be closed now
        last: tuple[Instrument, Side] | None = None  # symbol and side of the latest step
        has_had_turn = is_held_back = False
        resume = NONE  # when a position that was tried may go on by itself
        while True:
            equity, maintenance = self.measure(pool)
            positions = self.positions_of(pool)
            if not positions:
                if self.convert(pool):
                    equity, maintenance = self.measure(pool)
                outcome = LiquidationOutcome.CLOSED
                if pool.balance < 0:
                    outcome = LiquidationOutcome.BANKRUPT
                self.finish(pool, outcome, equity, maintenance, last)
                return
            if self.is_pool_healthy(pool):
                self.finish(pool, LiquidationOutcome.RELEASED, equity, maintenance)
                return
            if has_had_turn:
                return
            self.cancel_pool_orders(pool)
            if self.net_legs(positions):
                continue
            if pool.is_cooling:
                self.wait(pool)
                return
            if pool.paused_until != NONE and equity > 0:
                self.wait(pool, is_patient=True)
                return
            allowed = [
                position for position in positions
                if position not in tried and self.may_liquidate(position)
            ]
            if not allowed:
                self.pause(pool, resume)
                pool.has_stuck |= resume == NONE
                self.wait(pool, is_patient=equity > 0 and (is_held_back or resume != NONE))
                return
            position = self.choose_position(pool, allowed)
            instrument = self.instruments[position.symbol]
            plan = self.plan_step(pool, position, equity, maintenance)
            if plan.lots == 0:
                tried.add(position)
                resume = plan.resume if resume == NONE else min(resume, plan.resume)
                continue
            if not self.take_turn(pool, instrument):
                pool.is_postponed = True
                return
            last = (instrument, Side.SELL if position.quantity > 0 else Side.BUY)
            if self.step(pool, position, plan, equity):
                tried.add(position)
                is_held_back |= instrument.profile.unfilled == Unfilled.WAIT
            else:
                has_had_turn = instrument.profile.steps_per_command != NONE

    def net_legs(self, positions: list[Position]) -> bool:
        """Close long against short of a symbol at its mark; return whether there were any.

        `positions` are those of one pool, so that isolated legs never meet here.
        """
        has_netted = False
        for long, short in pairwise(positions):
            if long.symbol != short.symbol or not self.may_liquidate(long):
                continue
            instrument = self.instruments[long.symbol]
            lots = min(long.quantity, -short.quantity)
            value = instrument.value(lots, instrument.mark)
            self.settle_fill(long, -lots, -value)
            self.settle_fill(short, lots, value)
            for leg in (long, short):
                self.drop_reduce_only(leg)
            self.emit(
                EventKind.LEGS_NETTED, long.account, long.symbol, lots, instrument.mark)
            has_netted = True
        return has_netted

    def wait(self, pool: Pool, *, is_patient: bool = False) -> None:
        pool.is_waiting = True
        pool.is_patient = is_patient
        self.waiting.append(pool)

    def take_turn(self, pool: Pool, instrument: Instrument) -> bool:
        """Whether another step in this symbol may be taken now; if it is bounded, it is counted."""
        limit = instrument.profile.steps_per_command
        if limit == NONE:
            return True
        if instrument.steps_taken >= limit:
            return False
        instrument.steps_taken += 1
        self.turns += 1
        pool.turn = self.turns
        return True

    def may_liquidate(self, position: Position) -> bool:
        return self.liquidates(self.instruments[position.symbol])

    def finish(
        self, pool: Pool, outcome: LiquidationOutcome, equity: int, maintenance: int,
        last: tuple[Instrument, Side] | None = None,
    ) -> None:
        pool.in_queue = pool.has_stuck = False
        pool.cooldown_until = NONE
        pool.is_cooling = False
        pool.paused_until = pool.ramp_since = NONE
        pool.ramped.clear()
        pool.turn = 0
        self.pending.add(pool)
        if outcome is not LiquidationOutcome.RELEASED:
            self.clear_flat(pool, last)
        self.emit(
            EventKind.LIQUIDATION_FINISHED, pool.account, pool.asset, pool.symbol, outcome,
            pool.steps, equity, maintenance, self.leg_shown(pool),
        )

    def step(self, pool: Pool, position: Position, plan: Plan, equity: int) -> int:
        """Close one part of one position; return the lots that nobody would take."""
        instrument = self.instruments[position.symbol]
        side = Side.SELL if position.quantity > 0 else Side.BUY
        held = abs(position.quantity)
        schedule = self.schedule_of(position)
        quantity, bound, limit = plan.lots, plan.bound, plan.limit
        pool.steps += 1
        tier_from = schedule.tier_index(self.notional(position)) + 1
        order = Order(
            pool.account, position.symbol, 0, side, OrderType.LIMIT, limit, quantity, quantity,
            TimeInForce.IOC, False, True, StpMode.NONE, position_side=position.leg,
        )
        filled, value = self.sweep(order, limit, liquidation=True)
        silent = len(self.records)
        saved = self.saved(instrument, side, filled, value, bound)
        # The fee on the filled value (up), at most what the fills saved.
        fee = min(ceil_div(value * instrument.liquidation_fee, RATE_SCALE), saved)
        self.emit(
            EventKind.LIQUIDATION_STEP, pool.account, pool.steps, position.symbol, side, quantity,
            limit, tier_from, schedule.tier_index(self.notional(position)) + 1,
            filled, value, fee, position.leg,
        )
        self.pay_to_fund(pool, instrument, fee, InsuranceReason.LIQUIDATION_FEE)
        if instrument.profile.surplus == Surplus.FUND:
            self.pay_to_fund(pool, instrument, saved - fee, InsuranceReason.SURPLUS)
        remainder = quantity - filled
        if equity <= 0 or instrument.profile.unfilled == Unfilled.TAKEOVER:
            remainder = self.pass_on(instrument, pool, position, side, remainder, bound)
        if remainder == quantity and pool.has_stuck:
            # Tried again in vain: nothing happened, and nothing is said.
            del self.records[silent:]
            pool.steps -= 1
        if remainder < quantity < held and (
                instrument.profile.close_policy == ClosePolicy.FRACTION):
            pool.cooldown_until = min(MONEY_MAX, self.ts + instrument.profile.cooldown_ns)
            pool.is_cooling = pool.cooldown_until > self.ts
        self.note_part(pool, position, plan, quantity - remainder, equity)
        return remainder

    def pass_on(
        self, instrument: Instrument, pool: Pool, position: Position, side: Side, lots: int,
        bound: int,
    ) -> int:
        """Give what the book did not take to the fund, else to holders; return what is left.

        Backstops are asked before the fund or behind it.
        """
        if instrument.profile.backstop == BackstopUse.BEFORE_FUND:
            lots = self.give_to_backstops(instrument, position, side, lots, bound)
        if lots and self.fund_can_take(instrument, position, lots, bound):
            self.take_over(instrument, position, side, lots, bound)
            return 0
        if instrument.profile.backstop == BackstopUse.AFTER_FUND:
            lots = self.give_to_backstops(instrument, position, side, lots, bound)
        if lots and instrument.profile.adl:
            return self.auto_deleverage(instrument, pool, position, side, lots, bound)
        return lots

    def pay_to_fund(
        self, pool: Pool, instrument: Instrument, amount: int, reason: InsuranceReason
    ) -> None:
        """Move money from a pool in liquidation to the fund."""
        if amount:
            pool.balance -= amount
            self.touch(pool)
            self.change_insurance(instrument.insurer, amount, reason, pool.account)

    @staticmethod
    def saved(instrument: Instrument, side: Side, filled: int, value: int, bound: int) -> int:
        """What fills are better than the bound.

        Inverse fills that round one by one may come to less than all at the bound.
        """
        return max(0, instrument.signed_value(
            side, instrument.worth_at_tick(filled, bound) - value))

    # --- the fund ---------------------------------------------------------------------

    def fund_can_take(
        self, instrument: Instrument, position: Position, lots: int, bound: int
    ) -> bool:
        """Whether the fund stays solvent, its inventory margined at mark, with this on top.

        And within the limits that the profile sets it. The pooled fund may help it out.
        """
        side = Side.BUY if position.quantity > 0 else Side.SELL
        if not self.is_within_limits(instrument, signed(side, lots)):
            return False
        value = instrument.signed_value(side, instrument.worth_at_tick(lots, bound))
        free = self.fund_free(instrument.insurer, instrument, signed(side, lots), value)
        return self.find_help(instrument, -free, position.account)

    def take_over(
        self, instrument: Instrument, position: Position, side: Side, lots: int, bound: int
    ) -> None:
        value = instrument.signed_value(side, instrument.worth_at_tick(lots, bound))
        self.settle_fill(position, signed(side, lots), value)
        profit = self.settle_house(instrument.fund, -signed(side, lots), -value)
        self.drop_reduce_only(position)
        self.emit(
            EventKind.LIQUIDATION_TAKEOVER, position.account, instrument.index, side, lots,
            bound, position.leg,
        )
        self.change_insurance(
            instrument.insurer, profit, InsuranceReason.INVENTORY, position.account
        )
        self.note_taken_over(instrument)
        self.drop_reduce_only(self.fund_position(instrument))

    # --- auto-deleveraging ------------------------------------------------------------

    def adl_ranking(self, instrument: Instrument, side: Side) -> list[tuple[int, Position]]:
        """(score, position) of the holders of a side (BUY: longs), first to be closed first.

        Pools in liquidation and pools without equity are not ranked.
        """
        ranking = []
        for position in self.positions_in(instrument):
            if signed(side, 1) * position.quantity <= 0:
                continue
            pool = self.pool_of(position)
            equity, _ = self.measure(pool)
            if pool.in_queue or equity <= 0:
                continue
            score = adl_score(
                instrument.profile.adl_score, self.unrealized_pnl(position),
                position.entry_value, self.notional(position), equity, abs(position.quantity),
            )
            ranking.append((score, position))
        ranking.sort(key=lambda entry: (-entry[0], entry[1].account))
        return ranking

    def auto_deleverage(
        self, instrument: Instrument, pool: Pool, position: Position, side: Side, lots: int,
        bound: int,
    ) -> int:
        """Close against opposing holders; return what is left.

        In rank order as much as is missing, or from each a share. A holder whose pool the
        price would leave with equity below zero is passed over.
        """
        # A long is closed by selling, against shorts: their side is that of the closing trade.
        ranking = [counter for _, counter in self.adl_ranking(instrument, side)]
        price = self.deleverage_price(instrument, pool, side, bound)
        mode = instrument.profile.adl_allocation
        shares: dict[Position, int] = {}
        if mode != AdlAllocation.RANK:
            able = [each for each in ranking
                    if self.can_bear(instrument, each, side, lots, price)]
            shares = dict(zip(able, allocate(
                mode, lots, [abs(each.quantity) for each in able],
                [self.measure(self.pool_of(each))[0] for each in able]), strict=True))
        for rank, counter in enumerate(ranking, start=1):
            most = lots if mode == AdlAllocation.RANK else shares.get(counter, 0)
            quantity = min(most, abs(counter.quantity))
            if quantity and self.can_bear(instrument, counter, side, quantity, price):
                self.close_against(instrument, position, counter, side, quantity, price, rank)
                lots -= quantity
        return lots

    def deleverage_price(
        self, instrument: Instrument, pool: Pool, side: Side, bound: int
    ) -> int:
        """Price of deleveraging, in ticks: the bound, or the mark.

        The mark is rounded in the favour of those who are closed against: a sell down, a
        buy up, at least one tick. A pool with equity left is never closed beyond its bound.
        """
        if instrument.profile.adl_price == AdlPrice.BANKRUPTCY:
            return bound
        equity, _ = self.measure(pool)
        if side is Side.SELL:
            price = max(1, floor_div(instrument.mark, instrument.marks_per_tick))
            return max(price, bound) if equity >= 0 else price
        price = ceil_div(instrument.mark, instrument.marks_per_tick)
        return min(price, bound) if equity >= 0 else price

    def can_bear(
        self, instrument: Instrument, counter: Position, side: Side, lots: int, price: int
    ) -> bool:
        """Whether a holder's pool keeps its equity at or above zero when closed at a price."""
        quantity = min(lots, abs(counter.quantity))
        equity, _ = self.measure(self.pool_of(counter))
        # The counterparty trades the other way round, from mark to the price.
        paid = instrument.signed_value(side, instrument.worth_at_tick(quantity, price))
        after = counter.quantity - signed(side, quantity)
        gain = paid + instrument.value(after, instrument.mark) - instrument.value(
            counter.quantity, instrument.mark)
        return equity + gain >= 0

    def close_against(
        self, instrument: Instrument, position: Position, counter: Position, side: Side,
        lots: int, price: int, rank: int,
    ) -> None:
        """Trade between a pool in liquidation and a holder, without fees."""
        if instrument.profile.adl_cancels_orders:
            self.cancel_each(counter.orders.values(), CancelReason.ADL)
        value = instrument.signed_value(side, instrument.worth_at_tick(lots, price))
        self.settle_fill(position, signed(side, lots), value)
        self.settle_fill(counter, -signed(side, lots), -value)
        self.drop_reduce_only(position)
        self.drop_reduce_only(counter)
        self.emit(
            EventKind.ADL, counter.account, position.account, instrument.index,
            Side.BUY if side is Side.SELL else Side.SELL, lots, price, rank, counter.leg,
        )
