"""Formats of feed files: each told by its content and read with its traps."""

from __future__ import annotations

import gzip
import json
import lzma
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from engine.errors import InputError
from engine.feeds import Problems, open_feed, open_moments, records

MS = 1_760_054_400_000
NS = MS * 10**6


def write(folder: Path, name: str, *lines: str) -> str:
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def read(path: str, **options) -> list:
    return list(open_feed(path, **options).records())


def leniently(path: str) -> tuple[list, Problems]:
    problems = Problems(is_strict=False)
    return list(open_feed(path).records(problems)), problems


def marks(path: str, **options) -> list[tuple[int, str]]:
    moments = open_moments([open_feed(path)], **options)
    return [((moment.ts_ns - NS) // 1000, row[1]) for moment in moments for row in moment.rows]


# --- Tardis ---------------------------------------------------------------------------

COMMON = "exchange,symbol,timestamp,local_timestamp"
TRADES = f"{COMMON},id,side,price,amount"
BOOK = f"{COMMON},is_snapshot,side,price,amount"


def tardis(offset_us: int, *fields: str, late_us: int = 5) -> str:
    at = MS * 1000 + offset_us
    return ",".join(["ex", "X", str(at), str(at + late_us), *fields])


def test_tardis_trades(tmp_path):
    path = write(tmp_path, "t.csv", TRADES, tardis(0, "7", "buy", "1.5", "2"),
                 tardis(9, "8", "unknown", "1.6", "1e-7"))
    assert open_feed(path).kind == "tardis trades"
    assert read(path) == [
        records.Trade(NS, NS + 5000, "X", "1.5", "2", "buy", "7"),
        records.Trade(NS + 9000, NS + 14000, "X", "1.6", "0.0000001", None, "8"),
    ]


def test_tardis_exchange_times_may_step_back_but_not_local_ones(tmp_path):
    path = write(tmp_path, "t.csv", TRADES, tardis(9, "1", "buy", "5", "1"),
                 tardis(4, "2", "buy", "6", "1", late_us=20), tardis(0, "3", "buy", "7", "1"))
    found, problems = leniently(path)
    assert [trade.price for trade in found] == ["5", "6"]
    assert problems.lines == [
        f"{path}:4: time goes backwards: {MS * 1000 + 5} after {MS * 1000 + 24}"]
    problems = Problems(is_strict=False)
    assert marks(path, problems=problems) == [(9, "6")]  # played together
    assert problems.late_count == 1
    assert marks(path, problems=Problems(False), clock="local") == [(14, "5"), (24, "6")]


def test_tardis_liquidations_are_told_from_trades_by_the_name(tmp_path):
    row = tardis(0, "7", "sell", "1.5", "2")
    path = write(tmp_path, "bybit_liquidations_2025-10-10_X.csv", TRADES, row)
    assert read(path) == [records.Liquidation(NS, NS + 5000, "X", "sell", "1.5", "2", None)]


def test_tardis_book_waits_for_its_snapshot_and_is_replaced_by_the_next(tmp_path):
    path = write(
        tmp_path, "b.csv", BOOK,
        tardis(0, "false", "bid", "9", "1"),
        tardis(1, "true", "bid", "8", "1"), tardis(1, "true", "ask", "12", "1"),
        tardis(2, "true", "ask", "13", "1"),
        tardis(3, "false", "bid", "9", "2"), tardis(3, "false", "ask", "12", "0"),
        tardis(4, "true", "ask", "20", "1"), tardis(4, "true", "bid", "10", "1"),
    )
    found, problems = leniently(path)
    assert [(one.is_snapshot, one.bids, one.asks) for one in found] == [
        (True, [("8", "1")], [("12", "1")]),
        (False, [], [("13", "1")]),
        (False, [("9", "2")], [("12", "0")]),
        (True, [("10", "1")], [("20", "1")]),
    ]
    assert problems.skipped_count == 1
    assert marks(path) == [(1, "10"), (2, "10"), (3, "11"), (4, "15")]


def test_tardis_quotes_snapshots_and_tickers(tmp_path):
    quotes = write(tmp_path, "q.csv", f"{COMMON},ask_amount,ask_price,bid_price,bid_amount",
                   tardis(0, "3", "11", "10", "2"), tardis(1, "", "", "10", "2"))
    assert [one[3:] for one in read(quotes)] == [
        ("10", "2", "11", "3"), ("10", "2", None, None)]
    assert marks(quotes) == [(0, "10.5")]
    level = "asks[{0}].price,asks[{0}].amount,bids[{0}].price,bids[{0}].amount"
    shots = write(tmp_path, "s.csv", f"{COMMON},{level.format(0)},{level.format(1)}",
                  tardis(0, "11", "1", "10", "2", "12", "3", "", ""))
    assert read(shots)[0][3:] == (True, [("10", "2")], [("11", "1"), ("12", "3")])
    ticker = write(
        tmp_path, "d.csv",
        f"{COMMON},funding_timestamp,funding_rate,predicted_funding_rate,open_interest,"
        "last_price,index_price,mark_price",
        tardis(0, f"{MS}000", "-0.0001", "", "55", "10", "9.9", "10.1"),
        tardis(1, "", "", "", "", "10.5", "", ""))
    assert read(ticker) == [
        records.Ticker(NS, NS + 5000, "X", "10.1", "9.9", "10", "-0.0001", NS, "55"),
        records.Ticker(NS + 1000, NS + 6000, "X", None, None, "10.5"),
    ]
    assert marks(ticker) == [(0, "10.1")]  # a last price never takes over from a mark price


# --- Binance Vision -------------------------------------------------------------------

AGG = "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker"


@pytest.mark.parametrize("header", [[AGG], []])
@pytest.mark.parametrize("unit, truth", [("", "true"), ("000", "True")])
def test_binance_agg_trades(tmp_path, header, unit, truth):
    rows = [f"1,10.5,2,1,3,{MS}{unit},{truth}", f"2,10.6,2,4,4,{MS}{unit},false"]
    path = write(tmp_path, "BTCUSDT-aggTrades-2025-10-10.csv", *header, *rows)
    assert open_feed(path).kind == "binance aggTrades"
    assert read(path) == [
        records.Trade(NS, None, "BTCUSDT", "10.5", "2", "sell", "1"),
        records.Trade(NS, None, "BTCUSDT", "10.6", "2", "buy", "2"),
    ]


@pytest.mark.parametrize("header, row", [
    ("id,price,qty,quote_qty,time,is_buyer_maker", f"1,10.5,2,21,{MS},false"),
    ("id,price,qty,base_qty,time,is_buyer_maker", f"1,10.5,2,21,{MS},false"),
    (None, f"1,10.5,2,21,{MS},false"),
    (None, f"1,10.5,2,21,{MS}000,False,True"),
])
def test_binance_trades(tmp_path, header, row):
    path = write(tmp_path, "BTCUSD_PERP-trades-2025-10-10.csv", *filter(None, [header, row]))
    assert open_feed(path).kind == "binance trades"
    assert read(path) == [records.Trade(NS, None, "BTCUSD_PERP", "10.5", "2", "buy", "1")]


@pytest.mark.parametrize("header", [
    "update_id,best_bid_price,best_bid_qty,best_ask_price,best_ask_qty,transaction_time,event_time",
    None])
def test_binance_book_ticker(tmp_path, header):
    path = write(tmp_path, "X-bookTicker-2025-10-10.csv",
                 *filter(None, [header, f"1,10,2,11,3,{MS},{MS + 4}"]))
    assert read(path) == [records.BestQuote(NS, None, "X", "10", "2", "11", "3")]


def test_binance_figures_that_are_no_prices(tmp_path):
    path = write(tmp_path, "X-bookDepth-2025-10-10.csv", "timestamp,percentage,depth,notional",
                 "2025-10-10 00:00:07,-5,8243.012,979983314.2")
    assert read(path) == [records.DepthBand(NS + 7 * 10**9, None, "X", "-5", "8243.012",
                                            "979983314.2")]
    path = write(
        tmp_path, "X-metrics-2025-10-10.csv",
        "create_time,symbol,sum_open_interest,sum_open_interest_value,"
        "count_toptrader_long_short_ratio,sum_toptrader_long_short_ratio,count_long_short_ratio,"
        "sum_taker_long_short_vol_ratio", "2025-10-10 00:05:00,X,5.5,60,1.2,,2.5,0.9")
    assert read(path) == [records.OpenInterest(
        NS + 300 * 10**9, None, "X", "5.5", "60",
        {"count_toptrader_long_short_ratio": "1.2", "count_long_short_ratio": "2.5",
         "sum_taker_long_short_vol_ratio": "0.9"})]
    path = write(tmp_path, "X-fundingRate-2025-10.csv",
                 "calc_time,funding_interval_hours,last_funding_rate", f"{MS},8,-0.00001")
    assert read(path) == [records.Funding(NS, None, "X", "-0.00001", "8")]


def test_binance_liquidations_come_once(tmp_path):
    header = ("time,side,order_type,time_in_force,original_quantity,price,average_price,"
              "order_status,last_fill_quantity,accumulated_fill_quantity")
    row = f"{MS},SELL,LIMIT,IOC,5,9.5,9.8,FILLED,5,5"
    path = write(tmp_path, "X-liquidationSnapshot-2025-10-10.csv", header, row, row,
                 row.replace(",5,9.5", ",6,9.5"), row.replace(str(MS), str(MS + 1)))
    found, problems = leniently(path)
    assert found[0] == records.Liquidation(NS, None, "X", "sell", "9.5", "5", "9.8")
    assert (len(found), problems.skipped_count) == (3, 1)


def test_binance_depth_files(tmp_path):
    header = "symbol,timestamp,first_update_id,last_update_id,side,update_type,price,qty,pu"
    path = write(
        tmp_path, "X_T_DEPTH_2025-10-10_depth_update.csv", header,
        f"X,{MS},1,2,b,snap,10,1,0", f"X,{MS},1,2,a,snap,11,1,0",
        f"X,{MS + 1},3,4,b,set,10,0,2", f"X,{MS + 1},3,4,b,set,9,1,2")
    assert [(one.is_snapshot, one.bids, one.asks) for one in read(path)] == [
        (True, [("10", "1")], [("11", "1")]), (False, [("10", "0"), ("9", "1")], [])]
    assert marks(path) == [(0, "10.5"), (1000, "10")]


# --- Binance streams ------------------------------------------------------------------


def streamed(stream: str, data: dict, local_ns: int | None = NS) -> str:
    stamp = "" if local_ns is None else f"{local_ns} "
    return stamp + json.dumps({"stream": f"x@{stream}", "data": data}, separators=(",", ":"))


def depth(first: int, last: int, previous: int, **sides) -> dict:
    return {"e": "depthUpdate", "E": MS, "T": MS, "s": "X", "U": first, "u": last, "pu": previous,
            "b": sides.get("b", []), "a": sides.get("a", [])}


def test_streams_follow_the_exchanges_procedure_for_depth(tmp_path):
    shot = {"lastUpdateId": 15, "bids": [["9", "1"]], "asks": [["12", "1"]]}
    path = write(
        tmp_path, "capture.txt",
        streamed("depth", depth(10, 12, 9, b=[["1", "1"]])),  # the snapshot has it
        streamed("depth", depth(14, 16, 12, b=[["10", "1"]])),
        f"{NS} {json.dumps(shot, separators=(',', ':'))}",
        streamed("depth", depth(17, 18, 16, a=[["11", "1"]])),
        streamed("depth", depth(30, 31, 29, a=[["11", "0"]])),  # 19 to 29 are missing
        streamed("depth", depth(32, 33, 31, a=[["12", "0"]])),
    )
    found, problems = leniently(path)
    assert [(one.is_snapshot, one.bids, one.asks) for one in found] == [
        (True, [("9", "1")], [("12", "1")]), (False, [("10", "1")], []),
        (False, [], [("11", "1")])]
    assert (problems.skipped_count, problems.gap_count) == (1, 1)
    assert problems.lines == [f"{path}:5: depth update 29 is missing; the last was 18"]


def test_streams_of_every_kind(tmp_path):
    lines = [
        {"e": "trade", "E": MS, "T": MS, "s": "X", "t": 5, "p": "10", "q": "1", "m": True},
        {"e": "aggTrade", "E": MS, "T": MS, "s": "X", "a": 6, "p": "11", "q": "1", "m": False},
        {"e": "trade", "E": MS, "T": MS, "s": "X", "t": 7, "p": "0", "q": "1", "m": True,
         "X": "INSURANCE_FUND"},
        {"e": "bookTicker", "E": MS, "T": MS, "s": "X", "u": 1, "b": "9", "B": "1", "a": "10",
         "A": "2"},
        {"e": "markPriceUpdate", "E": MS, "s": "X", "p": "10.5", "i": "10.4", "r": "0.0001",
         "T": MS + 1000},
        {"e": "forceOrder", "E": MS, "o": {"s": "X", "S": "BUY", "q": "3", "p": "11", "ap": "10.9",
                                           "T": MS}},
        {"e": "24hrTicker", "E": MS, "s": "X", "c": "10"},
        {"e": "ACCOUNT_UPDATE", "E": MS},
    ]
    path = write(tmp_path, "x.jsonl", *(json.dumps(one) for one in lines))
    found, problems = leniently(path)
    assert [type(one) for one in found] == [
        records.Trade, records.Trade, records.BestQuote, records.Ticker, records.Liquidation,
        records.Ticker]
    assert found[3] == records.Ticker(
        NS, None, "X", "10.5", "10.4", None, "0.0001", NS + 10**9)
    assert (found[4].side, found[4].average_price) == ("buy", "10.9")
    assert (problems.bad_count, problems.skipped_count) == (0, 2)


def test_messages_without_a_time_have_the_exchanges_by_the_recorders_clock(tmp_path):
    trade = {"e": "trade", "E": MS, "s": "X", "t": 5, "p": "10", "q": "1", "m": True}
    quote = {"u": 1, "s": "X", "b": "9", "B": "1", "a": "10", "A": "2"}
    path = write(tmp_path, "c.txt", streamed("trade", trade, NS - 5 * 10**8),
                 streamed("bookTicker", quote, NS - 4 * 10**8))
    assert [one.ts_ns - NS for one in read(path)] == [0, 10**8]


# --- Bybit, hftbacktest, Lean, LOBSTER ------------------------------------------------


def test_bybit_trades(tmp_path):
    path = write(
        tmp_path, "t.csv", "timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,"
        "homeNotional,foreignNotional,RPI",
        f"{MS // 1000}.1234,BTCUSDT,Sell,0.5,10.5,ZeroMinusTick,abc,5e+8,0.5,5.25,0",
        f"{MS // 1000}.9,BTCUSDT,Buy,0.5,10.6,PlusTick,abd,5e+8,0.5,5.25,0")
    assert read(path) == [
        records.Trade(NS + 123_400_000, None, "BTCUSDT", "10.5", "0.5", "sell", "abc"),
        records.Trade(NS + 900_000_000, None, "BTCUSDT", "10.6", "0.5", "buy", "abd"),
    ]


def bybit_book(kind: str, update: int, ts: int, **sides) -> str:
    data = {"s": "X", "b": sides.get("b", []), "a": sides.get("a", []), "u": update, "seq": 1}
    return json.dumps({"topic": "orderbook.500.X", "type": kind, "ts": ts, "data": data})


def test_bybit_order_book(tmp_path):
    path = tmp_path / "X_ob500.data.zip"
    lines = [
        bybit_book("delta", 4, MS, b=[["1", "1"]]),
        bybit_book("snapshot", 5, MS, b=[["9", "1"]], a=[["11", "1"]]),
        bybit_book("delta", 6, MS + 1, b=[["10", "1"]]),
        bybit_book("delta", 8, MS + 2, b=[["10", "0"]]),
        bybit_book("delta", 1, MS + 3, b=[["5", "1"]], a=[["7", "1"]]),  # a restart
        "not JSON",
    ]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("X_ob500.data", "\n".join(lines))
    found, problems = leniently(str(path))
    assert [one.is_snapshot for one in found] == [True, False, False, True]
    assert (problems.bad_count, problems.skipped_count, problems.gap_count) == (1, 1, 1)
    assert marks(str(path), problems=Problems(False)) == [
        (0, "10"), (1000, "10.5"), (2000, "10"), (3000, "6")]


EVENT = np.dtype([
    ("ev", "u8"), ("exch_ts", "i8"), ("local_ts", "i8"), ("px", "f8"), ("qty", "f8"),
    ("order_id", "u8"), ("ival", "i8"), ("fval", "f8")], align=True)
BOTH, BUY, SELL = 3 << 30, 1 << 29, 1 << 28


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_hftbacktest_events(tmp_path, save):
    rows = [
        (3 | BOTH | BUY, NS, NS + 5, 0, 0, 0, 0, 0),
        (4 | BOTH | BUY, NS, NS + 5, 58710.2, 0.014, 0, 0, 0),
        (4 | BOTH | SELL, NS, NS + 5, 58710.4, 1e-5, 0, 0, 0),
        (1 | BOTH | SELL, NS + 7, NS + 9, 58710.3, 2.0, 0, 0, 0),
        (2 | BOTH | BUY, NS + 8, NS + 10, 58710.3, 2.0, 0, 0, 0),
        (2 | 1 << 30 | BUY, NS + 8, NS + 11, 58710.3, 2.0, 0, 0, 0),  # only its arrival
        (5 | BOTH | BUY, NS + 6, NS + 11, 58710.3, 2.0, 0, 0, 0),
    ]
    path = tmp_path / "btcusdt_20251010.npz"
    save(path, data=np.array(rows, EVENT))
    found, problems = leniently(str(path))
    assert found == [
        records.BookChange(NS, NS + 5, "btcusdt", True, [("58710.2", "0.014")],
                           [("58710.4", "0.00001")]),
        records.BookChange(NS + 7, NS + 9, "btcusdt", False, [], [("58710.3", "2.0")]),
        records.Trade(NS + 8, NS + 10, "btcusdt", "58710.3", "2.0", "buy", None),
    ]
    assert (problems.bad_count, problems.skipped_count) == (1, 1)
    assert problems.lines[0].startswith(f"{path}:7: time goes backwards")


def test_npz_of_something_else_is_refused(tmp_path):
    path = tmp_path / "x_1.npz"
    np.savez(path, data=np.zeros(3))
    with pytest.raises(InputError, match="not an array of hftbacktest's events"):
        read(str(path))
    np.savez(path, data=np.array([None, 1], object))
    with pytest.raises(InputError, match="not an array of hftbacktest's events"):
        read(str(path))


def test_lean_bars(tmp_path):
    folder = tmp_path / "binance" / "minute" / "adausdt"
    folder.mkdir(parents=True)
    trades = write(folder, "20251010_trade.zip.csv", "0,10,12,9,11,5", "60000,11,11,9,10,5")
    bars = [one for one in read(trades) if type(one) is records.Bar]
    assert bars[0] == records.Bar(
        NS + 60 * 10**9 - 1, None, "ADAUSDT", NS, "10", "12", "9", "11", "5")
    assert [price for _, price in marks(trades)] == [
        "10", "9", "12", "11", "11", "11", "9", "10"]
    quotes = write(folder, "20251010_quote.csv", "0,1,1,1,10,5,2,2,2,12,6")
    assert read(quotes)[0][3:] == ("10", "5", "12", "6")


LOBSTER = ["34200.5,1,16,18,5853300,1", "34200.5,4,16,10,5853300,1", "34201,5,0,7,5853400,-1"]


def test_lobster_messages(tmp_path):
    path = write(tmp_path, "AAPL_2025-10-10_1_2_message_5.csv", *LOBSTER)
    start = NS + 34_200_500_000_000
    assert read(path) == [
        records.BookOrder(start, None, "AAPL", "add", "16", "buy", "585.33", "18"),
        records.BookOrder(start, None, "AAPL", "execute", "16", "buy", "585.33", "10"),
        records.Trade(start, None, "AAPL", "585.33", "10", "sell", None),
        records.Trade(start + 5 * 10**8, None, "AAPL", "585.34", "7", "buy", None),
    ]
    undated = write(tmp_path, "AAPL_message.csv", *LOBSTER)
    with pytest.raises(InputError, match="give --date"):
        read(undated)
    assert read(undated, date_ns=NS)[0].ts_ns == start


# --- formats of other libraries -------------------------------------------------------


def test_feather_candles(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import feather

    dates = arrow.array([MS, MS + 60_000], arrow.timestamp("ms", "UTC"))
    columns = {"date": dates, "open": [10.5, 11.0], "high": [12.0, 11.0], "low": [10.0, 5e-7],
               "close": [11.0, 10.0], "volume": [5.0, 0.0]}
    path = tmp_path / "BTC_USDT_USDT-1m-futures.feather"
    feather.write_feather(arrow.table(columns), path)
    assert [price for _, price in marks(str(path))] == [
        "10.5", "10.0", "12.0", "11.0", "11.0", "11.0", "0.0000005", "10.0"]
    path.rename(tmp_path / "BTC_USDT_USDT-8h-funding_rate.feather")
    funding = read(str(tmp_path / "BTC_USDT_USDT-8h-funding_rate.feather"))
    assert [one[2:4] for one in funding] == [("BTCUSDT", "10.5"), ("BTCUSDT", "11.0")]


def dbn_file(folder: Path, schema: str, *messages) -> str:
    dbn = pytest.importorskip("databento_dbn")
    metadata = dbn.Metadata(
        dataset="GLBX.MDP3", start=NS, stype_out=dbn.SType.INSTRUMENT_ID, symbols=["ESZ5"],
        partial=[], not_found=[], mappings=[], schema=dbn.Schema.from_str(schema),
        stype_in=dbn.SType.RAW_SYMBOL, ts_out=False)
    path = folder / "x.dbn"
    path.write_bytes(metadata.encode() + b"".join(bytes(one) for one in messages))
    return str(path)


def test_dbn_orders_and_trades(tmp_path):
    dbn = pytest.importorskip("databento_dbn")
    one = {
        "publisher_id": 1, "instrument_id": 42, "ts_event": NS, "ts_recv": NS + 9, "size": 3,
        "channel_id": 0, "flags": 0, "ts_in_delta": 0, "sequence": 77, "order_id": 5}
    path = dbn_file(
        tmp_path, "mbo",
        dbn.MBOMsg(price=4_500_250_000_000, action=dbn.Action.ADD, side=dbn.Side.BID, **one),
        dbn.MBOMsg(price=4_500_250_000_000, action=dbn.Action.TRADE, side=dbn.Side.ASK, **one),
        dbn.MBOMsg(price=2**63 - 1, action=dbn.Action.CLEAR, side=dbn.Side.NONE, **one))
    assert open_feed(path).kind == "databento dbn"
    assert read(path) == [
        records.BookOrder(NS, NS + 9, "42", "add", "5", "buy", "4500.25", "3"),
        records.Trade(NS, NS + 9, "42", "4500.25", "3", "sell", "77"),
        records.BookOrder(NS, NS + 9, "42", "clear", "0", None, None, None),
    ]
    assert read(path, symbol="ES")[0].symbol == "ES"


@pytest.mark.parametrize("name, content", [
    ("x.dbn", b"DBN\x02"), ("BTC_USDT_USDT-1m-futures.feather", b"ARROW1\0\0")])
def test_a_missing_library_is_named(tmp_path, monkeypatch, name, content):
    for module in ("databento_dbn", "pyarrow"):
        monkeypatch.setitem(__import__("sys").modules, module, None)
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"needs the .* package: pip install 'perp-engine"):
        read(str(path))


# --- packing, bad rows ----------------------------------------------------------------


def packed_zst(data: bytes) -> bytes:
    return pytest.importorskip("zstandard").ZstdCompressor().compress(data)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress, packed_zst])
