"""Slack and triggers: the distance of each pool to its next threshold, as prices."""

cimport cython

from libc.stdlib cimport free, realloc

from engine.core.fixed cimport (
    abs64, add, bit_length, ceil_div, floor_div, low_half, max64, min64, mul, mul3_wide, mul_wide,
    narrow, neg, shift_right, sign_of, sub, wide,
)
from engine.core.collateral cimport collateral_t, price_for, weighted
from engine.core.contracts cimport notional_of_value
from engine.core.ledger cimport account_t, instrument_t
from engine.core.memory cimport prefetch
from engine.core.tiers cimport (
    inverse_tier_marks, maintenance_margin, schedule_t, tier_index, tier_t,
)
from engine.core.triggers cimport (
    trigger_crossed, trigger_free, trigger_init, trigger_insert, trigger_remove,
)
from engine.core.types cimport (
    KIND_INVERSE, LIQUIDATE_RATIO_GE_1, MONEY_MAX, NIL, NONE, RATE_SCALE,
)


cdef inline int64_t in_range(i128 a) except? -1 nogil:
    return narrow(a) if a < wide(MONEY_MAX) else MONEY_MAX

# How many crossed triggers ahead a position, and then its pool, is fetched into the cache.
cdef enum:
    FAR_AHEAD = 24
    AHEAD = 12


# What is required of a value, in rate units, not rounded.
cdef inline i128 needed_at(const schedule_t *schedule, i128 value) noexcept nogil:
    cdef i128 notional = value if sign_of(value) >= 0 else neg(value)
    cdef const tier_t *tier = &schedule.tiers[tier_index(
        schedule, low_half(notional) if notional < wide(MONEY_MAX) else MONEY_MAX)]
    return sub(mul_wide(notional, tier.rate), tier.deduction)


cdef inline i128 smaller(i128 a, i128 b) noexcept nogil:
    return a if a < b else b


