"""The digest of the whole state, and the check of every invariant."""

import hashlib

from engine.errors import InvariantViolation

from engine.core.book cimport ORDER_PENDING, order_t, ticket_t
from engine.core.ledger cimport asset_t, instrument_t, pool_t, position_t
from engine.core.linked cimport bracket_t, special_t
from engine.core.protection cimport protection_t
from engine.core.types cimport (
    MODE_ISOLATED, MONEY_MAX, NIL, NONE, TYPE_TRAILING_STOP_MARKET,
)
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memset


cdef class Words:
    """A growing row of int64, for the digest."""

    cdef int64_t *data
    cdef Py_ssize_t count, capacity

    def __dealloc__(self):
        free(self.data)

    cdef int put(self, int64_t value) except -1:
        cdef int64_t *data
        if self.count == self.capacity:
            self.capacity = 4096 if self.capacity == 0 else 2 * self.capacity
            data = <int64_t *>realloc(self.data, self.capacity * sizeof(int64_t))
            if data == NULL:
                raise MemoryError("digest")
            self.data = data
        self.data[self.count] = value
        self.count += 1
        return 0

    # Feed what has been gathered to a hash, and start anew.
    cdef int flush(self, object digest) except -1:
        digest.update((<char *>self.data)[:self.count * <Py_ssize_t>sizeof(int64_t)])
        self.count = 0
        return 0


