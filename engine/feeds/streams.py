"""Messages of Binance's market streams, as collectors write them down.

A line is a message, with or without the local receive time in ns and a blank before it
(hftbacktest's collector writes it); a file may also be one message over several lines, as
documentation has them. A message is an event of its own, one of a combined stream
(`{"stream": …, "data": …}`), or the answer to a depth request (`{"lastUpdateId": …}`).

Depth updates become changes to a book by the exchange's own procedure: they wait for a
snapshot, those that it covers are left out, and after a gap they wait for the next one.
`engine.feeds.depth` reads the same files in ticks and lots, for the tapes.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import chain
from typing import Any, cast

from engine.errors import InputError
from engine.feeds import fields as of
from engine.feeds.columns import LevelColumns, read_columns
from engine.feeds.files import open_unpacked, read_blocks
from engine.feeds.json_fields import (
    exchange_ns,
    id_of,
    instant_of,
    level_texts,
    load_object,
    text_of,
)
from engine.feeds.klines import play_bar
from engine.feeds.records import (
    Bar,
    BestQuote,
    BookChange,
    Levels,
    Liquidation,
    Record,
    Ticker,
    Trade,
)
from engine.feeds.source import Format, Head, Source
from engine.feeds.steps import is_symbol, parse_instant

#: A snapshot of 5,000 levels a side has some 350 kB.
LINE_LENGTH_MAX = 1 << 20
#: Updates that are kept while there is no snapshot.
_WAITING_MAX = 10_000
_STAMPED = re.compile(r"[0-9]{19} \{")
_EVENTS = ('"e":', '"stream":', '"lastUpdateId":')

# Messages that need no closer look, as the exchange writes them; others are read as JSON.
_PRICE = r'"((?=[0-9.]*[1-9])[0-9]{1,20}(?:\.[0-9]{1,20})?)"'
_QUANTITY = r'"([0-9]{1,20}(?:\.[0-9]{1,20})?)"'
_SYMBOL = '"([A-Za-z0-9][A-Za-z0-9._:/@-]{0,63})"'
_MS = "(1[3-9][0-9]{11}|[23][0-9]{12})"
_STAMP = r'(1[3-9][0-9]{17}) \{"stream":"[^"\\]*","data":\{'
_GOOD_QUOTE = re.compile(
    _STAMP + r'"e":"bookTicker","u":[0-9]+,"s":' + _SYMBOL + ',"b":' + _PRICE + ',"B":' + _QUANTITY
    + ',"a":' + _PRICE + ',"A":' + _QUANTITY + ',"T":' + _MS + r',"E":[0-9]+\}\}')
_GOOD_TRADE = re.compile(
    _STAMP + r'"e":"trade","E":[0-9]+,"T":' + _MS + ',"s":' + _SYMBOL
    + ',"t":([1-9][0-9]{0,17}),"p":' + _PRICE + ',"q":' + _QUANTITY
    + r',"X":"MARKET","m":(true|false)\}\}')
_ID = "([1-9][0-9]{0,17})"
_SIDE = r'\[((?:\[[]["0-9.,]*\])?)\]'
_GOOD_UPDATE = re.compile(
    _STAMP + r'"e":"depthUpdate","E":[0-9]+,"T":' + _MS + ',"s":' + _SYMBOL + ',"U":' + _ID
    + ',"u":' + _ID + ',"pu":' + _ID + ',"b":' + _SIDE + ',"a":' + _SIDE + r"\}\}")
#: Texts of levels that are remembered as good.
_REMEMBERED = 1 << 16

Data = dict[str, Any]
# What calling a NamedTuple does in the end.
_new: Any = tuple.__new__
_Found = tuple[re.Match[str], LevelColumns, LevelColumns]


class _Update:
    """A depth update and the ids that it covers."""

    __slots__ = ("change", "last_id", "line", "previous_id")

    def __init__(self, line: int, change: BookChange, previous_id: int, last_id: int) -> None:
        self.line, self.change = line, change
        self.previous_id, self.last_id = previous_id, last_id


class _Book:
    """Orders the updates of one symbol behind its snapshots."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._last_id: int | None = None
        self._is_joined = False
        self._waiting: deque[_Update] = deque(maxlen=_WAITING_MAX)

    def take_snapshot(self, change: BookChange, last_id: int) -> Iterator[Record]:
        if self._last_id is not None:
            self._source.problems.skipped_count += 1  # the book needs none
            return
        self._last_id, self._is_joined = last_id, False
        yield change
        waiting, self._waiting = self._waiting, deque(maxlen=_WAITING_MAX)
        for update in waiting:
            yield from self.take_update(update)

    def take_update(self, update: _Update) -> Iterator[Record]:
        if self._last_id is None:
            self._waiting.append(update)
        elif update.last_id <= self._last_id:
            self._source.problems.skipped_count += 1  # the snapshot has it
        elif update.previous_id == self._last_id or (
            not self._is_joined and update.previous_id < self._last_id
        ):
            self._last_id, self._is_joined = update.last_id, True
            yield update.change
        else:
            reason = f"depth update {update.previous_id} is missing; the last was {self._last_id}"
            self._source.problems.gap(self._source.path, update.line, reason)
            self._last_id = None
            self._waiting.append(update)


