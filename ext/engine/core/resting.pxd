# The resting orders of one book without accounts: their rows, and the table that finds a row
# by owner and order id. Made for `OrderBook`: half the memory of a desk's order, since it
# carries no account's side of things.
#
# Row 0 stands for "none". It is never read, but links may be written to it, so that taking
# an order out of a queue needs no question whether it has neighbours.
#
# The table is made of buckets of one cache line. All tags of a bucket are compared at once,
# so that a lookup has no loop whose end a processor would have to guess; at the load allowed
# one bucket in a hundred is full and sends an order to the next one.
#
# Capacity first: `resting_reserve` may fail and changes nothing then; with room ensured no
# other function here can fail.

from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t, uint64_t

cdef enum:
    LANES = 10                   # orders of a bucket
    LANES_WANTED = 5             # of these, taken on average, at most
    PASSED_MAX = 65535           # no longer counted

cdef struct row_t:               # half a cache line, and never across two
    int64_t order_id             # the client's
    int64_t leaves               # lots, open; 0 in a free row
    int32_t owner
    int32_t prev, next           # neighbours in the level's queue, 0: none
    uint32_t place               # level row << 4 | self-trade prevention mode << 1 | side

cdef struct bucket_t:
    uint16_t tags[LANES]         # of the hashes; 0: empty
    uint16_t passed              # orders that found no lane here and are in a later bucket
    uint16_t unused
    int32_t rows[LANES]

cdef struct resting_t:
    row_t *rows
    bucket_t *buckets
    uint32_t mask                # buckets - 1, a power of two
    int32_t count                # live orders
    int32_t room                 # orders that the buckets are meant for
    int32_t row_count, row_capacity
    int32_t free_row             # linked by next

cdef extern from *:
    """
    #ifndef ENGINE_RESTING
    #define ENGINE_RESTING
    #ifdef __SSE2__
    #include <emmintrin.h>
    #endif
    #define engine_unlikely(x) __builtin_expect(!!(x), 0)
    #define engine_prefetch(p) __builtin_prefetch(p, 1)

    static inline uint64_t engine_hash(int64_t owner, int64_t order_id) {
        uint64_t h = (uint64_t)owner * 0xC2B2AE3D27D4EB4FULL ^ (uint64_t)order_id;
        h *= 0x9E3779B97F4A7C15ULL;
        h ^= h >> 32;
        h *= 0x9E3779B97F4A7C15ULL;
        return h << 32 | h >> 32;
    }
    static inline uint16_t engine_tag(uint64_t hash) {
        uint16_t tag = (uint16_t)(hash >> 48);
        return tag ? tag : 1;
    }
    /* A bit for each of the ten tags of a bucket that equals `tag`. */
    static inline uint32_t engine_lanes(const uint16_t *tags, uint16_t tag) {
    #ifdef __SSE2__
        const __m128i *both = (const __m128i *)tags, wanted = _mm_set1_epi16((short)tag);
        __m128i first = _mm_cmpeq_epi16(_mm_load_si128(both), wanted);
        __m128i last = _mm_cmpeq_epi16(_mm_load_si128(both + 1), wanted);
        return (uint32_t)_mm_movemask_epi8(_mm_packs_epi16(first, last)) & 0x3FF;
    #else
        uint32_t lanes = 0;
        for (int i = 0; i < 10; i++)
            lanes |= (uint32_t)(tags[i] == tag) << i;
        return lanes;
    #endif
    }
    #define engine_first(lanes) __builtin_ctz(lanes)
    #endif
    """
    # C, since they are meant to wrap, which debug builds would refuse elsewhere.
    uint64_t hash_of "engine_hash"(int64_t owner, int64_t order_id) noexcept nogil
    uint16_t tag_of "engine_tag"(uint64_t hashed) noexcept nogil
    uint32_t lanes_with "engine_lanes"(const uint16_t *tags, uint16_t tag) noexcept nogil
    int first_lane "engine_first"(uint32_t lanes) noexcept nogil
    bint unlikely "engine_unlikely"(bint condition) noexcept nogil
    void prefetch "engine_prefetch"(const void *address) noexcept nogil

cdef int resting_init(resting_t *all, int32_t capacity) noexcept nogil
cdef void resting_free(resting_t *all) noexcept nogil
cdef int64_t resting_bytes(const resting_t *all) noexcept nogil
cdef int64_t filed_count(const resting_t *all) noexcept nogil
cdef int resting_grow(resting_t *all, int32_t more) noexcept nogil


# Room for as many more orders. Returns -1 where there is no memory.
cdef inline int resting_reserve(resting_t *all, int32_t more) noexcept nogil:
    if all.count + more < all.row_capacity and all.count + more <= all.room:
        return 0
    return resting_grow(all, more)


cdef inline uint32_t home_of(const resting_t *all, uint64_t hashed) noexcept nogil:
    return <uint32_t>(hashed & all.mask)


# The row of an order, 0 where there is none.
cdef inline int32_t row_find(
    const resting_t *all, uint64_t hashed, int64_t owner, int64_t order_id
) noexcept nogil:
    cdef uint32_t home = home_of(all, hashed)
    cdef const bucket_t *bucket = &all.buckets[home]
    cdef uint32_t lanes
    cdef const row_t *row
    cdef int32_t number
    while True:
        lanes = lanes_with(bucket.tags, tag_of(hashed))
        while lanes:
            number = bucket.rows[first_lane(lanes)]
            row = &all.rows[number]
            if row.order_id == order_id and row.owner == owner:
                return number
            lanes &= lanes - 1
        if bucket.passed == 0:
            return 0
        home = (home + 1) & all.mask
        if home == home_of(all, hashed):
            return 0  # once round: only where keys were made to collide
        bucket = &all.buckets[home]


# File a row that is not there.
cdef inline void row_file(resting_t *all, uint64_t hashed, int32_t row) noexcept nogil:
    cdef uint32_t home = home_of(all, hashed)
    cdef bucket_t *bucket = &all.buckets[home]
    cdef uint32_t lanes = lanes_with(bucket.tags, 0)
    while unlikely(lanes == 0):
        if bucket.passed != PASSED_MAX:
            bucket.passed += 1
        home = (home + 1) & all.mask
        bucket = &all.buckets[home]
        lanes = lanes_with(bucket.tags, 0)
    bucket.tags[first_lane(lanes)] = tag_of(hashed)
    bucket.rows[first_lane(lanes)] = row


# Take a row out of the table that is there.
cdef inline void row_unfile(resting_t *all, uint64_t hashed, int32_t row) noexcept nogil:
    cdef uint32_t home = home_of(all, hashed)
    cdef bucket_t *bucket = &all.buckets[home]
    cdef uint32_t lanes
    cdef int lane
    while True:
        lanes = lanes_with(bucket.tags, tag_of(hashed))
        while lanes:
            lane = first_lane(lanes)
            if bucket.rows[lane] == row:
                bucket.tags[lane] = 0
                return
            lanes &= lanes - 1
        if bucket.passed != PASSED_MAX:
            bucket.passed -= 1
        home = (home + 1) & all.mask
        bucket = &all.buckets[home]


cdef inline int32_t row_take(resting_t *all) noexcept nogil:
    cdef int32_t row = all.free_row
    all.count += 1
    if row:
        all.free_row = all.rows[row].next
    else:
        row = all.row_count
        all.row_count += 1
    return row


cdef inline void row_give(resting_t *all, int32_t row) noexcept nogil:
    all.rows[row].leaves = 0
    all.rows[row].next = all.free_row
    all.free_row = row
    all.count -= 1
