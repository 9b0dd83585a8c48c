"""One book without accounts: the matching rule alone, for hosts that keep their own money.

Owners are plain numbers; they matter to self-trade prevention and to order ids, nothing
else. Prices are ticks and quantities lots, both positive and below 2**62.
"""

from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport free, realloc

from engine.core.book cimport Desk, order_t, ticket_t, within_limit
from engine.core.levels cimport best_price
from engine.core.tables cimport table_get, table_put, table_remove
from engine.core.types cimport (
    MONEY_MAX, NONE, STP_CANCEL_BOTH, STP_CANCEL_TAKER, STP_DECREMENT, STP_NONE, TIF_FOK,
    TIF_GTC,
)

cdef enum:
    COMMAND_WIDTH = 8            # op, owner, order id, side, price, quantity, tif, flags
    TRADE_WIDTH = 6              # maker owner, maker id, taker owner, taker id, price, lots
    OP_PLACE = 0
    OP_CANCEL = 1
    OP_AMEND = 2
    FLAG_POST_ONLY = 8           # above the three bits of the self-trade prevention mode


cdef int require_side(int side) except -1:
    if not 0 <= side <= 1:
        raise ValueError(f"side must be 0 or 1, not {side}")
    return 0


cdef class OrderBook(Desk):
    """A price-time-priority limit order book.

    Examples
    --------
    >>> book = OrderBook()
    >>> book.place(1, 1, 1, 101, 5)      # owner 1 offers 5 lots at 101
    0
    >>> book.place(2, 1, 0, 102, 3)      # owner 2 buys 3, at the maker's price
    3
    >>> book.levels(1)
    [(101, 2)]
    """

    cdef int64_t *tape           # TRADE_WIDTH ints a trade
    cdef Py_ssize_t trade_count, trade_capacity
    cdef int64_t traded          # lots of the sweep under way

    def __cinit__(self):
        self.new_book()

    def __dealloc__(self):
        free(self.tape)

    def place(
        self, int64_t owner, int64_t order_id, int side, int64_t price, int64_t quantity,
        int time_in_force=0, bint post_only=False, int stp=0,
    ):
        """Enter an order.

        Parameters
        ----------
        owner, order_id : int
            Together unique among live orders; `owner` fits 32 bits.
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
        return self.enter(owner, order_id, side, price, quantity, time_in_force, post_only, stp)

    def cancel(self, int64_t owner, int64_t order_id):
        """Cancel a resting order; return whether there was one. O(1)."""
        return bool(self.remove(owner, order_id))

    def amend(self, int64_t owner, int64_t order_id, int64_t price, int64_t quantity):
        """Change price (ticks) and open quantity (lots) of a resting order.

        The same price and no more lots keep its turn; anything else goes to the back and
        may trade. A quantity at or below zero cancels.

        Returns
        -------
        int
            Lots traded at once; -1 where there is no such order or the price is senseless.
        """
        return self.change(owner, order_id, price, quantity)

    def run(self, const int64_t[:, ::1] commands):
        """Apply packed commands in one crossing.

        Parameters
        ----------
        commands : buffer of int64, shape (n, 8)
            Rows of op (0 place, 1 cancel, 2 amend), owner, order id, side, price,
            quantity, time in force, self-trade prevention + 8 where post-only.

        Returns
        -------
        int
            Commands refused.

        Raises
        ------
        ValueError
            The buffer has another shape; nothing was applied.
        """
        cdef Py_ssize_t i
        cdef int64_t refused = 0
        cdef int64_t op
        if commands.shape[1] != COMMAND_WIDTH:
            raise ValueError(f"commands must have {COMMAND_WIDTH} columns")
        for i in range(commands.shape[0]):
            op = commands[i, 0]
            if op == OP_PLACE:
                refused += self.enter(
                    commands[i, 1], commands[i, 2], <int>commands[i, 3], commands[i, 4],
                    commands[i, 5], <int>commands[i, 6], (commands[i, 7] & FLAG_POST_ONLY) != 0,
                    <int>(commands[i, 7] & 7)) < 0
            elif op == OP_CANCEL:
                refused += not self.remove(commands[i, 1], commands[i, 2])
            elif op == OP_AMEND:
                refused += self.change(
                    commands[i, 1], commands[i, 2], commands[i, 4], commands[i, 5]) < 0
            else:
                refused += 1
        return refused

    def trades(self):
        """Return the trades since the last call as bytes, six native int64 each, and forget them.

        Rows: maker owner, maker order id, taker owner, taker order id, price, lots.
        """
        data = (<char *>self.tape)[
            :self.trade_count * TRADE_WIDTH * <Py_ssize_t>sizeof(int64_t)]
        self.trade_count = 0
        return data

    def best(self, int side):
        """Return the best price of a side in ticks, None where it is empty. O(1)."""
        cdef int64_t price
        require_side(side)
        price = best_price(&self.books[0], side, NONE)
        return None if price == NONE else price

    def levels(self, int side, Py_ssize_t depth=2**31):
        """Return the best levels of a side as (price, lots), best first."""
        cdef int32_t level
        require_side(side)
        level = self.books[0].sides[side].best
        out = []
        while level >= 0 and len(out) < depth:
            out.append((self.books[0].levels[level].price, self.books[0].levels[level].quantity))
            level = self.books[0].levels[level].worse
        return out

    def queue(self, int side, int64_t price):
        """Return (owner, order id, open lots) of the orders at a price, first in turn first."""
        cdef int32_t level
        cdef int32_t order
        require_side(side)
        level = self.books[0].sides[side].best
        out = []
        while level >= 0 and self.books[0].levels[level].price != price:
            level = self.books[0].levels[level].worse
        order = -1 if level < 0 else self.books[0].levels[level].head
        while order >= 0:
            out.append((self.orders[order].account, self.orders[order].order_id,
                        self.orders[order].leaves))
            order = self.orders[order].next
        return out

    # --- one command each; -1 where it is refused ----------------------------------------

    cdef int64_t enter(
        self, int64_t owner, int64_t order_id, int side, int64_t price, int64_t quantity,
        int time_in_force, bint post_only, int stp
    ) except -2:
        cdef int32_t row
        cdef order_t *order
        cdef ticket_t *ticket
        cdef int64_t limit = price if price else NONE
        cdef int64_t best
        if not (0 <= owner < 2**31 and order_id > 0 and 0 <= side <= 1
                and 0 <= price < MONEY_MAX and 0 < quantity < MONEY_MAX
                and 0 <= time_in_force <= TIF_FOK and 0 <= stp <= STP_DECREMENT):
            return -1
        if price == 0 and time_in_force == TIF_GTC:
            return -1  # a market order cannot rest
        if post_only and (price == 0 or time_in_force != TIF_GTC):
            return -1  # a post-only order must
        if table_get(&self.order_table, <int32_t>owner, order_id) >= 0:
            return -1
        if post_only:
            best = best_price(&self.books[0], 1 - side, NONE)
            if best != NONE and within_limit(side, best, price):
                return -1
        row = self.new_order()
        order = &self.orders[row]
        ticket = &self.tickets[row]
        order.order_id = order_id
        order.price = price
        ticket.quantity = order.leaves = quantity
        order.account = <int32_t>owner
        order.side = side
        ticket.time_in_force = time_in_force
        order.stp = stp
        if time_in_force == TIF_FOK and not self.can_fill(row, limit):
            self.free_order_row(row)
            return -1
        table_put(&self.order_table, <int32_t>owner, order_id, row)
        return self.trade_and_rest(row, limit)

    # Sweep, then rest or drop what is left; returns the lots traded.
    cdef int64_t trade_and_rest(self, int32_t row, int64_t limit) except -2:
        self.traded = 0
        if self.sweep(row, limit):
            return self.traded
        if self.orders[row].leaves > 0 and self.tickets[row].time_in_force == TIF_GTC:
            self.rest(row)
        else:
            self.forget(row)
        return self.traded

    # Whether a fill-or-kill order would fill; own orders as in the contract.
    cdef bint can_fill(self, int32_t row, int64_t limit) noexcept:
        cdef order_t *taker = &self.orders[row]
        cdef int64_t wanted = taker.leaves
        cdef int32_t level = self.books[0].sides[1 - taker.side].best
        cdef int32_t maker
        while level >= 0 and wanted > 0:
            if not within_limit(taker.side, self.books[0].levels[level].price, limit):
                return False
            maker = self.books[0].levels[level].head
            while maker >= 0 and wanted > 0:
                if self.orders[maker].account == taker.account and taker.stp != STP_NONE:
                    if (taker.stp == STP_CANCEL_TAKER or taker.stp == STP_CANCEL_BOTH
                            or taker.stp == STP_DECREMENT):
                        return False
                else:
                    wanted -= self.orders[maker].leaves
                maker = self.orders[maker].next
            level = self.books[0].levels[level].worse
        return wanted <= 0

    cdef int remove(self, int64_t owner, int64_t order_id) except -1:
        cdef int32_t row
        if not 0 <= owner < 2**31:
            return 0
        row = table_get(&self.order_table, <int32_t>owner, order_id)
        if row < 0:
            return 0
        self.unrest(row)
        self.forget(row)
        return 1

    cdef int64_t change(
        self, int64_t owner, int64_t order_id, int64_t price, int64_t quantity
    ) except -2:
        cdef int32_t row
        if not (0 <= owner < 2**31 and 0 < price < MONEY_MAX and quantity < MONEY_MAX):
            return -1
        row = table_get(&self.order_table, <int32_t>owner, order_id)
        if row < 0:
            return -1
        if quantity <= 0:
            self.remove(owner, order_id)
            return 0
        if price == self.orders[row].price and quantity <= self.orders[row].leaves:
            self.books[0].levels[self.orders[row].level].quantity += (
                quantity - self.orders[row].leaves)
            self.orders[row].leaves = quantity
            return 0
        self.unrest(row)
        self.orders[row].price = price
        self.orders[row].leaves = quantity
        return self.trade_and_rest(row, price)

    cdef int forget(self, int32_t row) except -1:
        table_remove(
            &self.order_table, self.orders[row].account, self.orders[row].order_id)
        self.free_order_row(row)
        return 0

    # --- hooks of the desk ---------------------------------------------------------------

    cdef int on_trade(self, int32_t taker, int32_t maker, int64_t price, int64_t lots) except -1:
        cdef int64_t *row
        cdef int64_t *tape
        if self.trade_count == self.trade_capacity:
            self.trade_capacity = 1024 if self.trade_capacity == 0 else 2 * self.trade_capacity
            tape = <int64_t *>realloc(
                self.tape, self.trade_capacity * TRADE_WIDTH * sizeof(int64_t))
            if tape == NULL:
                raise MemoryError("trade tape")
            self.tape = tape
        row = self.tape + self.trade_count * TRADE_WIDTH
        self.trade_count += 1
        row[0] = self.orders[maker].account
        row[1] = self.orders[maker].order_id
        row[2] = self.orders[taker].account
        row[3] = self.orders[taker].order_id
        row[4] = price
        row[5] = lots
        self.traded += lots
        if self.orders[maker].leaves == 0:
            self.forget(maker)
        return 0

    cdef int on_cancel(self, int32_t row, int reason) except -1:
        return self.forget(row)
