"""Instruments of venues: what each shape becomes, and what is refused in one line."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine import Exchange, cli
from engine.errors import InputError
from engine.listings import Spellings, load_instruments, read_instruments
from engine.schedules import load_schedules, read_contracts, read_schedules

EXPIRY_MS = 1735286400000  # 27 December 2024, 08:00 UTC
TIER = {"min_notional": "0", "max_notional": None, "maintenance_margin_rate": "0.025",
        "max_leverage": "20"}
HALF = {**TIER, "maintenance_margin_rate": "0.005", "max_leverage": "100"}


# --- one market, as every venue would list it -----------------------------------------


def filters(tick: str, step: str, least: str, most: str) -> list[dict[str, Any]]:
    return [
        {"filterType": "PRICE_FILTER", "tickSize": tick, "minPrice": "556.80",
         "maxPrice": "4529764"},
        {"filterType": "LOT_SIZE", "stepSize": step, "minQty": least, "maxQty": most},
        {"filterType": "MARKET_LOT_SIZE", "stepSize": step, "minQty": least, "maxQty": "120"},
        {"filterType": "MAX_NUM_ORDERS", "limit": Decimal(200)},
        {"filterType": "MIN_NOTIONAL", "notional": "100"},
        {"filterType": "PERCENT_PRICE", "multiplierUp": "1.0500", "multiplierDown": "0.9500",
         "multiplierDecimal": "4"}]


def usdm(symbol: str, kind: str, delivery: int) -> dict[str, Any]:
    return {
        "symbol": symbol, "pair": "BTCUSDT", "contractType": kind, "status": "TRADING",
        "deliveryDate": Decimal(delivery), "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000", "baseAsset": "BTC", "quoteAsset": "USDT",
        "marginAsset": "USDT", "baseAssetPrecision": Decimal(8), "quotePrecision": Decimal(8),
        "liquidationFee": "0.012500", "marketTakeBound": "0.05",
        "filters": filters("0.10", "0.001", "0.001", "1000")}


USDM = {"timezone": "UTC", "futuresType": "U_MARGINED", "symbols": [
    usdm("BTCUSDT", "PERPETUAL", 4133404800000),
    usdm("BTCUSDT_241227", "CURRENT_QUARTER", EXPIRY_MS)]}
COINM = {"timezone": "UTC", "symbols": [{
    **{name: value for name, value in usdm("BTCUSD_PERP", "PERPETUAL", 4133404800000).items()
       if name != "status"},
    "pair": "BTCUSD", "contractStatus": "TRADING", "contractSize": Decimal(100),
    "quoteAsset": "USD", "marginAsset": "BTC", "filters": filters("0.1", "1", "1", "1000000")}]}


def bybit_row(symbol: str, kind: str, delivery: str, step: str, settle: str) -> dict[str, Any]:
    return {
        "symbol": symbol, "contractType": kind, "status": "Trading", "baseCoin": "BTC",
        "quoteCoin": "USDT" if settle == "USDT" else "USD", "settleCoin": settle,
        "deliveryTime": delivery, "leverageFilter": {"minLeverage": "1", "maxLeverage": "100.00"},
        "priceFilter": {"minPrice": "0.10", "tickSize": "0.10"},
        "lotSizeFilter": {"maxOrderQty": "1190.000", "minOrderQty": step, "qtyStep": step,
                          "minNotionalValue": "5"}}


BYBIT = {"retCode": 0, "retMsg": "OK", "result": {
    "category": "linear", "nextPageCursor": "", "list": [
        bybit_row("BTCUSDT", "LinearPerpetual", "0", "0.001", "USDT"),
        bybit_row("BTCUSDT-27DEC24", "LinearFutures", str(EXPIRY_MS), "0.001", "USDT"),
        bybit_row("BTCUSD", "InversePerpetual", "0", "1", "BTC"),
        bybit_row("BTCUSDZ24", "InverseFutures", str(EXPIRY_MS), "1", "BTC")]}}


def okx_row(symbol: str, kind: str, size: str, expiry: str = "") -> dict[str, Any]:
    is_linear = kind == "linear"
    return {
        "instId": symbol, "instType": "FUTURES" if expiry else "SWAP", "ctType": kind,
        "uly": "BTC-USDT" if is_linear else "BTC-USD", "ctVal": size, "ctMult": "1",
        "ctValCcy": "BTC" if is_linear else "USD", "settleCcy": "USDT" if is_linear else "BTC",
        "expTime": expiry, "lever": "100", "tickSz": "0.1", "lotSz": "0.01" if is_linear else "1",
        "minSz": "0.01" if is_linear else "1", "maxLmtSz": "100000000.0000000000000000",
        "state": "live", "baseCcy": "", "quoteCcy": ""}


OKX = {"code": "0", "msg": "", "data": [
    okx_row("BTC-USDT-SWAP", "linear", "0.01"), okx_row("BTC-USD-SWAP", "inverse", "100"),
    okx_row("BTC-USD-241227", "inverse", "100", str(EXPIRY_MS))]}


def market(symbol: str, kind: str, *, size: str, settle: str = "USDT") -> dict[str, Any]:
    is_linear = settle == "USDT"
    return {
        "id": "x", "symbol": symbol, "type": kind, "spot": kind == "spot", "base": "BTC",
        "quote": "USDT" if is_linear else "USD", "settle": settle, "active": True,
        "linear": is_linear, "inverse": not is_linear, "contractSize": Decimal(size),
        "expiry": Decimal(EXPIRY_MS) if kind == "future" else None, "percentage": True,
        "maker": Decimal("0.0002"), "taker": Decimal("4E-04"),
        "precision": {"price": Decimal("0.1"), "amount": Decimal("0.001" if is_linear else "1")},
        "limits": {"amount": {"min": Decimal("0.001") if is_linear else None, "max": Decimal(1000)},
                   "cost": {"min": Decimal(5), "max": None}, "leverage": {"min": 1, "max": 100},
                   "price": {"min": None, "max": None}},
        "info": {"filters": [{"filterType": "PRICE_FILTER", "tickSize": "0.10"}]}}


CCXT = {one["symbol"]: one for one in (
    market("BTC/USDT:USDT", "swap", size="1"),
    market("BTC/USD:BTC", "swap", size="100", settle="BTC"),
    market("BTC/USDT:USDT-241227", "future", size="1"))}


class Encoder(json.JSONEncoder):
    """Writes a Decimal as the number that it is, by way of a marked string."""

    def default(self, value: object) -> str:
        return f"@{value}@"


def write(folder: Path, data: object, name: str = "listing.dat") -> str:
    path = folder / name
    text = data if isinstance(data, str) else json.dumps(data, cls=Encoder)
    path.write_text(text.replace('"@', "").replace('@"', ""), encoding="utf-8")
    return str(path)


# --- shapes ---------------------------------------------------------------------------


def command(symbol: str, quote: str, settle: str, **terms: Any) -> dict[str, Any]:
    kind = "inverse" if settle == "BTC" else "linear"
    return {"cmd": "instrument", "symbol": symbol, "kind": kind, "base": "BTC", "quote": quote,
            "settle": settle, "tick_size": "0.1", **terms}


EXPIRY = {"expiry_ts": EXPIRY_MS * 10**6}
BINANCE_TERMS = {"liquidation_fee": "0.0125", "price_band": "0.05", "max_open_orders": 200,
                 "tiers": [TIER]}
LINEAR = {"lot_size": "0.001", "contract_size": "1", "max_order_quantity": "1000",
          "min_order_quantity": "0.001"}
BYBIT_LINEAR = {**LINEAR, "max_order_quantity": "1190", "min_order_notional": "5", "tiers": [HALF]}
BYBIT_INVERSE = {"lot_size": "1", "contract_size": "1", "max_order_quantity": "1190",
                 "min_order_quantity": "1", "tiers": [HALF]}
OKX_INVERSE = {"lot_size": "1", "contract_size": "100", "max_order_quantity": "100000000",
               "min_order_quantity": "1", "tiers": [HALF]}
FEES = {"maker_fee": "0.0002", "taker_fee": "0.0004", "tiers": [HALF]}

SHAPES: dict[str, tuple[str, object, dict[str, int], list[dict[str, Any]]]] = {
    "usdm": ("binance", USDM, {"USDT": 8}, [
        command("BTCUSDT", "USDT", "USDT", **LINEAR, min_order_notional="100", **BINANCE_TERMS),
        command("BTCUSDT_241227", "USDT", "USDT", **LINEAR, min_order_notional="100",
                **BINANCE_TERMS, **EXPIRY)]),
    "coinm": ("binance", COINM, {"BTC": 8}, [
        command("BTCUSD_PERP", "USD", "BTC", lot_size="1", contract_size="100",
                max_order_quantity="1000000", min_order_quantity="1", **BINANCE_TERMS)]),
    "bybit": ("bybit", BYBIT, {"USDT": 8, "BTC": 8}, [
        command("BTCUSDT", "USDT", "USDT", **BYBIT_LINEAR),
        command("BTCUSDT-27DEC24", "USDT", "USDT", **BYBIT_LINEAR, **EXPIRY),
        command("BTCUSD", "USD", "BTC", **BYBIT_INVERSE),
        command("BTCUSDZ24", "USD", "BTC", **BYBIT_INVERSE, **EXPIRY)]),
    "okx": ("okx", OKX, {"USDT": 8, "BTC": 8}, [
        command("BTC-USDT-SWAP", "USDT", "USDT", lot_size="0.01", contract_size="0.01",
                max_order_quantity="100000000", min_order_quantity="0.01", tiers=[HALF]),
        command("BTC-USD-SWAP", "USD", "BTC", **OKX_INVERSE),
        command("BTC-USD-241227", "USD", "BTC", **OKX_INVERSE, **EXPIRY)]),
    "ccxt": ("ccxt", CCXT, {"USDT": 8, "BTC": 8}, [
        command("BTC/USDT:USDT", "USDT", "USDT", **LINEAR, min_order_notional="5", **FEES),
        command("BTC/USD:BTC", "USD", "BTC", lot_size="1", contract_size="100",
                max_order_quantity="1000", **FEES),
        command("BTC/USDT:USDT-241227", "USDT", "USDT", **LINEAR, min_order_notional="5", **FEES,
                **EXPIRY)]),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("from_file", [True, False])
def test_every_shape_becomes_commands(tmp_path, shape, from_file):
    name, data, assets, commands = SHAPES[shape]
    # The extension says something else on purpose: only the content counts.
    listed = read_instruments(write(tmp_path, data, "listing.csv") if from_file else data)
    assert (listed.shape, listed.assets, listed.skipped) == (name, assets, {})
    assert list(listed.instruments.values()) == commands


@pytest.mark.parametrize("shape", SHAPES)
def test_the_engine_takes_them(shape):
    exchange = Exchange()
    commands = load_instruments(SHAPES[shape][1])
    events = [event["event"] for one in commands for event in exchange.apply(one)]
    assert events == [f"{one['cmd']}_added" for one in commands]


def test_bare_lists_are_read_too():
    assert load_instruments(BYBIT["result"]["list"]) == load_instruments(BYBIT)
    assert load_instruments(OKX["data"]) == load_instruments(OKX)
    assert load_instruments(list(CCXT.values())) == load_instruments(CCXT)


def test_numbers_of_a_file_are_taken_from_their_text(tmp_path):
    data = copy.deepcopy(CCXT)
    row = data["BTC/USDT:USDT"]
    row["precision"]["price"] = "@1e-07@"
    row["info"] = {}
    row["maker"] = "@-0.00012345@"
    path = write(tmp_path, data)
    terms = read_instruments(path, symbols=["BTC/USDT:USDT"]).instruments["BTC/USDT:USDT"]
    assert (terms["tick_size"], terms["maker_fee"]) == ("0.0000001", "-0.00012345")


def test_what_is_not_a_contract_or_not_traded_is_left_out_and_counted():
    data = copy.deepcopy(USDM)
    spot = {"symbol": "BTCUSDT", "status": "TRADING", "baseAsset": "BTC", "filters": []}
    data["symbols"][1]["status"] = "SETTLING"
    # A contract that is not open yet has no type.
    idle = {**data["symbols"][0], "symbol": "NEW", "status": "PENDING_TRADING", "contractType": ""}
    data["symbols"] += [spot, {**spot, "symbol": "ETHUSDT"}, idle]
    listed = read_instruments(data)
    assert list(listed.instruments) == ["BTCUSDT"]
    assert listed.skipped == {"SETTLING": 1, "spot": 2, "PENDING_TRADING": 1}

    rows = {one: copy.deepcopy(SHAPES[one][1]) for one in ("bybit", "okx", "ccxt")}
    rows["bybit"]["result"]["list"][0]["status"] = "PreLaunch"
    rows["bybit"]["result"]["list"].append(
        {"symbol": "BTCUSDT", "status": "Trading", "lotSizeFilter": {"basePrecision": "0.1"}})
    rows["okx"]["data"][0]["state"] = "suspend"
    rows["okx"]["data"].append({"instId": "BTC-USDT", "instType": "SPOT", "tickSz": "0.1"})
    rows["ccxt"]["BTC/USDT:USDT"]["active"] = False
    rows["ccxt"]["BTC/USDT"] = market("BTC/USDT", "spot", size="1")
    left_out = {one: read_instruments(data).skipped for one, data in rows.items()}
    assert left_out == {"bybit": {"PreLaunch": 1, "spot": 1}, "okx": {"suspend": 1, "spot": 1},
                        "ccxt": {"inactive": 1, "spot": 1}}


def test_one_that_is_named_need_not_be_traded_nor_the_others_readable():
    data = copy.deepcopy(BYBIT)
    rows = data["result"]["list"]
    rows[0]["status"] = "Closed"
    rows[1]["lotSizeFilter"]["qtyStep"] = "much"
    rows[2]["contractType"] = "Strange"
    for wanted in ("XBTUSDT.P", ["XBTUSDT.P", "BTCUSDT"]):
        assert list(read_instruments(data, symbols=wanted).instruments) == ["BTCUSDT"]
    with pytest.raises(InputError, match=r": BTCUSDT-27DEC24: lotSizeFilter\.qtyStep is not"):
        read_instruments(data, symbols=["BTCUSDT-27DEC24"])
    with pytest.raises(InputError, match=r"^<data>: 'SOLUSDT': no instrument goes by this name$"):
        read_instruments(data, symbols=["SOLUSDT"])


# --- schedules ------------------------------------------------------------------------

SCHEDULE = [
    {"min_notional": "0", "max_notional": "300000", "maintenance_margin_rate": "0.004",
     "max_leverage": "125"},
    {"min_notional": "300000", "max_notional": None, "maintenance_margin_rate": "0.01",
     "max_leverage": "50"}]


@pytest.mark.parametrize("name", ["BTCUSDT", "BTC/USDT:USDT", "BTC-USDT-SWAP", "btcusdt-perp"])
def test_schedules_go_by_any_spelling(tmp_path, name):
    tiers = {name: SCHEDULE, "ETH/USDT:USDT": SCHEDULE}
    for source in (tiers, write(tmp_path, tiers), load_schedules(tiers)):
        listed = read_instruments(USDM, symbols=["BTCUSDT"], tiers=source)
        assert listed.instruments["BTCUSDT"]["tiers"] == SCHEDULE
        assert listed.notes == []


def test_a_schedule_under_the_symbol_itself_comes_first():
    tiers = {"BTC/USDT:USDT": [TIER], "BTCUSDT": SCHEDULE, "BTC-USDT-SWAP": [TIER]}
    listed = read_instruments(USDM, symbols=["BTCUSDT"], tiers=tiers)
    assert listed.instruments["BTCUSDT"]["tiers"] == SCHEDULE


def test_schedules_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(InputError, match="BTCUSDT_241227: no schedule for it in the tiers given"):
        read_instruments(USDM, tiers={"BTCUSDT": SCHEDULE})
    path = write(tmp_path, {"BTC/USDT:USDT": [TIER], "BTC-USDT-SWAP": [TIER]})
    with pytest.raises(InputError, match="BTC/USDT:USDT and BTC-USDT-SWAP are both names of BTCU"):
        read_instruments(USDM, symbols=["BTCUSDT"], tiers=path)


def test_the_rule_of_a_schedule_goes_with_it():
    tiers = {"code": "0", "data": [{
        "instId": "BTC-USDT-SWAP", "tier": "1", "minSz": "0", "maxSz": "1000", "mmr": "0.004",
        "maxLever": "100"}]}
    contracts = read_contracts(OKX, {"BTC-USDT-SWAP": "60000"})
    schedules = read_schedules(tiers, contracts=contracts)
    terms = read_instruments(OKX, symbols=["BTC/USDT:USDT"], tiers=schedules).instruments
    assert terms["BTC-USDT-SWAP"]["tier_rule"] == "whole"
    assert terms["BTC-USDT-SWAP"]["tiers"][0]["max_notional"] == "600000"


def test_without_schedules_the_leverage_of_the_file_makes_one_tier():
    assert [note.text for note in read_instruments(BYBIT).notes] == [
        "no schedules given: one tier each for 4, at the file's leverage and half of 1 / that as "
        "maintenance rate"]
    data = copy.deepcopy(OKX)
    data["data"] = data["data"][:1]
    data["data"][0]["lever"] = "75"
    [instrument] = read_instruments(data).instruments.values()
    assert instrument["tiers"] == [
        {**TIER, "max_leverage": "75", "maintenance_margin_rate": "0.00666667"}]
    data["data"][0]["lever"] = ""
    with pytest.raises(InputError, match="BTC-USDT-SWAP: the file does not tell its leverage"):
        read_instruments(data)


def test_binance_through_ccxt_tells_its_leverage_in_info():
    row = market("BTC/USDT:USDT", "swap", size="1")
    row["limits"]["leverage"] = {"min": None, "max": None}
    row["info"] |= {"requiredMarginPercent": "5.0000", "maintMarginPercent": "2.5000"}
    listed = read_instruments([row])
    assert listed.find("BTCUSDT")["tiers"] == [TIER]
    assert listed.notes[0].text.endswith("one tier each for 1, at the file's leverage")
    row["info"] = {}
    with pytest.raises(InputError, match="BTC/USDT:USDT: the file does not tell its leverage"):
        read_instruments([row])


# --- decimals and further terms -------------------------------------------------------


def test_decimals_are_enough_for_every_step():
    data = copy.deepcopy(OKX)
    data["data"][0] |= {"tickSz": "0.0000001", "ctVal": "0.01"}
    listed = read_instruments(data)
    assert listed.assets == {"USDT": 11, "BTC": 8}
    assert listed.notes[-1].text == (
        "BTC-USDT-SWAP: USDT has 11 decimals in place of 8, for one lot and tick")
    assert read_instruments(data, decimals={"USDT": 12}).assets["USDT"] == 12
    with pytest.raises(InputError) as caught:
        read_instruments(data, decimals={"USDT": 6})
    assert str(caught.value) == (
        "<data>: BTC-USDT-SWAP: the engine refuses it: bad_instrument: mark_tick x lot_size x "
        "contract_size is not a whole number of minor units of USDT")
    with pytest.raises(InputError, match="decimals of EUR: no instrument settles in it"):
        read_instruments(data, decimals={"EUR": 6})
    with pytest.raises(InputError, match=r"USDT: .*decimals.* must be an integer, not '6'"):
        read_instruments(data, decimals={"USDT": "6"})


def test_further_terms_come_before_those_of_the_file():
    terms = {"taker_fee": "0.0005", "maker_fee": "0", "profile": "binance_usdm"}
    listed = read_instruments(CCXT, terms=terms)
    assert all(terms.items() <= one.items() for one in listed.instruments.values())
    with pytest.raises(InputError, match=r"BTC/USDT:USDT: .*'taker_fee' must be a dec"):
        read_instruments(CCXT, terms={"taker_fee": 0.0005})
    with pytest.raises(InputError, match=r"BTC/USDT:USDT: the engine refuses it: .*profile"):
        read_instruments(CCXT, terms={"profile": "nobody"})


@pytest.mark.parametrize(("up", "down", "band", "note"), [
    ("1.15", "0.85", "0.15", None),
    ("1.15", "0.9", "0.15", "PERCENT_PRICE goes from 0.9 to 1.15: the wider 0.15 is taken"),
    ("5", "0.2", None, "PERCENT_PRICE goes from 0.2 to 5: read as no band"),
])
def test_a_price_band_is_the_same_to_both_sides(up, down, band, note):
    data = copy.deepcopy(USDM)
    data["symbols"] = data["symbols"][:1]
    data["symbols"][0]["filters"][-1] |= {"multiplierUp": up, "multiplierDown": down}
    listed = read_instruments(data)
    assert listed.instruments["BTCUSDT"].get("price_band") == band
    assert [one.text for one in listed.notes][:-1] == ([] if note is None else [f"BTCUSDT: {note}"])


def test_more_pages_are_noted():
    data = copy.deepcopy(BYBIT)
    data["result"]["nextPageCursor"] = "second"
    notes = read_instruments(data).notes
    assert "nextPageCursor is set: more symbols are on the next page" in notes[0].text


# --- what is refused ------------------------------------------------------------------

Change = Callable[[Any], Any]


def changed(shape: str, change: Change) -> object:
    data = copy.deepcopy(SHAPES[shape][1])
    rows = {"usdm": lambda: data["symbols"], "coinm": lambda: data["symbols"],
            "bybit": lambda: data["result"]["list"], "okx": lambda: data["data"],
            "ccxt": lambda: list(data.values())}[shape]()
    change(rows[0])
    return data


def put(**fields: Any) -> Change:
    return lambda row: row.update(fields)


def put_in(name: str, **fields: Any) -> Change:
    return lambda row: row[name].update(fields)


def put_filter(number: int, **fields: Any) -> Change:
    return lambda row: row["filters"][number].update(fields)


REFUSED = [
    ("usdm", "BTCUSDT: PRICE_FILTER.tickSize is missing", put_filter(0, tickSize="")),
    ("usdm", "BTCUSDT: PRICE_FILTER.tickSize is missing", put(filters=[])),
    ("usdm", "BTCUSDT: PRICE_FILTER.tickSize is missing", put(filters=[1, {"filterType": 2}])),
    ("usdm", "BTCUSDT: PRICE_FILTER.tickSize is 0.00, not above zero",
     put_filter(0, tickSize="0.00")),
    ("usdm", "BTCUSDT: PRICE_FILTER.tickSize is not a number: 'NaN'",
     put_filter(0, tickSize="NaN")),
    ("usdm", "BTCUSDT: LOT_SIZE.stepSize is a float; parse JSON with parse_float=Decimal",
     put_filter(1, stepSize=0.001)),
    ("usdm", "BTCUSDT: LOT_SIZE.minQty is '0.0005': no whole number of lots of 0.001",
     put_filter(1, minQty="0.0005")),
    ("usdm", "BTCUSDT: LOT_SIZE.maxQty is -5, below zero", put_filter(1, maxQty="-5")),
    ("usdm", "BTCUSDT: LOT_SIZE.maxQty is '1000.0001': no whole number of lots of 0.001",
     put_filter(1, maxQty="1000.0001")),
    ("usdm", "BTCUSDT: MAX_NUM_ORDERS.limit is '20.5': not a whole number",
     put_filter(3, limit="20.5")),
    ("usdm", "BTCUSDT: MIN_NOTIONAL.notional is not a number: '5 USDT'",
     put_filter(4, notional="5 USDT")),
    ("usdm", "BTCUSDT: PERCENT_PRICE.multiplierUp is '0.9': not above 1, with multiplierDown "
     "below it", put_filter(5, multiplierUp="0.9")),
    ("usdm", "BTCUSDT: PERCENT_PRICE.multiplierUp is missing: not above 1, with multiplierDown "
     "below it", put_filter(5, multiplierUp=None)),
    ("usdm", "BTCUSDT: contractType is missing", put(contractType=None)),
    ("usdm", "BTCUSDT: contractType is 'PERPETUAL DELIVERING': not supported",
     put(contractType="PERPETUAL DELIVERING")),
    ("usdm", "BTCUSDT: status is missing", put(status="")),
    ("usdm", "BTCUSDT: baseAsset is missing", put(baseAsset="")),
    ("usdm", "BTCUSDT: baseAsset is not a name: '5'", put(baseAsset=5)),
    ("usdm", "BTCUSDT: marginAsset is 'BTC': a contract without contractSize settles in another "
     "asset than its base", put(marginAsset="BTC")),
    ("usdm", "BTCUSDT: liquidationFee is not a number: 'x'", put(liquidationFee="x")),
    ("usdm", "BTCUSDT: deliveryDate is missing",
     put(contractType="NEXT_QUARTER", deliveryDate=None)),
    ("usdm", "BTCUSDT: deliveryDate is no time in milliseconds: 1.5",
     put(contractType="NEXT_QUARTER", deliveryDate="1.5")),
    ("usdm", "BTCUSDT: deliveryDate is no time in milliseconds: 9e30",
     put(contractType="NEXT_QUARTER", deliveryDate="9e30")),
    ("usdm", "row 1: symbol is not a name: 'None'", put(symbol=None)),
    ("usdm", "BTCUSDT_241227: the symbol comes twice", put(symbol="BTCUSDT_241227")),
    ("usdm", "BTCUSDT: the engine refuses it: bad_tiers: tier 1: maintenance_margin_rate exceeds "
     "1 / max_leverage", put(maintMarginPercent="6")),
    ("usdm", "BTCUSDT: its leverage is below 1", put(requiredMarginPercent="101")),
    ("coinm", "BTCUSD_PERP: marginAsset is 'USD': a contract with contractSize settles in its base",
     put(marginAsset="USD")),
    ("coinm", "BTCUSD_PERP: contractSize is 0, not above zero", put(contractSize=0)),
    ("bybit", "BTCUSDT: lotSizeFilter.qtyStep is missing", put_in("lotSizeFilter", qtyStep=None)),
    ("bybit", "BTCUSDT: lotSizeFilter.minOrderQty is '0.0015': no whole number of lots of 0.001",
     put_in("lotSizeFilter", minOrderQty="0.0015")),
    ("bybit", "BTCUSDT: priceFilter.tickSize is missing", put(priceFilter=[])),
    ("bybit", "BTCUSDT: contractType is 'Perpetual': not supported", put(contractType="Perpetual")),
    ("bybit", "BTCUSDT: optionsType is 'Call': options are not supported", put(optionsType="Call")),
    ("bybit", "BTCUSDT: settleCoin is 'BTC': not what a contract of type LinearPerpetual "
     "settles in", put(settleCoin="BTC")),
    ("bybit", "BTCUSDT: deliveryTime is 0, not above zero", put(
        contractType="LinearFutures", deliveryTime="0")),
    ("okx", "BTC-USDT-SWAP: ctVal is missing", put(ctVal="")),
    ("okx", "BTC-USDT-SWAP: ctMult is missing", put(ctMult=None)),
    ("okx", "BTC-USDT-SWAP: ctType is 'quanto': not supported", put(ctType="quanto")),
    ("okx", "BTC-USDT-SWAP: instType is 'OPTION': not supported", put(instType="OPTION")),
    ("okx", "BTC-USDT-SWAP: uly is 'BTCUSDT': expected BASE-QUOTE", put(uly="BTCUSDT")),
    ("okx", "BTC-USDT-SWAP: ctValCcy is 'USDT': a contract of type linear on BTC-USDT is of BTC",
     put(ctValCcy="USDT")),
    ("okx", "BTC-USDT-SWAP: settleCcy is 'BTC': not what a contract of type linear on BTC "
     "settles in", put(settleCcy="BTC")),
    ("okx", "BTC-USDT-SWAP: minSz is '0.015': no whole number of lots of 0.01",
     put(minSz="0.015")),
    ("okx", "BTC-USDT-SWAP: expTime is missing", put(instType="FUTURES")),
    ("ccxt", "BTC/USDT:USDT: type is 'option': not supported", put(type="option")),
    ("ccxt", "BTC/USDT:USDT: quanto is 'True': not supported: contractSize has no one meaning "
     "there", put(quanto=True)),
    ("ccxt", "BTC/USDT:USDT: linear is missing: a contract is either linear or inverse",
     put(linear=None)),
    ("ccxt", "BTC/USDT:USDT: contractSize is missing", put(contractSize=None)),
    ("ccxt", "BTC/USDT:USDT: settle is 'BTC': an inverse contract settles in its base, a linear "
     "one not", put(settle="BTC")),
    ("ccxt", "BTC/USDT:USDT: percentage is 'False': fees that are no fraction of the value are "
     "not supported", put(percentage=False)),
    # Digits in place of a step.
    ("ccxt", "BTC/USDT:USDT: precision.price is '1': but info.PRICE_FILTER.tickSize is 0.10",
     put_in("precision", price=1)),
    ("ccxt", "BTC/USDT:USDT: precision.amount is missing", put(precision={"price": "0.1"})),
    ("ccxt", "BTC/USDT:USDT: taker is a float; parse JSON with parse_float=Decimal",
     put(taker=0.0004)),
    ("ccxt", "BTC/USDT:USDT: the engine refuses it: malformed: taker_fee must be a multiple of "
     "0.00000001 under 1", put(taker=Decimal(1))),
]


@pytest.mark.parametrize(("shape", "reason", "change"), REFUSED)
def test_refused_with_row_and_field(shape, reason, change):
    with pytest.raises(InputError) as caught:
        load_instruments(changed(shape, change))
    assert str(caught.value) == f"<data>: {reason}"


WRONG = [
    ("cannot open: no such file or directory", None),
    ("the file is empty", " \n"),
    ("none of Binance exchangeInfo, Bybit instruments-info, OKX instruments, or ccxt", "{}"),
    ("none of Binance exchangeInfo", "[]"),
    ("none of Binance exchangeInfo", "[1]"),
    ("none of Binance exchangeInfo", '{"code":-1121,"msg":"Invalid symbol."}'),
    ("not JSON: Expecting", "symbol,tick\n"),
    ("not JSON: NaN is not a number", '{"symbols": NaN}'),
    ("not JSON: maximum recursion depth", "[" * 100_000),
    ("no instruments in the file", {"symbols": []}),
    ("no instruments in the file (1 spot)", {"symbols": [
        {"symbol": "BTCUSDT", "isSpotTradingAllowed": True}]}),
    ("symbol 1: expected an object", {"symbols": [5]}),
    ("the reply is an error: 10001 'params error'", {"retCode": 10001, "retMsg": "params error"}),
    ("expected a list of instruments", {"retCode": 0, "result": {}}),
    ("the reply is an error: 0.5 'odd'", {"retCode": Decimal("0.5"), "retMsg": "odd"}),
    ("the reply is an error: 51000 'bad'", {"code": "51000", "msg": "bad", "data": []}),
    ("market 2: expected an object", {**CCXT, "BTC/USD:BTC": 1}),
]


@pytest.mark.parametrize(("reason", "content"), WRONG)
def test_wrong_files_are_named_in_one_line(tmp_path, reason, content):
    path = str(tmp_path / "no") if content is None else write(tmp_path, content)
    with pytest.raises(InputError) as caught:
        load_instruments(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and reason in message and "\n" not in message


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container inside a value, with each of its keys."""
    if not isinstance(value, dict | list):
        return []
    keys = value if isinstance(value, dict) else range(len(value))
    return [place for key in keys for place in [(value, key), *places(value[key])]]


