# The insurance fund: what it can afford, what a profile lets it take over, and who pays for a
# loss beyond it.

from libc.stdint cimport int32_t, int64_t

from engine.core.deleveraging cimport Deleveraging

cdef class Fund(Deleveraging):
    cdef int64_t fund_free(
        self, int32_t fund, int32_t symbol, int64_t lots, int64_t added_value) except? -1 nogil
    cdef int know_rest(self, int32_t fund, int32_t symbol) except -1 nogil
    cdef int64_t fund_part(
        self, int32_t symbol, int64_t lots, int64_t added_value) except? -1 nogil
    cdef bint find_help(self, int32_t symbol, int64_t missing, int64_t account) except -1 nogil
    cdef int cover(self, int32_t pool, int32_t symbol) except -1 nogil
    cdef int pay_deficit(self, int32_t pool, int32_t fund) except -1 nogil
    cdef bint is_within_limits(self, int32_t symbol, int64_t lots) except -1 nogil
    cdef bint is_drawn_down(self, int32_t symbol) except -1 nogil
    cdef int socialize(self, int32_t pool, int32_t symbol, int side) except -1 nogil