cdef class Audit(Views):
    """What vouches for the state: its hash and its invariants."""

    def digest(self):
        """Hash of the logical state: a canonical walk, 8 bytes little-endian an integer.

        Rows that hold nothing but defaults are left out, so it makes no difference
        whether anybody ever looked at them. O(everything).
        """
        cdef Words words = Words()
        cdef int32_t i
        cdef asset_t *books
        digest = hashlib.blake2b(digest_size=16)
        words.put(self.ts)
        words.put(self.trade_id)
        words.put(self.arrivals)
        words.put(self.asset_count)
        words.put(self.instrument_count)
        for i in range(self.asset_count):
            books = &self.assets[i]
            words.put(books.deposits)
            words.put(books.withdrawals)
            words.put(books.insurance)
            words.put(books.fees)
            words.put(books.rounding)
            words.put(books.external)
        for i in range(self.instrument_count):
            digest_instrument(self, i, words)
        for _, i in sorted([(self.accounts[i].id, i) for i in range(self.account_count)]):
            digest_account(self, i, words)
            if words.count > 4096:
                words.flush(digest)
        for i in self.waiting:
            words.put(self.accounts[self.pools[i].account].id)
            words.put(self.pools[i].asset)
            words.put(self.pools[i].symbol if self.pools[i].symbol >= 0 else NONE)
        words.flush(digest)
        return digest.digest()

    # --- invariants -------------------------------------------------------------------

    def check(self):
        """Raise unless everything that must hold between commands does; O(everything).

        Recomputes every pool from scratch: one that has reached a threshold which the
        trigger index has not reported is a failure.
        """
        cdef int32_t i
        for i in range(self.asset_count):
            self.require(self.totals_view(i)["drift"] == 0, f"drift: {self.totals_view(i)}")
        for i in range(self.instrument_count):
            self.require(sum(self.position_totals(i)) == 0, f"positions of symbol {i}")
            self.check_book(i)
        for i in range(self.account_count):
            self.check_account(i)
        self.require(
            not (self.pending_count or self.queue_count or self.turn_count or self.noted_count
                 or self.tripped_count), "work left undone")

    def require(self, bint condition, str what):
        """Raise `InvariantViolation` unless the condition holds."""
        if not condition:
            raise InvariantViolation(what)

    cdef int check_account(self, int32_t account) except -1:
        cdef int32_t row = self.accounts[account].first_position
        cdef int32_t pool = self.accounts[account].first_wallet
        cdef int64_t value[2]
        cdef int32_t order
        cdef int side
        while pool >= 0:
            check_pool(self, pool)
            pool = self.pools[pool].next_in_account
        while row >= 0:
            if self.positions[row].isolated >= 0:
                pool = self.positions[row].isolated
                check_pool(self, pool)
                self.require(
                    self.positions[row].margin_mode == MODE_ISOLATED
                    or self.pools[pool].balance == 0, f"isolated margin of cross position {row}")
                self.require(
                    self.positions[row].quantity or self.pools[pool].balance <= 0,
                    f"isolated margin without a position {row}")
            self.require(
                self.positions[row].quantity or not self.positions[row].entry_value,
                f"entry value without a position {row}")
            value[0] = value[1] = 0
            order = self.positions[row].first_order
            while order >= 0:
                self.require(
                    0 < self.orders[order].leaves <= self.tickets[order].quantity,
                    f"leaves of order row {order}")
                self.check_order(order)
                if self.orders[order].is_resting and not self.orders[order].is_reduce_only:
                    value[self.orders[order].side] += self.value_at_tick(
                        self.orders[order].symbol, self.orders[order].leaves,
                        self.orders[order].price)
                order = self.tickets[order].own_next
            for side in range(2):
                self.require(
                    value[side] == self.positions[row].side_value[side],
                    f"order value of position row {row}")
            row = self.positions[row].next_in_account
        return 0

    # An order that waits for a price waits for it; one in the book shows something.
    cdef int check_order(self, int32_t order) except -1:
        cdef int32_t symbol = self.orders[order].symbol
        cdef int64_t price
        if self.orders[order].is_resting:
            self.require(
                self.orders[order].hidden < self.orders[order].leaves, f"hidden order {order}")
            return 0
        self.require(self.tickets[order].state == ORDER_PENDING, f"state of order row {order}")
        price = self.reference(
            symbol, self.specials[self.tickets[order].special].trigger_by)
        if (price != NONE and not self.is_asleep(symbol)
                and self.tickets[order].kind != TYPE_TRAILING_STOP_MARKET):
            self.require(not self.is_satisfied(order, price), f"missed trigger: order {order}")
        return 0

    cdef bint is_protected(self, const position_t *position) noexcept:
        return position.protection >= 0 and self.protections[position.protection].is_on

    cdef int check_book(self, int32_t symbol) except -1:
        cdef int side
        cdef int32_t level, order, last
        cdef int64_t lots, hidden, count, long_lots
        cdef int32_t best[2]
        for side in range(2):
            level = self.books[symbol].sides[side].best
            best[side] = level
            last = NIL
            while level >= 0:
                lots = hidden = count = 0
                order = self.books[symbol].levels[level].head
                while order >= 0:
                    lots += self.orders[order].leaves - self.orders[order].hidden
                    hidden += self.orders[order].hidden
                    count += 1
                    self.require(
                        self.orders[order].level == level, f"level of order row {order}")
                    order = self.orders[order].next
                self.require(
                    count == self.books[symbol].levels[level].count
                    and lots == self.books[symbol].levels[level].quantity
                    and hidden == self.books[symbol].levels[level].hidden,
                    f"totals of level row {level}")
                self.require(
                    self.books[symbol].levels[level].better == last, f"link of level {level}")
                last = level
                level = self.books[symbol].levels[level].worse
        self.require(
            best[0] < 0 or best[1] < 0 or self.is_asleep(symbol)
            or self.books[symbol].levels[best[0]].price < self.books[symbol].levels[best[1]].price,
            f"crossed book of symbol {symbol}")
        long_lots = max(0, self.instruments[symbol].fund.quantity) + max(
            0, self.instruments[symbol].external.quantity)
        for order in range(self.instruments[symbol].holder_count):
            long_lots += max(
                0, self.positions[self.instruments[symbol].holders[order]].quantity)
        self.require(
            long_lots == self.instruments[symbol].long_lots, f"open interest of {symbol}")
        return 0


