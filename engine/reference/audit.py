"""Invariants: what must hold between commands, recomputed from everything there is."""

from __future__ import annotations

from engine.messages import NONE, RATE_SCALE, MarginMode, PositionSide, Side, TriggerBy
from engine.reference.digest import Digest
from engine.reference.margin import Schedule
from engine.reference.policy import closing_fee
from engine.reference.reserve import Reserve
from engine.reference.sides import closes
from engine.reference.state import (
    ASLEEP,
    LEGS,
    Account,
    Instrument,
    Order,
    Pool,
    Position,
    Stage,
)
from engine.reference.trigger_file import is_satisfied


class Audit(Digest):
    """Assertions for tests and audits."""

    def check(self) -> None:
        """Assert what must hold between commands; O(everything)."""
        assert not self.collected and not self.triggered
        assert not self.filled_entries and not self.tripped
        for asset in range(len(self.assets)):
            assert self.totals_view(asset)["drift"] == 0, self.totals_view(asset)
            assert self.collateral_fits(asset), asset
        for backstop in self.backstops.values():
            assert 0 <= backstop.used <= backstop.commitment, backstop
        for instrument in self.instruments:
            assert instrument.announced is None or instrument.announced.effective_ts > self.ts
            self.check_schedule(instrument, instrument.schedule)
            for account in self.accounts.values():
                self.check_schedule(
                    instrument, instrument.schedule.for_account(account.multiplier))
            assert sum(self.position_totals(instrument.index)) == 0
            assert instrument.reserved_lots == sum(
                order.leaves for side in Side for order in instrument.book.orders(side)
                if not order.reduce_only)
            assert instrument.reduce_only_lots == sum(
                order.leaves for side in Side for order in instrument.book.orders(side)
                if order.reduce_only)
            self.check_expiry(instrument)
            self.check_offer(instrument)
            assert instrument.halt in ASLEEP or not instrument.book.is_crossed(), instrument.index
        for pool in self.all_pools():
            self.check_pool(pool)
        for account in self.accounts.values():
            for position in account.positions.values():
                self.check_position(account, position)
            assert self.reserved_ids(account) == account.reserved
            assert account.parent == NONE or self.accounts[account.parent].parent == NONE

    @staticmethod
    def check_schedule(instrument: Instrument, schedule: Schedule) -> None:
        assert schedule.closing_fee == closing_fee(instrument.profile, instrument.taker_fee)
        for tier in schedule.tiers:
            rate = tier.maintenance_rate - schedule.closing_fee
            assert rate * tier.max_leverage <= RATE_SCALE**2, tier
            assert 0 <= rate <= tier.maintenance_rate <= RATE_SCALE, tier

    def check_expiry(self, instrument: Instrument) -> None:
        """What has expired is over, and nothing of what is over is left."""
        if not instrument.is_over:
            assert not NONE < instrument.expiry_ts <= self.ts, instrument.index
            return
        assert not self.open_interest(instrument), instrument.index
        assert self.position_totals(instrument.index) == (0, 0, 0), instrument.index
        for position in self.positions_in(instrument):
            assert not (position.quantity or position.orders), position

    def check_offer(self, instrument: Instrument) -> None:
        """The fund's resting order reduces its inventory, at the mark or better."""
        orders = [order for side in Side for order in instrument.book.orders(side)
                  if not order.account]
        offer = instrument.offer
        assert orders == ([] if offer is None else [offer]), instrument.index
        if offer is not None:
            assert offer.stage is Stage.RESTING and 0 < offer.leaves <= offer.quantity, offer
            assert offer.reduce_only and self.reducible_by(offer), offer
            assert self.liquidates(instrument), offer
            assert not instrument.is_losing(offer.side, offer.price), offer

    def check_collateral(self, pool: Pool) -> None:
        """What counts elsewhere settles nothing and owes nothing; who owes has nothing left."""
        if self.assets[pool.asset].collateral is not None:
            assert pool.balance >= 0, pool
            assert not self.positions_of(pool), pool
        assert pool.in_queue or not list(self.convertible(pool)), f"missed conversion: {pool}"

    def check_pool(self, pool: Pool) -> None:
        self.check_collateral(pool)
        assert pool.in_queue or not pool.turn, pool
        assert pool.in_queue or pool.cooldown_until == NONE, pool
        assert pool.is_cooling is (pool.cooldown_until > self.ts), pool
        assert pool.paused_until == NONE or (pool.in_queue and pool.paused_until > self.ts), pool
        assert pool.in_queue or (pool.ramp_since == NONE and not pool.ramped), pool
        assert not pool.is_patient or (pool.is_waiting and self.measure(pool)[0] > 0), pool
        assert (pool in self.waiting) is pool.is_waiting, pool
        if not self.positions_of(pool):
            assert not pool.in_queue, f"flat, but in the queue: {pool}"
        elif pool.in_queue:
            assert not self.is_pool_healthy(pool), f"missed release: {pool}"
            assert pool.is_waiting is not pool.is_postponed, f"left undone: {pool}"
        else:
            assert not self.is_pool_due(pool), f"missed breach: {pool}"
            assert pool.call_levels == self.levels_in_force(pool), f"others' levels: {pool}"
            assert pool.call_level == self.level_of(pool, *self.measure(pool)), pool

    def check_position(self, account: Account, position: Position) -> None:
        assert position.leg in LEGS[account.position_mode]
        assert position.leg is not PositionSide.LONG or position.quantity >= 0, position
        assert position.leg is not PositionSide.SHORT or position.quantity <= 0, position
        for twin in self.legs_of(position):
            assert (twin.leverage, twin.margin_mode) == (position.leverage, position.margin_mode)
            assert twin.protection is position.protection
            assert twin.auto_top_up is position.auto_top_up
        assert position.margin_mode is MarginMode.ISOLATED or not position.isolated.balance
        assert position.quantity or position.isolated.balance <= 0, position
        assert position.quantity or not position.entry_value, position
        orders = list(position.orders.values())
        arrivals = [order.arrival for order in orders]
        assert arrivals == sorted(arrivals), "orders are listed in order of arrival"
        assert set(position.resting) == {o for o in orders if o.stage is Stage.RESTING}
        for side, reserve in position.reserves.items():
            self.check_reserve(position, side, reserve)
        assert set(position.bound) == {order for order in orders if order.is_bound}
        for order in orders:
            assert account.orders[order.order_id] is order
            assert order.order_id not in account.reserved
            self.check_order(self.instruments[position.symbol], position, order)

    @staticmethod
    def check_reserve(position: Position, side: Side, reserve: Reserve) -> None:
        orders = [o for o in position.resting if o.side is side and not o.reduce_only]
        assert reserve.lots == sum(order.leaves for order in orders)
        assert reserve.cost == sum(order.leaves * order.price for order in orders)
        assert set(reserve.by_price) == {order.price for order in orders}

    def check_order(
        self, instrument: Instrument, position: Position, order: Order
    ) -> None:
        assert 0 < order.leaves <= order.quantity
        assert order.position_side is position.leg
        if position.leg is not PositionSide.BOTH:
            assert order.reduce_only is closes(position.leg, order.side), order
        assert (order in self.timed_orders) is (order.expire_ts != NONE)
        assert order.expire_ts == NONE or order.expire_ts > self.ts
        if order.group is not None:
            assert order in order.group.members
            assert order.oco == NONE or position.groups[order.oco] is order.group
        if order.stage is Stage.RESTING:
            assert 0 < order.displayed <= order.leaves
            assert order in instrument.book.levels[order.side][order.price]
            return
        # Nothing is left half done: what does not rest waits, and has a reason to.
        assert order.stage is Stage.PENDING, order
        reference = self.reference_price(instrument, TriggerBy(order.trigger_by))
        if reference != NONE and instrument.halt not in ASLEEP:
            assert not is_satisfied(order, reference), order

    @staticmethod
    def reserved_ids(account: Account) -> set[int]:
        """Ids of the unarmed children of an account's live entries."""
        return {
            terms.order_id
            for order in account.orders.values()
            if order.bracket is not None and order.bracket.entry is order
            for terms in (order.bracket.take_profit, order.bracket.stop_loss)
            if terms is not None
        }
