# Bulk reads: the tables of all accounts and all positions, written row by row in one pass,
# with no Python object for any of them; and room made ahead of a bulk load.

from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t

from engine.core.fixed cimport i128
from engine.core.valuation cimport Valuation

# A row of `accounts_array`; the layout is `engine.messages.ACCOUNT_FIELDS`.
cdef struct account_row_t:
    int64_t account
    int64_t wallet
    int64_t equity
    int64_t unrealized_pnl
    int64_t initial_margin
    int64_t order_margin
    int64_t maintenance_margin
    int64_t available_margin
    int64_t margin_ratio
    int32_t asset
    int32_t status
    int64_t collateral

# A row of `positions_array`; the layout is `engine.messages.POSITION_FIELDS`.
cdef struct position_row_t:
    int64_t account
    int64_t quantity
    int64_t entry_value
    int64_t mark
    int64_t notional
    int64_t unrealized_pnl
    int64_t leverage
    int64_t isolated_margin
    int64_t initial_margin
    int64_t maintenance_margin
    int64_t liquidation_price
    int64_t bankruptcy_price
    int32_t symbol
    int16_t tier
    int8_t position_side
    int8_t margin_mode

# An account row by its id, for sorting.
cdef struct named_t:
    int64_t id
    int32_t row

# Where the rows of the pools go, while the table of accounts is being written.
cdef struct places_t:
    account_row_t *rows
    int32_t *place               # of each pool row, NIL: not a wallet
    uint8_t *is_open             # by pool row: holds a position
    uint8_t *is_far              # by pool row: a sum left 64 bits
    uint8_t *is_used             # by pool row: belongs into the table
    uint8_t *status              # by account row: AccountStatus

cdef class Bulk(Valuation):
    cdef int by_id(self, named_t *order) except -1
    cdef int place_wallets(self, const named_t *order, places_t *places) except -1
    cdef int add_positions(self, places_t *places) except -1
    cdef int finish_rows(self, places_t *places) except -1
    cdef int finish_far(self, int32_t pool, account_row_t *out, bint is_open) except -1
    cdef int32_t write_held(
        self, const named_t *order, position_row_t *rows, bint with_prices) except -1
    cdef int32_t write_holders(
        self, int32_t symbol, position_row_t *rows, bint with_prices) except -1
    cdef int write_position(
        self, position_row_t *out, int32_t position, int64_t account) except -1
    cdef int write_prices(
        self, position_row_t *out, int32_t position, int32_t *measured, i128 *equity,
        i128 *maintenance) except -1
