# Order entry: what an order, an amend or a cancel must satisfy, in the order of the rules,
# and what it then does. Each `do_` method returns ACCEPTED or the reason of the refusal;
# until it has decided, it changes nothing.

from libc.stdint cimport int32_t, int64_t

from engine.core.liquidation cimport Liquidation
from engine.core.matching cimport terms_t

cdef class Orders(Liquidation):
    cdef bint is_busy            # a command is under way, or one failed half way
    cdef int64_t ts_before
    cdef int64_t needed, limit   # figures behind a refusal, NONE where there are none

    cdef bint begin(self, int64_t ts) except -1
    cdef int end(
        self, int command, int reason, int64_t account, int64_t asset, int64_t symbol,
        int64_t order_id) except -1
    cdef int refuse(self, int reason, int64_t needed, int64_t limit) noexcept

    cdef int do_place(
        self, int64_t account, int64_t symbol, int64_t order_id, int side, int kind,
        int64_t quantity, int64_t price, int time_in_force, bint post_only, bint reduce_only,
        int stp) except -2
    cdef int do_amend(
        self, int64_t account, int64_t symbol, int64_t order_id, int64_t price,
        int64_t quantity, int64_t leaves) except -2
    cdef int do_cancel(self, int64_t account, int64_t symbol, int64_t order_id) except -2
    cdef int do_cancel_all(self, int64_t account, int64_t symbol) except -2

    cdef int emit_accepted(self, int32_t row) except -1
    cdef int entry_terms(self, int32_t row, int64_t limit, terms_t *terms) except -1
    cdef int amend(self, int32_t row, int64_t price, int64_t leaves) except -2
    cdef int check_open(self, int32_t position, bint reduce_only) except -2
    cdef int check_limits(self, int32_t order, bint is_new) except -2
    cdef int check_size(self, int32_t order) except -2
    cdef int check_entry(self, int32_t order, int64_t limit, int32_t without) except -2
    cdef int check_margin(
        self, int32_t order, const terms_t *terms, int32_t without) except -2
    cdef bint adds_exposure(
        self, int32_t order, const terms_t *terms, int32_t without) except *
    cdef int check_debt(self, int32_t position) except -2
    cdef int check_outcome(self, int32_t order, int64_t limit) except -2
    cdef int check_isolated_opening(
        self, int32_t position, const terms_t *terms, int64_t opened) except -2
    cdef int check_sale_below_mark(self, int32_t position, const terms_t *terms) except -2
    cdef int check_isolated_self_trade(self, int32_t order, int64_t limit) except -2
    cdef int enter(self, int32_t order, int64_t limit) except -1
    cdef int emit_amended(self, int32_t order) except -1
    cdef int cancel_of_account(self, int32_t account, int64_t symbol) except -1
