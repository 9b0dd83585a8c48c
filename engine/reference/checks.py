"""What an order must satisfy before it is taken, in the order of the rules."""

from __future__ import annotations

from engine.messages import (
    MONEY_MAX,
    NONE,
    RATE_SCALE,
    TOO_LARGE,
    HaltMode,
    MarginMode,
    PositionMode,
    RejectReason,
    Side,
    StpMode,
    TimeInForce,
)
from engine.reference.auction import Auction
from engine.reference.book import within_limit
from engine.reference.forms import is_proper
from engine.reference.margin import IsolatedAccount, as_amount, ceil_div, trade_fee
from engine.reference.rehearsal import Fill
from engine.reference.sides import reducible, signed
from engine.reference.state import (
    ICEBERG_PARTS,
    Account,
    Attached,
    Instrument,
    Order,
    Position,
    Rejected,
)

NO_NEW_ORDERS = (HaltMode.CANCEL_ONLY, HaltMode.ALL)


class OrderChecks(Auction):
    """Checks; they raise `Rejected` and change nothing but a reduce-only order's size."""

    @staticmethod
    def require(condition: bool, reason: RejectReason) -> None:
        if not condition:
            raise Rejected(reason)

    def find_instrument(self, symbol: int) -> Instrument:
        self.require(0 <= symbol < len(self.instruments), RejectReason.UNKNOWN_SYMBOL)
        return self.instruments[symbol]

    def require_trading(self, instrument: Instrument) -> None:
        """Refuse what is about a symbol that has been settled."""
        self.require(not instrument.is_over, RejectReason.EXPIRED)

    def find_trading(self, symbol: int) -> Instrument:
        instrument = self.find_instrument(symbol)
        self.require_trading(instrument)
        return instrument

    def find_account(self, account: int) -> Account:
        self.require(account in self.accounts, RejectReason.UNKNOWN_ACCOUNT)
        return self.accounts[account]

    def mode_of(self, account: int) -> PositionMode | None:
        """An account's position mode, None where there is no such account."""
        return self.accounts[account].position_mode if account in self.accounts else None

    def find_order(self, account: int, symbol: int, order_id: int) -> Order:
        """An account's live order of a symbol, on either leg."""
        order = self.find_account(account).orders.get(order_id)
        if order is None or order.symbol != symbol:
            raise Rejected(RejectReason.UNKNOWN_ORDER)
        return order

    # --- the market and its limits ----------------------------------------------------

    def check_open(
        self, instrument: Instrument, position: Position, *, reduce_only: bool,
        suits_auction: bool,
    ) -> None:
        """Refuse an order or amend for the state of its symbol or of its owner."""
        self.require(instrument.mark != NONE, RejectReason.NO_MARK_PRICE)
        self.require_trading(instrument)
        self.require(instrument.halt not in NO_NEW_ORDERS, RejectReason.HALTED)
        self.require(
            instrument.halt is not HaltMode.AUCTION or suits_auction, RejectReason.AUCTION)
        self.require(reduce_only or not self.is_frozen(position), RejectReason.PROTECTION)
        self.require(
            reduce_only or not self.is_liquidating(position), RejectReason.ACCOUNT_LIQUIDATING)

    def is_liquidating(self, position: Position) -> bool:
        return self.pool_of(position).in_queue or self.wallet_of(position).in_queue

    @staticmethod
    def suits_auction(order: Order) -> bool:
        """Whether an auction takes an order: one that waits for a price, or rests plainly."""
        if order.is_waiting:
            return True
        return order.may_rest and not order.post_only

    def check_limits(
        self, instrument: Instrument, position: Position, order: Order, *, is_new: bool
    ) -> None:
        """Quantity and notional limits; band, unless it waits; number of orders, if new."""
        if not order.close_position:
            self.check_quantity(instrument, order)
            self.check_notional(instrument, order)
        if not order.is_waiting:
            self.check_band(instrument, order)
        may_stay = order.may_rest or order.is_conditional
        if is_new and may_stay and instrument.max_open_orders != NONE:
            live = sum(len(leg.orders) for leg in self.legs_of(position))
            if live >= instrument.max_open_orders:
                raise Rejected(RejectReason.ORDER_LIMIT, live, instrument.max_open_orders)

    @staticmethod
    def check_quantity(instrument: Instrument, order: Order) -> None:
        """At most, at least (unless reduce-only), and an iceberg's number of parts."""
        quantity, shown = order.quantity, order.display_quantity
        most, least = instrument.max_order_quantity, instrument.min_order_quantity
        if most != NONE and (quantity == TOO_LARGE or quantity > most):
            raise Rejected(RejectReason.QUANTITY_LIMIT, quantity, most)
        if least != NONE and not order.reduce_only and is_proper(quantity) and quantity < least:
            raise Rejected(RejectReason.QUANTITY_LIMIT, quantity, least)
        if shown != NONE and is_proper(shown) and is_proper(quantity):
            if quantity > shown * ICEBERG_PARTS:
                raise Rejected(RejectReason.QUANTITY_LIMIT, quantity, shown * ICEBERG_PARTS)

    @staticmethod
    def check_notional(instrument: Instrument, order: Order) -> None:
        """Quantity at its price (a market order's: at mark); at most, at least."""
        most, least = instrument.max_order_notional, instrument.min_order_notional
        is_known = is_proper(order.quantity) and is_proper(order.price) and (
            order.price * instrument.marks_per_tick <= MONEY_MAX)
        notional = NONE
        if is_known:
            notional = (
                instrument.notional(order.quantity, instrument.mark) if order.is_market
                else instrument.notional_at_tick(order.quantity, order.price)
            )
        shown = notional if notional <= MONEY_MAX else NONE
        if most != NONE and (not is_known or notional > most):
            raise Rejected(RejectReason.NOTIONAL_LIMIT, shown, most)
        if least != NONE and not order.reduce_only and is_known and notional < least:
            raise Rejected(RejectReason.NOTIONAL_LIMIT, shown, least)

    def check_band(self, instrument: Instrument, order: Order) -> None:
        limit = self.band_limit(instrument, order.side)
        if order.is_market or limit == NONE:
            return
        if order.price == TOO_LARGE:
            is_outside = order.side is Side.BUY
        else:
            is_outside = not within_limit(order.side, order.price, limit)
        if is_outside:
            raise Rejected(RejectReason.PRICE_BAND, order.price, limit)

    # --- what the engine's integers hold ----------------------------------------------

    def check_terms(self, order: Order, attached: tuple[Attached | None, ...] = ()) -> None:
        """Refuse special terms that the engine's integers cannot hold."""
        numbers = [order.trigger_price, order.display_quantity]
        for child in attached:
            if child is not None:
                numbers += [child.trigger_price, child.price]
        if order.is_waiting:
            numbers += [order.price, order.quantity]
        self.require(
            all(number != TOO_LARGE and number <= MONEY_MAX for number in numbers),
            RejectReason.OVERFLOW,
        )

    def check_size(self, instrument: Instrument, position: Position, order: Order) -> None:
        """Refuse what the engine's integers cannot hold before anything is computed from it.

        A reduce-only order is clamped to the position first (nothing left: refused later).
        """
        if order.reduce_only:
            room = reducible(position.quantity, order.side)
            if room == 0:
                return
            if order.leaves == TOO_LARGE or order.leaves > room:
                filled = 0 if order.quantity == TOO_LARGE else order.filled
                order.quantity, order.leaves = filled + room, room
        self.require(
            TOO_LARGE not in (order.price, order.quantity)
            and order.quantity <= MONEY_MAX and order.price <= MONEY_MAX, RejectReason.OVERFLOW,
        )
        price = instrument.mark
        if order.price != NONE:
            limit = order.price * instrument.marks_per_tick
            self.require(limit <= MONEY_MAX, RejectReason.OVERFLOW)
            # The one at which it is worth more: an inverse contract's falls with the price.
            price = min(price, limit) if instrument.is_inverse else max(price, limit)
        if order.reduce_only:
            # Such orders are not limited by what there is to reduce, all together.
            self.require(
                instrument.notional(order.leaves, price) <= MONEY_MAX and (
                    not order.may_rest
                    or instrument.reduce_only_lots + order.leaves <= MONEY_MAX),
                RejectReason.OVERFLOW)
        else:
            self.require(self.fits(instrument, order.leaves, price), RejectReason.OVERFLOW)

    # --- what it would cost -----------------------------------------------------------

    def check_entry(
        self, instrument: Instrument, position: Position, order: Order, limit: int,
        without: Order | None = None,
    ) -> None:
        """Leverage, tier cap, reduce-only, post-only, fill-or-kill and margin, in this order."""
        terms = (0, 0, 0)
        if order.reduce_only:
            self.require(
                reducible(position.quantity, order.side) > 0, RejectReason.REDUCE_ONLY)
        else:
            terms = self.entry_terms(instrument, order, limit)
            before = self.worst_exposure(position)
            after = self.worst_exposure(position, order, terms, without)
            self.require(after <= MONEY_MAX, RejectReason.OVERFLOW)
            if after > before:
                self.check_tier(instrument, position, after)
        if order.post_only and instrument.book.crosses(order.side, order.price):
            raise Rejected(RejectReason.POST_ONLY_WOULD_CROSS)
        if order.time_in_force is TimeInForce.FOK and not self.can_fill_whole(order, limit):
            raise Rejected(RejectReason.FOK_UNFILLABLE)
        if not order.reduce_only:
            debt = -position.isolated.balance
            if position.quantity == 0 and debt > 0:
                raise Rejected(RejectReason.INSUFFICIENT_MARGIN, debt, 0)
            self.check_margin(position, order, terms, without)
        self.check_outcome(instrument, position, order, limit)

    def entry_terms(
        self, instrument: Instrument, order: Order, limit: int
    ) -> tuple[int, int, int]:
        """Lots, value and loss of an order: at its limit, or of the sweep it would make."""
        if order.is_market:
            return self.rehearse(order, limit)
        return (
            order.leaves, instrument.notional_at_tick(order.leaves, order.price),
            instrument.loss(order.side, order.leaves, order.price),
        )

    def check_outcome(
        self, instrument: Instrument, position: Position, order: Order, limit: int
    ) -> None:
        """Refuse an order that would at once cost more than there is.

        What trades at once is rehearsed; what would rest counts at its limit. A trade of a
        position with itself leaves it as it is, so its own orders are stepped over.
        """
        skip_own = order.stp is StpMode.NONE
        lots, value, loss = self.rehearse(order, limit, skip_own=skip_own)
        room = reducible(position.quantity, order.side)
        rest = order.leaves - lots
        if rest and order.may_rest:
            rest_value = instrument.notional_at_tick(rest, order.price)
            rest_loss = instrument.loss(order.side, rest, order.price)
            # What rests on the near side of the mark is of no concern to the opening.
            lots += rest if rest_loss else 0
            loss += rest_loss
            value += rest_value if rest_loss or room else 0
        if position.margin_mode is MarginMode.ISOLATED and lots > room:
            self.check_isolated_opening(instrument, position, (lots, value, loss), lots - room)
        if order.stp is StpMode.NONE and not order.reduce_only:
            self.check_self_trade(instrument, position, order, limit)
        is_cheaper = order.side is not instrument.value_side
        if position.margin_mode is MarginMode.CROSS and is_cheaper and loss:
            self.check_larger_at_mark(instrument, position, order.side, (lots, value, loss))
        if room == 0:
            return
        # A close: loss against mark and fee must not exceed the pool's equity. The fee of an
        # isolated position is paid by the wallet while it has money.
        cost = max(0, ceil_div(value * instrument.taker_fee, RATE_SCALE))
        if position.margin_mode is MarginMode.ISOLATED:
            cost = max(0, cost - self.spendable(self.wallet_of(position)))
        equity = self.measure(self.pool_of(position))[0]
        if loss + cost > equity:
            raise Rejected(RejectReason.INSUFFICIENT_MARGIN, loss + cost, max(0, equity))

    def check_larger_at_mark(
        self, instrument: Instrument, position: Position, side: Side,
        terms: tuple[int, int, int],
    ) -> None:
        """Refuse a sale below the mark (inverse: a purchase above) that would be due at once.

        Its initial margin is that of its own price; maintenance is asked for at the mark,
        where it is larger.
        """
        lots, value, loss = terms
        after = position.quantity + signed(side, lots)
        if signed(side, after) <= 0:
            return
        equity, maintenance = self.measure(self.pool_of(position))
        equity -= loss + max(0, ceil_div(value * instrument.taker_fee, RATE_SCALE))
        needed = maintenance + self.schedule_of(position).maintenance_margin(
            instrument.notional(abs(after), instrument.mark))
        if position.quantity:
            needed -= self.maintenance_margin(position)
        if equity <= needed:
            raise Rejected(RejectReason.INSUFFICIENT_MARGIN, needed, max(0, equity))

    def check_isolated_opening(
        self, instrument: Instrument, position: Position, terms: tuple[int, int, int],
        opened: int,
    ) -> None:
        """Refuse an isolated opening so far from mark that it would be due at once.

        The margin moved is value / leverage, which need not cover the loss against mark.
        """
        lots, value, loss = terms
        is_flip = opened < lots
        held = 0 if is_flip else abs(position.quantity)
        equity = 0 if is_flip else self.measure(position.isolated)[0]
        equity += self.isolated_share(position, value * opened // lots, held + opened)
        equity -= ceil_div(loss * opened, lots)
        needed = self.schedule_of(position).maintenance_margin(
            instrument.notional(held + opened, instrument.mark))
        if equity <= needed:
            raise Rejected(RejectReason.INSUFFICIENT_MARGIN, needed, max(0, equity))

    def check_self_trade(
        self, instrument: Instrument, position: Position, order: Order, limit: int
    ) -> None:
        """Refuse trades with oneself that would at once cost more than there is."""
        fills: list[Fill] = []
        self.rehearse(order, limit, fills=fills)
        own = [self.position_of(maker) for maker, _ in fills if maker.account == order.account]
        if own and position.margin_mode is MarginMode.ISOLATED:
            self.check_isolated_self_trade(instrument, position, order, fills)
        elif any(leg is not position for leg in own):
            self.check_cross_legs(instrument, position, order, fills)

    def check_isolated_self_trade(
        self, instrument: Instrument, position: Position, order: Order, fills: list[Fill]
    ) -> None:
        """Refuse trades with oneself after which an isolated position would be due at once.

        In one position they close lots at their price and open them anew there: profit goes
        to the wallet, and the margin of the new opening need not bear its loss against mark.
        In a hedge account they may open both legs, from one wallet.
        """
        trials = {
            leg.leg: IsolatedAccount(leg.quantity, leg.entry_value, leg.isolated.balance)
            for leg in self.legs_of(position)}
        touched = sorted({order.position_side} | {
            maker.position_side for maker, _ in fills if maker.account == order.account})
        wallet = self.wallet_of(position).balance

        def share(value: int, held: int) -> int:
            return self.isolated_share(position, value, held)

        def fill(party: Order, lots: int, price: int, rate: int) -> None:
            nonlocal wallet
            value = instrument.worth_at_tick(lots, price)
            trial = trials[party.position_side]
            wallet = trial.fill(
                signed(party.side, lots), instrument.signed_value(party.side, value), wallet,
                share)
            wallet = trial.pay(trade_fee(value, rate), wallet)

        for maker, lots in fills:
            if maker.account == order.account:
                fill(maker, lots, maker.price, instrument.maker_fee)
            fill(order, lots, maker.price, instrument.taker_fee)
        for leg in touched:
            trial = trials[leg]
            equity = trial.margin + instrument.value(trial.quantity, instrument.mark)
            equity -= trial.entry_value
            needed = self.schedule_of(position).maintenance_margin(
                instrument.notional(abs(trial.quantity), instrument.mark))
            if trial.quantity and equity <= needed:
                raise Rejected(RejectReason.INSUFFICIENT_MARGIN, needed, max(0, equity))

    def check_cross_legs(
        self, instrument: Instrument, position: Position, order: Order, fills: list[Fill]
    ) -> None:
        """Refuse trades that open both legs of a cross pool which would be due at once.

        The order of the other leg was accepted at its own price; maintenance is asked for at
        the mark, for both.
        """
        legs = self.legs_of(position)
        lots_of = {leg.leg: leg.quantity for leg in legs}
        equity, needed = self.measure(self.pool_of(position))
        equity -= sum(instrument.value(leg.quantity, instrument.mark) for leg in legs)
        needed -= sum(self.maintenance_margin(leg) for leg in legs)
        for maker, lots in fills:
            value = instrument.worth_at_tick(lots, maker.price)
            parties = [(order, instrument.taker_fee)]
            if maker.account == order.account:
                parties.append((maker, instrument.maker_fee))
            for party, rate in parties:
                lots_of[party.position_side] += signed(party.side, lots)
                equity -= instrument.signed_value(party.side, value) + trade_fee(value, rate)
        for lots in lots_of.values():
            equity += instrument.value(lots, instrument.mark)
            if lots:
                needed += self.schedule_of(position).maintenance_margin(
                    instrument.notional(abs(lots), instrument.mark))
        if equity <= needed:
            raise Rejected(RejectReason.INSUFFICIENT_MARGIN, needed, max(0, equity))

    def check_tier(self, instrument: Instrument, position: Position, exposure: int) -> None:
        schedule = self.schedule_of(position)
        tier = schedule.tiers[schedule.tier_index(exposure)]
        leverage = self.leverage_of(position)
        if leverage > tier.max_leverage:
            raise Rejected(RejectReason.LEVERAGE, leverage, tier.max_leverage)
        cap = schedule.tiers[-1].max_notional
        if schedule.is_capped and exposure > cap:
            raise Rejected(RejectReason.TIER_LIMIT, exposure, cap)

    def check_margin(
        self, position: Position, order: Order, terms: tuple[int, int, int],
        without: Order | None,
    ) -> None:
        needed = (self.order_margin(position, order, terms[1:], without)
                  - self.order_margin(position))
        free = self.free_for(position)
        if needed > free and (needed > 0 or self.adds_exposure(position, order, terms, without)):
            raise Rejected(RejectReason.INSUFFICIENT_MARGIN, needed, as_amount(free))

    def adds_exposure(
        self, position: Position, order: Order, terms: tuple[int, int, int],
        without: Order | None,
    ) -> bool:
        """Whether position plus the orders of this side would be larger than the position."""
        held = self.exposure(position)
        value = terms[1] + self.resting_terms(position, order.side, without)[0]
        return abs(held + (value if order.side is Side.BUY else -value)) > abs(held)

    def worst_exposure(
        self, position: Position, extra: Order | None = None,
        terms: tuple[int, int, int] = (0, 0, 0), without: Order | None = None,
    ) -> int:
        """Notional of the worse side of position plus open orders.

        A new sell counts at the mark where its price is lower: it may trade as high as that.
        So does a new inverse buy whose price is higher.
        """
        instrument = self.instruments[position.symbol]
        if instrument.mark == NONE:
            return 0
        held = self.exposure(position)
        worst = abs(held)
        for side, sign in ((Side.BUY, 1), (Side.SELL, -1)):
            value, _ = self.resting_terms(position, side, without)
            if extra is not None and extra.side is side:
                at_mark = instrument.notional(terms[0], instrument.mark)
                value += terms[1] if side is instrument.value_side else max(terms[1], at_mark)
            worst = max(worst, abs(held + sign * value))
        return worst
