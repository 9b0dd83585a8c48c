"""Readers take many rows at a time; row by row, and with every bad row, the result is the same."""

from __future__ import annotations

import gzip
import random
import re

import pytest

from engine import wire
from engine.errors import InputError
from engine.feeds import Problems, open_feed, streams, tardis
from engine.feeds.columns import LevelColumns, read_columns
from engine.feeds.files import read_blocks, read_lines
from engine.feeds.records import BookChange

HEADER = "exchange,symbol,timestamp,local_timestamp,id,side,price,amount"
NEVER = re.compile("(?!)")
#: What may stand in a row of trades in place of what belongs there.
ODD = ["", "0", "-1", "1e-7", "x", "0.000", "buy", "1760054401433000", "9" * 30, "1.", ".5", " 1",
       "SELL", "unknown", "A,B", "17600544014330", "\xff", "1760054401433"]


def read(path) -> tuple[list, list, list]:
    problems = Problems(False)
    try:
        records = list(open_feed(str(path)).records(problems))
    except InputError as error:
        return [str(error)], problems.rows(), problems.lines
    return records, problems.rows(), problems.lines


def tardis_rows(rng: random.Random, count: int) -> list[str]:
    rows, now = [], 1_760_054_401_433_000
    for number in range(count):
        now += rng.choice((0, 0, 3, 1000, -2000 if rng.random() < 0.02 else 5))
        row = ["binance", rng.choice(("BTCUSDT", "ETH-USD")), str(now - rng.randrange(900)),
               str(now), str(number), rng.choice(("buy", "sell", "unknown", "")),
               rng.choice(("61800.5", "61800", "0.00001")), rng.choice(("0", "0.5", "12"))]
        if rng.random() < 0.05:
            row[rng.randrange(8)] = rng.choice(ODD)
        rows.append(",".join(row) if rng.random() > 0.01 else "")
    return rows


@pytest.mark.parametrize("seed", range(12))
def test_tables_of_trades(tmp_path, monkeypatch, seed):
    rng = random.Random(seed)
    # Small blocks, so that good ones lie between those with something odd in them.
    monkeypatch.setattr("engine.feeds.files._BLOCK_BYTES", rng.choice((100, 700, 1 << 16)))
    end = rng.choice(("\n", "\r\n"))
    text = end.join([HEADER, *tardis_rows(rng, 300)]) + rng.choice(("", end))
    path = tmp_path / "binance_trades_2025-10-10_X.csv"
    path.write_bytes(text.encode("latin-1"))
    fast = read(path)
    monkeypatch.setattr(tardis, "_GOOD_TRADES", NEVER)
    assert read(path) == fast
    assert len(fast[0]) > 200


def quote(number: int, **changes: str) -> str:
    fields = {"u": str(number), "s": '"BTCUSDT"', "b": '"61800.20"', "B": '"2.507"',
              "a": '"61800.30"', "A": '"2.510"', "T": "1723161256313", "E": "1723161256314"}
    inner = ",".join(f'"{name}":{value}' for name, value in {**fields, **changes}.items())
    return '{"stream":"btcusdt@bookTicker","data":{"e":"bookTicker",' + inner + "}}"


def trade(number: int, **changes: str) -> str:
    fields = {"E": "1723161256322", "T": "1723161256322", "s": '"BTCUSDT"', "t": str(number),
              "p": '"61800.30"', "q": '"0.006"', "X": '"MARKET"', "m": "false"}
    inner = ",".join(f'"{name}":{value}' for name, value in {**fields, **changes}.items())
    return '{"stream":"btcusdt@trade","data":{"e":"trade",' + inner + "}}"


def depth(number: int, levels: str) -> str:
    return (
        '{"stream":"btcusdt@depth@0ms","data":{"e":"depthUpdate","E":1723161256299,'
        f'"T":1723161256298,"s":"BTCUSDT","U":{number},"u":{number},"pu":{number - 1},'
        f'"b":{levels},"a":[]}}}}')


def test_messages_of_streams(tmp_path, monkeypatch):
    rng = random.Random(7)
    values = ['"0"', '"0.00"', '"1e-7"', '"-1"', "5", '""', '"x"', "null", "true", '"61800.5"',
              "1723161256", "1723161256322000", '"INSURANCE_FUND"', '"a b"']
    levels = ['[["1","2"],["3","0.000"]]', "[]", '[["1e-3","2"]]', '[["0","2"]]', '["12"]',
              '[["1"]]', "[[1,2]]", "null", '[["1","2","3"]]', '[["x","1"]]', '[["5","-1"]]']
    lines = [f'1723161255000000000 {{"lastUpdateId":1,"bids":{levels[0]},"asks":[["9","1"]]}}']
    for number in range(2, 900):
        make = rng.choice((quote, trade))
        changes = {}
        if rng.random() < 0.2:
            name = rng.choice("sbBaATE" if make is quote else "ETstpqXm")
            changes[name] = rng.choice(values)
        text = make(number, **changes)
        if rng.random() < 0.1:
            text = depth(number, rng.choice(levels))
        stamp = rng.choice((f"{1723161255000000000 + number * 1000} ", "17231612550 ", ""))
        lines.append(stamp + text.replace(",", ", ", 1 if rng.random() < 0.1 else 0))
    path = tmp_path / "capture.gz"
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    fast = read(path)
    assert len(fast[0]) > 400 and int(dict(fast[1])["bad_rows"]) > 50
    monkeypatch.setattr(streams._Parser, "parse_usual", lambda self, line: None)
    assert read(path) == fast


