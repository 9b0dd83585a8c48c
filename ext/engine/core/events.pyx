"""Event records: rows of (kind, seq, ts, cause, payload), padded to one width."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, _PyBytes_Resize
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF, Py_XDECREF

from engine.core.memory cimport use_huge_pages
from engine.messages import EVENT_LAYOUTS, RECORD_WIDTH

cdef enum:
    ROW_BYTES = 128              # of a row; a product would not compile with overflow checks
    BYTES_TO_GIVE = 65536        # a block with as much in it is given away, not copied


cdef class Records:
    """A growing buffer of event records; one owner, drained in order."""

    def __cinit__(self):
        assert RECORD_WIDTH == ROW, "types.pxd and messages.py disagree on the record width"
        for kind, layout in EVENT_LAYOUTS.items():
            self.widths[<int>kind] = 4 + <int>len(layout)

    def __dealloc__(self):
        Py_XDECREF(self.block)

    cdef int grow(self, Py_ssize_t more) except -1 with gil:
        cdef Py_ssize_t capacity = max(1024, self.last_count, 2 * self.capacity, self.count + more)
        if self.block == NULL:
            data = PyBytes_FromStringAndSize(NULL, capacity * ROW_BYTES)
            Py_INCREF(data)
            self.block = <PyObject *>data
        else:
            _PyBytes_Resize(&self.block, capacity * ROW_BYTES)
        self.rows = <int64_t *>PyBytes_AS_STRING(<object>self.block)
        self.capacity = capacity
        # A block is handed out by the kernel page by page, as it is first written to; with
        # large pages that costs next to nothing.
        use_huge_pages(self.rows, capacity * ROW_BYTES)
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
        cdef Py_ssize_t size = self.count * ROW_BYTES
        if size < BYTES_TO_GIVE or 2 * self.count < self.capacity:
            data = (<char *>self.rows)[:size]
        else:
            # The block itself goes, cut to size; the next one will have as much room.
            self.last_count = self.count
            self.capacity = 0
            self.rows = NULL
            _PyBytes_Resize(&self.block, size)
            data = <object>self.block
            Py_DECREF(data)
            self.block = NULL
        self.count = 0
        return data
