# Growth of arrays: one owner each, doubled when full, freed where it was made.

from libc.stdint cimport int32_t

cdef void *larger(void *rows, int32_t *capacity, int32_t wanted, size_t size) except NULL
