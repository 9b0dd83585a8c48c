"""Loading of margin schedules."""

from engine.core.contracts cimport notional_at, split_value
from engine.core.fixed cimport add, floor_div, mul, mul_div_ceil, wide
from engine.core.types cimport RULE_MARGINAL


# Rows of (min, max, rate, leverage), already checked, without multipliers.
cdef int schedule_load(
    schedule_t *schedule, int rule, list rows, int64_t closing_fee
) except -1:
    cdef tier_t *tier
    cdef int k
    if not 0 < len(rows) <= TIERS_MAX:
        raise ValueError(f"a schedule has 1 to {TIERS_MAX} tiers")
    schedule.rule = rule
    schedule.closing_fee = closing_fee
    schedule.count = <int32_t>len(rows)
    for k in range(schedule.count):
        tier = &schedule.tiers[k]
        tier.min_notional, tier.max_notional = rows[k][0], rows[k][1]
        schedule.base_rate[k], schedule.base_leverage[k] = rows[k][2], rows[k][3]
    return schedule_scale(schedule, RATE_SCALE, RATE_SCALE)


# Whether a multiplier leaves all rates, with the closing fee, at 1 or below.
cdef bint schedule_fits(const schedule_t *schedule, int64_t maintenance_multiplier) noexcept nogil:
    cdef int k
    for k in range(schedule.count):
        if ceil_div(mul(schedule.base_rate[k], maintenance_multiplier),
                    wide(RATE_SCALE)) > wide(RATE_SCALE - schedule.closing_fee):
            return False
    return True


# Put multipliers into force: rates rounded up, leverages at most 1 / rate, rounded down; and
# the deductions A_k = A_(k-1) + min_k x (rate_k - rate_(k-1)) that make the marginal rule
# continuous. The closing fee comes on top of the rates and changes neither.
cdef int schedule_scale(
    schedule_t *schedule, int64_t maintenance_multiplier, int64_t initial_multiplier
) except -1 nogil:
    cdef tier_t *tier
    cdef int k
    schedule.maintenance_multiplier = maintenance_multiplier
    schedule.initial_multiplier = initial_multiplier
    for k in range(schedule.count):
        tier = &schedule.tiers[k]
        tier.rate = mul_div_ceil(schedule.base_rate[k], maintenance_multiplier, RATE_SCALE)
        tier.max_leverage = allowed_by(tier.rate, schedule.base_leverage[k])
        tier.rate += schedule.closing_fee
    return deduct(schedule)


# The schedule of an account whose requirements are multiplied once more, rounded up; no rate
# exceeds 1, the closing fee included.
cdef int schedule_multiply(
    const schedule_t *base, int64_t multiplier, schedule_t *out
) except -1 nogil:
    cdef int64_t rate
    cdef int k
    out[0] = base[0]
    out.initial_multiplier = mul_div_ceil(base.initial_multiplier, multiplier, RATE_SCALE)
    for k in range(out.count):
        rate = min64(
            RATE_SCALE - out.closing_fee,
            mul_div_ceil(out.tiers[k].rate - out.closing_fee, multiplier, RATE_SCALE))
        out.tiers[k].rate = rate + out.closing_fee
        out.tiers[k].max_leverage = allowed_by(rate, out.base_leverage[k])
    return deduct(out)


# A leverage, or 1 / rate, rounded down, if that is less.
cdef int64_t allowed_by(int64_t rate, int64_t leverage) except? -1 nogil:
    if rate == 0:
        return leverage
    return min64(leverage, narrow(floor_div(mul(RATE_SCALE, RATE_SCALE), wide(rate))))


# What follows from the rates: what is deducted in each tier, and the highest.
cdef int deduct(schedule_t *schedule) except -1 nogil:
    cdef tier_t *tier
    cdef int k
    schedule.steepest = 0 if schedule.rule == RULE_MARGINAL else MONEY_MAX
    for k in range(schedule.count):
        tier = &schedule.tiers[k]
        schedule.steepest = max64(schedule.steepest, tier.rate)
        tier.deduction = wide(0)
        if k and schedule.rule == RULE_MARGINAL:
            tier.deduction = add(
                schedule.tiers[k - 1].deduction,
                mul(tier.min_notional, tier.rate - schedule.tiers[k - 1].rate))
    return 0


# Close what a signed fill closes, open the rest.
cdef int isolated_fill(
    isolated_t *trial, int64_t quantity, int64_t value, int64_t *wallet
) except -1 nogil:
    cdef int sign = 1 if quantity > 0 else -1
    cdef int64_t held = abs64(trial.quantity)
    cdef int64_t closing, closing_value, released, profit, moved
    if trial.quantity and (trial.quantity > 0) != (quantity > 0):
        closing = min64(held, abs64(quantity))
        closing_value = split_value(value, closing, abs64(quantity))
        released = mul_div_ceil(trial.entry_value, closing, held)
        profit = -add_checked(closing_value, released)
        moved = max64(0, add_checked(mul_div_floor(trial.margin, closing, held), profit))
        trial.margin = sub_checked(add_checked(trial.margin, profit), moved)
        wallet[0] = add_checked(wallet[0], moved)
        trial.quantity += sign * closing
        trial.entry_value -= released
        quantity -= sign * closing
        value -= closing_value
    if quantity:
        trial.quantity = add_checked(trial.quantity, quantity)
        trial.entry_value = add_checked(trial.entry_value, value)
        moved = scaled_margin(trial.schedule, abs64(value), allowed_leverage(
            trial.schedule, notional_at(trial.contract, abs64(trial.quantity), trial.mark),
            trial.leverage))
        moved = min64(moved, max64(0, wallet[0]))
        trial.margin = add_checked(trial.margin, moved)
        wallet[0] -= moved
    return 0


# From the wallet while it has money, the rest from the margin; a rebate goes to the wallet.
cdef int isolated_pay(isolated_t *trial, int64_t fee, int64_t *wallet) except -1 nogil:
    cdef int64_t from_wallet = fee
    if fee > 0:
        from_wallet = min64(fee, max64(0, wallet[0]))
    wallet[0] = sub_checked(wallet[0], from_wallet)
    trial.margin = sub_checked(trial.margin, fee - from_wallet)
    return 0
