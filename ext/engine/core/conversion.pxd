# Conversion of collateral: what a wallet owes is paid by what counts for it.

from libc.stdint cimport int32_t

from engine.core.backstops cimport Backstops

cdef class Conversion(Backstops):
    cdef bint is_convertible(self, int32_t pool, int32_t pledge) noexcept nogil
    cdef bint convert(self, int32_t pool) except -1 nogil
    cdef int convert_pledge(self, int32_t pool, int32_t pledge) except -1 nogil
