"""How the fund gives back to the book what it took over."""

from engine.core.book cimport order_t, ticket_t
from engine.core.fixed cimport (
    abs64, ceil_div, floor_div, i128, max64, min64, mul, mul_div_floor, narrow, wide,
)
from engine.core.ledger cimport instrument_t, workoff_t
from engine.core.profiles cimport profile_t
from engine.core.types cimport (
    CANCEL_WITHDRAWN, NIL, RATE_SCALE, SIDE_BUY, SIDE_SELL, TIF_GTC, TYPE_LIMIT, WORKOFF_HOLD,
    WORKOFF_IMMEDIATE, WORKOFF_PASSIVE,
)


cdef class Offers(Closing):
    """The fund in the market."""

    # Offer the fund's inventory to the book at the mark or better, as an immediate order, as
    # much of it as the profile lets it. The limit is rounded in the fund's favour: up for a
    # sale, down for a purchase.
    cdef int reduce_inventory(self, int32_t symbol) except -1 nogil:
        cdef instrument_t *instrument = &self.instruments[symbol]
        cdef int64_t held = instrument.fund.quantity
        cdef int64_t lots, filled, worth, limit
        cdef int side = SIDE_SELL if held > 0 else SIDE_BUY
        if instrument.profile.fund_workoff == WORKOFF_PASSIVE:
            return self.rest_inventory(symbol)
        lots = self.lots_to_offer(symbol)
        if side == SIDE_SELL:
            limit = narrow(ceil_div(wide(instrument.mark), wide(instrument.marks_per_tick)))
        else:
            limit = instrument.mark // instrument.marks_per_tick
        if limit and lots:
            self.sweep_part(NIL, symbol, NIL, side, lots, limit, &filled, &worth)
        return 0

    # Lots of its inventory that the fund may trade now. At a pace: a fraction (rounded down, at
    # least one lot) of what it held when it last took something over, an interval.
    cdef int64_t lots_to_offer(self, int32_t symbol) except? -1 nogil:
        cdef instrument_t *instrument = &self.instruments[symbol]
        cdef const profile_t *profile = &instrument.profile
        cdef workoff_t *workoff = &instrument.workoff
        cdef int64_t held = abs64(instrument.fund.quantity)
        cdef int64_t interval
        if profile.fund_workoff == WORKOFF_HOLD:
            return 0
        if profile.fund_workoff == WORKOFF_IMMEDIATE:
            return held
        if workoff.lots == 0:
            workoff.lots = held
        interval = self.workoff_interval(symbol)
        if interval != workoff.interval:
            workoff.interval, workoff.done = interval, 0
        return min64(held, max64(0, max64(1, mul_div_floor(
            workoff.lots, profile.fund_workoff_fraction, RATE_SCALE)) - workoff.done))

    # Number of the interval under way, since the epoch.
    cdef int64_t workoff_interval(self, int32_t symbol) except? -1 nogil:
        return self.ts // self.instruments[symbol].profile.fund_workoff_interval

    # --- orders that rest -------------------------------------------------------------

    # Let the inventory rest in the book: one order, post-only and reduce-only. One that rests
    # is replaced when it is time to; where the new one would be the same it stays.
    cdef int rest_inventory(self, int32_t symbol) except -1 nogil:
        cdef instrument_t *instrument = &self.instruments[symbol]
        cdef int32_t offer = instrument.offer
        cdef int side = SIDE_SELL if instrument.fund.quantity > 0 else SIDE_BUY
        cdef int64_t lots, price
        if offer >= 0 and not self.is_offer_due(symbol):
            return 0
        lots = self.lots_to_offer(symbol)
        price = self.offer_price(symbol, side)
        if price <= 0 or not self.price_fits(symbol, price) or not self.fits(
                symbol, 0, price * instrument.marks_per_tick):
            lots = 0
        instrument.workoff.mark = instrument.mark
        if offer >= 0:
            if self.orders[offer].price == price and self.orders[offer].leaves == lots:
                return 0
            self.cancel_order(offer, CANCEL_WITHDRAWN)
        return self.rest_offer(symbol, side, price, lots) if lots else 0

    # Whether the mark has moved far enough since the order was priced, or another interval has
    # begun.
    cdef bint is_offer_due(self, int32_t symbol) except -1 nogil:
        cdef const instrument_t *instrument = &self.instruments[symbol]
        return self.workoff_interval(symbol) != instrument.workoff.interval or mul(
            abs64(instrument.mark - instrument.workoff.mark), RATE_SCALE
        ) > mul(instrument.profile.fund_workoff_reprice, instrument.workoff.mark)

    # Price in ticks: so far from the mark, and short of the other side. Rounded in the fund's
    # favour: up for a sale, down for a purchase; 0: there is none.
    cdef int64_t offer_price(self, int32_t symbol, int side) except? -1 nogil:
        cdef const instrument_t *instrument = &self.instruments[symbol]
        cdef int64_t offset = instrument.profile.fund_workoff_offset
        cdef i128 scale = mul(RATE_SCALE, instrument.marks_per_tick)
        cdef int32_t best = self.books[symbol].sides[1 - side].best
        cdef int64_t price
        if side == SIDE_SELL:
            price = narrow(ceil_div(mul(instrument.mark, RATE_SCALE + offset), scale))
            return price if best < 0 else max64(
                price, self.books[symbol].levels[best].price + 1)
        price = narrow(floor_div(mul(instrument.mark, RATE_SCALE - offset), scale))
        return price if best < 0 else min64(price, self.books[symbol].levels[best].price - 1)

    cdef int rest_offer(
        self, int32_t symbol, int side, int64_t price, int64_t lots
    ) except -1 nogil:
        cdef int32_t row = self.new_order()
        cdef order_t *order = &self.orders[row]
        cdef ticket_t *ticket = &self.tickets[row]
        order.order_id = self.arrivals + 1
        order.price = price
        ticket.quantity = order.leaves = lots
        order.account = ticket.position = NIL
        order.symbol = symbol
        order.side = side
        ticket.kind = TYPE_LIMIT
        ticket.time_in_force = TIF_GTC
        order.is_reduce_only = ticket.is_post_only = 1
        self.instruments[symbol].offer = row
        self.offer_count += 1
        self.emit_accepted(row)
        self.rest(row)
        self.sync_reserve(row, lots)
        return self.note_order(row)

    # Withdraw resting orders that the mark has passed, or of symbols that pause. O(symbols).
    cdef int review_offers(self) except -1 nogil:
        cdef int32_t symbol, offer
        for symbol in range(self.instrument_count):
            offer = self.instruments[symbol].offer
            if offer >= 0 and (not self.may_liquidate(symbol) or self.is_losing(
                    symbol, self.orders[offer].side, self.orders[offer].price)):
                self.cancel_order(offer, CANCEL_WITHDRAWN)
        return 0
