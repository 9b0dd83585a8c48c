"""The trigger index: buckets of prices, emptied as the mark passes them."""

from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memset

from engine.core.fixed cimport max64, min64, violated
from engine.core.memory cimport prefetch
from engine.core.types cimport MONEY_MAX

# How many entries of a bucket ahead a position is fetched into the cache.
cdef enum:
    AHEAD = 12

cdef extern from *:
    """
    #define trigger_lowest(x) __builtin_ctzll(x)
    #define trigger_highest(x) (63 - __builtin_clzll(x))
    """
    int lowest_bit "trigger_lowest"(uint64_t x) noexcept nogil
    int highest_bit "trigger_highest"(uint64_t x) noexcept nogil


# Number of a price's bucket over all octaves; grows with the price. Prices below 256 have
# a bucket each, in the octave of their own leading bit.
cdef inline int bucket_of(int64_t price) noexcept nogil:
    cdef int octave = highest_bit(<uint64_t>price)
    if octave < BLOCK_BITS:
        return octave * BLOCK_BUCKETS + <int>(
            (<uint64_t>price << (BLOCK_BITS - octave)) & (BLOCK_BUCKETS - 1))
    return octave * BLOCK_BUCKETS + <int>(
        (<uint64_t>price >> (octave - BLOCK_BITS)) & (BLOCK_BUCKETS - 1))


# The least price of a bucket; of one that has none, that of the next.
cdef inline int64_t bucket_start(int number) noexcept nogil:
    cdef int octave = number // BLOCK_BUCKETS
    cdef int64_t at = BLOCK_BUCKETS + number % BLOCK_BUCKETS
    if octave >= BLOCK_BITS:
        return at << (octave - BLOCK_BITS)
    return ((at - 1) >> (BLOCK_BITS - octave)) + 1


cdef int trigger_init(trigger_side_t *side, int rising) except -1 nogil:
    memset(side, 0, sizeof(trigger_side_t))
    side.rising = rising
    side.nearest = MONEY_MAX if rising else 0
    return 0


cdef void trigger_free(trigger_side_t *side) noexcept nogil:
    cdef int i, j
    for i in range(BLOCKS):
        if side.blocks[i] != NULL:
            for j in range(BLOCK_BUCKETS):
                free(side.blocks[i].buckets[j].entries)
            free(side.blocks[i])
            side.blocks[i] = NULL


# Drop the entries of a bucket that are out of date. A trigger that was moved away and back has
# two entries that look alike; the first is kept.
cdef void bucket_sweep(
    bucket_t *bucket, position_t *positions, int rising
) noexcept nogil:
    cdef int32_t i, kept = 0
    cdef position_t *row
    for i in range(bucket.count):
        if i + AHEAD < bucket.count:
            prefetch(&positions[bucket.entries[i + AHEAD].position].trigger)
        row = &positions[bucket.entries[i].position]
        if row.trigger[rising] == bucket.entries[i].price:
            # Negative while its entry has been seen.
            row.trigger[rising] = -row.trigger[rising]
            bucket.entries[kept] = bucket.entries[i]
            kept += 1
    for i in range(kept):
        row = &positions[bucket.entries[i].position]
        row.trigger[rising] = -row.trigger[rising]
    bucket.count = kept
    bucket.stale = 0


# Triggers in a bucket, each once.
cdef int32_t bucket_count(
    const bucket_t *bucket, position_t *positions, int rising
) noexcept nogil:
    cdef int32_t i, count = 0
    cdef position_t *row
    for i in range(bucket.count):
        row = &positions[bucket.entries[i].position]
        if row.trigger[rising] == bucket.entries[i].price:
            row.trigger[rising] = -row.trigger[rising]
            count += 1
    for i in range(bucket.count):
        row = &positions[bucket.entries[i].position]
        if row.trigger[rising] == -bucket.entries[i].price:
            row.trigger[rising] = -row.trigger[rising]
    return count


# A bucket of a copy has room for what is in it, which may be a single entry.
cdef int bucket_grow(bucket_t *bucket) except -1 nogil:
    cdef int32_t capacity = 4 if bucket.capacity < 3 else bucket.capacity + bucket.capacity // 2
    cdef entry_t *entries = <entry_t *>realloc(bucket.entries, capacity * sizeof(entry_t))
    if entries == NULL:
        raise MemoryError("trigger index")
    bucket.entries = entries
    bucket.capacity = capacity
    return 0


cdef block_t *new_block() except NULL nogil:
    cdef block_t *block = <block_t *>calloc(1, sizeof(block_t))
    if block == NULL:
        with gil:
            raise MemoryError("trigger index")
    return block


