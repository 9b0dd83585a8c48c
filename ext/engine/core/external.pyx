"""Facts from outside: fills, marks, funding, settlement prices, halts, the time."""

from libc.stdint cimport int32_t, int64_t

from engine.core.contracts cimport value_sign
from engine.core.fixed cimport (
    abs64, add, add_checked, max64, mul_div_ceil, mul_div_floor, sub_checked, wide,
)
from engine.core.ledger cimport asset_t, closes_leg, instrument_t, position_t
from engine.core.types cimport (
    ACCEPTED, BY_INDEX, BY_MARK, CMD_FILL, CMD_FUNDING, CMD_HALT, CMD_MARK, CMD_MARKS,
    CMD_RESUME, CMD_SETTLE, CMD_TIME, EVENT_FUNDING_PAYMENT, EVENT_MARK, HALT_NONE,
    INSURANCE_FUNDING, LEG_BOTH, MONEY_MAX, NIL, NONE, OFF_GRID, RATE_SCALE, REJECT_EXPIRED,
    REJECT_MALFORMED, REJECT_NO_MARK_PRICE, REJECT_OFF_LOT, REJECT_OFF_TICK, REJECT_OVERFLOW,
    REJECT_REDUCE_ONLY, REJECT_UNKNOWN_ACCOUNT, REJECT_UNKNOWN_SYMBOL, SIDE_BUY, TOO_LARGE,
)


