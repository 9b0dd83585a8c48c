"""Events as structured arrays: the same integers as the records, by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from engine import Exchange
from engine.batches import deposit_commands
from engine.embedding import event_dtype, event_units, example_exchange
from engine.embedding.event_arrays import HEAD_FIELDS, split_by_kind
from engine.messages import EVENT_LAYOUTS, NONE, RECORD_WIDTH, EventKind, OrderStatus
from engine.render import render_event

GUIDE = Path(__file__).parents[2] / "docs" / "embedding.md"


def busy(exchange: Exchange) -> None:
    """Trades, a cancel, a refusal, deposits, a liquidation."""
    exchange.submit(2, "BTC", 1, "sell", "limit", 900, 100)
    exchange.submit(1, "BTC", 1, "buy", "limit", 950, 100, client_order_id="mine")
    exchange.cancel(1, "BTC", 1)
    exchange.submit({"cmd": "cancel", "account": 1, "symbol": "BTC", "order_id": 1})
    exchange.submit_many(deposit_commands(np.array([2, 2]), 0, 500))
    exchange.submit(2, "BTC", 2, "buy", "limit", 400, 92)
    exchange.mark("BTC", 92)


@pytest.mark.parametrize("keep_client_ids", [False, True])
def test_arrays_have_what_records_have(core_name: str, keep_client_ids: bool) -> None:
    one, other = example_exchange(core_name), example_exchange(core_name)
    if keep_client_ids:
        for exchange in (one, other):
            exchange.submit(1, "BTC", 99, "buy", "limit", 1, 50, client_order_id="resting")
    busy(one)
    busy(other)
    records, arrays = one.drain_records(), other.drain_arrays()
    assert len(arrays) > 8
    assert sum(map(len, arrays.values())) == len(records)
    rebuilt: list[tuple[int, ...]] = [()] * len(records)
    for name, events in arrays.items():
        assert events.dtype == event_dtype(name)
        for event in events.tolist():
            rebuilt[event[0]] = (int(EventKind[name.upper()]), *event[1:])
    assert rebuilt == records
    assert other.drain_arrays() == {}


def test_fields_mean_what_events_say(core_name: str) -> None:
    exchange = example_exchange(core_name)
    busy(exchange)
    table = exchange.drain_array()
    events = [render_event(tuple(row), exchange) for row in table.tolist()]
    arrays = split_by_kind(table)
    trades = arrays["trade"]
    assert [events[row]["event"] for row in trades["row"]] == ["trade"] * len(trades)
    assert [events[row]["price"] for row in trades["row"]] == [str(p) for p in trades["price"]]
    assert trades["price"].tolist() == [100, 92]
    assert trades["liquidation"].tolist() == [0, 1]
    updates = arrays["order_update"]
    assert updates["leaves"][updates["status"] == OrderStatus.FILLED].tolist() == [0, 0]
    assert arrays["mark"]["index_price"].tolist() == [NONE]
    assert arrays["rejected"]["seq"].tolist() == [11]


@pytest.mark.parametrize("kind", EventKind)
def test_every_kind_has_its_fields(kind: EventKind) -> None:
    name = kind.name.lower()
    units = event_units(name)
    assert event_dtype(name).names == (*HEAD_FIELDS, *units)
    assert list(units.items()) == list(EVENT_LAYOUTS[kind])


@pytest.mark.parametrize("function", [event_dtype, event_units])
def test_a_kind_that_does_not_exist_is_refused(function: Callable[[str], object]) -> None:
    with pytest.raises(ValueError, match="no such kind of event: 'trades'"):
        function("trades")


def test_a_table_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=rf"shape \(n, {RECORD_WIDTH}\), not \(2, 3\)"):
        split_by_kind(np.zeros((2, 3), np.int64))
    assert split_by_kind(np.zeros((0, RECORD_WIDTH), np.int64)) == {}


def test_the_guide_lists_the_fields_of_every_kind() -> None:
    rows = {
        cells[1].strip(" `"): cells[2].strip()
        for cells in (line.split("|") for line in GUIDE.read_text(encoding="utf-8").splitlines())
        if len(cells) == 4 and cells[1].strip(" `").upper() in EventKind.__members__}
    expected = {
        kind.name.lower(): ", ".join(f"`{name}` {unit}" for name, unit in layout)
        for kind, layout in EVENT_LAYOUTS.items()}
    assert rows == expected
