"""Loading of margin schedules."""

from engine.core.fixed cimport add, mul, wide
from engine.core.types cimport RULE_MARGINAL


# Rows of (min, max, rate, leverage), already checked; derives the deductions
# A_k = A_(k-1) + min_k x (rate_k - rate_(k-1)) that make the marginal rule continuous.
cdef int schedule_load(schedule_t *schedule, int rule, list rows) except -1:
    cdef tier_t *tier
    cdef int k
    if not 0 < len(rows) <= TIERS_MAX:
        raise ValueError(f"a schedule has 1 to {TIERS_MAX} tiers")
    schedule.rule = rule
    schedule.count = <int32_t>len(rows)
    for k in range(schedule.count):
        tier = &schedule.tiers[k]
        tier.min_notional, tier.max_notional, tier.rate, tier.max_leverage = rows[k]
        tier.deduction = wide(0)
        if k and rule == RULE_MARGINAL:
            tier.deduction = add(
                schedule.tiers[k - 1].deduction,
                mul(tier.min_notional, tier.rate - schedule.tiers[k - 1].rate))
    return 0
