"""Price levels: the trie over their prices, and the list from best to worst."""

from libc.stdint cimport uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memset

from engine.core.fixed cimport violated
from engine.core.types cimport NONE, SIDE_BUY


cdef void book_init(book_t *book) noexcept nogil:
    cdef side_t *half
    cdef int side
    memset(book, 0, sizeof(book_t))
    book.free_level = -1
    book.last_price = book.last_trade_seq = NONE
    for side in range(2):
        half = &book.sides[side]
        half.best_key = NO_KEY
        half.flip = NO_KEY if side == SIDE_BUY else 0
        half.best = half.worst = half.free_node = -1
        half.side = side
        half.root = VACANT


cdef void book_free(book_t *book) noexcept nogil:
    free(book.levels)
    free(book.sides[0].nodes)
    free(book.sides[1].nodes)


cdef int64_t book_bytes(const book_t *book) noexcept nogil:
    return (book.level_capacity * <int64_t>sizeof(level_t)
            + book.sides[0].node_capacity * <int64_t>sizeof(node_t)
            + book.sides[1].node_capacity * <int64_t>sizeof(node_t))


cdef inline int32_t larger_capacity(int32_t capacity, int32_t wanted) noexcept nogil:
    cdef int32_t half_more = capacity + (capacity >> 1)
    return max(16, wanted, half_more)


cdef int levels_grow(book_t *book, int32_t more) noexcept nogil:
    cdef side_t *half
    cdef void *rows
    cdef int32_t capacity
    cdef int side
    if book.level_live + more > book.level_capacity:
        capacity = larger_capacity(book.level_capacity, book.level_live + more)
        rows = realloc(book.levels, <size_t>capacity * sizeof(level_t))
        if rows == NULL:
            return -1
        book.levels = <level_t *>rows
        book.level_capacity = capacity
    for side in range(2):
        half = &book.sides[side]
        if half.node_live + more > half.node_capacity:
            capacity = larger_capacity(half.node_capacity, half.node_live + more)
            rows = realloc(half.nodes, <size_t>capacity * sizeof(node_t))
            if rows == NULL:
                return -1
            half.nodes = <node_t *>rows
            if half.node_capacity == 0:
                half.nodes[0].stem = -1  # what hints name before there are any
            half.node_capacity = capacity
    return 0


# --- the trie -----------------------------------------------------------------------------

cdef inline int digit_of(int64_t key, int layer) noexcept nogil:
    return <int>((key >> 6 * layer) & 63)


# The digits above a layer's own; in two shifts, as 6 * layer + 6 may be all bits there are.
cdef inline int64_t stem_of(int64_t key, int layer) noexcept nogil:
    return key >> 6 * layer >> 6


cdef inline void remember(side_t *half, int64_t key, int32_t node) noexcept nogil:
    half.hints[(key >> 6) & (HINTS - 1)] = node


cdef int32_t level_walk(const book_t *book, side_t *half, int64_t key) noexcept nogil:
    cdef int32_t at = half.root
    cdef const node_t *node
    cdef int digit
    if at == VACANT:
        return -1
    while at >= 0:
        node = &half.nodes[at]
        if stem_of(key, node.layer) != node.stem:
            return -1
        if node.layer == 0:
            remember(half, key, at)
        digit = digit_of(key, node.layer)
        if not node.present >> digit & 1:
            return -1
        at = node.child[digit]
    return ~at if book.levels[~at].price ^ half.flip == key else -1


# The first or the last level below a child.
cdef int32_t level_below(const side_t *half, int32_t at, bint first) noexcept nogil:
    cdef const node_t *node
    while at >= 0:
        node = &half.nodes[at]
        at = node.child[lowest_bit(node.present) if first else highest_bit(node.present)]
    return ~at


# File a level in a node that has no such child yet; returns one of its two neighbours.
cdef int32_t add_child(side_t *half, node_t *node, int64_t key, int32_t row) noexcept nogil:
    cdef int digit = digit_of(key, node.layer)
    cdef uint64_t before = node.present & ((<uint64_t>1 << digit) - 1)
    cdef int32_t near = level_below(
        half, node.child[highest_bit(before) if before else lowest_bit(node.present)],
        before == 0)
    node.present |= <uint64_t>1 << digit
    node.child[digit] = ~row
    return near


cdef inline void put_child(side_t *half, int32_t parent, int64_t key, int32_t at) noexcept nogil:
    if parent < 0:
        half.root = at
    else:
        half.nodes[parent].child[digit_of(key, half.nodes[parent].layer)] = at
    if at >= 0:
        half.nodes[at].parent = parent


# Put a node where `at` hangs, for it and a new level: they part at their highest unlike digit.
cdef void fork(
    side_t *half, int32_t parent, int32_t at, int64_t other, int64_t key, int32_t row
) noexcept nogil:
    cdef int layer = layer_of_bit(<uint64_t>(key ^ other))
    cdef int32_t fresh = half.free_node
    cdef node_t *node
    if fresh >= 0:
        half.free_node = half.nodes[fresh].parent
    else:
        fresh = half.node_count
        half.node_count += 1
    half.node_live += 1
    node = &half.nodes[fresh]
    node.layer = layer
    node.stem = stem_of(key, layer)
    node.present = (<uint64_t>1 << digit_of(key, layer)) | (<uint64_t>1 << digit_of(other, layer))
    node.child[digit_of(key, layer)] = ~row
    node.child[digit_of(other, layer)] = at
    if at >= 0:
        half.nodes[at].parent = fresh
    put_child(half, parent, key, fresh)
    if layer == 0:
        remember(half, key, fresh)