# File a position's trigger; it has none yet. O(1), amortised.
cdef int trigger_insert(
    trigger_side_t *side, position_t *positions, int32_t position, int64_t price
) except -1 nogil:
    cdef int number = bucket_of(price)
    cdef int octave = number // BLOCK_BUCKETS
    cdef int at = number % BLOCK_BUCKETS
    cdef block_t *block = side.blocks[octave]
    cdef bucket_t *bucket
    if block == NULL:
        block = side.blocks[octave] = new_block()
    bucket = &block.buckets[at]
    if bucket.count == bucket.capacity:
        if bucket.stale and 2 * bucket.stale >= bucket.count:
            bucket_sweep(bucket, positions, side.rising)
        else:
            bucket_grow(bucket)
    bucket.entries[bucket.count].price = price
    bucket.entries[bucket.count].position = position
    positions[position].trigger[side.rising] = price
    bucket.count += 1
    block.present[at >> 6] |= <uint64_t>1 << (at & 63)
    side.present |= <uint64_t>1 << octave
    side.count += 1
    if side.rising:
        if price < side.nearest:
            side.nearest = price
    elif price > side.nearest:
        side.nearest = price
    return 0


# Note that a bucket has become empty.
cdef void bucket_emptied(trigger_side_t *side, int octave, int at) noexcept nogil:
    cdef block_t *block = side.blocks[octave]
    cdef int i
    block.present[at >> 6] &= ~(<uint64_t>1 << (at & 63))
    for i in range(BLOCK_WORDS):
        if block.present[i]:
            return
    side.present &= ~(<uint64_t>1 << octave)


