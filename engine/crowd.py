"""Recorded depth as the resting orders of a crowd: a market that users can move.

A recorded book cannot be traded with: whatever is taken from it stands there again with the
next message. Here each recorded price level is an order of one account, the crowd, in the
engine's own book. Orders and liquidations of users take from it, the best prices move, and if
the mark follows the book, so do the accounts that hang on it.

Two books then say different things, the recorded and the engine's, and a rule reconciles them:

- `displace`: what users took from a level stays taken. The level shows what is recorded less
  that, until the record itself leaves the price; there it begins anew.
- `restore`: the record wins. The next change of a level sets it to what is recorded: what was
  taken comes back with it, as fast as the market was alive there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from engine.batches import COMMAND_DTYPE, empty_commands
from engine.errors import InputError, RunError
from engine.feeds.records import BookChange
from engine.feeds.timeline import Moment
from engine.messages import (
    FLAG_STP_SHIFT,
    MONEY_MAX,
    Command,
    EventKind,
    OrderType,
    Side,
    StpMode,
    TimeInForce,
)
from engine.tally import Record, Tally, field_at

if TYPE_CHECKING:
    from engine.exchange import Exchange
    from engine.instruments import Instrument
    from engine.server import RunFigures

RULES = ("displace", "restore")
MARKS = ("book", "feed")
#: Beside those of populations and of the demo's makers.
ACCOUNT = 800_000_001
#: Enough never to be what decides, little enough for sums over many assets.
_DEPOSIT = MONEY_MAX // 64
#: A mark sets off liquidations, they move the book, the book moves the mark; this often at most.
_MARKS_PER_MOMENT_MAX = 1_000
_COLUMNS = {name: at for at, name in enumerate(COMMAND_DTYPE.names or ())}
_PLAIN = empty_commands(1).view(np.int64).tolist()
_STP = int(StpMode.CANCEL_MAKER) << FLAG_STP_SHIFT

_UPDATE = [field_at(EventKind.ORDER_UPDATE, n) for n in ("account", "symbol", "order_id", "leaves")]
_GONE = {
    kind: [field_at(kind, n) for n in ("account", "symbol", "order_id")]
    for kind in (EventKind.ORDER_CANCELED, EventKind.ORDER_EXPIRED)}
_TRADE = [
    field_at(EventKind.TRADE, n) for n in (
        "symbol", "quantity", "maker_order_id", "maker_account", "taker_order_id",
        "taker_account")]


class _Book:
    """The crowd's side of one symbol's book; a level is named by 2 x price in ticks + side.

    Attributes
    ----------
    recorded, live, taken : dict of int to int
        Lots of a level: as recorded, of the crowd's order now, and taken by users since the
        record came to the price.
    """

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.recorded: dict[int, int] = {}
        self.live: dict[int, int] = {}
        self.taken: dict[int, int] = {}
        self.mark: int | None = None
        self.ticks = lru_cache(1 << 15)(self._ticks)
        self.lots = lru_cache(1 << 15)(self._lots)

    def _ticks(self, price: str) -> int:
        ticks = self.instrument.tick.units(price)
        if not 0 < ticks < MONEY_MAX // 4:
            raise InputError(
                f"{self.instrument.symbol}: recorded price {price} is no multiple of its tick, "
                f"{self.instrument.tick.text(1)}; declare a finer one")
        return ticks

    def _lots(self, quantity: str) -> int:
        lots = self.instrument.lot.units(quantity)
        if not 0 <= lots < MONEY_MAX:
            raise InputError(
                f"{self.instrument.symbol}: recorded quantity {quantity} is no multiple of its "
                f"lot, {self.instrument.lot.text(1)}; declare a finer one")
        return lots

    def record(self, change: BookChange) -> list[int]:
        """Take over what a change says; return the levels that it touches."""
        levels = {
            2 * self.ticks(price) + side: self.lots(quantity)
            for side, rows in ((int(Side.BUY), change.bids), (int(Side.SELL), change.asks))
            for price, quantity in rows}
        if change.is_snapshot:
            levels = dict.fromkeys(self.recorded.keys() - levels.keys(), 0) | levels
        for level, lots in levels.items():
            if lots:
                self.recorded[level] = lots
            else:
                self.recorded.pop(level, None)
                self.taken.pop(level, None)
        return list(levels)


class Crowd:
    """The crowd's account and books in an exchange.

    Parameters
    ----------
    exchange : engine.Exchange
        With its instruments declared. Its events are drained here, so commands of users are
        given to `submit`, which leaves theirs to be.
    rule : str
        One of `RULES`.
    mark : str
        `book`: the middle of the engine's own best bid and ask; `feed`: what the feed says.
    tally : Tally, optional
        Counts the events.

    Attributes
    ----------
    change_count : int
        Recorded changes applied.
    displaced_lots : dict of str to int
        What users took from the crowd, and the crowd from users, in lots.
    """

    def __init__(
        self, exchange: Exchange, rule: str, mark: str = "book", tally: Tally | None = None
    ) -> None:
        if rule not in RULES:
            raise InputError(f"--crowd {rule}: expected {' or '.join(RULES)}")
        if mark not in MARKS:
            raise InputError(f"--crowd-mark {mark}: expected {' or '.join(MARKS)}")
        self._exchange = exchange
        self._is_restored = rule == "restore"
        self._follows_book = mark == "book"
        self._tally = tally or Tally()
        instruments = [exchange.instrument(name) for name in exchange.symbols]
        self._books = {one.symbol: _Book(one) for one in instruments}
        self._by_index = {one.index: self._books[one.symbol] for one in instruments}
        self.change_count = 0
        self.displaced_lots = dict.fromkeys(exchange.symbols, 0)
        self._open()

    def _open(self) -> None:
        exchange = self._exchange
        exchange.submit({"cmd": "account", "account": ACCOUNT})
        for name in {book.instrument.settle.name for book in self._books.values()}:
            amount = book_amount(self._books.values(), name)
            exchange.submit(
                {"cmd": "deposit", "account": ACCOUNT, "asset": name, "amount": amount})
        for name in self._books:
            # A whole book is more than high leverage may hold.
            exchange.submit(
                {"cmd": "leverage", "account": ACCOUNT, "symbol": name, "leverage": "1"})
        refused = [event for event in exchange.drain() if event["event"] == "rejected"]
        if refused:
            raise RunError(f"the crowd cannot open account {ACCOUNT}: {refused[0]['detail']}")

    def apply(self, moment: Moment) -> None:
        """Bring the books to a moment's record, and the marks to where the books are.

        Raises
        ------
        InputError
            A symbol that is no instrument, or a price or quantity off its grid.
        """
        self._absorb()  # what users did since
        changes = [record for record in moment.records if type(record) is BookChange]
        self._mark_by_feed(moment, only_first=self._follows_book)
        for change in changes:
            book = self._find(change.symbol)
            if book.mark is None:
                continue  # orders need a mark: the record's own middle comes with its book
            self._set(book, book.record(change), moment.ts_ns)
            self.change_count += 1
        if self._follows_book:
            self._mark_by_books(moment.ts_ns)

    def _find(self, symbol: str) -> _Book:
        book = self._books.get(symbol)
        if book is None:
            raise InputError(
                f"the feed carries {symbol}, which is no instrument here; rename it with "
                f"--map {symbol}=NAME")
        return book

    def _set(self, book: _Book, levels: list[int], ts_ns: int) -> None:
        """Bring the crowd's orders on these levels to where the rule wants them."""
        leaving: list[list[int]] = []
        resting: list[list[int]] = []
        for level in levels:
            if self._is_restored:
                book.taken.pop(level, None)
            wanted = max(0, book.recorded.get(level, 0) - book.taken.get(level, 0))
            live = book.live.get(level, 0)
            if wanted == live:
                continue
            # What goes, goes first: a change moves both sides, and a new bid may stand where
            # an ask was.
            (resting if wanted else leaving).append(_command(book, level, wanted, live, ts_ns))
        if leaving or resting:
            self._exchange.submit_many(np.array(leaving + resting, np.int64))
            self._absorb()

    def _absorb(self) -> None:
        """Read what became of the crowd's orders off the events."""
        records = self._exchange.drain_records()
        self._tally.add(records)
        for record in records:
            kind = record[0]
            if kind == EventKind.TRADE:
                self._take(record)
            elif kind == EventKind.ORDER_UPDATE:
                account, symbol, level, leaves = (record[at] for at in _UPDATE)
                if account == ACCOUNT:
                    self._by_index[symbol].live[level] = leaves
            elif kind in _GONE:
                account, symbol, level = (record[at] for at in _GONE[EventKind(kind)])
                if account == ACCOUNT:
                    self._by_index[symbol].live.pop(level, None)

    def _take(self, record: Record) -> None:
        symbol, lots, maker_level, maker, taker_level, taker = (record[at] for at in _TRADE)
        if (maker == ACCOUNT) == (taker == ACCOUNT):
            return
        book = self._by_index[symbol]
        level = maker_level if maker == ACCOUNT else taker_level
        book.taken[level] = book.taken.get(level, 0) + lots
        self.displaced_lots[book.instrument.symbol] += lots

    def _mark_by_feed(self, moment: Moment, only_first: bool) -> None:
        rows = []
        for symbol, price, index in moment.rows:
            book = self._find(symbol)
            mark = book.instrument.mark.units(book.instrument.round_mark(price))
            if mark == book.mark or (only_first and book.mark is not None):
                continue
            book.mark = mark
            named = None if index is None else book.instrument.round_mark(index)
            rows.append((symbol, book.instrument.mark.text(mark), named, None))
        if rows:
            self._exchange.apply_marks(rows, ts=moment.ts_ns)
            self._absorb()

    def _mark_by_books(self, ts_ns: int) -> None:
        for _ in range(_MARKS_PER_MOMENT_MAX):
            rows = []
            for symbol, book in self._books.items():
                mark = self._middle(book)
                if book.mark is not None and mark is not None and mark != book.mark:
                    book.mark = mark
                    rows.append((symbol, book.instrument.mark.text(mark), None, None))
            if not rows:
                return
            self._exchange.apply_marks(rows, ts=ts_ns)
            self._absorb()

    def _middle(self, book: _Book) -> int | None:
        """Return the middle of the engine's best prices in mark ticks, ties to even."""
        instrument = book.instrument
        levels = self._exchange.core.book_levels
        bids = levels(instrument.index, int(Side.BUY), 1)
        asks = levels(instrument.index, int(Side.SELL), 1)
        if not (bids and asks):
            return None
        twice: int = (bids[0][0] + asks[0][0]) * instrument.marks_per_tick
        return twice // 2 + (twice % 2 and (twice // 2) % 2)

    def rows(self) -> list[tuple[str, str]]:
        """Return what the crowd did as `(name, value)` for a summary."""
        traded = [
            (f"crowd_traded_{name}", self._books[name].instrument.lot.text(lots))
            for name, lots in self.displaced_lots.items() if lots]
        return [("crowd_changes", str(self.change_count)), *traded]


