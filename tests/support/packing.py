"""A core that passes every call on and keeps it: packed where it can be packed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.messages import (
    COMMAND_COLUMNS,
    FLAG_POSITION_SIDE_SHIFT,
    FLAG_STP_SHIFT,
    NONE,
    SPECIAL_COLUMNS,
    Command,
)

Row = list[int]


class PackingCore:
    """Stands in for `Exchange.core` and logs what it is told.

    Attributes
    ----------
    log : list
        Packed rows, and closures `(core) -> None` for calls that do not come packed.
    specials : list of rows
    """

    def __init__(self, core: Any) -> None:
        self.core = core
        self.log: list[Row | Callable[[Any], None]] = []
        self.specials: list[Row] = []

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.core, name)
        if name in ("drain", "digest", "seq", "ts", "rejected_seq", "has_order", "check") or (
                not callable(value) or name.endswith(("view", "views"))):
            return value
        pack = getattr(self, f"pack_{name}", None)

        def call(*args: Any) -> Any:
            row = pack(*args) if pack else None
            self.log.append(row or (lambda core: getattr(core, name)(*args)))
            return value(*args)

        return call

    def row(self, command: Command, ts: int, **columns: int) -> Row:
        columns = {"cmd": int(command), "ts": ts, "flags": 0} | columns
        return [columns.get(name, NONE) for name in COMMAND_COLUMNS]

    def special(self, **columns: int) -> int:
        if all(value == NONE for value in columns.values()):
            return NONE
        self.specials.append([columns.get(name, NONE) for name in SPECIAL_COLUMNS])
        return len(self.specials) - 1

    def pack_place_order(
        self, account: int, symbol: int, order_id: int, side: int, kind: int, quantity: int,
        price: int, time_in_force: int, post_only: bool, reduce_only: bool, stp: int,
        ts: int = NONE, trigger_price: int = NONE, trigger_by: int = NONE,
        callback_rate: int = NONE, display_quantity: int = NONE, expire_ts: int = NONE,
        close_position: bool = False, oco: int = NONE,
        take_profit: tuple[int, ...] | None = None, stop_loss: tuple[int, ...] | None = None,
        position_side: int = NONE,
    ) -> Row:
        attached = {}
        for name, row in (("take_profit", take_profit), ("stop_loss", stop_loss)):
            if row is not None:
                fields = ("order_id", "trigger_price", "trigger_by", "price")
                attached |= {f"{name}_{field}": value
                             for field, value in zip(fields, row, strict=True)}
        special = self.special(
            trigger_price=trigger_price, trigger_by=trigger_by, callback_rate=callback_rate,
            display_quantity=display_quantity, expire_ts=expire_ts, oco=oco, **attached)
        flags = post_only + 2 * reduce_only + 4 * close_position + (stp << FLAG_STP_SHIFT)
        flags += leg_flags(position_side)
        return self.row(
            Command.ORDER, ts, account=account, symbol=symbol, order_id=order_id, side=side,
            type=kind, quantity=quantity, price=price, time_in_force=time_in_force,
            flags=flags, special=special)

    def pack_amend_order(
        self, account: int, symbol: int, order_id: int, price: int, quantity: int, leaves: int,
        ts: int, trigger_price: int = NONE,
    ) -> Row:
        return self.row(
            Command.AMEND, ts, account=account, symbol=symbol, order_id=order_id, price=price,
            quantity=quantity, type=leaves, special=self.special(trigger_price=trigger_price))

    def pack_cancel(self, account: int, symbol: int, order_id: int, ts: int) -> Row:
        return self.row(Command.CANCEL, ts, account=account, symbol=symbol, order_id=order_id)

    def pack_cancel_all(self, account: int, symbol: int, ts: int, side: int) -> Row:
        return self.row(Command.CANCEL_ALL, ts, account=account, symbol=symbol, side=side)

    def pack_cancel_all_after(self, account: int, timeout: int, ts: int) -> Row:
        return self.row(Command.CANCEL_ALL_AFTER, ts, account=account, quantity=timeout)

    def pack_mark(
        self, symbol: int, mark: int, index: int, feed_seq: int, ts: int, cause: int = NONE
    ) -> Row:
        return self.row(
            Command.MARK, ts, symbol=symbol, price=mark, quantity=index, order_id=feed_seq,
            account=cause)

    def pack_deposit(self, account: int, asset: int, amount: int, ts: int) -> Row:
        return self.row(Command.DEPOSIT, ts, account=account, symbol=asset, quantity=amount)

    def pack_withdraw(self, account: int, asset: int, amount: int, ts: int) -> Row:
        return self.row(Command.WITHDRAW, ts, account=account, symbol=asset, quantity=amount)

    def pack_set_leverage(self, account: int, symbol: int, leverage: int, ts: int) -> Row:
        return self.row(
            Command.LEVERAGE, ts, account=account, symbol=symbol, quantity=leverage)

    def pack_advance(self, ts: int) -> Row:
        return self.row(Command.TIME, ts)

    def pack_open_account(
        self, account: int, mode: int, ts: int = NONE, stp_group: int = NONE,
        levels: list[int] | None = None, hysteresis: int = NONE, parent: int = NONE,
        position_mode: int = NONE,
    ) -> Row | None:
        if levels is not None or hysteresis != NONE or parent != NONE:
            return None  # these do not come packed
        return self.row(Command.ACCOUNT, ts, account=account, type=mode, side=position_mode,
                        order_id=stp_group)

    def pack_set_margin_mode(self, account: int, symbol: int, mode: int, ts: int) -> Row:
        return self.row(Command.MARGIN_MODE, ts, account=account, symbol=symbol, type=mode)

    def pack_adjust_isolated_margin(
        self, account: int, symbol: int, amount: int, ts: int, position_side: int = NONE
    ) -> Row:
        return self.row(
            Command.ISOLATED_MARGIN, ts, account=account, symbol=symbol, quantity=amount,
            flags=leg_flags(position_side))

    def pack_fill(
        self, account: int, symbol: int, side: int, quantity: int, value: int, fee: int, ts: int,
        position_side: int = NONE,
    ) -> Row:
        return self.row(
            Command.FILL, ts, account=account, symbol=symbol, side=side, quantity=quantity,
            price=value, order_id=fee, flags=leg_flags(position_side))

    def pack_funding(self, symbol: int, rate: int, ts: int) -> Row:
        return self.row(Command.FUNDING, ts, symbol=symbol, quantity=rate)

    def pack_fund_insurance(
        self, asset: int, amount: int, ts: int, fund: int = NONE
    ) -> Row:
        return self.row(
            Command.INSURANCE, ts, symbol=asset, quantity=amount, order_id=fund)


def leg_flags(position_side: int) -> int:
    """The bits that name a leg."""
    return 0 if position_side == NONE else position_side << FLAG_POSITION_SIDE_SHIFT
