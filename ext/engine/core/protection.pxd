# Market-maker protection: how much an account's resting orders of a symbol may trade in a
# window before the rest of them is cancelled and the account is frozen on that symbol.

from libc.stdint cimport int32_t, int64_t, uint8_t

from engine.core.conditional cimport Conditional

cdef struct protection_t:
    int64_t window               # ns
    int64_t quantity             # lots, NONE: no such limit
    int64_t count                # trades, NONE: no such limit
    int64_t freeze               # ns, 0: until it is set anew
    int64_t start                # of the window under way, NONE: none
    int64_t lots, trades         # since then
    int64_t frozen_until         # 0: not frozen; MONEY_MAX: until set anew
    uint8_t is_on
    uint8_t is_tripped           # in the list of those to be carried out

cdef class Protection(Conditional):
    cdef protection_t *protections
    cdef int32_t protection_count, protection_capacity
    cdef int32_t *tripped        # position rows, in the order in which they were
    cdef int32_t tripped_count, tripped_capacity

    cdef protection_t *protection_at(self, int32_t position) except NULL nogil
    cdef bint is_frozen(self, int32_t position) noexcept nogil
    cdef int carry_out_protection(self) except -1 nogil
    cdef int trip(self, int32_t position) except -1 nogil
