"""Reasons of refusal as Binance's USD-M futures API numbers them.

Names and numbers are those of its page "Error Codes". Where Binance knows no such trouble (it
has no command that declares an instrument) the code is the nearest general one.
"""

from __future__ import annotations

from typing import NamedTuple

from engine.messages import NONE, Command, RejectReason


class BinanceCode(NamedTuple):
    """A number and the name that Binance gives it."""

    code: int
    name: str


_INVALID = BinanceCode(-1130, "INVALID_PARAMETER")
_CLOSED = BinanceCode(-4140, "INVALID_OPENING_POSITION_STATUS")
_NO_MOVE = BinanceCode(-5024, "MOVE_ORDER_NOT_ALLOWED_SYMBOL_REASON")

#: Code of each reason, whatever the command.
CODES: dict[RejectReason, BinanceCode] = {
    RejectReason.MALFORMED: _INVALID,
    RejectReason.UNSUPPORTED: BinanceCode(-1020, "UNSUPPORTED_OPERATION"),
    RejectReason.ALREADY_EXISTS: _INVALID,
    RejectReason.UNKNOWN_ASSET: BinanceCode(-1108, "BAD_ASSET"),
    RejectReason.UNKNOWN_FUND: BinanceCode(-4033, "INSURANCE_ACCOUNT_NOT_FOUND"),
    RejectReason.UNKNOWN_SYMBOL: BinanceCode(-1121, "BAD_SYMBOL"),
    RejectReason.UNKNOWN_ACCOUNT: BinanceCode(-1109, "BAD_ACCOUNT"),
    RejectReason.NOT_RELATED: BinanceCode(-1109, "BAD_ACCOUNT"),
    RejectReason.UNKNOWN_ORDER: BinanceCode(-2013, "NO_SUCH_ORDER"),
    RejectReason.DUPLICATE_ORDER_ID: BinanceCode(-4116, "DUPLICATED_CLIENT_ORDER_ID"),
    RejectReason.OCO_GROUP: BinanceCode(-1014, "UNKNOWN_ORDER_COMPOSITION"),
    RejectReason.BAD_TIERS: _INVALID,
    RejectReason.BAD_INSTRUMENT: _INVALID,
    RejectReason.BAD_PROFILE: _INVALID,
    RejectReason.POSITION_OPEN: BinanceCode(-4048, "THERE_EXISTS_QUANTITY"),
    RejectReason.NO_POSITION: BinanceCode(-4054, "ADD_ISOLATED_MARGIN_NO_POSITION_REJECT"),
    RejectReason.NO_MARK_PRICE: BinanceCode(-2010, "NEW_ORDER_REJECTED"),
    RejectReason.EXPIRED: BinanceCode(-4141, "SYMBOL_ALREADY_CLOSED"),
    RejectReason.HALTED: _CLOSED,
    RejectReason.AUCTION: _CLOSED,
    RejectReason.PROTECTION: BinanceCode(-4087, "REDUCE_ONLY_ORDER_PERMISSION"),
    RejectReason.ACCOUNT_LIQUIDATING: BinanceCode(-2023, "USER_IN_LIQUIDATION"),
    RejectReason.OFF_TICK: BinanceCode(-4014, "PRICE_NOT_INCREASED_BY_TICK_SIZE"),
    RejectReason.OFF_LOT: BinanceCode(-4023, "QTY_NOT_INCREASED_BY_STEP_SIZE"),
    RejectReason.QUANTITY_LIMIT: BinanceCode(-4005, "QTY_GREATER_THAN_MAX_QTY"),
    RejectReason.NOTIONAL_LIMIT: BinanceCode(-4005, "QTY_GREATER_THAN_MAX_QTY"),
    RejectReason.PRICE_BAND: BinanceCode(-4016, "PRICE_HIGHTER_THAN_MULTIPLIER_UP"),
    RejectReason.ORDER_LIMIT: BinanceCode(-2025, "MAX_OPEN_ORDER_EXCEEDED"),
    RejectReason.LEVERAGE: BinanceCode(-4028, "INVALID_LEVERAGE"),
    RejectReason.TIER_LIMIT: BinanceCode(-2027, "MAX_LEVERAGE_RATIO"),
    RejectReason.REDUCE_ONLY: BinanceCode(-2022, "REDUCE_ONLY_REJECT"),
    RejectReason.POST_ONLY_WOULD_CROSS: BinanceCode(-5022, "GTX_ORDER_REJECT"),
    RejectReason.FOK_UNFILLABLE: BinanceCode(-5021, "FOK_ORDER_REJECT"),
    RejectReason.INSUFFICIENT_BALANCE: BinanceCode(-2018, "BALANCE_NOT_SUFFICIENT"),
    RejectReason.INSUFFICIENT_MARGIN: BinanceCode(-2019, "MARGIN_NOT_SUFFICIEN"),
    RejectReason.OVERFLOW: _INVALID,
}

#: Where a command has a code of its own for the reason.
CODES_OF_COMMANDS: dict[tuple[RejectReason, Command], BinanceCode] = {
    (RejectReason.UNKNOWN_ORDER, Command.CANCEL): BinanceCode(-2011, "CANCEL_REJECTED"),
    (RejectReason.POSITION_OPEN, Command.POSITION_MODE): BinanceCode(
        -4068, "POSITION_SIDE_CHANGE_EXISTS_QUANTITY"),
    (RejectReason.INSUFFICIENT_MARGIN, Command.LEVERAGE): BinanceCode(
        -2028, "MIN_LEVERAGE_RATIO"),
    (RejectReason.HALTED, Command.AMEND): _NO_MOVE,
    (RejectReason.AUCTION, Command.AMEND): _NO_MOVE,
}

#: Where a number is under its limit, and not over it.
CODES_BELOW: dict[RejectReason, BinanceCode] = {
    RejectReason.QUANTITY_LIMIT: BinanceCode(-4004, "QTY_LESS_THAN_MIN_QTY"),
    RejectReason.NOTIONAL_LIMIT: BinanceCode(-4164, "MIN_NOTIONAL"),
    RejectReason.PRICE_BAND: BinanceCode(-4024, "PRICE_LOWER_THAN_MULTIPLIER_DOWN"),
}


def code_of(
    reason: RejectReason, command: Command | None = None, needed: int = NONE, limit: int = NONE
) -> int:
    """Return Binance's code of a refusal.

    Parameters
    ----------
    reason : RejectReason
    command : Command, optional
        What was refused; None of a query.
    needed, limit : int, optional
        The two numbers of the `rejected` record, in its units.

    Returns
    -------
    int
        Below zero.

    Notes
    -----
    Complexity: O(1).

    Examples
    --------
    >>> code_of(RejectReason.INSUFFICIENT_MARGIN)
    -2019
    >>> code_of(RejectReason.UNKNOWN_ORDER, Command.CANCEL)
    -2011
    >>> code_of(RejectReason.QUANTITY_LIMIT, Command.ORDER, needed=1, limit=5)
    -4004
    """
    if reason in CODES_BELOW and NONE not in (needed, limit) and needed < limit:
        return CODES_BELOW[reason].code
    if command is not None and (reason, command) in CODES_OF_COMMANDS:
        return CODES_OF_COMMANDS[reason, command].code
    return CODES[reason].code
