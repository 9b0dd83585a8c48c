"""Market data on random markets: the cores say the same, and clients hold the engine's books."""

from __future__ import annotations

import random
from collections import Counter
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from support import CORES
from support.followers import BusyBooks, Followers, Message, sum_of
from support.universe import Universe

from engine import Exchange
from engine.marketdata import L2Book, L3Book, MarketData, NotSynced, SequenceGap, packed
from engine.messages import MARKET_FIELDS, MarketKind

SEEDS = range(8)
COMMANDS = 250
DAY_NS = 24 * 3600 * 10**9
MINUTE_NS = 60 * 10**9


# --- the two cores --------------------------------------------------------------------


def switch(exchanges: list[Exchange], chance: random.Random) -> None:
    """Switch a symbol on, or now and then off, in all of them."""
    for symbol in range(len(exchanges[0].symbols)):
        is_on = exchanges[0].core.is_published(symbol)
        if chance.random() < (0.02 if is_on else 0.3):
            for exchange in exchanges:
                exchange.core.publish(symbol, not is_on)


@pytest.mark.parametrize("kind", [BusyBooks, Universe])
@pytest.mark.parametrize("seed", SEEDS)
def test_cores_publish_the_same_and_nothing_else_changes(
    seed: int, kind: type[Universe]
) -> None:
    universe, chance = kind(seed), random.Random(seed)
    exchanges = [Exchange(core=name) for name in CORES]
    silent = Exchange()
    commands = list(universe.opening()) + [None] * COMMANDS
    for command in commands:
        command = universe.next() if command is None else command
        events = silent.apply(command)
        universe.observe(events)
        for exchange in exchanges:
            assert exchange.apply(command) == events
        first, *others = [exchange.core.drain_market_data() for exchange in exchanges]
        assert all(other == first for other in others), command
        for symbol in range(len(silent.symbols)):
            for side in range(2):
                first, *others = [
                    exchange.core.market_levels(symbol, side, 99) for exchange in exchanges]
                assert all(other == first for other in others)
        switch(exchanges, chance)
    assert {exchange.state_hash() for exchange in exchanges} == {silent.state_hash()}
    assert silent.core.drain_market_data() == []


# --- clients --------------------------------------------------------------------------


class Session:
    """One market whose data is drained after every so many commands, and its clients."""

    def __init__(self, seed: int, pause: int) -> None:
        self.universe = BusyBooks(seed)
        self.random = random.Random(seed)
        self.pause = pause
        self.exchange = Exchange()
        self.refs: dict[tuple[int, int], int] = {}
        self.accepted = 0
        self.trades: list[Message] = []
        self.published_trades: list[Message] = []
        self.seen: Counter[str] = Counter()
        self.best: dict[str, tuple[Any, Any]] = {}
        for command in self.universe.opening():
            self.apply(command)
        self.data = MarketData(self.exchange)
        self.followers = Followers()

    def apply(self, command: Message) -> None:
        events = self.exchange.apply(command)
        self.universe.observe(events)
        for event in events:
            if event["event"] == "order_accepted":
                self.accepted += 1
                self.refs[event["account"], event["order_id"]] = self.accepted
            elif event["event"] == "trade":
                self.trades.append(event)

    def run(self, count: int) -> None:
        self.trades.clear()
        for number in range(count):
            self.apply(self.universe.next())
            # Snapshots are taken at any moment, also while messages wait to be drained.
            for index, symbol in enumerate(self.exchange.symbols):
                if not self.exchange.core.is_published(index):  # declared just now
                    self.data.start(symbol)
                if symbol not in self.followers.l2 or self.random.random() < 0.05:
                    self.followers.start(self.data, symbol)
            if number % self.pause == 0:
                self.drain()

    def drain(self) -> None:
        messages = self.data.drain()
        self.followers.follow(messages)
        self.followers.compare(self.exchange, self.refs)
        for message in messages:
            self.seen[f"{message['channel']} {message.get('type', '')}".strip()] += 1
            if message["channel"] == "trades":
                self.published_trades.append(message)
            elif message["channel"] == "l1":
                now = message["bid"], message["ask"]
                assert now != self.best.get(message["symbol"])
                self.best[message["symbol"]] = now
        for symbol in self.exchange.symbols:
            assert self.best.get(symbol) == self.expected_best(symbol)

    def expected_best(self, symbol: str) -> tuple[Any, Any] | None:
        if symbol not in self.best:
            return None
        book = self.data.l2_snapshot(symbol, depth=1)
        return (book["bids"] or [None])[0], (book["asks"] or [None])[0]


@pytest.mark.parametrize("pause", [1, 4])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_client_holds_the_identical_book(seed: int, pause: int) -> None:
    session = Session(seed, pause)
    session.run(COMMANDS)
    session.drain()
    assert [
        (trade["seq"], trade["ts"], trade["trade_id"], trade["symbol"], trade["price"],
         trade["quantity"], trade["aggressor_side"], trade["liquidation"])
        for trade in sorted(session.published_trades, key=lambda trade: trade["trade_id"])
    ] == [
        (trade["seq"], trade["ts"], trade["trade_id"], trade["symbol"], trade["price"],
         trade["quantity"], trade["taker_side"], trade["liquidation"])
        for trade in session.trades]


def test_the_random_markets_have_it_all() -> None:
    seen: Counter[str] = Counter()
    for seed in SEEDS:
        session = Session(seed, 1)
        session.run(COMMANDS)
        seen += session.seen
    kinds = {f"l3 {kind.name.lower()}" for kind in MarketKind}
    kinds |= {"l2 delta", "l1", "trades", "status", "auction uncrossed", "auction indicative"}
    assert kinds <= set(seen), kinds - set(seen)


