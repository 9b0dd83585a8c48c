"""Instruments of the demo: contract sizes by the magnitude of the first price, tiers, fees.

Whatever market a feed was recorded on, the demo's contracts are linear and settle
in one asset: the feed gives the price, the contract is ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from engine.feeds import Derived, FeedSummary
from engine.units import decimal_text

SETTLE = "USDT"
#: Minor unit of the settle asset: 10**-6.
SETTLE_DECIMALS = 6
SYMBOL_COUNT_MIN = 3

#: Betas and first prices of the symbols added to a feed of fewer than three.
_COMPANIONS = (("1.35", "3000"), ("1.70", "150"))

# Ten tiers of the usual shape, in thousands: (upper notional, maintenance rate, leverage).
# A deep market first; the others have the same rates in smaller bands.
TIER_SHAPE = (
    (50, "0.004", 125),
    (250, "0.005", 100),
    (1_000, "0.01", 50),
    (3_000, "0.02", 25),
    (8_000, "0.035", 12),
    (20_000, "0.05", 10),
    (50_000, "0.1", 5),
    (100_000, "0.15", 3),
    (200_000, "0.25", 2),
    (None, "0.5", 1),
)
_BAND_PERCENT = (100, 60, 30)


@dataclass(frozen=True)
class Tier:
    """One tier of a schedule, in whole units of the settle asset."""

    max_notional: int | None
    maintenance_rate: str
    max_leverage: int


@dataclass(frozen=True)
class Market:
    """One instrument of the demo.

    Attributes
    ----------
    symbol : str
    first_price : Decimal
        The feed's first mark, on the mark tick.
    tick_exponent, lot_exponent : int
        Tick and lot are 10 to these powers; a mark tick is a tenth of a tick.
    tiers : tuple of Tier
    is_derived : bool
        Moved by another symbol's returns, not by data of its own.
    """

    symbol: str
    first_price: Decimal
    tick_exponent: int
    lot_exponent: int
    tiers: tuple[Tier, ...]
    is_derived: bool = False

    @property
    def first_ticks(self) -> int:
        """The first price in ticks, cut down."""
        return int(self.first_price.scaleb(-self.tick_exponent))

    @property
    def lot_value_minor(self) -> int:
        """Minor units of the settle asset that one lot is worth per tick of price."""
        exponent: int = self.tick_exponent + self.lot_exponent + SETTLE_DECIMALS
        return int(Decimal(1).scaleb(exponent))

    def price_text(self, ticks: int) -> str:
        """Write a price of so many ticks."""
        return scaled_text(ticks, self.tick_exponent)

    def quantity_text(self, lots: int) -> str:
        """Write a quantity of so many lots."""
        return scaled_text(lots, self.lot_exponent)

    def command(self) -> dict[str, Any]:
        """Return the `instrument` command that declares it."""
        lower = [0, *(tier.max_notional for tier in self.tiers)]
        return {
            "cmd": "instrument",
            "symbol": self.symbol,
            "kind": "linear",
            "base": self.symbol,
            "quote": SETTLE,
            "settle": SETTLE,
            "tick_size": scaled_text(1, self.tick_exponent),
            "mark_tick": scaled_text(1, self.tick_exponent - 1),
            "lot_size": scaled_text(1, self.lot_exponent),
            "maker_fee": "0",
            "taker_fee": "0.0005",
            "liquidation_fee": "0.002",
            "tiers": [
                {
                    "min_notional": str(low),
                    "max_notional": None if tier.max_notional is None else str(tier.max_notional),
                    "maintenance_margin_rate": tier.maintenance_rate,
                    "max_leverage": str(tier.max_leverage),
                }
                for low, tier in zip(lower, self.tiers, strict=False)
            ],
        }

    def max_leverage(self, notional: int) -> int:
        """Return the leverage that the schedule allows at a notional, in whole units."""
        for tier in self.tiers:
            if tier.max_notional is None or notional <= tier.max_notional:
                return tier.max_leverage
        return 1


def scaled_text(units: int, exponent: int) -> str:
    """Write `units × 10**exponent` as a decimal string without exponent.

    Parameters
    ----------
    units : int
        Not negative.
    exponent : int

    Returns
    -------
    str

    Examples
    --------
    >>> scaled_text(25, -1), scaled_text(25, 2), scaled_text(5, -3)
    ('2.5', '2500', '0.005')
    """
    if exponent >= 0:
        return str(units * 10**exponent)
    return decimal_text(units, -exponent)


def plan_companions(summary: FeedSummary) -> list[Derived]:
    """Add derived symbols until there are three; the first feed symbol moves them.

    Parameters
    ----------
    summary : FeedSummary
        Of the feeds alone.

    Returns
    -------
    list of Derived
        Named `DERIVED-…`, so that no output can take them for data.
    """
    symbols = list(summary.first_prices)
    missing = SYMBOL_COUNT_MIN - len(symbols)
    return [
        Derived(f"DERIVED-{beta}x", symbols[0], beta, first_price)
        for beta, first_price in _COMPANIONS[: max(missing, 0)]
    ]


def plan_markets(first_prices: dict[str, str], derived: Sequence[Derived]) -> list[Market]:
    """Plan an instrument for every symbol of a feed.

    Parameters
    ----------
    first_prices : dict of str to str
    derived : sequence of Derived

    Returns
    -------
    list of Market
        In the order of `first_prices`.
    """
    derived_names = {spec.symbol for spec in derived}
    markets = []
    for at, (symbol, price) in enumerate(first_prices.items()):
        band = _BAND_PERCENT[min(at, len(_BAND_PERCENT) - 1)]
        tiers = tuple(
            Tier(None if cap is None else cap * band * 10, rate, leverage)
            for cap, rate, leverage in TIER_SHAPE
        )
        magnitude = Decimal(price).adjusted()
        # Five significant digits above the tick, and a lot worth 1 to 10 units: tick
        # times lot is 1e-5 whatever the price is, ten minor units.
        tick_exponent, lot_exponent = magnitude - 5, -magnitude
        first = Decimal(price).quantize(Decimal(1).scaleb(tick_exponent - 1))
        markets.append(
            Market(symbol, first, tick_exponent, lot_exponent, tiers, symbol in derived_names)
        )
    return markets


def declare_markets(markets: Sequence[Market]) -> Iterator[dict[str, Any]]:
    """Yield the commands that declare the settle asset and the instruments."""
    yield {"cmd": "asset", "asset": SETTLE, "decimals": SETTLE_DECIMALS}
    for market in markets:
        yield market.command()
