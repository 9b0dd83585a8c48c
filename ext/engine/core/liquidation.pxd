# What a command sets off: margin calls, breaches, and the order in which pools are worked on.
#
# The life of a pool: quiet -> (breach) in the queue -> worked on, step by step -> out of it,
# released, closed or bankrupt. `enqueue` and `finish` are the only places that change it. In
# the queue it may wait: for a change, for the end of a cooldown, or for another command.

from libc.stdint cimport int32_t, int64_t

from engine.core.closing cimport measured_t, plan_t
from engine.core.offers cimport Offers

cdef bint is_more_urgent(const measured_t *a, const measured_t *b) noexcept nogil

cdef class Liquidation(Offers):
    cdef int32_t *batch          # pools of the evaluation round under way
    cdef int32_t batch_capacity
    cdef measured_t *round_rows
    cdef int32_t round_capacity
    cdef measured_t *queue       # heap of pools that can be worked on now
    cdef int32_t queue_count, queue_capacity
    cdef int32_t *marked         # symbols whose mark the command under way moved
    cdef int32_t marked_count, marked_capacity
    cdef dict waiting            # queued pools that are stuck for now, longest first
    cdef dict postponed          # queued pools that go on in the next command
    cdef dict turn_of            # queued pools -> their turn, where it is not 0
    cdef int64_t bounded_steps   # ever taken
    cdef bint has_bounded_steps  # since turns began anew
    cdef bint has_mark_rules     # some symbol wants its mark watched

    # The end of a command: work off everything that it set off, then report what changed.
    # Most orders and cancels set nothing off.
    cdef inline int settle(self) except -1 nogil:
        if self.has_mark_rules:
            self.watch_marks()
        if self.offer_count:
            self.review_offers()
        if (self.pending_count or self.tripped_count or self.noted_count or self.turn_count
                or self.marked_count or self.is_ranking_live or self.has_bounded_steps):
            self.settle_all()
        if self.changed_order_count or self.changed_position_count or self.changed_pool_count:
            self.flush_changes()
        return 0

    cdef int settle_all(self) except -1 nogil
    cdef int watch_marks(self) except -1 nogil
    cdef int pause_reason(self, int32_t symbol) noexcept nogil
    cdef int work_off(self) except -1 nogil
    cdef int activate_next(self) except -1 nogil
    cdef int work_off_queue(self) except -1 nogil
    cdef int note_marked(self, int32_t symbol) except -1 nogil
    cdef int retry_waiting(self) except -1 nogil
    cdef int retry_all(self) except -1 nogil
    cdef int reevaluate_holders(self, int32_t symbol) except -1 nogil
    cdef int begin_turns(self) except -1 nogil
    cdef int measure_row(self, int32_t pool, measured_t *row) except -1 nogil
    cdef int64_t leg_shown(self, const measured_t *row) noexcept nogil
    cdef int evaluate_all(self) except -1 nogil
    cdef int evaluate_round(self, int32_t count) except -1 nogil
    cdef bint is_quiet(self, const measured_t *row) noexcept nogil
    cdef int refile(self, const measured_t *row) except -1 nogil
    cdef int fetch_pool(self, int32_t pool) noexcept nogil
    cdef int fetch_second(self, int32_t pool) noexcept nogil
    cdef int requeue(self, int32_t pool) except -1 nogil
    cdef int evaluate(self, measured_t *row) except -1 nogil
    cdef bint top_up(self, measured_t *row) except -1 nogil
    cdef int set_call_level(self, const measured_t *row, int level) except -1 nogil
    cdef int follow_calls(self, const measured_t *row) except -1 nogil
    cdef int64_t *emit_call(self, int kind, const measured_t *row, int64_t level) except NULL nogil
    cdef int replace_call_levels(self, int32_t account, int32_t call_set) except -1 nogil
    cdef int enqueue(self, const measured_t *row) except -1 nogil
    cdef int finish(
        self, int32_t pool, int outcome, const measured_t *row, int32_t symbol, int side
    ) except -1 nogil
    cdef int cancel_pool_orders(self, int32_t pool) except -1 nogil
    cdef int cancel_pool_orders_of(self, int32_t pool, int32_t position) except -1 nogil
    cdef int forget_waits(self, int32_t pool) except -1 nogil
    cdef int clear_flat(self, int32_t pool, int32_t symbol, int side) except -1 nogil

    cdef int queue_push(self, measured_t row) except -1 nogil
    cdef measured_t queue_pop(self) noexcept nogil
    cdef int queue_remove(self, int32_t index) noexcept nogil
    cdef int queue_sift(self, int32_t index) noexcept nogil

    cdef int work(self, int32_t pool) except -1 nogil
    cdef bint is_cooling(self, int32_t pool) except -1 nogil
    cdef bint is_paused(self, int32_t pool) except -1 nogil
    cdef int postpone(self, int32_t pool) except -1 nogil
    cdef int let_wait(self, int32_t pool, const measured_t *row, bint is_patient) except -1 nogil
    cdef int file_waiting(self, int32_t pool, const measured_t *row) except -1 nogil
    cdef bint take_turn(self, int32_t pool, int32_t symbol) except -1 nogil
    cdef int drop_pending(self, int32_t pool) except -1 nogil
