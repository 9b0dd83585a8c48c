"""Settings of accounts and instruments beyond the plain ones."""

from libc.stdint cimport int32_t, int64_t

from engine.core.types cimport (
    ACCEPTED, CMD_MARGIN_CALL_LEVELS, NONE, REJECT_MALFORMED, REJECT_UNKNOWN_ACCOUNT,
)


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
