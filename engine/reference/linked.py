"""Orders that hang together: the death of an order, one-cancels-other groups, brackets."""

from __future__ import annotations

from collections.abc import Iterable

from engine.messages import NONE, CancelReason, EventKind, OrderType, TimeInForce
from engine.reference.sides import opposite, reducible
from engine.reference.state import Attached, Bracket, Group, Order, Position, Stage
from engine.reference.triggers import Triggers


class Linked(Triggers):
    """Cancelling, expiring, and what the fill or the death of one order does to others."""

    # --- death ------------------------------------------------------------------------

    def cancel_order(self, order: Order, reason: CancelReason) -> None:
        self.take_out(order)
        self.retire_order(order)
        self.emit(
            EventKind.ORDER_CANCELED, order.account, order.symbol, order.order_id, reason,
            order.filled, order.leaves,
        )
        self.untie(order)

    def cancel_each(self, orders: Iterable[Order], reason: CancelReason) -> None:
        """Cancel orders that are still alive when their turn comes."""
        for order in list(orders):
            if order.stage is not Stage.DEAD:
                self.cancel_order(order, reason)

    def expire_order(self, order: Order) -> None:
        self.take_out(order)
        self.retire_order(order)
        self.emit(
            EventKind.ORDER_EXPIRED, order.account, order.symbol, order.order_id, order.filled,
            order.leaves,
        )
        self.untie(order)

    def untie(self, order: Order) -> None:
        """Draw the consequences of an order's death for those linked to it."""
        self.dissolve_group(order)
        bracket = order.bracket
        if bracket is None:
            return
        if order is not bracket.entry:
            bracket.is_over = True
        elif order.filled == 0:
            self.drop_unarmed(bracket)

    def drop_reduce_only(self, position: Position) -> None:
        """Cancel the orders that have nothing left to reduce, in order of acceptance.

        Resting reduce-only orders, and of those that wait for a price the ones that are
        bound to the position.
        """
        concerned = [order for order in position.resting if order.reduce_only]
        concerned += [order for order in position.bound if order.is_waiting]
        idle = [each for each in concerned if reducible(position.quantity, each.side) == 0]
        idle.sort(key=lambda order: order.arrival)
        self.cancel_each(idle, CancelReason.REDUCE_ONLY)

    # --- one cancels other ------------------------------------------------------------

    def join_group(self, order: Order) -> None:
        """Make an accepted order a member of the group it names."""
        groups = self.position_of(order).groups
        if order.oco != NONE:
            order.group = groups.setdefault(order.oco, Group(order.oco))
            order.group.members.append(order)

    def leave_group(self, order: Order) -> None:
        group, order.group = order.group, None
        if group is None:
            return
        group.members.remove(order)
        if not group.members and group.number != NONE:
            del self.position_of(order).groups[group.number]

    def dissolve_group(self, order: Order) -> None:
        """Cancel the other members of a dead order's group, in order of arrival."""
        if order.group is None:
            return
        members = list(order.group.members)
        for member in members:
            self.leave_group(member)
        members.remove(order)
        self.cancel_each(members, CancelReason.OCO)

    def shrink_group(self, order: Order, lots: int) -> None:
        """Take what one member has filled off the others."""
        if order.group is None:
            return
        for member in list(order.group.members):
            if member is order:
                continue
            less = min(lots, member.leaves)
            self.take_lots(member, less)
            member.quantity -= less
            if member.leaves:
                self.order_changed(member)
            else:
                self.leave_group(member)
                self.cancel_order(member, CancelReason.OCO)

    def group_filled(self, order: Order, lots: int) -> None:
        """Tell the group of an order that it has filled, in part or whole."""
        if order.leaves:
            self.shrink_group(order, lots)
        else:
            self.dissolve_group(order)

    # --- brackets ---------------------------------------------------------------------

    def attach(
        self, order: Order, take_profit: Attached | None, stop_loss: Attached | None
    ) -> None:
        """Reserve the ids of an entry's children."""
        if take_profit is None and stop_loss is None:
            return
        order.bracket = Bracket(order, take_profit, stop_loss)
        for terms in (take_profit, stop_loss):
            if terms is not None:
                self.accounts[order.account].reserved.add(terms.order_id)

    def drop_unarmed(self, bracket: Bracket) -> None:
        """End a bracket; children that never were vanish without a word."""
        bracket.is_over = True
        for terms in (bracket.take_profit, bracket.stop_loss):
            if terms is not None:
                self.accounts[bracket.entry.account].reserved.remove(terms.order_id)
        bracket.take_profit = bracket.stop_loss = None

    def entry_filled(self, order: Order) -> None:
        """Note the fill of an entry, to be armed when the trading has settled."""
        bracket = order.bracket
        if bracket is not None and order is bracket.entry and not bracket.is_over:
            self.filled_entries[bracket] = None

    def arm_brackets(self) -> bool:
        """Bring the children up to what their entries have filled; return whether any had."""
        noted, self.filled_entries = self.filled_entries, {}
        for bracket in noted:
            if not bracket.is_over:
                self.arm(bracket)
        return bool(noted)

    def arm(self, bracket: Bracket) -> None:
        entry = bracket.entry
        lots = entry.filled - bracket.armed_lots
        held = self.position_of(entry).quantity
        if reducible(held, opposite(entry.side)) == 0:
            self.drop_unarmed(bracket)
        elif bracket.armed_lots == 0:
            bracket.armed_lots = lots
            self.make_children(bracket)
        elif all(child.stage is Stage.PENDING for child in bracket.children):
            bracket.armed_lots += lots
            for child in bracket.children:
                child.quantity += lots
                child.leaves += lots
                self.emit_amended(child)
                self.order_changed(child)
        else:
            bracket.is_over = True

    def make_children(self, bracket: Bracket) -> None:
        """Make both, then group them, then look whether a condition is met already."""
        reserved = self.accounts[bracket.entry.account].reserved
        if bracket.take_profit is not None:
            types = (OrderType.TAKE_PROFIT_MARKET, OrderType.TAKE_PROFIT_LIMIT)
            bracket.armed_take_profit = self.make_child(bracket, bracket.take_profit, types)
            reserved.remove(bracket.take_profit.order_id)
        if bracket.stop_loss is not None:
            types = (OrderType.STOP_MARKET, OrderType.STOP_LIMIT)
            bracket.armed_stop_loss = self.make_child(bracket, bracket.stop_loss, types)
            reserved.remove(bracket.stop_loss.order_id)
        bracket.take_profit = bracket.stop_loss = None
        children = bracket.children
        if len(children) == 2:
            group = Group(NONE, list(children))
            for child in children:
                child.group = group
        for child in children:
            self.let_wait(child)

    def make_child(
        self, bracket: Bracket, terms: Attached, types: tuple[OrderType, OrderType]
    ) -> Order:
        entry, is_market = bracket.entry, terms.price == NONE
        child = Order(
            entry.account, entry.symbol, terms.order_id, opposite(entry.side),
            types[0] if is_market else types[1], terms.price, bracket.armed_lots,
            bracket.armed_lots, TimeInForce.IOC if is_market else TimeInForce.GTC, False, True,
            entry.stp, terms.trigger_price, terms.trigger_by, parent=entry.order_id,
            position_side=entry.position_side, stage=Stage.PENDING, bracket=bracket,
        )
        self.accept_order(child)
        self.order_changed(child)
        return child

    def child_triggered(self, child: Order) -> None:
        """The exit is under way: the entry, if it is still open, has no more business."""
        bracket = child.bracket
        if bracket is None or child is bracket.entry:
            return
        bracket.is_over = True
        if bracket.entry.stage is not Stage.DEAD:
            self.cancel_order(bracket.entry, CancelReason.BRACKET)

    # --- what is said of orders -------------------------------------------------------

    def accept_order(self, order: Order) -> None:
        """Take an order in: number, places, `order_accepted`, and its further terms if any."""
        self.enlist_order(order)
        self.emit(
            EventKind.ORDER_ACCEPTED, order.account, order.symbol, order.order_id, order.side,
            order.type, order.price, order.quantity, order.time_in_force, order.post_only,
            order.reduce_only, order.stp, order.position_side,
        )
        terms = (
            order.trigger_price, order.trigger_by, order.callback_rate, order.display_quantity,
            order.expire_ts, order.oco, order.parent,
        )
        if order.close_position or any(term != NONE for term in terms):
            self.emit(
                EventKind.ORDER_TERMS, order.account, order.symbol, order.order_id,
                *terms[:5], order.close_position, *terms[5:],
            )

    def emit_amended(self, order: Order) -> None:
        self.emit(
            EventKind.ORDER_AMENDED, order.account, order.symbol, order.order_id, order.price,
            order.quantity, order.leaves, order.trigger_price,
        )
