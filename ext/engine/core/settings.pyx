"""Settings of accounts and instruments beyond the plain ones."""

from libc.stdint cimport int32_t, int64_t

from engine.core.ledger cimport instrument_t
from engine.core.tiers cimport schedule_fits
from engine.core.timers cimport TIMER_MULTIPLIER
from engine.core.types cimport (
    ACCEPTED, CMD_MARGIN_CALL_LEVELS, CMD_MARGIN_MULTIPLIER, EVENT_MULTIPLIER_ANNOUNCED,
    MONEY_MAX, NONE, RATE_SCALE, REJECT_BAD_TIERS, REJECT_MALFORMED, REJECT_UNKNOWN_ACCOUNT,
    REJECT_UNKNOWN_SYMBOL,
)

# Largest multiplier of a requirement.
cdef int64_t MULTIPLIER_MAX = 100 * RATE_SCALE


cdef class Settings(Commands):
    """How accounts are margined and warned."""

    # --- margin calls -----------------------------------------------------------------

    def set_margin_call_levels(
        self, int64_t account, list levels, int64_t hysteresis=NONE, int64_t ts=NONE
    ):
        """Set at which margin ratios an account is called; its pools are looked at at once."""
        self.end(
            CMD_MARGIN_CALL_LEVELS,
            self.do_set_call_levels(account, levels, hysteresis)
            if self.begin(ts) else REJECT_MALFORMED,
            account, NONE, NONE, NONE)

    cdef int do_set_call_levels(
        self, int64_t account, list levels, int64_t hysteresis
    ) except -2:
        cdef tuple calls = self.chosen_calls(levels, hysteresis)
        cdef int32_t owner, call_set
        if calls is None:
            return REJECT_MALFORMED
        owner = self.find_account(account)
        if owner < 0:
            return REJECT_UNKNOWN_ACCOUNT
        call_set = self.call_set_row(calls)
        self.emit_call_set(account, call_set)
        self.replace_call_levels(owner, call_set)
        return ACCEPTED

    # --- multipliers ------------------------------------------------------------------

    def set_margin_multiplier(
        self, int64_t symbol, int64_t maintenance, int64_t initial, int64_t effective_ts=NONE,
        int64_t ts=NONE,
    ):
        """Scale a symbol's requirements, now or at a time to come. O(holders)."""
        self.end(
            CMD_MARGIN_MULTIPLIER,
            self.do_set_multiplier(symbol, maintenance, initial, effective_ts)
            if self.begin(ts) else REJECT_MALFORMED,
            NONE, NONE, symbol, NONE)

    cdef int do_set_multiplier(
        self, int64_t symbol, int64_t maintenance, int64_t initial, int64_t effective_ts
    ) except -2:
        cdef instrument_t *instrument
        cdef int64_t *out
        if not (0 < maintenance <= MULTIPLIER_MAX and RATE_SCALE <= initial <= MULTIPLIER_MAX):
            return REJECT_MALFORMED
        if effective_ts != NONE and not 0 <= effective_ts <= MONEY_MAX:
            return REJECT_MALFORMED
        if not 0 <= symbol < self.instrument_count:
            return REJECT_UNKNOWN_SYMBOL
        instrument = &self.instruments[symbol]
        if not schedule_fits(&instrument.schedule, maintenance):
            return REJECT_BAD_TIERS
        if effective_ts <= self.ts:
            self.change_multipliers(<int32_t>symbol, maintenance, initial)
            return ACCEPTED
        if instrument.announced_ts != effective_ts:
            self.schedule(TIMER_MULTIPLIER, effective_ts, symbol, <int32_t>symbol)
        instrument.announced_ts = effective_ts
        instrument.announced_maintenance = maintenance
        instrument.announced_initial = initial
        out = self.emit(EVENT_MULTIPLIER_ANNOUNCED)
        out[0] = symbol
        out[1] = maintenance
        out[2] = initial
        out[3] = effective_ts
        return ACCEPTED
