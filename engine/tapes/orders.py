"""An order-by-order tape (LOBSTER) driven through an `OrderBook`, from an empty book.

Listings, reductions and deletions are done to the orders that they name. An execution is
not: it enters the book as an immediate order of the opposite side, and whom it trades with
is the book's choice. Whether that is the order which the tape names is the question.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from engine.core import OrderBook
from engine.errors import InvariantViolation
from engine.feeds.lobster import Kind, Message, Phase
from engine.feeds.quotes import Quote
from engine.messages import Side, TimeInForce
from engine.tapes.books import fills_of, quote_of, turns

_MAKER, _TAKER = 1, 2  # owners
_GTC, _IOC = int(TimeInForce.GTC), int(TimeInForce.IOC)


@dataclass
class OrderFigures:
    """What happened while a tape was rebuilt.

    Attributes
    ----------
    messages : Counter of Kind
    unknown : Counter of Kind
        Messages left out because they name an order that is not in the book.
    unknown_ids : set of int
    late_count : int
        Listings of an order that is older than one listed before it.
    stale_count : int
        Orders taken off because a listing would have traded with them.
    crossing_count : int
        Listings left out because they would trade, while trading was halted.
    contradiction_count : int
        Messages that do not fit the order they name; applied as far as they do.
    aggressor_count, sweep_count : int
        Orders that took, and those of them that took from more than one.
    agreed_count : int
        Executions that went to the order which the tape names.
    contested_count : int
        Those of them where other orders stood at the same price.
    overtaken_count : int
        Executions of an order that was not the first in turn at the best price.
    away_count : int
        Executions at a price that was not the best.
    auction_count : int
        Executions while nothing traded continuously.
    """

    messages: Counter[Kind] = field(default_factory=Counter)
    unknown: Counter[Kind] = field(default_factory=Counter)
    unknown_ids: set[int] = field(default_factory=set)
    late_count: int = 0
    stale_count: int = 0
    crossing_count: int = 0
    contradiction_count: int = 0
    aggressor_count: int = 0
    sweep_count: int = 0
    agreed_count: int = 0
    contested_count: int = 0
    overtaken_count: int = 0
    away_count: int = 0
    auction_count: int = 0


@dataclass(slots=True)
class _Resting:
    """An order in the book."""

    side: int
    price_ticks: int
    lots: int


class OrderTape:
    """A book rebuilt from messages.

    Parameters
    ----------
    report : callable, optional
        Gets (line, text) for each message that is left out or not taken at its word.

    Attributes
    ----------
    book : OrderBook
    figures : OrderFigures
    phase : Phase
        What the last halt message said.

    Invariants
        The book is never crossed, and holds what `apply` was told and nothing else.

    Notes
    -----
    Messages that name an order which is not in the book are left out: orders older than the
    file, and orders that came in beyond the file's depth. A listing that is older than one
    listed before it (its id is lower) takes the turn of its age within its level. A listing
    that would trade shows that what stands against it is gone, and takes it off: the file
    does not have every deletion, and the book recovers from those that it lacks.
    """

    def __init__(self, report: Callable[[int, str], None] | None = None) -> None:
        self.book = OrderBook()
        self.figures = OrderFigures()
        self.phase = Phase.TRADING
        self._report = report
        self._orders: dict[int, _Resting] = {}
        self._newest_id = 0

    def quote(self) -> Quote:
        """Return the best bid and offer. O(1)."""
        return quote_of(self.book)

    def apply(self, message: Message) -> None:
        """Apply one message; an execution enters as an order of its own."""
        self.figures.messages[message.kind] += 1
        if message.kind is Kind.NEW:
            self._list(message)
        elif message.kind is Kind.HALT:
            self.phase = Phase(message.price_ticks)
        elif message.kind <= Kind.EXECUTE and self._is_known(message):
            if message.kind is not Kind.EXECUTE:
                self._take_off(message, message.kind is Kind.DELETE)
            elif not self._try_take([message]):
                self._execute_out_of_turn(message)
        # Hidden executions and auction trades change nothing that is displayed.

    def apply_sweep(self, messages: Sequence[Message]) -> None:
        """Apply executions by one aggressive order as one order.

        Parameters
        ----------
        messages : sequence of Message
            All `Kind.EXECUTE`. If it is not just these orders that are next in turn, each
            is applied by itself.
        """
        if self._try_take(messages):
            self.figures.messages[Kind.EXECUTE] += len(messages)
        else:
            for message in messages:
                self.apply(message)

    # --- one kind of message each -------------------------------------------------------

    def _list(self, message: Message) -> None:
        side, price, lots = int(message.side), message.price_ticks, message.lots
        if message.order_id in self._orders:
            self._contradict(message, "the order is in the book already")
            return
        # Orders wait for the auction while trading is halted, even across each other, which
        # no book with continuous matching can hold. At any other time what rests has not
        # traded: the orders that it would trade with are gone, and the file has not said so.
        if self.phase is Phase.TRADING:
            self._take_off_stale(message)
        # Post-only: a listing never trades.
        if self.book.place(_MAKER, message.order_id, side, price, lots, _GTC, True) < 0:
            self.figures.crossing_count += 1
            self._say(message, f"crosses the book at {price} in a halt")
            return
        self._orders[message.order_id] = _Resting(side, price, lots)
        if message.order_id > self._newest_id:
            self._newest_id = message.order_id
        else:
            self.figures.late_count += 1
            self._let_younger_follow(message.order_id, side, price)

    def _take_off_stale(self, message: Message) -> None:
        other_side = 1 - int(message.side)
        best = self.book.best(other_side)
        while best is not None and (
            best <= message.price_ticks if message.side is Side.BUY else best >= message.price_ticks
        ):
            for _, order_id, _ in self.book.queue(other_side, best):
                self.figures.stale_count += 1
                self._say(message, f"would trade with order {order_id} at {best}")
                self.book.cancel(_MAKER, order_id)
                del self._orders[order_id]
            best = self.book.best(other_side)

    def _let_younger_follow(self, order_id: int, side: int, price: int) -> None:
        for _, other_id, lots in self.book.queue(side, price):
            if other_id > order_id:
                self.book.cancel(_MAKER, other_id)
                self.book.place(_MAKER, other_id, side, price, lots)

    def _take_off(self, message: Message, is_all: bool) -> None:
        order = self._orders[message.order_id]
        if message.lots > order.lots or (is_all and message.lots < order.lots):
            self._contradict(message, f"{message.lots} of an order with {order.lots} open")
        lots = order.lots if is_all else message.lots
        # No more lots at the same price: the order keeps its turn. At zero it is cancelled.
        self.book.amend(_MAKER, message.order_id, order.price_ticks, order.lots - lots)
        self._reduce(message.order_id, lots)

    # Enter executions as one order, if those it names are just whom the book will trade with.
    def _try_take(self, messages: Sequence[Message]) -> bool:
        wanted = self._named_fills(messages)
        if not wanted or self.phase is not Phase.TRADING:
            return False
        side = self._orders[wanted[0][0]].side
        lots = sum(fill[2] for fill in wanted)
        if self._next_in_turn(side, lots, len(wanted)) != wanted:
            return False
        figures = self.figures
        figures.aggressor_count += 1
        figures.sweep_count += len(wanted) > 1
        figures.agreed_count += len(messages)
        figures.contested_count += sum(
            len(self.book.queue(side, fill[1])) > 1 for fill in wanted
        )
        self.book.place(_TAKER, figures.aggressor_count, 1 - side, wanted[-1][1], lots, _IOC)
        fills = fills_of(self.book)
        if fills != wanted:
            # Not the tape's doing: the book has not kept to its own queue.
            raise InvariantViolation(f"first in turn were {wanted}, traded with {fills}")
        for order_id, _, filled in fills:
            self._reduce(order_id, filled)
        return True

    # (order id, price, lots) of executions, neighbours of the same order as one; empty where
    # an order is not in the book.
    def _named_fills(self, messages: Sequence[Message]) -> list[tuple[int, int, int]]:
        fills: list[tuple[int, int, int]] = []
        for message in messages:
            order = self._orders.get(message.order_id)
            if order is None:
                return []
            lots = message.lots
            if fills and fills[-1][0] == message.order_id:
                lots += fills.pop()[2]
            fills.append((message.order_id, order.price_ticks, lots))
        return fills

    # Whom the book is about to trade with, should `lots` come in.
    def _next_in_turn(self, side: int, lots: int, maker_count: int) -> list[tuple[int, int, int]]:
        fills = []
        for order_id, price, open_lots in turns(self.book, side, maker_count):
            fills.append((order_id, price, min(lots, open_lots)))
            lots -= open_lots
            if lots <= 0 or len(fills) == maker_count:
                break
        return fills

    def _reduce(self, order_id: int, lots: int) -> None:
        order = self._orders[order_id]
        order.lots -= lots
        if order.lots <= 0:
            del self._orders[order_id]

    # The tape is right about what happened: the order that it names is reduced.
    def _execute_out_of_turn(self, message: Message) -> None:
        order = self._orders[message.order_id]
        best = self.book.best(order.side)
        if self.phase is not Phase.TRADING:
            self.figures.auction_count += 1
        elif order.price_ticks != best:
            self.figures.away_count += 1
            self._say(message, f"trades at {order.price_ticks}, the best is {best}")
        elif message.lots <= order.lots:
            self.figures.overtaken_count += 1
            ahead = self.book.queue(order.side, order.price_ticks)[0]
            self._say(message, f"trades before order {ahead[1]}, which was first in turn")
        self._take_off(message, False)

    # --- what does not fit --------------------------------------------------------------

    def _is_known(self, message: Message) -> bool:
        order = self._orders.get(message.order_id)
        if order is None:
            self.figures.unknown[message.kind] += 1
            self.figures.unknown_ids.add(message.order_id)
            self._say(message, f"{message.kind.name.lower()} of an order that is not in the book")
            return False
        if (order.side, order.price_ticks) != (message.side, message.price_ticks):
            self._contradict(message, f"the order is at {order.price_ticks}")
        return True

    def _contradict(self, message: Message, text: str) -> None:
        self.figures.contradiction_count += 1
        self._say(message, text)

    def _say(self, message: Message, text: str) -> None:
        if self._report is not None:
            self._report(message.line, f"order {message.order_id}: {text}")


def rebuild_orders(
    messages: Iterable[Message], tape: OrderTape, whole_sweeps: bool = False
) -> Iterator[tuple[int, Quote]]:
    """Drive messages through a tape's book and yield its distinct quotes.

    Parameters
    ----------
    messages : iterable of Message
    tape : OrderTape
    whole_sweeps : bool
        Executions of the same side that follow each other at the same nanosecond are the
        trace of one aggressive order. True enters them as one order, whose intermediate
        states do not show; False enters each as an order of its own.

    Yields
    ------
    line : int
        Of the message that led to the quote.
    quote : Quote
        Differs from the one before.
    """
    last = tape.quote()
    for group in _sweeps(messages) if whole_sweeps else ([message] for message in messages):
        if len(group) > 1:
            tape.apply_sweep(group)
        else:
            tape.apply(group[0])
        quote = tape.quote()
        if quote != last:
            yield group[-1].line, quote
            last = quote


def _sweeps(messages: Iterable[Message]) -> Iterator[list[Message]]:
    group: list[Message] = []
    for message in messages:
        if group and not _is_same_sweep(group[-1], message):
            yield group
            group = []
        group.append(message)
    if group:
        yield group


def _is_same_sweep(first: Message, second: Message) -> bool:
    return (
        first.kind is second.kind is Kind.EXECUTE
        and first.side is second.side
        and first.time_ns == second.time_ns
    )
