"""Prices one symbol of a server: index sources in, commands out, with the own book as it is now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from engine.exchange import Exchange
from engine.messages import NONE
from engine.pricing import BookSnapshot, PriceEngine, SourcePrice, TradePrice
from engine.pricing.index import Reason
from engine.serving.pricing_settings import SymbolPricing
from engine.units import fraction_text

Command = dict[str, Any]
#: Levels of the own book that are looked at. A book whose best levels do not fill the impact
#: notional counts as thin.
BOOK_DEPTH = 50


class Pricer:
    """Marks, funding and multipliers of one symbol.

    Parameters
    ----------
    pricing : SymbolPricing
    exchange : engine.Exchange
        Has the instrument; is only read.

    Notes
    -----
    Has no clock. The book and the last trade are those of the moment at which an instant is
    worked off.
    """

    def __init__(self, pricing: SymbolPricing, exchange: Exchange) -> None:
        instrument = exchange.instrument(pricing.symbol)
        tick = instrument.mark.text(1)
        size = fraction_text(instrument.contract_size, 40)
        config = replace(
            pricing.config, mark_tick=tick, contract_size=size, kind=instrument.terms["kind"])
        self.symbol = pricing.symbol
        self.pricing = pricing
        self._exchange = exchange
        self._engine = PriceEngine([config])
        self._margin = pricing.multipliers(tick, size)
        self._told_seq = NONE  # of the newest trade that the engine knows of

    @property
    def next_instant(self) -> int | None:
        """When something may happen next; None before the first price."""
        return self._engine.next_instant

    @property
    def names(self) -> list[str]:
        """Publishers that are sources of the index."""
        return [source.name for source in self.pricing.config.sources]

    def observe(
        self, now_ns: int, source: str, mark: str, index: str | None, observed_ns: int
    ) -> None:
        """Take a price; the instants before `now_ns` have been worked off.

        Raises
        ------
        InputError
            A price that the engine cannot hold.
        """
        price = mark if self.pricing.price == "mark" else index
        if price is not None:
            self._engine.take(SourcePrice(now_ns, self.symbol, source, price, observed_ns))

    def step(self, at_ns: int) -> list[Command]:
        """Work off the next instant; its commands carry its time."""
        engine, symbol = self._engine, self.symbol
        book = self._exchange.query({"query": "book", "symbol": symbol, "depth": BOOK_DEPTH})
        engine.take(BookSnapshot(at_ns, symbol, book["bids"], book["asks"]))
        seq = self._exchange.core.last_trade_seq(self._exchange.instrument(symbol).index)
        if seq not in (NONE, self._told_seq):
            # Once for each command that traded: told again, an old trade would look like news.
            engine.take(TradePrice(at_ns, symbol, book["last_price"], seq))
            self._told_seq = seq
        commands = engine.advance(at_ns)
        if self._margin is not None:
            for command in [each for each in commands if each["cmd"] == "mark"]:
                self._margin.mark(at_ns, command["mark_price"])
                self._margin.open_interest(at_ns, self._open_interest())
            commands += self._margin.advance(at_ns)
        return commands

    def _open_interest(self) -> str:
        instrument = self._exchange.instrument(self.symbol)
        view = self._exchange.core.instrument_view(instrument.index)
        return instrument.lot.text(view["open_interest"])

    def left_out(self) -> Mapping[str, Reason]:
        """Return the sources that do not count, and why."""
        return dict(self._engine.index_reading(self.symbol).left_out)

    def figures(self) -> dict[str, Any]:
        """Return what is known as of the last instant, for the query `feeds`."""
        if self.next_instant is None:
            return {"symbol": self.symbol}
        status = self._engine.status(self.symbol)
        return {
            "symbol": self.symbol, "ts": status.ts_ns, "index_price": status.index_price,
            "mark_price": status.mark_price, "components": status.components,
            "left_out": dict(status.index.left_out),
            "predicted_rate": status.predicted_rate, "settled_rate": status.settled_rate,
            "next_funding_ts": status.next_funding_ns}

    def dump(self) -> list[Any]:
        """Return the state as lists, for `load`."""
        margin = None if self._margin is None else self._margin.dump()
        return [self._engine.dump(), margin, self._told_seq]

    def load(self, state: list[Any]) -> None:
        """Go on from a state by the same rules."""
        engine, margin, self._told_seq = state
        self._engine.load(engine)
        if self._margin is not None:
            self._margin.load(margin)
