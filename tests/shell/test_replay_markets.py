"""Replays with coin-margined instruments, funds and funding; twice; with a page."""

from __future__ import annotations

import json
import time

import pytest

from engine import Exchange, cli
from engine.coin_markets import coin_commands
from engine.errors import InputError
from engine.feeds import open_feed, open_moments
from engine.feeds.funding import FundingClock
from engine.feeds.records import Funding, Ticker
from engine.populations import Plan, draw_population, load_population
from engine.replay_page import Recorder

SYMBOLS = ("AVAX", "DOT", "ETC", "TRX", "WLD", "XLM")


def run(capsys, *arguments: str) -> tuple[int, dict[str, str], str]:
    code = cli.call(cli.app, ["replay", *arguments])
    said = capsys.readouterr()
    pairs = (line.split(None, 1) for line in said.out.splitlines())
    return code, {pair[0]: pair[1] for pair in pairs if len(pair) == 2}, said.err


# --- coins ------------------------------------------------------------------------------


def coin_market(prices: dict[str, str]) -> Exchange:
    exchange = Exchange()
    for command in coin_commands(prices):
        exchange.submit(command)
    exchange.apply_marks([(name, price, None, None) for name, price in prices.items()])
    assert [event for event in exchange.drain() if event["event"] == "rejected"] == []
    return exchange


def test_coin_margined_instruments_fit_a_feed():
    exchange = coin_market({"AVAXUSD_PERP": "28.41", "BTCUSD": "121000.5", "XLM-USDT": "0.3812"})
    assert exchange.assets == ["AVAX", "BTC", "XLM"]
    answer = exchange.query({"query": "instrument", "symbol": "AVAXUSD_PERP"})
    assert (answer["kind"], answer["settle"], answer["contract_size"], answer["mark_price"]) == (
        "inverse", "AVAX", "10", "28.41")
    sizes = [exchange.instrument(name).contract_size for name in exchange.symbols]
    assert sizes == [10, 100, 10]
    with pytest.raises(InputError, match="EURGBP: cannot tell its coin"):
        list(coin_commands({"EURGBP": "1"}))


def test_a_population_of_inverse_contracts_is_as_stated():
    exchange = coin_market({"AVAXUSD_PERP": "28.41"})
    plan = Plan.of({"accounts": 4000, "notional": "lognormal:100,1", "symbols": {"AVAXUSD_PERP": {
        "open_interest": "90000", "liquidations": [
            {"side": "long", "low": "24", "high": "27", "quantity": "12000"},
            {"side": "short", "low": "30", "high": "34", "notional": "3000"}]}}})
    accounts = draw_population(exchange, plan)
    load_population(exchange, accounts)
    exchange.check()
    assert accounts.open_interest(0) == (90_000, 90_000)
    assert exchange.query({"query": "liquidation_queue"})["entries"] == []
    rows = exchange.liquidation_map("AVAXUSD_PERP", edges=["24", "27", "30", "34"])
    found = {(row["price_low"], row["side"]): int(row["quantity"]) for row in rows}
    low, high = (exchange.instrument("AVAXUSD_PERP").mark.units(price) for price in ("24", "30"))
    # A notional of 3,000 coins is so many contracts of 10 at the mark.
    assert found == {(low, 1): 12_000, (high, 2): round(3000 * 28.41 / 10)}
    assert exchange.totals()["assets"]["AVAX"]["drift"] == "0"


def test_a_crash_of_coins_twice_with_a_page(tmp_path, capsys):
    plan, page = tmp_path / "plan.json", tmp_path / "page.html"
    plan.write_text(json.dumps({"accounts": 800, "notional": "lognormal:3,1"}))
    code, figures, err = run(
        capsys, "synthetic:seed=1,steps=1500", "--in-process", "--contracts", "inverse",
        "--population", str(plan), "--fund", "0.05", "--twice", "--page", str(page))
    assert code == 0, err
    assert figures["again"] == "the same state hash a second time"
    assert int(figures["accounts_breached"]) > 100 and figures["drift"] == "0"
    assert {"insurance_BTC", "insurance_ETH", "insurance_SOL"} <= set(figures)
    assert int(figures["fund_takeovers"]) > 0 and int(figures["times_real_time"]) > 0
    text = page.read_text()
    assert figures["state_hash"] in text and "Liquidation timeline" in text
    assert 'src="http' not in text


def test_waiting_for_the_next_mark_is_no_work():
    exchange = coin_market({"DOTUSD_PERP": "4.1"})
    recorder = Recorder()
    take = recorder.listen(exchange)
    exchange.apply_marks([("DOTUSD_PERP", "4.2", None, None)])
    time.sleep(0.2)
    take(exchange.drain_array())
    (minute,) = recorder.minutes.values()
    assert minute.counts["marks"] == 1 and minute.work_s < 0.2


def test_in_calls_of_many_or_of_one_the_state_is_the_same(monkeypatch, tmp_path, capsys):
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"accounts": 300}))
    hashes = set()
    for together in (1, 7, 256):
        monkeypatch.setattr("engine.play.TOGETHER", together)
        code, figures, err = run(
            capsys, "synthetic:seed=2,steps=900", "--in-process", "--population", str(plan))
        assert code == 0, err
        hashes.add((figures["state_hash"], figures["accounts_breached"], figures["marks"]))
    assert len(hashes) == 1


