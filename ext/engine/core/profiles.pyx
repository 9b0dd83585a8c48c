"""Rows of profiles, and how much of a position their close policies keep."""

from engine.messages import Profile

from engine.core.contracts cimport contract_t, notional_at
from engine.core.fixed cimport (
    add, ceil_div, floor_div, i128, max64, min64, mul, mul_div_floor, mul_wide, narrow, sub, wide,
)
from engine.core.tiers cimport schedule_t, tier_index
from engine.core.types cimport COOLED_ALL, KIND_INVERSE, MONEY_MAX, NONE, RATE_SCALE

assert len(Profile._fields) == sizeof(profile_t) // sizeof(int64_t), "profiles have other fields"


# A row as `engine.messages.Profile` orders it; the empty one is the default.
cdef int profile_load(profile_t *profile, tuple row) except -1:
    cdef int64_t *field = <int64_t *>profile
    cdef tuple whole = tuple(Profile(*row))
    cdef int i
    for i in range(len(whole)):
        field[i] = whole[i]
    return 0


cdef tuple profile_row(const profile_t *profile):
    cdef const int64_t *field = <const int64_t *>profile
    return tuple([field[i] for i in range(sizeof(profile_t) // sizeof(int64_t))])


# What every margin reserves of the notional for its close, in rate units.
cdef int64_t closing_fee(const profile_t *profile, int64_t taker_fee) noexcept nogil:
    return max64(0, taker_fee) if profile.closing_fee_reserve else 0


# --- lots that a step leaves ------------------------------------------------------------

# What fits under the cap of the tier so many tiers lower; nothing below the lowest. Floor.
cdef int64_t tier_keep(
    const schedule_t *schedule, int64_t steps, int64_t held, const contract_t *contract,
    int64_t mark
) except? -1 nogil:
    cdef int64_t lowest = tier_index(
        schedule, notional_at(contract, held, mark)) - (steps - 1)
    cdef int64_t cap
    if lowest <= 0:
        return 0
    cap = schedule.tiers[lowest].min_notional
    if contract.kind == KIND_INVERSE:
        return min64(held, mul_div_floor(cap, mark, contract.unit_value))
    return min64(held, narrow(floor_div(wide(cap), mul(mark, contract.unit_value))))


# Largest maintenance margin of what stays of a position with which, the pool's equity left
# as it is, the margin ratio is at the target or under it, and the pool is healthy. Floor.
cdef i128 target_room(
    const profile_t *profile, int64_t exit_buffer, int64_t equity, int64_t others
) noexcept nogil:
    cdef i128 most = floor_div(mul(equity, profile.target_ratio), wide(RATE_SCALE))
    # Healthy is a strict inequality.
    cdef i128 below = sub(
        ceil_div(mul(equity, RATE_SCALE - exit_buffer), wide(RATE_SCALE)), wide(1))
    return sub(most if most < below else below, wide(others))


# What a fraction leaves; nothing of a small position, or after the cooldown. The fraction is
# rounded down to the lot, at least one.
cdef int64_t fraction_keep(
    const profile_t *profile, int64_t held, int64_t notional, bint is_cooled
) except? -1 nogil:
    if notional <= profile.fraction_above:
        return 0
    if is_cooled and profile.after_cooldown == COOLED_ALL:
        return 0
    return held - max64(1, mul_div_floor(held, profile.fraction, RATE_SCALE))


# --- ramps ------------------------------------------------------------------------------

# Steps of a ramp that lie behind it so many ns after its start. Floor.
cdef int64_t ramp_steps_done(const profile_t *profile, int64_t passed) except -1 nogil:
    cdef i128 done = floor_div(mul(passed, profile.ramp_steps), wide(profile.ramp))
    return profile.ramp_steps if done > wide(profile.ramp_steps) else narrow(done)


# What a ramp has due, in rate units: from its fraction on in equal steps, at last all. Floor.
cdef int64_t ramp_share(const profile_t *profile, int64_t passed) except -1 nogil:
    return profile.fraction + mul_div_floor(
        RATE_SCALE - profile.fraction, ramp_steps_done(profile, passed), profile.ramp_steps)


# When a ramp's next step comes, up to the ns; NONE after its last.
cdef int64_t ramp_next(const profile_t *profile, int64_t since, int64_t now) except? -1 nogil:
    cdef int64_t done = ramp_steps_done(profile, now - since)
    cdef i128 until
    if done == profile.ramp_steps:
        return NONE
    until = add(wide(since), ceil_div(mul(done + 1, profile.ramp), wide(profile.ramp_steps)))
    return MONEY_MAX if until > wide(MONEY_MAX) else narrow(until)


# Lots that are missing to the due part of all there was: what is wanted now and what the ramp
# has closed before. Floor, but at least one lot in all.
cdef int64_t ramp_lots(int64_t wanted, int64_t due, int64_t closed) except? -1 nogil:
    cdef i128 target = floor_div(
        mul_wide(add(wide(wanted), wide(closed)), due), wide(RATE_SCALE))
    if target < wide(1):
        target = wide(1)
    target = sub(target, wide(closed))
    return min64(wanted, max64(0, narrow(target)))


# --- the price of a step ----------------------------------------------------------------

# What a fillable price gives away for a whole position, in minor units: from nothing where
# the equity is the requirement to a part of the position's own requirement where it is spent,
# or before. Each division rounds down, against the taker. There must be equity left.
cdef int64_t spread(
    const profile_t *profile, int64_t own, int64_t equity, int64_t maintenance
) except? -1 nogil:
    cdef i128 rating = floor_div(
        mul(profile.bankruptcy_adjustment, maintenance - equity), wide(maintenance))
    cdef i128 most = floor_div(mul(own, profile.spread_to_maintenance), wide(RATE_SCALE))
    if rating < wide(0):
        rating = wide(0)
    elif rating > wide(RATE_SCALE):
        rating = wide(RATE_SCALE)
    most = floor_div(mul_wide(most, narrow(rating)), wide(RATE_SCALE))
    return MONEY_MAX if most > wide(MONEY_MAX) else narrow(most)
