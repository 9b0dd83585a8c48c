# Pledges: wallets of collateral assets, each in the pool of its value asset in which it counts.
#
# A pledge is to its pool what a long position is: its value is a line in a price, and the
# trigger index files it under that. So it lies in the same kind of row, of which it uses:
# `account`; `symbol`, its collateral asset's row; `wallet`, the pool in which it counts;
# `isolated`, the wallet that it is about; `next_open`, the next one of the pool, by asset; and
# the triggers. It is in no list of positions or holders.

from libc.stdint cimport int32_t, int64_t

from engine.core.collateral cimport collateral_t
from engine.core.ledger cimport Ledger, position_t

cdef class Pledges(Ledger):
    cdef collateral_t *collaterals
    cdef int32_t collateral_count
    cdef position_t *pledges
    cdef int32_t pledge_count, pledge_capacity

    cdef int32_t new_collateral(self, int32_t asset, int32_t value_asset) except -1 nogil
    cdef int32_t pledge(self, int32_t wallet) except? -2 nogil
    cdef int32_t find_pledge(self, int32_t pool, int32_t wallet) noexcept nogil
    cdef int link_pledge(self, int32_t row) except -1 nogil
    cdef int64_t pledge_value(self, int32_t row) noexcept nogil
    cdef bint has_pledged(self, int32_t pool) noexcept nogil
    cdef int32_t debtor_of(self, int32_t wallet) except? -2 nogil
    cdef bint is_locked(self, int32_t wallet) except -1 nogil
    cdef int look_at(self, int32_t pool) except -1 nogil
    cdef int look_at_debtor(self, int32_t wallet) except -1 nogil
    cdef int look_at_holders(self, int32_t collateral) except -1 nogil
    cdef bint collateral_fits(self, int32_t asset, int64_t added, int64_t price) except -1 nogil
