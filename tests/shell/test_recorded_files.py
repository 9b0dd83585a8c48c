"""Every recorded file at hand goes through one command, as a process of its own."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

#: What is no market data: configuration of accounts and instruments, and messages to one user.
OTHER = ("user_data_json", "http_get_instruments")
#: Documentation's messages with times in 1973.
MADE_UP = {"trade_stream.json", "agg_trade_stream.json", "depth_update_stream.json"}


def command(path: Path) -> tuple[str, ...]:
    if "tiers" in path.parts or "position_tiers" in path.name:
        return ("tiers", str(path))
    return ("replay", str(path), "--speed", "max", "--subscribers", "0", "--records")


def replayable(real_data: Path) -> list[Path]:
    folders = ("formats", "l2", "lobster", "oct10")
    files = [path for name in folders for path in sorted((real_data / name).rglob("*"))]
    return [path for path in files if path.is_file() and not any(n in str(path) for n in OTHER)]


def test_every_recorded_file_plays_through_the_reader(real_data):
    from engine.feeds import Problems, open_feed, open_moments

    failures, played = [], 0
    for path in replayable(real_data):
        # Tiers go through `engine tiers`, the official book through `engine.tapes orders`.
        if path.name in MADE_UP or "orderbook_1" in path.name or command(path)[0] == "tiers":
            continue
        if path.suffix == ".feather" and find_spec("pyarrow") is None:
            continue
        moments = open_moments([open_feed(str(path))], problems=Problems(False), keep_records=True)
        # The beginning of large files: their whole is read below and in the other tests.
        count = sum(1 for _, _ in zip(moments, range(2_000), strict=False))
        played += 1
        if count == 0:
            failures.append(path.name)
    assert failures == [] and played >= 40


@pytest.mark.parametrize("name, expected", [
    ("formats/xrpusdt-ob500.data.zip", {"records_book_change": "50", "marks": "50"}),
    ("formats/tardis/deribit_incremental_book_L2_BTC-PERPETUAL.csv", {"records_book_change": "1"}),
    ("formats/tardis/binance-futures_book_snapshot_25_BTCUSDT.csv", {"marks": "10"}),
    ("formats/tardis/huobi-dm-swap_quotes_BTC-USD.csv", {"records_best_quote": "10"}),
    ("formats/binance/futures/market_data_json/mark_price_stream.json", {"marks": "1"}),
    ("formats/lean/cryptofuture/bybit/margin_interest/btcusd.csv", {"records_funding": "3"}),
    ("oct10/BTCUSDT-bookDepth-2025-10-10.csv", {"records_depth_band": "28789", "bad_rows": "1"}),
    ("oct10/gemini_trades_2025-10-10_ETHUSD.csv.gz", {"records_trade": "22320"}),
    ("oct10/BTCUSD_PERP-1m-2025-10-10.zip", {"records_bar": "1440", "marks": "5760"}),
    ("lobster/AAPL_2012-06-21_34200000_37800000_message_50.csv.gz",
     {"records_book_order": "89796", "records_trade": "6268"}),
    ("l2/binance-spot_btcusdt_20240808.gz",
     {"records_best_quote": "28040", "records_trade": "9757", "records_book_change": "3450"}),
])
def test_recorded_files_through_one_command(real_data, shell, endpoint, name, expected):
    path = real_data / name
    if not path.is_file():
        pytest.skip(f"no {path}")
    done = shell.run(*command(path), "--bind", endpoint)
    assert done.code == 0, done.err
    assert done.figures | expected == done.figures


def test_what_cannot_play_says_so(real_data, shell, endpoint):
    messages = real_data / "formats" / "binance" / "futures"
    for path, reason in (
        (messages / "market_data_json" / "trade_stream.json", "T is not a time in milliseconds"),
        (messages / "user_data_json" / "trade_lite.json", "no market data in the file"),
        (real_data / "formats" / "http_get_instruments_swap.json", "of no format that is known"),
    ):
        done = shell.run(*command(path), "--bind", endpoint)
        assert done.code == 2 and reason in done.only_error
