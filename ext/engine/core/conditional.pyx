"""Stops, take-profits and trailing stops: where they wait, and when their turn comes."""

from libc.stdlib cimport free, qsort, realloc
from libc.string cimport memset

from engine.core.book cimport ORDER_LIVE, ORDER_PENDING, ORDER_TRIGGERED, order_t
from engine.core.fixed cimport max64, min64, mul, narrow
from engine.core.levels cimport book_free, book_init, drop_level, level_at, level_t
from engine.core.memory cimport larger
from engine.core.types cimport (
    BY_INDEX, BY_LAST, BY_MARK, HALT_ALL, HALT_AUCTION, HALT_CANCEL_ONLY, NIL, NONE, RATE_SCALE,
    SIDE_BUY, SIDE_SELL, TYPE_STOP_LIMIT, TYPE_STOP_MARKET, TYPE_TRAILING_STOP_MARKET,
)


cdef int compare_turns(const void *a, const void *b) noexcept nogil:
    cdef int64_t x = (<const turn_t *>a).arrival
    cdef int64_t y = (<const turn_t *>b).arrival
    return (x > y) - (x < y)


cdef class Conditional(Linked):
    """Orders that wait for a price."""

    def __dealloc__(self):
        cdef int32_t i
        for i in range(self.stop_count * REFERENCES):
            book_free(&self.stops[i])
            free(self.trails[i].rows)
        free(self.stops)
        free(self.trails)
        free(self.turns)

    # Room for the next symbol's stops.
    cdef int add_conditions(self) except -1 nogil:
        cdef int32_t i, wanted = (self.stop_count + 1) * REFERENCES
        cdef void *grown = realloc(self.stops, wanted * sizeof(book_t))
        if grown == NULL:
            raise MemoryError("stop books")
        self.stops = <book_t *>grown
        grown = realloc(self.trails, wanted * sizeof(trail_t))
        if grown == NULL:
            raise MemoryError("trailing stops")
        self.trails = <trail_t *>grown
        for i in range(wanted - REFERENCES, wanted):
            book_init(&self.stops[i])
            memset(&self.trails[i], 0, sizeof(trail_t))
        self.stop_count += 1
        return 0

    # A symbol's reference price in mark ticks, NONE while there is none.
    cdef int64_t reference(self, int32_t symbol, int by) except? -1 nogil:
        if by == BY_MARK:
            return self.instruments[symbol].mark
        if by == BY_INDEX:
            return self.instruments[symbol].index_price
        if self.books[symbol].last_price == NONE:
            return NONE
        return narrow(mul(
            self.books[symbol].last_price, self.instruments[symbol].marks_per_tick))

    # While a symbol takes no trades, nothing is triggered.
    cdef bint is_asleep(self, int32_t symbol) noexcept nogil:
        cdef int halt = self.instruments[symbol].halt
        return halt == HALT_CANCEL_ONLY or halt == HALT_ALL or halt == HALT_AUCTION

    # Whether an order waits for the reference to rise to its trigger, rather than to fall.
    cdef bint is_rising(self, int32_t order) noexcept nogil:
        cdef int kind = self.tickets[order].kind
        cdef bint is_stop = kind == TYPE_STOP_MARKET or kind == TYPE_STOP_LIMIT
        return is_stop == (self.orders[order].side == SIDE_BUY)

    cdef bint is_satisfied(self, int32_t order, int64_t price) noexcept nogil:
        cdef int64_t trigger = self.specials[self.tickets[order].special].trigger_price
        return price >= trigger if self.is_rising(order) else price <= trigger

    # --- waiting ----------------------------------------------------------------------

    # Let a pending order wait, or collect it where its condition holds already.
    cdef int wait(self, int32_t order) except -1 nogil:
        cdef special_t *special = &self.specials[self.tickets[order].special]
        cdef int32_t symbol = self.orders[order].symbol
        cdef int64_t price = NONE
        cdef int32_t book = symbol * REFERENCES + special.trigger_by
        cdef trail_t *trail
        if not self.is_asleep(symbol):
            price = self.reference(symbol, special.trigger_by)
        if self.tickets[order].kind == TYPE_TRAILING_STOP_MARKET:
            if price != NONE and self.trail(order, price):
                return self.collect(order)
            trail = &self.trails[book]
            if trail.count == trail.capacity:
                trail.rows = <int32_t *>larger(
                    trail.rows, &trail.capacity, trail.count + 1, sizeof(int32_t))
            special.slot = trail.count
            trail.rows[trail.count] = order
            trail.count += 1
            return 0
        if price != NONE and self.is_satisfied(order, price):
            return self.collect(order)
        return self.file_stop(order)

    # Put an order into its stop book. Places within a level mean nothing: turns are sorted.
    cdef int file_stop(self, int32_t order) except -1 nogil:
        cdef order_t *row = &self.orders[order]
        cdef special_t *special = &self.specials[self.tickets[order].special]
        cdef book_t *book = &self.stops[row.symbol * REFERENCES + special.trigger_by]
        cdef int side = SIDE_SELL if self.is_rising(order) else SIDE_BUY
        cdef level_t *level
        row.level = level_at(book, side, special.trigger_price)
        level = &book.levels[row.level]
        row.prev = level.tail
        row.next = NIL
        if level.tail < 0:
            level.head = order
        else:
            self.orders[level.tail].next = order
        level.tail = order
        level.count += 1
        return 0

    cdef int unfile_stop(self, int32_t order) except -1 nogil:
        cdef order_t *row = &self.orders[order]
        cdef special_t *special = &self.specials[self.tickets[order].special]
        cdef book_t *book = &self.stops[row.symbol * REFERENCES + special.trigger_by]
        cdef level_t *level = &book.levels[row.level]
        if row.prev < 0:
            level.head = row.next
        else:
            self.orders[row.prev].next = row.next
        if row.next < 0:
            level.tail = row.prev
        else:
            self.orders[row.next].prev = row.prev
        level.count -= 1
        if level.count == 0:
            drop_level(book, SIDE_SELL if self.is_rising(order) else SIDE_BUY, row.level)
        row.level = NIL
        return 0

    # Take an order out of wherever it waits.
    cdef int unfile_order(self, int32_t order) except -1 nogil:
        cdef special_t *special = &self.specials[self.tickets[order].special]
        cdef trail_t *trail
        cdef int32_t last
        if self.tickets[order].state == ORDER_TRIGGERED:
            self.turns[special.slot].order = NIL
        elif self.tickets[order].state != ORDER_PENDING:
            return 0
        elif self.tickets[order].kind == TYPE_TRAILING_STOP_MARKET:
            trail = &self.trails[self.orders[order].symbol * REFERENCES + special.trigger_by]
            trail.count -= 1
            last = trail.rows[trail.count]
            trail.rows[special.slot] = last
            self.specials[self.tickets[last].special].slot = special.slot
        else:
            self.unfile_stop(order)
        special.slot = NIL
        return 0

    # --- triggering -------------------------------------------------------------------

    # Queue an order that has been triggered and waits nowhere any more.
    cdef int collect(self, int32_t order) except -1 nogil:
        if self.turn_count == self.turn_capacity:
            self.turns = <turn_t *>larger(
                self.turns, &self.turn_capacity, self.turn_count + 1, sizeof(turn_t))
        self.turns[self.turn_count].order = order
        self.turns[self.turn_count].arrival = self.tickets[order].arrival
        self.specials[self.tickets[order].special].slot = self.turn_count
        self.turn_count += 1
        self.tickets[order].state = ORDER_TRIGGERED
        return 0

    cdef int on_last_price(self, int32_t symbol) except -1 nogil:
        return self.evaluate_reference(symbol, BY_LAST)

    # Collect what a reference price, as it is now, has triggered.
    cdef int evaluate_reference(self, int32_t symbol, int by) except -1 nogil:
        cdef book_t *book = &self.stops[symbol * REFERENCES + by]
        cdef int64_t price
        if (book.sides[0].best < 0 and book.sides[1].best < 0
                and self.trails[symbol * REFERENCES + by].count == 0):
            return 0
        price = self.reference(symbol, by)
        if price == NONE or self.is_asleep(symbol):
            return 0
        while book.sides[<int>SIDE_SELL].best >= 0 and (
                book.levels[book.sides[<int>SIDE_SELL].best].price <= price):
            self.collect_level(book, SIDE_SELL)
        while book.sides[<int>SIDE_BUY].best >= 0 and (
                book.levels[book.sides[<int>SIDE_BUY].best].price >= price):
            self.collect_level(book, SIDE_BUY)
        return self.evaluate_trails(symbol, by, price)

    cdef int collect_level(self, book_t *book, int side) except -1 nogil:
        cdef int32_t level = book.sides[side].best
        cdef int32_t order = book.levels[level].head
        cdef int32_t following
        while order >= 0:
            following = self.orders[order].next
            self.orders[order].level = NIL
            self.collect(order)
            order = following
        drop_level(book, side, level)
        return 0

    cdef int evaluate_trails(self, int32_t symbol, int by, int64_t price) except -1 nogil:
        cdef trail_t *trail = &self.trails[symbol * REFERENCES + by]
        cdef int32_t i = 0
        cdef int32_t order
        while i < trail.count:
            order = trail.rows[i]
            if self.trail(order, price):
                self.unfile_order(order)  # puts another in its place
                self.collect(order)
            else:
                i += 1
        return 0

    # Let a trailing stop see a reference price; whether that triggers it.
    cdef bint trail(self, int32_t order, int64_t price) except -1 nogil:
        cdef special_t *special = &self.specials[self.tickets[order].special]
        cdef bint is_sell = self.orders[order].side == SIDE_SELL
        if special.peak == NONE:
            if special.trigger_price != NONE and (
                    price < special.trigger_price if is_sell
                    else price > special.trigger_price):
                return False
            special.peak = price
        if is_sell:
            special.peak = max64(special.peak, price)
            return mul(price, RATE_SCALE) <= mul(
                special.peak, RATE_SCALE - special.callback_rate)
        special.peak = min64(special.peak, price)
        return mul(price, RATE_SCALE) >= mul(special.peak, RATE_SCALE + special.callback_rate)

    # A symbol that trades again looks at all its references as they are now.
    cdef int wake(self, int32_t symbol) except -1 nogil:
        self.evaluate_reference(symbol, BY_MARK)
        self.evaluate_reference(symbol, BY_LAST)
        return self.evaluate_reference(symbol, BY_INDEX)

    # The order whose turn it is, NIL if none is left. Those collected since the last look
    # come after the earlier ones, among themselves by arrival.
    cdef int32_t next_turn(self) except -2 nogil:
        cdef int32_t i, order
        if self.turn_sorted < self.turn_count:
            qsort(&self.turns[self.turn_sorted], self.turn_count - self.turn_sorted,
                  sizeof(turn_t), compare_turns)
            for i in range(self.turn_sorted, self.turn_count):
                order = self.turns[i].order
                if order >= 0:
                    self.specials[self.tickets[order].special].slot = i
            self.turn_sorted = self.turn_count
        while self.turn_head < self.turn_count:
            order = self.turns[self.turn_head].order
            self.turn_head += 1
            if order >= 0:
                self.tickets[order].state = ORDER_LIVE
                self.specials[self.tickets[order].special].slot = NIL
                return order
        self.turn_head = self.turn_count = self.turn_sorted = 0
        return NIL
