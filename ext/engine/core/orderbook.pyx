"""One book without accounts: the matching rule alone, for hosts that keep their own money.

Owners are plain numbers; they matter to self-trade prevention and to order ids, nothing
else. Prices are ticks and quantities lots, both positive and below 2**62.
"""

cimport cython
from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBuffer_Release, PyObject_GetBuffer,
)
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_New, PyTuple_SET_ITEM
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memset

from engine.core.fixed cimport violated
from engine.core.levels cimport (
    best_price, book_bytes, book_check, book_free, book_init, level_find, level_t,
)
from engine.core.resting cimport (
    filed_count, hash_of, resting_bytes, resting_free, resting_init, row_find, row_t, unlikely,
)
from engine.core.solo cimport (
    BLOCK, COMMAND_WIDTH, FLAG_POST_ONLY, STP_MASK, TRADE_WIDTH, change, enter, remove,
    run_block, solo_reserve, solo_t,
)
from engine.core.types cimport MONEY_MAX, NONE


cdef int require_side(int side) except -1:
    if not 0 <= side <= 1:
        raise ValueError(f"side must be 0 or 1, not {side}")
    return 0


# A view of packed commands. Its own, since a typed memoryview costs more than a small batch.
cdef int require_commands(const Py_buffer *view) except -1:
    cdef bytes kind = b"B" if view.format == NULL else view.format
    if kind.lstrip(b"@=<") not in (b"l", b"q") or view.itemsize != sizeof(int64_t):
        raise ValueError(f"commands must be int64, not of format {kind.decode()!r}")
    if view.ndim != 2:
        raise ValueError(f"commands must have 2 dimensions, not {view.ndim}")
    if view.shape[1] != COMMAND_WIDTH:
        raise ValueError(f"commands must have {COMMAND_WIDTH} columns, not {view.shape[1]}")
    if <uint64_t>view.buf % sizeof(int64_t):
        raise ValueError("commands must be aligned")
    return 0


