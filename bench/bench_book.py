"""The cost of an order, book and exchange; the measuring is in `engine.bench.book`."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.bench.book import SMOKE, BookPlan, run_book
from engine.bench.book_report import book_report
from engine.bench.report import print_report
from engine.bench.stream import MIXES

pytestmark = pytest.mark.bench


@pytest.mark.parametrize("stream", MIXES)
def test_book(benchmark, is_smoke, stream):
    plan = replace(SMOKE if is_smoke else BookPlan(), stream=stream)
    result = benchmark.pedantic(run_book, (plan,), rounds=1)
    print()
    print_report(book_report(result))
    for run in result.runs:
        benchmark.extra_info[f"{run.way.name}: ns a command"] = run.cost
    benchmark.extra_info["plain book: ns a command"] = result.rival_cost("book")
    benchmark.extra_info["reference core: ns a command"] = result.rival_cost("accounts")
    benchmark.extra_info["trades_hash"] = result.stream.trades
    benchmark.extra_info["state_hash"] = result.state_hash
    assert result.agrees
