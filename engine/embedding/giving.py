"""How a typed command reaches the core: the same way as its line, and back as an answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from numpy import integer

from engine.commands import check_shape
from engine.embedding.acknowledgement import (
    ORDER_KINDS,
    Acknowledgement,
    EventNames,
    Record,
    acknowledge,
)
from engine.embedding.codes import code_of
from engine.embedding.subscriptions import Callback, Subscription, Subscriptions
from engine.errors import CommandError, Rejected, SubscriberError
from engine.explanations import Names, explain
from engine.handlers import Handlers
from engine.messages import NONE, Command, EventKind, OrderStatus, RejectReason
from engine.render import render_event

_REJECTED = int(EventKind.REJECTED)
_ENDS = (EventKind.ORDER_CANCELED, EventKind.ORDER_EXPIRED)
_ORDER_COMMANDS = frozenset(("order", "amend", "cancel"))


class Giving(Handlers):
    """Gives commands, keeps their events to be drained, and hands them to subscribers."""

    keeps_events: bool
    _undrained: list[Record]
    _subscriptions: Subscriptions
    _plain_names: EventNames

    def _give(self, name: str, ts: int | None, **fields: Any) -> Acknowledgement:
        """Apply the command of these fields, those that are None left out.

        Raises
        ------
        CommandError
            A field of the wrong type, a float above all; nothing was applied.
        Rejected
            The command cannot be done.
        SubscriberError
            A callback raised.
        RuntimeError
            Another thread is in the middle of a batch on this exchange; nothing was applied.
        """
        line: dict[str, Any] = {"cmd": name}
        for field, value in fields.items():
            if value is not None:
                line[field] = int(value) if isinstance(value, integer) else value
        if ts is not None:
            line["ts"] = ts
        self._set_aside()
        self._apply_line(line)
        core = self.core
        seq = int(core.seq)
        records = tuple(core.drain())
        names = self._names_of(records)
        instrument = None
        if name in _ORDER_COMMANDS:
            instrument = self._instruments.get(line["symbol"])
        answer = acknowledge(line, seq, int(core.ts), records, names, instrument)
        refusal = None if core.rejected_seq != seq else _refusal(answer, names)
        errors = self._settle(records, names)
        if errors:
            raise SubscriberError(errors, refusal or answer) from errors[0]
        if refusal is not None:
            raise refusal
        return answer

    def _submit_line(self, command: Mapping[str, Any]) -> None:
        """Apply a command as a mapping; its events are left to be drained."""
        self._apply_line(command)
        self._settle_bulk()

    def _apply_line(self, command: Mapping[str, Any]) -> None:
        if check_shape(command) != "cmd":
            raise CommandError("a query is not a command")
        self.core.require_idle()
        self._handlers[command["cmd"]](command, command.get("ts", NONE))
        if not self._was_accepted:
            self._explain(command)

    def _explain(self, command: Mapping[str, Any]) -> None:
        """Keep what was wrong with the command just refused, for whoever renders its event."""
        core = self.core
        found = explain(command, Names(self._assets, self._instruments, int(core.ts)))
        if found:
            seq = int(core.seq)
            self._details[seq] = found | self._details.get(seq, {})

    def subscribe(
        self, callback: Callback, kinds: str | Iterable[str] | None = None,
        account: int | None = None, symbol: str | None = None,
    ) -> Subscription:
        """Have a function called with each event of the commands from now on.

        Parameters
        ----------
        callback : callable
            Gets the event as a dict of its own, as `drain` gives it.
        kinds : str or iterable of str, optional
            Only events of these kinds (``"trade"``).
        account : int, optional
            Only events that name this account, on either side.
        symbol : str, optional
            Only events of this symbol.

        Returns
        -------
        Subscription
            To be closed when it is no longer wanted.

        Raises
        ------
        ValueError
            A kind that does not exist.
        KeyError
            A symbol that is not declared.
        TypeError
            No callable, or an account that is no int.

        Notes
        -----
        Callbacks run in the thread that gave the command, after it is done and before its call
        returns; several subscribers in the order of their subscription. A callback may query and
        give commands: such a command is applied at once and acknowledged, and its events come
        after those that wait already, so everybody sees all events in sequence order. Whoever
        queries in a callback sees the newest state, which can be later than the event.

        What a callback raises comes out of the call as `SubscriberError`; the command stands, and
        the other callbacks are called all the same. Forks, snapshots and the drains are not
        touched by subscriptions; a fork has none.

        Complexity: O(subscribers) for each event, and its rendering for those that want it.

        Examples
        --------
        >>> from engine.embedding import example_exchange
        >>> exchange = example_exchange()
        >>> with exchange.subscribe(print, kinds=["mark"]):
        ...     _ = exchange.mark("BTC", "101")
        {'seq': 8, 'ts': 0, 'event': 'mark', 'symbol': 'BTC', 'mark_price': '101', 'index_price': \
None, 'feed_seq': None, 'cause': 8}
        """
        index = None if symbol is None else self._known(symbol).index
        self._set_aside()
        return self._subscriptions.add(callback, kinds, account, index)

    def _set_aside(self) -> None:
        """Keep apart what earlier commands left in the core, which nobody has to be told."""
        left = self.core.drain()
        if self.keeps_events:
            self._undrained += left
        elif left:
            self._forget_all(left)

    def _settle(self, records: Iterable[Record], names: EventNames) -> list[Exception]:
        """Keep a command's events to be drained, and hand them to subscribers."""
        is_watched = self._subscriptions.are_any()
        if is_watched:
            self._subscriptions.put(records, names)
        # Kept before they are handed out, so that a callback that drains misses nothing.
        if self.keeps_events:
            self._undrained += records
        else:
            self._forget_all(records)
        return self._subscriptions.deliver() if is_watched else []

    def _settle_bulk(self, outcome: object = None) -> None:
        """After commands whose events stay in the core, where nobody waits for them."""
        if self.keeps_events and not self._subscriptions.are_any():
            return
        records = self.core.drain()
        errors = self._settle(records, self._names_of(records))
        if errors:
            raise SubscriberError(errors, outcome) from errors[0]

    def _names_of(self, records: Iterable[Record]) -> EventNames:
        """The names that these events need, which later commands cannot change."""
        if not self.client_ids and not self._details:
            return self._plain_names
        client_ids, details = {}, {}
        for record in records:
            seq = record[1]
            if record[0] in ORDER_KINDS:
                key = (record[4], record[6], seq)
                name = self.client_order_id(*key)
                if name is not None:
                    client_ids[key] = name
            elif record[0] == _REJECTED and seq in self._details:
                details[seq] = self._details[seq]
        return EventNames(
            self.assets_by_index, self.instruments_by_index, self.funds_by_index, client_ids,
            details)

    def _forget_all(self, records: Iterable[Record]) -> None:
        """Forget what only the rendering of these events needed."""
        self._details.clear()
        if self.client_ids:
            for record in records:
                self.forget_dead(record)

    def forget_dead(self, record: Record) -> None:
        """Forget the client's own id of an order that this event has ended, if it did."""
        kind = record[0]
        if kind in _ENDS or (
            kind == EventKind.ORDER_UPDATE and record[7] == OrderStatus.FILLED
        ):
            key = (record[4], record[6])
            if key in self.client_ids:
                later = tuple(
                    entry for entry in self.client_ids[key] if entry[0] > record[1])
                if later:
                    self.client_ids[key] = later
                else:
                    del self.client_ids[key]


def _refusal(answer: Acknowledgement, names: EventNames) -> Rejected:
    """The error of a command that was refused."""
    record = next(record for record in answer.records if record[0] == _REJECTED)
    event = render_event(record, names)
    code = code_of(RejectReason(record[5]), Command(record[4]), record[10], record[11])
    return Rejected(answer.command, event["reason"], event["detail"], code, answer)
