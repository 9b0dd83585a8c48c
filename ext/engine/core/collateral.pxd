# Collateral assets: what an amount of one counts for in the pools of another.

from libc.stdint cimport int32_t, int64_t

from engine.core.fixed cimport add, i128, mul, mul_wide, scaled_down, scaled_up, wide
from engine.core.types cimport NONE, RATE_SCALE

cdef enum:
    COLLATERAL_TIERS_MAX = 64

cdef struct collateral_t:
    int32_t asset, value_asset
    int32_t exponent             # as declared: a minor unit is worth price / 10^exponent
    int32_t count
    int64_t threshold            # debt beyond which it is converted at once; NONE: never
    int64_t fee                  # of what a conversion brings; rate units
    int64_t price                # 1e-8 of the value asset for a whole unit; NONE before the first
    i128 divisor                 # amount x weight x factor x price / divisor: what it counts for
    int64_t factor
    int64_t most[COLLATERAL_TIERS_MAX]    # amount up to which a tier goes
    int64_t weight[COLLATERAL_TIERS_MAX]

cdef int collateral_load(collateral_t *row, int32_t exponent, list tiers) except -1
cdef int64_t spare_amount(const collateral_t *row, int64_t amount, int64_t value) noexcept nogil


# An amount at its marginal weights. O(tiers).
cdef inline i128 weighted(const collateral_t *row, int64_t amount) noexcept nogil:
    cdef i128 total = wide(0)
    cdef int64_t low = 0
    cdef int k
    for k in range(row.count):
        if amount <= row.most[k]:
            return mul_wide(add(total, mul(amount - low, row.weight[k])), row.factor)
        total = add(total, mul(row.most[k] - low, row.weight[k]))
        low = row.most[k]
    return mul_wide(total, row.factor)


# What an amount counts for, rounded down; nothing before there is a price.
cdef inline int64_t collateral_value(const collateral_t *row, int64_t amount) noexcept nogil:
    if row.price == NONE or amount <= 0:
        return 0
    return scaled_down(weighted(row, amount), row.price, row.divisor)


# What an amount is worth at full price less a rate, rounded down.
cdef inline int64_t full_value(
    const collateral_t *row, int64_t amount, int64_t price, int64_t fee
) noexcept nogil:
    if price == NONE or amount <= 0:
        return 0
    return scaled_down(
        mul_wide(mul(amount, RATE_SCALE - fee), row.factor), price, row.divisor)


# The least amount whose conversion brings a debt.
cdef inline int64_t amount_needed(const collateral_t *row, int64_t debt) noexcept nogil:
    return scaled_up(
        row.divisor, debt, mul(row.factor * (RATE_SCALE - row.fee), row.price))


# The least price at which a weighted amount counts for a value.
cdef inline int64_t price_for(
    const collateral_t *row, i128 amount, int64_t value
) noexcept nogil:
    return scaled_up(row.divisor, value, amount)
