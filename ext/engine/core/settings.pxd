# Commands that set how an account is margined and warned. As in `commands`, each `do_` method
# returns ACCEPTED or the reason of the refusal.

from libc.stdint cimport int32_t, int64_t

from engine.core.commands cimport Commands

cdef class Settings(Commands):
    cdef int do_set_call_levels(self, int64_t account, list levels, int64_t hysteresis) except -2
    cdef int do_set_multiplier(
        self, int64_t symbol, int64_t maintenance, int64_t initial,
        int64_t effective_ts) except -2 nogil
    cdef int do_set_account_multiplier(self, int64_t account, int64_t multiplier) except -2 nogil
    cdef int do_transfer(
        self, int64_t account, int64_t to, int64_t asset, int64_t amount) except -2 nogil
    cdef int do_set_auto_top_up(self, int64_t account, int64_t symbol, bint enabled) except -2 nogil
    cdef int do_set_position_mode(self, int64_t account, int mode) except -2 nogil
    cdef int do_set_backstop(
        self, int64_t account, int64_t asset, int64_t symbol, int64_t commitment,
        int64_t discount) except -2 nogil
    cdef int hand_over(self, int32_t position) except -1 nogil