def worth(terms: dict[str, Any], trade: dict[str, Any], unit: Fraction) -> Fraction:
    """Value of a trade; an inverse one's is rounded toward zero."""
    size = Fraction(trade["quantity"]) * Fraction(terms["contract_size"])
    if terms["kind"] == "linear":
        return size * Fraction(trade["price"])
    return size / Fraction(trade["price"]) // unit * unit


@pytest.mark.parametrize("seed", SEEDS[:6])
def test_statistics_are_those_of_the_trades(seed: int) -> None:
    session = Session(seed, 7)
    session.run(COMMANDS)
    now = session.exchange.ts
    for symbol in session.exchange.symbols:
        figures = session.data.statistics(symbol)
        oldest = (now // MINUTE_NS - 24 * 60 + 1) * MINUTE_NS
        mine = [trade for trade in session.trades
                if trade["symbol"] == symbol and trade["ts"] >= oldest]
        prices = [Fraction(trade["price"]) for trade in mine]
        assert figures["trades"] == len(mine)
        assert Fraction(figures["volume"]) == sum_of([trade["quantity"] for trade in mine])
        terms = session.exchange.query({"query": "instrument", "symbol": symbol})
        unit = Fraction(1, 10 ** session.exchange.instrument(symbol).settle.decimals)
        assert Fraction(figures["turnover"]) == sum(worth(terms, trade, unit) for trade in mine)
        if mine:
            assert [Fraction(figures[f"{name}_price"])
                    for name in ("open", "high", "low", "close")] == [
                        prices[0], max(prices), min(prices), prices[-1]]
        for name in ("last_price", "mark_price", "index_price", "open_interest"):
            assert figures[name] == terms[name]
        book = session.data.l2_snapshot(symbol, depth=1)
        assert [figures["bid"]] == (book["bids"] or [None])
        assert [figures["ask"]] == (book["asks"] or [None])


# --- a bad line -----------------------------------------------------------------------


def recorded(seed: int, channel: str) -> tuple[MarketData, str, Message, list[Message]]:
    """A snapshot of one symbol and what came after it on one channel, drained by command."""
    session = Session(seed, 1)
    session.data.drain()
    symbol = session.exchange.symbols[0]
    snapshot = getattr(session.data, f"{channel}_snapshot")(symbol)
    messages: list[Message] = []
    for _ in range(COMMANDS):
        session.apply(session.universe.next())
        messages += [message for message in session.data.drain()
                     if message["channel"] == channel and message["symbol"] == symbol]
    return session.data, symbol, snapshot, messages


@pytest.mark.parametrize(("channel", "kind"), [("l2", L2Book), ("l3", L3Book)])
@pytest.mark.parametrize("seed", SEEDS[:4])
def test_what_is_lost_doubled_or_reordered_is_noticed(
    seed: int, channel: str, kind: type[L2Book] | type[L3Book]
) -> None:
    data, symbol, snapshot, messages = recorded(seed, channel)
    chance = random.Random(seed)
    book = kind(snapshot)
    for message in messages:
        for again in [message] * chance.choice((1, 1, 2)):
            book.apply(again)
        book.apply(messages[0])  # so old that it is a duplicate by now
    assert book.duplicates >= len(messages)
    whole = kind(getattr(data, f"{channel}_snapshot")(symbol))
    assert (book.bids, book.asks) == (whole.bids, whole.asks)
    places = range(len(messages) - 1)
    for at in chance.sample(places, min(20, len(places))):
        book = kind(snapshot)
        for message in messages[:at]:
            book.apply(message)
        before = book.bids, book.asks
        with pytest.raises(SequenceGap, match="expected market_seq") as caught:
            book.apply(messages[at + 1])  # one is lost, or late
        assert caught.value.expected == book.market_seq + 1 < caught.value.got
        assert (book.bids, book.asks) == before and not book.is_synced
        with pytest.raises(NotSynced, match="snapshot"):
            book.apply(messages[at])  # the late one does not heal it
        book.load(getattr(data, f"{channel}_snapshot")(symbol))
        assert not any(book.apply(message) for message in messages)
        assert (book.bids, book.asks) == (whole.bids, whole.asks)


# --- arrays ---------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS[:4])
def test_packed_messages_say_the_same(seed: int) -> None:
    universe = BusyBooks(seed)
    tuples, arrays = Exchange(), Exchange()
    for command in universe.opening():
        for exchange in (tuples, arrays):
            exchange.apply(command)
    for exchange in (tuples, arrays):
        for symbol in range(len(exchange.symbols)):
            exchange.core.publish(symbol, True)
    books = [packed.PackedBook(arrays.core, symbol) for symbol in range(len(arrays.symbols))]
    for _ in range(COMMANDS // 10):
        for _ in range(10):
            command = universe.next()
            universe.observe(tuples.apply(command))
            arrays.submit(command)
        expected = tuples.core.drain_market_data()
        messages = packed.read(arrays.core.drain_market_data_bytes())
        assert packed.MESSAGE.names == MARKET_FIELDS
        assert [tuple(row) for row in messages.tolist()] == expected
        for book in books:
            book.apply(messages)
            assert book.apply(messages) == 0
            for side in range(2):
                assert book.side(side) == [
                    (price, sum(lots for _, lots in orders), len(orders))
                    for price, orders in arrays.core.market_levels(book.symbol, side, 10**6)]
    gap = np.zeros(1, packed.MESSAGE)
    gap["market_seq"] = books[0].market_seq + 2
    with pytest.raises(ValueError, match="expected market_seq"):
        books[0].apply(gap)
