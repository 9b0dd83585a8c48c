# How one pool is closed, part by part: which position, how much of it, at which price at worst,
# which is planned first; then through the book, to the fund, to opposing holders. When a pool is
# worked on, and how its life begins and ends, is the business of liquidation.

from libc.stdint cimport int32_t, int64_t

from engine.core.conversion cimport Conversion
from engine.core.fixed cimport i128

# A pool with its measure; ordered worst first.
cdef struct measured_t:
    int64_t equity, maintenance
    int64_t turn                 # when it entered or had its latest bounded step
    int64_t account              # id, breaks ties
    int32_t asset, symbol, leg   # break ties within an account
    int32_t pool                 # row

# A step before it is taken.
cdef struct plan_t:
    int64_t lots                 # 0: nothing of the position may be closed now
    int64_t bound                # ticks; what fund and holders take it at
    int64_t limit                # ticks; the worst price in the book, at the bound or better
    int64_t resume               # ns; when the position may go on by itself
    bint is_sliced               # it is less than the policy asks for, to spare the book

cdef class Closing(Conversion):
    cdef int32_t *tried          # of the pool at work: positions of which no more can be closed
    cdef int32_t tried_count, tried_capacity
    cdef dict cooling            # queued pools whose latest fraction has a cooldown -> its end
    cdef dict pausing            # queued pools that slices or ramps let alone -> until when
    cdef dict ramp_since         # queued pools -> when a ramp first closed lots
    cdef dict ramped             # queued pools -> {position row: lots that ramps closed}

    cdef bint may_liquidate(self, int32_t symbol) noexcept nogil
    cdef bint net_legs(self, int32_t pool) except -1 nogil
    cdef int net_pair(self, int32_t long_leg, int32_t short_leg) except -1 nogil
    cdef bint is_healthy(self, const measured_t *row) except -1 nogil
    cdef int32_t choose_position(self, int32_t pool) except? -2 nogil
    cdef int32_t choose_by(self, int32_t pool, int64_t choice) except? -2 nogil
    cdef bint was_tried(self, int32_t position) noexcept nogil
    cdef int note_tried(self, int32_t position) except -1 nogil
    cdef i128 liquidity(self, int32_t position) noexcept nogil
    cdef int plan_step(
        self, int32_t pool, int32_t position, const measured_t *row, plan_t *plan) except -1 nogil
    cdef int set_prices(self, int32_t position, const measured_t *row, plan_t *plan) except -1 nogil
    cdef int64_t order_limit(
        self, int32_t position, const measured_t *row, int64_t bound) except? -1 nogil
    cdef int64_t slice_of(
        self, int32_t position, const measured_t *row, const plan_t *plan) except? -1 nogil
    cdef int64_t rate_room(self, int32_t symbol) except? -1 nogil
    cdef int64_t slices_taken(self, int32_t symbol) except? -1 nogil
    cdef int note_part(
        self, int32_t pool, int32_t position, const plan_t *plan, int64_t lots,
        int64_t equity) except -1 nogil
    cdef int note_ramp(self, int32_t pool, int32_t position, int64_t lots) except -1 nogil
    cdef int pause(self, int32_t pool, int64_t until) except -1 nogil
    cdef int64_t step(
        self, int32_t pool, int32_t position, const plan_t *plan,
        const measured_t *row) except? -1 nogil
    cdef int64_t pass_on(
        self, int32_t position, int side, int64_t lots, int64_t bound) except? -1 nogil
    cdef int64_t target_keep(
        self, int32_t pool, int32_t position, const measured_t *row) except? -1 nogil
    cdef int64_t inverse_bound(
        self, int32_t symbol, int side, int64_t lots, int64_t share) except? -1 nogil
    cdef int64_t close_quantity(
        self, int32_t pool, int32_t position, const measured_t *row, int64_t since) except? -1 nogil
    cdef int pay_to_fund(
        self, int32_t pool, int32_t symbol, int64_t amount, int reason) except -1 nogil
    cdef int64_t bound_price(
        self, int32_t symbol, int side, int64_t lots, int64_t share) except? -1 nogil
    cdef int sweep_part(
        self, int32_t account, int32_t symbol, int32_t position, int side, int64_t lots,
        int64_t bound, int64_t *filled, int64_t *worth) except -1 nogil
    cdef bint fund_can_take(
        self, int32_t symbol, int side, int64_t lots, int64_t bound, int64_t account
    ) except -1 nogil
    cdef int take_over(
        self, int32_t position, int side, int64_t lots, int64_t bound) except -1 nogil
    cdef int schedule_cooldown(self, int32_t pool, int64_t until) except -1 nogil
