"""Commands about collateral: what counts for what, and at which price."""

from __future__ import annotations

from typing import Any

from engine.messages import (
    MONEY_MAX,
    NONE,
    OFF_GRID,
    RATE_SCALE,
    TOO_LARGE,
    Command,
    EventKind,
    RejectReason,
)
from engine.reference.collateral import Collateral
from engine.reference.settings import Settings


class Valuation(Settings):
    """Declaring collateral assets, and setting their prices."""

    def set_collateral(
        self, asset: int, value_asset: int, exponent: int, tiers: list[tuple[int, int]] | None,
        threshold: int, fee: int, ts: int = NONE,
    ) -> None:
        """Let an asset count in the pools of another, or replace its schedule.

        `tiers` is None where they make no sense; the edge knows the asset's grid.
        """

        def run() -> None:
            self.require(
                (asset != value_asset or asset < 0) and 0 <= fee < RATE_SCALE
                and (threshold == NONE or 0 <= threshold <= MONEY_MAX), RejectReason.MALFORMED)
            before = self.assets[asset].collateral if 0 <= asset < len(self.assets) else None
            self.require(
                before is None or before.value_asset == value_asset or value_asset < 0,
                RejectReason.ALREADY_EXISTS)
            self.require(
                0 <= asset < len(self.assets) and 0 <= value_asset < len(self.assets),
                RejectReason.UNKNOWN_ASSET)
            # A conversion brings at least what its asset counted for.
            self.require(
                tiers is not None and all(weight + fee <= RATE_SCALE for _, weight in tiers),
                RejectReason.BAD_TIERS)
            self.require(
                all(instrument.settle != asset for instrument in self.instruments),
                RejectReason.BAD_INSTRUMENT)
            assert tiers is not None
            self.assets[asset].collateral = Collateral(
                value_asset, exponent, tuple(tiers), threshold, fee,
                NONE if before is None else before.price)
            self.emit(EventKind.COLLATERAL_SET, asset, value_asset, threshold, fee)
            self.look_at_holders(asset)
            self.retry_all()

        self.execute(Command.COLLATERAL, ts, run, asset=asset if asset >= 0 else NONE)

    def set_asset_price(self, asset: int, price: int, ts: int = NONE) -> None:
        """Set what a whole unit of a collateral asset is worth (1e-8 of its value asset)."""

        def run() -> None:
            self.require(price > 0 or price in (OFF_GRID, TOO_LARGE), RejectReason.MALFORMED)
            self.require(
                0 <= asset < len(self.assets) and self.assets[asset].collateral is not None,
                RejectReason.UNKNOWN_ASSET)
            self.require(price != OFF_GRID, RejectReason.OFF_TICK)
            self.require(
                price != TOO_LARGE and self.collateral_fits(asset, price=price),
                RejectReason.OVERFLOW)
            collateral = self.assets[asset].collateral
            assert collateral is not None
            is_first = collateral.price == NONE
            collateral.price = price
            self.emit(EventKind.ASSET_PRICE, asset, price)
            if is_first:
                self.look_at_holders(asset)
            self.retry_waiting()

        self.execute(Command.ASSET_PRICE, ts, run, asset=asset if asset >= 0 else NONE)

    def look_at_holders(self, asset: int) -> None:
        """Look at the pools in which a collateral asset's wallets count."""
        for account in self.accounts.values():
            if asset in account.wallets and account.wallets[asset].balance:
                self.look_at_debtor(account.wallets[asset])

    def collateral_view(self, asset: int) -> dict[str, Any] | None:
        """What a collateral asset counts for; None of an asset that is none."""
        collateral = self.assets[asset].collateral
        if collateral is None:
            return None
        return {
            "value_asset": collateral.value_asset, "price": collateral.price,
            "threshold": collateral.threshold, "fee": collateral.fee,
            "tiers": list(collateral.tiers),
        }
