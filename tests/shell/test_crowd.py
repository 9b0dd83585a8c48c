"""Recorded depth as a crowd's orders: the same book while nobody trades, a moved one after."""

from __future__ import annotations

import json

import pytest

from engine import Exchange
from engine.crowd import ACCOUNT, Crowd
from engine.errors import InputError
from engine.feeds import Moment, open_feed, open_moments
from engine.feeds.records import BookChange
from engine.tally import Tally
from tests.shell.conftest import CORE, TIERS

NS = 1_760_054_400 * 10**9


def exchange_of(symbol: str, tick: str, lot: str, core: str = CORE) -> Exchange:
    exchange = Exchange(core=core)
    for line in (
        {"cmd": "asset", "asset": "USDT", "decimals": 6},
        {"cmd": "instrument", "symbol": symbol, "kind": "linear", "base": "X", "quote": "USDT",
         "settle": "USDT", "tick_size": tick, "lot_size": lot, "liquidation_fee": "0.001",
         "tiers": TIERS},
        {"cmd": "insurance", "asset": "USDT", "amount": "100000"},
    ):
        exchange.submit(line)
    return exchange


def moment(k: int, *, bids: dict, asks: dict, is_snapshot: bool = False) -> Moment:
    change = BookChange(
        NS + k, None, "X", is_snapshot, [*map(tuple, bids.items())], [*map(tuple, asks.items())])
    return Moment(NS + k, [("X", "100", None)] if k == 0 else [], [change])


FIRST = moment(0, is_snapshot=True, bids={"99": "5", "98": "5", "90": "50"},
               asks={"101": "5", "102": "5", "110": "50"})


class World:
    """An exchange with a crowd and a user."""

    def __init__(self, rule: str, mark: str = "book", core: str = CORE) -> None:
        self.exchange = exchange_of("X", "1", "1", core)
        self.tally = Tally()
        self.crowd = Crowd(self.exchange, rule, mark, self.tally)
        self.crowd.apply(FIRST)
        self.order_id = 0
        self.open(1, "1000000")

    def open(self, account: int, deposit: str) -> None:
        self.exchange.submit({"cmd": "account", "account": account})
        self.exchange.submit(
            {"cmd": "deposit", "account": account, "asset": "USDT", "amount": deposit})

    def order(self, side: str, quantity: str, price: str | None = None, account: int = 1) -> None:
        self.order_id += 1
        more = {"type": "market"} if price is None else {"type": "limit", "price": price}
        self.exchange.submit({
            "cmd": "order", "account": account, "symbol": "X", "order_id": self.order_id,
            "side": side, "quantity": quantity, **more})

    def book(self) -> tuple[dict, dict]:
        answer = self.exchange.query({"query": "book", "symbol": "X"})
        return dict(answer["bids"]), dict(answer["asks"])

    def mark(self) -> str:
        return self.exchange.query({"query": "instrument", "symbol": "X"})["mark_price"]


@pytest.mark.parametrize("rule, after", [("displace", "3"), ("restore", "6")])
def test_the_rules_differ_in_what_comes_back(rule, after):
    world = World(rule)
    world.order("buy", "3")
    world.crowd.apply(moment(1, bids={"98": "4"}, asks={}))
    assert world.book() == (
        {"99": "5", "98": "4", "90": "50"}, {"101": "2", "102": "5", "110": "50"})
    world.crowd.apply(moment(2, bids={}, asks={"101": "6"}))
    assert world.book()[1]["101"] == after
    # Once the record has left the price, it begins anew there.
    world.crowd.apply(moment(3, bids={}, asks={"101": "0"}))
    world.crowd.apply(moment(4, bids={}, asks={"101": "4"}))
    assert world.book()[1]["101"] == "4"
    assert world.crowd.rows() == [("crowd_changes", "5"), ("crowd_traded_X", "3")]
    world.exchange.check()


def test_a_user_moves_the_price():
    world = World("displace")
    assert world.mark() == "100"
    world.order("buy", "8")
    world.crowd.apply(moment(1, bids={}, asks={}))
    assert world.book()[1] == {"102": "2", "110": "50"}
    assert world.mark() == "100"  # 100.5: ties go to the even tick
    world.order("buy", "2")
    world.crowd.apply(moment(2, bids={}, asks={}))
    assert world.mark() == "104"


def test_the_mark_may_follow_the_feed_instead():
    world = World("displace", "feed")
    world.order("buy", "10")
    world.crowd.apply(Moment(NS + 1, [("X", "103", None)], []))
    assert world.mark() == "103" and min(world.book()[1], key=int) == "110"


