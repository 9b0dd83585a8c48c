"""Feed readers: what they make of good files, and what they say about bad ones."""

from __future__ import annotations

import gzip
import itertools
import zipfile
from pathlib import Path

import pytest

from engine.errors import InputError
from engine.feeds import Derived, SyntheticSpec, open_feed, open_feeds, summarize
from engine.feeds.compose import derive_symbols, parse_renames, rename_symbols
from engine.feeds.marks import Marker
from engine.feeds.records import BestQuote, Ticker, Trade
from engine.feeds.rng import NORMAL_ONE, SplitMix64
from engine.feeds.steps import limit_marks
from engine.feeds.timeline import Moment, make_moments, merge_records

KLINE_HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,"
    "taker_buy_quote_volume,ignore"
)
RISING = "1760054400000,100,110,95,105,0,1760054459999,0,60,0,0,0"
FALLING = "1760054460000,105,106,90.50,91,0,1760054519999,0,60,0,0,0"
TRADES_HEADER = "exchange,symbol,timestamp,local_timestamp,id,side,price,amount"
START_MS = 1760054400000


def trade(offset_us: int, price: str, symbol: str = "X") -> str:
    stamp = START_MS * 1000 + offset_us
    return f"binance,{symbol},{stamp},{stamp + 5},1,buy,{price},2"


def write(folder: Path, name: str, *lines: str) -> str:
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def write_zip(folder: Path, name: str, members: dict[str, str]) -> str:
    path = folder / name
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in members.items():
            archive.writestr(member, text)
    return str(path)


def prices(path: str) -> list[str]:
    return [row[1] for _, rows in open_feed(path).steps() for row in rows]


# --- klines ---------------------------------------------------------------------------


@pytest.mark.parametrize("header", [[KLINE_HEADER], []])
def test_kline_becomes_four_marks_in_the_order_its_direction_suggests(tmp_path, header):
    text = "\n".join([*header, RISING, FALLING])
    path = write_zip(tmp_path, "BTC_PERP-1m-2025-10-10.zip", {"any.csv": text})
    steps = list(open_feed(path).steps())
    assert [rows for _, rows in steps] == [
        [("BTC_PERP", price, None)]
        for price in ("100", "95", "110", "105", "105", "106", "90.50", "91")
    ]
    offsets = [ts_ns - START_MS * 10**6 for ts_ns, _ in steps[:4]]
    assert offsets == [0, 19_999_666_666, 39_999_333_333, 59_999_000_000]


def test_kline_times_in_microseconds(tmp_path):
    line = RISING.replace("1760054400000", "1760054400000000")
    line = line.replace("1760054459999", "1760054459999999")
    path = write(tmp_path, "BTCUSDT-1m-2025-10-10.csv", line)
    assert next(open_feed(path).steps())[0] == START_MS * 10**6


def test_kline_symbol_from_option_or_refused(tmp_path):
    path = write(tmp_path, "marks.csv", RISING)
    assert next(open_feed(path, "MINE").steps())[1][0][0] == "MINE"
    with pytest.raises(InputError, match="give --symbol"):
        open_feed(path)


# --- trades ---------------------------------------------------------------------------


def test_trades_of_one_instant_collapse_and_symbols_share_a_step(tmp_path):
    lines = [
        TRADES_HEADER,
        trade(0, "10"), trade(0, "11"), trade(0, "7", "Y"), trade(0, "12"),
        trade(3, "12"), trade(3, "8.5", "Y"),
    ]
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(("\r\n".join(lines) + "\r\n").encode()))
    start_ns = START_MS * 10**6
    assert list(open_feed(str(path)).steps()) == [
        (start_ns, [("X", "12", None), ("Y", "7", None)]),
        (start_ns + 3000, [("X", "12", None), ("Y", "8.5", None)]),
    ]


def test_columns_are_found_by_name(tmp_path):
    path = write(
        tmp_path, "t.csv", "price,exchange,symbol,timestamp,local_timestamp,id,side,amount",
        f"5.5,e,X,{START_MS}000,0,1,buy,2",
    )
    assert prices(path) == ["5.5"]


# --- what is wrong with a file --------------------------------------------------------

GOOD = trade(0, "10")
BAD_TRADES = {
    "price is not a decimal number: 'abc'": trade(1, "abc"),
    "price is not a decimal number: 'NaN'": trade(1, "NaN"),
    "price is not a decimal number: 'inf'": trade(1, "inf"),
    "price is not a decimal number: '1e5'": trade(1, "1e5"),
    "price must be above zero, not '0.00'": trade(1, "0.00"),
    "price must be above zero, not '-3'": trade(1, "-3"),
    "price is missing": trade(1, ""),
    "expected 8 columns, found 3": "binance,X,5",
    "time goes backwards": trade(-1, "10"),
    "timestamp is not a whole number": GOOD.replace(f"{START_MS}000,", "yesterday,", 1),
    "timestamp is not a time in microseconds": GOOD.replace(
        f"{START_MS}000,", f"{START_MS}000000,", 1),
    "symbol is not a name": trade(1, "10", "two words"),
}


