# Auto-deleveraging: opposing holders are closed at the bankruptcy price of a position that
# neither the book nor the fund takes.
#
# A ranking is not kept from tick to tick. It is built when first needed in a command, and from
# then on told of the pools that were touched; entries of a pool that has changed since are
# recognised by its version and passed over. Few of many holders are mostly enough: only those
# that rank before a limit are in a heap, which then is small, and the others in no order until
# the heap is used up and gets the next of them.

from libc.stdint cimport int32_t, int64_t

from engine.core.fixed cimport i128
from engine.core.ledger cimport instrument_t
from engine.core.risk cimport Risk

# A candidate for deleveraging; stale once its pool's version has moved on.
cdef struct candidate_t:
    int64_t score
    int64_t account              # id, breaks ties
    int32_t position
    int32_t version

# Candidates of one side of one symbol: a heap with the first to be closed on top, and the rest.
cdef struct ranking_t:
    candidate_t *heap            # those that rank before the limit
    candidate_t *rest            # those that don't
    candidate_t limit
    int32_t count, capacity
    int32_t rest_count, rest_capacity
    int32_t is_built

cdef class Deleveraging(Risk):
    cdef ranking_t *rankings     # two a symbol
    cdef int32_t ranking_count
    cdef int32_t *touch_log      # pools touched since the rankings were last asked
    cdef int32_t touch_count, touch_capacity

    cdef int64_t score_of(self, int32_t position, i128 equity) except? -1 nogil
    cdef int rank_add(self, ranking_t *ranking, int32_t position) except -1 nogil
    cdef int fetch_holder(self, const instrument_t *instrument, int32_t at) noexcept nogil
    cdef int rank_refresh(self, int32_t symbol, int side) except -1 nogil
    cdef int read_touches(self) except -1 nogil
    cdef int rank_push(self, ranking_t *ranking, candidate_t row) except -1 nogil
    cdef int rank_refill(self, ranking_t *ranking) except -1 nogil
    cdef int rank_sift(self, ranking_t *ranking, candidate_t row) except -1 nogil
    cdef candidate_t rank_pop(self, ranking_t *ranking) noexcept nogil
    cdef int drop_rankings(self) except -1 nogil
    cdef int64_t auto_deleverage(
        self, int32_t position, int side, int64_t lots, int64_t bound) except? -1 nogil
    cdef int64_t deleverage_price(self, int32_t position, int side, int64_t bound) except? -1 nogil
    cdef bint can_bear(
        self, int32_t counter, int side, int64_t lots, int64_t price) except -1 nogil
    cdef int32_t next_ranked(
        self, ranking_t *ranking, candidate_t *row, int32_t last) except -2 nogil
    cdef int64_t deleverage_shares(
        self, int32_t position, int side, int64_t lots, int64_t price) except? -1 nogil
    cdef int close_against(
        self, int32_t position, int32_t counter, int side, int64_t lots, int64_t price,
        int64_t rank) except -1 nogil