# File a level that is not there; returns one of its two neighbours, NIL where it is alone.
cdef int32_t trie_insert(book_t *book, side_t *half, int64_t key, int32_t row) noexcept nogil:
    cdef int32_t at = half.root
    cdef int32_t parent = -1
    cdef int32_t near
    cdef int64_t other
    cdef node_t *node
    if at == VACANT:
        half.root = ~row
        return -1
    node = node_hinted(half, key)
    if node != NULL:
        return add_child(half, node, key, row)
    while at >= 0:
        node = &half.nodes[at]
        if stem_of(key, node.layer) != node.stem:
            other = node.stem << 6 << 6 * node.layer
            near = level_below(half, at, other > key)
            fork(half, parent, at, other, key, row)
            return near
        if not node.present >> digit_of(key, node.layer) & 1:
            return add_child(half, node, key, row)
        parent = at
        at = node.child[digit_of(key, node.layer)]
    fork(half, parent, at, book.levels[~at].price ^ half.flip, key, row)
    return ~at


cdef void trie_remove(side_t *half, int64_t key) noexcept nogil:
    cdef int32_t at = half.root
    cdef int32_t next_at
    cdef node_t *node
    if at < 0:
        half.root = VACANT
        return
    node = node_hinted(half, key)
    if node == NULL:
        while True:
            node = &half.nodes[at]
            next_at = node.child[digit_of(key, node.layer)]
            if next_at < 0:
                break
            at = next_at
    else:
        at = half.hints[(key >> 6) & (HINTS - 1)]
    node.present &= ~(<uint64_t>1 << digit_of(key, node.layer))
    if node.present & (node.present - 1):
        return
    # One child is left: it takes the node's place.
    put_child(half, node.parent, key, node.child[lowest_bit(node.present)])
    node.stem = -1
    node.parent = half.free_node
    half.free_node = at
    half.node_live -= 1


# --- levels -------------------------------------------------------------------------------

cdef int32_t level_make(book_t *book, int side, int64_t price) noexcept nogil:
    cdef side_t *half = &book.sides[side]
    cdef int64_t key = price ^ half.flip
    cdef int32_t row = book.free_level
    cdef int32_t near, better, worse
    cdef level_t *level
    if row >= 0:
        book.free_level = book.levels[row].worse
    else:
        row = book.level_count
        book.level_count += 1
    book.level_live += 1
    better = worse = near = trie_insert(book, half, key, row)
    if near >= 0:
        if book.levels[near].price ^ half.flip < key:
            worse = book.levels[near].worse
        else:
            better = book.levels[near].better
    level = &book.levels[row]
    level.price = price
    level.quantity = level.hidden = 0
    level.count = 0
    level.head = level.tail = -1
    level.better = better
    level.worse = worse
    if better < 0:
        half.best = row
        half.best_key = key
    else:
        book.levels[better].worse = row
    if worse < 0:
        half.worst = row
    else:
        book.levels[worse].better = row
    return row


cdef void drop_level(book_t *book, int side, int32_t row) noexcept nogil:
    cdef side_t *half = &book.sides[side]
    cdef level_t *level = &book.levels[row]
    trie_remove(half, level.price ^ half.flip)
    if level.better < 0:
        half.best = level.worse
        half.best_key = (
            NO_KEY if level.worse < 0 else book.levels[level.worse].price ^ half.flip)
    else:
        book.levels[level.better].worse = level.worse
    if level.worse < 0:
        half.worst = level.better
    else:
        book.levels[level.worse].better = level.better
    level.worse = book.free_level
    book.free_level = row
    book.level_live -= 1


# --- invariants ---------------------------------------------------------------------------

# Check what hangs below a child; returns how many levels.
cdef int64_t check_child(
    const book_t *book, const side_t *half, int32_t at, int32_t parent
) except -1 with gil:
    cdef const node_t *node
    cdef int64_t count = 0
    cdef int64_t key
    cdef int digit
    if at < 0:
        return 1
    node = &half.nodes[at]
    if node.parent != parent or node.present & (node.present - 1) == 0:
        violated(f"parent or children of node {at}")
    for digit in range(64):
        if node.present >> digit & 1:
            count += check_child(book, half, node.child[digit], at)
            key = book.levels[level_below(half, node.child[digit], True)].price ^ half.flip
            if stem_of(key, node.layer) != node.stem or digit_of(key, node.layer) != digit:
                violated(f"node {at} leads to another price by {digit}")
    return count


# Check levels and trie of both sides, not the orders. O(levels).
cdef int book_check(book_t *book) except -1 with gil:
    cdef side_t *half
    cdef const level_t *level
    cdef int32_t row, last
    cdef int64_t key, last_key, count, total
    cdef int side
    total = 0
    for side in range(2):
        half = &book.sides[side]
        row = half.best
        last = -1
        last_key = -1
        count = 0
        while row >= 0:
            level = &book.levels[row]
            key = level.price ^ half.flip
            # Best first, linked both ways, and where the trie says.
            if key <= last_key or level.better != last:
                violated(f"order of level row {row}")
            if level_find(book, side, level.price) != row or level_walk(book, half, key) != row:
                violated(f"level row {row} is not found by its price")
            last = row
            last_key = key
            row = level.worse
            count += 1
        if half.worst != last or half.best_key != (
                NO_KEY if half.best < 0 else book.levels[half.best].price ^ half.flip):
            violated(f"ends of side {side}")
        if (half.root == VACANT) != (count == 0):
            violated(f"root of side {side}")
        if count and check_child(book, half, half.root, -1) != count:
            violated(f"levels in the trie of side {side}")
        total += count
    if total != book.level_live:
        violated(f"{total} levels, {book.level_live} are counted")
    if book.sides[0].best_key != NO_KEY and book.sides[1].best_key != NO_KEY:
        if best_price(book, 0, 0) >= best_price(book, 1, 0):
            violated("crossed book")
    return 0
