"""Halts and call auctions."""

from engine.core.book cimport order_t
from engine.core.fixed cimport max64, min64
from engine.core.levels cimport book_t, level_t
from engine.core.types cimport (
    ACCEPTED, CANCEL_REDUCE_ONLY, EVENT_AUCTION_UNCROSSED, EVENT_HALTED, EVENT_RESUMED,
    FLAG_AUCTION, FLAG_REPEATED, HALT_AUCTION, HALT_NONE, NONE, REJECT_EXPIRED,
    REJECT_MALFORMED, REJECT_UNKNOWN_SYMBOL, SIDE_BUY, SIDE_SELL,
)


cdef class Auctions(Orders):
    """Changing a symbol's mode, and trading at one price."""

    # Trading begins with uncrossing what an auction gathered; then its stops wake.
    cdef int do_halt(self, int64_t symbol, int mode) except -2 nogil:
        cdef int64_t *out
        cdef bint was_asleep
        if not HALT_NONE <= mode <= HALT_AUCTION:
            return REJECT_MALFORMED
        if not 0 <= symbol < self.instrument_count:
            return REJECT_UNKNOWN_SYMBOL
        if self.instruments[symbol].is_over:
            return REJECT_EXPIRED
        was_asleep = self.is_asleep(<int32_t>symbol)
        self.instruments[symbol].halt = mode
        if mode == HALT_NONE:
            self.emit(EVENT_RESUMED)[0] = symbol
        else:
            out = self.emit(EVENT_HALTED)
            out[0] = symbol
            out[1] = mode
        if self.books[symbol].is_published:
            self.on_status(<int32_t>symbol)
        if not self.is_asleep(<int32_t>symbol):
            self.uncross(<int32_t>symbol)
            if was_asleep:
                self.wake(<int32_t>symbol)
        self.retry_all()
        return ACCEPTED

    # The price that decides between equals: the last price, else the mark in ticks.
    cdef int64_t auction_reference(self, int32_t symbol) except? -1 nogil:
        if self.books[symbol].last_price != NONE:
            return self.books[symbol].last_price
        if self.instruments[symbol].mark == NONE:
            return NONE
        return max64(
            1, self.instruments[symbol].mark // self.instruments[symbol].marks_per_tick)

    # The price that trades most; then least imbalance, nearest to the reference, lower.
    # False where the book is not crossed. Any tick may win: between two neighbouring
    # prices at which something changes only the tick nearest to the reference is looked
    # at. O(levels that cross, sorted).
    cdef bint find_equilibrium(self, int32_t symbol, equilibrium_t *best) except -1 with gil:
        cdef book_t *book = &self.books[symbol]
        cdef int32_t bid = book.sides[<int>SIDE_BUY].best
        cdef int32_t ask = book.sides[<int>SIDE_SELL].best
        cdef int64_t highest, lowest, reference
        cdef dict bids = {}
        cdef dict asks = {}
        if bid < 0 or ask < 0 or book.levels[bid].price < book.levels[ask].price:
            return False
        highest, lowest = book.levels[bid].price, book.levels[ask].price
        while bid >= 0 and book.levels[bid].price >= lowest:
            bids[book.levels[bid].price] = book.levels[bid].quantity + book.levels[bid].hidden
            bid = book.levels[bid].worse
        while ask >= 0 and book.levels[ask].price <= highest:
            asks[book.levels[ask].price] = book.levels[ask].quantity + book.levels[ask].hidden
            ask = book.levels[ask].worse
        # Bids fall away just above their price, asks come in at theirs.
        starts = sorted({price + 1 for price in bids if price < highest} | set(asks))
        reference = self.auction_reference(symbol)
        bought, sold = sum(bids.values()), 0
        found = None
        for i, start in enumerate(starts):
            bought -= bids.get(start - 1, 0)
            sold += asks.get(start, 0)
            end = starts[i + 1] - 1 if i + 1 < len(starts) else highest
            price = max(start, min(end, reference))
            lots = min(bought, sold)
            rank = (-lots, abs(bought - sold), abs(price - reference), price)
            if found is None or rank < found[0]:
                found = rank, bought - sold
        rank, imbalance = found
        best.price, best.lots, best.imbalance = rank[3], -rank[0], imbalance
        return True

    # Trade a crossed book at one price; again where reduce-only orders fell out.
    cdef int uncross(self, int32_t symbol) except -1 nogil:
        cdef book_t *book = &self.books[symbol]
        cdef equilibrium_t found
        cdef int32_t bid, ask
        cdef int64_t lots
        cdef int64_t *out
        self.is_uncrossing = True
        while self.find_equilibrium(symbol, &found):
            lots = 0
            while True:
                bid, ask = book.sides[<int>SIDE_BUY].best, book.sides[<int>SIDE_SELL].best
                if bid < 0 or ask < 0 or (
                        book.levels[bid].price < found.price
                        or book.levels[ask].price > found.price):
                    break
                lots += self.trade_pair(
                    book.levels[bid].head, book.levels[ask].head, found.price)
            out = self.emit(EVENT_AUCTION_UNCROSSED)
            out[0] = symbol
            out[1] = found.price
            out[2] = lots
            out[3] = found.imbalance
            if self.books[symbol].is_published:
                self.on_uncrossed(symbol, found.price, lots, found.imbalance)
        self.is_uncrossing = False
        return 0

    # Let a bid and an ask trade, or cancel one that may not; the lots traded. The earlier
    # one is the maker. Both were there before the price was known, so there is no
    # self-trade prevention.
    cdef int64_t trade_pair(self, int32_t bid, int32_t ask, int64_t price) except -1 nogil:
        cdef int64_t lots = min64(self.orders[bid].leaves, self.orders[ask].leaves)
        cdef int32_t symbol = self.orders[bid].symbol
        cdef int32_t maker = bid, taker = ask
        cdef int32_t pair[2]
        cdef int i
        cdef bint is_moved = self.books[symbol].last_price != price
        pair[0], pair[1] = bid, ask
        if self.would_reduce_nothing(bid, ask):
            lots = 0
        for i in range(2):
            if self.orders[pair[i]].is_reduce_only:
                lots = min64(lots, self.reducible(pair[i]))
                if lots == 0:
                    self.cancel_order(pair[i], CANCEL_REDUCE_ONLY)
                    return 0
        if self.tickets[ask].arrival < self.tickets[bid].arrival:
            maker, taker = ask, bid
        self.books[symbol].last_price = price
        self.traded_value = 0  # of no interest here, and not to add up
        self.take_uncrossed(maker, lots, price, FLAG_AUCTION)
        self.take_uncrossed(taker, lots, price, FLAG_AUCTION | FLAG_REPEATED)
        self.on_trade(taker, maker, price, lots)
        if is_moved:
            self.on_last_price(symbol)
        return lots

    # Take traded lots off a resting order, hidden or not; it keeps its turn.
    cdef int take_uncrossed(
        self, int32_t row, int64_t lots, int64_t price, int detail
    ) except -1 nogil:
        cdef order_t *order = &self.orders[row]
        cdef level_t *level = &self.books[order.symbol].levels[order.level]
        cdef int64_t shown = order.leaves - order.hidden
        level.quantity -= shown
        level.hidden -= order.hidden
        order.leaves -= lots
        self.set_display(row)
        level.quantity += order.leaves - order.hidden
        level.hidden += order.hidden
        if self.books[order.symbol].is_published:
            self.on_execution(row, shown, order.leaves - order.hidden, lots, price, detail)
        return 0 if order.leaves else self.unrest(row)

    # --- hooks: what market data hears ------------------------------------------------

    cdef int on_status(self, int32_t symbol) except -1 nogil:
        return 0

    cdef int on_uncrossed(
        self, int32_t symbol, int64_t price, int64_t lots, int64_t imbalance
    ) except -1 nogil:
        return 0
