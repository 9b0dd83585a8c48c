"""One contract under the names that venues and programs give it."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import Exchange
from engine.errors import InputError
from engine.listings import Spellings, unified_name

MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]


def contract(
    symbol: str, base: str, quote: str, settle: str | None = None, expiry: date | None = None
) -> dict[str, Any]:
    kind = "inverse" if settle == base else "linear"
    found = {"symbol": symbol, "base": base, "quote": quote, "settle": settle or quote,
             "kind": kind}
    if expiry is not None:
        at = datetime(expiry.year, expiry.month, expiry.day, 8, tzinfo=UTC)
        found["expiry_ts"] = int(at.timestamp()) * 10**9
    return found


DECEMBER = date(2024, 12, 27)
JANUARY = date(2025, 1, 3)
BTCUSDT = contract("BTCUSDT", "BTC", "USDT")
BTCUSD = contract("BTCUSD_PERP", "BTC", "USD", "BTC")
FUTURE = contract("BTCUSDT_241227", "BTC", "USDT", expiry=DECEMBER)
COIN_FUTURE = contract("BTCUSD_241227", "BTC", "USD", "BTC", DECEMBER)
WEEKLY = contract("BTCUSD_250103", "BTC", "USD", "BTC", JANUARY)
PEPE = contract("1000PEPEUSDT", "1000PEPE", "USDT")
ALL = Spellings([BTCUSDT, BTCUSD, FUTURE, COIN_FUTURE, WEEKLY, PEPE])


@pytest.mark.parametrize(("symbol", "names"), [
    ("BTCUSDT", ["BTCUSDT", "btcusdt", "BTC-USDT-SWAP", "BTC/USDT:USDT", "BTC-USDT", "BTC_USDT",
                 "BTC/USDT", "BTCUSDT-PERP.BINANCE", "BINANCE:BTCUSDT.P", "BTC-USDT-PERP",
                 "BTCUSDTPERP", "BTCUSDT_PERP", "PF_XBTUSDT", "XBTUSDTM", " BTCUSDT "]),
    ("BTCUSD_PERP", ["BTCUSD_PERP", "BTCUSD", "XBTUSD", "BTC-USD-SWAP", "BTC/USD:BTC",
                     "PI_XBTUSD", "BTC-USD-PERPETUAL", "XBTUSDM", "KRAKEN:PI_XBTUSD"]),
    ("BTCUSDT_241227", ["BTC/USDT:USDT-241227", "BTC-USDT-241227", "BTCUSDT-27DEC24",
                        "BTC-USDT-24Z27", "BTCUSDTZ24", "FF_XBTUSDT_241227",
                        "BTCUSDT_241227.BINANCE"]),
    ("BTCUSD_241227", ["BTC/USD:BTC-241227", "BTC-USD-241227", "BTCUSDZ24", "BTC-USD-20241227",
                       "FI_XBTUSD_241227", "XBTUSD_241227"]),
    ("BTCUSD_250103", ["BTC-3JAN25", "BTC-03JAN25", "XBTF25", "btc-usd-250103"]),
    ("1000PEPEUSDT", ["1000PEPE", "1000PEPE-PERP", "1000PEPE/USDT:USDT", "1000PEPE-PERPETUAL"]),
])
def test_the_names_of_one_contract(symbol, names):
    assert {name: ALL.find(name) for name in names} == dict.fromkeys(names, symbol)


@pytest.mark.parametrize(("name", "candidates"), [
    ("BTC-PERP", "BTCUSDT (BTC/USDT:USDT), BTCUSD_PERP (BTC/USD:BTC)"),
    ("BTC-PERPETUAL", "BTCUSDT (BTC/USDT:USDT), BTCUSD_PERP (BTC/USD:BTC)"),
    ("BTC", "BTCUSDT (BTC/USDT:USDT), BTCUSD_PERP (BTC/USD:BTC)"),
    ("BTC-27DEC24", "BTCUSDT_241227 (BTC/USDT:USDT-241227), BTCUSD_241227 (BTC/USD:BTC-241227)"),
    ("XBTZ24", "BTCUSDT_241227 (BTC/USDT:USDT-241227), BTCUSD_241227 (BTC/USD:BTC-241227)"),
])
def test_a_name_of_several_is_refused_with_all_of_them(name, candidates):
    with pytest.raises(InputError) as caught:
        ALL.find(name)
    assert str(caught.value) == f"{name!r} may be any of {candidates}; say which"


def test_two_futures_of_a_month_share_its_code():
    first = contract("A", "BTC", "USD", "BTC", date(2024, 12, 20))
    second = contract("B", "BTC", "USD", "BTC", DECEMBER)
    both = Spellings([first, second])
    assert (both.find("BTC-20DEC24"), both.find("BTC-27DEC24")) == ("A", "B")
    with pytest.raises(InputError, match=r"'BTCUSDZ24' may be any of A .*, B "):
        both.find("BTCUSDZ24")


def test_a_long_list_of_candidates_is_cut():
    many = Spellings([contract(f"S{n}", "BTC", f"Q{n}") for n in range(12)])
    with pytest.raises(InputError, match=r"S7 \(BTC/Q7:Q7\), 4 more; say which$"):
        many.find("BTC-PERP")


def test_a_symbol_means_itself_even_where_it_is_a_name_of_others():
    odd = Spellings([contract("BTC-PERP", "BTC", "USDC"), BTCUSDT, BTCUSD])
    assert odd.find("BTC-PERP") == "BTC-PERP"
    with pytest.raises(InputError, match="say which"):
        odd.find("btc_perp")


@pytest.mark.parametrize("name", ["", "SOLUSDT", "BTCEUR", "BTC-28DEC24", "NASDAQ:BTCUSDT", "-"])
def test_names_of_nothing(name):
    with pytest.raises(InputError, match="no instrument goes by this name"):
        ALL.find(name)


def test_the_instruments_of_an_exchange():
    exchange = Exchange()
    exchange.apply({"cmd": "asset", "asset": "BTC", "decimals": 8})
    tier = {"min_notional": "0", "max_notional": None, "maintenance_margin_rate": "0.01",
            "max_leverage": "50"}
    exchange.apply({
        "cmd": "instrument", **COIN_FUTURE, "tick_size": "0.1", "lot_size": "1",
        "contract_size": "100", "tiers": [tier]})
    assert Spellings.of(exchange).find("BTC/USD:BTC-241227") == "BTCUSD_241227"
    assert unified_name(exchange.instrument("BTCUSD_241227").terms) == "BTC/USD:BTC-241227"


# --- any contract: as each venue writes it, and back -----------------------------------


def binance(one: dict[str, Any], day: date | None) -> str:
    pair = one["base"] + one["quote"]
    if day is not None:
        return f"{pair}_{day:%y%m%d}"
    return pair if one["kind"] == "linear" else f"{pair}_PERP"


def bybit(one: dict[str, Any], day: date | None) -> str:
    pair = one["base"] + one["quote"]
    return pair if day is None else f"{pair}-{day.day:02}{MONTHS[day.month - 1]}{day:%y}"


def okx(one: dict[str, Any], day: date | None) -> str:
    return f"{one['base']}-{one['quote']}-" + ("SWAP" if day is None else f"{day:%y%m%d}")


def ccxt(one: dict[str, Any], day: date | None) -> str:
    name = f"{one['base']}/{one['quote']}:{one['settle']}"
    return name if day is None else f"{name}-{day:%y%m%d}"


def nautilus(one: dict[str, Any], day: date | None) -> str:
    pair = one["base"] + one["quote"]
    return f"{pair}-PERP.BYBIT" if day is None else f"{pair}_{day:%y%m%d}.BINANCE"


def deribit(one: dict[str, Any], day: date | None) -> str:
    name = f"{one['base']}_{one['quote']}"
    return f"{name}-PERPETUAL" if day is None else (
        f"{name}-{day.day}{MONTHS[day.month - 1]}{day:%y}")


def kraken(one: dict[str, Any], day: date | None) -> str:
    base = "XBT" if one["base"] == "BTC" else one["base"]
    letter = "I" if one["kind"] == "inverse" else "F"
    name = f"{base}{one['quote']}"
    return f"P{letter}_{name}" if day is None else f"F{letter}_{name}_{day:%y%m%d}"


WRITERS = st.sampled_from([binance, bybit, okx, ccxt, nautilus, deribit, kraken])
BASES = st.sampled_from(["BTC", "ETH", "DOGE", "1000PEPE", "SOL", "TRX", "A", "1INCH", "币安人生"])
DAYS = st.none() | st.dates(date(2020, 1, 1), date(2099, 12, 31))
PARTS = st.tuples(BASES, st.sampled_from(["USDT", "USDC", "USD"]), DAYS)


@settings(max_examples=150)
@given(st.sets(PARTS, min_size=1, max_size=12), WRITERS, st.booleans())
def test_a_contract_is_found_by_each_venues_name_for_it(parts, writer, is_lower):
    # The order of a set of drawn parts does not matter: symbols are numbers.
    listed = [
        (contract(f"#{number}", base, quote, base if quote == "USD" else None, day), day)
        for number, (base, quote, day) in enumerate(parts)]
    names = Spellings(one for one, _ in listed)
    for one, day in listed:
        name = writer(one, day)
        assert names.find(name.lower() if is_lower else name) == one["symbol"]
        assert names.find(unified_name(one)) == one["symbol"]
        assert unified_name(one) == ccxt(one, day)


@settings(max_examples=100)
@given(st.lists(st.tuples(
    st.text("ABUSDTP0-", min_size=1, max_size=6), st.text("USDTA", min_size=1, max_size=4), DAYS),
    min_size=1, max_size=8), WRITERS)
def test_whatever_names_collide_the_contract_is_among_those_told(parts, writer):
    listed = [(contract(f"#{number}", base, quote, None, day), day)
              for number, (base, quote, day) in enumerate(parts)]
    names = Spellings(one for one, _ in listed)
    for one, day in listed:
        try:
            found = [names.find(writer(one, day))]
        except InputError as error:
            found = str(error).split()
        assert one["symbol"] in found


@settings(max_examples=150)
@given(st.text(max_size=20))
def test_any_text_is_found_or_refused_in_one_line(text):
    try:
        assert ALL.find(text) in {"BTCUSDT", "BTCUSD_PERP", "BTCUSDT_241227", "BTCUSD_241227",
                                  "BTCUSD_250103", "1000PEPEUSDT"}
    except InputError as error:
        assert "\n" not in str(error)
