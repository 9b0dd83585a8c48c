"""`python -m pytest bench --benchmark-only --size=full -s`; without --size it is the smoke size."""

from __future__ import annotations

import pytest

from engine.bench import SIZES
from engine.bench.machine import machine_rows
from engine.bench.report import aligned


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--size", default="smoke", choices=SIZES, help="of the benchmarks")
    parser.addoption(
        "--accounts", default=None, type=int, help="of the mark benchmark, instead of the usual")


def pytest_report_header() -> list[str]:
    return aligned(machine_rows())


@pytest.fixture(scope="session")
def is_smoke(request: pytest.FixtureRequest) -> bool:
    """Whether the tiny size is wanted."""
    return request.config.getoption("--size") == "smoke"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`account_count`: what was asked for, else the canonical sizes."""
    if "account_count" in metafunc.fixturenames:
        from engine.bench.mark_tick import FULL_ACCOUNTS, SMOKE

        asked = metafunc.config.getoption("--accounts")
        size = metafunc.config.getoption("--size")
        usual = FULL_ACCOUNTS if size == "full" else (SMOKE.accounts,)
        metafunc.parametrize("account_count", usual if asked is None else (asked,))
