"""Auto-deleveraging: who is closed against a position that nobody else takes, and in what order."""

from libc.stdlib cimport free, qsort, realloc
from libc.string cimport memset

from engine.core.contracts cimport value_sign
from engine.core.fixed cimport (
    abs64, add, add_checked, ceil_div, floor_div, i128, low_half, max64, min64, mul, narrow,
    sub_checked, wide,
)
from engine.core.ledger cimport instrument_t, position_t
from engine.core.memory cimport larger, prefetch
from engine.core.types cimport (
    ADLPRICE_BANKRUPTCY, CANCEL_ADL, EVENT_ADL, MONEY_MAX, NIL, RATE_SCALE, SCORE_PNL_RATIO,
    SCORE_SIZE, SCORE_UPNL_X_LEVERAGE, SHARES_CONTRACTS, SHARES_RANK, SHARES_WEALTH, SIDE_BUY,
    SIDE_SELL,
)


# How many holders ahead their rows are fetched into the cache.
cdef enum:
    FAR_AHEAD = 24
    AHEAD = 16
    NEAR = 8

# Up to so many candidates are put into a ranking's heap at once; of more a sample is sorted.
cdef enum:
    FEW = 1024
    SAMPLED = 128


cdef inline bint ranks_before(const candidate_t *a, const candidate_t *b) noexcept nogil:
    return a.score > b.score or (a.score == b.score and a.account < b.account)


cdef int compare_candidates(const void *a, const void *b) noexcept nogil:
    if ranks_before(<const candidate_t *>a, <const candidate_t *>b):
        return -1
    return 1 if ranks_before(<const candidate_t *>b, <const candidate_t *>a) else 0


# Limits before which none and all of the candidates rank: no score is beyond MONEY_MAX.
cdef candidate_t FIRST_OF_ALL
cdef candidate_t LAST_OF_ALL
memset(&FIRST_OF_ALL, 0, sizeof(candidate_t))
memset(&LAST_OF_ALL, 0, sizeof(candidate_t))
FIRST_OF_ALL.score = MONEY_MAX + 1
LAST_OF_ALL.score = -MONEY_MAX - 1


cdef inline int64_t capped(i128 value) noexcept nogil:
    if value > wide(MONEY_MAX):
        return MONEY_MAX
    return low_half(value) if value > wide(-MONEY_MAX) else -MONEY_MAX


