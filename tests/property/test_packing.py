"""Events as bytes: the compiled packer makes what rendering and MessagePack make, of every kind."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from support.universe import Universe

from engine import Exchange, messages, wire
from engine.messages import EVENT_LAYOUTS, NONE, RECORD_WIDTH, EventKind
from engine.packing import EventPacker
from engine.packing.plain import EventPacker as PlainPacker

#: Where encodings and decimal texts change their length, or their arithmetic.
EDGES = (0, 1, 9, 10, 31, 32, 127, 128, 255, 256, 999_999, 10**6, 65_535, 65_536, 2**31,
         2**32 - 1, 2**32, 10**18, 2**61, 2**62, 2**63 - 1)
FOLLOWED = frozenset((1, 2, 9, 31, 256))
EPOCH = 1_790_000_000_000_000_000


def an_exchange() -> Exchange:
    """Names of every length and script, and grids of every kind."""
    exchange = Exchange(core="reference")
    for asset, decimals in (("USDT", 6), ("B" * 40, 0), ("₿", 9)):
        exchange.submit({"cmd": "asset", "asset": asset, "decimals": decimals})
    tiers = [{"min_notional": "0", "max_notional": None, "maintenance_margin_rate": "0.01",
              "max_leverage": "20"}]
    terms = (
        ("BTC", "linear", "USDT", "0.5", "0.05", "0.001"),
        ("S" * 50, "linear", "₿", "25", "1", "10"),
        ("INV-1", "inverse", "₿", "0.25", "0.00000125", "1"))
    for symbol, kind, settle, tick, mark, lot in terms:
        events = exchange.apply({
            "cmd": "instrument", "symbol": symbol, "kind": kind, "base": "X", "quote": "Y",
            "settle": settle, "tick_size": tick, "mark_tick": mark, "lot_size": lot,
            "tiers": tiers, "fund": f"of {symbol}"})
        assert events[0]["event"] == "instrument_added", events
    return exchange


def test_what_is_tried_here_is_compiled() -> None:
    assert EventPacker.__module__ == "engine.packing.events"


def a_value(chance: random.Random, name: str, unit: str) -> int:
    """An integer that this field may have, or that no field should have."""
    if chance.random() < 0.1 and name not in ("cmd", "reason"):
        return NONE
    if unit[0].isupper():
        return int(chance.choice(list(getattr(messages, unit))))
    if unit in ("symbol", "asset", "value_asset"):
        return chance.choice((0, 1, 2, 2, 3, -1))
    if unit == "fund":
        return chance.randrange(3)
    if unit == "bool":
        return chance.randrange(2)
    if name in messages.EVENT_ACCOUNTS:
        return chance.choice((1, 2, 9, 31, 256, 70_000))
    value = chance.choice(EDGES) + chance.choice((0, 0, -1, 1))
    return max(NONE + 1, min(2**63 - 1, value * chance.choice((1, 1, -1))))


def a_record(chance: random.Random, kind: EventKind, seq: int) -> list[int]:
    payload = [a_value(chance, name, unit) for name, unit in EVENT_LAYOUTS[kind]]
    head = [int(kind), seq, chance.choice(EDGES), chance.choice(EDGES)]
    return [*head, *payload, *[0] * (RECORD_WIDTH - 4 - len(payload))]


@pytest.mark.parametrize("kind", EventKind, ids=lambda kind: kind.name.lower())
def test_every_kind_is_packed_as_it_is_rendered(kind: EventKind) -> None:
    chance = random.Random(int(kind))
    exchange = an_exchange()
    compiled, plain = EventPacker(exchange), PlainPacker(exchange)
    for seq in range(1, 150):
        rows = np.array([a_record(chance, kind, seq) for _ in range(chance.randrange(1, 4))])
        ts = chance.choice((None, *EDGES))
        assert compiled.pack(rows, EPOCH, ts, FOLLOWED) == plain.pack(rows, EPOCH, ts, FOLLOWED)


def test_commands_of_many_events_are_told_apart() -> None:
    chance = random.Random(7)
    exchange = an_exchange()
    kinds = [kind for kind in EventKind if kind is not EventKind.REJECTED]
    rows = np.array([
        a_record(chance, chance.choice(kinds), seq)
        for seq, count in ((5, 1), (6, 15), (7, 16), (9, 65_536), (10, 2)) for _ in range(count)])
    found = EventPacker(exchange).pack(rows, EPOCH)
    assert [count for count, _, _ in found] == [1, 15, 16, 65_536, 2]
    assert found == PlainPacker(exchange).pack(rows, EPOCH)
    assert wire.decode_events(found[3][1])[:3] == (EPOCH, 9, int(rows[-3, 2]))


def named(command: dict[str, Any], number: int) -> dict[str, Any]:
    """The command, its order with a name of the client's own now and then."""
    if command.get("cmd") == "order" and number % 3:
        return {**command, "client_order_id": f"own-{number}-{'é' * (number % 20)}"}
    return command


@pytest.mark.parametrize("core", ["compiled", "reference"])
@pytest.mark.parametrize("seed", range(4))
def test_runs_are_packed_as_they_are_rendered(core: str, seed: int) -> None:
    universe, chance = Universe(seed), random.Random(seed)
    packed, rendered = Exchange(core=core), Exchange(core=core)
    compiled, plain = EventPacker(packed), PlainPacker(rendered)
    commands = [*universe.opening()]
    for number in range(400):
        command = named(commands[number] if number < len(commands) else universe.next(), number)
        packed.submit(command)
        rendered.submit(command)
        if chance.random() < 0.4:
            messages_made = compiled.pack(packed.drain_rows(), EPOCH, None, FOLLOWED)
            assert messages_made == plain.pack(rendered.drain_rows(), EPOCH, None, FOLLOWED)
            for _, payload, _ in messages_made:
                universe.observe(wire.decode_events(payload)[3])
    assert packed.client_ids == rendered.client_ids
    assert packed.state_hash() == rendered.state_hash()


@pytest.mark.parametrize("packer", [EventPacker, PlainPacker])
@pytest.mark.parametrize("kind", [-1, 63, 64, 2**40])
def test_rows_of_no_kind_are_refused(packer: Any, kind: int) -> None:
    rows = np.zeros((1, RECORD_WIDTH), np.int64)
    rows[0, 0] = kind
    with pytest.raises(ValueError, match=rf"{kind}\b"):
        packer(an_exchange()).pack(rows, EPOCH)


def test_rows_of_another_width_are_refused() -> None:
    with pytest.raises(ValueError, match="rows must have"):
        EventPacker(an_exchange()).pack(np.zeros((1, RECORD_WIDTH - 1), np.int64), EPOCH)
    assert EventPacker(an_exchange()).pack(np.zeros((0, RECORD_WIDTH), np.int64), EPOCH) == []
