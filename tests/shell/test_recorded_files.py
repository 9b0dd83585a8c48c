"""Every recorded file at hand goes through one command."""

from __future__ import annotations

import re
from contextlib import redirect_stdout
from importlib.util import find_spec
from io import StringIO
from pathlib import Path

import pytest

from engine import cli
from engine.tapes import __main__ as tapes
from tests.shell.conftest import REPOSITORY

#: Over the wire, to nobody, with all that was recorded.
WIRE = ("--speed", "max", "--subscribers", "0", "--records")

#: Files that no command plays, and what each says instead: descriptions of instruments, messages
#: to one user, pieces of documentation (three with times in 1973), notes about the files.
REFUSED = {
    "user_data_json/": "no market data in the file",
    "http_get_instruments": "of no format that is known",
    "market_data_json/trade_stream.json": "T is not a time in milliseconds",
    "market_data_json/agg_trade_stream.json": "T is not a time in milliseconds",
    "market_data_json/depth_update_stream.json": "T is not a time in milliseconds",
    "okx_bybit_fragments.json": "none of ccxt leverage tiers",
    "tiers/LICENSE": "none of ccxt leverage tiers",
    "tiers/METADATA": "none of ccxt leverage tiers",
}
#: What some files do not say themselves.
MORE = {
    "http_get_position_tiers.json": ("--contract", "BTC-USDT=0.01:100000"),
    "tiers_from_website.csv": ("--maintenance-fraction", "0.5"),
}


def command(path: Path) -> tuple[str, ...]:
    """The command of the engine that plays a file."""
    more = MORE.get(path.name, ())
    if "tiers" in path.parts or "position_tiers" in path.name:
        return ("tiers", str(path), *more)
    return ("replay", str(path), *more)


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    code = cli.call(cli.app, arguments)
    said = capsys.readouterr()
    return code, said.out, said.err


def play(path: Path, capsys) -> str:
    """Play a file, the beginning of a large one; return what went wrong."""
    if "orderbook_1" in path.name:  # the official book of a tape of orders, beside which it lies
        tape = next(path.parent.glob("*_message_50.csv.gz"))
        with redirect_stdout(StringIO()):
            return "" if cli.call(tapes.app, ["orders", str(tape), str(path)]) == 0 else "tapes"
    arguments = command(path)
    if arguments[0] == "replay":
        arguments += ("--in-process", "--limit", "2000")
    code, out, err = run(capsys, *arguments)
    if code == 0:
        is_played = any(
            line.startswith("records_") for line in out.splitlines()) or arguments[0] == "tiers"
        return "" if is_played else "no records"
    return err.strip()


def test_every_recorded_file_plays_through_one_command_or_says_why_not(real_data, capsys):
    failures, played, refused = [], 0, dict.fromkeys(REFUSED, 0)
    for path in sorted(real_data.rglob("*")):
        name = path.relative_to(real_data).as_posix()
        if not path.is_file() or name == "INDEX.md":
            continue
        if path.suffix == ".feather" and find_spec("pyarrow") is None:
            continue
        expected = next((key for key in REFUSED if key in name), None)
        wrong = play(path, capsys)
        if expected is None:
            played += 1
            failures += [f"{name}: {wrong}"] if wrong else []
        else:
            refused[expected] += 1
            if REFUSED[expected] not in wrong or "\n" in wrong:
                failures.append(f"{name}: expected {REFUSED[expected]}, found {wrong or 'nothing'}")
    assert failures == [] and played >= 55
    # None of the exceptions is about files that are gone.
    assert min(refused.values()) >= 1 or played < 55


def test_the_readme_shows_one_of_them(real_data, capsys, tmp_path):
    path = real_data / "oct10" / "BTCUSDT-5m-2025-10-10.zip"
    if not path.is_file():
        pytest.skip(f"no {path}")
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    scenario = tmp_path / "market.jsonl"
    blocks = re.findall(r"```json\n(.*?)```", text, flags=re.S)
    scenario.write_text(next(block for block in blocks if '"cmd":"instrument"' in block))
    shown = re.search(
        r"\$ engine replay (\S+) --in-process --scenario market\.jsonl \| tail -1\n(.*?)\n", text)
    assert shown is not None and shown[1] == path.name
    code, out, err = run(capsys, "replay", str(path), "--in-process", "--scenario", str(scenario))
    assert code == 0, err
    assert out.splitlines()[-1] == shown[2]


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
    done = shell.run(*command(path), *WIRE, "--bind", endpoint)
    assert done.code == 0, done.err
    assert done.figures | expected == done.figures