# Divide `lots` among holders in order of rank: in proportion to what they hold, to their
# equity (but no more than they hold), or evenly, which makes the largest share as small as can
# be. Rounded down; what that leaves goes in order of rank, one lot to each that has one left.
cdef list allocate(int64_t mode, int64_t wanted, list held, list equities):
    cdef object total = sum(held)
    cdef object lots = min(wanted, total)
    cdef list shares
    cdef Py_ssize_t i
    if mode == SHARES_CONTRACTS:
        shares = [lots * own // total for own in held]
    elif mode == SHARES_WEALTH:
        shares = wealth_shares(lots, held, equities)
    else:
        shares = level_shares(lots, held)
    lots -= sum(shares)
    for i in range(len(held)):
        if lots and shares[i] < held[i]:
            shares[i] += 1
            lots -= 1
    return shares


# Whose position is smaller than its share is closed whole, and the others share the rest.
cdef list wealth_shares(object lots, list held, list equities):
    cdef list shares = [0] * len(held)
    cdef list sharing = list(range(len(held)))
    cdef list others
    cdef object left, total
    while sharing:
        left, others = lots, []
        total = sum([equities[i] for i in sharing])
        for i in sharing:
            if lots * equities[i] // total >= held[i]:
                shares[i] = held[i]
                left -= held[i]
            else:
                others.append(i)
        if len(others) == len(sharing):
            for i in sharing:
                shares[i] = lots * equities[i] // total
            break
        lots, sharing = left, others
    return shares


# The smallest positions are closed whole, as long as an even share of the rest is larger.
cdef list level_shares(object lots, list held):
    cdef list ordered = sorted(held)
    cdef Py_ssize_t i
    cdef object level = ordered[len(ordered) - 1] if ordered else 0
    for i in range(len(ordered)):
        if ordered[i] * (len(ordered) - i) > lots:
            level = lots // (len(ordered) - i)
            break
        lots -= ordered[i]
    return [min(own, level) for own in held]


cdef class Deleveraging(Risk):
    """Rankings of holders, and closing against them."""

    def __dealloc__(self):
        cdef int32_t i
        free(self.touch_log)
        for i in range(self.ranking_count):
            free(self.rankings[i].heap)
            free(self.rankings[i].rest)
        free(self.rankings)

    # Note what may have changed a live ranking. A pool is mostly touched several times in a row.
    cdef int log_touch(self, int32_t pool) except -1 nogil:
        if self.touch_count and self.touch_log[self.touch_count - 1] == pool:
            return 0
        if self.touch_count == self.touch_capacity:
            self.touch_log = <int32_t *>larger(
                self.touch_log, &self.touch_capacity, self.touch_count + 1, sizeof(int32_t))
        self.touch_log[self.touch_count] = pool
        self.touch_count += 1
        return 0

    # What ranks a holder, by the symbol's profile: profit, or its ratio to the entry value,
    # times (for losers: over) the pool's leverage on this position, the ratio alone, or the
    # size. Each factor is floored and capped at MONEY_MAX; `equity` is positive.
    cdef int64_t score_of(self, int32_t position, i128 equity) except? -1 nogil:
        cdef int64_t kind = self.instruments[self.positions[position].symbol].profile.adl_score
        cdef int64_t profit, times
        if kind == SCORE_SIZE:
            return abs64(self.positions[position].quantity)
        profit = self.unrealized(position)
        if kind != SCORE_UPNL_X_LEVERAGE:
            profit = capped(floor_div(mul(profit, RATE_SCALE), wide(
                max64(1, abs64(self.positions[position].entry_value)))))
            if kind == SCORE_PNL_RATIO:
                return profit
        times = max64(1, capped(floor_div(
            mul(self.notional(position), RATE_SCALE), equity)))
        if profit >= 0:
            return capped(floor_div(mul(profit, times), wide(RATE_SCALE)))
        return capped(floor_div(mul(profit, RATE_SCALE), wide(times)))

    # Add a holder to a ranking, unless its pool is in liquidation or without equity.
    cdef int rank_add(self, ranking_t *ranking, int32_t position) except -1 nogil:
        cdef int32_t pool = self.pool_of(position)
        cdef candidate_t row
        cdef int64_t equity
        if self.pools[pool].in_queue:
            return 0
        equity = self.equity_of(pool)
        if equity <= 0:
            return 0
        row.score = self.score_of(position, wide(equity))
        row.account = self.accounts[self.positions[position].account].id
        row.position = position
        row.version = self.pools[pool].version
        return self.rank_push(ranking, row)

    # Bring the ranking of a side (BUY: longs) up to date: built whole when first needed in
    # a command, then only with the pools touched since.
    cdef int rank_refresh(self, int32_t symbol, int side) except -1 nogil:
        cdef ranking_t *ranking
        cdef int32_t i, position
        cdef instrument_t *instrument = &self.instruments[symbol]
        cdef int sign = 1 if side == SIDE_BUY else -1
        if self.ranking_count < 2 * self.instrument_count:
            self.rankings = <ranking_t *>realloc(
                self.rankings, 2 * self.instrument_count * sizeof(ranking_t))
            memset(&self.rankings[self.ranking_count], 0,
                   (2 * self.instrument_count - self.ranking_count) * sizeof(ranking_t))
            self.ranking_count = 2 * self.instrument_count
        self.is_ranking_live = True
        self.read_touches()
        ranking = &self.rankings[2 * symbol + side]
        if ranking.is_built:
            return 0
        ranking.is_built = 1
        ranking.count = ranking.rest_count = 0
        ranking.limit = FIRST_OF_ALL
        for i in range(instrument.holder_count):
            if i + FAR_AHEAD < instrument.holder_count:
                self.fetch_holder(instrument, i)
            position = instrument.holders[i]
            if (self.positions[position].quantity > 0) == (sign > 0):
                self.rank_add(ranking, position)
        return 0

    # Enter the pools that were touched in all rankings where they belong. Each touch is read
    # once, however many rankings there are.
    cdef int read_touches(self) except -1 nogil:
        cdef int32_t i, position
        cdef ranking_t *ranking
        for i in range(self.touch_count):
            position = self.pools[self.touch_log[i]].first_open
            while position >= 0:
                ranking = &self.rankings[2 * self.positions[position].symbol + (
                    SIDE_BUY if self.positions[position].quantity > 0 else SIDE_SELL)]
                if ranking.is_built:
                    self.rank_add(ranking, position)
                position = self.positions[position].next_open
        self.touch_count = 0
        return 0

    # Fetch into the cache what ranking a holder further on will read, in three stages.
    cdef int fetch_holder(self, const instrument_t *instrument, int32_t at) noexcept nogil:
        cdef const position_t *row = &self.positions[instrument.holders[at + AHEAD]]
        prefetch(&self.positions[instrument.holders[at + FAR_AHEAD]])
        prefetch(&self.positions[instrument.holders[at + FAR_AHEAD]].leg)
        prefetch(&self.pools[row.wallet])
        prefetch(&self.accounts[row.account])
        row = &self.positions[instrument.holders[at + NEAR]]
        row = &self.positions[max64(0, self.pools[row.wallet].first_open)]
        prefetch(row)
        prefetch(&row.leg)
        return 0

    # Put a candidate where it belongs.
    cdef int rank_push(self, ranking_t *ranking, candidate_t row) except -1 nogil:
        if ranks_before(&row, &ranking.limit):
            return self.rank_sift(ranking, row)
        if ranking.rest_count == ranking.rest_capacity:
            ranking.rest = <candidate_t *>larger(
                ranking.rest, &ranking.rest_capacity, ranking.rest_count + 1,
                sizeof(candidate_t))
        ranking.rest[ranking.rest_count] = row
        ranking.rest_count += 1
        return 0

    # Give an empty heap the first of the rest: about a sixteenth, by a sample of them; all,
    # where they are few or the sample does not tell them apart.
    cdef int rank_refill(self, ranking_t *ranking) except -1 nogil:
        cdef candidate_t sample[SAMPLED]
        cdef int32_t count = ranking.rest_count, i, kept = 0
        ranking.limit = LAST_OF_ALL
        if count > FEW:
            for i in range(SAMPLED):
                sample[i] = ranking.rest[i * (count // SAMPLED)]
            qsort(sample, SAMPLED, sizeof(candidate_t), compare_candidates)
            if ranks_before(&sample[0], &sample[SAMPLED // 16]):
                ranking.limit = sample[SAMPLED // 16]
        for i in range(count):
            if ranks_before(&ranking.rest[i], &ranking.limit):
                self.rank_sift(ranking, ranking.rest[i])
            else:
                ranking.rest[kept] = ranking.rest[i]
                kept += 1
        ranking.rest_count = kept
        return 0

    cdef int rank_sift(self, ranking_t *ranking, candidate_t row) except -1 nogil:
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

    cdef candidate_t rank_pop(self, ranking_t *ranking) noexcept nogil:
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
    cdef int drop_rankings(self) except -1 nogil:
        cdef int32_t i
        for i in range(self.ranking_count):
            self.rankings[i].is_built = 0
            self.rankings[i].count = self.rankings[i].rest_count = 0
        self.touch_count = 0
        self.is_ranking_live = False
        return 0

    # Close against opposing holders, at the bound or the mark; what is left is returned. A
    # counterparty that the price would bankrupt is passed over and keeps its rank.
    cdef int64_t auto_deleverage(
        self, int32_t position, int side, int64_t lots, int64_t bound
    ) except? -1 with gil:
        cdef int32_t symbol = self.positions[position].symbol
        cdef int64_t price = self.deleverage_price(position, side, bound)
        cdef ranking_t *ranking
        cdef candidate_t row
        cdef list passed = []
        cdef int64_t rank = 0, quantity
        cdef int32_t last = NIL
        # A long is closed by selling, against shorts: their side is that of the trade.
        self.rank_refresh(symbol, side)
        if self.instruments[symbol].profile.adl_allocation != SHARES_RANK:
            return self.deleverage_shares(position, side, lots, price)
        ranking = &self.rankings[2 * symbol + side]
        while lots:
            last = self.next_ranked(ranking, &row, last)
            if last < 0:
                break
            rank += 1
            quantity = min64(lots, abs64(self.positions[row.position].quantity))
            if not self.can_bear(row.position, side, quantity, price):
                passed.append((row.score, row.account, row.position, row.version))
                continue
            self.close_against(position, row.position, side, quantity, price, rank)
            lots -= quantity
        for row.score, row.account, row.position, row.version in passed:
            self.rank_push(ranking, row)
        return lots

    # Take the next candidate that is not stale off a ranking; its position, NIL where there is
    # none. `last` is the one before: one may be there twice.
    cdef int32_t next_ranked(
        self, ranking_t *ranking, candidate_t *row, int32_t last
    ) except -2 nogil:
        cdef int32_t pool
        while ranking.count or ranking.rest_count:
            if ranking.count == 0:
                self.rank_refill(ranking)
            row[0] = self.rank_pop(ranking)
            pool = self.pool_of(row.position)
            if (row.version == self.pools[pool].version and not self.pools[pool].in_queue
                    and row.position != last):
                return row.position
        return NIL

    # The same with a share for each of the candidates who could bear a close of all that is
    # wanted, or all they have.
    cdef int64_t deleverage_shares(
        self, int32_t position, int side, int64_t lots, int64_t price
    ) except? -1 with gil:
        cdef int32_t symbol = self.positions[position].symbol
        cdef ranking_t *ranking = &self.rankings[2 * symbol + side]
        cdef candidate_t row
        cdef int32_t last = NIL
        cdef int64_t rank = 0, quantity, share
        cdef list ranked = [], able = [], held = [], equities = []
        while True:
            last = self.next_ranked(ranking, &row, last)
            if last < 0:
                break
            rank += 1
            ranked.append((row.score, row.account, row.position, row.version))
            quantity = abs64(self.positions[last].quantity)
            if self.can_bear(last, side, min64(lots, quantity), price):
                able.append((last, rank))
                held.append(quantity)
                equities.append(self.equity_of(self.pool_of(last)))
        for (last, rank), share in zip(able, allocate(
                self.instruments[symbol].profile.adl_allocation, lots, held, equities)):
            if share:
                self.close_against(position, last, side, share, price, rank)
                lots -= share
        # Those closed have changed by now, and are passed over where they stand.
        for row.score, row.account, row.position, row.version in ranked:
            self.rank_push(ranking, row)
        return lots

    # Price in ticks: the bound, or the mark, rounded in the favour of those who are closed
    # against (a sell down, a buy up). A pool with equity left is never closed beyond its bound.
    cdef int64_t deleverage_price(
        self, int32_t position, int side, int64_t bound
    ) except? -1 nogil:
        cdef instrument_t *instrument = &self.instruments[self.positions[position].symbol]
        cdef int64_t equity, price
        if instrument.profile.adl_price == ADLPRICE_BANKRUPTCY:
            return bound
        equity = self.equity_of(self.pool_of(position))
        if side == SIDE_SELL:
            price = max64(1, instrument.mark // instrument.marks_per_tick)
            return max64(price, bound) if equity >= 0 else price
        price = narrow(ceil_div(wide(instrument.mark), wide(instrument.marks_per_tick)))
        return min64(price, bound) if equity >= 0 else price

    # Whether a holder's pool keeps its equity at or above zero with lots closed at a price.
    cdef bint can_bear(
        self, int32_t counter, int side, int64_t lots, int64_t price
    ) except -1 nogil:
        cdef int32_t symbol = self.positions[counter].symbol
        cdef instrument_t *instrument = &self.instruments[symbol]
        cdef int64_t held = self.positions[counter].quantity
        cdef int sign = 1 if side == SIDE_BUY else -1
        cdef int64_t equity = self.equity_of(self.pool_of(counter))
        cdef int64_t paid, gain
        # The counterparty trades the other way round, from mark to the price.
        paid = value_sign(&instrument.contract, side) * self.worth_at_tick(symbol, lots, price)
        gain = add_checked(paid, sub_checked(
            self.value(symbol, held - sign * lots, instrument.mark),
            self.value(symbol, held, instrument.mark)))
        return add(wide(equity), wide(gain)) >= wide(0)

    cdef int close_against(
        self, int32_t position, int32_t counter, int side, int64_t lots, int64_t price,
        int64_t rank
    ) except -1 with gil:
        cdef int32_t symbol = self.positions[position].symbol
        cdef int sign = 1 if side == SIDE_BUY else -1
        cdef int64_t value = value_sign(
            &self.instruments[symbol].contract, side) * self.worth_at_tick(symbol, lots, price)
        cdef int32_t order = self.orders_of(counter).first
        cdef list chosen = []
        cdef int64_t *out
        if order >= 0 and self.instruments[symbol].profile.adl_cancels_orders:
            while order >= 0:
                chosen.append((order, self.tickets[order].arrival))
                order = self.tickets[order].own_next
            self.cancel_each(chosen, CANCEL_ADL)
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
        out[5] = price
        out[6] = rank
        out[7] = self.positions[counter].leg
        return 0
