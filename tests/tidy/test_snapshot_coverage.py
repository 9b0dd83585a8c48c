"""Whatever a core remembers is in its snapshots, or it is said here why it need not be."""

from __future__ import annotations

import re
from pathlib import Path

CORE = Path(__file__).resolve().parents[2] / "ext" / "engine" / "core"
#: The last class of the chain that holds state; from it the chain is followed down.
TOP = "exchange"
ATTRIBUTE = re.compile(
    r"^    cdef (?:public |readonly )?(?!inline\b)[A-Za-z_][\w.]* +([^()#\n]+?) *(?:#.*)?$", re.M)

WITHIN_A_COMMAND = {  # empty, or without a meaning, between two commands
    "changed_orders", "changed_order_count", "changed_order_capacity",
    "changed_pools", "changed_pool_count", "changed_pool_capacity",
    "changed_positions", "changed_position_count", "changed_position_capacity",
    "pending", "pending_count", "pending_capacity",
    "noted", "noted_count", "noted_capacity",
    "turns", "turn_count", "turn_capacity", "turn_head", "turn_sorted",
    "tripped", "tripped_count", "tripped_capacity",
    "crossed", "crossed_count", "crossed_capacity",
    "marked", "marked_count", "marked_capacity",
    "batch", "batch_capacity", "round_rows", "round_capacity",
    "queue", "queue_count", "queue_capacity",
    "rankings", "ranking_count", "is_ranking_live",
    "touch_log", "touch_count", "touch_capacity",
    "holdings", "holdings_count", "holdings_capacity", "holdings_rows",
    "held", "linked", "fills", "fill_count", "fill_capacity", "rounds", "round_count",
    "round_room", "is_unlocked", "taken_back", "in_batch", "tried", "tried_count",
    "tried_capacity", "traded_value", "is_uncrossing", "needed", "limit", "ts_before", "is_busy",
    "cause", "ahead_owner", "ahead_order", "known_symbol", "known_fund", "known_rest",
}
MESSAGES = {"records", "messages", "message_count", "message_capacity"}  # for whoever listens


def attributes(declaration: str) -> set[str]:
    """Names of the attributes of the classes in a .pxd file."""
    start = re.search(r"^cdef class ", declaration, re.M)
    body = declaration[start.start() :] if start else ""
    names = {name for line in ATTRIBUTE.findall(body) for name in line.split(",")}
    return {re.sub(r"\[.*|\*|\s", "", name) for name in names}


def chain() -> list[str]:
    """Modules of the chain of classes, from the top down."""
    modules = [TOP]
    while base := re.search(
        r"^cdef class \w+\((\w+)\):", (CORE / f"{modules[-1]}.pxd").read_text("utf-8"), re.M
    ):
        found = re.search(
            rf"^from engine\.core\.(\w+) cimport (?:\w+, )*{base[1]}\b",
            (CORE / f"{modules[-1]}.pxd").read_text("utf-8"), re.M)
        assert found, f"{modules[-1]}.pxd does not say where {base[1]} is from"
        modules.append(found[1])
    return modules


def test_every_attribute_is_carried_or_excused() -> None:
    declared = {
        (module, name) for module in chain()
        for name in attributes((CORE / f"{module}.pxd").read_text("utf-8"))}
    assert len(declared) > 80, "the chain of classes was not followed"
    carried = set(re.findall(r"self\.(\w+)", (CORE / "snapshots.pyx").read_text("utf-8")))
    excused = WITHIN_A_COMMAND | MESSAGES
    missing = sorted(f"{module}.{name}" for module, name in declared
                     if name not in carried | excused)
    assert not missing, f"not in snapshots.pyx: {missing}"
    stale = sorted(excused - {name for _, name in declared})
    assert not stale, f"excused, but gone: {stale}"
