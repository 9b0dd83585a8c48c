# An open-addressing hash table from keys to row indices: account ids, order ids, positions. A
# slot has no key but a tag, 32 bits of its hash, and the row, where the key stands anyway: whoever
# looks something up goes through the rows of its tag until one has the key. Nearly always that
# is the first. The tag says where a slot belongs, so that growth and removal read no rows.
#
# Linear probing, backward-shift deletion (no tombstones). Load at most five eighths; three
# quarters where room was made for a known number of keys.

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

cdef struct slot_t:
    uint32_t tag
    int32_t row                  # NIL: empty

cdef struct table_t:
    slot_t *slots
    uint64_t capacity            # slots, less than 2^32
    int64_t count, limit         # keys; with how many it grows

cdef int table_init(table_t *table, uint64_t capacity) except -1 nogil
cdef void table_free(table_t *table) noexcept nogil
cdef int table_reserve(table_t *table, int64_t wanted) except -1 nogil
cdef int table_put(table_t *table, uint32_t tag, int32_t row) except -1 nogil
cdef void table_remove(table_t *table, uint32_t tag, int32_t row) noexcept nogil


# The tag of a key, of which the scope is a second part (an account's row), 0 where unused. The
# hash is C: it is meant to wrap, which debug builds would refuse elsewhere.
cdef extern from *:
    """
    #ifndef ENGINE_TAG
    #define ENGINE_TAG
    static inline uint32_t engine_tag(uint64_t scope, uint64_t key) {
        uint64_t h = key * 0x9E3779B97F4A7C15ULL;
        h ^= (scope + 1) * 0xC2B2AE3D27D4EB4FULL;
        h ^= h >> 32;
        return (uint32_t)(h * 0x9E3779B97F4A7C15ULL >> 32);
    }
    #endif
    """
    uint32_t tag_of "engine_tag"(uint64_t scope, uint64_t key) noexcept nogil


cdef inline uint32_t table_tag(int32_t scope, int64_t key) noexcept nogil:
    return tag_of(<uint64_t>scope, <uint64_t>key)


# The slot at which the search for a tag begins.
cdef inline uint64_t table_home(const table_t *table, uint32_t tag) noexcept nogil:
    return tag * table.capacity >> 32


# The slot after another, going round.
cdef inline uint64_t slot_after(const table_t *table, uint64_t i) noexcept nogil:
    return i + 1 if i + 1 < table.capacity else 0


# The first row of a tag from a slot on, which becomes the one behind it; NIL: there is none.
cdef inline int32_t table_next(
    const table_t *table, uint32_t tag, uint64_t *at
) noexcept nogil:
    cdef slot_t slot = table.slots[at[0]]
    while slot.row >= 0:
        at[0] = slot_after(table, at[0])
        if slot.tag == tag:
            return slot.row
        slot = table.slots[at[0]]
    return -1


# The row that nearly always has the key, without a look at it: good for a hint.
cdef inline int32_t table_guess(
    const table_t *table, int32_t scope, int64_t key
) noexcept nogil:
    cdef uint32_t tag = table_tag(scope, key)
    cdef uint64_t at = table_home(table, tag)
    return table_next(table, tag, &at)
