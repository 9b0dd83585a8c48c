# The state of a core as a list of sections: arrays, tables and numbers, always in the same order.
# One walk over the state serves both ways: while saving each call notes where something lies,
# while loading the same call puts it there. What is noted points into the core that is saved, so
# an image is good until that core's next command; a copy of it, `write`, is good for ever.
#
# Rows are taken as they lie in memory. So an image fits the build that made it and no other; the
# layout that it names tells them apart.

from libc.stdint cimport int32_t, int64_t

from engine.core.tables cimport table_t

cdef struct section_t:
    const char *at
    int64_t size                 # bytes of a row
    int64_t count                # rows

cdef class Image:
    cdef readonly bint is_loading
    cdef section_t *sections
    cdef int32_t count, capacity
    cdef int32_t next_section    # while loading
    cdef list kept               # what sections point at that is no core's

    cdef int note(self, const void *at, int64_t size, int64_t count) except -1
    cdef const section_t *take(self, int64_t size) except NULL
    cdef int64_t number(self, int64_t value) except? -1
    cdef int scalar(self, void *at, int64_t size) except -1
    cdef object value(self, object value)
    cdef int rows(self, void **at, int32_t *count, int32_t *capacity, size_t size) except -1
    cdef int table(self, table_t *table) except -1
    cdef int rewind(self) except -1
