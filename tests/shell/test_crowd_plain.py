"""The crowd against a plain one, level by level: the same events, whatever users do between."""

from __future__ import annotations

import random

import numpy as np
import pytest

from engine import Exchange
from engine.crowd import ACCOUNT, RULES, Crowd
from engine.errors import InputError
from engine.feeds import Moment
from engine.feeds.columns import LevelColumns, LevelTable, read_columns
from engine.feeds.records import BookChange
from tests.shell.test_crowd import NS, exchange_of


class PlainCrowd:
    """What docs/crowd.md says, one command a level, read back off the rendered events."""

    def __init__(self, exchange: Exchange, rule: str) -> None:
        self.exchange, self.is_restored = exchange, rule == "restore"
        self.live: dict[tuple[str, int], int] = {}
        self.taken: dict[tuple[str, int], int] = {}
        self.mark = None

    def apply(self, moment: Moment) -> None:
        self.read()
        for record in moment.records:
            self.record(record, moment.ts_ns)
        self.follow(moment.ts_ns)

    def record(self, change: BookChange, ts_ns: int) -> None:
        levels = {}
        for side, rows in (("buy", change.bids), ("sell", change.asks)):
            for price, quantity in rows:
                levels[side, round(float(price) * 100)] = round(float(quantity) * 10)
        if change.is_snapshot:
            gone = (self.live.keys() | self.taken.keys()) - levels.keys()
            levels = dict.fromkeys(sorted(gone, key=level_id), 0) | levels
        changes = []
        for level, lots in levels.items():
            if not lots or self.is_restored:
                self.taken.pop(level, None)
            wanted = max(0, lots - self.taken.get(level, 0))
            if wanted != self.live.get(level, 0):
                changes.append((level, wanted))
        for level, wanted in sorted(changes, key=lambda one: one[1] > 0):
            self.send(level, wanted, ts_ns)
        self.read()

    def send(self, level: tuple[str, int], wanted: int, ts_ns: int) -> None:
        common = {"account": ACCOUNT, "symbol": "X", "order_id": level_id(level), "ts": ts_ns}
        if not wanted:
            self.exchange.submit({"cmd": "cancel", **common})
        elif self.live.get(level, 0):
            self.exchange.submit({"cmd": "amend", "leaves": f"{wanted / 10:.1f}", **common})
        else:
            self.exchange.submit({
                "cmd": "order", "side": level[0], "type": "limit", "price": f"{level[1] / 100:.2f}",
                "quantity": f"{wanted / 10:.1f}", "stp": "cancel_maker", **common})

    def read(self) -> None:
        for event in self.exchange.drain():
            if event["event"] == "trade":
                mine = [side for side in ("maker", "taker") if event[f"{side}_account"] == ACCOUNT]
                if len(mine) == 1:
                    level = level_of(event[f"{mine[0]}_order_id"])
                    lots = round(float(event["quantity"]) * 10)
                    self.taken[level] = self.taken.get(level, 0) + lots
            elif event.get("account") == ACCOUNT and event["event"] == "order_update":
                self.live[level_of(event["order_id"])] = round(float(event["leaves"]) * 10)
            elif event.get("account") == ACCOUNT and event["event"] == "order_canceled":
                self.live.pop(level_of(event["order_id"]), None)

    def follow(self, ts_ns: int) -> None:
        while True:
            book = self.exchange.query({"query": "book", "symbol": "X"})
            if not (book["bids"] and book["asks"]):
                return
            twice = sum(round(float(book[side][0][0]) * 100) for side in ("bids", "asks"))
            middle = twice // 2 + (twice % 2 and twice // 2 % 2)
            if middle == self.mark:
                return
            self.mark = middle
            self.exchange.apply_marks([("X", f"{middle / 100:.2f}", None, None)], ts=ts_ns)
            self.read()


def level_id(level: tuple[str, int]) -> int:
    return 2 * level[1] + (level[0] == "sell")