def book_amount(books: Iterable[_Book], asset: str) -> str:
    """Return the crowd's deposit in an asset."""
    return next(
        book.instrument.settle.minor.text(_DEPOSIT) for book in books
        if book.instrument.settle.name == asset)


def _command(book: _Book, level: int, wanted: int, live: int, ts_ns: int) -> list[int]:
    row: list[int] = list(_PLAIN)
    price, side = divmod(level, 2)
    if wanted == 0:
        values: dict[str, int] = {"cmd": Command.CANCEL}
    elif live:
        # `type` of an amend is the new open quantity; fewer lots keep their turn.
        values = {"cmd": Command.AMEND, "type": wanted}
    else:
        values = {
            "cmd": Command.ORDER, "side": side, "price": price, "quantity": wanted,
            "type": OrderType.LIMIT, "time_in_force": TimeInForce.GTC, "flags": _STP}
    values |= {
        "ts": ts_ns, "account": ACCOUNT, "symbol": book.instrument.index, "order_id": level}
    for name, value in values.items():
        row[_COLUMNS[name]] = int(value)
    return row


def run_crowd(
    exchange: Exchange, moments: Iterable[Moment], rule: str, mark: str,
    on_progress: Callable[[Tally], None],
) -> tuple[RunFigures, list[tuple[str, str]]]:
    """Play a feed's depth as a crowd; return the figures and the crowd's rows.

    Parameters
    ----------
    exchange : engine.Exchange
    moments : iterable of Moment
        With their records.
    rule, mark : str
        See `Crowd`.
    on_progress : callable
        Called with the running tally now and then.

    Raises
    ------
    InputError
        A feed without depth.
    """
    import time

    from engine.server import RunFigures

    figures = RunFigures(Tally())
    exchange.drain_records()
    crowd = Crowd(exchange, rule, mark, figures.tally)
    started = time.monotonic()
    for moment in moments:
        crowd.apply(moment)
        figures.step_count += 1
        if figures.step_count % 64 == 0:
            on_progress(figures.tally)
    figures.elapsed_s = time.monotonic() - started
    if crowd.change_count == 0:
        raise InputError("--crowd: the feed has no depth")
    return figures, crowd.rows()
