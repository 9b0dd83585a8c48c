"""Rows as venues document and send them, with fields of which nothing is made, become commands.

Where they are from:

- Binance COIN-M: the response example of `GET /dapi/v1/exchangeInfo` at developers.binance.com
  (Derivatives, COIN-M Futures, Market Data, Exchange Information), of January 2026.
- Bybit: dated rows of `GET /v5/market/instruments-info` with values that public clients recorded in
  2025 (linear) and 2026 (inverse); the linear one's leverage is made up.
- OKX: FUTURES rows of `GET /api/v5/public/instruments` as public clients describe them in 2026:
  names, sizes, settlement and expiry. The limits of orders are made up.
"""

from __future__ import annotations

from typing import Any

import pytest

from engine import Exchange
from engine.listings import Spellings, load_instruments, read_instruments

COIN_M: dict[str, Any] = {"exchangeFilters": [], "rateLimits": [], "timezone": "UTC", "symbols": [{
    "filters": [
        {"filterType": "PRICE_FILTER", "maxPrice": "100000", "minPrice": "0.1", "tickSize": "0.1"},
        {"filterType": "LOT_SIZE", "maxQty": "100000", "minQty": "1", "stepSize": "1"},
        {"filterType": "MARKET_LOT_SIZE", "maxQty": "100000", "minQty": "1", "stepSize": "1"},
        {"filterType": "MAX_NUM_ORDERS", "limit": 200},
        {"filterType": "PERCENT_PRICE", "multiplierUp": "1.0500", "multiplierDown": "0.9500",
         "multiplierDecimal": "4"}],
    "OrderType": ["LIMIT", "MARKET", "STOP", "TAKE_PROFIT", "TRAILING_STOP_MARKET"],
    "timeInForce": ["GTC", "IOC", "FOK", "GTX"], "liquidationFee": "0.010000",
    "marketTakeBound": "0.30", "symbol": "BTCUSD_200925", "pair": "BTCUSD",
    "contractType": "CURRENT_QUARTER", "deliveryDate": 1601020800000,
    "onboardDate": 1590739200000, "contractStatus": "TRADING", "contractSize": 100,
    "quoteAsset": "USD", "baseAsset": "BTC", "marginAsset": "BTC", "pricePrecision": 1,
    "quantityPrecision": 0, "baseAssetPrecision": 8, "quotePrecision": 8, "equalQtyPrecision": 4,
    "triggerProtect": "0.0500", "maintMarginPercent": "2.5000", "requiredMarginPercent": "5.0000",
    "underlyingType": "COIN", "underlyingSubType": []}]}

BYBIT = {"retCode": 0, "retMsg": "OK", "result": {"nextPageCursor": "", "list": [
    {"symbol": "BTCUSDZ26", "contractType": "InverseFutures", "status": "Trading",
     "baseCoin": "BTC", "quoteCoin": "USD", "launchTime": "1781251200000",
     "deliveryTime": "1798185600000", "deliveryFeeRate": "0.0005", "priceScale": "2",
     "leverageFilter": {"minLeverage": "1", "maxLeverage": "100.00", "leverageStep": "0.01"},
     "priceFilter": {"minPrice": "0.50", "maxPrice": "9999999.00", "tickSize": "0.50"},
     "lotSizeFilter": {
         "maxOrderQty": "5000000", "minOrderQty": "1", "qtyStep": "1", "minNotionalValue": "5",
         "postOnlyMaxOrderQty": "5000000", "maxMktOrderQty": "1000000"},
     "unifiedMarginTrade": True, "fundingInterval": 0, "settleCoin": "BTC",
     "copyTrading": "none", "displayName": "BTCUSD1225"},
    {"symbol": "BTCUSDT-26SEP25", "contractType": "LinearFutures", "status": "Trading",
     "baseCoin": "BTC", "quoteCoin": "USDT", "launchTime": "1742544000000",
     "deliveryTime": "1758873600000", "deliveryFeeRate": "0.0005", "priceScale": "2",
     "leverageFilter": {"minLeverage": "1", "maxLeverage": "50.00", "leverageStep": "0.01"},
     "priceFilter": {"minPrice": "0.50", "maxPrice": "1999999.00", "tickSize": "0.50"},
     "lotSizeFilter": {
         "maxOrderQty": "50.000", "minOrderQty": "0.001", "qtyStep": "0.001",
         "minNotionalValue": "5"},
     "settleCoin": "USDT"}]}}


def okx_row(**fields: Any) -> dict[str, Any]:
    return {
        "alias": "", "auctionEndTime": "", "baseCcy": "", "category": "1", "contTdSwTime": "",
        "ctMult": "1", "futureSettlement": False, "instType": "FUTURES", "lotSz": "1",
        "listTime": "1606276800000", "maxIcebergSz": "10000", "maxLmtAmt": "1000000",
        "maxLmtSz": "10000", "maxMktAmt": "100000", "maxMktSz": "1000", "maxStopSz": "1000",
        "maxTriggerSz": "10000", "maxTwapSz": "10000", "minSz": "1", "openType": "",
        "optType": "", "quoteCcy": "", "ruleType": "normal", "state": "live", "stk": "",
        "tickSz": "0.1", "uly": "BTC-USD", **fields}


