# Every command as a method. Each `do_` method returns ACCEPTED or the reason of the refusal.

from libc.stdint cimport int32_t, int64_t

from engine.core.external cimport External
from engine.core.ledger cimport instrument_t
from engine.core.tiers cimport schedule_t

cdef class Commands(External):
    cdef int do_set_tiers(self, int64_t symbol, list tiers) except -2
    cdef bint is_bearable(
        self, const instrument_t *instrument, const schedule_t *schedule) noexcept nogil
    cdef int do_set_profile(
        self, int64_t symbol, tuple profile, list call_levels, int64_t call_hysteresis
    ) except -2
    cdef int put_profile_calls(self, instrument_t *instrument, tuple calls) except -1
    cdef int do_open_account(
        self, int64_t account, int margin_mode, int64_t stp_group, list levels,
        int64_t hysteresis, int64_t parent, int64_t position_mode) except -2
    cdef tuple chosen_calls(self, list levels, int64_t hysteresis)
    cdef int emit_call_set(self, int64_t account, int32_t call_set) except -1 nogil
    cdef int do_deposit(self, int64_t account, int64_t asset, int64_t amount) except -2 nogil
    cdef int do_withdraw(self, int64_t account, int64_t asset, int64_t amount) except -2 nogil
    cdef int do_fund_insurance(self, int64_t asset, int64_t amount, int64_t fund) except -2 nogil
    cdef int do_set_leverage(
        self, int64_t account, int64_t symbol, int64_t leverage) except -2 nogil
    cdef int put_leverages(self, int32_t position, int64_t leverage) except -1 nogil
    cdef int do_set_margin_mode(self, int64_t account, int64_t symbol, int mode) except -2 nogil
    cdef bint is_idle(self, int32_t position) noexcept nogil
    cdef int do_isolated_margin(
        self, int64_t account, int64_t symbol, int64_t amount, int64_t leg) except -2 nogil