cdef class Risk(Protection):
    """The ledger and matching, with the trigger index kept in step."""

    def __cinit__(self):
        self.call_set_rows = {}
        self.call_set_row((5_000_000, 80_000_000))

    def __dealloc__(self):
        free(self.call_sets)
        cdef int32_t i
        for i in range(2 * self.trigger_symbols):
            trigger_free(&self.trigger_sides[i])
        free(self.trigger_sides)
        for i in range(2 * self.pledge_symbols):
            trigger_free(&self.pledge_sides[i])
        free(self.pledge_sides)
        free(self.crossed)

    # Two empty sides for the newest symbol.
    cdef int add_triggers(self) except -1 nogil:
        cdef int32_t n = self.trigger_symbols
        cdef trigger_side_t *sides = <trigger_side_t *>realloc(
            self.trigger_sides, 2 * (n + 1) * sizeof(trigger_side_t))
        if sides == NULL:
            raise MemoryError("trigger index")
        self.trigger_sides = sides
        trigger_init(&sides[2 * n], 0)
        trigger_init(&sides[2 * n + 1], 1)
        self.trigger_symbols += 1
        return 0

    # The same for the newest collateral asset.
    cdef int add_pledge_triggers(self) except -1 nogil:
        cdef int32_t n = self.pledge_symbols
        cdef trigger_side_t *sides = <trigger_side_t *>realloc(
            self.pledge_sides, 2 * (n + 1) * sizeof(trigger_side_t))
        if sides == NULL:
            raise MemoryError("trigger index")
        self.pledge_sides = sides
        trigger_init(&sides[2 * n], 0)
        trigger_init(&sides[2 * n + 1], 1)
        self.pledge_symbols += 1
        return 0

    # Mark as pending the pools whose trigger the new price of a collateral asset has reached.
    cdef int collect_priced(self, int32_t collateral) except -1 nogil:
        cdef int32_t i
        cdef int side
        self.crossed_count = 0
        for side in range(2):
            trigger_crossed(
                &self.pledge_sides[2 * collateral + side], self.pledges,
                self.collaterals[collateral].price, &self.crossed, &self.crossed_count,
                &self.crossed_capacity)
        for i in range(self.crossed_count):
            self.note_pending(self.pledges[self.crossed[i]].wallet)
        return 0

    # Mark as pending the pools whose trigger the symbol's new mark has reached.
    cdef int collect_crossed(self, int32_t symbol) except -1 nogil:
        cdef int32_t i
        cdef int64_t mark = self.instruments[symbol].mark
        cdef trigger_side_t *sides = &self.trigger_sides[2 * symbol]
        if mark > sides[0].nearest and mark < sides[1].nearest:
            return 0
        self.crossed_count = 0
        trigger_crossed(
            &sides[0], self.positions, mark, &self.crossed, &self.crossed_count,
            &self.crossed_capacity)
        trigger_crossed(
            &sides[1], self.positions, mark, &self.crossed, &self.crossed_count,
            &self.crossed_capacity)
        for i in range(self.crossed_count):
            if i + FAR_AHEAD < self.crossed_count:
                prefetch(&self.positions[self.crossed[i + FAR_AHEAD]].wallet)
            if i + AHEAD < self.crossed_count:
                prefetch(&self.pools[self.positions[self.crossed[i + AHEAD]].wallet])
            self.note_pending(self.pool_of(self.crossed[i]))
        return 0

    # --- what a profile rules -----------------------------------------------------------

    # The open position whose symbol's profile rules its pool: that with the largest
    # maintenance margin, the first by symbol of equals. O(open positions).
    cdef int32_t ruling_position(self, int32_t pool) except -1 nogil:
        cdef int32_t row = self.pools[pool].first_open
        cdef int32_t chosen = row
        cdef int64_t most = -1, margin
        if self.positions[row].next_open < 0:
            return row
        while row >= 0:
            margin = self.maintenance(row)
            if margin > most:
                most, chosen = margin, row
            row = self.positions[row].next_open
        return chosen

    # Whether a pool with positions is to be liquidated. Profiles differ at equality alone.
    cdef bint is_due(self, int32_t pool, int64_t equity, int64_t maintenance) except -1 nogil:
        if equity != maintenance:
            return equity < maintenance
        return self.instruments[self.positions[
            self.ruling_position(pool)].symbol].profile.liquidate_at == LIQUIDATE_RATIO_GE_1

    # --- margin-call levels -----------------------------------------------------------

    # The row of a set of levels (hysteresis, then levels), made when first asked for.
    cdef int32_t call_set_row(self, tuple key) except -1:
        cdef int32_t row = <int32_t>len(self.call_set_rows)
        cdef int i
        cdef call_set_t *sets
        if key in self.call_set_rows:
            return self.call_set_rows[key]
        sets = <call_set_t *>realloc(self.call_sets, (row + 1) * sizeof(call_set_t))
        if sets == NULL:
            raise MemoryError("margin-call levels")
        self.call_sets = sets
        sets[row].hysteresis = key[0]
        sets[row].count = <int32_t>len(key) - 1
        for i in range(sets[row].count):
            sets[row].levels[i] = key[1 + i]
        self.call_set_rows[key] = row
        return row

    cdef const call_set_t *call_set_of(self, int32_t pool) noexcept nogil:
        return &self.call_sets[self.pools[pool].call_set]

    # The row that a pool with positions is to go by: its account's own levels, else those of
    # the profile that rules it.
    cdef int32_t call_set_in_force(self, int32_t pool) except -1 nogil:
        cdef const account_t *owner = &self.accounts[self.pools[pool].account]
        if owner.owns_calls or not self.has_profile_calls:
            return owner.call_set
        return self.instruments[self.positions[self.ruling_position(pool)].symbol].call_set

    # Whether a pool with positions goes by other levels when another of them comes to rule.
    cdef bint has_several_calls(self, int32_t pool) noexcept nogil:
        cdef int32_t row = self.pools[pool].first_open
        cdef int32_t call_set = self.instruments[self.positions[row].symbol].call_set
        if self.accounts[self.pools[pool].account].owns_calls:
            return False
        while row >= 0:
            if self.instruments[self.positions[row].symbol].call_set != call_set:
                return True
            row = self.positions[row].next_open
        return False

    # Whether margin_ratio >= level; spent equity counts as beyond every level.
    @cython.final
    cdef bint level_reached(
        self, int64_t equity, int64_t maintenance, int64_t level
    ) noexcept nogil:
        return equity <= 0 or mul(maintenance, RATE_SCALE) >= mul(level, equity)

    # How many levels count as reached now: those of before, with hysteresis, and new ones.
    cdef int level_of(self, int32_t pool, int64_t equity, int64_t maintenance) noexcept nogil:
        cdef const call_set_t *calls = self.call_set_of(pool)
        cdef int level = self.pools[pool].call_level
        while level < calls.count and self.level_reached(equity, maintenance, calls.levels[level]):
            level += 1
        while level > 0 and not self.level_reached(
            equity, maintenance, calls.levels[level - 1] - calls.hysteresis
        ):
            level -= 1
        return level

    # The least deposit, and the least close at mark of the position with the largest
    # maintenance margin, that bring margin_ratio under a target. Of an isolated position only
    # the whole: a part would take its margin along.
    cdef int find_remedy(
        self, int32_t pool, int64_t equity, int64_t maintenance, int64_t target,
        remedy_t *remedy
    ) except -1 nogil:
        cdef i128 enough = sub(add(floor_div(mul(maintenance, RATE_SCALE), wide(target)), wide(1)),
                               wide(equity))
        cdef int32_t row = self.pools[pool].first_open
        cdef int32_t chosen = row
        cdef int64_t most = -1, margin, held
        cdef i128 allowed
        remedy.collateral = NONE if enough > wide(MONEY_MAX) else narrow(enough)
        while row >= 0:
            margin = self.maintenance(row)
            if margin > most:
                most, chosen = margin, row
            row = self.positions[row].next_open
        held = abs64(self.positions[chosen].quantity)
        remedy.symbol = self.positions[chosen].symbol
        remedy.leg = self.positions[chosen].leg
        remedy.lots = held
        if self.pools[pool].symbol >= 0:
            return 0
        # What the position may ask for: the most that keeps the ratio under the target.
        allowed = sub(floor_div(sub(mul(target, equity), wide(1)), wide(RATE_SCALE)),
                      wide(maintenance - most))
        if equity > 0 and allowed >= wide(0):
            remedy.lots = held - min64(held, self.lots_within(chosen, allowed))
        elif self.positions[self.pools[pool].first_open].next_open >= 0:
            remedy.lots = NONE  # else it is the only position, and without it there is no call
        return 0

    # Most lots of a position's symbol whose maintenance margin at mark is within a limit.
    cdef int64_t lots_within(self, int32_t position, i128 allowed) except? -1 nogil:
        cdef instrument_t *instrument = &self.instruments[self.positions[position].symbol]
        cdef const schedule_t *schedule = self.schedule_of(&self.positions[position])
        cdef i128 limit = mul_wide(allowed, RATE_SCALE)
        cdef i128 bound
        cdef int64_t notional = 0
        cdef int k
        for k in range(schedule.count):
            bound = wide(MONEY_MAX)
            if k < schedule.count - 1:
                bound = wide(schedule.tiers[k].max_notional)
            if schedule.tiers[k].rate > 0:
                bound = smaller(bound, floor_div(
                    add(limit, schedule.tiers[k].deduction), wide(schedule.tiers[k].rate)))
            if bound <= wide(schedule.tiers[k].min_notional):
                break
            notional = narrow(bound)
            if k == schedule.count - 1 or notional < schedule.tiers[k].max_notional:
                break
        if instrument.contract.kind == KIND_INVERSE:
            bound = floor_div(mul(notional, instrument.mark), wide(instrument.contract.unit_value))
            return in_range(bound)
        return narrow(floor_div(
            wide(notional), mul(instrument.mark, instrument.contract.unit_value)))

    # --- filing -----------------------------------------------------------------------

    # Note that the triggers of a pool are to be filed before the next mark.
    cdef int note_unfiled(self, int32_t pool) except -1 nogil:
        if self.unfiled_count == UNFILED_MAX:
            self.file_touched()
        self.unfiled[self.unfiled_count] = pool
        self.unfiled_count += 1
        self.pools[pool].is_unfiled = 1
        return 0

    # File what is out of date; every change of a mark is preceded by this. What was measured
    # when the pools were touched still holds: no mark has moved since.
    cdef int file_touched(self) except -1 nogil:
        cdef int32_t i, pool
        cdef int64_t equity, maintenance
        for i in range(self.unfiled_count):
            pool = self.unfiled[i]
            self.pools[pool].is_unfiled = 0
            if self.pools[pool].first_open >= 0 and not self.pools[pool].in_queue:
                self.measure(pool, &equity, &maintenance)
                self.file_pool(pool, equity, maintenance)
        self.unfiled_count = 0
        return 0

    # File triggers for all positions of a pool, given its measure at the current marks. Those
    # that are filed already stay where they are, as far as the slack still covers them.
    cdef int file_pool(self, int32_t pool, int64_t equity, int64_t maintenance) except -1 nogil:
        cdef pool_t *owner = &self.pools[pool]
        cdef const call_set_t *calls = self.call_set_of(pool)
        cdef bint may_clear = owner.call_level > 0
        cdef bint is_even            # each position has one trigger, in the direction it loses
        cdef bound_t down, up
        cdef survey_t found
        cdef i128 slack, clear_slack = wide(0), share
        cdef int64_t low, high, clear_low, clear_high, part
        cdef int64_t parts = 1
        cdef int32_t row = owner.first_open
        cdef int shift = 0
        cdef bint is_alone           # then all of the slack is the one position's
        cdef position_t *position
        if row < 0:
            return 0
        if self.has_profile_calls and self.has_several_calls(pool):
            return self.file_every_tick(pool)
        slack = self.slack_of(pool, equity, maintenance, &down)
        up.sense, up.is_whole = -1, False
        # Less than none is left where equity equals maintenance margin and the profile waits
        # for less: then the pool is looked at with every tick.
        is_even = (owner.first_pledge < 0 and not may_clear and sign_of(slack) >= 0
                   and self.survey(pool, &down, &found))
        is_alone = self.positions[row].next_open < 0 and owner.first_pledge < 0
        if is_even and is_alone:
            return self.file_share(row, slack, &down)
        if is_even and self.patch(&down, slack, &found):
            return 0
        if not is_alone:
            parts = self.split(pool, &shift)
        if may_clear:
            up.weight = calls.levels[owner.call_level - 1] - calls.hysteresis
            clear_slack = sub(mul(RATE_SCALE, maintenance), mul(up.weight, equity))
        while row >= 0:
            position = &self.positions[row]
            # Shares are rounded down, so that together they never exceed the slack.
            part = self.notional(row) >> shift
            share = slack
            if not is_alone and sign_of(slack) >= 0:
                share = floor_div(mul_wide(slack, part), wide(parts))
            if is_even:
                self.file_share(row, share, &down)
                row = position.next_open
                continue
            self.bound_share(position, share, &down)
            self.safe_range(position, &down, &low, &high)
            if may_clear:
                share = clear_slack
                if not is_alone:
                    share = floor_div(mul_wide(clear_slack, part), wide(parts))
                up.limit = add(self.contribution(position, &up), share)
                self.safe_range(position, &up, &clear_low, &clear_high)
                low = max64(low, clear_low)
                high = min64(high, clear_high)
            self.file_trigger(row, 0, low)
            self.file_trigger(row, 1, high)
            row = position.next_open
        if owner.first_pledge >= 0:
            # By how much all that is pledged may fall, and rise, together, in money.
            if not down.is_whole:
                slack = floor_div(slack, wide(down.weight))
            clear_slack = floor_div(clear_slack, wide(up.weight)) if may_clear else wide(MONEY_MAX)
            self.file_pledges(pool, slack, clear_slack, parts, shift)
        return 0

    # Have a pool looked at with every tick: with any another position may come to rule.
    cdef int file_every_tick(self, int32_t pool) except -1 nogil:
        cdef int32_t row = self.pools[pool].first_open
        cdef int64_t mark
        while row >= 0:
            mark = self.instruments[self.positions[row].symbol].mark
            self.file_trigger(row, 0, mark - 1)
            self.file_trigger(row, 1, mark + 1)
            row = self.positions[row].next_open
        return self.file_pledges(pool, wide(-1), wide(-1), 1, 0)

    # The slack of a pool, and how its positions are weighed against it.
    @cython.final
    cdef i128 slack_of(
        self, int32_t pool, int64_t equity, int64_t maintenance, bound_t *down
    ) except? -1 nogil:
        cdef const call_set_t *calls = self.call_set_of(pool)
        down.sense = 1
        down.is_whole = self.pools[pool].call_level >= calls.count
        if down.is_whole:
            down.weight = RATE_SCALE
            return sub(sub(wide(equity), wide(maintenance)), wide(1))
        down.weight = calls.levels[self.pools[pool].call_level]
        return sub(sub(mul(down.weight, equity), mul(RATE_SCALE, maintenance)), wide(1))

    # What the triggers of a pool use up. False where that is not to be said by looking at them:
    # a position could gain and lose on its way to its trigger, or has another.
    @cython.final
    cdef bint survey(self, int32_t pool, const bound_t *down, survey_t *found) except -1 nogil:
        cdef int32_t row = self.pools[pool].first_open
        cdef position_t *position
        cdef const instrument_t *instrument
        cdef const schedule_t *schedule
        cdef int rising
        cdef int64_t worth
        cdef i128 there, used
        found.used = found.most = found.notional = wide(0)
        found.most_row = found.missing_row = NIL
        found.missing_count = 0
        while row >= 0:
            position = &self.positions[row]
            instrument = &self.instruments[position.symbol]
            schedule = self.schedule_of(position)
            rising = position.quantity < 0
            if (instrument.contract.kind == KIND_INVERSE
                    or schedule.steepest >= down.weight
                    or position.trigger[1 - rising] != (0 if rising else MONEY_MAX)):
                return False
            worth = self.value(position.symbol, position.quantity, instrument.mark)
            found.notional = add(found.notional, wide(abs64(worth)))
            if position.trigger[rising] == (MONEY_MAX if rising else 0):
                found.missing_row = row
                found.missing_count += 1
            else:
                there = mul3_wide(
                    position.quantity, position.trigger[rising] + (-1 if rising else 1),
                    instrument.contract.unit_value)
                used = mul_wide(sub(wide(worth), there), down.weight)
                # The requirement there may round up by less than one unit.
                used = add(used, needed_at(schedule, there))
                used = sub(used, mul(RATE_SCALE, maintenance_margin(
                    schedule, abs64(worth))))
                used = add(used, wide(RATE_SCALE - 1))
                if down.is_whole:
                    used = floor_div(used, wide(RATE_SCALE))
                found.used = add(found.used, used)
                if found.most_row < 0 or used > found.most:
                    found.most, found.most_row = used, row
            row = position.next_open
        return True

    # Make the triggers of a pool of several positions good by moving one or two of them; whether
    # that leaves none much tighter than a new split would.
    @cython.final
    cdef bint patch(self, bound_t *down, i128 slack, const survey_t *found) except -1 nogil:
        cdef i128 left = sub(slack, found.used)
        cdef i128 both, share
        cdef int64_t parts, part, other
        cdef int shift
        if found.missing_count == 0:
            if left >= wide(0):
                return left <= found.used
            # Some room, for what little may come next.
            share = sub(add(found.most, left), shift_right(slack, 4))
            if add(share, share) < found.most:
                return False
            self.file_share(found.most_row, share, down)
            return True
        if found.missing_count > 1:
            return False
        shift = max64(0, bit_length(found.notional) - 31)
        parts = max64(1, narrow(shift_right(found.notional, shift)))
        part = self.notional(found.missing_row) >> shift
        # At least half of what it would get.
        if mul_wide(left, 2 * parts) >= mul_wide(slack, part):
            self.file_share(found.missing_row, left, down)
            return True
        both = add(found.most, left)
        if found.most_row < 0 or sign_of(both) <= 0:
            return False
        other = self.notional(found.most_row) >> shift
        share = floor_div(mul_wide(both, part), wide(max64(1, part + other)))
        if mul_wide(share, 2 * parts) < mul_wide(slack, part):
            return False
        self.file_share(found.missing_row, share, down)
        self.file_share(found.most_row, sub(both, share), down)
        return True

    # What a position adds to the weighted health, at the current mark.
    @cython.final
    cdef i128 contribution(self, position_t *position, const bound_t *bound) except? -1 nogil:
        cdef instrument_t *instrument = &self.instruments[position.symbol]
        cdef int64_t worth = self.value(position.symbol, position.quantity, instrument.mark)
        cdef int64_t requirement = maintenance_margin(self.schedule_of(position), notional_of_value(
            &instrument.contract, position.quantity, worth, instrument.mark))
        if bound.is_whole:
            return sub(sub(wide(worth), wide(position.entry_value)), wide(requirement))
        return sub(
            sub(mul(bound.weight, worth), mul(bound.weight, position.entry_value)),
            mul(RATE_SCALE, requirement))

    # Bound a position by a share of the slack that it may use up.
    @cython.final
    cdef int bound_share(self, position_t *position, i128 share, bound_t *down) except -1 nogil:
        down.limit = sub(self.contribution(position, down), share)
        if down.is_whole:
            down.limit = mul_wide(down.limit, RATE_SCALE)
        else:
            # A requirement rounds up by less than one unit: allow for it.
            down.limit = add(down.limit, wide(RATE_SCALE - 1))
        return 0

    # File the one trigger of a position that loses in one direction only.
    @cython.final
    cdef int file_share(self, int32_t row, i128 share, bound_t *down) except -1 nogil:
        cdef position_t *position = &self.positions[row]
        cdef int rising = position.quantity < 0
        cdef int step = 1 if rising else -1
        cdef int64_t price
        self.bound_share(position, share, down)
        price = self.walk(position, down, step)
        if price == self.instruments[position.symbol].mark + step:
            # Perhaps the share is less than what may be rounded: then each move counts.
            self.file_trigger(row, 1 - rising, self.walk(position, down, -step))
        return self.file_trigger(row, rising, price)

    # How a pool's slack is split: a position gets (notional >> shift) of the parts returned.
    @cython.final
    cdef int64_t split(self, int32_t pool, int *shift) except? -1 nogil:
        cdef i128 total = wide(0)
        cdef int32_t row = self.pools[pool].first_open
        while row >= 0:
            total = add(total, wide(self.notional(row)))
            row = self.positions[row].next_open
        row = self.pools[pool].first_pledge
        while row >= 0:
            total = add(total, wide(self.pledge_value(row)))
            row = self.pledges[row].next_open
        shift[0] = max64(0, bit_length(total) - 31)
        return max64(1, narrow(shift_right(total, shift[0])))

    # File triggers at which a waiting pool may have become healthy. Where its symbols have
    # several exit buffers the smallest counts; a pool between two of them is looked at with
    # every tick.
    cdef int file_release(self, int32_t pool, int64_t equity, int64_t maintenance) except -1 nogil:
        cdef int shift
        cdef int64_t parts = self.split(pool, &shift)
        cdef int64_t low, high
        cdef int64_t buffer = self.least_exit_buffer(pool)
        cdef i128 gap, share
        cdef bound_t bound
        cdef int32_t row = self.pools[pool].first_open
        bound.weight = RATE_SCALE - buffer
        bound.sense = -1
        gap = sub(wide(maintenance), wide(equity))
        if buffer:
            gap = sub(mul(RATE_SCALE, maintenance), mul(bound.weight, equity))
        while row >= 0:
            share = gap
            if sign_of(gap) >= 0:
                share = floor_div(mul_wide(gap, self.notional(row) >> shift), wide(parts))
            if buffer:
                bound.limit = add(share, sub(
                    mul(bound.weight, self.unrealized(row)),
                    mul(RATE_SCALE, self.maintenance(row))))
            else:
                share = add(share, sub(
                    wide(self.unrealized(row)), wide(self.maintenance(row))))
                # Contribution <= share fails where it reaches share + 1.
                bound.limit = sub(mul_wide(add(share, wide(1)), RATE_SCALE), wide(1))
            self.safe_range(&self.positions[row], &bound, &low, &high)
            self.file_trigger(row, 0, low)
            self.file_trigger(row, 1, high)
            row = self.positions[row].next_open
        if self.pools[pool].first_pledge >= 0:
            if buffer:
                gap = floor_div(gap, wide(bound.weight))
            self.file_pledges(pool, wide(MONEY_MAX), gap, parts, shift)
        return 0

    cdef int64_t least_exit_buffer(self, int32_t pool) noexcept nogil:
        cdef int32_t row = self.pools[pool].first_open
        cdef int64_t least = RATE_SCALE
        while row >= 0:
            least = min64(
                least, self.instruments[self.positions[row].symbol].profile.exit_buffer)
            row = self.positions[row].next_open
        return least

    # Bring the triggers of a waiting pool nearer: to where its equity may be spent.
    cdef int file_spent(self, int32_t pool, int64_t equity) except -1 nogil:
        cdef int shift
        cdef int64_t parts = self.split(pool, &shift)
        cdef int32_t row = self.pools[pool].first_open
        cdef int64_t share, edge
        cdef int rising
        while row >= 0:
            # Shares are rounded down: all of them together leave some equity.
            share = narrow(floor_div(mul(equity - 1, self.notional(row) >> shift), wide(parts)))
            rising = self.positions[row].quantity < 0
            edge = self.losing_mark(row, share)
            if rising:
                edge = min64(edge, self.positions[row].trigger[1])
            else:
                edge = max64(edge, self.positions[row].trigger[0])
            self.file_trigger(row, rising, edge)
            row = self.positions[row].next_open
        row = self.pools[pool].first_pledge
        while row >= 0:
            edge = self.pledge_value(row)
            share = narrow(floor_div(mul(equity - 1, edge >> shift), wide(parts)))
            if share < edge:
                edge = self.falling_price(row, edge - share)
                self.move_pledge(row, 0, max64(edge, self.pledges[row].trigger[0]))
            row = self.pledges[row].next_open
        return 0

    # First mark at which a position has lost more than so much since the current one; 0 or
    # MONEY_MAX where there is none.
    cdef int64_t losing_mark(self, int32_t row, int64_t share) except? -1 nogil:
        cdef const instrument_t *instrument = &self.instruments[self.positions[row].symbol]
        cdef int64_t lots = abs64(self.positions[row].quantity)
        cdef bint is_long = self.positions[row].quantity > 0
        cdef i128 total = mul(lots, instrument.contract.unit_value)
        cdef i128 edge, worth
        if instrument.contract.kind == KIND_INVERSE:
            # A long owes, a short owns the total over the mark, toward zero.
            worth = floor_div(total, wide(instrument.mark))
            if is_long:
                edge = floor_div(total, add(add(worth, wide(share)), wide(1)))
                return narrow(edge)
            worth = sub(worth, wide(share))
            if sign_of(worth) <= 0:
                return MONEY_MAX
            edge = add(floor_div(total, worth), wide(1))
        else:
            edge = add(floor_div(wide(share), total), wide(1))
            edge = sub(wide(instrument.mark), edge) if is_long else add(
                wide(instrument.mark), edge)
        if edge >= wide(MONEY_MAX):
            return MONEY_MAX
        return 0 if sign_of(edge) < 0 else narrow(edge)

    # Move one trigger of a position to a price (0 or MONEY_MAX: no trigger).
    @cython.final
    cdef int file_trigger(self, int32_t row, int rising, int64_t price) except -1 nogil:
        cdef trigger_side_t *side = &self.trigger_sides[
            2 * self.positions[row].symbol + rising]
        if self.positions[row].trigger[rising] == price:
            return 0
        trigger_remove(side, self.positions, row)
        if price != (MONEY_MAX if rising else 0):
            trigger_insert(side, self.positions, row, price)
        return 0

    cdef int unfile(self, int32_t position) except -1 nogil:
        self.file_trigger(position, 0, 0)
        return self.file_trigger(position, 1, MONEY_MAX)

    cdef int unfile_pool(self, int32_t pool) except -1 nogil:
        cdef int32_t row = self.pools[pool].first_open
        while row >= 0:
            self.unfile(row)
            row = self.positions[row].next_open
        row = self.pools[pool].first_pledge
        while row >= 0:
            self.move_pledge(row, 0, 0)
            self.move_pledge(row, 1, MONEY_MAX)
            row = self.pledges[row].next_open
        return 0

    # --- pledges ----------------------------------------------------------------------

    # File triggers for what is pledged to a pool: each gets its part of what all of it may
    # fall and rise together (money, rounded down; MONEY_MAX: as much as it likes).
    cdef int file_pledges(
        self, int32_t pool, i128 fall, i128 rise, int64_t parts, int shift
    ) except -1 nogil:
        cdef int32_t row = self.pools[pool].first_pledge
        cdef int64_t value
        cdef i128 down, up
        while row >= 0:
            value = self.pledge_value(row)
            down, up = fall, rise
            if wide(0) <= fall < wide(MONEY_MAX):
                down = floor_div(mul_wide(fall, value >> shift), wide(parts))
            if wide(0) <= rise < wide(MONEY_MAX):
                up = floor_div(mul_wide(rise, value >> shift), wide(parts))
            self.file_pledge(row, value, down, up)
            row = self.pledges[row].next_open
        return 0

    # A pledge's value never falls with the price, so each bound has one price at which it is
    # reached first. Less than none is left where the pool is to be looked at with every tick.
    cdef int file_pledge(self, int32_t row, int64_t value, i128 fall, i128 rise) except -1 nogil:
        cdef const collateral_t *terms = &self.collaterals[self.pledges[row].symbol]
        cdef i128 amount = weighted(terms, self.pools[self.pledges[row].isolated].balance)
        cdef int64_t low = 0, high = MONEY_MAX
        if terms.price != NONE and amount > wide(0):
            if fall < wide(0) or rise < wide(0):
                low, high = terms.price - 1, terms.price + 1
            else:
                if fall < wide(value):
                    low = self.falling_price(row, value - narrow(fall))
                if add(rise, wide(value)) < wide(MONEY_MAX):
                    high = price_for(terms, amount, value + narrow(rise) + 1)
        self.move_pledge(row, 0, low)
        return self.move_pledge(row, 1, high)

    # The highest price at which a pledge counts for less than a value that it has.
    cdef int64_t falling_price(self, int32_t row, int64_t value) noexcept nogil:
        cdef const collateral_t *terms = &self.collaterals[self.pledges[row].symbol]
        return price_for(
            terms, weighted(terms, self.pools[self.pledges[row].isolated].balance), value) - 1

    # Move one trigger of a pledge to a price (0 or MONEY_MAX: no trigger).
    cdef int move_pledge(self, int32_t row, int rising, int64_t price) except -1 nogil:
        cdef trigger_side_t *side = &self.pledge_sides[2 * self.pledges[row].symbol + rising]
        if self.pledges[row].trigger[rising] == price:
            return 0
        trigger_remove(side, self.pledges, row)
        if price != (MONEY_MAX if rising else 0):
            trigger_insert(side, self.pledges, row, price)
        return 0

    # --- solving ----------------------------------------------------------------------

    # The marks nearest to the current one, on either side, at which a bound fails.
    @cython.final
    cdef int safe_range(
        self, position_t *position, const bound_t *bound, int64_t *low, int64_t *high
    ) except -1 nogil:
        low[0] = self.walk(position, bound, -1)
        high[0] = self.walk(position, bound, 1)
        return 0

    # First mark from the current one in direction `step` at which the bound fails; 0 or
    # MONEY_MAX where it never does. Within a tier the bound is a line A x mark + B >= 0, so
    # each tier is solved exactly, and the jump between tiers (of the whole rule) checked.
    @cython.final
    cdef int64_t walk(self, position_t *position, const bound_t *bound, int step) except? -1 nogil:
        cdef instrument_t *instrument = &self.instruments[position.symbol]
        cdef const schedule_t *schedule = self.schedule_of(position)
        cdef int64_t per_mark
        cdef int64_t origin = instrument.mark
        cdef int64_t start = origin
        cdef int64_t stop
        cdef int sign = 1 if position.quantity > 0 else -1
        cdef int k
        cdef i128 slope, level, edge
        if instrument.contract.kind == KIND_INVERSE:
            return self.walk_inverse(position, bound, step)
        per_mark = narrow(mul(abs64(position.quantity), instrument.contract.unit_value))
        k = tier_index(schedule, narrow(mul(per_mark, origin)))
        while 0 <= k < schedule.count:
            slope = mul(per_mark, bound.sense * (sign * bound.weight - schedule.tiers[k].rate))
            level = sub(sub(schedule.tiers[k].deduction, mul(bound.weight, position.entry_value)),
                        bound.limit)
            if bound.sense < 0:
                level = neg(level)
            if step > 0:
                stop = MONEY_MAX
                if k < schedule.count - 1:
                    stop = schedule.tiers[k].max_notional // per_mark
            else:
                stop = schedule.tiers[k].min_notional // per_mark + 1
            if (stop - start) * step >= 0:
                if add(mul_wide(slope, start), level) < wide(0):
                    return max64(0, origin + step) if start == origin else start
                if step > 0 and slope < wide(0):
                    edge = floor_div(level, neg(slope))
                    if edge < wide(stop):
                        return narrow(edge) + 1
                elif step < 0 and slope > wide(0):
                    edge = ceil_div(neg(level), slope)
                    if edge > wide(stop):
                        return narrow(edge) - 1
                start = stop + step
            k += step
        return MONEY_MAX if step > 0 else 0

    # The same for an inverse position, whose size is x = worth x mark / mark: the bound is a
    # line A x + B >= 0 in it, but for what value and notional round. That is allowed for: the
    # mark returned may be short of the one at which the bound fails, never beyond.
    @cython.final
    cdef int64_t walk_inverse(
        self, position_t *position, const bound_t *bound, int step
    ) except? -1 nogil:
        cdef instrument_t *instrument = &self.instruments[position.symbol]
        cdef const schedule_t *schedule = self.schedule_of(position)
        cdef i128 total = mul(abs64(position.quantity), instrument.contract.unit_value)
        cdef int64_t origin = instrument.mark
        cdef int64_t start = origin
        cdef int64_t low, high, safe_low, safe_high, stop
        cdef int k = tier_index(schedule, narrow(ceil_div(total, wide(origin))))
        while 0 <= k < schedule.count:
            inverse_tier_marks(schedule, k, total, &low, &high)
            inverse_safe_marks(position, bound, &schedule.tiers[k], total, &safe_low, &safe_high)
            stop = high if step > 0 else low
            if (stop - start) * step >= 0:
                if not safe_low <= start <= safe_high:
                    return max64(0, origin + step) if start == origin else start
                if step > 0 and safe_high < stop:
                    return safe_high + 1
                if step < 0 and safe_low > stop:
                    return safe_low - 1
                start = stop + step
            k -= step  # a higher mark is a smaller notional
        return MONEY_MAX if step > 0 else 0


