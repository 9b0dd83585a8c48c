"""Accounts that take over what the book does not, as far as they have promised."""

from engine.core.contracts cimport value_sign
from engine.core.fixed cimport (
    abs64, add, add_checked, ceil_div, floor_div, i128, max64, min64, mul, narrow, sub, sub_checked,
    wide,
)
from engine.core.ledger cimport instrument_t
from engine.core.tiers cimport initial_margin, maintenance_margin, schedule_t
from engine.core.types cimport (
    EVENT_BACKSTOP_TAKEOVER, KIND_INVERSE, MODE_ISOLATED, MONEY_MAX, NIL, NONE, RATE_SCALE,
    SIDE_BUY, SIDE_SELL,
)


cdef class Backstops(Fund):
    """Who has promised to take over, and what each of them can."""

    def __cinit__(self):
        self.backstops = {}

    # Promises that count for a symbol: the largest first, ties by account; of one account that
    # for the symbol comes before that for the settle asset.
    cdef list backstop_keys(self, int32_t symbol):
        cdef list rows = []
        cdef tuple key
        for key, promise in self.backstops.items():
            if key[2] == symbol or key[1] == self.instruments[symbol].settle:
                rows.append((
                    -promise[0], self.accounts[<int32_t>key[0]].id, key[2] == NONE, key))
        return [key for _, _, _, key in sorted(rows)]

    # Let backstops take over lots of a position in liquidation; what is left is returned.
    cdef int64_t give_to_backstops(
        self, int32_t position, int side, int64_t lots, int64_t bound
    ) except? -1 with gil:
        for key in self.backstop_keys(self.positions[position].symbol):
            if lots:
                lots -= self.give_to_backstop(key, position, side, lots, bound)
        return lots

    # Lots that one of them takes over, at the price, without fees.
    cdef int64_t give_to_backstop(
        self, tuple key, int32_t position, int side, int64_t lots, int64_t bound
    ) except? -1:
        cdef int32_t symbol = self.positions[position].symbol
        cdef int32_t owner = key[0]
        cdef int sign = 1 if side == SIDE_BUY else -1
        cdef int32_t counter
        cdef int64_t commitment, discount, used, price, taken, value
        cdef int64_t *out
        if owner == self.positions[position].account:
            return 0
        commitment, discount, used = self.backstops[key]
        # Of a hedge account the leg that this opens.
        counter = self.position_at(owner, symbol, self.leg_of_sign(owner, side == SIDE_SELL))
        price = self.backstop_price(symbol, side, bound, discount)
        taken = self.bearable_lots(
            counter, side, min64(lots, self.promised_lots(symbol, commitment - used)), price)
        if taken == 0:
            return 0
        value = value_sign(&self.instruments[symbol].contract, side) * self.worth_at_tick(
            symbol, taken, price)
        self.settle_fill(position, sign * taken, value)
        self.settle_fill(counter, -sign * taken, -value)
        self.drop_reduce_only(position)
        self.drop_reduce_only(counter)
        used += self.marked_notional(symbol, taken)
        self.backstops[key] = (commitment, discount, used)
        out = self.emit(EVENT_BACKSTOP_TAKEOVER)
        out[0] = self.accounts[owner].id
        out[1] = self.accounts[self.positions[position].account].id
        out[2] = symbol
        out[3] = SIDE_BUY if side == SIDE_SELL else SIDE_SELL
        out[4] = taken
        out[5] = price
        out[6] = commitment - used
        out[7] = self.positions[counter].leg
        return taken

    # Price in ticks: the bound, or the mark less a discount, but never beyond the bound. Rounded
    # in the backstop's favour: a sell down, a buy up.
    cdef int64_t backstop_price(
        self, int32_t symbol, int side, int64_t bound, int64_t discount
    ) except? -1 nogil:
        cdef const instrument_t *instrument = &self.instruments[symbol]
        cdef i128 per_tick = mul(RATE_SCALE, instrument.marks_per_tick)
        if discount == NONE:
            return bound
        if side == SIDE_SELL:
            return max64(bound, narrow(floor_div(
                mul(instrument.mark, RATE_SCALE - discount), per_tick)))
        return min64(bound, narrow(ceil_div(
            mul(instrument.mark, RATE_SCALE + discount), per_tick)))

    # Lots whose notional at the mark is within what is left of a promise; floor.
    cdef int64_t promised_lots(self, int32_t symbol, int64_t left) except? -1 nogil:
        cdef const instrument_t *instrument = &self.instruments[symbol]
        cdef i128 lots
        if instrument.contract.kind == KIND_INVERSE:
            lots = floor_div(mul(left, instrument.mark), wide(instrument.contract.unit_value))
        else:
            lots = floor_div(wide(left), mul(instrument.mark, instrument.contract.unit_value))
        return narrow(lots) if lots <= wide(MONEY_MAX) else MONEY_MAX

    # Lots that a backstop's cross pool can pay for out of what is available to it. Found by
    # bisection.
    cdef int64_t bearable_lots(
        self, int32_t counter, int side, int64_t most, int64_t price
    ) except? -1 nogil:
        cdef int32_t wallet = self.positions[counter].wallet
        cdef int64_t low = 0, high = most, middle = most
        cdef i128 free
        if self.positions[counter].margin_mode == MODE_ISOLATED or self.pools[wallet].in_queue:
            return 0
        free = self.spare_margin(wallet, NIL, 0)
        while low < high:
            if self.backstop_bears(counter, side, middle, price, free):
                low = middle
            else:
                high = middle - 1
            middle = low + (high - low + 1) // 2
        return low

    # Whether what so many lots ask of initial margin and lose against the mark is available, and
    # the pool's equity then is above its maintenance margin.
    cdef bint backstop_bears(
        self, int32_t counter, int side, int64_t lots, int64_t price, i128 free
    ) except -1 nogil:
        cdef int32_t symbol = self.positions[counter].symbol
        cdef const instrument_t *instrument = &self.instruments[symbol]
        cdef const schedule_t *schedule = self.schedule_of(&self.positions[counter])
        cdef int64_t held = self.positions[counter].quantity
        cdef int64_t after = held - lots if side == SIDE_BUY else held + lots
        cdef int64_t equity, maintenance, gain, notional, initial = 0, needed = 0
        cdef i128 asked
        self.measure(self.positions[counter].wallet, &equity, &maintenance)
        gain = add_checked(
            value_sign(&instrument.contract, side) * self.worth_at_tick(symbol, lots, price),
            sub_checked(
                self.value(symbol, after, instrument.mark),
                self.value(symbol, held, instrument.mark)))
        if after:
            notional = self.marked_notional(symbol, abs64(after))
            initial = initial_margin(schedule, notional, self.leverage_of(counter))
            needed = maintenance_margin(schedule, notional)
        asked = add(
            wide(max64(0, initial - self.initial(counter))), wide(max64(0, -gain)))
        return asked <= free and add(wide(equity), wide(gain)) > sub(
            add(wide(maintenance), wide(needed)), wide(self.maintenance(counter)))
