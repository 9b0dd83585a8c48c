"""Order entry: what an order, an amend or a cancel must satisfy, and what it then does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from engine.messages import (
    MONEY_MAX,
    NONE,
    OFF_GRID,
    RATE_SCALE,
    TOO_LARGE,
    CancelReason,
    Command,
    EventKind,
    HaltMode,
    MarginMode,
    OrderType,
    RejectReason,
    Side,
    StpMode,
    TimeInForce,
)
from engine.reference.book import within_limit
from engine.reference.liquidation import Liquidation
from engine.reference.margin import IsolatedAccount, ceil_div, isolated_share, trade_fee
from engine.reference.matching import Fill, reducible, signed
from engine.reference.state import Account, Instrument, Order, Position, Rejected

NO_NEW_ORDERS = (HaltMode.CANCEL_ONLY, HaltMode.ALL)


class OrderEntry(Liquidation):
    """Commands about orders. `execute` is the core's."""

    execute: Callable[..., None]

    @staticmethod
    def require(condition: bool, reason: RejectReason) -> None:
        if not condition:
            raise Rejected(reason)

    def find_instrument(self, symbol: int) -> Instrument:
        self.require(0 <= symbol < len(self.instruments), RejectReason.UNKNOWN_SYMBOL)
        return self.instruments[symbol]

    def find_account(self, account: int) -> Account:
        self.require(account in self.accounts, RejectReason.UNKNOWN_ACCOUNT)
        return self.accounts[account]

    def place_order(
        self, account: int, symbol: int, order_id: int, side: int, order_type: int,
        quantity: int, price: int, time_in_force: int, post_only: bool, reduce_only: bool,
        stp: int, ts: int = NONE,
    ) -> None:
        def run() -> None:
            self.check_order_form(
                order_id, order_type, quantity, price, time_in_force, post_only)
            instrument = self.find_instrument(symbol)
            owner = self.find_account(account)
            position = owner.position(instrument)
            self.require(order_id not in owner.orders, RejectReason.DUPLICATE_ORDER_ID)
            self.check_open(instrument, position, reduce_only)
            self.require(price != OFF_GRID, RejectReason.OFF_TICK)
            self.require(quantity != OFF_GRID, RejectReason.OFF_LOT)
            order = Order(
                account, symbol, order_id, Side(side), OrderType(order_type), price, quantity,
                quantity, TimeInForce(time_in_force), bool(post_only), bool(reduce_only),
                StpMode(stp),
            )
            self.check_limits(instrument, position, order)
            self.check_size(instrument, position, order)
            limit = price
            if order.type is OrderType.MARKET:
                limit = self.band_limit(instrument, order.side)
            self.check_entry(instrument, position, order, limit)
            owner.orders[order_id] = position.orders[order_id] = order
            self.emit(
                EventKind.ORDER_ACCEPTED, account, symbol, order_id, order.side, order.type,
                price, order.quantity, order.time_in_force, order.post_only, order.reduce_only,
                order.stp,
            )
            self.enter(position, order, limit)
            self.retry_waiting()

        self.execute(Command.ORDER, ts, run, account, symbol, order_id)

    # --- checks, in the order of the rules --------------------------------------------

    def check_order_form(
        self, order_id: int, order_type: int, quantity: int, price: int, time_in_force: int,
        post_only: bool,
    ) -> None:
        grid = (OFF_GRID, TOO_LARGE)
        is_limit = order_type == OrderType.LIMIT
        is_market = order_type == OrderType.MARKET
        well_formed = order_id > 0 and (quantity > 0 or quantity in grid)
        if is_limit:
            well_formed = well_formed and (price > 0 or price in grid)
        if is_market:
            well_formed = well_formed and price == NONE and time_in_force != TimeInForce.GTC
        if post_only:
            well_formed = well_formed and not is_market and time_in_force not in (
                TimeInForce.IOC, TimeInForce.FOK)
        self.require(well_formed, RejectReason.MALFORMED)
        self.require(
            (is_limit or is_market) and time_in_force in tuple(TimeInForce),
            RejectReason.UNSUPPORTED,
        )

    def check_open(self, instrument: Instrument, position: Position, reduce_only: bool) -> None:
        self.require(instrument.mark != NONE, RejectReason.NO_MARK_PRICE)
        self.require(instrument.halt not in NO_NEW_ORDERS, RejectReason.HALTED)
        self.require(
            reduce_only
            or not (self.pool_of(position).in_queue or self.wallet_of(position).in_queue),
            RejectReason.ACCOUNT_LIQUIDATING,
        )

    def check_limits(
        self, instrument: Instrument, position: Position, order: Order, *, is_new: bool = True
    ) -> None:
        most = instrument.max_order_quantity
        if most != NONE and (order.quantity == TOO_LARGE or order.quantity > most):
            raise Rejected(RejectReason.QUANTITY_LIMIT, order.quantity, most)
        limit = self.band_limit(instrument, order.side)
        if order.type is OrderType.LIMIT and limit != NONE:
            if order.price == TOO_LARGE:
                outside = order.side is Side.BUY
            else:
                outside = not within_limit(order.side, order.price, limit)
            if outside:
                raise Rejected(RejectReason.PRICE_BAND, order.price, limit)
        may_rest = order.time_in_force is TimeInForce.GTC
        if is_new and may_rest and instrument.max_open_orders != NONE:
            if len(position.orders) >= instrument.max_open_orders:
                raise Rejected(
                    RejectReason.ORDER_LIMIT, len(position.orders), instrument.max_open_orders)

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
        price = max(instrument.mark, order.price * instrument.marks_per_tick)
        if order.reduce_only:
            self.require(
                instrument.value(order.leaves, price) <= MONEY_MAX, RejectReason.OVERFLOW)
        else:
            self.require(self.fits(instrument, order.leaves, price), RejectReason.OVERFLOW)

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
        if order.type is OrderType.MARKET:
            return self.rehearse(order, limit)
        value = instrument.value_at_tick(order.leaves, order.price)
        loss = value - instrument.value(order.leaves, instrument.mark)
        return order.leaves, value, max(0, loss if order.side is Side.BUY else -loss)

    def check_outcome(
        self, instrument: Instrument, position: Position, order: Order, limit: int
    ) -> None:
        """Refuse an order that would at once cost more than there is.

        What trades at once is rehearsed; what would rest counts at its limit. A trade with
        oneself changes no position, so one's own orders are stepped over.
        """
        probe = order
        if order.stp is StpMode.NONE:
            probe = replace(order, stp=StpMode.CANCEL_MAKER)
        lots, value, loss = self.rehearse(probe, limit)
        room = reducible(position.quantity, order.side)
        rest = order.leaves - lots
        if rest and order.time_in_force is TimeInForce.GTC:
            rest_value = instrument.value_at_tick(rest, order.price)
            rest_loss = rest_value - instrument.value(rest, instrument.mark)
            rest_loss = max(0, rest_loss if order.side is Side.BUY else -rest_loss)
            # What rests on the near side of the mark is of no concern to the opening.
            lots += rest if rest_loss else 0
            loss += rest_loss
            value += rest_value if rest_loss or room else 0
        if position.margin_mode is MarginMode.ISOLATED and lots > room:
            self.check_isolated_opening(instrument, position, (lots, value, loss), lots - room)
        if (position.margin_mode is MarginMode.ISOLATED and order.stp is StpMode.NONE
                and not order.reduce_only):
            self.check_isolated_self_trade(instrument, position, order, limit)
        if position.margin_mode is MarginMode.CROSS and order.side is Side.SELL and loss:
            self.check_sale_below_mark(instrument, position, (lots, value, loss))
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

    def check_sale_below_mark(
        self, instrument: Instrument, position: Position, terms: tuple[int, int, int]
    ) -> None:
        """Refuse a sale after which the pool would be due at once.

        Its initial margin is that of its own price; maintenance is asked for at the mark.
        """
        lots, value, loss = terms
        after = position.quantity - lots
        if after >= 0:
            return
        equity, maintenance = self.measure(self.pool_of(position))
        equity -= loss + max(0, ceil_div(value * instrument.taker_fee, RATE_SCALE))
        needed = maintenance + instrument.schedule.maintenance_margin(
            abs(instrument.value(after, instrument.mark)))
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
        equity += isolated_share(
            value * opened // lots, self.opening_leverage(position, held + opened))
        equity -= ceil_div(loss * opened, lots)
        needed = instrument.schedule.maintenance_margin(
            instrument.value(held + opened, instrument.mark))
        if equity <= needed:
            raise Rejected(RejectReason.INSUFFICIENT_MARGIN, needed, max(0, equity))

    def check_isolated_self_trade(
        self, instrument: Instrument, position: Position, order: Order, limit: int
    ) -> None:
        """Refuse a trade with oneself after which an isolated position would be due at once.

        It closes lots at its price and opens them anew there: profit goes to the wallet, and
        the margin of the new opening need not bear its loss against mark.
        """
        fills: list[Fill] = []
        self.rehearse(order, limit, fills)
        if all(maker.account != order.account for maker, _ in fills):
            return
        account = IsolatedAccount(
            position.quantity, position.entry_value, position.isolated.balance,
            self.wallet_of(position).balance)

        def leverage(held: int) -> int:
            return self.opening_leverage(position, held)

        for maker, lots in fills:
            value = instrument.value_at_tick(lots, maker.price)
            if maker.account == order.account:
                account.fill(signed(maker.side, lots), signed(maker.side, value), leverage)
                account.pay(trade_fee(value, instrument.maker_fee))
            account.fill(signed(order.side, lots), signed(order.side, value), leverage)
            account.pay(trade_fee(value, instrument.taker_fee))
        equity = account.margin + instrument.value(account.quantity, instrument.mark)
        equity -= account.entry_value
        needed = instrument.schedule.maintenance_margin(
            abs(instrument.value(account.quantity, instrument.mark)))
        if account.quantity and equity <= needed:
            raise Rejected(RejectReason.INSUFFICIENT_MARGIN, needed, max(0, equity))

    def check_tier(self, instrument: Instrument, position: Position, exposure: int) -> None:
        schedule = instrument.schedule
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
            raise Rejected(RejectReason.INSUFFICIENT_MARGIN, needed, max(0, free))

    def adds_exposure(
        self, position: Position, order: Order, terms: tuple[int, int, int],
        without: Order | None,
    ) -> bool:
        """Whether position plus the orders of this side would be larger than the position."""
        instrument = self.instruments[position.symbol]
        held = instrument.value(position.quantity, instrument.mark)
        value = terms[1] + sum(
            instrument.value_at_tick(each.leaves, each.price)
            for each in self.reserving(position, order.side, without)
        )
        return abs(held + (value if order.side is Side.BUY else -value)) > abs(held)

    def worst_exposure(
        self, position: Position, extra: Order | None = None,
        terms: tuple[int, int, int] = (0, 0, 0), without: Order | None = None,
    ) -> int:
        """Notional of the worse side of position plus open orders.

        A new sell counts at the mark where its price is lower: it may trade as high as that.
        """
        instrument = self.instruments[position.symbol]
        if instrument.mark == NONE:
            return 0
        held = instrument.value(position.quantity, instrument.mark)
        worst = abs(held)
        for side, sign in ((Side.BUY, 1), (Side.SELL, -1)):
            value = sum(
                instrument.value_at_tick(order.leaves, order.price)
                for order in self.reserving(position, side, without)
            )
            if extra is not None and extra.side is side:
                at_mark = instrument.value(terms[0], instrument.mark)
                value += max(terms[1], at_mark) if side is Side.SELL else terms[1]
            worst = max(worst, abs(held + sign * value))
        return worst

    # --- effects ----------------------------------------------------------------------

    def enter(self, position: Position, order: Order, limit: int) -> None:
        """Sweep, then rest or cancel what is left."""
        self.sweep(order, limit)
        if order.order_id not in position.orders:
            return
        if order.leaves == 0:
            self.retire_order(order)
            self.emit_order_update(order)
        elif order.time_in_force is not TimeInForce.GTC:
            self.cancel_order(order, CancelReason.IOC, is_resting=False)
        elif order.reduce_only and reducible(position.quantity, order.side) == 0:
            self.cancel_order(order, CancelReason.REDUCE_ONLY, is_resting=False)
        else:
            self.instruments[order.symbol].book.add(order)
            self.order_changed(order)

    def amend_order(
        self, account: int, symbol: int, order_id: int, price: int = NONE, quantity: int = NONE,
        leaves: int = NONE, ts: int = NONE,
    ) -> None:
        """Change price, total quantity or open quantity of a resting order."""

        def run() -> None:
            grid = (OFF_GRID, TOO_LARGE)
            self.require(
                (price, quantity, leaves) != (NONE, NONE, NONE)
                and NONE in (quantity, leaves)
                and (price == NONE or price > 0 or price in grid)
                and (quantity == NONE or quantity > 0 or quantity in grid),
                RejectReason.MALFORMED,
            )
            instrument = self.find_instrument(symbol)
            position = self.find_account(account).position(instrument)
            self.require(order_id in position.orders, RejectReason.UNKNOWN_ORDER)
            order = position.orders[order_id]
            self.check_open(instrument, position, order.reduce_only)
            self.require(price != OFF_GRID, RejectReason.OFF_TICK)
            self.require(OFF_GRID not in (quantity, leaves), RejectReason.OFF_LOT)
            self.amend(instrument, position, order, price, quantity, leaves)
            self.retry_waiting()

        self.execute(Command.AMEND, ts, run, account, symbol, order_id)

    def amend(
        self, instrument: Instrument, position: Position, order: Order, price: int,
        quantity: int, leaves: int,
    ) -> None:
        new_price = order.price if price == NONE else price
        new_leaves = order.leaves
        if leaves != NONE:
            new_leaves = leaves
        elif quantity != NONE:
            new_leaves = quantity if quantity == TOO_LARGE else quantity - order.filled
        if new_leaves <= 0 and new_leaves != TOO_LARGE:
            self.cancel_order(order, CancelReason.AMEND)
            return
        if new_price == order.price and new_leaves != TOO_LARGE and new_leaves <= order.leaves:
            # In place: the order keeps its turn.
            order.quantity = order.filled + new_leaves
            order.leaves = new_leaves
            self.emit_amended(order)
            self.order_changed(order)
            return
        filled = order.filled
        wanted = TOO_LARGE if new_leaves == TOO_LARGE else filled + new_leaves
        changed = Order(
            order.account, order.symbol, order.order_id, order.side, order.type, new_price,
            wanted, new_leaves, order.time_in_force, order.post_only, order.reduce_only,
            order.stp,
        )
        self.check_limits(instrument, position, changed, is_new=False)
        self.check_size(instrument, position, changed)
        self.check_entry(instrument, position, changed, new_price, without=order)
        instrument.book.remove(order)
        order.price, order.leaves, order.quantity = changed.price, changed.leaves, changed.quantity
        self.emit_amended(order)
        self.enter(position, order, new_price)

    def emit_amended(self, order: Order) -> None:
        self.emit(
            EventKind.ORDER_AMENDED, order.account, order.symbol, order.order_id, order.price,
            order.quantity, order.leaves,
        )

    def cancel(self, account: int, symbol: int, order_id: int, ts: int = NONE) -> None:
        def run() -> None:
            instrument = self.find_instrument(symbol)
            position = self.find_account(account).position(instrument)
            self.require(order_id in position.orders, RejectReason.UNKNOWN_ORDER)
            self.cancel_order(position.orders[order_id], CancelReason.USER)

        self.execute(Command.CANCEL, ts, run, account, symbol, order_id)

    def cancel_all(self, account: int = NONE, symbol: int = NONE, ts: int = NONE) -> None:
        """Cancel by account and symbol (NONE: all), in order of account, symbol, acceptance."""

        def run() -> None:
            if symbol != NONE:
                self.find_instrument(symbol)
            if account != NONE:
                self.find_account(account)
            for owner in sorted(self.accounts) if account == NONE else [account]:
                positions = self.accounts[owner].positions
                for each in sorted(positions):
                    if symbol in (NONE, each):
                        for order in list(positions[each].orders.values()):
                            self.cancel_order(order, CancelReason.USER)

        self.execute(Command.CANCEL_ALL, ts, run, account, symbol)
