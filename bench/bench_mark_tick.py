"""The cost of a mark, engine against scans; the measuring is in `engine.bench.mark_tick`."""

from __future__ import annotations

from dataclasses import replace
from statistics import median

import pytest

from engine.bench.mark_report import mark_report
from engine.bench.mark_tick import SMOKE, MarkPlan, run_mark
from engine.bench.report import print_report

pytestmark = pytest.mark.bench


def test_mark_tick(benchmark, is_smoke, account_count):
    plan = replace(SMOKE if is_smoke else MarkPlan(0), accounts=account_count)
    result = benchmark.pedantic(run_mark, (plan,), rounds=1)
    print()
    print_report(mark_report(result))
    for stream in result.calm:
        name = f"calm, {stream.name}"
        benchmark.extra_info[f"{name}: engine ns"] = median(stream.engine)
        benchmark.extra_info[f"{name}: tight scan ns"] = median(stream.tight)
        benchmark.extra_info[f"{name}: plain scan ns"] = median(stream.plain)
    benchmark.extra_info["state_hash"] = result.state_hash
    assert result.crash.agrees
