# The price levels of a book: a list from best to worst on each side, and a trie over the
# prices that finds a level, or where a new one belongs.
#
# Both sides are filed by a key in which lower is better: an ask's price, a bid's price with
# its bits inverted. So there is one code for both, without asking which side it is.
#
# The trie has 64 children to a node and only nodes with at least two of them: a level that
# is alone in its part of the price range hangs right where its path leaves the others'. So
# a level costs at most one node however far away it lies, and a walk is as long as prices
# have digits in which they differ. Near the touch there is no walk: a side remembers some
# of its lowest nodes by their prices.
#
# Capacity first: `levels_reserve` may fail and changes nothing then; with room ensured no
# other function here can fail.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from engine.core.types cimport NIL

cdef enum:
    HINTS = 256                  # lowest nodes that a side remembers, a power of two
    VACANT = -2147483648         # the root of an empty trie

cdef struct level_t:
    int64_t price                # ticks
    int64_t quantity             # lots, sum of what is displayed
    int64_t hidden               # lots behind that (icebergs)
    int32_t head, tail           # orders, first to trade first
    int32_t better, worse        # neighbouring levels; worse also links free rows
    int32_t count                # orders

# A child is a node row, or ~row of a level. Digits are six bits of the key; a node of layer
# n tells keys apart by digit n, all digits above are the same.
cdef struct node_t:
    uint64_t present             # which children exist, at least two
    int64_t stem                 # the digits above; -1 in a free row
    int32_t layer
    int32_t parent               # NIL: it is the root; also links free rows
    int32_t child[64]

cdef struct side_t:
    int64_t best_key             # of the best level, NO_KEY where the side is empty
    int64_t flip                 # price ^ flip is the key
    int32_t best, worst          # level rows, NIL: empty
    int32_t side                 # Side
    int32_t root                 # as a child; VACANT: empty
    int32_t node_count, node_capacity, node_live, free_node
    node_t *nodes
    int32_t hints[HINTS]         # node rows by the last bits of the stem; may be out of date

cdef struct book_t:
    side_t sides[2]              # indexed by Side
    level_t *levels
    int32_t level_count, level_capacity, level_live
    int32_t free_level
    int64_t last_price           # ticks of the last trade, NONE before the first
    int64_t last_trade_seq       # `seq` of that trade's event, NONE; no part of the digest
    int64_t market_seq           # market-data messages so far; no part of the state
    uint8_t is_published         # market data is on
    uint8_t checks_makers        # makers must still have their margin when they are matched

cdef extern from *:
    """
    #ifndef ENGINE_LEVELS
    #define ENGINE_LEVELS
    #define ENGINE_NO_KEY 9223372036854775807LL
    #define engine_lowest(x) __builtin_ctzll(x)
    #define engine_highest(x) (63 - __builtin_clzll(x))
    #define engine_layer(x) ((63 - __builtin_clzll(x)) / 6)
    #endif
    """
    const int64_t NO_KEY "ENGINE_NO_KEY"
    int lowest_bit "engine_lowest"(uint64_t x) noexcept nogil
    int highest_bit "engine_highest"(uint64_t x) noexcept nogil
    int layer_of_bit "engine_layer"(uint64_t x) noexcept nogil

cdef void book_init(book_t *book) noexcept nogil
cdef void book_free(book_t *book) noexcept nogil
cdef int64_t book_bytes(const book_t *book) noexcept nogil

# Raise InvariantViolation where something is wrong with levels or trie. O(levels).
cdef int book_check(book_t *book) except -1 nogil

# Room for as many more levels, on either side. Returns -1 where there is no memory.
cdef int levels_grow(book_t *book, int32_t more) noexcept nogil

# What `level_find` and `level_at` do where it takes more than a look.
cdef int32_t level_walk(const book_t *book, side_t *half, int64_t key) noexcept nogil
cdef int32_t level_make(book_t *book, int side, int64_t price) noexcept nogil
cdef void drop_level(book_t *book, int side, int32_t row) noexcept nogil


cdef inline int levels_reserve(book_t *book, int32_t more) noexcept nogil:
    if (book.level_live + more <= book.level_capacity
            and book.sides[0].node_live + more <= book.sides[0].node_capacity
            and book.sides[1].node_live + more <= book.sides[1].node_capacity):
        return 0
    return levels_grow(book, more)


# The lowest node of a key if the side remembers it, else NULL.
cdef inline node_t *node_hinted(const side_t *half, int64_t key) noexcept nogil:
    cdef node_t *node = &half.nodes[half.hints[(key >> 6) & (HINTS - 1)]]
    return node if node.stem == key >> 6 and node.layer == 0 else NULL


# The level of a price, NIL where there is none.
cdef inline int32_t level_find(book_t *book, int side, int64_t price) noexcept nogil:
    cdef side_t *half = &book.sides[side]
    cdef int64_t key = price ^ half.flip
    cdef node_t *node
    if half.root == VACANT:
        return -1
    node = node_hinted(half, key)
    if node == NULL:
        return level_walk(book, half, key)
    if node.present >> (key & 63) & 1:
        return ~node.child[key & 63]
    return -1


# The level of a price, made where it is missing.
cdef inline int32_t level_at(book_t *book, int side, int64_t price) except -1 nogil:
    cdef int32_t row = level_find(book, side, price)
    if row < 0:
        if levels_reserve(book, 1) < 0:
            raise MemoryError("price levels")
        row = level_make(book, side, price)
    return row


cdef inline int64_t best_price(const book_t *book, int side, int64_t none) noexcept nogil:
    cdef int32_t level = book.sides[side].best
    return none if level < 0 else book.levels[level].price
