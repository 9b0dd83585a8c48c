"""Queries, the digest of the state, and the check of every invariant."""

import hashlib

from engine.errors import InvariantViolation
from engine.messages import RejectReason

from engine.core.book cimport order_t
from engine.core.fixed cimport (
    abs64, add, ceil_div, floor_div, high_half, i128, low_half, mul, mul_wide, narrow, neg, sub,
    wide,
)
from engine.core.ledger cimport asset_t, instrument_t, pool_t, position_t
from engine.core.liquidation cimport measured_t
from engine.core.risk cimport bound_t
from engine.core.tables cimport table_get
from engine.core.tiers cimport tier_index, tier_t
from engine.core.types cimport (
    ACCOUNT_ACTIVE, ACCOUNT_BANKRUPT, ACCOUNT_LIQUIDATING, ACCOUNT_MARGIN_CALL, MODE_ISOLATED,
    MONEY_MAX, NIL, NONE, RATE_SCALE, SIDE_BUY, STATUS_OPEN,
    STATUS_PARTIALLY_FILLED,
)
from libc.stdint cimport uint64_t
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


cdef class Views(Orders):
    """Reads of one exchange. They raise `LookupError` for what is unknown."""

    def has_order(self, int64_t account, int64_t order_id):
        """Whether an account has a live order of this id."""
        cdef int32_t owner = self.find_account(account)
        return owner >= 0 and table_get(&self.order_table, owner, order_id) >= 0

    def account_ids(self):
        """Ids of all accounts, ascending."""
        return sorted([self.accounts[i].id for i in range(self.account_count)])

    # --- accounts ---------------------------------------------------------------------

    def account_view(self, int64_t account):
        """Status, wallets and cross pools of an account."""
        cdef int32_t owner = self.find_account(account)
        cdef int32_t wallet, row
        cdef int status = ACCOUNT_ACTIVE
        cdef int64_t equity, maintenance, initial, profit, reserve
        cdef bint has_orders
        cdef list pools = []
        if owner < 0:
            raise LookupError(RejectReason.UNKNOWN_ACCOUNT)
        row = self.accounts[owner].first_position
        while row >= 0:
            if self.positions[row].isolated >= 0:
                status = max(status, self.pool_status(self.positions[row].isolated))
            row = self.positions[row].next_in_account
        wallet = self.accounts[owner].first_wallet
        while wallet >= 0:
            status = max(status, self.pool_status(wallet))
            reserve = self.orders_reserve(wallet, False)
            has_orders = False
            row = self.accounts[owner].first_position
            while row >= 0:
                if self.positions[row].wallet == wallet and self.positions[row].order_count:
                    has_orders = True
                row = self.positions[row].next_in_account
            if (self.pools[wallet].balance or self.pools[wallet].first_open >= 0 or has_orders):
                self.measure(wallet, &equity, &maintenance)
                initial = profit = 0
                row = self.pools[wallet].first_open
                while row >= 0:
                    initial += self.initial(row)
                    profit += self.unrealized(row)
                    row = self.positions[row].next_open
                pools.append({
                    "asset": self.pools[wallet].asset,
                    "wallet": self.pools[wallet].balance,
                    "equity": equity,
                    "unrealized_pnl": profit,
                    "initial_margin": initial,
                    "order_margin": reserve,
                    "maintenance_margin": maintenance,
                    "available_margin": max(0, self.free_margin(wallet)),
                    "is_open": int(self.pools[wallet].first_open >= 0),
                })
            wallet = self.pools[wallet].next_in_account
        return {"status": status, "pools": pools}

    cdef int pool_status(self, int32_t pool) except -1:
        cdef pool_t *row = &self.pools[pool]
        if row.in_queue:
            return ACCOUNT_LIQUIDATING
        if row.balance < 0 and row.first_open < 0:
            return ACCOUNT_BANKRUPT
        return ACCOUNT_MARGIN_CALL if row.call_level else ACCOUNT_ACTIVE

    def position_views(self, int64_t account, int64_t symbol=NONE):
        """Open positions of an account, by symbol."""
        cdef int32_t owner = self.find_account(account)
        cdef int32_t row
        if owner < 0:
            raise LookupError(RejectReason.UNKNOWN_ACCOUNT)
        if symbol != NONE and not 0 <= symbol < self.instrument_count:
            raise LookupError(RejectReason.UNKNOWN_SYMBOL)
        views = []
        row = self.accounts[owner].first_position
        while row >= 0:
            if self.positions[row].quantity and (
                    symbol == NONE or self.positions[row].symbol == symbol):
                views.append(self.position_view(row))
            row = self.positions[row].next_in_account
        return views

    cdef dict position_view(self, int32_t position):
        cdef position_t *row = &self.positions[position]
        cdef instrument_t *instrument = &self.instruments[row.symbol]
        cdef int64_t equity, maintenance
        cdef int64_t margin = 0
        self.measure(self.pool_of(position), &equity, &maintenance)
        if row.isolated >= 0:
            margin = self.pools[row.isolated].balance
        return {
            "symbol": row.symbol,
            "quantity": row.quantity,
            "entry_value": row.entry_value,
            "mark_price": instrument.mark,
            "notional": self.notional(position),
            "unrealized_pnl": self.unrealized(position),
            "leverage": self.leverage_of(position),
            "margin_mode": row.margin_mode,
            "isolated_margin": margin,
            "initial_margin": self.initial(position),
            "maintenance_margin": self.maintenance(position),
            "tier": tier_index(&instrument.schedule, self.notional(position)) + 1,
            "pool_equity": equity,
            "pool_maintenance_margin": maintenance,
            "liquidation_price": self.liquidation_price(position),
            "bankruptcy_price": self.bankruptcy_price(position),
            "adl_rank": self.adl_rank(position),
        }

    # First mark from the safe side at which the pool is due, all else equal, NONE where
    # there is none. The trigger solver with the whole slack given to this position.
    cdef int64_t liquidation_price(self, int32_t position) except? -1:
        cdef position_t *row = &self.positions[position]
        cdef int64_t equity, maintenance, price
        cdef int step = -1 if row.quantity > 0 else 1
        cdef bound_t bound
        cdef i128 own
        self.measure(self.pool_of(position), &equity, &maintenance)
        own = sub(wide(self.unrealized(position)), wide(self.maintenance(position)))
        # Due while the position contributes at most own - (equity - maintenance).
        own = sub(own, sub(wide(equity), wide(maintenance)))
        bound.weight = RATE_SCALE
        if equity > maintenance:
            bound.sense = 1
            bound.limit = mul_wide(add(own, wide(1)), RATE_SCALE)
            price = self.walk(row, &bound, step)
        else:
            # Walk toward safety; the last mark that is still due is the answer.
            price = self.walk_due(position, narrow(own), -step)
            if price != (MONEY_MAX if step < 0 else 0):
                price += step
        if price <= 0 or price >= MONEY_MAX:
            return NONE
        return price

    # First mark in direction `step` at which the position contributes more than `most`.
    # Rounding of the requirement makes it exact only on the strict side, so it is solved
    # as the failure of "at most", tier by tier.
    cdef int64_t walk_due(self, int32_t position, int64_t most, int step) except? -1:
        cdef bound_t bound
        bound.weight = RATE_SCALE
        bound.sense = -1
        # contribution <= most fails where value - requirement, not rounded up, reaches
        # most + 1: value x scale - requirement x scale < (most + 1) x scale.
        bound.limit = sub(mul(most + 1, RATE_SCALE), wide(1))
        return self.walk(&self.positions[position], &bound, step)

    # Mark at which the pool's equity is spent, the others at theirs: up for a long, down for
    # a short; NONE where there is none above zero.
    cdef int64_t bankruptcy_price(self, int32_t position) except? -1:
        cdef position_t *row = &self.positions[position]
        cdef instrument_t *instrument = &self.instruments[row.symbol]
        cdef int64_t equity, maintenance
        cdef i128 per_mark = mul(abs64(row.quantity), instrument.unit_value)
        cdef i128 spent, price
        self.measure(self.pool_of(position), &equity, &maintenance)
        spent = sub(wide(self.value(row.symbol, row.quantity, instrument.mark)), wide(equity))
        if row.quantity > 0:
            price = ceil_div(spent, per_mark)
        else:
            price = floor_div(neg(spent), per_mark)
        if price <= wide(0) or price > wide(MONEY_MAX):
            return NONE
        return narrow(price)

    # Place of a position in its side's deleveraging order, NONE where it is not ranked.
    # O(holders of the symbol).
    cdef int64_t adl_rank(self, int32_t position) except? -1:
        cdef instrument_t *instrument = &self.instruments[self.positions[position].symbol]
        cdef int32_t i, other
        cdef int64_t equity, maintenance, score, own
        cdef int64_t rank = 1
        cdef int64_t account = self.accounts[self.positions[position].account].id
        self.measure(self.pool_of(position), &equity, &maintenance)
        if self.pools[self.pool_of(position)].in_queue or equity <= 0:
            return NONE
        own = self.score_of(position, equity)
        for i in range(instrument.holder_count):
            other = instrument.holders[i]
            if other == position or (
                    (self.positions[other].quantity > 0)
                    != (self.positions[position].quantity > 0)):
                continue
            if self.pools[self.pool_of(other)].in_queue:
                continue
            self.measure(self.pool_of(other), &equity, &maintenance)
            if equity <= 0:
                continue
            score = self.score_of(other, equity)
            if score > own or (
                    score == own
                    and self.accounts[self.positions[other].account].id < account):
                rank += 1
        return rank

    def order_views(self, int64_t account):
        """Live orders of an account, by symbol, then in order of acceptance."""
        cdef int32_t owner = self.find_account(account)
        cdef int32_t row, order
        cdef order_t *o
        if owner < 0:
            raise LookupError(RejectReason.UNKNOWN_ACCOUNT)
        views = []
        row = self.accounts[owner].first_position
        while row >= 0:
            order = self.positions[row].first_order
            while order >= 0:
                o = &self.orders[order]
                views.append({
                    "order_id": o.order_id, "symbol": o.symbol, "side": o.side, "type": o.kind,
                    "price": o.price, "quantity": o.quantity, "filled": o.quantity - o.leaves,
                    "leaves": o.leaves,
                    "status": STATUS_PARTIALLY_FILLED if o.quantity > o.leaves else STATUS_OPEN,
                    "time_in_force": o.time_in_force, "post_only": o.is_post_only,
                    "reduce_only": o.is_reduce_only, "stp": o.stp,
                })
                order = o.own_next
            row = self.positions[row].next_in_account
        return views

    # --- markets ----------------------------------------------------------------------

    def require_symbol(self, int64_t symbol):
        """Raise for a symbol that does not exist."""
        if not 0 <= symbol < self.instrument_count:
            raise LookupError(RejectReason.UNKNOWN_SYMBOL)

    def book_levels(self, int64_t symbol, int side, int64_t depth):
        """Best `depth` levels of a side: (price, [(account, order_id, leaves), ...])."""
        cdef int32_t level, order
        self.require_symbol(symbol)
        level = self.books[symbol].sides[side].best
        levels = []
        while level >= 0 and depth > 0:
            orders = []
            order = self.books[symbol].levels[level].head
            while order >= 0:
                orders.append((
                    self.accounts[self.orders[order].account].id, self.orders[order].order_id,
                    self.orders[order].leaves))
                order = self.orders[order].next
            levels.append((self.books[symbol].levels[level].price, orders))
            level = self.books[symbol].levels[level].worse
            depth -= 1
        return levels

    def instrument_view(self, int64_t symbol):
        """Prices, halt, open interest and house positions of a symbol."""
        cdef instrument_t *instrument
        self.require_symbol(symbol)
        instrument = &self.instruments[symbol]
        return {
            "mark_price": instrument.mark, "index_price": instrument.index_price,
            "last_price": self.books[symbol].last_price, "feed_seq": instrument.feed_seq,
            "halt": instrument.halt, "open_interest": instrument.long_lots,
            "fund_quantity": instrument.fund.quantity,
            "fund_entry_value": instrument.fund.entry_value,
            "external_quantity": instrument.external.quantity,
            "external_entry_value": instrument.external.entry_value,
        }

    def tier_views(self, int64_t symbol):
        """Rows of (min, max, rate, leverage, deduction times 1e8)."""
        cdef int k
        cdef tier_t *tier
        self.require_symbol(symbol)
        rows = []
        for k in range(self.instruments[symbol].schedule.count):
            tier = &self.instruments[symbol].schedule.tiers[k]
            rows.append((
                tier.min_notional, tier.max_notional, tier.rate, tier.max_leverage,
                (int(high_half(tier.deduction)) << 64) + int(
                    <uint64_t>low_half(tier.deduction))))
        return rows

    def queue_view(self):
        """(account, asset, symbol, equity, maintenance margin, steps, waiting), worst first."""
        cdef int32_t i, pool
        cdef measured_t row
        rows = []
        for i in range(self.queue_count):
            rows.append(self.queue[i].pool)
        rows.extend(self.waiting)
        measured = []
        for pool in rows:
            row = self.measured(pool)
            measured.append((UrgencyKey.of(row), (
                row.account, row.asset, row.symbol if row.symbol >= 0 else NONE, row.equity,
                row.maintenance, self.pools[pool].steps, int(self.pools[pool].is_waiting))))
        return [entry for _, entry in sorted(measured)]

    def adl_view(self, int64_t symbol, int side):
        """(account, score, lots) of the holders of a side, first to be closed first."""
        cdef instrument_t *instrument
        cdef int32_t i, position
        cdef int64_t equity, maintenance
        self.require_symbol(symbol)
        instrument = &self.instruments[symbol]
        rows = []
        for i in range(instrument.holder_count):
            position = instrument.holders[i]
            if (self.positions[position].quantity > 0) != (side == SIDE_BUY):
                continue
            if self.pools[self.pool_of(position)].in_queue:
                continue
            self.measure(self.pool_of(position), &equity, &maintenance)
            if equity > 0:
                rows.append((
                    -self.score_of(position, equity),
                    self.accounts[self.positions[position].account].id,
                    abs64(self.positions[position].quantity)))
        rows.sort()
        return [(account, -score, lots) for score, account, lots in rows]

    # --- totals and digest ------------------------------------------------------------

    def insurance_balance(self, int64_t asset):
        """Balance of the insurance fund."""
        if not 0 <= asset < self.asset_count:
            raise LookupError(RejectReason.UNKNOWN_ASSET)
        return self.assets[asset].insurance

    def totals_view(self, int32_t asset):
        """The terms of the conservation identity of one asset, and their drift."""
        cdef int32_t i
        cdef asset_t *books = &self.assets[asset]
        wallets = isolated = entries = 0
        for i in range(self.pool_count):
            if self.pools[i].asset == asset:
                if self.pools[i].symbol < 0:
                    wallets += self.pools[i].balance
                else:
                    isolated += self.pools[i].balance
        for i in range(self.position_count):
            if self.instruments[self.positions[i].symbol].settle == asset:
                entries += self.positions[i].entry_value
        for i in range(self.instrument_count):
            if self.instruments[i].settle == asset:
                entries += self.instruments[i].fund.entry_value
                entries += self.instruments[i].external.entry_value
        total = (wallets + isolated + books.insurance + books.fees + books.rounding
                 + books.external - entries)
        return {
            "deposits": books.deposits, "withdrawals": books.withdrawals, "wallets": wallets,
            "isolated_margins": isolated, "insurance": books.insurance, "fees": books.fees,
            "rounding": books.rounding, "external": books.external, "entry_values": entries,
            "drift": books.deposits - books.withdrawals - total,
        }

    def position_totals(self, int64_t symbol):
        """Net lots held by (accounts, fund, external account); they sum to zero."""
        cdef int32_t i
        self.require_symbol(symbol)
        held = 0
        for i in range(self.instruments[symbol].holder_count):
            held += self.positions[self.instruments[symbol].holders[i]].quantity
        return (held, self.instruments[symbol].fund.quantity,
                self.instruments[symbol].external.quantity)

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
        for i in sorted(range(self.account_count), key=self.account_id):
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
        self.require(self.pending_count == 0 and self.queue_count == 0, "work left undone")

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
                    0 < self.orders[order].leaves <= self.orders[order].quantity,
                    f"leaves of order row {order}")
                if not self.orders[order].is_reduce_only:
                    value[self.orders[order].side] += self.value_at_tick(
                        self.orders[order].symbol, self.orders[order].leaves,
                        self.orders[order].price)
                order = self.orders[order].own_next
            for side in range(2):
                self.require(
                    value[side] == self.positions[row].side_value[side],
                    f"order value of position row {row}")
            row = self.positions[row].next_in_account
        return 0

    cdef int check_book(self, int32_t symbol) except -1:
        cdef int side
        cdef int32_t level, order, last
        cdef int64_t lots, count, long_lots
        cdef int32_t best[2]
        for side in range(2):
            level = self.books[symbol].sides[side].best
            best[side] = level
            last = NIL
            while level >= 0:
                lots = count = 0
                order = self.books[symbol].levels[level].head
                while order >= 0:
                    lots += self.orders[order].leaves
                    count += 1
                    self.require(
                        self.orders[order].level == level, f"level of order row {order}")
                    order = self.orders[order].next
                self.require(
                    count == self.books[symbol].levels[level].count
                    and lots == self.books[symbol].levels[level].quantity,
                    f"totals of level row {level}")
                self.require(
                    self.books[symbol].levels[level].better == last, f"link of level {level}")
                last = level
                level = self.books[symbol].levels[level].worse
        self.require(
            best[0] < 0 or best[1] < 0
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


class UrgencyKey:
    """Makes rows sortable in the order of the queue."""

    __slots__ = ("row",)

    @staticmethod
    def of(row):
        key = UrgencyKey()
        key.row = row
        return key

    def __lt__(self, other):
        return urgency_less(self.row, other.row)


def urgency_less(dict a, dict b):
    """Whether a measured pool is worked on before another."""
    class_a = 1 if a["maintenance"] else (0 if a["equity"] <= 0 else 2)
    class_b = 1 if b["maintenance"] else (0 if b["equity"] <= 0 else 2)
    if class_a != class_b:
        return class_a < class_b
    left = right = 0
    if class_a == 1:
        left, right = a["equity"] * b["maintenance"], b["equity"] * a["maintenance"]
    return (left, a["account"], a["asset"], a["symbol"]) < (
        right, b["account"], b["asset"], b["symbol"])


# A pool outside the queue is not due, and every mark is short of its triggers.
cdef int check_pool(Views core, int32_t pool) except -1:
    cdef int64_t equity, maintenance, mark
    cdef int32_t row = core.pools[pool].first_open
    if row < 0 or core.pools[pool].in_queue:
        return 0
    core.measure(pool, &equity, &maintenance)
    core.require(
        equity > maintenance,
        f"missed breach: pool row {pool}, equity {equity}, maintenance {maintenance}")
    core.require(
        core.level_of(&core.pools[pool], equity, maintenance) == core.pools[pool].call_level,
        f"missed margin call: pool row {pool}")
    while row >= 0:
        mark = core.instruments[core.positions[row].symbol].mark
        core.require(
            core.positions[row].trigger[0] < mark < core.positions[row].trigger[1],
            f"trigger of position row {row} passed unseen")
        row = core.positions[row].next_open
    return 0


cdef int digest_instrument(Views core, int32_t symbol, Words words) except -1:
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


cdef int digest_account(Views core, int32_t account, Words words) except -1:
    cdef int32_t pool = core.accounts[account].first_wallet
    cdef int32_t row = core.accounts[account].first_position
    cdef int32_t order
    cdef position_t *position
    cdef int64_t margin
    words.put(core.accounts[account].id)
    words.put(core.accounts[account].margin_mode)
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
                and position.leverage == 0
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
        order = position.first_order
        while order >= 0:
            digest_order(&core.orders[order], words)
            order = core.orders[order].own_next
    return 0


cdef int digest_order(order_t *order, Words words) except -1:
    words.put(order.order_id)
    words.put(order.side)
    words.put(order.price)
    words.put(order.quantity)
    words.put(order.leaves)
    words.put(order.time_in_force)
    words.put(order.is_post_only)
    words.put(order.is_reduce_only)
    words.put(order.stp)
    return 0
