"""The ledger: who owns what, and the elementary movements of money.

Each movement has two sides here, so the identity of `totals` holds after every method.
"""

cimport cython

from collections import deque

from libc.stdlib cimport free, malloc, qsort, realloc
from libc.string cimport memset

from engine.core.book cimport ORDER_LIVE
from engine.core.contracts cimport notional_of_value, split_value
from engine.core.fixed cimport (
    abs64, add, add_checked, i128, max64, min64, mul_div_ceil, mul_div_floor, narrow, neg,
    sub_checked, sum_overflows, wide,
)
from engine.core.memory cimport larger
from engine.core.tables cimport table_free, table_init, table_put, table_tag
from engine.core.tiers cimport (
    allowed_leverage, maintenance_margin, scaled_margin, schedule_multiply, schedule_t,
)
from engine.core.types cimport (
    EVENT_BALANCE, EVENT_INSURANCE, EVENT_ORDER_UPDATE, EVENT_POSITION, INSURANCE_COMMAND,
    INSURANCE_FALLBACK,
    LEG_BOTH, LEG_LONG, LEG_SHORT, MODE_CROSS, MODE_ISOLATED, MONEY_MAX, NIL, NONE,
    RATE_SCALE, STATUS_FILLED, STATUS_OPEN, STATUS_PARTIALLY_FILLED, STATUS_PENDING,
)

# Fewer than this are sorted by insertion.
cdef enum:
    FEW_CHANGES = 24


cdef inline bint comes_before(const changed_t *a, const changed_t *b) noexcept nogil:
    return a.account < b.account or (a.account == b.account and a.part < b.part)


cdef int compare_changed(const void *a, const void *b) noexcept nogil:
    return -1 if comes_before(<const changed_t *>a, <const changed_t *>b) else 1


# Canonical order of what is reported: account id, then symbol and leg, or asset. No two are
# equal.
cdef void sort_changed(changed_t *rows, int32_t count) noexcept nogil:
    cdef int32_t i, j
    cdef changed_t moving
    if count > FEW_CHANGES:
        qsort(rows, count, sizeof(changed_t), compare_changed)
        return
    for i in range(1, count):
        moving = rows[i]
        j = i
        while j > 0 and comes_before(&moving, &rows[j - 1]):
            rows[j] = rows[j - 1]
            j -= 1
        rows[j] = moving


# Append a position or a wallet to a list of those to be reported; the list, where it is now.
cdef changed_t *note_changed(
    changed_t *rows, int32_t *count, int32_t *capacity, int64_t account, int32_t part,
    int32_t row
) except NULL nogil:
    if count[0] == capacity[0]:
        rows = <changed_t *>larger(rows, capacity, count[0] + 1, sizeof(changed_t))
    rows[count[0]].account = account
    rows[count[0]].part = part
    rows[count[0]].row = row
    count[0] += 1
    return rows