def test_packings_are_told_by_their_first_bytes(tmp_path, pack):
    path = tmp_path / "whatever"
    path.write_bytes(pack(f"{TRADES}\n{tardis(0, '7', 'buy', '1.5', '2')}\n".encode()))
    assert len(read(str(path))) == 1
    rows = "\n".join([TRADES, *(tardis(k, str(k * k), "buy", "1.5", "2") for k in range(3000))])
    whole = pack(rows.encode())
    if pack is not bytes:
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(InputError, match="damaged or unreadable"):
            read(str(path))


def test_bad_rows_are_counted_or_end_the_reading(tmp_path):
    good, bad = tardis(0, "7", "buy", "1.5", "2"), tardis(0, "7", "buy", "NaN", "2")
    path = write(tmp_path, "t.csv", TRADES, good, bad, good, "short")
    found, problems = leniently(path)
    assert (len(found), problems.bad_count) == (2, 2)
    assert problems.lines == [
        f"{path}:3: price is not a decimal number: 'NaN'",
        f"{path}:5: expected 8 columns, found 1"]
    with pytest.raises(InputError, match=":3: price is not"):
        read(path)
    only_bad = write(tmp_path, "b.csv", TRADES, bad)
    with pytest.raises(InputError, match=r"no trades in the file; the first row: .*:2: price"):
        leniently(only_bad)


def test_memory_does_not_grow_with_the_file(tmp_path):
    import tracemalloc

    peaks = []
    for count in (4_000, 16_000):
        path = write(tmp_path, f"{count}.csv", TRADES,
                     *(tardis(k, str(k), "buy", f"{k}.5", "2") for k in range(1, count)))
        tracemalloc.start()
        for _ in open_moments([open_feed(path)], counts=Counter()):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] * 1.5
