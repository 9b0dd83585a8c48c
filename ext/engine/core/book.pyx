"""The desk: orders, their queues at the levels, and the sweep of a taker through them."""

from libc.stdlib cimport free
from libc.string cimport memset

from engine.core.fixed cimport min64, violated
from engine.core.levels cimport book_free, book_init, book_t, drop_level, level_at, level_t
from engine.core.memory cimport larger
from engine.core.tables cimport table_free, table_init
from engine.core.types cimport (
    CANCEL_REDUCE_ONLY, CANCEL_SELF_TRADE, CANCEL_UNDERCOLLATERALIZED, FLAG_LIQUIDATION,
    MARKET_ADD, MARKET_CHANGE, MARKET_DELETE, STP_CANCEL_BOTH, STP_CANCEL_MAKER, STP_DECREMENT,
    STP_NONE,
)


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

    cdef int32_t new_book(self) except -1 nogil:
        if self.book_count == self.book_capacity:
            self.books = <book_t *>larger(
                self.books, &self.book_capacity, self.book_count + 1, sizeof(book_t))
        book_init(&self.books[self.book_count])
        self.book_count += 1
        return self.book_count - 1

    cdef int32_t new_order(self) except -1 nogil:
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

    cdef int grow_orders(self) except -1 nogil:
        cdef int32_t capacity = self.order_capacity
        self.tickets = <ticket_t *>larger(
            self.tickets, &capacity, self.order_count + 1, sizeof(ticket_t))
        self.orders = <order_t *>larger(
            self.orders, &self.order_capacity, self.order_count + 1, sizeof(order_t))
        return 0

    cdef void free_order_row(self, int32_t row) noexcept nogil:
        self.orders[row].next = self.free_order
        self.free_order = row

    # Put an order at the back of its price level.
    cdef int rest(self, int32_t row) except -1 nogil:
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
    cdef int unrest(self, int32_t row) except -1 nogil:
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
    cdef int take_off(self, int32_t row, int64_t lots) except -1 nogil:
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
    cdef int show_next_part(self, int32_t row, int64_t display) except -1 nogil:
        cdef int64_t hidden = self.orders[row].leaves - min64(display, self.orders[row].leaves)
        self.unrest(row)
        self.orders[row].hidden = hidden
        return self.rest(row)

    # Trade a taker against the other side, best price first, oldest order first, until it
    # is filled, its limit (NONE: none) is reached, or it is cancelled on the way.
    # Returns 1 where the taker was cancelled (its row may be gone), else 0.
    cdef int sweep(self, int32_t taker, int64_t limit) except -1 nogil:
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
            if self.would_reduce_nothing(taker, maker) and not self.tickets[taker].is_liquidation:
                if self.orders[taker].is_reduce_only:
                    self.on_cancel(taker, CANCEL_REDUCE_ONLY)
                    return 1
                self.unrest(maker)
                self.on_cancel(maker, CANCEL_REDUCE_ONLY)
                continue
            if self.orders[maker].is_reduce_only:
                lots = min64(lots, self.reducible(maker))
                if lots == 0:
                    with gil:
                        violated("a resting reduce-only order has nothing to reduce")
            if self.books[symbol].checks_makers and not self.may_match(maker, lots):
                self.unrest(maker)
                self.on_cancel(maker, CANCEL_UNDERCOLLATERALIZED)
                continue
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
    ) except -1 nogil:
        cdef int64_t shown = self.orders[maker].leaves - self.orders[maker].hidden
        return self.on_execution(
            maker, shown + lots, shown, lots, price,
            FLAG_LIQUIDATION if self.tickets[taker].is_liquidation else 0)

    # The taker's mode decides. Returns 1 where the taker is cancelled.
    cdef int prevent_self_trade(self, int32_t taker, int32_t maker) except -1 nogil:
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

    cdef int64_t reducible(self, int32_t row) except -1 nogil:
        return self.orders[row].leaves

    cdef bint may_match(self, int32_t maker, int64_t lots) except -1 nogil:
        return True

    cdef bint is_same_owner(self, int32_t a, int32_t b) noexcept nogil:
        return a == b

    cdef int on_used_up(self, int32_t row) except -1 nogil:
        return 0

    cdef int on_trade(
        self, int32_t taker, int32_t maker, int64_t price, int64_t lots
    ) except -1 nogil:
        return 0

    cdef int on_last_price(self, int32_t symbol) except -1 nogil:
        return 0

    cdef int on_change(self, int32_t row) except -1 nogil:
        return 0

    cdef int on_cancel(self, int32_t row, int reason) except -1 nogil:
        return 0

    cdef int on_display(self, int32_t row, int kind, int64_t before, int64_t after) except -1 nogil:
        return 0

    cdef int on_execution(
        self, int32_t row, int64_t before, int64_t after, int64_t lots, int64_t price,
        int detail
    ) except -1 nogil:
        return 0
