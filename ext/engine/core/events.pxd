# The event buffer: fixed-width records of int64, appended by the core, drained by Python.

from libc.stdint cimport int64_t
from libc.string cimport memset

from engine.core.types cimport ROW

cdef class Records:
    cdef int64_t *rows           # count x ROW
    cdef Py_ssize_t count
    cdef Py_ssize_t capacity     # rows
    cdef int widths[64]          # ints in use, by kind

    cdef int grow(self) except -1

    # The next row with its head filled in and zeros behind it; the caller writes the payload
    # from index 4.
    cdef inline int64_t *append(self, int kind, int64_t seq, int64_t ts) except NULL:
        cdef int64_t *row
        if self.count == self.capacity:
            self.grow()
        row = self.rows + self.count * ROW
        self.count += 1
        memset(row, 0, ROW * sizeof(int64_t))
        row[0] = kind
        row[1] = seq
        row[2] = ts
        row[3] = seq
        return row

    cpdef list drain(self)
