"""Bulk reads: tables of everything, filled in C."""

cimport cython

import numpy as np

from engine.messages import ACCOUNT_FIELDS, POSITION_FIELDS, RejectReason

from engine.core.contracts cimport notional_of_value
from engine.core.fixed cimport (
    add, ceil_div, difference_overflows, fits_int64, i128, low_half, max64, min64, mul_wide, sub,
    sum_overflows, wide,
)
from engine.core.ledger cimport account_t, instrument_t, pool_t, position_t
from engine.core.memory cimport larger, prefetch
from engine.core.tables cimport table_reserve
from engine.core.tiers cimport initial_margin, maintenance_margin, schedule_t, tier_index
from engine.core.types cimport MODE_CROSS, MONEY_MAX, NIL, NONE, RATE_SCALE
from libc.stdlib cimport calloc, free, malloc, qsort

cdef extern from *:
    """
    #define ENGINE_RATIO_WORST INT64_MAX
    #define ENGINE_CELL_MAX INT64_MAX
    """
    const int64_t RATIO_WORST "ENGINE_RATIO_WORST"
    const int64_t CELL_MAX "ENGINE_CELL_MAX"

# So many accounts ahead, what they hold is fetched into the cache.
cdef enum:
    AHEAD = 12

ACCOUNT_ROW = np.dtype(list(ACCOUNT_FIELDS))
POSITION_ROW = np.dtype(list(POSITION_FIELDS))
assert ACCOUNT_ROW.itemsize == sizeof(account_row_t), "account rows have another layout"
assert POSITION_ROW.itemsize == sizeof(position_row_t), "position rows have another layout"


cdef int compare_named(const void *a, const void *b) noexcept nogil:
    cdef int64_t one = (<const named_t *>a).id
    cdef int64_t other = (<const named_t *>b).id
    if one == other:  # an account's legs, of which the long one has the lower row
        one, other = (<const named_t *>a).row, (<const named_t *>b).row
    return (one > other) - (one < other)


# Rows of an array that is there to be filled.
cdef void *rows_of(object array) except? NULL:
    cdef unsigned char[::1] view
    if len(array) == 0:
        return NULL
    view = array.view(np.uint8)
    return &view[0]


# Maintenance margin over equity, up, as queries show it.
cdef inline int64_t ratio_of(i128 equity, i128 maintenance, bint is_open) noexcept:
    cdef i128 ratio
    if equity <= wide(0):
        return RATIO_WORST if is_open else 0
    ratio = ceil_div(mul_wide(maintenance, RATE_SCALE), equity)
    return low_half(ratio) if fits_int64(ratio) else RATIO_WORST


# Reserves and initial margins add up to no more than the money range holds.
cdef inline int64_t capped_sum(int64_t a, int64_t b) noexcept:
    return MONEY_MAX if b > MONEY_MAX - a else a + b


# A sum over symbols as a row holds it, which leaves what 64 bits hold only where an account has
# much in many of them.
cdef int64_t as_cell(i128 a) noexcept:
    if fits_int64(a):
        return low_half(a)
    return CELL_MAX if a > wide(0) else -CELL_MAX


