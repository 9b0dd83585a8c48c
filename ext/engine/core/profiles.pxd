# Profiles: how a symbol's pools are liquidated, a fixed row of integers a symbol. What a row
# asks for is answered here as pure functions; `engine.messages.Profile` explains the fields.

from libc.stdint cimport int64_t

from engine.core.contracts cimport contract_t
from engine.core.fixed cimport i128
from engine.core.tiers cimport schedule_t

cdef struct profile_t:
    int64_t liquidate_at         # LiquidateAt
    int64_t close_policy         # ClosePolicy
    int64_t tiers_per_step
    int64_t target_ratio         # rate units
    int64_t fraction             # rate units
    int64_t fraction_above       # minor units; of a position up to this a fraction is all
    int64_t cooldown             # ns
    int64_t after_cooldown       # AfterCooldown
    int64_t exit_buffer          # rate units
    int64_t min_remainder        # minor units
    int64_t steps_per_command    # NONE: no limit
    int64_t surplus              # Surplus
    int64_t adl_score            # AdlScore
    int64_t adl_price            # AdlPrice
    int64_t adl_allocation       # AdlAllocation
    int64_t adl_cancels_orders
    int64_t fund_drawdown_limit  # rate units; NONE: no limit
    int64_t fund_drawdown_window  # ns
    int64_t fund_max_notional    # minor units; NONE: no limit
    int64_t socialize_losses
    int64_t position_choice      # PositionChoice
    int64_t order_bound          # OrderBound
    int64_t spread_to_maintenance  # rate units
    int64_t bankruptcy_adjustment  # rate units
    int64_t bound_band           # rate units, of mark
    int64_t unfilled             # Unfilled
    int64_t ramp                 # ns
    int64_t ramp_steps
    int64_t ramp_of              # RampOf
    int64_t slice_max_share      # rate units; NONE: no limit
    int64_t slice_rate           # minor units; NONE: no limit
    int64_t slice_interval       # ns
    int64_t fund_workoff         # FundWorkoff
    int64_t fund_workoff_fraction  # rate units, of what was taken over
    int64_t fund_workoff_interval  # ns
    int64_t adl
    int64_t fund_fallback        # to the pooled fund
    int64_t backstop             # BackstopUse
    int64_t closing_fee_reserve
    int64_t maker_check
    int64_t fund_workoff_offset  # rate units, of mark
    int64_t fund_workoff_reprice  # rate units, of mark

cdef int profile_load(profile_t *profile, tuple row) except -1
cdef tuple profile_row(const profile_t *profile)
cdef int64_t closing_fee(const profile_t *profile, int64_t taker_fee) noexcept nogil
cdef int64_t tier_keep(
    const schedule_t *schedule, int64_t steps, int64_t held, const contract_t *contract,
    int64_t mark) except? -1 nogil
cdef i128 target_room(
    const profile_t *profile, int64_t exit_buffer, int64_t equity, int64_t others
) noexcept nogil
cdef int64_t fraction_keep(
    const profile_t *profile, int64_t held, int64_t notional, bint is_cooled) except? -1 nogil
cdef int64_t ramp_share(const profile_t *profile, int64_t passed) except -1 nogil
cdef int64_t ramp_next(const profile_t *profile, int64_t since, int64_t now) except? -1 nogil
cdef int64_t ramp_lots(int64_t wanted, int64_t due, int64_t closed) except? -1 nogil
cdef int64_t spread(
    const profile_t *profile, int64_t own, int64_t equity, int64_t maintenance) except? -1 nogil
