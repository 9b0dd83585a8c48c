"""Market data: what the public may know of a book, order by order.

Messages have a buffer of their own beside the events and are no part of the state.
Whatever changes the displayed quantity of an order on the book says so here.
"""

from __future__ import annotations

from itertools import islice

from engine.messages import MarketKind, RejectReason, Side
from engine.reference.state import Instrument, Order


class Publishing:
    """The messages of the symbols that are published, and the public view of a book."""

    seq: int
    ts: int
    trade_id: int
    instruments: list[Instrument]
    market_messages: list[tuple[int, ...]]

    # --- messages ---------------------------------------------------------------------

    def send(
        self, instrument: Instrument, kind: MarketKind, *, ref: int = 0, price: int = 0,
        quantity: int = 0, change: int = 0, trade_id: int = 0, traded: int = 0,
        trade_price: int = 0, side: int = 0, detail: int = 0,
    ) -> None:
        if instrument.is_published:
            instrument.market_seq += 1
            self.market_messages.append((
                instrument.market_seq, self.seq, self.ts, ref, price, quantity, change, trade_id,
                traded, trade_price, instrument.index, int(kind), int(side), int(detail),
            ))

    def send_displayed(self, order: Order, before: int) -> None:
        """Report that an order, which displayed `before` lots, displays another quantity."""
        after = order.displayed
        if after != before:
            kind = MarketKind.CHANGE if before and after else (
                MarketKind.ADD if after else MarketKind.DELETE)
            self.send(
                self.instruments[order.symbol], kind, ref=order.arrival, price=order.price,
                quantity=after, change=after - before, side=order.side)

    def send_execution(
        self, order: Order, before: int, lots: int, price: int, detail: int
    ) -> None:
        """Report the latest trade as one of a resting order, which displayed `before` lots."""
        self.send(
            self.instruments[order.symbol], MarketKind.EXECUTE, ref=order.arrival,
            price=order.price, quantity=order.displayed, change=order.displayed - before,
            trade_id=self.trade_id, traded=lots, trade_price=price, side=order.side,
            detail=detail)

    # --- what listeners call ----------------------------------------------------------

    def publish(self, symbol: int, on: bool) -> None:
        """Switch a symbol's market data on, which begins with a `RESET`, or off; no command."""
        instrument = self.published_instrument(symbol)
        if on and not instrument.is_published:
            instrument.is_published = True
            self.send(instrument, MarketKind.RESET)
        instrument.is_published = on

    def is_published(self, symbol: int) -> bool:
        return self.published_instrument(symbol).is_published

    def market_seq(self, symbol: int) -> int:
        """Number of the symbol's last message, 0 before the first."""
        return self.published_instrument(symbol).market_seq

    def market_levels(
        self, symbol: int, side: int, depth: int
    ) -> list[tuple[int, list[tuple[int, int]]]]:
        """Best `depth` levels of a side: (price, [(reference, displayed lots), ...]) in turn."""
        levels = self.published_instrument(symbol).book.level_orders(Side(side))
        return [
            (price, [(order.arrival, order.displayed) for order in orders])
            for price, orders in islice(levels, max(0, depth))
        ]

    def drain_market_data(self) -> list[tuple[int, ...]]:
        """Return the messages as tuples of `engine.messages.MARKET_FIELDS`, and forget them."""
        messages, self.market_messages = self.market_messages, []
        return messages

    def published_instrument(self, symbol: int) -> Instrument:
        if not 0 <= symbol < len(self.instruments):
            raise LookupError(RejectReason.UNKNOWN_SYMBOL)
        return self.instruments[symbol]
