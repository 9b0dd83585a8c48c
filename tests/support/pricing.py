"""Price engines in few words: seconds for times, whole numbers for prices."""

from __future__ import annotations

from typing import Any

from engine.pricing import (
    BookSnapshot,
    IndexRules,
    MarkRules,
    PremiumRules,
    PriceEngine,
    Source,
    SourcePrice,
    SymbolConfig,
    TradePrice,
)
from engine.pricing.scale import HOUR_NS, SECOND_NS

#: 1 January 2025, 00:00 UTC: a boundary of every funding clock.
MIDNIGHT = 1_735_689_600 * SECOND_NS
HOUR = HOUR_NS // SECOND_NS

INDEX_ONLY = MarkRules(components=("index",))
EVERY_SECOND = PremiumRules(sample_ns=SECOND_NS, weighting="equal")


def sources(*names: str, **terms: Any) -> tuple[Source, ...]:
    return tuple(Source(name, **terms) for name in names)


def config(symbol: str = "BTC", **terms: Any) -> SymbolConfig:
    """One source A that lives a day, mark tick 1, the mark is the index, 1,000 of impact."""
    fields: dict[str, Any] = {
        "mark_tick": "1", "sources": sources("A", max_age_ns=24 * HOUR_NS),
        "impact_notional": "1000", "mark": INDEX_ONLY, "book_max_age_ns": None,
        "index": IndexRules(), "premium": EVERY_SECOND} | terms
    return SymbolConfig(symbol, fields.pop("mark_tick"), fields.pop("sources"), **fields)


class Feed:
    """A price engine told in seconds after `MIDNIGHT`; keeps its commands."""

    def __init__(self, *configs: SymbolConfig) -> None:
        self.engine = PriceEngine(configs or (config(),))
        self.commands: list[dict[str, Any]] = []

    def take(self, item: Any) -> list[dict[str, Any]]:
        commands = self.engine.take(item)
        self.commands += commands
        return commands

    def source(self, second: int, price: Any, source: str = "A", symbol: str = "BTC",
               observed: int | None = None) -> list[dict[str, Any]]:
        observed_ns = None if observed is None else MIDNIGHT + observed * SECOND_NS
        return self.take(
            SourcePrice(MIDNIGHT + second * SECOND_NS, symbol, source, str(price), observed_ns))

    def book(self, second: int, bids: Any, asks: Any, symbol: str = "BTC") -> list[dict[str, Any]]:
        return self.take(BookSnapshot(MIDNIGHT + second * SECOND_NS, symbol, bids, asks))

    def trade(self, second: int, price: Any, symbol: str = "BTC") -> list[dict[str, Any]]:
        return self.take(TradePrice(MIDNIGHT + second * SECOND_NS, symbol, str(price)))

    def until(self, second: int) -> list[dict[str, Any]]:
        """Run the clocks up to and including a second; return the commands of that step."""
        commands = self.engine.advance(MIDNIGHT + second * SECOND_NS)
        self.commands += commands
        return commands

    def status(self, symbol: str = "BTC") -> Any:
        return self.engine.status(symbol)


def of(commands: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """Return the commands of a name."""
    return [command for command in commands if command["cmd"] == name]


def second_of(command: dict[str, Any]) -> int:
    return int((command["ts"] - MIDNIGHT) // SECOND_NS)