# A pool outside the queue is not due, one inside is; and every mark is short of their
# triggers.
cdef int check_pool(Audit core, int32_t pool) except -1:
    cdef int64_t equity, maintenance, mark
    cdef int32_t row = core.pools[pool].first_open
    if row < 0:
        return 0
    core.measure(pool, &equity, &maintenance)
    if core.pools[pool].in_queue:
        core.require(equity <= maintenance, f"missed release: pool row {pool}")
    else:
        core.require(
            equity > maintenance,
            f"missed breach: pool row {pool}, equity {equity}, maintenance {maintenance}")
        core.require(
            core.level_of(&core.pools[pool], equity, maintenance)
            == core.pools[pool].call_level, f"missed margin call: pool row {pool}")
    while row >= 0:
        mark = core.instruments[core.positions[row].symbol].mark
        core.require(
            core.positions[row].trigger[0] < mark < core.positions[row].trigger[1],
            f"trigger of position row {row} passed unseen")
        row = core.positions[row].next_open
    return 0


cdef int digest_instrument(Audit core, int32_t symbol, Words words) except -1:
    cdef instrument_t *instrument = &core.instruments[symbol]
    cdef int k, side
    cdef int32_t level, order
    words.put(instrument.settle)
    words.put(instrument.marks_per_tick)
    words.put(instrument.unit_value)
    words.put(instrument.maker_fee)
    words.put(instrument.taker_fee)
    words.put(instrument.liquidation_fee)
    words.put(instrument.price_band)
    words.put(instrument.max_order_quantity)
    words.put(instrument.max_open_orders)
    words.put(instrument.min_order_quantity)
    words.put(instrument.min_order_notional)
    words.put(instrument.max_order_notional)
    words.put(instrument.schedule.rule)
    words.put(instrument.schedule.count)
    for k in range(instrument.schedule.count):
        words.put(instrument.schedule.tiers[k].min_notional)
        words.put(instrument.schedule.tiers[k].max_notional)
        words.put(instrument.schedule.tiers[k].rate)
        words.put(instrument.schedule.tiers[k].max_leverage)
    words.put(instrument.mark)
    words.put(instrument.index_price)
    words.put(core.books[symbol].last_price)
    words.put(instrument.feed_seq)
    words.put(instrument.halt)
    words.put(instrument.fund.quantity)
    words.put(instrument.fund.entry_value)
    words.put(instrument.external.quantity)
    words.put(instrument.external.entry_value)
    for side in range(2):
        level = core.books[symbol].sides[side].best
        while level >= 0:
            order = core.books[symbol].levels[level].head
            while order >= 0:
                words.put(core.orders[order].price)
                words.put(core.accounts[core.orders[order].account].id)
                words.put(core.orders[order].order_id)
                order = core.orders[order].next
            level = core.books[symbol].levels[level].worse
    return 0


# What an isolated pool that was never needed looks like.
cdef pool_t NO_POOL
memset(&NO_POOL, 0, sizeof(pool_t))


cdef int digest_pool(pool_t *pool, Words words) except -1:
    words.put(pool.balance)
    words.put(pool.call_level)
    words.put(pool.in_queue)
    words.put(pool.is_waiting)
    words.put(pool.is_bankrupt)
    words.put(pool.steps if pool.in_queue else 0)
    return 0


