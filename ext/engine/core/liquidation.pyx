"""Evaluation after each command, margin calls, the liquidation queue."""

cimport cython

from itertools import islice

from libc.stdlib cimport free, qsort

from engine.core.fixed cimport (
    abs64, add_checked, compare, i128, min64, mul, narrow, sub, wide,
)
from engine.core.ledger cimport instrument_t, pool_t, tops_up
from engine.core.memory cimport larger, prefetch
from engine.core.risk cimport call_set_t, remedy_t
from engine.core.types cimport (
    CANCEL_LIQUIDATION, EVENT_AUTO_TOP_UP, EVENT_LIQUIDATION_FINISHED, EVENT_LIQUIDATION_STARTED,
    EVENT_LIQUIDATIONS_PAUSED, EVENT_LIQUIDATIONS_RESUMED, EVENT_MARGIN_CALL,
    EVENT_MARGIN_CALL_CLEARED, NIL, NONE, OUTCOME_BANKRUPT, OUTCOME_CLOSED, OUTCOME_RELEASED,
    PAUSE_NONE, PAUSE_OUT_OF_BAND, PAUSE_STALE, RATE_SCALE, SIDE_BUY, SIDE_SELL, UNFILLED_WAIT,
)

# How many pools of a round ahead their rows are fetched into the cache.
cdef enum:
    AHEAD = 8
    SEVERAL = 3                  # positions that are guessed to lie behind one another

# How many waiting pools an ordinary command looks at again.
cdef int RETRIES_PER_COMMAND = 32


# The order of the queue: whose turn is longest ago; then equity / maintenance margin
# ascending; without a requirement spent equity comes first of all, equity left comes last;
# ties by account id, then asset, symbol, leg. Compared by cross-multiplication, so it is
# exact and total.
cdef bint is_more_urgent(const measured_t *a, const measured_t *b) noexcept nogil:
    cdef int class_a = 1 if a.maintenance else (0 if a.equity <= 0 else 2)
    cdef int class_b = 1 if b.maintenance else (0 if b.equity <= 0 else 2)
    cdef int order
    if a.turn != b.turn:
        return a.turn < b.turn
    if class_a != class_b:
        return class_a < class_b
    if class_a == 1:
        order = compare(mul(a.equity, b.maintenance), mul(b.equity, a.maintenance))
        if order:
            return order < 0
    if a.account != b.account:
        return a.account < b.account
    if a.asset != b.asset:
        return a.asset < b.asset
    if a.symbol != b.symbol:
        return a.symbol < b.symbol
    return a.leg < b.leg


cdef int compare_rows(const void *a, const void *b) noexcept nogil:
    if is_more_urgent(<const measured_t *>a, <const measured_t *>b):
        return -1
    return 1 if is_more_urgent(<const measured_t *>b, <const measured_t *>a) else 0


