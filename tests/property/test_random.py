"""Random markets from seeds: both cores in lockstep, and each against rules written anew.

A failure prints the shortest list of commands that was found to fail, as a scenario.
`ENGINE_TEST_SEEDS` and `ENGINE_TEST_COMMANDS` set how many markets the slow run
makes, and how many commands each of them gets.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

import pytest
from support import CORES, oracle
from support.lockstep import Difference, Lockstep, explain_failure
from support.market import audit
from support.mirror import Mirror
from support.universe import Giant, Universe

from engine import Exchange
from engine.messages import (
    CancelReason,
    EventKind,
    InsuranceReason,
    LiquidationOutcome,
    RejectReason,
)

SLOW_SEEDS = int(os.environ.get("ENGINE_TEST_SEEDS", "200"))
SLOW_COMMANDS = int(os.environ.get("ENGINE_TEST_COMMANDS", "2000"))


def run_lockstep(universe: Universe, count: int, *, every: int) -> None:
    """Drive all cores with one random market; compare everything now and then."""
    lockstep = Lockstep()
    what: Difference | None = None
    try:
        for command in universe.opening():
            universe.observe(lockstep.apply(command))
        for number in range(count):
            universe.observe(lockstep.apply(universe.next()))
            if number % every == 0:
                lockstep.check()
                lockstep.compare_queries()
        lockstep.check()
        lockstep.compare_queries()
    except Difference as difference:
        what = difference
    if what is not None:
        pytest.fail(explain_failure(lockstep.log, what), pytrace=False)


@pytest.mark.parametrize("seed", range(24))
def test_cores_agree(seed: int) -> None:
    run_lockstep(Universe(seed), 400, every=5)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10_000, 10_000 + SLOW_SEEDS))
def test_cores_agree_for_long(seed: int) -> None:
    run_lockstep(Universe(seed), SLOW_COMMANDS, every=50)


@pytest.mark.parametrize("seed", [*range(30, 50), 62, 71, 77, 112])
def test_cores_agree_at_the_edge_of_the_range(seed: int) -> None:
    run_lockstep(Giant(seed), 300, every=5)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(50_000, 50_000 + SLOW_SEEDS))
def test_cores_agree_at_the_edge_of_the_range_for_long(seed: int) -> None:
    run_lockstep(Giant(seed), SLOW_COMMANDS, every=20)


def stream(
    exchange: Exchange, seed: int, count: int, kind: type[Universe] = Universe
) -> Iterator[list[dict]]:
    """Apply a random market to one exchange; yield the events of each command."""
    universe = kind(seed)
    for command in universe.opening():
        events = exchange.apply(command)
        universe.observe(events)
        yield events
    for _ in range(count):
        events = exchange.apply(universe.next())
        universe.observe(events)
        yield events


def check_figures(exchange: Exchange, seed: int, count: int) -> int:
    """Recompute all margins now and then, and find liquidation prices by trying every mark."""
    looked_at = 0
    for number, _ in enumerate(stream(exchange, seed, count)):
        if number % 5 == 0:
            oracle.verify_auctions(exchange)
            oracle.verify_multipliers(exchange)
            looked_at += sum(
                oracle.verify(exchange, account) for account in exchange.core.account_ids())
    return looked_at


def test_figures_and_prices_are_those_of_the_rules(core_name: str) -> None:
    seeds = range(20, 32)
    looked_at = sum(check_figures(Exchange(core=core_name), seed, 130) for seed in seeds)
    assert looked_at > 500


@pytest.mark.slow
@pytest.mark.parametrize("first", range(20_000, 20_000 + SLOW_SEEDS, 20))
def test_figures_and_prices_for_long(core_name: str, first: int) -> None:
    for seed in range(first, min(first + 20, 20_000 + SLOW_SEEDS)):
        check_figures(Exchange(core=core_name), seed, SLOW_COMMANDS // 5)


def check_events(exchange: Exchange, seed: int, count: int) -> None:
    """Follow the events alone; what they tell is what the exchange answers."""
    mirror = Mirror()
    for number, events in enumerate(stream(exchange, seed, count)):
        mirror.observe(events)
        if number % 10 == 0:
            mirror.compare(exchange)
    mirror.compare(exchange)


@pytest.mark.parametrize("seed", range(40, 46))
def test_events_tell_the_whole_state(exchange: Exchange, seed: int) -> None:
    check_events(exchange, seed, 200)


@pytest.mark.slow
def test_events_tell_the_whole_state_for_long(core_name: str) -> None:
    for seed in range(30_000, 30_000 + SLOW_SEEDS):
        check_events(Exchange(core=core_name), seed, SLOW_COMMANDS // 5)


def test_random_markets_reach_everything() -> None:
    """Every kind of event, and every reason, occurs: what never happens is not tested."""
    seen: Counter[str] = Counter()
    seeds = [(Universe, seed) for seed in range(60, 450)]
    seeds += [(Giant, seed) for seed in range(60, 100)]
    for kind, seed in seeds:
        exchange = Exchange(core=CORES[-1])
        for events in stream(exchange, seed, 300, kind):
            for event in events:
                seen[event["event"]] += 1
                for name in ("reason", "outcome"):
                    if name in event:
                        seen[f"{event['event']} {event[name]}"] += 1
        audit(exchange)
    wanted = [kind.name.lower() for kind in EventKind]
    # What is unsupported comes packed: no line can name it.
    wanted += [f"rejected {reason.name.lower()}" for reason in RejectReason
               if reason is not RejectReason.UNSUPPORTED]
    # A pool that enters the queue loses its waiting orders, so none is left to fail for it.
    wanted += [f"order_canceled {reason.name.lower()}" for reason in CancelReason
               if reason is not CancelReason.ACCOUNT_LIQUIDATING]
    wanted += [f"insurance {reason.name.lower()}" for reason in InsuranceReason]
    wanted += [f"liquidation_finished {outcome.name.lower()}" for outcome in LiquidationOutcome]
    rare = {what: seen[what] for what in wanted if seen[what] < 3}
    assert not rare, f"hardly ever: {rare}"