class _Parser:
    """Turns messages into records."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._books: dict[str, _Book] = {}
        self._symbol: str | None = None  # of the last message; snapshots do not name theirs
        self._good_prices: set[str] = set()
        self._good_quantities: set[str] = set()
        self._clock_gap = 0  # what the exchange's clock is ahead of the recorder's
        self._readers: dict[str, Callable[[Data, int | None], Iterator[Record]]] = {
            "trade": self._trade,
            "aggTrade": self._trade,
            "bookTicker": self._quote,
            "markPriceUpdate": self._mark,
            "markPrice": self._mark,
            "forceOrder": self._liquidation,
            "kline": self._bar,
            "24hrTicker": self._last_price,
        }

    def parse_usual(self, line: str) -> Record | None:
        """Read a line with a quote or a trade as it usually is; None: it needs a closer look."""
        # Nine lines of ten: no call that can be spared.
        found = _GOOD_QUOTE.fullmatch(line)
        if found is not None:
            local, symbol, bid, bid_quantity, ask, ask_quantity, sent = found.groups()
            ts_ns, local_ns = int(sent) * 1_000_000, int(local)
            self._clock_gap, self._symbol = ts_ns - local_ns, symbol
            quote: BestQuote = _new(
                BestQuote, (ts_ns, local_ns, symbol, bid, bid_quantity, ask, ask_quantity))
            return quote
        found = _GOOD_TRADE.fullmatch(line)
        if found is None:
            return None
        local, sent, symbol, number, price, quantity, is_buyer_maker = found.groups()
        ts_ns, local_ns = int(sent) * 1_000_000, int(local)
        self._clock_gap, self._symbol = ts_ns - local_ns, symbol
        side = "sell" if is_buyer_maker == "true" else "buy"
        trade: Trade = _new(Trade, (ts_ns, local_ns, symbol, price, quantity, side, number))
        return trade

    def find_updates(self, lines: list[str]) -> dict[int, _Found]:
        """Read the lines with depth updates as they usually are; others need a closer look."""
        found = {
            at: match for at, line in enumerate(lines)
            if '"depthUpdate"' in line and (match := _GOOD_UPDATE.fullmatch(line))}
        sides = [match.groups()[-2:] for match in found.values()]
        columns = read_columns(list(chain.from_iterable(sides)))
        if columns is not None:
            pairs = zip(columns[::2], columns[1::2], strict=True)
            return {
                at: (match, *pair)
                for (at, match), pair in zip(found.items(), pairs, strict=True)}
        # Several symbols, perhaps; or a single one that is odd.
        usual = {}
        for (at, match), pair in zip(found.items(), sides, strict=True):
            both = read_columns(pair)
            if both is not None:
                usual[at] = (match, both[0], both[1])
        return usual

    def take_usual_update(self, line: int, found: _Found) -> Iterator[Record] | None:
        """Return the records of such a line; None: its ids are not in order."""
        match, bids, asks = found
        local, sent, symbol, first, last, previous = match.groups()[:6]
        first_id, last_id, previous_id = int(first), int(last), int(previous)
        if not previous_id < first_id <= last_id:
            return None
        ts_ns, local_ns = int(sent) * 1_000_000, int(local)
        self._clock_gap, self._symbol = ts_ns - local_ns, symbol
        change = BookChange(ts_ns, local_ns, symbol, False, cast(Levels, bids), cast(Levels, asks))
        book = self._books.setdefault(symbol, _Book(self._source))
        return book.take_update(_Update(line, change, previous_id, last_id))

    def parse(self, line: int, text: str, local_ns: int | None) -> Iterator[Record]:
        message = load_object(text)
        if "lastUpdateId" in message:
            yield from self._snapshot(message, local_ns)
            return
        data = message.get("data", message)
        stream = message.get("stream", "")
        if not (isinstance(data, dict) and isinstance(stream, str)):
            raise ValueError("neither a message of a stream nor a depth snapshot")
        # The spot ticker does not name its event; its stream does.
        event = data.get("e", stream.rpartition("@")[2])
        if event == "depthUpdate":
            yield from self._update(line, data, local_ns)
        elif event in self._readers:
            yield from self._readers[event](data, local_ns)
        elif isinstance(event, str) and event:
            self._source.problems.skipped_count += 1  # nothing that a market feed has
        else:
            raise ValueError("neither a message of a stream nor a depth snapshot")

    def _origin(
        self, data: Data, local_ns: int | None, inner: Data | None = None
    ) -> tuple[int, int | None, str]:
        symbol = (inner or data).get("s")
        if not isinstance(symbol, str) or not is_symbol(symbol):
            raise ValueError(f"symbol is not a name: {str(symbol)[:40]!r}")
        ts_ns = self._instant(exchange_ns(inner or data) or exchange_ns(data), local_ns)
        self._symbol = symbol
        return ts_ns, local_ns, symbol

    def _instant(self, sent_ns: int | None, local_ns: int | None) -> int:
        # Some messages have no time (spot tickers, snapshots): that of their arrival, by the
        # exchange's clock, which the last message that has both tells.
        if sent_ns is not None:
            if local_ns is not None:
                self._clock_gap = sent_ns - local_ns
            return sent_ns
        if local_ns is None:
            raise ValueError("the message has no time")
        return local_ns + self._clock_gap

    def _update(self, line: int, data: Data, local_ns: int | None) -> Iterator[Record]:
        first_id, last_id = id_of(data, "U"), id_of(data, "u")
        previous_id = id_of(data, "pu") if "pu" in data else first_id - 1
        if not previous_id < first_id <= last_id:
            raise ValueError(f"update ids are not in order: {previous_id}, {first_id}, {last_id}")
        change = BookChange(
            *self._origin(data, local_ns), False, self._levels(data, "b"), self._levels(data, "a"))
        book = self._books.setdefault(change.symbol, _Book(self._source))
        yield from book.take_update(_Update(line, change, previous_id, last_id))

    def _snapshot(self, data: Data, local_ns: int | None) -> Iterator[Record]:
        symbol = data.get("symbol", self._source.symbol or self._symbol)
        if symbol is None:
            raise ValueError("a depth snapshot without a symbol, before any message with one")
        if len(self._books) > 1:
            raise ValueError("a depth snapshot in a capture of several symbols: whose is it?")
        bids, asks = self._levels(data, "bids"), self._levels(data, "asks")
        ts_ns = self._instant(exchange_ns(data), local_ns)
        book = self._books.setdefault(symbol, _Book(self._source))
        change = BookChange(ts_ns, local_ns, symbol, True, bids, asks)
        yield from book.take_snapshot(change, id_of(data, "lastUpdateId"))

    def _trade(self, data: Data, local_ns: int | None) -> Iterator[Record]:
        # `X` tells trades of the book from those of the insurance fund and the like.
        if data.get("X", "MARKET") != "MARKET":
            self._source.problems.skipped_count += 1
            return
        is_buyer_maker = data.get("m")
        if not isinstance(is_buyer_maker, bool):
            raise ValueError("a trade needs its maker's side")
        number = id_of(data, "t" if "t" in data else "a")
        yield Trade(
            *self._origin(data, local_ns), of.price(text_of(data, "p"), "p"),
            of.quantity(text_of(data, "q"), "q"), "sell" if is_buyer_maker else "buy", str(number))

    def _quote(self, data: Data, local_ns: int | None) -> Iterator[Record]:
        bid = of.optional_price(text_of(data, "b"), "b")
        ask = of.optional_price(text_of(data, "a"), "a")
        yield BestQuote(
            *self._origin(data, local_ns),
            bid, None if bid is None else of.quantity(text_of(data, "B"), "B"),
            ask, None if ask is None else of.quantity(text_of(data, "A"), "A"))

    def _mark(self, data: Data, local_ns: int | None) -> Iterator[Record]:
        # `T` is the next funding here, not when it happened.
        sent = {"s": data.get("s"), "E": data.get("E")} if "E" in data else {"s": data.get("s")}
        index = data.get("i")
        yield Ticker(
            *self._origin(sent, local_ns), of.price(text_of(data, "p"), "p"),
            None if index is None else of.optional_price(text_of(data, "i"), "i"), None,
            of.optional_number(str(data.get("r", "")), "r"),
            instant_of(data, "T", "ms", "us") if data.get("T") else None)

    def _liquidation(self, data: Data, local_ns: int | None) -> Iterator[Record]:
        order = data.get("o")
        if not isinstance(order, dict):
            raise ValueError("o is not an order")
        yield Liquidation(
            *self._origin(data, local_ns, order), of.side(text_of(order, "S")),
            of.price(text_of(order, "p"), "p"), of.quantity(text_of(order, "q"), "q"),
            of.optional_price(text_of(order, "ap"), "ap"))

    def _bar(self, data: Data, local_ns: int | None) -> Iterator[Record]:
        bar = data.get("k")
        if not isinstance(bar, dict):
            raise ValueError("k is not a kline")
        if bar.get("x") is not True:
            # Still open: its last price is all that will not change.
            yield Ticker(
                *self._origin({"s": data.get("s"), "E": data.get("E")}, local_ns), None, None,
                of.price(text_of(bar, "c"), "c"))
            return
        ts_ns, _, symbol = self._origin(data, local_ns, bar)
        opened, high, low, closed = (of.price(text_of(bar, name), name) for name in "ohlc")
        open_ns, volume = instant_of(bar, "t", "ms", "us"), of.quantity(text_of(bar, "v"), "v")
        yield from play_bar(
            Bar(ts_ns, local_ns, symbol, open_ns, opened, high, low, closed, volume))

    def _levels(self, data: Data, name: str) -> Levels:
        rows = level_texts(data, name)
        if not rows:
            return []
        prices, quantities = zip(*rows, strict=True)
        return list(zip(
            _checked(prices, self._good_prices, of.price),
            _checked(quantities, self._good_quantities, _quantity), strict=True))

    def _last_price(self, data: Data, local_ns: int | None) -> Iterator[Record]:
        last = of.optional_price(text_of(data, "c"), "c")
        yield Ticker(*self._origin(data, local_ns), None, None, last)


def _quantity(text: str) -> str:
    return of.quantity(text, "quantity")


def _checked(
    texts: tuple[str, ...], good: set[str], check: Callable[[str], str]
) -> Iterable[str]:
    """Return texts as `check` has them; those that it left as they were are remembered."""
    for text in set(texts).difference(good):
        if check(text) != text:
            return map(check, texts)
        if len(good) >= _REMEMBERED:
            good.clear()
        good.add(text)
    return texts


def _read_lines(source: Source) -> Iterator[Record]:
    parser = _Parser(source)
    has_records = False
    for number, block in read_blocks(source.path, LINE_LENGTH_MAX):
        has_records |= yield from _read_block(parser, source, number, block.split("\n"))
    if not has_records:
        raise InputError(f"{source.path}: no market data in the file{_first(source)}")


def _read_block(
    parser: _Parser, source: Source, number: int, lines: list[str]
) -> Generator[Record, None, bool]:
    """Yield the records of lines; return whether there are any."""
    has_records = False
    updates = parser.find_updates(lines)
    parse_usual = parser.parse_usual
    records: Iterable[Record] | None
    for at, line in enumerate(lines):
        if at in updates:
            records = parser.take_usual_update(number + at, updates[at])
        else:
            usual = parse_usual(line)
            if usual is not None:
                has_records = True
                yield usual
                continue
            records = None
        if records is None:
            records = _read_line(parser, source, number + at, line) if line else ()
        for record in records:
            has_records = True
            yield record
    return has_records


def _read_line(parser: _Parser, source: Source, number: int, line: str) -> list[Record]:
    try:
        stamp, text, local_ns = "", line, None
        if line[0] != "{":
            stamp, _, text = line.partition(" ")
            try:
                local_ns = parse_instant(stamp, ("ns",))
            except ValueError as error:
                raise ValueError(f"local time {error}") from None
        return list(parser.parse(number, text, local_ns))
    except (ValueError, RecursionError) as error:
        source.problems.bad_row(source.path, number, error)
        return []


def _read_document(source: Source) -> Iterator[Record]:
    with open_unpacked(source.path) as file:
        content = file.read(LINE_LENGTH_MAX)
    try:
        text = content.decode("utf-8", "replace")
        records = list(_Parser(source).parse(1, text, None))
    except (ValueError, RecursionError) as error:
        source.problems.bad_row(source.path, 1, error)
        records = []
    if not records:
        raise InputError(f"{source.path}: no market data in the file{_first(source)}")
    yield from records


def _first(source: Source) -> str:
    return f"; first: {source.problems.lines[0]}" if source.problems.lines else ""


def _is_capture(head: Head) -> bool:
    line = head.line.replace('" :', '":')
    stamped = bool(_STAMPED.match(line))
    return (stamped or line.startswith("{")) and any(name in line for name in _EVENTS)


def _is_document(head: Head) -> bool:
    text = head.content.decode("ascii", "replace").replace('" :', '":')
    return head.line.strip() == "{" and any(name in text for name in _EVENTS)


FORMATS = (
    Format("binance streams", _is_capture, _read_lines),
    Format("binance message", _is_document, _read_document),
)
