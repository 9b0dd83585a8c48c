"""One step of a liquidation: a part of a position, through book, fund and deleveraging."""

from engine.core.book cimport order_t, ticket_t
from engine.core.contracts cimport inverse_limit, value_sign
from engine.core.fixed cimport (
    abs64, add, add_checked, ceil_div, floor_div, i128, low_half, max64, min64, mul, mul3_wide,
    mul_wide, narrow, neg, sign_of, sub, sub_checked, wide,
)
from engine.core.ledger cimport instrument_t
from engine.core.levels cimport book_t
from engine.core.matching cimport is_paced
from engine.core.memory cimport larger
from engine.core.profiles cimport (
    fraction_keep, profile_t, ramp_lots, ramp_next, ramp_share, spread, target_room, tier_keep,
)
from engine.core.tiers cimport maintenance_margin, schedule_t, tier_index
from engine.core.types cimport (
    BACKSTOP_AFTER_FUND, BACKSTOP_BEFORE_FUND, BOUND_BANKRUPTCY, BOUND_FILLABLE,
    CHOICE_LARGEST_LOSS, CHOICE_LARGEST_MAINTENANCE, CLOSE_FRACTION, CLOSE_RAMP, CLOSE_TIER_STEP,
    CLOSE_TO_TARGET, EVENT_LEGS_NETTED, EVENT_LIQUIDATION_STEP, EVENT_LIQUIDATION_TAKEOVER,
    HALT_ALL, HALT_AUCTION, HALT_NO_LIQUIDATION, INSURANCE_INVENTORY, INSURANCE_LIQUIDATION_FEE,
    INSURANCE_SURPLUS, KIND_INVERSE, MONEY_MAX, NIL, NONE, RAMPOF_TARGET, RATE_SCALE, SIDE_BUY,
    SIDE_SELL, SURPLUS_FUND, TIF_IOC, TYPE_LIMIT, UNFILLED_TAKEOVER,
)
from libc.stdlib cimport free

# Levels of the book that say how liquid a symbol is.
cdef enum:
    LIQUIDITY_LEVELS = 10

cdef dict NOTHING = {}


