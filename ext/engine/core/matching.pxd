# Matching with money behind it: what trades and cancels do to their owners, what a sweep
# would cost, and what open orders reserve.

from libc.stdint cimport int32_t, int64_t

from engine.core.contracts cimport contract_t, notional_at, notional_fits, value_side, worth_at
from engine.core.fixed cimport (
    add, i128, max64, min64, mul, mul_wide, narrow, overflows, sub, sub_checked, wide,
)
from engine.core.ledger cimport instrument_t, position_t
from engine.core.makers cimport Makers
from engine.core.types cimport (
    KIND_INVERSE, MODE_CROSS, MODE_ISOLATED, MONEY_MAX, NIL, SIDE_BUY, WORKOFF_PASSIVE,
    WORKOFF_TWAP,
)

# What an order would add to its side of a symbol: value and loss against mark.
cdef struct terms_t:
    int64_t lots
    int64_t value                # minor units; MONEY_MAX + 1 and more: beyond the range
    int64_t loss                 # minor units, against mark

# What a position stands for at the mark.
cdef struct stake_t:
    int64_t held                 # its notional, + for a long
    int64_t own                  # its initial margin
    int64_t leverage

# A sweep that is only rehearsed, so far.
cdef struct trial_t:
    int32_t taker
    int stp                      # StpMode, or STP_OWN_POSITION
    int64_t wanted               # lots not found yet
    int64_t lots
    i128 value, loss
    bint is_over                 # the taker would have been cancelled
    bint checks_makers
    bint keeps_fills             # in `fills`

# Lots of an order's row.
cdef struct part_t:
    int32_t row
    int64_t lots

cdef enum:
    STP_OWN_POSITION = 100       # rehearsals only: step over orders of the same position

# What may be given away of a sum that may be below zero, and beyond the money range.
cdef inline int64_t as_amount(i128 a) except? -1 nogil:
    if a <= wide(0):
        return 0
    return narrow(a) if a < wide(MONEY_MAX) else MONEY_MAX


# Whether the fund trades so much of its inventory in an interval, and no more.
cdef inline bint is_paced(int64_t workoff) noexcept nogil:
    return workoff == WORKOFF_TWAP or workoff == WORKOFF_PASSIVE

