"""Messages of marks as packed commands: the compiled reader makes what the plain road makes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import msgpack
import numpy as np
import pytest

from engine import Exchange, wire
from engine.batches import COMMAND_DTYPE, empty_commands, to_bytes
from engine.driver import MarkDriver
from engine.errors import InputError
from engine.packing import MarkReader, plain, sum_rows
from engine.serving.packed import _FACTORS_LIST, PackedCommands

TIERS = [{"min_notional": "0", "max_notional": None, "maintenance_margin_rate": "0.005",
          "max_leverage": "100"}]
#: Symbol and mark tick.
SYMBOLS = (("BTC", "0.1"), ("A", "1"), ("ODD-3", "0.03"), ("FINE", "0.00000001"),
           ("S" * 30, "25"), ("L" * 40, "0.5"), ("with space", "1"), ("₿", "1"))


@pytest.fixture(scope="module")
def exchange() -> Exchange:
    exchange = Exchange(core="reference")
    exchange.apply({"cmd": "asset", "asset": "USDT", "decimals": 9})
    for symbol, tick in SYMBOLS:
        (event,) = exchange.apply({
            "cmd": "instrument", "symbol": symbol, "kind": "linear", "base": "X", "quote": "USDT",
            "settle": "USDT", "tick_size": tick, "lot_size": "1", "tiers": TIERS})
        assert event["event"] == "instrument_added", event
    return exchange


def as_wire_has_it(
    exchange: Exchange, payload: bytes, *, has_time: bool
) -> tuple[int, int, list[str], bytes] | None:
    """What `engine.wire` and `engine.driver` make of it, None where not all is packed."""
    driver = MarkDriver(exchange)
    try:
        message = wire.decode_marks(payload)
        rows = [driver.packed(number, step, has_time=has_time)
                for number, step in enumerate(message.steps, message.first_step)]
    except (wire.WireError, InputError):
        return None
    packed = [row for row in rows if row is not None]
    if len(packed) < len(rows):
        return None
    symbols = [step[1][0][0] for step in message.steps]
    return message.epoch, message.first_step, symbols, PackedCommands.of(packed).rows


def a_price(chance: random.Random) -> str:
    whole = str(chance.randrange(10 ** chance.randrange(1, 12)))
    if chance.random() < 0.5:
        return whole
    return f"{whole}.{chance.randrange(10 ** chance.randrange(1, 9))}"


def a_step(chance: random.Random) -> list[Any]:
    symbol = chance.choice(SYMBOLS)[0]
    index = a_price(chance) if chance.random() < 0.3 else None
    return [chance.randrange(2 ** chance.randrange(1, 63)), [[symbol, a_price(chance), index]]]


@pytest.mark.parametrize("seed", range(8))
def test_ordinary_messages_are_read_alike(exchange: Exchange, seed: int) -> None:
    chance, read_count = random.Random(seed), 0
    for _ in range(250):
        has_time = chance.random() < 0.8
        steps = [a_step(chance) for _ in range(chance.choice((1, 1, 1, 3, 20)))]
        payload = msgpack.packb([
            wire.VERSION, chance.randrange(2**62), chance.randrange(2**40), steps])
        found = MarkReader(exchange.instruments_by_index, has_time).read(payload)
        if found is not None:
            assert found == as_wire_has_it(exchange, payload, has_time=has_time)
            read_count += 1
    assert read_count > 60  # those without a name that is none, a price of zero, step 0


def test_what_a_market_sends_is_read_here(exchange: Exchange) -> None:
    reader = MarkReader(exchange.instruments_by_index, has_time=True)
    for mark, index in (("60000.1", None), ("1", "2.5"), ("0.05", None), ("99999999.95", "7")):
        payload = wire.encode_marks(5, 1, [(10**18, [("BTC", mark, index)])])
        found = reader.read(payload)
        assert found is not None and found == as_wire_has_it(exchange, payload, has_time=True)


def odd_messages() -> Iterator[Any]:
    """Messages beside what is ordinary, some of them no messages at all."""
    good: list[Any] = [wire.VERSION, 5, 1, [[10, [["BTC", "100", None]]]]]
    yield from (b"", b"\x94", b"\xc1", msgpack.packb(good) + b"\x00", msgpack.packb(good)[:-1])
    for at, values in (
            (0, (0, 2, True, None)), (1, (-1, 2**63, "5", None, 1.5)), (2, (0, -1, 2**63, 2**62)),
            (3, ([], None, [[10, []]], [[10]], [[-1, [["BTC", "100", None]]]],
                 [[10, [["BTC", "1", None], ["A", "2", None]]]], [[10, [["BTC", "100"]]]]))):
        for value in values:
            yield [*good[:at], value, *good[at + 1:]]
    yield [*good, "more"]
    for row in (
            ["NONE", "1", None], ["with space", "1", None], ["₿", "1", None], ["", "1", None],
            ["BTC", 1, None], ["BTC", b"1", None], ["L" * 40, "1", None], ["BTC", None, None],
            *([symbol, price, None] for symbol in ("BTC", "FINE", "ODD-3") for price in (
                "0", "0.0", "00.10", "", ".", "1.", ".1", "1.1.1", "-1", "+1", " 1", "1 ", "1e3",
                "9" * 17, "9" * 18, "9" * 19, "9" * 20, "9" * 21, "0." + "9" * 16,
                "0." + "1" * 20, "0." + "0" * 19 + "1", "4611686018427387904", "123456789.5",
                "\u0661", "0.05", "0.15", "0.045", "0.014999999999999")),
            *(["BTC", "1", index] for index in ("0", "", "1.", 1, "2.5", False))):
        yield [*good[:3], [[10, [row]]]]


def test_odd_messages_are_left_to_the_plain_road_or_read_alike(exchange: Exchange) -> None:
    reader = MarkReader(exchange.instruments_by_index, has_time=True)
    read_count = 0
    for message in odd_messages():
        payload = message if isinstance(message, bytes) else msgpack.packb(message)
        found = reader.read(payload)
        if found is not None:
            assert found == as_wire_has_it(exchange, payload, has_time=True), message
            read_count += 1
    assert 20 < read_count < 60


def test_no_cut_and_no_flipped_bit_is_read_otherwise(exchange: Exchange) -> None:
    reader = MarkReader(exchange.instruments_by_index, has_time=True)
    payload = wire.encode_marks(2**40, 300, [
        (10**18, [("BTC", "60000.1", None)]), (10**18 + 1, [("FINE", "0.00012", "7")])])
    damaged = [payload[:end] for end in range(len(payload))]
    damaged += [
        payload[:at] + bytes([payload[at] ^ 1 << bit]) + payload[at + 1:]
        for at in range(len(payload)) for bit in range(8)]
    for each in damaged:
        found = reader.read(each)
        if found is not None:
            assert found == as_wire_has_it(exchange, each, has_time=True)


@pytest.mark.parametrize("count", [1, 2, 5, 300])
def test_checksums_of_rows_are_those_of_the_plain_road(count: int) -> None:
    rng = np.random.default_rng(count)
    rows = empty_commands(count)
    for name in COMMAND_DTYPE.names or ():
        keep = rng.random(count) < 0.3
        rows[name] = np.where(keep, rows[name], rng.integers(-2**63, 2**63 - 1, count))
    data = to_bytes(rows, COMMAND_DTYPE, "rows")
    assert sum_rows(data, _FACTORS_LIST) == plain.sum_rows(data, _FACTORS_LIST)
    assert sum_rows(b"", _FACTORS_LIST) == plain.sum_rows(b"", _FACTORS_LIST) == b""