cdef class Closing(Conversion):
    """The ways in which a pool gives up what it holds."""

    def __cinit__(self):
        self.cooling = {}
        self.pausing = {}
        self.ramp_since = {}
        self.ramped = {}

    def __dealloc__(self):
        free(self.tried)

    # See to it that a pool is looked at when its cooldown ends; `Timers` know how.
    cdef int schedule_cooldown(self, int32_t pool, int64_t until) except -1 nogil:
        return 0

    # Close long against short of each symbol at its mark; whether there were any. Isolated
    # legs never meet here: each is alone in its pool.
    cdef bint net_legs(self, int32_t pool) except -1 nogil:
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

    cdef int net_pair(self, int32_t long_leg, int32_t short_leg) except -1 nogil:
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

    cdef bint may_liquidate(self, int32_t symbol) noexcept nogil:
        cdef int halt = self.instruments[symbol].halt
        if self.instruments[symbol].pause:
            return False
        return halt != HALT_NO_LIQUIDATION and halt != HALT_ALL and halt != HALT_AUCTION

    # Whether a pool in liquidation may leave it: margin_ratio under 1 by the exit buffer.
    cdef bint is_healthy(self, const measured_t *row) except -1 nogil:
        cdef int64_t buffer
        if row.maintenance >= row.equity:
            return False
        buffer = self.instruments[self.positions[
            self.ruling_position(row.pool)].symbol].profile.exit_buffer
        return mul(row.maintenance, RATE_SCALE) < mul(row.equity, RATE_SCALE - buffer)

    # --- which position ---------------------------------------------------------------

    # The position to be closed next, of those that may be liquidated and were not tried in
    # vain; the first by symbol of equals, NIL where there is none.
    cdef int32_t choose_position(self, int32_t pool) except? -2 nogil:
        cdef int32_t row = self.pools[pool].first_open
        cdef int32_t chosen = NIL
        cdef int64_t most = -1, margin, choice
        if self.positions[row].next_open >= 0:
            choice = self.instruments[self.positions[
                self.ruling_position(pool)].symbol].profile.position_choice
            if choice != CHOICE_LARGEST_MAINTENANCE:
                return self.choose_by(pool, choice)
        while row >= 0:
            if self.may_liquidate(self.positions[row].symbol) and not self.was_tried(row):
                margin = self.maintenance(row)
                if margin > most:
                    most, chosen = margin, row
            row = self.positions[row].next_open
        return chosen

    cdef bint was_tried(self, int32_t position) noexcept nogil:
        cdef int32_t i
        for i in range(self.tried_count):
            if self.tried[i] == position:
                return True
        return False

    cdef int note_tried(self, int32_t position) except -1 nogil:
        if self.tried_count == self.tried_capacity:
            self.tried = <int32_t *>larger(
                self.tried, &self.tried_capacity, self.tried_count + 1, sizeof(int32_t))
        self.tried[self.tried_count] = position
        self.tried_count += 1
        return 0

    # The same by loss, or by what the book offers.
    cdef int32_t choose_by(self, int32_t pool, int64_t choice) except? -2 nogil:
        cdef int32_t row = self.pools[pool].first_open
        cdef int32_t chosen = NIL
        cdef i128 most = wide(0), figure
        while row >= 0:
            if self.may_liquidate(self.positions[row].symbol) and not self.was_tried(row):
                if choice == CHOICE_LARGEST_LOSS:
                    figure = neg(wide(self.unrealized(row)))
                else:
                    figure = self.liquidity(row)
                if chosen == NIL or figure > most:
                    most, chosen = figure, row
            row = self.positions[row].next_open
        return chosen

    # Money on show in the best levels against which a position would be closed, each level
    # toward zero.
    cdef i128 liquidity(self, int32_t position) noexcept nogil:
        cdef int32_t symbol = self.positions[position].symbol
        cdef const instrument_t *instrument = &self.instruments[symbol]
        cdef const book_t *book = &self.books[symbol]
        cdef int side = SIDE_BUY if self.positions[position].quantity > 0 else SIDE_SELL
        cdef int32_t level = book.sides[side].best
        cdef i128 total = wide(0), marks
        cdef int count = 0
        while level >= 0 and count < LIQUIDITY_LEVELS:
            marks = mul(book.levels[level].price, instrument.marks_per_tick)
            if instrument.contract.kind == KIND_INVERSE:
                total = add(total, floor_div(
                    mul(book.levels[level].quantity, instrument.contract.unit_value), marks))
            else:
                total = add(total, mul3_wide(
                    book.levels[level].quantity, low_half(marks),
                    instrument.contract.unit_value))
            level = book.levels[level].worse
            count += 1
        return total

    # --- how much, at which price, when -------------------------------------------------

    # What the next step would close of a position. Nothing changes.
    cdef int plan_step(
        self, int32_t pool, int32_t position, const measured_t *row, plan_t *plan
    ) except -1 nogil:
        cdef int32_t symbol = self.positions[position].symbol
        cdef const profile_t *profile = &self.instruments[symbol].profile
        cdef int64_t since = self.ts, part, room
        if self.ramp_since:
            with gil:
                since = self.ramp_since.get(pool, self.ts)
        plan.is_sliced = False
        plan.resume = NONE
        plan.lots = self.close_quantity(pool, position, row, since)
        if plan.lots == 0:
            plan.resume = ramp_next(profile, since, self.ts)
            return 0
        if row.equity > 0:
            if profile.slice_max_share != NONE:
                self.set_prices(position, row, plan)
                part = self.slice_of(position, row, plan)
                if part < plan.lots:
                    plan.lots, plan.is_sliced = part, True
            if profile.slice_rate != NONE:
                room = self.rate_room(symbol)
                if room == 0:
                    plan.lots = 0
                    plan.resume = min64(MONEY_MAX, add_checked(
                        self.instruments[symbol].slices_since, profile.slice_interval))
                    return 0
                plan.lots = min64(plan.lots, room)
        return self.set_prices(position, row, plan)

    # The bound of a part, which is its bankruptcy price, and its limit in the book.
    cdef int set_prices(
        self, int32_t position, const measured_t *row, plan_t *plan
    ) except -1 nogil:
        cdef int32_t symbol = self.positions[position].symbol
        cdef const instrument_t *instrument = &self.instruments[symbol]
        cdef int64_t held = abs64(self.positions[position].quantity)
        cdef int side = SIDE_SELL if self.positions[position].quantity > 0 else SIDE_BUY
        cdef int64_t after = 0, share = row.equity
        if held > plan.lots:
            after = maintenance_margin(
                self.schedule_of(&self.positions[position]),
                self.marked_notional(symbol, held - plan.lots))
        if row.maintenance > 0:
            # The part's share of the equity; floor: against the trader, also below zero.
            share = narrow(floor_div(
                mul(row.equity, self.maintenance(position) - after), wide(row.maintenance)))
        plan.bound = plan.limit = self.bound_price(symbol, side, plan.lots, share)
        if instrument.profile.order_bound != BOUND_BANKRUPTCY and row.equity > 0:
            plan.limit = self.order_limit(position, row, plan.bound)
        return 0

    # The worst price that a step takes in the book where that is not the bound, and never
    # beyond it: a sell rounded up to the tick, a buy down. There must be equity left.
    cdef int64_t order_limit(
        self, int32_t position, const measured_t *row, int64_t bound
    ) except? -1 nogil:
        cdef int32_t symbol = self.positions[position].symbol
        cdef const instrument_t *instrument = &self.instruments[symbol]
        cdef const profile_t *profile = &instrument.profile
        cdef int side = SIDE_SELL if self.positions[position].quantity > 0 else SIDE_BUY
        cdef i128 scale = mul(RATE_SCALE, instrument.marks_per_tick)
        cdef int64_t price
        if profile.order_bound == BOUND_FILLABLE:
            price = self.bound_price(
                symbol, side, abs64(self.positions[position].quantity),
                spread(profile, self.maintenance(position), row.equity, row.maintenance))
        elif side == SIDE_SELL:
            price = narrow(ceil_div(
                mul(instrument.mark, RATE_SCALE - profile.bound_band), scale))
        else:
            price = max64(1, narrow(floor_div(
                mul(instrument.mark, RATE_SCALE + profile.bound_band), scale)))
        return max64(price, bound) if side == SIDE_SELL else min64(price, bound)

    # Lots of a step that its share of the book allows: floor, at least one lot. The book is
    # what is on show at the limit of the whole step or better; where there is nothing, there
    # is nothing to spare.
    cdef int64_t slice_of(
        self, int32_t position, const measured_t *row, const plan_t *plan
    ) except? -1 nogil:
        cdef int32_t symbol = self.positions[position].symbol
        cdef const book_t *book = &self.books[symbol]
        cdef int64_t share = self.instruments[symbol].profile.slice_max_share
        cdef int side = SIDE_BUY if self.positions[position].quantity > 0 else SIDE_SELL
        cdef int sign = 1 if side == SIDE_BUY else -1
        cdef int32_t level = book.sides[side].best
        cdef i128 depth = wide(0), part
        while level >= 0 and sign * (book.levels[level].price - plan.limit) >= 0:
            depth = add(depth, wide(book.levels[level].quantity))
            level = book.levels[level].worse
        if sign_of(depth) == 0:
            return plan.lots
        part = floor_div(mul_wide(depth, share), wide(RATE_SCALE))
        return plan.lots if part >= wide(plan.lots) else max64(1, narrow(part))

    # Lots of a symbol that the interval still allows: floor, in a fresh one at least one.
    cdef int64_t rate_room(self, int32_t symbol) except? -1 nogil:
        cdef const instrument_t *instrument = &self.instruments[symbol]
        cdef int64_t taken = self.slices_taken(symbol)
        cdef int64_t left = max64(0, instrument.profile.slice_rate - taken)
        cdef i128 room
        if instrument.contract.kind == KIND_INVERSE:
            room = floor_div(mul(left, instrument.mark), wide(instrument.contract.unit_value))
        else:
            room = floor_div(wide(left), mul(instrument.mark, instrument.contract.unit_value))
        if room > wide(MONEY_MAX):
            return MONEY_MAX
        return narrow(room) if taken else max64(1, narrow(room))

    # Notional that slices have closed in the interval under way; 0: there is none.
    cdef int64_t slices_taken(self, int32_t symbol) except? -1 nogil:
        cdef const instrument_t *instrument = &self.instruments[symbol]
        if self.ts - instrument.slices_since >= instrument.profile.slice_interval:
            return 0
        return instrument.slices_taken

    # Remember what a step closed, and pause where more must wait for its time.
    cdef int note_part(
        self, int32_t pool, int32_t position, const plan_t *plan, int64_t lots, int64_t equity
    ) except -1 nogil:
        cdef int32_t symbol = self.positions[position].symbol
        cdef instrument_t *instrument = &self.instruments[symbol]
        cdef const profile_t *profile = &instrument.profile
        cdef int64_t taken
        if lots == 0:
            return 0
        if profile.close_policy == CLOSE_RAMP:
            self.note_ramp(pool, position, lots)
        if plan.is_sliced:
            self.pause(pool, add_checked(self.ts, profile.slice_interval))
        if equity > 0 and profile.slice_rate != NONE:
            taken = self.slices_taken(symbol)
            if taken == 0:
                instrument.slices_since = self.ts
            instrument.slices_taken = min64(
                MONEY_MAX, add_checked(taken, self.marked_notional(symbol, lots)))
        return 0

    cdef int note_ramp(self, int32_t pool, int32_t position, int64_t lots) except -1 with gil:
        cdef const profile_t *profile = &self.instruments[self.positions[position].symbol].profile
        cdef int64_t since = self.ramp_since.setdefault(pool, self.ts)
        cdef dict closed = self.ramped.setdefault(pool, {})
        closed[position] = min(MONEY_MAX, closed.get(position, 0) + lots)
        return self.pause(pool, ramp_next(profile, since, self.ts))

    # Let a pool alone until a time to come; NONE: as it is.
    cdef int pause(self, int32_t pool, int64_t until) except -1 with gil:
        until = min64(MONEY_MAX, until)
        if until > self.ts:
            self.pausing[pool] = until
            self.schedule_cooldown(pool, until)
        return 0

    # --- one step -----------------------------------------------------------------------

    # Close one part of one position: book, fund, deleveraging. Returns the lots that
    # nobody would take.
    cdef int64_t step(
        self, int32_t pool, int32_t position, const plan_t *plan, const measured_t *row
    ) except? -1 nogil:
        cdef int32_t symbol = self.positions[position].symbol
        cdef instrument_t *instrument = &self.instruments[symbol]
        cdef int64_t held = abs64(self.positions[position].quantity)
        cdef profile_t *profile = &instrument.profile
        cdef int64_t lots = plan.lots
        cdef int side = SIDE_SELL if self.positions[position].quantity > 0 else SIDE_BUY
        cdef int64_t bound = plan.bound
        cdef int64_t filled, worth, fee, saved
        cdef const schedule_t *schedule = self.schedule_of(&self.positions[position])
        cdef int tier_from = tier_index(schedule, self.notional(position)) + 1
        cdef int64_t *out
        cdef int64_t wanted = lots, until
        cdef Py_ssize_t silent
        self.pools[pool].steps += 1
        self.sweep_part(
            self.positions[position].account, symbol, position, side, lots, plan.limit,
            &filled, &worth)
        silent = self.records.count
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
        out[5] = plan.limit
        out[6] = tier_from
        out[7] = tier_index(schedule, self.notional(position)) + 1
        out[8] = filled
        out[9] = worth
        out[10] = fee
        out[11] = self.positions[position].leg
        self.pay_to_fund(pool, symbol, fee, INSURANCE_LIQUIDATION_FEE)
        if profile.surplus == SURPLUS_FUND:
            self.pay_to_fund(pool, symbol, saved - fee, INSURANCE_SURPLUS)
        lots -= filled
        if lots and (row.equity <= 0 or profile.unfilled == UNFILLED_TAKEOVER):
            lots = self.pass_on(position, side, lots, bound)
        if lots == wanted and self.pools[pool].has_stuck:
            # Tried again in vain: nothing happened, and nothing is said.
            self.records.count = silent
            self.pools[pool].steps -= 1
        if profile.close_policy == CLOSE_FRACTION and lots < wanted < held:
            until = min64(MONEY_MAX, add_checked(self.ts, profile.cooldown))
            with gil:
                self.cooling[pool] = until
            self.schedule_cooldown(pool, until)
        self.note_part(pool, position, plan, wanted - lots, row.equity)
        return lots

    # Give what the book did not take to the fund, else to holders; returns what is left.
    # Backstops are asked before the fund or behind it.
    cdef int64_t pass_on(
        self, int32_t position, int side, int64_t lots, int64_t bound
    ) except? -1 nogil:
        cdef int32_t symbol = self.positions[position].symbol
        cdef instrument_t *instrument = &self.instruments[symbol]
        if self.backstops and instrument.profile.backstop == BACKSTOP_BEFORE_FUND:
            lots = self.give_to_backstops(position, side, lots, bound)
        if lots and self.fund_can_take(
                symbol, side, lots, bound, self.accounts[self.positions[position].account].id):
            self.take_over(position, side, lots, bound)
            return 0
        if self.backstops and instrument.profile.backstop == BACKSTOP_AFTER_FUND:
            lots = self.give_to_backstops(position, side, lots, bound)
        if lots == 0 or not instrument.profile.adl:
            return lots
        return self.auto_deleverage(position, side, lots, bound)

    cdef int pay_to_fund(
        self, int32_t pool, int32_t symbol, int64_t amount, int reason
    ) except -1 nogil:
        if amount == 0:
            return 0
        self.pools[pool].balance = sub_checked(self.pools[pool].balance, amount)
        self.touch(pool)
        return self.change_insurance(
            self.instruments[symbol].insurer, amount, reason,
            self.accounts[self.pools[pool].account].id)

    # Lots that the next step closes, by the policy of the position's symbol; none where a ramp
    # that began at `since` has no more due. Spent equity has all of it due.
    cdef int64_t close_quantity(
        self, int32_t pool, int32_t position, const measured_t *row, int64_t since
    ) except? -1 nogil:
        cdef instrument_t *instrument = &self.instruments[self.positions[position].symbol]
        cdef profile_t *profile = &instrument.profile
        cdef int64_t held = abs64(self.positions[position].quantity)
        cdef int64_t keep = 0, wanted, due, done = 0
        cdef bint is_cooling = False
        if profile.close_policy == CLOSE_TIER_STEP:
            keep = tier_keep(
                self.schedule_of(&self.positions[position]), profile.tiers_per_step, held,
                &instrument.contract, instrument.mark)
        elif profile.close_policy == CLOSE_TO_TARGET:
            keep = self.target_keep(pool, position, row)
        elif profile.close_policy == CLOSE_FRACTION:
            if self.cooling:
                with gil:
                    is_cooling = pool in self.cooling
            keep = fraction_keep(profile, held, self.notional(position), is_cooling)
        elif profile.close_policy == CLOSE_RAMP:
            wanted = held
            if profile.ramp_of == RAMPOF_TARGET:
                wanted -= self.target_keep(pool, position, row)
            due = ramp_share(profile, self.ts - since) if row.equity > 0 else RATE_SCALE
            if self.ramped:
                with gil:
                    done = self.ramped.get(pool, NOTHING).get(position, 0)
            keep = held - ramp_lots(wanted, due, done)
            if keep == held:
                return 0
        if keep and self.marked_notional(
                self.positions[position].symbol, keep) < profile.min_remainder:
            keep = 0
        return held - keep

    # Most lots that leave the pool healthy and its margin ratio at the target or under it.
    cdef int64_t target_keep(
        self, int32_t pool, int32_t position, const measured_t *row
    ) except? -1 nogil:
        cdef const profile_t *profile = &self.instruments[self.positions[position].symbol].profile
        cdef int32_t ruling = self.positions[self.ruling_position(pool)].symbol
        cdef i128 room = target_room(
            profile, self.instruments[ruling].profile.exit_buffer, row.equity,
            row.maintenance - self.maintenance(position))
        if sign_of(room) < 0:
            return 0
        return min64(
            abs64(self.positions[position].quantity) - 1, self.lots_within(position, room))

    # Worst price in ticks at which closing `lots` costs at most `share` against mark; a sell
    # rounded up to the tick, a buy down, never below one tick.
    cdef int64_t bound_price(
        self, int32_t symbol, int side, int64_t lots, int64_t share
    ) except? -1 nogil:
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
    ) except? -1 nogil:
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
    ) except -1 nogil:
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

    # Whether the fund stays solvent, its inventory margined at mark, with this on top, and
    # within the limits that the profile sets it; the pooled fund may help it out.
    cdef bint fund_can_take(
        self, int32_t symbol, int side, int64_t lots, int64_t bound, int64_t account
    ) except -1 nogil:
        cdef instrument_t *instrument = &self.instruments[symbol]
        cdef int64_t taken = lots if side == SIDE_SELL else -lots
        cdef int64_t value
        if not self.is_within_limits(symbol, taken):
            return False
        value = -value_sign(&instrument.contract, side) * self.worth_at_tick(symbol, lots, bound)
        return self.find_help(
            symbol, -self.fund_free(instrument.insurer, symbol, taken, value), account)

    cdef int take_over(
        self, int32_t position, int side, int64_t lots, int64_t bound
    ) except -1 nogil:
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
        self.change_insurance(
            self.instruments[symbol].insurer, profit, INSURANCE_INVENTORY, account)
        if is_paced(self.instruments[symbol].profile.fund_workoff):
            self.instruments[symbol].workoff.lots = abs64(self.instruments[symbol].fund.quantity)
        return self.drop_offer(symbol)
