"""The typed layer of `engine.Exchange`: what a program that embeds the engine calls.

Every command and query of the contract as a method with named arguments. Numbers go in as decimal
strings, ints or `Decimal`, never floats, and come out as decimal strings. docs/embedding.md is
the guide.
"""

from engine.embedding.acknowledgement import Acknowledgement
from engine.embedding.codes import BinanceCode, code_of
from engine.embedding.event_arrays import event_dtype, event_units
from engine.embedding.sample import example_exchange
from engine.embedding.subscriptions import Subscription
from engine.embedding.terms import Attached, CollateralTier, Mark, Tier

__all__ = [
    "Acknowledgement",
    "Attached",
    "BinanceCode",
    "CollateralTier",
    "Mark",
    "Subscription",
    "Tier",
    "code_of",
    "event_dtype",
    "event_units",
    "example_exchange",
]
