"""After every command: margin calls, the liquidation queue, fund, auto-deleveraging.

The reference finds breaches by looking at every pool, every time.
"""

from __future__ import annotations

from itertools import pairwise

from engine.messages import (
    NONE,
    RATE_SCALE,
    CancelReason,
    EventKind,
    InsuranceReason,
    LiquidationOutcome,
    OrderType,
    Side,
    StpMode,
    TimeInForce,
)
from engine.reference.margin import (
    adl_score,
    bound_price,
    ceil_div,
    floor_div,
    inverse_bound_price,
    urgency,
)
from engine.reference.margin_calls import MarginCalls
from engine.reference.sides import signed
from engine.reference.state import (
    EXIT_BUFFER,
    NO_LIQUIDATION,
    RETRIES_PER_COMMAND,
    Instrument,
    Order,
    Pool,
    Position,
)


def is_due(equity: int, maintenance: int) -> bool:
    """Whether margin_ratio has reached 1; equity at or below zero counts as worse."""
    return equity <= maintenance


def is_healthy(equity: int, maintenance: int) -> bool:
    """Whether a pool in liquidation may leave it: margin_ratio under 1 by the exit buffer."""
    return maintenance * RATE_SCALE < (RATE_SCALE - EXIT_BUFFER) * equity


class Liquidation(MarginCalls):
    """Matching with the risk rules on top: what happens to pools that have lost their margin."""

    def work_off_queue(self) -> None:
        self.evaluate_all()
        while True:
            ready = [pool for pool in self.all_pools() if pool.in_queue and not pool.is_waiting]
            if not ready:
                break
            self.work(min(ready, key=self.urgency_of))
            self.evaluate_all()

    def urgency_of(self, pool: Pool) -> tuple:
        return urgency(*self.measure(pool), pool.account, pool.asset, pool.symbol, pool.leg)

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
                if is_healthy(*self.measure(pool)):
                    self.stop_waiting(pool)
            touched, self.pending = self.pending, set()
            pools = [pool for pool in self.all_pools() if not pool.in_queue]
            pools.sort(key=self.urgency_of)
            measured = [(pool, *self.measure(pool)) for pool in pools]
            for pool, equity, maintenance in measured:
                if self.positions_of(pool):
                    self.evaluate(pool, equity, maintenance)
                else:
                    self.set_call_level(pool, 0, equity, maintenance)
                    if pool in touched:
                        self.clear_flat(pool)
            if not self.pending:
                break

    def evaluate(self, pool: Pool, equity: int, maintenance: int) -> None:
        level = self.level_of(pool, equity, maintenance)
        self.set_call_level(pool, level, equity, maintenance)
        if is_due(equity, maintenance) and not self.top_up(pool, equity, maintenance):
            pool.in_queue = True
            pool.steps = 0
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
        if is_due(equity + amount, maintenance):
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

    def clear_flat(self, pool: Pool) -> None:
        """Settle what a pool without positions is left with.

        Isolated margin that is left goes back to the wallet. A deficit is covered by the
        fund as far as its balance goes, once, when it arises; the rest stays on record as
        the pool's negative balance, and the account is bankrupt.
        """
        if pool.balance >= 0:
            pool.is_bankrupt = False
            if pool.symbol != NONE:
                position = self.accounts[pool.account].positions[pool.symbol, pool.leg]
                self.move_to_isolated(position, -pool.balance)
            return
        if pool.is_bankrupt:
            return
        paid = min(-pool.balance, max(0, self.assets[pool.asset].insurance))
        if paid:
            pool.balance += paid
            self.touch(pool)
            self.change_insurance(pool.asset, -paid, InsuranceReason.DEFICIT, pool.account)
        pool.is_bankrupt = pool.balance < 0

    # --- the work on one pool ---------------------------------------------------------

    def work(self, pool: Pool) -> None:
        """Liquidate one pool until it is healthy, flat, or nothing more can be done."""
        stuck: set[Position] = set()
        while True:
            equity, maintenance = self.measure(pool)
            positions = self.positions_of(pool)
            if not positions:
                outcome = LiquidationOutcome.CLOSED
                if pool.balance < 0:
                    outcome = LiquidationOutcome.BANKRUPT
                self.finish(pool, outcome, equity, maintenance)
                return
            if is_healthy(equity, maintenance):
                self.finish(pool, LiquidationOutcome.RELEASED, equity, maintenance)
                return
            self.cancel_pool_orders(pool)
            if self.net_legs(positions):
                continue
            allowed = [
                position for position in positions
                if position not in stuck and self.may_liquidate(position)
            ]
            if not allowed:
                break
            position = max(allowed, key=self.maintenance_margin)  # the first of equals
            if self.step(pool, position, equity, maintenance):
                stuck.add(position)
        pool.is_waiting = pool.has_stuck = True
        self.waiting.append(pool)

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

    def may_liquidate(self, position: Position) -> bool:
        return self.instruments[position.symbol].halt not in NO_LIQUIDATION

    def finish(
        self, pool: Pool, outcome: LiquidationOutcome, equity: int, maintenance: int
    ) -> None:
        pool.in_queue = pool.has_stuck = False
        self.pending.add(pool)
        if outcome is not LiquidationOutcome.RELEASED:
            self.clear_flat(pool)
        self.emit(
            EventKind.LIQUIDATION_FINISHED, pool.account, pool.asset, pool.symbol, outcome,
            pool.steps, equity, maintenance, self.leg_shown(pool),
        )

    def step(self, pool: Pool, position: Position, equity: int, maintenance: int) -> int:
        """Close one part of one position; return the lots that nobody would take."""
        instrument = self.instruments[position.symbol]
        quantity = self.step_quantity(instrument, position)
        side = Side.SELL if position.quantity > 0 else Side.BUY
        held = abs(position.quantity)
        before = self.maintenance_margin(position)
        after = instrument.schedule.maintenance_margin(
            instrument.notional(held - quantity, instrument.mark)) if held > quantity else 0
        share = equity
        if maintenance > 0:
            # The part's share of the equity; floor: against the trader, also below zero.
            share = floor_div(equity * (before - after), maintenance)
        solve = inverse_bound_price if instrument.is_inverse else bound_price
        bound = solve(
            side, quantity, instrument.mark, share, instrument.unit_value,
            instrument.marks_per_tick,
        )
        pool.steps += 1
        silent = len(self.records)
        tier_from = instrument.schedule.tier_index(self.notional(position)) + 1
        order = Order(
            pool.account, position.symbol, 0, side, OrderType.LIMIT, bound, quantity, quantity,
            TimeInForce.IOC, False, True, StpMode.NONE, position_side=position.leg,
        )
        filled, value = self.sweep(order, bound, liquidation=True)
        fee = self.liquidation_fee(instrument, position, side, filled, value, bound)
        self.emit(
            EventKind.LIQUIDATION_STEP, pool.account, pool.steps, position.symbol, side, quantity,
            bound, tier_from, instrument.schedule.tier_index(self.notional(position)) + 1,
            filled, value, fee, position.leg,
        )
        if fee:
            self.pool_of(position).balance -= fee
            self.touch(pool)
            self.change_insurance(
                instrument.settle, fee, InsuranceReason.LIQUIDATION_FEE, pool.account
            )
        remainder = quantity - filled
        if remainder and self.fund_can_take(instrument, position, remainder, bound):
            self.take_over(instrument, position, side, remainder, bound)
            remainder = 0
        if remainder:
            remainder = self.auto_deleverage(instrument, pool, position, side, remainder, bound)
        if remainder == quantity and pool.has_stuck:
            # Tried again in vain: nothing happened, and nothing is said.
            del self.records[silent:]
            pool.steps -= 1
        return remainder

    def step_quantity(self, instrument: Instrument, position: Position) -> int:
        """Lots that bring the notional down to the next lower tier's cap; all in the lowest."""
        held = abs(position.quantity)
        tier = instrument.schedule.tiers[instrument.schedule.tier_index(self.notional(position))]
        if tier.min_notional == 0:
            return held
        if instrument.is_inverse:
            keep = floor_div(tier.min_notional * instrument.mark, instrument.unit_value)
        else:
            keep = floor_div(tier.min_notional, instrument.mark * instrument.unit_value)
        return held - min(held, keep)

    def liquidation_fee(
        self, instrument: Instrument, position: Position, side: Side, filled: int, value: int,
        bound: int,
    ) -> int:
        """The fee on the filled value (up), at most what the fills saved over the bound.

        Inverse fills that round one by one may come to less than all at the bound.
        """
        saved = instrument.signed_value(side, instrument.worth_at_tick(filled, bound) - value)
        return min(ceil_div(value * instrument.liquidation_fee, RATE_SCALE), max(0, saved))

    # --- the fund ---------------------------------------------------------------------

    def fund_can_take(
        self, instrument: Instrument, position: Position, lots: int, bound: int
    ) -> bool:
        """Whether the fund stays solvent, its inventory margined at mark, with this on top."""
        side = Side.BUY if position.quantity > 0 else Side.SELL
        value = instrument.signed_value(side, instrument.worth_at_tick(lots, bound))
        return self.fund_free(instrument.settle, instrument, signed(side, lots), value) >= 0

    def fund_free(
        self, asset: int, added_to: Instrument | None = None, lots: int = 0, value: int = 0
    ) -> int:
        """Balance of the fund, plus profit, less maintenance margin of its inventory at mark."""
        free = self.assets[asset].insurance
        for instrument in self.instruments:
            if instrument.settle != asset or instrument.mark == NONE:
                continue
            quantity, entry_value = instrument.fund.quantity, instrument.fund.entry_value
            if instrument is added_to:
                quantity, entry_value = quantity + lots, entry_value + value
            free += instrument.value(quantity, instrument.mark) - entry_value
            if quantity:
                free -= instrument.schedule.maintenance_margin(
                    instrument.notional(abs(quantity), instrument.mark))
        return free

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
            instrument.settle, profit, InsuranceReason.INVENTORY, position.account
        )

    def reduce_inventory(self, instrument: Instrument) -> None:
        """Offer the fund's inventory to the book at the mark or better, as an immediate order.

        The limit is rounded in the fund's favour: up for a sale, down for a purchase.
        """
        held = instrument.fund.quantity
        side = Side.SELL if held > 0 else Side.BUY
        if side is Side.SELL:
            limit = ceil_div(instrument.mark, instrument.marks_per_tick)
        else:
            limit = floor_div(instrument.mark, instrument.marks_per_tick)
        if limit:
            order = Order(
                0, instrument.index, 0, side, OrderType.LIMIT, limit, abs(held), abs(held),
                TimeInForce.IOC, False, False, StpMode.NONE,
            )
            self.sweep(order, limit, liquidation=True)

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
                self.unrealized_pnl(position), position.entry_value, self.notional(position),
                equity,
            )
            ranking.append((score, position))
        ranking.sort(key=lambda entry: (-entry[0], entry[1].account))
        return ranking

    def auto_deleverage(
        self, instrument: Instrument, pool: Pool, position: Position, side: Side, lots: int,
        bound: int,
    ) -> int:
        """Close against opposing holders in rank order at the bound; return what is left."""
        # A long is closed by selling, against shorts: their side is that of the closing trade.
        for rank, (_, counter) in enumerate(self.adl_ranking(instrument, side), start=1):
            if lots == 0:
                break
            quantity = min(lots, abs(counter.quantity))
            value = instrument.signed_value(side, instrument.worth_at_tick(quantity, bound))
            counter_pool = self.pool_of(counter)
            equity, _ = self.measure(counter_pool)
            # The counterparty trades the other way round, from mark to the bound.
            after = counter.quantity - signed(side, quantity)
            gain = value + instrument.value(after, instrument.mark) - instrument.value(
                counter.quantity, instrument.mark)
            if equity + gain < 0:
                continue
            self.settle_fill(position, signed(side, quantity), value)
            self.settle_fill(counter, -signed(side, quantity), -value)
            self.drop_reduce_only(position)
            self.drop_reduce_only(counter)
            self.emit(
                EventKind.ADL, counter.account, position.account, instrument.index,
                Side.BUY if side is Side.SELL else Side.SELL, quantity, bound, rank,
                counter.leg,
            )
            lots -= quantity
        return lots