JUNK = st.one_of(
    st.none(), st.booleans(), st.text(max_size=12), st.integers(), st.floats(), st.decimals(),
    st.sampled_from(["0", "-1", "1e400", "1e-400", "0.3", "NaN", "9" * 50, [], {}, [{}], [1]]))


@settings(max_examples=300)
@given(st.sampled_from(sorted(SHAPES)), st.integers(0), JUNK)
@example("bybit", 0, Decimal("sNaN"))
@example("bybit", 0, "\n")
@example("usdm", 20, {1: 2})
def test_whatever_a_field_holds_it_is_read_or_refused_in_one_line(shape, number, junk):
    data = copy.deepcopy(SHAPES[shape][1])
    found = places(data)
    container, key = found[number % len(found)]
    container[key] = junk
    try:
        commands = load_instruments(data)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        exchange = Exchange(core="reference")
        assert "rejected" not in [
            event["event"] for one in commands for event in exchange.apply(one)]


# --- the command line -----------------------------------------------------------------


def test_engine_instruments_prints_a_scenario(tmp_path, capsys):
    tiers = write(tmp_path, {"BTC/USDT:USDT": SCHEDULE}, "tiers.json")
    out = tmp_path / "market.jsonl"
    assert cli.call(cli.app, [
        "instruments", write(tmp_path, USDM), "--symbol", "BTC-PERP", "--map", "BTCUSDT=BTC",
        "--tiers", tiers, "--set", "taker_fee=0.0005", "--set", "max_open_orders=50",
        "--out", str(out)]) == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert lines[0] == {"cmd": "asset", "asset": "USDT", "decimals": 8}
    assert lines[1] == command(
        "BTC", "USDT", "USDT", **LINEAR, min_order_notional="100",
        **{**BINANCE_TERMS, "taker_fee": "0.0005", "max_open_orders": 50, "tiers": SCHEDULE})
    assert capsys.readouterr() == ("", "")
    assert cli.call(cli.app, ["run", str(out)]) == 0
    assert '"event":"instrument_added"' in capsys.readouterr().out


