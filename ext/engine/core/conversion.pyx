"""Selling collateral to the external account, at its price less a fee."""

from libc.stdint cimport int64_t

from engine.core.collateral cimport amount_needed, collateral_t, full_value
from engine.core.fixed cimport add_checked, min64, sub_checked
from engine.core.types cimport EVENT_COLLATERAL_CONVERTED, NONE


cdef class Conversion(Backstops):
    """Pays what pools owe from what counts for them."""

    # Whether a pledge is to be converted now: where its pool owes something, with positions
    # open only beyond the asset's threshold.
    cdef bint is_convertible(self, int32_t pool, int32_t pledge) noexcept nogil:
        cdef const collateral_t *terms = &self.collaterals[self.pledges[pledge].symbol]
        cdef int64_t owned = self.pools[pool].balance
        if owned >= 0 or terms.price == NONE or (
                self.pools[self.pledges[pledge].isolated].balance == 0):
            return False
        return self.pools[pool].first_open < 0 or (
            terms.threshold != NONE and -owned > terms.threshold)

    # Convert what is to be converted, by asset as declared; whether that was anything.
    cdef bint convert(self, int32_t pool) except -1 nogil:
        cdef int32_t row = self.pools[pool].first_pledge
        cdef bint has_converted = False
        while row >= 0 and self.pools[pool].balance < 0:
            if self.is_convertible(pool, row):
                self.convert_pledge(pool, row)
                has_converted = True
            row = self.pledges[row].next_open
        return has_converted

    # As much as covers the debt, rounded up; what is worth less than a minor unit goes too.
    cdef int convert_pledge(self, int32_t pool, int32_t pledge) except -1 nogil:
        cdef const collateral_t *terms = &self.collaterals[self.pledges[pledge].symbol]
        cdef int32_t wallet = self.pledges[pledge].isolated
        cdef int64_t amount = min64(
            self.pools[wallet].balance, amount_needed(terms, -self.pools[pool].balance))
        cdef int64_t gross = full_value(terms, amount, terms.price, 0)
        cdef int64_t net = full_value(terms, amount, terms.price, terms.fee)
        cdef int64_t *out
        self.pools[wallet].balance -= amount
        self.pools[pool].balance += net
        self.assets[terms.asset].external = add_checked(
            self.assets[terms.asset].external, amount)
        self.assets[terms.value_asset].external = sub_checked(
            self.assets[terms.value_asset].external, gross)
        self.assets[terms.value_asset].fees = add_checked(
            self.assets[terms.value_asset].fees, gross - net)
        self.touch(wallet)
        self.touch(pool)
        out = self.emit(EVENT_COLLATERAL_CONVERTED)
        out[0] = self.accounts[self.pools[pool].account].id
        out[1] = terms.asset
        out[2] = amount
        out[3] = terms.value_asset
        out[4] = net
        out[5] = gross - net
        out[6] = terms.price
        return 0