cdef class Bulk(Valuation):
    """Everything that `account_view` and `position_views` say, as tables."""

    def reserve(self, int64_t accounts, int64_t positions):
        """Make room for so many more; a hint that changes nothing.

        Raises
        ------
        ValueError
            A number below zero, or beyond what rows can be numbered.
        """
        cdef int64_t account_room = self.account_count + accounts
        cdef int64_t pool_room = self.pool_count + accounts
        cdef int64_t position_room = self.position_count + positions
        self.require_idle()
        if not (0 <= accounts < 1 << 30 and 0 <= positions < 1 << 30) or (
                max64(pool_room, position_room) >= 1 << 30):
            raise ValueError(f"cannot make room for {accounts} accounts, {positions} positions")
        if account_room > self.account_capacity:
            self.account_capacity = <int32_t>(account_room - 1) // 2 + 1
            self.accounts = <account_t *>larger(
                self.accounts, &self.account_capacity, <int32_t>account_room, sizeof(account_t))
        if pool_room > self.pool_capacity:
            self.pool_capacity = <int32_t>(pool_room - 1) // 2 + 1
            self.pools = <pool_t *>larger(
                self.pools, &self.pool_capacity, <int32_t>pool_room, sizeof(pool_t))
        if position_room > self.position_capacity:
            self.position_capacity = <int32_t>(position_room - 1) // 2 + 1
            self.positions = <position_t *>larger(
                self.positions, &self.position_capacity, <int32_t>position_room,
                sizeof(position_t))
        table_reserve(&self.account_table, account_room)
        table_reserve(&self.position_table, position_room)

    # --- accounts ---------------------------------------------------------------------

    def accounts_array(self):
        """Figures of all cross pools in use (`engine.messages.ACCOUNT_FIELDS`).

        Complexity
            O(accounts + positions), one pass over each; sorted first where accounts were
            not opened in the order of their ids.
        """
        cdef int32_t i
        cdef int32_t count = 0
        cdef places_t places
        cdef named_t *order = NULL
        self.require_idle()
        for i in range(self.pool_count):
            count += self.pools[i].symbol < 0
        out = np.empty(count, ACCOUNT_ROW)
        used = np.zeros(count, np.uint8)
        places.rows = <account_row_t *>rows_of(out)
        places.is_used = <uint8_t *>rows_of(used)
        if count == 0:
            return out
        places.place = <int32_t *>malloc(self.pool_count * sizeof(int32_t))
        places.is_open = <uint8_t *>calloc(count, 1)
        places.is_far = <uint8_t *>calloc(count, 1)
        places.status = <uint8_t *>calloc(self.account_count, 1)
        order = <named_t *>malloc(self.account_count * sizeof(named_t))
        try:
            if (places.place == NULL or places.is_open == NULL or places.is_far == NULL
                    or places.status == NULL or order == NULL):
                raise MemoryError("table of accounts")
            self.by_id(order)
            self.place_wallets(order, &places)
            self.add_positions(&places)
            self.finish_rows(&places)
        finally:
            free(places.place)
            free(places.is_open)
            free(places.is_far)
            free(places.status)
            free(order)
        return out if used.all() else out[used.astype(bool)]

    # Account rows in the order of their ids.
    @cython.final
    cdef int by_id(self, named_t *order) except -1:
        cdef int32_t i
        cdef bint is_sorted = True
        for i in range(self.account_count):
            order[i].id = self.accounts[i].id
            order[i].row = i
            if i and order[i].id < order[i - 1].id:
                is_sorted = False
        if not is_sorted:
            qsort(order, self.account_count, sizeof(named_t), compare_named)
        return 0

    # A row for each wallet, with what is known without its positions.
    @cython.final
    cdef int place_wallets(self, const named_t *order, places_t *places) except -1:
        cdef int32_t i, pool, count = 0
        cdef account_row_t *out
        for i in range(self.pool_count):
            places.place[i] = NIL
            pool = self.pools[i].account
            places.status[pool] = <uint8_t>max64(places.status[pool], self.pool_status(i))
        for i in range(self.account_count):
            if i + AHEAD < self.account_count:
                pool = self.accounts[order[i + AHEAD].row].first_wallet
                prefetch(&self.pools[max64(0, pool)])
            pool = self.accounts[order[i].row].first_wallet
            while pool >= 0:
                places.place[pool] = count
                out = &places.rows[count]
                out.account = order[i].id
                out.wallet = self.pools[pool].balance
                out.unrealized_pnl = out.initial_margin = out.order_margin = 0
                out.maintenance_margin = 0
                out.asset = self.pools[pool].asset
                out.status = places.status[order[i].row]
                count += 1
                pool = self.pools[pool].next_in_account
        return 0

    # Add what each position contributes to its wallet's row, in the order of the rows.
    @cython.final
    cdef int add_positions(self, places_t *places) except -1:
        cdef int32_t i, at
        cdef const position_t *position
        cdef const instrument_t *instrument
        cdef account_row_t *out
        cdef int64_t worth, profit
        for i in range(self.position_count):
            position = &self.positions[i]
            at = places.place[position.wallet]
            out = &places.rows[at]
            if self.orders_of(i).count:
                places.is_used[at] = 1
                out.order_margin = capped_sum(out.order_margin, self.order_margin(i))
            if position.quantity == 0 or position.margin_mode != MODE_CROSS:
                continue
            places.is_open[at] = 1
            instrument = &self.instruments[position.symbol]
            worth = self.value(position.symbol, position.quantity, instrument.mark)
            places.is_far[at] |= difference_overflows(worth, position.entry_value, &profit)
            places.is_far[at] |= sum_overflows(
                out.unrealized_pnl, profit, &out.unrealized_pnl)
            worth = notional_of_value(
                &instrument.contract, position.quantity, worth, instrument.mark)
            places.is_far[at] |= sum_overflows(
                out.maintenance_margin, maintenance_margin(self.schedule_of(position), worth),
                &out.maintenance_margin)
            out.initial_margin = capped_sum(
                out.initial_margin,
                initial_margin(self.schedule_of(position), worth, self.leverage_of(i)))
        return 0

    # What follows from the sums.
    @cython.final
    cdef int finish_rows(self, places_t *places) except -1:
        cdef int32_t pool, at
        cdef account_row_t *out
        cdef i128 free_margin
        for pool in range(self.pool_count):
            at = places.place[pool]
            if at < 0:
                continue
            out = &places.rows[at]
            places.is_used[at] |= places.is_open[at] or out.wallet != 0
            out.collateral = 0
            places.is_far[at] |= sum_overflows(out.wallet, out.unrealized_pnl, &out.equity)
            if self.pools[pool].first_pledge >= 0:
                places.is_used[at] |= self.has_pledged(pool)
                out.collateral = self.collateral_of(pool)
                places.is_far[at] |= sum_overflows(out.equity, out.collateral, &out.equity)
            if (places.is_far[at] or out.initial_margin == MONEY_MAX
                    or out.order_margin == MONEY_MAX):
                self.finish_far(pool, out, places.is_open[at])
                continue
            free_margin = sub(wide(out.equity), wide(out.initial_margin))
            free_margin = sub(free_margin, wide(out.order_margin))
            out.available_margin = 0
            if free_margin > wide(0):
                out.available_margin = min64(MONEY_MAX, low_half(free_margin))
            out.margin_ratio = ratio_of(
                wide(out.equity), wide(out.maintenance_margin), places.is_open[at])
        return 0

    # The same where a sum is more than its row holds: from the sums themselves.
    @cython.final
    cdef int finish_far(self, int32_t pool, account_row_t *out, bint is_open) except -1:
        cdef i128 equity, maintenance
        self.measure_wide(pool, &equity, &maintenance)
        out.unrealized_pnl = as_cell(
            sub(equity, add(wide(out.wallet), wide(out.collateral))))
        out.equity = as_cell(equity)
        out.maintenance_margin = as_cell(maintenance)
        out.available_margin = self.free_margin(pool)
        out.margin_ratio = ratio_of(equity, maintenance, is_open)
        return 0

    # --- positions --------------------------------------------------------------------

    def positions_array(self, int64_t symbol=NONE, bint with_prices=True):
        """All open positions, or those of a symbol (`engine.messages.POSITION_FIELDS`).

        Without prices, `liquidation_price` and `bankruptcy_price` stay 0.

        Complexity
            O(accounts + positions); of one symbol O(holders x log holders), with prices times
            the positions of their accounts.
        """
        cdef int32_t i, written
        cdef int64_t count = 0
        cdef named_t *order = NULL
        cdef position_row_t *rows
        self.require_idle()
        if symbol != NONE and not 0 <= symbol < self.instrument_count:
            raise LookupError(RejectReason.UNKNOWN_SYMBOL)
        for i in range(self.instrument_count):
            if symbol == NONE or symbol == i:
                count += self.instruments[i].holder_count
        out = np.empty(count, POSITION_ROW)
        rows = <position_row_t *>rows_of(out)
        if symbol != NONE:
            written = self.write_holders(<int32_t>symbol, rows, with_prices)
        else:
            order = <named_t *>malloc(max64(1, self.account_count) * sizeof(named_t))
            if order == NULL:
                raise MemoryError("table of positions")
            try:
                self.by_id(order)
                written = self.write_held(order, rows, with_prices)
            finally:
                free(order)
        assert written == count, "the holders and the accounts' positions differ"
        return out

    # Everybody's open positions, by account, symbol and leg; returns how many.
    @cython.final
    cdef int32_t write_held(
        self, const named_t *order, position_row_t *rows, bint with_prices
    ) except -1:
        cdef int32_t i, position, measured = NIL, count = 0
        cdef i128 equity = wide(0), maintenance = wide(0)
        for i in range(self.account_count):
            if i + AHEAD < self.account_count:
                position = self.accounts[order[i + AHEAD].row].first_position
                if position >= 0:
                    prefetch(&self.positions[position])
                    prefetch(&self.positions[position].trigger)
            position = self.accounts[order[i].row].first_position
            while position >= 0:
                if self.positions[position].quantity:
                    self.write_position(&rows[count], position, order[i].id)
                    if with_prices:
                        self.write_prices(
                            &rows[count], position, &measured, &equity, &maintenance)
                    count += 1
                position = self.positions[position].next_in_account
        return count

    # The open positions of one symbol, by account; returns how many.
    @cython.final
    cdef int32_t write_holders(
        self, int32_t symbol, position_row_t *rows, bint with_prices
    ) except -1:
        cdef const instrument_t *instrument = &self.instruments[symbol]
        cdef int32_t i, measured = NIL
        cdef int32_t count = instrument.holder_count
        cdef i128 equity = wide(0), maintenance = wide(0)
        cdef named_t *order = <named_t *>malloc(max64(1, count) * sizeof(named_t))
        if order == NULL:
            raise MemoryError("table of positions")
        try:
            for i in range(count):
                order[i].row = instrument.holders[i]
                order[i].id = self.accounts[self.positions[order[i].row].account].id
            qsort(order, count, sizeof(named_t), compare_named)
            for i in range(count):
                self.write_position(&rows[i], order[i].row, order[i].id)
                if with_prices:
                    self.write_prices(&rows[i], order[i].row, &measured, &equity, &maintenance)
        finally:
            free(order)
        return count

    @cython.final
    cdef int write_position(
        self, position_row_t *out, int32_t position, int64_t account
    ) except -1:
        cdef const position_t *row = &self.positions[position]
        cdef const instrument_t *instrument = &self.instruments[row.symbol]
        cdef const schedule_t *schedule = self.schedule_of(row)
        cdef int64_t worth = self.value(row.symbol, row.quantity, instrument.mark)
        out.account = account
        out.quantity = row.quantity
        out.entry_value = row.entry_value
        out.mark = instrument.mark
        out.notional = notional_of_value(
            &instrument.contract, row.quantity, worth, instrument.mark)
        out.unrealized_pnl = self.unrealized(position)
        out.leverage = self.leverage_of(position)
        out.isolated_margin = 0 if row.isolated < 0 else self.pools[row.isolated].balance
        out.initial_margin = initial_margin(schedule, out.notional, out.leverage)
        out.maintenance_margin = maintenance_margin(schedule, out.notional)
        out.liquidation_price = out.bankruptcy_price = 0
        out.symbol = row.symbol
        out.tier = <int16_t>(tier_index(schedule, out.notional) + 1)
        out.position_side = <int8_t>row.leg
        out.margin_mode = <int8_t>row.margin_mode
        return 0

    # A pool is measured once for all its positions that follow each other.
    @cython.final
    cdef int write_prices(
        self, position_row_t *out, int32_t position, int32_t *measured, i128 *equity,
        i128 *maintenance
    ) except -1:
        cdef int32_t pool = self.pool_of(position)
        cdef int64_t price
        if measured[0] != pool:
            self.measure_wide(pool, equity, maintenance)
            measured[0] = pool
        price = self.due_price(position, equity[0], maintenance[0])
        out.liquidation_price = 0 if price == NONE else price
        price = self.spent_price(position, equity[0])
        out.bankruptcy_price = 0 if price == NONE else price
        return 0
