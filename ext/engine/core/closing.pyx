"""One step of a liquidation: a part of a position, through book, fund and deleveraging."""

from engine.core.book cimport order_t, ticket_t
from engine.core.contracts cimport inverse_limit, value_sign
from engine.core.fixed cimport (
    abs64, add, add_checked, ceil_div, floor_div, i128, max64, min64, mul, mul_wide, narrow,
    sign_of, sub, sub_checked, wide,
)
from engine.core.ledger cimport instrument_t
from engine.core.profiles cimport fraction_keep, profile_t, target_room, tier_keep
from engine.core.tiers cimport maintenance_margin, tier_index
from engine.core.types cimport (
    CLOSE_FRACTION, CLOSE_TIER_STEP, CLOSE_TO_TARGET, EVENT_LEGS_NETTED, EVENT_LIQUIDATION_STEP,
    EVENT_LIQUIDATION_TAKEOVER, HALT_ALL, HALT_AUCTION, HALT_NO_LIQUIDATION, INSURANCE_INVENTORY,
    INSURANCE_LIQUIDATION_FEE, INSURANCE_SURPLUS, KIND_INVERSE, MONEY_MAX, NIL, NONE, RATE_SCALE,
    SIDE_BUY, SIDE_SELL, SURPLUS_FUND, TIF_IOC, TYPE_LIMIT,
)


