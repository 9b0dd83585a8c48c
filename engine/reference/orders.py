"""Commands about orders: what is taken, amended and cancelled, and how an order enters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from engine.messages import (
    NONE,
    OFF_GRID,
    TOO_LARGE,
    CancelReason,
    Command,
    EventKind,
    HaltMode,
    PositionSide,
    RejectReason,
    TriggerBy,
)
from engine.reference.checks import OrderChecks
from engine.reference.forms import (
    AttachedRow,
    OrderForm,
    attached_terms,
    check_form,
    is_positive,
    settle_leg,
)
from engine.reference.sides import reducible
from engine.reference.state import Instrument, Order, Position, Rejected, Stage


class OrderEntry(OrderChecks):
    """Commands about orders. `execute` is the core's."""

    execute: Callable[..., None]

    # --- new orders -------------------------------------------------------------------

    def place_order(
        self, account: int, symbol: int, order_id: int, side: int, order_type: int,
        quantity: int, price: int, time_in_force: int, post_only: bool, reduce_only: bool,
        stp: int, ts: int = NONE, trigger_price: int = NONE, trigger_by: int = NONE,
        callback_rate: int = NONE, display_quantity: int = NONE, expire_ts: int = NONE,
        close_position: bool = False, oco: int = NONE, take_profit: AttachedRow | None = None,
        stop_loss: AttachedRow | None = None, position_side: int = NONE,
    ) -> None:
        """Take an order: let it wait for its price, or let it trade and rest."""
        form = OrderForm(
            account, symbol, order_id, side, order_type, quantity, price, time_in_force,
            post_only, bool(reduce_only or close_position), stp, trigger_price, trigger_by,
            callback_rate, display_quantity, expire_ts, close_position, oco, take_profit,
            stop_loss, PositionSide.BOTH if position_side == NONE else position_side,
        )
        self.execute(
            Command.ORDER, ts, lambda: self.place(form), account, symbol, order_id)

    def place(self, form: OrderForm) -> None:
        settle_leg(form, self.mode_of(form.account))
        check_form(form, self.ts)
        instrument = self.find_instrument(form.symbol)
        owner = self.find_account(form.account)
        position = owner.position(instrument, PositionSide(form.position_side))
        self.check_names(position, form)
        order = form.order()
        if order.is_conditional:
            order.stage = Stage.PENDING
        self.check_open(
            instrument, position, reduce_only=order.reduce_only,
            suits_auction=self.suits_auction(order),
        )
        self.check_grid(form)
        if order.close_position:
            order.quantity = order.leaves = reducible(position.quantity, order.side)
        attached = (attached_terms(form.take_profit), attached_terms(form.stop_loss))
        self.check_limits(instrument, position, order, is_new=True)
        self.check_terms(order, attached)
        limit = self.limit_of(instrument, order)
        if order.is_waiting:
            self.require(order.quantity > 0, RejectReason.REDUCE_ONLY)
        else:
            self.check_size(instrument, position, order)
            self.check_entry(instrument, position, order, limit)
        self.accept_order(order)
        self.join_group(order)
        self.attach(order, *attached)
        if order.is_waiting:
            self.order_changed(order)
            self.let_wait(order)
        else:
            self.enter(position, order, limit)
        self.retry_waiting()

    def check_names(self, position: Position, form: OrderForm) -> None:
        """Refuse ids that are taken, and a group of orders of another kind."""
        owner = self.accounts[form.account]
        for order_id in (form.order_id, *(row[0] for row in form.attached)):
            is_free = order_id not in owner.orders and order_id not in owner.reserved
            self.require(is_free, RejectReason.DUPLICATE_ORDER_ID)
        for leg in self.legs_of(position):
            if form.oco in leg.groups:
                member = leg.groups[form.oco].members[0]
                self.require(
                    leg is position
                    and (member.side, member.reduce_only) == (form.side, form.reduce_only),
                    RejectReason.OCO_GROUP,
                )

    def check_grid(self, form: OrderForm) -> None:
        prices = [form.price, form.trigger_price]
        for _, trigger_price, _, price in form.attached:
            prices += [trigger_price, price]
        self.require(OFF_GRID not in prices, RejectReason.OFF_TICK)
        quantities = [form.display_quantity]
        if not form.close_position:
            quantities.append(form.quantity)
        self.require(OFF_GRID not in quantities, RejectReason.OFF_LOT)

    def limit_of(self, instrument: Instrument, order: Order) -> int:
        """The worst price at which an order may trade: its own, or what the band allows."""
        return self.band_limit(instrument, order.side) if order.is_market else order.price

    def enter(self, position: Position, order: Order, limit: int) -> None:
        """Sweep, unless an auction gathers orders; then rest or cancel what is left."""
        if self.instruments[order.symbol].halt is not HaltMode.AUCTION:
            self.sweep(order, limit)
        if order.stage is Stage.DEAD:
            return
        if order.leaves == 0:
            self.retire_order(order)
            self.emit_order_update(order)
            self.untie(order)
        elif not order.may_rest:
            self.cancel_order(order, CancelReason.IOC)
        elif order.reduce_only and reducible(position.quantity, order.side) == 0:
            self.cancel_order(order, CancelReason.REDUCE_ONLY)
        else:
            self.rest(order)
            self.order_changed(order)

    # --- activation -------------------------------------------------------------------

    def activate(self, order: Order) -> None:
        """Let a triggered order enter the market, or cancel it for what stands against it."""
        instrument, position = self.instruments[order.symbol], self.position_of(order)
        order.stage = Stage.TAKING
        self.emit(
            EventKind.ORDER_TRIGGERED, order.account, order.symbol, order.order_id,
            order.trigger_by, self.reference_price(instrument, TriggerBy(order.trigger_by)),
        )
        self.child_triggered(order)
        limit = self.limit_of(instrument, order)
        try:
            self.check_activation(instrument, position, order, limit)
        except Rejected as rejected:
            self.cancel_order(order, CancelReason[rejected.reason.name])
            return
        self.enter(position, order, limit)

    def check_activation(
        self, instrument: Instrument, position: Position, order: Order, limit: int
    ) -> None:
        """What may have come up while it waited; the reasons are those of a new order."""
        is_adding = not order.reduce_only
        self.require(
            not (is_adding and self.is_liquidating(position)), RejectReason.ACCOUNT_LIQUIDATING)
        self.require(not (is_adding and self.is_frozen(position)), RejectReason.PROTECTION)
        room = reducible(position.quantity, order.side)
        self.require(is_adding or room > 0, RejectReason.REDUCE_ONLY)
        if order.close_position:
            order.quantity = order.leaves = room
        self.check_band(instrument, order)
        self.check_size(instrument, position, order)
        self.check_entry(instrument, position, order, limit)

    # --- amends -----------------------------------------------------------------------

    def amend_order(
        self, account: int, symbol: int, order_id: int, price: int = NONE, quantity: int = NONE,
        leaves: int = NONE, ts: int = NONE, trigger_price: int = NONE,
    ) -> None:
        """Change price, total or open quantity, or the trigger of an order that waits."""

        def run() -> None:
            self.require(
                (price, quantity, leaves, trigger_price) != (NONE, NONE, NONE, NONE)
                and NONE in (quantity, leaves)
                and all(value == NONE or is_positive(value)
                        for value in (price, quantity, trigger_price)),
                RejectReason.MALFORMED,
            )
            instrument = self.find_instrument(symbol)
            order = self.find_order(account, symbol, order_id)
            position = self.position_of(order)
            self.check_amend_suits(order, price, (quantity, leaves), trigger_price)
            self.check_open(
                instrument, position, reduce_only=order.reduce_only,
                suits_auction=self.suits_auction(order),
            )
            self.require(OFF_GRID not in (price, trigger_price), RejectReason.OFF_TICK)
            self.require(OFF_GRID not in (quantity, leaves), RejectReason.OFF_LOT)
            self.amend(instrument, position, order, price, quantity, leaves, trigger_price)
            self.retry_waiting()

        self.execute(Command.AMEND, ts, run, account, symbol, order_id)

    def check_amend_suits(
        self, order: Order, price: int, sizes: tuple[int, int], trigger_price: int
    ) -> None:
        """Refuse to change what an order of this kind does not have, or has no more."""
        is_moving = order.stage is Stage.PENDING and order.peak == NONE
        self.require(
            (trigger_price == NONE or is_moving)
            and (price == NONE or not order.is_market)
            and (sizes == (NONE, NONE) or not order.close_position),
            RejectReason.MALFORMED,
        )

    def amend(
        self, instrument: Instrument, position: Position, order: Order, price: int,
        quantity: int, leaves: int, trigger_price: int,
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
        total = TOO_LARGE if new_leaves == TOO_LARGE else order.filled + new_leaves
        changed = replace(order, price=new_price, quantity=total, leaves=new_leaves)
        if order.is_waiting:
            if trigger_price != NONE:
                changed.trigger_price = trigger_price
            self.amend_waiting(instrument, position, order, changed)
        elif new_price == order.price and new_leaves != TOO_LARGE and new_leaves <= order.leaves:
            # In place: the order keeps its turn.
            self.take_lots(order, order.leaves - new_leaves)
            self.take_over_changes(order, changed)
            self.order_changed(order)
        else:
            self.amend_resting(instrument, position, order, changed)

    def amend_waiting(
        self, instrument: Instrument, position: Position, order: Order, changed: Order
    ) -> None:
        """Change an untriggered order, which keeps its arrival."""
        self.check_limits(instrument, position, changed, is_new=False)
        self.check_terms(changed)
        self.take_out(order)
        self.take_over_changes(order, changed)
        self.order_changed(order)
        self.let_wait(order)

    def amend_resting(
        self, instrument: Instrument, position: Position, order: Order, changed: Order
    ) -> None:
        """Let a changed order enter anew."""
        self.check_limits(instrument, position, changed, is_new=False)
        self.check_size(instrument, position, changed)
        self.check_entry(instrument, position, changed, changed.price, without=order)
        self.take_off(order)
        self.take_over_changes(order, changed)
        self.enter(position, order, order.price)

    def take_over_changes(self, order: Order, changed: Order) -> None:
        order.price, order.trigger_price = changed.price, changed.trigger_price
        order.quantity, order.leaves = changed.quantity, changed.leaves
        self.emit_amended(order)

    # --- cancels ----------------------------------------------------------------------

    def cancel(self, account: int, symbol: int, order_id: int, ts: int = NONE) -> None:
        def run() -> None:
            self.find_instrument(symbol)
            self.cancel_order(self.find_order(account, symbol, order_id), CancelReason.USER)

        self.execute(Command.CANCEL, ts, run, account, symbol, order_id)

    def cancel_all(
        self, account: int = NONE, symbol: int = NONE, ts: int = NONE, side: int = NONE
    ) -> None:
        """Cancel by account, symbol and side (NONE: all)."""

        def run() -> None:
            if symbol != NONE:
                self.find_instrument(symbol)
            if account != NONE:
                self.find_account(account)
            self.cancel_matching(account, symbol, side, CancelReason.USER)

        self.execute(Command.CANCEL_ALL, ts, run, account, symbol)

    def cancel_matching(
        self, account: int, symbol: int, side: int, reason: CancelReason
    ) -> None:
        """Cancel what matches, in order of account, symbol, leg, acceptance."""
        for owner in sorted(self.accounts) if account == NONE else [account]:
            positions = self.accounts[owner].positions
            for each in sorted(positions):
                if symbol in (NONE, each[0]):
                    self.cancel_each(
                        [order for order in positions[each].orders.values()
                         if side in (NONE, order.side)], reason)