@pytest.mark.parametrize("options, reason", [
    (("--in-process", "--contracts", "quanto"), "--contracts quanto"),
    (("--in-process", "--fund", "0.1"), "--fund is a share"),
    (("--in-process", "--fund", "-1", "--population", "p"), "--fund -1"),
    (("--in-process", "--contracts", "inverse", "--scenario", "s"), "--contracts are of"),
    (("--twice",), "--in-process"),
    (("--in-process", "--crowd", "displace", "--page", "x.html"), "--page is of marks"),
])
def test_options_that_make_no_sense(capsys, options, reason):
    code, _, err = run(capsys, "synthetic:steps=100", *options)
    assert code == 2 and reason in err and err.count("\n") == 1


# --- funding ----------------------------------------------------------------------------


def ticker(ts: int, rate: str | None, funding: int | None, symbol: str = "A") -> Ticker:
    return Ticker(ts, None, symbol, "100", None, None, rate, funding)


def test_a_ticker_settles_when_it_names_a_later_time():
    clock = FundingClock()
    told = [
        ticker(1, "0.1", 10), ticker(9, "0.2", 10), ticker(12, "0.3", 20), ticker(13, None, None),
        ticker(15, "0.4", 30),  # the time was moved before it had come
        ticker(30, "0.5", 40), ticker(31, "0.5", 40)]
    assert [clock.rate_of(one) for one in told] == [None, None, "0.2", None, None, "0.4", None]
    assert clock.rate_of(ticker(50, "9", 60, "B")) is None


def test_recorded_settlements_go_before_what_tickers_say():
    clock = FundingClock()
    assert clock.rate_of(ticker(1, "0.1", 10)) is None
    assert clock.rate_of(Funding(10, None, "A", "0.15", "8")) == "0.15"
    assert clock.rate_of(ticker(12, "0.3", 20)) is None


def funded_feed(folder) -> str:
    path = folder / "binance_derivative_ticker_2025-10-10_X.csv"
    header = (
        "exchange,symbol,timestamp,local_timestamp,funding_timestamp,funding_rate,"
        "predicted_funding_rate,open_interest,last_price,index_price,mark_price")
    start = 1_760_054_400_000_000
    rows = [
        f"binance,BTCUSDT,{start + at},{start + at},{start + due},{rate},,,,,{price}"
        for at, due, rate, price in (
            (0, 100, "0.0001", "100000"), (90, 100, "0.000100004", "100100"),
            (110, 200, "-0.0003", "100200"), (210, 300, "0.0001", "100300"))]
    path.write_text("\n".join([header, *rows]) + "\n")
    return str(path)


def test_recorded_funding_is_applied_at_the_mark_of_its_moment(tmp_path, capsys):
    feed, plan = funded_feed(tmp_path), tmp_path / "plan.json"
    moments = list(open_moments([open_feed(feed)], has_funding=True))
    assert [moment.fundings for moment in moments] == [
        [], [], [("BTCUSDT", "0.000100004")], [("BTCUSDT", "-0.0003")]]
    plan.write_text(json.dumps({"accounts": 50, "long_share": 1}))
    options = (feed, "--in-process", "--population", str(plan))
    code, figures, err = run(capsys, *options)
    assert code == 0, err
    assert figures["fundings"] == "2" and figures["drift"] == "0"
    code, without, err = run(capsys, *options, "--no-funding")
    assert code == 0 and "fundings" not in without
    assert without["state_hash"] != figures["state_hash"]


def test_a_rate_is_rounded_and_funding_of_unknown_symbols_is_counted():
    from engine.feeds.timeline import Moment
    from engine.play import run_moments

    exchange = Exchange()
    tiers = [{"min_notional": "0", "max_notional": None, "maintenance_margin_rate": "0.01",
              "max_leverage": "10"}]
    for command in (
        {"cmd": "asset", "asset": "USD", "decimals": 6},
        {"cmd": "instrument", "symbol": "A", "kind": "linear", "base": "A", "quote": "USD",
         "settle": "USD", "tick_size": "1", "lot_size": "1", "tiers": tiers},
        {"cmd": "mark", "symbol": "A", "mark_price": "90"},
        {"cmd": "account", "account": 1},
        {"cmd": "deposit", "account": 1, "asset": "USD", "amount": "1000"},
        {"cmd": "fill", "account": 1, "symbol": "A", "side": "buy", "quantity": "10",
         "price": "90"},
    ):
        exchange.apply(command)
    before = exchange.query({"query": "account", "account": 1})["balances"]["USD"]
    # The moment's mark comes first: funding is of 10 x 100.
    moments = [Moment(5, [("A", "100", None)], (), [("A", "0.000010004"), ("B", "1")])]
    _, fundings = run_moments(exchange, moments, lambda tally: None, 256)
    assert (fundings.applied, fundings.left_out) == (1, 1)
    assert fundings.rows() == [("fundings", "1"), ("fundings_left_out", "1")]
    after = exchange.query({"query": "account", "account": 1})["balances"]["USD"]
    assert float(before) - float(after) == pytest.approx(0.01, abs=1e-9)


