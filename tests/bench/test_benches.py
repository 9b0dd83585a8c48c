"""The benchmarks in their smoke size: that they run, agree with themselves, and are no strawmen."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from engine import bench, cli
from engine.bench import (
    journal,
    liquidation,
    mark_tick,
    market,
    reports,
    risk,
    rivals,
    serving,
    serving_peers,
)
from engine.bench.command import serve_options
from engine.bench.mark_tick import MarkDesk, as_rows, run_mark
from engine.bench.memory import resident_bytes
from engine.bench.population import draw_population, maintenance
from engine.bench.prices import Market
from engine.bench.risk_report import risk_report, write_page
from engine.bench.scan import PlainScan, TightScan
from engine.bench.serving_floor import run_floor
from engine.bench.serving_report import serving_report
from engine.client import Client
from engine.errors import InputError, RunError
from engine.freed import return_freed
from engine.messages import Command

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.bench


# --- mark -----------------------------------------------------------------------------


def test_the_engine_and_the_exact_scan_name_the_same_breaches():
    result = run_mark(mark_tick.SMOKE)
    assert result.crash.first_breaches == result.crash.scan_breaches
    assert len(result.crash.first_breaches) > 100
    assert run_mark(mark_tick.SMOKE).state_hash == result.state_hash


@pytest.mark.skipif(sys.platform != "linux", reason="other libraries keep what is freed")
def test_freed_memory_does_not_hide_growth():
    parts = [np.ones(8000) for _ in range(1000)]
    full = resident_bytes()
    del parts[:-1]  # the last keeps the end of the heap where it is
    return_freed()
    assert resident_bytes() < full - 50_000_000


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read from /proc")
def test_a_million_accounts_take_400_bytes_each():
    program = (
        "from engine.bench.mark_tick import MarkDesk, MarkPlan\n"
        "print(MarkDesk(MarkPlan(1_000_000)).load_bytes)")
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=300)
    assert 300_000_000 < int(run.stdout) <= 400_000_000


def test_another_seed_is_another_population():
    one, same, other = (draw_population(500, 24, seed) for seed in (1, 1, 2))
    assert one.fingerprint() == same.fingerprint() != other.fingerprint()
    counts = np.diff(one.first)
    assert counts.min() == 1 and counts.max() <= 20
    assert (np.diff(one.holder * 24 + one.symbol) > 0).all()  # sorted, and no symbol twice


def test_the_population_follows_the_events():
    plan = replace(mark_tick.SMOKE, accounts=300)
    desk = MarkDesk(plan)
    symbols = desk.market.pick_in_turn(60 * plan.symbols)
    desk.apply(as_rows(symbols, desk.market.walk(symbols, 0.02)))
    assert len(desk.take_started()) > 20
    present = desk.present()
    for account in range(1, plan.accounts + 1):
        mine = slice(present.first[account - 1], present.first[account])
        told = list(zip(present.symbol[mine].tolist(), present.quantity[mine].tolist(),
                        present.entry[mine].tolist(), strict=True))
        views = desk.core.position_views(account)
        assert told == [(v["symbol"], v["quantity"], v["entry_value"]) for v in views]
    desk.core.check()


def brute_force(population, marks):
    """Accounts due by the rule, everything from nothing."""
    worth = population.quantity * marks[population.symbol]
    required = maintenance(population.symbols, population.symbol, np.abs(worth))
    count = population.account_count
    equity, margin = population.wallets.copy(), np.zeros(count, np.int64)
    np.add.at(equity, population.holder, worth - population.entry)
    np.add.at(margin, population.holder, required)
    return set(np.flatnonzero(equity <= margin).tolist())


def test_the_exact_scan_is_exact_through_tiers_and_back():
    population = draw_population(400, 5)
    market = Market(population.symbols, 3)
    scan = TightScan(population, population.symbols.marks)
    marks = population.symbols.marks.copy()
    seen = set()
    for sigma in (0.001, 0.3):
        symbols = market.pick_popular(150)
        for symbol, mark in as_rows(symbols, market.walk(symbols, sigma)):
            marks[symbol] = mark
            found = set(scan.tick(symbol, mark).tolist())
            assert found == brute_force(population, marks) - seen
            seen |= found
    assert seen


def test_all_scans_find_about_the_same():
    population = draw_population(3000, 24)
    market = Market(population.symbols, 3)
    marks = population.symbols.marks
    scans = [TightScan(population, marks), TightScan(population, marks, np.float64),
             PlainScan(population, marks)]
    symbols = market.pick_popular(300)
    found = [set(), set(), set()]
    for symbol, mark in as_rows(symbols, market.walk(symbols, 0.02)):
        for scan, names in zip(scans, found, strict=True):
            names.update(scan.tick(symbol, mark).tolist())
    assert len(found[0]) > 30
    # Floats may differ within a minor unit of the threshold.
    assert len(found[0] ^ found[1]) <= 1 and len(found[0] ^ found[2]) <= 1


# --- risk -----------------------------------------------------------------------------


def test_the_risk_core_and_its_rivals_name_the_same_breaches():
    result = risk.run_risk(risk.SMOKE)
    assert result.disagreements == []
    assert [one.victims for one in result.breaches] == [one.predicted for one in result.breaches]
    assert len(result.crash.first_breaches) > 100
    assert risk.NUMPY in result.crash_rivals
    assert rivals.has_numba() == (risk.HOLDERS in result.crash_rivals)
    assert risk.run_risk(risk.SMOKE).state_hash == result.state_hash


def test_without_numba_its_rows_are_left_out(monkeypatch):
    monkeypatch.setattr(risk, "has_numba", lambda: False)
    result = risk.run_risk(replace(risk.SMOKE, accounts=300))
    report = risk_report(result)
    assert list(result.crash_rivals) == [risk.NUMPY] and result.disagreements == []
    assert any(note.startswith("numba is not installed") for note in report.notes)


def plain_loop(loop):
    """The loops as they are written: slow, but the same."""
    return loop


def test_the_loops_for_numba_say_what_numpy_says(monkeypatch):
    monkeypatch.setattr(rivals, "_compiled", plain_loop)
    population = draw_population(400, 24)
    marks = population.symbols.marks
    market = Market(population.symbols, 3)
    several = [rivals.NumbaHolders(population, marks), rivals.NumbaFull(population, marks),
               rivals.NumpyFull(population, marks), TightScan(population, marks)]
    symbols = market.pick_popular(60)
    seen = 0
    for symbol, mark in as_rows(symbols, market.walk(symbols, 0.1)):
        found = [set(rival.tick(symbol, mark).tolist()) for rival in several]
        assert found[0] == found[3] and found[1] == found[2]
        assert found[1] >= found[0]  # recomputing also names who was due on the way
        seen += len(found[0])
    assert seen > 10


def test_the_page_has_the_charts_and_the_tables(tmp_path):
    pytest.importorskip("plotly")
    result = risk.run_risk(replace(risk.SMOKE, accounts=300, rounds=1))
    write_page([result, result], tmp_path / "risk.html")
    text = (tmp_path / "risk.html").read_text(encoding="utf-8")
    assert text.count("plotly-graph-div") >= 3 and result.state_hash in text


# --- market data ----------------------------------------------------------------------


def test_listening_changes_nothing_and_listeners_have_the_book():
    result = market.run_market(market.SMOKE)
    assert result.agrees
    assert result.ways[0].messages == 0 and result.ways[1].messages > 1000


# --- liquidations -----------------------------------------------------------------------


def test_each_way_liquidates_all_victims_to_the_same_state():
    result = liquidation.run_liquidation(replace(liquidation.SMOKE, repeats=2))
    assert not result.disagreements
    by_way = {one.way: one for one in result.cascades if one.breach == 60}
    assert by_way["book"].trades > 0 and by_way["book"].takeovers == 0
    assert by_way["fund"].takeovers == by_way["fund"].steps > 0
    assert by_way["deleveraged"].deleveraged > 0 and by_way["deleveraged"].trades == 0
    assert by_way["mixed"].trades > 0 and by_way["mixed"].takeovers > 0


# --- the server -----------------------------------------------------------------------


def test_a_server_is_measured_and_everything_it_acknowledged_is_there(tmp_path):
    plan = replace(serving.SMOKE, folder=str(tmp_path))
    (turn,), recovery = serving.run_serving(plan, lambda note: None)
    assert turn.failures == [] and recovery.failures == []
    assert turn.commands_s > 0 and len(turn.round_trips) == 10
    assert len(turn.mark_latencies) == len(turn.late) == 500 and turn.mark_latencies.min() > 0
    assert recovery.replayed == recovery.tail == 500 and recovery.ready_s > 0
    assert recovery.snapshot_s > 0 and recovery.pause_ms > 0
    floor = run_floor(plan, lambda note: None)
    assert floor.failures == [] and len(floor.mark_latencies) == 500
    assert floor.mark_latencies.min() > 0 and floor.mark_cpu_us > 0
    report = serving_report(plan, [turn], recovery, floor)
    text = "\n".join(report.plain())
    assert not report.failures and turn.state_hash in text and "an echo, no engine" in text
    turn.failures.append("one is missing")
    assert serving_report(plan, [turn], recovery, floor).failures == ["one is missing"]


def test_a_journal_that_leads_elsewhere_is_a_failure(tmp_path):
    journal = str(tmp_path / "journal")
    with serving.Server(journal) as server:
        with Client(server.endpoint("commands"), "me", timeout_s=60) as client:
            client.send({"cmd": "asset", "asset": "USDT", "decimals": 6})
            state_hash = client.query({"query": "state_hash"})["state_hash"]
        server.kill()
    assert serving._verified(journal, 1, state_hash) == []
    (problem,) = serving._verified(journal, 2, state_hash)
    assert problem.startswith("the journal replays to 1, ")
    with pytest.raises(RunError, match=r"the server does not start: .*unheard of"):
        with serving.Server(journal, "--core", "unheard of"):
            pass


def test_orders_of_a_client_are_placed_and_cancelled():
    job = serving_peers.OrderJob("", 1, 3, 11, [1000, 2000])
    tables = serving_peers.make_orders(job)
    assert [len(table) for table in tables] == [11, 11, 11]
    for before, table in pairwise(tables):
        placed = {int(row["order_id"]) for row in before if row["cmd"] == Command.ORDER}
        cancelled = {int(row["order_id"]) for row in table if row["cmd"] == Command.CANCEL}
        assert len(placed) == 6 and len(cancelled) == 5 and cancelled <= placed


# --- how they are run -----------------------------------------------------------------


def test_reports_carry_their_hash_and_what_is_excluded():
    names = [name for name in bench.NAMES if name != "serve"]  # tried above
    for report in (each for name in names for each in reports(name, "smoke", accounts=500)):
        text = "\n".join(report.plain())
        # One command is no distribution.
        assert "p99.9" in text or report.title.startswith("liquidations")
        assert re.search("(state|content)_hash", text) and not report.failures
        assert "included" in text and max(map(len, report.notes)) < 300


def run_module(*arguments):
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True,
        timeout=120, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def test_the_command():
    done = run_module("engine", "bench", "mark", "--size", "smoke", "--accounts", "300")
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.startswith("processor") and "== mark tick, 300 accounts" in done.stdout


@pytest.mark.parametrize(
    "arguments", [
        ("marks",), ("mark", "--size", "big"), ("book", "--accounts", "5"),
        ("mark", "--commands", "5000"), ("mark", "--stream", "flat"),
        ("risk", "--commands", "5000"), ("market", "--commands", "5000"), ("mark", "--largest"),
        ("book", "--page", "x.html"),
        ("book", "--stream", "shallow"), ("book", "--commands", "10"),
    ])
def test_what_the_command_refuses(arguments, capsys):
    assert cli.call(cli.app, ["bench", *arguments]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("error: ") and said.err.count("\n") == 1 and said.out == ""


def test_the_pytest_way():
    done = run_module("pytest", "bench", "-q", "-p", "no:cacheprovider", "--benchmark-disable")
    assert done.returncode == 0, done.stdout + done.stderr


# --- journal --------------------------------------------------------------------------


def test_all_stores_hold_what_was_appended(tmp_path):
    plan = replace(journal.SMOKE, folder=str(tmp_path))
    results = journal.run_journal(plan, lambda note: None)
    report = journal.journal_report(results)
    assert report.failures == [] and len(report.tables) == len(plan.rounds)
    assert {one.name for one in results} >= {"segments", "sqlite, a row a command"}
    assert [len(one.times_ns) for one in results if one.name == "segments"] == [5, 3]
    results[1].digest = "other"
    assert journal.journal_report(results).failures == [
        f"{results[1].name} holds something else"]
    assert list(tmp_path.iterdir()) == []


def test_options_of_the_server_go_with_it():
    given = serve_options("serve", 100, None, ["off", "batch"])
    assert given == {"rate": 100, "journals": ("off", "batch")}
    assert serve_options("mark", None, None, None) == {}
    with pytest.raises(InputError, match="go with serve or all"):
        serve_options("mark", 5, None, None)
    with pytest.raises(InputError, match="--journal on: expected batch, always or off"):
        serve_options("serve", None, None, ["on"])
