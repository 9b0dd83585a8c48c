# The top of the compiled core: packed commands and the drains.

from libc.stdint cimport int32_t, int64_t

from engine.core.snapshots cimport Snapshots

cdef enum:
    LOOKED_UP = 16               # a power of two, more than the commands looked ahead

cdef class ExchangeCore(Snapshots):
    cdef bint in_batch           # a batch is under way, and nothing else may touch the state
    # Account and order rows of the commands ahead, by the last bits of their number; NIL:
    # there is none, or nobody has looked yet.
    cdef int32_t ahead_owner[LOOKED_UP]
    cdef int32_t ahead_order[LOOKED_UP]

    cdef void fetch_account(self, const int64_t *row) noexcept nogil
    cdef void fetch_order(self, const int64_t *row, Py_ssize_t number) noexcept nogil
    cdef void fetch_rows(self, const int64_t *row, Py_ssize_t number) noexcept nogil
    cdef void fetch_open(self, int32_t first) noexcept nogil
    cdef void fetch_neighbours(self, const int64_t *row, Py_ssize_t number) noexcept nogil
    cdef int64_t run_rows(
        self, const int64_t *first, Py_ssize_t count, const int64_t *terms, int64_t room
    ) except -1 nogil
    cdef int run_one(self, const int64_t *row, const int64_t *special) except -1 nogil
    cdef int run_order(
        self, const int64_t *row, const int64_t *special, bint is_timely) except -1 nogil
    cdef int run_rare(self, const int64_t *row, bint is_timely) except -1 nogil
    cdef int run_loading(self, const int64_t *row, bint is_timely) except -1 nogil