@pytest.mark.parametrize("together", [1, 256])
def test_packed_marks_with_and_without_an_index_come_to_the_same(together):
    from engine.driver import MarkDriver
    from engine.feeds import Moment
    from engine.play import run_moments

    tiers = [{"min_notional": "0", "max_notional": None, "maintenance_margin_rate": "0.01",
              "max_leverage": "10"}]
    setup = [{"cmd": "asset", "asset": "USD", "decimals": 6}, *(
        {"cmd": "instrument", "symbol": name, "kind": "linear", "base": name, "quote": "USD",
         "settle": "USD", "tick_size": "1", "lot_size": "1", "tiers": tiers} for name in "AB")]
    rows = [[("A", "90.6", None)], [("A", "91", "89.5")], [("A", "92", None), ("B", "7", "6")],
            [("B", "8", "8.5")]]
    played, applied = Exchange(), Exchange()
    for command in setup:
        played.apply(command)
        applied.apply(command)
    moments = [Moment(10 + at, each, (), []) for at, each in enumerate(rows)]
    figures, _ = run_moments(played, moments, lambda tally: None, together)
    driver = MarkDriver(applied)
    for number, moment in enumerate(moments, start=1):
        driver.apply(number, (moment.ts_ns, moment.rows))
    assert figures.tally.mark_count == 5
    assert (played.seq, played.ts, played.state_hash()) == (
        applied.seq, applied.ts, applied.state_hash())
    for each in rows[1:3]:
        with pytest.raises(InputError, match="starts at 12 ns, before the exchange's time 13 ns"):
            run_moments(played, [Moment(12, each, (), [])], lambda tally: None, together)


# --- the real day -----------------------------------------------------------------------


def crash_files(real_data) -> list[str]:
    name = "binance-delivery_trades_2025-10-10_{}USD_PERP.csv.gz"
    paths = [real_data / "oct10" / name.format(symbol) for symbol in SYMBOLS]
    if not all(path.is_file() for path in paths):
        pytest.skip("the files of the crash day are not there")
    return [str(path) for path in paths]


PLAN = "examples/crash_day.json"


def test_the_crash_day_begins(real_data, capsys, request):
    plan = str(request.config.rootpath / PLAN)
    code, figures, err = run(
        capsys, *crash_files(real_data), "--in-process", "--contracts", "inverse",
        "--population", plan, "--limit", "3000")
    assert code == 0, err
    assert figures["bad_rows"] == "0" and figures["drift"] == "0"


@pytest.mark.slow
def test_the_crash_day_twice_at_two_thousand_times_real_time(real_data, capsys, request, tmp_path):
    plan, page = str(request.config.rootpath / PLAN), tmp_path / "page.html"
    started = time.process_time()
    code, figures, err = run(
        capsys, *crash_files(real_data), "--in-process", "--contracts", "inverse",
        "--population", plan, "--fund", "0.02", "--twice", "--page", str(page))
    assert code == 0, err
    assert figures["again"] == "the same state hash a second time" and figures["drift"] == "0"
    assert figures["records_trade"] == "1075845" and int(figures["accounts_breached"]) > 40_000
    # Two passes with two looks ahead, population and page: a day in less than 86,400 / 2,000 s.
    assert (time.process_time() - started) / 2 < 43.2


def test_a_tally_of_arrays_is_that_of_records():
    from engine.tally import Tally

    exchange = coin_market({"AVAXUSD_PERP": "28.41", "DOTUSD_PERP": "4.1"})
    load_population(exchange, draw_population(exchange, Plan.of(
        {"accounts": 500, "notional": "lognormal:20,1"})))
    exchange.submit({"cmd": "insurance", "asset": "AVAX", "amount": "200"})
    exchange.submit({"cmd": "account", "account": 9_999})
    exchange.submit({"cmd": "deposit", "account": 9_999, "asset": "AVAX", "amount": "99999"})
    for at in range(1, 9):
        exchange.submit({
            "cmd": "order", "account": 9_999, "symbol": "AVAXUSD_PERP", "order_id": at,
            "side": "buy", "type": "limit", "quantity": "100", "price": str(28 - at)})
    assert all(event["event"] != "rejected" for event in exchange.drain())
    for at in range(1, 40):
        price = f"{28.41 * 0.985 ** at:.3f}"
        exchange.apply_marks([("AVAXUSD_PERP", price, None, None)])
    exchange.submit({"cmd": "cancel", "account": 10**6, "symbol": "DOTUSD_PERP", "order_id": 1})
    rows = exchange.drain_array()
    by_array, by_records = Tally(), Tally()
    by_array.add_array(rows)
    by_records.add(tuple(row) for row in rows.tolist())
    assert by_array.adl_count > 10 < by_array.takeover_count
    assert by_array.fund_fees and by_array.book_value and by_array.rejections
    state = {key: value for key, value in vars(by_records).items() if key != "_handlers"}
    assert {key: vars(by_array)[key] for key in state} == state
