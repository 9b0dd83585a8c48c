"""The form of an order: what makes sense in itself, whatever the market."""

from __future__ import annotations

from dataclasses import dataclass

from engine.messages import (
    NONE,
    OFF_GRID,
    RATE_SCALE,
    TOO_LARGE,
    OrderType,
    PositionMode,
    PositionSide,
    RejectReason,
    Side,
    StpMode,
    TimeInForce,
    TriggerBy,
)
from engine.reference.sides import closes
from engine.reference.state import LEGS, Attached, Order, OrderKind, Rejected

#: An attached order as it comes: (order_id, trigger_price, trigger_by, price).
AttachedRow = tuple[int, int, int, int]


def is_proper(value: int) -> bool:
    """Whether a value is a number of the engine's: on the grid and within the range."""
    return value not in (OFF_GRID, TOO_LARGE)


def is_positive(value: int) -> bool:
    """Whether a number is positive, as far as is known: the edge lets no others off the grid."""
    return value > 0 or not is_proper(value)


@dataclass
class OrderForm(OrderKind):
    """An order as it was sent, in plain ints."""

    account: int
    symbol: int
    order_id: int
    side: int
    type: int
    quantity: int
    price: int
    time_in_force: int
    post_only: bool
    reduce_only: bool
    stp: int
    trigger_price: int
    trigger_by: int
    callback_rate: int
    display_quantity: int
    expire_ts: int
    close_position: bool
    oco: int
    take_profit: AttachedRow | None
    stop_loss: AttachedRow | None
    position_side: int  # a `PositionSide`

    @property
    def attached(self) -> list[AttachedRow]:
        return [row for row in (self.take_profit, self.stop_loss) if row is not None]

    def order(self) -> Order:
        """Return the order; its form has been checked."""
        trigger_by = self.trigger_by
        if self.is_conditional and trigger_by == NONE:
            trigger_by = TriggerBy.MARK
        return Order(
            self.account, self.symbol, self.order_id, Side(self.side), OrderType(self.type),
            self.price, self.quantity, self.quantity, TimeInForce(self.time_in_force),
            bool(self.post_only), self.reduce_only, StpMode(self.stp), self.trigger_price,
            trigger_by, self.callback_rate, self.display_quantity, self.expire_ts,
            bool(self.close_position), self.oco,
            position_side=PositionSide(self.position_side),
        )


def attached_terms(row: AttachedRow | None) -> Attached | None:
    """Return a take profit or stop loss with what its trigger looks at settled."""
    if row is None:
        return None
    order_id, trigger_price, trigger_by, price = row
    by = TriggerBy.MARK if trigger_by == NONE else TriggerBy(trigger_by)
    return Attached(order_id, trigger_price, by, price)


def check_leg(position_side: int, mode: PositionMode | None) -> None:
    """Refuse a leg that there is not, or not in this position mode (None: of nobody)."""
    legs = tuple(PositionSide) if mode is None else LEGS[mode]
    if position_side not in legs:
        raise Rejected(RejectReason.MALFORMED)


def settle_leg(form: OrderForm, mode: PositionMode | None) -> None:
    """Check an order's leg; what closes it is reduce-only by nature, what opens it never."""
    check_leg(form.position_side, mode)
    if closes(form.position_side, form.side):
        form.reduce_only = True
    elif form.position_side != PositionSide.BOTH and form.reduce_only:
        raise Rejected(RejectReason.MALFORMED)


def check_form(form: OrderForm, now: int) -> None:
    """Refuse an order that is senseless in itself, then one of an unknown kind.

    Parameters
    ----------
    form : OrderForm
    now : int
        Engine time, which an expiry must lie beyond.

    Raises
    ------
    Rejected
        `malformed` or `unsupported`.
    """
    plain = (
        form.order_id > 0 and (form.close_position or is_positive(form.quantity))
        and form.side in tuple(Side) and form.stp in tuple(StpMode)
        and (form.trigger_by == NONE or form.trigger_by in tuple(TriggerBy))
    )
    if not plain:
        raise Rejected(RejectReason.MALFORMED)
    if form.type not in tuple(OrderType) or form.time_in_force not in tuple(TimeInForce):
        raise Rejected(RejectReason.UNSUPPORTED)
    if not (
        has_sensible_price(form) and has_sensible_time(form, now) and has_sensible_trigger(form)
        and has_sensible_size(form) and has_sensible_links(form)
    ):
        raise Rejected(RejectReason.MALFORMED)


def has_sensible_price(form: OrderForm) -> bool:
    if form.is_market:
        return form.price == NONE and not form.post_only
    takes_only = form.time_in_force in (TimeInForce.IOC, TimeInForce.FOK)
    return is_positive(form.price) and not (form.post_only and takes_only)


def has_sensible_time(form: OrderForm, now: int) -> bool:
    if form.type == OrderType.MARKET:
        return form.time_in_force in (TimeInForce.IOC, TimeInForce.FOK) and form.expire_ts == NONE
    if form.time_in_force == TimeInForce.GTD:
        return form.expire_ts > now
    return form.expire_ts == NONE


def has_sensible_trigger(form: OrderForm) -> bool:
    if not form.is_conditional:
        return form.trigger_price == form.trigger_by == form.callback_rate == NONE
    if form.type == OrderType.TRAILING_STOP_MARKET:
        return 0 < form.callback_rate < RATE_SCALE and (
            form.trigger_price == NONE or is_positive(form.trigger_price))
    return is_positive(form.trigger_price) and form.callback_rate == NONE


def has_sensible_size(form: OrderForm) -> bool:
    shown = form.display_quantity
    if form.close_position:
        return form.is_market and form.time_in_force != TimeInForce.FOK and shown == NONE
    if shown == NONE:
        return True
    is_known = is_proper(shown) and is_proper(form.quantity)
    return form.may_rest and is_positive(shown) and (not is_known or shown <= form.quantity)


def has_sensible_links(form: OrderForm) -> bool:
    if form.oco != NONE and (form.oco <= 0 or not (form.may_rest or form.is_conditional)):
        return False
    if form.attached and form.reduce_only:
        return False
    ids = [form.order_id, *(row[0] for row in form.attached)]
    return len(set(ids)) == len(ids) and all(
        order_id > 0 and is_positive(trigger_price)
        and (trigger_by == NONE or trigger_by in tuple(TriggerBy))
        and (price == NONE or is_positive(price))
        for order_id, trigger_price, trigger_by, price in form.attached
    )