# Take a position's trigger out, if it has one. O(1): its entry is out of date from now on.
cdef int trigger_remove(
    trigger_side_t *side, position_t *positions, int32_t position
) except -1 nogil:
    cdef int64_t price = positions[position].trigger[side.rising]
    cdef int number
    cdef bucket_t *bucket
    if price == (MONEY_MAX if side.rising else 0):
        return 0
    number = bucket_of(price)
    bucket = &side.blocks[number // BLOCK_BUCKETS].buckets[number % BLOCK_BUCKETS]
    positions[position].trigger[side.rising] = MONEY_MAX if side.rising else 0
    side.count -= 1
    bucket.stale += 1
    if bucket.stale == bucket.count:
        bucket.count = bucket.stale = 0
        bucket_emptied(side, number // BLOCK_BUCKETS, number % BLOCK_BUCKETS)
    return 0


# Raise unless each trigger has an entry, and the counts are right. O(entries).
cdef int trigger_check(trigger_side_t *side, position_t *positions) except -1 with gil:
    cdef int number = first_bucket(side)
    cdef int64_t count = 0
    cdef int32_t i, filled
    cdef bucket_t *bucket
    while number >= 0:
        bucket = &side.blocks[number // BLOCK_BUCKETS].buckets[number % BLOCK_BUCKETS]
        filled = bucket_count(bucket, positions, side.rising)
        if filled != bucket.count - bucket.stale or filled == 0:
            violated(f"trigger index: bucket {number} has {filled} triggers")
        if bucket.count > bucket.capacity:
            violated(f"trigger index: bucket {number} has {bucket.count} entries in the room of "
                     f"{bucket.capacity}")
        for i in range(bucket.count):
            if bucket_of(bucket.entries[i].price) != number:
                violated(f"trigger index: bucket {number} has the price of another")
        count += filled
        if not next_bucket(side, &number):
            number = -1
    if count != side.count:
        violated(f"trigger index: {count} triggers, not {side.count}")
    return 0


# The bucket with entries that is nearest to the mark's side: the lowest for rising, the
# highest for falling; -1 where there is none.
cdef int first_bucket(trigger_side_t *side) noexcept nogil:
    cdef int octave, i
    cdef block_t *block
    if side.present == 0:
        return -1
    if side.rising:
        octave = lowest_bit(side.present)
        block = side.blocks[octave]
        i = 0
        while block.present[i] == 0:
            i += 1
        return octave * BLOCK_BUCKETS + i * 64 + lowest_bit(block.present[i])
    octave = highest_bit(side.present)
    block = side.blocks[octave]
    i = BLOCK_WORDS - 1
    while block.present[i] == 0:
        i -= 1
    return octave * BLOCK_BUCKETS + i * 64 + highest_bit(block.present[i])


cdef inline bint next_bucket(trigger_side_t *side, int *number) noexcept nogil:
    cdef int at = number[0] % BLOCK_BUCKETS
    cdef int octave = number[0] // BLOCK_BUCKETS
    cdef block_t *block = side.blocks[octave]
    cdef int word = at >> 6
    cdef uint64_t rest
    cdef uint64_t octaves
    if side.rising:
        rest = 0 if at & 63 == 63 else block.present[word] >> ((at & 63) + 1) << ((at & 63) + 1)
        while rest == 0 and word < BLOCK_WORDS - 1:
            word += 1
            rest = block.present[word]
        if rest == 0:
            octaves = 0 if octave == 63 else side.present >> (octave + 1) << (octave + 1)
            if octaves == 0:
                return False
            octave = lowest_bit(octaves)
            block = side.blocks[octave]
            word = 0
            while block.present[word] == 0:
                word += 1
            rest = block.present[word]
        number[0] = octave * BLOCK_BUCKETS + word * 64 + lowest_bit(rest)
        return True
    rest = block.present[word] & ((<uint64_t>1 << (at & 63)) - 1)
    while rest == 0 and word > 0:
        word -= 1
        rest = block.present[word]
    if rest == 0:
        octaves = side.present & ((<uint64_t>1 << octave) - 1)
        if octaves == 0:
            return False
        octave = highest_bit(octaves)
        block = side.blocks[octave]
        word = BLOCK_WORDS - 1
        while block.present[word] == 0:
            word -= 1
        rest = block.present[word]
    number[0] = octave * BLOCK_BUCKETS + word * 64 + highest_bit(rest)
    return True


cdef int found_add(
    int32_t **found, int32_t *count, int32_t *capacity, int32_t position
) except -1 nogil:
    cdef int32_t *larger
    if count[0] == capacity[0]:
        capacity[0] = 256 if capacity[0] == 0 else 2 * capacity[0]
        larger = <int32_t *>realloc(found[0], capacity[0] * sizeof(int32_t))
        if larger == NULL:
            raise MemoryError("trigger index")
        found[0] = larger
    found[0][count[0]] = position
    count[0] += 1
    return 0


# Append a bucket's crossed triggers to `found` and take them out; `nearest` becomes that of
# the rest. From the back, so that what moves up into a hole has been looked at.
cdef int bucket_crossed(
    trigger_side_t *side, position_t *positions, bucket_t *bucket, int64_t mark,
    int32_t **found, int32_t *found_count, int32_t *found_capacity, int64_t *nearest
) except -1 nogil:
    cdef int32_t i = bucket.count
    cdef int32_t position
    cdef int64_t price
    while i > 0:
        i -= 1
        price = bucket.entries[i].price
        if (mark < price) if side.rising else (mark > price):
            if (price < nearest[0]) if side.rising else (price > nearest[0]):
                nearest[0] = price
            continue
        position = bucket.entries[i].position
        if i >= AHEAD:
            prefetch(&positions[bucket.entries[i - AHEAD].position].trigger)
        if positions[position].trigger[side.rising] == price:
            found_add(found, found_count, found_capacity, position)
            positions[position].trigger[side.rising] = MONEY_MAX if side.rising else 0
            side.count -= 1
        else:
            bucket.stale -= 1
        bucket.count -= 1
        bucket.entries[i] = bucket.entries[bucket.count]
    return 0


# Append to `found` the positions whose trigger the mark has reached, and take these triggers
# out: their pools are to be evaluated, which files anew. O(1) where none is reached, else
# O(entries reached + entries of the bucket that the mark lies in).
cdef int trigger_crossed(
    trigger_side_t *side, position_t *positions, int64_t mark, int32_t **found,
    int32_t *found_count, int32_t *found_capacity
) except -1 nogil:
    cdef int here, number, passed
    cdef bucket_t *bucket
    cdef int64_t nearest
    if side.rising:
        if mark < side.nearest:
            return 0
    elif mark > side.nearest:
        return 0
    here = bucket_of(mark)
    number = first_bucket(side)
    nearest = MONEY_MAX if side.rising else 0
    while number >= 0 and (number <= here if side.rising else number >= here):
        bucket = &side.blocks[number // BLOCK_BUCKETS].buckets[number % BLOCK_BUCKETS]
        bucket_crossed(
            side, positions, bucket, mark, found, found_count, found_capacity, &nearest)
        passed = number
        if not next_bucket(side, &number):
            number = -1
        if bucket.count == bucket.stale:
            bucket.count = bucket.stale = 0
            bucket_emptied(side, passed // BLOCK_BUCKETS, passed % BLOCK_BUCKETS)
    # Nearest of what was not reached, else the near end of the next bucket beyond.
    if number >= 0:
        if side.rising:
            nearest = min64(nearest, bucket_start(number))
        else:
            nearest = max64(nearest, bucket_start(number + 1) - 1)
    side.nearest = nearest
    return 0


# Take a side into an image, or fill an empty one from it.
cdef int trigger_carry(Image image, trigger_side_t *side) except -1:
    cdef int octave, at
    cdef block_t *block
    cdef bucket_t *bucket
    image.scalar(&side.present, sizeof(side.present))
    image.scalar(&side.nearest, sizeof(side.nearest))
    image.scalar(&side.count, sizeof(side.count))
    for octave in range(BLOCKS):
        if not side.present >> octave & 1:
            continue
        block = side.blocks[octave]
        if block == NULL:
            block = side.blocks[octave] = new_block()
        image.scalar(block.present, sizeof(block.present))
        for at in range(BLOCK_BUCKETS):
            if block.present[at >> 6] >> (at & 63) & 1:
                bucket = &block.buckets[at]
                image.rows(
                    <void **>&bucket.entries, &bucket.count, &bucket.capacity, sizeof(entry_t))
                image.scalar(&bucket.stale, sizeof(bucket.stale))
    return 0
