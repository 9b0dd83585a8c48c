# Accounts, pools, positions, the house, and every way in which money moves between them.
#
# account -> its wallets (one cross pool an asset) and its positions (one a symbol, made
# when first touched; in a hedge account the two legs of a symbol). A pool is what is
# margined together: a wallet with the open cross positions of its asset, or the isolated
# margin of one position. All rows are numbered; lists are sorted (by asset, by symbol,
# long before short), so that a walk is in canonical order.
#
# What is set for a symbol (leverage, margin mode, protection) stands in both of its legs.
# An account that changed its position mode keeps the rows of the other mode, with nothing
# in them.

from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t

from engine.core.book cimport Desk
from engine.core.contracts cimport (
    contract_t, notional_at, notional_fits, value_at, worth_at,
)
from engine.core.events cimport Records
from engine.core.fixed cimport (
    abs64, add, i128, low_half, max64, min64, sub_checked, wide,
)
from engine.core.profiles cimport profile_t
from engine.core.tables cimport table_home, table_next, table_t, table_tag
from engine.core.tiers cimport initial_margin, maintenance_margin, schedule_t
from engine.core.types cimport (
    LEG_BOTH, LEG_LONG, LEG_SHORT, MODE_CROSS, MONEY_MAX, NIL, POSITIONS_ONE_WAY, SIDE_BUY,
    SIDE_SELL,
)

cdef struct asset_t:
    int64_t deposits, withdrawals
    int64_t fees
    int64_t rounding
    int64_t external             # cash of the external account
    int32_t pooled               # row of its pooled insurance fund
    int32_t collateral           # its row, where it counts in another asset's pools; or NIL

# An insurance fund: it backs the symbols of one settle asset, or some of them.
cdef struct fund_t:
    int64_t balance
    int64_t window               # ns for which balances are remembered, 0: none
    int64_t number               # by order of its first mention; NONE: a pooled fund
    int32_t asset

cdef enum:
    DEFAULT_LEVERAGE = 2000000000  # 20, in rate units

# A position of the fund or of the external account.
cdef struct house_t:
    int64_t quantity
    int64_t entry_value

# How far the fund is with its inventory of a symbol, where a profile sets it a pace.
cdef struct workoff_t:
    int64_t lots                 # inventory when it last took something over, 0: none yet
    int64_t interval             # number of the latest one in which it offered some
    int64_t done                 # lots traded in that
    int64_t mark                 # by which its resting order was priced

cdef struct instrument_t:
    # terms
    int32_t settle               # asset row
    int32_t insurer              # fund row
    int64_t marks_per_tick       # mark ticks in one tick
    contract_t contract
    int64_t maker_fee, taker_fee, liquidation_fee
    int64_t price_band           # of mark; NONE: no band
    int64_t max_order_quantity   # lots; NONE: no limit
    int64_t max_open_orders      # NONE: no limit
    int64_t min_order_quantity   # lots; NONE: no limit
    int64_t min_order_notional, max_order_notional  # minor units; NONE: no limit
    int64_t expiry_ts            # NONE: never
    int64_t mark_max_age         # ns after which a mark is stale; NONE: never
    int64_t mark_band            # of the index that a mark may be away from it; NONE: no limit
    schedule_t schedule
    profile_t profile
    # market
    int64_t mark                 # mark ticks; NONE before the first
    int64_t index_price          # mark ticks; NONE before the first
    int64_t feed_seq
    int32_t halt                 # HaltMode
    int32_t is_over              # it has been settled
    int32_t pause                # PauseReason
    int64_t mark_ts              # when the latest mark came
    # holders
    house_t fund, external
    int64_t long_lots            # open interest: sum of all long positions, house included
    int64_t resting_lots         # of orders in the book that are not reduce-only
    int64_t reduce_only_lots     # of those that are
    int32_t *holders             # position rows with a position open, in no order
    int32_t holder_count, holder_capacity
    int64_t steps_taken          # by the command under way, where the profile bounds them
    int64_t slices_since         # start of the latest interval in which slices were closed
    int64_t slices_taken         # notional closed in it
    # multipliers that are to come
    int64_t announced_ts         # NONE: none
    int64_t announced_maintenance, announced_initial
    workoff_t workoff
    int32_t offer                # order row of the fund's resting order, NIL: none
    int32_t call_set             # row of the profile's margin-call levels; 0: the default

