# Order entry: what an order must satisfy, in the order of the rules, and how it then enters
# the market. Each check returns ACCEPTED or the reason of the refusal; until all have
# passed, nothing changes but the size of a reduce-only order.

from libc.stdint cimport int32_t, int64_t

from engine.core.forms cimport is_market
from engine.core.liquidation cimport Liquidation
from engine.core.matching cimport terms_t

cdef class Entry(Liquidation):
    cdef int64_t needed, limit   # figures behind a refusal, NONE where there are none

    cdef int refuse(self, int reason, int64_t needed, int64_t limit) noexcept nogil
    cdef int check_open(
        self, int32_t position, bint reduce_only, bint suits_auction) except -2 nogil
    cdef int check_limits(self, int32_t order, bint is_new) except -2 nogil
    cdef int check_quantity(self, int32_t order) except -2 nogil
    cdef int check_notional(self, int32_t order) except -2 nogil
    cdef int check_band(self, int32_t order) except -2 nogil
    cdef int check_terms(self, int32_t order) except -2 nogil
    cdef bint closes_position(self, int32_t order) noexcept nogil
    cdef int check_size(self, int32_t order) except -2 nogil
    cdef int check_entry(self, int32_t order, int64_t limit, int32_t without) except -2 nogil
    cdef int entry_terms(self, int32_t order, int64_t limit, terms_t *terms) except -1 nogil
    cdef int check_margin(
        self, int32_t order, const terms_t *terms, int32_t without) except -2 nogil
    cdef bint adds_exposure(
        self, int32_t order, const terms_t *terms, int32_t without) except -1 nogil
    cdef int check_debt(self, int32_t position) except -2 nogil
    cdef int check_outcome(self, int32_t order, int64_t limit) except -2 nogil
    cdef int check_isolated_opening(
        self, int32_t position, const terms_t *terms, int64_t opened) except -2 nogil
    cdef int check_larger_at_mark(
        self, int32_t position, int side, const terms_t *terms) except -2 nogil
    cdef int check_self_trade(self, int32_t order, int64_t limit) except -2 nogil
    cdef int check_isolated_self_trade(self, int32_t order) except -2 nogil
    cdef int check_cross_legs(self, int32_t order) except -2 nogil
    cdef int64_t live_orders(self, int32_t position) noexcept nogil

    # The worst price at which an order may trade: its own, or what the band allows.
    cdef inline int64_t limit_of(self, int32_t order) except? -1 nogil:
        if is_market(self.tickets[order].kind):
            return self.band_limit(self.orders[order].symbol, self.orders[order].side)
        return self.orders[order].price

    cdef int enter(self, int32_t order, int64_t limit) except -1 nogil
    cdef int check_activation(self, int32_t order, int64_t limit) except -2 nogil
