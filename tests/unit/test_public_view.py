"""Public liquidation feeds: what each venue's rules leave of a hand-made stream."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from support.market import Desk
from support.script import read_script

from engine import Exchange, profiles
from engine.commands import PUBLIC_VIEWS
from engine.public_view import FEEDS, Feed, PublicView, coverage, feeds_of, public_feed

SCENARIOS = Path(__file__).parents[1] / "scenarios"
MS = 10**6


def step(at: int, filled: str, symbol: str = "BTC", side: str = "sell") -> dict[str, Any]:
    return {"event": "liquidation_step", "ts": at * MS, "symbol": symbol, "side": side,
            "limit_price": "95", "filled": filled}


def trade(at: int, price: str, quantity: str, taker: int = 1) -> dict[str, Any]:
    return {"event": "trade", "ts": at * MS, "symbol": "BTC", "price": price,
            "quantity": quantity, "liquidation": True, "taker_account": taker}


def takeover(at: int, quantity: str) -> dict[str, Any]:
    return {"event": "liquidation_takeover", "ts": at * MS, "symbol": "BTC", "side": "sell",
            "quantity": quantity, "price": "95"}


def adl(at: int, quantity: str) -> dict[str, Any]:
    return {"event": "adl", "ts": at * MS, "symbol": "BTC", "side": "buy", "quantity": quantity,
            "price": "95"}


#: Three orders in one second, another symbol's, one in the next second, a takeover, an ADL.
STREAM = [
    step(100, "5"), step(400, "3"), step(450, "7", "ETH", "buy"), step(999, "2"),
    step(1000, "4"), takeover(1600, "10"), adl(1600, "1"), step(1700, "0"),
]


def shown(feed: str | Feed) -> list[tuple[int, str, str, str]]:
    return [(row.pushed_ts // MS, row.symbol, row.side, row.quantity)
            for row in public_feed(STREAM, feed)]


def test_binance_shows_the_latest_order_of_a_symbol_and_second() -> None:
    assert shown("binance") == [
        (1000, "BTC", "sell", "2"), (1000, "ETH", "buy", "7"), (2000, "BTC", "sell", "4")]
    of = coverage(STREAM, "binance")
    assert (of["BTC"].orders, of["BTC"].orders_shown) == (5, 2)
    assert of["BTC"].share == Fraction(6, 25)
    assert of["ETH"].share == 1


def test_bybit_shows_all_with_the_side_of_the_position() -> None:
    assert shown("bybit") == [
        (500, "BTC", "buy", "5"), (500, "BTC", "buy", "3"), (500, "ETH", "sell", "7"),
        (1000, "BTC", "buy", "2"), (1500, "BTC", "buy", "4"), (2000, "BTC", "buy", "10")]
    assert coverage(STREAM, "bybit")["BTC"].share == Fraction(24, 25)  # but for deleveraging


def test_okx_shows_one_of_a_contract_and_second() -> None:
    assert shown("okx") == [
        (1000, "BTC", "sell", "2"), (1000, "ETH", "buy", "7"), (2000, "BTC", "sell", "10")]
    assert coverage(STREAM, "okx")["BTC"].share == Fraction(12, 25)


def test_a_true_stream_shows_all_at_once_and_deleveraging_too() -> None:
    assert shown("all") == [
        (100, "BTC", "sell", "5"), (400, "BTC", "sell", "3"), (450, "ETH", "buy", "7"),
        (999, "BTC", "sell", "2"), (1000, "BTC", "sell", "4"), (1600, "BTC", "sell", "10"),
        (1600, "BTC", "sell", "1")]
    of = coverage(STREAM, "all")["BTC"]
    assert (of.orders, of.orders_shown, of.share) == (6, 6, 1)


def test_deribit_shows_trades_and_bitmex_takeovers_too() -> None:
    assert [row[3] for row in shown("deribit")] == ["5", "3", "7", "2", "4"]
    assert [row[3] for row in shown("bitmex")] == ["5", "3", "7", "2", "4", "10"]
    average = [trade(1, "97", "1"), step(1, "1")]
    assert [row.average_price for row in public_feed(average, "deribit")] == ["97"]
    assert [row.average_price for row in public_feed(average, "bitmex")] == [None]


def test_each_symbol_by_its_own_profile() -> None:
    feeds = feeds_of([
        {"cmd": "asset", "asset": "USDT", "decimals": 2},
        {"cmd": "instrument", "symbol": "BTC", "profile": "okx_swap"},
        {"cmd": "instrument", "symbol": "ETH"},
        {"cmd": "profile", "symbol": "BTC", "profile": {"base": "binance_usdm", "fraction": "1"}},
    ])
    assert feeds == {"BTC": FEEDS["binance"], "ETH": FEEDS["all"]}
    rows = [(row.pushed_ts // MS, row.symbol, row.quantity)
            for row in public_feed(STREAM, feeds)]
    assert rows == [(450, "ETH", "7"), (1000, "BTC", "2"), (2000, "BTC", "4")]
    with pytest.raises(profiles.ProfileError, match="no profile 'nobody'"):
        feeds_of([{"cmd": "instrument", "symbol": "BTC", "profile": "nobody"}])


def test_every_venue_names_its_feed() -> None:
    assert set(FEEDS) == set(PUBLIC_VIEWS)
    assert {name: profiles.public_view(name) for name in profiles.names()} == {
        "default": "all", "binance_usdm": "binance", "bitmex": "bitmex",
        "bybit_linear": "bybit", "deribit": "deribit", "drift": "all", "dydx_v4": "all",
        "hyperliquid": "all", "okx_swap": "okx"}
    for path in profiles.FOLDER.glob("*.toml"):
        assert "\npublic_view = " in path.read_text(), path.name


def test_a_profile_of_ones_own_has_its_own_feed_or_that_of_its_base(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('base = "bybit_linear"\n')
    assert profiles.public_view(profiles.load(path)) == "bybit"
    path.write_text('base = "bybit_linear"\npublic_view = "all"\n')
    assert profiles.public_view(profiles.load(path)) == "all"
    path.write_text('public_view = "kraken"\n')
    with pytest.raises(profiles.ProfileError, match="field 'public_view' must be one of all, "):
        profiles.load(path)


def test_the_feed_is_no_part_of_the_state() -> None:
    hashes = set()
    for view in ("all", "binance"):
        desk = Desk(Exchange(core="reference"))
        desk.symbol(profile={"public_view": view})
        hashes.add(desk.exchange.state_hash())
    assert len(hashes) == 1


def test_rules_of_ones_own() -> None:
    everything = Feed(MS, False, False, True, True)
    assert len(list(public_feed(STREAM, everything))) == 6
    with pytest.raises(KeyError):
        PublicView("nowhere")


def test_the_average_price_is_that_of_the_orders_trades() -> None:
    events = [trade(1, "97", "1"), trade(1, "96", "2"), step(1, "3"),
              trade(2, "90", "5", taker=0), step(1500, "1")]
    rows = list(public_feed(events, "binance"))
    assert [(row.price, row.average_price) for row in rows] == [
        ("95", "96.33333333"), ("95", None)]
    assert [row.average_price for row in public_feed(events, "okx")] == [None, None]


def test_nothing_is_nothing() -> None:
    assert list(public_feed([], "binance")) == []
    assert coverage([adl(1, "0")], "binance")["BTC"].share is None


@pytest.mark.parametrize("feed", FEEDS)
def test_true_events(exchange: Exchange, feed: str) -> None:
    path = next(SCENARIOS.glob("FND-018-*.jsonl"))
    lines = [step.line for step in read_script(path).steps]
    events = [event for line in lines if "cmd" in line for event in exchange.apply(line)]
    rows = list(public_feed(events, feed))  # all three at time 0
    is_bybit, is_one = feed == "bybit", feed in ("binance", "okx")
    assert len(rows) == (1 if is_one else 3)
    assert {row.side for row in rows} == {"buy" if is_bybit else "sell"}
    assert coverage(events, feed)["ETH"].share == (Fraction(1, 3) if is_one else 1)
