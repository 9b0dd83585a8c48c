"""The order book: levels, queues and the sweep of a taker through them."""

from libc.stdlib cimport free
from libc.string cimport memset

from engine.core.fixed cimport min64, violated
from engine.core.memory cimport larger
from engine.core.tables cimport table_free, table_init
from engine.core.types cimport (
    CANCEL_REDUCE_ONLY, CANCEL_SELF_TRADE, FLAG_LIQUIDATION, MARKET_ADD, MARKET_CHANGE,
    MARKET_DELETE, NONE, SIDE_BUY, STP_CANCEL_BOTH, STP_CANCEL_MAKER, STP_DECREMENT, STP_NONE,
)

cdef extern from *:
    """
    #define engine_lowest(x) __builtin_ctzll(x)
    #define engine_highest(x) (63 - __builtin_clzll(x))
    """
    int lowest_bit "engine_lowest"(uint64_t x) noexcept nogil
    int highest_bit "engine_highest"(uint64_t x) noexcept nogil


# --- the trie: price -> level row, and the nearest level on either side ----------------

cdef int32_t trie_new_node(trie_t *trie) except -1:
    cdef int32_t row
    if trie.free >= 0:
        row = trie.free
        trie.free = trie.nodes[row].child[0]
    else:
        if trie.count == trie.capacity:
            trie.nodes = <trie_node_t *>larger(
                trie.nodes, &trie.capacity, trie.count + 1, sizeof(trie_node_t))
        row = trie.count
        trie.count += 1
    trie.nodes[row].present = 0
    return row


cdef inline int digit_of(int64_t price, int layer) noexcept nogil:
    return <int>((price >> (6 * layer)) & 63)


cdef inline bint trie_covers(const trie_t *trie, int64_t price) noexcept nogil:
    return trie.layers * 6 >= 63 or (price >> (6 * trie.layers)) == 0


cdef int32_t trie_find(const trie_t *trie, int64_t price) noexcept nogil:
    cdef int32_t node = trie.root
    cdef int layer = trie.layers
    cdef int digit
    if node < 0 or not trie_covers(trie, price):
        return -1
    while layer > 0:
        layer -= 1
        digit = digit_of(price, layer)
        if not trie.nodes[node].present >> digit & 1:
            return -1
        node = trie.nodes[node].child[digit]
    return node


# The level next to `price` among those present: above it (`up`) or below it; NIL if none.
cdef int32_t trie_neighbour(const trie_t *trie, int64_t price, bint up) noexcept nogil:
    cdef int32_t path[11]
    cdef int32_t node = trie.root
    cdef int layer = trie.layers
    cdef int digit
    cdef uint64_t rest
    if node < 0:
        return -1
    if not trie_covers(trie, price):
        if up:
            return -1
        return trie_extreme(trie, node, layer, False)
    while layer > 0:
        layer -= 1
        path[layer] = node
        digit = digit_of(price, layer)
        if layer == 0 or not trie.nodes[node].present >> digit & 1:
            break
        node = trie.nodes[node].child[digit]
    while layer < trie.layers:
        node = path[layer]
        digit = digit_of(price, layer)
        if up:
            rest = 0 if digit == 63 else trie.nodes[node].present >> (digit + 1) << (digit + 1)
        else:
            rest = trie.nodes[node].present & ((<uint64_t>1 << digit) - 1)
        if rest:
            digit = lowest_bit(rest) if up else highest_bit(rest)
            return trie_extreme(trie, trie.nodes[node].child[digit], layer, up)
        layer += 1
    return -1


# The lowest (or highest) level under a node that has `layers` layers below it.
cdef int32_t trie_extreme(
    const trie_t *trie, int32_t node, int layers, bint lowest
) noexcept nogil:
    cdef uint64_t present
    while layers > 0:
        layers -= 1
        present = trie.nodes[node].present
        node = trie.nodes[node].child[lowest_bit(present) if lowest else highest_bit(present)]
    return node


