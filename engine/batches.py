"""Packed commands as numpy arrays: what `Exchange.submit_many` takes.

Numbers are the core's integers (ticks, lots, minor units, 1e-8 rates), symbols and assets
their indices; `engine.messages.COMMAND_COLUMNS` says which column means what to which
command.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from engine.messages import COMMAND_COLUMNS, NONE, SPECIAL_COLUMNS

Packed = npt.NDArray[Any]

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
