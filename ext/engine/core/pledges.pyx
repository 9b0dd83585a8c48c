"""Wallets that count in other pools."""

from libc.stdlib cimport free, realloc
from libc.string cimport memset

from engine.core.collateral cimport collateral_value, full_value
from engine.core.fixed cimport add, add_checked, i128, wide
from engine.core.ledger cimport asset_t
from engine.core.memory cimport larger
from engine.core.types cimport MONEY_MAX, NIL, NONE

# Most that all collateral of one value asset may be worth together, at full price.
cdef int64_t COLLATERAL_MAX = MONEY_MAX // 2


cdef class Pledges(Ledger):
    """The ledger, with wallets that count beyond their own pool."""

    def __dealloc__(self):
        free(self.collaterals)
        free(self.pledges)

    # A row for an asset that becomes collateral; its schedule is the caller's.
    cdef int32_t new_collateral(self, int32_t asset, int32_t value_asset) except -1 nogil:
        cdef int32_t row = self.collateral_count, pool
        cdef collateral_t *rows = <collateral_t *>realloc(
            self.collaterals, (row + 1) * sizeof(collateral_t))
        if rows == NULL:
            raise MemoryError("collateral assets")
        self.collaterals = rows
        memset(&rows[row], 0, sizeof(collateral_t))
        rows[row].asset, rows[row].value_asset = asset, value_asset
        rows[row].price = NONE
        self.collateral_count += 1
        self.assets[asset].collateral = row
        for pool in range(self.pool_count):
            if self.pools[pool].asset == asset:
                self.pledge(pool)
        return row

    # The pledge of a wallet, made when first asked for; NIL of an asset that is no collateral.
    cdef int32_t pledge(self, int32_t wallet) except? -2 nogil:
        cdef int32_t collateral = self.assets[self.pools[wallet].asset].collateral
        cdef int32_t row, debtor
        if collateral < 0:
            return NIL
        debtor = self.wallet_of(
            self.pools[wallet].account, self.collaterals[collateral].value_asset)
        row = self.find_pledge(debtor, wallet)
        if row >= 0:
            return row
        row = self.pledge_count
        if row == self.pledge_capacity:
            self.pledges = <position_t *>larger(
                self.pledges, &self.pledge_capacity, row + 1, sizeof(position_t))
        self.pledge_count += 1
        memset(&self.pledges[row], 0, sizeof(position_t))
        self.pledges[row].account = self.pools[wallet].account
        self.pledges[row].symbol = collateral
        self.pledges[row].wallet, self.pledges[row].isolated = debtor, wallet
        self.pledges[row].trigger[1] = MONEY_MAX
        self.link_pledge(row)
        return row

    # The pledge of a wallet among those of a pool, NIL where it has none. O(wallets of one
    # account): every change of such a wallet asks, and without the GIL.
    cdef int32_t find_pledge(self, int32_t pool, int32_t wallet) noexcept nogil:
        cdef int32_t row = self.pools[pool].first_pledge
        while row >= 0 and self.pledges[row].isolated != wallet:
            row = self.pledges[row].next_open
        return row

    # Into the list of its pool, in the order in which assets were declared.
    cdef int link_pledge(self, int32_t row) except -1 nogil:
        cdef int32_t pool = self.pledges[row].wallet
        cdef int32_t asset = self.collaterals[self.pledges[row].symbol].asset
        cdef int32_t before = NIL, after = self.pools[pool].first_pledge
        while after >= 0 and self.collaterals[self.pledges[after].symbol].asset < asset:
            before, after = after, self.pledges[after].next_open
        self.pledges[row].next_open = after
        if before < 0:
            self.pools[pool].first_pledge = row
        else:
            self.pledges[before].next_open = row
        return 0

    # --- what they count for ----------------------------------------------------------

    cdef int64_t pledge_value(self, int32_t row) noexcept nogil:
        return collateral_value(
            &self.collaterals[self.pledges[row].symbol],
            self.pools[self.pledges[row].isolated].balance)

    cdef int64_t collateral_of(self, int32_t pool) except? -1 nogil:
        cdef int64_t total = 0
        cdef int32_t row = self.pools[pool].first_pledge
        while row >= 0:
            total = add_checked(total, self.pledge_value(row))
            row = self.pledges[row].next_open
        return total

    # Whether any wallet counts in a pool besides its own, if there is a price.
    cdef bint has_pledged(self, int32_t pool) noexcept nogil:
        cdef int32_t row = self.pools[pool].first_pledge
        while row >= 0:
            if self.pools[self.pledges[row].isolated].balance:
                return True
            row = self.pledges[row].next_open
        return False

    # The pool in which a wallet counts besides its own, NIL where there is none.
    cdef int32_t debtor_of(self, int32_t wallet) except? -2 nogil:
        cdef int32_t row = self.pledge(wallet)
        return self.pledges[row].wallet if row >= 0 else NIL

    # Whether nothing may leave a wallet: it, or the pool it counts in, is in liquidation.
    cdef bint is_locked(self, int32_t wallet) except -1 nogil:
        cdef int32_t debtor = self.debtor_of(wallet)
        return self.pools[wallet].in_queue or (debtor >= 0 and self.pools[debtor].in_queue)

    # Whether all collateral of an asset's value asset stays in range at full price, with so
    # much more of the asset, or at another price of it (NONE: its own).
    cdef bint collateral_fits(self, int32_t asset, int64_t added, int64_t price) except -1 nogil:
        cdef int32_t changed = self.assets[asset].collateral, i
        cdef i128 total = wide(0)
        cdef collateral_t *row
        cdef asset_t *books
        cdef int64_t held, at
        if changed < 0:
            return True
        for i in range(self.collateral_count):
            row = &self.collaterals[i]
            if row.value_asset != self.collaterals[changed].value_asset:
                continue
            # All wallets together: nothing else holds an asset that settles no instrument.
            books = &self.assets[row.asset]
            held = (books.deposits - books.withdrawals - self.funds[books.pooled].balance
                    - books.external)
            at = row.price
            if i == changed:
                held = add_checked(held, added)
                at = row.price if price == NONE else price
            total = add(total, wide(full_value(row, held, at, 0)))
        return total <= wide(COLLATERAL_MAX)

    # --- notes of what changed --------------------------------------------------------

    # Note that what counts in a pool changed, though not its own money.
    cdef int look_at(self, int32_t pool) except -1 nogil:
        self.pools[pool].version += 1
        self.pools[pool].is_waiting = 0
        self.note_pending(pool)
        return self.log_touch(pool) if self.is_ranking_live else 0

    # Note that the balance of a wallet changed, to the pool in which it counts.
    cdef int look_at_debtor(self, int32_t wallet) except -1 nogil:
        cdef int32_t debtor = self.debtor_of(wallet)
        return self.look_at(debtor) if debtor >= 0 else 0

    cdef int look_at_holders(self, int32_t collateral) except -1 nogil:
        cdef int32_t row
        for row in range(self.pledge_count):
            if self.pledges[row].symbol == collateral and (
                    self.pools[self.pledges[row].isolated].balance):
                self.look_at(self.pledges[row].wallet)
        return 0