def test_engine_instruments_prints_a_table(tmp_path, capsys):
    data = copy.deepcopy(USDM)
    data["symbols"].append({"symbol": "ETHUSDT", "isSpotTradingAllowed": True})
    path = write(tmp_path, data)
    assert cli.call(cli.app, ["instruments", path, "--table"]) == 0
    out, err = capsys.readouterr()
    head, first, second = (line.split() for line in out.splitlines())
    assert head == ["symbol", "unified", "kind", "tick_size", "lot_size", "contract_size",
                    "settle", "max_leverage", "tiers"]
    assert first == ["BTCUSDT", "BTC/USDT:USDT", "linear", "0.1", "0.001", "1", "USDT", "20", "1"]
    assert second[:2] == ["BTCUSDT_241227", "BTC/USDT:USDT-241227"]
    assert err == ("left out: 1 spot\nnote: no schedules given: one tier each for 2, at the "
                   "file's leverage\n")


def test_a_feed_that_spells_otherwise_is_told_what_to_map(tmp_path, capsys):
    out = str(tmp_path / "market.jsonl")
    listing = write(tmp_path, OKX)
    assert cli.call(cli.app, ["instruments", listing, "--symbol", "BTC/USDT:USDT",
                              "--out", out]) == 0
    feed = tmp_path / "feed.csv"
    feed.write_text("exchange,symbol,timestamp,local_timestamp,id,side,price,amount\n"
                    "binance,BTCUSDT,1700000000000000,1700000000000000,1,buy,60000,1\n")
    capsys.readouterr()
    replay = ["replay", str(feed), "--in-process", "--scenario", out]
    assert cli.call(cli.app, replay) == 2
    assert "rename it with --map BTCUSDT=BTC-USDT-SWAP" in capsys.readouterr().err
    assert cli.call(cli.app, [*replay, "--map", "BTCUSDT=BTC-USDT-SWAP"]) == 0
    feed.write_text(feed.read_text().replace("BTCUSDT", "SOLUSDT"))
    assert cli.call(cli.app, replay) == 2
    assert "rename it with --map SOLUSDT=NAME" in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "said"), [
    (["--symbol", "BTC"], "'BTC' may be any of BTCUSDT (BTC/USDT:USDT), BTCUSD (BTC/USD:BTC); "
     "say which"),
    (["--symbol", "SOL"], "'SOL': no instrument goes by this name"),
    (["--map", "SOL=X"], "no symbol SOL in the file"),
    (["--map", "BTCUSDT=BTCUSD"], "--map: two symbols would have one name"),
    (["--set", "speed=1"], "--set speed=1: `instrument` has no field 'speed'"),
    (["--set", "taker_fee"], "--set taker_fee: expected FIELD=VALUE"),
    (["--set", "taker_fee=1e-4"], "--set taker_fee=1e-4: taker_fee must be a decimal string"),
    (["--set", "fund=a", "--set", "fund=b"], "--set fund=b: fund is set twice"),
    (["--tiers", "nowhere"], "nowhere: cannot open: no such file or directory"),
])
def test_engine_instruments_refuses_in_one_line(tmp_path, capsys, arguments, said):
    assert cli.call(cli.app, ["instruments", write(tmp_path, BYBIT), *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and said in err and err.startswith("error: ") and err.count("\n") == 1


def test_engine_instruments_says_when_it_cannot_write(tmp_path, capsys):
    path = str(tmp_path / "no" / "x")
    assert cli.call(cli.app, ["instruments", write(tmp_path, OKX), "--out", path]) == 1
    assert f"{path}: cannot write" in capsys.readouterr().err


# --- recorded replies -----------------------------------------------------------------


@pytest.mark.parametrize(("name", "shape", "symbols"), [
    ("linear", "bybit", ["BTCUSDT", "ETHUSDT"]),
    ("inverse", "bybit", ["BTCUSD"]),
    ("swap", "okx", ["BTC-USD-SWAP", "ETH-USDT-SWAP", "BTC-USDT-SWAP"]),
])
def test_recorded_replies(real_data, name, shape, symbols):
    listed = read_instruments(real_data / "formats" / f"http_get_instruments_{name}.json")
    assert (listed.shape, list(listed.instruments)) == (shape, symbols)
    exchange = Exchange()
    for one in listed.commands():
        assert exchange.apply(one)[0]["event"] == f"{one['cmd']}_added"
    assert Spellings.of(exchange).find(symbols[-1].lower()) == symbols[-1]


def test_recorded_schedules_go_with_a_listing(real_data):
    tiers = real_data / "tiers" / "binance_2025-09.json"
    listed = read_instruments(USDM, symbols=["BTCUSDT"], tiers=tiers)
    assert len(listed.find("BTC/USDT:USDT")["tiers"]) > 5
