"""The liquidation map adds up what the single queries say."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

import pytest
from support import CORES
from support.universe import Universe

from engine import Exchange
from engine.messages import NONE


def filled(seed: int, core: str) -> Exchange:
    universe, exchange = Universe(seed), Exchange(core=core)
    for command in universe.opening():
        exchange.submit(command)
    for _ in range(250):
        exchange.submit(universe.next())
    return exchange


def by_queries(
    exchange: Exchange, symbol: str, width: int, origin: int
) -> list[tuple[int, int, int, int, int, int]]:
    """Buckets of so many mark ticks, from the views of all accounts."""
    sums: dict[tuple[int, int], list[int]] = defaultdict(lambda: [0, 0, 0])
    index = exchange.symbol_index(symbol)
    for account in exchange.core.account_ids():
        for view in exchange.core.position_views(account, index):
            price = view["liquidation_price"]
            if price == NONE:
                continue
            key = (origin + (price - origin) // width * width, 1 if view["quantity"] > 0 else 2)
            for i, amount in enumerate((view["notional"], abs(view["quantity"]), 1)):
                sums[key][i] += amount
    return [(max(0, low), low + width, side, *amounts)
            for (low, side), amounts in sorted(sums.items())]


@pytest.mark.parametrize("core", CORES)
def test_buckets_are_sums_of_positions(core: str) -> None:
    seen = 0
    for seed in range(740, 756):
        exchange = filled(seed, core)
        for symbol in exchange.symbols:
            mark = exchange.core.instrument_view(exchange.symbol_index(symbol))["mark_price"]
            for ppm in (1, 50_000, 3_000_000):
                width = max(1, mark * ppm // 10**6)
                rows = exchange.liquidation_map(symbol, ppm).tolist()
                assert rows == by_queries(exchange, symbol, width, mark)
                seen += len(rows)
    assert seen > 20


def test_given_edges_leave_out_what_is_outside() -> None:
    for seed in range(740, 750):
        exchange = filled(seed, "compiled")
        for symbol in exchange.symbols:
            grid = exchange.instrument(symbol).mark
            edges = [0, 40, 90, 120, 400]
            rows = exchange.liquidation_map(symbol, edges=[grid.text(one) for one in edges])
            expected: dict[tuple[int, int], int] = defaultdict(int)
            for row in exchange.positions_array(symbol):
                for low, high in pairwise(edges):
                    if low <= row["liquidation_price"] < high and row["liquidation_price"]:
                        expected[low, 1 if row["quantity"] > 0 else 2] += abs(row["quantity"])
            assert {(row["price_low"], row["side"]): row["quantity"] for row in rows} == expected


def test_what_cannot_be_a_bucket_is_refused() -> None:
    exchange = filled(740, "compiled")
    symbol = exchange.symbols[0]
    for edges in (["1"], ["2", "1"], ["1", "1"], ["1", "1.0001"], ["-1", "1"]):
        with pytest.raises(ValueError, match="edges must"):
            exchange.liquidation_map(symbol, edges=edges)
    with pytest.raises(ValueError, match="bucket_ppm must be positive"):
        exchange.liquidation_map(symbol, 0)
    with pytest.raises(KeyError):
        exchange.liquidation_map("NONE")