cdef class Liquidation(Offers):
    """The risk core with its consequences."""

    def __cinit__(self):
        self.waiting = {}
        self.postponed = {}
        self.turn_of = {}

    def __dealloc__(self):
        free(self.batch)
        free(self.round_rows)
        free(self.queue)
        free(self.marked)

    # --- after every command ----------------------------------------------------------

    # Work off everything that the command set off.
    cdef int settle_all(self) except -1 nogil:
        cdef int32_t i, symbol
        if self.has_bounded_steps:
            self.begin_turns()
        self.work_off()
        for i in range(self.marked_count):
            symbol = self.marked[i]
            if self.instruments[symbol].fund.quantity and self.may_liquidate(symbol):
                self.reduce_inventory(symbol)
                self.work_off()
        self.marked_count = 0
        return self.drop_rankings() if self.is_ranking_live else 0

    # Pause the liquidations of symbols whose mark is stale or out of its band, or go on.
    # O(symbols), where any has such a rule.
    cdef int watch_marks(self) except -1 nogil:
        cdef int32_t symbol
        cdef int reason
        cdef int64_t *out
        for symbol in range(self.instrument_count):
            reason = self.pause_reason(symbol)
            if reason == self.instruments[symbol].pause:
                continue
            self.instruments[symbol].pause = reason
            out = self.emit(
                EVENT_LIQUIDATIONS_PAUSED if reason else EVENT_LIQUIDATIONS_RESUMED)
            out[0] = symbol
            if reason:
                out[1] = reason
            else:
                self.retry_all()
        return 0

    # What is wrong with a symbol's mark.
    cdef int pause_reason(self, int32_t symbol) noexcept nogil:
        cdef const instrument_t *instrument = &self.instruments[symbol]
        if instrument.mark == NONE or instrument.is_over:
            return PAUSE_NONE
        if instrument.mark_max_age != NONE and (
                self.ts - instrument.mark_ts > instrument.mark_max_age):
            return PAUSE_STALE
        if instrument.mark_band != NONE and instrument.index_price != NONE and mul(
                abs64(instrument.mark - instrument.index_price), RATE_SCALE
        ) > mul(instrument.mark_band, instrument.index_price):
            return PAUSE_OUT_OF_BAND
        return PAUSE_NONE

    # Risk comes first; then triggered orders take their turns, one at a time.
    @cython.final
    cdef int work_off(self) except -1 nogil:
        while True:
            if self.pending_count:
                self.work_off_queue()
            if self.tripped_count:
                self.carry_out_protection()
            if self.noted_count:
                self.arm_brackets()
            if self.turn_count:
                self.activate_next()
            elif not (self.pending_count or self.tripped_count or self.noted_count):
                return 0

    # Let the next triggered order enter the market; order entry knows how.
    cdef int activate_next(self) except -1 nogil:
        return 0

    @cython.final
    cdef int work_off_queue(self) except -1 nogil:
        cdef measured_t row
        self.evaluate_all()
        while self.queue_count:
            row = self.queue_pop()
            if self.queue_count > 2:  # one of the two below the top will be next but one
                self.fetch_pool(self.queue[0].pool)
                prefetch(&self.pools[self.queue[1].pool])
                prefetch(&self.pools[self.queue[2].pool])
            self.hold()
            self.work(row.pool)
            self.evaluate_all()
        return 0

    # Note that a command moved a symbol's mark.
    cdef int note_marked(self, int32_t symbol) except -1 nogil:
        if self.marked_count == self.marked_capacity:
            self.marked = <int32_t *>larger(
                self.marked, &self.marked_capacity, self.marked_count + 1, sizeof(int32_t))
        self.marked[self.marked_count] = symbol
        self.marked_count += 1
        return 0

    # Let waiting pools be looked at again, those that have waited longest first.
    cdef int retry_waiting(self) except -1 nogil:
        cdef int32_t pool
        if not self.waiting:
            return 0
        self.hold()
        with gil:
            for pool in islice(self.waiting, RETRIES_PER_COMMAND):
                self.pools[pool].is_waiting = 0
                self.note_pending(pool)
        return 0

    cdef int retry_all(self) except -1 nogil:
        cdef int32_t pool
        if not self.waiting:
            return 0
        self.hold()
        with gil:
            for pool in self.waiting:
                self.pools[pool].is_waiting = 0
                self.note_pending(pool)
        return 0

    # A symbol asks for more or for less now: look at all who hold it. O(holders).
    cdef int reevaluate_holders(self, int32_t symbol) except -1 nogil:
        cdef const instrument_t *instrument = &self.instruments[symbol]
        cdef int32_t i
        self.known_symbol = NIL
        for i in range(instrument.holder_count):
            self.note_pending(self.pool_of(instrument.holders[i]))
        return self.retry_all()

    # Let bounded steps begin anew, and those go on that were put off.
    cdef int begin_turns(self) except -1 nogil:
        cdef int32_t i
        for i in range(self.instrument_count):
            self.instruments[i].steps_taken = 0
        if self.postponed:
            self.hold()
            with gil:
                for i in self.postponed:
                    self.note_pending(i)
        self.has_bounded_steps = False
        return 0

    # A pool with its measure.
    cdef int measure_row(self, int32_t pool, measured_t *row) except -1 nogil:
        self.measure(pool, &row.equity, &row.maintenance)
        row.account = self.accounts[self.pools[pool].account].id
        row.asset = self.pools[pool].asset
        row.symbol = self.pools[pool].symbol
        row.leg = self.pools[pool].leg
        row.pool = pool
        row.turn = 0
        if self.bounded_steps and self.pools[pool].in_queue:
            self.hold()
            with gil:
                row.turn = self.turn_of.get(pool, 0)
        return 0

    # The leg that an event about a pool names, NONE of a cross pool.
    cdef int64_t leg_shown(self, const measured_t *row) noexcept nogil:
        return NONE if row.symbol < 0 else row.leg

    # Rounds: everything pending is measured before anything is done about it; pools that
    # a round touches are looked at in the next.
    @cython.final
    cdef int evaluate_all(self) except -1 nogil:
        cdef int32_t *pools
        cdef int32_t count, capacity
        while self.pending_count:
            pools, capacity, count = self.pending, self.pending_capacity, self.pending_count
            self.pending, self.pending_capacity = self.batch, self.batch_capacity
            self.pending_count = 0
            self.batch, self.batch_capacity = pools, capacity
            self.evaluate_round(count)
        return 0

    @cython.final
    cdef int evaluate_round(self, int32_t count) except -1 nogil:
        cdef int32_t i, pool
        cdef int32_t rows = 0
        cdef measured_t *row
        if count > self.round_capacity:
            self.round_rows = <measured_t *>larger(
                self.round_rows, &self.round_capacity, count, sizeof(measured_t))
        for i in range(count):
            if i + AHEAD < count:
                self.fetch_pool(self.batch[i + AHEAD])
                self.fetch_second(self.batch[i + AHEAD // 2])
            pool = self.batch[i]
            self.pools[pool].is_pending = 0
            if self.pools[pool].in_queue:
                self.requeue(pool)
                continue
            self.evaluation_count += 1
            self.measure_row(pool, &self.round_rows[rows])
            if self.is_quiet(&self.round_rows[rows]) and not (
                    self.has_profile_calls and self.pools[pool].first_open >= 0
                    and self.call_set_in_force(pool) != self.pools[pool].call_set):
                self.refile(&self.round_rows[rows])
            else:
                rows += 1
        if rows > 1:
            qsort(self.round_rows, rows, sizeof(measured_t), compare_rows)
        for i in range(rows):
            row = &self.round_rows[i]
            if self.convert(row.pool):
                continue  # it is looked at anew
            if self.pools[row.pool].first_open >= 0:
                self.evaluate(row)
                continue
            self.set_call_level(row, 0)
            self.clear_flat(row.pool, NIL, SIDE_BUY)
        for i in range(rows):
            self.refile(&self.round_rows[i])
        return 0

    # Fetch into the cache what measuring and filing a pool will read.
    @cython.final
    cdef int fetch_pool(self, int32_t pool) noexcept nogil:
        cdef int32_t row = self.pools[pool].first_open
        prefetch(&self.accounts[self.pools[pool].account])
        if row >= 0:
            prefetch(&self.positions[row])
            prefetch(&self.positions[row].trigger)
            prefetch(&self.positions[row].next_open)
        return 0

    # Later, when the first position is there: the second. What follows often lies behind it.
    @cython.final
    cdef int fetch_second(self, int32_t pool) noexcept nogil:
        cdef int32_t row = self.pools[pool].first_open
        cdef int i
        if row >= 0 and self.positions[row].next_open >= 0:
            row = self.positions[row].next_open
            for i in range(3 * SEVERAL):
                prefetch(<const char *>&self.positions[row] + 64 * i)
        return 0

    # Whether there is nothing to be done about a pool and nothing to be said.
    @cython.final
    cdef bint is_quiet(self, const measured_t *row) noexcept nogil:
        cdef pool_t *pool = &self.pools[row.pool]
        if pool.first_pledge >= 0 and pool.balance < 0:
            return False
        if pool.first_open < 0:
            return (pool.balance >= 0 and pool.symbol < 0 and not pool.call_level
                    and not pool.is_bankrupt)
        return row.equity > row.maintenance and (
            self.level_of(row.pool, row.equity, row.maintenance) == pool.call_level)

    # File the triggers of a pool that was measured. While marks move they are wanted at once;
    # else the next mark is early enough, however often the pool is touched until then.
    @cython.final
    cdef int refile(self, const measured_t *row) except -1 nogil:
        if self.pools[row.pool].in_queue:
            return 0
        if self.pools[row.pool].first_open < 0:
            return self.unfile_pool(row.pool)
        if self.marked_count:
            return self.file_pool(row.pool, row.equity, row.maintenance)
        return 0 if self.pools[row.pool].is_unfiled else self.note_unfiled(row.pool)

    # A queued pool that changed, that is to be tried again, or whose release trigger the
    # mark has reached (then it still waits, and goes on waiting unless it is healthy).
    cdef int requeue(self, int32_t pool) except -1 nogil:
        cdef measured_t row
        self.measure_row(pool, &row)
        if self.pools[pool].is_waiting and not self.is_healthy(&row) and (
                row.equity > 0 or not self.pools[pool].is_patient):
            return self.file_waiting(pool, &row)
        self.pools[pool].is_waiting = 0
        self.unfile_pool(pool)
        if self.waiting or self.postponed:
            self.hold()
            with gil:
                self.waiting.pop(pool, None)
                self.postponed.pop(pool, None)
        if self.pools[pool].heap_index >= 0:
            self.queue_remove(self.pools[pool].heap_index)
        return self.queue_push(row)

    @cython.final
    cdef int evaluate(self, measured_t *row) except -1 nogil:
        if self.has_profile_calls:
            self.follow_calls(row)
        self.set_call_level(
            row, self.level_of(row.pool, row.equity, row.maintenance))
        if (row.equity <= row.maintenance
                and self.is_due(row.pool, row.equity, row.maintenance)
                and not (row.symbol >= 0 and self.top_up(row))):
            self.enqueue(row)
        return 0

    # Save an isolated position that is due with money of its wallet, if that does it: up to its
    # initial margin, as far as what may be withdrawn goes.
    cdef bint top_up(self, measured_t *row) except -1 nogil:
        cdef int32_t position = self.find_position(
            self.pools[row.pool].account, row.symbol, row.leg)
        cdef int32_t wallet = self.positions[position].wallet
        cdef int64_t amount
        cdef int64_t *out
        cdef i128 wanted
        if not tops_up(&self.positions[position]) or self.pools[wallet].in_queue:
            return False
        amount = self.withdrawable(wallet)
        wanted = sub(wide(self.initial(position)), wide(row.equity))
        if wanted < wide(amount):
            amount = narrow(wanted)
        if self.is_due(row.pool, add_checked(row.equity, amount), row.maintenance):
            return False
        self.move_to_isolated(position, amount)
        row.equity += amount
        out = self.emit(EVENT_AUTO_TOP_UP)
        out[0] = row.account
        out[1] = row.symbol
        out[2] = amount
        out[3] = row.leg
        return True

    # Move to a margin-call level, one event for each level passed.
    cdef int set_call_level(self, const measured_t *row, int level) except -1 nogil:
        cdef pool_t *pool = &self.pools[row.pool]
        cdef const call_set_t *calls
        cdef remedy_t remedy
        cdef int64_t *out
        if pool.call_level == level:
            return 0
        calls = self.call_set_of(row.pool)
        while pool.call_level < level:
            self.find_remedy(
                row.pool, row.equity, row.maintenance,
                calls.levels[pool.call_level] - calls.hysteresis, &remedy)
            out = self.emit_call(EVENT_MARGIN_CALL, row, calls.levels[pool.call_level])
            out[6] = remedy.collateral
            out[7] = remedy.symbol
            out[8] = remedy.lots
            out[9] = remedy.leg
            pool.call_level += 1
        while pool.call_level > level:
            pool.call_level -= 1
            out = self.emit_call(
                EVENT_MARGIN_CALL_CLEARED, row, calls.levels[pool.call_level])
            out[6] = self.leg_shown(row)
        return 0

    cdef int64_t *emit_call(self, int kind, const measured_t *row, int64_t level) except NULL nogil:
        cdef int64_t *out = self.emit(kind)
        out[0] = row.account
        out[1] = row.asset
        out[2] = row.symbol if row.symbol >= 0 else NONE
        out[3] = level
        out[4] = row.equity
        out[5] = row.maintenance
        return out

    # Go by the levels that are in force now; the calls by others end first.
    cdef int follow_calls(self, const measured_t *row) except -1 nogil:
        cdef int32_t call_set = self.call_set_in_force(row.pool)
        if self.pools[row.pool].call_set != call_set:
            self.set_call_level(row, 0)
            self.pools[row.pool].call_set = call_set
        return 0

    # Give an account levels of its own: the calls by others end, then it calls by these. Wallets
    # by asset, then isolated positions by symbol; those that went by the same are left alone.
    cdef int replace_call_levels(self, int32_t account, int32_t call_set) except -1 with gil:
        cdef int32_t pool = self.accounts[account].first_wallet
        cdef int32_t row = self.accounts[account].first_position
        cdef measured_t measured
        cdef list pools = []
        while pool >= 0:
            if self.pools[pool].call_set != call_set:
                pools.append(pool)
            pool = self.pools[pool].next_in_account
        while row >= 0:
            pool = self.positions[row].isolated
            if pool >= 0 and self.pools[pool].call_set != call_set:
                pools.append(pool)
            row = self.positions[row].next_in_account
        for pool in pools:
            self.measure_row(pool, &measured)
            self.set_call_level(&measured, 0)
            self.pools[pool].call_set = call_set
        self.accounts[account].call_set = call_set
        self.accounts[account].owns_calls = 1
        for pool in pools:
            if self.pools[pool].first_open >= 0:
                self.measure_row(pool, &measured)
                self.set_call_level(&measured, self.level_of(
                    pool, measured.equity, measured.maintenance))
                self.note_pending(pool)
        return 0

    # Breach: into the queue, orders cancelled, triggers withdrawn.
    cdef int enqueue(self, const measured_t *row) except -1 nogil:
        cdef int64_t *out
        cdef measured_t entry = row[0]
        self.pools[row.pool].in_queue = 1
        self.pools[row.pool].is_waiting = self.pools[row.pool].has_stuck = 0
        self.pools[row.pool].steps = 0
        out = self.emit(EVENT_LIQUIDATION_STARTED)
        out[0] = row.account
        out[1] = row.asset
        out[2] = row.symbol if row.symbol >= 0 else NONE
        out[3] = row.equity
        out[4] = row.maintenance
        out[5] = self.leg_shown(row)
        self.cancel_pool_orders(row.pool)
        self.unfile_pool(row.pool)
        entry.turn = self.bounded_steps
        if self.bounded_steps:
            self.hold()
            with gil:
                self.turn_of[row.pool] = self.bounded_steps
        return self.queue_push(entry)

    # What was noted about when a queued pool may go on.
    cdef int forget_waits(self, int32_t pool) except -1 with gil:
        self.cooling.pop(pool, None)
        self.pausing.pop(pool, None)
        self.ramp_since.pop(pool, None)
        self.ramped.pop(pool, None)
        self.turn_of.pop(pool, None)
        return 0

    # Out of the queue. Symbol and side are those of the latest step, NIL where there was none.
    cdef int finish(
        self, int32_t pool, int outcome, const measured_t *row, int32_t symbol, int side
    ) except -1 nogil:
        cdef int64_t *out
        self.pools[pool].in_queue = 0
        self.pools[pool].is_waiting = self.pools[pool].has_stuck = 0
        if self.cooling or self.pausing or self.ramp_since or self.bounded_steps:
            self.forget_waits(pool)
        self.note_pending(pool)
        if self.is_ranking_live:
            self.log_touch(pool)
        if outcome != OUTCOME_RELEASED:
            self.clear_flat(pool, symbol, side)
        out = self.emit(EVENT_LIQUIDATION_FINISHED)
        out[0] = row.account
        out[1] = row.asset
        out[2] = row.symbol if row.symbol >= 0 else NONE
        out[3] = outcome
        out[4] = self.pools[pool].steps
        out[5] = row.equity
        out[6] = row.maintenance
        out[7] = self.leg_shown(row)
        return 0

    # Cancel the orders of a pool, and for a wallet those that would draw on it.
    cdef int cancel_pool_orders(self, int32_t pool) except -1 nogil:
        cdef int32_t position = self.accounts[self.pools[pool].account].first_position
        while position >= 0:
            if self.orders_of(position).first >= 0:
                self.hold()
                self.cancel_pool_orders_of(pool, position)
            position = self.positions[position].next_in_account
        return 0

    cdef int cancel_pool_orders_of(self, int32_t pool, int32_t position) except -1 with gil:
        cdef int32_t order = self.orders_of(position).first
        cdef bint is_own = self.pool_of(position) == pool
        cdef list chosen = []
        while order >= 0 and (is_own or self.positions[position].wallet == pool):
            if is_own or not self.orders[order].is_reduce_only:
                chosen.append((order, self.tickets[order].arrival))
            order = self.tickets[order].own_next
        return self.cancel_each(chosen, CANCEL_LIQUIDATION)

    # Settle what a pool without positions is left with. Isolated margin goes back to the
    # wallet. A deficit is covered by the fund as far as its balance goes, once, when it
    # arises; then, after a liquidation step (its symbol, or NIL, and side), by the winners, if
    # the profile says so. The rest stays on record as the pool's negative balance.
    cdef int clear_flat(self, int32_t pool, int32_t symbol, int side) except -1 nogil:
        cdef pool_t *row = &self.pools[pool]
        if row.balance >= 0:
            row.is_bankrupt = 0
            if row.symbol >= 0:
                self.move_to_isolated(
                    self.find_position(row.account, row.symbol, row.leg), -row.balance)
            return 0
        if row.is_bankrupt:
            return 0
        self.cover(pool, symbol if symbol >= 0 else row.symbol)
        if row.balance < 0 and symbol >= 0 and (
                self.instruments[symbol].profile.socialize_losses):
            self.socialize(pool, symbol, side)
        row.is_bankrupt = row.balance < 0
        return 0

    # --- the queue: a binary heap, worst on top ---------------------------------------

    cdef int queue_push(self, measured_t row) except -1 nogil:
        if self.queue_count == self.queue_capacity:
            self.queue = <measured_t *>larger(
                self.queue, &self.queue_capacity, self.queue_count + 1, sizeof(measured_t))
        self.queue[self.queue_count] = row
        self.pools[row.pool].heap_index = self.queue_count
        self.queue_count += 1
        return self.queue_sift(self.queue_count - 1)

    cdef measured_t queue_pop(self) noexcept nogil:
        cdef measured_t row = self.queue[0]
        self.queue_remove(0)
        return row

    cdef int queue_remove(self, int32_t index) noexcept nogil:
        self.pools[self.queue[index].pool].heap_index = NIL
        self.queue_count -= 1
        if index < self.queue_count:
            self.queue[index] = self.queue[self.queue_count]
            self.pools[self.queue[index].pool].heap_index = index
            self.queue_sift(index)
        return 0

    # Restore the heap around one entry, upward or downward.
    cdef int queue_sift(self, int32_t index) noexcept nogil:
        cdef measured_t row = self.queue[index]
        cdef int32_t parent, child
        while index > 0:
            parent = (index - 1) >> 1
            if not is_more_urgent(&row, &self.queue[parent]):
                break
            self.queue[index] = self.queue[parent]
            self.pools[self.queue[index].pool].heap_index = index
            index = parent
        while True:
            child = 2 * index + 1
            if child >= self.queue_count:
                break
            if child + 1 < self.queue_count and is_more_urgent(
                    &self.queue[child + 1], &self.queue[child]):
                child += 1
            if not is_more_urgent(&self.queue[child], &row):
                break
            self.queue[index] = self.queue[child]
            self.pools[self.queue[index].pool].heap_index = index
            index = child
        self.queue[index] = row
        self.pools[row.pool].heap_index = index
        return 0

    # --- the work on one pool ---------------------------------------------------------

    # Liquidate one pool until it is healthy, flat, waits, or has had its turn.
    cdef int work(self, int32_t pool) except -1 nogil:
        cdef measured_t row
        cdef int32_t position
        cdef int32_t symbol = NIL    # of the latest step
        cdef int side = SIDE_BUY
        cdef bint has_had_turn = False, is_held_back = False
        cdef int64_t resume = NONE   # when a position that was tried may go on by itself
        cdef plan_t plan
        self.tried_count = 0
        while True:
            self.measure_row(pool, &row)
            if self.pools[pool].first_open < 0:
                if self.convert(pool):
                    self.measure_row(pool, &row)
                return self.finish(
                    pool, OUTCOME_BANKRUPT if self.pools[pool].balance < 0 else OUTCOME_CLOSED,
                    &row, symbol, side)
            if self.is_healthy(&row):
                return self.finish(pool, OUTCOME_RELEASED, &row, NIL, side)
            if has_had_turn:
                return self.queue_push(row)
            self.cancel_pool_orders(pool)
            if self.net_legs(pool):
                continue
            if self.cooling and self.is_cooling(pool):
                return self.let_wait(pool, &row, False)
            if self.pausing and row.equity > 0 and self.is_paused(pool):
                return self.let_wait(pool, &row, True)
            position = self.choose_position(pool)
            if position < 0:
                if resume == NONE:
                    self.pools[pool].has_stuck = 1
                self.pause(pool, resume)
                return self.let_wait(pool, &row, is_held_back or resume != NONE)
            self.plan_step(pool, position, &row, &plan)
            if plan.lots == 0:
                self.note_tried(position)
                resume = plan.resume if resume == NONE else min64(resume, plan.resume)
                continue
            symbol = self.positions[position].symbol
            side = SIDE_SELL if self.positions[position].quantity > 0 else SIDE_BUY
            if not self.take_turn(pool, symbol):
                self.postpone(pool)
                return self.drop_pending(pool)
            if self.step(pool, position, &plan, &row):
                self.note_tried(position)
                is_held_back |= self.instruments[symbol].profile.unfilled == UNFILLED_WAIT
            else:
                has_had_turn = self.instruments[symbol].profile.steps_per_command != NONE

    cdef bint is_paused(self, int32_t pool) except -1 with gil:
        return pool in self.pausing

    cdef int postpone(self, int32_t pool) except -1 with gil:
        self.postponed[pool] = None
        return 0

    cdef bint is_cooling(self, int32_t pool) except -1 with gil:
        return self.cooling.get(pool, 0) > self.ts

    # Let a pool wait for a change, or for its time; a patient one only while it has equity.
    cdef int let_wait(
        self, int32_t pool, const measured_t *row, bint is_patient
    ) except -1 with gil:
        # What was done to it is no reason to look at it again in this command.
        self.drop_pending(pool)
        self.pools[pool].is_waiting = 1
        self.pools[pool].is_patient = is_patient and row.equity > 0
        self.waiting[pool] = None
        return self.file_waiting(pool, row)

    cdef int file_waiting(self, int32_t pool, const measured_t *row) except -1 nogil:
        self.file_release(pool, row.equity, row.maintenance)
        if self.pools[pool].is_patient:
            self.file_spent(pool, row.equity)
        return 0

    # Whether another step in a symbol may be taken now; if it is bounded, it is counted.
    cdef bint take_turn(self, int32_t pool, int32_t symbol) except -1 nogil:
        cdef instrument_t *instrument = &self.instruments[symbol]
        if instrument.profile.steps_per_command == NONE:
            return True
        self.has_bounded_steps = True
        if instrument.steps_taken >= instrument.profile.steps_per_command:
            return False
        instrument.steps_taken += 1
        self.bounded_steps += 1
        with gil:
            self.turn_of[pool] = self.bounded_steps
        return True

    cdef int drop_pending(self, int32_t pool) except -1 nogil:
        cdef int32_t i
        if not self.pools[pool].is_pending:
            return 0
        for i in range(self.pending_count):
            if self.pending[i] == pool:
                self.pending_count -= 1
                self.pending[i] = self.pending[self.pending_count]
                break
        self.pools[pool].is_pending = 0
        return 0
