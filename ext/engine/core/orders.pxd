# Commands about orders, and the frame of every command. Each `do_` method returns ACCEPTED
# or the reason of the refusal; until it has decided, it changes nothing.

from libc.stdint cimport int32_t, int64_t

from engine.core.forms cimport request_t
from engine.core.timers cimport Timers

cdef class Orders(Timers):
    cdef bint is_busy            # a command is under way, or one failed half way
    cdef int64_t ts_before       # the time to go back to if the command is refused

    cdef bint begin(self, int64_t ts) except -1 nogil
    cdef int end(
        self, int64_t command, int reason, int64_t account, int64_t asset, int64_t symbol,
        int64_t order_id) except -1 nogil

    cdef int do_place(self, request_t *form) except -2 nogil
    cdef bint has_leg(self, int32_t owner, int64_t leg) noexcept nogil
    cdef bint settle_leg(self, request_t *form, int32_t owner) noexcept nogil
    cdef int check_names(
        self, const request_t *form, int32_t owner, int32_t position,
        bint is_reduce_only) except -2 nogil
    cdef int32_t draft(
        self, const request_t *form, int32_t owner, int32_t position) except -1 nogil
    cdef int discard(self, int32_t order) except -1 nogil
    cdef int accept(self, int32_t order, const request_t *form) except -1 nogil

    cdef int do_amend(
        self, int64_t account, int64_t symbol, int64_t order_id, int64_t price,
        int64_t quantity, int64_t leaves, int64_t trigger_price) except -2 nogil
    cdef int32_t find_order(self, int32_t owner, int64_t symbol, int64_t order_id) noexcept nogil
    cdef int check_suits(
        self, int32_t order, int64_t price, int64_t quantity, int64_t leaves,
        int64_t trigger_price) except -2 nogil
    cdef int amend(
        self, int32_t order, int64_t price, int64_t leaves, int64_t trigger_price) except -2 nogil
    cdef int take_changes(self, int32_t order, int32_t probe) except -1 nogil

    cdef int do_cancel(self, int64_t account, int64_t symbol, int64_t order_id) except -2 nogil
    cdef int do_cancel_all(self, int64_t account, int64_t symbol, int64_t side) except -2 nogil
    cdef int do_cancel_all_after(self, int64_t account, int64_t timeout) except -2 nogil
    cdef int do_set_protection(
        self, int64_t account, int64_t symbol, int64_t window, int64_t quantity, int64_t count,
        int64_t freeze) except -2 nogil
