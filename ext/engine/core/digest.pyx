"""The digest of the state."""

import hashlib

from engine.messages import Profile

from engine.core.book cimport ORDER_PENDING, order_t, ticket_t
from engine.core.collateral cimport collateral_t
from engine.core.ledger cimport (
    asset_t, instrument_t, leg_key, open_orders_t, pool_t, position_t, tops_up,
)
from engine.core.linked cimport bracket_t, special_t
from engine.core.profiles cimport profile_row
from engine.core.protection cimport protection_t
from engine.core.risk cimport call_set_t
from engine.core.types cimport KIND_LINEAR, MONEY_MAX, NIL, NONE, RATE_SCALE

from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memset


cdef enum:
    TAG_CALL_LEVELS = -1
    TAG_MULTIPLIERS = -2
    TAG_ANNOUNCED = -3
    TAG_PARENT = -4
    TAG_AUTO_TOP_UP = -5
    TAG_KIND = -6
    TAG_EXPIRY = -7
    TAG_OVER = -8
    TAG_COLLATERAL = -60
    TAG_CLOSING_FEE = -70
    TAG_MAKER_CHECK = -71
    TAG_ACCOUNT_MULTIPLIER = -72
    TAG_MARK_AGE = -73
    TAG_MARK_BAND = -74
    TAG_MARK_PAUSE = -75
    TAG_PROFILE_CALLS = -76
    TAG_CLOSING = -80
    TAG_PAUSE = -81
    TAG_RAMP = -82
    TAG_PATIENT = -83
    TAG_SLICES = -84
    TAG_FUND_PROFILE = -90
    TAG_WORKOFF = -91
    TAG_NAMED_FUND = -92
    TAG_INSURER = -93
    TAG_BACKSTOP = -94
    TAG_OFFER_PROFILE = -95
    TAG_OFFER = -96
    FIRST_FIELDS = 20            # of a profile; the others are digested by themselves


# What stands in front of what is not always there.
cdef int64_t TURNS_TAG = NONE + 101
cdef int64_t FUND_TAG = NONE + 102
cdef int64_t PROFILE_TAG = NONE + 103
cdef int64_t QUEUE_TAG = NONE + 104
cdef tuple DEFAULT_PROFILE = tuple(map(int, Profile()))
# Fields of a profile that come behind their own tag: those of the fund, from this one on.
cdef int FUND_FIELDS = Profile._fields.index("fund_workoff")
# The first that comes behind a tag of its own, as do those after it.
cdef int SINGLE_FIELDS = Profile._fields.index("closing_fee_reserve")
# Those of the fund's resting orders, from this one on.
cdef int OFFER_FIELDS = Profile._fields.index("fund_workoff_offset")


cdef class Words:
    """A growing row of int64, for the digest."""

    cdef int64_t *data
    cdef Py_ssize_t count, capacity

    def __dealloc__(self):
        free(self.data)

    cdef int put(self, int64_t value) except -1:
        cdef int64_t *data
        if self.count == self.capacity:
            self.capacity = 4096 if self.capacity == 0 else 2 * self.capacity
            data = <int64_t *>realloc(self.data, self.capacity * sizeof(int64_t))
            if data == NULL:
                raise MemoryError("digest")
            self.data = data
        self.data[self.count] = value
        self.count += 1
        return 0

    # Feed what has been gathered to a hash, and start anew.
    cdef int flush(self, object digest) except -1:
        digest.update((<char *>self.data)[:self.count * <Py_ssize_t>sizeof(int64_t)])
        self.count = 0
        return 0


