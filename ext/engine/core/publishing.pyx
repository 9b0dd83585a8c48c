"""Market data: the buffer of messages, and the public view of a book."""

from libc.stdlib cimport free, realloc
from libc.string cimport memset

from engine.core.book cimport order_t
from engine.core.types cimport MARKET_EXECUTE, MARKET_RESET, MARKET_STATUS, MARKET_UNCROSSED


cdef class Publishing(Audit):
    """Messages about the books that are published.

    The hooks below hear of a change right after it happened. They read, append a message
    and nothing else: neither the state nor the events can depend on who is listening.
    """

    def __dealloc__(self):
        free(self.messages)

    # --- messages ---------------------------------------------------------------------

    # The next message of a symbol with its head filled in and all else zero.
    cdef message_t *next_message(self, int32_t symbol, int kind) except NULL nogil:
        cdef message_t *messages
        cdef message_t *out
        cdef Py_ssize_t capacity
        if self.message_count == self.message_capacity:
            capacity = 1024 if self.message_capacity == 0 else 2 * self.message_capacity
            messages = <message_t *>realloc(self.messages, capacity * sizeof(message_t))
            if messages == NULL:
                with gil:
                    raise MemoryError("market data")
            self.messages = messages
            self.message_capacity = capacity
        out = &self.messages[self.message_count]
        self.message_count += 1
        memset(out, 0, sizeof(message_t))
        self.books[symbol].market_seq += 1
        out.market_seq = self.books[symbol].market_seq
        out.seq = self.seq
        out.ts = self.ts
        out.symbol = symbol
        out.kind = kind
        return out

    cdef message_t *order_message(
        self, int32_t row, int kind, int64_t before, int64_t after
    ) except NULL nogil:
        cdef order_t *order = &self.orders[row]
        cdef message_t *out = self.next_message(order.symbol, kind)
        out.ref = self.tickets[row].arrival
        out.price = order.price
        out.quantity = after
        out.change = after - before
        out.side = order.side
        return out

    cdef int on_display(self, int32_t row, int kind, int64_t before, int64_t after) except -1 nogil:
        self.order_message(row, kind, before, after)
        return 0

    # Comes before `on_trade` numbers the trade.
    cdef int on_execution(
        self, int32_t row, int64_t before, int64_t after, int64_t lots, int64_t price,
        int detail
    ) except -1 nogil:
        cdef message_t *out = self.order_message(row, MARKET_EXECUTE, before, after)
        out.trade_id = self.trade_id + 1
        out.traded = lots
        out.trade_price = price
        out.detail = detail
        return 0

    cdef int on_status(self, int32_t symbol) except -1 nogil:
        self.next_message(symbol, MARKET_STATUS).detail = self.instruments[symbol].halt
        return 0

    cdef int on_uncrossed(
        self, int32_t symbol, int64_t price, int64_t lots, int64_t imbalance
    ) except -1 nogil:
        cdef message_t *out = self.next_message(symbol, MARKET_UNCROSSED)
        out.trade_price = price
        out.traded = lots
        out.change = imbalance
        return 0

    # --- what listeners call ----------------------------------------------------------

    def publish(self, int64_t symbol, bint on):
        """Switch the market data of a symbol on or off; no command, and no part of the state.

        Switching it on begins with a `RESET`: what changed while it was off is not told,
        so every client has to take a snapshot.
        """
        self.require_idle()
        self.require_symbol(symbol)
        if on and not self.books[symbol].is_published:
            self.next_message(<int32_t>symbol, MARKET_RESET)
        self.books[symbol].is_published = on

    def is_published(self, int64_t symbol):
        """Whether the market data of a symbol is on."""
        self.require_symbol(symbol)
        return bool(self.books[symbol].is_published)

    def market_seq(self, int64_t symbol):
        """Number of the symbol's last message, drained or not; 0 before the first."""
        self.require_symbol(symbol)
        return self.books[symbol].market_seq

    def market_levels(self, int64_t symbol, int side, int64_t depth):
        """Best `depth` levels of a side: (price, [(reference, displayed lots), ...]) in turn."""
        cdef int32_t level, order
        self.require_idle()
        self.require_symbol(symbol, side)
        level = self.books[symbol].sides[side].best
        levels = []
        while level >= 0 and depth > 0:
            orders = []
            order = self.books[symbol].levels[level].head
            while order >= 0:
                orders.append((
                    self.tickets[order].arrival,
                    self.orders[order].leaves - self.orders[order].hidden))
                order = self.orders[order].next
            levels.append((self.books[symbol].levels[level].price, orders))
            level = self.books[symbol].levels[level].worse
            depth -= 1
        return levels

    def drain_market_data(self):
        """Return the messages as tuples of `engine.messages.MARKET_FIELDS`, and forget them."""
        cdef message_t *row
        cdef Py_ssize_t i
        cdef list out = []
        self.require_idle()
        for i in range(self.message_count):
            row = &self.messages[i]
            out.append((
                row.market_seq, row.seq, row.ts, row.ref, row.price, row.quantity, row.change,
                row.trade_id, row.traded, row.trade_price, row.symbol, row.kind, row.side,
                row.detail))
        self.message_count = 0
        return out

    def drain_market_data_bytes(self):
        """Return the messages as packed rows (`engine.marketdata.packed`), and forget them."""
        self.require_idle()
        data = (<char *>self.messages)[
            :self.message_count * <Py_ssize_t>sizeof(message_t)]
        self.message_count = 0
        return data
