"""Growth of arrays."""

from libc.stdlib cimport realloc


# Room for at least `wanted` rows of `size` bytes, by half as much again; `capacity` is updated.
cdef void *larger(void *rows, int32_t *capacity, int32_t wanted, size_t size) except NULL nogil:
    cdef int32_t room = 64 if capacity[0] < 43 else capacity[0] + capacity[0] // 2
    cdef void *out
    if room < wanted:
        room = wanted
    out = realloc(rows, room * size)
    if out == NULL:
        with gil:
            raise MemoryError("the engine's tables")
    use_huge_pages(out, room * size)
    capacity[0] = room
    return out