cdef class Digest(Views):
    """One hash of all that is logical in the state."""

    cdef bint is_protected(self, const position_t *position) noexcept:
        cdef int32_t row = self.custom_of(position).protection
        return row >= 0 and self.protections[row].is_on

    def digest(self):
        """Hash of the logical state: a canonical walk, 8 bytes little-endian an integer.

        Rows that hold nothing but defaults are left out, so it makes no difference
        whether anybody ever looked at them. O(everything).
        """
        cdef Words words = Words()
        cdef int32_t i
        cdef asset_t *books
        self.require_idle()
        digest = hashlib.blake2b(digest_size=16)
        words.put(self.ts)
        words.put(self.trade_id)
        words.put(self.arrivals)
        words.put(self.asset_count)
        words.put(self.instrument_count)
        if self.bounded_steps:
            words.put(TURNS_TAG)
            words.put(self.bounded_steps)
        for i in range(self.asset_count):
            books = &self.assets[i]
            words.put(books.deposits)
            words.put(books.withdrawals)
            words.put(self.funds[books.pooled].balance)
            words.put(books.fees)
            words.put(books.rounding)
            words.put(books.external)
            digest_history(self, books.pooled, words)
            digest_named_funds(self, i, words)
            if books.collateral >= 0:
                digest_collateral(&self.collaterals[books.collateral], words)
        for i in range(self.instrument_count):
            digest_instrument(self, i, words)
        for _, i in sorted([(self.accounts[i].id, i) for i in range(self.account_count)]):
            digest_account(self, i, words)
            if words.count > 4096:
                words.flush(digest)
        for i in self.waiting:
            words.put(self.accounts[self.pools[i].account].id)
            words.put(self.pools[i].asset)
            words.put(leg_key(self.pools[i].symbol, self.pools[i].leg)
                      if self.pools[i].symbol >= 0 else NONE)
        words.flush(digest)
        return digest.digest()


cdef int digest_instrument(Digest core, int32_t symbol, Words words) except -1:
    cdef instrument_t *instrument = &core.instruments[symbol]
    cdef int k, side
    cdef int32_t level, order
    words.put(instrument.settle)
    words.put(instrument.marks_per_tick)
    words.put(instrument.contract.unit_value)
    words.put(instrument.maker_fee)
    words.put(instrument.taker_fee)
    words.put(instrument.liquidation_fee)
    words.put(instrument.price_band)
    words.put(instrument.max_order_quantity)
    words.put(instrument.max_open_orders)
    words.put(instrument.min_order_quantity)
    words.put(instrument.min_order_notional)
    words.put(instrument.max_order_notional)
    words.put(instrument.schedule.rule)
    words.put(instrument.schedule.count)
    for k in range(instrument.schedule.count):
        words.put(instrument.schedule.tiers[k].min_notional)
        words.put(instrument.schedule.tiers[k].max_notional)
        words.put(instrument.schedule.base_rate[k])
        words.put(instrument.schedule.base_leverage[k])
    digest_multipliers(instrument, words)
    words.put(instrument.mark)
    words.put(instrument.index_price)
    # Not `last_trade_seq`: like `seq` it numbers a command, and a state may be reached by other
    # commands, or with refused ones in between. Nothing in the engine goes by it.
    words.put(core.books[symbol].last_price)
    words.put(instrument.feed_seq)
    words.put(instrument.halt)
    words.put(instrument.fund.quantity)
    words.put(instrument.fund.entry_value)
    words.put(instrument.external.quantity)
    words.put(instrument.external.entry_value)
    row = profile_row(&instrument.profile)
    if row[:FUND_FIELDS] != DEFAULT_PROFILE[:FUND_FIELDS]:
        words.put(PROFILE_TAG)
        for value in row[:FIRST_FIELDS]:
            words.put(value)
    if row[FIRST_FIELDS:FUND_FIELDS] != DEFAULT_PROFILE[FIRST_FIELDS:FUND_FIELDS]:
        words.put(TAG_CLOSING)
        for value in row[FIRST_FIELDS:FUND_FIELDS]:
            words.put(value)
    for side in range(2):
        level = core.books[symbol].sides[side].best
        while level >= 0:
            order = core.books[symbol].levels[level].head
            while order >= 0:
                words.put(core.orders[order].price)
                words.put(core.owner_id(order))
                words.put(core.orders[order].order_id)
                order = core.orders[order].next
            level = core.books[symbol].levels[level].worse
    return digest_rarities(core, symbol, words)


