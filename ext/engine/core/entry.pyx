"""What an order must satisfy to enter the market, and how it enters."""

cimport cython

from engine.core.book cimport ORDER_LIVE, ORDER_PENDING, order_t, ticket_t, within_limit
from engine.core.contracts cimport notional_at, notional_fits, value_side, value_sign
from engine.core.fixed cimport (
    abs64, add, add_checked, i128, max64, min64, mul, mul_div_ceil, mul_div_floor, narrow, neg,
    sub, sub_checked, violated, wide,
)
from engine.core.forms cimport is_conditional, is_market, is_proper, may_rest
from engine.core.ledger cimport instrument_t, position_t
from engine.core.linked cimport special_t
from engine.core.matching cimport STP_OWN_POSITION, as_amount, terms_t
from engine.core.tiers cimport (
    isolated_fill, isolated_pay, isolated_t, maintenance_margin, schedule_t,
    tier_index, trade_fee,
)
from engine.core.types cimport (
    ACCEPTED, CANCEL_ACCOUNT_LIQUIDATING, CANCEL_BRACKET, CANCEL_FOK_UNFILLABLE,
    CANCEL_INSUFFICIENT_MARGIN, CANCEL_IOC, CANCEL_LEVERAGE, CANCEL_OVERFLOW,
    CANCEL_POST_ONLY_WOULD_CROSS, CANCEL_PRICE_BAND, CANCEL_PROTECTION, CANCEL_REDUCE_ONLY,
    CANCEL_TIER_LIMIT, EVENT_ORDER_TRIGGERED, HALT_ALL, HALT_AUCTION, HALT_CANCEL_ONLY,
    KIND_INVERSE, LEG_BOTH, MODE_CROSS, MODE_ISOLATED, MONEY_MAX, NIL, NONE,
    REJECT_ACCOUNT_LIQUIDATING, REJECT_AUCTION, REJECT_EXPIRED, REJECT_FOK_UNFILLABLE,
    REJECT_HALTED, REJECT_INSUFFICIENT_MARGIN, REJECT_LEVERAGE, REJECT_NOTIONAL_LIMIT,
    REJECT_NO_MARK_PRICE, REJECT_ORDER_LIMIT, REJECT_OVERFLOW, REJECT_POST_ONLY_WOULD_CROSS,
    REJECT_PRICE_BAND, REJECT_PROTECTION, REJECT_QUANTITY_LIMIT, REJECT_REDUCE_ONLY,
    REJECT_TIER_LIMIT, SIDE_BUY, STP_CANCEL_TAKER, STP_DECREMENT, STP_NONE, TIF_FOK, TOO_LARGE,
)

cdef int64_t ICEBERG_PARTS = 100


# Whether anything bounds the size, the price or the number of plain orders.
cdef inline bint has_limits(const instrument_t *instrument) noexcept nogil:
    return (instrument.max_order_quantity != NONE or instrument.min_order_quantity != NONE
            or instrument.max_order_notional != NONE or instrument.min_order_notional != NONE
            or instrument.price_band != NONE or instrument.max_open_orders != NONE)


