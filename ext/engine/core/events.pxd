# The event buffer: fixed-width records of int64, appended by the core, drained by Python.

from libc.stdint cimport int64_t

from engine.core.types cimport ROW

cdef class Records:
    cdef int64_t *rows           # count x ROW
    cdef Py_ssize_t count
    cdef Py_ssize_t capacity     # rows
    cdef int widths[64]          # ints in use, by kind

    cdef int64_t *append(self, int kind, int64_t seq, int64_t ts) except NULL
    cdef int grow(self) except -1
    cpdef list drain(self)
