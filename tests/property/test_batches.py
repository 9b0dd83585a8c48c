"""Packed commands give what the same commands give one by one, however they are cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.packing import PackingCore
from support.universe import Universe

from engine import Exchange
from engine.batches import (
    COMMAND_DTYPE,
    SPECIAL_DTYPE,
    as_rows,
    empty_commands,
    empty_specials,
)
from engine.messages import NONE, Command, EventKind, OrderType, RejectReason

Records = list[tuple[int, ...]]


def recorded(seed: int, count: int) -> tuple[PackingCore, Records, bytes]:
    """A stream applied call by call: its log, its events and the state it ends in."""
    universe, exchange = Universe(seed), Exchange()
    exchange.core = core = PackingCore(exchange.core)
    records: Records = []
    for command in universe.opening():
        exchange.submit(command)
        records += core.drain()
    for _ in range(count):
        exchange.submit(universe.next())
        records += core.drain()
    return core, records, core.digest()


def replayed(log: PackingCore, size: int, core_name: str) -> tuple[Records, bytes]:
    """The log once more, its packed runs in batches of at most `size`."""
    core: Any = Exchange(core=core_name).core
    specials = np.array(log.specials, np.int64).reshape(-1, len(SPECIAL_DTYPE))
    batch: list[list[int]] = []

    def flush() -> None:
        if batch:
            core.run(np.array(batch, np.int64), specials)
            batch.clear()

    for entry in log.log:
        if callable(entry):
            flush()
            entry(core)
        else:
            batch.append(entry)
            if len(batch) == size:
                flush()
    flush()
    return core.drain(), core.digest()


@pytest.mark.parametrize("seed", range(500, 506))
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_batches_of_any_size_give_the_same(seed: int, size: int) -> None:
    log, records, digest = recorded(seed, 600)
    assert (records, digest) == replayed(log, size, "compiled")


@pytest.mark.parametrize("seed", [600, 601])
def test_the_reference_takes_the_same_batches(seed: int) -> None:
    log, records, digest = recorded(seed, 300)
    assert (records, digest) == replayed(log, 50, "reference")


def market() -> Exchange:
    exchange = Exchange()
    for line in (
        {"cmd": "asset", "asset": "USD", "decimals": 2},
        {"cmd": "instrument", "symbol": "A", "kind": "linear", "base": "A", "quote": "USD",
         "settle": "USD", "tick_size": "1", "lot_size": "1",
         "tiers": [{"min_notional": "0", "max_notional": None,
                    "maintenance_margin_rate": "0.01", "max_leverage": "50"}]},
        {"cmd": "account", "account": 1}, {"cmd": "account", "account": 2},
        {"cmd": "deposit", "account": 1, "asset": "USD", "amount": "10000"},
        {"cmd": "deposit", "account": 2, "asset": "USD", "amount": "10000"},
        {"cmd": "mark", "symbol": "A", "mark_price": "100"},
    ):
        exchange.apply(line)
    return exchange


def orders(count: int) -> np.ndarray[Any, Any]:
    rows = empty_commands(count)
    rows["cmd"], rows["account"], rows["symbol"] = Command.ORDER, 1, 0
    rows["order_id"] = np.arange(1, count + 1)
    rows["side"], rows["type"], rows["quantity"] = 0, OrderType.LIMIT, 1
    rows["price"], rows["time_in_force"] = 99, 0
    return rows


def test_bad_rows_are_refused_with_their_reason_and_the_rest_goes_on() -> None:
    exchange, rows = market(), orders(12)
    spoil = [
        ("quantity", -1, "malformed"), ("quantity", 0, "malformed"),
        ("symbol", 7, "unknown_symbol"), ("account", 9, "unknown_account"),
        ("side", 2, "malformed"), ("type", 99, "unsupported"),
        ("quantity", 2**62 + 1, "overflow"), ("special", 3, "malformed"),
        ("cmd", 99, "unsupported"), ("cmd", -5, "unsupported"), ("order_id", 12, None),
    ]
    for number, (name, value, _) in enumerate(spoil):
        rows[name][number] = value
    rows["order_id"][11] = 12  # taken by the row before
    assert exchange.submit_many(rows) == 11
    events = [event for event in exchange.drain() if event["event"] in (
        "rejected", "order_accepted")]
    reasons = [event.get("reason") for event in events]
    assert reasons == [reason for *_, reason in spoil] + ["duplicate_order_id"]
    assert events[8]["cmd"] is None
    assert [event["event"] for event in events].count("order_accepted") == 1


def test_a_late_time_is_refused() -> None:
    exchange, rows = market(), orders(2)
    exchange.apply({"cmd": "time", "ts": 100})
    rows["ts"] = 99, 100
    assert exchange.submit_many(rows) == 1


def test_special_terms_come_in_a_table_of_their_own() -> None:
    exchange, rows, specials = market(), orders(1), empty_specials(1)
    rows["type"], rows["price"], rows["special"] = OrderType.STOP_MARKET, NONE, 0
    rows["time_in_force"] = 1
    specials["trigger_price"], specials["trigger_by"] = 120, 0
    assert exchange.submit_many(rows, specials) == 0
    order = exchange.query({"query": "orders", "account": 1})["orders"][0]
    assert (order["status"], order["trigger_price"]) == ("pending", "120")


def test_records_come_packed_too() -> None:
    exchange = market()
    exchange.core.drain()
    exchange.submit_many(orders(3))
    data = np.frombuffer(exchange.core.drain_bytes(), np.int64).reshape(-1, 16)
    assert (data[:, 0] == EventKind.ORDER_ACCEPTED).sum() == 3
    assert not (data[:, 0] == EventKind.REJECTED).any()


@pytest.mark.parametrize(("array", "error"), [
    (np.zeros((3, 12)), TypeError), (np.zeros((3, 12), np.int32), TypeError),
    (np.zeros((3, 11), np.int64), ValueError), (np.zeros(12, np.int64), ValueError),
    (np.zeros(3, [("cmd", "i8")]), TypeError), ([[0] * 12], TypeError),
])
def test_another_dtype_or_shape_is_refused_whole(array: Any, error: type[Exception]) -> None:
    exchange = market()
    before = exchange.seq
    with pytest.raises(error, match="commands must"):
        exchange.submit_many(array)
    assert exchange.seq == before


def test_the_core_refuses_another_shape_by_itself() -> None:
    core: Any = market().core
    with pytest.raises(ValueError, match="12 columns, not 3"):
        core.run(np.zeros((2, 3), np.int64))
    with pytest.raises(ValueError, match="14 columns, not 3"):
        core.run(np.zeros((2, 12), np.int64), np.zeros((2, 3), np.int64))


def test_a_table_is_not_copied_without_need() -> None:
    rows = orders(5)
    assert np.shares_memory(as_rows(rows, COMMAND_DTYPE, "commands"), rows)
    assert RejectReason(as_rows(rows[::2], COMMAND_DTYPE, "commands")[0, 5]) == 0