cdef class Entry(Liquidation):
    """Checks of orders, in the order of the rules; entry and activation."""

    @cython.final
    cdef int refuse(self, int reason, int64_t needed, int64_t limit) noexcept nogil:
        self.needed = needed
        self.limit = limit
        return reason

    # --- the market, its limits -------------------------------------------------------

    # Whether an order or amend may be looked at at all, for the state of its symbol and of
    # its owner. An auction takes what waits for a price or rests plainly.
    cdef int check_open(
        self, int32_t position, bint reduce_only, bint suits_auction
    ) except -2 nogil:
        cdef instrument_t *instrument = &self.instruments[self.positions[position].symbol]
        if instrument.mark == NONE:
            return REJECT_NO_MARK_PRICE
        if instrument.is_over:
            return REJECT_EXPIRED
        if instrument.halt == HALT_CANCEL_ONLY or instrument.halt == HALT_ALL:
            return REJECT_HALTED
        if instrument.halt == HALT_AUCTION and not suits_auction:
            return REJECT_AUCTION
        if reduce_only:
            return ACCEPTED
        if self.custom_of(&self.positions[position]).protection >= 0 and self.is_frozen(position):
            return REJECT_PROTECTION
        if (self.pools[self.pool_of(position)].in_queue
                or self.pools[self.positions[position].wallet].in_queue):
            return REJECT_ACCOUNT_LIQUIDATING
        return ACCEPTED

    # Quantity and notional limits; the band, unless it waits; the number of orders, if new.
    cdef int check_limits(self, int32_t row, bint is_new) except -2 nogil:
        cdef ticket_t *ticket = &self.tickets[row]
        cdef int64_t most = self.instruments[self.orders[row].symbol].max_open_orders
        cdef int64_t live
        cdef int reason = ACCEPTED
        if ticket.special < 0 and not has_limits(&self.instruments[self.orders[row].symbol]):
            return ACCEPTED
        if not self.closes_position(row):
            reason = self.check_quantity(row)
            if reason == ACCEPTED:
                reason = self.check_notional(row)
        if reason == ACCEPTED and ticket.state == ORDER_LIVE:
            reason = self.check_band(row)
        if reason != ACCEPTED or not is_new or most == NONE:
            return reason
        if is_conditional(ticket.kind) or may_rest(ticket.kind, ticket.time_in_force):
            live = self.live_orders(ticket.position)
            if live >= most:
                return self.refuse(REJECT_ORDER_LIMIT, live, most)
        return ACCEPTED

    # An account's live orders of a symbol, on both legs.
    @cython.final
    cdef int64_t live_orders(self, int32_t position) noexcept nogil:
        cdef int32_t twin = self.twin_of(position)
        cdef int64_t live = self.orders_of(position).count
        return live if twin < 0 else live + self.orders_of(twin).count

    @cython.final
    cdef bint closes_position(self, int32_t row) noexcept nogil:
        cdef int32_t special = self.tickets[row].special
        return special >= 0 and self.specials[special].close_position

    @cython.final
    cdef int check_quantity(self, int32_t row) except -2 nogil:
        cdef instrument_t *instrument = &self.instruments[self.orders[row].symbol]
        cdef int64_t quantity = self.tickets[row].quantity
        cdef int64_t display = NONE
        cdef int64_t most = instrument.max_order_quantity
        cdef int64_t least = instrument.min_order_quantity
        if most != NONE and (quantity == TOO_LARGE or quantity > most):
            return self.refuse(REJECT_QUANTITY_LIMIT, quantity, most)
        if (least != NONE and not self.orders[row].is_reduce_only and is_proper(quantity)
                and quantity < least):
            return self.refuse(REJECT_QUANTITY_LIMIT, quantity, least)
        if self.tickets[row].special >= 0:
            display = self.specials[self.tickets[row].special].display
        if display != NONE and is_proper(display) and is_proper(quantity):
            if wide(quantity) > mul(display, ICEBERG_PARTS):
                return self.refuse(REJECT_QUANTITY_LIMIT, quantity, display * ICEBERG_PARTS)
        return ACCEPTED

    # Quantity at its price; a market order's at the mark.
    @cython.final
    cdef int check_notional(self, int32_t row) except -2 nogil:
        cdef order_t *order = &self.orders[row]
        cdef instrument_t *instrument = &self.instruments[order.symbol]
        cdef int64_t quantity = self.tickets[row].quantity
        cdef int64_t most = instrument.max_order_notional
        cdef int64_t least = instrument.min_order_notional
        cdef int64_t shown = NONE, price = instrument.mark
        cdef bint is_known = is_proper(quantity) and is_proper(order.price)
        if most == NONE and least == NONE:
            return ACCEPTED
        if is_known and order.price != NONE:
            is_known = mul(order.price, instrument.marks_per_tick) <= wide(MONEY_MAX)
            price = order.price * instrument.marks_per_tick if is_known else 0
        if is_known and notional_fits(&instrument.contract, quantity, price):
            shown = notional_at(&instrument.contract, quantity, price)
        # NONE here: more than any limit, or not known.
        if most != NONE and (shown == NONE or shown > most):
            return self.refuse(REJECT_NOTIONAL_LIMIT, shown, most)
        if least != NONE and not order.is_reduce_only and shown != NONE and shown < least:
            return self.refuse(REJECT_NOTIONAL_LIMIT, shown, least)
        return ACCEPTED

    @cython.final
    cdef int check_band(self, int32_t row) except -2 nogil:
        cdef order_t *order = &self.orders[row]
        cdef int64_t limit
        cdef bint is_outside
        if self.instruments[order.symbol].price_band == NONE:
            return ACCEPTED
        limit = self.band_limit(order.symbol, order.side)
        if limit == NONE or is_market(self.tickets[row].kind):
            return ACCEPTED
        if order.price == TOO_LARGE:
            is_outside = order.side == SIDE_BUY
        else:
            is_outside = not within_limit(order.side, order.price, limit)
        if is_outside:
            return self.refuse(REJECT_PRICE_BAND, order.price, limit)
        return ACCEPTED

    # --- what the engine's integers hold ----------------------------------------------

    # Special terms, and of an order that waits its size: it is not clamped before its time.
    @cython.final
    cdef int check_terms(self, int32_t row) except -2 nogil:
        cdef int32_t at = self.tickets[row].special
        cdef special_t *special
        if at < 0:
            return ACCEPTED
        special = &self.specials[at]
        if not (fits(special.trigger_price) and fits(special.display)):
            return REJECT_OVERFLOW
        if self.tickets[row].state == ORDER_PENDING and not (
                fits(self.orders[row].price) and fits(self.tickets[row].quantity)):
            return REJECT_OVERFLOW
        return ACCEPTED

    # Refuse what the engine's integers cannot hold before anything is computed from it. A
    # reduce-only order is clamped to the position first (nothing left: refused later).
    cdef int check_size(self, int32_t row) except -2 nogil:
        cdef order_t *order = &self.orders[row]
        cdef ticket_t *ticket = &self.tickets[row]
        cdef instrument_t *instrument = &self.instruments[order.symbol]
        cdef int64_t mark = instrument.mark
        cdef int64_t room, filled, price
        cdef bint is_inverse
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
            if not self.price_fits(order.symbol, order.price):
                return REJECT_OVERFLOW
            # The one at which it is worth more: an inverse contract's falls with the price.
            price = order.price * instrument.marks_per_tick
            is_inverse = instrument.contract.kind == KIND_INVERSE
            mark = min64(mark, price) if is_inverse else max64(mark, price)
        if order.is_reduce_only:
            # Such orders are not limited by what there is to reduce, all together.
            if may_rest(ticket.kind, ticket.time_in_force) and (
                    order.leaves > MONEY_MAX - instrument.reduce_only_lots):
                return REJECT_OVERFLOW
            if not notional_fits(&instrument.contract, order.leaves, mark):
                return REJECT_OVERFLOW
        elif not self.fits(order.symbol, order.leaves, mark):
            return REJECT_OVERFLOW
        return ACCEPTED

    # Leverage and tier cap, reduce-only, post-only, fill-or-kill, margin, in this order.
    cdef int check_entry(self, int32_t row, int64_t limit, int32_t without) except -2 nogil:
        cdef order_t *order = &self.orders[row]
        cdef ticket_t *ticket = &self.tickets[row]
        cdef const schedule_t *schedule = self.schedule_of(&self.positions[ticket.position])
        cdef terms_t terms, whole
        cdef int64_t after, leverage, allowed, cap
        cdef int reason
        if order.is_reduce_only:
            if self.reducible(row) == 0:
                return REJECT_REDUCE_ONLY
        else:
            self.entry_terms(row, limit, &terms)
            after = self.exposure(ticket.position, order.side, &terms, without)
            if after > MONEY_MAX:
                return REJECT_OVERFLOW
            allowed = schedule.tiers[tier_index(schedule, after)].max_leverage
            leverage = self.leverage_of(ticket.position)
            cap = schedule.tiers[schedule.count - 1].max_notional
            if leverage > allowed or (cap < MONEY_MAX and after > cap):
                # What does not make it larger is let in all the same.
                if after > self.exposure(ticket.position, order.side, NULL, NIL):
                    if leverage > allowed:
                        return self.refuse(REJECT_LEVERAGE, leverage, allowed)
                    return self.refuse(REJECT_TIER_LIMIT, after, cap)
        if ticket.is_post_only and self.meets(row, order.price):
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
    # rehearsed; what would rest counts at its limit. A trade of a position with itself leaves
    # it as it is, so its own orders are stepped over.
    @cython.final
    cdef int check_outcome(self, int32_t row, int64_t limit) except -2 nogil:
        cdef order_t *order = &self.orders[row]
        cdef ticket_t *ticket = &self.tickets[row]
        cdef instrument_t *instrument = &self.instruments[order.symbol]
        cdef position_t *position = &self.positions[ticket.position]
        cdef terms_t terms
        cdef int64_t rest, rest_value, rest_loss, cost, equity
        cdef int64_t room = self.reducible_by(ticket.position, order.side)
        cdef int reason
        cdef bint is_larger_at_mark = False
        if position.margin_mode == MODE_CROSS:
            is_larger_at_mark = order.side != value_side(&instrument.contract) and (
                order.price == NONE or self.is_losing(order.symbol, order.side, order.price))
            if room == 0 and not is_larger_at_mark and (
                    position.leg == LEG_BOTH or order.stp != STP_NONE):
                return ACCEPTED
        self.rehearse(
            row, limit, STP_OWN_POSITION if order.stp == STP_NONE else order.stp, &terms)
        rest = order.leaves - terms.lots
        if rest and may_rest(ticket.kind, ticket.time_in_force):
            rest_value = self.notional_at_tick(order.symbol, rest, order.price)
            rest_loss = self.loss_at(order.symbol, order.side, rest, order.price)
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
        if order.stp == STP_NONE and not order.is_reduce_only and (
                position.margin_mode == MODE_ISOLATED or position.leg != LEG_BOTH):
            reason = self.check_self_trade(row, limit)
            if reason != ACCEPTED:
                return reason
        if is_larger_at_mark and terms.loss:
            reason = self.check_larger_at_mark(ticket.position, order.side, &terms)
            if reason != ACCEPTED:
                return reason
        if room == 0:
            return ACCEPTED
        # A close: loss against mark and fee must not exceed the pool's equity. The fee of an
        # isolated position is paid by the wallet while it has money.
        cost = max64(0, trade_fee(terms.value, instrument.taker_fee))
        if position.margin_mode == MODE_ISOLATED:
            cost = max64(0, cost - self.spendable(position.wallet))
        equity = self.equity_of(self.pool_of(ticket.position))
        cost = add_checked(cost, terms.loss)
        if cost > equity:
            return self.refuse(REJECT_INSUFFICIENT_MARGIN, cost, max64(0, equity))
        return ACCEPTED

    # Refuse a sale below the mark (inverse: a purchase above) after which the pool would be
    # due at once: its initial margin is that of its own price, maintenance is asked for at
    # the mark, where it is larger.
    cdef int check_larger_at_mark(
        self, int32_t position, int side, const terms_t *terms
    ) except -2 nogil:
        cdef int32_t symbol = self.positions[position].symbol
        cdef instrument_t *instrument = &self.instruments[symbol]
        cdef int sign = 1 if side == SIDE_BUY else -1
        cdef int64_t after = add_checked(
            self.positions[position].quantity, sign * terms.lots)
        cdef int64_t equity, needed
        if sign * after <= 0:
            return ACCEPTED
        self.measure(self.pool_of(position), &equity, &needed)
        equity = sub_checked(equity, add_checked(terms.loss, max64(
            0, trade_fee(terms.value, instrument.taker_fee))))
        if self.positions[position].quantity:
            needed -= self.maintenance(position)
        needed = add_checked(needed, maintenance_margin(
            self.schedule_of(&self.positions[position]),
            self.marked_notional(symbol, abs64(after))))
        if equity <= needed:
            return self.refuse(REJECT_INSUFFICIENT_MARGIN, needed, max64(0, equity))
        return ACCEPTED

    # Refuse an isolated opening so far from mark that it would be due at once: the margin
    # moved is value / leverage, which need not cover the loss against mark.
    cdef int check_isolated_opening(
        self, int32_t position, const terms_t *terms, int64_t opened
    ) except -2 nogil:
        cdef int64_t equity = 0, maintenance, held = 0, needed
        if opened == terms.lots:
            held = abs64(self.positions[position].quantity)
            self.measure(self.pool_of(position), &equity, &maintenance)
        equity = add_checked(equity, self.isolated_share(
            position, mul_div_floor(terms.value, opened, terms.lots), held + opened))
        equity = sub_checked(equity, mul_div_ceil(terms.loss, opened, terms.lots))
        needed = maintenance_margin(
            self.schedule_of(&self.positions[position]),
            self.marked_notional(self.positions[position].symbol, held + opened))
        if equity <= needed:
            return self.refuse(REJECT_INSUFFICIENT_MARGIN, needed, max64(0, equity))
        return ACCEPTED

    # Refuse trades with oneself that would at once cost more than there is.
    cdef int check_self_trade(self, int32_t row, int64_t limit) except -2 nogil:
        cdef int32_t position = self.tickets[row].position
        cdef int32_t maker
        cdef bint has_own = False, has_twin = False
        cdef terms_t terms
        cdef int32_t i
        self.rehearse(row, limit, STP_NONE, &terms, True)
        for i in range(self.fill_count):
            maker = self.fills[i].row
            if self.orders[maker].account == self.orders[row].account:
                has_own = True
                has_twin = has_twin or self.tickets[maker].position != position
        if has_own and self.positions[position].margin_mode == MODE_ISOLATED:
            return self.check_isolated_self_trade(row)
        return self.check_cross_legs(row) if has_twin else ACCEPTED

    # Refuse trades with oneself after which an isolated position would be due at once. In one
    # position they close lots at their price and open them anew there: profit goes to the
    # wallet, and the margin of the new opening need not bear its loss against mark. In a hedge
    # account they may open both legs, from one wallet.
    cdef int check_isolated_self_trade(self, int32_t row) except -2 nogil:
        cdef order_t *order = &self.orders[row]
        cdef instrument_t *instrument = &self.instruments[order.symbol]
        cdef int32_t own = self.tickets[row].position
        cdef int sign = 1 if order.side == SIDE_BUY else -1
        cdef int32_t i, maker, position
        cdef int64_t lots, worth, value, equity, needed
        cdef int64_t wallet = self.pools[self.positions[own].wallet].balance
        cdef isolated_t trials[3]        # by leg
        cdef bint touched[3]
        cdef int leg
        touched[:] = [False, False, False]
        for i in range(2):
            position = self.twin_of(own) if i else own
            if position < 0:
                continue
            leg = self.positions[position].leg
            trials[leg].quantity = self.positions[position].quantity
            trials[leg].entry_value = self.positions[position].entry_value
            trials[leg].margin = 0
            if self.positions[position].isolated >= 0:
                trials[leg].margin = self.pools[self.positions[position].isolated].balance
            trials[leg].leverage = self.leverage_of(position)
            trials[leg].contract, trials[leg].mark = &instrument.contract, instrument.mark
            trials[leg].schedule = self.schedule_of(&self.positions[position])
        for i in range(self.fill_count):
            maker, lots = self.fills[i].row, self.fills[i].lots
            worth = self.worth_at_tick(order.symbol, lots, self.orders[maker].price)
            value = value_sign(&instrument.contract, order.side) * worth
            if self.orders[maker].account == order.account:
                leg = self.positions[self.tickets[maker].position].leg
                touched[leg] = True
                isolated_fill(&trials[leg], -sign * lots, -value, &wallet)
                isolated_pay(&trials[leg], trade_fee(worth, instrument.maker_fee), &wallet)
            leg = self.positions[own].leg
            touched[leg] = True
            isolated_fill(&trials[leg], sign * lots, value, &wallet)
            isolated_pay(&trials[leg], trade_fee(worth, instrument.taker_fee), &wallet)
        for leg in range(3):
            if not touched[leg]:
                continue
            value = self.value(order.symbol, trials[leg].quantity, instrument.mark)
            equity = sub_checked(
                add_checked(trials[leg].margin, value), trials[leg].entry_value)
            needed = maintenance_margin(
                self.schedule_of(&self.positions[own]),
                self.marked_notional(order.symbol, abs64(trials[leg].quantity)))
            if trials[leg].quantity and equity <= needed:
                return self.refuse(REJECT_INSUFFICIENT_MARGIN, needed, max64(0, equity))
        return ACCEPTED

    # Refuse trades that open both legs of a cross pool which would be due at once. The order
    # of the other leg was accepted at its own price; maintenance is asked for at the mark.
    cdef int check_cross_legs(self, int32_t row) except -2 nogil:
        cdef order_t *order = &self.orders[row]
        cdef instrument_t *instrument = &self.instruments[order.symbol]
        cdef int32_t own = self.tickets[row].position
        cdef int sign = 1 if order.side == SIDE_BUY else -1
        cdef int32_t i, maker, position
        cdef int64_t lots, worth, value, equity, needed
        cdef int64_t held[3]             # by leg
        cdef i128 rest
        cdef int leg
        self.measure(self.pool_of(own), &equity, &needed)
        rest = wide(equity)
        held[:] = [0, 0, 0]
        for i in range(2):
            position = self.twin_of(own) if i else own
            lots = self.positions[position].quantity
            held[self.positions[position].leg] = lots
            rest = sub(rest, wide(self.value(order.symbol, lots, instrument.mark)))
            needed -= self.maintenance(position)
        for i in range(self.fill_count):
            maker, lots = self.fills[i].row, self.fills[i].lots
            worth = self.worth_at_tick(order.symbol, lots, self.orders[maker].price)
            value = value_sign(&instrument.contract, order.side) * worth
            held[self.positions[own].leg] += sign * lots
            rest = sub(rest, wide(value + trade_fee(worth, instrument.taker_fee)))
            if self.orders[maker].account == order.account:
                held[self.positions[self.tickets[maker].position].leg] -= sign * lots
                rest = add(rest, wide(value - trade_fee(worth, instrument.maker_fee)))
        for leg in range(3):
            lots = held[leg]
            if lots:
                rest = add(rest, wide(self.value(order.symbol, lots, instrument.mark)))
                needed = add_checked(needed, maintenance_margin(
                    self.schedule_of(&self.positions[own]),
                    self.marked_notional(order.symbol, abs64(lots))))
        equity = narrow(rest)
        if equity <= needed:
            return self.refuse(REJECT_INSUFFICIENT_MARGIN, needed, max64(0, equity))
        return ACCEPTED

    # What an order may cost at worst: at its limit, or as the sweep it would make now.
    @cython.final
    cdef int entry_terms(self, int32_t row, int64_t limit, terms_t *terms) except -1 nogil:
        cdef order_t *order = &self.orders[row]
        cdef ticket_t *ticket = &self.tickets[row]
        if is_market(ticket.kind):
            return self.rehearse(row, limit, order.stp, terms)
        terms.lots = order.leaves
        terms.value = self.notional_at_tick(order.symbol, order.leaves, order.price)
        terms.loss = self.loss_at(order.symbol, order.side, order.leaves, order.price)
        return 0

    # Nothing is opened on an isolated position whose last one left a deficit unpaid.
    @cython.final
    cdef int check_debt(self, int32_t position) except -2 nogil:
        cdef int32_t isolated = self.positions[position].isolated
        if isolated < 0 or self.positions[position].quantity or (
                self.pools[isolated].balance >= 0):
            return ACCEPTED
        return self.refuse(REJECT_INSUFFICIENT_MARGIN, -self.pools[isolated].balance, 0)

    @cython.final
    cdef int check_margin(
        self, int32_t row, const terms_t *terms, int32_t without
    ) except -2 nogil:
        cdef int32_t position = self.tickets[row].position
        cdef int64_t needed, standing
        cdef i128 free
        cdef int64_t asked = self.order_margin_with(
            position, self.orders[row].side, terms, without)
        # Covered by what is free without the symbol's orders: what it adds to what they
        # reserve is covered, too. Only a refusal needs to know how much that is.
        if wide(asked) <= self.free_for(position, position, 0):
            return ACCEPTED
        standing = self.order_margin(position)
        needed = sub_checked(asked, standing)
        if needed <= 0 and not self.adds_exposure(row, terms, without):
            return ACCEPTED
        free = self.free_for(position, position, standing)
        if wide(needed) > free:
            return self.refuse(REJECT_INSUFFICIENT_MARGIN, needed, as_amount(free))
        return ACCEPTED

    # Whether position plus the orders of this side would be larger than the position.
    @cython.final
    cdef bint adds_exposure(
        self, int32_t row, const terms_t *terms, int32_t without
    ) except -1 nogil:
        cdef int32_t position = self.tickets[row].position
        cdef int side = self.orders[row].side
        cdef i128 held = wide(self.signed_notional(position))
        cdef i128 total = self.side_total(position, side, terms, without)
        total = add(held, total if side == SIDE_BUY else neg(total))
        total = total if total >= wide(0) else neg(total)
        held = held if held >= wide(0) else neg(held)
        return total > held

    # --- effects ----------------------------------------------------------------------

    # Sweep, unless an auction gathers orders; then rest or cancel what is left.
    cdef int enter(self, int32_t row, int64_t limit) except -1 nogil:
        self.traded_value = 0
        if self.instruments[self.orders[row].symbol].halt != HALT_AUCTION:
            if self.meets(row, limit) and self.sweep(row, limit):
                return 0
        if self.orders[row].leaves == 0:
            self.retire_order(row)
            return self.emit_order_update(row)
        if not may_rest(self.tickets[row].kind, self.tickets[row].time_in_force):
            return self.on_cancel(row, CANCEL_IOC)
        if self.orders[row].is_reduce_only and self.reducible(row) == 0:
            return self.on_cancel(row, CANCEL_REDUCE_ONLY)
        if self.tickets[row].special >= 0:
            self.set_display(row)
        self.rest(row)
        self.sync_reserve(row, self.orders[row].leaves)
        return self.note_order(row)

    # Let the next triggered order enter the market, or cancel it for what stands against it.
    cdef int activate_next(self) except -1 nogil:
        cdef int32_t row = self.next_turn()
        cdef special_t *special
        cdef int64_t *out
        cdef int64_t limit
        cdef int32_t entry
        cdef int reason
        if row < 0:
            return 0
        special = &self.specials[self.tickets[row].special]
        out = self.emit(EVENT_ORDER_TRIGGERED)
        out[0] = self.accounts[self.orders[row].account].id
        out[1] = self.orders[row].symbol
        out[2] = self.orders[row].order_id
        out[3] = special.trigger_by
        out[4] = self.reference(self.orders[row].symbol, special.trigger_by)
        if special.bracket >= 0 and self.brackets[special.bracket].entry != row:
            # A child's turn: what is left of its entry is not to open any more.
            entry = self.brackets[special.bracket].entry
            self.end_bracket(special.bracket)
            if entry >= 0:
                self.cancel_order(entry, CANCEL_BRACKET)
        limit = self.limit_of(row)
        reason = self.check_activation(row, limit)
        if reason != ACCEPTED:
            return self.cancel_order(row, cancel_reason(reason))
        return self.enter(row, limit)

    # What may have come up while it waited; the reasons are those of a new order.
    cdef int check_activation(self, int32_t row, int64_t limit) except -2 nogil:
        cdef int32_t position = self.tickets[row].position
        cdef int reason
        if self.orders[row].is_reduce_only:
            if self.reducible(row) == 0:
                return REJECT_REDUCE_ONLY
        else:
            if (self.pools[self.pool_of(position)].in_queue
                    or self.pools[self.positions[position].wallet].in_queue):
                return REJECT_ACCOUNT_LIQUIDATING
            if self.is_frozen(position):
                return REJECT_PROTECTION
        if self.closes_position(row):
            self.tickets[row].quantity = self.orders[row].leaves = self.reducible(row)
        reason = self.check_band(row)
        if reason == ACCEPTED:
            reason = self.check_size(row)
        if reason == ACCEPTED:
            reason = self.check_entry(row, limit, NIL)
        return reason


