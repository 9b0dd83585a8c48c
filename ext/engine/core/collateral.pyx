"""Collateral assets: schedules, and what of an amount can be spared."""

from engine.core.fixed cimport max64


# Fill the schedule of a row from (amount up to which, weight) rows.
cdef int collateral_load(collateral_t *row, int32_t exponent, list tiers) except -1:
    cdef int32_t power = exponent + 8  # weights are in 1e-8
    cdef int i, _
    row.exponent = exponent
    row.divisor, row.factor = wide(1), 1
    for _ in range(max64(0, power)):
        row.divisor = mul_wide(row.divisor, 10)
    for _ in range(max64(0, -power)):
        row.factor *= 10
    row.count = <int32_t>len(tiers)
    for i in range(row.count):
        row.most[i], row.weight[i] = tiers[i]
    return 0


# How much of an amount can go without its value falling by more than `value`. By bisection:
# the value never falls with the amount.
cdef int64_t spare_amount(
    const collateral_t *row, int64_t amount, int64_t value
) noexcept nogil:
    cdef int64_t least = collateral_value(row, amount) - value
    cdef int64_t low = 0, high = amount, middle
    while low < high:
        middle = low + (high - low) // 2
        if collateral_value(row, middle) >= least:
            high = middle
        else:
            low = middle + 1
    return amount - low
