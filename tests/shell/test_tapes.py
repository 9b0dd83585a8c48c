"""Recorded markets rebuilt in the order book: small ones by hand, real ones by their record."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from engine.cli import call
from engine.core import OrderBook
from engine.errors import InvariantViolation, RunError
from engine.feeds.depth import BookTicker, DepthSnapshot, DepthUpdate
from engine.feeds.lobster import Kind, Message, Phase
from engine.feeds.quotes import Quote
from engine.messages import Side
from engine.tapes import (
    DepthTape,
    Difference,
    OrderTape,
    TickerCheck,
    align,
    compare_depth,
    compare_orders,
    rebuild_orders,
)
from engine.tapes import depth as depth_module
from engine.tapes import tickers as tickers_module
from engine.tapes.__main__ import app
from engine.units import Grid

BUY, SELL = Side.BUY, Side.SELL

# --- single orders --------------------------------------------------------------------


class Script:
    """Builds messages, numbers them, and applies them to a tape."""

    def __init__(self) -> None:
        self.notes: list[tuple[int, str]] = []
        self.tape = OrderTape(lambda line, text: self.notes.append((line, text)))
        self.messages: list[Message] = []

    def add(
        self, kind: Kind, order_id: int, lots: int, price: int, side: Side = SELL, at: int = 0
    ) -> None:
        line = len(self.messages) + 1
        self.messages.append(Message(line, at or line, kind, order_id, lots, price, side))

    def run(self, whole_sweeps: bool = False) -> list[tuple[int, Quote]]:
        return list(rebuild_orders(self.messages, self.tape, whole_sweeps))

    @property
    def asks(self) -> list[tuple[int, int]]:
        return self.tape.book.levels(SELL)


def test_quotes_follow_listings_reductions_deletions_and_executions():
    script = Script()
    script.add(Kind.NEW, 1, 10, 101)
    script.add(Kind.NEW, 2, 4, 99, BUY)
    script.add(Kind.NEW, 3, 5, 102)
    script.add(Kind.REDUCE, 1, 3, 101)
    script.add(Kind.EXECUTE, 1, 7, 101)
    script.add(Kind.HIDDEN, 0, 7, 101)
    script.add(Kind.CROSS, -1, 7, 101)
    script.add(Kind.DELETE, 2, 4, 99, BUY)
    assert script.run() == [
        (1, Quote(None, 0, 101, 10)), (2, Quote(99, 4, 101, 10)), (4, Quote(99, 4, 101, 7)),
        (5, Quote(99, 4, 102, 5)), (8, Quote(None, 0, 102, 5)),
    ]
    figures = script.tape.figures
    assert (figures.agreed_count, figures.contested_count, figures.aggressor_count) == (1, 0, 1)
    assert figures.messages == {
        Kind.NEW: 3, Kind.REDUCE: 1, Kind.EXECUTE: 1, Kind.HIDDEN: 1, Kind.CROSS: 1, Kind.DELETE: 1}
    assert script.notes == []


@pytest.mark.parametrize("whole_sweeps", [False, True])
def test_a_sweep_is_one_order_or_several(whole_sweeps):
    script = Script()
    for order_id, price in ((1, 101), (2, 101), (3, 102), (4, 103)):
        script.add(Kind.NEW, order_id, 5, price)
    for order_id, lots, price in ((1, 2, 101), (1, 3, 101), (2, 5, 101), (3, 1, 102)):
        script.add(Kind.EXECUTE, order_id, lots, price, at=50)
    script.add(Kind.EXECUTE, 3, 4, 102, at=51)
    quotes = script.run(whole_sweeps)
    figures = script.tape.figures
    assert (figures.agreed_count, figures.messages[Kind.EXECUTE]) == (5, 5)
    assert (figures.aggressor_count, figures.sweep_count) == ((2, 1) if whole_sweeps else (5, 0))
    assert [line for line, _ in quotes if line > 4] == (
        [8, 9] if whole_sweeps else [5, 6, 7, 8, 9])
    assert script.asks == [(103, 5)]


@pytest.mark.parametrize("whole_sweeps", [False, True])
def test_an_execution_out_of_turn_reduces_the_order_named_and_is_counted(whole_sweeps):
    script = Script()
    for order_id, price in ((1, 101), (2, 101), (3, 102)):
        script.add(Kind.NEW, order_id, 5, price)
    script.add(Kind.EXECUTE, 2, 2, 101, at=50)  # order 1 was first
    script.add(Kind.EXECUTE, 3, 5, 102, at=50)  # 101 was better
    script.add(Kind.EXECUTE, 1, 5, 101, at=50)
    script.run(whole_sweeps)
    figures = script.tape.figures
    assert (figures.overtaken_count, figures.away_count, figures.agreed_count) == (1, 1, 1)
    assert figures.contested_count == 1
    assert script.notes == [
        (4, "order 2: trades before order 1, which was first in turn"),
        (5, "order 3: trades at 102, the best is 101"),
    ]
    assert script.tape.book.queue(SELL, 101) == [(1, 2, 3)]


def test_unknown_orders_are_left_out_and_counted():
    script = Script()
    script.add(Kind.NEW, 7, 5, 101)
    script.add(Kind.DELETE, 5, 5, 101)
    script.add(Kind.EXECUTE, 6, 5, 100)
    script.add(Kind.EXECUTE, 6, 5, 100)
    script.add(Kind.REDUCE, 5, 1, 101)
    assert script.run() == [(1, Quote(None, 0, 101, 5))]
    figures = script.tape.figures
    assert figures.unknown == {Kind.DELETE: 1, Kind.EXECUTE: 2, Kind.REDUCE: 1}
    assert figures.unknown_ids == {5, 6}
    assert script.notes[0] == (2, "order 5: delete of an order that is not in the book")


def test_a_late_listing_takes_the_turn_of_its_age():
    script = Script()
    for order_id in (10, 30, 20):
        script.add(Kind.NEW, order_id, order_id, 101)
    script.add(Kind.NEW, 5, 5, 102)
    script.run()
    assert script.tape.book.queue(SELL, 101) == [(1, 10, 10), (1, 20, 20), (1, 30, 30)]
    assert script.tape.figures.late_count == 2


def test_a_listing_that_would_trade_takes_off_what_must_be_gone():
    script = Script()
    for order_id, price in ((1, 101), (2, 101), (3, 102), (4, 103)):
        script.add(Kind.NEW, order_id, 5, price)
    script.add(Kind.NEW, 5, 5, 102, BUY)  # the file lacks what became of 1, 2 and 3
    script.add(Kind.DELETE, 2, 5, 101)
    script.add(Kind.NEW, 6, 5, 100)  # nor of 5
    assert script.run()[-2:] == [(5, Quote(102, 5, 103, 5)), (7, Quote(None, 0, 100, 5))]
    figures = script.tape.figures
    assert (figures.stale_count, figures.crossing_count) == (4, 0)
    assert figures.unknown == {Kind.DELETE: 1}
    assert script.notes[0] == (5, "order 5: would trade with order 1 at 101")


def test_a_listing_that_crosses_in_a_halt_is_left_out():
    script = Script()
    script.add(Kind.NEW, 1, 5, 101)
    script.add(Kind.HALT, 0, 0, Phase.QUOTING)
    script.add(Kind.NEW, 2, 5, 101, BUY)
    assert script.run() == [(1, Quote(None, 0, 101, 5))]
    figures = script.tape.figures
    assert (figures.stale_count, figures.crossing_count) == (0, 1)
    assert script.notes == [(3, "order 2: crosses the book at 101 in a halt")]


def test_what_contradicts_an_order_is_applied_as_far_as_it_fits():
    script = Script()
    script.add(Kind.NEW, 1, 5, 101)
    script.add(Kind.NEW, 1, 9, 103)  # there already
    script.add(Kind.EXECUTE, 1, 2, 104)  # at 101 in truth
    script.add(Kind.DELETE, 1, 2, 101)  # 3 are open
    script.add(Kind.NEW, 2, 5, 101)
    script.add(Kind.EXECUTE, 2, 6, 101, at=50)  # 5 are open
    script.add(Kind.NEW, 3, 5, 101)
    script.add(Kind.REDUCE, 3, 6, 101)
    script.run()
    assert script.asks == []
    figures = script.tape.figures
    assert (figures.contradiction_count, figures.agreed_count) == (5, 1)
    assert (figures.overtaken_count, figures.away_count) == (0, 0)


def test_executions_of_a_sweep_beyond_the_order_are_taken_one_by_one():
    script = Script()
    script.add(Kind.NEW, 1, 5, 101)
    script.add(Kind.EXECUTE, 1, 5, 101, at=50)
    script.add(Kind.EXECUTE, 1, 1, 101, at=50)
    script.run(whole_sweeps=True)
    figures = script.tape.figures
    assert (figures.agreed_count, figures.unknown[Kind.EXECUTE]) == (1, 1)


def test_nothing_is_driven_through_the_book_in_a_halt():
    script = Script()
    script.add(Kind.NEW, 1, 5, 101)
    script.add(Kind.NEW, 2, 5, 101)
    script.add(Kind.HALT, 0, 0, Phase.HALTED)
    script.add(Kind.EXECUTE, 2, 5, 101)  # the reopening auction has its own order
    script.add(Kind.HALT, 0, 0, Phase.QUOTING)
    script.add(Kind.EXECUTE, 1, 1, 101)
    script.add(Kind.HALT, 0, 0, Phase.TRADING)
    script.add(Kind.EXECUTE, 1, 1, 101)
    script.run()
    figures = script.tape.figures
    assert (figures.auction_count, figures.agreed_count, figures.overtaken_count) == (2, 1, 0)
    assert (script.asks, figures.messages[Kind.HALT]) == ([(101, 3)], 3)


def test_a_book_that_breaks_its_own_queue_stops_the_run():
    class Unfair:
        """A book that trades with the last in turn."""

        def __init__(self) -> None:
            self.book = OrderBook()

        def __getattr__(self, name: str) -> object:
            return getattr(self.book, name)

        def queue(self, side: int, price: int) -> list[tuple[int, int, int]]:
            return self.book.queue(side, price)[::-1]

    script = Script()
    script.tape.book = Unfair()
    script.add(Kind.NEW, 1, 5, 101)
    script.add(Kind.NEW, 2, 5, 101)
    script.add(Kind.EXECUTE, 2, 1, 101)
    with pytest.raises(InvariantViolation, match="first in turn were"):
        script.run()


# --- agreement of sequences -----------------------------------------------------------


def edit_count(ours: list[int], theirs: list[int]) -> int:
    """Fewest insertions and deletions from ours to a beginning of theirs, by the whole table."""
    row = list(range(len(theirs) + 1))
    for i, state in enumerate(ours, 1):
        after = [i]
        for j, other in enumerate(theirs, 1):
            after.append(row[j - 1] if state == other else min(row[j], after[j - 1]) + 1)
        row = after
    return min(row)


def test_alignment_is_the_shortest_and_its_differences_tell_all():
    draw = random.Random(5)
    for _ in range(1500):
        ours = [draw.randrange(3) for _ in range(draw.randrange(8))]
        theirs = [draw.randrange(3) for _ in range(draw.randrange(10))]
        found = align(ours, theirs)
        edits = found.ours_count + found.theirs_count - 2 * found.matched_count
        assert edits == edit_count(ours, theirs)
        rebuilt, at = [], 0
        for difference in found.differences:
            rebuilt += ours[at : difference.ours.start]
            assert difference.theirs.start == len(rebuilt)
            rebuilt += theirs[difference.theirs.start : difference.theirs.stop]
            at = difference.ours.stop
        assert rebuilt + ours[at:] == theirs[: found.theirs_count]


def test_alignment_ends_where_ours_does_and_gives_up_on_strangers():
    found = align("abxcd", "abcdefg")
    assert (found.matched_count, found.theirs_count, found.share) == (4, 4, 0.8)
    assert found.differences == (Difference(range(2, 3), range(2, 2)),)
    assert align("", "abc").share == 1.0
    with pytest.raises(RunError, match="more than 3 edits"):
        align("abcd", "wxyz", edit_count_max=3)


# --- price levels ---------------------------------------------------------------------


def update(previous: int, first: int, last: int, bids=(), asks=(), line: int = 0) -> DepthUpdate:
    return DepthUpdate(line, 0, None, first, last, previous, list(bids), list(asks))


def snapshot(last: int, bids=((99, 5),), asks=((101, 5),)) -> DepthSnapshot:
    return DepthSnapshot(0, 0, None, last, list(bids), list(asks))


def synced(last: int = 100) -> tuple[DepthTape, list[tuple[int, Quote]], list[tuple[int, str]]]:
    quotes: list[tuple[int, Quote]] = []
    notes: list[tuple[int, str]] = []
    tape = DepthTape(
        lambda book_id, quote: quotes.append((book_id, quote)),
        lambda line, text: notes.append((line, text)),
    )
    tape.apply_snapshot(snapshot(last))
    return tape, quotes, notes


def test_updates_before_the_snapshot_wait_for_it():
    tape = DepthTape()
    tape.apply_update(update(80, 85, 90, bids=[(99, 1)]))  # in the snapshot already
    tape.apply_update(update(90, 91, 105, bids=[(99, 7)]))
    tape.apply_update(update(105, 110, 112, asks=[(101, 0), (102, 3)]))
    assert (tape.last_id, tape.quote()) == (None, Quote(None, 0, None, 0))
    tape.apply_snapshot(snapshot(100))
    assert (tape.last_id, tape.quote()) == (112, Quote(99, 7, 102, 3))
    assert (tape.figures.covered_count, tape.figures.applied_count) == (1, 2)


@pytest.mark.parametrize(
    "previous, first, last, joins",
    [
        (90, 91, 105, True),  # U <= L <= u
        (99, 101, 105, True),
        (100, 101, 105, True),  # spot: U = L + 1
        (100, 104, 105, True),  # futures: nothing happened to this symbol in between
        (101, 102, 105, False),
        (104, 105, 106, False),
    ],
)
def test_first_update_behind_a_snapshot(previous, first, last, joins):
    tape, _, notes = synced(100)
    tape.apply_update(update(previous, first, last, bids=[(100, 1)]))
    assert (tape.last_id == last, tape.figures.gap_count == 0, not notes) == (joins,) * 3


def test_an_update_that_ends_at_the_snapshot_is_covered():
    tape, quotes, _ = synced(100)
    tape.apply_update(update(90, 95, 100, bids=[(99, 1)]))
    assert (tape.figures.covered_count, quotes) == (1, [(100, Quote(99, 5, 101, 5))])


def test_a_gap_voids_the_book_until_the_next_snapshot():
    tape, quotes, notes = synced(100)
    tape.apply_update(update(100, 101, 105, bids=[(100, 1)], line=5))
    tape.apply_update(update(106, 107, 109, bids=[(100, 2)], line=6))
    assert (tape.last_id, tape.quote()) == (None, Quote(None, 0, None, 0))
    assert notes == [(6, "follows update 106, not 105")]
    tape.apply_update(update(109, 110, 112, bids=[(100, 3)]))
    tape.apply_snapshot(snapshot(108))
    assert tape.quote() == Quote(100, 3, 101, 5)
    assert [book_id for book_id, _ in quotes] == [100, 105, 108, 109, 112]
    tape.finish()
    assert (tape.figures.gap_count, tape.figures.lost_count) == (1, 0)


def test_a_snapshot_that_is_too_old_is_followed_by_a_gap():
    tape = DepthTape()
    tape.apply_update(update(105, 106, 110))
    tape.apply_update(update(110, 111, 113))
    tape.apply_snapshot(snapshot(100))
    assert (tape.last_id, tape.figures.gap_count) == (None, 1)
    tape.finish()
    assert tape.figures.lost_count == 2


def test_repeated_updates_and_spare_snapshots_change_nothing():
    tape, quotes, _ = synced(100)
    for _ in range(2):
        tape.apply_update(update(100, 101, 105, bids=[(99, 9)]))
        tape.apply_snapshot(snapshot(104))
    assert (tape.figures.covered_count, tape.figures.spare_snapshot_count) == (1, 2)
    assert quotes[-1] == (105, Quote(99, 9, 101, 5)) and len(quotes) == 2


def test_waiting_is_bounded(monkeypatch):
    monkeypatch.setattr(depth_module, "BUFFER_LENGTH_MAX", 3)
    tape = DepthTape()
    for last in range(1, 6):
        tape.apply_update(update(last - 1, last, last))
    assert tape.figures.lost_count == 2
    tape.apply_snapshot(snapshot(2))
    assert (tape.last_id, tape.figures.applied_count) == (5, 3)


def test_an_update_may_move_both_sides_at_once():
    tape, _, notes = synced()
    # The new bid stands where the ask was, and is listed before it.
    tape.apply_update(update(100, 101, 102, bids=[(101, 4), (98, 0)], asks=[(101, 0), (103, 6)]))
    assert (tape.quote(), notes) == (Quote(101, 4, 103, 6), [])
    tape.apply_update(update(102, 103, 104, bids=[(101, 8)]))
    tape.apply_update(update(104, 105, 106, bids=[(101, 2), (55, 1)]))
    assert tape.levels.book.levels(BUY) == [(101, 2), (99, 5), (55, 1)]


def test_a_level_that_would_cross_is_left_out_and_reported():
    tape, _, notes = synced()
    tape.apply_update(update(100, 101, 102, bids=[(101, 4), (100, 1)], line=8))
    assert (tape.quote(), tape.figures.crossing_count) == (Quote(100, 1, 101, 5), 1)
    assert notes == [(8, "1 levels would trade with the other side")]


# --- tickers --------------------------------------------------------------------------


def ticker(update_id: int, bid: int, lots: int = 1) -> BookTicker:
    return BookTicker(0, 0, None, update_id, bid, lots, 200, 1)


def quote(bid: int, lots: int = 1) -> Quote:
    return Quote(bid, lots, 200, 1)


def test_the_ticker_that_held_at_the_updates_id_is_compared():
    check = TickerCheck()
    check.add_quote(4, quote(90))  # before the first ticker
    for update_id, bid in ((5, 100), (8, 101), (12, 102)):
        check.add_ticker(ticker(update_id, bid), None, Quote(None, 0, None, 0))
    check.add_quote(8, quote(101))
    check.add_quote(9, quote(101, 7))
    check.add_quote(11, quote(100))
    check.add_quote(12, quote(102))  # a later ticker could still be of id 12
    figures = check.figures
    assert (figures.compared_count, figures.unmatched_count) == (3, 1)
    assert (figures.agreed_count, figures.price_agreed_count) == (1, 2)
    assert (figures.same_id_count, figures.agreed_same_id_count) == (1, 1)
    check.add_ticker(ticker(13, 103), None, quote(0))
    assert (figures.compared_count, figures.agreed_count) == (4, 2)
    check.add_quote(20, quote(103))
    check.finish()
    assert figures.unmatched_count == 2


def test_tickers_ahead_of_the_book_and_behind_it_are_told_apart():
    check = TickerCheck()
    check.add_ticker(ticker(5, 100), None, quote(0))
    check.add_ticker(ticker(6, 100), 7, quote(100))
    check.add_ticker(ticker(7, 101), 7, quote(100))
    check.add_ticker(ticker(8, 100), 7, quote(100))
    check.add_ticker(ticker(9, 102), 7, quote(100))
    check.add_ticker(ticker(9, 102), 7, quote(100))
    figures = check.figures
    assert (figures.behind_count, figures.behind_agreed_count) == (2, 1)
    assert (figures.ahead_count, figures.ahead_agreed_count) == (2, 1)
    assert figures.disordered_count == 1


def test_an_empty_side_of_a_ticker_is_an_empty_side():
    check = TickerCheck()
    check.add_ticker(BookTicker(0, 0, None, 5, 0, 0, 200, 1), 6, Quote(None, 0, 200, 1))
    assert check.figures.behind_agreed_count == 1


def test_memory_is_bounded_while_one_stream_is_silent(monkeypatch):
    monkeypatch.setattr(tickers_module, "PENDING_COUNT_MAX", 3)
    check = TickerCheck()
    for book_id in range(1, 6):
        check.add_quote(book_id, quote(100))
    assert check.figures.unmatched_count == 2
    for update_id in range(10, 20):
        check.add_ticker(ticker(update_id, 100), None, quote(100))
    check.add_quote(15, quote(100))
    assert check.figures.unmatched_count == 6 and check.figures.compared_count == 0


# --- the command ----------------------------------------------------------------------


def rows_of(text: str) -> dict[str, str]:
    return dict(line.split(maxsplit=1) for line in text.splitlines())


def test_command_prints_figures_and_findings(tmp_path, capsys):
    messages, quotes = tmp_path / "messages.csv", tmp_path / "orderbook.csv"
    messages.write_text("1,1,1,5,101,-1\n2,1,2,5,99,1\n3,3,9,5,102,-1\n4,4,1,2,101,-1\n")
    quotes.write_text(
        "101,5,-9999999999,0\n101,5,99,5\n102,1,99,5\n101,3,99,5\n101,3,99,6\n")
    assert call(app, ["orders", str(messages), str(quotes)]) == 0
    rows = rows_of(capsys.readouterr().out)
    assert (rows["messages_new"], rows["unknown_delete"], rows["agreed_count"]) == ("2", "1", "1")
    assert (rows["states_here"], rows["states_recorded"], rows["states_agreement"]) == (
        "3", "4", "75.000 %")
    assert call(app, ["orders", str(messages), str(quotes), "--findings"]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == [
        "line 3: order 9: delete of an order that is not in the book",
        "between lines 2 and 4: 0 states here, 1 in the record",
    ]


def test_command_names_what_is_wrong_with_a_file_or_a_step(tmp_path, capsys):
    capture = tmp_path / "capture.txt"
    stamp = 1_723_161_255_030_314_667
    rest = {"lastUpdateId": 13, "bids": [["99.00", "2"]], "asks": [["100.3", "0.5"]]}
    capture.write_text(f"{stamp} {json.dumps(rest)}\n{stamp} nothing\n")
    assert call(app, ["depth", str(capture), "--tick", "0.1", "--lot", "0.1"]) == 2
    assert capsys.readouterr().err.startswith(f"error: {capture}:2: not JSON")
    for step in ("0", "-1", "x", "1e-3"):
        assert call(app, ["depth", str(capture), "--tick", step, "--lot", "0.1"]) == 2
        assert capsys.readouterr().err == f"error: --tick {step}: expected a decimal above zero\n"


# --- recorded data --------------------------------------------------------------------


def recorded(folder: Path, pattern: str) -> str:
    found = sorted(folder.glob(pattern))
    if not found:
        pytest.skip(f"no {pattern} in {folder}")
    return str(found[0])


def test_recorded_orders_give_the_official_quotes_and_priority(real_data):
    result = compare_orders(
        recorded(real_data, "lobster/*_message_50.csv.gz"),
        recorded(real_data, "lobster/*_orderbook_1.csv.gz"),
    )
    figures = result.figures
    assert (figures.stale_count, figures.crossing_count) == (0, 0)  # it never crosses
    assert (figures.contradiction_count, figures.away_count) == (0, 0)
    assert figures.unknown == {Kind.DELETE: 72, Kind.EXECUTE: 12}
    assert (len(figures.unknown_ids), figures.late_count) == (80, 229)
    assert sum(order_id < 16113575 for order_id in figures.unknown_ids) == 36  # the first listed
    assert (figures.agreed_count, figures.contested_count, figures.overtaken_count) == (
        4046, 903, 9)
    states, prices = result.states, result.prices
    assert (states.ours_count, states.theirs_count, states.matched_count) == (23457, 23440, 23361)
    assert (prices.ours_count, prices.theirs_count, prices.matched_count) == (16161, 16148, 16093)
    assert states.share >= 0.995 and prices.share >= 0.995
    # The differences come from orders older than the file, all gone by line 5,974, and from
    # one order whose deletion the file does not have.
    assert (len(states.differences), len(prices.differences)) == (27, 21)
    starts = [result.lines[difference.ours.start] for difference in states.differences]
    assert starts[18] <= 5_974 and starts[19] >= 54_603 and starts[-1] <= 54_765


def test_recorded_sweeps_trade_with_the_orders_named(real_data):
    result = compare_orders(
        recorded(real_data, "lobster/*_message_50.csv.gz"),
        recorded(real_data, "lobster/*_orderbook_1.csv.gz"),
        whole_sweeps=True,
    )
    figures = result.figures
    assert (figures.aggressor_count, figures.sweep_count) == (3307, 557)
    assert (figures.agreed_count, figures.overtaken_count) == (4046, 9)
    # What lies within a sweep does not show; nothing else is lost.
    assert (result.states.ours_count, result.states.matched_count) == (22716, 22620)
    assert 22716 - 22620 == 23457 - 23361


# Of each capture: steps; records of each kind; updates covered by the snapshot, quotes without
# a later ticker; quotes compared, with the very id; tickers ahead, equal, behind, equal.
CAPTURES = {
    "usdm": (
        ("0.1", "0.001"), (6551, 66089, 21313, 1), (4, 2), (6546, 628), (64953, 156, 1093, 233)),
    "spot": (
        ("0.01", "0.00000001"), (3451, 28040, 9757, 1), (2, 0), (3450, 564), (28037, 198, 0, 0)),
}
KINDS = ("DepthUpdate", "BookTicker", "TradePrint", "DepthSnapshot")


@pytest.mark.parametrize("market", CAPTURES)
def test_recorded_depth_gives_the_recorded_tickers(real_data, market):
    (tick, lot), counts, spare, compared, by_arrival = CAPTURES[market]
    path = recorded(real_data, f"l2/binance-{market}_btcusdt_*.gz")
    result = compare_depth(path, Grid(tick), Grid(lot))
    depth, tickers = result.depth, result.tickers
    assert result.records == dict(zip(KINDS, counts, strict=True))
    assert (depth.snapshot_count, depth.gap_count, depth.crossing_count) == (1, 0, 0)
    assert depth.applied_count + depth.covered_count == result.records["DepthUpdate"]
    assert (depth.covered_count, tickers.unmatched_count) == spare
    assert (tickers.compared_count, tickers.same_id_count) == compared
    assert (tickers.agreed_count, tickers.agreed_same_id_count) == compared
    assert tickers.disordered_count == 0
    assert by_arrival == (
        tickers.ahead_count, tickers.ahead_agreed_count,
        tickers.behind_count, tickers.behind_agreed_count,
    )
