"""Market-maker protection: too much traded in a window, and a maker's quotes are pulled."""

from __future__ import annotations

from engine.messages import MONEY_MAX, NONE, CancelReason, EventKind
from engine.reference.linked import Linked
from engine.reference.state import Position, Protection


class Protected(Linked):
    """Counting what trades against a maker, and freezing it."""

    def is_frozen(self, position: Position) -> bool:
        """Whether the owner may add no orders on this symbol; looked up, no timer runs."""
        protection = position.protection
        return protection is not None and self.frozen_until(protection) != 0

    def frozen_until(self, protection: Protection) -> int:
        """When the freeze ends, `MONEY_MAX`: not by itself, 0 where there is none (any more)."""
        until = protection.frozen_until
        return until if until == MONEY_MAX or self.ts < until else 0

    def count_maker_trade(self, position: Position, lots: int) -> None:
        """Count a trade in the open window, or open one with it."""
        protection = position.protection
        if protection is None:
            return
        if protection.start == NONE or self.ts - protection.start >= protection.window:
            protection.start, protection.lots, protection.trades = self.ts, 0, 0
        protection.lots = min(MONEY_MAX, protection.lots + lots)  # no limit is higher
        protection.trades += 1
        is_reached = protection.quantity != NONE and protection.lots >= protection.quantity
        is_reached |= protection.count != NONE and protection.trades >= protection.count
        is_noted = any(other.protection is protection for other in self.tripped)
        if is_reached and not is_noted and not self.is_frozen(position):
            self.tripped[position] = None

    def carry_out_protection(self) -> bool:
        """Freeze the makers noted and pull their quotes; return whether there were any."""
        noted, self.tripped = self.tripped, {}
        for position in noted:
            protection = position.protection
            assert protection is not None
            until = self.ts + protection.freeze if protection.freeze else MONEY_MAX
            protection.frozen_until = min(until, MONEY_MAX)
            protection.start, protection.lots, protection.trades = NONE, 0, 0
            self.emit(
                EventKind.PROTECTION_TRIGGERED, position.account, position.symbol,
                NONE if until >= MONEY_MAX else until,
            )
            for leg in self.legs_of(position):
                quotes = [order for order in leg.orders.values() if not order.reduce_only]
                self.cancel_each(quotes, CancelReason.PROTECTION)
        return bool(noted)
