"""Cascades as trees: which liquidation set off which, read off the events alone.

A liquidation has a parent where another one set it off: within a command, because its account
took part in a trade, a takeover or a deleveraging of the other, or because the other's trades
led to it in another way; between commands, because it was due at a mark that names as its
`cause` the command in which the other traded. All others are roots: generation 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

Event = Mapping[str, Any]
#: Account, settle asset, and of an isolated position its symbol and leg.
PoolKey = tuple[int, str, str | None, str | None]


@dataclass
class Liquidation:
    """One stay of a pool in liquidation.

    Attributes
    ----------
    account, asset, symbol, position_side
        The pool: `symbol` and `position_side` are None of a cross pool.
    seq, cause : int
        The command in which it was found due, and what that command names as its cause.
    parent : int or None
        Place of the liquidation that set it off, always an earlier one.
    generation : int
        0 without a parent, else that of the parent + 1.
    trades : list of int
        Ids of the trades by which it closed positions.
    volume : Fraction
        What these were worth, in the settle asset.
    taken_over, deleveraged : list of (symbol, quantity)
        What went to the fund or to backstops, and to opposing holders.
    outcome : str or None
        None while it lasts.
    """

    account: int
    asset: str
    symbol: str | None
    position_side: str | None
    seq: int
    cause: int
    parent: int | None
    generation: int
    trades: list[int] = field(default_factory=list)
    volume: Fraction = Fraction(0)
    taken_over: list[tuple[str, Fraction]] = field(default_factory=list)
    deleveraged: list[tuple[str, Fraction]] = field(default_factory=list)
    outcome: str | None = None


@dataclass(frozen=True)
class Generation:
    """All liquidations of one generation: how many, and what they traded, by settle asset."""

    number: int
    liquidations: int
    trades: int
    volume: Mapping[str, Fraction]


class Cascade:
    """Builds the forest of liquidations from a stream of events, one after the other.

    Examples
    --------
    >>> cascade = Cascade()
    >>> cascade.observe({"event": "instrument_added", "seq": 1, "ts": 0, "cause": 1,
    ...                  "symbol": "BTC", "settle": "USDT"})
    >>> cascade.observe({"event": "liquidation_started", "seq": 7, "ts": 0, "cause": 7,
    ...                  "account": 3, "asset": "USDT", "symbol": None, "position_side": None})
    >>> cascade.liquidations[0].generation
    0
    """

    def __init__(self) -> None:
        self.liquidations: list[Liquidation] = []
        self._settle: dict[str, str] = {}
        self._open: dict[PoolKey, int] = {}
        # Command -> symbol (None: any) -> the last trade of a liquidation in it, and whose.
        self._traders: dict[int, dict[str | None, tuple[int, int]]] = {}
        # Of the moment: a command's time, since what was due before it happens at its own.
        self._moment = (-1, -1)
        self._marked: list[str] = []
        self._forced: list[Event] = []  # trades whose step is still to come
        self._working: int | None = None  # whose step was the latest
        self._latest: int | None = None  # the same, until the fund trades
        self._involved: dict[int, int] = {}  # account -> the liquidation that it took part in

    def observe(self, event: Event) -> None:
        """Follow one event.

        Raises
        ------
        ValueError
            A liquidation goes on whose start the stream does not have.
        """
        if (event["seq"], event["ts"]) != self._moment:
            self._moment = (event["seq"], event["ts"])
            self._marked, self._involved = [], {}
            self._working = self._latest = None
        handler = getattr(self, f"_on_{event['event']}", None)
        if handler is not None:
            handler(event)

    def _on_instrument_added(self, event: Event) -> None:
        self._settle[event["symbol"]] = event["settle"]

    def _on_mark(self, event: Event) -> None:
        self._marked.append(event["symbol"])

    def _on_trade(self, event: Event) -> None:
        if not event["liquidation"]:
            return
        if event["taker_account"] == 0:
            self._latest = None  # the fund's: nobody's liquidation
        else:
            self._forced.append(event)

    def _on_liquidation_started(self, event: Event) -> None:
        parent = self._parent(event)
        generation = 0 if parent is None else self.liquidations[parent].generation + 1
        self._open[_key(event)] = len(self.liquidations)
        self.liquidations.append(Liquidation(
            *_key(event), event["seq"], event["cause"], parent, generation))

    def _parent(self, event: Event) -> int | None:
        within = self._involved.get(event["account"], self._latest)
        if within is not None or event["cause"] == event["seq"]:
            return within
        traders = self._traders.get(event["cause"], {})
        last = max((traders[symbol] for symbol in self._marked if symbol in traders),
                   default=traders.get(None))
        return None if last is None else last[1]

    def _on_liquidation_step(self, event: Event) -> None:
        account, symbol = event["account"], event["symbol"]
        isolated = (account, self._settle.get(symbol, ""), symbol, event["position_side"])
        number = self._open.get(isolated, self._open.get((*isolated[:2], None, None)))
        if number is None:
            raise ValueError(f"seq {event['seq']}: a step of a liquidation that never started")
        self._working = self._latest = number
        liquidation = self.liquidations[number]
        for trade in self._forced:
            liquidation.trades.append(trade["trade_id"])
            self._involved[trade["maker_account"]] = number
            last = (trade["trade_id"], number)
            self._traders.setdefault(event["seq"], {}).update({symbol: last, None: last})
        liquidation.volume += Fraction(event["filled_value"])
        self._forced = []

    def _on_liquidation_takeover(self, event: Event) -> None:
        self._current(event).taken_over.append((event["symbol"], Fraction(event["quantity"])))

    def _on_backstop_takeover(self, event: Event) -> None:
        self._current(event).taken_over.append((event["symbol"], Fraction(event["quantity"])))
        self._involve(event)

    def _on_adl(self, event: Event) -> None:
        self._current(event).deleveraged.append((event["symbol"], Fraction(event["quantity"])))
        self._involve(event)

    def _on_socialized_loss(self, event: Event) -> None:
        self._current(event)
        self._involve(event)

    def _current(self, event: Event) -> Liquidation:
        if self._working is None:
            raise ValueError(f"seq {event['seq']}: {event['event']} without a step before it")
        return self.liquidations[self._working]

    def _involve(self, event: Event) -> None:
        assert self._working is not None
        self._involved[event["account"]] = self._working

    def _on_liquidation_finished(self, event: Event) -> None:
        number = self._open.pop(_key(event), None)
        if number is None:
            raise ValueError(f"seq {event['seq']}: the end of a liquidation that never started")
        self.liquidations[number].outcome = event["outcome"]


def _key(event: Event) -> PoolKey:
    return event["account"], event["asset"], event["symbol"], event["position_side"]


def cascade(events: Iterable[Event]) -> list[Liquidation]:
    """Return the liquidations of a stream of events, by their start, each with its parent.

    Parameters
    ----------
    events : iterable of mappings
        All events since the exchange began, as `Exchange.apply` returns them.

    Raises
    ------
    ValueError
        The stream begins in the middle.
    """
    forest = Cascade()
    for event in events:
        forest.observe(event)
    return forest.liquidations


def generations(liquidations: Iterable[Liquidation]) -> list[Generation]:
    """Add liquidations up by generation, the roots first.

    Examples
    --------
    >>> root = Liquidation(1, "USDT", None, None, 5, 5, None, 0, [9], Fraction(100))
    >>> child = Liquidation(2, "USDT", None, None, 6, 5, 0, 1, [10], Fraction(50))
    >>> [(each.number, each.liquidations, str(each.volume["USDT"]))
    ...  for each in generations([root, child])]
    [(0, 1, '100'), (1, 1, '50')]
    """
    rows: dict[int, list[Liquidation]] = {}
    for each in liquidations:
        rows.setdefault(each.generation, []).append(each)
    out = []
    for number in sorted(rows):
        volume: dict[str, Fraction] = {}
        for each in rows[number]:
            volume[each.asset] = volume.get(each.asset, Fraction(0)) + each.volume
        out.append(Generation(
            number, len(rows[number]), sum(len(each.trades) for each in rows[number]), volume))
    return out


def reproduction_number(liquidations: Iterable[Liquidation], asset: str) -> Fraction | None:
    """Return the share of an asset's forced volume that other liquidations set off.

    The dollar reproduction number: what the liquidations with a parent traded over what all
    of them did. None where nothing traded.

    Examples
    --------
    >>> root = Liquidation(1, "USDT", None, None, 5, 5, None, 0, [9], Fraction(100))
    >>> child = Liquidation(2, "USDT", None, None, 6, 5, 0, 1, [10], Fraction(50))
    >>> reproduction_number([root, child], "USDT")
    Fraction(1, 3)
    """
    rows = [each for each in liquidations if each.asset == asset]
    total = sum((each.volume for each in rows), Fraction(0))
    if not total:
        return None
    return sum((each.volume for each in rows if each.parent is not None), Fraction(0)) / total
