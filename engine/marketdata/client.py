"""Books of a client: start from a snapshot, apply what comes after it, notice what is missing.

Stands alone: it knows the messages of docs/formats.md and nothing of the engine, so it may
be copied or translated. Prices and quantities stay the decimal strings that came.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from sortedcontainers import SortedDict

#: Version of the messages that these books understand.
VERSION = 1

Message = Mapping[str, Any]
_SIDES = (("buy", "bids"), ("sell", "asks"))


class NotSynced(ValueError):
    """A message for a book that has no snapshot, or needs another one."""


class SequenceGap(NotSynced):
    """Messages are missing; the book needs another snapshot.

    Attributes
    ----------
    expected : int
        Sequence that should have come.
    got : int
        First sequence of the message that came instead.
    """

    def __init__(self, symbol: str, expected: int, got: int) -> None:
        super().__init__(f"{symbol}: expected market_seq {expected}, got {got}")
        self.expected = expected
        self.got = got


class _Side:
    """Levels by price; `best` end first when iterated."""

    def __init__(self, side: str) -> None:
        self._levels = SortedDict()
        self._is_bid = side == "buy"

    def __getitem__(self, price: str) -> Any:
        return self._levels[Decimal(price)][1]

    def get(self, price: str) -> Any:
        found = self._levels.get(Decimal(price))
        return None if found is None else found[1]

    def put(self, price: str, what: Any) -> None:
        self._levels[Decimal(price)] = (price, what)

    def drop(self, price: str) -> None:
        self._levels.pop(Decimal(price), None)

    def clear(self) -> None:
        self._levels.clear()

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        values = self._levels.values()
        return iter(reversed(values) if self._is_bid else values)


class _Follower(ABC):
    """The sequence of one symbol."""

    channel = ""

    def __init__(self) -> None:
        self.symbol = ""
        self.market_seq = 0
        self.duplicates = 0
        self.is_synced = False
        self._sides = {side: _Side(side) for side, _ in _SIDES}

    def load(self, snapshot: Message) -> None:
        """Start, or start anew, from a snapshot.

        Raises
        ------
        ValueError
            Not a whole snapshot of this kind, or of another version.
        """
        if snapshot["channel"] != self.channel or snapshot["type"] != "snapshot":
            raise ValueError(f"not an {self.channel} snapshot")
        if snapshot["version"] != VERSION:
            raise ValueError(f"version {snapshot['version']} is not known")
        if snapshot["depth"] is not None:
            raise ValueError("a snapshot cut at a depth cannot be followed")
        self.symbol, self.market_seq = snapshot["symbol"], snapshot["market_seq"]
        for side in self._sides.values():
            side.clear()
        self._load_sides(snapshot)
        self.is_synced = True

    @property
    def bids(self) -> list[list[Any]]:
        """Levels, best first.

        L2: ``[price, quantity, orders]``; L3: ``[price, [[ref, quantity], ...]]``, orders in their
        turn. Prices and quantities are decimal text.
        """
        return self._rows("buy")

    @property
    def asks(self) -> list[list[Any]]:
        """Levels, best first, as `bids`."""
        return self._rows("sell")

    @abstractmethod
    def _load_sides(self, snapshot: Message) -> None:
        """Take over a snapshot's levels; the sides are empty."""

    @abstractmethod
    def _rows(self, side: str) -> list[list[Any]]:
        """Levels of a side, best first."""

    def _is_new(self, first: int, last: int) -> bool:
        """Whether a message that covers these sequences is to be applied."""
        if not self.is_synced:
            raise NotSynced(f"{self.symbol or self.channel}: a snapshot is needed first")
        if last <= self.market_seq:
            self.duplicates += 1
            return False
        if first > self.market_seq + 1:
            self.is_synced = False
            raise SequenceGap(self.symbol, self.market_seq + 1, first)
        self.market_seq = last
        return True

    def _check_address(self, message: Message) -> None:
        if message["channel"] != self.channel or message["symbol"] != self.symbol:
            raise ValueError(
                f"{message['channel']} of {message['symbol']} is not for the {self.channel} "
                f"book of {self.symbol}")


