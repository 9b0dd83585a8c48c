"""A snapshot or a fork is the exchange itself: the same state, the same future, its own life."""

from __future__ import annotations

import random
import struct
from typing import Any

import pytest
from support.universe import Universe

from engine import Exchange
from engine.core import ExchangeCore
from engine.errors import InvariantViolation
from engine.snapshot import SnapshotError

Command = dict[str, Any]


def log_of(seed: int, count: int) -> list[Command]:
    universe = Universe(seed)
    return [*universe.opening(), *(universe.next() for _ in range(count))]


@pytest.mark.parametrize("seed", range(700, 712))
def test_the_future_of_a_copy_is_that_of_the_original(seed: int) -> None:
    chance = random.Random(seed)
    original, copy = Exchange(), Exchange()
    for number, command in enumerate(log_of(seed, 500)):
        assert original.apply(command) == copy.apply(command), command
        if number % 23 == 0:
            copy = copy.fork() if chance.random() < 0.5 else Exchange.restore(copy.snapshot())
            assert copy.state_hash() == original.state_hash()
            assert (copy.seq, copy.ts) == (original.seq, original.ts)
            copy.check()
    assert copy.totals() == original.totals()


@pytest.mark.parametrize("seed", range(720, 724))
def test_a_fork_and_its_original_do_not_touch_each_other(seed: int) -> None:
    log = log_of(seed, 400)
    original, never_forked = Exchange(), Exchange()
    for command in log[:250]:
        original.apply(command)
        never_forked.apply(command)
    fork = original.fork()
    for command in reversed(log[250:]):  # another future
        fork.apply({**command, "ts": fork.ts})
    for command in log[250:]:
        assert original.apply(command) == never_forked.apply(command)
    assert original.state_hash() == never_forked.state_hash()
    fork.check()
    original.check()


def test_a_copy_outlives_its_original() -> None:
    original = Exchange()
    for command in log_of(730, 200):
        original.apply(command)
    fork, kept = original.fork(), original.state_hash()
    del original
    assert fork.state_hash() == kept


@pytest.mark.parametrize("standing", [1, 2, 3])
def test_a_copy_has_room_for_more_at_the_same_price(standing: int) -> None:
    """A copy's buckets of triggers have room for what is in them, and no more."""
    exchange = Exchange()
    for command in (
        {"cmd": "asset", "asset": "USDT", "decimals": 6},
        {"cmd": "instrument", "symbol": "X", "kind": "linear", "base": "B", "quote": "USDT",
         "settle": "USDT", "tick_size": "1", "lot_size": "1", "tiers": [
             {"min_notional": "0", "max_notional": None, "maintenance_margin_rate": "0.01",
              "max_leverage": "20"}]},
        {"cmd": "mark", "symbol": "X", "mark_price": "100"}):
        exchange.submit(command)
    for account in range(1, 60):
        if account == standing + 1:
            exchange = exchange.fork()
        for command in (
            {"cmd": "account", "account": account},
            {"cmd": "deposit", "account": account, "asset": "USDT", "amount": "20"},
            {"cmd": "fill", "account": account, "symbol": "X", "side": "buy", "quantity": "1",
             "price": "100"},
            {"cmd": "mark", "symbol": "X", "mark_price": "100"}):  # it files the triggers
            exchange.submit(command)
        exchange.check()
    assert len(exchange.positions_array()) == 59


def test_events_that_nobody_drained_stay_behind() -> None:
    exchange = Exchange()
    exchange.submit({"cmd": "asset", "asset": "USDT", "decimals": 6})
    fork, restored = exchange.fork(), Exchange.restore(exchange.snapshot())
    assert fork.drain() == restored.drain() == []
    assert [event["event"] for event in exchange.drain()] == ["asset_added"]


@pytest.mark.parametrize("keep_events", [True, False])
def test_whether_events_are_kept_is_said_anew(keep_events: bool) -> None:
    restored = Exchange.restore(Exchange(keep_events=False).snapshot(), keep_events)
    restored.add_asset("USDT", 6)
    assert len(restored.drain()) == keep_events


def test_the_name_of_a_file_is_no_snapshot() -> None:
    with pytest.raises(TypeError, match=r"a snapshot is bytes \(.*\), not str"):
        Exchange.restore("exchange.snapshot")  # type: ignore[arg-type]


def small() -> bytes:
    exchange = Exchange()
    for command in log_of(740, 60):
        exchange.apply(command)
    return exchange.snapshot()


def test_a_damaged_snapshot_is_refused() -> None:
    whole, chance = small(), random.Random(1)
    for _ in range(200):
        at = chance.randrange(len(whole))
        damaged = bytearray(whole)
        damaged[at] ^= 1 << chance.randrange(8)
        with pytest.raises(SnapshotError):
            Exchange.restore(bytes(damaged))
    for length in (0, 1, 7, 8, 15, 16, 100, len(whole) // 2, len(whole) - 1):
        with pytest.raises(SnapshotError):
            Exchange.restore(whole[:length])


def image() -> bytes:
    core, pieces = ExchangeCore(), list[bytes]()
    core.add_asset()
    core.open_account(1, 0)
    core.snapshot(lambda piece: pieces.append(bytes(piece)))
    return b"".join(pieces)


def test_a_core_refuses_every_part_of_an_image() -> None:
    whole = image()
    ExchangeCore().restore(whole)
    for length in range(0, len(whole) - 8, 8):
        with pytest.raises(ValueError, match="snapshot"):
            ExchangeCore().restore(whole[:length])


def test_an_image_of_another_build_is_refused() -> None:
    whole = bytearray(image())
    whole[8] ^= 1
    with pytest.raises(ValueError, match="another build"):
        ExchangeCore().restore(bytes(whole))


def test_half_a_state_is_none() -> None:
    whole = image()
    # One section less than the engine's state has, otherwise in order.
    sections = struct.unpack_from("<q", whole, 40)[0]
    at, last = 48, 48
    for _ in range(sections):
        last = at
        size, count = struct.unpack_from("<qq", whole, at)
        at += 16 + (size * count + 7) // 8 * 8
    cut = whole[:40] + struct.pack("<q", sections - 1) + whole[48:last]
    core = ExchangeCore()
    with pytest.raises(ValueError, match="too early"):
        core.restore(cut)
    with pytest.raises(InvariantViolation):
        core.add_asset()


def test_only_a_new_core_is_restored() -> None:
    core = ExchangeCore()
    core.add_asset()
    with pytest.raises(ValueError, match="new core"):
        core.restore(image())


def test_the_reference_says_that_it_has_none() -> None:
    with pytest.raises(SnapshotError, match="reference"):
        Exchange(core="reference").fork()
    with pytest.raises(SnapshotError, match="reference"):
        Exchange(core="reference").snapshot()
