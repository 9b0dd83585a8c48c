# Backstops: ordinary accounts that have promised to take over, up to a notional, what the book
# does not take of a liquidation. Promises are few and asked for seldom, so they stay in a dict.

from libc.stdint cimport int32_t, int64_t

from engine.core.fixed cimport i128
from engine.core.fund cimport Fund

# A promise, while it is looked at.
cdef struct backstop_t:
    int32_t account              # row
    int64_t discount             # rate units off the mark; NONE: at the bound
    int64_t left                 # notional that is still promised

cdef class Backstops(Fund):
    # (account row, asset or NONE, symbol or NONE) -> (commitment, discount, used)
    cdef dict backstops

    cdef list backstop_keys(self, int32_t symbol)
    cdef int64_t give_to_backstops(
        self, int32_t position, int side, int64_t lots, int64_t bound) except? -1 nogil
    cdef int64_t give_to_backstop(
        self, tuple key, int32_t position, int side, int64_t lots, int64_t bound) except? -1
    cdef int64_t backstop_price(
        self, int32_t symbol, int side, int64_t bound, int64_t discount) except? -1 nogil
    cdef int64_t promised_lots(self, int32_t symbol, int64_t left) except? -1 nogil
    cdef int64_t bearable_lots(
        self, int32_t counter, int side, int64_t most, int64_t price) except? -1 nogil
    cdef bint backstop_bears(
        self, int32_t counter, int side, int64_t lots, int64_t price, i128 free) except -1 nogil
