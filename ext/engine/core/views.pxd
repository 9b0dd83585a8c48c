# Reads: everything computed from the current marks when asked for, so never stale.

from libc.stdint cimport int32_t, int64_t

from engine.core.auctions cimport Auctions
from engine.core.fixed cimport i128

cdef class Views(Auctions):
    cdef int pool_status(self, int32_t pool) except -1 nogil
    cdef dict position_view(self, int32_t position)
    cdef int64_t due_price(
        self, int32_t position, i128 equity, i128 maintenance) except? -1 nogil
    cdef int64_t pair_liquidation_price(
        self, int32_t position, i128 equity, i128 maintenance) except? -1 nogil
    cdef int64_t walk_due(self, int32_t position, i128 most, int step) except? -1 nogil
    cdef int64_t inverse_due_price(
        self, int32_t position, i128 equity, i128 maintenance) except? -1 nogil
    cdef int64_t spent_price(self, int32_t position, i128 equity) except? -1 nogil
    cdef int64_t adl_rank(self, int32_t position, int64_t *ranked) except? -1 nogil
    cdef int waits_for(self, int32_t pool) except -1 nogil
    cdef dict order_view(self, int32_t order)
    cdef dict special_view(self, int32_t order)