def test_a_resting_user_trades_when_the_record_comes_to_him():
    world = World("displace")
    world.order("sell", "4", "100")
    world.crowd.apply(moment(1, bids={"100": "6"}, asks={}))
    position = world.exchange.query({"query": "position", "account": 1, "symbol": "X"})
    assert position["positions"][0]["quantity"] == "-4"
    assert world.book()[0]["100"] == "2"


def test_a_snapshot_replaces_the_crowds_book():
    world = World("displace")
    world.crowd.apply(moment(1, is_snapshot=True, bids={"97": "1"}, asks={"103": "1"}))
    assert world.book() == ({"97": "1"}, {"103": "1"})


def liquidation_world(core: str = CORE) -> World:
    world = World("displace", core=core)
    for account in (2, 3):
        world.open(account, "70")
        world.exchange.submit(
            {"cmd": "leverage", "account": account, "symbol": "X", "leverage": "50"})
        world.exchange.submit({"cmd": "fill", "account": account, "symbol": "X", "side": "buy",
                               "quantity": "20", "price": "100"})
    world.crowd.apply(moment(1, bids={}, asks={}))
    world.order("sell", "10")  # bids are gone down to 90
    world.crowd.apply(moment(2, bids={}, asks={}))
    return world


def test_liquidations_take_from_the_crowd_and_move_the_mark():
    world = liquidation_world()
    assert world.mark() == "96"  # (90 + 101) / 2, to the even tick
    assert world.tally.breached == {2, 3}
    assert int(world.book()[0].get("90", "0")) <= 50
    assert world.exchange.totals()["assets"]["USDT"]["drift"] == "0"
    world.exchange.check()


def test_both_cores_agree():
    pytest.importorskip("engine.core")
    hashes = {liquidation_world(core).exchange.state_hash() for core in {CORE, "reference"}}
    assert len(hashes) == 1


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="--crowd often: expected displace or restore"):
        World("often")
    with pytest.raises(InputError, match="--crowd-mark last: expected book or feed"):
        World("displace", "last")
    world = World("displace")
    with pytest.raises(InputError, match=r"price 99.5 is no multiple of its tick, 1"):
        world.crowd.apply(moment(1, bids={"99.5": "1"}, asks={}))
    with pytest.raises(InputError, match=r"quantity 1.5 is no multiple of its lot, 1"):
        world.crowd.apply(moment(1, bids={"99": "1.5"}, asks={}))


@pytest.mark.parametrize("rule", ["displace", "restore"])
def test_without_users_the_engines_book_is_the_recorded_one(real_data, rule):
    path = real_data / "formats" / "xrpusdt-ob500.data.zip"
    exchange = exchange_of("XRPUSDT", "0.0001", "1")
    crowd = Crowd(exchange, rule)
    recorded: dict[str, dict] = {"bids": {}, "asks": {}}
    for one in open_moments([open_feed(str(path))], keep_records=True):
        crowd.apply(one)
        for change in one.records:
            for side, levels in (("bids", change.bids), ("asks", change.asks)):
                if change.is_snapshot:
                    recorded[side] = {}
                recorded[side].update(levels)
    answer = exchange.query({"query": "book", "symbol": "XRPUSDT"})
    for side in ("bids", "asks"):
        held = {float(price): float(quantity) for price, quantity in answer[side]}
        assert held == {
            float(price): float(quantity) for price, quantity in recorded[side].items()
            if float(quantity)}
    assert exchange.query({"query": "account", "account": ACCOUNT})["positions"] == []


def test_a_crowd_meets_a_population_in_one_command(shell, real_data, tmp_path):
    if CORE == "reference":
        pytest.skip("the plain core takes its time over thousands of levels")
    path = real_data / "l2" / "binance-usdm_btcusdt_20240808.gz"
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"accounts": 300, "symbols": {"BTCUSDT": {
        "open_interest": "100", "liquidations": [
            {"side": "long", "low": "61600", "high": "61799", "quantity": "80"},
            {"side": "short", "low": "61802", "high": "62000", "quantity": "80"}]}}}))
    done = shell.run("replay", str(path), "--in-process", "--crowd", "displace",
                     "--population", str(plan), "--limit", "400", "--end", "2024-08-08 23:54:50")
    assert done.code == 0, done.err
    assert int(done.figures["accounts_breached"]) > 0 and done.figures["drift"] == "0"
    assert float(done.figures["crowd_traded_BTCUSDT"]) > 0
    done = shell.run("replay", "synthetic:steps=20", "--in-process", "--crowd", "restore")
    assert (done.code, done.only_error) == (2, "error: --crowd: the feed has no depth")