cdef class Matching(Makers):
    cdef int64_t traded_value    # of the sweep under way, minor units
    cdef bint is_uncrossing      # both sides of a trade rest
    cdef int32_t offer_count     # resting orders of the fund, at most one a symbol
    # Of the rehearsal under way: lots by position row (makers with reduce-only orders) and by
    # group row. Kept, for most rehearsals need neither.
    cdef dict held, linked
    cdef part_t *fills           # what the latest that kept them would trade with
    cdef part_t *rounds          # icebergs of a level that get another turn
    cdef int32_t fill_count, fill_capacity, round_count, round_room

    cdef int link_order(self, int32_t order) except -1 nogil
    cdef int sync_reserve(self, int32_t order, int64_t lots) except -1 nogil
    cdef int32_t retire_order(self, int32_t order) except -2 nogil
    cdef int unlink_order(self, int32_t order) except -1 nogil
    cdef int withdraw_offer(self, int32_t symbol, int reason) except -1 nogil
    cdef int drop_offer(self, int32_t symbol) except -1 nogil
    cdef int cancel_order(self, int32_t order, int reason) except -1 nogil
    # Hooks for orders that are tied to others, and for protection; plain orders have none.
    cdef int note_fill(self, int32_t order, int64_t lots) except -1 nogil
    cdef int on_fill(self, int32_t order, int64_t lots) except -1 nogil
    cdef int32_t untie(self, int32_t order) except -2 nogil
    cdef int dissolve_group(self, int32_t group) except -1 nogil
    cdef int32_t group_of(self, int32_t order) noexcept nogil
    cdef int64_t display_of(self, int32_t order) noexcept nogil
    cdef bint is_bound(self, int32_t order) noexcept nogil
    cdef bint is_listed(self, int32_t order) noexcept nogil
    cdef int count_maker_fill(self, int32_t position, int64_t lots) except -1 nogil
    cdef int settle_maker(self, int32_t maker, int64_t lots) except -1 nogil
    cdef int settle_fund(self, int32_t symbol, int64_t quantity, int64_t value) except -1 nogil
    cdef int drop_reduce_only(self, int32_t position) except -1 nogil
    cdef int drop_idle(self, int32_t position) except -1 nogil
    cdef int cancel_each(self, list chosen, int reason) except -1
    cdef int64_t band_limit(self, int32_t symbol, int side) except? -1 nogil
    cdef int rehearse(
        self, int32_t taker, int64_t limit, int stp, terms_t *terms,
        bint keeps_fills=*) except -1 nogil
    cdef int rehearse_level(self, int32_t level, trial_t *trial) except -1 nogil
    cdef int rehearse_icebergs(self, int32_t level, trial_t *trial) except -1 nogil
    cdef int rehearse_part(
        self, int32_t row, int64_t own, trial_t *trial) except -1 nogil
    cdef int64_t rehearse_maker(
        self, int32_t row, int64_t shown, int64_t left, trial_t *trial) except? -1 nogil
    cdef int64_t linked_lots(self, int32_t group) except? -1 nogil
    cdef int link_lots(self, int32_t group, int64_t lots) except -1 nogil
    cdef bint rehearse_check(self, int32_t row, int64_t fill, trial_t *trial) except -1 nogil
    cdef bint rehearse_own(self, int32_t row, int64_t left, trial_t *trial) except -1 nogil
    cdef int64_t rehearse_reduce_only(
        self, int32_t maker, int64_t fill, trial_t *trial) except? -1 nogil

    # order margin
    cdef int64_t losses(self, int32_t position, int side, int32_t without) except? -1 nogil
    cdef bint has_losses(self, int32_t position, int side) noexcept nogil
    cdef int sum_losses(self, int32_t position, int side) except -1 nogil
    cdef int weigh(self, int32_t position, stake_t *stake) except -1 nogil
    cdef int64_t side_margin(
        self, int32_t position, const stake_t *stake, int side, i128 total, int64_t loss
    ) except? -1 nogil
    cdef int64_t order_margin(self, int32_t position) except? -1 nogil
    cdef int64_t order_margin_with(
        self, int32_t position, int side, const terms_t *extra, int32_t without) except? -1 nogil
    cdef int64_t exposure(
        self, int32_t position, int side, const terms_t *extra, int32_t without) except? -1 nogil
    cdef i128 spare_margin(self, int32_t wallet, int32_t known, int64_t reserved) except? -1 nogil
    cdef int64_t free_margin(self, int32_t wallet) except? -1 nogil
    cdef int64_t withdrawable(self, int32_t wallet) except? -1 nogil

    # --- small enough to be inlined everywhere ----------------------------------------

    # Lots by which an order of `side` may still reduce a position.
    cdef inline int64_t reducible_by(self, int32_t position, int side) noexcept nogil:
        cdef int64_t held = self.positions[position].quantity
        return max64(0, -held) if side == SIDE_BUY else max64(0, held)

    # Lots by which an order of `side` may still reduce the fund's inventory.
    cdef inline int64_t inventory_of(self, int32_t symbol, int side) noexcept nogil:
        cdef int64_t held = self.instruments[symbol].fund.quantity
        return max64(0, -held) if side == SIDE_BUY else max64(0, held)

    # Worth of lots at a price in ticks; the caller knows that it fits.
    cdef inline int64_t worth_at_tick(
        self, int32_t symbol, int64_t lots, int64_t price
    ) except? -1 nogil:
        cdef const instrument_t *instrument = &self.instruments[symbol]
        cdef int64_t out
        if instrument.contract.kind == KIND_INVERSE:
            return worth_at(&instrument.contract, lots, price * instrument.marks_per_tick)
        if overflows(lots, price, instrument.marks_per_tick, &out) or overflows(
                out, instrument.contract.unit_value, 1, &out):
            return narrow(mul_wide(
                mul(lots, price),
                narrow(mul(instrument.marks_per_tick, instrument.contract.unit_value))))
        return out

    # Notional of lots at a price in ticks.
    cdef inline int64_t notional_at_tick(
        self, int32_t symbol, int64_t lots, int64_t price
    ) except? -1 nogil:
        cdef const instrument_t *instrument = &self.instruments[symbol]
        if instrument.contract.kind == KIND_INVERSE:
            return notional_at(&instrument.contract, lots, price * instrument.marks_per_tick)
        return self.worth_at_tick(symbol, lots, price)

    # What a losing order counts with at its price: up where it owes that, down where it
    # owes the worth at the mark.
    cdef inline int64_t losing_worth(
        self, int32_t symbol, int side, int64_t lots, int64_t price
    ) except? -1 nogil:
        if side == value_side(&self.instruments[symbol].contract):
            return self.notional_at_tick(symbol, lots, price)
        return self.worth_at_tick(symbol, lots, price)

    # Whether a price in ticks is within the range of marks.
    cdef inline bint price_fits(self, int32_t symbol, int64_t price) noexcept nogil:
        return mul(price, self.instruments[symbol].marks_per_tick) <= wide(MONEY_MAX)

    # What trading lots at a price in ticks loses against the mark, rounded up.
    cdef inline int64_t loss_at(
        self, int32_t symbol, int side, int64_t lots, int64_t price
    ) except? -1 nogil:
        if not self.is_losing(symbol, side, price):
            return 0
        if side == value_side(&self.instruments[symbol].contract):
            return self.losing_worth(symbol, side, lots, price) - self.marked_worth(symbol, lots)
        return self.marked_notional(symbol, lots) - self.losing_worth(symbol, side, lots, price)

    # Whether orders at a price lose against the mark when they trade.
    cdef inline bint is_losing(self, int32_t symbol, int side, int64_t price) noexcept nogil:
        cdef const instrument_t *instrument = &self.instruments[symbol]
        cdef i128 marks = mul(price, instrument.marks_per_tick)
        return marks > wide(instrument.mark) if side == SIDE_BUY else (
            marks < wide(instrument.mark))

    # Loss against mark if all of a side's orders filled at their prices. O(1), but O(the
    # owner's orders of the symbol) where one may lie beyond a mark that has moved since.
    cdef inline int64_t side_loss(
        self, int32_t position, int side, int32_t without
    ) except? -1 nogil:
        if not self.is_losing(
                self.positions[position].symbol, side,
                self.orders_of(position).extreme_price[side]):
            return 0
        return self.losses(position, side, without)

    # Value of a side's orders, with an extra order and without another.
    cdef inline i128 side_total(
        self, int32_t position, int side, const terms_t *extra, int32_t without
    ) except? -1 nogil:
        cdef i128 total = add(
            wide(self.orders_of(position).side_value[side]), wide(extra.value))
        if without >= 0 and self.orders[without].side == side:
            total = sub(total, wide(self.notional_at_tick(
                self.orders[without].symbol, self.tickets[without].reserved,
                self.orders[without].price)))
        return total

    # Order margin of all symbols that settle in a wallet's asset: a sum that may leave the money
    # range. Of one position (NIL: of none) what it reserves is known already.
    cdef inline i128 orders_reserve(
        self, int32_t wallet, bint isolated_only, int32_t known, int64_t reserved
    ) except? -1 nogil:
        cdef i128 total = wide(0)
        cdef int32_t row = self.accounts[self.pools[wallet].account].first_position
        while row >= 0:
            if (self.orders_of(row).count and self.positions[row].wallet == wallet
                    and not (isolated_only and self.positions[row].margin_mode == MODE_CROSS)):
                total = add(total, wide(
                    reserved if row == known else self.order_margin(row)))
            row = self.positions[row].next_in_account
        return total

    # What new orders of a symbol may reserve; may be negative. Isolated margin is paid from
    # the wallet itself, not from unrealized profit.
    cdef inline i128 free_for(
        self, int32_t position, int32_t known, int64_t reserved
    ) except? -1 nogil:
        cdef int32_t wallet = self.positions[position].wallet
        cdef i128 free = self.spare_margin(wallet, known, reserved)
        cdef i128 own
        if self.positions[position].margin_mode == MODE_ISOLATED:
            own = sub(wide(self.pools[wallet].balance),
                      self.orders_reserve(wallet, True, known, reserved))
            free = own if own < free else free
        return free
