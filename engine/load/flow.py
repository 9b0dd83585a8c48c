"""What is sent: a mix of commands of traders around a moving reference price.

A client's commands are a function of its seed and of the times they are due, never of what
the server answers: a cancel may meet an order that has traded, and is refused then, as in life.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.batches import COMMAND_DTYPE, Packed
from engine.errors import InputError
from engine.load.arrivals import Ints
from engine.messages import NONE, Command, OrderType, Side, TimeInForce
from engine.units import Grid

#: Shares of a mix in the order in which they are drawn.
KINDS = ("limit", "cancel", "amend", "market", "mark")
#: Orders that one client keeps at most: beyond, a limit order becomes a cancel.
_LIVE_MAX = 5_000
#: The reference price swings with these periods, in seconds, in these shares of the amplitude.
_SWINGS = ((61.0, 0.75), (7.3, 0.25))
_SIGMA = 0.8  # of the logarithm of an order's size
_MARK, _ORDER, _AMEND, _CANCEL = (
    int(one) for one in (Command.MARK, Command.ORDER, Command.AMEND, Command.CANCEL))
_LIMIT, _MARKET = int(OrderType.LIMIT), int(OrderType.MARKET)
_GTC, _IOC = int(TimeInForce.GTC), int(TimeInForce.IOC)


@dataclass(frozen=True)
class Book:
    """An instrument as the flow needs it; picklable.

    Attributes
    ----------
    symbol : str
    index : int
        In packed commands.
    settle : str
    tick, mark_tick, lot : str
        Decimal.
    mark : int
        Mark price around which everything happens, in mark ticks.
    marks_per_tick : int
    lots : float
        Median size of an order.
    """

    symbol: str
    index: int
    settle: str
    tick: str
    mark_tick: str
    lot: str
    mark: int
    marks_per_tick: int
    lots: float


def parse_mix(text: str) -> tuple[float, ...]:
    """Read `limit=45,cancel=35,…`: weights of `KINDS`; what is left out has none.

    Raises
    ------
    InputError

    Examples
    --------
    >>> parse_mix("limit=3,cancel=1")
    (0.75, 0.25, 0.0, 0.0, 0.0)
    """
    weights = dict.fromkeys(KINDS, 0.0)
    for part in text.split(","):
        name, _, value = part.partition("=")
        try:
            weight = float(value)
        except ValueError:
            weight = -1.0
        if name not in weights or not 0 <= weight < 1e9:
            raise InputError(
                f"--mix {text}: expected weights from 0 on of {', '.join(KINDS)}: limit=3,cancel=1")
        weights[name] = weight
    total = sum(weights.values())
    if total <= 0:
        raise InputError(f"--mix {text}: nothing is left to send")
    return tuple(weight / total for weight in weights.values())


class Flow:
    """The commands of one client.

    Parameters
    ----------
    books : sequence of Book
    accounts : sequence of int
        Of this client's traders.
    mix : tuple of float
        Shares of `KINDS`.
    swing : float
        How far the reference price moves up and down, as a share of it.
    rng : numpy.random.Generator
    first_order : int
        Number of the first order; they count on.

    Attributes
    ----------
    next_order : int
    """

    def __init__(
        self, books: Sequence[Book], accounts: Sequence[int], mix: Sequence[float], swing: float,
        rng: np.random.Generator, first_order: int = 1,
    ) -> None:
        self._books = books
        self._accounts = accounts
        self._mix = mix
        self._swing = swing
        self._rng = rng
        self.next_order = first_order
        self._live: list[tuple[int, int, int, int]] = []  # account, book, order, side

    def commands(self, due: Ints) -> Packed:
        """Return the packed commands that are due at these times, in ns."""
        rng, count = self._rng, len(due)
        kinds = rng.choice(len(KINDS), count, p=self._mix).tolist()
        books = rng.integers(len(self._books), size=count)
        marks = self._marks(due, books)
        base = np.array([book.lots for book in self._books])[books]
        lots = np.maximum(base * np.exp(_SIGMA * rng.standard_normal(count)), 1).astype(np.int64)
        away = rng.geometric(0.05, count).tolist()
        sides = rng.integers(2, size=count).tolist()
        accounts = rng.integers(len(self._accounts), size=count).tolist()
        picks = rng.random(count).tolist()
        rows = [
            self._row(*each) for each in zip(
                kinds, books.tolist(), marks.tolist(), lots.tolist(), away, sides, accounts, picks,
                strict=True)]
        return np.array(rows, np.int64).view(COMMAND_DTYPE).reshape(count)

    def _marks(self, due: Ints, books: Ints) -> Ints:
        seconds, move = due / 1e9, np.zeros(len(due))
        for period, share in _SWINGS:
            # The same for all clients, so that their marks agree; each symbol at its own place.
            move += share * np.sin(2 * np.pi * seconds / period + books)
        first = np.array([book.mark for book in self._books])[books]
        return np.asarray(np.rint(first * (1 + self._swing * move)), np.int64)

    def _row(
        self, kind: int, at: int, mark: int, lots: int, away: int, side: int, trader: int,
        pick: float,
    ) -> tuple[int, ...]:
        book, live = self._books[at], self._live
        if kind == 4:
            return (_MARK, NONE, NONE, book.index, NONE, NONE, NONE, NONE, mark, NONE, 0,
                    NONE)
        if kind == 0 and len(live) >= _LIVE_MAX:
            kind = 1
        if kind in (1, 2) and not live:
            kind = 0
        if kind == 1:
            place = int(pick * len(live))
            live[place], live[-1] = live[-1], live[place]
            account, at, order, _ = live.pop()
            return (_CANCEL, NONE, account, self._books[at].index, order, NONE, NONE, NONE,
                    NONE, NONE, 0, NONE)
        if kind == 2:
            return self._amend(live[int(pick * len(live))], mark, at, away, lots)
        order = self.next_order
        self.next_order += 1
        account = self._accounts[trader]
        if kind == 3:
            return (_ORDER, NONE, account, book.index, order, side, _MARKET, lots, NONE, _IOC, 0,
                    NONE)
        live.append((account, at, order, side))
        price = _price(book, mark, side, away)
        return (_ORDER, NONE, account, book.index, order, side, _LIMIT, lots, price, _GTC, 0, NONE)

    def _amend(
        self, order: tuple[int, int, int, int], mark: int, at: int, away: int, lots: int
    ) -> tuple[int, ...]:
        account, mine, number, side = order
        book = self._books[mine]
        # The price moves only where the drawn reference is that of the order's own book.
        price = _price(book, mark, side, away) if mine == at else NONE
        return (_AMEND, NONE, account, book.index, number, NONE, lots, NONE, price, NONE, 0,
                NONE)


def _price(book: Book, mark: int, side: int, away: int) -> int:
    middle = mark // book.marks_per_tick
    return max(1, middle - away if side == Side.BUY else middle + away + 1)


class Words:
    """Packed commands of the flow as the maps that a client sends.

    Parameters
    ----------
    books : sequence of Book
    """

    def __init__(self, books: Sequence[Book]) -> None:
        self._by_index = {
            book.index: (book.symbol, Grid(book.tick), Grid(book.mark_tick), Grid(book.lot))
            for book in books}

    def of(self, rows: Packed) -> Iterator[Mapping[str, Any]]:
        """Yield the commands."""
        for cmd, _, account, symbol, order, side, kind, lots, price, _, _, _ in rows.tolist():
            name, tick, mark_tick, lot = self._by_index[symbol]
            if cmd == _MARK:
                yield {"cmd": "mark", "symbol": name, "mark_price": mark_tick.text(price)}
                continue
            who = {"account": account, "symbol": name, "order_id": order}
            if cmd == _CANCEL:
                yield {"cmd": "cancel", **who}
            elif cmd == _AMEND:
                new = {} if price == NONE else {"price": tick.text(price)}
                yield {"cmd": "amend", **who, "leaves": lot.text(kind), **new}
            else:
                word = {"cmd": "order", **who, "side": "buy" if side == Side.BUY else "sell",
                        "quantity": lot.text(lots)}
                if kind == _MARKET:
                    yield {**word, "type": "market"}
                else:
                    yield {**word, "type": "limit", "price": tick.text(price)}
