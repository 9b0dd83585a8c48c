"""Commands about orders, and the frame of every command."""

cimport cython

from engine.errors import InvariantViolation

from engine.core.book cimport (
    ORDER_LIVE, ORDER_PENDING, ORDER_UNARMED, PyGILState_Check, order_t, ticket_t,
)
from engine.core.fixed cimport add, wide
from engine.core.forms cimport check_form, is_conditional, is_market, may_rest, positive
from engine.core.ledger cimport closes_leg
from engine.core.linked cimport special_t
from engine.core.protection cimport protection_t
from engine.core.tables cimport table_put, table_tag
from engine.core.timers cimport TIMER_DEAD_MAN, TIMER_EXPIRY
from engine.core.types cimport (
    ACCEPTED, BY_MARK, CANCEL_AMEND, CANCEL_USER, EVENT_CANCEL_ALL_AFTER, EVENT_PROTECTION_SET,
    EVENT_REJECTED, LEG_BOTH, LEG_LONG, LEG_SHORT, MONEY_MAX, NIL, NONE, OFF_GRID,
    POSITIONS_ONE_WAY, REJECT_DUPLICATE_ORDER_ID, REJECT_EXPIRED, REJECT_MALFORMED,
    REJECT_OCO_GROUP, REJECT_OFF_LOT, REJECT_OFF_TICK, REJECT_OVERFLOW, REJECT_REDUCE_ONLY,
    REJECT_UNKNOWN_ACCOUNT, REJECT_UNKNOWN_ORDER, REJECT_UNKNOWN_SYMBOL, TOO_LARGE,
)
from libc.stdint cimport int8_t, uint8_t

cdef extern from *:
    const bint ENGINE_DEBUG      # 1 in debug builds: every invariant after every command


