"""Limits of the insurance fund, and losses that are shared when it cannot pay."""

from engine.core.contracts cimport notional_of_value
from engine.core.fixed cimport abs64, add_checked, max64, min64, mul, sub_checked
from engine.core.ledger cimport instrument_t
from engine.core.tiers cimport maintenance_margin
from engine.core.types cimport (
    EVENT_SOCIALIZED_LOSS, INSURANCE_DEFICIT, INSURANCE_FALLBACK, NIL, NONE, RATE_SCALE, SIDE_BUY,
)


cdef class Fund(Deleveraging):
    """What the fund may take over, and who pays beyond it."""

    # Balance of a fund, plus profit, less maintenance margin of its whole inventory at
    # mark, with `lots` of `symbol` (NIL: nothing) added at `added_value`. The fund may take a
    # position over, and may be drained, while this stays at or above zero.
    cdef int64_t fund_free(
        self, int32_t fund, int32_t symbol, int64_t lots, int64_t added_value
    ) except? -1 nogil:
        cdef int64_t spare = self.funds[fund].balance
        if symbol < 0 or symbol != self.known_symbol or fund != self.known_fund:
            self.know_rest(fund, symbol)
        spare = add_checked(spare, self.known_rest)
        if symbol < 0 or self.instruments[symbol].insurer != fund:
            return spare
        return add_checked(spare, self.fund_part(symbol, lots, added_value))

    # Add up a fund's inventory but for that of a symbol (NIL: all of it). Steps that change
    # from symbol to symbol go on from the sum of the one before. O(symbols) else.
    cdef int know_rest(self, int32_t fund, int32_t symbol) except -1 nogil:
        cdef int32_t known = self.known_symbol, i
        if known >= 0 and symbol >= 0 and fund == self.known_fund:
            if self.instruments[known].insurer == fund:
                self.known_rest = add_checked(self.known_rest, self.fund_part(known, 0, 0))
            if self.instruments[symbol].insurer == fund:
                self.known_rest = sub_checked(self.known_rest, self.fund_part(symbol, 0, 0))
        else:
            self.known_rest = 0
            for i in range(self.instrument_count):
                if i != symbol and self.instruments[i].insurer == fund:
                    self.known_rest = add_checked(self.known_rest, self.fund_part(i, 0, 0))
        self.known_symbol, self.known_fund = symbol, fund
        return 0

    # What the inventory of one symbol, with lots added, brings in at mark and asks for.
    cdef int64_t fund_part(
        self, int32_t symbol, int64_t lots, int64_t added_value
    ) except? -1 nogil:
        cdef instrument_t *instrument = &self.instruments[symbol]
        cdef int64_t quantity = add_checked(instrument.fund.quantity, lots)
        cdef int64_t entry_value = add_checked(instrument.fund.entry_value, added_value)
        cdef int64_t worth, profit
        if quantity == 0 or instrument.mark == NONE:
            return -entry_value
        worth = self.value(symbol, quantity, instrument.mark)
        profit = sub_checked(worth, entry_value)
        return sub_checked(profit, maintenance_margin(
            &instrument.schedule, notional_of_value(
                &instrument.contract, quantity, worth, instrument.mark)))

    # Whether a symbol's fund has what it is short of, with help of the pooled one: if the profile
    # lets it that gives what is missing, all or nothing, as far as its own inventory lets it.
    cdef bint find_help(self, int32_t symbol, int64_t missing, int64_t account) except -1 nogil:
        cdef int32_t fund = self.instruments[symbol].insurer
        cdef int32_t pooled = self.assets[self.instruments[symbol].settle].pooled
        if missing <= 0:
            return True
        if not self.instruments[symbol].profile.fund_fallback or fund == pooled or (
                missing > min64(self.funds[pooled].balance, self.fund_free(pooled, NIL, 0, 0))):
            return False
        self.change_insurance(pooled, -missing, INSURANCE_FALLBACK, account)
        self.change_insurance(fund, missing, INSURANCE_FALLBACK, account)
        return True

    # Pay a deficit that just arose: the fund of a symbol, then the pooled one if it may; without
    # a symbol (NIL) the pooled one alone.
    cdef int cover(self, int32_t pool, int32_t symbol) except -1 nogil:
        cdef int32_t pooled = self.assets[self.pools[pool].asset].pooled
        if symbol >= 0 and self.instruments[symbol].insurer != pooled:
            self.pay_deficit(pool, self.instruments[symbol].insurer)
            if not self.instruments[symbol].profile.fund_fallback:
                return 0
        return self.pay_deficit(pool, pooled)

    cdef int pay_deficit(self, int32_t pool, int32_t fund) except -1 nogil:
        cdef int64_t paid = min64(-self.pools[pool].balance, max64(0, self.funds[fund].balance))
        if paid == 0:
            return 0
        self.pools[pool].balance += paid
        self.touch(pool)
        return self.change_insurance(
            fund, -paid, INSURANCE_DEFICIT, self.accounts[self.pools[pool].account].id)

    # Whether the fund may take over so many signed lots, as far as the profile's limits go.
    cdef bint is_within_limits(self, int32_t symbol, int64_t lots) except -1 nogil:
        cdef instrument_t *instrument = &self.instruments[symbol]
        if instrument.profile.fund_max_notional != NONE and self.marked_notional(
                symbol, abs64(instrument.fund.quantity + lots)
        ) > instrument.profile.fund_max_notional:
            return False
        return (instrument.profile.fund_drawdown_limit == NONE
                or not self.is_drawn_down(symbol))

    # Whether the fund lost more than the limit since its highest balance in the window.
    cdef bint is_drawn_down(self, int32_t symbol) except -1 with gil:
        cdef instrument_t *instrument = &self.instruments[symbol]
        cdef int64_t balance = self.funds[instrument.insurer].balance
        cdef int64_t highest = balance, until, before
        for until, before in self.fund_history.get(instrument.insurer, ()):
            if until >= self.ts - instrument.profile.fund_drawdown_window:
                highest = before
                break
        return mul(highest - balance, RATE_SCALE) > mul(
            instrument.profile.fund_drawdown_limit, highest)

    # Let the winners on a side (BUY: longs) pay a deficit, in proportion to their profit;
    # nobody more than that, or than the equity of its pool. Each share is rounded down; what is
    # left goes unit by unit to the largest remainders, ties by account.
    cdef int socialize(self, int32_t pool, int32_t symbol, int side) except -1 with gil:
        cdef instrument_t *instrument = &self.instruments[symbol]
        cdef int32_t i, position, payer
        cdef int64_t equity, maintenance, share
        cdef int64_t *out
        cdef list gains = [], shares
        for i in range(instrument.holder_count):
            position = instrument.holders[i]
            payer = self.pool_of(position)
            if ((self.positions[position].quantity > 0) != (side == SIDE_BUY)
                    or self.pools[payer].in_queue):
                continue
            self.measure(payer, &equity, &maintenance)
            share = min64(equity, self.unrealized(position))
            if share > 0:
                gains.append((
                    self.accounts[self.positions[position].account].id, position, share))
        gains.sort()
        total = sum([gain for _, _, gain in gains])
        loss = min(-self.pools[pool].balance, total)
        if loss == 0:
            return 0
        shares = [loss * gain // total for _, _, gain in gains]
        # The largest remainders first; the sort is stable, so ties stay by account.
        order = sorted(
            range(len(gains)), key=lambda at: shares[at] * total - loss * gains[at][2])
        for i in order[:loss - sum(shares)]:
            shares[i] += 1
        for (_, position, _), share in zip(gains, shares):
            if share == 0:
                continue
            payer = self.pool_of(position)
            self.pools[payer].balance -= share
            self.touch(payer)
            if self.pools[payer].symbol >= 0:
                self.note_position(position)
            out = self.emit(EVENT_SOCIALIZED_LOSS)
            out[0] = self.accounts[self.positions[position].account].id
            out[1] = self.accounts[self.pools[pool].account].id
            out[2] = symbol
            out[3] = share
        self.pools[pool].balance += loss
        return self.touch(pool)
