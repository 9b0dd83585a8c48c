"""Exchanges in several threads: a batch lets others run, and keeps them off its exchange."""

from __future__ import annotations

import threading
import time

import pytest

from engine.bench.stream import Stream, make_stream
from engine.bench.ways import ExchangeHost, Prepared


@pytest.fixture(scope="module")
def stream() -> Stream:
    return make_stream("canonical", 60_000)


def run_beside(host: ExchangeHost, prepared: Prepared) -> tuple[float, float, list[BaseException]]:
    """Run a batch in a thread; return when it began and ended, and what it raised."""
    rows, moments, raised = host.rows(prepared), [0.0, 0.0], []

    def work() -> None:
        moments[0] = time.monotonic()
        try:
            host.run(rows)
        except BaseException as error:
            raised.append(error)
        moments[1] = time.monotonic()

    thread = threading.Thread(target=work)
    thread.start()
    seen.clear()
    while thread.is_alive():
        seen.append(time.monotonic())
    thread.join()
    return moments[0], moments[1], raised


seen: list[float] = []


def test_others_run_while_a_batch_does(stream: Stream) -> None:
    prepared = Prepared(stream)
    began, ended, raised = run_beside(ExchangeHost(prepared), prepared)
    assert not raised
    quarter = (ended - began) / 4
    within = [at for at in seen if began + quarter < at < ended - quarter]
    # With the GIL held this thread would not get to look once.
    assert len(within) > 10


def test_a_batch_in_a_thread_comes_to_the_same(stream: Stream) -> None:
    prepared = Prepared(stream)
    alone = ExchangeHost(prepared)
    alone.run(alone.rows(prepared))
    hosts = [ExchangeHost(prepared) for _ in range(3)]
    threads = [
        threading.Thread(target=host.run, args=(host.rows(prepared),)) for host in hosts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {host.core.digest() for host in hosts} == {alone.core.digest()}


def test_another_thread_is_kept_off(stream: Stream) -> None:
    prepared = Prepared(stream)
    alone = ExchangeHost(prepared)
    alone.run(alone.rows(prepared))
    for _ in range(50):  # the batch may be over before it was tried
        host = ExchangeHost(prepared)
        refused = refusals_during(host, prepared)
        if refused == ["another thread is in the middle of a batch on this exchange"] * 4:
            assert host.core.digest() == alone.core.digest()
            return
    pytest.fail(f"never refused: {refused}")


def refusals_during(host: ExchangeHost, prepared: Prepared) -> list[str]:
    """What another thread is told that uses an exchange while a batch runs on it."""
    core, refused = host.core, []
    uses = (lambda: core.halt(0, 1), lambda: host.run(host.rows(prepared)[:1]), core.drain,
            core.drain_bytes)
    thread = threading.Thread(target=host.run, args=(host.rows(prepared),))
    thread.start()
    while thread.is_alive() and not core.is_running():
        pass
    for use in uses:
        if core.is_running():
            try:
                use()
            except RuntimeError as error:
                refused.append(str(error))
    thread.join()
    return refused