cdef struct account_t:
    int64_t id
    int64_t stp_group            # accounts of one group count as one owner; NONE: alone
    int64_t dead_man             # time at which its orders are cancelled, NONE: never
    int32_t first_wallet         # pool rows, by asset
    int32_t first_position       # position rows, by symbol and leg
    int32_t call_set             # its row of margin-call levels; 0: the default
    uint8_t has_multiplier       # of its requirements, above 1
    uint8_t owns_calls           # they are its own, and come before those of profiles
    uint8_t margin_mode          # default of its positions
    uint8_t position_mode        # PositionMode

cdef struct pool_t:
    int64_t balance              # wallet, or isolated margin
    int32_t account, asset
    int32_t symbol               # NIL: a cross pool
    int32_t first_open           # position rows with a position open, by symbol and leg
    int32_t next_in_account      # next wallet of the account
    int32_t steps                # liquidation steps since it entered the queue
    int32_t heap_index           # place in the liquidation queue, NIL: not in it
    int32_t version              # counts changes, for the deleveraging ranking
    int32_t first_pledge         # of the wallets that count in it besides its own, by asset
    int32_t call_set             # the row of margin-call levels that it goes by
    uint8_t call_level           # of these reached
    uint8_t in_queue
    uint8_t is_waiting           # in the queue, but nothing more can be done for now
    uint8_t is_pending           # touched since it was last evaluated
    uint8_t is_changed           # its wallet is to be reported
    uint8_t has_stuck            # has waited since it entered the queue
    uint8_t is_patient           # where it waits, it does so only while there is equity
    uint8_t is_unfiled           # its triggers are out of date; in the list of such
    uint8_t is_bankrupt          # flat with a deficit that the fund did not cover whole
    uint8_t leg                  # PositionSide of an isolated position

cdef enum:
    POSITION_CHANGED = 1         # it is to be reported
    POSITION_TOPS_UP = 2         # its isolated margin, before it would be liquidated

cdef struct position_t:
    int64_t quantity             # lots, long > 0
    int64_t entry_value          # exact cost, + for a long
    # triggers: marks at or beyond which the pool is to be looked at
    int64_t trigger[2]           # [0] falling, 0: none; [1] rising, MONEY_MAX: none
    # links
    int32_t account, symbol
    int32_t wallet, isolated     # pool rows; isolated NIL until first needed
    int32_t next_in_account
    int32_t next_open            # next open position of its pool
    int32_t holder_slot          # place among the symbol's holders, NIL: flat
    int32_t orders               # its row of open orders; 0: it never had one
    int32_t custom               # its row of what was set for it; 0: nothing ever was
    uint8_t margin_mode
    uint8_t flags                # POSITION_...; a byte more would make the row 80 bytes, not 72
    int8_t sign_seen             # of its quantity, when its reduce-only orders were looked at
    uint8_t leg                  # PositionSide; the short leg's row follows the long one's

# What was set for a position, made when first needed. Row 0 has the defaults, and stands for
# all of which nothing ever was set.
cdef struct custom_t:
    int64_t leverage             # 0: the default
    int32_t protection           # its row of market-maker protection, NIL: none
    int32_t own_schedule         # of an account with a multiplier: its row, 0: the symbol's

# The open orders of a position, made when it gets its first. Row 0 has none, and stands for
# all that never had one.
cdef struct open_orders_t:
    int32_t first, last          # order rows, by acceptance
    int32_t count, reduce_only_count
    # those that are not reduce-only
    int64_t side_value[2]        # minor units, by Side
    int64_t extreme_price[2]     # no bid is above, no ask below; tightened when it matters
    int64_t loss_mark[2]         # mark at which the next two hold, 0: they do not
    int64_t loss_lots[2]         # of orders on the losing side of that mark
    int64_t loss_value[2]        # minor units

