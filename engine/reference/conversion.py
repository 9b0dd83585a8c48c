"""Conversion of collateral: what a wallet owes is paid by what counts for it."""

from __future__ import annotations

from collections.abc import Iterator

from engine.messages import NONE, EventKind
from engine.reference.backstop import Backstops
from engine.reference.collateral import Collateral
from engine.reference.state import Pool


class Conversions(Backstops):
    """Selling collateral to the external account, at its price less a fee."""

    def convertible(self, pool: Pool) -> Iterator[tuple[Collateral, Pool]]:
        """What is to be converted for a cross pool, one after the other, while it owes.

        By asset as declared. With positions open only for a debt beyond the asset's threshold.
        """
        is_flat = not self.positions_of(pool)
        for collateral, wallet in self.collateral_wallets(pool):
            if collateral.price == NONE or wallet.balance == 0 or pool.balance >= 0:
                continue
            if is_flat or NONE < collateral.threshold < -pool.balance:
                yield collateral, wallet

    def convert(self, pool: Pool) -> bool:
        """Convert what is to be converted; return whether that was anything.

        As much as covers the debt, rounded up; what is worth less than a minor unit goes too.
        """
        has_converted = False
        for collateral, wallet in self.convertible(pool):
            amount = min(wallet.balance, collateral.needed(-pool.balance))
            gross, net = collateral.gross(amount), collateral.net(amount)
            wallet.balance -= amount
            pool.balance += net
            self.assets[wallet.asset].external += amount
            self.assets[pool.asset].external -= gross
            self.assets[pool.asset].fees += gross - net
            self.touch(wallet)
            self.touch(pool)
            self.emit(
                EventKind.COLLATERAL_CONVERTED, pool.account, wallet.asset, amount, pool.asset,
                net, gross - net, collateral.price)
            has_converted = True
        return has_converted