OKX = {"code": "0", "msg": "", "data": [
    okx_row(
        instId="BTC-USD-260925", instFamily="BTC-USD", ctType="inverse", ctVal="100",
        ctValCcy="USD", settleCcy="BTC", lever="125", alias="quarter", expTime="1790323200000"),
    # An X-Perp: OKX lists it among its futures, with an expiry years away.
    okx_row(
        instId="BTC-USD_UM_XPERP-310404", instFamily="BTC-USD_UM_XPERP", ctType="linear",
        ctVal="0.0001", ctValCcy="BTC", settleCcy="USD", lever="50", ruleType="xperp",
        expTime="1933056000000")]}


def tier(rate: str, leverage: str) -> list[dict[str, str | None]]:
    return [{"min_notional": "0", "max_notional": None, "maintenance_margin_rate": rate,
             "max_leverage": leverage}]


ROWS: dict[str, tuple[Any, list[dict[str, Any]]]] = {
    "coin-m": (COIN_M, [{
        "symbol": "BTCUSD_200925", "kind": "inverse", "quote": "USD", "settle": "BTC",
        "tick_size": "0.1", "lot_size": "1", "contract_size": "100",
        "expiry_ts": 1601020800000 * 10**6, "max_order_quantity": "100000",
        "min_order_quantity": "1", "liquidation_fee": "0.01", "price_band": "0.05",
        "max_open_orders": 200, "tiers": tier("0.025", "20")}]),
    "bybit": (BYBIT, [
        {"symbol": "BTCUSDZ26", "kind": "inverse", "quote": "USD", "settle": "BTC",
         "tick_size": "0.5", "lot_size": "1", "contract_size": "1",
         "expiry_ts": 1798185600000 * 10**6, "max_order_quantity": "5000000",
         "min_order_quantity": "1", "tiers": tier("0.005", "100")},
        {"symbol": "BTCUSDT-26SEP25", "kind": "linear", "quote": "USDT", "settle": "USDT",
         "tick_size": "0.5", "lot_size": "0.001", "contract_size": "1",
         "expiry_ts": 1758873600000 * 10**6, "max_order_quantity": "50",
         "min_order_quantity": "0.001", "min_order_notional": "5", "tiers": tier("0.01", "50")}]),
    "okx": (OKX, [
        {"symbol": "BTC-USD-260925", "kind": "inverse", "quote": "USD", "settle": "BTC",
         "tick_size": "0.1", "lot_size": "1", "contract_size": "100",
         "expiry_ts": 1790323200000 * 10**6, "max_order_quantity": "10000",
         "min_order_quantity": "1", "tiers": tier("0.004", "125")},
        {"symbol": "BTC-USD_UM_XPERP-310404", "kind": "linear", "quote": "USD", "settle": "USD",
         "tick_size": "0.1", "lot_size": "1", "contract_size": "0.0001",
         "expiry_ts": 1933056000000 * 10**6, "max_order_quantity": "10000",
         "min_order_quantity": "1", "tiers": tier("0.01", "50")}]),
}


@pytest.mark.parametrize("venue", ROWS)
def test_a_venue_s_rows_become_commands(venue: str) -> None:
    data, expected = ROWS[venue]
    listed = read_instruments(data)
    assert listed.skipped == {}
    assert list(listed.instruments.values()) == [
        {"cmd": "instrument", "base": "BTC", **one} for one in expected]


@pytest.mark.parametrize("venue", ROWS)
def test_the_engine_takes_them_and_finds_them(venue: str) -> None:
    data, expected = ROWS[venue]
    exchange = Exchange()
    events = [event["event"] for one in load_instruments(data) for event in exchange.apply(one)]
    assert "rejected" not in events
    assert [Spellings.of(exchange).find(one["symbol"].lower()) for one in expected] == [
        one["symbol"] for one in expected]


def test_a_contract_that_is_being_delivered_is_left_out() -> None:
    row = {**COIN_M["symbols"][0], "contractStatus": "PRE_DELIVERING"}
    perpetual = {**row, "symbol": "BTCUSD_PERP", "contractType": "PERPETUAL",
                 "deliveryDate": 4133404800000, "contractStatus": "TRADING"}
    listed = read_instruments({"symbols": [row, perpetual]})
    assert list(listed.instruments) == ["BTCUSD_PERP"]
    assert sum(listed.skipped.values()) == 1
    assert "expiry_ts" not in listed.instruments["BTCUSD_PERP"]
