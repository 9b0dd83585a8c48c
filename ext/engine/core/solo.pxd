# A book by itself: price-time priority without accounts. Everything that runs per command
# is here and in what it cimports, inline, so that a batch is one loop of C.
#
# A command is eight ints: op, owner, order id, side, price, quantity, time in force, flags.
# Room for what it may add is made beforehand (`solo_reserve`); only the tape of trades may
# have to grow on the way, and a sweep that gets no memory for it ends before the trade.

cimport cython
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.stdlib cimport realloc

from engine.core.levels cimport (
    NO_KEY, book_t, drop_level, level_find, level_make, level_t, levels_reserve, side_t,
)
from engine.core.resting cimport (
    LANES, bucket_t, first_lane, hash_of, home_of, lanes_with, prefetch, resting_reserve,
    resting_t, row_file, row_find, row_give, row_t, row_take, row_unfile, tag_of, unlikely,
)
from engine.core.types cimport (
    MONEY_MAX, STP_CANCEL_BOTH, STP_CANCEL_MAKER, STP_CANCEL_TAKER, STP_DECREMENT, STP_NONE,
    TIF_FOK, TIF_GTC,
)

cdef enum:
    COMMAND_WIDTH = 8
    TRADE_WIDTH = 6              # maker owner, maker id, taker owner, taker id, price, lots
    OP_PLACE = 0
    OP_CANCEL = 1
    OP_AMEND = 2
    STP_MASK = 7                 # of a command's flags
    FLAG_POST_ONLY = 8
    BLOCK = 32                   # commands of a batch that are looked ahead at
    NEAR_ROWS = 8192             # as many rows are near the processor anyhow

cdef struct solo_t:
    resting_t all
    book_t book
    int64_t *tape                # TRADE_WIDTH ints a trade
    int64_t trade_count, trade_capacity
    bint is_out_of_memory        # a sweep ended early, the tape being full

cdef struct taker_t:
    int64_t order_id
    int64_t leaves               # lots, open; 0 also where it was cancelled on the way
    int32_t owner
    int32_t side
    int32_t stp


# Room for commands, each of which may add one order. Returns -1 where there is no memory.
cdef inline int solo_reserve(solo_t *solo, int32_t more) noexcept nogil:
    return resting_reserve(&solo.all, more) | levels_reserve(&solo.book, more)


cdef inline int tape_grow(solo_t *solo) noexcept nogil:
    cdef int64_t capacity = 1024 if solo.trade_capacity == 0 else 2 * solo.trade_capacity
    cdef void *tape = realloc(solo.tape, <size_t>capacity * TRADE_WIDTH * sizeof(int64_t))
    if tape == NULL:
        solo.is_out_of_memory = True
        return -1
    solo.tape = <int64_t *>tape
    solo.trade_capacity = capacity
    return 0


# --- queues -----------------------------------------------------------------------------

# Put an order at the back of its price level.
cdef inline void queue_up(
    solo_t *solo, int32_t row, int side, int64_t price, int stp
) noexcept nogil:
    cdef row_t *rows = solo.all.rows
    cdef int32_t level_row = level_find(&solo.book, side, price)
    cdef level_t *level
    if unlikely(level_row < 0):
        level_row = level_make(&solo.book, side, price)
        solo.book.levels[level_row].head = solo.book.levels[level_row].tail = 0
    level = &solo.book.levels[level_row]
    rows[row].prev = level.tail
    rows[row].next = 0
    rows[row].place = <uint32_t>level_row << 4 | <uint32_t>stp << 1 | <uint32_t>side
    rows[level.tail].next = row
    level.head = level.head if level.tail else row
    level.tail = row
    level.count += 1
    level.quantity += rows[row].leaves


