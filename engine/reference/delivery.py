"""The end of a contract: its orders go, its positions are closed at one price."""

from __future__ import annotations

from engine.messages import (
    NONE,
    OFF_GRID,
    TOO_LARGE,
    CancelReason,
    Command,
    EventKind,
    InsuranceReason,
    PositionSide,
    RejectReason,
)
from engine.reference.settlement import Settlement
from engine.reference.state import HousePosition, Instrument


class Delivery(Settlement):
    """Settling a symbol, when it expires or by command."""

    def settle_contract(self, symbol: int, price: int = NONE, ts: int = NONE) -> None:
        """Settle a symbol at a price (mark ticks), NONE: at its mark; then it is over."""

        def run() -> None:
            self.require(
                price == NONE or price > 0 or price in (OFF_GRID, TOO_LARGE),
                RejectReason.MALFORMED)
            instrument = self.find_trading(symbol)
            self.require(price != OFF_GRID, RejectReason.OFF_TICK)
            self.require(
                price == NONE or (price != TOO_LARGE and self.fits(instrument, 0, price)),
                RejectReason.OVERFLOW)
            self.deliver(instrument, instrument.mark if price == NONE else price)

        self.execute(Command.SETTLE, ts, run, symbol=symbol)

    def deliver(self, instrument: Instrument, price: int) -> None:
        """Cancel a symbol's orders and close its positions at a price; NONE: there are none.

        Inverse values round by themselves, so they need not add up to nothing; what is
        left goes to the rounding account.
        """
        symbol = instrument.index
        self.withdraw_offer(instrument, CancelReason.EXPIRED)
        self.cancel_matching(NONE, symbol, NONE, CancelReason.EXPIRED)
        instrument.is_over, instrument.announced = True, None
        self.emit(EventKind.SETTLED, symbol, price)
        if price == NONE:
            return
        books = self.assets[instrument.settle]
        for position in self.positions_in(instrument):
            if position.quantity:
                value = instrument.value(position.quantity, price)
                self.emit_settled(
                    position.account, instrument, price, position.quantity,
                    value - position.entry_value, position.leg)
                self.settle_fill(position, -position.quantity, -value)
                books.rounding -= value
        books.external += self.deliver_house(instrument, instrument.external, price)
        if instrument.fund.quantity:
            quantity = instrument.fund.quantity
            profit = self.deliver_house(instrument, instrument.fund, price)
            self.emit_settled(0, instrument, price, quantity, profit, PositionSide.BOTH)
            self.change_insurance(instrument.insurer, profit, InsuranceReason.INVENTORY, 0)

    def deliver_house(self, instrument: Instrument, house: HousePosition, price: int) -> int:
        """Close the fund's or the external account's position; return the profit."""
        value = instrument.value(house.quantity, price)
        self.assets[instrument.settle].rounding -= value
        return self.settle_house(house, -house.quantity, -value)

    def emit_settled(
        self, account: int, instrument: Instrument, price: int, quantity: int, profit: int,
        leg: PositionSide,
    ) -> None:
        self.emit(
            EventKind.POSITION_SETTLED, account, instrument.index, quantity, price, profit, leg)
