"""Index, mark price, premium and funding: the part of the shell that makes these commands.

`PriceEngine` takes source prices, snapshots of the own book, trades and time, and returns
`mark`, `marks` and `funding` commands for an exchange. It has no clock and no chance in it:
the same inputs give the same commands. `SymbolConfig` says how a symbol's prices are made;
`preset` has the rules of known venues. `MarginMultipliers` returns `margin_multiplier`
commands in the same way. Formulas and rounding: `docs/pricing.md`.
"""

from __future__ import annotations

from engine.pricing.engine import PriceEngine, replay
from engine.pricing.inputs import (
    BookSnapshot,
    Clock,
    PriceInput,
    SourcePrice,
    TradePrice,
    decode,
    encode,
    read_journal,
)
from engine.pricing.multipliers import (
    MarginMultipliers,
    OpenInterestRules,
    Patience,
    VolatilityRules,
)
from engine.pricing.presets import PRESETS, Preset, preset
from engine.pricing.rules import (
    FundingRules,
    IndexRules,
    MarkRules,
    PremiumRules,
    Source,
    SymbolConfig,
)
from engine.pricing.symbol import Status

__all__ = [
    "PriceEngine",
    "replay",
    "SourcePrice",
    "BookSnapshot",
    "TradePrice",
    "Clock",
    "PriceInput",
    "encode",
    "decode",
    "read_journal",
    "SymbolConfig",
    "Source",
    "IndexRules",
    "MarkRules",
    "PremiumRules",
    "FundingRules",
    "Status",
    "PRESETS",
    "Preset",
    "preset",
    "MarginMultipliers",
    "VolatilityRules",
    "OpenInterestRules",
    "Patience",
]