# What only some have, behind a negative tag: nothing else here begins so.
cdef int digest_rarities(Digest core, int32_t symbol, Words words) except -1:
    cdef const instrument_t *instrument = &core.instruments[symbol]
    if instrument.contract.kind != KIND_LINEAR:
        words.put(TAG_KIND)
        words.put(instrument.contract.kind)
    if instrument.expiry_ts != NONE:
        words.put(TAG_EXPIRY)
        words.put(instrument.expiry_ts)
    if instrument.is_over:
        words.put(TAG_OVER)
    if core.slices_taken(symbol):
        words.put(TAG_SLICES)
        words.put(instrument.slices_since)
        words.put(instrument.slices_taken)
    digest_fund_terms(core, symbol, words)
    return digest_margin_terms(core, symbol, words)


# How the fund of a symbol works, behind tags of its own.
cdef int digest_fund_terms(Digest core, int32_t symbol, Words words) except -1:
    cdef const instrument_t *instrument = &core.instruments[symbol]
    cdef tuple row = profile_row(&instrument.profile)
    if row[FUND_FIELDS:SINGLE_FIELDS] != DEFAULT_PROFILE[FUND_FIELDS:SINGLE_FIELDS]:
        words.put(TAG_FUND_PROFILE)
        for value in row[FUND_FIELDS:SINGLE_FIELDS]:
            words.put(value)
    if core.funds[instrument.insurer].number != NONE:
        words.put(TAG_INSURER)
        words.put(core.funds[instrument.insurer].number)
    if instrument.workoff.lots or instrument.workoff.interval or instrument.workoff.done:
        words.put(TAG_WORKOFF)
        words.put(instrument.workoff.lots)
        words.put(instrument.workoff.interval)
        words.put(instrument.workoff.done)
    if row[OFFER_FIELDS:] != DEFAULT_PROFILE[OFFER_FIELDS:]:
        words.put(TAG_OFFER_PROFILE)
        for value in row[OFFER_FIELDS:]:
            words.put(value)
    if instrument.offer >= 0:
        words.put(TAG_OFFER)
        words.put(instrument.workoff.mark)
        digest_order(core, instrument.offer, words)
    return 0


# What margins of a symbol are made of besides its tiers, and whether its mark is to be trusted.
cdef int digest_margin_terms(Digest core, int32_t symbol, Words words) except -1:
    cdef const instrument_t *instrument = &core.instruments[symbol]
    if instrument.profile.closing_fee_reserve:
        words.put(TAG_CLOSING_FEE)
    if instrument.profile.maker_check:
        words.put(TAG_MAKER_CHECK)
    if instrument.mark_max_age != NONE:
        words.put(TAG_MARK_AGE)
        words.put(instrument.mark_max_age)
        words.put(instrument.mark_ts)
    if instrument.mark_band != NONE:
        words.put(TAG_MARK_BAND)
        words.put(instrument.mark_band)
    if instrument.pause:
        words.put(TAG_MARK_PAUSE)
        words.put(instrument.pause)
    if instrument.call_set:
        digest_call_set(&core.call_sets[instrument.call_set], TAG_PROFILE_CALLS, words)
    return 0


cdef int digest_multipliers(const instrument_t *instrument, Words words) except -1:
    if (instrument.schedule.maintenance_multiplier != RATE_SCALE
            or instrument.schedule.initial_multiplier != RATE_SCALE):
        words.put(TAG_MULTIPLIERS)
        words.put(instrument.schedule.maintenance_multiplier)
        words.put(instrument.schedule.initial_multiplier)
    if instrument.announced_ts != NONE:
        words.put(TAG_ANNOUNCED)
        words.put(instrument.announced_ts)
        words.put(instrument.announced_maintenance)
        words.put(instrument.announced_initial)
    return 0


# What an isolated pool that was never needed looks like.
cdef pool_t NO_POOL
memset(&NO_POOL, 0, sizeof(pool_t))


cdef int digest_named_funds(Digest core, int32_t asset, Words words) except -1:
    cdef int32_t row
    for row in range(core.fund_count):
        if core.funds[row].asset == asset and row != core.assets[asset].pooled:
            words.put(TAG_NAMED_FUND)
            words.put(core.funds[row].number)
            words.put(core.funds[row].balance)
            digest_history(core, row, words)
    return 0


