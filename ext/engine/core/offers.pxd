# How the fund gives back to the book what it took over: at once, at a pace, or by an order that
# rests. A resting order of the fund has neither account nor position; what it may reduce is the
# inventory of its symbol. There is at most one a symbol.

from libc.stdint cimport int32_t, int64_t

from engine.core.closing cimport Closing

cdef class Offers(Closing):
    cdef int reduce_inventory(self, int32_t symbol) except -1 nogil
    cdef int64_t lots_to_offer(self, int32_t symbol) except? -1 nogil
    cdef int64_t workoff_interval(self, int32_t symbol) except? -1 nogil
    cdef int rest_inventory(self, int32_t symbol) except -1 nogil
    cdef bint is_offer_due(self, int32_t symbol) except -1 nogil
    cdef int64_t offer_price(self, int32_t symbol, int side) except? -1 nogil
    cdef int rest_offer(self, int32_t symbol, int side, int64_t price, int64_t lots) except -1 nogil
    cdef int review_offers(self) except -1 nogil
