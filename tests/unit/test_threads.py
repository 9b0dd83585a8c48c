"""Exchanges in several threads: a batch lets others run, and keeps them off its exchange."""

from __future__ import annotations

import struct
import threading
import time

import numpy as np
import numpy.typing as npt
import pytest
from support.market import Desk

from engine import Exchange
from engine.bench.stream import Stream, make_stream
from engine.bench.ways import ExchangeHost, Prepared
from engine.core import ExchangeCore
from engine.errors import InvariantViolation
from engine.messages import NONE, Command, Side

IN_BATCH = "another thread is in the middle of a batch on this exchange"


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
        if refused == [IN_BATCH] * 10:
            assert host.core.digest() == alone.core.digest()
            return
    pytest.fail(f"never refused: {refused}")


def refusals_during(host: ExchangeHost, prepared: Prepared) -> list[str]:
    """What another thread is told that uses an exchange while a batch runs on it."""
    core, refused = host.core, []
    uses = (lambda: core.halt(0, 1), lambda: host.run(host.rows(prepared)[:1]), core.drain,
            core.drain_bytes, core.fork, core.digest, lambda: core.reserve(10**6, 10**6),
            lambda: core.publish(0, True), core.drain_market_data, core.drain_market_data_bytes)
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


def deposits(count: int) -> npt.NDArray[np.int64]:
    """Return packed commands: a cent each to account 1."""
    rows = np.full((count, 12), NONE, np.int64)
    rows[:, [0, 2, 3, 7]] = Command.DEPOSIT, 1, 0, 1
    return rows


@pytest.fixture
def exchange() -> Exchange:
    return small_exchange()


def small_exchange() -> Exchange:
    """Return one with an asset of cents and an account."""
    exchange = Exchange()
    exchange.submit({"cmd": "asset", "asset": "USDT", "decimals": 2})
    exchange.submit({"cmd": "account", "account": 1})
    return exchange


def test_others_are_refused_from_a_batchs_first_command_to_its_last(exchange: Exchange) -> None:
    core, rows = exchange.core, deposits(50_001)
    rows[50_000, [0, 3, 7]] = Command.CANCEL_ALL, NONE, NONE  # takes the GIL back
    refused = 0
    for _ in range(50):  # the batch may be over before it was tried
        thread = threading.Thread(target=core.run, args=(rows,))
        thread.start()
        while thread.is_alive():
            was_running = core.is_running()
            try:
                core.advance()
            except RuntimeError as error:
                assert str(error) == IN_BATCH
                refused += 1
            else:
                assert not (was_running and core.is_running())
        thread.join()
        if refused > 1000:
            return
    pytest.fail(f"refused {refused} times only")


def test_what_counts_elsewhere_does_not_keep_others_waiting(exchange: Exchange) -> None:
    for command in ({"cmd": "asset", "asset": "BTC", "decimals": 8},
                    {"cmd": "collateral", "asset": "USDT", "value_asset": "BTC",
                     "tiers": [{"max_amount": None, "weight": "0.9"}]}):
        exchange.submit(command)
    rows = deposits(1_000_000)
    thread = threading.Thread(target=exchange.submit_many, args=(rows,))
    began, looks = time.monotonic(), []
    thread.start()
    while thread.is_alive():
        looks.append(time.monotonic() - began)
    thread.join()
    assert exchange.query({"query": "account", "account": 1})["balances"]["USDT"] == "10000"
    # Each deposit looks for the pool in which the wallet counts.
    assert len([at for at in looks if at > looks[-1] / 4]) > 10


def test_a_refused_call_leaves_names_and_notes_as_they_are() -> None:
    for _ in range(50):  # the batch may be over before it was tried
        exchange = small_exchange()
        exchange.submit({"cmd": "asset", "asset": "BTC", "decimals": 19})
        if refusals_beside_a_batch(exchange) == [IN_BATCH] * 7:
            assert exchange.assets == ["USDT"]
            rejected = [each for each in exchange.drain() if each["event"] == "rejected"]
            assert [event["detail"] for event in rejected] == ["decimals must be 0 to 18"]
            return
    pytest.fail("never refused")


def refusals_beside_a_batch(exchange: Exchange) -> list[str]:
    """What another thread is told that drains, asks, subscribes and adds an asset meanwhile."""
    refused = []
    thread = threading.Thread(target=exchange.submit_many, args=(deposits(500_000),))
    thread.start()
    while thread.is_alive() and not exchange.core.is_running():
        pass
    line = {"cmd": "asset", "asset": "BTC", "decimals": 8}
    for use in (exchange.drain_array, lambda: exchange.submit(line), lambda: exchange.apply(line),
                lambda: exchange.add_asset("BTC", 8), lambda: exchange.account(1),
                lambda: exchange.subscribe(print), exchange.drain_arrays):
        try:
            use()
        except RuntimeError as error:
            refused.append(str(error))
    thread.join()
    return refused


@pytest.mark.parametrize("has_gil", [False, True])
def test_a_batch_that_failed_lets_go_of_the_exchange(has_gil: bool) -> None:
    desk = Desk(Exchange())
    desk.symbol()
    desk.account(1)
    fill = [Command.FILL, NONE, 1, 0, NONE, Side.BUY, NONE, 7, 1_234_567, NONE, 0, NONE]
    assert desk.exchange.submit_many(np.array([fill], np.int64)) == 0
    pieces: list[bytes] = []
    desk.exchange.core.snapshot(lambda piece: pieces.append(bytes(piece)))
    # What the position cost, beyond what 64 bits can subtract: measuring it must fail. Fields
    # that mean nothing may hold the same bytes.
    image, cost = b"".join(pieces), struct.pack("=q", 1_234_567)
    assert cost in image
    core = ExchangeCore()
    core.restore(image.replace(cost, struct.pack("=q", 10 - 2**63)))
    rows = deposits(2)
    if has_gil:
        rows[0, [0, 3, 7]] = Command.CANCEL_ALL, NONE, NONE  # takes it back
    # A debug build looks at its books after the first command, and finds it there.
    with pytest.raises(InvariantViolation, match=r"overflow|drift of asset"):
        core.run(rows)
    for use in (lambda: core.run(rows), core.advance):
        assert not core.is_running()
        with pytest.raises(InvariantViolation, match="stopped at an earlier failure"):
            use()
    assert core.drain() == []
