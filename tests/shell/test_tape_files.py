"""Readers of order tapes and captures: what they make of good rows, and say about bad ones."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from engine.errors import InputError
from engine.feeds.depth import (
    LINE_LENGTH_MAX,
    BookTicker,
    DepthSnapshot,
    DepthUpdate,
    OtherMessage,
    TradePrint,
    read_capture,
)
from engine.feeds.lobster import Kind, Message, Phase, read_messages, read_quotes
from engine.feeds.quotes import Quote
from engine.messages import Side
from engine.units import Grid

NS = 1_723_161_255_030_314_667
TICK, LOT = Grid("0.1"), Grid("0.001")


def write(folder: Path, name: str, *lines: str) -> str:
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def failure(records) -> str:
    with pytest.raises(InputError) as caught:
        list(records)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- LOBSTER --------------------------------------------------------------------------

NEW = "34200.004241176,1,16113575,18,5853300,1"


def test_message_rows(tmp_path):
    lines = [
        NEW,
        "34200.0042412,4,16113575,10,5853300,1",
        "34201,5,0,100,5853400,-1",
        "34202.5,6,-1,300,5853350,-1",
        "34203,7,0,0,-1,-1",
    ]
    path = tmp_path / "messages.csv.gz"
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    second = 10**9
    assert list(read_messages(str(path))) == [
        Message(1, 34_200_004_241_176, Kind.NEW, 16113575, 18, 5853300, Side.BUY),
        Message(2, 34_200_004_241_200, Kind.EXECUTE, 16113575, 10, 5853300, Side.BUY),
        Message(3, 34_201 * second, Kind.HIDDEN, 0, 100, 5853400, Side.SELL),
        Message(4, 34_202 * second + second // 2, Kind.CROSS, -1, 300, 5853350, Side.SELL),
        Message(5, 34_203 * second, Kind.HALT, 0, 0, Phase.HALTED, Side.SELL),
    ]


@pytest.mark.parametrize(
    "text, time_ns",
    [("35821.088778456004", 35_821_088_778_456), ("35821.0887784559996", 35_821_088_778_456),
     ("9.9999999999", 10_000_000_000)])
def test_float_noise_beyond_the_nanosecond_is_rounded_away(tmp_path, text, time_ns):
    path = write(tmp_path, "messages.csv", NEW.replace("34200.004241176", text))
    assert next(read_messages(path)).time_ns == time_ns


BAD_MESSAGES = {
    "expected 6 columns of a message, found 5": "34200.1,1,5,18,5853300",
    "time is not seconds after midnight: '1e5'": "1e5,1,5,18,5853300,1",
    "time is not within a day": "86400,1,5,18,5853300,1",
    "time goes backwards": "34200.004241175,1,5,18,5853300,1",
    "type must be 1 to 7, not '8'": "34200.1,8,5,18,5853300,1",
    "type must be 1 to 7, not '12'": "34200.1,12,5,18,5853300,1",
    "direction must be 1 or -1, not '0'": "34200.1,1,5,18,5853300,0",
    "order id is not a whole number: 'x'": "34200.1,1,x,18,5853300,1",
    "order id is out of range: 0": "34200.1,3,0,18,5853300,1",
    "size is not a whole number: '1.5'": "34200.1,1,5,1.5,5853300,1",
    "size is out of range: 0": "34200.1,2,5,0,5853300,1",
    "price is not a whole number": "34200.1,1,5,18,²,1",
    "price is out of range: -9999999999": "34200.1,1,5,18,-9999999999,1",
    "price is out of range: 9999999999999999999": "34200.1,1,5,18,9999999999999999999,1",
    "price of a halt must be -1, 0 or 1, not 2": "34200.1,7,0,0,2,-1",
}


@pytest.mark.parametrize("reason", BAD_MESSAGES)
def test_bad_message_names_file_line_and_reason(tmp_path, reason):
    path = write(tmp_path, "messages.csv", NEW, BAD_MESSAGES[reason])
    records = read_messages(path)
    assert next(records).line == 1  # read as it goes: what is wrong below has not been met yet
    message = failure(records)
    assert message.startswith(f"{path}:2: ") and reason in message


def test_quote_rows_of_any_depth(tmp_path):
    path = write(
        tmp_path, "orderbook.csv", "101,5,99,7,102,1,98,1", "9999999999,0,99,7,9999999999,0,98,1",
        "101,5,-9999999999,0,102,1,-9999999999,0")
    assert list(read_quotes(path)) == [
        Quote(99, 7, 101, 5), Quote(99, 7, None, 0), Quote(None, 0, 101, 5)]


BAD_QUOTES = {
    "expected columns by fours, as before; found 3": "101,5,99",
    "expected columns by fours, as before; found 8": "101,5,99,7,102,1,98,1",
    "bid size is not a whole number: ''": "101,5,99,",
    "not a level of a book: price 101, size 0": "101,0,99,7",
    "not a level of a book: price 0, size 5": "0,5,99,7",
}


@pytest.mark.parametrize("reason", BAD_QUOTES)
def test_bad_quote_names_file_line_and_reason(tmp_path, reason):
    path = write(tmp_path, "orderbook.csv", "101,5,99,7", BAD_QUOTES[reason])
    message = failure(read_quotes(path))
    assert message.startswith(f"{path}:2: ") and reason in message


# --- captures -------------------------------------------------------------------------


def streamed(stream: str, data: dict, local_ns: int = NS) -> str:
    return f"{local_ns} " + json.dumps({"stream": f"btcusdt@{stream}", "data": data})


UPDATE = {
    "e": "depthUpdate", "E": 1723161256299, "T": 1723161256298, "s": "BTCUSDT", "U": 12, "u": 15,
    "pu": 9, "b": [["100.1", "0.014"], ["99", "0.000"]], "a": [["100.20", "7"]],
}
TICKER = {"u": 15, "s": "BTCUSDT", "b": "100.10", "B": "0.014", "a": "100.20", "A": "7.000"}
TRADE = {
    "e": "trade", "E": 1723161256322, "T": 1723161256321, "s": "BTCUSDT", "t": 5, "p": "100.20",
    "q": "0.006", "X": "MARKET", "m": False,
}
SNAPSHOT = {"lastUpdateId": 13, "bids": [["99.00", "2"]], "asks": [["100.3", "0.5"]]}


def test_capture_lines(tmp_path):
    spot_update = {name: UPDATE[name] for name in ("e", "E", "s", "U", "u", "b", "a")}
    path = write(
        tmp_path, "capture.txt",
        streamed("depth@0ms", UPDATE), streamed("bookTicker", TICKER), streamed("trade", TRADE),
        f"{NS} {json.dumps(SNAPSHOT)}", streamed("depth@100ms", spot_update),
        streamed("trade", TRADE | {"X": "INSURANCE_FUND"}),
        streamed("markPrice", {"e": "markPriceUpdate", "s": "BTCUSDT"}),
    )
    sent, happened = 1723161256299 * 10**6, 1723161256298 * 10**6
    bids, asks = [(1001, 14), (990, 0)], [(1002, 7000)]
    assert list(read_capture(path, TICK, LOT)) == [
        DepthUpdate(1, NS, happened, 12, 15, 9, bids, asks),
        BookTicker(2, NS, None, 15, 1001, 14, 1002, 7000),
        TradePrint(3, NS, 1723161256321 * 10**6, 5, 1002, 6, False),
        DepthSnapshot(4, NS, None, 13, [(990, 2000)], [(1003, 500)]),
        DepthUpdate(5, NS, sent, 12, 15, 11, bids, asks),
        OtherMessage(6, NS, 1723161256321 * 10**6, "btcusdt@trade"),
        OtherMessage(7, NS, None, "btcusdt@markPrice"),
    ]


BAD_LINES = {
    "local time is not a whole number: 'yesterday'": "yesterday {}",
    "local time is not a time in nanoseconds": f"{NS // 1000} {{}}",
    "not JSON behind the local time": f"{NS} {{",
    "not a JSON object behind the local time": f"{NS} [1]",
    "neither a message of a stream nor a depth snapshot": f'{NS} {{"result": null}}',
    "recursion": f"{NS} " + "[" * 200_000,
    "symbol is not a name: 'None'": streamed("trade", {}),
    "a capture of BTCUSDT cannot hold ETHUSDT too": streamed("trade", TRADE | {"s": "ETHUSDT"}),
    "E is not a whole number": streamed("trade", {"s": "BTCUSDT", "E": 1.5}),
    "T is not a time in milliseconds or microseconds": streamed("trade", TRADE | {"T": 7}),
    "U is not an id: 'True'": streamed("depth", UPDATE | {"U": True}),
    "u is not an id: 'None'": streamed("depth", UPDATE | {"u": None}),
    "update ids are not in order: 9, 16, 15": streamed("depth", UPDATE | {"U": 16}),
    "update ids are not in order: 12, 12, 15": streamed("depth", UPDATE | {"pu": 12}),
    "a is not a list of levels": streamed("depth", UPDATE | {"a": None}),
    "b has a level that is not a price and a quantity": streamed("depth", UPDATE | {"b": [["1"]]}),
    "a has a level that is not a price and a quantity": streamed("d", UPDATE | {"a": [["1", 2.5]]}),
    "b has a level at price zero": streamed("depth", UPDATE | {"b": [["0.0", "1"]]}),
    "price is not a multiple of 0.1: '100.15'": streamed("d", UPDATE | {"b": [["100.15", "1"]]}),
    "quantity is not a multiple of 0.001": streamed("depth", UPDATE | {"b": [["100", "0.0001"]]}),
    "quantity is out of range: '-1'": streamed("depth", UPDATE | {"b": [["100", "-1"]]}),
    "quantity is not a decimal number: '1e3'": streamed("depth", UPDATE | {"b": [["100", "1e3"]]}),
    "price is out of range": streamed("depth", UPDATE | {"b": [["9" * 30, "1"]]}),
    "B is not a decimal string: '3'": streamed("bookTicker", TICKER | {"B": 3}),
    "a trade needs a price": streamed("trade", TRADE | {"p": "0"}),
    "a trade needs": streamed("trade", TRADE | {"m": "yes"}),
    "lastUpdateId is not an id": f"{NS} " + json.dumps(SNAPSHOT | {"lastUpdateId": 0}),
    "asks is not a list of levels": f'{NS} {{"lastUpdateId": 5, "bids": []}}',
    "not a text table: no line end": f"{NS} " + " " * LINE_LENGTH_MAX,
}


@pytest.mark.parametrize("reason", BAD_LINES)
def test_bad_line_names_file_line_and_reason(tmp_path, reason):
    path = write(tmp_path, "capture.txt", streamed("trade", TRADE), BAD_LINES[reason])
    records = read_capture(path, TICK, LOT)
    assert next(records).line == 1
    message = failure(records)
    assert message.startswith(f"{path}:2: ") and reason in message
