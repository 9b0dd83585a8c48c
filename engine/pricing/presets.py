"""Rules of venues, as data. Figures are those of the pages named, read in 2026; venues change them.

A preset has no sources, ticks or margin rates: these belong to a symbol. `differs` says what
of the venue's procedure the data does not cover, or what had to be assumed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from engine.errors import InputError
from engine.pricing.rules import (
    FundingRules,
    IndexRules,
    MarkRules,
    PremiumRules,
    Source,
    SymbolConfig,
)
from engine.pricing.scale import HOUR_NS, SECOND_NS
from engine.units import DecimalLike

_MINUTE_NS = 60 * SECOND_NS


@dataclass(frozen=True)
class Preset:
    """Rules of one venue.

    Attributes
    ----------
    index, mark, premium, funding
        The rules.
    source : str
        Where the figures are from.
    differs : str
        What is assumed, or not covered.
    """

    index: IndexRules
    mark: MarkRules
    premium: PremiumRules
    funding: FundingRules
    source: str
    differs: str

    def symbol(
        self, symbol: str, mark_tick: DecimalLike, sources: tuple[Source, ...], **terms: Any
    ) -> SymbolConfig:
        """Return the configuration of a symbol under these rules.

        Parameters
        ----------
        symbol, mark_tick, sources
            As of `SymbolConfig`.
        **terms
            Its other fields; a rule given here replaces the preset's.

        Raises
        ------
        InputError
            As `SymbolConfig`, for instance where a rule asks for a margin rate.
        """
        rules: dict[str, Any] = {
            "index": self.index, "mark": self.mark, "premium": self.premium,
            "funding": self.funding}
        return SymbolConfig(symbol, mark_tick, sources, **(rules | terms))


_BINANCE = Preset(
    index=IndexRules(outlier_bound="0.05", outlier_rule="drop", many_outliers="median"),
    mark=MarkRules(
        components=("funding_basis", "basis_average", "last"), basis_price="mid",
        basis_sample_ns=5 * SECOND_NS, basis_window_ns=150 * SECOND_NS),
    premium=PremiumRules(impact_margin=200, sample_ns=5 * SECOND_NS, weighting="linear"),
    funding=FundingRules(cap_factor="0.75", cap_base="maintenance"),
    source="Binance FAQ: Mark Price and Price Index of USD-M Futures (360033525071); "
           "Introduction to Funding Rates",
    differs="Weights by volume are the caller's. The cap's factor is 0.75 or 1, by symbol. "
            "Switching an interval when the cap is hit is the caller's.",
)

_BYBIT = Preset(
    index=IndexRules(outlier_bound="0.05"),
    mark=MarkRules(
        components=("funding_basis", "basis_average", "last"), basis_price="mid",
        basis_sample_ns=SECOND_NS, basis_window_ns=5 * _MINUTE_NS),
    premium=PremiumRules(sample_ns=_MINUTE_NS, weighting="linear"),
    funding=FundingRules(),
    source="Bybit Help Center: What is funding rate and predicted rate; mark price (UTA)",
    differs="The outlier bound, the impact notional and the limits of the rate are by symbol "
            "or not known: 5 % is assumed. For an interval of N hours take period_ns of N hours "
            "and the interest of N hours.",
)

_OKX = Preset(
    index=IndexRules(outlier_bound="0.02", outlier_rule="clamp"),
    mark=MarkRules(
        components=("basis_average",), basis_price="mid", basis_sample_ns=5 * SECOND_NS,
        basis_window_ns=2 * _MINUTE_NS),
    premium=PremiumRules(sample_ns=_MINUTE_NS, weighting="equal"),
    funding=FundingRules(),
    source="OKX Help Center: Index calculation rules; Funding fee",
    differs="Pages name averages of 2, 5 and 10 minutes: 2 is taken, sampled every 5 s "
            "(assumed). Impact notional and limits of the rate are by symbol. The older formula "
            "without damper is not covered.",
)

_BITMEX = Preset(
    index=IndexRules(outlier_bound=None),
    mark=MarkRules(components=("funding_basis",)),
    premium=PremiumRules(sample_ns=_MINUTE_NS, weighting="equal"),
    funding=FundingRules(
        cap_factor="0.75", cap_base="initial_less_maintenance", change_factor="0.75"),
    source="BitMEX: Fair Price Marking; Perpetual Contracts Guide",
    differs="There, a rate is settled an interval after it was measured; here at the end of its "
            "own. The interest is by currencies: 0.01 % assumed. Weights, samples and outlier "
            "rule are assumed.",
)

_HYPERLIQUID = Preset(
    index=IndexRules(combine="median", outlier_bound=None),
    mark=MarkRules(
        components=("basis_ema", "book_median"), interval_ns=3 * SECOND_NS, basis_price="mid",
        basis_sample_ns=3 * SECOND_NS, ema_decay_ns=150 * SECOND_NS),
    premium=PremiumRules(sample_ns=5 * SECOND_NS, weighting="equal"),
    funding=FundingRules(
        interval_ns=HOUR_NS, period_ns=8 * HOUR_NS, interest_rate="0.0001", cap="0.04",
        floor="-0.04", settle_on="index"),
    source="Hyperliquid docs: Funding; Robust price indices",
    differs="The third price of its mark, perpetuals elsewhere, and the 30 s average in its "
            "place are not covered. Weights of the oracle are the sources': Binance 3, OKX and "
            "Bybit 2, others 1.",
)

_DYDX = Preset(
    index=IndexRules(combine="median", outlier_bound=None),
    mark=MarkRules(components=("index",)),
    premium=PremiumRules(
        impact_margin=500, sample_ns=_MINUTE_NS, weighting="equal", missing="zero"),
    funding=FundingRules(
        interval_ns=HOUR_NS, period_ns=8 * HOUR_NS, formula="sum", interest_rate="0",
        # ±600 % for eight hours: an eighth of it in one.
        cap_factor="0.75", cap_base="initial_less_maintenance", settle_on="index"),
    source="dydxprotocol/v4-chain, protocol/x/perpetuals and x/clob",
    differs="Votes of validators and trimmed tails are not covered. The default funding is by "
            "market: 0 assumed. Rounds a premium to the nearest, not towards zero.",
)

#: By the names of the venue profiles.
PRESETS: Mapping[str, Preset] = MappingProxyType({
    "binance_usdm": _BINANCE,
    "bybit_linear": _BYBIT,
    "okx_swap": _OKX,
    "bitmex": _BITMEX,
    "hyperliquid": _HYPERLIQUID,
    "dydx_v4": _DYDX,
})


def preset(name: str) -> Preset:
    """Return the preset of a venue.

    Raises
    ------
    InputError
        An unknown name; the message lists the known ones.
    """
    if name not in PRESETS:
        raise InputError(f"no preset {name[:40]!r}; there are {', '.join(PRESETS)}")
    return PRESETS[name]
