"""The book benchmark in its smoke size: same trades every way, honest clocks, the stated mix."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from engine import cli
from engine.bench import book, latency, reports, ways
from engine.bench.book_report import book_report
from engine.bench.book_summary import highest, lowest, ratios, speeds, summary_report
from engine.bench.latency import pace, response_times
from engine.bench.plain_book import PlainBook
from engine.bench.stream import AMEND, CANCEL, MIXES, PLACE, hash_trades, make_stream
from engine.bench.ways import BATCHES, WAYS, Prepared

pytestmark = pytest.mark.bench


@cache
def smoke(stream):
    return book.run_book(replace(book.SMOKE, stream=stream))


# --- streams --------------------------------------------------------------------------


@pytest.mark.parametrize("stream", MIXES)
def test_the_mix_is_what_it_says(stream):
    made, mix = make_stream(stream, 20_000, resting=10_000), MIXES[stream]
    plain = PlainBook()
    for row in made.prefill.tolist():
        assert plain.apply(row) == 0
    counts = dict.fromkeys(("adds", "cancels", "crossing", "market", "amends"), 0)
    for row in made.commands.tolist():
        traded = plain.apply(row)
        if row[0] == PLACE:
            kind = "market" if row[4] == 0 else "crossing" if traded > 0 else "adds"
            counts[kind] += 1
        else:
            assert row[0] in (CANCEL, AMEND)
            counts["cancels" if row[0] == CANCEL else "amends"] += 1
    shares = [100 * count / len(made.commands) for count in counts.values()]
    assert shares == pytest.approx(mix.percents, abs=1.5)
    assert sum(mix.percents) == 100


def test_the_streams_are_what_they_are_for():
    made = {name: make_stream(name, 5000, resting=50_000) for name in MIXES}
    assert 2500 < made["canonical"].resting_min and made["canonical"].resting_max < 3500
    assert made["flat"].levels_max < 30 and made["flat"].resting_min > 2500
    assert made["wide"].levels_max > 20_000
    assert made["cancel"].trade_count < made["canonical"].trade_count / 4
    takers = 20  # per 1,000 commands, crossing and market
    assert made["sweep"].trade_count > 8 * takers * 5
    assert len(made["deep"].prefill) == 50_000 and MIXES["deep"].size == 1_000_000


def test_a_stream_follows_from_its_seed_and_a_shorter_one_is_its_beginning():
    one, same, other = (make_stream("canonical", 2000, seed) for seed in (1, 1, 2))
    assert (one.commands == same.commands).all() and one.trades == same.trades
    assert one.trades != other.trades and (one.prefill != other.prefill).any()
    longer = make_stream("canonical", 3000, 1)
    assert (longer.commands[:2000] == one.commands).all()
    assert (longer.prefill == one.prefill).all()


def test_a_beginning_keeps_the_orders_that_it_names():
    made = make_stream("wide", 2000)
    head = made.head(200, resting=300)
    named = set(head.commands[head.commands[:, 0] != PLACE, 2].tolist())
    resting = set(head.prefill[:, 2].tolist())
    assert len(head.commands) == 200 and len(resting) == 300
    assert named & set(made.prefill[:, 2].tolist()) <= resting


# --- the same trades every way --------------------------------------------------------


@pytest.mark.parametrize("stream", MIXES)
def test_everyone_makes_the_same_trades(stream):
    result = smoke(stream)
    assert result.agrees
    assert result.stream.trade_count > 100
    assert len(result.paced_sent) == 2 and result.state_hash


@pytest.mark.parametrize("stream", MIXES)
def test_the_hash_is_the_same_by_call_and_in_batches_of_any_size(stream):
    prepared = Prepared(make_stream(stream, 2000, seed=5, resting=2000))
    hashes = {way.name: way.send(prepared).trades for way in WAYS}
    hashes |= {size: ways.send_batches(prepared, size, ways.BookHost).trades for size in (3, 1999)}
    assert set(BATCHES) == {1, 7, 1000, 0}
    assert len(set(hashes.values())) == 1
    assert hash_trades(b"") not in hashes.values()


@pytest.mark.parametrize("stream", MIXES)
def test_the_books_end_up_alike(stream):
    from engine.core import OrderBook

    made = make_stream(stream, 4000, seed=9, resting=4000)
    compiled, plain = OrderBook(), PlainBook()
    for part in (made.prefill, made.commands):
        refused = compiled.run(part)
        assert refused == sum(plain.apply(row) < 0 for row in part.tolist())
    for side in (0, 1):
        assert compiled.levels(side) == plain.levels(side)


def test_another_trade_fails_the_run(monkeypatch, capsys):
    def wrong(prepared):
        return replace(ways.send_batches(prepared, 7, ways.BookHost), trades="0" * 32)

    broken = [replace(way, send=wrong) if way.name == "book, batches of 7" else way
              for way in WAYS]
    monkeypatch.setattr(book, "WAYS", broken)
    result = book.run_book(replace(book.SMOKE, stream="flat"))
    assert result.disagreements() == ["book, batches of 7"]
    assert "NO: book, batches of 7" in "\n".join(book_report(result).plain())
    asked = ["bench", "book", "--size", "smoke", "--stream", "flat"]
    assert cli.call(cli.app, asked) == 1
    said = capsys.readouterr()
    assert said.err == "error: order book, flat stream: other trades by book, batches of 7\n"
    assert "the figures to quote" in said.out  # everything is printed all the same


def test_a_paced_exchange_that_ends_elsewhere_is_noticed():
    result = smoke("canonical")
    name = f"{ways.EXCHANGE_CALLS_EACH.name}, paced"
    elsewhere = [replace(sent, state="0" * 32) for sent in result.paced_sent[name]]
    other = replace(result, paced_sent=result.paced_sent | {name: elsewhere})
    assert other.disagreements() == [name]


def test_a_rival_that_makes_other_trades_is_noticed():
    result = smoke("canonical")
    unlike = [replace(one, agrees=False) for one in result.rivals["accounts"]]
    other = replace(result, rivals=result.rivals | {"accounts": unlike})
    assert other.disagreements() == ["the reference core"]


# --- latency --------------------------------------------------------------------------


def test_a_pause_is_charged_to_every_call_that_it_makes_late():
    def call(number):
        if number == 2:
            time.sleep(0.05)

    gap_ns = 50_000
    calls = [(call, (number,), False) for number in range(1000)]
    done = pace(calls, np.arange(1, 1001) * gap_ns, bytes, is_kept=True)
    assert (done.latencies > 0).all()
    for number in (2, 3, 102, 500):  # those meant to be sent meanwhile wait for its end
        assert done.latencies[number] >= 50_000_000 - (number - 2) * gap_ns
    assert done.away > 40_000_000  # asleep, the thread did not have the core


def test_calls_are_not_sent_before_their_time():
    sent, start = [], time.perf_counter_ns()
    calls = [(lambda: sent.append(time.perf_counter_ns()), (), False)] * 20
    pace(calls, np.arange(1, 21) * 200_000, bytes, is_kept=False)
    assert len(sent) == 20
    assert sent[-1] - start >= 20 * 200_000


def test_what_came_back_is_kept_in_order():
    calls = [(lambda n=n: n % 3, (), n % 2 == 0) for n in range(100)]
    fetched = iter(range(100))
    done = pace(calls, np.arange(100), lambda: bytes([next(fetched)]), is_kept=True)
    expected = sum(1 for n in range(100) if n % 2 == 0 and n % 3)
    assert b"".join(done.kept) == bytes(range(expected))


@pytest.mark.parametrize("stream", MIXES)
def test_percentiles_are_in_order(stream):
    rows = smoke(stream).paced
    assert [row.load for row in rows] == [*latency.LOADS, *latency.LOADS]
    for row in rows:
        spread = row.spread
        assert 0 < spread.p50 <= spread.p99 <= spread.p999 <= spread.max <= row.max_of_all
        assert 0 <= row.share_used <= 1 and row.queue.p50 <= row.queue.p99
    for some in (rows[:3], rows[3:]):
        assert some[0].rate < some[1].rate < some[2].rate


def test_responses_include_the_queue():
    service = np.array([100] * 9 + [5000] + [100] * 90)
    idle = response_times(service, 1e-9)
    assert (idle == service).all()
    busy = response_times(service, 0.9)
    assert (busy >= service).all() and busy[10:20].mean() > 1000


# --- memory ---------------------------------------------------------------------------


@pytest.mark.parametrize("stream", ["canonical", "wide", "sweep"])
def test_a_warm_book_allocates_nothing(stream):
    memory = smoke(stream).memory
    if memory is None:
        pytest.skip("the system does not tell")
    assert memory.resting == 3000
    if memory.heap is not None:
        assert memory.heap > 3000 * 24 and memory.second_heap == 0


# --- reports --------------------------------------------------------------------------


def test_the_worst_is_the_least():
    figures = {"canonical": 3.0, "flat": 5.0, "deep": 1.0, "wide": 1.0}
    assert lowest(figures) == (1.0, "deep") and highest(figures) == (5.0, "flat")
    results = [smoke("canonical"), smoke("flat"), smoke("wide")]
    report = summary_report(results)
    quoted = next(table for table in report.tables if table.title.startswith("the worst stream"))
    for way, row in enumerate(quoted.rows):
        costs = {result.stream.name: result.runs[way].cost for result in results}
        slowest = max(costs, key=lambda name: costs[name])
        assert row[1:3] == (f"{1e9 / costs[slowest]:,.0f}", slowest)
        assert min(speeds(results, way).values()) == speeds(results, way)[slowest]
        assert row[4] == lowest(ratios(results, way, "book"))[1]


def test_a_run_of_some_streams():
    made = list(reports(
        "book", "smoke", commands=2000, streams=["sweep", "flat", "sweep"]))
    assert [report.title for report in made] == [
        "order book, sweep stream", "order book, flat stream", "order book, the figures to quote"]
    assert all(("commands", "2,000 (seed 1)") in report.facts for report in made[:2])
