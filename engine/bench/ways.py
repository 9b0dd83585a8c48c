"""The ways of sending an order stream: each one function that returns what it took and made.

What is sent is prepared outside the clock; what comes back (trades, or events) is fetched
inside it. A further way is a function from `Prepared` to `Sent` and a line in `WAYS`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, partial
from time import thread_time_ns
from typing import Any, Literal

import numpy as np

from engine.batches import COMMAND_DTYPE, as_rows, empty_commands
from engine.bench.plain_book import PlainBook
from engine.bench.population import Ints, read_records
from engine.bench.stream import AMEND, CANCEL, FAIR_PRICE, OWNERS, Packed, hash_trades
from engine.exchange import Exchange
from engine.messages import (
    FLAG_POST_ONLY,
    FLAG_STP_SHIFT,
    MONEY_MAX,
    NONE,
    RATE_SCALE,
    Command,
    EventKind,
    OrderType,
    TierRule,
)

#: Number of a method (place, cancel, amend), its arguments, whether anything can come back.
Call = tuple[int, tuple[Any, ...], bool]
#: The same with the method of one book.
BoundCall = tuple[Callable[..., Any], tuple[Any, ...], bool]
Rival = Literal["book", "accounts"]

BATCHES = (1, 7, 1000, 0)  # 0: all at once
FETCH_EVERY = 1000
_DEPOSIT = 10**15


@dataclass
class Sent:
    """What came of one pass of the stream.

    Attributes
    ----------
    ns : int
        CPU time of the thread.
    trades : str
        Their hash.
    events : int
    state : str
        Of an exchange: the digest of where it ended.
    """

    ns: int
    trades: str
    events: int = 0
    state: str = ""


class Prepared:
    """A stream, packed and as calls; the calls are made when first wanted.

    Parameters
    ----------
    packed : Packed
    """

    def __init__(self, packed: Packed) -> None:
        self.prefill = packed.prefill
        self.commands = packed.commands

    @cached_property
    def book_calls(self) -> list[Call]:
        """Arguments of `OrderBook`'s methods."""
        calls: list[Call] = []
        for op, owner, order_id, side, price, quantity, tif, flags in _shared(self.commands):
            if op == CANCEL:
                calls.append((op, (owner, order_id), False))
            elif op == AMEND:
                calls.append((op, (owner, order_id, price, quantity), True))
            else:
                arguments = (owner, order_id, side, price, quantity, tif, flags >= 8, flags & 7)
                calls.append((op, arguments, True))
        return calls

    @cached_property
    def exchange_calls(self) -> list[Call]:
        """Arguments of an exchange core's methods."""
        return _exchange_calls(self.commands)

    @cached_property
    def exchange_rows(self) -> Ints:
        """The stream as an exchange core takes it packed."""
        return exchange_rows(self.commands)


def exchange_rows(commands: Ints) -> Ints:
    """Rows of a book's commands as an exchange core takes them packed."""
    op, owner, order_id, side, price, quantity, tif, flags = commands.T
    rows = empty_commands(len(commands))
    rows["cmd"] = np.choose(op, (Command.ORDER, Command.CANCEL, Command.AMEND))
    rows["account"], rows["symbol"], rows["order_id"] = owner, 0, order_id
    rows["side"], rows["time_in_force"] = side, tif
    rows["price"] = np.where(price > 0, price, NONE)
    # An amend of the book gives the open quantity, which has a column of its own here.
    is_amend = op == AMEND
    kinds = np.where(price > 0, int(OrderType.LIMIT), int(OrderType.MARKET))
    rows["type"] = np.where(is_amend, quantity, kinds)
    rows["quantity"] = np.where(is_amend, NONE, quantity)
    rows["flags"] = (flags >= 8) * FLAG_POST_ONLY + ((flags & 7) << FLAG_STP_SHIFT)
    return as_rows(rows, COMMAND_DTYPE, "commands")


def _shared(commands: Ints) -> Iterable[tuple[int, ...]]:
    """Rows as tuples in which equal numbers of a column are one object.

    Arguments of a real call have just been made and are in the cache; a million commands'
    worth of them, each with objects of its own, would be fetched from memory.
    """
    columns = []
    for column in commands.T:
        values, places = np.unique(column, return_inverse=True)
        pool = values.tolist()
        columns.append([pool[place] for place in places.tolist()])
    return zip(*columns, strict=True)


def _exchange_calls(commands: Ints) -> list[Call]:
    calls: list[Call] = []
    for op, owner, order_id, side, price, quantity, tif, flags in _shared(commands):
        if op == CANCEL:
            calls.append((op, (owner, 0, order_id), True))
        elif op == AMEND:
            calls.append((op, (owner, 0, order_id, price, NONE, quantity), True))
        else:
            kind = OrderType.LIMIT if price else OrderType.MARKET
            arguments = (
                owner, 0, order_id, side, int(kind), quantity, price or NONE, tif, flags >= 8,
                False, flags & 7,
            )
            calls.append((op, arguments, True))
    return calls


