"""Order entry, amends and cancels."""

from engine.errors import InvariantViolation

from engine.core.book cimport best_price, order_t, ticket_t, within_limit
from engine.core.fixed cimport (
    abs64, add, add_checked, i128, max64, mul, mul_div_ceil, mul_div_floor, mul_wide,
    neg, sub_checked, wide,
)
from engine.core.ledger cimport instrument_t, position_t
from engine.core.matching cimport terms_t
from engine.core.tables cimport table_get, table_put
from engine.core.tiers cimport (
    isolated_fill, isolated_pay, isolated_share, isolated_t, maintenance_margin, schedule_t,
    tier_index, trade_fee,
)
from engine.core.types cimport (
    ACCEPTED, CANCEL_AMEND, CANCEL_IOC, CANCEL_REDUCE_ONLY, CANCEL_USER, EVENT_ORDER_ACCEPTED,
    EVENT_ORDER_AMENDED, EVENT_REJECTED, HALT_ALL, HALT_CANCEL_ONLY, MODE_CROSS, MODE_ISOLATED,
    MONEY_MAX, NIL, NONE, OFF_GRID, REJECT_ACCOUNT_LIQUIDATING,
    REJECT_DUPLICATE_ORDER_ID, REJECT_FOK_UNFILLABLE, REJECT_HALTED, REJECT_INSUFFICIENT_MARGIN,
    REJECT_LEVERAGE, REJECT_MALFORMED, REJECT_NO_MARK_PRICE, REJECT_OFF_LOT, REJECT_OFF_TICK,
    REJECT_ORDER_LIMIT, REJECT_OVERFLOW, REJECT_POST_ONLY_WOULD_CROSS, REJECT_PRICE_BAND,
    REJECT_QUANTITY_LIMIT, REJECT_REDUCE_ONLY, REJECT_TIER_LIMIT, REJECT_UNKNOWN_ACCOUNT,
    REJECT_UNKNOWN_ORDER, REJECT_UNKNOWN_SYMBOL, REJECT_UNSUPPORTED, SIDE_BUY, SIDE_SELL,
    STP_CANCEL_MAKER, STP_CANCEL_TAKER, STP_DECREMENT, STP_NONE, TIF_FOK, TIF_GTC, TIF_IOC,
    TOO_LARGE, TYPE_LIMIT, TYPE_MARKET,
)


cdef extern from *:
    const bint ENGINE_DEBUG      # 1 in debug builds: every invariant after every command


cdef inline bint positive(int64_t value) noexcept:
    return value > 0 or value == OFF_GRID or value == TOO_LARGE