# Balances of a fund that some profile may still look at.
cdef int digest_history(Digest core, int32_t fund, Words words) except -1:
    cdef int64_t until, balance
    for until, balance in core.fund_history.get(fund, ()):
        if until >= core.ts - core.funds[fund].window:
            words.put(FUND_TAG)
            words.put(until)
            words.put(balance)
    return 0


cdef int digest_collateral(const collateral_t *row, Words words) except -1:
    cdef int i
    words.put(TAG_COLLATERAL)
    words.put(row.value_asset)
    words.put(row.exponent)
    words.put(row.threshold)
    words.put(row.fee)
    words.put(row.price)
    words.put(row.count)
    for i in range(row.count):
        words.put(row.most[i])
        words.put(row.weight[i])
    return 0


cdef int digest_queued(Digest core, int32_t pool, Words words) except -1:
    cdef int64_t turn = core.turn_of.get(pool, 0)
    cdef int64_t until = core.cooling.get(pool, NONE)
    if turn or until != NONE:
        words.put(QUEUE_TAG)
        words.put(turn)
        words.put(until)
    if pool in core.pausing:
        words.put(TAG_PAUSE)
        words.put(core.pausing[pool])
    if pool in core.ramp_since:
        words.put(TAG_RAMP)
        words.put(core.ramp_since[pool])
        for key, lots in sorted([
            (leg_key(core.positions[row].symbol, core.positions[row].leg), lots)
            for row, lots in core.ramped.get(pool, {}).items()
        ]):
            words.put(key)
            words.put(lots)
    if core.pools[pool].is_waiting and core.pools[pool].is_patient:
        words.put(TAG_PATIENT)
    return 0


cdef int digest_pool(Digest core, const pool_t *pool, Words words) except -1:
    words.put(pool.balance)
    words.put(pool.call_level)
    words.put(pool.in_queue)
    words.put(pool.is_waiting)
    words.put(pool.is_bankrupt)
    words.put(pool.steps if pool.in_queue else 0)
    if pool.call_level and pool.call_set != core.accounts[pool.account].call_set:
        digest_call_set(&core.call_sets[pool.call_set], TAG_PROFILE_CALLS, words)
    return 0


cdef int digest_account(Digest core, int32_t account, Words words) except -1:
    cdef int32_t pool = core.accounts[account].first_wallet
    cdef int32_t row = core.accounts[account].first_position
    cdef int32_t order
    cdef position_t *position
    cdef const open_orders_t *own
    cdef int64_t margin
    words.put(core.accounts[account].id)
    # One-way accounts have nothing in the upper half, of this and of positions' symbols.
    words.put(core.accounts[account].margin_mode
              | <int64_t>core.accounts[account].position_mode << 32)
    words.put(core.accounts[account].stp_group)
    words.put(core.accounts[account].dead_man)
    if core.accounts[account].owns_calls:
        digest_call_set(
            &core.call_sets[core.accounts[account].call_set], TAG_CALL_LEVELS, words)
    if account in core.parents:
        words.put(TAG_PARENT)
        words.put(core.accounts[<int32_t>core.parents[account]].id)
    if core.backstops:
        digest_backstops(core, account, words)
    if account in core.multipliers:
        words.put(TAG_ACCOUNT_MULTIPLIER)
        words.put(core.multipliers[account])
    while pool >= 0:
        if (core.pools[pool].balance or core.pools[pool].call_level
                or core.pools[pool].in_queue):
            words.put(core.pools[pool].asset)
            digest_pool(core, &core.pools[pool], words)
            if core.pools[pool].in_queue:
                digest_queued(core, pool, words)
        pool = core.pools[pool].next_in_account
    while row >= 0:
        position = &core.positions[row]
        own = core.orders_of(row)
        row = position.next_in_account
        margin = 0
        if position.isolated >= 0:
            margin = core.pools[position.isolated].balance
        if (position.quantity == 0 and own.count == 0 and margin == 0
                and core.custom_of(position).leverage == 0 and not core.is_protected(position)
                and not tops_up(position)
                and position.margin_mode == core.accounts[account].margin_mode):
            continue
        words.put(leg_key(position.symbol, position.leg))
        words.put(position.quantity)
        words.put(position.entry_value)
        words.put(core.custom_of(position).leverage)
        words.put(position.margin_mode)
        if position.isolated >= 0:
            digest_pool(core, &core.pools[position.isolated], words)
            if core.pools[position.isolated].in_queue:
                digest_queued(core, position.isolated, words)
        else:
            digest_pool(core, &NO_POOL, words)
        digest_protection(core, position, words)
        if tops_up(position):
            words.put(TAG_AUTO_TOP_UP)
        order = own.first
        while order >= 0:
            digest_order(core, order, words)
            order = core.tickets[order].own_next
    return 0


