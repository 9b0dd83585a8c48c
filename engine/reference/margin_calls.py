"""Margin calls: the levels of each pool, which of them a pool has reached, what would help."""

from __future__ import annotations

from typing import NamedTuple

from engine.messages import MONEY_MAX, NONE, RATE_SCALE, CallLevels, EventKind
from engine.reference.margin import floor_div
from engine.reference.rehearsal import Rehearsals
from engine.reference.state import Pool, Position


class Remedy(NamedTuple):
    """What would end a margin call; NONE where nothing of the kind would."""

    collateral: int  # minor units to add
    symbol: int
    lots: int  # of the symbol, to close
    leg: int  # of which


def level_reached(equity: int, maintenance: int, level: int) -> bool:
    """Whether margin_ratio >= level (1e-8 units)."""
    return equity <= 0 or maintenance * RATE_SCALE >= level * equity


class MarginCalls(Rehearsals):
    """Warnings before a pool is due."""

    def levels_in_force(self, pool: Pool) -> CallLevels:
        """By which levels a pool with positions is called: its account's own, else its profile's.

        That is the profile of the position with the largest maintenance margin, the first of
        equals.
        """
        own = self.accounts[pool.account].call_levels
        if own is not None:
            return own
        position = max(self.positions_of(pool), key=self.maintenance_margin)
        return self.instruments[position.symbol].call_levels

    def follow_levels(self, pool: Pool, equity: int, maintenance: int) -> None:
        """Go by the levels that are in force now; the calls by others end first."""
        levels = self.levels_in_force(pool)
        if pool.call_levels != levels:
            self.set_call_level(pool, 0, equity, maintenance)
            pool.call_levels = levels

    def level_of(self, pool: Pool, equity: int, maintenance: int) -> int:
        """How many levels count as reached now: those of before, with hysteresis, and new ones."""
        levels, hysteresis = pool.call_levels
        level = pool.call_level
        while level < len(levels) and level_reached(equity, maintenance, levels[level]):
            level += 1
        while level > 0 and not level_reached(
            equity, maintenance, levels[level - 1] - hysteresis
        ):
            level -= 1
        return level

    def set_call_level(self, pool: Pool, level: int, equity: int, maintenance: int) -> None:
        """Move to a margin-call level, one event for each level passed."""
        levels, hysteresis = pool.call_levels
        while pool.call_level < level:
            rate = levels[pool.call_level]
            pool.call_level += 1
            self.emit(
                EventKind.MARGIN_CALL, pool.account, pool.asset, pool.symbol, rate, equity,
                maintenance, *self.remedy(pool, equity, maintenance, rate - hysteresis))
        while pool.call_level > level:
            pool.call_level -= 1
            self.emit(
                EventKind.MARGIN_CALL_CLEARED, pool.account, pool.asset, pool.symbol,
                levels[pool.call_level], equity, maintenance, self.leg_shown(pool))

    @staticmethod
    def leg_shown(pool: Pool) -> int:
        """The leg that an event about a pool names, NONE of a cross pool."""
        return NONE if pool.symbol == NONE else pool.leg

    def remedy(self, pool: Pool, equity: int, maintenance: int, target: int) -> Remedy:
        """The least deposit, and the least close at mark, that bring margin_ratio under a target.

        Of an isolated position only the whole: a part would take its margin along.
        """
        enough = floor_div(maintenance * RATE_SCALE, target) + 1
        collateral = enough - equity if enough - equity <= MONEY_MAX else NONE
        position = max(self.positions_of(pool), key=self.maintenance_margin)
        held = abs(position.quantity)

        def is_cleared(closed: int) -> bool:
            if closed == held and len(self.positions_of(pool)) == 1:
                return True  # a pool without positions has no call
            after = maintenance - self.maintenance_margin(position)
            after += self.maintenance_of(position, held - closed)
            return not level_reached(equity, after, target)

        if not is_cleared(held):
            return Remedy(collateral, position.symbol, NONE, position.leg)
        if pool.symbol != NONE:
            return Remedy(collateral, position.symbol, held, position.leg)
        low, high = 0, held  # not cleared by closing `low`, cleared by `high`
        while high - low > 1:
            middle = (low + high) // 2
            if is_cleared(middle):
                high = middle
            else:
                low = middle
        return Remedy(collateral, position.symbol, high, position.leg)

    def maintenance_of(self, position: Position, lots: int) -> int:
        """Maintenance margin that so many lots of a position would need."""
        if lots == 0:
            return 0
        instrument = self.instruments[position.symbol]
        return self.schedule_of(position).maintenance_margin(
            instrument.notional(lots, instrument.mark))

    def replace_call_levels(self, account: int, levels: CallLevels) -> None:
        """Give an account levels of its own: the calls by others end, then it calls by these.

        Wallets by asset, then isolated positions by symbol and leg; those that went by the
        same levels before are left alone.
        """
        owner = self.accounts[account]
        pools = [owner.wallets[asset] for asset in sorted(owner.wallets)]
        pools += [owner.positions[key].isolated for key in sorted(owner.positions)]
        pools = [pool for pool in pools if pool.call_levels != levels]
        for pool in pools:
            self.set_call_level(pool, 0, *self.measure(pool))
            pool.call_levels = levels
        owner.call_levels = levels
        for pool in pools:
            if self.positions_of(pool):
                measured = self.measure(pool)
                self.set_call_level(pool, self.level_of(pool, *measured), *measured)
