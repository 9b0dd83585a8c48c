"""Expiries, dead-man timers, multipliers to come, the end of a contract, cooldowns."""

from libc.stdlib cimport free

from engine.core.fixed cimport add_checked, sub_checked
from engine.core.ledger cimport asset_t, instrument_t
from engine.core.memory cimport larger
from engine.core.tiers cimport schedule_scale
from engine.core.types cimport (
    CANCEL_DEAD_MAN, CANCEL_EXPIRED, EVENT_MULTIPLIER_CHANGED, EVENT_ORDER_EXPIRED,
    EVENT_POSITION_SETTLED, EVENT_SETTLED, INSURANCE_INVENTORY, LEG_BOTH, NONE,
)


cdef bint is_earlier(const timer_t *a, const timer_t *b) noexcept nogil:
    if a.due != b.due:
        return a.due < b.due
    if a.kind != b.kind:
        return a.kind < b.kind
    return a.arrival < b.arrival


cdef class Timers(Entry):
    """Orders and accounts with a time of their own."""

    def __dealloc__(self):
        free(self.timers)

    # --- the heap ---------------------------------------------------------------------

    cdef int schedule(self, int kind, int64_t due, int64_t arrival, int32_t row) except -1 nogil:
        cdef timer_t timer
        # What was cancelled before its time stays in the heap until the heap has doubled.
        if self.timer_count >= self.timer_limit:
            self.drop_dead_timers()
        if self.timer_count == self.timer_capacity:
            self.timers = <timer_t *>larger(
                self.timers, &self.timer_capacity, self.timer_count + 1, sizeof(timer_t))
        timer.due, timer.arrival, timer.row, timer.kind = due, arrival, row, kind
        self.timers[self.timer_count] = timer
        self.timer_count += 1
        return self.sift_timer(self.timer_count - 1)

    # Whether a timer still means something: its order lives and is the same, its account
    # has not set another, its contract was not settled before.
    cdef bint is_live_timer(self, const timer_t *timer) noexcept nogil:
        if timer.kind == TIMER_DEAD_MAN:
            return self.accounts[timer.row].dead_man == timer.due
        if timer.kind == TIMER_MULTIPLIER:
            return self.instruments[timer.row].announced_ts == timer.due
        if timer.kind == TIMER_CONTRACT:
            return not self.instruments[timer.row].is_over
        if timer.kind == TIMER_COOLDOWN:
            self.hold()
            with gil:
                return (self.cooling.get(timer.row, NONE) == timer.due
                        or self.pausing.get(timer.row, NONE) == timer.due)
        return (self.tickets[timer.row].arrival == timer.arrival
                and self.is_listed(timer.row))

    cdef int sift_timer(self, int32_t index) noexcept nogil:
        cdef timer_t moving = self.timers[index]
        cdef int32_t parent, child
        while index > 0:
            parent = (index - 1) // 2
            if not is_earlier(&moving, &self.timers[parent]):
                break
            self.timers[index] = self.timers[parent]
            index = parent
        while True:
            child = 2 * index + 1
            if child >= self.timer_count:
                break
            if child + 1 < self.timer_count and is_earlier(
                    &self.timers[child + 1], &self.timers[child]):
                child += 1
            if not is_earlier(&self.timers[child], &moving):
                break
            self.timers[index] = self.timers[child]
            index = child
        self.timers[index] = moving
        return 0

    cdef int pop_timer(self) noexcept nogil:
        self.timer_count -= 1
        if self.timer_count:
            self.timers[0] = self.timers[self.timer_count]
            self.sift_timer(0)
        return 0

    cdef int drop_dead_timers(self) except -1 nogil:
        cdef int32_t i
        cdef int32_t kept = 0
        for i in range(self.timer_count):
            if self.is_live_timer(&self.timers[i]):
                self.timers[kept] = self.timers[i]
                kept += 1
        self.timer_count = kept
        self.timer_limit = 2 * kept + 64
        for i in range(kept // 2 - 1, -1, -1):
            self.sift_timer(i)
        return 0

    # --- time passes ------------------------------------------------------------------

    # Let happen what is due by `ts`, each at its own time; whether anything was. All cooldowns
    # and pauses that end at one moment are looked at together.
    cdef bint pass_time(self, int64_t ts) except -1 nogil:
        cdef bint has_fired = False
        cdef bint has_cooled = False
        cdef timer_t timer
        while self.timer_count and self.timers[0].due <= ts:
            timer = self.timers[0]
            self.pop_timer()
            if self.is_live_timer(&timer):
                has_fired = True
                self.ts = timer.due
                has_cooled |= timer.kind == TIMER_COOLDOWN
                self.fire(&timer)
            if has_cooled and not (self.timer_count and self.timers[0].due == self.ts):
                has_cooled = False
                self.settle()
        return has_fired

    cdef int schedule_cooldown(self, int32_t pool, int64_t until) except -1 nogil:
        return 0 if until <= self.ts else self.schedule(
            TIMER_COOLDOWN, until, self.accounts[self.pools[pool].account].id, pool)

    cdef int fire(self, const timer_t *timer) except -1 nogil:
        if timer.kind == TIMER_EXPIRY:
            return self.expire(timer.row)
        if timer.kind == TIMER_MULTIPLIER:
            self.change_multipliers(
                timer.row, self.instruments[timer.row].announced_maintenance,
                self.instruments[timer.row].announced_initial)
            return self.settle()  # whom it breaches is liquidated then, not later
        self.hold()
        if timer.kind == TIMER_CONTRACT:
            self.deliver(timer.row, self.instruments[timer.row].mark)
            return self.settle()
        if timer.kind == TIMER_COOLDOWN:
            with gil:
                if self.pausing.get(timer.row, NONE) == timer.due:
                    del self.pausing[timer.row]
            self.pools[timer.row].is_waiting = 0
            return self.note_pending(timer.row)
        self.accounts[timer.row].dead_man = NONE
        return self.cancel_of_account(timer.row, NONE, NONE, CANCEL_DEAD_MAN)

    cdef int expire(self, int32_t order) except -1 nogil:
        cdef int64_t *out
        cdef int32_t group
        if self.orders[order].is_resting:
            self.unrest(order)
        group = self.retire_order(order)  # readable until the row is used again
        out = self.emit(EVENT_ORDER_EXPIRED)
        out[0] = self.accounts[self.orders[order].account].id
        out[1] = self.orders[order].symbol
        out[2] = self.orders[order].order_id
        out[3] = self.tickets[order].quantity - self.orders[order].leaves
        out[4] = self.orders[order].leaves
        return self.dissolve_group(group) if group >= 0 else 0

    # Put multipliers into force; every holder is evaluated anew.
    cdef int change_multipliers(
        self, int32_t symbol, int64_t maintenance, int64_t initial
    ) except -1 nogil:
        cdef int64_t *out
        self.instruments[symbol].announced_ts = NONE
        schedule_scale(&self.instruments[symbol].schedule, maintenance, initial)
        self.multiply_schedules(symbol)
        out = self.emit(EVENT_MULTIPLIER_CHANGED)
        out[0] = symbol
        out[1] = maintenance
        out[2] = initial
        return self.reevaluate_holders(symbol)

    # Cancel a symbol's orders and close its positions at a price in mark ticks; NONE: there
    # are none. Then it is over. Inverse values round by themselves, so they need not add up
    # to nothing; what is left goes to the rounding account. O(accounts).
    cdef int deliver(self, int32_t symbol, int64_t price) except -1 with gil:
        cdef instrument_t *instrument = &self.instruments[symbol]
        cdef asset_t *books = &self.assets[instrument.settle]
        cdef int32_t i, account, row
        cdef int64_t value, quantity, profit
        cdef int64_t *out
        self.withdraw_offer(symbol, CANCEL_EXPIRED)
        for _, account in sorted([(self.accounts[i].id, i) for i in range(self.account_count)]):
            self.cancel_of_account(account, symbol, NONE, CANCEL_EXPIRED)
        instrument.is_over = 1
        instrument.announced_ts = NONE
        out = self.emit(EVENT_SETTLED)
        out[0] = symbol
        out[1] = price
        if price == NONE:
            return 0
        for _, row in sorted([
            (self.accounts[self.positions[instrument.holders[i]].account].id,
             instrument.holders[i])
            for i in range(instrument.holder_count)
        ]):
            quantity = self.positions[row].quantity
            value = self.value(symbol, quantity, price)
            self.emit_settled(
                self.accounts[self.positions[row].account].id, symbol, quantity, price,
                sub_checked(value, self.positions[row].entry_value), self.positions[row].leg)
            self.settle_fill(row, -quantity, -value)
            self.drop_reduce_only(row)
            books.rounding = sub_checked(books.rounding, value)
        profit = self.deliver_house(symbol, &instrument.external, price)
        books.external = add_checked(books.external, profit)
        if instrument.fund.quantity:
            quantity = instrument.fund.quantity
            profit = self.deliver_house(symbol, &instrument.fund, price)
            self.emit_settled(0, symbol, quantity, price, profit, LEG_BOTH)
            return self.change_insurance(instrument.insurer, profit, INSURANCE_INVENTORY, 0)
        return 0

    # Close the fund's or the external account's position; the profit.
    cdef int64_t deliver_house(
        self, int32_t symbol, house_t *house, int64_t price
    ) except? -1 nogil:
        cdef asset_t *books = &self.assets[self.instruments[symbol].settle]
        cdef int64_t value = self.value(symbol, house.quantity, price)
        books.rounding = sub_checked(books.rounding, value)
        return self.settle_house(symbol, house, -house.quantity, -value)

    cdef int emit_settled(
        self, int64_t account, int32_t symbol, int64_t quantity, int64_t price, int64_t profit,
        int leg
    ) except -1 nogil:
        cdef int64_t *out = self.emit(EVENT_POSITION_SETTLED)
        out[0] = account
        out[1] = symbol
        out[2] = quantity
        out[3] = price
        out[4] = profit
        out[5] = leg
        return 0

    # Cancel an account's orders by symbol and side (NONE: all), by symbol, leg, acceptance.
    cdef int cancel_of_account(
        self, int32_t account, int64_t symbol, int64_t side, int reason
    ) except -1 with gil:
        cdef int32_t position = self.accounts[account].first_position
        cdef int32_t order
        cdef list chosen
        while position >= 0:
            if symbol == NONE or self.positions[position].symbol == symbol:
                chosen = []
                order = self.orders_of(position).first
                while order >= 0:
                    if side == NONE or self.orders[order].side == side:
                        chosen.append((order, self.tickets[order].arrival))
                    order = self.tickets[order].own_next
                self.cancel_each(chosen, reason)
            position = self.positions[position].next_in_account
        return 0
