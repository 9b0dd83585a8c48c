# An open-addressing hash table from a pair of ints to a row index: account ids, order ids,
# positions. Linear probing, backward-shift deletion (no tombstones), load at most five eighths.

from libc.stdint cimport int32_t, int64_t, uint64_t

cdef struct slot_t:
    int64_t key                  # account id, order id, symbol: whatever identifies a row
    int32_t scope                # a second part of the key (account row); 0 where unused
    int32_t row                  # NIL: empty

cdef struct table_t:
    slot_t *slots
    uint64_t mask                # capacity - 1, a power of two
    int64_t count

cdef int table_init(table_t *table, uint64_t capacity) except -1 nogil
cdef void table_free(table_t *table) noexcept nogil
cdef int table_reserve(table_t *table, int64_t wanted) except -1 nogil
cdef int table_put(table_t *table, int32_t scope, int64_t key, int32_t row) except -1 nogil
cdef void table_remove(table_t *table, int32_t scope, int64_t key) noexcept nogil


# The hash is C: it is meant to wrap, which debug builds would refuse elsewhere.
cdef extern from *:
    """
    #ifndef ENGINE_MIX
    #define ENGINE_MIX
    static inline uint64_t engine_mix(uint64_t key, uint64_t scope) {
        uint64_t h = key * 0x9E3779B97F4A7C15ULL;
        h ^= (scope + 1) * 0xC2B2AE3D27D4EB4FULL;
        h ^= h >> 32;
        return h * 0x9E3779B97F4A7C15ULL >> 20;
    }
    #endif
    """
    uint64_t mix "engine_mix"(uint64_t key, uint64_t scope) noexcept nogil


cdef inline uint64_t table_home(const table_t *table, int32_t scope, int64_t key) noexcept nogil:
    return mix(<uint64_t>key, <uint64_t>scope) & table.mask


# The row of a key, NIL where there is none.
cdef inline int32_t table_get(const table_t *table, int32_t scope, int64_t key) noexcept nogil:
    cdef uint64_t i = table_home(table, scope, key)
    while table.slots[i].row >= 0:
        if table.slots[i].key == key and table.slots[i].scope == scope:
            return table.slots[i].row
        i = (i + 1) & table.mask
    return -1
