"""Matching: the sweep of a taker through the other side of the book."""

from __future__ import annotations

from engine.messages import (
    NONE,
    CancelReason,
    EventKind,
    FundWorkoff,
    InsuranceReason,
    Side,
    StpMode,
    TradeFlag,
    TriggerBy,
)
from engine.reference.book import within_limit
from engine.reference.maker_check import MakerChecks
from engine.reference.margin import trade_fee
from engine.reference.sides import opposite, reducible, signed
from engine.reference.state import Instrument, Order

#: Under these the fund trades so much of its inventory in an interval, and no more.
PACED = (FundWorkoff.TWAP, FundWorkoff.PASSIVE)


class Matching(MakerChecks):
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
                    self.cancel_order(taker, CancelReason.REDUCE_ONLY)
                    break
            if taker.stp is not StpMode.NONE and self.is_one_owner(taker, maker):
                if self.prevent_self_trade(taker, maker):
                    continue
                break
            if not liquidation and self.would_reduce_nothing(taker, maker):
                if taker.reduce_only:
                    self.cancel_order(taker, CancelReason.REDUCE_ONLY)
                    break
                self.cancel_order(maker, CancelReason.REDUCE_ONLY)
                continue
            lots = min(taker.leaves, maker.displayed)
            if taker.reduce_only and not liquidation:
                lots = min(lots, self.reducible_by(taker))
            if maker.reduce_only:
                lots = min(lots, self.reducible_by(maker))
            if instrument.profile.maker_check and maker.account and not self.can_carry(
                    self.holdings_of(self.position_of(maker)), maker, lots):
                self.cancel_order(maker, CancelReason.UNDERCOLLATERALIZED)
                continue
            value_traded += self.trade(
                instrument, taker, maker, lots, maker.price, liquidation=liquidation)
            lots_traded += lots
        return lots_traded, value_traded

    def reducible_by(self, order: Order) -> int:
        return reducible(self.position_of(order).quantity, order.side)

    @staticmethod
    def would_reduce_nothing(one: Order, other: Order) -> bool:
        """Whether two orders on one position meet, one of them reduce-only.

        Their trade would leave the position as it is, and the reduce-only order with as
        much to do as before: it is cancelled instead.
        """
        is_one_position = (one.account, one.position_side) == (
            other.account, other.position_side)
        return is_one_position and (one.reduce_only or other.reduce_only)

    # --- self-trade prevention --------------------------------------------------------

    def is_one_owner(self, taker: Order, maker: Order) -> bool:
        """Whether two orders are of one account, or of accounts of one group."""
        if taker.account == maker.account:
            return True
        group = self.accounts[taker.account].stp_group
        return group != NONE and group == self.owner_of(maker).stp_group

    def prevent_self_trade(self, taker: Order, maker: Order) -> bool:
        """Apply the taker's self-trade prevention; return whether the sweep goes on."""
        if taker.stp is StpMode.DECREMENT:
            lots = min(taker.leaves, maker.leaves)
            for order in (maker, taker):
                self.take_lots(order, lots)
                order.quantity -= lots
            if maker.leaves:
                self.order_changed(maker)
            else:
                self.cancel_order(maker, CancelReason.SELF_TRADE)
            if taker.leaves:
                return True
            self.cancel_order(taker, CancelReason.SELF_TRADE)
            return False
        if taker.stp in (StpMode.CANCEL_MAKER, StpMode.CANCEL_BOTH):
            self.cancel_order(maker, CancelReason.SELF_TRADE)
        if taker.stp is StpMode.CANCEL_MAKER:
            return True
        self.cancel_order(taker, CancelReason.SELF_TRADE)
        return False

    # --- one trade --------------------------------------------------------------------

    def trade(
        self, instrument: Instrument, taker: Order, maker: Order, lots: int, price: int, *,
        liquidation: bool = False, uncross: bool = False,
    ) -> int:
        """Execute one trade, with all that follows from it at once; return its value.

        In an auction's uncrossing both orders rest, and keep their places in the queue.
        """
        value = instrument.worth_at_tick(lots, price)
        maker_fee = trade_fee(value, instrument.maker_fee) if maker.account else 0
        # A liquidation pays the liquidation fee instead of the taker fee.
        taker_fee = 0 if liquidation else trade_fee(value, instrument.taker_fee)
        self.trade_id += 1
        price_before, instrument.last_price = instrument.last_price, price
        instrument.last_trade_seq = self.seq
        self.emit(
            EventKind.TRADE, self.trade_id, instrument.index, price, lots, maker.order_id,
            maker.account, taker.order_id, taker.account, taker.side, maker_fee, taker_fee,
            liquidation,
        )
        if uncross:
            self.take_fill(maker, lots, price, TradeFlag.AUCTION)
            self.take_fill(taker, lots, price, TradeFlag.AUCTION | TradeFlag.REPEATED)
        else:
            self.take_fill(maker, lots, price, TradeFlag.LIQUIDATION if liquidation else 0)
        self.settle_resting(maker, lots)
        if uncross:
            self.settle_resting(taker, lots)
        else:
            self.take_lots(taker, lots)
            self.group_filled(taker, lots)
        parties = [(order, fee) for order, fee in ((maker, maker_fee), (taker, taker_fee))
                   if order.account]
        for order in (maker, taker):
            if not order.account:
                self.settle_fund(instrument, order.side, lots, value)
        for order, fee in parties:
            position = self.position_of(order)
            self.settle_fill(
                position, signed(order.side, lots), instrument.signed_value(order.side, value))
            self.charge(position, fee)
            self.assets[instrument.settle].fees += fee
        for order, _ in parties:
            self.entry_filled(order)
        for order in (maker, taker):
            self.drop_reduce_only(self.position_of(order))
        self.count_maker_trade(self.position_of(maker), lots)
        if price != price_before:
            self.evaluate_triggers(instrument, TriggerBy.LAST)
        return value

    def take_fill(self, order: Order, lots: int, price: int, detail: int) -> None:
        """Take traded lots off a resting order.

        An iceberg whose part is used up shows the next one, at the back of its level; in
        an auction it trades as a whole and keeps its place.
        """
        before = order.displayed
        self.take_leaves(order, lots)
        order.shown -= lots
        if detail & TradeFlag.AUCTION:
            self.show_next_part(order)
        self.send_execution(order, before, lots, price, detail)
        if order.leaves == 0:
            self.take_off(order)
        elif order.displayed == 0:
            self.show_next_part(order)
            self.instruments[order.symbol].book.send_back(order)
            self.send_displayed(order, 0)

    def settle_resting(self, order: Order, lots: int) -> None:
        """What a fill makes of a resting order: its end, or less of it; its group hears of it."""
        if order.leaves == 0:
            self.retire_order(order)
            self.emit_order_update(order)
            self.untie(order)
        else:
            self.order_changed(order)
            self.shrink_group(order, lots)

    def settle_fund(self, instrument: Instrument, side: Side, lots: int, value: int) -> None:
        """Book a trade of the fund (account 0 in events) to its inventory and its balance."""
        profit = self.settle_house(
            instrument.fund, signed(side, lots), instrument.signed_value(side, value))
        self.change_insurance(instrument.insurer, profit, InsuranceReason.INVENTORY, 0)
        if instrument.profile.fund_workoff in PACED:
            instrument.workoff.done += lots
