"""What `engine.packing` does, in plain Python: slow, and what the compiled modules must equal."""

from __future__ import annotations

from collections.abc import Container, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from engine import wire
from engine.messages import EVENT_ACCOUNTS, EVENT_LAYOUTS, EventKind
from engine.render import render_event

if TYPE_CHECKING:
    from engine.exchange import Exchange

#: Number of events, payload, and by account the payload of those that name it.
Message = tuple[int, bytes, dict[int, bytes]]


class EventPacker:
    """Makes the payloads of `events.` from the records of an exchange's core.

    Parameters
    ----------
    exchange : engine.Exchange
        Whose records they are: it has the names and grids.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def pack(
        self, rows: npt.NDArray[np.int64], epoch: int, ts: int | None = None,
        accounts: Container[int] = (),
    ) -> list[Message]:
        """Return the events of each command as a payload.

        Parameters
        ----------
        rows : array of int64, shape (n, `engine.messages.RECORD_WIDTH`)
            Of `Exchange.drain_rows`, in order.
        epoch : int
        ts : int, optional
            Engine time after the commands. Default: that of each command's last event.
        accounts : container of int, optional
            Whose events are wanted by themselves as well.

        Returns
        -------
        list of (int, bytes, dict)
            For each command how many events it had, its payload, and by account that of those
            that name it.
        """
        messages = []
        for seq, group in groupby(rows.tolist(), lambda row: row[1]):
            events = [self._event(row) for row in group]
            after = events[-1]["ts"] if ts is None else ts
            own = {
                account: wire.encode_events(epoch, seq, after, part)
                for account, part in events_by_account(events, accounts).items()}
            messages.append((len(events), wire.encode_events(epoch, seq, after, events), own))
        return messages

    def _event(self, row: list[int]) -> dict[str, Any]:
        record = tuple(row[:4 + len(EVENT_LAYOUTS[EventKind(row[0])])])
        event = render_event(record, self._exchange)
        if self._exchange.client_ids:
            self._exchange.forget_dead(record)
        return event


def events_by_account(
    events: Sequence[dict[str, Any]], accounts: Container[int]
) -> dict[int, list[dict[str, Any]]]:
    """Return of each of these accounts the events that name it."""
    found: dict[int, list[dict[str, Any]]] = {}
    for event in events:
        for account in {event[field] for field in EVENT_ACCOUNTS if field in event}:
            if account in accounts:
                found.setdefault(account, []).append(event)
    return found
