"""`Acknowledgement`: what came of one typed command."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from engine.instruments import Asset, Instrument
from engine.messages import EVENT_LAYOUTS, ContractKind, EventKind, OrderStatus, RejectReason
from engine.render import render_event
from engine.units import ratio_of

Record = tuple[int, ...]

#: Kinds whose records name an order of an account: account at 4, order at 6.
ORDER_KINDS = frozenset(
    int(kind) for kind, layout in EVENT_LAYOUTS.items()
    if [name for name, _ in layout[:3]] == ["account", "symbol", "order_id"])

_ENDS = {int(EventKind.ORDER_CANCELED): "canceled", int(EventKind.ORDER_EXPIRED): "expired"}
_STATES = {int(status): status.name.lower() for status in OrderStatus}


class EventNames:
    """The names that rendering asks for, as they were when the events happened.

    Parameters
    ----------
    assets, instruments, funds : list
        Those of the exchange, which only grow.
    client_ids : mapping of (account, order id, seq) to str
    details : mapping of seq to a mapping of reason to str
        What was wrong with refused commands.
    """

    __slots__ = (
        "_client_ids", "_details", "assets_by_index", "funds_by_index", "instruments_by_index")

    def __init__(
        self, assets: list[Asset], instruments: list[Instrument], funds: list[str],
        client_ids: Mapping[tuple[int, int, int], str],
        details: Mapping[int, Mapping[RejectReason, str]],
    ) -> None:
        self.assets_by_index = assets
        self.instruments_by_index = instruments
        self.funds_by_index = funds
        self._client_ids = client_ids
        self._details = details

    def client_order_id(self, account: int, order_id: int, seq: int) -> str | None:
        """Return the client's own id that an order had at a command, if it had one."""
        return self._client_ids.get((account, order_id, seq))

    def rejection_detail(self, seq: int, reason: RejectReason) -> str | None:
        """Return what was wrong with a refused command, if it was found."""
        return self._details.get(seq, {}).get(reason)


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What came of one command that was accepted.

    Attributes
    ----------
    command : str
        Name of the command, as in the contract.
    seq : int
        Its number. A command has one, and every event that it caused carries it.
    ts : int, ns since the epoch
        Engine time after it.
    account, symbol, order_id
        Whom and what the command was about; None where it named none.
    state : str or None
        Of the order of a `submit`, `amend` or `cancel`: ``"open"``, ``"partially_filled"``,
        ``"filled"``, ``"pending"`` (waits for its trigger), ``"canceled"`` or ``"expired"``;
        None of other commands.
    filled_quantity : str or None, decimal
        What this command's trades filled of the order.
    average_price : str or None, decimal
        Of these trades, None without any: exact where they had one price, else rounded to four
        places beyond the tick, ties to even. Of inverse contracts quantity over value.
    remaining : str or None, decimal
        What of the order is still open; 0 of one that is no more.
    records : tuple of tuple of int
        The events that the command caused, as the core gives them.

    Notes
    -----
    Numbers are decimal strings without exponent, as everywhere at the edge.

    Examples
    --------
    >>> from engine.embedding import example_exchange
    >>> exchange = example_exchange()
    >>> _ = exchange.submit(2, "BTC", 1, "sell", "limit", "3", "101")
    >>> ack = exchange.submit(1, "BTC", 1, "buy", "limit", "5", "101")
    >>> ack.state, ack.filled_quantity, ack.average_price, ack.remaining
    ('partially_filled', '3', '101', '2')
    >>> [event["event"] for event in ack.events][:3]
    ['order_accepted', 'trade', 'order_update']
    """

    command: str
    seq: int
    ts: int
    account: int | None
    symbol: str | None
    order_id: int | None
    state: str | None
    filled_quantity: str | None
    average_price: str | None
    remaining: str | None
    records: tuple[Record, ...] = field(repr=False)
    _names: EventNames = field(repr=False, compare=False)

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events that the command caused, in order, as `Exchange.drain` gives them.

        Notes
        -----
        Complexity: O(events); they are made anew for each call.
        """
        return [render_event(record, self._names) for record in self.records]


def acknowledge(
    line: Mapping[str, Any], seq: int, ts: int, records: tuple[Record, ...], names: EventNames,
    instrument: Instrument | None,
) -> Acknowledgement:
    """Return the acknowledgement of a command.

    Parameters
    ----------
    line : mapping
        The command.
    seq, ts : int
        Its number, and engine time after it.
    records : tuple of records
        Its events.
    names : EventNames
    instrument : Instrument or None
        Of the order, where the command is about one.

    Notes
    -----
    Complexity: O(events).
    """
    state = filled = average = remaining = None
    account, order_id = line.get("account"), line.get("order_id")
    if instrument is not None and account is not None and order_id is not None:
        state, leaves, trades = _order_outcome(records, account, order_id)
        filled = instrument.lot.text(sum(lots for _, lots in trades))
        average = average_price(instrument, trades)
        remaining = instrument.lot.text(leaves)
    return Acknowledgement(
        line["cmd"], seq, ts, account, line.get("symbol"), order_id, state, filled, average,
        remaining, records, names)


def _order_outcome(
    records: Iterable[Record], account: int, order_id: int
) -> tuple[str | None, int, list[tuple[int, int]]]:
    """State at the end, open lots, and (ticks, lots) of the trades of one order."""
    state, leaves, trades = None, 0, []
    key = (account, order_id)
    for record in records:
        kind = record[0]
        if kind == EventKind.TRADE:
            if (record[9], record[8]) == key or (record[11], record[10]) == key:
                trades.append((record[6], record[7]))
        elif kind in ORDER_KINDS and (record[4], record[6]) == key:
            if kind == EventKind.ORDER_UPDATE:
                state, leaves = _STATES[record[7]], record[9]
            elif kind in _ENDS:
                state, leaves = _ENDS[kind], 0
    return state, leaves, trades


def average_price(instrument: Instrument, trades: list[tuple[int, int]]) -> str | None:
    """Return the average price of trades, None of none.

    Parameters
    ----------
    instrument : Instrument
    trades : list of (int, int), ticks and lots

    Rounding
        To four places beyond the tick, ties to even.
    """
    if not trades:
        return None
    lots = sum(quantity for _, quantity in trades)
    if instrument.kind is ContractKind.INVERSE:
        ticks = lots / sum((Fraction(quantity, price) for price, quantity in trades), Fraction())
    else:
        ticks = Fraction(sum(price * quantity for price, quantity in trades), lots)
    price = ticks * instrument.tick.step
    return ratio_of(price.numerator, price.denominator, instrument.tick.decimals + 4)