def level_of(order_id: int) -> tuple[str, int]:
    return ("sell" if order_id % 2 else "buy", order_id // 2)


def world() -> Exchange:
    exchange = exchange_of("X", "0.01", "0.1")
    for account in (1, 2, 3):
        exchange.submit({"cmd": "account", "account": account})
        exchange.submit({"cmd": "deposit", "account": account, "asset": "USDT",
                         "amount": "1000000" if account == 1 else "60"})
    exchange.submit({"cmd": "leverage", "account": 2, "symbol": "X", "leverage": "50"})
    return exchange


def draw(rng: random.Random, step: int, shift: int) -> BookChange:
    """Draw a change around 100.00; wide enough for crossed books and for levels named twice."""
    def side(sign: int, is_full: bool) -> list[tuple[str, str]]:
        near = shift + (0 if rng.random() < 0.9 else -3 * sign)
        return [
            (f"{(10_000 + near + sign * rng.randrange(1, 25)) / 100:.2f}",
             f"{rng.choice((0, 1, 4, 9, 25)) * (rng.random() < 0.8 or is_full) / 10:.1f}")
            for _ in range(40 if is_full else rng.randrange(9))]

    is_snapshot = step % 37 == 0
    bids, asks = side(-1, is_snapshot), side(1, is_snapshot)
    return BookChange(NS + step, None, "X", is_snapshot, bids, asks)


def in_columns(change: BookChange) -> BookChange:
    texts = [",".join(f'["{price}","{lots}"]' for price, lots in side)
             for side in (change.bids, change.asks)]
    sides = read_columns(texts)
    return change if sides is None else change._replace(bids=sides[0], asks=sides[1])


def act(rng: random.Random, exchange: Exchange, step: int) -> None:
    if rng.random() < 0.5:
        return
    account = rng.choice((1, 1, 2, 3))
    if rng.random() < 0.15:
        exchange.submit({"cmd": "cancel_all", "account": account})
        return
    more = {"type": "market"} if rng.random() < 0.5 else {
        "type": "limit", "price": f"{(10_000 + rng.randrange(-30, 30)) / 100:.2f}"}
    exchange.submit({
        "cmd": "order", "account": account, "symbol": "X", "order_id": step + 1, "ts": NS + step,
        "side": rng.choice(("buy", "sell")), "quantity": rng.choice(("0.5", "3", "20")), **more})


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", range(6))
def test_the_same_events_as_level_by_level(rule, seed):
    """Columns, texts and the plain crowd: one stream of events, one state."""
    seen: list[np.ndarray] = []

    class Watched(Exchange):
        def drain_array(self):
            rows = super().drain_array()
            seen.append(rows)
            return rows

    results = []
    for way in ("plain", "texts", "columns"):
        rng = random.Random(seed)
        seen.clear()
        exchange = world()
        exchange.__class__ = Watched
        exchange.drain()
        crowd = None
        shift = 0
        for step in range(150):
            shift += rng.choice((0, 0, -1, 1, 4))
            change = draw(rng, step, shift)
            first = [("X", "100.00", None)] if step == 0 else []
            moment = Moment(NS + step, first, [change])
            if crowd is None:
                crowd = Crowd(exchange, rule)
                if way == "plain":
                    exchange.apply_marks([("X", "100.00", None, None)], ts=NS)
                    crowd = PlainCrowd(exchange, rule)
                    crowd.mark = 10_000
            if way == "columns":
                moment = moment._replace(records=[in_columns(change)])
            crowd.apply(moment)
            act(rng, exchange, step)
        exchange.check()
        breached = exchange.totals()["assets"]["USDT"]["insurance"]
        results.append((exchange.seq, exchange.state_hash(), breached))
        if way != "plain":
            results[-1] += (np.concatenate(seen).tobytes(),)
    plain, texts, columns = results
    assert texts == columns and texts[:3] == plain
    assert texts[0] > 500


def test_the_users_of_the_test_do_take_from_the_crowd():
    rng = random.Random(1)
    exchange = world()
    crowd = Crowd(exchange, "displace")
    for step in range(150):
        first = [("X", "100.00", None)] if step == 0 else []
        crowd.apply(Moment(NS + step, first, [in_columns(draw(rng, step, 0))]))
        act(rng, exchange, step)
    assert crowd.displaced_lots["X"] > 500


@pytest.mark.parametrize("prices, quantities, message", [
    ([9_990, 10_001], [10, 10], "price 100.01 is no multiple of its tick, 0.1"),
    ([9_990, 10_000], [10, 15], "quantity 1.5 is no multiple of its lot, 1"),
])
def test_columns_off_the_grid_are_refused_as_texts_are(prices, quantities, message):
    crowd = Crowd(exchange_of("X", "0.1", "1"), "displace")
    table = LevelTable(np.array(prices), 2, np.array(quantities), 1)
    sides = LevelColumns(table, 0, 2), LevelColumns(table, 2, 2)
    for bids, asks in (sides, [list(side) for side in sides]):
        change = BookChange(NS, None, "X", False, bids, asks)
        with pytest.raises(InputError, match=message):
            crowd.apply(Moment(NS, [("X", "100", None)], [change]))