cdef int digest_account(Audit core, int32_t account, Words words) except -1:
    cdef int32_t pool = core.accounts[account].first_wallet
    cdef int32_t row = core.accounts[account].first_position
    cdef int32_t order
    cdef position_t *position
    cdef int64_t margin
    words.put(core.accounts[account].id)
    words.put(core.accounts[account].margin_mode)
    words.put(core.accounts[account].stp_group)
    words.put(core.accounts[account].dead_man)
    while pool >= 0:
        if (core.pools[pool].balance or core.pools[pool].call_level
                or core.pools[pool].in_queue):
            words.put(core.pools[pool].asset)
            digest_pool(&core.pools[pool], words)
        pool = core.pools[pool].next_in_account
    while row >= 0:
        position = &core.positions[row]
        row = position.next_in_account
        margin = 0
        if position.isolated >= 0:
            margin = core.pools[position.isolated].balance
        if (position.quantity == 0 and position.order_count == 0 and margin == 0
                and position.leverage == 0 and not core.is_protected(position)
                and position.margin_mode == core.accounts[account].margin_mode):
            continue
        words.put(position.symbol)
        words.put(position.quantity)
        words.put(position.entry_value)
        words.put(position.leverage)
        words.put(position.margin_mode)
        if position.isolated >= 0:
            digest_pool(&core.pools[position.isolated], words)
        else:
            digest_pool(&NO_POOL, words)
        digest_protection(core, position, words)
        order = position.first_order
        while order >= 0:
            digest_order(core, order, words)
            order = core.tickets[order].own_next
    return 0


cdef int digest_protection(Audit core, const position_t *position, Words words) except -1:
    cdef protection_t *row
    if not core.is_protected(position):
        return words.put(NONE)
    row = &core.protections[position.protection]
    words.put(row.window)
    words.put(row.quantity)
    words.put(row.count)
    words.put(row.freeze)
    words.put(row.start)
    words.put(row.lots)
    words.put(row.trades)
    # A freeze that is over is none.
    return words.put(
        row.frozen_until
        if row.frozen_until == MONEY_MAX or row.frozen_until > core.ts else 0)


cdef int digest_order(Audit core, int32_t row, Words words) except -1:
    cdef order_t *order = &core.orders[row]
    cdef ticket_t *ticket = &core.tickets[row]
    words.put(order.order_id)
    words.put(order.side)
    words.put(order.price)
    words.put(ticket.quantity)
    words.put(order.leaves)
    words.put(ticket.time_in_force)
    words.put(ticket.is_post_only)
    words.put(order.is_reduce_only)
    words.put(order.stp)
    words.put(ticket.kind)
    words.put(ticket.arrival)
    words.put(order.hidden)
    return digest_special(core, row, words)


cdef int digest_special(Audit core, int32_t row, Words words) except -1:
    cdef int32_t at = core.tickets[row].special
    cdef special_t plain
    cdef special_t *special = &plain
    plain.trigger_price = plain.callback_rate = plain.peak = plain.display = NONE
    plain.expire_ts = plain.parent_id = NONE
    plain.group = plain.bracket = NIL
    plain.trigger_by = -1
    plain.close_position = 0
    if at >= 0:
        special = &core.specials[at]
    words.put(special.trigger_price)
    words.put(special.trigger_by if special.trigger_by >= 0 else NONE)
    words.put(special.callback_rate)
    words.put(special.display)
    words.put(special.expire_ts)
    words.put(special.close_position)
    words.put(core.groups[special.group].oco if special.group >= 0 else NONE)
    words.put(special.parent_id)
    words.put(core.tickets[row].state == ORDER_PENDING)
    words.put(special.peak)
    if special.bracket >= 0 and core.brackets[special.bracket].entry == row:
        return digest_bracket(core, &core.brackets[special.bracket], words)
    words.put(NONE)
    words.put(NONE)
    words.put(NONE)
    words.put(NONE)
    return words.put(0)


# Children that wait for the entry's first fill, then those that stand for its fills.
cdef int digest_bracket(Audit core, const bracket_t *bracket, Words words) except -1:
    cdef int32_t child
    cdef int which
    for which in range(2):
        child = bracket.child[which]
        if child < 0 or bracket.armed:
            words.put(NONE)
            continue
        words.put(core.orders[child].order_id)
        words.put(core.specials[core.tickets[child].special].trigger_price)
        words.put(core.specials[core.tickets[child].special].trigger_by)
        words.put(core.orders[child].price)
    for which in range(2):
        child = bracket.child[which]
        words.put(core.orders[child].order_id if child >= 0 and bracket.armed else NONE)
    return words.put(bracket.armed)
