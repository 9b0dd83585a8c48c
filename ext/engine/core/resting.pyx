"""Rows of resting orders and the table of their ids: allocation and growth."""

from libc.stdlib cimport free
from libc.string cimport memcpy, memset

cdef extern from "stdlib.h" nogil:
    int posix_memalign(void **memory, size_t alignment, size_t size)

cdef enum:
    LINE = 64                    # bytes of a cache line
    ROWS_LEAST = 64
    BUCKETS_LEAST = 64
    ORDERS_MAX = 0x10000000      # what `place` has bits for


# Aligned, so that no row lies across two cache lines.
cdef void *allocate(size_t size) noexcept nogil:
    cdef void *memory = NULL
    if posix_memalign(&memory, LINE, size):
        return NULL
    return memory


cdef int resting_init(resting_t *all, int32_t capacity) noexcept nogil:
    memset(all, 0, sizeof(resting_t))
    all.row_count = 1
    return resting_grow(all, capacity)


cdef void resting_free(resting_t *all) noexcept nogil:
    free(all.rows)
    free(all.buckets)


cdef int64_t resting_bytes(const resting_t *all) noexcept nogil:
    return (all.row_capacity * <int64_t>sizeof(row_t)
            + (<int64_t>all.mask + 1) * <int64_t>sizeof(bucket_t))


# Orders in the table, counted. O(buckets).
cdef int64_t filed_count(const resting_t *all) noexcept nogil:
    cdef int64_t count = 0
    cdef uint32_t home
    cdef int lane
    for home in range(all.mask + 1):
        for lane in range(LANES):
            count += all.buckets[home].tags[lane] != 0
    return count


cdef int grow_rows(resting_t *all, int32_t wanted) noexcept nogil:
    cdef int32_t half_more = all.row_capacity + (all.row_capacity >> 1)
    cdef int32_t capacity = max(ROWS_LEAST, half_more, wanted)
    cdef row_t *rows = <row_t *>allocate(<size_t>capacity * sizeof(row_t))
    if rows == NULL:
        return -1
    if all.rows == NULL:
        memset(rows, 0, sizeof(row_t))
    else:
        memcpy(rows, all.rows, <size_t>all.row_count * sizeof(row_t))
    free(all.rows)
    all.rows = rows
    all.row_capacity = capacity
    return 0


cdef int grow_buckets(resting_t *all, int32_t wanted) noexcept nogil:
    cdef resting_t larger
    cdef const row_t *row
    cdef uint64_t size = BUCKETS_LEAST
    cdef int32_t i
    while size * LANES_WANTED < <uint64_t>wanted:
        size *= 2
    larger.buckets = <bucket_t *>allocate(size * sizeof(bucket_t))
    if larger.buckets == NULL:
        return -1
    memset(larger.buckets, 0, size * sizeof(bucket_t))
    larger.mask = <uint32_t>(size - 1)
    # By rows, not by old buckets: rows are read in the order in which they lie.
    for i in range(1, all.row_count):
        row = &all.rows[i]
        if row.leaves:
            row_file(&larger, hash_of(row.owner, row.order_id), i)
    free(all.buckets)
    all.buckets = larger.buckets
    all.mask = larger.mask
    all.room = <int32_t>(size * LANES_WANTED)
    return 0


cdef int resting_grow(resting_t *all, int32_t more) noexcept nogil:
    if more > ORDERS_MAX - all.count:
        return -1
    if all.count + more >= all.row_capacity:
        if grow_rows(all, all.count + more + 1) < 0:
            return -1
    if all.count + more > all.room:
        if grow_buckets(all, all.count + more) < 0:
            return -1
    return 0
