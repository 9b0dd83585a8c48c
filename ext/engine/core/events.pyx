"""Event records: rows of (kind, seq, ts, cause, payload), padded to one width."""

from libc.stdlib cimport free, realloc

from engine.messages import EVENT_LAYOUTS, RECORD_WIDTH


cdef class Records:
    """A growing buffer of event records; one owner, drained in order."""

    def __cinit__(self):
        assert RECORD_WIDTH == ROW, "types.pxd and messages.py disagree on the record width"
        for kind, layout in EVENT_LAYOUTS.items():
            self.widths[<int>kind] = 4 + <int>len(layout)

    def __dealloc__(self):
        free(self.rows)

    cdef int grow(self) except -1:
        cdef Py_ssize_t capacity = 1024 if self.capacity == 0 else 2 * self.capacity
        cdef int64_t *rows = <int64_t *>realloc(self.rows, capacity * ROW * sizeof(int64_t))
        if rows == NULL:
            raise MemoryError("event buffer")
        self.rows = rows
        self.capacity = capacity
        return 0

    cpdef list drain(self):
        """Return the records as tuples, each as long as its layout, and forget them."""
        cdef list out = []
        cdef Py_ssize_t i, width
        cdef int64_t *row
        cdef int k
        for i in range(self.count):
            row = self.rows + i * ROW
            width = self.widths[row[0]]
            out.append(tuple([row[k] for k in range(width)]))
        self.count = 0
        return out

    def drain_bytes(self):
        """Return the records as bytes, `RECORD_WIDTH` native int64 each, and forget them.

        Padding behind a record's layout is zero. ``numpy.frombuffer(data, "i8")`` reads it.
        """
        data = (<char *>self.rows)[:self.count * ROW * <Py_ssize_t>sizeof(int64_t)]
        self.count = 0
        return data