cdef int digest_backstops(Digest core, int32_t account, Words words) except -1:
    for key, promise in sorted(core.backstops.items()):
        if key[0] == account:
            words.put(TAG_BACKSTOP)
            for value in (*key[1:], *promise):
                words.put(value)
    return 0


cdef int digest_call_set(const call_set_t *calls, int64_t tag, Words words) except -1:
    cdef int i
    words.put(tag)
    words.put(calls.count)
    for i in range(calls.count):
        words.put(calls.levels[i])
    return words.put(calls.hysteresis)


cdef int digest_protection(Digest core, const position_t *position, Words words) except -1:
    cdef protection_t *row
    if not core.is_protected(position):
        return words.put(NONE)
    row = &core.protections[core.custom_of(position).protection]
    words.put(row.window)
    words.put(row.quantity)
    words.put(row.count)
    words.put(row.freeze)
    words.put(row.start)
    words.put(row.lots)
    words.put(row.trades)
    # A freeze that is over is none.
    return words.put(
        row.frozen_until
        if row.frozen_until == MONEY_MAX or row.frozen_until > core.ts else 0)


cdef int digest_order(Digest core, int32_t row, Words words) except -1:
    cdef order_t *order = &core.orders[row]
    cdef ticket_t *ticket = &core.tickets[row]
    words.put(order.order_id)
    words.put(order.side)
    words.put(order.price)
    words.put(ticket.quantity)
    words.put(order.leaves)
    words.put(ticket.time_in_force)
    words.put(ticket.is_post_only)
    words.put(order.is_reduce_only)
    words.put(order.stp)
    words.put(ticket.kind)
    words.put(ticket.arrival)
    words.put(order.hidden)
    return digest_special(core, row, words)


cdef int digest_special(Digest core, int32_t row, Words words) except -1:
    cdef int32_t at = core.tickets[row].special
    cdef special_t plain
    cdef special_t *special = &plain
    plain.trigger_price = plain.callback_rate = plain.peak = plain.display = NONE
    plain.expire_ts = plain.parent_id = NONE
    plain.group = plain.bracket = NIL
    plain.trigger_by = -1
    plain.close_position = 0
    if at >= 0:
        special = &core.specials[at]
    words.put(special.trigger_price)
    words.put(special.trigger_by if special.trigger_by >= 0 else NONE)
    words.put(special.callback_rate)
    words.put(special.display)
    words.put(special.expire_ts)
    words.put(special.close_position)
    words.put(core.groups[special.group].oco if special.group >= 0 else NONE)
    words.put(special.parent_id)
    words.put(core.tickets[row].state == ORDER_PENDING)
    words.put(special.peak)
    if special.bracket >= 0 and core.brackets[special.bracket].entry == row:
        return digest_bracket(core, &core.brackets[special.bracket], words)
    words.put(NONE)
    words.put(NONE)
    words.put(NONE)
    words.put(NONE)
    return words.put(0)


# Children that wait for the entry's first fill, then those that stand for its fills.
cdef int digest_bracket(Digest core, const bracket_t *bracket, Words words) except -1:
    cdef int32_t child
    cdef int which
    for which in range(2):
        child = bracket.child[which]
        if child < 0 or bracket.armed:
            words.put(NONE)
            continue
        words.put(core.orders[child].order_id)
        words.put(core.specials[core.tickets[child].special].trigger_price)
        words.put(core.specials[core.tickets[child].special].trigger_by)
        words.put(core.orders[child].price)
    for which in range(2):
        child = bracket.child[which]
        words.put(core.orders[child].order_id if child >= 0 and bracket.armed else NONE)
    return words.put(bracket.armed)
