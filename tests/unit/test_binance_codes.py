"""Every reason of refusal has the code that Binance gives it, and the guide lists them all."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from engine.embedding.codes import CODES, CODES_BELOW, CODES_OF_COMMANDS, code_of
from engine.messages import NONE, Command, RejectReason

GUIDE = Path(__file__).parents[2] / "docs" / "embedding.md"


def test_every_reason_is_mapped() -> None:
    assert list(CODES) == list(RejectReason)


def test_a_code_has_one_name_and_a_name_one_code() -> None:
    known = {*CODES.values(), *CODES_OF_COMMANDS.values(), *CODES_BELOW.values()}
    assert all(-6000 < one.code < -1000 for one in known)
    assert len({one.code for one in known}) == len({one.name for one in known}) == len(known)


def test_the_guide_lists_every_code() -> None:
    rows = re.findall(
        r"^\| `(\w+)`(?: of `(\w+)`|( under its limit))? \| (-\d+) `(\w+)` \|",
        GUIDE.read_text(encoding="utf-8"), re.M)
    listed = [(reason, command, bool(below), int(code), name)
              for reason, command, below, code, name in rows]
    expected = [(reason.name.lower(), "", False, *one) for reason, one in CODES.items()]
    expected += [(reason.name.lower(), command.name.lower(), False, *one)
                 for (reason, command), one in CODES_OF_COMMANDS.items()]
    expected += [(reason.name.lower(), "", True, *one) for reason, one in CODES_BELOW.items()]
    assert sorted(listed) == sorted(expected)


@pytest.mark.parametrize(("needed", "limit", "code"), [
    (1, 5, -4004), (9, 5, -4005), (5, 5, -4005), (NONE, 5, -4005), (1, NONE, -4005)])
def test_under_a_limit_is_another_code_than_over_it(needed: int, limit: int, code: int) -> None:
    assert code_of(RejectReason.QUANTITY_LIMIT, Command.ORDER, needed, limit) == code


def test_a_command_may_have_a_code_of_its_own() -> None:
    assert code_of(RejectReason.HALTED, Command.ORDER) == -4140
    assert code_of(RejectReason.HALTED, Command.AMEND) == -5024
    assert code_of(RejectReason.UNKNOWN_ORDER) == -2013