def odd_update(rng: random.Random, number: int) -> str:
    """Return a depth update as the exchange writes them, or with something changed in it."""
    def side(price_decimals: int) -> str:
        return "[" + ",".join(
            f'["{rng.randrange(1, 10**6) / 10:.{price_decimals}f}",'
            f'"{rng.choice((0, 5, 12.25)):.3f}"]' for _ in range(rng.randrange(5))) + "]"

    decimals = 2 if rng.random() < 0.95 else 4
    text = (
        f'{{"stream":"x@depth@0ms","data":{{"e":"depthUpdate","E":{1723161256299 + number},'
        f'"T":{1723161256298 + number},"s":"BTCUSDT","U":{number},"u":{number},'
        f'"pu":{number - 1},"b":{side(decimals)},"a":{side(decimals)}}}}}')
    if rng.random() < 0.2:
        before, after = rng.choice((
            (f'"u":{number}', f'"u":{number - 1}'), ('["', '["0'), ('["', '["-'), (".", ""),
            (".", ".."), ('"]', '5"]'), ('"]', 'e2"]'), ('"],[', '"][' ), ("]]", "],]"),
            ("]]", '],["1.00"]]'), ("[[", '[["0.00","1.000"],['), ('["', '["' + "7" * 17),
            ('["', '["' + "7" * 22), ('","', '", "'), ('","', "0"), ('"pu"', '"px"'),
            ('],"a":[', ',"a":['), ("}}", '"x":1}}'), ("[[", "[]["), (',"a"', ',"c"')))
        text = text.replace(before, after, 1)
    return text


@pytest.mark.parametrize("seed", range(20))
def test_depth_updates_in_columns(tmp_path, monkeypatch, seed):
    rng = random.Random(seed)
    monkeypatch.setattr("engine.feeds.files._BLOCK_BYTES", rng.choice((700, 4000, 1 << 16)))
    lines = []
    for number in range(2, 200):
        stamp = 1723161255000000000 + number * 1000
        if number % 8 == 2:
            levels = f'"lastUpdateId":{number - 1},"bids":[["1","1"]],"asks":[["9","1"]]'
            lines.append(f'{stamp} {{"symbol":"BTCUSDT",{levels}}}')
        lines.append(f"{stamp} {odd_update(rng, number)}")
    path = tmp_path / "capture.txt"
    path.write_text("\n".join(lines))
    fast = read(path)
    kinds = {type(record.bids) for record in fast[0] if hasattr(record, "bids")}
    assert LevelColumns in kinds and int(dict(fast[1])["bad_rows"]) > 5
    monkeypatch.setattr(streams._Parser, "find_updates", lambda self, lines: {})
    plain = read(path)
    assert plain == fast
    assert {type(record.bids) for record in plain[0] if hasattr(record, "bids")} == {list}


def test_columns_are_a_sequence_of_texts():
    bids, asks = read_columns(['["61800.20","2.507"],["61800.10","0.000"]', '["7.00","0.010"]'])
    texts = [("61800.20", "2.507"), ("61800.10", "0.000")]
    assert (list(bids), len(bids), bids[1], bids[:1]) == (texts, 2, texts[1], texts[:1])
    assert asks == [("7.00", "0.010")] and asks != bids and repr(bids) == repr(texts)
    change = BookChange(1, None, "X", False, bids, asks)
    [read_again] = wire.decode_records(wire.encode_records(1, 1, [change]))[2]
    assert read_again == change._replace(bids=texts, asks=[("7.00", "0.010")])


def test_levels_that_were_good_once_are_not_taken_for_another_text(tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "_REMEMBERED", 3)
    rows = ",".join(f'["{price}","{price}.5"]' for price in range(1, 9))
    lines = [f'1723161255000000000 {{"lastUpdateId":1,"bids":[{rows}],"asks":[["99","1"]]}}']
    lines += [f"1723161255000000000 {depth(number, f'[{rows}]')}" for number in range(2, 5)]
    path = tmp_path / "capture.txt"
    lines.insert(0, "1723161255000000000 " + quote(1))  # a snapshot does not name its symbol
    path.write_text("\n".join(lines))
    records = list(open_feed(str(path)).records())
    assert [len(record.bids) for record in records[1:]] == [8] * 4
    assert {level for record in records[1:] for level in record.bids} == {
        (str(price), f"{price}.5") for price in range(1, 9)}


@pytest.mark.parametrize("size", [1, 5, 64, 1 << 16])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_keep_their_numbers_whatever_the_blocks_are(tmp_path, monkeypatch, size, end):
    monkeypatch.setattr("engine.feeds.files._BLOCK_BYTES", size)
    lines = ["a", "", "bc", "", "", "d" * 40, "e"]
    path = tmp_path / "x.csv"
    path.write_bytes(end.join(lines).encode())
    found = list(read_lines(path))
    assert found == [(at, line) for at, line in enumerate(lines, 1) if line]
    assert "".join(block for _, block in read_blocks(path)).split("\n") == lines


def test_a_line_that_is_too_long_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("engine.feeds.files._BLOCK_BYTES", 64)
    path = tmp_path / "x.csv"
    for text in ("ok\n" + "y" * 100 + "\nz\n", "ok\n" + "y" * 1000):
        path.write_text(text)
        with pytest.raises(InputError, match=r"x.csv:2: not a text table: no line end in 100"):
            list(read_lines(path, 100))
