"""Packed commands: each does what the method of its name does."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.messages import (
    COMMAND_COLUMNS,
    FLAG_CLOSE_POSITION,
    FLAG_POSITION_SIDE_SHIFT,
    FLAG_POST_ONLY,
    FLAG_REDUCE_ONLY,
    FLAG_STP_MASK,
    FLAG_STP_SHIFT,
    NONE,
    SPECIAL_COLUMNS,
    Command,
    MarginMode,
    PositionMode,
    RejectReason,
    Side,
)
from engine.reference.bulk import Bulk
from engine.reference.state import Rejected

Row = dict[str, int]


class ReferenceCore(Bulk):
    """The whole engine behind the seam, in plain Python.

    Every command takes ints (`engine.messages` has the sentinels), advances `seq` by
    one and appends records to be drained; a rejected command appends one `REJECTED`
    record and changes nothing else.
    """

    def run(
        self, commands: Sequence[Sequence[int]], specials: Sequence[Sequence[int]] = ()
    ) -> int:
        """Apply packed commands; return how many were refused.

        Parameters
        ----------
        commands : rows of ints as `engine.messages.COMMAND_COLUMNS`
        specials : rows of ints as `engine.messages.SPECIAL_COLUMNS`
        """
        refused = 0
        for packed in commands:
            row = dict(zip(COMMAND_COLUMNS, map(int, packed), strict=True))
            special: Row = dict.fromkeys(SPECIAL_COLUMNS, NONE)
            is_known = row["special"] == NONE
            if 0 <= row["special"] < len(specials):
                is_known = True
                terms = map(int, specials[row["special"]])
                special = dict(zip(SPECIAL_COLUMNS, terms, strict=True))
            self.run_one(row, special, is_known=is_known)
            refused += self.rejected_seq == self.seq
        return refused

    def run_one(self, row: Row, special: Row, *, is_known: bool) -> None:
        runs: dict[int, Callable[[Row, Row], None]] = {
            Command.ORDER: self.run_order, Command.AMEND: self.run_amend,
            Command.CANCEL: self.run_cancel, Command.CANCEL_ALL: self.run_cancel_all,
            Command.MARK: self.run_mark, Command.DEPOSIT: self.run_deposit,
            Command.WITHDRAW: self.run_withdraw, Command.LEVERAGE: self.run_leverage,
            Command.CANCEL_ALL_AFTER: self.run_cancel_all_after, Command.TIME: self.run_time,
            Command.ACCOUNT: self.run_account, Command.MARGIN_MODE: self.run_margin_mode,
            Command.ISOLATED_MARGIN: self.run_isolated_margin, Command.FILL: self.run_fill,
            Command.FUNDING: self.run_funding, Command.INSURANCE: self.run_insurance,
        }
        run = runs.get(row["cmd"])
        if run is None:
            code = row["cmd"] if row["cmd"] in tuple(Command) else NONE
            reason = RejectReason.UNSUPPORTED if is_known else RejectReason.MALFORMED
            self.refuse(code, reason, row["ts"], NONE, NONE, NONE, NONE)
        elif is_known:
            run(row, special)
        else:
            self.refuse(row["cmd"], RejectReason.MALFORMED, row["ts"], *self.named(row))

    def refuse(
        self, code: int, reason: RejectReason, ts: int, account: int, asset: int, symbol: int,
        order_id: int,
    ) -> None:
        def run() -> None:
            raise Rejected(reason)

        self.execute(code, ts, run, account, symbol, order_id, asset)

    @staticmethod
    def named(row: Row) -> tuple[int, int, int, int]:
        """Account, asset, symbol and order id that a rejection of this command names."""
        account, symbol, order_id = row["account"], row["symbol"], row["order_id"]
        return {
            Command.ORDER: (account, NONE, symbol, order_id),
            Command.AMEND: (account, NONE, symbol, order_id),
            Command.CANCEL: (account, NONE, symbol, order_id),
            Command.CANCEL_ALL: (account, NONE, symbol, NONE),
            Command.MARK: (NONE, NONE, symbol, NONE),
            Command.DEPOSIT: (account, symbol, NONE, NONE),
            Command.WITHDRAW: (account, symbol, NONE, NONE),
            Command.LEVERAGE: (account, NONE, symbol, NONE),
            Command.CANCEL_ALL_AFTER: (account, NONE, NONE, NONE),
            Command.ACCOUNT: (account, NONE, NONE, NONE),
            Command.MARGIN_MODE: (account, NONE, symbol, NONE),
            Command.ISOLATED_MARGIN: (account, NONE, symbol, NONE),
            Command.FILL: (account, NONE, symbol, NONE),
            Command.FUNDING: (NONE, NONE, symbol, NONE),
            Command.INSURANCE: (NONE, symbol, NONE, NONE),
        }.get(Command(row["cmd"]), (NONE, NONE, NONE, NONE))

    def run_order(self, row: Row, special: Row) -> None:
        attached: list[tuple[int, int, int, int] | None] = []
        for name in ("take_profit", "stop_loss"):
            order_id = special[f"{name}_order_id"]
            attached.append(None if order_id == NONE else (
                order_id, special[f"{name}_trigger_price"], special[f"{name}_trigger_by"],
                special[f"{name}_price"]))
        flags = row["flags"]
        self.place_order(
            row["account"], row["symbol"], row["order_id"], row["side"], row["type"],
            row["quantity"], row["price"], row["time_in_force"], bool(flags & FLAG_POST_ONLY),
            bool(flags & FLAG_REDUCE_ONLY), flags >> FLAG_STP_SHIFT & FLAG_STP_MASK, row["ts"],
            special["trigger_price"], special["trigger_by"], special["callback_rate"],
            special["display_quantity"], special["expire_ts"],
            bool(flags & FLAG_CLOSE_POSITION), special["oco"], attached[0],
            attached[1], flags >> FLAG_POSITION_SIDE_SHIFT)

    def run_amend(self, row: Row, special: Row) -> None:
        self.amend_order(
            row["account"], row["symbol"], row["order_id"], row["price"], row["quantity"],
            row["type"], row["ts"], special["trigger_price"])

    def run_cancel(self, row: Row, special: Row) -> None:
        self.cancel(row["account"], row["symbol"], row["order_id"], row["ts"])

    def run_cancel_all(self, row: Row, special: Row) -> None:
        self.cancel_all(row["account"], row["symbol"], row["ts"], row["side"])

    def run_mark(self, row: Row, special: Row) -> None:
        self.mark(
            row["symbol"], row["price"], row["quantity"], row["order_id"], row["ts"],
            row["account"])

    def run_deposit(self, row: Row, special: Row) -> None:
        self.deposit(row["account"], row["symbol"], row["quantity"], row["ts"])

    def run_withdraw(self, row: Row, special: Row) -> None:
        self.withdraw(row["account"], row["symbol"], row["quantity"], row["ts"])

    def run_leverage(self, row: Row, special: Row) -> None:
        self.set_leverage(row["account"], row["symbol"], row["quantity"], row["ts"])

    def run_cancel_all_after(self, row: Row, special: Row) -> None:
        self.cancel_all_after(row["account"], row["quantity"], row["ts"])

    def run_time(self, row: Row, special: Row) -> None:
        self.advance(row["ts"])

    def run_account(self, row: Row, special: Row) -> None:
        mode = or_else(row["type"], MarginMode.CROSS)
        legs = or_else(row["side"], PositionMode.ONE_WAY)
        if mode in tuple(MarginMode) and legs in tuple(PositionMode):
            self.open_account(
                row["account"], mode, row["ts"], row["order_id"], position_mode=legs)
        else:
            self.refuse(row["cmd"], RejectReason.MALFORMED, row["ts"], *self.named(row))

    def run_margin_mode(self, row: Row, special: Row) -> None:
        if row["type"] in tuple(MarginMode):
            self.set_margin_mode(row["account"], row["symbol"], row["type"], row["ts"])
        else:
            self.refuse(row["cmd"], RejectReason.MALFORMED, row["ts"], *self.named(row))

    def run_isolated_margin(self, row: Row, special: Row) -> None:
        self.adjust_isolated_margin(
            row["account"], row["symbol"], or_else(row["quantity"], 0), row["ts"],
            row["flags"] >> FLAG_POSITION_SIDE_SHIFT)

    def run_fill(self, row: Row, special: Row) -> None:
        if row["side"] in tuple(Side):
            self.fill(
                row["account"], row["symbol"], row["side"], row["quantity"], row["price"],
                or_else(row["order_id"], 0), row["ts"],
                row["flags"] >> FLAG_POSITION_SIDE_SHIFT)
        else:
            self.refuse(row["cmd"], RejectReason.MALFORMED, row["ts"], *self.named(row))

    def run_funding(self, row: Row, special: Row) -> None:
        self.funding(row["symbol"], row["quantity"], row["ts"])

    def run_insurance(self, row: Row, special: Row) -> None:
        self.fund_insurance(
            row["symbol"], or_else(row["quantity"], 0), row["ts"], row["order_id"])


def or_else(value: int, default: int) -> int:
    """A column, or what stands for it where it is absent."""
    return default if value == NONE else value