cdef int trie_insert(trie_t *trie, int64_t price, int32_t level) except -1:
    cdef int32_t node, child
    cdef int layer, digit
    if trie.root < 0:
        # As high as the price needs at once: a root grown later must not be empty below.
        trie.root = trie_new_node(trie)
        trie.layers = 1
        while not trie_covers(trie, price):
            trie.layers += 1
    while not trie_covers(trie, price):
        node = trie_new_node(trie)
        trie.nodes[node].present = 1
        trie.nodes[node].child[0] = trie.root
        trie.root = node
        trie.layers += 1
    node = trie.root
    layer = trie.layers
    while True:
        layer -= 1
        digit = digit_of(price, layer)
        if layer == 0:
            break
        if not trie.nodes[node].present >> digit & 1:
            child = trie_new_node(trie)
            trie.nodes[node].present |= <uint64_t>1 << digit
            trie.nodes[node].child[digit] = child
        node = trie.nodes[node].child[digit]
    trie.nodes[node].present |= <uint64_t>1 << digit
    trie.nodes[node].child[digit] = level
    return 0


cdef void trie_remove(trie_t *trie, int64_t price) noexcept nogil:
    cdef int32_t path[11]
    cdef int32_t node = trie.root
    cdef int layer = trie.layers
    while layer > 0:
        layer -= 1
        path[layer] = node
        node = trie.nodes[node].child[digit_of(price, layer)]
    # Clear the bit; a node left empty is freed and cleared in its parent.
    while layer < trie.layers:
        node = path[layer]
        trie.nodes[node].present &= ~(<uint64_t>1 << digit_of(price, layer))
        if trie.nodes[node].present:
            return
        trie.nodes[node].child[0] = trie.free
        trie.free = node
        layer += 1
    trie.root = -1
    trie.layers = 0


# --- levels -----------------------------------------------------------------------------

cdef int book_init(book_t *book) except -1:
    cdef int side
    memset(book, 0, sizeof(book_t))
    book.free_level = -1
    book.last_price = NONE
    for side in range(2):
        book.sides[side].best = book.sides[side].worst = -1
        book.sides[side].side = side
        book.sides[side].trie.root = book.sides[side].trie.free = -1
    return 0


cdef void book_free(book_t *book) noexcept nogil:
    free(book.levels)
    free(book.sides[0].trie.nodes)
    free(book.sides[1].trie.nodes)


cdef int32_t new_level(book_t *book) except -1:
    cdef int32_t row
    if book.free_level >= 0:
        row = book.free_level
        book.free_level = book.levels[row].worse
        return row
    if book.level_count == book.level_capacity:
        book.levels = <level_t *>larger(
            book.levels, &book.level_capacity, book.level_count + 1, sizeof(level_t))
    row = book.level_count
    book.level_count += 1
    return row


# The level of a price, made where it is missing and linked between its neighbours.
cdef int32_t level_at(book_t *book, int side, int64_t price) except -1:
    cdef side_t *half = &book.sides[side]
    cdef int32_t row = trie_find(&half.trie, price)
    cdef int32_t better
    if row >= 0:
        return row
    # The better neighbour of a bid is the next higher price, of an ask the next lower.
    better = trie_neighbour(&half.trie, price, side == SIDE_BUY)
    row = new_level(book)
    trie_insert(&half.trie, price, row)
    book.levels[row].price = price
    book.levels[row].quantity = book.levels[row].hidden = 0
    book.levels[row].count = 0
    book.levels[row].head = book.levels[row].tail = -1
    book.levels[row].better = better
    book.levels[row].worse = half.best if better < 0 else book.levels[better].worse
    if better < 0:
        half.best = row
    else:
        book.levels[better].worse = row
    if book.levels[row].worse < 0:
        half.worst = row
    else:
        book.levels[book.levels[row].worse].better = row
    return row


cdef void drop_level(book_t *book, int side, int32_t row) noexcept nogil:
    cdef side_t *half = &book.sides[side]
    cdef level_t *level = &book.levels[row]
    trie_remove(&half.trie, level.price)
    if level.better < 0:
        half.best = level.worse
    else:
        book.levels[level.better].worse = level.worse
    if level.worse < 0:
        half.worst = level.better
    else:
        book.levels[level.worse].better = level.better
    level.worse = book.free_level
    book.free_level = row


# --- the desk ---------------------------------------------------------------------------

