"""The cost of experiments; the measuring is in `engine.bench.lab`."""

from __future__ import annotations

import pytest

from engine.bench.lab import SMOKE, LabPlan, lab_report, run_lab
from engine.bench.report import print_report

pytestmark = pytest.mark.bench


def test_lab(benchmark, is_smoke):
    pytest.importorskip("joblib")
    plan = SMOKE if is_smoke else LabPlan()
    parts = benchmark.pedantic(run_lab, (plan,), rounds=1)
    report = lab_report(plan, parts)
    print()
    print_report(report)
    benchmark.extra_info.update(parts)
    assert not report.failures
