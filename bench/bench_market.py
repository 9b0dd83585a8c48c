"""The cost of market data; the measuring is in `engine.bench.market`."""

from __future__ import annotations

from statistics import median

import pytest

from engine.bench.market import SMOKE, MarketPlan, market_report, run_market
from engine.bench.report import print_report

pytestmark = pytest.mark.bench


def test_market(benchmark, is_smoke):
    plan = SMOKE if is_smoke else MarketPlan()
    result = benchmark.pedantic(run_market, (plan,), rounds=1)
    print()
    print_report(market_report(result))
    for way in result.ways:
        benchmark.extra_info[f"{way.name}: ns a command"] = median(way.per_command)
    benchmark.extra_info["state_hash"] = sorted(result.state_hashes)
    assert result.agrees
