"""Backstops: accounts that take over what the book does not, as far as they have promised."""

from __future__ import annotations

from engine.messages import (
    NONE,
    RATE_SCALE,
    EventKind,
    MarginMode,
    PositionMode,
    PositionSide,
    Side,
)
from engine.reference.fund import Fund
from engine.reference.margin import ceil_div, floor_div
from engine.reference.sides import signed
from engine.reference.state import Backstop, Instrument, Position


class Backstops(Fund):
    """Who has promised to take over, and what each of them can."""

    def backstops_of(self, instrument: Instrument) -> list[Backstop]:
        """Promises that count for a symbol: the largest first, ties by account.

        Of one account that for the symbol comes before that for the settle asset.
        """
        return sorted(
            (each for each in self.backstops.values()
             if each.symbol == instrument.index or each.asset == instrument.settle),
            key=lambda each: (-each.commitment, each.account, each.symbol == NONE))

    def give_to_backstops(
        self, instrument: Instrument, position: Position, side: Side, lots: int, bound: int
    ) -> int:
        """Let backstops take over lots of a position in liquidation; return what is left."""
        for backstop in self.backstops_of(instrument):
            if lots == 0 or backstop.account == position.account:
                continue
            counter = self.backstop_position(backstop, instrument, side)
            price = self.backstop_price(instrument, side, bound, backstop.discount)
            most = min(lots, self.promised_lots(instrument, backstop))
            taken = self.bearable_lots(instrument, counter, side, most, price)
            if taken:
                self.hand_to_backstop(instrument, position, counter, side, taken, price, backstop)
                lots -= taken
        return lots

    def backstop_position(
        self, backstop: Backstop, instrument: Instrument, side: Side
    ) -> Position:
        """Where a close on a side goes; of a hedge account to the leg that it opens."""
        owner = self.accounts[backstop.account]
        leg = PositionSide.BOTH
        if owner.position_mode is PositionMode.HEDGE:
            leg = PositionSide.LONG if side is Side.SELL else PositionSide.SHORT
        return owner.position(instrument, leg)

    @staticmethod
    def backstop_price(instrument: Instrument, side: Side, bound: int, discount: int) -> int:
        """Price in ticks: the bound, or the mark less a discount, but never beyond the bound.

        Rounded in the backstop's favour: a sell down, a buy up.
        """
        if discount == NONE:
            return bound
        per_tick = RATE_SCALE * instrument.marks_per_tick
        if side is Side.SELL:
            return max(bound, floor_div(instrument.mark * (RATE_SCALE - discount), per_tick))
        return min(bound, ceil_div(instrument.mark * (RATE_SCALE + discount), per_tick))

    @staticmethod
    def promised_lots(instrument: Instrument, backstop: Backstop) -> int:
        """Lots whose notional at the mark is within what is left of a promise; floor."""
        left = backstop.commitment - backstop.used
        if instrument.is_inverse:
            return floor_div(left * instrument.mark, instrument.unit_value)
        return floor_div(left, instrument.mark * instrument.unit_value)

    def bearable_lots(
        self, instrument: Instrument, counter: Position, side: Side, most: int, price: int
    ) -> int:
        """Lots that a backstop's cross pool can pay for out of what is available to it.

        What they ask of initial margin and lose against the mark; and its equity stays above
        its maintenance margin. Found by bisection.
        """
        wallet = self.wallet_of(counter)
        if counter.margin_mode is MarginMode.ISOLATED or wallet.in_queue:
            return 0
        free = self.free_margin(wallet)
        equity, maintenance = self.measure(wallet)
        schedule, held = self.schedule_of(counter), counter.quantity
        leverage = self.leverage_of(counter)

        def can_bear(lots: int) -> bool:
            after = held - signed(side, lots)
            gain = instrument.signed_value(side, instrument.worth_at_tick(lots, price))
            gain += instrument.value(after, instrument.mark) - instrument.value(
                held, instrument.mark)
            notional = instrument.notional(abs(after), instrument.mark)
            initial = schedule.initial_margin(notional, leverage) if after else 0
            needed = schedule.maintenance_margin(notional) if after else 0
            asked = max(0, initial - self.initial_margin(counter)) + max(0, -gain)
            return asked <= free and equity + gain > (
                maintenance - self.maintenance_margin(counter) + needed)

        low, high, middle = 0, most, most  # the answer lies between; most likely it is all
        while low < high:
            if can_bear(middle):
                low = middle
            else:
                high = middle - 1
            middle = (low + high + 1) // 2
        return low

    def hand_to_backstop(
        self, instrument: Instrument, position: Position, counter: Position, side: Side,
        lots: int, price: int, backstop: Backstop,
    ) -> None:
        """Trade between a pool in liquidation and a backstop, without fees."""
        value = instrument.signed_value(side, instrument.worth_at_tick(lots, price))
        self.settle_fill(position, signed(side, lots), value)
        self.settle_fill(counter, -signed(side, lots), -value)
        self.drop_reduce_only(position)
        self.drop_reduce_only(counter)
        backstop.used += instrument.notional(lots, instrument.mark)
        self.emit(
            EventKind.BACKSTOP_TAKEOVER, counter.account, position.account, instrument.index,
            Side.BUY if side is Side.SELL else Side.SELL, lots, price,
            backstop.commitment - backstop.used, counter.leg,
        )
