"""Steps of a feed on their way into the journal: packed or not, once each, in order."""

from __future__ import annotations

import pytest
from support.disk import Disk

from engine import Exchange
from engine.driver import MarkDriver
from engine.errors import InputError
from engine.journal import Journal, PackedEntry
from engine.serving.feed_batch import FeedBatch
from engine.serving.sequencer import Pending, Sequencer
from engine.serving.sessions import Sessions

TIERS = [{"min_notional": "0", "max_notional": None, "maintenance_margin_rate": "0.005",
          "max_leverage": "100"}]


def instrument(symbol: str) -> dict:
    return {
        "cmd": "instrument", "symbol": symbol, "kind": "linear", "base": symbol, "quote": "USDT",
        "settle": "USDT", "tick_size": "0.1", "lot_size": "0.001", "tiers": TIERS}


SETUP = [{"cmd": "asset", "asset": "USDT", "decimals": 6}, instrument("BTC"), instrument("ETH")]


def commit(sequencer: Sequencer, *commands: dict) -> None:
    sequencer.commit([Pending.of(None, 0, command) for command in commands])


def make(disk: Disk, **options) -> Sequencer:
    journal = Journal("/journal", storage=disk)
    assert list(journal.batches()) == []
    journal.begin()
    sequencer = Sequencer(Exchange(core="reference"), journal, Sessions(), **options)
    commit(sequencer, *SETUP)
    return sequencer


def step(number: int, *marks: tuple[str, str]) -> tuple[int, list]:
    return 10**18 + number, [(symbol, mark, None) for symbol, mark in marks]


STEPS = [
    (1, step(1, ("BTC", "100.04"))), (2, step(2, ("ETH", "20"))),
    (3, step(3, ("BTC", "101"), ("ETH", "21"))), (4, step(4, ("BTC", "102.26"))),
    (7, (10**18 + 7, [("ETH", "22.2", "22.36")])), (8, step(8, ("BTC", "0.01"))),
]


def taken(sequencer: Sequencer, feed: FeedBatch, steps, epoch: int = 5) -> list:
    batch: list = []
    for number, each in steps:
        feed.add(epoch, number, each, batch)
    feed.flush(batch)
    sequencer.commit(batch)
    return [(type(pending).__name__, pending.request, pending.command_count)
            for pending in batch]


def test_steps_in_a_row_are_one_record_and_lead_to_the_same():
    disk = Disk()
    sequencer = make(disk)
    feed = FeedBatch(sequencer, [].append, is_strict=True)
    assert taken(sequencer, feed, STEPS) == [
        ("PackedPending", 1, 2), ("Pending", 3, 1), ("PackedPending", 4, 1),
        ("PackedPending", 7, 2)]
    plain = Exchange(core="reference")
    for command in SETUP:
        plain.apply(command)
    driver = MarkDriver(plain)
    for number, each in STEPS:
        driver.apply(number, each)
    assert plain.state_hash() == sequencer.exchange.state_hash()
    assert (plain.seq, plain.ts) == (sequencer.exchange.seq, sequencer.exchange.ts)
    entries = [entry for batch in Journal("/journal", storage=disk.after_restart()).batches()
               if batch.header.command_count for entry in batch.entries()]
    assert [(entry.client, entry.request) for entry in entries[3:]] == [
        ("feed/5", 1), ("feed/5", 3), ("feed/5", 4), ("feed/5", 7)]
    assert isinstance(entries[3], PackedEntry) and entries[3].seq == 4


def test_what_comes_again_is_left_out_and_another_epoch_is_not():
    sequencer = make(Disk())
    feed = FeedBatch(sequencer, [].append, is_strict=True)
    taken(sequencer, feed, STEPS)
    seq = sequencer.exchange.seq
    assert taken(sequencer, feed, STEPS) == [] and feed.ignored_count == 6
    longer = [(8, STEPS[-1][1]), (9, step(9, ("ETH", "30")))]
    assert taken(sequencer, feed, longer) == [("PackedPending", 9, 1)]
    assert taken(sequencer, feed, [(1, step(10, ("BTC", "90")))], epoch=6) == [
        ("PackedPending", 1, 1)]
    assert sequencer.exchange.seq == seq + 2


def test_unknown_symbols():
    sequencer, lines = make(Disk()), []
    feed = FeedBatch(sequencer, lines.append, is_strict=False)
    steps = [(1, step(1, ("BTC", "100"))), (2, step(2, ("DOGE", "1"))),
             (3, step(3, ("BTC", "101"), ("DOGE", "1"))), (4, step(4, ("ETH", "7")))]
    assert [row[1:] for row in taken(sequencer, feed, steps)] == [(1, 1), (4, 1)]
    assert feed.ignored_count == 2 and len(lines) == 1 and "carries DOGE" in lines[0]
    commit(sequencer, instrument("DOGE"))
    assert taken(sequencer, feed, [(5, step(5, ("DOGE", "2")))]) == [("PackedPending", 5, 1)]
    with pytest.raises(InputError, match="carries X"):
        FeedBatch(sequencer, lines.append, is_strict=True).add(5, 6, step(6, ("X", "1")), [])


def test_the_wall_clock_takes_the_place_of_the_feeds_time():
    sequencer = make(Disk(), has_clock=True)
    feed = FeedBatch(sequencer, [].append, is_strict=True)
    taken(sequencer, feed, STEPS[:2])
    assert sequencer.exchange.ts != 10**18 + 2
