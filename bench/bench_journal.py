"""The cost of a durable batch; the measuring is in `engine.bench.journal`."""

from __future__ import annotations

import pytest

from engine.bench.journal import SMOKE, JournalPlan, journal_report, run_journal
from engine.bench.report import print_report

pytestmark = pytest.mark.bench


def test_journal(benchmark, is_smoke):
    plan = SMOKE if is_smoke else JournalPlan()
    results = benchmark.pedantic(run_journal, (plan, lambda note: None), rounds=1)
    report = journal_report(results)
    print()
    print_report(report)
    for one in results:
        benchmark.extra_info[f"{one.name}, batches of {one.batch}: p50 ns"] = one.at(0.5)
    assert report.failures == []
