"""Auto-deleveraging: who is closed against a position that nobody else takes, and in what order."""

from libc.stdlib cimport free, realloc
from libc.string cimport memset

from engine.core.contracts cimport value_sign
from engine.core.fixed cimport (
    abs64, add, add_checked, floor_div, i128, max64, min64, mul, narrow, sub_checked,
    wide,
)
from engine.core.ledger cimport instrument_t
from engine.core.memory cimport larger
from engine.core.types cimport (
    EVENT_ADL, MONEY_MAX, NIL, RATE_SCALE, SIDE_BUY, SIDE_SELL,
)


cdef inline bint ranks_before(const candidate_t *a, const candidate_t *b) noexcept nogil:
    return a.score > b.score or (a.score == b.score and a.account < b.account)


cdef class Deleveraging(Risk):
    """Rankings of holders, and closing against them."""

    def __cinit__(self):
        self.touch_log = []

    def __dealloc__(self):
        cdef int32_t i
        for i in range(self.ranking_count):
            free(self.rankings[i].heap)
        free(self.rankings)

    # Note what may have changed a live ranking.
    cdef int log_touch(self, int32_t pool) except -1:
        self.touch_log.append(pool)
        return 0

    # Profit ratio times (for losers: over) the pool's leverage on this position, in rate
    # units. Each factor is floored and capped at MONEY_MAX; `equity` is positive.
    cdef int64_t score_of(self, int32_t position, int64_t equity) except? -1:
        cdef int64_t entry = max64(1, abs64(self.positions[position].entry_value))
        cdef i128 ratio = floor_div(mul(self.unrealized(position), RATE_SCALE), wide(entry))
        cdef i128 leverage = floor_div(
            mul(self.notional(position), RATE_SCALE), wide(equity))
        cdef int64_t share, times
        cdef i128 score
        if ratio > wide(MONEY_MAX):
            ratio = wide(MONEY_MAX)
        if ratio < wide(-MONEY_MAX):
            ratio = wide(-MONEY_MAX)
        if leverage > wide(MONEY_MAX):
            leverage = wide(MONEY_MAX)
        share = narrow(ratio)
        times = max64(1, narrow(leverage))
        if share >= 0:
            score = floor_div(mul(share, times), wide(RATE_SCALE))
            return narrow(score) if score < wide(MONEY_MAX) else MONEY_MAX
        score = floor_div(mul(share, RATE_SCALE), wide(times))
        return narrow(score) if score > wide(-MONEY_MAX) else -MONEY_MAX

    # Add a holder to a ranking, unless its pool is in liquidation or without equity.
    cdef int rank_add(self, ranking_t *ranking, int32_t position) except -1:
        cdef int32_t pool = self.pool_of(position)
        cdef candidate_t row
        cdef int64_t equity, maintenance
        if self.pools[pool].in_queue:
            return 0
        self.measure(pool, &equity, &maintenance)
        if equity <= 0:
            return 0
        row.score = self.score_of(position, equity)
        row.account = self.accounts[self.positions[position].account].id
        row.position = position
        row.version = self.pools[pool].version
        return self.rank_push(ranking, row)

    # Bring the ranking of a side (BUY: longs) up to date: built whole when first needed in
    # a command, then only with the pools touched since.
    cdef int rank_refresh(self, int32_t symbol, int side) except -1:
        cdef ranking_t *ranking
        cdef int32_t i, owner, position
        cdef instrument_t *instrument = &self.instruments[symbol]
        cdef int sign = 1 if side == SIDE_BUY else -1
        if self.ranking_count < 2 * self.instrument_count:
            self.rankings = <ranking_t *>realloc(
                self.rankings, 2 * self.instrument_count * sizeof(ranking_t))
            memset(&self.rankings[self.ranking_count], 0,
                   (2 * self.instrument_count - self.ranking_count) * sizeof(ranking_t))
            self.ranking_count = 2 * self.instrument_count
        self.is_ranking_live = True
        ranking = &self.rankings[2 * symbol + side]
        if not ranking.is_built:
            ranking.is_built = 1
            ranking.count = 0
            ranking.log_read = <int32_t>len(self.touch_log)
            for i in range(instrument.holder_count):
                position = instrument.holders[i]
                if (self.positions[position].quantity > 0) == (sign > 0):
                    self.rank_add(ranking, position)
            return 0
        for i in range(ranking.log_read, <int32_t>len(self.touch_log)):
            owner = self.pools[<int32_t>self.touch_log[i]].account
            position = self.find_position(owner, symbol, self.leg_of_sign(owner, sign > 0))
            if (position >= 0 and self.positions[position].quantity
                    and (self.positions[position].quantity > 0) == (sign > 0)
                    and self.pool_of(position) == <int32_t>self.touch_log[i]):
                self.rank_add(ranking, position)
        ranking.log_read = <int32_t>len(self.touch_log)
        return 0

    cdef int rank_push(self, ranking_t *ranking, candidate_t row) except -1:
        cdef int32_t index = ranking.count, parent
        if ranking.count == ranking.capacity:
            ranking.heap = <candidate_t *>larger(
                ranking.heap, &ranking.capacity, ranking.count + 1, sizeof(candidate_t))
        ranking.count += 1
        while index > 0:
            parent = (index - 1) >> 1
            if not ranks_before(&row, &ranking.heap[parent]):
                break
            ranking.heap[index] = ranking.heap[parent]
            index = parent
        ranking.heap[index] = row
        return 0

    cdef candidate_t rank_pop(self, ranking_t *ranking) noexcept:
        cdef candidate_t first = ranking.heap[0]
        cdef candidate_t row
        cdef int32_t index = 0, child
        ranking.count -= 1
        row = ranking.heap[ranking.count]
        while True:
            child = 2 * index + 1
            if child >= ranking.count:
                break
            if child + 1 < ranking.count and ranks_before(
                    &ranking.heap[child + 1], &ranking.heap[child]):
                child += 1
            if not ranks_before(&ranking.heap[child], &row):
                break
            ranking.heap[index] = ranking.heap[child]
            index = child
        ranking.heap[index] = row
        return first

    # Forget all rankings: the next command may move marks.
    cdef int drop_rankings(self) except -1:
        cdef int32_t i
        for i in range(self.ranking_count):
            self.rankings[i].is_built = 0
            self.rankings[i].count = 0
        self.touch_log.clear()
        self.is_ranking_live = False
        return 0

    # Close against opposing holders in rank order at the bound; what is left is returned.
    # A counterparty that the price would bankrupt is passed over and keeps its rank.
    cdef int64_t auto_deleverage(
        self, int32_t position, int side, int64_t lots, int64_t bound
    ) except? -1:
        cdef int32_t symbol = self.positions[position].symbol
        cdef instrument_t *instrument = &self.instruments[symbol]
        cdef ranking_t *ranking
        cdef candidate_t row
        cdef list passed = []
        cdef int64_t rank = 0, quantity, held, value, equity, maintenance, gain
        cdef int32_t last = NIL, pool
        cdef int sign = 1 if side == SIDE_BUY else -1
        # A long is closed by selling, against shorts: their side is that of the trade.
        self.rank_refresh(symbol, side)
        ranking = &self.rankings[2 * symbol + side]
        while lots and ranking.count:
            row = self.rank_pop(ranking)
            pool = self.pool_of(row.position)
            if (row.version != self.pools[pool].version or self.pools[pool].in_queue
                    or row.position == last):
                continue
            last = row.position
            rank += 1
            quantity = min64(lots, abs64(self.positions[row.position].quantity))
            self.measure(pool, &equity, &maintenance)
            # The counterparty trades the other way round, from mark to the bound.
            held = self.positions[row.position].quantity
            value = value_sign(&instrument.contract, side) * self.worth_at_tick(
                symbol, quantity, bound)
            gain = add_checked(value, sub_checked(
                self.value(symbol, held - sign * quantity, instrument.mark),
                self.value(symbol, held, instrument.mark)))
            if add(wide(equity), wide(gain)) < wide(0):
                passed.append((row.score, row.account, row.position, row.version))
                continue
            self.close_against(position, row.position, side, quantity, bound, rank)
            lots -= quantity
        for row.score, row.account, row.position, row.version in passed:
            self.rank_push(ranking, row)
        return lots

    cdef int close_against(
        self, int32_t position, int32_t counter, int side, int64_t lots, int64_t bound,
        int64_t rank
    ) except -1:
        cdef int32_t symbol = self.positions[position].symbol
        cdef int sign = 1 if side == SIDE_BUY else -1
        cdef int64_t value = value_sign(
            &self.instruments[symbol].contract, side) * self.worth_at_tick(symbol, lots, bound)
        cdef int64_t *out
        self.settle_fill(position, sign * lots, value)
        self.settle_fill(counter, -sign * lots, -value)
        self.drop_reduce_only(position)
        self.drop_reduce_only(counter)
        out = self.emit(EVENT_ADL)
        out[0] = self.accounts[self.positions[counter].account].id
        out[1] = self.accounts[self.positions[position].account].id
        out[2] = symbol
        out[3] = SIDE_BUY if side == SIDE_SELL else SIDE_SELL
        out[4] = lots
        out[5] = bound
        out[6] = rank
        out[7] = self.positions[counter].leg
        return 0