cdef class OrderBook:
    """A price-time-priority limit order book.

    Parameters
    ----------
    order_capacity : int, optional
        Resting orders to make room for at once, so that nothing is allocated before there
        are more. Room grows by itself.

    Examples
    --------
    >>> book = OrderBook()
    >>> book.place(1, 1, 1, 101, 5)      # owner 1 offers 5 lots at 101
    0
    >>> book.place(2, 1, 0, 102, 3)      # owner 2 buys 3, at the maker's price
    3
    >>> book.match(2, 2, 0, 102, 1)      # and 1 more, to see the trades
    ((1, 1, 101, 1),)
    >>> book.levels(1)
    [(101, 1)]
    """

    cdef solo_t solo

    def __cinit__(self, int32_t order_capacity=0):
        memset(&self.solo, 0, sizeof(solo_t))
        book_init(&self.solo.book)
        if order_capacity < 0:
            raise ValueError(f"order_capacity must not be negative: {order_capacity}")
        if resting_init(&self.solo.all, max(1, order_capacity)) < 0:
            raise MemoryError("order book")

    def __dealloc__(self):
        free(self.solo.tape)
        book_free(&self.solo.book)
        resting_free(&self.solo.all)

    # --- commands -----------------------------------------------------------------------
    # Without a binding and without keywords: both would cost more than the matching.

    @cython.binding(False)
    def place(
        self, int64_t owner, int64_t order_id, int64_t side, int64_t price, int64_t quantity,
        int64_t time_in_force=0, bint post_only=False, int64_t stp=0, /,
    ):
        """Enter an order.

        Parameters
        ----------
        owner, order_id : int
            Together unique among live orders; `owner` fits 31 bits.
        side : {0, 1}
            Buy or sell.
        price : int, ticks
            0 for a market order (which never rests).
        quantity : int, lots
        time_in_force : {0, 1, 2}
            Good till cancelled, immediate or cancel, fill or kill.
        post_only : bool
        stp : int
            Self-trade prevention mode of `engine.messages.StpMode`.

        Returns
        -------
        int
            Lots traded at once; -1 where the order was refused (duplicate id, senseless
            field, post-only that would trade, fill-or-kill that cannot fill).

        Complexity
            O(orders traded with) + O(digits of the price).
        """
        return self.enter_order(
            owner, order_id, side, price, quantity, time_in_force, post_only, stp)

    @cython.binding(False)
    def match(
        self, int64_t owner, int64_t order_id, int64_t side, int64_t price, int64_t quantity,
        int64_t time_in_force=0, bint post_only=False, int64_t stp=0, /,
    ):
        """Enter an order and return its trades, which `trades` will not return again.

        Parameters
        ----------
        owner, order_id, side, price, quantity, time_in_force, post_only, stp
            As in `place`.

        Returns
        -------
        tuple or None
            (maker owner, maker order id, price, lots) of each trade, in the order in which
            they happened; empty where there was none. None where the order was refused.
        """
        cdef int64_t first = self.solo.trade_count
        if self.enter_order(
                owner, order_id, side, price, quantity, time_in_force, post_only, stp) < 0:
            return None
        if self.solo.trade_count == first:
            return ()
        return self.take_trades(first)

    @cython.binding(False)
    def cancel(self, int64_t owner, int64_t order_id, /):
        """Cancel a resting order; return whether there was one. O(1)."""
        cdef int64_t command[COMMAND_WIDTH]
        command[1] = owner
        command[2] = order_id
        return remove(&self.solo, hash_of(owner, order_id), command) == 0

    @cython.binding(False)
    def amend(self, int64_t owner, int64_t order_id, int64_t price, int64_t quantity, /):
        """Change price (ticks) and open quantity (lots) of a resting order.

        The same price and no more lots keep its turn; anything else goes to the back and
        may trade. A quantity at or below zero cancels.

        Returns
        -------
        int
            Lots traded at once; -1 where there is no such order or the price is senseless.
        """
        cdef int64_t command[COMMAND_WIDTH]
        cdef int64_t traded
        command[1] = owner
        command[2] = order_id
        command[4] = price
        command[5] = quantity
        self.require_room(1)
        traded = change(&self.solo, hash_of(owner, order_id), command)
        self.require_tape()
        return traded

    @cython.binding(False)
    def run(self, commands, /):
        """Apply packed commands in one crossing.

        Parameters
        ----------
        commands : buffer of int64, shape (n, 8), C-contiguous
            Rows of op (0 place, 1 cancel, 2 amend), owner, order id, side, price,
            quantity, time in force, self-trade prevention + 8 where post-only.

        Returns
        -------
        int
            Commands refused.

        Raises
        ------
        ValueError
            The buffer has another shape or type; nothing was applied.
        TypeError
            Not a buffer.
        MemoryError
            Some commands were applied, the others not.
        """
        cdef Py_buffer view
        PyObject_GetBuffer(commands, &view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT)
        try:
            require_commands(&view)
            return self.run_rows(<const int64_t *>view.buf, view.shape[0])
        finally:
            PyBuffer_Release(&view)

    @cython.binding(False)
    def trades(self):
        """Return the trades since the last call as bytes, six native int64 each, and forget them.

        Rows: maker owner, maker order id, taker owner, taker order id, price, lots.
        """
        data = (<char *>self.solo.tape)[
            :self.solo.trade_count * TRADE_WIDTH * <Py_ssize_t>sizeof(int64_t)]
        self.solo.trade_count = 0
        return data

    # --- views --------------------------------------------------------------------------

    @property
    def order_count(self):
        """Resting orders. O(1)."""
        return self.solo.all.count

    @property
    def memory_bytes(self):
        """Bytes held for orders, levels and the tables that find them; not the trade tape."""
        return resting_bytes(&self.solo.all) + book_bytes(&self.solo.book) + sizeof(solo_t)

    def best(self, int side):
        """Return the best price of a side in ticks, None where it is empty. O(1)."""
        cdef int64_t price
        require_side(side)
        price = best_price(&self.solo.book, side, NONE)
        return None if price == NONE else price

    def lots_at(self, int side, int64_t price):
        """Return the lots open at a price, 0 where there are none. O(digits of the price)."""
        cdef int32_t level = self.level_of(side, price)
        return 0 if level < 0 else self.solo.book.levels[level].quantity

    def levels(self, int side, Py_ssize_t depth=2**31):
        """Return the best levels of a side as (price, lots), best first."""
        cdef int32_t level
        require_side(side)
        level = self.solo.book.sides[side].best
        out = []
        while level >= 0 and len(out) < depth:
            out.append((self.solo.book.levels[level].price, self.solo.book.levels[level].quantity))
            level = self.solo.book.levels[level].worse
        return out

    def queue(self, int side, int64_t price):
        """Return (owner, order id, open lots) of the orders at a price, first in turn first."""
        cdef int32_t level = self.level_of(side, price)
        cdef int32_t order = 0 if level < 0 else self.solo.book.levels[level].head
        cdef const row_t *rows = self.solo.all.rows
        out = []
        while order:
            out.append((rows[order].owner, rows[order].order_id, rows[order].leaves))
            order = rows[order].next
        return out

    def check(self):
        """Check every invariant of rows, queues, levels and tables; for tests. O(orders).

        Raises
        ------
        InvariantViolation
        """
        cdef int32_t level
        cdef int64_t count = 0
        cdef int side
        book_check(&self.solo.book)
        for side in range(2):
            level = self.solo.book.sides[side].best
            while level >= 0:
                count += self.check_queue(side, level)
                level = self.solo.book.levels[level].worse
        if count != self.solo.all.count:
            violated(f"{count} orders rest, {self.solo.all.count} are counted")
        # With as many filed as rest, and each of these found, nothing else is filed.
        if count != filed_count(&self.solo.all):
            violated(f"{count} orders rest, {filed_count(&self.solo.all)} are filed")

    # --- inside -------------------------------------------------------------------------

    @cython.final
    cdef inline int64_t enter_order(
        self, int64_t owner, int64_t order_id, int64_t side, int64_t price, int64_t quantity,
        int64_t time_in_force, bint post_only, int64_t stp
    ) except -2:
        cdef int64_t command[COMMAND_WIDTH]
        cdef int64_t traded
        if unlikely(stp & ~<int64_t>STP_MASK != 0):
            return -1
        command[1] = owner
        command[2] = order_id
        command[3] = side
        command[4] = price
        command[5] = quantity
        command[6] = time_in_force
        command[7] = stp | (FLAG_POST_ONLY if post_only else 0)
        self.require_room(1)
        traded = enter(&self.solo, hash_of(owner, order_id), command)
        self.require_tape()
        return traded

    @cython.final
    cdef int64_t run_rows(self, const int64_t *commands, Py_ssize_t count) except -1:
        cdef Py_ssize_t begin
        cdef int64_t refused = 0
        for begin in range(0, count, BLOCK):
            self.require_room(BLOCK)
            refused += run_block(
                &self.solo, commands + begin * COMMAND_WIDTH, <int>min(BLOCK, count - begin))
            self.require_tape()
        return refused

    @cython.final
    cdef inline int require_room(self, int32_t more) except -1:
        if unlikely(solo_reserve(&self.solo, more) < 0):
            raise MemoryError("order book")
        return 0

    # A sweep that found no memory for its trades ended early.
    @cython.final
    cdef inline int require_tape(self) except -1:
        if unlikely(self.solo.is_out_of_memory):
            self.solo.is_out_of_memory = False
            raise MemoryError("trade tape")
        return 0

    # The trades from a place on the tape on, off the tape.
    @cython.final
    cdef tuple take_trades(self, int64_t first):
        cdef const int64_t *row = self.solo.tape + first * TRADE_WIDTH
        cdef Py_ssize_t count = self.solo.trade_count - first
        cdef tuple out = PyTuple_New(count)
        cdef tuple trade
        cdef Py_ssize_t i
        for i in range(count):
            trade = (row[0], row[1], row[4], row[5])
            Py_INCREF(trade)
            PyTuple_SET_ITEM(out, i, trade)
            row += TRADE_WIDTH
        self.solo.trade_count = first
        return out

    @cython.final
    cdef int32_t level_of(self, int side, int64_t price) except? -1:
        require_side(side)
        return level_find(&self.solo.book, side, price) if 0 < price < MONEY_MAX else -1

    # Check the orders of a level; returns how many there are.
    @cython.final
    cdef int64_t check_queue(self, int side, int32_t level_row) except -1:
        cdef const level_t *level = &self.solo.book.levels[level_row]
        cdef const row_t *row
        cdef int32_t number = level.head
        cdef int32_t last = 0
        cdef int64_t lots = 0
        cdef int64_t count = 0
        while number:
            row = &self.solo.all.rows[number]
            if row.prev != last or row.leaves <= 0:
                violated(f"link or lots of order row {number}")
            if row.place >> 4 != <uint64_t>level_row or <int>(row.place & 1) != side:
                violated(f"place of order row {number}")
            if row_find(&self.solo.all, hash_of(row.owner, row.order_id), row.owner,
                        row.order_id) != number:
                violated(f"order row {number} is not found by its id")
            lots += row.leaves
            count += 1
            last = number
            number = row.next
        if count == 0 or last != level.tail or count != level.count or lots != level.quantity:
            violated(f"totals of level row {level_row}")
        return count
