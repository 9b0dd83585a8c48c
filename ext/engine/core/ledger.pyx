"""The ledger: who owns what, and the elementary movements of money.

Each movement has two sides here, so the identity of `totals` holds after every method.
"""

from libc.stdlib cimport free
from libc.string cimport memset

from engine.core.fixed cimport (
    abs64, add, add_checked, max64, min64, mul, mul_div_ceil, mul_div_floor, mul_wide, narrow,
    neg, sub_checked, wide,
)
from engine.core.memory cimport larger
from engine.core.tables cimport table_free, table_get, table_init, table_put
from engine.core.tiers cimport (
    allowed_leverage, initial_margin, isolated_share, maintenance_margin,
)
from engine.core.types cimport (
    EVENT_BALANCE, EVENT_INSURANCE, EVENT_ORDER_UPDATE, EVENT_POSITION, MODE_CROSS,
    MODE_ISOLATED, MONEY_MAX, NIL, RATE_SCALE, STATUS_FILLED, STATUS_OPEN,
    STATUS_PARTIALLY_FILLED,
)

cdef int64_t DEFAULT_LEVERAGE = 20 * RATE_SCALE


cdef class Ledger(Desk):
    """State of one exchange, and the elementary changes of it."""

    def __cinit__(self):
        self.records = Records()
        self.changed_pools = []
        self.changed_positions = []
        table_init(&self.account_table, 1024)
        table_init(&self.position_table, 1024)

    def __dealloc__(self):
        cdef int32_t i
        for i in range(self.instrument_count):
            free(self.instruments[i].holders)
        free(self.assets)
        free(self.instruments)
        free(self.accounts)
        free(self.pools)
        free(self.positions)
        free(self.changed_orders)
        free(self.pending)
        table_free(&self.account_table)
        table_free(&self.position_table)

    # --- rows -------------------------------------------------------------------------

    cdef int32_t find_account(self, int64_t account) noexcept:
        return table_get(&self.account_table, 0, account)

    cdef int32_t new_account(self, int64_t account, int margin_mode) except -1:
        cdef int32_t row = self.account_count
        if row == self.account_capacity:
            self.accounts = <account_t *>larger(
                self.accounts, &self.account_capacity, row + 1, sizeof(account_t))
        table_put(&self.account_table, 0, account, row)
        self.accounts[row].id = account
        self.accounts[row].first_wallet = self.accounts[row].first_position = NIL
        self.accounts[row].margin_mode = margin_mode
        self.account_count += 1
        return row

    cdef int32_t new_pool(self, int32_t account, int32_t asset, int32_t symbol) except -1:
        cdef int32_t row = self.pool_count
        cdef pool_t *pool
        if row == self.pool_capacity:
            self.pools = <pool_t *>larger(
                self.pools, &self.pool_capacity, row + 1, sizeof(pool_t))
        pool = &self.pools[row]
        memset(pool, 0, sizeof(pool_t))
        pool.account = account
        pool.asset = asset
        pool.symbol = symbol
        pool.first_open = pool.next_in_account = pool.heap_index = NIL
        self.pool_count += 1
        return row

    # The cross pool of an account in an asset, made when first asked for.
    cdef int32_t wallet_of(self, int32_t account, int32_t asset) except -1:
        cdef int32_t row = self.accounts[account].first_wallet
        cdef int32_t before = NIL, made
        while row >= 0 and self.pools[row].asset < asset:
            before = row
            row = self.pools[row].next_in_account
        if row >= 0 and self.pools[row].asset == asset:
            return row
        made = self.new_pool(account, asset, NIL)
        self.pools[made].next_in_account = row
        if before < 0:
            self.accounts[account].first_wallet = made
        else:
            self.pools[before].next_in_account = made
        return made

    cdef int32_t find_position(self, int32_t account, int32_t symbol) noexcept:
        return table_get(&self.position_table, account, symbol)

    # The position row of an account in a symbol, made when first asked for.
    cdef int32_t position_at(self, int32_t account, int32_t symbol) except -1:
        cdef int32_t row = table_get(&self.position_table, account, symbol)
        cdef int32_t before = NIL, after
        cdef position_t *position
        if row >= 0:
            return row
        row = self.position_count
        if row == self.position_capacity:
            self.positions = <position_t *>larger(
                self.positions, &self.position_capacity, row + 1, sizeof(position_t))
        table_put(&self.position_table, account, symbol, row)
        self.position_count += 1
        position = &self.positions[row]
        memset(position, 0, sizeof(position_t))
        position.account = account
        position.symbol = symbol
        position.wallet = self.wallet_of(account, self.instruments[symbol].settle)
        position.isolated = position.prev_open = position.next_open = NIL
        position.holder_slot = position.first_order = position.last_order = NIL
        position.margin_mode = self.accounts[account].margin_mode
        position.trigger[1] = MONEY_MAX
        position.extreme_price[1] = MONEY_MAX
        after = self.accounts[account].first_position
        while after >= 0 and self.positions[after].symbol < symbol:
            before = after
            after = self.positions[after].next_in_account
        position.next_in_account = after
        if before < 0:
            self.accounts[account].first_position = row
        else:
            self.positions[before].next_in_account = row
        return row

    # The pool that margins a position.
    cdef int32_t pool_of(self, int32_t position) except -1:
        cdef position_t *row = &self.positions[position]
        if row.margin_mode == MODE_CROSS:
            return row.wallet
        if row.isolated < 0:
            row.isolated = self.new_pool(
                row.account, self.instruments[row.symbol].settle, row.symbol)
        return row.isolated

    cdef int64_t leverage_of(self, int32_t position) noexcept:
        cdef position_t *row = &self.positions[position]
        if row.leverage:
            return row.leverage
        return min64(
            DEFAULT_LEVERAGE, self.instruments[row.symbol].schedule.tiers[0].max_leverage)

    # Leverage at which an isolated position of so many lots is opened: its tier caps it.
    cdef int64_t opening_leverage(self, int32_t position, int64_t lots) except? -1:
        cdef int32_t symbol = self.positions[position].symbol
        return allowed_leverage(
            &self.instruments[symbol].schedule,
            self.value(symbol, lots, self.instruments[symbol].mark), self.leverage_of(position))

    # --- notes of what changed --------------------------------------------------------

    cdef int64_t *emit(self, int kind) except NULL:
        return self.records.append(kind, self.seq, self.ts) + 4

    # Note that a pool's money or positions changed.
    cdef int touch(self, int32_t pool) except -1:
        cdef pool_t *row = &self.pools[pool]
        row.version += 1
        row.is_waiting = 0
        if row.symbol < 0 and not row.is_changed:
            row.is_changed = 1
            self.changed_pools.append(pool)
        if not row.is_pending:
            self.note_pending(pool)
        return 0

    cdef int note_pending(self, int32_t pool) except -1:
        if self.pools[pool].is_pending:
            return 0
        if self.pending_count == self.pending_capacity:
            self.pending = <int32_t *>larger(
                self.pending, &self.pending_capacity, self.pending_count + 1, sizeof(int32_t))
        self.pools[pool].is_pending = 1
        self.pending[self.pending_count] = pool
        self.pending_count += 1
        return 0

    cdef int note_position(self, int32_t position) except -1:
        if not self.positions[position].is_changed:
            self.positions[position].is_changed = 1
            self.changed_positions.append(position)
        return 0

    cdef int note_order(self, int32_t order) except -1:
        if self.tickets[order].changed:
            return 0
        if self.changed_order_count == self.changed_order_capacity:
            self.changed_orders = <int32_t *>larger(
                self.changed_orders, &self.changed_order_capacity, self.changed_order_count + 1,
                sizeof(int32_t))
        self.changed_orders[self.changed_order_count] = order
        self.changed_order_count += 1
        self.tickets[order].changed = self.changed_order_count
        return 0

    # Report the end-of-command state of what changed: orders, positions, wallets.
    cdef int flush_changes(self) except -1:
        cdef int32_t i, row
        cdef int64_t *out
        for i in range(self.changed_order_count):
            row = self.changed_orders[i]
            if row >= 0:
                self.tickets[row].changed = 0
                self.emit_order_update(row)
        self.changed_order_count = 0
        if self.changed_positions:
            # Canonical order: account id, symbol.
            for _, _, row in sorted([
                (self.accounts[self.positions[i].account].id, self.positions[i].symbol, i)
                for i in self.changed_positions
            ]):
                self.positions[row].is_changed = 0
                out = self.emit(EVENT_POSITION)
                out[0] = self.accounts[self.positions[row].account].id
                out[1] = self.positions[row].symbol
                out[2] = self.positions[row].quantity
                out[3] = self.positions[row].entry_value
                out[4] = 0
                if self.positions[row].isolated >= 0:
                    out[4] = self.pools[self.positions[row].isolated].balance
            self.changed_positions.clear()
        if self.changed_pools:
            # Canonical order: account id, asset.
            for _, _, row in sorted([
                (self.accounts[self.pools[i].account].id, self.pools[i].asset, i)
                for i in self.changed_pools
            ]):
                self.pools[row].is_changed = 0
                out = self.emit(EVENT_BALANCE)
                out[0] = self.accounts[self.pools[row].account].id
                out[1] = self.pools[row].asset
                out[2] = self.pools[row].balance
            self.changed_pools.clear()
        return 0

    cdef int emit_order_update(self, int32_t order) except -1:
        cdef int64_t *out = self.emit(EVENT_ORDER_UPDATE)
        cdef int64_t quantity = self.tickets[order].quantity
        cdef int64_t leaves = self.orders[order].leaves
        out[0] = self.accounts[self.orders[order].account].id
        out[1] = self.orders[order].symbol
        out[2] = self.orders[order].order_id
        out[3] = STATUS_OPEN
        if quantity > leaves:
            out[3] = STATUS_PARTIALLY_FILLED if leaves else STATUS_FILLED
        out[4] = quantity - leaves
        out[5] = leaves
        return 0

    # --- positions --------------------------------------------------------------------

    # Book a signed fill and its signed value: close what it closes, open the rest.
    cdef int settle_fill(self, int32_t position, int64_t quantity, int64_t value) except -1:
        cdef int64_t held = self.positions[position].quantity
        cdef int64_t closing, closing_value
        cdef int sign = 1 if quantity > 0 else -1
        if (held > 0) != (quantity > 0) and held != 0:
            closing = min64(abs64(held), abs64(quantity))
            closing_value = value
            if closing < abs64(quantity):
                # Exact for trades on the book; an external fill was rounded toward zero.
                closing_value = sign * mul_div_floor(abs64(value), closing, abs64(quantity))
            self.close_part(position, sign * closing, closing_value)
            quantity -= sign * closing
            value -= closing_value
        if quantity:
            self.open_part(position, quantity, value)
        self.note_position(position)
        return self.touch(self.pool_of(position))

    cdef int open_part(self, int32_t position, int64_t quantity, int64_t value) except -1:
        cdef position_t *row = &self.positions[position]
        cdef int64_t needed
        row.entry_value = add_checked(row.entry_value, value)
        self.set_quantity(position, add_checked(row.quantity, quantity))
        if row.margin_mode == MODE_ISOLATED:
            needed = isolated_share(
                abs64(value), self.opening_leverage(position, abs64(row.quantity)))
            self.move_to_isolated(position, min64(needed, self.spendable(row.wallet)))
        return 0

    cdef int close_part(self, int32_t position, int64_t quantity, int64_t value) except -1:
        cdef position_t *row = &self.positions[position]
        cdef int64_t held = row.quantity
        # The released cost is rounded against the account: up.
        cdef int64_t released = mul_div_ceil(row.entry_value, abs64(quantity), abs64(held))
        cdef int64_t profit = narrow(neg(add(wide(value), wide(released))))
        cdef int64_t margin_released
        cdef int32_t pool = self.pool_of(position)
        row.entry_value -= released
        self.set_quantity(position, held + quantity)
        if row.margin_mode == MODE_CROSS:
            self.pools[pool].balance = add_checked(self.pools[pool].balance, profit)
            return self.touch(pool)
        margin_released = mul_div_floor(self.pools[pool].balance, abs64(quantity), abs64(held))
        self.pools[pool].balance = add_checked(self.pools[pool].balance, profit)
        if self.pools[pool].in_queue:
            return 0  # nothing leaves a pool in liquidation until it leaves the queue
        # The margin behind the closed lots and the profit go to the wallet; a loss beyond
        # that margin stays with the position.
        return self.move_to_isolated(position, -max64(0, add_checked(margin_released, profit)))

    # Keep the lists of open positions and holders, and the open interest, in step.
    cdef int set_quantity(self, int32_t position, int64_t quantity) except -1:
        cdef position_t *row = &self.positions[position]
        cdef instrument_t *instrument = &self.instruments[row.symbol]
        instrument.long_lots += max64(0, quantity) - max64(0, row.quantity)
        if row.quantity == 0 and quantity != 0:
            self.link_open(position)
        elif row.quantity != 0 and quantity == 0:
            self.unlink_open(position)
            self.unfile(position)
        self.positions[position].quantity = quantity
        return 0

    # Add a position to its pool's open list and to its symbol's holders.
    cdef int link_open(self, int32_t position) except -1:
        cdef int32_t pool = self.pool_of(position)
        cdef position_t *row = &self.positions[position]
        cdef instrument_t *instrument = &self.instruments[row.symbol]
        cdef int32_t before = NIL
        cdef int32_t after = self.pools[pool].first_open
        while after >= 0 and self.positions[after].symbol < row.symbol:
            before = after
            after = self.positions[after].next_open
        row.prev_open = before
        row.next_open = after
        if before < 0:
            self.pools[pool].first_open = position
        else:
            self.positions[before].next_open = position
        if after >= 0:
            self.positions[after].prev_open = position
        if instrument.holder_count == instrument.holder_capacity:
            instrument.holders = <int32_t *>larger(
                instrument.holders, &instrument.holder_capacity, instrument.holder_count + 1,
                sizeof(int32_t))
        instrument.holders[instrument.holder_count] = position
        row.holder_slot = instrument.holder_count
        instrument.holder_count += 1
        return 0

    # Take a position out of both lists.
    cdef int unlink_open(self, int32_t position) except -1:
        cdef position_t *row = &self.positions[position]
        cdef instrument_t *instrument = &self.instruments[row.symbol]
        cdef int32_t moved
        if row.prev_open < 0:
            self.pools[self.pool_of(position)].first_open = row.next_open
        else:
            self.positions[row.prev_open].next_open = row.next_open
        if row.next_open >= 0:
            self.positions[row.next_open].prev_open = row.prev_open
        row.prev_open = row.next_open = NIL
        instrument.holder_count -= 1
        moved = instrument.holders[instrument.holder_count]
        instrument.holders[row.holder_slot] = moved
        self.positions[moved].holder_slot = row.holder_slot
        row.holder_slot = NIL
        return 0

    cdef int unfile(self, int32_t position) except -1:
        return 0

    # --- money ------------------------------------------------------------------------

    # What a wallet can pay for isolated positions: nothing while it is in liquidation.
    cdef int64_t spendable(self, int32_t wallet) noexcept:
        return 0 if self.pools[wallet].in_queue else max64(0, self.pools[wallet].balance)

    # Move money from the wallet to an isolated position (negative: back).
    cdef int move_to_isolated(self, int32_t position, int64_t amount) except -1:
        cdef int32_t wallet = self.positions[position].wallet
        cdef int32_t isolated = self.positions[position].isolated
        if amount == 0:
            return 0
        self.pools[wallet].balance = sub_checked(self.pools[wallet].balance, amount)
        self.pools[isolated].balance = add_checked(self.pools[isolated].balance, amount)
        self.note_position(position)
        self.touch(wallet)
        return self.touch(isolated)

    # Take a fee or payment from a position's pool; negative: a credit to the wallet.
    # Isolated: from the wallet while it has money, the rest from the position.
    cdef int charge(self, int32_t position, int64_t amount) except -1:
        cdef position_t *row = &self.positions[position]
        cdef int32_t wallet = row.wallet
        cdef int32_t isolated
        cdef int64_t from_wallet = amount
        if row.margin_mode == MODE_ISOLATED and amount > 0:
            from_wallet = min64(amount, self.spendable(wallet))
            if amount > from_wallet:
                isolated = self.pool_of(position)
                self.pools[isolated].balance = sub_checked(
                    self.pools[isolated].balance, amount - from_wallet)
                self.touch(isolated)
                self.note_position(position)
        if from_wallet:
            self.pools[wallet].balance = sub_checked(self.pools[wallet].balance, from_wallet)
            self.touch(wallet)
        return 0

    # Book a fill to the fund's or the external account's position; the profit is returned.
    cdef int64_t settle_house(
        self, int32_t symbol, house_t *house, int64_t quantity, int64_t value
    ) except? -1:
        cdef int64_t held = house.quantity
        cdef int64_t profit = 0, closing, closing_value, released
        cdef int sign = 1 if quantity > 0 else -1
        if (held > 0) != (quantity > 0) and held != 0:
            closing = min64(abs64(held), abs64(quantity))
            closing_value = value
            if closing < abs64(quantity):
                closing_value = sign * mul_div_floor(abs64(value), closing, abs64(quantity))
            released = mul_div_ceil(house.entry_value, closing, abs64(held))
            profit = narrow(neg(add(wide(closing_value), wide(released))))
            house.quantity += sign * closing
            house.entry_value -= released
            quantity -= sign * closing
            value -= closing_value
        house.quantity = add_checked(house.quantity, quantity)
        house.entry_value = add_checked(house.entry_value, value)
        self.instruments[symbol].long_lots += max64(0, house.quantity) - max64(0, held)
        return profit

    cdef int change_insurance(
        self, int32_t asset, int64_t delta, int reason, int64_t account
    ) except -1:
        cdef int64_t *out
        if delta == 0:
            return 0
        self.assets[asset].insurance = add_checked(self.assets[asset].insurance, delta)
        out = self.emit(EVENT_INSURANCE)
        out[0] = asset
        out[1] = delta
        out[2] = self.assets[asset].insurance
        out[3] = reason
        out[4] = account
        return 0

    # --- measuring --------------------------------------------------------------------

    # Value of lots at a mark, exact. Within the money range for any real position: a mark
    # or trade that would carry open interest beyond it is refused.
    cdef int64_t value(self, int32_t symbol, int64_t quantity, int64_t mark) except? -1:
        return narrow(mul_wide(mul(quantity, mark), self.instruments[symbol].unit_value))

    cdef int64_t notional(self, int32_t position) except? -1:
        cdef position_t *row = &self.positions[position]
        return self.value(row.symbol, abs64(row.quantity), self.instruments[row.symbol].mark)

    cdef int64_t maintenance(self, int32_t position) except? -1:
        if self.positions[position].quantity == 0:
            return 0
        return maintenance_margin(
            &self.instruments[self.positions[position].symbol].schedule, self.notional(position))

    cdef int64_t initial(self, int32_t position) except? -1:
        if self.positions[position].quantity == 0:
            return 0
        return initial_margin(
            &self.instruments[self.positions[position].symbol].schedule, self.notional(position),
            self.leverage_of(position))

    cdef int64_t unrealized(self, int32_t position) except? -1:
        cdef position_t *row = &self.positions[position]
        if row.quantity == 0:
            return 0
        return sub_checked(
            self.value(row.symbol, row.quantity, self.instruments[row.symbol].mark),
            row.entry_value)

    # Equity and maintenance margin of a pool at the current marks. O(open positions).
    cdef int measure(self, int32_t pool, int64_t *equity, int64_t *maintenance) except -1:
        cdef int32_t row = self.pools[pool].first_open
        cdef position_t *position
        cdef int64_t worth
        equity[0] = self.pools[pool].balance
        maintenance[0] = 0
        while row >= 0:
            position = &self.positions[row]
            worth = self.value(
                position.symbol, position.quantity, self.instruments[position.symbol].mark)
            equity[0] = add_checked(equity[0], sub_checked(worth, position.entry_value))
            maintenance[0] = add_checked(maintenance[0], maintenance_margin(
                &self.instruments[position.symbol].schedule, abs64(worth)))
            row = position.next_open
        return 0

    # Whether open interest and resting orders, `quantity` lots more included, stay in the
    # money range at a mark. Reduce-only orders do not count.
    cdef bint fits(self, int32_t symbol, int64_t quantity, int64_t mark) noexcept:
        cdef i128 lots = add(wide(quantity), add(
            wide(self.instruments[symbol].long_lots),
            wide(self.instruments[symbol].resting_lots)))
        cdef i128 worth
        if lots > wide(MONEY_MAX):
            return False
        worth = mul_wide(lots, mark)
        if worth > wide(MONEY_MAX):
            return False
        return mul_wide(worth, self.instruments[symbol].unit_value) <= wide(MONEY_MAX)