cdef class Orders(Timers):
    """Commands about orders, and the frame of every command."""

    # --- the frame --------------------------------------------------------------------

    # Open a command: number it, set the time. False where time would go back.
    cdef bint begin(self, int64_t ts) except -1 nogil:
        # The thread of the batch has let go of the GIL: whoever has it is another one.
        if self.is_unlocked and PyGILState_Check():
            raise RuntimeError("another thread is in the middle of a batch on this exchange")
        if self.is_busy:
            raise InvariantViolation("the engine stopped at an earlier failure")
        self.is_busy = True
        self.seq += 1
        self.cause = self.seq
        self.ts_before = self.ts
        if ts != NONE:
            if ts < self.ts:
                self.needed = self.limit = NONE
                return False
            # What is due happens whether or not the command is then refused.
            if self.timer_count and self.timers[0].due <= ts and self.pass_time(ts):
                self.ts_before = self.ts
                self.needed = self.limit = NONE
            self.ts = ts
        self.needed = self.limit = NONE  # of this command, not of what was due before it
        return True

    # Close a command: work off what it set off, or report its refusal. A failure on the
    # way leaves `is_busy` set, so the engine refuses to go on from a half-done state.
    cdef int end(
        self, int64_t command, int reason, int64_t account, int64_t asset, int64_t symbol,
        int64_t order_id
    ) except -1 nogil:
        cdef int64_t *out
        if reason == ACCEPTED:
            self.settle()
        else:
            self.rejected_seq = self.seq
            out = self.emit(EVENT_REJECTED)
            out[0] = command
            out[1] = reason
            out[2] = account
            out[3] = asset
            out[4] = symbol
            out[5] = order_id
            out[6] = self.needed
            out[7] = self.limit
            self.ts = self.ts_before
        if ENGINE_DEBUG:
            with gil:
                self.check()
        self.is_busy = False
        return 0

    def check(self):
        """Assert the invariants of everything; `Audit` knows how."""

    # --- new orders -------------------------------------------------------------------

    cdef int do_place(self, request_t *form) except -2 nogil:
        cdef int32_t owner, position, row
        cdef int64_t limit
        cdef bint is_waiting = is_conditional(<int>form.kind)
        cdef bint is_reduce_only
        cdef int reason
        owner = self.find_account(form.account)
        if not self.settle_leg(form, owner):
            return REJECT_MALFORMED
        is_reduce_only = form.reduce_only or form.close_position
        reason = check_form(form, self.ts)
        if reason != ACCEPTED:
            return reason
        if not 0 <= form.symbol < self.instrument_count:
            return REJECT_UNKNOWN_SYMBOL
        if owner < 0:
            return REJECT_UNKNOWN_ACCOUNT
        position = self.position_at(owner, <int32_t>form.symbol, <int>form.leg)
        reason = self.check_names(form, owner, position, is_reduce_only)
        if reason == ACCEPTED:
            reason = self.check_open(position, is_reduce_only, is_waiting or (
                may_rest(<int>form.kind, <int>form.time_in_force) and not form.post_only))
        if reason == ACCEPTED:
            reason = check_grid(form)
        if reason != ACCEPTED:
            return reason
        row = self.draft(form, owner, position)
        reason = self.check_limits(row, True)
        if reason == ACCEPTED and self.tickets[row].special >= 0:
            reason = self.check_terms(row)
            if reason == ACCEPTED:
                reason = check_children(form)
        limit = self.limit_of(row)
        if reason == ACCEPTED and is_waiting:
            if self.tickets[row].quantity == 0:
                reason = REJECT_REDUCE_ONLY
        elif reason == ACCEPTED:
            reason = self.check_size(row)
            if reason == ACCEPTED:
                reason = self.check_entry(row, limit, NIL)
        if reason != ACCEPTED:
            self.discard(row)
            return reason
        self.accept(row, form)
        if is_waiting:
            self.note_order(row)
            self.wait(row)
        else:
            self.enter(row, limit)
        self.retry_waiting()
        return ACCEPTED

    # Whether a leg is one that the account (row, NIL: nobody's) has.
    @cython.final
    cdef bint has_leg(self, int32_t owner, int64_t leg) noexcept nogil:
        if owner < 0:
            return LEG_BOTH <= leg <= LEG_SHORT
        if self.accounts[owner].position_mode == POSITIONS_ONE_WAY:
            return leg == LEG_BOTH
        return leg == LEG_LONG or leg == LEG_SHORT

    # Whether an order's leg makes sense. What closes it is reduce-only by nature, what opens
    # it never.
    @cython.final
    cdef bint settle_leg(self, request_t *form, int32_t owner) noexcept nogil:
        if not self.has_leg(owner, form.leg):
            return False
        if form.leg == LEG_BOTH:
            return True
        if closes_leg(form.leg, form.side):
            form.reduce_only = True
            return True
        return not (form.reduce_only or form.close_position)

    # Refuse ids that are taken, and a group of orders of another kind.
    @cython.final
    cdef int check_names(
        self, const request_t *form, int32_t owner, int32_t position, bint is_reduce_only
    ) except -2 nogil:
        cdef int32_t group, member
        cdef int which
        if self.find_id(owner, form.order_id) >= 0:
            return REJECT_DUPLICATE_ORDER_ID
        if form.is_plain:
            return ACCEPTED
        for which in range(2):
            if form.child_id[which] != NONE and self.find_id(owner, form.child_id[which]) >= 0:
                return REJECT_DUPLICATE_ORDER_ID
        if form.oco == NONE:
            return ACCEPTED
        if self.twin_of(position) >= 0 and (
                self.find_group(self.twin_of(position), form.oco) >= 0):
            return REJECT_OCO_GROUP
        group = self.find_group(position, form.oco)
        if group >= 0:
            member = self.groups[group].first
            if (self.orders[member].side != form.side
                    or self.orders[member].is_reduce_only != is_reduce_only):
                return REJECT_OCO_GROUP
        return ACCEPTED

    # A row for the order that is asked for, not yet anybody's.
    @cython.final
    cdef int32_t draft(
        self, const request_t *form, int32_t owner, int32_t position
    ) except -1 nogil:
        cdef int32_t row = self.new_order()
        cdef order_t *order = &self.orders[row]
        cdef ticket_t *ticket = &self.tickets[row]
        cdef special_t *special
        order.order_id = form.order_id
        order.price = form.price
        ticket.quantity = order.leaves = form.quantity
        order.account = owner
        order.symbol = <int32_t>form.symbol
        ticket.position = position
        order.side = <uint8_t>form.side
        ticket.kind = <uint8_t>form.kind
        ticket.time_in_force = <uint8_t>form.time_in_force
        order.stp = <uint8_t>form.stp
        ticket.is_post_only = form.post_only
        order.is_reduce_only = form.reduce_only or form.close_position
        if is_conditional(ticket.kind):
            ticket.state = ORDER_PENDING
        elif form.is_plain:
            return row
        special = &self.specials[self.special_of(row)]
        special.trigger_price = form.trigger_price
        special.callback_rate = form.callback_rate
        special.display = form.display
        special.expire_ts = form.expire_ts
        special.close_position = special.is_bound = form.close_position
        if is_conditional(ticket.kind):
            special.trigger_by = BY_MARK if form.trigger_by == NONE else <int8_t>form.trigger_by
        if form.close_position:
            ticket.quantity = order.leaves = self.reducible(row)
        return row

    # Throw a draft away.
    @cython.final
    cdef int discard(self, int32_t row) except -1 nogil:
        cdef int32_t special = self.tickets[row].special
        if special >= 0:
            self.specials[special].group = self.free_special
            self.free_special = special
        self.free_order_row(row)
        return 0

    # Make a draft its owner's order: its id, its links, its number and its event.
    @cython.final
    cdef int accept(self, int32_t row, const request_t *form) except -1 nogil:
        cdef int32_t position = self.tickets[row].position
        cdef int32_t group, bracket
        cdef int which
        table_put(&self.order_table, table_tag(self.orders[row].account, form.order_id), row)
        self.link_order(row)
        if form.is_plain:
            return self.emit_accepted(row)
        if form.oco != NONE:
            group = self.find_group(position, form.oco)
            if group < 0:
                group = self.new_group(position, form.oco)
            self.join_group(row, group)
        self.emit_accepted(row)
        if form.expire_ts != NONE:
            self.schedule(TIMER_EXPIRY, form.expire_ts, self.tickets[row].arrival, row)
        if form.child_id[0] != NONE or form.child_id[1] != NONE:
            bracket = self.new_bracket(row)
            for which in range(2):
                if form.child_id[which] != NONE:
                    self.new_child(
                        row, bracket, which, form.child_id[which], form.child_trigger[which],
                        BY_MARK if form.child_by[which] == NONE else <int>form.child_by[which],
                        form.child_price[which])
        return 0

    # --- amends -----------------------------------------------------------------------

    cdef int do_amend(
        self, int64_t account, int64_t symbol, int64_t order_id, int64_t price,
        int64_t quantity, int64_t leaves, int64_t trigger_price
    ) except -2 nogil:
        cdef int32_t owner, row
        cdef int reason
        if price == NONE and quantity == NONE and leaves == NONE and trigger_price == NONE:
            return REJECT_MALFORMED
        if quantity != NONE and leaves != NONE:
            return REJECT_MALFORMED
        if not (optional(price) and optional(quantity) and optional(trigger_price)):
            return REJECT_MALFORMED
        if not 0 <= symbol < self.instrument_count:
            return REJECT_UNKNOWN_SYMBOL
        owner = self.find_account(account)
        if owner < 0:
            return REJECT_UNKNOWN_ACCOUNT
        row = self.find_order(owner, symbol, order_id)
        if row < 0:
            return REJECT_UNKNOWN_ORDER
        reason = self.check_suits(row, price, quantity, leaves, trigger_price)
        if reason != ACCEPTED:
            return reason
        if price == OFF_GRID or trigger_price == OFF_GRID:
            return REJECT_OFF_TICK
        if quantity == OFF_GRID or leaves == OFF_GRID:
            return REJECT_OFF_LOT
        if price == NONE:
            price = self.orders[row].price
        if leaves == NONE:
            leaves = self.orders[row].leaves
            if quantity == TOO_LARGE:
                leaves = TOO_LARGE
            elif quantity != NONE:
                leaves = quantity - (self.tickets[row].quantity - self.orders[row].leaves)
        reason = self.amend(row, price, leaves, trigger_price)
        if reason == ACCEPTED:
            self.retry_waiting()
        return reason

    # An account's live order of a symbol, NIL where there is none.
    @cython.final
    cdef int32_t find_order(self, int32_t owner, int64_t symbol, int64_t order_id) noexcept nogil:
        cdef int32_t row = self.find_id(owner, order_id)
        if row < 0 or self.orders[row].symbol != symbol or (
                self.tickets[row].state == ORDER_UNARMED):
            return NIL
        return row

    # Whether the order has what is to be changed, and its symbol and owner allow it.
    @cython.final
    cdef int check_suits(
        self, int32_t row, int64_t price, int64_t quantity, int64_t leaves,
        int64_t trigger_price
    ) except -2 nogil:
        cdef ticket_t *ticket = &self.tickets[row]
        if trigger_price != NONE and not (
                ticket.state == ORDER_PENDING and self.specials[ticket.special].peak == NONE):
            return REJECT_MALFORMED
        if price != NONE and is_market(ticket.kind):
            return REJECT_MALFORMED
        if (quantity != NONE or leaves != NONE) and self.closes_position(row):
            return REJECT_MALFORMED
        return self.check_open(
            ticket.position, self.orders[row].is_reduce_only,
            ticket.state == ORDER_PENDING or not ticket.is_post_only)

    # Change an order to a price, an open quantity and a trigger (NONE: the old one).
    @cython.final
    cdef int amend(
        self, int32_t row, int64_t price, int64_t leaves, int64_t trigger_price
    ) except -2 nogil:
        cdef int64_t filled = self.tickets[row].quantity - self.orders[row].leaves
        cdef int32_t probe
        cdef int reason
        if leaves <= 0 and leaves != TOO_LARGE:
            self.cancel_order(row, CANCEL_AMEND)
            return ACCEPTED
        if self.tickets[row].state == ORDER_LIVE and price == self.orders[row].price and (
                leaves != TOO_LARGE and leaves <= self.orders[row].leaves):
            # In place: the order keeps its turn.
            self.tickets[row].quantity = filled + leaves
            self.take_off(row, self.orders[row].leaves - leaves)
            self.emit_amended(row)
            self.on_change(row)
            return ACCEPTED
        # The changed order is checked as a row of its own while the old one is still there.
        probe = self.new_order()
        self.orders[probe] = self.orders[row]
        self.tickets[probe] = self.tickets[row]
        self.orders[probe].price = price
        self.orders[probe].leaves = leaves
        self.tickets[probe].quantity = TOO_LARGE if leaves == TOO_LARGE else filled + leaves
        reason = self.check_limits(probe, False)
        if self.tickets[row].state == ORDER_PENDING:
            if reason == ACCEPTED:
                reason = self.check_terms(probe)
            if reason == ACCEPTED and (trigger_price == TOO_LARGE or trigger_price > MONEY_MAX):
                reason = REJECT_OVERFLOW
            if reason == ACCEPTED:
                self.unfile_order(row)
                if trigger_price != NONE:
                    self.specials[self.tickets[row].special].trigger_price = trigger_price
                self.take_changes(row, probe)
                self.note_order(row)
                self.wait(row)
            self.free_order_row(probe)
            return reason
        if reason == ACCEPTED:
            reason = self.check_size(probe)
        if reason == ACCEPTED:
            reason = self.check_entry(probe, price, row)
        if reason == ACCEPTED:
            self.unrest(row)
            self.sync_reserve(row, 0)
            self.take_changes(row, probe)
        self.free_order_row(probe)
        if reason == ACCEPTED:
            self.enter(row, price)
        return reason

    @cython.final
    cdef int take_changes(self, int32_t row, int32_t probe) except -1 nogil:
        self.orders[row].price = self.orders[probe].price
        self.orders[row].leaves = self.orders[probe].leaves
        self.tickets[row].quantity = self.tickets[probe].quantity
        return self.emit_amended(row)

    # --- cancels ----------------------------------------------------------------------

    cdef int do_cancel(self, int64_t account, int64_t symbol, int64_t order_id) except -2 nogil:
        cdef int32_t owner, row
        if not 0 <= symbol < self.instrument_count:
            return REJECT_UNKNOWN_SYMBOL
        owner = self.find_account(account)
        if owner < 0:
            return REJECT_UNKNOWN_ACCOUNT
        row = self.find_order(owner, symbol, order_id)
        if row < 0:
            return REJECT_UNKNOWN_ORDER
        self.cancel_order(row, CANCEL_USER)
        return ACCEPTED

    # By account, symbol and side (NONE: all), in order of account id, symbol, leg, acceptance.
    cdef int do_cancel_all(self, int64_t account, int64_t symbol, int64_t side) except -2 with gil:
        cdef int32_t owner
        if symbol != NONE and not 0 <= symbol < self.instrument_count:
            return REJECT_UNKNOWN_SYMBOL
        if account != NONE:
            owner = self.find_account(account)
            if owner < 0:
                return REJECT_UNKNOWN_ACCOUNT
            self.cancel_of_account(owner, symbol, side, CANCEL_USER)
            return ACCEPTED
        for _, owner in sorted([(self.accounts[i].id, i) for i in range(self.account_count)]):
            self.cancel_of_account(owner, symbol, side, CANCEL_USER)
        return ACCEPTED

    # --- dead-man timers and protection -----------------------------------------------

    cdef int do_cancel_all_after(self, int64_t account, int64_t timeout) except -2 nogil:
        cdef int32_t owner
        cdef int64_t due = NONE
        cdef int64_t *out
        if timeout < 0 or add(wide(self.ts), wide(timeout)) > wide(MONEY_MAX):
            return REJECT_MALFORMED
        owner = self.find_account(account)
        if owner < 0:
            return REJECT_UNKNOWN_ACCOUNT
        if timeout:
            due = self.ts + timeout
            if due != self.accounts[owner].dead_man:
                self.schedule(TIMER_DEAD_MAN, due, account, owner)
        self.accounts[owner].dead_man = due
        out = self.emit(EVENT_CANCEL_ALL_AFTER)
        out[0] = account
        out[1] = due
        return ACCEPTED

    cdef int do_set_protection(
        self, int64_t account, int64_t symbol, int64_t window, int64_t quantity, int64_t count,
        int64_t freeze
    ) except -2 nogil:
        cdef int32_t owner, position
        cdef protection_t *row
        cdef int64_t *out
        cdef bint is_on = quantity != NONE or count != NONE
        if freeze < 0 or not optional(quantity) or (count != NONE and count <= 0) or (
                is_on and window <= 0):
            return REJECT_MALFORMED
        if not 0 <= symbol < self.instrument_count:
            return REJECT_UNKNOWN_SYMBOL
        owner = self.find_account(account)
        if owner < 0:
            return REJECT_UNKNOWN_ACCOUNT
        if self.instruments[symbol].is_over:
            return REJECT_EXPIRED
        if quantity == OFF_GRID:
            return REJECT_OFF_LOT
        if quantity == TOO_LARGE or quantity > MONEY_MAX:
            return REJECT_OVERFLOW
        position = self.position_at(owner, <int32_t>symbol, self.first_leg(owner))
        row = self.protection_at(position)
        row.is_on = is_on
        row.window, row.quantity, row.count, row.freeze = window, quantity, count, freeze
        row.start = NONE
        row.lots = row.trades = row.frozen_until = 0
        out = self.emit(EVENT_PROTECTION_SET)
        out[0] = account
        out[1] = symbol
        out[2] = window if is_on else NONE
        out[3] = quantity
        out[4] = count
        out[5] = freeze if is_on else NONE
        return ACCEPTED