cdef class External(Publishing):
    """What the world outside reports, as commands."""

    def fill(
        self, int64_t account, int64_t symbol, int side, int64_t quantity, int64_t value,
        int64_t fee, int64_t ts=NONE, int64_t position_side=NONE,
    ):
        """Book an execution made elsewhere; its other half goes to the external account."""
        self.end(
            CMD_FILL,
            self.do_fill(
                account, symbol, side, quantity, value, fee, leg_named(position_side))
            if self.begin(ts) else REJECT_MALFORMED,
            account, NONE, symbol, NONE)

    cdef int do_fill(
        self, int64_t account, int64_t symbol, int side, int64_t quantity, int64_t value,
        int64_t fee, int64_t leg
    ) except -2 nogil:
        cdef int32_t owner, position, settle
        cdef int sign = 1 if side == SIDE_BUY else -1
        cdef int64_t profit, cost
        if quantity <= 0 and quantity != OFF_GRID and quantity != TOO_LARGE:
            return REJECT_MALFORMED
        owner = self.find_account(account)
        if (value < 0 and value != TOO_LARGE) or fee == OFF_GRID or not self.has_leg(owner, leg):
            return REJECT_MALFORMED
        if not 0 <= symbol < self.instrument_count:
            return REJECT_UNKNOWN_SYMBOL
        if owner < 0:
            return REJECT_UNKNOWN_ACCOUNT
        if self.instruments[symbol].mark == NONE:
            return REJECT_NO_MARK_PRICE
        if self.instruments[symbol].is_over:
            return REJECT_EXPIRED
        if quantity == OFF_GRID:
            return REJECT_OFF_LOT
        position = self.position_at(owner, <int32_t>symbol, <int>leg)
        if closes_leg(leg, side) and (
                quantity == TOO_LARGE or quantity > abs64(self.positions[position].quantity)):
            return REJECT_REDUCE_ONLY
        if quantity == TOO_LARGE or value == TOO_LARGE or fee == TOO_LARGE:
            return REJECT_OVERFLOW
        if abs64(fee) > MONEY_MAX or value > MONEY_MAX or not self.fits(
                <int32_t>symbol, quantity, self.instruments[symbol].mark):
            return REJECT_OVERFLOW
        if not self.fill_fits(position, value, fee):
            return REJECT_OVERFLOW
        cost = value_sign(&self.instruments[symbol].contract, side) * value
        self.settle_fill(position, sign * quantity, cost)
        self.charge(position, fee)
        settle = self.instruments[symbol].settle
        profit = self.settle_house(
            <int32_t>symbol, &self.instruments[symbol].external, -sign * quantity, -cost)
        self.assets[settle].external = add_checked(
            self.assets[settle].external, add_checked(fee, profit))
        self.drop_reduce_only(position)
        self.retry_waiting()
        return ACCEPTED

    # Whether what a fill changes stays in the money range.
    cdef bint fill_fits(self, int32_t position, int64_t value, int64_t fee) except -1 nogil:
        cdef position_t *row = &self.positions[position]
        cdef instrument_t *instrument = &self.instruments[row.symbol]
        cdef int64_t held = max64(
            abs64(row.entry_value), abs64(instrument.external.entry_value))
        cdef int64_t money = max64(
            abs64(self.pools[row.wallet].balance),
            abs64(self.assets[instrument.settle].external))
        if row.isolated >= 0:
            money = max64(money, abs64(self.pools[row.isolated].balance))
        return (add(add(wide(held), wide(value)), add(wide(money), wide(abs64(fee))))
                <= wide(MONEY_MAX))

    def mark(
        self, int64_t symbol, int64_t mark, int64_t index_price=NONE, int64_t feed_seq=NONE,
        int64_t ts=NONE, int64_t cause=NONE,
    ):
        """Set one symbol's mark and evaluate the pools that its triggers name.

        `cause` is the number of the command whose trades moved it, if one did.
        """
        self.end(
            CMD_MARK,
            self.do_mark(symbol, mark, index_price, feed_seq, cause)
            if self.begin(ts) else REJECT_MALFORMED,
            NONE, NONE, symbol, NONE)

    cdef int do_mark(
        self, int64_t symbol, int64_t mark, int64_t index_price, int64_t feed_seq,
        int64_t cause
    ) except -2 nogil:
        cdef int reason = REJECT_MALFORMED
        if self.is_earlier(cause):
            reason = self.check_mark(symbol, mark, index_price)
        if reason == ACCEPTED and self.instruments[symbol].is_over:
            return REJECT_EXPIRED
        if reason == ACCEPTED:
            reason = self.check_mark_size(symbol, mark, index_price)
        if reason == ACCEPTED:
            if cause != NONE:
                self.cause = cause
            self.apply_mark(<int32_t>symbol, mark, index_price, feed_seq)
            self.collect_crossed(<int32_t>symbol)
            self.evaluate_marked(<int32_t>symbol, index_price)
            self.retry_waiting()
        return reason

    # Whether a cause that was named (NONE: none) is a command before this one.
    cdef bint is_earlier(self, int64_t cause) noexcept nogil:
        return cause == NONE or 0 < cause < self.seq

    def marks(self, list marks, int64_t ts=NONE, int64_t cause=NONE):
        """Apply (symbol, mark, index, feed_seq) rows as one: all prices, then the evaluation."""
        self.end(
            CMD_MARKS, self.do_marks(marks, cause) if self.begin(ts) else REJECT_MALFORMED, NONE,
            NONE, NONE, NONE)

    cdef int do_marks(self, list marks, int64_t cause) except -2:
        cdef int reason, worst = ACCEPTED
        cdef tuple row
        cdef list rows = sorted(marks)
        cdef list named = [row[0] for row in rows if row[0] >= 0]
        if not rows or len(set(named)) != len(named) or not self.is_earlier(cause):
            return REJECT_MALFORMED
        # The first reason in the order of the rules over all rows, not that of the first row.
        for row in rows:
            reason = self.check_mark(row[0], row[1], row[2])
            if reason != ACCEPTED and (worst == ACCEPTED or reason < worst):
                worst = reason
        if worst != ACCEPTED:
            return worst
        for row in rows:
            if self.instruments[<int32_t>row[0]].is_over:
                return REJECT_EXPIRED
        for row in rows:
            if row[1] == OFF_GRID or row[2] == OFF_GRID:
                return REJECT_OFF_TICK
        for row in rows:
            reason = self.check_mark_size(row[0], row[1], row[2])
            if reason != ACCEPTED:
                return reason
        if cause != NONE:
            self.cause = cause
        for row in rows:
            self.apply_mark(row[0], row[1], row[2], row[3])
        for row in rows:
            self.collect_crossed(row[0])
            self.evaluate_marked(row[0], row[2])
        self.retry_waiting()
        return ACCEPTED

    # Collect the stops that a new mark, and a new index price if there is one, set off.
    cdef int evaluate_marked(self, int32_t symbol, int64_t index_price) except -1 nogil:
        self.evaluate_reference(symbol, BY_MARK)
        return 0 if index_price == NONE else self.evaluate_reference(symbol, BY_INDEX)

    cdef int check_mark(self, int64_t symbol, int64_t mark, int64_t index_price) except -2 nogil:
        if mark <= 0 and mark != OFF_GRID and mark != TOO_LARGE:
            return REJECT_MALFORMED
        if (index_price <= 0 and index_price != NONE and index_price != OFF_GRID
                and index_price != TOO_LARGE):
            return REJECT_MALFORMED
        if not 0 <= symbol < self.instrument_count:
            return REJECT_UNKNOWN_SYMBOL
        return ACCEPTED

    cdef int check_mark_size(
        self, int64_t symbol, int64_t mark, int64_t index_price
    ) except -2 nogil:
        if mark == OFF_GRID or index_price == OFF_GRID:
            return REJECT_OFF_TICK
        if mark == TOO_LARGE or index_price == TOO_LARGE:
            return REJECT_OVERFLOW
        return ACCEPTED if self.fits(<int32_t>symbol, 0, mark) else REJECT_OVERFLOW

    cdef int apply_mark(
        self, int32_t symbol, int64_t mark, int64_t index_price, int64_t feed_seq
    ) except -1 nogil:
        cdef int64_t *out
        if self.unfiled_count:
            self.file_touched()
        self.instruments[symbol].mark = mark
        self.known_symbol = NIL
        self.instruments[symbol].mark_ts = self.ts
        self.note_marked(symbol)
        if index_price != NONE:
            self.instruments[symbol].index_price = index_price
        if feed_seq != NONE:
            self.instruments[symbol].feed_seq = feed_seq
        out = self.emit(EVENT_MARK)
        out[0] = symbol
        out[1] = mark
        out[2] = index_price
        out[3] = feed_seq
        return 0

    def funding(self, int64_t symbol, int64_t rate, int64_t ts=NONE):
        """Settle funding at the mark; payers pay rounded up, receivers get rounded down."""
        self.end(
            CMD_FUNDING,
            self.do_funding(symbol, rate) if self.begin(ts) else REJECT_MALFORMED,
            NONE, NONE, symbol, NONE)

    cdef int do_funding(self, int64_t symbol, int64_t rate) except -2 with gil:
        cdef instrument_t *instrument
        cdef asset_t *books
        cdef int32_t position
        cdef int64_t amount, paid = 0
        if not -RATE_SCALE <= rate <= RATE_SCALE:
            return REJECT_MALFORMED
        if not 0 <= symbol < self.instrument_count:
            return REJECT_UNKNOWN_SYMBOL
        instrument = &self.instruments[symbol]
        if instrument.mark == NONE:
            return REJECT_NO_MARK_PRICE
        if instrument.is_over:
            return REJECT_EXPIRED
        books = &self.assets[instrument.settle]
        for _, position in sorted([
            (self.accounts[self.positions[instrument.holders[i]].account].id,
             instrument.holders[i])
            for i in range(instrument.holder_count)
        ]):
            amount = self.funding_owed(
                <int32_t>symbol, self.positions[position].quantity, rate)
            self.charge(position, amount)
            self.touch(self.pool_of(position))
            self.emit_funding(
                self.accounts[self.positions[position].account].id, symbol, amount, rate,
                self.positions[position].leg)
            paid = add_checked(paid, amount)
        if instrument.external.quantity:
            amount = self.funding_owed(<int32_t>symbol, instrument.external.quantity, rate)
            books.external = sub_checked(books.external, amount)
            paid = add_checked(paid, amount)
        if instrument.fund.quantity:
            amount = self.funding_owed(<int32_t>symbol, instrument.fund.quantity, rate)
            self.emit_funding(0, symbol, amount, rate, LEG_BOTH)
            self.change_insurance(instrument.insurer, -amount, INSURANCE_FUNDING, NONE)
            paid = add_checked(paid, amount)
        books.rounding = add_checked(books.rounding, paid)
        self.retry_waiting()
        return ACCEPTED

    # What a position owes (negative: is owed); owed rounds up, a credit rounds down.
    cdef int64_t funding_owed(
        self, int32_t symbol, int64_t quantity, int64_t rate
    ) except? -1 nogil:
        if (quantity > 0) == (rate > 0):
            return mul_div_ceil(
                self.marked_notional(symbol, abs64(quantity)), abs64(rate), RATE_SCALE)
        return -mul_div_floor(
            self.marked_worth(symbol, abs64(quantity)), abs64(rate), RATE_SCALE)

    cdef int emit_funding(
        self, int64_t account, int64_t symbol, int64_t amount, int64_t rate, int leg
    ) except -1 nogil:
        cdef int64_t *out = self.emit(EVENT_FUNDING_PAYMENT)
        out[0] = account
        out[1] = symbol
        out[2] = -amount
        out[3] = rate
        out[4] = self.instruments[symbol].mark
        out[5] = leg
        return 0

    # --- halts and time ---------------------------------------------------------------

    def halt(self, int64_t symbol, int mode, int64_t ts=NONE):
        """Stop new orders, liquidations, or both, of a symbol."""
        self.end(
            CMD_HALT, self.do_halt(symbol, mode) if self.begin(ts) else REJECT_MALFORMED, NONE,
            NONE, symbol, NONE)

    def resume(self, int64_t symbol, int64_t ts=NONE):
        """End a halt; waiting pools are looked at at once."""
        self.end(
            CMD_RESUME, self.do_halt(symbol, HALT_NONE) if self.begin(ts) else REJECT_MALFORMED,
            NONE, NONE, symbol, NONE)

    def settle_contract(self, int64_t symbol, int64_t price=NONE, int64_t ts=NONE):
        """Settle a symbol at a price (mark ticks), NONE: at its mark; then it is over."""
        self.end(
            CMD_SETTLE,
            self.do_settle_contract(symbol, price) if self.begin(ts) else REJECT_MALFORMED,
            NONE, NONE, symbol, NONE)

    cdef int do_settle_contract(self, int64_t symbol, int64_t price) except -2 nogil:
        if price <= 0 and price != NONE and price != OFF_GRID and price != TOO_LARGE:
            return REJECT_MALFORMED
        if not 0 <= symbol < self.instrument_count:
            return REJECT_UNKNOWN_SYMBOL
        if self.instruments[symbol].is_over:
            return REJECT_EXPIRED
        if price == OFF_GRID:
            return REJECT_OFF_TICK
        if price == TOO_LARGE or (
                price != NONE and not self.fits(<int32_t>symbol, 0, price)):
            return REJECT_OVERFLOW
        self.deliver(
            <int32_t>symbol, self.instruments[symbol].mark if price == NONE else price)
        return ACCEPTED

    def advance(self, int64_t ts=NONE):
        """Advance the clock."""
        self.end(
            CMD_TIME, ACCEPTED if self.begin(ts) else REJECT_MALFORMED, NONE, NONE, NONE, NONE)