cdef class Desk:
    """Orders of all books of one exchange, and price-time-priority matching."""

    def __cinit__(self):
        self.free_order = -1
        table_init(&self.order_table, 1024)

    def __dealloc__(self):
        cdef int32_t i
        for i in range(self.book_count):
            book_free(&self.books[i])
        free(self.books)
        free(self.orders)
        free(self.tickets)
        table_free(&self.order_table)

    cdef int32_t new_book(self) except -1:
        if self.book_count == self.book_capacity:
            self.books = <book_t *>larger(
                self.books, &self.book_capacity, self.book_count + 1, sizeof(book_t))
        book_init(&self.books[self.book_count])
        self.book_count += 1
        return self.book_count - 1

    cdef int32_t new_order(self) except -1:
        cdef int32_t row = self.free_order
        if row >= 0:
            self.free_order = self.orders[row].next
        else:
            if self.order_count == self.order_capacity:
                self.grow_orders()
            row = self.order_count
            self.order_count += 1
        memset(&self.orders[row], 0, sizeof(order_t))
        memset(&self.tickets[row], 0, sizeof(ticket_t))
        self.orders[row].level = -1
        self.tickets[row].special = -1
        return row

    cdef int grow_orders(self) except -1:
        cdef int32_t capacity = self.order_capacity
        self.tickets = <ticket_t *>larger(
            self.tickets, &capacity, self.order_count + 1, sizeof(ticket_t))
        self.orders = <order_t *>larger(
            self.orders, &self.order_capacity, self.order_count + 1, sizeof(order_t))
        return 0

    cdef void free_order_row(self, int32_t row) noexcept:
        self.orders[row].next = self.free_order
        self.free_order = row

    # Put an order at the back of its price level.
    cdef int rest(self, int32_t row) except -1:
        cdef order_t *order = &self.orders[row]
        cdef book_t *book = &self.books[order.symbol]
        cdef int32_t level_row = level_at(book, order.side, order.price)
        cdef level_t *level = &book.levels[level_row]
        order.level = level_row
        order.is_resting = 1
        order.prev = level.tail
        order.next = -1
        if level.tail < 0:
            level.head = row
        else:
            self.orders[level.tail].next = row
        level.tail = row
        level.count += 1
        level.quantity += order.leaves - order.hidden
        level.hidden += order.hidden
        if book.is_published:
            self.on_display(row, MARKET_ADD, 0, order.leaves - order.hidden)
        return 0

    # Take an order off its level. The level keeps counting its leaves until here. An order
    # that displays nothing any more has been reported gone by what took its lots.
    cdef int unrest(self, int32_t row) except -1:
        cdef order_t *order = &self.orders[row]
        cdef book_t *book = &self.books[order.symbol]
        cdef level_t *level = &book.levels[order.level]
        if order.prev < 0:
            level.head = order.next
        else:
            self.orders[order.prev].next = order.next
        if order.next < 0:
            level.tail = order.prev
        else:
            self.orders[order.next].prev = order.prev
        if book.is_published and order.leaves > order.hidden:
            self.on_display(row, MARKET_DELETE, order.leaves - order.hidden, 0)
        level.count -= 1
        level.quantity -= order.leaves - order.hidden
        level.hidden -= order.hidden
        if level.count == 0:
            drop_level(book, order.side, order.level)
        order.level = -1
        order.is_resting = 0
        order.hidden = 0
        return 0

    # Take lots off a resting order, hidden ones first.
    cdef int take_off(self, int32_t row, int64_t lots) except -1:
        cdef order_t *order = &self.orders[row]
        cdef level_t *level = &self.books[order.symbol].levels[order.level]
        cdef int64_t hidden = min64(order.hidden, lots)
        order.hidden -= hidden
        level.hidden -= hidden
        level.quantity -= lots - hidden
        order.leaves -= lots
        if self.books[order.symbol].is_published and lots > hidden:
            self.on_display(
                row, MARKET_CHANGE if order.leaves else MARKET_DELETE,
                order.leaves - order.hidden + lots - hidden, order.leaves - order.hidden)
        return 0

    # Display an iceberg's next part, at the back of its level.
    cdef int show_next_part(self, int32_t row, int64_t display) except -1:
        cdef int64_t hidden = self.orders[row].leaves - min64(display, self.orders[row].leaves)
        self.unrest(row)
        self.orders[row].hidden = hidden
        return self.rest(row)

    # Trade a taker against the other side, best price first, oldest order first, until it
    # is filled, its limit (NONE: none) is reached, or it is cancelled on the way.
    # Returns 1 where the taker was cancelled (its row may be gone), else 0.
    cdef int sweep(self, int32_t taker, int64_t limit) except -1:
        cdef int side = self.orders[taker].side
        cdef int32_t symbol = self.orders[taker].symbol
        cdef int32_t level_row, maker
        cdef int64_t lots, price
        cdef bint is_moved
        while self.orders[taker].leaves > 0:
            level_row = self.books[symbol].sides[1 - side].best
            if level_row < 0:
                break
            price = self.books[symbol].levels[level_row].price
            if not within_limit(side, price, limit):
                break
            maker = self.books[symbol].levels[level_row].head
            lots = min64(
                self.orders[taker].leaves, self.orders[maker].leaves - self.orders[maker].hidden)
            if self.orders[taker].is_reduce_only and not self.tickets[taker].is_liquidation:
                lots = min64(lots, self.reducible(taker))
                if lots == 0:
                    self.on_cancel(taker, CANCEL_REDUCE_ONLY)
                    return 1
            if self.orders[taker].stp != STP_NONE and self.is_same_owner(
                    self.orders[taker].account, self.orders[maker].account):
                if self.prevent_self_trade(taker, maker):
                    return 1
                continue
            if self.orders[maker].is_reduce_only:
                lots = min64(lots, self.reducible(maker))
                if lots == 0:
                    violated("a resting reduce-only order has nothing to reduce")
            is_moved = self.books[symbol].last_price != price
            self.books[symbol].last_price = price
            self.books[symbol].levels[level_row].quantity -= lots
            self.orders[taker].leaves -= lots
            self.orders[maker].leaves -= lots
            if self.books[symbol].is_published:
                self.publish_fill(taker, maker, lots, price)
            if self.orders[maker].leaves == 0:
                self.unrest(maker)
            elif self.orders[maker].leaves == self.orders[maker].hidden:
                self.on_used_up(maker)
            self.on_trade(taker, maker, price, lots)
            if is_moved:
                self.on_last_price(symbol)
        return 0

    cdef int publish_fill(
        self, int32_t taker, int32_t maker, int64_t lots, int64_t price
    ) except -1:
        cdef int64_t shown = self.orders[maker].leaves - self.orders[maker].hidden
        return self.on_execution(
            maker, shown + lots, shown, lots, price,
            FLAG_LIQUIDATION if self.tickets[taker].is_liquidation else 0)

    # The taker's mode decides. Returns 1 where the taker is cancelled.
    cdef int prevent_self_trade(self, int32_t taker, int32_t maker) except -1:
        cdef int mode = self.orders[taker].stp
        cdef int64_t lots
        if mode == STP_DECREMENT:
            lots = min64(self.orders[taker].leaves, self.orders[maker].leaves)
            self.take_off(maker, lots)
            self.tickets[maker].quantity -= lots
            self.orders[taker].leaves -= lots
            self.tickets[taker].quantity -= lots
            if self.orders[maker].leaves > 0:
                self.on_change(maker)
            else:
                self.unrest(maker)
                self.on_cancel(maker, CANCEL_SELF_TRADE)
            if self.orders[taker].leaves > 0:
                return 0
            self.on_cancel(taker, CANCEL_SELF_TRADE)
            return 1
        if mode == STP_CANCEL_MAKER or mode == STP_CANCEL_BOTH:
            self.unrest(maker)
            self.on_cancel(maker, CANCEL_SELF_TRADE)
        if mode == STP_CANCEL_MAKER:
            return 0
        self.on_cancel(taker, CANCEL_SELF_TRADE)
        return 1

    cdef int64_t reducible(self, int32_t row) except -1:
        return self.orders[row].leaves

    cdef bint is_same_owner(self, int32_t a, int32_t b) noexcept:
        return a == b

    cdef int on_used_up(self, int32_t row) except -1:
        return 0

    cdef int on_trade(self, int32_t taker, int32_t maker, int64_t price, int64_t lots) except -1:
        return 0

    cdef int on_last_price(self, int32_t symbol) except -1:
        return 0

    cdef int on_change(self, int32_t row) except -1:
        return 0

    cdef int on_cancel(self, int32_t row, int reason) except -1:
        return 0

    cdef int on_display(self, int32_t row, int kind, int64_t before, int64_t after) except -1:
        return 0

    cdef int on_execution(
        self, int32_t row, int64_t before, int64_t after, int64_t lots, int64_t price,
        int detail
    ) except -1:
        return 0