# --- what is called -------------------------------------------------------------------


class Host(ABC):
    """Something that takes calls.

    Parameters
    ----------
    prepared : Prepared
        The prefill rests in its book to begin with.

    Attributes
    ----------
    methods : tuple of callables
        By operation: place, cancel, amend.
    run : callable
        Takes packed rows.
    fetch : callable
        Returns what came of the calls since the last time, as bytes.
    """

    methods: tuple[Callable[..., Any], ...]
    run: Callable[[Ints], int]
    fetch: Callable[[], bytes]

    @abstractmethod
    def __init__(self, prepared: Prepared) -> None:
        """Fill the book."""

    @abstractmethod
    def calls(self, prepared: Prepared) -> list[Call]:
        """What to send."""

    @abstractmethod
    def rows(self, prepared: Prepared) -> Ints:
        """What to send packed."""

    @abstractmethod
    def take(self, fetched: list[bytes]) -> None:
        """Keep what was fetched, for `sent`."""

    @abstractmethod
    def sent(self, ns: int) -> Sent:
        """Everything that came of it."""


class BookHost(Host):
    """A compiled book."""

    def __init__(self, prepared: Prepared) -> None:
        self.book = new_book()
        self.book.run(prepared.prefill)
        self.methods = (self.book.place, self.book.cancel, self.book.amend)
        self.run = self.book.run
        self.fetch = self.book.trades
        self._tape: list[bytes] = []

    def calls(self, prepared: Prepared) -> list[Call]:
        return prepared.book_calls

    def rows(self, prepared: Prepared) -> Ints:
        return prepared.commands

    def take(self, fetched: list[bytes]) -> None:
        self._tape.append(b"".join(fetched))

    def sent(self, ns: int) -> Sent:
        return Sent(ns, hash_trades(b"".join(self._tape)))


class ExchangeHost(Host):
    """A compiled exchange with rich accounts."""

    def __init__(self, prepared: Prepared) -> None:
        self.core: Any = Exchange().core
        self.methods = (self.core.place_order, self.core.cancel, self.core.amend_order)
        self.run = self.core.run
        self.fetch = self.core.drain_bytes
        self._trades: list[bytes] = []
        self._events = 0
        open_exchange(self.core, range(1, OWNERS + 1))
        for begin in range(0, len(prepared.prefill), FETCH_EVERY):
            self.core.run(exchange_rows(prepared.prefill[begin : begin + FETCH_EVERY]))
            self.fetch()

    def calls(self, prepared: Prepared) -> list[Call]:
        return prepared.exchange_calls

    def rows(self, prepared: Prepared) -> Ints:
        return prepared.exchange_rows

    def take(self, fetched: list[bytes]) -> None:
        records = read_records(b"".join(fetched))
        self._events += len(records)
        trades = records[records[:, 0] == EventKind.TRADE]
        # maker account, maker order, taker account, taker order, price, lots
        self._trades.append(np.ascontiguousarray(trades[:, [9, 8, 11, 10, 6, 7]]).tobytes())

    def sent(self, ns: int) -> Sent:
        return Sent(
            ns, hash_trades(b"".join(self._trades)), self._events, self.core.digest().hex())


def new_book() -> Any:
    """Return an empty compiled book."""
    from engine.core import OrderBook

    return OrderBook()


