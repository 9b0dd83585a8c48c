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

from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from engine.batches import empty_specials
from engine.errors import InputError, RunError
from engine.feeds.columns import LevelColumns, LevelTable
from engine.feeds.records import BookChange
from engine.feeds.timeline import Moment
from engine.messages import (
    COMMAND_COLUMNS,
    FLAG_STP_SHIFT,
    MONEY_MAX,
    NONE,
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
    from engine.units import Grid

Ints = npt.NDArray[np.int64]

RULES = ("displace", "restore")
MARKS = ("book", "feed")
#: Beside those of populations and of the demo's makers.
ACCOUNT = 800_000_001
#: Enough never to be what decides, little enough for sums over many assets.
_DEPOSIT = MONEY_MAX // 64
#: A mark sets off liquidations, they move the book, the book moves the mark; this often at most.
_MARKS_PER_MOMENT_MAX = 1_000
#: Texts of prices or quantities that a book remembers.
_KNOWN_MAX = 1 << 16
_CANCEL, _AMEND, _ORDER = (int(one) for one in (Command.CANCEL, Command.AMEND, Command.ORDER))
_LIMIT, _GTC = int(OrderType.LIMIT), int(TimeInForce.GTC)
#: Places in a packed command.
(_CMD, _TS, _ACCOUNT, _SYMBOL, _LEVEL, _SIDE, _TYPE, _QUANTITY, _PRICE, _TIME_IN_FORCE, _FLAGS,
 _) = range(len(COMMAND_COLUMNS))
_KIND_COUNT = 1 + max(EventKind)
#: Of orders that do as they are told.
_PLAIN_KINDS = tuple(int(kind) for kind in (
    EventKind.ORDER_ACCEPTED, EventKind.ORDER_UPDATE, EventKind.ORDER_AMENDED,
    EventKind.ORDER_CANCELED))
_NO_SPECIALS = empty_specials(0)
_STP = int(StpMode.CANCEL_MAKER) << FLAG_STP_SHIFT

_UPDATE = [field_at(EventKind.ORDER_UPDATE, n) for n in ("account", "symbol", "order_id", "leaves")]
_GONE = {
    kind: [field_at(kind, n) for n in ("account", "symbol", "order_id")]
    for kind in (EventKind.ORDER_CANCELED, EventKind.ORDER_EXPIRED)}
_TRADE = [
    field_at(EventKind.TRADE, n) for n in (
        "symbol", "quantity", "maker_order_id", "maker_account", "taker_order_id",
        "taker_account")]


class _Known(dict[str, int]):
    """Remembers what texts were converted to: the same ones come again and again."""

    def __init__(self, convert: Callable[[str], int]) -> None:
        super().__init__()
        self._convert = convert

    def __missing__(self, text: str) -> int:
        if len(self) >= _KNOWN_MAX:
            self.clear()
        value = self[text] = self._convert(text)
        return value


class _Book:
    """The crowd's side of one symbol's book; a level is named by 2 x price in ticks + side.

    Attributes
    ----------
    live, taken : dict of int to int
        Lots of a level: of the crowd's order now, and taken by users since the record came to
        the price.
    """

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.live: dict[int, int] = {}
        self.taken: dict[int, int] = {}
        self.mark: int | None = None
        self._known_levels = (
            _Known(lambda price: 2 * self._ticks(price) + int(Side.BUY)),
            _Known(lambda price: 2 * self._ticks(price) + int(Side.SELL)))
        self._known_lots = _Known(self._lots)
        self._table: LevelTable | None = None
        self._converted: tuple[Ints, Ints] | None = None

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

    def record(self, change: BookChange) -> tuple[Ints, Ints]:
        """Take over what a change says; return the levels that it touches, and their lots."""
        columns = None if change.is_snapshot else self._columns(change)
        if columns is None:
            rows = self._rows_of(change)
            columns = (np.fromiter(rows.keys(), np.int64, len(rows)),
                       np.fromiter(rows.values(), np.int64, len(rows)))
        if self.taken:
            levels, lots = columns
            for level in levels[lots == 0].tolist():
                self.taken.pop(level, None)
        return columns

    def _columns(self, change: BookChange) -> tuple[Ints, Ints] | None:
        """Convert a change that comes in columns; None: it does not, or has to be looked at."""
        bids: object = change.bids
        asks: object = change.asks
        if not (isinstance(bids, LevelColumns) and isinstance(asks, LevelColumns)
                and bids.table is asks.table and bids.end == asks.begin):
            return None
        if bids.table is not self._table:
            self._table = bids.table
            self._converted = self._convert(bids.table)
        if self._converted is None:
            return None
        levels, lots = (column[bids.begin : asks.end] for column in self._converted)
        levels = levels.copy()
        levels[len(bids) :] += int(Side.SELL) - int(Side.BUY)
        # A level that is named twice is as it was named last.
        return (levels, lots) if len(set(levels.tolist())) == len(levels) else None

    def _convert(self, table: LevelTable) -> tuple[Ints, Ints] | None:
        ticks = _units(self.instrument.tick, table.prices, table.price_decimals)
        lots = _units(self.instrument.lot, table.quantities, table.quantity_decimals)
        return None if ticks is None or lots is None else (2 * ticks + int(Side.BUY), lots)

    def _rows_of(self, change: BookChange) -> dict[int, int]:
        levels: dict[int, int] = {}
        lots_of = self._known_lots.__getitem__
        for known, rows in zip(self._known_levels, (change.bids, change.asks), strict=True):
            if rows:
                prices, quantities = zip(*rows, strict=True)
                levels.update(zip(
                    map(known.__getitem__, prices), map(lots_of, quantities), strict=True))
        if change.is_snapshot:
            gone = (self.live.keys() | self.taken.keys()) - levels.keys()
            levels = dict.fromkeys(sorted(gone), 0) | levels
        return levels


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
        self._seen_seq = -1
        self._has_news = True  # something happened since the marks last followed the books
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
        if self._exchange.seq != self._seen_seq:
            self._absorb()  # what users did since
        if moment.rows:
            self._mark_by_feed(moment, only_first=self._follows_book)
        for record in moment.records:
            if type(record) is not BookChange:
                continue
            book = self._find(record.symbol)
            if book.mark is None:
                continue  # orders need a mark: the record's own middle comes with its book
            self._set(book, *book.record(record), moment.ts_ns)
            self.change_count += 1
        if self._follows_book and self._has_news:
            self._has_news = False
            self._mark_by_books(moment.ts_ns)

    def _find(self, symbol: str) -> _Book:
        book = self._books.get(symbol)
        if book is None:
            raise InputError(
                f"the feed carries {symbol}, which is no instrument here; rename it with "
                f"--map {symbol}=NAME")
        return book

    def _set(self, book: _Book, levels: Ints, lots: Ints, ts_ns: int) -> None:
        """Bring the crowd's orders on these levels to where the rule wants them."""
        names, wanted = levels.tolist(), lots
        if book.taken:
            if self._is_restored:
                for level in names:
                    book.taken.pop(level, None)
            wanted = np.maximum(lots - _looked_up(book.taken, names), 0)
        was = _looked_up(book.live, names)
        is_changed = wanted != was
        if not is_changed.all():
            levels, wanted, was = levels[is_changed], wanted[is_changed], was[is_changed]
        if not len(levels):
            return
        # What goes, goes first: a change moves both sides, and a new bid may stand where an ask
        # was.
        is_there = wanted != 0
        order = is_there.argsort(kind="stable")
        levels, wanted, was = levels[order], wanted[order], was[order]
        gone_count = len(levels) - int(np.count_nonzero(is_there))
        rows = _rows(ts_ns, book.instrument.index, levels, wanted, was, gone_count)
        refused = self._exchange.submit_many(rows, _NO_SPECIALS)
        self._absorb(book, levels.tolist(), wanted.tolist(), gone_count, refused)

    def _absorb(
        self, book: _Book | None = None, levels: Sequence[int] = (), wanted: Sequence[int] = (),
        gone_count: int = 0, refused: int = 0,
    ) -> None:
        """Read what became of the crowd's orders off the events.

        Where these say no more than that everything went as it was sent (to these levels, these
        lots, so many of them none at the beginning), as they nearly always do, nobody looks at
        them one by one.
        """
        events = self._exchange.drain_array()
        self._seen_seq = self._exchange.seq
        if not len(events):
            return
        self._has_news = True
        kinds = np.bincount(events[:, 0], minlength=_KIND_COUNT).tolist()
        if not refused and sum(kinds[kind] for kind in _PLAIN_KINDS) == len(events) and (
                kinds[EventKind.ORDER_CANCELED] == gone_count):
            if book is not None:
                for level in levels[:gone_count]:
                    del book.live[level]
                book.live.update(zip(levels[gone_count:], wanted[gone_count:], strict=True))
                return
            if not (kinds[EventKind.ORDER_UPDATE] or kinds[EventKind.ORDER_CANCELED]):
                return
        records = [tuple(row) for row in events.tolist()]
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
            if only_first and book.mark is not None:
                continue
            mark = book.instrument.mark.units(book.instrument.round_mark(price))
            if mark == book.mark:
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


def _looked_up(lots_of: dict[int, int], levels: list[int]) -> Ints:
    return np.fromiter(map(lots_of.get, levels, repeat(0)), np.int64, len(levels))


def _units(grid: Grid, values: Ints, decimals: int) -> Ints | None:
    """Convert whole numbers of 10^-decimals to units of a grid; None: not all of them fit."""
    factor = 1 / (grid.step * 10**decimals)
    over, under = factor.numerator, factor.denominator
    if under >= MONEY_MAX or (len(values) and int(values.max()) * over >= MONEY_MAX // 4):
        return None
    products = values * over
    units: Ints = products // under
    return units if (units * under == products).all() else None


def _rows(
    ts_ns: int, symbol: int, levels: Ints, wanted: Ints, was: Ints, gone_count: int
) -> Ints:
    """Return the packed commands that bring levels from so many lots to others.

    Those that go are the first.
    """
    rows = np.empty((len(levels), len(COMMAND_COLUMNS)), np.int64)
    rows[:] = (_CANCEL, ts_ns, ACCOUNT, symbol, NONE, NONE, NONE, NONE, NONE, NONE, 0, NONE)
    rows[:, _LEVEL] = levels
    rest = rows[gone_count:]
    rest[:, _CMD] = _AMEND
    rest[:, _TYPE] = wanted[gone_count:]  # the new open quantity; fewer lots keep their turn
    places = gone_count + (was[gone_count:] == 0).nonzero()[0]
    if len(places):
        new, names = rows[places], levels[places]
        new[:, _CMD], new[:, _TYPE], new[:, _TIME_IN_FORCE] = _ORDER, _LIMIT, _GTC
        new[:, _SIDE], new[:, _PRICE], new[:, _FLAGS] = names & 1, names >> 1, _STP
        new[:, _QUANTITY] = wanted[places]
        rows[places] = new
    return rows


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

    from engine.play import FundingCount
    from engine.server import RunFigures

    figures = RunFigures(Tally())
    exchange.drain_records()
    crowd = Crowd(exchange, rule, mark, figures.tally)
    started = time.monotonic()
    fundings = FundingCount()
    for moment in moments:
        crowd.apply(moment)
        if moment.fundings:
            fundings.settle(exchange, moment)
        figures.step_count += 1
        if figures.step_count % 64 == 0:
            on_progress(figures.tally)
    figures.elapsed_s = time.monotonic() - started
    if crowd.change_count == 0:
        raise InputError("--crowd: the feed has no depth")
    return figures, [*crowd.rows(), *fundings.rows()]
