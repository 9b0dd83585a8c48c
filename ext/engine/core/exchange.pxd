# The top of the compiled core: packed commands and the drains.

from libc.stdint cimport int64_t

from engine.core.bulk cimport Bulk

cdef class ExchangeCore(Bulk):
    cdef void fetch_account(self, const int64_t *row) noexcept
    cdef void fetch_order(self, const int64_t *row) noexcept
    cdef void fetch_rows(self, const int64_t *row) noexcept
    cdef void fetch_neighbours(self, const int64_t *row) noexcept
    cdef int run_one(self, const int64_t *row, const int64_t *special) except -1
    cdef int run_order(
        self, const int64_t *row, const int64_t *special, bint is_timely) except -1
    cdef int run_rare(self, const int64_t *row, bint is_timely) except -1
    cdef int run_loading(self, const int64_t *row, bint is_timely) except -1
