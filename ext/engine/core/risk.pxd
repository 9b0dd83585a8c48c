# Risk: each pool's slack, split into triggers, so that a tick touches only pools that may
# have reached a threshold.
#
# A pool outside the queue is quiet while a weighted health G = a x equity - b x
# maintenance margin stays positive: (1, 1) for liquidation, (level, 1) for the next
# margin call, whichever comes first; and, in a margin call, while the same with the
# clearing level stays at or below zero. The slack is split among the pool's positions in
# proportion to their notional; each position's trigger is the first mark at which it
# alone has used up its share. While every mark is short of every trigger, no sum of
# changes can have reached the threshold.

from libc.stdint cimport int32_t, int64_t

from engine.core.fixed cimport i128
from engine.core.ledger cimport pool_t, position_t
from engine.core.protection cimport Protection
from engine.core.triggers cimport trigger_side_t

# "contribution >= floor" (or <= with the sign turned) of one position, as a function of
# its mark; linear within each tier.
cdef struct bound_t:
    int64_t weight               # of value in rate units (RATE_SCALE for liquidation)
    i128 limit                   # in minor units x rate units
    int32_t sense                # +1: at least the limit, -1: at most
    bint is_whole                # shares of the slack are in minor units, not times rate units

# What a pool's triggers leave of its slack, before any is moved. A trigger uses up what the
# pool would lose from here to the last mark short of it.
cdef struct survey_t:
    i128 used                    # by all that are filed
    i128 most                    # by the one that uses most
    int32_t most_row             # its position, NIL: none is filed
    int32_t missing_row          # a position without a trigger
    int32_t missing_count
    i128 notional                # of all positions

cdef enum:
    CALL_LEVELS_MAX = 4

# Margin-call levels (margin ratios, ascending); a call is over under its level less the
# hysteresis. Sets are kept once and shared by all accounts and profiles that have the same.
cdef struct call_set_t:
    int64_t levels[CALL_LEVELS_MAX]
    int64_t hysteresis
    int32_t count

# What would end a margin call; NONE where nothing of the kind would.
cdef struct remedy_t:
    int64_t collateral           # minor units to add
    int64_t symbol
    int64_t lots                 # of the symbol, to close at mark
    int64_t leg                  # PositionSide of what to close

# Triggers matter only when a mark moves. A command that moves none leaves the pools that it
# touched to be filed before the next mark, or when there are more of them than this: an
# account that trades in a row is filed once, and no mark finds much to catch up on.
cdef enum:
    UNFILED_MAX = 64

cdef class Risk(Protection):
    cdef trigger_side_t *trigger_sides       # two a symbol: falling, rising
    cdef int32_t trigger_symbols
    cdef trigger_side_t *pledge_sides        # the same of collateral assets' prices
    cdef int32_t pledge_symbols
    cdef int32_t *crossed
    cdef int32_t crossed_count, crossed_capacity
    cdef int32_t unfiled[UNFILED_MAX]        # pools whose triggers are out of date
    cdef int32_t unfiled_count
    cdef public int64_t evaluation_count     # pools measured, ever: what the index saved
    cdef call_set_t *call_sets               # the default first
    cdef dict call_set_rows                  # (hysteresis, levels ...) -> row
    cdef bint has_profile_calls              # some profile has had levels

    cdef int add_triggers(self) except -1 nogil
    cdef int add_pledge_triggers(self) except -1 nogil
    cdef int collect_crossed(self, int32_t symbol) except -1 nogil
    cdef int collect_priced(self, int32_t collateral) except -1 nogil
    cdef int note_unfiled(self, int32_t pool) except -1 nogil
    cdef int file_touched(self) except -1 nogil
    cdef int file_pool(self, int32_t pool, int64_t equity, int64_t maintenance) except -1 nogil
    cdef int file_every_tick(self, int32_t pool) except -1 nogil
    cdef i128 slack_of(
        self, int32_t pool, int64_t equity, int64_t maintenance, bound_t *down) except? -1 nogil
    cdef bint survey(self, int32_t pool, const bound_t *down, survey_t *found) except -1 nogil
    cdef bint patch(
        self, bound_t *down, i128 slack, const survey_t *found) except -1 nogil
    cdef i128 contribution(self, position_t *position, const bound_t *bound) except? -1 nogil
    cdef int bound_share(self, position_t *position, i128 share, bound_t *down) except -1 nogil
    cdef int file_share(self, int32_t row, i128 share, bound_t *down) except -1 nogil
    cdef int64_t split(self, int32_t pool, int *shift) except? -1 nogil
    cdef int file_release(self, int32_t pool, int64_t equity, int64_t maintenance) except -1 nogil
    cdef int64_t least_exit_buffer(self, int32_t pool) noexcept nogil
    cdef int file_trigger(self, int32_t row, int rising, int64_t price) except -1 nogil
    cdef int unfile_pool(self, int32_t pool) except -1 nogil
    cdef int file_spent(self, int32_t pool, int64_t equity) except -1 nogil
    cdef int64_t losing_mark(self, int32_t row, int64_t share) except? -1 nogil
    cdef int file_pledges(
        self, int32_t pool, i128 fall, i128 rise, int64_t parts, int shift) except -1 nogil
    cdef int file_pledge(
        self, int32_t row, int64_t value, i128 fall, i128 rise) except -1 nogil
    cdef int64_t falling_price(self, int32_t row, int64_t value) noexcept nogil
    cdef int move_pledge(self, int32_t row, int rising, int64_t price) except -1 nogil
    cdef int safe_range(
        self, position_t *position, const bound_t *bound, int64_t *low, int64_t *high
    ) except -1 nogil
    cdef int64_t walk(
        self, position_t *position, const bound_t *bound, int step
    ) except? -1 nogil
    cdef int64_t walk_inverse(
        self, position_t *position, const bound_t *bound, int step
    ) except? -1 nogil
    cdef int32_t ruling_position(self, int32_t pool) except -1 nogil
    cdef bint is_due(self, int32_t pool, int64_t equity, int64_t maintenance) except -1 nogil
    cdef int32_t call_set_row(self, tuple key) except -1
    cdef const call_set_t *call_set_of(self, int32_t pool) noexcept nogil
    cdef int32_t call_set_in_force(self, int32_t pool) except -1 nogil
    cdef bint has_several_calls(self, int32_t pool) noexcept nogil
    cdef int level_of(self, int32_t pool, int64_t equity, int64_t maintenance) noexcept nogil
    cdef int find_remedy(
        self, int32_t pool, int64_t equity, int64_t maintenance, int64_t target,
        remedy_t *remedy) except -1 nogil
    cdef int64_t lots_within(self, int32_t position, i128 allowed) except? -1 nogil
    cdef bint level_reached(self, int64_t equity, int64_t maintenance, int64_t level) noexcept nogil
