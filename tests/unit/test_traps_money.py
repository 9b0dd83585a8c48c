"""Where other liquidation engines fail, and this one may not. Each docstring names the trap."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from fractions import Fraction

import pytest
from support.market import STEEP_TIERS, Desk, only

from engine import Exchange


def crowd(desk: Desk, accounts: range, deposit: str = "500") -> None:
    """Give many accounts a long of 100 at 100 each, from fills: due at 95 with 500."""
    submit = desk.exchange.submit
    for account in accounts:
        submit({"cmd": "account", "account": account})
        submit({"cmd": "deposit", "account": account, "asset": "USDT", "amount": deposit})
        submit({"cmd": "fill", "account": account, "symbol": "BTC", "side": "buy",
                "quantity": "100", "price": "100"})
    desk.exchange.drain()


def test_slippage_lands_in_an_account(desk: Desk) -> None:
    """Slippage of a liquidation vanishes instead of landing in someone's account."""
    desk.symbol(liquidation_fee="0.01")
    desk.account(1, deposit="500")
    desk.account(2, 9)
    desk.trade(1, 9, 100, 100)
    desk.buy(2, 100, 98)
    desk.mark(95)
    # 2 a unit lost; 300 saved over the bankruptcy price, 1 % of 9,800 of it to the fund.
    assert desk.wallet(1) == "202"
    assert desk.fund() == "98"
    assert desk.ask("totals")["assets"]["USDT"]["drift"] == "0"


def test_an_unpaid_deficit_is_on_record(market: Desk) -> None:
    """An unpaid deficit vanishes without a record."""
    market.must("account", account=5)
    market.must("deposit", account=5, asset="USDT", amount="60")
    market.trade(5, 1, 10, 100)
    market.must("fill", account=5, symbol="BTC", side="sell", quantity="10", price="80")
    reply = market.ask("account", account=5)
    assert (reply["status"], reply["wallet"]) == ("bankrupt", "-140")


def test_the_fund_pays_nobody_who_is_solvent(market: Desk) -> None:
    """The fund pays into a solvent account."""
    market.must("insurance", asset="USDT", amount="1000")
    market.must("account", account=5)
    market.must("deposit", account=5, asset="USDT", amount="60")
    market.trade(5, 1, 10, 100)
    market.must("fill", account=5, symbol="BTC", side="sell", quantity="10", price="94.01")
    assert market.wallet(5) == "0.1"
    assert market.fund() == "1000"


def test_the_fund_pays_a_deficit_once_when_it_arises(market: Desk) -> None:
    """The same, later: a debt on record is not paid off by the fund when a deposit comes."""
    market.must("account", account=5)
    market.must("deposit", account=5, asset="USDT", amount="60")
    market.trade(5, 1, 10, 100)
    market.must("fill", account=5, symbol="BTC", side="sell", quantity="10", price="80")
    market.must("insurance", asset="USDT", amount="1000")
    market.must("deposit", account=5, asset="USDT", amount="1")
    assert (market.wallet(5), market.fund()) == ("-139", "1000")


def test_an_old_debt_is_not_passed_on_to_the_next_counterparty(market: Desk) -> None:
    """Reopening on a position's unpaid deficit: liquidated at once, at the other side's cost."""
    market.must("account", account=5, margin_mode="isolated")
    market.must("deposit", account=5, asset="USDT", amount="1000")
    market.trade(5, 1, 10, 100)
    market.must("fill", account=5, symbol="BTC", side="sell", quantity="10", price="80")
    market.sell(2, 10, 100)
    market.buy(5, 10, 100)
    assert [market.ask("account", account=other)["equity"] for other in (1, 2)] == ["1000000"] * 2


def test_deleveraging_takes_what_is_missing_and_no_more(desk: Desk) -> None:
    """A winner's whole position of 1,000 is closed by ADL for a deficit of 10."""
    desk.symbol()
    desk.account(1, deposit="50")
    desk.account(2, 3)
    desk.sell(2, 1000, 100)
    desk.buy(3, 990, 100)
    desk.buy(1, 10, 100)
    events = only(desk.mark(95), "adl")
    assert [(event["account"], event["quantity"]) for event in events] == [(2, "10")]
    assert (desk.quantity(2), desk.quantity(3)) == ("-990", "990")


def test_deleveraging_takes_the_other_side_of_the_same_symbol(desk: Desk) -> None:
    """ADL ignores the side, or takes a symbol that happens to stand first in a list."""
    for symbol in ("AAA", "BTC"):
        desk.symbol(symbol)
    desk.account(1, deposit="50")
    desk.account(2, 3, 9)
    desk.trade(3, 2, 10, 100, "AAA")
    desk.trade(1, 9, 10, 100)
    desk.trade(3, 2, 5, 100)
    events = only(desk.marks(AAA="110", BTC="95"), "adl")
    assert {(event["symbol"], event["side"]) for event in events} == {("BTC", "buy")}
    assert {event["account"] for event in events} <= {2, 9}
    assert (desk.quantity(2, "AAA"), desk.quantity(3, "AAA")) == ("-10", "10")
    assert desk.quantity(3) == "5"


