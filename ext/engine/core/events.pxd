# The event buffer: fixed-width records of int64, appended by the core, drained by Python.

from cpython.object cimport PyObject
from libc.stdint cimport int64_t

from engine.core.types cimport ROW

# Zeros for a whole row, as plain vector stores: a memset of this size becomes a string
# instruction that takes longer than all the rest of an event.
cdef extern from *:
    """
    #ifndef ENGINE_CLEAR_ROW
    #define ENGINE_CLEAR_ROW
    typedef long long engine_pair __attribute__((vector_size(16), aligned(8), may_alias));
    static inline void engine_clear_row(int64_t *row) {
        const engine_pair zero = {0, 0};
        engine_pair *at = (engine_pair *)row;
        at[0] = zero; at[1] = zero; at[2] = zero; at[3] = zero;
        at[4] = zero; at[5] = zero; at[6] = zero; at[7] = zero;
    }
    #endif
    """
    void clear_row "engine_clear_row"(int64_t *row) noexcept nogil

cdef class Records:
    cdef int64_t *rows           # count x ROW, inside `block`
    cdef Py_ssize_t count
    cdef Py_ssize_t capacity     # rows
    cdef PyObject *block         # a bytes object nobody else has seen yet, NULL: none
    cdef Py_ssize_t last_count   # rows in the block that was given away last
    cdef int widths[64]          # ints in use, by kind

    cdef int grow(self, Py_ssize_t more) except -1 nogil

    # Room for so many more records: one growth instead of many.
    cdef inline int reserve(self, Py_ssize_t more) except -1 nogil:
        return self.grow(more) if self.capacity - self.count < more else 0

    # The next row with its head filled in and zeros behind it; the caller writes the payload
    # from index 4.
    cdef inline int64_t *append(
        self, int kind, int64_t seq, int64_t ts, int64_t cause
    ) except NULL nogil:
        cdef int64_t *row
        if self.count == self.capacity:
            self.grow(1)
        row = self.rows + self.count * ROW
        self.count += 1
        clear_row(row)
        row[0] = kind
        row[1] = seq
        row[2] = ts
        row[3] = cause
        return row

    cpdef list drain(self)
