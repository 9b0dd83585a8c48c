# Commands about collateral: what counts for what, and at which price. As in `commands`, each
# `do_` method returns ACCEPTED or the reason of the refusal.

from libc.stdint cimport int32_t, int64_t

from engine.core.settings cimport Settings

cdef class Valuation(Settings):
    cdef int check_collateral(
        self, int64_t asset, int64_t value_asset, list tiers, int64_t threshold, int64_t fee
    ) except -2
    cdef int do_set_collateral(
        self, int64_t asset, int64_t value_asset, int32_t exponent, list tiers,
        int64_t threshold, int64_t fee) except -2
    cdef int do_set_asset_price(self, int64_t asset, int64_t price) except -2 nogil