# Take an order out of its queue.
cdef inline void leave_queue(solo_t *solo, int32_t row) noexcept nogil:
    cdef row_t *rows = solo.all.rows
    cdef int32_t level_row = <int32_t>(rows[row].place >> 4)
    cdef level_t *level = &solo.book.levels[level_row]
    cdef int32_t prev = rows[row].prev
    cdef int32_t next = rows[row].next
    rows[prev].next = next
    rows[next].prev = prev
    level.head = level.head if prev else next
    level.tail = level.tail if next else prev
    level.quantity -= rows[row].leaves
    level.count -= 1
    if unlikely(level.count == 0):
        drop_level(&solo.book, rows[row].place & 1, level_row)


# --- the sweep --------------------------------------------------------------------------

cdef inline bint is_own(const taker_t *taker, const row_t *maker) noexcept nogil:
    return taker.stp != STP_NONE and maker.owner == taker.owner


# Whether a fill-or-kill order would fill. An own order on the way is stepped over where it
# would be cancelled; in the other modes of self-trade prevention it ends the sweep.
cdef inline bint can_fill(
    const solo_t *solo, const taker_t *taker, int64_t limit_key
) noexcept nogil:
    cdef const side_t *half = &solo.book.sides[1 - taker.side]
    cdef const row_t *rows = solo.all.rows
    cdef int64_t wanted = taker.leaves
    cdef int32_t level = half.best
    cdef int32_t maker
    while level >= 0 and solo.book.levels[level].price ^ half.flip <= limit_key:
        maker = solo.book.levels[level].head
        while maker:
            if not is_own(taker, &rows[maker]):
                wanted -= rows[maker].leaves
                if wanted <= 0:
                    return True
            elif taker.stp != STP_CANCEL_MAKER:
                return False
            maker = rows[maker].next
        level = solo.book.levels[level].worse
    return False


# Note a trade. Returns -1, and notes nothing, where the tape gets no memory.
cdef inline int note_trade(
    solo_t *solo, const taker_t *taker, const row_t *maker, int64_t price, int64_t lots
) noexcept nogil:
    cdef int64_t *out
    if unlikely(solo.trade_count == solo.trade_capacity):
        if tape_grow(solo) < 0:
            return -1
    out = solo.tape + solo.trade_count * TRADE_WIDTH
    solo.trade_count += 1
    out[0] = maker.owner
    out[1] = maker.order_id
    out[2] = taker.owner
    out[3] = taker.order_id
    out[4] = price
    out[5] = lots
    return 0


# Meet an own order by the taker's mode. Returns the lots that the maker loses, and takes
# from the taker what it loses.
cdef inline int64_t prevent_self_trade(taker_t *taker, const row_t *maker) noexcept nogil:
    cdef int64_t lots
    if taker.stp == STP_DECREMENT:
        lots = min(taker.leaves, maker.leaves)
        taker.leaves -= lots
        return lots
    if taker.stp != STP_CANCEL_MAKER:
        taker.leaves = 0
    return 0 if taker.stp == STP_CANCEL_TAKER else maker.leaves


# Trade a taker against one level, oldest order first; returns the lots traded. Orders leave
# from the front, so the queue is linked up once, at the end.
cdef inline int64_t sweep_level(
    solo_t *solo, taker_t *taker, int side, int32_t level_row
) noexcept nogil:
    cdef row_t *rows = solo.all.rows
    cdef level_t *level = &solo.book.levels[level_row]
    cdef int64_t traded = 0
    cdef int64_t lots
    cdef int32_t maker = level.head
    cdef int32_t next
    while maker and taker.leaves:
        next = rows[maker].next
        prefetch(&rows[next])
        if unlikely(is_own(taker, &rows[maker])):
            lots = prevent_self_trade(taker, &rows[maker])
        else:
            lots = min(taker.leaves, rows[maker].leaves)
            if unlikely(note_trade(solo, taker, &rows[maker], level.price, lots) < 0):
                taker.leaves = 0
                break
            taker.leaves -= lots
            traded += lots
        level.quantity -= lots
        rows[maker].leaves -= lots
        if rows[maker].leaves:
            break
        row_unfile(&solo.all, hash_of(rows[maker].owner, rows[maker].order_id), maker)
        row_give(&solo.all, maker)
        level.count -= 1
        maker = next
    level.head = maker
    rows[maker].prev = 0
    if maker == 0:
        drop_level(&solo.book, side, level_row)
    return traded