# The marks at which a bound of an inverse position holds for certain, by the formula of one
# tier; none where the first is above the second.
cdef int inverse_safe_marks(
    const position_t *position, const bound_t *bound, const tier_t *tier, i128 total,
    int64_t *low, int64_t *high
) except -1 nogil:
    cdef int sign = 1 if position.quantity > 0 else -1
    cdef int64_t slope = bound.sense * (-sign * bound.weight - tier.rate)
    cdef i128 level = sub(
        sub(tier.deduction, mul(bound.weight, position.entry_value)), bound.limit)
    cdef i128 edge
    if bound.sense > 0:
        # A short's value may be one unit less than x, a notional one more.
        level = sub(level, wide(tier.rate + (bound.weight if sign < 0 else 0)))
    else:
        # A long's debt may be one unit less.
        level = sub(neg(level), wide(bound.weight if sign > 0 else 0))
    low[0], high[0] = 1, MONEY_MAX
    if slope < 0:
        edge = floor_div(level, wide(-slope))  # the largest x
        low[0] = in_range(ceil_div(total, edge)) if edge > wide(0) else MONEY_MAX
        high[0] = MONEY_MAX if edge > wide(0) else 0
    elif slope > 0:
        edge = ceil_div(neg(level), wide(slope))  # the smallest
        if edge > wide(0):
            high[0] = in_range(floor_div(total, edge))
    elif level < wide(0):
        high[0] = 0
    return 0
