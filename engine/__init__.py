"""Exchange-grade matching and liquidation for perpetual futures, in exact integers.

`Exchange` is the whole engine as one object. See README.md for a first run and
`docs/rules.md` for what it does in every case.
"""

from engine.errors import CommandError, EngineError, InputError, InvariantViolation, RunError
from engine.exchange import Exchange

__version__ = "0.1.0"

__all__ = [
    "CommandError",
    "EngineError",
    "Exchange",
    "InputError",
    "InvariantViolation",
    "RunError",
    "__version__",
]