class L2Book(_Follower):
    """A book by price levels.

    Parameters
    ----------
    snapshot : mapping, optional
        Where to start; `load` does the same later.

    Attributes
    ----------
    market_seq : int
        Sequence that the book includes.
    is_synced : bool
        False before a snapshot, after a gap and after a reset: it needs a snapshot.
    duplicates : int
        Messages ignored because the book included them.

    Notes
    -----
    Complexity: O(log levels) for each level in a delta.

    Examples
    --------
    >>> book = L2Book({"channel": "l2", "type": "snapshot", "version": 1, "symbol": "BTC",
    ...                "market_seq": 7, "depth": None, "bids": [["99", "5", 2]], "asks": []})
    >>> book.apply({"channel": "l2", "type": "delta", "symbol": "BTC", "first_seq": 8,
    ...             "last_seq": 9, "bids": [["99", "0", 0], ["98", "1", 1]], "asks": []})
    True
    >>> book.bids
    [['98', '1', 1]]
    """

    channel = "l2"

    def __init__(self, snapshot: Message | None = None) -> None:
        super().__init__()
        if snapshot is not None:
            self.load(snapshot)

    def apply(self, message: Message) -> bool:
        """Apply one message.

        Returns
        -------
        bool
            False where the book included it already (a duplicate, or one that comes late).

        Raises
        ------
        SequenceGap
            Messages are missing before this one; it was not applied.
        NotSynced
            The book needs a snapshot first.
        ValueError
            The message is of another symbol or channel.
        """
        if self.is_synced:
            self._check_address(message)
        if not self._is_new(message["first_seq"], message["last_seq"]):
            return False
        if message["type"] == "reset":
            self.is_synced = False
        elif message["type"] == "delta":
            self._put_levels(message)
        return True

    def _load_sides(self, snapshot: Message) -> None:
        self._put_levels(snapshot)

    def _put_levels(self, message: Message) -> None:
        for side, name in _SIDES:
            for price, quantity, orders in message[name]:
                if orders:
                    self._sides[side].put(price, (quantity, orders))
                else:
                    self._sides[side].drop(price)

    def _rows(self, side: str) -> list[list[Any]]:
        return [[price, *level] for price, level in self._sides[side]]


class L3Book(_Follower):
    """A book order by order, each level in the order in which it trades.

    Parameters and attributes as of `L2Book`.

    Notes
    -----
    Complexity: O(log levels) a message.
    """

    channel = "l3"

    def __init__(self, snapshot: Message | None = None) -> None:
        super().__init__()
        self._orders: dict[int, tuple[str, str]] = {}  # ref -> side, price
        if snapshot is not None:
            self.load(snapshot)

    def apply(self, message: Message) -> bool:
        """Apply one message; results and errors as of `L2Book.apply`.

        Raises
        ------
        NotSynced
            Also where a message adds an order that is there, or changes one that is not:
            then the book was not what the sequence said, and needs a snapshot.
        """
        if self.is_synced:
            self._check_address(message)
        if not self._is_new(message["market_seq"], message["market_seq"]):
            return False
        kind = message["type"]
        if kind == "reset":
            self.is_synced = False
        elif kind in ("add", "change", "delete", "execute"):
            self._apply_order(kind, message)
        return True

    def _apply_order(self, kind: str, message: Message) -> None:
        ref = message["ref"]
        if (ref in self._orders) != (kind != "add"):
            self.is_synced = False
            raise NotSynced(f"{self.symbol}: {kind} of order {ref} at {self.market_seq}")
        if kind == "add":
            self._add(ref, message["side"], message["price"], message["quantity"])
            return
        side, price = self._orders[ref]
        level = self._sides[side][price]
        if message["quantity"] != "0":
            level[ref] = message["quantity"]
            return
        del level[ref], self._orders[ref]
        if not level:
            self._sides[side].drop(price)

    def _add(self, ref: int, side: str, price: str, quantity: str) -> None:
        level = self._sides[side].get(price)
        if level is None:
            level = {}  # keeps the order in which orders come
            self._sides[side].put(price, level)
        level[ref] = quantity
        self._orders[ref] = side, price

    def _load_sides(self, snapshot: Message) -> None:
        self._orders.clear()
        for side, name in _SIDES:
            for price, orders in snapshot[name]:
                for ref, quantity in orders:
                    self._add(ref, side, price, quantity)

    def _rows(self, side: str) -> list[list[Any]]:
        return [
            [price, [[ref, quantity] for ref, quantity in level.items()]]
            for price, level in self._sides[side]
        ]
