"""Matching: the sweep of a taker through the other side of the book, and its rehearsal."""

from __future__ import annotations

from dataclasses import replace

from engine.messages import NONE, CancelReason, EventKind, InsuranceReason, Side, StpMode
from engine.reference.book import within_limit
from engine.reference.ledger import Ledger
from engine.reference.margin import trade_fee
from engine.reference.state import Instrument, Order, Position


def opposite(side: Side) -> Side:
    return Side.SELL if side is Side.BUY else Side.BUY


def signed(side: Side, quantity: int) -> int:
    return quantity if side is Side.BUY else -quantity


def reducible(quantity: int, side: Side) -> int:
    """Lots by which an order of `side` may still reduce a position of `quantity`."""
    return max(0, -quantity) if side is Side.BUY else max(0, quantity)


#: A trade that would be made: the maker and the lots.
Fill = tuple[Order, int]


class Matching(Ledger):
    """The ledger with a matching rule on top."""

    def sweep(self, taker: Order, limit: int, *, liquidation: bool = False) -> tuple[int, int]:
        """Trade a taker against the book up to its limit (NONE: any price).

        Returns lots and value traded. The taker's `leaves` shrink; what is left of it
        is the caller's to rest or cancel, unless self-trade prevention or a vanished
        position already cancelled it (then it is no longer among its owner's orders).
        """
        instrument = self.instruments[taker.symbol]
        book = instrument.book
        lots_traded = value_traded = 0
        while taker.leaves:
            maker = book.front(opposite(taker.side))
            if maker is None or not within_limit(taker.side, maker.price, limit):
                break
            if taker.reduce_only and not liquidation:
                if self.reducible_by(taker) == 0:
                    self.cancel_order(taker, CancelReason.REDUCE_ONLY, is_resting=False)
                    break
            if maker.account == taker.account and taker.stp is not StpMode.NONE:
                if self.prevent_self_trade(taker, maker):
                    continue
                break
            lots = min(taker.leaves, maker.leaves)
            if taker.reduce_only and not liquidation:
                lots = min(lots, self.reducible_by(taker))
            if maker.reduce_only:
                lots = min(lots, self.reducible_by(maker))
            value_traded += self.trade(instrument, taker, maker, lots, liquidation)
            lots_traded += lots
        return lots_traded, value_traded

    def reducible_by(self, order: Order) -> int:
        position = self.accounts[order.account].positions[order.symbol]
        return reducible(position.quantity, order.side)

    def prevent_self_trade(self, taker: Order, maker: Order) -> bool:
        """Apply the taker's self-trade prevention; return whether the sweep goes on."""
        if taker.stp is StpMode.DECREMENT:
            lots = min(taker.leaves, maker.leaves)
            for order in (maker, taker):
                order.leaves -= lots
                order.quantity -= lots
            if maker.leaves:
                self.order_changed(maker)
            else:
                self.cancel_order(maker, CancelReason.SELF_TRADE)
            if taker.leaves:
                return True
            self.cancel_order(taker, CancelReason.SELF_TRADE, is_resting=False)
            return False
        if taker.stp in (StpMode.CANCEL_MAKER, StpMode.CANCEL_BOTH):
            self.cancel_order(maker, CancelReason.SELF_TRADE)
        if taker.stp is StpMode.CANCEL_MAKER:
            return True
        self.cancel_order(taker, CancelReason.SELF_TRADE, is_resting=False)
        return False

    def trade(
        self, instrument: Instrument, taker: Order, maker: Order, lots: int, liquidation: bool
    ) -> int:
        """Execute one trade at the maker's price; return its value."""
        value = instrument.value_at_tick(lots, maker.price)
        maker_fee = trade_fee(value, instrument.maker_fee)
        # A liquidation pays the liquidation fee instead of the taker fee.
        taker_fee = 0 if liquidation else trade_fee(value, instrument.taker_fee)
        self.trade_id += 1
        instrument.last_price = maker.price
        self.emit(
            EventKind.TRADE, self.trade_id, instrument.index, maker.price, lots, maker.order_id,
            maker.account, taker.order_id, taker.account, taker.side, maker_fee, taker_fee,
            liquidation,
        )
        taker.leaves -= lots
        maker.leaves -= lots
        if maker.leaves == 0:
            instrument.book.remove(maker)
            self.retire_order(maker)
            self.emit_order_update(maker)
        else:
            self.order_changed(maker)
        parties = [(maker, maker_fee)]
        if taker.account:
            parties.append((taker, taker_fee))
        else:
            self.settle_fund(instrument, taker.side, lots, value)
        for order, fee in parties:
            position = self.accounts[order.account].positions[order.symbol]
            self.settle_fill(position, signed(order.side, lots), signed(order.side, value))
            self.charge(position, fee)
            self.assets[instrument.settle].fees += fee
        for order, _ in parties:
            self.drop_reduce_only(self.accounts[order.account].positions[order.symbol])
        return value

    def settle_fund(self, instrument: Instrument, side: Side, lots: int, value: int) -> None:
        """Book a trade of the fund (account 0 in events) to its inventory and its balance."""
        profit = self.settle_house(instrument.fund, signed(side, lots), signed(side, value))
        self.change_insurance(instrument.settle, profit, InsuranceReason.INVENTORY, 0)

    def drop_reduce_only(self, position: Position) -> None:
        """Cancel resting reduce-only orders that have nothing left to reduce."""
        book = self.instruments[position.symbol].book
        for order in list(position.orders.values()):
            if order.reduce_only and reducible(position.quantity, order.side) == 0:
                levels = book.levels[order.side]
                if order in levels.get(order.price, ()):
                    self.cancel_order(order, CancelReason.REDUCE_ONLY)

    def rehearse(
        self, taker: Order, limit: int, fills: list[Fill] | None = None
    ) -> tuple[int, int, int]:
        """What a sweep of this order would do now: lots, value, and loss against mark.

        Nothing changes. Own orders are stepped over under `cancel_maker`, taken off the
        quantity under `decrement`, end the sweep under `cancel_taker` and `cancel_both`,
        and count like any other under `none`. Reduce-only makers count for what their
        positions, as they would be by then, let them trade. `fills` gets them one by one.
        """
        instrument = self.instruments[taker.symbol]
        sign = 1 if taker.side is Side.BUY else -1
        own = self.accounts[taker.account].positions[taker.symbol].quantity
        held: dict[int, int] = {taker.account: own}
        lots = value = loss = 0
        wanted = taker.leaves
        for maker in instrument.book.orders(opposite(taker.side)):
            if wanted == 0 or not within_limit(taker.side, maker.price, limit):
                break
            if maker.account == taker.account and taker.stp is not StpMode.NONE:
                if taker.stp in (StpMode.CANCEL_TAKER, StpMode.CANCEL_BOTH):
                    break
                if taker.stp is StpMode.DECREMENT:
                    wanted -= min(wanted, maker.leaves)
                continue
            fill = min(wanted, maker.leaves)
            account = maker.account
            if account not in held:
                held[account] = self.accounts[account].positions[maker.symbol].quantity
            if maker.reduce_only:
                fill = min(fill, reducible(held[account], maker.side))
            held[account] += signed(maker.side, fill)
            held[taker.account] += signed(taker.side, fill)
            if fills is not None:
                fills.append((maker, fill))
            fill_value = instrument.value_at_tick(fill, maker.price)
            lots, value, wanted = lots + fill, value + fill_value, wanted - fill
            loss += max(0, sign * (fill_value - instrument.value(fill, instrument.mark)))
        return lots, value, loss

    def can_fill_whole(self, taker: Order, limit: int) -> bool:
        """Whether a fill-or-kill order would fill; under `decrement` own orders end the count."""
        probe = taker
        if taker.stp is StpMode.DECREMENT:
            probe = replace(taker, stp=StpMode.CANCEL_TAKER)
        return self.rehearse(probe, limit)[0] == taker.leaves

    def band_limit(self, instrument: Instrument, side: Side) -> int:
        """Worst price in ticks that the band allows a side, NONE without a band.

        Rounding: down for a buy, up for a sell, so the band is never exceeded.
        """
        if instrument.price_band == NONE:
            return NONE
        scale = 10**8
        if side is Side.BUY:
            top = instrument.mark * (scale + instrument.price_band)
            return top // (scale * instrument.marks_per_tick)
        bottom = instrument.mark * (scale - instrument.price_band)
        return max(1, -(-bottom // (scale * instrument.marks_per_tick)))
