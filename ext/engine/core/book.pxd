# The order book. Read levels.pxd first (levels and books), then this: the order, and the
# desk that owns all orders and matches.
#
# An order is a row of the desk's two slabs, hot and cold; levels are rows of the book's
# slab; links are row numbers, so a copy of the arrays is a copy of the book.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from engine.core.levels cimport book_t
from engine.core.tables cimport table_home, table_next, table_remove, table_t, table_tag
from engine.core.types cimport NONE

cdef extern from "Python.h" nogil:
    ctypedef struct PyGILState_STATE:
        pass
    PyGILState_STATE PyGILState_Ensure()
    void PyGILState_Release(PyGILState_STATE state)
    int PyGILState_Check()

# What matching and the queues need of an order: read by every sweep, hence small.
cdef struct order_t:
    int64_t order_id             # the client's
    int64_t price                # ticks; NONE for a market order
    int64_t leaves               # lots, open
    int64_t hidden               # of these, not displayed (icebergs)
    int32_t account              # account row
    int32_t symbol               # book number
    int32_t level                # level row, NIL when not resting
    int32_t prev, next           # neighbours in the level's queue; next also links free rows
    uint8_t side
    uint8_t stp
    uint8_t is_reduce_only
    uint8_t is_resting           # in a level

# What else its owner's side of the house knows of an order; same row number.
cdef struct ticket_t:
    int64_t quantity             # lots, total
    int64_t reserved             # lots that count in its owner's order margin, or reduce-only
    int64_t arrival              # number of its acceptance
    int32_t position             # position row of (account, symbol)
    int32_t own_prev, own_next   # neighbours among the owner's orders of this symbol
    int32_t changed              # 1 + place in the list of changed orders, 0: not in it
    int32_t special              # row of its special terms, NIL: a plain order
    uint8_t kind                 # OrderType
    uint8_t time_in_force
    uint8_t is_post_only
    uint8_t is_liquidation       # an internal taker: no id, not in the table
    uint8_t state                # OrderState

# Where an order is in its life.
cdef enum OrderState:
    ORDER_LIVE = 0               # in the book, or the taker under way
    ORDER_PENDING = 1            # waits for its trigger
    ORDER_TRIGGERED = 2          # waits for its turn inside the command
    ORDER_UNARMED = 3            # a bracket's child before the entry's first fill

# Whether a taker of `side` with this limit accepts a trade at `price`.
cdef inline bint within_limit(int side, int64_t price, int64_t limit) noexcept nogil:
    if limit == NONE:
        return True
    return price <= limit if side == 0 else price >= limit


# All orders of all books of one exchange, and the matching rule. What a trade or a
# cancel means to anyone's money is the subclass's: it overrides the hooks.
cdef class Desk:
    cdef order_t *orders
    cdef ticket_t *tickets
    cdef int32_t order_count, order_capacity, free_order
    cdef table_t order_table     # (account row, order id) -> order row
    # Whether `run` has let go of the GIL, and with what `hold` took it back. Written by
    # whoever has the GIL alone: others look at it, to know whether a batch is under way.
    cdef bint is_unlocked
    cdef PyGILState_STATE taken_back
    cdef book_t *books
    cdef int32_t book_count, book_capacity

    cdef int32_t new_book(self) except -1 nogil
    cdef int32_t new_order(self) except -1 nogil
    cdef int grow_orders(self) except -1 nogil
    cdef void free_order_row(self, int32_t row) noexcept nogil
    cdef int rest(self, int32_t row) except -1 nogil
    cdef int unrest(self, int32_t row) except -1 nogil
    cdef int sweep(self, int32_t taker, int64_t limit) except -1 nogil
    cdef int take_off(self, int32_t row, int64_t lots) except -1 nogil
    cdef int show_next_part(self, int32_t row, int64_t display) except -1 nogil
    cdef int publish_fill(
        self, int32_t taker, int32_t maker, int64_t lots, int64_t price) except -1 nogil
    cdef int prevent_self_trade(self, int32_t taker, int32_t maker) except -1 nogil

    # The row of an account's order, NIL where the id is free.
    cdef inline int32_t find_id(self, int32_t account, int64_t order_id) noexcept nogil:
        cdef uint32_t tag = table_tag(account, order_id)
        cdef uint64_t at = table_home(&self.order_table, tag)
        cdef int32_t row = table_next(&self.order_table, tag, &at)
        while row >= 0 and not (
            self.orders[row].order_id == order_id and self.orders[row].account == account
        ):
            row = table_next(&self.order_table, tag, &at)
        return row

    # The id of an order is free again.
    cdef inline void forget_id(self, int32_t row) noexcept nogil:
        table_remove(
            &self.order_table, table_tag(self.orders[row].account, self.orders[row].order_id), row)

    # Take the GIL back for the rest of the batch: what comes now works with Python's
    # containers, and asking for it each time would have every such place wait for whoever
    # else runs. Outside of `run`, and from the second time on, only a comparison.
    cdef inline void hold(self) noexcept nogil:
        if self.is_unlocked:
            self.taken_back = PyGILState_Ensure()
            self.is_unlocked = False

    # Whether an order with this limit would trade at all.
    cdef inline bint meets(self, int32_t taker, int64_t limit) noexcept nogil:
        cdef const order_t *order = &self.orders[taker]
        cdef const book_t *book = &self.books[order.symbol]
        cdef int32_t level = book.sides[1 - order.side].best
        return level >= 0 and within_limit(order.side, book.levels[level].price, limit)

    # Hooks. `reducible` is asked for reduce-only orders alone, `may_match` where a book checks
    # its makers; `on_trade` follows the change
    # of both orders' leaves; `on_cancel` gets an order that is off the book already;
    # `on_used_up` an iceberg whose displayed part is gone; `is_same_owner` compares accounts.
    # `on_display` and `on_execution` hear what changes in a published book, and how many lots
    # an order displayed before and after; they look and change nothing.
    cdef int64_t reducible(self, int32_t row) except -1 nogil
    cdef bint may_match(self, int32_t maker, int64_t lots) except -1 nogil
    cdef bint is_same_owner(self, int32_t a, int32_t b) noexcept nogil
    cdef int on_used_up(self, int32_t row) except -1 nogil
    cdef int on_trade(
        self, int32_t taker, int32_t maker, int64_t price, int64_t lots) except -1 nogil
    cdef int on_last_price(self, int32_t symbol) except -1 nogil
    cdef int on_change(self, int32_t row) except -1 nogil
    cdef int on_cancel(self, int32_t row, int reason) except -1 nogil
    cdef int on_display(self, int32_t row, int kind, int64_t before, int64_t after) except -1 nogil
    cdef int on_execution(
        self, int32_t row, int64_t before, int64_t after, int64_t lots, int64_t price,
        int detail) except -1 nogil

    # Whether two orders on one position meet, one of them reduce-only: their trade would
    # leave the position as it is, and the reduce-only order with as much to do as before.
    cdef inline bint would_reduce_nothing(self, int32_t one, int32_t other) noexcept nogil:
        return (self.orders[one].is_reduce_only or self.orders[other].is_reduce_only) and (
            self.tickets[one].position == self.tickets[other].position)
