# What happens because time passes: orders and contracts that expire, dead-man timers,
# multipliers that were announced, cooldowns of liquidations that end. Due things happen in
# order of their time, before the command that carries a later one.

from libc.stdint cimport int32_t, int64_t

from engine.core.entry cimport Entry
from engine.core.ledger cimport house_t

cdef struct timer_t:
    int64_t due                  # ns
    int64_t arrival              # of the order; else the account id, or the symbol
    int32_t row                  # order row; account row; symbol; pool row
    int32_t kind                 # in this order at one time

cdef enum:
    TIMER_EXPIRY = 0
    TIMER_DEAD_MAN = 1
    TIMER_MULTIPLIER = 2
    TIMER_CONTRACT = 3
    TIMER_COOLDOWN = 4

cdef class Timers(Entry):
    cdef timer_t *timers         # binary heap, earliest on top; may hold dead entries
    cdef int32_t timer_count, timer_capacity
    cdef int32_t timer_limit     # count at which dead entries are dropped

    cdef int schedule(self, int kind, int64_t due, int64_t arrival, int32_t row) except -1 nogil
    cdef bint is_live_timer(self, const timer_t *timer) noexcept nogil
    cdef int sift_timer(self, int32_t index) noexcept nogil
    cdef int pop_timer(self) noexcept nogil
    cdef int drop_dead_timers(self) except -1 nogil
    cdef bint pass_time(self, int64_t ts) except -1 nogil
    cdef int fire(self, const timer_t *timer) except -1 nogil
    cdef int expire(self, int32_t order) except -1 nogil
    cdef int change_multipliers(
        self, int32_t symbol, int64_t maintenance, int64_t initial) except -1 nogil
    cdef int deliver(self, int32_t symbol, int64_t price) except -1 nogil
    cdef int64_t deliver_house(
        self, int32_t symbol, house_t *house, int64_t price) except? -1 nogil
    cdef int emit_settled(
        self, int64_t account, int32_t symbol, int64_t quantity, int64_t price, int64_t profit,
        int leg) except -1 nogil
    cdef int cancel_of_account(
        self, int32_t account, int64_t symbol, int64_t side, int reason) except -1 nogil
