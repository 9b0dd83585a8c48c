# Commands that bring in what happened elsewhere: executions, marks, funding rates, settlement
# prices, halts, the time. As in `commands`, each `do_` method returns ACCEPTED or the reason of
# the refusal.

from libc.stdint cimport int32_t, int64_t

from engine.core.publishing cimport Publishing
from engine.core.types cimport LEG_BOTH, NONE

# A leg as it was named, or not.
cdef inline int64_t leg_named(int64_t position_side) noexcept nogil:
    return LEG_BOTH if position_side == NONE else position_side

cdef class External(Publishing):
    cdef int do_fill(
        self, int64_t account, int64_t symbol, int side, int64_t quantity, int64_t value,
        int64_t fee, int64_t leg) except -2 nogil
    cdef bint fill_fits(self, int32_t position, int64_t value, int64_t fee) except -1 nogil
    cdef int do_mark(
        self, int64_t symbol, int64_t mark, int64_t index_price, int64_t feed_seq,
        int64_t cause) except -2 nogil
    cdef int do_marks(self, list marks, int64_t cause) except -2
    cdef bint is_earlier(self, int64_t cause) noexcept nogil
    cdef int evaluate_marked(self, int32_t symbol, int64_t index_price) except -1 nogil
    cdef int do_settle_contract(self, int64_t symbol, int64_t price) except -2 nogil
    cdef int check_mark(self, int64_t symbol, int64_t mark, int64_t index_price) except -2 nogil
    cdef int check_mark_size(
        self, int64_t symbol, int64_t mark, int64_t index_price) except -2 nogil
    cdef int apply_mark(
        self, int32_t symbol, int64_t mark, int64_t index_price, int64_t feed_seq) except -1 nogil
    cdef int do_funding(self, int64_t symbol, int64_t rate) except -2 nogil
    cdef int64_t funding_owed(self, int32_t symbol, int64_t quantity, int64_t rate) except? -1 nogil
    cdef int emit_funding(
        self, int64_t account, int64_t symbol, int64_t amount, int64_t rate,
        int leg) except -1 nogil