cdef inline bint optional(int64_t value) noexcept nogil:
    return value == NONE or positive(value)


# Prices of an order and its children, then quantities: on their grids?
cdef int check_grid(const request_t *form) noexcept nogil:
    cdef int which
    if form.price == OFF_GRID or form.trigger_price == OFF_GRID:
        return REJECT_OFF_TICK
    if form.is_plain:
        return REJECT_OFF_LOT if form.quantity == OFF_GRID else ACCEPTED
    for which in range(2):
        if form.child_id[which] != NONE and (
                form.child_trigger[which] == OFF_GRID or form.child_price[which] == OFF_GRID):
            return REJECT_OFF_TICK
    if form.display == OFF_GRID or (form.quantity == OFF_GRID and not form.close_position):
        return REJECT_OFF_LOT
    return ACCEPTED


# Whether the numbers of the children can be held.
cdef int check_children(const request_t *form) noexcept nogil:
    cdef int which
    for which in range(2):
        if form.child_id[which] == NONE:
            continue
        if form.child_trigger[which] == TOO_LARGE or form.child_trigger[which] > MONEY_MAX:
            return REJECT_OVERFLOW
        if form.child_price[which] == TOO_LARGE or form.child_price[which] > MONEY_MAX:
            return REJECT_OVERFLOW
    return ACCEPTED
