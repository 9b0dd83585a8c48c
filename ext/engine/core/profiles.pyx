"""Rows of profiles, and how much of a position their close policies keep."""

from engine.messages import Profile

from engine.core.contracts cimport contract_t, notional_at
from engine.core.fixed cimport (
    ceil_div, floor_div, i128, max64, min64, mul, mul_div_floor, narrow, sub, wide,
)
from engine.core.tiers cimport schedule_t, tier_index
from engine.core.types cimport COOLED_ALL, KIND_INVERSE, RATE_SCALE

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


# --- lots that a step leaves ------------------------------------------------------------

# What fits under the cap of the tier so many tiers lower; nothing below the lowest. Floor.
cdef int64_t tier_keep(
    const schedule_t *schedule, int64_t steps, int64_t held, const contract_t *contract,
    int64_t mark
) except? -1:
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
) except? -1:
    if notional <= profile.fraction_above:
        return 0
    if is_cooled and profile.after_cooldown == COOLED_ALL:
        return 0
    return held - max64(1, mul_div_floor(held, profile.fraction, RATE_SCALE))