# A position or a wallet to report, by what sorts it.
cdef struct changed_t:
    int64_t account              # id
    int32_t part                 # 4 x symbol + leg, or asset
    int32_t row

# Whether the wallet saves a position's isolated margin before it would be liquidated.
cdef inline bint tops_up(const position_t *row) noexcept nogil:
    return row.flags & POSITION_TOPS_UP != 0


cdef inline void set_top_up(position_t *row, bint enabled) noexcept nogil:
    row.flags = row.flags & ~POSITION_TOPS_UP | (POSITION_TOPS_UP if enabled else 0)


# A symbol and a leg as the key of a position.
cdef inline int64_t leg_key(int32_t symbol, int leg) noexcept nogil:
    return symbol | <int64_t>leg << 32


# Whether orders of a side close a leg of a hedge account; the others open it.
cdef inline bint closes_leg(int64_t leg, int64_t side) noexcept nogil:
    return (leg == LEG_LONG and side == SIDE_SELL) or (leg == LEG_SHORT and side == SIDE_BUY)


# The order of lists of positions.
cdef inline bint precedes(const position_t *a, const position_t *b) noexcept nogil:
    return a.symbol < b.symbol or (a.symbol == b.symbol and a.leg < b.leg)


cdef class Ledger(Desk):
    cdef public int64_t seq, ts, rejected_seq
    cdef int64_t cause           # what events of the command under way name as their cause
    cdef int64_t trade_id, arrivals  # counters of trades and of accepted orders
    cdef Records records
    cdef asset_t *assets
    cdef int32_t asset_count
    cdef fund_t *funds
    cdef int32_t fund_count, fund_capacity
    cdef instrument_t *instruments
    cdef int32_t instrument_count
    cdef account_t *accounts
    cdef int32_t account_count, account_capacity
    cdef table_t account_table   # account id -> row
    cdef dict parents            # row of a sub-account -> that of its parent
    cdef dict sub_accounts       # row of a parent -> ids of its sub-accounts, by opening
    cdef dict multipliers        # row of an account -> multiplier of its requirements, above 1
    # Schedules under such multipliers, made when first needed and kept; the first is none.
    cdef schedule_t **own_schedules
    cdef int32_t own_schedule_count
    cdef dict own_schedule_rows  # (multiplier, symbol) -> row
    cdef pool_t *pools
    cdef int32_t pool_count, pool_capacity
    cdef position_t *positions
    cdef int32_t position_count, position_capacity
    cdef open_orders_t *open_orders
    cdef int32_t open_orders_count, open_orders_capacity
    cdef custom_t *customs
    cdef int32_t custom_count, custom_capacity
    cdef table_t position_table  # (account row, symbol and leg) -> row
    # what a command touched
    cdef int32_t *changed_orders
    cdef int32_t changed_order_count, changed_order_capacity
    cdef changed_t *changed_pools  # wallets to report
    cdef int32_t changed_pool_count, changed_pool_capacity
    cdef changed_t *changed_positions
    cdef int32_t changed_position_count, changed_position_capacity
    cdef int32_t *pending        # pools to evaluate
    cdef int32_t pending_count, pending_capacity
    cdef bint is_ranking_live    # a ranking for deleveraging wants to hear of touches
    # What all of a fund's inventory but that of one symbol brings in and asks for, as long as
    # no mark, no schedule and none of that inventory changes. NIL: not known.
    cdef int32_t known_symbol, known_fund
    cdef int64_t known_rest
    # (until when, balance) by fund row, falling: those no later balance has reached
    cdef dict fund_history

    # rows
    cdef int32_t new_account(
        self, int64_t account, int margin_mode, int64_t stp_group,
        int position_mode) except -1 nogil
    cdef int32_t new_pool(self, int32_t account, int32_t asset, int32_t symbol) except -1 nogil
    cdef int32_t wallet_of(self, int32_t account, int32_t asset) except -1 nogil
    cdef int32_t new_position(self, int32_t account, int32_t symbol, int leg) except -1 nogil
    cdef int32_t add_position(self, int32_t account, int32_t symbol, int leg) except -1 nogil
    cdef int add_open_orders(self) except -1 nogil
    cdef int new_open_orders(self, int32_t position) except -1 nogil
    cdef int add_custom(self) except -1 nogil
    cdef int put_leverage(self, int32_t position, int64_t leverage) except -1 nogil
    cdef int put_protection(self, int32_t position, int32_t protection) except -1 nogil
    cdef int put_schedule(self, int32_t position, int32_t schedule) except -1 nogil
    cdef int32_t new_isolated(self, int32_t position) except -1 nogil
    cdef int64_t isolated_share(
        self, int32_t position, int64_t value, int64_t lots) except? -1 nogil
    cdef int32_t own_schedule_row(self, int64_t multiplier, int32_t symbol) except -1 nogil
    cdef int multiply_schedules(self, int32_t symbol) except -1 nogil

    # notes of what changed
    cdef int note_touched(self, int32_t pool) except -1 nogil
    cdef int log_touch(self, int32_t pool) except -1 nogil
    cdef int note_pending(self, int32_t pool) except -1 nogil
    cdef int list_position(self, int32_t position) except -1 nogil
    cdef int list_order(self, int32_t order) except -1 nogil
    cdef int flush_changes(self) except -1 nogil
    cdef int report_positions(self) except -1 nogil
    cdef int report_wallets(self) except -1 nogil
    cdef int emit_order_update(self, int32_t order) except -1 nogil

    # money
    cdef int settle_fill(self, int32_t position, int64_t quantity, int64_t value) except -1 nogil
    cdef int close_part(self, int32_t position, int64_t quantity, int64_t value) except -1 nogil
    cdef int open_part(self, int32_t position, int64_t quantity, int64_t value) except -1 nogil
    cdef int link_open(self, int32_t position) except -1 nogil
    cdef int unlink_open(self, int32_t position) except -1 nogil
    cdef int set_quantity(self, int32_t position, int64_t quantity) except -1 nogil
    cdef int move_to_isolated(self, int32_t position, int64_t amount) except -1 nogil
    cdef int charge(self, int32_t position, int64_t amount) except -1 nogil
    cdef int64_t settle_house(
        self, int32_t symbol, house_t *house, int64_t quantity, int64_t value) except? -1 nogil
    cdef int32_t new_fund(self, int32_t asset, int64_t number) except -1 nogil
    cdef int32_t find_fund(self, int32_t asset, int64_t number) noexcept nogil
    cdef int change_insurance(
        self, int32_t fund, int64_t delta, int reason, int64_t account) except -1 nogil
    cdef int note_fund(
        self, int32_t fund, int64_t before, int64_t delta, int reason) except -1 nogil
    cdef int prune_history(self, int32_t fund) except -1 nogil

    # measuring
    cdef int measure(self, int32_t pool, int64_t *equity, int64_t *maintenance) except -1 nogil
    cdef int measure_wide(self, int32_t pool, i128 *equity, i128 *maintenance) except -1 nogil
    cdef int measure_far(
        self, int32_t pool, int64_t *equity, int64_t *maintenance) except -1 nogil
    cdef int64_t collateral_of(self, int32_t pool) except? -1 nogil
    cdef int64_t equity_of(self, int32_t pool) except? -1 nogil
    cdef int unfile(self, int32_t position) except -1 nogil

    # --- small enough to be inlined everywhere ----------------------------------------

    cdef inline int32_t find_account(self, int64_t account) noexcept nogil:
        cdef uint32_t tag = table_tag(0, account)
        cdef uint64_t at = table_home(&self.account_table, tag)
        cdef int32_t row = table_next(&self.account_table, tag, &at)
        while row >= 0 and self.accounts[row].id != account:
            row = table_next(&self.account_table, tag, &at)
        return row

    # An account's position row of a leg, of either mode.
    cdef inline int32_t find_leg(self, int32_t account, int32_t symbol, int leg) noexcept nogil:
        cdef uint32_t tag = table_tag(account, leg_key(symbol, leg))
        cdef uint64_t at = table_home(&self.position_table, tag)
        cdef int32_t row = table_next(&self.position_table, tag, &at)
        while row >= 0 and not (
            self.positions[row].account == account and self.positions[row].symbol == symbol
            and self.positions[row].leg == leg
        ):
            row = table_next(&self.position_table, tag, &at)
        return row

    # A leg that the account's mode has; NIL where it never touched the symbol. A one-way
    # account's first symbol is at hand: rows of legs it had before come behind.
    cdef inline int32_t find_position(
        self, int32_t account, int32_t symbol, int leg
    ) noexcept nogil:
        cdef int32_t first
        if leg == LEG_BOTH:
            first = self.accounts[account].first_position
            if first >= 0 and self.positions[first].symbol == symbol:
                return first
        return self.find_leg(account, symbol, leg)

    # The position row of an account's leg in a symbol, made when first asked for.
    cdef inline int32_t position_at(self, int32_t account, int32_t symbol, int leg) except -1 nogil:
        cdef int32_t row = self.find_position(account, symbol, leg)
        return row if row >= 0 else self.new_position(account, symbol, leg)

    # Id of an order's owner: 0 for the fund, whose orders have neither account nor position.
    cdef inline int64_t owner_id(self, int32_t order) noexcept nogil:
        cdef int32_t account = self.orders[order].account
        return self.accounts[account].id if account >= 0 else 0

    # The open orders of a position, to be looked at.
    cdef inline open_orders_t *orders_of(self, int32_t position) noexcept nogil:
        return &self.open_orders[self.positions[position].orders]

    # The same, to be added to.
    cdef inline open_orders_t *own_orders(self, int32_t position) except NULL nogil:
        if self.positions[position].orders == 0:
            self.new_open_orders(position)
        return &self.open_orders[self.positions[position].orders]

    # What was set for a position, to be looked at.
    cdef inline const custom_t *custom_of(self, const position_t *row) noexcept nogil:
        return &self.customs[row.custom]

    # The same, to be changed.
    cdef inline custom_t *own_custom(self, int32_t position) except NULL nogil:
        if self.positions[position].custom == 0:
            self.positions[position].custom = self.custom_count
            self.add_custom()
        return &self.customs[self.positions[position].custom]

    # The only leg of an account in a symbol, or the first of two.
    cdef inline int first_leg(self, int32_t account) noexcept nogil:
        return LEG_BOTH if (
            self.accounts[account].position_mode == POSITIONS_ONE_WAY) else LEG_LONG

    # The other leg, NIL where there is none.
    cdef inline int32_t twin_of(self, int32_t position) noexcept nogil:
        cdef int leg = self.positions[position].leg
        if leg == LEG_BOTH:
            return NIL
        return position + 1 if leg == LEG_LONG else position - 1

    # The leg that would hold a long (short) position of an account.
    cdef inline int leg_of_sign(self, int32_t account, bint is_long) noexcept nogil:
        if self.accounts[account].position_mode == POSITIONS_ONE_WAY:
            return LEG_BOTH
        return LEG_LONG if is_long else LEG_SHORT

    # The pool that margins a position.
    cdef inline int32_t pool_of(self, int32_t position) except -1 nogil:
        cdef const position_t *row = &self.positions[position]
        if row.margin_mode == MODE_CROSS:
            return row.wallet
        return row.isolated if row.isolated >= 0 else self.new_isolated(position)

    # What a position must have: its symbol's schedule, by the multiplier of its owner.
    cdef inline const schedule_t *schedule_of(self, const position_t *row) noexcept nogil:
        cdef int32_t own = self.custom_of(row).own_schedule
        if own:
            return self.own_schedules[own]
        return &self.instruments[row.symbol].schedule

    cdef inline int64_t leverage_of(self, int32_t position) noexcept nogil:
        cdef const position_t *row = &self.positions[position]
        cdef int64_t leverage = self.custom_of(row).leverage
        if leverage:
            return leverage
        return min64(DEFAULT_LEVERAGE, self.schedule_of(row).tiers[0].max_leverage)

    # Note that a pool's money or positions changed.
    cdef inline int touch(self, int32_t pool) except -1 nogil:
        cdef pool_t *row = &self.pools[pool]
        row.version += 1
        row.is_waiting = 0
        if not row.is_pending or not (row.is_changed or row.symbol >= 0):
            self.note_touched(pool)
        return self.log_touch(pool) if self.is_ranking_live else 0

    # Note that a position is to be reported.
    cdef inline int note_position(self, int32_t position) except -1 nogil:
        if self.positions[position].flags & POSITION_CHANGED:
            return 0
        return self.list_position(position)

    # Note that an order is to be reported.
    cdef inline int note_order(self, int32_t order) except -1 nogil:
        return 0 if self.tickets[order].changed else self.list_order(order)

    # The payload of a new event record.
    cdef inline int64_t *emit(self, int kind) except NULL nogil:
        return self.records.append(kind, self.seq, self.ts, self.cause) + 4

    # What a wallet can pay for isolated positions: nothing while it is in liquidation.
    cdef inline int64_t spendable(self, int32_t wallet) noexcept nogil:
        return 0 if self.pools[wallet].in_queue else max64(0, self.pools[wallet].balance)

    # Value of a signed position at a mark. Within the money range for any real position: a
    # mark or trade that would carry open interest beyond it is refused.
    cdef inline int64_t value(
        self, int32_t symbol, int64_t quantity, int64_t mark
    ) except? -1 nogil:
        return value_at(&self.instruments[symbol].contract, quantity, mark)

    # Notional of lots at the mark.
    cdef inline int64_t marked_notional(self, int32_t symbol, int64_t lots) except? -1 nogil:
        return notional_at(
            &self.instruments[symbol].contract, lots, self.instruments[symbol].mark)

    # What lots are worth at the mark.
    cdef inline int64_t marked_worth(self, int32_t symbol, int64_t lots) except? -1 nogil:
        return worth_at(&self.instruments[symbol].contract, lots, self.instruments[symbol].mark)

    cdef inline int64_t notional(self, int32_t position) except? -1 nogil:
        return self.marked_notional(
            self.positions[position].symbol, abs64(self.positions[position].quantity))

    # Notional, with the sign of the quantity.
    cdef inline int64_t signed_notional(self, int32_t position) except? -1 nogil:
        cdef int64_t notional = self.notional(position)
        return notional if self.positions[position].quantity > 0 else -notional

    cdef inline int64_t maintenance(self, int32_t position) except? -1 nogil:
        if self.positions[position].quantity == 0:
            return 0
        return maintenance_margin(
            self.schedule_of(&self.positions[position]), self.notional(position))

    cdef inline int64_t initial(self, int32_t position) except? -1 nogil:
        if self.positions[position].quantity == 0:
            return 0
        return initial_margin(
            self.schedule_of(&self.positions[position]), self.notional(position),
            self.leverage_of(position))

    cdef inline int64_t unrealized(self, int32_t position) except? -1 nogil:
        cdef const position_t *row = &self.positions[position]
        if row.quantity == 0:
            return 0
        return sub_checked(
            self.value(row.symbol, row.quantity, self.instruments[row.symbol].mark),
            row.entry_value)

    # Whether open interest and resting orders, `quantity` lots more included, stay in the
    # money range at a mark. Reduce-only orders do not count.
    cdef inline bint fits(self, int32_t symbol, int64_t quantity, int64_t mark) noexcept nogil:
        cdef const instrument_t *instrument = &self.instruments[symbol]
        cdef i128 lots = add(wide(quantity), add(
            wide(instrument.long_lots), wide(instrument.resting_lots)))
        return lots <= wide(MONEY_MAX) and notional_fits(
            &instrument.contract, low_half(lots), mark)
