"""Orders that depend on each other: one-cancels-other groups, brackets, special terms."""

from libc.stdlib cimport free
from libc.string cimport memset

from engine.core.book cimport ORDER_PENDING, ORDER_UNARMED, order_t, ticket_t
from engine.core.fixed cimport min64
from engine.core.memory cimport larger
from engine.core.tables cimport table_free, table_init, table_put, table_remove, table_tag
from engine.core.types cimport (
    CANCEL_OCO, EVENT_ORDER_ACCEPTED, EVENT_ORDER_AMENDED, EVENT_ORDER_TERMS, LEG_BOTH,
    MONEY_MAX, NIL, NONE, TIF_GTC, TIF_IOC, TYPE_STOP_LIMIT, TYPE_STOP_MARKET,
    TYPE_TAKE_PROFIT_LIMIT, TYPE_TAKE_PROFIT_MARKET,
)


cdef class Linked(Matching):
    """Matching of orders that are tied to each other."""

    def __cinit__(self):
        self.free_special = self.free_group = self.free_bracket = NIL
        table_init(&self.group_table, 64)

    def __dealloc__(self):
        free(self.specials)
        free(self.groups)
        free(self.brackets)
        free(self.noted)
        table_free(&self.group_table)

    # --- special terms ----------------------------------------------------------------

    # The special terms of an order, made when first asked for.
    cdef int32_t special_of(self, int32_t order) except -1 nogil:
        cdef int32_t row = self.tickets[order].special
        cdef special_t *special
        if row >= 0:
            return row
        row = self.free_special
        if row >= 0:
            self.free_special = self.specials[row].group
        else:
            row = self.special_count
            if row == self.special_capacity:
                self.specials = <special_t *>larger(
                    self.specials, &self.special_capacity, row + 1, sizeof(special_t))
            self.special_count += 1
        special = &self.specials[row]
        memset(special, 0, sizeof(special_t))
        special.trigger_price = special.callback_rate = special.peak = NONE
        special.display = special.expire_ts = special.parent_id = NONE
        special.group = special.group_prev = special.group_next = special.bracket = NIL
        special.slot = NIL
        special.trigger_by = -1
        self.tickets[order].special = row
        return row

    # Hide what an order does not display; for an order about to rest.
    cdef int set_display(self, int32_t order) except -1 nogil:
        cdef int64_t leaves = self.orders[order].leaves
        self.orders[order].hidden = leaves - min64(self.display_of(order), leaves)
        return 0

    cdef int on_used_up(self, int32_t order) except -1 nogil:
        return self.show_next_part(order, self.display_of(order))

    # The end of an order with special terms: it leaves its group, its bracket and the trigger
    # index. Returns the group that is to be dissolved once the order's last event is out,
    # NIL for none.
    cdef int32_t untie(self, int32_t order) except -2 nogil:
        cdef int32_t row = self.tickets[order].special
        cdef int32_t group = self.leave_group(order)
        self.leave_bracket(order)
        self.unfile_order(order)
        self.tickets[order].special = NIL
        self.specials[row].group = self.free_special
        self.free_special = row
        return group

    cdef int32_t group_of(self, int32_t order) noexcept nogil:
        cdef int32_t row = self.tickets[order].special
        return NIL if row < 0 else self.specials[row].group

    cdef int64_t display_of(self, int32_t order) noexcept nogil:
        cdef int32_t row = self.tickets[order].special
        if row < 0 or self.specials[row].display == NONE:
            return MONEY_MAX
        return self.specials[row].display

    cdef bint is_bound(self, int32_t order) noexcept nogil:
        cdef int32_t row = self.tickets[order].special
        return row >= 0 and self.specials[row].is_bound

    # Take an order out of whatever it waits in; the subclass knows.
    cdef int unfile_order(self, int32_t order) except -1 nogil:
        return 0

    # Let a conditional order wait for its trigger; the subclass knows.
    cdef int wait(self, int32_t order) except -1 nogil:
        return 0

    # --- events -----------------------------------------------------------------------

    # Number an order and report its acceptance.
    cdef int emit_accepted(self, int32_t row) except -1 nogil:
        cdef order_t *order = &self.orders[row]
        cdef ticket_t *ticket = &self.tickets[row]
        cdef int64_t *out = self.emit(EVENT_ORDER_ACCEPTED)
        self.arrivals += 1
        ticket.arrival = self.arrivals
        out[0] = self.owner_id(row)
        out[1] = order.symbol
        out[2] = order.order_id
        out[3] = order.side
        out[4] = ticket.kind
        out[5] = order.price
        out[6] = ticket.quantity
        out[7] = ticket.time_in_force
        out[8] = ticket.is_post_only
        out[9] = order.is_reduce_only
        out[10] = order.stp
        out[11] = self.positions[ticket.position].leg if ticket.position >= 0 else LEG_BOTH
        if ticket.special >= 0:
            self.emit_terms(row)
        return 0

    cdef int emit_terms(self, int32_t row) except -1 nogil:
        cdef special_t *special = &self.specials[self.tickets[row].special]
        cdef int64_t oco = NONE
        cdef int64_t *out
        if special.group >= 0:
            oco = self.groups[special.group].oco
        if (special.trigger_by < 0 and special.display == NONE and special.expire_ts == NONE
                and not special.close_position and oco == NONE and special.parent_id == NONE):
            return 0
        out = self.emit(EVENT_ORDER_TERMS)
        out[0] = self.accounts[self.orders[row].account].id
        out[1] = self.orders[row].symbol
        out[2] = self.orders[row].order_id
        out[3] = special.trigger_price
        out[4] = special.trigger_by if special.trigger_by >= 0 else NONE
        out[5] = special.callback_rate
        out[6] = special.display
        out[7] = special.expire_ts
        out[8] = special.close_position
        out[9] = oco
        out[10] = special.parent_id
        return 0

    cdef int emit_amended(self, int32_t row) except -1 nogil:
        cdef int64_t *out = self.emit(EVENT_ORDER_AMENDED)
        out[0] = self.accounts[self.orders[row].account].id
        out[1] = self.orders[row].symbol
        out[2] = self.orders[row].order_id
        out[3] = self.orders[row].price
        out[4] = self.tickets[row].quantity
        out[5] = self.orders[row].leaves
        out[6] = NONE
        if self.tickets[row].special >= 0:
            out[6] = self.specials[self.tickets[row].special].trigger_price
        return 0

    # --- one-cancels-other ------------------------------------------------------------

    cdef int32_t new_group(self, int32_t position, int64_t oco) except -1 nogil:
        cdef int32_t row = self.free_group
        if row >= 0:
            self.free_group = self.groups[row].first
        else:
            row = self.group_count
            if row == self.group_capacity:
                self.groups = <group_t *>larger(
                    self.groups, &self.group_capacity, row + 1, sizeof(group_t))
            self.group_count += 1
        self.groups[row].oco = oco
        self.groups[row].position = position
        self.groups[row].first = self.groups[row].last = NIL
        if oco != NONE:
            table_put(&self.group_table, table_tag(position, oco), row)
        return row

    # Add an order, the latest to arrive, to a group.
    cdef int join_group(self, int32_t order, int32_t group) except -1 nogil:
        cdef special_t *special = &self.specials[self.special_of(order)]
        cdef int32_t last = self.groups[group].last
        special.group = group
        special.group_prev = last
        special.group_next = NIL
        if last < 0:
            self.groups[group].first = order
        else:
            self.specials[self.tickets[last].special].group_next = order
        self.groups[group].last = order
        return 0

    # Take an order out of its group. Returns the group if others are left in it, else NIL.
    cdef int32_t leave_group(self, int32_t order) except -2 nogil:
        cdef special_t *special = &self.specials[self.tickets[order].special]
        cdef int32_t row = special.group
        cdef group_t *group
        if row < 0:
            return NIL
        group = &self.groups[row]
        if special.group_prev < 0:
            group.first = special.group_next
        else:
            self.specials[self.tickets[special.group_prev].special].group_next = (
                special.group_next)
        if special.group_next < 0:
            group.last = special.group_prev
        else:
            self.specials[self.tickets[special.group_next].special].group_prev = (
                special.group_prev)
        special.group = special.group_prev = special.group_next = NIL
        if group.first >= 0:
            return row
        if group.oco != NONE:
            table_remove(&self.group_table, table_tag(group.position, group.oco), row)
        group.first = self.free_group
        self.free_group = row
        return NIL

    cdef int dissolve_group(self, int32_t group) except -1 nogil:
        self.hold()
        return self.dissolve(group)

    # Cancel all that is left in a group of which a member died.
    cdef int dissolve(self, int32_t group) except -1 with gil:
        cdef int32_t order
        cdef list members = []
        order = self.groups[group].first
        while order >= 0:
            members.append(order)
            order = self.specials[self.tickets[order].special].group_next
        # Alone first, so that the end of one is not the end of another once more.
        for order in members:
            self.leave_group(order)
        for order in members:
            self.cancel_order(order, CANCEL_OCO)
        return 0

    # Take the lots that a member filled off the others.
    cdef int shrink_group(self, int32_t order, int64_t lots) except -1 with gil:
        cdef int32_t group = self.specials[self.tickets[order].special].group
        cdef int32_t member
        cdef list others = []
        if group < 0:
            return 0
        member = self.groups[group].first
        while member >= 0:
            if member != order:
                others.append(member)
            member = self.specials[self.tickets[member].special].group_next
        for member in others:
            self.shrink(member, lots)
        return 0

    cdef int shrink(self, int32_t order, int64_t lots) except -1 nogil:
        lots = min64(lots, self.orders[order].leaves)
        self.tickets[order].quantity -= lots
        if self.orders[order].is_resting:
            self.take_off(order, lots)
        else:
            self.orders[order].leaves -= lots
        if self.orders[order].leaves:
            return self.on_change(order)
        self.leave_group(order)
        return self.cancel_order(order, CANCEL_OCO)

    # A fill of an order that has special terms: its group shrinks, or ends with it; its
    # bracket hears of it.
    cdef int on_fill(self, int32_t order, int64_t lots) except -1 nogil:
        cdef int32_t row = self.tickets[order].special
        cdef int32_t group
        if row < 0:
            return 0
        if self.specials[row].group >= 0:
            if self.orders[order].leaves:
                self.hold()
                self.shrink_group(order, lots)
            else:
                group = self.leave_group(order)
                if group >= 0:
                    self.dissolve_group(group)
        return 0

    # Hears of a fill before the order may be retired.
    cdef int note_fill(self, int32_t order, int64_t lots) except -1 nogil:
        cdef int32_t row = self.tickets[order].special
        cdef int32_t bracket
        if row < 0:
            return 0
        bracket = self.specials[row].bracket
        if bracket >= 0 and self.brackets[bracket].entry == order:
            self.brackets[bracket].filled += lots
            self.note_bracket(bracket)
        return 0

    # --- brackets ---------------------------------------------------------------------

    cdef int32_t new_bracket(self, int32_t entry) except -1 nogil:
        cdef int32_t row = self.free_bracket
        if row >= 0:
            self.free_bracket = self.brackets[row].child[0]
        else:
            row = self.bracket_count
            if row == self.bracket_capacity:
                self.brackets = <bracket_t *>larger(
                    self.brackets, &self.bracket_capacity, row + 1, sizeof(bracket_t))
            self.bracket_count += 1
        memset(&self.brackets[row], 0, sizeof(bracket_t))
        self.brackets[row].entry = entry
        self.brackets[row].child[0] = self.brackets[row].child[1] = NIL
        self.specials[self.special_of(entry)].bracket = row
        return row

    # Reserve the row and the id of a child; nobody sees it before it is armed.
    cdef int32_t new_child(
        self, int32_t entry, int32_t bracket, int which, int64_t order_id,
        int64_t trigger_price, int trigger_by, int64_t price
    ) except -1 nogil:
        cdef int32_t child = self.new_order()
        cdef order_t *order = &self.orders[child]
        cdef ticket_t *ticket = &self.tickets[child]
        cdef special_t *special
        order.order_id = order_id
        order.price = price
        order.account = self.orders[entry].account
        order.symbol = self.orders[entry].symbol
        order.side = 1 - self.orders[entry].side
        order.stp = self.orders[entry].stp
        order.is_reduce_only = 1
        ticket.position = self.tickets[entry].position
        if which == 0:
            ticket.kind = TYPE_TAKE_PROFIT_MARKET if price == NONE else TYPE_TAKE_PROFIT_LIMIT
        else:
            ticket.kind = TYPE_STOP_MARKET if price == NONE else TYPE_STOP_LIMIT
        ticket.time_in_force = TIF_IOC if price == NONE else TIF_GTC
        ticket.state = ORDER_UNARMED
        special = &self.specials[self.special_of(child)]
        special.trigger_price = trigger_price
        special.trigger_by = trigger_by
        special.parent_id = self.orders[entry].order_id
        special.is_bound = 1
        special.bracket = bracket
        self.brackets[bracket].child[which] = child
        table_put(&self.order_table, table_tag(order.account, order_id), child)
        return child

    cdef int note_bracket(self, int32_t bracket) except -1 nogil:
        if self.brackets[bracket].is_noted:
            return 0
        if self.noted_count == self.noted_capacity:
            self.noted = <int32_t *>larger(
                self.noted, &self.noted_capacity, self.noted_count + 1, sizeof(int32_t))
        self.brackets[bracket].is_noted = 1
        self.noted[self.noted_count] = bracket
        self.noted_count += 1
        return 0

    # Untie entry and children; children that were never armed vanish.
    cdef int end_bracket(self, int32_t bracket) except -1 nogil:
        cdef bracket_t *row = &self.brackets[bracket]
        cdef int32_t child, special
        cdef int which
        if row.entry >= 0:
            self.specials[self.tickets[row.entry].special].bracket = NIL
        for which in range(2):
            child = row.child[which]
            if child < 0:
                continue
            special = self.tickets[child].special
            self.specials[special].bracket = NIL
            if self.tickets[child].state == ORDER_UNARMED:
                self.forget_id(child)
                self.specials[special].group = self.free_special
                self.free_special = special
                self.free_order_row(child)
        row.entry = row.child[1] = NIL
        row.is_over = 1
        if not row.is_noted:  # else its place in the list keeps the row
            row.child[0] = self.free_bracket
            self.free_bracket = bracket
        return 0

    # An order that dies leaves its bracket; a child's end is the bracket's.
    cdef int32_t leave_bracket(self, int32_t order) except -2 nogil:
        cdef int32_t bracket = self.specials[self.tickets[order].special].bracket
        cdef bracket_t *row
        cdef int which
        if bracket < 0:
            return NIL
        row = &self.brackets[bracket]
        if row.entry == order:
            self.specials[self.tickets[order].special].bracket = NIL
            row.entry = NIL
            if not row.is_noted:
                self.end_bracket(bracket)
            return bracket
        self.specials[self.tickets[order].special].bracket = NIL
        for which in range(2):
            if row.child[which] == order:
                row.child[which] = NIL
        return self.end_bracket(bracket)

    # Let children stand for what their entries have filled.
    cdef int arm_brackets(self) except -1 nogil:
        cdef int32_t i = 0, bracket
        while i < self.noted_count:
            bracket = self.noted[i]
            i += 1
            self.brackets[bracket].is_noted = 0
            if self.brackets[bracket].is_over:
                self.brackets[bracket].child[0] = self.free_bracket
                self.free_bracket = bracket
            else:
                self.arm(bracket)
        self.noted_count = 0
        return 0

    cdef int arm(self, int32_t bracket) except -1 nogil:
        cdef bracket_t *row = &self.brackets[bracket]
        cdef int64_t lots = row.filled - row.armed
        cdef bint is_first = row.armed == 0
        cdef int32_t child, group
        cdef int32_t children[2]
        cdef int which
        child = row.child[0] if row.child[0] >= 0 else row.child[1]
        if self.reducible(child) == 0:
            return self.end_bracket(bracket)
        if not is_first:
            return self.grow(bracket, lots)
        row.armed = lots
        children[0], children[1] = row.child[0], row.child[1]
        for which in range(2):
            child = children[which]
            if child < 0:
                continue
            self.tickets[child].state = ORDER_PENDING
            self.tickets[child].quantity = self.orders[child].leaves = lots
            self.link_order(child)
            self.emit_accepted(child)
            self.note_order(child)
        if children[0] >= 0 and children[1] >= 0:
            group = self.new_group(self.tickets[children[0]].position, NONE)
            self.join_group(children[0], group)
            self.join_group(children[1], group)
        for which in range(2):
            if children[which] >= 0:
                self.wait(children[which])
        if self.brackets[bracket].entry < 0:
            self.end_bracket(bracket)
        return 0

    cdef int grow(self, int32_t bracket, int64_t lots) except -1 nogil:
        cdef int32_t child
        cdef int which
        for which in range(2):
            child = self.brackets[bracket].child[which]
            if child >= 0 and self.tickets[child].state != ORDER_PENDING:
                return 0  # its turn comes, and ends the bracket and the entry
        self.brackets[bracket].armed += lots
        for which in range(2):
            child = self.brackets[bracket].child[which]
            if child >= 0:
                self.tickets[child].quantity += lots
                self.orders[child].leaves += lots
                self.emit_amended(child)
                self.note_order(child)
        if self.brackets[bracket].entry < 0:
            self.end_bracket(bracket)
        return 0
