"""Events handed to callbacks, in sequence order, in the thread that gave the command."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable
from types import TracebackType
from typing import Any

import numpy as np

from engine.embedding.acknowledgement import EventNames, Record
from engine.embedding.event_arrays import event_kind
from engine.messages import EVENT_ACCOUNTS, EVENT_LAYOUTS
from engine.render import render_event

Callback = Callable[[dict[str, Any]], object]

_HEAD = 4  # of a record: kind, seq, ts, cause


def _places(names: Collection[str]) -> dict[int, tuple[int, ...]]:
    """Where the records of each kind have one of the fields."""
    return {
        int(kind): tuple(
            _HEAD + at for at, (name, _) in enumerate(layout) if name in names)
        for kind, layout in EVENT_LAYOUTS.items()}


_ACCOUNT_PLACES = _places(EVENT_ACCOUNTS)
_SYMBOL_PLACES = _places(("symbol",))


class Subscription:
    """One subscriber; `close` ends it, and so does the end of a `with` block.

    Attributes
    ----------
    is_open : bool
        Whether it still gets events.
    """

    __slots__ = ("_account", "_callback", "_kinds", "_symbol", "is_open")

    def __init__(
        self, callback: Callback, kinds: frozenset[int] | None, account: int | None,
        symbol: int | None,
    ) -> None:
        self._callback = callback
        self._kinds = kinds
        self._account = account
        self._symbol = symbol
        self.is_open = True

    def close(self) -> None:
        """End the subscription: the callback is not called again, not even in a delivery."""
        self.is_open = False

    def __enter__(self) -> Subscription:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def wants(self, record: Record) -> bool:
        """Return whether a record passes the filters."""
        kind = record[0]
        if self._kinds is not None and kind not in self._kinds:
            return False
        if self._account is not None and all(
                record[at] != self._account for at in _ACCOUNT_PLACES[kind]):
            return False
        return self._symbol is None or any(
            record[at] == self._symbol for at in _SYMBOL_PLACES[kind])

    def hand(self, event: dict[str, Any]) -> None:
        """Call the callback, unless the subscription is closed."""
        if self.is_open:
            self._callback(event)


class Subscriptions:
    """The subscribers of an exchange, and the events that they have yet to get."""

    def __init__(self) -> None:
        self._open: list[Subscription] = []
        self._waiting: deque[tuple[Record, EventNames, list[Subscription]]] = deque()
        self._is_delivering = False

    def add(
        self, callback: Callback, kinds: str | Iterable[str] | None, account: int | None,
        symbol: int | None,
    ) -> Subscription:
        """Return a new subscription to the events of later commands.

        Raises
        ------
        ValueError
            A kind that does not exist.
        TypeError
            No callable, or an account that is no int.
        """
        if not callable(callback):
            raise TypeError(f"the callback must be callable, not {callback!r:.60}")
        if account is not None and not isinstance(account, (int, np.integer)):
            raise TypeError(f"account must be an int, not {account!r:.60}")
        subscription = Subscription(callback, _numbers(kinds), account, symbol)
        self._open.append(subscription)
        return subscription

    def are_any(self) -> bool:
        """Return whether somebody is subscribed or has events to come."""
        if not all(one.is_open for one in self._open):
            self._open = [one for one in self._open if one.is_open]
        return bool(self._open or self._waiting)

    def put(self, records: Iterable[Record], names: EventNames) -> None:
        """Queue the events of a command for whoever is subscribed now."""
        for record in records:
            takers = [one for one in self._open if one.wants(record)]
            if takers:
                self._waiting.append((record, names, takers))

    def deliver(self) -> list[Exception]:
        """Hand out what waits, in order; within a delivery do nothing.

        Returns
        -------
        list of Exception
            What callbacks raised; everybody else got everything all the same.
        """
        errors: list[Exception] = []
        if self._is_delivering:
            return errors
        self._is_delivering = True
        try:
            while self._waiting:
                record, names, takers = self._waiting.popleft()
                for taker in takers:
                    try:
                        # Its own dict for each: what one does to it is not seen by the next.
                        taker.hand(render_event(record, names))
                    except Exception as error:
                        errors.append(error)
        finally:
            self._is_delivering = False
        return errors


def _numbers(kinds: str | Iterable[str] | None) -> frozenset[int] | None:
    """The codes of kinds by name."""
    if kinds is None:
        return None
    return frozenset(
        int(event_kind(name)) for name in ([kinds] if isinstance(kinds, str) else kinds))
