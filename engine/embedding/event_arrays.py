"""Events as numpy structured arrays: one array for each kind, its fields by name.

Numbers are the core's integers, `NONE` (-2**63) for what is absent: prices in ticks, quantities in
lots, amounts in minor units, rates in 1e-8, choices by the enumerations of `engine.messages`,
symbols and assets by index. `event_units` says which field is what.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from engine.messages import EVENT_LAYOUTS, RECORD_WIDTH, EventKind

#: What every event array begins with: its place in the drained sequence, then the event's own.
HEAD_FIELDS = ("row", "seq", "ts", "cause")

EventArray = npt.NDArray[np.void]

_DTYPES = {
    kind: np.dtype([(name, np.int64) for name in (
        *HEAD_FIELDS, *(name for name, _ in layout))])
    for kind, layout in EVENT_LAYOUTS.items()}


def event_kind(name: str) -> EventKind:
    """Return the kind of a name.

    Raises
    ------
    ValueError
        There is none of this name.
    """
    try:
        return EventKind[name.upper()]
    except (KeyError, AttributeError):
        raise ValueError(f"no such kind of event: {name!r:.80}") from None


def event_dtype(kind: str) -> np.dtype[Any]:
    """Return the type of the arrays of a kind; every field is an int64.

    Raises
    ------
    ValueError
        A kind that does not exist.

    Examples
    --------
    >>> event_dtype("balance").names
    ('row', 'seq', 'ts', 'cause', 'account', 'asset', 'wallet')
    """
    return _DTYPES[event_kind(kind)]


def event_units(kind: str) -> dict[str, str]:
    """Return the unit of each field of a kind, the head apart.

    Returns
    -------
    dict of str
        ``"price"`` ticks, ``"mark"`` mark ticks, ``"lots"``, ``"money"`` minor units of the
        symbol's settle asset, ``"amount"`` minor units of the event's own asset, ``"value"`` of
        its `value_asset`, ``"rate"`` 1e-8 units, ``"detail"`` by the reason, ``"symbol"``,
        ``"asset"``, ``"fund"`` indices, ``"int"``, ``"bool"``, else an enumeration of
        `engine.messages`.

    Raises
    ------
    ValueError
        A kind that does not exist.

    Examples
    --------
    >>> event_units("order_update")["leaves"]
    'lots'
    """
    return dict(EVENT_LAYOUTS[event_kind(kind)])


def split_by_kind(table: npt.NDArray[np.int64]) -> dict[str, EventArray]:
    """Return a table of records as one structured array for each kind that is in it.

    Parameters
    ----------
    table : array of int64, shape (n, `RECORD_WIDTH`)
        What `Exchange.drain_array` gives.

    Returns
    -------
    dict of str to array
        By name of the kind, in order of first appearance; the rows of each in sequence, and
        `row` says where in the table an event was.

    Raises
    ------
    ValueError
        Another shape.

    Notes
    -----
    Complexity: O(n x kinds in it), nothing is made in Python for each event.
    """
    if table.ndim != 2 or table.shape[1] != RECORD_WIDTH:
        raise ValueError(f"a table of records has shape (n, {RECORD_WIDTH}), not {table.shape}")
    kinds, firsts = np.unique(table[:, 0], return_index=True)
    found: dict[str, EventArray] = {}
    for number in kinds[np.argsort(firsts)].tolist():
        kind = EventKind(number)
        rows = np.flatnonzero(table[:, 0] == number)
        width = len(_DTYPES[kind].names or ())
        events = np.empty((len(rows), width), np.int64)
        events[:, 0] = rows
        # Behind the kind a record goes on as an event array does behind the row.
        events[:, 1:] = table[rows, 1:width]
        found[kind.name.lower()] = events.view(_DTYPES[kind]).reshape(-1)
    return found
