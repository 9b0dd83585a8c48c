"""Settlement of trades and cancels, rehearsal of sweeps, order margin."""

cimport cython

from engine.core.book cimport ORDER_LIVE, order_t, ticket_t, within_limit
from engine.core.collateral cimport spare_amount
from engine.core.contracts cimport notional_of_value, value_side, value_sign
from engine.core.fixed cimport (
    abs64, add, add_checked, ceil_div, fits_int64, floor_div, i128, low_half, max64, min64, mul,
    mul3_wide, mul_wide, narrow, neg, sign_of, sub, sub_checked, wide,
)
from engine.core.ledger cimport instrument_t, open_orders_t, position_t
from engine.core.levels cimport book_t
from engine.core.makers cimport holdings_t
from engine.core.memory cimport larger
from engine.core.tiers cimport initial_margin, trade_fee
from engine.core.types cimport (
    CANCEL_REDUCE_ONLY, EVENT_ORDER_CANCELED, EVENT_TRADE, HALT_AUCTION, INSURANCE_INVENTORY,
    KIND_INVERSE, MODE_ISOLATED, MONEY_MAX, NIL, NONE, RATE_SCALE, SIDE_BUY, SIDE_SELL,
    STP_CANCEL_BOTH, STP_CANCEL_TAKER, STP_DECREMENT, STP_NONE,
)
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport free


# Position value and the value of a side's orders together, signed.
cdef inline i128 with_side(i128 held, int side, i128 total) noexcept nogil:
    return add(held, total) if side == SIDE_BUY else sub(held, total)


cdef inline i128 magnitude(i128 a) noexcept nogil:
    return a if a >= wide(0) else neg(a)


cdef inline i128 widest(i128 a, i128 b) noexcept nogil:
    a, b = magnitude(a), magnitude(b)
    return a if a > b else b


# a + b, at most MONEY_MAX, of which b is within already.
cdef inline int64_t within_range(int64_t a, int64_t b) noexcept nogil:
    return MONEY_MAX if a > MONEY_MAX - b else a + b


cdef int add_part(
    part_t **parts, int32_t *count, int32_t *capacity, int32_t row, int64_t lots
) except -1 nogil:
    if count[0] == capacity[0]:
        parts[0] = <part_t *>larger(parts[0], capacity, count[0] + 1, sizeof(part_t))
    parts[0][count[0]].row, parts[0][count[0]].lots = row, lots
    count[0] += 1
    return 0