@pytest.mark.parametrize("reason", BAD_TRADES)
def test_bad_trade_names_file_line_and_reason(tmp_path, reason):
    path = write(tmp_path, "t.csv", TRADES_HEADER, GOOD, BAD_TRADES[reason], GOOD)
    with pytest.raises(InputError) as caught:
        prices(path)
    message = str(caught.value)
    assert message.startswith(f"{path}:3: ") and reason in message and "\n" not in message


BAD_KLINES = {
    "open_time is not a whole number": RISING.replace("1760054400000", "x"),
    "open_time is not a time in milliseconds or microseconds": RISING.replace(
        "1760054400000", "17600544"),
    "time goes backwards": RISING,
    "close_time is not after open_time": FALLING.replace("1760054519999", "1760054460000"),
    "open and close are not between low 200 and high 106": FALLING.replace("90.50", "200"),
    "high is not a decimal number": FALLING.replace("106", "+106"),
    "close is missing": FALLING.replace("91,0", ",0"),
    "expected at least 7 columns of a kline, found 2": "1760054460000,5",
}


@pytest.mark.parametrize("reason", BAD_KLINES)
def test_bad_kline_names_file_line_and_reason(tmp_path, reason):
    path = write(tmp_path, "X-1m-2025-10-10.csv", KLINE_HEADER, RISING, BAD_KLINES[reason])
    with pytest.raises(InputError) as caught:
        prices(path)
    assert str(caught.value).startswith(f"{path}:3: ") and reason in str(caught.value)


def test_bad_files(tmp_path):
    whole = gzip.compress(("\n".join([TRADES_HEADER] + [GOOD] * 5000)).encode())
    files = {
        "missing.zip": (None, "cannot open: no such file or directory"),
        "empty.csv": (b"", "the file is empty"),
        "broken.zip": (b"PK\x03\x04 and then nothing", "damaged or unreadable at its start"),
        "pretend.zip": (b"hello\n", "not a zip file"),
        "pretend.csv.gz": (b"hello\n", "not a gzip file"),
        "cut.csv.gz": (whole[:-200], "damaged or unreadable after line"),
        "image.csv": (b"\x89PNG\r\n\x1a\n" + bytes(200), "of no format that is known"),
        "blob.csv": (bytes(100_000), "not a text table"),
        "header.csv": (TRADES_HEADER.encode() + b"\n", "no trades in the file"),
        "X-1m-2025-10-10.csv": (KLINE_HEADER.encode() + b"\n", "no klines in the file"),
    }
    for name, (content, reason) in files.items():
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(InputError) as caught:
            prices(str(path))
        assert reason in str(caught.value) and str(path) in str(caught.value), name
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="is a directory"):
        prices(str(tmp_path))


def test_zip_needs_exactly_one_table(tmp_path):
    empty = write_zip(tmp_path, "X-1m-2025-10-10.zip", {})
    with pytest.raises(InputError, match="the zip is empty"):
        prices(empty)
    two = write_zip(tmp_path, "Y-1m-2025-10-10.zip", {"a.csv": RISING, "b.csv": RISING})
    with pytest.raises(InputError, match=r"expected one .csv in the zip, found 2"):
        prices(two)


def test_damage_inside_a_zip_is_noticed(tmp_path):
    lines = "\n".join(
        RISING.replace("1760054400000", str(START_MS + n * 60000)).replace(
            "1760054459999", str(START_MS + n * 60000 + 59999)) for n in range(3000))
    path = Path(write_zip(tmp_path, "X-1m-2025-10-10.zip", {"a.csv": lines}))
    content = bytearray(path.read_bytes())
    content[content.index(b"\n1760") + 16] ^= 0x01  # stored, so only the checksum is wrong
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged or unreadable"):
        prices(str(path))


# --- composition ----------------------------------------------------------------------


def mark(ts_ns: int, symbol: str, price: str) -> tuple[int, Ticker]:
    return ts_ns, Ticker(ts_ns, None, symbol, price)


def played(*feeds) -> list:
    merged = merge_records([iter(feed) for feed in feeds])
    return [(moment.ts_ns, moment.rows) for moment in make_moments(merged, Marker())]


def test_merge_is_by_time_and_joins_equal_instants():
    first = [mark(1, "A", "1"), mark(5, "A", "2")]
    second = [mark(1, "B", "9"), mark(3, "B", "8"), mark(5, "A", "7")]
    assert played(first, second) == [
        (1, [("A", "1", None), ("B", "9", None)]),
        (3, [("B", "8", None)]),
        (5, [("A", "7", None)]),
    ]


def test_trades_come_before_the_depth_that_they_left():
    quotes = [(5, BestQuote(5, None, "A", "9", "1", "11", "1"))]
    trades = [(5, Trade(5, None, "A", "12", "1", "buy", None))]
    merged = [record for _, record in merge_records([iter(quotes), iter(trades)])]
    assert [type(record) for record in merged] == [Trade, BestQuote]


