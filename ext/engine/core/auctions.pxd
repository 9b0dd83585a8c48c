# Halts, and the call auction that gathers orders without trading and then trades all that
# can be traded at one price.

from libc.stdint cimport int32_t, int64_t

from engine.core.orders cimport Orders

# The price at which a crossed book trades most.
cdef struct equilibrium_t:
    int64_t price                # ticks
    int64_t lots                 # executable
    int64_t imbalance            # bought less sold, lots

cdef class Auctions(Orders):
    cdef int do_halt(self, int64_t symbol, int mode) except -2 nogil
    cdef int64_t auction_reference(self, int32_t symbol) except? -1 nogil
    cdef bint find_equilibrium(self, int32_t symbol, equilibrium_t *best) except -1 nogil
    cdef int uncross(self, int32_t symbol) except -1 nogil
    cdef int64_t trade_pair(self, int32_t bid, int32_t ask, int64_t price) except -1 nogil
    cdef int take_uncrossed(
        self, int32_t order, int64_t lots, int64_t price, int detail) except -1 nogil
    cdef int on_status(self, int32_t symbol) except -1 nogil
    cdef int on_uncrossed(
        self, int32_t symbol, int64_t price, int64_t lots, int64_t imbalance) except -1 nogil