# Trade a taker against the other side, best price first, until it is filled, its limit is
# reached or it is cancelled on the way; returns the lots traded.
cdef inline int64_t sweep(solo_t *solo, taker_t *taker, int64_t limit_key) noexcept nogil:
    cdef int side = 1 - taker.side
    cdef int64_t traded = 0
    while taker.leaves and solo.book.sides[side].best_key <= limit_key:
        traded += sweep_level(solo, taker, side, solo.book.sides[side].best)
    return traded


# --- one command each: -1 where it is refused, else lots traded; there is room for an order --

# A limit as a key of the other side; one beyond all levels for a market order.
cdef inline int64_t limit_of(const solo_t *solo, int side, int64_t price) noexcept nogil:
    return price ^ solo.book.sides[1 - side].flip if price else NO_KEY - 1


# What an order's fields must be by themselves and together: a market order cannot rest, a
# post-only order must. Asked as one question, since the answer is nearly always the same.
# Ids and quantities are positive; less one, as unsigned numbers, zero and below are large.
@cython.overflowcheck(False)
cdef inline bint is_sensible(const int64_t *command) noexcept nogil:
    cdef uint64_t outside = (
        <uint64_t>command[1] >> 31 | <uint64_t>command[3] >> 1 | <uint64_t>command[4] >> 62
        | (<uint64_t>command[2] - 1 >= (<uint64_t>1 << 63) - 1)
        | (<uint64_t>command[5] - 1 >= <uint64_t>(MONEY_MAX - 1))
        | (<uint64_t>command[6] > TIF_FOK) | ((command[7] & STP_MASK) > STP_DECREMENT))
    if command[6] == TIF_GTC:
        return (outside | (command[4] == 0)) == 0
    return (outside | <uint64_t>(command[7] & FLAG_POST_ONLY)) == 0


# The part of `enter` that meets the other side; sets what is left to rest.
cdef inline int64_t take(
    solo_t *solo, const int64_t *command, int64_t limit_key, int64_t *leaves
) noexcept nogil:
    cdef taker_t taker
    cdef int64_t traded
    taker.owner = <int32_t>command[1]
    taker.order_id = command[2]
    taker.side = <int32_t>command[3]
    taker.leaves = command[5]
    taker.stp = <int32_t>(command[7] & STP_MASK)
    leaves[0] = 0
    if command[7] & FLAG_POST_ONLY:
        return -1
    if command[6] == TIF_FOK and not can_fill(solo, &taker, limit_key):
        return -1
    traded = sweep(solo, &taker, limit_key)
    if command[6] == TIF_GTC:
        leaves[0] = taker.leaves
    return traded


cdef inline int64_t enter(solo_t *solo, uint64_t hashed, const int64_t *command) noexcept nogil:
    cdef int side = <int>command[3] & 1
    cdef int64_t limit_key = limit_of(solo, side, command[4])
    cdef int64_t leaves = command[5]
    cdef int64_t traded = 0
    cdef int32_t row
    if unlikely(not is_sensible(command)):
        return -1
    if unlikely(row_find(&solo.all, hashed, command[1], command[2]) != 0):
        return -1
    if solo.book.sides[1 - side].best_key <= limit_key:
        traded = take(solo, command, limit_key, &leaves)
        if leaves == 0:
            return traded
    elif command[6] != TIF_GTC:
        return -1 if command[6] == TIF_FOK else 0
    row = row_take(&solo.all)
    solo.all.rows[row].order_id = command[2]
    solo.all.rows[row].leaves = leaves
    solo.all.rows[row].owner = <int32_t>command[1]
    row_file(&solo.all, hashed, row)
    queue_up(solo, row, side, command[4], <int>(command[7] & STP_MASK))
    return traded


