# Margin schedules: notional bands with their rates, and what they ask of a notional.

from libc.stdint cimport int32_t, int64_t

from engine.core.contracts cimport contract_t
from engine.core.fixed cimport (
    abs64, add_checked, ceil_div, i128, max64, min64, mul, mul_div_ceil, mul_div_floor, narrow,
    sub, sub_checked, too_wide, wide,
)
from engine.core.types cimport MONEY_MAX, RATE_SCALE

cdef enum:
    TIERS_MAX = 64

cdef struct tier_t:
    int64_t min_notional         # minor units, exclusive lower bound
    int64_t max_notional         # minor units, inclusive upper bound; MONEY_MAX: no cap
    int64_t rate                 # maintenance margin rate in force, closing fee included
    int64_t max_leverage         # in force, rate units
    i128 deduction               # minor units x rate units, exact (A_k of the marginal rule)

cdef struct schedule_t:
    int32_t rule                 # TierRule
    int32_t count
    int64_t initial_multiplier   # of initial margin; rate units, as the next
    int64_t maintenance_multiplier  # of the tiers' rates
    int64_t steepest             # highest rate in force; MONEY_MAX: margin jumps between tiers
    int64_t closing_fee          # rate that every margin reserves on top; 0: not reserved
    tier_t tiers[TIERS_MAX]
    int64_t base_rate[TIERS_MAX]  # as declared, before multipliers
    int64_t base_leverage[TIERS_MAX]

cdef int schedule_load(
    schedule_t *schedule, int rule, list rows, int64_t closing_fee) except -1
cdef bint schedule_fits(const schedule_t *schedule, int64_t maintenance_multiplier) noexcept nogil
cdef int schedule_multiply(
    const schedule_t *base, int64_t multiplier, schedule_t *out) except -1 nogil
cdef int schedule_scale(
    schedule_t *schedule, int64_t maintenance_multiplier, int64_t initial_multiplier
) except -1 nogil


# Index of the tier with min < notional <= max; the last one beyond its cap. O(tiers).
cdef inline int tier_index(const schedule_t *schedule, int64_t notional) noexcept nogil:
    cdef int k = 0
    while k < schedule.count - 1 and notional > schedule.tiers[k].max_notional:
        k += 1
    return k


# notional x rate - deduction, rounded up.
cdef inline int64_t maintenance_margin(
    const schedule_t *schedule, int64_t notional
) except? -1 nogil:
    cdef const tier_t *tier = &schedule.tiers[tier_index(schedule, notional)]
    return narrow(ceil_div(sub(mul(notional, tier.rate), tier.deduction), wide(RATE_SCALE)))


# A leverage, or what the notional's tier allows if that is less.
cdef inline int64_t allowed_leverage(
    const schedule_t *schedule, int64_t notional, int64_t leverage
) noexcept nogil:
    return min64(leverage, schedule.tiers[tier_index(schedule, notional)].max_leverage)


# value / leverage x initial multiplier, plus the closing fee, each rounded up; within the
# money range.
cdef inline int64_t scaled_margin(
    const schedule_t *schedule, int64_t value, int64_t leverage
) except? -1 nogil:
    cdef int64_t out
    cdef i128 margin
    if too_wide(value, schedule.initial_multiplier, leverage, &out):
        margin = ceil_div(mul(value, schedule.initial_multiplier), wide(leverage))
        out = narrow(margin) if margin < wide(MONEY_MAX) else MONEY_MAX
    if schedule.closing_fee:
        return min64(MONEY_MAX, out + mul_div_ceil(value, schedule.closing_fee, RATE_SCALE))
    return out


# The same of a notional; leverage at most what its tier allows.
cdef inline int64_t initial_margin(
    const schedule_t *schedule, int64_t notional, int64_t leverage
) except? -1 nogil:
    return scaled_margin(schedule, notional, allowed_leverage(schedule, notional, leverage))


# Fee of a trade; rounded up, so a rebate (a negative fee) is rounded down in size.
cdef inline int64_t trade_fee(int64_t worth, int64_t rate) except? -1 nogil:
    return mul_div_ceil(worth, rate, RATE_SCALE)


# Lowest and highest mark at which an inverse position is within tier k; a lower mark is a
# larger notional. `total` is its worth times the mark.
cdef inline int inverse_tier_marks(
    const schedule_t *schedule, int k, i128 total, int64_t *low, int64_t *high
) except -1 nogil:
    cdef i128 edge
    low[0], high[0] = 1, MONEY_MAX
    if k < schedule.count - 1:
        edge = ceil_div(total, wide(schedule.tiers[k].max_notional))
        low[0] = narrow(edge) if edge < wide(MONEY_MAX) else MONEY_MAX
    if schedule.tiers[k].min_notional:
        edge = sub(ceil_div(total, wide(schedule.tiers[k].min_notional)), wide(1))
        high[0] = narrow(edge) if edge < wide(MONEY_MAX) else MONEY_MAX
    return 0


# An isolated position, to try fills on: what the ledger would make of them. Its wallet is
# named with each, since two legs share one.
cdef struct isolated_t:
    int64_t quantity             # lots, long > 0
    int64_t entry_value
    int64_t margin
    int64_t leverage             # the account's; the tier may allow less
    const contract_t *contract
    int64_t mark
    const schedule_t *schedule

cdef int isolated_fill(
    isolated_t *trial, int64_t quantity, int64_t value, int64_t *wallet) except -1 nogil
cdef int isolated_pay(isolated_t *trial, int64_t fee, int64_t *wallet) except -1 nogil