cdef class Matching(Makers):
    """The ledger with the matching rule's consequences."""

    def __cinit__(self):
        self.held = {}
        self.linked = {}

    def __dealloc__(self):
        free(self.fills)
        free(self.rounds)

    # --- an order's life --------------------------------------------------------------

    # Add an order at the end of its owner's orders of the symbol.
    cdef int link_order(self, int32_t order) except -1 nogil:
        cdef order_t *row = &self.orders[order]
        cdef ticket_t *ticket = &self.tickets[order]
        cdef open_orders_t *own = self.own_orders(ticket.position)
        ticket.own_prev = own.last
        ticket.own_next = NIL
        if own.last < 0:
            own.first = order
        else:
            self.tickets[own.last].own_next = order
        own.last = order
        own.count += 1
        own.reduce_only_count += row.is_reduce_only
        return 0

    # Let an order count for `lots` in its owner's order margin (0: not at all).
    @cython.final
    cdef int sync_reserve(self, int32_t order, int64_t lots) except -1 nogil:
        cdef order_t *row = &self.orders[order]
        cdef ticket_t *ticket = &self.tickets[order]
        cdef open_orders_t *own
        cdef int64_t change = lots - ticket.reserved
        cdef int64_t worth, losing
        if change == 0:
            return 0
        if row.is_reduce_only:  # it reserves nothing, and is only counted
            self.instruments[row.symbol].reduce_only_lots += change
            ticket.reserved = lots
            return 0
        if self.instruments[row.symbol].contract.kind == KIND_INVERSE:
            worth = sub_checked(
                self.notional_at_tick(row.symbol, lots, row.price),
                self.notional_at_tick(row.symbol, ticket.reserved, row.price))
            losing = sub_checked(
                self.losing_worth(row.symbol, row.side, lots, row.price),
                self.losing_worth(row.symbol, row.side, ticket.reserved, row.price))
        else:
            worth = losing = self.worth_at_tick(row.symbol, change, row.price)
        own = self.own_orders(ticket.position)
        own.side_value[row.side] += worth
        if not self.has_losses(ticket.position, row.side):
            own.loss_mark[row.side] = 0
        elif self.is_losing(row.symbol, row.side, row.price):
            own.loss_lots[row.side] += change
            own.loss_value[row.side] += losing
        self.instruments[row.symbol].resting_lots += change
        ticket.reserved = lots
        if change > 0:
            if row.side == SIDE_BUY:
                own.extreme_price[0] = max64(own.extreme_price[0], row.price)
            else:
                own.extreme_price[1] = min64(own.extreme_price[1], row.price)
        return 0

    # Forget an order that is dead and off the book; its last event is the caller's.
    # Returns the group that is to be dissolved after that event, NIL for none.
    cdef int32_t retire_order(self, int32_t order) except -2 nogil:
        cdef ticket_t *ticket = &self.tickets[order]
        cdef int32_t group = self.untie(order) if ticket.special >= 0 else NIL
        self.sync_reserve(order, 0)
        if ticket.changed:
            self.changed_orders[ticket.changed - 1] = NIL
            ticket.changed = 0
        if ticket.position >= 0:
            self.unlink_order(order)
        else:
            self.instruments[self.orders[order].symbol].offer = NIL
            self.offer_count -= 1
        self.free_order_row(order)
        return group

    # Take an order out of the table and its owner's list.
    @cython.final
    cdef int unlink_order(self, int32_t order) except -1 nogil:
        cdef order_t *row = &self.orders[order]
        cdef ticket_t *ticket = &self.tickets[order]
        cdef open_orders_t *own = self.own_orders(ticket.position)
        self.forget_id(order)
        if ticket.own_prev < 0:
            own.first = ticket.own_next
        else:
            self.tickets[ticket.own_prev].own_next = ticket.own_next
        if ticket.own_next < 0:
            own.last = ticket.own_prev
        else:
            self.tickets[ticket.own_next].own_prev = ticket.own_prev
        own.count -= 1
        own.reduce_only_count -= row.is_reduce_only
        if own.count == 0:
            own.extreme_price[0] = 0
            own.extreme_price[1] = MONEY_MAX
        return 0

    # Cancel an order, resting or not.
    cdef int cancel_order(self, int32_t order, int reason) except -1 nogil:
        if self.orders[order].is_resting:
            self.unrest(order)
        return self.on_cancel(order, reason)

    cdef int on_cancel(self, int32_t row, int reason) except -1 nogil:
        cdef int64_t *out
        cdef int32_t group = self.retire_order(row)  # readable until the row is used again
        out = self.emit(EVENT_ORDER_CANCELED)
        out[0] = self.owner_id(row)
        out[1] = self.orders[row].symbol
        out[2] = self.orders[row].order_id
        out[3] = reason
        out[4] = self.tickets[row].quantity - self.orders[row].leaves
        out[5] = self.orders[row].leaves
        if group >= 0:
            self.dissolve_group(group)
        return 0

    cdef int on_change(self, int32_t row) except -1 nogil:
        if self.orders[row].is_resting:
            self.sync_reserve(row, self.orders[row].leaves)
        return self.note_order(row)

    # --- hooks: plain orders have nothing here ----------------------------------------

    cdef int note_fill(self, int32_t order, int64_t lots) except -1 nogil:
        return 0

    cdef int on_fill(self, int32_t order, int64_t lots) except -1 nogil:
        return 0

    cdef int32_t untie(self, int32_t order) except -2 nogil:
        return NIL

    cdef int dissolve_group(self, int32_t group) except -1 nogil:
        return 0

    cdef int32_t group_of(self, int32_t order) noexcept nogil:
        return NIL

    cdef int64_t display_of(self, int32_t order) noexcept nogil:
        return MONEY_MAX

    cdef bint is_bound(self, int32_t order) noexcept nogil:
        return False

    cdef int count_maker_fill(self, int32_t position, int64_t lots) except -1 nogil:
        return 0

    cdef int64_t reducible(self, int32_t row) except -1 nogil:
        cdef int32_t position = self.tickets[row].position
        if position < 0:
            return self.inventory_of(self.orders[row].symbol, self.orders[row].side)
        return self.reducible_by(position, self.orders[row].side)

    # Cancel the fund's resting order of a symbol, if there is one.
    cdef int withdraw_offer(self, int32_t symbol, int reason) except -1 nogil:
        cdef int32_t offer = self.instruments[symbol].offer
        return self.cancel_order(offer, reason) if offer >= 0 else 0

    # The same where nothing of the inventory is left that it could reduce.
    cdef int drop_offer(self, int32_t symbol) except -1 nogil:
        cdef int32_t offer = self.instruments[symbol].offer
        if offer >= 0 and self.reducible(offer) == 0:
            return self.cancel_order(offer, CANCEL_REDUCE_ONLY)
        return 0

    # Cancel resting reduce-only orders that have nothing left to reduce, and those bound to
    # the position that wait for their trigger. Later ones may fall with earlier ones. All of
    # them had something to reduce when they came in, and it is gone only when the position
    # has lost its sign; so trades that leave it cost O(1), however many orders there are.
    @cython.final
    cdef int drop_reduce_only(self, int32_t position) except -1 nogil:
        cdef int64_t quantity = self.positions[position].quantity
        cdef int sign = (quantity > 0) - (quantity < 0)
        if sign == self.positions[position].sign_seen:
            return 0
        self.positions[position].sign_seen = sign
        if self.orders_of(position).reduce_only_count == 0:
            return 0
        self.hold()
        return self.drop_idle(position)

    cdef int drop_idle(self, int32_t position) except -1 with gil:
        cdef int32_t order = self.orders_of(position).first
        cdef list idle = []
        while order >= 0:
            if (self.orders[order].is_reduce_only
                    and self.reducible_by(position, self.orders[order].side) == 0
                    and (self.orders[order].is_resting or (
                        self.tickets[order].state != ORDER_LIVE and self.is_bound(order)))):
                idle.append((order, self.tickets[order].arrival))
            order = self.tickets[order].own_next
        return self.cancel_each(idle, CANCEL_REDUCE_ONLY)

    # Cancel orders given as (row, arrival), but for those that a cancel before took along.
    cdef int cancel_each(self, list chosen, int reason) except -1:
        cdef int32_t order
        for order, arrival in chosen:
            if self.tickets[order].arrival == arrival and self.is_listed(order):
                self.cancel_order(order, reason)
        return 0

    # Whether a row holds an order of its owner's; false once it is retired.
    cdef bint is_listed(self, int32_t order) noexcept nogil:
        return self.find_id(self.orders[order].account, self.orders[order].order_id) == order

    # One trade: its event, the makers' end, then the money of maker and taker.
    cdef int on_trade(
        self, int32_t taker, int32_t maker, int64_t price, int64_t lots
    ) except -1 nogil:
        cdef int32_t symbol = self.orders[taker].symbol
        cdef instrument_t *instrument = &self.instruments[symbol]
        cdef int64_t worth = self.worth_at_tick(symbol, lots, price)
        # Fees round up, so a rebate (a negative fee) is rounded down in size. A
        # liquidation pays the liquidation fee instead of the taker fee.
        # The fund pays none.
        cdef int64_t maker_fee = 0
        cdef int64_t taker_fee = 0
        cdef int32_t maker_position = self.tickets[maker].position
        cdef int32_t taker_position = self.tickets[taker].position
        cdef int sign = 1 if self.orders[taker].side == SIDE_BUY else -1
        cdef int64_t value = value_sign(&instrument.contract, self.orders[taker].side) * worth
        cdef bint is_fund = taker_position < 0
        cdef bint is_offer = maker_position < 0
        cdef int64_t *out
        if not is_offer:
            maker_fee = trade_fee(worth, instrument.maker_fee)
        if not self.tickets[taker].is_liquidation:
            taker_fee = trade_fee(worth, instrument.taker_fee)
        self.traded_value = add_checked(self.traded_value, worth)
        self.trade_id += 1
        self.books[symbol].last_trade_seq = self.seq
        out = self.emit(EVENT_TRADE)
        out[0] = self.trade_id
        out[1] = symbol
        out[2] = price
        out[3] = lots
        out[4] = self.orders[maker].order_id
        out[5] = self.owner_id(maker)
        out[6] = self.orders[taker].order_id
        out[7] = self.owner_id(taker)
        out[8] = self.orders[taker].side
        out[9] = maker_fee
        out[10] = taker_fee
        out[11] = self.tickets[taker].is_liquidation
        self.settle_maker(maker, lots)
        if self.is_uncrossing:
            self.settle_maker(taker, lots)
        elif self.tickets[taker].special >= 0:
            self.note_fill(taker, lots)
            self.on_fill(taker, lots)
        if is_fund:
            self.settle_fund(symbol, sign * lots, value)
        if is_offer:
            self.settle_fund(symbol, -sign * lots, -value)
        else:
            self.settle_fill(maker_position, -sign * lots, -value)
            self.charge(maker_position, maker_fee)
        if not is_fund:
            self.settle_fill(taker_position, sign * lots, value)
            self.charge(taker_position, taker_fee)
        if is_offer:
            self.drop_offer(symbol)
        else:
            self.drop_reduce_only(maker_position)
        if not is_fund:
            self.drop_reduce_only(taker_position)
        self.assets[self.instruments[symbol].settle].fees = add_checked(
            self.assets[self.instruments[symbol].settle].fees, maker_fee + taker_fee)
        if not is_offer and self.custom_of(&self.positions[maker_position]).protection >= 0:
            self.count_maker_fill(maker_position, lots)
        return 0

    # What a fill makes of a resting order: its end, or less of it.
    @cython.final
    cdef int settle_maker(self, int32_t maker, int64_t lots) except -1 nogil:
        cdef int32_t group
        if self.tickets[maker].special >= 0:
            self.note_fill(maker, lots)
        if self.orders[maker].leaves == 0:
            group = self.retire_order(maker)
            self.emit_order_update(maker)
            return self.dissolve_group(group) if group >= 0 else 0
        self.on_change(maker)
        if self.tickets[maker].special >= 0:
            self.on_fill(maker, lots)
        return 0

    # Book a trade of the fund (account 0 in events) to its inventory and its balance.
    cdef int settle_fund(self, int32_t symbol, int64_t quantity, int64_t value) except -1 nogil:
        cdef instrument_t *instrument = &self.instruments[symbol]
        cdef int64_t profit = self.settle_house(symbol, &instrument.fund, quantity, value)
        if is_paced(instrument.profile.fund_workoff):
            instrument.workoff.done += abs64(quantity)
        return self.change_insurance(
            self.instruments[symbol].insurer, profit, INSURANCE_INVENTORY, 0)

    # --- prices and values ------------------------------------------------------------

    # Worst price in ticks that the band allows a side, NONE without a band. Rounded down
    # for a buy, up for a sell: the band is never exceeded.
    cdef int64_t band_limit(self, int32_t symbol, int side) except? -1 nogil:
        cdef instrument_t *instrument = &self.instruments[symbol]
        cdef i128 scale
        if instrument.price_band == NONE:
            return NONE
        scale = mul(RATE_SCALE, instrument.marks_per_tick)
        if side == SIDE_BUY:
            return narrow(floor_div(
                mul(instrument.mark, RATE_SCALE + instrument.price_band), scale))
        return max64(1, narrow(ceil_div(
            mul(instrument.mark, RATE_SCALE - instrument.price_band), scale)))

    # What a sweep of this order would do now; nothing changes. Own orders are stepped over
    # under cancel_maker, taken off the quantity under decrement, end the sweep under
    # cancel_taker and cancel_both, and count like any other under none, unless one of the
    # two is reduce-only. Reduce-only makers count for what their positions, as they would be
    # by then, let them trade; members of a group for what the group's fills would leave of
    # them; none that the check at match time would cancel. `fills` holds them afterwards, if
    # they are to be kept.
    cdef int rehearse(
        self, int32_t taker, int64_t limit, int stp, terms_t *terms, bint keeps_fills=False
    ) except -1 nogil:
        cdef order_t *order = &self.orders[taker]
        cdef book_t *book = &self.books[order.symbol]
        cdef int32_t level = book.sides[1 - order.side].best
        cdef trial_t trial
        if keeps_fills:
            self.fill_count = 0
        if not self.meets(taker, limit):
            terms.lots = terms.value = terms.loss = 0
            return 0
        trial.keeps_fills = keeps_fills
        trial.taker, trial.stp = taker, stp
        trial.wanted, trial.lots = order.leaves, 0
        trial.value = trial.loss = wide(0)
        trial.is_over = self.instruments[order.symbol].halt == HALT_AUCTION
        if self.held or self.linked:
            with gil:
                self.held.clear()
                self.linked.clear()
        trial.checks_makers = book.checks_makers
        if trial.checks_makers:
            self.hold()
            self.forget_holdings()
        while level >= 0 and trial.wanted > 0 and not trial.is_over:
            if not within_limit(order.side, book.levels[level].price, limit):
                break
            if book.levels[level].hidden:
                self.rehearse_icebergs(level, &trial)
            else:
                self.rehearse_level(level, &trial)
            level = book.levels[level].worse
        terms.lots = trial.lots
        terms.value = narrow(trial.value) if trial.value <= wide(MONEY_MAX) else MONEY_MAX + 1
        terms.loss = narrow(trial.loss) if trial.loss <= wide(MONEY_MAX) else MONEY_MAX + 1
        return 0

    @cython.final
    cdef int rehearse_level(self, int32_t level, trial_t *trial) except -1 nogil:
        cdef book_t *book = &self.books[self.orders[trial.taker].symbol]
        cdef int32_t row = book.levels[level].head
        cdef int64_t left
        while row >= 0 and trial.wanted > 0 and not trial.is_over:
            left = self.orders[row].leaves
            if self.tickets[row].special >= 0:
                left -= self.linked_lots(self.group_of(row))
            self.rehearse_maker(row, left, left, trial)
            row = self.orders[row].next
        return 0

    # A level with icebergs: their parts come round in turn, as in the sweep itself. Only as
    # much of the level is looked at as would trade.
    cdef int rehearse_icebergs(self, int32_t level, trial_t *trial) except -1 nogil:
        cdef int32_t row = self.books[self.orders[trial.taker].symbol].levels[level].head
        cdef int32_t turn = 0
        self.round_count = 0
        while row >= 0 and trial.wanted > 0 and not trial.is_over:
            self.rehearse_part(row, 0, trial)
            row = self.orders[row].next
        while turn < self.round_count and trial.wanted > 0 and not trial.is_over:
            self.rehearse_part(self.rounds[turn].row, self.rounds[turn].lots, trial)
            turn += 1
        return 0

    # One part of a maker of which `own` lots were traded before. With the part used up and
    # more behind it, the maker gets another turn.
    cdef int rehearse_part(self, int32_t row, int64_t own, trial_t *trial) except -1 nogil:
        cdef int32_t group = self.group_of(row)
        cdef int64_t left = self.orders[row].leaves - (
            self.linked_lots(group) if group >= 0 else own)
        cdef int64_t shown = self.display_of(row)
        cdef int64_t fill
        if own == 0:
            shown = self.orders[row].leaves - self.orders[row].hidden
        shown = min64(shown, left)
        fill = self.rehearse_maker(row, shown, left, trial)
        if fill == shown and fill < left:
            add_part(&self.rounds, &self.round_count, &self.round_room, row, own + fill)
        return 0

    # A maker of which `shown` lots can be traded now and `left` in all: the lots traded.
    @cython.final
    cdef int64_t rehearse_maker(
        self, int32_t row, int64_t shown, int64_t left, trial_t *trial
    ) except? -1 nogil:
        cdef order_t *maker = &self.orders[row]
        cdef instrument_t *instrument = &self.instruments[maker.symbol]
        cdef int64_t fill = min64(trial.wanted, shown)
        cdef int32_t group
        cdef i128 worth, over
        if left <= 0 or (trial.stp != STP_NONE and self.rehearse_own(row, left, trial)):
            return 0
        if self.would_reduce_nothing(trial.taker, row):
            trial.is_over = self.orders[trial.taker].is_reduce_only  # cancelled there
            return 0
        if self.tickets[row].position < 0 or (
                self.orders_of(self.tickets[row].position).reduce_only_count):
            fill = self.rehearse_reduce_only(row, fill, trial)
        if fill == 0:
            return 0
        group = self.group_of(row) if self.tickets[row].special >= 0 else NIL
        if trial.checks_makers and not self.rehearse_check(row, fill, trial):
            if group >= 0:
                self.link_lots(group, MONEY_MAX)  # cancelled there, and the others with it
            return 0
        if group >= 0:
            # Filled whole, it takes the others with it: nothing is left of any.
            self.link_lots(
                group, MONEY_MAX if fill == left else self.linked_lots(group) + fill)
        trial.lots += fill
        trial.wanted -= fill
        if trial.keeps_fills:
            add_part(&self.fills, &self.fill_count, &self.fill_capacity, row, fill)
        if instrument.contract.kind == KIND_INVERSE:
            trial.value = add(
                trial.value, wide(self.worth_at_tick(maker.symbol, fill, maker.price)))
            trial.loss = add(trial.loss, wide(
                self.loss_at(maker.symbol, 1 - maker.side, fill, maker.price)))
            return fill
        worth = mul_wide(
            mul3_wide(fill, maker.price, instrument.marks_per_tick),
            instrument.contract.unit_value)
        trial.value = add(trial.value, worth)
        over = sub(worth, mul3_wide(fill, instrument.mark, instrument.contract.unit_value))
        over = over if maker.side == SIDE_SELL else neg(over)
        if over > wide(0):
            trial.loss = add(trial.loss, over)
        return fill

    # Whether a maker could carry a fill by then; if so it is booked to both sides. What becomes
    # of the taker matters where it may trade with its own account.
    cdef bint rehearse_check(self, int32_t row, int64_t fill, trial_t *trial) except -1 nogil:
        cdef order_t *maker = &self.orders[row]
        cdef instrument_t *instrument = &self.instruments[maker.symbol]
        cdef int32_t position = self.tickets[row].position
        cdef holdings_t *held
        if position >= 0:
            held = self.rehearsed(position)
            if not self.can_carry(held, row, fill):
                return False
            self.try_fill(held, position, maker.side, fill, maker.price, instrument.maker_fee)
        if trial.stp == STP_NONE or trial.stp == STP_OWN_POSITION:
            position = self.tickets[trial.taker].position
            self.try_fill(
                self.rehearsed(position), position, 1 - maker.side, fill, maker.price,
                instrument.taker_fee)
        return True

    # Whether self-trade prevention keeps this maker from trading; what it does to the taker.
    cdef bint rehearse_own(
        self, int32_t row, int64_t left, trial_t *trial
    ) except -1 nogil:
        cdef int32_t own = self.orders[trial.taker].account
        cdef int64_t lots
        if trial.stp == STP_OWN_POSITION:
            if self.tickets[row].position != self.tickets[trial.taker].position:
                return False
            trial.is_over = self.orders[trial.taker].is_reduce_only
            return True
        if not self.is_same_owner(own, self.orders[row].account):
            return False
        if trial.stp == STP_CANCEL_TAKER or trial.stp == STP_CANCEL_BOTH:
            trial.is_over = True
        elif trial.stp == STP_DECREMENT:
            lots = min64(trial.wanted, left)
            trial.wanted -= lots
            if lots == left and self.group_of(row) >= 0:
                self.link_lots(self.group_of(row), MONEY_MAX)
        return True

    # The part of a fill that a maker with reduce-only orders could make by then.
    cdef int64_t rehearse_reduce_only(
        self, int32_t row, int64_t fill, trial_t *trial
    ) except? -1 nogil:
        cdef order_t *maker = &self.orders[row]
        cdef int32_t position = self.tickets[row].position
        cdef int64_t change = 0
        cdef int64_t quantity = (
            self.positions[position].quantity if position >= 0
            else self.instruments[maker.symbol].fund.quantity)
        cdef int sign = 1 if maker.side == SIDE_BUY else -1
        self.hold()
        with gil:
            change = self.held.get(position, 0)
            if maker.is_reduce_only:
                fill = min64(fill, max64(0, -sign * (quantity + change)))
            self.held[position] = change + sign * fill
        return fill

    # Lots of a group that fills have used up by then.
    cdef int64_t linked_lots(self, int32_t group) except? -1 nogil:
        cdef int64_t lots = 0
        if self.linked:
            with gil:
                lots = self.linked.get(group, 0)
        return lots

    cdef int link_lots(self, int32_t group, int64_t lots) except -1 nogil:
        self.hold()
        with gil:
            self.linked[group] = lots
        return 0

    # --- what open orders reserve -----------------------------------------------------

    # `side_loss` where orders may be on the losing side of the mark.
    cdef int64_t losses(self, int32_t position, int side, int32_t without) except? -1 nogil:
        cdef position_t *row = &self.positions[position]
        cdef int64_t lots, value
        if not self.has_losses(position, side):
            self.sum_losses(position, side)
        lots = self.orders_of(position).loss_lots[side]
        value = self.orders_of(position).loss_value[side]
        if without >= 0 and self.orders[without].side == side and self.is_losing(
                row.symbol, side, self.orders[without].price):
            lots -= self.tickets[without].reserved
            value -= self.losing_worth(
                row.symbol, side, self.tickets[without].reserved, self.orders[without].price)
        if side == value_side(&self.instruments[row.symbol].contract):
            return sub_checked(value, self.marked_worth(row.symbol, lots))
        return sub_checked(self.marked_notional(row.symbol, lots), value)

    # Whether the sums of a side's losing orders are those at the mark. Where no order can be
    # among them they are zero, and are from then on kept in step.
    @cython.final
    cdef bint has_losses(self, int32_t position, int side) noexcept nogil:
        cdef open_orders_t *own = self.orders_of(position)
        cdef int32_t symbol = self.positions[position].symbol
        cdef int64_t mark = self.instruments[symbol].mark
        if own.loss_mark[side] == mark:
            return True
        if self.is_losing(symbol, side, own.extreme_price[side]):
            return False
        own.loss_mark[side] = mark
        own.loss_lots[side] = own.loss_value[side] = 0
        return True

    # Sum up the orders on the losing side of the mark, and tighten the extreme.
    cdef int sum_losses(self, int32_t position, int side) except -1 nogil:
        cdef open_orders_t *own = self.orders_of(position)
        cdef int32_t symbol = self.positions[position].symbol
        cdef int64_t extreme = 0 if side == SIDE_BUY else MONEY_MAX
        cdef int64_t reserved, price
        cdef int32_t order = own.first
        own.loss_mark[side] = self.instruments[symbol].mark
        own.loss_lots[side] = own.loss_value[side] = 0
        while order >= 0:
            reserved = self.tickets[order].reserved
            if reserved and self.orders[order].side == side and (
                    not self.orders[order].is_reduce_only):
                price = self.orders[order].price
                extreme = max64(extreme, price) if side == SIDE_BUY else min64(extreme, price)
                if self.is_losing(symbol, side, price):
                    own.loss_lots[side] += reserved
                    own.loss_value[side] += self.losing_worth(
                        symbol, side, reserved, price)
            order = self.tickets[order].own_next
        own.extreme_price[side] = extreme
        return 0

    # What a position stands for at the mark.
    @cython.final
    cdef int weigh(self, int32_t position, stake_t *stake) except -1 nogil:
        cdef position_t *row = &self.positions[position]
        stake.leverage = self.leverage_of(position)
        stake.held = stake.own = 0
        if row.quantity:
            stake.held = self.signed_notional(position)
            stake.own = initial_margin(
                self.schedule_of(row), abs64(stake.held), stake.leverage)
        return 0

    # What position and orders of a side, of this value and loss, ask for together: initial
    # margin of |position value + value of the side's orders| plus those orders' loss against
    # mark plus their taker fees, kept within the money range. Each term rounds up. A side that
    # would flip an isolated position also makes up for what that position lacks of its own
    # initial margin, since no more than its equity is released.
    @cython.final
    cdef int64_t side_margin(
        self, int32_t position, const stake_t *stake, int side, i128 total, int64_t loss
    ) except? -1 nogil:
        cdef position_t *row = &self.positions[position]
        cdef instrument_t *instrument = &self.instruments[row.symbol]
        cdef int64_t fee = 0, needed, equity
        cdef i128 held = wide(stake.held)
        cdef i128 exposure = with_side(held, side, total)
        if instrument.taker_fee > 0:
            if fits_int64(total):
                fee = trade_fee(low_half(total), instrument.taker_fee)
            else:
                fee = narrow(ceil_div(mul_wide(total, instrument.taker_fee), wide(RATE_SCALE)))
        needed = within_range(add_checked(loss, fee), initial_margin(
            self.schedule_of(row), narrow(magnitude(exposure)),
            stake.leverage))
        if row.margin_mode == MODE_ISOLATED and sign_of(exposure) * sign_of(held) < 0:
            equity = self.equity_of(self.pool_of(position))
            needed = within_range(needed, max64(0, stake.own - max64(0, equity)))
        return needed

    # What the open orders of a symbol reserve beyond the position's initial margin, by the
    # worse of the two sides.
    @cython.final
    cdef int64_t order_margin(self, int32_t position) except? -1 nogil:
        cdef const open_orders_t *own = self.orders_of(position)
        cdef stake_t stake
        cdef int64_t worst
        cdef int side
        if self.instruments[self.positions[position].symbol].mark == NONE:
            return 0
        if own.side_value[0] == 0 and own.side_value[1] == 0:
            return 0
        self.weigh(position, &stake)
        worst = stake.own
        for side in range(2):
            if own.side_value[side]:
                worst = max64(worst, self.side_margin(
                    position, &stake, side, wide(own.side_value[side]),
                    self.side_loss(position, side, NIL)))
        return sub_checked(worst, stake.own)

    # What the open orders of a symbol would reserve with an extra order of a side, and with
    # one less (NIL: none).
    cdef int64_t order_margin_with(
        self, int32_t position, int side, const terms_t *extra, int32_t without
    ) except? -1 nogil:
        cdef const open_orders_t *own = self.orders_of(position)
        cdef stake_t stake
        cdef int64_t worst
        self.weigh(position, &stake)
        worst = max64(stake.own, self.side_margin(
            position, &stake, side, self.side_total(position, side, extra, without),
            add_checked(self.side_loss(position, side, without), extra.loss)))
        if own.side_value[1 - side]:
            worst = max64(worst, self.side_margin(
                position, &stake, 1 - side, wide(own.side_value[1 - side]),
                self.side_loss(position, 1 - side, NIL)))
        return sub_checked(worst, stake.own)

    # Notional of the worse side of position plus open orders, with an extra order of a side
    # (NULL: none) and one less; MONEY_MAX + 1 where beyond. A new sell counts at the mark
    # where its price is lower: it may trade as high as that. So does a new inverse buy whose
    # price is higher.
    cdef int64_t exposure(
        self, int32_t position, int side, const terms_t *extra, int32_t without
    ) except? -1 nogil:
        cdef position_t *row = &self.positions[position]
        cdef int64_t mark = self.instruments[row.symbol].mark
        cdef int64_t at_mark
        cdef const open_orders_t *own = self.orders_of(position)
        cdef i128 held, worst, total = wide(own.side_value[side])
        if mark == NONE:
            return 0
        held = wide(self.signed_notional(position))
        if extra != NULL:
            total = self.side_total(position, side, extra, without)
            if side != value_side(&self.instruments[row.symbol].contract):
                at_mark = self.marked_notional(row.symbol, extra.lots)
                if at_mark > extra.value:
                    total = add(total, sub(wide(at_mark), wide(extra.value)))
        worst = widest(held, with_side(held, side, total))
        if own.side_value[1 - side]:
            worst = widest(worst, with_side(held, 1 - side, wide(own.side_value[1 - side])))
        return narrow(worst) if worst <= wide(MONEY_MAX) else MONEY_MAX + 1

    # Equity - initial margin - order margin of a cross pool; may be negative, and beyond the
    # money range for an account with much in many symbols.
    @cython.final
    cdef i128 spare_margin(
        self, int32_t wallet, int32_t known, int64_t reserved
    ) except? -1 nogil:
        cdef int32_t row = self.pools[wallet].first_open
        cdef position_t *position
        cdef instrument_t *instrument
        cdef int64_t worth
        cdef i128 spare = sub(
            wide(self.pools[wallet].balance),
            self.orders_reserve(wallet, False, known, reserved))
        if self.pools[wallet].first_pledge >= 0:
            spare = add(spare, wide(self.collateral_of(wallet)))
        while row >= 0:
            position = &self.positions[row]
            instrument = &self.instruments[position.symbol]
            worth = self.value(position.symbol, position.quantity, instrument.mark)
            spare = add(spare, sub(wide(worth), wide(position.entry_value)))
            spare = sub(spare, wide(initial_margin(
                self.schedule_of(position), notional_of_value(
                    &instrument.contract, position.quantity, worth, instrument.mark),
                self.leverage_of(row))))
            row = position.next_open
        return spare

    # What of it may be given away: not below zero, and no more than a command can name.
    cdef int64_t free_margin(self, int32_t wallet) except? -1 nogil:
        return as_amount(self.spare_margin(wallet, NIL, 0))

    # What may leave a wallet: of a collateral asset what its debtor can spare, at weight.
    cdef int64_t withdrawable(self, int32_t wallet) except? -1 nogil:
        cdef int64_t available = max64(
            0, min64(self.pools[wallet].balance, self.free_margin(wallet)))
        cdef int32_t collateral = self.assets[self.pools[wallet].asset].collateral
        if collateral < 0:
            return available
        return min64(available, spare_amount(
            &self.collaterals[collateral], self.pools[wallet].balance,
            self.free_margin(self.debtor_of(wallet))))
