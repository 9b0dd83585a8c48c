"""The compiled core's codes are those of the seam."""

from __future__ import annotations

import re
from enum import IntEnum
from pathlib import Path

import pytest

from engine import messages

TYPES = Path(__file__).parents[2] / "ext" / "engine" / "core" / "types.pxd"
ENUMS = [
    one for one in vars(messages).values()
    if isinstance(one, type) and issubclass(one, IntEnum) and one is not IntEnum
]


def declared(name: str) -> dict[str, int]:
    """Members of one `cdef enum`, without their prefix."""
    block = re.search(rf"^cdef enum {name}:\n((?:    .+\n)+)", TYPES.read_text(), re.M)
    assert block is not None, f"types.pxd has no enum {name}"
    pairs = re.findall(r"^    ([A-Z]+)_(\w+) = (-?\d+)", block.group(1), re.M)
    return {member: int(code) for _, member, code in pairs}


@pytest.mark.parametrize("enum", ENUMS, ids=lambda enum: enum.__name__)
def test_codes_are_the_same_on_both_sides_of_the_seam(enum: type[IntEnum]) -> None:
    assert declared(enum.__name__) == {member.name: int(member) for member in enum}
