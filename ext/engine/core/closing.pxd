# How one pool is closed, part by part: which position, how much of it, at which price at worst;
# through the book, then to the fund, then to opposing holders. When a pool is worked on, and
# how its life begins and ends, is the business of liquidation.

from libc.stdint cimport int32_t, int64_t

from engine.core.fund cimport Fund

# A pool with its measure; ordered worst first.
cdef struct measured_t:
    int64_t equity, maintenance
    int64_t turn                 # when it entered or had its latest bounded step
    int64_t account              # id, breaks ties
    int32_t asset, symbol, leg   # break ties within an account
    int32_t pool                 # row

cdef class Closing(Fund):
    cdef dict cooling            # queued pools whose latest fraction has a cooldown -> its end

    cdef bint may_liquidate(self, int32_t symbol) noexcept
    cdef bint net_legs(self, int32_t pool) except -1
    cdef int net_pair(self, int32_t long_leg, int32_t short_leg) except -1
    cdef bint is_healthy(self, const measured_t *row) except -1
    cdef int32_t choose_position(self, int32_t pool, set stuck) except? -2
    cdef int64_t step(self, int32_t pool, int32_t position, const measured_t *row) except? -1
    cdef int64_t inverse_bound(
        self, int32_t symbol, int side, int64_t lots, int64_t share) except? -1
    cdef int64_t close_quantity(
        self, int32_t pool, int32_t position, const measured_t *row) except? -1
    cdef int pay_to_fund(
        self, int32_t pool, int32_t symbol, int64_t amount, int reason) except -1
    cdef int64_t bound_price(
        self, int32_t symbol, int side, int64_t lots, int64_t share) except? -1
    cdef int sweep_part(
        self, int32_t account, int32_t symbol, int32_t position, int side, int64_t lots,
        int64_t bound, int64_t *filled, int64_t *worth) except -1
    cdef int take_over(
        self, int32_t position, int side, int64_t lots, int64_t bound) except -1
    cdef int reduce_inventory(self, int32_t symbol) except -1
    cdef int schedule_cooldown(self, int32_t pool, int64_t until) except -1