def test_rename_and_limit():
    steps = [(n, [("A", str(n), None), ("B", str(n), None)]) for n in range(1, 5)]
    records = [mark(1, "A", "1"), mark(1, "B", "2"), mark(1, "C", "3")]
    renamed = rename_symbols(records, parse_renames(["A=X", "B=X"]))
    assert played(renamed) == [(1, [("X", "2", None), ("C", "3", None)])]
    assert len(list(limit_marks(steps, 3))) == 2
    for bad in (["A"], ["A="], ["=B"], ["A=B", "A=C"], ["A=B C"]):
        with pytest.raises(InputError):
            parse_renames(bad)


def test_derived_symbol_follows_returns_times_beta():
    prices = enumerate(("100", "110", "110", "55"))
    moments = [Moment(ts_ns, [("A", price, None)]) for ts_ns, price in prices]
    spec = Derived.parse("D=A:1.5:20")
    assert [moment.rows[1] for moment in derive_symbols(moments, [spec])] == [
        ("D", "20", None), ("D", "23.00000000", None), ("D", "23.00000000", None),
        ("D", "5.75000000", None),
    ]
    assert Derived.parse(str(spec)) == spec


def test_derived_symbol_stays_above_zero():
    moments = [Moment(1, [("A", "100", None)]), Moment(2, [("A", "1", None)])]
    last = list(derive_symbols(moments, [Derived("D", "A", "3", "10")]))[-1]
    assert last[1][1] == ("D", "0.50000000", None)


@pytest.mark.parametrize("bad", ["D", "D=A", "D=A:1", "D=A:x:1", "D=A:1:0", "A=A:1:1", "=A:1:1"])
def test_bad_derive(bad):
    with pytest.raises(InputError, match="SYMBOL=SOURCE:BETA:FIRSTPRICE"):
        Derived.parse(bad)


# --- the synthetic crash --------------------------------------------------------------


def test_generator_matches_its_published_numbers():
    draw = SplitMix64(1234567)
    assert [draw.next_u64() for _ in range(3)] == [
        6457827717110365317, 3203168211198807973, 9817491932198370423]
    sample = [draw.normal() for _ in range(20_000)]
    assert abs(sum(sample)) < 20_000 * NORMAL_ONE // 40
    spread = sum(x * x for x in sample) / 20_000 / NORMAL_ONE**2
    assert 0.95 < spread < 1.05


def test_synthetic_feed_is_the_same_everywhere_and_crashes():
    steps = list(open_feed("synthetic:seed=7,steps=2000").steps())
    assert len(steps) == 2000
    assert steps[1000] == (1735690100000000000, [
        ("BTCUSDT", "57274.6004", "57413.0122"),
        ("ETHUSDT", "2832.56700", "2826.66671"),
        ("SOLUSDT", "138.316732", "139.166773"),
    ])
    lows = {}
    for _, rows in steps:
        for symbol, mark, index in rows:
            assert index is not None
            lows[symbol] = min(float(mark), lows.get(symbol, 1e9))
    first = {symbol: float(mark) for symbol, mark, _ in steps[0][1]}
    falls = [1 - lows[symbol] / first[symbol] for symbol in ("BTCUSDT", "ETHUSDT", "SOLUSDT")]
    assert 0.10 < falls[0] < falls[1] < falls[2] < 0.40


@pytest.mark.parametrize(
    "bad", ["synthetic:seed", "synthetic:seed=-1", "synthetic:steps=5", "synthetic:colour=red",
            "synthetic:seed=1.5", "synthetic:steps=99999999999"])
def test_bad_synthetic(bad):
    with pytest.raises(InputError, match="synthetic"):
        open_feed(bad)


def test_synthetic_spec_round_trip():
    spec = SyntheticSpec(3, 500)
    assert SyntheticSpec.parse(str(spec)) == spec


# --- recorded data --------------------------------------------------------------------


def test_recorded_klines(real_data):
    path = real_data / "oct10" / "BTCUSD_PERP-1m-2025-10-10.zip"
    summary = summarize(open_feeds([open_feed(str(path))]))
    assert (summary.step_count, summary.mark_count) == (5760, 5760)
    lowest = min(prices(str(path)), key=float)
    assert (summary.first_prices, lowest) == ({"BTCUSD_PERP": "121662"}, "102497.48513403")


def test_recorded_trades_with_a_derived_symbol(real_data):
    path = real_data / "oct10" / "binance-delivery_trades_2025-10-10_TRXUSD_PERP.csv.gz"
    derived = [Derived.parse("D=TRXUSD_PERP:2:100")]
    summary = summarize(open_feeds([open_feed(str(path))], derived=derived))
    assert (summary.step_count, summary.mark_count) == (25836, 2 * 25836)


def test_recorded_days_of_one_symbol_follow_each_other(real_data):
    files = [str(real_data / "oct10" / f"BTCUSDT-5m-2025-10-{day}.zip") for day in (11, 10)]
    steps = list(open_feeds([open_feed(file) for file in files]))
    assert len(steps) == 2 * 288 * 4
    assert all(a[0] < b[0] for a, b in itertools.pairwise(steps))
