"""Declaring collateral assets, and setting their prices."""

from engine.core.collateral cimport COLLATERAL_TIERS_MAX, collateral_load, collateral_t
from engine.core.types cimport (
    ACCEPTED, CMD_ASSET_PRICE, CMD_COLLATERAL, EVENT_ASSET_PRICE, EVENT_COLLATERAL_SET,
    MONEY_MAX, NONE, OFF_GRID, RATE_SCALE, REJECT_ALREADY_EXISTS, REJECT_BAD_INSTRUMENT,
    REJECT_BAD_TIERS, REJECT_MALFORMED, REJECT_OFF_TICK, REJECT_OVERFLOW, REJECT_UNKNOWN_ASSET,
    TOO_LARGE,
)


cdef class Valuation(Settings):
    """What counts for what."""

    def set_collateral(
        self, int64_t asset, int64_t value_asset, int32_t exponent, list tiers,
        int64_t threshold, int64_t fee, int64_t ts=NONE,
    ):
        """Let an asset count in the pools of another, or replace its schedule. O(pools).

        `tiers` is None where they make no sense; the edge knows the asset's grid.
        """
        self.end(
            CMD_COLLATERAL,
            self.do_set_collateral(asset, value_asset, exponent, tiers, threshold, fee)
            if self.begin(ts) else REJECT_MALFORMED,
            NONE, asset if asset >= 0 else NONE, NONE, NONE)

    cdef int do_set_collateral(
        self, int64_t asset, int64_t value_asset, int32_t exponent, list tiers,
        int64_t threshold, int64_t fee
    ) except -2:
        cdef int reason = self.check_collateral(asset, value_asset, tiers, threshold, fee)
        cdef int32_t row
        cdef int64_t *out
        if reason != ACCEPTED:
            return reason
        row = self.assets[asset].collateral
        if row < 0:
            row = self.new_collateral(<int32_t>asset, <int32_t>value_asset)
            self.add_pledge_triggers()
        collateral_load(&self.collaterals[row], exponent, tiers)
        self.collaterals[row].threshold, self.collaterals[row].fee = threshold, fee
        out = self.emit(EVENT_COLLATERAL_SET)
        out[0] = asset
        out[1] = value_asset
        out[2] = threshold
        out[3] = fee
        self.look_at_holders(row)
        self.retry_all()
        return ACCEPTED

    cdef int check_collateral(
        self, int64_t asset, int64_t value_asset, list tiers, int64_t threshold, int64_t fee
    ) except -2:
        cdef bint is_known = 0 <= asset < self.asset_count
        cdef int32_t i
        cdef int64_t weight
        if (asset == value_asset and asset >= 0) or not 0 <= fee < RATE_SCALE or not (
                threshold == NONE or 0 <= threshold <= MONEY_MAX):
            return REJECT_MALFORMED
        if (is_known and value_asset >= 0 and self.assets[asset].collateral >= 0
                and self.collaterals[self.assets[asset].collateral].value_asset != value_asset):
            return REJECT_ALREADY_EXISTS
        if not is_known or not 0 <= value_asset < self.asset_count:
            return REJECT_UNKNOWN_ASSET
        if tiers is None or not 0 < len(tiers) <= COLLATERAL_TIERS_MAX:
            return REJECT_BAD_TIERS
        # A conversion brings at least what its asset counted for.
        for _, weight in tiers:
            if weight > RATE_SCALE - fee:
                return REJECT_BAD_TIERS
        for i in range(self.instrument_count):
            if self.instruments[i].settle == asset:
                return REJECT_BAD_INSTRUMENT
        return ACCEPTED

    def set_asset_price(self, int64_t asset, int64_t price, int64_t ts=NONE):
        """Set what a whole unit of a collateral asset is worth (1e-8 of its value asset)."""
        self.end(
            CMD_ASSET_PRICE,
            self.do_set_asset_price(asset, price) if self.begin(ts) else REJECT_MALFORMED,
            NONE, asset if asset >= 0 else NONE, NONE, NONE)

    cdef int do_set_asset_price(self, int64_t asset, int64_t price) except -2 nogil:
        cdef int32_t row
        cdef bint is_first
        cdef int64_t *out
        if price <= 0 and price != OFF_GRID and price != TOO_LARGE:
            return REJECT_MALFORMED
        if not 0 <= asset < self.asset_count or self.assets[asset].collateral < 0:
            return REJECT_UNKNOWN_ASSET
        if price == OFF_GRID:
            return REJECT_OFF_TICK
        if price == TOO_LARGE or not self.collateral_fits(<int32_t>asset, 0, price):
            return REJECT_OVERFLOW
        if self.unfiled_count:
            self.file_touched()
        row = self.assets[asset].collateral
        is_first = self.collaterals[row].price == NONE
        self.collaterals[row].price = price
        out = self.emit(EVENT_ASSET_PRICE)
        out[0] = asset
        out[1] = price
        if is_first:
            self.look_at_holders(row)
        self.collect_priced(row)
        self.retry_waiting()
        return ACCEPTED

    def collateral_view(self, int64_t asset):
        """What a collateral asset counts for; None of an asset that is none."""
        cdef const collateral_t *row
        cdef int32_t at, i
        self.require_asset(asset)
        at = self.assets[asset].collateral
        if at < 0:
            return None
        row = &self.collaterals[at]
        return {
            "value_asset": row.value_asset, "price": row.price, "threshold": row.threshold,
            "fee": row.fee,
            "tiers": [(row.most[i], row.weight[i]) for i in range(row.count)],
        }