def test_open_interest_is_the_same_on_both_sides(desk: Desk) -> None:
    """Open interest long is not open interest short after a liquidation or ADL step."""
    desk.symbol()
    desk.account(1, deposit="500")
    desk.account(2, deposit="480")
    desk.account(9)
    desk.must("insurance", asset="USDT", amount="400")
    desk.trade(1, 9, 100, 100)
    desk.trade(2, 9, 60, 99)
    desk.buy(9, 30, 96)
    for price in (97, 95, 93, 90, 85):
        desk.mark(price)
        totals = desk.ask("totals")["positions"]["BTC"]
        assert sum(map(Fraction, totals.values())) == 0
        longs = shorts = Fraction(totals["external"]) * 0
        for account in (1, 2, 9):
            held = Fraction(desk.quantity(account))
            longs, shorts = longs + max(held, 0), shorts - min(held, 0)
        fund = Fraction(totals["fund"])
        assert longs + max(fund, 0) == shorts - min(fund, 0)


def test_a_gap_is_not_booked_at_the_liquidation_price(desk: Desk) -> None:
    """Liquidation booked at the liquidation price although the market gapped through it."""
    desk.symbol()
    desk.account(1, deposit="500")
    desk.account(9)
    desk.trade(1, 9, 100, 100)
    position = desk.position(1)
    assert position is not None
    assert position["liquidation_price"] == "95"
    events = desk.mark(80)
    assert [event["price"] for event in only(events, "adl")] == ["95"]
    assert Fraction(desk.wallet(9)) == 1_000_000 + 500
    assert desk.wallet(1) == "0"


def test_nobody_runs_below_zero_and_recovers(desk: Desk) -> None:
    """Equity that runs to -1,000 and recovers, because nobody looked between bars."""
    desk.symbol()
    desk.account(1, deposit="500")
    desk.account(9)
    desk.trade(1, 9, 100, 100)
    desk.mark(85)
    desk.mark(120)
    assert desk.position(1) is None
    assert desk.wallet(1) == "0"


@pytest.mark.parametrize("edge", ["1000", "5000"])
def test_maintenance_does_not_jump_at_an_edge(desk: Desk, edge: str) -> None:
    """No maintenance deduction: maintenance jumps at a tier boundary."""
    desk.symbol(tiers=list(STEEP_TIERS), tick_size="1", mark_tick="0.01")
    desk.account(1, 9, deposit="100000")
    desk.trade(1, 9, 1, 100)
    at = []
    for price in (Fraction(edge), Fraction(edge) + Fraction("0.01")):
        desk.mark(f"{float(price):.2f}")
        position = desk.position(1)
        assert position is not None
        at.append(Fraction(position["maintenance_margin"]))
    assert 0 <= at[1] - at[0] <= Fraction("0.01")


def test_each_symbol_has_its_own_ladder(desk: Desk) -> None:
    """One tier ladder for all symbols, chosen by total notional."""
    for symbol in ("BTC", "ETH"):
        desk.symbol(symbol, tiers=list(STEEP_TIERS))
    desk.account(1, 9)
    for symbol in ("BTC", "ETH"):
        desk.trade(1, 9, 8, 100, symbol)
    reply = desk.ask("account", account=1)
    assert [position["tier"] for position in reply["positions"]] == [1, 1]
    assert reply["maintenance_margin"] == "8"


def test_cross_margin_adds_over_symbols(new_exchange: Callable[[], Exchange]) -> None:
    """Cross margin that assigns instead of adding: the answer depends on the symbol order."""
    answers = set()
    for order in itertools.permutations(("BTC", "ETH", "SOL")):
        desk = Desk(new_exchange())
        for symbol in order:
            desk.symbol(symbol, tiers=list(STEEP_TIERS))
        desk.account(1, 9, deposit="100000")
        for quantity, symbol in enumerate(sorted(order), start=5):
            desk.trade(1, 9, quantity, 100, symbol)
        for symbol in order[::-1]:
            desk.mark({"BTC": 101, "ETH": 97, "SOL": 140}[symbol], symbol)
        reply = desk.ask("account", account=1)
        answers.add(tuple(reply[name] for name in (
            "equity", "unrealized_pnl", "initial_margin", "maintenance_margin", "margin_ratio")))
    assert len(answers) == 1


def test_every_fill_reaches_the_margin_engine(desk: Desk) -> None:
    """Fills that never reach the margin engine: 7,590x leverage, no liquidation."""
    desk.symbol()
    desk.account(1, deposit="10")
    desk.account(9)
    events = desk.must("fill", account=1, symbol="BTC", side="buy", quantity="759", price="100")
    assert only(events, "liquidation_started")