cdef inline int64_t remove(solo_t *solo, uint64_t hashed, const int64_t *command) noexcept nogil:
    cdef int32_t row = row_find(&solo.all, hashed, command[1], command[2])
    if row == 0:
        return -1
    leave_queue(solo, row)
    row_unfile(&solo.all, hashed, row)
    row_give(&solo.all, row)
    return 0


cdef inline int64_t change(solo_t *solo, uint64_t hashed, const int64_t *command) noexcept nogil:
    cdef taker_t taker
    cdef row_t *order
    cdef level_t *level
    cdef int64_t price = command[4]
    cdef int64_t quantity = command[5]
    cdef int64_t traded
    cdef int32_t row
    if not (0 < price < MONEY_MAX and quantity < MONEY_MAX):
        return -1
    row = row_find(&solo.all, hashed, command[1], command[2])
    if row == 0:
        return -1
    if quantity <= 0:
        return remove(solo, hashed, command)
    order = &solo.all.rows[row]
    level = &solo.book.levels[order.place >> 4]
    if price == level.price and quantity <= order.leaves:
        level.quantity += quantity - order.leaves
        order.leaves = quantity
        return 0
    leave_queue(solo, row)
    taker.order_id = order.order_id
    taker.leaves = quantity
    taker.owner = order.owner
    taker.side = <int32_t>(order.place & 1)
    taker.stp = <int32_t>(order.place >> 1 & STP_MASK)
    traded = sweep(solo, &taker, limit_of(solo, taker.side, price))
    if taker.leaves:
        order.leaves = taker.leaves
        queue_up(solo, row, taker.side, price, taker.stp)
    else:
        row_unfile(&solo.all, hashed, row)
        row_give(&solo.all, row)
    return traded


# --- batches ----------------------------------------------------------------------------

cdef inline int64_t apply(solo_t *solo, uint64_t hashed, const int64_t *command) noexcept nogil:
    if command[0] == OP_PLACE:
        return enter(solo, hashed, command)
    if command[0] == OP_CANCEL:
        return remove(solo, hashed, command)
    if command[0] == OP_AMEND:
        return change(solo, hashed, command)
    return -1


# Ask for the memory that commands will read: buckets, then the rows in them, then the
# neighbours of these rows, for all commands at once, so that they are waited for together.
# It is a guess (commands before may move things), and nothing depends on its being right.
cdef inline void look_ahead(
    const solo_t *solo, const int64_t *commands, int count, uint64_t *hashes
) noexcept nogil:
    cdef int32_t likely_rows[BLOCK]
    cdef const bucket_t *bucket
    cdef const row_t *row
    cdef int i
    for i in range(count):
        hashes[i] = hash_of(commands[COMMAND_WIDTH * i + 1], commands[COMMAND_WIDTH * i + 2])
        prefetch(&solo.all.buckets[home_of(&solo.all, hashes[i])])
        prefetch(commands + COMMAND_WIDTH * (i + 2 * BLOCK))
    for i in range(count):
        bucket = &solo.all.buckets[home_of(&solo.all, hashes[i])]
        likely_rows[i] = bucket.rows[first_lane(
            lanes_with(bucket.tags, tag_of(hashes[i])) | 1 << LANES - 1)]
        prefetch(&solo.all.rows[likely_rows[i]])
    if solo.all.row_count > NEAR_ROWS:
        for i in range(count):
            row = &solo.all.rows[likely_rows[i]]
            prefetch(&solo.all.rows[row.prev])
            prefetch(&solo.all.rows[row.next])
            prefetch(&solo.book.levels[row.place >> 4])


# Apply up to BLOCK commands, for which there is room; returns how many were refused.
cdef inline int64_t run_block(solo_t *solo, const int64_t *commands, int count) noexcept nogil:
    cdef uint64_t hashes[BLOCK]
    cdef int64_t refused = 0
    cdef int i
    look_ahead(solo, commands, count, hashes)
    for i in range(count):
        refused += apply(solo, hashes[i], commands + COMMAND_WIDTH * i) < 0
    return refused