cdef inline bint fits(int64_t value) noexcept nogil:
    return value != TOO_LARGE and value <= MONEY_MAX


# The reason for which a triggered order is cancelled, by that of a rejection.
cdef int cancel_reason(int reason) except -1 nogil:
    cdef int rejections[10]
    cdef int cancels[10]
    cdef int i
    rejections[:] = [
        REJECT_ACCOUNT_LIQUIDATING, REJECT_PROTECTION, REJECT_REDUCE_ONLY, REJECT_PRICE_BAND,
        REJECT_LEVERAGE, REJECT_TIER_LIMIT, REJECT_POST_ONLY_WOULD_CROSS,
        REJECT_FOK_UNFILLABLE, REJECT_INSUFFICIENT_MARGIN, REJECT_OVERFLOW,
    ]
    cancels[:] = [
        CANCEL_ACCOUNT_LIQUIDATING, CANCEL_PROTECTION, CANCEL_REDUCE_ONLY, CANCEL_PRICE_BAND,
        CANCEL_LEVERAGE, CANCEL_TIER_LIMIT, CANCEL_POST_ONLY_WOULD_CROSS,
        CANCEL_FOK_UNFILLABLE, CANCEL_INSUFFICIENT_MARGIN, CANCEL_OVERFLOW,
    ]
    for i in range(10):
        if rejections[i] == reason:
            return cancels[i]
    with gil:
        return violated("a triggered order was refused for a reason of its form")
