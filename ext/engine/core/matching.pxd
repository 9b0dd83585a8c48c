# Matching with money behind it: what trades and cancels do to their owners, what a sweep
# would cost, and what open orders reserve.

from libc.stdint cimport int32_t, int64_t

from engine.core.fixed cimport i128
from engine.core.ledger cimport Ledger

# What an order would add to its side of a symbol: value and loss against mark.
cdef struct terms_t:
    int64_t lots
    int64_t value                # minor units; MONEY_MAX + 1 and more: beyond the range
    int64_t loss                 # minor units, against mark

cdef class Matching(Ledger):
    cdef int64_t traded_value    # of the sweep under way, minor units

    cdef int link_order(self, int32_t order) except -1
    cdef int sync_reserve(self, int32_t order, int64_t lots) except -1
    cdef int retire_order(self, int32_t order) except -1
    cdef int cancel_order(self, int32_t order, int reason) except -1
    cdef int settle_fund(self, int32_t symbol, int64_t quantity, int64_t value) except -1
    cdef int drop_reduce_only(self, int32_t position) except -1
    cdef int64_t reducible_by(self, int32_t position, int side) noexcept
    cdef int64_t value_at_tick(self, int32_t symbol, int64_t lots, int64_t price) except? -1
    cdef bint value_fits(self, int32_t symbol, int64_t lots, int64_t price) noexcept
    cdef int64_t band_limit(self, int32_t symbol, int side) except? -1
    cdef int rehearse(
        self, int32_t taker, int64_t limit, int stp, terms_t *terms, list fills=*) except -1

    cdef int64_t rehearse_reduce_only(
        self, int32_t maker, int64_t fill, int64_t taken, dict held, int32_t taker
    ) except? -1

    # order margin
    cdef i128 side_total(
        self, int32_t position, int side, int extra_side, const terms_t *extra, int32_t without
    ) except? -1
    cdef int64_t side_loss(self, int32_t position, int side, int32_t without) except? -1
    cdef int64_t order_margin(
        self, int32_t position, int extra_side, const terms_t *extra, int32_t without
    ) except? -1
    cdef int64_t worst_exposure(
        self, int32_t position, int extra_side, const terms_t *extra, int32_t without
    ) except? -1
    cdef int64_t orders_reserve(self, int32_t wallet, bint isolated_only) except? -1
    cdef int64_t free_margin(self, int32_t wallet) except? -1
    cdef int64_t free_for(self, int32_t position) except? -1
    cdef int64_t withdrawable(self, int32_t wallet) except? -1
