# The trigger index: which pools to look at when a mark moves, without asking the others.
#
# Per symbol two sides, one for a falling mark and one for a rising one. An entry says:
# "look at this position's pool once the mark is at or beyond this price". Entries lie in
# buckets of relative price width: eight bits below the price's leading bit are the
# bucket, so a bucket spans 0.2 to 0.4 %, and all buckets of one octave are one block,
# allocated when first used. A tick between the nearest triggers costs two comparisons; a
# tick beyond one empties the buckets passed and scans the one that it ends in.
#
# The position has the price of its trigger, and that decides: an entry with another price is
# out of date. So to move a trigger reads nothing but the heads of two buckets, and appends.
# Entries out of date are counted, and swept out when a bucket is full and half of it is such.

from libc.stdint cimport int32_t, int64_t, uint64_t

from engine.core.image cimport Image
from engine.core.ledger cimport position_t

cdef enum:
    BLOCK_BITS = 8
    BLOCK_BUCKETS = 256          # buckets of one octave
    BLOCK_WORDS = 4              # 64-bit words of one block's bitmap
    BLOCKS = 64                  # octaves of an int64

cdef packed struct entry_t:
    int64_t price                # mark ticks
    int32_t position             # position row

cdef struct bucket_t:
    entry_t *entries
    int32_t count, capacity
    int32_t stale                # entries out of date

cdef struct block_t:
    bucket_t buckets[BLOCK_BUCKETS]
    uint64_t present[BLOCK_WORDS]    # which buckets have entries

cdef struct trigger_side_t:
    block_t *blocks[BLOCKS]      # NULL until used
    uint64_t present             # which blocks have entries
    int64_t nearest              # no trigger is nearer to the mark than this
    int64_t count                # of triggers
    int32_t rising               # 1: fires at marks >= the entry's price

cdef int trigger_init(trigger_side_t *side, int rising) except -1 nogil
cdef void trigger_free(trigger_side_t *side) noexcept nogil
cdef int trigger_insert(
    trigger_side_t *side, position_t *positions, int32_t position, int64_t price) except -1 nogil
cdef int trigger_remove(
    trigger_side_t *side, position_t *positions, int32_t position) except -1 nogil
cdef int trigger_check(trigger_side_t *side, position_t *positions) except -1 nogil
cdef int trigger_crossed(
    trigger_side_t *side, position_t *positions, int64_t mark, int32_t **found,
    int32_t *found_count, int32_t *found_capacity) except -1 nogil
cdef int trigger_carry(Image image, trigger_side_t *side) except -1
