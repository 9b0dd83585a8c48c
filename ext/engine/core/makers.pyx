"""Whether makers can bear their fills."""

from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport free

from engine.core.contracts cimport split_value, value_sign, worth_at
from engine.core.fixed cimport (
    abs64, add, add_checked, i128, max64, sub, sub_checked, wide,
)
from engine.core.ledger cimport instrument_t
from engine.core.memory cimport larger
from engine.core.tiers cimport (
    initial_margin, isolated_fill, isolated_pay, isolated_t, maintenance_margin, trade_fee,
)
from engine.core.types cimport MODE_ISOLATED, SIDE_BUY


cdef class Makers(Pledges):
    """The ledger, tried out."""

    def __cinit__(self):
        self.holdings_rows = {}

    def __dealloc__(self):
        free(self.holdings)

    cdef int forget_holdings(self) except -1 with gil:
        self.holdings_count = 0
        self.holdings_rows.clear()
        return 0

    # What the owner of a position would hold by now; good until the next call.
    cdef holdings_t *rehearsed(self, int32_t position) except NULL with gil:
        cdef int32_t account = self.positions[position].account
        cdef int32_t row = self.holdings_rows.get(account, -1)
        if row < 0:
            row = self.holdings_count
            if row == self.holdings_capacity:
                self.holdings = <holdings_t *>larger(
                    self.holdings, &self.holdings_capacity, row + 1, sizeof(holdings_t))
            self.take_stock(position, &self.holdings[row])
            self.holdings_count += 1
            self.holdings_rows[account] = row
        return &self.holdings[row]

    # What the owner of a position has now. O(open positions).
    cdef int take_stock(self, int32_t position, holdings_t *held) except -1 nogil:
        cdef int32_t symbol = self.positions[position].symbol
        cdef int32_t wallet = self.positions[position].wallet
        cdef instrument_t *instrument = &self.instruments[symbol]
        cdef int32_t row = self.pools[wallet].first_open
        cdef int32_t legs[2]
        cdef isolated_t *leg
        cdef int i
        held.account = self.positions[position].account
        held.is_isolated = self.positions[position].margin_mode == MODE_ISOLATED
        held.wallet = self.pools[wallet].balance
        held.cash, held.spare = wide(held.wallet), wide(0)
        if self.pools[wallet].first_pledge >= 0:
            held.spare = wide(self.collateral_of(wallet))
        while row >= 0:
            if self.positions[row].symbol != symbol:
                held.spare = add(held.spare, sub(
                    wide(self.unrealized(row)), wide(self.initial(row))))
            row = self.positions[row].next_open
        for i in range(3):
            held.legs[i].quantity = 0
        legs[0], legs[1] = position, self.twin_of(position)
        for row in legs:
            if row < 0:
                continue
            leg = &held.legs[self.positions[row].leg]
            leg.quantity, leg.entry_value = (
                self.positions[row].quantity, self.positions[row].entry_value)
            leg.margin = 0
            if self.positions[row].isolated >= 0:
                leg.margin = self.pools[self.positions[row].isolated].balance
            leg.leverage = self.leverage_of(row)
            leg.contract, leg.mark = &instrument.contract, instrument.mark
            leg.schedule = self.schedule_of(&self.positions[row])
            held.cash = sub(held.cash, wide(leg.entry_value))
        return 0

    # Book a fill and its fee, as the ledger would.
    cdef int try_fill(
        self, holdings_t *held, int32_t position, int side, int64_t lots, int64_t price,
        int64_t rate
    ) except -1 nogil:
        cdef instrument_t *instrument = &self.instruments[self.positions[position].symbol]
        cdef isolated_t *leg = &held.legs[self.positions[position].leg]
        cdef int64_t worth = worth_at(
            &instrument.contract, lots, price * instrument.marks_per_tick)
        cdef int64_t value = value_sign(&instrument.contract, side) * worth
        cdef int64_t fee = trade_fee(worth, rate)
        cdef int64_t quantity = lots if side == SIDE_BUY else -lots
        if held.is_isolated:
            isolated_fill(leg, quantity, value, &held.wallet)
            return isolated_pay(leg, fee, &held.wallet)
        leg.quantity = add_checked(leg.quantity, quantity)
        held.cash = sub(held.cash, add(wide(value), wide(fee)))
        return 0

    # Whether a maker's account could carry a fill at the maker's price. What only reduces its
    # position it always can. Else its cross pool must cover its initial margin after the
    # fill; of an isolated position the wallet must bring all that the opening asks for, and
    # the position must not be due at once.
    cdef bint can_carry(self, const holdings_t *held, int32_t maker, int64_t lots) except -1 nogil:
        cdef int32_t position = self.tickets[maker].position
        cdef int32_t symbol = self.orders[maker].symbol
        cdef instrument_t *instrument = &self.instruments[symbol]
        cdef int side = self.orders[maker].side
        cdef int sign = 1 if side == SIDE_BUY else -1
        cdef int own = self.positions[position].leg
        cdef int64_t closing = max64(0, -sign * held.legs[own].quantity)
        cdef int64_t equity, quantity
        cdef holdings_t after
        cdef isolated_t *leg
        cdef i128 spare
        cdef int i
        if self.orders[maker].is_reduce_only or lots <= closing:
            return True
        if held.is_isolated and not self.can_open(held, maker, lots, closing):
            return False
        after = held[0]
        self.try_fill(
            &after, position, side, lots, self.orders[maker].price, instrument.maker_fee)
        if held.is_isolated:
            leg = &after.legs[own]
            equity = sub_checked(
                add_checked(leg.margin, self.value(symbol, leg.quantity, instrument.mark)),
                leg.entry_value)
            return equity > maintenance_margin(
                leg.schedule, self.marked_notional(symbol, abs64(leg.quantity))
            ) and add(wide(after.wallet), after.spare) >= wide(0)
        spare = add(after.cash, after.spare)
        for i in range(3):
            quantity = after.legs[i].quantity
            if quantity:
                spare = add(spare, wide(self.value(symbol, quantity, instrument.mark)))
                spare = sub(spare, wide(initial_margin(
                    after.legs[i].schedule, self.marked_notional(symbol, abs64(quantity)),
                    after.legs[i].leverage)))
        return spare >= wide(0)

    # Whether the wallet has all that an isolated opening moves, once the rest is closed.
    cdef bint can_open(
        self, const holdings_t *held, int32_t maker, int64_t lots, int64_t closing
    ) except -1 nogil:
        cdef int32_t position = self.tickets[maker].position
        cdef instrument_t *instrument = &self.instruments[self.orders[maker].symbol]
        cdef int side = self.orders[maker].side
        cdef int sign = 1 if side == SIDE_BUY else -1
        cdef int64_t value = value_sign(&instrument.contract, side) * worth_at(
            &instrument.contract, lots, self.orders[maker].price * instrument.marks_per_tick)
        cdef holdings_t after = held[0]
        cdef isolated_t *leg = &after.legs[self.positions[position].leg]
        cdef int64_t part
        if closing:
            part = split_value(value, closing, lots)
            isolated_fill(leg, sign * closing, part, &after.wallet)
            value -= part
        return self.isolated_share(
            position, abs64(value), abs64(leg.quantity + sign * (lots - closing))
        ) <= max64(0, after.wallet)

    cdef bint may_match(self, int32_t maker, int64_t lots) except -1 nogil:
        cdef holdings_t held
        if self.orders[maker].is_reduce_only:  # the fund's, too, which has no position
            return True
        self.take_stock(self.tickets[maker].position, &held)
        return self.can_carry(&held, maker, lots)
