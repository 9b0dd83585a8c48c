"""The check at match time: whether a maker's account can still bear the fill that comes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engine.messages import MarginMode, PositionSide
from engine.reference.margin import IsolatedAccount, split_value, trade_fee
from engine.reference.protection import Protected
from engine.reference.sides import reducible, signed
from engine.reference.state import Order, Position


@dataclass
class Holdings:
    """An account's money and legs in a symbol, as the fills of a sweep leave them."""

    wallet: int  # of a cross pool: less the entry values of the legs
    spare: int  # equity less initial margin of what else its cross pool holds
    legs: dict[PositionSide, IsolatedAccount]  # in cross mode only their quantities count

    def copy(self) -> Holdings:
        legs = {side: replace(leg) for side, leg in self.legs.items()}
        return Holdings(self.wallet, self.spare, legs)


class MakerChecks(Protected):
    """What a fill makes of an account, tried out."""

    def holdings_of(self, position: Position) -> Holdings:
        """What the owner of a position has now."""
        wallet = self.wallet_of(position)
        legs = self.legs_of(position)
        spare = self.collateral_value(wallet) + sum(
            self.unrealized_pnl(other) - self.initial_margin(other)
            for other in self.positions_of(wallet) if other.symbol != position.symbol)
        cash = wallet.balance
        if position.margin_mode is MarginMode.CROSS:
            cash -= sum(leg.entry_value for leg in legs)
        return Holdings(cash, spare, {
            leg.leg: IsolatedAccount(leg.quantity, leg.entry_value, leg.isolated.balance)
            for leg in legs})

    def try_fill(
        self, holdings: Holdings, order: Order, lots: int, price: int, rate: int
    ) -> None:
        """Book a fill and its fee to holdings, as the ledger would."""
        position = self.position_of(order)
        instrument = self.instruments[order.symbol]
        worth = instrument.worth_at_tick(lots, price)
        self.try_part(holdings, position, signed(order.side, lots),
                      instrument.signed_value(order.side, worth))
        fee = trade_fee(worth, rate)
        if position.margin_mode is MarginMode.CROSS:
            holdings.wallet -= fee
        else:
            holdings.wallet = holdings.legs[position.leg].pay(fee, holdings.wallet)

    def try_part(
        self, holdings: Holdings, position: Position, quantity: int, value: int
    ) -> None:
        """Book a signed quantity and its signed value, without a fee."""
        leg = holdings.legs[position.leg]
        if position.margin_mode is MarginMode.CROSS:
            leg.quantity += quantity
            holdings.wallet -= value
        else:
            holdings.wallet = leg.fill(
                quantity, value, holdings.wallet,
                lambda moved, held: self.isolated_share(position, moved, held))

    def can_carry(self, holdings: Holdings, maker: Order, lots: int) -> bool:
        """Whether a maker's account could carry a fill at the maker's price.

        What only reduces its position it always can. Else its cross pool must cover its
        initial margin after the fill; of an isolated position the wallet must bring all that
        the opening asks for, and the position must not be due at once.
        """
        position = self.position_of(maker)
        instrument = self.instruments[maker.symbol]
        closing = reducible(holdings.legs[position.leg].quantity, maker.side)
        if maker.reduce_only or lots <= closing:
            return True
        after = holdings.copy()
        leg = after.legs[position.leg]
        rate = instrument.maker_fee
        if position.margin_mode is MarginMode.ISOLATED:
            if not self.can_open(holdings, maker, lots, closing):
                return False
            self.try_fill(after, maker, lots, maker.price, rate)
            equity = leg.margin + instrument.value(leg.quantity, instrument.mark)
            needed = self.schedule_of(position).maintenance_margin(
                instrument.notional(abs(leg.quantity), instrument.mark))
            return equity - leg.entry_value > needed and after.wallet + after.spare >= 0
        self.try_fill(after, maker, lots, maker.price, rate)
        spare = after.wallet + after.spare
        for leg in after.legs.values():
            spare += instrument.value(leg.quantity, instrument.mark)
            if leg.quantity:
                spare -= self.schedule_of(position).initial_margin(
                    instrument.notional(abs(leg.quantity), instrument.mark),
                    self.leverage_of(position))
        return spare >= 0

    def can_open(self, holdings: Holdings, maker: Order, lots: int, closing: int) -> bool:
        """Whether the wallet has all that an isolated opening moves, once the rest is closed."""
        position = self.position_of(maker)
        instrument = self.instruments[maker.symbol]
        after = holdings.copy()
        worth = instrument.worth_at_tick(lots, maker.price)
        value = instrument.signed_value(maker.side, worth)
        if closing:
            part = split_value(value, closing, lots)
            self.try_part(after, position, signed(maker.side, closing), part)
            value -= part
        held = abs(after.legs[position.leg].quantity + signed(maker.side, lots - closing))
        return self.isolated_share(position, abs(value), held) <= max(0, after.wallet)
