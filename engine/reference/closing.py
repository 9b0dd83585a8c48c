"""What a liquidation step closes: which position, how much of it, at which price at worst, when."""

from __future__ import annotations

from typing import NamedTuple

from engine.messages import (
    MONEY_MAX,
    NONE,
    RATE_SCALE,
    ClosePolicy,
    PositionChoice,
    Profile,
    Side,
)
from engine.reference.book import within_limit
from engine.reference.conversion import Conversions
from engine.reference.margin import bound_price, floor_div, inverse_bound_price
from engine.reference.policy import close_quantity, order_limit, ramp_next, ramp_share
from engine.reference.sides import opposite
from engine.reference.state import Instrument, Pool, Position

#: Levels of the book that say how liquid a symbol is.
LIQUIDITY_LEVELS = 10


class Plan(NamedTuple):
    """A step before it is taken."""

    lots: int  # 0: nothing of the position may be closed now
    bound: int = NONE  # ticks; what fund and holders take it at
    limit: int = NONE  # ticks; the worst price in the book, at the bound or better
    is_sliced: bool = False  # it is less than the policy asks for, to spare the book
    resume: int = NONE  # ns; when the position may go on by itself


class Closing(Conversions):
    """The choices of a liquidation, none of which changes anything but its own notes."""

    def ruling_profile(self, pool: Pool) -> Profile:
        """The profile of the position with the largest maintenance margin, the first of equals."""
        position = max(self.positions_of(pool), key=self.maintenance_margin)
        return self.instruments[position.symbol].profile

    # --- which position ---------------------------------------------------------------

    def choose_position(self, pool: Pool, allowed: list[Position]) -> Position:
        """The position to be closed next, the first of equals."""
        choice = self.ruling_profile(pool).position_choice
        if choice == PositionChoice.LARGEST_LOSS:
            return min(allowed, key=self.unrealized_pnl)
        if choice == PositionChoice.MOST_LIQUID:
            return max(allowed, key=self.liquidity)
        return max(allowed, key=self.maintenance_margin)

    def liquidity(self, position: Position) -> int:
        """Money on show in the best levels against which a position would be closed."""
        instrument = self.instruments[position.symbol]
        side = Side.SELL if position.quantity > 0 else Side.BUY
        levels = list(instrument.book.level_orders(opposite(side)))[:LIQUIDITY_LEVELS]
        return sum(
            instrument.worth_at_tick(sum(order.displayed for order in orders), price)
            for price, orders in levels)

    # --- how much, at which price -----------------------------------------------------

    def plan_step(self, pool: Pool, position: Position, equity: int, maintenance: int) -> Plan:
        """What the next step would close of a position."""
        instrument = self.instruments[position.symbol]
        profile = instrument.profile
        since = self.ts if pool.ramp_since == NONE else pool.ramp_since
        lots = close_quantity(
            instrument, self.schedule_of(position), abs(position.quantity), equity,
            maintenance - self.maintenance_margin(position), self.ruling_profile(pool),
            is_cooled=pool.cooldown_until != NONE,
            # Where the equity is spent there is no use in waiting.
            due=ramp_share(profile, self.ts - since) if equity > 0 else RATE_SCALE,
            closed=pool.ramped.get((position.symbol, position.leg), 0),
        )
        if lots == 0:
            return Plan(0, resume=ramp_next(profile, since, self.ts))
        if equity <= 0:
            return Plan(lots, *self.prices(position, lots, equity, maintenance))
        part = min(lots, self.slice_of(position, lots, equity, maintenance))
        room = self.rate_room(instrument)
        if room == 0:
            return Plan(0, resume=min(
                MONEY_MAX, instrument.slices_since + profile.slice_interval_ns))
        bound, limit = self.prices(position, min(part, room), equity, maintenance)
        return Plan(min(part, room), bound, limit, is_sliced=part < lots)

    def prices(
        self, position: Position, lots: int, equity: int, maintenance: int
    ) -> tuple[int, int]:
        """The bound of a part, which is its bankruptcy price, and its limit in the book."""
        instrument = self.instruments[position.symbol]
        side = Side.SELL if position.quantity > 0 else Side.BUY
        held = abs(position.quantity)
        schedule = self.schedule_of(position)
        after = schedule.maintenance_margin(
            instrument.notional(held - lots, instrument.mark)) if held > lots else 0
        share = equity
        if maintenance > 0:
            # The part's share of the equity; floor: against the trader, also below zero.
            share = floor_div(
                equity * (self.maintenance_margin(position) - after), maintenance)
        solve = inverse_bound_price if instrument.is_inverse else bound_price
        bound = solve(
            side, lots, instrument.mark, share, instrument.unit_value,
            instrument.marks_per_tick)
        return bound, order_limit(
            instrument, schedule, side, held, equity, maintenance, bound)

    # --- slices, ramps and their pauses -----------------------------------------------

    def slice_of(self, position: Position, lots: int, equity: int, maintenance: int) -> int:
        """Lots of a step that its share of the book allows: floor, at least one lot.

        The book is what is on show at the limit of the whole step or better; where there is
        nothing, there is nothing to spare.
        """
        instrument = self.instruments[position.symbol]
        if instrument.profile.slice_max_share == NONE:
            return lots
        side = Side.SELL if position.quantity > 0 else Side.BUY
        _, limit = self.prices(position, lots, equity, maintenance)
        depth = sum(
            order.displayed for order in instrument.book.orders(opposite(side))
            if within_limit(side, order.price, limit))
        if depth == 0:
            return lots
        return max(1, floor_div(depth * instrument.profile.slice_max_share, RATE_SCALE))

    def rate_room(self, instrument: Instrument) -> int:
        """Lots of a symbol that the interval still allows: floor, in a fresh one at least one."""
        rate = instrument.profile.slice_rate
        if rate == NONE:
            return MONEY_MAX
        taken = self.slices_taken(instrument)
        left = max(0, rate - taken)
        if instrument.is_inverse:
            room = floor_div(left * instrument.mark, instrument.unit_value)
        else:
            room = floor_div(left, instrument.mark * instrument.unit_value)
        return room if taken else max(1, room)

    def slices_taken(self, instrument: Instrument) -> int:
        """Notional that slices have closed in the interval under way; 0: there is none."""
        end = instrument.slices_since + instrument.profile.slice_interval_ns
        return instrument.slices_taken if self.ts < end else 0

    def note_part(
        self, pool: Pool, position: Position, plan: Plan, lots: int, equity: int
    ) -> None:
        """Remember what a step closed, and pause where more must wait for its time."""
        instrument = self.instruments[position.symbol]
        profile = instrument.profile
        if lots == 0:
            return
        if profile.close_policy == ClosePolicy.RAMP:
            if pool.ramp_since == NONE:
                pool.ramp_since = self.ts
            key = (position.symbol, position.leg)
            pool.ramped[key] = min(MONEY_MAX, pool.ramped.get(key, 0) + lots)
            self.pause(pool, ramp_next(profile, pool.ramp_since, self.ts))
        if plan.is_sliced:
            self.pause(pool, self.ts + profile.slice_interval_ns)
        if equity > 0 and profile.slice_rate != NONE:
            taken = self.slices_taken(instrument)
            if taken == 0:
                instrument.slices_since = self.ts
            instrument.slices_taken = min(
                MONEY_MAX, taken + instrument.notional(lots, instrument.mark))

    def pause(self, pool: Pool, until: int) -> None:
        """Let a pool alone until a time to come; NONE: as it is."""
        if until > self.ts:
            pool.paused_until = min(MONEY_MAX, until)