def open_exchange(core: Any, accounts: Iterable[int]) -> None:
    """One asset, one instrument with fees, a mark, and rich cross accounts."""
    core.add_asset()
    tiers = [(0, MONEY_MAX, RATE_SCALE // 200, 100 * RATE_SCALE)]
    maker_fee, taker_fee = 2 * RATE_SCALE // 10**4, 5 * RATE_SCALE // 10**4
    core.add_instrument(
        0, 1, 1, maker_fee, taker_fee, 0, NONE, NONE, NONE, TierRule.MARGINAL, tiers)
    core.mark(0, FAIR_PRICE)
    for account in accounts:
        core.open_account(account, 0)
        core.deposit(account, 0, _DEPOSIT)
    core.drain()


def bind(host: Host, calls: list[Call]) -> list[BoundCall]:
    """Calls of one host."""
    methods = host.methods
    return [(methods[op], arguments, may_yield) for op, arguments, may_yield in calls]


# --- the ways -------------------------------------------------------------------------


def send_batches(prepared: Prepared, size: int, make: type[Host]) -> Sent:
    """Packed batches (0: all at once); what comes of them is fetched every 1,000 commands."""
    host = make(prepared)
    commands = host.rows(prepared)
    step = size or max(1, len(commands))
    run, fetch = host.run, host.fetch
    total = 0
    for begin in range(0, len(commands), max(step, FETCH_EVERY)):
        part = commands[begin : begin + max(step, FETCH_EVERY)]
        batches = [part[i : i + step] for i in range(0, len(part), step)]
        start = thread_time_ns()
        for batch in batches:
            run(batch)
        fetched = fetch()
        total += thread_time_ns() - start
        host.take([fetched])
    return host.sent(total)


def send_calls(prepared: Prepared, make: type[Host], is_each: bool) -> Sent:
    """One Python call a command; fetched after each that yields something, or every 1,000."""
    host = make(prepared)
    calls, fetch = host.calls(prepared), host.fetch
    total = 0
    for begin in range(0, len(calls), FETCH_EVERY):
        part = bind(host, calls[begin : begin + FETCH_EVERY])
        fetched = []
        start = thread_time_ns()
        if is_each:
            for method, arguments, may_yield in part:
                # A book says how many lots were traded; an exchange says nothing.
                traded = method(*arguments)
                if may_yield and traded != 0:
                    fetched.append(fetch())
        else:
            for method, arguments, _ in part:
                method(*arguments)
            fetched.append(fetch())
        total += thread_time_ns() - start
        host.take(fetched)
    return host.sent(total)


@dataclass(frozen=True)
class Way:
    """A row of the table.

    Attributes
    ----------
    name : str
    rival : {"book", "accounts"}
        Which model it is compared with: the plain book, or the reference core.
    send : callable
    """

    name: str
    rival: Rival
    send: Callable[[Prepared], Sent]


def _batch_name(what: str, size: int) -> str:
    return f"{what}, batches of {size:,}" if size else f"{what}, one batch"


BOOK_CALLS = Way("book, single calls", "book", partial(
    send_calls, make=BookHost, is_each=False))
BOOK_CALLS_EACH = Way("book, single calls, trades returned", "book", partial(
    send_calls, make=BookHost, is_each=True))
EXCHANGE_CALLS = Way("accounts, single calls", "accounts", partial(
    send_calls, make=ExchangeHost, is_each=False))
EXCHANGE_CALLS_EACH = Way("accounts, single calls, events returned", "accounts", partial(
    send_calls, make=ExchangeHost, is_each=True))
#: The rows of the table, in their order.
WAYS = (
    *(Way(_batch_name("book", size), "book", partial(send_batches, size=size, make=BookHost))
      for size in BATCHES),
    BOOK_CALLS, BOOK_CALLS_EACH,
    *(Way(_batch_name("accounts", size), "accounts",
          partial(send_batches, size=size, make=ExchangeHost)) for size in BATCHES),
    EXCHANGE_CALLS, EXCHANGE_CALLS_EACH,
)


# --- what they are compared with ------------------------------------------------------


@dataclass
class Compared:
    """A model's time for a beginning of the stream.

    Attributes
    ----------
    per_command : float, ns of CPU
    agrees : bool
        Whether the compiled code makes the same of the same beginning.
    """

    per_command: float
    agrees: bool


def compare_book(packed: Packed) -> Compared:
    """The plain Python book; trades are compared."""
    book = PlainBook()
    for row in packed.prefill.tolist():
        book.apply(row)
    rows = packed.commands.tolist()
    apply = book.apply
    start = thread_time_ns()
    for row in rows:
        apply(row)
    ns = thread_time_ns() - start
    compiled = send_batches(Prepared(packed), 0, BookHost)
    return Compared(ns / len(rows), hash_trades(book.trade_bytes()) == compiled.trades)


def compare_accounts(packed: Packed) -> Compared:
    """The reference core, with the accounts that occur; all events and the state are compared."""
    owners = np.unique(np.concatenate((packed.prefill[:, 1], packed.commands[:, 1]))).tolist()
    prepared = Prepared(packed)
    reference: Any = Exchange(core="reference").core
    compiled: Any = Exchange().core
    elapsed, events = 0, []
    for core in (reference, compiled):
        open_exchange(core, owners)
        methods = (core.place_order, core.cancel, core.amend_order)
        for op, arguments, _ in _exchange_calls(prepared.prefill):
            methods[op](*arguments)
        start = thread_time_ns()
        for op, arguments, _ in prepared.exchange_calls:
            methods[op](*arguments)
        if core is reference:
            elapsed = thread_time_ns() - start
        events.append(core.drain())
    agrees = events[0] == events[1] and reference.digest() == compiled.digest()
    return Compared(elapsed / len(packed.commands), agrees)
