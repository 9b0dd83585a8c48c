"""Fixtures of every test: an exchange on each core, audited when the test is over."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# `import support…` from any test, however pytest was started.
sys.path.insert(0, str(Path(__file__).parent))

pytest.register_assert_rewrite(
    "support.followers", "support.lockstep", "support.market", "support.oracle")

from hypothesis import settings  # noqa: E402
from support import CORES  # noqa: E402
from support.market import Desk, audit  # noqa: E402

from engine import Exchange  # noqa: E402

# A suite started in the background of a shell is told to ignore SIGINT, and so would be
# every program that it starts, those included that are to end by it.
signal.signal(signal.SIGINT, signal.default_int_handler)
# How long an example takes says what else the machine does.
settings.register_profile("project", deadline=None)
settings.load_profile("project")


@pytest.fixture(params=CORES)
def core_name(request: pytest.FixtureRequest) -> str:
    """Each core's name in turn."""
    return str(request.param)


@pytest.fixture
def new_exchange(core_name: str) -> Iterator[Callable[[], Exchange]]:
    """A function that makes exchanges; all of them are audited when the test is over."""
    made: list[Exchange] = []

    def make() -> Exchange:
        made.append(Exchange(core=core_name))
        return made[-1]

    yield make
    for exchange in made:
        audit(exchange)


@pytest.fixture
def exchange(new_exchange: Callable[[], Exchange]) -> Exchange:
    """A fresh exchange, audited when the test is over."""
    return new_exchange()


@pytest.fixture
def desk(exchange: Exchange) -> Desk:
    """A fresh exchange with USDT declared, and short names for commands."""
    return Desk(exchange)


@pytest.fixture
def market(desk: Desk) -> Desk:
    """One symbol, BTC at mark 100, flat tiers; accounts 1 to 4 with 1,000,000 each."""
    desk.symbol()
    desk.account(1, 2, 3, 4)
    return desk