cdef class Ledger(Desk):
    """State of one exchange, and the elementary changes of it."""

    def __cinit__(self):
        self.records = Records()
        self.parents = {}
        self.sub_accounts = {}
        self.multipliers = {}
        self.own_schedule_rows = {}
        self.fund_history = {}
        self.known_symbol = NIL
        self.add_open_orders()
        self.add_custom()
        table_init(&self.account_table, 1024)
        table_init(&self.position_table, 1024)

    def __dealloc__(self):
        cdef int32_t i
        for i in range(self.instrument_count):
            free(self.instruments[i].holders)
        free(self.assets)
        free(self.funds)
        free(self.instruments)
        free(self.accounts)
        for i in range(1, self.own_schedule_count):
            free(self.own_schedules[i])
        free(self.own_schedules)
        free(self.pools)
        free(self.positions)
        free(self.open_orders)
        free(self.customs)
        free(self.changed_orders)
        free(self.changed_pools)
        free(self.changed_positions)
        free(self.pending)
        table_free(&self.account_table)
        table_free(&self.position_table)

    # --- rows -------------------------------------------------------------------------

    cdef int32_t new_account(
        self, int64_t account, int margin_mode, int64_t stp_group, int position_mode
    ) except -1 nogil:
        cdef int32_t row = self.account_count
        if row == self.account_capacity:
            self.accounts = <account_t *>larger(
                self.accounts, &self.account_capacity, row + 1, sizeof(account_t))
        table_put(&self.account_table, table_tag(0, account), row)
        self.accounts[row].id = account
        self.accounts[row].stp_group = stp_group
        self.accounts[row].dead_man = NONE
        self.accounts[row].first_wallet = self.accounts[row].first_position = NIL
        self.accounts[row].call_set = self.accounts[row].owns_calls = 0
        self.accounts[row].has_multiplier = 0
        self.accounts[row].margin_mode = margin_mode
        self.accounts[row].position_mode = position_mode
        self.account_count += 1
        return row

    cdef int32_t new_pool(self, int32_t account, int32_t asset, int32_t symbol) except -1 nogil:
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
        pool.call_set = self.accounts[account].call_set
        pool.first_open = pool.next_in_account = pool.heap_index = pool.first_pledge = NIL
        self.pool_count += 1
        return row

    # Whether self-trade prevention takes two accounts (rows, NIL: the fund) for one owner.
    cdef bint is_same_owner(self, int32_t a, int32_t b) noexcept nogil:
        if a == b:
            return True
        return (a >= 0 and b >= 0 and self.accounts[a].stp_group != NONE
                and self.accounts[a].stp_group == self.accounts[b].stp_group)

    # The cross pool of an account in an asset, made when first asked for.
    cdef int32_t wallet_of(self, int32_t account, int32_t asset) except -1 nogil:
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

    # The legs of a hedge account in a symbol come into being together, as neighbours.
    cdef int32_t new_position(self, int32_t account, int32_t symbol, int leg) except -1 nogil:
        cdef int32_t row
        if leg == LEG_BOTH:
            return self.add_position(account, symbol, LEG_BOTH)
        row = self.add_position(account, symbol, LEG_LONG)
        self.add_position(account, symbol, LEG_SHORT)
        return row if leg == LEG_LONG else row + 1

    cdef int32_t add_position(self, int32_t account, int32_t symbol, int leg) except -1 nogil:
        cdef int32_t row = self.position_count
        cdef int32_t before = NIL, after
        cdef position_t *position
        if row == self.position_capacity:
            self.positions = <position_t *>larger(
                self.positions, &self.position_capacity, row + 1, sizeof(position_t))
        table_put(&self.position_table, table_tag(account, leg_key(symbol, leg)), row)
        self.position_count += 1
        position = &self.positions[row]
        memset(position, 0, sizeof(position_t))
        position.account = account
        position.symbol = symbol
        position.leg = leg
        position.wallet = self.wallet_of(account, self.instruments[symbol].settle)
        position.isolated = position.next_open = NIL
        position.holder_slot = NIL
        position.margin_mode = self.accounts[account].margin_mode
        position.trigger[1] = MONEY_MAX
        if self.accounts[account].has_multiplier:
            self.hold()
            with gil:
                self.put_schedule(
                    row, self.own_schedule_row(self.multipliers[account], symbol))
        after = self.accounts[account].first_position
        while after >= 0 and precedes(&self.positions[after], position):
            before = after
            after = self.positions[after].next_in_account
        position.next_in_account = after
        if before < 0:
            self.accounts[account].first_position = row
        else:
            self.positions[before].next_in_account = row
        return row

    cdef int add_open_orders(self) except -1 nogil:
        cdef open_orders_t *row
        if self.open_orders_count == self.open_orders_capacity:
            self.open_orders = <open_orders_t *>larger(
                self.open_orders, &self.open_orders_capacity, self.open_orders_count + 1,
                sizeof(open_orders_t))
        row = &self.open_orders[self.open_orders_count]
        memset(row, 0, sizeof(open_orders_t))
        row.first = row.last = NIL
        row.extreme_price[1] = MONEY_MAX
        self.open_orders_count += 1
        return 0

    cdef int new_open_orders(self, int32_t position) except -1 nogil:
        self.positions[position].orders = self.open_orders_count
        return self.add_open_orders()

    cdef int add_custom(self) except -1 nogil:
        cdef custom_t *row
        if self.custom_count == self.custom_capacity:
            self.customs = <custom_t *>larger(
                self.customs, &self.custom_capacity, self.custom_count + 1, sizeof(custom_t))
        row = &self.customs[self.custom_count]
        row.leverage = row.own_schedule = 0
        row.protection = NIL
        self.custom_count += 1
        return 0

    # Each makes the row of a position for which something is set for the first time.
    cdef int put_leverage(self, int32_t position, int64_t leverage) except -1 nogil:
        if self.positions[position].custom or leverage:
            self.own_custom(position).leverage = leverage
        return 0

    cdef int put_protection(self, int32_t position, int32_t protection) except -1 nogil:
        if self.positions[position].custom or protection >= 0:
            self.own_custom(position).protection = protection
        return 0

    cdef int put_schedule(self, int32_t position, int32_t schedule) except -1 nogil:
        if self.positions[position].custom or schedule:
            self.own_custom(position).own_schedule = schedule
        return 0

    # The pool of a position's own margin, made when first needed.
    cdef int32_t new_isolated(self, int32_t position) except -1 nogil:
        cdef position_t *row = &self.positions[position]
        row.isolated = self.new_pool(
            row.account, self.instruments[row.symbol].settle, row.symbol)
        self.pools[row.isolated].leg = row.leg
        return row.isolated

    # Margin that an opening of this value moves to an isolated position, which then has so many
    # lots: value / leverage x initial multiplier; the tier of the position caps the leverage.
    cdef int64_t isolated_share(
        self, int32_t position, int64_t value, int64_t lots
    ) except? -1 nogil:
        cdef int32_t symbol = self.positions[position].symbol
        cdef const schedule_t *schedule = self.schedule_of(&self.positions[position])
        return scaled_margin(schedule, value, allowed_leverage(
            schedule, self.marked_notional(symbol, lots), self.leverage_of(position)))

    # The row of a symbol's schedule under an account's multiplier (1: no row).
    cdef int32_t own_schedule_row(self, int64_t multiplier, int32_t symbol) except -1 with gil:
        cdef int32_t row
        cdef schedule_t **schedules
        if multiplier == RATE_SCALE:
            return 0
        if (multiplier, symbol) in self.own_schedule_rows:
            return self.own_schedule_rows[multiplier, symbol]
        row = max(1, self.own_schedule_count)
        schedules = <schedule_t **>realloc(
            self.own_schedules, (row + 1) * sizeof(schedule_t *))
        if schedules == NULL:
            raise MemoryError("schedules")
        self.own_schedules = schedules
        schedules[0] = NULL
        schedules[row] = <schedule_t *>malloc(sizeof(schedule_t))
        if schedules[row] == NULL:
            raise MemoryError("schedules")
        self.own_schedule_count = row + 1
        schedule_multiply(&self.instruments[symbol].schedule, multiplier, schedules[row])
        self.own_schedule_rows[multiplier, symbol] = row
        return row

    # After a change of a symbol's schedule: those that follow from it. O(multipliers).
    cdef int multiply_schedules(self, int32_t symbol) except -1 with gil:
        cdef int64_t multiplier
        cdef int32_t of, row
        for (multiplier, of), row in self.own_schedule_rows.items():
            if of == symbol:
                schedule_multiply(
                    &self.instruments[symbol].schedule, multiplier, self.own_schedules[row])
        return 0

    # --- notes of what changed --------------------------------------------------------

    # A pool's first touch since its wallet was reported, or since it was evaluated.
    cdef int note_touched(self, int32_t pool) except -1 nogil:
        cdef pool_t *row = &self.pools[pool]
        if row.symbol < 0 and not row.is_changed:
            row.is_changed = 1
            self.changed_pools = note_changed(
                self.changed_pools, &self.changed_pool_count, &self.changed_pool_capacity,
                self.accounts[row.account].id, row.asset, pool)
        return self.note_pending(pool)

    cdef int log_touch(self, int32_t pool) except -1 nogil:
        return 0

    @cython.final
    cdef int note_pending(self, int32_t pool) except -1 nogil:
        if self.pools[pool].is_pending:
            return 0
        if self.pending_count == self.pending_capacity:
            self.pending = <int32_t *>larger(
                self.pending, &self.pending_capacity, self.pending_count + 1, sizeof(int32_t))
        self.pools[pool].is_pending = 1
        self.pending[self.pending_count] = pool
        self.pending_count += 1
        return 0

    cdef int list_position(self, int32_t position) except -1 nogil:
        cdef position_t *row = &self.positions[position]
        row.flags |= POSITION_CHANGED
        self.changed_positions = note_changed(
            self.changed_positions, &self.changed_position_count,
            &self.changed_position_capacity, self.accounts[row.account].id,
            row.symbol << 2 | row.leg, position)
        return 0

    cdef int list_order(self, int32_t order) except -1 nogil:
        if self.changed_order_count == self.changed_order_capacity:
            self.changed_orders = <int32_t *>larger(
                self.changed_orders, &self.changed_order_capacity, self.changed_order_count + 1,
                sizeof(int32_t))
        self.changed_orders[self.changed_order_count] = order
        self.changed_order_count += 1
        self.tickets[order].changed = self.changed_order_count
        return 0

    # Report the end-of-command state of what changed: orders, positions, wallets.
    cdef int flush_changes(self) except -1 nogil:
        cdef int32_t i, row
        for i in range(self.changed_order_count):
            row = self.changed_orders[i]
            if row >= 0:
                self.tickets[row].changed = 0
                self.emit_order_update(row)
        self.changed_order_count = 0
        if self.changed_position_count:
            self.report_positions()
        if self.changed_pool_count:
            self.report_wallets()
        return 0

    @cython.final
    cdef int report_positions(self) except -1 nogil:
        cdef int32_t i
        cdef position_t *row
        cdef int64_t *out
        sort_changed(self.changed_positions, self.changed_position_count)
        for i in range(self.changed_position_count):
            row = &self.positions[self.changed_positions[i].row]
            row.flags &= ~POSITION_CHANGED
            out = self.emit(EVENT_POSITION)
            out[0] = self.changed_positions[i].account
            out[1] = row.symbol
            out[2] = row.quantity
            out[3] = row.entry_value
            out[4] = 0 if row.isolated < 0 else self.pools[row.isolated].balance
            out[5] = row.leg
        self.changed_position_count = 0
        return 0

    @cython.final
    cdef int report_wallets(self) except -1 nogil:
        cdef int32_t i
        cdef pool_t *row
        cdef int64_t *out
        sort_changed(self.changed_pools, self.changed_pool_count)
        for i in range(self.changed_pool_count):
            row = &self.pools[self.changed_pools[i].row]
            row.is_changed = 0
            out = self.emit(EVENT_BALANCE)
            out[0] = self.changed_pools[i].account
            out[1] = row.asset
            out[2] = row.balance
        self.changed_pool_count = 0
        return 0

    @cython.final
    cdef int emit_order_update(self, int32_t order) except -1 nogil:
        cdef int64_t *out = self.emit(EVENT_ORDER_UPDATE)
        cdef int64_t quantity = self.tickets[order].quantity
        cdef int64_t leaves = self.orders[order].leaves
        out[0] = self.owner_id(order)
        out[1] = self.orders[order].symbol
        out[2] = self.orders[order].order_id
        out[3] = STATUS_OPEN
        if self.tickets[order].state != ORDER_LIVE:
            out[3] = STATUS_PENDING
        elif quantity > leaves:
            out[3] = STATUS_PARTIALLY_FILLED if leaves else STATUS_FILLED
        out[4] = quantity - leaves
        out[5] = leaves
        return 0

    # --- positions --------------------------------------------------------------------

    # Book a signed fill and its signed value: close what it closes, open the rest.
    cdef int settle_fill(self, int32_t position, int64_t quantity, int64_t value) except -1 nogil:
        cdef int64_t held = self.positions[position].quantity
        cdef int64_t closing, closing_value
        cdef int sign = 1 if quantity > 0 else -1
        if (held > 0) != (quantity > 0) and held != 0:
            closing = min64(abs64(held), abs64(quantity))
            # Exact for linear trades on the book; an external fill was rounded toward zero.
            closing_value = split_value(value, closing, abs64(quantity))
            self.close_part(position, sign * closing, closing_value)
            quantity -= sign * closing
            value -= closing_value
        if quantity:
            self.open_part(position, quantity, value)
        self.note_position(position)
        return self.touch(self.pool_of(position))

    @cython.final
    cdef int open_part(self, int32_t position, int64_t quantity, int64_t value) except -1 nogil:
        cdef position_t *row = &self.positions[position]
        cdef int64_t needed
        row.entry_value = add_checked(row.entry_value, value)
        self.set_quantity(position, add_checked(row.quantity, quantity))
        if row.margin_mode == MODE_ISOLATED:
            needed = self.isolated_share(position, abs64(value), abs64(row.quantity))
            self.move_to_isolated(position, min64(needed, self.spendable(row.wallet)))
        return 0

    @cython.final
    cdef int close_part(self, int32_t position, int64_t quantity, int64_t value) except -1 nogil:
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
    @cython.final
    cdef int set_quantity(self, int32_t position, int64_t quantity) except -1 nogil:
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
    @cython.final
    cdef int link_open(self, int32_t position) except -1 nogil:
        cdef int32_t pool = self.pool_of(position)
        cdef position_t *row = &self.positions[position]
        cdef instrument_t *instrument = &self.instruments[row.symbol]
        cdef int32_t before = NIL
        cdef int32_t after = self.pools[pool].first_open
        while after >= 0 and precedes(&self.positions[after], row):
            before = after
            after = self.positions[after].next_open
        row.next_open = after
        if before < 0:
            self.pools[pool].first_open = position
        else:
            self.positions[before].next_open = position
        if instrument.holder_count == instrument.holder_capacity:
            instrument.holders = <int32_t *>larger(
                instrument.holders, &instrument.holder_capacity, instrument.holder_count + 1,
                sizeof(int32_t))
        instrument.holders[instrument.holder_count] = position
        row.holder_slot = instrument.holder_count
        instrument.holder_count += 1
        return 0

    # Take a position out of both lists. O(open positions of its pool), like the other way.
    @cython.final
    cdef int unlink_open(self, int32_t position) except -1 nogil:
        cdef position_t *row = &self.positions[position]
        cdef instrument_t *instrument = &self.instruments[row.symbol]
        cdef int32_t pool = self.pool_of(position)
        cdef int32_t moved, before = NIL
        cdef int32_t at = self.pools[pool].first_open
        while at != position:
            before = at
            at = self.positions[at].next_open
        if before < 0:
            self.pools[pool].first_open = row.next_open
        else:
            self.positions[before].next_open = row.next_open
        row.next_open = NIL
        instrument.holder_count -= 1
        moved = instrument.holders[instrument.holder_count]
        instrument.holders[row.holder_slot] = moved
        self.positions[moved].holder_slot = row.holder_slot
        row.holder_slot = NIL
        return 0

    cdef int unfile(self, int32_t position) except -1 nogil:
        return 0

    # --- money ------------------------------------------------------------------------

    # Move money from the wallet to an isolated position (negative: back).
    cdef int move_to_isolated(self, int32_t position, int64_t amount) except -1 nogil:
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
    cdef int charge(self, int32_t position, int64_t amount) except -1 nogil:
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
    ) except? -1 nogil:
        cdef int64_t held = house.quantity
        cdef int64_t profit = 0, closing, closing_value, released
        cdef int sign = 1 if quantity > 0 else -1
        if symbol != self.known_symbol:
            self.known_symbol = NIL
        if (held > 0) != (quantity > 0) and held != 0:
            closing = min64(abs64(held), abs64(quantity))
            closing_value = split_value(value, closing, abs64(quantity))
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

    cdef int32_t new_fund(self, int32_t asset, int64_t number) except -1 nogil:
        cdef int32_t row = self.fund_count
        if row == self.fund_capacity:
            self.funds = <fund_t *>larger(
                self.funds, &self.fund_capacity, row + 1, sizeof(fund_t))
        memset(&self.funds[row], 0, sizeof(fund_t))
        self.funds[row].asset = asset
        self.funds[row].number = number
        self.fund_count += 1
        return row

    # The fund of a number (NONE: the pooled one) in an asset; NIL where there is none.
    cdef int32_t find_fund(self, int32_t asset, int64_t number) noexcept nogil:
        cdef int32_t row
        for row in range(self.fund_count):
            if self.funds[row].asset == asset and self.funds[row].number == number:
                return row
        return NIL

    cdef int change_insurance(
        self, int32_t fund, int64_t delta, int reason, int64_t account
    ) except -1 nogil:
        cdef int64_t *out
        cdef int64_t before = self.funds[fund].balance
        if delta == 0:
            return 0
        self.funds[fund].balance = add_checked(before, delta)
        if self.funds[fund].window:
            self.hold()
            self.note_fund(fund, before, delta, reason)
        out = self.emit(EVENT_INSURANCE)
        out[0] = self.funds[fund].asset
        out[1] = delta
        out[2] = self.funds[fund].balance
        out[3] = reason
        out[4] = account
        out[5] = self.funds[fund].number
        return 0

    # Remember a balance that ended now; money put in or drained is no gain and no loss, nor is
    # what the pooled fund gave.
    cdef int note_fund(
        self, int32_t fund, int64_t before, int64_t delta, int reason
    ) except -1 with gil:
        history = self.fund_history.setdefault(fund, deque())
        if reason == INSURANCE_COMMAND or (reason == INSURANCE_FALLBACK and delta > 0):
            self.fund_history[fund] = deque(
                [(until, balance + delta) for until, balance in history])
            return 0
        if delta < 0:
            while history and history[len(history) - 1][1] <= before:
                history.pop()
            history.append((self.ts, before))
        while history and history[len(history) - 1][1] <= before + delta:
            history.pop()
        while history and history[0][0] < self.ts - self.funds[fund].window:
            history.popleft()
        return 0

    # After a change of profiles: how far back balances matter now. What no profile looked at
    # so far is forgotten, and cannot be asked for later.
    cdef int prune_history(self, int32_t fund) except -1 with gil:
        cdef int64_t window = 0
        cdef int32_t i
        history = self.fund_history.get(fund, deque())
        while history and history[0][0] < self.ts - self.funds[fund].window:
            history.popleft()
        for i in range(self.instrument_count):
            if (self.instruments[i].insurer == fund
                    and self.instruments[i].profile.fund_drawdown_limit != NONE):
                window = max64(window, self.instruments[i].profile.fund_drawdown_window)
        while history and history[0][0] < self.ts - window:
            history.popleft()
        if window == 0:
            self.fund_history.pop(fund, None)
        self.funds[fund].window = window
        return 0

    # --- measuring --------------------------------------------------------------------

    # What other wallets count for in a pool; pledges know.
    cdef int64_t collateral_of(self, int32_t pool) except? -1 nogil:
        return 0

    # Equity and maintenance margin of a pool at the current marks. O(open positions).
    cdef int measure(self, int32_t pool, int64_t *equity, int64_t *maintenance) except -1 nogil:
        cdef int32_t row = self.pools[pool].first_open
        cdef position_t *position
        cdef instrument_t *instrument
        cdef int64_t worth
        equity[0] = self.pools[pool].balance
        maintenance[0] = 0
        if self.pools[pool].first_pledge >= 0:
            equity[0] = add_checked(equity[0], self.collateral_of(pool))
        while row >= 0:
            position = &self.positions[row]
            instrument = &self.instruments[position.symbol]
            worth = self.value(position.symbol, position.quantity, instrument.mark)
            if sum_overflows(
                    equity[0], sub_checked(worth, position.entry_value), equity
            ) or sum_overflows(maintenance[0], maintenance_margin(
                    self.schedule_of(position), notional_of_value(
                        &instrument.contract, position.quantity, worth, instrument.mark)),
                    maintenance):
                return self.measure_far(pool, equity, maintenance)
            row = position.next_open
        return 0

    # The same in 128 bits: a sum over symbols, each within the range, may leave it.
    @cython.final
    cdef int measure_wide(self, int32_t pool, i128 *equity, i128 *maintenance) except -1 nogil:
        cdef int32_t row = self.pools[pool].first_open
        equity[0], maintenance[0] = wide(self.pools[pool].balance), wide(0)
        if self.pools[pool].first_pledge >= 0:
            equity[0] = add(equity[0], wide(self.collateral_of(pool)))
        while row >= 0:
            equity[0] = add(equity[0], wide(self.unrealized(row)))
            maintenance[0] = add(maintenance[0], wide(self.maintenance(row)))
            row = self.positions[row].next_open
        return 0

    # Only what all of it comes to must fit, not what it passes on the way.
    @cython.final
    cdef int measure_far(
        self, int32_t pool, int64_t *equity, int64_t *maintenance
    ) except -1 nogil:
        cdef i128 owned, needed
        self.measure_wide(pool, &owned, &needed)
        equity[0], maintenance[0] = narrow(owned), narrow(needed)
        return 0

    # The same without the requirement.
    cdef int64_t equity_of(self, int32_t pool) except? -1 nogil:
        cdef i128 equity = wide(self.pools[pool].balance)
        cdef int32_t row = self.pools[pool].first_open
        if self.pools[pool].first_pledge >= 0:
            equity = add(equity, wide(self.collateral_of(pool)))
        while row >= 0:
            equity = add(equity, wide(self.unrealized(row)))
            row = self.positions[row].next_open
        return narrow(equity)
