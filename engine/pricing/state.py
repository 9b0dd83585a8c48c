"""State of the parts of this package as plain lists, maps, texts and integers, and back.

For JSON, whose integers may be of any size. Rules are no part of it: a state is loaded into
parts that were made by the same rules.
"""

from __future__ import annotations

from collections import deque
from fractions import Fraction
from typing import Any, ClassVar


class Stateful:
    """Has a state that can be written down: the attributes that `STATE` names."""

    STATE: ClassVar[tuple[str, ...]] = ()

    def dump(self) -> Any:
        """Return the state, for `load`."""
        return {
            name: encode_value(getattr(self, name)) for name in self.STATE if hasattr(self, name)}

    def load(self, state: Any) -> None:
        """Go on from a state."""
        for name, value in state.items():
            part = getattr(self, name, None)
            if isinstance(part, Stateful):
                part.load(value)
            else:
                setattr(self, name, decode_value(value))


def encode_value(value: Any) -> Any:
    """Return a value in what JSON has; lists say first what they are."""
    if isinstance(value, Stateful):
        return value.dump()
    if isinstance(value, Fraction):
        return ["fraction", value.numerator, value.denominator]
    if isinstance(value, tuple):
        return ["tuple", *map(encode_value, value)]
    if isinstance(value, deque):
        return ["deque", *map(encode_value, value)]
    if isinstance(value, dict):
        return ["map", *([encode_value(key), encode_value(item)] for key, item in value.items())]
    return value


def decode_value(value: Any) -> Any:
    """Return what `encode_value` was given; `Stateful` parts load theirs by themselves."""
    if not isinstance(value, list):
        return value
    kind, *parts = value
    if kind == "fraction":
        return Fraction(*parts)
    if kind == "map":
        return {decode_value(key): decode_value(item) for key, item in parts}
    items = map(decode_value, parts)
    return tuple(items) if kind == "tuple" else deque(items)
