"""Packed commands as numpy arrays: what `Exchange.submit_many` takes.

Numbers are the core's integers (ticks, lots, minor units, 1e-8 rates), symbols and assets
their indices; `engine.messages.COMMAND_COLUMNS` says which column means what to which
command.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.messages import (
    COMMAND_COLUMNS,
    FLAG_POSITION_SIDE_SHIFT,
    NONE,
    RECORD_WIDTH,
    SPECIAL_COLUMNS,
    Command,
    MarginMode,
    PositionMode,
    PositionSide,
    Side,
)

#: Rows of `COMMAND_DTYPE` or of `SPECIAL_DTYPE`.
Packed = npt.NDArray[Any]
Ids = npt.NDArray[np.int64]
Column = int | Ids

_LITTLE = np.dtype("<i8")
#: One packed command; every field an int64.
COMMAND_DTYPE = np.dtype([(name, np.int64) for name in COMMAND_COLUMNS])
#: The special terms of one order.
SPECIAL_DTYPE = np.dtype([(name, np.int64) for name in SPECIAL_COLUMNS])


def empty_commands(count: int) -> Packed:
    """Return an array of packed commands in which everything is absent; `flags` are 0.

    Examples
    --------
    >>> commands = empty_commands(2)
    >>> commands["cmd"] = 13  # Command.CANCEL
    >>> commands["flags"].tolist()
    [0, 0]
    """
    commands = np.full(count, NONE, np.int64).repeat(len(COMMAND_COLUMNS)).view(COMMAND_DTYPE)
    commands["flags"] = 0
    return commands


def empty_specials(count: int) -> Packed:
    """Return an array of special terms in which everything is absent."""
    return np.full(count, NONE, np.int64).repeat(len(SPECIAL_COLUMNS)).view(SPECIAL_DTYPE)


def _commands(command: Command, count: int, **columns: Column) -> Packed:
    rows = empty_commands(count)
    rows["cmd"] = command
    for name, column in columns.items():
        rows[name] = column
    return rows


def account_commands(
    accounts: Ids, margin_mode: Column = MarginMode.CROSS, stp_group: Column = NONE,
    position_mode: Column = PositionMode.ONE_WAY,
) -> Packed:
    """Return packed `account` commands, one for each id.

    Examples
    --------
    >>> account_commands(np.arange(1, 4))["account"].tolist()
    [1, 2, 3]
    """
    return _commands(
        Command.ACCOUNT, len(accounts), account=accounts, type=margin_mode, side=position_mode,
        order_id=stp_group)


def deposit_commands(accounts: Ids, asset: Column, amounts: Column) -> Packed:
    """Return packed `deposit` commands; `amounts` in minor units of the asset (an index)."""
    return _commands(
        Command.DEPOSIT, len(accounts), account=accounts, symbol=asset, quantity=amounts)


def leverage_commands(accounts: Ids, symbols: Column, leverages: Column) -> Packed:
    """Return packed `leverage` commands; `leverages` in 1e-8 units."""
    return _commands(
        Command.LEVERAGE, len(accounts), account=accounts, symbol=symbols, quantity=leverages)


def fill_commands(
    accounts: Ids, symbols: Column, quantities: Ids, values: Ids, fees: Column = 0,
    position_sides: Column = PositionSide.BOTH,
) -> Packed:
    """Return packed `fill` commands.

    Parameters
    ----------
    accounts : array of int64
    symbols : int or array of int64
        Indices.
    quantities : array of int64, lots
        Positive to buy, negative to sell.
    values : array of int64, minor units
        What all the lots cost; the sign does not matter.
    fees : int or array of int64, minor units
    position_sides : int or array of int64
        `engine.messages.PositionSide`: the legs of hedge accounts.
    """
    return _commands(
        Command.FILL, len(accounts), account=accounts, symbol=symbols,
        side=np.where(quantities > 0, Side.BUY, Side.SELL), quantity=np.abs(quantities),
        price=np.abs(values), order_id=fees, flags=position_sides << FLAG_POSITION_SIDE_SHIFT)


def record_rows(records: Sequence[tuple[int, ...]]) -> npt.NDArray[np.int64]:
    """Return event records as one table, padded with zeros behind the layout of each."""
    rows = np.zeros((len(records), RECORD_WIDTH), np.int64)
    for row, record in zip(rows, records, strict=True):
        row[:len(record)] = record
    return rows


def to_bytes(array: Packed, dtype: np.dtype[Any], name: str) -> bytes:
    """Return packed rows as they travel and lie in a journal: little-endian, without padding.

    Raises
    ------
    TypeError, ValueError
        As `as_rows`.
    """
    return as_rows(array, dtype, name).astype("<i8", copy=False).tobytes()


def from_bytes(data: bytes, dtype: np.dtype[Any]) -> npt.NDArray[np.int64]:
    """Return the table of int64 that `to_bytes` made bytes of.

    Raises
    ------
    ValueError
        Not a whole number of rows.

    Examples
    --------
    >>> rows = empty_commands(2)
    >>> from_bytes(to_bytes(rows, COMMAND_DTYPE, "rows"), COMMAND_DTYPE).shape
    (2, 12)
    """
    rows: npt.NDArray[np.int64] = np.frombuffer(data, _LITTLE).astype(np.int64, copy=False)
    return rows.reshape(-1, len(dtype.names or ()))


def as_rows(array: Packed, dtype: np.dtype[Any], name: str) -> npt.NDArray[np.int64]:
    """Return an array of packed rows as a plain table of int64.

    Parameters
    ----------
    array : array of `dtype`, shape (n,), or of int64, shape (n, fields of `dtype`)
    dtype : numpy.dtype
    name : str
        For the message.

    Raises
    ------
    TypeError
        Not an array, or one of another dtype.
    ValueError
        Another shape.

    Notes
    -----
    Copies only what is not contiguous.
    """
    width = len(dtype.names or ())
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} must be a numpy array, not {type(array).__name__}")
    if array.dtype == dtype and array.ndim == 1:
        return np.ascontiguousarray(array).view(np.int64).reshape(len(array), width)
    if array.dtype != np.int64:
        raise TypeError(
            f"{name} must have {width} fields of int64 or be a table of int64, not {array.dtype}")
    if array.ndim != 2 or array.shape[1] != width:
        raise ValueError(f"{name} must have shape (n, {width}), not {array.shape}")
    return np.ascontiguousarray(array)
