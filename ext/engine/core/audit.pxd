# One method that recomputes everything and compares.

from libc.stdint cimport int32_t

from engine.core.digest cimport Digest

cdef class Audit(Digest):
    cdef int require(self, bint condition, str what) except -1
    cdef int require_row(self, bint condition, str what, int32_t row) except -1
    cdef int check_account(self, int32_t account) except -1
    cdef int check_pledges(self) except -1
    cdef int check_known_rest(self) except -1
    cdef int check_offers(self) except -1
    cdef int check_expiry(self, int32_t symbol) except -1
    cdef int check_leg(self, int32_t account, int32_t position) except -1
    cdef int check_book(self, int32_t symbol) except -1
    cdef int check_order(self, int32_t order) except -1
    cdef int check_wait(self, int32_t order) except -1
    cdef int check_group(self, int32_t order) except -1
    cdef int check_bracket(self, int32_t order) except -1
    cdef int32_t check_stops(self, int32_t symbol, int by) except -1
    cdef int32_t count_waiting(self) noexcept