def test_ten_thousand_breaches_in_one_tick(desk: Desk, core_name: str) -> None:
    """An exact last victim of many breaches removed from a vector one by one: quadratic."""
    count = 10_000 if core_name == "compiled" else 60
    desk.symbol()
    crowd(desk, range(1, count + 1))
    desk.account(20_000, 20_001, deposit="100000000")
    desk.sell(20_000, 100 * count, 100)
    desk.must("fill", account=20_001, symbol="BTC", side="sell", quantity=str(100 * count),
              price="100")
    start = time.process_time()
    desk.exchange.submit({"cmd": "mark", "symbol": "BTC", "mark_price": "95"})
    took = time.process_time() - start
    events = desk.exchange.drain()
    assert len(only(events, "liquidation_started")) == count
    assert len(only(events, "liquidation_finished")) == count
    # In order: equal ratios, so by account.
    assert [event["account"] for event in only(events, "liquidation_started")] == list(
        range(1, count + 1))
    if core_name == "compiled":
        assert took < 3


def test_a_backlog_of_marks_holds_no_liquidation_back(desk: Desk) -> None:
    """Liquidations are held back while the feed catches up, and the fund pays for the delay."""
    desk.symbol()
    desk.account(1, deposit="500")
    desk.account(9)
    desk.must("insurance", asset="USDT", amount="1000")
    desk.trade(1, 9, 100, 100)
    desk.buy(9, 100, 95)
    first = desk.exchange.seq + 1
    for price in (98, 96, 95, 90, 80):  # all there are, at once
        desk.exchange.submit({"cmd": "mark", "symbol": "BTC", "mark_price": str(price)})
    events = desk.exchange.drain()
    [started] = only(events, "liquidation_started")
    [trade] = only(events, "trade")
    assert started["seq"] == trade["seq"] == first + 2  # at the first mark that was due
    assert (trade["price"], desk.wallet(1), desk.fund()) == ("95", "0", "1000")


def test_one_stuck_account_does_not_starve_the_rest(desk: Desk) -> None:
    """One stuck account at the head of the queue starves the rest."""
    for symbol in ("BTC", "ETH"):
        desk.symbol(symbol)
    desk.account(1, 2, deposit="500")
    desk.account(9)
    desk.must("fill", account=1, symbol="BTC", side="buy", quantity="100", price="100")
    desk.trade(2, 9, 100, 100, "ETH")
    events = desk.marks(BTC="80", ETH="95")
    assert [event["account"] for event in only(events, "liquidation_finished")] == [2]
    entries = desk.ask("liquidation_queue")["entries"]
    assert [entry["account"] for entry in entries] == [1]


def test_a_fee_does_not_bankrupt(desk: Desk) -> None:
    """Charging a fee that bankrupts an account which was not."""
    desk.symbol(liquidation_fee="0.5")
    desk.account(1, deposit="500")
    desk.account(9)
    desk.trade(1, 9, 100, 100)
    desk.buy(9, 100, 96)
    desk.mark(95)
    assert desk.wallet(1) == "0"
    assert desk.fund() == "100"


def test_rounding_is_never_in_the_users_favour(desk: Desk) -> None:
    """Rounding in the user's favour, repeated a million times."""
    desk.symbol(taker_fee="0.00003333", maker_fee="-0.00001111")
    desk.account(1, 2, deposit="1000")
    fees = Fraction(0)
    for number in range(200):
        event = only(desk.trade(1 + number % 2, 2 - number % 2, 1, 100), "trade")[0]
        assert Fraction(event["taker_fee"]) >= Fraction("0.003333")
        assert Fraction(event["maker_fee"]) >= Fraction("-0.001111")
        fees += Fraction(event["taker_fee"]) + Fraction(event["maker_fee"])
    wallets = Fraction(desk.wallet(1)) + Fraction(desk.wallet(2))
    assert wallets + fees == 2000
    assert Fraction(desk.ask("totals")["assets"]["USDT"]["fees"]) == fees


def test_many_partial_closes_release_no_more_than_the_cost(desk: Desk) -> None:
    """The same for the entry value that partial closes release, and for isolated margin."""
    desk.symbol(tick_size="1", lot_size="1")
    desk.account(1, deposit="1000", margin_mode="isolated")
    desk.account(9)
    desk.trade(1, 9, 3, 100)
    desk.trade(1, 9, 4, 101)
    desk.buy(9, 7, 100)
    for _ in range(7):
        desk.sell(1, 1, 100, reduce_only=True)
    assert desk.position(1) is None
    assert desk.wallet(1) == "996"


def test_last_mark_index_and_funding_price_are_not_mixed_up(market: Desk) -> None:
    """The last price, the mark, the index and the funding price used for one another."""
    market.trade(1, 2, 10, 100)
    market.must("mark", symbol="BTC", mark_price="110", index_price="50")
    market.trade(3, 4, 1, 30)
    events = market.must("funding", symbol="BTC", rate="0.01")
    paid = {event["account"]: event["amount"] for event in only(events, "funding_payment")}
    assert paid == {1: "-11", 2: "11", 3: "-1.1", 4: "1.1"}
    reply = market.ask("instrument", symbol="BTC")
    assert (reply["mark_price"], reply["index_price"], reply["last_price"]) == ("110", "50", "30")
    position = market.position(1)
    assert position is not None
    assert position["unrealized_pnl"] == "100"
