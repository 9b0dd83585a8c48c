"""Exchange-grade matching and liquidation for perpetual futures, in exact integers.

`Exchange` is the whole engine as one object. See README.md for a first run and
`docs/rules.md` for what it does in every case.
"""

from engine.embedding import Acknowledgement, Attached, CollateralTier, Mark, Tier
from engine.errors import (
    CommandError,
    EngineError,
    InputError,
    InvariantViolation,
    Rejected,
    RunError,
    SubscriberError,
)
from engine.exchange import Exchange

__version__ = "0.1.0"

__all__ = [
    "Acknowledgement",
    "Attached",
    "CollateralTier",
    "CommandError",
    "EngineError",
    "Exchange",
    "InputError",
    "InvariantViolation",
    "Mark",
    "Rejected",
    "RunError",
    "SubscriberError",
    "Tier",
    "__version__",
]