cdef class Orders(Liquidation):
    """Commands about orders, and the frame of every command."""

    # --- the frame --------------------------------------------------------------------

    # Open a command: number it, set the time. False where time would go back.
    cdef bint begin(self, int64_t ts) except -1:
        if self.is_busy:
            raise InvariantViolation("the engine stopped at an earlier failure")
        self.is_busy = True
        self.seq += 1
        self.ts_before = self.ts
        self.needed = self.limit = NONE
        if ts != NONE:
            if ts < self.ts:
                return False
            self.ts = ts
        return True

    # Close a command: work off what it set off, or report its refusal. A failure on the
    # way leaves `is_busy` set, so the engine refuses to go on from a half-done state.
    cdef int end(
        self, int command, int reason, int64_t account, int64_t asset, int64_t symbol,
        int64_t order_id
    ) except -1:
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
            self.check()
        self.is_busy = False
        return 0

    def check(self):
        """Assert the invariants of everything; `Audit` knows how."""

    cdef int refuse(self, int reason, int64_t needed, int64_t limit) noexcept:
        self.needed = needed
        self.limit = limit
        return reason

    # --- new orders -------------------------------------------------------------------

    cdef int do_place(
        self, int64_t account, int64_t symbol, int64_t order_id, int side, int kind,
        int64_t quantity, int64_t price, int time_in_force, bint post_only, bint reduce_only,
        int stp
    ) except -2:
        cdef int32_t owner, position, row
        cdef int reason
        cdef int64_t limit = price
        cdef order_t *order
        cdef ticket_t *ticket
        cdef bint is_well_formed = order_id > 0 and positive(quantity)
        if kind == TYPE_LIMIT:
            is_well_formed = is_well_formed and positive(price)
        elif kind == TYPE_MARKET:
            is_well_formed = is_well_formed and price == NONE and time_in_force != TIF_GTC
        if post_only and (
                kind == TYPE_MARKET or time_in_force == TIF_IOC or time_in_force == TIF_FOK):
            is_well_formed = False
        if not (is_well_formed and 0 <= side <= 1 and 0 <= stp <= STP_DECREMENT):
            return REJECT_MALFORMED
        if kind > TYPE_MARKET or time_in_force > TIF_FOK:
            return REJECT_UNSUPPORTED
        if not 0 <= symbol < self.instrument_count:
            return REJECT_UNKNOWN_SYMBOL
        owner = self.find_account(account)
        if owner < 0:
            return REJECT_UNKNOWN_ACCOUNT
        if table_get(&self.order_table, owner, order_id) >= 0:
            return REJECT_DUPLICATE_ORDER_ID
        position = self.position_at(owner, <int32_t>symbol)
        reason = self.check_open(position, reduce_only)
        if reason != ACCEPTED:
            return reason
        if price == OFF_GRID:
            return REJECT_OFF_TICK
        if quantity == OFF_GRID:
            return REJECT_OFF_LOT
        row = self.new_order()
        order = &self.orders[row]
        ticket = &self.tickets[row]
        order.order_id = order_id
        order.price = price
        ticket.quantity = order.leaves = quantity
        order.account = owner
        order.symbol = <int32_t>symbol
        ticket.position = position
        order.side = side
        ticket.kind = kind
        ticket.time_in_force = time_in_force
        order.stp = stp
        ticket.is_post_only = post_only
        order.is_reduce_only = reduce_only
        reason = self.check_limits(row, True)
        if reason == ACCEPTED:
            reason = self.check_size(row)
        if reason == ACCEPTED:
            if kind == TYPE_MARKET:
                limit = self.band_limit(<int32_t>symbol, side)
            reason = self.check_entry(row, limit, NIL)
        if reason != ACCEPTED:
            self.free_order_row(row)
            return reason
        table_put(&self.order_table, owner, order_id, row)
        self.link_order(row)
        self.emit_accepted(row)
        self.enter(row, limit)
        self.retry_waiting()
        return ACCEPTED

    cdef int emit_accepted(self, int32_t row) except -1:
        cdef order_t *order = &self.orders[row]
        cdef ticket_t *ticket = &self.tickets[row]
        cdef int64_t *out = self.emit(EVENT_ORDER_ACCEPTED)
        out[0] = self.accounts[order.account].id
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
        return 0

    # --- checks, in the order of the rules --------------------------------------------

    cdef int check_open(self, int32_t position, bint reduce_only) except -2:
        cdef instrument_t *instrument = &self.instruments[self.positions[position].symbol]
        if instrument.mark == NONE:
            return REJECT_NO_MARK_PRICE
        if instrument.halt == HALT_CANCEL_ONLY or instrument.halt == HALT_ALL:
            return REJECT_HALTED
        if not reduce_only and (
                self.pools[self.pool_of(position)].in_queue
                or self.pools[self.positions[position].wallet].in_queue):
            return REJECT_ACCOUNT_LIQUIDATING
        return ACCEPTED

    cdef int check_limits(self, int32_t row, bint is_new) except -2:
        cdef order_t *order = &self.orders[row]
        cdef ticket_t *ticket = &self.tickets[row]
        cdef instrument_t *instrument = &self.instruments[order.symbol]
        cdef int64_t most = instrument.max_order_quantity
        cdef int64_t limit = self.band_limit(order.symbol, order.side)
        cdef bint is_outside
        if most != NONE and (ticket.quantity == TOO_LARGE or ticket.quantity > most):
            return self.refuse(REJECT_QUANTITY_LIMIT, ticket.quantity, most)
        if ticket.kind == TYPE_LIMIT and limit != NONE:
            if order.price == TOO_LARGE:
                is_outside = order.side == SIDE_BUY
            else:
                is_outside = not within_limit(order.side, order.price, limit)
            if is_outside:
                return self.refuse(REJECT_PRICE_BAND, order.price, limit)
        if is_new and ticket.time_in_force == TIF_GTC and instrument.max_open_orders != NONE:
            if self.positions[ticket.position].order_count >= instrument.max_open_orders:
                return self.refuse(
                    REJECT_ORDER_LIMIT, self.positions[ticket.position].order_count,
                    instrument.max_open_orders)
        return ACCEPTED

    # Refuse what the engine's integers cannot hold before anything is computed from it. A
    # reduce-only order is clamped to the position first (nothing left: refused later).
    cdef int check_size(self, int32_t row) except -2:
        cdef order_t *order = &self.orders[row]
        cdef ticket_t *ticket = &self.tickets[row]
        cdef instrument_t *instrument = &self.instruments[order.symbol]
        cdef int64_t mark = instrument.mark
        cdef int64_t room, filled
        if order.is_reduce_only:
            room = self.reducible(row)
            if room == 0:
                return ACCEPTED
            if order.leaves == TOO_LARGE or order.leaves > room:
                filled = 0 if ticket.quantity == TOO_LARGE else ticket.quantity - order.leaves
                ticket.quantity, order.leaves = filled + room, room
        if order.price == TOO_LARGE or ticket.quantity == TOO_LARGE:
            return REJECT_OVERFLOW
        if order.price > MONEY_MAX or ticket.quantity > MONEY_MAX:
            return REJECT_OVERFLOW
        if order.price != NONE:
            if not self.value_fits(order.symbol, 1, order.price):
                return REJECT_OVERFLOW
            mark = max64(mark, order.price * instrument.marks_per_tick)
        if order.is_reduce_only:
            if mul(order.leaves, mark) > wide(MONEY_MAX):
                return REJECT_OVERFLOW
            if mul_wide(mul(order.leaves, mark), instrument.unit_value) > wide(MONEY_MAX):
                return REJECT_OVERFLOW
        elif not self.fits(order.symbol, order.leaves, mark):
            return REJECT_OVERFLOW
        return ACCEPTED

    # Leverage and tier cap, reduce-only, post-only, fill-or-kill, margin, in this order.
    cdef int check_entry(self, int32_t row, int64_t limit, int32_t without) except -2:
        cdef order_t *order = &self.orders[row]
        cdef ticket_t *ticket = &self.tickets[row]
        cdef schedule_t *schedule = &self.instruments[order.symbol].schedule
        cdef terms_t terms, whole
        cdef int64_t before, after, leverage, best, cap
        cdef int k, reason
        if order.is_reduce_only:
            if self.reducible(row) == 0:
                return REJECT_REDUCE_ONLY
        else:
            self.entry_terms(row, limit, &terms)
            before = self.worst_exposure(ticket.position, 0, NULL, NIL)
            after = self.worst_exposure(ticket.position, order.side, &terms, without)
            if after > MONEY_MAX:
                return REJECT_OVERFLOW
            if after > before:
                k = tier_index(schedule, after)
                leverage = self.leverage_of(ticket.position)
                if leverage > schedule.tiers[k].max_leverage:
                    return self.refuse(
                        REJECT_LEVERAGE, leverage, schedule.tiers[k].max_leverage)
                cap = schedule.tiers[schedule.count - 1].max_notional
                if cap < MONEY_MAX and after > cap:
                    return self.refuse(REJECT_TIER_LIMIT, after, cap)
        if ticket.is_post_only:
            best = best_price(&self.books[order.symbol], 1 - order.side, NONE)
            if best != NONE and within_limit(order.side, best, order.price):
                return REJECT_POST_ONLY_WOULD_CROSS
        if ticket.time_in_force == TIF_FOK:
            # Under decrement the order's own resting orders end the count.
            self.rehearse(
                row, limit, STP_CANCEL_TAKER if order.stp == STP_DECREMENT else order.stp,
                &whole)
            if whole.lots != order.leaves:
                return REJECT_FOK_UNFILLABLE
        if not order.is_reduce_only:
            reason = self.check_debt(ticket.position)
            if reason != ACCEPTED:
                return reason
            reason = self.check_margin(row, &terms, without)
            if reason != ACCEPTED:
                return reason
        return self.check_outcome(row, limit)

    # Refuse an order that would at once cost more than there is. What trades at once is
    # rehearsed; what would rest counts at its limit. A trade with oneself changes no
    # position, so one's own orders are stepped over.
    cdef int check_outcome(self, int32_t row, int64_t limit) except -2:
        cdef order_t *order = &self.orders[row]
        cdef ticket_t *ticket = &self.tickets[row]
        cdef instrument_t *instrument = &self.instruments[order.symbol]
        cdef position_t *position = &self.positions[ticket.position]
        cdef terms_t terms
        cdef int64_t rest, rest_value, rest_loss, cost, equity, maintenance
        cdef int64_t room = self.reducible(row)
        cdef int reason
        cdef bint is_sale_below_mark = False
        if position.margin_mode == MODE_CROSS:
            is_sale_below_mark = order.side == SIDE_SELL and (
                order.price == NONE
                or mul(order.price, instrument.marks_per_tick) < wide(instrument.mark))
            if room == 0 and not is_sale_below_mark:
                return ACCEPTED
        self.rehearse(
            row, limit, STP_CANCEL_MAKER if order.stp == STP_NONE else order.stp, &terms)
        rest = order.leaves - terms.lots
        if rest and ticket.time_in_force == TIF_GTC:
            rest_value = self.value_at_tick(order.symbol, rest, order.price)
            rest_loss = rest_value - self.value(order.symbol, rest, instrument.mark)
            rest_loss = max64(0, rest_loss if order.side == SIDE_BUY else -rest_loss)
            # What rests on the near side of the mark is of no concern to the opening.
            if rest_loss:
                terms.lots += rest
                terms.loss = add_checked(terms.loss, rest_loss)
            if rest_loss or room:
                terms.value = add_checked(terms.value, rest_value)
        if position.margin_mode == MODE_ISOLATED and terms.lots > room:
            reason = self.check_isolated_opening(ticket.position, &terms, terms.lots - room)
            if reason != ACCEPTED:
                return reason
        if (position.margin_mode == MODE_ISOLATED and order.stp == STP_NONE
                and not order.is_reduce_only):
            reason = self.check_isolated_self_trade(row, limit)
            if reason != ACCEPTED:
                return reason
        if is_sale_below_mark and terms.loss:
            reason = self.check_sale_below_mark(ticket.position, &terms)
            if reason != ACCEPTED:
                return reason
        if room == 0:
            return ACCEPTED
        # A close: loss against mark and fee must not exceed the pool's equity. The fee of an
        # isolated position is paid by the wallet while it has money.
        cost = max64(0, trade_fee(terms.value, instrument.taker_fee))
        if position.margin_mode == MODE_ISOLATED:
            cost = max64(0, cost - self.spendable(position.wallet))
        self.measure(self.pool_of(ticket.position), &equity, &maintenance)
        cost = add_checked(cost, terms.loss)
        if cost > equity:
            return self.refuse(REJECT_INSUFFICIENT_MARGIN, cost, max64(0, equity))
        return ACCEPTED

    # Refuse a sale after which the pool would be due at once: its initial margin is that of
    # its own price, maintenance is asked for at the mark.
    cdef int check_sale_below_mark(self, int32_t position, const terms_t *terms) except -2:
        cdef int32_t symbol = self.positions[position].symbol
        cdef instrument_t *instrument = &self.instruments[symbol]
        cdef int64_t after = sub_checked(self.positions[position].quantity, terms.lots)
        cdef int64_t equity, needed
        if after >= 0:
            return ACCEPTED
        self.measure(self.pool_of(position), &equity, &needed)
        equity = sub_checked(equity, add_checked(terms.loss, max64(
            0, trade_fee(terms.value, instrument.taker_fee))))
        if self.positions[position].quantity:
            needed -= self.maintenance(position)
        needed = add_checked(needed, maintenance_margin(
            &instrument.schedule, abs64(self.value(symbol, after, instrument.mark))))
        if equity <= needed:
            return self.refuse(REJECT_INSUFFICIENT_MARGIN, needed, max64(0, equity))
        return ACCEPTED

    # Refuse an isolated opening so far from mark that it would be due at once: the margin
    # moved is value / leverage, which need not cover the loss against mark.
    cdef int check_isolated_opening(
        self, int32_t position, const terms_t *terms, int64_t opened
    ) except -2:
        cdef instrument_t *instrument = &self.instruments[self.positions[position].symbol]
        cdef int64_t equity = 0, maintenance, held = 0, needed
        if opened == terms.lots:
            held = abs64(self.positions[position].quantity)
            self.measure(self.pool_of(position), &equity, &maintenance)
        equity = add_checked(equity, isolated_share(
            mul_div_floor(terms.value, opened, terms.lots),
            self.opening_leverage(position, held + opened)))
        equity = sub_checked(equity, mul_div_ceil(terms.loss, opened, terms.lots))
        needed = maintenance_margin(
            &instrument.schedule,
            self.value(self.positions[position].symbol, held + opened, instrument.mark))
        if equity <= needed:
            return self.refuse(REJECT_INSUFFICIENT_MARGIN, needed, max64(0, equity))
        return ACCEPTED

    # Refuse a trade with oneself after which an isolated position would be due at once. It
    # closes lots at its price and opens them anew there: profit goes to the wallet, and the
    # margin of the new opening need not bear its loss against mark.
    cdef int check_isolated_self_trade(self, int32_t row, int64_t limit) except -2:
        cdef order_t *order = &self.orders[row]
        cdef instrument_t *instrument = &self.instruments[order.symbol]
        cdef position_t *position = &self.positions[self.tickets[row].position]
        cdef int sign = 1 if order.side == SIDE_BUY else -1
        cdef int32_t maker
        cdef int64_t lots, worth, equity, needed
        cdef bint has_own = False
        cdef terms_t terms
        cdef isolated_t trial
        cdef list fills = []
        self.rehearse(row, limit, STP_NONE, &terms, fills)
        for maker, _ in fills:
            has_own = has_own or self.orders[maker].account == order.account
        if not has_own:
            return ACCEPTED
        trial.quantity, trial.entry_value = position.quantity, position.entry_value
        trial.margin = 0 if position.isolated < 0 else self.pools[position.isolated].balance
        trial.wallet = self.pools[position.wallet].balance
        trial.leverage = self.leverage_of(self.tickets[row].position)
        trial.mark_value = self.value(order.symbol, 1, instrument.mark)
        trial.schedule = &instrument.schedule
        for maker, lots in fills:
            worth = self.value_at_tick(order.symbol, lots, self.orders[maker].price)
            if self.orders[maker].account == order.account:
                isolated_fill(&trial, -sign * lots, -sign * worth)
                isolated_pay(&trial, trade_fee(worth, instrument.maker_fee))
            isolated_fill(&trial, sign * lots, sign * worth)
            isolated_pay(&trial, trade_fee(worth, instrument.taker_fee))
        worth = self.value(order.symbol, trial.quantity, instrument.mark)
        equity = sub_checked(add_checked(trial.margin, worth), trial.entry_value)
        needed = maintenance_margin(&instrument.schedule, abs64(worth))
        if trial.quantity and equity <= needed:
            return self.refuse(REJECT_INSUFFICIENT_MARGIN, needed, max64(0, equity))
        return ACCEPTED

    # What an order may cost at worst: at its limit, or as the sweep it would make now.
    cdef int entry_terms(self, int32_t row, int64_t limit, terms_t *terms) except -1:
        cdef order_t *order = &self.orders[row]
        cdef ticket_t *ticket = &self.tickets[row]
        cdef instrument_t *instrument = &self.instruments[order.symbol]
        if ticket.kind == TYPE_MARKET:
            return self.rehearse(row, limit, order.stp, terms)
        terms.lots = order.leaves
        terms.value = self.value_at_tick(order.symbol, order.leaves, order.price)
        terms.loss = terms.value - self.value(order.symbol, order.leaves, instrument.mark)
        terms.loss = max64(0, terms.loss if order.side == SIDE_BUY else -terms.loss)
        return 0

    # Nothing is opened on an isolated position whose last one left a deficit unpaid.
    cdef int check_debt(self, int32_t position) except -2:
        cdef int32_t isolated = self.positions[position].isolated
        if isolated < 0 or self.positions[position].quantity or (
                self.pools[isolated].balance >= 0):
            return ACCEPTED
        return self.refuse(REJECT_INSUFFICIENT_MARGIN, -self.pools[isolated].balance, 0)

    cdef int check_margin(
        self, int32_t row, const terms_t *terms, int32_t without
    ) except -2:
        cdef int32_t position = self.tickets[row].position
        cdef int64_t needed = sub_checked(
            self.order_margin(position, self.orders[row].side, terms, without),
            self.order_margin(position, 0, NULL, NIL))
        cdef int64_t free
        if needed <= 0 and not self.adds_exposure(row, terms, without):
            return ACCEPTED
        free = self.free_for(position)
        if needed > free:
            return self.refuse(REJECT_INSUFFICIENT_MARGIN, needed, max64(0, free))
        return ACCEPTED

    # Whether position plus the orders of this side would be larger than the position.
    cdef bint adds_exposure(
        self, int32_t row, const terms_t *terms, int32_t without
    ) except *:
        cdef int32_t position = self.tickets[row].position
        cdef int side = self.orders[row].side
        cdef i128 held = wide(self.value(
            self.orders[row].symbol, self.positions[position].quantity,
            self.instruments[self.orders[row].symbol].mark))
        cdef i128 total = self.side_total(position, side, side, terms, without)
        total = add(held, total if side == SIDE_BUY else neg(total))
        total = total if total >= wide(0) else neg(total)
        held = held if held >= wide(0) else neg(held)
        return total > held

    # --- effects ----------------------------------------------------------------------

    # Sweep, then rest or cancel what is left.
    cdef int enter(self, int32_t row, int64_t limit) except -1:
        self.traded_value = 0
        if self.sweep(row, limit):
            return 0
        if self.orders[row].leaves == 0:
            self.retire_order(row)
            return self.emit_order_update(row)
        if self.tickets[row].time_in_force != TIF_GTC:
            return self.on_cancel(row, CANCEL_IOC)
        if self.orders[row].is_reduce_only and self.reducible(row) == 0:
            return self.on_cancel(row, CANCEL_REDUCE_ONLY)
        self.rest(row)
        self.sync_reserve(row, self.orders[row].leaves)
        return self.note_order(row)

    cdef int do_amend(
        self, int64_t account, int64_t symbol, int64_t order_id, int64_t price,
        int64_t quantity, int64_t leaves
    ) except -2:
        cdef int32_t owner, row
        cdef int reason
        if price == NONE and quantity == NONE and leaves == NONE:
            return REJECT_MALFORMED
        if quantity != NONE and leaves != NONE:
            return REJECT_MALFORMED
        if not (price == NONE or positive(price)):
            return REJECT_MALFORMED
        if not (quantity == NONE or positive(quantity)):
            return REJECT_MALFORMED
        if not 0 <= symbol < self.instrument_count:
            return REJECT_UNKNOWN_SYMBOL
        owner = self.find_account(account)
        if owner < 0:
            return REJECT_UNKNOWN_ACCOUNT
        row = table_get(&self.order_table, owner, order_id)
        if row < 0 or self.orders[row].symbol != symbol:
            return REJECT_UNKNOWN_ORDER
        reason = self.check_open(self.tickets[row].position, self.orders[row].is_reduce_only)
        if reason != ACCEPTED:
            return reason
        if price == OFF_GRID:
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
        reason = self.amend(row, price, leaves)
        if reason == ACCEPTED:
            self.retry_waiting()
        return reason

    # Change a resting order to a price and an open quantity.
    cdef int amend(self, int32_t row, int64_t price, int64_t leaves) except -2:
        cdef int64_t filled = self.tickets[row].quantity - self.orders[row].leaves
        cdef int32_t probe
        cdef int reason
        if leaves <= 0 and leaves != TOO_LARGE:
            self.cancel_order(row, CANCEL_AMEND)
            return ACCEPTED
        if (price == self.orders[row].price and leaves != TOO_LARGE
                and leaves <= self.orders[row].leaves):
            # In place: the order keeps its turn.
            self.books[self.orders[row].symbol].levels[
                self.orders[row].level].quantity += leaves - self.orders[row].leaves
            self.tickets[row].quantity = filled + leaves
            self.orders[row].leaves = leaves
            self.emit_amended(row)
            self.on_change(row)
            return ACCEPTED
        # The changed order is checked as a row of its own while the old one still rests.
        probe = self.new_order()
        self.orders[probe] = self.orders[row]
        self.tickets[probe] = self.tickets[row]
        self.orders[probe].price = price
        self.orders[probe].leaves = leaves
        self.tickets[probe].quantity = TOO_LARGE if leaves == TOO_LARGE else filled + leaves
        reason = self.check_limits(probe, False)
        if reason == ACCEPTED:
            reason = self.check_size(probe)
        if reason == ACCEPTED:
            reason = self.check_entry(probe, price, row)
        if reason == ACCEPTED:
            self.unrest(row)
            self.sync_reserve(row, 0)
            self.orders[row].price = price
            self.orders[row].leaves = self.orders[probe].leaves
            self.tickets[row].quantity = self.tickets[probe].quantity
        self.free_order_row(probe)
        if reason == ACCEPTED:
            self.emit_amended(row)
            self.enter(row, price)
        return reason

    cdef int emit_amended(self, int32_t row) except -1:
        cdef int64_t *out = self.emit(EVENT_ORDER_AMENDED)
        out[0] = self.accounts[self.orders[row].account].id
        out[1] = self.orders[row].symbol
        out[2] = self.orders[row].order_id
        out[3] = self.orders[row].price
        out[4] = self.tickets[row].quantity
        out[5] = self.orders[row].leaves
        return 0

    cdef int do_cancel(self, int64_t account, int64_t symbol, int64_t order_id) except -2:
        cdef int32_t owner, row
        if not 0 <= symbol < self.instrument_count:
            return REJECT_UNKNOWN_SYMBOL
        owner = self.find_account(account)
        if owner < 0:
            return REJECT_UNKNOWN_ACCOUNT
        row = table_get(&self.order_table, owner, order_id)
        if row < 0 or self.orders[row].symbol != symbol:
            return REJECT_UNKNOWN_ORDER
        self.cancel_order(row, CANCEL_USER)
        return ACCEPTED

    # By account and symbol (NONE: all), in order of account id, symbol, acceptance.
    cdef int do_cancel_all(self, int64_t account, int64_t symbol) except -2:
        cdef int32_t owner
        if symbol != NONE and not 0 <= symbol < self.instrument_count:
            return REJECT_UNKNOWN_SYMBOL
        if account != NONE:
            owner = self.find_account(account)
            if owner < 0:
                return REJECT_UNKNOWN_ACCOUNT
            self.cancel_of_account(owner, symbol)
            return ACCEPTED
        for _, owner in sorted([(self.accounts[i].id, i) for i in range(self.account_count)]):
            self.cancel_of_account(owner, symbol)
        return ACCEPTED

    cdef int cancel_of_account(self, int32_t account, int64_t symbol) except -1:
        cdef int32_t position = self.accounts[account].first_position
        cdef int32_t order, following
        while position >= 0:
            if symbol == NONE or self.positions[position].symbol == symbol:
                order = self.positions[position].first_order
                while order >= 0:
                    following = self.tickets[order].own_next
                    self.cancel_order(order, CANCEL_USER)
                    order = following
            position = self.positions[position].next_in_account
        return 0