cdef class Closing(Fund):
    """The ways in which a pool gives up what it holds."""

    def __cinit__(self):
        self.cooling = {}

    # See to it that a pool is looked at when its cooldown ends; `Timers` know how.
    cdef int schedule_cooldown(self, int32_t pool, int64_t until) except -1:
        return 0

    # Close long against short of each symbol at its mark; whether there were any. Isolated
    # legs never meet here: each is alone in its pool.
    cdef bint net_legs(self, int32_t pool) except -1:
        cdef int32_t row = self.pools[pool].first_open
        cdef int32_t after
        cdef bint has_netted = False
        while row >= 0:
            after = self.positions[row].next_open
            if after >= 0 and self.positions[after].symbol == self.positions[row].symbol:
                if self.may_liquidate(self.positions[row].symbol):
                    has_netted = True
                    self.net_pair(row, after)
                    # One of the two is not in the list any more.
                    row = self.pools[pool].first_open
                    continue
            row = after
        return has_netted

    cdef int net_pair(self, int32_t long_leg, int32_t short_leg) except -1:
        cdef int32_t symbol = self.positions[long_leg].symbol
        cdef int64_t mark = self.instruments[symbol].mark
        cdef int64_t lots = min64(
            self.positions[long_leg].quantity, -self.positions[short_leg].quantity)
        cdef int64_t worth = self.value(symbol, lots, mark)
        cdef int64_t *out
        self.settle_fill(long_leg, -lots, -worth)
        self.settle_fill(short_leg, lots, worth)
        self.drop_reduce_only(long_leg)
        self.drop_reduce_only(short_leg)
        out = self.emit(EVENT_LEGS_NETTED)
        out[0] = self.accounts[self.positions[long_leg].account].id
        out[1] = symbol
        out[2] = lots
        out[3] = mark
        return 0

    cdef bint may_liquidate(self, int32_t symbol) noexcept:
        cdef int halt = self.instruments[symbol].halt
        return halt != HALT_NO_LIQUIDATION and halt != HALT_ALL and halt != HALT_AUCTION

    # Whether a pool in liquidation may leave it: margin_ratio under 1 by the exit buffer.
    cdef bint is_healthy(self, const measured_t *row) except -1:
        cdef int64_t buffer
        if row.maintenance >= row.equity:
            return False
        buffer = self.instruments[self.positions[
            self.ruling_position(row.pool)].symbol].profile.exit_buffer
        return mul(row.maintenance, RATE_SCALE) < mul(row.equity, RATE_SCALE - buffer)

    # The position with the largest maintenance margin that may be liquidated and is not
    # stuck; the first by symbol of equals, NIL where there is none.
    cdef int32_t choose_position(self, int32_t pool, set stuck) except? -2:
        cdef int32_t row = self.pools[pool].first_open
        cdef int32_t chosen = NIL
        cdef int64_t most = -1, margin
        while row >= 0:
            if self.may_liquidate(self.positions[row].symbol) and row not in stuck:
                margin = self.maintenance(row)
                if margin > most:
                    most, chosen = margin, row
            row = self.positions[row].next_open
        return chosen

    # Close one part of one position: book, fund, deleveraging. Returns the lots that
    # nobody would take.
    cdef int64_t step(self, int32_t pool, int32_t position, const measured_t *row) except? -1:
        cdef int32_t symbol = self.positions[position].symbol
        cdef instrument_t *instrument = &self.instruments[symbol]
        cdef int64_t held = abs64(self.positions[position].quantity)
        cdef profile_t *profile = &instrument.profile
        cdef int64_t lots = self.close_quantity(pool, position, row)
        cdef int side = SIDE_SELL if self.positions[position].quantity > 0 else SIDE_BUY
        cdef int sign = -1 if side == SIDE_SELL else 1
        cdef int64_t before = self.maintenance(position)
        cdef int64_t after = 0, share = row.equity
        cdef int64_t bound, filled, worth, fee, saved
        cdef int tier_from = tier_index(&instrument.schedule, self.notional(position)) + 1
        cdef int64_t *out
        cdef int64_t wanted = lots, until
        cdef Py_ssize_t silent = self.records.count
        if held > lots:
            after = maintenance_margin(
                &instrument.schedule, self.marked_notional(symbol, held - lots))
        if row.maintenance > 0:
            # The part's share of the equity; floor: against the trader, also below zero.
            share = narrow(floor_div(mul(row.equity, before - after), wide(row.maintenance)))
        bound = self.bound_price(symbol, side, lots, share)
        self.pools[pool].steps += 1
        self.sweep_part(
            self.positions[position].account, symbol, position, side, lots, bound, &filled,
            &worth)
        # The fee on what was filled (up), at most what the fills saved over the bound. Inverse
        # fills that round one by one may come to less than all at the bound.
        saved = self.worth_at_tick(symbol, filled, bound) - worth
        saved = max64(0, value_sign(&instrument.contract, side) * saved)
        fee = min64(saved, narrow(ceil_div(
            mul(worth, instrument.liquidation_fee), wide(RATE_SCALE))))
        out = self.emit(EVENT_LIQUIDATION_STEP)
        out[0] = row.account
        out[1] = self.pools[pool].steps
        out[2] = symbol
        out[3] = side
        out[4] = lots
        out[5] = bound
        out[6] = tier_from
        out[7] = tier_index(&instrument.schedule, self.notional(position)) + 1
        out[8] = filled
        out[9] = worth
        out[10] = fee
        out[11] = self.positions[position].leg
        self.pay_to_fund(pool, symbol, fee, INSURANCE_LIQUIDATION_FEE)
        if profile.surplus == SURPLUS_FUND:
            self.pay_to_fund(pool, symbol, saved - fee, INSURANCE_SURPLUS)
        lots -= filled
        if lots and self.is_within_limits(symbol, -sign * lots) and self.fund_free(
                instrument.settle, symbol, -sign * lots,
                -value_sign(&instrument.contract, side)
                * self.worth_at_tick(symbol, lots, bound)) >= 0:
            self.take_over(position, side, lots, bound)
            lots = 0
        if lots:
            lots = self.auto_deleverage(position, side, lots, bound)
        if lots == wanted and self.pools[pool].has_stuck:
            # Tried again in vain: nothing happened, and nothing is said.
            self.records.count = silent
            self.pools[pool].steps -= 1
        if profile.close_policy == CLOSE_FRACTION and lots < wanted < held:
            until = min64(MONEY_MAX, add_checked(self.ts, profile.cooldown))
            self.cooling[pool] = until
            self.schedule_cooldown(pool, until)
        return lots

    cdef int pay_to_fund(
        self, int32_t pool, int32_t symbol, int64_t amount, int reason
    ) except -1:
        if amount == 0:
            return 0
        self.pools[pool].balance = sub_checked(self.pools[pool].balance, amount)
        self.touch(pool)
        return self.change_insurance(
            self.instruments[symbol].settle, amount, reason,
            self.accounts[self.pools[pool].account].id)

    # Lots that the next step closes, by the policy of the position's symbol.
    cdef int64_t close_quantity(
        self, int32_t pool, int32_t position, const measured_t *row
    ) except? -1:
        cdef instrument_t *instrument = &self.instruments[self.positions[position].symbol]
        cdef profile_t *profile = &instrument.profile
        cdef int64_t held = abs64(self.positions[position].quantity)
        cdef int64_t keep = 0
        cdef int32_t ruling
        cdef i128 room
        if profile.close_policy == CLOSE_TIER_STEP:
            keep = tier_keep(
                &instrument.schedule, profile.tiers_per_step, held, &instrument.contract,
                instrument.mark)
        elif profile.close_policy == CLOSE_TO_TARGET:
            ruling = self.positions[self.ruling_position(pool)].symbol
            room = target_room(
                profile, self.instruments[ruling].profile.exit_buffer, row.equity,
                row.maintenance - self.maintenance(position))
            if sign_of(room) >= 0:
                keep = min64(held - 1, self.lots_within(position, room))
        elif profile.close_policy == CLOSE_FRACTION:
            keep = fraction_keep(
                profile, held, self.notional(position), pool in self.cooling)
        if keep and self.marked_notional(
                self.positions[position].symbol, keep) < profile.min_remainder:
            keep = 0
        return held - keep

    # Worst price in ticks at which closing `lots` costs at most `share` against mark; a sell
    # rounded up to the tick, a buy down, never below one tick.
    cdef int64_t bound_price(
        self, int32_t symbol, int side, int64_t lots, int64_t share
    ) except? -1:
        cdef instrument_t *instrument = &self.instruments[symbol]
        cdef i128 at_mark = wide(self.marked_worth(symbol, lots))
        cdef i128 per_tick = mul_wide(
            mul(lots, instrument.contract.unit_value), instrument.marks_per_tick)
        cdef i128 price
        if instrument.contract.kind == KIND_INVERSE:
            return self.inverse_bound(symbol, side, lots, share)
        if side == SIDE_SELL:
            price = ceil_div(sub(at_mark, wide(share)), per_tick)
        else:
            price = floor_div(add(at_mark, wide(share)), per_tick)
        return max64(1, narrow(price))

    # The same for an inverse position: at least one tick, at most MONEY_MAX marks.
    cdef int64_t inverse_bound(
        self, int32_t symbol, int side, int64_t lots, int64_t share
    ) except? -1:
        cdef instrument_t *instrument = &self.instruments[symbol]
        cdef i128 worth = wide(self.marked_worth(symbol, lots))
        cdef int64_t price
        worth = add(worth, wide(share)) if side == SIDE_SELL else sub(worth, wide(share))
        price = inverse_limit(
            side, mul(lots, instrument.contract.unit_value), worth, instrument.marks_per_tick)
        if price == NONE:
            return MONEY_MAX // instrument.marks_per_tick
        return max64(1, min64(MONEY_MAX // instrument.marks_per_tick, price))

    # Sweep lots through the book as an immediate order of a pool in liquidation, or of the
    # fund (account and position NIL).
    cdef int sweep_part(
        self, int32_t account, int32_t symbol, int32_t position, int side, int64_t lots,
        int64_t bound, int64_t *filled, int64_t *worth
    ) except -1:
        cdef int32_t taker = self.new_order()
        cdef order_t *order = &self.orders[taker]
        cdef ticket_t *ticket = &self.tickets[taker]
        order.price = bound
        ticket.quantity = order.leaves = lots
        order.account = account
        order.symbol = symbol
        ticket.position = position
        order.side = side
        ticket.kind = TYPE_LIMIT
        ticket.time_in_force = TIF_IOC
        order.is_reduce_only = ticket.is_liquidation = 1
        self.traded_value = 0
        self.sweep(taker, bound)
        worth[0] = self.traded_value
        filled[0] = lots - self.orders[taker].leaves
        self.free_order_row(taker)
        return 0

    # --- the fund ---------------------------------------------------------------------

    cdef int take_over(
        self, int32_t position, int side, int64_t lots, int64_t bound
    ) except -1:
        cdef int32_t symbol = self.positions[position].symbol
        cdef int sign = 1 if side == SIDE_BUY else -1
        cdef int64_t value = value_sign(
            &self.instruments[symbol].contract, side) * self.worth_at_tick(symbol, lots, bound)
        cdef int64_t account = self.accounts[self.positions[position].account].id
        cdef int64_t profit
        cdef int64_t *out
        self.settle_fill(position, sign * lots, value)
        profit = self.settle_house(
            symbol, &self.instruments[symbol].fund, -sign * lots, -value)
        self.drop_reduce_only(position)
        out = self.emit(EVENT_LIQUIDATION_TAKEOVER)
        out[0] = account
        out[1] = symbol
        out[2] = side
        out[3] = lots
        out[4] = bound
        out[5] = self.positions[position].leg
        return self.change_insurance(
            self.instruments[symbol].settle, profit, INSURANCE_INVENTORY, account)

    # Offer the fund's inventory to the book at the mark or better, as an immediate order.
    # The limit is rounded in the fund's favour: up for a sale, down for a purchase.
    cdef int reduce_inventory(self, int32_t symbol) except -1:
        cdef instrument_t *instrument = &self.instruments[symbol]
        cdef int64_t held = instrument.fund.quantity
        cdef int64_t filled, worth, limit
        cdef int side = SIDE_SELL if held > 0 else SIDE_BUY
        if side == SIDE_SELL:
            limit = narrow(ceil_div(wide(instrument.mark), wide(instrument.marks_per_tick)))
        else:
            limit = instrument.mark // instrument.marks_per_tick
        if limit:
            self.sweep_part(NIL, symbol, NIL, side, abs64(held), limit, &filled, &worth)
        return 0
